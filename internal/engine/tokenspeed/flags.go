package tokenspeed

import (
	"slices"

	"llmdyno/internal/engine"
)

// attentionBackends are the choices of --attention-backend and of its twin for
// the draft model.
var attentionBackends = []string{
	"mha", "mla", "fa3", "fa4", "triton", "flashinfer", "trtllm", "trtllm_mla", "flashmla",
	"tokenspeed_mla", "hybrid_linear_attn",
}

// flags is the table of what the serve command takes: of the engine, where a row
// has no source of its own, of the gateway and of the command itself. A flag
// that none of the three knows is handed to the gateway, which refuses it only
// after the engine has loaded.
func flags() []engine.Flag {
	table := slices.Concat(identityFlags(), servingFlags(), parallelFlags(), memoryFlags(), batchingFlags(),
		attentionFlags(), moeFlags(), speculationFlags(), graphFlags(), runtimeFlags(), commandFlags())
	for i := range table {
		if table[i].Source == (engine.Source{}) {
			table[i].Source = args
		}
	}
	return table
}

func identityFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "tokenizer", Type: engine.FlagString, Family: engine.FamilyIdentity, Note: "the model's own when absent"},
		{Key: "tokenizer_mode", Type: engine.FlagEnum, Default: "auto", Values: []string{"auto", "slow", "deepseek_v4"}, Family: engine.FamilyIdentity},
		{Key: "served_model_name", Type: engine.FlagString, Family: engine.FamilyIdentity, Note: "the name in /v1/models; the model when absent"},
		{Key: "trust_remote_code", Negative: "--no-trust-remote-code", Type: engine.FlagBool, Default: "false", Family: engine.FamilyIdentity, Upstream: true},
		{Key: "revision", Type: engine.FlagString, Family: engine.FamilyIdentity},
		{Key: "hf_overrides", Type: engine.FlagJSON, Default: "{}", Family: engine.FamilyIdentity},
		{Key: "language_model_only", Type: engine.FlagBool, Default: "false", Family: engine.FamilyIdentity, Note: "leaves the encoders of a multimodal model out"},
		{Key: "load_format", Type: engine.FlagEnum, Default: "auto", Family: engine.FamilyIdentity,
			Values: []string{"auto", "pt", "safetensors", "instanttensor", "npcache", "dummy", "extensible"},
			Note:   "dummy starts with random weights: a flow check without the download"},
		{Key: "download_dir", Type: engine.FlagString, Family: engine.FamilyIdentity},
		{Key: "dtype", Type: engine.FlagEnum, Default: "auto", Family: engine.FamilyPrecision, Upstream: true,
			Values: []string{"auto", "half", "float16", "bfloat16", "float", "float32"}},
		{Key: "quantization", Type: engine.FlagEnum, Family: engine.FamilyPrecision, Upstream: true,
			Values: []string{"fp8", "mxfp4", "nvfp4", "w8a8_fp8", "compressed-tensors"}, Note: "read from the checkpoint when absent"},
	}
}

func servingFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "host", Type: engine.FlagString, Default: "0.0.0.0", Family: engine.FamilyServing, Upstream: true, Source: splitter,
			Note: "the gateway's; the engine listens on a free port of the loopback"},
		{Key: "port", Type: engine.FlagInt, Default: "8000", Min: new(1.0), Max: new(65535.0), Family: engine.FamilyServing, Upstream: true, Source: splitter,
			Note: "the gateway's; the control server takes the one above it unless control_port is set"},
		{Key: "api_key", Type: engine.FlagString, Family: engine.FamilyServing, Note: "the engine takes it, so the gateway of the same command does not see it"},
		{Key: "reasoning_parser", Type: engine.FlagString, Default: "passthrough", Family: engine.FamilyServing, Upstream: true, Source: splitter,
			Note: "goes to engine and gateway; by model family when absent"},
		{Key: "tool_call_parser", Type: engine.FlagString, Family: engine.FamilyServing, Upstream: true, Source: splitter},
		{Key: "chat_template", Type: engine.FlagString, Family: engine.FamilyServing, Source: splitter},
		{Key: "grammar_backend", Type: engine.FlagEnum, Default: "none", Values: []string{"xgrammar", "none"}, Family: engine.FamilyServing},
		{Key: "sampling_backend", Type: engine.FlagEnum, Family: engine.FamilyServing,
			Values: []string{"greedy", "flashinfer", "flashinfer_full", "triton", "triton_full"},
			Note:   "flashinfer on NVIDIA, else greedy, which takes the likeliest token whatever the request says; only the _full ones apply min_p and penalties"},
		{Key: "stream_interval", Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyServing, Note: "tokens a chunk; above 1 inter-token latency looks burstier"},
		{Key: "enable_cache_report", Type: engine.FlagBool, Default: "false", Family: engine.FamilyServing, Note: "adds cached tokens to usage: needed to see prefix hits per request"},
		{Key: "enable_output_logprobs", Type: engine.FlagBool, Default: "false", Family: engine.FamilyServing, Note: "without it requests for log probabilities get none"},
	}
}

func parallelFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "tensor_parallel_size", Also: []string{"--tp"}, Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyParallel, Upstream: true,
			Note: "another name of attn_tp_size; not both"},
		{Key: "attn_tp_size", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyParallel, Upstream: true},
		{Key: "dense_tp_size", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyParallel, Note: "attention's when absent; another value switches the fusion of all-reduces off"},
		{Key: "moe_tp_size", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyParallel, Upstream: true, Note: "world size / expert-parallel size when absent; not above 1 together with it"},
		{Key: "data_parallel_size", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyParallel,
			Note: "replicas of attention; the world is this times tensor_parallel_size; above 1 it needs dist_init_addr"},
		{Key: "expert_parallel_size", Also: []string{"--ep-size"}, Type: engine.FlagInt, Default: "1", Min: new(1.0), Family: engine.FamilyParallel},
		{Key: "enable_expert_parallel", Type: engine.FlagBool, Default: "false", Family: engine.FamilyParallel, Upstream: true, Note: "sets an expert-parallel size of 1 to the world size"},
		{Key: "world_size", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyParallel},
		{Key: "nprocs_per_node", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyParallel},
		{Key: "nnodes", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyParallel, Note: "from Slurm's environment when absent"},
		{Key: "node_rank", Type: engine.FlagInt, Min: new(0.0), Family: engine.FamilyParallel},
		{Key: "dist_init_addr", Type: engine.FlagString, Family: engine.FamilyParallel},
		{Key: "load_balance_method", Type: engine.FlagEnum, Default: "shortest_queue", Family: engine.FamilyParallel,
			Values: []string{"round_robin", "shortest_queue", "minimum_cache_usage"}},
		{Key: "disaggregation_mode", Type: engine.FlagEnum, Default: "null", Values: []string{"null", "prefill", "decode", "encode"}, Family: engine.FamilyParallel},
	}
}

func memoryFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "max_model_len", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyMemory, Upstream: true, Note: "the model's own when absent"},
		{Key: "gpu_memory_utilization", Type: engine.FlagFloat, Min: new(0.0), Max: new(1.0), Family: engine.FamilyMemory, Upstream: true,
			Note: "(weights + KV cache) / GPU memory; by world size 1: 0.88, 2 and 3: 0.87, 4 to 7: 0.95, 8 to 15: 0.81, above 0.79"},
		{Key: "max_total_tokens", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyMemory, Upstream: true, Note: "bounds the KV pool"},
		{Key: "prefix_granularity", Also: []string{"--block-size"}, Type: engine.FlagInt, Default: "64", Min: new(1.0), Family: engine.FamilyMemory, Note: "tokens that prefix reuse counts in; block_size is the old name"},
		{Key: "kv_cache_dtype", Type: engine.FlagEnum, Default: "auto", Values: []string{"auto", "fp8", "fp8_e4m3", "mxfp8"}, Family: engine.FamilyMemory, Upstream: true,
			Note: "fp8 is fp8_e4m3; mxfp8 needs prefix_granularity 128 and an MHA backend"},
		{Key: "enable_prefix_caching", Negative: "--no-enable-prefix-caching", Type: engine.FlagBool, Default: "true", Family: engine.FamilyCache, Upstream: true,
			Note: "off needs disable_kvstore"},
		{Key: "disable_kvstore", Type: engine.FlagBool, Default: "false", Family: engine.FamilyCache, Note: "the KV tier in host memory is on by default"},
		{Key: "kvstore_ratio", Type: engine.FlagFloat, Default: "2.0", Min: new(0.0), Family: engine.FamilyCache, Note: "host pool / device pool"},
		{Key: "kvstore_size", Type: engine.FlagInt, Default: "0", Min: new(0.0), Family: engine.FamilyCache, Note: "GB of the host pool; wins over kvstore_ratio"},
		{Key: "kvstore_io_backend", Type: engine.FlagEnum, Default: "kernel", Values: []string{"direct", "kernel"}, Family: engine.FamilyCache},
		{Key: "mamba_ssm_dtype", Type: engine.FlagEnum, Default: "float32", Values: []string{"float32", "bfloat16"}, Family: engine.FamilyCache},
	}
}

func batchingFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "max_num_seqs", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyBatching, Upstream: true, Note: "160; 80 with speculation"},
		{Key: "chunked_prefill_size", Type: engine.FlagInt, Default: "8192", Min: new(-1.0), Family: engine.FamilyBatching, Upstream: true,
			Note: "tokens of one iteration; -1 = off; with data parallelism at most max_prefill_tokens"},
		{Key: "max_prefill_tokens", Type: engine.FlagInt, Default: "8192", Min: new(1.0), Family: engine.FamilyBatching, Upstream: true,
			Note: "the prefill budget while chunked prefill is off"},
		{Key: "enable_mixed_batch", Type: engine.FlagBool, Default: "false", Family: engine.FamilyBatching, Note: "prefill and decode in one iteration"},
		{Key: "disable_overlap_schedule", Type: engine.FlagBool, Default: "false", Family: engine.FamilyScheduling, Note: "the overlap scheduler hides CPU time behind the GPU"},
	}
}

func attentionFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "attention_backend", Type: engine.FlagEnum, Values: attentionBackends, Family: engine.FamilyAttention, Upstream: true, Note: "by model and hardware when absent"},
		{Key: "drafter_attention_backend", Type: engine.FlagEnum, Values: attentionBackends, Family: engine.FamilyAttention, Note: "attention_backend when absent"},
		{Key: "kda_backend", Type: engine.FlagEnum, Default: "auto", Values: []string{"auto", "fla", "flashkda", "cutedsl_kda"}, Family: engine.FamilyAttention,
			Note: "prefill of Kimi Delta Attention on NVIDIA"},
		{Key: "mla_chunk_multiplier", Type: engine.FlagInt, Default: "4", Min: new(1.0), Family: engine.FamilyAttention, Upstream: true,
			Note: "MLA prefill chunk capacity = this times chunked_prefill_size"},
		{Key: "mla_disable_ragged", Type: engine.FlagBool, Default: "false", Family: engine.FamilyAttention},
		{Key: "enable_mla_l1_5_cache", Type: engine.FlagBool, Default: "false", Family: engine.FamilyAttention, Upstream: true, Source: upstream,
			Note: "removed on 2026-08-12 (lightseekorg/tokenspeed 6a08766a): a later build hands it to the gateway, which refuses it"},
		{Key: "triton_attention_reduce_in_fp32", Type: engine.FlagBool, Default: "false", Family: engine.FamilyAttention},
	}
}

func moeFlags() []engine.Flag {
	backends := []string{"auto", "triton", "gluon", "flashinfer_trtllm", "flashinfer_cutlass", "flashinfer_cutedsl", "deep_gemm", "mega_moe"}
	return []engine.Flag{
		// The engine does not check the value itself; these are the ones that it names.
		{Key: "moe_backend", Type: engine.FlagEnum, Default: "auto", Values: backends, Family: engine.FamilyMoE, Upstream: true},
		{Key: "draft_moe_backend", Type: engine.FlagEnum, Values: backends, Family: engine.FamilyMoE, Note: "moe_backend when absent"},
		{Key: "all2all_backend", Type: engine.FlagString, Default: "none", Family: engine.FamilyMoE, Note: "none, deepep"},
		{Key: "deepep_mode", Type: engine.FlagEnum, Default: "auto", Values: []string{"normal", "low_latency", "auto"}, Family: engine.FamilyMoE,
			Note: "auto: low_latency for decode, normal for prefill"},
		{Key: "enable_eplb", Type: engine.FlagBool, Default: "false", Family: engine.FamilyMoE},
		{Key: "ep_num_redundant_experts", Type: engine.FlagInt, Default: "0", Min: new(0.0), Family: engine.FamilyMoE},
	}
}

func speculationFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "speculative_config", Also: []string{"--speculative_config"}, Type: engine.FlagJSON, Family: engine.FamilySpeculation, Upstream: true,
			Note: "an object with method, model and num_speculative_tokens"},
		{Key: "speculative_algorithm", Type: engine.FlagEnum, Values: []string{"EAGLE3", "MTP", "DFLASH", "DSPARK"}, Family: engine.FamilySpeculation, Upstream: true,
			Note: "lowers the default of max_num_seqs to 80"},
		{Key: "speculative_draft_model_path", Type: engine.FlagString, Family: engine.FamilySpeculation, Upstream: true, Note: "MTP and DSPARK draft with the model itself when absent"},
		{Key: "speculative_num_steps", Type: engine.FlagInt, Default: "3", Min: new(0.0), Family: engine.FamilySpeculation, Upstream: true},
		{Key: "speculative_num_draft_tokens", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilySpeculation, Upstream: true, Note: "steps + 1 when absent"},
		{Key: "speculative_eagle_topk", Type: engine.FlagInt, Default: "1", Min: new(1.0), Max: new(1.0), Family: engine.FamilySpeculation, Note: "1 is the only value"},
		{Key: "dp_sampling", Type: engine.FlagBool, Default: "false", Family: engine.FamilySpeculation, Note: "spreads the verification of drafts over the tensor-parallel ranks"},
		{Key: "dp_sampling_min_bs", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilySpeculation, Note: "twice the tensor-parallel size when absent"},
	}
}

func graphFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "max_cudagraph_capture_size", Type: engine.FlagInt, Min: new(1.0), Family: engine.FamilyGraphs,
			Note: "160; 80 with speculation; on GPUs below 25 GB 8, or 80 from a world size of 4 on"},
		{Key: "cudagraph_capture_sizes", Type: engine.FlagList, Family: engine.FamilyGraphs},
		{Key: "disable_cuda_graph_padding", Type: engine.FlagBool, Default: "false", Family: engine.FamilyGraphs, Upstream: true},
		{Key: "enforce_eager", Type: engine.FlagBool, Default: "false", Family: engine.FamilyGraphs, Note: "no CUDA graphs: expect slow decoding"},
		{Key: "disable_prefill_graph", Type: engine.FlagBool, Default: "false", Family: engine.FamilyGraphs},
		{Key: "prefill_graph_max_tokens", Type: engine.FlagInt, Min: new(0.0), Family: engine.FamilyGraphs, Note: "min(2048, chunked_prefill_size); 0 = off; takes GPU memory"},
		{Key: "prefill_graph_capture_sizes", Type: engine.FlagList, Family: engine.FamilyGraphs},
		{Key: "disable_autotune", Also: []string{"--disable-flashinfer-autotune"}, Type: engine.FlagBool, Default: "false", Family: engine.FamilyGraphs, Note: "a faster start for slower kernels"},
	}
}

func runtimeFlags() []engine.Flag {
	return []engine.Flag{
		{Key: "enable_allreduce_fusion", Type: engine.FlagBool, Default: "false", Family: engine.FamilyComm, Upstream: true,
			Note: "on by itself with tensor parallelism on one node of Hopper or newer, or AMD, without data parallelism: leaving it out does not switch it off"},
		{Key: "comm_fusion_max_num_tokens", Type: engine.FlagInt, Default: "2048", Min: new(-1.0), Family: engine.FamilyComm, Upstream: true},
		{Key: "disable_nccl_nvls", Type: engine.FlagBool, Default: "false", Family: engine.FamilyComm},
		{Key: "force_deterministic_rsag", Type: engine.FlagBool, Default: "false", Family: engine.FamilyComm},
		{Key: "seed", Type: engine.FlagInt, Family: engine.FamilyRuntime, Note: "random when absent"},
		{Key: "log_level", Type: engine.FlagString, Default: "info", Family: engine.FamilyRuntime, Note: "the engine's; the gateway logs warnings"},
		{Key: "decode_log_interval", Type: engine.FlagInt, Default: "40", Min: new(1.0), Family: engine.FamilyRuntime},
		{Key: "enable_metrics", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime,
			Note: "the series tokenspeed:*, which only the health server of nodes above the first exposes"},
		{Key: "enable_log_request_stats", Negative: "--no-enable-log-request-stats", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime,
			Note: "one line a finished request with its times in queue, prefill and decode; measured on the host"},
		{Key: "enable_log_requests", Negative: "--no-enable-log-requests", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime, Note: "prompts reach the log at level 1 and above"},
		{Key: "enable_nvtx", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime},
		{Key: "enable_nan_detection", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime},
		{Key: "weight_loader_prefetch_num_threads", Type: engine.FlagInt, Default: "4", Min: new(1.0), Family: engine.FamilyRuntime},
		{Key: "skip_server_warmup", Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime, Note: "the first requests then pay for kernel compilation"},
	}
}

// commandFlags are of the serve command itself, or go to the gateway.
func commandFlags() []engine.Flag {
	cli := readGateway("model_gateway/src/main.rs")
	return []engine.Flag{
		{Key: "control_port", Type: engine.FlagInt, Min: new(1.0), Max: new(65535.0), Family: engine.FamilyServing, Source: splitter,
			Note: "port + 1 when absent; when it is taken serving goes on without the control server"},
		{Key: "engine_startup_timeout", Type: engine.FlagInt, Default: "1800", Min: new(1.0), Family: engine.FamilyServing, Source: splitter, Note: "seconds"},
		{Key: "gateway_startup_timeout", Type: engine.FlagInt, Default: "60", Min: new(1.0), Family: engine.FamilyServing, Source: splitter, Note: "seconds"},
		{Key: "drain_timeout", Type: engine.FlagInt, Default: "30", Min: new(1.0), Family: engine.FamilyServing, Source: splitter, Note: "seconds from the stop signal to the kill"},
		{Key: "prometheus_port", Type: engine.FlagInt, Min: new(1.0), Max: new(65535.0), Family: engine.FamilyServing, Source: splitter,
			Note: "a free port when absent, which nobody is told: set it to read metrics"},
		{Key: "engine_metrics", Type: engine.FlagBool, Default: "false", Family: engine.FamilyServing, Source: cli,
			Note: "the gateway asks the engine for its load and exposes it as smg_engine_*; in the gateway's Rust command line, while its Python launcher did not list it at 73da68ca: look at the help"},
		{Key: "tokenizer_cache_enable_l0", Negative: "--no-tokenizer-cache-enable-l0", Type: engine.FlagBool, Default: "true", Family: engine.FamilyCache, Source: splitter,
			Note: "whole prompts; helps when prompts repeat"},
		{Key: "tokenizer_cache_enable_l1", Negative: "--no-tokenizer-cache-enable-l1", Type: engine.FlagBool, Default: "true", Family: engine.FamilyCache, Source: splitter,
			Note: "prefixes; shortens the time to first token of prompts that share one"},
	}
}
