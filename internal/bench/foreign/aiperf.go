package foreign

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/bench/result"
)

func isAIPerf(o object) bool {
	return o.has("request_latency", "unit") || o.has("request_throughput", "unit") || o.has("benchmark_duration", "unit")
}

// perUnit are the units of the file in ours: ms, and per second.
var perUnit = map[string]float64{
	"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1, "milliseconds": 1, "s": 1e3, "sec": 1e3, "seconds": 1e3,
}

// block reads one metric's statistics as a latency in ms, by the unit that stands
// in the block.
func block(t *taker, name string) result.Latency {
	unit := t.text(name, "unit")
	if !t.has(name) {
		return result.Latency{}
	}
	factor, ok := perUnit[strings.ToLower(unit)]
	if !ok {
		t.problem(fmt.Sprintf("%s.unit: expected a unit of time, got %q: left out", name, unit))
		return result.Latency{}
	}
	return levels(t, factor, name)
}

// scalar is the one value of a metric without a distribution.
func scalar(t *taker, name string) *float64 { return t.number(name, "avg") }

func scalarCount(t *taker, name string) *int {
	x := scalar(t, name)
	if x == nil || *x != math.Trunc(*x) || *x > math.MaxInt32 {
		return nil
	}
	return ptr(int(*x))
}

func scalarCount64(t *taker, name string) *int64 {
	x := scalar(t, name)
	if x == nil || *x > 1<<53 {
		return nil
	}
	return ptr(int64(math.Round(*x)))
}

// readAIPerf reads profile_export_aiperf.json.
func readAIPerf(t *taker, d *draft) {
	m, w := &d.Metrics, &d.Workload
	d.Imported.Version = t.text("aiperf_version")
	if v := t.text("schema_version"); d.Imported.Version == "" && v != "" {
		d.Imported.Version = "schema " + v
	}
	d.RunID = t.text("benchmark_id")
	d.MeasuredAt = stampOf(t.text("end_time"))
	m.RequestThroughput, m.OutputTokenThroughput = scalar(t, "request_throughput"), scalar(t, "output_token_throughput")
	m.TotalTokenThroughput = scalar(t, "total_token_throughput")
	m.Succeeded, m.Failed = scalarCount(t, "request_count"), scalarCount(t, "error_request_count")
	if m.Failed == nil && t.object.list("error_summary") != nil {
		m.Failed = ptr(0)
	}
	m.Goodput = scalar(t, "goodput")
	if x := block(t, "benchmark_duration"); x.Mean != nil {
		m.DurationS = ptr(*x.Mean / 1000)
	}
	m.InputTokens, m.OutputTokens = scalarCount64(t, "total_isl"), scalarCount64(t, "total_osl")
	if m.OutputTokens == nil {
		m.OutputTokens = scalarCount64(t, "total_output_tokens")
	}
	m.TTFT, m.E2E = block(t, "time_to_first_token"), block(t, "request_latency")
	m.TPOT, m.EventGap = block(t, "inter_token_latency"), block(t, "inter_chunk_latency")
	if !m.TPOT.Empty() {
		d.warn("itl-is-tpot", "this tool's inter_token_latency is (E2E-TTFT)/(n-1) of each request: it stands under TPOT")
	}
	if n := m.Succeeded; n != nil && m.E2E.N == nil && !m.E2E.Empty() {
		m.E2E.N = n
	}
	w.InputP50, w.InputP95 = t.number("input_sequence_length", "p50"), t.number("input_sequence_length", "p95")
	w.OutputP50, w.OutputP95 = t.number("output_sequence_length", "p50"), t.number("output_sequence_length", "p95")
	d.attained(scalarCount(t, "good_request_count"))
	d.errorSummary(t)
	d.aiperfInput(t)
	d.gpus(t)
	d.keepBlocks(t.object)
	if c := t.truth("was_cancelled"); c != nil && *c {
		d.warn("cancelled", "the run was interrupted: the figures are over what was measured until then")
	}
	if reasons := t.object.list("runtime_submission_invalid_reasons"); len(reasons) > 0 {
		d.warn("tool-says-invalid", "the tool itself calls the run invalid: %v", reasons)
	}
}

func stampOf(s string) string {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05.999999"} {
		if at := stamp(time.Parse(layout, s)); at != "" {
			return at
		}
	}
	return ""
}

// attained is the share of planned requests that were good.
func (d *draft) attained(good *int) {
	m := &d.Metrics
	if good == nil || m.Succeeded == nil {
		return
	}
	all := *m.Succeeded
	if m.Failed != nil {
		all += *m.Failed
	}
	if all > 0 && *good <= all {
		m.Attainment = ptr(float64(*good) / float64(all))
	}
}

func (d *draft) errorSummary(t *taker) {
	for _, v := range t.object.list("error_summary") {
		e, ok := v.(map[string]any)
		if !ok || len(d.Metrics.Errors) >= 20 {
			continue
		}
		one := &taker{object: e}
		n := one.count("count")
		if n == nil {
			continue
		}
		name := one.text("error_details", "type")
		if code := one.count("error_details", "code"); code != nil {
			name = strings.TrimSpace(fmt.Sprintf("%d %s", *code, name))
		}
		if name == "" {
			name = "unnamed"
		}
		if d.Metrics.Errors == nil {
			d.Metrics.Errors = map[string]int{}
		}
		d.Metrics.Errors[name] += *n
	}
}

// aiperfInput reads the load from the configuration, whose places changed with
// the versions.
func (d *draft) aiperfInput(t *taker) {
	w := &d.Workload
	in := &taker{object: t.object.object("input_config")}
	d.Model = firstText(in.at("endpoint", "model_names"), in.at("models"), in.at("endpoint", "model"))
	w.Endpoint = in.text("endpoint", "type")
	for _, at := range []string{"loadgen", "load"} {
		w.MaxConcurrency = first(w.MaxConcurrency, positive(in.count(at, "concurrency")))
		w.RequestRate = first(w.RequestRate, in.rate(at, "request_rate"))
		w.NumPrompts = first(w.NumPrompts, positive(in.count(at, "request_count")))
		if w.Arrivals == "" {
			w.Arrivals = in.text(at, "arrival_pattern")
		}
	}
	w.MaxConcurrency = first(w.MaxConcurrency, positive(in.count("phases", "profiling", "concurrency")))
	w.RequestRate = first(w.RequestRate, in.rate("phases", "profiling", "request_rate"))
	w.NumPrompts = first(w.NumPrompts, positive(in.count("phases", "profiling", "requests")))
	switch {
	case w.RequestRate == nil && w.MaxConcurrency != nil:
		w.Arrivals = "closed"
	case w.RequestRate != nil && w.Arrivals == "":
		w.Arrivals = "poisson"
	}
	w.InputLen = first(positive(in.count("input", "prompt", "input_tokens", "mean")), w.InputLen)
	w.OutputLen = first(positive(in.count("input", "prompt", "output_tokens", "mean")), w.OutputLen)
	w.Seed = first(t.seed("run_info", "random_seed"), in.seed("input", "random_seed"))
	w.Kind = in.text("input", "custom_dataset_type")
	d.BenchmarkCommand = t.text("run_info", "cli_command")
	if d.BenchmarkCommand == "" {
		d.BenchmarkCommand = in.text("cli_command")
	}
	d.Metrics.Planned = w.NumPrompts
}

func first[T any](x ...*T) *T {
	for _, p := range x {
		if p != nil {
			return p
		}
	}
	return nil
}

// firstText is the first text among values, or in lists and objects of them.
func firstText(values ...any) string {
	for _, v := range values {
		switch x := v.(type) {
		case string:
			if s := strings.TrimSpace(x); s != "" {
				return s
			}
		case []any:
			if s := firstText(x...); s != "" {
				return s
			}
		case map[string]any:
			if s := firstText(x["name"]); s != "" {
				return s
			}
		}
	}
	return ""
}

// gpus reads the telemetry's list of GPUs.
func (d *draft) gpus(t *taker) {
	n := 0
	endpoints := t.object.object("telemetry_data", "endpoints")
	for _, at := range slices.Sorted(maps.Keys(endpoints)) {
		gpus := endpoints.object(at, "gpus")
		for _, key := range slices.Sorted(maps.Keys(gpus)) {
			n++
			if d.Hardware.GPUModel == "" {
				d.Hardware.GPUModel = gpus.text(key, "gpu_name")
			}
		}
	}
	if n > 0 {
		d.Hardware.GPUCount = &n
		d.warn("gpus-of-telemetry", "the GPUs are those that the tool's telemetry saw, also where the server used fewer")
	}
}

// keepBlocks keeps every number of the metric blocks with the block's unit.
func (d *draft) keepBlocks(o object) {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		one, ok := o[name].(map[string]any)
		if !ok || one["unit"] == nil {
			continue
		}
		unit, _ := one["unit"].(string)
		d.keep(object{name: one}, func(key string) string {
			if strings.HasSuffix(key, ".count") {
				return ""
			}
			return unit
		})
	}
}
