package token

import (
	"strings"
	"testing"
)

// With published vocabularies (100,000 to 262,144 tokens) on a 9.2 MB mixture of
// code, prose and the worst of testdata/gen/corpus.py, one thread of an AMD EPYC
// (Zen 5) counted 27 to 36 MB per CPU second for byte-level BPE and 15 to 20 for
// BPE with byte fallback; tiktoken 0.14.0 did 9, tokenizers 0.23.3 1.6 to 1.9.
func BenchmarkCount(b *testing.B) {
	prose := strings.Repeat("The engine keeps its batch full while new requests wait in the queue. ", 2000)
	mixed := strings.Join(corpus(b), "\n")
	for _, c := range []struct{ name, file, text string }{
		{"byte-level/prose", "bpe-llama3", prose},
		{"byte-level/mixed", "bpe-llama3", mixed},
		{"ranks/mixed", "ranks-o200k", mixed},
		{"byte-fallback/mixed", "bpe-fallback", mixed},
		{"unigram/mixed", "unigram-nmt-nfkc", mixed},
		{"word-piece/mixed", "wordpiece-uncased", mixed},
		{"byte-level/one-letter", "bpe-llama3", strings.Repeat("a", 100_000)},
		{"byte-level/blanks", "bpe-llama3", strings.Repeat(" ", 100_000)},
	} {
		tok := open(b, c.file)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				tok.Count(c.text)
			}
		})
	}
}
