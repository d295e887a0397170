package load

import (
	"context"
	"time"
)

// pacer waits for instants of a trial.
type pacer interface {
	// until returns at the instant at, or at once when it has passed; false
	// means that the trial ended first.
	until(c clock, at int64) bool
	close()
}

// timers is the pacer of the Go runtime. Its wake-ups come up to about 1 ms late
// on a real clock, and exactly on time in a testing/synctest bubble.
type timers struct {
	ctx   context.Context
	timer *time.Timer
}

func newTimers(ctx context.Context) *timers {
	t := &timers{ctx: ctx, timer: time.NewTimer(time.Hour)}
	t.timer.Stop()
	return t
}

func (t *timers) until(c clock, at int64) bool {
	if left := at - c.Now(); left > 0 {
		t.timer.Reset(time.Duration(left))
		select {
		case <-t.timer.C:
		case <-t.ctx.Done():
		}
	}
	return t.ctx.Err() == nil
}

func (t *timers) close() { t.timer.Stop() }
