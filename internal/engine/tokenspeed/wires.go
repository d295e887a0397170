package tokenspeed

import (
	"slices"

	"llmdyno/internal/engine"
)

// The gateway keeps any field that it does not know and does nothing with it, and
// it drops some that it knows on the way to this engine (seed, logit_bias, user,
// best_of, suffix). The lists hold what arrives.
var (
	unused = []string{"seed", "logit_bias", "user", "best_of", "suffix"}
	shared = []string{
		"top_k", "min_p", "repetition_penalty", "stop_token_ids", "no_stop_trim", "regex", "ebnf",
		"skip_special_tokens", "lora_path", "rid",
	}
	chatOnly = []string{
		"chat_template_kwargs", "reasoning_effort", "separate_reasoning", "stream_reasoning",
		"continue_final_message", "parallel_tool_calls",
	}
	generateFields   = []string{"model", "text", "input_ids", "sampling_params", "stream", "return_logprob", "logprob_start_len", "top_logprobs_num", "lora_path", "rid"}
	generateSampling = []string{
		"temperature", "max_new_tokens", "min_new_tokens", "top_p", "top_k", "min_p", "frequency_penalty",
		"presence_penalty", "repetition_penalty", "stop", "stop_token_ids", "ignore_eos", "skip_special_tokens",
		"no_stop_trim", "n", "json_schema", "regex", "ebnf",
	}
)

// generate: the text of an event is all text so far, although its output_ids are
// only the new ones; whole replies come in an array.
var generate = engine.GenerateOptions{Path: "/generate", Fields: generateFields, Sampling: generateSampling, Model: true}

// wires: usage comes as one last event when asked for; continuous_usage_stats is
// accepted, and nothing reads it. A prompt is text: the gateway holds the
// tokenizer and refuses token ids except on /generate.
func wires() []engine.Wire {
	completions := engine.WireOptions{
		Fields: slices.Concat(shared, []string{"min_tokens", "json_schema"}), Without: unused,
		IgnoreEOS: "ignore_eos", IncludeUsage: true, NoTokenPrompts: true,
	}
	chat := engine.WireOptions{
		Fields: slices.Concat(shared, chatOnly), Without: unused, MaxTokens: "max_completion_tokens",
		IgnoreEOS: "ignore_eos", IncludeUsage: true,
	}
	return []engine.Wire{
		engine.OpenAICompletions(completions),
		engine.OpenAIChat(chat),
		{
			Endpoint: engine.EndpointGenerate, Path: generate.Path,
			Fields:         generate.AllFields(),
			UsageByDefault: true, // every event has meta_info with the counts
			DoneMarker:     true,
			Alike:          true,
			Encode:         generate.Encode,
			Decode:         generate.Decode,
		},
	}
}
