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
