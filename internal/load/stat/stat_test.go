package stat

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// golden holds figures that other programs computed; made_with in the file says
// which and by what functions.
type golden struct {
	Trend []struct {
		Name       string    `json:"name"`
		X          []float64 `json:"x"`
		MaxLag     int       `json:"max_lag"`
		S          float64   `json:"s"`
		VarS       float64   `json:"var_s"`
		PlainVarS  float64   `json:"plain_var_s"`
		Z, P       float64
		Tau, Slope float64
	} `json:"trend"`
	Autocorrelation struct {
		X, Rho []float64
	} `json:"autocorrelation"`
	Ratio []struct {
		Good, N int
		Wilson  [2]float64
	} `json:"ratio"`
	Ranks [][4]float64 `json:"ranks"` // n, q, low, high
	KS    []struct {
		D, P, Shift float64
		A, B        []float64
		Generate    [3]int
	} `json:"ks"`
	Compare []struct {
		A, B   []float64
		Paired [2]float64
		Welch  [2]float64
		PP     float64 `json:"paired_p"`
		WP     float64 `json:"welch_p"`
	} `json:"compare"`
	Noise struct {
		X               []float64
		SD, High, Floor float64
	} `json:"noise"`
	MSER []struct {
		X   []float64
		Cut int
		OK  bool
	} `json:"mser"`
}

func readGolden(t *testing.T) golden {
	t.Helper()
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*(1+math.Abs(want))) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// generate is the series that golden.json does not write out: sums of 12 numbers
// of a linear congruential generator, about normal around 10.
func generate(seed uint64, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		sum := -6.0
		for range 12 {
			seed = seed*6364136223846793005 + 1442695040888963407
			sum += float64(seed>>11) / (1 << 53)
		}
		x[i] = math.Round((10+sum)*1e9) / 1e9
	}
	return x
}

func TestTrendGolden(t *testing.T) {
	g := readGolden(t)
	corrected := 0
	for _, w := range g.Trend {
		got, ok := MannKendall(w.X, w.MaxLag)
		if !ok {
			t.Fatalf("%s: too short", w.Name)
		}
		near(t, w.Name+" S", got.S, w.S, 0)
		near(t, w.Name+" Var(S)", got.VarS, w.VarS, 1e-9)
		near(t, w.Name+" correction", got.Correction, w.VarS/w.PlainVarS, 1e-9)
		near(t, w.Name+" Z", got.Z, w.Z, 1e-9)
		near(t, w.Name+" p", got.P, w.P, 1e-9)
		near(t, w.Name+" tau", got.Tau, w.Tau, 1e-12)
		near(t, w.Name+" slope", got.Slope, w.Slope, 1e-12)
		if math.Abs(got.Correction-1) > 0.1 {
			corrected++
		}
	}
	if corrected < 3 {
		t.Errorf("only %d of the series need the correction: they do not test it", corrected)
	}
}

func TestAutocorrelationGolden(t *testing.T) {
	g := readGolden(t).Autocorrelation
	for k, got := range Autocorrelation(g.X, len(g.Rho)-1) {
		near(t, "rho", got, g.Rho[k], 1e-12)
	}
}

func TestRatioGolden(t *testing.T) {
	for _, w := range readGolden(t).Ratio {
		wilson := Wilson(float64(w.Good), float64(w.N), 0.95)
		for i, f := range [][2]float64{{wilson.Low, w.Wilson[0]}, {wilson.High, w.Wilson[1]}} {
			if math.Abs(f[0]-f[1]) > 1e-9 {
				t.Errorf("%d of %d, bound %d: %v, want %v", w.Good, w.N, i, f[0], f[1])
			}
		}
	}
}

func TestRanksGolden(t *testing.T) {
	for _, w := range readGolden(t).Ranks {
		low, high := QuantileRanks(int(w[0]), w[1], 0.95)
		if low != int(w[2]) || high != int(w[3]) {
			t.Errorf("n %v, q %v: %d..%d, want %v..%v", w[0], w[1], low, high, w[2], w[3])
		}
	}
}

// The table of sample sizes that the design rests on.
func TestSampleSizeTable(t *testing.T) {
	for _, w := range []struct {
		n     int
		ranks [3][2]int // p50, p95, p99; 0 = none
	}{
		{80, [3][2]int{{31, 50}, {72, 80}, {77, 0}}},
		{200, [3][2]int{{86, 115}, {184, 197}, {195, 0}}},
		{1000, [3][2]int{{469, 532}, {936, 964}, {983, 997}}},
	} {
		for i, q := range []float64{0.5, 0.95, 0.99} {
			if low, high := QuantileRanks(w.n, q, 0.95); low != w.ranks[i][0] || high != w.ranks[i][1] {
				t.Errorf("n %d, q %v: %d..%d, want %v", w.n, q, low, high, w.ranks[i])
			}
		}
	}
	for q, want := range map[float64]int{0.99: 368, 0.95: 72, 0.5: 6, 0.01: 368, 0.999: 3688} {
		if got := QuantileNeeds(q, 0.95); got != want {
			t.Errorf("an interval of quantile %v needs %d, want %d", q, got, want)
		}
	}
	for share, want := range map[float64]int{0.99: 299, 0.95: 59, 0.9: 29, 0.999: 2995} {
		if got := FlawlessNeeds(share, 0.95); got != want {
			t.Errorf("%v good without a miss needs %d, want %d", share, got, want)
		}
	}
}

func TestKolmogorovSmirnovGolden(t *testing.T) {
	for _, w := range readGolden(t).KS {
		tolerance := 1e-9
		if w.Generate[1] > 0 {
			w.A, w.B = generate(uint64(w.Generate[0]), w.Generate[1]), generate(uint64(w.Generate[0]+100), w.Generate[2])
			for i := range w.B {
				w.B[i] += w.Shift
			}
			if len(w.A)*len(w.B) > maxExact {
				tolerance = 1e-2 // another asymptotic formula
			}
		}
		d, p := KolmogorovSmirnov(w.A, w.B)
		near(t, "D", d, w.D, 1e-12)
		near(t, "p", p, w.P, tolerance)
	}
	if d, p := KolmogorovSmirnov(nil, []float64{1}); d != 0 || p != 1 {
		t.Errorf("of nothing: %v, %v", d, p)
	}
}

func TestCompareGolden(t *testing.T) {
	for _, w := range readGolden(t).Compare {
		c, _ := ComparePaired(w.A, w.B, Options{})
		near(t, "paired p", c.P, w.PP, 1e-9)
		near(t, "paired low", c.Interval.Low, w.Paired[0], 1e-9)
		near(t, "paired high", c.Interval.High, w.Paired[1], 1e-9)
		c, _ = CompareSets(w.A, w.B, Options{})
		near(t, "Welch p", c.P, w.WP, 1e-9)
		near(t, "Welch low", c.Interval.Low, w.Welch[0], 1e-9)
		near(t, "Welch high", c.Interval.High, w.Welch[1], 1e-9)
	}
}

func TestNoiseFloorGolden(t *testing.T) {
	w := readGolden(t).Noise
	n, ok := NoiseFloor(w.X)
	if !ok || n.Trials != 6 || n.Groups != 1 {
		t.Fatalf("%+v", n)
	}
	near(t, "SD", n.SD, w.SD, 1e-12)
	near(t, "its limit", n.High, w.High, 1e-9)
	near(t, "floor", n.Floor, w.Floor, 1e-9)
}

func TestMSERGolden(t *testing.T) {
	for i, w := range readGolden(t).MSER {
		cut, ok := MSER5(w.X)
		if cut != w.Cut || ok != w.OK {
			t.Errorf("series %d: %d %v, want %d %v", i, cut, ok, w.Cut, w.OK)
		}
	}
	if _, ok := MSER5(make([]float64, 49)); ok {
		t.Error("49 values show a steady state")
	}
}

// ar draws an autoregressive series of order one around 100 with deviation 1.
func ar(r *rand.Rand, n int, phi float64) []float64 {
	x := make([]float64, n)
	v := r.NormFloat64()
	for i := range x {
		x[i] = 100 + v
		v = phi*v + math.Sqrt(1-phi*phi)*r.NormFloat64()
	}
	return x
}

// share runs a trial often and returns how often it was true.
func share(times int, seed uint64, trial func(*rand.Rand) bool) float64 {
	r, yes := rand.New(rand.NewPCG(seed, 0)), 0
	for range times {
		if trial(r) {
			yes++
		}
	}
	return float64(yes) / float64(times)
}

func TestTrendErrorRates(t *testing.T) {
	test := func(phi, slope float64, corrected bool) float64 {
		return share(400, 5, func(r *rand.Rand) bool {
			x := ar(r, 60, phi)
			for i := range x {
				x[i] += slope * float64(i)
			}
			m, _ := MannKendall(x, steadyLags)
			if !corrected {
				m.P = math.Erfc(math.Abs(m.Z*math.Sqrt(m.Correction)) / math.Sqrt2)
			}
			return m.P < 0.01
		})
	}
	if e := test(0, 0, true); e > 0.05 {
		t.Errorf("independent values have a trend in %v of cases", e)
	}
	plain, corrected := test(0.6, 0, false), test(0.6, 0, true)
	if plain < 0.1 || corrected > plain/2 {
		t.Errorf("autocorrelated values have a trend in %v of cases, %v without the correction: it does not help", corrected, plain)
	}
	if p := test(0.3, 0.05, true); p < 0.9 {
		t.Errorf("a trend of three deviations is found in %v of cases", p)
	}
}

// The rule for steady windows, on series that have no trend and on one that has.
func TestWindowErrorRates(t *testing.T) {
	for _, phi := range []float64{0, 0.5, 0.8} {
		if e := share(200, 7, func(r *rand.Rand) bool {
			x := ar(r, 400, phi)
			for i := range x {
				x[i] = math.Exp((x[i] - 100) / 2)
			}
			return CheckWindow(x).Verdict != Steady
		}); e > 0.08 {
			t.Errorf("phi %v: a trend in %v of windows without one", phi, e)
		}
	}
	if p := share(200, 7, func(r *rand.Rand) bool {
		x := ar(r, 400, 0.5)
		for i := range x {
			x[i] = math.Exp((x[i]-100)/2 + float64(i)/400)
		}
		return CheckWindow(x).Verdict == Drifting
	}); p < 0.9 {
		t.Errorf("a rise by a factor of e is found in %v of windows", p)
	}
}

func TestEffectiveSizeOfKnownSeries(t *testing.T) {
	for _, w := range []struct {
		phi float64
		n   int
	}{{0, 500}, {0.5, 2000}, {0.9, 5000}, {0.9, 50_000}, {0.99, 200_000}} {
		r := rand.New(rand.NewPCG(3, 0))
		sum := 0.0
		for range 10 {
			sum += EffectiveSize(ar(r, w.n, w.phi)) / 10
		}
		want := float64(w.n) * (1 - w.phi) / (1 + w.phi)
		if sum < 0.75*want || sum > 1.25*want {
			t.Errorf("phi %v, n %d: worth %.0f, want %.0f", w.phi, w.n, sum, want)
		}
	}
}

// Coverage of the intervals on autocorrelated values, and what independence would
// have promised.
func TestIntervalsCoverOnAutocorrelatedValues(t *testing.T) {
	const phi, n = 0.7, 400
	covers := func(f func([]float64) (Interval, bool), truth float64) float64 {
		return share(300, 9, func(r *rand.Rand) bool {
			i, ok := f(ar(r, n, phi))
			return ok && i.Contains(truth)
		})
	}
	p90 := 100 + normal(0.9)
	for name, c := range map[string]float64{
		"batch means":       covers(func(x []float64) (Interval, bool) { _, i, ok := BatchMeans(x, 0.95); return i, ok }, 100),
		"order statistics":  covers(func(x []float64) (Interval, bool) { return byOrder(x, 0.5) }, 100),
		"order, p90":        covers(func(x []float64) (Interval, bool) { return byOrder(x, 0.9) }, p90),
		"independent (bad)": 1.6 - covers(func(x []float64) (Interval, bool) { return independent(x), true }, 100),
	} {
		if c < 0.87 {
			t.Errorf("%s: covers %.3f", name, c)
		}
	}
}

func byOrder(x []float64, q float64) (Interval, bool) {
	e := QuantileInterval(x, slices.Sorted(slices.Values(x)), q, 0.95)
	return e.Interval, e.OK
}

func TestQuantileIntervalOfFewValues(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	x := make([]float64, 80)
	for i := range x {
		x[i] = r.Float64()
	}
	e := QuantileInterval(x, slices.Sorted(slices.Values(x)), 0.99, 0.95)
	if e.OK || e.Needs < 368 || e.Interval != (Interval{}) {
		t.Errorf("p99 of 80 values: %+v", e)
	}
	if e := QuantileInterval(nil, nil, 0.99, 0.95); e.OK || e.Needs != 368 {
		t.Errorf("p99 of nothing: %+v", e)
	}
	same := slices.Repeat([]float64{7}, 100)
	if e := QuantileInterval(same, same, 0.5, 0.95); !e.OK || e.Interval != (Interval{7, 7}) {
		t.Errorf("of equal values: %+v", e)
	}
}

// The chance of a wrong decision, looking after every request, and the chance of a
// right one within a budget.
func TestGateErrorRates(t *testing.T) {
	run := func(p, target float64, budget int, seed uint64) (pass, fail float64) {
		decided := map[Decision]float64{}
		r := rand.New(rand.NewPCG(seed, 0))
		const runs = 1000
		for range runs {
			g := Gate{Target: target, Budget: budget}
			good, bad := 0, 0
			for range budget {
				if r.Float64() < p {
					good++
				} else {
					bad++
				}
				if d := g.withDefaults().decide(good, bad); d != Undecided {
					decided[d] += 1.0 / runs
					break
				}
			}
		}
		return decided[Pass], decided[Fail]
	}
	const allowed = 0.05 + 2.5*0.0069 // 1000 runs
	for _, target := range []float64{0.9, 0.95, 0.99} {
		if pass, fail := run(target, target, 1500, 1); pass+fail > allowed {
			t.Errorf("target %v: at the target itself %v pass, %v fail", target, pass, fail)
		}
		if pass, _ := run(target-0.01, target, 1500, 2); pass > 0.05 {
			t.Errorf("target %v: %v below it pass", target, pass)
		}
	}
	if pass, _ := run(0.98, 0.9, 400, 3); pass < 0.95 {
		t.Errorf("98 %% good pass a target of 90 %% in %v of runs of 400", pass)
	}
	if _, fail := run(0.8, 0.9, 400, 4); fail < 0.95 {
		t.Errorf("80 %% good fail a target of 90 %% in %v of runs of 400", fail)
	}
	if pass, fail := run(0.9, 0.9, 100, 5); pass+fail > allowed {
		t.Errorf("a small budget decides %v", pass+fail)
	}
}

func TestGateStates(t *testing.T) {
	g := Gate{Target: 0.95, Budget: 100}
	for _, w := range []struct {
		good, bad int
		want      Decision
		spent     bool
		canPass   bool
	}{
		{0, 0, Undecided, false, true},
		{50, 0, Undecided, false, true},
		{90, 0, Pass, false, true},
		{100, 0, Pass, true, true},
		{10, 2, Undecided, false, false}, // 98 of 100 would show nothing
		{10, 20, Fail, false, false},
		{95, 5, Undecided, true, false},
	} {
		s := g.Check(w.good, w.bad)
		if s.Decision != w.want || s.Spent != w.spent || s.CanPass != w.canPass {
			t.Errorf("%d good, %d bad: %+v", w.good, w.bad, s)
		}
	}
	if a, b := g.Check(90, 0), (Gate{Target: 0.95, Design: 4}).Check(90, 0); a.Decision != Pass || b.Decision != Undecided || b.Interval.Width() <= a.Interval.Width() {
		t.Errorf("four requests worth one: %+v, else %+v", b, a)
	}
}

// The decision is what the interval says, and the interval holds the share seen.
func TestGateAgreesWithItsInterval(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := Gate{Target: rapid.Float64Range(0.01, 0.99).Draw(t, "target")}
		good, bad := rapid.IntRange(0, 3000).Draw(t, "good"), rapid.IntRange(0, 3000).Draw(t, "bad")
		s := g.Check(good, bad)
		if n := good + bad; n > 0 && !s.Interval.Contains(float64(good)/float64(n)) {
			t.Fatalf("%+v does not hold %d of %d", s.Interval, good, n)
		}
		want := Undecided
		switch {
		case s.Interval.Low > g.Target+1e-9:
			want = Pass
		case s.Interval.High < g.Target-1e-9:
			want = Fail
		case s.Interval.Low > g.Target-1e-9 || s.Interval.High < g.Target+1e-9:
			return // on the edge
		}
		if s.Decision != want {
			t.Fatalf("%d good, %d bad, target %v: %+v, want %v", good, bad, g.Target, s, want)
		}
	})
}

func TestWindow(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 0))
	flat := ar(r, 600, 0.4)
	rising, early, tiny := slices.Clone(flat), slices.Clone(flat), slices.Clone(flat)
	for i := range flat {
		rising[i] += 0.1 * float64(i)
		early[i] += max(0, float64(200-i)) // falls for the first 200, then stays
		tiny[i] += 0.01 * float64(i)       // 6 % over the window
	}
	for name, w := range map[string]struct {
		x     []float64
		want  Steadiness
		after bool
	}{
		"flat": {flat, Steady, false}, "rising": {rising, Drifting, false}, "falls first": {early, Transient, true},
		"a trend too small to matter": {tiny, Steady, false}, "few": {flat[:19], Unknown, false}, "none": {nil, Unknown, false},
		"equal": {make([]float64, 100), Steady, false},
	} {
		if got := CheckWindow(w.x); got.Verdict != w.want || got.AfterTransient != w.after {
			t.Errorf("%s: %+v, want %v", name, got, w.want)
		}
	}
	if w := CheckWindow(rising); w.Drift < 0.3 || w.Drift > 0.6 {
		t.Errorf("drift %v, want 60 over about 130", w.Drift)
	}
	if w := CheckWindow(early); w.Transient < 190 || w.Transient > 230 {
		t.Errorf("transient %d, want about 200", w.Transient)
	}
}

// One command against itself, and against one that is 5 % slower, with the default
// number of blocks and the noise that a real engine showed.
func TestComparisonErrorRates(t *testing.T) {
	const noise = 0.026
	winners := func(slower float64, compare func(a, b []float64, o Options) (Comparison, bool), want Winner) float64 {
		return share(2000, 11, func(r *rand.Rand) bool {
			var a, b []float64
			for range DefaultBlocks {
				block := 50 * math.Exp(0.1*r.NormFloat64()) // prompts and the hour: the same for both
				if compare == nil {
					block = 50
				}
				a = append(a, block*math.Exp(noise*r.NormFloat64()))
				b = append(b, block*math.Exp(noise*r.NormFloat64())/(1+slower))
			}
			f := compare
			if f == nil {
				f = CompareSets
			}
			c, ok := f(a, b, Options{})
			return ok && (c.Winner == want || want == "" && c.Winner != Tie)
		})
	}
	if e := winners(0, ComparePaired, ""); e > 0.05 {
		t.Errorf("A/A, paired: a winner in %v", e)
	}
	if p := winners(0.05, ComparePaired, A); p < 0.9 {
		t.Errorf("5 %% slower, paired: found in %v", p)
	}
	if e := winners(0, nil, ""); e > 0.05 {
		t.Errorf("A/A, sets: a winner in %v", e)
	}
	if p := winners(0.05, nil, A); p < 0.9 {
		t.Errorf("5 %% slower, sets: found in %v", p)
	}
	// Without a threshold the interval alone must hold the error.
	if e := share(2000, 12, func(r *rand.Rand) bool {
		var a, b []float64
		for range 5 {
			a, b = append(a, math.Exp(0.1*r.NormFloat64())), append(b, math.Exp(0.1*r.NormFloat64()))
		}
		c, _ := ComparePaired(a, b, Options{Threshold: -1})
		return c.Winner != Tie
	}); e < 0.035 || e > 0.065 {
		t.Errorf("A/A without a threshold: %v, want 5 %%", e)
	}
	if n := BlocksNeeded(noise*math.Sqrt2, 0.05, 0.9, Options{}); n < 5 || n > DefaultBlocks {
		t.Errorf("blocks needed: %d, the default is %d", n, DefaultBlocks)
	}
	if n := BlocksNeeded(noise, 0.03, 0.9, Options{}); n != 0 {
		t.Errorf("a difference at the threshold is found with %d blocks", n)
	}
}

func TestSingleTrialsUseTheNoise(t *testing.T) {
	noise, _ := NoiseFloor([]float64{100, 102, 98, 101, 99})
	one, two := []float64{100}, []float64{110}
	for name, f := range map[string]func(a, b []float64, o Options) (Comparison, bool){"paired": ComparePaired, "sets": CompareSets} {
		if c, ok := f(one, two, Options{}); ok || c.Winner != Tie || !math.IsNaN(c.Delta) {
			t.Errorf("%s: one trial each and no noise: %+v", name, c)
		}
		if c, ok := f(one, two, Options{Noise: &noise}); !ok || c.Winner != B {
			t.Errorf("%s: 10 %% with a noise of 1.6 %%: %+v", name, c)
		}
		if c, ok := f(one, two, Options{Noise: &noise, LowerIsBetter: true}); !ok || c.Winner != A {
			t.Errorf("%s: lower is better: %+v", name, c)
		}
		if c, _ := f(one, []float64{104}, Options{Noise: &noise}); c.Winner != Tie {
			t.Errorf("%s: 4 %% is below the floor of %v: %+v", name, noise.Floor, c)
		}
		for _, bad := range [][]float64{nil, {0}, {-1}, {math.NaN()}, {math.Inf(1)}} {
			if c, ok := f(one, bad, Options{Noise: &noise}); ok || c.Winner != Tie {
				t.Errorf("%s: %v was compared: %+v", name, bad, c)
			}
		}
	}
	if _, ok := NoiseFloor([]float64{1}, nil); ok {
		t.Error("noise of one trial")
	}
	if n, ok := NoiseFloor([]float64{100, 102}, []float64{500, 510}, []float64{3}); !ok || n.Trials != 4 || n.Groups != 2 || n.SD > 0.02 {
		t.Errorf("pooled: %+v", n)
	}
}

func positive(t *rapid.T, name string, n int) []float64 {
	return rapid.SliceOfN(rapid.Float64Range(1, 1000), n, n).Draw(t, name)
}

// Whoever is called a, and in whatever unit, the verdict is the same.
func TestComparisonIsSymmetric(t *testing.T) {
	other := map[Winner]Winner{A: B, B: A, Tie: Tie}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "n")
		a, b := positive(t, "a", n), positive(t, "b", n)
		lower := rapid.Bool().Draw(t, "lower")
		for _, f := range []func(a, b []float64, o Options) (Comparison, bool){ComparePaired, CompareSets} {
			c, _ := f(a, b, Options{LowerIsBetter: lower})
			swapped, _ := f(b, a, Options{LowerIsBetter: lower})
			opposite, _ := f(a, b, Options{LowerIsBetter: !lower})
			if swapped.Winner != other[c.Winner] || opposite.Winner != other[c.Winner] {
				t.Fatalf("%+v, swapped %+v, opposite %+v", c, swapped, opposite)
			}
			if !c.Interval.Contains(c.Delta) || c.Winner != Tie && c.Interval.Contains(0) {
				t.Fatalf("%+v", c)
			}
		}
	})
}

func TestInterleaveIsBalancedAndSeeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, seed := rapid.IntRange(0, 60).Draw(t, "n"), rapid.Uint64().Draw(t, "seed")
		first := Interleave(n, seed)
		b := 0
		for _, isB := range first {
			if isB {
				b++
			}
		}
		if len(first) != n || b < n/2 || b > (n+1)/2 || !slices.Equal(first, Interleave(n, seed)) {
			t.Fatalf("%v", first)
		}
	})
}

func values(t *rapid.T, least, most int) []float64 {
	return rapid.SliceOfN(rapid.Float64Range(-1000, 1000), least, most).Draw(t, "x")
}

// A trend turns with the direction of time and does not know the unit.
func TestTrendRelations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := values(t, 4, 40)
		back, scaled := slices.Clone(x), slices.Clone(x)
		slices.Reverse(back)
		for i := range scaled {
			scaled[i] *= 4
		}
		a, _ := MannKendall(x, 0)
		b, _ := MannKendall(back, 0)
		c, _ := MannKendall(scaled, 0)
		// The reversed p may differ a little: pairs on the line itself are ties but for rounding.
		if a.S != -b.S || math.Abs(a.Slope+b.Slope) > 1e-9 || a.S != c.S || math.Abs(a.P-c.P) > 1e-12 || math.Abs(c.Slope-4*a.Slope) > 1e-9*(1+math.Abs(c.Slope)) {
			t.Fatalf("%+v, reversed %+v, scaled %+v", a, b, c)
		}
		if a.P < 0 || a.P > 1 || math.Abs(a.Tau) > 1 || a.Correction <= 0 {
			t.Fatalf("%+v", a)
		}
	})
}

// independent is the interval of the mean of values that do not depend on one
// another.
func independent(x []float64) Interval {
	half := normal(0.975) * math.Sqrt(variance(x)/float64(len(x)))
	return Interval{mean(x) - half, mean(x) + half}
}

func TestSeriesRelations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := values(t, 1, 60)
		if n := EffectiveSize(x); n < 1 || n > float64(len(x)) {
			t.Fatalf("%v values are worth %v", len(x), n)
		}
		kept := slices.Clone(x)
		sorted := slices.Sorted(slices.Values(x))
		q := rapid.Float64Range(0.01, 0.99).Draw(t, "q")
		if e := QuantileInterval(x, sorted, q, 0.9); e.OK && (e.Interval.Low > e.Interval.High || !slices.Contains(x, e.Interval.Low) || !slices.Contains(x, e.Interval.High)) {
			t.Fatalf("%+v", e)
		}
		if m, i, ok := BatchMeans(x, 0.95); ok && !i.Contains(m) && len(x)%minBatches == 0 {
			t.Fatalf("mean %v outside %+v", m, i)
		}
		CheckWindow(x)
		if !slices.Equal(x, kept) {
			t.Fatal("the samples were changed")
		}
	})
}

// More confidence is a wider interval; the ranks cover what they promise.
func TestRanksCover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, q := rapid.IntRange(1, 400).Draw(t, "n"), rapid.Float64Range(0.02, 0.98).Draw(t, "q")
		level := rapid.Float64Range(0.5, 0.99).Draw(t, "level")
		low, high := QuantileRanks(n, q, level)
		if (low > 0 && high > 0) != (n >= QuantileNeeds(q, level)) {
			t.Fatalf("n %d, q %v: %d..%d, needs %d", n, q, low, high, QuantileNeeds(q, level))
		}
		if low > 0 && high > 0 {
			if c := atMost(high-1, n, q) - atMost(low-1, n, q); c < level-1e-9 || low >= high {
				t.Fatalf("n %d, q %v: %d..%d covers %v of %v", n, q, low, high, c, level)
			}
			wideLow, wideHigh := QuantileRanks(n, q, level+(1-level)/2)
			if wideLow > low || wideHigh != 0 && wideHigh < high {
				t.Fatalf("%d..%d at %v, %d..%d at more", low, high, level, wideLow, wideHigh)
			}
		}
	})
}

func TestRatioRelations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 2000).Draw(t, "n")
		good := rapid.IntRange(0, n).Draw(t, "good")
		w := Wilson(float64(good), float64(n), 0.95)
		if p := float64(good) / float64(n); w.Low < 0 || w.High > 1 || !(Interval{w.Low - 1e-12, w.High + 1e-12}).Contains(p) {
			t.Fatalf("%d of %d: %+v", good, n, w)
		}
		mirrored := Wilson(float64(n-good), float64(n), 0.95)
		if math.Abs(mirrored.Low-(1-w.High)) > 1e-9 || math.Abs(mirrored.High-(1-w.Low)) > 1e-9 {
			t.Fatalf("%+v mirrored is %+v", w, mirrored)
		}
	})
}

func TestKolmogorovSmirnovErrorRate(t *testing.T) {
	if e := share(1000, 6, func(r *rand.Rand) bool {
		_, p := KolmogorovSmirnov(ar(r, 40, 0), ar(r, 60, 0))
		return p < 0.05
	}); e > 0.05+2.5*0.0069 {
		t.Errorf("samples of one distribution differ in %v", e)
	}
}
