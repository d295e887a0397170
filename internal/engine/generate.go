package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// GenerateOptions say what a native /generate endpoint with a sampling_params
// object takes.
type GenerateOptions struct {
	Path     string
	Fields   []string // members of the body
	Sampling []string // members of its sampling_params
	Seed     string   // sampling parameter that holds the seed; "" = none
	Model    bool     // the body names the model
	// IDsTell: an event whose output_ids are fewer than its completion_tokens, which
	// count from the start, brings new text alone; any other brings all text so far.
	// Without it text is always all so far.
	IDsTell bool
}

// AllFields are the allow-list of the endpoint, sorted.
func (o GenerateOptions) AllFields() []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(o.Fields, o.Sampling))))
}

// Encode writes a native request. Extra fields go where they belong: a sampling
// parameter into sampling_params, any other to the top.
func (o GenerateOptions) Encode(r GenerateRequest) ([]byte, error) {
	if len(r.Messages) > 0 {
		return nil, fmt.Errorf("request to %s: it takes a text or token ids, not messages; use %s", o.Path, EndpointChat)
	}
	sampling := map[string]any{}
	if r.MaxTokens > 0 {
		sampling["max_new_tokens"] = r.MaxTokens
	}
	if r.Temperature != nil {
		sampling["temperature"] = *r.Temperature
	}
	if r.Seed != nil && o.Seed != "" {
		sampling[o.Seed] = *r.Seed
	}
	if r.IgnoreEOS {
		sampling["ignore_eos"] = true
	}
	top, err := o.split(r.Extra, sampling)
	if err != nil {
		return nil, err
	}
	var b Body
	if o.Model && r.Model != "" {
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

// split moves the sampling parameters among the extra fields into sampling, and
// returns the names of the others in order.
func (o GenerateOptions) split(extra, sampling map[string]any) (top []string, err error) {
	own := []string{"text", "input_ids", "sampling_params"}
	for _, key := range slices.Sorted(maps.Keys(extra)) {
		switch {
		case slices.Contains(o.Sampling, key):
			sampling[key] = extra[key]
		case slices.Contains(own, key):
			return nil, fmt.Errorf("request field %q to %s: it is set by the load generator and cannot be given as an extra field", key, o.Path)
		default:
			if err := CheckField(key, o.Path, o.AllFields()); err != nil {
				return nil, err
			}
			top = append(top, key)
		}
	}
	return top, nil
}

// Decode reads one event of a native stream, or one whole reply, which is an array
// where several outputs were asked for or a gateway always makes one. Several
// outputs of one reply are joined.
func (o GenerateOptions) Decode(data []byte, d *Delta) error {
	*d = Delta{Tokens: -1, Cumulative: true}
	c := NewCursor(data)
	if c.Kind() == '[' {
		c.Array(func() { o.decodeOutput(&c, d) })
	} else if !o.decodeOutput(&c, d) && c.End() == nil {
		return errors.New("JSON at byte 0: expected an object or an array of objects")
	}
	return c.End()
}

func (o GenerateOptions) decodeOutput(c *Cursor, d *Delta) (object bool) {
	ids, tokens, counted := 0, -1, false
	flat, message := false, ""
	object = c.Object(func(key []byte) {
		switch string(key) {
		case "text":
			text, _ := c.Text()
			d.Text += text
			d.HasChoices = true
		case "output_ids":
			if d.HasChoices = true; o.IDsTell {
				ids, counted = c.Count()
			}
		case "meta_info":
			tokens = decodeMeta(c, d)
		case "error":
			d.Error = DecodeError(c)
		case "object":
			kind, _ := c.Text()
			flat = kind == "error"
		case "message":
			message, _ = c.Text()
		}
	})
	if flat && d.Error == "" {
		d.Error = message
	}
	if counted && tokens >= 0 {
		d.Cumulative = ids == tokens
	}
	return object
}

// decodeMeta takes the counts of one output and returns its tokens; -1 = not told.
func decodeMeta(c *Cursor, d *Delta) int {
	u, told := Usage{Cached: -1}, false
	c.Object(func(key []byte) {
		switch string(key) {
		case "prompt_tokens":
			u.Prompt, _ = c.Int()
		case "completion_tokens":
			u.Completion, told = c.Int()
		case "cached_tokens":
			if n, ok := c.Int(); ok {
				u.Cached = n
			}
		case "finish_reason":
			decodeFinish(c, d)
		}
	})
	if !told {
		return -1
	}
	own := u.Completion
	if d.Usage != nil { // a further output of the same reply
		u.Completion += d.Usage.Completion
	}
	d.Usage, d.Tokens = &Usage{Prompt: u.Prompt, Completion: u.Completion, Cached: u.Cached}, u.Completion
	return own
}

// decodeFinish reads null, a word, or an object with a type. An abort carries its
// reason in the message and is a failure of the request.
func decodeFinish(c *Cursor, d *Delta) {
	message := ""
	if c.Kind() == '"' {
		d.Finish, _ = c.Text()
	} else {
		c.Object(func(key []byte) {
			switch string(key) {
			case "type":
				d.Finish, _ = c.Text()
			case "message":
				message, _ = c.Text()
			}
		})
	}
	if d.Finish == "abort" {
		if d.Error = "aborted by the server"; message != "" {
			d.Error += ": " + message
		}
	}
}
