package sglang

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/engine"
)

// The keys that the upstream validator accepts without a help capture
// (upstream schema section 1).
const upstreamKeys = `attention_backend chunked_prefill_size context_length decode_attention_backend dllm_algorithm
	dtype enable_multimodal enable_symm_mem ep_size host kv_cache_dtype max_running_requests mem_fraction_static
	model_loader_extra_config model_path moe_runner_backend nnodes port pp_size prefill_attention_backend
	reasoning_parser schedule_policy tool_call_parser tp_size trust_remote_code`

func TestUpstreamKeys(t *testing.T) {
	var got []string
	for _, f := range New().Flags {
		if f.Upstream {
			got = append(got, f.Key)
		}
	}
	slices.Sort(got)
	if d := cmp.Diff(strings.Fields(upstreamKeys), got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestFlagTable(t *testing.T) {
	e := New()
	seen := map[string]bool{}
	for _, f := range e.Flags {
		if seen[f.Key] {
			t.Errorf("%s stands twice in the table", f.Key)
		}
		seen[f.Key] = true
		if f.Source.Ref == "" || f.Source.Date == "" || f.Family == "" {
			t.Errorf("%s: no source or family: %+v", f.Key, f)
		}
		if f.Type == engine.FlagEnum && f.Default != "" && len(f.Values) > 0 && !slices.Contains(f.Values, f.Default) {
			t.Errorf("%s: default %q is none of %v", f.Key, f.Default, f.Values)
		}
		if f.Default == "true" && f.Negative == "" {
			t.Errorf("%s is on by default and cannot be switched off", f.Key)
		}
		if f.Since != "" && f.Until != "" && engine.CompareVersions(f.Since, f.Until) > 0 {
			t.Errorf("%s came with %s and went with %s", f.Key, f.Since, f.Until)
		}
	}
	l := e.Launch
	for _, key := range slices.Concat([]string{l.ModelFlag, l.HostFlag, l.PortFlag, l.SeqLimit, l.TP, l.PP, l.DP, l.EP}, l.BatchLimit, l.MemoryFraction) {
		if !seen[key] {
			t.Errorf("launch names the flag %q, which is not in the table", key)
		}
	}
}

// Flags whose variation changes nothing must say so: upstream searches them.
func TestInertFlags(t *testing.T) {
	e := New()
	for _, key := range []string{"num_continuous_decode_steps", "triton_attention_reduce_in_fp32"} {
		if f, ok := e.Flag(key); !ok || f.Inert == "" {
			t.Errorf("%s is not marked as one that changes nothing", key)
		}
	}
}

func TestVersions(t *testing.T) {
	e := New()
	tests := []struct {
		key, version string
		has          bool
	}{
		{"moe_runner_backend", "0.5.2", false},
		{"moe_runner_backend", "v0.5.3", true},
		{"enable_ep_moe", "0.5.2", true},
		{"enable_ep_moe", "0.5.18", false},
		{"stream_output", "0.5.9", true},
		{"incremental_streaming_output", "0.5.9", false},
		{"torchao_config", "0.5.18", false},
		{"admin_api_key", "0.5.7", false},
	}
	for _, tt := range tests {
		if f, ok := e.Flag(tt.key); !ok || f.In(tt.version) != tt.has {
			t.Errorf("%s at %s: %v, want %v", tt.key, tt.version, f.In(tt.version), tt.has)
		}
	}
	pattern := e.Launch.VersionPattern
	for text, want := range map[string]string{"0.5.18\n": "0.5.18", "a warning: 3.2 seconds\n0.5.16.post1\n": "0.5.16.post1", "ModuleNotFoundError: sglang\n": ""} {
		got := ""
		if m := pattern.FindStringSubmatch(text); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%q: version %q, want %q", text, got, want)
		}
	}
}

func TestArgs(t *testing.T) {
	text := func(kind engine.ValueKind, s string) engine.Value { return engine.Value{Kind: kind, Text: s} }
	got := New().Args(engine.Settings{
		{Key: "model_path", Value: text(engine.ValueString, "a/b")},
		{Key: "tp_size", Value: text(engine.ValueInt, "8")},
		{Key: "enable_dp_attention", Value: text(engine.ValueBool, "true")},
		{Key: "disable_radix_cache", Value: text(engine.ValueBool, "false")},
		{Key: "cuda_graph_bs_decode", Value: engine.Value{Kind: engine.ValueList, List: []engine.Value{text(engine.ValueInt, "1"), text(engine.ValueInt, "8")}}},
		{Key: "max_total_tokens", Value: engine.Value{}},
	})
	if want := "--model-path a/b --tp-size 8 --enable-dp-attention --cuda-graph-bs-decode 1 8"; strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}

// The form of the engine's help: one argparse help whose options have several
// spellings, choices over several lines, and prose that names what is gone.
const helpText = `usage: launch_server.py [-h] --model-path MODEL_PATH
                        [--only-in-usage X]

options:
  -h, --help            show this help message and exit
  --model-path MODEL_PATH, --model MODEL_PATH
                        Weights. (default: None)
  --tensor-parallel-size TP_SIZE, --tp-size TP_SIZE, --tp TP_SIZE
                        Ranks. (default: 1)
  --kv-cache-dtype {auto,fp8_e5m2,fp8_e4m3,bf16}
                        Cache. (default: auto)
  --schedule-policy {lpm,random,fcfs,dfs-weight,
                     lof,priority}
                        Policy. (default: fcfs)
  --cuda-graph-bs-decode CUDA_GRAPH_BS_DECODE [CUDA_GRAPH_BS_DECODE ...]
                        Batches; replaces --enable-piecewise-gone. (default:
                        None)
  --disable-radix-cache
                        Off. (default: False)
  --enable-ep-moe was removed; use --ep-size
`

func TestHelp(t *testing.T) {
	e := New()
	got := e.Help.Parse(helpText)
	for _, key := range []string{"model_path", "tp_size", "kv_cache_dtype", "schedule_policy", "cuda_graph_bs_decode", "disable_radix_cache"} {
		if _, ok := e.HelpFlag(got, key); !ok {
			t.Errorf("%s is missing", e.Option(key))
		}
	}
	for _, option := range []string{"--enable-ep-moe", "--ep-size", "--enable-piecewise-gone", "--only-in-usage", "--tp_size"} {
		if got.Has(option) {
			t.Errorf("%s is not defined by this help", option)
		}
	}
	policy, _ := e.HelpFlag(got, "schedule_policy")
	if policy.Default != "fcfs" || !slices.Equal(policy.Choices, []string{"lpm", "random", "fcfs", "dfs-weight", "lof", "priority"}) {
		t.Errorf("--schedule-policy: %+v", policy)
	}
	for _, none := range []string{"", "python: No module named sglang.launch_server\n", "Traceback (most recent call last):\nImportError: libcuda.so.1: cannot open shared object file\n"} {
		if got := e.Help.Parse(none); len(got) != 0 {
			t.Errorf("%q yields %d options", none, len(got))
		}
	}
}

func FuzzHelp(f *testing.F) {
	f.Add(helpText)
	f.Add("options:\n  --a {b,\n")
	parse := New().Help.Parse
	f.Fuzz(func(t *testing.T, text string) {
		for option, x := range parse(text) {
			if !strings.HasPrefix(option, "-") || !slices.Contains(x.All, option) {
				t.Errorf("option %q of %+v", option, x)
			}
		}
	})
}

func TestLogs(t *testing.T) {
	e := New()
	kinds := map[engine.LogKind]bool{}
	for _, p := range e.Logs {
		kinds[p.Kind] = true
		got, ok := e.MatchLog(p.Example)
		if !ok || got.Example != p.Example {
			t.Errorf("%s: the example %q is taken for %s (%q)", p.Kind, p.Example, got.Kind, got.Example)
		}
		if p.Meaning == "" || p.Source.Ref == "" {
			t.Errorf("%s: no meaning or source: %q", p.Kind, p.Example)
		}
	}
	for _, kind := range []engine.LogKind{engine.LogReady, engine.LogOOM, engine.LogNoMemory, engine.LogCrash, engine.LogBadFlag, engine.LogPortInUse, engine.LogLoadFailed} {
		if !kinds[kind] {
			t.Errorf("no pattern of kind %s", kind)
		}
	}
	lines := map[string]engine.LogKind{
		"RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. Current value: mem_fraction_static=0.3": engine.LogNoMemory,
		"[2026-08-20 10:00:00 TP0] Decode out of memory. Try to lower your batch size.":                                         engine.LogOOM,
		"launch_server.py: error: argument --schedule-policy: invalid choice: 'x' (choose from lpm, fcfs)":                      engine.LogBadFlag,
		"[2026-08-20 10:00:00] SIGQUIT received. signum=None, frame=None. It usually means one child failed.":                   engine.LogCrash,
		"[2026-08-20 10:00:00 TP0] KV cache pool is full. Retract requests. #retracted_reqs: 1, #new_token_ratio: 0.7":          "",
		"[2026-08-20 10:00:00 TP0] Decode batch, #running-req: 4, #token: 812, token usage: 0.01, gen throughput (token/s): 9":  "",
		"[2026-08-20 10:00:00] server_args=ServerArgs(model_path='a/b', watchdog_timeout=300, port=30000)":                      "",
		"[2026-08-20 10:00:00] Health check failed. Server couldn't get a response from detokenizer for last 20 seconds.":       "",
		"INFO:     Uvicorn running on http://127.0.0.1:30000 (Press CTRL+C to quit)":                                            "",
	}
	for line, want := range lines {
		if got, _ := e.MatchLog(line); got.Kind != want {
			t.Errorf("%q is taken for %q, want %q", line, got.Kind, want)
		}
	}
}

// /health may be a constant 200, so a token must come back; and it takes up to
// 20 s to say no, so the probe must wait longer.
func TestReady(t *testing.T) {
	e := New()
	generates := false
	for _, p := range e.Ready.Probes {
		if _, ok := e.Endpoint(p.Endpoint); !ok {
			t.Errorf("the probe %s is not an endpoint", p.Endpoint)
		}
		if p.Endpoint == engine.EndpointHealth && p.Timeout.Seconds() <= 25 {
			t.Errorf("the health probe gives up after %s, before the server does", p.Timeout)
		}
		generates = generates || p.Generate
	}
	if !generates {
		t.Error("no probe demands a token")
	}
}

func TestEndpointsAndMetrics(t *testing.T) {
	e := New()
	for _, ep := range e.Endpoints {
		if ep.Source.Ref == "" {
			t.Errorf("%s: no source", ep.Path)
		}
		if open := strings.HasPrefix(ep.Path, "/health") || ep.Path == "/metrics"; ep.Auth == open {
			t.Errorf("%s: asks for a key: %v", ep.Path, ep.Auth)
		}
	}
	for _, w := range e.Wires {
		if ep, ok := e.Endpoint(w.Endpoint); !ok || ep.Path != w.Path {
			t.Errorf("the wire format of %s has the path %s, its endpoint %s", w.Endpoint, w.Path, ep.Path)
		}
	}
	for _, m := range e.Metrics {
		// Decode reports set it to 0 (sgl-project/sglang #26608).
		if m.Name == "sglang:cache_hit_rate" || m.Source.Ref == "" {
			t.Errorf("%s reads %s", m.Quantity, m.Name)
		}
	}
}
