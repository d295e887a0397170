package token

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// runeRange is an inclusive range of code points.
type runeRange struct{ lo, hi rune }

// ranges is a set of code points: sorted, disjoint, not adjacent.
type ranges []runeRange

func tidy(in []runeRange) ranges {
	slices.SortFunc(in, func(a, b runeRange) int { return int(a.lo) - int(b.lo) })
	var out ranges
	for _, r := range in {
		if n := len(out); n > 0 && r.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, r.hi)
			continue
		}
		out = append(out, r)
	}
	return out
}

func tableRanges(t *unicode.RangeTable) ranges {
	var out []runeRange
	add := func(lo, hi, stride rune) {
		if stride == 1 {
			out = append(out, runeRange{lo, hi})
			return
		}
		for r := lo; r <= hi; r += stride {
			out = append(out, runeRange{r, r})
		}
	}
	for _, r := range t.R16 {
		add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	for _, r := range t.R32 {
		add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	return tidy(out)
}

func union(sets ...ranges) ranges { return tidy(slices.Concat(sets...)) }

func (r ranges) negate() ranges {
	var out ranges
	next := rune(0)
	for _, x := range r {
		if x.lo > next {
			out = append(out, runeRange{next, x.lo - 1})
		}
		next = x.hi + 1
	}
	if next <= unicode.MaxRune {
		out = append(out, runeRange{next, unicode.MaxRune})
	}
	return out
}

func (r ranges) intersect(o ranges) ranges { return union(r.negate(), o.negate()).negate() }

// fold adds what simple case folding makes equal to a member: s brings S and ſ.
func (r ranges) fold() ranges {
	var out []runeRange
	for _, x := range r {
		if x.hi-x.lo > 4096 { // only written-out letters are ever folded; a whole property folds into itself
			continue
		}
		for c := x.lo; c <= x.hi; c++ {
			for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
				out = append(out, runeRange{f, f})
			}
		}
	}
	return union(r, out)
}

// runeSet answers membership in constant time: one bit for each code point of
// the first plane, a search above it.
type runeSet struct {
	ascii [utf8.RuneSelf]bool
	bits  [1 << 10]uint64
	above ranges
}

func newRuneSet(r ranges) *runeSet {
	s := &runeSet{}
	for _, x := range r {
		for c := x.lo; c <= min(x.hi, 0xFFFF); c++ {
			s.bits[c>>6] |= 1 << (c & 63)
			if c < utf8.RuneSelf {
				s.ascii[c] = true
			}
		}
		if x.hi > 0xFFFF {
			s.above = append(s.above, runeRange{max(x.lo, 0x10000), x.hi})
		}
	}
	return s
}

func (s *runeSet) has(c rune) bool {
	if c <= 0xFFFF {
		return s.bits[c>>6]>>(c&63)&1 != 0
	}
	lo, hi := 0, len(s.above)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		switch {
		case c < s.above[m].lo:
			hi = m
		case c > s.above[m].hi:
			lo = m + 1
		default:
			return true
		}
	}
	return false
}

// step is the length of the character at the start of text when the set has
// it, else 0.
func (s *runeSet) step(text string, at int) int {
	if at >= len(text) {
		return 0
	}
	if b := text[at]; b < utf8.RuneSelf {
		if s.ascii[b] {
			return 1
		}
		return 0
	}
	c, n := utf8.DecodeRuneInString(text[at:])
	if s.has(c) {
		return n
	}
	return 0
}
