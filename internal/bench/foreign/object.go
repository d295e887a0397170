package foreign

import (
	"encoding/json"
	"math"
	"strings"
)

// object is a decoded JSON object whose numbers are json.Number.
type object map[string]any

// at is the value at a path; nil when there is none.
func (o object) at(path ...string) any {
	var v any = map[string]any(o)
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

func (o object) object(path ...string) object {
	m, _ := o.at(path...).(map[string]any)
	return m
}

func (o object) list(path ...string) []any {
	l, _ := o.at(path...).([]any)
	return l
}

func (o object) text(path ...string) string {
	s, _ := o.at(path...).(string)
	return strings.TrimSpace(s)
}

func (o object) has(path ...string) bool { return o.at(path...) != nil }

// finite is the value of a number; false for anything else.
func finite(v any) (float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	x, err := n.Float64()
	return x, err == nil && !math.IsInf(x, 0) && !math.IsNaN(x)
}

// numbers are the numbers of a list, null left out; false when one is something
// else or negative.
func numbers(list []any) ([]float64, bool) {
	out := make([]float64, 0, len(list))
	for _, v := range list {
		if v == nil {
			continue
		}
		x, ok := finite(v)
		if !ok || x < 0 {
			return nil, false
		}
		out = append(out, x)
	}
	return out, true
}

// taker reads the fields of one object into a row and remembers what it could
// not read.
type taker struct {
	object
	problems []string
}

const maxRowProblems = 40

func (t *taker) problem(text string) {
	if len(t.problems) < maxRowProblems {
		t.problems = append(t.problems, text)
	}
}

// number is a figure of at least 0; nil when it is absent, null, or unreadable,
// which is a problem.
func (t *taker) number(path ...string) *float64 {
	v := t.at(path...)
	if v == nil {
		return nil
	}
	x, ok := finite(v)
	switch {
	case !ok:
		t.problem(strings.Join(path, ".") + ": expected a number, got " + kindOf(v) + ": left out")
	case x < 0:
		t.problem(strings.Join(path, ".") + ": expected a number of at least 0, got " + kindOf(v) + ": left out")
	default:
		return &x
	}
	return nil
}

// scaled is a figure times a factor.
func (t *taker) scaled(factor float64, path ...string) *float64 {
	x := t.number(path...)
	if x != nil {
		*x *= factor
	}
	return x
}

// count is a whole number of at least 0.
func (t *taker) count(path ...string) *int {
	n := t.count64(path...)
	if n == nil || *n > math.MaxInt32 {
		return nil
	}
	x := int(*n)
	return &x
}

func (t *taker) count64(path ...string) *int64 {
	x := t.number(path...)
	if x == nil {
		return nil
	}
	const exact = 1 << 53
	if *x != math.Trunc(*x) || *x > exact {
		t.problem(strings.Join(path, ".") + ": expected a whole number, got " + kindOf(t.at(path...)) + ": left out")
		return nil
	}
	n := int64(*x)
	return &n
}

// rate is a rate per second; nil when there is none: null, "inf".
func (t *taker) rate(path ...string) *float64 {
	if s, ok := t.at(path...).(string); ok && endless(s) {
		return nil
	}
	x := t.number(path...)
	if x != nil && *x == 0 {
		return nil
	}
	return x
}

func endless(s string) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "inf", "+inf", "infinity", "none", "":
		return true
	}
	return false
}

func (t *taker) truth(path ...string) *bool {
	b, ok := t.at(path...).(bool)
	if !ok {
		return nil
	}
	return &b
}

func (t *taker) seed(path ...string) *uint64 {
	n := t.count64(path...)
	if n == nil {
		return nil
	}
	u := uint64(*n)
	return &u
}

func ptr[T any](v T) *T { return &v }
