// Package stat decides what measured figures allow to be said: is there a steady
// state, how wide is the interval of a figure, is a difference more than noise.
//
//	[]float64 in the order of measuring  →  estimate, interval, verdict
//
// Everything is a pure function of its arguments: what is drawn at random is
// drawn from a seed that the caller gives, so the same samples say the same.
// Samples are finite numbers; the functions do not change them. A result that
// the samples are too few for is absent (ok = false, NaN or an Unknown verdict)
// and never a guess; next to it stands how many samples would do.
//
// Latencies of successive requests are not independent, because requests share
// a batch and a queue. Functions that assume independence say so; the others
// count with the effective sample size.
package stat

import "gonum.org/v1/gonum/stat/distuv"

// Level is the confidence of an interval where nothing else is said.
const Level = 0.95

// Interval is a range that holds a true value with the confidence asked for.
type Interval struct{ Low, High float64 }

// Width is the length of the interval.
func (i Interval) Width() float64 { return i.High - i.Low }

// Contains says whether v lies in the closed interval.
func (i Interval) Contains(v float64) bool { return i.Low <= v && v <= i.High }

// normal is the p-quantile of the standard normal distribution.
func normal(p float64) float64 { return distuv.UnitNormal.Quantile(p) }

// studentT is the two-sided critical value of Student's t.
func studentT(level, df float64) float64 {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df}.Quantile(1 - (1-level)/2)
}

// mean is the arithmetic mean, variance the mean square deviation with divisor
// n − 1. x must hold one value, or two for the variance.
func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

func variance(x []float64) float64 {
	m, sum := mean(x), 0.0
	for _, v := range x {
		sum += (v - m) * (v - m)
	}
	return sum / float64(len(x)-1)
}

// constant says that all values are the same, so that there is nothing to vary.
func constant(x []float64) bool {
	for _, v := range x {
		if v != x[0] {
			return false
		}
	}
	return true
}
