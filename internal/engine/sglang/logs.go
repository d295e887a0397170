package sglang

import (
	"regexp"

	"llmdyno/internal/engine"
)

// logs are tried in order: a line that names its cause comes before the echoes
// that follow it in the other processes.
func logs() []engine.LogPattern {
	row := func(kind engine.LogKind, pattern, example, meaning string) engine.LogPattern {
		return engine.LogPattern{Kind: kind, Pattern: regexp.MustCompile(pattern), Example: example, Meaning: meaning, Source: logSource}
	}
	return []engine.LogPattern{
		row(engine.LogReady, `fired up and ready to roll`,
			"[2026-08-20 10:00:00] The server is fired up and ready to roll!",
			"the warm-up request was answered; /health turns 200"),

		row(engine.LogNoMemory, `Not enough memory\. Please try to increase --mem-fraction-static`,
			"RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
			"after the weights nothing is left for the KV cache: raise mem_fraction_static, use more GPUs (tp_size) or fewer graphs (cuda_graph_max_bs_decode)"),
		row(engine.LogOOM, `Capture cuda graph failed`,
			"Exception: Capture cuda graph failed: CUDA out of memory. Tried to allocate 1.25 GiB",
			"graph capture found too little memory: lower mem_fraction_static or cuda_graph_max_bs_decode"),
		row(engine.LogOOM, `(?:Prefill|Decode) out of memory\. Try to lower`,
			"Prefill out of memory. Try to lower your batch size.",
			"the KV allocator is exhausted: lower max_running_requests or chunked_prefill_size, or raise mem_fraction_static"),
		row(engine.LogOOM, `Out of memory even after retracting all`,
			"[2026-08-20 10:00:00] Out of memory even after retracting all other requests in the decode batch.",
			"one request alone does not fit the KV cache: shorten it, lower context_length or raise mem_fraction_static"),
		row(engine.LogOOM, `CUDA out of memory|HIP out of memory|OutOfMemoryError`,
			"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB",
			"activations found no memory: lower mem_fraction_static or chunked_prefill_size"),

		row(engine.LogPortInUse, `\[Errno 98\]|[Aa]ddress already in use|(?i:port \d+ is (?:already )?in use|port \d+ is not available)`,
			"ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 30000): address already in use",
			"another process listens on this port: choose another"),

		row(engine.LogBadFlag, `error: (?:unrecognized arguments|argument .+: |ambiguous option|the following arguments are required|one of the arguments)`,
			"launch_server.py: error: unrecognized arguments: --no-such-flag 1",
			"this version does not take the flag or its value: compare with the captured help"),

		row(engine.LogLoadFailed, `Can't load (?:the configuration|tokenizer)|is not a local folder and is not a valid model identifier|Repository Not Found|RepositoryNotFoundError|GatedRepoError|Cannot find any model weights`,
			"OSError: some/model is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'",
			"the model was not found or may not be read: check model_path, the hub token and the network"),
		row(engine.LogLoadFailed, `Model architectures? .*(?:are|is) not supported|Unsupported architectures?|No module named 'transformers_modules`,
			"ValueError: Model architectures ['FooForCausalLM'] are not supported for now. Supported architectures: dict_keys(['LlamaForCausalLM'])",
			"this version does not know the model: upgrade, or set trust_remote_code"),

		row(engine.LogCrash, `illegal memory access|CUDA error: |device-side assert`,
			"torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
			"a kernel faulted; later NCCL and Gloo errors on other ranks are echoes. Try another attention or MoE backend"),
		row(engine.LogCrash, `memory leak detected!`,
			"ValueError: token_to_kv_pool_allocator memory leak detected! available_size=10, protected_size=0",
			"an invariant of the KV pool broke: report it with the log"),
		row(engine.LogCrash, `watchdog timeout`,
			"[2026-08-20 10:00:00] Scheduler watchdog timeout (self.watchdog_timeout=300, self.soft=False)",
			"no forward progress for watchdog_timeout seconds; the stacks above say where"),
		row(engine.LogCrash, `Scheduler hit an exception:`,
			"[2026-08-20 10:00:00 TP0] Scheduler hit an exception: Traceback (most recent call last):",
			"the scheduler died; the traceback below names the cause"),
		row(engine.LogCrash, `scheduler died during initialization|Initialization failed`,
			"RuntimeError: Rank 0 scheduler died during initialization (exit code: -9). If exit code is -9 (SIGKILL), a common cause is the OS OOM killer.",
			"the start failed; the cause stands above. Exit code -9 means that the kernel killed it for host memory"),
		row(engine.LogCrash, `Subprocess .*crashed with exit code`,
			"[2026-08-20 10:00:00] Subprocess scheduler_0 (pid=4242) crashed with exit code -11",
			"a native crash; a negative code is the signal"),
		row(engine.LogCrash, `Received sigquit from a child process|SIGQUIT received`,
			"[2026-08-20 10:00:00] Received sigquit from a child process. It usually means the child failed.",
			"a child process failed and the whole server ends; the cause stands above"),
	}
}

var logSource = engine.Source{Ref: "sgl-project/sglang python/sglang/srt (managers, model_executor, entrypoints) @ v0.5.18", Date: "2026-08-20"}
