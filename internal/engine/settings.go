package engine

import "slices"

// ValueKind is the kind of a setting's value.
type ValueKind int

// The kinds of values. Null and false are different from absent.
const (
	ValueNull ValueKind = iota
	ValueBool
	ValueInt
	ValueFloat
	ValueString
	ValueList
	ValueMap
)

// Value is the value of one flag in one candidate.
type Value struct {
	Kind ValueKind
	// Text is the value as a command line shows it: "0.9", "lpm", "true".
	// Lists and maps hold their JSON text.
	Text string
	List []Value // elements of a list
}

// Bool, Int-like and String values by their text.
func (v Value) String() string { return v.Text }

// Setting is one flag with its value.
type Setting struct {
	Key   string
	Value Value
}

// Settings are flags in the order in which the command line carries them.
// Keys are unique.
type Settings []Setting

// Get finds the value of a key.
func (s Settings) Get(key string) (Value, bool) {
	for _, x := range s {
		if x.Key == key {
			return x.Value, true
		}
	}
	return Value{}, false
}

// With returns a copy in which key has the value: in place where the key is
// already present, else at the end. The receiver is left as it was.
func (s Settings) With(key string, v Value) Settings {
	out := slices.Clone(s)
	for i := range out {
		if out[i].Key == key {
			out[i].Value = v
			return out
		}
	}
	return append(out, Setting{key, v})
}
