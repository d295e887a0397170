package engine

import (
	"io/fs"
	"regexp"
	"time"
)

// ID names an engine in every file, flag and table: "sglang", "vllm", ….
type ID string

// Source says where a fact was read and when. Date is YYYY-MM-DD.
type Source struct {
	Ref  string // document, repository path or issue
	Date string
}

// Engine is all that is known of one serving engine. Fields that are nil or
// empty mean that the engine has no such thing, never "not filled in yet".
type Engine struct {
	ID      ID
	Aliases []string // spellings accepted at the edge, never written
	Title   string   // the name that people use
	Source  Source   // what the tables below were read from

	Launch    Launch
	Flags     []Flag
	Help      Help
	Ready     Ready
	Logs      []LogPattern
	Endpoints []Endpoint
	// Triage are endpoints that only a look at a sick server asks; they may be
	// refused or absent.
	Triage []Endpoint
	// Marks tell the engine from a live server's replies, VersionMarks its version
	// (the first group).
	Marks, VersionMarks []Mark
	Wires               []Wire
	Tokenize            *Tokenize
	Metrics             []Metric
	Trace               TraceMarks
	Profiler            *Profiler // nil = it has none
	// Dump is the layout of the request and crash dumps that the engine leaves; nil
	// = it leaves none.
	Dump *DumpLayout
	// State reads what the endpoints say of the running server; nil = they say nothing.
	State *StateDecoder

	// Constraints are the rules between flags, model and hardware that make a
	// start fail or a flag meaningless.
	Constraints []Constraint

	// Surface holds the captured replies of the engine, one folder a version;
	// see [Surface] for the layout.
	Surface fs.FS
}

// Launch is how a server is started.
type Launch struct {
	Command []string // default words, before model and flags
	// Version is the argv that prints the installed version without loading a
	// model; VersionPattern's first group is the version in its output.
	Version        []string
	VersionPattern *regexp.Regexp

	ModelFlag string // key of the flag that names the model; "" = positional, right after Command
	HostFlag  string // key
	PortFlag  string // key
	Host      string // address the tool asks the server to listen on

	// Underscores: flags are spelled --like_this; otherwise --like-this.
	Underscores bool

	SeqLimit         string   // key of the flag that bounds prompt + output tokens
	SeqLimitOptional bool     // the flag may be absent: the engine then takes the model's own limit
	TP, PP, DP, EP   string   // keys of the parallel sizes; "" = none
	BatchLimit       []string // keys that bound the requests that run at once
	MemoryFraction   []string // keys whose value is a share of GPU memory, in (0,1]

	// Required are settings without which llmdyno does not start this engine,
	// with the reason (TensorRT-LLM: backend pytorch).
	Required []RequiredSetting

	// Env is set for every start; the reason is part of the plan.
	Env []EnvVar
}

// RequiredSetting fixes one flag to one value.
type RequiredSetting struct {
	Key, Value, Reason string
	Source             Source
}

// EnvVar is one environment variable of the server process.
type EnvVar struct {
	Name, Value, Reason string
}

// FlagType is the type of a flag's value.
type FlagType string

// The types of flag values.
const (
	FlagBool   FlagType = "bool"
	FlagInt    FlagType = "int"
	FlagFloat  FlagType = "float"
	FlagString FlagType = "string"
	FlagEnum   FlagType = "enum" // string out of Values
	FlagJSON   FlagType = "json"
	FlagList   FlagType = "list" // repeated words after the option
)

// Family groups flags by what they change.
type Family string

// The families of flags.
const (
	FamilyIdentity    Family = "identity" // model, tokenizer, served name, trust
	FamilyServing     Family = "serving"  // host, port, parsers, api
	FamilyParallel    Family = "parallel"
	FamilyMemory      Family = "memory"
	FamilyBatching    Family = "batching"
	FamilyScheduling  Family = "scheduling"
	FamilyAttention   Family = "attention"
	FamilyMoE         Family = "moe"
	FamilyCache       Family = "cache" // prefix and KV cache
	FamilySpeculation Family = "speculation"
	FamilyPrecision   Family = "precision"
	FamilyGraphs      Family = "graphs" // CUDA graphs, compilation
	FamilyComm        Family = "comm"
	FamilyRuntime     Family = "runtime" // threads, logging, everything else
)

// Flag is one command-line option of an engine.
type Flag struct {
	Key      string   // as a benchmark file writes it: lower case, underscores
	Option   string   // as the command line writes it; "" = by the engine's rule from Key
	Also     []string // other option strings that mean the same (-tp, --tp)
	Negative string   // option that switches a default-on bool off; "" = none
	Type     FlagType
	Default  string // as text; "" = decided by the engine at start
	Family   Family
	Values   []string // allowed values of an enum; empty = open
	Min, Max *float64 // inclusive bounds of a number; nil = open
	Since    string   // first version that has it; "" = always
	Until    string   // last version that has it; "" = still there
	// Upstream marks the keys that the upstream cookbook validator accepts
	// without a help capture.
	Upstream bool
	// Inert says why varying this flag changes nothing; "" = it does.
	Inert  string
	Note   string // constraint or effect in words
	Source Source
}

// Help is how an engine's help is asked for and read.
type Help struct {
	// Args are tried in order after Launch.Command (model left out) until one
	// yields at least one flag.
	Args [][]string
	// Commands are whole command lines to ask in place of Launch.Command with
	// Args, where the engine's command hands its flags on to programs of its own
	// and lists none itself. All are asked, and what they define is pooled.
	Commands [][]string
	// Timeout bounds one call: some engines import for tens of seconds.
	Timeout time.Duration
	// Parse reads help text into the options it defines (prose that mentions an
	// option does not count). It never fails: what it cannot read yields fewer
	// flags, and a capture without a single flag counts as "engine not
	// installed".
	Parse func(text string) HelpFlags
}

// HelpFlags are the options that a help text defines, keyed by the option
// string as printed ("--tp-size", "-fa").
type HelpFlags map[string]HelpFlag

// HelpFlag is one option as a help text prints it.
type HelpFlag struct {
	Option  string   // first long option string
	All     []string // every spelling on the definition line, Option included
	Metavar string   // "" = takes no value
	Choices []string
	Default string // text of "(default: …)"; "" = not printed
	Group   string // heading it stands under
	Text    string
}

// Ready is what must hold, in order, before a server counts as ready to be
// measured. An open port is never enough.
type Ready struct {
	Probes []Probe
	// Interval between rounds; Deadline is the default bound on the whole wait.
	Interval, Deadline time.Duration
	Note               string // the trap that these probes avoid
	Source             Source
}

// Probe is one request that a ready server answers as stated.
type Probe struct {
	Endpoint EndpointName
	Status   int            // required HTTP status
	Body     *regexp.Regexp // must match the reply; nil = any
	Timeout  time.Duration
	// Generate: instead of a plain request, generate one token through the
	// endpoint's wire format and demand a token back.
	Generate bool
}

// LogKind is what a log line tells.
type LogKind string

// The kinds of log lines.
const (
	LogReady      LogKind = "ready"
	LogOOM        LogKind = "oom"
	LogCrash      LogKind = "crash"
	LogBadFlag    LogKind = "bad_flag"
	LogPortInUse  LogKind = "port_in_use"
	LogLoadFailed LogKind = "load_failed"  // model missing, unreadable or unsupported
	LogNoMemory   LogKind = "no_kv_memory" // no room for the KV cache: counts as out of memory
)

// LogPattern recognises one kind of line in a server's log. Patterns are tried
// in order on each line; the first match names the line.
type LogPattern struct {
	Kind    LogKind
	Pattern *regexp.Regexp
	Example string // a line that matches, as the engine prints it
	Meaning string // what it means and what to change
	Source  Source
}

// EndpointName is the neutral name of an endpoint.
type EndpointName string

// The endpoints that the works use. An engine lists those it has.
const (
	EndpointHealth         EndpointName = "health"
	EndpointHealthGenerate EndpointName = "health_generate"
	EndpointModels         EndpointName = "models"
	EndpointModelInfo      EndpointName = "model_info"
	EndpointServerInfo     EndpointName = "server_info"
	EndpointVersion        EndpointName = "version"
	EndpointLoads          EndpointName = "loads"
	EndpointMetrics        EndpointName = "metrics"
	EndpointSlots          EndpointName = "slots"
	EndpointTokenize       EndpointName = "tokenize"
	EndpointFlushCache     EndpointName = "flush_cache"
	EndpointStartProfile   EndpointName = "start_profile"
	EndpointStopProfile    EndpointName = "stop_profile"
	EndpointCompletions    EndpointName = "completions"
	EndpointChat           EndpointName = "chat"
	EndpointGenerate       EndpointName = "generate" // the engine's native one
	EndpointHiCache        EndpointName = "hicache"  // storage behind the KV cache
	EndpointPerfMetrics    EndpointName = "perf_metrics"
	EndpointEnergy         EndpointName = "energy"
	EndpointHealthCheck    EndpointName = "health_check" // a deeper look than health
)

// Endpoint is one HTTP endpoint of a live server.
type Endpoint struct {
	Name     EndpointName
	Method   string
	Path     string
	ReadOnly bool   // changes nothing on the server
	Auth     bool   // needs the API key when the server has one
	Cost     string // what it does to the server, in words; "" = nothing worth saying
	// Effect is what a reading of it does to the server or to its other readers;
	// such an endpoint is asked only by those who name it. "" = nothing.
	Effect string
	// Timeout bounds a reply where the engine itself is known to take longer than
	// callers wait by default; 0 = it is not.
	Timeout time.Duration
	Needs   string   // flag or environment without which it answers 404; "" = always there
	Legacy  []string // older paths, tried in order after a 404
	// Port is the key of the flag that gives the port of this endpoint, where it
	// is not the server's; without that flag nobody knows the port.
	Port   string
	Since  string
	Until  string
	Source Source
}

// Setup is what a constraint looks at: one candidate on one machine.
type Setup struct {
	Engine   *Engine
	Version  string // installed version; "" = unknown
	Model    string
	Settings Settings
	GPUs     int    // GPUs a node; 0 = unknown
	GPU      string // model name, "h100"; "" = unknown
	Nodes    int    // 0 or 1 = one node
	CPUs     int    // logical CPUs of a node; 0 = unknown
	// SeqTokens is what the longest planned request needs, prompt and output
	// together; 0 = unknown.
	SeqTokens int
}

// Constraint is a rule between flags, model and hardware.
type Constraint struct {
	ID    string // kebab-case, stable
	Title string
	// Fatal: a candidate that breaks it cannot start (an error); otherwise the
	// flag is without effect (a warning).
	Fatal bool
	// Check returns the key at fault and what is wrong with what to do; ""
	// means that the rule holds or does not apply.
	Check  func(Setup) (key, problem string)
	Source Source
}
