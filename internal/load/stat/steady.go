package stat

import "math"

// MSER5 is the number of values at the beginning of x, in its order, that belong
// to warm-up: the cut that makes the standard error of the mean of the rest
// smallest, over means of 5 values (K. P. White, "An effective truncation heuristic
// for bias reduction in simulation output", Simulation 69 (1997) 323-334; K. P.
// White, M. J. Cobb, S. C. Spratt, "A comparison of five steady-state truncation
// heuristics for simulation", Winter Simulation Conference 2000, 755-760). The last
// tenth of the means, 5 at least, is no rest: it agrees by chance. ok is
// false for fewer than 50 values, and when the best cut lies in the second half:
// then x is too short to show a steady state.
func MSER5(x []float64) (cut int, ok bool) {
	const batch, least = 5, 10
	n := len(x) / batch
	if n < least {
		return 0, false
	}
	means := Blocks(x[:n*batch], n, mean)
	best, at := math.Inf(1), 0
	// Welford's update from the end: m and sq belong to means[d:].
	m, sq := 0.0, 0.0
	for d := n - 1; d >= 0; d-- {
		count := float64(n - d)
		delta := means[d] - m
		m += delta / count
		sq += delta * (means[d] - m)
		if n-d < max(5, n/10) {
			continue // the last few agree by chance
		}
		if e := sq / (count * count); e <= best {
			best, at = e, d
		}
	}
	return at * batch, 2*at <= n
}

// The rule for a steady state.
const (
	steadyBlocks = 40
	steadyLeast  = 20
	// steadyLags are the autocorrelations that count. With all of them the test of 60
	// values with ρ(1) = 0.6 names a trend in 10 % of cases at p < 0.01 where there is
	// none, with 5 in 5 %, without the correction in 14 % (simulated).
	steadyLags = 5
	// SteadyP is the error that is accepted of naming a trend where there is none.
	SteadyP = 0.01
	// SteadyDrift is the change over the window, relative to its median, from which
	// a trend matters: half of it lies on either side of the figures.
	SteadyDrift = 0.1
)

// Window is what is to be said of the steadiness of a measured window.
type Window struct {
	Verdict   Steadiness
	P         float64 // of Mann-Kendall with the correction of Hamed and Rao
	Drift     float64 // Theil-Sen change from the first to the last block over the median
	Blocks    int     // blocks whose medians were tested
	Transient int     // values at the beginning that MSER-5 would leave out; -1 = not found
	Shift     float64 // median of the transient's blocks over that of the rest, less 1
	// AfterTransient: without the transient there is no trend.
	AfterTransient bool
}

// Steadiness is the verdict on a window.
type Steadiness string

// The verdicts on a window.
const (
	Steady    Steadiness = "steady"
	Drifting  Steadiness = "trend"     // it rises or falls
	Transient Steadiness = "transient" // its beginning differs from the rest
	Unknown   Steadiness = "unknown"   // too few values
)

// CheckWindow tests the values of a measured window, in their order, by the medians
// of at most 40 blocks, each of at most 1024 of its values. Fewer than 20 values give
// Unknown.
//
//	trend      Mann-Kendall with the correction of Hamed and Rao (5 lags, never below
//	           1) gives p < 0.01, and the Theil-Sen line changes by 10 % of the median
//	           or more over the window
//	transient  else, if the blocks before the cut of MSER-5 differ from those after it
//	           (Kolmogorov-Smirnov, p < 0.005) and their medians by 10 % or more
//	steady     else
//
// The sizes keep a long measurement from failing for what nobody would notice.
func CheckWindow(x []float64) Window {
	w := Window{Verdict: Unknown, P: 1, Transient: -1}
	if len(x) < steadyLeast {
		return w
	}
	w.Verdict = Steady
	medians := Blocks(x, steadyBlocks, thinMedian)
	w.P, w.Drift = drift(medians)
	w.Blocks = len(medians)
	cut, found := MSER5(x)
	if !found {
		cut = 0
	} else {
		w.Transient = cut
	}
	blocks := (cut*w.Blocks + len(x) - 1) / len(x)
	before, after := medians[:blocks], medians[blocks:]
	if cut > 0 {
		w.Shift = relative(Median(before)-Median(after), Median(after))
	}
	switch {
	case trends(w.P, w.Drift):
		w.Verdict = Drifting
		w.AfterTransient = cut > 0 && !trends(drift(Blocks(x[cut:], steadyBlocks, thinMedian)))
	case math.Abs(w.Shift) >= SteadyDrift && differ(before, after):
		w.Verdict = Transient
		w.AfterTransient = true
	}
	return w
}

// thinMedian is the median of at most 1024 of the values, evenly spaced: enough for
// a test over 40 of them, and no long sorting.
func thinMedian(x []float64) float64 {
	const most = 1024
	if len(x) <= most {
		return Median(x)
	}
	return Median(Blocks(x, most, func(b []float64) float64 { return b[0] }))
}

func drift(medians []float64) (p, change float64) {
	t, _ := MannKendall(medians, steadyLags)
	return t.cautious(), relative(t.Slope*float64(len(medians)-1), Median(medians))
}

// relative is v over the size of base, or v itself where base is 0.
func relative(v, base float64) float64 {
	if base == 0 {
		return v
	}
	return v / math.Abs(base)
}

func trends(p, drift float64) bool { return p < SteadyP && math.Abs(drift) >= SteadyDrift }

func differ(a, b []float64) bool {
	_, p := KolmogorovSmirnov(a, b)
	return p < SteadyP/2
}
