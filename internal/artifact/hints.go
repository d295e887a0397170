package artifact

import (
	"slices"
	"strings"
)

// matcher finds out in one pass over a text whether any of a set of literals
// occurs in it, ignoring the case of ASCII letters (Aho and Corasick 1975, as a
// table over bytes).
type matcher struct {
	next [][256]uint16
	hit  []bool
}

// hints are the literals of all built-in rules, and the escapes that could
// hide one from a search over raw JSON.
var hints = func() *matcher {
	words := append(slices.Clone(nameHints), `\u00`, `\/`)
	for _, r := range Rules {
		words = append(words, r.Hints...)
	}
	return newMatcher(words)
}()

func newMatcher(words []string) *matcher {
	m := &matcher{next: make([][256]uint16, 1), hit: make([]bool, 1)}
	for _, w := range words {
		state := uint16(0)
		for _, c := range []byte(strings.ToLower(w)) {
			if m.next[state][c] == 0 {
				m.next = append(m.next, [256]uint16{})
				m.hit = append(m.hit, false)
				m.next[state][c] = uint16(len(m.next) - 1)
			}
			state = m.next[state][c]
		}
		m.hit[state] = true
	}
	m.link()
	return m
}

// link completes the trie to an automaton: a missing edge goes where the
// longest proper suffix goes.
func (m *matcher) link() {
	fail := make([]uint16, len(m.next))
	var queue []uint16
	for c := range 256 {
		if to := m.next[0][c]; to != 0 {
			queue = append(queue, to)
		}
	}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		m.hit[state] = m.hit[state] || m.hit[fail[state]]
		for c := range 256 {
			back := m.next[fail[state]][c]
			if to := m.next[state][c]; to != 0 {
				fail[to] = back
				queue = append(queue, to)
			} else {
				m.next[state][c] = back
			}
		}
	}
	for state := range m.next {
		for c := 'A'; c <= 'Z'; c++ {
			m.next[state][c] = m.next[state][c+'a'-'A']
		}
	}
}

func (m *matcher) in(b []byte) bool {
	state := uint16(0)
	for _, c := range b {
		state = m.next[state][c]
		if m.hit[state] {
			return true
		}
	}
	return false
}

func containsAnyFold(s string, words []string) bool {
	lower := strings.ToLower(s)
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(lower, w) })
}
