package token

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits on an expression of a tokenizer file.
const (
	maxPatternBytes = 16 << 10
	maxPatternDepth = 32
	maxRepeat       = 1000
)

// A pattern is a compiled split expression: a graph of nodes, each knowing what
// follows it, walked with backtracking and leftmost-first choice as Oniguruma
// and Rust's fancy-regex do. RE2 has no look-ahead, which nearly all tokenizers
// use, and a scanner per known expression would know only those; so the package
// compiles the subset that split expressions are written in and refuses the
// rest by name (back references, look-behind, conditionals, loops over groups).
type pattern struct {
	start *node
	// ways are the top-level alternatives; first has, for each ASCII byte, the
	// set of those that can begin with it. nil = no such table.
	ways  []*node
	first *[utf8.RuneSelf]uint32
	wide  uint32 // alternatives that can begin with anything else
}

type op uint8

const (
	opAccept op = iota
	opSet       // characters of a set, repeated
	opAlt       // alternatives, each already linked to what follows
	opLook      // look-ahead
	opAtomic    // sub without giving back
	opBegin     // start of text or of a line
	opEnd       // end of text or of a line
)

type greed uint8

const (
	greedy greed = iota
	lazy
	possessive
)

type node struct {
	op       op
	set      *runeSet
	min, max int // of opSet; max < 0 = any number
	greed    greed
	ways     []*node
	sub      *node
	negated  bool // opLook
	lines    bool // opBegin, opEnd: also at line ends
	next     *node
}

// dialect says where engines differ in what the same text means.
type dialect uint8

const (
	dialectRuby dialect = iota // Oniguruma, as tokenizer.json is read: ^ and $ hold at each line
	dialectRust                // fancy-regex, as tiktoken reads: ^ and $ hold for the text only
)

// syntax tree between parser and linker
type tree struct {
	leaf     *node // opSet with min = max = 1, opBegin, opEnd
	alts     []([]*tree)
	look     int // 1 = ahead, -1 = not ahead
	atomic   bool
	min, max int
	greed    greed
	repeated bool
}

type patternParser struct {
	src     string
	pos     int
	depth   int
	fold    bool
	dialect dialect
}

// compile reads an expression. The error says where it stopped and why.
func compile(src string, d dialect) (p *pattern, err error) {
	if len(src) > maxPatternBytes {
		return nil, fmt.Errorf("split expression of %d bytes; expected at most %d", len(src), maxPatternBytes)
	}
	pp := &patternParser{src: src, dialect: d}
	alts, err := pp.alternatives()
	if err == nil && pp.pos < len(src) {
		err = pp.fail("unmatched )")
	}
	if err != nil {
		return nil, err
	}
	accept, l := &node{op: opAccept}, &linker{}
	p = &pattern{}
	for _, a := range alts {
		n, err := l.link(a, accept)
		if err != nil {
			return nil, fmt.Errorf("split expression %q: %w", src, err)
		}
		p.ways = append(p.ways, n)
	}
	p.start = &node{op: opAlt, ways: p.ways}
	p.index()
	return p, nil
}

func (p *patternParser) fail(why string) error {
	return fmt.Errorf("split expression %q, byte %d: %s", p.src, p.pos, why)
}

func (p *patternParser) peek(s string) bool { return strings.HasPrefix(p.src[p.pos:], s) }

func (p *patternParser) take(s string) bool {
	if p.peek(s) {
		p.pos += len(s)
		return true
	}
	return false
}

func (p *patternParser) alternatives() ([][]*tree, error) {
	if p.depth++; p.depth > maxPatternDepth {
		return nil, p.fail("groups nested too deep")
	}
	defer func() { p.depth-- }()
	var alts [][]*tree
	var seq []*tree
	for p.pos < len(p.src) && !p.peek(")") {
		if p.take("|") {
			alts, seq = append(alts, seq), nil
			continue
		}
		if p.take("(?i)") { // from here to the end of the group
			p.fold = true
			continue
		}
		t, err := p.item()
		if err != nil {
			return nil, err
		}
		if err := p.quantifiers(t); err != nil {
			return nil, err
		}
		seq = append(seq, t)
	}
	return append(alts, seq), nil
}

func (p *patternParser) item() (*tree, error) {
	switch {
	case p.peek("("):
		return p.group()
	case p.peek("["):
		set, err := p.class()
		return p.setTree(set), err
	case p.take("."):
		return p.setTree(ranges{{'\n', '\n'}}.negate()), nil
	case p.take("^"):
		return &tree{leaf: &node{op: opBegin, lines: p.dialect == dialectRuby}}, nil
	case p.take("$"):
		return &tree{leaf: &node{op: opEnd, lines: p.dialect == dialectRuby}}, nil
	case p.take(`\A`):
		return &tree{leaf: &node{op: opBegin}}, nil
	case p.take(`\z`):
		return &tree{leaf: &node{op: opEnd}}, nil
	case p.peek("*") || p.peek("+") || p.peek("?"):
		return nil, p.fail("a quantifier with nothing before it")
	}
	set, err := p.char()
	return p.setTree(set), err
}

func (p *patternParser) setTree(set ranges) *tree {
	if p.fold {
		set = set.fold()
	}
	return &tree{leaf: &node{op: opSet, set: newRuneSet(set), min: 1, max: 1}}
}

func (p *patternParser) group() (*tree, error) {
	fold := p.fold
	defer func() { p.fold = fold }()
	t := &tree{min: 1, max: 1}
	switch {
	case p.take("(?:"):
	case p.take("(?i:"):
		p.fold = true
	case p.take("(?="):
		t.look = 1
	case p.take("(?!"):
		t.look = -1
	case p.take("(?>"):
		t.atomic = true
	case p.peek("(?"):
		return nil, p.fail("this kind of group is not supported (look-behind, named groups, other flags)")
	default:
		p.pos++ // a capture: nothing reads it
	}
	alts, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if !p.take(")") {
		return nil, p.fail("a group without its )")
	}
	t.alts = alts
	return t, nil
}

// quantifiers reads what follows an item: * + ? {n} {n,} {n,m}, each with ? or +.
func (p *patternParser) quantifiers(t *tree) error {
	lo, hi, braced := 1, 1, false
	switch {
	case p.take("*"):
		lo, hi = 0, -1
	case p.take("+"):
		hi = -1
	case p.take("?"):
		lo = 0
	case p.peek("{"):
		var ok bool
		braced = true
		if lo, hi, ok = p.braces(); !ok {
			return p.fail("expected {n}, {n,} or {n,m} of at most " + strconv.Itoa(maxRepeat))
		}
	default:
		return nil
	}
	t.min, t.max, t.repeated = lo, hi, true
	switch {
	case braced && p.dialect == dialectRuby && p.take("+"):
		// Ruby reads X{1,3}+ as one or more of X{1,3}, not as a possessive one.
		if t.max = -1; lo > 1 {
			return p.fail("{n,m}+ with n above 1 is not supported")
		}
	case braced && p.dialect == dialectRuby && lo == hi && p.peek("?"):
		return p.fail("{n}? is not supported")
	case p.take("?"):
		t.greed = lazy
	case p.take("+"):
		t.greed = possessive
	}
	if p.peek("*") || p.peek("+") || p.peek("?") || p.peek("{") {
		return p.fail("a quantifier after a quantifier")
	}
	return nil
}

func (p *patternParser) braces() (lo, hi int, ok bool) {
	end := strings.IndexByte(p.src[p.pos:], '}')
	if end < 0 {
		return 0, 0, false
	}
	body := p.src[p.pos+1 : p.pos+end]
	p.pos += end + 1
	low, high, ranged := strings.Cut(body, ",")
	lo, err := strconv.Atoi(low)
	if low == "" && ranged {
		lo, err = 0, nil
	}
	if err != nil || lo < 0 || lo > maxRepeat {
		return 0, 0, false
	}
	switch {
	case !ranged:
		return lo, lo, true
	case high == "":
		return lo, -1, true
	}
	hi, err = strconv.Atoi(high)
	return lo, hi, err == nil && hi >= lo && hi <= maxRepeat
}

// char reads one literal or escape outside a class.
func (p *patternParser) char() (ranges, error) {
	if p.peek(`\`) {
		return p.escape()
	}
	c, n := utf8.DecodeRuneInString(p.src[p.pos:])
	p.pos += n
	return ranges{{c, c}}, nil
}

var controlEscapes = map[byte]rune{'n': '\n', 'r': '\r', 't': '\t', 'f': '\f', 'v': '\v', 'a': '\a', 'e': 0x1B, '0': 0}

func (p *patternParser) escape() (ranges, error) {
	if p.pos+1 >= len(p.src) {
		return nil, p.fail("a lone \\ at the end")
	}
	c := p.src[p.pos+1]
	p.pos += 2
	switch c {
	case 's':
		return named("space"), nil
	case 'S':
		return named("space").negate(), nil
	case 'd':
		return named("Nd"), nil
	case 'D':
		return named("Nd").negate(), nil
	case 'w':
		return p.word(), nil
	case 'W':
		return p.word().negate(), nil
	case 'p', 'P':
		return p.property(c == 'P')
	case 'u', 'x':
		return p.hex(c)
	}
	if r, ok := controlEscapes[c]; ok {
		return ranges{{r, r}}, nil
	}
	if c < utf8.RuneSelf && (c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
		p.pos -= 2
		return nil, p.fail(fmt.Sprintf("the escape \\%c is not supported", c))
	}
	p.pos--
	r, n := utf8.DecodeRuneInString(p.src[p.pos:])
	p.pos += n
	return ranges{{r, r}}, nil
}

// word is \w: in Rust the joiners belong to it (UTS 18, annex C), in Oniguruma not.
func (p *patternParser) word() ranges {
	if p.dialect == dialectRust {
		return named("rust-word")
	}
	return named("word")
}

func (p *patternParser) hex(kind byte) (ranges, error) {
	var digits string
	rest := p.src[p.pos:]
	want := map[byte]int{'u': 4, 'x': 2}[kind]
	if strings.HasPrefix(rest, "{") {
		end := strings.IndexByte(rest, '}')
		if end < 0 {
			return nil, p.fail("\\x{ without }")
		}
		digits = rest[1:end]
		p.pos += end + 1
	} else {
		if len(rest) < want {
			return nil, p.fail("too few hexadecimal digits")
		}
		digits = rest[:want]
		p.pos += want
	}
	v, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || v > unicode.MaxRune {
		return nil, p.fail("expected a hexadecimal code point")
	}
	return ranges{{rune(v), rune(v)}}, nil
}

func (p *patternParser) property(negate bool) (ranges, error) {
	rest := p.src[p.pos:]
	name := ""
	if strings.HasPrefix(rest, "{") {
		end := strings.IndexByte(rest, '}')
		if end < 0 {
			return nil, p.fail("\\p{ without }")
		}
		name = rest[1:end]
		p.pos += end + 1
	} else if rest != "" {
		name = rest[:1]
		p.pos++
	}
	if cut, ok := strings.CutPrefix(name, "^"); ok {
		name, negate = cut, !negate
	}
	set := property(name)
	if set == nil {
		return nil, p.fail(fmt.Sprintf("no Unicode property %q", name))
	}
	if negate {
		set = set.negate()
	}
	return set, nil
}

var longNames = map[string]string{"Letter": "L", "Number": "N", "Punctuation": "P", "Symbol": "S", "Mark": "M", "Separator": "Z", "Other": "C"}

// property is a set by its Unicode name: from the table, or for a rarer one from
// the Go release. nil = no such property.
func property(name string) ranges {
	if short := longNames[name]; short != "" {
		name = short
	}
	if set := named(name); set != nil {
		return set
	}
	for _, tables := range []map[string]*unicode.RangeTable{unicode.Categories, unicode.Scripts, unicode.Properties} {
		if t := tables[name]; t != nil {
			return tableRanges(t)
		}
	}
	return nil
}

// posixClass is a set by its POSIX name, as Oniguruma and Rust read it on Unicode text.
func posixClass(name string) ranges {
	switch name {
	case "alpha":
		return union(named("L"), named("Nl"), tableRanges(unicode.Other_Alphabetic))
	case "digit":
		return named("Nd")
	case "space":
		return named("space")
	case "upper":
		return named("Lu")
	case "lower":
		return named("Ll")
	case "punct":
		return union(named("P"), ranges{{'$', '$'}, {'+', '+'}, {'<', '>'}, {'^', '^'}, {'`', '`'}, {'|', '|'}, {'~', '~'}})
	}
	return nil
}

// class reads [...] with ranges, escapes, nested classes, POSIX names and &&.
func (p *patternParser) class() (ranges, error) {
	if p.depth++; p.depth > maxPatternDepth {
		return nil, p.fail("classes nested too deep")
	}
	defer func() { p.depth-- }()
	p.pos++
	negate := p.take("^")
	var all, part []runeRange
	crossed := false
	for first := true; ; first = false {
		switch {
		case p.pos >= len(p.src):
			return nil, p.fail("a class without its ]")
		case p.peek("]") && !first:
			p.pos++
			out := tidy(part)
			if crossed {
				out = ranges(all).intersect(out)
			}
			if negate {
				out = out.negate()
			}
			return out, nil
		case p.take("&&"):
			left := tidy(part)
			if crossed {
				left = ranges(all).intersect(left)
			}
			all, part, crossed = left, nil, true
			continue
		}
		got, err := p.classItem()
		if err != nil {
			return nil, err
		}
		part = append(part, got...)
	}
}

func (p *patternParser) classItem() (ranges, error) {
	if p.peek("[:") {
		if end := strings.Index(p.src[p.pos:], ":]"); end > 0 {
			name, negate := strings.CutPrefix(p.src[p.pos+2:p.pos+end], "^")
			set := posixClass(name)
			if set == nil {
				return nil, p.fail(fmt.Sprintf("no POSIX class %q", name))
			}
			p.pos += end + 2
			if negate {
				set = set.negate()
			}
			return set, nil
		}
	}
	if p.peek("[") {
		return p.class()
	}
	lo, err := p.char()
	if err != nil || !p.peek("-") || p.peek("-]") || p.peek("-[") {
		return lo, err
	}
	if len(lo) != 1 || lo[0].lo != lo[0].hi {
		return lo, nil // [\s-] : the - stands for itself
	}
	p.pos++
	hi, err := p.char()
	if err != nil {
		return nil, err
	}
	if len(hi) != 1 || hi[0].lo != hi[0].hi || hi[0].lo < lo[0].lo {
		return nil, p.fail("a range that ends before it begins")
	}
	return ranges{{lo[0].lo, hi[0].lo}}, nil
}
