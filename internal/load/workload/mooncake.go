package workload

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// mooncakeBlock are the tokens of one hash of a Mooncake trace
// (kvcache-ai/Mooncake, FAST25-release/traces: input_length / 512 rounded up is
// the number of hash_ids; read 2026-11).
const mooncakeBlock = 512

// mooncakeRow is one line of a Mooncake trace. input_tokens, output_tokens and
// created_time are spellings of the same in use; session_id and delay (ms) let a
// row wait for the one before it of its session, as trace writers have it.
type mooncakeRow struct {
	Timestamp    stamp    `json:"timestamp"`
	CreatedTime  stamp    `json:"created_time"`
	InputLength  *int     `json:"input_length"`
	InputTokens  *int     `json:"input_tokens"`
	OutputLength *int     `json:"output_length"`
	OutputTokens *int     `json:"output_tokens"`
	HashIDs      []int64  `json:"hash_ids"`
	SessionID    string   `json:"session_id"`
	Delay        *float64 `json:"delay"`

	waits bool // for the row before it of its session
}

// maxBlocks bounds the hashes that a trace may have, all rows together.
const maxBlocks = 100_000_000

// ReadMooncake reads a Mooncake trace. The prompt of a row is made of one text
// for each hash, so that rows with the same leading hashes share a prefix as the
// recorded requests did, and of words of its own behind the last hash. Rows
// without timestamps have no instants.
func (s Spec) ReadMooncake(r io.Reader, name string) ([]Request, error) {
	t := traceTexts{spec: s, block: cmp.Or(s.BlockTokens, mooncakeBlock), seen: map[int64]bool{}, texts: map[int64]string{}}
	if t.block < 1 || t.block > maxLen {
		return nil, fmt.Errorf("workload %s: blocks of %d tokens: expected 1 to %d", name, t.block, maxLen)
	}
	var rows []mooncakeRow
	blocks := 0
	stamps := map[string]stamp{} // of the last row of a session
	err := eachLine(r, name, `"input_length", "output_length" and "hash_ids"`, func(text []byte) error {
		var x mooncakeRow
		if err := decodeRow(text, &x); err != nil {
			return err
		}
		if blocks += len(x.HashIDs); blocks > maxBlocks {
			return fmt.Errorf("more than %d hashes; split the file", maxBlocks)
		}
		err := x.complete(stamps)
		rows = append(rows, x)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(rows, func(a, b mooncakeRow) int { return cmp.Compare(a.Timestamp.ns, b.Timestamp.ns) })
	if s.NumPrompts > 0 {
		rows = rows[:min(len(rows), s.NumPrompts)] // texts are made for what is sent only
	}
	return t.requests(rows, name)
}

// complete settles on one spelling and checks the row. A row without an instant
// takes the place of the row of its session that it waits for.
func (x *mooncakeRow) complete(sessions map[string]stamp) error {
	if x.InputLength == nil {
		x.InputLength = x.InputTokens
	}
	if x.OutputLength == nil {
		x.OutputLength = x.OutputTokens
	}
	if !x.Timestamp.given {
		x.Timestamp = x.CreatedTime
	}
	before, later := sessions[x.SessionID]
	if x.waits = x.SessionID != "" && later && (x.Delay != nil || !x.Timestamp.given); x.waits {
		x.Timestamp = before
	}
	if x.SessionID != "" {
		sessions[x.SessionID] = x.Timestamp
	}
	switch {
	case x.InputLength == nil || x.OutputLength == nil:
		return errors.New(`expected "input_length" and "output_length"`)
	case *x.InputLength < 1 || *x.InputLength > maxLen || *x.OutputLength < 0 || *x.OutputLength > maxLen:
		return fmt.Errorf("lengths %d in and %d out: expected 1 and 0 to %d", *x.InputLength, *x.OutputLength, maxLen)
	case x.Delay != nil && !(*x.Delay >= 0 && *x.Delay <= maxNumber):
		return fmt.Errorf("delay %v ms: expected 0 to %g", *x.Delay, float64(maxNumber))
	}
	return nil
}

// traceTexts makes the prompts of a trace.
type traceTexts struct {
	spec  Spec
	block int
	seen  map[int64]bool   // hashes of earlier rows
	texts map[int64]string // text of a whole block
	used  budget
}

func (t *traceTexts) requests(rows []mooncakeRow, name string) ([]Request, error) {
	reqs := make([]Request, len(rows))
	stamps := make([]stamp, len(rows))
	last := map[string]int{} // session → 1 + its last row
	for i, x := range rows {
		if err := t.used.take(*x.InputLength); err != nil {
			return nil, err
		}
		prompt, shared, err := t.prompt(x, i)
		if err != nil {
			return nil, fmt.Errorf("workload %s, request %d: %w", name, i, err)
		}
		reqs[i] = Request{Index: i, Prompt: prompt, InputLen: *x.InputLength, SharedLen: shared, OutputLen: *x.OutputLength}
		if x.SessionID != "" {
			if x.waits {
				reqs[i].After = last[x.SessionID]
			}
			if reqs[i].After > 0 && x.Delay != nil {
				reqs[i].Think = time.Duration(*x.Delay * nsPerMs)
			}
			last[x.SessionID] = i + 1
		}
		stamps[i] = x.Timestamp
	}
	return timed(reqs, stamps, name)
}

// prompt joins the texts of a row's blocks. shared counts the tokens of the
// leading blocks that an earlier row had.
func (t *traceTexts) prompt(x mooncakeRow, i int) (prompt string, shared int, err error) {
	var b strings.Builder
	left := *x.InputLength
	leading := true
	for _, id := range x.HashIDs {
		if left <= 0 {
			break
		}
		n := min(left, t.block)
		text, err := t.blockText(id, n)
		if err != nil {
			return "", 0, err
		}
		b.WriteString(text)
		left -= n
		if leading = leading && t.seen[id]; leading {
			shared += n
		}
	}
	for _, id := range x.HashIDs {
		t.seen[id] = true
	}
	if left > 0 {
		text, err := t.piece(newWords(t.spec.Seed, 0, i, true), left)
		if err != nil {
			return "", 0, err
		}
		b.WriteString(text)
	}
	return b.String(), shared, nil
}

// blockText is the text of a hash, or as much of it as the last block of a
// prompt holds.
func (t *traceTexts) blockText(id int64, n int) (string, error) {
	if n == t.block {
		if text, ok := t.texts[id]; ok {
			return text, nil
		}
	}
	text, err := t.piece(newWords(t.spec.Seed, streamBlock, int(id), true), n)
	if err == nil && n == t.block {
		t.texts[id] = text
	}
	return text, err
}

// piece is a text of n tokens that begins with a space, so that the counts of
// pieces put together add up.
func (t *traceTexts) piece(w *words, n int) (string, error) {
	first := " " + w.next()
	return t.spec.text(w, first, 1, n)
}
