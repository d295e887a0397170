package dump

import (
	"encoding/json"

	"llmdyno/internal/engine"
)

// Dump is what was read from files and folders, in the order of their names.
type Dump struct {
	Files []*File `json:"files"`
}

// File is one dump. A file that could not be read has an Error and whatever
// stands before the damage.
type File struct {
	File     string     `json:"file"`
	Bytes    int64      `json:"bytes"`
	Engine   engine.ID  `json:"engine,omitempty"` // "" = a layout that no engine knows
	Protocol int        `json:"protocol"`         // declared by the pickle; 0 = none
	Figures  *Figures   `json:"figures"`
	Stages   *Stages    `json:"stages,omitempty"` // where the time went, from the recorded answers
	Trailing []*Figures `json:"trailing,omitempty"`
	// TrailingBytes follow the end of the first pickle; Pickles are those of the
	// file that could be read.
	TrailingBytes int64 `json:"trailing_bytes"`
	Pickles       int   `json:"pickles"`

	// Globals are the names that another reader would resolve, in the order of
	// their first use; GlobalCounts says how often, and where first.
	Globals           []string      `json:"globals"`
	GlobalCounts      []GlobalCount `json:"global_counts"`
	Verdict           Verdict       `json:"verdict"`
	SuspiciousGlobals []string      `json:"suspicious_globals"`
	Suspicions        []Suspicion   `json:"suspicions"`

	// Salvaged are the records that stand complete before damage; 0 in a whole
	// file.
	Salvaged int       `json:"salvaged_records"`
	Error    string    `json:"error,omitempty"`
	Warnings []Warning `json:"warnings"`

	// Records are shown up to a bound; Omitted counts the rest.
	Records []Record `json:"records,omitempty"`
	Omitted int      `json:"omitted_records,omitempty"`
	// InFlight and Suspects are indices of records: unfinished at the time of the
	// dump, and worth a look first.
	InFlight []int     `json:"in_flight,omitempty"`
	Suspects []Suspect `json:"suspects,omitempty"`

	parts []*part
	list  []Request // of a request list
}

// Verdict of the scan of a file's names.
type Verdict string

// The verdicts.
const (
	VerdictPlain   Verdict = "plain"   // known names only
	VerdictUnknown Verdict = "unknown" // others, read as inert records
	VerdictHostile Verdict = "hostile" // would run code in a reader that resolves names
)

// GlobalCount is a name in a pickle.
type GlobalCount struct {
	Name   string `json:"name"`
	Count  int    `json:"count"`
	Offset int64  `json:"offset"` // of the first use, bytes
}

// Suspicion is a reason not to load the file with anything that runs pickles.
type Suspicion struct {
	Global string `json:"global,omitempty"`
	Offset int64  `json:"offset"`
	Reason string `json:"reason"`
}

// Warning is something that a reader of the figures should know.
type Warning struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Dist is a distribution; percentiles are interpolated linearly between order
// statistics (index (n-1)·p).
type Dist struct {
	N   int     `json:"n"`
	Sum float64 `json:"sum"`
	Min float64 `json:"min"`
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Figures are what a dump says as a whole. Null is "not told", never zero.
type Figures struct {
	Container string   `json:"container"` // dict or list
	Keys      []string `json:"keys,omitempty"`
	Records   int      `json:"records"`

	ConfigFrom         *string `json:"config_from"`
	ModelPath          any     `json:"model_path"`
	ServedModelName    any     `json:"served_model_name"`
	TPSize             any     `json:"tp_size"`
	DPSize             any     `json:"dp_size"`
	PPSize             any     `json:"pp_size"`
	EPSize             any     `json:"ep_size"`
	Host               any     `json:"host"`
	Port               any     `json:"port"`
	DisaggregationMode any     `json:"disaggregation_mode"`

	LaunchCommand     *string           `json:"launch_command"`
	FromLaunchCommand map[string]string `json:"from_launch_command,omitempty"`

	Irregular []Irregular `json:"irregular"`

	FirstStart       *float64 `json:"first_start"` // seconds since the epoch
	StartSpanSeconds *float64 `json:"start_span_seconds"`
	WallSpanSeconds  *float64 `json:"wall_span_seconds"`

	Streaming     int            `json:"streaming"`
	Finished      int            `json:"finished"`
	Unfinished    int            `json:"unfinished"`
	FinishReasons map[string]int `json:"finish_reasons"`

	PromptTokens     *Dist `json:"prompt_tokens"`
	CompletionTokens *Dist `json:"completion_tokens"`
	CachedTokens     *Dist `json:"cached_tokens"`
	Retractions      *Dist `json:"retractions"`
	QueueTimeSeconds *Dist `json:"queue_time_seconds"`
	ElapsedSeconds   *Dist `json:"elapsed_seconds"`

	MaxConcurrency int            `json:"max_concurrency"`
	RequestClasses map[string]int `json:"request_classes"`
	SecretsAt      []string       `json:"secrets_at"`
}

// Stages are distributions in seconds over the requests that tell them.
type Stages struct {
	Queue     *Dist `json:"queue_seconds"`
	TTFT      *Dist `json:"ttft_seconds"`      // received → prefill finished, about the time to first token
	Tokenizer *Dist `json:"tokenizer_seconds"` // received → scheduler, queue left out: tokenizer and IPC
	Decode    *Dist `json:"decode_seconds"`    // prefill finished → request finished
}

// Irregular is a record of another shape than a request has.
type Irregular struct {
	Index int    `json:"idx"`
	Why   string `json:"why"`
}

// Record is one dumped request as a summary shows it.
type Record struct {
	Index            int      `json:"idx"`
	ID               string   `json:"request_id"`
	Class            string   `json:"class"`
	Stream           bool     `json:"stream"`
	Finished         bool     `json:"finished"`
	FinishReason     string   `json:"finish_reason,omitempty"`
	PromptTokens     *float64 `json:"prompt_tokens"`
	CompletionTokens *float64 `json:"completion_tokens"`
	CachedTokens     *float64 `json:"cached_tokens"`
	Start            string   `json:"start,omitempty"` // RFC 3339, UTC
	ElapsedSeconds   *float64 `json:"elapsed_seconds"`
	QueueSeconds     *float64 `json:"queue_time_seconds"`
	// Prompt is what the request asks, as length and hash unless it was asked for.
	PromptChars  int    `json:"prompt_chars"`
	PromptSHA256 string `json:"prompt_sha256,omitempty"` // first 12 hex digits
	Preview      string `json:"preview,omitempty"`
	Problem      string `json:"problem,omitempty"` // of an irregular record
}

// Suspect is a record worth a look first, with the reasons.
type Suspect struct {
	Index   int      `json:"idx"`
	Reasons []string `json:"reasons"`
}

// Text is a string that may hold lone surrogates, kept as WTF-8 (three bytes ED
// A0..BF xx); JSON has them as \udXXX.
type Text string

// Request is one dumped request in the neutral form: what to send, when, and what
// was answered then. Its JSON is a line of a request list (docs/dumps.md).
type Request struct {
	Index int `json:"index"` // position in the dump, over all its files
	// ID is the recorded id; it is told, never sent.
	ID     string          `json:"id,omitempty"`
	Engine engine.ID       `json:"engine,omitempty"` // whose body Body is
	Kind   engine.DumpKind `json:"kind,omitempty"`

	// One of Prompt and PromptTokens is set where the request is one prompt;
	// ReplayOnly says why neither is (a batch, an embedding, attachments).
	Prompt       Text   `json:"prompt,omitempty"`
	PromptTokens []int  `json:"prompt_tokens,omitempty"`
	ReplayOnly   string `json:"replay_only,omitempty"`
	Stream       bool   `json:"stream,omitempty"`
	InputLen     int    `json:"input_len,omitempty"`  // prompt tokens as recorded; 0 = not told
	OutputLen    int    `json:"output_len,omitempty"` // most tokens asked for; 0 = left to the server
	SharedLen    int    `json:"shared_len,omitempty"` // -1 = not known
	AtNs         int64  `json:"at_ns,omitempty"`      // since the first request of the dump
	// Extra are sampling parameters by the names that most engines share.
	Extra json.RawMessage `json:"extra_request_body,omitempty"`

	// Body is the native body without what must not be sent again, defaults left
	// out; Dropped says what went and why.
	Body     json.RawMessage `json:"body,omitempty"`
	Dropped  []Dropped       `json:"dropped,omitempty"`
	Notes    []string        `json:"notes,omitempty"` // what could not be kept as it was
	Greedy   bool            `json:"greedy,omitempty"`
	Recorded Recorded        `json:"recorded"`
}

// Dropped is a field that is not sent again.
type Dropped struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// Recorded is what the server answered then.
type Recorded struct {
	Start            float64  `json:"start,omitempty"` // seconds since the epoch
	ElapsedSeconds   *float64 `json:"elapsed_seconds,omitempty"`
	Finished         bool     `json:"finished"`
	FinishReason     string   `json:"finish_reason,omitempty"`
	PromptTokens     *int64   `json:"prompt_tokens,omitempty"`
	CompletionTokens *int64   `json:"completion_tokens,omitempty"`
	CachedTokens     *int64   `json:"cached_tokens,omitempty"`
	TextChars        int      `json:"text_chars,omitempty"` // code points
	TextSHA256       string   `json:"text_sha256,omitempty"`
}
