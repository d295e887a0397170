package token

import (
	"errors"
	"unicode/utf8"
)

// link turns a sequence into nodes that end in next.
func link(seq []*tree, next *node) (*node, error) {
	for i := len(seq) - 1; i >= 0; i-- {
		n, err := linkOne(seq[i], next)
		if err != nil {
			return nil, err
		}
		next = n
	}
	return next, nil
}

func linkOne(t *tree, next *node) (*node, error) {
	switch {
	case t.leaf != nil:
		return linkLeaf(t, next)
	case t.look != 0:
		sub, err := linkAlts(t.alts, &node{op: opAccept})
		if err == nil && t.repeated {
			err = errors.New("a repeated look-ahead is not supported")
		}
		return &node{op: opLook, sub: sub, negated: t.look < 0, next: next}, err
	case t.atomic || t.greed == possessive && t.repeated:
		sub, err := linkRepeat(t, &node{op: opAccept})
		return &node{op: opAtomic, sub: sub, next: next}, err
	}
	return linkRepeat(t, next)
}

func linkLeaf(t *tree, next *node) (*node, error) {
	n := *t.leaf
	n.next = next
	if n.op != opSet {
		if t.repeated {
			return nil, errors.New("a repeated anchor is not supported")
		}
		return &n, nil
	}
	if t.repeated {
		n.min, n.max, n.greed = t.min, t.max, t.greed
	}
	n.set = newRuneSet(n.members)
	return &n, nil
}

func linkAlts(alts [][]*tree, next *node) (*node, error) {
	alt := &node{op: opAlt}
	for _, a := range alts {
		n, err := link(a, next)
		if err != nil {
			return nil, err
		}
		alt.ways = append(alt.ways, n)
	}
	if len(alt.ways) == 1 {
		return alt.ways[0], nil
	}
	return alt, nil
}

// linkRepeat writes a repeated group out: its least number in a row, then
// optional ones inside each other, or a loop. A loop over a group that itself
// repeats without bound can take exponential time, so it is refused, and so is a
// loop over a group that can match nothing.
func linkRepeat(t *tree, next *node) (*node, error) {
	lo, hi := 1, 1
	if t.repeated {
		lo, hi = t.min, t.max
	}
	if max(lo, hi) > 16 {
		return nil, errors.New("a group repeated more than 16 times is not supported")
	}
	var err error
	switch {
	case hi < 0:
		if unbounded(t.alts) {
			return nil, errors.New("an unbounded repetition inside another one is not supported: it can take exponential time")
		}
		loop := &node{op: opAlt}
		body, err := linkAlts(t.alts, loop)
		if err != nil {
			return nil, err
		}
		if canBeEmpty(t.alts) {
			return nil, errors.New("repeating a group that can match nothing is not supported")
		}
		loop.ways = choice(body, next, t.greed)
		next = loop
	default:
		end := next
		for range hi - lo {
			body, err := linkAlts(t.alts, next)
			if err != nil {
				return nil, err
			}
			next = &node{op: opAlt, ways: choice(body, end, t.greed)}
		}
	}
	for range lo {
		if next, err = linkAlts(t.alts, next); err != nil {
			return nil, err
		}
	}
	return next, nil
}

func choice(body, skip *node, g greed) []*node {
	if g == lazy {
		return []*node{skip, body}
	}
	return []*node{body, skip}
}

func unbounded(alts [][]*tree) bool {
	for _, a := range alts {
		for _, t := range a {
			if t.repeated && t.max < 0 || unbounded(t.alts) {
				return true
			}
		}
	}
	return false
}

func canBeEmpty(alts [][]*tree) bool {
	for _, a := range alts {
		empty := true
		for _, t := range a {
			switch {
			case t.repeated && t.min == 0, t.look != 0, t.leaf != nil && t.leaf.op != opSet:
			case t.leaf != nil:
				empty = false
			default:
				empty = empty && canBeEmpty(t.alts)
			}
		}
		if empty {
			return true
		}
	}
	return false
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
	if p.first == nil || at >= len(text) {
		return run(p.start, text, at)
	}
	ways := p.wide
	if b := text[at]; b < utf8.RuneSelf {
		ways = p.first[b]
	}
	for i := 0; ways != 0; i, ways = i+1, ways>>1 {
		if ways&1 != 0 {
			if end := run(p.ways[i], text, at); end >= 0 {
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

// run walks the graph from n at at and returns the end of the match or -1.
func run(n *node, text string, at int) int {
	for {
		switch n.op {
		case opAccept:
			return at
		case opSet:
			if n.min != 1 || n.max != 1 {
				var done bool
				if at, done = repeat(n, text, at); done {
					return at
				}
				break
			}
			k := n.set.step(text, at)
			if k == 0 {
				return -1
			}
			at += k
		case opAlt:
			for _, w := range n.ways {
				if end := run(w, text, at); end >= 0 {
					return end
				}
			}
			return -1
		case opLook:
			if (run(n.sub, text, at) >= 0) == n.negated {
				return -1
			}
		case opAtomic:
			if at = run(n.sub, text, at); at < 0 {
				return -1
			}
		case opBegin:
			if at != 0 && !(n.lines && text[at-1] == '\n') {
				return -1
			}
		case opEnd:
			if at != len(text) && !(n.lines && text[at] == '\n') {
				return -1
			}
		}
		n = n.next
	}
}

// repeat matches a repeated set. done says that at is the end of the whole
// match (or -1); otherwise the walk goes on at at with what follows.
func repeat(n *node, text string, at int) (_ int, done bool) {
	if n.greed == lazy {
		return repeatLazy(n, text, at), true
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
		if end := run(n.next, text, at); end >= 0 {
			return end, true
		}
		if at == least {
			return -1, true
		}
		_, k := utf8.DecodeLastRuneInString(text[start:at])
		at -= k
	}
}

func repeatLazy(n *node, text string, at int) int {
	for count := 0; ; count++ {
		if count >= n.min {
			if end := run(n.next, text, at); end >= 0 {
				return end
			}
		}
		k := 0
		if count != n.max {
			k = n.set.step(text, at)
		}
		if k == 0 {
			return -1
		}
		at += k
	}
}
