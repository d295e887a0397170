package trace

import "iter"

// NameID stands for an interned string of a trace; see [Trace.Text]. 0 is "".
type NameID int32

// ThreadID is a row of [Trace.Threads].
type ThreadID int32

// ProcID is a row of [Trace.Procs].
type ProcID int32

// NoID says that an event carries no correlation or External id.
const NoID int64 = -1

// Category is what an event is, by its category text.
// Source of the list: pytorch/kineto libkineto/include/ActivityType.h@114171df
// and the 57 files counted in docs/profile-trace.md.
type Category uint8

// The categories that this package tells apart.
const (
	CatOther         Category = iota
	CatKernel                 // device kernel
	CatMemcpy                 // device copy
	CatMemset                 // device fill
	CatRuntime                // cuda_runtime: host call of CUDA's or HIP's runtime
	CatDriver                 // cuda_driver
	CatCPUOp                  // cpu_op
	CatFrame                  // python_function
	CatAnnotation             // user_annotation
	CatGPUAnnotation          // gpu_user_annotation
	CatSync                   // cuda_sync: a wait, never GPU work
	CatFlow                   // ac2g and its older names
	CatInstant                // ph i
	CatMeta                   // ph M
	CatForeign                // work of an accelerator that is not read as a GPU (mtia_…)
)

// Device reports whether events of this category are GPU work.
func (c Category) Device() bool { return c == CatKernel || c == CatMemcpy || c == CatMemset }

// Span is one complete event. Start and Dur are nanoseconds; Start counts from
// [Meta.BaseNS], so that spans of two ranks compare only after adding their bases.
type Span struct {
	Start, Dur int64
	Name       NameID
	Thread     ThreadID
}

// End is the first nanosecond after the span.
func (s Span) End() int64 { return s.Start + s.Dur }

// GPU is one piece of device activity.
type GPU struct {
	Span
	Cat    Category // CatKernel, CatMemcpy or CatMemset
	Corr   int64    // correlation; NoID without
	Ext    int64    // External id; NoID without
	Stream int64    // args.stream; the tid where that is absent. 0 is a stream like any other
	Device int32    // args.device; -1 without
	Args   Args
}

// Launch is one host call of the GPU's runtime or driver.
type Launch struct {
	Span
	Cat    Category // CatRuntime or CatDriver
	Corr   int64
	Ext    int64
	Kernel NameID // args.kernel: what ROCm says it launches; 0 without
	Args   Args
}

// Op is one cpu_op.
type Op struct {
	Span
	Ext  int64
	Args Args
}

// Frame is one Python frame (python_function).
type Frame struct{ Span }

// Annotation is one record_function range.
type Annotation struct {
	Span
	OnGPU bool // the projection of the range on the GPU's row (gpu_user_annotation)
	Ext   int64
}

// Sync is one cuda_sync row: a stretch in which the host or a stream waits.
type Sync struct {
	Span
	Corr, Stream int64
	Args         Args
}

// Process is one pid of the file.
type Process struct {
	PID   string // as text; numbers as they stand
	Name  string // process_name
	Label string // process_labels
	// Scope numbers the ranks of a merged file: correlation and External id
	// mean something only within one scope. 0 in files of one rank.
	Scope int32
}

// Thread is one (pid, tid) of the file.
type Thread struct {
	Proc ProcID
	TID  string
	Name string // thread_name
}

// Scope is one rank of the file.
type Scope struct {
	Label string // the prefix that the merger put before the pid ("TP00-DP01"), "" in files of one rank
}

// Args are the args object of one event, kept as text and parsed on demand: see
// [Trace.ArgText] and its neighbours. Equal objects are kept once. The zero Args
// is an event without.
type Args struct{ off, n uint32 }

// argBlock is the size of the blocks that hold args; one object lies within one block.
const argBlock = 256 << 10

func (t *Trace) argBytes(a Args) []byte {
	if a.n == 0 {
		return nil
	}
	at := a.off % argBlock
	return t.args[a.off/argBlock][at : at+a.n]
}

// Device is one entry of deviceProperties.
type Device struct {
	ID      int    `json:"id"`
	Name    string `json:"name"`
	Memory  int64  `json:"totalGlobalMem"` // bytes
	Major   int    `json:"computeMajor"`
	Minor   int    `json:"computeMinor"`
	NumSMs  int    `json:"numSms"`
	WarpLen int    `json:"warpSize"`
	// Read leniently: whatever else stands there is left.
}

// Distributed is distributedInfo. Rank is -1 when the file does not say.
type Distributed struct {
	Backend         string
	Rank, WorldSize int
}

// Meta is what stands beside traceEvents.
type Meta struct {
	BaseNS       int64 // baseTimeNanoseconds; 0 when times count from the epoch
	DisplayUnit  string
	Devices      []Device
	Distributed  Distributed
	TraceName    string
	Versions     map[string]string // cupti_version, hip_runtime_version, vllm_version, …
	WithStack    bool
	RecordShapes bool
	WithModules  bool
	ROCm         bool // hip_* or roctracer_* keys, or HIP calls
	Keys         []string
}

// Skip counts events that were left out for one reason.
type Skip struct {
	Reason string // "negative dur", "ts is not a number", …
	Count  int64
	Offset int64 // byte offset of the first, in the decompressed text
}

// Break says where reading stopped short: the file is cut, or not JSON from there.
type Break struct {
	Offset int64 // bytes of decompressed text that were read
	Reason string
}

// Trace is one profiler file: its events in tables by kind, in file order, and
// what it says about itself.
type Trace struct {
	Source string // path as given, "-" for stdin
	Bytes  int64  // decompressed
	Events int64  // entries of traceEvents, also those not kept in a table

	GPU         Table[GPU]
	Launches    Table[Launch]
	Ops         Table[Op]
	Frames      Table[Frame]
	Annotations Table[Annotation]
	Syncs       Table[Sync]

	Procs   []Process
	Threads []Thread
	Scopes  []Scope
	Meta    Meta

	Counts  []Count // by phase and category text, most first
	Skipped []Skip
	Break   *Break // nil: the file is whole

	names []string
	args  [][]byte // blocks of argBlock bytes
}

// Count is how many events have one phase and category.
type Count struct {
	Phase, Category string
	Events          int64
}

// Text is the string behind an id.
func (t *Trace) Text(id NameID) string { return t.names[id] }

// ScopeOf is the rank that a thread belongs to, a row of [Trace.Scopes].
func (t *Trace) ScopeOf(id ThreadID) int32 { return t.Procs[t.Threads[id].Proc].Scope }

const (
	blockBits = 14
	blockLen  = 1 << blockBits
)

// Table holds rows in blocks, so that it grows without copying.
type Table[T any] struct {
	blocks []*[blockLen]T
	n      int
}

// Len is the number of rows.
func (t *Table[T]) Len() int { return t.n }

// At is row i; it panics outside of [0, Len).
func (t *Table[T]) At(i int) *T { return &t.blocks[i>>blockBits][i&(blockLen-1)] }

// Append adds a row and returns it, zeroed, to be filled in.
func (t *Table[T]) Append() *T {
	if t.n == len(t.blocks)*blockLen {
		t.blocks = append(t.blocks, new([blockLen]T))
	}
	t.n++
	return t.At(t.n - 1)
}

// All goes over the rows in order.
func (t *Table[T]) All() iter.Seq2[int, *T] {
	return func(yield func(int, *T) bool) {
		for i := range t.n {
			if !yield(i, t.At(i)) {
				return
			}
		}
	}
}
