package signal

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/engine"
	"llmdyno/internal/incident/bundle"
)

// The schema of a summary.
const (
	Schema        = "llmdyno.incident.summary"
	SchemaVersion = 1
)

// Options are what a summary needs beside the bundle.
type Options struct {
	Engines engine.Set
	Rules   *Rules         // nil = those of the program
	Before  *bundle.Bundle // the same servers earlier; nil = none
}

// Summary says what a bundle tells. Of several targets, Figures to PerRank are
// those of the first; Targets has all.
type Summary struct {
	Schema        string    `json:"schema"`
	SchemaVersion int       `json:"schema_version"`
	Bundle        string    `json:"bundle"`
	CompareWith   string    `json:"compare_with,omitempty"`
	Origin        string    `json:"origin"`
	Tool          string    `json:"tool,omitempty"` // that collected, with its version
	State         string    `json:"state"`
	CollectedAt   time.Time `json:"collected_at,omitzero"`
	ProblemClass  string    `json:"problem_class"`
	TargetSummary
	Targets    []TargetSummary `json:"targets"`
	Fleet      *Fleet          `json:"fleet,omitempty"`
	Unreadable []Unread        `json:"unreadable"`
	Signals    []Finding       `json:"signals"`
	Top        []Finding       `json:"top"`
	// Unchecked are rules that could not be judged, for want of what they need.
	Unchecked []string `json:"unchecked"`
	Contract  Contract `json:"contract"`
}

// TargetSummary is one server.
type TargetSummary struct {
	ID       string               `json:"target_id"`
	Name     string               `json:"target_name,omitempty"`
	URL      string               `json:"url"`
	Engine   string               `json:"engine"` // "" = not recognised
	Version  string               `json:"engine_version,omitempty"`
	Health   Health               `json:"health"`
	Identity engine.ModelState    `json:"identity"`
	Topology engine.TopologyState `json:"topology"`
	Capacity engine.CapacityState `json:"capacity"`
	Load     Load                 `json:"load"`
	PerRank  []engine.RankState   `json:"per_rank"`
	Figures  *Figures             `json:"figures"`
	// Facts are what the rules were judged by.
	Facts    map[string]any    `json:"facts,omitempty"`
	Settings map[string]string `json:"settings,omitempty"`
	Firing   []string          `json:"firing"` // ids of the findings
}

// Load is what runs at the moment, all ranks.
type Load struct {
	Running     *float64 `json:"running_reqs"`
	Waiting     *float64 `json:"waiting_reqs"` // for the scheduler
	Queued      *float64 `json:"pd_queued_reqs"`
	Total       *float64 `json:"total_reqs"`
	TokenUsage  *float64 `json:"token_usage"` // mean over ranks
	UsageMax    *float64 `json:"token_usage_max"`
	Throughput  *float64 `json:"avg_throughput"`   // tokens a second, mean over ranks
	Throughputs *float64 `json:"total_throughput"` // sum
	Utilization *float64 `json:"avg_utilization"`
	// CacheHitRate is of one batch on some engines: no rule reads it.
	CacheHitRate   *float64           `json:"cache_hit_rate"`
	Queues         map[string]float64 `json:"queues"`
	Disaggregation map[string]float64 `json:"disaggregation"`
}

// Contract is the answer in seven parts, after the incident toolkit of
// sgl-project/sglang PR 24250 (2026-05-02).
type Contract struct {
	ProblemClass    string   `json:"problem_class"`
	Checked         []string `json:"checked"`
	StrongestSignal string   `json:"strongest_signal"`
	BestGuess       string   `json:"best_guess"`
	RuledOut        []string `json:"ruled_out"`
	NextStep        string   `json:"next_step"`
	ProductionRisk  string   `json:"production_risk"`
}

// Summarize reads a bundle and judges it.
func Summarize(b *bundle.Bundle, o Options) (*Summary, error) {
	if len(b.Targets) == 0 {
		return nil, fmt.Errorf("bundle %s: %w", b.Path, errNoTargets)
	}
	rules := o.Rules
	if rules == nil {
		var err error
		if rules, err = Builtin(); err != nil {
			return nil, err
		}
	}
	s := &Summary{
		Schema: Schema, SchemaVersion: SchemaVersion, Bundle: b.Path, Origin: b.Manifest.Origin, State: b.Manifest.State, CollectedAt: b.Manifest.Started,
		Tool: strings.TrimSpace(b.Manifest.Tool + " " + b.Manifest.ToolVersion), Unreadable: []Unread{}, Signals: []Finding{}, Unchecked: []string{},
	}
	if o.Before != nil {
		s.CompareWith = o.Before.Path
	}
	for _, w := range b.Warnings {
		s.Unreadable = append(s.Unreadable, Unread{What: "bundle", Why: w})
	}
	for i, t := range b.Targets {
		s.addTarget(b, t, i, rules, o)
	}
	s.TargetSummary = s.Targets[0]
	s.TargetSummary.Facts, s.TargetSummary.Settings = nil, nil // in targets
	s.finish(rules)
	return s, nil
}

// finish ranks the findings and writes the answer.
func (s *Summary) finish(rules *Rules) {
	slices.Sort(s.Unchecked)
	s.Unchecked = slices.Compact(s.Unchecked)
	rank(s.Signals)
	s.Top = top(s.Signals)
	s.Fleet = fleetOf(s.Targets)
	s.contract(rules)
}

func (s *Summary) addTarget(b *bundle.Bundle, t bundle.Target, i int, rules *Rules, o Options) {
	x := readTarget(b, t, o.Engines)
	before := earlier(o.Before, t, i, o.Engines, x)
	f := x.allFacts(before)
	found, blind := rules.evaluate(x, f)
	ts := x.summary(f)
	if before != nil && before.page != nil && x.now.page != nil && !x.stale {
		ts.Figures.Delta = x.now.page.since(*before.page, x.now.at.Sub(before.at).Seconds())
	} else if from, to := x.ends(); from >= 0 && to > from {
		ts.Figures.Delta = x.series[to].page.since(*x.series[from].page, x.series[to].at.Sub(x.series[from].at).Seconds())
	}
	for _, f := range found {
		ts.Firing = append(ts.Firing, f.ID)
	}
	s.Targets = append(s.Targets, ts)
	s.Signals = append(s.Signals, found...)
	s.Unchecked = append(s.Unchecked, blind...)
	s.Unreadable = append(s.Unreadable, x.unread...)
}

// earlier finds the same server in an earlier bundle: by its URL, then by its id,
// then by its place when both bundles have as many.
func earlier(b *bundle.Bundle, t bundle.Target, i int, engines engine.Set, x *target) *moment {
	if b == nil {
		return nil
	}
	at := slices.IndexFunc(b.Targets, func(o bundle.Target) bool { return o.URL == t.URL && t.URL != "" })
	if at < 0 {
		at = slices.IndexFunc(b.Targets, func(o bundle.Target) bool { return o.ID == t.ID })
	}
	if at < 0 && i < len(b.Targets) && len(b.Targets) == len(x.b.Targets) {
		at = i
	}
	if at < 0 {
		return nil
	}
	then := readTarget(b, b.Targets[at], engines).now
	return &then
}

func (x *target) summary(f facts) TargetSummary {
	st := x.now.state
	ts := TargetSummary{
		ID: x.t.ID, Name: x.t.Name, URL: x.t.URL, Engine: string(x.e.ID), Version: cmp.Or(x.t.EngineVersion, st.Model.Version), Health: x.health,
		Identity: st.Model, Topology: st.Topology, Capacity: st.Capacity, PerRank: x.perRank(), Facts: f, Settings: shown(st.Settings), Firing: []string{},
		Figures: &Figures{none: true},
	}
	ts.Identity.Version = ts.Version
	if x.now.page != nil {
		ts.Figures = x.now.page.figures()
		ts.Figures.Stale = x.stale
	}
	ts.Load = x.load(f)
	return ts
}

// perRank are the loads, or what the page says rank by rank.
func (x *target) perRank() []engine.RankState {
	if len(x.now.state.Ranks) > 0 || x.now.page == nil || x.stale || x.e.State == nil || x.e.State.RankLabel == "" {
		return x.now.state.Ranks
	}
	byRank := map[string]*engine.RankState{}
	var order []string
	for _, q := range []engine.Quantity{engine.QuantityRunning, engine.QuantityWaiting, engine.QuantityKVUsage} {
		for _, s := range x.now.page.quantity(q) {
			name := s.Label(x.e.State.RankLabel)
			r := byRank[name]
			if r == nil {
				n, _ := number(name)
				r = &engine.RankState{Rank: int(n)}
				byRank[name], order = r, append(order, name)
			}
			switch q {
			case engine.QuantityRunning:
				r.Running = plus(r.Running, s.Value)
			case engine.QuantityWaiting:
				r.Waiting = plus(r.Waiting, s.Value)
			default:
				r.KVUsage = ptr(s.Value)
			}
		}
	}
	var out []engine.RankState
	for _, name := range order {
		out = append(out, *byRank[name])
	}
	return out
}

func plus(sum *float64, v float64) *float64 {
	if sum != nil {
		v += *sum
	}
	return &v
}

func (x *target) load(f facts) Load {
	ranks, totals := x.now.state.Ranks, x.now.state.Totals
	mean := func(of func(engine.RankState) *float64) *float64 {
		n, total := 0.0, 0.0
		for _, r := range ranks {
			if v := of(r); v != nil {
				n, total = n+1, total+*v
			}
		}
		if n == 0 {
			return nil
		}
		return ptr(total / n)
	}
	known := func(name string) *float64 {
		if v, ok := f.get(name); ok {
			return &v
		}
		return nil
	}
	l := Load{
		Running: known("running"), Waiting: known("waiting"), UsageMax: known("kv_usage_max"),
		Total:        first(totals.Total, sumRanks(ranks, func(r engine.RankState) *float64 { return r.Total })),
		TokenUsage:   first(totals.KVUsage, mean(func(r engine.RankState) *float64 { return r.KVUsage }), known("kv_usage_max")),
		Throughput:   first(totals.Throughput, mean(func(r engine.RankState) *float64 { return r.Throughput })),
		Throughputs:  sumRanks(ranks, func(r engine.RankState) *float64 { return r.Throughput }),
		Utilization:  first(totals.Utilization, mean(func(r engine.RankState) *float64 { return r.Utilization })),
		CacheHitRate: mean(func(r engine.RankState) *float64 { return r.CacheHitRate }),
	}
	if l.Total == nil && l.Running != nil && l.Waiting != nil {
		l.Total = ptr(*l.Running + *l.Waiting)
	}
	for _, r := range ranks {
		l.Queues, l.Disaggregation = addCounts(l.Queues, r.Queues), addCounts(l.Disaggregation, r.PDQueues)
	}
	if len(l.Disaggregation) > 0 || l.Running != nil {
		l.Queued = known("pd_queued")
	}
	return l
}

func addCounts(sum, more map[string]float64) map[string]float64 {
	for k, v := range more {
		if sum == nil {
			sum = map[string]float64{}
		}
		sum[k] += v
	}
	return sum
}

// problems words the classes for people.
var problems = map[string]string{
	ClassDown: "down or unhealthy", ClassLatency: "latency or throughput", ClassOutput: "wrong output", ClassHang: "timeout or hang",
	ClassBlind: "not enough could be seen", ClassIdle: "nothing ran", ClassNone: "nothing wrong was found",
}

func (s *Summary) contract(rules *Rules) {
	c := Contract{ProblemClass: problems[ClassNone], Checked: s.checked(rules), RuledOut: []string{}}
	s.ProblemClass = ClassNone
	if len(s.Top) == 0 {
		c.StrongestSignal = "none of the rules that could be judged fired"
		c.BestGuess = "the server is healthy as far as this bundle shows (confidence medium: a bundle is one moment)"
		c.NextStep = fmt.Sprintf("if users still see trouble, watch for it: llmdyno incident watch --url %s --on R-QUEUE-WAIT", orElse(s.Targets[0].URL, "URL"))
		c.ProductionRisk = "none known"
		s.Contract = c
		return
	}
	f := s.Top[0]
	s.ProblemClass = f.Class
	c.ProblemClass = problems[f.Class]
	where := ""
	if len(s.Targets) > 1 {
		where = " (target " + f.Target + ")"
	}
	c.StrongestSignal = f.ID + where + ": " + strings.Join(f.Evidence, "; ")
	c.BestGuess = fmt.Sprintf("%s (confidence %s)", f.Title, f.Confidence)
	for _, t := range s.Top {
		c.RuledOut = append(c.RuledOut, t.RulesOut...)
	}
	slices.Sort(c.RuledOut)
	c.RuledOut = slices.Compact(c.RuledOut)
	c.NextStep, c.ProductionRisk = f.NextStep, f.Risk
	s.Contract = c
}

// checked says what was looked at.
func (s *Summary) checked(rules *Rules) []string {
	out := []string{fmt.Sprintf("%d rules, of which %d could not be judged", len(rules.List), len(s.Unchecked))}
	for _, t := range s.Targets[:min(len(s.Targets), 20)] {
		var parts []string
		name := orElse(t.Engine, "engine not recognised")
		parts = append(parts, fmt.Sprintf("health check %s", t.Health.Health.Outcome))
		if g := t.Health.HealthGenerate.Outcome; g != CheckUnasked {
			parts = append(parts, "active health check "+g)
		}
		if t.Figures.Known() && !t.Figures.Stale {
			parts = append(parts, fmt.Sprintf("%d samples of metrics", t.Figures.Samples))
		} else {
			parts = append(parts, "no metrics")
		}
		if n := len(t.PerRank); n > 0 {
			parts = append(parts, fmt.Sprintf("load of %d ranks", n))
		} else {
			parts = append(parts, "no loads")
		}
		out = append(out, fmt.Sprintf("%s (%s): %s", orElse(t.URL, t.ID), name, strings.Join(parts, ", ")))
	}
	return out
}

// Worst is the highest severity of the findings that are active; "" = there is
// none.
func (s *Summary) Worst() string {
	worst := -1
	for _, f := range s.Signals {
		if f.State == "active" {
			worst = max(worst, slices.Index(Severities, f.Severity))
		}
	}
	if worst < 0 {
		return ""
	}
	return Severities[worst]
}
