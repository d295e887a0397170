package result

import (
	"slices"
	"testing"

	"llmdyno/internal/load/metric"
)

func TestJudge(t *testing.T) {
	quantiles := make([]float64, len(metric.QuantileLevels))
	for i, q := range metric.QuantileLevels {
		quantiles[i] = 1000 * q
	}
	m := Metrics{SuccessRate: ptr(0.9875), TTFT: Latency{P50: ptr(1500.0), Mean: ptr(1600.0), P99: ptr(4000.4), Quantiles: quantiles}}
	tests := []struct {
		name   string
		limits []Limit
		min    *float64
		want   []string
	}{
		{"no limits", nil, nil, nil},
		{"met exactly", []Limit{{"max_p50_ttft_ms", 1500}}, ptr(0.9875), nil},
		{"one failure in 80 prompts", nil, ptr(0.99), []string{"success rate 98.75 % is below the limit of 99 %"}},
		{"above", []Limit{{"max_mean_ttft_ms", 1599}}, nil, []string{"mean TTFT 1600 ms is above the limit of 1599 ms"}},
		{"above by a hair", []Limit{{"max_p99_ttft_ms", 4000}}, nil, []string{"p99 TTFT 4000.4 ms is above the limit of 4000 ms"}},
		{"not measured is not met", []Limit{{"max_p50_tpot_ms", 30}}, nil, []string{"p50 TPOT was not measured (limit 30 ms)"}},
		{"percentile between the kept ones", []Limit{{"max_p98.5_ttft_ms", 984}, {"max_p92.5_ttft_ms", 926}}, nil, []string{"p98.5 TTFT 985 ms is above the limit of 984 ms"}},
		{"no such figure", []Limit{{"max_ttft_ms", 30}, {"max_p50_foo_ms", 1}}, nil, []string{"limit max_ttft_ms names no figure of a row", "limit max_p50_foo_ms names no figure of a row"}},
	}
	for _, test := range tests {
		passed, got := Judge(test.limits, test.min, m)
		if passed != (len(test.want) == 0) || !slices.Equal(got, test.want) {
			t.Errorf("%s: passed %v with %q, want %q", test.name, passed, got, test.want)
		}
	}
	if _, got := Judge(nil, ptr(0.99), Metrics{}); !slices.Equal(got, []string{"success rate was not measured (limit 99 %)"}) {
		t.Errorf("nothing measured: %q", got)
	}
	if NewLimit("p99", "e2e", 1) != (Limit{"max_p99_e2e_ms", 1}) || !NewLimit("p99.9", "itl", 1).Known() || (Limit{Key: "max_ttft_ms"}).Known() {
		t.Error("NewLimit or Known")
	}
}

// A share of 99 % takes 299 requests without a failure (facts of sample sizes:
// 0.99^299 ≤ 0.05), and what was missed is not also called unshown.
func TestUnshownSuccess(t *testing.T) {
	for _, test := range []struct {
		least, rate float64
		sent        int
		unshown     bool
	}{
		{0.99, 1, 298, true}, {0.99, 1, 299, false}, {0.95, 1, 58, true}, {0.95, 1, 59, false},
		{0.99, 0.98, 50, false}, {1, 1, 10, false}, {0, 1, 1, false},
	} {
		w, got := SLA{MinSuccessRate: &test.least}.Unshown(Metrics{SuccessRate: &test.rate, Sent: &test.sent})
		if got != test.unshown {
			t.Errorf("%+v: %t %s", test, got, w.Message)
		}
	}
	if w, _ := (SLA{MinSuccessRate: ptr(0.99)}).Unshown(Metrics{SuccessRate: ptr(1.0), Sent: ptr(80)}); w.Message != "min_success_rate 99 % was met by 80 requests; it takes 299 without a failure to show it at 95 %" {
		t.Error(w.Message)
	}
	if _, told := (SLA{}).Unshown(Metrics{SuccessRate: ptr(1.0), Sent: ptr(3)}); told {
		t.Error("there is no limit to show")
	}
}
