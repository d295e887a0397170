package kernel

import "strings"

// short is a canonical name for narrow tables: no return type, no namespaces, no
// template arguments. Of a kernel that is only a frame around what it is given
// (PyTorch's elementwise kernels, CUTLASS's entry points) the argument that says
// what it does is kept: vectorized_elementwise_kernel<CUDAFunctor_add>.
func short(canonical string) string {
	if text, ok := shortTensile(canonical); ok {
		return text
	}
	bare := withoutArguments(canonical)
	base := lastPart(bare)
	if base == "" {
		return canonical
	}
	if frames[base] {
		if inner := tellingArgument(canonical); inner != "" {
			return base + "<" + inner + ">"
		}
	}
	return base
}

// frames are kernels whose template argument holds the work. Sources:
// pytorch/pytorch aten/src/ATen/native/cuda, NVIDIA/cutlass
// include/cutlass/device_kernel.h, ROCm/composable_kernel include/ck_tile/host;
// November 2026.
var frames = map[string]bool{
	"vectorized_elementwise_kernel": true, "unrolled_elementwise_kernel": true, "elementwise_kernel": true, "elementwise_kernel_with_index": true,
	"unrolled_elementwise_kernel_for_multi_outputs": true, "vectorized_templated_elementwise_kernel": true, "index_elementwise_kernel": true,
	"elementwise_kernel_manual_unroll": true, "legacy_elementwise_kernel": true,
	"reduce_kernel": true, "multi_tensor_apply_kernel": true, "device_kernel": true, "Kernel": true, "Kernel2": true, "kentry": true,
	"_kernel_agent": true, "distribution_elementwise_grid_stride_kernel": true,
}

// wrappers are words inside such an argument that say nothing of the work.
var wrappers = map[string]bool{
	"gpu_kernel_impl": true, "gpu_kernel_impl_nocast": true, "opmath_gpu_kernel_with_scalars": true, "gpu_kernel_with_index": true,
	"BinaryFunctor": true, "BUnaryFunctor": true, "AUnaryFunctor": true, "ReduceOp": true, "func_wrapper_t": true, "TensorListMetadata": true,
	"FusedOptimizerTensorListMetadata": true, "TensorListScalarListMetadata": true, "anonymous": true, "namespace": true,
	"enable_sm90": true, "enable_sm90_or_later": true, "enable_sm80_to_sm89": true, "enable_sm100": true,
	"float": true, "double": true, "int": true, "long": true, "short": true, "char": true, "unsigned": true, "signed": true, "bool": true, "void": true,
	"const": true, "true": true, "false": true, "array": true, "__half": true, "half": true, "lambda": true,
}

// tellingArgument is the first word of the template arguments that is neither a
// namespace nor a type nor a wrapper.
func tellingArgument(canonical string) string {
	open := strings.IndexByte(canonical, '<')
	for i := open + 1; open >= 0 && i < len(canonical); {
		if !wordByte(canonical[i]) {
			i++
			continue
		}
		start := i
		for i < len(canonical) && wordByte(canonical[i]) {
			i++
		}
		word := canonical[start:i]
		namespace := strings.HasPrefix(canonical[i:], "::") && !strings.HasPrefix(canonical[i:], "::{") && !strings.HasPrefix(canonical[i:], "::operator")
		path := canonical[pathStart(canonical, start):i]
		if namespace || wrappers[word] || digit(word[0]) || dataType(path) {
			continue
		}
		return word
	}
	return ""
}

// pathStart is where the qualified word whose last part starts at i begins.
func pathStart(s string, i int) int {
	for i >= 2 && s[i-1] == ':' && s[i-2] == ':' {
		j := i - 2
		for j > 0 && wordByte(s[j-1]) {
			j--
		}
		if j == i-2 {
			break
		}
		i = j
	}
	return i
}

// withoutArguments drops everything in angle brackets. The < and > of operators
// (operator<, ->) are no brackets.
func withoutArguments(name string) string {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '<' && !strings.HasSuffix(name[:i], "operator"):
			depth++
		case c == '>' && depth > 0 && name[i-1] != '-':
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	if depth != 0 { // cut short somewhere: brackets can't be trusted
		return name
	}
	return b.String()
}

// lastPart is the function's own name: what follows the last :: and the return
// type.
func lastPart(name string) string {
	name = strings.ReplaceAll(name, "(anonymous namespace)::", "")
	if cut := strings.Index(name, "::{lambda"); cut > 0 {
		name = name[:cut]
	}
	if cut := strings.LastIndex(name, "::"); cut >= 0 && name[cut:] == "::kernel" { // gemvx::kernel: the namespace is the name
		name = name[strings.LastIndex(name[:cut], "::")+1:]
		name = strings.TrimPrefix(name, ":")
	} else if cut >= 0 {
		name = name[cut+2:]
	}
	name = strings.TrimPrefix(name, "void ")
	if _, function, ok := strings.Cut(name, "type "); ok && function != "" { // enable_if<…>::type f
		name = function
	}
	return name
}
