package kernel

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
)

// Detail is what a generated or library name says about its kernel. Only what
// stands in the name is set; the zero Detail is a name that says nothing more
// than itself.
type Detail struct {
	Library   string   `json:"library,omitempty"`   // whose kernel: "Tensile (hipBLASLt, rocBLAS)", "CUTLASS", "Inductor (Triton)", ...
	Work      string   `json:"work,omitempty"`      // what it does, in words: "GEMM", "fused pointwise", "all-reduce"
	Types     string   `json:"types,omitempty"`     // data types: inputs, output, accumulator as far as named, "bf16, bf16, fp32"
	Layout    string   `json:"layout,omitempty"`    // operands transposed or not ("TN": the first is), or the image layout
	Tile      string   `json:"tile,omitempty"`      // output tile and depth of a block, MxNxK; of attention: queries x keys
	MMA       string   `json:"mma,omitempty"`       // matrix instruction or tile of a wave, as the name writes it
	Cluster   string   `json:"cluster,omitempty"`   // blocks that share their loads
	Stages    int      `json:"stages,omitempty"`    // buffers of the load pipeline
	SplitK    int      `json:"split_k,omitempty"`   // parts that the depth is split into, -1: split into a number not named
	HeadDim   int      `json:"head_dim,omitempty"`  // attention
	Arch      string   `json:"arch,omitempty"`      // GPU architecture that the kernel was built for: "gfx942", "sm90", "ampere"
	Epilogue  string   `json:"epilogue,omitempty"`  // fused onto the result: "bias", "relu", "swiglu"
	Ops       []string `json:"ops,omitempty"`       // operators that a generated kernel fuses, in the order of its name
	Algorithm string   `json:"algorithm,omitempty"` // of a collective: ring, tree, NVLS, one-shot, ...
	Protocol  string   `json:"protocol,omitempty"`  // of a collective: LL, LL128, Simple
	Reduction string   `json:"reduction,omitempty"` // of a collective: sum, max, ...
	Source    string   `json:"source,omitempty"`    // where such a name is made, as far as the name tells
}

// String is the detail as a report shows it, in one line; "" if there is none.
func (d Detail) String() string {
	var parts []string
	add := func(label, value string) {
		if value != "" {
			parts = append(parts, label+value)
		}
	}
	add("", d.Work)
	add("", strings.Join(d.Ops, " + "))
	add("", d.Reduction)
	add("", d.Types)
	add("", d.Layout)
	add("tile ", d.Tile)
	add("MMA ", d.MMA)
	add("cluster ", d.Cluster)
	switch {
	case d.Stages == 1:
		add("", "1 stage")
	case d.Stages > 1:
		add("", strconv.Itoa(d.Stages)+" stages")
	}
	switch {
	case d.SplitK > 1:
		add("", "split-K "+strconv.Itoa(d.SplitK))
	case d.SplitK < 0:
		add("", "split-K")
	}
	if d.HeadDim > 0 {
		add("head ", strconv.Itoa(d.HeadDim))
	}
	add("+ ", d.Epilogue)
	add("", strings.ToLower(d.Algorithm))
	add("", d.Protocol)
	add("", d.Arch)
	text := strings.Join(parts, ", ")
	if d.Library == "" {
		return text
	}
	if text == "" {
		return d.Library
	}
	return d.Library + ": " + text
}

// decoder reads one family of names.
type decoder struct {
	family string // for people and tests
	read   func(canonical string) (Detail, bool)
}

// decoders are tried in order; the first that reads a name decides.
var decoders = []decoder{
	{"tensile", tensile},
	{"inductor", inductorDetail},
	{"nvjet", nvjet},
	{"xmma", xmma},
	{"collective", collective},
	{"attention", flashAttention},
	{"fmha", fmhaGen},
	{"fmha assembly", fmhaAssembly},
	{"bmm", bmmGen},
	{"cutlass 2", cutlassName},
	{"cublas", cublasName},
	{"cudnn", scudnn},
	{"miopen", igemm},
	{"triton matmul", tritonMatmul},
	{"ck_tile fmha", ckFmha},
	{"cutlass 3", cutlassTemplate},
	{"aten", aten},
}

// Describe reads what the name of a kernel says about it; raw or canonical.
func Describe(raw string) Detail {
	canonical := Canonical(raw)
	for _, d := range decoders {
		if detail, ok := d.read(canonical); ok {
			return detail
		}
	}
	return Detail{}
}

// typeWords are the words for data types in library names, and ours for them.
var typeWords = map[string]string{
	"bf16": "bf16", "fp16": "fp16", "f16": "fp16", "f32": "fp32", "fp32": "fp32", "f64": "fp64", "tf32": "tf32", "tf32f32": "tf32", "s8": "int8", "i8": "int8", "s32": "int32", "u8": "uint8",
	"e4m3": "fp8 e4m3", "e5m2": "fp8 e5m2", "e2m1": "fp4 e2m1", "mxe4m3": "mxfp8 e4m3", "mxe2m1": "mxfp4 e2m1", "float": "fp32", "half": "fp16", "bfloat16": "bf16",
	"s": "fp32", "h": "fp16", "d": "fp64", "i": "int8", "c": "complex fp32", "z": "complex fp64",
}

func typeWord(word string) string {
	if t, ok := typeWords[strings.ToLower(word)]; ok {
		return t
	}
	return word
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0 // none, or longer than any real one
	}
	return n
}

// first is the first group of an expression in a name, "" without a match.
func first(e *regexp.Regexp, name string) string {
	if m := e.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return ""
}

// Tensile names (ROCm/rocm-libraries shared/tensile Tensile/SolutionStructs.py,
// Contractions.py and KernelWriter.py; November 2026):
//
//	Cijk_Alik_Bljk_BBS_BH_Bias_…_MT128x256x32_MI16x16x1_SN_…_ISA942_…
//
// Alik: A has its depth l first, so it is transposed; Bljk: B is not. BBS: bf16
// in, bf16 out, fp32 accumulator. MT tile, MI matrix instruction, GSU split of
// the depth.
var (
	tensileName  = regexp.MustCompile(`^(?:Custom_)?Cijk_A([il])([a-z]*)_B([jl])([a-z]*)_([A-Z0-9]+_[A-Z0-9]{2}_BH?|[A-Z0-9]+_BH?|[A-Z0-9]+)_`)
	tensileTile  = regexp.MustCompile(`_MT(\d+x\d+x\d+)_`)
	tensileMI    = regexp.MustCompile(`_MI(\d+x\d+x\d+)`)
	tensileISA   = regexp.MustCompile(`_ISA([0-9a-f]+)_`)
	tensileSplit = regexp.MustCompile(`_GSU(\d+)_`)
	tensileType  = regexp.MustCompile(`F8N|B8N|F8B8|B8F8|F8|B8|I8|[HSDBICZX]`)
)

var tensileTypes = map[string]string{
	"F8N": "fp8 fnuz", "B8N": "bf8 fnuz", "F8": "fp8", "B8": "bf8", "F8B8": "fp8 x bf8", "B8F8": "bf8 x fp8", "I8": "int8", "I": "int32",
	"H": "fp16", "S": "fp32", "D": "fp64", "B": "bf16", "C": "complex fp32", "Z": "complex fp64", "X": "xf32",
}

func tensile(name string) (Detail, bool) {
	m := tensileName.FindStringSubmatch(name)
	if m == nil {
		return Detail{}, false
	}
	d := Detail{Library: "Tensile (hipBLASLt, rocBLAS)", Work: "GEMM", Layout: "NN", Types: tensileTypeText(m[5])}
	layout := []byte("NN")
	if m[1] == "l" {
		layout[0] = 'T'
	}
	if m[3] == "j" {
		layout[1] = 'T'
	}
	d.Layout = string(layout)
	d.Tile, d.MMA, d.SplitK = first(tensileTile, name), first(tensileMI, name), number(first(tensileSplit, name))
	if isa := first(tensileISA, name); isa != "" {
		d.Arch = "gfx" + isa
	}
	if strings.Contains(name, "_Bias_") {
		d.Epilogue = "bias"
	}
	return d, true
}

// tensileTypeText reads the letters for input, output and accumulator: BBS_BH,
// or B_BS_BH in newer files; the B and H behind them are flags (C is read, high
// precision accumulation). The old short form (SB, HBH) names the input alone and
// writes the flags into it.
func tensileTypeText(text string) string {
	letters, flagsApart := strings.CutSuffix(strings.TrimSuffix(text, "H"), "_B")
	letters = strings.ReplaceAll(letters, "_", "")
	list := tensileType.FindAllString(letters, -1)
	if len(list) == 0 || strings.Join(list, "") != letters {
		return ""
	}
	if len(list) != 3 || !flagsApart {
		return tensileTypes[list[0]]
	}
	return tensileTypes[list[0]] + ", " + tensileTypes[list[1]] + ", " + tensileTypes[list[2]]
}

// shortTensile names a Tensile kernel by what tells it from its siblings.
func shortTensile(name string) (string, bool) {
	m := tensileName.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	text := strings.TrimSuffix(m[0], "_")
	if tile := first(tensileTile, name); tile != "" {
		text += "_MT" + tile
	}
	return text, true
}

// inductorKinds are the kinds of kernel in Inductor's names
// (pytorch/pytorch torch/_inductor/codegen/triton.py, November 2026).
var inductorKinds = map[string]string{
	"poi": "fused pointwise", "red": "fused reduction in a loop", "per": "fused reduction within a block", "tem": "template", "mm": "matrix product", "bmm": "batched matrix product",
	"for": "list of tensors", "spl": "fused split scan", "unk": "fused",
}

// inductorOps are the operators whose names hold underscores; all others are one
// word. Longest first. Source: pytorch/pytorch aten native_functions.yaml.
var inductorOps = []string{
	"_scaled_dot_product_flash_attention", "native_batch_norm_backward", "_native_batch_norm_legit_functional", "native_layer_norm_backward", "native_layer_norm", "native_group_norm",
	"convolution_backward", "embedding_dense_backward", "nll_loss_backward", "nll_loss_forward", "_log_softmax_backward_data", "_softmax_backward_data", "threshold_backward", "native_dropout_backward", "slice_backward", "select_backward",
	"max_pool2d_with_indices_backward", "max_pool2d_with_indices", "_low_memory_max_pool2d_with_offsets", "_unsafe_index_put", "_unsafe_index", "_unsafe_view", "_adaptive_avg_pool2d", "avg_pool2d",
	"constant_pad_nd", "scalar_tensor", "slice_scatter", "select_scatter", "index_put", "index_select", "masked_fill", "scatter_add", "new_zeros", "new_ones", "new_empty", "new_full", "zeros_like", "ones_like", "empty_like", "full_like", "rand_like",
	"native_dropout", "_log_softmax", "_safe_softmax", "_softmax", "_to_copy", "bitwise_and", "bitwise_or", "bitwise_not", "bitwise_xor", "logical_and", "logical_or", "logical_not", "var_mean", "upsample_nearest2d", "upsample_bilinear2d",
	"flex_attention_backward", "flex_attention", "squared_relu", "moe_forward_shared", "moe_forward", "unified_attention_with_output", "unified_attention", "rotary_embedding", "all_reduce", "all_gather_into_tensor", "reduce_scatter_tensor", "wait_tensor", "_scaled_mm", "silu_and_mul", "rms_norm", "layer_norm", "dynamic_scaled_fp8_quant", "static_scaled_fp8_quant", "lift_fresh", "as_strided_scatter", "as_strided",
}

func inductorDetail(name string) (Detail, bool) {
	kind, ops, ok := inductor(name)
	if !ok {
		return Detail{}, false
	}
	return Detail{Library: "Inductor (Triton)", Work: inductorKinds[kind], Ops: splitOps(ops), Source: "torch.compile; TORCH_LOGS=output_code prints the kernel with the graph nodes it comes from"}, true
}

// splitOps parts the operators of a generated name, which underscores both part
// and belong to.
func splitOps(ops string) []string {
	var list []string
	for ops != "" {
		op := longestOp(ops)
		if op == "" {
			lead := len(ops) - len(strings.TrimLeft(ops, "_"))
			word, _, _ := strings.Cut(ops[lead:], "_")
			op = ops[:lead] + word
		}
		list = append(list, op)
		ops = strings.TrimPrefix(ops[len(op):], "_")
	}
	return list
}

func longestOp(ops string) string {
	best := ""
	for _, op := range inductorOps {
		if rest, ok := strings.CutPrefix(ops, op); ok && (rest == "" || rest[0] == '_') && len(op) > len(best) {
			best = op
		}
	}
	return best
}

// nvjet names, cuBLAS 12.6 and later. They are not documented; read from names
// beside the shapes of their calls in public traces, November 2026:
//
//	nvjet_[sm100_]tst_128x256_64x4_1x2_h_bz_coopA_TNT
//
// t bf16, s fp32, h fp16; tile MxN, depth x stages, cluster, operands and result.
var nvjetName = regexp.MustCompile(`^nvjet_(?:(sm\d+)_)?([a-z]+)_(?:[a-z]+_)?(\d+x\d+)_(\d+)x(\d+)_(\d+x\d+)_.*?([TN]{3})$`)

var nvjetTypes = map[string]string{"tst": "bf16, bf16, fp32", "hsh": "fp16, fp16, fp32", "tss": "bf16, fp32, fp32", "hss": "fp16, fp32, fp32", "sss": "fp32"}

func nvjet(name string) (Detail, bool) {
	if !strings.HasPrefix(name, "nvjet_") {
		return Detail{}, false
	}
	d := Detail{Library: "cuBLAS (nvjet)", Work: "GEMM"}
	if m := nvjetName.FindStringSubmatch(name); m != nil {
		d.Arch, d.Types, d.Tile, d.Stages, d.Cluster, d.Layout = m[1], nvjetTypes[m[2]], m[3]+"x"+m[4], number(m[5]), m[6], m[7]
	}
	if strings.Contains(name, "splitK") {
		d.SplitK = -1
	}
	if strings.Contains(name, "_bias") {
		d.Epilogue = "bias"
	}
	return d, true
}

// xmma names of cuBLAS and cuDNN, e.g.
// sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_…_cublas.
var (
	xmmaName   = regexp.MustCompile(`^(?:cudnn_\w+?_|cask\w*?_)?(sm\d+)_xmma_(gemm|fprop|dgrad|wgrad)_`)
	xmmaTypes  = regexp.MustCompile(`_(bf16bf16|f16f16|tf32f32|f32f32|i8i8|e4m3e4m3|e4m3e5m2)_(bf16|f16|tf32|f32|i8|i32|e4m3)(?:f32|f16|i32)?_(f32|f16|i32)_`)
	xmmaLayout = regexp.MustCompile(`_([tn]{2})_[tn]_|_(nhwckrsc_(?:nchw|nhwc))_`)
	xmmaTile   = regexp.MustCompile(`_tilesize(\d+x\d+x\d+)_`)
	xmmaStage  = regexp.MustCompile(`_stage(\d+)_`)
)

var convWords = map[string]string{"gemm": "GEMM", "fprop": "convolution forward", "dgrad": "convolution backward (data)", "wgrad": "convolution backward (weights)"}

func xmma(name string) (Detail, bool) {
	m := xmmaName.FindStringSubmatch(name)
	if m == nil {
		return Detail{}, false
	}
	d := Detail{Library: "cuDNN (xmma)", Work: convWords[m[2]], Arch: m[1], Tile: first(xmmaTile, name), Stages: number(first(xmmaStage, name))}
	if strings.HasSuffix(name, "cublas") {
		d.Library = "cuBLAS (xmma)"
	}
	if t := xmmaTypes.FindStringSubmatch(name); t != nil {
		in := t[1][:len(t[1])/2]
		if t[1] == "tf32f32" {
			in = "tf32"
		}
		d.Types = typeWord(in) + ", " + typeWord(t[2]) + ", " + typeWord(t[3])
	}
	if l := xmmaLayout.FindStringSubmatch(name); l != nil {
		d.Layout = strings.ToUpper(l[1]) + l[2]
	}
	return d, true
}

// Kernels of NCCL and RCCL: the collective, then algorithm, protocol, reduction
// and type in an order that changed with version 2.18
// (NVIDIA/nccl src/device/generate.py, November 2026).
var (
	ncclName   = regexp.MustCompile(`^(?:nccl|rccl)(?:Sym|Sym[kK])?(?:Dev)?Kernel_(\w+)`)
	ncclTokens = regexp.MustCompile(`(?i)(NVLS_TREE|COLLNET_DIRECT|COLLNET_CHAIN|RING|TREE|NVLS|PAT)|(LL128|LL|SIMPLE)|(Sum|Prod|Min|Max|PreMulSum|SumPostDiv|MinMax)`)
	oneShot    = regexp.MustCompile(`(?i)(one|two)_?(?:shot|stage)|([12])_?stage`)
)

var collectives = []struct{ word, text string }{
	{"AllReduce", "all-reduce"}, {"AllGather", "all-gather"}, {"ReduceScatter", "reduce-scatter"}, {"Broadcast", "broadcast"}, {"SendRecv", "send and receive"}, {"AllToAll", "all-to-all"}, {"Reduce", "reduce"}, {"Generic", "collective"},
}

func collective(name string) (Detail, bool) {
	if m := ncclName.FindStringSubmatch(name); m != nil {
		return nccl(m[1]), true
	}
	text := plain(name)
	switch {
	case strings.Contains(text, "cross_device_reduce"), strings.Contains(text, "allreduce"), strings.Contains(text, "all_reduce"):
		d := Detail{Work: "all-reduce of the engine's own", Algorithm: shots(oneShot.FindString(name))}
		if strings.Contains(text, "lamport") {
			d.Protocol = "Lamport"
		}
		if strings.Contains(text, "rms_norm") || strings.Contains(text, "rmsnorm") || strings.Contains(text, "fusion") {
			d.Epilogue = "residual and norm, where enabled"
		}
		return d, true
	}
	return Detail{}, false
}

func shots(word string) string {
	switch {
	case word == "":
		return ""
	case strings.ContainsAny(word, "1") || strings.HasPrefix(strings.ToLower(word), "one"):
		return "one-shot"
	}
	return "two-shot"
}

func nccl(words string) Detail {
	d := Detail{Library: "NCCL or RCCL"}
	for _, c := range collectives {
		if strings.HasPrefix(words, c.word) {
			d.Work = c.text
			words = words[len(c.word):]
			break
		}
	}
	rest := ""
	for _, word := range strings.Split(strings.ReplaceAll(strings.ReplaceAll(words, "NVLS_TREE", "NVLSTREE"), "COLLNET_", "COLLNET"), "_") {
		switch m := ncclTokens.FindStringSubmatch(strings.Replace(strings.Replace(word, "NVLSTREE", "NVLS_TREE", 1), "COLLNET", "COLLNET_", 1)); {
		case m == nil:
			if t, ok := typeWords[strings.ToLower(strings.TrimSuffix(word, "_t"))]; ok {
				rest = t
			} else if word == "int8" || word == "uint8" || word == "int32" || word == "int64" || word == "fp8" {
				rest = word
			}
		case m[1] != "":
			d.Algorithm = m[1]
		case m[2] != "":
			d.Protocol = strings.Replace(m[2], "SIMPLE", "Simple", 1)
		default:
			d.Reduction = strings.ToLower(m[3])
		}
	}
	d.Types = rest
	return d
}

// FlashAttention 2 and 3 (Dao-AILab/flash-attention csrc/flash_attn/src and
// hopper/, November 2026): traits are head dimension, queries and keys of a
// block, warps.
var (
	flashTraits = regexp.MustCompile(`Flash_(?:fwd|bwd)_kernel_traits(?:_mla)?<(\d+), (\d+), (\d+)`)
	cuteTile    = regexp.MustCompile(`cute::tuple<cute::C<(\d+)>, cute::C<(\d+)>, cute::C<(\d+)>\s*>`)
)

func flashAttention(name string) (Detail, bool) {
	text := plain(name)
	if !strings.Contains(text, "flash_fwd") && !strings.Contains(text, "flash_bwd") && !strings.Contains(text, "flash_attn") {
		return Detail{}, false
	}
	d := Detail{Library: "FlashAttention", Work: "attention forward"}
	if strings.Contains(text, "bwd") {
		d.Work = "attention backward"
	}
	switch {
	case strings.Contains(text, "combine"):
		d.Work += ", combines the splits of the keys"
	case strings.Contains(text, "split_kv") || strings.Contains(text, "splitkv"):
		d.Work += ", keys split"
	}
	if strings.Contains(text, "mla") {
		d.Work += ", latent (MLA)"
	}
	if m := flashTraits.FindStringSubmatch(name); m != nil {
		d.HeadDim, d.Tile = number(m[1]), m[2]+"x"+m[3]
	} else if m := cuteTile.FindStringSubmatch(name); m != nil && number(m[1]) >= 16 {
		d.Tile, d.HeadDim = m[1]+"x"+m[2], number(m[3])
	}
	return d, true
}

// fmha and bmm kernels that NVIDIA ships as cubins
// (flashinfer-ai/flashinfer include/flashinfer/trtllm, November 2026).
var (
	fmhaName = regexp.MustCompile(`^fmha(Sm\d+[a-z]?)Kernel_Qkv?([A-Z][A-Za-z]*\d+m?\d*)(?:Kv[A-Z]\w*?)?O([A-Z][A-Za-z]*\d+m?\d*)H`)
	fmhaHead = regexp.MustCompile(`H(?:Qk)?(\d+)`)
	fmhaTile = regexp.MustCompile(`Q(\d+)Kv(\d+)`)
	bmmName  = regexp.MustCompile(`^bmm_([A-Z][A-Za-z]*\d+(?:m\d)?)_((?:Mx)?[A-Z][a-z]*\d+(?:m\d)?)((?:Mx)?[A-Z][a-z]*\d+(?:m\d)?)?_([A-Z][a-z]+\d+)_(?:\w+?_)?t(\d+x\d+x\d+)(?:u\d+)?_s(\d+)_`)
)

func fmhaGen(name string) (Detail, bool) {
	m := fmhaName.FindStringSubmatch(name)
	if m == nil {
		return Detail{}, false
	}
	d := Detail{Library: "FMHA cubin", Work: "attention", Arch: strings.ToLower(m[1]), Types: typeWord(m[2]) + ", " + typeWord(m[3]), HeadDim: number(first(fmhaHead, name))}
	switch {
	case strings.Contains(name, "ForGen"):
		d.Work = "attention for decode"
	case strings.Contains(name, "Context"):
		d.Work = "attention for prefill"
	}
	if strings.Contains(name, "Paged") {
		d.Work += ", paged keys"
	}
	if t := fmhaTile.FindStringSubmatch(name); t != nil {
		d.Tile = t[1] + "x" + t[2]
	}
	return d, true
}

// Attention of ROCm/aiter written in assembly: fmha_fwd_hd128_bf16_rtz
// (hsa/, November 2026).
var fmhaAsm = regexp.MustCompile(`fmha_(fwd|bwd)_hd(\d+)(?:_\w+?)?_(bf16|fp16|fp8)`)

func fmhaAssembly(name string) (Detail, bool) {
	m := fmhaAsm.FindStringSubmatch(name)
	if m == nil {
		return Detail{}, false
	}
	work := map[string]string{"fwd": "attention forward", "bwd": "attention backward"}
	return Detail{Library: "AITER (assembly)", Work: work[m[1]], HeadDim: number(m[2]), Types: m[3]}, true
}

func bmmGen(name string) (Detail, bool) {
	m := bmmName.FindStringSubmatch(name)
	if m == nil {
		return Detail{}, false
	}
	d := Detail{Library: "GEMM cubin", Work: "batched GEMM", Types: typeWord(m[2]) + " x " + typeWord(cmp.Or(m[3], m[2])) + ", " + typeWord(m[1]) + ", " + typeWord(m[4]), Tile: m[5], Stages: number(m[6])}
	if strings.Contains(name, "swiGlu") {
		d.Epilogue = "swiglu"
	}
	return d, true
}

// CUTLASS 2 and cuBLAS tile names: cutlass_80_tensorop_s1688gemm_128x64_32x6_nt_align1,
// ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x3_tn, ampere_sgemm_32x32_sliced1x4_tn.
var (
	cutlass2   = regexp.MustCompile(`cutlass(?:_(\d+))?_(?:wmma_)?(?:tensorop|simt)_(?:(bf16|f16|tf32|i8|e4m3|e5m2)_)?([a-z]?)(\d*)(gemm|fprop|dgrad|wgrad)\w*?_(\d+x\d+)(?:_(\d+)x(\d+))?_([tn]{2}|nhwc|ntn)`)
	cublas2    = regexp.MustCompile(`^(ampere|volta|turing|maxwell|pascal|kepler|hopper|sm\d+)_(?:(bf16|fp16|tf32|int8)_)?([a-z]?)(\d*)gemm(?:_(?:bf16|fp16))?_(?:\w+?_)??(\d+x\d+)(\w*)_([tn]{2})(?:_|$)`)
	stagesWord = regexp.MustCompile(`stages_(\d+)x(\d+)`)
	mmaDigits  = map[string]string{"1688": "16x8x8", "16816": "16x8x16", "884": "8x8x4", "161616": "16x16x16", "16832": "16x8x32", "16864": "16x8x64"}
)

func cutlassName(name string) (Detail, bool) {
	m := cutlass2.FindStringSubmatch(name)
	if m == nil {
		return Detail{}, false
	}
	d := Detail{Library: "CUTLASS", Work: convWords[m[5]], MMA: mmaDigits[m[4]], Tile: m[6], Stages: number(m[8]), Layout: strings.ToUpper(m[9]), Types: gemmTypes(m[2], m[3])}
	if m[1] != "" {
		d.Arch = "sm" + m[1]
	}
	if m[7] != "" {
		d.Tile += "x" + m[7]
	}
	if strings.Contains(name, "relu") {
		d.Epilogue = "relu"
	}
	return d, true
}

func cublasName(name string) (Detail, bool) {
	m := cublas2.FindStringSubmatch(name)
	if m == nil {
		return Detail{}, false
	}
	d := Detail{Library: "cuBLAS", Work: "GEMM", Arch: m[1], MMA: mmaDigits[m[4]], Tile: m[5], Layout: strings.ToUpper(m[7]), Types: gemmTypes(m[2], m[3])}
	if s := stagesWord.FindStringSubmatch(name); s != nil {
		d.Tile, d.Stages = d.Tile+"x"+s[1], number(s[2])
	}
	if strings.Contains(m[6], "splitK") {
		d.SplitK = -1
	}
	if strings.Contains(name, "relu") {
		d.Epilogue = "relu"
	}
	return d, true
}

// gemmTypes reads an input type and the letter before gemm, which is the
// accumulator's: s16816gemm adds up in fp32.
func gemmTypes(in, letter string) string {
	switch {
	case in == "":
		return typeWord(letter)
	case letter == "":
		return typeWord(in)
	}
	return typeWord(in) + ", accumulates " + typeWord(letter)
}

// Convolutions of cuDNN's older kernels: cudnn_ampere_scudnn_128x64_relu_….
var scudnnName = regexp.MustCompile(`(?:^|cudnn_(?:\w+?_)?)(ampere|volta|turing|maxwell)_([shd])?cudnn_(?:winograd_)?(\d+x\d+)`)

func scudnn(name string) (Detail, bool) {
	m := scudnnName.FindStringSubmatch(name)
	if m == nil {
		return Detail{}, false
	}
	d := Detail{Library: "cuDNN", Work: "convolution", Arch: m[1], Types: typeWord(m[2]), Tile: m[3]}
	if strings.Contains(name, "winograd") {
		d.Work = "convolution, Winograd"
	}
	if strings.Contains(name, "relu") {
		d.Epilogue = "relu"
	}
	return d, true
}

// Convolutions of MIOpen: igemm_fwd_gtcx2_nhwc_bf16_bx0_ex1_bt32x256x32_wt16x64x4_….
var igemmName = regexp.MustCompile(`^igemm_(fwd|bwd|wrw)_\w+?_(nhwc|nchwc?)_(fp32|fp16|bf16|int8)_.*?_bt(\d+x\d+x\d+)_wt(\d+x\d+x\d+)`)

func igemm(name string) (Detail, bool) {
	m := igemmName.FindStringSubmatch(name)
	if m == nil {
		return Detail{}, false
	}
	work := map[string]string{"fwd": "convolution forward", "bwd": "convolution backward (data)", "wrw": "convolution backward (weights)"}
	return Detail{Library: "MIOpen", Work: work[m[1]], Layout: m[2], Types: m[3], Tile: m[4], MMA: m[5]}, true
}

// Matrix products of the triton_kernels package
// (triton-lang/triton python/triton_kernels/matmul_ogs.py, November 2026).
var matmulOGS = regexp.MustCompile(`^_(?:p_)?matmul(?:_ogs)?_([NT]{2,3})_(bf16|fp16|fp32|fp8\w*|u?int8|mxfp[48])x(bf16|fp16|fp32|fp8\w*|u?int8|mxfp[48])x(bf16|fp16|fp32|fp8\w*|u?int8|mxfp[48])_(\d+x\d+x\d+)x(\d+)(?:_(\w+))?$`)

func tritonMatmul(name string) (Detail, bool) {
	m := matmulOGS.FindStringSubmatch(name)
	if m == nil {
		return Detail{}, false
	}
	d := Detail{Library: "triton_kernels", Work: "GEMM of experts", Layout: m[1], Types: m[3] + " x " + m[4] + ", " + m[2], Tile: m[5], SplitK: number(m[6]), Epilogue: m[7], Source: "triton_kernels/matmul_ogs.py"}
	return d, true
}

// Attention of ck_tile: TileFmhaShape<sequence<queries, keys, depth, …>>.
var ckShape = regexp.MustCompile(`TileFmhaShape<ck_tile::sequence<(\d+), (\d+), (\d+), (\d+)`)

func ckFmha(name string) (Detail, bool) {
	m := ckShape.FindStringSubmatch(name)
	if m == nil {
		return Detail{}, false
	}
	d := Detail{Library: "Composable Kernel", Work: "attention forward", Tile: m[1] + "x" + m[2], HeadDim: number(m[4])}
	switch {
	case strings.Contains(name, "BatchPrefill"):
		d.Work = "attention for prefill, paged keys"
	case strings.Contains(name, "SplitKV"):
		d.Work = "attention forward, keys split"
	case strings.Contains(name, "FmhaBwd"):
		d.Work = "attention backward"
	}
	return d, true
}

// CUTLASS 3 kernels say their tile as a tuple of constants, CUTLASS 2 templates
// as a GemmShape.
var (
	gemmShape     = regexp.MustCompile(`GemmShape<(\d+), (\d+), (\d+)>`)
	mainloopStage = regexp.MustCompile(`Mainloop(Sm\d+)\w*<(\d+)`)
)

func cutlassTemplate(name string) (Detail, bool) {
	if !strings.Contains(name, "cutlass::") || !strings.Contains(name, "Gemm") {
		return Detail{}, false
	}
	d := Detail{Library: "CUTLASS", Work: "GEMM"}
	if strings.Contains(name, "GroupProblemShape") || strings.Contains(name, "Grouped") {
		d.Work = "grouped GEMM"
	}
	for _, m := range cuteTile.FindAllStringSubmatch(name, -1) {
		switch {
		case d.Tile == "" && number(m[1]) >= 16 && number(m[2]) >= 8:
			d.Tile = m[1] + "x" + m[2] + "x" + m[3]
		case d.Cluster == "" && number(m[1]) < 16:
			d.Cluster = m[1] + "x" + m[2] + "x" + m[3]
		}
	}
	if m := gemmShape.FindStringSubmatch(name); m != nil && d.Tile == "" {
		d.Tile = m[1] + "x" + m[2] + "x" + m[3]
	}
	if m := mainloopStage.FindStringSubmatch(name); m != nil {
		d.Arch, d.Stages = strings.ToLower(m[1]), number(m[2])
	}
	return d, true
}

// aten names the functor of PyTorch's own elementwise and reduction kernels.
func aten(name string) (Detail, bool) {
	if !strings.Contains(name, "at::native::") {
		return Detail{}, false
	}
	base := lastPart(withoutArguments(name))
	if !frames[base] {
		return Detail{}, false
	}
	inner := tellingArgument(name)
	if inner == "" {
		return Detail{}, false
	}
	work := "elementwise"
	if base == "reduce_kernel" {
		work = "reduction"
	}
	return Detail{Library: "PyTorch", Work: work, Ops: []string{inner}, Source: "aten/src/ATen/native/cuda"}, true
}
