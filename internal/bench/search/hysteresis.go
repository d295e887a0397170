package search

import (
	"cmp"
	"slices"
)

// Hysteresis is what became of the answer of a rate search when it was measured
// again right after an overload, with the arrivals and prompts with which it had
// been confirmed. A server that does not recover, or whose caches the overload
// spoilt, holds less than before.
type Hysteresis struct {
	OverloadRPS float64 `json:"overload_rps"` // offered in the overload, requests/s
	Holds       bool    `json:"holds"`        // the limits are still met
	// Slower: a limit is missed, and by no less than at the lowest rate that fails,
	// so that the server has lost a whole step of the search. A miss that is
	// smaller is not told from noise.
	Slower bool       `json:"slower,omitempty"`
	After  []Attained `json:"attainment,omitempty"` // the shares after the overload
	Why    string     `json:"why,omitempty"`        // a limit is missed, in words
}

// mostAgain bounds the load points of the check: a second one, of other seeds,
// only when the first fails.
const mostAgain = 2

// apart are the load points of the search, and those of the check after it, which
// tell of what a server went through and not of a rate; by their seeds.
func apart(all []Measured) (done, again []Measured) {
	for _, m := range all {
		if m.Kind == KindAgain {
			again = append(again, m)
		} else {
			done = append(done, m)
		}
	}
	slices.SortFunc(again, func(a, b Measured) int { return cmp.Compare(a.Repeat, b.Repeat) })
	return done, again
}

// again is the load point that measures the answer after an overload; open =
// there is one left to measure. Without a rate that fails nothing is known to be
// an overload, and an answer that was not confirmed has nothing to be held
// against.
func (l Ladder) again(r Range, low, high *rung, again []Measured) (_ Load, open bool) {
	n := len(again)
	switch {
	case !l.Hysteresis || high == nil || low.kind != KindConfirm:
		return Load{}, false
	case n >= min(mostAgain, l.Confirmations) || n > 0 && again[n-1].Passed:
		return Load{}, false
	}
	over := max(high.rate, min(r.Upper, round(low.rate*l.Ramp)))
	return Load{Kind: KindAgain, RateRPS: low.rate, Repeat: n, AfterRPS: over}, true
}

// hysteresis sums the check up, against the lowest rate that fails; nil = there
// was none.
func hysteresis(high *rung, again []Measured) *Hysteresis {
	if len(again) == 0 || high == nil {
		return nil
	}
	last := again[len(again)-1]
	h := &Hysteresis{OverloadRPS: last.AfterRPS, Holds: last.Passed, After: slices.Clone(last.Verdict.Shares)}
	if h.Holds {
		return h
	}
	h.After = nil
	for _, m := range again {
		h.After = pooled(h.After, m.Verdict.Shares)
	}
	h.Why = last.Verdict.Reason
	if last.Verdict.Requests == 0 {
		h.Slower, h.Why = true, "no request ended"
	}
	for _, a := range h.After {
		i := slices.IndexFunc(high.shares, func(x Attained) bool { return x.Target == a.Target })
		h.Slower = h.Slower || a.Share() < a.Wanted && i >= 0 && a.Share() <= high.shares[i].Share()
	}
	return h
}
