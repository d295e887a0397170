package token

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzOpen(f *testing.F) {
	for _, pattern := range []string{"testdata/*.json", "testdata/*.model", "testdata/*.tiktoken"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if len(raw) < 32<<10 && !strings.HasSuffix(file, ".golden.json") {
				f.Add(raw)
				f.Add(raw[:len(raw)/2])
			}
		}
	}
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`))
	f.Add([]byte(`{"model":{"vocab":[["a",-1.5],["b",-2e3]],"unk_id":0}}`))
	f.Add([]byte("YQ== 0\nYg== 1\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tok, err := parse("fuzz.json", raw)
		if (tok == nil) == (err == nil) {
			t.Fatalf("a tokenizer %v and the error %v", tok != nil, err)
		}
		if err != nil {
			return
		}
		for _, text := range []string{"", "a b  ab\n", "Don't 123 中文 \xff", strings.Repeat("ab ", 99)} {
			ids := tok.Encode(text, true)
			if n := tok.Count(text); n != len(ids)-tok.Special() {
				t.Fatalf("Count(%q) = %d, %d ids", text, n, len(ids))
			}
			tok.Decode(ids)
		}
	})
}

func FuzzEncode(f *testing.F) {
	for _, s := range corpus(f) {
		f.Add(s)
	}
	all := map[string]*Tokenizer{}
	for _, name := range []string{"bpe-llama3", "bpe-deepseek3", "bpe-fallback", "unigram-first", "unigram-nmt-nfkc", "wordpiece-uncased", "ranks-o200k", "sp-bpe", "sp-unigram", "bpe-flags"} {
		all[name] = open(f, name)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, tok := range all {
			ids := tok.Encode(text, false)
			if again := tok.Encode(text, false); !slices.Equal(ids, again) {
				t.Fatalf("%s: %q gave %v, then %v", name, text, ids, again)
			}
			decoded := tok.Decode(ids)
			if !utf8.ValidString(decoded) {
				t.Fatalf("%s: Decode gave %q, which is no UTF-8", name, decoded)
			}
			if slices.Contains(exactly, name) && decoded != validUTF8(text) {
				t.Fatalf("%s: Decode(Encode(%q)) = %q", name, text, decoded)
			}
		}
	})
}

// A compiled expression must come to an end on any text and match within it.
func FuzzPattern(f *testing.F) {
	for _, split := range []string{gpt2, splitR50k, splitCl100k, splitO200k, splitLlama3, splitQwen, splitKimi, `(a|aa){16}b`, `(?:a?){9}a{9}`, `[a&&[^b]]+$|(?=x)`} {
		f.Add(split, "a  b\n12345 don't 中文 aaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	}
	f.Fuzz(func(t *testing.T, split, text string) {
		for _, d := range []dialect{dialectRuby, dialectRust} {
			p, err := compile(split, d)
			if err != nil {
				continue
			}
			text := validUTF8(text[:min(len(text), 256)])
			for at := 0; at < len(text); at += runeLen(text, at) {
				if end := p.match(text, at); end != -1 && (end < at || end > len(text)) {
					t.Fatalf("%q matches %q from %d to %d", split, text, at, end)
				}
			}
		}
	})
}
