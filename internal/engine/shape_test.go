package engine

import (
	"fmt"
	"strings"
	"testing"
)

// matchesLikeDecode demands of a match what Decode says of the same event.
func matchesLikeDecode(t *testing.T, s *Shape, data []byte) (matched bool) {
	t.Helper()
	return matchesLike(t, s, data, DecodeOpenAI)
}

func matchesLike(t *testing.T, s *Shape, data []byte, decode func([]byte, *Delta) error) (matched bool) {
	t.Helper()
	n, ok := s.Match(data)
	if !ok {
		return false
	}
	var d Delta
	if err := decode(data, &d); err != nil {
		t.Fatalf("%s matches, but: %v", data, err)
	}
	if got := len(d.Text) + len(d.Reasoning) + len(d.ToolArgs); got != n {
		t.Fatalf("%s: %d bytes of text, %d decoded", data, n, got)
	}
	if n > 0 && s.Kind() != kindOf(&d) {
		t.Fatalf("%s: text of kind %d, %d decoded", data, s.Kind(), kindOf(&d))
	}
	d.Text, d.Reasoning, d.ToolArgs = "", "", ""
	if !sameDelta(d, *s.Like()) {
		t.Fatalf("%s: like %+v, decoded %+v", data, *s.Like(), d)
	}
	return true
}

func learn(t *testing.T, data string) *Shape {
	t.Helper()
	return learnBy(data, DecodeOpenAI)
}

func learnBy(data string, decode func([]byte, *Delta) error) *Shape {
	var d Delta
	s := new(Shape)
	if err := decode([]byte(data), &d); err == nil {
		s.Learn([]byte(data), &d, decode)
	}
	return s
}

// Native events bring all text so far, or new text alone, which the number of
// their token ids tells.
func TestShapeOfNativeEvents(t *testing.T) {
	const event = `{"text": "%s", "output_ids": [%s], "meta_info": {"id": "a", "finish_reason": null, "prompt_tokens": 5, "completion_tokens": %d, "cached_tokens": 0, "e2e_latency": %d.25}}`
	ids := func(n int) string { return strings.TrimSuffix(strings.Repeat("17, ", n), ", ") }
	tell, all := GenerateOptions{IDsTell: true}, GenerateOptions{}
	for _, first := range []int{1, 2, 7} {
		s := learnBy(fmt.Sprintf(event, "one", ids(first), first, 0), tell.Decode)
		for n := 1; n < 2000; n += 7 {
			if !matchesLike(t, s, fmt.Appendf(nil, event, strings.Repeat("one ", n), ids(n), n, n), tell.Decode) || !s.Like().Cumulative || s.Like().Tokens != n {
				t.Fatalf("all text so far, %d tokens: no match", n)
			}
			if matchesLike(t, s, fmt.Appendf(nil, event, "one", ids(n), n+1, n), tell.Decode) {
				t.Fatalf("new text alone, %d ids of %d tokens: matched", n, n+1)
			}
		}
		s = learnBy(fmt.Sprintf(event, "one", ids(first), first+3, 0), tell.Decode)
		for n := 2; n < 2000; n += 7 {
			if !matchesLike(t, s, fmt.Appendf(nil, event, "one", ids(1), n, n), tell.Decode) || s.Like().Cumulative {
				t.Fatalf("new text alone, %d tokens: no match", n)
			}
		}
		s = learnBy(fmt.Sprintf(event, "one", ids(1), first, 0), all.Decode)
		for n := 1; n < 100; n++ {
			if !matchesLike(t, s, fmt.Appendf(nil, event, "one", ids(n%3+1), n, n), all.Decode) || !s.Like().Cumulative {
				t.Fatalf("all text so far whatever the ids, %d tokens: no match", n)
			}
		}
	}
}

// FuzzNativeShape holds the decoder of native events to what a Shape takes it for.
func FuzzNativeShape(f *testing.F) {
	f.Add([]byte(`{"text":"a","output_ids":[1],"meta_info":{"completion_tokens":1}}`), []byte(`{"text":"ab","output_ids":[1,2],"meta_info":{"completion_tokens":2}}`), []byte("2"), true)
	f.Add([]byte(`{"text":"a","output_ids":[1],"meta_info":{"completion_tokens":2,"prompt_tokens":1}}`), []byte(`{}`), []byte("1, 2"), true)
	f.Add([]byte(`{"output_ids":[1],"text":"a","meta_info":{"completion_tokens":1},"output_ids":[1,2]}`), []byte(`{}`), []byte("1"), true)
	f.Add([]byte(`[{"text":"a","output_ids":[1],"meta_info":{"completion_tokens":1}},{"output_ids":[3],"meta_info":{"completion_tokens":0}}]`), []byte(`{}`), []byte("1"), true)
	f.Add([]byte(`{"text":"a","output_ids":[1],"x":[2],"meta_info":{"completion_tokens":1,"cached_tokens":0}}`), []byte(`{}`), []byte("a"), false)
	f.Fuzz(func(t *testing.T, first, second, put []byte, tell bool) {
		o := GenerateOptions{IDsTell: tell}
		s := learnBy(string(first), o.Decode)
		matchesLike(t, s, first, o.Decode)
		matchesLike(t, s, second, o.Decode)
		for i := range s.holes { // the first event with something else in one hole and in all
			for _, only := range []bool{true, false} {
				matchesLike(t, s, s.filled(first, put, i, only), o.Decode)
			}
		}
	})
}

// filled is the event that was learned with other bytes in hole i, or from it on.
func (s *Shape) filled(event, put []byte, i int, only bool) (data []byte) {
	from := uint16(0)
	for k, h := range s.holes {
		part := s.known[from:h.part]
		data, event, from = append(data, part...), event[len(part):], h.part
		n := 0
		switch h.kind {
		case holeText:
			n, _ = textPrefix(event)
		case holeIDs:
			n, _ = idsPrefix(event)
		default:
			n = numberPrefix(event)
		}
		if k == i || k > i && !only {
			data = append(data, put...)
		} else {
			data = append(data, event[:n]...)
		}
		event = event[n:]
	}
	return append(data, s.known[from:]...)
}

func TestShape(t *testing.T) {
	const (
		completion = `{"id":"a","created":17,"model":"m","choices":[{"index":0,"text":"%s","logprobs":null,"finish_reason":null}],"usage":null}`
		chat       = `{"id":"a","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}`
		reasoning  = `{"choices":[{"delta":{"content":null,"reasoning_content":"%s"}}]}`
		tool       = `{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"%s"}}]}}]}`
		late       = `{"text":"a","choices":[{"text":"%s"}],"model":"a"}`
	)
	for _, shape := range []string{completion, chat, reasoning, tool, late} {
		s := learn(t, fmt.Sprintf(shape, "a"))
		for _, text := range []string{"b", " token", `\n`, `\"`, `\\`, "日本", "é\\n", `a\\`} {
			if !matchesLikeDecode(t, s, fmt.Appendf(nil, shape, text)) {
				t.Errorf("%s with %q: no match", shape, text)
			}
		}
		for _, text := range []string{"", "\"", `\u00e9`, `\`, `\x`, "\n", "\xff", `","finish_reason":"stop`, `"},"x":"`} {
			if matchesLikeDecode(t, s, fmt.Appendf(nil, shape, text)) {
				t.Errorf("%s with %q: matched", shape, text)
			}
		}
	}
	for _, other := range []string{
		``, `[]`, `{}`, `{"error":"a"}`, `{"choices":[]}`, `{"choices":[{"text":""}]}`, `{"choices":[{"text":"a","finish_reason":"stop"}]}`,
		`{"choices":[{"text":"a"},{"text":"b"}]}`,
		`{"choices":[{"text":"\n"}]}`,
	} {
		if s := learn(t, other); len(s.holes) != 0 {
			t.Errorf("%s was learned", other)
		}
	}
}

// Where a member counts only when another one is empty, an empty text is decoded.
func TestShapeLeavesEmptyTexts(t *testing.T) {
	const both = `{"choices":[{"delta":{"reasoning_content":"%s","reasoning":"other"}}]}`
	s := learn(t, fmt.Sprintf(both, "a"))
	if !matchesLikeDecode(t, s, fmt.Appendf(nil, both, "b")) {
		t.Error("no match")
	}
	if matchesLikeDecode(t, s, fmt.Appendf(nil, both, "")) {
		t.Error("an empty text matched")
	}
}

// Numbers that count on are no other shape; what they say is told.
func TestShapeCounts(t *testing.T) {
	const event = `{"id":"a1","created":%d,"choices":[{"index":%d,"text":" x"}],"latency":%s,"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d}}`
	s := learn(t, fmt.Sprintf(event, 17, 0, "0.25", 5, 6, 1))
	for i := range 2000 {
		data := fmt.Appendf(nil, event, 17+i/100, i%2, fmt.Sprintf("%.3f", float64(i)/7), 5, 5+i, i)
		if !matchesLikeDecode(t, s, data) || s.Like().Usage.Completion != i {
			t.Fatalf("%s: %+v", data, s.Like())
		}
	}
	for _, other := range []string{
		fmt.Sprintf(event, 17, 0, "0.25", 6, 6, 1),                                          // another prompt
		fmt.Sprintf(event, 17, 0, "-1", 5, 6, 1), fmt.Sprintf(event, 17, 0, "1e3", 5, 6, 1), // forms left to Decode
		fmt.Sprintf(event, 17, 0, "00.5", 5, 6, 1), fmt.Sprintf(event, 17, 0, "1.", 5, 6, 1), // no JSON
	} {
		if matchesLikeDecode(t, s, []byte(other)) {
			t.Errorf("%s: matched", other)
		}
	}
}

// A stream whose every event is new costs few attempts to learn it.
func TestShapeGivesUp(t *testing.T) {
	s, decoded := new(Shape), 0
	decode := func(data []byte, d *Delta) error { decoded++; return DecodeOpenAI(data, d) }
	for i := range 10_000 {
		data := fmt.Appendf(nil, `{"id":"%d","choices":[{"text":"a"}]}`, i)
		if _, ok := s.Match(data); ok {
			t.Fatal("matched another id")
		}
		var d Delta
		if err := DecodeOpenAI(data, &d); err != nil {
			t.Fatal(err)
		}
		s.Learn(data, &d, decode)
	}
	if decoded > 60 {
		t.Errorf("%d decodings for nothing", decoded)
	}
}

func FuzzShape(f *testing.F) {
	f.Add([]byte(`{"id":"a","choices":[{"text":"a"}]}`), []byte(`{"id":"a","choices":[{"text":"b"}]}`), []byte("b"))
	f.Add([]byte(`{"choices":[{"delta":{"reasoning_content":"a","reasoning":"b"}}]}`), []byte(`{}`), []byte(""))
	f.Add([]byte(`{"choices":[{"delta":{"content":"a"}}],"id":"a"}`), []byte(`{}`), []byte(`","finish_reason":"x`))
	f.Add([]byte(`{"text":"a","choices":[{"text":"a","text":"a"}]}`), []byte(`x`), []byte("\xff\\u0041"))
	f.Add([]byte(`{"choices":[{"text":"a","index":0}],"created":17,"t":0.5,"usage":{"prompt_tokens":3,"completion_tokens":1}}`), []byte(`{}`), []byte("7"))
	f.Fuzz(func(t *testing.T, first, second, text []byte) {
		s := learn(t, string(first))
		matchesLikeDecode(t, s, first)
		matchesLikeDecode(t, s, second)
		if len(s.holes) > 0 { // the same parts with the text in every hole
			var data []byte
			from := uint16(0)
			for _, h := range s.holes {
				data = append(append(data, s.known[from:h.part]...), text...)
				from = h.part
			}
			matchesLikeDecode(t, s, append(data, s.known[from:]...))
		}
	})
}

func BenchmarkShape(b *testing.B) {
	event := []byte(`{"id":"chatcmpl-0123456789abcdef0123456789abcdef","object":"chat.completion.chunk","created":1800000000,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}],"usage":{"prompt_tokens":64,"total_tokens":70,"completion_tokens":6}}`)
	var d Delta
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if err := DecodeOpenAI(event, &d); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("match", func(b *testing.B) {
		var s Shape
		s.Learn(event, &d, DecodeOpenAI)
		for b.Loop() {
			if _, ok := s.Match(event); !ok {
				b.Fatal("no match")
			}
		}
	})
}

func BenchmarkNativeShape(b *testing.B) {
	event := fmt.Appendf(nil, `{"text":"%s","output_ids":[%s1],"meta_info":{"id":"0123456789abcdef0123456789abcdef","finish_reason":null,"prompt_tokens":64,"weight_version":"default","completion_tokens":251,"cached_tokens":0}}`, strings.Repeat("token ", 250), strings.Repeat("12345,", 250))
	o := GenerateOptions{IDsTell: true}
	b.Run("decoded", func(b *testing.B) {
		var d Delta
		for b.Loop() {
			if err := o.Decode(event, &d); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("matched", func(b *testing.B) {
		s := learnBy(string(event), o.Decode)
		for b.Loop() {
			if _, ok := s.Match(event); !ok {
				b.Fatal("no match")
			}
		}
	})
}
