package witness

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/engine/all"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/pipenet"
	"llmdyno/internal/sim"
)

// metricsWords switch on the pages of metrics of a captured engine.
func metricsWords(t *testing.T, e *engine.Engine) (words []string) {
	s, err := sim.LoadSurface(e.Surface, "")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, o := range s.Options {
		if !strings.HasSuffix(o.Knob, "metrics") || seen[o.Knob] || o.Takes == "none" && o.Set == "false" {
			continue
		}
		seen[o.Knob] = true
		words = append(words, o.Names[0])
		switch {
		case o.Takes == "none":
		case o.Type == "int":
			words = append(words, "9000")
		default:
			words = append(words, "given")
		}
	}
	return words
}

// serve runs body against a simulated engine with its page of metrics.
func serve(t *testing.T, e *engine.Engine, body func(t *testing.T, c *client.Client)) {
	dir := t.TempDir()
	argv := slices.Clone(e.Launch.Command)
	const model = "meta-llama/Llama-3.1-8B-Instruct"
	if e.Launch.ModelFlag != "" {
		argv = append(argv, e.Option(e.Launch.ModelFlag))
	}
	argv = append(argv, model, e.Option(e.Launch.HostFlag), e.Launch.Host, e.Option(e.Launch.PortFlag), "8123")
	for _, r := range e.Launch.Required {
		argv = append(argv, e.Option(r.Key), r.Value)
	}
	argv = append(argv, metricsWords(t, e)...)
	synctest.Test(t, func(t *testing.T) {
		eng, err := sim.New(sim.Options{Surface: e.Surface, Argv: argv, GPU: "h200", PID: 1000, Seed: 1, Stdout: io.Discard, Stderr: io.Discard, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { eng.Run(ctx) })
		p := pipenet.Listen()
		srv := &http.Server{Handler: eng}
		wg.Go(func() { srv.Serve(p) })
		c, err := client.New(client.Options{BaseURL: "http://engine", Engine: e, Dial: p.Dial})
		if err != nil {
			t.Fatal(err)
		}
		if err := eng.Load(ctx); err != nil {
			t.Fatal(err)
		}
		eng.Ready()
		body(t, c)
		cancel()
		c.Close()
		srv.Close()
		p.Close()
		wg.Wait()
		time.Sleep(time.Hour)
	})
}

type clock time.Time

func (c clock) Now() int64 { return int64(time.Since(time.Time(c))) }

// load sends n requests at once and returns their records. same = all with the
// same prompt.
func load(t *testing.T, c *client.Client, n int, same bool) []sample.Record {
	t.Helper()
	wire := c.Engine().Wires[0]
	records := make([]sample.Record, n)
	began := clock(time.Now())
	var wg sync.WaitGroup
	for i := range records {
		prompt := fmt.Sprintf("%d is not what any other asks ", i)
		if same {
			prompt = "all ask the same "
		}
		body, err := wire.Encode(engine.GenerateRequest{Model: "meta-llama/Llama-3.1-8B-Instruct", Prompt: strings.Repeat(prompt, 100), MaxTokens: 400, Stream: true, IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		records[i] = sample.New(i, began.Now())
		wg.Go(func() { c.Stream(t.Context(), wire, body, fmt.Sprint("request-", i), began, &records[i]) })
	}
	wg.Wait()
	return records
}

func find(all []metric.Difference, what string) *metric.Difference {
	i := slices.IndexFunc(all, func(d metric.Difference) bool { return d.What == what })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// Every engine's page is read back as what the client saw of the same trial,
// what was counted before it left out.
func TestBothWitnessesAgree(t *testing.T) {
	for _, e := range all.Engines() {
		t.Run(string(e.ID), func(t *testing.T) {
			serve(t, e, func(t *testing.T, c *client.Client) {
				load(t, c, 3, true) // warm-up: no part of the trial
				w := Start(t.Context(), Options{Client: c})
				began := time.Now()
				records := load(t, c, 8, false)
				took := time.Since(began)
				totals := TotalsOf(records)
				if totals.Succeeded != 8 {
					t.Fatalf("%d of 8 requests succeeded: %s", totals.Succeeded, records[0].Error)
				}
				rec := w.Stop(totals.Succeeded)
				none := 0.0
				v := Summarise(rec, Context{Client: totals, Duration: took, Intended: &none})
				if v.Invalid != "" || len(v.Warnings) > 0 || v.Server == nil || v.Server.Restarts != 0 {
					t.Fatalf("%+v", v)
				}
				s := v.Server
				if want := 2 + int(took/time.Second); s.Readings != want {
					t.Errorf("%d readings over %v, want %d", s.Readings, took, want)
				}
				for _, what := range []string{"requests", "prompt tokens", "cached tokens", "generated tokens"} {
					if d := find(s.Reconciled, what); d != nil && d.Difference != 0 {
						t.Errorf("%+v", *d)
					}
				}
				if find(s.Reconciled, "prompt tokens") == nil || find(s.Reconciled, "generated tokens") == nil {
					t.Errorf("reconciled: %+v", s.Reconciled)
				}
				for _, what := range []string{"mean TTFT", "mean E2E"} {
					if d := find(s.Reconciled, what); d != nil && math.Abs(d.Difference) > 1e-6 {
						t.Errorf("%+v", *d)
					}
				}
				for _, h := range s.Histograms {
					if h.Quantity != string(engine.QuantityITL) && h.N != 8 {
						t.Errorf("%+v", h)
					}
				}
				for _, x := range s.Series {
					if len(x.AtS) < 2 || len(x.Values) != len(x.AtS) {
						t.Errorf("series %s: %v %v", x.Name, x.AtS, x.Values)
					}
				}
				checkLines(t, rec)
			})
		})
	}
}

// checkLines: the file holds a line a reading, the ends with buckets.
func checkLines(t *testing.T, rec Record) {
	t.Helper()
	lines, err := rec.Lines()
	if err != nil || len(lines) != len(rec.Readings)+1 || !strings.Contains(string(lines[0]), Schema) {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	for i, r := range rec.Readings {
		end := i == 0 || i == len(rec.Readings)-1
		buckets := slices.ContainsFunc(r.Raw, func(s string) bool { return strings.Contains(s, "_bucket{") })
		if len(r.Raw) == 0 || buckets && !end || !buckets && end && len(r.full.Histograms) > 0 {
			t.Errorf("reading %d of %d: %d lines, buckets %v", i, len(rec.Readings), len(r.Raw), buckets)
		}
	}
}

// A load that finds its prompts in the cache is no measurement of random prompts.
func TestContaminatedCache(t *testing.T) {
	for _, e := range all.Engines() {
		t.Run(string(e.ID), func(t *testing.T) {
			serve(t, e, func(t *testing.T, c *client.Client) {
				load(t, c, 1, true)
				w := Start(t.Context(), Options{Client: c})
				totals := TotalsOf(load(t, c, 4, true))
				none, all := 0.0, 1.0
				rec := w.Stop(totals.Succeeded)
				v := Summarise(rec, Context{Client: totals, Duration: time.Second, Intended: &none})
				if v.Server.PrefixHitRate == nil {
					if _, counts := v.metric(engine.QuantityCachedTokens); counts || totals.CachedTokens != nil {
						t.Error("cached tokens are told and no rate is derived")
					}
					return
				}
				if *v.Server.PrefixHitRate < 0.5 || !strings.Contains(v.Invalid, "prefix cache") {
					t.Errorf("%.2f of the prompt tokens were cached: %q", *v.Server.PrefixHitRate, v.Invalid)
				}
				if v := Summarise(rec, Context{Client: totals, Duration: time.Second}); v.Invalid != "" {
					t.Errorf("judged without an intention: %q", v.Invalid)
				}
				if v := Summarise(rec, Context{Client: totals, Duration: time.Second, Intended: &all}); v.Invalid != "" {
					t.Errorf("a shared prefix is meant: %q", v.Invalid)
				}
			})
		})
	}
}

func (v Verdict) metric(q engine.Quantity) (float64, bool) {
	for _, c := range v.Server.Counters {
		if c.Quantity == string(q) {
			return c.Increase, true
		}
	}
	return 0, false
}

// fakeServer answers with one page after the other, then with the last.
func fakeServer(t *testing.T, table []engine.Metric, pages ...string) *client.Client {
	e := &engine.Engine{Title: "Fake", Endpoints: []engine.Endpoint{{Name: engine.EndpointMetrics, Method: "GET", Path: "/metrics"}}, Metrics: table}
	p := pipenet.Listen()
	n := 0
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		page := pages[min(n, len(pages)-1)]
		n++
		if page == "" {
			http.Error(w, "no such page", http.StatusNotFound)
			return
		}
		io.WriteString(w, page)
	})}
	go srv.Serve(p)
	c, err := client.New(client.Options{BaseURL: "http://engine", Engine: e, Dial: p.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); srv.Close(); p.Close() })
	return c
}

var fakeTable = []engine.Metric{
	{Quantity: engine.QuantityRequests, Name: "r_total", Sum: true},
	{Quantity: engine.QuantityRunning, Name: "run"},
}

func watchFake(t *testing.T, pages []string, answered int, run Output) (v Verdict, took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		w := Start(t.Context(), Options{Client: fakeServer(t, fakeTable, pages...), Run: run})
		time.Sleep(2500 * time.Millisecond)
		began := time.Now()
		rec := w.Stop(answered)
		took = time.Since(began)
		v = Summarise(rec, Context{Client: Totals{Sent: answered, Succeeded: answered, OutputTokens: 100}, Duration: 2 * time.Second})
	})
	return v, took
}

// A server that counts late is waited for, one that lost requests is not for long.
func TestSettle(t *testing.T) {
	late := []string{"r_total 0\n", "r_total 1\n", "r_total 2\n", "r_total 3\n", "r_total 4\n"}
	if v, took := watchFake(t, late, 4, nil); len(v.Warnings) > 0 || took != 250*time.Millisecond {
		t.Errorf("%+v after %v", v.Warnings, took)
	}
	lost := []string{"r_total 0\n", "r_total 1\n"}
	if v, took := watchFake(t, lost, 4, nil); len(v.Warnings) != 1 || v.Warnings[0].Code != "witnesses-differ" || took != time.Second {
		t.Errorf("%+v after %v", v.Warnings, took)
	}
}

func TestMissingAndRestarting(t *testing.T) {
	if v, _ := watchFake(t, []string{""}, 1, nil); v.Server != nil || len(v.Warnings) > 0 {
		t.Errorf("no page: %+v", v)
	}
	v, _ := watchFake(t, []string{"}{ 1\n"}, 1, nil)
	if v.Server != nil || len(v.Warnings) != 1 || v.Warnings[0].Code != "no-server-metrics" {
		t.Errorf("no metrics: %+v", v)
	}
	v, _ = watchFake(t, []string{"r_total 50\nrun 2\n", "r_total 60\nrun 8\n", "", "r_total 5\n"}, 15, nil)
	if v.Server == nil || v.Server.Restarts != 1 || v.Server.Readings != 3 || v.Server.Counters[0].Increase != 15 {
		t.Fatalf("restart: %+v", v.Server)
	}
	if g := v.Server.Gauges[0]; g.Mean != 8 || g.Max != 8 || g.Last != 8 {
		t.Errorf("gauge: %+v", g)
	}
	if !slices.ContainsFunc(v.Warnings, func(w metric.Warning) bool { return w.Code == "server-restarted" }) {
		t.Errorf("restart: %+v", v.Warnings)
	}
}

// GPUs are asked beside the server, and without one.
func TestWatchGPUs(t *testing.T) {
	smi := func(_ context.Context, argv, _ []string, _ time.Duration) ([]byte, int, error) {
		return []byte("0, GPU-1, 500, 700, 1200, 2600, 85, 99, 70000, 0x0000000000000040\n"), 0, nil
	}
	for _, page := range []string{"r_total 1\n", ""} {
		v, _ := watchFake(t, []string{page}, 0, smi)
		if v.Server == nil || len(v.Server.GPUs) != 1 || *v.Server.GPUs[0].PowerW != 500 || math.Abs(*v.Server.Energy.PerOutputToken-10) > 1e-9 {
			t.Fatalf("page %q: %+v", page, v.Server)
		}
		if len(v.Warnings) != 1 || v.Warnings[0].Code != "gpu-throttled" || !strings.Contains(v.Warnings[0].Message, "hardware thermal") {
			t.Errorf("page %q: %+v", page, v.Warnings)
		}
	}
}
