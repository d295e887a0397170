package dump

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/incident/pickle"
)

func newFigures(container string) *Figures {
	return &Figures{
		Container: container, Irregular: []Irregular{}, FinishReasons: map[string]int{}, RequestClasses: map[string]int{}, SecretsAt: []string{},
	}
}

// dists are the figures of all records, one number for each that tells it.
type dists struct {
	prompt, completion, cached, retractions, queue, elapsed []float64
	ttft, tokenizer, decode                                 []float64
}

// grow makes room for n records at once: growing bit by bit leaves as much garbage
// again.
func (d *dists) grow(n int) {
	for _, x := range []*[]float64{&d.prompt, &d.completion, &d.cached, &d.retractions, &d.queue, &d.elapsed, &d.ttft, &d.tokenizer, &d.decode} {
		*x = make([]float64, 0, n)
	}
}

// Positions in what [reader] selects.
const (
	reqID = iota
	reqText
	reqTokens
	reqSampling
	reqStream
	reqHeaders
	reqPreview // and the names behind it
)

const (
	outText = iota
	outTokens
	outMeta
	outCount
)

const (
	metaID = iota
	metaFinish
	metaPrompt
	metaCompletion
	metaCached
	metaQueue
	metaReceived
	metaForward
	metaPrefill
	metaDone
	metaLatency
	metaRetractions // and the names behind it
)

// reader finds the fields of requests, answers and their figures by name.
type reader struct {
	p                     *part
	request, output, meta *pickle.Selection
	req, out, met         []pickle.Value
	finishTag             *pickle.Selection
	tag                   []pickle.Value
	texts                 map[string]string
	repeated              int
}

func (p *part) reader() *reader {
	l := p.layout
	header := ""
	if len(l.SecretHeaders) > 0 {
		header = l.SecretHeaders[0]
	}
	req := append([]string{l.Request.ID, l.Request.Text, l.Request.Tokens, l.Request.Sampling, l.Request.Stream, header}, previewNames(l)...)
	out := []string{l.Output.Text, l.Output.Tokens, l.Output.Meta}
	o := l.Output
	met := append([]string{o.ID, o.Finish, o.Prompt, o.Completion, o.Cached, o.QueueSeconds, o.Received, o.Forward, o.PrefillDone, o.Done, o.LatencySeconds}, o.Retractions...)
	r := &reader{
		p: p, request: pickle.NewSelection(req...), output: pickle.NewSelection(out...), meta: pickle.NewSelection(met...), finishTag: pickle.NewSelection(o.FinishTag),
		tag: make([]pickle.Value, 1), texts: map[string]string{},
		req: make([]pickle.Value, len(req)), out: make([]pickle.Value, len(out)), met: make([]pickle.Value, len(met)),
	}
	for _, s := range []*pickle.Selection{r.request, r.output, r.meta} {
		s.Repeated = r.twice
	}
	return r
}

// previewNames are the fields of a preview that no other position has.
func previewNames(l *engine.DumpLayout) []string {
	return slices.DeleteFunc(slices.Clone(l.Request.Preview), func(n string) bool { return n == l.Request.Text })
}

func (r *reader) twice(name string, at pickle.Value) {
	if r.repeated++; r.repeated <= 20 {
		r.p.file.warn("duplicate", "byte %d: a record has %q twice; the last one counts", at.Offset(), name)
	}
}

// read selects the fields of a record.
func (r *reader) read(rec *record) {
	d := r.p.doc
	d.Select(rec.request, r.request, r.req)
	d.Select(rec.output, r.output, r.out)
	d.Select(r.out[outMeta], r.meta, r.met)
}

func (r *reader) number(v pickle.Value) (float64, bool) {
	if v == 0 {
		return 0, false
	}
	return r.p.doc.Number(v)
}

// finish is the reason why a request ended; ok is false for one that did not.
func (r *reader) finish() (reason string, ok bool) {
	v := r.met[metaFinish]
	if v == 0 || v.Kind() == pickle.None {
		return "", false
	}
	tag := v
	if k := v.Kind(); k == pickle.Dict || k == pickle.Object {
		r.p.doc.Select(v, r.finishTag, r.tag)
		tag = r.tag[0]
	}
	if text := r.p.doc.Plain(tag); text.Kind == pickle.Str {
		return r.shared(text.Text), true
	}
	return "unknown", true
}

// shared is a text of which there are few, held once.
func (r *reader) shared(b []byte) string {
	if s, ok := r.texts[string(b)]; ok {
		return s
	}
	s := valid(b)
	if len(r.texts) < maxTexts {
		r.texts[s] = s
	}
	return s
}

const maxTexts = 1000

func truthy(d *pickle.Document, v pickle.Value) bool {
	p := d.Plain(v)
	return (p.Kind == pickle.Bool || p.Kind == pickle.Int) && p.Small != 0
}

// measure computes the figures of the records.
func (p *part) measure() {
	f := p.figures
	f.Records = len(p.records)
	p.config()
	p.dists.grow(len(p.records))
	r := p.reader()
	for i := range p.records {
		rec := &p.records[i]
		if rec.why != "" && len(f.Irregular) < maxIrregular {
			f.Irregular = append(f.Irregular, Irregular{i, rec.why})
		}
		if rec.shaped {
			r.read(rec)
			p.count(r, rec, i)
		}
	}
	if n := r.repeated - 20; n > 0 {
		p.file.warn("duplicate", "%d more lists of keys have one twice", n)
	}
	p.spans()
	p.distribute()
}

// count adds one record to the figures.
func (p *part) count(r *reader, rec *record, i int) {
	f := p.figures
	f.RequestClasses[p.className(rec.request)]++
	if truthy(p.doc, r.req[reqStream]) {
		f.Streaming++
	}
	if rec.finish, rec.finished = r.finish(); rec.finished {
		f.Finished++
		f.FinishReasons[rec.finish]++
	} else {
		f.Unfinished++
	}
	add := func(to *[]float64, v pickle.Value, keep *float64) {
		if x, ok := r.number(v); ok {
			*to = append(*to, x)
			if keep != nil {
				*keep = x
			}
		}
	}
	add(&p.dists.prompt, r.met[metaPrompt], &rec.prompt)
	add(&p.dists.completion, r.met[metaCompletion], &rec.output2)
	add(&p.dists.cached, r.met[metaCached], nil)
	add(&p.dists.queue, r.met[metaQueue], &rec.queue)
	for _, v := range r.met[metaRetractions:] {
		if v != 0 {
			add(&p.dists.retractions, v, &rec.retracted)
			break
		}
	}
	if rec.end >= rec.start {
		p.dists.elapsed = append(p.dists.elapsed, rec.end-rec.start)
	}
	p.stage(r, rec)
	p.secretHeaders(r, i)
}

// stage adds the times between the marks of one answer; see facts of the engine's
// dump layout for what they mean.
func (p *part) stage(r *reader, rec *record) {
	received, okR := r.number(r.met[metaReceived])
	forward, okF := r.number(r.met[metaForward])
	prefill, okP := r.number(r.met[metaPrefill])
	done, okD := r.number(r.met[metaDone])
	if okR && okP {
		p.dists.ttft = append(p.dists.ttft, prefill-received)
	}
	if okR && okF && !math.IsNaN(rec.queue) {
		p.dists.tokenizer = append(p.dists.tokenizer, forward-received-rec.queue)
	}
	if okP && okD {
		p.dists.decode = append(p.dists.decode, done-prefill)
	}
}

func (p *part) stages() *Stages {
	s := Stages{NewDist(p.dists.queue), NewDist(p.dists.ttft), NewDist(p.dists.tokenizer), NewDist(p.dists.decode)}
	if s == (Stages{}) {
		return nil
	}
	return &s
}

// secretHeaders notes where a request carries credentials.
func (p *part) secretHeaders(r *reader, i int) {
	v := r.req[reqHeaders]
	if v == 0 || v.Kind() == pickle.None || len(p.figures.SecretsAt) >= maxSecrets {
		return
	}
	p.doc.Members(v, func(k, x pickle.Value) bool {
		text, ok := p.doc.RawText(k)
		if ok && x.Kind() != pickle.None && slices.Contains(p.layout.SecretNames, strings.ToLower(string(text))) {
			p.figures.SecretsAt = append(p.figures.SecretsAt, fmt.Sprintf("%s[%d].%s.%s", p.layout.Requests, i, p.layout.SecretHeaders[0], text))
		}
		return true
	})
}

// spans are the figures over the times of all records.
func (p *part) spans() {
	f := p.figures
	first, last, end := math.Inf(1), math.Inf(-1), math.Inf(-1)
	starts, ends := make([]float64, 0, len(p.records)), make([]float64, 0, len(p.records))
	for _, r := range p.records {
		if !math.IsNaN(r.start) {
			first, last = min(first, r.start), max(last, r.start)
		}
		if !math.IsNaN(r.end) {
			end = max(end, r.end)
		}
		if r.end > r.start {
			starts, ends = append(starts, r.start), append(ends, r.end)
		}
	}
	if first <= last {
		span := last - first
		f.FirstStart, f.StartSpanSeconds = &first, &span
		if !math.IsInf(end, 0) {
			wall := end - first
			f.WallSpanSeconds = &wall
		}
	}
	f.MaxConcurrency = overlap(starts, ends)
}

// overlap is the largest number of half-open intervals that hold one instant.
func overlap(starts, ends []float64) int {
	slices.Sort(starts)
	slices.Sort(ends)
	most, now, e := 0, 0, 0
	for _, s := range starts {
		for e < len(ends) && ends[e] <= s {
			e++
			now--
		}
		now++
		most = max(most, now)
	}
	return most
}

// NewDist is the distribution of numbers; nil for none. The slice is sorted.
func NewDist(x []float64) *Dist {
	if len(x) == 0 {
		return nil
	}
	slices.Sort(x)
	d := &Dist{N: len(x), Min: x[0], Max: x[len(x)-1], P50: quantile(x, 0.5), P90: quantile(x, 0.9), P99: quantile(x, 0.99)}
	for _, v := range x {
		d.Sum += v
	}
	return d
}

// quantile interpolates linearly between order statistics, at index (n-1)·p.
func quantile(sorted []float64, p float64) float64 {
	at := float64(len(sorted)-1) * p
	lo := int(at)
	if lo+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[lo] + (at-float64(lo))*(sorted[lo+1]-sorted[lo])
}

// config reads the settings of the server, and what its command line tells.
func (p *part) config() {
	f := p.figures
	var config pickle.Value
	for _, name := range p.layout.Configs {
		v, ok := p.container[name]
		if !ok || v.Kind() == pickle.None {
			continue
		}
		if config == 0 {
			config, f.ConfigFrom = v, &name
		}
		p.secretSettings(name, v)
	}
	for _, s := range p.layout.Config {
		if field := f.setting(s.Name); field != nil && config != 0 {
			*field = p.setting(config, s.Keys)
		}
	}
	p.launch()
}

// setting is where the figures hold a setting.
func (f *Figures) setting(name string) *any {
	switch name {
	case "model_path":
		return &f.ModelPath
	case "served_model_name":
		return &f.ServedModelName
	case "tp_size":
		return &f.TPSize
	case "dp_size":
		return &f.DPSize
	case "pp_size":
		return &f.PPSize
	case "ep_size":
		return &f.EPSize
	case "host":
		return &f.Host
	case "port":
		return &f.Port
	case "disaggregation_mode":
		return &f.DisaggregationMode
	}
	return nil
}

func (p *part) setting(config pickle.Value, keys []string) any {
	for _, k := range keys {
		v := p.doc.Member(config, k)
		if v == 0 {
			continue
		}
		switch q := p.doc.Plain(v); q.Kind {
		case pickle.Str:
			return valid(q.Text)
		case pickle.Bool:
			return q.Small == 1
		case pickle.Int:
			if q.Int == nil {
				return q.Small
			}
			return q.Int.String()
		case pickle.Float:
			if !math.IsNaN(q.Float) && !math.IsInf(q.Float, 0) {
				return q.Float
			}
		}
	}
	return nil
}

// valid is a text as UTF-8, what is none replaced.
func valid(b []byte) string { return strings.ToValidUTF8(string(b), "\ufffd") }

func (p *part) secretSettings(name string, config pickle.Value) {
	for _, s := range p.layout.SecretSettings {
		v := p.doc.Member(config, s)
		if v == 0 || v.Kind() == pickle.None || p.doc.Plain(v).Kind == pickle.Str && len(p.doc.Plain(v).Text) == 0 {
			continue
		}
		p.figures.SecretsAt = append(p.figures.SecretsAt, name+"."+s)
	}
}

// launch reads the command line of the server.
func (p *part) launch() {
	q := p.doc.Plain(p.container[p.layout.Launch])
	if q.Kind != pickle.Str {
		return
	}
	line := valid(q.Text)
	p.figures.LaunchCommand = &line
	told := map[string]string{}
	secret := false
	words := splitWords(line)
	for i, w := range words {
		option, value, joined := strings.Cut(w, "=")
		if !joined && i+1 < len(words) {
			value = words[i+1]
		}
		secret = secret || slices.Contains(p.layout.SecretFlags, option)
		for _, flag := range p.layout.Flags {
			if slices.Contains(flag.Options, option) && value != "" {
				told[flag.Name] = value
			}
		}
	}
	if len(told) > 0 {
		p.figures.FromLaunchCommand = told
	}
	if secret {
		p.figures.SecretsAt = append(p.figures.SecretsAt, p.layout.Launch)
	}
}

// splitWords takes a command line apart as a POSIX shell does, variables left out.
func splitWords(line string) []string {
	var words []string
	var word strings.Builder
	in, quote, escaped := false, rune(0), false
	for _, c := range line {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, in = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		default:
			word.WriteRune(c)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words
}
