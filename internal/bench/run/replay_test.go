package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine"
	"llmdyno/internal/launch"
)

// world decides what happens at each step, by the step alone, as a deterministic
// machine would.
type world struct {
	limit   map[string]float64 // by candidate: the highest rate that passes
	starts  map[string]*Failure
	missing bool
	trials  map[string]int // how often each was measured
}

// carryOn takes the steps that are left, writing the lines that a session would.
func (w *world) carryOn(t interface{ Fatalf(string, ...any) }, p *Plan, s *State, write func(Entry)) {
	up := ""
	put := func(e Entry) {
		e.Time = time.Unix(1_700_000_000, 0).UTC()
		write(e)
		if err := s.Apply(e); err != nil {
			t.Fatalf("%v", err)
		}
	}
	put(Entry{Kind: KindSession, Schema: JournalSchema, SchemaVersion: JournalSchemaVersion})
	for range 10_000 {
		st, more := next(p, s)
		switch {
		case !more:
			put(Entry{Kind: KindSessionPaused, Status: artifact.StateComplete})
			return
		case st.capture != "":
			f := EngineFacts{ID: st.capture, Version: "1"}
			if w.missing {
				f.Missing = "not installed"
			}
			put(Entry{Kind: KindEngine, Engine: &f})
		case st.finish:
			put(Entry{Kind: KindScenarioDone, Candidate: st.candidate.ID, Scenario: st.scenario.Name, Found: st.found})
		case up != st.candidate.ID:
			put(Entry{Kind: KindServerBegun, Candidate: st.candidate.ID, Mark: st.candidate.ID})
			put(Entry{Kind: KindServerGroup, Candidate: st.candidate.ID, Mark: st.candidate.ID, Group: &launch.Group{PGID: 7}})
			if f := w.starts[st.candidate.ID]; f != nil {
				put(Entry{Kind: KindServerEnded, Candidate: st.candidate.ID, Mark: st.candidate.ID})
				put(Entry{Kind: KindStartFailed, Candidate: st.candidate.ID, Failure: f})
				continue
			}
			put(Entry{Kind: KindServerReady, Candidate: st.candidate.ID})
			up = st.candidate.ID
		default:
			put(Entry{Kind: KindTrialBegun, Candidate: st.candidate.ID, Scenario: st.scenario.Name, Load: &st.load})
			w.trials[fmt.Sprint(st.candidate.ID, st.scenario.Name, st.load)]++
			put(Entry{Kind: KindTrialDone, Candidate: st.candidate.ID, Scenario: st.scenario.Name, Load: &st.load, Trial: w.measure(st)})
		}
	}
	t.Fatalf("no end after 10000 steps")
}

func (w *world) measure(st step) *Trial {
	rate, ttft, ok := st.load.RateRPS, 10.0, 1.0
	t := &Trial{Point: result.Point{Repeat: st.load.Repeat, Status: result.StatusOK, Passed: rate <= w.limit[st.candidate.ID],
		Metrics: result.Metrics{RequestThroughput: &rate, SuccessRate: &ok, TTFT: result.Latency{P50: &ttft}}}}
	t.Point.RequestRate, t.Point.MaxConcurrency = given(st.load)
	return t
}

func (w *world) fresh() *world {
	return &world{limit: w.limit, starts: w.starts, missing: w.missing, trials: map[string]int{}}
}

// A journal that is cut anywhere, as a kill leaves it, and carried on gives
// the rows of the undisturbed run, and measures nothing that was in it.
func TestAnyCutOfTheJournalEndsInTheSameRows(t *testing.T) {
	p := somePlan(3)
	p.Load.Loads = []search.Load{{RateRPS: 2}, {MaxConcurrency: 4}}
	w := &world{limit: map[string]float64{"tiny-00": 3, "tiny-02": 0.1}, starts: map[string]*Failure{"tiny-01": {Phase: "start", Status: "oom", Reason: "no memory"}}}
	journal, want := undisturbed(t, p, w.fresh())
	path := filepath.Join(t.TempDir(), journalName)
	byLines := map[int][]result.Row{} // the whole lines of a cut decide
	for cut := 0; cut <= len(journal); cut++ {
		if edge := bytes.Contains(journal[max(cut-2, 0):min(cut+2, len(journal))], []byte("\n")); !edge && cut%41 != 0 {
			continue // within a line all bytes are alike
		}
		if err := os.WriteFile(path, journal[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := Replay(path)
		if err != nil {
			t.Fatalf("cut at byte %d: %v", cut, err)
		}
		lines := bytes.Count(journal[:cut], []byte("\n"))
		if byLines[lines] == nil {
			byLines[lines] = carriedOn(t, p, w.fresh(), s)
		}
		if !reflect.DeepEqual(byLines[lines], want) {
			t.Fatalf("cut at byte %d (line %d): rows differ", cut, lines)
		}
	}
	if len(byLines) < 30 {
		t.Errorf("only %d lines were cut", len(byLines))
	}
}

func undisturbed(t interface{ Fatalf(string, ...any) }, p *Plan, w *world) (journal []byte, rows []result.Row) {
	var b bytes.Buffer
	s := NewState()
	w.carryOn(t, p, s, func(e Entry) {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("%v", err)
		}
		b.Write(append(line, '\n'))
	})
	return b.Bytes(), rowsOf(p, s)
}

func rowsOf(p *Plan, s *State) []result.Row {
	return Rows(p, s, engine.Set{tiny()}, Facts{}, "")
}

func carriedOn(t interface{ Fatalf(string, ...any) }, p *Plan, w *world, s *State) []result.Row {
	before := map[string]bool{}
	for id, c := range s.Candidates {
		for sc, trials := range c.Trials {
			for _, tr := range trials {
				before[fmt.Sprint(id, sc, tr.Load)] = true
			}
		}
	}
	w.carryOn(t, p, s, func(Entry) {})
	for key, n := range w.trials {
		if before[key] && n > 0 || n > 1 {
			t.Fatalf("measured again: %s", key)
		}
	}
	return rowsOf(p, s)
}

// The same for arbitrary machines, kills after any lines, several times over.
func TestManyKillsEndInTheSameRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := somePlan(rapid.IntRange(1, 4).Draw(t, "candidates"))
		p.Load.Repeats = rapid.IntRange(1, 2).Draw(t, "repeats")
		p.Load.Caps = rapid.SampledFrom([][]int{{0}, {0, 4}, {2}}).Draw(t, "caps")
		w := &world{limit: map[string]float64{}, starts: map[string]*Failure{}, missing: rapid.IntRange(0, 9).Draw(t, "missing") == 0}
		for _, c := range p.Candidates {
			w.limit[c.ID] = rapid.Float64Range(0, 20).Draw(t, "limit")
			if rapid.IntRange(0, 2).Draw(t, "fails") == 0 {
				w.starts[c.ID] = &Failure{Phase: "start", Status: rapid.SampledFrom([]string{"oom", "failed"}).Draw(t, "status"), Reason: "no start"}
			}
		}
		journal, want := undisturbed(t, p, w.fresh())
		lines := bytes.SplitAfter(journal, []byte("\n"))
		for range 3 {
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
}

func TestReplayRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no session first": `{"time":"2026-01-01T00:00:00Z","event":"trial_begun"}` + "\n",
		"newer schema":     `{"schema":"llmdyno.journal","schema_version":9,"event":"session_begun"}` + "\n",
		"unknown event":    `{"schema":"llmdyno.journal","schema_version":1,"event":"session_begun"}` + "\n" + `{"event":"dance"}` + "\n",
		"no JSON":          "hello\n",
	} {
		path := filepath.Join(t.TempDir(), journalName)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Replay(path); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzJournal(f *testing.F) {
	journal, _ := undisturbed(f, somePlan(1), &world{trials: map[string]int{}})
	f.Add(journal)
	f.Add([]byte(`{"schema":"llmdyno.journal","schema_version":1,"event":"session_begun"}` + "\n" + `{"event":"trial_done","trial":{},"load":{}}`))
	p := somePlan(1)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := NewState()
		for line := range bytes.Lines(data) {
			if s.line(line) != nil {
				return
			}
		}
		next(p, s)
		rowsOf(p, s)
	})
}

func FuzzPlan(f *testing.F) {
	data, err := json.Marshal(somePlan(2))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"schema":"llmdyno.plan","schema_version":1}`))
	set := engine.Set{tiny()}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decodePlan(data, set)
		if err != nil {
			return
		}
		s := NewState()
		if _, more := next(p, s); !more {
			t.Error("a plan that passes its check has nothing to do")
		}
		rows := Rows(p, s, set, Facts{}, "not begun")
		if len(rows) != len(p.Candidates)*len(p.Scenarios) {
			t.Errorf("%d rows", len(rows))
		}
	})
}

// A client that is never sound ends the search of a scenario early, and its row
// does not pass.
func TestUnsoundClientEndsTheSearch(t *testing.T) {
	p, s := somePlan(1), NewState()
	s.Engines["tiny"] = EngineFacts{ID: "tiny"}
	for i := range maxInvalid {
		st, _ := next(p, s)
		if st.finish {
			t.Fatalf("given up after %d load points", i)
		}
		tr := (&world{limit: map[string]float64{"tiny-00": 100}}).measure(st)
		tr.Point.Invalid = "late"
		if err := s.Apply(Entry{Kind: KindTrialDone, Candidate: "tiny-00", Scenario: "chat", Load: &st.load, Trial: tr}); err != nil {
			t.Fatal(err)
		}
	}
	if st, _ := next(p, s); !st.finish {
		t.Errorf("the search goes on at %v", st.load)
	}
	if rows := rowsOf(p, s); Passed(rows) || rows[0].Status != result.StatusOK {
		t.Errorf("row %s passes: %v", rows[0].Status, Passed(rows))
	}
}
