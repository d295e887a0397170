package engine

// GenerateRequest is one prompt with its sampling parameters, before it is put
// into a wire format.
type GenerateRequest struct {
	Model        string
	Prompt       string    // text prompt; empty when PromptTokens or Messages is set
	PromptTokens []int     // token ids, where the wire format takes them
	Messages     []Message // chat
	MaxTokens    int
	IgnoreEOS    bool // ask for exactly MaxTokens tokens, where the engine can
	Stream       bool
	Temperature  *float64
	Seed         *int64
	// Extra are further body fields as given by the user; fields that the
	// engine does not know are refused by Encode.
	Extra map[string]any
}

// Usage is a server's own count of tokens. Cached is -1 when the server did
// not say.
type Usage struct {
	Prompt, Completion, Cached int
}

// Delta is what one stream event (or one whole reply) carries.
type Delta struct {
	Text      string // content or completion text
	Reasoning string // reasoning text
	ToolArgs  string // tool-call arguments
	// Cumulative: Text is all the text so far, not what is new.
	Cumulative bool
	HasChoices bool // the event has a non-empty "choices", or the native counterpart
	// Tokens is the number of output tokens so far when the event says so, else -1.
	Tokens int
	Finish string // finish reason; "" = not finished
	Usage  *Usage // nil = not in this event
	// Error is the message of an in-band error; the request has failed.
	Error string
}

// Wire is the request and reply format of one generating endpoint.
type Wire struct {
	Endpoint EndpointName
	Path     string
	// Fields is the allow-list of top-level request fields. A field outside of
	// it is refused, because some engines answer it with an error and others
	// ignore it in silence.
	Fields []string
	// UsageByDefault: streams carry token counts without being asked.
	UsageByDefault bool
	// DoneMarker: a stream that ends without "[DONE]" was cut.
	DoneMarker bool
	// Alike: what Decode reads of an event depends on its text and counts alone
	// where the rest of it stays the same, so that a [Shape] may spare the
	// decoding. FuzzShape holds such a decoder to it.
	Alike bool
	// Encode makes the request body. It refuses a field that is not in Fields.
	Encode func(GenerateRequest) ([]byte, error)
	// Decode reads the data of one SSE event ("[DONE]" left out) or one whole
	// reply into d, which it overwrites.
	Decode func(data []byte, d *Delta) error
}
