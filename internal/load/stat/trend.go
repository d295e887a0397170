package stat

import (
	"cmp"
	"math"
	"slices"
)

// Trend is what a test for a monotonic trend says.
type Trend struct {
	S     float64 // concordant minus discordant pairs
	VarS  float64 // its variance if there is no trend, after the correction
	Z     float64 // normal score of S, continuity corrected
	P     float64 // two-sided
	Tau   float64 // S over the number of pairs
	Slope float64 // Theil-Sen, a step of the index
	// Correction is the factor n/n* by which autocorrelation makes S vary more
	// (above 1) or less than it would for independent values.
	Correction float64
}

// MannKendall tests x, in its order, for a monotonic trend: H. B. Mann,
// "Nonparametric tests against trend", Econometrica 13 (1945) 245-259, with the
// variance for ties of M. G. Kendall, Rank Correlation Methods (1975), and the
// correction for autocorrelation of K. H. Hamed, A. R. Rao, "A modified
// Mann-Kendall trend test for autocorrelated data", J. Hydrology 204 (1998)
// 182-196: ranks of the values less their Theil-Sen line, autocorrelations that
// are significant at 5 %, up to maxLag (0 = all). A correction that is not
// positive, which strong alternation can give, is replaced by 1. ok is false for
// fewer than 4 values. Time and memory grow with the square of len(x): average
// long series over blocks.
func MannKendall(x []float64, maxLag int) (t Trend, ok bool) {
	n := len(x)
	if n < 4 {
		return Trend{P: 1, Correction: 1}, false
	}
	for i := range x {
		for _, later := range x[i+1:] {
			t.S += float64(cmp.Compare(later, x[i]))
		}
	}
	t.Slope = TheilSen(x)
	t.Tau = t.S / float64(n*(n-1)/2)
	t.Correction = hamedRao(x, t.Slope, maxLag)
	t.VarS = varianceOfS(x) * t.Correction
	t.Z, t.P = score(t.S, t.VarS)
	return t, true
}

// score is the normal score of s, moved by 1 towards 0 because s is a whole number,
// and its two-sided chance.
func score(s, variance float64) (z, p float64) {
	if s == 0 || variance <= 0 {
		return 0, 1
	}
	z = (s - math.Copysign(1, s)) / math.Sqrt(variance)
	return z, math.Erfc(math.Abs(z) / math.Sqrt2)
}

// cautious is P with a correction that never makes a trend more likely than
// independence does.
func (t Trend) cautious() float64 {
	_, p := score(t.S, t.VarS*max(1, t.Correction)/t.Correction)
	return p
}

// varianceOfS is Var(S) of independent values: (n(n−1)(2n+5) − Σt(t−1)(2t+5))/18
// with t the sizes of the groups of equal values.
func varianceOfS(x []float64) float64 {
	term := func(n float64) float64 { return n * (n - 1) * (2*n + 5) }
	sorted := slices.Sorted(slices.Values(x))
	v := term(float64(len(x)))
	for i := 0; i < len(sorted); {
		k := i
		for k < len(sorted) && sorted[k] == sorted[i] {
			k++
		}
		v -= term(float64(k - i))
		i = k
	}
	return v / 18
}

// hamedRao is n/n* = 1 + 2/(n(n−1)(n−2)) · Σ (n−k)(n−k−1)(n−k−2) ρ(k).
func hamedRao(x []float64, slope float64, maxLag int) float64 {
	n := len(x)
	if maxLag <= 0 || maxLag > n-1 {
		maxLag = n - 1
	}
	flat := make([]float64, n)
	for i, v := range x {
		flat[i] = v - slope*float64(i+1)
	}
	rho := Autocorrelation(ranks(flat), maxLag)
	significant := normal(0.975) / math.Sqrt(float64(n))
	weight := func(k int) float64 { return float64(n-k) * float64(n-k-1) * float64(n-k-2) }
	sum := 0.0
	for k := 1; k <= maxLag; k++ {
		if math.Abs(rho[k]) > significant {
			sum += weight(k) * rho[k]
		}
	}
	if c := 1 + 2*sum/weight(0); c > 0 {
		return c
	}
	return 1
}

// ranks are the positions of the values in their order, from 1; equal values
// share their mean.
func ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(x[a], x[b]) })
	r := make([]float64, len(x))
	for i := 0; i < len(order); {
		k := i
		for k < len(order) && x[order[k]] == x[order[i]] {
			k++
		}
		for _, at := range order[i:k] {
			r[at] = float64(i+1+k) / 2
		}
		i = k
	}
	return r
}

// TheilSen is the median of the slopes between all pairs, a step of the index:
// P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau",
// J. American Statistical Association 63 (1968) 1379-1389. Fewer than two values
// have the slope 0.
func TheilSen(x []float64) float64 {
	if len(x) < 2 {
		return 0
	}
	slopes := make([]float64, 0, len(x)*(len(x)-1)/2)
	for i := range x {
		for k := i + 1; k < len(x); k++ {
			slopes = append(slopes, (x[k]-x[i])/float64(k-i))
		}
	}
	return Median(slopes)
}

// Blocks cuts x, in its order, into n blocks, or len(x) where that is less, whose
// sizes differ by at most one, and returns f of each.
func Blocks(x []float64, n int, f func([]float64) float64) []float64 {
	n = min(n, len(x))
	out := make([]float64, 0, max(n, 0))
	for i := range n {
		out = append(out, f(x[i*len(x)/n:(i+1)*len(x)/n]))
	}
	return out
}

// Median is the middle value, or the mean of the two in the middle; NaN of none.
func Median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
