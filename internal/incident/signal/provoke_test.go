package signal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/engine/all"
	"llmdyno/internal/incident/bundle"
	"llmdyno/internal/incident/signal"
)

// server is what a made-up server answers; the zero value of a field leaves the
// healthy answer of its kind.
type server struct {
	health, generate int // HTTP status; -1 = refused, -2 = no answer in time
	modelInfo, info  string
	infoStatus       int
	loads            string
	metrics          string
	metricsStatus    int
	rounds           []round // 10 s apart, the last 10 s before the rest
	logs             []string
	without          []string // probes that are not asked
	before           *server  // a minute earlier
	vllm             bool
	refused          bool
}

type round struct{ metrics, loads string }

var start = time.Date(2026, 5, 2, 12, 0, 0, 0, time.UTC)

// busy is one rank at work.
func busy(running, waiting int, usage float64, more ...string) string {
	return rankLoad(0, running, waiting, usage, more...)
}

func rankLoad(rank, running, waiting int, usage float64, more ...string) string {
	parts := []string{fmt.Sprintf(`"dp_rank":%d,"num_running_reqs":%d,"num_waiting_reqs":%d,"token_usage":%g,"max_running_requests":256`, rank, running, waiting, usage)}
	return "{" + strings.Join(append(parts, more...), ",") + "}"
}

func loadsOf(ranks ...string) string {
	return `{"timestamp":"2026-05-02T12:00:00+00:00","version":"0.5.18","loads":[` + strings.Join(ranks, ",") + "]}"
}

// histogram writes a distribution with bounds 0.1, 1, 5 and 20.
func histogram(name, labels string, counts ...int) string {
	var b strings.Builder
	total, sum := 0, 0.0
	fmt.Fprintf(&b, "# TYPE %s histogram\n", name)
	comma := ""
	if labels != "" {
		comma = ","
	}
	for i, le := range []string{"0.1", "1", "5", "20", "+Inf"} {
		if i < len(counts) {
			total += counts[i]
			sum += float64(counts[i]) * []float64{0.05, 0.5, 3, 12, 30}[i]
		}
		fmt.Fprintf(&b, "%s_bucket{%s%sle=%q} %d\n", name, labels, comma, le, total)
	}
	fmt.Fprintf(&b, "%s_sum{%s} %g\n%s_count{%s} %d\n", name, labels, sum, name, labels, total)
	return b.String()
}

// sgl is a page of the first engine, healthy unless lines say otherwise.
func sgl(lines ...string) string {
	return "# TYPE sglang:num_running_reqs gauge\n" + strings.Join(lines, "\n") + "\n"
}

func llm(lines ...string) string {
	return "# TYPE vllm:num_requests_running gauge\n" + strings.Join(lines, "\n") + "\n"
}

func (s server) bundle(t *testing.T) *bundle.Bundle {
	t.Helper()
	return s.at(t, start)
}

func (s server) at(t *testing.T, at time.Time) *bundle.Bundle {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	w, err := bundle.Create(dir, bundle.Manifest{Origin: bundle.OriginOurs, Tool: "llmdyno", Started: at, State: "complete"}, artifact.NewRedactor())
	if err != nil {
		t.Fatal(err)
	}
	target := bundle.Target{ID: "a", URL: "http://127.0.0.1:30000"}
	probe := func(name, path string, status int, body string, at time.Time) bundle.Probe {
		p := bundle.Probe{Name: name, Method: "GET", Path: path, Status: status, Started: at, Bytes: int64(len(body))}
		switch {
		case status == -1 || s.refused:
			p.Status, p.ErrorClass, p.Error = 0, bundle.ClassRefused, "connection refused"
			return p
		case status == -2:
			p.Status, p.ErrorClass, p.Error, p.DurationMS = 0, bundle.ClassTimeout, "no answer", 26_000
			return p
		case status != 200:
			p.ErrorClass = bundle.ClassOfStatus(status)
		}
		p.File = fmt.Sprintf("targets/a/%s-%d", name, at.UnixNano())
		if err := w.Write(p.File, []byte(body)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	or := func(status int) int {
		if status == 0 {
			return 200
		}
		return status
	}
	for i, r := range s.rounds {
		when := at.Add(time.Duration(i-len(s.rounds)) * 10 * time.Second)
		target.Samples = append(target.Samples, probe("metrics", "/metrics", 200, r.metrics, when))
		if r.loads != "" {
			target.Samples = append(target.Samples, probe("loads", "/v1/loads", 200, r.loads, when))
		}
	}
	text := func(s, healthy string) string {
		if s == "" {
			return healthy
		}
		return s
	}
	add := func(name, path string, status int, body string) {
		if !slices.Contains(s.without, name) {
			target.Probes = append(target.Probes, probe(name, path, status, body, at))
		}
	}
	add("health", "/health", or(s.health), "")
	if s.vllm {
		add("version", "/version", 200, `{"version":"0.26.0"}`)
		add("metrics", "/metrics", or(s.metricsStatus), text(s.metrics, llm(`vllm:num_requests_running{engine="0"} 3`, `vllm:num_requests_waiting{engine="0"} 0`)))
	} else {
		add("health_generate", "/health_generate", or(s.generate), "")
		add("model_info", "/model_info", 200, text(s.modelInfo, `{"model_path":"m"}`))
		add("server_info", "/server_info", or(s.infoStatus), text(s.info, `{"internal_states":[{}],"version":"0.5.18","tp_size":1}`))
		add("loads", "/v1/loads", 200, text(s.loads, loadsOf(busy(3, 0, 0.4))))
		add("metrics", "/metrics", or(s.metricsStatus), text(s.metrics, sgl("sglang:num_running_reqs 3", "sglang:num_queue_reqs 0")))
	}
	if len(s.logs) > 0 {
		if err := w.Write("logs/server.log", []byte(strings.Join(s.logs, "\n")+"\n")); err != nil {
			t.Fatal(err)
		}
		target.Logs = []bundle.File{{Name: "server.log", File: "logs/server.log"}}
	}
	if err := w.Target(target); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish("complete"); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func (s server) summary(t *testing.T) *signal.Summary {
	t.Helper()
	o := signal.Options{Engines: all.Engines()}
	if s.before != nil {
		o.Before = s.before.at(t, start.Add(-time.Minute))
	}
	sum, err := signal.Summarize(s.bundle(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func ids(s *signal.Summary) []string {
	out := []string{}
	for _, f := range s.Signals {
		out = append(out, f.ID)
	}
	slices.Sort(out)
	return out
}

// cpu is a page with the seconds of one component.
func cpu(component string, seconds int) string {
	return sgl("sglang:num_running_reqs 3", "sglang:num_queue_reqs 0", fmt.Sprintf("sglang:process_cpu_seconds_total{component=%q} %d", component, seconds))
}

func rises(counts ...int) []round {
	var out []round
	for _, n := range counts {
		out = append(out, round{sgl("sglang:num_running_reqs 9", fmt.Sprintf("sglang:num_queue_reqs %d", n)), loadsOf(busy(9, n, 0.4))})
	}
	return out
}

func hits(pairs ...int) []round {
	var out []round
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, round{sgl("sglang:num_running_reqs 3", fmt.Sprintf("sglang:cached_tokens_total{cache_source=\"total\"} %d", pairs[i]), fmt.Sprintf("sglang:prompt_tokens_total %d", pairs[i+1])), loadsOf(busy(3, 0, 0.4))})
	}
	return out
}

func prompts(p50, p99 int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# TYPE sglang:prompt_tokens_histogram histogram\n")
	for _, x := range []struct {
		le string
		n  int
	}{{"100", p50}, {"1000", p50}, {"100000", p50 + p99}, {"+Inf", p50 + p99}} {
		fmt.Fprintf(&b, "sglang:prompt_tokens_histogram_bucket{le=%q} %d\n", x.le, x.n)
	}
	fmt.Fprintf(&b, "sglang:prompt_tokens_histogram_sum 1\nsglang:prompt_tokens_histogram_count %d\n", p50+p99)
	return b.String()
}

func pd(mode string, fields string) string {
	return loadsOf(rankLoad(0, 0, 0, 0.86, `"disaggregation":{"mode":"`+mode+`",`+fields+`}`, `"queues":{"waiting":0,"retracted":0}`))
}

func pdRounds(n int, loads, metrics string) []round {
	return slices.Repeat([]round{{metrics, loads}}, n)
}

func stage(name string, counts ...int) string {
	return histogram("sglang:per_stage_req_latency_seconds", fmt.Sprintf("stage=%q", name), counts...)
}

// cases: for every rule a server that fires it and a neighbouring one that must
// not. Other rules may fire beside it.
var cases = map[string]struct{ fires, silent server }{
	"R-DOWN":        {server{health: 503}, server{}},
	"R-SCHED-STALL": {server{generate: 503}, server{}},
	"R-QUEUE-WAIT":  {server{loads: loadsOf(busy(3, 5, 0.4))}, server{}},
	"R-QUEUE-GROW":  {server{rounds: rises(0, 2, 5, 9), loads: loadsOf(busy(9, 14, 0.4))}, server{rounds: rises(4, 2, 3, 1), loads: loadsOf(busy(9, 1, 0.4))}},
	"R-KV-SAT":      {server{loads: loadsOf(busy(3, 0, 0.95))}, server{loads: loadsOf(busy(3, 0, 0.89))}},
	"R-RETRACT": {server{metrics: sgl("sglang:num_retracted_requests_total 30", "sglang:num_requests_total 400")},
		server{metrics: sgl("sglang:num_retracted_requests_total 3", "sglang:num_requests_total 400")}},
	"R-CACHE-COLLAPSE": {server{rounds: hits(1000, 2000, 11000, 22000, 11100, 42000), metrics: hits(11200, 62000)[0].metrics},
		server{rounds: hits(1000, 2000, 11000, 22000, 21000, 42000), metrics: hits(31000, 62000)[0].metrics}},
	"R-PD-TRANSFER": {server{loads: pd("prefill", `"prefill_inflight_queue_reqs":40`), metrics: sgl("sglang:num_transfer_failed_reqs_total 3")},
		server{loads: pd("prefill", `"prefill_inflight_queue_reqs":4`), metrics: sgl("sglang:num_transfer_failed_reqs_total 3")}},
	"R-PD-BOOTSTRAP": {server{rounds: pdRounds(3, pd("prefill", `"prefill_bootstrap_queue_reqs":12`), sgl("sglang:num_running_reqs 0")), loads: pd("prefill", `"prefill_bootstrap_queue_reqs":12`)},
		server{rounds: pdRounds(3, pd("prefill", `"prefill_bootstrap_queue_reqs":2`), sgl("sglang:num_running_reqs 0")), loads: pd("prefill", `"prefill_bootstrap_queue_reqs":2`)}},
	"R-PD-PREALLOC": {server{rounds: pdRounds(3, pd("decode", `"decode_prealloc_queue_reqs":20`), sgl("sglang:pending_prealloc_token_usage 0.3")), loads: pd("decode", `"decode_prealloc_queue_reqs":20`), metrics: sgl("sglang:pending_prealloc_token_usage 0.3")},
		server{rounds: pdRounds(3, pd("decode", `"decode_prealloc_queue_reqs":20`), sgl("sglang:pending_prealloc_token_usage 0.1")), loads: pd("decode", `"decode_prealloc_queue_reqs":20`), metrics: sgl("sglang:pending_prealloc_token_usage 0.1")}},
	"R-SPEC-COLLAPSE": {server{info: `{"internal_states":[{}],"speculative_num_draft_tokens":4}`, loads: loadsOf(busy(3, 0, 0.4, `"speculative":{"accept_length":1.05,"accept_rate":0.01}`))},
		server{info: `{"internal_states":[{}],"speculative_num_draft_tokens":4}`, loads: loadsOf(busy(3, 0, 0.4, `"speculative":{"accept_length":2.9,"accept_rate":0.6}`))}},
	"R-NCCL": {server{logs: []string{"x", "[rank3]:[E] Watchdog caught collective operation timeout: WorkNCCL"}}, server{logs: []string{"Decode batch, #running-req: 3"}}},
	"R-CUDA": {server{logs: []string{"RuntimeError: CUDA error: an illegal memory access was encountered"}}, server{logs: []string{"Capture CUDA graph end."}}},
	"R-OOM":  {server{logs: []string{"torch.OutOfMemoryError: CUDA out of memory."}}, server{logs: []string{"avail mem=9.1 GB"}}},
	"R-TOKENIZER": {server{rounds: []round{{cpu("tokenizer", 10), ""}, {cpu("tokenizer", 20), ""}}, metrics: cpu("tokenizer", 30)},
		server{rounds: []round{{cpu("tokenizer", 10), ""}, {cpu("tokenizer", 11), ""}}, metrics: cpu("tokenizer", 12)}},
	"R-DETOK": {server{rounds: []round{{cpu("detokenizer", 10), ""}, {cpu("detokenizer", 20), ""}}, metrics: cpu("detokenizer", 30)},
		server{rounds: []round{{cpu("detokenizer", 10), ""}, {cpu("detokenizer", 11), ""}}, metrics: cpu("detokenizer", 12)}},
	"R-SLOW-CLIENT": {server{rounds: pdRounds(2, loadsOf(busy(3, 0, 0.4)), sgl("sglang:http_requests_active 90")), metrics: sgl("sglang:http_requests_active 90")},
		server{rounds: pdRounds(2, loadsOf(busy(3, 0, 0.4)), sgl("sglang:http_requests_active 5")), metrics: sgl("sglang:http_requests_active 5")}},
	"R-LORA-THRASH": {server{loads: loadsOf(busy(3, 0, 0.4, `"lora":{"slots_used":8,"slots_total":8}`))}, server{loads: loadsOf(busy(3, 0, 0.4, `"lora":{"slots_used":2,"slots_total":8}`))}},
	"R-HOL": {server{before: &server{metrics: sgl(prompts(0, 0), histogram("sglang:queue_time_seconds", "", 0))}, metrics: sgl(prompts(95, 5), histogram("sglang:queue_time_seconds", "", 80, 0, 0, 20))},
		server{before: &server{metrics: sgl(prompts(0, 0), histogram("sglang:queue_time_seconds", "", 0))}, metrics: sgl(prompts(100, 0), histogram("sglang:queue_time_seconds", "", 80, 0, 0, 20))}},
	"R-PREFILL-BOUND": {server{metrics: sgl(histogram("sglang:time_to_first_token_seconds", "", 0, 0, 50), histogram("sglang:queue_time_seconds", "", 50))},
		server{metrics: sgl(histogram("sglang:time_to_first_token_seconds", "", 0, 0, 50), histogram("sglang:queue_time_seconds", "", 0, 0, 50))}},
	"R-PREFILL-STAGE": {server{metrics: sgl(histogram("sglang:time_to_first_token_seconds", "", 0, 0, 50), stage("prefill_forward", 0, 0, 50), stage("request_process", 50))},
		server{metrics: sgl(histogram("sglang:time_to_first_token_seconds", "", 0, 0, 50), stage("prefill_forward", 0, 50), stage("request_process", 50))}},
	"R-GRAPH-OFF": {server{metrics: sgl(`sglang:cuda_graph_passes_total{mode="decode_none"} 22000`, `sglang:cuda_graph_passes_total{mode="decode_cuda_graph"} 11`)},
		server{metrics: sgl(`sglang:cuda_graph_passes_total{mode="decode_none"} 11`, `sglang:cuda_graph_passes_total{mode="decode_cuda_graph"} 22000`)}},
	"R-RANK-SKEW": {server{loads: loadsOf(busy(3, 0, 0.1), rankLoad(1, 40, 0, 0.7))}, server{loads: loadsOf(busy(30, 0, 0.6), rankLoad(1, 40, 0, 0.7))}},
	"R-TTFT-DELTA": {server{before: &server{metrics: sgl(histogram("sglang:time_to_first_token_seconds", "", 500))}, metrics: sgl(histogram("sglang:time_to_first_token_seconds", "", 500, 0, 0, 60))},
		server{before: &server{metrics: sgl(histogram("sglang:time_to_first_token_seconds", "", 500))}, metrics: sgl(histogram("sglang:time_to_first_token_seconds", "", 560))}},
	"R-GRAMMAR": {server{rounds: pdRounds(3, "", sgl("sglang:num_grammar_queue_reqs 4")), metrics: sgl("sglang:num_grammar_queue_reqs 4")},
		server{rounds: pdRounds(3, "", sgl("sglang:num_grammar_queue_reqs 0")), metrics: sgl("sglang:num_grammar_queue_reqs 0")}},
	"R-RESTART": {server{before: &server{metrics: sgl("sglang:prompt_tokens_total 9000")}, metrics: sgl("sglang:prompt_tokens_total 10")},
		server{before: &server{metrics: sgl("sglang:prompt_tokens_total 9000")}, metrics: sgl("sglang:prompt_tokens_total 9900")}},
	"R-AUTH":       {server{infoStatus: 401}, server{}},
	"R-NO-METRICS": {server{metricsStatus: 404}, server{}},
	"R-BAD-BODY":   {server{info: `[1, 2]`, modelInfo: `{"model_path":"m"}`}, server{}},
	"R-IDLE":       {server{loads: loadsOf(busy(0, 0, 0))}, server{loads: pd("prefill", `"prefill_inflight_queue_reqs":4`)}},
}

func TestEveryRuleIsProvoked(t *testing.T) {
	rules, err := signal.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules.List {
		if r.ID == "R-STALE" {
			continue // TestStale: only the Python toolkit leaves such folders
		}
		t.Run(r.ID, func(t *testing.T) {
			c, ok := cases[r.ID]
			if !ok {
				t.Fatal("no case provokes it")
			}
			if got := ids(c.fires.summary(t)); !slices.Contains(got, r.ID) {
				t.Errorf("it must fire; got %v", got)
			}
			if got := ids(c.silent.summary(t)); slices.Contains(got, r.ID) {
				t.Errorf("it must not fire; got %v", got)
			}
		})
	}
}

// The second engine has other names and lacks endpoints: absence is no finding.
func TestSecondEngine(t *testing.T) {
	for name, c := range map[string]struct {
		s    server
		want []string
	}{
		"healthy":       {server{vllm: true}, []string{}},
		"engine dead":   {server{vllm: true, health: 503}, []string{"R-DOWN"}},
		"KV cache full": {server{vllm: true, metrics: llm(`vllm:num_requests_running{engine="0"} 9`, `vllm:num_requests_waiting{engine="0"} 4`, `vllm:kv_cache_usage_perc{engine="0"} 0.99`)}, []string{"R-KV-SAT", "R-QUEUE-WAIT"}},
		"adapters": {server{vllm: true, metrics: llm(`vllm:num_requests_running 9`, `vllm:num_requests_waiting 0`, `vllm:lora_requests_info{max_lora="2",running_lora_adapters="a,b",waiting_lora_adapters="c"} 1`)},
			[]string{"R-LORA-THRASH"}},
		"no drafts accepted": {server{vllm: true, metrics: llm(`vllm:num_requests_running 9`, `vllm:num_requests_waiting 0`, `vllm:spec_decode_num_drafts_total 100`, `vllm:spec_decode_num_draft_tokens_total 400`, `vllm:spec_decode_num_accepted_tokens_total 4`)},
			[]string{"R-SPEC-COLLAPSE"}},
		"no token for 40 s": {server{vllm: true, rounds: slices.Repeat([]round{{llm(`vllm:num_requests_running 9`, `vllm:num_requests_waiting 0`, `vllm:generation_tokens_total 500`), ""}}, 5),
			metrics: llm(`vllm:num_requests_running 9`, `vllm:num_requests_waiting 0`, `vllm:generation_tokens_total 500`)}, []string{"R-SCHED-STALL"}},
	} {
		if got := ids(c.s.summary(t)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A level that crosses its threshold for one sample is no finding; one that held
// and went is told as cleared; one that dips within the band stays.
func TestHysteresis(t *testing.T) {
	usage := func(values ...float64) server {
		var s server
		for _, v := range values {
			s.rounds = append(s.rounds, round{sgl("sglang:num_running_reqs 3"), loadsOf(busy(3, 0, v))})
		}
		s.loads = loadsOf(busy(3, 0, values[len(values)-1]))
		return s
	}
	for name, c := range map[string]struct {
		s    server
		want string
	}{
		"one spike":     {usage(0.5, 0.95, 0.5, 0.5, 0.5), ""},
		"held":          {usage(0.5, 0.95, 0.95, 0.96, 0.95), "active"},
		"dips":          {usage(0.95, 0.95, 0.88, 0.88, 0.88), "active"},
		"came and went": {usage(0.95, 0.95, 0.5, 0.5, 0.5), "cleared"},
	} {
		got := ""
		for _, f := range c.s.summary(t).Signals {
			if f.ID == "R-KV-SAT" {
				got = f.State
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A folder of the Python toolkit that was used twice.
func TestStale(t *testing.T) {
	write := func(files map[string]string) *bundle.Bundle {
		dir := t.TempDir()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b, err := bundle.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	}
	files := map[string]string{
		"metadata.json": `{"artifact_type":"incident_bundle","base_url":"http://127.0.0.1:30000","collected_at":"20260502_120000"}`,
		"SUMMARY.txt":   "health.txt: ok\nmetrics.txt: failed status=500 error=x\n", "health.txt": "", "metrics.txt.error.json": `{"ok":false,"status":500,"path":"/metrics","error":"x"}`,
	}
	summarize := func(b *bundle.Bundle) *signal.Summary {
		s, err := signal.Summarize(b, signal.Options{Engines: all.Engines()})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if got := ids(summarize(write(files))); slices.Contains(got, "R-STALE") {
		t.Errorf("one capture: %v", got)
	}
	files["metrics.txt"] = sgl("sglang:num_running_reqs 3", "sglang:num_queue_reqs 7")
	s := summarize(write(files))
	if got := ids(s); !slices.Contains(got, "R-STALE") || slices.Contains(got, "R-QUEUE-WAIT") || !s.Figures.Stale {
		t.Errorf("two captures: %v, stale %v: the old page's figures are shown as such and judge nothing", got, s.Figures.Stale)
	}
}
