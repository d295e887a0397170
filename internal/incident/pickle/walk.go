package pickle

// Items calls f with the items of a list, tuple or set, and with what was added to
// an object, until f says false.
func (d *Document) Items(v Value, f func(Value) bool) {
	switch v.Kind() {
	case Tuple, FrozenSet:
		for i := range v.size() {
			if !f(d.arena.at(v.index() + i)) {
				return
			}
		}
	case List, Set:
		d.listItems(v, f)
	}
}

func (d *Document) listItems(v Value, f func(Value) bool) {
	for at := d.firstChunk(v); at != 0; {
		next, n, inInput := d.chunk(at)
		if inInput && !d.inputItems(int(d.arena.at(at+1)), n, f) {
			return
		}
		for i := range n {
			if !inInput && !f(d.arena.at(at+1+i)) {
				return
			}
		}
		at = next
	}
}

// inputItems reads items that were left in the input.
func (d *Document) inputItems(p, n int, f func(Value) bool) bool {
	for n > 0 {
		w, item := scalarWidth(d.Data[p])
		if item {
			if n--; !f(d.scalar(p)) {
				return false
			}
		}
		p += w
	}
	return true
}

// scalar is the value that the opcode there pushes.
func (d *Document) scalar(p int) Value {
	switch d.Data[p] {
	case 'K', 'M':
		w, _ := scalarWidth(d.Data[p])
		return smallInt(int64(littleEndian(d.Data[p+1 : p+w])))
	case 'J':
		return smallInt(int64(int32(littleEndian(d.Data[p+1 : p+5]))))
	case 'G':
		return handle(Float, formOffset, uint64(p))
	case 0x88:
		return valueTrue
	case 0x89:
		return valueFalse
	}
	return valueNone
}

// Len is the number of items, or of pairs with repeated keys counted.
func (d *Document) Len(v Value) int {
	switch v.Kind() {
	case Tuple, FrozenSet:
		return v.size()
	case List, Set, Dict:
		total := 0
		for at := d.firstChunk(v); at != 0; {
			next, n, _ := d.chunk(at)
			total += n
			at = next
		}
		return total
	}
	return 0
}

// Item is the item at a position of a tuple; Absent beyond its end.
func (d *Document) Item(v Value, i int) Value {
	if k := v.Kind(); k != Tuple && k != FrozenSet || i < 0 || i >= v.size() {
		return 0
	}
	return d.arena.at(v.index() + i)
}

// Pairs calls f with the keys and values of a dict in their order, repeated keys
// too, until f says false.
func (d *Document) Pairs(v Value, f func(key, value Value) bool) {
	if v.Kind() != Dict {
		return
	}
	for at := d.firstChunk(v); at != 0; {
		next, n, _ := d.chunk(at)
		keys := int(d.arena.at(at + 1))
		for i := range n {
			if !f(d.arena.at(keys+i), d.arena.at(at+2+i)) {
				return
			}
		}
		at = next
	}
}

// maxStates bounds the dicts that make up one object.
const maxStates = 16

// dicts calls f with the dicts whose members are the attributes of a value: a dict
// itself, the state of an object (with its slots), the members that msgspec
// rebuilds it from, keyword arguments, what was set on it like on a dict.
func (d *Document) dicts(v Value, f func(Value)) {
	if v.Kind() == Dict {
		f(v)
		return
	}
	if v.Kind() != Object {
		return
	}
	n := 0
	each := func(x Value) {
		if n++; x.Kind() == Dict && n < maxStates {
			f(x)
		}
	}
	if name, _ := d.NameOf(v); name.String() == "msgspec._utils.rebuild" {
		each(d.Item(d.slot(v, slotArgs), 1))
	}
	each(d.ext(v, extKwargs))
	each(d.ext(v, extDict))
	state := d.slot(v, slotState)
	each(state)
	each(d.Item(state, 0))
	each(d.Item(state, 1))
	if more := d.ext(v, extStates); more != 0 {
		d.Items(more, func(x Value) bool { each(x); return n < maxStates })
	}
}

// Members calls f with the attributes of an object or the members of a dict, until
// f says false.
func (d *Document) Members(v Value, f func(key, value Value) bool) {
	on := true
	d.dicts(v, func(x Value) {
		if on {
			d.Pairs(x, func(k, v Value) bool { on = f(k, v); return on })
		}
	})
}

// Member is the attribute or member of that name; the last one counts. Absent
// without one.
func (d *Document) Member(v Value, name string) Value {
	var found Value
	d.Members(v, func(k, x Value) bool {
		if text, ok := d.RawText(k); ok && string(text) == name {
			found = x
		}
		return true
	})
	return found
}

// Selection finds the members of many dicts by name at once. Dicts that share
// their keys are looked through once.
type Selection struct {
	names map[string]int
	cache map[int][]place
	// Repeated is called once for each list of keys that has a name twice.
	Repeated func(name string, at Value)
}

type place struct{ at, slot int }

// NewSelection selects members by name; the position of a name is that of its
// value. An empty name selects nothing.
func NewSelection(names ...string) *Selection {
	s := &Selection{names: map[string]int{}, cache: map[int][]place{}}
	for i, n := range names {
		if n != "" {
			s.names[n] = i
		}
	}
	return s
}

// Select fills out with the selected members of a dict or object; Absent where
// there is none.
func (d *Document) Select(v Value, s *Selection, out []Value) {
	clear(out)
	switch {
	case v.Kind() == Dict:
		d.selectDict(v, s, out)
	case v.Kind() == Object && d.slot(v, slotExt) == 0 && d.slot(v, slotState).Kind() == Dict:
		d.selectDict(d.slot(v, slotState), s, out)
	default:
		d.dicts(v, func(x Value) { d.selectDict(x, s, out) })
	}
}

func (d *Document) selectDict(v Value, s *Selection, out []Value) {
	for at := d.firstChunk(v); at != 0; {
		next, n, _ := d.chunk(at)
		for _, p := range s.places(d, int(d.arena.at(at+1)), n) {
			out[p.slot] = d.arena.at(at + 2 + p.at)
		}
		at = next
	}
}

const maxCached = 8192 // key lists that a selection remembers

func (s *Selection) places(d *Document, keys, n int) []place {
	found, ok := s.cache[keys]
	if ok {
		return found
	}
	seen := make(map[string]bool, min(n, maxShapeKeys))
	for i := range n {
		text, ok := d.RawText(d.arena.at(keys + i))
		if !ok {
			continue
		}
		if slot, wanted := s.names[string(text)]; wanted {
			found = append(found, place{i, slot})
		}
		if n <= maxShapeKeys {
			if seen[string(text)] && s.Repeated != nil {
				s.Repeated(string(text), d.arena.at(keys+i))
			}
			seen[string(text)] = true
		}
	}
	if len(s.cache) < maxCached {
		s.cache[keys] = found
	}
	return found
}

// Offset is where a text, bytes or large number stands in the input; -1 for other
// values.
func (v Value) Offset() int64 {
	switch k := v.Kind(); {
	case k == Str, k == Bytes, k == ByteArray, v.form() == formOffset && (k == Int || k == Float):
		return int64(v.payload())
	}
	return -1
}
