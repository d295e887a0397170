package stat

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/mathext"
)

// QuantileOf is the q-quantile (0 to 1) of sorted values by linear interpolation
// between order statistics: type 7 of R. J. Hyndman, Y. Fan, "Sample Quantiles in
// Statistical Packages", The American Statistician 50 (1996) 361-365. sorted must
// not be empty.
func QuantileOf(sorted []float64, q float64) float64 {
	h := q * float64(len(sorted)-1)
	i := int(h)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (h-float64(i))*(sorted[i+1]-sorted[i])
}

// QuantileRanks are the ranks (1 = smallest) of the two order statistics of n
// independent values that enclose the true q-quantile with at least the given
// confidence, whatever the distribution, each side missing with at most half the
// rest: H. A. David, H. N. Nagaraja, Order Statistics (2003), 7.1. The number of
// values below the quantile is binomial. A side that n values cannot give is 0.
func QuantileRanks(n int, q, level float64) (low, high int) {
	if n < 1 || q <= 0 || q >= 1 || level <= 0 || level >= 1 {
		return 0, 0
	}
	tail := (1 - level) / 2
	// The value of rank l lies above the quantile when fewer than l values are
	// below it, that of rank u below it when u or more are.
	low = sort.Search(n, func(i int) bool { return atMost(i, n, q) > tail })
	high = 1 + sort.Search(n, func(i int) bool { return 1-atMost(i, n, q) <= tail })
	if high > n {
		high = 0
	}
	return low, high
}

// atMost is P(B ≤ k) for B binomial of n trials with chance q, 0 ≤ k < n.
func atMost(k, n int, q float64) float64 {
	return mathext.RegIncBeta(float64(n-k), float64(k+1), 1-q)
}

// QuantileNeeds is the smallest number of independent values from which a
// two-sided distribution-free interval of the q-quantile can be had: the largest
// n for which max(q, 1−q)ⁿ exceeds half of 1 − level, plus one. It is 368 for p99
// and 72 for p95 at 95 %.
func QuantileNeeds(q, level float64) int {
	far := max(q, 1-q)
	if far <= 0 || far >= 1 || level <= 0 || level >= 1 {
		return 0
	}
	return int(math.Ceil(math.Log((1-level)/2)/math.Log(far) - 1e-12))
}

// QuantileEstimate is a quantile's interval.
type QuantileEstimate struct {
	Interval  Interval
	Effective float64 // independent values that the series is worth
	OK        bool    // the interval exists on both sides
	Needs     int     // values of this series from which it would exist
}

// QuantileInterval is the distribution-free interval of the q-quantile of values
// that depend on their predecessors. series holds them in the order of measuring,
// sorted the same in ascending order. What varies is the share of values at or
// below the quantile; the effective size of that series of zeros and ones takes the
// place of n in QuantileRanks (P. Heidelberger, P. A. W. Lewis, "Quantile
// estimation in dependent sequences", Operations Research 32 (1984) 185-209, take
// the same variance from a spectrum), and the ranks are stretched to n. For
// independent values that is QuantileRanks.
func QuantileInterval(series, sorted []float64, q, level float64) QuantileEstimate {
	n := len(series)
	needs := QuantileNeeds(q, level)
	if n == 0 {
		return QuantileEstimate{Needs: needs}
	}
	at := QuantileOf(sorted, q)
	below := make([]float64, n)
	for i, v := range series {
		if v <= at {
			below[i] = 1
		}
	}
	e := QuantileEstimate{Effective: EffectiveSize(below)}
	m := int(e.Effective)
	e.Needs = int(math.Ceil(float64(needs) * float64(n) / float64(m)))
	low, high := QuantileRanks(m, q, level)
	if e.OK = low > 0 && high > 0; e.OK {
		stretch := float64(n+1) / float64(m+1)
		from := max(1, int(float64(low)*stretch))
		to := min(n, int(math.Ceil(float64(high)*stretch)))
		e.Interval = Interval{sorted[from-1], sorted[to-1]}
	}
	return e
}
