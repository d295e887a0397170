package foreign

import (
	"fmt"
	"math"
	"strings"
	"time"

	"llmdyno/internal/bench/result"
)

// The three serving benchmarks that descend from vLLM's share most keys.

// flat reads {mean,median,std,pNN}_<name>_ms.
func flat(t *taker, name string) result.Latency {
	var l result.Latency
	for _, f := range []struct {
		key  string
		into **float64
	}{
		{"mean", &l.Mean}, {"median", &l.P50}, {"std", &l.Stddev}, {"p50", &l.P50}, {"p90", &l.P90}, {"p95", &l.P95}, {"p99", &l.P99},
		{"min", &l.Min}, {"max", &l.Max},
	} {
		if x := t.number(f.key + "_" + name + "_ms"); x != nil && *f.into == nil {
			*f.into = x
		}
	}
	return l
}

// none drops a distribution that stands for no samples: the tools write 0 for
// the mean of an empty list.
func none(l result.Latency) result.Latency {
	if l.Mean != nil && *l.Mean == 0 {
		return result.Latency{}
	}
	return l
}

// serving reads what the three have in common.
func serving(t *taker, d *draft) {
	m, w := &d.Metrics, &d.Workload
	d.Model = t.text("model_id")
	w.NumPrompts = t.count("num_prompts")
	w.RequestRate = t.rate("request_rate")
	w.MaxConcurrency = positive(t.count("max_concurrency"))
	w.Arrivals = arrivals(t)
	m.DurationS = t.number("duration")
	m.Planned = w.NumPrompts
	m.Succeeded, m.Failed = t.count("completed"), t.count("failed")
	m.InputTokens, m.OutputTokens = t.count64("total_input_tokens"), t.count64("total_output_tokens")
	m.RequestThroughput = t.number("request_throughput")
	m.OutputTokenThroughput = t.number("output_throughput")
	m.TotalTokenThroughput = t.number("total_token_throughput")
	m.PeakConcurrency = positive(t.count("max_concurrent_requests"))
	m.TTFT, m.TPOT = none(flat(t, "ttft")), none(flat(t, "tpot"))
	m.EventGap = none(flat(t, "itl"))
	m.E2E = none(flat(t, "e2el"))
	d.keep(withoutInfo(t.object), unitByEnding)
}

// withoutInfo leaves the server's own answer out: it is configuration, and may
// hold keys.
func withoutInfo(o object) object {
	out := object{}
	for k, v := range o {
		if k != "server_info" {
			out[k] = v
		}
	}
	return out
}

func positive(n *int) *int {
	if n == nil || *n == 0 {
		return nil
	}
	return n
}

// arrivals names the law of the gaps from rate and burstiness.
func arrivals(t *taker) string {
	if t.rate("request_rate") == nil {
		if positive(t.count("max_concurrency")) != nil {
			return "closed"
		}
		return ""
	}
	if s, ok := t.at("burstiness").(string); ok && endless(s) {
		return "constant"
	}
	b := t.number("burstiness")
	switch {
	case b == nil || *b == 1:
		return "poisson"
	case *b > 1e6:
		return "constant"
	}
	return "gamma"
}

// details takes per-request lists, in seconds, for what the figures lack.
func details(t *taker, d *draft) {
	m := &d.Metrics
	in, out := t.floats("input_lens"), t.floats("output_lens")
	ttfts := t.floats("ttfts")
	errors := t.list("errors")
	d.inLens, d.outLens = well(in, errors), well(out, errors)
	d.failures(errors)
	latency(&m.TTFT, inMs(well(ttfts, errors)))
	ends := t.floats("latencies")
	if ends == nil {
		ends = t.floats("e2els")
	}
	var gaps []float64
	for i, v := range t.list("itls") {
		one, _ := v.([]any)
		if list, ok := numbers(one); ok && !bad(errors, i) {
			gaps = append(gaps, inMs(list)...)
		}
	}
	latency(&m.EventGap, gaps)
	latency(&m.E2E, inMs(well(ends, errors)))
	if ends != nil && len(ends) == len(ttfts) && len(out) == len(ends) {
		latency(&m.TPOT, perToken(ttfts, ends, out, errors))
	}
	if lags := t.floats("queue_times"); lags != nil {
		latency(&m.SendLag, inMs(lags))
	}
}

// bad says that a request failed by the list of errors, which may be absent.
func bad(errors []any, i int) bool {
	return i < len(errors) && errors[i] != "" && errors[i] != nil
}

// well are the numbers of requests that succeeded. 0 stands for a failed one
// also where there is no list of errors: no latency and no length is 0.
func well(x []float64, errors []any) []float64 {
	var out []float64
	for i, v := range x {
		if v > 0 && !bad(errors, i) {
			out = append(out, v)
		}
	}
	return out
}

func inMs(seconds []float64) []float64 {
	out := make([]float64, len(seconds))
	for i, x := range seconds {
		out[i] = x * 1000
	}
	return out
}

// perToken is TPOT by the formula that the tools share, in ms.
func perToken(ttft, end, n []float64, errors []any) []float64 {
	var out []float64
	for i := range n {
		if n[i] > 1 && end[i] > 0 && !bad(errors, i) {
			out = append(out, 1000*math.Max(end[i]-ttft[i], 0)/(n[i]-1))
		}
	}
	return out
}

// failures counts errors by their text where the file has no count.
func (d *draft) failures(errors []any) {
	if len(errors) == 0 {
		return
	}
	m, failed := &d.Metrics, 0
	for _, e := range errors {
		s, _ := e.(string)
		if s == "" {
			continue
		}
		failed++
		if m.Errors == nil {
			m.Errors = map[string]int{}
		}
		if s = firstLine(s); m.Errors[s] > 0 || len(m.Errors) < 20 {
			m.Errors[s]++
		}
	}
	if m.Failed == nil {
		m.Failed = &failed
	}
	if m.Planned == nil {
		m.Planned = ptr(len(errors))
	}
}

// firstLine is the last line of a traceback, or the only one of a message,
// short enough for a key.
func firstLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	s = strings.TrimSpace(lines[len(lines)-1])
	if len(s) > 120 {
		s = strings.ToValidUTF8(s[:120], "") + "…"
	}
	return s
}

// floats are the numbers of a list of one number a request; nil when it is
// absent or holds something else.
func (t *taker) floats(key string) []float64 {
	list := t.list(key)
	if list == nil {
		return nil
	}
	for _, v := range list {
		if v == nil {
			t.problem(key + ": a request without a number: the list is left out")
			return nil
		}
	}
	x, ok := numbers(list)
	if !ok {
		t.problem(key + ": expected a list of numbers of at least 0: left out")
		return nil
	}
	return x
}

func isVLLM(o object) bool {
	return o.has("duration") && o.has("completed") && (o.has("total_token_throughput") || o.has("output_throughput")) &&
		!o.has("total_throughput") && !o.has("server_info") && !isTRTLLM(o)
}

// readVLLM reads `vllm bench serve --save-result`. InferenceX's copy differs by
// a stray colon in "request_goodput:" and by a connection for each request.
func readVLLM(t *taker, d *draft) {
	serving(t, d)
	m, w := &d.Metrics, &d.Workload
	m.Goodput = t.number("request_goodput")
	if t.has("request_goodput:") {
		m.Goodput = t.number("request_goodput:")
	}
	if m.Goodput != nil {
		d.warn("goodput-limits-unknown", "the file does not tell the limits of its goodput: compare it only with one under the same --goodput")
	}
	w.Endpoint = t.text("endpoint_type")
	if w.Endpoint == "" {
		w.Endpoint = t.text("backend")
	}
	if _, older := t.object["request_goodput:"]; older {
		d.definition.Connection = true
		d.warn("older-copy", "the key \"request_goodput:\" is that of an older copy of this client: it makes a connection for each request")
	}
	d.clientBackend(t)
	d.MeasuredAt = d.localDate(t.text("date"))
	d.Workload.Kind = t.text("dataset_name")
	details(t, d)
	d.neverSent()
	if t.has("spec_decode_acceptance_rate") || t.has("spec_decode_acceptance_length") {
		d.SpecDecode = &result.SpecDecode{Enabled: ptr(true), MeanAcceptLength: t.number("spec_decode_acceptance_length")}
		if x := t.number("spec_decode_acceptance_rate"); x != nil {
			d.SpecDecode.AcceptanceRate = share(*x)
		}
	}
}

// neverSent takes num_prompts for the requests that were sent: these clients
// drop none.
func (d *draft) neverSent() {
	m := &d.Metrics
	if m.Failed == nil && m.Planned != nil && m.Succeeded != nil && *m.Planned >= *m.Succeeded {
		m.Failed = ptr(*m.Planned - *m.Succeeded)
	}
}

// share reads a ratio that may be written as a percentage.
func share(x float64) *float64 {
	if x > 1 {
		x /= 100
	}
	return &x
}

// clientBackend takes the engine from --backend, which names the API that the
// client speaks.
func (d *draft) clientBackend(t *taker) {
	name := t.text("backend")
	d.engineFrom(strings.TrimSuffix(strings.TrimSuffix(name, "-chat"), "-oai"))
	if d.Framework != "" && d.options.Framework == "" {
		d.warn("engine-from-client", "the engine is taken from the client's --backend %s, which names an API: say --framework where another engine was measured", name)
	}
}

// localDate reads YYYYmmdd-HHMMSS in the client's local time, whose zone the
// file does not tell.
func (d *draft) localDate(s string) string {
	at := stamp(time.Parse("20060102-150405", s))
	if at != "" {
		d.warn("time-zone-unknown", "the time of measurement is the client's local time %s, taken for UTC", s)
	}
	return at
}

func isSGLang(o object) bool {
	return o.has("duration") && o.has("completed") && (o.has("total_throughput") || o.has("input_throughput")) && (o.has("mean_e2e_latency_ms") || o.has("median_e2e_latency_ms") || o.has("total_output_tokens_retokenized"))
}

// readSGLang reads one line of `sglang.benchmark.serving --output-file`.
func readSGLang(t *taker, d *draft) {
	serving(t, d)
	m, w := &d.Metrics, &d.Workload
	m.E2E = none(flat(t, "e2e_latency"))
	m.TotalTokenThroughput = t.number("total_throughput")
	m.MeanConcurrency = t.number("concurrency")
	d.goodput(t)
	backend := t.text("backend")
	d.definition.ITL = GapsOfEvents
	if backend == "sglang" || backend == "sglang-native" {
		// The engine's own route counts tokens on each event.
		d.definition.ITL, d.definition.Tokens = GapsOfTokens, ByServer
		m.ITL, m.EventGap = m.EventGap, result.Latency{}
	}
	d.clientBackend(t)
	w.Endpoint, w.Kind = backend, t.text("dataset_name")
	w.Arrivals = arrivals(t)
	d.randomLengths(t)
	if tag := t.text("tag"); tag != "" {
		d.CandidateID = tag
	}
	d.serverInfo(t)
	d.acceptance(t)
	d.cacheReport(t)
	gaps := m.EventGap
	details(t, d)
	if d.definition.ITL == GapsOfTokens {
		// The lists hold shares of tokens there.
		l := m.EventGap
		m.EventGap = gaps
		l.Mean, l.P50, l.P90, l.P95, l.P99, l.Stddev = m.ITL.Mean, m.ITL.P50, m.ITL.P90, m.ITL.P95, m.ITL.P99, m.ITL.Stddev
		m.ITL = l
	}
	if m.Failed == nil {
		d.warn("failures-unknown", "the file does not tell how many requests failed: latencies are over the %s that succeeded", countText(m.Succeeded))
	}
}

// goodput takes goodput and attainment where the file says what limits they are
// under (sglang/benchmark/goodput.py of package sglang 0.5.23): a share of requests
// within limits that nobody knows is no figure of a row.
func (d *draft) goodput(t *taker) {
	good := t.number("request_goodput")
	if good == nil {
		return
	}
	var limits []string
	for _, name := range []string{"ttft", "tpot", "e2el"} {
		if x := t.number("goodput_slos_ms", name); x != nil {
			limits = append(limits, fmt.Sprintf("%s %g ms", name, *x))
		}
	}
	if len(limits) == 0 {
		d.warn("goodput-limits-unknown", "the file has a goodput of %g req/s and does not tell its limits: it stands under imported.figures only", *good)
		return
	}
	d.Metrics.Goodput, d.Metrics.Attainment = good, t.number("slo_attainment")
	d.warn("goodput-limits", "goodput and attainment are those of requests within %s, by the client's own TTFT and E2E", strings.Join(limits, ", "))
}

func countText(n *int) string {
	if n == nil {
		return "requests"
	}
	return fmt.Sprint(*n)
}

// randomLengths reads the asked-for lengths of the random dataset.
func (d *draft) randomLengths(t *taker) {
	w := &d.Workload
	kind := t.text("dataset_name")
	if !strings.HasPrefix(kind, "random") {
		if x := positive(t.count("sharegpt_output_len")); x != nil {
			w.OutputLen = x
		}
		return
	}
	w.InputLen, w.OutputLen = positive(t.count("random_input_len")), positive(t.count("random_output_len"))
	r := t.number("random_range_ratio")
	if r != nil && *r < 1 && w.InputLen != nil && w.OutputLen != nil {
		d.warn("length-range", "lengths are uniform from %g of the stated %d and %d tokens up to these: the mean is about %.0f and %.0f", *r, *w.InputLen, *w.OutputLen, float64(*w.InputLen)*(1+*r)/2, float64(*w.OutputLen)*(1+*r)/2)
	}
}

// serverInfo reads what the server says of itself.
func (d *draft) serverInfo(t *taker) {
	info := &taker{object: t.object.object("server_info")}
	if info.object == nil {
		return
	}
	if s := info.text("version"); s != "" {
		d.FrameworkVersion = s
	}
	if d.Model == "" {
		if d.Model = info.text("served_model_name"); d.Model == "" {
			d.Model = info.text("model_path")
		}
	}
	if tp := info.count("tp_size"); tp != nil && *tp > 0 {
		n := *tp
		if pp := info.count("pp_size"); pp != nil && *pp > 1 {
			n *= *pp
		}
		if dp, shared := info.count("dp_size"), info.truth("enable_dp_attention"); dp != nil && *dp > 1 && (shared == nil || !*shared) {
			n *= *dp
		}
		d.Hardware.GPUCount = &n
	}
	mem := result.Memory{GPUMemoryUtilization: info.number("mem_fraction_static"), KVCacheDtype: info.text("kv_cache_dtype"), CPUOffloadGB: info.number("cpu_offload_gb")}
	if mem != (result.Memory{}) {
		d.Memory = &mem
	}
	if off := info.truth("disable_radix_cache"); off != nil {
		d.cache().PrefixCacheEnabled = ptr(!*off)
	}
	if n := info.count64("max_total_num_tokens"); n != nil {
		d.cache().KVCacheTokens = n
	}
	if s := info.text("speculative_algorithm"); s != "" {
		d.SpecDecode = &result.SpecDecode{Enabled: ptr(true), Algorithm: s, NumSteps: info.count("speculative_num_steps"), NumDraftTokens: info.count("speculative_num_draft_tokens")}
	}
}

func (d *draft) cache() *result.Cache {
	if d.Cache == nil {
		d.Cache = &result.Cache{}
	}
	return d.Cache
}

func (d *draft) acceptance(t *taker) {
	x := t.number("accept_length")
	if x == nil {
		return
	}
	if d.SpecDecode == nil {
		d.SpecDecode = &result.SpecDecode{}
	}
	d.SpecDecode.MeanAcceptLength = x
}

func (d *draft) cacheReport(t *taker) {
	if t.object.object("cache_report") == nil {
		return
	}
	d.Metrics.CachedTokens = t.count64("cache_report", "total_cached_tokens")
	if x := t.number("cache_report", "cache_hit_rate_pct"); x != nil {
		d.cache().PrefixCacheHitRate = ptr(*x / 100)
	}
}
