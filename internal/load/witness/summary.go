package witness

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/metric"
)

// Context is what the readings are held against.
type Context struct {
	Client   Totals
	Duration time.Duration // of the trial
	// Intended is the prefix-hit rate that the workload means; nil = unknown, and
	// nothing is judged.
	Intended *float64
}

// Verdict is what follows from both witnesses.
type Verdict struct {
	Server *metric.Server // nil = neither server nor GPUs told anything
	// Invalid says why the trial is no measurement; "" = nothing speaks against it.
	Invalid  string
	Warnings []metric.Warning
}

func (v *Verdict) warn(code, format string, args ...any) {
	v.Warnings = append(v.Warnings, metric.Warning{Code: code, Message: fmt.Sprintf(format, args...)})
}

// Summarise holds a record against the client's figures. It is a pure function.
func Summarise(r Record, c Context) Verdict {
	var v Verdict
	s := &metric.Server{GPUBy: r.GPUTool}
	a := accounts(r.Readings)
	if r.Has && len(r.Readings) > 0 && !r.Readings[0].ok() && !r.Readings[0].absent {
		v.warn("no-server-metrics", "the server's own metrics are missing: %s", r.Readings[0].Error)
	}
	if r.GPUProblem != "" {
		v.warn("no-gpu-telemetry", "the GPUs did not tell their power and clocks: %s", r.GPUProblem)
	}
	for i := range r.Readings {
		if r.Readings[i].ok() {
			s.Readings++
		}
	}
	s.Restarts = a.restarts
	if a.restarts > 0 {
		v.warn("server-restarted", "counters of the server began anew %d times within the trial: what it counted before that, after the reading before, is lost", a.restarts)
	}
	span := spanS(r.Readings)
	fill(s, a, r.Readings, span)
	v.judge(s, a, c)
	v.gpus(s, r, c)
	s.Series = series(r.Readings)
	if s.Readings > 0 || len(s.GPUs) > 0 || s.PrefixHitRate != nil {
		v.Server = s
	}
	return v
}

func accounts(readings []Reading) *account {
	a := &account{counters: map[engine.Quantity]*counter{}, histograms: map[engine.Quantity]*histogram{}}
	first := true
	for i := range readings {
		if !readings[i].ok() {
			continue
		}
		for q, series := range readings[i].full.Series {
			if a.counters[q] == nil {
				a.counters[q] = &counter{seen: !first} // a series that appears began at 0
			}
			a.counters[q].add(series)
		}
		for q, series := range readings[i].full.Histograms {
			if a.histograms[q] == nil {
				a.histograms[q] = &histogram{seen: !first}
			}
			a.histograms[q].add(series)
		}
		first = false
	}
	for _, c := range a.counters {
		a.restarts = max(a.restarts, c.resets)
	}
	for _, h := range a.histograms {
		a.restarts = max(a.restarts, h.resets)
	}
	return a
}

// spanS is the time between the first and the last reading with values.
func spanS(readings []Reading) float64 {
	first, last := math.NaN(), math.NaN()
	for i := range readings {
		if readings[i].ok() {
			if last = readings[i].AtMs; math.IsNaN(first) {
				first = last
			}
		}
	}
	if math.IsNaN(first) {
		return 0
	}
	return (last - first) / msPerS
}

// judge reconciles and checks the cache.
func (v *Verdict) judge(s *metric.Server, a *account, c Context) {
	s.Reconciled = a.reconcile(c.Client)
	var against []string
	for _, d := range s.Reconciled {
		if d.OutOfBound {
			against = append(against, contradiction(d))
		}
	}
	if len(against) > 0 {
		v.warn("witnesses-differ", "%s", strings.Join(against, "; "))
	}
	s.IntendedHitRate = c.Intended
	rate, by, ok := a.hitRate(c.Client)
	if !ok {
		return
	}
	s.PrefixHitRate, s.PrefixHitBy = &rate, by
	if c.Intended == nil {
		return
	}
	prompt := 0.0
	if c.Client.InputTokens != nil && c.Client.Succeeded > 0 {
		prompt = float64(*c.Client.InputTokens) / float64(c.Client.Succeeded)
	}
	v.Invalid = contaminated(rate, *c.Intended, prompt, by)
	if rate < *c.Intended-hitTolerance {
		v.warn("prefix-cache-colder", "the prefix cache held %.0f %% of the prompt tokens (%s), the workload means %.0f %%: it is switched off, too small, or its entries were evicted", 100*rate, by, 100**c.Intended)
	}
}

// fill puts in gauges, counters and histograms, in the order of the quantities.
func fill(s *metric.Server, a *account, readings []Reading, span float64) {
	for _, q := range engine.Quantities() {
		c, h := a.counters[q], a.histograms[q]
		switch {
		case c != nil:
			x := metric.ServerCounter{Quantity: string(q), Increase: c.rise}
			if span > 0 {
				x.PerS = c.rise / span
			}
			s.Counters = append(s.Counters, x)
		case h != nil && h.gained != nil && h.gained.Count > 0:
			s.Histograms = append(s.Histograms, dist(q, *h.gained))
		case !q.Counter() && !q.Histogram():
			if x := gaugeOf(within(readings), q); len(x) > 0 {
				s.Gauges = append(s.Gauges, metric.ServerGauge{Quantity: string(q), Mean: *mean(x), Max: *most(x), Last: x[len(x)-1]})
			}
		}
	}
	s.AcceptLength, s.AcceptanceRate = acceptance(a, readings)
}

// within are the readings during the load: the first and the last find the
// server idle.
func within(readings []Reading) []Reading {
	if len(readings) < 3 {
		return nil
	}
	return readings[1 : len(readings)-1]
}

func gaugeOf(readings []Reading, q engine.Quantity) (x []float64) {
	for i := range readings {
		if v, ok := readings[i].Values[q]; ok {
			x = append(x, v)
		}
	}
	return x
}

// acceptance is what speculative decoding yielded: from counters where there are
// some, else the last that a gauge said, which holds from the server's start.
func acceptance(a *account, readings []Reading) (length, rate *float64) {
	accepted, told := a.rise(engine.QuantityAcceptedTokens)
	if drafts, ok := a.rise(engine.QuantityDrafts); ok && told && drafts > 0 {
		x := 1 + accepted/drafts
		length = &x
	}
	if drafted, ok := a.rise(engine.QuantityDraftTokens); ok && told && drafted > 0 {
		x := accepted / drafted
		rate = &x
	}
	if x := gaugeOf(readings, engine.QuantityAcceptLength); length == nil && len(x) > 0 && x[len(x)-1] >= 1 {
		length = &x[len(x)-1]
	}
	return length, rate
}

// throttledShare is the share of samples with slowed clocks above which a reader
// must know.
const throttledShare = 0.1

func (v *Verdict) gpus(s *metric.Server, r Record, c Context) {
	all := tracks(r.Readings)
	for _, t := range all {
		g := t.sum()
		s.GPUs = append(s.GPUs, g)
		for _, x := range g.Throttled {
			if x.Share > throttledShare && x.Reason != powerCap {
				v.warn("gpu-throttled", "GPU %d: %s slowed its clocks in %.0f %% of the samples: figures of this trial are those of a slower GPU", g.Index, x.Reason, 100*x.Share)
			}
		}
	}
	s.Energy = energy(all, c.Duration.Seconds(), c.Client)
}

// seriesPoints bounds the points of a series; longer ones are thinned to their
// largest value in each stretch.
const seriesPoints = 120

// drawn are the quantities that are kept over time; the file of readings has all.
var drawn = []engine.Quantity{
	engine.QuantityRunning, engine.QuantityWaiting, engine.QuantityKVUsage, engine.QuantityPromptTokens, engine.QuantityComputedTokens,
	engine.QuantityCachedTokens, engine.QuantityGenerationTokens, engine.QuantityPreemptions,
}

// series are the quantities over time, gauges as they stood and counters as
// rates between readings.
func series(readings []Reading) []metric.ServerSeries {
	if len(within(readings)) == 0 {
		return nil // nothing was seen between the idle ends
	}
	var out []metric.ServerSeries
	put := func(name, unit string, points [][2]float64) {
		if len(points) > 1 {
			line := metric.ServerSeries{Name: name, Unit: unit}
			for _, p := range thin(points) {
				line.AtS, line.Values = append(line.AtS, rounded(p[0])), append(line.Values, rounded(p[1]))
			}
			out = append(out, line)
		}
	}
	for _, q := range drawn {
		if q.Counter() {
			put(string(q), "1/s", rates(readings, q))
		} else {
			put(string(q), "", levels(readings, q))
		}
	}
	for _, t := range tracks(readings) {
		points := make([][2]float64, len(t.at))
		for i := range t.at {
			points[i] = [2]float64{t.at[i], t.power[i]}
		}
		put(fmt.Sprintf("gpu_%d_power", t.index), "W", points)
	}
	return out
}

func levels(readings []Reading, q engine.Quantity) (points [][2]float64) {
	for i := range readings {
		if v, ok := readings[i].Values[q]; ok {
			points = append(points, [2]float64{readings[i].AtMs / msPerS, v})
		}
	}
	return points
}

func rates(readings []Reading, q engine.Quantity) (points [][2]float64) {
	var c counter
	var at, was float64
	for i := range readings {
		series, ok := readings[i].full.Series[q]
		if !ok {
			continue
		}
		first := !c.seen
		c.add(series)
		if now := readings[i].AtMs / msPerS; !first && now > at {
			points = append(points, [2]float64{now, (c.rise - was) / (now - at)})
			at, was = now, c.rise
		} else if first {
			at = now
		}
	}
	return points
}

func thin(points [][2]float64) [][2]float64 {
	step := (len(points) + seriesPoints - 1) / seriesPoints
	if step <= 1 {
		return points
	}
	var out [][2]float64
	for part := range slices.Chunk(points, step) {
		out = append(out, slices.MaxFunc(part, func(a, b [2]float64) int {
			switch {
			case a[1] < b[1]:
				return -1
			case a[1] > b[1]:
				return 1
			}
			return 0
		}))
	}
	return out
}

// rounded keeps five digits, which no drawing shows.
func rounded(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 5, 64), 64)
	return v
}
