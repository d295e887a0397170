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

// Stages are the stages in the order of tables.
func Stages() []Stage { return []Stage{Prefill, Decode, Mixed, All} }

// Work is one piece of device activity, resolved.
type Work struct {
	Row    int32 // row of Trace.GPU
	Start  int64 // ns, as in the trace
	Dur    int64 // ns, > 0
	Stream int32 // row of Timeline.Streams
	Name   int32 // row of Timeline.Names
	Stage  Stage
	Site   int32 // row of Timeline.Sites; -1: no frame to resolve to
	Op     int32 // row of Timeline.Ops: CPU operator, or the API call where there is none; 0 without
	Launch int32 // row of Trace.Launches; -1: no launch record
	Step   int32 // row of Timeline.Steps; -1: outside of every step mark
	Graph  bool  // started by a graph launch
	// Residue is work that was launched before recording began: an unlinked
	// prefix of its stream.
	Residue bool
	// Mapped: Site and Op come from the mapping trace.
	Mapped bool
}

// End is the first nanosecond after the work.
func (w Work) End() int64 { return w.Start + w.Dur }

// Stream is one ordered queue of GPU work.
type Stream struct {
	Proc   trace.ProcID // GPU process row
	Number int64
}

// Site is a place in Python source that launches kernels, with one way that
// leads there: two sites may have one Location and different Stacks.
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
	Trace  *trace.Trace
	Engine string // id of the engine whose source was found; "unknown" without
	// Evidence says what Engine was told by, the deciding sentence first.
	Evidence []string
	Proc     trace.ProcID // GPU process; -1 when the trace has no GPU activity
	Scope    int32        // row of Trace.Scopes
	Works    []Work       // by start, then file order
	Streams  []Stream
	Names    []kernel.Name // distinct raw names
	Sites    []Site
	Ops      []string // Ops[0] is "": no operator known
	Steps    []Step
	// Files are source files that the trace gives for generated kernels, by row
	// of Names.
	Files map[int32]string
	// FLOP is the arithmetic of each of Works as far as recorded shapes tell it,
	// 0 for the others; nil when they tell of none.
	FLOP []float64
	// Mapped says how graph-launched work got its sources; nil without a mapping trace.
	Mapped *MappingUse
	// Unlinked: External ids of GPU work are another number space than those of
	// the operators, so that they link nothing.
	Unlinked bool
	// InvalidLinks counts work whose External id names an operator that does not
	// enclose the launch.
	InvalidLinks int
}

// Location is where a piece of work was launched; "unresolved" without.
func (tl *Timeline) Location(w *Work) string {
	if w.Site < 0 {
		return Unresolved
	}
	return tl.Sites[w.Site].Location
}

func (tl *Timeline) flop(work int) float64 {
	if tl.FLOP == nil {
		return 0
	}
	return tl.FLOP[work]
}

// Unresolved stands in place of a location where there is no frame to resolve to.
const Unresolved = "unresolved"

// PID is the GPU process as the trace writes it.
func (tl *Timeline) PID() string { return tl.Trace.Procs[tl.Proc].PID }
