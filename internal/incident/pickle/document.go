package pickle

import (
	"fmt"
	"time"
)

// Limits bound a read; a zero field means its default.
type Limits struct {
	Bytes    int64         // of the input; default 256 MiB
	Opcodes  int64         // default 256 Mi, one a byte
	Values   int64         // containers and calls; default 20 million
	Integer  int           // bytes of a binary integer, digits of a written one; default 4096
	Line     int           // bytes of a line of text; default 1 MiB
	Duration time.Duration // wall time; default 2 min
}

// Defaults of [Limits].
const (
	DefaultBytes    = 256 << 20
	defaultOpcodes  = 256 << 20
	defaultValues   = 20_000_000
	defaultInteger  = 4096
	defaultLine     = 1 << 20
	defaultDuration = 2 * time.Minute

	maxGlobals  = 65_536 // different names
	maxWarnings = 100    // that are kept; the rest is counted
	maxPickles  = 10_000 // one behind the other
)

func (l Limits) filled() Limits {
	fill := func(n *int64, d int64) {
		if *n <= 0 {
			*n = d
		}
	}
	fill(&l.Bytes, DefaultBytes)
	fill(&l.Opcodes, defaultOpcodes)
	fill(&l.Values, defaultValues)
	if l.Integer <= 0 {
		l.Integer = defaultInteger
	}
	if l.Line <= 0 {
		l.Line = defaultLine
	}
	if l.Duration <= 0 {
		l.Duration = defaultDuration
	}
	return l
}

// Error is damage, or a limit: where it is and what was expected there.
type Error struct {
	Offset int64  // of the opcode, bytes
	Opcode string // its name; "" where there is none
	Reason string
	Limit  bool // a limit of the reader, not damage of the file
}

func (e *Error) Error() string {
	if e.Opcode == "" {
		return fmt.Sprintf("byte %d: %s", e.Offset, e.Reason)
	}
	return fmt.Sprintf("byte %d, opcode %s: %s", e.Offset, e.Opcode, e.Reason)
}

// Warning is something in the file that is not as it should be and does not keep
// it from being read.
type Warning struct {
	Offset int64
	Reason string
}

// Root is one pickle of the input.
type Root struct {
	Value      Value // Absent when the pickle is damaged
	Start, End int64 // bytes
	Protocol   int   // declared; 0 = not declared
	Err        *Error
}

// Document is everything that was read.
type Document struct {
	Data  []byte
	Roots []Root
	// Globals are the names in the order of their first use.
	Globals []Name
	// Suspicions are calls and states that only a hostile file has.
	Suspicions []Suspicion
	Warnings   []Warning
	Unlisted   int        // warnings beyond those kept
	Opcodes    [256]int64 // how often each was seen
	Trailing   int64      // bytes behind the end of the first pickle

	arena   paged
	stack   paged // what was left on it where reading ended
	globals map[string]uint32
	shapes  map[uint64]shape
}

// Suspicion is a reason to call a file hostile.
type Suspicion struct {
	Offset int64
	Reason string
}

// Stack calls f with what stood on the stack where reading ended, the deepest
// first.
func (d *Document) Stack(f func(Value) bool) {
	for i := range d.stack.n {
		if !f(d.stack.at(i)) {
			return
		}
	}
}

func (d *Document) warn(at int, format string, args ...any) {
	if len(d.Warnings) >= maxWarnings {
		d.Unlisted++
		return
	}
	d.Warnings = append(d.Warnings, Warning{int64(at), fmt.Sprintf(format, args...)})
}

func (d *Document) suspect(at int, format string, args ...any) {
	if len(d.Suspicions) < maxWarnings {
		d.Suspicions = append(d.Suspicions, Suspicion{int64(at), fmt.Sprintf(format, args...)})
	}
}

// chunk is a run of items of a list or dict in the arena. Its head holds the index
// of the next one, whether the items are read from the input, and their number.
const (
	chunkNext  = 32
	chunkRange = 1 << 31
	chunkCount = chunkRange - 1
)

// Nodes of lists, dicts and sets: the first and the last chunk.
func (d *Document) node(k Kind) Value {
	d.arena.push(0)
	return handle(k, formInline, uint64(d.arena.n-1))
}

// link adds a chunk, whose head is about to be pushed, to a node.
func (d *Document) link(node int, head Value) {
	at := uint64(d.arena.n)
	d.arena.push(head)
	old := uint64(d.arena.at(node))
	if old == 0 {
		d.arena.set(node, Value(at<<32|at))
		return
	}
	tail := int(old & (1<<32 - 1))
	d.arena.set(tail, d.arena.at(tail)|Value(at<<chunkNext))
	d.arena.set(node, Value(old&^(1<<32-1)|at))
}

func (d *Document) firstChunk(v Value) int { return int(uint64(d.arena.at(int(v.payload()))) >> 32) }

func (d *Document) chunk(at int) (next, n int, inInput bool) {
	head := uint64(d.arena.at(at))
	return int(head >> chunkNext), int(head & chunkCount), head&chunkRange != 0
}

// extendable says where a list's last chunk can grow: it ends where the arena ends.
func (d *Document) extendable(node int) (tail int, ok bool) {
	old := uint64(d.arena.at(node))
	tail = int(old & (1<<32 - 1))
	if old == 0 {
		return 0, false
	}
	_, n, inInput := d.chunk(tail)
	return tail, !inInput && tail+1+n == d.arena.n && n < chunkCount
}

// Slots of an Object in the arena, and of its extension.
const (
	slotCallee = iota
	slotArgs
	slotState
	slotExt
	objectSlots

	extItems  = 0 // list or set
	extDict   = 1
	extKwargs = 2
	extStates = 3 // list of further states
	extSlots  = 4
)

// How an Object came to be.
const (
	viaReduce = iota
	viaNewObj
	viaInst
	viaBuild
)

func (d *Document) object(how int, callee, args Value) Value {
	at := d.arena.n
	for _, v := range [objectSlots]Value{callee, args, 0, 0} {
		d.arena.push(v)
	}
	return sized(Object, how, uint64(at))
}

func (d *Document) slot(o Value, slot int) Value { return d.arena.at(o.index() + slot) }

func (d *Document) ext(o Value, slot int) Value {
	e := d.slot(o, slotExt)
	if e == 0 {
		return 0
	}
	return d.arena.at(int(e) + slot)
}

func (d *Document) setExt(o Value, slot int, v Value) {
	e := d.slot(o, slotExt)
	if e == 0 {
		e = Value(d.arena.n)
		for range extSlots {
			d.arena.push(0)
		}
		d.arena.set(o.index()+slotExt, e)
	}
	d.arena.set(int(e)+slot, v)
}

// shape is a list of keys that several dicts share.
type shape struct{ keys, n int }

const (
	maxShapes    = 4096
	maxShapeKeys = 1024
)

// addPairs puts the pairs on the stack from position `from` into a dict.
func (d *Document) addPairs(node int, stack *paged, from int) {
	n := (stack.n - from) / 2
	if n == 0 {
		return
	}
	d.link(node, Value(n))
	shared, hash := d.findShape(stack, from, n)
	at := d.arena.n
	d.arena.push(Value(shared))
	for i := range n {
		d.arena.push(stack.at(from + 2*i + 1))
	}
	if shared != 0 {
		return
	}
	own := d.arena.n
	d.arena.set(at, Value(own))
	for i := range n {
		d.arena.push(stack.at(from + 2*i))
	}
	if hash != 0 && len(d.shapes) < maxShapes {
		d.shapes[hash] = shape{own, n}
	}
}

func (d *Document) findShape(stack *paged, from, n int) (keys int, hash uint64) {
	if n < 2 || n > maxShapeKeys {
		return 0, 0
	}
	hash = uint64(n)
	for i := range n {
		hash = (hash ^ uint64(stack.at(from+2*i))) * 0x9e3779b97f4a7c15
		hash ^= hash >> 29
	}
	s, ok := d.shapes[hash]
	if !ok {
		return 0, hash
	}
	if s.n != n {
		return 0, 0
	}
	for i := range n {
		if d.arena.at(s.keys+i) != stack.at(from+2*i) {
			return 0, 0
		}
	}
	return s.keys, hash
}
