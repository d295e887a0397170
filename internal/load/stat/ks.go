package stat

import (
	"math"
	"slices"
)

// maxExact bounds the work of the exact distribution of KolmogorovSmirnov.
const maxExact = 1_000_000

// KolmogorovSmirnov is the largest distance d between the empirical distributions
// of two independent samples, and the chance p of one as large when both come from
// one continuous distribution. p is exact (the share of lattice paths that leave the
// band: J. L. Hodges, "The significance probability of the Smirnov two-sample test",
// Arkiv för Matematik 3 (1958) 469-486) up to a product of the sizes of 10⁶, beyond
// that Kolmogorov's series with the correction of M. A. Stephens, "Use of the
// Kolmogorov-Smirnov, Cramér-von Mises and related statistics without extensive
// tables", J. Royal Statistical Society B 32 (1970) 115-122. Ties make p too large.
// An empty sample gives d = 0, p = 1.
func KolmogorovSmirnov(a, b []float64) (d, p float64) {
	if len(a) == 0 || len(b) == 0 {
		return 0, 1
	}
	// Distances are multiples of 1/(len(a)·len(b)): whole numbers are exact.
	far := distance(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
	d = float64(far) / (float64(len(a)) * float64(len(b)))
	if len(a)*len(b) <= maxExact {
		return d, leaveBand(len(a), len(b), far)
	}
	n := float64(len(a)) / float64(len(a)+len(b)) * float64(len(b))
	return d, kolmogorov(d * (math.Sqrt(n) + 0.12 + 0.11/math.Sqrt(n)))
}

// distance is the largest |i·len(b) − k·len(a)| where i and k values are passed.
func distance(a, b []float64) int {
	far, i, k := 0, 0, 0
	for i < len(a) && k < len(b) {
		v := min(a[i], b[k])
		for i < len(a) && a[i] == v {
			i++
		}
		for k < len(b) && b[k] == v {
			k++
		}
		far = max(far, i*len(b)-k*len(a), k*len(a)-i*len(b))
	}
	return far
}

// leaveBand is the share of the paths from (0,0) to (m,n) by unit steps that reach
// |i·n − k·m| ≥ far. Of the paths to (i,k), i/(i+k) come from (i−1,k).
func leaveBand(m, n, far int) float64 {
	inside := make([]float64, n+1) // share of the paths to (i,k) that stayed inside
	for i := range m + 1 {
		for k := range n + 1 {
			switch off := i*n - k*m; {
			case off >= far || -off >= far:
				inside[k] = 0
			case i == 0 && k == 0:
				inside[k] = 1
			default:
				share := inside[k] * float64(i)
				if k > 0 {
					share += inside[k-1] * float64(k)
				}
				inside[k] = share / float64(i+k)
			}
		}
	}
	return min(1, max(0, 1-inside[n]))
}

// kolmogorov is 2 Σ (−1)^(j−1) exp(−2j²x²).
func kolmogorov(x float64) float64 {
	if x < 0.2 {
		return 1 // off by less than 1e-12
	}
	sum, sign := 0.0, 2.0
	for j := 1.0; j <= 100; j++ {
		term := math.Exp(-2 * j * j * x * x)
		sum += sign * term
		if term < 1e-16 {
			break
		}
		sign = -sign
	}
	return min(1, max(0, sum))
}
