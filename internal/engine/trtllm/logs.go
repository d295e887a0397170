package trtllm

import (
	"regexp"

	"llmdyno/internal/engine"
)

// logs: text of the server, of click, uvicorn, MPI and PyTorch, in the order in
// which a line is matched. Where the page that shows a line is an issue of the
// project, the source names it.
func logs() []engine.LogPattern {
	issue := func(n, date string) engine.Source {
		return engine.Source{Ref: "NVIDIA/TensorRT-LLM issue " + n, Date: date}
	}
	pattern := func(kind engine.LogKind, expr, example, meaning string, s engine.Source) engine.LogPattern {
		return engine.LogPattern{Kind: kind, Pattern: regexp.MustCompile(expr), Example: example, Meaning: meaning, Source: s}
	}
	const read = "2026-08-23"
	return []engine.LogPattern{
		pattern(engine.LogReady, `Uvicorn running on http|Application startup complete`,
			"INFO:     Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
			"the HTTP server runs, which it does only after the model is loaded", fromServer),
		pattern(engine.LogBadFlag, `^Error: No such option:? `,
			"Error: No such option: --max-batch-size",
			"this version does not have the option; options are spelled with underscores, and most knobs stand in the file of extra_llm_api_options alone", fromServe),
		pattern(engine.LogBadFlag, `^Error: (Invalid value|Missing|Option '|Got unexpected)|is not a known backend`,
			"Error: Invalid value for '--backend': 'onnx' is not one of 'pytorch', 'tensorrt', '_autodeploy'.",
			"an option has a value that it does not take, or lacks one", fromServe),
		pattern(engine.LogPortInUse, `Failed to bind socket to `,
			"RuntimeError: Failed to bind socket to 127.0.0.1:8000: [Errno 98] Address already in use",
			"another process has the port; the server notices before it loads the model", fromServe),
		pattern(engine.LogNoMemory, `could not be created: KV cache|insufficient GPU memory.*KV cache`,
			"The following component could not be created: KV cache",
			"no GPU memory for the KV cache: lower free_gpu_memory_fraction, max_seq_len or max_batch_size, or raise tp_size", issue("5872", read)),
		pattern(engine.LogOOM, `Executor creation failed due to insufficient GPU memory`,
			"Executor creation failed due to insufficient GPU memory.",
			"out of GPU memory while the executor was made; the lines below name the component", issue("5872", read)),
		pattern(engine.LogOOM, `CUDA out of memory|torch\.(cuda\.)?OutOfMemoryError`,
			"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
			"out of GPU memory: lower free_gpu_memory_fraction, max_num_tokens or max_batch_size, or raise tp_size", issue("5950", read)),
		pattern(engine.LogLoadFailed, `is not a local folder and is not a valid model identifier|Can't load the configuration|Repository Not Found|RepositoryNotFoundError|GatedRepoError`,
			"OSError: some/model is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'",
			"the model was not found or may not be read: check its name, the hub token and the network", engine.Source{Ref: "huggingface/transformers src/transformers/utils/hub.py", Date: read}),
		pattern(engine.LogLoadFailed, `No GPU devices found on the node`,
			"ValueError: No GPU devices found on the node",
			"no GPU is visible to the server: check the driver and CUDA_VISIBLE_DEVICES", fromServe),
		pattern(engine.LogLoadFailed, `Failed to initialize executor on rank`,
			"[TRT-LLM] [E] Failed to initialize executor on rank 0",
			"a rank could not start: the lines above say why", issue("5950", read)),
		pattern(engine.LogCrash, `MPI_ABORT was invoked on rank`,
			"MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD",
			"a rank died and took the others with it: look for the first error above", issue("3736", read)),
		pattern(engine.LogCrash, `Health check detected fatal engine error`,
			"[TRT-LLM] [E] Health check detected fatal engine error, initiating server shutdown",
			"the engine had failed before; the health probe made the server shut down", fromServer),
		pattern(engine.LogCrash, `Encountered an error in forward function`,
			"[TRT-LLM] [E] Encountered an error in forward function: CUDA error: an illegal memory access was encountered",
			"a step of the model failed; requests in flight are lost", engine.Source{Ref: "NVIDIA/TensorRT-LLM tensorrt_llm/_torch/pyexecutor/py_executor.py, older copy", Date: read}),
		pattern(engine.LogCrash, `No free slots`,
			"RuntimeError: No free slots",
			"the scheduler ran out of sequence slots and hangs", issue("9628", read)),
	}
}
