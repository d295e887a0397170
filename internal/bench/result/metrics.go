package result

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"llmdyno/internal/load/metric"
)

// Metrics are the client's figures of a row. In the JSON they are one flat
// object with upstream's names; a latency is written as <stat>_<quantity>_ms
// (p50_ttft_ms) and quantiles_<quantity>_ms, the latter at the probabilities
// listed under quantile_levels.
type Metrics struct {
	RequestThroughput     *float64 `json:"request_throughput,omitempty"`      // successful requests/s
	OutputTokenThroughput *float64 `json:"output_token_throughput,omitempty"` // tokens/s
	TotalTokenThroughput  *float64 `json:"total_token_throughput,omitempty"`  // input and output tokens/s
	SuccessRate           *float64 `json:"success_rate,omitempty"`            // succeeded / sent, 0..1

	OfferedRate  *float64 `json:"offered_rps,omitempty"`  // planned arrivals/s; set by the caller
	AchievedRate *float64 `json:"achieved_rps,omitempty"` // requests sent/s
	Goodput      *float64 `json:"goodput_rps,omitempty"`  // requests/s within every per-request limit
	Attainment   *float64 `json:"attainment,omitempty"`   // good / planned, 0..1

	DurationS       *float64       `json:"duration_s,omitempty"`
	Planned         *int           `json:"requests_planned,omitempty"`
	Sent            *int           `json:"requests_sent,omitempty"`
	Succeeded       *int           `json:"requests_succeeded,omitempty"`
	Failed          *int           `json:"requests_failed,omitempty"`
	Dropped         *int           `json:"requests_dropped,omitempty"` // never sent
	Errors          map[string]int `json:"errors,omitempty"`           // by class of failure
	InputTokens     *int64         `json:"input_tokens,omitempty"`
	OutputTokens    *int64         `json:"output_tokens,omitempty"`
	CachedTokens    *int64         `json:"cached_tokens,omitempty"`
	MeanConcurrency *float64       `json:"mean_concurrency,omitempty"`
	PeakConcurrency *int           `json:"peak_concurrency,omitempty"`

	// TokensPerEvent are the tokens that a stream event after the first added, where
	// the server counts on each; the mean also where it counts the answer alone.
	TokensPerEvent     *metric.Dist `json:"tokens_per_event,omitempty"`
	MeanTokensPerEvent *float64     `json:"mean_tokens_per_event,omitempty"`

	// Steady and Intervals are the trial's verdict on its own figures; intervals go
	// by the keys of the figures. See docs/measurement.md.
	Steady    *metric.Steady             `json:"steady,omitempty"`
	Intervals map[string]metric.Interval `json:"intervals,omitempty"`

	TTFT         Latency `json:"-"` // time to first token
	TPOT         Latency `json:"-"` // time per output token
	ITL          Latency `json:"-"` // inter-token latency
	E2E          Latency `json:"-"` // end to end, from the send
	EventGap     Latency `json:"-"` // between stream events with text
	E2EFromSched Latency `json:"-"` // end to end, from the arrival
	SendLag      Latency `json:"-"` // send behind the arrival
	// The time to the first text that a user sees, to the first reasoning and to
	// the first arguments of a tool call; only where some answers have reasoning or
	// tool calls.
	TTFTVisible   Latency `json:"-"`
	TTFTReasoning Latency `json:"-"`
	TTFTTool      Latency `json:"-"`
}

// Latency is one latency distribution in ms. A nil field was not measured.
type Latency struct {
	N         *int // samples
	Mean      *float64
	P50       *float64
	P90       *float64
	P95       *float64
	P99       *float64
	Min       *float64
	Max       *float64
	Stddev    *float64
	Quantiles []float64 // at metric.QuantileLevels; nil = not kept
}

// Empty says that nothing was measured.
func (l Latency) Empty() bool {
	return !slices.ContainsFunc(l.stats(), func(s statistic) bool { return *s.value != nil })
}

type statistic struct {
	name  string
	value **float64
}

// stats are the statistics of l in the order in which they are written.
func (l *Latency) stats() []statistic {
	return []statistic{
		{"p50", &l.P50}, {"mean", &l.Mean}, {"p90", &l.P90}, {"p95", &l.P95}, {"p99", &l.P99},
		{"min", &l.Min}, {"max", &l.Max}, {"stddev", &l.Stddev},
	}
}

type quantity struct {
	name    string // in keys
	title   string // for people
	latency *Latency
}

// quantities are the latencies of m in the order in which they are written.
func (m *Metrics) quantities() []quantity {
	return []quantity{
		{"ttft", "TTFT", &m.TTFT}, {"tpot", "TPOT", &m.TPOT}, {"e2e", "E2E", &m.E2E}, {"itl", "ITL", &m.ITL},
		{"event_gap", "event gap", &m.EventGap}, {"e2e_from_sched", "E2E from the arrival", &m.E2EFromSched},
		{"send_lag", "send lag", &m.SendLag},
		{"ttft_visible", "TTFT of visible text", &m.TTFTVisible}, {"ttft_reasoning", "TTFT of reasoning", &m.TTFTReasoning},
		{"ttft_tool", "TTFT of a tool call", &m.TTFTTool},
	}
}

// FromSummary takes the figures of a trial into a row. OfferedRate is left to
// the caller, who knows the schedule.
func FromSummary(s metric.Summary) Metrics {
	m := Metrics{
		RequestThroughput: s.RequestThroughput, OutputTokenThroughput: s.OutputTokenThroughput,
		TotalTokenThroughput: s.TotalTokenThroughput, SuccessRate: s.SuccessRate,
		AchievedRate: s.AchievedRate, Goodput: s.Goodput, Attainment: s.Attainment,
		Planned: ptr(s.Counts.Planned), Sent: ptr(s.Counts.Sent), Succeeded: ptr(s.Counts.Succeeded),
		Failed: ptr(s.Counts.Failed), Dropped: ptr(s.Counts.Dropped), Errors: s.Errors,
		InputTokens: s.InputTokens, OutputTokens: s.OutputTokens, CachedTokens: s.CachedTokens,
		MeanConcurrency: s.MeanConcurrency, PeakConcurrency: s.PeakConcurrency,
		TTFT: latencyOf(s.TTFT), TPOT: latencyOf(s.TPOT), ITL: latencyOf(s.ITL), E2E: latencyOf(s.E2E),
		EventGap: latencyOf(s.EventGap), E2EFromSched: latencyOf(s.E2EFromSched), SendLag: latencyOf(s.SendLag),
		TokensPerEvent: s.TokensPerEvent, MeanTokensPerEvent: s.MeanTokensPerEvent,
		Steady: s.Steady, Intervals: rowKeys(s.Intervals),
	}
	if s.TTFTReasoning != nil || s.TTFTTool != nil {
		m.TTFTVisible, m.TTFTReasoning, m.TTFTTool = latencyOf(s.TTFTVisible), latencyOf(s.TTFTReasoning), latencyOf(s.TTFTTool)
	}
	if s.DurationS > 0 {
		m.DurationS = ptr(s.DurationS)
	}
	return m
}

// rowKeys gives the intervals of rates the keys that rows have, upstream's names.
func rowKeys(intervals map[string]metric.Interval) map[string]metric.Interval {
	var out map[string]metric.Interval
	for name, i := range intervals {
		if out == nil {
			out = map[string]metric.Interval{}
		}
		switch name {
		case "request_throughput_rps", "output_token_throughput_tps", "total_token_throughput_tps":
			name = name[:strings.LastIndexByte(name, '_')]
		}
		out[name] = i
	}
	return out
}

func latencyOf(d *metric.Dist) Latency {
	if d == nil {
		return Latency{}
	}
	c := *d
	return Latency{
		N: &c.N, Mean: &c.Mean, P50: &c.P50, P90: &c.P90, P95: &c.P95, P99: &c.P99,
		Min: &c.Min, Max: &c.Max, Stddev: &c.Stddev, Quantiles: c.Quantiles,
	}
}

// Brief is m without the parts that only a chosen point needs: quantiles,
// intervals, secondary latencies and token sums. It is what a Point holds.
func (m Metrics) Brief() Metrics {
	m.InputTokens, m.OutputTokens, m.CachedTokens = nil, nil, nil
	m.EventGap, m.E2EFromSched, m.Intervals = Latency{}, Latency{}, nil
	m.TokensPerEvent = nil
	for _, q := range m.quantities() {
		q.latency.Quantiles = nil
	}
	return m
}

// MarshalJSON writes the flat object.
func (m Metrics) MarshalJSON() ([]byte, error) {
	type plain Metrics
	head, err := json.Marshal(plain(m))
	if err != nil {
		return nil, err
	}
	b := bytes.NewBuffer(bytes.TrimSuffix(head, []byte("}")))
	put := func(key string, v any) {
		if err != nil {
			return
		}
		var text []byte
		if text, err = json.Marshal(v); err == nil {
			if b.Len() > 1 {
				b.WriteByte(',')
			}
			fmt.Fprintf(b, "%q:%s", key, text)
		}
	}
	levels := false
	for _, q := range m.quantities() {
		if q.latency.N != nil {
			put("n_"+q.name, *q.latency.N)
		}
		for _, s := range q.latency.stats() {
			if *s.value != nil {
				put(s.name+"_"+q.name+"_ms", **s.value)
			}
		}
		if len(q.latency.Quantiles) > 0 {
			put("quantiles_"+q.name+"_ms", q.latency.Quantiles)
			levels = true
		}
	}
	if levels {
		put("quantile_levels", metric.QuantileLevels)
	}
	b.WriteByte('}')
	return b.Bytes(), err
}

// UnmarshalJSON reads what MarshalJSON wrote. Rows written by others go
// through [Read], which forgives more.
func (m *Metrics) UnmarshalJSON(data []byte) error {
	type plain Metrics
	if err := json.Unmarshal(data, (*plain)(m)); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	levels := true
	if raw, ok := fields["quantile_levels"]; ok {
		var l []float64
		levels = json.Unmarshal(raw, &l) == nil && slices.Equal(l, metric.QuantileLevels)
	}
	for _, q := range m.quantities() {
		if err := q.latency.decode(q.name, fields, levels); err != nil {
			return err
		}
	}
	return nil
}

// decode takes the keys of one quantity. Quantiles at other levels than ours
// are left out.
func (l *Latency) decode(name string, fields map[string]json.RawMessage, levels bool) error {
	take := func(key string, into any) error {
		raw, ok := fields[key]
		if !ok {
			return nil
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return fmt.Errorf("metrics.%s: %w", key, err)
		}
		return nil
	}
	for _, s := range l.stats() {
		if err := take(s.name+"_"+name+"_ms", s.value); err != nil {
			return err
		}
	}
	if err := take("n_"+name, &l.N); err != nil {
		return err
	}
	if err := take("quantiles_"+name+"_ms", &l.Quantiles); err != nil {
		return err
	}
	if !levels || len(l.Quantiles) != len(metric.QuantileLevels) {
		l.Quantiles = nil
	}
	return nil
}

// lookup finds a statistic of a latency by the tail of its key: "p50_ttft". A
// percentile without a field of its own is read off the kept quantiles.
func (m *Metrics) lookup(tail string) (value *float64, title string, known bool) {
	for _, q := range m.quantities() {
		name, ok := strings.CutSuffix(tail, "_"+q.name)
		if !ok {
			continue
		}
		for _, s := range q.latency.stats() {
			if s.name == name {
				return *s.value, name + " " + q.title, true
			}
		}
		if p, ok := percentile(name); ok {
			return q.latency.At(p / 100), name + " " + q.title, true
		}
	}
	return nil, "", false
}

// percentile reads "p97.5".
func percentile(stat string) (float64, bool) {
	digits, ok := strings.CutPrefix(stat, "p")
	if !ok || digits == "" || strings.Trim(digits, "0123456789.") != "" {
		return 0, false
	}
	p, err := strconv.ParseFloat(digits, 64)
	return p, err == nil && p > 0 && p < 100
}

// At is the quantile at a probability, exact at metric.QuantileLevels and by
// linear interpolation between them; nil when no quantiles were kept.
func (l Latency) At(probability float64) *float64 {
	levels := metric.QuantileLevels
	if len(l.Quantiles) != len(levels) || !(probability >= 0 && probability <= 1) {
		return nil
	}
	i, exact := slices.BinarySearch(levels, probability)
	if exact {
		return ptr(l.Quantiles[i])
	}
	below, above := l.Quantiles[i-1], l.Quantiles[i]
	return ptr(below + (above-below)*(probability-levels[i-1])/(levels[i]-levels[i-1]))
}

func ptr[T any](v T) *T { return &v }
