package token

import (
	"slices"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func TestUnicodeTableIsWhole(t *testing.T) {
	for _, name := range []string{"L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "N", "P", "S", "Z", "Nd", "Han", "space", "word", "rust-word", "rust-numeric",
		"old-punctuation", "bert-clean", "bert-accents", "accents", "unknown-forms"} {
		set := named(name)
		if len(set) == 0 || !slices.Equal(set, tidy(slices.Clone(set))) {
			t.Errorf("%s: %d ranges; expected some, sorted and apart", name, len(set))
		}
		for _, r := range set {
			if r.lo < 0 || r.hi < r.lo || r.hi > unicode.MaxRune {
				t.Errorf("%s: the range %x to %x", name, r.lo, r.hi)
			}
		}
	}
	if len(tables().lower) == 0 {
		t.Error("no lower-case pairs")
	}
	if l := union(named("Lu"), named("Ll"), named("Lt"), named("Lm"), named("Lo")); !slices.Equal(l, named("L")) {
		t.Error("the kinds of letters do not make up the letters")
	}
}

func TestSetsAreSets(t *testing.T) {
	gen := rapid.Custom(func(t *rapid.T) ranges {
		var out []runeRange
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			lo := rune(rapid.IntRange(0, unicode.MaxRune).Draw(t, "lo"))
			out = append(out, runeRange{lo, min(lo+rune(rapid.IntRange(0, 70000).Draw(t, "len")), unicode.MaxRune)})
		}
		return tidy(out)
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		both, either, notA := newRuneSet(a.intersect(b)), newRuneSet(union(a, b)), newRuneSet(a.negate())
		inA, inB := newRuneSet(a), newRuneSet(b)
		for range 20 {
			c := rune(rapid.IntRange(0, unicode.MaxRune).Draw(t, "c"))
			if both.has(c) != (inA.has(c) && inB.has(c)) || either.has(c) != (inA.has(c) || inB.has(c)) || notA.has(c) == inA.has(c) {
				t.Fatalf("%x: a %v, b %v, both %v, either %v, not a %v", c, inA.has(c), inB.has(c), both.has(c), either.has(c), notA.has(c))
			}
		}
	})
}

// The long way to a normal form ends where package norm does, as long as that
// one does not put joiners in.
func TestLongFormIsTheForm(t *testing.T) {
	chars := []rune("aeosSDqñÅ각가각\u0301\u0323\u0307\u0302\u0345\u0315\u031b\u0e49Ṩﬁ½Ａ①क्षि")
	for _, f := range []norm.Form{norm.NFC, norm.NFD, norm.NFKC, norm.NFKD} {
		rapid.Check(t, func(t *rapid.T) {
			s := rapid.StringOfN(rapid.SampledFrom(chars), 0, 18, -1).Draw(t, "s")
			if got, want := longForm(f, s), f.String(s); got != want {
				t.Fatalf("form %d of %+q: %+q; expected %+q", f, s, got, want)
			}
		})
	}
}
