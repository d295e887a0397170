package run

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine"
	"llmdyno/internal/load"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
)

// kindSuffix tells load points of the same rate apart in names.
func kindSuffix(l search.Load) string {
	out := ""
	if l.Kind != "" {
		out = "-" + l.Kind
	}
	if l.Stage > 0 {
		out += fmt.Sprintf("-round-%d", l.Stage)
	}
	return out
}

// freshSeed is what a confirmation adds to the scenario's seed, so that neither
// its prompts nor its arrivals are those of the load points before. After an
// overload they are those of the confirmation.
func freshSeed(l search.Load) uint64 {
	if l.Kind != search.KindConfirm && l.Kind != search.KindAgain {
		return 0
	}
	const apart = 1_000_003 // more than anybody counts seeds up by hand
	return apart * uint64(l.Repeat+1)
}

// arrivalSeed is the seed of the arrivals at a load point.
func (s Scenario) arrivalSeed(l search.Load) uint64 {
	if l.Kind != "" {
		return s.Seed + freshSeed(l)
	}
	return s.Seed + uint64(l.Repeat)
}

// rounds is the number of rounds of the candidate search of an engine.
func (p *Plan) rounds(id engine.ID) int {
	if p.Strategy != search.StrategyHalving {
		return 1
	}
	n := len(p.of(id))
	if p.MaxCandidates > 0 {
		n = min(n, p.MaxCandidates)
	}
	return search.Rounds(n)
}

// watch follows a load point of a ladder while it is measured. A nil watch, of
// another load point, does nothing.
type watch struct {
	mu      sync.Mutex
	monitor search.Monitor
	enough  func()
}

func (r *runner) monitor(st step, requests int) *watch {
	if st.load.Kind == "" || r.plan.Load.Ladder == nil {
		return nil
	}
	return &watch{monitor: search.Monitor{
		Targets: search.Targets(st.scenario.SLA), Planned: requests, Rate: st.load.RateRPS,
		Whole: st.load.Kind == search.KindConfirm || st.load.Kind == search.KindAgain, Least: r.plan.Load.Ladder.Least,
	}}
}

// attach has the watch told of the ends of requests; enough ends the trial.
func (w *watch) attach(t *load.Trial, enough func()) {
	if w == nil {
		return
	}
	w.enough = enough
	t.Ended = func(rec *sample.Record) {
		if rec.Class == sample.ClassCancelled || rec.Class == sample.ClassDropped {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.monitor.Ended(float64(max(rec.Done, 0))/1e9, endedOf(rec)) {
			w.enough()
		}
	}
}

func (w *watch) tick(p load.Progress) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.monitor.Tick(p.Elapsed.Seconds(), p.Sent, p.Done) {
		w.enough()
	}
}

// endedOf are the latencies of a request as metric defines them.
func endedOf(rec *sample.Record) search.Ended {
	e := search.Ended{OK: rec.OK(), TTFTMs: math.NaN(), TPOTMs: math.NaN(), E2EMs: math.NaN()}
	if !e.OK || rec.FirstText == sample.Never || rec.LastChoices == sample.Never {
		return e
	}
	e.TTFTMs, e.E2EMs = float64(rec.FirstText-rec.Send)/1e6, float64(rec.LastChoices-rec.Send)/1e6
	if rec.OutputTokens > 1 {
		e.TPOTMs = (e.E2EMs - e.TTFTMs) / float64(rec.OutputTokens-1)
	}
	return e
}

// measuredRecords leaves out the requests that ending a load point early cut off:
// they are none of its failures.
func measuredRecords(records []sample.Record) []sample.Record {
	return slices.DeleteFunc(slices.Clone(records), func(r sample.Record) bool {
		return r.Class == sample.ClassCancelled || r.Class == sample.ClassDropped
	})
}

// judge writes down what the watch saw. A test that failed fails the point, also
// where the figures of the requests that had ended would still pass: a backlog
// breaks the limits of requests that are yet to come.
func (w *watch) judge(t *Trial) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.monitor.Verdict()
	t.Verdict, t.Point.EndedBy = &v, v.By
	if v.By != "budget" {
		t.warnOnce("ended-early", fmt.Sprintf("the load point was ended after %d of %d requests: %s", v.Requests, w.monitor.Planned, cmp.Or(v.Reason, "its limits are met with 95 % confidence")))
	}
	p := &t.Point
	if p.Status == result.StatusOK && p.Passed && !v.Passed() && v.By != "budget" {
		p.Passed, p.Violations = false, append(p.Violations, v.Reason)
	}
	if !p.Passed || p.Invalid != "" {
		t.Reason = serverReason(t)
	}
}

// What counts as a full cache, and from how many requests on a queue is one.
const (
	fullCache  = 0.97
	queueLeast = 1
	// stallTimes is how many times the median the slowest gaps between tokens must
	// be to say that something holds the decodes up.
	stallTimes = 4
)

// serverReason says in words what the server showed at a point that failed; "" =
// it told nothing that explains it. The order is that of cause and effect: a full
// cache makes requests wait and be thrown out, and a queue follows.
func serverReason(t *Trial) string {
	if t.Point.Invalid != "" {
		return "client: " + t.Point.Invalid
	}
	kv, waiting, running := gauge(t.Server, engine.QuantityKVUsage), gauge(t.Server, engine.QuantityWaiting), gauge(t.Server, engine.QuantityRunning)
	switch n := counted(t.Server, engine.QuantityPreemptions); {
	case n >= 1:
		return fmt.Sprintf("preemption: %.0f times a running request lost its KV cache to others", n)
	case kv.Max >= fullCache && waiting.Max >= queueLeast:
		return fmt.Sprintf("KV cache full (up to %.0f %%), with up to %.0f requests waiting", 100*kv.Max, waiting.Max)
	case waiting.Mean >= queueLeast && waiting.Last >= waiting.Mean/2:
		return fmt.Sprintf("queue growth: %.0f requests waiting on average, up to %.0f, while %.0f ran", waiting.Mean, waiting.Max, running.Mean)
	}
	if itl := t.Point.Metrics.ITL; stalled(itl) {
		return fmt.Sprintf("prefill stalls: 1 %% of the gaps between tokens are longer than %.0f ms, the median is %.1f ms", *itl.P99, *itl.P50)
	}
	if running.Max > 0 {
		return fmt.Sprintf("no queue and no full cache: a batch of %.0f requests on average is as slow as that", running.Mean)
	}
	return ""
}

func stalled(l result.Latency) bool {
	return l.P50 != nil && l.P99 != nil && *l.P99 >= stallTimes**l.P50
}

func gauge(s *metric.Server, q engine.Quantity) metric.ServerGauge {
	if s != nil {
		for _, g := range s.Gauges {
			if g.Quantity == string(q) {
				return g
			}
		}
	}
	return metric.ServerGauge{}
}

func counted(s *metric.Server, q engine.Quantity) float64 {
	if s != nil {
		for _, c := range s.Counters {
			if c.Quantity == string(q) {
				return c.Increase
			}
		}
	}
	return 0
}

// rateSearch is the end of a row's searches as rows hold it.
func rateSearch(found []search.Found, trials []TrialDone) []result.RateSearch {
	var out []result.RateSearch
	for _, f := range found {
		s := result.RateSearch{
			Confirmed: f.Confirmed, FeasibleAttainment: attainment(f.FeasibleAt), InfeasibleAttainment: attainment(f.InfeasibleAt),
			BindingConstraint: f.Binding, FailsBecause: f.Why, StopReason: f.Reason,
		}
		if f.MaxConcurrency > 0 {
			s.MaxConcurrency = &f.MaxConcurrency
		}
		if f.Feasible > 0 {
			s.FeasibleMax = &f.Feasible
		}
		if f.Infeasible > 0 {
			s.InfeasibleMin = &f.Infeasible
			s.ServerReason = reasonAt(trials, f.Infeasible, f.MaxConcurrency)
		}
		if h := f.Hysteresis; h != nil {
			s.Hysteresis = &result.Hysteresis{OverloadRPS: h.OverloadRPS, Holds: h.Holds, Slower: h.Slower, Attainment: attainment(h.After), Because: h.Why}
		}
		out = append(out, s)
	}
	return out
}

func reasonAt(trials []TrialDone, rate float64, most int) (reason string) {
	for _, t := range trials {
		if t.Load.RateRPS == rate && t.Load.MaxConcurrency == most && t.Trial.Reason != "" {
			reason = t.Trial.Reason
		}
	}
	return reason
}

func attainment(shares []search.Attained) []result.Attainment {
	var out []result.Attainment
	for _, a := range shares {
		if a.N > 0 {
			out = append(out, result.Attainment{Limit: a.Target, Wanted: a.Wanted, Share: a.Share(), Low: a.Low, High: a.High, N: a.N})
		}
	}
	return out
}

// standsFor are the points that may stand for a row: where a ladder found a rate,
// those at the highest one, the confirmations if there are any; where it found
// none, those that failed.
func standsFor(found []search.Found, trials []TrialDone) func(int) bool {
	best := search.Found{}
	ladder := slices.ContainsFunc(trials, func(t TrialDone) bool { return t.Load.Kind != "" })
	for _, f := range found {
		if f.Feasible > best.Feasible {
			best = f
		}
	}
	if !ladder || len(found) == 0 {
		return func(int) bool { return true }
	}
	if best.Feasible == 0 {
		return func(i int) bool { return !eligible(trials[i]) }
	}
	at := func(i int) bool {
		l := trials[i].Load
		return l.RateRPS == best.Feasible && l.MaxConcurrency == best.MaxConcurrency
	}
	if !best.Confirmed {
		return at
	}
	return func(i int) bool { return at(i) && trials[i].Load.Kind == search.KindConfirm && eligible(trials[i]) }
}

func eligible(t TrialDone) bool {
	p := t.Trial.Point
	return p.Status == result.StatusOK && p.Passed && p.Invalid == ""
}
