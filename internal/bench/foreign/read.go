package foreign

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/metric"
)

// Format is the name of a tool's result format.
type Format string

// The formats that are read.
const (
	VLLM          Format = "vllm"           // `vllm bench serve`, and its copy in InferenceX
	SGLang        Format = "sglang"         // `python -m sglang.benchmark.serving`, formerly sglang.bench_serving
	TRTLLM        Format = "trtllm"         // benchmark_serving of TensorRT-LLM, and the report of trtllm-bench
	AIPerf        Format = "aiperf"         // profile_export_aiperf.json, and genai-perf's file of the same shape
	GuideLLM      Format = "guidellm"       // benchmarks.json
	InferencePerf Format = "inference-perf" // {summary,stage_N}_lifecycle_metrics.json
)

// Formats are all formats, in the order in which they are recognised.
var Formats = []Format{AIPerf, GuideLLM, InferencePerf, TRTLLM, SGLang, VLLM}

// Options are what the files do not say, or must not be asked for.
type Options struct {
	From      Format // "" = recognise each object by its keys
	Framework string // engine id or alias; "" = what the file says
	Model     string // "" = what the file says
	Engines   engine.Set
	// ClientVersion is that of the tool that measured, on which its definitions
	// depend; "" = what the file says.
	ClientVersion string
	// ToolVersion is that of llmdyno, for the rows.
	ToolVersion string
}

// reader makes rows of one kind of object.
type reader struct {
	// is says whether an object is of this format.
	is func(object) bool
	// rows fills in rows. What it puts into the taker's problems concerns them all.
	rows func(*taker, *draft) []*draft
}

var readers = map[Format]reader{
	VLLM:          {isVLLM, one(readVLLM)},
	SGLang:        {isSGLang, one(readSGLang)},
	TRTLLM:        {isTRTLLM, one(readTRTLLM)},
	AIPerf:        {isAIPerf, one(readAIPerf)},
	GuideLLM:      {isGuideLLM, readGuideLLM},
	InferencePerf: {isInferencePerf, one(readInferencePerf)},
}

// one adapts a reader of objects that hold one measurement.
func one(read func(*taker, *draft)) func(*taker, *draft) []*draft {
	return func(t *taker, d *draft) []*draft {
		read(t, d)
		return []*draft{d}
	}
}

// Known says whether a name is that of a format.
func Known(name string) bool { return slices.Contains(Formats, Format(name)) }

// Read reads a file of another tool: one object, JSON lines, objects after each
// other, or arrays; NaN and Infinity are taken as Python writes them. What
// cannot be read is left out, never guessed; each such place is a
// *result.Problem with file and line, and a warning of the row. The error is
// that of the reader r itself.
func Read(r io.Reader, name string, o Options) (rows []result.Row, problems []error, err error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(data) > maxFile {
		return nil, nil, fmt.Errorf("reading %s: longer than %d MiB: import it without its per-request details", name, maxFile>>20)
	}
	s := split(data, name)
	for i, doc := range s.docs {
		got, said := readDocument(doc, name, i, len(s.docs), o)
		for _, p := range said {
			s.problem(doc.line, "%s", p)
		}
		rows = append(rows, got...)
	}
	slices.SortStableFunc(s.problems, func(a, b *result.Problem) int { return a.Line - b.Line })
	problems = make([]error, len(s.problems))
	for i, p := range s.problems {
		problems[i] = p
	}
	return rows, problems, nil
}

func readDocument(doc document, name string, index, of int, o Options) ([]result.Row, []string) {
	format := o.From
	if format == "" {
		format = Recognise(doc.fields)
	}
	read, known := readers[format]
	if !known {
		return nil, []string{"no known result: expected the keys of one of " + names() + "; say which with --from" + hintFor(doc.fields)}
	}
	if !read.is(doc.fields) {
		return nil, []string{fmt.Sprintf("expected a result of %s, and its keys are not there%s", format, hintFor(doc.fields))}
	}
	t := &taker{object: doc.fields}
	first := &draft{options: o, definition: definitions[format]}
	first.CandidateID = candidate(name, index, of)
	first.Imported = &result.Imported{Tool: string(format), File: fmt.Sprintf("%s:%d", name, doc.line)}
	var rows []result.Row
	for _, d := range read.rows(t, first) {
		d.finish(t.problems)
		rows = append(rows, d.Row)
	}
	return rows, t.problems
}

// Recognise names the format of an object by its keys; "" = none.
func Recognise(fields map[string]any) Format {
	for _, f := range Formats {
		if readers[f].is(fields) {
			return f
		}
	}
	return ""
}

func names() string {
	out := make([]string, len(Formats))
	for i, f := range Formats {
		out[i] = string(f)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// hintFor names the file that was meant, where a sibling of it was given.
func hintFor(o object) string {
	switch {
	case o.has("metadata") && o.has("metrics") && o.has("metadata", "benchmark_phase"):
		return "; this is a record of one request: give profile_export_aiperf.json beside it"
	case o.has("start_time") && o.has("end_time") && o.has("request"):
		return "; this is a record of one request: give summary_lifecycle_metrics.json beside it"
	case o.has("run_name") && o.has("overall_throughput"):
		return "; this is a static batch (one_batch), no load on a server"
	case o.has("framework") && o.has("candidate_id"):
		return "; this is a row already: give it to `llmdyno bench compare`"
	}
	return ""
}

// candidate is the name of a file without folder and endings, numbered when it
// holds several measurements.
func candidate(name string, index, of int) string {
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	for _, ending := range []string{".json", ".jsonl", ".ndjson"} {
		base = strings.TrimSuffix(base, ending)
	}
	if of > 1 {
		base = fmt.Sprintf("%s-%d", base, index)
	}
	return base
}

// draft is a row in the making.
type draft struct {
	result.Row
	options    Options
	definition Definition
	inLens     []float64 // tokens per request, where the file tells
	outLens    []float64
}

// again is a draft of another measurement in the same object.
func (d *draft) again(suffix string) *draft {
	c := &draft{options: d.options, definition: d.definition}
	c.CandidateID = d.CandidateID + suffix
	imported := *d.Imported
	c.Imported = &imported
	return c
}

func (d *draft) warn(code, format string, args ...any) {
	d.Warnings = append(d.Warnings, result.Warning{Code: code, Message: fmt.Sprintf(format, args...)})
}

// engineFrom sets the framework from what a tool calls it. Names that say
// nothing of the engine leave it unknown.
func (d *draft) engineFrom(name string) {
	if e, ok := d.options.Engines.Lookup(strings.ToLower(strings.TrimSpace(name))); ok {
		d.Framework = string(e.ID)
	}
}

// finish fills in what follows from the rest.
func (d *draft) finish(problems []string) {
	d.SchemaVersion, d.ToolVersion = result.SchemaVersion, d.options.ToolVersion
	if d.options.Framework != "" {
		d.engineFrom(d.options.Framework)
	}
	if d.Framework == "" {
		d.Framework = result.UnknownFramework
		d.warn("engine-unknown", "the file does not name the engine that was measured: say it with --framework")
	}
	if d.options.Model != "" {
		d.Model = d.options.Model
	}
	if d.Model == "" {
		d.warn("model-unknown", "the file does not name the model: say it with --model")
	}
	d.versioned()
	if d.Workload.Scenario == "" {
		d.Workload.Scenario = "default"
	}
	d.lengths()
	d.requests()
	d.Warnings = append(d.Warnings, d.definition.warnings(d.Row)...)
	for _, p := range problems {
		d.warn("unreadable", "%s", p)
	}
	if d.Status == "" {
		d.Status = result.StatusOK
		if n := d.Metrics.Succeeded; n != nil && *n == 0 {
			d.Status, d.FailureReason, d.FailedPhase = result.StatusFailed, "no request succeeded", "load"
		}
	}
}

// versioned takes the definition from the tool's version, and says where it
// depends on one that is not known.
func (d *draft) versioned() {
	if d.options.ClientVersion != "" {
		d.Imported.Version = d.options.ClientVersion
	}
	tool, version, endpoint := Format(d.Imported.Tool), d.Imported.Version, d.Workload.Endpoint
	by := defined(tool, version, endpoint)
	if by != definitions[tool] {
		d.definition.TTFT, d.definition.E2E = by.TTFT, by.E2E
	}
	if tool == VLLM && chatRoute(endpoint) && version == "" && !d.Metrics.TTFT.Empty() {
		d.warn("client-version-unknown", "the file does not tell the client's version, on which the end of TTFT on chat routes depends: from 0.33.0 on it is the first output; say it with --client-version")
	}
}

// lengths are those of the requests, from their list.
func (d *draft) lengths() {
	w := &d.Workload
	if x := metric.NewDist(slices.Clone(d.inLens)); x != nil && w.InputP50 == nil {
		w.InputP50, w.InputP95 = &x.P50, &x.P95
	}
	if x := metric.NewDist(slices.Clone(d.outLens)); x != nil && w.OutputP50 == nil {
		w.OutputP50, w.OutputP95 = &x.P50, &x.P95
	}
}

// requests closes the sums over the numbers of requests.
func (d *draft) requests() {
	m := &d.Metrics
	if m.Sent == nil && m.Succeeded != nil && m.Failed != nil {
		m.Sent = ptr(*m.Succeeded + *m.Failed)
	}
	if m.SuccessRate == nil && m.Sent != nil && m.Succeeded != nil && *m.Sent > 0 {
		m.SuccessRate = ptr(float64(*m.Succeeded) / float64(*m.Sent))
	}
	m.OfferedRate = d.Workload.RequestRate
}

// latency takes what a distribution lacks from its samples.
func latency(l *result.Latency, samples []float64) {
	s := metric.NewDist(samples)
	if s == nil {
		return
	}
	for _, f := range []struct {
		into **float64
		from *float64
	}{
		{&l.Mean, &s.Mean}, {&l.P50, &s.P50}, {&l.P90, &s.P90}, {&l.P95, &s.P95}, {&l.P99, &s.P99},
		{&l.Min, &s.Min}, {&l.Max, &s.Max}, {&l.Stddev, &s.Stddev},
	} {
		if *f.into == nil {
			*f.into = f.from
		}
	}
	l.N, l.Quantiles = &s.N, s.Quantiles
}

// maxFigures bounds what is kept of one file.
const maxFigures = 600

// keep takes over every number outside lists, under its path and with its unit.
func (d *draft) keep(o object, unit func(key string) string) {
	var walk func(prefix string, m map[string]any, depth int)
	walk = func(prefix string, m map[string]any, depth int) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if len(d.Imported.Figures) >= maxFigures || depth > 12 {
				return
			}
			switch x := m[key].(type) {
			case map[string]any:
				walk(prefix+key+".", x, depth+1)
			default:
				if v, ok := finite(x); ok {
					d.Imported.Figures = append(d.Imported.Figures, result.Figure{Key: prefix + key, Value: v, Unit: unit(prefix + key)})
				}
			}
		}
	}
	walk("", o, 0)
}

// unitByEnding reads the unit off a key; "" = it does not tell.
func unitByEnding(key string) string {
	for _, u := range []struct{ ending, unit string }{
		{"_ms", "ms"}, {"_tok_s", "tok/s"}, {"_req_s", "req/s"}, {"request_throughput", "req/s"}, {"request_goodput", "req/s"}, {"request_goodput:", "req/s"}, {"request_rate", "req/s"},
		{"_throughput", "tok/s"}, {"max_output_tokens_per_s", "tok/s"}, {"duration", "s"}, {"_tokens", "tok"},
	} {
		if strings.HasSuffix(key, u.ending) {
			return u.unit
		}
	}
	if strings.Contains(key, "_ms.") {
		return "ms"
	}
	return ""
}

// stamp is a time of a file as rows hold it; "" = unreadable.
func stamp(t time.Time, err error) string {
	if err != nil || t.Year() < 2000 || t.Year() > 9999 {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// unixStamp is a time in seconds since 1970.
func unixStamp(seconds *float64) string {
	if seconds == nil || *seconds > 1e11 {
		return ""
	}
	whole, part := math.Modf(*seconds)
	return stamp(time.Unix(int64(whole), int64(part*1e9)), nil)
}

// ErrNothing says that a file held no measurement.
var ErrNothing = errors.New("holds no result")
