package workload

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"llmdyno/internal/engine"
)

// Limits of a custom file.
const (
	maxRowBytes = 64 << 20
	maxRows     = 1_000_000
	maxFile     = 2 << 30
)

// row is one line of a custom file: a prompt as text, as token ids or as
// messages ("messages", or "prompt" with a list of objects), the wanted output
// length, and extra body fields.
type row struct {
	Prompt    json.RawMessage  `json:"prompt"`
	Messages  []engine.Message `json:"messages"`
	OutputLen *int             `json:"output_len"`
	InputLen  int              `json:"input_len"`
	PromptLen int              `json:"prompt_len"`
	Extra     map[string]any   `json:"extra_request_body"`
}

// ReadCustom reads the rows of a JSONL file of prompts; name stands in errors.
// A line is an object with "prompt" (text, a list of token ids, or a list of
// {"role","content"}) or "messages", and optionally "output_len", "input_len" or
// "prompt_len", and "extra_request_body". Other members are ignored, empty lines
// are skipped. outputLen serves rows without their own.
func ReadCustom(r io.Reader, name string, outputLen int) ([]Request, error) {
	br := bufio.NewReaderSize(io.LimitReader(r, maxFile+1), 64<<10)
	var out []Request
	total := 0
	for line := 1; ; line++ {
		text, err := readLine(br)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("workload %s, line %d: %w", name, line, err)
		}
		if total += len(text); total > maxFile {
			return nil, fmt.Errorf("workload %s, line %d: the file is longer than %d bytes; split it", name, line, maxFile)
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			q, bad := parseRow(text, outputLen)
			if bad != nil {
				return nil, fmt.Errorf("workload %s, line %d: %w", name, line, bad)
			}
			if q.Index = len(out); q.Index >= maxRows {
				return nil, fmt.Errorf("workload %s, line %d: more than %d rows; split the file", name, line, maxRows)
			}
			out = append(out, q)
		}
		if err != nil {
			break
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("workload %s holds no rows; expected one JSON object a line with a \"prompt\" or \"messages\"", name)
	}
	return out, nil
}

func readLine(br *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxRowBytes {
			return nil, fmt.Errorf("longer than %d bytes", maxRowBytes)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func parseRow(text []byte, outputLen int) (Request, error) {
	var x row
	if err := json.Unmarshal(text, &x); err != nil {
		return Request{}, fmt.Errorf("expected a JSON object: %w", err)
	}
	q := Request{Messages: x.Messages, InputLen: max(x.InputLen, x.PromptLen), OutputLen: outputLen, Extra: x.Extra}
	if x.OutputLen != nil {
		q.OutputLen = *x.OutputLen
	}
	if q.OutputLen < 0 || q.OutputLen > maxLen || x.InputLen < 0 || x.PromptLen < 0 || q.InputLen > maxLen {
		return q, fmt.Errorf("lengths %d in and %d out: expected 0 to %d each", q.InputLen, q.OutputLen, maxLen)
	}
	if err := q.setPrompt(x.Prompt); err != nil {
		return q, err
	}
	if q.Prompt == "" && len(q.PromptTokens) == 0 && len(q.Messages) == 0 {
		return q, errors.New(`no prompt; expected "prompt" (text, token ids or messages) or "messages"`)
	}
	return q, nil
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
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, fmt.Errorf("workload: %w; name an existing JSONL file", err)
	}
	defer f.Close()
	rows, err := ReadCustom(f, s.Path, s.OutputLen)
	if err != nil {
		return nil, err
	}
	n := s.NumPrompts
	if n == 0 {
		n = len(rows)
	}
	out := make([]Request, n)
	for i := range out {
		out[i] = rows[i%len(rows)]
		out[i].Index = i
		out[i].Extra = merge(s.Extra, out[i].Extra)
	}
	return out, nil
}

// merge lays over on base; neither is changed.
func merge(base, over map[string]any) map[string]any {
	if len(base) == 0 {
		return over
	}
	out := maps.Clone(base)
	maps.Copy(out, over)
	return out
}
