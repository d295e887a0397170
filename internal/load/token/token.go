package token

import (
	"hash/maphash"
	"strings"
	"sync"
	"unicode/utf8"
)

// Tokenizer turns text into ids and back. Make one with Open.
type Tokenizer struct {
	name   string
	tokens []string // by id, as the file writes them; what no id has is ""
	known  int      // ids that have a token

	added      *addedTokens // looked for in the text as given
	normalized *addedTokens // looked for after normalizing
	normalize  normalizer   // nil = none
	stages     []splitter
	model      model
	before     []int // ids that the post-processor puts in front
	after      []int // … and behind
	decoder    decoder

	encoders sync.Pool
}

// model turns one piece into ids, appended to e.ids.
type model interface {
	word(e *encoder, piece string)
}

// Name is the file's or folder's name without its ending.
func (t *Tokenizer) Name() string { return t.name }

// Vocab is the number of ids that stand for a token, added tokens included.
func (t *Tokenizer) Vocab() int { return t.known }

// Encode returns the ids of a text. special adds what the post-processor asks
// for (begin and end of text). Added tokens that the text spells out become
// their ids in either case, as they do on the server.
func (t *Tokenizer) Encode(text string, special bool) []int {
	e := t.encoder()
	defer t.encoders.Put(e)
	e.text(text)
	n := len(e.ids)
	if special {
		n += len(t.before) + len(t.after)
	}
	out := make([]int, 0, n)
	if special {
		out = append(out, t.before...)
	}
	for _, id := range e.ids {
		out = append(out, int(id))
	}
	if special {
		out = append(out, t.after...)
	}
	return out
}

// Count is the number of ids of a text without those of the post-processor.
func (t *Tokenizer) Count(text string) int {
	e := t.encoder()
	defer t.encoders.Put(e)
	e.text(text)
	return len(e.ids)
}

// Special is the number of ids that the post-processor adds to a text.
func (t *Tokenizer) Special() int { return len(t.before) + len(t.after) }

// Decode writes ids as text, special tokens included (a SentencePiece model shows
// no control pieces). Ids without a token are left out; bytes that are no UTF-8
// become U+FFFD.
func (t *Tokenizer) Decode(ids []int) string {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		if id >= 0 && id < len(t.tokens) && t.tokens[id] != "" {
			tokens = append(tokens, t.tokens[id])
		}
	}
	if t.decoder == nil {
		return strings.Join(tokens, " ")
	}
	return strings.Join(t.decoder(tokens), "")
}

func (t *Tokenizer) encoder() *encoder {
	if e, ok := t.encoders.Get().(*encoder); ok {
		e.ids = e.ids[:0]
		return e
	}
	return &encoder{t: t, cache: make([]cacheSlot, cacheSlots)}
}

// encoder is the working memory of one call. Encoders are kept with the words
// that they know, since a text repeats its words.
type encoder struct {
	t     *Tokenizer
	ids   []int32
	cache []cacheSlot
	// bpe
	syms, prev, next []int32
	heap             []candidate
	// unigram
	steps []step
	spans []span
	// word piece
	key []byte
}

const (
	cacheSlots = 1 << 14
	cacheBytes = 48 // longer pieces seldom come again
)

type cacheSlot struct {
	piece string
	ids   []int32
}

var seed = maphash.MakeSeed()

// cached encodes a piece by a model, or copies what it gave last time.
func (e *encoder) cached(m model, piece string) {
	if len(piece) > cacheBytes {
		m.word(e, piece)
		return
	}
	s := &e.cache[maphash.String(seed, piece)%cacheSlots]
	if s.piece == piece {
		e.ids = append(e.ids, s.ids...)
		return
	}
	from := len(e.ids)
	m.word(e, piece)
	s.piece, s.ids = strings.Clone(piece), append(s.ids[:0:0], e.ids[from:]...)
}

// text encodes a whole text: added tokens first, the rest through the pipeline.
func (e *encoder) text(text string) {
	text = validUTF8(text)
	e.t.added.cut(text, func(id int32, piece string, atStart bool) {
		if id >= 0 {
			e.ids = append(e.ids, id)
			return
		}
		e.t.normalized.cut(e.t.spelled(piece), func(id int32, piece string, first bool) {
			if id >= 0 {
				e.ids = append(e.ids, id)
				return
			}
			e.stage(0, piece, atStart && first)
		})
	})
}

// stage hands a piece to a splitter, or after the last one to the model.
func (e *encoder) stage(n int, piece string, atStart bool) {
	switch {
	case piece == "":
	case n < len(e.t.stages):
		e.t.stages[n].split(e, n, piece, atStart)
	default:
		e.piece(piece)
	}
}

func (e *encoder) piece(piece string) {
	if m, ok := e.t.model.(*bpe); ok && m.cut {
		m.words(e, piece)
		return
	}
	e.cached(e.t.model, piece)
}

// validUTF8 writes U+FFFD for each byte that is no UTF-8.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}
