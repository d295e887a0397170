package witness

import (
	"math"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/metric"
)

// msPerS turns the seconds of servers into the milliseconds of our figures.
const msPerS = 1000

// Quantile reads the q-quantile (0 < q ≤ 1) of a histogram of observations that
// are not negative, in the unit of its bounds: the smallest of them that at
// least the share q does not exceed lies above low and is at most high. value is
// linear within that bucket; in the last, which is open, it is its lower bound.
// ok is false without observations.
func Quantile(h engine.Histogram, q float64) (value, low, high float64, ok bool) {
	rank, before := q*h.Count, 0.0
	for _, b := range h.Buckets {
		if b.Count < rank || b.Count <= before {
			low, before = max(b.LE, 0), max(before, b.Count)
			continue
		}
		high = b.LE
		if math.IsInf(high, 1) {
			return low, low, high, true
		}
		return low + (high-low)*(rank-before)/(b.Count-before), low, high, true
	}
	return 0, 0, 0, false
}

func estimate(h engine.Histogram, q float64) metric.Estimate {
	value, low, high, ok := Quantile(h, q)
	if !ok {
		return metric.Estimate{}
	}
	e := metric.Estimate{Ms: value * msPerS, Low: low * msPerS}
	if !math.IsInf(high, 1) {
		high *= msPerS
		e.High = &high
	}
	return e
}

// dist is a histogram by its figures.
func dist(q engine.Quantity, h engine.Histogram) metric.ServerDist {
	return metric.ServerDist{Quantity: string(q), N: h.Count, MeanMs: h.Sum / h.Count * msPerS,
		P50: estimate(h, 0.5), P90: estimate(h, 0.9), P99: estimate(h, 0.99)}
}
