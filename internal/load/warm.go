package load

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

// warmConcurrency bounds the warm-up requests in flight: enough for a server to
// build its first batches, few enough not to flood one that compiles.
const warmConcurrency = 4

// Warm sends n requests of the trial's shape before it, a few at a time, and
// returns their records, marked as warm-up. Their prompts begin differently from
// every prompt of the trial, so that they leave nothing in a prefix cache that
// the trial could find. It is an error when every one failed or ctx ended.
func Warm(ctx context.Context, t Trial, n int) ([]sample.Record, error) {
	if n <= 0 || len(t.Requests) == 0 {
		return nil, nil
	}
	users := warmConcurrency
	if t.MaxConcurrency > 0 {
		users = min(users, t.MaxConcurrency)
	}
	warm := make([]workload.Request, n)
	for i := range warm {
		warm[i] = disguise(t.Requests[i%len(t.Requests)], i)
	}
	t.Requests, t.MaxConcurrency, t.Progress, t.Calibrate = warm, users, nil, false
	t.Arrivals = workload.Arrivals{Kind: workload.ArrivalClosed}
	t.Start, t.Ended = nil, nil
	t.IDPrefix += "warm-"
	out, err := Run(ctx, t)
	for i := range out.Records {
		out.Records[i].Warmup = true
	}
	if err != nil {
		return out.Records, fmt.Errorf("warm-up: %w", err)
	}
	if !slices.ContainsFunc(out.Records, func(r sample.Record) bool { return r.OK() }) {
		return out.Records, fmt.Errorf("warm-up: none of %d requests succeeded; the first failed with: %w", n, errors.New(out.Records[0].Error))
	}
	return out.Records, nil
}

// disguise is a request of the same shape with another beginning: a prefix
// cache compares from the first token on.
func disguise(q workload.Request, i int) workload.Request {
	q.Index, q.After, q.Think = i, 0, 0
	mark := fmt.Sprintf("warm-up %d: ", i)
	switch {
	case len(q.PromptTokens) > 0:
		half := (len(q.PromptTokens) + 1) / 2
		q.PromptTokens = slices.Concat(q.PromptTokens[half:], q.PromptTokens[:half])
	case len(q.Messages) > 0:
		q.Messages = append([]engine.Message(nil), q.Messages...)
		q.Messages[0] = q.Messages[0].WithPrefix(mark)
	default:
		q.Prompt = mark + q.Prompt
	}
	q.Extra = maps.Clone(q.Extra)
	return q
}
