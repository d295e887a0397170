package search

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"llmdyno/internal/bench/result"
)

// run drives a spec against a server that passes below a rate, and returns the
// loads in the order of asking.
func run(t interface{ Fatalf(string, ...any) }, s Spec, passes func(Load) bool) ([]Load, []Found) {
	var done []Measured
	var asked []Load
	for range 1000 {
		step := s.Next(done)
		if step.Done {
			return asked, step.Found
		}
		if slices.Contains(asked, step.Load) {
			t.Fatalf("asked twice for %+v", step.Load)
		}
		asked = append(asked, step.Load)
		done = append(done, Measured{Load: step.Load, Passed: passes(step.Load)})
	}
	t.Fatalf("no end after 1000 load points")
	return nil, nil
}

func below(limit float64) func(Load) bool {
	return func(l Load) bool { return l.RateRPS <= limit }
}

func TestRateSearch(t *testing.T) {
	for _, c := range []struct {
		name  string
		spec  Spec
		limit float64
		rates []float64
		found Found
	}{
		{"passes at the top", Spec{Range: Range{0.25, 16, 0.1}, Effort: EffortOf(2)}, 100, []float64{16}, Found{Feasible: 16, Reason: "the highest rate asked for, 16 req/s, passes"}},
		{"fails everywhere", Spec{Range: Range{1, 16, 0.1}, Effort: EffortOf(2)}, 0, []float64{16, 4, 2, 1.414, 1.189, 1.09, 1}, Found{Infeasible: 1, Reason: "the lowest rate asked for, 1 req/s, fails"}},
		{"in between", Spec{Range: Range{1, 16, 0.1}, Effort: EffortOf(2)}, 5, []float64{16, 4, 8, 5.657, 4.757, 5.188, 4.968}, Found{Feasible: 4.968, Infeasible: 5.188, Reason: "7 load points are the bound of this tier"}},
		{"bound of the tier", Spec{Range: Range{0.25, 64, 0.001}, Effort: Effort{Rounds: 3, Relative: 0.001}}, 5, []float64{64, 4, 16}, Found{Feasible: 4, Infeasible: 16, Reason: "3 load points are the bound of this tier"}},
		{"one rate", Spec{Range: Range{2, 2, 0.1}, Effort: EffortOf(2)}, 1, []float64{2}, Found{Infeasible: 2, Reason: "the lowest rate asked for, 2 req/s, fails"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked, found := run(t, c.spec, below(c.limit))
			var rates []float64
			for _, l := range asked {
				rates = append(rates, l.RateRPS)
			}
			if !slices.Equal(rates, c.rates) || len(found) != 1 || !reflect.DeepEqual(found[0], c.found) {
				t.Errorf("rates %v, found %+v\nexpected %v, %+v", rates, found, c.rates, c.found)
			}
		})
	}
}

// The answer brackets the server's limit, within a bounded number of points,
// whatever the range, the caps and the repeats.
func TestBracketHoldsTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lower := rapid.Float64Range(0.01, 10).Draw(t, "lower")
		s := Spec{
			Range:   Range{lower, lower * rapid.Float64Range(1, 200).Draw(t, "factor"), rapid.Float64Range(0.001, 1).Draw(t, "tolerance")},
			Caps:    rapid.SliceOfN(rapid.IntRange(0, 64), 1, 4).Draw(t, "caps"),
			Repeats: rapid.IntRange(1, 3).Draw(t, "repeats"),
			Effort:  EffortOf(rapid.IntRange(1, 3).Draw(t, "tier")),
		}
		limit := rapid.Float64Range(0.001, 3000).Draw(t, "limit")
		asked, found := run(t, s, below(limit))
		if most := len(found) * s.Repeats * max(s.Effort.Rounds+1, 2); len(asked) > most {
			t.Fatalf("%d load points, more than %d", len(asked), most)
		}
		for _, f := range found {
			if f.Feasible > limit || f.Infeasible != 0 && f.Infeasible <= limit {
				t.Fatalf("limit %v, found %+v", limit, f)
			}
			if f.Feasible == 0 && f.Infeasible == 0 {
				t.Fatalf("no answer: %+v", f)
			}
			if f.Feasible == 0 && s.Range.Lower <= limit && s.Effort.Rounds > 1 {
				t.Fatalf("limit %v above the lower end, yet nothing is feasible: %+v", limit, f)
			}
		}
	})
}

// What was measured decides, not when: a search that goes on from any subset of
// its own points asks for no point twice and ends with the same answer.
func TestNextIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Spec{Range: Range{0.5, 40, 0.2}, Caps: []int{0, 8}, Repeats: 2, Effort: EffortOf(2)}
		limit := rapid.Float64Range(0.1, 50).Draw(t, "limit")
		asked, found := run(t, s, below(limit))
		var done []Measured
		for _, l := range rapid.Permutation(asked).Draw(t, "order") {
			done = append(done, Measured{Load: l, Passed: below(limit)(l)})
		}
		if step := s.Next(done); !step.Done || !reflect.DeepEqual(step.Found, found) {
			t.Fatalf("after the same points in another order: %+v, expected %+v", step, found)
		}
	})
}

func TestListedLoads(t *testing.T) {
	s := Spec{Loads: []Load{{RateRPS: 2}, {RateRPS: 4, MaxConcurrency: 8}}, Repeats: 2, Range: Range{1, 2, 0.1}}
	asked, _ := run(t, s, below(0))
	want := []Load{{RateRPS: 2}, {RateRPS: 2, Repeat: 1}, {RateRPS: 4, MaxConcurrency: 8}, {RateRPS: 4, MaxConcurrency: 8, Repeat: 1}}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %v, expected %v", asked, want)
	}
	asked, _ = run(t, Spec{Caps: []int{0, 4, 4}}, below(0))
	if want := []Load{{}, {MaxConcurrency: 4}}; !slices.Equal(asked, want) {
		t.Errorf("without a range: asked %v, expected %v", asked, want)
	}
}

func p[T any](v T) *T { return &v }

func TestBest(t *testing.T) {
	sla := result.SLA{Limits: []result.Limit{result.NewLimit("p50", "ttft", 100)}}
	at := func(rate float64, passed bool, tput, ttft float64) result.Point {
		return result.Point{RequestRate: &rate, Status: result.StatusOK, Passed: passed,
			Metrics: result.Metrics{RequestThroughput: &tput, TTFT: result.Latency{P50: &ttft}}}
	}
	invalid := at(9, true, 90, 1)
	invalid.Invalid = "the client was late"
	dead := result.Point{RequestRate: p(8.0), Status: result.StatusFailed}
	for _, c := range []struct {
		name   string
		points []result.Point
		want   int
	}{
		{"none", nil, -1},
		{"highest that passes", []result.Point{at(1, true, 1, 10), at(4, true, 4, 90), at(8, false, 7, 300)}, 1},
		{"an invalid point never wins", []result.Point{at(1, true, 1, 10), invalid}, 0},
		{"nearest of the failing", []result.Point{at(8, false, 7, 900), at(4, false, 4, 120), dead, invalid}, 1},
		{"only a dead one", []result.Point{dead}, 0},
		{"median of repeats", []result.Point{at(4, true, 4.2, 1), at(4, true, 3.9, 1), at(4, true, 4.0, 1)}, 2},
		{"majority of repeats", []result.Point{at(4, false, 4.2, 300), at(4, true, 3.9, 1), at(4, false, 4.0, 300), at(1, true, 1, 1)}, 3},
	} {
		if got := Best(c.points, sla); got != c.want {
			t.Errorf("%s: point %d, expected %d", c.name, got, c.want)
		}
	}
}
