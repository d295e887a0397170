package client

import (
	"bufio"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

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

func TestReadMetrics(t *testing.T) {
	table := append(slices.Clone(metricsTable), engine.Metric{Quantity: engine.QuantityTTFT, Name: "x:ttft"})
	got, err := ReadMetrics(table, []byte(metricsText))
	want := Reading{
		Values: map[engine.Quantity]float64{
			engine.QuantityRunning: 5, engine.QuantityPromptTokens: 2510, engine.QuantityCachedTokens: 7, engine.QuantityRequests: 4,
		},
		Series: map[engine.Quantity]map[string]float64{
			engine.QuantityPromptTokens: {"rank=0": 10, "rank=1": 2500}, engine.QuantityCachedTokens: {"mode=cached": 7}, engine.QuantityRequests: {"": 4},
		},
		Histograms: map[engine.Quantity]map[string]engine.Histogram{
			engine.QuantityTTFT: {"": {Count: 1, Sum: 1, Buckets: []engine.Bucket{{LE: math.Inf(1), Count: 1}}}},
		},
	}
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if _, err := ReadMetrics(table, []byte("x:running{ 3\n")); err == nil {
		t.Error("a torn line gave no error")
	}
}

// What is no number, or no histogram, is absent: never a zero.
func TestReadMetricsUnknown(t *testing.T) {
	table := []engine.Metric{{Quantity: engine.QuantityRunning, Name: "r"}, {Quantity: engine.QuantityTTFT, Name: "h"}, {Quantity: engine.QuantityE2E, Name: "c"}}
	for name, page := range map[string]string{
		"NaN":            "r NaN\n",
		"infinite":       "# TYPE r gauge\nr +Inf\n",
		"falling counts": "# TYPE h histogram\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"2\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 1\nh_count 3\n",
		"lost counts":    "# TYPE h histogram\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 3\nh_sum 1\nh_count 4\n",
		"no sum":         "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum NaN\nh_count 3\n",
		"a counter":      "# TYPE c counter\nc 4\n",
	} {
		got, err := ReadMetrics(table, []byte(page))
		if err != nil || len(got.Values)+len(got.Histograms) > 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func FuzzReadMetrics(f *testing.F) {
	f.Add([]byte(metricsText))
	f.Add([]byte("x:running NaN\nx:running{rank=\"\xff\"} 1"))
	f.Add([]byte("# TYPE x:ttft histogram\nx:ttft_bucket{le=\"1\"} 3\nx:ttft_bucket{le=\"0.5\"} 2\nx:ttft_sum 1e308\nx:ttft_count 3\n"))
	table := append(slices.Clone(metricsTable), engine.Metric{Quantity: engine.QuantityTTFT, Name: "x:ttft"})
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := ReadMetrics(table, text)
		if err != nil {
			return
		}
		for q, v := range got.Values {
			if math.IsNaN(v) {
				t.Errorf("%s is no number", q)
			}
		}
		for q, series := range got.Histograms {
			for labels, h := range series {
				if n := len(h.Buckets); n == 0 || h.Buckets[n-1].Count != h.Count || !math.IsInf(h.Buckets[n-1].LE, 1) {
					t.Errorf("%s{%s}: %+v", q, labels, h)
				}
			}
		}
	})
}

// An endpoint that stands on a port of its own is asked there, where that port is
// known.
func TestEndpointOnItsOwnPort(t *testing.T) {
	e := &engine.Engine{Endpoints: []engine.Endpoint{
		{Name: engine.EndpointMetrics, Path: "/metrics", Port: "prometheus_port"}, {Name: engine.EndpointModels, Path: "/v1/models"},
	}}
	for _, c := range []struct {
		ports         map[string]int
		metrics, main string
	}{
		{map[string]int{"prometheus_port": 29000}, "10.0.0.1:29000/metrics", "10.0.0.1:8000/proxy/v1/models"},
		{nil, "10.0.0.1:8000/proxy/metrics", "10.0.0.1:8000/proxy/v1/models"},
		{map[string]int{"": 1}, "10.0.0.1:8000/proxy/metrics", "10.0.0.1:8000/proxy/v1/models"},
	} {
		var asked []string
		client, err := New(Options{BaseURL: "http://10.0.0.1:8000/proxy", Engine: e, Ports: c.ports, Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				if r, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
					asked = append(asked, addr+r.URL.Path)
					io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				}
			}()
			return ours, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []engine.EndpointName{engine.EndpointMetrics, engine.EndpointModels} {
			if _, err := client.Call(t.Context(), name, nil, nil); err != nil {
				t.Error(err)
			}
		}
		if d := cmp.Diff([]string{c.metrics, c.main}, asked); d != "" {
			t.Errorf("%v (-want +got):\n%s", c.ports, d)
		}
	}
}

// A total that stands beside its parts is not added to them: the row that asks
// for its label comes first, and an empty label is one.
func TestReadMetricsTotalBesideParts(t *testing.T) {
	table := []engine.Metric{
		{Quantity: engine.QuantityRunning, Name: "r", Labels: map[string]string{"priority": ""}, Sum: true},
		{Quantity: engine.QuantityRunning, Name: "r", Sum: true},
	}
	for page, want := range map[string]float64{
		"r{priority=\"\",rank=\"0\"} 5\nr{priority=\"1\",rank=\"0\"} 3\nr{priority=\"2\",rank=\"0\"} 2\nr{priority=\"\",rank=\"1\"} 4\n": 9,
		"r{rank=\"0\"} 5\nr{rank=\"1\"} 4\n": 9,
	} {
		if got, err := ReadMetrics(table, []byte(page)); err != nil || got.Values[engine.QuantityRunning] != want {
			t.Errorf("%q: %v, %v; want %g", page, got.Values, err, want)
		}
	}
}
