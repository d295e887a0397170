package tokenspeed

import (
	"regexp"

	"llmdyno/internal/engine"
)

// logs are tried in order: a line that names its cause comes before the echoes
// that follow it in the other processes. The lines of the engine begin with
// "[ts] ", those of the gateway with "[smg] ", the command's own with neither.
func logs() []engine.LogPattern {
	rows := []engine.LogPattern{
		{Kind: engine.LogReady, Pattern: regexp.MustCompile(`^ts serve ready on http`),
			Example: "ts serve ready on http://127.0.0.1:8000",
			Meaning: "the engine answered its warm-up and the gateway's /readiness is 200"},

		{Kind: engine.LogNoMemory, Pattern: regexp.MustCompile(`cache budget must hold a null parent|allocated cache storage exceeds its profiled budget`),
			Example: "[ts] ValueError: mha cache budget must hold a null parent and one usable LCM parent",
			Meaning: "after the weights nothing is left for the KV cache: raise gpu_memory_utilization or tensor_parallel_size"},
		{Kind: engine.LogOOM, Pattern: regexp.MustCompile(`Prefill graph capture ran out of GPU memory`),
			Example: "[ts] Prefill graph capture ran out of GPU memory. Free up --gpu-memory-utilization headroom, lower --prefill-graph-max-tokens (default 2048), or set it to 0 to disable the prefill graph.",
			Meaning: "the graphs of prefill found too little memory: lower gpu_memory_utilization or prefill_graph_max_tokens, or set disable_prefill_graph"},
		{Kind: engine.LogOOM, Pattern: regexp.MustCompile(`CUDA out of memory|HIP out of memory|OutOfMemoryError`),
			Example: "[ts] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB",
			Meaning: "activations or graphs found no memory: lower gpu_memory_utilization, chunked_prefill_size or max_cudagraph_capture_size"},

		{Kind: engine.LogPortInUse, Pattern: regexp.MustCompile(`AddrInUse|[Aa]ddress already in use|failed to bind (?:metrics server|probe listener) on|control-plane ports .+ are already in use`),
			Example: `[smg] Error: Os { code: 98, kind: AddrInUse, message: "Address already in use" }`,
			Meaning: "another process listens on the port of the gateway or of its metrics: choose another", Source: readGateway("model_gateway/src/server.rs, observability/metrics_server.rs")},

		{Kind: engine.LogBadFlag, Pattern: regexp.MustCompile(`error: (?:unrecognized arguments|argument .+: |ambiguous option|the following arguments are required|one of the arguments)`),
			Example: "[smg] __main__.py: error: unrecognized arguments: --no-such-flag 1",
			Meaning: "neither engine nor gateway takes the flag or its value; an unknown one is told by the gateway, after the engine has loaded"},
		{Kind: engine.LogBadFlag, Pattern: regexp.MustCompile(`error: (?:unexpected argument|invalid value|a value is required|the argument|unrecognized subcommand)`),
			Example: "[smg] error: unexpected argument '--no-such-flag' found",
			Meaning: "the gateway does not take the flag or its value: what the engine does not know is handed to it", Source: readGateway("model_gateway/src/main.rs")},
		{Kind: engine.LogBadFlag, Pattern: regexp.MustCompile(`ValueError: (?:unexpected positional arg|model specified both as|--\S+ (?:requires a|must be positive|configures the gateway orchestrator)|--\S+=.+ is not a valid integer)`),
			Example: "ValueError: --drain-timeout must be positive, got 0",
			Meaning: "the serve command does not take this word or value", Source: splitter},
		{Kind: engine.LogBadFlag, Pattern: regexp.MustCompile(`ValueError: (?:Cannot specify (?:both|model both)|Model is required|MoE TP and EP cannot be both|KVStore and disabled prefix caching|DSPARK same-checkpoint|max_num_seqs must be >=|chunked_prefill_size must be <=|CP attention is enabled but|--speculative-config must be|speculative_eagle_topk > 1|.+ requires speculative_num_steps to equal|When dp_size > 1|--dist-init-addr is required|the configured token limit must hold)`),
			Example: "[ts] ValueError: KVStore and disabled prefix caching are mutually exclusive and cannot be used at the same time. Please use only one of them.",
			Meaning: "two flags exclude each other or one needs another: the line says which"},

		{Kind: engine.LogLoadFailed, Pattern: regexp.MustCompile(`Can't load (?:the configuration|tokenizer)|is not a local folder and is not a valid model identifier|Repository Not Found|RepositoryNotFoundError|GatedRepoError|Cannot find any model weights`),
			Example: "[ts] RuntimeError: Cannot find any model weights with `some/model`",
			Meaning: "the model was not found or may not be read: check its name, the hub token and the network"},
		{Kind: engine.LogLoadFailed, Pattern: regexp.MustCompile(`Model architectures .+ are not supported for now|No cache recipe is registered for|is not supported for quantization|No module named 'transformers_modules`),
			Example: "[ts] ValueError: Model architectures ['FooForCausalLM'] are not supported for now. Supported architectures: dict_keys(['LlamaForCausalLM'])",
			Meaning: "this version does not know the model or its quantisation: upgrade, or set trust_remote_code"},

		{Kind: engine.LogCrash, Pattern: regexp.MustCompile(`illegal memory access|CUDA error: |device-side assert`),
			Example: "[ts] torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
			Meaning: "a kernel faulted; later NCCL and Gloo errors on other ranks are echoes. Try another attention or MoE backend"},
		{Kind: engine.LogCrash, Pattern: regexp.MustCompile(`(?:Scheduler|AsyncLLM|DataParallelController) hit an exception: `),
			Example: "[ts] [2026-08-22 10:00:00  ATTN TP RANK 0] - ERROR - Scheduler hit an exception: Traceback (most recent call last): (event_loop.py:1968)",
			Meaning: "the engine died; the traceback below names the cause"},
		{Kind: engine.LogCrash, Pattern: regexp.MustCompile(`Rank \d+ scheduler is dead`),
			Example: "[ts] Rank 1 scheduler is dead. Please check if there are relevant logs.",
			Meaning: "a rank ended; its own lines above name the cause"},
		{Kind: engine.LogCrash, Pattern: regexp.MustCompile(`Received sigquit from a child process`),
			Example: "[ts] Received sigquit from a child process. It usually means the child failed.",
			Meaning: "a child process failed and the whole server ends; the cause stands above"},
		{Kind: engine.LogCrash, Pattern: regexp.MustCompile(`gRPC warmup (?:did not produce a complete frame|failed)`),
			Example: "[ts] TokenSpeed gRPC warmup did not produce a complete frame",
			Meaning: "the engine could not generate one token and never counts as serving", Source: readGateway("grpc_servicer/smg_grpc_servicer/tokenspeed/server.py")},
		{Kind: engine.LogCrash, Pattern: regexp.MustCompile(`Scheduler appears stuck: `),
			Example: "[ts] Scheduler appears stuck: 31.4s since last receive, 12 pending requests",
			Meaning: "no progress for 30 s with requests waiting; the engine reports itself as not serving", Source: readGateway("grpc_servicer/smg_grpc_servicer/tokenspeed/health_servicer.py")},
		{Kind: engine.LogCrash, Pattern: regexp.MustCompile(`ts serve requires the bundled gateway packages`),
			Example: "ts serve requires the bundled gateway packages, normally installed",
			Meaning: "the installation is incomplete: install it again"},
		{Kind: engine.LogCrash, Pattern: regexp.MustCompile(`startup failed: |subprocess exited with rc=`),
			Example: "startup failed: ts subprocess exited with rc=1 during startup; see [ts] log lines above for the cause",
			Meaning: "engine or gateway ended, or was not serving within its time; the cause stands above"},
	}
	for i := range rows {
		if rows[i].Source == (engine.Source{}) {
			rows[i].Source = runtime
		}
	}
	return rows
}
