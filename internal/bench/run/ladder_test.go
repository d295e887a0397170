package run

import (
	"bytes"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/load/metric"
)

// laddered is a plan whose rates are searched adaptively.
func laddered(n int, s search.Strategy) *Plan {
	p := somePlan(n)
	l := search.DefaultLadder()
	p.Load.Ladder, p.Strategy = &l, s
	for i := range p.Scenarios {
		p.Scenarios[i].NumPrompts = 60
	}
	return p
}

// The adaptive search against a live server: the row names both ends of the
// bracket, stands on a confirmation, and says what the failing end failed by.
func TestLadderOnAServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := laddered(1, "")
		p.Scenarios = p.Scenarios[:1]
		defer time.Sleep(time.Minute) // the requests that were cut off end
		res, err := begin(t, t.Context(), newBackend(), p)
		if err != nil || len(res.Rows) != 1 || res.State != artifact.StateComplete {
			t.Fatalf("%v, %+v", err, res)
		}
		r := res.Rows[0]
		if len(r.RateSearch) != 1 || !*r.SLA.Passed {
			t.Fatalf("rate search %+v, SLA %+v, points %+v", r.RateSearch, r.SLA, r.Points)
		}
		f := r.RateSearch[0]
		if f.FeasibleMax == nil || f.InfeasibleMin == nil || !f.Confirmed || *f.InfeasibleMin <= *f.FeasibleMax || *f.InfeasibleMin > 1.06**f.FeasibleMax {
			t.Errorf("bracket: %s", f.Words())
		}
		if f.BindingConstraint != "max_p50_tpot_ms" || f.FailsBecause == "" || len(f.FeasibleAttainment) != 2 || !strings.Contains(f.Words(), "confirmed") {
			t.Errorf("reasons: %s; %+v", f.Words(), f.FeasibleAttainment)
		}
		if h := f.Hysteresis; h == nil || !h.Holds || h.Slower || h.OverloadRPS < *f.InfeasibleMin || h.Attainment[0].N != 60 || !strings.Contains(f.Words(), "after an overload") {
			t.Errorf("hysteresis: %+v", h)
		}
		if *r.Workload.RequestRate != *f.FeasibleMax {
			t.Errorf("the row stands at %v, the search found %v", *r.Workload.RequestRate, *f.FeasibleMax)
		}
		early, confirms := 0, 0
		for _, pt := range r.Points {
			if pt.EndedBy != "budget" {
				early++
			}
			if pt.Kind == search.KindConfirm {
				confirms++
			}
			if pt.Chosen && pt.Kind != search.KindConfirm {
				t.Errorf("the row stands on a %s", pt.Kind)
			}
			if pt.Invalid != "" {
				t.Errorf("%s at %v: %s", pt.Kind, *pt.RequestRate, pt.Invalid)
			}
		}
		if early == 0 || confirms < 2 {
			t.Errorf("%d of %d points ended early, %d confirmations", early, len(r.Points), confirms)
		}
	})
}

// An overload that a server does not get over is told in the row, whose answer
// stays what was confirmed before; one that it does not outlive costs no more.
func TestHysteresisOnAServer(t *testing.T) {
	for _, dies := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := laddered(1, "")
			p.Scenarios = p.Scenarios[:1]
			b := newBackend()
			var overloaded atomic.Bool
			b.wrap = func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.Contains(r.Header.Get("X-Request-Id"), "-"+search.KindOverload) {
						overloaded.Store(true)
					}
					h.ServeHTTP(w, r)
				})
			}
			b.slow = func(string) float64 {
				if overloaded.Load() {
					return 1.5
				}
				return 1
			}
			b.dies = func(string, int64) bool { return dies && overloaded.Load() }
			defer time.Sleep(time.Minute) // the requests that were cut off end
			res, err := begin(t, t.Context(), b, p)
			if err != nil || len(res.Rows) != 1 || res.State != artifact.StateComplete {
				t.Fatalf("%v, %+v", err, res)
			}
			r := res.Rows[0]
			f := r.RateSearch[0]
			if f.FeasibleMax == nil || !f.Confirmed || !*r.SLA.Passed || *r.Workload.RequestRate != *f.FeasibleMax {
				t.Errorf("dies %v: the answer is gone: %s; %+v", dies, f.Words(), r.SLA)
			}
			if h := f.Hysteresis; h == nil || h.Holds || !h.Slower || h.Because == "" || !slices.ContainsFunc(r.Warnings, func(w result.Warning) bool { return w.Code == "hysteresis" }) {
				t.Errorf("dies %v: %+v, warnings %+v", dies, h, r.Warnings)
			}
			points, wanted := 0, 2 // a second one with the second seed, unless the server is gone
			if dies {
				wanted = 1
			}
			for _, pt := range r.Points {
				if pt.Kind == search.KindAgain {
					points++
				}
			}
			if points != wanted {
				t.Errorf("dies %v: measured again %d times, expected %d", dies, points, wanted)
			}
		})
	}
}

// Every strategy takes after a kill the steps that it would have taken.
func TestStrategiesResumeExactly(t *testing.T) {
	for _, strategy := range search.Strategies {
		t.Run(string(strategy), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				p := laddered(rapid.IntRange(1, 6).Draw(t, "candidates"), strategy)
				p.MaxCandidates = rapid.IntRange(0, 5).Draw(t, "limit")
				p.Load.Caps = rapid.SampledFrom([][]int{{0}, {0, 4}}).Draw(t, "caps")
				w := &world{limit: map[string]float64{}, starts: map[string]*Failure{}, missing: rapid.IntRange(0, 9).Draw(t, "missing") == 0}
				for _, c := range p.Candidates {
					w.limit[c.ID] = rapid.Float64Range(0, 20).Draw(t, "rate")
					if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
						w.starts[c.ID] = &Failure{Phase: "start", Status: "oom", Reason: "no start"}
					}
				}
				journal, want := undisturbed(t, p, w.fresh())
				lines := bytes.SplitAfter(journal, []byte("\n"))
				for range 2 {
					s := NewState()
					for _, line := range lines[:rapid.IntRange(0, len(lines)-1).Draw(t, "kept")] {
						if err := s.line(line); err != nil {
							t.Fatalf("%v", err)
						}
					}
					if got := carriedOn(t, p, w.fresh(), s); !reflect.DeepEqual(got, want) {
						t.Fatalf("rows differ")
					}
				}
			})
		})
	}
}

// A candidate that does not hold the best rate so far costs one load point.
func TestRaceGivesUpEarly(t *testing.T) {
	p := laddered(3, search.StrategyRace)
	p.Scenarios = p.Scenarios[:1]
	w := &world{limit: map[string]float64{"tiny-00": 8, "tiny-01": 3, "tiny-02": 12}, trials: map[string]int{}}
	s := NewState()
	w.carryOn(t, p, s, func(Entry) {})
	n := func(id string) int { return len(s.candidate(id).Trials["chat"]) }
	if n("tiny-01") != 1 || n("tiny-00") < 5 || n("tiny-02") < 4 {
		t.Errorf("load points: %d, %d, %d", n("tiny-00"), n("tiny-01"), n("tiny-02"))
	}
	rows := rowsOf(p, s)
	if *rows[1].SLA.Passed || !strings.Contains(rows[1].RateSearch[0].StopReason, "given up") {
		t.Errorf("the slow one: %+v", rows[1].RateSearch)
	}
	if best := *rows[2].RateSearch[0].FeasibleMax; best > 12 || best < 12/1.06 {
		t.Errorf("the fast one holds %v, expected 12", best)
	}
}

func TestServerReason(t *testing.T) {
	g := func(q string, mean, most, last float64) metric.ServerGauge {
		return metric.ServerGauge{Quantity: q, Mean: mean, Max: most, Last: last}
	}
	ms := func(p50, p99 float64) result.Latency { return result.Latency{P50: &p50, P99: &p99} }
	for _, c := range []struct {
		server  *metric.Server
		itl     result.Latency
		invalid string
		want    string
	}{
		{nil, result.Latency{}, "", ""},
		{nil, result.Latency{}, "late", "client: late"},
		{&metric.Server{Counters: []metric.ServerCounter{{Quantity: "preemptions_total", Increase: 3}}}, result.Latency{}, "", "preemption: 3 times"},
		{&metric.Server{Gauges: []metric.ServerGauge{g("kv_usage_ratio", .8, .99, .9), g("waiting_requests", 5, 20, 9)}}, result.Latency{}, "", "KV cache full (up to 99 %), with up to 20"},
		{&metric.Server{Gauges: []metric.ServerGauge{g("waiting_requests", 5, 20, 9), g("running_requests", 16, 16, 16)}}, result.Latency{}, "", "queue growth: 5 requests waiting on average, up to 20, while 16 ran"},
		{&metric.Server{Gauges: []metric.ServerGauge{g("running_requests", 16, 20, 16)}}, ms(10, 90), "", "prefill stalls"},
		{&metric.Server{Gauges: []metric.ServerGauge{g("running_requests", 16, 20, 16)}}, ms(10, 12), "", "a batch of 16"},
	} {
		tr := &Trial{Server: c.server}
		tr.Point.Invalid, tr.Point.Metrics.ITL = c.invalid, c.itl
		if got := serverReason(tr); !strings.HasPrefix(got, c.want) && !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%q, expected %q", got, c.want)
		}
	}
}

// Each load point of a search has a folder and request ids of its own.
func TestLadderFolders(t *testing.T) {
	seen := map[string]bool{}
	for _, kind := range []string{"", search.KindProbe, search.KindTest, search.KindConfirm} {
		for repeat := range 2 {
			for stage := range 2 {
				l := search.Load{RateRPS: 4, Kind: kind, Repeat: repeat, Stage: stage}
				seen[folder("a", Scenario{Slug: "chat"}, l, "poisson")] = true
				seen[requestPrefix(step{candidate: &somePlan(1).Candidates[0], scenario: &Scenario{Slug: "chat"}, load: l})] = true
			}
		}
	}
	if len(seen) != 32 {
		t.Errorf("%d names: %v", len(seen), seen)
	}
}

// The prompts and arrivals of the common points are the same, those of the
// confirmations are not.
func TestSeedsOfLoadPoints(t *testing.T) {
	sc := Scenario{Seed: 7}
	probe, test := sc.arrivalSeed(search.Load{Kind: search.KindProbe}), sc.arrivalSeed(search.Load{Kind: search.KindTest, RateRPS: 3})
	one, two := sc.arrivalSeed(search.Load{Kind: search.KindConfirm}), sc.arrivalSeed(search.Load{Kind: search.KindConfirm, Repeat: 1})
	if again := sc.arrivalSeed(search.Load{Kind: search.KindAgain, Repeat: 1, AfterRPS: 9}); again != two {
		t.Errorf("after an overload the arrivals are %d, those of the confirmation %d", again, two)
	}
	if all := []uint64{probe, one, two}; probe != test || probe != 7 || len(slices.Compact(slices.Sorted(slices.Values(all)))) != 3 {
		t.Error(fmt.Sprint(probe, test, one, two))
	}
}
