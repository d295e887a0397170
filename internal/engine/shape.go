package engine

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Shape recognises the events of one stream that are like an earlier one but
// for their text and for numbers that count on, which nearly all are, without
// reading their JSON again: what stands between is compared byte for byte. A
// match says exactly what Decode would (FuzzShape holds it to that); whatever
// does not match is left to Decode. The zero Shape matches nothing.
type Shape struct {
	known []byte // the constant parts, one after the other
	holes []hole // what stands after each of them; nothing after the last
	like  Delta  // what the event that matched last says beside its text
	usage Usage
	text  TextKind
	ids   bool // Cumulative says whether the token ids are as many as the tokens so far

	misses int // since the last match
	wait   int // misses to let pass before the next attempt to learn
}

// hole is a place where events differ.
type hole struct {
	part uint16 // where the constant part before it ends in known
	kind holeKind
}

type holeKind uint8

// TextKind says what the one text of an event is.
type TextKind uint8

// The kinds of text.
const (
	TextVisible TextKind = iota
	TextReasoning
	TextTool // arguments of a tool call
)

const (
	holeText   holeKind = iota // the inside of the string that is the text
	holeNumber                 // a number that says nothing here
	holeTokens                 // the output tokens so far
	holeIDs                    // token ids, of which at most the number says something
)

// What is put in place of a text or a number to see what it is.
const (
	probeText   = "a text that no server sends"
	probeNumber = 90071
)

// maxShape bounds what is kept of an event, maxHoles the places where events may
// differ, maxLearnWait the pause between attempts to learn from a stream whose
// events are all different.
const (
	maxShape     = 4 << 10
	maxHoles     = 12
	maxLearnWait = 1 << 10
	maxOthers    = 1 << 6  // items of lists against which tokens are tried
	maxProbeIDs  = 1 << 10 // tokens of an event from which a list of ids is learned
)

// Match returns the number of bytes of text of an event, and false when it must
// be decoded.
func (s *Shape) Match(data []byte) (text int, ok bool) {
	if len(s.holes) == 0 {
		return 0, false
	}
	from, tokens, ids := uint16(0), -1, 0
	for _, h := range s.holes {
		part := s.known[from:h.part]
		if !bytes.HasPrefix(data, part) {
			return 0, false
		}
		data, from = data[len(part):], h.part
		n := 0
		switch h.kind {
		case holeText:
			n, text = textPrefix(data)
		case holeNumber:
			n = numberPrefix(data)
		case holeIDs:
			n, ids = idsPrefix(data)
		default:
			n, tokens = countPrefix(data)
		}
		if n < 0 {
			return 0, false
		}
		data = data[n:]
	}
	if !bytes.Equal(data, s.known[from:]) {
		return 0, false
	}
	if s.ids {
		sofar := tokens
		if tokens < 0 {
			sofar = s.like.Tokens
		}
		if (ids == sofar) != s.like.Cumulative {
			return 0, false
		}
	}
	if tokens >= 0 {
		s.like.Tokens, s.usage.Completion = tokens, tokens
	}
	return text, true
}

// Like is what the event that matched last says beside its text, which is left
// out. It holds until the next match.
func (s *Shape) Like() *Delta { return &s.like }

// Kind is the kind of text of the events that match.
func (s *Shape) Kind() TextKind { return s.text }

// Matched notes that an event matched, so that a change of the stream's shape is
// learned at once.
func (s *Shape) Matched() { s.misses, s.wait = 0, 0 }

// Learn takes the shape of an event that Match did not know and that decode read
// as d. An event without exactly one text, or with a finish or an error, is not
// learned.
func (s *Shape) Learn(data []byte, d *Delta, decode func([]byte, *Delta) error) {
	if s.misses++; s.misses <= s.wait || len(data) > maxShape {
		return
	}
	s.misses, s.wait = 0, min(2*s.wait+1, maxLearnWait)
	text, like, ok := onlyText(d)
	if !ok {
		return
	}
	l := learner{data: data, text: text, like: like, decode: decode}
	if start, end, ok := l.findText(); ok {
		s.keep(&l, start, end)
		s.text = kindOf(d)
	}
}

// keep cuts the event into constant parts and holes.
func (s *Shape) keep(l *learner, start, end int) {
	if cap(s.known) < len(l.data) {
		s.known = make([]byte, 0, len(l.data))
	}
	s.known, s.holes = s.known[:0], s.holes[:0]
	last := 0
	cut := func(from, to int, kind holeKind) {
		s.known = append(s.known, l.data[last:from]...)
		s.holes = append(s.holes, hole{uint16(len(s.known)), kind})
		last = to
	}
	ids, idsEnd := l.findIDs()
	l.others = 1 + bytes.Count(l.data[:ids], []byte(",")) + bytes.Count(l.data[idsEnd:], []byte(","))
	s.ids = l.counts
	for at := 0; at < len(l.data); {
		if at == ids && idsEnd > ids {
			cut(ids, idsEnd, holeIDs)
			at = idsEnd
			continue
		}
		if at == start {
			cut(start, end, holeText)
			at = end
			continue
		}
		if n := numberAt(l.data, at); n > 0 && len(s.holes) < maxHoles {
			if kind, ok := l.number(at, at+n); ok {
				cut(at, at+n, kind)
			}
			at += n
			continue
		}
		at++
	}
	s.known = append(s.known, l.data[last:]...)
	s.like = l.like
	if l.like.Usage != nil {
		s.usage = *l.like.Usage
		s.like.Usage = &s.usage
	}
}

// kindOf is the kind of the one text of an event.
func kindOf(d *Delta) TextKind {
	switch {
	case d.Reasoning != "":
		return TextReasoning
	case d.ToolArgs != "":
		return TextTool
	}
	return TextVisible
}

// onlyText is the one text of an event without finish or error, and the event
// without it.
func onlyText(d *Delta) (text string, like Delta, ok bool) {
	like = *d
	like.Text, like.Reasoning, like.ToolArgs = "", "", ""
	text = d.Text + d.Reasoning + d.ToolArgs
	one := text != "" && (text == d.Text || text == d.Reasoning || text == d.ToolArgs)
	return text, like, one && d.Finish == "" && d.Error == "" && !(d.Cumulative && d.Text == "")
}

// learner finds out what the places of one event mean, by decoding it with
// something else there.
type learner struct {
	data   []byte
	text   string
	like   Delta
	decode func([]byte, *Delta) error
	probe  []byte
	counts bool // Cumulative says whether the token ids are as many as the tokens so far
	items  int  // of the list of token ids
	told   bool // the tokens so far have their place
	others int  // the most items that any other list of the event can have
}

// with decodes the event with other bytes from start to end.
func (l *learner) with(start, end int, other string) (text string, like Delta, ok bool) {
	if l.probe == nil {
		l.probe = make([]byte, 0, len(l.data)+len(probeText))
	}
	l.probe = append(append(append(l.probe[:0], l.data[:start]...), other...), l.data[end:]...)
	var d Delta
	if l.decode(l.probe, &d) != nil {
		return "", d, false
	}
	return onlyText(&d)
}

// findText is where the text stands, without its quotes.
func (l *learner) findText() (start, end int, ok bool) {
	for from := 0; from < len(l.data); {
		i := bytes.Index(l.data[from:], []byte(l.text))
		if i < 0 {
			return 0, 0, false
		}
		start = from + i
		end = start + len(l.text)
		if start > 0 && l.data[start-1] == '"' && end < len(l.data) && l.data[end] == '"' {
			if text, like, ok := l.with(start, end, probeText); ok && text == probeText && sameDelta(like, l.like) {
				return start, end, true
			}
		}
		from = start + 1
	}
	return 0, 0, false
}

// number says what a number of the event is; false = something that must not
// differ.
func (l *learner) number(start, end int) (holeKind, bool) {
	text, like, ok := l.with(start, end, "90071") // probeNumber
	if !ok || text != l.text {
		return 0, false
	}
	if sameDelta(like, l.like) {
		return holeNumber, true
	}
	if l.like.Usage == nil || l.like.Tokens < 0 {
		return 0, false
	}
	if l.told || l.others > maxOthers || !sameDelta(like, l.counting(probeNumber)) {
		return 0, false
	}
	for n := range l.others + 1 { // as many as some list has, whose number of items may count
		if text, like, ok := l.with(start, end, strconv.Itoa(n)); !ok || text != l.text || !sameDelta(like, l.counting(n)) {
			return 0, false
		}
	}
	l.told = true // those of further outputs of the event would be added to them
	return holeTokens, true
}

// counting is what the event says with another number of tokens so far.
func (l *learner) counting(tokens int) Delta {
	d, usage := l.like, *l.like.Usage
	usage.Completion = tokens
	d.Tokens, d.Usage = tokens, &usage
	if l.counts {
		d.Cumulative = l.items == tokens
	}
	return d
}

// findIDs is where the first list of whole numbers that is the value of a member
// stands, without its brackets, if its decoder looks at the number of its items at
// most, and at that only against the tokens so far. 0, 0 = none.
func (l *learner) findIDs() (start, end int) {
	items := 0
	for start = 2; start < len(l.data); start++ {
		if l.data[start-1] != '[' || strings.IndexByte(": ", l.data[start-2]) < 0 {
			continue
		}
		if end, items = idsPrefix(l.data[start:]); end > 0 && start+end < len(l.data) && l.data[start+end] == ']' {
			end += start
			break
		}
	}
	if start >= len(l.data) || items >= probeNumber {
		return 0, 0
	}
	changes := func(n int) (changed, ok bool) {
		text, like, ok := l.with(start, end, strings.Repeat("9,", n-1)+"9")
		changed = like.Cumulative != l.like.Cumulative
		like.Cumulative = l.like.Cumulative
		return changed, ok && text == l.text && sameDelta(like, l.like)
	}
	more, ok := changes(items + 1)
	sofar := l.like.Tokens
	switch {
	case !ok || sofar == 0 || sofar > maxProbeIDs || sofar < 0 && more:
		return 0, 0
	case sofar < 0: // nothing to count against
		return start, end
	}
	same, okSame := changes(sofar)
	other, okOther := changes(sofar + 1)
	all := l.like.Cumulative
	switch {
	case !okSame || !okOther:
		return 0, 0
	case !more && !same && !other:
		return start, end
	case all == (items == sofar) && same != all && other == all:
		l.counts, l.items = true, items
		return start, end
	}
	return 0, 0
}

// sameDelta compares what two events say beside their text.
func sameDelta(a, b Delta) bool {
	if (a.Usage == nil) != (b.Usage == nil) || a.Usage != nil && *a.Usage != *b.Usage {
		return false
	}
	a.Usage, b.Usage = nil, nil
	return a == b
}

// numberAt is the length of the number that stands at a position as the value
// of a member; 0 = none.
func numberAt(data []byte, at int) int {
	if at == 0 || strings.IndexByte(": ", data[at-1]) < 0 {
		return 0
	}
	n := numberPrefix(data[at:])
	if n <= 0 || at+n >= len(data) || strings.IndexByte(",}", data[at+n]) < 0 {
		return 0
	}
	return n
}

// numberPrefix is the length of the number, without an exponent, at the start of
// b; -1 = none.
func numberPrefix(b []byte) int {
	n, _ := countPrefix(b)
	if n > 0 && n+1 < len(b) && b[n] == '.' && isDigit(b[n+1]) {
		for n++; n < len(b) && isDigit(b[n]); n++ {
		}
	}
	return n
}

// countPrefix is the length and the value of the whole number at the start of b,
// of at most 15 digits; -1 = none.
func countPrefix(b []byte) (n, value int) {
	for n < len(b) && isDigit(b[n]) {
		value = 10*value + int(b[n]-'0')
		if n++; n > 15 {
			return -1, -1
		}
	}
	if n == 0 || n > 1 && b[0] == '0' {
		return -1, -1
	}
	return n, value
}

// idsPrefix is the length of the list of whole numbers, separated by commas, at the
// start of b, and how many they are; -1 = none.
func idsPrefix(b []byte) (n, items int) {
	for {
		k, _ := countPrefix(b[n:])
		if k < 0 {
			return -1, 0
		}
		n, items = n+k, items+1
		if n >= len(b) || b[n] != ',' {
			return n, items
		}
		if n++; n < len(b) && b[n] == ' ' {
			n++
		}
	}
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// textPrefix is the length of the inside of the JSON string that goes on at the
// start of b, and of the text for which it stands; -1 when only the decoder can
// tell. That holds for an empty text too, in whose place another member may count.
func textPrefix(b []byte) (n, text int) {
	ascii, escapes := true, 0
	for ; n < len(b) && b[n] != '"'; n++ {
		switch c := b[n]; {
		case c < 0x20:
			return -1, 0
		case c >= utf8.RuneSelf:
			ascii = false
		case c == '\\':
			if n++; n == len(b) || strings.IndexByte(`"\/bfnrt`, b[n]) < 0 {
				return -1, 0
			}
			escapes++
		}
	}
	if n == 0 || n == len(b) || !ascii && !utf8.Valid(b[:n]) {
		return -1, 0
	}
	return n, n - escapes
}
