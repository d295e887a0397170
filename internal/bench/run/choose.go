package run

import (
	"fmt"
	"slices"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine"
)

// engineStep is the next step with the candidates of one engine.
func (p *Plan) engineStep(s *State, id engine.ID) (step, bool) {
	var pool []*config.Candidate
	for i := range p.Candidates {
		if p.Candidates[i].Engine == id {
			pool = append(pool, &p.Candidates[i])
		}
	}
	if p.Strategy == search.StrategyHalving {
		return p.halvingStep(s, pool)
	}
	if !p.Strategy.Pools() {
		for _, c := range pool {
			if st, more := p.candidateStep(s, c); more {
				return st, true
			}
		}
		return step{}, false
	}
	if i := p.Strategy.Pick(coordinates(pool), p.standings(s, pool), p.MaxCandidates); i >= 0 {
		return p.candidateStep(s, pool[i])
	}
	return step{}, false
}

// coordinates place the candidates in their search space.
func coordinates(pool []*config.Candidate) [][]int {
	flags := make([]map[string]string, len(pool))
	for i, c := range pool {
		flags[i] = map[string]string{}
		for _, x := range c.Flags {
			flags[i][x.Key] = x.Value.Text
		}
	}
	return search.Coordinates(flags)
}

// candidateStep is the next step with one candidate, in all scenarios in turn.
func (p *Plan) candidateStep(s *State, c *config.Candidate) (step, bool) {
	for j := range p.Scenarios {
		sc := &p.Scenarios[j]
		if s.Final[[2]string{c.ID, sc.Name}] {
			continue
		}
		if s.over(p, *c) != "" {
			return step{candidate: c, scenario: sc, finish: true}, true
		}
		n := p.specOf(s, *c, *sc).Next(s.measured(c.ID, *sc))
		done := n.Done || s.untrusted(c.ID, *sc)
		return step{candidate: c, scenario: sc, load: n.Load, finish: done, found: n.Found}, true
	}
	return step{}, false
}

// specOf is the search of a candidate at a scenario, with what is known from the
// candidates of its engine that are done with it.
func (p *Plan) specOf(s *State, c config.Candidate, sc Scenario) search.Spec {
	spec := p.spec()
	if spec.Ladder == nil {
		return spec
	}
	if s.candidate(c.ID).Deaths > 0 { // another one would cost its row
		l := *spec.Ladder
		l.Hysteresis, spec.Ladder = false, &l
	}
	spec.Best, spec.Race = map[int]float64{}, p.Strategy.Races()
	for _, other := range p.of(c.Engine) {
		if other.ID == c.ID {
			continue
		}
		for _, f := range s.Found[[2]string{other.ID, sc.Name}] {
			spec.Best[f.MaxConcurrency] = max(spec.Best[f.MaxConcurrency], f.Feasible)
		}
	}
	return spec
}

// standings are how far the candidates have come.
func (p *Plan) standings(s *State, pool []*config.Candidate) []search.Standing {
	out := make([]search.Standing, len(pool))
	for i, c := range pool {
		st := &out[i]
		st.Begun, st.Done = s.begun(p, c.ID), true
		for _, sc := range p.Scenarios {
			st.Done = st.Done && s.Final[[2]string{c.ID, sc.Name}]
			st.Scores = append(st.Scores, s.score(c.ID, sc))
		}
	}
	return out
}

// begun says that something was done with a candidate.
func (s *State) begun(p *Plan, id string) bool {
	cs := s.candidate(id)
	return cs.Starts > 0 || cs.Failure != nil || slices.ContainsFunc(p.Scenarios, func(sc Scenario) bool { return s.Final[[2]string{id, sc.Name}] })
}

// score is the highest rate that a candidate holds at a scenario, requests/s:
// the one that was found, or where none was looked for its throughput at the
// best load point that passed; 0 = none.
func (s *State) score(id string, sc Scenario) (best float64) {
	found, final := s.Found[[2]string{id, sc.Name}]
	for _, f := range found {
		best = max(best, f.Feasible)
	}
	if len(found) > 0 || !final {
		return best
	}
	for _, t := range s.candidate(id).Trials[sc.Name] {
		p := t.Trial.Point
		if p.Status == result.StatusOK && p.Passed && p.Invalid == "" && p.Metrics.RequestThroughput != nil {
			best = max(best, *p.Metrics.RequestThroughput)
		}
	}
	return best
}

// halvingStep is the next step of the rounds of successive halving: in each
// round every survivor is measured with load points twice as long as in the
// round before, without confirmations; the last one is measured in full. A
// candidate is started once a round.
func (p *Plan) halvingStep(s *State, pool []*config.Candidate) (step, bool) {
	at := coordinates(pool)
	entered := search.Order(at)
	if p.MaxCandidates > 0 {
		entered = entered[:min(len(entered), p.MaxCandidates)]
	}
	rounds := search.Rounds(len(entered))
	for round := 1; round < rounds; round++ {
		scores := make([][]float64, len(entered))
		for k, i := range entered {
			st, rates, more := p.roundStep(s, pool[i], round)
			if more {
				return st, true
			}
			scores[k] = rates
		}
		entered = search.Survivors(entered, scores)
	}
	for _, i := range entered { // the last round is the search as it is without rounds
		if st, more := p.candidateStep(s, pool[i]); more {
			return st, true
		}
	}
	for i, c := range pool { // those that fell out on the way
		if !slices.Contains(entered, i) && s.begun(p, c.ID) {
			for j := range p.Scenarios {
				if sc := &p.Scenarios[j]; !s.Final[[2]string{c.ID, sc.Name}] {
					return step{candidate: c, scenario: sc, finish: true, found: p.lastRound(s, *c, *sc, rounds)}, true
				}
			}
		}
	}
	return step{}, false
}

// roundStep is what is left of a candidate's round; without, rates are what it
// holds at each scenario.
func (p *Plan) roundStep(s *State, c *config.Candidate, round int) (step, []float64, bool) {
	rates := make([]float64, len(p.Scenarios))
	if s.over(p, *c) != "" {
		return step{}, rates, false
	}
	for j := range p.Scenarios {
		sc := &p.Scenarios[j]
		n := p.roundSpec(round).Next(s.measured(c.ID, *sc))
		if !n.Done && !s.untrusted(c.ID, *sc) {
			return step{candidate: c, scenario: sc, load: n.Load}, nil, true
		}
		for _, f := range n.Found {
			rates[j] = max(rates[j], f.Feasible)
		}
	}
	return step{}, rates, false
}

// roundSpec is the search of a round before the last: shorter, coarser, without
// confirmations.
func (p *Plan) roundSpec(round int) search.Spec {
	spec := p.spec()
	spec.Stage = round
	if spec.Ladder != nil {
		l := *spec.Ladder
		l.Confirmations, l.Probe = 0, 1
		spec.Ladder = &l
	}
	return spec
}

// lastRound says with what a candidate fell out. Its rate is none that counts:
// the load points were short, and the last round measures in full.
func (p *Plan) lastRound(s *State, c config.Candidate, sc Scenario, rounds int) []search.Found {
	var found []search.Found
	for round := 1; round < rounds && p.spec().Ladder != nil; round++ {
		n := p.roundSpec(round).Next(s.measured(c.ID, sc))
		if !n.Done {
			break
		}
		found = nil
		for _, f := range n.Found {
			found = append(found, search.Found{MaxConcurrency: f.MaxConcurrency,
				Reason: fmt.Sprintf("given up after round %d of %d, being of the worse half: it held %.4g req/s at short load points", round, rounds, f.Feasible)})
		}
	}
	return found
}
