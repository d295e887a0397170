package llamacpp

import (
	"regexp"

	"llmdyno/internal/engine"
)

// cudaIssue shows the lines of a failed allocation on a GPU, which the machine
// of the other captures does not have.
var cudaIssue = engine.Source{Ref: "ggml-org/llama.cpp pull request 26297, comment", Date: "2026-08-01"}

// logs: lines begin with a time since the start and a letter for the level,
// and go to the error output; errors of the command line have no prefix.
func logs() []engine.LogPattern {
	pattern := func(kind engine.LogKind, expr, example, meaning string, s engine.Source) engine.LogPattern {
		return engine.LogPattern{Kind: kind, Pattern: regexp.MustCompile(expr), Example: example, Meaning: meaning, Source: s}
	}
	return []engine.LogPattern{
		pattern(engine.LogReady, `listening on http`,
			"0.00.029.189 I srv  llama_server: listening on http://127.0.0.1:18080",
			"the HTTP server accepts requests", fromRun),
		pattern(engine.LogBadFlag, `^error: invalid argument: `,
			"error: invalid argument: --no-mmap",
			"this version does not have the option, or an option took the form --name=value, or a word stands alone: remove it or use the spelling of its --help", fromRun),
		pattern(engine.LogBadFlag, `^error while handling argument "`,
			`error while handling argument "--draft": the argument has been removed. use --spec-draft-n-max or --spec-ngram-mod-n-max`,
			"the option was removed, or its value is not one that it takes: see the line and the usage below it", fromRun),
		pattern(engine.LogBadFlag, `llama_init_from_model: quantized V cache requires flash_attn`,
			"0.00.007.416 E llama_init_from_model: quantized V cache requires flash_attn to be enabled",
			"cache_type_v is quantised while flash attention is off: set flash_attn to on or auto", fromRun),
		pattern(engine.LogPortInUse, `couldn't bind HTTP server socket`,
			"0.00.003.803 E srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 18080",
			"another process has the port, or the address is not this machine's", fromRun),
		pattern(engine.LogNoMemory, `failed to allocate buffer for kv cache`,
			"0.00.026.964 E llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
			"no memory for the KV cache: lower ctx_size or parallel, or take a smaller cache_type_k and cache_type_v", fromRun),
		pattern(engine.LogOOM, `insufficient memory \(attempted to allocate|failed to allocate \S+ buffer of size|unable to allocate \S+ buffer`,
			"0.00.026.784 E ggml_aligned_malloc: insufficient memory (attempted to allocate 781.50 MB)",
			"out of memory: lower ctx_size, parallel or ubatch_size, or use a smaller model", fromRun),
		pattern(engine.LogOOM, `cudaMalloc failed: out of memory`,
			"1.06.520.077 E ggml_backend_cuda_buffer_type_alloc_buffer: allocating 51748.72 MiB on device 1: cudaMalloc failed: out of memory",
			"out of GPU memory: lower gpu_layers, ctx_size or parallel", cudaIssue),
		pattern(engine.LogOOM, `std::bad_alloc`,
			"0.00.041.718 E llama_init_from_model: failed to initialize the context: std::bad_alloc",
			"out of memory while the context was made: lower ctx_size or parallel", fromRun),
		pattern(engine.LogLoadFailed, `gguf_init_from_(file|reader): (failed to open|invalid magic)`,
			"0.00.005.415 E gguf_init_from_file: failed to open GGUF file '/nonexistent.gguf' (No such file or directory)",
			"the model file is missing or is no GGUF file: check the path in the flag model", fromRun),
		pattern(engine.LogLoadFailed, `error loading model: |failed to load model`,
			"0.00.005.501 E llama_model_load: error loading model: llama_model_loader: failed to load model from /nonexistent.gguf",
			"the model could not be read: missing, cut short, of an unknown architecture, or no compute backend was found", fromRun),
		pattern(engine.LogCrash, `GGML_ASSERT\(.*\) failed|ggml_abort|: fatal error$`,
			"./src/llama-context.cpp:2384: GGML_ASSERT(n_outputs_max <= cparams.n_outputs_max) failed",
			"the server aborted on a condition of its own: a size does not fit (batch_size below the slots, odd head size in the model), or a worker was lost", fromRun),
	}
}
