package run

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine/all"
)

func costsOf(t *testing.T, name string) map[search.Strategy]Estimate {
	t.Helper()
	costs, words, err := Estimates(loadFile(t, name), all.Engines(), Options{})
	if err != nil || len(words) == 0 || !strings.Contains(strings.Join(words, " "), "120 s to be ready") {
		t.Fatalf("%v, assumed %q", err, words)
	}
	out := map[search.Strategy]Estimate{}
	for _, e := range costs {
		if e.WallS <= 0 || e.GPUHours <= 0 || e.LoadPoints == 0 || e.Starts == 0 || e.Candidates == 0 {
			t.Errorf("no cost: %+v", e)
		}
		out[e.Strategy] = e
	}
	return out
}

// Each strategy of a file of version 2 has its cost; a race costs less than
// measuring every candidate in full.
func TestEstimates(t *testing.T) {
	costs := costsOf(t, "../../../examples/search.yaml")
	if len(costs) != len(search.Strategies) || !costs[search.StrategyProduct].Chosen || costs[search.StrategyRace].Chosen {
		t.Errorf("%+v", costs)
	}
	if costs[search.StrategyRace].WallS >= costs[search.StrategyProduct].WallS {
		t.Errorf("a race costs %+v, everything in full %+v", costs[search.StrategyRace], costs[search.StrategyProduct])
	}
	v1 := costsOf(t, "cookbook:qwen3-coder-next")
	if _, only := v1[search.StrategyProduct]; len(v1) != 1 || !only {
		t.Errorf("schema_version 1 has one strategy: %+v", v1)
	}
	if e := v1[search.StrategyProduct]; e.GPUHours < 1.99*e.WallS/3600 {
		t.Errorf("two GPUs each: %+v", e)
	}
}

// A search for the highest rate has as many requests as its limits want, unless
// the file says how many; then the plan says what more would bring.
func TestRequestsOfARateSearch(t *testing.T) {
	const text = `schema_version: 2
model: {name: meta-llama/Llama-3.1-8B-Instruct}
hardware: {gpu_count: 1, gpu_model: h100}
%s
scenarios:
  - {name: median, input_len: 100, output_len: 10}
  - {name: tail, input_len: 100, output_len: 10, sla: {max_p95_ttft_ms: 500}}
  - {name: stated, input_len: 100, output_len: 10, num_prompts: 300, sla: {max_p99_ttft_ms: 500}}
benchmark: {qps: {lower: 1, upper: 8}, sla: {max_p50_tpot_ms: 50, min_success_rate: 0.99}}
search: {rate_search: %s, max_candidates_per_framework: 1}
frameworks:
  vllm:
    enabled: true
    base_server_flags: {tensor_parallel_size: 1, max_model_len: 4096}
`
	for _, c := range []struct {
		dataset, search string
		smoke           bool
		want            []int
		words           int // scenarios of which the plan says that they have few
	}{
		{"", "adaptive", false, []int{1000, 3000, 300}, 1},
		{"dataset: {num_prompts: 200}", "adaptive", false, []int{200, 200, 300}, 3},
		{"", "range", false, []int{80, 80, 300}, 0},
		{"", "adaptive", true, []int{8, 8, 8}, 0},
	} {
		f, diags := config.Parse("x.yaml", []byte(fmt.Sprintf(text, c.dataset, c.search)))
		if config.HasErrors(diags) {
			t.Fatal(diags)
		}
		few := slices.ContainsFunc(config.Check(f, all.Engines(), config.Options{}), func(d config.Diagnostic) bool { return strings.Contains(d.Message, "with 80 requests") })
		if few != (c.search == "range") {
			t.Errorf("%+v: told of 80 requests: %v", c, few)
		}
		p, err := NewPlan(f, all.Engines(), Options{Smoke: c.smoke})
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, s := range p.Scenarios {
			got = append(got, s.NumPrompts)
		}
		words := strings.Count(strings.Join(p.assumptions(), " "), "would bring the highest rate within 5 %")
		if !slices.Equal(got, c.want) || words != c.words {
			t.Errorf("%+v: %v requests a load point, %d remarks: %q", c, got, words, p.assumptions())
		}
	}
}

// A pool leaves out what cannot start and what cannot differ, and says so; a
// bounded list does not.
func TestPoolIsPruned(t *testing.T) {
	const text = `schema_version: 2
model: {name: meta-llama/Llama-3.1-8B-Instruct}
hardware: {gpu_count: 1, gpu_model: h100}
scenarios: [{name: s, input_len: 100, output_len: 10}]
benchmark: {max_concurrency: [8], qps: {lower: 1, upper: 8}}
search: {strategy: covering, max_candidates_per_framework: 4}
frameworks:
  vllm:
    enabled: true
    base_server_flags: {tensor_parallel_size: 1, max_model_len: 4096}
    search_space: {max_num_seqs: [4, 16, 64], max_num_batched_tokens: [4096, 8192], tensor_parallel_size: [1, 2]}
`
	f, diags := config.Parse("x.yaml", []byte(text))
	if config.HasErrors(diags) {
		t.Fatal(diags)
	}
	p, err := NewPlan(f, all.Engines(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Strategy != search.StrategyCovering || p.MaxCandidates != 4 || p.Load.Ladder == nil {
		t.Errorf("plan: strategy %q, at most %d, ladder %+v", p.Strategy, p.MaxCandidates, p.Load.Ladder)
	}
	for _, code := range []string{"cannot-start", "cannot-differ"} {
		if !slices.ContainsFunc(p.Warnings, func(w config.Warning) bool { return w.Code == code }) {
			t.Errorf("no warning %s in %+v", code, p.Warnings)
		}
	}
	if n := len(p.Candidates); n != 5 { // the baseline, then 4 or "does not bind" with each number of tokens
		t.Errorf("%d candidates: %+v", n, p.Candidates)
	}
}
