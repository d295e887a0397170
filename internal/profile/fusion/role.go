package fusion

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"llmdyno/internal/profile/kernel"
)

// A Role is what a kernel does in the split form of a fusion.
type Role struct {
	Role string `yaml:"role" json:"role"`
	// Words narrow it down: one of them must stand in the kernel's name or in the
	// name of its operator.
	Words []string `yaml:"words" json:"words,omitempty"`
}

// UnmarshalYAML reads a role that is written as its name alone.
func (r *Role) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		r.Role = n.Value
		return nil
	}
	type plain Role
	return n.Decode((*plain)(r))
}

// barriers are the classes between which kernels can be fused: they cut a stream
// into segments. Source: rule R12 of the reference figures.
var barriers = []kernel.Class{kernel.GEMM, kernel.Attention, kernel.MoE, kernel.Communication, kernel.Conv, kernel.HybridLinear}

func barrier(c kernel.Class) bool { return slices.Contains(barriers, c) }

// roleKind is how a role is told: by the class of the kernel and a test.
type roleKind struct {
	classes []kernel.Class
	barrier bool // it ends a segment
	test    func(*identity) bool
}

// Names of the roles that need more than a class.
const (
	roleResidualNorm  = "residual_norm"
	roleActivationMul = "activation_mul"
	roleQKNorm        = "qk_norm"
	roleSelect        = "softmax_or_topk"
	roleRouter        = "moe_gate"
	roleRopeStore     = "rope_kv_store"
	roleReduceNorm    = "all_reduce_norm"
)

// activeRoles prove a fusion by themselves: the kernel does two works in one.
var activeRoles = []string{roleResidualNorm, roleActivationMul, roleRopeStore, roleReduceNorm}

// roles are those that a catalog can name. Every class is a role; the others are
// here. Source: the table of roles of rule R12.
var roles = func() map[string]roleKind {
	m := map[string]roleKind{
		roleResidualNorm:  {classes: []kernel.Class{kernel.Norm}, test: (*identity).residualNorm},
		roleQKNorm:        {classes: []kernel.Class{kernel.Norm}, test: func(k *identity) bool { return !k.residualNorm() }},
		roleActivationMul: {classes: []kernel.Class{kernel.Activation}, test: (*identity).activationMul},
		roleRopeStore:     {classes: []kernel.Class{kernel.RoPE}, test: (*identity).ropeStore},
		roleReduceNorm:    {classes: []kernel.Class{kernel.Communication}, barrier: true, test: (*identity).reduceNorm},
		roleSelect:        {classes: []kernel.Class{kernel.Softmax, kernel.ReduceTopK}},
		roleRouter:        {classes: []kernel.Class{kernel.GEMM}, barrier: true},
		"all_reduce":      {classes: []kernel.Class{kernel.Communication}, barrier: true, test: func(k *identity) bool { return anyIn(reduceWords, k.name, k.op) }},
	}
	for _, c := range []kernel.Class{
		kernel.Norm, kernel.RoPE, kernel.KVCache, kernel.Quantize, kernel.Activation, kernel.Memory, kernel.Softmax, kernel.Elementwise,
		kernel.ReduceTopK, kernel.SamplingIO, kernel.Communication, kernel.Attention, kernel.GEMM, kernel.MoE, kernel.Conv, kernel.HybridLinear,
	} {
		m[string(c)] = roleKind{classes: []kernel.Class{c}, barrier: barrier(c)}
	}
	return m
}()

func roleNames() string {
	var names []string
	for name := range roles {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// reduceWords tell an all-reduce among the collectives: of NCCL and RCCL, the
// engines' own, and those of symmetric memory.
var reduceWords = compileAll([]string{"all_reduce", "cross_device_reduce", "quick_reduce", "quickreduce", "two_shot_all_reduce", "multimem_all_reduce"})

// identity is what a kernel shows of itself.
type identity struct {
	canonical string
	class     kernel.Class
	name, op  text
	copied    bool // a copy or fill by the device's own means, no kernel
}

// residualWords are in names of kernels and operators that add the residual and
// normalise. An operator add_rmsnorm does; a kernel of that name (AITER's) only
// with the template argument that says so.
var (
	residualWords   = compileAll([]string{"fused_add_rms", "fused_add_rms_norm", "fused_add_layer_norm", "npu_add_rms_norm", "add_rmsnorm_bias"})
	residualOpWords = compileAll([]string{"add_rmsnorm"})
	aiterAddNorm    = "add_rmsnorm_quant_kernel<"
)

// residualNorm reports whether a norm also adds the residual.
func (k *identity) residualNorm() bool {
	if k.class != kernel.Norm {
		return false
	}
	if anyIn(residualWords, k.name, k.op) || anyIn(residualOpWords, k.op) {
		return true
	}
	// ROCm/aiter csrc/kernels/rmsnorm_quant_kernels.cu: the fifth argument is
	// ADD_RESIDUAL by the call sites seen (72 true of 2 × 36 layers, 72 false for
	// the norms of Q and K).
	if at := strings.Index(k.canonical, aiterAddNorm); at >= 0 {
		args := arguments(k.canonical[at+len(aiterAddNorm):])
		return len(args) >= 5 && args[4] == "true"
	}
	// ROCm/composable_kernel Rmsnorm2dFusedAddEnum: 1 adds and stores, 2 adds.
	return strings.Contains(k.canonical, "Rmsnorm2dFusedAddEnum)1") || strings.Contains(k.canonical, "Rmsnorm2dFusedAddEnum)2")
}

var actMulWords = compileAll([]string{"act_and_mul", "silu_and_mul", "gelu_and_mul", "gelu_tanh_and_mul"})

// activationMul reports whether an activation also multiplies with the gate.
func (k *identity) activationMul() bool {
	return k.class == kernel.Activation && anyIn(actMulWords, k.name, k.op)
}

var (
	reduceNormWords = compileAll([]string{"allreduce_fusion_kernel"})
	reduceOnly      = "AllReduceFusionPattern)0"
)

// reduceNorm reports whether a collective normalises as well. Source:
// NVIDIA/TensorRT-LLM cpp/tensorrt_llm/kernels/communicationKernels/allReduceFusionKernels.h
// and flashinfer-ai/flashinfer include/flashinfer/comm/trtllm_allreduce_fusion.cuh:
// pattern 0 reduces only; November 2026.
func (k *identity) reduceNorm() bool {
	return anyIn(reduceNormWords, k.name) && !strings.Contains(k.canonical, reduceOnly)
}

var ropeStoreWords = compileAll([]string{"BatchQKApplyRotaryPosIdsCosSinCacheEnhanced"})

// ropeStore reports whether a rotary kernel writes the cache as well. Source:
// sgl-project/sglang sgl-kernel/csrc/elementwise/pos_enc.cuh: the first template
// argument is save_kv_cache; November 2026.
func (k *identity) ropeStore() bool {
	if !anyIn(ropeStoreWords, k.name) {
		return false
	}
	_, list, found := strings.Cut(k.canonical, "<")
	args := arguments(list)
	return found && len(args) > 0 && args[0] == "true"
}

// arguments are the template arguments that begin at s, up to the closing
// bracket.
func arguments(s string) []string {
	var out []string
	depth, start := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '<', '(':
			depth++
		case '>', ')':
			if depth == 0 {
				return append(out, strings.TrimSpace(s[start:i]))
			}
			depth--
		case ',':
			if depth == 0 {
				out = append(out, strings.TrimSpace(s[start:i]))
				start = i + 1
			}
		}
	}
	return out
}

// plays reports whether a kernel plays a role.
func (r *compiledRole) plays(k *identity) bool {
	if !slices.Contains(r.kind.classes, k.class) || r.kind.test != nil && !r.kind.test(k) {
		return false
	}
	return len(r.words) == 0 || anyIn(r.words, k.name, k.op)
}

type compiledRole struct {
	name  string
	kind  roleKind
	words []word
	slot  int // of traits.plays
}
