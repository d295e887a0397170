package artifact

import (
	"regexp"
	"strings"
)

// nameWords finds the words that a secret's name ends in; the scanner looks at
// the whole name around each.
var nameWords = regexp.MustCompile(`(?i)token|key|secret|passw|passphrase|passcode|pwd|auth|credential|cookie|_pat\b`)

// nameHints are the literals of nameWords, for the prefilter.
var nameHints = []string{"token", "key", "secret", "passw", "passphrase", "passcode", "pwd", "auth", "credential", "cookie", "_pat"}

// span is a part of a text, half-open, with the rule that hides it.
type span struct {
	lo, hi int
	id     string
}

const assignID = "assignment"

// assignments finds the values of secret names in free text: NAME=v, name: v,
// "name": "v", --name v, --name=v, "--name", "v", and name/value pairs. open
// says that the text ends where a value may still follow on the next line.
func assignments(s string) (spans []span, open bool) {
	end := 0
	for _, hit := range nameWords.FindAllStringIndex(s, -1) {
		if hit[0] < end {
			continue
		}
		lo, hi := nameAround(s, hit[0], hit[1])
		end = hi
		kind := classify(s[lo:hi])
		if kind == notSecret {
			continue
		}
		a := assignment{s: s, name: s[lo:hi], lo: lo, kind: kind}
		found, more := a.value(hi)
		open = open || more
		for _, f := range found {
			spans = append(spans, f)
			end = max(end, f.hi)
		}
	}
	return spans, open
}

func nameChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
}

// nameAround widens a word to the whole name; the letter of an escape before
// it (…\napi_key) is no part of it.
func nameAround(s string, lo, hi int) (int, int) {
	word := lo
	for lo > 0 && nameChar(s[lo-1]) && word-lo < 200 {
		lo--
	}
	if lo > 0 && s[lo-1] == '\\' && lo < word && strings.IndexByte("abfnrtv", s[lo]) >= 0 {
		lo++
	}
	for hi < len(s) && nameChar(s[hi]) && hi-word < 200 {
		hi++
	}
	return lo, hi
}

type assignment struct {
	s    string
	name string
	lo   int
	kind strength
}

var (
	separator = regexp.MustCompile(`^\]?\)?[ \t]*(?::=|=>|==|[:=])[ \t]*`)
	flagGap   = regexp.MustCompile(`^(?:[ \t]+|[ \t]*\\?\r?\n[ \t]*(?:- +)?)`)
	listGap   = regexp.MustCompile(`^[ \t]*,?\s*`)
	pairGap   = regexp.MustCompile(`^[ \t]*,?\s*(?:\\?["'])?(?i:value)(?:\\?["'])?[ \t]*[:=][ \t]*`)
	metavar   = regexp.MustCompile(`^[A-Z][A-Z_]*$`)
)

// quotes that open a value, the longest first, with what closes it.
var quotes = []string{`\\\"`, `\"`, `\'`, `&quot;`, `&#34;`, `&#39;`, `"`, `'`, "`"}

func quoteAt(s string) string {
	for _, q := range quotes {
		if strings.HasPrefix(s, q) {
			return q
		}
	}
	return ""
}

// value reads what follows a name that ends at p.
func (a assignment) value(p int) (found []span, open bool) {
	rest := a.s[p:]
	q := quoteAt(rest)
	if q != "" {
		rest = rest[len(q):]
	}
	if m := separator.FindString(rest); m != "" {
		return a.assigned(len(a.s)-len(rest)+len(m), q != ""), false
	}
	if m := pairGap.FindString(rest); m != "" {
		return a.assigned(len(a.s)-len(rest)+len(m), q != ""), false
	}
	if !strings.HasPrefix(a.name, "-") {
		return nil, strings.TrimRight(rest, " \t\r\n,") == ""
	}
	return a.flag(rest, q)
}

// flag reads the value of a command-line option that stands in the next word.
func (a assignment) flag(rest, q string) (found []span, open bool) {
	if strings.TrimRight(rest, " \t\r\n,\\-") == "" {
		return nil, true
	}
	gap := flagGap.FindString(rest)
	if q != "" {
		gap = listGap.FindString(rest)
		if quoteAt(rest[len(gap):]) == "" {
			return nil, false
		}
	}
	if gap == "" {
		return nil, false
	}
	at := len(a.s) - len(rest) + len(gap)
	lo, hi, quoted := scalar(a.s, at)
	v := a.s[lo:hi]
	if strings.HasPrefix(v, "-") || !quoted && (metavar.MatchString(v) || prose(v, gap)) {
		return nil, false
	}
	kind := a.kind
	if kind == weak {
		kind = keyLike
	}
	return a.hide(kind, lo, hi), false
}

// prose tells a sentence of a help text from a value: short words of small
// letters, or anything behind the wide gap before a description.
func prose(v, gap string) bool {
	plain := strings.Trim(v, "abcdefghijklmnopqrstuvwxyz") == ""
	wide := len(strings.TrimLeft(gap, "\r\n\\-")) > 1 && !strings.Contains(gap, "\n")
	return plain && len(v) < 8 || wide && !strings.ContainsAny(v, "0123456789")
}

// assigned reads the value that begins at p.
func (a assignment) assigned(p int, quotedName bool) []span {
	if strings.HasPrefix(a.s[p:], "[") && !strings.HasPrefix(a.s[p:], markOpen) {
		return a.list(p + 1)
	}
	lo, hi, quoted := scalar(a.s, p)
	if !quoted && !quotedName {
		if a.kind == headerLike {
			hi = headerEnd(a.s, lo)
		} else if a.kind == passwordLike && a.startsLine() {
			hi = lineEnd(a.s, lo)
		}
	}
	if v := a.s[lo:hi]; !quoted && (v == "" || v[0] == '|' || v[0] == '>') {
		return a.block(p)
	}
	return a.hide(a.kind, lo, hi)
}

func (a assignment) hide(kind strength, lo, hi int) []span {
	if !hides(kind, a.s[lo:hi]) {
		return nil
	}
	id := assignID
	if kind == headerLike {
		id = "header"
	}
	return []span{{lo, hi, id}}
}

// list hides the quoted words up to the closing bracket.
func (a assignment) list(p int) (found []span) {
	for p < len(a.s) && a.s[p] != ']' {
		if quoteAt(a.s[p:]) == "" {
			p++
			continue
		}
		lo, hi, _ := scalar(a.s, p)
		found = append(found, a.hide(a.kind, lo, hi)...)
		p = max(hi+1, p+1)
	}
	return found
}

// block hides a YAML block scalar: the lines below that are indented deeper
// than the line of the name.
func (a assignment) block(p int) []span {
	head := lineEnd(a.s, p)
	mark := strings.TrimSpace(a.s[p:head])
	if mark == "" || strings.Trim(mark, "|>+-0123456789") != "" {
		return nil
	}
	start := strings.LastIndexByte(a.s[:a.lo], '\n') + 1
	deep := indent(a.s[start:])
	lo, hi := -1, -1
	for at := head + 1; at < len(a.s); {
		end := lineEnd(a.s, at)
		line := a.s[at:end]
		if strings.TrimSpace(line) != "" {
			if indent(line) <= deep {
				break
			}
			if lo < 0 {
				lo = at + indent(line)
			}
			hi = end
		}
		at = end + 1
	}
	if lo < 0 {
		return nil
	}
	return a.hide(a.kind, lo, hi)
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// startsLine: nothing but indentation, a list mark or "export" stands before
// the name.
func (a assignment) startsLine() bool {
	before := a.s[strings.LastIndexByte(a.s[:a.lo], '\n')+1 : a.lo]
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(before), "export"), " \t-") == ""
}

func lineEnd(s string, from int) int {
	if i := strings.IndexAny(s[from:], "\r\n"); i >= 0 {
		return from + i
	}
	return len(s)
}

// headerEnd is where a header's value ends: at a quote or the end of the line.
func headerEnd(s string, from int) int {
	if i := strings.IndexAny(s[from:], "\r\n\"'`\\"); i >= 0 {
		return from + i
	}
	return len(s)
}

// scalar is the extent of the value that begins at p, without its quotes.
func scalar(s string, p int) (lo, hi int, quoted bool) {
	if p+1 < len(s) && strings.IndexByte("bru", s[p]) >= 0 && (s[p+1] == '"' || s[p+1] == '\'') {
		p++
	}
	q := quoteAt(s[p:])
	if q == "" {
		if i := strings.IndexAny(s[p:], " \t\r\n\"'`,;&|<>)}]\\"); i >= 0 {
			if i == 0 || !strings.HasPrefix(s[p:], markOpen) {
				return p, p + i, false
			}
			return p, p + i + 1, false
		}
		return p, len(s), false
	}
	lo = p + len(q)
	end := lineEnd(s, lo)
	for i := lo; i < end; i++ {
		if strings.HasPrefix(s[i:], q) {
			return lo, i, true
		}
		if s[i] == '\\' && (q == `"` || q == `'`) && i+1 < end {
			i++
		}
	}
	return lo, end, true
}
