package search

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/load/stat"
)

// A ladder ends next to the limit of a server whose verdicts are sharp, with both
// ends confirmed, whatever the range.
func TestLadderHoldsTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lower := rapid.Float64Range(0.01, 10).Draw(t, "lower")
		l := DefaultLadder()
		l.Width = rapid.SampledFrom([]float64{0.02, 0.05, 0.2}).Draw(t, "width")
		l.Points = 64
		s := Spec{Range: Range{Lower: lower, Upper: lower * rapid.Float64Range(1, 500).Draw(t, "factor")}, Ladder: &l}
		limit := rapid.Float64Range(0.001, 3000).Draw(t, "limit")
		s.Race = rapid.Bool().Draw(t, "race")
		if best := rapid.Float64Range(0, 100).Draw(t, "best"); best > 1 {
			s.Best = map[int]float64{0: best}
		}
		_, found := run(t, s, below(limit))
		f := found[0]
		switch {
		case strings.HasPrefix(f.Reason, "given up"):
			// Nothing is asked below the range, so a best below it is asked at its end.
			if held := max(s.Range.Lower, min(round(s.Best[0]*(1+raceMargin)), s.Range.Upper)); held <= limit {
				t.Fatalf("given up although it holds %v of %v: %+v", held, limit, f)
			}
			return
		case f.Feasible > limit || f.Infeasible != 0 && f.Infeasible <= limit:
			t.Fatalf("limit %v, found %+v", limit, f)
		case f.Feasible == 0 && s.Range.Lower <= limit:
			t.Fatalf("limit %v above the lower end %v: %+v", limit, s.Range.Lower, f)
		case f.Feasible > 0 && !f.Confirmed:
			t.Fatalf("not confirmed: %+v", f)
		case f.Feasible > 0 && f.Infeasible > f.Feasible*(1+l.Width)*1.001:
			t.Fatalf("the bracket is wider than %v: %+v", l.Width, f)
		case f.Infeasible == 0 && f.Feasible != s.Range.Upper:
			t.Fatalf("nothing failed below the upper end: %+v", f)
		}
	})
}

// Where only the common seed is lucky, the confirmations say so, and the answer
// steps down to what the fresh seeds hold.
func TestConfirmationsOutweighLuck(t *testing.T) {
	l := DefaultLadder()
	s := Spec{Range: Range{Lower: 1, Upper: 64}, Ladder: &l}
	_, found := run(t, s, func(p Load) bool {
		if p.Kind == KindConfirm {
			return p.RateRPS <= 10
		}
		return p.RateRPS <= 11.5
	})
	if f := found[0]; f.Feasible > 10 || f.Feasible < 9.5 || !f.Confirmed || f.Infeasible > 10.5 {
		t.Errorf("found %+v, expected up to 10", f)
	}
	_, found = run(t, s, func(p Load) bool {
		if p.Kind == KindConfirm {
			return p.RateRPS <= 12
		}
		return p.RateRPS <= 11
	})
	if f := found[0]; f.Feasible > 12 || f.Feasible < 11.4 || !f.Confirmed {
		t.Errorf("found %+v, expected up to 12", f)
	}
}

func TestConfirmationsThatDisagreeArePooled(t *testing.T) {
	at := func(passed bool, repeat, good int) Measured {
		return Measured{Load: Load{RateRPS: 4, Kind: KindConfirm, Repeat: repeat}, Passed: passed, Verdict: Verdict{Shares: []Attained{{Target: "x", Wanted: 0.5, Good: good, N: 100, Low: 0.3, High: 0.7}}}}
	}
	for good, want := range map[int]bool{45: true, 35: false} {
		r := DefaultLadder().rungs([]Measured{at(true, 0, 60), at(false, 1, good)})
		if r[0].passed != want || r[0].shares[0].N != 200 {
			t.Errorf("60 and %d of 100 each: passed %v, %+v", good, r[0].passed, r[0].shares)
		}
	}
}

func feed(m *Monitor, n int, rate float64, good func(i int) bool) (ended int) {
	for i := range n {
		ttft := 50.0
		if !good(i) {
			ttft = 5000
		}
		if m.Ended(float64(i)/rate, Ended{OK: true, TTFTMs: ttft, TPOTMs: 10, E2EMs: 100}) {
			return i + 1
		}
	}
	return n
}

func TestMonitor(t *testing.T) {
	sla := result.SLA{Limits: []result.Limit{result.NewLimit("p90", "ttft", 500)}}
	for _, c := range []struct {
		name     string
		whole    bool
		good     func(r *rand.Rand) bool
		decision stat.Decision
		by       string
		most     int
	}{
		{"good", false, func(*rand.Rand) bool { return true }, stat.Pass, "interval", 210},
		{"good, measured whole", true, func(*rand.Rand) bool { return true }, stat.Pass, "budget", 400},
		{"bad", false, func(r *rand.Rand) bool { return r.Float64() < 0.3 }, stat.Fail, "interval", 60},
		{"bad, whole", true, func(r *rand.Rand) bool { return r.Float64() < 0.3 }, stat.Fail, "interval", 60},
		{"at the target", false, func(r *rand.Rand) bool { return r.Float64() < 0.91 }, stat.Undecided, "budget", 400},
	} {
		m := &Monitor{Targets: Targets(sla), Planned: 400, Whole: c.whole, Least: 0.5}
		r := rand.New(rand.NewPCG(1, 2))
		n := feed(m, 400, 10, func(int) bool { return c.good(r) })
		if v := m.Verdict(); v.Decision != c.decision || v.By != c.by || n > c.most || v.Binding != "max_p90_ttft_ms" {
			t.Errorf("%s: %+v after %d", c.name, v, n)
		}
	}
	m := &Monitor{Targets: []Target{{Name: "max_p90_ttft_ms", Quantity: "ttft", MaxMs: 500, Share: 0.9}}, Planned: 100}
	n := feed(m, 100, 10, func(i int) bool { return i%7 != 0 }) // 14 %: the 11th miss is one too many
	if v := m.Verdict(); v.By != "misses" || n != 71 || v.Passed() {
		t.Errorf("misses: %+v after %d", v, n)
	}
}

// An overloaded server is known by its backlog while every request that has
// ended was still good; one whose backlog only fills up is not.
func TestMonitorSeesTheBacklog(t *testing.T) {
	put := func(completes float64) Verdict {
		m := &Monitor{Targets: Targets(result.SLA{Limits: []result.Limit{result.NewLimit("p50", "ttft", 500)}}), Planned: 10_000, Whole: true}
		done := 0
		for tick := range 400 {
			at := float64(tick) / 2
			for ; float64(done) < completes*max(0, at-1); done++ {
				if m.Ended(at, Ended{OK: true, TTFTMs: 50, TPOTMs: 10, E2EMs: 1000}) {
					return m.Verdict()
				}
			}
			if m.Tick(at, int(20*at), done) {
				return m.Verdict()
			}
		}
		return m.Verdict()
	}
	if v := put(16); v.By != "backlog" || v.Passed() || v.Seconds > 40 || !v.Holds {
		t.Errorf("overloaded: %+v", v)
	}
	if v := put(20); v.By == "backlog" || !v.Passed() {
		t.Errorf("keeping up: %+v", v)
	}
}

func TestTargets(t *testing.T) {
	success := 0.99
	got := Targets(result.SLA{MinSuccessRate: &success, Limits: []result.Limit{
		result.NewLimit("p50", "ttft", 100), result.NewLimit("mean", "tpot", 5), result.NewLimit("p99.9", "e2e", 9), result.NewLimit("p50", "itl", 3)}})
	want := []Target{{Name: "min_success_rate", Share: 0.99}, {Name: "max_p50_ttft_ms", Quantity: "ttft", MaxMs: 100, Share: 0.5}, {Name: "max_p99.9_e2e_ms", Quantity: "e2e", MaxMs: 9, Share: 0.999}}
	for i := range want {
		if i >= len(got) || math.Abs(got[i].Share-want[i].Share) > 1e-9 || got[i].Name != want[i].Name || got[i].Quantity != want[i].Quantity || got[i].MaxMs != want[i].MaxMs {
			t.Fatalf("%+v, expected %+v", got, want)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%+v", got)
	}
	// A request that failed counts against success and in no latency.
	if good, counts := want[0].keeps(Ended{}); good || !counts {
		t.Error("a failed request is no success")
	}
	if _, counts := want[1].keeps(Ended{TTFTMs: 1}); counts {
		t.Error("a failed request has no latency")
	}
}

func TestNeeds(t *testing.T) {
	success := 0.999
	for _, c := range []struct {
		limits []result.Limit
		want   int
		name   string
	}{
		{nil, 1000, ""},
		{[]result.Limit{result.NewLimit("p50", "ttft", 1), result.NewLimit("p50", "tpot", 1)}, 1000, "max_p50_ttft_ms"},
		{[]result.Limit{result.NewLimit("p50", "ttft", 1), result.NewLimit("p95", "tpot", 1)}, 3000, "max_p95_tpot_ms"},
		{[]result.Limit{result.NewLimit("p99", "e2e", 1), result.NewLimit("p90", "tpot", 1)}, 5000, "max_p99_e2e_ms"},
	} {
		if n, name := Needs(Targets(result.SLA{MinSuccessRate: &success, Limits: c.limits})); n != c.want || name != c.name {
			t.Errorf("%+v: %d for %q, expected %d for %q", c.limits, n, name, c.want, c.name)
		}
	}
}

// space is the full product of axes with so many values each.
func space(sizes []int) (at [][]int) {
	at = [][]int{{}}
	for _, n := range sizes {
		var next [][]int
		for _, a := range at {
			for v := range n {
				next = append(next, append(slices.Clone(a), v))
			}
		}
		at = next
	}
	return at
}

func TestCoverHasEveryPair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := space(rapid.SliceOfN(rapid.IntRange(1, 4), 1, 5).Draw(t, "sizes"))
		if len(at) > 2 { // holes, as pruning leaves them
			gone := rapid.IntRange(1, len(at)-1).Draw(t, "gone")
			at = slices.Delete(at, gone, gone+1)
		}
		picked := Cover(at)
		have := map[pair]bool{}
		for _, i := range picked {
			for _, p := range pairsOf(at[i]) {
				have[p] = true
			}
		}
		for i := range at {
			for _, p := range pairsOf(at[i]) {
				if !have[p] {
					t.Fatalf("%v of candidate %d is in none of %v", p, i, picked)
				}
			}
		}
		if picked[0] != 0 || len(slices.Compact(slices.Sorted(slices.Values(picked)))) != len(picked) {
			t.Fatalf("picked %v", picked)
		}
	})
	if n := len(Cover(space([]int{4, 3, 3, 2}))); n > 16 || n < 12 {
		t.Errorf("4x3x3x2 in %d candidates, expected 12 to 16 of 72", n)
	}
}

// drive lets a strategy choose until it ends; rate is what each candidate holds.
func drive(t interface{ Fatalf(string, ...any) }, s Strategy, at [][]int, most int, rate func(i int) float64) (order []int) {
	standing := make([]Standing, len(at))
	for {
		i := s.Pick(at, standing, most)
		if i < 0 {
			return order
		}
		if standing[i].Begun {
			t.Fatalf("candidate %d twice", i)
		}
		standing[i] = Standing{Begun: true, Done: true, Scores: []float64{rate(i)}}
		order = append(order, i)
	}
}

// Covering climbs a landscape in which flags act together, without going
// through all of it.
func TestCoveringFindsTheBest(t *testing.T) {
	at := space([]int{4, 4, 3, 2})
	rate := func(i int) float64 {
		a := at[i]
		v := 10 + float64(a[0]) - 0.5*float64(a[1]) + 2*float64(a[2])
		if a[0] == 3 && a[2] == 1 {
			v += 4 // together they do more than each alone
		}
		return v + float64(a[3])
	}
	order := drive(t, StrategyCovering, at, 0, rate)
	best := slices.MaxFunc(order, func(a, b int) int { return int(math.Copysign(1, rate(a)-rate(b))) })
	truth := 0.0
	for i := range at {
		truth = max(truth, rate(i))
	}
	if rate(best) < truth || len(order) > 40 {
		t.Errorf("best %v of %v after %d of %d candidates", rate(best), truth, len(order), len(at))
	}
}

func TestStrategiesEnd(t *testing.T) {
	at := space([]int{3, 3, 2})
	for _, s := range Strategies[:3] {
		for most, want := range map[int]int{0: len(at), 5: 5} {
			order := drive(t, s, at, most, func(i int) float64 { return float64(i % 7) })
			if s == StrategyCovering && most == 0 {
				if len(order) >= len(at) || len(order) < 9 {
					t.Errorf("%s began %d", s, len(order))
				}
			} else if len(order) != want && !(s == StrategyProduct && most == 5) {
				t.Errorf("%s with a limit of %d began %d, expected %d", s, most, len(order), want)
			}
			if order[0] != 0 {
				t.Errorf("%s began with %d, not the baseline", s, order[0])
			}
		}
	}
	if i := StrategyRace.Pick(at, append([]Standing{{Begun: true}}, make([]Standing, len(at)-1)...), 0); i != 0 {
		t.Errorf("a candidate that is not done was left for %d", i)
	}
}

func TestSurvivors(t *testing.T) {
	got := Survivors([]int{7, 3, 5, 9, 1}, [][]float64{{4, 0}, {8, 1}, {0, 0}, {8, 1}, {2, 3}})
	if want := []int{3, 9, 1}; !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
	for n, want := range map[int]int{0: 1, 1: 1, 2: 2, 3: 3, 8: 4} {
		if got := Rounds(n); got != want {
			t.Errorf("%d candidates: %d rounds, expected %d", n, got, want)
		}
	}
	l := DefaultLadder()
	for _, c := range []struct {
		p    Load
		want int
	}{{Load{}, 800}, {Load{Kind: KindProbe}, 200}, {Load{Kind: KindProbe, Stage: 4}, 400}, {Load{Kind: KindTest, Stage: 1}, 200}} {
		if got := Requests(l, c.p, 800, 5); got != c.want {
			t.Errorf("%+v: %d requests, expected %d", c.p, got, c.want)
		}
	}
}

func TestCoordinates(t *testing.T) {
	got := Coordinates([]map[string]string{{"a": "1", "same": "x"}, {"a": "2", "same": "x"}, {"a": "1", "b": "on", "same": "x"}})
	if want := "[[0 0] [1 0] [0 1]]"; fmt.Sprint(got) != want {
		t.Errorf("%v, expected %s", got, want)
	}
}
