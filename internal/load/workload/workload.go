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
	"fmt"
	"math/rand/v2"
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
)

// maxPrompts and maxLen bound what a workload may ask for: beyond them the
// texts alone would fill the memory of an ordinary machine.
const (
	maxPrompts = 10_000_000
	maxLen     = 10_000_000
	maxWords   = 2_000_000_000 // words of all prompts together
)

// Spec describes a workload.
type Spec struct {
	Kind       Kind   // "" = random
	NumPrompts int    // requests; for KindCustom 0 = all rows, and rows are taken again from the first when there are fewer
	InputLen   int    // words of a random prompt, nonce included
	OutputLen  int    // tokens asked for; for KindCustom the value of rows without their own
	Seed       uint64 // of random prompts
	Path       string // file of KindCustom
	// Extra are request body fields given to every request.
	Extra map[string]any
}

// Request is one prompt before it is put into a wire format.
type Request struct {
	Index        int    // position in the workload, from 0
	Prompt       string // text; empty when PromptTokens or Messages is set
	PromptTokens []int
	Messages     []engine.Message
	InputLen     int // wanted prompt tokens; 0 = not stated
	OutputLen    int // wanted output tokens; 0 = left to the server
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
	switch s.Kind {
	case KindRandom, "":
		return s.random()
	case KindCustom:
		return s.custom()
	}
	return nil, fmt.Errorf("workload kind %q is not known; expected %q or %q", s.Kind, KindRandom, KindCustom)
}

func (s Spec) random() ([]Request, error) {
	if s.InputLen < 1 {
		return nil, fmt.Errorf("workload: random prompts of %d words: expected at least 1", s.InputLen)
	}
	if s.NumPrompts > maxWords/s.InputLen {
		return nil, fmt.Errorf("workload: %d prompts of %d words are more than %d words; ask for fewer or shorter prompts", s.NumPrompts, s.InputLen, maxWords)
	}
	out := make([]Request, s.NumPrompts)
	for i := range out {
		out[i] = Request{
			Index: i, Prompt: RandomPrompt(s.Seed, i, s.InputLen),
			InputLen: s.InputLen, OutputLen: s.OutputLen, Extra: s.Extra,
		}
	}
	return out, nil
}

// RandomPrompt is the text of request i: words of a fixed list, the first ones
// a nonce that no other index below 64³ of the same seed has, so that no two
// prompts of a workload share more than a few tokens at the start and a prefix
// cache has nothing to find. InputLen of 1 or 2 leaves no room for a whole nonce.
func RandomPrompt(seed uint64, i, words int) string {
	r := rand.New(rand.NewPCG(seed, uint64(i)))
	var b strings.Builder
	b.Grow(words * 6)
	n := scatter(uint64(i), seed)
	for w := range words {
		if w > 0 {
			b.WriteByte(' ')
		}
		if w < nonceWords {
			b.WriteString(vocabulary[n&63])
			n >>= 6
			continue
		}
		b.WriteString(vocabulary[r.IntN(len(vocabulary))])
	}
	return b.String()
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
