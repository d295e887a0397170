package client

import (
	"context"
	"fmt"
	"math"

	"llmdyno/internal/engine"
	"llmdyno/internal/metrictext"
)

// Reading is what a server's page of metrics says at one moment, as the
// neutral quantities of its engine's table. A quantity whose series the page
// lacks is absent.
type Reading struct {
	// Values are the gauges and counters, the series of each joined as the table
	// says.
	Values map[engine.Quantity]float64
	// Series are the counters by the labels of their series: a counter that began
	// anew is seen only there, since the others may hide it in a sum.
	Series map[engine.Quantity]map[string]float64
	// Histograms are by the labels of their series too, for the same reason.
	Histograms map[engine.Quantity]map[string]engine.Histogram
}

// Metrics reads the server's metrics endpoint. raw is the page as it came.
func (c *Client) Metrics(ctx context.Context) (r Reading, raw []byte, err error) {
	reply, err := c.Call(ctx, engine.EndpointMetrics, nil, nil)
	if err != nil {
		return Reading{}, nil, err
	}
	if reply.Truncated {
		return Reading{}, nil, fmt.Errorf("metrics: the page is longer than %d bytes", c.maxBody)
	}
	r, err = ReadMetrics(c.engine.Metrics, reply.Body)
	return r, reply.Body, err
}

// ReadMetrics picks the quantities of a table out of a page of metrics. A value
// that is no number (NaN, where a server does not know it) counts as absent, and a
// line that cannot be read is skipped; a page without one that can is an error.
func ReadMetrics(table []engine.Metric, text []byte) (Reading, error) {
	page := metrictext.Parse(text)
	if err := page.Err(); err != nil {
		return Reading{}, err
	}
	r := Reading{Values: map[engine.Quantity]float64{}, Series: map[engine.Quantity]map[string]float64{}, Histograms: map[engine.Quantity]map[string]engine.Histogram{}}
	for _, row := range table {
		if row.Quantity.Histogram() {
			r.addHistograms(row, page.Histograms(row.Name))
		} else {
			r.addValues(row, page.Series(row.Name))
		}
	}
	return r, nil
}

func (r *Reading) addValues(row engine.Metric, samples []metrictext.Sample) {
	if _, known := r.Values[row.Quantity]; known {
		return // an older name of the same quantity
	}
	total, largest := 0.0, math.Inf(-1)
	series := map[string]float64{}
	for _, s := range samples {
		if !s.Carries(row.Labels) || math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
			continue
		}
		series[s.Key()] = s.Value
		total += s.Value
		largest = max(largest, s.Value)
	}
	if len(series) == 0 {
		return
	}
	if r.Values[row.Quantity] = largest; row.Sum {
		r.Values[row.Quantity] = total
	}
	if row.Quantity.Counter() {
		r.Series[row.Quantity] = series
	}
}

func (r *Reading) addHistograms(row engine.Metric, found []metrictext.Histogram) {
	if len(r.Histograms[row.Quantity]) > 0 {
		return
	}
	series := map[string]engine.Histogram{}
	for _, h := range found {
		if h.Carries(row.Labels) {
			series[h.Key()] = histogramOf(h)
		}
	}
	if len(series) > 0 {
		r.Histograms[row.Quantity] = series
	}
}

func histogramOf(h metrictext.Histogram) engine.Histogram {
	out := engine.Histogram{Count: h.Count, Sum: h.Sum, Buckets: make([]engine.Bucket, len(h.Buckets))}
	for i, b := range h.Buckets {
		out.Buckets[i] = engine.Bucket(b)
	}
	return out
}
