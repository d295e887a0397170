package workload

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"llmdyno/internal/engine"
)

// row is one line of a custom file.
type row struct {
	Prompt    json.RawMessage  `json:"prompt"`
	Messages  []engine.Message `json:"messages"`
	Images    []string         `json:"images"`
	OutputLen *int             `json:"output_len"`
	InputLen  int              `json:"input_len"`
	PromptLen int              `json:"prompt_len"`
	Timestamp stamp            `json:"timestamp"`
	Extra     map[string]any   `json:"extra_request_body"`
}

// ReadCustom reads the rows of a JSONL file of prompts; name stands in errors.
// A line is an object with "prompt" (text, a list of token ids, or a list of
// messages) or "messages", both in any form of the OpenAI protocol, and
// optionally "output_len", "input_len" or "prompt_len", "extra_request_body",
// "images" (added to the last message) and "timestamp". Other members are
// ignored, empty lines are skipped. outputLen serves rows without their own.
// Images must be URLs: files are read only for a [Spec] with a path.
func ReadCustom(r io.Reader, name string, outputLen int) ([]Request, error) {
	return readCustom(r, name, func(int) int { return outputLen }, nil)
}

func readCustom(r io.Reader, name string, outputLen func(int) int, pics *pictures) ([]Request, error) {
	var out []Request
	var stamps []stamp
	err := eachLine(r, name, `a "prompt" or "messages"`, func(text []byte) error {
		q, at, err := parseRow(text, outputLen(len(out)), pics)
		q.Index = len(out)
		out, stamps = append(out, q), append(stamps, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return timed(out, stamps, name)
}

// timed gives the requests the instants of their rows, where all have one, and
// puts them in that order.
func timed(reqs []Request, stamps []stamp, name string) ([]Request, error) {
	with, first, last := 0, int64(math.MaxInt64), int64(0)
	for _, s := range stamps {
		if s.given {
			with++
			first, last = min(first, s.ns), max(last, s.ns)
		}
	}
	switch {
	case with == 0:
		return reqs, nil
	case with < len(reqs):
		return nil, fmt.Errorf("workload %s: %d of %d rows have a \"timestamp\"; expected all or none", name, with, len(reqs))
	case float64(last-first) > maxOffset:
		return nil, fmt.Errorf("workload %s: its instants span more than %v", name, time.Duration(maxOffset))
	}
	for i := range reqs {
		reqs[i].At = time.Duration(stamps[i].ns - first)
	}
	slices.SortStableFunc(reqs, func(a, b Request) int { return cmp.Compare(a.At, b.At) })
	for i := range reqs {
		reqs[i].Index = i
	}
	return reqs, nil
}

func parseRow(text []byte, outputLen int, pics *pictures) (Request, stamp, error) {
	var x row
	if err := decodeRow(text, &x); err != nil {
		return Request{}, stamp{}, err
	}
	q := Request{Messages: x.Messages, InputLen: max(x.InputLen, x.PromptLen), SharedLen: -1, OutputLen: outputLen, Extra: x.Extra}
	if x.OutputLen != nil {
		q.OutputLen = *x.OutputLen
	}
	if q.OutputLen < 0 || q.OutputLen > maxLen || x.InputLen < 0 || x.PromptLen < 0 || q.InputLen > maxLen {
		return q, stamp{}, fmt.Errorf("lengths %d in and %d out: expected 0 to %d each", q.InputLen, q.OutputLen, maxLen)
	}
	if err := q.setPrompt(x.Prompt); err != nil {
		return q, stamp{}, err
	}
	if q.Prompt == "" && len(q.PromptTokens) == 0 && len(q.Messages) == 0 {
		return q, stamp{}, errors.New(`no prompt; expected "prompt" (text, token ids or messages) or "messages"`)
	}
	return q, x.Timestamp, q.addImages(x.Images, pics)
}

func (q *Request) setPrompt(raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if len(q.Messages) > 0 {
		return errors.New(`both "prompt" and "messages"; give one of them`)
	}
	switch raw[0] {
	case '"':
		return json.Unmarshal(raw, &q.Prompt)
	case '[':
		if json.Unmarshal(raw, &q.PromptTokens) == nil {
			return nil
		}
		q.PromptTokens = nil
		if json.Unmarshal(raw, &q.Messages) == nil {
			return nil
		}
	}
	return errors.New(`"prompt" is neither a text, nor a list of token ids, nor a list of {"role","content"}`)
}

func (s Spec) custom() ([]Request, error) {
	pics, err := openPictures(s.Path)
	if err != nil {
		return nil, fmt.Errorf("workload: %w; name an existing JSONL file", err)
	}
	defer pics.close()
	return s.fromFile(func(r io.Reader, name string) ([]Request, error) {
		return readCustom(r, name, s.outputLen, pics)
	})
}

// merge lays over on base; neither is changed.
func merge(base, over map[string]any) map[string]any {
	switch {
	case len(base) == 0:
		return over
	case len(over) == 0:
		return base
	}
	out := maps.Clone(base)
	maps.Copy(out, over)
	return out
}
