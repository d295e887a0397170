package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// readModel builds the model and returns its vocabulary.
func (t *Tokenizer) readModel(m *modelText) (map[string]int32, error) {
	kind := m.kind()
	if kind == "Unigram" {
		return t.readUnigram(m)
	}
	var vocab map[string]int32
	if err := json.Unmarshal(m.Vocab, &vocab); err != nil {
		return nil, fmt.Errorf("model.vocab: %w; expected an object of token to id", err)
	}
	if err := t.setTokens(vocab); err != nil {
		return nil, err
	}
	switch kind {
	case "BPE":
		return vocab, t.readBPE(m, vocab)
	case "WordPiece":
		return vocab, t.readWordPiece(m, vocab)
	case "WordLevel":
		unk, err := m.unknown(vocab)
		t.model = &wordLevel{vocab, unk}
		return vocab, err
	}
	return nil, fmt.Errorf("model.type %q is not known; expected BPE, Unigram, WordPiece or WordLevel", kind)
}

// kind is the model's type; old files leave it out.
func (m *modelText) kind() string {
	switch {
	case m.Type != "":
		return m.Type
	case m.Merges != nil:
		return "BPE"
	case len(m.Vocab) > 0 && m.Vocab[0] == '[':
		return "Unigram"
	case m.MaxInputChars != nil:
		return "WordPiece"
	}
	return "WordLevel"
}

// unknown is the id of unk_token, -1 when there is none.
func (m *modelText) unknown(vocab map[string]int32) (int32, error) {
	if m.UnkToken == nil || *m.UnkToken == "" {
		return -1, nil
	}
	id, ok := vocab[*m.UnkToken]
	if !ok {
		return -1, fmt.Errorf("model.unk_token %q is not in model.vocab", *m.UnkToken)
	}
	return id, nil
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (t *Tokenizer) readBPE(m *modelText, vocab map[string]int32) error {
	if m.Dropout != nil && *m.Dropout > 0 {
		return fmt.Errorf("model.dropout is %v: such a tokenizer gives other ids each time; expected none", *m.Dropout)
	}
	b := &bpe{vocab: vocab, prefix: orEmpty(m.SubwordPrefix), suffix: orEmpty(m.WordSuffix), fuseUnk: m.FuseUnk}
	var err error
	if b.unk, err = m.unknown(vocab); err != nil {
		return err
	}
	if m.ByteFallback {
		b.byteFallback = byteTokens(vocab)
	}
	if m.IgnoreMerges {
		b.whole = vocab
	}
	t.readBytes(b)
	t.model = b
	return b.learnMerges(m.Merges)
}

// readBytes lets a byte-level model read bytes instead of characters of the
// byte-level alphabet, when that is what its last splitter writes.
func (t *Tokenizer) readBytes(b *bpe) {
	last := len(t.stages) - 1
	if last < 0 || b.prefix != "" || b.suffix != "" || b.byteFallback != nil {
		return
	}
	if _, ok := t.stages[last].(byteChars); !ok {
		return
	}
	t.stages = t.stages[:last]
	b.bytes = new([256]int32)
	for i, c := range byteChar {
		id, ok := b.vocab[string(c)]
		if !ok {
			id = -1
		}
		b.bytes[i] = id
	}
	if b.whole == nil {
		return
	}
	b.whole = make(map[string]int32, len(b.vocab))
	for token, id := range b.vocab {
		if raw, ok := fromByteChars(token); ok {
			b.whole[raw] = id
		}
	}
}

func byteTokens(vocab map[string]int32) *[256]int32 {
	out := new([256]int32)
	for i := range out {
		id, ok := vocab[fmt.Sprintf("<0x%02X>", i)]
		if !ok {
			id = -1
		}
		out[i] = id
	}
	return out
}

func (t *Tokenizer) readWordPiece(m *modelText, vocab map[string]int32) error {
	w := &wordPiece{vocab: vocab, prefix: "##", maxChars: 100}
	if m.SubwordPrefix != nil {
		w.prefix = *m.SubwordPrefix
	}
	if m.MaxInputChars != nil {
		w.maxChars = *m.MaxInputChars
	}
	for token := range vocab {
		w.longest = max(w.longest, len(token))
	}
	t.model = w
	var err error
	if w.unk, err = m.unknown(vocab); err == nil && w.unk < 0 {
		err = errors.New("model.unk_token: expected one for WordPiece")
	}
	return err
}

// scored is a token with its log probability, written as a list of two.
type scored struct {
	token string
	score float64
}

func (s *scored) UnmarshalJSON(raw []byte) error {
	var number json.Number
	pair := []any{&s.token, &number}
	if err := json.Unmarshal(raw, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return errors.New("expected [token, score]")
	}
	var err error
	s.score, err = serdeFloat(string(number))
	return err
}

// serdeFloat reads a number as the reference's JSON reader does (serde_json
// without float_roundtrip): all digits as one integer, rounded, then divided or
// multiplied by a power of ten, rounded again. That may be one unit in the last
// place off, and between splits of equal score that unit decides.
func serdeFloat(s string) (float64, error) {
	text, negative := strings.CutPrefix(s, "-")
	mantissa, expText, scaled := strings.Cut(strings.ToLower(text), "e")
	exp := 0
	if scaled {
		var err error
		if exp, err = strconv.Atoi(expText); err != nil {
			return 0, fmt.Errorf("score %q: %w", s, err)
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := uint64(0)
	for i := range len(whole) + len(fraction) {
		d := (whole + fraction)[i] - '0'
		if d > 9 {
			return 0, fmt.Errorf("score %q: expected a number", s)
		}
		if digits > (math.MaxUint64-uint64(d))/10 {
			exp += max(len(whole)-i, 0)
			break
		}
		digits = digits*10 + uint64(d)
		if i >= len(whole) {
			exp--
		}
	}
	f := float64(digits)
	switch {
	case exp < -300 || exp > 300: // beyond one power of ten; the last place decides nothing here
		f, _ = strconv.ParseFloat(strings.TrimPrefix(s, "-"), 64)
	case exp < 0:
		f /= math.Pow10(-exp)
	default:
		f *= math.Pow10(exp)
	}
	if negative {
		f = -f
	}
	return f, nil
}

func (t *Tokenizer) readUnigram(m *modelText) (map[string]int32, error) {
	var list []scored
	if err := json.Unmarshal(m.Vocab, &list); err != nil {
		return nil, fmt.Errorf("model.vocab: %w; expected a list of [token, score]", err)
	}
	u := &unigram{words: newTrie(len(list)), vocab: make(map[string]int32, len(list)), unk: -1, scores: make([]float64, len(list))}
	if m.UnkID != nil {
		if u.unk = int32(*m.UnkID); *m.UnkID < 0 || *m.UnkID >= len(list) {
			return nil, fmt.Errorf("model.unk_id is %d; expected an index of model.vocab, 0 to %d", *m.UnkID, len(list)-1)
		}
	}
	least := math.Inf(1)
	for i, s := range list {
		u.scores[i], least = s.score, min(least, s.score)
		u.words.add(s.token, int32(i))
		u.vocab[s.token] = int32(i)
	}
	u.unkScore = least - unkPenalty
	if m.ByteFallback {
		u.fallback = byteTokens(u.vocab)
	}
	t.model = u
	return u.vocab, t.setTokens(u.vocab)
}
