package tinymodel

import (
	"fmt"
	"math/rand/v2"
)

// Token types of GGUF's tokenizer.ggml.token_type.
const (
	tokenNormal  = 1
	tokenUnknown = 2
	tokenControl = 3
	tokenByte    = 6
)

// Where the kinds of tokens begin.
const (
	unknownID  = 0
	beginID    = 1
	endID      = 2
	firstByte  = 3
	firstText  = firstByte + 256
	firstSyll  = firstText + 1 + ('~' - '!' + 1) // after "▁" and the printable characters
	firstWord  = firstSyll + 2*len(consonants)*len(vowels)
	space      = "▁" // SentencePiece writes a space so
	consonants = "bcdfghjklmnpqrstvwxyz"
	vowels     = "aeiou"
)

type vocabulary struct {
	tokens []string
	scores []float32
	types  []int32
}

func (v *vocabulary) add(token string, kind int32) {
	v.scores = append(v.scores, -float32(len(v.tokens)))
	v.tokens = append(v.tokens, token)
	v.types = append(v.types, kind)
}

// makeVocabulary lists o.Vocab tokens. It depends on the seed and the size
// only, so models of different depth can share it.
func makeVocabulary(o Options) vocabulary {
	var v vocabulary
	v.add("<unk>", tokenUnknown)
	v.add("<s>", tokenControl)
	v.add("</s>", tokenControl)
	for b := range 256 {
		v.add(fmt.Sprintf("<0x%02X>", b), tokenByte)
	}
	v.add(space, tokenNormal)
	for c := '!'; c <= '~'; c++ {
		v.add(string(c), tokenNormal)
	}
	syllables := makeSyllables()
	for _, s := range syllables {
		v.add(s, tokenNormal)
		v.add(space+s, tokenNormal)
	}
	v.addWords(o, syllables)
	return v
}

func makeSyllables() []string {
	var out []string
	for _, c := range consonants {
		for _, w := range vowels {
			out = append(out, string(c)+string(w))
		}
	}
	return out
}

// addWords fills the vocabulary with words of two and three syllables, each
// one once. There are 105² + 105³ of them, more than maxVocab.
func (v *vocabulary) addWords(o Options, syllables []string) {
	r := rand.New(rand.NewPCG(o.Seed, 0x766f636162))
	seen := map[string]bool{}
	for len(v.tokens) < o.Vocab {
		word := space
		for range 2 + r.IntN(2) {
			word += syllables[r.IntN(len(syllables))]
		}
		if !seen[word] {
			seen[word] = true
			v.add(word, tokenNormal)
		}
	}
}

// silent reports a token that must never be generated, or the text would not
// be valid UTF-8: bytes, control tokens, unknown. The end of text is apart.
func silent(id int) bool { return id < firstText && id != endID }

// chatTemplate is a Jinja template that writes each turn on a line of its own.
const chatTemplate = `{% for message in messages %}[{{ message.role }}] {{ message.content }}
{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}`
