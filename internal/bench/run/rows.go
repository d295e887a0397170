package run

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/workload"
)

// Facts are what rows carry beside plan and state.
type Facts struct {
	RunID       string
	ToolVersion string
	Host        string // name of the machine
	CPU         string
	Cores       int
}

// Rows are the results of a run: one row for each candidate and scenario, in
// the order of the plan. A row that is not final is what was measured so far, or
// skipped with the reason unfinished.
func Rows(p *Plan, s *State, set engine.Set, f Facts, unfinished string) []result.Row {
	var rows []result.Row
	for _, c := range p.Candidates {
		e, _ := set.Lookup(string(c.Engine))
		for _, sc := range p.Scenarios {
			r := baseRow(p, s, e, f, c, sc)
			cs := s.candidate(c.ID)
			final := s.Final[[2]string{c.ID, sc.Name}]
			if p.Strategy.Pools() && !final && !s.begun(p, c.ID) {
				continue // the strategy had no need of it, or has not come to it
			}
			r.addPoints(cs.Trials[sc.Name], s.Found[[2]string{c.ID, sc.Name}], p, sc)
			r.conclude(p, s, c, final, unfinished)
			rows = append(rows, r.Row)
		}
	}
	return rows
}

// row is a row in the making.
type row struct {
	result.Row
	chosen *TrialDone
}

func baseRow(p *Plan, s *State, e *engine.Engine, f Facts, c config.Candidate, sc Scenario) *row {
	facts := s.Engines[c.Engine]
	r := &row{Row: result.Row{
		SchemaVersion: result.SchemaVersion, RunID: f.RunID, ToolVersion: f.ToolVersion,
		Framework: string(c.Engine), FrameworkVersion: facts.Version, CandidateID: c.ID, Baseline: c.Index == 0, Model: p.Model,
		ServerCommand: c.Command, BenchmarkCommand: p.Command, Simulated: p.Simulated, Smoke: p.Smoke,
		Hardware: hardware(p, e, f, c), Workload: p.workloadOf(sc), SLA: sc.SLA,
		Artifacts: result.Artifacts{ServerHelp: facts.Help},
		Warnings:  slices.Clone(facts.Warnings),
	}}
	r.Memory, r.Equivalence = memoryOf(e, c), p.equivalence(s, c)
	if len(facts.Options) > 0 {
		r.ValidatedCLIFlags = &result.ValidatedFlags{Server: knownFlags(e, c, facts.Options)}
	}
	return r
}

func hardware(p *Plan, e *engine.Engine, f Facts, c config.Candidate) result.Hardware {
	h := result.Hardware{GPUModel: p.Hardware.GPUModel, Driver: p.Hardware.Driver, Host: f.Host, CPU: f.CPU}
	if f.Cores > 0 {
		h.CPUCores = &f.Cores
	}
	n := 0
	if p.Hardware.GPUCount > 0 {
		n = 1
		for _, key := range []string{e.Launch.TP, e.Launch.PP, e.Launch.DP} {
			if x, ok := c.Flags.Number(key); ok && key != "" && x >= 1 {
				n *= int(x)
			}
		}
		n = min(n, p.Hardware.GPUCount*max(p.Hardware.Nodes, 1))
	}
	h.GPUCount = &n
	return h
}

func (p *Plan) workloadOf(sc Scenario) result.Workload {
	w := result.Workload{
		Kind: sc.Kind, Scenario: sc.Name, DatasetPath: sc.Path, Description: sc.Description, Endpoint: p.Load.Endpoint, Arrivals: p.Load.Arrivals, Seed: &sc.Seed,
	}
	if sc.InputLen > 0 {
		w.InputLen = &sc.InputLen
	}
	if sc.OutputLen > 0 {
		w.OutputLen = &sc.OutputLen
	}
	if sc.NumPrompts > 0 {
		w.NumPrompts = &sc.NumPrompts
	}
	if len(p.Load.Loads) == 1 {
		w.RequestRate, w.MaxConcurrency = given(p.Load.Loads[0])
	}
	if p.Load.varies(func(l search.Load) float64 { return l.RateRPS }) || len(p.Load.Loads) == 0 && p.Load.Range.Any() {
		w.Searched = append(w.Searched, result.SearchedRate)
	}
	if p.Load.varies(func(l search.Load) float64 { return float64(l.MaxConcurrency) }) || len(p.Load.Loads) == 0 && len(p.Load.Caps) > 1 {
		w.Searched = append(w.Searched, result.SearchedConcurrency)
	}
	return w
}

// varies says that the listed load points differ in a figure: which of them a
// row answers for is then found, not given.
func (l LoadPlan) varies(of func(search.Load) float64) bool {
	return slices.ContainsFunc(l.Loads, func(x search.Load) bool { return of(x) != of(l.Loads[0]) })
}

// given are rate and cap of a load point as rows hold them.
func given(l search.Load) (rate *float64, most *int) {
	if l.RateRPS > 0 {
		rate = &l.RateRPS
	}
	if l.MaxConcurrency > 0 {
		most = &l.MaxConcurrency
	}
	return rate, most
}

func memoryOf(e *engine.Engine, c config.Candidate) *result.Memory {
	for _, key := range e.Launch.MemoryFraction {
		if x, ok := c.Flags.Number(key); ok {
			return &result.Memory{GPUMemoryUtilization: &x}
		}
	}
	return nil
}

// knownFlags are the options of a command that the installed engine's help
// defines.
func knownFlags(e *engine.Engine, c config.Candidate, options []string) []string {
	var out []string
	for _, x := range c.Flags {
		if o := e.Option(x.Key); slices.Contains(options, o) {
			out = append(out, o)
		}
	}
	return out
}

func (r *row) addPoints(trials []TrialDone, found []search.Found, p *Plan, sc Scenario) {
	if p.Load.Ladder != nil {
		r.RateSearch = rateSearch(found, trials)
		for _, s := range r.RateSearch {
			if s.Hysteresis != nil && s.Hysteresis.Slower {
				r.Warnings = append(r.Warnings, result.Warning{Code: "hysteresis", Message: s.Hysteresis.Words()})
			}
		}
	}
	points := make([]result.Point, len(trials))
	for i, t := range trials {
		points[i] = t.Trial.Point
	}
	p.blocks(points)
	best := bestOf(points, sc.SLA, standsFor(found, trials))
	for i := range points {
		points[i].Chosen = i == best
		points[i].Metrics = points[i].Metrics.Brief()
	}
	r.Points = points
	if best < 0 {
		return
	}
	r.chosen = &trials[best]
	r.choose(trials[best], p)
}

// bestOf is the index of the best of the points that may stand for the row.
func bestOf(points []result.Point, sla result.SLA, may func(int) bool) int {
	var index []int
	var some []result.Point
	for i := range points {
		if may(i) {
			index, some = append(index, i), append(some, points[i])
		}
	}
	if best := search.Best(some, sla); best >= 0 {
		return index[best]
	}
	return search.Best(points, sla)
}

// choose takes the figures of the point that stands for the candidate.
func (r *row) choose(t TrialDone, p *Plan) {
	pt := t.Trial.Point
	r.MeasuredAt, r.Metrics = pt.MeasuredAt, pt.Metrics
	w := &r.Workload
	w.RequestRate, w.MaxConcurrency = pt.RequestRate, pt.MaxConcurrency
	w.InputP50, w.InputP95, w.OutputP50, w.OutputP95 = t.Trial.InputP50, t.Trial.InputP95, t.Trial.OutputP50, t.Trial.OutputP95
	r.Cache, r.Server = t.Trial.Cache, t.Trial.Server
	r.Warnings = append(r.Warnings, t.Trial.Warnings...)
	r.SLA.Judge(r.Metrics)
	if pt.Invalid != "" {
		no := false
		r.SLA.Passed = &no
		r.SLA.Violations = append(r.SLA.Violations, "the measurement is not valid: "+pt.Invalid)
	}
	if e := r.Equivalence; e != nil && e.Passed != nil && !*e.Passed {
		r.SLA.Passed = e.Passed
		r.SLA.Violations = append(r.SLA.Violations, "it cannot win: "+e.Reason)
	}
	note := "prompts that were not sent before, the prefix cache not being flushed"
	if t.Trial.Flushed {
		note = "prefix cache flushed before the load point"
	}
	if t.Trial.Workload != "" {
		w.Description = t.Trial.Workload
	}
	if t.Trial.Prompts != "" {
		note += "; " + t.Trial.Prompts
	}
	r.Normalization = &result.Normalization{Notes: note}
	if length, rate := speculation(t.Trial.Server); length != nil {
		on := true
		r.SpecDecode = &result.SpecDecode{Enabled: &on, MeanAcceptLength: length, AcceptanceRate: rate}
	}
	a := &r.Artifacts
	a.Folder = pt.Folder
	if pt.Folder != "" {
		a.Samples, a.Client, a.Summary = pt.Folder+"/"+samplesName, pt.Folder+"/"+clientName, pt.Folder+"/"+summaryName
		a.RawResult, a.ServerMetrics, a.ServerLog = a.Samples, pt.Folder+"/"+serverMetricsName, pt.Folder+"/"+serverLogName
	}
}

// conclude gives the row its status and reason.
func (r *row) conclude(p *Plan, s *State, c config.Candidate, final bool, unfinished string) {
	cs := s.candidate(c.ID)
	over := s.over(p, c)
	if r.chosen != nil {
		pt := r.chosen.Trial.Point
		r.Status, r.FailureReason = pt.Status, pt.FailureReason
		if pt.Status != result.StatusOK {
			r.FailedPhase = "load"
		}
		switch {
		case !final:
			r.warn("search-unfinished", "the search was cut short (%s): a better load point may exist", unfinished)
		case over != "":
			r.warn("search-cut-short", "not every load point was measured: %s", over)
		}
		return
	}
	switch missing := s.Engines[c.Engine].Missing; {
	case missing != "":
		r.Status, r.FailureReason, r.FailedPhase = result.StatusFailed, missing, phaseEngine
	case cs.Failure != nil:
		r.Status, r.FailureReason, r.FailedPhase = cs.Failure.Status, cs.Failure.Reason, cs.Failure.Phase
		r.Artifacts.ServerLog = cs.Failure.Log
	case over != "" && cs.Starts > 0:
		r.Status, r.FailureReason, r.FailedPhase = result.StatusFailed, over, "load"
	case over != "":
		r.Status, r.FailureReason = result.StatusSkipped, over
	default:
		r.Status, r.FailureReason = result.StatusSkipped, "not measured: "+unfinished
	}
}

func (r *row) warn(code, format string, args ...any) {
	r.Warnings = append(r.Warnings, result.Warning{Code: code, Message: fmt.Sprintf(format, args...)})
}

// phaseEngine is the phase of a row whose engine is not installed.
const phaseEngine = "engine"

// Measured says that at least one row has figures; Passed that one of them met
// its SLA; Usable that an engine could be asked at all.
func Measured(rows []result.Row) bool {
	return slices.ContainsFunc(rows, func(r result.Row) bool { return r.Status == result.StatusOK })
}

// Passed says that a row met its SLA.
func Passed(rows []result.Row) bool {
	return slices.ContainsFunc(rows, func(r result.Row) bool {
		return r.Status == result.StatusOK && r.SLA.Passed != nil && *r.SLA.Passed
	})
}

// Usable says that at least one engine of the run was there.
func Usable(rows []result.Row) bool {
	return slices.ContainsFunc(rows, func(r result.Row) bool { return r.FailedPhase != phaseEngine })
}

// folder is the place of a trial in the run folder.
func folder(candidate string, sc Scenario, l search.Load, arrivals string) string {
	var name []string
	switch {
	case l.RateRPS > 0:
		name = append(name, "rate-"+formatRate(l.RateRPS))
	case (workload.Arrivals{Kind: workload.ArrivalKind(arrivals)}).Timed():
		name = append(name, arrivals)
	case workload.ArrivalKind(arrivals) != workload.ArrivalClosed:
		name = append(name, "all-at-once")
	}
	if l.MaxConcurrency > 0 {
		name = append(name, fmt.Sprintf("concurrency-%d", l.MaxConcurrency))
	}
	if len(name) == 0 {
		name = append(name, "concurrency-1")
	}
	if l.Repeat > 0 {
		name = append(name, fmt.Sprintf("repeat-%d", l.Repeat))
	}
	return "trials/" + candidate + "/" + sc.Slug + "/" + strings.Join(name, "-") + kindSuffix(l)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
