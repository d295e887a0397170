package trtllm

import "llmdyno/internal/engine"

func at(x float64) *float64 { return &x }

// kvFraction is shared by the two spellings of one option.
const kvFraction = "Share of the memory that is free after weights and buffers, unlike the share of the whole device elsewhere."

// flags are the options of the command line. They are spelled with underscores
// only. Most knobs stand in the file of extra_llm_api_options alone, whose
// values win over the command line.
func flags() []engine.Flag {
	list := []engine.Flag{
		{Key: "backend", Type: engine.FlagEnum, Values: []string{"pytorch", "tensorrt", "_autodeploy"}, Default: "pytorch", Family: engine.FamilyServing, Upstream: true, Note: "trt is read as tensorrt. Only pytorch is started: " + otherBackends + "."},
		{Key: "host", Type: engine.FlagString, Default: "localhost", Family: engine.FamilyServing, Upstream: true},
		{Key: "port", Type: engine.FlagInt, Default: "8000", Min: at(0), Max: at(65535), Family: engine.FamilyServing, Upstream: true, Note: "0 is accepted only in a disaggregated cluster."},

		{Key: "tokenizer", Type: engine.FlagString, Family: engine.FamilyIdentity},
		{Key: "custom_tokenizer", Type: engine.FlagString, Family: engine.FamilyIdentity},
		{Key: "trust_remote_code", Type: engine.FlagBool, Default: "false", Family: engine.FamilyIdentity, Upstream: true},
		{Key: "revision", Type: engine.FlagString, Family: engine.FamilyIdentity},
		{Key: "chat_template", Type: engine.FlagString, Family: engine.FamilyIdentity, Note: "A file, or the template itself."},
		{Key: "reasoning_parser", Type: engine.FlagString, Family: engine.FamilyServing},
		{Key: "tool_parser", Type: engine.FlagString, Family: engine.FamilyServing},
		{Key: "media_io_kwargs", Type: engine.FlagJSON, Family: engine.FamilyServing},
		{Key: "custom_module_dirs", Type: engine.FlagString, Family: engine.FamilyServing, Note: "Can be given several times."},
		{Key: "server_role", Type: engine.FlagString, Family: engine.FamilyServing, Note: "For disaggregated serving only."},
		{Key: "metadata_server_config_file", Type: engine.FlagString, Family: engine.FamilyServing},
		{Key: "disagg_cluster_uri", Type: engine.FlagString, Family: engine.FamilyServing},
		{Key: "num_postprocess_workers", Type: engine.FlagInt, Default: "0", Min: at(0), Family: engine.FamilyServing, Note: "Processes that turn tokens into HTTP replies; 0 = in the server's own. Recipes for high concurrency use 4."},

		{Key: "max_batch_size", Type: engine.FlagInt, Default: "2048", Min: at(1), Family: engine.FamilyBatching, Upstream: true, Note: "Requests that the engine schedules at once; also bounds the sizes of CUDA graphs."},
		{Key: "max_num_tokens", Type: engine.FlagInt, Default: "8192", Min: at(1), Family: engine.FamilyBatching, Upstream: true, Note: "Tokens of one step."},
		{Key: "max_seq_len", Type: engine.FlagInt, Min: at(1), Family: engine.FamilyMemory, Upstream: true, Note: "Prompt and output of one request together; default from the model."},
		{Key: "max_beam_width", Type: engine.FlagInt, Default: "1", Min: at(1), Family: engine.FamilyBatching},
		{Key: "enable_chunked_prefill", Type: engine.FlagBool, Default: "false", Family: engine.FamilyScheduling},
		{Key: "fail_fast_on_attention_window_too_large", Type: engine.FlagBool, Default: "false", Family: engine.FamilyMemory},

		{Key: "tp_size", Also: []string{"--tensor_parallel_size"}, Type: engine.FlagInt, Default: "1", Min: at(1), Family: engine.FamilyParallel, Upstream: true},
		{Key: "pp_size", Also: []string{"--pipeline_parallel_size"}, Type: engine.FlagInt, Default: "1", Min: at(1), Family: engine.FamilyParallel, Upstream: true},
		{Key: "ep_size", Also: []string{"--moe_expert_parallel_size"}, Type: engine.FlagInt, Min: at(1), Family: engine.FamilyMoE, Upstream: true},
		{Key: "cp_size", Also: []string{"--context_parallel_size"}, Type: engine.FlagInt, Default: "1", Min: at(1), Family: engine.FamilyParallel},
		{Key: "cluster_size", Also: []string{"--moe_cluster_parallel_size"}, Type: engine.FlagInt, Min: at(1), Family: engine.FamilyMoE},
		{Key: "gpus_per_node", Type: engine.FlagInt, Min: at(1), Family: engine.FamilyParallel, Note: "Detected when absent."},

		{Key: "free_gpu_memory_fraction", Type: engine.FlagFloat, Default: "0.9", Min: at(0), Max: at(1), Family: engine.FamilyMemory, Upstream: true, Note: kvFraction},
		{Key: "kv_cache_free_gpu_memory_fraction", Type: engine.FlagFloat, Default: "0.9", Min: at(0), Max: at(1), Family: engine.FamilyMemory, Upstream: true, Note: "Another spelling of free_gpu_memory_fraction. " + kvFraction},

		{Key: "extra_llm_api_options", Also: []string{"--config"}, Type: engine.FlagString, Family: engine.FamilyRuntime, Upstream: true, Note: "YAML file with the knobs that have no option: KV cache, CUDA graphs, MoE backend, attention, speculation, statistics. A key in it wins over the command line, so a flag that the file sets cannot be searched. --config is the newer name."},
		{Key: "log_level", Type: engine.FlagString, Default: "info", Family: engine.FamilyRuntime},
		{Key: "otlp_traces_endpoint", Type: engine.FlagString, Family: engine.FamilyRuntime},
	}
	for i := range list {
		list[i].Source = fromServe
	}
	return list
}
