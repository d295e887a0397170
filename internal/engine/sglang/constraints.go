package sglang

import (
	"fmt"
	"slices"
	"strings"

	"llmdyno/internal/engine"
)

var speculative = engine.Source{Ref: "sgl-project/sglang python/sglang/srt/arg_groups/speculative_hook.py @ v0.5.18", Date: "2026-08-20"}

// backendKeys name an attention backend for both stages or for one.
var backendKeys = []string{"attention_backend", "prefill_attention_backend", "decode_attention_backend"}

// constraints are the rules of the server arguments, in the order in which a
// start would meet them.
func constraints() []engine.Constraint {
	return []engine.Constraint{
		{ID: "chunk-page-multiple", Title: "chunked prefill in whole pages", Fatal: true, Check: checkChunkPages, Source: args},
		{ID: "dp-attention-divides-tp", Title: "tp divisible by dp under dp attention", Fatal: true, Check: checkDPAttention, Source: args},
		{ID: "dp-attention-without-dp", Title: "dp attention needs dp above 1", Check: checkDPAttentionAlone, Source: args},
		{ID: "multi-node-dp", Title: "data parallelism over nodes needs dp attention", Fatal: true, Check: checkMultiNodeDP, Source: args},
		{ID: "nodes-divide-parallel", Title: "tp × pp divisible by nodes", Fatal: true, Check: checkNodes, Source: args},
		{ID: "pp-without-speculation", Title: "no speculation with pipeline parallelism", Fatal: true, Check: checkPPSpeculation, Source: args},
		{ID: "mixed-chunk-without-speculation", Title: "no mixed chunks with speculation", Fatal: true, Check: checkMixedChunk, Source: args},
		{ID: "attention-backend-gpu", Title: "attention backend for this GPU generation", Fatal: true, Check: checkAttentionGPU, Source: args},
		{ID: "attention-backend-decode-only", Title: "decode-only attention backends", Fatal: true, Check: checkDecodeOnly, Source: args},
		{ID: "attention-backend-page-size", Title: "page sizes of attention backends", Check: checkBackendPage, Source: args},
		{ID: "fa3-fp8-e5m2", Title: "fa3 does not read fp8_e5m2", Check: checkFA3, Source: args},
		{ID: "attention-without-graphs", Title: "attention backends that switch CUDA graphs off", Check: checkGraphless, Source: args},
		{ID: "kv-mxfp8", Title: "mxfp8 KV cache needs Blackwell and fa4", Fatal: true, Check: checkMXFP8, Source: args},
		{ID: "moe-runner-gpu", Title: "MoE runner for this GPU generation", Fatal: true, Check: checkMoEGPU, Source: args},
		{ID: "a2a-forces-ep", Title: "an all-to-all backend forces ep = tp", Check: checkA2AEP, Source: args},
		{ID: "a2a-flashinfer-dp-attention", Title: "flashinfer all-to-all needs dp attention with dp = tp", Fatal: true, Check: checkA2AFlashInfer, Source: args},
		{ID: "a2a-pplx-dp", Title: "pplx all-to-all needs dp of at least 2", Fatal: true, Check: checkPPLX, Source: args},
		{ID: "deepep-normal-graphs", Title: "deepep mode normal switches CUDA graphs off", Check: checkDeepEP, Source: args},
		{ID: "tbo-needs-a2a", Title: "two-batch overlap needs all-to-all or dp attention", Fatal: true, Check: checkTBO, Source: args},
		{ID: "compile-with-padding", Title: "torch compile needs graph padding", Fatal: true, Check: checkCompile, Source: args},
		{ID: "speculation-all-or-none", Title: "speculation sizes all set or all automatic", Fatal: true, Check: checkSpecTriple, Source: speculative},
		{ID: "speculation-topk-one", Title: "topk 1 fixes the draft tokens", Check: checkSpecTopK, Source: speculative},
		{ID: "speculation-batch-default", Title: "speculation lowers the batch limit to 48", Check: checkSpecBatch, Source: speculative},
		{ID: "torch-symm-mem-world", Title: "symmetric memory by world size", Fatal: true, Check: checkSymmMem, Source: args},
		{ID: "keys-with-tokenizer-workers", Title: "no keys with several tokenizer workers", Fatal: true, Check: checkWorkerKeys,
			Source: read("python/sglang/srt/utils/auth.py")},
		{ID: "prefill-tokens-below-context", Title: "max_prefill_tokens below the context has no effect", Check: checkPrefillTokens, Source: args},
	}
}

// size is a parallel size, 1 when it is not set.
func size(s engine.Settings, key string) int {
	n, ok := s.Number(key)
	if !ok || n < 1 {
		return 1
	}
	return int(n)
}

// backends are the attention backends that a candidate names, by key, in the
// order of backendKeys.
func backends(s engine.Settings) (keys, names []string) {
	for _, key := range backendKeys {
		if w := s.Word(key); w != "" {
			keys, names = append(keys, key), append(names, w)
		}
	}
	return keys, names
}

func checkChunkPages(u engine.Setup) (key, problem string) {
	chunk, ok := u.Settings.Number("chunked_prefill_size")
	page, set := u.Settings.Number("page_size")
	if !ok || !set || chunk <= 0 || page <= 0 || int(chunk)%int(page) == 0 {
		return "", ""
	}
	return "chunked_prefill_size", fmt.Sprintf("%v is not a multiple of page_size %v; choose a multiple, or -1 to prefill in one go", chunk, page)
}

func checkDPAttention(u engine.Setup) (key, problem string) {
	tp, dp := size(u.Settings, "tp_size"), size(u.Settings, "dp_size")
	if !u.Settings.On("enable_dp_attention") || tp%dp == 0 {
		return "", ""
	}
	return "dp_size", fmt.Sprintf("dp attention spreads dp over tp, and tp_size %d is not divisible by dp_size %d", tp, dp)
}

func checkDPAttentionAlone(u engine.Setup) (key, problem string) {
	if !u.Settings.On("enable_dp_attention") || size(u.Settings, "dp_size") > 1 {
		return "", ""
	}
	return "enable_dp_attention", "the server switches it off because dp_size is 1; set dp_size or leave it out"
}

func checkMultiNodeDP(u engine.Setup) (key, problem string) {
	if size(u.Settings, "nnodes") < 2 || size(u.Settings, "dp_size") < 2 || u.Settings.On("enable_dp_attention") {
		return "", ""
	}
	return "dp_size", "data parallelism over several nodes starts only with enable_dp_attention: true"
}

func checkNodes(u engine.Setup) (key, problem string) {
	ranks, nodes := size(u.Settings, "tp_size")*size(u.Settings, "pp_size"), size(u.Settings, "nnodes")
	if ranks%nodes == 0 {
		return "", ""
	}
	return "nnodes", fmt.Sprintf("tp_size × pp_size is %d and is not divisible by nnodes %d", ranks, nodes)
}

func checkPPSpeculation(u engine.Setup) (key, problem string) {
	if size(u.Settings, "pp_size") < 2 || u.Settings.Word("speculative_algorithm") == "" {
		return "", ""
	}
	return "speculative_algorithm", "speculation does not run with pp_size above 1; use tp_size instead or leave speculation out"
}

func checkMixedChunk(u engine.Setup) (key, problem string) {
	if !u.Settings.On("enable_mixed_chunk") || u.Settings.Word("speculative_algorithm") == "" {
		return "", ""
	}
	return "enable_mixed_chunk", "mixed chunks do not run with speculation; leave one of them out"
}

// generations are the compute capabilities (times ten) on which a backend runs;
// decode widens the list for the decode stage.
var generations = map[string]struct {
	prefill, decode []int
	note            string
}{
	"fa3":            {[]int{80, 86, 87, 89, 90}, []int{80, 86, 87, 89, 90}, "FlashAttention 3 runs up to Hopper (SM90)"},
	"trtllm_mha":     {[]int{100, 103}, []int{90, 100, 103, 120}, "prefill needs SM100; decode SM90, SM100 or SM120"},
	"trtllm_mla":     {[]int{100, 103, 120}, []int{100, 103, 120}, "it needs Blackwell"},
	"tokenspeed_mla": {[]int{100, 103, 120}, []int{100, 103, 120}, "it needs Blackwell and an fp8_e4m3 KV cache"},
	"cutedsl_mla":    {nil, []int{100, 103}, "it needs SM100 and decodes only"},
	"hpc_ops":        {[]int{90}, []int{90}, "it needs Hopper (SM90)"},
}

func checkAttentionGPU(u engine.Setup) (key, problem string) {
	sm, amd := engine.GPUGeneration(u.GPU)
	if sm == 0 && !amd {
		return "", ""
	}
	keys, names := backends(u.Settings)
	for i, name := range names {
		g, known := generations[name]
		if !known {
			continue
		}
		allowed := g.prefill
		if keys[i] == "decode_attention_backend" || name == "cutedsl_mla" {
			allowed = g.decode
		}
		if amd || !slices.Contains(allowed, sm) {
			return keys[i], fmt.Sprintf("%s does not run on %s: %s; leave it out to let the server choose", name, u.GPU, g.note)
		}
	}
	return "", ""
}

func checkDecodeOnly(u engine.Setup) (key, problem string) {
	for _, key := range backendKeys[:2] {
		if u.Settings.Word(key) == "cutedsl_mla" {
			return key, "cutedsl_mla only decodes; set it as decode_attention_backend and another for prefill"
		}
	}
	if slices.Contains(backendNames(u.Settings), "tokenspeed_mla") {
		if kv := u.Settings.Word("kv_cache_dtype"); kv != "fp8_e4m3" && kv != "" && kv != "auto" {
			return "kv_cache_dtype", "tokenspeed_mla reads an fp8_e4m3 KV cache only, not " + kv
		}
	}
	return "", ""
}

func backendNames(s engine.Settings) []string {
	_, names := backends(s)
	return names
}

// pages are the page sizes that a backend keeps; others are replaced with a
// warning.
var pages = map[string][]int{
	"flashmla": {64}, "cutlass_mla": {128}, "trtllm_mla": {32, 64}, "tokenspeed_mla": {32, 64},
	"cutedsl_mla": {32, 64}, "trtllm_mha": {16, 32, 64, 128}, "hpc_ops": {64},
}

func checkBackendPage(u engine.Setup) (key, problem string) {
	page, ok := u.Settings.Number("page_size")
	if !ok {
		return "", ""
	}
	for _, name := range backendNames(u.Settings) {
		if sizes := pages[name]; len(sizes) > 0 && !slices.Contains(sizes, int(page)) {
			return "page_size", fmt.Sprintf("%s replaces %v by its own size, so varying it changes nothing; it takes %s", name, page, listed(sizes))
		}
	}
	return "", ""
}

func listed(ns []int) string {
	words := make([]string, len(ns))
	for i, n := range ns {
		words[i] = fmt.Sprint(n)
	}
	return strings.Join(words, ", ")
}

func checkFA3(u engine.Setup) (key, problem string) {
	if u.Settings.Word("kv_cache_dtype") != "fp8_e5m2" || !slices.Contains(backendNames(u.Settings), "fa3") {
		return "", ""
	}
	return "kv_cache_dtype", "with fp8_e5m2 the server replaces fa3 by triton; use fp8_e4m3 to keep fa3"
}

func checkGraphless(u engine.Setup) (key, problem string) {
	keys, names := backends(u.Settings)
	for i, name := range names {
		if name == "torch_native" || name == "flex_attention" {
			return keys[i], name + " switches CUDA graphs off: expect slow decoding"
		}
	}
	return "", ""
}

func checkMXFP8(u engine.Setup) (key, problem string) {
	if u.Settings.Word("kv_cache_dtype") != "mxfp8" {
		return "", ""
	}
	if sm, amd := engine.GPUGeneration(u.GPU); amd || sm > 0 && sm < 100 {
		return "kv_cache_dtype", "mxfp8 needs a Blackwell GPU, not " + u.GPU
	}
	for _, name := range backendNames(u.Settings) {
		if name != "fa4" {
			return "kv_cache_dtype", "mxfp8 needs the attention backend fa4, not " + name
		}
	}
	return "", ""
}

func checkMoEGPU(u engine.Setup) (key, problem string) {
	sm, amd := engine.GPUGeneration(u.GPU)
	if u.Settings.Word("moe_runner_backend") == "hpc_ops" && (amd || sm > 0 && sm != 90) {
		return "moe_runner_backend", "hpc_ops needs Hopper (SM90), not " + u.GPU
	}
	return "", ""
}

func checkA2AEP(u engine.Setup) (key, problem string) {
	a2a := u.Settings.Word("moe_a2a_backend")
	ep, set := u.Settings.Number("ep_size")
	tp := size(u.Settings, "tp_size")
	if a2a == "" || a2a == "none" || !set || int(ep) == tp {
		return "", ""
	}
	return "ep_size", fmt.Sprintf("moe_a2a_backend %s sets it to tp_size %d, so varying it changes nothing", a2a, tp)
}

func checkA2AFlashInfer(u engine.Setup) (key, problem string) {
	s := u.Settings
	if s.Word("moe_a2a_backend") != "flashinfer" || s.On("enable_dp_attention") && size(s, "dp_size") == size(s, "tp_size") {
		return "", ""
	}
	return "moe_a2a_backend", "flashinfer needs enable_dp_attention: true and dp_size equal to tp_size"
}

func checkPPLX(u engine.Setup) (key, problem string) {
	if u.Settings.Word("moe_a2a_backend") != "pplx" || size(u.Settings, "dp_size") >= 2 {
		return "", ""
	}
	return "moe_a2a_backend", "pplx needs dp_size of at least 2"
}

func checkDeepEP(u engine.Setup) (key, problem string) {
	if u.Settings.Word("deepep_mode") != "normal" {
		return "", ""
	}
	return "deepep_mode", "normal switches CUDA graphs off: expect slow decoding; auto uses it for prefill only"
}

func checkTBO(u engine.Setup) (key, problem string) {
	s := u.Settings
	a2a := s.Word("moe_a2a_backend")
	if !s.On("enable_two_batch_overlap") || a2a != "" && a2a != "none" || s.On("enable_dp_attention") {
		return "", ""
	}
	return "enable_two_batch_overlap", "without moe_a2a_backend it needs enable_dp_attention: true"
}

func checkCompile(u engine.Setup) (key, problem string) {
	if !u.Settings.On("enable_torch_compile") || !u.Settings.On("disable_cuda_graph_padding") {
		return "", ""
	}
	return "enable_torch_compile", "it does not run with disable_cuda_graph_padding; leave one of them out"
}

var specSizes = []string{"speculative_num_steps", "speculative_eagle_topk", "speculative_num_draft_tokens"}

func checkSpecTriple(u engine.Setup) (key, problem string) {
	switch u.Settings.Word("speculative_algorithm") {
	case "EAGLE", "EAGLE3", "NEXTN", "STANDALONE":
	default:
		return "", ""
	}
	var set, missing []string
	for _, key := range specSizes {
		if u.Settings.Word(key) == "" {
			missing = append(missing, key)
		} else {
			set = append(set, key)
		}
	}
	if len(set) == 0 || len(missing) == 0 {
		return "", ""
	}
	return set[0], "speculation sizes are all set or all automatic; also set " + strings.Join(missing, " and ")
}

func checkSpecTopK(u engine.Setup) (key, problem string) {
	topk, ok := u.Settings.Number("speculative_eagle_topk")
	steps, okSteps := u.Settings.Number("speculative_num_steps")
	draft, okDraft := u.Settings.Number("speculative_num_draft_tokens")
	switch {
	case ok && okSteps && okDraft && topk == 1 && draft != steps+1:
		return "speculative_num_draft_tokens", fmt.Sprintf("with topk 1 the server sets it to steps + 1 = %v, so %v has no effect", steps+1, draft)
	case ok && topk > 1 && slices.Contains(backendNames(u.Settings), "trtllm_mha"):
		return "speculative_eagle_topk", "trtllm_mha takes topk 1 only"
	}
	return "", ""
}

func checkSpecBatch(u engine.Setup) (key, problem string) {
	if u.Settings.Word("speculative_algorithm") == "" || u.Settings.Word("max_running_requests") != "" {
		return "", ""
	}
	return "speculative_algorithm", "speculation lowers the default of max_running_requests to 48; set it to compare at equal limits"
}

func checkSymmMem(u engine.Setup) (key, problem string) {
	if !u.Settings.On("enable_torch_symm_mem") {
		return "", ""
	}
	sm, amd := engine.GPUGeneration(u.GPU)
	world := size(u.Settings, "tp_size")
	switch {
	case amd:
		return "enable_torch_symm_mem", "it needs an NVIDIA GPU of SM90 or SM100"
	case sm == 90 && world != 4 && world != 6 && world != 8:
		return "enable_torch_symm_mem", fmt.Sprintf("on SM90 it takes a world size of 4, 6 or 8, not %d", world)
	case (sm == 100 || sm == 103) && world != 6 && world != 8:
		return "enable_torch_symm_mem", fmt.Sprintf("on SM100 it takes a world size of 6 or 8, not %d", world)
	}
	return "", ""
}

func checkWorkerKeys(u engine.Setup) (key, problem string) {
	s := u.Settings
	if size(s, "tokenizer_worker_num") < 2 || s.Word("api_key") == "" && s.Word("admin_api_key") == "" {
		return "", ""
	}
	return "tokenizer_worker_num", "keys do not work with several tokenizer workers, and the workers end with an assertion; leave one of them out"
}

func checkPrefillTokens(u engine.Setup) (key, problem string) {
	tokens, ok := u.Settings.Number("max_prefill_tokens")
	context, set := u.Settings.Number("context_length")
	if !ok || !set || tokens >= context {
		return "", ""
	}
	return "max_prefill_tokens", fmt.Sprintf("the larger of it and context_length %v counts, so %v has no effect", context, tokens)
}
