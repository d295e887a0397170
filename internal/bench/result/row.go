package result

import "llmdyno/internal/load/metric"

// SchemaVersion is the version of the rows that this package writes.
const SchemaVersion = 1

// The statuses of a row and of a point.
const (
	StatusOK      = "ok"
	StatusFailed  = "failed"
	StatusOOM     = "oom"
	StatusTimeout = "timeout"
	StatusSkipped = "skipped" // not tried; failure_reason says why
)

// Row is the normalised result of one candidate at one scenario: one JSON
// object on one line of results.jsonl. Pointers that are nil, and keys left
// out of the JSON, mean "not measured" or "not told", never 0.
type Row struct {
	SchemaVersion int    `json:"schema_version"` // SchemaVersion; absent in rows written by others
	RunID         string `json:"run_id,omitempty"`
	// MeasuredAt is when the measurement ended, RFC 3339 UTC.
	MeasuredAt  string `json:"measured_at,omitempty"`
	ToolVersion string `json:"tool_version,omitempty"` // of llmdyno

	Framework        string `json:"framework"` // engine id
	FrameworkVersion string `json:"framework_version,omitempty"`
	FrameworkCommit  string `json:"framework_commit,omitempty"`
	Image            string `json:"image,omitempty"` // container image, with its digest where known
	CandidateID      string `json:"candidate_id"`
	// Baseline: the candidate with the flags that the others are measured against.
	Baseline bool   `json:"baseline,omitempty"`
	Model    string `json:"model"`

	Status        string `json:"status"`                   // StatusOK and its siblings
	FailureReason string `json:"failure_reason,omitempty"` // what a person can act on
	FailedPhase   string `json:"failed_phase,omitempty"`   // where it failed: "start", "warmup", "load", …

	ServerCommand    string `json:"server_command,omitempty"` // read also as launch_command
	BenchmarkCommand string `json:"benchmark_command,omitempty"`

	Simulated bool `json:"simulated"`       // measured on the simulated engine
	Smoke     bool `json:"smoke,omitempty"` // a flow check, never a performance result

	Hardware Hardware `json:"hardware"`
	Workload Workload `json:"workload"`
	SLA      SLA      `json:"sla"`
	Metrics  Metrics  `json:"metrics"`

	// Points is every load point that was measured for the row, in order. The
	// row's own Metrics are those of the point that is marked Chosen.
	Points []Point `json:"points,omitempty"`

	// RateSearch is how the adaptive search for the highest rate ended, one entry
	// a cap; absent where it was not used.
	RateSearch []RateSearch `json:"rate_search,omitempty"`

	SpecDecode    *SpecDecode    `json:"spec_decode,omitempty"`
	PhaseMetrics  *PhaseMetrics  `json:"phase_metrics,omitempty"`
	Cache         *Cache         `json:"cache,omitempty"`
	Memory        *Memory        `json:"memory,omitempty"`
	Normalization *Normalization `json:"normalization,omitempty"`

	// Equivalence says whether the answers are those of the reference; nil = not
	// asked for.
	Equivalence *Equivalence `json:"equivalence,omitempty"`

	// Server is what the server and its GPUs said of the chosen point.
	Server *metric.Server `json:"server,omitempty"`

	ValidatedCLIFlags *ValidatedFlags `json:"validated_cli_flags,omitempty"`
	Artifacts         Artifacts       `json:"artifacts"`
	Warnings          []Warning       `json:"warnings,omitempty"`

	// Imported says that another tool measured the row; nil = llmdyno did.
	Imported *Imported `json:"imported,omitempty"`

	// Source is where the row was read, "file:line"; "" = made in this process.
	Source string `json:"-"`
}

// Imported is where a row of another tool's making comes from.
type Imported struct {
	Tool    string   `json:"tool"`              // the name of its format, see internal/bench/foreign
	Version string   `json:"version,omitempty"` // of the tool, or of its format
	File    string   `json:"file,omitempty"`    // with the line where the measurement begins
	Figures []Figure `json:"figures,omitempty"` // every number of the file, as it stood there
}

// Figure is one number under the key and in the unit of the tool that wrote it.
type Figure struct {
	Key   string  `json:"key"` // path in the file, with dots
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"` // "" = the file does not tell
}

// Warning is something that a reader of the figures must know.
type Warning struct {
	Code    string `json:"code"` // kebab-case, stable
	Message string `json:"message"`
}

// Hardware is what the candidate ran on.
type Hardware struct {
	GPUModel       string `json:"gpu_model,omitempty"`
	GPUCount       *int   `json:"gpu_count,omitempty"` // 0 = measured without GPUs
	VisibleDevices string `json:"visible_devices,omitempty"`
	Driver         string `json:"driver,omitempty"` // of the GPU
	Host           string `json:"host,omitempty"`   // a name that tells machines apart
	CPU            string `json:"cpu,omitempty"`    // model name
	CPUCores       *int   `json:"cpu_cores,omitempty"`
}

// Workload is the load that the row answers for.
type Workload struct {
	Kind        string   `json:"kind,omitempty"`     // random, custom, …
	Scenario    string   `json:"scenario,omitempty"` // its name
	DatasetPath string   `json:"dataset_path,omitempty"`
	Description string   `json:"description,omitempty"`   // in words: what is sent, what its lengths mean
	InputLen    *int     `json:"input_len,omitempty"`     // tokens, as planned
	OutputLen   *int     `json:"output_len,omitempty"`    // tokens, as planned
	InputP50    *float64 `json:"input_len_p50,omitempty"` // tokens, as measured
	InputP95    *float64 `json:"input_len_p95,omitempty"`
	OutputP50   *float64 `json:"output_len_p50,omitempty"`
	OutputP95   *float64 `json:"output_len_p95,omitempty"`
	NumPrompts  *int     `json:"num_prompts,omitempty"`
	// RequestRate is the offered rate, requests/s; nil = no schedule (all at
	// once, or closed loop).
	RequestRate    *float64 `json:"request_rate,omitempty"`
	MaxConcurrency *int     `json:"max_concurrency,omitempty"` // the client's cap; nil = none
	Endpoint       string   `json:"endpoint,omitempty"`
	Arrivals       string   `json:"arrivals,omitempty"` // poisson, constant, gamma, closed, ramp, steps, trace
	Seed           *uint64  `json:"seed,omitempty"`

	// Searched names the keys above whose value was found by the search of this
	// candidate ("request_rate", "max_concurrency") instead of being given. Rows
	// that searched the same key compare with each other whatever they found.
	Searched []string `json:"searched,omitempty"`
}

// The keys that Workload.Searched may name.
const (
	SearchedRate        = "request_rate"
	SearchedConcurrency = "max_concurrency"
)

// Point is one load point of a candidate at a scenario, measured once.
type Point struct {
	RequestRate    *float64 `json:"request_rate,omitempty"`    // offered, requests/s; nil = no schedule
	MaxConcurrency *int     `json:"max_concurrency,omitempty"` // nil = none
	Repeat         int      `json:"repeat"`                    // from 0
	Kind           string   `json:"kind,omitempty"`            // probe, test or confirm, of the adaptive rate search
	EndedBy        string   `json:"ended_by,omitempty"`        // what ended it: interval, misses, backlog, or budget for every request
	Chosen         bool     `json:"chosen,omitempty"`          // the row's metrics are those of this point
	// Block is the round in which it was measured beside the other candidates, with
	// the same prompts and arrivals; nil = in none.
	Block *int `json:"block,omitempty"`

	Status        string   `json:"status"`
	FailureReason string   `json:"failure_reason,omitempty"`
	Passed        bool     `json:"passed"`               // the SLA
	Violations    []string `json:"violations,omitempty"` // in words
	// Invalid says why the measurement cannot be trusted ("" = sound).
	Invalid string  `json:"invalid,omitempty"`
	Metrics Metrics `json:"metrics"` // see [Metrics.Brief]
	Folder  string  `json:"folder,omitempty"`

	MeasuredAt string `json:"measured_at,omitempty"` // RFC 3339 UTC
}

// SpecDecode says what speculative decoding did.
type SpecDecode struct {
	Enabled          *bool    `json:"enabled,omitempty"`
	Algorithm        string   `json:"algorithm,omitempty"`
	NumSteps         *int     `json:"num_steps,omitempty"`
	NumDraftTokens   *int     `json:"num_draft_tokens,omitempty"`
	MeanAcceptLength *float64 `json:"mean_accept_length,omitempty"` // tokens a verification step
	AcceptanceRate   *float64 `json:"acceptance_rate,omitempty"`    // 0..1
}

// PhaseMetrics are mean times of a request's way through the server, in ms.
type PhaseMetrics struct {
	PreScheduler *float64 `json:"pre_scheduler_ms,omitempty"`
	Scheduler    *float64 `json:"scheduler_ms,omitempty"`
	Tokenizer    *float64 `json:"tokenizer_ms,omitempty"`
	Detokenizer  *float64 `json:"detokenizer_ms,omitempty"`
	Queue        *float64 `json:"queue_ms,omitempty"`
}

// Cache is the state of the KV cache over the measurement.
type Cache struct {
	PrefixCacheEnabled *bool    `json:"prefix_cache_enabled,omitempty"`
	PrefixCacheHitRate *float64 `json:"prefix_cache_hit_rate,omitempty"` // cached / prompt tokens
	KVCacheTokens      *int64   `json:"kv_cache_tokens,omitempty"`       // capacity
	KVCacheUtilization *float64 `json:"kv_cache_utilization,omitempty"`  // peak, 0..1
}

// Memory is how the engine shares out the GPU's memory.
type Memory struct {
	GPUMemoryUtilization *float64 `json:"gpu_memory_utilization,omitempty"`
	KVCacheDtype         string   `json:"kv_cache_dtype,omitempty"`
	CPUOffloadGB         *float64 `json:"cpu_offload_gb,omitempty"`
	GPUResidentWeightGB  *float64 `json:"gpu_resident_weight_gb,omitempty"`
}

// Normalization says what the writer of the row held equal over engines.
type Normalization struct {
	SameGPUCount     *bool  `json:"same_gpu_count,omitempty"`
	SameModelWeights *bool  `json:"same_model_weights,omitempty"`
	SameTokenizer    *bool  `json:"same_tokenizer,omitempty"`
	SameEndpoint     *bool  `json:"same_endpoint,omitempty"`
	Notes            string `json:"notes,omitempty"`
}

// ValidatedFlags are the flags that were found in the help of the commands.
type ValidatedFlags struct {
	Server    []string `json:"server,omitempty"`
	Benchmark []string `json:"benchmark,omitempty"`
}

// Artifacts are the files behind a row, relative to the run folder.
type Artifacts struct {
	Folder        string `json:"folder,omitempty"` // of the chosen trial
	RawResult     string `json:"raw_result,omitempty"`
	ServerLog     string `json:"server_log,omitempty"`
	BenchmarkLog  string `json:"benchmark_log,omitempty"`
	Summary       string `json:"summary,omitempty"`
	ServerHelp    string `json:"server_help,omitempty"`
	BenchmarkHelp string `json:"benchmark_help,omitempty"`
	Samples       string `json:"samples,omitempty"` // samples.jsonl.zst
	Client        string `json:"client,omitempty"`  // client.json, what the client did to the measurement
	ServerMetrics string `json:"server_metrics,omitempty"`
}
