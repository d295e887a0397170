package client

import (
	"maps"
	"testing"

	"llmdyno/internal/engine"
)

var metricsTable = []engine.Metric{
	{Quantity: engine.QuantityRunning, Name: "x:running"},
	{Quantity: engine.QuantityPromptTokens, Name: "x:prompt_tokens_total", Sum: true},
	{Quantity: engine.QuantityCachedTokens, Name: "x:tokens_total", Labels: map[string]string{"mode": "cached"}, Sum: true},
	{Quantity: engine.QuantityKVUsage, Name: "x:absent"},
	{Quantity: engine.QuantityRequests, Name: "x:new"},
	{Quantity: engine.QuantityRequests, Name: "x:old"},
}

const metricsText = `# HELP x:running Requests that run.
# TYPE x:running gauge
x:running{rank="0"} 3
x:running{rank="1"} 5
# TYPE x:prompt_tokens_total counter
x:prompt_tokens_total{rank="0"} 10
x:prompt_tokens_total{rank="1"} 2.5e3
# TYPE x:tokens_total counter
x:tokens_total{mode="cached"} 7
x:tokens_total{mode="computed"} 900
x:old 4
# TYPE x:ttft histogram
x:ttft_bucket{le="+Inf"} 1
x:ttft_sum 1
x:ttft_count 1
`

func TestReadQuantities(t *testing.T) {
	got, err := ReadQuantities(metricsTable, []byte(metricsText))
	want := map[engine.Quantity]float64{
		engine.QuantityRunning: 5, engine.QuantityPromptTokens: 2510, engine.QuantityCachedTokens: 7, engine.QuantityRequests: 4,
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v; expected %v", got, err, want)
	}
	if _, err := ReadQuantities(metricsTable, []byte("x:running{ 3\n")); err == nil {
		t.Error("a torn line gave no error")
	}
}

func FuzzReadQuantities(f *testing.F) {
	f.Add([]byte(metricsText))
	f.Add([]byte("x:running NaN\nx:running{rank=\"\xff\"} 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := ReadQuantities(metricsTable, text)
		if err == nil && len(got) > len(metricsTable) {
			t.Errorf("%d quantities out of a table of %d", len(got), len(metricsTable))
		}
	})
}
