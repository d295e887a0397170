package workload

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"llmdyno/internal/load/token"
)

// Tokenizer counts tokens on this machine, special tokens left aside; that of
// internal/load/token does.
type Tokenizer interface{ Count(text string) int }

// OpenTokenizer reads a tokenizer file, or the folder of a model that has one.
func OpenTokenizer(path string) (Tokenizer, error) {
	t, err := token.Open(path)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Counter asks somebody else for the number of tokens of a text, such as the
// server's own /tokenize.
type Counter func(text string) (int, error)

// Exact says that lengths are counted by a tokenizer or the server, not
// estimated.
func (s Spec) Exact() bool { return s.Tokenizer != nil || s.Counter != nil }

// MadeUp says that the prompts have no text of their own, so that they can be given
// any length.
func (s Spec) MadeUp() bool {
	return s.Kind.Synthetic() || s.Kind == KindConversation && s.Path == ""
}

// count is the number of tokens of a text: by the tokenizer, else by the
// counter, else by the rule of thumb that four bytes are a token.
func (s Spec) count(text string) (int, error) {
	switch {
	case s.Tokenizer != nil:
		return s.Tokenizer.Count(text), nil
	case s.Counter != nil:
		n, err := s.Counter(text)
		if err != nil {
			return 0, fmt.Errorf("counting the tokens of a text: %w", err)
		}
		return n, nil
	}
	return (len(text) + 3) / 4, nil
}

// The random streams of a workload are kept apart by these.
const (
	streamInput  = 0x696e707574
	streamOutput = 0x6f7574707574
	streamGroup  = 0x67726f7570
	streamPrefix = 0x707265666978
	streamTurns  = 0x7475726e73
	streamThink  = 0x7468696e6b
	streamReply  = 0x7265706c79
	streamBlock  = 0x626c6f636b
	streamOrder  = 0x6f72646572
)

// words draws one word after another: first those of a nonce, then any.
type words struct {
	r     *rand.Rand
	nonce uint64
	left  int // words of the nonce that are still to come
}

func newWords(seed, stream uint64, i int, nonce bool) *words {
	w := &words{r: rand.New(rand.NewPCG(seed^stream, uint64(i))), nonce: scatter(uint64(i), seed^stream)}
	if nonce {
		w.left = nonceWords
	}
	return w
}

func (w *words) next() string {
	if w.left > 0 {
		w.left--
		word := vocabulary[w.nonce&63]
		w.nonce >>= 6
		return word
	}
	return vocabulary[w.r.IntN(len(vocabulary))]
}

// maxTries bounds how often the end of a text is changed to make its count
// exact.
const maxTries = 512

// text is head and further words, together of want tokens; without a tokenizer
// or a counter, head and want − headLen words.
func (s Spec) text(w *words, head string, headLen, want int) (string, error) {
	add := make([]string, 0, max(want-headLen, 0))
	for range want - headLen {
		add = append(add, w.next())
	}
	if !s.Exact() {
		return glue(head, add), nil
	}
	nearest := -1
	for try := range maxTries {
		text := glue(head, add)
		n, err := s.count(text)
		if err != nil || n == want {
			return text, err
		}
		if nearest < 0 || abs(n-want) < abs(nearest-want) {
			nearest = n
		}
		// In proportion, at least one word. Up to three more are taken away in
		// turns, since words of two tokens can miss an odd number for ever.
		change := max(abs(n-want)*len(add)/max(n, 1), 1)
		switch {
		case n < want:
			for range change {
				add = append(add, w.next())
			}
		case len(add) == 0:
			return "", fmt.Errorf("no text of exactly %d tokens begins with the given one, which has %d", want, n)
		default:
			add = add[:max(len(add)-change-try%4, 0)]
		}
	}
	return "", fmt.Errorf("no text of exactly %d tokens was found in %d tries, the nearest has %d", want, maxTries, nearest)
}

func abs(x int) int { return max(x, -x) }

// glue joins words with spaces behind a head.
func glue(head string, add []string) string {
	tail := strings.Join(add, " ")
	if head == "" || tail == "" {
		return head + tail
	}
	return head + " " + tail
}

// nonce is the text that tells request i apart from its first token on.
func (s Spec) nonce(i int) string {
	w := newWords(s.Seed, 0, i, true)
	return w.next() + " " + w.next() + " " + w.next() + ": "
}
