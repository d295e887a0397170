package pickle

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// machine runs the opcodes of one document.
type machine struct {
	*Document
	l     Limits
	ctx   context.Context
	end   time.Time
	p     int // next byte
	at    int // the opcode being run
	marks paged
	memo  memo

	protocol int
	steps    int64 // opcodes run, and other work of about as much
	check    int64 // steps at which clock and limits are looked at next
	values   int64
	watched  map[int]bool // key lists that watchState has looked at
	done     bool
	damaged  func(*Document) // told of the first damage to a text
}

// Options of a read.
type Options struct {
	Limits Limits
	// Damaged is called at the first text that is no UTF-8, while the stack holds
	// what stands before it. nil = nobody wants to know.
	Damaged func(*Document)
}

// Read reads all pickles in data, one behind the other. The document holds what
// stands before damage, too; the error is that of the first pickle.
func Read(ctx context.Context, data []byte, o Options) (*Document, error) {
	d := &Document{Data: data, globals: map[string]uint32{}, shapes: map[uint64]shape{}}
	d.arena.push(0) // index 0 is no chunk
	m := &machine{Document: d, l: o.Limits.filled(), ctx: ctx, damaged: o.Damaged}
	m.end = time.Now().Add(m.l.Duration)
	if err := m.refuse(); err != nil {
		return d, err
	}
	for m.p < len(data) && len(d.Roots) < maxPickles {
		if d.Roots = append(d.Roots, m.pickle()); d.Roots[len(d.Roots)-1].Err != nil {
			break
		}
	}
	if first := d.Roots[0]; first.Err != nil {
		return d, first.Err
	}
	d.Trailing = int64(len(data)) - d.Roots[0].End
	return d, nil
}

// refuse tells what is no pickle from its first bytes.
func (m *machine) refuse() error {
	data := m.Data
	switch {
	case len(data) == 0:
		return &Error{Reason: "the file is empty; expected a pickle"}
	case int64(len(data)) > m.l.Bytes || int64(len(data)) > 1<<32-2:
		return &Error{Limit: true, Reason: fmt.Sprintf("%d bytes: the limit is %d", len(data), m.l.Bytes)}
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		return &Error{Reason: "gzip, not a pickle: unpack it first (gunzip)"}
	case bytes.HasPrefix(data, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return &Error{Reason: "zstd, not a pickle: unpack it first (unzstd)"}
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return &Error{Reason: "a zip archive, not a plain pickle; expected a request or crash dump"}
	case data[0] == '{' || data[0] == '[':
		return &Error{Reason: "JSON, not a pickle: a request list is read where a dump is wanted when its first line names its schema"}
	}
	return nil
}

// pickle reads up to one STOP.
func (m *machine) pickle() Root {
	m.stack.n, m.marks.n, m.done, m.protocol = 0, 0, false, 0
	m.memo.reset()
	r := Root{Start: int64(m.p)}
	for !m.done {
		if r.Err = m.step(); r.Err != nil {
			r.End, r.Protocol = int64(m.p), m.protocol
			return r
		}
	}
	r.Value, r.End, r.Protocol = m.stack.at(m.stack.n-1), int64(m.p), m.protocol
	m.stack.n--
	if m.stack.n > 0 {
		m.warn(m.at, "%d values were left on the stack", m.stack.n)
	}
	return r
}

// step runs one opcode.
func (m *machine) step() *Error {
	if m.p >= len(m.Data) {
		m.at = m.p
		return &Error{Offset: int64(m.p), Reason: "the file ends here; expected an opcode (cut file)"}
	}
	m.at = m.p
	code := m.Data[m.p]
	m.p++
	m.Opcodes[code]++
	if m.steps++; m.steps >= m.check {
		m.check = m.steps + 1<<16
		if err := m.overdue(); err != nil {
			return err
		}
	}
	run := ops[code].run
	if run == nil {
		return m.fail("no such opcode 0x%02x", code)
	}
	return run(m)
}

func (m *machine) overdue() *Error {
	switch {
	case m.steps > m.l.Opcodes:
		return m.limit("more than %d opcodes", m.l.Opcodes)
	case m.ctx.Err() != nil:
		return m.limit("interrupted")
	case time.Now().After(m.end):
		return m.limit("not read within %v", m.l.Duration)
	}
	return nil
}

func (m *machine) fail(format string, args ...any) *Error {
	return &Error{Offset: int64(m.at), Opcode: ops[m.Data[m.at]].name, Reason: fmt.Sprintf(format, args...)}
}

func (m *machine) limit(format string, args ...any) *Error {
	e := m.fail(format, args...)
	e.Limit = true
	return e
}

// take moves over n bytes.
func (m *machine) take(n int) ([]byte, *Error) {
	if n < 0 || n > len(m.Data)-m.p {
		return nil, m.fail("%d bytes expected, %d are left", n, len(m.Data)-m.p)
	}
	b := m.Data[m.p : m.p+n]
	m.p += n
	return b, nil
}

// number reads a little-endian unsigned integer of size bytes.
func (m *machine) number(size int) (uint64, *Error) {
	b, err := m.take(size)
	if err != nil {
		return 0, err
	}
	return littleEndian(b), nil
}

func littleEndian(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

// counted moves over a length of size bytes and that many bytes.
func (m *machine) counted(size int) ([]byte, *Error) {
	n, err := m.number(size)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(m.Data)-m.p) {
		return nil, m.fail("claims %d bytes, %d are left", n, len(m.Data)-m.p)
	}
	return m.take(int(n))
}

// line moves over a line and returns it without its end.
func (m *machine) line() ([]byte, *Error) {
	rest := m.Data[m.p:]
	if len(rest) > m.l.Line+1 {
		rest = rest[:m.l.Line+1]
	}
	n := bytes.IndexByte(rest, '\n')
	if n < 0 {
		if len(rest) > m.l.Line {
			return nil, m.limit("a line of more than %d bytes", m.l.Line)
		}
		return nil, m.fail("a line without an end")
	}
	m.p += n + 1
	return rest[:n], nil
}

func (m *machine) push(v Value) *Error { m.stack.push(v); return nil }

// base is the position below which the current mark does not reach.
func (m *machine) base() int {
	if m.marks.n == 0 {
		return 0
	}
	return int(m.marks.at(m.marks.n-1) >> 32)
}

func (m *machine) top() (Value, *Error) {
	if m.stack.n <= m.base() {
		return 0, m.fail("nothing on the stack")
	}
	return m.stack.at(m.stack.n - 1), nil
}

func (m *machine) pop() (Value, *Error) {
	v, err := m.top()
	if err == nil {
		m.stack.n--
	}
	return v, err
}

// mark ends the part of the stack that the last MARK began, and returns where the
// part begins and the offset behind the MARK.
func (m *machine) mark() (from, offset int, err *Error) {
	if m.marks.n == 0 {
		return 0, 0, m.fail("no MARK before it")
	}
	m.marks.n--
	x := uint64(m.marks.at(m.marks.n))
	return int(x >> 32), int(x & (1<<32 - 1)), nil
}

// count bounds containers and calls.
func (m *machine) count() *Error {
	if m.values++; m.values > m.l.Values || m.arena.n > 1<<32-1<<26 {
		return m.limit("more than %d containers and calls", m.l.Values)
	}
	return nil
}

// tuple makes a tuple, or frozenset, of what stands on the stack from there on.
func (m *machine) tuple(k Kind, from int) *Error {
	n := m.stack.n - from
	if n > maxTupleSize {
		return m.limit("%d items in a tuple; the limit is %d", n, maxTupleSize)
	}
	v := sized(k, 0, 0)
	if n > 0 {
		if err := m.count(); err != nil {
			return err
		}
		v = sized(k, n, uint64(m.arena.n))
	}
	for i := range n {
		m.arena.push(m.stack.at(from + i))
	}
	m.stack.n = from
	return m.push(v)
}

func (m *machine) tupleOf(n int) *Error {
	if m.stack.n-m.base() < n {
		return m.fail("%d values expected on the stack, %d are there", n, m.stack.n-m.base())
	}
	return m.tuple(Tuple, m.stack.n-n)
}

func (m *machine) markedTuple(k Kind) *Error {
	from, _, err := m.mark()
	if err != nil {
		return err
	}
	return m.tuple(k, from)
}

// empty makes an empty list, dict or set.
func (m *machine) empty(k Kind) *Error {
	if err := m.count(); err != nil {
		return err
	}
	return m.push(m.node(k))
}

// filled makes a list or dict of what stands above the mark.
func (m *machine) filledWith(k Kind) *Error {
	from, offset, err := m.mark()
	if err != nil {
		return err
	}
	if err := m.count(); err != nil {
		return err
	}
	v := m.node(k)
	if err := m.addTo(v, from, offset); err != nil {
		return err
	}
	m.stack.n = from
	return m.push(v)
}

// addTo adds the stack from there on to a list, dict, set or object; offset is
// where the opcodes that made it begin, or -1.
func (m *machine) addTo(v Value, from, offset int) *Error {
	n := m.stack.n - from
	switch {
	case v.Kind() == Dict && n%2 != 0:
		return m.fail("an odd number of keys and values, %d", n)
	case v.Kind() == Dict:
		m.addPairs(int(v.payload()), &m.stack, from)
	case n > 0:
		m.addItems(int(v.payload()), from, offset)
	}
	return nil
}

const minRange = 3 // items of a list that is left in the input

func (m *machine) addItems(node, from, offset int) {
	n := m.stack.n - from
	if offset >= 0 && n >= minRange && m.scalars(offset, m.at, n) {
		m.link(node, Value(n|chunkRange))
		m.arena.push(Value(offset))
		return
	}
	tail, ok := m.extendable(node)
	if !ok {
		m.link(node, 0)
		tail = m.arena.n - 1
	}
	for i := range n {
		m.arena.push(m.stack.at(from + i))
	}
	m.arena.set(tail, m.arena.at(tail)+Value(n))
}

// scalars says that the opcodes in a part of the input push n small values and do
// nothing else, so that the items can be read from there when they are wanted.
func (m *machine) scalars(from, to, n int) bool {
	for p := from; p < to; {
		w, item := scalarWidth(m.Data[p])
		if w == 0 {
			return false
		}
		if item {
			n--
		}
		p += w
	}
	return n == 0
}

// scalarWidth is the length of an opcode with its argument that pushes a small
// value; 0 for any other. FRAME pushes none.
func scalarWidth(code byte) (width int, item bool) {
	switch code {
	case 'K':
		return 2, true
	case 'M':
		return 3, true
	case 'J':
		return 5, true
	case 'G':
		return 9, true
	case 'N', 0x88, 0x89:
		return 1, true
	case 0x95:
		return 9, false
	}
	return 0, false
}

// target finds what a call, list or dict on the stack is added to.
func (m *machine) target(v Value, want Kind) (Value, *Error) {
	switch {
	case v.Kind() == want, want == List && v.Kind() == Set:
		return v, nil
	case v.Kind() == Object && want == Dict:
		return m.inner(v, extDict, Dict)
	case v.Kind() == Object:
		return m.inner(v, extItems, want)
	}
	return 0, m.fail("the stack has a %s where a %s is expected", v.Kind(), want)
}

// inner is the list or dict that collects what is added to an object.
func (m *machine) inner(o Value, slot int, k Kind) (Value, *Error) {
	if v := m.ext(o, slot); v != 0 {
		return v, nil
	}
	if err := m.count(); err != nil {
		return 0, err
	}
	v := m.node(k)
	m.setExt(o, slot, v)
	return v, nil
}

// add adds the n topmost values to the container below them.
func (m *machine) add(n int, want Kind) *Error {
	from := m.stack.n - n
	if from-1 < m.base() {
		return m.fail("%d values expected on the stack, %d are there", n+1, m.stack.n-m.base())
	}
	return m.addFrom(from, -1, want)
}

func (m *machine) addMarked(want Kind) *Error {
	from, offset, err := m.mark()
	if err != nil {
		return err
	}
	if from-1 < m.base() {
		return m.fail("no %s below the MARK", want)
	}
	return m.addFrom(from, offset, want)
}

func (m *machine) addFrom(from, offset int, want Kind) *Error {
	v, err := m.target(m.stack.at(from-1), want)
	if err != nil {
		return err
	}
	if err := m.addTo(v, from, offset); err != nil {
		return err
	}
	m.stack.n = from
	return nil
}

// call makes an object of a callee and its arguments; nothing is called.
func (m *machine) call(how int, callee, args Value) (Value, *Error) {
	if k := args.Kind(); k != Tuple && k != Object {
		return 0, m.fail("arguments are a %s, not a tuple", k)
	}
	if err := m.count(); err != nil {
		return 0, err
	}
	if k := callee.Kind(); k != Global {
		m.suspect(m.at, "it calls what is no name but a %s", k)
	}
	return m.object(how, callee, args), nil
}

func (m *machine) callTop(how int) *Error {
	args, err := m.pop()
	if err != nil {
		return err
	}
	callee, err := m.pop()
	if err != nil {
		return err
	}
	v, err := m.call(how, callee, args)
	if err != nil {
		return err
	}
	return m.push(v)
}

func (m *machine) newObjEx() *Error {
	kwargs, err := m.pop()
	if err != nil {
		return err
	}
	if err := m.callTop(viaNewObj); err != nil {
		return err
	}
	m.setExt(m.stack.at(m.stack.n-1), extKwargs, kwargs)
	return nil
}

// markedCall makes the object of OBJ: class and arguments stand above the mark.
func (m *machine) markedCall() *Error {
	from, _, err := m.mark()
	if err != nil {
		return err
	}
	if m.stack.n == from {
		return m.fail("no class above the MARK")
	}
	callee := m.stack.at(from)
	if err := m.tuple(Tuple, from+1); err != nil {
		return err
	}
	v, err := m.call(viaInst, callee, m.stack.at(m.stack.n-1))
	m.stack.n = from
	if err != nil {
		return err
	}
	return m.push(v)
}

func (m *machine) inst() *Error {
	name, err := m.twoLines()
	if err != nil {
		return err
	}
	if err := m.markedTuple(Tuple); err != nil {
		return err
	}
	args := m.stack.at(m.stack.n - 1)
	v, err := m.call(viaInst, name, args)
	if err != nil {
		return err
	}
	m.stack.set(m.stack.n-1, v)
	return nil
}

// build gives an object its state.
func (m *machine) build() *Error {
	state, err := m.pop()
	if err != nil {
		return err
	}
	o, err := m.top()
	if err != nil {
		return err
	}
	m.watchState(state)
	switch o.Kind() {
	case Object:
		return m.addState(o, state)
	case Global, Extension, Persistent, Buffer:
		if o.Kind() == Global {
			m.suspect(m.at, "it changes the attributes of a name")
		}
		if err := m.count(); err != nil {
			return err
		}
		v := m.object(viaBuild, o, sized(Tuple, 0, 0))
		m.arena.set(v.index()+slotState, state)
		m.stack.set(m.stack.n-1, v)
		return nil
	}
	return m.fail("a %s has no state", o.Kind())
}

func (m *machine) addState(o, state Value) *Error {
	if m.slot(o, slotState) == 0 {
		m.arena.set(o.index()+slotState, state)
		return nil
	}
	more, err := m.inner(o, extStates, List)
	if err != nil {
		return err
	}
	m.stack.push(state)
	m.addItems(int(more.payload()), m.stack.n-1, -1)
	m.stack.n--
	return nil
}

// watchState looks for names that would be called when the state is set.
func (m *machine) watchState(state Value) {
	if state.Kind() != Dict {
		return
	}
	for at := m.firstChunk(state); at != 0; {
		next, n, _ := m.chunk(at)
		keys := int(m.arena.at(at + 1))
		m.steps++
		if !m.watched[keys] {
			m.watchKeys(keys, n)
		}
		at = next
	}
}

// watchKeys looks at a key list once, as many dicts share it.
func (m *machine) watchKeys(keys, n int) {
	if m.watched == nil {
		m.watched = map[int]bool{}
	}
	if len(m.watched) < maxShapes {
		m.watched[keys] = true
	}
	m.steps += int64(n)
	for i := range n {
		m.watchKey(m.arena.at(keys + i))
	}
}

func (m *machine) watchKey(key Value) {
	text, ok := m.RawText(key)
	if !ok || len(text) > 32 || !bytes.HasPrefix(text, []byte("__")) {
		return
	}
	switch string(text) {
	case "__setstate__", "__reduce__", "__reduce_ex__", "__class__", "__getattr__", "__del__":
		m.suspect(m.at, "a state sets %s", text)
	}
}
