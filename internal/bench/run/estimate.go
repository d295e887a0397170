package run

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/workload"
)

// Estimate is what a strategy is expected to cost.
type Estimate struct {
	Strategy   search.Strategy `json:"strategy"`
	Chosen     bool            `json:"chosen,omitempty"` // the file's own
	Candidates int             `json:"candidates"`       // in the pool
	Starts     int             `json:"server_starts"`
	LoadPoints int             `json:"load_points"`
	WallS      float64         `json:"wall_s"`
	GPUHours   float64         `json:"gpu_hours"`
}

// Words is the estimate in one line.
func (e Estimate) Words() string {
	return fmt.Sprintf("%s: %d server starts for a choice of %d candidates, %d load points, %s, %.1f GPU hours", e.Strategy, e.Starts, e.Candidates, e.LoadPoints, hours(e.WallS), e.GPUHours)
}

func hours(s float64) string {
	if s < 5400 {
		return fmt.Sprintf("%.0f min", math.Ceil(s/60))
	}
	return fmt.Sprintf("%.1f h", s/3600)
}

// What an estimate assumes. The lengths and numbers of load points are round
// means of the tables in docs/search.md (simulated engines, 2026-11-25).
const (
	assumedStartS    = 120 // from the command to a ready server, seconds
	assumedFlushS    = 2   // flush and warm-up before a load point, seconds
	assumedE2ES      = 10  // of a request, seconds, where no limit bounds it
	ladderPoints     = 16
	ladderLengths    = 15. // of them, in full lengths
	roundPoints      = 9   // a round of halving: no confirmations
	loserLengths     = 1.2 // of the load point or two of a candidate that does not hold the best rate
	overloadedLength = 0.8 // an overloaded point lasts as the server's rate has it, not as the offered one
)

// Estimates are the expected costs of every strategy that the file may name, the
// file's own marked, and the assumptions behind them in words. Nothing is
// started.
func Estimates(f *config.File, set engine.Set, o Options) ([]Estimate, []string, error) {
	strategies := search.Strategies
	if f.SchemaVersion < config.SchemaOurs {
		strategies = strategies[:1]
	}
	own := cmp.Or(search.Strategy(f.Search.Strategy), search.StrategyProduct)
	var out []Estimate
	var words []string
	for _, s := range strategies {
		other := *f
		if f.SchemaVersion >= config.SchemaOurs {
			other.Search.Strategy = string(s)
		}
		p, err := NewPlan(&other, set, o)
		if err != nil {
			return nil, nil, err
		}
		e := p.estimate(set)
		e.Strategy, e.Chosen = s, s == own
		out = append(out, e)
		words = p.assumptions()
	}
	return out, words, nil
}

// estimate is the cost of the plan's own strategy.
func (p *Plan) estimate(set engine.Set) (e Estimate) {
	for _, ep := range p.Engines {
		pool := p.of(ep.ID)
		points, lengths, starts := p.shape(pool)
		e.Candidates += len(pool)
		e.Starts += starts
		wall := float64(starts) * assumedStartS
		for _, sc := range p.Scenarios {
			k := float64(len(p.caps()))
			wall += k * (lengths*p.pointS(sc) + float64(points)*assumedFlushS)
			e.LoadPoints += points * int(k)
		}
		e.WallS += wall
		known, _ := set.Lookup(string(ep.ID))
		e.GPUHours += wall / 3600 * gpus(known, pool)
	}
	return e
}

// caps are the load levels that are gone through for each scenario: one search
// each, or the listed load points together.
func (p *Plan) caps() []int {
	if p.Load.Ladder != nil || len(p.Load.Loads) == 0 && p.Load.Range.Any() {
		return p.Load.Caps
	}
	return []int{0}
}

// shape is how much of one engine's pool is measured at a scenario and cap: load
// points, these in full lengths, and server starts.
func (p *Plan) shape(pool []config.Candidate) (points int, lengths float64, starts int) {
	begun := len(pool)
	if p.Strategy == search.StrategyCovering {
		at := coordinates(pointers(pool))
		near := 0
		for i := range at {
			if search.Distance(at[i], at[0]) == 1 {
				near++
			}
		}
		begun = min(begun, len(search.Cover(at))+near)
	}
	if p.MaxCandidates > 0 {
		begun = min(begun, p.MaxCandidates)
	}
	each, eachLengths := p.candidatePoints()
	switch {
	case p.Strategy.Races() && p.Load.Ladder != nil:
		// In a random order the k-th candidate is the best so far with a chance of 1/k.
		h := 0.0
		for k := 1; k <= begun; k++ {
			h += 1 / float64(k)
		}
		winners := min(begun, int(math.Ceil(h)))
		losers := begun - winners
		return winners*each + losers, float64(winners)*eachLengths + loserLengths*float64(losers), begun
	case p.Strategy == search.StrategyHalving && p.Load.Ladder != nil:
		rounds, left := search.Rounds(begun), begun
		for r := 1; r < rounds; r++ {
			starts, points = starts+left, points+left*roundPoints
			lengths += float64(left*roundPoints) * max(p.Load.Ladder.Probe, math.Pow(2, -float64(rounds-r))) * overloadedLength
			left = (left + 1) / 2
		}
		return points + left*each, lengths + float64(left)*eachLengths, starts + left
	}
	return begun * each, float64(begun) * eachLengths, begun
}

// candidatePoints are the load points of one candidate at one scenario and cap.
func (p *Plan) candidatePoints() (points int, lengths float64) {
	repeats := max(p.Load.Repeats, 1)
	switch {
	case p.Load.Ladder != nil:
		return ladderPoints, ladderLengths
	case len(p.Load.Loads) > 0:
		return len(p.Load.Loads) * repeats, float64(len(p.Load.Loads) * repeats)
	case p.Load.Range.Any():
		n := max(search.EffortOf(p.Tier).Rounds, 1) * repeats
		return n, float64(n) * overloadedLength
	}
	n := len(p.Load.Caps) * repeats
	return n, float64(n)
}

// pointS is the time of a load point at full length, seconds: that of its
// arrivals at the rate assumed, and of the last request.
func (p *Plan) pointS(sc Scenario) float64 {
	n, e2e := float64(sc.NumPrompts), e2eOf(sc)
	switch {
	case workload.ArrivalKind(p.Load.Arrivals) == workload.ArrivalClosed:
		users := 0.0
		for _, l := range p.Load.Loads {
			users += float64(max(l.MaxConcurrency, 1)) / float64(len(p.Load.Loads))
		}
		return math.Ceil(n/max(users, 1)) * e2e
	case p.Load.Range.Any() && len(p.Load.Loads) == 0:
		return n/assumedRate(p.Load.Range) + e2e
	}
	slowest := 0.0
	for _, l := range p.Load.Loads {
		if l.RateRPS > 0 {
			slowest += n / l.RateRPS / float64(len(p.Load.Loads))
		}
	}
	return slowest + e2e
}

// assumedRate is the middle of the range in log rate.
func assumedRate(r search.Range) float64 { return math.Sqrt(r.Lower * r.Upper) }

// e2eOf is what the limits allow a request, seconds.
func e2eOf(sc Scenario) float64 {
	lim, _ := sc.requestLimits()
	switch {
	case lim.E2EMs > 0:
		return lim.E2EMs / 1000
	case lim.TPOTMs > 0:
		return (lim.TTFTMs + lim.TPOTMs*float64(max(sc.OutputLen, 1))) / 1000
	}
	return assumedE2ES
}

// gpus is the mean number of GPUs of an engine's candidates.
func gpus(e *engine.Engine, pool []config.Candidate) float64 {
	sum := 0.0
	for _, c := range pool {
		n := 1.0
		for _, key := range []string{e.Launch.TP, e.Launch.PP, e.Launch.DP} {
			if x, ok := c.Flags.Number(key); ok && key != "" && x > 1 {
				n *= x
			}
		}
		sum += n
	}
	return sum / float64(max(len(pool), 1))
}

func pointers(pool []config.Candidate) []*config.Candidate {
	out := make([]*config.Candidate, len(pool))
	for i := range pool {
		out[i] = &pool[i]
	}
	return out
}

// assumptions are what the estimates rest on, in words.
func (p *Plan) assumptions() []string {
	out := []string{fmt.Sprintf("a server needs %d s to be ready, and %d s for flush and warm-up before a load point", assumedStartS, assumedFlushS)}
	if p.Load.Range.Any() && len(p.Load.Loads) == 0 {
		out = append(out, fmt.Sprintf("servers hold %s req/s, the middle of benchmark.qps in log rate", result.Number(assumedRate(p.Load.Range))))
	}
	var parts []string
	for _, sc := range p.Scenarios {
		part := fmt.Sprintf("%s %d prompts, %s a load point in full", sc.Name, sc.NumPrompts, hours(p.pointS(sc)))
		if n, name := search.Needs(search.Targets(sc.SLA)); p.Load.Ladder != nil && name != "" && sc.NumPrompts < n {
			part += fmt.Sprintf(" (num_prompts: %d would bring the highest rate within 5 %% by %s)", n, name)
		}
		parts = append(parts, part)
	}
	out = append(out, strings.Join(parts, "; "))
	if p.Load.Ladder != nil {
		out = append(out, fmt.Sprintf("a rate search takes %d load points that last as long as %g in full; a candidate that does not hold the best rate takes %g", ladderPoints, ladderLengths, loserLengths))
	}
	return out
}
