package stat

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/distuv"
)

// The defaults of a comparison.
const (
	// DefaultThreshold is the relative difference from which one matters.
	DefaultThreshold = 0.03
	// DefaultBlocks is the number of A/B blocks that finds a true difference of
	// 5 % in at least 90 % of cases when single trials of one command vary by up to
	// 2.6 %: what six identical runs of a real engine showed (a spread of 6.9 %,
	// 0xBakeer/qwen38-flash-next-spark #6, 2026-08-29; 6.9 over 2.53, the expected
	// range of six normal values in standard deviations).
	DefaultBlocks = 10
)

// Winner is the verdict of a comparison.
type Winner string

// The verdicts of a comparison.
const (
	A   Winner = "a"
	B   Winner = "b"
	Tie Winner = "tie"
)

// Options are the terms of a comparison.
type Options struct {
	Threshold     float64 // relative difference that matters; 0 = 3 %, below 0 = none
	Level         float64 // 0 = 0.95
	LowerIsBetter bool
	// Noise is the run-to-run noise of the baseline. It serves where a side has a
	// single trial and so no spread of its own.
	Noise *Noise
}

func (o Options) level() float64 {
	if o.Level <= 0 || o.Level >= 1 {
		return Level
	}
	return o.Level
}

// Comparison is what two sets of trials say. Delta is b over a less 1, from
// geometric means, Interval that of Delta.
type Comparison struct {
	Winner   Winner
	Delta    float64
	Interval Interval
	P        float64 // two-sided, for no difference
	Trials   int     // of the smaller side; pairs when they are paired
	SD       float64 // standard deviation of ln(b/a) of a block, or of ln of a trial
}

// ComparePaired compares two commands by blocks: a[i] and b[i] were measured in the
// same block, next to each other and with the same arrivals and prompts (common
// random numbers), so that drift between blocks and luck of the draw cancel. It
// is Student's t on ln(b/a) ("Student", "The probable error of a mean", Biometrika 6
// (1908) 1-25), which assumes that the differences of the blocks are independent and
// roughly normal; which of the two comes first must be drawn for each block
// (Interleave). There is a winner when the difference exceeds both its interval and
// the threshold, so of comparisons of a command with itself at most 1 − level name
// one. ok is false, and the verdict a tie, for values that are not positive, for sets
// of different length, and for a single block when the noise is not known.
func ComparePaired(a, b []float64, o Options) (c Comparison, ok bool) {
	la, okA := logs(a)
	lb, okB := logs(b)
	if !okA || !okB || len(a) != len(b) {
		return noComparison(), false
	}
	n := float64(len(a))
	diff := make([]float64, len(a))
	for i := range diff {
		diff[i] = lb[i] - la[i]
	}
	c.Trials = len(a)
	switch {
	case len(a) > 1:
		c.SD = math.Sqrt(variance(diff))
		return o.verdict(c, mean(diff), c.SD/math.Sqrt(n), n-1), true
	case o.Noise != nil:
		c.SD = math.Sqrt2 * o.Noise.SD
		return o.verdict(c, diff[0], c.SD, o.Noise.df()), true
	}
	return noComparison(), false
}

// CompareSets compares two commands by repeated trials that have nothing in common,
// by the t of B. L. Welch, "The generalization of 'Student's' problem when several
// different population variances are involved", Biometrika 34 (1947) 28-35, on the
// logarithms. It assumes independent, roughly normal trials without drift from one
// set to the other: ComparePaired assumes less. A side with one trial takes the
// noise of the baseline for both sides. Else as ComparePaired.
func CompareSets(a, b []float64, o Options) (c Comparison, ok bool) {
	la, okA := logs(a)
	lb, okB := logs(b)
	if !okA || !okB {
		return noComparison(), false
	}
	na, nb := float64(len(a)), float64(len(b))
	c.Trials = min(len(a), len(b))
	delta := mean(lb) - mean(la)
	if c.Trials > 1 {
		va, vb := variance(la)/na, variance(lb)/nb
		df := na + nb - 2
		if va+vb > 0 {
			df = (va + vb) * (va + vb) / (va*va/(na-1) + vb*vb/(nb-1))
		}
		c.SD = math.Sqrt((va*na + vb*nb) / 2)
		return o.verdict(c, delta, math.Sqrt(va+vb), df), true
	}
	if o.Noise == nil {
		return noComparison(), false
	}
	c.SD = o.Noise.SD
	return o.verdict(c, delta, c.SD*math.Sqrt(1/na+1/nb), o.Noise.df()), true
}

func noComparison() Comparison {
	nan := math.NaN()
	return Comparison{Winner: Tie, Delta: nan, Interval: Interval{nan, nan}, P: 1, SD: nan}
}

// logs are the logarithms of positive finite values; none are not ok.
func logs(x []float64) ([]float64, bool) {
	out := make([]float64, len(x))
	for i, v := range x {
		if !(v > 0) || math.IsInf(v, 1) {
			return nil, false
		}
		out[i] = math.Log(v)
	}
	return out, len(x) > 0
}

// verdict judges a difference of logarithms by its standard error. The threshold is
// the same whichever side is called a.
func (o Options) verdict(c Comparison, delta, se, df float64) Comparison {
	half := studentT(o.level(), df) * se
	c.Winner, c.P = Tie, 1
	c.Delta, c.Interval = math.Expm1(delta), Interval{math.Expm1(delta - half), math.Expm1(delta + half)}
	if se > 0 {
		c.P = 2 * distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df}.Survival(math.Abs(delta)/se)
	} else if delta != 0 {
		c.P = 0
	}
	if math.Abs(delta) > half && math.Abs(delta) > math.Log1p(o.Bar()) {
		c.Winner = A
		if delta > 0 != o.LowerIsBetter {
			c.Winner = B
		}
	}
	return c
}

// Bar is the relative difference that matters, the default filled in.
func (o Options) Bar() float64 {
	switch {
	case o.Threshold == 0:
		return DefaultThreshold
	case o.Threshold < 0:
		return 0
	}
	return o.Threshold
}

// Noise is how much trials of one command differ.
type Noise struct {
	Trials int
	Groups int     // sets of trials that were pooled
	SD     float64 // standard deviation of the logarithm: a relative figure
	High   float64 // what SD may be, at one-sided 95 %
	// Floor is the smallest relative difference between two single trials that is
	// more than noise, at two-sided 95 %.
	Floor float64
}

func (n Noise) df() float64 { return float64(n.Trials - n.Groups) }

// NoiseFloor pools the spread within sets of repeated trials, each of one command
// at one load, the baseline first of all. The upper limit is that of the χ²
// distribution, for roughly normal logarithms. ok is false for values that are not
// positive, or without a set of two.
func NoiseFloor(sets ...[]float64) (Noise, bool) {
	var n Noise
	sum := 0.0
	for _, set := range sets {
		l, ok := logs(set)
		if len(set) > 0 && !ok {
			return Noise{}, false
		}
		if len(set) > 1 {
			n.Trials += len(set)
			n.Groups++
			sum += variance(l) * float64(len(set)-1)
		}
	}
	df := n.df()
	if df < 1 {
		return Noise{}, false
	}
	n.SD = math.Sqrt(sum / df)
	n.High = n.SD * math.Sqrt(df/distuv.ChiSquared{K: df}.Quantile(1-Level))
	n.Floor = math.Expm1(studentT(Level, df) * math.Sqrt2 * n.SD)
	return n, true
}

// BlocksNeeded is the number of A/B blocks from which a true relative difference is
// found with the given chance, when ln(b/a) of a block has the standard deviation
// sd. It is 0 when the difference does not exceed the threshold: no number of blocks
// finds it reliably.
func BlocksNeeded(sd, difference, power float64, o Options) int {
	far, threshold := math.Log1p(math.Abs(difference)), math.Log1p(o.Bar())
	if far <= threshold || power <= 0 || power >= 1 {
		return 0
	}
	const most = 100_000
	for n := 2; n <= most; n++ {
		se := sd / math.Sqrt(float64(n))
		bar := max(threshold, studentT(o.level(), float64(n-1))*se)
		if far-bar >= normal(power)*se {
			return n
		}
	}
	return most
}

// Interleave draws which command comes first in each of n blocks, true for b: as
// often the one as the other, in an order of chance, so that drift inside a block
// cancels and cannot follow a pattern. The same seed gives the same order.
func Interleave(n int, seed uint64) []bool {
	r := rand.New(rand.NewPCG(seed, 1))
	first := make([]bool, max(n, 0))
	odd := r.IntN(2)
	for i := range first {
		first[i] = (i+odd)%2 == 1
	}
	r.Shuffle(len(first), func(i, k int) { first[i], first[k] = first[k], first[i] })
	return first
}
