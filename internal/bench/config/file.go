package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/workload"
)

// The schema versions that this package reads.
const (
	SchemaUpstream = 1 // the cookbook schema, unchanged
	SchemaOurs     = 2 // the same and our keys
)

// File is one benchmark as written. Struct tags are the schema:
//
//	yaml   key
//	doc    meaning, for the reference page and the JSON Schema
//	since  "2" = needs schema_version 2
//	req    "true" = must be present ("1" = only in schema_version 1)
//	enum   allowed words
//	min    smallest allowed number; max = largest; above = it must be larger than this
//
// Absent optional values stay at their zero value; use the methods below for
// values with defaults filled in.
type File struct {
	SchemaVersion int        `yaml:"schema_version" req:"true" enum:"1,2" doc:"Format of this file: 1 is the upstream cookbook schema, 2 adds the keys marked so on this page."`
	Source        Source     `yaml:"source" req:"1" doc:"Where the figures come from."`
	Model         Model      `yaml:"model" req:"true" doc:"The model that every engine serves."`
	Hardware      Hardware   `yaml:"hardware" doc:"The machine that the figures are meant for."`
	Dataset       Dataset    `yaml:"dataset" doc:"What is sent, as parallel lists: element i of each list is scenario i."`
	ScenarioList  []Scenario `yaml:"scenarios" since:"2" doc:"What is sent, one entry a scenario. Takes the place of the lists in dataset."`
	Benchmark     Benchmark  `yaml:"benchmark" doc:"How the load is applied and what it has to meet."`
	TopSLA        SLA        `yaml:"sla" doc:"Limits, if they are not under benchmark."`
	Search        Search     `yaml:"search" req:"true" doc:"How many candidates are tried, and how they are chosen."`
	Launch        Launch     `yaml:"launch" since:"2" doc:"How servers are started."`
	Frameworks    Frameworks `yaml:"frameworks" req:"true" doc:"The engines, one section each, keyed by engine id or alias."`

	path      string
	positions map[string]Pos
	bad       map[string]bool // paths whose value could not be read
}

// Source is the provenance of a file.
type Source struct {
	Kind        string `yaml:"kind" req:"1" doc:"In schema_version 1 always llm_serving_cookbook."`
	RecipeFile  string `yaml:"source_recipe_file" doc:"File name of the recipe."`
	Translation string `yaml:"translation" doc:"How the figures were carried over, in words."`
}

// Model names the weights.
type Model struct {
	Name         string `yaml:"name" req:"true" doc:"Model id; also the positional argument of the engines that take one."`
	Path         string `yaml:"path" since:"2" doc:"Local file or folder with the weights, handed to the engine in place of the name, as it stands: a relative path counts from the folder in which the server is started, which is that of the command."`
	Tokenizer    string `yaml:"tokenizer" doc:"Tokenizer id; absent = the model's own."`
	Precision    string `yaml:"precision" doc:"Precision of the weights, for the record."`
	Quantization string `yaml:"quantization" doc:"Quantisation of the weights, for the record."`
}

// Hardware is what the candidates are checked against.
type Hardware struct {
	GPUCount  int    `yaml:"gpu_count" min:"0" doc:"GPUs of a node. Parallel sizes are checked against it; absent = not checked."`
	GPUModel  string `yaml:"gpu_model" since:"2" doc:"GPU model, for example h100. Engine rules that depend on it are checked."`
	MultiNode bool   `yaml:"multi_node" doc:"The deployment spans several nodes."`
	Nodes     int    `yaml:"nodes" since:"2" min:"1" doc:"Number of nodes; absent = 1, or unknown with multi_node."`
}

// Dataset is the upstream form of the scenarios.
type Dataset struct {
	Kind          string   `yaml:"kind" enum:"random,custom" doc:"random: synthetic prompts of the given lengths. custom: prompts from path."`
	Path          string   `yaml:"path" doc:"JSONL with one request a line (kind custom), relative to this file. Rows hold prompt or messages, output_len, and optionally extra_request_body and metadata."`
	NumPrompts    int      `yaml:"num_prompts" min:"1" max:"10000000" doc:"Requests of one measurement. Default 80; in an adaptive search of rates with prompts that are made up 1000, with a limit beyond the median 3000, beyond the 95th percentile 5000."`
	ScenarioNames []string `yaml:"scenario_names" doc:"Name of each scenario."`
	InputLen      []int    `yaml:"input_len" min:"1" max:"10000000" doc:"Prompt tokens of each scenario."`
	OutputLen     []int    `yaml:"output_len" min:"1" max:"10000000" doc:"Output tokens of each scenario."`
	Seed          uint64   `yaml:"seed" since:"2" doc:"Seed of prompts and arrivals. Default 1."`
	TokenizerPath string   `yaml:"tokenizer_path" since:"2" doc:"Tokenizer file or folder, relative to this file. With it the lengths of prompts that are made are exact; without it they are so only where the server tells the tokens of a text, and in words elsewhere. It also counts answers to which neither the server nor its tokenizer gives a count."`
}

// The kinds of datasets.
const (
	KindRandom = "random"
	KindCustom = "custom"
)

// Scenario is a named workload shape that is measured as one.
type Scenario struct {
	Name        string     `yaml:"name" req:"true" doc:"Name of the scenario, unique in the file."`
	Kind        string     `yaml:"kind" enum:"random,custom,shared_prefix,sharegpt,conversation,mooncake,requests" doc:"What is sent. random and custom as dataset.kind; shared_prefix: synthetic prompts with beginnings in common; sharegpt: first exchanges of a ShareGPT file; conversation: several turns with think time, synthetic or from path; mooncake: a Mooncake trace; requests: a request list. See workloads.md. Default is dataset.kind."`
	Path        string     `yaml:"path" doc:"As dataset.path, for this scenario."`
	InputLen    int        `yaml:"input_len" min:"1" max:"10000000" doc:"Prompt tokens (kinds random, shared_prefix: behind the prefix, conversation: of a turn)."`
	OutputLen   int        `yaml:"output_len" min:"1" max:"10000000" doc:"Output tokens; for kinds with a path of rows that do not say."`
	Input       LengthSpec `yaml:"input" doc:"Distribution of the prompt lengths, in place of input_len."`
	Output      LengthSpec `yaml:"output" doc:"Distribution of the output lengths, in place of output_len."`
	Compat      Compat     `yaml:"compat" doc:"Tool whose meaning of a length and its range, and of a usable ShareGPT row, is reproduced; absent = ours."`
	Nonce       *bool      `yaml:"nonce" doc:"Put words that no other request has before each prompt, so that a prefix cache finds nothing. Default true for kind random, else false."`
	Prefix      PrefixSpec `yaml:"prefix" doc:"What the prompts of kind shared_prefix have in common."`
	Turns       LengthSpec `yaml:"turns" doc:"Number of turns of a synthetic conversation. Default 1."`
	ThinkMs     LengthSpec `yaml:"think_ms" doc:"Time in ms between the end of a turn and the next, where the file does not say. Default 0."`
	BlockTokens int        `yaml:"block_tokens" min:"1" max:"10000000" doc:"Tokens of one hash of a Mooncake trace. Default 512."`
	MinTokens   int        `yaml:"min_tokens" min:"1" max:"10000000" doc:"Fewest tokens of a prompt and of an answer of kind sharegpt. Default 4."`
	MaxInput    int        `yaml:"max_input" min:"1" max:"10000000" doc:"Most tokens of a prompt of kind sharegpt. Default 1024."`
	MaxTotal    int        `yaml:"max_total" min:"1" max:"10000000" doc:"Most tokens of a prompt and its answer of kind sharegpt. Default 2048."`
	NumPrompts  int        `yaml:"num_prompts" min:"1" max:"10000000" doc:"Requests of one measurement; default is dataset.num_prompts."`
	SLA         SLA        `yaml:"sla" doc:"Limits of this scenario; a limit that is absent here is taken from the file's."`
}

// Benchmark is how the load is applied.
type Benchmark struct {
	Endpoint         string      `yaml:"endpoint" doc:"Path of the endpoint that is measured. Default /v1/completions."`
	Backend          string      `yaml:"backend" doc:"Protocol of the endpoint, for the record."`
	Tokenizer        string      `yaml:"tokenizer" doc:"Tokenizer of the load generator, for the record."`
	MaxConcurrency   Caps        `yaml:"max_concurrency" doc:"Caps on the requests in flight, each measured; null = no cap."`
	ExtraRequestBody Body        `yaml:"extra_request_body" doc:"Fields added to every request body."`
	QPS              QPS         `yaml:"qps" doc:"Range in which the highest rate that meets the limits is looked for."`
	SLA              SLA         `yaml:"sla" doc:"Limits that a measurement must meet."`
	OutputDir        string      `yaml:"output_dir" doc:"Where upstream tools write. Run folders are chosen on the command line here."`
	Repeats          int         `yaml:"repeats" since:"2" min:"1" max:"1000" doc:"Measurements of each load point. Default 1."`
	Warmup           *int        `yaml:"warmup" since:"2" min:"0" max:"1000000" doc:"Requests sent before each measurement and left out of it. Default 1."`
	RequestTimeoutS  float64     `yaml:"request_timeout_s" since:"2" above:"0" max:"86400" doc:"Bound on one request in seconds. Default 600."`
	Arrivals         Arrivals    `yaml:"arrivals" since:"2" doc:"Law of the gaps between requests."`
	Loads            []LoadPoint `yaml:"loads" since:"2" doc:"Load points to measure, in place of the search in qps."`
	APIKeyEnv        string      `yaml:"api_key_env" since:"2" doc:"Name of the environment variable that holds the server's API key. The key itself never stands in a file."`
	Equivalence      Equivalence `yaml:"equivalence" since:"2" doc:"Hold the answers of each candidate against those of its baseline; one that changes them cannot win. Absent = not done."`
	Temperature      *float64    `yaml:"temperature" since:"2" min:"0" doc:"Sampling temperature of every request."`
}

// Equivalence is how the answers of candidates are compared.
type Equivalence struct {
	Prompts         int      `yaml:"prompts" min:"1" max:"16" doc:"How many of the built-in prompts are answered, greedily and one after another. Default 16."`
	Tokens          int      `yaml:"tokens" min:"1" max:"1024" doc:"Tokens of each answer that are compared. Default 32."`
	MinAgreement    *float64 `yaml:"min_agreement" min:"0" max:"1" doc:"Smallest share of tokens before the first difference, the mean over the prompts. Default 0.5: rounding alone turns some answers another way, a broken kernel nearly all."`
	Command         string   `yaml:"command" doc:"Evaluation command, run beside each candidate's server, split as a POSIX shell does. LLMDYNO_BASE_URL, LLMDYNO_MODEL, LLMDYNO_ENGINE and LLMDYNO_CANDIDATE are in its environment. Exit code 0 = the answers are good; its last line is kept."`
	CommandTimeoutS float64  `yaml:"command_timeout_s" above:"0" max:"86400" doc:"Bound on the evaluation command in seconds. Default 600."`
}

// QPS is the range of the rate search, in requests per second.
type QPS struct {
	Lower     float64 `yaml:"lower" above:"0" doc:"Lowest offered rate in requests per second."`
	Upper     float64 `yaml:"upper" above:"0" doc:"Highest offered rate in requests per second."`
	Tolerance float64 `yaml:"tolerance" above:"0" doc:"Width in requests per second at which the search stops."`
}

// Arrivals is the arrival process.
type Arrivals struct {
	Kind       string     `yaml:"kind" enum:"poisson,constant,gamma,closed,ramp,steps,trace" doc:"poisson (default), constant or gamma gaps; closed: the next request leaves when one ends; ramp and steps: a rate that changes with time; trace: recorded instants."`
	Burstiness float64    `yaml:"burstiness" above:"0" doc:"Shape of gamma gaps: 1 is Poisson, below 1 burstier. Default 1."`
	Gaps       string     `yaml:"gaps" enum:"poisson,constant,gamma" doc:"Law of the gaps of kinds ramp and steps. Default poisson."`
	FromRPS    float64    `yaml:"from_rps" min:"0" doc:"Rate at which a ramp begins, in requests per second. Default 0."`
	ToRPS      float64    `yaml:"to_rps" above:"0" doc:"Rate that a ramp reaches and keeps."`
	OverS      float64    `yaml:"over_s" above:"0" max:"31536000" doc:"Time of the ramp in seconds."`
	Steps      []StepSpec `yaml:"steps" doc:"Rates of kind steps, one after another."`
	Path       string     `yaml:"path" doc:"JSONL with a timestamp a line (ms, or RFC 3339) for kind trace, relative to this file. Absent = the timestamps of the dataset."`
	TimeScale  float64    `yaml:"time_scale" above:"0" doc:"What the times of a trace are multiplied by: 2 is half as fast. Default 1."`
}

// LoadPoint is one offered load.
type LoadPoint struct {
	RateRPS        float64 `yaml:"rate_rps" above:"0" doc:"Offered rate in requests per second; absent = all at once."`
	MaxConcurrency int     `yaml:"max_concurrency" min:"1" doc:"Cap on the requests in flight; absent = none."`
}

// Search is how candidates are chosen.
type Search struct {
	Limit               int     `yaml:"max_candidates_per_framework" req:"true" min:"1" max:"10000" doc:"Most candidates of one engine, the baseline included."`
	Tier                int     `yaml:"tier" min:"1" doc:"Upstream's effort level: 1 smoke, 2 default, 3 exhaustive. For the record."`
	CandidateGeneration string  `yaml:"candidate_generation" doc:"Upstream's name of the strategy. For the record."`
	Resume              *bool   `yaml:"resume" doc:"Upstream's wish to resume. Every run can be resumed here."`
	Strategy            string  `yaml:"strategy" since:"2" enum:"bounded_product,race,covering,halving" doc:"How candidates are chosen. bounded_product (default): the baseline, then the product of the search space in order up to the limit. The others choose from the whole space and begin at most as many candidates as the limit says. race: each candidate must hold the best rate so far under the same seeds, or is given up. covering: a design with every pair of values, raced, then the neighbours of the best. halving: rounds of short measurements that keep the better half. See search.md."`
	RateSearch          string  `yaml:"rate_search" since:"2" enum:"adaptive,range" doc:"How benchmark.qps is searched. adaptive (default of schema_version 2): short probes that bracket the answer, bisection with a sequential test at each rate, confirmations with fresh seeds. range: as schema_version 1 does, both ends and halves between at full length. See search.md."`
	RateWidth           float64 `yaml:"rate_width" since:"2" above:"0" max:"1" doc:"Relative width of the bracket at which the adaptive search ends. Default 0.03. A wider benchmark.qps.tolerance counts instead."`
}

// Launch is how servers are started.
type Launch struct {
	Backend       string  `yaml:"backend" enum:"local" doc:"Where servers run: local is a process on this machine."`
	ReadyTimeoutS float64 `yaml:"ready_timeout_s" above:"0" max:"86400" doc:"Bound in seconds on the wait until a server is ready; absent = the engine's own."`
	Host          string  `yaml:"host" doc:"Address that servers listen on; absent = the engine's default here, the loopback."`
}

// Framework is the section of one engine.
type Framework struct {
	Enabled       bool    `yaml:"enabled" doc:"true: this engine takes part. Absent = false, and nothing else in the section is checked against the engine."`
	ServerCommand string  `yaml:"server_command" req:"1" doc:"Words that start the server, split as a POSIX shell does."`
	BackendPolicy string  `yaml:"backend_policy" doc:"For an engine that is only run with one backend: fixed_ and its name."`
	ConfigSource  string  `yaml:"config_source" doc:"Provenance of the section."`
	BaseFlags     Flags   `yaml:"base_server_flags" req:"1" doc:"Flags of the baseline, candidate 0. Keys are option names with underscores."`
	SearchSpace   Space   `yaml:"search_space" req:"1" doc:"Values to try: key to list. The last key turns fastest."`
	Candidates    []Flags `yaml:"candidates" since:"2" doc:"Further candidates, each a map that is laid over the base flags; tried after the baseline and before the product."`
	Version       string  `yaml:"version" since:"2" doc:"Engine version that the section is written for; flags that it does not have are named."`
	Env           Env     `yaml:"environment" since:"2" doc:"Environment variables of the server process."`
	ReadyTimeoutS float64 `yaml:"ready_timeout_s" since:"2" above:"0" max:"86400" doc:"As launch.ready_timeout_s, for this engine."`
}

// EngineSection is one section under frameworks with the name it was given.
type EngineSection struct {
	Name string // as written: id or alias
	Framework
}

// Frameworks are the engine sections in file order.
type Frameworks []EngineSection

// Flags are flags in file order; keys are unique.
type Flags []Flag

// Flag is one key with its value.
type Flag struct {
	Key   string
	Value Value
}

// Space is a search space: keys in file order, each with its values.
type Space []Axis

// Axis is one searched key. A scalar in the file is a list of one.
type Axis struct {
	Key    string
	Values []Value
	Listed bool // written as a list
}

// Caps are caps on the requests in flight; 0 = no cap (null in the file).
type Caps []int

// Body is a JSON object of request fields.
type Body []Flag

// Env are environment variables in file order.
type Env []EnvVar

// EnvVar is one environment variable.
type EnvVar struct{ Name, Value string }

// SLA is a set of limits.
type SLA struct {
	Limits []Limit
	// MinSuccessRate is the smallest share of requests that must succeed, 0..1;
	// nil = no such limit.
	MinSuccessRate *float64
}

// Limit bounds one statistic of one latency.
type Limit struct {
	Key        string  // as written: max_p50_ttft_ms
	Percentile float64 // 50
	Quantity   string  // ttft, tpot, e2e or itl
	MaxMs      float64
}

// Pos is a place in a file; both count from 1. The zero Pos is "the file".
type Pos struct{ Line, Column int }

// Severity of a diagnostic.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Diagnostic is one thing that is wrong, or questionable, in a file.
type Diagnostic struct {
	Path     string   `json:"path"` // key path in the file: frameworks.x.base_server_flags.y
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Message  string   `json:"message"` // begins with the key path
	Severity Severity `json:"-"`
}

// Defaults of what a file may leave out.
const (
	DefaultEndpoint   = "/v1/completions" // upstream cookbook, benchmark.endpoint
	DefaultNumPrompts = 80                // upstream cookbook, dataset.num_prompts
	DefaultSeed       = 1
	// DefaultRequestTimeout bounds one request: the longest scenario of the
	// cookbook, 1000 tokens, may take 500 ms a token before it is cut.
	DefaultRequestTimeout = 600 * time.Second
	DefaultWarmup         = 1
)

// Path is where the file was read; "cookbook:NAME" for an embedded one.
func (f *File) Path() string { return f.path }

// Workload is a scenario with every default filled in.
type Workload struct {
	Name                            string
	Kind                            string // random or custom
	Path                            string // of a custom dataset, resolved against the file's folder
	InputLen, OutputLen, NumPrompts int    // tokens, tokens, requests
	Seed                            uint64
	SLA                             SLA
	// Spec is the whole workload, but for request fields and tokenizer. It is set
	// for entries of scenarios.
	Spec *workload.Spec
}

// Scenarios are the workloads to measure, in file order.
func (f *File) Scenarios() []Workload {
	if len(f.ScenarioList) > 0 {
		out := make([]Workload, len(f.ScenarioList))
		for i, s := range f.ScenarioList {
			w := f.workload(i, s.Name)
			w.Kind, w.Path = or(s.Kind, w.Kind), f.resolve(or(s.Path, f.Dataset.Path))
			w.InputLen, w.OutputLen = s.InputLen, s.OutputLen
			if spec, err := f.spec(s); err == nil { // an error is told by [Check]
				w.Spec = &spec
			}
			w.NumPrompts = or(s.NumPrompts, w.NumPrompts)
			w.SLA = s.SLA.over(f.SLA())
			out[i] = w
		}
		return out
	}
	n := min(len(f.Dataset.InputLen), len(f.Dataset.OutputLen))
	if n == 0 && f.Dataset.Path != "" {
		return []Workload{f.workload(0, "custom")}
	}
	out := make([]Workload, n)
	for i := range out {
		out[i] = f.workload(i, fmt.Sprintf("scenario-%d", i+1))
		out[i].InputLen, out[i].OutputLen = f.Dataset.InputLen[i], f.Dataset.OutputLen[i]
	}
	return out
}

func (f *File) workload(i int, name string) Workload {
	if len(f.ScenarioList) == 0 && i < len(f.Dataset.ScenarioNames) {
		name = f.Dataset.ScenarioNames[i]
	}
	return Workload{
		Name: name, Kind: or(f.Dataset.Kind, KindRandom), Path: f.resolve(f.Dataset.Path),
		NumPrompts: or(f.Dataset.NumPrompts, DefaultNumPrompts), Seed: or(f.Dataset.Seed, DefaultSeed), SLA: f.SLA(),
	}
}

// resolve reads a path in the file as relative to the file's folder.
func (f *File) resolve(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(filepath.Dir(f.path), p)
}

// SLA are the limits of the whole file: benchmark.sla, and for what it leaves
// open the top-level sla.
func (f *File) SLA() SLA { return f.Benchmark.SLA.over(f.TopSLA) }

// over lays s over base.
func (s SLA) over(base SLA) SLA {
	out := SLA{Limits: slices.Clone(s.Limits), MinSuccessRate: s.MinSuccessRate}
	for _, l := range base.Limits {
		if !slices.ContainsFunc(s.Limits, func(x Limit) bool { return x.Key == l.Key }) {
			out.Limits = append(out.Limits, l)
		}
	}
	if out.MinSuccessRate == nil {
		out.MinSuccessRate = base.MinSuccessRate
	}
	return out
}

// Limit finds the limit of a key such as "max_p50_ttft_ms".
func (s SLA) Limit(key string) (Limit, bool) {
	for _, l := range s.Limits {
		if l.Key == key {
			return l, true
		}
	}
	return Limit{}, false
}

// Empty says that no limit is set.
func (s SLA) Empty() bool { return len(s.Limits) == 0 && s.MinSuccessRate == nil }

// Endpoint is the path that is measured.
func (f *File) Endpoint() string { return or(f.Benchmark.Endpoint, DefaultEndpoint) }

// Caps are the caps on requests in flight to measure; never empty, 0 = none.
func (f *File) Caps() []int {
	if len(f.Benchmark.MaxConcurrency) == 0 {
		return []int{0}
	}
	return f.Benchmark.MaxConcurrency
}

// Adaptive says that benchmark.qps is searched adaptively.
func (f *File) Adaptive() bool {
	return f.SchemaVersion >= SchemaOurs && or(f.Search.RateSearch, "adaptive") == "adaptive"
}

// LoadPoints are the load points written out under benchmark.loads; empty means
// that benchmark.qps is searched for each of [File.Caps].
func (f *File) LoadPoints() []LoadPoint { return f.Benchmark.Loads }

// ArrivalProcess is benchmark.arrivals with its defaults filled in.
func (f *File) ArrivalProcess() Arrivals {
	a := f.Benchmark.Arrivals
	a.Kind, a.Burstiness = or(a.Kind, "poisson"), or(a.Burstiness, 1)
	return a
}

// Repeats is how often a load point is measured.
func (f *File) Repeats() int { return or(f.Benchmark.Repeats, 1) }

// Warmup is the number of requests before each measurement.
func (f *File) Warmup() int {
	if f.Benchmark.Warmup != nil {
		return *f.Benchmark.Warmup
	}
	return DefaultWarmup
}

// RequestTimeout bounds one request.
func (f *File) RequestTimeout() time.Duration {
	if f.Benchmark.RequestTimeoutS > 0 {
		return seconds(f.Benchmark.RequestTimeoutS)
	}
	return DefaultRequestTimeout
}

// ReadyTimeout bounds the wait for an engine's server; 0 = the engine's own
// deadline.
func (f *File) ReadyTimeout(e *engine.Engine) time.Duration {
	if s, ok := f.Section(e); ok && s.ReadyTimeoutS > 0 {
		return seconds(s.ReadyTimeoutS)
	}
	return seconds(f.Launch.ReadyTimeoutS)
}

// Section is the section of an engine, under whichever of its names.
func (f *File) Section(e *engine.Engine) (EngineSection, bool) {
	for _, s := range f.Frameworks {
		if found, ok := (engine.Set{e}).Lookup(s.Name); ok && found == e {
			return s, true
		}
	}
	return EngineSection{}, false
}

// Enabled are the engines of the set that the file switches on, in the set's
// order.
func (f *File) Enabled(set engine.Set) engine.Set {
	var out engine.Set
	for _, e := range set {
		if s, ok := f.Section(e); ok && s.Enabled {
			out = append(out, e)
		}
	}
	return out
}

// ServedModel is what the engine is told to load: model.path, else model.name.
func (f *File) ServedModel() string { return or(f.Model.Path, f.Model.Name) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// or is v, or def where v was left out.
func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
