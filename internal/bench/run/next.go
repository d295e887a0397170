package run

import (
	"fmt"
	"regexp"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine"
)

// maxDeaths is how often a server may die under load before its candidate is
// given up: a crash at one rate says little about lower ones, two say enough.
const maxDeaths = 2

// step is what a run does next. The zero step means that everything is done.
type step struct {
	capture   engine.ID // ask this engine for version and help
	candidate *config.Candidate
	scenario  *Scenario
	load      search.Load // measure it
	finish    bool        // nothing is left to measure: the row is final
	found     []search.Found
	round     int // of Plan.Order; each has servers of its own
}

// next decides on the step that follows from plan and state.
func next(p *Plan, s *State) (step, bool) {
	if p.inRounds() {
		return nextInRounds(p, s)
	}
	for _, e := range p.Engines {
		if _, known := s.Engines[e.ID]; !known {
			return step{capture: e.ID}, true
		}
		if st, more := p.engineStep(s, e.ID); more {
			return st, true
		}
	}
	return step{}, false
}

// over says why nothing more of a candidate is measured; "" = go on.
func (s *State) over(p *Plan, c config.Candidate) string {
	if missing := s.Engines[c.Engine].Missing; missing != "" {
		return missing
	}
	cs := s.candidate(c.ID)
	switch {
	case cs.Failure != nil:
		return cs.Failure.Reason
	case cs.Deaths >= maxDeaths:
		return fmt.Sprintf("the server died %d times under load", cs.Deaths)
	case cs.Starts == 0:
		reason, _ := s.stopped(p, c)
		return reason
	}
	return ""
}

// How many candidates have to fail in the same way before the rest of an engine
// is not tried. Memory is what candidates differ in, so it takes one more.
const (
	sameFailures    = 2
	sameFailuresOOM = 3
)

// stopped says whether an engine was given up before the candidate: all its
// earlier ones failed to start, and with the same cause (upstream's rule).
func (s *State) stopped(p *Plan, c config.Candidate) (reason string, yes bool) {
	n, first := 0, (*Failure)(nil)
	for _, other := range p.of(c.Engine) {
		if other.ID == c.ID && !p.Strategy.Pools() {
			break
		}
		cs := s.candidate(other.ID)
		switch {
		case cs.Failure == nil && cs.Starts == 0:
			continue // not tried itself
		case cs.Failure == nil || cs.Ready > 0:
			return "", false
		case first == nil:
			first = cs.Failure
		case cause(first) != cause(cs.Failure):
			return "", false
		}
		n++
	}
	need := sameFailures
	if first != nil && first.Status == result.StatusOOM {
		need = sameFailuresOOM
	}
	if n < need {
		return "", false
	}
	return fmt.Sprintf("not tried: all %d candidates of %s before it failed to start with the same cause: %s", n, c.Engine, first.Reason), true
}

// varying is what differs in a log line between two starts of one failure.
var varying = regexp.MustCompile(`[0-9]+(\.[0-9]+)?|0x[0-9a-f]+`)

func cause(f *Failure) string {
	return f.Phase + "\x00" + f.Status + "\x00" + f.Kind + "\x00" + varying.ReplaceAllString(f.Line, "#")
}

// measured are the verdicts that the search goes by.
func (s *State) measured(candidate string, sc Scenario) []search.Measured {
	var out []search.Measured
	for _, t := range s.candidate(candidate).Trials[sc.Name] {
		p := t.Trial.Point
		m := search.Measured{Load: t.Load, Passed: p.Status == result.StatusOK && p.Passed && p.Invalid == ""}
		if t.Trial.Verdict != nil {
			m.Verdict = *t.Trial.Verdict
		}
		out = append(out, m)
	}
	return out
}

// maxInvalid is how many load points in succession may have an unsound client
// before a scenario is given up: lower rates are for a slow server, not for a
// machine that is too busy to measure.
const maxInvalid = 3

// untrusted says that the client was not sound at the last load points.
func (s *State) untrusted(candidate string, sc Scenario) bool {
	trials := s.candidate(candidate).Trials[sc.Name]
	if len(trials) < maxInvalid {
		return false
	}
	for _, t := range trials[len(trials)-maxInvalid:] {
		if t.Trial.Point.Invalid == "" {
			return false
		}
	}
	return true
}
