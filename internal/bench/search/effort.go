package search

// The tiers of the upstream tuner: 1 smoke, 2 default, 3 exhaustive
// (sglang.auto_benchmark at tag v0.5.16, and the skill llm-serving-auto-benchmark
// @afb306eb, 2026-07-14). What they say of flags is the order of the candidate
// list here; what is left is how much work is put into each.
const (
	TierSmoke      = 1
	TierDefault    = 2
	TierExhaustive = 3
)

// Effort is the work that a tier puts into a benchmark. 0 = no bound.
type Effort struct {
	Candidates int // of one engine
	Prompts    int // of one measurement
	InputLen   int // tokens of the longest prompt; shorter ones in proportion
	OutputLen  int // tokens of the longest answer, likewise
	Users      int // closed loop with this many users in place of rates; 0 = rates as planned
	// Rounds is the most load points of one rate search, end points included.
	Rounds int
	// Relative is the ratio between a failing and a passing rate, less 1, at
	// which a rate search ends even when the tolerance asks for more.
	Relative float64
}

// EffortOf is the effort of a tier; an unknown tier is the default one.
//
// The default stops where two rates differ by less than 5 %: 80 arrivals of a
// Poisson process scatter by 11 %, so a finer answer is noise.
func EffortOf(tier int) Effort {
	switch tier {
	case TierSmoke:
		return Effort{Candidates: 2, Prompts: 8, InputLen: 256, OutputLen: 24, Users: 4, Rounds: 1, Relative: 1}
	case TierExhaustive:
		return Effort{Rounds: 14, Relative: 0.01}
	}
	return Effort{Rounds: 7, Relative: 0.05}
}
