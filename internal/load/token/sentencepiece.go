package token

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Kinds of pieces and models in sentencepiece_model.proto (google/sentencepiece
// src/sentencepiece_model.proto, v0.2.1).
const (
	pieceNormal = 1 + iota
	pieceUnknown
	pieceControl
	pieceUserDefined
	pieceUnused
	pieceByte

	modelUnigram = 1
	modelBPE     = 2
)

type spPiece struct {
	text  string
	score float32
	kind  int
}

// spModel is what a SentencePiece model file says, with the format's defaults.
type spModel struct {
	pieces       []spPiece
	kind         int
	byteFallback bool
	suffixSpace  bool
	charsMap     []byte
	dummyPrefix  bool
	squeeze      bool // remove_extra_whitespaces
	escape       bool // escape_whitespaces
}

// wireField is one field of a protocol buffer.
type wireField struct {
	num  int
	n    uint64 // varint, or the bits of a fixed-size value
	data []byte
}

var errWire = errors.New("expected a SentencePiece model (a protocol buffer), a tokenizer.json or tiktoken ranks")

// eachField walks a message of the protocol-buffer wire format.
func eachField(msg []byte, f func(wireField) error) error {
	for len(msg) > 0 {
		tag, n := binary.Uvarint(msg)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 1<<29 {
			return errWire
		}
		msg = msg[n:]
		field := wireField{num: int(tag >> 3)}
		size := 0
		switch tag & 7 {
		case 0:
			if field.n, size = binary.Uvarint(msg); size <= 0 {
				return errWire
			}
		case 1:
			size = 8
		case 5:
			size = 4
		case 2:
			length, n := binary.Uvarint(msg)
			if n <= 0 || length > uint64(len(msg)-n) {
				return errWire
			}
			field.data = msg[n : n+int(length)]
			size = n + int(length)
		default:
			return errWire
		}
		if size > len(msg) {
			return errWire
		}
		if tag&7 == 5 {
			field.n = uint64(binary.LittleEndian.Uint32(msg))
		}
		msg = msg[size:]
		if err := f(field); err != nil {
			return err
		}
	}
	return nil
}

func readSPModel(raw []byte) (*spModel, error) {
	m := &spModel{kind: modelUnigram, dummyPrefix: true, squeeze: true, escape: true}
	err := eachField(raw, func(f wireField) error {
		switch f.num {
		case 1:
			p := spPiece{kind: pieceNormal}
			if len(m.pieces) >= MaxVocab {
				return fmt.Errorf("more than %d pieces", MaxVocab)
			}
			err := eachField(f.data, func(f wireField) error {
				switch f.num {
				case 1:
					p.text = string(f.data)
				case 2:
					p.score = math.Float32frombits(uint32(f.n))
				case 3:
					p.kind = int(f.n)
				}
				return nil
			})
			m.pieces = append(m.pieces, p)
			return err
		case 2:
			return eachField(f.data, m.trainer)
		case 3:
			return eachField(f.data, m.normalizer)
		}
		return nil
	})
	if err == nil && len(m.pieces) == 0 {
		err = errWire
	}
	return m, err
}

func (m *spModel) trainer(f wireField) error {
	switch f.num {
	case 3:
		m.kind = int(f.n)
	case 24:
		m.suffixSpace = f.n != 0
	case 35:
		m.byteFallback = f.n != 0
	}
	return nil
}

func (m *spModel) normalizer(f wireField) error {
	switch f.num {
	case 2:
		m.charsMap = f.data
	case 3:
		m.dummyPrefix = f.n != 0
	case 4:
		m.squeeze = f.n != 0
	case 5:
		m.escape = f.n != 0
	}
	return nil
}

// parseSentencePiece builds a tokenizer that encodes as SentencePiece itself
// does. Control pieces (<s>, </s>) written in a text are text, not tokens.
func parseSentencePiece(raw []byte) (*Tokenizer, error) {
	m, err := readSPModel(raw)
	if err != nil {
		return nil, err
	}
	if m.suffixSpace {
		return nil, errors.New("treat_whitespace_as_suffix is set; expected a model that puts spaces in front of words")
	}
	chars, err := parseCharsMap(m.charsMap)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{decoder: m.decoder()}
	user, err := t.spTokens(m)
	if err != nil {
		return nil, err
	}
	t.normalize = func(s string) string { return m.normalize(s, chars, user) }
	switch m.kind {
	case modelUnigram:
		t.model = m.unigram()
	case modelBPE:
		return t, t.spBPE(m, user)
	default:
		return nil, fmt.Errorf("model_type %d; expected unigram (1) or BPE (2)", m.kind)
	}
	return t, nil
}

// spTokens fills the table of tokens and returns the user-defined ones.
func (t *Tokenizer) spTokens(m *spModel) (*trie, error) {
	user := newTrie(16)
	for i, p := range m.pieces {
		if p.text == "" {
			return nil, fmt.Errorf("piece %d is empty; expected text", i)
		}
		if err := t.setToken(int32(i), p.text); err != nil {
			return nil, err
		}
		if p.kind == pieceUserDefined {
			user.add(p.text, int32(i))
		}
	}
	return user, nil
}

// normalize follows Normalizer::Normalize of SentencePiece's normalizer.cc: replace
// the longest known sequences but not inside user-defined pieces, put one space in
// front, squeeze runs of spaces, mark them.
func (m *spModel) normalize(s string, chars *charsMap, user *trie) string {
	var b strings.Builder
	for at := 0; at < len(s); {
		if id, end := user.longest(s, at); id >= 0 {
			b.WriteString(s[at:end])
			at = end
			continue
		}
		if with, n := chars.prefix(s[at:], true); n > 0 {
			b.WriteString(with)
			at += n
			continue
		}
		n := runeLen(s, at)
		b.WriteString(s[at : at+n])
		at += n
	}
	s = b.String()
	if m.squeeze {
		s = squeezed(s)
	}
	if m.dummyPrefix && s != "" {
		s = " " + s
	}
	if m.escape {
		s = strings.ReplaceAll(s, " ", spaceMark)
	}
	return s
}

// squeezed drops spaces at both ends and all but one of a run.
func squeezed(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }), " ")
}

func (m *spModel) unknown() int32 {
	return int32(slices.IndexFunc(m.pieces, func(p spPiece) bool { return p.kind == pieceUnknown }))
}

func (m *spModel) bytes() *[256]int32 {
	if !m.byteFallback {
		return nil
	}
	vocab := map[string]int32{}
	for i, p := range m.pieces {
		if p.kind == pieceByte {
			vocab[p.text] = int32(i)
		}
	}
	return byteTokens(vocab)
}

// unigram scores user-defined pieces so that they always win: their length
// times the best score, less a tenth (unigram_model.cc).
func (m *spModel) unigram() *unigram {
	u := &unigram{words: newTrie(len(m.pieces)), scores: make([]float64, len(m.pieces)), unk: m.unknown(), single: true,
		vocab: map[string]int32{}, fallback: m.bytes()}
	least, most := float32(math.MaxFloat32), float32(-math.MaxFloat32)
	for _, p := range m.pieces {
		if p.kind == pieceNormal {
			least, most = min(least, p.score), max(most, p.score)
		}
	}
	for i, p := range m.pieces {
		u.scores[i] = float64(p.score)
		switch p.kind {
		case pieceUserDefined:
			u.scores[i] = float64(float32(utf8.RuneCountInString(p.text))*most - 0.1)
		case pieceNormal:
		default:
			continue
		}
		u.words.add(p.text, int32(i))
	}
	u.unkScore = float64(least - unkPenalty)
	return u
}

// spBPE merges by score: the best first, and the leftmost of equals.
func (t *Tokenizer) spBPE(m *spModel, user *trie) error {
	vocab := map[string]int32{}
	order := make([]int32, 0, len(m.pieces))
	for i, p := range m.pieces {
		switch p.kind {
		case pieceUnused:
			return fmt.Errorf("piece %d (%q) is unused, which changes how BPE splits; expected none such", i, p.text)
		case pieceNormal: // user-defined ones are symbols from the start and never merged
			vocab[p.text] = int32(i)
			order = append(order, int32(i))
		}
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(m.pieces[b].score, m.pieces[a].score) })
	ranks := make([]uint32, len(m.pieces))
	for i := 1; i < len(order); i++ {
		ranks[order[i]] = ranks[order[i-1]]
		if m.pieces[order[i]].score != m.pieces[order[i-1]].score {
			ranks[order[i]]++
		}
	}
	b := &bpe{vocab: vocab, unk: m.unknown(), fuseUnk: true, byteFallback: m.bytes(), frozen: user}
	b.learnRanks(vocab, func(id int32) uint32 { return ranks[id] })
	b.cut, b.joins = b.canCut(), map[rune]bool{}
	for _, p := range m.pieces {
		b.learnJoins(p.text)
	}
	t.model = b
	return nil
}

// spDecoder is SentencePiece's: bytes back to text, marks to spaces, no control
// pieces, " ⁇ " for an unknown one, the space that was put in front taken away.
func (m *spModel) decoder() decoder {
	shown := map[string]string{}
	for _, p := range m.pieces {
		switch p.kind {
		case pieceControl:
			shown[p.text] = ""
		case pieceUnknown:
			shown[p.text] = " ⁇ "
		}
	}
	return func(tokens []string) []string {
		var b strings.Builder
		atStart := m.dummyPrefix || m.squeeze
		for _, t := range tokens {
			if raw, ok := byteToken(t); ok && m.byteFallback {
				b.WriteByte(raw)
				continue
			}
			if text, ok := shown[t]; ok {
				b.WriteString(text)
				continue
			}
			if atStart && b.Len() == 0 {
				var marked bool
				t, marked = strings.CutPrefix(t, spaceMark)
				atStart = m.squeeze || !marked
			}
			b.WriteString(strings.ReplaceAll(t, spaceMark, " "))
		}
		return []string{validUTF8(b.String())}
	}
}
