package tokenspeed

import (
	"errors"
	"fmt"
	"maps"
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

const generatePath = "/generate"

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
			Endpoint: engine.EndpointGenerate, Path: generatePath,
			Fields:         slices.Compact(slices.Sorted(slices.Values(slices.Concat(generateFields, generateSampling)))),
			UsageByDefault: true, // every event has meta_info with the counts
			DoneMarker:     true,
			Encode:         encodeGenerate,
			Decode:         decodeGenerate,
		},
	}
}

// encodeGenerate writes a native request. Extra fields go where they belong: a
// sampling parameter into sampling_params, any other to the top.
func encodeGenerate(r engine.GenerateRequest) ([]byte, error) {
	if len(r.Messages) > 0 {
		return nil, fmt.Errorf("request to %s: it takes a text or token ids, not messages; use %s", generatePath, engine.EndpointChat)
	}
	sampling := map[string]any{}
	if r.MaxTokens > 0 {
		sampling["max_new_tokens"] = r.MaxTokens
	}
	if r.Temperature != nil {
		sampling["temperature"] = *r.Temperature
	}
	if r.IgnoreEOS {
		sampling["ignore_eos"] = true
	}
	top, err := splitExtra(r.Extra, sampling)
	if err != nil {
		return nil, err
	}
	var b engine.Body
	if r.Model != "" {
		b.Set("model", r.Model)
	}
	if len(r.PromptTokens) > 0 {
		b.Set("input_ids", r.PromptTokens)
	} else {
		b.Set("text", r.Prompt)
	}
	b.Set("sampling_params", sampling)
	b.Set("stream", r.Stream)
	for _, key := range top {
		b.Set(key, r.Extra[key])
	}
	return b.Bytes()
}

// splitExtra moves the sampling parameters among the extra fields into
// sampling, and returns the names of the others in order.
func splitExtra(extra, sampling map[string]any) (top []string, err error) {
	own := []string{"text", "input_ids", "sampling_params"}
	for _, key := range slices.Sorted(maps.Keys(extra)) {
		switch {
		case slices.Contains(generateSampling, key):
			sampling[key] = extra[key]
		case slices.Contains(own, key):
			return nil, fmt.Errorf("request field %q to %s: it is set by the load generator and cannot be given as an extra field", key, generatePath)
		default:
			if err := engine.CheckField(key, generatePath, slices.Concat(generateFields, generateSampling)); err != nil {
				return nil, err
			}
			top = append(top, key)
		}
	}
	return top, nil
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
