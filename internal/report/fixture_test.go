package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/metric"
)

var testEngines = engine.Set{{ID: "sglang"}, {ID: "vllm"}, {ID: "trtllm", Aliases: []string{"tensorrt_llm"}}, {ID: "tokenspeed"}}

func ptr[T any](v T) *T { return &v }

// latency is a log-normal distribution with the given median and spread.
func latency(n int, p50, sigma float64) result.Latency {
	samples := make([]float64, n)
	for i := range samples {
		// The inverse normal by Tukey's lambda, close enough for a picture.
		u := (float64(i) + 0.5) / float64(n)
		z := (math.Pow(u, 0.1349) - math.Pow(1-u, 0.1349)) / 0.1975
		samples[i] = math.Round(1000*p50*math.Exp(sigma*z)) / 1000
	}
	d := metric.NewDist(samples)
	return result.FromSummary(metric.Summary{TTFT: d}).TTFT
}

// machine is a made-up server: how it behaves under load.
type machine struct {
	framework, version string
	index              int
	flags              string
	capacity           float64 // requests/s at which it saturates
	ttft, tpot         float64 // ms without load
	gpus               int
}

func (m machine) at(rate float64, in, out int) result.Metrics {
	busy := min(rate/m.capacity, 0.985)
	slow := 1 / (1 - busy)
	n := 200
	served := min(rate, m.capacity)
	ttft := m.ttft * (0.5 + 0.5*slow) * float64(in) / 1000
	tpot := m.tpot * (0.8 + 0.2*slow)
	x := result.Metrics{
		RequestThroughput: ptr(served), OutputTokenThroughput: ptr(served * float64(out)), TotalTokenThroughput: ptr(served * float64(in+out)),
		SuccessRate: ptr(1.0), OfferedRate: ptr(rate), AchievedRate: ptr(rate), Goodput: ptr(served * 0.97), Attainment: ptr(0.97),
		DurationS: ptr(float64(n) / served), Planned: ptr(n), Sent: ptr(n), Succeeded: ptr(n), Failed: ptr(0), Dropped: ptr(0),
		TTFT: latency(n, ttft, 0.25+0.3*busy), TPOT: latency(n, tpot, 0.1+0.1*busy), ITL: latency(5*n, tpot, 0.4), E2E: latency(n, ttft+tpot*float64(out-1), 0.15),
		PeakConcurrency: ptr(int(rate*tpot*float64(out)/1000) + 1),
	}
	return x
}

var scenarios = []struct {
	name    string
	in, out int
	scale   float64
}{{"chat", 1000, 1000, 1}, {"summarization", 8000, 1000, 0.35}}

// demoRows are what a run over three engines leaves: winners, a tie, runners-up,
// a start without enough memory, a server that never became ready, a missed SLA
// and a candidate that worked at the second attempt.
func demoRows() []result.Row {
	machines := []machine{
		{"sglang", "0.5.18", 0, "--tp-size 4 --mem-fraction-static 0.82", 7.2, 140, 9.5, 4},
		{"sglang", "0.5.18", 1, "--tp-size 4 --mem-fraction-static 0.88 --chunked-prefill-size 8192 --prefill-attention-backend fa3", 9.1, 120, 9.2, 4},
		{"sglang", "0.5.18", 2, "--tp-size 4 --mem-fraction-static 0.88 --chunked-prefill-size 4096 --schedule-policy lpm", 8.0, 128, 9.9, 4},
		{"vllm", "0.26.0", 0, "--tensor-parallel-size 4 --gpu-memory-utilization 0.9", 7.6, 150, 9.8, 4},
		{"vllm", "0.26.0", 1, "--tensor-parallel-size 4 --gpu-memory-utilization 0.92 --max-num-batched-tokens 16384", 8.95, 132, 9.4, 4},
		{"trtllm", "1.3.0", 0, "--backend pytorch --tp_size 4 --max_batch_size 128", 6.1, 135, 8.9, 4},
	}
	var rows []result.Row
	for _, s := range scenarios {
		for _, m := range machines {
			rows = append(rows, m.row(s.name, s.in, s.out, s.scale))
		}
	}
	rows = append(rows, broken()...)
	return rows
}

func (m machine) id() string { return fmt.Sprintf("%s-%02d", m.framework, m.index) }

func (m machine) base(scenario string, in, out int) result.Row {
	command := map[string]string{"sglang": "python3 -m sglang.launch_server --model-path ", "vllm": "vllm serve ", "trtllm": "trtllm-serve serve ", "tokenspeed": "tokenspeed serve "}[m.framework]
	return result.Row{
		SchemaVersion: 1, RunID: "20261124-203000-demo", ToolVersion: "0.1.0", MeasuredAt: "2026-11-24T20:45:00Z",
		Framework: m.framework, FrameworkVersion: m.version, CandidateID: m.id(), Model: "Qwen/Qwen3-32B", Simulated: true,
		ServerCommand: command + "Qwen/Qwen3-32B " + m.flags + " --host 127.0.0.1 --port 8000",
		Hardware:      result.Hardware{GPUModel: "H100", GPUCount: ptr(m.gpus)},
		Workload: result.Workload{Kind: "random", Scenario: scenario, InputLen: ptr(in), OutputLen: ptr(out), NumPrompts: ptr(200), Endpoint: "/v1/completions",
			Arrivals: "poisson", Seed: ptr(uint64(1)), Searched: []string{result.SearchedRate}},
		SLA:    result.SLA{Limits: []result.Limit{result.NewLimit("p50", "ttft", 1500), result.NewLimit("p50", "tpot", 30)}, MinSuccessRate: ptr(0.99)},
		Status: result.StatusOK,
	}
}

func (m machine) row(scenario string, in, out int, scale float64) result.Row {
	r := m.base(scenario, in, out)
	m.capacity *= scale
	best := -1
	for _, share := range []float64{0.25, 0.5, 0.7, 0.85, 0.93, 1.05} {
		rate := math.Round(m.capacity*share*100) / 100
		x := m.at(rate, in, out)
		passed, violations := result.Judge(r.SLA.Limits, r.SLA.MinSuccessRate, x)
		r.Points = append(r.Points, result.Point{RequestRate: ptr(rate), Status: result.StatusOK, Passed: passed, Violations: violations, Metrics: x.Brief(),
			Folder: fmt.Sprintf("trials/%s/%s/%g", m.id(), scenario, rate)})
		if passed {
			best = len(r.Points) - 1
			r.Metrics, r.Workload.RequestRate = x, ptr(rate)
		}
	}
	if best >= 0 {
		r.Points[best].Chosen = true
		r.Artifacts = result.Artifacts{Folder: r.Points[best].Folder, ServerLog: r.Points[best].Folder + "/server.log"}
	} else {
		r.Points[0].Chosen = true
		r.Metrics, r.Workload.RequestRate = m.at(*r.Points[0].RequestRate, in, out), r.Points[0].RequestRate
	}
	r.SLA.Judge(r.Metrics)
	if best >= 0 && m.framework != "trtllm" { // whose page of metrics needs a setting
		r.Server = m.witness(r.Metrics)
	}
	return r
}

// witness is what the server says of a load point: its times are the client's
// less 2 ms of network.
func (m machine) witness(x result.Metrics) *metric.Server {
	s := &metric.Server{Readings: 13, PrefixHitRate: ptr(0.004), PrefixHitBy: "server's token counters", IntendedHitRate: ptr(0.0)}
	running := *x.RequestThroughput * *x.E2E.Mean / 1000
	s.Gauges = []metric.ServerGauge{{Quantity: "running_requests", Mean: running, Max: 1.5 * running}, {Quantity: "waiting_requests", Mean: 1, Max: 6}, {Quantity: "kv_usage_ratio", Mean: 0.6, Max: 0.83}}
	s.Counters = []metric.ServerCounter{{Quantity: "preemptions_total", Increase: float64(m.index)}}
	s.Histograms = []metric.ServerDist{{Quantity: "queue_seconds", N: 200, MeanMs: 12.5}}
	s.Reconciled = []metric.Difference{
		{What: "requests", Unit: "requests", Client: 200, Server: 200},
		{What: "mean TTFT", Unit: "ms", Client: *x.TTFT.Mean, Server: *x.TTFT.Mean - 2, Difference: 2},
		{What: "mean E2E", Unit: "ms", Client: *x.E2E.Mean, Server: *x.E2E.Mean - 2, Difference: 2},
	}
	if m.framework == "vllm" {
		s.Reconciled = append(s.Reconciled, metric.Difference{What: "generated tokens", Unit: "tokens", Client: 200_000, Server: 260_000, Difference: -60_000, OutOfBound: true})
	}
	for _, name := range []string{"running_requests", "kv_usage_ratio", "generation_tokens_total"} {
		line := metric.ServerSeries{Name: name}
		for i := range 13 {
			full := map[string]float64{"running_requests": running, "kv_usage_ratio": 0.7, "generation_tokens_total": 50 * running}[name]
			line.AtS, line.Values = append(line.AtS, 5*float64(i)), append(line.Values, full*(1-math.Exp(-float64(i))))
		}
		s.Series = append(s.Series, line)
	}
	for i := range m.gpus {
		s.GPUs = append(s.GPUs, metric.ServerGPU{Index: i, PowerW: ptr(600.0), SMClockMin: ptr(1620.0), Throttled: []metric.Throttle{{Reason: "power cap", Share: 0.25}}})
		power := metric.ServerSeries{Name: fmt.Sprintf("gpu_%d_power", i), Unit: "W"}
		for at := range 13 {
			power.AtS, power.Values = append(power.AtS, 5*float64(at)), append(power.Values, 600)
		}
		s.Series = append(s.Series, power)
	}
	s.Energy = &metric.ServerEnergy{Joules: 144_000, By: "power", PerOutputToken: ptr(0.72)}
	return s
}

func broken() []result.Row {
	oom := machine{framework: "sglang", version: "0.5.18", index: 3, flags: "--tp-size 4 --mem-fraction-static 0.97", gpus: 4}
	slow := machine{framework: "tokenspeed", version: "0.1.2", index: 0, flags: "--tensor-parallel-size 4", gpus: 4}
	late := machine{framework: "trtllm", version: "1.3.0", index: 1, flags: "--backend pytorch --tp_size 4 --max_num_tokens 16384", capacity: 2, ttft: 1450, tpot: 24, gpus: 4}
	var rows []result.Row
	for _, s := range scenarios {
		r := oom.base(s.name, s.in, s.out)
		r.Status, r.FailedPhase = result.StatusOOM, "start"
		r.FailureReason = `server log: "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB": lower mem_fraction_static or raise tp_size`
		rows = append(rows, r)
		r = slow.base(s.name, s.in, s.out)
		r.Status, r.FailedPhase = result.StatusTimeout, "start"
		r.FailureReason = "the server was not ready within 10m0s; last answer of GET /health: 503 Service Unavailable"
		rows = append(rows, r)
		rows = append(rows, late.row(s.name, s.in, s.out, 1))
	}
	for i := range 3 {
		r := machine{framework: "tokenspeed", version: "0.1.2", index: i + 1, flags: "--tensor-parallel-size 4 --max-num-seqs 64", gpus: 4}.base("chat", 1000, 1000)
		r.Status, r.FailureReason = result.StatusSkipped, "no candidate of this engine became ready"
		rows = append(rows, r)
	}
	first := machine{framework: "vllm", version: "0.26.0", index: 1, flags: "--tensor-parallel-size 4 --gpu-memory-utilization 0.92 --max-num-batched-tokens 16384", gpus: 4}.base("chat", 1000, 1000)
	first.Status, first.FailureReason, first.MeasuredAt = result.StatusFailed, "port 8000 is in use", "2026-11-24T20:31:00Z"
	return append(rows, first)
}

// repeatedRows are four candidates that were measured several times at one load
// point: the baseline, one 10.5 % and one 12 % better in the same blocks, which is a tie of the two, and
// one measured once. Their figures have intervals, two of them none.
func repeatedRows() []result.Row {
	base := []float64{6.9, 7.1, 7.0, 6.95, 7.05}
	var rows []result.Row
	for i, better := range []float64{1, 1.105, 1.12, 1.05} {
		m := machine{"vllm", "0.26.0", i, fmt.Sprintf("--tensor-parallel-size 4 --max-num-seqs %d", 64<<i), 7 * better, 150, 9.8, 4}
		r := m.base("chat", 1000, 1000)
		r.Baseline = i == 0
		r.Metrics = m.at(0.9*m.capacity, 1000, 1000)
		for block, x := range base {
			p := result.Point{MaxConcurrency: ptr(64), Repeat: block, Block: ptr(block), Chosen: block == 2, Status: result.StatusOK, Passed: true, Metrics: r.Metrics.Brief()}
			p.Metrics.RequestThroughput = ptr(x * better * (1 + 0.004*float64((block+i)%3-1)))
			if i < 3 || p.Chosen {
				r.Points = append(r.Points, p)
			}
			if p.Chosen {
				r.Metrics.RequestThroughput = p.Metrics.RequestThroughput
			}
		}
		r.Metrics.Intervals = map[string]metric.Interval{
			"p50_ttft_ms": {CI: &[2]float64{*r.Metrics.TTFT.P50 * 0.94, *r.Metrics.TTFT.P50 * 1.05}, N: 200, Effective: 150}, "p99_ttft_ms": {N: 200, Effective: 150, Needs: 491},
			"request_throughput": {CI: &[2]float64{*r.Metrics.RequestThroughput * 0.97, *r.Metrics.RequestThroughput * 1.03}, N: 200},
		}
		r.SLA.Judge(r.Metrics)
		rows = append(rows, r)
	}
	return rows
}

// thinkingRows are two candidates of a model that reasons before it answers, and
// one whose server hands the reasoning out as text.
func thinkingRows() []result.Row {
	var rows []result.Row
	for i, parts := range []bool{true, true, false} {
		m := machine{"vllm", "0.26.0", i, fmt.Sprintf("--tensor-parallel-size 4 --max-num-seqs %d", 64<<i), 7 + float64(i), 150, 9.8, 4}
		r := m.base("chat", 1000, 1000)
		r.Metrics = m.at(0.9*m.capacity, 1000, 1000)
		if parts {
			r.Metrics.TTFTReasoning, r.Metrics.TTFTVisible = r.Metrics.TTFT, latency(200, 6*m.tpot*100, 0.2)
		}
		r.SLA.Judge(r.Metrics)
		rows = append(rows, r)
	}
	return rows
}

// foreignRows are lines that another tool wrote, some of them hostile.
const foreignRows = `{"framework":"tensorrt_llm","candidate_id":"trt | pipe","model":"org/m","status":"OK","server_command":"trtllm-serve serve 'a|b' --x ` + "`id`" + `","workload":{"scenario":"chat"},"hardware":{"gpu_count":2,"gpu_model":"H100"},"sla":{"passed":true},"metrics":{"request_throughput":4,"output_token_throughput":400,"mean_ttft_ms":210,"p50_tpot_ms":11,"mean_accept_length":0},"cache":{"prefix_cache_hit_rate":0}}
{"framework":"vllm","candidate_id":"=HYPERLINK(\"http://x\")","model":"org/m","status":"ok","launch_command":"vllm serve org/m --note '<script>alert(1)</script>'","workload":{"scenario":"chat"},"hardware":{"gpu_count":1,"gpu_model":"H100"},"sla":{"passed":true},"metrics":{"request_throughput":"12.5 req/s","p50_ttft_ms":NaN,"output_token_throughput":390}}
{"framework":"sglang","candidate_id":"-5","model":"org/m","status":"failed","server_command":"@sum","workload":{"scenario":"chat"},"hardware":{"gpu_model":"H100"},"failure_reason":"exit 1: <img src=x onerror=alert(1)> | a \\| b\nsecond line \u001b[31mred"}
not json
{"model":"org/m","status":"ok","candidate_id":"nameless","sla":{"max_p50_ttft_ms":100,"passed":true},"workload":{"scenario":"chat"},"hardware":{"gpu_model":"H100"},"metrics":{"p50_ttft_ms":250,"request_throughput":3}}
`

// writeAndRead sends rows through the file format before they are compared.
func writeAndRead(t testing.TB, rows []result.Row) []result.Row {
	t.Helper()
	var file bytes.Buffer
	for _, r := range rows {
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		file.Write(append(line, '\n'))
	}
	back, problems, err := result.Read(&file, "results.jsonl", testEngines)
	if err != nil || len(problems) > 0 || len(back) != len(rows) {
		t.Fatalf("reading back %d of %d rows: %v %v", len(back), len(rows), problems, err)
	}
	return back
}

func readForeign(t testing.TB) []result.Row {
	t.Helper()
	rows, problems, err := result.Read(strings.NewReader(foreignRows), "foreign.jsonl", testEngines)
	if err != nil || len(problems) == 0 {
		t.Fatalf("foreign rows: %v, %v", problems, err)
	}
	return rows
}
