package engine

import (
	"encoding/json"
	"strings"
	"testing"
)

// Every form of a message that the OpenAI protocol has goes through unchanged.
func TestMessageForms(t *testing.T) {
	for _, text := range []string{
		`{"role":"user","content":"a <b> & \"c\""}`,
		`{"role":"user","content":""}`,
		`{"role":"user","content":[{"type":"text","text":"what is it?"},{"type":"image_url","image_url":{"url":"https://host/a.png?x=1&y=2"}}]}`,
		`{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}}]}`,
		`{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}},{"type":"text","text":""}]}`,
		`{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]}`,
		`{"role":"tool","content":"4","tool_call_id":"1"}`,
		`{"role":"user","content":"hi","name":"ann"}`,
	} {
		var m Message
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var b Body
		b.Set("m", m)
		if got, err := b.Bytes(); err != nil || string(got) != `{"m":`+text+"}" {
			t.Errorf("%s\nbecame %s (%v)", text, got, err)
		}
	}
	for text, want := range map[string]string{
		`[]`: "cannot unmarshal", `{"role":1}`: "cannot unmarshal", `{"role":"user","content":7}`: "expected a text",
		`{"role":"user","content":[7]}`: "cannot unmarshal", `{"role":"user","content":[{}]}`: "an object with a type",
	} {
		var m Message
		if err := json.Unmarshal([]byte(text), &m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestMessageText(t *testing.T) {
	plain := Message{Role: "user", Content: "b"}
	parts := Message{Role: "user", Parts: []Part{{Text: "b"}, {ImageURL: "https://host/x"}, {Text: "c"}}}
	if a, b := plain.WithPrefix("a").Text(), parts.WithPrefix("a").Text(); a != "ab" || b != "abc" || parts.Text() != "bc" || plain.Text() != "b" {
		t.Errorf("%q %q", a, b)
	}
}

// A chat with images keeps its parts on the wire.
func TestChatSendsParts(t *testing.T) {
	body, err := OpenAIChat(WireOptions{}).Encode(GenerateRequest{Model: "m", Messages: []Message{{Role: "user", Parts: []Part{{Text: "see"}, {ImageURL: "https://host/x"}}}}})
	if want := `"messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"https://host/x"}}]}]`; err != nil || !strings.Contains(string(body), want) {
		t.Errorf("%s, %v", body, err)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(`{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":"u"}]}`)
	f.Add(`{"content":null,"x":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		var m Message
		if json.Unmarshal([]byte(text), &m) != nil {
			return
		}
		out, err := json.Marshal(m)
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", text, err)
		}
		var again Message
		if err := json.Unmarshal(out, &again); err != nil || again.Text() != m.Text() || again.Role != m.Role {
			t.Fatalf("%q became %s (%v)", text, out, err)
		}
	})
}
