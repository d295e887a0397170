package token

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// goldenCase is what the reference library made of one text of the corpus.
type goldenCase struct {
	IDs     []int   `json:"ids"`
	Special []int   `json:"special"` // absent = IDs
	Decoded *string `json:"decoded"` // absent = the text
}

func readJSON(t testing.TB, file string, into any) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func corpus(t testing.TB) []string {
	var raw [][]byte
	readJSON(t, "testdata/corpus.json", &raw)
	var out []string
	for _, r := range raw {
		out = append(out, string(r))
	}
	return out
}

// every opens all tokenizers of testdata, by the name of their golden file.
func every(t testing.TB) map[string]*Tokenizer {
	t.Helper()
	files, err := filepath.Glob("testdata/*.golden.json")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d golden files (%v); expected those of testdata/gen/gen.py", len(files), err)
	}
	out := map[string]*Tokenizer{}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".golden.json")
		out[name] = open(t, name)
	}
	return out
}

func open(t testing.TB, name string) *Tokenizer {
	t.Helper()
	var tok *Tokenizer
	var err error
	switch base := filepath.Join("testdata", name); {
	case strings.HasPrefix(name, "ranks-"):
		var with struct {
			Split   string
			Special map[string]int
		}
		readJSON(t, base+".json", &with)
		tok, err = OpenRanks(base+".tiktoken", with.Split, with.Special)
	case strings.HasPrefix(name, "sp-"):
		tok, err = Open(base + ".model")
	default:
		tok, err = Open(base + ".json")
	}
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestIDsAreThoseOfTheReference(t *testing.T) {
	texts := corpus(t)
	for name, tok := range every(t) {
		t.Run(name, func(t *testing.T) {
			var want []goldenCase
			readJSON(t, "testdata/"+name+".golden.json", &want)
			if len(want) != len(texts) {
				t.Fatalf("%d golden cases for %d texts", len(want), len(texts))
			}
			for i, w := range want {
				check(t, tok, texts[i], w)
			}
		})
	}
}

func check(t *testing.T, tok *Tokenizer, text string, want goldenCase) {
	t.Helper()
	got := tok.Encode(text, false)
	if !slices.Equal(got, want.IDs) {
		t.Errorf("%q:\n got %v\nwant %v", text, got, want.IDs)
		return
	}
	if n := tok.Count(text); n != len(want.IDs) {
		t.Errorf("Count(%q) = %d; expected %d", text, n, len(want.IDs))
	}
	special := want.Special
	if special == nil {
		special = want.IDs
	}
	if got := tok.Encode(text, true); !slices.Equal(got, special) {
		t.Errorf("%q with special tokens:\n got %v\nwant %v", text, got, special)
	}
	decoded := validUTF8(text)
	if want.Decoded != nil {
		decoded = *want.Decoded
	}
	if got := tok.Decode(want.IDs); got != decoded {
		t.Errorf("Decode(Encode(%q)) = %q; expected %q", text, got, decoded)
	}
}

// exactly are the tokenizers that lose nothing of a text.
var exactly = []string{"bpe-llama3", "bpe-cl100k", "bpe-o200k", "bpe-tekken", "bpe-kimi", "bpe-gpt2", "bpe-deepseek3", "bpe-deepseek2", "bpe-starcoder",
	"ranks-cl100k", "ranks-o200k", "ranks-llama3", "ranks-kimi", "tekken"}

func TestDecodeUndoesEncode(t *testing.T) {
	parts := corpus(t)
	for _, name := range exactly {
		tok := open(t, name)
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				text := strings.Join(rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(parts), rapid.String()), 0, 6).Draw(t, "parts"), "")
				text = validUTF8(text)
				ids := tok.Encode(text, false)
				if got := tok.Decode(ids); got != text {
					t.Fatalf("Decode(Encode(%q)) = %q", text, got)
				}
				for _, id := range ids {
					if id < 0 || id >= len(tok.tokens) || tok.tokens[id] == "" {
						t.Fatalf("%q has the id %d, which is no token", text, id)
					}
				}
			})
		})
	}
}

// The heap and the plain search of the least rank are two ways to one result.
func TestLongPiecesMergeAsShortOnes(t *testing.T) {
	tok := open(t, "bpe-gpt2")
	m := tok.model.(*bpe)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("abetho r 中.=")), 2, longPiece-1, longPiece-1).Draw(t, "text")
		a, b := &encoder{t: tok}, &encoder{t: tok}
		for i := range len(text) {
			a.syms = append(a.syms, m.bytes[text[i]])
		}
		b.syms = slices.Clone(a.syms)
		m.mergeShort(a)
		m.mergeLong(b)
		if !slices.Equal(a.ids, b.ids) {
			t.Fatalf("%q: search %v, heap %v", text, a.ids, b.ids)
		}
	})
}

// Where merges never cross a mark, a piece is cut there and its words are kept.
func TestCuttingAtMarksChangesNothing(t *testing.T) {
	for _, name := range []string{"bpe-fallback", "sp-bpe"} {
		tok := open(t, name)
		m := tok.model.(*bpe)
		if !m.cut {
			t.Fatalf("%s: not cut; the test needs one that is", name)
		}
		for _, text := range corpus(t) {
			piece := tok.spelled(validUTF8(text))
			a, b := tok.encoder(), tok.encoder()
			m.words(a, piece)
			m.word(b, piece)
			if !slices.Equal(a.ids, b.ids) {
				t.Errorf("%s: %q: cut %v, whole %v", name, piece, a.ids, b.ids)
			}
		}
	}
}

func TestGoroutinesShareATokenizer(t *testing.T) {
	tok := open(t, "bpe-llama3")
	texts := corpus(t)
	want := make([][]int, len(texts))
	for i, s := range texts {
		want[i] = tok.Encode(s, true)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range texts {
				i = (i + g*7) % len(texts)
				if got := tok.Encode(texts[i], true); !slices.Equal(got, want[i]) {
					t.Errorf("%q: %v, alone %v", texts[i], got, want[i])
				}
			}
		})
	}
	wg.Wait()
}
