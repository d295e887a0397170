package tokenspeed

import (
	"errors"
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
			Encode:         generate.Encode,
			Decode:         decodeGenerate,
		},
	}
}

// decodeGenerate reads one event of a /generate stream or one whole reply, which
// the gateway always puts into an array. The text of an event is all text so
// far, although its output_ids are only the new ones. Several outputs of one
// reply are joined.
func decodeGenerate(data []byte, d *engine.Delta) error {
	*d = engine.Delta{Tokens: -1, Cumulative: true}
	c := engine.NewCursor(data)
	if c.Kind() == '[' {
		c.Array(func() { decodeOutput(&c, d) })
	} else if !decodeOutput(&c, d) && c.End() == nil {
		return errors.New("JSON at byte 0: expected an object or an array of objects")
	}
	return c.End()
}

func decodeOutput(c *engine.Cursor, d *engine.Delta) (object bool) {
	return c.Object(func(key []byte) {
		switch string(key) {
		case "text":
			text, _ := c.Text()
			d.Text += text
			d.HasChoices = true
		case "output_ids":
			d.HasChoices = true
		case "meta_info":
			decodeMeta(c, d)
		case "error":
			d.Error = engine.DecodeError(c)
		}
	})
}

func decodeMeta(c *engine.Cursor, d *engine.Delta) {
	u := engine.Usage{Cached: -1}
	counted := false
	c.Object(func(key []byte) {
		switch string(key) {
		case "prompt_tokens":
			u.Prompt, _ = c.Int()
		case "completion_tokens":
			u.Completion, counted = c.Int()
		case "cached_tokens":
			if n, ok := c.Int(); ok {
				u.Cached = n
			}
		case "finish_reason":
			decodeFinish(c, d)
		}
	})
	if !counted {
		return
	}
	if d.Usage != nil { // a further output of the same reply
		u.Completion += d.Usage.Completion
	}
	d.Usage, d.Tokens = &engine.Usage{Prompt: u.Prompt, Completion: u.Completion, Cached: u.Cached}, u.Completion
}

// decodeFinish reads null, a word (as streams carry it) or an object with a type
// (as whole replies do).
func decodeFinish(c *engine.Cursor, d *engine.Delta) {
	if c.Kind() == '"' {
		d.Finish, _ = c.Text()
	} else {
		c.Object(func(key []byte) {
			if string(key) == "type" {
				d.Finish, _ = c.Text()
			}
		})
	}
	if d.Finish == "abort" {
		d.Error = "aborted by the server"
	}
}
