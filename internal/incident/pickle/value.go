package pickle

// Value is a handle: a small value itself, or where the value lies in the input
// or in the document. It means something only together with its document. The
// zero Value is no value.
type Value uint64

// Kind is what a value is.
type Kind uint8

// The kinds of values.
const (
	Absent Kind = iota
	None
	Bool
	Int
	Float
	Str
	Bytes
	ByteArray
	Tuple
	List
	Dict
	Set
	FrozenSet
	Object     // a call that was not made: callee, arguments, state
	Global     // a name
	Extension  // a code of the extension registry
	Persistent // an id whose meaning lies outside of the file
	Buffer     // an out-of-band buffer
)

var kindNames = [...]string{
	"absent", "NoneType", "bool", "int", "float", "str", "bytes", "bytearray", "tuple", "list", "dict", "set", "frozenset",
	"object", "type", "type", "persistent", "buffer",
}

func (k Kind) String() string { return kindNames[k] }

// Inside, Int and Float have several forms.
const (
	formInline = iota // payload is the value
	formOffset        // payload is the offset of the opcode that made it
)

const (
	kindShift    = 59
	formShift    = 58
	payloadMask  = 1<<formShift - 1
	lenShift     = 34 // of tuples: length above, index in the arena below
	lenMask      = 1<<24 - 1
	indexMask    = 1<<lenShift - 1
	maxInline    = 1<<(formShift-1) - 1
	maxTupleSize = lenMask
)

func handle(k Kind, form int, payload uint64) Value {
	return Value(uint64(k)<<kindShift | uint64(form)<<formShift | payload&payloadMask)
}

func sized(k Kind, n int, at uint64) Value {
	return handle(k, formInline, uint64(n)<<lenShift|at)
}

var (
	valueNone  = handle(None, formInline, 0)
	valueFalse = handle(Bool, formInline, 0)
	valueTrue  = handle(Bool, formInline, 1)
)

// Kind is the kind of the value.
func (v Value) Kind() Kind { return Kind(v >> kindShift) }

func (v Value) form() int       { return int(v >> formShift & 1) }
func (v Value) payload() uint64 { return uint64(v) & payloadMask }
func (v Value) size() int       { return int(v >> lenShift & lenMask) }
func (v Value) index() int      { return int(v & indexMask) }

func smallInt(n int64) Value { return handle(Int, formInline, uint64(n)) }

// inline is the number of an Int of that form.
func (v Value) inline() int64 { return int64(v<<(64-formShift)) >> (64 - formShift) }

const (
	pageBits = 12
	pageSize = 1 << pageBits
)

// paged is a growing array that never copies what it has: growth costs what is
// added and no more.
type paged struct {
	pages []*[pageSize]Value
	n     int
}

func (p *paged) push(v Value) {
	if p.n>>pageBits == len(p.pages) {
		p.pages = append(p.pages, new([pageSize]Value))
	}
	p.pages[p.n>>pageBits][p.n&(pageSize-1)] = v
	p.n++
}

func (p *paged) at(i int) Value     { return p.pages[i>>pageBits][i&(pageSize-1)] }
func (p *paged) set(i int, v Value) { p.pages[i>>pageBits][i&(pageSize-1)] = v }

// memo is Python's memo: dense as far as it is filled in order, a map beyond, so
// that a large index costs no more than a small one.
type memo struct {
	pages  []*[pageSize]Value
	sparse map[uint32]Value
	n      int // entries that are set
}

func (m *memo) reset() {
	m.pages, m.sparse, m.n = nil, nil, 0
}

func (m *memo) get(i uint32) Value {
	if p := int(i >> pageBits); p < len(m.pages) && m.pages[p] != nil {
		if v := m.pages[p][i&(pageSize-1)]; v != 0 {
			return v
		}
	}
	return m.sparse[i]
}

func (m *memo) put(i uint32, v Value) {
	p := int(i >> pageBits)
	if p > 2*(m.n>>pageBits)+1 {
		if m.sparse == nil {
			m.sparse = map[uint32]Value{}
		}
		if _, was := m.sparse[i]; !was {
			m.n++
		}
		m.sparse[i] = v
		return
	}
	for p >= len(m.pages) {
		m.pages = append(m.pages, nil)
	}
	if m.pages[p] == nil {
		m.pages[p] = new([pageSize]Value)
	}
	slot := &m.pages[p][i&(pageSize-1)]
	if *slot == 0 {
		if _, was := m.sparse[i]; was {
			delete(m.sparse, i)
		} else {
			m.n++
		}
	}
	*slot = v
}
