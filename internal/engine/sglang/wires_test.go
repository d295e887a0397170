package sglang

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/engine"
)

func encode(t *testing.T, name engine.EndpointName, r engine.GenerateRequest) (string, error) {
	t.Helper()
	w, ok := New().Wire(name)
	if !ok {
		t.Fatalf("no wire format of %s", name)
	}
	b, err := w.Encode(r)
	return string(b), err
}

func TestEncode(t *testing.T) {
	zero, seed := 0.0, int64(7)
	tests := []struct {
		name     string
		endpoint engine.EndpointName
		request  engine.GenerateRequest
		want     string
	}{
		{"completion: usage on every event", engine.EndpointCompletions,
			engine.GenerateRequest{Model: "m", PromptTokens: []int{5, 6}, MaxTokens: 4, IgnoreEOS: true, Stream: true},
			`{"model":"m","prompt":[5,6],"max_tokens":4,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`},
		{"chat", engine.EndpointChat,
			engine.GenerateRequest{Model: "m", Messages: []engine.Message{{Role: "user", Content: "hi"}}, MaxTokens: 4, Extra: map[string]any{"separate_reasoning": true}},
			`{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":4,"stream":false,"separate_reasoning":true}`},
		{"generate: no model, parameters below sampling_params", engine.EndpointGenerate,
			engine.GenerateRequest{Model: "m", Prompt: "a <b>", MaxTokens: 4, IgnoreEOS: true, Temperature: &zero, Seed: &seed, Stream: true},
			`{"text":"a <b>","sampling_params":{"ignore_eos":true,"max_new_tokens":4,"sampling_seed":7,"temperature":0},"stream":true}`},
		{"generate: extras where they belong", engine.EndpointGenerate,
			engine.GenerateRequest{PromptTokens: []int{1, 2}, Extra: map[string]any{"top_p": 0.5, "rid": "a", "log_metrics": false}},
			`{"input_ids":[1,2],"sampling_params":{"top_p":0.5},"stream":false,"log_metrics":false,"rid":"a"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := encode(t, tt.endpoint, tt.request)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	tests := []struct {
		endpoint engine.EndpointName
		request  engine.GenerateRequest
		says     string
	}{
		{engine.EndpointCompletions, engine.GenerateRequest{Extra: map[string]any{"max_new_tokens": 1}}, "max_tokens"},
		{engine.EndpointGenerate, engine.GenerateRequest{Messages: []engine.Message{{Role: "user"}}}, "chat"},
		{engine.EndpointGenerate, engine.GenerateRequest{Extra: map[string]any{"input_ids": []int{1}}}, "load generator"},
		{engine.EndpointGenerate, engine.GenerateRequest{Extra: map[string]any{"stream": true}}, "load generator"},
		// the server would answer an unknown sampling parameter with a plain 500
		{engine.EndpointGenerate, engine.GenerateRequest{Extra: map[string]any{"max_tokens": 4}}, "does not accept"},
	}
	for _, tt := range tests {
		body, err := encode(t, tt.endpoint, tt.request)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s %+v: %q, %v; want an error with %q", tt.endpoint, tt.request.Extra, body, err, tt.says)
		}
	}
}

func TestDecodeGenerate(t *testing.T) {
	usage := func(prompt, completion, cached int) *engine.Usage {
		return &engine.Usage{Prompt: prompt, Completion: completion, Cached: cached}
	}
	tests := []struct {
		name, data string
		want       engine.Delta
	}{
		{"cumulative: as many ids as tokens so far",
			`{"text":"one two","output_ids":[6,7],"meta_info":{"id":"a","finish_reason":null,"prompt_tokens":3,"completion_tokens":2,"cached_tokens":1}}`,
			engine.Delta{Text: "one two", Cumulative: true, HasChoices: true, Tokens: 2, Usage: usage(3, 2, 1)}},
		{"incremental: fewer ids than tokens so far",
			`{"text":" two","output_ids":[7],"meta_info":{"finish_reason":null,"prompt_tokens":3,"completion_tokens":2,"cached_tokens":1}}`,
			engine.Delta{Text: " two", HasChoices: true, Tokens: 2, Usage: usage(3, 2, 1)}},
		{"an old server sends no ids: cumulative", `{"text":"one two","meta_info":{"prompt_tokens":3,"completion_tokens":2}}`,
			engine.Delta{Text: "one two", Cumulative: true, HasChoices: true, Tokens: 2, Usage: usage(3, 2, -1)}},
		{"finish by length", `{"text":"one","output_ids":[6],"meta_info":{"finish_reason":{"type":"length","length":1},"prompt_tokens":3,"completion_tokens":1,"cached_tokens":0,"e2e_latency":0.2}}`,
			engine.Delta{Text: "one", Cumulative: true, HasChoices: true, Tokens: 1, Finish: "length", Usage: usage(3, 1, 0)}},
		{"no text without a tokenizer", `{"output_ids":[6],"meta_info":{"prompt_tokens":3,"completion_tokens":1}}`,
			engine.Delta{Cumulative: true, HasChoices: true, Tokens: 1, Usage: usage(3, 1, -1)}},
		{"whole reply of several outputs is an array", `[{"text":"one","output_ids":[6],"meta_info":{"finish_reason":{"type":"stop","matched":2},"prompt_tokens":3,"completion_tokens":1}}]`,
			engine.Delta{Text: "one", Cumulative: true, HasChoices: true, Tokens: 1, Finish: "stop", Usage: usage(3, 1, -1)}},
		{"abort with its reason", `{"text":"","output_ids":[],"meta_info":{"finish_reason":{"type":"abort","message":"queue is full","status_code":503}}}`,
			engine.Delta{Cumulative: true, HasChoices: true, Finish: "abort", Error: "aborted by the server: queue is full", Tokens: -1}},
		{"error in the stream", `{"error":{"message":"too long","type":"invalid_request_error","code":400,"retryable":false}}`,
			engine.Delta{Error: "too long", Cumulative: true, Tokens: -1}},
		{"flat error", `{"object":"error","message":"boom","type":"BadRequest","code":400}`,
			engine.Delta{Error: "boom", Cumulative: true, Tokens: -1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := engine.Delta{Text: "stale", Error: "stale", Usage: &engine.Usage{}}
			if err := generate.Decode([]byte(tt.data), &got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	for _, bad := range []string{"", "7", `"x"`, `{"text":`, `[{"text":"a"}`, `{} {}`} {
		var d engine.Delta
		if err := generate.Decode([]byte(bad), &d); err == nil {
			t.Errorf("%q is accepted as %+v", bad, d)
		}
	}
}

// A stream grows: each event repeats what came before, and the last counts all.
func TestStreamOfGenerate(t *testing.T) {
	events := []string{
		`{"text":"a","output_ids":[1],"meta_info":{"finish_reason":null,"prompt_tokens":2,"completion_tokens":1,"cached_tokens":0}}`,
		`{"text":"a b c","output_ids":[1,2,3],"meta_info":{"finish_reason":null,"prompt_tokens":2,"completion_tokens":3,"cached_tokens":0}}`,
		`{"text":"a b c d","output_ids":[1,2,3,4],"meta_info":{"finish_reason":{"type":"length","length":4},"prompt_tokens":2,"completion_tokens":4,"cached_tokens":0}}`,
	}
	text, tokens := "", 0
	for _, data := range events {
		var d engine.Delta
		if err := generate.Decode([]byte(data), &d); err != nil {
			t.Fatal(err)
		}
		if !d.Cumulative || !strings.HasPrefix(d.Text, text) || d.Tokens <= tokens {
			t.Errorf("after %q and %d tokens: %+v", text, tokens, d)
		}
		text, tokens = d.Text, d.Tokens
	}
	if text != "a b c d" || tokens != 4 {
		t.Errorf("%q with %d tokens", text, tokens)
	}
}
