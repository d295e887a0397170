package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"llmdyno/internal/load/sample"
)

// countConcurrency is the number of texts that are counted at once: enough to
// hide the way to a server, few enough for one that is busy.
const countConcurrency = 4

// Uncounted are the successful requests whose output tokens the server did not
// tell and whose text was kept.
func Uncounted(records []sample.Record) (list []*sample.Record) {
	for i := range records {
		if r := &records[i]; r.OK() && r.TokensBy != sample.TokensUsage && len(r.Text) > 0 {
			list = append(list, r)
		}
	}
	return list
}

// CountTexts counts the output tokens of requests from their texts, which it then
// drops, and marks them as counted so. It ends at the first error, with what was
// counted up to it.
func CountTexts(ctx context.Context, list []*sample.Record, by sample.TokenSource, count func(ctx context.Context, text string) (int, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(countConcurrency, len(list)) {
		all.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return
				}
				n, err := count(ctx, string(list[i].Text))
				if err == nil && n < 1 {
					err = fmt.Errorf("a text of %d bytes has %d tokens", len(list[i].Text), n)
				}
				if err != nil {
					cancel(fmt.Errorf("counting the tokens of answer %d: %w", list[i].Index, err))
					return
				}
				list[i].OutputTokens, list[i].TokensBy, list[i].Text = n, by, nil
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
