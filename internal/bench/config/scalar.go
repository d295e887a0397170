package config

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"llmdyno/internal/engine"
)

// Plain scalars are read by the rules of YAML 1.1, as the upstream tools do
// (PyYAML 6.0.3, yaml/resolver.py and yaml/constructor.py): "on" is true, 010 is
// eight, 1:30 is ninety, 1e3 without a point is text.
var (
	yamlNull = regexp.MustCompile(`^(?:~|null|Null|NULL|)$`)
	yamlBool = regexp.MustCompile(`^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$`)
	yamlInt  = regexp.MustCompile(`^(?:[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$`)
	yamlFlt  = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
)

// scalar reads one scalar node. The problem is a text without the key path.
func scalar(n *yaml.Node) (v Value, problem string) {
	v = Value{Kind: engine.ValueString, Raw: n.Value, str: n.Value, Pos: Pos{n.Line, n.Column}}
	tagged := n.Style&yaml.TaggedStyle != 0
	v.Plain = n.Style&^(yaml.TaggedStyle|yaml.FlowStyle) == 0
	switch {
	case !validText(n.Value):
		return v, "the text holds a NUL or is not UTF-8, which no command line can carry"
	case tagged:
		return taggedScalar(n, v)
	case !v.Plain:
		return v, ""
	}
	return plainScalar(v)
}

func plainScalar(v Value) (Value, string) {
	switch text := v.Raw; {
	case yamlNull.MatchString(text):
		v.Kind = engine.ValueNull
	case yamlBool.MatchString(text):
		v.Kind = engine.ValueBool
		v.bool = strings.Contains("yes true on", strings.ToLower(text))
	case yamlInt.MatchString(text):
		n, ok := yamlInteger(text)
		if !ok {
			return v, fmt.Sprintf("%q is not a number", short(text))
		}
		v.Kind, v.int = engine.ValueInt, n
	case yamlFlt.MatchString(text):
		f := yamlFloat(text)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return v, fmt.Sprintf("%s is not a finite number", short(text))
		}
		v.Kind, v.float = engine.ValueFloat, f
	}
	return v, ""
}

// taggedScalar reads a scalar that carries its type, as in !!str 8.
func taggedScalar(n *yaml.Node, v Value) (Value, string) {
	if n.Tag == "!!str" || n.Tag == "!" {
		return v, ""
	}
	want := map[string]engine.ValueKind{"!!null": engine.ValueNull, "!!bool": engine.ValueBool, "!!int": engine.ValueInt, "!!float": engine.ValueFloat}
	kind, known := want[n.Tag]
	got, problem := plainScalar(v)
	switch {
	case !known:
		return v, fmt.Sprintf("the tag %s is not read here: remove it", short(n.Tag))
	case problem != "":
		return v, problem
	case kind == engine.ValueFloat && got.Kind == engine.ValueInt:
		got.float, _ = got.Number()
		got.Kind = engine.ValueFloat
	case kind != got.Kind:
		return v, fmt.Sprintf("%q is not a %s", short(n.Value), strings.TrimPrefix(n.Tag, "!!"))
	}
	return got, ""
}

// yamlInteger reads the integer forms of YAML 1.1. Its length bounds the work.
func yamlInteger(text string) (*big.Int, bool) {
	if len(text) > 100 {
		return nil, false
	}
	text = strings.ReplaceAll(text, "_", "")
	negative := strings.HasPrefix(text, "-")
	digits := strings.TrimLeft(text, "+-")
	n, ok := new(big.Int), true
	switch {
	case strings.HasPrefix(digits, "0b"):
		_, ok = n.SetString(digits[2:], 2)
	case strings.HasPrefix(digits, "0x"):
		_, ok = n.SetString(digits[2:], 16)
	case strings.Contains(digits, ":"):
		for part := range strings.SplitSeq(digits, ":") {
			p, _ := new(big.Int).SetString(part, 10)
			n.Add(n.Mul(n, big.NewInt(60)), p)
		}
	case len(digits) > 1 && digits[0] == '0':
		_, ok = n.SetString(digits, 8)
	default:
		_, ok = n.SetString(digits, 10)
	}
	if negative && ok {
		n.Neg(n)
	}
	return n, ok
}

// yamlFloat reads the float forms of YAML 1.1.
func yamlFloat(text string) float64 {
	text = strings.ToLower(strings.ReplaceAll(text, "_", ""))
	sign := 1.0
	if strings.HasPrefix(text, "-") {
		sign = -1
	}
	text = strings.TrimLeft(text, "+-")
	switch text {
	case ".inf":
		return math.Inf(int(sign))
	case ".nan":
		return math.NaN()
	}
	total := 0.0
	for part := range strings.SplitSeq(text, ":") {
		f, _ := strconv.ParseFloat(part, 64) // out of range is ±Inf, refused by the caller
		total = total*60 + f
	}
	return sign * total
}

// trap says how YAML 1.1 reads a plain scalar that people mean otherwise; "" =
// no trap.
func (v Value) trap() string {
	if !v.Plain {
		return ""
	}
	switch lower := strings.ToLower(v.Raw); {
	case v.Kind == engine.ValueBool && lower != "true" && lower != "false":
		return fmt.Sprintf("YAML 1.1 reads the plain word %s as %t; write %t, or %q for the word", v.Raw, v.bool, v.bool, v.Raw)
	case v.Kind == engine.ValueInt && strings.Contains(v.Raw, ":"):
		return fmt.Sprintf("YAML 1.1 reads %s as the base-60 number %s; quote it if it is text", v.Raw, v.int)
	case v.Kind == engine.ValueInt && len(v.Raw) > 1 && strings.TrimLeft(v.Raw, "+-")[0] == '0' && !strings.ContainsAny(lower, "xb"):
		return fmt.Sprintf("YAML 1.1 reads %s as the octal number of value %s; drop the leading zero, or quote it", v.Raw, v.int)
	}
	return ""
}

// describe names a value in an error: the integer 8, the text "fast", a list.
func (v Value) describe() string {
	switch v.Kind {
	case engine.ValueNull:
		return "null"
	case engine.ValueBool:
		if t := v.trap(); t != "" {
			return fmt.Sprintf("the boolean %t (%s)", v.bool, t)
		}
		return fmt.Sprintf("the boolean %t", v.bool)
	case engine.ValueInt:
		return "the integer " + short(v.Raw)
	case engine.ValueFloat:
		return "the float " + short(v.Raw)
	case engine.ValueList:
		return "a list"
	case engine.ValueMap:
		return "a mapping"
	}
	return fmt.Sprintf("the text %q", short(v.str))
}

// short keeps a quoted value from filling the screen.
func short(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
