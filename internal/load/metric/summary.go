package metric

// Limits are the bounds that a request must keep to count as good. 0 = no
// limit. A bound that is met exactly is kept.
type Limits struct {
	TTFTMs float64 `json:"ttft_ms,omitempty"`
	TPOTMs float64 `json:"tpot_ms,omitempty"`
	E2EMs  float64 `json:"e2e_ms,omitempty"`
}

// Any says whether a bound is set.
func (l Limits) Any() bool { return l.TTFTMs > 0 || l.TPOTMs > 0 || l.E2EMs > 0 }

// Dist is a distribution by its figures, over raw samples: percentiles by
// linear interpolation between order statistics (type 7), standard deviation
// with divisor n. The unit is that of the field which holds it.
type Dist struct {
	N      int     `json:"n"`
	Mean   float64 `json:"mean"`
	P50    float64 `json:"p50"`
	P90    float64 `json:"p90"`
	P95    float64 `json:"p95"`
	P99    float64 `json:"p99"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Stddev float64 `json:"stddev"`
	// Quantiles are the quantiles at QuantileLevels: enough to draw the curve
	// of a distribution without its samples.
	Quantiles []float64 `json:"quantiles,omitempty"`
}

// QuantileLevels are the probabilities of Dist.Quantiles.
var QuantileLevels = []float64{
	0, 0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85,
	0.9, 0.95, 0.96, 0.97, 0.975, 0.98, 0.99, 0.995, 0.999, 1,
}

// Warning is something that a reader of the figures must know.
type Warning struct {
	Code    string `json:"code"` // kebab-case, stable
	Message string `json:"message"`
}

// Counts are numbers of requests, warm-up left out.
type Counts struct {
	Planned   int `json:"planned"`
	Sent      int `json:"sent"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`  // sent and not succeeded
	Dropped   int `json:"dropped"` // never sent
}

// Summary is what the samples of one trial say. A pointer that is nil, and a
// field left out of the JSON, means that nothing was measured.
type Summary struct {
	DurationS float64        `json:"duration_s"`
	Counts    Counts         `json:"requests"`
	Errors    map[string]int `json:"errors,omitempty"` // by class of failure

	// Sums over successful requests. InputTokens is absent when a request has
	// no count.
	InputTokens  *int64 `json:"input_tokens,omitempty"`
	OutputTokens *int64 `json:"output_tokens,omitempty"`
	CachedTokens *int64 `json:"cached_tokens,omitempty"` // absent when no server told

	RequestThroughput     *float64 `json:"request_throughput_rps,omitempty"`
	InputTokenThroughput  *float64 `json:"input_token_throughput_tps,omitempty"`
	OutputTokenThroughput *float64 `json:"output_token_throughput_tps,omitempty"`
	TotalTokenThroughput  *float64 `json:"total_token_throughput_tps,omitempty"`
	// PeakOutputTokens is the largest number of output tokens within one of the
	// 1 s buckets that start at the first send.
	PeakOutputTokens *float64 `json:"peak_output_token_throughput_tps,omitempty"`

	// AchievedRate is (sent − 1) over the time from the first send to the last:
	// the time in which the last answers come is no time of sending.
	AchievedRate    *float64 `json:"achieved_rps,omitempty"`
	SuccessRate     *float64 `json:"success_rate,omitempty"` // succeeded / sent
	Limits          *Limits  `json:"limits,omitempty"`
	Goodput         *float64 `json:"goodput_rps,omitempty"`
	Attainment      *float64 `json:"attainment,omitempty"` // good / planned
	MeanConcurrency *float64 `json:"mean_concurrency,omitempty"`
	PeakConcurrency *int     `json:"peak_concurrency,omitempty"`

	TTFT         *Dist `json:"ttft_ms,omitempty"`
	E2E          *Dist `json:"e2e_ms,omitempty"`
	TPOT         *Dist `json:"tpot_ms,omitempty"`
	ITL          *Dist `json:"itl_ms,omitempty"`
	EventGap     *Dist `json:"event_gap_ms,omitempty"`
	NTPOT        *Dist `json:"ntpot_ms,omitempty"`
	E2EFromSched *Dist `json:"e2e_from_sched_ms,omitempty"`
	SendLag      *Dist `json:"send_lag_ms,omitempty"`
	// Connect is the time to a ready connection, over requests that made one.
	Connect *Dist `json:"connect_ms,omitempty"`

	// The time to the first event of one kind of content: text that a user sees,
	// reasoning, arguments of a tool call. Over the answers that have one.
	TTFTVisible   *Dist `json:"ttft_visible_ms,omitempty"`
	TTFTReasoning *Dist `json:"ttft_reasoning_ms,omitempty"`
	TTFTTool      *Dist `json:"ttft_tool_ms,omitempty"`
	// TokensPerEvent are the tokens that an event after the first of its answer
	// added, where the server counts on each event: with speculative decoding the
	// tokens accepted in a step, if the server sends an event a step. The mean is
	// there also where only the answer's tokens are known.
	TokensPerEvent     *Dist    `json:"tokens_per_event,omitempty"`
	MeanTokensPerEvent *float64 `json:"mean_tokens_per_event,omitempty"`

	FinishReasons map[string]int `json:"finish_reasons,omitempty"`
	TokenSources  map[string]int `json:"token_sources,omitempty"` // successful requests by who counted
	// StaleRetries are requests sent again because the server had closed the
	// kept-alive connection.
	StaleRetries int `json:"stale_retries,omitempty"`
	// SharedEventRatio is the share of events that came in one read with others.
	SharedEventRatio *float64 `json:"shared_event_ratio,omitempty"`

	// Steady says whether the measured window was in a steady state; nil when no
	// request succeeded.
	Steady *Steady `json:"steady,omitempty"`
	// Intervals are the confidence intervals of the headline figures, by the
	// names of the figures: p50_ttft_ms, mean_e2e_ms, attainment, goodput_rps.
	Intervals map[string]Interval `json:"intervals,omitempty"`

	Compat   Compat    `json:"compat"`
	Warnings []Warning `json:"warnings,omitempty"`
}

// Steady is the verdict on the steadiness of the measured window, from the figure
// that is farthest from steady: TTFT and TPOT, or E2E where there is no TTFT.
type Steady struct {
	Verdict string `json:"verdict"` // steady, trend, transient or unknown (too few requests)
	Figure  string `json:"figure,omitempty"`
	// P is the chance of such a trend without one: Mann-Kendall, Hamed-Rao.
	P *float64 `json:"p,omitempty"`
	// Drift is the change over the window by the Theil-Sen line, relative to the
	// median.
	Drift *float64 `json:"drift,omitempty"`
	// Transient is the number of requests at the beginning that differ from the rest,
	// by MSER-5; absent when none was found.
	Transient *int `json:"transient_requests,omitempty"`
	// Shift is the median of the transient over that of the rest, less 1.
	Shift *float64 `json:"transient_shift,omitempty"`
	// AfterTransient: what comes after the transient is steady.
	AfterTransient bool `json:"steady_after_transient,omitempty"`
}

// Interval says what a figure is worth.
type Interval struct {
	// CI is the two-sided 95 % confidence interval, low and high, in the unit of the
	// figure; absent when there are too few requests.
	CI *[2]float64 `json:"ci,omitempty"`
	N  int         `json:"n"` // requests behind the figure
	// Effective is the number of independent requests that they are worth; of a rate
	// it is not known.
	Effective int `json:"n_effective,omitempty"`
	// Needs is the number of such requests from which the figure has an interval;
	// only where it has none, and so must not be relied on.
	Needs int `json:"needs,omitempty"`
}

// Compat holds the figures under the names and definitions of other tools, so
// that they can be laid beside those tools' own output.
type Compat struct {
	VLLM *CompatVLLM `json:"vllm,omitempty"`
	// VLLMChat is by the rule for chat routes of vLLM 0.33.0 and later, whose TTFT
	// and gaps wait for output (vllm/benchmarks/lib/endpoint_request_func.py): with
	// the first text, as ours. An event whose text is empty and that is no role is
	// output there and no event here.
	VLLMChat *CompatVLLM   `json:"vllm_chat,omitempty"`
	SGLang   *CompatSGLang `json:"sglang,omitempty"`
}

// CompatVLLM follows vllm/benchmarks/serve.py @ 009e6d4a: TTFT ends with the
// first event that has choices, E2E with the last one, gaps are between
// events that have choices, peaks count events. Of several events with choices
// but without text before the first text only the first is known, of those after
// the last text only the last.
type CompatVLLM struct {
	Duration             float64  `json:"duration"`
	Completed            int      `json:"completed"`
	Failed               int      `json:"failed"`
	TotalInputTokens     int64    `json:"total_input_tokens"`
	TotalOutputTokens    int64    `json:"total_output_tokens"`
	RequestThroughput    *float64 `json:"request_throughput,omitempty"`
	RequestGoodput       *float64 `json:"request_goodput,omitempty"`
	OutputThroughput     *float64 `json:"output_throughput,omitempty"`
	TotalTokenThroughput *float64 `json:"total_token_throughput,omitempty"`
	MaxOutputTokensPerS  *float64 `json:"max_output_tokens_per_s,omitempty"`
	MaxConcurrent        *int     `json:"max_concurrent_requests,omitempty"`
	MeanTTFT             *float64 `json:"mean_ttft_ms,omitempty"`
	MedianTTFT           *float64 `json:"median_ttft_ms,omitempty"`
	StdTTFT              *float64 `json:"std_ttft_ms,omitempty"`
	P99TTFT              *float64 `json:"p99_ttft_ms,omitempty"`
	MeanTPOT             *float64 `json:"mean_tpot_ms,omitempty"`
	MedianTPOT           *float64 `json:"median_tpot_ms,omitempty"`
	StdTPOT              *float64 `json:"std_tpot_ms,omitempty"`
	P99TPOT              *float64 `json:"p99_tpot_ms,omitempty"`
	MeanITL              *float64 `json:"mean_itl_ms,omitempty"`
	MedianITL            *float64 `json:"median_itl_ms,omitempty"`
	StdITL               *float64 `json:"std_itl_ms,omitempty"`
	P99ITL               *float64 `json:"p99_itl_ms,omitempty"`
	MeanE2EL             *float64 `json:"mean_e2el_ms,omitempty"`
	MedianE2EL           *float64 `json:"median_e2el_ms,omitempty"`
	StdE2EL              *float64 `json:"std_e2el_ms,omitempty"`
	P99E2EL              *float64 `json:"p99_e2el_ms,omitempty"`
}

// CompatSGLang follows python/sglang/benchmark/serving.py @ 00f9ec47: TTFT ends
// with the first text, E2E with the last line of the stream. Two of its habits
// are not copied: the requested length never stands in for a missing count, and
// the connection's set-up stays out of TTFT.
type CompatSGLang struct {
	Completed           int      `json:"completed"`
	TotalInputTokens    int64    `json:"total_input_tokens"`
	TotalOutputTokens   int64    `json:"total_output_tokens"`
	RequestThroughput   *float64 `json:"request_throughput,omitempty"`
	InputThroughput     *float64 `json:"input_throughput,omitempty"`
	OutputThroughput    *float64 `json:"output_throughput,omitempty"`
	TotalThroughput     *float64 `json:"total_throughput,omitempty"`
	MeanE2E             *float64 `json:"mean_e2e_latency_ms,omitempty"`
	MedianE2E           *float64 `json:"median_e2e_latency_ms,omitempty"`
	StdE2E              *float64 `json:"std_e2e_latency_ms,omitempty"`
	P90E2E              *float64 `json:"p90_e2e_latency_ms,omitempty"`
	P95E2E              *float64 `json:"p95_e2e_latency_ms,omitempty"`
	P99E2E              *float64 `json:"p99_e2e_latency_ms,omitempty"`
	MeanTTFT            *float64 `json:"mean_ttft_ms,omitempty"`
	MedianTTFT          *float64 `json:"median_ttft_ms,omitempty"`
	StdTTFT             *float64 `json:"std_ttft_ms,omitempty"`
	P90TTFT             *float64 `json:"p90_ttft_ms,omitempty"`
	P95TTFT             *float64 `json:"p95_ttft_ms,omitempty"`
	P99TTFT             *float64 `json:"p99_ttft_ms,omitempty"`
	MeanTPOT            *float64 `json:"mean_tpot_ms,omitempty"`
	MedianTPOT          *float64 `json:"median_tpot_ms,omitempty"`
	StdTPOT             *float64 `json:"std_tpot_ms,omitempty"`
	P90TPOT             *float64 `json:"p90_tpot_ms,omitempty"`
	P95TPOT             *float64 `json:"p95_tpot_ms,omitempty"`
	P99TPOT             *float64 `json:"p99_tpot_ms,omitempty"`
	MeanITL             *float64 `json:"mean_itl_ms,omitempty"`
	MedianITL           *float64 `json:"median_itl_ms,omitempty"`
	StdITL              *float64 `json:"std_itl_ms,omitempty"`
	P90ITL              *float64 `json:"p90_itl_ms,omitempty"`
	P95ITL              *float64 `json:"p95_itl_ms,omitempty"`
	P99ITL              *float64 `json:"p99_itl_ms,omitempty"`
	Concurrency         *float64 `json:"concurrency,omitempty"`
	MaxOutputTokensPerS *float64 `json:"max_output_tokens_per_s,omitempty"`
	MaxConcurrent       *int     `json:"max_concurrent_requests,omitempty"`
	Duration            float64  `json:"duration"`
}
