package llamacpp

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/engine"
)

func helpText(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/help.txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestParseHelp(t *testing.T) {
	help := parseHelp(helpText(t))
	var got []string
	for option, f := range help {
		if option == f.Option {
			got = append(got, option)
		}
	}
	slices.Sort(got)
	want := strings.Fields(`--batch-size --cache-list --cache-type-k --cache-type-v --completion-bash --cpu-mask --cpu-mask-batch
		--cpu-range --cpu-range-batch --cpu-strict --cpu-strict-batch --ctx-size --flash-attn --help --ignore-eos --keep
		--kv-unified --list-devices --main-gpu --override-tensor --parallel --poll --poll-batch --predict --prio --prio-batch
		--sampler-seq --samplers --seed --sleep-idle-seconds --spec-draft-type-k --spec-draft-type-v
		--spec-ngram-map-k4v-min-hits --split-mode --swa-full --threads --threads-batch --ubatch-size --version`)
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%s is not read", w)
		}
	}
	for option, want := range map[string]engine.HelpFlag{
		"-c": {Option: "--ctx-size", All: []string{"-c", "--ctx-size"}, Metavar: "N", Default: "0", Group: "common",
			Text: "size of the prompt context (default: 0, 0 = loaded from model) (env: LLAMA_ARG_CTX_SIZE)"},
		"--split-mode": {Option: "--split-mode", All: []string{"-sm", "--split-mode"}, Metavar: "{none,layer,row,tensor}",
			Choices: []string{"none", "layer", "row", "tensor"}, Group: "common"},
		"-ctvd": {Option: "--spec-draft-type-v", All: []string{"--spec-draft-type-v", "-ctvd", "--cache-type-v-draft"}, Metavar: "TYPE", Default: "f16", Group: "common",
			Choices: []string{"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"}},
		"--cpu-strict":         {Option: "--cpu-strict", All: []string{"--cpu-strict"}, Metavar: "<0|1>", Choices: []string{"0", "1"}, Default: "0", Group: "common"},
		"--override-tensor":    {Option: "--override-tensor", All: []string{"-ot", "--override-tensor"}, Metavar: "<tensor name pattern>=<buffer type>,...", Group: "common"},
		"--samplers":           {Option: "--samplers", All: []string{"--samplers"}, Metavar: "SAMPLERS", Default: "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature", Group: "sampling"},
		"-no-kvu":              {Option: "--kv-unified", All: []string{"-kvu", "--kv-unified", "-no-kvu", "--no-kv-unified"}, Group: "example-specific"},
		"--sleep-idle-seconds": {Option: "--sleep-idle-seconds", All: []string{"--sleep-idle-seconds"}, Metavar: "SECONDS", Default: "-1", Group: "example-specific"},
		"--usage":              {Option: "--help", All: []string{"-h", "--help", "--usage"}, Group: "common", Text: "print usage and exit"},
	} {
		got := help[option]
		if want.Text == "" {
			got.Text = ""
		}
		if option == "-no-kvu" {
			got.Default = ""
		}
		if option == "--split-mode" {
			got.Default = ""
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", option, d)
		}
	}
}

// A removed option is still listed, but the server refuses it; an option that
// prose mentions is defined nowhere.
func TestParseHelpLeavesOut(t *testing.T) {
	help := parseHelp(helpText(t))
	for _, option := range []string{"--draft", "--draft-max", "--draft-n-min", "--spec-draft-n-max", "--spec-ngram-mod-n-max", "--logit-bias", "-----", "#"} {
		if help.Has(option) {
			t.Errorf("%s counts as defined: %+v", option, help[option])
		}
	}
	for name, text := range map[string]string{"empty": "", "shell": "sh: 1: llama-server: not found\n", "one dash": "-\n--\n---\n", "sentence": "--model is read first\n"} {
		if got := parseHelp(text); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzParseHelp(f *testing.F) {
	f.Add(helpText(f))
	f.Add("----- x params -----\n-a,  --b <0|1>  text (default: (1), 2)\n")
	f.Fuzz(func(t *testing.T, text string) {
		for option, h := range parseHelp(text) {
			if !strings.HasPrefix(option, "-") || !slices.Contains(h.All, option) || !slices.Contains(h.All, h.Option) || !strings.Contains(text, option) {
				t.Fatalf("%q: %+v", option, h)
			}
		}
	})
}

// Each pattern names its own example, and no earlier one takes it.
func TestLogExamples(t *testing.T) {
	e := New()
	for i, p := range e.Logs {
		got, ok := e.MatchLog(p.Example)
		if !ok || got.Pattern != e.Logs[i].Pattern {
			t.Errorf("%q is named by %v, want %v", p.Example, got.Pattern, p.Pattern)
		}
	}
	for _, line := range []string{
		"0.00.016.302 I srv    load_model: initializing slots, n_slots = 4",
		"0.00.008.095 E common_fit_params: encountered an error while trying to fit params to free device memory: failed to create llama_context from model",
		"slot print_timing: id  0 | task 0 | prompt eval time =       1.22 ms",
	} {
		if p, ok := e.MatchLog(line); ok {
			t.Errorf("%q is taken for %s", line, p.Kind)
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
		{"nothing set", engine.Setup{SeqTokens: 4096, CPUs: 2}, ""},
		{"slots share out the context", engine.Setup{Settings: set("ctx_size", "4096", "parallel", "4"), SeqTokens: 1025}, "slot-context"},
		{"each slot just holds it", engine.Setup{Settings: set("ctx_size", "4096", "parallel", "4"), SeqTokens: 1024}, ""},
		{"rounded up to 256 a slot", engine.Setup{Settings: set("ctx_size", "4100", "parallel", "4"), SeqTokens: 1280}, ""},
		{"automatic slots share one buffer", engine.Setup{Settings: set("ctx_size", "4096"), SeqTokens: 4096}, ""},
		{"unified on purpose", engine.Setup{Settings: set("ctx_size", "4096", "parallel", "4", "kv_unified", "true"), SeqTokens: 4096}, ""},
		{"the model's context", engine.Setup{Settings: set("ctx_size", "0", "parallel", "64"), SeqTokens: 4096}, ""},
		{"batch below the slots", engine.Setup{Settings: set("batch_size", "4", "parallel", "8")}, "batch-below-slots"},
		{"batch below the automatic slots", engine.Setup{Settings: set("batch_size", "3")}, "batch-below-slots"},
		{"batch of the slots", engine.Setup{Settings: set("batch_size", "8", "parallel", "8")}, ""},
		{"no slots", engine.Setup{Settings: set("parallel", "0")}, "no-slots"},
		{"quantised V without flash attention", engine.Setup{Settings: set("cache_type_v", "q8_0", "flash_attn", "off")}, "quantised-v-needs-flash-attention"},
		{"the same from a YAML off", engine.Setup{Settings: set("cache_type_v", "iq4_nl", "flash_attn", "false")}, "quantised-v-needs-flash-attention"},
		{"quantised V with it", engine.Setup{Settings: set("cache_type_v", "q8_0", "flash_attn", "auto")}, ""},
		{"quantised K alone", engine.Setup{Settings: set("cache_type_k", "q8_0", "flash_attn", "off")}, ""},
		{"ubatch above batch", engine.Setup{Settings: set("ubatch_size", "1024", "batch_size", "512")}, "ubatch-above-batch"},
		{"ubatch above the default batch", engine.Setup{Settings: set("ubatch_size", "4096")}, "ubatch-above-batch"},
		{"more threads than CPUs", engine.Setup{Settings: set("threads", "1", "threads_batch", "4"), CPUs: 2}, "threads-above-cpus"},
		{"CPUs not known", engine.Setup{Settings: set("threads", "64")}, ""},
		{"speculation by draft without a draft", engine.Setup{Settings: set("spec_type", "draft-simple")}, "draft-without-model"},
		{"speculation that needs none", engine.Setup{Settings: set("spec_type", "ngram-simple")}, ""},
		{"no numbers", engine.Setup{Settings: set("parallel", "x", "batch_size", "y", "ctx_size", "z"), SeqTokens: 9}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := ""
			for _, c := range New().Constraints {
				key, problem := c.Check(tt.in)
				if (key == "") != (problem == "") {
					t.Errorf("%s: key %q, problem %q", c.ID, key, problem)
				}
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
	body, err := w.Encode(engine.GenerateRequest{Model: "m", PromptTokens: []int{1, 2}, MaxTokens: 4, IgnoreEOS: true, Stream: true, Extra: map[string]any{"cache_prompt": false}})
	want := `{"model":"m","prompt":[1,2],"max_tokens":4,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true},"cache_prompt":false}`
	if err != nil || string(body) != want {
		t.Errorf("got %s %v\nwant %s", body, err, want)
	}
	for _, field := range []string{"best_of", "suffix", "min_tokens"} {
		if _, err := w.Encode(engine.GenerateRequest{Extra: map[string]any{field: 1}}); err == nil {
			t.Errorf("%s would be dropped in silence and is not refused", field)
		}
	}
	// The last event of a chat stream of 0.7.0.
	chat, _ := e.Wire(engine.EndpointChat)
	var d engine.Delta
	err = chat.Decode([]byte(`{"choices":[],"created":1,"model":"tiny","object":"chat.completion.chunk","usage":{"completion_tokens":12,"prompt_tokens":30,"total_tokens":42,"prompt_tokens_details":{"cached_tokens":29}},"timings":{"cache_n":29,"prompt_n":1}}`), &d)
	if err != nil || d.HasChoices || d.Usage == nil || *d.Usage != (engine.Usage{Prompt: 30, Completion: 12, Cached: 29}) {
		t.Errorf("%+v %v", d, err)
	}
}

func TestCommand(t *testing.T) {
	e := New()
	text := func(k engine.ValueKind, s string) engine.Value { return engine.Value{Kind: k, Text: s} }
	got := e.Args(engine.Settings{
		{Key: "model", Value: text(engine.ValueString, "tiny.gguf")}, {Key: "parallel", Value: text(engine.ValueInt, "8")},
		{Key: "flash_attn", Value: text(engine.ValueString, "off")}, {Key: "cont_batching", Value: text(engine.ValueBool, "false")},
		{Key: "draft_max", Value: text(engine.ValueInt, "8")},
	})
	if d := cmp.Diff(strings.Fields("--model tiny.gguf --parallel 8 --flash-attn off --no-cont-batching --draft-max 8"), got); d != "" {
		t.Error(d)
	}
	if m := e.Launch.VersionPattern.FindStringSubmatch("version: 0.7.0 (build 11669, commit Debian)\nbuilt with GNU 16.2.0 for Linux x86_64\n"); m == nil || m[1] != "0.7.0" {
		t.Errorf("version %v", m)
	}
}
