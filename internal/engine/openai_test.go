package engine

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeOpenAI(t *testing.T) {
	tests := []struct {
		name, data string
		want       Delta
	}{
		{"completion text", `{"id":"cmpl-1","choices":[{"index":0,"text":" a\u00e9\n","finish_reason":null}]}`,
			Delta{Text: " aé\n", HasChoices: true, Tokens: -1}},
		{"role only", `{"choices":[{"delta":{"role":"assistant","content":""}}]}`,
			Delta{HasChoices: true, Tokens: -1}},
		{"null content", `{"choices":[{"delta":{"role":"assistant","content":null,"reasoning_content":null}}]}`,
			Delta{HasChoices: true, Tokens: -1}},
		{"content with usage", `{"choices":[{"delta":{"content":"hi"}}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}`,
			Delta{Text: "hi", HasChoices: true, Tokens: 2, Usage: &Usage{5, 2, -1}}},
		{"reasoning_content", `{"choices":[{"delta":{"reasoning_content":"so"}}]}`,
			Delta{Reasoning: "so", HasChoices: true, Tokens: -1}},
		{"reasoning", `{"choices":[{"delta":{"reasoning":"so"}}]}`,
			Delta{Reasoning: "so", HasChoices: true, Tokens: -1}},
		{"both spellings once", `{"choices":[{"delta":{"reasoning":"so","reasoning_content":"so"}}]}`,
			Delta{Reasoning: "so", HasChoices: true, Tokens: -1}},
		{"tool call", `{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"a\":"}}]}}]}`,
			Delta{ToolArgs: `{"a":`, HasChoices: true, Tokens: -1}},
		{"finish", `{"choices":[{"delta":{},"finish_reason":"length"}]}`,
			Delta{HasChoices: true, Finish: "length", Tokens: -1}},
		{"usage only", `{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":4}}}`,
			Delta{Tokens: 0, Usage: &Usage{5, 0, 4}}},
		{"null usage", `{"choices":[{"text":"x"}],"usage":null}`, Delta{Text: "x", HasChoices: true, Tokens: -1}},
		{"null details", `{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":null}}`,
			Delta{Tokens: 1, Usage: &Usage{5, 1, -1}}},
		{"error object", `{"error":{"message":"too long","type":"invalid"}}`, Delta{Error: "too long", Tokens: -1}},
		{"error string", `{"error":"Unauthorized"}`, Delta{Error: "Unauthorized", Tokens: -1}},
		{"error without message", `{"error":{"code":500}}`, Delta{Error: `{"code":500}`, Tokens: -1}},
		{"error null", `{"error":null,"choices":[{"text":"x"}]}`, Delta{Text: "x", HasChoices: true, Tokens: -1}},
		{"flat error", `{"object":"error","message":"boom","code":400}`, Delta{Error: "boom", Tokens: -1}},
		{"flat error, other order", `{"message":"boom","object":"error"}`, Delta{Error: "boom", Tokens: -1}},
		{"flat error without message", `{"object":"error"}`, Delta{Error: "error without a message", Tokens: -1}},
		{"whole reply", `{"choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`,
			Delta{Text: "hi", HasChoices: true, Finish: "stop", Tokens: 1, Usage: &Usage{1, 1, -1}}},
		{"two choices", `{"choices":[{"text":"a"},{"text":"b"}]}`, Delta{Text: "ab", HasChoices: true, Tokens: -1}},
		{"wrong types", `{"choices":{"a":1},"usage":"x","object":7}`, Delta{Tokens: -1}},
		{"surrogates", `{"choices":[{"text":"\ud83d\ude00\ud83dx"}]}`, Delta{Text: "😀\uFFFDx", HasChoices: true, Tokens: -1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Delta{Text: "stale", Usage: &Usage{}, Error: "stale"}
			if err := DecodeOpenAI([]byte(tt.data), &got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestDecodeOpenAIRefuses(t *testing.T) {
	for data, want := range map[string]string{
		``:                             "expected a value, found the end",
		`[]`:                           "expected an object",
		`{"choices":[{"text":"x"}`:     `expected "," or "]"`,
		`{"choices":[{"text":"x}]}`:    "expected the end of a string",
		`{"a":01}`:                     `expected "," or "}"`,
		`{} {}`:                        "nothing after the value",
		strings.Repeat(`{"a":`, 1_000): "at most 64 levels",
		`{"a":tru}`:                    "expected true",
	} {
		var d Delta
		if err := DecodeOpenAI([]byte(data), &d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: error %v, want %q", data, err, want)
		}
	}
}

// What the standard library accepts, up to the depth limit, is accepted, and
// nothing else; texts come out alike.
func FuzzDecodeOpenAI(f *testing.F) {
	f.Add([]byte(`{"choices":[{"text":"a\ud83d\n","delta":{"content":"\u00e9"}}],"usage":{"prompt_tokens":1e2,"completion_tokens":-0}}`))
	f.Add([]byte(`{"error":{"message":"x"}}`))
	f.Add([]byte("{\"a\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d Delta
		err := DecodeOpenAI(data, &d)
		valid := json.Valid(data) && strings.HasPrefix(strings.TrimLeft(string(data), " \t\r\n"), "{")
		if err == nil && !valid {
			t.Fatalf("accepted %q", data)
		}
		if err != nil && valid && !strings.Contains(err.Error(), "64 levels") {
			t.Fatalf("refused %q: %v", data, err)
		}
	})
}

func FuzzCursorText(f *testing.F) {
	f.Add(`"a\u00e9\ud83d\ude00"`)
	f.Add("\"\xc3\\u0000\"")
	f.Fuzz(func(t *testing.T, data string) {
		c := NewCursor([]byte(data))
		got, ok := c.Text()
		var want string
		if err := json.Unmarshal([]byte(data), &want); err == nil && data[0] == '"' && (!ok || got != want) {
			t.Fatalf("%q: %q, want %q", data, got, want)
		}
	})
}

func TestCursorNumbers(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "-12": -12, "3.9": 3, "1e3": 1000, "123456789012345678": 123456789012345678} {
		c := NewCursor([]byte(text))
		if got, ok := c.Int(); !ok || got != want || c.End() != nil {
			t.Errorf("%s: %d %v %v", text, got, ok, c.End())
		}
	}
	for _, text := range []string{"1e400", "1e300", `"7"`, "null", "-", "01"} {
		c := NewCursor([]byte(text))
		if got, ok := c.Int(); ok && c.End() == nil {
			t.Errorf("%s: read as %d", text, got)
		}
	}
}

func TestOpenAIEncode(t *testing.T) {
	zero, seed := 0.0, int64(7)
	o := WireOptions{Fields: []string{"top_k"}, IgnoreEOS: "ignore_eos", IncludeUsage: true, ContinuousUsage: true}
	w := OpenAICompletions(o)
	body, err := w.Encode(GenerateRequest{Model: "m", Prompt: "a<b", MaxTokens: 4, IgnoreEOS: true, Stream: true,
		Temperature: &zero, Seed: &seed, Extra: map[string]any{"top_k": 3, "temperature": 0.5}})
	want := `{"model":"m","prompt":"a<b","max_tokens":4,"seed":7,"ignore_eos":true,"stream":true,` +
		`"stream_options":{"include_usage":true,"continuous_usage_stats":true},"temperature":0.5,"top_k":3}`
	if err != nil || string(body) != want {
		t.Errorf("completions:\n got %s %v\nwant %s", body, err, want)
	}
	chat := OpenAIChat(WireOptions{MaxTokens: "max_completion_tokens"})
	body, err = chat.Encode(GenerateRequest{Model: "m", Prompt: "hi", MaxTokens: 4})
	want = `{"model":"m","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":4,"stream":false}`
	if err != nil || string(body) != want {
		t.Errorf("chat:\n got %s %v\nwant %s", body, err, want)
	}
}

func TestOpenAIEncodeRefuses(t *testing.T) {
	w := OpenAICompletions(WireOptions{Fields: []string{"top_k"}, NoTokenPrompts: true, Without: []string{"suffix"}})
	chat := OpenAIChat(WireOptions{})
	for _, tt := range []struct {
		name string
		wire Wire
		req  GenerateRequest
		want string
	}{
		{"unknown field", w, GenerateRequest{Extra: map[string]any{"topk": 1}}, `nearest that it accepts is "top_k"`},
		{"removed field", w, GenerateRequest{Extra: map[string]any{"suffix": "x"}}, "does not accept it"},
		{"own field", w, GenerateRequest{Extra: map[string]any{"stream": true}}, "set by the load generator"},
		{"token prompt", w, GenerateRequest{PromptTokens: []int{1}}, "not token ids"},
		{"messages", w, GenerateRequest{Messages: []Message{{}}}, "not messages"},
		{"chat tokens", chat, GenerateRequest{PromptTokens: []int{1}}, "not token ids"},
		{"ignore eos", w, GenerateRequest{IgnoreEOS: true}, "leave ignore_eos off"},
		{"value", w, GenerateRequest{Extra: map[string]any{"top_k": make(chan int)}}, "cannot be written as JSON"},
	} {
		if body, err := tt.wire.Encode(tt.req); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %s, error %v, want %q", tt.name, body, err, tt.want)
		}
	}
}

func BenchmarkDecodeOpenAI(b *testing.B) {
	data := []byte(`{"id":"cmpl-6e1f6b0c","object":"text_completion","created":1787000000,"model":"some/model","choices":[{"index":0,"text":" word","logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":{"prompt_tokens":1000,"total_tokens":1001,"completion_tokens":1}}`)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var d Delta
	for b.Loop() {
		if err := DecodeOpenAI(data, &d); err != nil {
			b.Fatal(err)
		}
	}
}
