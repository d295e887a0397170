package run

import (
	"fmt"
	"strings"
	"time"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/launch"
	"llmdyno/internal/load"
	"llmdyno/internal/load/workload"
)

// Status is how far a run is. Line is set when something happened that is worth
// a line of its own; otherwise only the state has changed.
type Status struct {
	Line string

	Phase     string // "starting", "warming up", "measuring", …
	Candidate string
	Scenario  string
	Load      string // in words
	Detail    string // how far the phase is, in words

	Done, Total int // rows
	Elapsed     time.Duration
	// Left is how long the rest will take if it goes on as so far; 0 = unknown.
	Left time.Duration
	Best []Best // best passing row so far, by scenario
	Over bool   // the last call
}

// Best is the best row of a scenario so far.
type Best struct {
	Scenario, Candidate string
	RPS                 float64 // request throughput
	TTFTMs, TPOTMs      float64 // medians; 0 = not measured
}

// progress makes statuses out of what the runner does.
type progress struct {
	observe func(Status)
	plan    *Plan
	began   time.Time
	now     Status
	base    int // rows that were final when the session began
	seen    bool
}

func (p *progress) send() {
	if p.observe == nil {
		return
	}
	s := &p.now
	s.Elapsed = time.Since(p.began)
	s.Left = 0
	if n := s.Done - p.base; n > 0 {
		s.Left = s.Elapsed / time.Duration(n) * time.Duration(s.Total-s.Done)
	}
	out := *s
	out.Best = append([]Best(nil), s.Best...)
	p.observe(out)
	s.Line = ""
}

func (p *progress) say(format string, args ...any) {
	p.now.Line = fmt.Sprintf(format, args...)
	p.send()
}

func (p *progress) step(plan *Plan, s *State, st step) {
	p.now.Total = len(plan.Candidates) * len(plan.Scenarios)
	p.now.Done = len(s.Final)
	if !p.seen {
		p.seen, p.base = true, p.now.Done
	}
	if st.capture != "" {
		p.now.Phase, p.now.Candidate, p.now.Scenario, p.now.Load, p.now.Detail = "asking for version and help", string(st.capture), "", "", ""
		p.send()
		return
	}
	if p.now.Candidate != st.candidate.ID {
		p.now.Phase, p.now.Detail = "starting", ""
	}
	p.now.Candidate, p.now.Scenario = st.candidate.ID, st.scenario.Name
	p.now.Load = ""
	if !st.finish {
		p.now.Load = describe(st.load, plan.Load.Arrivals)
	}
	p.send()
}

// describe is a load point in words.
func describe(l search.Load, arrivals string) string {
	var words []string
	switch {
	case l.RateRPS > 0:
		words = append(words, formatRate(l.RateRPS)+" req/s")
	case (workload.Arrivals{Kind: workload.ArrivalKind(arrivals)}).Timed():
		words = append(words, "arrivals by "+arrivals)
	case arrivals != "closed":
		words = append(words, "all at once")
	}
	if l.MaxConcurrency > 0 {
		words = append(words, fmt.Sprintf("concurrency %d", l.MaxConcurrency))
	}
	if l.Repeat > 0 {
		words = append(words, fmt.Sprintf("repeat %d", l.Repeat+1))
	}
	return strings.Join(words, ", ")
}

func (p *progress) phase(name string) {
	p.now.Phase, p.now.Detail = name, ""
	p.send()
}

func (p *progress) starting(l launch.Progress) {
	p.now.Phase = "starting"
	p.now.Detail = fmt.Sprintf("%s of at most %s", l.Elapsed.Round(time.Second), l.Deadline.Round(time.Second))
	if l.LastLine != "" {
		p.now.Detail += ": " + l.LastLine
	}
	p.send()
}

func (p *progress) stopping() { p.phase("stopping") }

func (p *progress) load(l load.Progress) {
	p.now.Detail = fmt.Sprintf("%d of %d requests, %d in flight", l.Done, l.Planned, l.InFlight)
	if l.Failed > 0 {
		p.now.Detail += fmt.Sprintf(", %d failed", l.Failed)
	}
	if l.Elapsed > 0 && l.OutputTokens > 0 {
		p.now.Detail += fmt.Sprintf(", %.0f tok/s", float64(l.OutputTokens)/l.Elapsed.Seconds())
	}
	p.send()
}

func (p *progress) trial(st step, t *Trial) {
	words := figures(t.Point.Metrics)
	switch {
	case t.Point.Status != result.StatusOK:
		words = t.Point.Status + ": " + t.Point.FailureReason
	case t.Point.Invalid != "":
		words += "; not valid: " + t.Point.Invalid
	case len(t.Point.Violations) > 0:
		words += "; " + strings.Join(t.Point.Violations, "; ")
	}
	p.say("%s %s at %s: %s", st.candidate.ID, st.scenario.Name, describe(st.load, p.plan.Load.Arrivals), words)
}

func figures(m result.Metrics) string {
	var words []string
	add := func(format string, v *float64) {
		if v != nil {
			words = append(words, fmt.Sprintf(format, *v))
		}
	}
	add("%.3g req/s", m.RequestThroughput)
	add("%.0f output tok/s", m.OutputTokenThroughput)
	add("TTFT p50 %.0f ms", m.TTFT.P50)
	add("TPOT p50 %.2f ms", m.TPOT.P50)
	if m.SuccessRate != nil && *m.SuccessRate < 1 {
		words = append(words, fmt.Sprintf("%.1f %% succeeded", 100**m.SuccessRate))
	}
	return strings.Join(words, ", ")
}

// row takes a final row into the best so far.
func (p *progress) row(r result.Row) {
	p.now.Done++
	if r.Status != result.StatusOK || r.SLA.Passed == nil || !*r.SLA.Passed || r.Metrics.RequestThroughput == nil {
		p.send()
		return
	}
	b := Best{Scenario: r.Workload.Scenario, Candidate: r.CandidateID, RPS: *r.Metrics.RequestThroughput}
	if v := r.Metrics.TTFT.P50; v != nil {
		b.TTFTMs = *v
	}
	if v := r.Metrics.TPOT.P50; v != nil {
		b.TPOTMs = *v
	}
	found := false
	for i := range p.now.Best {
		if p.now.Best[i].Scenario == b.Scenario {
			found = true
			if b.RPS > p.now.Best[i].RPS {
				p.now.Best[i] = b
			}
		}
	}
	if !found {
		p.now.Best = append(p.now.Best, b)
	}
	p.send()
}

func (p *progress) done() {
	p.now.Phase, p.now.Detail, p.now.Over = "done", "", true
	p.send()
}
