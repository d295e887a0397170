package llamacpp

import "llmdyno/internal/engine"

// Where the tables of this folder were read.
var (
	fromHelp = engine.Source{Ref: "llama-server --help, 0.7.0 build 11669", Date: "2026-11-24"}
	fromRun  = engine.Source{Ref: "llama-server 0.7.0 build 11669, run on 2 CPUs without GPU", Date: "2026-11-24"}
)

func at(x float64) *float64 { return &x }

// cacheTypes are the element types of the KV cache.
var cacheTypes = []string{"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"}

var onOffAuto = []string{"on", "off", "auto"}

// flags are the options that a benchmark sets or searches, and those whose
// effect on a measurement must be known. The key is the long option with
// underscores. The server also reads a long option with underscores, but not
// --option=value.
func flags() []engine.Flag {
	list := []engine.Flag{
		// model and identity
		{Key: "model", Also: []string{"-m"}, Type: engine.FlagString, Family: engine.FamilyIdentity,
			Note: "Path of a GGUF file. Without any model the server starts as a router that never fails and serves nothing."},
		{Key: "hf_repo", Also: []string{"-hf", "-hfr"}, Type: engine.FlagString, Family: engine.FamilyIdentity, Note: "Model hub repository in place of a file; it downloads at start."},
		{Key: "alias", Also: []string{"-a"}, Type: engine.FlagString, Family: engine.FamilyIdentity, Note: "Name that replies carry. A request that names another model is answered all the same."},
		{Key: "chat_template", Type: engine.FlagString, Family: engine.FamilyIdentity, Note: "Default: the template in the model file."},
		{Key: "lora", Type: engine.FlagString, Family: engine.FamilyIdentity},

		// serving
		{Key: "host", Type: engine.FlagString, Default: "127.0.0.1", Family: engine.FamilyServing},
		{Key: "port", Type: engine.FlagInt, Default: "9931", Min: at(0), Max: at(65535), Family: engine.FamilyServing, Note: "8080 in builds before the 0.x version numbers."},
		{Key: "api_key", Type: engine.FlagString, Family: engine.FamilyServing, Note: "With a key every route but /health asks for it."},
		{Key: "metrics", Type: engine.FlagBool, Default: "false", Family: engine.FamilyServing, Note: "Without it GET /metrics answers 501."},
		{Key: "slots", Negative: "--no-slots", Type: engine.FlagBool, Default: "true", Family: engine.FamilyServing},
		{Key: "props", Type: engine.FlagBool, Default: "false", Family: engine.FamilyServing, Note: "Allows changes by POST /props; reading needs no flag."},
		{Key: "ui", Also: []string{"--webui"}, Negative: "--no-ui", Type: engine.FlagBool, Default: "true", Family: engine.FamilyServing, Note: "--no-webui is the old spelling of --no-ui and still works."},
		{Key: "jinja", Negative: "--no-jinja", Type: engine.FlagBool, Default: "true", Family: engine.FamilyServing},
		{Key: "reasoning_format", Type: engine.FlagString, Default: "auto", Family: engine.FamilyServing},
		{Key: "timeout", Also: []string{"-to"}, Type: engine.FlagInt, Default: "3600", Family: engine.FamilyServing, Note: "Read and write timeout in seconds."},
		{Key: "sse_ping_interval", Type: engine.FlagInt, Default: "30", Family: engine.FamilyServing, Note: "Seconds between comment lines in a silent stream; -1 = none."},
		{Key: "sleep_idle_seconds", Type: engine.FlagInt, Default: "-1", Family: engine.FamilyServing, Note: "A server that sleeps loads its model again at the next request."},

		// batching: what a search varies first
		{Key: "parallel", Also: []string{"-np"}, Type: engine.FlagInt, Default: "-1", Min: at(-1), Family: engine.FamilyBatching,
			Note: "Slots, the requests that run at once. -1 = automatic (4, with one shared KV buffer); 0 is refused. A number gives each slot ctx_size / parallel tokens."},
		{Key: "batch_size", Also: []string{"-b"}, Type: engine.FlagInt, Default: "2048", Min: at(1), Family: engine.FamilyBatching,
			Note: "Most tokens of one decode call. Below the number of slots the server aborts at start."},
		{Key: "ubatch_size", Also: []string{"-ub"}, Type: engine.FlagInt, Default: "512", Min: at(0), Family: engine.FamilyBatching,
			Note: "Most tokens of one computation; cut to batch_size. 0 = batch_size."},
		{Key: "cont_batching", Also: []string{"-cb"}, Negative: "--no-cont-batching", Type: engine.FlagBool, Default: "true", Family: engine.FamilyBatching},
		{Key: "slot_prompt_similarity", Also: []string{"-sps"}, Type: engine.FlagFloat, Default: "0.10", Min: at(0), Max: at(1), Family: engine.FamilyScheduling, Note: "How much of a prompt must match a slot's to be sent there; 0 = off."},

		// memory and cache
		{Key: "ctx_size", Also: []string{"-c"}, Type: engine.FlagInt, Default: "0", Min: at(0), Family: engine.FamilyMemory,
			Note: "Context of all slots together, rounded up to 256 tokens a slot; 0 = the model's. A slot is capped at the model's training context."},
		{Key: "kv_unified", Also: []string{"-kvu"}, Negative: "--no-kv-unified", Type: engine.FlagBool, Family: engine.FamilyCache,
			Note: "One KV buffer for all slots, so that one request may use all of ctx_size. On when parallel is automatic, else off."},
		{Key: "kv_unified_per_slot", Type: engine.FlagInt, Min: at(1), Family: engine.FamilyCache, Note: "Context limit of a slot; without ctx_size the pool is parallel times this."},
		{Key: "cache_type_k", Also: []string{"-ctk"}, Type: engine.FlagEnum, Values: cacheTypes, Default: "f16", Family: engine.FamilyPrecision},
		{Key: "cache_type_v", Also: []string{"-ctv"}, Type: engine.FlagEnum, Values: cacheTypes, Default: "f16", Family: engine.FamilyPrecision, Note: "A quantised type needs flash attention."},
		{Key: "cache_prompt", Negative: "--no-cache-prompt", Type: engine.FlagBool, Default: "true", Family: engine.FamilyCache, Note: "Prefix cache of each slot."},
		{Key: "cache_reuse", Type: engine.FlagInt, Default: "0", Min: at(0), Family: engine.FamilyCache, Note: "Least chunk in tokens to reuse by shifting; needs cache_prompt."},
		{Key: "cache_ram", Also: []string{"-cram"}, Type: engine.FlagInt, Default: "8192", Min: at(-1), Family: engine.FamilyCache, Note: "Host memory for prompts of idle slots, MiB; -1 = no limit, 0 = off."},
		{Key: "cache_idle_slots", Negative: "--no-cache-idle-slots", Type: engine.FlagBool, Default: "true", Family: engine.FamilyCache},
		{Key: "ctx_checkpoints", Also: []string{"-ctxcp", "--swa-checkpoints"}, Type: engine.FlagInt, Default: "32", Min: at(0), Family: engine.FamilyCache},
		{Key: "context_shift", Negative: "--no-context-shift", Type: engine.FlagBool, Default: "false", Family: engine.FamilyCache},
		{Key: "swa_full", Type: engine.FlagBool, Default: "false", Family: engine.FamilyCache},
		{Key: "kv_offload", Also: []string{"-kvo"}, Negative: "--no-kv-offload", Type: engine.FlagBool, Default: "true", Family: engine.FamilyMemory, Note: "Without a GPU it changes nothing."},
		{Key: "load_mode", Also: []string{"-lm"}, Type: engine.FlagEnum, Values: []string{"auto", "none", "mmap", "mlock", "mmap+mlock", "dio"}, Default: "auto", Since: "0.7", Family: engine.FamilyMemory, Note: "Takes the place of --no-mmap and --mlock. The first version that has it was not looked for; 0.7.0 does."},
		{Key: "fit", Also: []string{"-fit"}, Type: engine.FlagEnum, Values: []string{"on", "off"}, Default: "on", Family: engine.FamilyMemory, Note: "Adjusts flags that were not set to the free device memory: set to off for candidates that must stay as written."},
		{Key: "check_tensors", Type: engine.FlagBool, Default: "false", Family: engine.FamilyMemory},

		// computing
		{Key: "threads", Also: []string{"-t"}, Type: engine.FlagInt, Family: engine.FamilyRuntime, Min: at(-1),
			Note: "Compute threads of generation; 0 or absent = all CPUs. As many as there are CPUs stalls against client and HTTP threads."},
		{Key: "threads_batch", Also: []string{"-tb"}, Type: engine.FlagInt, Family: engine.FamilyRuntime, Min: at(-1), Note: "Compute threads of prefill; default as threads."},
		{Key: "threads_http", Type: engine.FlagInt, Default: "-1", Min: at(-1), Family: engine.FamilyRuntime},
		{Key: "poll", Type: engine.FlagInt, Default: "50", Min: at(0), Max: at(100), Family: engine.FamilyRuntime, Note: "How hard idle threads spin."},
		{Key: "poll_batch", Type: engine.FlagEnum, Values: []string{"0", "1"}, Family: engine.FamilyRuntime},
		{Key: "prio", Type: engine.FlagInt, Default: "0", Min: at(-1), Max: at(3), Family: engine.FamilyRuntime},
		{Key: "cpu_strict", Type: engine.FlagEnum, Values: []string{"0", "1"}, Default: "0", Family: engine.FamilyRuntime},
		{Key: "numa", Type: engine.FlagEnum, Values: []string{"distribute", "isolate", "numactl"}, Family: engine.FamilyRuntime},
		{Key: "flash_attn", Also: []string{"-fa"}, Type: engine.FlagEnum, Values: onOffAuto, Default: "auto", Family: engine.FamilyAttention, Note: "A bare flag in older builds; in 0.7.0 it takes a word."},
		{Key: "repack", Negative: "--no-repack", Type: engine.FlagBool, Default: "true", Family: engine.FamilyRuntime},
		{Key: "op_offload", Negative: "--no-op-offload", Type: engine.FlagBool, Default: "true", Family: engine.FamilyRuntime},
		{Key: "warmup", Negative: "--no-warmup", Type: engine.FlagBool, Default: "true", Family: engine.FamilyRuntime},
		{Key: "backend_sampling", Also: []string{"-bs"}, Type: engine.FlagBool, Default: "false", Family: engine.FamilyRuntime},
		{Key: "verbosity", Also: []string{"-lv", "--log-verbosity"}, Type: engine.FlagInt, Default: "3", Min: at(0), Family: engine.FamilyRuntime},

		// devices
		{Key: "gpu_layers", Also: []string{"-ngl", "--n-gpu-layers"}, Type: engine.FlagString, Default: "auto", Family: engine.FamilyParallel, Note: "A number, auto or all."},
		{Key: "device", Also: []string{"-dev"}, Type: engine.FlagString, Family: engine.FamilyParallel},
		{Key: "split_mode", Also: []string{"-sm"}, Type: engine.FlagEnum, Values: []string{"none", "layer", "row", "tensor"}, Default: "layer", Family: engine.FamilyParallel},
		{Key: "tensor_split", Also: []string{"-ts"}, Type: engine.FlagString, Family: engine.FamilyParallel},
		{Key: "main_gpu", Also: []string{"-mg"}, Type: engine.FlagInt, Default: "0", Min: at(0), Family: engine.FamilyParallel},
		{Key: "rpc", Type: engine.FlagString, Family: engine.FamilyParallel, Note: "host:port of workers, parted by commas. /health stays green when a worker hangs."},
		{Key: "cpu_moe", Also: []string{"-cmoe"}, Type: engine.FlagBool, Default: "false", Family: engine.FamilyMoE},
		{Key: "n_cpu_moe", Also: []string{"-ncmoe"}, Type: engine.FlagInt, Min: at(0), Family: engine.FamilyMoE},

		// speculation
		{Key: "spec_type", Type: engine.FlagString, Default: "none", Family: engine.FamilySpeculation,
			Note: "none or a list of draft-simple, draft-eagle3, draft-mtp, draft-dflash, draft-dspark, ngram-simple, ngram-map-k, ngram-map-k4v, ngram-mod, ngram-cache."},
		{Key: "spec_draft_model", Also: []string{"-md", "--model-draft"}, Type: engine.FlagString, Family: engine.FamilySpeculation},
		{Key: "spec_draft_n_max", Type: engine.FlagInt, Default: "3", Min: at(0), Family: engine.FamilySpeculation},
		{Key: "spec_draft_n_min", Type: engine.FlagInt, Default: "0", Min: at(0), Family: engine.FamilySpeculation},
		{Key: "spec_draft_p_min", Also: []string{"--draft-p-min"}, Type: engine.FlagFloat, Default: "0.00", Min: at(0), Max: at(1), Family: engine.FamilySpeculation},
		{Key: "spec_synth_len", Type: engine.FlagFloat, Family: engine.FamilySpeculation, Note: "Synthetic acceptance for benchmarks: the text is not the model's."},
	}
	return append(withSource(list, fromHelp), removed()...)
}

// removed are options that builds before 0.7.0 had and 0.7.0 refuses. Which
// version dropped each was not looked for: they are gone in 0.7.0.
func removed() []engine.Flag {
	list := []engine.Flag{
		{Key: "no_mmap", Type: engine.FlagBool, Default: "false", Family: engine.FamilyMemory, Note: "Use load_mode: none."},
		{Key: "draft_max", Also: []string{"--draft", "--draft-n"}, Type: engine.FlagInt, Family: engine.FamilySpeculation, Note: "Use spec_draft_n_max."},
		{Key: "draft_min", Also: []string{"--draft-n-min"}, Type: engine.FlagInt, Family: engine.FamilySpeculation, Note: "Use spec_draft_n_min."},
	}
	for i := range list {
		list[i].Until = "0.6"
	}
	return withSource(list, fromRun)
}

func withSource(list []engine.Flag, s engine.Source) []engine.Flag {
	for i := range list {
		list[i].Source = s
	}
	return list
}
