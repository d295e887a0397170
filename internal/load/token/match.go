package token

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxNodes bounds the graph: a repeated group is written out.
const maxNodes = 1 << 13

// linker counts the nodes that it makes.
type linker struct{ nodes int }

func (l *linker) node(n node) (*node, error) {
	if l.nodes++; l.nodes > maxNodes {
		return nil, fmt.Errorf("more than %d parts with its repetitions written out", maxNodes)
	}
	return &n, nil
}

// link turns a sequence into nodes that end in next.
func (l *linker) link(seq []*tree, next *node) (*node, error) {
	for i := len(seq) - 1; i >= 0; i-- {
		n, err := l.one(seq[i], next)
		if err != nil {
			return nil, err
		}
		next = n
	}
	return next, nil
}

func (l *linker) one(t *tree, next *node) (*node, error) {
	switch {
	case t.leaf != nil:
		return l.leaf(t, next)
	case t.look != 0:
		if t.repeated {
			return nil, errors.New("a repeated look-ahead is not supported")
		}
		sub, err := l.alts(t.alts, &node{op: opAccept})
		if err != nil {
			return nil, err
		}
		return l.node(node{op: opLook, sub: sub, negated: t.look < 0, next: next})
	case t.atomic || t.greed == possessive && t.repeated:
		sub, err := l.repeat(t, &node{op: opAccept})
		if err != nil {
			return nil, err
		}
		return l.node(node{op: opAtomic, sub: sub, next: next})
	}
	return l.repeat(t, next)
}

func (l *linker) leaf(t *tree, next *node) (*node, error) {
	n := *t.leaf
	n.next = next
	switch {
	case n.op != opSet && t.repeated:
		return nil, errors.New("a repeated anchor is not supported")
	case t.repeated:
		n.min, n.max, n.greed = t.min, t.max, t.greed
	}
	return l.node(n)
}

func (l *linker) alts(alts [][]*tree, next *node) (*node, error) {
	var ways []*node
	for _, a := range alts {
		n, err := l.link(a, next)
		if err != nil {
			return nil, err
		}
		ways = append(ways, n)
	}
	if len(ways) == 1 {
		return ways[0], nil
	}
	return l.node(node{op: opAlt, ways: ways})
}

// repeat writes a repeated group out: its least number in a row, then optional
// ones inside each other. An unbounded loop over a group would recurse as deep as
// the text is long; no known split expression has one, so it is refused.
func (l *linker) repeat(t *tree, next *node) (_ *node, err error) {
	lo, hi := 1, 1
	if t.repeated {
		lo, hi = t.min, t.max
	}
	if hi < 0 || hi > 16 {
		return nil, errors.New("a group repeated without bound or more than 16 times is not supported")
	}
	end := next
	for range hi - lo {
		body, err := l.alts(t.alts, next)
		if err != nil {
			return nil, err
		}
		ways := []*node{body, end}
		if t.greed == lazy {
			ways = []*node{end, body}
		}
		if next, err = l.node(node{op: opAlt, ways: ways}); err != nil {
			return nil, err
		}
	}
	for range lo {
		if next, err = l.alts(t.alts, next); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// index fills the table of first bytes.
func (p *pattern) index() {
	if len(p.ways) > 32 {
		return
	}
	p.first = new([utf8.RuneSelf]uint32)
	for i, w := range p.ways {
		bit := uint32(1) << i
		p.wide |= bit
		for b := range p.first {
			if canBegin(w, rune(b), 0) {
				p.first[b] |= bit
			}
		}
	}
}

// canBegin says whether a match of n may begin with c; yes when in doubt.
func canBegin(n *node, c rune, depth int) bool {
	if depth > 64 {
		return true
	}
	switch n.op {
	case opSet:
		return n.set.has(c) || n.min == 0 && canBegin(n.next, c, depth+1)
	case opAlt:
		for _, w := range n.ways {
			if canBegin(w, c, depth+1) {
				return true
			}
		}
		return false
	}
	return true
}

// match is the end of the match that begins at at, or -1.
func (p *pattern) match(text string, at int) int {
	m := matcher{text: text, limit: longMatch + 16*(len(text)-at)}
	if p.first == nil || at >= len(text) {
		return m.run(p.start, at)
	}
	ways := p.wide
	if b := text[at]; b < utf8.RuneSelf {
		ways = p.first[b]
	}
	for i := 0; ways != 0; i, ways = i+1, ways>>1 {
		if ways&1 != 0 {
			if end := m.run(p.ways[i], at); end >= 0 {
				return end
			}
		}
	}
	return -1
}

// find is the leftmost match at or after at; start < 0 when there is none.
func (p *pattern) find(text string, at int) (start, end int) {
	for {
		if end := p.match(text, at); end >= 0 {
			return at, end
		}
		if at >= len(text) {
			return -1, -1
		}
		at += runeLen(text, at)
	}
}

func runeLen(text string, at int) int {
	if text[at] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRuneInString(text[at:])
	return n
}

// matcher walks the graph for one match. What follows a node depends on the
// place alone, so once a match takes longer than simple ones do, failures are kept and no pair of node
// and place is tried twice: an expression cannot take exponential time.
type matcher struct {
	text   string
	steps  int
	limit  int // steps after which failures are kept
	failed map[visit]struct{}
}

type visit struct {
	n  *node
	at int
}

const longMatch = 1 << 12

// run returns the end of the match of n at at, or -1.
func (m *matcher) run(n *node, at int) int {
	if m.steps++; m.steps < m.limit {
		return m.walk(n, at)
	}
	key := visit{n, at}
	if _, ok := m.failed[key]; ok {
		return -1
	}
	end := m.walk(n, at)
	if end < 0 {
		if m.failed == nil {
			m.failed = map[visit]struct{}{}
		}
		m.failed[key] = struct{}{}
	}
	return end
}

func (m *matcher) walk(n *node, at int) int {
	for {
		switch n.op {
		case opAccept:
			return at
		case opSet:
			if n.min != 1 || n.max != 1 {
				var done bool
				if at, done = m.repeat(n, at); done {
					return at
				}
				break
			}
			k := n.set.step(m.text, at)
			if k == 0 {
				return -1
			}
			at += k
		case opAlt:
			for _, w := range n.ways {
				if end := m.run(w, at); end >= 0 {
					return end
				}
			}
			return -1
		case opLook:
			if (m.run(n.sub, at) >= 0) == n.negated {
				return -1
			}
		case opAtomic:
			if at = m.run(n.sub, at); at < 0 {
				return -1
			}
		case opBegin:
			if at != 0 && !(n.lines && m.text[at-1] == '\n') {
				return -1
			}
		case opEnd:
			if at != len(m.text) && !(n.lines && m.text[at] == '\n') {
				return -1
			}
		}
		n = n.next
	}
}

// repeat matches a repeated set. done says that at is the end of the whole
// match (or -1); otherwise the walk goes on at at with what follows.
func (m *matcher) repeat(n *node, at int) (_ int, done bool) {
	text := m.text
	if n.greed == lazy {
		return m.repeatLazy(n, at), true
	}
	start, least, count := at, at, 0
	set := n.set
	for count != n.max && at < len(text) {
		k := 1
		if b := text[at]; b >= utf8.RuneSelf {
			if k = set.step(text, at); k == 0 {
				break
			}
		} else if !set.ascii[b] {
			break
		}
		at += k
		if count++; count == n.min {
			least = at
		}
	}
	if count < n.min {
		return -1, true
	}
	if n.min == 0 {
		least = start
	}
	if n.greed == possessive || at == least || n.next.op == opAccept {
		return at, false
	}
	for {
		if end := m.run(n.next, at); end >= 0 {
			return end, true
		}
		if at == least {
			return -1, true
		}
		_, k := utf8.DecodeLastRuneInString(text[start:at])
		at -= k
	}
}

func (m *matcher) repeatLazy(n *node, at int) int {
	for count := 0; ; count++ {
		if count >= n.min {
			if end := m.run(n.next, at); end >= 0 {
				return end
			}
		}
		k := 0
		if count != n.max {
			k = n.set.step(m.text, at)
		}
		if k == 0 {
			return -1
		}
		at += k
	}
}
