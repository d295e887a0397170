package token

import "unicode/utf8"

// wordPiece takes the longest token from the left, again and again; a word that
// does not work out is one unknown token.
type wordPiece struct {
	vocab    map[string]int32
	prefix   string
	unk      int32
	maxChars int
	longest  int // bytes of the longest token
}

func (m *wordPiece) word(e *encoder, piece string) {
	if utf8.RuneCountInString(piece) > m.maxChars {
		e.ids = append(e.ids, m.unk)
		return
	}
	before := len(e.ids)
	for at := 0; at < len(piece); {
		id, end := m.take(e, piece, at)
		if end == 0 {
			e.ids = append(e.ids[:before], m.unk)
			return
		}
		e.ids = append(e.ids, id)
		at = end
	}
}

func (m *wordPiece) take(e *encoder, piece string, at int) (int32, int) {
	e.key = e.key[:0]
	if at > 0 {
		e.key = append(e.key, m.prefix...)
	}
	head := len(e.key)
	end := min(len(piece), at+m.longest)
	e.key = append(e.key, piece[at:end]...)
	for ; end > at; end-- {
		if end < len(piece) && !utf8.RuneStart(piece[end]) {
			continue
		}
		if id, ok := m.vocab[string(e.key[:head+end-at])]; ok {
			return id, end
		}
	}
	return 0, 0
}

// wordLevel looks whole pieces up.
type wordLevel struct {
	vocab map[string]int32
	unk   int32
}

func (m *wordLevel) word(e *encoder, piece string) {
	if id, ok := m.vocab[piece]; ok {
		e.ids = append(e.ids, id)
	} else if m.unk >= 0 {
		e.ids = append(e.ids, m.unk)
	}
}
