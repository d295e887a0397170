package result

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"llmdyno/internal/load/stat"
)

// DefaultThreshold is the relative difference from which one matters.
const DefaultThreshold = stat.DefaultThreshold

// threshold is the difference that matters, as the tests of pairs take it.
func (o Options) threshold() float64 { return stat.Options{Threshold: o.Threshold}.Bar() }

// Evidence is what the interval of a difference rests on.
type Evidence string

// The kinds of evidence, the strongest first.
const (
	ByBlocks    Evidence = "blocks"    // both measured in the same blocks: Student's t of the pairs
	ByRepeats   Evidence = "repeats"   // both measured several times: Welch's t
	ByNoise     Evidence = "noise"     // one of them measured once: the spread of the baseline's repeats
	ByIntervals Evidence = "intervals" // measured once: the intervals within the trials, and the assumed noise
	ByAssumed   Evidence = "assumed"   // measured once, without intervals: the assumed noise alone
)

// Difference is one figure of a row against the best row's.
type Difference struct {
	Figure string  `json:"figure"` // key of the figure
	Delta  float64 `json:"delta"`  // relative, -0.1 = 10 % less
	// CI is the two-sided 95 % interval of Delta; absent where nothing tells it.
	CI     *[2]float64 `json:"ci,omitempty"`
	By     Evidence    `json:"by"`
	Trials int         `json:"trials"` // of the side with fewer
	// Real: it exceeds its interval and the threshold. Else it is a tie.
	Real bool `json:"real"`
}

// Noise is the run-to-run noise of a class, from repeats of its baselines.
type Noise struct {
	Figure     string   `json:"figure"`
	Candidates []string `json:"candidates"` // whose repeats were measured
	Trials     int      `json:"trials"`
	SD         float64  `json:"sd"`      // of the logarithm: a relative figure
	SDHigh     float64  `json:"sd_high"` // what it may be, at one-sided 95 %
	// Floor is the smallest relative difference of two single trials that is more
	// than noise.
	Floor float64 `json:"floor"`
}

// Words says what the noise is.
func (n Noise) Words() string {
	return fmt.Sprintf("run-to-run noise of %s: single trials vary by %s (at most %s), so that two of them must differ by more than %s; from %d trials of %s",
		strings.ReplaceAll(n.Figure, "_", " "), roughly(n.SD), roughly(n.SDHigh), roughly(n.Floor), n.Trials, few(n.Candidates, ", "))
}

// roughly is a share in percent with two significant digits.
func roughly(share float64) string {
	x, err := strconv.ParseFloat(strconv.FormatFloat(100*share, 'g', 2, 64), 64)
	if err != nil {
		x = 100 * share
	}
	return strconv.FormatFloat(x, 'f', -1, 64) + " %"
}

// gauge is a figure by which rows are compared.
type gauge struct {
	key   string // of the row's intervals
	lower bool   // less is better
	of    func(Metrics) *float64
}

var (
	byThroughput = gauge{"request_throughput", false, func(m Metrics) *float64 { return m.RequestThroughput }}
	byTokens     = gauge{"output_token_throughput", false, func(m Metrics) *float64 { return m.OutputTokenThroughput }}
)

// byLatency compares a latency by its p50, or by its mean.
func byLatency(name string, mean bool, of func(Metrics) Latency) gauge {
	if mean {
		return gauge{"mean_" + name + "_ms", true, func(m Metrics) *float64 { return of(m).Mean }}
	}
	return gauge{"p50_" + name + "_ms", true, func(m Metrics) *float64 { return of(m).P50 }}
}

// repeat is one measurement of a row's load point.
type repeat struct {
	block int // -1 = in none
	value float64
}

// repeats are the sound measurements of a figure at the chosen load point.
func (g gauge) repeats(r Row) []repeat {
	at := slices.IndexFunc(r.Points, func(p Point) bool { return p.Chosen })
	if at < 0 {
		return nil
	}
	chosen := r.Points[at]
	var out []repeat
	for _, p := range r.Points {
		x, ok := figure(g.of(p.Metrics))
		if !ok || p.Status != StatusOK || p.Invalid != "" || !same(p.RequestRate, chosen.RequestRate) || !same(p.MaxConcurrency, chosen.MaxConcurrency) {
			continue
		}
		block := -1
		if p.Block != nil {
			block = *p.Block
		}
		out = append(out, repeat{block, x})
	}
	return out
}

func values(repeats []repeat) []float64 {
	out := make([]float64, len(repeats))
	for i, r := range repeats {
		out[i] = r.value
	}
	return out
}

// pairs are the values of the blocks in which both were measured.
func pairs(a, b []repeat) (x, y []float64) {
	for _, p := range a {
		at := slices.IndexFunc(b, func(q repeat) bool { return p.block >= 0 && q.block == p.block })
		if at >= 0 {
			x, y = append(x, p.value), append(y, b[at].value)
		}
	}
	return x, y
}

// noise is what the repeats of a class's baselines say of a figure; ok is false
// when none was measured twice.
func (b *comparer) noise(class int, g gauge) (Noise, stat.Noise, bool) {
	key := fmt.Sprint(class, g.key)
	if n, known := b.noises[key]; known {
		return n.told, n.raw, n.ok
	}
	var n classNoise
	var sets [][]float64
	for _, i := range b.members[class] {
		e := &b.entries[i]
		if set := values(g.repeats(e.Row)); e.Row.Baseline && e.Row.Status == StatusOK && e.Outcome != OutcomeSuperseded && len(set) > 1 {
			sets, n.told.Candidates = append(sets, set), append(n.told.Candidates, e.Name)
		}
	}
	if n.raw, n.ok = stat.NoiseFloor(sets...); n.ok {
		n.told.Figure, n.told.Trials, n.told.SD, n.told.SDHigh, n.told.Floor = g.key, n.raw.Trials, n.raw.SD, n.raw.High, n.raw.Floor
	}
	b.noises[key] = n
	return n.told, n.raw, n.ok
}

type classNoise struct {
	told Noise
	raw  stat.Noise
	ok   bool
}

// difference compares a figure that both rows have, from a to other.
func (b *comparer) difference(g gauge, a, other *Entry) Difference {
	x, _ := figure(g.of(a.Row.Metrics))
	y, _ := figure(g.of(other.Row.Metrics))
	d := Difference{Figure: g.key, Delta: y/x - 1, Trials: 1}
	if x == y {
		d.Delta = 0
	}
	o := stat.Options{Threshold: b.threshold, LowerIsBetter: g.lower}
	if b.threshold == 0 {
		o.Threshold = -1
	}
	ra, rb := g.repeats(a.Row), g.repeats(other.Row)
	if p, q := pairs(ra, rb); len(p) > 1 && a.Row.RunID == other.Row.RunID {
		if c, ok := stat.ComparePaired(p, q, o); ok {
			return d.by(ByBlocks, c)
		}
	}
	va, vb := values(ra), values(rb)
	if len(va) > 1 && len(vb) > 1 {
		if c, ok := stat.CompareSets(va, vb, o); ok {
			return d.by(ByRepeats, c)
		}
	}
	if _, noise, ok := b.noise(a.Class, g); ok {
		o.Noise = &noise
		if c, ok := stat.CompareSets(orOne(va, x), orOne(vb, y), o); ok {
			return d.by(ByNoise, c)
		}
	}
	return b.single(g, d, a.Row, other.Row, x, y)
}

func orOne(repeats []float64, own float64) []float64 {
	if len(repeats) == 0 {
		return []float64{own}
	}
	return repeats
}

func (d Difference) by(e Evidence, c stat.Comparison) Difference {
	d.By, d.Delta, d.Trials, d.CI, d.Real = e, c.Delta, c.Trials, &[2]float64{c.Interval.Low, c.Interval.High}, c.Winner != stat.Tie
	return d
}

// single judges two single measurements: the difference must exceed the noise that
// is assumed between runs, and what the trials themselves leave open.
func (b *comparer) single(g gauge, d Difference, a, other Row, x, y float64) Difference {
	d.By = ByAssumed
	bar := max(b.band, b.threshold)
	wa, okA := relativeWidth(a.Metrics, g.key, x)
	wb, okB := relativeWidth(other.Metrics, g.key, y)
	if okA || okB {
		d.By = ByIntervals
		half := math.Hypot(wa, wb)
		if mid := math.Log(y / x); !math.IsNaN(mid) && !math.IsInf(mid, 0) && !math.IsInf(half, 0) {
			d.CI = &[2]float64{math.Expm1(mid - half), math.Expm1(mid + half)}
		}
		d.Real = math.Abs(math.Log(y/x)) > half
	} else {
		d.Real = true
	}
	low, high := min(x, y), max(x, y)
	d.Real = d.Real && low < high*(1-bar)
	return d
}

// relativeWidth is half of the interval of a row's figure, of its logarithm.
func relativeWidth(m Metrics, key string, v float64) (float64, bool) {
	ci := m.Intervals[key].CI
	if ci == nil || v <= 0 {
		return 0, false
	}
	if ci[0] <= 0 {
		return math.Inf(1), true
	}
	return max(math.Log(ci[1]/v), math.Log(v/ci[0]), 0), true
}

// against is +1 when other is better than a for certain, -1 when it is worse, 0
// when neither can be said. A missing figure is worse than a measured one.
func (b *comparer) against(g gauge, a, other *Entry) int {
	_, okX := figure(g.of(a.Row.Metrics))
	_, okY := figure(g.of(other.Row.Metrics))
	switch {
	case okX != okY:
		return -compareBool(okY, okX)
	case !okX:
		return 0
	}
	d := b.difference(g, a, other)
	switch {
	case !d.Real:
		return 0
	case d.Delta > 0 == g.lower:
		return -1
	}
	return +1
}
