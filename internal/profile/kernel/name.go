package kernel

import (
	"regexp"
	"strings"

	"github.com/ianlancetaylor/demangle"
)

// Parse reads the name of a kernel. It takes tens of microseconds: parse each
// distinct name once.
func Parse(raw string) Name {
	canonical := Canonical(raw)
	class, _ := classify(canonical)
	return Name{Raw: raw, Canonical: canonical, Short: short(canonical), Class: class}
}

// ParseCopy reads the name of a device-side copy (gpu_memcpy) or fill
// (gpu_memset). Such names are sentences of the profiler, "Memcpy HtoD (Pageable
// -> Device)": their parenthesis is no parameter list, and their class is memory
// whatever they say. memset names the fill that has no name.
func ParseCopy(raw string, memset bool) Name {
	canonical := blanks(raw)
	if canonical == "" {
		canonical = "Memcpy"
		if memset {
			canonical = "Memset"
		}
	}
	return Name{Raw: raw, Canonical: canonical, Short: canonical, Class: Memory}
}

// maxMangled is the longest mangled name that is read, in bytes. The longest met
// in 4,475 is 5,160; a hostile one costs time by the square of its length (a
// tenth of a second at this one).
const maxMangled = 8 << 10

// maxDemangled bounds what a mangled name, whose parts may refer to one another,
// expands to: 2 to this power bytes.
const maxDemangled = 17

// Canonical is the name by which rows are grouped: demangled, blanks and
// addresses made uniform, without clone suffix and parameter list. Canonical of
// a canonical name is that name.
func Canonical(raw string) string {
	name := blanks(raw)
	for range 4 { // a cut may uncover a mangled name; twice is already contrived
		before := name
		name = cutParameters(demangled(cutClone(name)))
		name = address.ReplaceAllString(blanks(name), "0xADDR")
		if name == before {
			break
		}
	}
	return name
}

// address is a number in hexadecimal that stands alone: the 0x256 within a tile
// MT320x256x64 does not.
var address = regexp.MustCompile(`\b0x[0-9a-fA-F]+\b`)

// blanks makes every run of white space one blank and trims the ends.
func blanks(s string) string { return strings.Join(strings.Fields(s), " ") }

// cutClone takes the marks of a compiled copy off: ".kd" (AMD kernel descriptor)
// and " [clone .kd]".
func cutClone(name string) string {
	for {
		before := name
		if cut := strings.LastIndex(name, "[clone "); cut > 0 && strings.HasSuffix(name, "]") && !strings.Contains(name[cut:len(name)-1], "]") {
			name = strings.TrimRight(name[:cut], " ")
		}
		if cut := strings.TrimSuffix(name, ".kd"); cut != "" {
			name = cut
		}
		if name == before {
			return name
		}
	}
}

// demangled spells out an Itanium-mangled name (_Z…) and leaves every other one,
// Tensile's and Triton's among them, as it is.
func demangled(name string) string {
	if !strings.HasPrefix(name, "_Z") || len(name) > maxMangled {
		return name
	}
	text, err := demangle.ToString(name, demangle.NoClones, demangle.MaxLength(maxDemangled))
	if err != nil || text == "" {
		return name
	}
	return text
}

// cutParameters takes off the parameter list, and a const after it, of any
// function: "void f<T>(int)" and "std::enable_if<…>::type f<T>(int)" alike. A
// parenthesis after a blank, after :: or of operator() is none.
func cutParameters(name string) string {
	for {
		text := strings.TrimSuffix(name, " const")
		open := openingParenthesis(text)
		if open <= 0 || strings.HasSuffix(text[:open], "operator") {
			return name
		}
		if before := text[open-1]; before == ' ' || before == ':' || before == '(' || before == '&' {
			return name
		}
		name = text[:open]
	}
}

// openingParenthesis is where the parenthesis that ends a name opens, -1 if it
// ends in none.
func openingParenthesis(name string) int {
	if !strings.HasSuffix(name, ")") {
		return -1
	}
	depth := 0
	for i := len(name) - 1; i >= 0; i-- {
		switch name[i] {
		case ')':
			depth++
		case '(':
			depth--
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}
