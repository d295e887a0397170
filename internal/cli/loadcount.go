package cli

import (
	"context"
	"fmt"
	"time"

	"llmdyno/internal/load"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
)

// countTimeout bounds the counting of answers by the server after a load.
const countTimeout = time.Minute

// keepsText says that the server was seen not to count its answers, so that they
// have to be kept for somebody else who can.
func (j *loadJob) keepsText(warm []sample.Record) bool {
	if j.tokenizer == nil && (j.target.engine == nil || j.target.engine.Tokenize == nil) {
		return false
	}
	for i := range warm {
		if warm[i].OK() {
			return warm[i].TokensBy != sample.TokensUsage
		}
	}
	return false
}

// countAnswers counts the answers that the server did not, from their text: by the
// server's tokenizer, then by the one that was given.
func (j *loadJob) countAnswers(ctx context.Context, m *measured) {
	failed := func(who string, err error) {
		if err != nil {
			m.warnings = append(m.warnings, metric.Warning{Code: "tokenize-failed", Message: fmt.Sprintf("not every answer could be counted by %s: %v", who, err)})
		}
	}
	if left := load.Uncounted(m.records); len(left) > 0 && j.target.engine != nil && j.target.engine.Tokenize != nil {
		bounded, cancel := context.WithTimeout(ctx, countTimeout)
		defer cancel()
		failed("the server's tokenizer", load.CountTexts(bounded, left, sample.TokensServer, func(ctx context.Context, text string) (int, error) {
			return j.target.client.CountTokens(ctx, j.trial.Model, text)
		}))
	}
	if left := load.Uncounted(m.records); len(left) > 0 && j.tokenizer != nil {
		failed("the tokenizer given", load.CountTexts(ctx, left, sample.TokensTokenizer, func(_ context.Context, text string) (int, error) {
			return j.tokenizer.Count(text), nil
		}))
	}
}
