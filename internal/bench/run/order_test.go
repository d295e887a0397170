package run

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/stat"
)

// roundsPlan measures two load points of some candidates several times.
func roundsPlan(candidates, repeats int) *Plan {
	p := somePlan(candidates)
	p.Load.Loads, p.Load.Repeats = []search.Load{{RateRPS: 2}, {MaxConcurrency: 4}}, repeats
	p.drawOrder()
	return p
}

func TestOrderIsDrawn(t *testing.T) {
	p := roundsPlan(5, 4)
	if err := p.check(engine.Set{tiny()}); err != nil || len(p.Order.Rounds) != 4 {
		t.Fatalf("%v, order %+v", err, p.Order)
	}
	if again := roundsPlan(5, 4); !reflect.DeepEqual(p.Order, again.Order) {
		t.Error("the same seed gives another order")
	}
	if slices.Equal(p.Order.Rounds[0], p.Order.Rounds[1]) && slices.Equal(p.Order.Rounds[1], p.Order.Rounds[2]) {
		t.Error("the rounds have one order")
	}
	searching := somePlan(5)
	searching.Load.Repeats = 3
	if searching.drawOrder(); searching.inRounds() {
		t.Errorf("a rate search has rounds: %+v", searching.Order)
	}
	if single := roundsPlan(5, 1); single.Order != nil {
		t.Error("single measurements have an order")
	}
	p.Order.Rounds[2][0] = p.Order.Rounds[2][1]
	if err := p.check(engine.Set{tiny()}); err == nil {
		t.Error("a round without a candidate is accepted")
	}
}

// A run in rounds that is killed after any lines, several times over, ends in the
// rows of the undisturbed one; it measures round after round in the order drawn.
func TestRoundsSurviveKills(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := roundsPlan(rapid.IntRange(1, 4).Draw(t, "candidates"), rapid.IntRange(2, 4).Draw(t, "repeats"))
		w := &world{limit: map[string]float64{"tiny-01": 1}, starts: map[string]*Failure{}}
		for _, c := range p.Candidates {
			if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
				w.starts[c.ID] = &Failure{Phase: "start", Status: "oom", Kind: c.ID, Reason: "no start"}
			}
		}
		journal, want := undisturbed(t, p, w.fresh())
		var order []string
		for line := range bytes.Lines(journal) {
			if at := bytes.Index(line, []byte(`"trial_done","candidate":"`)); at >= 0 {
				id := string(line[at+26 : at+26+len("tiny-00")])
				if len(order) == 0 || order[len(order)-1] != id {
					order = append(order, id)
				}
			}
		}
		var drawn []string
		for _, ids := range p.Order.Rounds {
			for _, id := range ids {
				if w.starts[id] == nil && (len(drawn) == 0 || drawn[len(drawn)-1] != id) {
					drawn = append(drawn, id)
				}
			}
		}
		if !slices.Equal(order, drawn) {
			t.Fatalf("measured %v, drawn %v", order, drawn)
		}
		lines := bytes.SplitAfter(journal, []byte("\n"))
		for range 3 {
			s := NewState()
			for _, line := range lines[:rapid.IntRange(0, len(lines)-1).Draw(t, "kept")] {
				if err := s.line(line); err != nil {
					t.Fatalf("%v", err)
				}
			}
			if got := carriedOn(t, p, w.fresh(), s); !reflect.DeepEqual(got, want) {
				t.Fatal("rows differ")
			}
		}
	})
}

func abPlan(t testing.TB, o ABOptions) *Plan {
	t.Helper()
	p := somePlan(2)
	p.Scenarios = p.Scenarios[:1]
	ab, err := NewAB(p, engine.Set{tiny()}, o)
	if err != nil {
		t.Fatal(err)
	}
	return ab
}

// A command that is 10 % slower loses, itself ties; every trial has a server of its
// own, in the order drawn; an interrupted comparison goes on to the same verdict.
func TestAB(t *testing.T) {
	for _, test := range []struct {
		name   string
		slower float64
		want   stat.Winner
	}{{"slower", 1.1, stat.A}, {"itself", 1, stat.Tie}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend()
				b.slow = func(name string) float64 {
					if name == SideB {
						return test.slower
					}
					return 1
				}
				p := abPlan(t, ABOptions{A: "tiny-00", B: "tiny-01", Blocks: 4, MaxConcurrency: 4})
				ctx, cancel := context.WithCancel(t.Context())
				go func() { time.Sleep(50 * time.Second); cancel() }()
				res, err := begin(t, ctx, b, p)
				if !errors.Is(err, ErrInterrupted) || len(b.starts) < 2 || len(b.starts) > 7 {
					t.Fatalf("after %v: %v", b.starts, err)
				}
				cut := len(b.starts)
				if res, err = Resume(t.Context(), envOf(b), res.Dir, 0, nil); err != nil {
					t.Fatal(err)
				}
				ab, ok := res.Plan.Verdict(res.Rows)
				if !ok || ab.Winner != test.want || ab.Blocks != 4 || ab.A.Candidate != "tiny-00" || ab.A.Trials != 4 {
					t.Errorf("verdict %+v", ab)
				}
				if f := ab.Figures[0]; f.Key != "output_token_throughput" || f.Delta > 1/test.slower-1+0.02 || f.Delta < 1/test.slower-1-0.02 {
					t.Errorf("headline %+v", f)
				}
				// The server of the trial that was cut off was started twice.
				started := slices.Delete(slices.Clone(b.starts), cut-1, cut)
				if want := slices.Concat(p.Order.Rounds...); !slices.Equal(started, want) {
					t.Errorf("started %v, drawn %v", started, want)
				}
				for i, x := range res.Rows[0].Points {
					if y := res.Rows[1].Points[slices.IndexFunc(res.Rows[1].Points, func(q result.Point) bool { return q.Repeat == x.Repeat })]; *x.Block != *y.Block {
						t.Errorf("point %d: blocks %d and %d", i, *x.Block, *y.Block)
					}
				}
			})
		})
	}
}

func TestABRefuses(t *testing.T) {
	p := somePlan(2)
	one := *p
	one.Scenarios = p.Scenarios[:1]
	for want, o := range map[string]ABOptions{
		"give either": {A: "tiny-00"}, "use one of tiny-00, tiny-01": {A: "tiny-00", B: "tiny-09"}, "starts no engine": {A: "tiny-00", BCommand: "other serve"},
		"metric": {A: "tiny-00", B: "tiny-01", Metric: "speed"}, "at least 2": {A: "tiny-00", B: "tiny-01", Blocks: 1},
	} {
		if _, err := NewAB(&one, engine.Set{tiny()}, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
	if _, err := NewAB(p, engine.Set{tiny()}, ABOptions{A: "tiny-00", B: "tiny-01"}); err == nil || !strings.Contains(err.Error(), "--scenario") {
		t.Error(err)
	}
	ab, err := NewAB(&one, engine.Set{tiny()}, ABOptions{A: "tiny-00", BCommand: "/opt/tiny-serve some/model --size 9 --port=81", RateRPS: 2})
	if err != nil || ab.AB.Metric != "mean_e2e_ms" || ab.Load.Loads[0].RateRPS != 2 || len(ab.Order.Rounds) != stat.DefaultBlocks {
		t.Fatalf("%v, %+v", err, ab)
	}
	if port, ok := ab.Candidates[1].Flags.Number("port"); !ok || port != 81 || ab.AB.B != "command" {
		t.Errorf("command read as %+v", ab.Candidates[1])
	}
}
