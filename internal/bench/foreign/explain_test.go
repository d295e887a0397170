package foreign

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
)

const ms = 1_000_000

// trial makes n requests as a server with a role event 20 ms before the first
// text and a stream end 5 ms after the last event would answer them. Every
// second one makes a connection in 3 ms.
func trial(seed uint64, n int) (records []sample.Record, durationNs int64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		send := int64(i) * 50 * ms
		r := sample.New(i, send)
		r.Begin, r.Send, r.Header = send, send, send+10*ms
		if i%2 == 0 {
			r.Begin, r.Conn = send-3*ms, send
			r.Sched = r.Begin
		} else {
			r.ConnReused = true
		}
		at := send + int64(100+rng.IntN(50))*ms
		r.FirstChoices, r.FirstText = at-20*ms, at
		tokens := 5 + rng.IntN(20)
		for k := range tokens {
			r.Events = append(r.Events, sample.Event{At: at, Bytes: 80, Text: 4, Tokens: int32(k + 1)})
			at += int64(8+rng.IntN(5)) * ms
		}
		r.LastText = r.Events[tokens-1].At
		r.LastChoices, r.UsageAt, r.Done = r.LastText+ms, r.LastText+2*ms, r.LastText+5*ms
		r.InputTokens, r.OutputTokens, r.CachedTokens, r.TokensBy = 100+rng.IntN(100), tokens, -1, sample.TokensUsage
		r.WantInput, r.WantOutput, r.Finish, r.Status = 128, 32, "length", 200
		records = append(records, r)
		durationNs = max(durationNs, r.Done+40*ms)
	}
	return records, durationNs
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*math.Max(1, math.Abs(b)) }

// Under our own definitions the figures are those of the metrics, under a tool's
// those of its compatibility block.
func TestRecomputeAgreesWithMetrics(t *testing.T) {
	records, duration := trial(1, 60)
	records = append(records, sample.New(60, 0)) // one that was never sent
	records[60].Class = sample.ClassDropped
	sum := metric.Compute(records, duration, metric.Limits{})
	v, g := sum.Compat.VLLM, sum.Compat.SGLang
	ours := result.FromSummary(sum)
	sg := definitions[SGLang]
	sg.Connection, sg.Window = false, OverRun // the block leaves the connection out
	for _, c := range []struct {
		name string
		d    Definition
		want map[string]*float64
	}{
		{"native", native, map[string]*float64{
			"mean_ttft_ms": ours.TTFT.Mean, "p50_ttft_ms": ours.TTFT.P50, "p99_ttft_ms": ours.TTFT.P99, "mean_tpot_ms": ours.TPOT.Mean, "p99_tpot_ms": ours.TPOT.P99,
			"mean_e2e_ms": ours.E2E.Mean, "p99_e2e_ms": ours.E2E.P99, "mean_gap_ms": ours.EventGap.Mean, "p99_gap_ms": ours.EventGap.P99,
			"request_throughput": ours.RequestThroughput, "output_token_throughput": ours.OutputTokenThroughput, "total_token_throughput": ours.TotalTokenThroughput,
		}},
		{"vllm", definitions[VLLM], map[string]*float64{
			"mean_ttft_ms": v.MeanTTFT, "p50_ttft_ms": v.MedianTTFT, "p99_ttft_ms": v.P99TTFT, "mean_tpot_ms": v.MeanTPOT, "p99_tpot_ms": v.P99TPOT,
			"mean_e2e_ms": v.MeanE2EL, "p99_e2e_ms": v.P99E2EL, "mean_gap_ms": v.MeanITL, "p99_gap_ms": v.P99ITL, "request_throughput": v.RequestThroughput,
		}},
		{"sglang", sg, map[string]*float64{
			"mean_ttft_ms": g.MeanTTFT, "p99_ttft_ms": g.P99TTFT, "mean_tpot_ms": g.MeanTPOT, "p99_tpot_ms": g.P99TPOT, "mean_e2e_ms": g.MeanE2E, "p99_e2e_ms": g.P99E2E,
			"output_token_throughput": g.OutputThroughput,
		}},
	} {
		got := recompute(records, duration, c.d)
		for key, want := range c.want {
			if !near(got[key], *want) {
				t.Errorf("%s: %s = %v, metrics say %v", c.name, key, got[key], *want)
			}
		}
	}
}

func effect(e Explanation, figure, cause string) (Effect, bool) {
	for _, d := range e.Differences {
		if d.Figure == figure {
			i := slices.IndexFunc(d.Effects, func(f Effect) bool { return f.Cause == cause })
			if i < 0 {
				return Effect{}, false
			}
			return d.Effects[i], true
		}
	}
	return Effect{}, false
}

// as is the file that a tool would have written of the very same requests.
func as(f Format, records []sample.Record, duration int64) Side {
	d := definitions[f]
	got := recompute(records, duration, d)
	in, out := int64(0), int64(0)
	for i := range records {
		in, out = in+int64(records[i].InputTokens), out+int64(records[i].OutputTokens)
	}
	p := func(key string) *float64 { x := got[key]; return &x }
	m := result.Metrics{
		TTFT: result.Latency{Mean: p("mean_ttft_ms"), P50: p("p50_ttft_ms"), P99: p("p99_ttft_ms")},
		TPOT: result.Latency{Mean: p("mean_tpot_ms")}, E2E: result.Latency{Mean: p("mean_e2e_ms")},
		RequestThroughput: p("request_throughput"), OutputTokenThroughput: p("output_token_throughput"),
		Succeeded: ptr(len(records)), InputTokens: &in, OutputTokens: &out,
	}
	return FromRow(string(f), result.Row{Metrics: m, Imported: &result.Imported{Tool: string(f)}})
}

// Of the same requests everything is definition: nothing remains.
func TestSameRequestsLeaveNoRest(t *testing.T) {
	records, duration := trial(2, 80)
	ours := FromSamples("trial", records, duration)
	for _, f := range []Format{VLLM, TRTLLM, AIPerf, GuideLLM, InferencePerf, SGLang} {
		for _, e := range []Explanation{Explain(ours, as(f, records, duration)), Explain(as(f, records, duration), ours)} {
			if len(e.Differences) == 0 {
				t.Fatalf("%s: nothing in common", f)
			}
			for _, d := range e.Differences {
				if d.Unit != "ms" {
					continue // a window of others can only be bounded
				}
				for _, x := range d.Effects {
					if x.Cause == CauseRest && math.Abs(*x.Value) > 1e-6 {
						t.Errorf("%s: %s leaves %v of %v: %+v", f, d.Figure, *x.Value, d.Delta, d.Effects)
					}
				}
			}
		}
	}
}

// The effects by hand: a role event 20 ms earlier; a connection of 3 ms; a
// stream end 4 ms after the last event with choices.
func TestEffectsByHand(t *testing.T) {
	records, duration := trial(3, 40)
	ours := FromSamples("trial", records, duration)
	for _, c := range []struct {
		tool          Format
		figure, cause string
		how           string
		value         float64
	}{
		{VLLM, "mean_ttft_ms", CauseTTFTEvent, Computed, -20},
		{SGLang, "mean_ttft_ms", CauseConnection, Estimated, 3},
		{SGLang, "mean_e2e_ms", CauseE2EEnd, Computed, 4},
		{InferencePerf, "mean_e2e_ms", CauseE2EEnd, Computed, -1},
	} {
		e := Explain(ours, as(c.tool, records, duration))
		got, ok := effect(e, c.figure, c.cause)
		if !ok || got.Value == nil || !near(*got.Value, c.value) || got.How != c.how {
			t.Errorf("%s: %s by %s is %+v, want %v %s", c.tool, c.figure, c.cause, got, c.value, c.how)
		}
	}
}

// What the client's own clock would have said is computed from its lag.
func TestClientLag(t *testing.T) {
	records, duration := trial(6, 30)
	for i := range records {
		for k := range records[i].Events {
			records[i].Events[k].Kernel, records[i].Events[k].LagUs = true, 250
		}
	}
	e := Explain(FromSamples("trial", records, duration), as(SGLang, records, duration))
	got, ok := effect(e, "mean_ttft_ms", CauseLag)
	if !ok || got.How != Computed || !near(*got.Value, 0.25) {
		t.Errorf("lag is %+v, want 0.25 ms", got)
	}
}

// Longer answers are named as the cause, also between two results of ours.
func TestLengths(t *testing.T) {
	a, durA := trial(4, 40)
	b, durB := trial(4, 40)
	for i := range b {
		b[i].OutputTokens *= 2
	}
	e := Explain(FromSamples("a", a, durA), FromSamples("b", b, durB))
	got, ok := effect(e, "output_token_throughput", CauseLengths)
	rest, _ := effect(e, "output_token_throughput", CauseRest)
	if !ok || got.Value == nil || *got.Value <= 0 || math.Abs(*rest.Value) > 0.01**got.Value {
		t.Errorf("lengths explain %+v, rest %+v", got, rest)
	}
}

// Without samples signs and estimates remain, and it is said.
func TestTwoForeignFiles(t *testing.T) {
	a, _ := read(t, "vllm.json", Options{})
	b, _ := read(t, "sglang.jsonl", Options{})
	e := Explain(FromRow("vllm.json", a[0]), FromRow("sglang.jsonl", b[0]))
	if len(e.Differences) == 0 || !strings.Contains(strings.Join(e.Notes, " "), "neither result has samples") {
		t.Fatalf("explanation %+v", e)
	}
	for _, cause := range []string{CauseConnection, CauseTTFTEvent} {
		got, ok := effect(e, "mean_ttft_ms", cause)
		if !ok || got.How != Bounded || got.Low == nil || *got.Low != 0 || got.High != nil {
			t.Errorf("%s is %+v, want at least 0", cause, got)
		}
	}
	back := Explain(FromRow("sglang.jsonl", b[0]), FromRow("vllm.json", a[0]))
	if got, _ := effect(back, "mean_ttft_ms", CauseConnection); got.High == nil || *got.High != 0 {
		t.Errorf("the other way round it is %+v, want at most 0", got)
	}
}

func TestNothingInCommon(t *testing.T) {
	e := Explain(FromRow("a", result.Row{}), FromRow("b", result.Row{}))
	if len(e.Differences) != 0 || len(e.Notes) < 2 {
		t.Errorf("explanation %+v", e)
	}
}

// Whatever the two are, the effects add up, and come by size.
func TestEffectsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "n")
		a, durA := trial(rapid.Uint64().Draw(t, "a"), n)
		b, durB := trial(rapid.Uint64().Draw(t, "b"), rapid.IntRange(1, 30).Draw(t, "m"))
		side := func(name string, r []sample.Record, dur int64) Side {
			if f := rapid.SampledFrom(append(slices.Clone(Formats), "")).Draw(t, name); f != "" {
				return as(f, r, dur)
			}
			return FromSamples(name, r, dur)
		}
		for _, d := range Explain(side("A", a, durA), side("B", b, durB)).Differences {
			sum, last := 0.0, math.Inf(1)
			for _, e := range d.Effects {
				if size(e) > last {
					t.Fatalf("%s: effects out of order: %+v", d.Figure, d.Effects)
				}
				if last = size(e); e.Value != nil {
					sum += *e.Value
				}
			}
			if !near(sum, d.Delta) {
				t.Fatalf("%s: effects add up to %v, the difference is %v", d.Figure, sum, d.Delta)
			}
		}
	})
}

// A tool that gives every token of an event the time of the event sees zeros.
func TestGapRules(t *testing.T) {
	r := sample.New(0, 0)
	r.Send, r.FirstText, r.FirstChoices, r.OutputTokens = 0, 10*ms, 10*ms, 6
	r.Events = []sample.Event{{At: 10 * ms, Text: 3, Tokens: 1}, {At: 40 * ms, Text: 9, Tokens: 4}, {At: 60 * ms, Text: 5, Tokens: 6}}
	r.LastText, r.LastChoices, r.Done = 60*ms, 60*ms, 60*ms
	for rule, want := range map[string][]float64{
		GapsOfEvents: {30, 20}, GapsOfTokens: {10, 10, 10, 10, 10}, GapsOfTokens0: {30, 0, 0, 20, 0}, "": nil,
	} {
		if got := gapsOf(&r, Definition{ITL: rule}); !slices.EqualFunc(got, want, near) {
			t.Errorf("%q: %v, want %v", rule, got, want)
		}
	}
}

func TestPercentileRules(t *testing.T) {
	x := []float64{1, 2, 3, 4}
	for rule, want := range map[string][3]float64{ // at 0.5, 0.75, 0.99
		PercentileLine: {2.5, 3.25, 3.97}, PercentileRank: {2, 3, 4}, PercentileIndex: {3, 4, 4},
	} {
		for i, q := range []float64{0.5, 0.75, 0.99} {
			if got := percentile(x, q, Definition{Percentile: rule}); !near(got, want[i]) {
				t.Errorf("%s at %v: %v, want %v", rule, q, got, want[i])
			}
		}
	}
}

// A count that the server did not send is the length asked for with some tools.
func TestTokenCounting(t *testing.T) {
	records, duration := trial(5, 30)
	for i := range records {
		records[i].TokensBy = sample.TokensTokenizer
	}
	e := Explain(FromSamples("trial", records, duration), as(SGLang, records, duration))
	got, ok := effect(e, "output_token_throughput", CauseTokens)
	if !ok || got.Value == nil || *got.Value <= 0 {
		t.Errorf("token counting is %+v: 32 tokens were asked for, fewer came", got)
	}
}
