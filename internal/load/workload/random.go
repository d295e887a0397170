package workload

import (
	"fmt"
	"math/rand/v2"
)

// Prefix is the beginning that requests of KindPrefix share.
type Prefix struct {
	Groups int `json:"groups,omitzero"` // different beginnings; 0 = 1
	Len    int `json:"len"`             // tokens of a beginning; the input length comes on top of it
	// Ratio is the share of the requests that have a shared beginning; the others
	// have one of their own, as long. nil = 1.
	Ratio *float64 `json:"ratio,omitempty"`
}

func (p Prefix) groups() int { return max(p.Groups, 1) }

func (p Prefix) ratio() float64 {
	if p.Ratio == nil {
		return 1
	}
	return *p.Ratio
}

func (p Prefix) validate() error {
	if p.Groups < 0 || p.Groups > maxRows || p.Len < 1 || p.Len > maxLen || !(p.ratio() >= 0 && p.ratio() <= 1) {
		return fmt.Errorf("workload: shared prefix of %d tokens in %d groups for a share of %v: expected 1 to %d tokens, 1 to %d groups, a share from 0 to 1", p.Len, p.Groups, p.ratio(), maxLen, maxRows)
	}
	return nil
}

// budget refuses a workload that does not fit into memory.
type budget int

func (b *budget) take(n int) error {
	if *b += budget(n); *b > maxWords {
		return fmt.Errorf("workload: its prompts have more than %d words together; ask for fewer or shorter prompts", maxWords)
	}
	return nil
}

func (s Spec) random() ([]Request, error) {
	in, out := s.lengths()
	if in.MeanLength(s.Compat) < 1 {
		return nil, fmt.Errorf("workload: random prompts of %g words: expected at least 1", in.MeanLength(s.Compat))
	}
	if float64(s.NumPrompts)*in.MeanLength(s.Compat) > maxWords {
		return nil, fmt.Errorf("workload: %d prompts of %g words are more than %d words; ask for fewer or shorter prompts", s.NumPrompts, in.MeanLength(s.Compat), maxWords)
	}
	var used budget
	reqs := make([]Request, s.NumPrompts)
	for i := range reqs {
		n := in.Draw(s.Seed, streamInput, i, s.Compat)
		if err := used.take(n); err != nil {
			return nil, err
		}
		text, err := s.text(newWords(s.Seed, 0, i, s.wantsNonce()), "", 0, n)
		if err != nil {
			return nil, fmt.Errorf("workload: request %d: %w", i, err)
		}
		reqs[i] = Request{Prompt: text, InputLen: n, OutputLen: out.Draw(s.Seed, streamOutput, i, s.Compat)}
	}
	return reqs, nil
}

func (s Spec) sharedPrefix() ([]Request, error) {
	if err := s.Prefix.validate(); err != nil {
		return nil, err
	}
	in, out := s.lengths()
	var used budget
	heads := map[int]string{}
	reqs := make([]Request, s.NumPrompts)
	for i := range reqs {
		group, shared := s.group(i)
		head, seen := heads[group]
		if !seen {
			var err error
			if head, err = s.text(newWords(s.Seed, streamPrefix, group, true), "", 0, s.Prefix.Len); err != nil {
				return nil, fmt.Errorf("workload: prefix %d: %w", group, err)
			}
			if shared {
				heads[group] = head
			}
		}
		n := s.Prefix.Len + in.Draw(s.Seed, streamInput, i, s.Compat)
		if err := used.take(n); err != nil {
			return nil, err
		}
		text, err := s.text(newWords(s.Seed, 0, i, true), head, s.Prefix.Len, n)
		if err != nil {
			return nil, fmt.Errorf("workload: request %d: %w", i, err)
		}
		reqs[i] = Request{Prompt: text, InputLen: n, OutputLen: out.Draw(s.Seed, streamOutput, i, s.Compat)}
		if seen {
			reqs[i].SharedLen = s.Prefix.Len
		}
	}
	return reqs, nil
}

// group is the beginning of request i; a number past the groups is its own.
func (s Spec) group(i int) (group int, shared bool) {
	r := rand.New(rand.NewPCG(s.Seed^streamGroup, uint64(i)))
	if r.Float64() >= s.Prefix.ratio() {
		return s.Prefix.groups() + i, false
	}
	return r.IntN(s.Prefix.groups()), true
}
