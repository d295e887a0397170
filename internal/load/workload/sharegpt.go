package workload

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// exchange is one entry of a ShareGPT conversation: who said what. Both
// spellings of the members in use are read.
type exchange struct {
	From  string `json:"from"`
	Value string `json:"value"`
	Role  string `json:"role"`
	Text  string `json:"content"`
}

// role is the role in a chat.
func (e exchange) role() string {
	switch who := strings.ToLower(e.From + e.Role); who {
	case "human", "user":
		return "user"
	case "gpt", "chatgpt", "assistant", "model", "bing", "bard":
		return "assistant"
	default:
		return who
	}
}

func (e exchange) text() string { return e.Value + e.Text }

// eachRecord calls fn with each object of a file, which is a JSON list or JSONL.
func eachRecord(r io.Reader, name, holds string, fn func(text []byte) error) error {
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		b, err := br.ReadByte()
		if err != nil {
			return eachLine(strings.NewReader(""), name, holds, fn)
		}
		if strings.IndexByte(" \t\r\n", b) >= 0 {
			continue
		}
		br.UnreadByte() //nolint:errcheck // a byte was just read
		if b != '[' {
			return eachLine(br, name, holds, fn)
		}
		return eachElement(br, name, holds, fn)
	}
}

func eachElement(r io.Reader, name, holds string, fn func(text []byte) error) error {
	limited := &io.LimitedReader{R: r, N: maxFile + 1}
	dec := json.NewDecoder(limited)
	rows := 0
	fail := func(err error) error {
		if limited.N <= 0 {
			err = fmt.Errorf("the file is longer than %d bytes; split it", maxFile)
		}
		return fmt.Errorf("workload %s, entry %d: %w", name, rows, err)
	}
	if _, err := dec.Token(); err != nil {
		return fail(err)
	}
	for ; dec.More(); rows++ {
		var text json.RawMessage
		if err := dec.Decode(&text); err != nil {
			return fail(fmt.Errorf("expected a JSON object: %w", err))
		}
		switch {
		case len(text) > maxRowBytes:
			return fail(fmt.Errorf("longer than %d bytes", maxRowBytes))
		case rows >= maxRows:
			return fail(fmt.Errorf("more than %d entries; split the file", maxRows))
		}
		if err := fn(text); err != nil {
			return fail(err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return fail(fmt.Errorf("the list has no end: %w", err))
	}
	if rows == 0 {
		return fmt.Errorf("workload %s holds no rows; expected a list of JSON objects with %s", name, holds)
	}
	return nil
}

// Which exchanges of a ShareGPT file are taken, in tokens: the bounds that the
// two engines' own tools have (vllm benchmarks/datasets, is_valid_sequence;
// sglang benchmark/datasets; read 2026-08).
const (
	leastShareGPT       = 4
	leastShareGPTSGLang = 2
	mostShareGPTInput   = 1024
	mostShareGPTTotal   = 2048
)

// shareGPTBounds are the fewest tokens of a prompt and of a reply, and the most
// of a prompt and of both.
func (s Spec) shareGPTBounds() (least, input, total int) {
	least, input, total = leastShareGPT, mostShareGPTInput, mostShareGPTTotal
	if s.Compat == CompatSGLang {
		least, input, total = leastShareGPTSGLang, maxLen, maxLen
	}
	for _, x := range []struct {
		given int
		into  *int
	}{{s.MinTokens, &least}, {s.MaxInput, &input}, {s.MaxTotal, &total}} {
		if x.given > 0 {
			*x.into = x.given
		}
	}
	return least, input, total
}

// ReadShareGPT reads conversations as ShareGPT files have them, a JSON list or
// JSONL of {"conversations":[{"from","value"}]}, and takes the first two entries
// of each: a prompt, and a reply whose length is asked for unless the spec has
// an output length. What is shorter or longer than the spec's bounds is left
// out. The order is a shuffle by the seed.
func (s Spec) ReadShareGPT(r io.Reader, name string) ([]Request, error) {
	var out []Request
	err := eachRecord(r, name, `"conversations"`, func(text []byte) error {
		var x struct {
			Conversations *[]exchange `json:"conversations"`
			Conversation  *[]exchange `json:"conversation"`
		}
		if err := decodeRow(text, &x); err != nil {
			return err
		}
		if x.Conversations == nil {
			x.Conversations = x.Conversation
		}
		if x.Conversations == nil {
			return errors.New(`no "conversations"; expected a list of {"from","value"}`)
		}
		q, ok, err := s.firstExchange(*x.Conversations, len(out))
		if ok {
			out = append(out, q)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		least, input, total := s.shareGPTBounds()
		return nil, fmt.Errorf("workload %s: no conversation begins with a prompt of %d to %d tokens and a reply, at most %d together", name, least, input, total)
	}
	order := rand.New(rand.NewPCG(s.Seed, streamOrder))
	order.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	for i := range out {
		out[i].Index = i
	}
	return out, nil
}

func (s Spec) firstExchange(talk []exchange, i int) (q Request, ok bool, err error) {
	if len(talk) < 2 {
		return q, false, nil
	}
	in, err := s.count(talk[0].text())
	if err != nil {
		return q, false, err
	}
	least, most, total := s.shareGPTBounds()
	if in < least || in > most {
		return q, false, nil
	}
	out := s.outputLen(i)
	if out == 0 {
		if out, err = s.count(talk[1].text()); err != nil || out < least {
			return q, false, err
		}
	}
	q = Request{Prompt: talk[0].text(), InputLen: in, SharedLen: -1, OutputLen: out}
	return q, in+out <= total && out <= maxLen, nil
}
