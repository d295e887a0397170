package search

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Load is one load point.
type Load struct {
	RateRPS        float64 `json:"rate_rps,omitempty"`        // offered, requests/s; 0 = no schedule (all at once, or closed loop)
	MaxConcurrency int     `json:"max_concurrency,omitempty"` // cap, or users of a closed loop; 0 = none
	Repeat         int     `json:"repeat,omitempty"`          // from 0
	// Kind is that of a load point of a ladder; "" = of the plain search.
	Kind string `json:"kind,omitempty"`
	// Stage is the round of a candidate search that goes in rounds.
	Stage int `json:"stage,omitempty"`
	// AfterRPS is the rate of an overload that goes right before, requests/s; 0 =
	// none does.
	AfterRPS float64 `json:"after_rps,omitempty"`
}

// Measured is a load point with its verdict.
type Measured struct {
	Load
	Passed  bool    // within the SLA, and the client was sound
	Verdict Verdict // of its targets; only a ladder asks for it
}

// Spec is what a candidate is put through at one scenario.
type Spec struct {
	Loads   []Load // measured as they stand; takes the place of the rate search
	Caps    []int  // caps for which the rate is searched, in order; empty = one search without a cap
	Range   Range
	Repeats int // measurements of each load point; 0 = 1
	Effort  Effort
	Ladder  *Ladder // how the range is searched; nil = by halving it, as upstream means it
	Stage   int     // of its load points
	// Best is the highest rate that was found so far for other candidates of the
	// engine, by cap. With Race a candidate must hold it; else the ladder begins
	// there.
	Best map[int]float64
	Race bool
}

// Range is where the highest rate that passes is looked for, requests/s.
type Range struct {
	Lower     float64 `json:"lower"`
	Upper     float64 `json:"upper"`
	Tolerance float64 `json:"tolerance"`
}

// Any says that there is something to search.
func (r Range) Any() bool { return r.Lower > 0 && r.Upper >= r.Lower }

// Step is the decision of [Spec.Next].
type Step struct {
	Load Load
	Done bool
	// Found says for each cap how its search ended; filled in when Done.
	Found []Found
}

// Found is the end of one rate search.
type Found struct {
	MaxConcurrency int     `json:"max_concurrency,omitempty"`
	Feasible       float64 `json:"feasible_rps,omitempty"`   // highest rate that passed; 0 = none
	Infeasible     float64 `json:"infeasible_rps,omitempty"` // lowest rate above it that failed; 0 = none
	Reason         string  `json:"reason"`

	// The rest is what a ladder knows beside. Confirmed: Feasible was measured
	// again with fresh seeds.
	Confirmed bool `json:"confirmed,omitempty"`
	// FeasibleAt and InfeasibleAt are the shares attained at the two rates.
	FeasibleAt   []Attained `json:"feasible_attainment,omitempty"`
	InfeasibleAt []Attained `json:"infeasible_attainment,omitempty"`
	Binding      string     `json:"binding,omitempty"` // the limit that binds
	Why          string     `json:"why,omitempty"`     // the rate that fails does, in words
	// Hysteresis says whether Feasible still holds after an overload; nil = it was
	// not measured.
	Hysteresis *Hysteresis `json:"hysteresis,omitempty"`
}

// Next is the load point to measure after those that were measured, in any
// order; the order of asking is fixed by the spec and the verdicts alone.
func (s Spec) Next(done []Measured) Step {
	if len(s.Loads) > 0 || !s.Range.Any() {
		return s.listed(done)
	}
	caps := s.Caps
	if len(caps) == 0 {
		caps = []int{0}
	}
	var found []Found
	for _, c := range unique(caps) {
		load, end := s.nextOf(c, done)
		if end == nil {
			return Step{Load: load}
		}
		end.MaxConcurrency = c
		found = append(found, *end)
	}
	return Step{Done: true, Found: found}
}

// nextOf is the next load point of the search under one cap, or its end.
func (s Spec) nextOf(maxConcurrency int, done []Measured) (Load, *Found) {
	if s.Ladder == nil {
		rate, end := s.nextRate(s.points(done, maxConcurrency))
		return s.repeat(Load{RateRPS: rate, MaxConcurrency: maxConcurrency}, done).Load, end
	}
	var mine []Measured
	for _, m := range done {
		if m.MaxConcurrency == maxConcurrency && m.Stage == s.Stage {
			mine = append(mine, m)
		}
	}
	l := *s.Ladder
	if best := s.Best[maxConcurrency]; best > 0 && s.Race {
		l.Challenge = best * (1 + raceMargin)
	} else if best > 0 {
		l.Start = best
	}
	load, end := l.next(s.Range, mine)
	load.MaxConcurrency, load.Stage = maxConcurrency, s.Stage
	return load, end
}

// raceMargin is how much faster than the best a candidate must be to go on.
const raceMargin = 0.01

func unique(caps []int) []int {
	var out []int
	for _, c := range caps {
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// listed goes through the load points as they stand; without any, it measures
// each cap with all requests at once.
func (s Spec) listed(done []Measured) Step {
	loads := s.Loads
	if len(loads) == 0 {
		for _, c := range unique(append([]int(nil), s.Caps...)) {
			loads = append(loads, Load{MaxConcurrency: c})
		}
		if len(loads) == 0 {
			loads = []Load{{}}
		}
	}
	for _, l := range loads {
		if s.count(done, l) < s.repeats() {
			return s.repeat(l, done)
		}
	}
	return Step{Done: true}
}

func (s Spec) repeats() int { return max(s.Repeats, 1) }

func same(a, b Load) bool { return a.RateRPS == b.RateRPS && a.MaxConcurrency == b.MaxConcurrency }

func (s Spec) count(done []Measured, l Load) int {
	n := 0
	for _, m := range done {
		if same(m.Load, l) {
			n++
		}
	}
	return n
}

// repeat asks for the first repeat of a load point that is missing.
func (s Spec) repeat(l Load, done []Measured) Step {
	for l.Repeat = 0; slices.ContainsFunc(done, func(m Measured) bool { return same(m.Load, l) && m.Repeat == l.Repeat }); {
		l.Repeat++
	}
	return Step{Load: l}
}

// point is a rate of which every repeat was measured.
type point struct {
	rate   float64
	passed bool
}

// points are the rates of one cap, ascending, that were measured as often as
// asked. A rate passes when more than half of its repeats did.
func (s Spec) points(done []Measured, maxConcurrency int) []point {
	total, passed := map[float64]int{}, map[float64]int{}
	for _, m := range done {
		if m.MaxConcurrency == maxConcurrency {
			total[m.RateRPS]++
			if m.Passed {
				passed[m.RateRPS]++
			}
		}
	}
	var out []point
	for rate, n := range total {
		if n >= s.repeats() {
			out = append(out, point{rate, 2*passed[rate] > n})
		}
	}
	slices.SortFunc(out, func(a, b point) int {
		if a.rate < b.rate {
			return -1
		}
		return 1
	})
	return out
}

// nextRate is one rate search. The upper end comes first: it takes the least
// time, and where it passes nothing else is needed. Then the interval is halved
// in log rate, which spends the rounds evenly over factors of load. The lower
// end is measured when everything above it failed; it is the slowest point and
// says only whether there is an answer at all. Unlike upstream, whose end points
// are never measured and whose tolerance is finer than the noise, the search
// ends at a relative width.
//
// Verdicts need not be monotone: of several passing rates the highest below the
// lowest failing one counts, so that a lucky point above a failed one is not
// believed.
func (s Spec) nextRate(done []point) (float64, *Found) {
	r := s.Range
	low, high := r.bracket(done)
	rounds := max(s.Effort.Rounds, 1)
	switch {
	case len(done) == 0:
		return r.Upper, nil
	case high == 0:
		return 0, &Found{Feasible: low, Reason: fmt.Sprintf("the highest rate asked for, %s req/s, passes", number(r.Upper))}
	case low == 0 && high <= r.Lower:
		return 0, &Found{Infeasible: high, Reason: fmt.Sprintf("the lowest rate asked for, %s req/s, fails", number(r.Lower))}
	case len(done) >= rounds:
		return 0, &Found{Feasible: low, Infeasible: high, Reason: fmt.Sprintf("%d load points are the bound of this tier", rounds)}
	case low == 0 && (len(done) == rounds-1 || s.narrow(r.Lower, high)):
		return r.Lower, nil
	case low > 0 && s.narrow(low, high):
		return 0, &Found{Feasible: low, Infeasible: high, Reason: "passing and failing rate are as close as asked"}
	}
	from := max(low, r.Lower)
	rate := round(math.Sqrt(from * high))
	if rate <= from || rate >= high {
		if low == 0 {
			return r.Lower, nil
		}
		return 0, &Found{Feasible: low, Infeasible: high, Reason: "passing and failing rate are as close as asked"}
	}
	return rate, nil
}

// bracket is the lowest failing rate and the highest passing one below it; 0 =
// none.
func (r Range) bracket(done []point) (low, high float64) {
	for _, p := range done {
		if !p.passed {
			return low, p.rate
		}
		low = p.rate
	}
	return low, 0
}

func (s Spec) narrow(low, high float64) bool {
	return high-low <= s.Range.Tolerance || high <= low*(1+s.Effort.Relative)
}

// round keeps four significant digits: rates stand in folder names and tables.
func round(x float64) float64 {
	y, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 4, 64), 64)
	if err != nil {
		return x
	}
	return y
}

func number(x float64) string { return strconv.FormatFloat(round(x), 'f', -1, 64) }
