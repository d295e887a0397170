package client

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"llmdyno/internal/engine"
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

// ReadMetrics picks the quantities of a table out of metrics in the Prometheus
// text format. A value that is no number (NaN, where a server does not know it)
// counts as absent.
func ReadMetrics(table []engine.Metric, text []byte) (Reading, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return Reading{}, fmt.Errorf("metrics: expected the Prometheus text format: %w", err)
	}
	r := Reading{Values: map[engine.Quantity]float64{}, Series: map[engine.Quantity]map[string]float64{}, Histograms: map[engine.Quantity]map[string]engine.Histogram{}}
	for _, row := range table {
		f := families[row.Name]
		switch {
		case f == nil:
		case row.Quantity.Histogram():
			r.addHistograms(row, f)
		default:
			r.addValues(row, f)
		}
	}
	return r, nil
}

func (r *Reading) addValues(row engine.Metric, f *dto.MetricFamily) {
	if _, known := r.Values[row.Quantity]; known {
		return // an older name of the same quantity
	}
	total, largest := 0.0, math.Inf(-1)
	series := map[string]float64{}
	for _, m := range f.GetMetric() {
		labels, carried := labelsOf(m, row.Labels)
		v, number := valueOf(m)
		if !carried || !number {
			continue
		}
		series[labels] = v
		total += v
		largest = max(largest, v)
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

func (r *Reading) addHistograms(row engine.Metric, f *dto.MetricFamily) {
	if len(r.Histograms[row.Quantity]) > 0 {
		return
	}
	series := map[string]engine.Histogram{}
	for _, m := range f.GetMetric() {
		labels, carried := labelsOf(m, row.Labels)
		if h, ok := histogramOf(m.GetHistogram()); ok && carried {
			series[labels] = h
		}
	}
	if len(series) > 0 {
		r.Histograms[row.Quantity] = series
	}
}

// valueOf is the value of a gauge or counter; false = it is neither, or no
// finite number.
func valueOf(m *dto.Metric) (float64, bool) {
	v := math.NaN()
	switch {
	case m.GetGauge() != nil:
		v = m.GetGauge().GetValue()
	case m.GetCounter() != nil:
		v = m.GetCounter().GetValue()
	case m.GetUntyped() != nil:
		v = m.GetUntyped().GetValue()
	}
	return v, !math.IsNaN(v) && !math.IsInf(v, 0)
}

// histogramOf reads a histogram whose bounds rise and whose counts do not fall;
// any other is none. A bucket for +Inf is added where it is missing.
func histogramOf(p *dto.Histogram) (engine.Histogram, bool) {
	if p == nil {
		return engine.Histogram{}, false
	}
	h := engine.Histogram{Count: float64(p.GetSampleCount()), Sum: p.GetSampleSum()}
	for _, b := range p.GetBucket() {
		h.Buckets = append(h.Buckets, engine.Bucket{LE: b.GetUpperBound(), Count: float64(b.GetCumulativeCount())})
	}
	slices.SortStableFunc(h.Buckets, func(a, b engine.Bucket) int { return cmp.Compare(a.LE, b.LE) })
	if n := len(h.Buckets); n == 0 || !math.IsInf(h.Buckets[n-1].LE, 1) {
		h.Buckets = append(h.Buckets, engine.Bucket{LE: math.Inf(1), Count: h.Count})
	}
	last := 0.0
	for i, b := range h.Buckets {
		if math.IsNaN(b.LE) || b.Count < last || i > 0 && b.LE == h.Buckets[i-1].LE {
			return engine.Histogram{}, false
		}
		last = b.Count
	}
	finite := !math.IsNaN(h.Sum) && !math.IsInf(h.Sum, 0)
	return h, finite && last == h.Count
}

// labelsOf are the labels of a series as one text; carried says that those
// wanted are among them.
func labelsOf(m *dto.Metric, want map[string]string) (text string, carried bool) {
	labels := make([]string, 0, len(m.GetLabel()))
	found := 0
	for _, l := range m.GetLabel() {
		if v, ok := want[l.GetName()]; ok && v == l.GetValue() {
			found++
		}
		labels = append(labels, l.GetName()+"="+l.GetValue())
	}
	slices.Sort(labels)
	return strings.Join(labels, ","), found == len(want)
}
