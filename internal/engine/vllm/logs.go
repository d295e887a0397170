package vllm

import (
	"regexp"

	"llmdyno/internal/engine"
)

// logs are tried in order: a line that names its cause comes before the echoes
// that follow it. Lines of the engine begin with (EngineCore pid=…) or
// (Worker pid=…), those of the front end with (APIServer pid=…); the cause of a
// crash stands in the former, above the EngineDeadError of the latter.
func logs() []engine.LogPattern {
	row := func(kind engine.LogKind, expr, example, meaning string, s engine.Source) engine.LogPattern {
		return engine.LogPattern{Kind: kind, Pattern: regexp.MustCompile(expr), Example: example, Meaning: meaning, Source: s}
	}
	kv := read("vllm/v1/core/kv_cache_utils.py, 2026 copy")
	issue := func(n, date string) engine.Source {
		return engine.Source{Ref: "vllm-project/vllm issue " + n, Date: date}
	}
	const day = "2026-11-24" // of reading
	return []engine.LogPattern{
		row(engine.LogReady, `Application startup complete`,
			"(APIServer pid=4242) INFO:     Application startup complete.",
			"the HTTP server runs, which it does only after the engine is up", issue("14286", day)),

		row(engine.LogNoMemory, `No available memory for the cache blocks`,
			"(EngineCore pid=4243) ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.",
			"after the weights nothing is left for the KV cache: raise gpu_memory_utilization or tensor_parallel_size", kv),
		row(engine.LogNoMemory, `To serve at least one request with the model.s max seq len|KV cache is needed, which is larger than the available`,
			"(EngineCore pid=4243) ValueError: To serve at least one request with the model's max seq len (131072), (16.00 GiB KV cache is needed, which is larger than the available KV cache memory (9.12 GiB). Based on the available memory, the estimated maximum model length is 74688.",
			"one request of the full length does not fit the KV cache: lower max_model_len (the line estimates what fits) or raise gpu_memory_utilization", kv),
		row(engine.LogOOM, `on startup is less than desired GPU memory utilization`,
			"(EngineCore pid=4243) ValueError: Free memory on device cuda:0 (12.18/23.56 GiB) on startup is less than desired GPU memory utilization (0.92, 21.67 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
			"another process holds memory of this GPU: end it, or lower gpu_memory_utilization", read("vllm/v1/worker, 2026 copy")),
		row(engine.LogOOM, `(?:CUDA|HIP) out of memory|OutOfMemoryError`,
			"(EngineCore pid=4243) torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB",
			"weights, activations or graph capture found too little memory: lower gpu_memory_utilization, max_num_batched_tokens or max_num_seqs, or raise tensor_parallel_size", issue("57475", "2026-09-18")),

		row(engine.LogPortInUse, `\[Errno 98\]|[Aa]ddress already in use`,
			"(APIServer pid=4242) OSError: [Errno 98] Address already in use",
			"another process listens on this port: choose another", fromServer),

		row(engine.LogBadFlag, `error: (?:unrecognized arguments|argument .+: |ambiguous option|the following arguments are required)`,
			"vllm: error: unrecognized arguments: --no-such-flag 1",
			"this version does not take the flag or its value: compare with the captured help", fromArgs),
		row(engine.LogBadFlag, `Concurrent Partial Prefill is not supported`,
			"NotImplementedError: Concurrent Partial Prefill is not supported. We recommend to remove Concurrent Partial Prefill from your config.",
			"max_num_partial_prefills and max_long_partial_prefills must stay at 1: leave them out", issue("39737", day)),
		row(engine.LogBadFlag, `max_num_batched_tokens \(\d+\) (?:must be greater|is smaller than max_model_len)`,
			"ValueError: max_num_batched_tokens (512) must be greater than or equal to max_num_seqs (1024).",
			"raise max_num_batched_tokens: it must cover max_num_seqs, and max_model_len when chunked prefill is off", fromSched),
		row(engine.LogBadFlag, `max_model_len \(\d+\) is greater than the derived max_model_len`,
			"ValueError: User-specified max_model_len (262144) is greater than the derived max_model_len (max_position_embeddings=131072 or model_max_length=None in model's config.json).",
			"the model does not hold that many tokens: lower max_model_len", read("vllm/config/model.py, 2026 copy")),
		row(engine.LogBadFlag, `validation errors? for (?:Vllm|Scheduler|Cache|Parallel|Compilation|Attention|Speculative|Load|Device)\w*Config`,
			"pydantic_core._pydantic_core.ValidationError: 1 validation error for SchedulerConfig",
			"a flag has a value that the engine refuses: the next lines name the field", fromSched), // ModelConfig: the next line tells a bad flag from a missing model

		row(engine.LogLoadFailed, `Can't load (?:the configuration|tokenizer)|is not a local folder and is not a valid model identifier|Repository Not Found|RepositoryNotFoundError|GatedRepoError|Cannot find any model weights|Invalid repository ID or local directory`,
			"OSError: some/model is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'",
			"the model was not found or may not be read: check its name, the hub token and the network", read("vllm/transformers_utils/config.py, 2026 copy")),
		row(engine.LogLoadFailed, `Model architectures? .*(?:are|is) not supported`,
			"ValueError: Model architectures ['FooForCausalLM'] are not supported for now. Supported architectures: dict_keys(['LlamaForCausalLM'])",
			"this version does not know the model: upgrade, or set trust_remote_code", read("vllm/model_executor/models/registry.py, 2026 copy")),
		row(engine.LogLoadFailed, `Failed to infer device type|No CUDA GPUs are available`,
			"RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG` to turn on verbose logging to help debug the issue.",
			"no GPU is visible to the server: check the driver and CUDA_VISIBLE_DEVICES", read("vllm/config/device.py, 2026 copy")),

		row(engine.LogCrash, `illegal memory access|CUDA error: |device-side assert`,
			"(EngineCore pid=4243) torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
			"a kernel faulted: try another attention or MoE backend, or enforce_eager", issue("21466", day)),
		row(engine.LogCrash, `EngineCore encountered a fatal error`,
			"(EngineCore pid=4243) ERROR 08-19 10:00:00 [core.py:1006] EngineCore encountered a fatal error.",
			"the engine died while serving; the traceback below names the cause", issue("20170", day)),
		row(engine.LogCrash, `EngineCore failed to start|WorkerProc (?:initialization )?failed`,
			"(EngineCore pid=4243) ERROR 08-19 10:00:00 [core.py:936] EngineCore failed to start.",
			"the start failed; the traceback below names the cause", issue("19186", day)),
		row(engine.LogCrash, `Engine core proc .* died unexpectedly`,
			"(APIServer pid=4242) ERROR 08-19 10:00:00 [core_client.py:600] Engine core proc EngineCore_DP0 died unexpectedly, shutting down client.",
			"the engine's process was killed: look for the kernel's out-of-memory killer and at the lines of the engine above", issue("27194", day)),
		row(engine.LogCrash, `EngineDeadError`,
			"(APIServer pid=4242) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.",
			"an echo: the engine is dead, and the cause stands above in the lines of the engine", issue("23517", day)),
		row(engine.LogCrash, `Engine core initialization failed`,
			"(APIServer pid=4242) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
			"an echo: the cause stands above in the lines of the engine", read("vllm/v1/engine/utils.py, 2026 copy")),
	}
}
