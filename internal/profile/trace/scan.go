package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// sink takes what a scanner finds.
type sink interface {
	// add takes one entry of traceEvents that is an object; e's slices live until it returns.
	add(e *rawEvent)
	// skip counts something that was left out.
	skip(reason string, offset int64)
	// metaKey and takeMeta take a top-level key and, of those that wantsMeta, its value.
	metaKey(key string)
	takeMeta(key string, value []byte)
	// wants says whether the value of a top-level key is to be read.
	wants(key string) bool
	// stopped is an error that ends the scan.
	stopped() error
}

// scanner reads the text of a trace window by window. An event is parsed where it
// lies; when it goes beyond the window, the window is moved on and the event is
// begun again.
//
// Profilers repeat themselves: what stands between two values of an event is
// nearly always what stood there before. So the bytes between values are
// remembered with the key that they lead to (hops), and one comparison replaces
// the search for white space, comma, key and colon.
type scanner struct {
	ctx  context.Context
	name string
	o    Options
	src  *source
	sink sink

	mem  []byte // memory of the current block, to be released
	b    []byte // the window
	pos  int    // next byte of the window
	base int64  // offset of the window in the text
	end  error  // why no more text comes; nil while it may

	events int64
	alone  bool // the array stands without a document around it
	brk    *Break
	e      rawEvent
	hops   [keyCount][2]hop
	gap    hop // between two events
}

type eventKey uint8

const (
	keyStart eventKey = iota
	keyPh
	keyCat
	keyName
	keyPid
	keyTid
	keyTs
	keyDur
	keyArgs
	keyID
	keyOther
	keyEnd
	keyCount
)

// hop is text that leads from one value to the next.
type hop struct {
	n    uint8
	to   eventKey
	text [46]byte
}

func (s *scanner) close() { s.src.stop() }

// offset is how many bytes of text were taken.
func (s *scanner) offset() int64 { return s.base + int64(s.pos) }

// errCut ends a scan where the text does.
var errCut = errors.New("the text ends")

// fill moves the window on: what is unread stays, at least as much again follows.
// It reports errCut at the end of the text.
func (s *scanner) fill() error {
	if s.end != nil {
		return errCut
	}
	rest := s.b[s.pos:]
	want := len(rest) // amortises beginning a long value again
	for {
		blk, err := s.src.next(s.ctx)
		if err != nil {
			return fmt.Errorf("reading %s: %w", s.name, err)
		}
		s.end = blk.err
		if s.b = rest; len(rest) <= headroom {
			start := headroom - len(rest)
			copy(blk.mem[start:], rest)
			s.b = blk.mem[start : headroom+blk.n]
			s.src.release(s.mem)
			s.mem = blk.mem
		} else {
			if s.mem != nil { // rest lies in a block, which goes back
				rest = slices.Grow(rest[:len(rest):len(rest)], want+blk.n)
			}
			s.b = append(rest, blk.mem[headroom:headroom+blk.n]...)
			s.src.release(blk.mem)
			s.src.release(s.mem)
			s.mem = nil
		}
		s.base += int64(s.pos)
		s.pos = 0
		if s.base+int64(len(s.b)) > s.o.MaxBytes {
			return s.limit("decompressed bytes", s.o.MaxBytes)
		}
		var failed readError
		if errors.As(s.end, &failed) {
			return &os.PathError{Op: "read", Path: s.name, Err: failed.error}
		}
		if rest = s.b; len(rest)-want >= want || s.end != nil {
			return nil
		}
	}
}

func (s *scanner) limit(what string, most int64) error {
	return &LimitError{Source: s.name, What: what, Limit: most, Offset: s.offset()}
}

// peek is the next byte that is no white space.
func (s *scanner) peek() (byte, error) {
	for blank := 0; ; {
		i := blanks(s.b, s.pos)
		blank += i - s.pos
		s.pos = i
		if i < len(s.b) {
			return s.b[i], nil
		}
		if blank > s.o.hard.blank {
			return 0, s.limit("bytes of white space in one place", int64(s.o.hard.blank))
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// run reads the whole document. The end of the text within it is no error but a Break.
func (s *scanner) run() error {
	found, err := s.document()
	switch {
	case errors.Is(err, errCut), errors.Is(err, errBroken):
		if !found {
			return &NotTraceError{s.name, "it ends or breaks off before traceEvents" + s.endReason()}
		}
		if s.brk == nil {
			s.brk = &Break{Offset: s.offset(), Reason: "the file ends early" + s.endReason()}
		}
		return nil
	case err != nil:
		return err
	}
	return nil
}

// endReason words a damage of the compressed stream.
func (s *scanner) endReason() string {
	if s.end == nil || errors.Is(s.end, io.EOF) {
		return ""
	}
	if errors.Is(s.end, io.ErrUnexpectedEOF) {
		return ": the compressed stream is cut"
	}
	return ": " + s.end.Error()
}

// errBroken ends a scan at text that is no JSON.
var errBroken = errors.New("broken")

// document reads what there is at the top level; found says whether traceEvents began.
func (s *scanner) document() (found bool, err error) {
	if err := s.mark(); err != nil {
		return false, err
	}
	c, err := s.peek()
	if err != nil {
		return false, err
	}
	switch c {
	case '[':
		return s.bare()
	case '{':
		s.pos++
		return s.object()
	}
	return false, &NotTraceError{s.name, fmt.Sprintf("it begins with %s", show(s.b[s.pos:]))}
}

// bare reads a trace that is nothing but its array of events.
func (s *scanner) bare() (bool, error) {
	s.pos++
	objects := false
	if c, err := s.peek(); err != nil || c == '{' {
		objects = err == nil
	} else if c == ']' {
		return true, nil
	}
	if !objects {
		return false, &NotTraceError{s.name, "it is a JSON array, but not one of events"}
	}
	s.alone = true
	return true, s.array()
}

// mark passes over a byte order mark.
func (s *scanner) mark() error {
	for len(s.b)-s.pos < 3 {
		if err := s.fill(); errors.Is(err, errCut) {
			break
		} else if err != nil {
			return err
		}
	}
	if bytes.HasPrefix(s.b[s.pos:], []byte("\xef\xbb\xbf")) {
		s.pos += 3
	}
	return nil
}

// show quotes the beginning of b for an error.
func show(b []byte) string {
	if len(b) > 24 {
		b = b[:24]
	}
	return fmt.Sprintf("%q", b)
}

// object reads the members of the top-level object.
func (s *scanner) object() (found bool, err error) {
	var keys []string
	for {
		c, err := s.peek()
		if err != nil {
			return found, err
		}
		switch {
		case c == ',':
			s.pos++
			continue
		case c == '}':
			s.pos++
			if !found {
				return false, &NotTraceError{s.name, "it is a JSON object without traceEvents" + some(keys)}
			}
			return true, s.after()
		case c != '"':
			return found, s.broken(found)
		}
		key, err := s.key()
		if err != nil {
			return found, err
		}
		if len(keys) < 8 {
			keys = append(keys, key)
		}
		s.sink.metaKey(key)
		isEvents, err := s.member(key, found)
		found = found || isEvents
		if err != nil {
			return found, err
		}
	}
}

func some(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return fmt.Sprintf(" (its first keys are %q)", keys)
}

// broken stops at text that is no JSON.
func (s *scanner) broken(found bool) error {
	if !found {
		return &NotTraceError{s.name, fmt.Sprintf("it is no JSON at byte %d: %s", s.offset(), show(s.b[s.pos:]))}
	}
	s.brk = &Break{Offset: s.offset(), Reason: "what follows is no JSON: " + show(s.b[s.pos:])}
	return errBroken
}

// key reads a top-level key and its colon.
func (s *scanner) key() (string, error) {
	raw, err := s.value(min(1<<20, s.o.hard.meta))
	if err != nil {
		return "", err
	}
	key := text(unquote(inQuotes(raw), nil))
	c, err := s.peek()
	if err != nil {
		return "", err
	}
	if c == ':' {
		s.pos++
	}
	return key, nil
}

// member reads the value of a top-level key.
func (s *scanner) member(key string, again bool) (isEvents bool, err error) {
	c, err := s.peek()
	if err != nil {
		return false, err
	}
	if key == "traceEvents" && c == '[' {
		if again {
			s.sink.skip("traceEvents stands there twice; both were read", s.offset())
		}
		s.pos++
		return true, s.array()
	}
	if c != '"' && c != '{' && c != '[' && !scalarByte[c] {
		return false, s.broken(again)
	}
	if !s.sink.wants(key) {
		return false, s.pass()
	}
	raw, err := s.value(s.o.hard.meta)
	if err == nil {
		s.sink.takeMeta(key, raw)
	}
	return false, err
}

// value reads one JSON value of at most limit bytes; it lies in the window until
// the next call.
func (s *scanner) value(limit int) ([]byte, error) {
	for {
		end, st := valueEnd(s.b, s.pos)
		switch {
		case st == bad:
			return nil, s.broken(s.events > 0)
		case st == whole:
			v := s.b[s.pos:end]
			s.pos = end
			return v, nil
		case len(s.b)-s.pos > limit:
			return nil, s.limit("bytes in one value", int64(limit))
		}
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

// pass goes over one value without holding it.
func (s *scanner) pass() error {
	start := s.offset()
	depth := 0
	for {
		if s.pos >= len(s.b) {
			if s.offset()-start > s.o.hard.pass {
				return s.limit("bytes in one value", s.o.hard.pass)
			}
			if err := s.fill(); err != nil {
				return err
			}
			continue
		}
		c := s.b[s.pos]
		switch {
		case c == '"':
			if err := s.passString(); err != nil {
				return err
			}
		case c == '{' || c == '[':
			depth++
			s.pos++
			continue
		case c == '}' || c == ']':
			if depth == 0 {
				return nil // the value was missing
			}
			depth--
			s.pos++
		case depth > 0:
			s.pos++
			continue
		case scalarByte[c]:
			return s.passScalar()
		default:
			return nil
		}
		if depth == 0 {
			return nil
		}
	}
}

func (s *scanner) passScalar() error {
	start := s.offset()
	for {
		for s.pos < len(s.b) && scalarByte[s.b[s.pos]] {
			s.pos++
		}
		if s.pos < len(s.b) {
			return nil
		}
		if s.offset()-start > s.o.hard.pass {
			return s.limit("bytes in one value", s.o.hard.pass)
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// passString goes over a string of any length.
func (s *scanner) passString() error {
	start := s.offset()
	s.pos++
	for {
		if end := stringEnd(s.b, s.pos); end >= 0 {
			s.pos = end + 1
			return nil
		}
		s.pos = len(s.b) - oddBackslash(s.b[s.pos:])
		if s.offset()-start > s.o.hard.pass {
			return s.limit("bytes in one string", s.o.hard.pass)
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// oddBackslash is 1 when b ends in a backslash that escapes what follows.
func oddBackslash(b []byte) int {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n & 1
}

// after looks at what follows the document: nothing, if it is sound.
func (s *scanner) after() error {
	c, err := s.peek()
	if err == nil {
		s.sink.skip("text after the end of the trace: "+show([]byte{c}), s.offset())
		return nil
	}
	var l *LimitError
	if errors.Is(err, errCut) || errors.As(err, &l) {
		return nil
	}
	return err
}

// array reads the entries of traceEvents; its bracket has been taken.
func (s *scanner) array() error {
	for {
		if !s.hopGap() {
			c, err := s.peek()
			if err != nil {
				return err
			}
			if c == ',' {
				s.gapFrom()
				continue
			}
			if c == ']' {
				s.pos++
				return nil
			}
			if c != '{' {
				if err := s.oddEntry(c); err != nil {
					return err
				}
				continue
			}
		}
		if err := s.entry(); err != nil {
			return err
		}
	}
}

// hopGap takes the remembered text between two events.
func (s *scanner) hopGap() bool {
	g := &s.gap
	end := s.pos + int(g.n)
	if g.n == 0 || end >= len(s.b) || string(s.b[s.pos:end]) != string(g.text[:g.n]) || s.b[end] != '{' {
		return false
	}
	s.pos = end
	return true
}

// gapFrom passes over a comma and the white space after it and remembers both.
func (s *scanner) gapFrom() {
	i := blanks(s.b, s.pos+1)
	if n := i - s.pos; i < len(s.b) && n <= len(s.gap.text) {
		s.gap.n = uint8(copy(s.gap.text[:], s.b[s.pos:i]))
	}
	s.pos = i
}

// entry reads the event at the window's position.
func (s *scanner) entry() error {
	for {
		s.e.offset = s.offset()
		end, st := s.event(s.pos)
		switch st {
		case whole:
			s.e.raw = s.b[s.pos:end]
			if s.alone && s.events == 0 && s.e.foreign() {
				return &NotTraceError{s.name, "it is a JSON array, but not one of events: its first object has no ph"}
			}
			s.pos = end
			s.sink.add(&s.e)
			return s.count()
		case bad:
			s.sink.skip("malformed JSON; reading went on at the next event", s.offset())
			if err := s.count(); err != nil {
				return err
			}
			return s.resync()
		}
		if len(s.b)-s.pos > s.o.hard.event {
			return s.limit("bytes in one event", int64(s.o.hard.event))
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

func (s *scanner) count() error {
	s.events++
	if s.events > s.o.MaxEvents {
		return s.limit("events", s.o.MaxEvents)
	}
	err := s.sink.stopped()
	if limit, ok := err.(*LimitError); ok {
		limit.Offset = s.offset()
	}
	return err
}

// oddEntry passes over an entry that is no object.
func (s *scanner) oddEntry(c byte) error {
	if c != '"' && c != '[' && !scalarByte[c] {
		return s.resyncFrom("text that is no event")
	}
	at := s.offset()
	reason := "event is no object"
	if c == 'n' {
		reason = "event is null"
	}
	if err := s.pass(); err != nil {
		return err
	}
	s.sink.skip(reason, at)
	return s.count()
}

func (s *scanner) resyncFrom(reason string) error {
	s.sink.skip(reason, s.offset())
	return s.resync()
}

// resync looks for the beginning of the next event, or for the end of the array.
func (s *scanner) resync() error {
	start := s.offset()
	s.pos++
	for {
		i := nextEvent(s.b, s.pos)
		if i >= 0 {
			s.pos = i
			return nil
		}
		// A beginning may lie across the windows: keep a little.
		if keep := len(s.b) - 256; keep > s.pos {
			s.pos = keep
		}
		if s.offset()-start > s.o.hard.resync {
			s.brk = &Break{Offset: start, Reason: fmt.Sprintf("malformed JSON, and no event in the %d MiB after it", s.o.hard.resync>>20)}
			return errBroken
		}
		err := s.fill()
		if errors.Is(err, errCut) {
			s.brk = &Break{Offset: start, Reason: "malformed JSON, and no event after it" + s.endReason()}
			return errBroken
		}
		if err != nil {
			return err
		}
	}
}

// nextEvent is the index of the next "{" that begins an event, or of a "]" that
// ends the array: on a line of its own and followed by the next key. -1 without.
func nextEvent(b []byte, from int) int {
	for i := from; i < len(b); i++ {
		switch b[i] {
		case '{':
			if p := before(b, i); p < 0 || b[p] != ',' && b[p] != '[' {
				continue
			}
			k := blanks(b, i+1)
			if k >= len(b) || b[k] != '"' {
				continue
			}
			end := bytes.IndexByte(b[k+1:min(len(b), k+8)], '"')
			if end < 0 || eventKeys[string(b[k+1:k+1+end])] == 0 {
				continue
			}
			if c := blanks(b, k+end+2); c < len(b) && b[c] == ':' {
				return i
			}
		case ']':
			if p := before(b, i); p < 0 || b[p] != '}' || bytes.IndexByte(b[p:i], '\n') < 0 {
				continue
			}
			if c := blanks(b, i+1); c < len(b) && b[c] == ',' {
				if c = blanks(b, c+1); c < len(b) && b[c] == '"' {
					return i
				}
			}
		}
	}
	return -1
}

// before is the last index before i that is no white space, -1 without.
func before(b []byte, i int) int {
	for i--; i >= 0 && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r'); i-- {
	}
	return i
}

var eventKeys = map[string]eventKey{
	"ph": keyPh, "cat": keyCat, "name": keyName, "pid": keyPid, "tid": keyTid, "ts": keyTs, "dur": keyDur, "args": keyArgs,
	"id": keyID, "bp": keyOther, "s": keyOther,
}

// event parses the event that begins at index i of the window into s.e and
// returns the index after it.
func (s *scanner) event(i int) (int, status) {
	b := s.b
	offset := s.e.offset
	s.e = rawEvent{offset: offset}
	e := &s.e
	prev := keyStart
	i++
	for {
		var key eventKey
		h := &s.hops[prev]
		if n := i + int(h[0].n); n < len(b) && h[0].n > 0 && string(b[i:n]) == string(h[0].text[:h[0].n]) {
			i, key = n, h[0].to
		} else if n := i + int(h[1].n); n < len(b) && h[1].n > 0 && string(b[i:n]) == string(h[1].text[:h[1].n]) {
			i, key = n, h[1].to
		} else {
			var st status
			if i, key, st = s.nextKey(i, prev); st != whole {
				return 0, st
			}
		}
		if key == keyEnd {
			return i, whole
		}
		if i = blanks(b, i); i >= len(b) {
			return 0, cut
		}
		end, st := 0, whole
		switch {
		case b[i] == '"':
			q, escaped := stringSpan(b, i+1)
			if q < 0 {
				return 0, cut
			}
			e.set(key, b[i+1:q])
			e.escaped = e.escaped || escaped
			end = q + 1
		case key == keyArgs && b[i] == '{':
			if end, st = flatEnd(b, i); st == whole {
				e.args = b[i:end]
			}
		default:
			if end, st = valueEnd(b, i); st == whole {
				e.setRaw(key, b[i:end])
			}
		}
		if st != whole {
			return 0, st
		}
		i, prev = end, key
	}
}

// nextKey reads from the end of a value to the beginning of the next, or to the
// end of the event, and remembers the text between.
func (s *scanner) nextKey(from int, prev eventKey) (int, eventKey, status) {
	b := s.b
	i := blanks(b, from)
	if prev != keyStart && i < len(b) && b[i] == ',' {
		i = blanks(b, i+1)
	} else if prev != keyStart && i < len(b) && b[i] != '}' {
		return 0, 0, bad
	}
	if i >= len(b) {
		return 0, 0, cut
	}
	if b[i] == '}' {
		s.learn(prev, keyEnd, b[from:i+1])
		return i + 1, keyEnd, whole
	}
	if b[i] != '"' {
		return 0, 0, bad
	}
	end, escaped := stringSpan(b, i+1)
	if end < 0 {
		return 0, 0, cut
	}
	name := b[i+1 : end]
	if escaped {
		name = unquote(name, nil)
	}
	key, known := eventKeys[string(name)]
	if !known {
		key = keyOther
	}
	if i = blanks(b, end+1); i >= len(b) {
		return 0, 0, cut
	}
	if b[i] != ':' {
		return 0, 0, bad
	}
	if i = blanks(b, i+1); i >= len(b) {
		return 0, 0, cut
	}
	s.learn(prev, key, b[from:i])
	return i, key, whole
}

// learn remembers the text that led from prev to key, and the one before it.
func (s *scanner) learn(prev, key eventKey, text []byte) {
	h := &s.hops[prev]
	if len(text) > len(h[0].text) {
		return
	}
	h[1] = h[0]
	h[0].to = key
	h[0].n = uint8(copy(h[0].text[:], text))
}

// set takes a string value.
func (e *rawEvent) set(key eventKey, v []byte) {
	switch key {
	case keyPh:
		e.phase = v
	case keyCat:
		e.cat = v
	case keyName:
		e.name = v
	case keyPid:
		e.pid = v
	case keyTid:
		e.tid = v
	case keyTs:
		e.ts = v
	case keyDur:
		e.dur = v
	case keyID:
		e.id = v
	case keyArgs:
		e.args = notArgs
	}
}

// notArgs stands for args that are a string.
var notArgs = []byte(`""`)

// setRaw takes any other value as it stands. A name or category that is null, or
// no text at all, counts as empty.
func (e *rawEvent) setRaw(key eventKey, v []byte) {
	if key == keyArgs {
		e.args = v
		return
	}
	if key < keyTs && (v[0] == '{' || v[0] == '[' || string(v) == "null") {
		v = nil
	}
	e.set(key, v)
}

// flatEnd is nestEnd for the args that profilers write: one level, no escapes.
// If no brace opens, no backslash stands and the quotes are even before the first
// closing brace, then that brace ends the object.
func flatEnd(b []byte, i int) (int, status) {
	j := bytes.IndexByte(b[i+1:], '}')
	if j < 0 {
		return 0, cut
	}
	in := b[i+1 : i+1+j]
	if bytes.IndexByte(in, '{') < 0 && bytes.IndexByte(in, '\\') < 0 && bytes.Count(in, quoteByte)&1 == 0 {
		return i + j + 2, whole
	}
	return nestEnd(b, i)
}

var quoteByte = []byte{'"'}
