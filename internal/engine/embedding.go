package engine

// EndpointEmbeddings turns a text into a vector.
const EndpointEmbeddings EndpointName = "embeddings"

// OpenAIEmbeddings is the wire format of /v1/embeddings: one whole reply.
func OpenAIEmbeddings() Wire { return Embeddings("/v1/embeddings") }

// Embeddings is the wire format of an endpoint that answers with a vector, in the
// form of the OpenAI protocol or of an engine's own: an object, or a list of
// them, with "embedding" and "meta_info". Requests are encoded in the OpenAI form.
func Embeddings(path string) Wire {
	return Wire{
		Endpoint: EndpointEmbeddings, Path: path, Fields: []string{"model", "input"},
		Encode: func(r GenerateRequest) ([]byte, error) {
			var b Body
			b.Set("model", r.Model)
			if len(r.PromptTokens) > 0 {
				b.Set("input", r.PromptTokens)
			} else {
				b.Set("input", r.Prompt)
			}
			return b.Bytes()
		},
		Decode: DecodeEmbeddings,
	}
}

// DecodeEmbeddings reads a reply with vectors. The text of the delta is that of
// the vectors, so that two replies can be compared.
func DecodeEmbeddings(data []byte, d *Delta) error {
	*d = Delta{Tokens: -1}
	c := NewCursor(data)
	if c.Kind() == '[' {
		c.Array(func() { decodeEmbedding(&c, d) })
	} else {
		decodeEmbedding(&c, d)
	}
	return c.End()
}

func decodeEmbedding(c *Cursor, d *Delta) {
	flat, message := false, ""
	if c.Kind() != '{' {
		c.fail("an object")
		return
	}
	c.Object(func(key []byte) {
		switch string(key) {
		case "data":
			c.Array(func() { decodeEmbedding(c, d) })
		case "embedding":
			d.Text += string(c.Raw())
			d.HasChoices, d.Finish = true, "stop"
		case "usage", "meta_info":
			if u := (Usage{Cached: -1}); c.Object(func(key []byte) {
				if string(key) == "prompt_tokens" {
					u.Prompt, _ = c.Int()
				} else {
					c.Skip()
				}
			}) {
				if d.Usage != nil {
					u.Prompt += d.Usage.Prompt
				}
				d.Usage = &u
			}
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
}
