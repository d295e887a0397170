package workload

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func draws(l Lengths, c Compat, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = l.Draw(5, streamInput, i, c)
	}
	return out
}

func moments(x []int) (mean, sd float64) {
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	for _, v := range x {
		sd += (float64(v) - mean) * (float64(v) - mean) / float64(len(x))
	}
	return mean, math.Sqrt(sd)
}

// A length and its range mean what each tool means by them (facts, 2.3): both
// ends are met, nothing lies outside, and all values are as likely.
func TestMeaningOfARange(t *testing.T) {
	for _, tt := range []struct {
		compat    Compat
		ratio     float64
		low, high int
		words     string
	}{
		{"", 0, 100, 100, "exactly 100"},
		{"", 0.105, 90, 111, "every whole number from 90 to 111 as likely (mean 100.5): 100 with range ratio 0.105"},
		{CompatVLLM, 0, 100, 100, "exactly 100"},
		{CompatVLLM, 0.105, 89, 111, "every whole number from 89 to 111 as likely (mean 100): 100 with range ratio 0.105 as vllm means it"},
		{CompatVLLM, 1, 1, 200, "from 1 to 200"},
		{CompatSGLang, 0, 1, 100, "every whole number from 1 to 100 as likely (mean 50.5): 100 with range ratio 0 as sglang means it"},
		{CompatSGLang, 0.105, 10, 100, "from 10 to 100"},
		{CompatSGLang, 1, 100, 100, "exactly 100"},
	} {
		l := Lengths{Mean: 100, Range: tt.ratio}
		x := draws(l, tt.compat, 20_000)
		mean, _ := moments(x)
		width := float64(tt.high - tt.low + 1)
		if slices.Min(x) != tt.low || slices.Max(x) != tt.high || math.Abs(mean-float64(tt.low+tt.high)/2) > 4*width/math.Sqrt(12*20_000) {
			t.Errorf("%q, ratio %v: %d to %d with mean %.2f, want %d to %d", tt.compat, tt.ratio, slices.Min(x), slices.Max(x), mean, tt.low, tt.high)
		}
		if got := l.Describe(tt.compat); !strings.Contains(got, tt.words) {
			t.Errorf("%q, ratio %v: described as %q, want %q", tt.compat, tt.ratio, got, tt.words)
		}
	}
}

func TestDistributions(t *testing.T) {
	for _, tt := range []struct {
		l         Lengths
		mean, sd  float64
		tolerance float64 // relative, on both
		low, high int
		words     string
	}{
		{Lengths{Kind: LengthUniform, Min: 10, Max: 20}, 15, math.Sqrt(120.0 / 12), 0.03, 10, 20, "from 10 to 20"},
		{Lengths{Kind: LengthNormal, Mean: 1000, Stddev: 100}, 1000, 100, 0.03, 1, 2000, "normal with mean 1000 and standard deviation 100"},
		{Lengths{Kind: LengthLogNormal, Mean: 1000, Stddev: 800}, 1000, 800, 0.06, 1, maxLen, "log-normal with mean 1000 and standard deviation 800 of the lengths themselves"},
		{Lengths{Kind: LengthEmpirical, Values: []int{1, 1, 4}}, 2, math.Sqrt2, 0.03, 1, 4, "3 given values (1 to 4, mean 2)"},
		{Lengths{Kind: LengthNormal, Mean: 10, Stddev: 100, Min: 5, Max: 15}, 10, 3.16, 0.05, 5, 15, "from 5 to 15 (a value outside is drawn again)"},
	} {
		x := draws(tt.l, "", 20_000)
		mean, sd := moments(x)
		if math.Abs(mean/tt.mean-1) > tt.tolerance || math.Abs(sd/tt.sd-1) > tt.tolerance || slices.Min(x) < tt.low || slices.Max(x) > tt.high {
			t.Errorf("%+v: mean %.4g, sd %.4g, %d to %d; want %.4g, %.4g", tt.l, mean, sd, slices.Min(x), slices.Max(x), tt.mean, tt.sd)
		}
		if err := tt.l.Validate(); err != nil || !strings.Contains(tt.l.Describe(""), tt.words) {
			t.Errorf("%+v: %v, %q", tt.l, err, tt.l.Describe(""))
		}
	}
}

// Whatever is valid draws within its bounds, and always the same.
func TestDrawsAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 5000)
		l := Lengths{
			Kind: rapid.SampledFrom([]LengthKind{"", LengthFixed, LengthUniform, LengthNormal, LengthLogNormal, LengthEmpirical}).Draw(t, "kind"),
			Mean: float64(n.Draw(t, "mean")), Stddev: float64(n.Draw(t, "sd")), Range: rapid.Float64Range(0, 1).Draw(t, "range"),
			Min: n.Draw(t, "min"), Max: n.Draw(t, "max"), Values: rapid.SliceOfN(n, 1, 5).Draw(t, "values"),
		}
		c := rapid.SampledFrom([]Compat{"", CompatVLLM, CompatSGLang}).Draw(t, "compat")
		if l.Validate() != nil {
			return
		}
		i := rapid.IntRange(0, 1000).Draw(t, "i")
		x := l.Draw(7, streamOutput, i, c)
		low, high := l.bounds()
		if l.Kind == LengthFixed || l.Kind == "" {
			low, high = l.span(c)
		}
		if l.Kind == LengthEmpirical {
			low, high = slices.Min(l.Values), slices.Max(l.Values)
		}
		if x < low || x > high || x != l.Draw(7, streamOutput, i, c) || l.Describe(c) == "" {
			t.Fatalf("%+v as %q drew %d, expected %d to %d", l, c, x, low, high)
		}
	})
}

func TestLengthsRefuse(t *testing.T) {
	for want, l := range map[string]Lengths{
		`"zipf" is not known`:   {Kind: "zipf"},
		"fixed length 1.5":      {Mean: 1.5},
		"fixed length -1":       {Mean: -1},
		"range ratio 2":         {Mean: 1, Range: 2},
		"range ratio NaN":       {Mean: 1, Range: math.NaN()},
		"uniform lengths need":  {Kind: LengthUniform},
		"from 5 to 4":           {Kind: LengthUniform, Min: 5, Max: 4},
		"mean 0":                {Kind: LengthNormal, Stddev: 1},
		"standard deviation -1": {Kind: LengthLogNormal, Mean: 1, Stddev: -1},
		"need values":           {Kind: LengthEmpirical},
		"the value -3":          {Kind: LengthEmpirical, Values: []int{-3}},
		"from 0 to 10000001":    {Max: maxLen + 1},
	} {
		if err := l.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", l, err, want)
		}
	}
}

func TestReadLengths(t *testing.T) {
	for text, want := range map[string][]int{"[3, 1]": {3, 1}, "3\n\n 1 \r\n": {3, 1}} {
		if got, err := ReadLengths(strings.NewReader(text), "f"); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"": "need values", "[1.5]": "list of whole numbers", "7\nseven": `line 2: "seven"`, "[-1]": "the value -1"} {
		if _, err := ReadLengths(strings.NewReader(text), "f.txt"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "lengths f.txt") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzLengths(f *testing.F) {
	f.Add("[1,2]")
	f.Add("1\n2")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ReadLengths(strings.NewReader(text), "fuzz")
		if err == nil && (Lengths{Kind: LengthEmpirical, Values: got}).Validate() != nil || err != nil && !strings.HasPrefix(err.Error(), "lengths fuzz") {
			t.Fatalf("%v, %v", got, err)
		}
	})
}
