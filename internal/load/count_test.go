package load

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"llmdyno/internal/load/sample"
)

func TestCountTexts(t *testing.T) {
	records := make([]sample.Record, 20)
	for i := range records {
		records[i] = sample.New(i, 0)
		records[i].OutputTokens, records[i].TokensBy = 1, sample.TokensEvents
		records[i].Text = []byte(strings.Repeat("word ", i+1))
	}
	records[3].TokensBy = sample.TokensUsage
	records[4].Class = sample.ClassReset
	records[5].Text = nil
	list := Uncounted(records)
	if len(list) != 17 {
		t.Fatalf("%d requests to count, want 17", len(list))
	}
	words := func(_ context.Context, text string) (int, error) { return len(strings.Fields(text)), nil }
	if err := CountTexts(t.Context(), list, sample.TokensServer, words); err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		want, by := i+1, sample.TokensServer
		switch i {
		case 3:
			want, by = 1, sample.TokensUsage
		case 4, 5:
			want, by = 1, sample.TokensEvents
		}
		if r.OutputTokens != want || r.TokensBy != by {
			t.Errorf("request %d: %d tokens by %q, want %d by %q", i, r.OutputTokens, r.TokensBy, want, by)
		}
	}
	if n := len(Uncounted(records)); n != 0 {
		t.Errorf("%d are still to be counted", n)
	}
}

func TestCountTextsFails(t *testing.T) {
	gone := errors.New("gone")
	for _, tt := range []struct {
		count func(context.Context, string) (int, error)
		want  string
	}{
		{func(context.Context, string) (int, error) { return 0, gone }, "answer 0: gone"},
		{func(context.Context, string) (int, error) { return 0, nil }, "a text of 3 bytes has 0 tokens"},
	} {
		r := sample.New(0, 0)
		r.OutputTokens, r.TokensBy, r.Text = 7, sample.TokensEvents, []byte("abc")
		err := CountTexts(t.Context(), []*sample.Record{&r}, sample.TokensServer, tt.count)
		if err == nil || !strings.Contains(fmt.Sprint(err), tt.want) || r.OutputTokens != 7 || r.TokensBy != sample.TokensEvents || r.Text == nil {
			t.Errorf("%v, %d tokens by %s; want %q and the events' count", err, r.OutputTokens, r.TokensBy, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := CountTexts(ctx, []*sample.Record{{}}, sample.TokensServer, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
