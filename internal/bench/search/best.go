package search

import (
	"cmp"
	"math"
	"slices"

	"llmdyno/internal/bench/result"
)

// Best is the index of the point that stands for a candidate: of the points
// that pass and whose client was sound, the one with the highest request
// throughput, then output throughput, then the lower median TTFT and TPOT
// (upstream's ranking rule). Repeats of one load point count by their median:
// only the repeat in the middle is eligible. Where nothing passes it is the
// sound point that comes nearest to the limits. -1 = there is no point.
func Best(points []result.Point, sla result.SLA) int {
	best := -1
	for _, i := range medians(points) {
		if best < 0 || better(points[i], points[best], sla) {
			best = i
		}
	}
	return best
}

// medians keeps one repeat of each load point. With an even number it is the
// slower of the two in the middle.
func medians(points []result.Point) []int {
	type key struct {
		rate float64
		cap  int
	}
	groups := map[key][]int{}
	var order []key
	for i, p := range points {
		k := key{deref(p.RequestRate, 0), 0}
		if p.MaxConcurrency != nil {
			k.cap = *p.MaxConcurrency
		}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], i)
	}
	var out []int
	for _, k := range order {
		out = append(out, middle(points, groups[k]))
	}
	return out
}

// middle is the repeat in the middle of those with the verdict of the majority.
func middle(points []result.Point, repeats []int) int {
	var good, bad []int
	for _, i := range repeats {
		if eligible(points[i]) {
			good = append(good, i)
		} else {
			bad = append(bad, i)
		}
	}
	side := bad
	if len(good) > len(bad) {
		side = good
	}
	slices.SortStableFunc(side, func(a, b int) int {
		return cmp.Compare(throughput(points[a]), throughput(points[b]))
	})
	return side[(len(side)-1)/2]
}

func eligible(p result.Point) bool {
	return p.Status == result.StatusOK && p.Passed && p.Invalid == ""
}

func better(a, b result.Point, sla result.SLA) bool {
	if x, y := eligible(a), eligible(b); x != y {
		return x
	} else if x {
		return rank(a, b) < 0
	}
	if x, y := measured(a), measured(b); x != y {
		return x
	}
	if c := cmp.Compare(Excess(a.Metrics, sla), Excess(b.Metrics, sla)); c != 0 {
		return c < 0
	}
	return rank(a, b) < 0
}

func measured(p result.Point) bool { return p.Status == result.StatusOK && p.Invalid == "" }

func rank(a, b result.Point) int {
	return cmp.Or(
		cmp.Compare(throughput(b), throughput(a)),
		cmp.Compare(deref(b.Metrics.OutputTokenThroughput, 0), deref(a.Metrics.OutputTokenThroughput, 0)),
		cmp.Compare(deref(a.Metrics.TTFT.P50, math.Inf(1)), deref(b.Metrics.TTFT.P50, math.Inf(1))),
		cmp.Compare(deref(a.Metrics.TPOT.P50, math.Inf(1)), deref(b.Metrics.TPOT.P50, math.Inf(1))),
	)
}

func throughput(p result.Point) float64 { return deref(p.Metrics.RequestThroughput, 0) }

// Excess is how far figures are beyond the limits: the largest ratio of a
// figure to its limit, where 1 is met exactly. A figure that was not measured is
// infinitely far.
func Excess(m result.Metrics, sla result.SLA) float64 {
	worst := 0.0
	for _, l := range sla.Limits {
		v, ok := l.Value(m)
		if !ok || !(l.MaxMs > 0) {
			return math.Inf(1)
		}
		worst = max(worst, v/l.MaxMs)
	}
	if sla.MinSuccessRate != nil && *sla.MinSuccessRate > 0 {
		if m.SuccessRate == nil || *m.SuccessRate <= 0 {
			return math.Inf(1)
		}
		worst = max(worst, *sla.MinSuccessRate / *m.SuccessRate)
	}
	return worst
}

func deref(p *float64, other float64) float64 {
	if p == nil || math.IsNaN(*p) {
		return other
	}
	return *p
}
