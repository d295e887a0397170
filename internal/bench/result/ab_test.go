package result

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmdyno/internal/load/stat"
)

// sides are two rows of the same blocks; b is a by a factor, with some noise.
func sides(factor float64, noise ...float64) (a, b Row) {
	base := []float64{100, 104, 97, 101, 99, 103}
	var x, y []float64
	for i, v := range base[:len(noise)] {
		x, y = append(x, v), append(y, v*factor*(1+noise[i]))
	}
	return measured("a", 0, x...), measured("b", 0, y...)
}

func TestCompareAB(t *testing.T) {
	quiet := []float64{0.001, -0.002, 0.001, 0, -0.001, 0.002}
	for name, test := range map[string]struct {
		factor    float64
		noise     []float64
		threshold float64
		want      stat.Winner
		says      string
	}{
		"better":              {1.06, quiet, 0, stat.B, "b is better: requests/s of b against a +6.0 %"},
		"worse":               {0.94, quiet, 0, stat.A, "a is better"},
		"below the threshold": {1.02, quiet, 0, stat.Tie, "does not exceed both its interval and 3 %"},
		"a lower threshold":   {1.02, quiet, 0.01, stat.B, "b is better"},
		"in the noise":        {1.06, []float64{0.2, -0.2, 0.1, -0.1}, 0, stat.Tie, "tie"},
		"one block":           {1.06, quiet[:1], 0, stat.Tie, "no verdict: 1 of 6 blocks"},
	} {
		a, b := sides(test.factor, test.noise...)
		ab := CompareAB(a, b, ABOptions{Metric: "request_throughput", Threshold: test.threshold, Planned: 6})
		if ab.Winner != test.want || !strings.Contains(ab.Verdict, test.says) || ab.Measured() != (len(test.noise) > 1) {
			t.Errorf("%s: %s, %s", name, ab.Winner, ab.Verdict)
		}
	}
	// A block without a sound trial of either side is left out.
	a, b := sides(1.06, quiet...)
	a.Points[1].Invalid, b.Points[4].Status = "the client was late", StatusFailed
	if ab := CompareAB(a, b, ABOptions{Metric: "request_throughput", Planned: 6}); ab.Blocks != 4 || ab.A.Trials != 5 || ab.A.Reason == "" || ab.Winner != stat.B {
		t.Errorf("%+v", ab)
	}
	b.Equivalence = &Equivalence{Passed: ptr(false), Reason: "it says nothing"}
	if ab := CompareAB(a, b, ABOptions{Metric: "request_throughput", Planned: 6}); ab.Winner != stat.Tie || !strings.Contains(ab.Verdict, "cannot win: it says nothing") {
		t.Error(ab.Verdict)
	}
}

// Swapping the sides swaps the verdict.
func TestABIsFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		noise := rapid.SliceOfN(rapid.Float64Range(-0.05, 0.05), 2, 6).Draw(t, "noise")
		a, b := sides(rapid.Float64Range(0.85, 1.2).Draw(t, "factor"), noise...)
		o := ABOptions{Metric: "request_throughput", Planned: len(noise)}
		there, back := CompareAB(a, b, o), CompareAB(b, a, o)
		swapped := map[stat.Winner]stat.Winner{stat.A: stat.B, stat.B: stat.A, stat.Tie: stat.Tie}
		if swapped[there.Winner] != back.Winner || math.Abs((1+there.Figures[0].Delta)*(1+back.Figures[0].Delta)-1) > 1e-9 {
			t.Fatalf("%s, swapped %s", there.Verdict, back.Verdict)
		}
	})
}

func TestFigures(t *testing.T) {
	for _, key := range Figures() {
		if title, ok := FigureTitle(key); !ok || title == "" {
			t.Errorf("%s is listed and not known", key)
		}
	}
	for _, key := range []string{"", "speed", "p50_ttft", "_ms", "p101_ttft_ms", "p97.5_ttft_ms"} {
		if _, ok := FigureTitle(key); ok {
			t.Errorf("%q is known", key)
		}
	}
	g, ok := gaugeOf("p95_e2e_ms")
	if v := g.of(Metrics{E2E: Latency{P95: ptr(18.0)}}); !ok || v == nil || *v != 18 {
		t.Errorf("p95 is %v", v)
	}
}
