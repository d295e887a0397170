package tokenspeed

import (
	"regexp"

	"llmdyno/internal/engine"
)

// endpoints are those of the gateway, on the server's port. The control server
// on the port above answers much the same and more, but its start is allowed to
// fail. /health and /liveness of the gateway only tell that it runs, so the
// neutral health endpoint is /readiness.
func endpoints() []engine.Endpoint {
	rows := []engine.Endpoint{
		{Name: engine.EndpointHealth, Method: "GET", Path: "/readiness", ReadOnly: true, Source: readGateway("model_gateway/src/health.rs")},
		{Name: engine.EndpointModels, Method: "GET", Path: "/v1/models", ReadOnly: true, Auth: true},
		{Name: engine.EndpointModelInfo, Method: "GET", Path: "/get_model_info", ReadOnly: true, Auth: true},
		{Name: engine.EndpointServerInfo, Method: "GET", Path: "/get_server_info", ReadOnly: true, Auth: true,
			Cost: "holds every server argument, keys in clear: redact before storing"},
		{Name: engine.EndpointLoads, Method: "GET", Path: "/get_loads", ReadOnly: true, Auth: true,
			Cost: "asks the scheduler of every worker; token_usage and num_used_tokens are low by the prefix granularity, since used pages are not multiplied by it"},
		{Name: engine.EndpointMetrics, Method: "GET", Path: "/metrics", ReadOnly: true, Port: "prometheus_port", Needs: "--prometheus-port",
			Cost: "series of the gateway; those of the engine need --engine-metrics", Source: readGateway("model_gateway/src/observability/metrics_server.rs")},
		{Name: engine.EndpointTokenize, Method: "POST", Path: "/v1/tokenize", ReadOnly: true, Auth: true},
		{Name: engine.EndpointFlushCache, Method: "POST", Path: "/flush_cache", Auth: true,
			Cost: "empties the prefix cache; fails while requests run, and answers 206 when only some workers did it"},
		{Name: engine.EndpointStartProfile, Method: "POST", Path: "/start_profile", Auth: true,
			Cost: "slows the server until it is stopped; answers 206 with the reason when a profile already runs"},
		{Name: engine.EndpointStopProfile, Method: "POST", Path: "/stop_profile", Auth: true, Cost: "writes the traces before it answers: serving stands still meanwhile"},
		{Name: engine.EndpointCompletions, Method: "POST", Path: "/v1/completions", Auth: true, Cost: "generates"},
		{Name: engine.EndpointChat, Method: "POST", Path: "/v1/chat/completions", Auth: true, Cost: "generates"},
		{Name: engine.EndpointGenerate, Method: "POST", Path: "/generate", Auth: true, Cost: "generates"},
	}
	for i := range rows {
		if rows[i].Source == (engine.Source{}) {
			rows[i].Source = gateway
		}
	}
	return rows
}

// triage: what the control server on the port above the gateway's answers, where
// that is the one that was named.
func triage() []engine.Endpoint {
	return []engine.Endpoint{
		{Name: engine.EndpointLoads, Method: "GET", Path: "/v1/loads", ReadOnly: true, Needs: "the control server, on the port above the gateway's", Source: read("python/tokenspeed/cli/serve_smg.py")},
		{Name: engine.EndpointHealthCheck, Method: "GET", Path: "/health_check", ReadOnly: true, Effect: "generates one token through the scheduler",
			Needs: "the control server, on the port above the gateway's", Source: read("python/tokenspeed/cli/serve_smg.py")},
	}
}

func marks() []engine.Mark {
	return []engine.Mark{
		{Path: "/readiness", Pattern: regexp.MustCompile(`"healthy_workers"\s*:`), Source: readGateway("model_gateway/src/health.rs")},
		{Path: "/get_server_info", Pattern: regexp.MustCompile(`"tokenspeed_version"\s*:`), Source: gateway},
		{Path: "/metrics", Pattern: regexp.MustCompile(`(?m)^(?:# (?:HELP|TYPE) )?(?:smg_|tokenspeed:)`), Source: readGateway("model_gateway/src/observability/metrics.rs")},
	}
}

func versionMarks() []engine.Mark {
	return []engine.Mark{{Path: "/get_server_info", Pattern: regexp.MustCompile(`"tokenspeed_version"\s*:\s*"([^"]+)"`), Source: gateway}}
}

// tokenize: no server was asked; where it answers otherwise the count is an error
// and its user goes without.
func tokenize() *engine.Tokenize {
	return &engine.Tokenize{
		Encode: func(model, text string) ([]byte, error) {
			var b engine.Body
			b.Set("model", model)
			b.Set("prompt", text)
			return b.Bytes()
		},
		Count:  engine.CountTokens,
		Source: gateway,
	}
}

// metrics maps the series of the gateway's exporter. The engine's own series
// (tokenspeed:*) are not among them: on the first node nothing exposes them.
// The share of the KV cache in use is left out, because smg_engine_token_usage
// is low by the prefix granularity. There is no count of preemptions.
func metrics() []engine.Metric {
	rows := []engine.Metric{
		{Quantity: engine.QuantityRunning, Name: "smg_engine_running_requests", Sum: true, When: "--engine-metrics"},
		{Quantity: engine.QuantityWaiting, Name: "smg_engine_waiting_requests", Sum: true, When: "--engine-metrics"},
		{Quantity: engine.QuantityPromptTokens, Name: "smg_router_tokens_total", Labels: map[string]string{"token_type": "input"}, Sum: true},
		{Quantity: engine.QuantityGenerationTokens, Name: "smg_router_tokens_total", Labels: map[string]string{"token_type": "output"}, Sum: true},
		{Quantity: engine.QuantityRequests, Name: "smg_router_requests_total", Sum: true},
		{Quantity: engine.QuantityTTFT, Name: "smg_router_ttft_seconds"},
		{Quantity: engine.QuantityE2E, Name: "smg_router_generation_duration_seconds"}, // from the request's arrival
		{Quantity: engine.QuantityTPOT, Name: "smg_router_tpot_seconds"},
	}
	for i := range rows {
		rows[i].Source = readGateway("model_gateway/src/observability/metrics.rs")
	}
	return rows
}
