// Package search decides what a benchmark measures next and when it has
// measured enough:
//
//	Effort (tier)  →  how many candidates, prompts and rounds
//	Spec + []Measured  →  Next  →  the next load point, or why there is none
//	[]Measured  →  Best  →  the point that stands for the candidate
//
// Everything is a pure function of what was measured so far, so that a resumed
// run takes the very steps that the killed one would have taken. The order of
// candidates is that of config.Candidates.
package search
