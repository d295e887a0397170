package pickle

import (
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

func fromBits(b uint64) float64 { return math.Float64frombits(b) }

// invalidText finds the first byte that is neither UTF-8 nor a lone surrogate in
// WTF-8 (ED A0..BF xx); -1 = none.
func invalidText(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		if surrogateAt(b[i:]) {
			i += 3
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

func surrogateAt(b []byte) bool {
	return len(b) >= 3 && b[0] == 0xed && b[1] >= 0xa0 && b[1] <= 0xbf && b[2] >= 0x80 && b[2] <= 0xbf
}

// extent is where the bytes of a text or of bytes with a length stand in the input;
// ok is false for a text that is written as a line.
func (d *Document) extent(v Value) (lo, hi int, ok bool) {
	at := int(v.payload())
	size := 0
	switch d.Data[at] {
	case 'U', 0x8c, 'C':
		size = 1
	case 'T', 'X', 'B':
		size = 4
	case 0x8d, 0x8e, 0x96:
		size = 8
	default:
		return 0, 0, false
	}
	lo = at + 1 + size
	return lo, lo + int(littleEndian(d.Data[at+1:lo])), true
}

// RawText is the text of a Str as bytes that must not be changed: UTF-8, or WTF-8
// where it holds lone surrogates. What is no UTF-8 in a damaged file stays.
func (d *Document) RawText(v Value) ([]byte, bool) {
	if v.Kind() != Str {
		return nil, false
	}
	if lo, hi, ok := d.extent(v); ok {
		return d.Data[lo:hi], true
	}
	at := int(v.payload())
	line := lineAt(d.Data, at+1)
	switch d.Data[at] {
	case 'S':
		return unquote(line)
	case 'V':
		return unescapeUnicode(line)
	}
	return line, true // PERSID
}

// RawBytes are the bytes of a Bytes or ByteArray; they must not be changed.
func (d *Document) RawBytes(v Value) ([]byte, bool) {
	if k := v.Kind(); k != Bytes && k != ByteArray {
		return nil, false
	}
	lo, hi, ok := d.extent(v)
	if !ok {
		return nil, false
	}
	return d.Data[lo:hi], true
}

// Integer is the number of an Int in 64 bits; false when it is larger.
func (d *Document) Integer(v Value) (int64, bool) {
	if v.Kind() != Int {
		return 0, false
	}
	if v.form() == formInline {
		return v.inline(), true
	}
	n := d.big(v)
	return n.Int64(), n.IsInt64()
}

// big is the number of an Int of any size.
func (d *Document) big(v Value) *big.Int {
	if v.form() == formInline {
		return big.NewInt(v.inline())
	}
	at := int(v.payload())
	switch d.Data[at] {
	case 0x8a:
		return twosComplement(d.Data[at+2 : at+2+int(d.Data[at+1])])
	case 0x8b:
		n := int(binary.LittleEndian.Uint32(d.Data[at+1:]))
		return twosComplement(d.Data[at+5 : at+5+n])
	}
	n, ok := new(big.Int).SetString(strings.TrimSpace(strings.TrimSuffix(string(lineAt(d.Data, at+1)), "L")), 10)
	if !ok {
		return new(big.Int)
	}
	return n
}

func twosComplement(little []byte) *big.Int {
	b := make([]byte, len(little))
	for i, c := range little {
		b[len(b)-1-i] = c
	}
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

// unquote reads a Python 2 string literal, the argument of STRING.
func unquote(b []byte) ([]byte, bool) {
	b = []byte(strings.TrimSpace(string(b)))
	if len(b) < 2 || b[0] != b[len(b)-1] || b[0] != '\'' && b[0] != '"' {
		return nil, false
	}
	b = b[1 : len(b)-1]
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			i++
			continue
		}
		c, n := stringEscape(b[i+1:])
		if n < 0 {
			return nil, false
		}
		out = append(out, c...)
		i += 1 + n
	}
	return latin(out), true
}

// stringEscape reads what follows a backslash in a string literal: the bytes that
// it stands for, and how long it is; -1 = not allowed.
func stringEscape(b []byte) ([]byte, int) {
	const from, to = "\\'\"abfnrtv", "\\'\"\a\b\f\n\r\t\v"
	if i := strings.IndexByte(from, b[0]); i >= 0 {
		return []byte{to[i]}, 1
	}
	switch {
	case b[0] == 'x':
		if len(b) < 3 {
			return nil, -1
		}
		n, err := strconv.ParseUint(string(b[1:3]), 16, 8)
		if err != nil {
			return nil, -1
		}
		return []byte{byte(n)}, 3
	case b[0] >= '0' && b[0] <= '7':
		n, w := 0, 0
		for w < 3 && w < len(b) && b[w] >= '0' && b[w] <= '7' {
			n = n*8 + int(b[w]-'0')
			w++
		}
		return []byte{byte(n)}, w
	}
	return []byte{'\\', b[0]}, 1
}

// latin turns bytes that are no UTF-8 into the characters of the same numbers.
func latin(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	out := make([]byte, 0, len(b)+8)
	for _, c := range b {
		out = utf8.AppendRune(out, rune(c))
	}
	return out
}

// unescapeUnicode reads the argument of UNICODE: Latin-1 with \uXXXX and
// \UXXXXXXXX.
func unescapeUnicode(b []byte) ([]byte, bool) {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		if b[i] != '\\' || i+1 == len(b) || b[i+1] != 'u' && b[i+1] != 'U' {
			out = utf8.AppendRune(out, rune(b[i]))
			i++
			continue
		}
		w := 4
		if b[i+1] == 'U' {
			w = 8
		}
		if len(b) < i+2+w {
			return nil, false
		}
		n, err := strconv.ParseUint(string(b[i+2:i+2+w]), 16, 32)
		if err != nil || n > utf8.MaxRune {
			return nil, false
		}
		out = AppendWTF8(out, rune(n))
		i += 2 + w
	}
	return out, true
}

// AppendWTF8 appends a character; a surrogate becomes three bytes as WTF-8 has it.
func AppendWTF8(b []byte, r rune) []byte {
	if r >= 0xd800 && r <= 0xdfff {
		return append(b, 0xed, byte(0x80|r>>6&0x3f), byte(0x80|r&0x3f))
	}
	return utf8.AppendRune(b, r)
}

const hexDigits = "0123456789abcdef"

// AppendQuoted appends a text as a JSON string. A lone surrogate becomes its
// escape (\udXXX), a byte that is no UTF-8 becomes U+FFFD.
func AppendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c >= utf8.RuneSelf && surrogateAt(text[i:]):
			r := rune(0xd000) | rune(text[i+1]&0x3f)<<6 | rune(text[i+2]&0x3f)
			dst = append(dst, '\\', 'u', hexDigits[r>>12], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
			i += 3
			continue
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(text[i:])
			dst = appendRune(dst, r)
			i += n
			continue
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < 0x20 || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}

// appendRune escapes the two line ends that JavaScript does not take.
func appendRune(dst []byte, r rune) []byte {
	if r == 0x2028 || r == 0x2029 {
		return append(dst, '\\', 'u', '2', '0', '2', byte('0'+r&15))
	}
	return utf8.AppendRune(dst, r)
}
