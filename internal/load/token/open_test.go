package token

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func allBytes() string {
	var b strings.Builder
	for i := range 256 {
		fmt.Fprintf(&b, "%s %d\n", base64.StdEncoding.EncodeToString([]byte{byte(i)}), i)
	}
	return b.String()
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	model := `"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}`
	for _, c := range []struct{ name, content, want string }{
		{"empty.json", "", "empty"},
		{"cut.json", `{"model":`, "tokenizer.json"},
		{"other.json", `{"a":1}`, "no model"},
		{"kind.json", `{"model":{"type":"Magic","vocab":{}}}`, `"Magic".*BPE`},
		{"vocab.json", `{"model":{"type":"BPE","vocab":["a"],"merges":[]}}`, "model.vocab"},
		{"id.json", `{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}`, "id -1"},
		{"big.json", `{"model":{"type":"BPE","vocab":{"a":99999999},"merges":[]}}`, "id 99999999"},
		{"merge.json", `{"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}}`, `merges\[0\].*"ab"`},
		{"parts.json", `{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b c"]}}`, `merges\[0\]`},
		{"dropout.json", `{"model":{"type":"BPE","dropout":0.1,"vocab":{"a":0},"merges":[]}}`, "dropout"},
		{"unk.json", `{"model":{"type":"WordPiece","unk_token":"[UNK]","vocab":{"a":0}}}`, "unk_token"},
		{"unkid.json", `{"model":{"type":"Unigram","unk_id":7,"vocab":[["a",-1]]}}`, "unk_id is 7"},
		{"score.json", `{"model":{"type":"Unigram","vocab":[["a"]]}}`, "score"},
		{"normal.json", `{"normalizer":{"type":"Odd"},` + model + `}`, `normalizer.type "Odd"`},
		{"pre.json", `{"pre_tokenizer":{"type":"Odd"},` + model + `}`, `pre_tokenizer.type "Odd"`},
		{"regex.json", `{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(?<=a)b"},"behavior":"Isolated"},` + model + `}`, `byte 0.*not supported`},
		{"behavior.json", `{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"a"},"behavior":"Odd"},` + model + `}`, `behavior "Odd"`},
		{"post.json", `{"post_processor":{"type":"Odd"},` + model + `}`, `post_processor.type "Odd"`},
		{"template.json", `{"post_processor":{"type":"TemplateProcessing","single":[]},` + model + `}`, "0 times"},
		{"decoder.json", `{"decoder":{"type":"Odd"},` + model + `}`, `decoder.type "Odd"`},
		{"charsmap.json", `{"normalizer":{"type":"Precompiled","precompiled_charsmap":"////"},` + model + `}`, "precompiled_charsmap"},
		{"added.json", `{"added_tokens":[{"id":-4,"content":"x"}],` + model + `}`, `added token "x".*-4`},
		{"tekken.json", `{"config":{"pattern":"a","default_vocab_size":9,"default_num_special_tokens":3},"vocab":[]}`, "default_vocab_size 9"},
		{"few.tiktoken", "YQ== 0\n", "0x00|1 ranks"},
		{"line.tiktoken", "YQ== 0\nYg==\n", "line 2"},
		{"twice.tiktoken", "YQ== 0\nYg== 0\n", "line 2"},
		{"unknown.tiktoken", allBytes(), "256 ranks.*cl100k_base"},
		{"bad.model", "\x0a\x03", "SentencePiece"},
		{"text.model", "hello there, no model", "SentencePiece"},
	} {
		file := write(t, t.TempDir(), c.name, c.content)
		_, err := Open(file)
		if err == nil {
			t.Errorf("%s: opened", c.name)
			continue
		}
		if !strings.Contains(err.Error(), file) || !regexp.MustCompile(c.want).MatchString(err.Error()) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; expected the file and %q in one line", c.name, err, c.want)
		}
	}
}

func TestOpenFindsTheFileOfAFolder(t *testing.T) {
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "tokenizer.json") {
		t.Errorf("an empty folder: %v; expected what was looked for", err)
	}
	dir := filepath.Join(t.TempDir(), "some-model-1.5b")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("testdata/sp-bpe.model")
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "tokenizer.model", string(raw))
	for _, want := range []struct {
		file  string
		vocab int
	}{{"", open(t, "sp-bpe").Vocab()}, {"tokenizer.json", open(t, "bpe-gpt2").Vocab()}} {
		if want.file != "" {
			raw, err := os.ReadFile("testdata/bpe-gpt2.json")
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, want.file, string(raw))
		}
		tok, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if tok.Name() != "some-model-1.5b" || tok.Vocab() != want.vocab {
			t.Errorf("%s: name %q, %d tokens; expected the folder's name and %d", want.file, tok.Name(), tok.Vocab(), want.vocab)
		}
	}
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none.json")); err == nil {
		t.Error("a file that is not there was opened")
	}
	big := filepath.Join(t.TempDir(), "big.json")
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(MaxFileBytes + 1); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := Open(big); err == nil || !strings.Contains(err.Error(), fmt.Sprint(MaxFileBytes)) {
		t.Errorf("%v; expected the limit on a file's size", err)
	}
}

// A rank file of a known size takes its special tokens from the config beside it.
func TestRanksTakeTheirSpecialTokensFromTheConfig(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "cl100k_base.tiktoken", allBytes())
	text := "a<|go|><|endoftext|>"
	tok, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Encode(text, false); len(got) != 8 || got[7] != 100257 {
		t.Errorf("from the table: %v; expected 7 bytes and 100257", got)
	}
	write(t, dir, "tokenizer_config.json", `{"added_tokens_decoder":{"300":{"content":"<|go|>"}}}`)
	if tok, err = Open(file); err != nil {
		t.Fatal(err)
	}
	if got := tok.Encode(text, false); len(got) != 15 || got[1] != 300 {
		t.Errorf("from the config: %v; expected 300 as the second of 15", got)
	}
}
