package sglang

import (
	"regexp"
	"time"

	"llmdyno/internal/engine"
)

// healthTimeout is longer than the 20 s after which the server itself gives up
// (SGLANG_HEALTH_CHECK_TIMEOUT, python/sglang/srt/environ.py @ v0.5.18).
const (
	healthTimeout  = 25 * time.Second
	marksUnhealthy = "generates one token; when that fails the server counts itself unhealthy, and a later SIGTERM forces its exit"
)

// triage: the storage behind the cache answers 400 unless the server has an
// admin key, and then wants that key.
func triage() []engine.Endpoint {
	return []engine.Endpoint{{Name: engine.EndpointHiCache, Method: "GET", Path: "/hicache/storage-backend", ReadOnly: true, Auth: true,
		Needs: "--admin-api-key KEY at the launch", Since: "0.5.9", Source: http}}
}

func marks() []engine.Mark {
	return []engine.Mark{
		{Path: "/v1/models", Pattern: regexp.MustCompile(`"owned_by"\s*:\s*"sglang"`), Source: http},
		{Path: "/metrics", Pattern: regexp.MustCompile(`(?m)^(?:# (?:HELP|TYPE) )?sglang:`), Source: http},
		{Path: "/server_info", Pattern: regexp.MustCompile(`"internal_states"\s*:`), Source: http},
	}
}

func versionMarks() []engine.Mark {
	// The server's own arguments come first, its version at the end.
	version := regexp.MustCompile(`"version"\s*:\s*"([0-9][^"]*)"`)
	return []engine.Mark{
		{Path: "/server_info", Pattern: version, Source: http},
		{Path: "/get_server_info", Pattern: version, Source: http},
		{Path: "/v1/loads", Pattern: version, Source: read("python/sglang/srt/entrypoints/v1_loads.py")},
	}
}

func endpoints() []engine.Endpoint {
	rows := []engine.Endpoint{
		{Name: engine.EndpointHealth, Method: "GET", Path: "/health", ReadOnly: true,
			Cost:   "generates one token and polls once a second: about 1 s, up to 20 s; a busy server passes on other requests' output",
			Effect: marksUnhealthy, Timeout: healthTimeout},
		{Name: engine.EndpointHealthGenerate, Method: "GET", Path: "/health_generate", ReadOnly: true,
			Cost: "as /health, and never a constant answer", Effect: marksUnhealthy, Timeout: healthTimeout},
		{Name: engine.EndpointModels, Method: "GET", Path: "/v1/models", ReadOnly: true, Auth: true},
		{Name: engine.EndpointModelInfo, Method: "GET", Path: "/model_info", ReadOnly: true, Auth: true, Legacy: []string{"/get_model_info"}},
		{Name: engine.EndpointServerInfo, Method: "GET", Path: "/server_info", ReadOnly: true, Auth: true, Legacy: []string{"/get_server_info"},
			Cost: "goes through the scheduler: blocks while one is stuck; returns keys and passwords in clear, redact before storing"},
		{Name: engine.EndpointLoads, Method: "GET", Path: "/v1/loads", ReadOnly: true, Auth: true, Legacy: []string{"/get_load"}, Since: "0.5.8",
			Cost:   "a snapshot in shared memory since v0.5.13: answers even when the scheduler hangs",
			Source: read("python/sglang/srt/entrypoints/v1_loads.py")},
		{Name: engine.EndpointMetrics, Method: "GET", Path: "/metrics", ReadOnly: true, Needs: "--enable-metrics"},
		{Name: engine.EndpointTokenize, Method: "POST", Path: "/tokenize", ReadOnly: true, Auth: true, Legacy: []string{"/v1/tokenize"}, Since: "0.5.5"},
		{Name: engine.EndpointFlushCache, Method: "POST", Path: "/flush_cache", Auth: true,
			Cost: "empties the prefix cache; 400 unless the server is idle, unless timeout=SECONDS lets it wait (v0.5.10)"},
		{Name: engine.EndpointStartProfile, Method: "POST", Path: "/start_profile", Auth: true,
			Cost: "slows the server until it is stopped; 500 when a profile already runs"},
		{Name: engine.EndpointStopProfile, Method: "POST", Path: "/stop_profile", Auth: true,
			Cost: "writes the traces inside the scheduler loop: serving stands still meanwhile; 500 when none runs"},
		{Name: engine.EndpointCompletions, Method: "POST", Path: "/v1/completions", Auth: true, Cost: "generates"},
		{Name: engine.EndpointChat, Method: "POST", Path: "/v1/chat/completions", Auth: true, Cost: "generates"},
		{Name: engine.EndpointGenerate, Method: "POST", Path: "/generate", Auth: true, Cost: "generates"},
	}
	for i := range rows {
		if rows[i].Source == (engine.Source{}) {
			rows[i].Source = http
		}
	}
	return rows
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
		Source: read("python/sglang/srt/entrypoints/openai/serving_tokenize.py"),
	}
}

// metrics maps the series of /metrics. Scheduler series carry one label set a
// data-parallel rank; only attention-TP rank 0 reports, so a sum over series is
// a sum over dp_rank.
func metrics() []engine.Metric {
	// With priorities the total stands beside the series of each of them.
	const priorities = "--enable-priority-scheduling"
	total := map[string]string{"priority": ""}
	rows := []engine.Metric{
		{Quantity: engine.QuantityRunning, Name: "sglang:num_running_reqs", Labels: total, Sum: true, When: priorities},
		{Quantity: engine.QuantityWaiting, Name: "sglang:num_queue_reqs", Labels: total, Sum: true, When: priorities},
		{Quantity: engine.QuantityRunning, Name: "sglang:num_running_reqs", Sum: true},
		{Quantity: engine.QuantityWaiting, Name: "sglang:num_queue_reqs", Sum: true},
		{Quantity: engine.QuantityKVUsage, Name: "sglang:token_usage"},
		{Quantity: engine.QuantityPromptTokens, Name: "sglang:prompt_tokens_total", Sum: true},
		// Without the sources, since one of them is the total of the others.
		{Quantity: engine.QuantityCachedTokens, Name: "sglang:cached_tokens_total", Labels: map[string]string{"cache_source": "total"}, Sum: true},
		{Quantity: engine.QuantityCachedTokens, Name: "sglang:cached_tokens_total", Sum: true, Until: "0.5.9"},
		{Quantity: engine.QuantityGenerationTokens, Name: "sglang:generation_tokens_total", Sum: true},
		{Quantity: engine.QuantityRequests, Name: "sglang:num_requests_total", Sum: true},
		{Quantity: engine.QuantityPreemptions, Name: "sglang:num_retracted_requests_total", Sum: true, Since: "0.5.8"},
		{Quantity: engine.QuantityAcceptLength, Name: "sglang:spec_accept_length", When: "speculative decoding"},
		{Quantity: engine.QuantityTTFT, Name: "sglang:time_to_first_token_seconds"},
		{Quantity: engine.QuantityE2E, Name: "sglang:e2e_request_latency_seconds"},
		{Quantity: engine.QuantityQueue, Name: "sglang:queue_time_seconds", Since: "0.5.3"},
		{Quantity: engine.QuantityITL, Name: "sglang:inter_token_latency_seconds"},
	}
	for i := range rows {
		rows[i].Source = read("python/sglang/srt/observability/metrics_collector.py")
	}
	return rows
}
