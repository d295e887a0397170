package attrib

import (
	"llmdyno/internal/profile/kernel"
	"llmdyno/internal/profile/trace"
)

// Stage is where in serving GPU work belongs.
type Stage string

// The stages. All is what no mark, path or launch tells apart; it is shown as
// such and never dropped.
const (
	Prefill Stage = "prefill"
	Decode  Stage = "decode"
	Mixed   Stage = "mixed"
	All     Stage = "all"
)

// Work is one piece of device activity, resolved.
type Work struct {
	Row    int32 // row of Trace.GPU
	Start  int64 // ns, as in the trace
	Dur    int64 // ns, > 0
	Stream int32 // row of Timeline.Streams
	Name   int32 // row of Timeline.Names
	Stage  Stage
	Site   int32        // row of Timeline.Sites; -1: no frame to resolve to
	Op     trace.NameID // CPU operator, or the API call where there is none; 0 without
	Launch int32        // row of Trace.Launches; -1: no launch record
	Step   int32        // row of Timeline.Steps; -1: outside of every step mark
	Graph  bool         // started by a graph launch
	// Residue is work that was launched before recording began: an unlinked
	// prefix of its stream.
	Residue bool
}

// End is the first nanosecond after the work.
func (w Work) End() int64 { return w.Start + w.Dur }

// Stream is one ordered queue of GPU work.
type Stream struct {
	Proc   trace.ProcID // GPU process row
	Number int64
}

// Site is a place in Python source that launches kernels.
type Site struct {
	Location string   // path:line function, path as the report shows it
	Path     string   // without line and function: two sites of one file have equal paths
	Stack    []string // frames from the outermost kept one to the site, same form as Location
}

// Step is one forward pass, by its annotation.
type Step struct {
	Label      string // as in the trace
	Stage      Stage
	Start, End int64 // ns, of the CPU annotation, or of the GPU one where that is all there is
	// Requests and Tokens are what the mark says of the batch; 0 where it does not.
	ContextRequests, GenerationRequests int
	ContextTokens, GenerationTokens     int
}

// Timeline is the GPU work of one device in one trace, each piece with its
// stage, name, launch and source.
type Timeline struct {
	Trace   *trace.Trace
	Engine  string       // id of the engine whose marks were found; "unknown" without
	Proc    trace.ProcID // GPU process
	Works   []Work       // by start, then file order
	Streams []Stream
	Names   []kernel.Name // distinct raw names
	Sites   []Site
	Steps   []Step
	// Mapped says how graph-launched work got its sources; "" without a mapping trace.
	Mapped string
}
