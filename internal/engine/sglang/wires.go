package sglang

import (
	"slices"

	"llmdyno/internal/engine"
)

// openAIFields are the fields that both OpenAI routes take beyond the protocol.
var openAIFields = []string{
	"top_k", "min_p", "min_tokens", "regex", "ebnf", "stop_token_ids", "stop_regex",
	"repetition_penalty", "lora_path", "rid", "no_stop_trim", "skip_special_tokens",
	"return_cached_tokens_details", "return_token_ids", "custom_logit_processor", "custom_params",
	"session_params", "priority", "extra_key", "cache_salt", "routed_dp_rank",
	"data_parallel_rank", "bootstrap_host", "bootstrap_port", "bootstrap_room", "return_hidden_states",
	"response_format",
}

// generateFields are the members of a /generate body. generateSampling are
// those of its sampling_params; an unknown one there is a plain 500.
var (
	generateFields = []string{
		"text", "input_ids", "sampling_params", "stream", "rid", "session_id", "return_logprob",
		"logprob_start_len", "top_logprobs_num", "token_ids_logprob", "return_text_in_logprobs",
		"return_hidden_states", "return_prompt_token_ids", "lora_path", "custom_logit_processor",
		"priority", "extra_key", "cache_salt", "routing_key", "routed_dp_rank", "bootstrap_host",
		"bootstrap_port", "bootstrap_room", "log_metrics", "no_logs", "custom_labels",
		"image_data", "video_data", "audio_data",
	}
	generateSampling = []string{
		"max_new_tokens", "min_new_tokens", "stop", "stop_token_ids", "stop_regex", "temperature",
		"top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty", "n",
		"json_schema", "regex", "ebnf", "structural_tag", "ignore_eos", "skip_special_tokens",
		"spaces_between_special_tokens", "no_stop_trim", "stream_interval", "logit_bias",
		"sampling_seed", "custom_params",
	}
)

// generate has no model field: the server answers for the one that it has. Text is
// all text so far, unless the server runs with --incremental-streaming-output: then
// output_ids, too, are the new ones. An event without output_ids is cumulative, as
// all were up to the version that introduced the flag.
var generate = engine.GenerateOptions{Path: "/generate", Fields: generateFields, Sampling: generateSampling, Seed: "sampling_seed", IDsTell: true}

func wires() []engine.Wire {
	// Two fields are of completions alone (openai/protocol.py at v0.5.18).
	o := engine.WireOptions{Fields: slices.Concat(openAIFields, []string{"json_schema", "custom_labels"}), IgnoreEOS: "ignore_eos", IncludeUsage: true, ContinuousUsage: true}
	chat := o
	chat.Fields = slices.Concat(openAIFields, []string{
		"return_meta_info", "reasoning_effort", "separate_reasoning", "stream_reasoning", "chat_template_kwargs",
		"continue_final_message",
	})
	return []engine.Wire{
		engine.OpenAICompletions(o),
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
