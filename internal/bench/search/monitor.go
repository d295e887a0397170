package search

import (
	"fmt"
	"math"

	"llmdyno/internal/load/stat"
)

// Verdict is what a load point says of its targets.
type Verdict struct {
	// Decision is that of the sequential test: undecided at the budget means that
	// the share is too near to its target to be told from it, and the share as
	// seen decides.
	Decision stat.Decision `json:"decision"`
	// Holds says that every share as seen reaches its target.
	Holds bool `json:"holds"`
	// By says what ended the load point: "interval", "misses", "backlog", or
	// "budget" where every request was sent.
	By       string     `json:"by"`
	Reason   string     `json:"reason,omitempty"`  // in words, where the point fails
	Binding  string     `json:"binding,omitempty"` // the target that is kept with the smallest margin, or broken
	Shares   []Attained `json:"shares,omitempty"`
	Requests int        `json:"requests"` // ended
	Seconds  float64    `json:"seconds"`  // of the load point
}

// Passed says that the point counts as passing.
func (v Verdict) Passed() bool {
	return v.Decision == stat.Pass || v.Decision == stat.Undecided && v.Holds
}

// Attained is the share of requests that kept a target, with the interval that
// is valid at any time of looking.
type Attained struct {
	Target string  `json:"target"`
	Wanted float64 `json:"wanted"`
	Good   int     `json:"good"`
	N      int     `json:"n"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// Share is good over all; NaN without requests.
func (a Attained) Share() float64 { return float64(a.Good) / float64(a.N) }

// The figures of a Monitor.
const (
	checkEvery   = 10  // requests between two looks at the intervals, at least
	looks        = 32  // at the intervals of one load point, at most
	leastEnded   = 30  // requests before the first look
	backlogAlpha = .01 // Mann-Kendall, two-sided
	backlogLeast = 20  // samples of the backlog
	backlogMost  = 240 // samples kept; beyond, every other one goes
	backlogLag   = 5   // lags of the correction for autocorrelation
	// backlogRise is the least growth over the window, in parts of its median, and
	// keptUp the share of arrivals that a server completes which still keeps up:
	// a long window would else show growth that does not matter.
	backlogRise = 0.5
	keptUp      = 0.9
	// leastArrived is the number of arrivals in the window from which it is tested.
	leastArrived = 50
	backlogLooks = 3 // in succession that must see growth
)

// Monitor follows one load point and says when it has said enough. It is a pure
// function of what it is told; instants are seconds since the start.
type Monitor struct {
	Targets []Target
	Planned int // requests of the load point
	// Rate is the offered rate, requests/s; 0 = none. A burst above it is no
	// reproach to a server.
	Rate float64
	// Whole: the point is measured in full when it may pass; only a hopeless one
	// ends early.
	Whole bool
	// Least is the share of the planned requests that must have ended before a
	// point may pass early; what is overloaded by little passes in the beginning.
	Least float64

	good    []int
	series  [][]float64
	ended   int
	at      float64 // last instant
	e2eMs   float64 // sum of those that succeeded
	ok      int
	ticks   []tick
	skip, n int // of the ticks: keep one in skip
	grows   int // looks in succession that saw the backlog grow
	verdict *Verdict
}

type tick struct {
	at         float64
	sent, done int
}

// Ended takes in the end of a request, and says whether the point has ended.
func (m *Monitor) Ended(at float64, e Ended) bool {
	if m.verdict != nil {
		return true
	}
	if m.good == nil {
		m.good, m.series = make([]int, len(m.Targets)), make([][]float64, len(m.Targets))
	}
	m.at = max(m.at, at)
	m.count(e)
	m.misses()
	if m.verdict == nil && m.ended >= leastEnded && m.ended%max(checkEvery, m.Planned/looks) == 0 {
		m.look()
	}
	return m.verdict != nil
}

func (m *Monitor) count(e Ended) {
	m.ended++
	if e.OK && !math.IsNaN(e.E2EMs) {
		m.ok, m.e2eMs = m.ok+1, m.e2eMs+e.E2EMs
	}
	for i, t := range m.Targets {
		good, counts := t.keeps(e)
		if !counts {
			continue
		}
		v := 0.0
		if good {
			m.good[i], v = m.good[i]+1, 1
		}
		m.series[i] = append(m.series[i], v)
	}
}

// Tick takes in how many requests were sent and have ended by an instant; call
// it at even distances.
func (m *Monitor) Tick(at float64, sent, done int) bool {
	if m.verdict != nil {
		return true
	}
	m.at = max(m.at, at)
	if m.n++; m.skip > 1 && m.n%m.skip != 0 {
		return false
	}
	if m.ticks = append(m.ticks, tick{at, sent, done}); len(m.ticks) > backlogMost {
		for i := range len(m.ticks) / 2 {
			m.ticks[i] = m.ticks[2*i+1]
		}
		m.ticks, m.skip = m.ticks[:len(m.ticks)/2], max(2, 2*m.skip)
	}
	if len(m.ticks)%5 == 0 && sent < m.Planned {
		m.backlog()
	}
	return m.verdict != nil
}

// Verdict is what the point says: as soon as it has ended early, else of all
// that it was told.
func (m *Monitor) Verdict() Verdict {
	if m.verdict == nil {
		m.close(stat.Undecided, "budget", "")
		m.verdict.Decision = m.decide()
		if !m.verdict.Holds {
			m.verdict.Reason = m.broken()
		}
	}
	return *m.verdict
}

// gate is the test of a target, with as many requests as one counts for: those
// that are in the batch together are good or bad together, so there are never
// more independent ones than residence times have passed, nor than the series
// itself shows.
func (m *Monitor) gate(i int) stat.Gate {
	n := float64(len(m.series[i]))
	pieces := stat.EffectiveSize(m.series[i])
	if m.e2eMs > 0 {
		pieces = min(pieces, m.at/(m.e2eMs/float64(m.ok)/1000))
	}
	return stat.Gate{Target: m.Targets[i].Share, Budget: m.Planned, Design: max(1, n/max(1, pieces))}
}

func (m *Monitor) state(i int) stat.State {
	return m.gate(i).Check(m.good[i], len(m.series[i])-m.good[i])
}

// decide joins the tests: one that fails fails the point, all must pass.
func (m *Monitor) decide() stat.Decision {
	all := stat.Pass
	for i := range m.Targets {
		if m.good == nil || len(m.series[i]) == 0 {
			return stat.Undecided
		}
		switch m.state(i).Decision {
		case stat.Fail:
			return stat.Fail
		case stat.Undecided:
			all = stat.Undecided
		}
	}
	if len(m.Targets) == 0 {
		return stat.Undecided
	}
	return all
}

func (m *Monitor) look() {
	switch m.decide() {
	case stat.Fail:
		m.close(stat.Fail, "interval", m.broken())
	case stat.Pass:
		if !m.Whole && float64(m.ended) >= m.Least*float64(m.Planned) && !m.growing() {
			m.close(stat.Pass, "interval", "")
		}
	}
}

// misses ends a point that cannot reach a target any more, were every request
// that is left a good one.
func (m *Monitor) misses() {
	for i, t := range m.Targets {
		bad := len(m.series[i]) - m.good[i]
		allowed := int(math.Floor((1-t.Share)*float64(m.Planned) + 1e-9))
		if bad > allowed && m.ended >= leastEnded {
			m.close(stat.Fail, "misses", fmt.Sprintf("%d requests broke %s, %d of %d may", bad, t.Name, allowed, m.Planned))
			return
		}
	}
}

func (m *Monitor) backlog() {
	if !m.growing() {
		m.grows = 0
		return
	}
	if m.grows++; m.grows < backlogLooks {
		return
	}
	last := m.ticks[len(m.ticks)-1]
	m.close(stat.Fail, "backlog", fmt.Sprintf("the backlog grows: %d requests in flight after %.0f s, and the server completes less than arrives", last.sent-last.done, last.at))
}

// growing tests the requests in flight for growth, the filling up at the start
// left out: it takes the time of about two requests.
func (m *Monitor) growing() bool {
	if m.ok == 0 {
		return false
	}
	from := 2 * m.e2eMs / float64(m.ok) / 1000
	var x []float64
	var first tick
	for _, t := range m.ticks {
		if t.at < from {
			continue
		}
		if len(x) == 0 {
			first = t
		}
		x = append(x, float64(t.sent-t.done))
	}
	if len(x) < backlogLeast {
		return false
	}
	last := m.ticks[len(m.ticks)-1]
	sent := float64(last.sent - first.sent)
	if m.Rate > 0 {
		sent = min(sent, m.Rate*(last.at-first.at))
	}
	if float64(last.done-first.done) >= keptUp*sent || sent < leastArrived {
		return false
	}
	t, _ := stat.MannKendall(stat.Blocks(x, 60, func(b []float64) float64 { return b[len(b)-1] }), backlogLag)
	z := t.Z / math.Sqrt(max(1, 1/t.Correction)) // never more likely than independence
	n := float64(min(len(x), 60))
	return t.Slope > 0 && math.Erfc(z/math.Sqrt2) < backlogAlpha && t.Slope*n >= backlogRise*stat.Median(x)
}

// broken names the target that is missed most, in words.
func (m *Monitor) broken() string {
	i := m.binding()
	if i < 0 {
		return "no request has ended"
	}
	t := m.Targets[i]
	return fmt.Sprintf("%.1f %% of %d requests keep %s, %.4g %% must", 100*float64(m.good[i])/float64(max(1, len(m.series[i]))), len(m.series[i]), t.Name, 100*t.Share)
}

// binding is the target whose share is nearest to what is wanted, or furthest
// below, in units of the misses allowed; -1 = none.
func (m *Monitor) binding() int {
	best, margin := -1, math.Inf(1)
	for i, t := range m.Targets {
		if m.good == nil || len(m.series[i]) == 0 {
			continue
		}
		share := float64(m.good[i]) / float64(len(m.series[i]))
		if d := (share - t.Share) / max(1-t.Share, 1e-9); d < margin {
			best, margin = i, d
		}
	}
	return best
}

func (m *Monitor) close(d stat.Decision, by, reason string) {
	v := &Verdict{Decision: d, By: by, Reason: reason, Requests: m.ended, Seconds: m.at, Holds: m.ended > 0}
	for i, t := range m.Targets {
		if m.good == nil {
			break
		}
		s := m.state(i)
		a := Attained{Target: t.Name, Wanted: t.Share, Good: m.good[i], N: len(m.series[i]), Low: s.Interval.Low, High: s.Interval.High}
		v.Shares = append(v.Shares, a)
		v.Holds = v.Holds && a.N > 0 && a.Share() >= a.Wanted
	}
	if i := m.binding(); i >= 0 {
		v.Binding = m.Targets[i].Name
	}
	m.verdict = v
}
