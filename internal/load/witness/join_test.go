package witness

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/engine/all"
)

// reread sends a record through its file.
func reread(t *testing.T, e *engine.Engine, rec Record) Record {
	t.Helper()
	lines, err := rec.Lines()
	if err != nil {
		t.Fatal(err)
	}
	d := Decoder{Engine: e}
	for i, line := range lines {
		if err := d.Line(i+1, line); err != nil {
			t.Fatal(err)
		}
	}
	return d.Record
}

// Two clients send the halves of a load to every engine, the second from a clock
// that goes a second fast. Together they say what one client says, once: the
// warm-up, which the second client saw, is no part of it.
func TestPartsOfOneLoad(t *testing.T) {
	for _, e := range all.Engines() {
		t.Run(string(e.ID), func(t *testing.T) {
			serve(t, e, func(t *testing.T, c *client.Client) {
				second := Start(t.Context(), Options{Client: c, Shared: true})
				load(t, c, 3, true)
				first := Start(t.Context(), Options{Client: c, Shared: true})
				whole := Start(t.Context(), Options{Client: c})
				began := time.Now()
				records := load(t, c, 4, false)
				one := first.Stop(4)
				records = append(records, load(t, c, 4, false)...)
				took := time.Since(began)
				two, alone := second.Stop(4), whole.Stop(8)
				context := Context{Client: TotalsOf(records), Duration: took}
				want := Summarise(alone, context)
				if d := cmp.Diff(want, Summarise(reread(t, e, alone), context)); d != "" {
					t.Errorf("its file says something else (-record +file):\n%s", d)
				}
				for _, fast := range []time.Duration{0, time.Second, -time.Second} {
					two := two
					two.Began = two.Began.Add(fast)
					rec := Join([]Record{reread(t, e, one), reread(t, e, two)}, began)
					got := Summarise(rec, context)
					if got.Server == nil || got.Server.Restarts > 0 || fast == 0 && len(got.Warnings) > 0 {
						t.Fatalf("clock off by %v: %+v", fast, got)
					}
					if fast < 0 {
						continue // its first reading then seems to follow the warm-up
					}
					if d := cmp.Diff(want.Server.Reconciled, got.Server.Reconciled); d != "" {
						t.Errorf("clock off by %v: (-one client +two):\n%s", fast, d)
					}
				}
			})
		})
	}
}

func at(ms float64, requests float64, gpus ...GPUState) Reading {
	r := Reading{AtMs: ms, Values: map[engine.Quantity]float64{engine.QuantityRequests: requests}, GPUs: gpus}
	r.full = client.Reading{Values: r.Values, Series: map[engine.Quantity]map[string]float64{engine.QuantityRequests: {"": requests}}}
	return r
}

func TestJoin(t *testing.T) {
	zero := time.Unix(1_800_000_000, 0)
	gpu := func(joules float64) GPUState { return GPUState{EnergyJ: new(joules)} }
	record := func(after time.Duration, readings ...Reading) Record {
		return Record{Has: true, Began: zero.Add(after), Readings: readings}
	}
	for _, x := range []struct {
		name  string
		from  time.Duration
		parts []Record
		want  string // requests at each reading that is kept
		rise  float64
	}{
		{"none", 0, nil, "", 0},
		{"one", 0, []Record{record(0, at(0, 5), at(1000, 7), at(2000, 9))}, "5 7 9", 4},
		{"at the same time: once", time.Second, []Record{record(0, at(0, 5), at(2000, 8), at(3000, 9)), record(time.Second, at(0, 6), at(1500, 8), at(2100, 9))}, "6 8 9 9", 3},
		{"one after the other", 0, []Record{record(0, at(0, 5), at(1000, 7)), record(2*time.Second, at(0, 7), at(1000, 8), at(2000, 9))}, "5 7 7 8 9", 4},
		{"a clock that is late is no restart", 0, []Record{record(0, at(0, 5), at(1000, 7), at(4000, 12)), record(3500*time.Millisecond, at(0, 9), at(1000, 11), at(2000, 14))}, "5 7 12 14", 9},
		{"a restart counts", 0, []Record{record(0, at(0, 5), at(1000, 7), at(2000, 2)), record(time.Second, at(0, 7), at(500, 1), at(3000, 4))}, "5 7 1 4", 6},
		{"the one with GPUs leads", 0, []Record{record(0, at(0, 5), at(1000, 6), at(2000, 8), at(4000, 9)), record(0, at(0, 5, gpu(1)), at(1100, 6, gpu(2)), at(2100, 8, gpu(3)))}, "5 6 8 9", 4},
	} {
		got := Join(x.parts, zero.Add(x.from))
		var words []string
		for i := range got.Readings {
			words = append(words, trim(got.Readings[i].Values[engine.QuantityRequests]))
		}
		rise, _ := accounts(got.Readings).rise(engine.QuantityRequests)
		if text := strings.Join(words, " "); text != x.want || rise != x.rise {
			t.Errorf("%s: %s rises by %v, want %s by %v", x.name, text, rise, x.want, x.rise)
		}
	}
	// The load ends after the GPUs' last reading: their counters do not enclose it.
	got := Join([]Record{record(0, at(0, 5, gpu(1)), at(1000, 6, gpu(2))), record(0, at(0, 5), at(3000, 6))}, zero)
	for _, r := range got.Readings {
		for _, g := range r.GPUs {
			if g.EnergyJ != nil {
				t.Errorf("%+v", r)
			}
		}
	}
}

func trim(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func TestDecoderRefuses(t *testing.T) {
	e, _ := all.Engines().Lookup("vllm")
	const head = `{"schema":"llmdyno.server-metrics","schema_version":2}` + "\n"
	for text, want := range map[string]string{
		"x":                                   "line 1: expected a header",
		`{"schema":"other"}`:                  `schema "other" version 0`,
		head + "[]":                           "line 2: expected a reading",
		head + `{"raw":["}{ 1"]}`:             "line 2: metrics: expected the Prometheus text format",
		head + "{\"at_ms\":5}\n{\"at_ms\":4}": "line 3: at 4 ms, before the reading above it",
		strings.Replace(head, "2}", "9}", 1):  "version 9",
	} {
		if _, err := decode(e, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func decode(e *engine.Engine, text string) (Record, error) {
	d, n := Decoder{Engine: e}, 0
	for line := range strings.Lines(text) {
		n++
		if err := d.Line(n, []byte(line)); err != nil {
			return d.Record, err
		}
	}
	return d.Record, nil
}

// FuzzServerMetrics: what is read can be joined, summed up and written again.
func FuzzServerMetrics(f *testing.F) {
	e, _ := all.Engines().Lookup("vllm")
	const head = `{"schema":"llmdyno.server-metrics","schema_version":2,"started":"2026-11-24T08:00:00Z"}` + "\n"
	f.Add(head + `{"at_ms":0,"raw":["vllm:num_requests_running 1","vllm:time_to_first_token_seconds_bucket{le=\"+Inf\"} 2","vllm:time_to_first_token_seconds_sum 1","vllm:time_to_first_token_seconds_count 2"]}` + "\n" + `{"at_ms":1000,"error":"HTTP 404"}`)
	f.Add(head + `{"at_ms":-1e300,"gpus":[{"index":1,"energy_j":-5,"throttle":null}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		rec, err := decode(e, text)
		if err != nil {
			return
		}
		if !rec.Began.IsZero() && len(rec.Readings) > 0 {
			rec = Join([]Record{rec, rec}, rec.Began)
		}
		Summarise(rec, Context{Duration: time.Second})
		lines, err := rec.Lines()
		if err != nil {
			return // a number that JSON does not hold
		}
		if _, err := decode(e, string(bytes.Join(lines, nil))); err != nil {
			t.Errorf("written and not read: %v", err)
		}
	})
}
