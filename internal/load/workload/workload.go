// Package workload makes what a trial sends: the prompts, their wanted output
// lengths, and the instants at which they are due.
//
//	Spec      →  []Request          (prompts and lengths)
//	Arrivals  →  []time.Duration    (absolute offsets from the start of a trial)
//
// Both are functions of their seed alone, and both are stable under extension:
// the first n of a longer workload are the workload of n. What is drawn for
// request i depends on the seed and on i, never on how many were asked for.
package workload

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/engine"
)

// Kind names where prompts come from.
type Kind string

// The kinds of workloads.
const (
	// KindRandom makes texts of unrelated words. InputLen counts words: one
	// common English word is close to one token in the vocabularies of current
	// models, and the server's own count of prompt tokens is what is reported.
	KindRandom Kind = "random"
	// KindCustom reads prompts from a JSONL file; see [ReadCustom].
	KindCustom Kind = "custom"
	// KindPrefix makes random prompts that share their beginnings; see [Prefix].
	KindPrefix Kind = "shared_prefix"
	// KindShareGPT takes the first exchange of recorded conversations; see
	// [Spec.ReadShareGPT].
	KindShareGPT Kind = "sharegpt"
	// KindConversation makes conversations of several turns, or reads them; see
	// [Spec.ReadConversations].
	KindConversation Kind = "conversation"
	// KindMooncake reads a Mooncake trace; see [Spec.ReadMooncake].
	KindMooncake Kind = "mooncake"
	// KindRequests reads a request list; see [ReadRequests].
	KindRequests Kind = "requests"
)

// Kinds are all kinds.
var Kinds = []Kind{KindRandom, KindCustom, KindPrefix, KindShareGPT, KindConversation, KindMooncake, KindRequests}

// Synthetic says that the texts mean nothing, so that a model has to be kept from
// ending early if it shall give the wanted output length.
func (k Kind) Synthetic() bool {
	return k == "" || k == KindRandom || k == KindPrefix || k == KindMooncake
}

// maxPrompts and maxLen bound what a workload may ask for: beyond them the
// texts alone would fill the memory of an ordinary machine.
const (
	maxPrompts = 10_000_000
	maxLen     = 10_000_000
	maxWords   = 2_000_000_000 // words of all prompts together
)

// Spec describes a workload.
type Spec struct {
	Kind Kind `json:"kind"` // "" = random
	// NumPrompts is the number of requests, every turn of a conversation being
	// one. For a file 0 = all its rows, and rows are taken again from the first
	// when there are fewer.
	NumPrompts int `json:"num_prompts,omitzero"`
	// InputLen and OutputLen are fixed lengths in tokens; Input and Output are
	// distributions in their place. Prompts that are made have the input length,
	// nonce included, exactly where Tokenizer or Counter is given, and in words
	// otherwise. For files only the output length counts, for rows that have none.
	InputLen  int     `json:"input_len,omitzero"`
	OutputLen int     `json:"output_len,omitzero"`
	Input     Lengths `json:"input,omitzero"`
	Output    Lengths `json:"output,omitzero"`
	Compat    Compat  `json:"compat,omitzero"` // meaning of a range ratio
	Seed      uint64  `json:"seed"`            // of all that is drawn
	Path      string  `json:"path,omitzero"`   // of a file
	// Extra are request body fields given to every request.
	Extra map[string]any `json:"extra_request_body,omitempty"`
	// Nonce puts words that no other request has before each prompt, so that a
	// prefix cache finds nothing; the turns of a conversation have the same one.
	// nil = true for KindRandom, else false.
	Nonce *bool `json:"nonce,omitempty"`

	Tokenizer Tokenizer `json:"-"` // nil = none
	Counter   Counter   `json:"-"` // asked where there is no tokenizer; nil = none

	Prefix Prefix `json:"prefix,omitzero"` // of KindPrefix
	// Turns and ThinkMs are the number of turns of a conversation that is made,
	// and the time in ms between the end of a turn and the next one where its
	// file does not say.
	Turns   Lengths `json:"turns,omitzero"`
	ThinkMs Lengths `json:"think_ms,omitzero"`
	// BlockTokens are the tokens of one hash of a Mooncake trace; 0 = 512.
	BlockTokens int `json:"block_tokens,omitzero"`
	// MinTokens, MaxInput and MaxTotal leave out what is shorter or longer in a
	// ShareGPT file; 0 = the bounds of the compatibility word.
	MinTokens int `json:"min_tokens,omitzero"`
	MaxInput  int `json:"max_input,omitzero"`
	MaxTotal  int `json:"max_total,omitzero"`
}

// Request is one prompt before it is put into a wire format.
type Request struct {
	Index        int    // position in the workload, from 0
	Prompt       string // text; empty when PromptTokens or Messages is set
	PromptTokens []int
	Messages     []engine.Message
	InputLen     int // wanted prompt tokens; 0 = not stated
	// SharedLen are the tokens at the beginning that an earlier request of the
	// workload has too, as planned; -1 = not known.
	SharedLen int
	OutputLen int // wanted output tokens; 0 = left to the server
	// Extra are further body fields; a row's own win over the workload's.
	Extra map[string]any

	// After is 1 + the index of the request whose end this one waits for, as the
	// turns of a conversation do; 0 = it has an arrival of its own. Think is the
	// time from that end to this one's arrival.
	After int
	Think time.Duration
	// At is the instant of the request in the trace that it comes from, since the
	// trace's first; 0 without one.
	At time.Duration
}

// Requests makes the workload.
func (s Spec) Requests() ([]Request, error) {
	if s.NumPrompts < 0 || s.NumPrompts > maxPrompts {
		return nil, fmt.Errorf("workload: number of prompts %d: expected 0 to %d", s.NumPrompts, maxPrompts)
	}
	if s.InputLen < 0 || s.InputLen > maxLen || s.OutputLen < 0 || s.OutputLen > maxLen {
		return nil, fmt.Errorf("workload: lengths %d in and %d out: expected 0 to %d each", s.InputLen, s.OutputLen, maxLen)
	}
	if err := s.validateLengths(); err != nil {
		return nil, err
	}
	reqs, err := s.make()
	if err != nil {
		return nil, err
	}
	return s.finish(reqs)
}

func (s Spec) validateLengths() error {
	for name, l := range map[string]Lengths{"input": s.Input, "output": s.Output, "turns": s.Turns, "think": s.ThinkMs} {
		if err := l.Validate(); err != nil {
			return fmt.Errorf("workload: %s lengths: %w", name, err)
		}
	}
	if s.Compat != "" && !slices.Contains(Compats, s.Compat) {
		return fmt.Errorf("workload: compatibility with %q is not known; expected one of %q", s.Compat, Compats)
	}
	return nil
}

// lengths are the distributions of input and output.
func (s Spec) lengths() (in, out Lengths) {
	in, out = s.Input, s.Output
	if in.IsZero() {
		in = Fixed(s.InputLen)
	}
	if out.IsZero() {
		out = Fixed(s.OutputLen)
	}
	return in, out
}

// Longest is the number of tokens of the longest request of a workload that is
// made, prompt and output together; ok is false where nothing bounds it.
func (s Spec) Longest() (n int, ok bool) {
	in, out := s.lengths()
	i, okIn := in.Longest(s.Compat)
	o, okOut := out.Longest(s.Compat)
	if !okIn || !okOut {
		return 0, false
	}
	switch {
	case s.Kind == KindRandom || s.Kind == "":
		return i + o, true
	case s.Kind == KindPrefix:
		return s.Prefix.Len + i + o, true
	case s.Kind == KindConversation && s.Path == "":
		turns, bounded := s.Turns.Longest("")
		return max(turns, 1) * (i + o), bounded
	}
	return 0, false
}

// outputLen is the output length of row i of a file that does not say.
func (s Spec) outputLen(i int) int {
	_, out := s.lengths()
	return out.Draw(s.Seed, streamOutput, i, s.Compat)
}

func (s Spec) make() ([]Request, error) {
	switch s.Kind {
	case KindRandom, "":
		return s.random()
	case KindPrefix:
		return s.sharedPrefix()
	case KindConversation:
		if s.Path == "" {
			return s.conversations()
		}
		return s.fromFile(s.ReadConversations)
	case KindCustom:
		return s.custom()
	case KindShareGPT:
		return s.fromFile(s.ReadShareGPT)
	case KindMooncake:
		return s.fromFile(s.ReadMooncake)
	case KindRequests:
		return s.fromFile(ReadRequests)
	}
	return nil, fmt.Errorf("workload kind %q is not known; expected one of %q", s.Kind, Kinds)
}

// fromFile reads the rows of the workload's file.
func (s Spec) fromFile(read func(io.Reader, string) ([]Request, error)) ([]Request, error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, fmt.Errorf("workload: %w; name an existing file", err)
	}
	defer f.Close()
	return read(f, s.Path)
}

// finish gives rows their number, their nonce and the workload's own fields.
func (s Spec) finish(rows []Request) ([]Request, error) {
	out := repeat(rows, s.NumPrompts)
	for i := range out {
		q := &out[i]
		q.Index, q.Extra = i, merge(s.Extra, q.Extra)
		if s.wantsNonce() && s.Kind != KindRandom && s.Kind != "" {
			if err := s.mark(out, i); err != nil {
				return nil, fmt.Errorf("workload: request %d: %w", i, err)
			}
		}
	}
	return out, nil
}

// repeat is n of the rows, taken again from the first when there are fewer; 0 =
// each once. A row that waits for another waits for the one of its own passage.
func repeat(rows []Request, n int) []Request {
	if n == 0 || n == len(rows) || len(rows) == 0 {
		return rows
	}
	var round time.Duration // from one passage to the next
	for _, q := range rows {
		round = max(round, q.At)
	}
	if len(rows) > 1 {
		round += round / time.Duration(len(rows)-1)
	}
	out := make([]Request, n)
	for i := range out {
		passage := i / len(rows)
		out[i] = rows[i%len(rows)]
		out[i].At += time.Duration(passage) * round
		if out[i].After > 0 {
			out[i].After += passage * len(rows)
		}
		if passage > 0 && out[i].SharedLen >= 0 {
			out[i].SharedLen = out[i].InputLen
		}
	}
	return out
}

// root is the first request of the conversation of request i.
func root(reqs []Request, i int) int {
	for reqs[i].After > 0 {
		i = reqs[i].After - 1
	}
	return i
}

func (s Spec) wantsNonce() bool {
	if s.Nonce == nil {
		return s.Kind == KindRandom || s.Kind == ""
	}
	return *s.Nonce
}

// mark puts the nonce of its conversation before request i.
func (s Spec) mark(reqs []Request, i int) error {
	q, nonce := &reqs[i], s.nonce(root(reqs, i))
	switch {
	case s.Kind == KindPrefix || s.Kind == KindMooncake:
		return fmt.Errorf("a nonce would take away what the prompts of kind %s share; leave it off and change the seed instead", s.Kind)
	case len(q.PromptTokens) > 0:
		return errors.New("a nonce cannot be put before token ids; leave it off")
	case len(q.Messages) > 0:
		q.Messages = slices.Clone(q.Messages)
		q.Messages[0] = q.Messages[0].WithPrefix(nonce)
	default:
		q.Prompt = nonce + q.Prompt
	}
	if q.InputLen > 0 {
		n, err := s.count(nonce)
		if err != nil {
			return err
		}
		q.InputLen += n
	}
	switch {
	case q.After == 0:
		q.SharedLen = 0
	case q.SharedLen >= 0:
		q.SharedLen = min(reqs[q.After-1].InputLen, q.InputLen)
	}
	return nil
}

// SharedRatio is the prefix-hit rate that is meant: the prompt tokens at the
// beginnings of requests that an earlier one has too, over all prompt tokens. It
// supposes a cache that is empty at the start, loses nothing and knows of every
// earlier request. ok is false where the lengths are not known.
func SharedRatio(reqs []Request) (ratio float64, ok bool) {
	shared, all := 0.0, 0.0
	for _, q := range reqs {
		if q.InputLen <= 0 || q.SharedLen < 0 {
			return 0, false
		}
		shared += float64(q.SharedLen)
		all += float64(q.InputLen)
	}
	if all == 0 {
		return 0, false
	}
	return shared / all, true
}

// SharedRatio is the prefix-hit rate that the workload means; see [SharedRatio].
func (s Spec) SharedRatio() (ratio float64, ok bool, err error) {
	reqs, err := s.Requests()
	if err != nil {
		return 0, false, err
	}
	ratio, ok = SharedRatio(reqs)
	return ratio, ok, nil
}

// RandomPrompt is the text of request i: words of a fixed list, the first ones
// a nonce that no other index below 64³ of the same seed has, so that no two
// prompts of a workload share more than a few tokens at the start and a prefix
// cache has nothing to find. InputLen of 1 or 2 leaves no room for a whole nonce.
func RandomPrompt(seed uint64, i, words int) string {
	w := newWords(seed, 0, i, true)
	add := make([]string, words)
	for k := range add {
		add[k] = w.next()
	}
	return glue("", add)
}

// nonceWords are the words that tell prompts apart, six bits each.
const nonceWords = 3

// scatter maps 18-bit indices one to one, neighbours far apart in their low
// bits: an odd multiplier is a bijection modulo a power of two, the shift-xor is
// its own kind of bijection, and the seed is added last.
func scatter(i, seed uint64) uint64 {
	const mask = 1<<(6*nonceWords) - 1
	x := i & mask
	x = (x * 0x9E3B5) & mask // odd, near 2^19 times the golden ratio
	x ^= x >> 9
	x = (x * 0x2C1B3) & mask // odd
	x ^= x >> 9
	return (x + seed*0x9E3779B97F4A7C15) & mask
}

// vocabulary holds common short words, each one token in the byte-pair
// vocabularies of current models when a space precedes it. Nonces index the
// first 64.
var vocabulary = strings.Fields(`
time year people way day man thing woman life child world school state family
student group country problem hand part place case week company system program
question work government number night point home water room mother area money
story fact month lot right study book eye job word business issue side kind head
house service friend father power hour game line end member law car city
community name president team minute idea kid body information back parent face
others level office door health person art war history party result change
morning reason research girl guy moment air teacher force education foot boy age
policy music market sense nation plan college interest death experience effect
use class control field role effort rate heart drug show leader light voice wife
police mind price report decision son view relationship town road arm difference
value building action season society tax director position player record paper
space ground form event official matter center couple site project activity star
table need court oil situation cost industry figure street image phone data
picture practice piece land product doctor wall patient worker news test movie
north love support technology step baby computer type attention film tree source
organization hair look century evidence window culture chance brother energy
period course summer plant opportunity term letter condition choice rule daughter
south husband floor campaign material population call economy hospital church
risk fire future bank
`)
