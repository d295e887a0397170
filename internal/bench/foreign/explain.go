package foreign

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
)

// Native is the tool's name of our own results in an explanation.
const Native = "llmdyno"

// Side is one of the two results that are explained against each other.
type Side struct {
	Name       string     `json:"name"` // its file
	Tool       string     `json:"tool"` // a Format, or Native
	Definition Definition `json:"definition"`
	MeanInput  *float64   `json:"mean_input_tokens,omitempty"`
	MeanOutput *float64   `json:"mean_output_tokens,omitempty"`
	Requests   *int       `json:"requests_succeeded,omitempty"`
	// Samples says that every request is at hand, so that figures can be computed
	// anew.
	Samples bool `json:"samples"`

	figures  figures
	records  []sample.Record
	duration int64 // ns
	sendLag  *float64
}

// FromSamples is a side of our own, from a trial's records and duration.
func FromSamples(name string, records []sample.Record, durationNs int64) Side {
	s := Side{Name: name, Tool: Native, Definition: native, Samples: true, records: records, duration: durationNs}
	sum := metric.Compute(records, durationNs, metric.Limits{})
	s.take(result.FromSummary(sum))
	s.figures = recompute(records, durationNs, native)
	return s
}

// FromRow is a side of which only a row is known.
func FromRow(name string, r result.Row) Side {
	s := Side{Name: name, Tool: Native, Definition: native}
	if r.Imported != nil {
		s.Tool, s.Definition = r.Imported.Tool, definitionOf(r)
	}
	s.take(r.Metrics)
	s.figures = ofRow(r.Metrics)
	return s
}

// definitionOf is the tool's definition as it holds for this row.
func definitionOf(r result.Row) Definition {
	d := defined(Format(r.Imported.Tool), r.Imported.Version, r.Workload.Endpoint)
	has := func(code string) bool {
		return slices.ContainsFunc(r.Warnings, func(w result.Warning) bool { return w.Code == code })
	}
	d.Connection = d.Connection || has("connection-included")
	if !r.Metrics.ITL.Empty() && d.ITL == GapsOfEvents {
		d.ITL, d.Tokens = GapsOfTokens, ByServer
	}
	if has("in-process") {
		d = Definition{TTFT: AtFirstText, E2E: AtLastText, TPOT: TPOTBetween, Tokens: ByServer, Window: OverRequests, Percentile: PercentileIndex, Stamps: ByClient}
	}
	return d
}

func (s *Side) take(m result.Metrics) {
	s.Requests, s.sendLag = m.Succeeded, m.SendLag.Mean
	if n := m.Succeeded; n != nil && *n > 0 {
		if m.InputTokens != nil {
			s.MeanInput = ptr(float64(*m.InputTokens) / float64(*n))
		}
		if m.OutputTokens != nil {
			s.MeanOutput = ptr(float64(*m.OutputTokens) / float64(*n))
		}
	}
}

// The causes of a difference.
const (
	CauseTTFTEvent  = "ttft_event"
	CauseE2EEnd     = "e2e_end"
	CauseTPOT       = "tpot_divisor"
	CauseGaps       = "gap_rule"
	CauseTokens     = "token_counting"
	CauseLengths    = "length_sampling"
	CauseConnection = "connection"
	CauseLag        = "client_lag"
	CauseWindow     = "duration_window"
	CausePercentile = "percentile_rule"
	CauseRest       = "rest" // load, server state, noise
)

// How an effect is known.
const (
	Computed  = "computed"  // from the samples, under both definitions
	Estimated = "estimated" // from means
	Bounded   = "bounded"   // only its sign or its most is known
)

// Effect is one cause's part of a difference, B minus A, in the figure's unit.
type Effect struct {
	Cause string   `json:"cause"`
	How   string   `json:"how"`
	Value *float64 `json:"value,omitempty"` // of computed and estimated ones
	Low   *float64 `json:"low,omitempty"`   // of bounded ones; nil = not known
	High  *float64 `json:"high,omitempty"`
	Why   string   `json:"why"`
}

// Difference is that of one figure. The values of its effects add up to Delta.
type Difference struct {
	Figure  string   `json:"figure"`
	Unit    string   `json:"unit"`
	A       float64  `json:"a"`
	B       float64  `json:"b"`
	Delta   float64  `json:"delta"`   // B − A
	Effects []Effect `json:"effects"` // largest first, bounded ones after those with a value
}

// Explanation is why two results of one server differ.
type Explanation struct {
	SchemaVersion int          `json:"schema_version"`
	A             Side         `json:"a"`
	B             Side         `json:"b"`
	Differences   []Difference `json:"differences"`
	Notes         []string     `json:"notes"`
}

// step is one member of the definitions that changes from A's to B's.
type step struct {
	cause string
	why   string
	apply func(d *Definition, b Definition)
	// differs says whether A and B differ in it; touches whether a figure depends
	// on it.
	differs func(a, b Definition) bool
	touches func(figure string) bool
}

func about(parts ...string) func(string) bool {
	return func(figure string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(figure, p) })
	}
}

// steps in the order of a request's life: each effect is that of changing one
// member after those before it.
var steps = []step{
	{CauseConnection, "whether the set-up of a connection lies inside", func(d *Definition, b Definition) { d.Connection = b.Connection },
		func(a, b Definition) bool { return a.Connection != b.Connection }, about("ttft", "e2e")},
	{CauseTTFTEvent, "which event ends TTFT", func(d *Definition, b Definition) { d.TTFT = b.TTFT },
		func(a, b Definition) bool { return a.TTFT != b.TTFT }, about("ttft", "tpot", "gap")},
	{CauseE2EEnd, "which event ends E2E", func(d *Definition, b Definition) { d.E2E = b.E2E },
		func(a, b Definition) bool { return a.E2E != b.E2E }, about("e2e", "tpot")},
	{CauseTokens, "who counts output tokens", func(d *Definition, b Definition) { d.Tokens = b.Tokens },
		func(a, b Definition) bool { return a.Tokens != b.Tokens }, about("tpot", "token_throughput")},
	{CauseTPOT, "the formula of TPOT", func(d *Definition, b Definition) { d.TPOT = b.TPOT },
		func(a, b Definition) bool { return a.TPOT != b.TPOT }, about("tpot")},
	{CauseGaps, "what gaps are between", func(d *Definition, b Definition) { d.ITL = b.ITL },
		func(a, b Definition) bool { return a.ITL != b.ITL }, about("gap")},
	{CauseLag, "who takes the instants of events, at the lag of A's client or, where only B has samples, of B's", func(d *Definition, b Definition) { d.Stamps = b.Stamps },
		func(a, b Definition) bool { return a.Stamps != b.Stamps }, about("ttft", "tpot", "e2e", "gap")},
	{CauseWindow, "what throughputs are divided by", func(d *Definition, b Definition) { d.Window = b.Window },
		func(a, b Definition) bool { return a.Window != b.Window }, about("throughput")},
	{CausePercentile, "how percentiles are read off the samples", func(d *Definition, b Definition) { d.Percentile = b.Percentile },
		func(a, b Definition) bool { return a.Percentile != b.Percentile }, about("p50", "p99")},
}

// Explain attributes the differences of b from a. Where one side's samples are
// at hand they are computed anew, one member of the other's definition after
// another; where none are, means give estimates and definitions give signs.
func Explain(a, b Side) Explanation {
	e := Explanation{SchemaVersion: 1, A: a, B: b, Differences: []Difference{}, Notes: []string{}}
	known := walk(a, b)
	for _, h := range headline {
		av, hasA := a.figures[h.key]
		bv, hasB := b.figures[h.key]
		if !hasA || !hasB {
			continue
		}
		d := Difference{Figure: h.key, Unit: h.unit, A: av, B: bv, Delta: bv - av}
		d.attribute(a, b, known)
		e.Differences = append(e.Differences, d)
	}
	e.notes()
	return e
}

// walk computes the effect of every step on every figure from the samples at
// hand: A's where both are. nil when there are none.
func walk(a, b Side) map[string]figures {
	from, to, sign, s := a.Definition, b.Definition, 1.0, a
	if !a.Samples {
		if !b.Samples {
			return nil
		}
		from, to, sign, s = b.Definition, a.Definition, -1, b
	}
	out := map[string]figures{}
	now, d := recompute(s.records, s.duration, from), from
	for _, st := range steps {
		if !st.differs(from, to) {
			continue
		}
		st.apply(&d, to)
		next := recompute(s.records, s.duration, d)
		f := figures{}
		for key, v := range next {
			if before, ok := now[key]; ok {
				f[key] = sign * (v - before)
			}
		}
		out[st.cause], now = f, next
	}
	return out
}

func (d *Difference) attribute(a, b Side, known map[string]figures) {
	for _, st := range steps {
		if !st.differs(a.Definition, b.Definition) || !st.touches(d.Figure) {
			continue
		}
		if known == nil {
			d.bound(st, a, b)
			continue
		}
		value, ok := known[st.cause][d.Figure]
		switch {
		case st.cause == CauseTokens && (a.Definition.Tokens == ByTokenizer || b.Definition.Tokens == ByTokenizer):
			d.add(Effect{Cause: st.cause, How: Bounded, Why: "one side counts with the client's tokenizer: its count needs the texts, which are not kept"})
		case st.cause == CauseWindow && (a.Definition.Window == OverWindow || b.Definition.Window == OverWindow || a.Definition.Window == OverRunAndInfo || b.Definition.Window == OverRunAndInfo):
			d.boundWindow(st, a, b)
		case ok:
			how, why := Computed, st.why+": "+describe(st.cause, a.Definition)+" → "+describe(st.cause, b.Definition)
			if st.cause == CauseConnection && reused(a, b) {
				how, why = Estimated, why+"; requests that reused a connection are given the mean of those that made one"
			}
			d.add(Effect{Cause: st.cause, How: how, Value: &value, Why: why})
		}
	}
	d.lengths(a, b)
	d.rest(a, b)
	slices.SortStableFunc(d.Effects, func(x, y Effect) int { return cmp.Compare(size(y), size(x)) })
}

func (d *Difference) add(e Effect) { d.Effects = append(d.Effects, e) }

// size orders effects; those without a value come last.
func size(e Effect) float64 {
	if e.Value == nil {
		return -1
	}
	return math.Abs(*e.Value)
}

func describe(cause string, d Definition) string {
	said := map[string]string{
		CauseTTFTEvent: d.TTFT, CauseE2EEnd: d.E2E, CauseTPOT: d.TPOT, CauseGaps: d.ITL, CauseTokens: d.Tokens,
		CauseWindow: d.Window, CauseLag: d.Stamps, CausePercentile: d.Percentile, CauseConnection: "outside",
	}[cause]
	if cause == CauseConnection && d.Connection {
		said = "inside"
	}
	if said == "" {
		return "not told"
	}
	return said
}

func reused(sides ...Side) bool {
	return slices.ContainsFunc(sides, func(s Side) bool {
		return slices.ContainsFunc(s.records, func(r sample.Record) bool {
			_, made := connectMade(&r)
			return !made
		})
	})
}

// later orders the events of a stream.
var later = map[string]int{AtFirstChoices: 1, AtFirstText: 2, AtLastText: 3, AtLastChoices: 4, AtDone: 5}

// bound says what definitions alone say of an effect: its sign, where there is
// one.
func (d *Difference) bound(st step, a, b Side) {
	e := Effect{Cause: st.cause, How: Bounded, Why: st.why + ": " + describe(st.cause, a.Definition) + " → " + describe(st.cause, b.Definition)}
	sign := 0
	switch st.cause {
	case CauseTTFTEvent:
		sign = later[b.Definition.TTFT] - later[a.Definition.TTFT]
		switch {
		case strings.Contains(d.Figure, "tpot"):
			sign = -sign
		case strings.Contains(d.Figure, "gap"):
			sign = 0
		}
	case CauseE2EEnd:
		sign = later[b.Definition.E2E] - later[a.Definition.E2E]
	case CauseConnection:
		sign = -1
		if b.Definition.Connection {
			sign = 1
		}
	case CauseLag:
		return // stands in the bound of the rest
	case CauseTPOT:
		if d.Figure == "mean_tpot_ms" {
			if v, ok := tpotByMeans(a, b); ok {
				d.add(Effect{Cause: st.cause, How: Estimated, Value: &v, Why: e.Why + ", from the means of A"})
				return
			}
		}
	case CauseWindow:
		d.boundWindow(st, a, b)
		return
	}
	e.signed(sign)
	d.add(e)
}

func (e *Effect) signed(sign int) {
	switch {
	case sign > 0:
		e.Low, e.Why = ptr(0.0), e.Why+"; it can only make the figure of B larger"
	case sign < 0:
		e.High, e.Why = ptr(0.0), e.Why+"; it can only make the figure of B smaller"
	}
}

// wide orders windows: a longer one makes throughputs smaller.
var wide = map[string]int{OverRequests: 1, OverRun: 2, OverRunAndInfo: 3}

func (d *Difference) boundWindow(st step, a, b Side) {
	e := Effect{Cause: st.cause, How: Bounded, Why: st.why + ": " + describe(st.cause, a.Definition) + " → " + describe(st.cause, b.Definition)}
	x, y := wide[a.Definition.Window], wide[b.Definition.Window]
	if x > 0 && y > 0 {
		e.signed(x - y)
	}
	d.add(e)
}

// tpotByMeans is TPOT under B's formula less that under A's, from A's means.
func tpotByMeans(a, b Side) (float64, bool) {
	ttft, hasTTFT := a.figures["mean_ttft_ms"]
	e2e, hasE2E := a.figures["mean_e2e_ms"]
	if !hasTTFT || !hasE2E || a.MeanOutput == nil || *a.MeanOutput <= 1 {
		return 0, false
	}
	n := *a.MeanOutput
	under := func(d Definition) float64 {
		if d.TPOT == TPOTWithFirst {
			return e2e / n
		}
		return (e2e - ttft) / (n - 1)
	}
	return under(b.Definition) - under(a.Definition), true
}

// lengths estimates what other mean lengths do. Who counts and who samples
// cannot be told apart by sums: the difference of the counts stands here unless
// counting was an effect of its own.
func (d *Difference) lengths(a, b Side) {
	if a.MeanOutput == nil || b.MeanOutput == nil {
		return
	}
	out := *b.MeanOutput - *a.MeanOutput - d.counted(a)
	in := 0.0
	if a.MeanInput != nil && b.MeanInput != nil {
		in = *b.MeanInput - *a.MeanInput
	}
	small := func(x, of float64) bool { return math.Abs(x) <= 0.001*math.Max(of, 1) }
	if small(out, *a.MeanOutput) && (a.MeanInput == nil || small(in, *a.MeanInput)) {
		return
	}
	why := fmt.Sprintf("mean output length %.1f → %.1f tokens", *a.MeanOutput, *b.MeanOutput)
	if a.MeanInput != nil && b.MeanInput != nil {
		why += fmt.Sprintf(", input %.1f → %.1f", *a.MeanInput, *b.MeanInput)
	}
	estimate := func(v float64, rule string) {
		d.add(Effect{Cause: CauseLengths, How: Estimated, Value: &v, Why: why + "; " + rule})
	}
	// Tokens/s are requests/s times tokens: at the mean requests/s the change of
	// tokens and, as the rest, that of requests/s add up exactly.
	rps, hasRPS := (a.figures["request_throughput"]+b.figures["request_throughput"])/2, a.has("request_throughput") && b.has("request_throughput")
	switch {
	case d.Figure == "mean_e2e_ms" && a.has("mean_tpot_ms"):
		estimate(a.figures["mean_tpot_ms"]*out, "TPOT of A for each token more")
	case d.Figure == "output_token_throughput" && hasRPS:
		estimate(rps*out, "the mean requests/s of both times the tokens more")
	case d.Figure == "total_token_throughput" && hasRPS:
		estimate(rps*(out+in), "the mean requests/s of both times the tokens more")
	case d.Figure == "mean_ttft_ms":
		if slope, ok := ttftSlope(a); ok {
			estimate(slope*in, "TTFT grows with the input by the least-squares slope of A's samples")
			return
		}
		e := Effect{Cause: CauseLengths, How: Bounded, Why: why + "; longer prompts take longer"}
		if in != 0 {
			e.signed(int(math.Copysign(1, in)))
		}
		d.add(e)
	default:
		d.add(Effect{Cause: CauseLengths, How: Bounded, Why: why})
	}
}

// counted is the part of the difference of mean output lengths that is due to
// counting, where that was computed.
func (d *Difference) counted(a Side) float64 {
	rps := a.figures["request_throughput"]
	for _, e := range d.Effects {
		if e.Cause == CauseTokens && e.Value != nil && rps > 0 && strings.Contains(d.Figure, "throughput") {
			return *e.Value / rps
		}
	}
	return 0
}

func (s Side) has(key string) bool { _, ok := s.figures[key]; return ok }

// ttftSlope is the least-squares slope of TTFT over input tokens, ms per token.
func ttftSlope(s Side) (float64, bool) {
	var n, sx, sy, sxx, sxy float64
	for i := range s.records {
		r := &s.records[i]
		if !r.OK() || r.Warmup || r.InputTokens <= 0 || r.FirstText == sample.Never {
			continue
		}
		x, y := float64(r.InputTokens), float64(r.FirstText-r.Send)*msPerNs
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	det := n*sxx - sx*sx
	if n < 10 || det <= 1e-9*n*sxx {
		return 0, false
	}
	return (n*sxy - sx*sy) / det, true
}

// rest is what no cause with a value explains. The lag of a client is a part of
// it that no result tells: a late reader only makes latencies longer.
func (d *Difference) rest(a, b Side) {
	left := d.Delta
	for _, e := range d.Effects {
		if e.Value != nil {
			left -= *e.Value
		}
	}
	d.add(Effect{Cause: CauseRest, How: Computed, Value: &left, Why: "what remains: bounded causes below, load, state of the server, noise"})
	if strings.HasSuffix(d.Unit, "/s") {
		return
	}
	e := Effect{Cause: CauseLag, How: Bounded, Low: ptr(math.Min(left, 0)), High: ptr(math.Max(left, 0)), Why: "another client's own lag: one that reads late makes latencies longer; it can explain no more than the rest"}
	if a.sendLag != nil && b.sendLag != nil {
		e.Why += fmt.Sprintf("; sends were late by %.3g ms in A and %.3g ms in B on average, outside these latencies", *a.sendLag, *b.sendLag)
	}
	d.add(e)
}

func (e *Explanation) notes() {
	note := func(format string, args ...any) { e.Notes = append(e.Notes, fmt.Sprintf(format, args...)) }
	switch {
	case e.A.Samples && e.B.Samples:
		note("both results have their samples: definitions are the same, and what differs is lengths, load, server and noise")
	case e.A.Samples || e.B.Samples:
		note("definitions are computed anew from the samples of one side; effects are in the order of a request's life, each after those before it")
	default:
		note("neither result has samples: definitions give signs, means give estimates; measure once with llmdyno and give its trial folder to get numbers")
	}
	if len(e.Differences) == 0 {
		note("the two results have no figure in common")
	}
	if a, b := e.A.Requests, e.B.Requests; a != nil && b != nil && *a != *b {
		note("A is over %d requests and B over %d: percentiles of few requests scatter", *a, *b)
	}
}
