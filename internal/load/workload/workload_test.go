package workload

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/engine"
)

func TestRandomWorkload(t *testing.T) {
	spec := Spec{NumPrompts: 50, InputLen: 20, OutputLen: 9, Seed: 3, Extra: map[string]any{"min_tokens": 9}}
	reqs, err := spec.Requests()
	if err != nil {
		t.Fatal(err)
	}
	for i, q := range reqs {
		if q.Index != i || len(strings.Fields(q.Prompt)) != 20 || q.InputLen != 20 || q.OutputLen != 9 || q.Extra["min_tokens"] != 9 {
			t.Errorf("request %d: %+v", i, q)
		}
	}
	spec.NumPrompts = 500 // a longer workload begins with the shorter one
	longer, err := spec.Requests()
	if err != nil || !reflect.DeepEqual(longer[:50], reqs) {
		t.Errorf("the first 50 of 500 prompts differ from 50 (%v)", err)
	}
	spec.Seed++
	other, err := spec.Requests()
	if err != nil || other[0].Prompt == reqs[0].Prompt {
		t.Errorf("two seeds gave the same prompt %q (%v)", other[0].Prompt, err)
	}
}

// No two prompts of a workload have the same beginning, so that a prefix cache
// finds nothing.
func TestPromptsBeginDifferently(t *testing.T) {
	for _, seed := range []uint64{0, 1, 1 << 40} {
		seen := map[string]int{}
		for i := range 1 << (6 * nonceWords) {
			head := RandomPrompt(seed, i, nonceWords)
			if j, ok := seen[head]; ok {
				t.Fatalf("seed %d: prompts %d and %d both begin with %q", seed, j, i, head)
			}
			seen[head] = i
		}
	}
	first := map[string]bool{}
	for i := range 64 { // neighbours differ early
		first[RandomPrompt(9, i, 1)] = true
	}
	if len(first) < 32 {
		t.Errorf("64 neighbouring prompts begin with only %d words", len(first))
	}
}

func TestSpecRefuses(t *testing.T) {
	for want, s := range map[string]Spec{
		"number of prompts -1":  {NumPrompts: -1, InputLen: 1},
		"10000001":              {NumPrompts: 10_000_001, InputLen: 1},
		"lengths -1 in":         {NumPrompts: 1, InputLen: -1},
		"-5 out":                {NumPrompts: 1, InputLen: 1, OutputLen: -5},
		"random prompts of 0":   {NumPrompts: 1},
		"more than 2000000000":  {NumPrompts: 1_000_000, InputLen: 1_000_000},
		`kind "sonnets"`:        {Kind: "sonnets", NumPrompts: 1},
		"name an existing file": {Kind: KindCustom, Path: "nowhere.jsonl"},
	} {
		if reqs, err := s.Requests(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %d requests, %v, want %q", s, len(reqs), err, want)
		}
	}
}

func TestReadCustom(t *testing.T) {
	text := `{"prompt":"hello","output_len":5,"input_len":2,"other":[1]}

{"prompt":[1,2,3],"prompt_len":3}
{"messages":[{"role":"user","content":"hi"}],"extra_request_body":{"top_k":4}}
{"prompt":[{"role":"system","content":"be brief"}],"output_len":0}`
	got, err := ReadCustom(strings.NewReader(text), "f", 7)
	want := []Request{
		{Index: 0, Prompt: "hello", InputLen: 2, SharedLen: -1, OutputLen: 5},
		{Index: 1, PromptTokens: []int{1, 2, 3}, InputLen: 3, SharedLen: -1, OutputLen: 7},
		{Index: 2, Messages: []engine.Message{{Role: "user", Content: "hi"}}, SharedLen: -1, OutputLen: 7, Extra: map[string]any{"top_k": 4.0}},
		{Index: 3, Messages: []engine.Message{{Role: "system", Content: "be brief"}}, SharedLen: -1},
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func TestReadCustomRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "holds no rows",
		"\n \n":                                "holds no rows",
		"{\"prompt\":\"a\"}\n{\"prompt\":":     "line 2: expected a JSON object",
		"[1]":                                  "line 1: expected a JSON object",
		"{}":                                   `no prompt; expected "prompt"`,
		`{"prompt":""}`:                        `no prompt`,
		`{"prompt":[]}`:                        `no prompt`,
		`{"prompt":7}`:                         `neither a text`,
		`{"prompt":[1.5]}`:                     `neither a text`,
		`{"prompt":"a","messages":[{}]}`:       "give one of them",
		`{"prompt":"a","output_len":-1}`:       "lengths 0 in and -1 out",
		`{"prompt":"a","input_len":-1}`:        "expected 0 to",
		`{"prompt":"a","prompt_len":1e10}`:     "line 1",
		`{"prompt":"a","output_len":99999999}`: "99999999 out",
	} {
		if rows, err := ReadCustom(strings.NewReader(text), "f.jsonl", 1); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "workload f.jsonl") {
			t.Errorf("%q: %d rows, %v, want %q", text, len(rows), err, want)
		}
	}
}

// Rows are taken again from the first when there are too few, and a row's own
// fields win.
func TestCustomWorkload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte("{\"prompt\":\"a\",\"extra_request_body\":{\"top_k\":1}}\n{\"prompt\":\"b\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := Spec{Kind: KindCustom, Path: path, NumPrompts: 5, OutputLen: 3, Extra: map[string]any{"top_k": 9, "seed": 2}}
	reqs, err := spec.Requests()
	if err != nil {
		t.Fatal(err)
	}
	prompts := ""
	for i, q := range reqs {
		prompts += q.Prompt
		if q.Index != i || q.OutputLen != 3 || q.Extra["seed"] != 2 || (q.Extra["top_k"] == 9) != (q.Prompt == "b") {
			t.Errorf("request %d: %+v", i, q)
		}
	}
	if prompts != "ababa" {
		t.Errorf("prompts %q, want ababa", prompts)
	}
	spec.NumPrompts = 0
	if reqs, err := spec.Requests(); err != nil || len(reqs) != 2 {
		t.Errorf("all rows: %d, %v", len(reqs), err)
	}
}

func FuzzCustom(f *testing.F) {
	for _, seed := range []string{
		`{"prompt":"a","output_len":3}`, "{\"prompt\":[1,2]}\n{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", `{"prompt":null}`, "\xff", `{"prompt":[{"role":1}]}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := ReadCustom(strings.NewReader(text), "fuzz", 4)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "workload fuzz") {
				t.Errorf("the error %q does not name the file", err)
			}
			return
		}
		for i, q := range rows {
			given := 0
			for _, has := range []bool{q.Prompt != "", len(q.PromptTokens) > 0, len(q.Messages) > 0} {
				if has {
					given++
				}
			}
			if given != 1 || q.Index != i || q.OutputLen < 0 || q.OutputLen > maxLen || q.InputLen < 0 || q.InputLen > maxLen {
				t.Fatalf("row %d: %+v", i, q)
			}
		}
	})
}
