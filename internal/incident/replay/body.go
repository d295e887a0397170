package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/incident/dump"
	"llmdyno/internal/load"
)

// skip is why a request cannot be sent to this server.
type skip string

func (s skip) Error() string { return string(s) }

// builder makes the bodies for one server.
type builder struct {
	engine *engine.Engine // of the server; nil = not known
	model  string
	o      Options

	wire   engine.Wire // for requests in the neutral form
	native bool        // bodies go as they are where the server is of their engine
}

// plainWires are those of a server whose engine is not known.
func plainWires() []engine.Wire {
	o := engine.WireOptions{IncludeUsage: true}
	return []engine.Wire{engine.OpenAICompletions(o), engine.OpenAIChat(o)}
}

// choose picks the endpoint of requests in the neutral form.
func (b *builder) choose() error {
	wires := plainWires()
	if b.engine != nil {
		wires = b.engine.Wires
	}
	name := b.o.Endpoint
	b.native = name == "" || name == string(engine.EndpointGenerate) || b.engine != nil && b.engine.Dump != nil && name == b.engine.Dump.Paths[engine.DumpGenerate]
	if name == "" {
		name = string(engine.EndpointCompletions)
	}
	var known []string
	for _, w := range wires {
		if string(w.Endpoint) == name || w.Path == name {
			b.wire = w
			return nil
		}
		known = append(known, string(w.Endpoint))
	}
	return fmt.Errorf("endpoint %q: the server has no such one that generates; expected %s", b.o.Endpoint, strings.Join(known, ", "))
}

// item makes one request.
func (b *builder) item(q *Request) (Item, error) {
	x := Item{Dropped: slices.Clone(q.Dropped), Notes: slices.Clone(q.Notes)}
	x.describe(q)
	var err error
	switch {
	case b.asRecorded(q):
		err = b.recorded(&x, q)
	case q.Kind == engine.DumpEmbedding:
		err = b.embedding(&x, q)
	default:
		err = b.neutral(&x, q)
	}
	x.Path, x.Bytes = x.Sent.Wire.Path, len(x.Sent.Body)
	return x, err
}

// asRecorded says that the server takes the recorded body itself.
func (b *builder) asRecorded(q *Request) bool {
	return b.native && len(q.Body) > 0 && b.engine != nil && b.engine.ID == q.Engine && b.engine.Dump != nil && b.engine.Dump.Paths[q.kind()] != ""
}

// kind is what a request asks for; a list of other origin holds prompts alone.
func (q *Request) kind() engine.DumpKind {
	if q.Kind == "" {
		return engine.DumpGenerate
	}
	return q.Kind
}

// recorded sends the body of the dump, without what its reader left out.
func (b *builder) recorded(x *Item, q *Request) error {
	layout := b.engine.Dump
	path := layout.Paths[q.kind()]
	x.Stream, x.MaxTokens = q.Stream, q.OutputLen
	body := []byte(q.Body)
	if q.kind() == engine.DumpEmbedding {
		x.Sent = load.Encoded{Wire: engine.Embeddings(path), Body: body}
		return nil
	}
	w, ok := b.engine.Wire(engine.EndpointGenerate)
	if !ok || w.Path != path {
		return skip("the server's engine has no endpoint for it")
	}
	if b.o.IgnoreEOS {
		var err error
		if body, err = exactLength(body, layout, q.Recorded.CompletionTokens); err != nil {
			return err
		}
		if n := q.Recorded.CompletionTokens; n != nil {
			x.MaxTokens = int(*n)
		}
	}
	x.Sent = load.Encoded{Wire: w, Body: body}
	return nil
}

// exactLength asks a native request for as many tokens as were recorded.
func exactLength(body []byte, layout *engine.DumpLayout, tokens *int64) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, fmt.Errorf("its body cannot be read: %w", err)
	}
	change := func(raw json.RawMessage) (json.RawMessage, error) {
		p := map[string]json.RawMessage{}
		if len(raw) > 0 && !bytes.Equal(raw, []byte("null")) {
			if err := json.Unmarshal(raw, &p); err != nil {
				return nil, err
			}
		}
		p[layout.Sampling.IgnoreEOS] = json.RawMessage("true")
		if tokens != nil && *tokens > 0 {
			p[layout.Sampling.MaxTokens] = fmt.Append(nil, *tokens)
		}
		return json.Marshal(p)
	}
	key := layout.Request.Sampling
	raw := bytes.TrimSpace(members[key])
	var err error
	if len(raw) > 0 && raw[0] == '[' { // of a batch, one for each
		var list []json.RawMessage
		if err = json.Unmarshal(raw, &list); err == nil {
			for i := range list {
				if list[i], err = change(list[i]); err != nil {
					break
				}
			}
			raw, _ = json.Marshal(list)
		}
	} else {
		raw, err = change(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("%s of its body: %w", key, err)
	}
	members[key] = raw
	return json.Marshal(members)
}

// embedding asks any server for a vector.
func (b *builder) embedding(x *Item, q *Request) error {
	if q.ReplayOnly != "" && q.Prompt == "" && len(q.PromptTokens) == 0 {
		return skip("only its own engine can take it: " + q.ReplayOnly)
	}
	w := engine.OpenAIEmbeddings()
	body, err := w.Encode(engine.GenerateRequest{Model: b.model, Prompt: string(q.Prompt), PromptTokens: q.PromptTokens})
	x.Sent = load.Encoded{Wire: w, Body: body}
	return err
}

// neutral sends a prompt with its parameters through an endpoint of the server.
func (b *builder) neutral(x *Item, q *Request) error {
	if q.Prompt == "" && len(q.PromptTokens) == 0 && len(q.Messages) == 0 {
		why := q.ReplayOnly
		if why == "" {
			why = "it has no prompt"
		}
		return skip("only its own engine can take it: " + why)
	}
	g := engine.GenerateRequest{
		Model: b.model, Prompt: string(q.Prompt), PromptTokens: q.PromptTokens, Messages: q.Messages, MaxTokens: q.OutputLen,
		Stream: q.Stream || len(q.Body) == 0, // a list of other origin does not say
	}
	wire := b.wireFor(q)
	b.ownTokens(x, q, &g)
	if err := b.extras(x, q, wire, &g); err != nil {
		return err
	}
	g.IgnoreEOS = g.IgnoreEOS || b.o.IgnoreEOS
	body, err := wire.Encode(g)
	if err != nil {
		return skip(err.Error())
	}
	x.Stream, x.MaxTokens = g.Stream, g.MaxTokens
	x.Sent = load.Encoded{Wire: wire, Body: body}
	return nil
}

// wireFor is the endpoint of a request: a chat goes where chats go, unless an
// endpoint was named.
func (b *builder) wireFor(q *Request) engine.Wire {
	if b.o.Endpoint != "" || len(q.Messages) == 0 {
		return b.wire
	}
	wires := plainWires()
	if b.engine != nil {
		wires = b.engine.Wires
	}
	for _, w := range wires {
		if w.Endpoint == engine.EndpointChat {
			return w
		}
	}
	return b.wire
}

// ownTokens bounds the output by what was recorded, where that is asked for or the
// request left it to a server whose default was another.
func (b *builder) ownTokens(x *Item, q *Request, g *engine.GenerateRequest) {
	n := q.Recorded.CompletionTokens
	switch {
	case n == nil || *n <= 0:
	case b.o.IgnoreEOS:
		g.MaxTokens = int(*n)
	case g.MaxTokens == 0:
		g.MaxTokens = int(*n)
		x.Notes = append(x.Notes, fmt.Sprintf("it gave no bound on its output: asked for at most the %d tokens recorded", *n))
	}
}

// extras takes the parameters that the endpoint knows; the rest is dropped, and
// said.
func (b *builder) extras(x *Item, q *Request, wire engine.Wire, g *engine.GenerateRequest) error {
	if len(q.Extra) == 0 || bytes.Equal(q.Extra, []byte("null")) {
		return nil
	}
	var extra map[string]any
	if err := json.Unmarshal(q.Extra, &extra); err != nil {
		return fmt.Errorf("its parameters cannot be read: %w", err)
	}
	g.Extra = map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(extra)) {
		value := extra[key]
		switch number, isNumber := value.(float64); {
		case key == "max_tokens" || key == "stream" || key == "stream_options": // the request says it itself
		case key == "temperature" && isNumber:
			g.Temperature = &number
		case key == "seed" && isNumber && number == float64(int64(number)):
			seed := int64(number)
			g.Seed = &seed
		case key == "ignore_eos":
			if yes, _ := value.(bool); yes {
				g.IgnoreEOS = b.canIgnoreEOS(wire, x)
			}
		case engine.CheckField(key, wire.Path, wire.Fields) != nil:
			x.Dropped = append(x.Dropped, dump.Dropped{Field: key, Reason: wire.Path + " does not take it"})
		default:
			g.Extra[key] = value
		}
	}
	return nil
}

func (b *builder) canIgnoreEOS(wire engine.Wire, x *Item) bool {
	if _, err := wire.Encode(engine.GenerateRequest{Prompt: "p", MaxTokens: 1, IgnoreEOS: true}); err != nil && !b.o.IgnoreEOS {
		x.Dropped = append(x.Dropped, dump.Dropped{Field: "ignore_eos", Reason: wire.Path + " does not take it"})
		return false
	}
	return true
}
