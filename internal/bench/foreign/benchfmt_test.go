package foreign

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"
	"pgregory.net/rapid"

	"llmdyno/internal/bench/result"
)

func point(repeat int, rps, ttft float64) result.Point {
	return result.Point{
		RequestRate: ptr(4.0), Repeat: repeat, Status: result.StatusOK,
		Metrics: result.Metrics{RequestThroughput: &rps, Succeeded: ptr(80), TTFT: result.Latency{P50: &ttft}},
	}
}

// parse reads lines as benchstat does; a syntax error fails the test.
func parse(t interface{ Fatalf(string, ...any) }, text string) (results []*benchfmt.Result, units benchfmt.UnitMetadataMap) {
	r := benchfmt.NewReader(strings.NewReader(text), "f")
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			results = append(results, rec.Clone())
		case *benchfmt.SyntaxError:
			t.Fatalf("benchstat does not read it: %v in\n%s", rec, text)
		}
	}
	if err := r.Err(); err != nil {
		t.Fatalf("%v", err)
	}
	return results, r.Units()
}

func TestBenchstatReadsIt(t *testing.T) {
	row := result.Row{Framework: "vllm", CandidateID: "vllm 0", Model: "Qwen/Qwen3-32B", Status: result.StatusOK, Workload: result.Workload{Scenario: "chat"}, Hardware: result.Hardware{GPUModel: "H100", GPUCount: ptr(2)}}
	row.Points = []result.Point{point(0, 3.9, 110), point(1, 3.8, 112), point(2, 1, 500), {Status: result.StatusFailed, FailureReason: "the server\ndied"}}
	row.Points[2].Invalid = "the client was late"
	other := row
	other.Model, other.Points = "another", nil
	other.Metrics = point(0, 2, 90).Metrics
	var b bytes.Buffer
	lines, err := WriteBenchfmt(&b, []result.Row{row, other, {CandidateID: "x", Status: result.StatusSkipped}})
	if err != nil || lines != 3 {
		t.Fatalf("%d lines, %v\n%s", lines, err, b.String())
	}
	results, units := parse(t, b.String())
	if len(results) != 3 {
		t.Fatalf("benchstat sees %d results in\n%s", len(results), b.String())
	}
	for i, want := range []struct {
		name, model string
		rps, ttft   float64
	}{
		{"Serve/engine=vllm/candidate=vllm_0/scenario=chat/rate=4", "Qwen/Qwen3-32B", 3.9, 110},
		{"Serve/engine=vllm/candidate=vllm_0/scenario=chat/rate=4", "Qwen/Qwen3-32B", 3.8, 112},
		{"Serve/engine=vllm/candidate=vllm_0/scenario=chat/load=max", "another", 2, 90},
	} {
		r := results[i]
		rps, _ := r.Value("req/s")
		ttft, _ := r.Value("p50-ttft-ms")
		if string(r.Name.Full()) != want.name || r.GetConfig("model") != want.model || rps != want.rps || ttft != want.ttft || r.Iters != 80 {
			t.Errorf("result %d: %s of %s, %v req/s, %v ms, %d", i, r.Name, r.GetConfig("model"), rps, ttft, r.Iters)
		}
	}
	if units.GetBetter("req/s") != 1 || units.GetBetter("p50-ttft-ms") != -1 {
		t.Error("benchstat does not know which way is better")
	}
	for _, said := range []string{"# left out: BenchmarkServe/engine=vllm/candidate=vllm_0/scenario=chat/rate=4: not valid: the client was late", "the server died", "skipped"} {
		if !strings.Contains(b.String(), said) {
			t.Errorf("no line says %q", said)
		}
	}
}

// No text of a row can break the format.
func TestAnyRowIsReadable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string { return rapid.String().Draw(t, name) }
		row := result.Row{Framework: text("engine"), CandidateID: text("candidate"), Model: text("model"), Status: result.StatusOK, FailureReason: text("reason")}
		row.Workload.Scenario, row.Hardware.GPUModel = text("scenario"), text("gpu")
		row.Points = []result.Point{point(0, rapid.Float64().Draw(t, "rps"), 1), {Status: "failed"}}
		row.Points[1].Invalid = text("invalid")
		var b bytes.Buffer
		lines, err := WriteBenchfmt(&b, []result.Row{row})
		if err != nil || lines != 1 {
			t.Fatalf("%d lines, %v", lines, err)
		}
		if results, _ := parse(t, b.String()); len(results) != 1 {
			t.Fatalf("benchstat sees %d results in\n%s", len(results), b.String())
		}
	})
}
