package run

import (
	"context"
	"fmt"
	"math"
	"time"

	"llmdyno/internal/load"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

// Bounds of what is asked of a server's tokenizer.
const (
	countTimeout = time.Minute // counting all answers of one
	// acceptTolerance is by how much the client's tokens an event may differ from
	// the server's tokens a step.
	acceptTolerance = 0.1
)

// tokens is what a server that runs has shown of its counting.
type tokens struct {
	mute  bool // its tokenizer did not answer as it should: it is not asked again
	usage bool // it counts the tokens of its answers
	last  prompts
}

// prompts are requests that were made, so that load points with the same ones
// need not ask the server again.
type prompts struct {
	scenario string
	seed     uint64
	requests []workload.Request
}

// asks says that the server's tokenizer can be asked.
func (s *server) asks() bool { return s.engine.Tokenize != nil && !s.tokens.mute }

func (s *server) count(ctx context.Context, text string) (int, error) {
	return s.client.CountTokens(ctx, s.model, text)
}

// requests makes the requests of a load point. Prompts that are made up get their
// exact length: by the tokenizer of the plan, else by the server's own, else they
// have it in words.
func (r *runner) requests(ctx context.Context, st step, t *Trial, spec workload.Spec) ([]workload.Request, error) {
	s := r.server
	switch {
	case spec.Tokenizer != nil:
		requests, err := spec.Requests()
		if err == nil && s.asks() {
			t.compare(ctx, s, spec.Tokenizer, requests)
		}
		return requests, err
	case !spec.MadeUp() || !s.asks():
		return spec.Requests()
	}
	if last := s.tokens.last; last.requests != nil && last.scenario == st.scenario.Name && last.seed == spec.Seed {
		t.byServer(st, spec)
		return last.requests, nil
	}
	r.show.phase("making prompts of exact length")
	requests, failed, err := load.ServerPrompts(ctx, spec, s.count, workload.Spec.Requests)
	switch {
	case err != nil:
		return nil, err
	case failed != nil:
		s.tokens.mute = true
		t.warn("tokenize-failed", "the server's tokenizer could not be used (%v): the lengths of prompts are in words; give dataset.tokenizer_path", failed)
		return spec.Requests()
	}
	s.tokens.last = prompts{st.scenario.Name, spec.Seed, requests}
	t.byServer(st, spec)
	return requests, nil
}

// byServer says that the lengths of the prompts are exact, and what they are.
func (t *Trial) byServer(st step, spec workload.Spec) {
	t.Prompts = "prompts of exact length by the server's tokenizer"
	spec.Counter, spec.Seed = func(string) (int, error) { return 0, nil }, st.scenario.Seed
	t.Workload = spec.Describe()
}

// compare holds the tokenizer that made the prompts against the server's, on some
// of them.
func (t *Trial) compare(ctx context.Context, s *server, tokenizer workload.Tokenizer, requests []workload.Request) {
	c, err := load.CheckTokenizer(ctx, requests, tokenizer, s.count)
	if err != nil {
		s.tokens.mute = true
	}
	switch differs := c.Differs(); {
	case differs != "":
		t.warn("tokenizer-differs", "%s", differs)
	case c.Prompts > 0:
		t.Prompts = fmt.Sprintf("the tokenizer given and the server's own agree on %d prompts", c.Prompts)
	}
}

// keepsText says whether answers have to be kept because nobody is known to count
// them.
func (r *runner) keepsText() bool {
	return !r.server.tokens.usage && (r.server.asks() || r.plan.Load.TokenizerPath != "")
}

// saw notes whether the server counts the tokens of its answers.
func (s *server) saw(records []sample.Record) {
	for i := range records {
		if records[i].OK() {
			s.tokens.usage = records[i].TokensBy == sample.TokensUsage
			return
		}
	}
}

// countAnswers counts the answers that the server did not, from their text: by the
// server's tokenizer, then by the plan's.
func (r *runner) countAnswers(ctx context.Context, t *Trial, records []sample.Record) {
	if left := load.Uncounted(records); len(left) > 0 && r.server.asks() && !r.ended() {
		bounded, cancel := context.WithTimeout(ctx, countTimeout)
		defer cancel()
		if err := load.CountTexts(bounded, left, sample.TokensServer, r.server.count); err != nil {
			t.warn("tokenize-failed", "not every answer could be counted by the server's tokenizer: %v", err)
		}
	}
	left := load.Uncounted(records)
	if len(left) == 0 || r.plan.Load.TokenizerPath == "" {
		return
	}
	tokenizer, err := workload.OpenTokenizer(r.plan.Load.TokenizerPath)
	if err == nil {
		err = load.CountTexts(ctx, left, sample.TokensTokenizer, func(_ context.Context, text string) (int, error) { return tokenizer.Count(text), nil })
	}
	if err != nil {
		t.warn("tokenizer-failed", "not every answer could be counted by %s: %v", r.plan.Load.TokenizerPath, err)
	}
}

// verify says what the server counted in prompts that were made.
func (t *Trial) verify(records []sample.Record) {
	if said := load.CheckLengths(records); said != "" && t.Prompts != "" {
		t.Prompts += "; " + said
	}
}

// accepted holds the tokens that an event brought against those that a step of
// the server's speculative decoding yielded. The last step of an answer may be cut
// by its bound, so that an answer has up to a step's tokens fewer.
func (t *Trial) accepted(records []sample.Record) {
	server, client := t.Server, t.Point.Metrics.MeanTokensPerEvent
	if server == nil || server.AcceptLength == nil || client == nil {
		return
	}
	answers, events := 0, 0
	for i := range records {
		if records[i].OK() && len(records[i].Events) > 1 {
			answers++
			events += len(records[i].Events) - 1
		}
	}
	length := *server.AcceptLength
	if events == 0 || math.Abs(*client-length) <= acceptTolerance*length+length*float64(answers)/float64(events) {
		return
	}
	t.warn("accept-length-differs", "an event brings %.2f tokens, a step of the server's speculative decoding yields %.2f: it does not send one event a step, so event gaps are not its steps", *client, length)
}

// speculation is what the server says of its speculative decoding; nil = nothing.
func speculation(s *metric.Server) (length, rate *float64) {
	if s == nil {
		return nil, nil
	}
	return s.AcceptLength, s.AcceptanceRate
}
