package stat

import "math"

// Wilson is the score interval of a share, good of n: E. B. Wilson, "Probable
// inference, the law of succession, and statistical inference", J. American
// Statistical Association 22 (1927) 209-212. Its mean coverage is the level; n may
// be an effective size. n ≤ 0 gives 0..1.
func Wilson(good, n, level float64) Interval {
	if n <= 0 {
		return Interval{0, 1}
	}
	z := normal(1 - (1-level)/2)
	p, z2 := good/n, z*z/n
	mid := (p + z2/2) / (1 + z2)
	half := z / (1 + z2) * math.Sqrt(p*(1-p)/n+z2/(4*n))
	return Interval{max(0, mid-half), min(1, mid+half)}
}

// FlawlessNeeds is the number of independent values, all good, that show a share
// of good ones of at least share: shareⁿ ≤ 1 − level. It is 299 for 99 % at 95 %.
func FlawlessNeeds(share, level float64) int {
	if share <= 0 || share >= 1 || level <= 0 || level >= 1 {
		return 0
	}
	return int(math.Ceil(math.Log(1-level)/math.Log(share) - 1e-12))
}

// Decision is what a sequential test says so far.
type Decision string

// The decisions of a Gate.
const (
	Pass      Decision = "pass"      // the share of good ones exceeds the target
	Fail      Decision = "fail"      // it is below
	Undecided Decision = "undecided" // go on; at the budget: neither is shown
)

// Gate is a sequential test of the share of good requests against a target. It
// may be asked after every request: the chance that it ever says Pass although the
// share is at most the target, or ever says Fail although it is at least the
// target, is at most Alpha together.
//
// It is a confidence sequence: the likelihood ratio of a mixture of shares to the
// share p is a martingale when p is true, so it reaches 1/Alpha with a chance of at
// most Alpha (J. Ville, Étude critique de la notion de collectif (1939); H. Robbins,
// "Statistical methods related to the law of the iterated logarithm", Annals of
// Mathematical Statistics 41 (1970) 1397-1409). The mixture is a Beta distribution
// around the target with the weight of mixtureWeight requests. No share "far enough
// from the target" has to be named, as Wald's test of 1945 wants.
//
// Requests are taken as independent. Where they are not, Design says how many of
// them are worth one (n over EffectiveSize of the series of good and bad ones).
type Gate struct {
	Target float64 // between 0 and 1
	Alpha  float64 // 0 = 0.05
	Budget int     // requests at most; 0 = no end
	Design float64 // 0 = 1
}

const mixtureWeight = 10

// State is the state of a Gate.
type State struct {
	Decision Decision
	Interval Interval // of the share, valid at all times together
	Spent    bool     // the budget is used up
	// CanPass: if all requests left in the budget were good, it would pass.
	CanPass bool
}

// Check says what good and bad requests so far allow to be said.
func (g Gate) Check(good, bad int) State {
	g = g.withDefaults()
	s := State{Decision: Undecided, Spent: g.Budget > 0 && good+bad >= g.Budget, CanPass: g.Budget <= 0}
	s.Interval = g.interval(float64(good)/g.Design, float64(bad)/g.Design)
	s.Decision = g.decide(good, bad)
	if left := g.Budget - good - bad; g.Budget > 0 {
		s.CanPass = s.Decision == Pass || left > 0 && g.decide(good+left, bad) == Pass
	}
	return s
}

func (g Gate) withDefaults() Gate {
	if g.Alpha <= 0 || g.Alpha >= 1 {
		g.Alpha = 1 - Level
	}
	g.Design = max(g.Design, 1)
	return g
}

func (g Gate) decide(good, bad int) Decision {
	k, f := float64(good)/g.Design, float64(bad)/g.Design
	switch {
	case g.Target <= 0 || g.Target >= 1 || k+f == 0 || g.evidence(k, f, g.Target) < -math.Log(g.Alpha):
		return Undecided
	case k > g.Target*(k+f):
		return Pass
	}
	return Fail
}

// evidence is the logarithm of the likelihood ratio of the mixture to the share p.
func (g Gate) evidence(good, bad, p float64) float64 {
	a, b := g.Target*mixtureWeight, (1-g.Target)*mixtureWeight
	return lnBeta(a+good, b+bad) - lnBeta(a, b) - good*math.Log(p) - bad*math.Log1p(-p)
}

func lnBeta(a, b float64) float64 {
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	return la + lb - lab
}

// interval are the shares whose evidence stays below 1/Alpha; the evidence is
// convex in the share and smallest at the share seen.
func (g Gate) interval(good, bad float64) Interval {
	i := Interval{0, 1}
	n := good + bad
	if n == 0 || g.Target <= 0 || g.Target >= 1 {
		return i
	}
	inside := func(p float64) bool { return g.evidence(good, bad, p) < -math.Log(g.Alpha) }
	seen := good / n
	if good > 0 {
		i.Low = bisect(seen, 0, inside)
	}
	if bad > 0 {
		i.High = bisect(seen, 1, inside)
	}
	return i
}

// bisect is the edge between in, where inside holds, and out, where it does not.
func bisect(in, out float64, inside func(float64) bool) float64 {
	for range 60 {
		if mid := (in + out) / 2; inside(mid) {
			in = mid
		} else {
			out = mid
		}
	}
	return out
}
