package engine

import (
	"bytes"
	"unicode/utf8"
)

// Shape recognises the events of one stream that are like an earlier one but
// for their text, which nearly all are, without reading their JSON again: what
// stands before and after the text is compared byte for byte. A match says
// exactly what Decode would (FuzzShape holds it to that); whatever does not
// match is left to Decode. The zero Shape matches nothing.
type Shape struct {
	known  []byte // all before the text, its quote included, then all after it, from its quote on
	before int    // length of the first part
	like   Delta  // what the events say beside their text

	misses int // since the last match
	wait   int // misses to let pass before the next attempt to learn
}

// shapeProbe is put in place of a text to see that it is the text.
const shapeProbe = "a text that no server sends"

// maxShape bounds what is kept of an event, maxLearnWait the pause between
// attempts to learn from a stream whose events are all different.
const (
	maxShape     = 4 << 10
	maxLearnWait = 1 << 10
)

// Match returns the number of bytes of text of an event, and false when it must
// be decoded.
func (s *Shape) Match(data []byte) (text int, ok bool) {
	rest := len(data) - len(s.known)
	if s.before == 0 || rest < 0 ||
		!bytes.Equal(data[:s.before], s.known[:s.before]) || !bytes.Equal(data[s.before+rest:], s.known[s.before:]) {
		return 0, false
	}
	text = textLen(data[s.before : s.before+rest])
	return text, text >= 0
}

// Like is what a matching event says beside its text: the text is left out.
func (s *Shape) Like() *Delta { return &s.like }

// Matched notes that an event matched, so that a change of the stream's shape is
// learned at once.
func (s *Shape) Matched() { s.misses, s.wait = 0, 0 }

// Learn takes the shape of an event that Match did not know and that decode read
// as d. An event with anything but one text in it is not learned.
func (s *Shape) Learn(data []byte, d *Delta, decode func([]byte, *Delta) error) {
	if s.misses++; s.misses <= s.wait || len(data) > maxShape {
		return
	}
	s.misses, s.wait = 0, min(2*s.wait+1, maxLearnWait)
	text, like, ok := onlyText(d)
	if !ok {
		return
	}
	for from := 0; from < len(data); {
		i := bytes.Index(data[from:], []byte(text))
		if i < 0 {
			return
		}
		at := from + i
		end := at + len(text)
		if at > 0 && data[at-1] == '"' && end < len(data) && data[end] == '"' && isText(data, at, end, like, decode) {
			s.known = append(append(s.known[:0], data[:at]...), data[end:]...)
			s.before, s.like = at, like
			return
		}
		from = at + 1
	}
}

// onlyText is the one text of an event without count, finish or error, and the
// event without it.
func onlyText(d *Delta) (text string, like Delta, ok bool) {
	like = *d
	like.Text, like.Reasoning, like.ToolArgs = "", "", ""
	text = d.Text + d.Reasoning + d.ToolArgs
	one := text != "" && (text == d.Text || text == d.Reasoning || text == d.ToolArgs)
	return text, like, one && d.Tokens < 0 && d.Usage == nil && d.Finish == "" && d.Error == "" && !(d.Cumulative && d.Text == "")
}

// isText says whether data[at:end] is the text of the event, by decoding it
// with another one there.
func isText(data []byte, at, end int, like Delta, decode func([]byte, *Delta) error) bool {
	probe := make([]byte, 0, len(data)+len(shapeProbe))
	probe = append(append(append(probe, data[:at]...), shapeProbe...), data[end:]...)
	var d Delta
	if decode(probe, &d) != nil {
		return false
	}
	text, rest, ok := onlyText(&d)
	return ok && text == shapeProbe && rest == like
}

// textLen is the length of the text that the inside of a JSON string stands
// for; -1 when only the decoder can tell.
func textLen(body []byte) int {
	n, ascii := len(body), true
	for i := 0; i < len(body); i++ {
		switch b := body[i]; {
		case b == '"' || b < 0x20:
			return -1
		case b >= utf8.RuneSelf:
			ascii = false
		case b == '\\':
			if i++; i == len(body) || bytes.IndexByte([]byte(`"\/bfnrt`), body[i]) < 0 {
				return -1
			}
			n--
		}
	}
	if !ascii && !utf8.Valid(body) {
		return -1
	}
	return n
}
