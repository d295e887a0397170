package workload

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func arrivals(t *rapid.T) Arrivals {
	return Arrivals{
		Kind:       rapid.SampledFrom([]ArrivalKind{"", ArrivalPoisson, ArrivalConstant, ArrivalGamma}).Draw(t, "kind"),
		RateRPS:    rapid.OneOf(rapid.Float64Range(1e-3, 1e5), rapid.SampledFrom([]float64{0, 1e-300, 1e300})).Draw(t, "rate"),
		Burstiness: rapid.OneOf(rapid.Float64Range(0.05, 50), rapid.SampledFrom([]float64{0, 1e-9, 1e9, 1e300})).Draw(t, "burstiness"),
		Seed:       rapid.Uint64().Draw(t, "seed"),
	}
}

// The same seed gives the same arrivals, a longer schedule begins with the
// shorter one, and time does not run backwards.
func TestScheduleIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := arrivals(t)
		n, more := rapid.IntRange(0, 200).Draw(t, "n"), rapid.IntRange(0, 200).Draw(t, "more")
		short, long := a.Schedule(n), a.Schedule(n+more)
		if !slices.Equal(short, long[:n]) || !slices.Equal(long, a.Schedule(n+more)) {
			t.Fatalf("%+v: %v is not the beginning of %v", a, short, long)
		}
		if !slices.IsSorted(long) || n+more > 0 && (long[0] < 0 || long[n+more-1] > time.Duration(maxOffset)) {
			t.Fatalf("%+v: %v", a, long)
		}
		if err := a.Validate(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSeedsDiffer(t *testing.T) {
	a, b := Arrivals{RateRPS: 1, Seed: 1}, Arrivals{RateRPS: 1, Seed: 2}
	if slices.Equal(a.Schedule(10), b.Schedule(10)) {
		t.Error("two seeds gave the same arrivals")
	}
}

// Constant arrivals are index times period, to the nanosecond, however many.
func TestConstantDoesNotDrift(t *testing.T) {
	s := Arrivals{Kind: ArrivalConstant, RateRPS: 3}.Schedule(3_000_000)
	for _, i := range []int{2, 299_999, 2_999_999} {
		if want := time.Duration(i+1) * time.Second / 3; s[i]-want > 1 || want-s[i] > 1 {
			t.Errorf("arrival %d at %v, want %v", i, s[i], want)
		}
	}
}

// distance is the Kolmogorov-Smirnov distance of the gaps from a law of mean 1.
func distance(schedule []time.Duration, rate float64, law func(float64) float64) float64 {
	gaps := make([]float64, len(schedule))
	last := time.Duration(0)
	for i, at := range schedule {
		gaps[i], last = (at-last).Seconds()*rate, at
	}
	slices.Sort(gaps)
	worst, n := 0.0, float64(len(gaps))
	for i, g := range gaps {
		p := law(g)
		worst = max(worst, math.Abs(p-float64(i)/n), math.Abs(p-float64(i+1)/n))
	}
	return worst
}

// The gaps follow the law that they are named after, at the mean rate, and their
// counts vary as they should: nothing is rescaled to a fixed total.
func TestLawOfGaps(t *testing.T) {
	exponential := func(x float64) float64 { return 1 - math.Exp(-x) }
	erlang3 := func(x float64) float64 { x *= 3; return 1 - math.Exp(-x)*(1+x+x*x/2) }
	half := func(x float64) float64 { return math.Erf(math.Sqrt(x / 2)) } // gamma of shape 1/2
	tests := []struct {
		name     string
		a        Arrivals
		law      func(float64) float64
		variance float64 // of a gap, in squared means
	}{
		{"poisson", Arrivals{Kind: ArrivalPoisson}, exponential, 1},
		{"default", Arrivals{}, exponential, 1},
		{"gamma of shape 1", Arrivals{Kind: ArrivalGamma}, exponential, 1},
		{"gamma of shape 3", Arrivals{Kind: ArrivalGamma, Burstiness: 3}, erlang3, 1.0 / 3},
		{"gamma of shape 1/2", Arrivals{Kind: ArrivalGamma, Burstiness: 0.5}, half, 2},
	}
	const n = 40_000
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := tt.a
			a.RateRPS, a.Seed = 250, 7
			s := a.Schedule(n)
			// 1.95/√n is exceeded by one sample in a thousand that follow the law.
			if d := distance(s, a.RateRPS, tt.law); d > 1.95/math.Sqrt(n) {
				t.Errorf("KS distance %.4f from the law, at most %.4f expected", d, 1.95/math.Sqrt(n))
			}
			mean := s[n-1].Seconds() * a.RateRPS / n
			if sd := math.Sqrt(tt.variance / n); math.Abs(mean-1) > 4*sd {
				t.Errorf("mean gap %.4f of the period, want 1 ± %.4f", mean, 4*sd)
			}
			ends := 0.0
			for seed := range uint64(400) {
				a.Seed = seed
				x := a.Schedule(100)[99].Seconds()*a.RateRPS - 100
				ends += x * x / 400
			}
			if want := 100 * tt.variance; ends < 0.7*want || ends > 1.4*want {
				t.Errorf("the end of 100 arrivals varies by %.1f, want about %.1f", ends, want)
			}
		})
	}
}

func TestClosedAndUnpacedHaveNoOffsets(t *testing.T) {
	for _, a := range []Arrivals{{Kind: ArrivalClosed, RateRPS: 5}, {Kind: ArrivalGamma}} {
		if s := a.Schedule(3); !slices.Equal(s, make([]time.Duration, 3)) {
			t.Errorf("%+v: %v", a, s)
		}
	}
	if len((Arrivals{RateRPS: 1}).Schedule(-1)) != 0 {
		t.Error("a negative number of arrivals")
	}
}

func TestValidateArrivals(t *testing.T) {
	for want, a := range map[string]Arrivals{
		`"uniform" is not known`: {Kind: "uniform"},
		"rate -1":                {RateRPS: -1},
		"rate NaN":               {RateRPS: math.NaN()},
		"rate +Inf":              {RateRPS: math.Inf(1)},
		"burstiness -2":          {Burstiness: -2},
		"use constant arrivals":  {Burstiness: math.Inf(1)},
	} {
		if err := a.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", a, err, want)
		}
	}
}
