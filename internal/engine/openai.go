package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// WireOptions say in what one engine's OpenAI-compatible endpoint differs from
// the others'.
type WireOptions struct {
	// Path; "" = /v1/completions or /v1/chat/completions.
	Path string
	// Fields are the top-level request fields that this engine accepts beside
	// those of the OpenAI protocol that every engine here has.
	Fields []string
	// Without are OpenAI fields that this engine refuses.
	Without []string
	// MaxTokens is the field that bounds the output; "" = "max_tokens".
	MaxTokens string
	// IgnoreEOS is the field that keeps a model from ending early; "" = none,
	// and a request that asks for it is refused.
	IgnoreEOS string
	// IncludeUsage asks for the final usage event of a stream through
	// stream_options; ContinuousUsage also for usage on every event. Leave both
	// false where the engine knows no stream_options.
	IncludeUsage    bool
	ContinuousUsage bool
	// UsageByDefault: streams carry token counts without being asked.
	UsageByDefault bool
	// NoTokenPrompts: the prompt of a completion must be text.
	NoTokenPrompts bool
	// NoDoneMarker: a whole stream ends without "[DONE]".
	NoDoneMarker bool
}

// The fields of the OpenAI protocol that every engine here accepts. Read from
// the request models named in the engines' own sources.
var (
	openAIShared = []string{
		"model", "stream", "stream_options", "max_tokens", "temperature", "top_p", "n", "seed",
		"stop", "presence_penalty", "frequency_penalty", "logit_bias", "user",
	}
	openAICompletions = []string{"prompt", "echo", "best_of", "logprobs", "suffix"}
	openAIChat        = []string{
		"messages", "max_completion_tokens", "logprobs", "top_logprobs", "response_format",
		"tools", "tool_choice",
	}
	// measured are set by the load generator alone: another value would
	// invalidate what is measured.
	measured = []string{"model", "prompt", "messages", "stream", "stream_options"}
)

// OpenAICompletions is the wire format of /v1/completions.
func OpenAICompletions(o WireOptions) Wire {
	return openAIWire(EndpointCompletions, "/v1/completions", openAICompletions, o)
}

// OpenAIChat is the wire format of /v1/chat/completions.
func OpenAIChat(o WireOptions) Wire {
	return openAIWire(EndpointChat, "/v1/chat/completions", openAIChat, o)
}

func openAIWire(name EndpointName, path string, own []string, o WireOptions) Wire {
	if o.Path == "" {
		o.Path = path
	}
	if o.MaxTokens == "" {
		o.MaxTokens = "max_tokens"
	}
	fields := slices.Concat(openAIShared, own, o.Fields)
	if o.IgnoreEOS != "" {
		fields = append(fields, o.IgnoreEOS)
	}
	fields = slices.DeleteFunc(fields, func(f string) bool { return slices.Contains(o.Without, f) })
	slices.Sort(fields)
	fields = slices.Compact(fields)
	return Wire{
		Endpoint: name, Path: o.Path, Fields: fields,
		UsageByDefault: o.UsageByDefault, DoneMarker: !o.NoDoneMarker,
		Encode: func(r GenerateRequest) ([]byte, error) { return encodeOpenAI(r, name, fields, o) },
		Decode: DecodeOpenAI,
		Alike:  true,
	}
}

func encodeOpenAI(r GenerateRequest, name EndpointName, fields []string, o WireOptions) ([]byte, error) {
	for _, key := range slices.Sorted(maps.Keys(r.Extra)) {
		if err := CheckField(key, o.Path, fields); err != nil {
			return nil, err
		}
	}
	var b Body
	b.Set("model", r.Model)
	if err := setPrompt(&b, r, name, o); err != nil {
		return nil, err
	}
	set := func(key string, value any) {
		if _, given := r.Extra[key]; !given {
			b.Set(key, value)
		}
	}
	if r.MaxTokens > 0 {
		set(o.MaxTokens, r.MaxTokens)
	}
	if r.Temperature != nil {
		set("temperature", *r.Temperature)
	}
	if r.Seed != nil {
		set("seed", *r.Seed)
	}
	if r.IgnoreEOS {
		if o.IgnoreEOS == "" {
			return nil, fmt.Errorf("request to %s: this engine has no field that ignores the end-of-sequence token; leave ignore_eos off", o.Path)
		}
		set(o.IgnoreEOS, true)
	}
	b.Set("stream", r.Stream)
	if r.Stream && (o.IncludeUsage || o.ContinuousUsage) {
		b.Set("stream_options", streamOptions{true, o.ContinuousUsage})
	}
	for _, key := range slices.Sorted(maps.Keys(r.Extra)) {
		b.Set(key, r.Extra[key])
	}
	return b.Bytes()
}

type streamOptions struct {
	IncludeUsage    bool `json:"include_usage"`
	ContinuousUsage bool `json:"continuous_usage_stats,omitempty"`
}

func setPrompt(b *Body, r GenerateRequest, name EndpointName, o WireOptions) error {
	switch {
	case name == EndpointChat && len(r.PromptTokens) > 0:
		return fmt.Errorf("request to %s: a chat takes messages or a text, not token ids; use %s", o.Path, EndpointCompletions)
	case name == EndpointChat && len(r.Messages) > 0:
		b.Set("messages", r.Messages)
	case name == EndpointChat:
		b.Set("messages", []Message{{Role: "user", Content: r.Prompt}})
	case len(r.Messages) > 0:
		return fmt.Errorf("request to %s: a completion takes a prompt, not messages; use %s", o.Path, EndpointChat)
	case len(r.PromptTokens) > 0 && o.NoTokenPrompts:
		return fmt.Errorf("request to %s: this engine takes a text prompt, not token ids", o.Path)
	case len(r.PromptTokens) > 0:
		b.Set("prompt", r.PromptTokens)
	default:
		b.Set("prompt", r.Prompt)
	}
	return nil
}

// CheckField says why a request may not carry a field of the user's: it is not
// one of fields, or the load generator sets it itself. path names the endpoint
// in the message.
func CheckField(key, path string, fields []string) error {
	if slices.Contains(measured, key) {
		return fmt.Errorf("request field %q to %s: it is set by the load generator and cannot be given as an extra field", key, path)
	}
	if slices.Contains(fields, key) {
		return nil
	}
	return fmt.Errorf("request field %q to %s: this engine does not accept it; the nearest that it accepts is %q", key, path, nearest(key, fields))
}

// nearest is the word with the smallest edit distance; the first of equals.
func nearest(word string, words []string) string {
	best, least := "", -1
	for _, w := range words {
		if d := distance(word, w); least < 0 || d < least {
			best, least = w, d
		}
	}
	return best
}

// distance is the edit distance of Levenshtein, over at most 64 bytes of each.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	var row [65]int
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(above+1, row[j]+1, change)
			diagonal = above
		}
	}
	return row[len(b)]
}

// DecodeOpenAI reads one event of an OpenAI-compatible stream, or one whole
// reply. It accepts what any of the engines sends: text and message or delta
// choices, both spellings of reasoning, tool-call arguments, usage with or
// without choices, and errors as an object, as a string or flat. Several
// choices are joined. Unknown members are ignored; what is not a JSON object is
// an error.
func DecodeOpenAI(data []byte, d *Delta) error {
	*d = Delta{Tokens: -1}
	c := NewCursor(data)
	if c.Kind() != '{' {
		return notObject(&c)
	}
	flat, message := false, ""
	c.Object(func(key []byte) {
		switch string(key) {
		case "choices":
			c.Array(func() {
				d.HasChoices = true
				decodeChoice(&c, d)
			})
		case "usage":
			decodeUsage(&c, d)
		case "error":
			d.Error = DecodeError(&c)
		case "object":
			if c.Kind() == '"' {
				flat = string(c.quoted()) == "error"
			}
		case "message":
			message, _ = c.Text()
		}
	})
	if flat && d.Error == "" {
		d.Error = message
		if message == "" {
			d.Error = "error without a message"
		}
	}
	return c.End()
}

func notObject(c *Cursor) error {
	c.Skip()
	if err := c.End(); err != nil {
		return err
	}
	return errNotObject
}

var errNotObject = errors.New("JSON at byte 0: expected an object")

func decodeChoice(c *Cursor, d *Delta) {
	c.Object(func(key []byte) {
		switch string(key) {
		case "text":
			text, _ := c.Text()
			d.Text = join(d.Text, text)
		case "delta", "message":
			decodeMessage(c, d)
		case "finish_reason":
			if c.Kind() == '"' {
				d.Finish = finishReason(c.quoted())
			}
		}
	})
}

// finishReason keeps the usual reasons from being allocated for each request.
func finishReason(b []byte) string {
	switch string(b) {
	case "stop":
		return "stop"
	case "length":
		return "length"
	}
	return string(b)
}

func decodeMessage(c *Cursor, d *Delta) {
	var content, reasoning, alternative string
	c.Object(func(key []byte) {
		switch string(key) {
		case "content":
			content, _ = c.Text()
		case "reasoning_content":
			reasoning, _ = c.Text()
		case "reasoning":
			alternative, _ = c.Text()
		case "tool_calls":
			c.Array(func() { decodeToolCall(c, d) })
		}
	})
	if reasoning == "" { // an engine that sends both spellings sends the same text twice
		reasoning = alternative
	}
	d.Text = join(d.Text, content)
	d.Reasoning = join(d.Reasoning, reasoning)
}

func decodeToolCall(c *Cursor, d *Delta) {
	c.Object(func(key []byte) {
		if string(key) != "function" {
			return
		}
		c.Object(func(key []byte) {
			if string(key) == "arguments" {
				text, _ := c.Text()
				d.ToolArgs = join(d.ToolArgs, text)
			}
		})
	})
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + b
}

// decodeUsage reads a usage object. A usage without completion_tokens does not
// count, and null is no usage.
func decodeUsage(c *Cursor, d *Delta) {
	u := Usage{Cached: -1}
	counted := false
	c.Object(func(key []byte) {
		switch string(key) {
		case "prompt_tokens":
			u.Prompt, _ = c.Int()
		case "completion_tokens":
			u.Completion, counted = c.Int()
		case "prompt_tokens_details":
			c.Object(func(key []byte) {
				if string(key) == "cached_tokens" {
					if n, ok := c.Int(); ok {
						u.Cached = n
					}
				}
			})
		}
	})
	if counted {
		d.Usage, d.Tokens = &Usage{u.Prompt, u.Completion, u.Cached}, u.Completion
	}
}

// maxErrorText bounds an in-band error's message.
const maxErrorText = 4 << 10

// DecodeError reads the value of an "error" member: an object with a message, or
// a string. null is no error and yields "".
func DecodeError(c *Cursor) string {
	var text string
	switch c.Kind() {
	case 'n':
		c.Skip()
		return ""
	case '"':
		text, _ = c.Text()
	case '{':
		raw := c.Raw()
		text = errorMessage(raw)
		if text == "" {
			text = string(raw)
		}
	default:
		text = string(c.Raw())
	}
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "")
	}
	if text == "" {
		text = "error without a message"
	}
	return text
}

func errorMessage(raw []byte) (message string) {
	c := NewCursor(raw)
	c.Object(func(key []byte) {
		if string(key) == "message" {
			message, _ = c.Text()
		}
	})
	return message
}
