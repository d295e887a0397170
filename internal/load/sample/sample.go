// Package sample holds the record of one request and its file format,
// samples.jsonl.zst: a header line with the schema name and version, then one
// line a request.
//
//	load  →  Record  →  samples.jsonl.zst  →  Record  →  metric
//
// Instants are monotonic nanoseconds since the trial began; every latency is
// derived from them later, so that a new definition can be applied to an old
// file. An instant that did not happen is [Never].
package sample

import "slices"

// Schema names the file format; its major version changes when an old reader
// would misread a new file.
const (
	Schema        = "llmdyno.samples"
	SchemaVersion = 1
)

// Never marks an instant that did not happen.
const Never int64 = -1

// Class is why a request failed; "" means that it succeeded.
type Class string

// The classes of failed requests.
const (
	ClassOK        Class = ""
	ClassConnect   Class = "connect"     // no connection: refused, DNS, TLS
	ClassReset     Class = "reset"       // connection lost before or within the reply
	ClassTimeout   Class = "timeout"     // per-request bound passed
	ClassAuth      Class = "auth"        // 401, 403
	ClassStatus    Class = "http_status" // any other non-200 status
	ClassInBand    Class = "in_band"     // error event within a 200 stream
	ClassTruncated Class = "truncated"   // stream ended without finish reason or [DONE]
	ClassMalformed Class = "malformed"   // an event could not be decoded
	ClassEmpty     Class = "empty"       // stream ended well, without a single token
	ClassDropped   Class = "dropped"     // an arrival that was never sent
	ClassCancelled Class = "cancelled"   // the run was interrupted while it was in flight
)

// TokenSource says who counted the output tokens.
type TokenSource string

// The sources of token counts.
const (
	TokensUsage     TokenSource = "usage"     // the server's own count
	TokensServer    TokenSource = "tokenize"  // counted afterwards by the server's own tokenizer
	TokensTokenizer TokenSource = "tokenizer" // counted afterwards by a tokenizer on this machine
	TokensEvents    TokenSource = "events"    // number of content events: a lower bound
	TokensNone      TokenSource = ""
)

// Event is one content-bearing event of a stream.
type Event struct {
	At     int64 `json:"at_ns"`
	Bytes  int32 `json:"bytes"`            // size of the event's data
	Text   int32 `json:"text_bytes"`       // bytes of new text in it
	Tokens int32 `json:"tokens,omitempty"` // output tokens so far; 0 = not told
	// LagUs is how long the event lay in the kernel before the client read it,
	// in µs, at most 65,535; At does not hold it. 0 where Kernel is false.
	LagUs uint16 `json:"lag_us,omitempty"`
	// Shared: the read that brought this event brought other content events
	// too, so At is an upper bound.
	Shared bool `json:"shared,omitempty"`
	// Kernel: At is when the kernel received the event's last segment; otherwise
	// when the client had read it.
	Kernel bool `json:"kernel,omitempty"`
}

// Record is everything that is kept of one request.
type Record struct {
	Index  int   `json:"index"`    // position in the workload, from 0
	Sched  int64 `json:"sched_ns"` // the arrival
	Begin  int64 `json:"begin_ns"` // the client took it up and asked for a connection, after any wait for a slot
	Send   int64 `json:"send_ns"`  // just before the first byte; Begin, where no connection came about
	Conn   int64 `json:"conn_ns"`  // connection ready; Never = reused without a wait
	Header int64 `json:"headers_ns"`

	FirstChoices int64 `json:"first_choices_ns"`
	FirstText    int64 `json:"first_text_ns"`
	LastText     int64 `json:"last_text_ns"`
	// The first event of each kind of content; Never = none came.
	FirstReasoning int64 `json:"first_reasoning_ns"`
	FirstVisible   int64 `json:"first_visible_ns"` // of text that a user sees
	FirstTool      int64 `json:"first_tool_ns"`    // of tool-call arguments
	LastChoices    int64 `json:"last_choices_ns"`
	UsageAt        int64 `json:"usage_ns"`
	Done           int64 `json:"done_ns"`

	InputTokens  int         `json:"input_tokens"`  // 0 = unknown
	OutputTokens int         `json:"output_tokens"` // 0 = none or unknown
	CachedTokens int         `json:"cached_tokens"` // -1 = not told
	TokensBy     TokenSource `json:"tokens_by,omitempty"`
	WantInput    int         `json:"want_input_tokens"`
	WantOutput   int         `json:"want_output_tokens"`
	// IgnoreEOS: exactly WantOutput tokens were asked for.
	IgnoreEOS bool `json:"ignore_eos,omitempty"`

	Status     int    `json:"status,omitempty"` // HTTP status
	Finish     string `json:"finish,omitempty"`
	Class      Class  `json:"class,omitempty"`
	Error      string `json:"error,omitempty"` // redacted, one line
	ConnReused bool   `json:"conn_reused,omitempty"`
	// StaleRetry: the first attempt died on a kept-alive connection that the
	// server had already closed; Send is that of the attempt that counts.
	StaleRetry bool   `json:"stale_retry,omitempty"`
	RequestID  string `json:"request_id"` // sent as X-Request-Id
	Warmup     bool   `json:"warmup,omitempty"`

	Events []Event `json:"events,omitempty"`

	// KeepText is the most bytes of generated text that the client keeps in Text,
	// so that it can be counted where the server sends no count; 0 = none. Text is
	// all content in the order in which it came, or nil when the server counted, or
	// when it was longer. It never reaches a file.
	KeepText int `json:"-"`
	// KeepCounted: Text is kept although the server counted.
	KeepCounted bool   `json:"-"`
	Text        []byte `json:"-"`
}

// OK says whether the request succeeded.
func (r *Record) OK() bool { return r.Class == ClassOK }

// PeakInFlight is the most requests in flight at once, each in the half-open
// interval [send, done).
func PeakInFlight(records []Record) int {
	var starts, ends []int64
	for i := range records {
		if rec := &records[i]; rec.Send != Never && rec.Done > rec.Send {
			starts, ends = append(starts, rec.Send), append(ends, rec.Done)
		}
	}
	return Peak(starts, ends)
}

// Peak is the most half-open intervals that overlap, by a sweep over their starts
// and ends, which it sorts. There are as many ends as starts, each after its start.
func Peak(starts, ends []int64) int {
	slices.Sort(starts)
	slices.Sort(ends)
	peak, ended := 0, 0
	for i, at := range starts {
		for ends[ended] <= at {
			ended++
		}
		peak = max(peak, i+1-ended)
	}
	return peak
}
