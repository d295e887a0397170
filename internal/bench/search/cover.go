package search

import (
	"cmp"
	"slices"
)

// Coordinates places candidates in their search space: one number for each flag
// that differs between them, which counts the values of the flag in the order of
// their appearance. flags holds the candidates' settings as key and text.
func Coordinates(flags []map[string]string) [][]int {
	values := map[string]map[string]int{}
	for _, f := range flags {
		for key := range f {
			values[key] = map[string]int{}
		}
	}
	var keys []string
	for key, seen := range values {
		for _, f := range flags {
			text, set := f[key]
			if !set {
				text = absent
			}
			if _, known := seen[text]; !known {
				seen[text] = len(seen)
			}
		}
		if len(seen) > 1 {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	out := make([][]int, len(flags))
	for i, f := range flags {
		for _, key := range keys {
			text, set := f[key]
			if !set {
				text = absent
			}
			out[i] = append(out[i], values[key][text])
		}
	}
	return out
}

// absent stands for a flag that is not set; no text of a flag is that.
const absent = "\x00"

// pair is a value of one flag together with a value of another.
type pair struct{ a, va, b, vb int }

func pairsOf(at []int) []pair {
	var out []pair
	for a := range at {
		if len(at) == 1 {
			return []pair{{0, at[0], 0, at[0]}}
		}
		for b := a + 1; b < len(at); b++ {
			out = append(out, pair{a, at[a], b, at[b]})
		}
	}
	return out
}

// Cover picks candidates such that every pair of values that some candidate has
// is in one of them: effects of single flags and of any two together can then be
// seen in far fewer candidates than there are. The first candidate, the baseline,
// comes first; then always the one with the most pairs that are still missing
// (greedy, as AETG by D. M. Cohen et al., IEEE Trans. Software Engineering 23
// (1997) 437-444), the earlier one where two are equal.
func Cover(at [][]int) []int {
	if len(at) == 0 {
		return nil
	}
	missing := map[pair]bool{}
	all := make([][]pair, len(at))
	for i := range at {
		all[i] = pairsOf(at[i])
		for _, p := range all[i] {
			missing[p] = true
		}
	}
	take := func(i int) {
		for _, p := range all[i] {
			delete(missing, p)
		}
	}
	picked := []int{0}
	take(0)
	for len(missing) > 0 {
		best, most := -1, 0
		for i := range at {
			n := 0
			for _, p := range all[i] {
				if missing[p] {
					n++
				}
			}
			if n > most {
				best, most = i, n
			}
		}
		picked = append(picked, best)
		take(best)
	}
	return picked
}

// Distance is the number of flags in which two candidates differ.
func Distance(a, b []int) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// Standing is how far a candidate has come, in the eyes of a strategy.
type Standing struct {
	Begun bool // something was measured or tried of it
	Done  bool // nothing is left to measure of it
	// Scores are the highest rates that it holds, requests/s, one a scenario; 0 =
	// none, or given up.
	Scores []float64
}

// Strategy names a way of choosing candidates.
type Strategy string

// The strategies.
const (
	// StrategyProduct goes through the list as it stands.
	StrategyProduct Strategy = "bounded_product"
	// StrategyRace lets every candidate of the space meet the best so far under
	// the same seeds; one that does not hold its rate is given up at once.
	StrategyRace Strategy = "race"
	// StrategyCovering races a pairwise covering design, then the neighbours of
	// the best, which differ from it in one flag, until none is better.
	StrategyCovering Strategy = "covering"
	// StrategyHalving measures all with short load points, keeps the better half
	// and measures it with points twice as long, until one is left.
	StrategyHalving Strategy = "halving"
)

// Strategies are all of them, the default first.
var Strategies = []Strategy{StrategyProduct, StrategyRace, StrategyCovering, StrategyHalving}

// Races says that a candidate is given up when it does not hold the best rate so
// far.
func (s Strategy) Races() bool { return s == StrategyRace || s == StrategyCovering }

// Pools says that the strategy chooses from the whole space; else it takes the
// bounded list.
func (s Strategy) Pools() bool { return s != StrategyProduct && s != "" }

// Pick is the candidate to begin next, -1 = none. A candidate that has begun and
// is not done comes first. most bounds the candidates that are begun; 0 = none.
func (s Strategy) Pick(at [][]int, standing []Standing, most int) int {
	begun := 0
	for i, st := range standing {
		if st.Begun && !st.Done {
			return i
		}
		if st.Begun || st.Done {
			begun++
		}
	}
	if most > 0 && begun >= most {
		return -1
	}
	fresh := func(i int) bool { return !standing[i].Begun && !standing[i].Done }
	if !s.Pools() {
		return slices.IndexFunc(standing, func(st Standing) bool { return !st.Begun && !st.Done })
	}
	for _, i := range Cover(at) {
		if fresh(i) {
			return i
		}
	}
	if s == StrategyCovering {
		return nearBest(at, standing, fresh)
	}
	return slices.IndexFunc(standing, func(st Standing) bool { return !st.Begun && !st.Done })
}

// nearBest is the first candidate that differs in one flag from the best of a
// scenario; -1 = there is none that was not tried.
func nearBest(at [][]int, standing []Standing, fresh func(int) bool) int {
	for sc := range scenarios(standing) {
		best := -1
		for i, st := range standing {
			if sc < len(st.Scores) && st.Scores[sc] > 0 && (best < 0 || st.Scores[sc] > standing[best].Scores[sc]) {
				best = i
			}
		}
		if best < 0 {
			continue
		}
		for i := range at {
			if fresh(i) && Distance(at[i], at[best]) == 1 {
				return i
			}
		}
	}
	return -1
}

func scenarios(standing []Standing) (n int) {
	for _, st := range standing {
		n = max(n, len(st.Scores))
	}
	return n
}

// Order is the pool with a covering design first.
func Order(at [][]int) []int {
	out := Cover(at)
	for i := range at {
		if !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	return out
}

// Rounds is the number of rounds of halving that leave one of n candidates.
func Rounds(n int) int {
	rounds := 1
	for ; n > 1; n = (n + 1) / 2 {
		rounds++
	}
	return rounds
}

// Survivors are the better half of those that entered a round of halving, best
// first: by the mean over scenarios of the rate held over the best one's, those
// that hold none last. entered holds indices, scores their rates by scenario.
func Survivors(entered []int, scores [][]float64) []int {
	best := []float64{}
	for _, s := range scores {
		for sc, v := range s {
			for len(best) <= sc {
				best = append(best, 0)
			}
			best[sc] = max(best[sc], v)
		}
	}
	value := func(s []float64) (sum float64) {
		for sc, v := range s {
			if best[sc] > 0 {
				sum += v / best[sc]
			}
		}
		return sum
	}
	order := make([]int, len(entered))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(value(scores[b]), value(scores[a])), cmp.Compare(entered[a], entered[b]))
	})
	kept := make([]int, 0, len(order))
	for _, i := range order[:(len(order)+1)/2] {
		kept = append(kept, entered[i])
	}
	return kept
}
