package replay

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"llmdyno/internal/engine"
	"llmdyno/internal/incident/dump"
	"llmdyno/internal/load"
)

// Request is a recorded request. Messages are those of a chat, which only lists
// that were made elsewhere have.
type Request struct {
	dump.Request
	Messages []engine.Message
}

// Options say which requests are sent and how.
type Options struct {
	Speed       float64       // what the recorded gaps are divided by; 0 = 1
	Concurrency int           // most requests in flight; 0 = no cap
	From        int           // first request, from 0, in the order of the recording
	Count       int           // requests; 0 = all that follow
	IgnoreEOS   bool          // generate exactly as many tokens as recorded
	Endpoint    string        // name or path; "" = the recorded one where the server has it, else completions
	Timeout     time.Duration // of one request; 0 = DefaultTimeout
}

// DefaultTimeout bounds one request where nothing else is said.
const DefaultTimeout = 120 * time.Second

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	switch {
	case !(o.Speed >= 0) || o.Speed > 1e6:
		return fmt.Errorf("speed %v: expected a factor above 0, at most 1000000 (1 = as recorded)", o.Speed)
	case o.Concurrency < 0:
		return fmt.Errorf("concurrency %d: expected 0 (no cap) or more", o.Concurrency)
	case o.From < 0 || o.Count < 0:
		return fmt.Errorf("from %d, count %d: expected 0 or more", o.From, o.Count)
	case o.Timeout < 0:
		return fmt.Errorf("timeout %v: expected a time above 0", o.Timeout)
	}
	return nil
}

func (o Options) speed() float64 {
	if o.Speed == 0 {
		return 1
	}
	return o.Speed
}

func (o Options) timeout() time.Duration {
	if o.Timeout == 0 {
		return DefaultTimeout
	}
	return o.Timeout
}

// Item is one request as it will be sent.
type Item struct {
	Index  int           `json:"index"` // in the recording
	ID     string        `json:"id,omitempty"`
	At     time.Duration `json:"-"` // since the first one, as recorded
	AtMs   float64       `json:"at_ms"`
	Path   string        `json:"path"`
	Bytes  int           `json:"body_bytes"`
	Stream bool          `json:"stream"`
	Greedy bool          `json:"greedy,omitempty"`
	// The prompt is told by its size and hash alone.
	PromptChars  int    `json:"prompt_chars,omitempty"`
	PromptTokens int    `json:"prompt_tokens,omitempty"` // 0 = not known
	PromptSHA256 string `json:"prompt_sha256,omitempty"` // first 12 hex digits
	MaxTokens    int    `json:"max_tokens,omitempty"`    // 0 = left to the server
	// Dropped are fields that are not sent, Notes what else is not as recorded.
	Dropped []dump.Dropped `json:"dropped,omitempty"`
	Notes   []string       `json:"notes,omitempty"`

	Sent     load.Encoded  `json:"-"`
	Recorded dump.Recorded `json:"-"`
	Known    bool          `json:"-"` // there is a recorded outcome
}

// Skipped is a request that cannot be sent.
type Skipped struct {
	Index  int    `json:"index"`
	ID     string `json:"id,omitempty"`
	Reason string `json:"reason"`
}

// Plan is what will be sent.
type Plan struct {
	Items   []Item
	Skipped []Skipped
	Options Options
}

// Span is the time from the first to the last request as it will be sent.
func (p *Plan) Span() time.Duration {
	if len(p.Items) == 0 {
		return 0
	}
	return time.Duration(math.Round(float64(p.Items[len(p.Items)-1].At) / p.Options.speed()))
}

// Select puts requests into the order in which they were recorded and cuts the
// window of the options out of them.
func Select(all []Request, o Options) ([]Request, error) {
	if len(all) == 0 {
		return nil, errors.New("there is no request to send again")
	}
	reqs := slices.Clone(all)
	slices.SortStableFunc(reqs, func(a, b Request) int { return int(min(max(a.AtNs-b.AtNs, -1), 1)) })
	if o.From >= len(reqs) {
		return nil, fmt.Errorf("from request %d: the recording has %d, numbered from 0", o.From, len(reqs))
	}
	reqs = reqs[o.From:]
	if o.Count > 0 {
		reqs = reqs[:min(o.Count, len(reqs))]
	}
	return reqs, nil
}

// NewPlan makes the requests for a server of an engine (nil = not known, the plain
// OpenAI protocol), which serves model.
func NewPlan(all []Request, e *engine.Engine, model string, o Options) (*Plan, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	reqs, err := Select(all, o)
	if err != nil {
		return nil, err
	}
	b := builder{engine: e, model: model, o: o}
	if err := b.choose(); err != nil {
		return nil, err
	}
	p := &Plan{Options: o}
	first := reqs[0].AtNs
	for i := range reqs {
		q := &reqs[i]
		item, err := b.item(q)
		var no skip
		switch {
		case errors.As(err, &no):
			p.Skipped = append(p.Skipped, Skipped{q.Index, q.ID, string(no)})
			continue
		case err != nil:
			return nil, fmt.Errorf("request %d: %w", q.Index, err)
		}
		item.At = time.Duration(q.AtNs - first)
		item.AtMs = ms(item.At)
		p.Items = append(p.Items, item)
	}
	if len(p.Items) == 0 {
		return p, fmt.Errorf("none of %d requests can be sent to this server: %s", len(reqs), p.Skipped[0].Reason)
	}
	return p, nil
}

// describe fills in what is told of a request.
func (x *Item) describe(q *Request) {
	x.Index, x.ID, x.Greedy, x.Recorded = q.Index, q.ID, q.Greedy, q.Recorded
	x.Known = q.Recorded.Finished || q.Recorded.Start != 0 || q.Recorded.ElapsedSeconds != nil
	x.PromptTokens = q.InputLen
	text := []byte(q.Prompt)
	switch {
	case len(q.PromptTokens) > 0:
		text, _ = json.Marshal(q.PromptTokens) // whole numbers: it cannot fail
		x.PromptTokens = len(q.PromptTokens)
	case len(q.Messages) > 0:
		text = nil
		for _, m := range q.Messages {
			text = append(text, m.Text()...)
		}
		x.PromptChars = utf8.RuneCount(text)
	default:
		x.PromptChars = utf8.RuneCount(text)
	}
	if len(text) > 0 {
		x.PromptSHA256 = hashOf(text)[:12]
	}
}

// hashOf is the SHA-256 of a text in hex digits.
func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
