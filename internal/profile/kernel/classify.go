package kernel

import "strings"

// classes lists every class with its group of the overlap table. Source: the
// rules behind the reference figures (norms, rotary embedding, sampling and the
// like are short passes over memory that a fusion removes: elementwise).
var classes = map[Class]Group{
	GEMM: GroupCompute, Attention: GroupCompute, MoE: GroupCompute, Conv: GroupCompute, HybridLinear: GroupCompute,
	Communication: GroupCommunication,
	Memory:        GroupMemory, KVCache: GroupMemory,
	Norm: GroupElementwise, RoPE: GroupElementwise, Softmax: GroupElementwise, Activation: GroupElementwise, Quantize: GroupElementwise,
	ReduceTopK: GroupElementwise, SamplingIO: GroupElementwise, Elementwise: GroupElementwise,
	Other: GroupOther,
}

func known(c Class) bool { _, ok := classes[c]; return ok }

// Group is the class as the overlap table tells them apart; unknown classes are
// [GroupOther].
func (c Class) Group() Group {
	if g, ok := classes[c]; ok {
		return g
	}
	return GroupOther
}

// classify returns the class of a canonical name, and the rule that decided (-1:
// none, or the operators of a generated name).
func classify(canonical string) (Class, int) {
	if kind, ops, ok := inductor(canonical); ok {
		return inductorClass(kind, ops), -1
	}
	text := plain(canonical)
	for i, rule := range rules() {
		for j := range rule.Terms {
			if rule.Terms[j].claims(text) {
				return rule.Class, i
			}
		}
	}
	return Other, -1
}

// inductorTerms decide the class of a kernel that Inductor generated, by the
// operators in its name; the first line that matches decides. Form of the names:
// pytorch/pytorch torch/_inductor/codegen/triton.py and select_algorithm.py,
// looked at in November 2026.
var inductorTerms = []struct {
	class Class
	terms []string
}{
	{Softmax, []string{"softmax"}},
	{Norm, []string{"rsqrt", "norm_"}},
	{Activation, []string{"silu", "gelu", "relu", "sigmoid", "swiglu"}},
	{MoE, []string{"moe"}},
	{Quantize, []string{"quant", "float8"}},
	{ReduceTopK, []string{"argmax", "topk", "sort", "cumsum"}},
}

func inductorClass(kind, ops string) Class {
	ops = strings.ToLower(ops)
	if kind == "tem" || kind == "mm" || kind == "bmm" {
		if strings.Contains(ops, "attention") || strings.Contains(ops, "sdpa") {
			return Attention
		}
		return GEMM
	}
	for _, line := range inductorTerms {
		for _, term := range line.terms {
			if strings.Contains(ops+"_", term) {
				return line.class
			}
		}
	}
	return Elementwise
}

// inductor takes a generated name apart: triton_<kind>_fused_<operators>_<n>.
func inductor(name string) (kind, ops string, ok bool) {
	rest, ok := strings.CutPrefix(name, "triton_")
	if !ok {
		return "", "", false
	}
	kind, rest, _ = strings.Cut(rest, "_")
	if _, ok := inductorKinds[kind]; !ok {
		return "", "", false
	}
	rest, fused := strings.CutPrefix(rest, "fused_")
	end := strings.LastIndexByte(rest, '_')
	number := strings.TrimLeft(rest[end+1:], "0123456789") == "" && rest[end+1:] != ""
	if !fused && !(number && end < 0) { // triton_mm_persistent_kernel is somebody's own
		return "", "", false
	}
	if number {
		rest = rest[:max(end, 0)]
	}
	return kind, rest, true
}

// plain is the form of a name in which terms are looked for: without data types
// (two kernels that differ by type alone do the same work), CamelCase parted by
// underscores, lower case.
func plain(canonical string) string {
	out := make([]byte, 0, len(canonical)+len(canonical)/8)
	for i := 0; i < len(canonical); {
		if !wordByte(canonical[i]) {
			out = append(out, canonical[i])
			i++
			continue
		}
		end := i
		for end < len(canonical) && (wordByte(canonical[end]) || canonical[end] == ':' && partOfPath(canonical, end)) {
			end++
		}
		word := strings.TrimPrefix(canonical[i:end], "fbgemm_gpu::")
		if !dataType(word) {
			out = appendSnake(out, word)
		}
		i = end
	}
	return string(out)
}

// partOfPath reports whether the colon at i belongs to a :: between two words.
func partOfPath(s string, i int) bool {
	if i > 0 && s[i-1] == ':' {
		return i+1 < len(s) && wordByte(s[i+1])
	}
	return i+2 < len(s) && s[i+1] == ':' && wordByte(s[i+2])
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// dataType reports whether a qualified word names the type of a value. Sources:
// c10/util, aten/src/ATen/core, cutlass/numeric_types.h, cuda_fp8.h, hip_fp8.h,
// ck_tile/core/numeric, csrc/quantization types of serving engines; November 2026.
func dataType(word string) bool {
	last := word[strings.LastIndexByte(word, ':')+1:]
	switch {
	case strings.HasPrefix(word, "c10::"), strings.HasPrefix(word, "__nv_"), strings.HasPrefix(word, "__hip_"):
		return true
	case strings.HasPrefix(word, "at::") && strings.Count(word, "::") == 1:
		return strings.Contains(last, "Tensor")
	case strings.HasPrefix(word, "cutlass::"), strings.HasPrefix(word, "cute::"), strings.HasPrefix(word, "ck_tile::"), strings.HasPrefix(word, "ck::"), strings.HasPrefix(word, "std::"):
		return strings.HasSuffix(last, "_t")
	case strings.HasSuffix(last, "KVCacheDataType"):
		return true
	}
	return strings.HasPrefix(last, "Float8_") || strings.HasPrefix(last, "nv_bfloat") || strings.HasPrefix(last, "hip_bfloat") || strings.HasPrefix(last, "hip_fp8")
}

// appendSnake writes a word in lower case with its CamelCase parted. A2A, short
// for all to all, stays whole.
func appendSnake(out []byte, word string) []byte {
	for i := 0; i < len(word); i++ {
		c := word[i]
		if !upper(c) {
			out = append(out, c)
			continue
		}
		if i > 0 {
			prev := word[i-1]
			a2a := c == 'A' && i > 1 && word[i-2:i] == "A2"
			wordEnds := (letter(prev) || digit(prev)) && !a2a
			acronymEnds := upper(prev) && i+1 < len(word) && letter(word[i+1])
			if wordEnds || acronymEnds {
				out = append(out, '_')
			}
		}
		out = append(out, c+'a'-'A')
	}
	return out
}

func upper(c byte) bool { return c >= 'A' && c <= 'Z' }
