package sglang

import "llmdyno/internal/engine"

// Attention backends of --attention-backend and its two stages.
var attentionBackends = []string{
	"triton", "torch_native", "flex_attention", "dsa", "nsa", "dsv4", "compressed",
	"cutlass_mla", "fa3", "fa4", "flashinfer", "flashmla", "trtllm_mla", "cutedsl_mla",
	"tokenspeed_mla", "trtllm_mha", "dual_chunk_flash_attn", "hpc_ops",
	"aiter", "wave", "intel_amx", "ascend", "intel_xpu",
}

// flags is the table of server arguments. A row without a source was read from
// the server arguments themselves.
func flags() []engine.Flag {
	table := concat(identityFlags(), servingFlags(), parallelFlags(), memoryFlags(), batchingFlags(),
		attentionFlags(), moeFlags(), cacheFlags(), speculationFlags(), graphFlags(), commFlags(), runtimeFlags())
	for i := range table {
		if table[i].Source == (engine.Source{}) {
			table[i].Source = args
		}
	}
	return table
}

func concat(groups ...[]engine.Flag) []engine.Flag {
	var table []engine.Flag
	for _, g := range groups {
		table = append(table, g...)
	}
	return table
}

func identityFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "model_path", Also: []string{"--model"}, Type: engine.FlagString, Family: engine.FamilyIdentity, Upstream: true,
			Note: "Hugging Face id or folder of the weights"},
		{Key: "tokenizer_path", Type: engine.FlagString, Family: engine.FamilyIdentity, Note: "the model's own when absent"},
		{Key: "served_model_name", Type: engine.FlagString, Family: engine.FamilyIdentity, Note: "the name in /v1/models; the model path when absent"},
		{Key: "trust_remote_code", Type: engine.FlagBool, Default: "false", Family: engine.FamilyIdentity, Upstream: true},
		{Key: "revision", Type: engine.FlagString, Family: engine.FamilyIdentity},
		{Key: "download_dir", Type: engine.FlagString, Family: engine.FamilyIdentity},
		{Key: "tokenizer_mode", Type: engine.FlagEnum, Default: "auto", Values: []string{"auto", "slow"}, Family: engine.FamilyIdentity},
		{Key: "json_model_override_args", Type: engine.FlagJSON, Default: "{}", Family: engine.FamilyIdentity},
		{Key: "lora_paths", Type: engine.FlagList, Family: engine.FamilyIdentity, Note: "switches LoRA on"},
		{Key: "load_format", Type: engine.FlagEnum, Default: "auto", Family: engine.FamilyIdentity,
			Note: "dummy starts with random weights: a flow check without the download"},
		{Key: "model_loader_extra_config", Type: engine.FlagJSON, Default: "{}", Family: engine.FamilyIdentity, Upstream: true, Source: upstream},
		{Key: "enable_multimodal", Type: engine.FlagBool, Family: engine.FamilyIdentity, Upstream: true, Source: upstream,
			Note: "takes the image and audio path of a model that also runs without it"},
		{Key: "dllm_algorithm", Type: engine.FlagString, Family: engine.FamilyIdentity, Upstream: true, Source: upstream,
			Note: "decoding algorithm of a diffusion language model"},
		{Key: "dtype", Type: engine.FlagEnum, Default: "auto", Family: engine.FamilyPrecision, Upstream: true,
			Values: []string{"auto", "half", "float16", "bfloat16", "float", "float32"}},
		{Key: "quantization", Type: engine.FlagEnum, Family: engine.FamilyPrecision, Note: "read from the checkpoint when absent"},
		{Key: "torchao_config", Type: engine.FlagString, Default: "", Family: engine.FamilyPrecision, Until: "0.5.17"},
	}
}

func servingFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "host", Type: engine.FlagString, Default: "127.0.0.1", Family: engine.FamilyServing, Upstream: true},
		{Key: "port", Type: engine.FlagInt, Default: "30000", Min: new(1.0), Max: new(65535.0), Family: engine.FamilyServing, Upstream: true},
		{Key: "api_key", Type: engine.FlagString, Family: engine.FamilyServing,
			Note: "guards everything but /health and /metrics; /server_info returns it in clear"},
		{Key: "admin_api_key", Type: engine.FlagString, Family: engine.FamilyServing, Since: "0.5.8",
			Note: "guards flush, profile and configuration; with both keys set the admin key is refused on the generating routes"},
		{Key: "reasoning_parser", Type: engine.FlagEnum, Family: engine.FamilyServing, Upstream: true,
			Note: "moves thinking text to reasoning_content"},
		{Key: "tool_call_parser", Type: engine.FlagEnum, Family: engine.FamilyServing, Upstream: true},
		{Key: "grammar_backend", Type: engine.FlagEnum, Family: engine.FamilyServing, Values: []string{"xgrammar", "outlines", "llguidance", "none"}},
		{Key: "sampling_backend", Type: engine.FlagEnum, Family: engine.FamilyServing, Values: []string{"flashinfer", "pytorch", "ascend"}},
		{Key: "stream_interval", Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyServing,
			Note: "tokens a chunk; above 1 the host works less and inter-token latency looks burstier"},
		{Key: "incremental_streaming_output", Type: engine.FlagBool, Default: "false", Family: engine.FamilyServing, Since: "0.5.10",
			Note: "/generate streams deltas instead of all text so far (called stream_output up to v0.5.9)"},
		{Key: "stream_output", Type: engine.FlagBool, Default: "false", Family: engine.FamilyServing, Until: "0.5.9",
			Note: "old name of incremental_streaming_output"},
		{Key: "stream_response_default_include_usage", Type: engine.FlagBool, Default: "false", Family: engine.FamilyServing,
			Note: "usage on every stream without being asked"},
		{Key: "enable_cache_report", Type: engine.FlagBool, Default: "false", Family: engine.FamilyServing,
			Note: "adds prompt_tokens_details.cached_tokens to usage: needed to see prefix hits per request"},
		{Key: "tokenizer_worker_num", Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyServing,
			Note: "keys are not supported above 1"},
		{Key: "skip_tokenizer_init", Type: engine.FlagBool, Default: "false", Family: engine.FamilyServing, Note: "token ids in and out, no text"},
		{Key: "chat_template", Type: engine.FlagString, Family: engine.FamilyServing, Note: "the model's own when absent"},
		{Key: "enable_http2", Type: engine.FlagBool, Default: "false", Family: engine.FamilyServing, Note: "Granian instead of uvicorn"},
	}
}

func parallelFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "tp_size", Also: []string{"--tp", "--tensor-parallel-size"}, Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyParallel, Upstream: true,
			Note: "tp × pp must be divisible by the number of nodes"},
		{Key: "pp_size", Also: []string{"--pipeline-parallel-size"}, Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyParallel, Upstream: true,
			Note: "above 1: no overlap scheduler, no speculation"},
		{Key: "dp_size", Also: []string{"--dp", "--data-parallel-size"}, Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyParallel,
			Note: "over several nodes it needs dp attention"},
		{Key: "ep_size", Also: []string{"--ep", "--expert-parallel-size"}, Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyParallel, Upstream: true,
			Note: "an all-to-all backend forces it to tp"},
		{Key: "nnodes", Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyParallel, Upstream: true},
		{Key: "base_gpu_id", Type: engine.FlagInt, Default: "0", Min: new(0.0), Family: engine.FamilyParallel, Note: "first GPU, where several servers share a machine"},
		{Key: "node_rank", Type: engine.FlagInt, Default: "0", Min: new(0.0), Family: engine.FamilyParallel},
		{Key: "dist_init_addr", Type: engine.FlagString, Family: engine.FamilyParallel},
		{Key: "enable_dp_attention", Type: engine.FlagBool, Default: "false", Family: engine.FamilyParallel,
			Note: "divides chunked_prefill_size by dp and multiplies schedule_conservativeness by 0.3; off when dp is 1; tp must be divisible by dp"},
		{Key: "enable_dp_lm_head", Type: engine.FlagBool, Default: "false", Family: engine.FamilyParallel},
		{Key: "moe_dense_tp_size", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyParallel, Note: "1 or tp"},
		{Key: "load_balance_method", Type: engine.FlagEnum, Default: "auto", Family: engine.FamilyParallel,
			Values: []string{"auto", "round_robin", "follow_bootstrap_room", "total_requests", "total_tokens"},
			Note:   "round_robin up to v0.5.7"},
		{Key: "dcp_size", Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyParallel},
		{Key: "attn_cp_size", Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyParallel},
		{Key: "enable_prefill_cp", Type: engine.FlagBool, Default: "false", Family: engine.FamilyParallel},
		{Key: "cp_strategy", Type: engine.FlagEnum, Family: engine.FamilyParallel, Values: []string{"zigzag", "interleave"}},
		{Key: "disaggregation_mode", Type: engine.FlagEnum, Default: "null", Family: engine.FamilyParallel, Values: []string{"null", "prefill", "decode"}},
		{Key: "disaggregation_transfer_backend", Type: engine.FlagEnum, Default: "mooncake", Family: engine.FamilyParallel,
			Values: []string{"mooncake", "nixl", "ascend", "fake", "mori", "mooncake_tcp"}},
	}
}

func memoryFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "mem_fraction_static", Type: engine.FlagFloat, Min: new(0.0), Max: new(1.0), Family: engine.FamilyMemory, Upstream: true,
			Note: "(weights + KV cache) / GPU memory. Default by a reserve of 512 + 1.5 × max(chunk, 2048) + tp × pp / 8 × 1024 MB plus graphs, at least 10240 MB on cards above 60 GB; 0.88 if the memory is unknown"},
		{Key: "max_total_tokens", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyMemory, Note: "bounds the KV pool; for tests"},
		{Key: "page_size", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyMemory,
			Note: "1 unless model or backend rewrites it: flashmla and hpc_ops 64, cutlass_mla 128, trtllm_mla, tokenspeed_mla and cutedsl_mla 32 or 64, trtllm_mha 16, 32, 64 or 128; other values change with a warning"},
		{Key: "kv_cache_dtype", Type: engine.FlagEnum, Default: "auto", Family: engine.FamilyMemory, Upstream: true,
			Values: []string{"auto", "fp8_e5m2", "fp8_e4m3", "bf16", "bfloat16", "fp4_e2m1", "mxfp8", "nvfp4", "fp4_mx_block16"},
			Note:   "mxfp8 needs Blackwell and fa4"},
		{Key: "cpu_offload_gb", Type: engine.FlagInt, Default: "0", Min: new(0.0), Family: engine.FamilyMemory},
		{Key: "context_length", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyMemory, Upstream: true, Note: "the model's own when absent"},
	}
}

func batchingFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "max_running_requests", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyBatching, Upstream: true,
			Note: "default min(4096, max(2048, tokens/context × 512)), at most tokens/2; 48 with speculation; split over data-parallel ranks"},
		{Key: "max_queued_requests", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyBatching, Note: "a full queue answers 503"},
		{Key: "chunked_prefill_size", Type: engine.FlagInt, Min: new(-1.0), Family: engine.FamilyBatching, Upstream: true,
			Note: "2048 below 35 GB of GPU memory, 4096 below 60, 8192 below 160, else 16384; -1 = off; must divide by the page size"},
		{Key: "max_prefill_tokens", Type: engine.FlagInt, Default: "16384", Min: new(1.0), Family: engine.FamilyBatching,
			Note: "the larger of this and the context length counts"},
		{Key: "prefill_max_requests", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyBatching},
		{Key: "pp_max_micro_batch_size", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyBatching, Note: "with pipeline parallelism only"},
		{Key: "enable_mixed_chunk", Type: engine.FlagBool, Default: "false", Family: engine.FamilyBatching, Note: "not with speculation"},
		{Key: "schedule_policy", Type: engine.FlagEnum, Default: "fcfs", Family: engine.FamilyScheduling, Upstream: true,
			Values: []string{"lpm", "random", "fcfs", "dfs-weight", "lof", "priority", "routing-key"}},
		{Key: "schedule_conservativeness", Type: engine.FlagFloat, Default: "1.0", Min: new(0.0), Family: engine.FamilyScheduling, Note: "higher: fewer retractions"},
		{Key: "enable_priority_scheduling", Type: engine.FlagBool, Default: "false", Family: engine.FamilyScheduling},
		{Key: "disable_overlap_schedule", Type: engine.FlagBool, Default: "false", Family: engine.FamilyScheduling,
			Note: "the overlap scheduler hides CPU time behind the GPU"},
		{Key: "num_continuous_decode_steps", Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyScheduling,
			Inert:  "nothing outside the argument parser reads it since sgl-project/sglang #2095",
			Source: read("python/sglang/srt/server_args.py and issue #2095")},
	}
}

func attentionFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "attention_backend", Type: engine.FlagEnum, Values: attentionBackends, Family: engine.FamilyAttention, Upstream: true,
			Note: "by hardware and model: MHA on Hopper fa3, SM100 trtllm_mha, ROCm aiter, else flashinfer, else triton; MLA on Hopper fa3, SM100 flashinfer, else triton"},
		{Key: "prefill_attention_backend", Type: engine.FlagEnum, Values: attentionBackends, Family: engine.FamilyAttention, Upstream: true},
		{Key: "decode_attention_backend", Type: engine.FlagEnum, Values: attentionBackends, Family: engine.FamilyAttention, Upstream: true},
		{Key: "triton_attention_num_kv_splits", Type: engine.FlagInt, Default: "8", Min: new(1.0), Family: engine.FamilyAttention},
		{Key: "triton_attention_reduce_in_fp32", Type: engine.FlagBool, Default: "false", Family: engine.FamilyAttention,
			Inert: "nothing outside the argument parser reads it in v0.5.18"},
	}
}

func moeFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "moe_runner_backend", Type: engine.FlagEnum, Default: "auto", Family: engine.FamilyMoE, Upstream: true, Since: "0.5.3",
			Values: []string{"auto", "deep_gemm", "triton", "triton_kernel", "flashinfer_trtllm", "experimental_sgl_trtllm", "flashinfer_trtllm_routed",
				"flashinfer_cutlass", "flashinfer_mxfp4", "flashinfer_cutedsl", "cutlass", "aiter", "marlin", "humming", "experimental_sgl_marlin",
				"hpc_ops", "megamoe"},
			Note: "flashinfer_cutlass: ModelOpt FP4/FP8 or bf16 and ep 1 or tp; flashinfer_cutedsl: NVFP4; cutlass with FP8: ep 1; hpc_ops: SM90"},
		{Key: "moe_a2a_backend", Type: engine.FlagEnum, Default: "none", Family: engine.FamilyMoE, Since: "0.5.3",
			Values: []string{"none", "deepep", "mooncake", "nixl", "mori", "ascend_fuseep", "ascend_tp", "flashinfer", "megamoe", "pplx"},
			Note:   "any of them forces ep = tp"},
		{Key: "deepep_mode", Type: engine.FlagEnum, Default: "auto", Values: []string{"auto", "normal", "low_latency"}, Family: engine.FamilyMoE,
			Note: "normal switches CUDA graphs off"},
		{Key: "fp8_gemm_backend", Type: engine.FlagEnum, Default: "auto", Family: engine.FamilyMoE},
		{Key: "fp4_gemm_backend", Type: engine.FlagEnum, Default: "auto", Family: engine.FamilyMoE, Note: "auto: cutedsl on SM100, marlin on SM80 to SM90, else cutlass"},
		{Key: "bf16_gemm_backend", Type: engine.FlagEnum, Default: "auto", Family: engine.FamilyMoE},
		{Key: "enable_two_batch_overlap", Type: engine.FlagBool, Default: "false", Family: engine.FamilyMoE, Note: "without an all-to-all backend it needs dp attention"},
		{Key: "enable_single_batch_overlap", Type: engine.FlagBool, Default: "false", Family: engine.FamilyMoE},
		{Key: "enable_eplb", Type: engine.FlagBool, Default: "false", Family: engine.FamilyMoE},
		{Key: "enable_ep_moe", Type: engine.FlagBool, Default: "false", Family: engine.FamilyMoE, Until: "0.5.2", Note: "now ep_size with moe_runner_backend"},
		{Key: "enable_deepep_moe", Type: engine.FlagBool, Default: "false", Family: engine.FamilyMoE, Until: "0.5.2", Note: "now moe_a2a_backend deepep"},
	}
}

func cacheFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "disable_radix_cache", Type: engine.FlagBool, Default: "false", Family: engine.FamilyCache, Note: "for runs with a cold prefix cache"},
		{Key: "radix_eviction_policy", Type: engine.FlagEnum, Default: "lru", Values: []string{"lru", "lfu", "slru", "priority"}, Family: engine.FamilyCache},
		{Key: "enable_hierarchical_cache", Type: engine.FlagBool, Default: "false", Family: engine.FamilyCache},
		{Key: "hicache_ratio", Type: engine.FlagFloat, Default: "2.0", Min: new(0.0), Family: engine.FamilyCache},
		{Key: "hicache_size", Type: engine.FlagInt, Default: "0", Min: new(0.0), Family: engine.FamilyCache, Note: "GB a rank"},
		{Key: "hicache_write_policy", Type: engine.FlagEnum, Default: "write_through", Family: engine.FamilyCache,
			Values: []string{"write_back", "write_through", "write_through_selective"}},
		{Key: "hicache_mem_layout", Type: engine.FlagEnum, Family: engine.FamilyCache, Note: "layer_first up to v0.5.13, page_first since"},
		{Key: "hicache_storage_backend", Type: engine.FlagEnum, Family: engine.FamilyCache},
		{Key: "hicache_storage_prefetch_policy", Type: engine.FlagEnum, Family: engine.FamilyCache, Note: "best_effort up to v0.5.11, timeout since"},
		{Key: "hybrid_kvcache_ratio", Type: engine.FlagFloat, Family: engine.FamilyCache, Until: "0.5.7"},
		{Key: "mamba_radix_cache_strategy", Also: []string{"--mamba-scheduler-strategy"}, Type: engine.FlagEnum, Family: engine.FamilyCache},
	}
}

func speculationFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "speculative_algorithm", Type: engine.FlagEnum, Family: engine.FamilySpeculation,
			Values: []string{"EAGLE", "EAGLE3", "NEXTN", "STANDALONE", "NGRAM", "DFLASH", "DSPARK"},
			Note:   "lowers the default of max_running_requests to 48"},
		{Key: "speculative_draft_model_path", Type: engine.FlagString, Family: engine.FamilySpeculation},
		{Key: "speculative_num_steps", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilySpeculation,
			Note: "steps, topk and draft tokens are all set or all automatic: (3, 1, 4), for Llama and Grok-1 (5, 4, 8)"},
		{Key: "speculative_eagle_topk", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilySpeculation,
			Note: "1 forces draft tokens = steps + 1; above 1 with pages above 1 only on flashinfer, fa3, triton; trtllm_mha takes 1 only"},
		{Key: "speculative_num_draft_tokens", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilySpeculation},
		{Key: "speculative_adaptive", Type: engine.FlagBool, Default: "false", Family: engine.FamilySpeculation},
	}
}

func graphFlags() []engine.Flag {
	phases := []string{"full", "breakable", "tc_piecewise", "disabled"}
	return []engine.Flag{
		{Key: "cuda_graph_max_bs_decode", Also: []string{"--cuda-graph-max-bs"}, Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyGraphs, Since: "0.5.14",
			Note: "by GPU memory: 8, 24 or 80, 32 or 160, 256 or 512 (the second for tp ≥ 4), 512"},
		{Key: "cuda_graph_max_bs", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyGraphs, Note: "alias of cuda_graph_max_bs_decode since v0.5.14"},
		{Key: "cuda_graph_bs_decode", Also: []string{"--cuda-graph-bs"}, Type: engine.FlagList, Family: engine.FamilyGraphs, Since: "0.5.14"},
		{Key: "cuda_graph_bs", Type: engine.FlagList, Family: engine.FamilyGraphs, Note: "alias of cuda_graph_bs_decode since v0.5.14"},
		{Key: "cuda_graph_backend_prefill", Type: engine.FlagEnum, Values: phases, Family: engine.FamilyGraphs, Since: "0.5.14", Note: "breakable on CUDA, tc_piecewise elsewhere"},
		{Key: "cuda_graph_backend_decode", Type: engine.FlagEnum, Default: "full", Values: phases, Family: engine.FamilyGraphs, Since: "0.5.14"},
		{Key: "cuda_graph_config", Type: engine.FlagJSON, Family: engine.FamilyGraphs, Since: "0.5.14", Note: "per phase; wins over the other graph flags"},
		{Key: "disable_cuda_graph", Type: engine.FlagBool, Default: "false", Family: engine.FamilyGraphs, Note: "deprecated alias since v0.5.14"},
		{Key: "disable_cuda_graph_padding", Type: engine.FlagBool, Default: "false", Family: engine.FamilyGraphs},
		{Key: "enable_torch_compile", Type: engine.FlagBool, Default: "false", Family: engine.FamilyGraphs, Note: "not with disable_cuda_graph_padding"},
		{Key: "torch_compile_max_bs", Type: engine.FlagInt, Default: "32", Min: new(1.0), Family: engine.FamilyGraphs},
	}
}

func commFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "enable_symm_mem", Type: engine.FlagBool, Default: "false", Family: engine.FamilyComm, Upstream: true},
		{Key: "enable_torch_symm_mem", Type: engine.FlagBool, Default: "false", Family: engine.FamilyComm, Note: "SM90 with world size 4, 6 or 8; SM100 with 6 or 8"},
		{Key: "disable_custom_all_reduce", Type: engine.FlagBool, Default: "false", Family: engine.FamilyComm},
		{Key: "enable_mscclpp", Type: engine.FlagBool, Default: "false", Family: engine.FamilyComm},
		{Key: "enable_nccl_nvls", Type: engine.FlagBool, Default: "false", Family: engine.FamilyComm},
		{Key: "flashinfer_allreduce_fusion_backend", Type: engine.FlagEnum, Values: []string{"auto", "trtllm", "mnnvl"}, Family: engine.FamilyComm, Note: "SM90 and SM10x"},
	}
}

func runtimeFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "random_seed", Type: engine.FlagInt, Family: engine.FamilyRuntime},
		{Key: "config", Type: engine.FlagString, Family: engine.FamilyRuntime, Note: "YAML file with flags"},
		{Key: "device", Type: engine.FlagString, Family: engine.FamilyRuntime},
		{Key: "log_level", Type: engine.FlagString, Default: "info", Family: engine.FamilyRuntime},
		{Key: "log_requests", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime, Note: "writes prompts to the log from level 1 on"},
		{Key: "log_requests_level", Type: engine.FlagInt, Default: "2", Min: new(0.0), Max: new(3.0), Family: engine.FamilyRuntime},
		{Key: "enable_layerwise_nvtx_marker", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime},
		{Key: "enable_deterministic_inference", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime, Note: "same output whatever the batch, at a cost in speed"},
		{Key: "decode_log_interval", Type: engine.FlagInt, Default: "40", Min: new(1.0), Family: engine.FamilyRuntime, Note: "also how often the gauges are refreshed while decoding"},
		{Key: "enable_metrics", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime, Note: "without it /metrics is 404"},
		{Key: "enable_metrics_for_all_schedulers", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime},
		{Key: "enable_mfu_metrics", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime},
		{Key: "enable_request_time_stats_logging", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime},
		{Key: "export_metrics_to_file", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime},
		{Key: "export_metrics_to_file_dir", Type: engine.FlagString, Family: engine.FamilyRuntime},
		{Key: "load_snapshot_publish_interval", Type: engine.FlagInt, Default: "15", Min: new(1.0), Family: engine.FamilyRuntime, Since: "0.5.13", Note: "decode steps between two publications of /v1/loads"},
		{Key: "crash_dump_folder", Type: engine.FlagString, Family: engine.FamilyRuntime},
		{Key: "watchdog_timeout", Type: engine.FlagFloat, Default: "300", Min: new(0.0), Family: engine.FamilyRuntime, Note: "seconds without progress until the server kills itself"},
		{Key: "soft_watchdog_timeout", Type: engine.FlagFloat, Min: new(0.0), Family: engine.FamilyRuntime},
		{Key: "skip_server_warmup", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime, Note: "the first requests then pay for kernel compilation"},
		{Key: "warmups", Type: engine.FlagString, Family: engine.FamilyRuntime},
		{Key: "enable_trace", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime},
		{Key: "otlp_traces_endpoint", Type: engine.FlagString, Default: "localhost:4317", Family: engine.FamilyRuntime, Since: "0.5.5"},
	}
}
