package foreign

import (
	"strings"

	"llmdyno/internal/bench/result"
)

func isTRTLLM(o object) bool {
	return o.has("user_throughput") && o.has("completed") || o.has("avg_decoded_tokens_per_iter") && o.has("completed") || isBenchReport(o)
}

// isBenchReport: the JSON report of `trtllm-bench throughput|latency`.
func isBenchReport(o object) bool {
	return o.object("performance") != nil && o.object("world_info") != nil && o.object("request_info") != nil
}

// readTRTLLM reads benchmark_serving, a fork of vLLM's old client, and the report
// of trtllm-bench.
func readTRTLLM(t *taker, d *draft) {
	d.engineFrom(string(TRTLLM))
	if isBenchReport(t.object) {
		readBenchReport(t, d)
		return
	}
	serving(t, d)
	m := &d.Metrics
	if m.Goodput = t.number("request_goodput:"); m.Goodput == nil {
		m.Goodput = t.number("request_goodput")
	}
	d.Workload.Endpoint, d.Workload.Kind = t.text("backend"), t.text("dataset_name")
	d.MeasuredAt = d.localDate(t.text("date"))
	if x := t.number("avg_decoded_tokens_per_iter", "mean"); x != nil {
		d.SpecDecode = &result.SpecDecode{MeanAcceptLength: x}
	}
	details(t, d)
	d.neverSent()
	d.warn("input-tokens-planned", "input tokens are the lengths of the dataset, not the server's count")
}

// readBenchReport: no server and no HTTP: requests are put into the engine in
// the same process.
func readBenchReport(t *taker, d *draft) {
	m, w := &d.Metrics, &d.Workload
	d.definition = Definition{TTFT: AtFirstText, E2E: AtLastText, TPOT: TPOTBetween, Tokens: ByServer, Window: OverRequests, Percentile: PercentileIndex, Stamps: ByClient}
	d.FrameworkVersion = t.text("engine", "version")
	d.Model = t.text("engine", "model")
	d.Hardware.GPUModel = t.text("machine", "name")
	d.Hardware.GPUCount = positive(t.count("world_info", "world_size"))
	mem := result.Memory{GPUMemoryUtilization: t.number("world_info", "kv_cache_percentage"), KVCacheDtype: strings.ToLower(t.text("engine", "kv_cache_dtype"))}
	if mem != (result.Memory{}) {
		d.Memory = &mem
	}
	w.NumPrompts = t.count("request_info", "num_requests")
	w.Endpoint = "in-process"
	m.Planned, m.Succeeded = w.NumPrompts, w.NumPrompts
	m.MeanConcurrency = t.number("request_info", "avg_num_concurrent_requests")
	m.AchievedRate = t.rate("world_info", "issue_rate")
	m.DurationS = t.scaled(1e-3, "performance", "total_latency_ms")
	m.RequestThroughput = t.number("performance", "request_throughput_req_s")
	m.OutputTokenThroughput = t.number("performance", "system_output_throughput_tok_s")
	m.TotalTokenThroughput = t.number("performance", "system_total_throughput_tok_s")
	if n := m.Succeeded; n != nil {
		m.InputTokens = totalOf(t.number("request_info", "avg_input_length"), *n)
		m.OutputTokens = totalOf(t.number("request_info", "avg_output_length"), *n)
	}
	m.E2E = levels(t, 1, "performance", "request_latency_percentiles_ms")
	m.TTFT = levels(t, 1, "streaming_metrics", "ttft_percentiles")
	m.TPOT = levels(t, 1, "streaming_metrics", "tpot_percentiles")
	for _, f := range []struct {
		into **float64
		path []string
	}{
		{&m.E2E.Mean, []string{"performance", "avg_request_latency_ms"}},
		{&m.TTFT.Mean, []string{"streaming_metrics", "avg_ttft_ms"}},
		{&m.TPOT.Mean, []string{"streaming_metrics", "avg_tpot_ms"}},
	} {
		if *f.into == nil {
			*f.into = t.number(f.path...)
		}
	}
	if t.object.object("decoding_stats") != nil {
		d.SpecDecode = &result.SpecDecode{
			Enabled: ptr(true), Algorithm: t.text("decoding_stats", "mode"),
			MeanAcceptLength: t.number("decoding_stats", "acceptance_length_percentiles", "average"),
			AcceptanceRate:   t.number("decoding_stats", "draft_acceptance_rate_percentiles", "average"),
		}
	}
	d.Workload.InputP50, d.Workload.OutputP50 = t.number("dataset", "isl_stats", "p50"), t.number("dataset", "osl_stats", "p50")
	d.Workload.InputP95, d.Workload.OutputP95 = t.number("dataset", "isl_stats", "p95"), t.number("dataset", "osl_stats", "p95")
	d.keep(t.object, unitByEnding)
	d.warn("in-process", "requests were put into the engine in its own process: there is no HTTP in the latencies, and the figures do not compare with those of a server")
}

func totalOf(mean *float64, n int) *int64 {
	if mean == nil {
		return nil
	}
	return ptr(int64(*mean*float64(n) + 0.5))
}

// levels reads a block of statistics under the names that the tools use.
func levels(t *taker, factor float64, path ...string) result.Latency {
	var l result.Latency
	if t.object.object(path...) == nil {
		return l
	}
	for _, f := range []struct {
		keys []string
		into **float64
	}{
		{[]string{"average", "avg", "mean"}, &l.Mean}, {[]string{"p50", "median"}, &l.P50}, {[]string{"p90"}, &l.P90}, {[]string{"p95"}, &l.P95},
		{[]string{"p99"}, &l.P99}, {[]string{"minimum", "min"}, &l.Min}, {[]string{"maximum", "max"}, &l.Max}, {[]string{"std", "std_dev"}, &l.Stddev},
	} {
		for _, key := range f.keys {
			if x := t.scaled(factor, append(append([]string{}, path...), key)...); x != nil && *f.into == nil {
				*f.into = x
			}
		}
	}
	l.N = t.count(append(append([]string{}, path...), "count")...)
	return l
}
