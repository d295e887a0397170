package pickle

import (
	"bytes"
	"encoding/binary"
	"math/big"
	"strconv"
)

// op is one opcode. One that is nil in run does not exist.
type op struct {
	name string
	run  func(*machine) *Error
}

var ops [256]op

func init() {
	ops = [256]op{
		'(': {"MARK", func(m *machine) *Error {
			m.marks.push(Value(uint64(m.stack.n)<<32 | uint64(m.p)))
			return nil
		}},
		'.':  {"STOP", (*machine).stop},
		'0':  {"POP", (*machine).drop},
		'1':  {"POP_MARK", (*machine).dropMark},
		'2':  {"DUP", (*machine).dup},
		'F':  {"FLOAT", (*machine).textFloat},
		'I':  {"INT", (*machine).textInt},
		'J':  {"BININT", func(m *machine) *Error { return m.binInt(4) }},
		'K':  {"BININT1", func(m *machine) *Error { return m.binInt(1) }},
		'L':  {"LONG", (*machine).textLong},
		'M':  {"BININT2", func(m *machine) *Error { return m.binInt(2) }},
		'N':  {"NONE", func(m *machine) *Error { return m.push(valueNone) }},
		'P':  {"PERSID", (*machine).persID},
		'Q':  {"BINPERSID", (*machine).binPersID},
		'R':  {"REDUCE", func(m *machine) *Error { return m.callTop(viaReduce) }},
		'S':  {"STRING", (*machine).quoted},
		'T':  {"BINSTRING", func(m *machine) *Error { return m.text(Str, 4) }},
		'U':  {"SHORT_BINSTRING", func(m *machine) *Error { return m.text(Str, 1) }},
		'V':  {"UNICODE", (*machine).unicodeLine},
		'X':  {"BINUNICODE", func(m *machine) *Error { return m.text(Str, 4) }},
		'a':  {"APPEND", func(m *machine) *Error { return m.add(1, List) }},
		'b':  {"BUILD", (*machine).build},
		'c':  {"GLOBAL", (*machine).global},
		'd':  {"DICT", func(m *machine) *Error { return m.filledWith(Dict) }},
		'e':  {"APPENDS", func(m *machine) *Error { return m.addMarked(List) }},
		'g':  {"GET", func(m *machine) *Error { return m.indexed(m.getMemo) }},
		'h':  {"BINGET", func(m *machine) *Error { return m.sizedIndex(1, m.getMemo) }},
		'i':  {"INST", (*machine).inst},
		'j':  {"LONG_BINGET", func(m *machine) *Error { return m.sizedIndex(4, m.getMemo) }},
		'l':  {"LIST", func(m *machine) *Error { return m.filledWith(List) }},
		'o':  {"OBJ", (*machine).markedCall},
		'p':  {"PUT", func(m *machine) *Error { return m.indexed(m.putMemo) }},
		'q':  {"BINPUT", func(m *machine) *Error { return m.sizedIndex(1, m.putMemo) }},
		'r':  {"LONG_BINPUT", func(m *machine) *Error { return m.sizedIndex(4, m.putMemo) }},
		's':  {"SETITEM", func(m *machine) *Error { return m.add(2, Dict) }},
		't':  {"TUPLE", func(m *machine) *Error { return m.markedTuple(Tuple) }},
		'u':  {"SETITEMS", func(m *machine) *Error { return m.addMarked(Dict) }},
		'B':  {"BINBYTES", func(m *machine) *Error { return m.text(Bytes, 4) }},
		'C':  {"SHORT_BINBYTES", func(m *machine) *Error { return m.text(Bytes, 1) }},
		'G':  {"BINFLOAT", (*machine).binFloat},
		')':  {"EMPTY_TUPLE", func(m *machine) *Error { return m.push(sized(Tuple, 0, 0)) }},
		']':  {"EMPTY_LIST", func(m *machine) *Error { return m.empty(List) }},
		'}':  {"EMPTY_DICT", func(m *machine) *Error { return m.empty(Dict) }},
		0x80: {"PROTO", (*machine).proto},
		0x81: {"NEWOBJ", func(m *machine) *Error { return m.callTop(viaNewObj) }},
		0x82: {"EXT1", func(m *machine) *Error { return m.extension(1) }},
		0x83: {"EXT2", func(m *machine) *Error { return m.extension(2) }},
		0x84: {"EXT4", func(m *machine) *Error { return m.extension(4) }},
		0x85: {"TUPLE1", func(m *machine) *Error { return m.tupleOf(1) }},
		0x86: {"TUPLE2", func(m *machine) *Error { return m.tupleOf(2) }},
		0x87: {"TUPLE3", func(m *machine) *Error { return m.tupleOf(3) }},
		0x88: {"NEWTRUE", func(m *machine) *Error { return m.push(valueTrue) }},
		0x89: {"NEWFALSE", func(m *machine) *Error { return m.push(valueFalse) }},
		0x8a: {"LONG1", func(m *machine) *Error { return m.binLong(1) }},
		0x8b: {"LONG4", func(m *machine) *Error { return m.binLong(4) }},
		0x8c: {"SHORT_BINUNICODE", func(m *machine) *Error { return m.text(Str, 1) }},
		0x8d: {"BINUNICODE8", func(m *machine) *Error { return m.text(Str, 8) }},
		0x8e: {"BINBYTES8", func(m *machine) *Error { return m.text(Bytes, 8) }},
		0x8f: {"EMPTY_SET", func(m *machine) *Error { return m.empty(Set) }},
		0x90: {"ADDITEMS", func(m *machine) *Error { return m.addMarked(Set) }},
		0x91: {"FROZENSET", func(m *machine) *Error { return m.markedTuple(FrozenSet) }},
		0x92: {"NEWOBJ_EX", (*machine).newObjEx},
		0x93: {"STACK_GLOBAL", (*machine).stackGlobal},
		0x94: {"MEMOIZE", func(m *machine) *Error { return m.putMemo(uint32(m.memo.n)) }},
		0x95: {"FRAME", func(m *machine) *Error { _, err := m.take(8); return err }}, // advisory: a cut file is read as far as it goes
		0x96: {"BYTEARRAY8", func(m *machine) *Error { return m.text(ByteArray, 8) }},
		0x97: {"NEXT_BUFFER", func(m *machine) *Error { return m.push(handle(Buffer, formInline, uint64(m.at))) }},
		0x98: {"READONLY_BUFFER", func(m *machine) *Error { _, err := m.top(); return err }},
	}
}

func (m *machine) stop() *Error {
	if m.stack.n == 0 {
		return m.fail("nothing on the stack to end with")
	}
	if m.marks.n > 0 {
		return m.fail("a MARK is left open")
	}
	m.done = true
	return nil
}

// drop removes the topmost value, or the mark where that is newer.
func (m *machine) drop() *Error {
	if m.marks.n > 0 && m.base() == m.stack.n {
		m.marks.n--
		return nil
	}
	_, err := m.pop()
	return err
}

func (m *machine) dropMark() *Error {
	from, _, err := m.mark()
	if err == nil {
		m.stack.n = from
	}
	return err
}

func (m *machine) dup() *Error {
	v, err := m.top()
	if err != nil {
		return err
	}
	return m.push(v)
}

func (m *machine) proto() *Error {
	n, err := m.number(1)
	if err != nil {
		return err
	}
	if n > 5 {
		return m.fail("protocol %d; 0 to 5 are known", n)
	}
	m.protocol = int(n)
	return nil
}

func (m *machine) binInt(size int) *Error {
	n, err := m.number(size)
	if err != nil {
		return err
	}
	if size == 4 {
		return m.push(smallInt(int64(int32(n))))
	}
	return m.push(smallInt(int64(n)))
}

func (m *machine) binLong(size int) *Error {
	b, err := m.counted(size)
	if err != nil {
		return err
	}
	if len(b) > m.l.Integer {
		return m.limit("an integer of %d bytes; the limit is %d", len(b), m.l.Integer)
	}
	if n, ok := smallLong(b); ok {
		return m.push(smallInt(n))
	}
	return m.push(handle(Int, formOffset, uint64(m.at)))
}

// smallLong reads a two's complement little-endian integer that fits a handle.
func smallLong(b []byte) (int64, bool) {
	if len(b) > 7 {
		return 0, false
	}
	var n int64
	for i := len(b) - 1; i >= 0; i-- {
		n = n<<8 | int64(b[i])
	}
	if len(b) > 0 && b[len(b)-1]&0x80 != 0 {
		n -= 1 << (8 * len(b))
	}
	return n, fitsInline(n)
}

func fitsInline(n int64) bool { return n >= -maxInline && n <= maxInline }

// textInt reads a decimal; 00 and 01 are the booleans of old protocols.
func (m *machine) textInt() *Error {
	b, err := m.line()
	if err != nil {
		return err
	}
	switch string(b) {
	case "00":
		return m.push(valueFalse)
	case "01":
		return m.push(valueTrue)
	}
	return m.decimal(b)
}

func (m *machine) textLong() *Error {
	b, err := m.line()
	if err != nil {
		return err
	}
	return m.decimal(bytes.TrimSuffix(b, []byte("L")))
}

func (m *machine) decimal(b []byte) *Error {
	b = bytes.TrimSpace(b)
	if len(b) > m.l.Integer {
		return m.limit("an integer of %d digits; the limit is %d", len(b), m.l.Integer)
	}
	if n, err := strconv.ParseInt(string(b), 10, 64); err == nil && fitsInline(n) {
		return m.push(smallInt(n))
	}
	if _, ok := new(big.Int).SetString(string(b), 10); !ok {
		return m.fail("%q is no decimal number", cut(b))
	}
	return m.push(handle(Int, formOffset, uint64(m.at)))
}

func cut(b []byte) []byte {
	if len(b) > 40 {
		return append(b[:40:40], "..."...)
	}
	return b
}

func (m *machine) textFloat() *Error {
	b, err := m.line()
	if err != nil {
		return err
	}
	if _, ok := parseFloat(b); !ok {
		return m.fail("%q is no number", cut(b))
	}
	return m.push(handle(Float, formOffset, uint64(m.at)))
}

func parseFloat(b []byte) (float64, bool) {
	f, err := strconv.ParseFloat(string(bytes.TrimSpace(b)), 64)
	if err != nil && f == 0 {
		return 0, false
	}
	return f, len(b) < 1024 && !bytes.ContainsAny(b, "_xXpP")
}

func (m *machine) binFloat() *Error {
	_, err := m.take(8)
	if err != nil {
		return err
	}
	return m.push(handle(Float, formOffset, uint64(m.at)))
}

// text pushes a text or bytes that stand in the input with their length.
func (m *machine) text(k Kind, size int) *Error {
	b, err := m.counted(size)
	if err != nil {
		return err
	}
	if k == Str {
		m.checkText(b, m.p-len(b))
	}
	return m.push(handle(k, formOffset, uint64(m.at)))
}

// checkText tells of text that is not UTF-8; lone surrogates are legal.
func (m *machine) checkText(b []byte, at int) {
	bad := invalidText(b)
	if bad < 0 {
		return
	}
	if m.damaged != nil {
		m.damaged(m.Document)
		m.damaged = nil
	}
	m.warn(at+bad, "byte 0x%02x in a text is not UTF-8: the file is damaged here", b[bad])
}

func (m *machine) quoted() *Error {
	b, err := m.line()
	if err != nil {
		return err
	}
	if _, ok := unquote(b); !ok {
		return m.fail("%q is no quoted text", cut(b))
	}
	return m.push(handle(Str, formOffset, uint64(m.at)))
}

func (m *machine) unicodeLine() *Error {
	b, err := m.line()
	if err != nil {
		return err
	}
	if _, ok := unescapeUnicode(b); !ok {
		return m.fail("%q has an escape that is no character", cut(b))
	}
	return m.push(handle(Str, formOffset, uint64(m.at)))
}

func (m *machine) persID() *Error {
	if _, err := m.line(); err != nil {
		return err
	}
	return m.persistent(handle(Str, formOffset, uint64(m.at)))
}

func (m *machine) binPersID() *Error {
	id, err := m.pop()
	if err != nil {
		return err
	}
	return m.persistent(id)
}

func (m *machine) persistent(id Value) *Error {
	if err := m.count(); err != nil {
		return err
	}
	if _, err := m.name(persistentID, ""); err != nil {
		return err
	}
	m.arena.push(id)
	return m.push(handle(Persistent, formInline, uint64(m.arena.n-1)))
}

func (m *machine) extension(size int) *Error {
	n, err := m.number(size)
	if err != nil {
		return err
	}
	if _, err := m.name(extensionCode+strconv.FormatUint(n, 10), ""); err != nil {
		return err
	}
	return m.push(handle(Extension, formInline, n))
}

// indexed gives the memo index of a line to f.
func (m *machine) indexed(f func(uint32) *Error) *Error {
	b, err := m.line()
	if err != nil {
		return err
	}
	n, bad := strconv.ParseUint(string(bytes.TrimSpace(cut(b))), 10, 32)
	if bad != nil {
		return m.fail("memo index %q; expected 0 to 4294967295", cut(b))
	}
	return f(uint32(n))
}

func (m *machine) sizedIndex(size int, f func(uint32) *Error) *Error {
	n, err := m.number(size)
	if err != nil {
		return err
	}
	return f(uint32(n))
}

func (m *machine) getMemo(i uint32) *Error {
	v := m.memo.get(i)
	if v == 0 {
		return m.fail("nothing was put into memo %d", i)
	}
	return m.push(v)
}

func (m *machine) putMemo(i uint32) *Error {
	v, err := m.top()
	if err != nil {
		return err
	}
	m.memo.put(i, v)
	return nil
}

// float of a value of that kind.
func (d *Document) float(v Value) float64 {
	at := int(v.payload())
	if d.Data[at] == 'G' {
		return fromBits(binary.BigEndian.Uint64(d.Data[at+1:]))
	}
	f, _ := parseFloat(lineAt(d.Data, at+1))
	return f
}

func lineAt(data []byte, at int) []byte {
	rest := data[at:]
	if n := bytes.IndexByte(rest, '\n'); n >= 0 {
		rest = rest[:n]
	}
	return rest
}
