package signal

import (
	"math"
	"strconv"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/metrictext"
)

// page is a page of metrics as the tables of one engine read it.
type page struct {
	*metrictext.Page
	e *engine.Engine
}

// samples are the series of a family without those of a single priority, which
// stand beside the total, and without values that are no number.
func (p page) samples(name string, labels map[string]string) []metrictext.Sample {
	var out []metrictext.Sample
	all := p.Series(name)
	parts := beside(all, func(s metrictext.Sample) (string, bool) { return priority(s.Labels) })
	for _, s := range all {
		if v, has := priority(s.Labels); parts && has && v != "" || !s.Carries(labels) || math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
			continue
		}
		out = append(out, s)
	}
	return out
}

func (p page) histograms(name string, labels map[string]string) []metrictext.Histogram {
	var out []metrictext.Histogram
	all := p.Histograms(name)
	parts := beside(all, func(h metrictext.Histogram) (string, bool) { return priority(h.Labels) })
	for _, h := range all {
		if v, has := priority(h.Labels); parts && has && v != "" || !h.Carries(labels) {
			continue
		}
		out = append(out, h)
	}
	return out
}

// beside says that some series of a family are the total of others.
func beside[T any](all []T, of func(T) (string, bool)) bool {
	for _, s := range all {
		if v, has := of(s); has && v == "" {
			return true
		}
	}
	return false
}

func priority(labels []metrictext.Label) (string, bool) {
	for _, l := range labels {
		if l.Name == "priority" {
			return l.Value, true
		}
	}
	return "", false
}

// quantity finds the series of a neutral quantity: those of the first row of the
// engine's table that the page has.
func (p page) quantity(q engine.Quantity) []metrictext.Sample {
	for _, row := range p.e.Metrics {
		if row.Quantity == q {
			if s := p.samples(row.Name, row.Labels); len(s) > 0 {
				return s
			}
		}
	}
	return nil
}

func (p page) distribution(q engine.Quantity) ([]metrictext.Histogram, bool) {
	for _, row := range p.e.Metrics {
		if row.Quantity == q {
			if h := p.histograms(row.Name, row.Labels); len(h) > 0 {
				return h, true
			}
			if p.Type(row.Name) == "histogram" {
				return nil, true // the family is there, without a series
			}
		}
	}
	return nil, false
}

// rows are the rows of a named series that the page has.
func (p page) rows(name string) (engine.Series, bool) {
	if p.e.State == nil {
		return engine.Series{}, false
	}
	for _, row := range p.e.State.Series {
		if row.Name != name {
			continue
		}
		for _, family := range row.From {
			if row.Histogram() && len(p.histograms(family, row.Labels)) > 0 || !row.Histogram() && len(p.samples(family, row.Labels)) > 0 {
				return row, true
			}
		}
	}
	return engine.Series{}, false
}

// counters are the series of a named series that grow, all families of its row.
func (p page) counters(name string) ([]metrictext.Sample, bool) {
	row, ok := p.rows(name)
	var out []metrictext.Sample
	for _, family := range row.From {
		for _, s := range p.samples(family, row.Labels) {
			s.Labels = append([]metrictext.Label{{Name: "__name__", Value: family}}, s.Labels...)
			out = append(out, s)
		}
	}
	return out, ok
}

// value is the value of a named series.
func (p page) value(name string) *float64 {
	row, ok := p.rows(name)
	if !ok {
		return nil
	}
	total, largest := 0.0, math.Inf(-1)
	names := map[string]bool{}
	for _, family := range row.From {
		for _, s := range p.samples(family, row.Labels) {
			v := s.Value
			if row.Number != "" {
				if v, ok = number(s.Label(row.Number)); !ok {
					continue
				}
			}
			for _, label := range row.Items {
				for item := range strings.SplitSeq(s.Label(label), ",") {
					if item = strings.TrimSpace(item); item != "" {
						names[item] = true
					}
				}
			}
			total += v
			largest = max(largest, v)
		}
	}
	switch {
	case len(row.Items) > 0:
		return ptr(float64(len(names)))
	case math.IsInf(largest, -1):
		return nil
	case row.Max:
		return &largest
	}
	return &total
}

func number(text string) (float64, bool) {
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

// staged are the histograms of a named series by the label that tells them apart.
func (p page) staged(name string) map[string][]metrictext.Histogram {
	row, ok := p.rows(name)
	if !ok {
		return nil
	}
	out := map[string][]metrictext.Histogram{}
	for _, family := range row.From {
		for _, h := range p.histograms(family, row.Labels) {
			out[h.Label(row.By)] = append(out[h.Label(row.By)], h)
		}
	}
	return out
}

// slowest is the largest average that one series tells of a stage.
func (p page) slowest(of engine.Stage) *float64 {
	if p.e.State == nil {
		return nil
	}
	var slowest *float64
	for name, hs := range p.staged(engine.SeriesStages) {
		if p.e.State.Stages[name] != of {
			continue
		}
		for _, h := range hs {
			if avg := finite(h.Mean()); avg != nil && (slowest == nil || *avg > *slowest) {
				slowest = avg
			}
		}
	}
	return slowest
}

// foreign are samples of families that are not the engine's own.
func (p page) foreign() []metrictext.Sample {
	const most = 100
	var out []metrictext.Sample
	for _, s := range p.Samples {
		own := false
		if p.e.State != nil {
			for _, prefix := range p.e.State.Prefixes {
				own = own || strings.HasPrefix(s.Name, prefix)
			}
		}
		if !own && len(out) < most {
			out = append(out, s)
		}
	}
	return out
}

func ptr[T any](v T) *T { return &v }
