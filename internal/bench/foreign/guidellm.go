package foreign

import (
	"fmt"
	"strconv"
	"strings"

	"llmdyno/internal/bench/result"
)

func isGuideLLM(o object) bool {
	list := o.list("benchmarks")
	if len(list) == 0 {
		return o.object("metrics", "time_to_first_token_ms") != nil
	}
	one, _ := list[0].(map[string]any)
	return object(one).object("metrics") != nil
}

// readGuideLLM reads benchmarks.json: a report holds one benchmark for each rate
// of a sweep. A benchmark by itself is read too.
func readGuideLLM(t *taker, d *draft) []*draft {
	list := t.object.list("benchmarks")
	if len(list) == 0 {
		guideBenchmark(t, t.object, d)
		return []*draft{d}
	}
	var out []*draft
	for i, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			t.problem(fmt.Sprintf("benchmarks[%d]: expected an object, got %s: left out", i, kindOf(v)))
			continue
		}
		suffix := ""
		if len(list) > 1 {
			suffix = fmt.Sprintf("-%d", i)
		}
		one := &taker{object: m}
		c := d.again(suffix)
		guideBenchmark(one, t.object, c)
		for _, p := range one.problems {
			t.problem(fmt.Sprintf("benchmarks[%d].%s", i, p))
		}
		out = append(out, c)
	}
	return out
}

// of is the path of a distribution over successful requests.
func of(name string, more ...string) []string {
	return append([]string{"metrics", name, "successful"}, more...)
}

// guideLatency reads a distribution, whose percentiles stand a level deeper.
func guideLatency(t *taker, factor float64, name string) result.Latency {
	l := levels(t, factor, of(name)...)
	for _, f := range []struct {
		key  string
		into **float64
	}{{"p50", &l.P50}, {"p90", &l.P90}, {"p95", &l.P95}, {"p99", &l.P99}} {
		if x := t.scaled(factor, of(name, "percentiles", f.key)...); x != nil && *f.into == nil {
			*f.into = x
		}
	}
	if l.N != nil && *l.N == 0 || l.Max != nil && *l.Max == 0 {
		return result.Latency{} // 0 stands for nothing measured
	}
	return l
}

func guideBenchmark(t *taker, report object, d *draft) {
	m, w := &d.Metrics, &d.Workload
	d.Imported.Version = report.text("metadata", "guidellm_version")
	d.Model = firstText(t.at("config", "backend", "model"), report.at("args", "model"), report.at("args", "backend_kwargs", "model"), t.at("benchmarker", "backend", "model"), t.at("worker", "backend_model"))
	d.RunID = t.text("config", "run_id")
	d.MeasuredAt = unixStamp(t.number("end_time"))
	m.DurationS = t.number("duration")
	m.Succeeded, m.Failed = t.count("metrics", "request_totals", "successful"), t.count("metrics", "request_totals", "errored")
	m.Planned = t.count("metrics", "request_totals", "total")
	if n := t.count("metrics", "request_totals", "incomplete"); n != nil && *n > 0 {
		d.warn("requests-cut-off", "%d requests were in flight when the measuring window ended: they count neither as successes nor as failures", *n)
	}
	m.RequestThroughput = t.number(of("requests_per_second", "mean")...)
	m.OutputTokenThroughput = t.number(of("output_tokens_per_second", "mean")...)
	m.TotalTokenThroughput = t.number(of("tokens_per_second", "mean")...)
	m.MeanConcurrency = t.number(of("request_concurrency", "mean")...)
	if x := t.number(of("request_concurrency", "max")...); x != nil {
		m.PeakConcurrency = ptr(int(min(*x, 1e9)))
	}
	m.InputTokens, m.OutputTokens = guideSum(t, "prompt_token_count"), guideSum(t, "output_token_count")
	m.TTFT = guideLatency(t, 1, "time_to_first_token_ms")
	m.E2E = guideLatency(t, 1000, "request_latency")
	m.TPOT = guideLatency(t, 1, "inter_token_latency_ms")
	if m.TPOT.N = nil; !m.TPOT.Empty() {
		// Its count is one of tokens.
		d.warn("tpot-of-tokens", "TPOT is this tool's inter_token_latency_ms, each request weighted by its tokens; its time_per_output_token_ms counts the first token too and is kept under imported.figures only")
	}
	if x := levels(t, 1, of("prompt_token_count")...); x.Mean != nil {
		w.InputP50, w.InputP95 = first(x.P50, t.number(of("prompt_token_count", "percentiles", "p50")...)), t.number(of("prompt_token_count", "percentiles", "p95")...)
	}
	if x := levels(t, 1, of("output_token_count")...); x.Mean != nil {
		w.OutputP50, w.OutputP95 = first(x.P50, t.number(of("output_token_count", "percentiles", "p50")...)), t.number(of("output_token_count", "percentiles", "p95")...)
	}
	guideLoad(t, report, d)
	// -1 stands for no delay measured, which number would call a problem.
	if x, ok := finite(t.at("scheduler_metrics", "request_targeted_start_delay_avg")); ok && x >= 0 {
		m.SendLag.Mean = ptr(x * 1000)
	}
	d.keep(object{"metrics": map[string]any(t.object.object("metrics")), "scheduler_metrics": map[string]any(t.object.object("scheduler_metrics"))}.only("successful"), guideUnit)
}

func guideSum(t *taker, name string) *int64 {
	x := t.number(of(name, "total_sum")...)
	if x == nil || *x > 1<<53 {
		return nil
	}
	return ptr(int64(*x + 0.5))
}

// only keeps of every distribution the part over successful requests, and leaves
// out the long lists of percentiles that no row has.
func (o object) only(status string) object {
	out := object{}
	for key, v := range o {
		m, ok := v.(map[string]any)
		if !ok {
			out[key] = v
			continue
		}
		switch key {
		case "incomplete", "errored", "total":
			continue
		case "image", "video", "audio", "text", "tool_call":
			continue
		}
		out[key] = map[string]any(object(m).only(status))
	}
	return out
}

func guideUnit(key string) string {
	switch {
	case strings.Contains(key, "_ms."):
		return "ms"
	case strings.HasSuffix(key, ".count"):
		return ""
	case strings.Contains(key, "request_latency"), strings.HasPrefix(key, "scheduler_metrics.") && strings.HasSuffix(key, "_avg"):
		return "s"
	case strings.Contains(key, "requests_per_second"):
		return "req/s"
	case strings.Contains(key, "tokens_per_second"):
		return "tok/s"
	case strings.Contains(key, "token_count"):
		return "tok"
	}
	return ""
}

// guideLoad reads the strategy, whose place and keys changed with the versions.
func guideLoad(t *taker, report object, d *draft) {
	w := &d.Workload
	at := []string{"config", "strategy"}
	if t.object.object(at...) == nil {
		at = []string{"args", "strategy"}
	}
	key := func(k string) []string { return append(append([]string{}, at...), k) }
	kind := t.text(key("type_")...)
	switch kind {
	case "synchronous":
		w.Arrivals, w.MaxConcurrency = "closed", ptr(1)
	case "concurrent":
		w.Arrivals, w.MaxConcurrency = "closed", first(positive(t.count(key("streams")...)), positive(t.count(key("max_concurrency")...)))
	case "throughput":
		w.MaxConcurrency = positive(t.count(key("max_concurrency")...))
		if w.MaxConcurrency != nil {
			w.Arrivals = "closed"
		}
	case "constant", "poisson", "async":
		w.Arrivals = kind
		if kind == "async" {
			w.Arrivals = "constant"
		}
		w.RequestRate, w.MaxConcurrency = t.rate(key("rate")...), positive(t.count(key("max_concurrency")...))
	case "":
	default:
		d.warn("arrivals-unknown", "the strategy %q has no counterpart among ours", kind)
	}
	w.Seed = (&taker{object: report}).seed("args", "random_seed")
	for _, text := range []string{firstText(report.at("args", "data")), t.text("config", "requests", "data")} {
		if in, out, ok := guideLengths(text); ok && w.InputLen == nil {
			w.Kind, w.InputLen, w.OutputLen = "random", in, out
		}
	}
}

// guideLengths reads "prompt_tokens=256,output_tokens=128".
func guideLengths(text string) (in, out *int, ok bool) {
	for _, part := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil || n <= 0 {
			continue
		}
		switch strings.TrimSpace(key) {
		case "prompt_tokens":
			in = &n
		case "output_tokens":
			out = &n
		}
	}
	return in, out, in != nil || out != nil
}
