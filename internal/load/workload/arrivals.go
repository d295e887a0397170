package workload

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// ArrivalKind names the law of the gaps between arrivals.
type ArrivalKind string

// The arrival processes. All but closed are open loop: an arrival does not wait
// for earlier requests to end.
const (
	ArrivalPoisson  ArrivalKind = "poisson"  // exponential gaps
	ArrivalConstant ArrivalKind = "constant" // equal gaps
	ArrivalGamma    ArrivalKind = "gamma"    // gamma gaps of shape Burstiness
	ArrivalClosed   ArrivalKind = "closed"   // the next request leaves when one ends
	ArrivalRamp     ArrivalKind = "ramp"     // the rate goes from FromRPS to RateRPS
	ArrivalSteps    ArrivalKind = "steps"    // one rate after another
	ArrivalTrace    ArrivalKind = "trace"    // the instants of a trace
)

// Arrivals is an arrival process. The first arrival comes one gap after the
// start, and no gap is rescaled: n Poisson arrivals take n/rate seconds only on
// average, as they should.
type Arrivals struct {
	Kind ArrivalKind `json:"kind,omitzero"` // "" = poisson
	// RateRPS is the mean arrivals per second; 0 = all at once, at the start.
	RateRPS float64 `json:"rate_rps,omitzero"`
	// Burstiness is the shape of gamma gaps: 1 = Poisson, smaller is burstier,
	// larger more even. 0 = 1. Only for gamma gaps.
	Burstiness float64 `json:"burstiness,omitzero"`
	Seed       uint64  `json:"seed,omitzero"`

	// Gaps is the law of the gaps of a ramp and of steps, in which time runs
	// faster where the rate is higher: poisson (""), constant or gamma.
	Gaps ArrivalKind `json:"gaps,omitzero"`
	// FromRPS is the rate at which a ramp begins. It reaches RateRPS after Over
	// and stays there.
	FromRPS float64       `json:"from_rps,omitzero"`
	Over    time.Duration `json:"over_ns,omitzero"`
	// Steps are the rates of ArrivalSteps; the last one stays.
	Steps []Step `json:"steps,omitempty"`
	// Offsets are the instants of ArrivalTrace, in order, and TimeScale what
	// they are multiplied by: 2 = half as fast; 0 = 1. A workload longer than
	// the trace goes through it again, one mean gap after its end.
	Offsets   []time.Duration `json:"-"`
	TimeScale float64         `json:"time_scale,omitzero"`
}

// Step is a rate that holds for a time; a rate of 0 is a pause.
type Step struct {
	RateRPS float64       `json:"rate_rps"`
	For     time.Duration `json:"for_ns"`
}

// Validate says what is wrong with the process.
func (a Arrivals) Validate() error {
	switch a.Kind {
	case ArrivalPoisson, ArrivalConstant, ArrivalGamma, ArrivalClosed, ArrivalRamp, ArrivalSteps, ArrivalTrace, "":
	default:
		return fmt.Errorf("arrival process %q is not known; expected poisson, constant, gamma, closed, ramp, steps or trace", a.Kind)
	}
	if !(a.RateRPS >= 0) || math.IsInf(a.RateRPS, 1) {
		return fmt.Errorf("arrival rate %v requests/s: expected a number of at least 0 (0 = all at once)", a.RateRPS)
	}
	if !(a.Burstiness >= 0) || math.IsInf(a.Burstiness, 1) {
		return fmt.Errorf("burstiness %v: expected a number above 0 (1 = Poisson); use constant arrivals for an infinite one", a.Burstiness)
	}
	return a.validateShape()
}

// AtOnce says that every arrival is due at the start: there is no rate.
func (a Arrivals) AtOnce() bool { return a.Open() && !a.Timed() && a.RateRPS == 0 }

// Open says whether arrivals ignore completions.
func (a Arrivals) Open() bool { return a.Kind != ArrivalClosed }

// maxOffset bounds offsets, so that a tiny rate cannot overflow them: ten years.
const maxOffset = float64(10 * 365 * 24 * time.Hour)

// Schedule is the offset of each of n arrivals from the start. The offsets of a
// shorter schedule are the first of a longer one. A closed loop has no schedule
// of its own: all offsets are 0 and completions pace it.
func (a Arrivals) Schedule(n int) []time.Duration {
	out := make([]time.Duration, max(n, 0))
	switch {
	case a.Timed():
		a.timedSchedule(out)
		return out
	case a.RateRPS <= 0 || a.Kind == ArrivalClosed:
		return out
	}
	period := min(float64(time.Second)/a.RateRPS, maxOffset)
	next := a.unitProcess(a.Kind)
	for i := range out {
		out[i] = time.Duration(min(next()*period, maxOffset))
	}
	return out
}

// unitProcess gives the instants of a process of rate 1, one at each call.
func (a Arrivals) unitProcess(law ArrivalKind) (next func() float64) {
	r := rand.New(rand.NewPCG(a.Seed, streamArrivals))
	at := 0.0
	return func() float64 {
		switch law {
		case ArrivalConstant:
			at++ // index times period: no error accumulates
		case ArrivalGamma:
			at += gammaGap(r, a.shape())
		default:
			at += r.ExpFloat64()
		}
		return at
	}
}

// streamArrivals keeps the random stream of arrivals apart from the prompts'.
const streamArrivals = 0x6172726976616c73

func (a Arrivals) shape() float64 {
	if a.Burstiness == 0 {
		return 1
	}
	return a.Burstiness
}

// gammaGap draws from the gamma distribution of the given shape with mean 1.
// G. Marsaglia, W. W. Tsang, "A Simple Method for Generating Gamma Variables",
// ACM TOMS 26 (2000) 363-372; shapes below 1 by their boosting remark.
func gammaGap(r *rand.Rand, shape float64) float64 {
	k, boost := shape, 1.0
	if k < 1 {
		boost = math.Pow(1-r.Float64(), 1/k)
		k++
	}
	d := k - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := r.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if u := 1 - r.Float64(); math.Log(u) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return d * v * boost / shape
		}
	}
}
