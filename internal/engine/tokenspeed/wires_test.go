package tokenspeed

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
	zero := 0.0
	tests := []struct {
		name     string
		endpoint engine.EndpointName
		request  engine.GenerateRequest
		want     string
	}{
		{"completion", engine.EndpointCompletions,
			engine.GenerateRequest{Model: "m", Prompt: "hi", MaxTokens: 4, IgnoreEOS: true, Stream: true, Temperature: &zero},
			`{"model":"m","prompt":"hi","max_tokens":4,"temperature":0,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true}}`},
		{"chat: only max_completion_tokens reaches the engine", engine.EndpointChat,
			engine.GenerateRequest{Model: "m", Prompt: "hi", MaxTokens: 4, Extra: map[string]any{"top_k": 5}},
			`{"model":"m","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":4,"stream":false,"top_k":5}`},
		{"generate", engine.EndpointGenerate,
			engine.GenerateRequest{Model: "m", Prompt: "hi", MaxTokens: 4, IgnoreEOS: true, Temperature: &zero, Stream: true},
			`{"model":"m","text":"hi","sampling_params":{"ignore_eos":true,"max_new_tokens":4,"temperature":0},"stream":true}`},
		{"generate: token ids and extras", engine.EndpointGenerate,
			engine.GenerateRequest{PromptTokens: []int{1, 2}, Extra: map[string]any{"top_p": 0.5, "rid": "a"}},
			`{"input_ids":[1,2],"sampling_params":{"top_p":0.5},"stream":false,"rid":"a"}`},
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
		{engine.EndpointCompletions, engine.GenerateRequest{PromptTokens: []int{1}}, "text prompt"},
		{engine.EndpointCompletions, engine.GenerateRequest{Extra: map[string]any{"seed": 1}}, `"seed"`}, // accepted and dropped
		{engine.EndpointChat, engine.GenerateRequest{Extra: map[string]any{"reasoning_efort": "low"}}, `"reasoning_effort"`},
		{engine.EndpointGenerate, engine.GenerateRequest{Messages: []engine.Message{{Role: "user"}}}, "chat"},
		{engine.EndpointGenerate, engine.GenerateRequest{Extra: map[string]any{"text": "x"}}, "load generator"},
		{engine.EndpointGenerate, engine.GenerateRequest{Extra: map[string]any{"stream": true}}, "load generator"},
		{engine.EndpointGenerate, engine.GenerateRequest{Extra: map[string]any{"max_tokens": 4}}, "does not accept"},
		{engine.EndpointGenerate, engine.GenerateRequest{Extra: map[string]any{"top_k": func() {}}}, "json"},
	}
	for _, tt := range tests {
		body, err := encode(t, tt.endpoint, tt.request)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s %+v: %q, %v; want an error with %q", tt.endpoint, tt.request.Extra, body, err, tt.says)
		}
	}
}

func TestDecodeGenerate(t *testing.T) {
	tests := []struct {
		name, data string
		want       engine.Delta
	}{
		{"text is cumulative although the ids are new ones",
			`{"text":"one two","output_ids":[7],"meta_info":{"id":"a-0","finish_reason":null,"prompt_tokens":3,"completion_tokens":2,"cached_tokens":1},"index":0}`,
			engine.Delta{Text: "one two", Cumulative: true, HasChoices: true, Tokens: 2, Usage: &engine.Usage{Prompt: 3, Completion: 2, Cached: 1}}},
		{"finish as a word", `{"text":"one","output_ids":[7],"meta_info":{"finish_reason":"length","prompt_tokens":3,"completion_tokens":1,"cached_tokens":0,"e2e_latency":0.5}}`,
			engine.Delta{Text: "one", Cumulative: true, HasChoices: true, Tokens: 1, Finish: "length", Usage: &engine.Usage{Prompt: 3, Completion: 1}}},
		{"whole reply in an array", `[{"text":"one","output_ids":[7],"meta_info":{"finish_reason":{"type":"stop"},"prompt_tokens":3,"completion_tokens":1}}]`,
			engine.Delta{Text: "one", Cumulative: true, HasChoices: true, Tokens: 1, Finish: "stop", Usage: &engine.Usage{Prompt: 3, Completion: 1, Cached: -1}}},
		{"two outputs are joined", `[{"text":"a","output_ids":[7],"meta_info":{"prompt_tokens":3,"completion_tokens":1}},{"text":"b","output_ids":[7,8],"meta_info":{"prompt_tokens":3,"completion_tokens":2}}]`,
			engine.Delta{Text: "ab", Cumulative: true, HasChoices: true, Tokens: 3, Usage: &engine.Usage{Prompt: 3, Completion: 3, Cached: -1}}},
		{"error in the stream", `{"error":{"message":"Stream error: gone","type":"internal_error"}}`,
			engine.Delta{Error: "Stream error: gone", Cumulative: true, Tokens: -1}},
		{"abort", `{"text":"","meta_info":{"finish_reason":"abort"}}`,
			engine.Delta{HasChoices: true, Finish: "abort", Error: "aborted by the server", Cumulative: true, Tokens: -1}},
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
