package vllm

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"llmdyno/internal/engine"
)

func constraints() []engine.Constraint {
	return []engine.Constraint{
		{ID: "tokens-below-seqs", Title: "a step has room for one token of every running request", Fatal: true, Check: tokensBelowSeqs, Source: fromSched},
		{ID: "tokens-below-length", Title: "without chunked prefill a step holds the longest request", Fatal: true, Check: tokensBelowLength, Source: fromSched},
		{ID: "partial-prefills", Title: "the limits on partial prefills stay at 1", Fatal: true, Check: partialPrefills, Source: engine.Source{Ref: "vllm-project/vllm issue 39737", Date: "2026-11-24"}},
		{ID: "attention-gpu", Title: "the attention backend runs on the GPU", Fatal: true, Check: attentionGPU, Source: read("vllm/v1/attention/backends/mla @ 01b1d340, 008c4fe4, 002d68ef")},
		{ID: "attention-block", Title: "the attention backend takes the block size", Check: attentionBlock, Source: read("vllm/v1/attention/backends/mla @ 01b1d340, 008c4fe4, 002d68ef")},
		{ID: "kv-bytes-over-fraction", Title: "the KV cache is sized in one way", Check: bytesOverFraction, Source: fromCache},
		{ID: "eager-without-graphs", Title: "graph sizes go with CUDA graphs", Check: eagerGraphs, Source: fromRecipes},
		{ID: "offload-without-size", Title: "an offloading backend goes with a size", Check: offloadWithoutSize, Source: fromCache},
		{ID: "tools-without-parser", Title: "automatic tool choice has a parser", Fatal: true, Check: toolsWithoutParser, Source: fromCLI},
	}
}

// human is a number as this engine reads it: 8k is 8000, 8K is 8192.
var human = regexp.MustCompile(`^(\d+(?:\.\d+)?)([kmgKMG])$`)

var scales = map[string]float64{"k": 1e3, "m": 1e6, "g": 1e9, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

// number reads a setting as a whole number, with this engine's suffixes.
func number(s engine.Settings, key string) (int, bool) {
	text := s.Word(key)
	if n, err := strconv.Atoi(text); err == nil {
		return n, true
	}
	m := human.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	f, err := strconv.ParseFloat(m[1], 64)
	if n := f * scales[m[2]]; err == nil && n < math.MaxInt32 {
		return int(n), true
	}
	return 0, false
}

func tokensBelowSeqs(in engine.Setup) (key, problem string) {
	tokens, given := number(in.Settings, "max_num_batched_tokens")
	seqs, set := number(in.Settings, "max_num_seqs")
	if !given || !set || tokens >= seqs {
		return "", ""
	}
	return "max_num_batched_tokens", fmt.Sprintf("max_num_batched_tokens %d is below max_num_seqs %d: the start is refused; raise it to at least %d", tokens, seqs, seqs)
}

func tokensBelowLength(in engine.Setup) (key, problem string) {
	tokens, given := number(in.Settings, "max_num_batched_tokens")
	length, set := number(in.Settings, "max_model_len")
	if !in.Settings.Off("enable_chunked_prefill") || !given || !set || tokens >= length {
		return "", ""
	}
	return "max_num_batched_tokens", fmt.Sprintf("max_num_batched_tokens %d is below max_model_len %d and chunked prefill is off: the start is refused; raise it to at least %d or leave chunked prefill on", tokens, length, length)
}

func partialPrefills(in engine.Setup) (key, problem string) {
	for _, key := range []string{"max_num_partial_prefills", "max_long_partial_prefills"} {
		if n, set := number(in.Settings, key); set && n > 1 {
			return key, fmt.Sprintf("%s %d: %s; leave it out", key, n, deadPartial)
		}
	}
	return "", ""
}

// mla are the kernels for multi-head latent attention with the compute
// capabilities (major) that they run on and the block sizes that they take.
var mla = map[string]struct{ majors, blocks []int }{
	"FLASHMLA":       {[]int{9, 10}, []int{64}},
	"CUTLASS_MLA":    {[]int{10}, []int{128}},
	"FLASHINFER_MLA": {[]int{10}, []int{32, 64}},
}

func attentionGPU(in engine.Setup) (key, problem string) {
	name := strings.ToUpper(in.Settings.Word("attention_backend"))
	kernel, known := mla[name]
	sm, amd := engine.GPUGeneration(in.GPU)
	if !known || sm == 0 && !amd || !amd && slices.Contains(kernel.majors, sm/10) {
		return "", ""
	}
	return "attention_backend", fmt.Sprintf("%s does not run on %s: it needs compute capability %s; leave it out to let the server choose", name, in.GPU, list(kernel.majors, ".x"))
}

func attentionBlock(in engine.Setup) (key, problem string) {
	name := strings.ToUpper(in.Settings.Word("attention_backend"))
	kernel, known := mla[name]
	size, set := number(in.Settings, "block_size")
	if !known || !set || slices.ContainsFunc(kernel.blocks, func(b int) bool { return size%b == 0 }) {
		return "", ""
	}
	return "block_size", fmt.Sprintf("%s works on blocks of %s tokens, so block_size %d is not what runs; leave it out", name, list(kernel.blocks, ""), size)
}

func list(numbers []int, suffix string) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = strconv.Itoa(n) + suffix
	}
	return strings.Join(words, " or ")
}

func bytesOverFraction(in engine.Setup) (key, problem string) {
	if in.Settings.Word("kv_cache_memory_bytes") == "" || in.Settings.Word("gpu_memory_utilization") == "" {
		return "", ""
	}
	return "gpu_memory_utilization", "kv_cache_memory_bytes is set, so gpu_memory_utilization changes nothing; keep one of the two"
}

func eagerGraphs(in engine.Setup) (key, problem string) {
	if !in.Settings.On("enforce_eager") {
		return "", ""
	}
	for _, key := range []string{"cudagraph_capture_sizes", "max_cudagraph_capture_size"} {
		if in.Settings.Word(key) != "" {
			return key, fmt.Sprintf("enforce_eager captures no graphs, so %s changes nothing; leave one of the two out", key)
		}
	}
	return "", ""
}

func offloadWithoutSize(in engine.Setup) (key, problem string) {
	if in.Settings.Word("kv_offloading_backend") == "" || in.Settings.Word("kv_offloading_size") != "" {
		return "", ""
	}
	return "kv_offloading_backend", "kv_offloading_backend without kv_offloading_size offloads nothing: set the size in GiB"
}

func toolsWithoutParser(in engine.Setup) (key, problem string) {
	if !in.Settings.On("enable_auto_tool_choice") || in.Settings.Word("tool_call_parser") != "" {
		return "", ""
	}
	return "enable_auto_tool_choice", "enable_auto_tool_choice without tool_call_parser is refused at start: name the parser of the model"
}
