package token

import "math/bits"

// pairTable maps pairs of ids to a value: open addressing, since the merge loop
// is little else than this look-up.
type pairTable struct {
	keys, vals []uint64
	shift      uint
	used       int
}

const (
	noKey = ^uint64(0)
	none  = ^uint64(0) // no value: sorts behind every rank
)

func newPairTable(n int) pairTable {
	size := 1 << bits.Len(uint(max(n, 8)*2-1))
	t := pairTable{keys: make([]uint64, size), vals: make([]uint64, size), shift: uint(64 - bits.TrailingZeros(uint(size)))}
	for i := range t.keys {
		t.keys[i] = noKey
	}
	return t
}

func pairKey(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

func (t *pairTable) slot(key uint64) int {
	mask := len(t.keys) - 1
	i := int(key*0x9E3779B97F4A7C15>>t.shift) & mask
	for t.keys[i] != key && t.keys[i] != noKey {
		i = (i + 1) & mask
	}
	return i
}

func (t *pairTable) get(a, b int32) uint64 {
	key := pairKey(a, b)
	mask := len(t.keys) - 1
	for i := int(key*0x9E3779B97F4A7C15>>t.shift) & mask; ; i = (i + 1) & mask {
		switch t.keys[i] {
		case key:
			return t.vals[i]
		case noKey:
			return none
		}
	}
}

func (t *pairTable) put(key, val uint64) {
	if t.used*2 >= len(t.keys) {
		t.grow()
	}
	i := t.slot(key)
	if t.keys[i] == noKey {
		t.used++
	}
	t.keys[i], t.vals[i] = key, val
}

func (t *pairTable) grow() {
	old := *t
	*t = newPairTable(len(old.keys))
	for i, k := range old.keys {
		if k != noKey {
			t.put(k, old.vals[i])
		}
	}
}

// trie finds the words of a set that begin at a place in a text.
type trie struct {
	root  [256]int32
	edges pairTable // (node, byte) → node
	ids   []int32   // by node; -1 = no word ends here
}

func newTrie(words int) *trie {
	return &trie{edges: newPairTable(words * 4), ids: []int32{-1}}
}

// add keeps the first id of a word that is given twice.
func (t *trie) add(word string, id int32) {
	node := int32(0)
	for i := range len(word) {
		next := t.next(node, word[i])
		if next == 0 {
			next = int32(len(t.ids))
			t.ids = append(t.ids, -1)
			if node == 0 {
				t.root[word[i]] = next
			} else {
				t.edges.put(pairKey(node, int32(word[i])), uint64(next))
			}
		}
		node = next
	}
	if node != 0 && t.ids[node] < 0 {
		t.ids[node] = id
	}
}

// next is the node behind node by b; 0 = none.
func (t *trie) next(node int32, b byte) int32 {
	if node == 0 {
		return t.root[b]
	}
	if v := t.edges.get(node, int32(b)); v != none {
		return int32(v)
	}
	return 0
}

// longest is the longest word at at: its id and end, or -1.
func (t *trie) longest(text string, at int) (id int32, end int) {
	id, node := -1, int32(0)
	for i := at; i < len(text); i++ {
		if node = t.next(node, text[i]); node == 0 {
			break
		}
		if t.ids[node] >= 0 {
			id, end = t.ids[node], i+1
		}
	}
	return id, end
}
