// Package trtllm is all that is known of TensorRT-LLM's server, trtllm-serve,
// with its PyTorch backend, the only one that this program starts.
//
// The tables were read from the project's source, not from a running server;
// the sources say which file at which commit.
package trtllm

import (
	"regexp"
	"slices"
	"time"

	"llmdyno/internal/engine"
)

// Where the tables of this folder were read. A date is the day of reading
// where the commit does not tell one.
var (
	fromServe   = engine.Source{Ref: "NVIDIA/TensorRT-LLM tensorrt_llm/commands/serve.py @ 00209af1", Date: "2026-08-23"}
	fromServer  = engine.Source{Ref: "NVIDIA/TensorRT-LLM tensorrt_llm/serve/openai_server.py, 2026 copy", Date: "2026-08-23"}
	fromProto   = engine.Source{Ref: "NVIDIA/TensorRT-LLM tensorrt_llm/serve/openai_protocol.py @ 54cf7be0", Date: "2026-08-23"}
	fromColl    = engine.Source{Ref: "NVIDIA/TensorRT-LLM tensorrt_llm/metrics/collector.py @ 050f80de", Date: "2026-08-23"}
	fromOldMet  = engine.Source{Ref: "NVIDIA/TensorRT-LLM pull request 5785", Date: "2025-07-01"}
	fromProf    = engine.Source{Ref: "NVIDIA/TensorRT-LLM pull request 13872", Date: "2026-05-08"}
	fromMapping = engine.Source{Ref: "NVIDIA/TensorRT-LLM tensorrt_llm/mapping.py, copy", Date: "2026-11-24"}
	fromBook    = engine.Source{Ref: "BBuf/AI-Infra-Auto-Driven-SKILLS scripts/validate_cookbook_configs.py @ afb306eb", Date: "2026-07-14"}
)

// otherBackends is why a backend other than pytorch is refused.
const otherBackends = "the other backends build their own engine files, take other flags and fill other metrics, so their figures would not compare"

// New describes trtllm-serve.
func New() *engine.Engine {
	return &engine.Engine{
		ID:      "trtllm",
		Aliases: []string{"tensorrt_llm", "tensorrt-llm", "trt-llm", "trt_llm", "tllm"},
		Title:   "TensorRT-LLM",
		Source:  fromServe,

		Launch: engine.Launch{
			Command: []string{"trtllm-serve", "serve"},
			// Importing the package would load CUDA; its metadata tells the same.
			Version:        []string{"python3", "-c", "from importlib.metadata import version; print(version('tensorrt_llm'))"},
			VersionPattern: regexp.MustCompile(`(?m)^(\d+\.\d+\S*)\s*$`),
			HostFlag:       "host",
			PortFlag:       "port",
			// Not the default, localhost, which may resolve to ::1 first.
			Host:           "127.0.0.1",
			Underscores:    true,
			SeqLimit:       "max_seq_len",
			TP:             "tp_size",
			PP:             "pp_size",
			EP:             "ep_size",
			BatchLimit:     []string{"max_batch_size"},
			MemoryFraction: []string{"free_gpu_memory_fraction", "kv_cache_free_gpu_memory_fraction"},
			Required:       []engine.RequiredSetting{{Key: "backend", Value: "pytorch", Reason: otherBackends, Source: fromBook}},
		},
		Flags: flags(),
		Help: engine.Help{
			Args:    [][]string{{"--help"}},
			Timeout: 3 * time.Minute, // it imports torch and CUDA before it prints
			Parse:   engine.ParseClick,
		},
		Ready:        ready(),
		Logs:         logs(),
		Endpoints:    endpoints(),
		Triage:       triage(),
		Marks:        marks(),
		VersionMarks: versionMarks(),
		Wires:        wires(),
		Metrics:      metrics(),
		State:        state(),
		Trace:        traceMarks(),
		Profiler:     profiler(),
		Constraints:  constraints(),
		Surface:      surface(),
	}
}

func ready() engine.Ready {
	return engine.Ready{
		Probes: []engine.Probe{
			{Endpoint: engine.EndpointHealth, Status: 200, Timeout: 10 * time.Second},
			{Endpoint: engine.EndpointCompletions, Status: 200, Generate: true, Timeout: 2 * time.Minute},
		},
		Interval: time.Second,
		Deadline: time.Hour,
		Note:     "The port is bound before the model loads, and nothing answers until the HTTP server runs. /health looks at the engine's state only, and probing a server whose engine has failed makes it shut down, so it is followed by one generated token. /health_generate is not used: it runs a chat, which a model without a chat template cannot.",
		Source:   fromServer,
	}
}

// endpoints: no route asks for a key. There is no load, tokenize or cache flush
// route: a cold cache needs a restart or kv_cache_config.enable_block_reuse off.
func endpoints() []engine.Endpoint {
	return []engine.Endpoint{
		{Name: engine.EndpointHealth, Method: "GET", Path: "/health", ReadOnly: true, Cost: "on a failed engine the probe itself makes the server shut down", Effect: "on a failed engine the probe itself makes the server shut down (SIGINT)", Source: fromServer},
		{Name: engine.EndpointHealthGenerate, Method: "GET", Path: "/health_generate", ReadOnly: true, Cost: "generates one token through the chat route", Effect: "generates one token through the chat route", Source: fromServer},
		{Name: engine.EndpointModels, Method: "GET", Path: "/v1/models", ReadOnly: true, Source: fromServer},
		{Name: engine.EndpointVersion, Method: "GET", Path: "/version", ReadOnly: true, Source: fromServer},
		{Name: engine.EndpointServerInfo, Method: "GET", Path: "/server_info", ReadOnly: true, Cost: "recent versions only", Source: fromServer},
		{Name: engine.EndpointLoads, Method: "GET", Path: "/metrics", Cost: "JSON list of iteration records, each delivered once: polling takes them from every other reader; may block 2 s; empty without enable_iter_perf_stats: true", Effect: "takes the iteration records from every other reader: each is delivered once", Source: fromServer},
		{Name: engine.EndpointMetrics, Method: "GET", Path: "/prometheus/metrics", ReadOnly: true, Cost: "gauges move only when a request finishes", Needs: "return_perf_metrics: true in the file of --extra_llm_api_options", Source: fromServer},
		{Name: engine.EndpointStartProfile, Method: "POST", Path: "/start_profile", Cost: "slows the server; absent before this pull request", Source: fromProf},
		{Name: engine.EndpointStopProfile, Method: "POST", Path: "/stop_profile", Cost: "writes the trace", Source: fromProf},
		{Name: engine.EndpointCompletions, Method: "POST", Path: "/v1/completions", Cost: "generates", Source: fromProto},
		{Name: engine.EndpointChat, Method: "POST", Path: "/v1/chat/completions", Cost: "generates", Source: fromProto},
	}
}

// triage: what else tells something of a sick server.
func triage() []engine.Endpoint {
	return []engine.Endpoint{
		{Name: engine.EndpointPerfMetrics, Method: "GET", Path: "/perf_metrics", Effect: "takes the timings of finished requests from every other reader: reading clears them",
			Needs: "return_perf_metrics: true and perf_metrics_max_requests above 0", Source: fromServer},
		{Name: engine.EndpointEnergy, Method: "GET", Path: "/energy_metrics", ReadOnly: true, Source: fromServer},
	}
}

func marks() []engine.Mark {
	return []engine.Mark{
		{Path: "/v1/models", Pattern: regexp.MustCompile(`"owned_by"\s*:\s*"tensorrt_llm"`), Source: fromServer},
		{Path: "/prometheus/metrics", Pattern: regexp.MustCompile(`(?m)^(?:# (?:HELP|TYPE) )?trtllm_`), Source: fromColl},
	}
}

func versionMarks() []engine.Mark {
	return []engine.Mark{{Path: "/version", Pattern: regexp.MustCompile(`"version"\s*:\s*"([^"]+)"`), Source: fromServer}}
}

// metrics of the Prometheus page. Versions 1.0 and 1.1 have four families
// without prefix, of which one is a quantity here.
func metrics() []engine.Metric {
	list := []engine.Metric{
		{Quantity: engine.QuantityRunning, Name: "trtllm_num_requests_running"},
		{Quantity: engine.QuantityWaiting, Name: "trtllm_num_requests_waiting"},
		{Quantity: engine.QuantityKVUsage, Name: "trtllm_kv_cache_utilization"},
		{Quantity: engine.QuantityPromptTokens, Name: "trtllm_prompt_tokens_total", Sum: true},
		{Quantity: engine.QuantityCachedTokens, Name: "trtllm_prompt_cached_tokens_total", Sum: true},
		{Quantity: engine.QuantityGenerationTokens, Name: "trtllm_generation_tokens_total", Sum: true},
		{Quantity: engine.QuantityRequests, Name: "trtllm_request_success_total", Sum: true},
		{Quantity: engine.QuantityAcceptLength, Name: "trtllm_spec_decode_acceptance_length", When: "speculative decoding"},
		{Quantity: engine.QuantityDraftTokens, Name: "trtllm_spec_decode_num_draft_tokens_total", Sum: true, When: "speculative decoding"},
		{Quantity: engine.QuantityAcceptedTokens, Name: "trtllm_spec_decode_num_accepted_tokens_total", Sum: true, When: "speculative decoding"},
		{Quantity: engine.QuantityTTFT, Name: "trtllm_time_to_first_token_seconds"},
		{Quantity: engine.QuantityE2E, Name: "trtllm_e2e_request_latency_seconds"},
		{Quantity: engine.QuantityQueue, Name: "trtllm_request_queue_time_seconds"},
		{Quantity: engine.QuantityPrefill, Name: "trtllm_request_prefill_time_seconds"},
		{Quantity: engine.QuantityDecode, Name: "trtllm_request_decode_time_seconds"},
		{Quantity: engine.QuantityTPOT, Name: "trtllm_time_per_output_token_seconds"},
	}
	for i := range list {
		list[i].Source = fromColl
	}
	return append(list, engine.Metric{Quantity: engine.QuantityRequests, Name: "request_success_total", Sum: true, Since: "1.0", Until: "1.1", Source: fromOldMet})
}

// wires: request models forbid fields that they do not know, so the lists hold
// what the models of 1.2 and of the newest source have in common. Once a stream
// carries stream_options, both of its fields default to true, so usage rides on
// every event. Tokens of one event follow stream_interval. A chat names the
// bound on its output max_tokens: max_completion_tokens is an alias that not
// every version reads.
func wires() []engine.Wire {
	shared := []string{
		"top_k", "top_p_min", "min_p", "repetition_penalty", "length_penalty", "early_stopping", "use_beam_search", "min_tokens",
		"stop_token_ids", "include_stop_str_in_output", "skip_special_tokens", "spaces_between_special_tokens", "truncate_prompt_tokens",
		"add_special_tokens", "lora_request", "response_format", "disaggregated_params",
	}
	text := slices.Concat(shared, []string{"detokenize", "return_context_logits"})
	chat := slices.Concat(shared, []string{
		"best_of", "echo", "add_generation_prompt", "documents", "chat_template", "chat_template_kwargs", "reasoning_effort", "cache_salt",
	})
	return []engine.Wire{
		engine.OpenAICompletions(engine.WireOptions{Fields: text, Without: []string{"logprobs", "suffix"}, IgnoreEOS: "ignore_eos", IncludeUsage: true, ContinuousUsage: true}),
		engine.OpenAIChat(engine.WireOptions{Fields: chat, Without: []string{"max_completion_tokens"}, IgnoreEOS: "ignore_eos", IncludeUsage: true, ContinuousUsage: true}),
	}
}
