package metric

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"llmdyno/internal/load/sample"
)

// stream are n requests 50 ms apart whose TTFT is what ttft says, in ms.
func stream(n int, seed uint64, ttft func(r *rand.Rand, i int) float64) []sample.Record {
	r := rand.New(rand.NewPCG(seed, 0))
	records := make([]sample.Record, n)
	for i := range records {
		records[i] = answer(i, int64(i)*50, int64(ttft(r, i)), 10+r.Int64N(3), 8)
	}
	return records
}

func calm(r *rand.Rand, _ int) float64 { return 100 + 20*r.Float64() }

func TestSteadiness(t *testing.T) {
	whole := stream(100, 1, calm)
	for i := range whole {
		whole[i].Events, whole[i].FirstText, whole[i].FirstChoices, whole[i].LastText = nil, never, never, never
		whole[i].OutputTokens = 0
	}
	for name, w := range map[string]struct {
		records []sample.Record
		verdict string
		figure  string
		warning string
	}{
		"calm":     {stream(300, 1, calm), "steady", "", ""},
		"too few":  {stream(19, 1, calm), "unknown", "", ""},
		"no first": {whole, "steady", "e2e_ms", ""},
		"the queue grows": {stream(300, 1, func(r *rand.Rand, i int) float64 { return calm(r, i) + float64(i) }),
			"trend", "ttft_ms", "ttft_ms rises by 1"},
		"warms up": {stream(300, 1, func(r *rand.Rand, i int) float64 {
			if i < 40 {
				return calm(r, i) + 300
			}
			return calm(r, i)
		}), "transient", "ttft_ms", "ttft_ms of the first 40 requests differs by +2"},
	} {
		s := Compute(w.records, 20e9, Limits{})
		if s.Steady == nil || s.Steady.Verdict != w.verdict || w.figure != "" && s.Steady.Figure != w.figure {
			t.Errorf("%s: %+v", name, s.Steady)
			continue
		}
		var text []string
		for _, x := range s.Warnings {
			if x.Code == "no-steady-state" {
				text = append(text, x.Message)
			}
		}
		if (w.warning == "") != (len(text) == 0) || w.warning != "" && !strings.HasPrefix(text[0], w.warning) {
			t.Errorf("%s: %q, want %q", name, text, w.warning)
		}
	}
	if s := Compute([]sample.Record{failed(0, 0, sample.ClassReset)}, 1e9, Limits{}); s.Steady != nil {
		t.Errorf("nothing succeeded: %+v", s.Steady)
	}
}

// Which figures have an interval, at the sizes where that changes.
func TestSmallSamplesAreMarked(t *testing.T) {
	for _, w := range []struct {
		n    int
		have string
	}{
		{1, "attainment success_rate"},
		{9, "attainment p50_ttft_ms success_rate"},
		{10, "attainment mean_ttft_ms p50_ttft_ms success_rate"},
		{80, "attainment goodput_rps mean_ttft_ms output_token_throughput_tps p50_ttft_ms p90_ttft_ms p95_ttft_ms request_throughput_rps success_rate total_token_throughput_tps"},
		{800, "attainment goodput_rps mean_ttft_ms output_token_throughput_tps p50_ttft_ms p90_ttft_ms p95_ttft_ms p99_ttft_ms request_throughput_rps success_rate total_token_throughput_tps"},
	} {
		s := Compute(stream(w.n, 5, calm), int64(w.n)*50_000_000+200_000_000, Limits{TTFTMs: 115})
		var have []string
		for name, i := range s.Intervals {
			if (i.CI == nil) != (i.Needs > 0) || i.N != w.n || i.Needs > 0 && i.Needs <= i.Effective {
				t.Errorf("n %d, %s: %+v", w.n, name, i)
			}
			if i.CI != nil && !strings.Contains(name, "tpot") && !strings.Contains(name, "e2e") {
				have = append(have, name)
			}
		}
		slices.Sort(have)
		if got := strings.Join(have, " "); got != w.have {
			t.Errorf("n %d: intervals of %s, want %s", w.n, got, w.have)
		}
	}
	if i := Compute(stream(80, 5, calm), 5e9, Limits{}).Intervals["p99_ttft_ms"]; i.CI != nil || i.Needs < 368 {
		t.Errorf("p99 of 80: %+v", i)
	}
	if m := Compute([]sample.Record{failed(0, 0, sample.ClassDropped)}, 1e9, Limits{}).Intervals; m != nil {
		t.Errorf("nothing was sent: %+v", m)
	}
}

// Latencies that follow one another are worth less, and their intervals are wider.
func TestDependenceWidensIntervals(t *testing.T) {
	level := 0.0
	bound := func(r *rand.Rand, _ int) float64 {
		level = 0.9*level + r.NormFloat64()
		return max(1, 200+20*level)
	}
	records := stream(1000, 3, bound)
	shuffled := slices.Clone(records)
	rand.New(rand.NewPCG(4, 0)).Shuffle(len(shuffled), func(i, k int) {
		a, b := &shuffled[i], &shuffled[k]
		a.Index, b.Index, a.Sched, b.Sched = b.Index, a.Index, b.Sched, a.Sched
	})
	own, other := Compute(records, 51e9, Limits{}), Compute(shuffled, 51e9, Limits{})
	for _, name := range []string{"mean_ttft_ms", "p50_ttft_ms", "p90_ttft_ms"} {
		a, b := own.Intervals[name], other.Intervals[name]
		if a.CI == nil || b.CI == nil || a.Effective > 200 || b.Effective < 600 || a.CI[1]-a.CI[0] < 2*(b.CI[1]-b.CI[0]) {
			t.Errorf("%s: %+v in its order, %+v in another", name, a, b)
		}
	}
}

func TestIntervalsHoldTheirFigures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := trial(t)
		s := Compute(records, 7e9, Limits{TTFTMs: 300})
		figure := func(name string, v *float64) {
			i, ok := s.Intervals[name]
			if ok != (v != nil) {
				t.Fatalf("%s: figure %v, interval %+v", name, v, i)
			}
			if ok && i.CI != nil && (math.IsNaN(i.CI[0]) || *v < i.CI[0]-1e-9*(1+*v) || *v > i.CI[1]+1e-9*(1+*v)) {
				t.Fatalf("%s: %v outside %v", name, *v, *i.CI)
			}
		}
		figure("success_rate", s.SuccessRate)
		figure("attainment", s.Attainment)
		for name, d := range map[string]*Dist{"ttft_ms": s.TTFT, "tpot_ms": s.TPOT, "e2e_ms": s.E2E} {
			if d == nil {
				continue
			}
			figure("mean_"+name, &d.Mean)
			figure("p50_"+name, &d.P50)
			figure("p95_"+name, &d.P95)
		}
		again := Compute(rapid.Permutation(records).Draw(t, "order"), 7e9, Limits{TTFTMs: 300})
		if d := cmp.Diff(s.Intervals, again.Intervals, close9); d != "" {
			t.Fatalf("another order of the file (-want +got):\n%s", d)
		}
	})
}

// The rate's interval comes from the course of the trial: it holds a steady rate
// closely, and a rate that halves loosely.
func TestRateIntervals(t *testing.T) {
	steady := stream(1000, 2, calm)
	s := Compute(steady, 50_200_000_000, Limits{})
	i, rate := s.Intervals["request_throughput_rps"], *s.RequestThroughput
	if i.CI == nil || rate < i.CI[0] || rate > i.CI[1] || i.CI[1]-i.CI[0] > 0.1*rate {
		t.Errorf("steady rate %v: %v", rate, i.CI)
	}
	halved := moved(steady, func(at int64) int64 { return at + max(0, at-25e9) })
	s = Compute(halved, 75_400_000_000, Limits{})
	j, rate := s.Intervals["request_throughput_rps"], *s.RequestThroughput
	if j.CI == nil || rate < j.CI[0] || rate > j.CI[1] || j.CI[1]-j.CI[0] < 3*(i.CI[1]-i.CI[0]) {
		t.Errorf("rate that halves, %v: %v", rate, j.CI)
	}
	s = Compute(steady, 50_200_000_000, Limits{TTFTMs: 110})
	for name, v := range map[string]*float64{"output_token_throughput_tps": s.OutputTokenThroughput, "total_token_throughput_tps": s.TotalTokenThroughput, "goodput_rps": s.Goodput} {
		if i := s.Intervals[name]; i.CI == nil || *v < i.CI[0] || *v > i.CI[1] || i.CI[1]-i.CI[0] > 0.4**v {
			t.Errorf("%s %v: %v", name, *v, i.CI)
		}
	}
}
