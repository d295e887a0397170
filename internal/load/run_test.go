package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

const millisecond = int64(time.Millisecond)

func constant(rps float64) workload.Arrivals {
	return workload.Arrivals{Kind: workload.ArrivalConstant, RateRPS: rps}
}

// The figures of the design page: first token after 3 s, 49 gaps of 30 ms.
func TestOpenLoopIsExact(t *testing.T) {
	bubble(t, script{first: 3 * time.Second, gap: 30 * time.Millisecond, tokens: 50}, func(ctx context.Context, c *client.Client) {
		out, err := Run(ctx, Trial{
			Client: c, Wire: completions, Model: "m", Requests: requests(200, 50),
			Arrivals: constant(10), IgnoreEOS: true, IDPrefix: "t-",
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range out.Records {
			sched := int64(i+1) * 100 * millisecond
			if !r.OK() || r.Index != i || r.Sched != sched || r.Begin != sched || r.Send != sched ||
				r.FirstText-r.Send != 3000*millisecond || r.LastChoices-r.Send != 4470*millisecond ||
				r.OutputTokens != 50 || r.InputTokens != 7 || len(r.Events) != 50 || r.RequestID != fmt.Sprintf("t-%d", i) {
				t.Fatalf("record %d: %+v", i, r)
			}
		}
		if want := 20*time.Second + 4470*time.Millisecond; out.Duration != want {
			t.Errorf("duration %v, want %v", out.Duration, want)
		}
		a := out.Client
		// The scheduler's latency is that of the real machine, busy or not.
		warnings := slices.DeleteFunc(a.Warnings, func(w Warning) bool { return w.Code == "scheduler-latency" })
		if a.Invalid != "" || len(warnings) > 0 || a.OwnLag.Max != 0 || a.SendLag.Max != 0 || a.PeakInFlight != 45 ||
			*a.AchievedRPS != 10 || *a.OfferedRPS != 10 || a.NewConnections != 45 || a.SharedEvents != 0 || a.Events != 10_000 || a.SlotWait != nil {
			t.Errorf("audit %+v", a)
		}
	})
}

// One request at a time may be in flight, each takes 1 s, arrivals come every
// 100 ms: the wait is send lag, in the order of arrival, and not the client's own.
func TestCapIsSendLag(t *testing.T) {
	bubble(t, script{first: time.Second, tokens: 1}, func(ctx context.Context, c *client.Client) {
		out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: requests(10, 1), Arrivals: constant(10), MaxConcurrency: 1})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range out.Records {
			if want := 100*millisecond + int64(i)*1000*millisecond; r.Send != want || r.Send-r.Sched != int64(i)*900*millisecond {
				t.Errorf("request %d was due at %d and left at %d, want %d", i, r.Sched, r.Send, want)
			}
		}
		a := out.Client
		if a.OwnLag.Max != 0 || a.SlotWait.Max != 8100 || a.SendLag.Max != 8100 || a.PeakInFlight != 1 || a.Invalid != "" {
			t.Errorf("audit: own lag %+v, slot wait %+v, peak %d, invalid %q", a.OwnLag, a.SlotWait, a.PeakInFlight, a.Invalid)
		}
		if !hasWarning(a, "rate-not-delivered") {
			t.Errorf("warnings %+v, want rate-not-delivered", a.Warnings)
		}
	})
}

func hasWarning(a Audit, code string) bool {
	return slices.ContainsFunc(a.Warnings, func(w Warning) bool { return w.Code == code })
}

// At 2.5 s the trial's time is up: of arrivals each 500 ms that last 1.2 s,
// three are answered, two are in flight and one is just due.
func TestMaxTimeDropsAndCancels(t *testing.T) {
	bubble(t, script{first: 1200 * time.Millisecond, tokens: 1}, func(ctx context.Context, c *client.Client) {
		out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: requests(10, 1), Arrivals: constant(2), MaxTime: 2400 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		want := []sample.Class{"", "", "cancelled", "cancelled", "dropped", "dropped", "dropped", "dropped", "dropped", "dropped"}
		for i, r := range out.Records {
			if r.Class != want[i] || (r.Send == sample.Never) != (r.Class == sample.ClassDropped) {
				t.Errorf("request %d: %q, sent at %d, want %q", i, r.Class, r.Send, want[i])
			}
			if !r.OK() && !strings.Contains(r.Error, "the time of the trial was over") {
				t.Errorf("request %d: %q", i, r.Error)
			}
		}
		if a := out.Client; a.Dropped != 6 || a.Sent != 4 || !hasWarning(a, "arrivals-dropped") || out.Duration != 2400*time.Millisecond {
			t.Errorf("%d dropped, %d sent, %v, %+v", a.Dropped, a.Sent, out.Duration, a.Warnings)
		}
	})
}

func TestArrivalsInASlotQueueAreDroppedAtMaxTime(t *testing.T) {
	bubble(t, script{first: time.Second, tokens: 1}, func(ctx context.Context, c *client.Client) {
		out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: requests(20, 1), Arrivals: constant(1000), MaxConcurrency: 2, MaxTime: 1500 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		var classes = map[sample.Class]int{}
		for _, r := range out.Records {
			classes[r.Class]++
		}
		if classes[""] != 2 || classes["cancelled"] != 2 || classes["dropped"] != 16 {
			t.Errorf("classes %v", classes)
		}
	})
}

func TestClosedLoop(t *testing.T) {
	var inFlight, peak atomic.Int64
	s := script{first: 500 * time.Millisecond, gap: 250 * time.Millisecond, tokens: 3}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peak.Store(max(peak.Load(), inFlight.Add(1)))
		s.ServeHTTP(w, r)
		inFlight.Add(-1)
	})
	bubble(t, h, func(ctx context.Context, c *client.Client) {
		out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: requests(9, 3), Arrivals: workload.Arrivals{Kind: workload.ArrivalClosed}, MaxConcurrency: 3})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range out.Records {
			if want := int64(i/3) * 1000 * millisecond; !r.OK() || r.Send != want || r.Sched != want {
				t.Errorf("request %d: %q, due at %d, sent at %d, want %d", i, r.Class, r.Sched, r.Send, want)
			}
		}
		if a := out.Client; a.LoadModel != "closed" || a.OfferedRPS != nil || a.PeakInFlight != 3 || a.NewConnections != 3 || out.Duration != 3*time.Second {
			t.Errorf("audit %+v, duration %v", a, out.Duration)
		}
		if peak.Load() != 3 {
			t.Errorf("the server saw %d at once, want 3", peak.Load())
		}
	})
}

// hang stops at one stage of a reply and waits for the client to go away.
func hang(stage string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if stage == "headers" || stage == "stream" {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
		}
		if stage == "stream" {
			io.WriteString(w, "data: {\"choices\":[{\"text\":\"x\"}]}\n\n")
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	})
}

func TestInterruptEndsEveryRequest(t *testing.T) {
	for _, stage := range []string{"no reply", "headers", "stream"} {
		t.Run(stage, func(t *testing.T) {
			bubble(t, hang(stage), func(ctx context.Context, c *client.Client) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(5050*time.Millisecond, cancel)
				out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: requests(100, 1), Arrivals: constant(10)})
				if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "interrupted after 50 of 100 requests") {
					t.Errorf("error %v", err)
				}
				for i, r := range out.Records {
					want := sample.ClassCancelled
					if i >= 50 {
						want = sample.ClassDropped
					}
					if r.Class != want {
						t.Errorf("request %d: %q %q, want %q", i, r.Class, r.Error, want)
					}
				}
				if len(out.Records) != 100 || out.Duration != 5050*time.Millisecond {
					t.Errorf("%d records, duration %v: the requests did not end with the run", len(out.Records), out.Duration)
				}
			})
		})
	}
}

func TestTimeoutOfOneRequest(t *testing.T) {
	bubble(t, hang("stream"), func(ctx context.Context, c *client.Client) {
		out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: requests(1, 1), Timeout: 7 * time.Second})
		if r := out.Records[0]; err != nil || r.Class != sample.ClassTimeout || r.Done != 7000*millisecond || len(r.Events) != 1 {
			t.Errorf("%v, %+v", err, r)
		}
	})
}

func TestProgress(t *testing.T) {
	var seen []Progress
	bubble(t, script{first: 100 * time.Millisecond, tokens: 4}, func(ctx context.Context, c *client.Client) {
		_, err := Run(ctx, Trial{
			Client: c, Wire: completions, Requests: requests(20, 4), Arrivals: constant(10),
			Progress: func(p Progress) { seen = append(seen, p) },
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	if len(seen) != 5 {
		t.Fatalf("told %d times in 2.1 s, want 4 times on the half second and once at the end", len(seen))
	}
	if p, want := seen[4], (Progress{Planned: 20, Sent: 20, Done: 20, Elapsed: 2100 * time.Millisecond, OutputTokens: 80}); p != want {
		t.Errorf("last %+v, want %+v", p, want)
	}
	for i, p := range seen {
		if p.InFlight != p.Sent-p.Done || i < 4 && p.Elapsed != time.Duration(i+1)*500*time.Millisecond {
			t.Errorf("%d: %+v", i, p)
		}
	}
}

// Bodies are made before the trial: an error names the request and nothing is
// sent.
func TestRunRefuses(t *testing.T) {
	c, stop := serve(t, http.NotFoundHandler())
	defer stop()
	ok := Trial{Client: c, Wire: completions, Requests: requests(3, 1)}
	tests := map[string]struct {
		change func(*Trial)
		want   string
	}{
		"no client":       {func(x *Trial) { x.Client = nil }, "no client"},
		"no wire":         {func(x *Trial) { x.Wire.Encode = nil }, "no wire format"},
		"no requests":     {func(x *Trial) { x.Requests = nil }, "no requests"},
		"negative cap":    {func(x *Trial) { x.MaxConcurrency = -1 }, "-1 requests in flight"},
		"unknown process": {func(x *Trial) { x.Arrivals.Kind = "bursts" }, `"bursts" is not known`},
		"negative limit":  {func(x *Trial) { x.TightestMs = -1 }, "tightest limit -1 ms"},
		"unknown field":   {func(x *Trial) { x.Requests[2].Extra = map[string]any{"min_lenght": 3} }, `request 2: request field "min_lenght"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			x := ok
			x.Requests = slices.Clone(ok.Requests)
			tt.change(&x)
			if out, err := Run(t.Context(), x); err == nil || !strings.Contains(err.Error(), tt.want) || out.Records != nil {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, ok); !errors.Is(err, context.Canceled) {
		t.Errorf("a run whose context had ended: %v", err)
	}
}

// The trap of a server that says keep-alive and closes the connection a moment
// after each streamed reply.
func TestServerThatClosesKeptConnections(t *testing.T) {
	s := script{first: 20 * time.Millisecond, gap: time.Millisecond, tokens: 5}
	for _, after := range []time.Duration{1, 3 * time.Millisecond} {
		bubbleWith(t, closing(s, after), func(ctx context.Context, c *client.Client) {
			out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: requests(260, 5), Arrivals: workload.Arrivals{Kind: workload.ArrivalClosed}, MaxConcurrency: 8})
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range out.Records {
				if !r.OK() || r.OutputTokens != 5 || r.FirstText-r.Send != 20*millisecond {
					t.Fatalf("closing after %v, request %d: %q %q %+v", after, i, r.Class, r.Error, r)
				}
			}
			if a := out.Client; a.ConnectFailures != 0 || a.Invalid != "" || after > 1 && a.StaleRetries == 0 {
				t.Errorf("audit %+v", a)
			}
		})
	}
}

func TestWarm(t *testing.T) {
	var mu sync.Mutex
	var bodies []string
	s := script{first: time.Second, tokens: 2}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		bodies = append(bodies, string(body))
		mu.Unlock()
		s.ServeHTTP(w, r)
	})
	bubble(t, h, func(ctx context.Context, c *client.Client) {
		records, err := Warm(ctx, Trial{Client: c, Wire: completions, Requests: requests(3, 2), Arrivals: constant(0.001), IDPrefix: "a-"}, 6)
		if err != nil || len(records) != 6 {
			t.Fatalf("%d records, %v", len(records), err)
		}
		for i, r := range records {
			if !r.Warmup || !r.OK() || r.Index != i || r.RequestID != fmt.Sprintf("a-warm-%d", i) || r.Send != int64(i/4)*1000*millisecond {
				t.Errorf("record %d: %+v", i, r)
			}
		}
	})
	for _, body := range bodies {
		if !strings.Contains(body, `"prompt":"warm-up `) {
			t.Errorf("the prompt of %s begins like one of the trial", body)
		}
	}
}

func TestWarmFails(t *testing.T) {
	broken := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no weights", 500) })
	bubble(t, broken, func(ctx context.Context, c *client.Client) {
		records, err := Warm(ctx, Trial{Client: c, Wire: completions, Requests: requests(1, 2)}, 2)
		if err == nil || !strings.Contains(err.Error(), "none of 2 requests succeeded") || !strings.Contains(err.Error(), "no weights") || len(records) != 2 {
			t.Errorf("%d records, %v", len(records), err)
		}
	})
	if records, err := Warm(t.Context(), Trial{}, 0); records != nil || err != nil {
		t.Errorf("no warm-up: %v, %v", records, err)
	}
}

// Same seed, same bubble: the same records to the last nanosecond.
func TestRunRepeats(t *testing.T) {
	var runs [2][]sample.Record
	for i := range runs {
		bubble(t, script{first: 40 * time.Millisecond, gap: 7 * time.Millisecond, tokens: 9}, func(ctx context.Context, c *client.Client) {
			out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: requests(100, 9), Arrivals: workload.Arrivals{RateRPS: 30, Seed: 5}})
			if err != nil {
				t.Fatal(err)
			}
			runs[i] = out.Records
		})
	}
	for i := range runs[0] {
		a, b := runs[0][i], runs[1][i]
		a.ConnReused, b.ConnReused = false, false // which of two idle connections is taken is the transport's affair
		a.Conn, b.Conn = 0, 0
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("record %d:\n%+v\n%+v", i, a, b)
		}
	}
}

func TestPacerFallsBackInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(t.Context())
		defer p.close()
		c := clock(time.Now())
		if !p.until(c, int64(time.Hour)) || c.Now() != int64(time.Hour) {
			t.Errorf("at %v, want 1h", time.Duration(c.Now()))
		}
	})
}

// On a real clock an instant never comes early, and the end of the trial cuts a
// wait short.
func TestPacerOnARealClock(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := newPacer(ctx)
	defer p.close()
	c := clock(time.Now())
	for _, at := range []int64{0, 50_000, millisecond, 1_500_000, 20 * millisecond} {
		if !p.until(c, at) || c.Now() < at {
			t.Errorf("at %d, want %d or later", c.Now(), at)
		}
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	if p.until(c, int64(time.Hour)) || c.Now() > int64(time.Minute) {
		t.Error("the wait went on after the trial's end")
	}
}
