package vllm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/engine"
)

// captured reads one help text of the newest captured version.
func captured(t testing.TB, name string) (text, version string) {
	t.Helper()
	folders, err := filepath.Glob("surface/*/" + name)
	if err != nil || len(folders) == 0 {
		t.Fatalf("no capture %s: %v", name, err)
	}
	slices.SortFunc(folders, func(a, b string) int {
		return engine.CompareVersions(filepath.Base(filepath.Dir(a)), filepath.Base(filepath.Dir(b)))
	})
	newest := folders[len(folders)-1]
	data, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	return string(data), filepath.Base(filepath.Dir(newest))
}

// Each flag of the table stands in the whole help, with the spellings, the
// negative form and the default that the table says.
func TestHelpAgreesWithTable(t *testing.T) {
	text, version := captured(t, "help_all.txt")
	e := New()
	help := e.Help.Parse(text)
	if len(help) < 100 {
		t.Fatalf("%d options", len(help))
	}
	for _, f := range e.Flags {
		h, ok := e.HelpFlag(help, f.Key)
		if ok != f.In(version) {
			t.Errorf("%s: in the help of %s %v, in the table %v", f.Key, version, ok, f.In(version))
		}
		if !ok {
			continue
		}
		for _, also := range f.Also {
			if !slices.Contains(h.All, also) {
				t.Errorf("%s: the help has no %s: %v", f.Key, also, h.All)
			}
		}
		if f.Negative != "" && !slices.Contains(h.All, f.Negative) {
			t.Errorf("%s: the help has no %s", f.Key, f.Negative)
		}
		if (f.Type == engine.FlagBool) != (h.Metavar == "") {
			t.Errorf("%s: type %s, the help says %q", f.Key, f.Type, h.Metavar)
		}
		if f.Default != "" && h.Default != "None" && !strings.EqualFold(f.Default, h.Default) {
			t.Errorf("%s: default %q, the help says %q", f.Key, f.Default, h.Default)
		}
		for _, c := range h.Choices {
			if !slices.Contains(f.Values, c) {
				t.Errorf("%s: the table lacks the value %s", f.Key, c)
			}
		}
	}
}

// The plain help lists groups, and the options in its usage alone.
func TestHelpForms(t *testing.T) {
	whole, _ := captured(t, "help_all.txt")
	plain, _ := captured(t, "help.txt")
	group, _ := captured(t, "help_cacheconfig.txt")
	all, usage, cache := parseHelp(whole), parseHelp(plain), parseHelp(group)
	for option := range all {
		if !usage.Has(option) && strings.HasPrefix(option, "--") && option != "--help" {
			t.Errorf("the plain help does not yield %s", option)
		}
	}
	for option, f := range cache {
		if f.Group != "CacheConfig" || !all.Has(option) {
			t.Errorf("%s: %+v", option, f)
		}
	}
	for _, option := range []string{"--block-size", "--no-enable-prefix-caching", "--kv-cache-dtype"} {
		if !cache.Has(option) {
			t.Errorf("one group: no %s", option)
		}
	}
	if cache.Has("--max-num-seqs") {
		t.Error("one group yields an option of another")
	}
}

// A help from before there were groups, a search, and the short help of newer
// versions, in the form that their parsers print them.
func TestHelpOfOtherVersions(t *testing.T) {
	old := parseHelp(`usage: vllm serve <model_tag> [options]

options:
  --allow-credentials   allow credentials
  --max-model-len MAX_MODEL_LEN
                        Model context length.
  --tensor-parallel-size TENSOR_PARALLEL_SIZE, -tp TENSOR_PARALLEL_SIZE
                        Number of replicas, see --prose.
  --swap-space SWAP_SPACE
                        CPU swap space size (GiB) per GPU.

Cache:
  --block-size {8,16,32}
                        Token block size.
`)
	if !old.Has("-tp") || !old.Has("--block-size") || old.Has("--prose") {
		t.Errorf("grouped by hand: %v", old)
	}
	search := parseHelp(`
  --max-num-seqs MAX_NUM_SEQS
                        Maximum number of sequences. (default: None)
  --max-model-len MAX_MODEL_LEN
                        Accepts 8k. (default: None)
`)
	if len(search) != 2 {
		t.Errorf("search: %v", search)
	}
	short := parseHelp(`usage: vllm serve [model_tag] [options]

Start a server.

positional arguments:
  model_tag             The model.

options:
  --headless            Run without the front end. (default: False)
  --config CONFIG       YAML file. (default: None)
  -h, --help            show this help message and exit

For full list:            vllm serve --help=all
For a section:            vllm serve --help=ModelConfig    (case-insensitive)
`)
	if len(short) != 0 {
		t.Errorf("the short help tells nothing of the options that it leaves out, and counts as none: %v", short)
	}
	for _, text := range []string{"", "bash: vllm: command not found\n", "No group or arguments matching 'x'. Use '--help=all'.\n"} {
		if got := parseHelp(text); len(got) != 0 {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzParseHelp(f *testing.F) {
	for _, name := range []string{"help_all.txt", "help.txt", "help_cacheconfig.txt"} {
		text, _ := captured(f, name)
		f.Add(text)
	}
	f.Add("usage: vllm serve [model_tag] [options]\n\noptions:\n  --a A  x\n")
	f.Fuzz(func(t *testing.T, text string) {
		for option, h := range parseHelp(text) {
			if !strings.HasPrefix(option, "-") || !slices.Contains(h.All, option) || !slices.Contains(h.All, h.Option) {
				t.Fatalf("%q: %+v", option, h)
			}
		}
	})
}

// The keys that upstream's validator accepts (cookbook schema, section 1).
func TestUpstreamKeys(t *testing.T) {
	want := strings.Fields(`block_size dtype enable_chunked_prefill enable_prefix_caching gpu_memory_utilization host kv_cache_dtype
		long_prefill_token_threshold max_long_partial_prefills max_model_len max_num_batched_tokens max_num_partial_prefills
		max_num_seqs pipeline_parallel_size port tensor_parallel_size trust_remote_code`)
	var got []string
	for _, f := range New().Flags {
		if f.Upstream {
			got = append(got, f.Key)
		}
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestCommand(t *testing.T) {
	e := New()
	text := func(k engine.ValueKind, s string) engine.Value { return engine.Value{Kind: k, Text: s} }
	got := e.Args(engine.Settings{
		{Key: "tensor_parallel_size", Value: text(engine.ValueInt, "8")}, {Key: "enable_prefix_caching", Value: text(engine.ValueBool, "false")},
		{Key: "enable_chunked_prefill", Value: text(engine.ValueBool, "true")},
		{Key: "speculative_config", Value: text(engine.ValueMap, `{"method":"ngram","num_speculative_tokens":3}`)},
		{Key: "cudagraph_capture_sizes", Value: engine.Value{Kind: engine.ValueList, Text: "[1,2]", List: []engine.Value{text(engine.ValueInt, "1"), text(engine.ValueInt, "2")}}},
	})
	if d := cmp.Diff([]string{"--tensor-parallel-size", "8", "--no-enable-prefix-caching", "--enable-chunked-prefill",
		"--speculative-config", `{"method":"ngram","num_speculative_tokens":3}`, "--cudagraph-capture-sizes", "1", "2"}, got); d != "" {
		t.Error(d)
	}
	for out, want := range map[string]string{"0.26.0\n": "0.26.0", "INFO 08-19 10:00:00 [__init__.py:216] Automatically detected platform cuda.\n0.29.1rc1.dev12+g1a2b3c4\n": "0.29.1rc1.dev12+g1a2b3c4"} {
		if m := e.Launch.VersionPattern.FindStringSubmatch(out); m == nil || m[1] != want {
			t.Errorf("%q: version %v", out, m)
		}
	}
}

func TestLogExamples(t *testing.T) {
	e := New()
	for _, p := range e.Logs {
		got, ok := e.MatchLog(p.Example)
		if !ok || got.Pattern != p.Pattern {
			t.Errorf("%q is named by %v, want %v", p.Example, got.Pattern, p.Pattern)
		}
	}
	for line, want := range map[string]engine.LogKind{
		"vllm serve: error: argument --dtype: invalid choice: 'fp4' (choose from auto, half)":                                                                                 engine.LogBadFlag,
		"(EngineCore_DP0 pid=1394) ValueError: Free memory on device (2.02/63.59 GiB) on startup is less than desired GPU memory utilization (0.92, 58.51 GiB).":              engine.LogOOM,
		"(EngineCore pid=9) RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests.":                                                      engine.LogOOM,
		"ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): address already in use":                                                          engine.LogPortInUse,
		"(APIServer pid=1) INFO 08-19 10:00:00 [loggers.py:127] Engine 000: Avg prompt throughput: 10.1 tokens/s, Running: 1 reqs, Waiting: 0 reqs, GPU KV cache usage: 0.1%": "",
		"(EngineCore pid=9) INFO 08-19 10:00:00 [gpu_worker.py:298] Available KV cache memory: 61.21 GiB":                                                                     "",
		"(EngineCore pid=9) INFO 08-19 10:00:00 [kv_cache_utils.py:1087] GPU KV cache size: 445,792 tokens":                                                                   "",
		"(APIServer pid=1) INFO 08-19 10:00:00 [api_server.py:1912] Starting vLLM API server 0 on http://127.0.0.1:8000":                                                      "",
	} {
		if got, _ := e.MatchLog(line); got.Kind != want {
			t.Errorf("%q is %q, want %q", line, got.Kind, want)
		}
	}
}

func TestConstraints(t *testing.T) {
	set := func(pairs ...string) engine.Settings {
		var s engine.Settings
		for i := 0; i < len(pairs); i += 2 {
			kind := engine.ValueString
			if pairs[i+1] == "true" || pairs[i+1] == "false" {
				kind = engine.ValueBool
			}
			s = append(s, engine.Setting{Key: pairs[i], Value: engine.Value{Kind: kind, Text: pairs[i+1]}})
		}
		return s
	}
	for _, tt := range []struct {
		name string
		in   engine.Setup
		rule string // "" = every rule holds
	}{
		{"nothing set", engine.Setup{GPU: "h100"}, ""},
		{"fewer tokens than requests", engine.Setup{Settings: set("max_num_batched_tokens", "512", "max_num_seqs", "1024")}, "tokens-below-seqs"},
		{"as many", engine.Setup{Settings: set("max_num_batched_tokens", "1k", "max_num_seqs", "1000")}, ""},
		{"8k is less than 8K", engine.Setup{Settings: set("max_num_batched_tokens", "8k", "max_num_seqs", "8K")}, "tokens-below-seqs"},
		{"no chunks and a short step", engine.Setup{Settings: set("enable_chunked_prefill", "false", "max_num_batched_tokens", "8192", "max_model_len", "12288")}, "tokens-below-length"},
		{"no chunks and a long step", engine.Setup{Settings: set("enable_chunked_prefill", "false", "max_num_batched_tokens", "16384", "max_model_len", "12288")}, ""},
		{"chunks and a short step", engine.Setup{Settings: set("max_num_batched_tokens", "2048", "max_model_len", "12288")}, ""},
		{"what fits", engine.Setup{Settings: set("enable_chunked_prefill", "false", "max_num_batched_tokens", "2048", "max_model_len", "auto")}, ""},
		{"partial prefills", engine.Setup{Settings: set("max_num_partial_prefills", "4")}, "partial-prefills"},
		{"long partial prefills", engine.Setup{Settings: set("max_long_partial_prefills", "2")}, "partial-prefills"},
		{"partial prefills at 1", engine.Setup{Settings: set("max_num_partial_prefills", "1", "max_long_partial_prefills", "1")}, ""},
		{"MLA of Blackwell on Hopper", engine.Setup{Settings: set("attention_backend", "CUTLASS_MLA"), GPU: "NVIDIA H100 80GB HBM3"}, "attention-gpu"},
		{"MLA of Blackwell on Blackwell", engine.Setup{Settings: set("attention_backend", "flashinfer_mla"), GPU: "b200"}, ""},
		{"MLA of Hopper on Ampere", engine.Setup{Settings: set("attention_backend", "FLASHMLA"), GPU: "a100"}, "attention-gpu"},
		{"MLA of NVIDIA on AMD", engine.Setup{Settings: set("attention_backend", "FLASHMLA"), GPU: "mi300x"}, "attention-gpu"},
		{"GPU not known", engine.Setup{Settings: set("attention_backend", "CUTLASS_MLA")}, ""},
		{"another backend", engine.Setup{Settings: set("attention_backend", "FLASH_ATTN", "block_size", "16"), GPU: "a100"}, ""},
		{"block that the kernel does not take", engine.Setup{Settings: set("attention_backend", "FLASHMLA", "block_size", "16"), GPU: "h200"}, "attention-block"},
		{"block that it takes", engine.Setup{Settings: set("attention_backend", "FLASHMLA", "block_size", "128"), GPU: "h200"}, ""},
		{"KV cache sized twice", engine.Setup{Settings: set("kv_cache_memory_bytes", "8G", "gpu_memory_utilization", "0.9")}, "kv-bytes-over-fraction"},
		{"graphs without graphs", engine.Setup{Settings: set("enforce_eager", "true", "max_cudagraph_capture_size", "512")}, "eager-without-graphs"},
		{"graphs", engine.Setup{Settings: set("enforce_eager", "false", "max_cudagraph_capture_size", "512")}, ""},
		{"offloading of nothing", engine.Setup{Settings: set("kv_offloading_backend", "lmcache")}, "offload-without-size"},
		{"offloading", engine.Setup{Settings: set("kv_offloading_backend", "lmcache", "kv_offloading_size", "16")}, ""},
		{"tools without a parser", engine.Setup{Settings: set("enable_auto_tool_choice", "true")}, "tools-without-parser"},
		{"tools", engine.Setup{Settings: set("enable_auto_tool_choice", "true", "tool_call_parser", "hermes")}, ""},
		{"no numbers", engine.Setup{Settings: set("max_num_batched_tokens", "9999999999G", "max_num_seqs", "x")}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := ""
			for _, c := range New().Constraints {
				key, problem := c.Check(tt.in)
				if problem != "" {
					broken += c.ID
					if _, known := New().Flag(key); !known || !strings.Contains(problem, key) && !strings.Contains(problem, tt.in.Settings.Word(key)) {
						t.Errorf("%s does not name its key %q: %s", c.ID, key, problem)
					}
				}
			}
			if broken != tt.rule {
				t.Errorf("broken %q, want %q", broken, tt.rule)
			}
		})
	}
}

func TestWires(t *testing.T) {
	e := New()
	w, _ := e.Wire(engine.EndpointCompletions)
	chat, _ := e.Wire(engine.EndpointChat)
	zero := 0.0
	body, err := w.Encode(engine.GenerateRequest{Model: "m", PromptTokens: []int{1, 2}, MaxTokens: 4, IgnoreEOS: true, Stream: true, Temperature: &zero})
	want := `{"model":"m","prompt":[1,2],"max_tokens":4,"temperature":0,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`
	if err != nil || string(body) != want {
		t.Errorf("got %s %v\nwant %s", body, err, want)
	}
	body, err = chat.Encode(engine.GenerateRequest{Model: "m", Prompt: "hi", MaxTokens: 4, Extra: map[string]any{"chat_template_kwargs": map[string]any{"enable_thinking": false}}})
	want = `{"model":"m","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":4,"stream":false,"chat_template_kwargs":{"enable_thinking":false}}`
	if err != nil || string(body) != want {
		t.Errorf("got %s %v\nwant %s", body, err, want)
	}
	// A field that the server would only log is refused here.
	for field, wire := range map[string]engine.Wire{"best_of": w, "suffix": w, "chat_template": w, "top_logprobs": w, "topk": chat, "prompt_embeds": chat} {
		if _, err := wire.Encode(engine.GenerateRequest{Extra: map[string]any{field: 1}}); err == nil {
			t.Errorf("%s to %s is not refused", field, wire.Path)
		}
	}
	for _, tt := range []struct {
		wire engine.Wire
		data string
		want engine.Delta
	}{
		{chat, `{"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":{"prompt_tokens":9,"total_tokens":9,"completion_tokens":0}}`,
			engine.Delta{HasChoices: true, Tokens: 0, Usage: &engine.Usage{Prompt: 9, Cached: -1}}},
		{chat, `{"choices":[{"index":0,"delta":{"reasoning":"so"},"finish_reason":null}]}`, engine.Delta{Reasoning: "so", HasChoices: true, Tokens: -1}},
		{w, `{"id":"cmpl-1","choices":[],"usage":{"prompt_tokens":9,"total_tokens":13,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":8}}}`,
			engine.Delta{Tokens: 4, Usage: &engine.Usage{Prompt: 9, Completion: 4, Cached: 8}}},
		{w, `{"error":{"message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","param":null,"code":400}}`,
			engine.Delta{Error: "This model's maximum context length is 4096 tokens.", Tokens: -1}},
		{w, `{"object":"error","message":"older form","type":"BadRequestError","param":null,"code":400}`, engine.Delta{Error: "older form", Tokens: -1}},
	} {
		var d engine.Delta
		if err := tt.wire.Decode([]byte(tt.data), &d); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(tt.want, d); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.data, diff)
		}
	}
}
