package replay

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func whole(n int) []int {
	set := make([]int, n)
	for i := range set {
		set[i] = i
	}
	return set
}

func reducerOf(need []int) *reducer {
	return &reducer{most: 1 << 20, known: map[string]bool{}, shows: func(set []int) (bool, error) {
		for _, x := range need {
			if !slices.Contains(set, x) {
				return false, nil
			}
		}
		return true, nil
	}}
}

// One poison request among n is found in at most 2·log2(n)+8 tests, the two before
// the reduction included, wherever it stands.
func TestOnePoisonWithinTheBound(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 100, 1000, 1023, 1024, 1025} {
		worst := 0
		for poison := 0; poison < n; poison += max(1, n/101) {
			r := reducerOf([]int{poison})
			set, err := r.reduce(whole(n))
			if err != nil || !slices.Equal(set, []int{poison}) {
				t.Fatalf("n %d, poison %d: got %v, %v", n, poison, set, err)
			}
			worst = max(worst, r.tests)
		}
		if bound := 2*math.Log2(float64(n)) + 8; float64(worst+2) > bound { // the whole, and the suspects
			t.Errorf("n %d: %d tests and 2 more, at most %.1f allowed", n, worst, bound)
		}
	}
}

// Whatever set is needed, what is found is exactly it, in order, and was tested.
func TestReduceFindsExactlyWhatIsNeeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "n")
		need := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 1, min(n, 4), rapid.ID[int]).Draw(t, "need")
		slices.Sort(need)
		r := reducerOf(need)
		set, err := r.reduce(whole(n))
		if err != nil || !slices.Equal(set, need) {
			t.Fatalf("got %v, %v; expected %v", set, err, need)
		}
		if !r.known[fmt.Sprint(set)] && n > len(need) {
			t.Fatalf("%v was never tested", set)
		}
	})
}

// For any monotone trouble the result shows it, and no request can be left out.
func TestReduceIsMinimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "n")
		groups := rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, n-1), 1, 3), 1, 3).Draw(t, "groups")
		shows := func(set []int) (bool, error) {
			return slices.ContainsFunc(groups, func(g []int) bool {
				return !slices.ContainsFunc(g, func(x int) bool { return !slices.Contains(set, x) })
			}), nil
		}
		r := &reducer{most: 1 << 20, known: map[string]bool{}, shows: shows}
		set, err := r.reduce(whole(n))
		if yes, _ := shows(set); err != nil || !yes || !slices.IsSorted(set) {
			t.Fatalf("got %v, %v", set, err)
		}
		for i := range set {
			if yes, _ := shows(slices.Delete(slices.Clone(set), i, i+1)); yes {
				t.Fatalf("%v does without %d", set, set[i])
			}
		}
	})
}

func TestBoundOnTests(t *testing.T) {
	r := reducerOf([]int{3, 90})
	r.most = 5
	set, err := r.reduce(whole(100))
	if !errors.Is(err, errTests) || r.tests != 5 || !slices.Contains(set, 3) || !slices.Contains(set, 90) {
		t.Errorf("got %v, %v after %d tests", set, err, r.tests)
	}
}

func TestSuspects(t *testing.T) {
	r := &Run{Requests: []Outcome{{OK: true}, {Class: "reset"}, {Class: "connect"}, {Class: "dropped"}, {Class: "http_status"}, {Class: "connect", Retried: true}}}
	if got := suspects(r); !slices.Equal(got, []int{1, 4, 5}) {
		t.Errorf("got %v", got)
	}
	if got := suspects(&Run{Requests: []Outcome{{Class: "reset"}}}); got != nil {
		t.Errorf("all are suspect: got %v", got)
	}
	need := reducerOf([]int{700})
	set, err := need.narrow(whole(1000), []int{699, 700, 702})
	if err != nil || !slices.Equal(set, []int{700}) || need.tests > 4 {
		t.Errorf("got %v, %v in %d tests", set, err, need.tests)
	}
	need = reducerOf([]int{2, 700}) // the suspects alone do nothing
	if set, err = need.narrow(whole(1000), []int{700}); err != nil || !slices.Equal(set, []int{2, 700}) {
		t.Errorf("got %v, %v", set, err)
	}
}

func TestTrouble(t *testing.T) {
	failed := &Run{Failed: 1, Failures: map[string]int{"http_status": 1, "dropped": 2}}
	s, ok := troubleOf(failed, nil)
	if !ok || s.String() != "a request fails as [http_status]" || !s.in(failed) || s.in(&Run{Failures: map[string]int{"timeout": 1}}) {
		t.Errorf("got %v, %v", s, ok)
	}
	if _, ok := troubleOf(&Run{Failures: map[string]int{"dropped": 2}}, nil); ok {
		t.Error("requests that were never sent are no trouble of the server")
	}
	died := &Run{Died: true, Failures: map[string]int{"reset": 1}}
	if s, _ := troubleOf(died, nil); !s.in(&Run{Died: true}) || s.in(failed) {
		t.Error("a death is sought as a death")
	}
	a, err := ParseAssertions([]string{"failed == 0"})
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := troubleOf(failed, a); !ok || !s.in(failed) || s.in(&Run{}) {
		t.Error("with assertions the trouble is that one does not hold")
	}
}
