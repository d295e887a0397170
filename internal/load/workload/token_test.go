package workload

import (
	"path/filepath"
	"testing"
)

// Real tokenizers of every family give prompts of exactly the wanted length.
func TestLengthsAreExactWithRealTokenizers(t *testing.T) {
	files, err := filepath.Glob("../token/testdata/*-*.json")
	if err != nil {
		t.Fatal(err)
	}
	opened := 0
	for _, path := range files {
		if ok, _ := filepath.Match("*.golden.json", filepath.Base(path)); ok {
			continue
		}
		tok, err := OpenTokenizer(path)
		if err != nil {
			continue // a file that the reader is tested to refuse
		}
		opened++
		for name, s := range map[string]Spec{
			"random": {NumPrompts: 3, Input: Lengths{Kind: LengthUniform, Min: 30, Max: 200}},
			"prefix": {Kind: KindPrefix, NumPrompts: 3, InputLen: 30, Prefix: Prefix{Groups: 2, Len: 60}},
		} {
			s.Tokenizer, s.Seed = tok, 5
			reqs, err := s.Requests()
			if err != nil {
				t.Errorf("%s, %s: %v", filepath.Base(path), name, err)
			}
			for i, q := range reqs {
				if n := tok.Count(q.Prompt); n != q.InputLen {
					t.Errorf("%s, %s, request %d: %d tokens, want %d", filepath.Base(path), name, i, n, q.InputLen)
				}
			}
		}
	}
	if opened < 10 {
		t.Errorf("only %d of %d tokenizers were tried", opened, len(files))
	}
	if _, err := OpenTokenizer("nowhere.json"); err == nil {
		t.Error("a tokenizer that is not there was opened")
	}
}
