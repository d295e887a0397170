package metric

import (
	"encoding/json"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"llmdyno/internal/load/sample"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const never = sample.Never

// answer is a successful request: its first text at first after its send, then
// one token each gap, n in all; instants and durations in ms.
func answer(index int, send, first, gap int64, n int) sample.Record {
	const ms = 1_000_000
	r := sample.New(index, send*ms)
	r.Begin, r.Send, r.Header = send*ms, send*ms, (send+first/2)*ms
	for i := range n {
		at := (send + first + int64(i)*gap) * ms
		r.Events = append(r.Events, sample.Event{At: at, Bytes: 90, Text: 4, Tokens: int32(i + 1)})
		r.LastText = at
	}
	r.FirstText, r.FirstChoices, r.LastChoices = r.Events[0].At, r.Events[0].At, r.LastText
	r.UsageAt, r.Done = r.LastText, r.LastText+2*ms
	r.InputTokens, r.OutputTokens, r.CachedTokens, r.TokensBy = 100, n, 0, sample.TokensUsage
	r.WantInput, r.WantOutput, r.Finish, r.Status = 100, n, "length", 200
	return r
}

func failed(index int, send int64, class sample.Class) sample.Record {
	r := sample.New(index, send*1_000_000)
	r.Class, r.Error = class, "words"
	if class != sample.ClassDropped {
		r.Begin, r.Send, r.Done = r.Sched, r.Sched, r.Sched+5_000_000
	}
	return r
}

// dist is a distribution without the quantiles that only a curve needs.
func dist(n int, mean, p50, p90, p95, p99, least, most, stddev float64) *Dist {
	return &Dist{N: n, Mean: mean, P50: p50, P90: p90, P95: p95, P99: p99, Min: least, Max: most, Stddev: stddev}
}

var (
	noCurve = cmpopts.IgnoreFields(Dist{}, "Quantiles")
	// What confidence_test.go holds.
	noConfidence = cmpopts.IgnoreFields(Summary{}, "Steady", "Intervals")
)

// Two requests by hand: sent at 0 and 1000 ms, TTFT 100 and 200 ms, 5 tokens
// 10 ms apart and 3 tokens 20 ms apart.
func TestFiguresByHand(t *testing.T) {
	records := []sample.Record{answer(0, 0, 100, 10, 5), answer(1, 1000, 200, 20, 3)}
	s := Compute(records, 2_000_000_000, Limits{TTFTMs: 150})
	want := Summary{
		DurationS: 2, Counts: Counts{Planned: 2, Sent: 2, Succeeded: 2},
		InputTokens: ptr[int64](200), OutputTokens: ptr[int64](8), CachedTokens: ptr[int64](0),
		RequestThroughput: ptr(1.0), InputTokenThroughput: ptr(100.0), OutputTokenThroughput: ptr(4.0), TotalTokenThroughput: ptr(104.0),
		PeakOutputTokens: ptr(5.0), AchievedRate: ptr(1.0), SuccessRate: ptr(1.0), Limits: &Limits{TTFTMs: 150},
		Goodput: ptr(0.5), Attainment: ptr(0.5), MeanConcurrency: ptr(0.19), PeakConcurrency: ptr(1),
		TTFT:         dist(2, 150, 150, 190, 195, 199, 100, 200, 50),
		E2E:          dist(2, 190, 190, 230, 235, 239, 140, 240, 50), // 100 + 4·10, 200 + 2·20
		TPOT:         dist(2, 15, 15, 19, 19.5, 19.9, 10, 20, 5),
		ITL:          dist(6, 80.0/6, 10, 20, 20, 20, 10, 20, math.Sqrt(200.0/9)),
		EventGap:     dist(6, 80.0/6, 10, 20, 20, 20, 10, 20, math.Sqrt(200.0/9)),
		NTPOT:        dist(2, 54, 54, 74.8, 77.4, 79.48, 28, 80, 26), // 140/5, 240/3
		E2EFromSched: dist(2, 190, 190, 230, 235, 239, 140, 240, 50), SendLag: &Dist{N: 2},
		TokensPerEvent: dist(6, 1, 1, 1, 1, 1, 1, 1, 0), MeanTokensPerEvent: ptr(1.0),
		FinishReasons: map[string]int{"length": 2}, TokenSources: map[string]int{"usage": 2}, SharedEventRatio: ptr(0.0),
	}
	if d := cmp.Diff(want, s, cmpopts.IgnoreFields(Summary{}, "Compat"), noCurve, noConfidence, cmpopts.EquateApprox(1e-12, 1e-9)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// One answer with an empty first event at 80 ms, text at 100, 110 and 130 ms
// (the last with 2 tokens), an empty last event at 135 ms, end at 140 ms.
func TestCompatBlocksByHand(t *testing.T) {
	const ms = 1_000_000
	r := answer(0, 0, 100, 10, 2)
	r.Events = append(r.Events, sample.Event{At: 130 * ms, Text: 8, Tokens: 4})
	r.FirstChoices, r.LastText, r.LastChoices, r.Done, r.OutputTokens = 80*ms, 130*ms, 135*ms, 140*ms, 4
	s := Compute([]sample.Record{r, failed(1, 10, sample.ClassReset)}, 500*ms, Limits{TTFTMs: 90})
	v, g := s.Compat.VLLM, s.Compat.SGLang
	figures := map[string][2]float64{
		"ttft":                {s.TTFT.Mean, 100},
		"e2e":                 {s.E2E.Mean, 135},
		"tpot":                {s.TPOT.Mean, 35.0 / 3},
		"event gap":           {s.EventGap.Mean, 15},
		"itl":                 {s.ITL.Mean, 10}, // 10, then 20 ms for two tokens
		"itl n":               {float64(s.ITL.N), 3},
		"vllm ttft":           {*v.MeanTTFT, 80},
		"vllm tpot":           {*v.MeanTPOT, 55.0 / 3},
		"vllm itl":            {*v.MeanITL, 55.0 / 4}, // 80→100→110→130→135
		"vllm median itl":     {*v.MedianITL, 15},
		"vllm e2el":           {*v.MeanE2EL, 135},
		"vllm goodput":        {*v.RequestGoodput, 2}, // its TTFT of 80 ms keeps the limit
		"vllm peak":           {*v.MaxOutputTokensPerS, 3},
		"vllm failed":         {float64(v.Failed), 1},
		"vllm requests":       {*v.RequestThroughput, 2},
		"vllm output":         {*v.OutputThroughput, 8},
		"vllm total":          {*v.TotalTokenThroughput, 208},
		"goodput":             {*s.Goodput, 0},
		"peak":                {*s.PeakOutputTokens, 4},
		"sglang e2e":          {*g.MeanE2E, 140},
		"sglang ttft":         {*g.MeanTTFT, 100},
		"sglang tpot":         {*g.MeanTPOT, 40.0 / 3},
		"sglang itl":          {*g.MeanITL, 10},
		"sglang concurrency":  {*g.Concurrency, 0.28},
		"sglang input":        {*g.InputThroughput, 200},
		"success rate":        {*s.SuccessRate, 0.5},
		"attainment of limit": {*s.Attainment, 0},
	}
	for name, f := range figures {
		if math.Abs(f[0]-f[1]) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, f[0], f[1])
		}
	}
	keys := map[string]any{}
	text, _ := json.Marshal(v)
	if err := json.Unmarshal(text, &keys); err != nil || keys["p99_e2el_ms"] != 135.0 || keys["max_output_tokens_per_s"] != 3.0 {
		t.Errorf("keys of the block: %s", text)
	}
}

func TestITLKeepsTheTimeOfEventsWithoutTokens(t *testing.T) {
	r := answer(0, 0, 100, 10, 4)
	r.Events[2].Tokens = 2 // a piece of a character: no token of its own
	s := Compute([]sample.Record{r}, 1e9, Limits{})
	if want := dist(3, 10, 10, 10, 10, 10, 10, 10, 0); cmp.Diff(want, s.ITL, noCurve) != "" {
		t.Errorf("ITL %+v, want %+v", s.ITL, want) // 10 ms for token 2; 20 ms for tokens 3 and 4
	}
	if s.EventGap.N != 3 {
		t.Errorf("event gap %+v", s.EventGap)
	}
	r.Events[3].Tokens = 0
	if s := Compute([]sample.Record{r}, 1e9, Limits{}); s.ITL != nil || *s.PeakOutputTokens != 4 {
		t.Errorf("with an event that tells no count: ITL %+v, peak %v", s.ITL, *s.PeakOutputTokens)
	}
}

// What a server claims on one event cannot fill the memory.
func TestAbsurdCountsAreNotBelieved(t *testing.T) {
	r := answer(0, 0, 100, 10, 3)
	r.Events[2].Tokens = math.MaxInt32
	if s := Compute([]sample.Record{r}, 1e9, Limits{}); s.ITL != nil || s.EventGap.N != 2 {
		t.Errorf("ITL %+v", s.ITL)
	}
}

func TestNothingMeasuredIsAbsent(t *testing.T) {
	for name, records := range map[string][]sample.Record{
		"no records": nil,
		"dropped":    {failed(0, 0, sample.ClassDropped)},
		"failed":     {failed(0, 0, sample.ClassTimeout)},
		"warm-up":    {func() sample.Record { r := answer(0, 0, 1, 1, 2); r.Warmup = true; return r }()},
	} {
		s := Compute(records, 0, Limits{})
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"ttft", "throughput", "tokens\"", "goodput", "attainment", "vllm"} {
			if strings.Contains(string(text), key) {
				t.Errorf("%s: %s holds %s", name, text, key)
			}
		}
	}
}

func TestOneTokenAnswers(t *testing.T) {
	s := Compute([]sample.Record{answer(0, 0, 100, 10, 1)}, 1e9, Limits{TPOTMs: 1})
	if s.TPOT != nil || *s.Goodput != 1 || s.NTPOT.Mean != 100 || s.EventGap != nil {
		t.Errorf("%+v, goodput %v", s.TPOT, *s.Goodput)
	}
	whole := answer(0, 0, 100, 10, 5) // a reply that was no stream
	whole.Events, whole.FirstText, whole.FirstChoices, whole.LastText = nil, never, never, never
	s = Compute([]sample.Record{whole}, 1e9, Limits{TTFTMs: 1e9, TPOTMs: 1e9})
	if s.TTFT != nil || s.TPOT != nil || s.E2E.Mean != 140 || *s.Goodput != 0 {
		t.Errorf("a reply without stream: TTFT %+v, goodput %v", s.TTFT, *s.Goodput)
	}
}

func TestLimits(t *testing.T) {
	r := answer(0, 0, 100, 10, 5)
	for _, tt := range []struct {
		lim  Limits
		good float64
	}{
		{Limits{TTFTMs: 100, TPOTMs: 10, E2EMs: 140}, 1}, // met exactly
		{Limits{TTFTMs: 99.999}, 0}, {Limits{TPOTMs: 9.999}, 0}, {Limits{E2EMs: 139.999}, 0},
	} {
		if s := Compute([]sample.Record{r, failed(1, 0, sample.ClassDropped)}, 1e9, tt.lim); *s.Goodput != tt.good || *s.Attainment != tt.good/2 {
			t.Errorf("%+v: goodput %v, attainment %v", tt.lim, *s.Goodput, *s.Attainment)
		}
	}
	if s := Compute([]sample.Record{r}, 1e9, Limits{}); s.Goodput != nil || s.Attainment != nil || s.Limits != nil {
		t.Error("goodput without a limit")
	}
}

func TestPeakConcurrency(t *testing.T) {
	records := []sample.Record{
		answer(0, 0, 50, 10, 6), answer(1, 100, 50, 10, 6), // the second begins where the first ends
		answer(2, 150, 50, 10, 6), failed(3, 160, sample.ClassReset),
	}
	if s := Compute(records, 1e9, Limits{}); *s.PeakConcurrency != 3 {
		t.Errorf("peak %d, want 3 (half-open intervals, failures too)", *s.PeakConcurrency)
	}
}

func TestWarnings(t *testing.T) {
	set := func(change func(*sample.Record)) []sample.Record {
		r := answer(0, 0, 100, 10, 5)
		for i := range r.Events {
			r.Events[i].Tokens = 0 // the case is about the count at the end
		}
		change(&r)
		return []sample.Record{r}
	}
	odd := func() []sample.Record { // one answer of 400 is far too short, and too few are to speak of short answers
		var all []sample.Record
		for i := range 400 {
			r := answer(i, int64(10*i), 100, 10, 5)
			r.IgnoreEOS = true
			all = append(all, r)
		}
		all[7] = answer(7, 70, 100, 10, 5)
		all[7].IgnoreEOS, all[7].WantOutput = true, 1000
		return all
	}
	tests := []struct {
		code    string
		records []sample.Record
		words   string
	}{
		{"", []sample.Record{answer(0, 0, 100, 10, 5)}, ""},
		{"", set(func(r *sample.Record) { r.OutputTokens = 4; r.Finish = "stop" }), ""}, // may end early
		{"short-output", set(func(r *sample.Record) { r.IgnoreEOS = true; r.OutputTokens = 4 }), "1 of 1 answers ended before"},
		{"short-output", set(func(r *sample.Record) { r.IgnoreEOS = true; r.Finish = "stop" }), "1 of 1"},
		{"", set(func(r *sample.Record) { r.IgnoreEOS = true }), ""},
		{"short-output", set(func(r *sample.Record) { r.IgnoreEOS = true; r.OutputTokens = 4 }), "(4 output tokens counted where 5 were asked for, ratio 0.800)"},
		{"output-count-wrong", set(func(r *sample.Record) { r.IgnoreEOS = true; r.OutputTokens = 10 }), "(10 output tokens counted where 5 were asked for, ratio 2.000)"},
		{"output-count-differs", odd(), "(2000 output tokens counted where 2995 were asked for, ratio 0.668): figures use the server's count"},
		{"event-counts-differ", set(func(r *sample.Record) {
			for i := range r.Events {
				r.Events[i].Tokens = int32(2 * (i + 1))
			}
			r.WantOutput = 10
		}), "on stream events add up to 10 output tokens, those at the end of its answers to 5"},
		{"tokens-recounted", set(func(r *sample.Record) { r.OutputTokens, r.TokensBy = 9, sample.TokensServer }), "for 1 answers: their text was counted afterwards by the server's tokenizer; all that were counted so have 9 tokens in 5 stream events"},
		{"tokens-recounted", set(func(r *sample.Record) { r.OutputTokens, r.TokensBy = 9, sample.TokensTokenizer }), "by the tokenizer given"},
		{"output-count-wrong", set(func(r *sample.Record) { r.OutputTokens = 6 }), "of 1 answers cannot be right"},
		{"output-count-wrong", set(func(r *sample.Record) { r.OutputTokens = 2 }), "too few"},
		{"", set(func(r *sample.Record) { r.OutputTokens, r.WantOutput = 6, 0 }), ""},
		{"input-count-differs", set(func(r *sample.Record) { r.InputTokens = 102 }), "ratio 1.020"},
		{"", set(func(r *sample.Record) { r.InputTokens = 101 }), ""},
		{"prefix-cache-hits", set(func(r *sample.Record) { r.CachedTokens = 6 }), "6 of 100 prompt tokens (6.0 %)"},
		{"", set(func(r *sample.Record) { r.CachedTokens = 5 }), ""},
		{"tokens-from-events", set(func(r *sample.Record) { r.TokensBy = sample.TokensEvents }), "for 1 answers"},
		{"tokens-unknown", set(func(r *sample.Record) { r.OutputTokens, r.TokensBy = 0, "" }), "1 answers have no output token count"},
		{"input-tokens-unknown", set(func(r *sample.Record) { r.InputTokens = 0 }), "1 answers have no prompt token count"},
		{"stale-connections", set(func(r *sample.Record) { r.StaleRetry = true }), "1 requests were sent a second time"},
		{"events-coalesced", set(func(r *sample.Record) { r.Events[1].Shared = true }), "1 of 5 stream events"},
		{"nothing-succeeded", []sample.Record{failed(0, 0, sample.ClassReset)}, "none of 1 requests"},
		{"arrivals-dropped", []sample.Record{answer(0, 0, 100, 10, 5), failed(1, 0, sample.ClassDropped)}, "1 of 2 arrivals"},
		{"requests-failed", []sample.Record{
			answer(0, 0, 100, 10, 5), failed(1, 0, sample.ClassTruncated), failed(2, 0, sample.ClassInBand), failed(3, 0, sample.ClassTruncated)},
			"3 of 4 requests sent failed (75.0 %: 2 truncated, 1 in_band): latencies are over the 1 that succeeded"},
	}
	for _, tt := range tests {
		w := Compute(tt.records, 1e9, Limits{}).Warnings
		if tt.code == "" && len(w) > 0 || tt.code != "" && (len(w) != 1 || w[0].Code != tt.code || !strings.Contains(w[0].Message, tt.words)) {
			t.Errorf("warnings %+v, want %q with %q", w, tt.code, tt.words)
		}
	}
}

// Two answers by hand whose events carry several tokens, one after reasoning and
// one with a tool call.
func TestSeveralTokensAnEvent(t *testing.T) {
	const ms = 1_000_000
	counts := func(r *sample.Record, tokens ...int32) {
		for i, n := range tokens {
			r.Events[i].Tokens = n
		}
		r.OutputTokens = int(tokens[len(tokens)-1])
	}
	thinks := answer(0, 0, 100, 40, 4) // events at 100, 140, 180, 220 ms
	counts(&thinks, 1, 5, 5, 8)        // the third brings half a character
	thinks.FirstReasoning, thinks.FirstVisible = 100*ms, 180*ms
	calls := answer(1, 1000, 50, 30, 3) // 1050, 1080, 1110
	counts(&calls, 1, 3, 6)
	calls.FirstTool = 1080 * ms
	calls.FirstVisible = 1050 * ms
	s := Compute([]sample.Record{thinks, calls}, 2_000_000_000, Limits{})
	for _, tt := range []struct {
		what      string
		got, want *Dist
	}{
		{"event gap", s.EventGap, dist(5, 36, 40, 40, 40, 40, 30, 40, math.Sqrt(24))},
		// 40 ms for 4 tokens, 80 for 3, 30 for 2, 30 for 3
		{"ITL", s.ITL, NewDist([]float64{10, 10, 10, 10, 80. / 3, 80. / 3, 80. / 3, 15, 15, 10, 10, 10})},
		{"tokens per event", s.TokensPerEvent, NewDist([]float64{4, 0, 3, 2, 3})},
		{"first visible", s.TTFTVisible, NewDist([]float64{180, 50})},
		{"first reasoning", s.TTFTReasoning, NewDist([]float64{100})},
		{"first tool", s.TTFTTool, NewDist([]float64{80})},
		{"TTFT", s.TTFT, NewDist([]float64{100, 50})},
	} {
		if d := cmp.Diff(tt.want, tt.got, noCurve, cmpopts.EquateApprox(1e-12, 1e-9)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, d)
		}
	}
	if s.MeanTokensPerEvent == nil || *s.MeanTokensPerEvent != 12.0/5 {
		t.Errorf("mean tokens an event %v, want 2.4", s.MeanTokensPerEvent)
	}
	for i := range calls.Events {
		calls.Events[i].Tokens = 0 // the answer's tokens alone are known
	}
	calls.TokensBy = sample.TokensServer
	s = Compute([]sample.Record{calls}, 2_000_000_000, Limits{})
	if s.TokensPerEvent != nil || s.ITL != nil || *s.MeanTokensPerEvent != 2.5 {
		t.Errorf("without counts on events: %v, ITL %v, mean %v; want none, none and 5 tokens in 2 events", s.TokensPerEvent, s.ITL, *s.MeanTokensPerEvent)
	}
	calls.TokensBy, calls.OutputTokens = sample.TokensEvents, 3
	if s = Compute([]sample.Record{calls}, 2_000_000_000, Limits{}); s.MeanTokensPerEvent != nil {
		t.Errorf("events that stand in for tokens: mean %v", *s.MeanTokensPerEvent)
	}
}

// records draws a trial.
func trial(t *rapid.T) []sample.Record {
	n := rapid.IntRange(0, 30).Draw(t, "n")
	out := make([]sample.Record, 0, n)
	for i := range n {
		send := rapid.Int64Range(0, 5000).Draw(t, "send")
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			out = append(out, failed(i, send, sample.ClassReset))
		case 1:
			out = append(out, failed(i, send, sample.ClassDropped))
		default:
			r := answer(i, send, rapid.Int64Range(1, 900).Draw(t, "first"), rapid.Int64Range(0, 90).Draw(t, "gap"), rapid.IntRange(1, 12).Draw(t, "tokens"))
			r.Sched -= rapid.Int64Range(0, min(send, 40)).Draw(t, "lag") * 1_000_000
			out = append(out, r)
		}
	}
	return out
}

var close9 = cmpopts.EquateApprox(1e-9, 1e-9)

func TestPermutingChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := trial(t)
		want := Compute(records, 7e9, Limits{TTFTMs: 300, TPOTMs: 40})
		got := Compute(rapid.Permutation(records).Draw(t, "order"), 7e9, Limits{TTFTMs: 300, TPOTMs: 40})
		if d := cmp.Diff(want, got, close9); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	})
}

// moved maps every instant of the records.
func moved(records []sample.Record, f func(int64) int64) []sample.Record {
	out := slices.Clone(records)
	for i := range out {
		r := &out[i]
		for _, at := range []*int64{&r.Sched, &r.Begin, &r.Send, &r.Conn, &r.Header, &r.FirstChoices, &r.FirstText, &r.LastText, &r.FirstReasoning, &r.FirstVisible, &r.FirstTool, &r.LastChoices, &r.UsageAt, &r.Done} {
			if *at != never {
				*at = f(*at)
			}
		}
		r.Events = slices.Clone(r.Events)
		for k := range r.Events {
			r.Events[k].At = f(r.Events[k].At)
		}
	}
	return out
}

func TestShiftingChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records, by := trial(t), rapid.Int64Range(0, 1e12).Draw(t, "by")
		want := Compute(records, 7e9, Limits{E2EMs: 500})
		got := Compute(moved(records, func(at int64) int64 { return at + by }), 7e9, Limits{E2EMs: 500})
		if d := cmp.Diff(want, got, close9); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	})
}

func TestScalingScales(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records, k := trial(t), rapid.Int64Range(1, 50).Draw(t, "k")
		a := Compute(records, 7e9, Limits{})
		b := Compute(moved(records, func(at int64) int64 { return at * k }), 7e9*k, Limits{})
		for _, d := range []struct{ a, b *Dist }{{a.TTFT, b.TTFT}, {a.E2E, b.E2E}, {a.TPOT, b.TPOT}, {a.ITL, b.ITL}, {a.EventGap, b.EventGap}, {a.NTPOT, b.NTPOT}, {a.E2EFromSched, b.E2EFromSched}, {a.SendLag, b.SendLag}} {
			if d.a == nil && d.b == nil {
				continue
			}
			f := float64(k)
			want := dist(d.a.N, d.a.Mean*f, d.a.P50*f, d.a.P90*f, d.a.P95*f, d.a.P99*f, d.a.Min*f, d.a.Max*f, d.a.Stddev*f)
			if diff := cmp.Diff(want, d.b, close9, noCurve); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		}
		for _, r := range []struct{ a, b *float64 }{{a.RequestThroughput, b.RequestThroughput}, {a.OutputTokenThroughput, b.OutputTokenThroughput}, {a.TotalTokenThroughput, b.TotalTokenThroughput}, {a.AchievedRate, b.AchievedRate}} {
			if (r.a == nil) != (r.b == nil) || r.a != nil && math.Abs(*r.a-*r.b*float64(k)) > 1e-9*(1+*r.a) {
				t.Fatalf("throughput %v, scaled by %d: %v", r.a, k, r.b)
			}
		}
		if d := cmp.Diff(a.MeanConcurrency, b.MeanConcurrency, close9); d != "" || cmp.Diff(a.PeakConcurrency, b.PeakConcurrency) != "" {
			t.Fatalf("concurrency %s", d)
		}
	})
}

func TestCuttingAndMerging(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := trial(t)
		cut := rapid.IntRange(0, len(records)).Draw(t, "cut")
		a, b := Compute(records[:cut], 7e9, Limits{}), Compute(records[cut:], 7e9, Limits{})
		whole := Compute(slices.Concat(records[cut:], records[:cut]), 7e9, Limits{})
		sum := Counts{a.Counts.Planned + b.Counts.Planned, a.Counts.Sent + b.Counts.Sent, a.Counts.Succeeded + b.Counts.Succeeded, a.Counts.Failed + b.Counts.Failed, a.Counts.Dropped + b.Counts.Dropped}
		if whole.Counts != sum {
			t.Fatalf("counts %+v, want %+v", whole.Counts, sum)
		}
		add := func(x, y *int64) int64 {
			n := int64(0)
			for _, v := range []*int64{x, y} {
				if v != nil {
					n += *v
				}
			}
			return n
		}
		if add(whole.OutputTokens, nil) != add(a.OutputTokens, b.OutputTokens) || add(whole.InputTokens, nil) != add(a.InputTokens, b.InputTokens) {
			t.Fatal("token sums differ")
		}
		for _, d := range []struct{ a, b, whole *Dist }{{a.TTFT, b.TTFT, whole.TTFT}, {a.ITL, b.ITL, whole.ITL}, {a.E2E, b.E2E, whole.E2E}} {
			n, total, least, most := 0, 0.0, math.Inf(1), math.Inf(-1)
			for _, x := range []*Dist{d.a, d.b} {
				if x != nil {
					n, total, least, most = n+x.N, total+x.Mean*float64(x.N), min(least, x.Min), max(most, x.Max)
				}
			}
			if n == 0 {
				continue
			}
			if d.whole.N != n || math.Abs(d.whole.Mean*float64(n)-total) > 1e-6 || d.whole.Min != least || d.whole.Max != most {
				t.Fatalf("%+v is not the merger of %+v and %+v", d.whole, d.a, d.b)
			}
		}
	})
}

// Quantiles against the definition of type 7 and an example by hand.
func TestQuantile(t *testing.T) {
	x := []float64{1, 2, 4, 8}
	for q, want := range map[float64]float64{0: 1, 0.25: 1.75, 0.5: 3, 0.9: 6.8, 0.99: 7.88, 1: 8} {
		if got := Quantile(x, q); math.Abs(got-want) > 1e-12 {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), 1, 50).Draw(t, "x")
		slices.Sort(x)
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		got := Quantile(x, q)
		below := 0
		for _, v := range x {
			if v <= got+1e-9 {
				below++
			}
		}
		if got < x[0] || got > x[len(x)-1] || float64(below) < q*float64(len(x)-1) {
			t.Fatalf("quantile %v of %v: %v", q, x, got)
		}
	})
}

// The whole summary as a reader of the file sees it.
func TestGoldenSummary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var records []sample.Record
	for i := range 200 {
		x := answer(i, int64(i)*50, 80+r.Int64N(60), 8+r.Int64N(9), 20+r.IntN(10))
		x.Sched -= r.Int64N(min(x.Send, 900_000) + 1)
		if x.ConnReused = i > 9; !x.ConnReused {
			x.Conn, x.Begin = x.Send, x.Send-150_000
			if i == 0 {
				x.Begin = 0
			}
		}
		records = append(records, x)
	}
	records[17].Class, records[40].Class, records[41].Class = sample.ClassTruncated, sample.ClassTimeout, sample.ClassTimeout
	records[199] = failed(199, 9950, sample.ClassDropped)
	records[3].Warmup = true
	text, err := json.MarshalIndent(Compute(records, 10_400_000_000, Limits{TTFTMs: 130, TPOTMs: 15}), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	const file = "testdata/summary.json"
	if *update {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(text)); d != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, d)
	}
}

func BenchmarkCompute(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	records := make([]sample.Record, 1_000_000)
	for i := range records {
		records[i] = answer(i, int64(i)/10, 80+r.Int64N(60), 8+r.Int64N(9), 4)
	}
	b.ReportAllocs()
	for b.Loop() {
		Compute(records, 1e11, Limits{TTFTMs: 100})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(records)), "ns/record")
}
