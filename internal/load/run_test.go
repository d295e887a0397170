package load

import (
	"context"
	"testing"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/load/workload"
)

// The figures of the design page: first token after 3 s, 49 gaps of 30 ms.
func TestOpenLoopIsExact(t *testing.T) {
	bubble(t, script{first: 3 * time.Second, gap: 30 * time.Millisecond, tokens: 50}, func(ctx context.Context, c *client.Client) {
		out, err := Run(ctx, Trial{
			Client: c, Wire: completions, Model: "m", Requests: requests(200, 50),
			Arrivals: workload.Arrivals{Kind: workload.ArrivalConstant, RateRPS: 10}, IgnoreEOS: true, IDPrefix: "t-",
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range out.Records {
			sched := int64(i+1) * int64(100*time.Millisecond)
			if !r.OK() || r.Index != i || r.Sched != sched || r.Send != sched ||
				r.FirstText-r.Send != int64(3*time.Second) || r.LastChoices-r.Send != int64(4470*time.Millisecond) ||
				r.OutputTokens != 50 || r.InputTokens != 7 || len(r.Events) != 50 {
				t.Fatalf("record %d: %+v", i, r)
			}
		}
		if want := 20*time.Second + 4470*time.Millisecond; out.Duration != want {
			t.Errorf("duration %v, want %v", out.Duration, want)
		}
		if a := out.Client; a.Invalid != "" || a.OwnLag.Max != 0 || a.PeakInFlight != 45 || *a.AchievedRPS != 10 {
			t.Errorf("audit %+v", a)
		}
	})
}
