package sim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// generation is a request as its body asks for it.
type generation struct {
	input     int
	hashes    []uint64
	key       uint64 // of the prompt
	output    int    // bound; 0 = none given
	ignoreEOS bool
	stream    bool
	usage     bool // include_usage
	perEvent  bool // continuous_usage_stats
	model     string
}

// bodyError is a body that the engine would refuse; kind is the error's name in
// the surface.
type bodyError struct {
	kind, field, message string
}

func (e *bodyError) Error() string { return e.kind + ": " + e.message }

// tokensPerMessage are the tokens that a chat template adds to each message.
const tokensPerMessage = 4

// readGeneration reads the body of a generating request.
func readGeneration(raw []byte, kind string, w SurfaceWire, granule int) (*generation, *bodyError) {
	var body map[string]json.RawMessage
	if err := json.Unmarshal(raw, &body); err != nil {
		return nil, &bodyError{"bad_json", "", err.Error()}
	}
	if bad := checkFields(body, w); bad != nil {
		return nil, bad
	}
	g := &generation{}
	fields := body
	if kind == "generate" {
		fields = map[string]json.RawMessage{}
		if p, ok := body["sampling_params"]; ok {
			if err := json.Unmarshal(p, &fields); err != nil {
				return nil, &bodyError{"bad_request", "sampling_params", "expected an object"}
			}
		}
	}
	p := &prompt{granule: granule}
	if bad := p.read(body, kind); bad != nil {
		return nil, bad
	}
	g.input, g.hashes, g.key = p.tokens, p.hashes, p.chain
	for _, name := range []string{"max_completion_tokens", "max_new_tokens", "max_tokens", "n_predict"} {
		if bad := member(fields, name, &g.output); bad != nil {
			return nil, bad
		}
		if g.output != 0 {
			break
		}
	}
	if g.output < 0 {
		g.output = 0
	}
	for name, to := range map[string]any{"stream": &g.stream, "model": &g.model} {
		if bad := member(body, name, to); bad != nil {
			return nil, bad
		}
	}
	if bad := member(fields, "ignore_eos", &g.ignoreEOS); bad != nil {
		return nil, bad
	}
	return g, g.readUsage(body, w)
}

func (g *generation) readUsage(body map[string]json.RawMessage, w SurfaceWire) *bodyError {
	raw, ok := body["stream_options"]
	if !ok || string(raw) == "null" {
		return nil
	}
	if !g.stream {
		return &bodyError{"bad_request", "stream_options", "Stream options can only be defined when `stream=True`."}
	}
	var o struct {
		Include  *bool `json:"include_usage"`
		PerEvent *bool `json:"continuous_usage_stats"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return &bodyError{"bad_request", "stream_options", "expected an object"}
	}
	g.usage, g.perEvent = w.UsageDefault, w.UsageDefault
	if o.Include != nil {
		g.usage = *o.Include
	}
	if o.PerEvent != nil {
		g.perEvent = *o.PerEvent
	}
	return nil
}

func member(body map[string]json.RawMessage, name string, to any) *bodyError {
	raw, ok := body[name]
	if !ok || string(raw) == "null" {
		return nil
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return &bodyError{"bad_request", name, fmt.Sprintf("field %s: %s is not a valid value", name, clip(string(raw), 40))}
	}
	return nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

func checkFields(body map[string]json.RawMessage, w SurfaceWire) *bodyError {
	if w.UnknownField != "reject" {
		return nil
	}
	for name, raw := range body {
		if !slices.Contains(w.Fields, name) {
			return &bodyError{"unknown_field", name, "Extra inputs are not permitted"}
		}
		allowed, nested := w.Nested[name]
		var inner map[string]json.RawMessage
		if !nested || json.Unmarshal(raw, &inner) != nil {
			continue
		}
		for m := range inner {
			if !slices.Contains(allowed, m) {
				return &bodyError{"unknown_field", name + "." + m, "Extra inputs are not permitted"}
			}
		}
	}
	return nil
}

// prompt counts tokens and hashes whole blocks of them, each hash over all
// tokens before it.
type prompt struct {
	granule int
	tokens  int
	chain   uint64
	hashes  []uint64
}

func (p *prompt) add(token uint64) {
	p.chain = (p.chain^token)*0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019
	p.tokens++
	if p.tokens%p.granule == 0 {
		p.hashes = append(p.hashes, p.chain)
	}
}

func (p *prompt) text(s string) {
	for w := range strings.FieldsSeq(s) {
		p.add(hashText(w))
	}
}

func (p *prompt) read(body map[string]json.RawMessage, kind string) *bodyError {
	if kind == "chat" {
		return p.messages(body["messages"])
	}
	name := "prompt"
	if kind == "generate" {
		name = "text"
		if _, ok := body["text"]; !ok {
			name = "input_ids"
		}
	}
	raw, ok := body[name]
	if !ok {
		return &bodyError{"bad_request", name, fmt.Sprintf("field %s: required", name)}
	}
	return p.value(raw, name)
}

// value reads a text, token ids, or a list that holds one of them.
func (p *prompt) value(raw json.RawMessage, name string) *bodyError {
	var text string
	var ids []int
	var list []json.RawMessage
	switch {
	case json.Unmarshal(raw, &text) == nil:
		p.text(text)
	case json.Unmarshal(raw, &ids) == nil:
		for _, id := range ids {
			p.add(uint64(id))
		}
	case json.Unmarshal(raw, &list) == nil && len(list) == 1:
		return p.value(list[0], name)
	default:
		return &bodyError{"bad_request", name, fmt.Sprintf("field %s: expected one text or one list of token ids", name)}
	}
	p.tokens = max(1, p.tokens)
	return nil
}

func (p *prompt) messages(raw json.RawMessage) *bodyError {
	var list []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if raw == nil || json.Unmarshal(raw, &list) != nil {
		return &bodyError{"bad_request", "messages", "field messages: expected a list of messages"}
	}
	for _, m := range list {
		for i := range tokensPerMessage {
			p.add(hashText(m.Role + strconv.Itoa(i)))
		}
		var text string
		var parts []struct {
			Text string `json:"text"`
		}
		if json.Unmarshal(m.Content, &text) == nil {
			p.text(text)
		} else if json.Unmarshal(m.Content, &parts) == nil {
			for _, part := range parts {
				p.text(part.Text)
			}
		}
	}
	p.tokens = max(1, p.tokens)
	return nil
}

// outputLength is how many tokens the model generates, and whether it stops by
// itself: with ignore_eos or a short bound it goes on to the bound, otherwise it
// ends at a seeded length around 250 tokens.
func outputLength(g *generation, bound int, seed uint64) (tokens int, stop bool) {
	if g.ignoreEOS {
		return bound, false
	}
	r := rand.New(rand.NewPCG(seed, g.key))
	own := int(40 + r.ExpFloat64()*220)
	if own >= bound {
		return bound, false
	}
	return max(1, own), true
}

// words of generated text: one token each, the space that goes before included.
var words = strings.Fields(`the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one you were all her she there would their we him been has when who will no more if out so up said what its about than into them can only other time new some could these two may first then do any like my now over such our man me even most made after also did many off before must well back through years much where your way down should because long each just state those people too mr how little good world make very year still see own work men day get here between both life being under three never know same last another while us might great old go come since against right came take used himself few house use during without again place american around however home small found mrs thought went say part once general high upon school every`)

// word is token i of the text that a prompt with this key leads to.
func word(key uint64, i int) string {
	x := (key + uint64(i)*0x9E3779B97F4A7C15)
	x ^= x >> 29
	x *= 0xBF58476D1CE4E5B9
	x ^= x >> 32
	return words[x%uint64(len(words))]
}
