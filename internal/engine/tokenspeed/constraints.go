package tokenspeed

import (
	"fmt"
	"slices"

	"llmdyno/internal/engine"
)

// Defaults that the rules below count with.
const (
	defaultChunk   = 8192
	defaultPrefill = 8192
	defaultSteps   = 3
)

// constraints are the rules of the server arguments, in the order in which a
// start would meet them.
func constraints() []engine.Constraint {
	rules := []engine.Constraint{
		{ID: "tp-given-twice", Title: "one name for the tensor-parallel size", Fatal: true, Check: checkTPTwice},
		{ID: "moe-tp-with-ep", Title: "MoE is split by tensor or by expert", Fatal: true, Check: checkMoESplit},
		{ID: "dp-needs-address", Title: "data parallelism needs a rendezvous address", Fatal: true, Check: checkDPAddress},
		{ID: "seqs-below-dp", Title: "a sequence for every data-parallel rank", Fatal: true, Check: checkSeqsDP},
		{ID: "dp-chunk-above-prefill", Title: "a chunk fits the prefill budget under data parallelism", Fatal: true, Check: checkDPChunk},
		{ID: "no-prefix-cache-with-kvstore", Title: "the host KV tier needs prefix caching", Fatal: true, Check: checkKVStore},
		{ID: "dspark-with-kvstore", Title: "DSPARK from one checkpoint runs without the host KV tier", Fatal: true, Check: checkDSpark},
		{ID: "block-drafter-steps", Title: "a block drafter makes one token more than steps", Fatal: true, Check: checkDraftSteps},
		{ID: "mxfp8-granularity", Title: "an mxfp8 KV cache needs a granularity of 128", Fatal: true, Check: checkMXFP8},
		{ID: "ep-switch-overridden", Title: "an expert-parallel size wins over the switch", Check: checkEPSwitch},
		{ID: "prefill-tokens-with-chunks", Title: "the prefill budget counts without chunks only", Check: checkPrefillTokens},
		{ID: "fusion-with-dense-tp", Title: "all-reduces are fused at one tensor-parallel size", Check: checkFusion},
		{ID: "graphs-switched-off", Title: "sizes of graphs that are switched off", Check: checkGraphs},
		{ID: "speculation-without-algorithm", Title: "speculation sizes need an algorithm", Check: checkSpecAlone},
		{ID: "speculation-batch-default", Title: "speculation halves the batch limit", Check: checkSpecBatch},
	}
	for i := range rules {
		rules[i].Source = args
	}
	return rules
}

// size is a parallel size, 1 when it is not set.
func size(s engine.Settings, key string) int {
	return max(1, number(s, key, 1))
}

// number is a setting's whole number, or its default.
func number(s engine.Settings, key string, otherwise int) int {
	n, ok := s.Number(key)
	if !ok {
		return otherwise
	}
	return int(n)
}

// attention is the tensor-parallel size of attention, under either name.
func attention(s engine.Settings) int {
	return max(size(s, "tensor_parallel_size"), size(s, "attn_tp_size"))
}

// speculates says that a draft is made, by one flag or the other.
func speculates(s engine.Settings) bool {
	return s.Word("speculative_algorithm") != "" || s.Word("speculative_config") != ""
}

func checkTPTwice(u engine.Setup) (key, problem string) {
	if u.Settings.Word("tensor_parallel_size") == "" || u.Settings.Word("attn_tp_size") == "" {
		return "", ""
	}
	return "attn_tp_size", "it is another name of tensor_parallel_size, and both together end the start; leave one of them out"
}

func checkMoESplit(u engine.Setup) (key, problem string) {
	s := u.Settings
	tp, ep := size(s, "moe_tp_size"), size(s, "expert_parallel_size")
	if s.On("enable_expert_parallel") && ep == 1 {
		ep = attention(s) * size(s, "data_parallel_size")
	}
	if tp < 2 || ep < 2 {
		return "", ""
	}
	return "moe_tp_size", fmt.Sprintf("%d together with an expert-parallel size of %d ends the start: only one of them may be above 1", tp, ep)
}

func checkDPAddress(u engine.Setup) (key, problem string) {
	if size(u.Settings, "data_parallel_size") < 2 || u.Settings.Word("dist_init_addr") != "" {
		return "", ""
	}
	return "data_parallel_size", "above 1 the start needs dist_init_addr as well, such as 127.0.0.1:4000"
}

func checkSeqsDP(u engine.Setup) (key, problem string) {
	seqs, ok := u.Settings.Number("max_num_seqs")
	dp := size(u.Settings, "data_parallel_size")
	if !ok || int(seqs) >= dp {
		return "", ""
	}
	return "max_num_seqs", fmt.Sprintf("%v is below data_parallel_size %d; give every rank at least one", seqs, dp)
}

func checkDPChunk(u engine.Setup) (key, problem string) {
	s := u.Settings
	chunk, budget := number(s, "chunked_prefill_size", defaultChunk), number(s, "max_prefill_tokens", defaultPrefill)
	if size(s, "data_parallel_size") < 2 || chunk <= budget {
		return "", ""
	}
	return "chunked_prefill_size", fmt.Sprintf("with data parallelism %d may not exceed max_prefill_tokens %d; raise that or lower this", chunk, budget)
}

// kvStore says whether the host KV tier is on, as it is by default.
func kvStore(s engine.Settings) bool {
	return !s.On("disable_kvstore") && s.Word("disaggregation_mode") != "encode"
}

func checkKVStore(u engine.Setup) (key, problem string) {
	s := u.Settings
	if !s.Off("enable_prefix_caching") || !kvStore(s) || s.Word("disaggregation_mode") == "decode" {
		return "", ""
	}
	return "enable_prefix_caching", "the host KV tier is on by default and needs it; also set disable_kvstore: true"
}

func checkDSpark(u engine.Setup) (key, problem string) {
	s := u.Settings
	draft := s.Word("speculative_draft_model_path")
	if s.Word("speculative_algorithm") != "DSPARK" || !kvStore(s) || draft != "" && draft != u.Model {
		return "", ""
	}
	return "speculative_algorithm", "DSPARK that drafts with the model itself needs disable_kvstore: true"
}

func checkDraftSteps(u engine.Setup) (key, problem string) {
	s := u.Settings
	algorithm := s.Word("speculative_algorithm")
	draft, set := s.Number("speculative_num_draft_tokens")
	steps := number(s, "speculative_num_steps", defaultSteps)
	if algorithm != "DFLASH" && algorithm != "DSPARK" || !set || steps == defaultSteps || steps == int(draft)-1 {
		return "", ""
	}
	return "speculative_num_steps", fmt.Sprintf("%s makes a block of %v tokens in %v steps, not %d; leave one of the two out", algorithm, draft, draft-1, steps)
}

func checkMXFP8(u engine.Setup) (key, problem string) {
	s := u.Settings
	if s.Word("kv_cache_dtype") != "mxfp8" || number(s, "prefix_granularity", 64) == 128 {
		return "", ""
	}
	return "kv_cache_dtype", "mxfp8 needs prefix_granularity 128 and an MHA attention backend"
}

func checkEPSwitch(u engine.Setup) (key, problem string) {
	if !u.Settings.On("enable_expert_parallel") || size(u.Settings, "expert_parallel_size") < 2 {
		return "", ""
	}
	return "enable_expert_parallel", "expert_parallel_size is set, so the switch changes nothing"
}

func checkPrefillTokens(u engine.Setup) (key, problem string) {
	s := u.Settings
	if s.Word("max_prefill_tokens") == "" || number(s, "chunked_prefill_size", defaultChunk) == -1 || size(s, "data_parallel_size") > 1 {
		return "", ""
	}
	return "max_prefill_tokens", "it counts while chunked_prefill_size is -1 only, so varying it changes nothing"
}

func checkFusion(u engine.Setup) (key, problem string) {
	s := u.Settings
	dense, set := s.Number("dense_tp_size")
	if !set || int(dense) == attention(s) || !s.On("enable_allreduce_fusion") {
		return "", ""
	}
	return "enable_allreduce_fusion", fmt.Sprintf("the server switches it off because dense_tp_size %v differs from that of attention, %d", dense, attention(s))
}

// graphSwitches name, for each switch, the sizes that it makes meaningless.
var graphSwitches = []struct {
	key   string
	sizes []string
}{
	{"enforce_eager", []string{"max_cudagraph_capture_size", "cudagraph_capture_sizes", "disable_cuda_graph_padding"}},
	{"disable_prefill_graph", []string{"prefill_graph_max_tokens", "prefill_graph_capture_sizes"}},
}

func checkGraphs(u engine.Setup) (key, problem string) {
	for _, g := range graphSwitches {
		if !u.Settings.On(g.key) {
			continue
		}
		for _, key := range g.sizes {
			if w := u.Settings.Word(key); w != "" && w != "false" {
				return key, g.key + " is on, so it changes nothing"
			}
		}
	}
	return "", ""
}

func checkSpecAlone(u engine.Setup) (key, problem string) {
	if speculates(u.Settings) {
		return "", ""
	}
	keys := []string{"speculative_draft_model_path", "speculative_num_steps", "speculative_num_draft_tokens", "draft_moe_backend", "drafter_attention_backend", "dp_sampling"}
	i := slices.IndexFunc(keys, func(k string) bool { w := u.Settings.Word(k); return w != "" && w != "false" })
	if i < 0 {
		return "", ""
	}
	return keys[i], "without speculative_algorithm or speculative_config it changes nothing"
}

func checkSpecBatch(u engine.Setup) (key, problem string) {
	s := u.Settings
	if !speculates(s) || s.Word("max_num_seqs") != "" {
		return "", ""
	}
	key = "speculative_algorithm"
	if s.Word(key) == "" {
		key = "speculative_config"
	}
	return key, "speculation lowers the default of max_num_seqs from 160 to 80; set it to compare at equal limits"
}
