package trace

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"llmdyno/internal/compress"
)

// SynthOptions say how large a synthetic trace is to be.
type SynthOptions struct {
	Copies int   // how often the events are repeated; 0: as often as Bytes needs
	Bytes  int64 // size of the plain text to reach, when Copies is 0
	Gzip   bool
	Source string // name of the input in errors
}

// SynthStats tell what was written.
type SynthStats struct {
	Copies int
	Events int64
	Bytes  int64 // of plain text
}

// maxSynthInput is the most text that is repeated: it is held in memory.
const maxSynthInput = 1 << 30

// Synth writes a large trace made from a small one: its events again and again,
// each time later by the span of the original, and with correlation and External
// ids, flow ids, Python ids and record numbers of their own, so that the links of
// one copy never meet those of another. Metadata and M rows stand once. Layout and
// order stay as they are.
func Synth(ctx context.Context, in io.Reader, out io.Writer, o SynthOptions) (SynthStats, error) {
	p, err := readPattern(ctx, in, o)
	if err != nil {
		return SynthStats{}, err
	}
	copies := o.Copies
	if copies <= 0 {
		per := max(1, int64(len(p.text)))
		copies = int(max(1, (o.Bytes+per-1)/per))
	}
	z, err := compress.NewWriter(out, form(o.Gzip))
	if err != nil {
		return SynthStats{}, err
	}
	w := bufio.NewWriterSize(z, 256<<10)
	stats, err := p.write(ctx, w, copies)
	if err == nil {
		err = w.Flush()
	}
	return stats, errors.Join(err, z.Close())
}

// form is gzip or nothing.
func form(gzip bool) compress.Form {
	if gzip {
		return compress.Gzip
	}
	return compress.Plain
}

// slot is a number within the text that differs from copy to copy.
type slot struct {
	start, end int // in pattern.text
	time       bool
	value      int64 // ns or id
}

// pattern is the text of all events but M rows, with the numbers to be changed.
type pattern struct {
	head   []byte // from the beginning of the document to the first event of the copies
	once   []byte // M rows
	text   []byte
	tail   []byte
	slots  []slot
	events int64
	metas  int64
	whole  bool // all times are whole microseconds
	first  int64
	last   int64
	top    int64 // largest id
}

func readPattern(ctx context.Context, in io.Reader, o SynthOptions) (*pattern, error) {
	name := o.Source
	if name == "" {
		name = "input"
	}
	s, err := newScanner(ctx, in, name, Options{MaxBytes: maxSynthInput}.withDefaults())
	if err != nil {
		return nil, err
	}
	defer s.close()
	c := &patternSink{p: &pattern{whole: true}, head: []byte("{\n"), tail: []byte("\n  ]")}
	s.sink = c
	if err := s.run(); err != nil {
		return nil, err
	}
	if c.p.events == 0 {
		return nil, fmt.Errorf("%s has no events to repeat", name)
	}
	c.p.head = append(c.head, "  \"traceEvents\": ["...)
	c.p.tail = append(c.tail, "\n}\n"...)
	return c.p, nil
}

type patternSink struct {
	p          *pattern
	head, tail []byte
	keyText    string
}

func (c *patternSink) skip(string, int64) {}
func (c *patternSink) stopped() error     { return nil }
func (c *patternSink) wants(string) bool  { return true }
func (c *patternSink) metaKey(key string) { c.keyText = key }
func (c *patternSink) takeMeta(key string, value []byte) {
	entry := append(append([]byte("  "+quote(key)), ": "...), value...)
	if c.p.events == 0 && c.p.metas == 0 {
		c.head = append(append(c.head, entry...), ",\n"...)
		return
	}
	c.tail = append(append(c.tail, ",\n"...), entry...)
}

func (c *patternSink) add(e *rawEvent) {
	p := c.p
	if string(e.phase) == "M" {
		p.metas++
		p.once = append(append(p.once, "\n  "...), e.raw...)
		p.once = append(p.once, ',')
		return
	}
	if p.events > 0 {
		p.text = append(p.text, ',')
	}
	p.events++
	p.text = append(p.text, "\n  "...)
	base := len(p.text)
	p.text = append(p.text, e.raw...)
	first := len(p.slots)
	p.time(e, base)
	if v, ok := parseInt(e.id); ok {
		p.id(e, base, e.id, v)
	}
	members(e.args, func(k, v []byte) bool {
		if synthIDs[string(k)] {
			if id, ok := parseInt(v); ok {
				p.id(e, base, v, id)
			}
		}
		return true
	})
	p.order(first)
}

// synthIDs are the members of args that number something: they are shifted.
var synthIDs = map[string]bool{
	"correlation": true, "External id": true, "external id": true, "Python id": true, "Python parent id": true,
	"Ev Idx": true, "Record function id": true, "Sequence number": true, "wait_on_cuda_event_record_corr_id": true,
}

func (p *pattern) time(e *rawEvent, base int) {
	ns, err := parseNS(e.ts)
	if err != nil {
		return
	}
	dur, err := parseNS(e.dur)
	if err != nil {
		dur = 0
	}
	if string(e.phase) == "X" || p.last == 0 {
		if p.first == 0 || ns < p.first {
			p.first = ns
		}
		p.last = max(p.last, ns+max(dur, 0))
	}
	if bytes.IndexByte(e.ts, '.') >= 0 {
		p.whole = false
	}
	p.slot(e, base, e.ts, slot{time: true, value: ns})
}

func (p *pattern) id(e *rawEvent, base int, v []byte, id int64) {
	if id <= 0 { // none, or a root
		return
	}
	p.top = max(p.top, id)
	p.slot(e, base, inner(v), slot{value: id})
}

// inner is v without its quotes.
func inner(v []byte) []byte {
	if s := inQuotes(v); s != nil {
		return s
	}
	return v
}

// slot notes where v, a part of e.raw, lies. Both are cut from one window, so
// their capacities tell their distance.
func (p *pattern) slot(e *rawEvent, base int, v []byte, s slot) {
	at := cap(e.raw) - cap(v)
	if at < 0 || at+len(v) > len(e.raw) || !bytes.Equal(e.raw[at:at+len(v)], v) {
		return // escaped text: it was copied elsewhere
	}
	s.start, s.end = base+at, base+at+len(v)
	p.slots = append(p.slots, s)
}

// order sorts the slots of one event: args may stand before ts.
func (p *pattern) order(first int) {
	s := p.slots[first:]
	for i := 1; i < len(s); i++ {
		for k := i; k > 0 && s[k].start < s[k-1].start; k-- {
			s[k], s[k-1] = s[k-1], s[k]
		}
	}
}

func (p *pattern) write(ctx context.Context, w *bufio.Writer, copies int) (SynthStats, error) {
	shift := p.last - p.first + 1000
	if p.whole {
		shift = (shift/1000 + 1) * 1000
	}
	stats := SynthStats{Copies: copies, Events: p.metas + p.events*int64(copies)}
	put := func(b []byte) {
		stats.Bytes += int64(len(b))
		_, _ = w.Write(b) // the error stays in w and comes with Flush
	}
	put(p.head)
	put(p.once)
	var number []byte
	for i := range copies {
		if err := ctx.Err(); err != nil {
			return stats, err
		}
		if i > 0 {
			put([]byte(","))
		}
		at := 0
		for _, s := range p.slots {
			put(p.text[at:s.start])
			number = p.number(number[:0], s, int64(i), shift)
			put(number)
			at = s.end
		}
		put(p.text[at:])
	}
	put(p.tail)
	return stats, nil
}

func (p *pattern) number(b []byte, s slot, copy, shift int64) []byte {
	switch {
	case !s.time:
		return strconv.AppendInt(b, s.value+copy*p.top, 10)
	case p.whole:
		return strconv.AppendInt(b, (s.value+copy*shift)/1000, 10)
	}
	return appendNS(b, s.value+copy*shift)
}
