package trtllm

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/engine"
)

// The form of click 8: no groups, a stability tag before each text, two
// spellings on one line, and a definition too long for its column.
const helpText = `Usage: trtllm-serve serve [OPTIONS] MODEL

  Running an OpenAI API compatible server. The option --described is prose.

Options:
  --tokenizer TEXT                :tag:` + "`beta`" + ` Path | Name of the tokenizer.
  --host TEXT                     :tag:` + "`beta`" + ` Hostname of the server.
  --backend [pytorch|tensorrt|_autodeploy]
                                  :tag:` + "`beta`" + ` The backend. Default is pytorch.
  --max_batch_size INTEGER        :tag:` + "`beta`" + ` Maximum number of requests that
                                  the engine can schedule.
  --tensor_parallel_size, --tp_size INTEGER
                                  :tag:` + "`beta`" + ` Tensor parallelism size.
  --moe_expert_parallel_size, --ep_size INTEGER
                                  :tag:` + "`beta`" + ` expert parallelism size
  --free_gpu_memory_fraction, --kv_cache_free_gpu_memory_fraction FLOAT
                                  :tag:` + "`beta`" + ` Free GPU memory fraction reserved
                                  for KV Cache, see --wrapped-prose.
  --trust_remote_code             :tag:` + "`beta`" + ` Flag for HF transformers.
  --config, --extra_llm_api_options TEXT
                                  :tag:` + "`prototype`" + ` Path to a YAML file.
  --help                          Show this message and exit.
`

func TestParseHelp(t *testing.T) {
	e := New()
	help := e.Help.Parse(helpText)
	var got []string
	for option := range help {
		got = append(got, option)
	}
	slices.Sort(got)
	want := strings.Fields(`--backend --config --ep_size --extra_llm_api_options --free_gpu_memory_fraction --help --host
		--kv_cache_free_gpu_memory_fraction --max_batch_size --moe_expert_parallel_size --tensor_parallel_size --tokenizer
		--tp_size --trust_remote_code`)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("options (-want +got):\n%s", d)
	}
	for _, key := range []string{"tp_size", "ep_size", "extra_llm_api_options", "kv_cache_free_gpu_memory_fraction"} {
		f, _ := e.Flag(key)
		h, ok := e.HelpFlag(help, key)
		if !ok || h.Metavar == "" {
			t.Errorf("%s: %+v", key, h)
		}
		for _, also := range f.Also {
			if !slices.Contains(h.All, also) {
				t.Errorf("%s: the help has no %s", key, also)
			}
		}
	}
	if d := cmp.Diff([]string{"pytorch", "tensorrt", "_autodeploy"}, help["--backend"].Choices); d != "" {
		t.Error(d)
	}
	// Dashes are not accepted, so they are not defined.
	if help.Has("--tp-size") {
		t.Error("--tp-size")
	}
}

// The keys that upstream's validator accepts (cookbook schema, section 1).
func TestUpstreamKeys(t *testing.T) {
	want := strings.Fields(`backend ep_size extra_llm_api_options free_gpu_memory_fraction host kv_cache_free_gpu_memory_fraction
		max_batch_size max_num_tokens max_seq_len port pp_size tp_size trust_remote_code`)
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
		{Key: "backend", Value: text(engine.ValueString, "pytorch")}, {Key: "tp_size", Value: text(engine.ValueInt, "8")},
		{Key: "trust_remote_code", Value: text(engine.ValueBool, "true")}, {Key: "enable_chunked_prefill", Value: text(engine.ValueBool, "false")},
		{Key: "free_gpu_memory_fraction", Value: text(engine.ValueFloat, "0.75")},
	})
	if d := cmp.Diff(strings.Fields("--backend pytorch --tp_size 8 --trust_remote_code --free_gpu_memory_fraction 0.75"), got); d != "" {
		t.Error(d)
	}
	if r := e.Launch.Required; len(r) != 1 || r[0].Key != "backend" || r[0].Value != "pytorch" || r[0].Reason == "" {
		t.Errorf("required settings %+v", r)
	}
	for out, want := range map[string]string{"1.3.0rc25\n": "1.3.0rc25", "warning: x\n1.2.0.post1\n": "1.2.0.post1"} {
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
		"Error: No such option: --max-batch-size (Possible options: --max_batch_size)":                           engine.LogBadFlag,
		"Error: Option '--port' requires an argument.":                                                           engine.LogBadFlag,
		"Error: Missing argument 'MODEL'.":                                                                       engine.LogBadFlag,
		"RuntimeError: Executor creation failed due to insufficient GPU memory.":                                 engine.LogOOM,
		"[TRT-LLM] [I] iter = 12, global_rank = 0, num_scheduled_requests = 3, kv_cache_util = 0.125":            "",
		"INFO:     127.0.0.1:51234 - \"POST /v1/completions HTTP/1.1\" 200 OK":                                   "",
		"[TRT-LLM] [I] Profiling stopped at iteration 40, trace saved to /tmp/trace-rank-0.json":                 "",
		"torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 512.00 MiB (GPU 0; 79.11 GiB total)": engine.LogOOM,
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
			s = append(s, engine.Setting{Key: pairs[i], Value: engine.Value{Kind: engine.ValueInt, Text: pairs[i+1]}})
		}
		return s
	}
	for _, tt := range []struct {
		name string
		in   engine.Settings
		rule string // "" = every rule holds
	}{
		{"nothing set", nil, ""},
		{"one spelling of the fraction", set("free_gpu_memory_fraction", "0.8"), ""},
		{"both spellings", set("free_gpu_memory_fraction", "0.8", "kv_cache_free_gpu_memory_fraction", "0.9"), "kv-fraction-twice"},
		{"more requests than tokens", set("max_batch_size", "4096", "max_num_tokens", "2048"), "batch-above-tokens"},
		{"as many", set("max_batch_size", "2048", "max_num_tokens", "2048"), ""},
		{"the default is not judged", set("max_batch_size", "99999"), ""},
		{"experts over all GPUs", set("tp_size", "8", "ep_size", "8"), ""},
		{"experts over half of them", set("tp_size", "8", "ep_size", "4"), ""},
		{"more experts than GPUs", set("tp_size", "4", "ep_size", "8"), "ep-divides-tp"},
		{"an odd number", set("tp_size", "8", "ep_size", "3"), "ep-divides-tp"},
		{"experts without a group", set("ep_size", "2"), "ep-divides-tp"},
		{"experts and clusters", set("tp_size", "8", "ep_size", "4", "cluster_size", "4"), "ep-divides-tp"},
		{"context parallel", set("tp_size", "8", "ep_size", "8", "cp_size", "2"), "ep-without-cp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := ""
			for _, c := range New().Constraints {
				key, problem := c.Check(engine.Setup{Settings: tt.in})
				if problem != "" {
					broken += c.ID
					if _, known := New().Flag(key); !known || !strings.Contains(problem, key) {
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
	seed := int64(3)
	body, err := w.Encode(engine.GenerateRequest{Model: "m", PromptTokens: []int{5}, MaxTokens: 2, IgnoreEOS: true, Stream: true, Seed: &seed})
	want := `{"model":"m","prompt":[5],"max_tokens":2,"seed":3,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`
	if err != nil || string(body) != want {
		t.Errorf("got %s %v\nwant %s", body, err, want)
	}
	// Options of a stream are refused without one.
	if body, _ := w.Encode(engine.GenerateRequest{Model: "m", Prompt: "a"}); strings.Contains(string(body), "stream_options") {
		t.Errorf("%s", body)
	}
	chat, _ := e.Wire(engine.EndpointChat)
	if body, _ := chat.Encode(engine.GenerateRequest{Model: "m", Prompt: "a", MaxTokens: 2}); !strings.Contains(string(body), `"max_tokens":2`) {
		t.Errorf("%s", body)
	}
	// Fields of other engines, which this one answers with an error.
	for _, field := range []string{"logprobs", "suffix", "structured_outputs", "regex", "repeat_penalty"} {
		if _, err := w.Encode(engine.GenerateRequest{Extra: map[string]any{field: 1}}); err == nil {
			t.Errorf("%s is not refused", field)
		}
	}
	var d engine.Delta
	err = chat.Decode([]byte(`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"hi","reasoning_content":null,"reasoning":null},"finish_reason":null,"avg_decoded_tokens_per_iter":1.0}],"usage":{"prompt_tokens":8,"total_tokens":10,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}`), &d)
	if err != nil || d.Text != "hi" || d.Tokens != 2 || !d.HasChoices || d.Usage == nil || d.Usage.Cached != 4 {
		t.Errorf("%+v %v", d, err)
	}
	if err := w.Decode([]byte(`{"object":"error","message":"suffix is not supported","type":"BadRequestError","param":null,"code":400}`), &d); err != nil || d.Error != "suffix is not supported" {
		t.Errorf("%+v %v", d, err)
	}
}

// Fuzzing the help goes through the engine's own parser, whichever it is.
func FuzzHelp(f *testing.F) {
	f.Add(helpText)
	f.Add("Options:\n  --a / --no-a  text\n  --b [x|y]  [default: x]\n")
	parse := New().Help.Parse
	f.Fuzz(func(t *testing.T, text string) {
		for option, h := range parse(text) {
			if !strings.HasPrefix(option, "-") || !slices.Contains(h.All, option) || !strings.Contains(text, option) {
				t.Fatalf("%q: %+v", option, h)
			}
		}
	})
}
