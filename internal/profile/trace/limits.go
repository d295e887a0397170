package trace

import "fmt"

// Options say what to keep and how much to accept. The zero value keeps what the
// tables need and accepts what real profilers write.
type Options struct {
	// Args chooses what of each event's args stays readable by [Trace.Arg].
	Args ArgPolicy
	// MaxBytes of decompressed text are read at most; 0 is 32 GiB. More is an error.
	MaxBytes int64
	// MaxEvents is the most entries of traceEvents; 0 is 64 million, about 18 GB of
	// text. It bounds the memory of small files that say the same again and again.
	MaxEvents int64
	// MaxWork is the most pieces of GPU work; 0 is 4 million. Resolving one into
	// tables takes about 500 bytes.
	MaxWork int
	// MaxNames is the most distinct strings; 0 is 8 million.
	MaxNames int
	// MaxText is the most bytes of distinct strings and of kept args, each; 0 is 1 GiB.
	MaxText int64

	// What only tests change.
	block int // bytes read at a time
	hard  hardLimits
}

// ArgPolicy is how much of the args of GPU work, launches, operators and waits is kept.
type ArgPolicy uint8

// The policies. What stands in a column (correlation, External id, stream, …) is
// kept in any case.
const (
	// ArgsUseful drops what is different in every event and says nothing of the
	// work (record numbers, pointers): equal args are then kept once.
	ArgsUseful ArgPolicy = iota
	// ArgsNone keeps none.
	ArgsNone
	// ArgsAll keeps every member.
	ArgsAll
)

// What no option changes.
const (
	maxDepth       = 1000 // nesting within one value
	maxKeys        = 4096 // metadata keys
	maxCategories  = 1024 // distinct category texts that are counted apart
	maxSkipReasons = 64
)

// hardLimits bound what one piece of text may take; tests make them small.
type hardLimits struct {
	event  int   // bytes of one event
	meta   int   // bytes of one metadata value that is read
	pass   int64 // bytes of one value that is passed over
	blank  int   // bytes of white space in one place
	resync int64 // bytes without an event after a malformed one
}

var defaultLimits = hardLimits{event: 64 << 20, meta: 64 << 20, pass: 512 << 20, blank: 64 << 20, resync: 64 << 20}

func (o Options) withDefaults() Options {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 32 << 30
	}
	if o.MaxEvents <= 0 {
		o.MaxEvents = 64e6
	}
	if o.MaxWork <= 0 {
		o.MaxWork = 4e6
	}
	if o.MaxNames <= 0 {
		o.MaxNames = 8 << 20
	}
	if o.MaxText <= 0 || o.MaxText > 4<<30-1 {
		o.MaxText = 1 << 30
	}
	if o.hard == (hardLimits{}) {
		o.hard = defaultLimits
	}
	return o
}

// LimitError refuses an input that is larger than asked for.
type LimitError struct {
	Source string
	What   string // "decompressed bytes", "events", …
	Limit  int64
	Offset int64 // bytes of decompressed text read before
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: more than %d %s (at byte %d of the decompressed text); if this is a real trace, record fewer steps", e.Source, e.Limit, e.What, e.Offset)
}

// NotTraceError is a readable file that is no profiler trace.
type NotTraceError struct {
	Source string
	Found  string // what stands there instead
}

func (e *NotTraceError) Error() string {
	return fmt.Sprintf("%s is not a profiler trace: %s; expected Chrome-trace JSON as torch.profiler writes it, an object with a traceEvents array (plain, gzip or zstd)", e.Source, e.Found)
}
