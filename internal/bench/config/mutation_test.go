package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"llmdyno/cookbook"
)

// Each mutation changes one place of a good cookbook file. The file must become
// invalid, with an error at the line of mark that names the key.
var mutations = []struct {
	name, old, new string
	mark           string // text of the line that the error must name
	key            string // key path that the error must name
	says           string // further text of the message
}{
	{"schema version is text", "schema_version: 1", "schema_version: one", "schema_version: one", "schema_version", "wants an integer"},
	{"schema version is a float (V23)", "schema_version: 1", "schema_version: 1.0", "schema_version: 1.0", "schema_version", "the float 1.0"},
	{"schema version is a boolean (V23)", "schema_version: 1", "schema_version: true", "schema_version: true", "schema_version", "the boolean true"},
	{"schema version of the future", "schema_version: 1", "schema_version: 3", "schema_version: 3", "schema_version", "not one of 1, 2"},
	{"no schema version", "schema_version: 1\n", "", "# deepseek-ai", "schema_version", "missing"},
	{"other kind of source", "kind: llm_serving_cookbook", "kind: recipe", "kind: recipe", "source.kind", "llm_serving_cookbook"},
	{"source is null (V14)", "source:\n  kind: llm_serving_cookbook", "source: null\nmodelx:\n  kind: x", "source: null", "source", "wants a mapping"},
	{"model is text (V14)", "model:\n  name: deepseek-ai/DeepSeek-V3.1\n  tokenizer: deepseek-ai/DeepSeek-V3.1\n  precision: auto\n  quantization: model default", "model: deepseek-ai/DeepSeek-V3.1", "model: deepseek-ai", "model", "wants a mapping of keys"},
	{"empty model name", "name: deepseek-ai/DeepSeek-V3.1", "name: ''", "name: ''", "model.name", "must not be empty"},
	{"unknown top-level key", "search:\n", "serch:\n", "serch:", "serch", "did you mean search?"},
	{"unknown key", "num_prompts: 80", "num_prompt: 80", "num_prompt: 80", "dataset.num_prompt", "did you mean num_prompts?"},
	{"duplicate key (V17)", "  num_prompts: 80", "  num_prompts: 80\n  num_prompts: 90", "num_prompts: 90", "dataset.num_prompts", "twice"},
	{"key of schema version 2", "  num_prompts: 80", "  num_prompts: 80\n  seed: 7", "seed: 7", "dataset.seed", "schema_version: 2"},
	{"empty dataset", "input_len: [1000, 8000]", "input_len: []", "input_len: []", "dataset.input_len", "is empty"},
	{"unequal lists", "output_len: [1000, 1000]", "output_len: [1000]", "output_len: [1000]", "dataset.output_len", "1 lengths and dataset.input_len 2"},
	{"negative length (V11)", "input_len: [1000, 8000]", "input_len: [1000, -5]", "input_len: [1000, -5]", "dataset.input_len[1]", "at least 1"},
	{"missing names (V11)", "scenario_names: [chat, summarization]", "scenario_names: [chat]", "scenario_names: [chat]", "dataset.scenario_names", "1 names for 2 scenarios"},
	{"same name twice", "scenario_names: [chat, summarization]", "scenario_names: [chat, chat]", "scenario_names: [chat, chat]", "dataset.scenario_names[1]", "used twice"},
	{"length is a float", "output_len: [1000, 1000]", "output_len: [1000, 1000.5]", "1000.5", "dataset.output_len[1]", "wants an integer"},
	{"unknown dataset kind", "kind: random", "kind: sharegpt", "kind: sharegpt", "dataset.kind", "random, custom"},
	{"SLA is text (V9)", "max_p50_ttft_ms: 1500", "max_p50_ttft_ms: fast", "max_p50_ttft_ms: fast", "benchmark.sla.max_p50_ttft_ms", "wants a number"},
	{"SLA is negative (V9)", "max_p50_tpot_ms: 30", "max_p50_tpot_ms: -1", "max_p50_tpot_ms: -1", "benchmark.sla.max_p50_tpot_ms", "above 0"},
	{"success rate of 99 (V9)", "min_success_rate: 0.99", "min_success_rate: 99", "min_success_rate: 99", "benchmark.sla.min_success_rate", "between 0 and 1"},
	{"deprecated p99 key (V24)", "max_p50_ttft_ms: 1500", "max_p99_ttft_ms: 1500", "max_p99_ttft_ms: 1500", "benchmark.sla.max_p99_ttft_ms", "its successor is max_p50_ttft_ms; renaming it with the same number makes the limit weaker"},
	{"deprecated bare key", "max_p50_tpot_ms: 30", "max_tpot_ms: 30", "max_tpot_ms: 30", "benchmark.sla.max_tpot_ms", "its successor is max_p50_tpot_ms"},
	{"deprecated key at the top beside an empty benchmark.sla (V10)", "  sla:\n    max_p50_ttft_ms: 1500\n    max_p50_tpot_ms: 30\n    min_success_rate: 0.99\n", "  sla: {}\nsla:\n    max_p99_e2e_ms: 9\nbenchmark2:\n", "max_p99_e2e_ms: 9", "sla.max_p99_e2e_ms", "successor"},
	{"NaN", "lower: 0.25", "lower: .nan", "lower: .nan", "benchmark.qps.lower", "not a finite number"},
	{"infinite rate", "upper: 4.0", "upper: .inf", "upper: .inf", "benchmark.qps.upper", "not a finite number"},
	{"empty rate range", "lower: 0.25", "lower: 9.0", "lower: 9.0", "benchmark.qps.lower", "above benchmark.qps.upper"},
	{"concurrency of zero", "max_concurrency: [null, 4, 8]", "max_concurrency: [0]", "max_concurrency: [0]", "benchmark.max_concurrency[0]", "at least 1"},
	{"benchmark is a list (V16)", "  backend: openai-compatible\n", "  backend: [1]\n", "backend: [1]", "benchmark.backend", "a list"},
	{"limit of zero", "max_candidates_per_framework: 8", "max_candidates_per_framework: 0", "max_candidates_per_framework: 0", "search.max_candidates_per_framework", "at least 1"},
	{"limit is a boolean (V23)", "max_candidates_per_framework: 8", "max_candidates_per_framework: true", "max_candidates_per_framework: true", "search.max_candidates_per_framework", "the boolean true"},
	{"unknown engine (V12)", "  vllm:\n", "  lmdeploy:\n", "lmdeploy:", "frameworks.lmdeploy", "unknown engine"},
	{"section is null (V14)", "  tokenspeed:\n    enabled: true", "  tokenspeed: null\n  wordy:\n    enabled: false", "tokenspeed: null", "frameworks.tokenspeed", "wants a mapping"},
	{"enabled is text (V13)", "    enabled: true", "    enabled: \"false\"", "enabled: \"false\"", "frameworks.sglang.enabled", "true or false"},
	{"key is a boolean (V14)", "    enabled: true", "    on: true", "on: true", "frameworks.sglang.on", "reads the key on as the boolean true"},
	{"empty command (V16)", "server_command: vllm serve", "server_command: \"\"", "server_command: \"\"", "frameworks.vllm.server_command", "must not be empty"},
	{"open quote (V14)", "server_command: vllm serve", "server_command: vllm 'serve", "server_command: vllm 'serve", "frameworks.vllm.server_command", "not closed"},
	{"backend trt", "backend: pytorch", "backend: trt", "backend: trt", "frameworks.tensorrt_llm.base_server_flags.backend", "must be pytorch"},
	{"backend in the command (V22)", "server_command: trtllm-serve serve", "server_command: trtllm-serve serve --backend trt", "--backend trt", "frameworks.tensorrt_llm.server_command", "pytorch only"},
	{"backend searched", "      max_batch_size: [32, 48, 64]", "      backend: [pytorch]\n      max_batch_size: [32, 48, 64]", "backend: [pytorch]", "frameworks.tensorrt_llm.search_space.backend", "must not be searched"},
	{"backend policy", "backend_policy: fixed_pytorch", "backend_policy: free", "backend_policy: free", "frameworks.tensorrt_llm.backend_policy", "fixed_pytorch"},
	{"unknown flag", "      block_size: [16]", "      block_sise: [16]", "block_sise: [16]", "frameworks.vllm.search_space.block_sise", "did you mean block_size?"},
	{"flag that upstream does not know (V18)", "      schedule_policy: lpm", "      schedule_policy: lpm\n      dp_size: 1", "dp_size: 1", "frameworks.sglang.base_server_flags.dp_size", "--help-dir"},
	{"short context", "max_seq_len: 12288", "max_seq_len: 8999", "max_seq_len: 8999", "frameworks.tensorrt_llm.base_server_flags.max_seq_len", "needs 9000"},
	{"short context in the search", "max_seq_len: [12288, 16384]", "max_seq_len: [12288, 4096]", "max_seq_len: [12288, 4096]", "frameworks.tensorrt_llm.search_space.max_seq_len[1]", "needs 9000"},
	{"context absent", "      max_seq_len: 12288\n", "", "base_server_flags:", "frameworks.tensorrt_llm.base_server_flags.max_seq_len", "missing"},
	{"context is a float (V23)", "      max_model_len: 12288", "      max_model_len: 12288.9", "max_model_len: 12288.9", "frameworks.vllm.base_server_flags.max_model_len", "takes an integer"},
	{"flag of the wrong type", "      tp_size: 8\n      model_path", "      tp_size: eight\n      model_path", "tp_size: eight", "frameworks.sglang.base_server_flags.tp_size", "takes an integer"},
	{"switch with a value", "enable_chunked_prefill: true", "enable_chunked_prefill: 1", "enable_chunked_prefill: 1", "frameworks.vllm.base_server_flags.enable_chunked_prefill", "takes no value"},
	{"memory share of nine (V11)", "gpu_memory_utilization: 0.9", "gpu_memory_utilization: 9", "gpu_memory_utilization: 9", "frameworks.vllm.base_server_flags.gpu_memory_utilization", "share of GPU memory"},
	{"more GPUs than there are (V11)", "      tp_size: 8\n      model_path", "      tp_size: 64\n      model_path", "tp_size: 64", "frameworks.sglang.base_server_flags.tp_size", "need 64 GPUs"},
	{"other model (V8)", "model_path: deepseek-ai/DeepSeek-V3.1", "model_path: deepseek-ai/DeepSeek-V3", "model_path: deepseek-ai/DeepSeek-V3", "frameworks.sglang.base_server_flags.model_path", "model.name"},
	{"no model (V8)", "      model_path: deepseek-ai/DeepSeek-V3.1\n", "", "base_server_flags:", "frameworks.sglang.base_server_flags.model_path", "no model is loaded"},
	{"search space is a list", "    search_space:\n      max_num_seqs: [32, 48, 64]\n      max_num_batched_tokens: [8192, 16384]\n      max_num_partial_prefills: [1]\n      max_long_partial_prefills: [1]\n      long_prefill_token_threshold: [0, 4096]\n      enable_prefix_caching: [true]\n      block_size: [16]\n", "    search_space: [1]\n", "search_space: [1]", "frameworks.vllm.search_space", "wants a mapping"},
	{"tab", "  kind: random", "\tkind: random", "\tkind: random", "", "a tab stands in the indentation"},
	{"open bracket", "input_len: [1000, 8000]", "input_len: [1000, 8000", "", "", "not valid YAML"},
	{"unknown alias", "num_prompts: 80", "num_prompts: *n", "", "", "not valid YAML"},
	{"second document", "search:\n", "---\nsearch:\n", "---", "", "a second document"},
}

func TestMutations(t *testing.T) {
	data, err := cookbook.Get("deepseek-v3.1")
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	if len(mutations) < 25 {
		t.Fatalf("%d mutations", len(mutations))
	}
	dir := t.TempDir()
	for i, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			if !strings.Contains(good, m.old) {
				t.Fatalf("the file has no %q to mutate", m.old)
			}
			bad := strings.Replace(good, m.old, m.new, 1)
			path := filepath.Join(dir, fmt.Sprintf("m%02d.yaml", i))
			if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			report := ValidatePaths([]string{path}, fixtureSet(), Options{})
			if report.Valid() || len(report.Files) != 1 {
				t.Fatalf("the mutated file is valid")
			}
			for _, d := range report.Files[0].Errors {
				if d.Path == m.key && strings.Contains(d.Message, m.says) && onLine(bad, d.Line, m.mark) && strings.HasPrefix(d.Message, m.key) {
					return
				}
			}
			t.Errorf("no error at %q for key %q that says %q; got:\n%v", m.mark, m.key, m.says, lines(report.Files[0].Errors))
		})
	}
}

func onLine(text string, line int, mark string) bool {
	all := strings.Split(text, "\n")
	return line >= 1 && line <= len(all) && strings.Contains(all[line-1], mark)
}

func lines(ds []Diagnostic) string {
	var b strings.Builder
	for _, d := range ds {
		fmt.Fprintf(&b, "  %d:%d %s\n", d.Line, d.Column, d.Message)
	}
	return b.String()
}

func TestAllErrorsAtOnceInFileOrder(t *testing.T) {
	data, _ := cookbook.Get("deepseek-v3.1")
	text := string(data)
	for _, m := range []string{"unknown flag", "SLA is text (V9)", "negative length (V11)", "more GPUs than there are (V11)", "limit is a boolean (V23)", "unknown key"} {
		for _, x := range mutations {
			if x.name == m {
				text = strings.Replace(text, x.old, x.new, 1)
			}
		}
	}
	_, ds := judge(t, text, Options{})
	errs := pick(ds, SeverityError)
	if len(errs) != 6 {
		t.Fatalf("want the six errors, got\n%s", lines(errs))
	}
	for i := 1; i < len(errs); i++ {
		if errs[i].Line < errs[i-1].Line {
			t.Errorf("not in file order:\n%s", lines(errs))
		}
	}
	for range 20 { // V27
		_, again := judge(t, text, Options{})
		if lines(again) != lines(ds) {
			t.Fatalf("another order of the same diagnostics:\n%s", lines(again))
		}
	}
}
