package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"llmdyno/internal/engine"
)

// base is a small good file; the tests below put a section in.
const base = `schema_version: VERSION
source:
  kind: llm_serving_cookbook
model:
  name: org/m
hardware:
  gpu_count: 8
dataset:
  input_len: [1000]
  output_len: [1000]
benchmark:
  sla:
    max_p50_ttft_ms: 1500
search:
  max_candidates_per_framework: LIMIT
frameworks:
  vllm:
    enabled: true
    server_command: vllm serve
    base_server_flags:
      max_model_len: 4096
BASE    search_space:
SPACE`

func smallFile(version, limit, baseFlags, space string) string {
	indent := func(s string) string {
		var b strings.Builder
		for line := range strings.Lines(s) {
			b.WriteString("      " + strings.TrimSuffix(line, "\n") + "\n")
		}
		return b.String()
	}
	if space == "" {
		return strings.NewReplacer("VERSION", version, "LIMIT", limit, "BASE", indent(baseFlags), "search_space:\nSPACE", "search_space: {}\n").Replace(base)
	}
	return strings.NewReplacer("VERSION", version, "LIMIT", limit, "BASE", indent(baseFlags), "SPACE", indent(space)).Replace(base)
}

// plan1 and plan2 are the commands of the same section in both versions,
// without the common beginning.
func planOf(t *testing.T, version, limit, baseFlags, space string) (commands []string, codes string, ds []Diagnostic) {
	t.Helper()
	f, ds := judge(t, smallFile(version, limit, baseFlags, space), Options{})
	if f == nil {
		t.Fatal(lines(ds))
	}
	p := Plan(f, fixtureSet(), Options{})
	for _, c := range p.Candidates {
		commands = append(commands, strings.TrimSpace(strings.TrimPrefix(c.Command, "vllm serve org/m --max-model-len 4096")))
	}
	for _, w := range p.Warnings {
		codes += w.Code + " "
	}
	return commands, codes, ds
}

// The defects V1 to V7 of upstream's generation: schema_version 1 keeps the
// behaviour and warns, schema_version 2 repairs it.
func TestGenerationDefects(t *testing.T) {
	for _, c := range []struct {
		id, limit, base, space string
		want1, want2           string // commands, " | " between them
		code                   string // warning code of version 1, or text of a diagnostic
	}{
		{"V1 silent cut", "2", "", "max_num_seqs: [1, 2, 3]", " | --max-num-seqs 1", " | --max-num-seqs 1", "limit-cuts-space"},
		{"V2 limit 1 gives two", "1", "", "max_num_seqs: [1, 2]", " | --max-num-seqs 1", "", "limit-exceeded"},
		{"V3 empty axis", "8", "", "max_num_seqs: [1, 2]\nblock_size: []", "", "", "empty-axis"},
		{"V4 same command twice", "8", "", "block_size: [null, 16]", " |  | --block-size 16", " | --block-size 16", "same-command"},
		{"V5 true, 1 and 1.0 merged", "8", "", "max_num_seqs: [1, 1.0]", " | --max-num-seqs 1", " | --max-num-seqs 1 | --max-num-seqs 1.0", "values-merged"},
		{"V6 false leaves the default on", "8", "enable_prefix_caching: false", "", "", "", "--no-enable-prefix-caching"},
		{"V7 list as Python text", "8", "compilation_config: {a: true}", "", "--compilation-config '{'\"'\"'a'\"'\"': True}'", `--compilation-config '{"a":true}'`, "Python text"},
	} {
		t.Run(c.id, func(t *testing.T) {
			got, codes, ds := planOf(t, "1", c.limit, c.base, c.space)
			if s := strings.Join(got, " | "); s != c.want1 {
				t.Errorf("schema_version 1: %q, want %q", s, c.want1)
			}
			// compilation_config is unknown to upstream, so the text is asked of version 1 as well.
			if !strings.Contains(codes+lines(ds), c.code) && c.id != "V7 list as Python text" {
				t.Errorf("no %q in %s\n%s", c.code, codes, lines(ds))
			}
			got, codes, _ = planOf(t, "2", c.limit, c.base, c.space)
			want2 := c.want2
			if c.id == "V6 false leaves the default on" {
				want2 = "--no-enable-prefix-caching"
			}
			if s := strings.Join(got, " | "); s != want2 {
				t.Errorf("schema_version 2: %q, want %q (%s)", s, want2, codes)
			}
		})
	}
}

func TestWarningNamesWhatTheLimitCutsOff(t *testing.T) {
	f, _ := judge(t, smallFile("1", "4", "", "block_size: [16, 32]\nmax_num_seqs: [1, 2, 3, 4]"), Options{})
	_, ws := f.Candidates(fixtureSet(), Options{})
	if len(ws) != 1 || !strings.Contains(ws[0].Message, "4 of 9 distinct candidates are tried; never tried: block_size 32; max_num_seqs 4") {
		t.Errorf("got %v", ws)
	}
}

func TestListsInVersionOneWarn(t *testing.T) {
	_, ds := judge(t, smallFile("1", "8", "dtype: [1, 2]", ""), Options{})
	if !strings.Contains(lines(pick(ds, SeverityWarning)), "Python text, [1, 2]") { // V7
		t.Errorf("got\n%s", lines(ds))
	}
}

// findings checks one file for an error (or none) and a warning.
func TestAcceptedWithAWarning(t *testing.T) {
	good := smallFile("1", "8", "", "")
	for _, c := range []struct{ name, text, says string }{
		{"V15 engine absent", good, "sglang has no section and is left out"},
		{"V9 no limit at all", strings.Replace(good, "    max_p50_ttft_ms: 1500", "    {}", 1), "no limit is set"},
		{"two places for limits", strings.Replace(good, "search:", "sla: {max_p50_tpot_ms: 30}\nsearch:", 1), "benchmark.sla counts"},
		{"D2 a limit that cannot bind", smallFile("1", "8", "", "max_num_seqs: [2, 8, 64]") + "", "8, 64 cannot bind while at most 8 requests"},
		{"D6 a dead key", smallFile("1", "8", "", "max_num_partial_prefills: [1]"), "varying this flag changes nothing"},
		{"D7 one failure breaks the limit", strings.Replace(good, "    max_p50_ttft_ms: 1500", "    min_success_rate: 0.99", 1), "a single failure is a rate of 0.9875"},
		{"D8 single values", smallFile("1", "8", "", "block_size: [16]\nmax_num_seqs: [1, 2]"), "keys with a single value (block_size)"},
		{"margin", strings.Replace(good, "max_model_len: 4096", "max_model_len: 2000", 1), "leave 0 for a begin token"},
		{"enum", smallFile("1", "8", "kv_cache_dtype: fp9", ""), "did you mean fp8?"},
		{"listed twice", smallFile("1", "8", "", "max_num_seqs: [1, 1]"), "listed twice"},
		{"trap", smallFile("1", "8", "enable_chunked_prefill: yes", ""), "reads the plain word yes as true"},
		{"octal", smallFile("1", "8", "port: 0100", ""), "octal"},
		{"idle GPUs", good, "uses 1 of 8 GPUs"},
		{"fatal rule broken by a searched value only", smallFile("1", "8", "", "max_num_batched_tokens: [1]"), "candidate 1: one token a step is not enough (rule batch-tokens)"},
		{"strategy", strings.Replace(good, "search:", "search:\n  candidate_generation: pairwise", 1), "is not read"},
		{"no engine", strings.Replace(good, "enabled: true", "enabled: false", 1), "no engine is enabled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasPrefix(c.name, "D2") {
				c.text = strings.Replace(c.text, "benchmark:", "benchmark:\n  max_concurrency: [null, 4, 8]", 1)
			}
			_, ds := judge(t, c.text, Options{})
			if HasErrors(ds) {
				t.Errorf("not valid:\n%s", lines(pick(ds, SeverityError)))
			}
			if !strings.Contains(lines(pick(ds, SeverityWarning)), c.says) {
				t.Errorf("no warning %q in\n%s", c.says, lines(ds))
			}
		})
	}
}

func TestFairness(t *testing.T) {
	text := `schema_version: 1
source: {kind: llm_serving_cookbook}
model: {name: m}
dataset: {input_len: [10], output_len: [10]}
search: {max_candidates_per_framework: 8}
frameworks:
  sglang:
    enabled: true
    server_command: python -m sglang.launch_server
    base_server_flags: {model_path: m, kv_cache_dtype: fp8_e4m3, mem_fraction_static: 0.82}
    search_space: {ep_size: [1, 2], chunked_prefill_size: [4096]}
  vllm:
    enabled: true
    server_command: vllm serve
    base_server_flags: {max_model_len: 4096, gpu_memory_utilization: 0.9}
    search_space: {max_num_batched_tokens: [8192]}
`
	_, ds := judge(t, text, Options{})
	for _, says := range []string{
		"the expert-parallel size is searched for sglang and not for vllm",    // D3
		"not given the same type of the KV cache: sglang fp8_e4m3; vllm auto", // D4
		"not given the same tokens of a prefill step: sglang 4096; vllm 8192", // D5
		"not given the same share of GPU memory: sglang 0.82; vllm 0.9",       // D5
	} {
		if !strings.Contains(lines(ds), says) {
			t.Errorf("no %q in\n%s", says, lines(ds))
		}
	}
}

func TestErrorsOfVersionTwo(t *testing.T) {
	good := smallFile("2", "8", "", "")
	for _, c := range []struct{ name, old, new, says string }{
		{"other strategy", "search:", "search:\n  strategy: guessing", "guessing is not one of bounded_product"},
		{"other backend", "search:", "launch: {backend: docker}\nsearch:", "docker is not one of local"},
		{"bare limit", "max_p50_ttft_ms", "max_ttft_ms", "names its percentile"},
		{"closed loop with a rate", "  sla:", "  arrivals: {kind: closed}\n  loads: [{rate_rps: 1}]\n  sla:", "a closed loop has no rate"},
		{"burstiness without gamma", "  sla:", "  arrivals: {burstiness: 2}\n  sla:", "for kind gamma only"},
		{"empty axis", "search_space: {}", "search_space: {block_size: []}", "nothing to search"},
		{"map for a number", "max_model_len: 4096", "max_model_len: 4096\n      block_size: {a: 1}", "takes one value, got a mapping"},
		{"fatal rule", "search_space: {}", "search_space: {max_num_batched_tokens: [1]}", "candidate 1: one token a step"},
		{"wrong environment name", "    search_space: {}", "    search_space: {}\n    environment: {A-B: x}", "not a name of an environment variable"},
		{"empty candidate", "    search_space: {}", "    candidates: [{}]", "would repeat the baseline"},
		{"no engine", "enabled: true", "enabled: false", "no engine is enabled"},
		{"two forms of scenarios", "search:", "scenarios: [{name: a, input_len: 1, output_len: 1}]\nsearch:", "stands beside scenarios"},
		{"scenario without a length", "dataset:\n  input_len: [1000]\n  output_len: [1000]\n", "scenarios: [{name: a, input_len: 5}]\n", "scenarios[0].output_len: the key is missing"},
		{"custom without a path", "dataset:", "dataset:\n  kind: custom", "kind custom reads its requests"},
		{"unknown endpoint", "  sla:", "  endpoint: /v2/x\n  sla:", "is not an endpoint at which vllm generates: it has /v1/completions"},
		{"engine under two names", "  vllm:", "  trtllm: {enabled: false}\n  tensorrt_llm: {enabled: false}\n  vllm:", "names the same engine"},
		{"bool for a value", "max_model_len: 4096", "max_model_len: 4096\n      dtype: true", "takes a value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatal("nothing replaced")
			}
			_, ds := judge(t, text, Options{})
			if !strings.Contains(lines(pick(ds, SeverityError)), c.says) {
				t.Errorf("no error %q in\n%s", c.says, lines(ds))
			}
		})
	}
	if _, ds := judge(t, strings.Replace(good, "max_p50_ttft_ms", "max_p99.9_itl_ms", 1), Options{}); HasErrors(ds) {
		t.Errorf("any percentile is allowed:\n%s", lines(ds))
	}
}

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestHelpCaptures(t *testing.T) {
	for _, c := range []struct {
		name, file, help, base string
		want                   string // error; "" = none
		warn                   string
	}{
		{"V18 the capture extends the list", "vllm.txt", "  --max-model-len N\n  --enable-expert-parallel\n", "enable_expert_parallel: true", "", ""},
		{"V18 without a capture", "other.txt", "  --max-model-len N\n", "enable_expert_parallel: true", "give --help-dir", ""},
		{"a flag that no table has", "vllm_serve_help.txt", "  --max-model-len N\n  --brand-new N\n", "brand_new: 1", "", ""},
		{"a known flag that this version lacks", "vllm_serve.txt", "  --max-model-len N\n  --block-sizes N\n", "block_size: 16", "does not define --block-size; did you mean --block-sizes?", ""},
		{"V19 a benchmark's help", "vllm_bench_serve_all.txt", "  --max-model-len N\n  --num-prompts N\n", "num_prompts: 1", "unknown flag", ""},
		{"V20 prose", "vllm.txt", "  --max-model-len N\nThe option --block-size was removed.\n", "block_size: 16", "does not define --block-size", ""},
		{"V21 dashes for underscores", "vllm.txt", "  --max-model-len N\n  --block_size N\n", "block_size: 16", "only --block_size", ""},
		{"an empty capture", "vllm.txt", "sh: command not found\n", "block_size: 16", "", "as if the engine were not installed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := writeFiles(t, map[string]string{"sub/" + c.file: c.help})
			_, ds := judge(t, smallFile("1", "8", c.base, ""), Options{HelpDir: dir})
			errs := lines(pick(ds, SeverityError))
			if c.want == "" && errs != "" || !strings.Contains(errs, c.want) {
				t.Errorf("errors, want %q:\n%s", c.want, errs)
			}
			if !strings.Contains(lines(ds), c.warn) {
				t.Errorf("no %q in\n%s", c.warn, lines(ds))
			}
		})
	}
	r := ValidatePaths([]string{"cookbook:glyph"}, fixtureSet(), Options{HelpDir: filepath.Join(t.TempDir(), "none")})
	if r.Valid() {
		t.Error("a help folder that is not there is an error")
	}
}

func TestCustomDataset(t *testing.T) { // V25
	text := strings.Replace(smallFile("1", "8", "", ""), "  input_len: [1000]\n  output_len: [1000]\n", "  kind: custom\n  path: data.jsonl\n", 1)
	for data, want := range map[string]string{
		`{"prompt":"a","output_len":3}` + "\n": "",
		"":                                     "holds no rows",
		"\n\n":                                 "holds no rows",
		"prompt\n":                             "line 1: expected a JSON object",
		`{"text":"a"}`:                         "no prompt",
		`{"prompt":"a"}` + "\n" + `{"prompt":"a","output_len":-1}`: "line 2: lengths",
	} {
		dir := writeFiles(t, map[string]string{"c.yaml": text, "data.jsonl": data})
		r := ValidatePaths([]string{filepath.Join(dir, "c.yaml")}, fixtureSet(), Options{})
		if got := lines(r.Files[0].Errors); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: want %q, got %s", data, want, got)
		}
	}
	f, _ := Parse("/d/c.yaml", []byte(text))
	if s := f.Scenarios(); len(s) != 1 || s[0].Kind != KindCustom || s[0].Path != "/d/data.jsonl" || s[0].NumPrompts != 80 {
		t.Errorf("scenarios %+v", s)
	}
	r := ValidatePaths([]string{filepath.Join(writeFiles(t, map[string]string{"c.yaml": text}), "c.yaml")}, fixtureSet(), Options{})
	if !strings.Contains(lines(r.Files[0].Errors), "reading the dataset") {
		t.Errorf("a missing dataset: %v", r)
	}
}

func TestFolders(t *testing.T) {
	dir := writeFiles(t, map[string]string{"b.yml": smallFile("1", "8", "", ""), "sub/a.yaml": smallFile("1", "0", "", ""), "note.txt": "x"})
	r := ValidatePaths([]string{dir}, fixtureSet(), Options{})
	if len(r.Files) != 2 || filepath.Base(r.Files[0].Path) != "b.yml" || !r.Files[0].Valid || r.Files[1].Valid || r.Valid() {
		t.Errorf("%+v", r)
	}
	for _, p := range []string{t.TempDir(), filepath.Join(dir, "none.yaml")} { // V26
		if r := ValidatePaths([]string{p}, fixtureSet(), Options{}); r.Valid() || len(r.Files) != 1 {
			t.Errorf("%s: %+v", p, r)
		}
	}
}

func TestOneCrashingFileDoesNotHideOthers(t *testing.T) { // V14
	dir := writeFiles(t, map[string]string{"a.yaml": "frameworks: {vllm: null}\nmodel: x\nsource: null\n", "b.yaml": smallFile("1", "8", "", "")})
	r := ValidatePaths([]string{dir}, fixtureSet(), Options{})
	if len(r.Files) != 2 || r.Files[0].Valid || !r.Files[1].Valid {
		t.Errorf("%+v", r)
	}
}

func TestEveryCandidateIsShown(t *testing.T) { // V28
	f, _ := LoadNamed("cookbook:glyph")
	p := Plan(f, fixtureSet(), Options{})
	if len(p.Candidates) != 8+8+8+7 {
		t.Errorf("%d candidates", len(p.Candidates))
	}
	only := Plan(f, fixtureSet(), Options{Engines: []engine.ID{"tokenspeed"}})
	if len(only.Candidates) != 7 || only.Candidates[3].ID != "tokenspeed-03" || only.Candidates[3].Index != 3 {
		t.Errorf("%+v", only.Candidates)
	}
}
