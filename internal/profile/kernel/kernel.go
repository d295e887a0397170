package kernel

// Class is the kind of work that a kernel does.
type Class string

// The classes.
const (
	Communication Class = "communication"
	Attention     Class = "attention"
	HybridLinear  Class = "hybrid_linear"
	MoE           Class = "moe"
	KVCache       Class = "kv_cache"
	Conv          Class = "conv"
	GEMM          Class = "gemm"
	Norm          Class = "norm"
	RoPE          Class = "rope"
	Softmax       Class = "softmax"
	Activation    Class = "activation"
	Quantize      Class = "quantize"
	SamplingIO    Class = "sampling_io"
	ReduceTopK    Class = "reduce_topk"
	Memory        Class = "memory"
	Elementwise   Class = "elementwise"
	Other         Class = "other"
)

// Group is what the overlap table tells apart.
type Group string

// The groups, and which classes they hold: see [Class.Group].
const (
	GroupCompute       Group = "compute"
	GroupCommunication Group = "communication"
	GroupMemory        Group = "memory"
	GroupElementwise   Group = "elementwise"
	GroupOther         Group = "other"
)

// Name is one kernel name, read once.
type Name struct {
	Raw       string // as in the trace
	Canonical string // demangled, white space and addresses made uniform, parameters cut: rows are grouped by it
	Short     string // without namespaces' and templates' bulk, for narrow tables
	Class     Class
}
