package metric

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/stat"
)

func (t *tally) summary(durationNs int64) Summary {
	series := t.series() // before the distributions sort them
	s := Summary{
		DurationS: float64(max(durationNs, 0)) / second, Counts: t.counts, Errors: filled(t.errors),
		TTFT: NewDist(t.ttft), E2E: NewDist(t.e2e), TPOT: NewDist(t.tpot), ITL: NewDist(t.itl),
		EventGap: NewDist(t.gap), NTPOT: NewDist(t.ntpot), E2EFromSched: NewDist(t.fromSched),
		SendLag: NewDist(t.lag), Connect: NewDist(t.conn),
		TTFTVisible: NewDist(t.visible), TTFTReasoning: NewDist(t.reasoning), TTFTTool: NewDist(t.tool),
		TokensPerEvent: NewDist(t.perEvent),
		FinishReasons:  filled(t.finish), TokenSources: filled(t.source), StaleRetries: t.stale,
	}
	if t.laterEvents > 0 {
		s.MeanTokensPerEvent = ptr(float64(t.laterTokens) / float64(t.laterEvents))
	}
	if t.events > 0 {
		s.SharedEventRatio = ratio(t.shared, t.events)
	}
	if t.counts.Sent > 0 {
		s.SuccessRate = ratio(t.counts.Succeeded, t.counts.Sent)
		s.PeakConcurrency = ptr(sample.Peak(t.starts, t.ends))
	}
	t.sums(&s)
	t.rates(&s)
	tokens, events := t.peaks()
	if tokens > 0 && t.noOut == 0 {
		s.PeakOutputTokens = &tokens
	}
	if t.lim.Any() && t.counts.Planned > 0 {
		s.Limits = ptr(t.lim)
		s.Attainment = ratio(t.good, t.counts.Planned)
	}
	t.compatBlocks(&s, events)
	s.Steady = steadiness(series)
	s.Intervals = t.intervals(&s, series)
	s.Warnings = append(t.warnings(), s.Steady.warnings()...)
	return s
}

// sums are left out when a successful request lacks its count.
func (t *tally) sums(s *Summary) {
	if t.counts.Succeeded == 0 {
		return
	}
	if t.noIn == 0 {
		s.InputTokens = ptr(t.in)
	}
	if t.noOut == 0 {
		s.OutputTokens = ptr(t.out)
	}
	if t.cachedTold > 0 {
		s.CachedTokens = ptr(t.cached)
	}
}

func (t *tally) rates(s *Summary) {
	if span := t.lastSend - t.firstSend; t.counts.Sent > 1 && span > 0 {
		s.AchievedRate = ptr(float64(t.counts.Sent-1) * second / float64(span))
	}
	d := s.DurationS
	if d <= 0 || t.counts.Sent == 0 {
		return
	}
	s.RequestThroughput = ptr(float64(t.counts.Succeeded) / d)
	if t.lim.Any() {
		s.Goodput = ptr(float64(t.good) / d)
	}
	if len(t.e2e) > 0 {
		s.MeanConcurrency = ptr(t.sumE2ENs / second / d)
	}
	if s.InputTokens != nil {
		s.InputTokenThroughput = ptr(float64(t.in) / d)
	}
	if s.OutputTokens != nil {
		s.OutputTokenThroughput = ptr(float64(t.out) / d)
	}
	if s.InputTokens != nil && s.OutputTokens != nil {
		s.TotalTokenThroughput = ptr(float64(t.in+t.out) / d)
	}
}

func (t *tally) compatBlocks(s *Summary, peakEvents float64) {
	if t.counts.Succeeded == 0 {
		return
	}
	var peak *float64
	if peakEvents > 0 {
		peak = &peakEvents
	}
	v := &CompatVLLM{
		Duration: s.DurationS, Completed: t.counts.Succeeded, Failed: t.counts.Failed,
		TotalInputTokens: t.in, TotalOutputTokens: t.out,
		RequestThroughput: s.RequestThroughput, OutputThroughput: s.OutputTokenThroughput,
		TotalTokenThroughput: s.TotalTokenThroughput, MaxOutputTokensPerS: peak, MaxConcurrent: s.PeakConcurrency,
	}
	if s.Goodput != nil {
		v.RequestGoodput = ptr(float64(t.vGood) / s.DurationS)
	}
	four := func(d *Dist, mean, median, std, p99 **float64) {
		if d != nil {
			*mean, *median, *std, *p99 = &d.Mean, &d.P50, &d.Stddev, &d.P99
		}
	}
	latencies := func(c *CompatVLLM, ttft, tpot, itl *Dist) {
		four(ttft, &c.MeanTTFT, &c.MedianTTFT, &c.StdTTFT, &c.P99TTFT)
		four(tpot, &c.MeanTPOT, &c.MedianTPOT, &c.StdTPOT, &c.P99TPOT)
		four(itl, &c.MeanITL, &c.MedianITL, &c.StdITL, &c.P99ITL)
		four(s.E2E, &c.MeanE2EL, &c.MedianE2EL, &c.StdE2EL, &c.P99E2EL)
	}
	chat := *v
	chat.RequestGoodput = s.Goodput
	latencies(v, NewDist(t.vTTFT), NewDist(t.vTPOT), NewDist(t.vITL))
	latencies(&chat, s.TTFT, s.TPOT, s.EventGap)

	g := &CompatSGLang{
		Completed: t.counts.Succeeded, TotalInputTokens: t.in, TotalOutputTokens: t.out,
		RequestThroughput: s.RequestThroughput, InputThroughput: s.InputTokenThroughput,
		OutputThroughput: s.OutputTokenThroughput, TotalThroughput: s.TotalTokenThroughput,
		MaxOutputTokensPerS: peak, MaxConcurrent: s.PeakConcurrency, Duration: s.DurationS,
	}
	if s.DurationS > 0 && len(t.sE2E) > 0 {
		g.Concurrency = ptr(t.sumSGNs / second / s.DurationS)
	}
	itl := s.ITL
	if itl == nil {
		itl = s.EventGap
	}
	six := func(d *Dist, mean, median, std, p90, p95, p99 **float64) {
		if d != nil {
			*mean, *median, *std, *p90, *p95, *p99 = &d.Mean, &d.P50, &d.Stddev, &d.P90, &d.P95, &d.P99
		}
	}
	six(NewDist(t.sE2E), &g.MeanE2E, &g.MedianE2E, &g.StdE2E, &g.P90E2E, &g.P95E2E, &g.P99E2E)
	six(s.TTFT, &g.MeanTTFT, &g.MedianTTFT, &g.StdTTFT, &g.P90TTFT, &g.P95TTFT, &g.P99TTFT)
	six(NewDist(t.sTPOT), &g.MeanTPOT, &g.MedianTPOT, &g.StdTPOT, &g.P90TPOT, &g.P95TPOT, &g.P99TPOT)
	six(itl, &g.MeanITL, &g.MedianITL, &g.StdITL, &g.P90ITL, &g.P95ITL, &g.P99ITL)
	s.Compat = Compat{v, &chat, g}
}

// Shares beyond which a figure carries a warning: benchmark guards that other
// clients lack.
const (
	minFullLength = 0.99
	maxCountError = 0.01
	maxShared     = 0.05
	maxCached     = 0.05 // of prompt tokens: more than a chat template's head
)

// warnings are the guards against figures that mislead.
func (t *tally) warnings() []Warning {
	var w []Warning
	warn := func(code, format string, args ...any) {
		w = append(w, Warning{code, fmt.Sprintf(format, args...)})
	}
	c := t.counts
	if c.Planned > 0 && c.Succeeded == 0 {
		warn("nothing-succeeded", "none of %d requests succeeded: there are no latencies", c.Planned)
	}
	if c.Failed > 0 && c.Succeeded > 0 {
		warn("requests-failed", "%d of %d requests sent failed (%.1f %%: %s): latencies are over the %d that succeeded", c.Failed, c.Sent, 100*float64(c.Failed)/float64(c.Sent), t.classes(), c.Succeeded)
	}
	if c.Dropped > 0 {
		warn("arrivals-dropped", "%d of %d arrivals were never sent: the planned load was not delivered", c.Dropped, c.Planned)
	}
	short := t.wantOut > 0 && float64(t.wantOut-t.shortOut) < minFullLength*float64(t.wantOut)
	sums := ""
	if differ(t.planOut, t.sameOut) {
		sums = fmt.Sprintf(" (%d output tokens counted where %d were asked for, ratio %.3f)", t.sameOut, t.planOut, float64(t.sameOut)/float64(t.planOut))
	}
	switch {
	case short:
		warn("short-output", "%d of %d answers ended before the length asked for although the end of text was to be ignored: the load was lighter than planned%s", t.shortOut, t.wantOut, sums)
	case sums != "" && t.wrongOut == 0:
		warn("output-count-differs", "the server's output tokens are not those asked for although the end of text was to be ignored%s: figures use the server's count", sums)
	}
	if differ(t.wantIn, t.sameIn) {
		warn("input-count-differs", "the server counted %d prompt tokens where %d were planned (ratio %.3f): chat templates, start tokens and the tokenizer make the difference; figures use the server's count", t.sameIn, t.wantIn, float64(t.sameIn)/float64(t.wantIn))
	}
	if t.wrongOut > 0 {
		warn("output-count-wrong", "the server's output token count of %d answers cannot be right: more than was asked for, or too few for their stream events; token figures rest on it%s", t.wrongOut, sums)
	}
	if differ(t.usageOut, t.lastOut) {
		warn("event-counts-differ", "the server's counts on stream events add up to %d output tokens, those at the end of its answers to %d: figures use the latter, ITL and tokens per event the former", t.lastOut, t.usageOut)
	}
	for _, by := range []struct {
		source sample.TokenSource
		who    string
	}{{sample.TokensServer, "the server's tokenizer"}, {sample.TokensTokenizer, "the tokenizer given"}} {
		if n := t.again[by.source]; n > 0 {
			warn("tokens-recounted", "the server sent no token count for %d answers: their text was counted afterwards by %s; all that were counted so have %d tokens in %d stream events", n, by.who, t.againOut, t.eventsOut)
		}
	}
	if float64(t.cached) > maxCached*float64(t.toldIn) {
		warn("prefix-cache-hits", "the server took %d of %d prompt tokens (%.1f %%) from its prefix cache: TTFT is that of warm prompts", t.cached, t.toldIn, 100*float64(t.cached)/float64(t.toldIn))
	}
	if n := t.source["events"]; n > 0 {
		warn("tokens-from-events", "the server sent no token count for %d answers: their stream events were counted, a lower bound", n)
	}
	if t.noOut > 0 {
		warn("tokens-unknown", "%d answers have no output token count: output token sums and rates are left out", t.noOut)
	}
	if t.noIn > 0 {
		warn("input-tokens-unknown", "%d answers have no prompt token count: input and total token sums are left out", t.noIn)
	}
	if t.stale > 0 {
		warn("stale-connections", "%d requests were sent a second time because the server had closed the kept-alive connection", t.stale)
	}
	if t.events > 0 && float64(t.shared) > maxShared*float64(t.events) {
		warn("events-coalesced", "%d of %d stream events came in one read with others: their arrival times are upper bounds", t.shared, t.events)
	}
	return w
}

// differ says that two counts of the same tokens differ by more than they should.
func differ(one, other int64) bool {
	return one > 0 && math.Abs(float64(other-one)) > maxCountError*float64(one)
}

// classes are the failures by class, most frequent first, dropped ones left out.
func (t *tally) classes() string {
	var names []string
	for name := range t.errors {
		if name != string(sample.ClassDropped) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(t.errors[b], t.errors[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", t.errors[name], name)
	}
	return strings.Join(names, ", ")
}

// NewDist sums up samples; it sorts them. No samples give nil.
func NewDist(x []float64) *Dist {
	if len(x) == 0 {
		return nil
	}
	slices.Sort(x)
	n := float64(len(x))
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	mean := sum / n
	dev := 0.0
	for _, v := range x {
		dev += (v - mean) * (v - mean)
	}
	levels := make([]float64, len(QuantileLevels))
	for i, q := range QuantileLevels {
		levels[i] = Quantile(x, q)
	}
	return &Dist{
		N: len(x), Mean: mean, P50: Quantile(x, 0.5), P90: Quantile(x, 0.9), P95: Quantile(x, 0.95),
		P99: Quantile(x, 0.99), Min: x[0], Max: x[len(x)-1], Stddev: math.Sqrt(dev / n), Quantiles: levels,
	}
}

// Quantile is the q-quantile (0 to 1) of sorted samples, of which there must be
// one, by linear interpolation (type 7).
func Quantile(sorted []float64, q float64) float64 { return stat.QuantileOf(sorted, q) }

func filled(m map[string]int) map[string]int {
	if len(m) == 0 {
		return nil
	}
	return m
}

func ratio(a, b int) *float64 { return ptr(float64(a) / float64(b)) }

func ptr[T any](v T) *T { return &v }
