package token

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// bpe merges the pair of lowest rank, leftmost first, until no pair has one.
type bpe struct {
	pairs  pairTable // (left, right) → rank<<32 | id of the merged token
	bytes  *[256]int32
	whole  map[string]int32 // tokens that a piece is looked up in before merging; nil = never
	vocab  map[string]int32
	prefix string // continuing_subword_prefix
	suffix string // end_of_word_suffix

	unk          int32 // -1 = unknown characters vanish
	fuseUnk      bool
	byteFallback *[256]int32 // ids of <0x00> … <0xFF>; -1 = missing
	frozen       *trie       // tokens that are one symbol from the start and never part of a merge; nil = none
	// cut says that a piece may be cut before the mark of a space that follows a
	// character which no token has before a mark: no merge can join the two, so
	// no id changes. joins are the other characters.
	cut   bool
	joins map[rune]bool
}

const spaceMark = "▁"

// words encodes a piece word by word.
func (m *bpe) words(e *encoder, piece string) {
	for len(piece) > 0 {
		end := m.wordEnd(piece)
		e.cached(m, piece[:end])
		piece = piece[end:]
	}
}

// wordEnd is where the first word ends: before the first mark where a piece may
// be cut.
func (m *bpe) wordEnd(s string) int {
	for at := 0; ; {
		next := strings.Index(s[at:], spaceMark)
		if next < 0 {
			return len(s)
		}
		at += next
		if last, _ := utf8.DecodeLastRuneInString(s[:at]); at > 0 && last != '▁' && !m.joins[last] {
			return at
		}
		at += len(spaceMark)
	}
}

// learnJoins notes which characters stand before a mark in a token.
func (m *bpe) learnJoins(token string) {
	before := '▁'
	for _, r := range token {
		if r == '▁' && before != r {
			m.joins[before] = true
		}
		before = r
	}
}

func (m *bpe) word(e *encoder, piece string) {
	if m.whole != nil {
		if id, ok := m.whole[piece]; ok {
			e.ids = append(e.ids, id)
			return
		}
	}
	e.syms = e.syms[:0]
	if m.bytes != nil {
		for i := range len(piece) {
			if id := m.bytes[piece[i]]; id >= 0 {
				e.syms = append(e.syms, id)
			} else if m.unk >= 0 {
				m.addUnkByte(e, piece, i)
			}
		}
	} else {
		m.characters(e, piece)
	}
	m.merge(e)
}

func (m *bpe) addUnkByte(e *encoder, piece string, i int) {
	if m.fuseUnk && i > 0 && m.bytes[piece[i-1]] < 0 {
		return
	}
	e.syms = append(e.syms, m.unk)
}

// characters fills the symbols of a piece. An unknown character is held back
// until a known one or the end follows, and byte fallback does not flush it:
// so does the reference.
func (m *bpe) characters(e *encoder, piece string) {
	held := false
	for i, n := 0, 0; i < len(piece); i += n {
		if m.frozen != nil {
			if id, end := m.frozen.longest(piece, i); id >= 0 {
				if held {
					e.syms, held = append(e.syms, m.unk), false
				}
				e.syms, n = append(e.syms, id), end-i
				continue
			}
		}
		n = runeLen(piece, i)
		char := piece[i : i+n]
		key := char
		if m.prefix != "" && i > 0 {
			key = m.prefix + key
		}
		if m.suffix != "" && i+n == len(piece) {
			key += m.suffix
		}
		if id, ok := m.vocab[key]; ok {
			if held {
				e.syms, held = append(e.syms, m.unk), false
			}
			e.syms = append(e.syms, id)
			continue
		}
		if m.byteFallback != nil && m.fallBack(e, key) {
			continue
		}
		if m.unk < 0 {
			continue
		}
		if held && !m.fuseUnk {
			e.syms = append(e.syms, m.unk)
		}
		held = true
	}
	if held {
		e.syms = append(e.syms, m.unk)
	}
}

func (m *bpe) fallBack(e *encoder, char string) bool {
	n := len(e.syms)
	for i := range len(char) {
		id := m.byteFallback[char[i]]
		if id < 0 {
			e.syms = e.syms[:n]
			return false
		}
		e.syms = append(e.syms, id)
	}
	return true
}

// longPiece is the number of symbols from which a heap beats looking for the
// least rank again after each merge.
const longPiece = 96

func (m *bpe) merge(e *encoder) {
	switch n := len(e.syms); {
	case n < 2:
		e.ids = append(e.ids, e.syms...)
	case n < longPiece:
		m.mergeShort(e)
	default:
		m.mergeLong(e)
	}
}

func (m *bpe) mergeShort(e *encoder) {
	var space [longPiece]uint64
	syms := e.syms
	ranks := space[:len(syms)-1]
	for i := range ranks {
		ranks[i] = m.pairs.get(syms[i], syms[i+1])
	}
	for len(ranks) > 0 {
		best := 0
		least := ranks[0] >> 32
		for i := 1; i < len(ranks); i++ {
			if r := ranks[i] >> 32; r < least {
				best, least = i, r
			}
		}
		if ranks[best] == none {
			break
		}
		syms[best] = int32(uint32(ranks[best]))
		syms = append(syms[:best+1], syms[best+2:]...)
		ranks = append(ranks[:best], ranks[best+1:]...)
		if best > 0 {
			ranks[best-1] = m.pairs.get(syms[best-1], syms[best])
		}
		if best < len(ranks) {
			ranks[best] = m.pairs.get(syms[best], syms[best+1])
		}
	}
	e.ids = append(e.ids, syms...)
}

// candidate is a merge in the heap of a long piece: key is rank<<32 | position.
type candidate struct {
	key uint64
	id  int32
}

func (m *bpe) mergeLong(e *encoder) {
	syms, n := e.syms, len(e.syms)
	e.prev, e.next = grown(e.prev, n), grown(e.next, n)
	for i := range syms {
		e.prev[i], e.next[i] = int32(i-1), int32(i+1)
	}
	e.next[n-1] = -1
	e.heap = e.heap[:0]
	for i := range n - 1 {
		m.propose(e, int32(i))
	}
	for len(e.heap) > 0 {
		top := e.pop()
		at := int32(uint32(top.key))
		if syms[at] < 0 || e.next[at] < 0 {
			continue
		}
		right := e.next[at]
		if now := m.pairs.get(syms[at], syms[right]); now == none || int32(uint32(now)) != top.id || now>>32 != top.key>>32 {
			continue // proposed before one of its halves was merged
		}
		syms[at], syms[right] = top.id, -1
		if e.next[at] = e.next[right]; e.next[at] >= 0 {
			e.prev[e.next[at]] = at
			m.propose(e, at)
		}
		if e.prev[at] >= 0 {
			m.propose(e, e.prev[at])
		}
	}
	for i := int32(0); i >= 0; i = e.next[i] {
		e.ids = append(e.ids, syms[i])
	}
}

func (m *bpe) propose(e *encoder, at int32) {
	if v := m.pairs.get(e.syms[at], e.syms[e.next[at]]); v != none {
		e.push(candidate{v&^0xFFFFFFFF | uint64(uint32(at)), int32(uint32(v))})
	}
}

func grown(s []int32, n int) []int32 {
	if cap(s) < n {
		return make([]int32, n)
	}
	return s[:n]
}

func (e *encoder) push(c candidate) {
	h := append(e.heap, c)
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if h[up].key <= c.key {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = c
	e.heap = h
}

func (e *encoder) pop() candidate {
	h := e.heap
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	i := 0
	for {
		down := 2*i + 1
		if down >= len(h) {
			break
		}
		if down+1 < len(h) && h[down+1].key < h[down].key {
			down++
		}
		if last.key <= h[down].key {
			break
		}
		h[i] = h[down]
		i = down
	}
	if len(h) > 0 {
		h[i] = last
	}
	e.heap = h
	return top
}

// learnMerges fills the pair table from the merges of a tokenizer.json.
func (m *bpe) learnMerges(merges [][2]string) error {
	m.pairs = newPairTable(len(merges))
	m.joins = map[rune]bool{}
	for rank, p := range merges {
		a, okA := m.vocab[p[0]]
		b, okB := m.vocab[p[1]]
		if !okA || !okB {
			return fmt.Errorf("model.merges[%d]: %q and %q; expected both in model.vocab", rank, p[0], p[1])
		}
		joined := p[0] + strings.TrimPrefix(p[1], m.prefix)
		id, ok := m.vocab[joined]
		if !ok {
			return fmt.Errorf("model.merges[%d]: %q; expected it in model.vocab", rank, joined)
		}
		m.pairs.put(pairKey(a, b), uint64(rank)<<32|uint64(uint32(id)))
		m.learnJoins(joined)
	}
	m.cut = m.canCut()
	return nil
}

// canCut holds the conditions of cut that do not depend on the merges.
func (m *bpe) canCut() bool {
	_, marked := m.vocab[spaceMark]
	return marked && m.bytes == nil && m.whole == nil && m.prefix == "" && m.suffix == ""
}

// learnRanks fills the pair table from ranks: any two neighbours whose joint is a
// token may merge, at the rank of the joint.
func (m *bpe) learnRanks(tokens map[string]int32, rank func(id int32) uint32) {
	m.pairs = newPairTable(len(tokens) * 2)
	for joint, id := range tokens {
		for i := 1; i < len(joint); i++ {
			if m.bytes == nil && !utf8.RuneStart(joint[i]) {
				continue
			}
			a, okA := tokens[joint[:i]]
			b, okB := tokens[joint[i:]]
			if okA && okB {
				m.pairs.put(pairKey(a, b), uint64(rank(id))<<32|uint64(uint32(id)))
			}
		}
	}
}
