package kernel

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
)

//go:embed classes.txt
var classesText string

// Rule is one line of the classifier: a class, the terms that claim a name for
// it, and where they come from.
type Rule struct {
	Class  Class
	Source string // repository or document, and when it was looked at
	Terms  []Term
}

// Term is one text that is looked for in the plain form of a canonical name.
type Term struct {
	Text    string // as in classes.txt, whose head explains the notation
	Example string // a name that the rule claims by this term

	alternatives []pattern
}

// Rules are the rules of the classifier, in the order in which they are tried.
func Rules() []Rule { return rules() }

var rules = sync.OnceValue(func() []Rule {
	list, err := parseRules(classesText)
	if err != nil {
		panic("kernel: classes.txt: " + err.Error()) // our own file, read by every test
	}
	return list
})

// parseRules reads the form that the head of classes.txt describes.
func parseRules(text string) ([]Rule, error) {
	var list []Rule
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			class, source, ok := strings.Cut(line[1:], "] ")
			if !ok || !known(Class(class)) {
				return nil, fmt.Errorf("line %d: want \"[class] source\" with a known class, have %q", n, line)
			}
			list = append(list, Rule{Class: Class(class), Source: source})
		case len(list) == 0:
			return nil, fmt.Errorf("line %d: a term before the first [class]", n)
		default:
			term, example, ok := strings.Cut(line, "  ")
			if !ok {
				return nil, fmt.Errorf("line %d: want a term, two blanks and an example, have %q", n, line)
			}
			alternatives, err := parseTerm(term)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			rule := &list[len(list)-1]
			rule.Terms = append(rule.Terms, Term{Text: term, Example: strings.TrimSpace(example), alternatives: alternatives})
		}
	}
	return list, nil
}

// claims reports whether the term stands in a name of plain form.
func (t *Term) claims(plain string) bool {
	for i := range t.alternatives {
		if t.alternatives[i].find(plain) {
			return true
		}
	}
	return false
}

// pattern is a term with its choices made: literal pieces with a gap between
// them, and what may not stand beside them.
type pattern struct {
	pieces          []piece
	left, right     bool // no letter before the first piece, after the last
	atStart, atEnd  bool
	notNext         byte // this letter may not follow the last piece; 0: any may
	firstIsOnlyText bool // one piece and nothing to check beside it
}

// piece is a literal and how far before it the previous one ends.
type piece struct {
	text string
	gap  gap
}

type gap uint8

const (
	adjacent gap = iota
	digits       // one digit or more
	anything
)

// parseTerm expands the choices of a term and reads its marks.
func parseTerm(term string) ([]pattern, error) {
	var list []pattern
	for _, text := range expand(term) {
		p, err := parsePattern(text)
		if err != nil {
			return nil, fmt.Errorf("term %q: %w", term, err)
		}
		list = append(list, p)
	}
	return list, nil
}

// expand spells out (optional) and {one,of,these} parts.
func expand(term string) []string {
	open := strings.IndexAny(term, "({")
	if open < 0 {
		return []string{term}
	}
	closer := ")"
	if term[open] == '{' {
		closer = "}"
	}
	length := strings.Index(term[open:], closer)
	if length < 0 {
		return []string{term}
	}
	inside, rest := term[open+1:open+length], term[open+length+1:]
	choices := []string{inside, ""}
	if closer == "}" {
		choices = strings.Split(inside, ",")
	}
	var list []string
	for _, choice := range choices {
		for _, tail := range expand(rest) {
			list = append(list, term[:open]+choice+tail)
		}
	}
	return list
}

func parsePattern(text string) (pattern, error) {
	var p pattern
	text, p.left = strings.CutPrefix(text, "‹")
	text, p.atStart = strings.CutPrefix(text, "^")
	text, p.right = strings.CutSuffix(text, "›")
	text, p.atEnd = strings.CutSuffix(text, "$")
	if at := strings.IndexByte(text, '~'); at >= 0 {
		if len(text) != at+2 {
			return p, fmt.Errorf("want one letter after ~, at the end")
		}
		p.notNext, text = text[at+1], text[:at]
	}
	next := adjacent
	for text != "" {
		at := strings.IndexAny(text, "#…")
		if at < 0 {
			at = len(text)
		}
		if at == 0 {
			return p, fmt.Errorf("a gap has no text before it")
		}
		p.pieces = append(p.pieces, piece{text: text[:at], gap: next})
		text = text[at:]
		if rest, ok := strings.CutPrefix(text, "#"); ok {
			text, next = rest, digits
		} else if rest, ok := strings.CutPrefix(text, "…"); ok {
			text, next = rest, anything
		}
	}
	if len(p.pieces) == 0 || strings.ContainsAny(p.pieces[0].text, "(){}‹›^$") {
		return p, fmt.Errorf("no text, or a mark where none is understood")
	}
	p.firstIsOnlyText = len(p.pieces) == 1 && !p.left && !p.right && !p.atStart && !p.atEnd && p.notNext == 0
	return p, nil
}

// find reports whether the pattern stands anywhere in a name of plain form.
func (p *pattern) find(plain string) bool {
	first := p.pieces[0].text
	if p.firstIsOnlyText {
		return strings.Contains(plain, first)
	}
	for from := 0; ; {
		at := strings.Index(plain[from:], first)
		if at < 0 || p.atStart && from+at > 0 {
			return false
		}
		at += from
		if (!p.left || at == 0 || !letter(plain[at-1])) && p.rest(plain, at+len(first), p.pieces[1:]) {
			return true
		}
		if len(p.pieces) > 1 && p.pieces[1].gap == anything && !p.left {
			return false // what does not follow here follows no later place
		}
		from = at + 1
	}
}

// rest matches the pieces after the first, from where it ended.
func (p *pattern) rest(plain string, end int, pieces []piece) bool {
	if len(pieces) == 0 {
		return p.ends(plain, end)
	}
	text := pieces[0].text
	switch pieces[0].gap {
	case digits:
		start := end
		for end < len(plain) && digit(plain[end]) {
			end++
		}
		return end > start && strings.HasPrefix(plain[end:], text) && p.rest(plain, end+len(text), pieces[1:])
	default:
		for {
			at := strings.Index(plain[end:], text)
			if at < 0 {
				return false
			}
			if p.rest(plain, end+at+len(text), pieces[1:]) {
				return true
			}
			end += at + 1
		}
	}
}

// ends checks what follows the last piece.
func (p *pattern) ends(plain string, end int) bool {
	if end == len(plain) {
		return true
	}
	next := plain[end]
	return !p.atEnd && (!p.right || !letter(next)) && (p.notNext == 0 || next != p.notNext)
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }
