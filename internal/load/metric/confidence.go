package metric

import (
	"fmt"
	"math"
	"slices"

	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/stat"
)

// latencySeries holds a latency of the successful requests in the order of their
// arrivals, and the same values sorted once NewDist has run.
type latencySeries struct {
	name    string // as in the names of figures
	ordered []float64
	sorted  []float64
}

// series are the latencies that have intervals and show steadiness.
func (t *tally) series() []latencySeries {
	of := func(name string, x []float64) latencySeries { return latencySeries{name, slices.Clone(x), x} }
	return []latencySeries{of("ttft_ms", t.ttft), of("tpot_ms", t.tpot), of("e2e_ms", t.e2e)}
}

// steadiness judges TTFT, in which a growing queue shows first, and TPOT, in which
// a growing batch does; E2E only where nothing was streamed, because it varies with
// the lengths asked for.
func steadiness(series []latencySeries) *Steady {
	if len(series[0].ordered) > 0 {
		series = series[:2]
	}
	var worst *Steady
	for _, s := range series {
		if len(s.ordered) == 0 {
			continue
		}
		if w := newSteady(s.name, stat.CheckWindow(s.ordered)); worst == nil || w.worse(worst) {
			worst = w
		}
	}
	return worst
}

func newSteady(figure string, w stat.Window) *Steady {
	s := &Steady{Verdict: string(w.Verdict)}
	if w.Verdict == stat.Unknown {
		return s
	}
	s.Figure, s.P, s.Drift = figure, &w.P, &w.Drift
	if w.Transient > 0 {
		s.Transient, s.Shift, s.AfterTransient = &w.Transient, &w.Shift, w.AfterTransient
	}
	return s
}

// worse orders verdicts by what they say against the figures, then by p.
func (s *Steady) worse(than *Steady) bool {
	rank := func(s *Steady) int {
		return slices.Index([]stat.Steadiness{stat.Unknown, stat.Steady, stat.Transient, stat.Drifting}, stat.Steadiness(s.Verdict))
	}
	if a, b := rank(s), rank(than); a != b {
		return a > b
	}
	return s.P != nil && *s.P < *than.P
}

func (s *Steady) warnings() []Warning {
	if s == nil {
		return nil
	}
	switch stat.Steadiness(s.Verdict) {
	case stat.Drifting:
		text := fmt.Sprintf("%s %s by %.0f %% over the measured window (Mann-Kendall p = %.2g): the figures depend on how long was measured", s.Figure, direction(*s.Drift), 100*math.Abs(*s.Drift), *s.P)
		if s.AfterTransient {
			text += fmt.Sprintf("; after the first %d requests it is steady: warm up with so many", *s.Transient)
		} else {
			text += "; lower the load or measure for longer"
		}
		return []Warning{{"no-steady-state", text}}
	case stat.Transient:
		return []Warning{{"no-steady-state", fmt.Sprintf("%s of the first %d requests differs by %+.0f %% from the rest: warm up with so many", s.Figure, *s.Transient, 100**s.Shift)}}
	}
	return nil
}

func direction(drift float64) string {
	if drift < 0 {
		return "falls"
	}
	return "rises"
}

// Fewest values for an interval: of a mean and of a rate. A rate is judged by 20
// batches of time, of which most would be empty with fewer requests.
const (
	meanNeeds = 10
	rateNeeds = 20
)

// levels are the percentiles that have intervals.
var levels = []struct {
	name string
	q    float64
}{{"p50_", 0.5}, {"p90_", 0.9}, {"p95_", 0.95}, {"p99_", 0.99}}

// intervals are those of the latencies, rates and shares that s holds.
func (t *tally) intervals(s *Summary, series []latencySeries) map[string]Interval {
	m := map[string]Interval{}
	for _, x := range series {
		if len(x.ordered) == 0 {
			continue
		}
		m["mean_"+x.name] = meanInterval(x.ordered)
		for _, l := range levels {
			m[l.name+x.name] = quantileInterval(x, l.q)
		}
	}
	t.rateIntervals(s, m)
	if s.SuccessRate != nil {
		m["success_rate"] = shareInterval(t.isOK)
	}
	if s.Attainment != nil {
		m["attainment"] = shareInterval(t.isGood)
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

func meanInterval(x []float64) Interval {
	i := Interval{N: len(x), Effective: int(stat.EffectiveSize(x))}
	if _, ci, ok := stat.BatchMeans(x, stat.Level); ok {
		i.CI = &[2]float64{ci.Low, ci.High}
	} else {
		i.Needs = meanNeeds
	}
	return i
}

func quantileInterval(x latencySeries, q float64) Interval {
	e := stat.QuantileInterval(x.ordered, x.sorted, q, stat.Level)
	i := Interval{N: len(x.ordered), Effective: int(e.Effective)}
	if e.OK {
		i.CI = &[2]float64{e.Interval.Low, e.Interval.High}
	} else {
		i.Needs = e.Needs
	}
	return i
}

// shareInterval is Wilson's, by the effective size of the series.
func shareInterval(is []bool) Interval {
	x := make([]float64, len(is))
	sum := 0.0
	for k, yes := range is {
		if yes {
			x[k] = 1
			sum++
		}
	}
	n := stat.EffectiveSize(x)
	ci := stat.Wilson(sum/float64(len(x))*n, n, stat.Level)
	return Interval{CI: &[2]float64{ci.Low, ci.High}, N: len(x), Effective: int(n)}
}

// rateBins are the parts of the duration whose counts make the series of a rate;
// batch means put them together to 20.
const rateBins = 400

// rateIntervals judges rates by what was finished in each part of the duration,
// counted from the first send. The output tokens of a request are spread evenly
// between its first text and its end, those of its prompt between its send and its
// first text.
func (t *tally) rateIntervals(s *Summary, m map[string]Interval) {
	if s.RequestThroughput == nil {
		return
	}
	b := bins{start: t.firstSend, width: s.DurationS * second / rateBins}
	var requests, output, total, good [rateBins]float64
	for _, r := range t.ok {
		end := lastInstant(r)
		if end == sample.Never {
			continue
		}
		first := r.FirstText
		if first == sample.Never {
			first = end
		}
		requests[b.of(end)]++
		b.spread(output[:], first, end, float64(r.OutputTokens))
		b.spread(total[:], first, end, float64(r.OutputTokens))
		b.spread(total[:], r.Send, first, float64(r.InputTokens))
	}
	for _, end := range t.goodEnds {
		good[b.of(end)]++
	}
	for _, x := range []struct {
		name   string
		figure *float64
		perBin []float64
	}{
		{"request_throughput_rps", s.RequestThroughput, requests[:]}, {"goodput_rps", s.Goodput, good[:]},
		{"output_token_throughput_tps", s.OutputTokenThroughput, output[:]},
		{"total_token_throughput_tps", s.TotalTokenThroughput, total[:]},
	} {
		if x.figure != nil {
			m[x.name] = rateInterval(x.perBin, b.width, t.counts.Succeeded)
		}
	}
}

// bins cut time, in ns, into rateBins parts; what lies outside belongs to the
// first or the last.
type bins struct {
	start int64
	width float64
}

func (b bins) of(at int64) int {
	return min(rateBins-1, max(0, int(float64(at-b.start)/b.width)))
}

func (b bins) spread(into []float64, from, to int64, amount float64) {
	first, last := b.of(from), b.of(to)
	each := amount / float64(last-first+1)
	for k := first; k <= last; k++ {
		into[k] += each
	}
}

func rateInterval(perBin []float64, widthNs float64, n int) Interval {
	i := Interval{N: n}
	if n < rateNeeds {
		i.Needs = rateNeeds
		return i
	}
	_, ci, _ := stat.BatchMeans(perBin, stat.Level)
	perSecond := second / widthNs
	i.CI = &[2]float64{max(0, ci.Low*perSecond), ci.High * perSecond}
	return i
}
