package load

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

// A trial whose start another process sets begins at that instant, in both
// loops, and tells each end.
func TestStartIsShared(t *testing.T) {
	for _, a := range []workload.Arrivals{constant(10), {Kind: workload.ArrivalClosed}} {
		bubble(t, script{first: time.Second, tokens: 1}, func(ctx context.Context, c *client.Client) {
			at := time.Now().Add(7 * time.Second)
			var mu sync.Mutex
			ended := map[int]int64{}
			out, err := Run(ctx, Trial{
				Client: c, Wire: completions, Requests: requests(3, 1), Arrivals: a, MaxTime: time.Minute,
				Start: func(context.Context) (time.Time, error) { return at.Round(0), nil },
				Ended: func(r *sample.Record) {
					mu.Lock()
					defer mu.Unlock()
					ended[r.Index] = r.Done
				},
			})
			if err != nil || !out.Started.Equal(at) {
				t.Fatalf("%s: started %v, %v; want %v", a.Kind, out.Started, err, at)
			}
			for i, r := range out.Records {
				if !r.OK() || r.Send < 0 || r.Send != r.Sched || ended[i] != r.Done {
					t.Errorf("%s: record %d: %+v, ended %v", a.Kind, i, r, ended)
				}
			}
		})
	}
}

func TestStartThatFails(t *testing.T) {
	bubble(t, script{first: time.Second, tokens: 1}, func(ctx context.Context, c *client.Client) {
		gone := errors.New("the parent is gone")
		_, err := Run(ctx, Trial{
			Client: c, Wire: completions, Requests: requests(1, 1), Arrivals: constant(1),
			Start: func(context.Context) (time.Time, error) { return time.Time{}, gone },
		})
		if !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
	})
}

// A course of its own in time is no reason to demand a file for each request.
func TestTimedArrivalsNeedNoFileEach(t *testing.T) {
	steps := workload.Arrivals{Kind: workload.ArrivalSteps, Steps: []workload.Step{{RateRPS: 1, For: time.Second}}}
	r := &runner{Trial: Trial{Arrivals: steps}, records: make([]sample.Record, 1000)}
	if n := r.certainInFlight(); n != 0 {
		t.Errorf("%d in flight for certain", n)
	}
}
