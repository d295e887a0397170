package signal

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"

	"llmdyno/internal/engine"
	"llmdyno/internal/metrictext"
)

// Dist is a distribution by its figures, in the unit of its name. Without
// observations only the count is known.
type Dist struct {
	Count float64  `json:"count"`
	Avg   *float64 `json:"avg"`
	P50   *float64 `json:"p50"`
	P90   *float64 `json:"p90"`
	P99   *float64 `json:"p99"`
}

// Gauge is a value that several series tell.
type Gauge struct {
	Series int     `json:"series"`
	Sum    float64 `json:"sum"`
	Max    float64 `json:"max"`
}

// Odd is a sample of a family that is not the engine's own. Value is a number, or
// "NaN", "+Inf" or "-Inf".
type Odd struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
	Value  any               `json:"value"`
}

// Figures are what a page of metrics says. Times are in seconds; percentiles are
// linear within a bucket, and in the last bucket its highest finite bound.
type Figures struct {
	Samples   int              `json:"samples"`
	TTFT      *Dist            `json:"ttft"`
	E2E       *Dist            `json:"e2e"`
	ITL       *Dist            `json:"itl"`
	QueueTime *Dist            `json:"queue_time"`
	Prefill   *Dist            `json:"prefill,omitempty"`
	Decode    *Dist            `json:"decode,omitempty"`
	TPOT      *Dist            `json:"tpot,omitempty"`
	Stages    map[string]*Dist `json:"stages,omitzero"`
	Gauges    *Gauges          `json:"gauges"`
	// StageAvgMax is, by stage, the largest average of one series: a slow rank does
	// not hide behind the others.
	StageAvgMax map[string]float64 `json:"stage_avg_seconds_max_tp_rank,omitempty"`

	WithExemplar   int      `json:"with_exemplar"`
	WithTimestamp  int      `json:"with_timestamp"`
	NaN            int      `json:"nan"`
	Malformed      []string `json:"malformed_lines"`
	MalformedCount int      `json:"malformed_count"`
	Special        []Odd    `json:"special,omitempty"`
	// Delta is what happened since the earlier scrape; nil without one.
	Delta *Delta `json:"delta,omitempty"`
	// Stale says that the page is from an earlier capture into the same folder.
	Stale bool `json:"stale,omitempty"`

	none bool
}

// Known says that there was a page to read figures from.
func (f *Figures) Known() bool { return f != nil && !f.none }

// MarshalJSON writes {"metrics": null} where there was no page: what is not known
// is never a zero.
func (f *Figures) MarshalJSON() ([]byte, error) {
	if !f.Known() {
		return []byte(`{"metrics":null}`), nil
	}
	type plain Figures
	return json.Marshal((*plain)(f))
}

// Gauges are the counts and levels.
type Gauges struct {
	Running          *Gauge `json:"running"`
	Waiting          *Gauge `json:"waiting"`
	KVUsage          *Gauge `json:"kv_usage"`
	Preempted        *Gauge `json:"preempted_or_retracted_total"`
	PromptTokens     *Gauge `json:"prompt_tokens_total"`
	GenerationTokens *Gauge `json:"generation_tokens_total"`
	Requests         *Gauge `json:"requests_total"`
}

// Delta is what happened between two scrapes. Rates are per second.
type Delta struct {
	Seconds   float64          `json:"seconds,omitempty"`
	Restarted bool             `json:"restarted,omitempty"` // a counter fell
	TTFT      *Dist            `json:"ttft"`
	E2E       *Dist            `json:"e2e"`
	ITL       *Dist            `json:"itl"`
	QueueTime *Dist            `json:"queue_time"`
	Stages    map[string]*Dist `json:"stages,omitempty"`

	Requests         *float64 `json:"requests"`
	PromptTokens     *float64 `json:"prompt_tokens"`
	GenerationTokens *float64 `json:"generation_tokens"`
	Preempted        *float64 `json:"preempted_or_retracted"`
	RequestRate      *float64 `json:"requests_per_s,omitempty"`
	PromptRate       *float64 `json:"prompt_tokens_per_s,omitempty"`
	GenerationRate   *float64 `json:"generation_tokens_per_s,omitempty"`
}

func distOf(hs []metrictext.Histogram, known bool) *Dist {
	if !known {
		return nil
	}
	h, ok := metrictext.Sum(hs)
	if !ok || h.Count <= 0 {
		return &Dist{}
	}
	return &Dist{Count: h.Count, Avg: finite(h.Mean()), P50: finite(h.Quantile(0.5)), P90: finite(h.Quantile(0.9)), P99: finite(h.Quantile(0.99))}
}

func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func gaugeOf(samples []metrictext.Sample) *Gauge {
	if len(samples) == 0 {
		return nil
	}
	g := Gauge{Series: len(samples), Max: math.Inf(-1)}
	for _, s := range samples {
		g.Sum += s.Value
		g.Max = max(g.Max, s.Value)
	}
	return &g
}

func (p page) dist(q engine.Quantity) *Dist { return distOf(p.distribution(q)) }

// figures reads everything that the page says.
func (p page) figures() *Figures {
	f := &Figures{
		Samples: len(p.Samples) + p.Left,
		TTFT:    p.dist(engine.QuantityTTFT), E2E: p.dist(engine.QuantityE2E), ITL: p.dist(engine.QuantityITL), QueueTime: p.dist(engine.QuantityQueue),
		Prefill: p.dist(engine.QuantityPrefill), Decode: p.dist(engine.QuantityDecode), TPOT: p.dist(engine.QuantityTPOT),
		Gauges: &Gauges{
			Running: gaugeOf(p.quantity(engine.QuantityRunning)), Waiting: gaugeOf(p.quantity(engine.QuantityWaiting)), KVUsage: gaugeOf(p.quantity(engine.QuantityKVUsage)),
			Preempted: gaugeOf(p.quantity(engine.QuantityPreemptions)), PromptTokens: gaugeOf(p.quantity(engine.QuantityPromptTokens)),
			GenerationTokens: gaugeOf(p.quantity(engine.QuantityGenerationTokens)), Requests: gaugeOf(p.quantity(engine.QuantityRequests)),
		},
		WithExemplar: p.Exemplars, WithTimestamp: p.Timestamps, NaN: p.NaNs, Malformed: p.Malformed, MalformedCount: p.MalformedLines,
	}
	if p.e.State != nil && slices.ContainsFunc(p.e.State.Series, func(s engine.Series) bool { return s.Name == engine.SeriesStages }) {
		f.Stages, f.StageAvgMax = map[string]*Dist{}, map[string]float64{}
	}
	for stage, hs := range p.staged(engine.SeriesStages) {
		f.Stages[stage] = distOf(hs, true)
		for _, h := range hs {
			if avg := h.Mean(); !math.IsNaN(avg) {
				f.StageAvgMax[stage] = max(f.StageAvgMax[stage], avg)
			}
		}
	}
	for _, s := range p.foreign() {
		o := Odd{Name: s.Name, Labels: map[string]string{}, Value: json.Number(strconv.FormatFloat(s.Value, 'g', -1, 64))}
		for _, l := range s.Labels {
			o.Labels[l.Name] = l.Value
		}
		switch {
		case math.IsNaN(s.Value):
			o.Value = "NaN"
		case math.IsInf(s.Value, 1):
			o.Value = "+Inf"
		case math.IsInf(s.Value, -1):
			o.Value = "-Inf"
		}
		f.Special = append(f.Special, o)
	}
	return f
}

// since is what happened between an earlier page and this one.
func (p page) since(before page, seconds float64) *Delta {
	d := &Delta{Seconds: seconds}
	dist := func(q engine.Quantity) *Dist {
		now, known := p.distribution(q)
		old, knew := before.distribution(q)
		delta, began := metrictext.Since(old, now)
		d.Restarted = d.Restarted || began
		return distOf(delta, known && knew)
	}
	d.TTFT, d.E2E, d.ITL, d.QueueTime = dist(engine.QuantityTTFT), dist(engine.QuantityE2E), dist(engine.QuantityITL), dist(engine.QuantityQueue)
	old := before.staged(engine.SeriesStages)
	for stage, hs := range p.staged(engine.SeriesStages) {
		delta, began := metrictext.Since(old[stage], hs)
		d.Restarted = d.Restarted || began
		if d.Stages == nil {
			d.Stages = map[string]*Dist{}
		}
		d.Stages[stage] = distOf(delta, true)
	}
	count := func(q engine.Quantity) (n, rate *float64) {
		now, then := p.quantity(q), before.quantity(q)
		if len(now) == 0 || len(then) == 0 {
			return nil, nil
		}
		v, began := metrictext.Increase(then, now)
		d.Restarted = d.Restarted || began
		if seconds > 0 {
			rate = ptr(v / seconds)
		}
		return &v, rate
	}
	d.Requests, d.RequestRate = count(engine.QuantityRequests)
	d.PromptTokens, d.PromptRate = count(engine.QuantityPromptTokens)
	d.GenerationTokens, d.GenerationRate = count(engine.QuantityGenerationTokens)
	d.Preempted, _ = count(engine.QuantityPreemptions)
	return d
}
