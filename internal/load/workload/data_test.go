package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"llmdyno/internal/engine"
)

// pieces is a tokenizer that cuts words into pieces of three bytes, a space
// before a word being part of it: most words are more than one token.
type pieces struct{}

func (pieces) Count(text string) int {
	n := 0
	for i, w := range strings.Split(text, " ") {
		if i > 0 {
			w = " " + w
		}
		n += (len(w) + 2) / 3
	}
	return n
}

func tempFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func make10(t testing.TB, s Spec) []Request {
	t.Helper()
	reqs, err := s.Requests()
	if err != nil {
		t.Fatal(err)
	}
	return reqs
}

const sharegptFile = `[
 {"id":"a","conversations":[{"from":"human","value":"What is the tallest mountain of the world?"},{"from":"gpt","value":"It is Mount Everest, in the Himalayas."},{"from":"human","value":"How high is it above the sea?"},{"from":"gpt","value":"It is 8849 metres high."}]},
 {"id":"b","conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Hello, how can I help you today?"}]},
 {"id":"c","conversations":[{"from":"human","value":"Name three colours of the rainbow."},{"from":"gpt","value":"Red, green and blue, among others."}]},
 {"id":"d","conversations":[{"from":"human","value":"Tell me a story about the sea and its ships."}]}
]`

const conversationFile = `{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"What is 2+2?"},{"role":"assistant","content":"It is four."},{"role":"user","content":"And 3+3?"}],"output_len":[5,9],"think_ms":[0,1500],"timestamp":2000}
{"turns":[{"content":"Hello there","output_len":4},{"text":"Go on","delay":250,"reply":"Well."},{"content":"More"}],"timestamp":1000,"extra_request_body":{"top_p":0.5}}`

const mooncakeFile = `{"timestamp": 0, "input_length": 1300, "output_length": 52, "hash_ids": [0, 1, 2]}
{"timestamp": 500, "input_length": 1100, "output_length": 26, "hash_ids": [0, 1, 3]}
{"timestamp": 250, "input_length": 600, "output_length": 1, "hash_ids": [7]}`

// Every kind that makes or reads requests.
func everyKind(t testing.TB) map[string]Spec {
	ratio := 0.5
	yes := true
	return map[string]Spec{
		"random":         {NumPrompts: 40, Input: Lengths{Kind: LengthUniform, Min: 5, Max: 30}, Output: Lengths{Kind: LengthNormal, Mean: 20, Stddev: 5}},
		"shared prefix":  {Kind: KindPrefix, NumPrompts: 40, InputLen: 10, OutputLen: 3, Prefix: Prefix{Groups: 3, Len: 20, Ratio: &ratio}},
		"sharegpt":       {Kind: KindShareGPT, NumPrompts: 5, Path: tempFile(t, "s.json", sharegptFile)},
		"conversations":  {Kind: KindConversation, NumPrompts: 40, InputLen: 10, OutputLen: 6, Turns: Lengths{Kind: LengthUniform, Min: 1, Max: 5}, ThinkMs: Fixed(700)},
		"dialogues":      {Kind: KindConversation, NumPrompts: 12, Path: tempFile(t, "c.jsonl", conversationFile), Nonce: &yes},
		"mooncake":       {Kind: KindMooncake, Path: tempFile(t, "m.jsonl", mooncakeFile)},
		"mooncake again": {Kind: KindMooncake, NumPrompts: 7, Path: tempFile(t, "m.jsonl", mooncakeFile)},
	}
}

// The same spec gives the same workload, a longer one begins with the shorter
// one, and another seed gives other prompts.
func TestEveryKindIsStable(t *testing.T) {
	for name, s := range everyKind(t) {
		s.Seed = 3
		reqs := make10(t, s)
		if !reflect.DeepEqual(reqs, make10(t, s)) {
			t.Errorf("%s: two workloads of one seed differ", name)
		}
		if s.Kind != KindMooncake || s.NumPrompts > 0 {
			s.NumPrompts *= 2
			if longer := make10(t, s); !reflect.DeepEqual(longer[:len(reqs)], reqs) {
				t.Errorf("%s: the longer workload does not begin with the shorter one:\n%s", name, cmp.Diff(reqs, longer[:len(reqs)]))
			}
			s.NumPrompts /= 2
		}
		for i, q := range reqs {
			if err := q.validate(reqs[:i+1]); err != nil || q.Index != i {
				t.Errorf("%s, request %d: %v: %+v", name, i, err, q)
			}
		}
		if s.Describe() == "" {
			t.Errorf("%s is not described", name)
		}
		s.Seed = 4
		if other := make10(t, s); s.Kind != KindShareGPT && reflect.DeepEqual(other, reqs) {
			t.Errorf("%s: two seeds gave the same workload", name)
		}
	}
}

// With a tokenizer every made prompt has exactly its length, however the
// tokenizer cuts words.
func TestLengthsAreExact(t *testing.T) {
	counters := map[string]Spec{
		"tokenizer": {Tokenizer: pieces{}},
		"server":    {Counter: func(text string) (int, error) { return pieces{}.Count(text), nil }},
		"bytes":     {Counter: func(text string) (int, error) { return len(text), nil }},
	}
	for counter, with := range counters {
		for name, s := range everyKind(t) {
			s.Tokenizer, s.Counter = with.Tokenizer, with.Counter
			for i, q := range make10(t, s) {
				n, err := s.count(q.Prompt)
				for _, m := range q.Messages {
					k, _ := s.count(m.Text())
					n += k
				}
				nonce := s.Kind == KindConversation && s.Path != "" // counted apart from the text that it stands before
				if err != nil || n != q.InputLen && !nonce {
					t.Fatalf("%s, %s, request %d: %d tokens, want %d (%v)", counter, name, i, n, q.InputLen, err)
				}
			}
		}
	}
}

func TestCountersFail(t *testing.T) {
	down := Spec{NumPrompts: 1, InputLen: 5, Counter: func(string) (int, error) { return 0, errors.New("connection refused") }}
	if _, err := down.Requests(); err == nil || !strings.Contains(err.Error(), "request 0: counting the tokens of a text: connection refused") {
		t.Errorf("%v", err)
	}
	even := Spec{NumPrompts: 1, InputLen: 5, Counter: func(text string) (int, error) { return 2 * len(strings.Fields(text)), nil }}
	if _, err := even.Requests(); err == nil || !strings.Contains(err.Error(), "no text of exactly 5 tokens was found") {
		t.Errorf("%v", err)
	}
}

// Without a nonce random prompts are other ones, and with one they are those of
// RandomPrompt.
func TestNonce(t *testing.T) {
	no := false
	s := Spec{NumPrompts: 3, InputLen: 8, Seed: 2}
	with := make10(t, s)
	s.Nonce = &no
	without := make10(t, s)
	for i := range with {
		if with[i].Prompt != RandomPrompt(2, i, 8) || with[i].Prompt == without[i].Prompt {
			t.Errorf("%q, %q", with[i].Prompt, without[i].Prompt)
		}
	}
	yes := true
	rows := tempFile(t, "r.jsonl", "{\"prompt\":\"same\",\"input_len\":1}\n{\"messages\":[{\"role\":\"user\",\"content\":\"same\"}]}\n")
	seen := map[string]bool{}
	for _, q := range make10(t, Spec{Kind: KindCustom, Path: rows, NumPrompts: 100, Nonce: &yes}) {
		text := q.Prompt
		if len(q.Messages) > 0 {
			text = q.Messages[0].Content
		}
		if seen[text] || !strings.HasSuffix(text, ": same") || q.SharedLen != 0 {
			t.Errorf("%+v", q)
		}
		seen[text] = true
	}
	for want, s := range map[string]Spec{
		"would take away":  {Kind: KindPrefix, NumPrompts: 1, InputLen: 1, Prefix: Prefix{Len: 5}, Nonce: &yes},
		"before token ids": {Kind: KindCustom, Path: tempFile(t, "i.jsonl", `{"prompt":[1,2]}`), Nonce: &yes},
	} {
		if _, err := s.Requests(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestSharedPrefix(t *testing.T) {
	ratio := 0.75
	s := Spec{Kind: KindPrefix, NumPrompts: 2000, InputLen: 10, OutputLen: 1, Seed: 5, Prefix: Prefix{Groups: 4, Len: 30, Ratio: &ratio}}
	heads := map[string]int{}
	shared := 0
	for _, q := range make10(t, s) {
		words := strings.Fields(q.Prompt)
		if len(words) != 40 || q.InputLen != 40 {
			t.Fatalf("%d words", len(words))
		}
		head := strings.Join(words[:30], " ")
		if (heads[head] > 0) != (q.SharedLen == 30) {
			t.Fatalf("request %d says that it shares %d tokens; its beginning was there %d times", q.Index, q.SharedLen, heads[head])
		}
		if heads[head]++; q.SharedLen > 0 {
			shared++
		}
	}
	groups := 0
	for _, n := range heads {
		if n > 1 {
			groups++
		}
	}
	if groups != 4 || shared < 1400 || shared > 1600 {
		t.Errorf("%d groups, %d requests share; want 4 and about 1496", groups, shared)
	}
	got, ok, err := s.SharedRatio()
	if want := float64(shared) * 30 / (2000 * 40); err != nil || !ok || got != want {
		t.Errorf("shared ratio %v, want %v (%v)", got, want, err)
	}
	for _, p := range []Prefix{{Len: 0}, {Len: 5, Groups: -1}, {Len: maxLen + 1}} {
		s.Prefix = p
		if _, err := s.Requests(); err == nil || !strings.Contains(err.Error(), "shared prefix of") {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func TestSharedRatio(t *testing.T) {
	for name, tt := range map[string]struct {
		s    Spec
		want float64
		ok   bool
	}{
		"random":   {Spec{NumPrompts: 3, InputLen: 5}, 0, true},
		"unknown":  {Spec{Kind: KindCustom, Path: tempFile(t, "x.jsonl", `{"prompt":"a","input_len":1}`)}, 0, false},
		"mooncake": {Spec{Kind: KindMooncake, Path: tempFile(t, "m.jsonl", mooncakeFile)}, 1024.0 / 3000, true},
	} {
		got, ok, err := tt.s.SharedRatio()
		if err != nil || ok != tt.ok || got != tt.want {
			t.Errorf("%s: %v, %v, %v, want %v, %v", name, got, ok, err, tt.want, tt.ok)
		}
	}
	// Two turns of 10 tokens with answers of 5: 10, then 10+5+10 of which 10 are shared.
	for _, tokenizer := range []Tokenizer{nil, pieces{}} {
		got, ok, err := Spec{Kind: KindConversation, NumPrompts: 2, InputLen: 10, OutputLen: 5, Turns: Fixed(2), Tokenizer: tokenizer}.SharedRatio()
		if err != nil || !ok || got != 10.0/35 {
			t.Errorf("conversation: %v, %v, %v", got, ok, err)
		}
	}
}

func TestShareGPT(t *testing.T) {
	path := tempFile(t, "s.json", sharegptFile)
	for name, tt := range map[string]struct {
		s    Spec
		want []string // prompts, sorted
		out  int
	}{
		"both tools' default": {Spec{}, []string{"Name three colours of the rainbow.", "What is the tallest mountain of the world?"}, 0},
		"short ones too":      {Spec{MinTokens: 1}, []string{"Hi", "Name three colours of the rainbow.", "What is the tallest mountain of the world?"}, 0},
		"short prompts":       {Spec{MaxInput: 10}, []string{"Name three colours of the rainbow."}, 0},
		"fixed output":        {Spec{OutputLen: 77}, []string{"Name three colours of the rainbow.", "What is the tallest mountain of the world?"}, 77},
	} {
		tt.s.Kind, tt.s.Path = KindShareGPT, path
		var got []string
		for _, q := range make10(t, tt.s) {
			got = append(got, q.Prompt)
			if n, _ := tt.s.count(q.Prompt); q.InputLen != n || tt.out > 0 && q.OutputLen != tt.out || q.OutputLen < 1 {
				t.Errorf("%s: %+v", name, q)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	// The other engine's tool takes prompts from two tokens on, without an upper bound.
	long := fmt.Sprintf(`{"conversations":[{"from":"human","value":%q},{"from":"gpt","value":"Yes, it is."}]}`, strings.Repeat("word ", 2000))
	for compat, n := range map[Compat]int{CompatVLLM: 0, CompatSGLang: 1} {
		reqs, err := Spec{Kind: KindShareGPT, Compat: compat}.ReadShareGPT(strings.NewReader(long), "l")
		if len(reqs) != n || (err == nil) != (n > 0) {
			t.Errorf("%s: %d requests, %v", compat, len(reqs), err)
		}
	}
	for text, want := range map[string]string{
		"":                                 "holds no rows",
		"[]":                               "holds no rows",
		"[{":                               "entry 0",
		`[{"id":1}]`:                       `no "conversations"`,
		`[{"conversations":[{"from":1}]}]`: "expected a JSON object",
		`[{"conversations":[]}`:            "the list has no end",
		`[{"conversations":[]}]`:           "no conversation begins with",
		`{"conversations":[]}`:             "no conversation begins with",
		"{\"conversations\":[]}\n7":        "line 2",
	} {
		if _, err := (Spec{}).ReadShareGPT(strings.NewReader(text), "f"); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "workload f") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestReadConversations(t *testing.T) {
	got, err := Spec{ThinkMs: Fixed(100)}.ReadConversations(strings.NewReader(conversationFile), "c")
	if err != nil {
		t.Fatal(err)
	}
	user := func(s string) engine.Message { return engine.Message{Role: "user", Content: s} }
	says := func(s string) engine.Message { return engine.Message{Role: "assistant", Content: s} }
	madeUp := got[1].Messages[1] // nobody recorded the answer to the first turn
	if len(strings.Fields(madeUp.Content)) != 4 || madeUp.Role != "assistant" {
		t.Errorf("made-up answer %+v", madeUp)
	}
	extra := map[string]any{"top_p": 0.5}
	system := engine.Message{Role: "system", Content: "Be brief."}
	second := time.Second // instant of the conversation that is first in the file
	want := []Request{
		{Messages: []engine.Message{user("Hello there")}, OutputLen: 4, Extra: extra},
		{Messages: []engine.Message{user("Hello there"), madeUp, user("Go on")}, OutputLen: 2, Extra: extra, After: 1, Think: 250 * time.Millisecond},
		{Messages: []engine.Message{user("Hello there"), madeUp, user("Go on"), says("Well."), user("More")}, Extra: extra, After: 2, Think: 100 * time.Millisecond},
		{Messages: []engine.Message{system, user("What is 2+2?")}, OutputLen: 5, At: second},
		{Messages: []engine.Message{system, user("What is 2+2?"), says("It is four."), user("And 3+3?")}, OutputLen: 9, At: second, After: 4, Think: 1500 * time.Millisecond},
	}
	before := 0
	for i := range want { // lengths by the rule of thumb, and what the turn before had
		want[i].Index = i
		for _, m := range want[i].Messages {
			if n := (len(m.Content) + 3) / 4; m.Content == madeUp.Content {
				want[i].InputLen += 4 // words
			} else {
				want[i].InputLen += n
			}
		}
		if want[i].After > 0 {
			want[i].SharedLen = before
		}
		before = want[i].InputLen
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if at, ok := Offsets(got); !ok || !slices.Equal(at, []time.Duration{0, time.Second}) {
		t.Errorf("offsets %v, %v", at, ok)
	}
}

// Tool calls, and conversations as ShareGPT has them.
func TestConversationForms(t *testing.T) {
	for text, want := range map[string]string{
		`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{}]},{"role":"tool","content":"4","tool_call_id":"1"},{"role":"assistant","content":"b"}]}`: "user | user assistant tool",
		`{"messages":[{"role":"assistant","content":"hello"},{"role":"user","content":"a"}]}`:                                                                                                    "assistant user",
		sharegptFile: "user | user assistant user | user | user | user",
	} {
		reqs, err := Spec{}.ReadConversations(strings.NewReader(text), "f")
		var got []string
		for _, q := range reqs {
			var roles []string
			for _, m := range q.Messages {
				roles = append(roles, m.Role)
			}
			got = append(got, strings.Join(roles, " "))
		}
		if strings.Join(got, " | ") != want || err != nil {
			t.Errorf("%.60s: %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"{}": "expected one of", `{"messages":[]}`: "expected one of", `{"messages":[{"role":"assistant","content":"x"}]}`: "nobody but the assistant",
		`{"turns":[{}]}`: "turn 0 says nothing", `{"turns":[{"content":"a","output_len":-1}]}`: "output_len -1", `{"turns":[{"content":"a","think_ms":-1}]}`: "-1 ms before it",
		`{"turns":[{"content":"a"}],"think_ms":-5}`: "the number -5", `{"turns":[{"content":"a"}],"output_len":1e9}`: "output_len 1000000000", `{"turns":[{"content":"a"}],"output_len":"x"}`: "expected a JSON object",
		"{\"turns\":[{\"content\":\"a\"}],\"timestamp\":1}\n{\"turns\":[{\"content\":\"a\"}]}": "1 of 2 rows have",
	} {
		if _, err := (Spec{}).ReadConversations(strings.NewReader(text), "f"); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "workload f") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestMooncake(t *testing.T) {
	reqs := make10(t, Spec{Kind: KindMooncake, Path: tempFile(t, "m.jsonl", mooncakeFile), Tokenizer: pieces{}})
	for i, want := range []Request{{InputLen: 1300, OutputLen: 52}, {InputLen: 600, OutputLen: 1, At: 250 * time.Millisecond}, {InputLen: 1100, OutputLen: 26, At: 500 * time.Millisecond, SharedLen: 1024}} {
		q := reqs[i]
		if q.InputLen != want.InputLen || q.OutputLen != want.OutputLen || q.At != want.At || q.SharedLen != want.SharedLen {
			t.Errorf("request %d: %+v", i, q)
		}
	}
	common := 0
	for a, b := reqs[0].Prompt, reqs[2].Prompt; common < len(b) && a[common] == b[common]; common++ {
	}
	if n := (pieces{}).Count(reqs[2].Prompt[:common]); n < 1023 || n > 1030 {
		t.Errorf("the first and the last request share %d tokens, want 1024", n)
	}
	// A session: the second row waits, its place is that of the row before it.
	session := `{"timestamp":5,"input_length":10,"output_length":1}
{"created_time":3,"input_tokens":10,"output_tokens":1,"session_id":"a"}
{"input_length":10,"output_length":1,"session_id":"a","delay":40,"hash_ids":[1]}`
	got, err := Spec{}.ReadMooncake(strings.NewReader(session), "s")
	if err != nil || len(got) != 3 || got[1].After != 1 || got[1].Think != 40*time.Millisecond || got[2].At != 2*time.Millisecond {
		t.Errorf("%+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"": "holds no rows", "{}": `expected "input_length"`, `{"input_length":0,"output_length":1}`: "lengths 0 in", `{"input_length":1,"output_length":-1}`: "-1 out",
		`{"input_length":1000000000,"output_length":1}`: "1000000000 in", `{"input_length":1,"output_length":1,"delay":-1}`: "delay -1", `{"hash_ids":["x"]}`: "expected a JSON object",
		"{\"input_length\":1,\"output_length\":1,\"timestamp\":1}\n{\"input_length\":1,\"output_length\":1}": "1 of 2 rows have",
	} {
		if _, err := (Spec{}).ReadMooncake(strings.NewReader(text), "f"); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "workload f") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// What is written is read back, whatever it is.
func TestRequestListRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var reqs []Request
		at := time.Duration(0)
		for i := range rapid.IntRange(1, 8).Draw(t, "n") {
			q := Request{Index: i, InputLen: rapid.IntRange(0, 9).Draw(t, "in"), OutputLen: rapid.IntRange(0, 9).Draw(t, "out"), SharedLen: -1}
			switch rapid.IntRange(0, 2).Draw(t, "form") {
			case 0:
				q.Prompt = rapid.StringN(1, 9, -1).Draw(t, "prompt")
			case 1:
				q.PromptTokens = rapid.SliceOfN(rapid.IntRange(0, 9), 1, 4).Draw(t, "ids")
			default:
				q.Messages = []engine.Message{{Role: "user", Parts: []engine.Part{{Text: rapid.StringN(1, 9, -1).Draw(t, "text")}, {ImageURL: "https://host/x"}}}, {Role: "tool", Content: "4", Other: map[string]json.RawMessage{"tool_call_id": json.RawMessage(`"1"`)}}}
				q.Extra = map[string]any{"top_p": 0.5}
			}
			at += time.Duration(rapid.IntRange(0, 5).Draw(t, "gap"))
			q.At = at
			if i > 0 && rapid.Bool().Draw(t, "waits") {
				q.After, q.Think, q.At = rapid.IntRange(1, i).Draw(t, "after"), time.Duration(rapid.IntRange(0, 9).Draw(t, "think")), 0
			}
			reqs = append(reqs, q)
		}
		var b strings.Builder
		if err := WriteRequests(&b, reqs); err != nil {
			t.Fatal(err)
		}
		got, err := ReadRequests(strings.NewReader(b.String()), "r")
		if d := cmp.Diff(reqs, got); err != nil || d != "" {
			t.Fatalf("%v\n%s", err, d)
		}
	})
}

func TestReadRequestsRefuses(t *testing.T) {
	const head = `{"schema":"llmdyno.requests","schema_version":1}` + "\n"
	for text, want := range map[string]string{
		"": "holds no rows", head: "holds no requests", `{"prompt":"a"}`: `schema ""`, `{"schema":"llmdyno.requests","schema_version":2}`: "version 2: this program reads 1",
		head + "{}": "expected one of", head + `{"prompt":"a","output_len":-1}`: "-1 out", head + `{"prompt":"a","input_len":1,"shared_len":2}`: "no more shared",
		head + `{"prompt":"a","after":1}`: "expected one before it", head + `{"prompt":"a","think_ns":-1}`: "after another",
		head + "{\"prompt\":\"a\",\"at_ns\":5}\n{\"prompt\":\"a\"}": "earlier than the request before it",
	} {
		if _, err := ReadRequests(strings.NewReader(text), "f"); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "workload f") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	list := make10(t, Spec{Kind: KindRequests, Path: tempFile(t, "r.jsonl", head+"{\"prompt\":\"a\",\"at_ns\":1000,\"input_len\":3}\n{\"prompt\":\"b\",\"after\":1}\n"), NumPrompts: 4})
	if list[3].After != 3 || list[2].At != 3000 || list[2].SharedLen != 3 {
		t.Errorf("a second passage: %+v", list)
	}
}

// A red dot of one pixel.
const png = "\x89PNG\r\n\x1a\nrest"

func TestImages(t *testing.T) {
	path := tempFile(t, "rows.jsonl", `{"prompt":"what?","images":["pics/a.png","https://host/b.jpg"]}
{"messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"file://pics/a.png"}}]}]}`)
	dir := filepath.Dir(path)
	if err := os.Mkdir(filepath.Join(dir, "pics"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"pics/a.png": png, "pics/a.txt": "text"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const url = "data:image/png;base64,iVBORw0KGgpyZXN0"
	reqs := make10(t, Spec{Kind: KindCustom, Path: path, OutputLen: 4})
	want := []engine.Message{
		{Role: "user", Parts: []engine.Part{{Text: "what?"}, {ImageURL: url}, {ImageURL: "https://host/b.jpg"}}},
		{Role: "user", Parts: []engine.Part{{Text: "see"}, {ImageURL: url}}},
	}
	if d := cmp.Diff(want, []engine.Message{reqs[0].Messages[0], reqs[1].Messages[0]}); d != "" || reqs[0].Prompt != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	outside := tempFile(t, "secret.png", png)
	if err := os.Symlink(outside, filepath.Join(dir, "link.png")); err != nil {
		t.Fatal(err)
	}
	for image, wantErr := range map[string]string{
		"pics/none.png": "no such file", "pics/a.txt": "expected a PNG", "../secret.png": "below the folder", outside: "below the folder", "file://" + outside: "below the folder",
		"link.png": "below the folder", "pics": "plain file",
	} {
		if err := os.WriteFile(path, fmt.Appendf(nil, `{"prompt":"x","images":[%q]}`, image), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (Spec{Kind: KindCustom, Path: path}).Requests(); err == nil || !strings.Contains(err.Error(), wantErr) || !strings.Contains(err.Error(), "line 1: image") {
			t.Errorf("%s: %v, want %q", image, err, wantErr)
		}
	}
	if _, err := ReadCustom(strings.NewReader(`{"prompt":"x","images":["a.png"]}`), "f", 1); err == nil || !strings.Contains(err.Error(), "expected a URL") {
		t.Errorf("%v", err)
	}
	for data, kind := range map[string]string{png: "image/png", "\xff\xd8\xff\xe0": "image/jpeg", "GIF89a..": "image/gif", "RIFF....WEBPVP8": "image/webp", "": "", "RIFF....WAVE": ""} {
		if got := imageType([]byte(data)); got != kind {
			t.Errorf("%q is %q, want %q", data, got, kind)
		}
	}
}

func TestCustomTimestamps(t *testing.T) {
	got, err := ReadCustom(strings.NewReader("{\"prompt\":\"b\",\"timestamp\":30}\n{\"prompt\":\"a\",\"timestamp\":10}"), "f", 1)
	if err != nil || got[0].Prompt != "a" || got[1].At != 20*time.Millisecond || got[1].Index != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// What is said of a workload names every meaning that a reader could mistake.
func TestDescribe(t *testing.T) {
	ratio := 0.25
	for want, s := range map[string]Spec{
		"prompts of unrelated words; input words (about a token each; no tokenizer was given): exactly 8; output tokens asked for: exactly 4; a nonce begins every prompt, so that no prefix cache can help; seed 3":        {InputLen: 8, OutputLen: 4, Seed: 3},
		"input tokens: every whole number from 1 to 8 as likely (mean 4.5): 8 with range ratio 0 as sglang means it":                                                                                                        {InputLen: 8, Compat: CompatSGLang, Tokenizer: pieces{}},
		"25 % of them begin with one of 3 shared prefixes of length 50, the others with one of their own; input words (about a token each; no tokenizer was given) behind the prefix: exactly 8":                            {Kind: KindPrefix, InputLen: 8, Prefix: Prefix{Groups: 3, Len: 50, Ratio: &ratio}},
		"first exchanges of s.json, shuffled, with prompts of 4 to 1024 tokens and at most 2048 with the answer; input tokens: as in the file; output tokens asked for: as the rows say, else as long as a recorded answer": {Kind: KindShareGPT, Path: "s.json"},
		"turns of a conversation: every whole number from 2 to 4 as likely (mean 3), ms between the end of one and the next: exactly 500":                                                                                   {Kind: KindConversation, InputLen: 5, Turns: Lengths{Kind: LengthUniform, Min: 2, Max: 4}, ThinkMs: Fixed(500)},
		"one text for each hash of the trace m.jsonl (512 tokens each)": {Kind: KindMooncake, Path: "m.jsonl"},
		"the requests of r.jsonl":             {Kind: KindRequests, Path: "r.jsonl"},
		"where a row does not say: exactly 9": {Kind: KindCustom, Path: "c", OutputLen: 9},
	} {
		if got := s.Describe(); !strings.Contains(got, want) {
			t.Errorf("%s\nlacks %s", got, want)
		}
	}
	for want, a := range map[string]Arrivals{
		"all at once": {}, "2 requests/s on average, exponential gaps": {RateRPS: 2}, "closed loop": {Kind: ArrivalClosed}, "gamma (shape 0.5) gaps": {Kind: ArrivalGamma, RateRPS: 1, Burstiness: 0.5},
		"ramp from 1 to 5 requests/s over 10s, then at that rate, equal gaps":                      {Kind: ArrivalRamp, FromRPS: 1, RateRPS: 5, Over: 10 * time.Second, Gaps: ArrivalConstant},
		"steps of 1 requests/s for 2s, 3 requests/s for 4s (the last one stays), exponential gaps": {Kind: ArrivalSteps, Steps: []Step{{1, 2 * time.Second}, {3, 4 * time.Second}}},
		"the 2 instants of a trace of 3s, its times multiplied by 2":                               {Kind: ArrivalTrace, Offsets: []time.Duration{0, 3 * time.Second}, TimeScale: 2},
	} {
		if got := a.Describe(); !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}

// A reader of outside data never panics, names the file in its errors, and what
// it accepts is a workload.
func fuzzReader(f *testing.F, read func(text string) ([]Request, error)) {
	for _, seed := range []string{sharegptFile, conversationFile, mooncakeFile, "[", "{}", "\xff", "[[]]", `{"messages":[{"role":"user","content":[{"type":"x"}]}],"timestamp":"2024-05-01T10:00:00Z"}`, `{"schema":"llmdyno.requests","schema_version":1}` + "\n" + `{"prompt":"a"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 || strings.Contains(text, "00000") {
			return // long made-up answers only cost time
		}
		reqs, err := read(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "workload fuzz") {
				t.Errorf("the error %q does not name the file", err)
			}
			return
		}
		for i, q := range reqs {
			if q.Index != i || q.After > i || q.OutputLen < 0 || q.OutputLen > maxLen || q.InputLen < 0 || q.At < 0 || q.Think < 0 {
				t.Fatalf("request %d: %+v", i, q)
			}
		}
	})
}

func FuzzShareGPT(f *testing.F) {
	fuzzReader(f, func(text string) ([]Request, error) {
		return Spec{MinTokens: 1}.ReadShareGPT(strings.NewReader(text), "fuzz")
	})
}

func FuzzConversations(f *testing.F) {
	fuzzReader(f, func(text string) ([]Request, error) { return Spec{}.ReadConversations(strings.NewReader(text), "fuzz") })
}

func FuzzMooncake(f *testing.F) {
	fuzzReader(f, func(text string) ([]Request, error) { return Spec{}.ReadMooncake(strings.NewReader(text), "fuzz") })
}

func FuzzRequests(f *testing.F) {
	fuzzReader(f, func(text string) ([]Request, error) { return ReadRequests(strings.NewReader(text), "fuzz") })
}
