package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

// A request with After set has no arrival of its own: it is due a think time
// after another one's end, in the open loop and in the closed one. Where that
// other one failed or was never sent, it is dropped: its conversation is over.

// validateOrder says which request waits for one that does not come before it.
func validateOrder(reqs []workload.Request) error {
	for i, q := range reqs {
		if q.After < 0 || q.After > i || q.Think < 0 {
			return fmt.Errorf("load: request %d waits %v after the end of request %d: expected one before it and a time of at least 0", i, q.Think, q.After-1)
		}
	}
	return nil
}

// followers lists the requests that wait for the end of each request.
func followers(reqs []workload.Request) map[int][]int {
	out := map[int][]int{}
	for i, q := range reqs {
		if q.After > 0 {
			out[q.After-1] = append(out[q.After-1], i)
		}
	}
	return out
}

// schedule is the arrival of each request; sample.Never for those that wait for
// another.
func schedule(t Trial) []time.Duration {
	own := 0
	for _, q := range t.Requests {
		if q.After == 0 {
			own++
		}
	}
	offsets := t.Arrivals.Schedule(own)
	if own == len(t.Requests) {
		return offsets
	}
	out := make([]time.Duration, len(t.Requests))
	for i, q := range t.Requests {
		out[i] = time.Duration(sample.Never)
		if q.After == 0 {
			out[i], offsets = offsets[0], offsets[1:]
		}
	}
	return out
}

// conversation sends request i, which is due, and then what waits for its end,
// as an open loop does: several that wait for the same end are in flight
// together.
func (r *runner) conversation(ctx context.Context, i int, all *sync.WaitGroup) {
	for {
		r.arrival(ctx, i)
		next := r.after[i]
		if len(next) == 0 {
			return
		}
		before := i
		for _, j := range next[1:] {
			all.Go(func() {
				if r.await(ctx, before, j) {
					r.conversation(ctx, j, all)
				}
			})
		}
		if !r.await(ctx, i, next[0]) {
			return
		}
		i = next[0]
	}
}

// turns sends request i and then what waits for its end, one at a time, as a
// user of the closed loop does.
func (r *runner) turns(ctx context.Context, i int) {
	free := r.clock.Now()
	for todo := []int{i}; len(todo) > 0; {
		i, todo = todo[len(todo)-1], todo[:len(todo)-1]
		rec := &r.records[i]
		if before := r.Requests[i].After - 1; before < 0 {
			rec.Sched = free
		} else if !r.await(ctx, before, i) {
			continue
		}
		if ctx.Err() != nil {
			rec.Sched = sample.Never
			r.dropAll(ctx, i)
			continue
		}
		rec.Sched = max(rec.Sched, free)
		r.send(ctx, i, rec.Sched)
		free = r.clock.Now()
		next := r.after[i]
		for k := range next { // the first of them is taken next
			todo = append(todo, next[len(next)-1-k])
		}
	}
}

// nearInstant is how long before an instant a wait turns from the runtime's
// timers, which are late by up to 1 ms, to an exact pacer.
const nearInstant = 2 * time.Millisecond

// await waits until request next is due, its think time after the end of
// request i, and sets its arrival; false = it was dropped.
func (r *runner) await(ctx context.Context, i, next int) bool {
	before := &r.records[i]
	if ctx.Err() != nil {
		r.dropAll(ctx, next)
		return false
	}
	if !before.OK() {
		r.dropBecause(next, fmt.Sprintf("request %d, whose end it waits for, failed", i))
		return false
	}
	at := before.Done + int64(r.Requests[next].Think)
	if left := time.Duration(at - r.clock.Now()); left > nearInstant {
		far := newTimers(ctx)
		far.until(r.clock, at-int64(nearInstant))
		far.close()
	}
	if r.clock.Now() < at {
		near := newPacer(ctx)
		near.until(r.clock, at)
		near.close()
	}
	if ctx.Err() != nil {
		r.dropAll(ctx, next)
		return false
	}
	r.records[next].Sched = at
	return true
}

// dropAll drops request i and all that wait for its end.
func (r *runner) dropAll(ctx context.Context, i int) {
	reason := "the run was interrupted"
	if why := context.Cause(ctx); !errors.Is(why, context.Canceled) {
		reason = why.Error()
	}
	r.dropBecause(i, reason)
}

func (r *runner) dropBecause(i int, reason string) {
	r.records[i].Class, r.records[i].Error = sample.ClassDropped, "not sent: "+reason
	for _, j := range r.after[i] {
		r.dropBecause(j, reason)
	}
}
