package load

import (
	"context"
	"fmt"
	"math"
	"time"

	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

// promptsTimeout bounds the making of prompts by a server's tokenizer, and its
// comparison with another; checkedPrompts are then counted by both.
const (
	promptsTimeout = time.Minute
	checkedPrompts = 100
)

// ServerPrompts gives prompts that are made up their exact length by the server's
// own tokenizer: build makes the workload of a spec that counts so. failed says why
// that tokenizer could not be used, and nothing is made then; err is that of ctx.
func ServerPrompts(ctx context.Context, spec workload.Spec, count func(ctx context.Context, text string) (int, error), build func(workload.Spec) ([]workload.Request, error)) (requests []workload.Request, failed, err error) {
	bounded, cancel := context.WithTimeout(ctx, promptsTimeout)
	defer cancel()
	spec.Counter = func(text string) (int, error) { return count(bounded, text) }
	requests, failed = build(spec)
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	return requests, failed, nil
}

// TokenizerCheck is what a tokenizer and the server's own count in the same
// prompts, in tokens.
type TokenizerCheck struct {
	Prompts, Ours, Theirs int
}

// CheckTokenizer holds the tokenizer that made prompts against the server's own, on
// some of them. The error is that of count, with what was counted up to it.
func CheckTokenizer(ctx context.Context, requests []workload.Request, tokenizer workload.Tokenizer, count func(ctx context.Context, text string) (int, error)) (c TokenizerCheck, err error) {
	ctx, cancel := context.WithTimeout(ctx, promptsTimeout)
	defer cancel()
	for i := 0; i < len(requests) && c.Prompts < checkedPrompts; i += max(1, len(requests)/checkedPrompts) {
		text := requests[i].Prompt
		if text == "" {
			continue
		}
		n, err := count(ctx, text)
		if err != nil {
			return c, err
		}
		c.Prompts, c.Ours, c.Theirs = c.Prompts+1, c.Ours+tokenizer.Count(text), c.Theirs+n
	}
	return c, nil
}

// Differs says how the two differ; "" = they agree, or nothing was compared.
func (c TokenizerCheck) Differs() string {
	if c.Ours == c.Theirs {
		return ""
	}
	return fmt.Sprintf("the tokenizer given counts %d tokens in %d prompts, the server's own %d: it is not the model's", c.Ours, c.Prompts, c.Theirs)
}

// CheckLengths holds the lengths of prompts that were made against what the server
// counts in its answers, in words: a chat template and start tokens add the same to
// each. "" = it counts none.
func CheckLengths(records []sample.Record) string {
	n, least, most := 0, math.MaxInt, math.MinInt
	for i := range records {
		r := &records[i]
		if r.OK() && r.InputTokens > 0 && r.WantInput > 0 {
			n++
			least, most = min(least, r.InputTokens-r.WantInput), max(most, r.InputTokens-r.WantInput)
		}
	}
	switch {
	case n == 0:
		return ""
	case least == most:
		return fmt.Sprintf("its counts of %d prompts say so, with %d more for template and start tokens each", n, least)
	}
	return fmt.Sprintf("its counts of %d prompts differ from the wanted lengths by %d to %d tokens", n, least, most)
}
