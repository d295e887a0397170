package trace

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// status says how reading a piece of text ended.
type status uint8

const (
	whole status = iota // the piece is complete
	cut                 // the text ends within it: more is needed
	bad                 // it is no JSON
)

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// stringEnd is the index of the quote that ends a string whose text begins at i,
// -1 when it is not there. Eight bytes at a time.
func stringEnd(b []byte, i int) int {
	for {
		for ; i+8 <= len(b); i += 8 {
			w := binary.LittleEndian.Uint64(b[i:])
			q := w ^ (lowBits * '"')
			e := w ^ (lowBits * '\\')
			if m := ((q - lowBits) &^ q & highBits) | ((e - lowBits) &^ e & highBits); m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
		}
		for i < len(b) && b[i] != '"' && b[i] != '\\' {
			i++
		}
		if i >= len(b) {
			return -1
		}
		if b[i] == '"' {
			return i
		}
		if i += 2; i > len(b) {
			return -1
		}
	}
}

// stringSpan is stringEnd that also tells whether there are escapes.
func stringSpan(b []byte, i int) (end int, escaped bool) {
	for k := i; k < len(b); k += 8 {
		if k+8 > len(b) {
			break
		}
		w := binary.LittleEndian.Uint64(b[k:])
		q := w ^ (lowBits * '"')
		e := w ^ (lowBits * '\\')
		if m := ((q - lowBits) &^ q & highBits) | ((e - lowBits) &^ e & highBits); m != 0 {
			k += bits.TrailingZeros64(m) >> 3
			if b[k] == '"' {
				return k, false
			}
			return stringEnd(b, k), true
		}
	}
	end = stringEnd(b, i)
	return end, end >= 0 && bytes.IndexByte(b[i:end], '\\') >= 0
}

// blanks is the first index at or after i that is no white space.
func blanks(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// scalarByte marks what numbers, true, false, null, NaN and Infinity are made of.
var scalarByte = func() (t [256]bool) {
	for c := range 256 {
		t[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '+' || c == '.'
	}
	return t
}()

// valueEnd is the index after the JSON value that begins at i. A scalar that
// touches the end of b may go on there: it is cut.
func valueEnd(b []byte, i int) (int, status) {
	if i >= len(b) {
		return 0, cut
	}
	switch c := b[i]; {
	case c == '"':
		end := stringEnd(b, i+1)
		if end < 0 {
			return 0, cut
		}
		return end + 1, whole
	case c == '{' || c == '[':
		return nestEnd(b, i)
	case scalarByte[c]:
		for i < len(b) && scalarByte[b[i]] {
			i++
		}
		if i == len(b) {
			return 0, cut
		}
		return i, whole
	}
	return 0, bad
}

// nestEnd is the index after the object or array that begins at i. Brackets are
// counted, kinds and commas are not checked.
func nestEnd(b []byte, i int) (int, status) {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			end := stringEnd(b, i+1)
			in := b[i:]
			if end >= 0 {
				in = b[i:end]
			}
			if bytes.IndexByte(in, '\n') >= 0 {
				return 0, bad // a quote too few or too many: the strings are inside out
			}
			if end < 0 {
				return 0, cut
			}
			i = end
		case '{', '[':
			if depth++; depth > maxDepth {
				return 0, bad
			}
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1, whole
			}
		}
		i++
	}
	return 0, cut
}

// unquote resolves the escapes of a JSON string's text. Text without any is
// returned as it is; otherwise room is filled.
func unquote(b, room []byte) []byte {
	i := 0
	for i < len(b) && b[i] != '\\' {
		i++
	}
	if i == len(b) {
		return b
	}
	out := append(room[:0], b[:i]...)
	for i < len(b) {
		c := b[i]
		if c != '\\' || i+1 == len(b) {
			out = append(out, c)
			i++
			continue
		}
		i += 2
		switch c = b[i-1]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, n := unicodeEscape(b[i:])
			out = utf8.AppendRune(out, r)
			i += n
		default:
			out = append(out, c)
		}
	}
	return out
}

// unicodeEscape reads the four digits after \u, and the second half of a pair.
func unicodeEscape(b []byte) (rune, int) {
	r, ok := hex4(b)
	if !ok {
		return utf8.RuneError, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 4
	}
	if len(b) >= 10 && b[4] == '\\' && b[5] == 'u' {
		if low, ok := hex4(b[6:]); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 10
			}
		}
	}
	return utf8.RuneError, 4
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
