package foreign

import (
	"maps"
	"slices"
	"strings"

	"llmdyno/internal/bench/result"
)

func isInferencePerf(o object) bool {
	return o.object("load_summary") != nil && o.object("successes") != nil
}

// seconds reads one distribution in seconds as one in ms.
func seconds(t *taker, name string) result.Latency {
	return levels(t, 1000, "successes", "latency", name)
}

// readInferencePerf reads summary_lifecycle_metrics.json and
// stage_N_lifecycle_metrics.json; its times are seconds.
func readInferencePerf(t *taker, d *draft) {
	m, w := &d.Metrics, &d.Workload
	m.Planned = t.count("load_summary", "count")
	m.Succeeded, m.Failed = t.count("successes", "count"), t.count("failures", "count")
	m.DurationS = t.number("benchmark_time_seconds")
	m.RequestThroughput = t.number("successes", "throughput", "requests_per_sec")
	m.OutputTokenThroughput = t.number("successes", "throughput", "output_tokens_per_sec")
	m.TotalTokenThroughput = t.number("successes", "throughput", "total_tokens_per_sec")
	w.NumPrompts = m.Planned
	w.RequestRate = t.rate("load_summary", "requested_rate")
	w.MaxConcurrency = positive(t.count("load_summary", "concurrency"))
	if w.MaxConcurrency != nil {
		w.Arrivals, w.RequestRate = "closed", nil
	}
	m.AchievedRate = t.rate("load_summary", "achieved_rate")
	m.TTFT, m.TPOT = seconds(t, "time_to_first_token"), seconds(t, "time_per_output_token")
	m.E2E, m.ITL = seconds(t, "request_latency"), seconds(t, "inter_token_latency")
	m.E2E.N = m.Succeeded
	d.scheduleDelay(t)
	d.inferencePerfTokens(t)
	if g := t.number("successes", "goodput_metrics", "request_goodput"); g != nil {
		m.Goodput = g
		if good := t.count("successes", "goodput_metrics", "good_requests"); good != nil {
			d.attained(good)
			d.warn("attainment-over-planned", "attainment is over all requests, as ours is; this tool's goodput_percentage is over those that succeeded")
		}
	}
	for _, label := range slices.Sorted(maps.Keys(t.object.object("failures", "by_label"))) {
		if n := t.count("failures", "by_label", label, "count"); n != nil && len(m.Errors) < 20 {
			if m.Errors == nil {
				m.Errors = map[string]int{}
			}
			m.Errors[label] = *n
		}
	}
	d.keep(t.object, inferencePerfUnit)
}

// scheduleDelay takes the delay of the sends, which may be negative where the
// tool sent early.
func (d *draft) scheduleDelay(t *taker) {
	o := t.object.object("load_summary", "schedule_delay")
	for _, f := range []struct {
		key  string
		into **float64
	}{{"mean", &d.Metrics.SendLag.Mean}, {"median", &d.Metrics.SendLag.P50}, {"p90", &d.Metrics.SendLag.P90}, {"p95", &d.Metrics.SendLag.P95}, {"p99", &d.Metrics.SendLag.P99}, {"min", &d.Metrics.SendLag.Min}, {"max", &d.Metrics.SendLag.Max}} {
		if x, ok := finite(o[f.key]); ok {
			*f.into = ptr(x * 1000)
		}
	}
}

// inferencePerfTokens reads the token counts, whose blocks changed their names.
func (d *draft) inferencePerfTokens(t *taker) {
	m, w := &d.Metrics, &d.Workload
	lengths := func(names ...string) (p50, p95, total *float64) {
		for _, name := range names {
			if l := levels(t, 1, "successes", name); l.Mean != nil || l.P50 != nil || t.has("successes", name, "total") {
				return l.P50, l.P95, t.number("successes", name, "total")
			}
		}
		return nil, nil, nil
	}
	var in, out *float64
	w.InputP50, w.InputP95, in = lengths("prompt_tokens", "prompt_len")
	w.OutputP50, w.OutputP95, out = lengths("output_tokens", "output_len")
	if in != nil {
		m.InputTokens = ptr(int64(*in + 0.5))
	}
	if out != nil {
		m.OutputTokens = ptr(int64(*out + 0.5))
		d.definition.Tokens = ByTokenizer
	}
	// 0 also stands for servers that did not tell.
	if c := t.number("successes", "prompt_tokens", "cached"); c != nil && *c > 0 {
		m.CachedTokens = ptr(int64(*c + 0.5))
	}
	if n := t.count("successes", "token_count_mismatches"); n != nil && *n > 0 {
		d.warn("token-counts-differ", "the tool's tokenizer and the server disagree about the tokens of %d answers", *n)
	}
}

func inferencePerfUnit(key string) string {
	switch {
	case strings.Contains(key, ".latency."), strings.Contains(key, "schedule_delay"), strings.HasSuffix(key, "_duration"), strings.HasSuffix(key, "_seconds"), strings.Contains(key, "failures.request_latency"):
		return "s"
	case strings.HasSuffix(key, "requests_per_sec"), strings.HasSuffix(key, "_rate"), strings.HasSuffix(key, "request_goodput"):
		return "req/s"
	case strings.HasSuffix(key, "_tokens_per_sec"):
		return "tok/s"
	case strings.Contains(key, "prompt_tokens"), strings.Contains(key, "output_tokens"), strings.Contains(key, "output_len"), strings.Contains(key, "prompt_len"):
		return "tok"
	case strings.HasSuffix(key, "_percentage"):
		return "%"
	}
	return ""
}
