package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/engine/sglang"
	"llmdyno/internal/incident/dump"
	"llmdyno/internal/pipenet"
)

// replayed runs body against a server behind pipes, in a bubble.
func replayed(t *testing.T, e *engine.Engine, h http.Handler, body func(ctx context.Context, target Target)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := pipenet.Listen()
		srv := &http.Server{Handler: h}
		go srv.Serve(p)
		c, err := client.New(client.Options{BaseURL: "http://server", Dial: p.Dial, Conns: 1000, Engine: e})
		if err != nil {
			t.Fatal(err)
		}
		body(t.Context(), Target{Client: c, Model: "m"})
		c.Close()
		srv.Close()
		time.Sleep(time.Minute) // what is left ends
	})
}

// answer is a server that streams a text after 100 ms and ends 400 ms later; words
// of the prompt make it fail.
func answer(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	if r.URL.Path == "/v1/models" {
		fmt.Fprint(w, `{"data":[]}`)
		return
	}
	body := string(raw)
	switch {
	case strings.Contains(body, "bad-request"):
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":{"message":"no"}}`)
		return
	case strings.Contains(body, "no-key"):
		w.WriteHeader(http.StatusUnauthorized)
		return
	case strings.Contains(body, "hang"):
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flush := w.(http.Flusher).Flush
	time.Sleep(100 * time.Millisecond)
	fmt.Fprint(w, "data: {\"choices\":[{\"text\":\"one\",\"finish_reason\":null}]}\n\n")
	flush()
	time.Sleep(400 * time.Millisecond)
	if strings.Contains(body, "in-band") {
		fmt.Fprint(w, "data: {\"error\":{\"message\":\"CUDA error\"}}\n\n")
		return
	}
	fmt.Fprint(w, "data: {\"choices\":[{\"text\":\" two\",\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n")
}

func prompts(gap time.Duration, texts ...string) (out []Request) {
	for i, s := range texts {
		n, elapsed := int64(2), 0.5
		out = append(out, Request{Request: dump.Request{
			Index: i, ID: fmt.Sprint("id", i), Prompt: dump.Text(s), AtNs: int64(i) * int64(gap), Greedy: true, Stream: true,
			Recorded: dump.Recorded{Start: 1, Finished: true, FinishReason: "stop", CompletionTokens: &n, ElapsedSeconds: &elapsed, TextSHA256: hashOf([]byte("one two"))},
		}})
	}
	return out
}

func play(ctx context.Context, t *testing.T, target Target, reqs []Request, o Options) *Run {
	t.Helper()
	p, err := NewPlan(reqs, target.Engine(), target.Model, o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Play(ctx, p, target, false)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Sendings are exactly at offset ÷ speed although each answer takes longer than the
// gap, and a slow stream is timed to its end.
func TestPacingIsExact(t *testing.T) {
	for _, speed := range []float64{0.5, 1, 10} {
		replayed(t, nil, http.HandlerFunc(answer), func(ctx context.Context, target Target) {
			r := play(ctx, t, target, prompts(100*time.Millisecond, "a", "b", "c", "d", "e"), Options{Speed: speed})
			for i, o := range r.Requests {
				want := 100 * float64(i) / speed
				if !o.OK || *o.SentMs != want || o.DueMs != want || *o.TTFTMs != 100 || *o.E2EMs != 500 || !*o.TextSame || !*o.TokensSame || *o.Ratio != 1 {
					t.Errorf("speed %v, request %d: %+v", speed, i, o)
				}
			}
			if r.Lag.Max != 0 || r.GapError.Max != 0 || r.SlotWait != nil || r.Died || r.Text.Same != 5 {
				t.Errorf("speed %v: %+v", speed, r)
			}
			if r.Verdict != Reproduced {
				t.Errorf("speed %v: %s, %s", speed, r.Verdict, r.Reason)
			}
		})
	}
}

// A cap delays sendings, in order, and the delay is told.
func TestCapIsToldAsLateness(t *testing.T) {
	replayed(t, nil, http.HandlerFunc(answer), func(ctx context.Context, target Target) {
		r := play(ctx, t, target, prompts(100*time.Millisecond, "a", "b", "c"), Options{Concurrency: 1})
		for i, o := range r.Requests {
			if *o.SentMs != 500*float64(i) || *o.LagMs != 400*float64(i) {
				t.Errorf("request %d: %+v", i, o)
			}
		}
		if r.SlotWait == nil || r.SlotWait.Max != 800 || r.PeakIn != 1 || r.OwnLag.Max != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// Each failure is of its class, whatever the status of the stream, and none stops
// the others.
func TestFailuresByClass(t *testing.T) {
	replayed(t, nil, http.HandlerFunc(answer), func(ctx context.Context, target Target) {
		r := play(ctx, t, target, prompts(10*time.Millisecond, "bad-request", "no-key", "in-band", "hang", "fine"), Options{Timeout: 2 * time.Second})
		var classes []string
		for _, o := range r.Requests {
			classes = append(classes, o.Class)
		}
		if !slices.Equal(classes, []string{"http_status", "auth", "in_band", "timeout", ""}) {
			t.Errorf("classes %q", classes)
		}
		if r.Succeeded != 1 || r.Failed != 4 || r.Died || r.Verdict != Different || r.Failures["timeout"] != 1 {
			t.Errorf("%+v", r)
		}
	})
}

// What an engine's own endpoints answer: a vector, and a whole answer to a request
// that did not stream.
func TestNativeEndpoints(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/encode":
			fmt.Fprint(w, `{"embedding":[0.5,1],"meta_info":{"prompt_tokens":4}}`)
		case "/generate":
			fmt.Fprint(w, `{"text":"one two","output_ids":[1,2],"meta_info":{"prompt_tokens":3,"completion_tokens":2,"finish_reason":{"type":"stop"}}}`)
		}
	})
	replayed(t, sglang.New(), h, func(ctx context.Context, target Target) {
		reqs := prompts(time.Millisecond, "a", "b")
		for i, body := range []string{`{"text":"a"}`, `{"text":"b","sampling_params":{"temperature":0}}`} {
			reqs[i].Engine, reqs[i].Body, reqs[i].Kind = "sglang", []byte(body), engine.DumpGenerate
		}
		reqs[0].Kind = engine.DumpEmbedding
		r := play(ctx, t, target, reqs, Options{})
		if a, b := r.Requests[0], r.Requests[1]; !a.OK || a.InputTokens != 4 || !b.OK || b.OutputTokens != 2 || b.TTFTMs != nil || !*b.TextSame {
			t.Errorf("%+v\n%+v", a, b)
		}
	})
}

// The server goes away in the middle: what was in flight is cut, the rest finds
// nobody, and the run says that it died.
func TestServerDies(t *testing.T) {
	replayed(t, nil, http.HandlerFunc(answer), func(ctx context.Context, target Target) {
		var srv *http.Server
		p := pipenet.Listen()
		srv = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			raw, _ := io.ReadAll(r.Body)
			if strings.Contains(string(raw), "poison") {
				p.Close()
				go srv.Close()
				panic(http.ErrAbortHandler)
			}
			r.Body = io.NopCloser(strings.NewReader(string(raw)))
			answer(w, r)
		})}
		go srv.Serve(p)
		c, err := client.New(client.Options{BaseURL: "http://server", Dial: p.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		reqs := prompts(100*time.Millisecond, "a", "b", "poison", "d")
		reqs[2].Recorded = dump.Recorded{Start: 1}
		r := play(ctx, t, Target{Client: c, Model: "m"}, reqs, Options{})
		if !r.Died || r.Succeeded != 0 || r.Verdict != Reproduced || r.Requests[3].Class != "connect" {
			t.Errorf("%+v", r)
		}
		if s := suspects(r); !slices.Contains(s, 2) || slices.Contains(s, 3) {
			t.Errorf("suspects %v", s)
		}
	})
}

// An interrupt ends what is in flight and leaves what was seen.
func TestInterrupt(t *testing.T) {
	replayed(t, nil, http.HandlerFunc(answer), func(ctx context.Context, target Target) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(550*time.Millisecond, cancel)
		p, err := NewPlan(prompts(300*time.Millisecond, "a", "b", "c"), nil, "m", Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := Play(ctx, p, target, false)
		if !errors.Is(err, context.Canceled) || r == nil || r.Succeeded != 1 || r.Failures["cancelled"] != 1 || r.Dropped != 1 {
			t.Errorf("%v, %+v", err, r)
		}
	})
}
