package config

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"llmdyno/internal/engine"
)

// Value is one YAML value of a flag, kept as the types of YAML 1.1, which is
// what the upstream tools read: their command text, and which candidates they
// take for equal, follow from these types.
type Value struct {
	Kind  engine.ValueKind
	Raw   string // the scalar as written, without quotes
	Plain bool   // written without quotes
	Pos   Pos

	bool  bool
	int   *big.Int
	float float64
	str   string
	list  []Value
	pairs []pair
}

// pair is one entry of a map value; YAML allows any value as a key.
type pair struct{ key, value Value }

// Bool is the value of a boolean.
func (v Value) Bool() bool { return v.bool }

// Int is the value as an integer; ok is false for every other kind and for one
// outside of int64.
func (v Value) Int() (n int64, ok bool) {
	if v.Kind != engine.ValueInt || !v.int.IsInt64() {
		return 0, false
	}
	return v.int.Int64(), true
}

// Number is the value of an integer or a float.
func (v Value) Number() (float64, bool) {
	switch v.Kind {
	case engine.ValueInt:
		f, _ := new(big.Float).SetInt(v.int).Float64()
		return f, true
	case engine.ValueFloat:
		return v.float, true
	}
	return 0, false
}

// pythonFloat is repr() of a Python float: the shortest digits that read back
// to the same number, with an exponent below 1e-4 and from 1e16 on.
func pythonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		return map[bool]string{true: "inf", false: "-inf"}[f > 0]
	}
	sci := strconv.FormatFloat(f, 'e', -1, 64)
	_, exp, _ := strings.Cut(sci, "e")
	if n, _ := strconv.Atoi(exp); n < -4 || n >= 16 {
		return sci
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// same is a key under which two values meet exactly when Python's == holds
// between them: true, 1 and 1.0 are one value, maps ignore order.
func (v Value) same() string {
	switch v.Kind {
	case engine.ValueNull:
		return "null"
	case engine.ValueBool:
		return map[bool]string{true: "n1", false: "n0"}[v.bool]
	case engine.ValueInt:
		return "n" + v.int.String()
	case engine.ValueFloat:
		if v.float == math.Trunc(v.float) && !math.IsInf(v.float, 0) {
			n, _ := big.NewFloat(v.float).Int(nil)
			return "n" + n.String()
		}
		return "f" + pythonFloat(v.float)
	case engine.ValueList:
		parts := make([]string, len(v.list))
		for i, x := range v.list {
			parts[i] = x.same()
		}
		return "[" + strings.Join(parts, ",") + "]"
	case engine.ValueMap:
		parts := make([]string, len(v.pairs))
		for i, p := range v.pairs {
			parts[i] = p.key.same() + ":" + p.value.same()
		}
		return "{" + strings.Join(sorted(parts), ",") + "}"
	}
	return "s" + strconv.Quote(v.str)
}

// JSON is the value as compact JSON, map keys in file order.
func (v Value) JSON() string {
	switch v.Kind {
	case engine.ValueNull:
		return "null"
	case engine.ValueBool:
		return strconv.FormatBool(v.bool)
	case engine.ValueInt:
		return v.int.String()
	case engine.ValueFloat:
		return pythonFloat(v.float)
	case engine.ValueList:
		parts := make([]string, len(v.list))
		for i, x := range v.list {
			parts[i] = x.JSON()
		}
		return "[" + strings.Join(parts, ",") + "]"
	case engine.ValueMap:
		parts := make([]string, len(v.pairs))
		for i, p := range v.pairs {
			parts[i] = jsonString(p.key.plainText()) + ":" + p.value.JSON()
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	return jsonString(v.str)
}

// plainText is the value as a person writes it in YAML or JSON: true, null, 0.9.
func (v Value) plainText() string {
	if v.Kind == engine.ValueString {
		return v.str
	}
	return v.JSON()
}

// Engine is the value as the rest of the house sees it.
func (v Value) Engine() engine.Value {
	out := engine.Value{Kind: v.Kind, Text: v.plainText()}
	for _, x := range v.list {
		out.List = append(out.List, x.Engine())
	}
	return out
}

// Any is the value as encoding/json knows it. Integers stay exact where they
// fit into int64.
func (v Value) Any() any {
	switch v.Kind {
	case engine.ValueNull:
		return nil
	case engine.ValueBool:
		return v.bool
	case engine.ValueInt:
		if n, ok := v.Int(); ok {
			return n
		}
		f, _ := v.Number()
		return f
	case engine.ValueFloat:
		return v.float
	case engine.ValueList:
		out := make([]any, len(v.list))
		for i, x := range v.list {
			out[i] = x.Any()
		}
		return out
	case engine.ValueMap:
		out := make(map[string]any, len(v.pairs))
		for _, p := range v.pairs {
			out[p.key.plainText()] = p.value.Any()
		}
		return out
	}
	return v.str
}

// Any is the body as encoding/json knows it; nil when it is empty.
func (b Body) Any() map[string]any {
	if len(b) == 0 {
		return nil
	}
	out := make(map[string]any, len(b))
	for _, f := range b {
		out[f.Key] = f.Value.Any()
	}
	return out
}

// Get finds the value of a key.
func (f Flags) Get(key string) (Value, bool) {
	for _, x := range f {
		if x.Key == key {
			return x.Value, true
		}
	}
	return Value{}, false
}

// with is f with the value laid over it: in place, else at the end.
func (f Flags) with(key string, v Value) Flags {
	out := append(make(Flags, 0, len(f)+1), f...)
	for i := range out {
		if out[i].Key == key {
			out[i].Value = v
			return out
		}
	}
	return append(out, Flag{key, v})
}

// Settings are the flags as the rest of the house sees them.
func (f Flags) Settings() engine.Settings {
	out := make(engine.Settings, len(f))
	for i, x := range f {
		out[i] = engine.Setting{Key: x.Key, Value: x.Value.Engine()}
	}
	return out
}

// Axis finds the values of a searched key.
func (s Space) Axis(key string) (Axis, bool) {
	for _, a := range s {
		if a.Key == key {
			return a, true
		}
	}
	return Axis{}, false
}

// validText says whether s may stand in an argument of a command line.
func validText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
