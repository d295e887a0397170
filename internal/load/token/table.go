package token

import "math/bits"

// pairTable maps pairs of ids to a value: open addressing, since the merge loop
// is little else than this look-up.
type pairTable struct {
	slots []pairSlot
	shift uint
	used  int
}

type pairSlot struct{ key, val uint64 }

const (
	noKey = ^uint64(0)
	none  = ^uint64(0) // no value: sorts behind every rank
)

func newPairTable(n int) pairTable {
	size := 1 << bits.Len(uint(max(n, 8)*2-1))
	t := pairTable{slots: make([]pairSlot, size), shift: uint(64 - bits.TrailingZeros(uint(size)))}
	for i := range t.slots {
		t.slots[i].key = noKey
	}
	return t
}

func pairKey(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

func (t *pairTable) get(a, b int32) uint64 {
	key := pairKey(a, b)
	mask := len(t.slots) - 1
	for i := int(key*0x9E3779B97F4A7C15>>t.shift) & mask; ; i = (i + 1) & mask {
		switch s := &t.slots[i]; s.key {
		case key:
			return s.val
		case noKey:
			return none
		}
	}
}

func (t *pairTable) put(key, val uint64) {
	if t.used*2 >= len(t.slots) {
		t.grow()
	}
	mask := len(t.slots) - 1
	i := int(key*0x9E3779B97F4A7C15>>t.shift) & mask
	for t.slots[i].key != key && t.slots[i].key != noKey {
		i = (i + 1) & mask
	}
	if t.slots[i].key == noKey {
		t.used++
	}
	t.slots[i] = pairSlot{key, val}
}

func (t *pairTable) grow() {
	old := *t
	*t = newPairTable(len(old.slots))
	for _, s := range old.slots {
		if s.key != noKey {
			t.put(s.key, s.val)
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
