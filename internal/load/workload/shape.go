package workload

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Timed says that the process has a course of its own in time, so that no single
// rate describes it: ramp, steps and trace.
func (a Arrivals) Timed() bool {
	return a.Kind == ArrivalRamp || a.Kind == ArrivalSteps || a.Kind == ArrivalTrace
}

func (a Arrivals) validateShape() error {
	switch a.Gaps {
	case ArrivalPoisson, ArrivalConstant, ArrivalGamma, "":
	default:
		return fmt.Errorf("gaps %q are not known; expected poisson, constant or gamma", a.Gaps)
	}
	switch a.Kind {
	case ArrivalRamp:
		return a.validateRamp()
	case ArrivalSteps:
		return a.validateSteps()
	case ArrivalTrace:
		return a.validateTrace()
	}
	return nil
}

func (a Arrivals) validateRamp() error {
	switch {
	case !(a.FromRPS >= 0) || math.IsInf(a.FromRPS, 1):
		return fmt.Errorf("ramp from %v requests/s: expected a number of at least 0", a.FromRPS)
	case a.RateRPS <= 0:
		return fmt.Errorf("ramp to %v requests/s: expected a rate above 0, which it keeps", a.RateRPS)
	case a.Over <= 0:
		return fmt.Errorf("ramp over %v: expected a time above 0", a.Over)
	}
	return nil
}

func (a Arrivals) validateSteps() error {
	if len(a.Steps) == 0 {
		return errors.New("steps: there is none; expected at least one rate with its time")
	}
	for i, s := range a.Steps {
		if !(s.RateRPS >= 0) || math.IsInf(s.RateRPS, 1) || s.For <= 0 {
			return fmt.Errorf("step %d of %v requests/s for %v: expected a rate of at least 0 and a time above 0", i, s.RateRPS, s.For)
		}
	}
	if a.Steps[len(a.Steps)-1].RateRPS == 0 {
		return errors.New("steps: the last one is a pause and would never end; expected a rate above 0")
	}
	return nil
}

func (a Arrivals) validateTrace() error {
	switch {
	case len(a.Offsets) == 0:
		return errors.New("trace: it holds no instants; expected at least one")
	case a.Offsets[0] < 0 || !slices.IsSorted(a.Offsets) || float64(a.Offsets[len(a.Offsets)-1]) > maxOffset:
		return fmt.Errorf("trace: expected instants in order, from 0 to %v", time.Duration(maxOffset))
	case !(a.TimeScale >= 0) || math.IsInf(a.TimeScale, 1):
		return fmt.Errorf("time scale %v: expected a number above 0 (1 = as recorded, 2 = half as fast)", a.TimeScale)
	}
	return nil
}

// timedSchedule fills in the offsets of a timed process.
func (a Arrivals) timedSchedule(out []time.Duration) {
	if a.Kind == ArrivalTrace {
		a.traceSchedule(out)
		return
	}
	next := a.unitProcess(a.Gaps)
	for i := range out {
		u := next()
		at := a.rampInstant(u)
		if a.Kind == ArrivalSteps {
			at = a.stepInstant(u)
		}
		out[i] = time.Duration(min(at*float64(time.Second), maxOffset))
	}
}

// rampInstant is the second at which a ramp has brought u arrivals on average:
// the inverse of f·t + (g−f)·t²/2T up to T, and of a straight line from there.
func (a Arrivals) rampInstant(u float64) float64 {
	f, g, over := a.FromRPS, a.RateRPS, a.Over.Seconds()
	if within := (f + g) / 2 * over; u > within {
		return over + (u-within)/g
	}
	if u <= 0 {
		return 0
	}
	return 2 * u / (f + math.Sqrt(max(0, f*f+2*(g-f)/over*u)))
}

// stepInstant is the second at which the steps have brought u arrivals on
// average.
func (a Arrivals) stepInstant(u float64) float64 {
	start := 0.0
	for _, s := range a.Steps[:len(a.Steps)-1] {
		if brings := s.RateRPS * s.For.Seconds(); u > brings {
			u -= brings
			start += s.For.Seconds()
			continue
		}
		if s.RateRPS > 0 {
			return start + u/s.RateRPS
		}
	}
	return start + u/a.Steps[len(a.Steps)-1].RateRPS
}

func (a Arrivals) traceSchedule(out []time.Duration) {
	scale := a.TimeScale
	if scale == 0 {
		scale = 1
	}
	n := len(a.Offsets)
	if n == 0 {
		return
	}
	round := float64(a.Offsets[n-1]) // from one passage to the next
	if n > 1 {
		round += float64(a.Offsets[n-1]-a.Offsets[0])/float64(n-1) - float64(a.Offsets[0])
	}
	for i := range out {
		at := float64(a.Offsets[i%n]) + float64(i/n)*round
		out[i] = time.Duration(min(math.Round(at*scale), maxOffset))
	}
}
