package replay

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmdyno/internal/engine"
	"llmdyno/internal/engine/sglang"
	"llmdyno/internal/engine/vllm"
	"llmdyno/internal/incident/dump"
)

func recorded(body string) Request {
	n := int64(7)
	return Request{Request: dump.Request{
		ID: "a", Engine: "sglang", Kind: engine.DumpGenerate, Prompt: "a b", Stream: true, OutputLen: 9, Body: json.RawMessage(body),
		Extra: json.RawMessage(`{"temperature":0,"top_k":5,"ignore_eos":true,"seed":3,"spaces":1}`), Greedy: true,
		Recorded: dump.Recorded{Finished: true, CompletionTokens: &n, Start: 1},
	}}
}

// What goes out for one recorded request, on the wire of each kind of server.
func TestBodies(t *testing.T) {
	native := `{"text":"a b","sampling_params":{"max_new_tokens":9,"temperature":0},"stream":true}`
	batch := recorded(`{"text":["a","b"],"sampling_params":[{"top_p":0.5},null]}`)
	batch.Prompt, batch.ReplayOnly = "", "it is a batch of several prompts"
	embed := recorded(`{"text":"a b"}`)
	embed.Kind, embed.ReplayOnly = engine.DumpEmbedding, ""
	chat := Request{Messages: []engine.Message{{Role: "user", Content: "hi"}}}
	unbounded := recorded(native)
	unbounded.OutputLen, unbounded.Extra = 0, nil
	tests := []struct {
		name    string
		q       Request
		e       *engine.Engine
		o       Options
		path    string
		body    string
		dropped string
		refused string
	}{
		{"its own engine gets the body as it was", recorded(native), sglang.New(), Options{}, "/generate", native, "", ""},
		{"as many tokens as recorded", recorded(native), sglang.New(), Options{IgnoreEOS: true}, "/generate",
			`{"sampling_params":{"ignore_eos":true,"max_new_tokens":7,"temperature":0},"stream":true,"text":"a b"}`, "", ""},
		{"without sampling parameters", recorded(`{"text":"a","sampling_params":null}`), sglang.New(), Options{IgnoreEOS: true}, "/generate",
			`{"sampling_params":{"ignore_eos":true,"max_new_tokens":7},"text":"a"}`, "", ""},
		{"a batch, each with its own", batch, sglang.New(), Options{IgnoreEOS: true}, "/generate",
			`{"sampling_params":[{"ignore_eos":true,"max_new_tokens":7,"top_p":0.5},{"ignore_eos":true,"max_new_tokens":7}],"text":["a","b"]}`, "", ""},
		{"an embedding goes to its own endpoint", embed, sglang.New(), Options{}, "/encode", `{"text":"a b"}`, "", ""},
		{"another engine", recorded(native), vllm.New(), Options{}, "/v1/completions",
			`{"model":"m","prompt":"a b","max_tokens":9,"temperature":0,"seed":3,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true},"top_k":5}`, "spaces", ""},
		{"its own engine by another endpoint", recorded(native), sglang.New(), Options{Endpoint: "chat"}, "/v1/chat/completions",
			`{"model":"m","messages":[{"role":"user","content":"a b"}],"max_tokens":9,"temperature":0,"seed":3,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true},"top_k":5}`, "spaces", ""},
		{"the plain protocol", recorded(native), nil, Options{}, "/v1/completions",
			`{"model":"m","prompt":"a b","max_tokens":9,"temperature":0,"seed":3,"stream":true,"stream_options":{"include_usage":true}}`, "ignore_eos spaces top_k", ""},
		{"no bound then: at most what was recorded", unbounded, nil, Options{}, "/v1/completions",
			`{"model":"m","prompt":"a b","max_tokens":7,"stream":true,"stream_options":{"include_usage":true}}`, "", ""},
		{"an embedding of another engine", embed, vllm.New(), Options{}, "/v1/embeddings", `{"model":"m","input":"a b"}`, "", ""},
		{"a chat of another origin", chat, nil, Options{}, "/v1/chat/completions",
			`{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}}`, "", ""},
		{"a batch for another engine", batch, vllm.New(), Options{}, "", "", "", "only its own engine can take it: it is a batch"},
		{"a protocol that cannot", recorded(native), nil, Options{IgnoreEOS: true}, "", "", "", "ignore_eos"},
		{"no such endpoint", recorded(native), vllm.New(), Options{Endpoint: "generat"}, "", "", "", "expected completions, chat"},
	}
	for _, tt := range tests {
		p, err := NewPlan([]Request{tt.q}, tt.e, "m", tt.o)
		if tt.refused != "" {
			if err == nil || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%s: got %v, expected %q", tt.name, err, tt.refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var dropped []string
		for _, d := range p.Items[0].Dropped {
			dropped = append(dropped, d.Field)
		}
		slices.Sort(dropped)
		x := p.Items[0]
		if x.Path != tt.path || string(x.Sent.Body) != tt.body || strings.Join(dropped, " ") != tt.dropped {
			t.Errorf("%s: %s %s without %v\nexpected %s %s without %s", tt.name, x.Path, x.Sent.Body, dropped, tt.path, tt.body, tt.dropped)
		}
	}
}

func TestSkippedRequestsAreSaid(t *testing.T) {
	good, bad := recorded(`{"text":"a"}`), Request{Request: dump.Request{Index: 1, ID: "b", ReplayOnly: "it is a batch of several prompts"}}
	p, err := NewPlan([]Request{good, bad}, vllm.New(), "m", Options{})
	if err != nil || len(p.Items) != 1 || len(p.Skipped) != 1 || p.Skipped[0].ID != "b" {
		t.Fatalf("%+v, %v", p, err)
	}
	var no skip
	if errors.As(err, &no) {
		t.Error("one that cannot be sent is no error of the plan")
	}
}

// Any window keeps the order and the gaps of the recording, and the speed divides
// every offset.
func TestWindowsKeepOrderAndGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "n")
		var all []Request
		for i := range n {
			all = append(all, Request{Request: dump.Request{Index: i, Prompt: dump.Text(fmt.Sprint("p", i)), AtNs: rapid.Int64Range(0, 1e10).Draw(t, "at")}})
		}
		o := Options{From: rapid.IntRange(0, n-1).Draw(t, "from"), Count: rapid.IntRange(0, n).Draw(t, "count"), Speed: rapid.SampledFrom([]float64{0, 0.5, 1, 3, 10}).Draw(t, "speed")}
		p, err := NewPlan(all, nil, "m", o)
		if err != nil {
			t.Fatal(err)
		}
		if want := n - o.From; o.Count > 0 && len(p.Items) != min(want, o.Count) || o.Count == 0 && len(p.Items) != want {
			t.Fatalf("%d items of %d, %+v", len(p.Items), n, o)
		}
		offsets := p.trial(Target{}).Arrivals.Schedule(len(p.Items))
		for i, x := range p.Items {
			at := time.Duration(all[x.Index].AtNs - all[p.Items[0].Index].AtNs)
			if x.At != at || i > 0 && (x.At < p.Items[i-1].At || x.At == p.Items[i-1].At && x.Index < p.Items[i-1].Index) {
				t.Fatalf("item %d at %v, recorded %v", i, x.At, at)
			}
			if due := float64(at) / o.speed(); float64(offsets[i]) < due-1 || float64(offsets[i]) > due+1 {
				t.Fatalf("item %d is due at %v, expected %v ns", i, offsets[i], due)
			}
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{Speed: -1}, {Speed: 2e6}, {Concurrency: -1}, {From: -1}, {Count: -1}, {Timeout: -1}} {
		if _, err := NewPlan([]Request{recorded("")}, nil, "m", o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	if _, err := NewPlan(nil, nil, "m", Options{}); err == nil {
		t.Error("no request at all was accepted")
	}
	if _, err := NewPlan([]Request{recorded("")}, nil, "m", Options{From: 1}); err == nil {
		t.Error("a window behind the end was accepted")
	}
}
