package engine

import "regexp"

// TraceMarks is how an engine shows in a profiler trace: where its source lies,
// what it writes around a forward pass, and which names give it away. The zero
// value belongs to an engine that leaves no such traces.
type TraceMarks struct {
	// Folders are the source folders of the engine, as they stand in the path of
	// a Python frame, with a slash at the end. Of two that fit one place the
	// longer one counts ("python/x/" before "x/").
	Folders []SourceFolder
	// LowSignal are parts of a frame's text ("path:line function") that forward
	// a call without saying what it is for: wrappers, graph runners.
	LowSignal []string

	// Step reads the annotation that the engine puts around one forward pass;
	// false when the text is no such mark. nil: the engine writes none.
	Step func(label string) (StepMark, bool)
	// Labels are marks as the engine writes them, old and new ones, with what
	// they mean.
	Labels []StepLabel

	Metadata  []string // keys beside traceEvents that only this engine writes
	Processes []string // what its process names begin with, in any case
	// Settings are keys of saved server arguments that only this engine has.
	Settings []string
	// Models are keys of saved server arguments that name the model.
	Models []string

	// Unfit are lines of a server log that say that the engine did not run its
	// own kernels: what a trace beside such a log shows is not the engine.
	Unfit []UnfitRun

	Source Source
}

// SourceFolder is a source folder with its rank among the frames of a stack:
// the frame with the highest rank is where a launch is said to come from.
type SourceFolder struct {
	Path string
	Rank int
}

// StepKind is the work that a forward pass does: a stage, or "" when the mark
// does not tell one.
type StepKind string

// The kinds of forward passes that marks tell apart.
const (
	StepPrefill StepKind = "prefill"
	StepDecode  StepKind = "decode"
	StepMixed   StepKind = "mixed"
)

// StepMark is what a mark says of its forward pass. Counts are 0 where it does
// not say.
type StepMark struct {
	Kind                                StepKind
	ContextRequests, GenerationRequests int
	ContextTokens, GenerationTokens     int
}

// KindOf tells the kind from the requests of each kind in a batch.
func KindOf(context, generation int) StepKind {
	switch {
	case context > 0 && generation > 0:
		return StepMixed
	case context > 0:
		return StepPrefill
	case generation > 0:
		return StepDecode
	}
	return ""
}

// StepLabel is an example of a mark, or of a text that only looks like one
// (Is false).
type StepLabel struct {
	Text string
	Is   bool
	Mark StepMark
}

// UnfitRun is one line of a server log with what follows from it.
type UnfitRun struct {
	Pattern *regexp.Regexp
	Example string // a line that matches
	Reason  string
	Source  Source
}
