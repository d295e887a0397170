package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// This file is the only one of the package that knows how JSON is written. The
// stream of every benchmark passes through Cursor, so it allocates nothing but
// the texts that it hands out.

// maxJSONDepth bounds the nesting that a reply may have.
const maxJSONDepth = 64

// Cursor reads one JSON value from front to back. The first fault sticks: from
// then on nothing is read and [Cursor.End] tells it. It accepts exactly what
// RFC 8259 allows, nested at most 64 deep.
//
//	c := NewCursor(data)
//	c.Object(func(key []byte) {
//		switch string(key) {
//		case "text":
//			text, _ = c.Text()
//		default:
//			c.Skip()
//		}
//	})
//	return c.End()
type Cursor struct {
	data  []byte
	at    int
	depth int
	err   error
}

// NewCursor starts at the beginning of data, which must stay unchanged while it
// is read.
func NewCursor(data []byte) Cursor { return Cursor{data: data} }

// End demands that nothing follows the value, and returns the first fault.
func (c *Cursor) End() error {
	if c.space(); c.err == nil && c.at < len(c.data) {
		c.fail("nothing after the value")
	}
	return c.err
}

func (c *Cursor) fail(want string) {
	if c.err != nil {
		return
	}
	got := "the end"
	if c.at < len(c.data) {
		got = strconv.QuoteToASCII(string(c.data[c.at:min(len(c.data), c.at+16)]))
	}
	c.err = fmt.Errorf("JSON at byte %d: expected %s, found %s", c.at, want, got)
	c.at = len(c.data)
}

func (c *Cursor) space() {
	for c.at < len(c.data) {
		switch c.data[c.at] {
		case ' ', '\t', '\n', '\r':
			c.at++
		default:
			return
		}
	}
}

// Kind is the first byte of the next value: one of { [ " t f n - or a digit; 0
// at the end.
func (c *Cursor) Kind() byte {
	if c.space(); c.err != nil || c.at >= len(c.data) {
		return 0
	}
	return c.data[c.at]
}

// take consumes one byte of punctuation.
func (c *Cursor) take(b byte) bool {
	if c.Kind() != b {
		return false
	}
	c.at++
	return true
}

// Object calls member for each member of an object, with its key; member reads
// the value, and one that it leaves is skipped. The key is valid during the
// call. Any other value is skipped without a call and yields false.
func (c *Cursor) Object(member func(key []byte)) bool {
	if c.Kind() != '{' {
		c.Skip()
		return false
	}
	if !c.enter() {
		return false
	}
	for n := 0; ; n++ {
		if n == 0 && c.take('}') {
			break
		}
		if n > 0 && !c.take(',') {
			if !c.take('}') {
				c.fail(`"," or "}"`)
			}
			break
		}
		if c.Kind() != '"' {
			c.fail("a key")
			break
		}
		key := c.quoted()
		if !c.take(':') {
			c.fail(`":"`)
			break
		}
		before := c.at
		member(key)
		if c.at == before {
			c.Skip()
		}
	}
	c.depth--
	return c.err == nil
}

// Array calls item for each element; item reads it, and one that it leaves is
// skipped. Any other value is skipped without a call and yields false.
func (c *Cursor) Array(item func()) bool {
	if c.Kind() != '[' {
		c.Skip()
		return false
	}
	if !c.enter() {
		return false
	}
	for n := 0; ; n++ {
		if n == 0 && c.take(']') {
			break
		}
		if n > 0 && !c.take(',') {
			if !c.take(']') {
				c.fail(`"," or "]"`)
			}
			break
		}
		before := c.at
		item()
		if c.at == before {
			c.Skip()
		}
		if c.err != nil {
			break
		}
	}
	c.depth--
	return c.err == nil
}

func (c *Cursor) enter() bool {
	if c.depth >= maxJSONDepth {
		c.fail(fmt.Sprintf("at most %d levels", maxJSONDepth))
		return false
	}
	c.depth++
	c.at++
	return true
}

// Text reads a string. Any other value is skipped and yields false.
func (c *Cursor) Text() (string, bool) {
	if c.Kind() != '"' {
		c.Skip()
		return "", false
	}
	text := c.quoted()
	return string(text), c.err == nil
}

// Int reads a number; a fraction is cut off, a number beyond int's range is
// refused. Any other value is skipped and yields false.
func (c *Cursor) Int() (int, bool) {
	if k := c.Kind(); k != '-' && (k < '0' || k > '9') {
		c.Skip()
		return 0, false
	}
	start := c.at
	c.number()
	if c.err != nil {
		return 0, false
	}
	text := c.data[start:c.at]
	if len(text) <= 18 && !bytes.ContainsAny(text, ".eE") {
		return smallInt(text), true
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || f < -(1<<53) || f > 1<<53 {
		return 0, false
	}
	return int(f), true
}

// smallInt reads up to 18 digits with a sign, which number has checked.
func smallInt(text []byte) int {
	n, neg := 0, text[0] == '-'
	if neg {
		text = text[1:]
	}
	for _, d := range text {
		n = n*10 + int(d-'0')
	}
	if neg {
		return -n
	}
	return n
}

// Raw reads any value and returns its bytes as they stand.
func (c *Cursor) Raw() []byte {
	c.space()
	start := c.at
	c.Skip()
	if c.err != nil {
		return nil
	}
	return c.data[start:c.at]
}

// Count reads an array and returns the number of its elements. Any other value
// is skipped and yields false.
func (c *Cursor) Count() (n int, ok bool) {
	ok = c.Array(func() { n++ })
	return n, ok
}

// Skip reads any value.
func (c *Cursor) Skip() {
	switch k := c.Kind(); {
	case k == '{':
		c.Object(func([]byte) {})
	case k == '[':
		c.Array(func() {})
	case k == '"':
		c.skipQuoted()
	case k == 't':
		c.word("true")
	case k == 'f':
		c.word("false")
	case k == 'n':
		c.word("null")
	case k == '-' || '0' <= k && k <= '9':
		c.number()
	default:
		c.fail("a value")
	}
}

func (c *Cursor) word(w string) {
	if !bytes.HasPrefix(c.data[c.at:], []byte(w)) {
		c.fail(w)
		return
	}
	c.at += len(w)
}

// number consumes a number by the grammar of RFC 8259 section 6.
func (c *Cursor) number() {
	if c.at < len(c.data) && c.data[c.at] == '-' {
		c.at++
	}
	switch {
	case c.at < len(c.data) && c.data[c.at] == '0':
		c.at++
	case !c.digits():
		return
	}
	if c.at < len(c.data) && c.data[c.at] == '.' {
		c.at++
		if !c.digits() {
			return
		}
	}
	if c.at < len(c.data) && (c.data[c.at] == 'e' || c.data[c.at] == 'E') {
		c.at++
		if c.at < len(c.data) && (c.data[c.at] == '+' || c.data[c.at] == '-') {
			c.at++
		}
		c.digits()
	}
}

func (c *Cursor) digits() bool {
	start := c.at
	for c.at < len(c.data) && '0' <= c.data[c.at] && c.data[c.at] <= '9' {
		c.at++
	}
	if c.at == start {
		c.fail("a digit")
		return false
	}
	return true
}

// skipQuoted consumes a string without making it; plain says that it holds
// neither an escape nor a byte beyond ASCII.
func (c *Cursor) skipQuoted() (plain bool) {
	plain = true
	for i := c.at + 1; i < len(c.data); i++ {
		switch b := c.data[i]; {
		case b == '"':
			c.at = i + 1
			return plain
		case b < 0x20:
			c.at = i
			c.fail("no control character within a string")
			return false
		case b >= utf8.RuneSelf:
			plain = false
		case b == '\\':
			plain = false
			n := escapeLen(c.data[i:])
			if n == 0 {
				c.at = i
				c.fail("an escape")
				return false
			}
			i += n - 1
		}
	}
	c.at = len(c.data)
	c.fail("the end of a string")
	return false
}

// escapeLen is the length of the escape at the start of b; 0 = none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) >= 6 && hex4(b[2:6]) >= 0 {
			return 6
		}
	}
	return 0
}

func hex4(b []byte) rune {
	var r rune
	for _, d := range b {
		switch {
		case '0' <= d && d <= '9':
			r = r<<4 | rune(d-'0')
		case 'a' <= d && d <= 'f':
			r = r<<4 | rune(d-'a'+10)
		case 'A' <= d && d <= 'F':
			r = r<<4 | rune(d-'A'+10)
		default:
			return -1
		}
	}
	return r
}

// quoted consumes a string and returns its text, which aliases the data when it
// holds no escape.
func (c *Cursor) quoted() []byte {
	start := c.at + 1
	plain := c.skipQuoted()
	if c.err != nil {
		return nil
	}
	body := c.data[start : c.at-1]
	if plain || bytes.IndexByte(body, '\\') < 0 && utf8.Valid(body) {
		return body
	}
	return unescape(body)
}

// unescape resolves escapes; a half of a surrogate pair and bytes that are not
// UTF-8 become U+FFFD.
func unescape(body []byte) []byte {
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); {
		b := body[i]
		switch {
		case b == '\\' && body[i+1] == 'u':
			r := hex4(body[i+2 : i+6])
			i += 6
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if i+6 <= len(body) && body[i] == '\\' && body[i+1] == 'u' {
					low = hex4(body[i+2 : i+6])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		case b == '\\':
			out = append(out, simpleEscape(body[i+1]))
			i += 2
		case b < utf8.RuneSelf:
			out = append(out, b)
			i++
		default:
			r, n := utf8.DecodeRune(body[i:])
			out = utf8.AppendRune(out, r)
			i += n
		}
	}
	return out
}

func simpleEscape(b byte) byte {
	switch b {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return b
}

// Body is a request body under construction: an object whose members are
// written in the order in which they are set.
type Body struct {
	buf bytes.Buffer
	err error
}

// Set writes one member. The value is anything that encoding/json can write; a
// value that it refuses is told by [Body.Bytes].
func (b *Body) Set(key string, value any) {
	if b.buf.Len() == 0 {
		b.buf.WriteByte('{')
	} else {
		b.buf.WriteByte(',')
	}
	b.write(key)
	b.buf.WriteByte(':')
	if err := b.write(value); err != nil && b.err == nil {
		b.err = fmt.Errorf("request field %q: the value %v cannot be written as JSON: %w", key, value, err)
	}
}

// write appends one value without the newline of the encoder, and without
// turning < > & into escapes, which would lengthen prompts for nothing.
func (b *Body) write(value any) error {
	enc := json.NewEncoder(&b.buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return err
	}
	b.buf.Truncate(b.buf.Len() - 1)
	return nil
}

// Bytes closes the object and returns it.
func (b *Body) Bytes() ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	if b.buf.Len() == 0 {
		b.buf.WriteByte('{')
	}
	b.buf.WriteByte('}')
	return b.buf.Bytes(), nil
}
