package token

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"
)

// unicodeText holds which characters the reference library counts to which
// property, asked of it character by character (testdata/gen/unicode.py): its
// parts know different versions of Unicode, and none is that of the Go release.
//
//go:embed unicode.txt
var unicodeText string

type charTables struct {
	sets  map[string]ranges
	lower map[rune]rune // where it differs from unicode.ToLower of Unicode 15
}

var tables = sync.OnceValue(func() charTables {
	t := charTables{map[string]ranges{}, map[rune]rune{}}
	for line := range strings.Lines(unicodeText) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		for item := range strings.FieldsSeq(rest) {
			switch {
			case name == "#":
			case name == "lower":
				from, to, _ := strings.Cut(item, ">")
				t.lower[hexRune(from)] = hexRune(to)
			default:
				lo, hi, ranged := strings.Cut(item, "-")
				if !ranged {
					hi = lo
				}
				t.sets[name] = append(t.sets[name], runeRange{hexRune(lo), hexRune(hi)})
			}
		}
	}
	return t
})

func hexRune(s string) rune {
	v, err := strconv.ParseInt(s, 16, 32)
	if err != nil {
		return -1 // a test holds the file to be free of these
	}
	return rune(v)
}

// named is a set of the table.
func named(name string) ranges { return tables().sets[name] }

var runeSets sync.Map // name → *runeSet

// chars is a set of the table, ready to be asked.
func chars(name string) *runeSet {
	if s, ok := runeSets.Load(name); ok {
		return s.(*runeSet)
	}
	s, _ := runeSets.LoadOrStore(name, newRuneSet(named(name)))
	return s.(*runeSet)
}
