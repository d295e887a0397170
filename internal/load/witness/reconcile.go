package witness

import (
	"fmt"
	"math"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
)

// The tolerances beyond which the two witnesses contradict each other.
const (
	// sumTolerance is the share by which sums may differ, besides the share of
	// requests that failed, whose tokens only the server may have counted.
	sumTolerance = 0.01
	// meanTolerance and meanToleranceMs bound by how much the client's mean time
	// may exceed the server's; both must be passed. That much is more than a local
	// network and a sound client take: what lies beyond was spent in front of the
	// server's clock (accept queue, gateway, tokenizer) or in the client.
	meanTolerance   = 0.10
	meanToleranceMs = 10.0
	// clockToleranceMs is by how much the server's mean may exceed the client's,
	// which must enclose it.
	clockToleranceMs = 1.0
)

// Totals are the client's sums of a trial, warm-up left out.
type Totals struct {
	Sent, Succeeded int
	InputTokens     *int64 // of successful requests; nil = one of them did not tell
	CachedTokens    *int64 // the same
	OutputTokens    int64
	TTFTMeanMs      *float64 // of successful requests
	E2EMeanMs       *float64
}

// TotalsOf adds up records.
func TotalsOf(records []sample.Record) Totals {
	var t Totals
	var in, cached int64
	told, toldCached := true, true
	var ttft, e2e []float64
	for i := range records {
		r := &records[i]
		if r.Warmup || r.Class == sample.ClassDropped {
			continue
		}
		t.Sent++
		if !r.OK() {
			continue
		}
		t.Succeeded++
		in, cached = in+int64(r.InputTokens), cached+int64(max(0, r.CachedTokens))
		told, toldCached = told && r.InputTokens > 0, toldCached && r.CachedTokens >= 0
		t.OutputTokens += int64(r.OutputTokens)
		if r.FirstText >= r.Send && r.LastChoices >= r.Send && r.FirstText != sample.Never {
			ttft = append(ttft, float64(r.FirstText-r.Send)/1e6)
			e2e = append(e2e, float64(r.LastChoices-r.Send)/1e6)
		}
	}
	if told && t.Succeeded > 0 {
		t.InputTokens = &in
	}
	if toldCached && t.Succeeded > 0 {
		t.CachedTokens = &cached
	}
	t.TTFTMeanMs, t.E2EMeanMs = mean(ttft), mean(e2e)
	return t
}

// account is what the server's readings add up to.
type account struct {
	counters   map[engine.Quantity]*counter
	histograms map[engine.Quantity]*histogram
	restarts   int
}

func (a *account) rise(q engine.Quantity) (float64, bool) {
	c := a.counters[q]
	if c == nil {
		return 0, false
	}
	return c.rise, true
}

// prompt are the tokens of prompts, cached ones included.
func (a *account) prompt() (float64, bool) {
	if v, ok := a.rise(engine.QuantityPromptTokens); ok {
		return v, true
	}
	computed, ok := a.rise(engine.QuantityComputedTokens)
	cached, too := a.rise(engine.QuantityCachedTokens)
	return computed + cached, ok && too
}

// reconcile puts both witnesses' figures side by side.
func (a *account) reconcile(c Totals) []metric.Difference {
	var rows []metric.Difference
	failed := 0.0
	if c.Sent > 0 {
		failed = float64(c.Sent-c.Succeeded) / float64(c.Sent)
	}
	sum := func(what, unit string, client *int64, server float64, told bool) {
		if client == nil || !told {
			return
		}
		d := difference(what, unit, float64(*client), server)
		scale := max(math.Abs(d.Client), math.Abs(d.Server))
		d.OutOfBound = math.Abs(d.Difference) > (sumTolerance+failed)*scale
		rows = append(rows, d)
	}
	of := func(q engine.Quantity) (float64, bool) { return a.rise(q) }
	requests, told := of(engine.QuantityRequests)
	n, out := int64(c.Succeeded), c.OutputTokens
	sum("requests", "requests", &n, requests, told)
	prompt, told := a.prompt()
	sum("prompt tokens", "tokens", c.InputTokens, prompt, told)
	cached, told := of(engine.QuantityCachedTokens)
	sum("cached tokens", "tokens", c.CachedTokens, cached, told)
	generated, told := of(engine.QuantityGenerationTokens)
	sum("generated tokens", "tokens", &out, generated, told)
	for _, m := range []struct {
		what   string
		q      engine.Quantity
		client *float64
	}{{"mean TTFT", engine.QuantityTTFT, c.TTFTMeanMs}, {"mean E2E", engine.QuantityE2E, c.E2EMeanMs}} {
		h := a.histograms[m.q]
		if m.client == nil || h == nil || h.gained == nil || h.gained.Count <= 0 {
			continue
		}
		d := difference(m.what, "ms", *m.client, h.gained.Sum/h.gained.Count*msPerS)
		same := math.Abs(h.gained.Count-float64(c.Succeeded)) <= (sumTolerance+failed)*float64(c.Succeeded)
		d.OutOfBound = same && failed <= sumTolerance && (d.Difference > max(meanToleranceMs, meanTolerance*d.Server) || d.Difference < -clockToleranceMs)
		rows = append(rows, d)
	}
	return rows
}

func difference(what, unit string, client, server float64) metric.Difference {
	d := metric.Difference{What: what, Unit: unit, Client: client, Server: server, Difference: client - server}
	if client != 0 {
		share := d.Difference / client
		d.Share = &share
	}
	return d
}

// contradiction says in words what a row out of bound means.
func contradiction(d metric.Difference) string {
	switch {
	case d.Unit != "ms":
		return fmt.Sprintf("%s: the client has %.0f, the server %.0f: the replies tell wrong counts, other clients use the server, or something was lost on the way", d.What, d.Client, d.Server)
	case d.Difference < 0:
		return fmt.Sprintf("%s: the server's %.1f ms exceed the client's %.1f ms, which enclose them: the server counted other requests too, or one of the clocks is wrong", d.What, d.Server, d.Client)
	}
	return fmt.Sprintf("%s: %.1f ms at the client, %.1f ms at the server: %.1f ms were spent in the network, in front of the server's clock, or in the client", d.What, d.Client, d.Server, d.Difference)
}
