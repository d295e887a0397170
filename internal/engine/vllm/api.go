package vllm

import (
	"regexp"

	"llmdyno/internal/engine"
)

const (
	devMode      = "the environment variable VLLM_SERVER_DEV_MODE=1"
	needsProfile = `--profiler-config '{"profiler":"torch","torch_profiler_dir":"/DIR"}' (up to 0.13 the environment variable VLLM_TORCH_PROFILER_DIR)`
)

// endpoints: the key is asked for below /v1 only, so health, metrics, tokenize
// and profile need none. A POST to /reset_prefix_cache says 200 whether or not
// the cache was emptied.
func endpoints() []engine.Endpoint {
	return []engine.Endpoint{
		{Name: engine.EndpointHealth, Method: "GET", Path: "/health", ReadOnly: true, Source: fromHealth},
		{Name: engine.EndpointModels, Method: "GET", Path: "/v1/models", ReadOnly: true, Auth: true, Source: fromServer},
		{Name: engine.EndpointVersion, Method: "GET", Path: "/version", ReadOnly: true, Source: fromSec},
		{Name: engine.EndpointServerInfo, Method: "GET", Path: "/server_info", ReadOnly: true, Needs: devMode,
			Cost:   "holds the whole configuration and the VLLM_ variables",
			Source: read("vllm/entrypoints/serve/dev/server_info @ 152c32cc")},
		{Name: engine.EndpointLoads, Method: "GET", Path: "/load", ReadOnly: true,
			Cost:   "counts only with --enable-server-load-tracking; 0 otherwise",
			Source: fromSec},
		{Name: engine.EndpointMetrics, Method: "GET", Path: "/metrics", ReadOnly: true,
			Cost:   "thin with --disable-log-stats",
			Source: read("vllm/entrypoints/serve/instrumentator/metrics.py @ ef0feb37")},
		{Name: engine.EndpointTokenize, Method: "POST", Path: "/tokenize", ReadOnly: true, Source: read("vllm/benchmarks/serve.py @ 009e6d4a")},
		{Name: engine.EndpointFlushCache, Method: "POST", Path: "/reset_prefix_cache", Needs: devMode,
			Cost:   "empties the prefix cache; 200 also when it could not, such as while requests run: look at the hit rate",
			Source: read("vllm/entrypoints/serve/dev/cache @ b35f7c2b")},
		{Name: engine.EndpointStartProfile, Method: "POST", Path: "/start_profile", Needs: needsProfile,
			Cost: "slows the server until it is stopped; a second start is ignored in silence", Source: fromProf},
		{Name: engine.EndpointStopProfile, Method: "POST", Path: "/stop_profile", Needs: needsProfile,
			Cost:   "answers when the traces are written: minutes, sometimes more than 20",
			Source: engine.Source{Ref: "vllm-project/vllm issue 22748", Date: "2026-11-24"}},
		{Name: engine.EndpointCompletions, Method: "POST", Path: "/v1/completions", Auth: true, Cost: "generates", Source: fromText},
		{Name: engine.EndpointChat, Method: "POST", Path: "/v1/chat/completions", Auth: true, Cost: "generates", Source: fromChat},
	}
}

// tokenize: /tokenize puts special tokens before a text unless told not to.
func tokenize() *engine.Tokenize {
	return &engine.Tokenize{
		Encode: func(model, text string) ([]byte, error) {
			var b engine.Body
			b.Set("model", model)
			b.Set("prompt", text)
			b.Set("add_special_tokens", false)
			return b.Bytes()
		},
		Count:  engine.CountTokens,
		Source: read("vllm/benchmarks/serve.py @ 009e6d4a"),
	}
}

// metrics: one series an engine of a data-parallel group. The usage of the KV
// cache is a ratio in spite of its name. Where both names of a quantity stand,
// the first that a page has counts.
func metrics() []engine.Metric {
	list := []engine.Metric{
		{Quantity: engine.QuantityRunning, Name: "vllm:num_requests_running", Sum: true},
		{Quantity: engine.QuantityWaiting, Name: "vllm:num_requests_waiting", Sum: true},
		{Quantity: engine.QuantityKVUsage, Name: "vllm:kv_cache_usage_perc"},
		{Quantity: engine.QuantityPromptTokens, Name: "vllm:prompt_tokens_total", Sum: true},
		{Quantity: engine.QuantityCachedTokens, Name: "vllm:prompt_tokens_cached_total", Sum: true},
		{Quantity: engine.QuantityGenerationTokens, Name: "vllm:generation_tokens_total", Sum: true},
		{Quantity: engine.QuantityRequests, Name: "vllm:request_success_total", Sum: true},
		{Quantity: engine.QuantityPreemptions, Name: "vllm:num_preemptions_total", Sum: true},
		{Quantity: engine.QuantityPrefixQueries, Name: "vllm:prefix_cache_queries_total", Sum: true},
		{Quantity: engine.QuantityPrefixHits, Name: "vllm:prefix_cache_hits_total", Sum: true},
		{Quantity: engine.QuantityDrafts, Name: "vllm:spec_decode_num_drafts_total", Sum: true, When: "speculative decoding"},
		{Quantity: engine.QuantityDraftTokens, Name: "vllm:spec_decode_num_draft_tokens_total", Sum: true, When: "speculative decoding"},
		{Quantity: engine.QuantityAcceptedTokens, Name: "vllm:spec_decode_num_accepted_tokens_total", Sum: true, When: "speculative decoding"},
		{Quantity: engine.QuantityTTFT, Name: "vllm:time_to_first_token_seconds"},
		{Quantity: engine.QuantityE2E, Name: "vllm:e2e_request_latency_seconds"},
		{Quantity: engine.QuantityQueue, Name: "vllm:request_queue_time_seconds"},
		{Quantity: engine.QuantityPrefill, Name: "vllm:request_prefill_time_seconds"},
		{Quantity: engine.QuantityDecode, Name: "vllm:request_decode_time_seconds"},
		{Quantity: engine.QuantityTPOT, Name: "vllm:request_time_per_output_token_seconds"},
		{Quantity: engine.QuantityITL, Name: "vllm:inter_token_latency_seconds"},
	}
	for i := range list {
		list[i].Source = fromMetrics
		if list[i].When != "" {
			list[i].Source = read("vllm/benchmarks/serve.py @ 009e6d4a") // the only reader that was seen
		}
	}
	old := read("vllm/v1/metrics/loggers.py @ 005a810b")
	return append(list,
		// Deprecated in 0.9, hidden in the next minor version.
		engine.Metric{Quantity: engine.QuantityKVUsage, Name: "vllm:gpu_cache_usage_perc", Until: "0.10", Source: old},
		// Renamed after 0.9 and before 0.12; a gap between tokens in spite of its name.
		engine.Metric{Quantity: engine.QuantityITL, Name: "vllm:time_per_output_token_seconds", Until: "0.12", Source: old})
}

// Fields of both request models beside those of the protocol. A field outside
// of them is accepted and only logged, so that a typing error would go unseen.
var (
	sampling = []string{
		"top_k", "min_p", "repetition_penalty", "length_penalty", "min_tokens", "stop_token_ids",
		"include_stop_str_in_output", "skip_special_tokens", "spaces_between_special_tokens", "truncate_prompt_tokens",
		"allowed_token_ids", "prompt_logprobs", "add_special_tokens", "response_format", "structured_outputs",
		"priority", "request_id", "session_id", "cache_salt", "kv_transfer_params", "return_token_ids",
		"return_tokens_as_token_ids", "vllm_xargs",
	}
	textOnly = []string{"prompt_embeds"}
	chatOnly = []string{
		"echo", "reasoning_effort", "include_reasoning", "parallel_tool_calls", "add_generation_prompt", "continue_final_message",
		"documents", "chat_template", "chat_template_kwargs", "mm_processor_kwargs", "bad_words", "thinking_token_budget",
	}
)

// wires: stream_options carry include_usage always, because its default inside
// a given object was true in older versions and is false now. Usage on every
// event tells the tokens of each, which are several with speculation or a
// stream interval above 1. The text model refuses a suffix and does not know
// best_of.
func wires() []engine.Wire {
	o := engine.WireOptions{IgnoreEOS: "ignore_eos", IncludeUsage: true, ContinuousUsage: true}
	text, chat := o, o
	text.Fields, text.Without = join(sampling, textOnly), []string{"best_of", "suffix"}
	chat.Fields, chat.MaxTokens = join(sampling, chatOnly), "max_completion_tokens" // max_tokens is deprecated there
	return []engine.Wire{engine.OpenAICompletions(text), engine.OpenAIChat(chat)}
}

func marks() []engine.Mark {
	return []engine.Mark{
		{Path: "/v1/models", Pattern: regexp.MustCompile(`"owned_by"\s*:\s*"vllm"`), Source: fromServer},
		{Path: "/load", Pattern: regexp.MustCompile(`"server_load"\s*:`), Source: fromSec},
		{Path: "/metrics", Pattern: regexp.MustCompile(`(?m)^(?:# (?:HELP|TYPE) )?vllm:`), Source: fromMetrics},
	}
}

func versionMarks() []engine.Mark {
	return []engine.Mark{{Path: "/version", Pattern: regexp.MustCompile(`"version"\s*:\s*"([^"]+)"`), Source: fromSec}}
}
