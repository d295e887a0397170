package witness

import (
	"strings"
	"testing"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

// told is an account of counters that rose, and of histograms with a count and a
// sum in seconds.
func told(counters map[engine.Quantity]float64, times map[engine.Quantity][2]float64) *account {
	a := &account{counters: map[engine.Quantity]*counter{}, histograms: map[engine.Quantity]*histogram{}}
	for q, v := range counters {
		a.counters[q] = &counter{rise: v}
	}
	for q, v := range times {
		a.histograms[q] = &histogram{gained: &engine.Histogram{Count: v[0], Sum: v[1]}}
	}
	return a
}

func TestReconcile(t *testing.T) {
	in, cached := int64(10_000), int64(400)
	client := Totals{Sent: 100, Succeeded: 100, InputTokens: &in, CachedTokens: &cached, OutputTokens: 5000, TTFTMeanMs: new(120.0), E2EMeanMs: new(2000.0)}
	some := client
	some.Succeeded = 90
	type c = map[engine.Quantity]float64
	type h = map[engine.Quantity][2]float64
	for _, x := range []struct {
		name   string
		client Totals
		server *account
		rows   string // names of the rows
		out    string // of these, out of bound
	}{
		{"nothing told", client, told(nil, nil), "", ""},
		{"the same", client, told(c{engine.QuantityRequests: 100, engine.QuantityPromptTokens: 10_000, engine.QuantityCachedTokens: 400, engine.QuantityGenerationTokens: 5000}, h{engine.QuantityTTFT: {100, 11.9}, engine.QuantityE2E: {100, 199.5}}),
			"requests prompt tokens cached tokens generated tokens mean TTFT mean E2E", ""},
		{"within 1 %", client, told(c{engine.QuantityRequests: 101, engine.QuantityPromptTokens: 10_090}, nil), "requests prompt tokens", ""},
		{"another client", client, told(c{engine.QuantityRequests: 130, engine.QuantityGenerationTokens: 6600}, nil), "requests generated tokens", "requests generated tokens"},
		{"cached apart", client, told(c{engine.QuantityComputedTokens: 9_600, engine.QuantityCachedTokens: 400}, nil), "prompt tokens cached tokens", ""},
		{"cached counted in the prompt alone", client, told(c{engine.QuantityComputedTokens: 9_000, engine.QuantityCachedTokens: 400}, nil), "prompt tokens cached tokens", "prompt tokens"},
		{"failed requests are slack", some, told(c{engine.QuantityRequests: 100}, nil), "requests", ""},
		{"a slow way", client, told(nil, h{engine.QuantityTTFT: {100, 9.0}}), "mean TTFT", "mean TTFT"},
		{"a slow way for another set of requests", client, told(nil, h{engine.QuantityTTFT: {50, 4.5}}), "mean TTFT", ""},
		{"a server slower than its client", client, told(nil, h{engine.QuantityTTFT: {100, 12.2}}), "mean TTFT", "mean TTFT"},
		{"no observation", client, told(nil, h{engine.QuantityTTFT: {0, 0}}), "", ""},
	} {
		var rows, out []string
		for _, d := range x.server.reconcile(x.client) {
			rows = append(rows, d.What)
			if d.OutOfBound {
				out = append(out, d.What)
				if w := contradiction(d); !strings.HasPrefix(w, d.What) {
					t.Errorf("%s: %q", x.name, w)
				}
			}
		}
		if strings.Join(rows, " ") != x.rows || strings.Join(out, " ") != x.out {
			t.Errorf("%s: rows %q, out of bound %q; want %q, %q", x.name, rows, out, x.rows, x.out)
		}
	}
	d := difference("mean TTFT", "ms", 120, 90)
	if d.Difference != 30 || *d.Share != 0.25 {
		t.Errorf("network plus client: %+v", d)
	}
	if d := difference("cached tokens", "tokens", 0, 5); d.Share != nil {
		t.Errorf("share of nothing: %g", *d.Share)
	}
}

func TestTotalsOf(t *testing.T) {
	ok := func(in, cached int) sample.Record {
		r := sample.New(0, 0)
		r.Send, r.FirstText, r.LastText, r.LastChoices = 1e6, 11e6, 100e6, 101e6
		r.InputTokens, r.CachedTokens, r.OutputTokens = in, cached, 5
		return r
	}
	warm, failed, dropped := ok(1, 1), ok(1, 1), ok(1, 1)
	warm.Warmup, failed.Class, dropped.Class = true, sample.ClassReset, sample.ClassDropped
	got := TotalsOf([]sample.Record{ok(10, 2), warm, failed, dropped, ok(20, 0)})
	if got.Sent != 3 || got.Succeeded != 2 || *got.InputTokens != 30 || *got.CachedTokens != 2 || got.OutputTokens != 10 || *got.TTFTMeanMs != 10 || *got.E2EMeanMs != 100 {
		t.Errorf("%+v", got)
	}
	if got := TotalsOf([]sample.Record{ok(10, 2), ok(0, -1)}); got.InputTokens != nil || got.CachedTokens != nil {
		t.Errorf("a count that is not told is no sum: %+v", got)
	}
	if got := TotalsOf(nil); got.InputTokens != nil || got.TTFTMeanMs != nil {
		t.Errorf("nothing: %+v", got)
	}
}

func TestContaminated(t *testing.T) {
	for _, c := range []struct {
		measured, intended, prompt float64
		bad                        bool
	}{
		{0, 0, 1000, false}, {0.05, 0, 1000, false}, {0.08, 0, 1000, false}, {0.1, 0, 1000, true},
		{0.3, 0, 64, false}, {0.31, 0, 64, true}, // the head of a template weighs more in short prompts
		{0.5, 0.5, 1000, false}, {0.7, 0.5, 1000, true}, {0.2, 0.5, 1000, false}, {1, 0.9, 0, true},
	} {
		if got := contaminated(c.measured, c.intended, c.prompt, "x"); (got != "") != c.bad {
			t.Errorf("%+v: %q", c, got)
		}
	}
	hits := told(map[engine.Quantity]float64{engine.QuantityPrefixQueries: 100, engine.QuantityPrefixHits: 40}, nil)
	if rate, by, ok := hits.hitRate(Totals{}); !ok || rate != 0.4 || !strings.Contains(by, "prefix cache") {
		t.Errorf("%g %q", rate, by)
	}
	in, cached := int64(100), int64(25)
	if rate, by, ok := told(nil, nil).hitRate(Totals{InputTokens: &in, CachedTokens: &cached}); !ok || rate != 0.25 || !strings.Contains(by, "replies") {
		t.Errorf("%g %q", rate, by)
	}
	if _, _, ok := told(nil, nil).hitRate(Totals{}); ok {
		t.Error("nothing told, and yet a rate")
	}
}
