package pickle

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// Plain is a value with the calls of known names read as what they stand for.
type Plain struct {
	Kind  Kind
	Value Value  // the native value, or the container whose items or pairs count
	Text  []byte // of Str and Bytes
	Float float64
	Int   *big.Int // when it needs more than 64 bits
	Small int64
	Array *Array
	// PairList says that a dict is given as a list of pairs.
	PairList bool
	// Opaque names what is not read: a tensor, a class without fields.
	Opaque string
}

const maxAlias = 8 // calls around calls, int(int(…))

// Plain reads a value. An object of an unknown name stays an Object.
func (d *Document) Plain(v Value) Plain { return d.plain(v, maxAlias) }

func (d *Document) plain(v Value, depth int) Plain {
	p := Plain{Kind: v.Kind(), Value: v}
	switch v.Kind() {
	case Bool:
		p.Small = int64(v.payload())
	case Int:
		if n, ok := d.Integer(v); ok {
			p.Small = n
		} else {
			p.Int = d.big(v)
		}
	case Float:
		p.Float = d.float(v)
	case Str:
		p.Text, _ = d.RawText(v)
	case Bytes, ByteArray:
		p.Text, _ = d.RawBytes(v)
	case Object:
		if depth > 0 {
			return d.object2plain(v, depth-1)
		}
	}
	return p
}

// object2plain reads the calls of known names.
func (d *Document) object2plain(v Value, depth int) Plain {
	keep := Plain{Kind: Object, Value: v}
	name, ok := d.NameOf(v)
	if !ok {
		return keep
	}
	args := d.slot(v, slotArgs)
	arg := func(i int) Value { return d.Item(args, i) }
	text := func(s string) Plain { return Plain{Kind: Str, Text: []byte(s)} }
	full := name.String()
	switch full {
	case "builtins.int", "builtins.float", "builtins.str", "builtins.bool", "builtins.bytes", "builtins.bytearray", "_codecs.encode":
		return d.converted(full, arg(0), arg(1), keep, depth)
	case "builtins.set", "builtins.frozenset", "builtins.list", "builtins.tuple", "collections.deque", "torch.Size":
		if items := d.ext(v, extItems); items != 0 {
			return d.plain(items, depth)
		}
		return d.container(arg(0), List, keep, depth)
	case "builtins.dict", "collections.OrderedDict", "collections.Counter", "collections.defaultdict":
		if pairs := d.ext(v, extDict); pairs != 0 {
			return d.plain(pairs, depth)
		}
		from := arg(0)
		if full == "collections.defaultdict" {
			from = arg(1)
		}
		p := d.container(from, Dict, keep, depth)
		p.PairList = p.Kind != Dict && p.Kind != Object
		if p.PairList {
			p.Kind = Dict
		}
		return p
	case "builtins.complex":
		return text(fmt.Sprintf("(%g%+gj)", d.num(arg(0)), d.num(arg(1))))
	case "builtins.range", "builtins.slice":
		return text(name.Name + "(" + d.joined(args) + ")")
	case "datetime.datetime", "datetime.date", "datetime.time":
		if s := d.moment(full, arg(0), arg(1), depth); s != "" {
			return text(s)
		}
	case "datetime.timedelta":
		return text(isoDuration(d.num(arg(0)), d.num(arg(1)), d.num(arg(2))))
	case "datetime.timezone":
		return text(d.zoneName(v))
	case "decimal.Decimal", "fractions.Fraction", "pathlib.PosixPath", "pathlib.PurePosixPath":
		return text(d.joined(args))
	case "uuid.UUID":
		if s := d.uuid(v); s != "" {
			return text(s)
		}
	case "torch._utils._rebuild_tensor_v2", "torch.storage._load_from_bytes":
		return Plain{Kind: Object, Value: v, Opaque: d.tensor(v)}
	default:
		if a, one := d.array(v, full, depth); a != nil {
			if one {
				return a.scalar()
			}
			return Plain{Kind: List, Array: a}
		}
		if full == "array.array" {
			return d.container(arg(1), List, keep, depth)
		}
		if strings.HasPrefix(full, "numpy.") && name.Name == "scalar" {
			return d.plain(arg(1), depth)
		}
		if items := d.Item(d.slot(v, slotState), 4); strings.HasPrefix(full, "numpy.") && items.Kind() == List { // of objects
			return d.plain(items, depth)
		}
	}
	return keep
}

// converted reads int(x), bytes(x), encode(text, "latin1") and their like.
func (d *Document) converted(full string, x, how Value, keep Plain, depth int) Plain {
	if x == 0 {
		switch full {
		case "builtins.int", "builtins.bool":
			return Plain{Kind: Int}
		case "builtins.float":
			return Plain{Kind: Float}
		case "builtins.str":
			return Plain{Kind: Str}
		}
		return Plain{Kind: Bytes}
	}
	p := d.plain(x, depth)
	if full != "_codecs.encode" && (full != "builtins.bytearray" && full != "builtins.bytes" || p.Kind != Str) {
		if p.Kind == List || p.Kind == Tuple || p.Kind == Object {
			return keep
		}
		return p
	}
	enc, _ := d.RawText(how)
	switch string(enc) {
	case "latin1", "latin-1", "iso-8859-1":
	default:
		return keep
	}
	out := make([]byte, 0, len(p.Text))
	for _, r := range string(p.Text) {
		if r > 255 {
			return keep
		}
		out = append(out, byte(r))
	}
	return Plain{Kind: Bytes, Text: out}
}

// container is what a set, list or dict is made from.
func (d *Document) container(from Value, empty Kind, keep Plain, depth int) Plain {
	if from == 0 || from.Kind() == None {
		return Plain{Kind: empty}
	}
	p := d.plain(from, depth)
	switch p.Kind {
	case List, Tuple, Set, FrozenSet, Dict:
		return p
	}
	return keep
}

// num is the number of a value; 0 without one.
func (d *Document) num(v Value) float64 { f, _ := d.Number(v); return f }

// Number is the number of an Int or Float, numpy's too; false for other values and
// for numbers that are not finite.
func (d *Document) Number(v Value) (float64, bool) {
	if v.Kind() == Int && v.form() == formInline {
		return float64(v.inline()), true
	}
	p := d.Plain(v)
	switch {
	case p.Kind == Int && p.Int != nil:
		f, _ := new(big.Float).SetInt(p.Int).Float64()
		return f, !math.IsInf(f, 0)
	case p.Kind == Int:
		return float64(p.Small), true
	case p.Kind == Float:
		return p.Float, !math.IsNaN(p.Float) && !math.IsInf(p.Float, 0)
	}
	return 0, false
}

// joined are the scalar items of a tuple with commas between them.
func (d *Document) joined(args Value) string {
	var out []string
	d.Items(args, func(v Value) bool {
		switch p := d.Plain(v); p.Kind {
		case Str:
			out = append(out, string(p.Text))
		case Int:
			out = append(out, p.integer())
		case None:
			out = append(out, "None")
		}
		return len(out) < 4
	})
	return strings.Join(out, ", ")
}

func (p Plain) integer() string {
	if p.Int != nil {
		return p.Int.String()
	}
	return strconv.FormatInt(p.Small, 10)
}

// moment reads the packed bytes of a date or time.
func (d *Document) moment(full string, x, zone Value, depth int) string {
	b := d.plain(x, depth).Text
	switch {
	case full == "datetime.date" && len(b) == 4:
		return fmt.Sprintf("%04d-%02d-%02d", int(b[0])<<8|int(b[1]), b[2]&0x7f, b[3])
	case full == "datetime.time" && len(b) == 6:
		return fmt.Sprintf("%02d:%02d:%02d.%06d", b[0]&0x7f, b[1], b[2], int(b[3])<<16|int(b[4])<<8|int(b[5])) + d.zoneName(zone)
	case full == "datetime.datetime" && len(b) == 10:
		t := time.Date(int(b[0])<<8|int(b[1]), time.Month(b[2]&0x7f), int(b[3]), int(b[4]), int(b[5]), int(b[6]), (int(b[7])<<16|int(b[8])<<8|int(b[9]))*1000, time.UTC)
		return t.Format("2006-01-02T15:04:05.999999") + d.zoneName(zone)
	}
	return ""
}

// zoneName is the offset of a timezone as RFC 3339 has it; "" without one.
func (d *Document) zoneName(zone Value) string {
	if name, ok := d.NameOf(zone); !ok || zone.Kind() != Object || name.String() != "datetime.timezone" {
		return ""
	}
	delta := d.Item(d.slot(zone, slotArgs), 0)
	if delta.Kind() != Object {
		return ""
	}
	args := d.slot(delta, slotArgs)
	s := d.num(d.Item(args, 0))*86400 + d.num(d.Item(args, 1))
	if s == 0 || math.Abs(s) > 86400 {
		return "Z"
	}
	sign := '+'
	if s < 0 {
		sign, s = '-', -s
	}
	return fmt.Sprintf("%c%02d:%02d", sign, int(s)/3600, int(s)/60%60)
}

func isoDuration(days, seconds, micros float64) string {
	return "PT" + strconv.FormatFloat(days*86400+seconds+micros/1e6, 'f', -1, 64) + "S"
}

func (d *Document) uuid(v Value) string {
	p := d.Plain(d.Member(v, "int"))
	n := p.Int
	if n == nil {
		n = big.NewInt(p.Small)
	}
	if p.Kind != Int || n.Sign() < 0 || n.BitLen() > 128 {
		return ""
	}
	s := fmt.Sprintf("%032x", n)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// tensor says what is known of a tensor without reading it: shape, and the bytes
// of its storage.
func (d *Document) tensor(v Value) string {
	args := d.slot(v, slotArgs)
	storage, shape := d.Item(args, 0), "unknown"
	if name, _ := d.NameOf(v); name.Name == "_rebuild_tensor_v2" {
		shape = "[" + d.joined(d.Item(args, 2)) + "]"
		if storage.Kind() == Object {
			storage = d.Item(d.slot(storage, slotArgs), 0)
		}
	}
	b, _ := d.RawBytes(storage)
	return fmt.Sprintf("tensor of shape %s, storage of %d bytes", shape, len(b))
}

// ClassOf is the class of an object: its callee, or the class that a rebuilding
// function is given.
func (d *Document) ClassOf(v Value) (Name, bool) {
	n, ok := d.NameOf(v)
	if v.Kind() != Object || !ok {
		return n, ok
	}
	switch n.String() {
	case "msgspec._utils.rebuild", "copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__":
		return d.NameOf(d.Item(d.slot(v, slotArgs), 0))
	}
	return n, true
}

// Args are the positional arguments of an object.
func (d *Document) Args(v Value) Value {
	if v.Kind() != Object {
		return 0
	}
	return d.slot(v, slotArgs)
}
