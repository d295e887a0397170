package token

import (
	"strings"
	"unicode/utf8"
)

// addedToken is a token that is cut out of the text before anything else.
type addedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only between characters that are not of a word
	LStrip     bool   `json:"lstrip"`      // takes the blanks before it
	RStrip     bool   `json:"rstrip"`      // takes the blanks behind it
	Normalized *bool  `json:"normalized"`  // sought after normalizing; absent = not special
	Special    bool   `json:"special"`
}

// addedTokens finds the tokens of a set, the longest at each place.
type addedTokens struct {
	words *trie
	first [256]bool
	only  int // the one first byte, or -1
	flags map[int32]addedToken
}

// newAddedTokens keeps tokens under the text that spell gives them.
func newAddedTokens(tokens []addedToken, spell func(string) string) *addedTokens {
	a := &addedTokens{words: newTrie(len(tokens)), only: -1, flags: map[int32]addedToken{}}
	firsts := 0
	for _, t := range tokens {
		content := spell(t.Content)
		if content == "" {
			continue
		}
		a.words.add(content, int32(t.ID))
		if t.SingleWord || t.LStrip || t.RStrip {
			a.flags[int32(t.ID)] = t
		}
		if !a.first[content[0]] {
			a.first[content[0]] = true
			a.only = int(content[0])
			firsts++
		}
	}
	if firsts != 1 {
		a.only = -1
	}
	return a
}

// seek is the next place where a token may begin, or len(text).
func (a *addedTokens) seek(text string, at int) int {
	if a.only >= 0 {
		if i := strings.IndexByte(text[at:], byte(a.only)); i >= 0 {
			return at + i
		}
		return len(text)
	}
	for at < len(text) && !a.first[text[at]] {
		at++
	}
	return at
}

// cut calls emit for each token (id ≥ 0) and each piece between tokens (id -1)
// in order. atStart says that the piece begins the text.
func (a *addedTokens) cut(text string, emit func(id int32, piece string, atStart bool)) {
	if a == nil {
		emit(-1, text, true)
		return
	}
	done := 0
	for at := a.seek(text, 0); at < len(text); at = a.seek(text, at) {
		id, end := a.words.longest(text, at)
		if id < 0 {
			at++
			continue
		}
		start, stop, ok := a.bounds(id, text, at, end, done)
		at = end
		if !ok {
			continue
		}
		if start > done {
			emit(-1, text[done:start], done == 0)
		}
		emit(id, "", false)
		done = stop
	}
	if done < len(text) {
		emit(-1, text[done:], done == 0)
	}
}

// bounds widens a match by the blanks that its flags take, not before done.
func (a *addedTokens) bounds(id int32, text string, start, end, done int) (int, int, bool) {
	f, ok := a.flags[id]
	if !ok {
		return start, end, true
	}
	if f.SingleWord {
		last, _ := utf8.DecodeLastRuneInString(text[:start])
		next, _ := utf8.DecodeRuneInString(text[end:])
		wordSet := chars("rust-word")
		if start > 0 && wordSet.has(last) || end < len(text) && wordSet.has(next) {
			return 0, 0, false
		}
	}
	if f.LStrip {
		for start > done {
			r, n := utf8.DecodeLastRuneInString(text[:start])
			if !chars("space").has(r) {
				break
			}
			start -= n
		}
		start = max(start, done)
	}
	if f.RStrip {
		for n := chars("space").step(text, end); n > 0; n = chars("space").step(text, end) {
			end += n
		}
	}
	return start, end, true
}
