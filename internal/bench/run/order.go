package run

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
)

// Order is the order in which the trials of a plan that measures listed load points
// repeatedly are done, drawn by chance, so that a machine that warms up or wanders
// favours no candidate.
type Order struct {
	Seed uint64 `json:"seed"`
	// Rounds are orders of all candidates. Round r measures repeat r of every load
	// point of every candidate, each on a server started anew.
	Rounds [][]string `json:"rounds"`
}

// drawOrder draws the order of a plan. A rate search decides on a load point by all
// its repeats, one after another, and a strategy on its candidates by what they
// showed: these have no rounds.
func (p *Plan) drawOrder() {
	if p.Load.Repeats < 2 || !p.Load.given() || p.Strategy.Pools() {
		return
	}
	seed := p.Scenarios[0].Seed
	r := rand.New(rand.NewPCG(seed, 0x0bde))
	p.Order = &Order{Seed: seed}
	for range p.Load.Repeats {
		ids := make([]string, len(p.Candidates))
		for i, c := range p.Candidates {
			ids[i] = c.ID
		}
		r.Shuffle(len(ids), func(i, k int) { ids[i], ids[k] = ids[k], ids[i] })
		p.Order.Rounds = append(p.Order.Rounds, ids)
	}
}

// given says that the load points are listed, not searched for.
func (l LoadPlan) given() bool { return len(l.Loads) > 0 || !l.Range.Any() }

// inRounds says that the plan has rounds.
func (p *Plan) inRounds() bool { return p.Order != nil }

// checkOrder demands that every round holds each candidate once.
func (p *Plan) checkOrder() error {
	if p.Order == nil {
		return nil
	}
	if n := len(p.Order.Rounds); n < 2 || n != p.Load.Repeats || !p.Load.given() {
		return fmt.Errorf("the plan has %d rounds, expected at least 2, one a repeat of listed load points", n)
	}
	for i, ids := range p.Order.Rounds {
		seen := map[string]bool{}
		for _, id := range ids {
			seen[id] = true
		}
		for _, c := range p.Candidates {
			if !seen[c.ID] || len(ids) != len(p.Candidates) {
				return fmt.Errorf("round %d of the plan: expected each candidate once", i)
			}
		}
	}
	return nil
}

// candidate finds a candidate of the plan; nil = there is none.
func (p *Plan) candidate(id string) *config.Candidate {
	i := slices.IndexFunc(p.Candidates, func(c config.Candidate) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	return &p.Candidates[i]
}

// nextInRounds decides on the step of a plan with rounds.
func nextInRounds(p *Plan, s *State) (step, bool) {
	for _, e := range p.Engines {
		if _, known := s.Engines[e.ID]; !known {
			return step{capture: e.ID}, true
		}
	}
	for round, ids := range p.Order.Rounds {
		for _, id := range ids {
			c := p.candidate(id)
			for j := range p.Scenarios {
				sc := &p.Scenarios[j]
				if s.Final[[2]string{c.ID, sc.Name}] {
					continue
				}
				if s.over(p, *c) != "" || s.untrusted(c.ID, *sc) {
					return step{candidate: c, scenario: sc, finish: true}, true
				}
				if l, missing := p.missing(s, c.ID, sc.Name, round); missing {
					return step{candidate: c, scenario: sc, load: l, round: round}, true
				}
				if round == len(p.Order.Rounds)-1 {
					return step{candidate: c, scenario: sc, finish: true}, true
				}
			}
		}
	}
	return step{}, false
}

// missing is the first load point of a round that was not measured.
func (p *Plan) missing(s *State, candidate, scenario string, round int) (search.Load, bool) {
	var measured []search.Measured
	for _, t := range s.candidate(candidate).Trials[scenario] {
		if t.Load.Repeat == round {
			l := t.Load
			l.Repeat = 0
			measured = append(measured, search.Measured{Load: l})
		}
	}
	spec := p.spec()
	spec.Repeats = 1
	n := spec.Next(measured)
	n.Load.Repeat = round
	return n.Load, !n.Done
}

// blocks gives the points of a plan with rounds the round that they were measured
// in.
func (p *Plan) blocks(points []result.Point) {
	if !p.inRounds() {
		return
	}
	for i := range points {
		points[i].Block = &points[i].Repeat
	}
}
