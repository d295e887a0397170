package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/load/workload"
)

// workloadFile is a good file with one scenario and with what stands under
// benchmark.
func workloadFile(scenario, benchmark string) string {
	return `schema_version: 2
model: {name: org/m}
dataset: {num_prompts: 7, seed: 3}
scenarios:
  - name: s
` + indentBy(4, scenario) + `benchmark:
  sla: {max_p99_ttft_ms: 100}
` + indentBy(2, benchmark) + `search: {max_candidates_per_framework: 1}
frameworks:
  vllm:
    enabled: true
    server_command: vllm serve
    base_server_flags: {max_model_len: 4096}
    search_space: {}
`
}

func indentBy(n int, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.Repeat(" ", n) + strings.TrimSuffix(line, "\n") + "\n")
	}
	return b.String()
}

var workloadFiles = map[string]string{
	"data.jsonl":  `{"messages":[{"role":"user","content":"hello there"},{"role":"assistant","content":"hi"}],"timestamp":5}` + "\n",
	"share.json":  `[{"conversations":[{"from":"human","value":"What is the tallest mountain?"},{"from":"gpt","value":"It is Mount Everest, of course."}]}]`,
	"trace.jsonl": "{\"timestamp\":0,\"input_length\":600,\"output_length\":5,\"hash_ids\":[1,2]}\n{\"timestamp\":100,\"input_length\":600,\"output_length\":5,\"hash_ids\":[1,3]}\n",
	"list.jsonl":  "{\"schema\":\"llmdyno.requests\",\"schema_version\":1}\n{\"prompt\":\"a\"}\n",
	"lens.txt":    "10\n20\n",
}

func judgeWorkload(t *testing.T, scenario, benchmark string) (*File, []Diagnostic) {
	t.Helper()
	files := map[string]string{"c.yaml": workloadFile(scenario, benchmark)}
	for name, text := range workloadFiles {
		files[name] = text
	}
	path := filepath.Join(writeFiles(t, files), "c.yaml")
	f, _ := Load(path)
	return f, ValidatePaths([]string{path}, fixtureSet(), Options{}).Files[0].Errors
}

// Each kind of a scenario reaches the load generator as it was written.
func TestScenarioKinds(t *testing.T) {
	half := 0.5
	no := false
	for text, want := range map[string]workload.Spec{
		"input_len: 9\noutput_len: 4\ncompat: sglang\nnonce: false": {Kind: "random", InputLen: 9, OutputLen: 4, Compat: "sglang", Nonce: &no},
		"input: {kind: lognormal, mean: 100, stddev: 50, max: 500}\noutput: {mean: 64, range_ratio: 0.25}": {
			Kind: "random", Input: workload.Lengths{Kind: "lognormal", Mean: 100, Stddev: 50, Max: 500}, Output: workload.Lengths{Mean: 64, Range: 0.25}},
		"input: {kind: empirical, path: lens.txt}\noutput: {kind: empirical, values: [3, 4]}": {
			Kind: "random", Input: workload.Lengths{Kind: "empirical", Values: []int{10, 20}}, Output: workload.Lengths{Kind: "empirical", Values: []int{3, 4}}},
		"kind: shared_prefix\ninput_len: 9\noutput_len: 4\nprefix: {groups: 3, len: 50, ratio: 0.5}": {
			Kind: "shared_prefix", InputLen: 9, OutputLen: 4, Prefix: workload.Prefix{Groups: 3, Len: 50, Ratio: &half}},
		"kind: conversation\ninput_len: 9\noutput_len: 4\nturns: {kind: uniform, min: 2, max: 4}\nthink_ms: {mean: 500}": {
			Kind: "conversation", InputLen: 9, OutputLen: 4, Turns: workload.Lengths{Kind: "uniform", Min: 2, Max: 4}, ThinkMs: workload.Lengths{Mean: 500}},
		"kind: conversation\npath: data.jsonl":                             {Kind: "conversation", Path: "data.jsonl"},
		"kind: custom\npath: data.jsonl\noutput: {mean: 30}":               {Kind: "custom", Path: "data.jsonl", Output: workload.Lengths{Mean: 30}},
		"kind: sharegpt\npath: share.json\nmin_tokens: 2\nmax_total: 4000": {Kind: "sharegpt", Path: "share.json", MinTokens: 2, MaxTotal: 4000},
		"kind: mooncake\npath: trace.jsonl\nblock_tokens: 512":             {Kind: "mooncake", Path: "trace.jsonl", BlockTokens: 512},
		"kind: requests\npath: list.jsonl":                                 {Kind: "requests", Path: "list.jsonl"},
	} {
		f, errs := judgeWorkload(t, text, "")
		if len(errs) > 0 || f == nil || len(f.Scenarios()) != 1 {
			t.Errorf("%s:\n%s", text, lines(errs))
			continue
		}
		want.NumPrompts, want.Seed = 7, 3
		got := *f.Scenarios()[0].Spec
		if got.Path != "" {
			got.Path = filepath.Base(got.Path)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: -want +got\n%s", text, d)
		}
	}
}

func TestScenarioDefects(t *testing.T) {
	for _, c := range []struct {
		text, says string
		line       int // of the error
	}{
		{"input_len: 9", "scenarios[0].output_len: the key is missing", 5},
		{"input_len: 9\noutput_len: 4\ncompat: vlm", "scenarios[0].compat: vlm is not one of [vllm sglang]; did you mean vllm?", 8},
		{"input_len: 9\noutput_len: 4\ninput: {mean: 5}", "scenarios[0].input: stands beside input_len", 8},
		{"output_len: 4\ninput: {kind: zipf}", "zipf is not one of fixed, uniform", 7},
		{"output_len: 4\ninput: {kind: uniform, min: 5}", "scenarios[0].input: uniform lengths need a max", 7},
		{"output_len: 4\ninput: {kind: uniform, max: 5, mean: 4}", "scenarios[0].input.mean: has no meaning for kind uniform", 7},
		{"output_len: 4\ninput: {mean: 5, range_ratio: 2}", "scenarios[0].input.range_ratio: must be at most 1", 7},
		{"output_len: 4\ninput: {kind: empirical, path: none.txt}", "scenarios[0].input: reading the lengths: open", 7},
		{"output_len: 4\ninput: {kind: normal, mean: 5, sigma: 2}", "scenarios[0].input.sigma: unknown key", 7},
		{"input_len: 9\noutput_len: 4\nprefix: {len: 5}", "scenarios[0].prefix: has no meaning for kind random: it is for kind [shared_prefix]", 8},
		{"input_len: 9\noutput_len: 4\nkind: shared_prefix", "scenarios[0].prefix.len: the key is missing", 5},
		{"input_len: 9\noutput_len: 4\nturns: {mean: 2}", "scenarios[0].turns: has no meaning for kind random", 8},
		{"kind: mooncake\npath: trace.jsonl\ninput_len: 4", "scenarios[0].input_len: has no meaning for kind mooncake", 8},
		{"kind: sharegpt", "scenarios[0].path: the key is missing: kind sharegpt reads its requests from a file", 5},
		{"kind: sharegpt\npath: trace.jsonl", `scenarios[0].path: reading the dataset: workload`, 7},
		{"kind: mooncake\npath: data.jsonl", `expected "input_length" and "output_length"`, 7},
		{"kind: requests\npath: data.jsonl", `schema ""`, 7},
		{"kind: conversation\npath: trace.jsonl", `expected one of "messages"`, 7},
	} {
		_, errs := judgeWorkload(t, c.text, "")
		if len(errs) != 1 || !strings.Contains(errs[0].Message, c.says) || errs[0].Line != c.line {
			t.Errorf("%s: want %q on line %d, got\n%s", c.text, c.says, c.line, lines(errs))
		}
	}
	text := strings.Replace(workloadFile("input_len: 9\noutput_len: 4", ""), "seed: 3", "seed: 3, tokenizer_path: none.json", 1)
	_, ds := judge(t, text, Options{})
	if got := lines(pick(ds, SeverityError)); !strings.Contains(got, "3:") || !strings.Contains(got, "dataset.tokenizer_path: ") {
		t.Errorf("a tokenizer that is not there: %s", got)
	}
}

func TestTimedArrivals(t *testing.T) {
	const scenario = "input_len: 9\noutput_len: 4"
	for text, want := range map[string]workload.Arrivals{
		"arrivals: {kind: ramp, from_rps: 1, to_rps: 9, over_s: 2.5, gaps: gamma, burstiness: 0.5}": {Kind: "ramp", FromRPS: 1, RateRPS: 9, Over: 2500 * time.Millisecond, Gaps: "gamma", Burstiness: 0.5},
		"arrivals: {kind: steps, steps: [{rate_rps: 1, for_s: 2}, {rate_rps: 4, for_s: 1}]}":        {Kind: "steps", Steps: []workload.Step{{RateRPS: 1, For: 2 * time.Second}, {RateRPS: 4, For: time.Second}}},
		"arrivals: {kind: trace, path: trace.jsonl, time_scale: 2}\nloads: [{max_concurrency: 4}]":  {Kind: "trace", TimeScale: 2, Offsets: []time.Duration{0, 100 * time.Millisecond}},
		"arrivals: {kind: trace}": {Kind: "trace"},
	} {
		f, errs := judgeWorkload(t, scenario, text)
		if len(errs) > 0 {
			t.Errorf("%s:\n%s", text, lines(errs))
			continue
		}
		got, err := f.Process()
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v\n%s", text, err, d)
		}
	}
	for text, says := range map[string]string{
		"arrivals: {kind: ramp, to_rps: 9}": "benchmark.arrivals: ramp over 0s",
		"arrivals: {kind: ramp, over_s: 9}": "benchmark.arrivals: ramp to 0",
		"arrivals: {kind: steps}":           "benchmark.arrivals: steps: there is none",
		"arrivals: {kind: steps, steps: [{rate_rps: 1, for_s: 1}, {rate_rps: 0, for_s: 1}]}":    "would never end",
		"arrivals: {kind: steps, steps: [{rate_rps: 1}]}":                                       "step 0 of 1 requests/s for 0s",
		"arrivals: {kind: trace, path: none.jsonl}":                                             "reading the arrivals: open",
		"arrivals: {kind: trace, path: list.jsonl}":                                             `no "timestamp"`,
		"arrivals: {kind: poisson, to_rps: 3}":                                                  "benchmark.arrivals.to_rps: has a meaning for kind [ramp] only",
		"arrivals: {kind: ramp, to_rps: 1, over_s: 1}\nloads: [{rate_rps: 3}]":                  "benchmark.loads[0].rate_rps: arrivals of kind ramp have rates of their own",
		"arrivals: {kind: ramp, to_rps: 1, over_s: 1}\nqps: {lower: 1, upper: 2, tolerance: 1}": "benchmark.qps: arrivals of kind ramp",
		"arrivals: {kind: trace, time_scale: 0}":                                                "must be above 0",
	} {
		_, errs := judgeWorkload(t, scenario, text)
		if len(errs) != 1 || !strings.Contains(errs[0].Message, says) {
			t.Errorf("%s: want %q, got\n%s", text, says, lines(errs))
		}
	}
}

// The longest request that a distribution can draw must fit into the server.
func TestDistributionsMustFit(t *testing.T) {
	_, errs := judgeWorkload(t, "input: {kind: uniform, max: 4000}\noutput: {mean: 200}", "")
	if len(errs) != 1 || !strings.Contains(errs[0].Message, "4200") {
		t.Errorf("%s", lines(errs))
	}
}

// Every example of the page about workloads is a scenario that is free of
// errors, and the page names every kind, distribution and meaning.
func TestWorkloadsPage(t *testing.T) {
	data, err := os.ReadFile("../../../docs/workloads.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	examples := 0
	for _, block := range strings.Split(page, "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		examples++
		if _, errs := judgeWorkload(t, text, ""); len(errs) > 0 {
			t.Errorf("%s\n%s", text, lines(errs))
		}
	}
	if examples < 7 {
		t.Errorf("%d examples", examples)
	}
	for _, f := range schemaFields(reflect.TypeFor[Arrivals]()) {
		if f.name != "burstiness" && !strings.Contains(page, "`"+f.name+"`") {
			t.Errorf("the page lacks the key %s", f.name)
		}
		for _, word := range f.enum {
			if !strings.Contains(page, "`"+word+"`") {
				t.Errorf("the page lacks %s", word)
			}
		}
	}
	for _, t1 := range []reflect.Type{reflect.TypeFor[Scenario](), reflect.TypeFor[LengthSpec](), reflect.TypeFor[PrefixSpec]()} {
		for _, f := range schemaFields(t1) {
			for _, word := range append(f.enum, f.name) {
				if word != "name" && word != "sla" && !strings.Contains(page, word) {
					t.Errorf("the page lacks %s", word)
				}
			}
		}
	}
	for _, c := range compatWords() {
		if !strings.Contains(page, "`"+c+"`") {
			t.Errorf("the page lacks %s", c)
		}
	}
}
