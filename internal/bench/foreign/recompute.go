package foreign

import (
	"cmp"
	"slices"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
)

const (
	msPerNs = 1e-6
	perS    = 1e9
)

// headline are the figures that are compared, in their order.
var headline = []struct{ key, unit string }{
	{"mean_ttft_ms", "ms"}, {"p50_ttft_ms", "ms"}, {"p99_ttft_ms", "ms"},
	{"mean_tpot_ms", "ms"}, {"p50_tpot_ms", "ms"}, {"p99_tpot_ms", "ms"},
	{"mean_e2e_ms", "ms"}, {"p50_e2e_ms", "ms"}, {"p99_e2e_ms", "ms"},
	{"mean_gap_ms", "ms"}, {"p99_gap_ms", "ms"},
	{"request_throughput", "req/s"}, {"output_token_throughput", "tok/s"}, {"total_token_throughput", "tok/s"},
}

// figures are headline figures by their keys; one that was not measured is
// absent.
type figures map[string]float64

// ofRow are the headline figures of a row. The gap is what the tool calls ITL.
func ofRow(m result.Metrics) figures {
	f := figures{}
	put := func(key string, x *float64) {
		if x != nil {
			f[key] = *x
		}
	}
	gap := m.EventGap
	if gap.Empty() {
		gap = m.ITL
	}
	for name, l := range map[string]result.Latency{"ttft": m.TTFT, "tpot": m.TPOT, "e2e": m.E2E, "gap": gap} {
		put("mean_"+name+"_ms", l.Mean)
		put("p50_"+name+"_ms", l.P50)
		put("p99_"+name+"_ms", l.P99)
	}
	put("request_throughput", m.RequestThroughput)
	put("output_token_throughput", m.OutputTokenThroughput)
	put("total_token_throughput", m.TotalTokenThroughput)
	return f
}

// recompute derives the headline figures of a trial's records under another
// tool's definitions. Under our own it says what metric.Compute says.
func recompute(records []sample.Record, durationNs int64, d Definition) figures {
	var ttft, tpot, e2e, gaps []float64
	var in, out, ok float64
	firstSend, lastEnd := int64(-1), int64(0)
	connect := meanConnect(records)
	for i := range records {
		r := &records[i]
		if r.Warmup || r.Send == sample.Never {
			continue
		}
		start := r.Send
		if d.Connection {
			start -= connectOf(r, connect)
		}
		if firstSend < 0 || start < firstSend {
			firstSend = start
		}
		end := seen(r, endOf(r, d.E2E), d)
		lastEnd = max(lastEnd, endOf(r, d.E2E), r.Done)
		if !r.OK() {
			continue
		}
		n := tokensOf(r, d.Tokens)
		in, out, ok = in+float64(r.InputTokens), out+float64(n), ok+1
		gaps = append(gaps, gapsOf(r, d)...)
		if end == sample.Never {
			continue
		}
		e2e = append(e2e, float64(end-start)*msPerNs)
		first := firstOf(r, d.TTFT)
		if first == sample.Never {
			continue
		}
		first = seen(r, first, d)
		ttft = append(ttft, float64(first-start)*msPerNs)
		if x, has := tpotOf(r, d, start, first, end, n); has {
			tpot = append(tpot, x)
		}
	}
	f := figures{}
	f.put("ttft", ttft, d)
	f.put("tpot", tpot, d)
	f.put("e2e", e2e, d)
	f.put("gap", gaps, d)
	window := durationNs
	if (d.Window == OverRequests || d.Window == OverWindow) && firstSend >= 0 && lastEnd > firstSend {
		window = lastEnd - firstSend
	}
	if window > 0 && ok > 0 {
		s := float64(window) / perS
		f["request_throughput"] = ok / s
		f["output_token_throughput"] = out / s
		f["total_token_throughput"] = (in + out) / s
	}
	return f
}

func (f figures) put(name string, x []float64, d Definition) {
	if len(x) == 0 {
		return
	}
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	slices.Sort(x)
	f["mean_"+name+"_ms"] = sum / float64(len(x))
	f["p50_"+name+"_ms"], f["p99_"+name+"_ms"] = percentile(x, 0.5, d), percentile(x, 0.99, d)
}

// percentile reads one off sorted samples by the tool's rule.
func percentile(sorted []float64, q float64, d Definition) float64 {
	n := float64(len(sorted))
	switch d.Percentile {
	case PercentileRank: // the first sample whose share of all reaches q
		i := int(q * n)
		if float64(i) == q*n {
			i--
		}
		return sorted[min(max(i, 0), len(sorted)-1)]
	case PercentileIndex:
		return sorted[min(int(q*n), len(sorted)-1)]
	}
	return metric.Quantile(sorted, q)
}

// meanConnect is the mean time of making a connection, over requests that made
// one; 0 when none did.
func meanConnect(records []sample.Record) int64 {
	sum, n := int64(0), int64(0)
	for i := range records {
		if c, made := connectMade(&records[i]); made && !records[i].Warmup {
			sum, n = sum+c, n+1
		}
	}
	if n == 0 {
		return 0
	}
	return sum / n
}

func connectMade(r *sample.Record) (int64, bool) {
	if r.Conn == sample.Never || r.ConnReused || r.Conn < r.Begin || r.Begin == sample.Never {
		return 0, false
	}
	return r.Conn - r.Begin, true
}

// connectOf is what a connection of its own would have cost a request.
func connectOf(r *sample.Record, mean int64) int64 {
	if c, made := connectMade(r); made {
		return c
	}
	return mean
}

// seen is an instant as the client itself saw it, where the tool has no stamps of
// the kernel: later by the lag of the event that came at it. The end of a stream
// and events without text have no lag of their own.
func seen(r *sample.Record, at int64, d Definition) int64 {
	if d.Stamps != ByClient || at == sample.Never {
		return at
	}
	i, found := slices.BinarySearchFunc(r.Events, at, func(e sample.Event, at int64) int { return cmp.Compare(e.At, at) })
	if !found {
		return at
	}
	return seenEvent(r.Events[i], d)
}

func seenEvent(e sample.Event, d Definition) int64 {
	if d.Stamps != ByClient || !e.Kernel {
		return e.At
	}
	return e.At + int64(e.LagUs)*1000
}

func firstOf(r *sample.Record, event string) int64 {
	if event == AtFirstChoices && r.FirstChoices != sample.Never {
		return r.FirstChoices
	}
	return r.FirstText
}

func endOf(r *sample.Record, event string) int64 {
	switch {
	case event == AtDone && r.Done != sample.Never:
		return r.Done
	case event == AtLastText && r.LastText != sample.Never:
		return r.LastText
	case r.LastChoices != sample.Never:
		return r.LastChoices
	}
	return r.Done
}

// tokensOf counts output tokens as a tool does when the server sends what ours
// sent. A tokenizer's count needs the text and is left as it is.
func tokensOf(r *sample.Record, by string) int {
	switch by {
	case ByRequest:
		if r.TokensBy != sample.TokensUsage && r.WantOutput > 0 {
			return r.WantOutput
		}
	case ByEvents:
		if r.TokensBy != sample.TokensUsage {
			return texts(r)
		}
	}
	return r.OutputTokens
}

func texts(r *sample.Record) int {
	n := 0
	for _, e := range r.Events {
		if e.Text > 0 {
			n++
		}
	}
	return n
}

func tpotOf(r *sample.Record, d Definition, start, first, end int64, n int) (float64, bool) {
	formula := d.TPOT
	switch {
	case formula == TPOTWithFirst && n > 0:
		return float64(end-start) * msPerNs / float64(n), true
	case formula == TPOTBetween && n > 1 && r.LastText != sample.Never && r.FirstText != sample.Never:
		return float64(seen(r, r.LastText, d)-seen(r, r.FirstText, d)) * msPerNs / float64(n-1), true
	case formula == TPOTAfterFirst && n > 1:
		return float64(end-first) * msPerNs / float64(n-1), true
	}
	return 0, false
}

// gapsOf are the gaps of one stream. Events that tell no count stand for equal
// shares of the answer's tokens.
func gapsOf(r *sample.Record, d Definition) []float64 {
	if d.ITL == "" {
		return nil
	}
	var out []float64
	last, before := sample.Never, int32(0)
	weight := 1.0
	if n := texts(r); n > 0 && r.OutputTokens > n {
		weight = float64(r.OutputTokens) / float64(n)
	}
	carry := 0.0
	choices := d.TTFT == AtFirstChoices && d.ITL == GapsOfEvents
	if choices && r.FirstText > r.FirstChoices {
		last = r.FirstChoices // an event without text before the first with one
	}
	for _, e := range r.Events {
		if e.Text <= 0 {
			continue
		}
		tokens := 1
		if e.Tokens > before && e.Tokens-before <= maxEventTokens {
			tokens, before = int(e.Tokens-before), e.Tokens
		} else if e.Tokens == 0 {
			carry += weight
			tokens = min(max(int(carry), 1), maxEventTokens)
			carry -= float64(tokens)
		}
		at := seenEvent(e, d)
		out = appendGap(out, last, at, tokens, d.ITL)
		last = at
	}
	if choices && last != sample.Never && r.LastChoices > last {
		out = appendGap(out, last, r.LastChoices, 1, d.ITL)
	}
	return out
}

// maxEventTokens is the most tokens that one event is believed to add.
const maxEventTokens = 1 << 16

// appendGap adds what one event gives under a rule for gaps. The first event has
// none but those within it.
func appendGap(out []float64, last, at int64, tokens int, rule string) []float64 {
	within := 0
	if rule == GapsOfTokens0 {
		within = tokens - 1
	}
	if last != sample.Never {
		gap, times := float64(at-last)*msPerNs, 1
		if rule == GapsOfTokens {
			gap, times = gap/float64(tokens), tokens
		}
		for range times {
			out = append(out, gap)
		}
	}
	for range within {
		out = append(out, 0)
	}
	return out
}
