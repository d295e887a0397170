package load

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

const (
	defaultTimeout = 600 * time.Second
	progressEvery  = 500 * time.Millisecond
	lateNs         = int64(time.Millisecond)
)

// errTrialOver is why requests in flight end when the time of a trial is up.
var errTrialOver = errors.New("the time of the trial was over")

// ErrEnough is the cause with which a caller ends the context of a trial that has
// shown enough: the arrivals that are left are then no failure of the client.
var ErrEnough = errors.New("the trial has shown enough")

// Run puts the load of a trial on the server and returns when every request has
// ended. An error means that the trial could not start or that ctx ended; in the
// second case the outcome is filled all the same, with the requests cut off as
// cancelled and those not sent as dropped. Failed requests are no error.
func Run(ctx context.Context, t Trial) (Outcome, error) {
	if err := ctx.Err(); err != nil {
		return Outcome{}, fmt.Errorf("load: not started: %w", err)
	}
	r, err := prepare(ctx, t)
	if err != nil {
		return Outcome{}, err
	}
	calibration := r.calibrate(ctx)
	out, err := r.run(ctx)
	if err != nil {
		return Outcome{}, err
	}
	out.Client.calibrated(calibration)
	if err := ctx.Err(); err != nil {
		return out, fmt.Errorf("load: interrupted after %d of %d requests: %w", r.done.Load(), len(r.records), err)
	}
	return out, nil
}

// clock tells nanoseconds since a trial began.
type clock time.Time

func (c clock) Now() int64 { return int64(time.Since(time.Time(c))) }

// runner is one trial under way.
type runner struct {
	Trial
	schedule []time.Duration
	bodies   [][]byte
	after    map[int][]int // requests that wait for the end of a request
	records  []sample.Record
	own      []int64 // own lag of each request, ns; -1 = not sent
	waits    []int64 // wait for a slot, ns; -1 = none
	limit    uint64  // open files
	enough   bool    // the caller ended it, see ErrEnough
	clock    clock
	slots    chan int64 // free slots, each with the instant when it became free; nil = no cap

	sent, done, failed atomic.Int64
	tokens             atomic.Int64
}

// prepare does all that can be done before the trial starts.
func prepare(ctx context.Context, t Trial) (*runner, error) {
	if err := t.validate(); err != nil {
		return nil, err
	}
	if t.Timeout <= 0 {
		t.Timeout = defaultTimeout
	}
	bodies, err := encode(ctx, t)
	if err != nil {
		return nil, err
	}
	r := &runner{Trial: t, bodies: bodies, schedule: schedule(t), after: followers(t.Requests)}
	r.makeRecords()
	r.limit = raiseFiles(uint64(r.mostInFlight()) + spareFiles)
	if err := enoughFiles(r.certainInFlight(), r.limit); err != nil {
		return nil, err
	}
	return r, nil
}

func (t Trial) validate() error {
	switch {
	case t.Client == nil:
		return errors.New("load: no client to send with")
	case t.Encoded != nil && len(t.Encoded) != len(t.Requests):
		return fmt.Errorf("load: %d requests, %d of them encoded: expected all or none", len(t.Requests), len(t.Encoded))
	case t.Encoded == nil && (t.Wire.Encode == nil || t.Wire.Decode == nil):
		return errors.New("load: the server's engine has no wire format for this endpoint")
	case len(t.Requests) == 0:
		return errors.New("load: no requests; expected at least one")
	case t.MaxConcurrency < 0:
		return fmt.Errorf("load: at most %d requests in flight: expected 0 (no cap) or more", t.MaxConcurrency)
	case !(t.TightestMs >= 0):
		return fmt.Errorf("load: tightest limit %v ms: expected 0 (none) or more", t.TightestMs)
	}
	if err := t.Arrivals.Validate(); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	return validateOrder(t.Requests)
}

// encode makes every request body, so that nothing is encoded while time runs.
func encode(ctx context.Context, t Trial) ([][]byte, error) {
	bodies := make([][]byte, len(t.Requests))
	for i, x := range t.Encoded {
		bodies[i] = x.Body
	}
	if t.Encoded != nil {
		return bodies, nil
	}
	for i, q := range t.Requests {
		if i%256 == 0 && ctx.Err() != nil {
			return nil, fmt.Errorf("load: not started: %w", ctx.Err())
		}
		body, err := t.Wire.Encode(engine.GenerateRequest{
			Model: t.Model, Prompt: q.Prompt, PromptTokens: q.PromptTokens, Messages: q.Messages,
			MaxTokens: q.OutputLen, IgnoreEOS: t.IgnoreEOS, Stream: true, Temperature: t.Temperature, Extra: q.Extra,
		})
		if err != nil {
			return nil, fmt.Errorf("load: request %d: %w", i, err)
		}
		bodies[i] = body
	}
	return bodies, nil
}

// textBudget bounds the text that is kept of all requests together, maxText that
// of one, in bytes.
const (
	textBudget = 1 << 30
	maxText    = 256 << 10
)

// eventBudget bounds the events that all requests together have room for from
// the start; a request beyond its share grows.
const (
	eventBudget = 4 << 20
	maxRoom     = 16 << 10
)

func (r *runner) makeRecords() {
	n := len(r.Requests)
	r.records, r.own, r.waits = make([]sample.Record, n), make([]int64, n), make([]int64, n)
	room := func(i int) int { return min(r.Requests[i].OutputLen+2, maxRoom, eventBudget/n) }
	total := 0
	for i := range n {
		total += room(i)
	}
	slab := make([]sample.Event, total)
	for i, q := range r.Requests {
		rec := sample.New(i, int64(r.schedule[i]))
		if !r.Arrivals.Open() {
			rec.Sched = sample.Never
		}
		rec.WantInput, rec.WantOutput, rec.IgnoreEOS = q.InputLen, q.OutputLen, r.IgnoreEOS
		rec.RequestID = r.IDPrefix + strconv.Itoa(i)
		if r.KeepText || r.KeepAnswers {
			rec.KeepText, rec.KeepCounted = min(maxText, textBudget/n), r.KeepAnswers
		}
		rec.Events, slab = slab[:0:room(i)], slab[room(i):]
		r.records[i], r.own[i], r.waits[i] = rec, -1, -1
	}
}

// mostInFlight is the largest number of requests that can be in flight.
func (r *runner) mostInFlight() int {
	switch {
	case !r.Arrivals.Open():
		return min(max(r.MaxConcurrency, 1), len(r.records))
	case r.MaxConcurrency > 0:
		return min(r.MaxConcurrency, len(r.records))
	}
	return len(r.records)
}

// enoughFiles refuses a trial of which n requests are certain to need a file
// each, where limit is what the system allows; 0 = unknown.
func enoughFiles(n int, limit uint64) error {
	if need := uint64(n) + spareFiles; limit > 0 && limit < need {
		return fmt.Errorf("load: %d requests at once need %d open files and the system allows %d: raise the limit (ulimit -n %d) or lower the concurrency", n, need, limit, need)
	}
	return nil
}

// certainInFlight is the number of requests that will be in flight whatever the
// server does; those of a timed schedule may never meet.
func (r *runner) certainInFlight() int {
	if r.Arrivals.Open() && !r.Arrivals.AtOnce() {
		return 0
	}
	return r.mostInFlight()
}

func (r *runner) run(ctx context.Context) (Outcome, error) {
	trial, end := context.WithCancelCause(ctx)
	defer end(nil)
	wait := newPacer(trial)
	defer wait.close()
	defer quietGC()()
	started, err := r.start(trial)
	if err != nil {
		return Outcome{}, err
	}
	r.clock = clock(started)
	wait.until(r.clock, 0)
	before := takeUsage()
	if r.MaxTime > 0 {
		timer := time.AfterFunc(r.MaxTime-time.Duration(r.clock.Now()), func() { end(errTrialOver) })
		defer timer.Stop()
	}
	stop := r.reportProgress()
	if r.Arrivals.Open() {
		r.openLoop(trial, wait)
	} else {
		r.closedLoop(trial)
	}
	used := takeUsage().since(before)
	stop()
	out := Outcome{Started: started, Duration: r.duration(), Records: r.records}
	r.enough = errors.Is(context.Cause(ctx), ErrEnough)
	out.Client = r.audit(used)
	return out, nil
}

// start is the instant at which the trial begins. One that another process gave
// is read by the wall clock, and kept by the monotonic one from here on.
func (r *runner) start(ctx context.Context) (time.Time, error) {
	if r.Start == nil {
		return time.Now(), nil
	}
	at, err := r.Start(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("load: not started: %w", err)
	}
	now := time.Now()
	return now.Add(at.Round(0).Sub(now)), nil
}

// openLoop starts a goroutine for each arrival at its instant.
func (r *runner) openLoop(ctx context.Context, wait pacer) {
	if r.MaxConcurrency > 0 {
		r.slots = make(chan int64, r.MaxConcurrency)
		for range r.MaxConcurrency {
			r.slots <- 0
		}
	}
	var all sync.WaitGroup
	for i := range r.records {
		if r.Requests[i].After > 0 {
			continue // its arrival is another's end
		}
		if !wait.until(r.clock, r.records[i].Sched) {
			r.dropAll(ctx, i)
			continue
		}
		all.Add(1)
		go func() {
			defer all.Done()
			r.conversation(ctx, i, &all)
		}()
		runtime.Gosched() // to it, before the end of this wait keeps the CPU busy
	}
	all.Wait()
}

// arrival sends a request, as soon as a slot is free where their number is
// capped.
func (r *runner) arrival(ctx context.Context, i int) {
	due := r.records[i].Sched
	if r.Arrivals.AtOnce() && r.Requests[i].After == 0 {
		due = r.clock.Now() // all at once: there is no instant to be late for
	}
	if r.slots != nil {
		select {
		case freed := <-r.slots:
			r.waits[i] = max(0, freed-due)
			due = max(due, freed)
		case <-ctx.Done():
			r.dropAll(ctx, i)
			return
		}
		defer func() { r.slots <- r.clock.Now() }()
	}
	if ctx.Err() != nil { // both were ready: do not send what would be cancelled at once
		r.dropAll(ctx, i)
		return
	}
	r.send(ctx, i, due)
}

// closedLoop lets each user send its next request when its last one has ended.
func (r *runner) closedLoop(ctx context.Context) {
	var next atomic.Int64
	var users sync.WaitGroup
	for range r.mostInFlight() {
		users.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(r.records) {
					return
				}
				if r.Requests[i].After == 0 {
					r.turns(ctx, i)
				}
			}
		})
	}
	users.Wait()
}

// send sends request i, which could have left at the instant due.
func (r *runner) send(ctx context.Context, i int, due int64) {
	rec := &r.records[i]
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	r.sent.Add(1)
	wire := r.Wire
	if r.Encoded != nil {
		wire = r.Encoded[i].Wire
	}
	r.Client.Stream(ctx, wire, r.bodies[i], rec.RequestID, r.clock, rec)
	r.own[i] = rec.Begin - due
	if rec.Conn == sample.Never && !rec.StaleRetry { // a ready connection: the handing over is ours
		r.own[i] = rec.Send - due
	}
	r.tokens.Add(int64(rec.OutputTokens))
	if !rec.OK() {
		r.failed.Add(1)
	}
	r.done.Add(1)
	if r.Ended != nil {
		r.Ended(rec)
	}
}

// duration is the time to the last result; without one, the time that passed.
func (r *runner) duration() time.Duration {
	last := int64(0)
	for i := range r.records {
		last = max(last, r.records[i].Done)
	}
	if last == 0 {
		last = r.clock.Now()
	}
	return time.Duration(last)
}

// reportProgress tells Progress how far the trial is until the returned func is
// called, which tells it once more.
func (r *runner) reportProgress() (stop func()) {
	if r.Progress == nil {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.Progress(r.progress())
			case <-quit:
				r.Progress(r.progress())
				return
			}
		}
	}()
	return func() { close(quit); <-ended }
}

func (r *runner) progress() Progress {
	done := r.done.Load() // before sent, so that nothing is less than 0
	sent := r.sent.Load()
	return Progress{
		Planned: len(r.records), Sent: int(sent), Done: int(done), Failed: int(r.failed.Load()),
		InFlight: int(sent - done), Elapsed: time.Duration(r.clock.Now()), OutputTokens: r.tokens.Load(),
	}
}
