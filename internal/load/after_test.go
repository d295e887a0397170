package load

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

// conversations are requests in which 0 has the turns 2 and 4, 1 has the turn 3,
// each after a think time, and 5 waits for 0 too.
func conversations(n int) []workload.Request {
	reqs := requests(6, 1)
	for i, after := range []int{0, 0, 1, 2, 3, 1} {
		reqs[i].After = after
		if after > 0 {
			reqs[i].Think = time.Duration(i) * 100 * time.Millisecond
		}
	}
	return reqs[:n]
}

func checkTimes(t *testing.T, out Outcome, sched, send []int64) {
	t.Helper()
	for i, r := range out.Records {
		if r.Sched != sched[i]*millisecond || r.Send != send[i]*millisecond {
			t.Errorf("request %d: due at %v, sent at %v, want %d and %d ms (%s)", i, time.Duration(r.Sched), time.Duration(r.Send), sched[i], send[i], r.Error)
		}
	}
}

// Each request takes 1 s. The first turns arrive at 500 ms and 1 s; the others
// when their predecessor has ended and their user has thought. Two that wait for
// the same end are in flight together.
func TestTurnsInTheOpenLoop(t *testing.T) {
	bubble(t, script{first: time.Second, tokens: 1}, func(ctx context.Context, c *client.Client) {
		out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: conversations(6), Arrivals: constant(2)})
		if err != nil {
			t.Fatal(err)
		}
		// 2 after 0: 1500+200, 3 after 1: 2000+300, 4 after 2: 2700+400, 5 after 0: 1500+500.
		at := []int64{500, 1000, 1700, 2300, 3100, 2000}
		checkTimes(t, out, at, at)
		if a := out.Client; a.OwnLag.Max != 0 || a.SendLag.Max != 0 || a.Sent != 6 || a.Invalid != "" || out.Duration != 4100*time.Millisecond {
			t.Errorf("audit %+v, duration %v", a, out.Duration)
		}
	})
}

// A user who thinks holds no slot; a turn that waits for one waits as any other
// arrival does.
func TestTurnsUnderACap(t *testing.T) {
	bubble(t, script{first: time.Second, tokens: 1}, func(ctx context.Context, c *client.Client) {
		out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: conversations(4), Arrivals: constant(2), MaxConcurrency: 1})
		if err != nil {
			t.Fatal(err)
		}
		// 0 holds the slot to 1500, then 1 to 2500; 2 is due at 1700 and gets it then.
		checkTimes(t, out, []int64{500, 1000, 1700, 2800}, []int64{500, 1500, 2500, 3500})
		if a := out.Client; a.OwnLag.Max != 0 || a.PeakInFlight != 1 {
			t.Errorf("audit %+v", a)
		}
	})
}

// In the closed loop a user goes through a conversation, thinks between its
// turns, and then takes the next one.
func TestTurnsInTheClosedLoop(t *testing.T) {
	bubble(t, script{first: time.Second, tokens: 1}, func(ctx context.Context, c *client.Client) {
		out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: conversations(6), Arrivals: workload.Arrivals{Kind: workload.ArrivalClosed}})
		if err != nil {
			t.Fatal(err)
		}
		// 0 at 0, 2 at 1000+200, 4 at 2200+400, 5 was due at 1500 and its user is free at 3600, then 1 at 4600, 3 at 5600+300.
		at := []int64{0, 4600, 1200, 5900, 2600, 3600}
		checkTimes(t, out, at, at)
		if a := out.Client; a.OwnLag.Max != 0 || a.PeakInFlight != 1 || a.Invalid != "" {
			t.Errorf("audit %+v", a)
		}
	})
}

// Where a turn fails, the rest of its conversation is dropped and says why;
// other conversations go on.
func TestAFailedTurnEndsItsConversation(t *testing.T) {
	s := script{first: time.Second, tokens: 1}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"prompt 0"`) {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		s.ServeHTTP(w, r)
	})
	for _, kind := range []workload.ArrivalKind{workload.ArrivalConstant, workload.ArrivalClosed} {
		bubble(t, h, func(ctx context.Context, c *client.Client) {
			out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: conversations(6), Arrivals: workload.Arrivals{Kind: kind, RateRPS: 2}})
			if err != nil {
				t.Fatal(err)
			}
			want := []sample.Class{sample.ClassStatus, "", sample.ClassDropped, "", sample.ClassDropped, sample.ClassDropped}
			for i, r := range out.Records {
				if r.Class != want[i] || want[i] == sample.ClassDropped && (r.Sched != sample.Never || !strings.Contains(r.Error, "not sent: request 0, whose end it waits for, failed")) {
					t.Errorf("%s, request %d: %q %q, due at %d, want %q", kind, i, r.Class, r.Error, r.Sched, want[i])
				}
			}
			if out.Client.Dropped != 3 {
				t.Errorf("%s: %d dropped, want 3", kind, out.Client.Dropped)
			}
		})
	}
}

// The end of a trial cuts a think time short.
func TestMaxTimeDropsWaitingTurns(t *testing.T) {
	reqs := conversations(6)
	for i := range reqs {
		reqs[i].Think *= 100
	}
	for _, kind := range []workload.ArrivalKind{workload.ArrivalConstant, workload.ArrivalClosed} {
		bubble(t, script{first: time.Second, tokens: 1}, func(ctx context.Context, c *client.Client) {
			start := time.Now()
			out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: reqs, Arrivals: workload.Arrivals{Kind: kind, RateRPS: 2}, MaxTime: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range out.Records[2:] {
				if r.Class != sample.ClassDropped || !strings.Contains(r.Error, "the time of the trial was over") {
					t.Errorf("%s, request %d: %q %q", kind, i+2, r.Class, r.Error)
				}
			}
			if passed := time.Since(start); passed != 5*time.Second {
				t.Errorf("%s: ended after %v", kind, passed)
			}
		})
	}
}

func TestTurnsMustComeAfter(t *testing.T) {
	c, stop := serve(t, http.NotFoundHandler())
	defer stop()
	for _, change := range []func(*workload.Request){
		func(q *workload.Request) { q.After = 3 },
		func(q *workload.Request) { q.After = -1 },
		func(q *workload.Request) { q.After, q.Think = 1, -1 },
	} {
		reqs := requests(3, 1)
		change(&reqs[2])
		if _, err := Run(t.Context(), Trial{Client: c, Wire: completions, Requests: reqs}); err == nil || !strings.Contains(err.Error(), "request 2 waits") {
			t.Errorf("%+v: %v", reqs[2], err)
		}
	}
}

// A warm-up sends turns as requests of their own.
func TestWarmSendsTurns(t *testing.T) {
	bubble(t, script{first: time.Second, tokens: 1}, func(ctx context.Context, c *client.Client) {
		records, err := Warm(ctx, Trial{Client: c, Wire: completions, Requests: conversations(6)}, 6)
		if err != nil || len(records) != 6 || records[5].Send != 1000*millisecond {
			t.Errorf("%v, %+v", err, records)
		}
	})
}

// A ramp has no one rate that was asked for; its arrivals are delivered as
// planned all the same.
func TestRampInTheOpenLoop(t *testing.T) {
	bubble(t, script{first: time.Second, tokens: 1}, func(ctx context.Context, c *client.Client) {
		a := workload.Arrivals{Kind: workload.ArrivalRamp, Gaps: workload.ArrivalConstant, RateRPS: 2, Over: 2 * time.Second}
		out, err := Run(ctx, Trial{Client: c, Wire: completions, Requests: requests(4, 1), Arrivals: a})
		if err != nil {
			t.Fatal(err)
		}
		// t²/2 = 1, 2 up to 2 s, then 2 a second.
		for i, want := range []time.Duration{1414213562, 2 * time.Second, 2500 * time.Millisecond, 3 * time.Second} {
			if r := out.Records[i]; r.Sched != int64(want) || r.Send != r.Sched {
				t.Errorf("request %d: due at %v, sent at %v, want %v", i, time.Duration(r.Sched), time.Duration(r.Send), want)
			}
		}
		if out.Client.RequestedRPS != nil || out.Client.OwnLag.Max != 0 {
			t.Errorf("audit %+v", out.Client)
		}
	})
}
