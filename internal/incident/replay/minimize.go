package replay

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"llmdyno/internal/load/sample"
)

// Minimized is the smallest set of requests that was found to show the trouble.
type Minimized struct {
	Of       int  `json:"of"`      // requests of the whole
	Shows    bool `json:"shows"`   // the whole shows it at all
	Minimal  bool `json:"minimal"` // without any one of them it is gone
	Tests    int  `json:"tests"`
	Restarts int  `json:"restarts"` // servers that were started
	// Sought says what a set must do to count.
	Sought   string   `json:"sought"`
	Requests []int    `json:"requests"` // their index in the recording, in order
	IDs      []string `json:"ids,omitempty"`
	Steps    []Step   `json:"steps"`
	Note     string   `json:"note,omitempty"` // why it ended early
	Items    []Item   `json:"items,omitempty"`
}

// Step is one test of a set.
type Step struct {
	Requests int  `json:"requests"`
	First    int  `json:"first"` // index in the recording
	Last     int  `json:"last"`
	Shows    bool `json:"shows"`
}

// DefaultTests bounds the tests of a minimisation: four times what one poison
// request among n needs.
func DefaultTests(n int) int { return 4 * (2*bits.Len(uint(n)) + 8) }

// errTests: the bound on tests was reached.
var errTests = errors.New("the bound on tests was reached")

// reducer finds a small set by delta debugging (A. Zeller, R. Hildebrandt,
// "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28 (2002) 183-200,
// algorithm ddmin): halves, then finer parts and what is left without them. One
// culprit among n needs at most two tests for each halving.
type reducer struct {
	shows func(set []int) (bool, error)
	most  int // tests
	tests int
	known map[string]bool // sets that were tested
}

// reduce shrinks set, which is known to show the trouble. The set that it returns
// shows it too, also together with an error.
func (r *reducer) reduce(set []int) (small []int, err error) {
	for parts := 2; len(set) > 1; {
		chunks := split(set, parts)
		next, found, err := r.firstOf(chunks)
		if err != nil {
			return set, err
		}
		if found {
			set, parts = next, 2
			continue
		}
		if parts > 2 { // of two parts, each is what is left without the other
			rests := make([][]int, len(chunks))
			for i, c := range chunks {
				rests[i] = without(set, c)
			}
			if next, found, err = r.firstOf(rests); err != nil {
				return set, err
			}
			if found {
				set, parts = next, max(parts-1, 2)
				continue
			}
		}
		if parts >= len(set) {
			return set, nil
		}
		parts = min(2*parts, len(set))
	}
	return set, nil
}

// firstOf is the first of some sets that shows the trouble.
func (r *reducer) firstOf(sets [][]int) (set []int, found bool, err error) {
	for _, s := range sets {
		yes, err := r.test(s)
		if err != nil || yes {
			return s, yes, err
		}
	}
	return nil, false, nil
}

// test asks about a set, once.
func (r *reducer) test(set []int) (bool, error) {
	key := fmt.Sprint(set)
	if yes, asked := r.known[key]; asked {
		return yes, nil
	}
	if r.tests >= r.most {
		return false, errTests
	}
	r.tests++
	yes, err := r.shows(set)
	if err == nil {
		r.known[key] = yes
	}
	return yes, err
}

// split cuts a set into parts of nearly the same size, in order.
func split(set []int, parts int) [][]int {
	out := make([][]int, 0, parts)
	for i := range parts {
		if from, to := i*len(set)/parts, (i+1)*len(set)/parts; to > from {
			out = append(out, set[from:to])
		}
	}
	return out
}

func without(set, part []int) []int {
	return slices.DeleteFunc(slices.Clone(set), func(i int) bool {
		_, in := slices.BinarySearch(part, i)
		return in
	})
}

// sought is what a set must do to count as showing the trouble of a whole replay.
type sought struct {
	asserts Assertions
	died    bool
	classes []string // of failures
}

// troubleOf is the trouble of a run; ok is false where it has none.
func troubleOf(r *Run, a Assertions) (s sought, ok bool) {
	if len(a) > 0 {
		s.asserts = a
		return s, Bisect(a.Check([]*Run{r}), r.Verdict) == Bad
	}
	if s.died = r.Died; s.died {
		return s, true
	}
	for class := range r.Failures {
		if class != string(sample.ClassDropped) && class != string(sample.ClassCancelled) {
			s.classes = append(s.classes, class)
		}
	}
	slices.Sort(s.classes)
	return s, len(s.classes) > 0
}

// in says whether a run shows the trouble.
func (s sought) in(r *Run) bool {
	if len(s.asserts) > 0 {
		return Bisect(s.asserts.Check([]*Run{r}), r.Verdict) == Bad
	}
	if s.died {
		return r.Died
	}
	return slices.ContainsFunc(s.classes, func(c string) bool { return r.Failures[c] > 0 })
}

func (s sought) String() string {
	switch {
	case len(s.asserts) > 0:
		return "an assertion does not hold"
	case s.died:
		return "the server dies"
	}
	return fmt.Sprintf("a request fails as %v", s.classes)
}

// suspects are the requests that were in flight when the trouble came: those that
// failed otherwise than by finding no server, on their first sending at least. nil =
// no help.
func suspects(r *Run) (set []int) {
	for i := range r.Requests {
		switch o := &r.Requests[i]; {
		case o.OK:
		case o.Class == string(sample.ClassConnect) && !o.Retried, o.Class == string(sample.ClassDropped), o.Class == string(sample.ClassCancelled):
		default:
			set = append(set, i)
		}
	}
	if len(set) == len(r.Requests) {
		return nil
	}
	return set
}

// Minimize finds a small set of a plan's requests that shows the trouble of whole,
// a replay of all of them. Each test meets a server of its own where the host can
// start one. try is how often a set is sent before it counts as harmless; most
// bounds the tests, 0 = DefaultTests.
func Minimize(ctx context.Context, p *Plan, whole *Run, h *Host, a Assertions, try, most int, say func(format string, args ...any)) (*Minimized, error) {
	m := &Minimized{Of: len(p.Items), Steps: []Step{}, Requests: []int{}}
	trouble, ok := troubleOf(whole, a)
	if m.Restarts = h.Started(); !ok {
		m.Note = "the replay of all requests showed no trouble that could be traced"
		return m, nil
	}
	m.Shows, m.Sought = true, trouble.String()
	if most <= 0 {
		most = DefaultTests(len(p.Items))
	}
	r := &reducer{most: most, known: map[string]bool{}}
	r.shows = func(set []int) (bool, error) {
		shows, err := h.tries(ctx, p.part(set), trouble, max(try, 1))
		if err != nil {
			return false, err
		}
		first, last := p.Items[set[0]].Index, p.Items[set[len(set)-1]].Index
		m.Steps = append(m.Steps, Step{len(set), first, last, shows})
		word := "harmless"
		if shows {
			word = trouble.String()
		}
		say("test %d: %d requests, %d to %d: %s", r.tests, len(set), first, last, word)
		return shows, nil
	}
	set := make([]int, len(p.Items))
	for i := range set {
		set[i] = i
	}
	set, err := r.narrow(set, suspects(whole))
	m.Tests, m.Restarts, m.Minimal = r.tests, h.Started(), err == nil
	for _, i := range set {
		x := p.Items[i]
		m.Requests, m.Items = append(m.Requests, x.Index), append(m.Items, x)
		if x.ID != "" {
			m.IDs = append(m.IDs, x.ID)
		}
	}
	if errors.Is(err, errTests) {
		m.Note, err = fmt.Sprintf("%v (%d): the set may be smaller still", errTests, most), nil
	} else if err != nil {
		m.Note = err.Error()
	}
	return m, err
}

// narrow begins with the suspects where they alone show the trouble.
func (r *reducer) narrow(set, suspects []int) ([]int, error) {
	if len(suspects) > 0 {
		yes, err := r.test(suspects)
		if err != nil {
			return set, err
		}
		if yes {
			set = suspects
		}
	}
	return r.reduce(set)
}

// part is the plan of some of its requests.
func (p *Plan) part(set []int) *Plan {
	q := &Plan{Options: p.Options}
	for _, i := range set {
		q.Items = append(q.Items, p.Items[i])
	}
	return q
}

// tries plays a plan until it shows the trouble, at most n times.
func (h *Host) tries(ctx context.Context, p *Plan, trouble sought, n int) (bool, error) {
	for range n {
		t, err := h.Fresh(ctx)
		if err != nil {
			return false, err
		}
		r, err := Play(ctx, p, t, false)
		if err != nil {
			return false, err
		}
		if trouble.in(r) {
			return true, nil
		}
		if r.Died {
			return false, fmt.Errorf("the server died where that was not looked for: %s", r.Health)
		}
	}
	return false, nil
}
