// Package llamacpp is all that is known of llama-server, the HTTP server of
// llama.cpp: an engine that starts in less than a second on a machine without
// GPUs, which makes it the real input of this program's own checks.
//
// The tables were read from the help of 0.7.0 and from what that server did
// when it was run; see the sources of each.
package llamacpp

import (
	"regexp"
	"time"

	"llmdyno/internal/engine"
)

// New describes llama-server.
func New() *engine.Engine {
	return &engine.Engine{
		ID:      "llamacpp",
		Aliases: []string{"llama_cpp", "llama-cpp", "llama.cpp", "llama-server", "llama_server"},
		Title:   "llama.cpp",
		Source:  fromRun,

		Launch: engine.Launch{
			Command:        []string{"llama-server"},
			Version:        []string{"llama-server", "--version"},
			VersionPattern: regexp.MustCompile(`(?m)^version: (\S+)`),
			ModelFlag:      "model",
			HostFlag:       "host",
			PortFlag:       "port",
			Host:           "127.0.0.1",
			SeqLimit:       "ctx_size",
			// Absent or 0, the context is that of the model.
			SeqLimitOptional: true,
			BatchLimit:       []string{"parallel"},
			Env: []engine.EnvVar{{
				Name: "OMP_WAIT_POLICY", Value: "passive",
				Reason: "spinning compute threads starve the client and the HTTP threads on a machine with few CPUs (two threads on two CPUs: 6 to 15 tokens/s, passive 75 to 122)",
			}},
		},
		Flags: flags(),
		Help: engine.Help{
			Args:    [][]string{{"--help"}, {"-h"}},
			Timeout: 20 * time.Second,
			Parse:   parseHelp,
		},
		Ready:        ready(),
		Logs:         logs(),
		Endpoints:    endpoints(),
		Marks:        marks(),
		VersionMarks: versionMarks(),
		Wires:        wires(),
		Tokenize:     tokenize(),
		Metrics:      metrics(),
		State:        state(),
		Constraints:  constraints(),
		Surface:      surface(),
	}
}

func ready() engine.Ready {
	return engine.Ready{
		Probes: []engine.Probe{
			{Endpoint: engine.EndpointHealth, Status: 200, Body: regexp.MustCompile(`"status":\s*"ok"`), Timeout: 2 * time.Second},
			{Endpoint: engine.EndpointCompletions, Status: 200, Generate: true, Timeout: 30 * time.Second},
		},
		Interval: 100 * time.Millisecond,
		Deadline: 5 * time.Minute,
		Note:     "/health turns from 503 to 200 when the model is loaded, but stays 200 while computation stalls, and a server started without a model is a router whose /health is 200 at once: only a generated token tells.",
		Source:   fromRun,
	}
}

func endpoints() []engine.Endpoint {
	return []engine.Endpoint{
		{Name: engine.EndpointHealth, Method: "GET", Path: "/health", ReadOnly: true, Source: fromRun},
		{Name: engine.EndpointModels, Method: "GET", Path: "/v1/models", ReadOnly: true, Auth: true, Legacy: []string{"/models"}, Source: fromRun},
		{Name: engine.EndpointServerInfo, Method: "GET", Path: "/props", ReadOnly: true, Auth: true, Cost: "holds the model's path and the chat template", Source: fromRun},
		{Name: engine.EndpointSlots, Method: "GET", Path: "/slots", ReadOnly: true, Auth: true, Cost: "may show prompts of running requests", Source: fromRun},
		{Name: engine.EndpointMetrics, Method: "GET", Path: "/metrics", ReadOnly: true, Auth: true, Needs: "--metrics", Source: fromRun},
		{Name: engine.EndpointTokenize, Method: "POST", Path: "/tokenize", ReadOnly: true, Auth: true, Source: fromRun},
		{Name: engine.EndpointCompletions, Method: "POST", Path: "/v1/completions", Auth: true, Cost: "generates; the connection is closed after each streamed reply although the header says keep-alive", Source: fromRun},
		{Name: engine.EndpointChat, Method: "POST", Path: "/v1/chat/completions", Auth: true, Cost: "generates; the connection is closed after each streamed reply although the header says keep-alive", Source: fromRun},
	}
}

func marks() []engine.Mark {
	return []engine.Mark{
		{Path: "/v1/models", Pattern: regexp.MustCompile(`"owned_by"\s*:\s*"llamacpp"`), Source: fromRun},
		{Path: "/props", Pattern: regexp.MustCompile(`"default_generation_settings"\s*:`), Source: fromRun},
		{Path: "/metrics", Pattern: regexp.MustCompile(`(?m)^(?:# (?:HELP|TYPE) )?llamacpp:`), Source: fromRun},
		{Header: "Server", Pattern: regexp.MustCompile(`^llama\.cpp`), Source: fromRun},
	}
}

func versionMarks() []engine.Mark {
	return []engine.Mark{{Path: "/props", Pattern: regexp.MustCompile(`"build_info"\s*:\s*"([^"]+)"`), Source: fromRun}}
}

// tokenize: special tokens are put before a text only on demand.
func tokenize() *engine.Tokenize {
	return &engine.Tokenize{
		Encode: func(_, text string) ([]byte, error) {
			var b engine.Body
			b.Set("content", text)
			return b.Bytes()
		},
		Count:  engine.CountTokens,
		Source: fromRun,
	}
}

// metrics: there is no KV usage and no histogram. The prompt counter leaves
// cached tokens out; they have a counter of their own.
func metrics() []engine.Metric {
	list := []engine.Metric{
		{Quantity: engine.QuantityRunning, Name: "llamacpp:requests_processing"},
		{Quantity: engine.QuantityWaiting, Name: "llamacpp:requests_deferred"},
		{Quantity: engine.QuantityComputedTokens, Name: "llamacpp:prompt_tokens_total"},
		{Quantity: engine.QuantityCachedTokens, Name: "llamacpp:prompt_tokens_cached_total"},
		{Quantity: engine.QuantityGenerationTokens, Name: "llamacpp:tokens_predicted_total"},
		{Quantity: engine.QuantityDrafts, Name: "llamacpp:spec_decode_num_drafts_total"},
		{Quantity: engine.QuantityDraftTokens, Name: "llamacpp:spec_decode_num_draft_tokens_total"},
		{Quantity: engine.QuantityAcceptedTokens, Name: "llamacpp:spec_decode_num_accepted_tokens_total"},
	}
	for i := range list {
		list[i].Source = fromRun
	}
	return list
}

// sampling are request fields of this server beside those of the protocol, as
// its /props names them. It ignores a field that it does not know.
var sampling = []string{
	"top_k", "min_p", "typical_p", "top_n_sigma", "repeat_penalty", "repeat_last_n", "dynatemp_range", "dynatemp_exponent",
	"xtc_probability", "xtc_threshold", "dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n",
	"mirostat", "mirostat_tau", "mirostat_eta", "samplers", "min_keep", "n_probs", "n_keep", "n_predict", "cache_prompt",
	"id_slot", "grammar", "json_schema", "timings_per_token", "post_sampling_probs", "return_tokens",
}

func wires() []engine.Wire {
	// It would drop these without a word.
	without := []string{"best_of", "suffix", "user"}
	return []engine.Wire{
		engine.OpenAICompletions(engine.WireOptions{Fields: sampling, Without: without, IgnoreEOS: "ignore_eos", IncludeUsage: true, UsageByDefault: true}),
		engine.OpenAIChat(engine.WireOptions{Fields: append([]string{"reasoning_format", "chat_template_kwargs"}, sampling...), Without: without, IgnoreEOS: "ignore_eos", IncludeUsage: true}),
	}
}
