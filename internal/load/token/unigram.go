package token

import "unicode/utf8"

// unigram picks the split of a piece with the highest sum of log probabilities.
type unigram struct {
	words    *trie
	scores   []float64
	vocab    map[string]int32
	unk      int32 // -1 = none
	unkScore float64
	single   bool // sums are kept in float32, as SentencePiece does
	fallback *[256]int32
}

// unkPenalty is what an unknown character costs below the least likely token
// (kUnkPenalty of SentencePiece's unigram_model.cc, K_UNK_PENALTY of Hugging Face).
const unkPenalty = 10.0

// step is the best way to reach a byte.
type step struct {
	score float64
	from  int32 // -1 = not reached
	id    int32
}

func (m *unigram) word(e *encoder, piece string) {
	m.forward(e, piece)
	// Walk back, joining runs of unknown characters into one.
	e.spans = e.spans[:0]
	for end := int32(len(piece)); end > 0; {
		s := e.steps[end]
		if n := len(e.spans); n > 0 && m.unk >= 0 && s.id == m.unk && e.spans[n-1].id == m.unk {
			e.spans[n-1].from = s.from
		} else {
			e.spans = append(e.spans, span{s.from, end, s.id})
		}
		end = s.from
	}
	for i := len(e.spans) - 1; i >= 0; i-- {
		m.emit(e, piece[e.spans[i].from:e.spans[i].to], e.spans[i].id)
	}
}

type span struct{ from, to, id int32 }

func (m *unigram) emit(e *encoder, text string, id int32) {
	if id >= 0 && id != m.unk {
		e.ids = append(e.ids, id)
		return
	}
	if known, ok := m.vocab[text]; ok {
		e.ids = append(e.ids, known)
		return
	}
	if m.fallback != nil {
		n := len(e.ids)
		for i := range len(text) {
			b := m.fallback[text[i]]
			if b < 0 {
				e.ids = e.ids[:n]
				break
			}
			e.ids = append(e.ids, b)
		}
		if len(e.ids) > n {
			return
		}
	}
	if m.unk >= 0 {
		e.ids = append(e.ids, m.unk)
	}
}

func (m *unigram) forward(e *encoder, piece string) {
	n := len(piece)
	if cap(e.steps) < n+1 {
		e.steps = make([]step, n+1)
	}
	e.steps = e.steps[:n+1]
	for i := range e.steps {
		e.steps[i] = step{from: -1}
	}
	for at := 0; at < n; {
		_, size := utf8.DecodeRuneInString(piece[at:])
		here, alone := e.steps[at].score, false
		node := int32(0)
		for i := at; i < n; i++ {
			if node = m.words.next(node, piece[i]); node == 0 {
				break
			}
			if id := m.words.ids[node]; id >= 0 {
				m.reach(&e.steps[i+1], here, m.scores[id], int32(at), id)
				alone = alone || i+1-at == size
			}
		}
		if !alone {
			m.reach(&e.steps[at+size], here, m.unkScore, int32(at), m.unk)
		}
		at += size
	}
}

func (m *unigram) reach(s *step, here, score float64, from, id int32) {
	sum := here + score
	if m.single {
		sum = float64(float32(here) + float32(score))
	}
	if s.from < 0 || sum > s.score {
		*s = step{sum, from, id}
	}
}
