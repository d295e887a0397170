package pickle

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
)

// Bounds of a JSON rendering where [JSON] leaves them 0.
const (
	DefaultDepth = 200
	DefaultNodes = 2_000_000
	DefaultText  = 64 << 20

	maxArrayItems = 1 << 16 // of an array that is no list of integers; more are only counted
)

// JSON renders values as JSON. Tuples and sets become arrays, objects become their
// members, bytes base64, names texts; what JSON cannot hold becomes null, with a
// note. Depth, nodes and text are bounded and cycles are cut, as a few bytes of
// pickle can stand for more leaves than there are atoms.
type JSON struct {
	Depth, Nodes, Text int
	// Class gives what is known of a class: the names of its positional arguments,
	// and of its values where it is an enumeration. nil = nothing.
	Class func(name string) (positional []string, values map[int64]string)
	// Note is told what could not be rendered as it is. nil = nobody wants to know.
	Note func(note string)

	d    *Document
	path []Value
	n    int
	dst  []byte
	base int
}

// Append appends a value of a document to dst.
func (j *JSON) Append(dst []byte, d *Document, v Value) []byte {
	fill := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	fill(&j.Depth, DefaultDepth)
	fill(&j.Nodes, DefaultNodes)
	fill(&j.Text, DefaultText)
	j.d, j.dst, j.base, j.n, j.path = d, dst, len(dst), 0, j.path[:0]
	j.value(v)
	return j.dst
}

func (j *JSON) note(note string) {
	if j.Note != nil {
		j.Note(note)
	}
}

func (j *JSON) null(note string) {
	if note != "" {
		j.note(note)
	}
	j.dst = append(j.dst, "null"...)
}

// spent says that the rendering has had all that it may have.
func (j *JSON) spent() bool {
	j.n++
	return j.n > j.Nodes || len(j.dst)-j.base > j.Text
}

func (j *JSON) value(v Value) {
	if j.spent() {
		j.null("cut: more than is rendered of one value")
		return
	}
	p := j.d.Plain(v)
	switch p.Kind {
	case None, Absent:
		j.null("")
	case Bool:
		j.dst = strconv.AppendBool(j.dst, p.Small == 1)
	case Int:
		j.dst = append(j.dst, p.integer()...)
	case Float:
		j.float(p.Float)
	case Str:
		j.dst = AppendQuoted(j.dst, p.Text)
	case Bytes, ByteArray:
		j.note("bytes are rendered as base64")
		j.dst = append(j.dst, '"')
		j.dst = base64.StdEncoding.AppendEncode(j.dst, p.Text)
		j.dst = append(j.dst, '"')
	case Global:
		n, _ := j.d.NameOf(v)
		j.dst = AppendQuoted(j.dst, []byte(n.String()))
	case Extension, Persistent, Buffer:
		j.null("a " + p.Kind.String() + " has no value in the file")
	default:
		j.container(v, p)
	}
}

func (j *JSON) float(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		j.null("a number that is not finite is rendered as null")
		return
	}
	at := len(j.dst)
	j.dst = strconv.AppendFloat(j.dst, f, 'g', -1, 64)
	if !slices.ContainsFunc(j.dst[at:], func(c byte) bool { return c == '.' || c == 'e' }) {
		j.dst = append(j.dst, ".0"...)
	}
}

func (j *JSON) container(v Value, p Plain) {
	key := p.Value
	if p.Array != nil {
		j.array(p.Array)
		return
	}
	if len(j.path) >= j.Depth {
		j.null("deeper than " + strconv.Itoa(j.Depth) + " levels")
		return
	}
	if key != 0 && slices.Contains(j.path, key) {
		j.null("a value that holds itself")
		return
	}
	j.path = append(j.path, key)
	switch {
	case p.Kind == Object:
		j.object(v, p)
	case p.PairList:
		j.pairs(func(f func(k, v Value) bool) {
			j.d.Items(p.Value, func(x Value) bool {
				q := j.d.Plain(x)
				var kv [2]Value
				n := 0
				j.d.Items(q.Value, func(y Value) bool { kv[n] = y; n++; return n < 2 })
				return n < 2 || f(kv[0], kv[1])
			})
		})
	case p.Kind == Dict:
		j.pairs(func(f func(k, v Value) bool) { j.d.Pairs(p.Value, f) })
	default:
		j.items(p.Value)
	}
	j.path = j.path[:len(j.path)-1]
}

func (j *JSON) items(v Value) {
	j.dst = append(j.dst, '[')
	first := true
	j.d.Items(v, func(x Value) bool {
		if !first {
			j.dst = append(j.dst, ',')
		}
		first = false
		j.value(x)
		return j.n <= j.Nodes && len(j.dst)-j.base <= j.Text
	})
	j.dst = append(j.dst, ']')
}

// pairs renders the members that each yields; of a repeated key the last counts.
func (j *JSON) pairs(each func(func(k, v Value) bool)) {
	last := map[string]int{}
	n := 0
	each(func(k, _ Value) bool {
		last[j.key(k)] = n
		n++
		return n <= j.Nodes
	})
	j.dst = append(j.dst, '{')
	first, i := true, 0
	each(func(k, v Value) bool {
		if name := j.key(k); last[name] == i {
			if !first {
				j.dst = append(j.dst, ',')
			}
			first = false
			j.dst = append(AppendQuoted(j.dst, []byte(name)), ':')
			j.value(v)
		}
		i++
		return j.n <= j.Nodes && len(j.dst)-j.base <= j.Text
	})
	if n > len(last) {
		j.note("a key stands twice; the last value counts")
	}
	j.dst = append(j.dst, '}')
}

// key is the text of a key, as json.dumps of Python has it; others by their
// meaning.
func (j *JSON) key(k Value) string {
	p := j.d.Plain(k)
	switch p.Kind {
	case Str:
		return string(p.Text)
	case Bytes, ByteArray:
		return base64.StdEncoding.EncodeToString(p.Text)
	case Int:
		return p.integer()
	case Bool:
		return strconv.FormatBool(p.Small == 1)
	case Float:
		return strconv.FormatFloat(p.Float, 'g', -1, 64)
	case None:
		return "null"
	case Object:
		if text, ok := j.enum(k); ok {
			return text
		}
	case Tuple:
		return "(" + j.d.joined(k) + ")"
	case Global:
		n, _ := j.d.NameOf(k)
		return n.String()
	}
	return p.Kind.String()
}

// enum is the name of an enumeration's value.
func (j *JSON) enum(v Value) (string, bool) {
	name, ok := j.d.NameOf(v)
	args := j.d.Args(v)
	if !ok || j.Class == nil || args.Kind() != Tuple || args.size() != 1 {
		return "", false
	}
	_, values := j.Class(name.String())
	n, isInt := j.d.Integer(j.d.Item(args, 0))
	if values == nil || !isInt {
		return "", false
	}
	if text, ok := values[n]; ok {
		return text, true
	}
	return strconv.FormatInt(n, 10), true
}

// object renders an object as its members. One without members is rendered with
// its name.
func (j *JSON) object(v Value, p Plain) {
	if p.Opaque != "" {
		j.null(p.Opaque + " is not rendered")
		return
	}
	if text, ok := j.enum(v); ok {
		j.dst = AppendQuoted(j.dst, []byte(text))
		return
	}
	name, _ := j.d.ClassOf(v)
	var positional []string
	if j.Class != nil {
		positional, _ = j.Class(name.String())
	}
	members := func(f func(k string, v Value) bool) {
		on, i := true, 0
		if len(positional) > 0 {
			j.d.Items(j.d.Args(v), func(x Value) bool {
				if i < len(positional) {
					on = f(positional[i], x)
				}
				i++
				return on
			})
		}
		if on {
			j.d.Members(v, func(k, x Value) bool { return f(j.key(k), x) })
		}
	}
	j.members(name, v, members)
}

func (j *JSON) members(name Name, v Value, each func(func(k string, v Value) bool)) {
	last := map[string]int{}
	n := 0
	each(func(k string, _ Value) bool { last[k] = n; n++; return n <= j.Nodes })
	j.dst = append(j.dst, '{')
	if n == 0 {
		j.note("an object of " + name.String() + " is rendered by its name")
		j.dst = append(AppendQuoted(append(j.dst, `"$class":`...), []byte(name.String())), `,"$args":`...)
		j.value(j.d.Args(v))
	}
	i, first := 0, true
	each(func(k string, x Value) bool {
		if last[k] == i {
			if !first {
				j.dst = append(j.dst, ',')
			}
			first = false
			j.dst = append(AppendQuoted(j.dst, []byte(k)), ':')
			j.value(x)
		}
		i++
		return j.n <= j.Nodes
	})
	j.dst = append(j.dst, '}')
}

// array renders an array in the nesting of its shape.
func (j *JSON) array(a *Array) {
	if a.Count > maxArrayItems && (len(a.Shape) != 1 || a.Type != 'i' && a.Type != 'u') {
		j.null("an array of " + strconv.Itoa(a.Count) + " items of " + a.Title + " is not rendered")
		return
	}
	j.dimension(a, 0, 0)
}

func (j *JSON) dimension(a *Array, dim, at int) {
	if dim == len(a.Shape) {
		j.item(a, at)
		return
	}
	j.dst = append(j.dst, '[')
	for i := range a.Shape[dim] {
		if i > 0 {
			j.dst = append(j.dst, ',')
		}
		j.dimension(a, dim+1, at+i*a.stride(dim))
	}
	j.dst = append(j.dst, ']')
}

// stride is the distance of neighbours along a dimension, in items.
func (a *Array) stride(dim int) int {
	s := 1
	if a.Fortran {
		for _, n := range a.Shape[:dim] {
			s *= n
		}
		return s
	}
	for _, n := range a.Shape[dim+1:] {
		s *= n
	}
	return s
}

func (j *JSON) item(a *Array, i int) {
	if i >= a.Count || j.spent() {
		j.null("")
		return
	}
	switch p := a.Item(i); p.Kind {
	case Bool:
		j.dst = strconv.AppendBool(j.dst, p.Small == 1)
	case Int:
		j.dst = append(j.dst, p.integer()...)
	case Float:
		j.float(p.Float)
	case Str:
		j.dst = AppendQuoted(j.dst, p.Text)
	default:
		j.dst = append(base64.StdEncoding.AppendEncode(append(j.dst, '"'), p.Text), '"')
	}
}
