package run

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine/all"
	"llmdyno/internal/load/workload"
)

const workloads = `schema_version: 2
model: {name: org/m}
dataset: {num_prompts: 12, seed: 3}
scenarios:
  - name: talk
    kind: conversation
    input: {kind: uniform, min: 20, max: 4000}
    output_len: 900
    turns: {mean: 3}
    think_ms: {mean: 500}
  - name: trace
    kind: mooncake
    path: trace.jsonl
benchmark:
  sla: {max_p99_ttft_ms: 100}
  max_concurrency: [null, 4]
  arrivals: ARRIVALS
search: {max_candidates_per_framework: 1}
frameworks:
  llamacpp:
    enabled: true
    server_command: llama-server
    base_server_flags: {ctx_size: 100000}
    search_space: {}
`

func workloadPlan(t *testing.T, arrivals string, o Options) (*Plan, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"c.yaml":      strings.Replace(workloads, "ARRIVALS", arrivals, 1),
		"trace.jsonl": "{\"timestamp\":0,\"input_length\":600,\"output_length\":5,\"hash_ids\":[1,2]}\n{\"timestamp\":100,\"input_length\":600,\"output_length\":5,\"hash_ids\":[1,3]}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := loadFile(t, filepath.Join(dir, "c.yaml"))
	if ds := config.Check(f, all.Engines(), config.Options{}); config.HasErrors(ds) {
		t.Fatal(ds)
	}
	p, err := NewPlan(f, all.Engines(), o)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var again Plan
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p.Scenarios, again.Scenarios); d != "" {
		t.Errorf("the scenarios of a plan that is read back: %s", d)
	}
	return &again, dir
}

// A plan that is read back still makes the workload of the file, says what it
// is, and has one load point for each cap where arrivals have rates of their own.
func TestPlanKeepsTheWorkload(t *testing.T) {
	p, dir := workloadPlan(t, "{kind: trace, time_scale: 2}", Options{})
	spec, err := p.workloadSpec(p.Scenarios[0], 9)
	if err != nil {
		t.Fatal(err)
	}
	want := workload.Spec{
		Kind: "conversation", NumPrompts: 12, OutputLen: 900, Seed: 9, Input: workload.Lengths{Kind: "uniform", Min: 20, Max: 4000},
		Turns: workload.Fixed(3), ThinkMs: workload.Fixed(500),
	}
	if d := cmp.Diff(want, spec); d != "" {
		t.Error(d)
	}
	if !strings.Contains(p.Scenarios[0].Description, "every whole number from 20 to 4000 as likely") {
		t.Errorf("described as %q", p.Scenarios[0].Description)
	}
	if d := cmp.Diff([]search.Load{{}, {MaxConcurrency: 4}}, p.Load.Loads); d != "" {
		t.Error(d)
	}
	if got := folder("c-00", p.Scenarios[1], p.Load.Loads[1], p.Load.Arrivals); got != "trials/c-00/trace/trace-concurrency-4" {
		t.Errorf("folder %s", got)
	}
	trace, err := p.workloadSpec(p.Scenarios[1], 9)
	if err != nil || trace.Path != filepath.Join(dir, "trace.jsonl") {
		t.Fatal(trace.Path, err)
	}
	reqs, err := trace.Requests()
	if err != nil {
		t.Fatal(err)
	}
	a, err := p.process(p.Load.Loads[0], 7, reqs)
	if err != nil || a.Seed != 7 || len(a.Offsets) != 12 || a.Schedule(2)[1] != 200*time.Millisecond {
		t.Errorf("%+v, %v", a, err)
	}
	talk, err := spec.Requests()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.process(p.Load.Loads[0], 7, talk); err == nil || !strings.Contains(err.Error(), "the dataset has no timestamps") {
		t.Errorf("a trace without instants: %v", err)
	}
	if turns, think := chain(talk); turns != 3 || think != time.Second {
		t.Errorf("chain of %d, %v", turns, think)
	}
	// Four conversations of three turns, all at once: 3 × 10 s and two thoughts.
	if got := longest(workload.Arrivals{}, talk, 0, 10*time.Second); got != 31*time.Second {
		t.Errorf("bound %v", got)
	}
}

func TestPlanKeepsTheCourseOfArrivals(t *testing.T) {
	p, _ := workloadPlan(t, "{kind: ramp, from_rps: 1, to_rps: 5, over_s: 2}", Options{})
	a, err := p.process(p.Load.Loads[0], 7, nil)
	if want := (workload.Arrivals{Kind: "ramp", FromRPS: 1, RateRPS: 5, Over: 2 * time.Second, Seed: 7}); err != nil || !cmp.Equal(a, want) {
		t.Errorf("%+v, %v", a, err)
	}
	if got := describe(p.Load.Loads[1], p.Load.Arrivals); got != "arrivals by ramp, concurrency 4" {
		t.Errorf("%q", got)
	}
	p, dir := workloadPlan(t, "{kind: trace, path: trace.jsonl}", Options{})
	a, err = p.process(p.Load.Loads[0], 7, nil)
	if err != nil || len(a.Offsets) != 2 || p.Load.ArrivalsPath != filepath.Join(dir, "trace.jsonl") {
		t.Errorf("%+v, %v", a, err)
	}
}

// A flow check stays small, whatever the distributions.
func TestSmokeCutsDistributions(t *testing.T) {
	p, _ := workloadPlan(t, "{kind: trace}", Options{Smoke: true, Simulated: "h100"})
	spec, err := p.workloadSpec(p.Scenarios[0], 1)
	if n, ok := spec.Longest(); err != nil || !ok || n > 2*(256+64) {
		t.Errorf("longest %d, %v", n, ok)
	}
	a, err := p.process(p.Load.Loads[0], 1, nil)
	if err != nil || a.Open() || a.Timed() {
		t.Errorf("%+v, %v", a, err)
	}
}
