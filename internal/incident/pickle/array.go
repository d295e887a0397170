package pickle

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Array is an array of numbers or texts whose bytes stand in the input.
type Array struct {
	Data    []byte
	Type    byte // as numpy's kind: i u f b c U S M m V
	Size    int  // bytes of an item
	Big     bool // big endian
	Shape   []int
	Fortran bool
	Count   int // items
	Title   string
}

// array reads numpy's arrays and scalars and the standard array; nil for what is
// none. one says that it is a scalar.
func (d *Document) array(v Value, full string, depth int) (a *Array, one bool) {
	args := d.slot(v, slotArgs)
	bytes := func(x Value) []byte { return d.plain(x, depth).Text }
	switch full {
	case "array._array_reconstructor":
		return machineArray(d.num(d.Item(args, 2)), bytes(d.Item(args, 3))), false
	case "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar":
		if a = d.dtype(d.Item(args, 0)); a == nil || a.Type == 'O' {
			return nil, false
		}
		a.Data, a.Count = bytes(d.Item(args, 1)), 1
		return a.fits(), true
	case "numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer":
		if a = d.dtype(d.Item(args, 1)); a == nil {
			return nil, false
		}
		order, _ := d.RawText(d.Item(args, 3))
		a.Data, a.Fortran = bytes(d.Item(args, 0)), string(order) == "F"
		return d.shaped(a, d.Item(args, 2)), false
	case "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct":
		state := d.slot(v, slotState)
		if a = d.dtype(d.Item(state, 2)); a == nil {
			return nil, false
		}
		a.Data, a.Fortran = bytes(d.Item(state, 4)), d.Item(state, 3) == valueTrue
		return d.shaped(a, d.Item(state, 1)), false
	}
	return nil, false
}

// dtype reads numpy.dtype("i4", False, True) with its state (3, "<", …).
func (d *Document) dtype(v Value) *Array {
	if n, _ := d.NameOf(v); v.Kind() != Object || n.String() != "numpy.dtype" {
		return nil
	}
	code, _ := d.RawText(d.Item(d.slot(v, slotArgs), 0))
	order, _ := d.RawText(d.Item(d.slot(v, slotState), 1))
	text := strings.TrimLeft(string(code), "<>|=")
	if len(text) < 2 || strings.IndexByte("iufbcUSMmVO", text[0]) < 0 {
		return nil
	}
	size, err := strconv.Atoi(text[1:])
	if err != nil || size < 0 || size > 1<<20 {
		return nil
	}
	a := &Array{Type: text[0], Size: size, Big: string(order) == ">" || strings.HasPrefix(string(code), ">"), Title: text}
	if a.Type == 'U' {
		a.Size *= 4
	}
	return a
}

// shaped gives an array its shape; nil where that does not fit its bytes.
func (d *Document) shaped(a *Array, shape Value) *Array {
	if a.Type == 'O' {
		return nil
	}
	a.Count = 1
	ok := true
	d.Items(shape, func(v Value) bool {
		n, isInt := d.Integer(v)
		ok = isInt && n >= 0 && n <= int64(len(a.Data))+1 && len(a.Shape) < 32
		a.Shape = append(a.Shape, int(n))
		if ok {
			a.Count *= int(n)
			ok = a.Count <= len(a.Data)+1
		}
		return ok
	})
	if !ok {
		return nil
	}
	return a.fits()
}

// fits says whether the items can be read from the bytes.
func (a *Array) fits() *Array {
	if a.Size == 0 || a.Count > len(a.Data)/a.Size {
		if a.Count > 0 {
			return nil
		}
	}
	return a
}

// machineArray reads the formats 0 to 21 of array._array_reconstructor
// (Modules/arraymodule.c of CPython 3.11, enum machine_format_code).
func machineArray(format float64, data []byte) *Array {
	code := int(format)
	a := &Array{Data: data, Big: code&1 == 1}
	switch {
	case code == 0 || code == 1:
		a.Type, a.Size, a.Big = "ui"[code], 1, false
	case code >= 2 && code <= 13:
		a.Type, a.Size = "iu"[code/2%2], 2<<((code-2)/4)
	case code >= 14 && code <= 17:
		a.Type, a.Size = 'f', 4<<((code-14)/2)
	case code == 18 || code == 19:
		a.Type, a.Size = 'W', 2
	case code == 20 || code == 21:
		a.Type, a.Size = 'U', 4
	default:
		return nil
	}
	a.Title = fmt.Sprintf("%c%d", a.Type, a.Size)
	a.Count = len(data) / a.Size
	a.Shape = []int{a.Count}
	return a
}

func (a *Array) order() binary.ByteOrder {
	if a.Big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// scalar is a lone item as a plain value.
func (a *Array) scalar() Plain {
	if a.Count != 1 {
		return Plain{Kind: None, Value: valueNone}
	}
	return a.Item(0)
}

// Item is the i-th item in the order in which they are stored.
func (a *Array) Item(i int) Plain {
	b := a.Data[i*a.Size : (i+1)*a.Size]
	switch a.Type {
	case 'b':
		return Plain{Kind: Bool, Small: int64(min(b[0], 1))}
	case 'i', 'M', 'm':
		return Plain{Kind: Int, Small: signed(a.bits(b), a.Size)}
	case 'u':
		u := a.bits(b)
		if u > math.MaxInt64 {
			return Plain{Kind: Int, Int: new(big.Int).SetUint64(u)}
		}
		return Plain{Kind: Int, Small: int64(u)}
	case 'f':
		return Plain{Kind: Float, Float: a.float(b)}
	case 'c':
		half := a.Size / 2
		return Plain{Kind: Str, Text: fmt.Appendf(nil, "(%g%+gj)", a.float(b[:half]), a.float(b[half:]))}
	case 'U', 'W':
		return Plain{Kind: Str, Text: a.characters(b)}
	}
	return Plain{Kind: Bytes, Text: b}
}

// bits are the bits of an item of 1, 2, 4 or 8 bytes; 0 for other sizes.
func (a *Array) bits(b []byte) uint64 {
	switch o := a.order(); len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(o.Uint16(b))
	case 4:
		return uint64(o.Uint32(b))
	case 8:
		return o.Uint64(b)
	}
	return 0
}

func signed(u uint64, size int) int64 {
	shift := 64 - 8*min(max(size, 1), 8)
	return int64(u<<shift) >> shift
}

func (a *Array) float(b []byte) float64 {
	u := a.bits(b)
	switch len(b) {
	case 2:
		return half(uint16(u))
	case 4:
		return float64(math.Float32frombits(uint32(u)))
	case 8:
		return math.Float64frombits(u)
	}
	return math.NaN()
}

// half reads IEEE 754 binary16.
func half(u uint16) float64 {
	sign := 1.0
	if u&0x8000 != 0 {
		sign = -1
	}
	exp, frac := int(u>>10&31), float64(u&1023)
	switch exp {
	case 0:
		return sign * math.Ldexp(frac, -24)
	case 31:
		if frac == 0 {
			return sign * math.Inf(1)
		}
		return math.NaN()
	}
	return sign * math.Ldexp(1024+frac, exp-25)
}

// characters reads UCS-4 or UTF-16 text, the zeros at its end left out.
func (a *Array) characters(b []byte) []byte {
	width := 4
	if a.Type == 'W' {
		width = 2
	}
	var out []byte
	for ; len(b) >= width; b = b[width:] {
		r := rune(a.bits(b[:width]))
		if r < 0 || r > utf8.MaxRune {
			r = utf8.RuneError
		}
		out = AppendWTF8(out, r)
	}
	return []byte(strings.TrimRight(string(out), "\x00"))
}

// Ints are the integers of a list, tuple or array of integers; false when it holds
// anything else, or more than limit.
func (d *Document) Ints(v Value, limit int) ([]int, bool) {
	p := d.Plain(v)
	if p.Array != nil {
		return p.Array.ints(limit)
	}
	if k := p.Kind; k != List && k != Tuple {
		return nil, false
	}
	out := make([]int, 0, min(d.Len(p.Value), limit))
	ok := true
	d.Items(p.Value, func(x Value) bool {
		n, isInt := d.Integer(x)
		if !isInt && x.Kind() == Object {
			q := d.Plain(x)
			n, isInt = q.Small, q.Kind == Int && q.Int == nil
		}
		ok = isInt && len(out) < limit
		out = append(out, int(n))
		return ok
	})
	return out, ok
}

func (a *Array) ints(limit int) ([]int, bool) {
	if a.Type != 'i' && a.Type != 'u' || len(a.Shape) != 1 || a.Count > limit {
		return nil, false
	}
	out := make([]int, a.Count)
	for i := range out {
		p := a.Item(i)
		if p.Int != nil {
			return nil, false
		}
		out[i] = int(p.Small)
	}
	return out, true
}
