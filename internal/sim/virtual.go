package sim

import (
	"strconv"
	"time"
)

// Job is one generation for [Engine.Virtual].
type Job struct {
	At            time.Duration // arrival, since the start
	Input, Output int           // tokens
}

// Served is what became of a job; instants are since the start.
type Served struct {
	First, Last time.Duration // first and last token
	Refused     bool          // it can never fit into the KV cache
}

// Load is the state of the scheduler at an instant.
type Load struct {
	At               time.Duration // since the start
	Running, Waiting int           // requests
	KVUsage          float64       // 0 to 1
	Preemptions      int           // since the start
	Sent, Done       int           // jobs that arrived, and of these ended
}

// Observer is told what happens on the way. A func that is nil is not asked;
// either ends the simulation by returning false.
type Observer struct {
	Ended func(job int, s Served) bool
	Every time.Duration // between two calls of State
	State func(Load) bool
}

// Virtual puts jobs, ordered by their arrivals, through the scheduler of a fresh
// engine without a clock, connections or text: the same steps as behind the
// handler, as fast as they can be computed. It returns what became of each job,
// and the instant at which it ended.
func (e *Engine) Virtual(jobs []Job, o Observer) ([]Served, time.Duration) {
	v := &virtual{sched: newScheduler(e.d), jobs: jobs, served: make([]Served, len(jobs)), o: o, tick: o.Every}
	v.run()
	return v.served, v.now
}

// virtual is one simulation under way. Instants count from epoch.
type virtual struct {
	sched      *scheduler
	jobs       []Job
	served     []Served
	o          Observer
	now, tick  time.Duration
	sent, done int
	over       bool
}

var epoch = time.Unix(0, 0)

func (v *virtual) run() {
	for !v.over {
		v.submit()
		p := v.sched.next(epoch.Add(v.now))
		if p.empty() {
			if !v.wait() {
				return
			}
			continue
		}
		v.observe(v.now + p.duration)
		if v.over {
			return
		}
		v.now += p.duration
		v.sched.finish(epoch.Add(v.now))
	}
}

// wait goes on to the next instant at which there may be something to do; false
// = there is none.
func (v *virtual) wait() bool {
	switch {
	case len(v.sched.waiting) > 0 && v.sched.waiting[0].arrived.Before(epoch.Add(v.now)):
		r := v.sched.waiting[0] // nothing runs, and it is not admitted: it never will be
		v.sched.cancel(r)
		r.sink(0, epoch.Add(v.now), true)
	case len(v.sched.waiting) > 0:
		v.now += gather
	case v.sent == len(v.jobs):
		return false
	default:
		v.observe(v.jobs[v.sent].At)
		v.now = max(v.now, v.jobs[v.sent].At) + gather
	}
	return true
}

// observe tells the states up to an instant.
func (v *virtual) observe(until time.Duration) {
	if v.o.State == nil || v.o.Every <= 0 {
		return
	}
	for ; v.tick <= until && !v.over; v.tick += v.o.Every {
		sent := v.sent
		for sent < len(v.jobs) && v.jobs[sent].At <= v.tick {
			sent++
		}
		kv := v.sched.kv
		v.over = !v.o.State(Load{At: v.tick, Running: len(v.sched.running), Waiting: len(v.sched.waiting) + sent - v.sent,
			KVUsage: 1 - float64(kv.available())/float64(max(kv.total, 1)), Preemptions: v.sched.totals.preemptions, Sent: sent, Done: v.done})
		if v.over {
			v.now = max(v.now, v.tick)
		}
	}
}

// submit hands over the jobs that have arrived.
func (v *virtual) submit() {
	for v.sent < len(v.jobs) && v.jobs[v.sent].At <= v.now {
		i := v.sent
		v.sent++
		j := v.jobs[i]
		if !v.sched.fits(j.Input, j.Output) {
			v.served[i].Refused = true
			v.end(i)
			continue
		}
		s := &v.served[i]
		v.sched.submit(&request{
			id: strconv.Itoa(i), key: uint64(i), input: j.Input, output: max(j.Output, 1), arrived: epoch.Add(j.At),
			sink: func(tokens int, at time.Time, done bool) {
				if s.Last = at.Sub(epoch); s.First == 0 {
					s.First = s.Last
				}
				s.Refused = done && tokens == 0
				if done {
					v.end(i)
				}
			},
		})
	}
}

func (v *virtual) end(job int) {
	v.done++
	if v.o.Ended != nil && !v.o.Ended(job, v.served[job]) {
		v.over = true
	}
}
