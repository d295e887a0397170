package enginetest

import (
	"bufio"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/sim"
)

// The state into which the metrics check puts a server.
const (
	running  = 3
	waiting  = 4
	longText = 200 // tokens of each request
)

// series is one line of a page of metrics.
type series struct {
	name   string
	labels map[string]string
	value  float64
}

// readMetrics reads the page of metrics of a surface. It is strict where a
// server's page is not trusted: each line must be a comment or a series.
func readMetrics(page string) ([]series, error) {
	var out []series
	lines := bufio.NewScanner(strings.NewReader(page))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := readSeries(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: %q", n, err, line)
		}
		out = append(out, s)
	}
	return out, lines.Err()
}

func readSeries(line string) (series, error) {
	s := series{labels: map[string]string{}}
	at := strings.IndexAny(line, "{ ")
	if at < 0 {
		return s, fmt.Errorf("no value")
	}
	s.name = line[:at]
	rest := line[at:]
	if inner, ok := strings.CutPrefix(rest, "{"); ok {
		for !strings.HasPrefix(inner, "}") {
			name, value, ok := strings.Cut(inner, "=")
			if !ok {
				return s, fmt.Errorf("labels do not end")
			}
			quoted, err := strconv.QuotedPrefix(value)
			if err != nil {
				return s, fmt.Errorf("label %s: %w", name, err)
			}
			s.labels[name], _ = strconv.Unquote(quoted)
			inner = strings.TrimPrefix(value[len(quoted):], ",")
		}
		rest = inner[1:]
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
	s.value = v
	return s, err
}

// quantity reads a neutral quantity off a page, as the table says. ok is false
// when the table or the page has none.
func (u *suite) quantity(page []series, q engine.Quantity) (v float64, ok bool) {
	v = math.Inf(-1)
	for _, m := range u.e.Metrics {
		if m.Quantity != q || ok || !u.has(m.Since, m.Until) {
			continue // the first row that is exposed counts
		}
		for _, s := range page {
			if s.name != m.Name || !carries(s.labels, m.Labels) {
				continue
			}
			if m.Sum && ok {
				v += s.value
			} else {
				v = max(v, s.value)
			}
			ok = true
		}
	}
	return v, ok
}

func carries(have, want map[string]string) bool {
	for k, v := range want {
		if label, ok := have[k]; !ok || label != v {
			return false
		}
	}
	return true
}

// metrics: a server with known numbers of running and waiting requests, and
// after them with known totals, reads back as exactly that through the table.
func (u *suite) metrics(t *testing.T) {
	if len(u.e.Metrics) == 0 {
		t.Skip("the engine has no page of metrics")
	}
	limit := number(u.e.Launch.BatchLimit[0], running)
	u.serve(t, setup{argv: u.argv(engine.Settings{limit}, u.metricsArgs()...)}, func(s *server) {
		u.everyMetric(s)
		before := u.page(s)
		records := make([]sample.Record, running+waiting)
		var wg sync.WaitGroup
		for i := range records {
			r := u.request(true)
			r.Prompt, r.MaxTokens = fmt.Sprintf("%d and no other words", i), longText
			body, err := u.e.Wires[0].Encode(r)
			if err != nil {
				s.t.Fatal(err)
			}
			wg.Go(func() { records[i] = u.post(s, 0, body) })
		}
		synctest.Wait()
		time.Sleep(100 * time.Millisecond) // the first batch runs, the others wait
		u.expect(s, "under load", nil, map[engine.Quantity]float64{
			engine.QuantityRunning: running, engine.QuantityWaiting: waiting,
		})
		if v, ok := u.quantity(u.page(s), engine.QuantityKVUsage); ok && !(v > 0 && v <= 1) {
			s.t.Errorf("%s under load: %g, want a share above 0 and at most 1", engine.QuantityKVUsage, v)
		}
		wg.Wait()
		input := 0
		for i, r := range records {
			if !r.OK() {
				s.t.Fatalf("request %d: %s: %s", i, r.Class, r.Error)
			}
			input += r.InputTokens
		}
		u.expect(s, "after the load", before, map[engine.Quantity]float64{
			engine.QuantityRunning: 0, engine.QuantityWaiting: 0,
			engine.QuantityRequests:         running + waiting,
			engine.QuantityPromptTokens:     float64(input),
			engine.QuantityGenerationTokens: (running + waiting) * longText,
			engine.QuantityPreemptions:      0,
		})
		u.promptSum(s, before, float64(input))
		u.histograms(s, records)
		u.cached(s)
	})
	u.speculation(t)
}

// promptSum: where a counter leaves cached tokens out, both together are what
// was sent.
func (u *suite) promptSum(s *server, before []series, input float64) {
	page := u.page(s)
	computed, ok := u.quantity(page, engine.QuantityComputedTokens)
	if !ok {
		return
	}
	was, _ := u.quantity(before, engine.QuantityComputedTokens)
	cached, _ := u.quantity(page, engine.QuantityCachedTokens)
	cachedBefore, _ := u.quantity(before, engine.QuantityCachedTokens)
	if got := computed - was + cached - cachedBefore; got != input {
		s.t.Errorf("%s and %s after the load: %g together, want %g", engine.QuantityComputedTokens, engine.QuantityCachedTokens, got, input)
	}
}

// histograms: each of one observation a request has one a request that the
// client saw, and their times are those of the client, the way there and back
// left out.
func (u *suite) histograms(s *server, records []sample.Record) {
	page := u.page(s)
	var ttft, e2e float64
	for _, r := range records {
		ttft += float64(r.FirstText-r.Send) / 1e9
		e2e += float64(r.LastText-r.Send) / 1e9
	}
	for _, m := range u.e.Metrics {
		if !m.Quantity.Histogram() || m.Quantity == engine.QuantityITL || !u.has(m.Since, m.Until) {
			continue
		}
		if n := total(page, m.Name+"_count", m.Labels); n != float64(len(records)) {
			s.t.Errorf("%s: %g observations after %d requests", m.Quantity, n, len(records))
		}
		want, known := map[engine.Quantity]float64{engine.QuantityTTFT: ttft, engine.QuantityE2E: e2e}[m.Quantity]
		if sum := total(page, m.Name+"_sum", m.Labels); known && (sum > want+1e-9 || sum < 0.9*want) {
			s.t.Errorf("%s: %g s in sum, the client's is %g s", m.Quantity, sum, want)
		}
	}
}

func total(page []series, name string, labels map[string]string) (sum float64) {
	for _, x := range page {
		if x.name == name && carries(x.labels, labels) {
			sum += x.value
		}
	}
	return sum
}

// speculate are the words that switch speculative decoding on; nil when no
// option of the captured text does.
func (u *suite) speculate() []string {
	const knob, method = "speculative", "ngram"
	for _, o := range u.s.Options {
		for member, k := range o.Members {
			if k == knob {
				return []string{o.Names[0], fmt.Sprintf(`{%q:%q}`, member, method)}
			}
		}
		switch {
		case o.Knob != knob:
		case len(o.Choices) > 0:
			return []string{o.Names[0], o.Choices[0]}
		default:
			return []string{o.Names[0], method}
		}
	}
	return nil
}

// speculation: what is exposed only with speculative decoding is there with it,
// and says how many tokens a step yields.
func (u *suite) speculation(t *testing.T) {
	on := u.speculate()
	if on == nil {
		return
	}
	u.serve(t, setup{argv: u.argv(nil, append(u.metricsArgs(), on...)...)}, func(s *server) {
		r := u.request(true)
		r.MaxTokens = longText
		body, err := u.e.Wires[0].Encode(r)
		if err != nil {
			s.t.Fatal(err)
		}
		u.post(s, 0, body)
		page := u.page(s)
		for _, m := range u.e.Metrics {
			any := m
			if m.When != "" {
				any.Labels = nil // which a further switch may bring
			}
			if u.has(m.Since, m.Until) && !slices.ContainsFunc(page, exposes(any)) {
				s.t.Errorf("metric %s: no series %s%v on the page with speculative decoding", m.Quantity, m.Name, m.Labels)
			}
		}
		length, ok := u.quantity(page, engine.QuantityAcceptLength)
		if drafts, counted := u.quantity(page, engine.QuantityDrafts); counted && drafts > 0 {
			accepted, _ := u.quantity(page, engine.QuantityAcceptedTokens)
			length, ok = 1+accepted/drafts, true
		}
		if ok && !(length > 1 && length < 10) {
			s.t.Errorf("%s: %g tokens a step with speculative decoding", engine.QuantityAcceptLength, length)
		}
	})
}

// everyMetric: every series of the table stands on the page, and carries the
// model's name where the engine labels it.
func (u *suite) everyMetric(s *server) {
	page := u.page(s)
	for _, m := range u.e.Metrics {
		if u.has(m.Since, m.Until) && m.When == "" && !slices.ContainsFunc(page, exposes(m)) {
			s.t.Errorf("metric %s: no series %s%v on the page", m.Quantity, m.Name, m.Labels)
		}
	}
}

// exposes says that a series is one of a metric.
func exposes(m engine.Metric) func(series) bool {
	name := m.Name
	if m.Quantity.Histogram() {
		name += "_bucket"
	}
	return func(x series) bool { return x.name == name && carries(x.labels, m.Labels) }
}

func (u *suite) page(s *server) []series {
	s.t.Helper()
	reply, err := s.c.Call(s.ctx, engine.EndpointMetrics, nil, nil)
	if err != nil {
		s.t.Fatalf("page of metrics: %v", err)
	}
	page, err := readMetrics(string(reply.Body))
	if err != nil {
		s.t.Fatalf("page of metrics: %v", err)
	}
	return page
}

// expect compares quantities; totals count from the page before.
func (u *suite) expect(s *server, when string, before []series, want map[engine.Quantity]float64) {
	s.t.Helper()
	page := u.page(s)
	for q, w := range want {
		got, ok := u.quantity(page, q)
		if !ok {
			continue // this engine does not tell
		}
		if strings.HasSuffix(string(q), "_total") {
			was, _ := u.quantity(before, q)
			got -= was
		}
		if got != w {
			s.t.Errorf("%s %s: %g, want %g", q, when, got, w)
		}
	}
}

// cached: a prompt that was sent before is counted as cached, where the engine
// keeps prompts and counts them.
func (u *suite) cached(s *server) {
	if _, ok := u.quantity(u.page(s), engine.QuantityCachedTokens); !ok {
		return
	}
	r := u.request(true)
	r.Prompt = strings.Repeat("the same words again ", 200)
	body, err := u.e.Wires[0].Encode(r)
	if err != nil {
		s.t.Fatal(err)
	}
	u.post(s, 0, body)
	first, _ := u.quantity(u.page(s), engine.QuantityCachedTokens)
	u.post(s, 0, body)
	if second, _ := u.quantity(u.page(s), engine.QuantityCachedTokens); second <= first {
		s.t.Errorf("%s: %g after a prompt that was sent before, %g before it", engine.QuantityCachedTokens, second, first)
	}
}

// startLog: the log of a good start holds a line that says ready, only at its
// end, and none that any failure pattern takes for its own.
func (u *suite) startLog(t *testing.T) {
	u.serve(t, setup{argv: u.argv(nil)}, func(s *server) {
		log := s.log.String()
		if got := u.kinds(log); !slices.Equal(got, []engine.LogKind{engine.LogReady}) {
			s.t.Errorf("a good start is read as %q, want only %q:\n%s", got, engine.LogReady, log)
		}
	})
	u.serve(t, setup{argv: u.argv(nil), loading: true}, func(s *server) {
		if got := u.kinds(s.log.String()); len(got) != 0 {
			s.t.Errorf("a server that loads is read as %q", got)
		}
	})
	for _, kind := range []string{"boot", "stats", "stop"} {
		if got := u.kinds(u.logText(kind)); len(got) != 0 {
			t.Errorf("the lines of %s are read as %q", kind, got)
		}
	}
}

// failedStarts: every end of a start that the engine words is recognised for
// what it is.
func (u *suite) failedStarts(t *testing.T) {
	for _, c := range []struct {
		log  string
		want []engine.LogKind // any of them
	}{
		{"oom", []engine.LogKind{engine.LogOOM}},
		{"no_kv", []engine.LogKind{engine.LogNoMemory, engine.LogOOM}},
		{"unknown_flag", []engine.LogKind{engine.LogBadFlag}},
		{"bad_value", []engine.LogKind{engine.LogBadFlag}},
		{"missing_value", []engine.LogKind{engine.LogBadFlag}},
		{"missing_model", []engine.LogKind{engine.LogBadFlag}},
		{"crash", []engine.LogKind{engine.LogCrash}},
		{"load_failed", []engine.LogKind{engine.LogLoadFailed}},
		{"port_in_use", []engine.LogKind{engine.LogPortInUse}},
	} {
		text := u.logText(c.log)
		if text == "" {
			continue
		}
		got := u.kinds(text)
		if !slices.ContainsFunc(c.want, func(k engine.LogKind) bool { return slices.Contains(got, k) }) {
			t.Errorf("%s is read as %q, want %q:\n%s", c.log, got, c.want, text)
		}
		// Crash lines may stand beside the cause; another cause may not.
		for _, k := range got {
			if k != engine.LogCrash && !slices.Contains(c.want, k) && !(c.log == "oom" && k == engine.LogNoMemory) {
				t.Errorf("%s is also read as %q:\n%s", c.log, k, text)
			}
		}
	}
	for kind, fault := range map[engine.LogKind]string{engine.LogOOM: "oom"} {
		r := u.outcome(t, u.argv(nil), fault)
		if r == nil || r.Exit == 0 || !slices.Contains(u.kinds(string(r.Text)), kind) {
			t.Errorf("a start with the fault %s: %v; want an end that is read as %s", fault, r, kind)
		}
	}
}

// logText is a captured text of the log, of a server such as the others here.
func (u *suite) logText(kind string) string {
	return u.s.LogText(kind, &sim.Data{
		Model: model, ServedName: model, Host: "127.0.0.1", Port: 8123, PID: 1000, Now: time.Unix(0, 0), TP: 1,
		GPUMemGB: 80, WeightGB: 16, KVGB: 48, GraphGB: 1, ContextLen: 8192, KVTokens: 4096, KVBlocks: 256, BlockSize: 16,
		MaxRunning: 8, Running: 3, Waiting: 2, KVUsed: 1024, KVUsage: 0.25,
		Flag: "--some-flag", Value: "of-no-use", Message: "invalid int value: 'of-no-use'",
	})
}
