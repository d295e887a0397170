package witness

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"llmdyno/internal/engine"
)

func TestCounter(t *testing.T) {
	type page = map[string]float64
	for _, c := range []struct {
		name   string
		pages  []page
		rise   float64
		resets int
	}{
		{"none", nil, 0, 0},
		{"one reading", []page{{"a": 7}}, 0, 0},
		{"two series", []page{{"a": 7, "b": 1}, {"a": 9, "b": 4}}, 5, 0},
		{"restart hidden in the sum", []page{{"a": 100, "b": 5}, {"a": 3, "b": 200}}, 3 + 195, 1},
		{"series that appears", []page{{"a": 7}, {"a": 7, "b": 4}, {"a": 8, "b": 5}}, 6, 0},
		{"series that is missing for a while", []page{{"a": 7, "b": 2}, {"a": 8}, {"a": 9, "b": 5}}, 5, 0},
		{"restart to the same", []page{{"a": 5}, {"a": 0}, {"a": 5}}, 5, 1},
	} {
		var got counter
		for _, p := range c.pages {
			got.add(p)
		}
		if got.rise != c.rise || got.resets != c.resets {
			t.Errorf("%s: rise %g, %d resets; want %g, %d", c.name, got.rise, got.resets, c.rise, c.resets)
		}
	}
}

// The rise over all readings is that of the ends where nothing began anew, and
// the sum over any cut.
func TestCounterCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(-3, 50), 2, 30).Draw(t, "steps")
		var pages []map[string]float64
		v := 0.0
		for _, s := range steps {
			if s < 0 {
				v = 0
			}
			v += math.Abs(float64(s))
			pages = append(pages, map[string]float64{"": v})
		}
		rise := func(pages []map[string]float64) float64 {
			var c counter
			for _, p := range pages {
				c.add(p)
			}
			return c.rise
		}
		cut := rapid.IntRange(0, len(pages)-1).Draw(t, "cut")
		if whole, parts := rise(pages), rise(pages[:cut+1])+rise(pages[cut:]); whole != parts {
			t.Fatalf("%g in one piece, %g in two", whole, parts)
		}
		if slices.Min(steps) >= 0 && rise(pages) != v-pages[0][""] {
			t.Fatalf("%g without a restart, want %g", rise(pages), v-pages[0][""])
		}
	})
}

// bucketed are the observations as a server exposes them.
func bucketed(bounds, x []float64) engine.Histogram {
	h := engine.Histogram{Count: float64(len(x))}
	for _, v := range x {
		h.Sum += v
	}
	for _, le := range append(slices.Clone(bounds), math.Inf(1)) {
		n := 0
		for _, v := range x {
			if v <= le {
				n++
			}
		}
		h.Buckets = append(h.Buckets, engine.Bucket{LE: le, Count: float64(n)})
	}
	return h
}

func drawBounds(t *rapid.T) []float64 {
	ints := rapid.SliceOfNDistinct(rapid.IntRange(1, 100), 0, 12, rapid.ID[int]).Draw(t, "bounds")
	slices.Sort(ints)
	out := make([]float64, len(ints))
	for i, v := range ints {
		out[i] = float64(v)
	}
	return out
}

func drawValues(t *rapid.T, name string, least int) []float64 {
	ints := rapid.SliceOfN(rapid.IntRange(1, 120), least, 60).Draw(t, name)
	out := make([]float64, len(ints))
	for i, v := range ints {
		out[i] = float64(v)
	}
	return out
}

// The true quantile lies within the bounds that are stated with the estimate, and
// the estimate between them.
func TestQuantileBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := drawValues(t, "values", 1)
		q := rapid.Float64Range(0.001, 1).Draw(t, "q")
		value, low, high, ok := Quantile(bucketed(drawBounds(t), x), q)
		slices.Sort(x)
		truth := x[max(0, int(math.Ceil(q*float64(len(x))))-1)]
		if !ok || value < low || value > high || !(truth > low && truth <= high) {
			t.Fatalf("%g-quantile of %v: %g in (%g, %g], truth %g", q, x, value, low, high, truth)
		}
	})
}

// A trial's histogram is what was observed in it, however the readings are cut
// and over however many series it is spread.
func TestHistogramOfTheTrial(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bounds := drawBounds(t)
		before, first, second := drawValues(t, "before", 0), drawValues(t, "first", 0), drawValues(t, "second", 0)
		var h histogram
		all := slices.Clone(before)
		h.add(map[string]engine.Histogram{"rank=0": bucketed(bounds, all)})
		all = append(all, first...)
		h.add(map[string]engine.Histogram{"rank=0": bucketed(bounds, all)})
		h.add(map[string]engine.Histogram{"rank=0": bucketed(bounds, all), "rank=1": bucketed(bounds, second)})
		want := bucketed(bounds, append(slices.Clone(first), second...))
		if got := *h.gained; h.resets != 0 || got.Count != want.Count || math.Abs(got.Sum-want.Sum) > 1e-9 || !slices.Equal(got.Buckets, want.Buckets) {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
}

func TestHistogramRestart(t *testing.T) {
	bounds := []float64{1, 10}
	var h histogram
	h.add(map[string]engine.Histogram{"": bucketed(bounds, []float64{5, 5, 5})})
	h.add(map[string]engine.Histogram{"": bucketed(bounds, []float64{5, 5, 5, 0.5})})
	h.add(map[string]engine.Histogram{"": bucketed(bounds, []float64{20, 20, 20, 20, 20})}) // more, yet anew
	if h.resets != 1 || h.gained.Count != 6 || h.gained.Sum != 100.5 {
		t.Errorf("%d resets, %+v", h.resets, *h.gained)
	}
	if d := dist(engine.QuantityTTFT, *h.gained); d.P90.High != nil || d.P90.Ms != 10_000 || d.P90.Low != 10_000 {
		t.Errorf("a quantile in the open bucket: %+v", d.P90)
	}
}

// Series of other bounds share only those that both have.
func TestHistogramOtherBounds(t *testing.T) {
	a, b := bucketed([]float64{1, 2, 4}, []float64{0.5, 3}), bucketed([]float64{2, 3}, []float64{2.5})
	sum := a.Add(b)
	want := []engine.Bucket{{LE: 2, Count: 1}, {LE: math.Inf(1), Count: 3}}
	if !slices.Equal(sum.Buckets, want) || sum.Count != 3 || sum.Sum != 6 {
		t.Errorf("%+v", sum)
	}
}
