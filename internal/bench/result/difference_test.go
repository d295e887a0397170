package result

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"llmdyno/internal/load/metric"
)

// measured is a passing row whose load point was measured so often, in blocks from
// the given one on; -1 = in none.
func measured(id string, block int, throughputs ...float64) Row {
	r := Row{Framework: "sglang", CandidateID: id, RunID: "1", Status: StatusOK, SLA: SLA{Passed: ptr(true)}, Metrics: Metrics{RequestThroughput: ptr(throughputs[0])}}
	for i, x := range throughputs {
		p := Point{Repeat: i, Chosen: i == 0, Status: StatusOK, Passed: true, Metrics: Metrics{RequestThroughput: ptr(x)}}
		if block >= 0 {
			p.Block = ptr(block + i)
		}
		r.Points = append(r.Points, p)
	}
	return r
}

func baseline(r Row) Row { r.Baseline = true; return r }

func within(r Row, low, high float64) Row {
	r.Metrics.Intervals = map[string]metric.Interval{"request_throughput": {CI: &[2]float64{low, high}, N: 100}}
	return r
}

// What a difference rests on decides whether there is a winner.
func TestEvidence(t *testing.T) {
	drift := []float64{10, 11, 12.5, 9, 10.5} // a machine that wanders by 14 %
	better := slices.Clone(drift)
	for i := range better {
		better[i] *= 1.05 + 0.002*float64(i%2)
	}
	noisy := []float64{10, 9.3, 10.6, 9.8}
	for name, test := range map[string]struct {
		worse, best Row
		o           Options
		by          Evidence
		tie         bool
	}{
		"pairs see through drift":           {measured("a", 0, drift...), measured("b", 0, better...), Options{}, ByBlocks, false},
		"without blocks drift hides it":     {measured("a", -1, drift...), measured("b", -1, better...), Options{}, ByRepeats, true},
		"below the threshold":               {measured("a", -1, 10, 10.01, 9.99), measured("b", -1, 10.2, 10.21, 10.19), Options{}, ByRepeats, true},
		"a lower threshold":                 {measured("a", -1, 10, 10.01, 9.99), measured("b", -1, 10.2, 10.21, 10.19), Options{Threshold: 0.01}, ByRepeats, false},
		"one against a noisy baseline":      {baseline(measured("a", -1, noisy...)), measured("b", -1, 10.9), Options{}, ByNoise, true},
		"one against a quiet baseline":      {baseline(measured("a", -1, 10, 10.02, 9.99)), measured("b", -1, 10.4), Options{}, ByNoise, false},
		"two singles":                       {measured("a", -1, 10), measured("b", -1, 10.6), Options{}, ByAssumed, false},
		"two singles within the assumption": {measured("a", -1, 10), measured("b", -1, 10.4), Options{}, ByAssumed, true},
		"singles with wide intervals":       {within(measured("a", -1, 10), 9, 11), within(measured("b", -1, 11), 10, 12), Options{}, ByIntervals, true},
		"singles with narrow intervals":     {within(measured("a", -1, 10), 9.9, 10.1), within(measured("b", -1, 11), 10.9, 11.1), Options{}, ByIntervals, false},
		"an interval down to 0":             {within(measured("a", -1, 10), 0, 30), measured("b", -1, 20), Options{}, ByIntervals, true},
	} {
		for _, rows := range [][]Row{{test.worse, test.best}, {test.best, test.worse}} {
			c := Compare(rows, test.o)
			e := find(t, c, "a")
			if test.tie {
				if i, _ := c.Classes[0].Winner(); c.Entries[i].Name == "a" {
					e = find(t, c, "b")
				}
			}
			if e.Versus == nil || e.Versus.By != test.by || e.Versus.Real == test.tie || e.Tied != test.tie {
				t.Errorf("%s: versus %+v, tied %v", name, e.Versus, e.Tied)
			}
		}
	}
}

// The noise is that of the baselines alone, and stated.
func TestNoiseIsStated(t *testing.T) {
	c := Compare([]Row{baseline(measured("a", -1, 10, 10.4, 9.7)), measured("b", -1, 20, 1, 30)}, Options{})
	n := c.Classes[0].Noise
	if n == nil || !slices.Equal(n.Candidates, []string{"a"}) || n.Trials != 3 || math.Abs(n.SD-0.0351) > 0.0005 || n.Floor < n.SD {
		t.Errorf("noise %+v", n)
	}
	if c := Compare([]Row{measured("b", -1, 20, 1, 30)}, Options{}); c.Classes[0].Noise != nil {
		t.Error("noise without a baseline")
	}
	if got := fmt.Sprint(Compare(nil, Options{Threshold: -1}).Threshold, Compare(nil, Options{}).Threshold); got != "0 0.03" {
		t.Error(got)
	}
}

// A row that its tokens alone put behind says so: its requests cannot be told
// apart from the best row's.
func TestTokensDecideWhereRequestsDoNot(t *testing.T) {
	row := func(id string, requests, tokens float64) Row {
		r := within(measured(id, -1, requests), requests*0.7, requests*1.3)
		r.Metrics.OutputTokenThroughput = ptr(tokens)
		r.Metrics.Intervals["output_token_throughput"] = metric.Interval{CI: &[2]float64{tokens * 0.99, tokens * 1.01}, N: 100}
		return r
	}
	c := Compare([]Row{row("a", 11, 500), row("b", 10, 400)}, Options{})
	best, other := c.Entries[0], c.Entries[1]
	if best.Row.CandidateID != "a" || other.Tied || other.Rank != 2 {
		t.Fatalf("first %s, then rank %d, tied %v", best.Row.CandidateID, other.Rank, other.Tied)
	}
	if d := other.Versus; d == nil || !d.Real || d.Figure != byTokens.key || math.Abs(d.Delta+0.2) > 1e-9 {
		t.Errorf("difference %+v, expected -20 %% of tokens", d)
	}
}
