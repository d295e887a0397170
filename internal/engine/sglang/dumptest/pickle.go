// Package dumptest makes pickled dumps for tests and measurements: the opcodes that
// Python writes, from invented records.
//
//	Go values → Encode → pickle; a number of records → Write → a request dump
//
// It writes what incident/pickle reads and shares nothing with it, so that a
// mistake in one is not hidden by the same one in the other.
package dumptest

import (
	"encoding/binary"
	"io"
	"math"
)

// Pair is a key and value of a dict, or a field of an object.
type Pair struct {
	Key   any
	Value any
}

// Values beside Go's own nil, bool, int, float64, string and []byte.
type (
	// Dict keeps its order.
	Dict []Pair
	// List is a Python list.
	List []any
	// Tuple is a Python tuple.
	Tuple []any
	// Global is a name.
	Global struct{ Module, Name string }
	// Object is an instance with a state.
	Object struct {
		Class Global
		State any
	}
	// Call is the result of a call, as REDUCE makes it.
	Call struct {
		Callee Global
		Args   Tuple
	}
)

// frameSize is what Python collects before it begins another frame.
const frameSize = 64 << 10

// Encoder writes one pickle.
type Encoder struct {
	w        io.Writer
	protocol int
	frame    []byte
	memo     map[any]uint32
	next     uint32
	err      error
}

// NewEncoder begins a pickle of protocol 2 to 5.
func NewEncoder(w io.Writer, protocol int) *Encoder {
	e := &Encoder{w: w, protocol: protocol, memo: map[any]uint32{}}
	e.write([]byte{0x80, byte(protocol)})
	return e
}

// Encode is the pickle of one value.
func Encode(w io.Writer, protocol int, v any) error {
	e := NewEncoder(w, protocol)
	e.Value(v)
	return e.Close()
}

// Close ends the pickle.
func (e *Encoder) Close() error {
	e.Op('.')
	e.flush()
	return e.err
}

func (e *Encoder) write(b []byte) {
	if e.err == nil {
		_, e.err = e.w.Write(b)
	}
}

func (e *Encoder) flush() {
	if len(e.frame) == 0 {
		return
	}
	if e.protocol >= 4 {
		e.write(binary.LittleEndian.AppendUint64([]byte{0x95}, uint64(len(e.frame))))
	}
	e.write(e.frame)
	e.frame = e.frame[:0]
}

// Op writes an opcode with its argument as it is.
func (e *Encoder) Op(code byte, arg ...byte) {
	if len(e.frame) >= frameSize {
		e.flush()
	}
	e.frame = append(append(e.frame, code), arg...)
}

func (e *Encoder) put() uint32 {
	n := e.next
	e.next++
	switch {
	case e.protocol >= 4:
		e.Op(0x94)
	case n < 256:
		e.Op('q', byte(n))
	default:
		e.Op('r', binary.LittleEndian.AppendUint32(nil, n)...)
	}
	return n
}

// get writes a value again that stands in the memo.
func (e *Encoder) get(key any) bool {
	n, ok := e.memo[key]
	if !ok {
		return false
	}
	if n < 256 {
		e.Op('h', byte(n))
	} else {
		e.Op('j', binary.LittleEndian.AppendUint32(nil, n)...)
	}
	return true
}

// Value writes a value.
func (e *Encoder) Value(v any) {
	switch x := v.(type) {
	case nil:
		e.Op('N')
	case bool:
		e.boolean(x)
	case int:
		e.integer(x)
	case float64:
		e.Op('G', binary.BigEndian.AppendUint64(nil, math.Float64bits(x))...)
	case string:
		e.text(x)
		e.put()
	case []byte:
		e.Op('B', append(binary.LittleEndian.AppendUint32(nil, uint32(len(x))), x...)...)
		e.put()
	case Tuple:
		e.tuple(x)
	case List:
		e.list(x)
	case Dict:
		e.dict(x)
	case Global:
		e.global(x)
	case Call:
		e.global(x.Callee)
		e.tuple(x.Args)
		e.Op('R')
		e.put()
	case Object:
		e.object(x)
	}
}

// Key writes a text that Python has once however often it is used.
func (e *Encoder) Key(s string) {
	if !e.get(s) {
		e.text(s)
		e.memo[s] = e.put()
	}
}

func (e *Encoder) boolean(v bool) {
	if v {
		e.Op(0x88)
	} else {
		e.Op(0x89)
	}
}

func (e *Encoder) integer(n int) {
	switch {
	case n >= 0 && n < 1<<8:
		e.Op('K', byte(n))
	case n >= 0 && n < 1<<16:
		e.Op('M', byte(n), byte(n>>8))
	case n >= math.MinInt32 && n <= math.MaxInt32:
		e.Op('J', binary.LittleEndian.AppendUint32(nil, uint32(n))...)
	default:
		e.Op(0x8a, append([]byte{8}, binary.LittleEndian.AppendUint64(nil, uint64(n))...)...)
	}
}

func (e *Encoder) text(s string) {
	if e.protocol >= 4 && len(s) < 256 {
		e.Op(0x8c, append([]byte{byte(len(s))}, s...)...)
		return
	}
	e.Op('X', append(binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s...)...)
}

func (e *Encoder) tuple(items Tuple) {
	switch {
	case len(items) == 0:
		e.Op(')')
		return
	case len(items) > 3:
		e.Op('(')
	}
	for _, x := range items {
		e.Value(x)
	}
	if len(items) > 3 {
		e.Op('t')
	} else {
		e.Op(byte(0x84 + len(items)))
	}
	e.put()
}

// batch is how many items Python adds at once.
const batch = 1000

func (e *Encoder) list(items List) {
	e.Op(']')
	e.put()
	for len(items) > 0 {
		n := min(len(items), batch)
		e.Op('(')
		for _, x := range items[:n] {
			e.Value(x)
		}
		e.Op('e')
		items = items[n:]
	}
}

func (e *Encoder) dict(items Dict) {
	e.Op('}')
	e.put()
	for len(items) > 0 {
		n := min(len(items), batch)
		e.Op('(')
		for _, x := range items[:n] {
			if key, ok := x.Key.(string); ok {
				e.Key(key)
			} else {
				e.Value(x.Key)
			}
			e.Value(x.Value)
		}
		e.Op('u')
		items = items[n:]
	}
}

func (e *Encoder) global(g Global) {
	if e.get(g) {
		return
	}
	if e.protocol >= 4 {
		e.Key(g.Module)
		e.Key(g.Name)
		e.Op(0x93)
	} else {
		e.Op('c', []byte(g.Module+"\n"+g.Name+"\n")...)
	}
	e.memo[g] = e.put()
}

func (e *Encoder) object(o Object) {
	e.global(o.Class)
	e.Op(')')
	e.Op(0x81)
	e.put()
	e.Value(o.State)
	e.Op('b')
}
