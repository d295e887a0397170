package replay

import (
	"fmt"
	"slices"
)

// Word is a verdict.
type Word string

// The verdicts. What is sought is the trouble that the recording shows: requests
// that did not end, or were aborted; where all ended, how long they took and what
// greedy ones answered.
const (
	Reproduced    Word = "reproduced"
	NotReproduced Word = "not_reproduced"
	Different     Word = "different" // another trouble than the recorded one
	Undecided     Word = "undecided" // nothing recorded to hold it against
)

// Criterion is one thing that was held against the recording.
type Criterion struct {
	Name     string `json:"name"`
	Recorded string `json:"recorded"`
	Now      string `json:"now"`
	Says     Word   `json:"says"` // what it alone would say
}

// The band in which a time counts as the recorded one: within a factor of two.
// A proposal, not calibrated on real incidents.
const timeBand = 2.0

// leastTimes is how many times a percentile of them needs; below it the largest
// one is compared.
const leastTimes = 10

// Judge says whether the recorded trouble came back. It is a pure function of the
// figures.
func Judge(r *Run, o Options) {
	r.Criteria = []Criterion{r.judgeEnds(), r.judgeTimes(o), r.judgeText()}
	ends, times, text := r.Criteria[0], r.Criteria[1], r.Criteria[2]
	why := ends
	switch {
	case ends.Says != Undecided: // trouble then or now: nothing else is asked
	case text.Says == Different:
		why = text
	case times.Says != Undecided:
		why = times
	default:
		why = text
	}
	r.Verdict = why.Says
	r.Reason = fmt.Sprintf("%s: %s; now %s", why.Name, why.Recorded, why.Now)
}

// judgeEnds compares which requests ended well.
func (r *Run) judgeEnds() Criterion {
	c := Criterion{Name: "ends", Says: Undecided}
	then, now, both := 0, 0, 0
	for i := range r.Requests {
		o := &r.Requests[i]
		was := o.Recorded != nil && bad(o.Recorded)
		if was {
			then++
		}
		if !o.OK {
			now++
			if was {
				both++
			}
		}
	}
	c.Recorded = fmt.Sprintf("%d of %d recorded requests did not end well", then, r.Recorded.Known)
	if r.Recorded.Known == 0 {
		c.Recorded = "no outcome was recorded"
	}
	c.Now = fmt.Sprintf("%d of %d failed", now, len(r.Requests))
	if r.Died {
		c.Now += ", and the server died"
	}
	switch {
	case r.Recorded.Known == 0:
	case then == 0 && now == 0 && !r.Died:
	case then == 0:
		c.Says = Different
	case both > 0 || r.Died:
		c.Says = Reproduced
		c.Now += fmt.Sprintf(", %d of them the recorded ones", both)
	case now == 0:
		c.Says = NotReproduced
	default:
		c.Says = Different
		c.Now += ", none of them a recorded one"
	}
	return c
}

// judgeTimes compares how long the requests took that ended well both times.
func (r *Run) judgeTimes(o Options) Criterion {
	c := Criterion{Name: "times", Says: Undecided}
	var was, now []float64
	for i := range r.Requests {
		x := &r.Requests[i]
		if x.Ratio != nil {
			was, now = append(was, 1000**x.Recorded.ElapsedSeconds), append(now, *x.E2EMs)
		}
	}
	if len(was) == 0 {
		c.Recorded, c.Now = "no time was recorded", "nothing to compare"
		return c
	}
	a, b, name := high(was)
	x, _, _ := high(now)
	c.Recorded, c.Now = fmt.Sprintf("%s %.4g ms of %d requests", name, a, len(was)), fmt.Sprintf("%.4g ms", x)
	if !b || o.speed() != 1 || o.Concurrency > 0 {
		c.Now += ", under another load than recorded"
		return c
	}
	switch {
	case x > timeBand*a:
		c.Says = Different
		c.Now += ", more than twice as long"
	case x*timeBand < a:
		c.Says = NotReproduced
		c.Now += ", less than half as long"
	default:
		c.Says = Reproduced
		c.Now += ", within a factor of two"
	}
	return c
}

// high is the p90 of times, or the largest of few.
func high(x []float64) (v float64, ok bool, name string) {
	d := dist(slices.Clone(x))
	if len(x) < leastTimes {
		return d.Max, d.Max > 0, "largest time"
	}
	return d.P90, d.P90 > 0, "p90 time"
}

// judgeText compares what greedy requests answered.
func (r *Run) judgeText() Criterion {
	c := Criterion{Name: "text", Says: Undecided}
	if r.Text.Compared == 0 {
		c.Recorded, c.Now = "no greedy answer was recorded", "nothing to compare"
		return c
	}
	c.Recorded = fmt.Sprintf("the text of %d greedy answers", r.Text.Compared)
	c.Now = fmt.Sprintf("%d of them the same", r.Text.Same)
	c.Says = Reproduced
	if r.Text.Same < r.Text.Compared {
		c.Says = Different
	}
	return c
}

// Together is the verdict over several replays: one that reproduced is enough.
func Together(runs []*Run) Word {
	for _, w := range []Word{Reproduced, Different, NotReproduced} {
		if slices.ContainsFunc(runs, func(r *Run) bool { return r.Verdict == w }) {
			return w
		}
	}
	return Undecided
}
