package vllm

import "llmdyno/internal/engine"

// flags is the table of options. A row without a source was read from the
// parser. Options are spelled with dashes; underscores are read too. A JSON
// option takes a map, which is written as one word.
func flags() []engine.Flag {
	var table []engine.Flag
	for _, group := range [][]engine.Flag{
		identityFlags(), servingFlags(), parallelFlags(), memoryFlags(), cacheFlags(), batchingFlags(),
		precisionFlags(), attentionFlags(), graphFlags(), speculationFlags(), runtimeFlags(),
	} {
		table = append(table, group...)
	}
	for i := range table {
		if table[i].Source == (engine.Source{}) {
			table[i].Source = fromArgs
		}
	}
	return table
}

// onOff is a switch that has a --no- form.
func onOff(f engine.Flag, negative string) engine.Flag {
	f.Type, f.Negative = engine.FlagBool, negative
	return f
}

func identityFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "model", Type: engine.FlagString, Family: engine.FamilyIdentity, Note: "The model is the word after the command; as an option it warns."},
		{Key: "served_model_name", Type: engine.FlagList, Family: engine.FamilyIdentity, Note: "Names in /v1/models; the model itself when absent."},
		{Key: "tokenizer", Type: engine.FlagString, Family: engine.FamilyIdentity},
		{Key: "tokenizer_mode", Type: engine.FlagString, Default: "auto", Family: engine.FamilyIdentity},
		onOff(engine.Flag{Key: "skip_tokenizer_init", Default: "false", Family: engine.FamilyIdentity, Note: "Token ids in and out, no text."}, "--no-skip-tokenizer-init"),
		onOff(engine.Flag{Key: "trust_remote_code", Default: "false", Family: engine.FamilyIdentity, Upstream: true}, "--no-trust-remote-code"),
		{Key: "revision", Type: engine.FlagString, Family: engine.FamilyIdentity},
		{Key: "hf_overrides", Type: engine.FlagJSON, Default: "{}", Family: engine.FamilyIdentity},
		{Key: "load_format", Type: engine.FlagString, Default: "auto", Family: engine.FamilyIdentity, Source: fromRecipes,
			Note: "dummy starts with random weights: a flow check without the download."},
		{Key: "download_dir", Type: engine.FlagString, Family: engine.FamilyIdentity},
		{Key: "limit_mm_per_prompt", Type: engine.FlagJSON, Default: "{}", Family: engine.FamilyIdentity},
		{Key: "seed", Type: engine.FlagInt, Family: engine.FamilyIdentity},
	}
}

func servingFlags() []engine.Flag {
	list := []engine.Flag{
		{Key: "host", Type: engine.FlagString, Family: engine.FamilyServing, Upstream: true, Note: "Absent, it listens on every address."},
		{Key: "port", Type: engine.FlagInt, Default: "8000", Min: new(0.0), Max: new(65535.0), Family: engine.FamilyServing, Upstream: true},
		{Key: "uds", Type: engine.FlagString, Family: engine.FamilyServing, Note: "A Unix socket in place of host and port."},
		{Key: "api_key", Type: engine.FlagList, Family: engine.FamilyServing, Note: "Asked for below /v1 only; the variable VLLM_API_KEY does the same and stays out of the command."},
		{Key: "api_server_count", Also: []string{"-asc"}, Type: engine.FlagInt, Min: new(0.0), Family: engine.FamilyServing,
			Note: "Processes of the HTTP front end. Above 1, older versions show each gauge once a process."},
		onOff(engine.Flag{Key: "disable_uvicorn_access_log", Default: "false", Family: engine.FamilyServing, Note: "One log line a request less."}, "--no-disable-uvicorn-access-log"),
		onOff(engine.Flag{Key: "enable_log_requests", Default: "false", Family: engine.FamilyServing}, "--no-enable-log-requests"),
		{Key: "disable_log_stats", Type: engine.FlagBool, Default: "false", Family: engine.FamilyServing, Note: "Empties most of /metrics too."},
		onOff(engine.Flag{Key: "disable_fastapi_docs", Default: "false", Family: engine.FamilyServing}, "--no-disable-fastapi-docs"),
		{Key: "chat_template", Type: engine.FlagString, Family: engine.FamilyServing, Note: "A file, or the template itself."},
		onOff(engine.Flag{Key: "enable_auto_tool_choice", Default: "false", Family: engine.FamilyServing, Note: "Needs tool_call_parser."}, "--no-enable-auto-tool-choice"),
		{Key: "tool_call_parser", Type: engine.FlagString, Family: engine.FamilyServing},
		{Key: "reasoning_parser", Type: engine.FlagString, Family: engine.FamilyServing, Note: "Moves thinking text to its own field: reasoning, reasoning_content in older versions."},
		onOff(engine.Flag{Key: "enable_force_include_usage", Default: "false", Family: engine.FamilyServing, Note: "Usage on every stream without being asked."}, "--no-enable-force-include-usage"),
		onOff(engine.Flag{Key: "enable_prompt_tokens_details", Default: "false", Family: engine.FamilyServing, Note: "Adds cached_tokens to usage: needed to see prefix hits per request."}, "--no-enable-prompt-tokens-details"),
		onOff(engine.Flag{Key: "enable_per_request_metrics", Default: "false", Family: engine.FamilyServing, Note: "The server's own times in each reply: a check on the client's."}, "--no-enable-per-request-metrics"),
		onOff(engine.Flag{Key: "enable_server_load_tracking", Default: "false", Family: engine.FamilyServing, Note: "GET /load counts only with it."}, "--no-enable-server-load-tracking"),
		onOff(engine.Flag{Key: "enable_request_id_headers", Default: "false", Family: engine.FamilyServing}, "--no-enable-request-id-headers"),
		{Key: "fingerprint_mode", Type: engine.FlagEnum, Values: []string{"full", "hash", "custom", "none"}, Default: "full", Family: engine.FamilyServing,
			Note: "What system_fingerprint tells in each reply: version and parallel sizes by default."},
		{Key: "uvicorn_log_level", Type: engine.FlagEnum, Values: []string{"critical", "debug", "error", "info", "trace", "warning"}, Default: "info", Family: engine.FamilyServing},
		{Key: "config", Type: engine.FlagString, Family: engine.FamilyServing, Note: "YAML file with options."},
	}
	for i := range list {
		list[i].Source = fromCLI
	}
	return append(list, engine.Flag{Key: "stream_interval", Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyServing, Source: fromSched,
		Note: "Tokens of a streamed event; above 1 the host works less and inter-token latency looks burstier."})
}

func parallelFlags() []engine.Flag {
	list := []engine.Flag{
		{Key: "tensor_parallel_size", Also: []string{"-tp"}, Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyParallel, Upstream: true},
		{Key: "pipeline_parallel_size", Also: []string{"-pp"}, Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyParallel, Upstream: true},
		{Key: "data_parallel_size", Also: []string{"-dp"}, Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyParallel, Note: "Copies of the engine behind one front end; limits such as max_num_seqs count for each."},
		onOff(engine.Flag{Key: "enable_expert_parallel", Also: []string{"-ep"}, Default: "false", Family: engine.FamilyMoE, Note: "Experts are spread over tensor × data parallel GPUs."}, "--no-enable-expert-parallel"),
		onOff(engine.Flag{Key: "enable_eplb", Default: "false", Family: engine.FamilyMoE, Note: "Balances the load of experts; needs enable_expert_parallel."}, "--no-enable-eplb"),
		{Key: "all2all_backend", Type: engine.FlagString, Family: engine.FamilyMoE},
		{Key: "moe_backend", Type: engine.FlagString, Default: "auto", Family: engine.FamilyMoE},
		onOff(engine.Flag{Key: "enable_dbo", Default: "false", Family: engine.FamilyMoE, Note: "Overlaps two micro-batches; needs an all-to-all backend that is installed."}, "--no-enable-dbo"),
		{Key: "distributed_executor_backend", Type: engine.FlagEnum, Values: []string{"mp", "ray", "uni", "external_launcher"}, Family: engine.FamilyParallel},
		{Key: "nnodes", Also: []string{"-n"}, Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyParallel},
		{Key: "node_rank", Also: []string{"-r"}, Type: engine.FlagInt, Default: "0", Min: new(0.0), Family: engine.FamilyParallel},
		{Key: "master_addr", Type: engine.FlagString, Default: "127.0.0.1", Family: engine.FamilyParallel},
		{Key: "master_port", Type: engine.FlagInt, Default: "29501", Min: new(0.0), Max: new(65535.0), Family: engine.FamilyParallel},
		onOff(engine.Flag{Key: "disable_custom_all_reduce", Default: "false", Family: engine.FamilyComm, Note: "NCCL carries the all-reduce instead."}, "--no-disable-custom-all-reduce"),
		{Key: "kv_transfer_config", Type: engine.FlagJSON, Family: engine.FamilyComm, Note: "KV transfer between instances, for disaggregated serving."},
	}
	for i := range list {
		list[i].Source = fromRecipes
	}
	return list
}

func memoryFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "max_model_len", Type: engine.FlagInt, Values: []string{"auto", "-1"}, Min: new(1.0), Family: engine.FamilyMemory, Upstream: true,
			Note: "Prompt and output of one request together; default from the model. 8k is 8000, 8K is 8192; -1 or auto takes what fits into memory."},
		{Key: "gpu_memory_utilization", Type: engine.FlagFloat, Default: "0.92", Min: new(0.0), Max: new(1.0), Family: engine.FamilyMemory, Upstream: true, Source: fromCache,
			Note: "Share of the whole device that this instance may use; 0.9 by default before. Since 0.21 CUDA graphs count, so the same value leaves less for the KV cache."},
		{Key: "kv_cache_memory_bytes", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyMemory, Source: fromCache, Note: "Size of the KV cache of a GPU; takes the place of gpu_memory_utilization."},
		{Key: "num_gpu_blocks_override", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyMemory, Source: fromCache, Note: "For tests of preemption."},
		{Key: "kv_offloading_size", Type: engine.FlagFloat, Min: new(0.0), Family: engine.FamilyMemory, Source: fromCache, Note: "Host memory for the KV cache in GiB, over all tensor-parallel ranks."},
		{Key: "kv_offloading_backend", Type: engine.FlagEnum, Values: []string{"native", "lmcache"}, Default: "native", Family: engine.FamilyMemory, Source: fromCache},
	}
}

func cacheFlags() []engine.Flag {
	list := []engine.Flag{
		onOff(engine.Flag{Key: "enable_prefix_caching", Default: "true", Family: engine.FamilyCache, Upstream: true, Note: "On by default: the same prompts measure a warm cache the second time."}, "--no-enable-prefix-caching"),
		{Key: "prefix_caching_hash_algo", Type: engine.FlagEnum, Values: []string{"sha256", "sha256_cbor"}, Default: "sha256", Family: engine.FamilyCache, Note: "Newer versions also have xxhash and xxhash_cbor, which need that package in the image."},
		{Key: "block_size", Type: engine.FlagInt, Default: "16", Min: new(1.0), Family: engine.FamilyCache, Upstream: true, Note: "Tokens of a KV block; the attention backend may change it."},
		{Key: "kv_cache_dtype", Type: engine.FlagEnum, Default: "auto", Family: engine.FamilyPrecision, Upstream: true,
			Values: []string{"auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla", "nvfp4", "int8_per_token_head"},
			Note:   "Newer versions have more; the engine decides."},
	}
	for i := range list {
		list[i].Source = fromCache
	}
	return list
}

// deadPartial is why the limits on partial prefills are not worth searching.
const deadPartial = "the V1 engine enforces no limit on partial prefills, and any value but 1 ends the start with \"Concurrent Partial Prefill is not supported\" (issue 39737, pull request 49075)"

func batchingFlags() []engine.Flag {
	list := []engine.Flag{
		{Key: "max_num_seqs", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyBatching, Upstream: true, Source: fromDefault,
			Note: "Requests that run at once. Default 1024 on a device of 70 GiB or more other than A100, else 256."},
		{Key: "max_num_batched_tokens", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyBatching, Upstream: true, Source: fromDefault,
			Note: "Tokens of one step: more favours prefill and TTFT, less inter-token latency. Default 8192 on a device of 70 GiB or more other than A100, else 2048."},
		onOff(engine.Flag{Key: "enable_chunked_prefill", Default: "true", Family: engine.FamilyScheduling, Upstream: true, Note: "Off, max_num_batched_tokens must hold the longest request."}, "--no-enable-chunked-prefill"),
		{Key: "max_num_partial_prefills", Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyScheduling, Upstream: true, Inert: deadPartial},
		{Key: "max_long_partial_prefills", Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyScheduling, Upstream: true, Inert: deadPartial},
		{Key: "long_prefill_token_threshold", Type: engine.FlagInt, Default: "0", Min: new(0.0), Family: engine.FamilyScheduling, Upstream: true, Note: "Most tokens that one long prompt gets of a step; 0 = no such bound."},
		{Key: "scheduling_policy", Type: engine.FlagEnum, Values: []string{"fcfs", "priority"}, Default: "fcfs", Family: engine.FamilyScheduling},
		onOff(engine.Flag{Key: "async_scheduling", Family: engine.FamilyScheduling, Note: "Prepares a step while the one before runs; the default depends on the version and the other flags."}, "--no-async-scheduling"),
		onOff(engine.Flag{Key: "disable_hybrid_kv_cache_manager", Family: engine.FamilyScheduling, Note: "One KV size for all layers."}, "--no-disable-hybrid-kv-cache-manager"),
	}
	for i := range list {
		if list[i].Source == (engine.Source{}) {
			list[i].Source = fromSched
		}
	}
	return list
}

func precisionFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "dtype", Type: engine.FlagEnum, Values: []string{"auto", "half", "float16", "bfloat16", "float", "float32"}, Default: "auto", Family: engine.FamilyPrecision, Upstream: true},
		{Key: "quantization", Also: []string{"-q"}, Type: engine.FlagString, Family: engine.FamilyPrecision, Note: "Read from the checkpoint when absent."},
	}
}

func attentionFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "attention_backend", Type: engine.FlagString, Family: engine.FamilyAttention, Source: fromRecipes, Note: "FLASH_ATTN, FLASHINFER, TRITON_ATTN, FLASHMLA, CUTLASS_MLA, FLASHINFER_MLA and others; chosen by GPU and model when absent."},
		{Key: "attention_config", Also: []string{"-ac"}, Type: engine.FlagJSON, Family: engine.FamilyAttention, Source: fromRecipes},
	}
}

func graphFlags() []engine.Flag {
	list := []engine.Flag{
		onOff(engine.Flag{Key: "enforce_eager", Default: "false", Family: engine.FamilyGraphs, Note: "Neither compilation nor CUDA graphs: starts sooner, decodes slower."}, "--no-enforce-eager"),
		{Key: "optimization_level", Also: []string{"-O"}, Type: engine.FlagInt, Min: new(0.0), Max: new(3.0), Family: engine.FamilyGraphs, Note: "0 starts soonest, 3 runs fastest."},
		{Key: "compilation_config", Also: []string{"-cc"}, Type: engine.FlagJSON, Default: "{}", Family: engine.FamilyGraphs},
		{Key: "cudagraph_capture_sizes", Type: engine.FlagList, Family: engine.FamilyGraphs, Note: "Batch sizes to capture."},
		{Key: "max_cudagraph_capture_size", Type: engine.FlagInt, Min: new(0.0), Family: engine.FamilyGraphs},
		onOff(engine.Flag{Key: "enable_flashinfer_autotune", Family: engine.FamilyGraphs, Note: "Off: a shorter start."}, "--no-enable-flashinfer-autotune"),
	}
	for i := range list {
		list[i].Source = fromRecipes
	}
	return list
}

func speculationFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "speculative_config", Also: []string{"-sc"}, Type: engine.FlagJSON, Family: engine.FamilySpeculation, Source: fromRecipes,
			Note: `A map: {"method": …, "model": …, "num_speculative_tokens": N}.`},
	}
}

func runtimeFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "profiler_config", Type: engine.FlagJSON, Default: "{}", Since: "0.13", Family: engine.FamilyRuntime, Source: fromProf,
			Note: "Without it /start_profile is not found. Before, the environment variable VLLM_TORCH_PROFILER_DIR did the same."},
		onOff(engine.Flag{Key: "enable_mfu_metrics", Default: "false", Family: engine.FamilyRuntime, Source: engine.Source{Ref: "vllm-project/vllm issue 41368", Date: "2026-05-01"}}, "--no-enable-mfu-metrics"),
		onOff(engine.Flag{Key: "kv_cache_metrics", Default: "false", Family: engine.FamilyRuntime}, "--no-kv-cache-metrics"),
		{Key: "kv_cache_metrics_sample", Type: engine.FlagFloat, Min: new(0.0), Max: new(1.0), Family: engine.FamilyRuntime},
		{Key: "show_hidden_metrics_for_version", Type: engine.FlagString, Family: engine.FamilyRuntime, Note: "Brings deprecated metrics of that version back."},
		{Key: "otlp_traces_endpoint", Type: engine.FlagString, Family: engine.FamilyRuntime},
		{Key: "max_logprobs", Type: engine.FlagInt, Default: "20", Min: new(-1.0), Family: engine.FamilyRuntime},
		{Key: "additional_config", Type: engine.FlagJSON, Default: "{}", Family: engine.FamilyRuntime},
	}
}
