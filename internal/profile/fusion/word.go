package fusion

import "strings"

// text is a name, cut into identifiers (what stands between ::, <, blanks and
// the like), each cut into lower-case words: FusedAddRMSNormKernel is fused, add,
// rms, norm, kernel.
type text [][]string

// cut makes a text of a name.
func cut(name string) text {
	var out text
	for i := 0; i < len(name); {
		if !wordByte(name[i]) {
			i++
			continue
		}
		start := i
		for i < len(name) && wordByte(name[i]) {
			i++
		}
		if words := snake(name[start:i]); len(words) > 0 {
			out = append(out, words)
		}
	}
	return out
}

func wordByte(c byte) bool { return c == '_' || isDigit(c) || isLower(c) || isUpper(c) }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }

// snake parts an identifier at underscores and where CamelCase changes.
func snake(id string) []string {
	var words []string
	start := 0
	flush := func(end int) {
		if end > start {
			words = append(words, strings.ToLower(id[start:end]))
		}
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c == '_':
			flush(i)
			start = i + 1
		case isUpper(c) && i > start:
			acronymEnds := isUpper(id[i-1]) && i+1 < len(id) && isLower(id[i+1])
			if isLower(id[i-1]) || isDigit(id[i-1]) || acronymEnds {
				flush(i)
				start = i
			}
		}
	}
	flush(len(id))
	return words
}

// word is what a catalog looks for: identifiers that follow one another
// (a::b is two), each without underscores and in lower case. With = before it
// the identifiers must be whole.
type word struct {
	parts []string
	whole bool
}

func compile(pattern string) word {
	var out word
	pattern, out.whole = strings.CutPrefix(pattern, "=")
	for _, id := range cut(pattern) {
		out.parts = append(out.parts, strings.Join(id, ""))
	}
	return out
}

// in reports whether the word stands in the text: each of its identifiers is a
// run of whole words of an identifier, and these follow one another.
func (w word) in(t text) bool {
	if len(w.parts) == 0 {
		return false
	}
	for i := 0; i+len(w.parts) <= len(t); i++ {
		fits := true
		for k, part := range w.parts {
			if words := t[i+k]; w.whole && strings.Join(words, "") != part || !run(part, words) {
				fits = false
				break
			}
		}
		if fits {
			return true
		}
	}
	return false
}

// run reports whether some words in a row spell part.
func run(part string, words []string) bool {
	for i := range words {
		rest := part
		for _, w := range words[i:] {
			var fits bool
			if rest, fits = strings.CutPrefix(rest, w); !fits {
				break
			}
			if rest == "" {
				return true
			}
		}
	}
	return false
}

// anyIn reports whether one of the words stands in one of the texts.
func anyIn(words []word, texts ...text) bool {
	for _, w := range words {
		for _, t := range texts {
			if w.in(t) {
				return true
			}
		}
	}
	return false
}

func compileAll(patterns []string) []word {
	out := make([]word, len(patterns))
	for i, p := range patterns {
		out[i] = compile(p)
	}
	return out
}
