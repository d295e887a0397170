package search

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"llmdyno/internal/load/stat"
)

// The kinds of load points of a ladder; a point of the plain search has none.
const (
	KindProbe   = "probe"   // short, to bracket
	KindTest    = "test"    // a sequential test, at most the full length
	KindConfirm = "confirm" // full length, with arrivals and prompts of its own
	// KindAgain is a confirmation once more, with the same arrivals and prompts,
	// right after an overload; KindOverload is that, and no load point of its own.
	KindAgain    = "again"
	KindOverload = "overload"
)

// Ladder is the adaptive rate search: a ramp of short probes that brackets the
// answer, bisection in log rate with a sequential test at each point, and
// confirmations with fresh seeds. All points but the confirmations have the same
// arrivals and prompts (common random numbers), scaled to their rate.
type Ladder struct {
	// Width is the relative width of the bracket at which the search ends.
	Width float64 `json:"width"`
	// Tolerance is the same in requests/s; the wider of the two counts.
	Tolerance float64 `json:"tolerance,omitempty"`
	// Ramp is the factor between two probes; from the second on it grows to its
	// square, which reaches far ends soon.
	Ramp float64 `json:"ramp"`
	// Confirmations are the full-length measurements of the answer.
	Confirmations int `json:"confirmations"`
	// Hysteresis has the answer measured again after an overload.
	Hysteresis bool `json:"hysteresis,omitempty"`
	// Probe is the length of a probe, and Least that of the shortest test that may
	// pass, in parts of the full length.
	Probe float64 `json:"probe"`
	Least float64 `json:"least"`
	// Points is the most load points of one search.
	Points int `json:"points"`
	// Challenge is a rate to hold before anything else is measured; a candidate
	// that does not is given up. 0 = none.
	Challenge float64 `json:"challenge_rps,omitempty"`
	// Start is where the ramp begins; 0 = in the middle of the range, in log rate.
	Start float64 `json:"start_rps,omitempty"`
}

// DefaultLadder are the settings of the search of facts on benchmarking, 4.2:
// ramp 1.5, two confirmations, a check for hysteresis. The width is less than the
// 5 % there: the answer may lie a whole width below the capacity, and is to be
// within 5 % of it (docs/search.md).
func DefaultLadder() Ladder {
	return Ladder{Width: 0.03, Ramp: 1.5, Confirmations: 2, Hysteresis: true, Probe: 0.25, Least: 0.5, Points: 40}
}

// Requests is the number of requests of a load point whose full length is full,
// in a search of so many rounds; 0 or 1 = it has none. Each round before the last
// is half as long as the next, and none shorter than a probe.
func Requests(l Ladder, p Load, full, rounds int) int {
	n := float64(full)
	switch {
	case p.Stage > 0:
		n *= max(l.Probe, math.Pow(2, -float64(max(0, rounds-p.Stage))))
	case p.Kind == KindProbe || p.Kind == KindOverload:
		n *= l.Probe
	}
	return max(min(full, leastEnded), int(math.Ceil(n)))
}

// rung is a rate with the strongest that was measured of it.
type rung struct {
	rate      float64
	passed    bool
	undecided bool
	confirmed int // confirmations measured
	kind      string
	shares    []Attained
	verdict   Verdict
}

// rungs joins the measurements of each rate, ascending. A test outweighs a
// probe; all confirmations together outweigh both, because the test was chosen
// for its luck.
func (l Ladder) rungs(done []Measured) []rung {
	byRate := map[float64]*rung{}
	pools := map[float64][]Measured{}
	for _, m := range done {
		r := byRate[m.RateRPS]
		if r == nil {
			r = &rung{rate: m.RateRPS}
			byRate[m.RateRPS] = r
		}
		if m.Kind == KindConfirm {
			r.confirmed++
			pools[m.RateRPS] = append(pools[m.RateRPS], m)
			continue
		}
		if r.kind != KindTest {
			r.passed, r.undecided, r.shares, r.kind, r.verdict = m.Passed, m.Verdict.Decision == stat.Undecided, m.Verdict.Shares, m.Kind, m.Verdict
		}
	}
	var out []rung
	for _, r := range byRate {
		if r.confirmed >= l.Confirmations && r.confirmed > 0 {
			r.confirm(pools[r.rate])
		}
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b rung) int { return cmp.Compare(a.rate, b.rate) })
	return out
}

// confirm takes the confirmations together.
func (r *rung) confirm(all []Measured) {
	slices.SortFunc(all, func(a, b Measured) int { return cmp.Compare(a.Repeat, b.Repeat) })
	r.kind, r.undecided, r.verdict = KindConfirm, false, all[0].Verdict
	passed := 0
	var pool []Attained
	for _, m := range all {
		if m.Passed {
			passed++
		} else {
			r.verdict = m.Verdict
		}
		pool = pooled(pool, m.Verdict.Shares)
	}
	r.passed, r.shares = 2*passed > len(all), pool
	if 2*passed == len(all) && pool != nil { // they disagree: the requests of all together decide
		r.passed = !slices.ContainsFunc(pool, func(a Attained) bool { return !(a.Share() >= a.Wanted) })
	}
}

// pooled adds the requests of two load points; the interval is that of all.
func pooled(a, b []Attained) []Attained {
	if a == nil {
		return slices.Clone(b)
	}
	for i := range a {
		for _, x := range b {
			if x.Target != a[i].Target {
				continue
			}
			// The width of an interval shrinks with the root of its requests.
			n := float64(a[i].N + x.N)
			half := math.Sqrt(math.Pow(float64(a[i].N)*(a[i].High-a[i].Low), 2)+math.Pow(float64(x.N)*(x.High-x.Low), 2)) / 2 / max(n, 1)
			a[i].Good, a[i].N = a[i].Good+x.Good, a[i].N+x.N
			a[i].Low, a[i].High = max(0, a[i].Share()-half), min(1, a[i].Share()+half)
		}
	}
	return a
}

// next is the load point to measure, or the end of the search.
func (l Ladder) next(r Range, all []Measured) (Load, *Found) {
	done, again := apart(all)
	rungs := l.rungs(done)
	low, high := brackets(rungs)
	if len(rungs) == 0 && l.Challenge == 0 {
		return l.first(r), nil
	}
	if load, end, open := l.challenge(r, rungs, done); open {
		return load, end
	}
	switch {
	case low == nil && high.rate <= r.Lower:
		return Load{}, l.found(rungs, fmt.Sprintf("the lowest rate asked for, %s req/s, fails", number(r.Lower)))
	case len(done) >= l.Points:
		return Load{}, l.found(rungs, fmt.Sprintf("%d load points are the bound", l.Points))
	case low == nil:
		return Load{Kind: KindProbe, RateRPS: max(r.Lower, round(high.rate/l.step(rungs)))}, nil
	case high == nil && low.rate < r.Upper:
		return Load{Kind: KindProbe, RateRPS: min(r.Upper, round(low.rate*l.step(rungs)))}, nil
	}
	if low.kind == KindProbe && l.Confirmations > 0 && (high == nil || high.kind != KindConfirm) {
		// What is overloaded passes in the beginning: a probe is not to be built on.
		return Load{Kind: KindTest, RateRPS: low.rate}, nil
	}
	if high != nil && !l.settled(low, high) {
		if rate := round(math.Sqrt(low.rate * high.rate)); rate > low.rate && rate < high.rate {
			return Load{Kind: KindTest, RateRPS: rate}, nil
		}
	}
	if rate := l.verify(r, rungs, low, high); rate > 0 {
		return Load{Kind: KindConfirm, RateRPS: rate, Repeat: confirmed(done, rate)}, nil
	}
	if load, open := l.again(r, low, high, again); open {
		return load, nil
	}
	f := l.found(rungs, l.reason(r, low, high))
	f.Hysteresis = hysteresis(high, again)
	return Load{}, f
}

// settled says that bisection has nothing left to do: the ends are close, or
// neither can be told from its target. Once a rate is confirmed, the answer is
// looked for step by step with the fresh seeds: the common seed, which was lucky
// or not at that rate, would be so again next to it.
func (l Ladder) settled(low, high *rung) bool {
	return high.rate <= low.rate*(1+l.width(low.rate)) || low.undecided && high.undecided ||
		low.kind == KindConfirm || high.kind == KindConfirm
}

// verify is the rate to measure with fresh seeds, so that in the end a rate that
// passes them and the next one that does not stand side by side; 0 = they do.
// Steps that go on in one direction double, and two confirmed ends are halved.
func (l Ladder) verify(r Range, rungs []rung, low, high *rung) float64 {
	w := 1 + l.width(low.rate)
	switch {
	case l.Confirmations == 0:
		return 0
	case high != nil && high.kind == KindConfirm && low.kind == KindConfirm:
		rate := round(math.Sqrt(low.rate * high.rate))
		if high.rate/low.rate <= w*1.001 || rate <= low.rate || rate >= high.rate {
			return 0
		}
		return rate
	case high != nil && high.kind == KindConfirm:
		return max(low.rate, round(high.rate/math.Pow(w, steps(rungs, false))))
	case low.kind != KindConfirm:
		return low.rate
	case high == nil:
		return 0
	}
	return min(high.rate, round(low.rate*math.Pow(w, steps(rungs, true))))
}

// steps is the size of the next step past the confirmed rates that all passed or
// all failed, in widths: 1, 2, 4, …
func steps(rungs []rung, passed bool) float64 {
	n := -1
	for _, r := range rungs {
		if r.kind == KindConfirm && r.passed == passed {
			n++
		}
	}
	return math.Pow(2, float64(max(0, min(n, 4))))
}

// width is the relative width at which a bracket about a rate is narrow enough:
// the one asked for, or the tolerance of the range, whichever is wider.
func (l Ladder) width(rate float64) float64 { return max(l.Width, l.Tolerance/rate) }

func (l Ladder) reason(r Range, low, high *rung) string {
	switch {
	case high == nil:
		return fmt.Sprintf("the highest rate asked for, %s req/s, passes", number(r.Upper))
	case low.undecided && high.undecided && high.rate > low.rate*(1+l.width(low.rate)):
		return "neither end of the bracket can be told from its target with the requests of a load point"
	}
	return "passing and failing rate are as close as asked"
}

// challenge asks whether the rate of a better candidate is held under the very
// seeds with which it was confirmed there; open = that is not answered, or the
// answer ends the search. A clear failure needs no second seed.
func (l Ladder) challenge(r Range, rungs []rung, done []Measured) (_ Load, _ *Found, open bool) {
	if l.Challenge <= 0 {
		return Load{}, nil, false
	}
	c := max(min(round(l.Challenge), r.Upper), r.Lower)
	lost := slices.IndexFunc(done, func(m Measured) bool {
		return m.Kind == KindConfirm && m.RateRPS == c && !m.Passed && m.Verdict.By != "misses" && m.Verdict.By != "budget"
	})
	i := slices.IndexFunc(rungs, func(x rung) bool { return x.rate == c && x.kind == KindConfirm })
	reason := fmt.Sprintf("given up: it does not hold the %s req/s of a better candidate", number(c))
	switch {
	case i >= 0 && rungs[i].passed:
		return Load{}, nil, false
	case i >= 0:
		return Load{}, l.found(rungs, reason), true
	case lost >= 0:
		v := done[lost].Verdict
		return Load{}, &Found{Reason: reason, Infeasible: c, InfeasibleAt: v.Shares, Binding: v.Binding, Why: v.Reason}, true
	}
	return Load{Kind: KindConfirm, RateRPS: c, Repeat: confirmed(done, c)}, nil, true
}

func (l Ladder) first(r Range) Load {
	switch {
	case l.Start > 0:
		return Load{Kind: KindProbe, RateRPS: min(max(round(l.Start), r.Lower), r.Upper)}
	}
	return Load{Kind: KindProbe, RateRPS: min(max(round(math.Sqrt(r.Lower*r.Upper)), r.Lower), r.Upper)}
}

// step is the factor of the next probe.
func (l Ladder) step(rungs []rung) float64 {
	if len(rungs) < 2 {
		return l.Ramp
	}
	return l.Ramp * l.Ramp
}

func confirmed(done []Measured, rate float64) (n int) {
	for _, m := range done {
		if m.Kind == KindConfirm && m.RateRPS == rate {
			n++
		}
	}
	return n
}

// brackets are the lowest rate that fails and the highest below it that passes.
// A rate that is only confirmed in part is neither.
func brackets(rungs []rung) (low, high *rung) {
	for i := range rungs {
		r := &rungs[i]
		if r.kind == "" {
			continue
		}
		if !r.passed {
			return low, r
		}
		low = r
	}
	return low, nil
}

// found sums a search up.
func (l Ladder) found(rungs []rung, reason string) *Found {
	f := &Found{Reason: reason}
	low, high := brackets(rungs)
	if low != nil {
		f.Feasible, f.FeasibleAt, f.Confirmed = low.rate, low.shares, low.kind == KindConfirm
		f.Binding = low.verdict.Binding
	}
	if high != nil {
		f.Infeasible, f.InfeasibleAt, f.Why = high.rate, high.shares, high.verdict.Reason
		f.Binding = cmp.Or(high.verdict.Binding, f.Binding)
	}
	return f
}
