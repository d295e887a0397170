package search

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"llmdyno/internal/load/stat"
)

// shareAt is a load point of 100 requests of which so many are good; 95 must be.
func shareAt(l Load, good int) Measured {
	v := Verdict{Decision: stat.Undecided, Holds: good >= 95, Requests: 100, Shares: []Attained{{Target: "max_p95_ttft_ms", Wanted: 0.95, Good: good, N: 100, Low: 0.9, High: 0.99}}}
	if !v.Holds {
		v.Reason = "too few are good"
	}
	return Measured{Load: l, Passed: v.Passed(), Verdict: v}
}

// climb drives a search whose shares a server decides, and returns its points.
func climb(t *testing.T, s Spec, good func(Load) int) ([]Measured, Found) {
	t.Helper()
	var done []Measured
	for range 100 {
		step := s.Next(done)
		if step.Done {
			return done, step.Found[0]
		}
		done = append(done, shareAt(step.Load, good(step.Load)))
	}
	t.Fatal("no end after 100 load points")
	return nil, Found{}
}

// The answer is measured once more after an overload, and twice where the first
// misses a limit; what it then shows never moves the answer.
func TestHysteresis(t *testing.T) {
	holds := func(l Load) int { // up to 10 req/s; one good request less for each 1 % more
		return min(100, 95-int(100*(l.RateRPS/10-1)))
	}
	for _, c := range []struct {
		name          string
		good          func(l Load) int // of a point after an overload
		points        int
		holds, slower bool
		n             int // requests behind the shares
	}{
		{"recovers", holds, 1, true, false, 100},
		{"lucky with the second seed", func(l Load) int { return 90 + 6*l.Repeat }, 2, true, false, 100},
		{"misses by little", func(l Load) int { return 94 }, 2, false, false, 200},
		{"is slower", func(l Load) int { return 70 }, 2, false, true, 200},
	} {
		l := DefaultLadder()
		s := Spec{Range: Range{Lower: 1, Upper: 64}, Ladder: &l}
		done, f := climb(t, s, func(p Load) int {
			if p.Kind == KindAgain {
				return c.good(p)
			}
			return holds(p)
		})
		before, again := apart(done)
		h := f.Hysteresis
		if len(again) != c.points || h == nil || h.Holds != c.holds || h.Slower != c.slower || h.After[0].N != c.n || (h.Why == "") != c.holds {
			t.Errorf("%s: %d points, %+v", c.name, len(again), h)
			continue
		}
		for i, m := range again {
			if m.RateRPS != f.Feasible || m.Repeat != i || m.AfterRPS < f.Infeasible || m.AfterRPS > 1.5*f.Feasible+0.01 || !reflect.DeepEqual(done[len(before)+i], m) {
				t.Errorf("%s: asked for %+v at the end of a search that found %v", c.name, m.Load, f.Feasible)
			}
		}
		l.Hysteresis = false
		_, without := climb(t, s, holds)
		if f.Hysteresis = nil; !reflect.DeepEqual(f, without) {
			t.Errorf("%s: found %+v, without the check %+v", c.name, f, without)
		}
	}
}

// A server that did not outlive the overload is slower; one of which only limits
// on means are missed may be.
func TestHysteresisWithoutShares(t *testing.T) {
	high := &rung{shares: []Attained{{Target: "x", Wanted: 0.5, Good: 40, N: 100}}}
	again := Measured{Load: Load{Kind: KindAgain, RateRPS: 4, AfterRPS: 6}}
	if h := hysteresis(high, []Measured{again}); !h.Slower || h.Holds || h.Why == "" {
		t.Errorf("died: %+v", h)
	}
	again.Verdict = Verdict{Requests: 50, Decision: stat.Undecided, Holds: true}
	if h := hysteresis(high, []Measured{again}); h.Slower || h.Holds {
		t.Errorf("a mean is missed: %+v", h)
	}
}

// Where nothing fails there is no overload to come back from, and a candidate
// that was given up is not worth the time.
func TestNoHysteresis(t *testing.T) {
	l := DefaultLadder()
	for name, s := range map[string]Spec{
		"everything passes": {Range: Range{Lower: 1, Upper: 8}, Ladder: &l},
		"given up":          {Range: Range{Lower: 1, Upper: 64}, Ladder: &l, Best: map[int]float64{0: 20}, Race: true},
		"nothing passes":    {Range: Range{Lower: 12, Upper: 64}, Ladder: &l},
	} {
		asked, found := run(t, s, below(10))
		for _, p := range asked {
			if p.Kind == KindAgain || found[0].Hysteresis != nil {
				t.Errorf("%s: %+v, %+v", name, p, found[0].Hysteresis)
			}
		}
	}
}

// The search and its check follow from what was measured, whatever the order: a
// run that was killed goes on with the very load point.
func TestHysteresisIgnoresOrder(t *testing.T) {
	l := DefaultLadder()
	s := Spec{Range: Range{Lower: 1, Upper: 64}, Ladder: &l}
	good := func(p Load) int {
		if p.Kind == KindAgain {
			return 80
		}
		return min(100, 95-int(100*(p.RateRPS/10-1)))
	}
	done, found := climb(t, s, good)
	rapid.Check(t, func(t *rapid.T) {
		mixed := rapid.Permutation(done).Draw(t, "order")
		if step := s.Next(mixed); !step.Done || !reflect.DeepEqual(step.Found[0], found) {
			t.Fatalf("%+v, expected %+v", step, found)
		}
		kept := rapid.IntRange(0, len(done)-1).Draw(t, "kept")
		if step := s.Next(done[:kept]); step.Load != done[kept].Load {
			t.Fatalf("after %d points %+v, expected %+v", kept, step.Load, done[kept].Load)
		}
	})
}
