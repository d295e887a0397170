package load

import (
	"context"
	"errors"
	"strings"
	"testing"

	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

func TestServerPrompts(t *testing.T) {
	spec := workload.Spec{Kind: workload.KindRandom, NumPrompts: 5, InputLen: 40, OutputLen: 2}
	build := func(s workload.Spec) ([]workload.Request, error) { return s.Requests() }
	asked := 0
	count := func(_ context.Context, text string) (int, error) { asked++; return 2 * len(strings.Fields(text)), nil }
	requests, failed, err := ServerPrompts(t.Context(), spec, count, build)
	if failed != nil || err != nil || len(requests) != 5 || asked == 0 {
		t.Fatalf("%d requests after %d counts: %v %v", len(requests), asked, failed, err)
	}
	for _, q := range requests {
		if n := len(strings.Fields(q.Prompt)); n != 20 {
			t.Errorf("a prompt of %d words, each two tokens, for 40", n)
		}
	}
	mute := errors.New("no such path")
	if _, failed, err := ServerPrompts(t.Context(), spec, func(context.Context, string) (int, error) { return 0, mute }, build); !errors.Is(failed, mute) || err != nil {
		t.Errorf("%v %v", failed, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, failed, err := ServerPrompts(ended, spec, count, build); failed != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v %v", failed, err)
	}
}

type wordCounter struct{ per int }

func (w wordCounter) Count(text string) int { return w.per * len(strings.Fields(text)) }

func TestCheckTokenizer(t *testing.T) {
	requests := make([]workload.Request, 1000)
	for i := range requests {
		if i%3 > 0 { // messages have no prompt
			requests[i].Prompt = "one two three"
		}
	}
	asked := 0
	words := func(_ context.Context, text string) (int, error) { asked++; return len(strings.Fields(text)), nil }
	c, err := CheckTokenizer(t.Context(), requests, wordCounter{1}, words)
	if err != nil || c.Differs() != "" || c.Prompts != asked || asked < 60 || asked > 100 || c.Theirs != 3*asked {
		t.Errorf("%+v of %d counts, %q, %v", c, asked, c.Differs(), err)
	}
	c, err = CheckTokenizer(t.Context(), requests[:3], wordCounter{2}, words)
	if want := "the tokenizer given counts 12 tokens in 2 prompts, the server's own 6: it is not the model's"; err != nil || c.Differs() != want {
		t.Errorf("%q, %v; want %q", c.Differs(), err, want)
	}
	mute := errors.New("no such path")
	c, err = CheckTokenizer(t.Context(), requests, wordCounter{1}, func(context.Context, string) (int, error) { return 0, mute })
	if !errors.Is(err, mute) || c != (TokenizerCheck{}) || c.Differs() != "" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestCheckLengths(t *testing.T) {
	records := make([]sample.Record, 3)
	for i := range records {
		records[i] = sample.New(i, 0)
		records[i].InputTokens, records[i].WantInput = 11, 10
	}
	if got := CheckLengths(records); got != "its counts of 3 prompts say so, with 1 more for template and start tokens each" {
		t.Error(got)
	}
	records[1].InputTokens, records[2].Class = 8, sample.ClassReset
	if got := CheckLengths(records); got != "its counts of 2 prompts differ from the wanted lengths by -2 to 1 tokens" {
		t.Error(got)
	}
	if got := CheckLengths(nil); got != "" {
		t.Error(got)
	}
}
