package run

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/workload"
)

// The schema of plan.json.
const (
	PlanSchema        = "llmdyno.plan"
	PlanSchemaVersion = 1
	planName          = "plan.json"
	configName        = "config.yaml"
)

// maxPlan bounds a plan that is read.
const maxPlan = 64 << 20

// Options are what the command line adds to the file.
type Options struct {
	Engines   []engine.ID   // nil = every engine that the file enables
	Scenarios []string      // nil = all
	Smoke     bool          // flow check, whatever search.tier says
	MaxTime   time.Duration // of one session of the run; 0 = none
	// Simulated is the GPU on which every engine is simulated; "" = real engines.
	Simulated string
	SimArgs   []string // further words for the simulator
	Command   string   // the command line of this program, for the record
	Dir       string   // folder in which servers run; "" = that of this program
}

// Plan is everything that a run needs, normalised; a resumed run reads nothing
// else but the journal.
type Plan struct {
	Schema        string `json:"schema"`
	SchemaVersion int    `json:"schema_version"`
	Name          string `json:"name"` // of the file as given
	Command       string `json:"command"`

	Model        string   `json:"model"`        // name for people and rows
	ServedModel  string   `json:"served_model"` // what the engine is told to load
	Precision    string   `json:"precision,omitempty"`
	Quantization string   `json:"quantization,omitempty"`
	Hardware     Hardware `json:"hardware"`

	// Dir is the folder in which every server runs, so that a relative path in
	// its command means the same wherever the run is resumed.
	Dir string `json:"working_dir,omitempty"`

	Simulated bool     `json:"simulated"`
	SimArgs   []string `json:"sim_args,omitempty"`
	Smoke     bool     `json:"smoke"` // flow check, never a performance result
	Tier      int      `json:"tier"`  // effort, see search.EffortOf
	MaxTimeS  float64  `json:"max_time_s,omitempty"`
	// Strategy chooses among the candidates, and MaxCandidates bounds those of an
	// engine that are begun; "" and 0 = all, in their order.
	Strategy      search.Strategy `json:"strategy,omitempty"`
	MaxCandidates int             `json:"max_candidates,omitempty"`

	Load       LoadPlan           `json:"load"`
	Scenarios  []Scenario         `json:"scenarios"`
	Engines    []EnginePlan       `json:"engines"`
	Candidates []config.Candidate `json:"candidates"`
	// Equivalence: the answers are compared; nil = they are not.
	Equivalence *EquivalencePlan `json:"equivalence,omitempty"`
	Order       *Order           `json:"order,omitempty"` // nil = that of Candidates
	AB          *AB              `json:"ab,omitempty"`    // the run compares its two candidates
	Warnings    []config.Warning `json:"warnings"`
}

// Hardware is the machine that is measured.
type Hardware struct {
	GPUModel string `json:"gpu_model,omitempty"`
	GPUCount int    `json:"gpu_count"` // of a node; 0 = none, or not stated
	Nodes    int    `json:"nodes,omitempty"`
	Driver   string `json:"gpu_driver,omitempty"`
}

// LoadPlan is how the load is applied, the same for every candidate.
type LoadPlan struct {
	Endpoint string        `json:"endpoint"` // path
	Loads    []search.Load `json:"loads,omitempty"`
	Caps     []int         `json:"caps"` // 0 = no cap
	Range    search.Range  `json:"qps"`
	// Ladder is the adaptive search in the range; nil = by halving it.
	Ladder     *search.Ladder `json:"ladder,omitempty"`
	Arrivals   string         `json:"arrivals"`
	Burstiness float64        `json:"burstiness,omitempty"`
	// Process holds the arrivals that have rates of their own, ArrivalsPath the
	// file with their instants; "" = those of the dataset.
	Process         *workload.Arrivals `json:"process,omitempty"`
	ArrivalsPath    string             `json:"arrivals_path,omitempty"`
	TokenizerPath   string             `json:"tokenizer_path,omitempty"`
	Repeats         int                `json:"repeats"`
	Warmup          int                `json:"warmup"`
	RequestTimeoutS float64            `json:"request_timeout_s"`
	Temperature     *float64           `json:"temperature,omitempty"`
	Extra           map[string]any     `json:"extra_request_body,omitempty"`
	APIKeyEnv       string             `json:"api_key_env,omitempty"`
}

// Scenario is one workload with its limits.
type Scenario struct {
	Name       string     `json:"name"`
	Slug       string     `json:"slug"` // its folder, unique in the plan
	Kind       string     `json:"kind"`
	Path       string     `json:"path,omitempty"`
	InputLen   int        `json:"input_len,omitempty"`
	OutputLen  int        `json:"output_len,omitempty"`
	NumPrompts int        `json:"num_prompts"`
	Seed       uint64     `json:"seed"`
	SLA        result.SLA `json:"sla"`
	// Workload is what a scenario says beyond the above.
	Workload *workload.Spec `json:"workload,omitempty"`
	// Description says in words what is sent and what its lengths mean.
	Description string `json:"description,omitempty"`
}

// EnginePlan is one engine with what its candidates share.
type EnginePlan struct {
	ID      engine.ID `json:"id"`
	Command []string  `json:"command"` // words that start the server, without model and flags
	Version []string  `json:"version_command"`
	// Env is NAME=value, on top of what the engine is always given.
	Env           []string `json:"environment,omitempty"`
	ReadyTimeoutS float64  `json:"ready_timeout_s,omitempty"` // 0 = the engine's own
	Host          string   `json:"host,omitempty"`
}

// NewPlan makes the plan of a file that is free of errors.
func NewPlan(f *config.File, set engine.Set, o Options) (*Plan, error) {
	tier := cmp.Or(f.Search.Tier, search.TierDefault)
	if o.Smoke {
		tier = search.TierSmoke
	}
	effort := search.EffortOf(tier)
	made := config.Plan(f, set, config.Options{Engines: o.Engines})
	p := &Plan{
		Schema: PlanSchema, SchemaVersion: PlanSchemaVersion, Name: f.Path(), Command: o.Command, Dir: o.Dir,
		Model: f.Model.Name, ServedModel: f.ServedModel(), Precision: f.Model.Precision, Quantization: f.Model.Quantization,
		Hardware:  Hardware{GPUModel: f.Hardware.GPUModel, GPUCount: f.Hardware.GPUCount, Nodes: f.Hardware.Nodes},
		Simulated: o.Simulated != "", SimArgs: o.SimArgs, Smoke: tier == search.TierSmoke, Tier: tier, MaxTimeS: o.MaxTime.Seconds(),
		Load: loadPlan(f, effort), Candidates: bounded(made.Candidates, effort.Candidates), Warnings: made.Warnings,
	}
	if s := search.Strategy(f.Search.Strategy); s.Pools() && !p.Smoke {
		p.Strategy, p.MaxCandidates = s, f.Search.Limit
	}
	if p.Simulated {
		p.Hardware.GPUModel = o.Simulated
		p.Hardware.GPUCount = max(p.Hardware.GPUCount, 1)
	}
	if err := p.addScenarios(f, o.Scenarios, effort); err != nil {
		return nil, err
	}
	if err := p.addEngines(f, set); err != nil {
		return nil, err
	}
	p.drawOrder()
	if e := f.Equivalence(); e != nil {
		p.Equivalence = &EquivalencePlan{Prompts: min(e.Prompts, len(fixedPrompts)), Tokens: e.Tokens, MinAgreement: e.MinAgreement, Command: e.Words, CommandTimeoutS: e.CommandTimeoutS}
	}
	if p.Smoke {
		p.Warnings = append(p.Warnings, config.Warning{Code: "smoke", Message: fmt.Sprintf("flow check: at most %d candidates of each engine, %d prompts, lengths of at most %d in and %d out, no rate search; its figures say nothing about performance", effort.Candidates, effort.Prompts, effort.InputLen, effort.OutputLen)})
	}
	return p, nil
}

func loadPlan(f *config.File, effort search.Effort) LoadPlan {
	arrivals := f.ArrivalProcess()
	l := LoadPlan{
		Endpoint: f.Endpoint(), Caps: f.Caps(), Arrivals: arrivals.Kind, Burstiness: arrivals.Burstiness,
		Range:   search.Range{Lower: f.Benchmark.QPS.Lower, Upper: f.Benchmark.QPS.Upper, Tolerance: f.Benchmark.QPS.Tolerance},
		Repeats: f.Repeats(), Warmup: f.Warmup(), RequestTimeoutS: f.RequestTimeout().Seconds(),
		Temperature: f.Benchmark.Temperature, Extra: f.Benchmark.ExtraRequestBody.Any(), APIKeyEnv: f.Benchmark.APIKeyEnv, TokenizerPath: absolute(f.TokenizerPath()),
	}
	for _, x := range f.LoadPoints() {
		l.Loads = append(l.Loads, search.Load{RateRPS: x.RateRPS, MaxConcurrency: x.MaxConcurrency})
	}
	if workload.ArrivalKind(arrivals.Kind) == workload.ArrivalClosed && len(l.Loads) == 0 {
		for _, c := range l.Caps {
			l.Loads = append(l.Loads, search.Load{MaxConcurrency: max(c, 1)})
		}
	}
	if process, err := f.Process(); err == nil && process.Timed() {
		l.Process, l.ArrivalsPath = &process, absolute(f.ArrivalsPath())
		if len(l.Loads) == 0 {
			l.Loads = timedLoads(l.Caps)
		}
	}
	if f.Adaptive() && l.Range.Any() && len(l.Loads) == 0 {
		ladder := search.DefaultLadder()
		ladder.Width, ladder.Tolerance = cmp.Or(f.Search.RateWidth, ladder.Width), l.Range.Tolerance
		ladder.Confirmations = max(ladder.Confirmations, l.Repeats)
		l.Ladder = &ladder
	}
	if effort.Users > 0 {
		l.Ladder = nil
		l.Process, l.ArrivalsPath = nil, ""
		l.Arrivals, l.Burstiness, l.Repeats = string(workload.ArrivalClosed), 0, 1
		l.Loads = []search.Load{{MaxConcurrency: smokeUsers(l.Caps, effort.Users)}}
	}
	return l
}

// smokeUsers is the tier's number of users, within the smallest cap.
func smokeUsers(caps []int, users int) int {
	for _, c := range caps {
		if c > 0 {
			users = min(users, c)
		}
	}
	return users
}

// bounded keeps the first most candidates of each engine.
func bounded(all []config.Candidate, most int) []config.Candidate {
	if most == 0 {
		return all
	}
	kept := map[engine.ID]int{}
	return slices.DeleteFunc(slices.Clone(all), func(c config.Candidate) bool {
		kept[c.Engine]++
		return kept[c.Engine] > most
	})
}

func (p *Plan) addScenarios(f *config.File, only []string, effort search.Effort) error {
	all := f.Scenarios()
	for _, name := range only {
		if !slices.ContainsFunc(all, func(w config.Workload) bool { return w.Name == name }) {
			names := make([]string, len(all))
			for i, w := range all {
				names[i] = w.Name
			}
			return fmt.Errorf("scenario %q is not in %s: use some of %s", name, f.Path(), strings.Join(names, ", "))
		}
	}
	for i, w := range all {
		if len(only) > 0 && !slices.Contains(only, w.Name) {
			continue
		}
		s := Scenario{Name: w.Name, Kind: w.Kind, Path: w.Path, InputLen: w.InputLen, OutputLen: w.OutputLen, NumPrompts: w.NumPrompts, Seed: w.Seed, SLA: slaOf(w.SLA)}
		stated := f.Dataset.NumPrompts > 0 || i < len(f.ScenarioList) && f.ScenarioList[i].NumPrompts > 0
		if p.Load.Ladder != nil && !stated && s.Path == "" { // the rows of a file would be sent again and again
			s.NumPrompts, _ = search.Needs(search.Targets(s.SLA))
		}
		if s.Path != "" {
			abs, err := filepath.Abs(s.Path)
			if err != nil {
				return fmt.Errorf("scenario %s: %w", s.Name, err)
			}
			s.Path = abs
		}
		if s.Workload = w.Spec; s.Workload != nil {
			s.Workload.Path = s.Path
		}
		s.Slug = p.uniqueSlug(s.Name)
		p.Scenarios = append(p.Scenarios, s)
	}
	if len(p.Scenarios) == 0 {
		return fmt.Errorf("%s has no scenario: give dataset.input_len and output_len, or a dataset path", f.Path())
	}
	p.shorten(effort)
	for i := range p.Scenarios {
		spec, err := p.workloadSpec(p.Scenarios[i], p.Scenarios[i].Seed)
		if err != nil {
			return fmt.Errorf("scenario %s: %w", p.Scenarios[i].Name, err)
		}
		p.Scenarios[i].Description = spec.Describe()
	}
	return nil
}

// leastTokens is what a shortened length keeps.
const leastTokens = 8

// shorten cuts the lengths down to the bounds of the effort, all by the same
// factor, so that scenarios still differ as they did.
func (p *Plan) shorten(e search.Effort) {
	longest := func(of func(*Scenario) *int) (most int) {
		for i := range p.Scenarios {
			most = max(most, *of(&p.Scenarios[i]))
		}
		return most
	}
	cut := func(bound int, of func(*Scenario) *int) {
		most := longest(of)
		if bound == 0 || most <= bound {
			return
		}
		for i := range p.Scenarios {
			if v := of(&p.Scenarios[i]); *v > 0 {
				*v = max(*v*bound/most, min(*v, leastTokens))
			}
		}
	}
	cut(e.InputLen, func(s *Scenario) *int { return &s.InputLen })
	cut(e.OutputLen, func(s *Scenario) *int { return &s.OutputLen })
	for i := range p.Scenarios {
		if s := &p.Scenarios[i]; e.Prompts > 0 && (s.NumPrompts == 0 || s.NumPrompts > e.Prompts) {
			s.NumPrompts = e.Prompts
		}
	}
	for i := range p.Scenarios {
		shortenWorkload(&p.Scenarios[i], e)
	}
}

// absolute is a path that holds wherever the run is resumed; "" stays.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func (p *Plan) uniqueSlug(name string) string {
	base := artifact.Slug(name)
	slug := base
	for n := 2; slices.ContainsFunc(p.Scenarios, func(s Scenario) bool { return s.Slug == slug }); n++ {
		slug = fmt.Sprintf("%s-%d", base, n)
	}
	return slug
}

// simulatedReady bounds the wait for a simulated server where the file sets no
// bound: it loads nothing, so the minutes of a real one would be wasted.
const simulatedReady = time.Minute

func (p *Plan) addEngines(f *config.File, set engine.Set) error {
	for _, e := range f.Enabled(set) {
		if !slices.ContainsFunc(p.Candidates, func(c config.Candidate) bool { return c.Engine == e.ID }) {
			continue
		}
		s, _ := f.Section(e)
		ep := EnginePlan{ID: e.ID, Command: f.ServerCommand(e), Host: f.Launch.Host, ReadyTimeoutS: f.ReadyTimeout(e).Seconds()}
		if p.Simulated && ep.ReadyTimeoutS == 0 {
			ep.ReadyTimeoutS = simulatedReady.Seconds()
		}
		ep.Version = versionCommand(e, ep.Command)
		for _, v := range s.Env {
			ep.Env = append(ep.Env, v.Name+"="+v.Value)
		}
		p.Engines = append(p.Engines, ep)
	}
	if len(p.Engines) == 0 {
		return fmt.Errorf("%s: no engine takes part: set enabled: true under frameworks, or name an enabled engine with --engines", f.Path())
	}
	return nil
}

// versionCommand is the engine's own, through the very program that
// server_command names when it is the same one under a path.
func versionCommand(e *engine.Engine, command []string) []string {
	if len(e.Launch.Version) == 0 {
		return nil
	}
	v := slices.Clone(e.Launch.Version)
	if filepath.Base(command[0]) == v[0] {
		v[0] = command[0]
	}
	return v
}

func slaOf(s config.SLA) result.SLA {
	out := result.SLA{MinSuccessRate: s.MinSuccessRate}
	for _, l := range s.Limits {
		out.Limits = append(out.Limits, result.Limit{Key: l.Key, MaxMs: l.MaxMs})
	}
	return out
}

// requestLimits are the limits that one request can keep or break, for goodput;
// where there are several on one latency, the smallest. tightest is the smallest
// limit of all in ms; 0 = none.
func (s Scenario) requestLimits() (lim metric.Limits, tightest float64) {
	for _, l := range s.SLA.Limits {
		if l.MaxMs > 0 && (tightest == 0 || l.MaxMs < tightest) {
			tightest = l.MaxMs
		}
		for suffix, into := range map[string]*float64{"_ttft_ms": &lim.TTFTMs, "_tpot_ms": &lim.TPOTMs, "_e2e_ms": &lim.E2EMs} {
			if strings.HasSuffix(l.Key, suffix) && (*into == 0 || l.MaxMs < *into) {
				*into = l.MaxMs
			}
		}
	}
	return lim, tightest
}

// spec is what the search needs to know of this plan.
func (p *Plan) spec() search.Spec {
	return search.Spec{Loads: p.Load.Loads, Caps: p.Load.Caps, Range: p.Load.Range, Repeats: p.Load.Repeats, Effort: search.EffortOf(p.Tier), Ladder: p.Load.Ladder}
}

func (p *Plan) engine(id engine.ID) EnginePlan {
	i := slices.IndexFunc(p.Engines, func(e EnginePlan) bool { return e.ID == id })
	return p.Engines[i] // check saw to it that there is one
}

// of are the candidates of an engine, in order.
func (p *Plan) of(id engine.ID) []config.Candidate {
	var out []config.Candidate
	for _, c := range p.Candidates {
		if c.Engine == id {
			out = append(out, c)
		}
	}
	return out
}

// Slug is the short name of the run: model, and what is special about it.
func (p *Plan) Slug() string {
	name := filepath.Base(strings.TrimPrefix(p.Name, "cookbook:"))
	return artifact.Slug(strings.TrimSuffix(strings.TrimSuffix(name, ".yaml"), ".yml"))
}

var errNoPlan = errors.New("the folder holds no plan")

// ReadPlan reads the plan of a run folder.
func ReadPlan(dir string, set engine.Set) (*Plan, error) {
	path := filepath.Join(dir, planName)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoPlan
	}
	if err != nil {
		return nil, fmt.Errorf("reading the plan of the run: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxPlan+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	p, err := decodePlan(data, set)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return p, nil
}

func decodePlan(data []byte, set engine.Set) (*Plan, error) {
	var p Plan
	if len(data) > maxPlan {
		return nil, fmt.Errorf("longer than %d bytes: this is no plan", maxPlan)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("expected a JSON plan: %w", err)
	}
	if p.Schema != PlanSchema || p.SchemaVersion != PlanSchemaVersion {
		return nil, fmt.Errorf("schema is %q version %d, expected %q version %d: use the version of llmdyno that wrote it", p.Schema, p.SchemaVersion, PlanSchema, PlanSchemaVersion)
	}
	if err := p.check(set); err != nil {
		return nil, err
	}
	return &p, nil
}

// check demands what the rest of the package takes for granted.
func (p *Plan) check(set engine.Set) error {
	if len(p.Scenarios) == 0 || len(p.Candidates) == 0 {
		return errors.New("the plan has no scenarios or no candidates")
	}
	engines, ids, slugs := map[engine.ID]bool{}, map[string]bool{}, map[string]bool{}
	for _, e := range p.Engines {
		if _, known := set.Lookup(string(e.ID)); !known || len(e.Command) == 0 {
			return fmt.Errorf("the plan names engine %q, which this program does not know, or gives it no command", e.ID)
		}
		engines[e.ID] = true
	}
	for _, c := range p.Candidates {
		if !engines[c.Engine] || len(c.Argv) == 0 || ids[c.ID] || c.ID == "" || artifact.Slug(c.ID) != c.ID {
			return fmt.Errorf("candidate %q of the plan: expected a unique id, a command, and an engine of the plan", c.ID)
		}
		ids[c.ID] = true
	}
	for _, s := range p.Scenarios {
		if s.Slug == "" || artifact.Slug(s.Slug) != s.Slug || slugs[s.Slug] || s.NumPrompts < 0 {
			return fmt.Errorf("scenario %q of the plan: expected a unique folder name and a number of prompts", s.Name)
		}
		slugs[s.Slug] = true
	}
	if err := p.checkAB(); err != nil {
		return err
	}
	return p.checkOrder()
}

// secrets says where the plan holds something that was redacted when it was
// written: such a plan cannot start the server that was meant.
func (p *Plan) secrets() string {
	hidden := func(words []string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(w, "[redacted:") })
	}
	for _, e := range p.Engines {
		if hidden(e.Env) {
			return fmt.Sprintf("the environment of %s", e.ID)
		}
	}
	for _, c := range p.Candidates {
		if hidden(c.Argv) {
			return "the command of " + c.ID
		}
	}
	for key := range maps.Keys(p.Load.Extra) {
		if text, _ := json.Marshal(p.Load.Extra[key]); hidden([]string{string(text)}) {
			return "extra_request_body." + key
		}
	}
	return ""
}
