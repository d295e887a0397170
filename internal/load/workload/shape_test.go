package workload

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func timedArrivals(t *rapid.T) Arrivals {
	rate := rapid.Float64Range(0.01, 1e4)
	span := func(label string) time.Duration {
		return time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, label))
	}
	a := Arrivals{
		Kind:    rapid.SampledFrom([]ArrivalKind{ArrivalRamp, ArrivalSteps, ArrivalTrace}).Draw(t, "kind"),
		Gaps:    rapid.SampledFrom([]ArrivalKind{"", ArrivalPoisson, ArrivalConstant, ArrivalGamma}).Draw(t, "gaps"),
		RateRPS: rate.Draw(t, "rate"), FromRPS: rapid.OneOf(rate, rapid.Just(0.0)).Draw(t, "from"), Over: span("over"),
		Burstiness: rapid.Float64Range(0.1, 10).Draw(t, "burstiness"), Seed: rapid.Uint64().Draw(t, "seed"),
		TimeScale: rapid.OneOf(rapid.Float64Range(0.01, 100), rapid.Just(0.0)).Draw(t, "scale"),
	}
	for range rapid.IntRange(0, 4).Draw(t, "steps") {
		a.Steps = append(a.Steps, Step{rapid.OneOf(rate, rapid.Just(0.0)).Draw(t, "step"), span("for")})
	}
	a.Steps = append(a.Steps, Step{rate.Draw(t, "last"), span("for")})
	for range rapid.IntRange(1, 20).Draw(t, "offsets") {
		a.Offsets = append(a.Offsets, span("offset"))
	}
	slices.Sort(a.Offsets)
	return a
}

// As for the other processes: same seed, same arrivals; a longer schedule begins
// with the shorter one; time does not run backwards.
func TestTimedScheduleIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := timedArrivals(t)
		if err := a.Validate(); err != nil {
			t.Fatal(err)
		}
		n, more := rapid.IntRange(0, 100).Draw(t, "n"), rapid.IntRange(1, 100).Draw(t, "more")
		short, long := a.Schedule(n), a.Schedule(n+more)
		if !slices.Equal(short, long[:n]) || !slices.Equal(long, a.Schedule(n+more)) {
			t.Fatalf("%v is not the beginning of %v", short, long)
		}
		if !slices.IsSorted(long) || long[0] < 0 || long[n+more-1] > time.Duration(maxOffset) {
			t.Fatalf("%v", long)
		}
		if a.AtOnce() || a.Describe() == "" {
			t.Fatal("a process with a course of its own is said to be at once, or not described")
		}
	})
}

// Equal gaps of a ramp from 0 to 10/s over 10 s: arrival u comes where t²/2 = u,
// and from 50 arrivals on each 100 ms.
func TestRampIsExact(t *testing.T) {
	a := Arrivals{Kind: ArrivalRamp, Gaps: ArrivalConstant, RateRPS: 10, Over: 10 * time.Second}
	s := a.Schedule(60)
	for i, want := range map[int]float64{0: math.Sqrt2, 1: 2, 7: 4, 49: 10, 50: 10.1, 59: 11} {
		if got := s[i].Seconds(); math.Abs(got-want) > 1e-8 {
			t.Errorf("arrival %d at %v s, want %v", i, got, want)
		}
	}
	down := Arrivals{Kind: ArrivalRamp, Gaps: ArrivalConstant, FromRPS: 10, RateRPS: 2, Over: 10 * time.Second}.Schedule(62)
	// 10t − 0.4t² = 60 at t = 10; 2/s from there.
	for i, want := range map[int]float64{59: 10, 60: 10.5, 61: 11} {
		if got := down[i].Seconds(); math.Abs(got-want) > 1e-8 {
			t.Errorf("down: arrival %d at %v s, want %v", i, got, want)
		}
	}
}

// 2/s for 2 s, a pause of 3 s, then 10/s.
func TestStepsAreExact(t *testing.T) {
	a := Arrivals{Kind: ArrivalSteps, Gaps: ArrivalConstant, Steps: []Step{{2, 2 * time.Second}, {0, 3 * time.Second}, {10, time.Second}}}
	want := []float64{0.5, 1, 1.5, 2, 5.1, 5.2, 5.3}
	for i, at := range a.Schedule(len(want)) {
		if math.Abs(at.Seconds()-want[i]) > 1e-8 {
			t.Errorf("arrival %d at %v, want %v s", i, at, want[i])
		}
	}
}

// The gaps keep their law under a changing rate: time stretched back to rate 1
// gives exponential gaps.
func TestRampKeepsTheLaw(t *testing.T) {
	const n = 20_000
	a := Arrivals{Kind: ArrivalRamp, FromRPS: 50, RateRPS: 200, Over: 100 * time.Second, Seed: 3}
	unit := make([]time.Duration, n)
	for i, at := range a.Schedule(n) {
		x := at.Seconds()
		u := 12500 + 200*(x-100)
		if x <= 100 {
			u = 50*x + 0.75*x*x
		}
		unit[i] = time.Duration(u * float64(time.Second))
	}
	if d := distance(unit, 1, func(x float64) float64 { return 1 - math.Exp(-x) }); d > 1.95/math.Sqrt(n) {
		t.Errorf("KS distance %.4f", d)
	}
}

func TestTraceSchedule(t *testing.T) {
	a := Arrivals{Kind: ArrivalTrace, Offsets: []time.Duration{0, 1000, 3000}, TimeScale: 2}
	if s := a.Schedule(7); !slices.Equal(s, []time.Duration{0, 2000, 6000, 9000, 11000, 15000, 18000}) {
		t.Errorf("%v", s)
	}
	a.TimeScale, a.Offsets = 0, a.Offsets[:1]
	if s := a.Schedule(2); !slices.Equal(s, []time.Duration{0, 0}) {
		t.Errorf("one instant: %v", s)
	}
}

func TestValidateShapes(t *testing.T) {
	for want, a := range map[string]Arrivals{
		`gaps "trace"`:            {Kind: ArrivalRamp, Gaps: ArrivalTrace, RateRPS: 1, Over: 1},
		"ramp from -1":            {Kind: ArrivalRamp, FromRPS: -1, RateRPS: 1, Over: 1},
		"ramp from NaN":           {Kind: ArrivalRamp, FromRPS: math.NaN(), RateRPS: 1, Over: 1},
		"ramp to 0":               {Kind: ArrivalRamp, FromRPS: 1, Over: 1},
		"ramp over 0s":            {Kind: ArrivalRamp, RateRPS: 1},
		"steps: there is none":    {Kind: ArrivalSteps},
		"step 1 of NaN":           {Kind: ArrivalSteps, Steps: []Step{{1, 1}, {math.NaN(), 1}}},
		"step 0 of 1":             {Kind: ArrivalSteps, Steps: []Step{{1, 0}}},
		"would never end":         {Kind: ArrivalSteps, Steps: []Step{{1, 1}, {0, 1}}},
		"holds no instants":       {Kind: ArrivalTrace},
		"expected instants in":    {Kind: ArrivalTrace, Offsets: []time.Duration{2, 1}},
		"from 0 to":               {Kind: ArrivalTrace, Offsets: []time.Duration{-1}},
		"time scale -1":           {Kind: ArrivalTrace, Offsets: []time.Duration{1}, TimeScale: -1},
		"poisson, constant or ga": {Gaps: "even"},
	} {
		if err := a.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", a, err, want)
		}
	}
}

func TestReadOffsets(t *testing.T) {
	got, err := ReadOffsets(strings.NewReader("{\"timestamp\":2000.5,\"x\":1}\n\n{\"timestamp\":1000}\n{\"timestamp\":1000}"), "t")
	if err != nil || !slices.Equal(got, []time.Duration{0, 0, 1000500 * time.Microsecond}) {
		t.Errorf("%v, %v", got, err)
	}
	got, err = ReadOffsets(strings.NewReader("{\"timestamp\":\"2024-05-01T10:00:00Z\"}\n{\"timestamp\":\"2024-05-01T12:00:01.5+02:00\"}"), "t")
	if err != nil || !slices.Equal(got, []time.Duration{0, 1500 * time.Millisecond}) {
		t.Errorf("%v, %v", got, err)
	}
	for text, want := range map[string]string{
		"":                     "holds no rows",
		"{}":                   `line 1: no "timestamp"`,
		`{"timestamp":"noon"}`: `"noon": expected milliseconds`,
		`{"timestamp":-1}`:     "-1 ms",
		`{"timestamp":1e300}`:  "expected 0 to",
		`{"timestamp":[1]}`:    "expected milliseconds",
		`{"timestamp":null}`:   `no "timestamp"`,
		"{\"timestamp\":1}\nx": "line 2",
		"{\"timestamp\":0}\n{\"timestamp\":4e12}": "span more than",
	} {
		if _, err := ReadOffsets(strings.NewReader(text), "t.jsonl"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "workload t.jsonl") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzOffsets(f *testing.F) {
	f.Add("{\"timestamp\":1}\n{\"timestamp\":\"2024-05-01T10:00:00Z\"}")
	f.Add(`{"timestamp":1e18}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ReadOffsets(strings.NewReader(text), "fuzz")
		if err == nil {
			err = Arrivals{Kind: ArrivalTrace, Offsets: got}.Validate()
		}
		if err != nil && !strings.HasPrefix(err.Error(), "workload fuzz") {
			t.Fatal(err)
		}
	})
}
