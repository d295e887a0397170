package token

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxPrompt is the longest prompt that ExactPrompt makes, in tokens.
const MaxPrompt = 4 << 20

// ExactPrompt writes a text of random words that encodes to exactly n ids, those
// of the post-processor not counted. The same tokenizer, seed and n give the same
// text. The words are tokens of the vocabulary, so the text looks like prose of
// nonsense to the model and compresses badly, as random prompts should.
func ExactPrompt(t *Tokenizer, seed uint64, n int) (string, error) {
	if n < 0 || n > MaxPrompt {
		return "", fmt.Errorf("prompt of %d tokens: expected 0 to %d", n, MaxPrompt)
	}
	words := t.vocabularyWords()
	if len(words) == 0 && n > 0 {
		return "", fmt.Errorf("tokenizer %s: no token of its vocabulary is a plain word, so no prompt of an exact length can be written with it", t.name)
	}
	r := rand.New(rand.NewPCG(seed, 0x70726f6d7074))
	parts := make([]string, 0, n)
	for range n {
		parts = append(parts, words[r.IntN(len(words))])
	}
	for range maxTries {
		text := strings.Join(parts, "")
		have := t.Count(text)
		bare := strings.TrimPrefix(text, " ")
		switch {
		case have == n:
			return text, nil
		case t.Count(bare) == n: // a tokenizer may put a space in front itself
			return bare, nil
		case have > n: // a word at the start may need more than one token
			parts = parts[:len(parts)-min(len(parts), have-n)]
		default:
			for range n - have {
				parts = append(parts, words[r.IntN(len(words))])
			}
		}
		if len(parts) == 0 { // try another first word
			parts = append(parts, words[r.IntN(len(words))])
		}
	}
	return "", fmt.Errorf("tokenizer %s: no text of exactly %d tokens in %d tries; expected its words to count for themselves", t.name, n, maxTries)
}

const (
	maxTries = 64
	maxWords = 4096 // enough for 12 bits of chance a token
)

// vocabularyWords are tokens that are one id wherever they stand between others
// of their kind: a blank and lower-case letters, else (no blanks in the
// vocabulary) letters alone. Found once.
func (t *Tokenizer) vocabularyWords() []string {
	t.units.Do(func() {
		for _, form := range []func(string) string{plainWord, anyWord} {
			if t.words = t.usable(form); len(t.words) >= 64 {
				break
			}
		}
	})
	return t.words
}

// usable picks the words by trying each between two others.
func (t *Tokenizer) usable(form func(string) string) []string {
	var found []string
	for id, token := range t.tokens {
		if token == "" || len(token) > 48 {
			continue
		}
		word := form(t.surface(id))
		if word == "" {
			continue
		}
		// a is there so that the word does not stand first, where a tokenizer may add a space.
		one, three := t.Encode("a"+word, false), t.Encode("a"+word+word+word, false)
		if len(three) == len(one)+2 && len(one) >= 2 && one[len(one)-1] == id && slices.Equal(three[:len(one)], one) && three[len(three)-1] == id {
			if found = append(found, word); len(found) == maxWords {
				break
			}
		}
	}
	return found
}

// surface is the text that a token stands for inside a text: between two tokens
// of a letter, so that what a decoder does at the ends does not touch it.
func (t *Tokenizer) surface(id int) string {
	letter := t.Encode("a", false)
	whole := t.Decode(slices.Concat(letter, []int{id}, letter))
	edge := t.Decode(letter)
	inner, ok := strings.CutPrefix(whole, edge)
	if !ok {
		return ""
	}
	inner = strings.TrimSuffix(inner, edge)
	if strings.HasPrefix(inner, " ") {
		return strings.TrimRight(inner, " ") // word pieces come back with blanks on both sides
	}
	return inner
}

// plainWord is s if it is a blank and two or more lower-case Latin letters.
func plainWord(s string) string {
	if len(s) < 3 || s[0] != ' ' || strings.Trim(s[1:], "abcdefghijklmnopqrstuvwxyz") != "" {
		return ""
	}
	return s
}

// anyWord is s if it is letters of any script, perhaps after a blank.
func anyWord(s string) string {
	bare := strings.TrimPrefix(s, " ")
	if bare == "" || !utf8.ValidString(s) {
		return ""
	}
	letters := chars("L")
	for _, r := range bare {
		if !letters.has(r) {
			return ""
		}
	}
	return s
}
