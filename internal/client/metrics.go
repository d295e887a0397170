package client

import (
	"bytes"
	"context"
	"fmt"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"llmdyno/internal/engine"
)

// Quantities reads the server's metrics endpoint as the neutral quantities that
// its engine's table names. A quantity whose series the server does not expose
// is absent.
func (c *Client) Quantities(ctx context.Context) (map[engine.Quantity]float64, error) {
	r, err := c.Call(ctx, engine.EndpointMetrics, nil, nil)
	if err != nil {
		return nil, err
	}
	return ReadQuantities(c.engine.Metrics, r.Body)
}

// ReadQuantities picks the quantities of a table out of metrics in the
// Prometheus text format. Histograms and summaries, which no table names, are
// passed over.
func ReadQuantities(table []engine.Metric, text []byte) (map[engine.Quantity]float64, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("metrics: expected the Prometheus text format: %w", err)
	}
	out := map[engine.Quantity]float64{}
	for _, want := range table {
		f := families[want.Name]
		if f == nil {
			continue
		}
		total, largest, n := 0.0, 0.0, 0
		for _, series := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range series.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if !carries(labels, want.Labels) {
				continue
			}
			v := 0.0
			switch {
			case series.GetGauge() != nil:
				v = series.GetGauge().GetValue()
			case series.GetCounter() != nil:
				v = series.GetCounter().GetValue()
			case series.GetUntyped() != nil:
				v = series.GetUntyped().GetValue()
			default:
				continue
			}
			if n == 0 || v > largest {
				largest = v
			}
			total += v
			n++
		}
		if n == 0 {
			continue
		}
		if _, known := out[want.Quantity]; known {
			continue // an older name of the same quantity
		}
		if out[want.Quantity] = largest; want.Sum {
			out[want.Quantity] = total
		}
	}
	return out, nil
}

func carries(labels, want map[string]string) bool {
	for name, value := range want {
		if labels[name] != value {
			return false
		}
	}
	return true
}
