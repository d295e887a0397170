package workload

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"llmdyno/internal/engine"
)

// The format of a request list: JSONL, the header first, then one request a line
// in the order in which they are sent.
const (
	RequestsSchema        = "llmdyno.requests"
	RequestsSchemaVersion = 1
)

type requestsHeader struct {
	Schema        string `json:"schema"`
	SchemaVersion int    `json:"schema_version"`
}

// requestRow is one request of a list.
type requestRow struct {
	Prompt       string           `json:"prompt,omitempty"`
	PromptTokens []int            `json:"prompt_tokens,omitempty"`
	Messages     []engine.Message `json:"messages,omitempty"`
	InputLen     int              `json:"input_len,omitempty"`
	SharedLen    int              `json:"shared_len,omitempty"` // -1 = not known
	OutputLen    int              `json:"output_len,omitempty"`
	AtNs         int64            `json:"at_ns,omitempty"`    // since the first request
	After        int              `json:"after,omitempty"`    // 1 + index of the request whose end this one waits for
	ThinkNs      int64            `json:"think_ns,omitempty"` // from that end
	Extra        map[string]any   `json:"extra_request_body,omitempty"`
	// ReplayOnly says why a recorded request is no single prompt; only a replay can
	// send it.
	ReplayOnly string `json:"replay_only,omitempty"`
}

// WriteRequests writes a request list.
func WriteRequests(w io.Writer, reqs []Request) error {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(requestsHeader{RequestsSchema, RequestsSchemaVersion}); err != nil {
		return err
	}
	for i, q := range reqs {
		err := enc.Encode(requestRow{
			Prompt: q.Prompt, PromptTokens: q.PromptTokens, Messages: q.Messages, InputLen: q.InputLen, SharedLen: q.SharedLen, OutputLen: q.OutputLen,
			AtNs: int64(q.At), After: q.After, ThinkNs: int64(q.Think), Extra: q.Extra,
		})
		if err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
	}
	return b.Flush()
}

// ReadRequests reads a request list as [WriteRequests] writes it. Unknown members
// are ignored, requests that only a replay can send are left out; a newer version is
// refused.
func ReadRequests(r io.Reader, name string) ([]Request, error) {
	var out []Request
	headed := false
	err := eachLine(r, name, "a header and requests", func(text []byte) error {
		if !headed {
			headed = true
			return checkHeader(text)
		}
		var x requestRow
		if err := decodeRow(text, &x); err != nil {
			return err
		}
		if x.ReplayOnly != "" {
			return nil
		}
		q := Request{
			Index: len(out), Prompt: x.Prompt, PromptTokens: x.PromptTokens, Messages: x.Messages, InputLen: x.InputLen, SharedLen: x.SharedLen,
			OutputLen: x.OutputLen, At: time.Duration(x.AtNs), After: x.After, Think: time.Duration(x.ThinkNs), Extra: x.Extra,
		}
		out = append(out, q)
		return q.validate(out)
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("workload %s holds no requests; expected some behind the header", name)
	}
	return out, err
}

func checkHeader(text []byte) error {
	var h requestsHeader
	if err := decodeRow(text, &h); err != nil {
		return err
	}
	if h.Schema != RequestsSchema {
		return fmt.Errorf("schema %q: expected a request list, which begins with {\"schema\":%q}", cut(h.Schema), RequestsSchema)
	}
	if h.SchemaVersion < 1 || h.SchemaVersion > RequestsSchemaVersion {
		return fmt.Errorf("request list of version %d: this program reads 1 to %d", h.SchemaVersion, RequestsSchemaVersion)
	}
	return nil
}

// validate checks a request that was read; list ends with it.
func (q Request) validate(list []Request) error {
	given := 0
	for _, has := range []bool{q.Prompt != "", len(q.PromptTokens) > 0, len(q.Messages) > 0} {
		if has {
			given++
		}
	}
	length := func(n int) bool { return n >= 0 && n <= maxLen }
	span := func(d time.Duration) bool { return d >= 0 && float64(d) <= maxOffset }
	switch {
	case given != 1:
		return errors.New(`expected one of "prompt", "prompt_tokens" and "messages"`)
	case !length(q.InputLen) || !length(q.OutputLen) || !length(max(q.SharedLen, 0)) || q.SharedLen < -1 || q.SharedLen > q.InputLen:
		return fmt.Errorf("lengths %d in (%d shared) and %d out: expected 0 to %d each, no more shared than there is", q.InputLen, q.SharedLen, q.OutputLen, maxLen)
	case q.After < 0 || q.After > q.Index:
		return fmt.Errorf("waits for the end of request %d; expected one before it, %d", q.After-1, q.Index)
	case !span(q.At) || !span(q.Think):
		return fmt.Errorf("at %v, %v after another: expected times from 0 to %v", q.At, q.Think, time.Duration(maxOffset))
	case len(list) > 1 && q.After == 0 && q.At < lastArrival(list[:len(list)-1]):
		return fmt.Errorf("at %v, earlier than the request before it; expected the order of their instants", q.At)
	}
	return nil
}

// lastArrival is the instant of the last request with an arrival of its own.
func lastArrival(list []Request) time.Duration {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].After == 0 {
			return list[i].At
		}
	}
	return 0
}
