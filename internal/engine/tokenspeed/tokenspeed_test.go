package tokenspeed

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/engine"
)

// The keys that the upstream validator accepts without a help capture
// (upstream schema section 1).
const upstreamKeys = `attention_backend attn_tp_size chunked_prefill_size comm_fusion_max_num_tokens
	disable_cuda_graph_padding dtype enable_allreduce_fusion enable_expert_parallel enable_mla_l1_5_cache
	enable_prefix_caching gpu_memory_utilization host kv_cache_dtype max_model_len max_num_seqs max_prefill_tokens
	max_total_tokens mla_chunk_multiplier moe_backend moe_tp_size port quantization reasoning_parser
	speculative_algorithm speculative_config speculative_draft_model_path speculative_num_draft_tokens
	speculative_num_steps tensor_parallel_size tool_call_parser trust_remote_code`

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
	seen := map[string]string{}
	for _, f := range e.Flags {
		for _, option := range slices.Concat([]string{e.Option(f.Key), f.Negative}, f.Also) {
			if option == "" {
				continue
			}
			if other, twice := seen[option]; twice {
				t.Errorf("%s is an option of %s and of %s", option, other, f.Key)
			}
			seen[option] = f.Key
		}
		if f.Source.Ref == "" || f.Source.Date == "" || f.Family == "" {
			t.Errorf("%s: no source or family: %+v", f.Key, f)
		}
		if f.Type == engine.FlagEnum && f.Default != "" && !slices.Contains(f.Values, f.Default) {
			t.Errorf("%s: default %q is none of %v", f.Key, f.Default, f.Values)
		}
		if f.Default == "true" && f.Negative == "" {
			t.Errorf("%s is on by default and cannot be switched off", f.Key)
		}
	}
	l := e.Launch
	for _, key := range slices.Concat([]string{l.HostFlag, l.PortFlag, l.SeqLimit, l.TP, l.DP, l.EP}, l.BatchLimit, l.MemoryFraction) {
		if _, ok := e.Flag(key); !ok {
			t.Errorf("launch names the flag %q, which is not in the table", key)
		}
	}
}

func TestArgs(t *testing.T) {
	text := func(kind engine.ValueKind, s string) engine.Value { return engine.Value{Kind: kind, Text: s} }
	got := New().Args(engine.Settings{
		{Key: "tensor_parallel_size", Value: text(engine.ValueInt, "8")},
		{Key: "enable_prefix_caching", Value: text(engine.ValueBool, "false")},
		{Key: "trust_remote_code", Value: text(engine.ValueBool, "true")},
		{Key: "enforce_eager", Value: text(engine.ValueBool, "false")},
		{Key: "tokenizer_cache_enable_l1", Value: text(engine.ValueBool, "false")},
		{Key: "cudagraph_capture_sizes", Value: engine.Value{Kind: engine.ValueList, List: []engine.Value{text(engine.ValueInt, "1"), text(engine.ValueInt, "8")}}},
		{Key: "speculative_config", Value: text(engine.ValueMap, `{"method":"mtp"}`)},
	})
	want := "--tensor-parallel-size 8 --no-enable-prefix-caching --trust-remote-code --no-tokenizer-cache-enable-l1 --cudagraph-capture-sizes 1 8 --speculative-config {\"method\":\"mtp\"}"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}

func TestVersion(t *testing.T) {
	pattern := New().Launch.VersionPattern
	for text, want := range map[string]string{
		"TokenSpeed v0.1.0\n":                    "0.1.0",
		"a warning\nTokenSpeed v0.1.0.post2\n":   "0.1.0.post2",
		"usage: tokenspeed [-h] {serve,bench} …": "",
	} {
		got := ""
		if m := pattern.FindStringSubmatch(text); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%q: version %q, want %q", text, got, want)
		}
	}
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
		"[ts] __main__.py: error: argument --kv-cache-dtype: invalid choice: 'fp4' (choose from auto, fp8)":      engine.LogBadFlag,
		"ValueError: unexpected positional arg: '8'":                                                             engine.LogBadFlag,
		"ValueError: --control-port='x' is not a valid integer":                                                  engine.LogBadFlag,
		"[ts] ValueError: MoE TP and EP cannot be both > 1":                                                      engine.LogBadFlag,
		"[smg] failed to bind metrics server on 0.0.0.0:29000: Address already in use (os error 98)":             engine.LogPortInUse,
		"startup failed: gateway never reached 200 on http://127.0.0.1:8000/readiness within 60s":                engine.LogCrash,
		"[ts] RuntimeError: allocated cache storage exceeds its profiled budget: 11 > 10":                        engine.LogNoMemory,
		"[ts] TokenSpeed gRPC server is ready to serve":                                                          "",
		"ts control server ready on http://127.0.0.1:8001":                                                       "",
		"WARNING: ts control server failed to bind on http://127.0.0.1:8001 (port in use?); serving continues …": "",
		"[ts] Decode batch. #running-req: 4, #pages(active/cached/total): 1/2/3, page ratio: 0.3":                "",
		"[ts] GPU memory summary (rank 0, gpu 0, GB):":                                                           "",
	}
	for line, want := range lines {
		if got, _ := e.MatchLog(line); got.Kind != want {
			t.Errorf("%q is taken for %q, want %q", line, got.Kind, want)
		}
	}
}

// The gateway's /health is green whatever the engine does.
func TestReadyNeverTrustsHealth(t *testing.T) {
	e := New()
	generates := false
	for _, p := range e.Ready.Probes {
		ep, ok := e.Endpoint(p.Endpoint)
		if !ok {
			t.Fatalf("the probe %s is not an endpoint", p.Endpoint)
		}
		if ep.Path == "/health" || ep.Path == "/liveness" {
			t.Errorf("readiness relies on %s", ep.Path)
		}
		generates = generates || p.Generate
	}
	if !generates {
		t.Error("no probe demands a token")
	}
	ready := e.Ready.Probes[0].Body
	if !ready.MatchString(`{"status":"ready","healthy_workers":1,"total_workers":1}`) || ready.MatchString(`{"status":"not ready","reason":"draining"}`) {
		t.Errorf("the pattern of the first probe is wrong: %s", ready)
	}
}

func TestEndpoints(t *testing.T) {
	e := New()
	for _, ep := range e.Endpoints {
		if ep.Source.Ref == "" {
			t.Errorf("%s: no source", ep.Path)
		}
		if ep.Port == "" {
			continue
		}
		if f, ok := e.Flag(ep.Port); !ok || f.Type != engine.FlagInt {
			t.Errorf("%s stands on the port of the flag %q, which is no number in the table", ep.Path, ep.Port)
		}
	}
	for _, w := range e.Wires {
		if ep, ok := e.Endpoint(w.Endpoint); !ok || ep.Path != w.Path {
			t.Errorf("the wire format of %s has the path %s, its endpoint %s", w.Endpoint, w.Path, ep.Path)
		}
	}
}
