package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"llmdyno/internal/client"
)

// Requests that were made elsewhere go out as they are, each to its endpoint, and
// their answers can be kept although the server counts.
func TestEncodedRequests(t *testing.T) {
	var mu sync.Mutex
	got := map[string]string{}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		got[r.URL.Path] += string(body)
		mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: {\"choices\":[{\"text\":\"to %s\",\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n", r.URL.Path)
	})
	bubble(t, h, func(ctx context.Context, c *client.Client) {
		other := completions
		other.Path = "/other"
		out, err := Run(ctx, Trial{
			Client: c, Requests: requests(2, 2), Arrivals: constant(10), KeepAnswers: true,
			Encoded: []Encoded{{completions, []byte("one")}, {other, []byte("two")}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"to /v1/completions", "to /other"} {
			if r := out.Records[i]; !r.OK() || string(r.Text) != want || r.OutputTokens != 2 {
				t.Errorf("record %d: %q in %+v, expected %q", i, r.Text, r, want)
			}
		}
		if got["/v1/completions"] != "one" || got["/other"] != "two" {
			t.Errorf("the server got %v", got)
		}
		if _, err := Run(ctx, Trial{Client: c, Requests: requests(2, 2), Arrivals: constant(10), Encoded: make([]Encoded, 1)}); err == nil {
			t.Error("fewer bodies than requests were accepted")
		}
	})
}
