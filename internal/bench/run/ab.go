package run

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/stat"
	"llmdyno/internal/load/workload"
)

// The ids of the two candidates of a comparison.
const (
	SideA = "a"
	SideB = "b"
)

// AB makes a plan a comparison of two commands: its candidates are a and b, each
// round of its order is a block.
type AB struct {
	Metric    string  `json:"metric"` // key of the figure that decides
	Threshold float64 `json:"threshold"`
	// A and B are what was asked for: the id of a candidate, or "command".
	A string `json:"a"`
	B string `json:"b"`
	// SimArgs are further words for the simulator, by side.
	SimArgs map[string][]string `json:"sim_args,omitempty"`
}

// ABOptions are the terms of a comparison.
type ABOptions struct {
	A, B               string // ids of candidates of the plan; "" = the command
	ACommand, BCommand string
	Blocks             int     // 0 = stat.DefaultBlocks
	Metric             string  // "" = output tokens/s without a rate, else mean E2E
	Threshold          float64 // 0 = the default, negative = none
	RateRPS            float64 // with MaxConcurrency the load; both 0 = that of the file
	MaxConcurrency     int
	Requests           int // of a trial; 0 = those of the file
	ASimArgs, BSimArgs []string
}

// defaultUsers is the closed loop that two commands are compared in where neither
// the file nor the command line gives a load.
const defaultUsers = 16

// NewAB makes the comparison of two commands out of a plan. Blocks of one trial of
// each, in an order of chance, with the same prompts and arrivals; each trial has a
// server of its own, as both cannot share the GPUs.
func NewAB(p *Plan, set engine.Set, o ABOptions) (*Plan, error) {
	out := *p
	if len(p.Scenarios) != 1 {
		return nil, fmt.Errorf("the file has %d scenarios, a comparison takes one: name it with --scenario", len(p.Scenarios))
	}
	a, err := p.side(set, "a", o.A, o.ACommand)
	if err != nil {
		return nil, err
	}
	b, err := p.side(set, "b", o.B, o.BCommand)
	if err != nil {
		return nil, err
	}
	a.ID, a.Index, b.ID, b.Index = SideA, 0, SideB, 1
	out.Candidates = []config.Candidate{a, b}
	out.Engines = slices.DeleteFunc(slices.Clone(p.Engines), func(e EnginePlan) bool { return e.ID != a.Engine && e.ID != b.Engine })
	for _, c := range out.Candidates {
		if !slices.ContainsFunc(out.Engines, func(e EnginePlan) bool { return e.ID == c.Engine }) {
			out.Engines = append(out.Engines, enginePlanOf(set, c, p.Simulated))
		}
	}
	out.AB = &AB{Metric: o.Metric, Threshold: o.Threshold, A: cmp.Or(o.A, "command"), B: cmp.Or(o.B, "command")}
	if len(o.ASimArgs)+len(o.BSimArgs) > 0 {
		out.AB.SimArgs = map[string][]string{SideA: o.ASimArgs, SideB: o.BSimArgs}
	}
	out.Strategy, out.MaxCandidates, out.Load.Ladder = "", 0, nil
	out.Scenarios = slices.Clone(p.Scenarios)
	if o.Requests > 0 {
		out.Scenarios[0].NumPrompts = o.Requests
	}
	out.Warnings = slices.DeleteFunc(slices.Clone(p.Warnings), func(w config.Warning) bool { return w.Code != "smoke" })
	out.loadOf(o)
	if _, ok := result.FigureTitle(out.AB.Metric); !ok {
		return nil, fmt.Errorf("metric %q is not known: use one of %s", out.AB.Metric, strings.Join(result.Figures(), ", "))
	}
	return &out, out.check(set)
}

// side finds or makes one of the commands.
func (p *Plan) side(set engine.Set, name, id, command string) (config.Candidate, error) {
	if (id == "") == (command == "") {
		return config.Candidate{}, fmt.Errorf("side %s: give either a candidate or a command", name)
	}
	if command != "" {
		c, err := config.FromCommand(set, command)
		if err != nil {
			return c, fmt.Errorf("side %s: %w", name, err)
		}
		return c, nil
	}
	if c := p.candidate(id); c != nil {
		return *c, nil
	}
	ids := make([]string, len(p.Candidates))
	for i, c := range p.Candidates {
		ids[i] = c.ID
	}
	const most = 12
	if more := len(ids) - most; more > 0 {
		ids = append(ids[:most], fmt.Sprintf("%d more", more))
	}
	return config.Candidate{}, fmt.Errorf("side %s: candidate %q is not in %s: use one of %s", name, id, p.Name, strings.Join(ids, ", "))
}

// enginePlanOf is the plan of an engine that the file does not have.
func enginePlanOf(set engine.Set, c config.Candidate, simulated bool) EnginePlan {
	e, _ := set.Lookup(string(c.Engine))
	ep := EnginePlan{ID: e.ID, Command: e.Launch.Command, Version: versionCommand(e, e.Launch.Command)}
	if simulated {
		ep.ReadyTimeoutS = simulatedReady.Seconds()
	}
	return ep
}

// loadOf fills in load, metric and blocks.
func (p *Plan) loadOf(o ABOptions) {
	l := search.Load{RateRPS: o.RateRPS, MaxConcurrency: o.MaxConcurrency}
	given := o.RateRPS > 0 || o.MaxConcurrency > 0
	if !given && len(p.Load.Loads) > 0 {
		l = p.Load.Loads[0]
	}
	if l == (search.Load{}) && p.Load.Process == nil {
		l.MaxConcurrency = cmp.Or(slices.Max(append([]int{0}, p.Load.Caps...)), defaultUsers)
	}
	timed := p.Load.Process != nil && !given
	if !timed {
		p.Load.Process, p.Load.ArrivalsPath = nil, ""
	}
	if l.RateRPS == 0 && !timed {
		p.Load.Arrivals, p.Load.Burstiness = string(workload.ArrivalClosed), 0
	} else if workload.ArrivalKind(p.Load.Arrivals) == workload.ArrivalClosed {
		p.Load.Arrivals = string(workload.ArrivalPoisson)
	}
	blocks := cmp.Or(o.Blocks, stat.DefaultBlocks)
	p.Load.Loads, p.Load.Caps, p.Load.Range, p.Load.Repeats = []search.Load{l}, []int{l.MaxConcurrency}, search.Range{}, blocks
	if p.AB.Metric == "" {
		p.AB.Metric = "output_token_throughput"
		if l.RateRPS > 0 || timed {
			p.AB.Metric = "mean_e2e_ms"
		}
	}
	seed := p.Scenarios[0].Seed
	p.Order = &Order{Seed: seed}
	for _, bFirst := range stat.Interleave(blocks, seed) {
		ids := []string{SideA, SideB}
		if bFirst {
			slices.Reverse(ids)
		}
		p.Order.Rounds = append(p.Order.Rounds, ids)
	}
}

// checkAB demands what a comparison takes for granted.
func (p *Plan) checkAB() error {
	if p.AB == nil {
		return nil
	}
	if len(p.Candidates) != 2 || p.Candidates[0].ID != SideA || p.Candidates[1].ID != SideB || len(p.Scenarios) != 1 || !p.inRounds() || len(p.Load.Loads) != 1 {
		return fmt.Errorf("the plan compares two commands: expected candidates a and b, one scenario, one load point and blocks")
	}
	return nil
}

// argvOf is the command of a candidate as it is started.
func (r *runner) argvOf(c config.Candidate, argv []string) []string {
	if r.Rewrite == nil || !r.plan.Simulated {
		return argv
	}
	p := *r.plan
	if p.AB != nil {
		p.SimArgs = slices.Concat(p.SimArgs, p.AB.SimArgs[c.ID])
	}
	return r.Rewrite(&p, c.Engine, argv)
}

// Verdict compares the two rows of a comparison.
func (p *Plan) Verdict(rows []result.Row) (result.AB, bool) {
	if p.AB == nil || len(rows) != 2 {
		return result.AB{}, false
	}
	ab := result.CompareAB(rows[0], rows[1], result.ABOptions{Metric: p.AB.Metric, Threshold: p.AB.Threshold, Planned: p.Load.Repeats, Load: describe(p.Load.Loads[0], p.Load.Arrivals)})
	ab.A.Candidate, ab.B.Candidate = p.AB.A, p.AB.B
	return ab, true
}
