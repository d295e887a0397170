package sim

import (
	"sync"
	"testing"
	"time"
)

// Without clock and connections the scheduler gives the very times that a client
// sees through the handler.
func TestVirtualIsTheServedEngine(t *testing.T) {
	jobs := []Job{{At: 0, Input: 500, Output: 20}, {At: 30 * time.Millisecond, Input: 800, Output: 15}, {At: 31 * time.Millisecond, Input: 100, Output: 30}}
	o := options("--model " + testModel)
	inBubble(t, o, func(r *rig) {
		seen := make([]Served, len(jobs))
		began := time.Now()
		var all sync.WaitGroup
		for i, j := range jobs {
			all.Go(func() {
				time.Sleep(j.At)
				sent := time.Since(began)
				a := r.completion(string(rune('a'+i)), j.Input, j.Output)
				seen[i] = Served{First: sent + a.at[0], Last: sent + a.at[j.Output-1]}
			})
		}
		all.Wait()
		var loads int
		got, _ := r.e.Virtual(jobs, Observer{Every: 10 * time.Millisecond, State: func(l Load) bool { loads++; return true }})
		for i := range jobs {
			near := func(x, y time.Duration) bool { return (x - y).Abs() <= time.Millisecond }
			if !near(got[i].First, seen[i].First) || !near(got[i].Last, seen[i].Last) || got[i].Refused {
				t.Errorf("job %d: %+v, through the handler %+v", i, got[i], seen[i])
			}
		}
		if loads == 0 {
			t.Error("no state was told")
		}
		if stopped, at := r.e.Virtual(jobs, Observer{Ended: func(int, Served) bool { return false }}); at >= got[2].Last || stopped[2].Last >= got[2].Last {
			t.Errorf("went on until %v after it was told to stop", at)
		}
	})
}
