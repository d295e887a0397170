package stat

import "math"

// Autocorrelation holds ρ(0)=1 … ρ(maxLag) of x, in its order, with the divisor
// n at every lag: G. E. P. Box, G. M. Jenkins, Time Series Analysis (1976), 2.1.5.
// Values that are all the same have ρ(k) = 0 for k > 0.
func Autocorrelation(x []float64, maxLag int) []float64 {
	rho := make([]float64, max(maxLag, 0)+1)
	rho[0] = 1
	if len(x) == 0 || constant(x) {
		return rho
	}
	dev := deviations(x)
	total := dot(dev, dev)
	for k := 1; k < min(len(rho), len(x)); k++ {
		rho[k] = dot(dev[:len(dev)-k], dev[k:]) / total
	}
	return rho
}

func deviations(x []float64) []float64 {
	m := mean(x)
	dev := make([]float64, len(x))
	for i, v := range x {
		dev[i] = v - m
	}
	return dev
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// maxSeries bounds the series whose autocorrelations are computed; longer ones
// are averaged over blocks first.
const maxSeries = 4096

// EffectiveSize is the number of independent values whose mean would vary as much
// as that of x: n/τ with τ = 1 + 2Σρ(k), summed over pairs of neighbouring lags
// as long as a pair is positive (C. J. Geyer, "Practical Markov chain Monte
// Carlo", Statistical Science 7 (1992) 473-483, 3.3). Beyond 4096 values blocks
// of equal size are averaged first, which leaves the mean's variance as it is.
// It lies in 1..n: alternation, which makes a mean steadier than independence, is
// not counted on. Values that are all the same count in full.
func EffectiveSize(x []float64) float64 {
	n := float64(len(x))
	if len(x) < 2 || constant(x) {
		return n
	}
	short := x
	if len(x) > maxSeries {
		size := (len(x) + maxSeries - 1) / maxSeries
		short = Blocks(x[:len(x)/size*size], len(x)/size, mean)
	}
	if constant(short) {
		return n
	}
	// Var(mean) = variance of the series · τ / its length.
	v := variance(short) * tau(short) / float64(len(short))
	return min(n, max(1, variance(x)/v))
}

// tau is Geyer's initial positive sequence estimate of 1 + 2Σρ(k).
func tau(x []float64) float64 {
	dev := deviations(x)
	total := dot(dev, dev)
	rho := func(k int) float64 { return dot(dev[:len(dev)-k], dev[k:]) / total }
	sum := -1.0
	for k := 0; k+1 < len(x); k += 2 {
		pair := rho(k) + rho(k+1)
		if pair <= 0 {
			break
		}
		sum += 2 * pair
	}
	return max(sum, 1/float64(len(x)))
}

// minBatches is the fewest batches that say something about variance: below
// about 10 Student's t makes the interval useless (B. W. Schmeiser, "Batch size
// effects in the analysis of simulation output", Operations Research 30 (1982)
// 556-568).
const minBatches = 10

// BatchMeans is the mean of x and its interval from the means of consecutive
// batches, which are close to independent though the values are not: Schmeiser
// (1982). The batches are as long as ⌊√n⌋ (J. M. Flegal, G. L. Jones, "Batch means
// and spectral variance estimators in Markov chain Monte Carlo", Annals of
// Statistics 38 (2010) 1034-1070) as far as that makes at least 10 and at most 30
// of them; the first values, fewer than there are batches, that do not fill a batch
// are in the mean alone. ok is false for fewer than 10 values.
func BatchMeans(x []float64, level float64) (m float64, i Interval, ok bool) {
	n := len(x)
	if n < minBatches {
		return math.NaN(), Interval{math.NaN(), math.NaN()}, false
	}
	count := min(max(n/int(math.Sqrt(float64(n))), minBatches), 30)
	size := n / count
	batches := Blocks(x[n-count*size:], count, mean)
	m = mean(x)
	half := studentT(level, float64(count-1)) * math.Sqrt(variance(batches)/float64(count))
	return m, Interval{m - half, m + half}, true
}
