package replay

import (
	"reflect"
	"strings"
	"testing"

	"llmdyno/internal/incident/dump"
)

func now(ok bool, recorded *dump.Recorded, ratio float64) Outcome {
	o := Outcome{OK: ok, Recorded: recorded, SentMs: point(0.0)}
	if !ok {
		o.Class = "reset"
	}
	if ratio > 0 {
		o.Ratio, o.E2EMs = &ratio, point(1000*ratio**recorded.ElapsedSeconds)
	}
	return o
}

func TestJudge(t *testing.T) {
	fine := &dump.Recorded{Finished: true, FinishReason: "stop", ElapsedSeconds: point(0.5)}
	cut := &dump.Recorded{Finished: false, ElapsedSeconds: point(3.0)}
	aborted := &dump.Recorded{Finished: true, FinishReason: "abort"}
	same := func(o Outcome, yes bool) Outcome { o.TextSame = &yes; return o }
	tests := []struct {
		name string
		reqs []Outcome
		died bool
		o    Options
		want Word
		by   string
	}{
		{"the recorded one fails again", []Outcome{now(true, fine, 1), now(false, cut, 0)}, false, Options{}, Reproduced, "ends"},
		{"an aborted one fails again", []Outcome{now(false, aborted, 0)}, false, Options{}, Reproduced, "ends"},
		{"it ends well now", []Outcome{now(true, fine, 1), now(true, cut, 0)}, false, Options{}, NotReproduced, "ends"},
		{"another one fails", []Outcome{now(false, fine, 0), now(true, cut, 0)}, false, Options{}, Different, "ends"},
		{"the server dies, the recorded ones were in flight", []Outcome{now(false, fine, 0), now(true, cut, 0)}, true, Options{}, Reproduced, "ends"},
		{"a failure where none was", []Outcome{now(false, fine, 0)}, false, Options{}, Different, "ends"},
		{"a death where none was", []Outcome{now(true, fine, 1)}, true, Options{}, Different, "ends"},
		{"as slow as then", []Outcome{now(true, fine, 1.2)}, false, Options{}, Reproduced, "times"},
		{"exactly twice as slow is within the band", []Outcome{now(true, fine, 2)}, false, Options{}, Reproduced, "times"},
		{"much faster", []Outcome{now(true, fine, 0.2)}, false, Options{}, NotReproduced, "times"},
		{"much slower", []Outcome{now(true, fine, 2.1)}, false, Options{}, Different, "times"},
		{"another speed says nothing of times", []Outcome{now(true, fine, 0.2)}, false, Options{Speed: 4}, Undecided, "text"},
		{"a cap says nothing of times", []Outcome{now(true, fine, 0.2)}, false, Options{Concurrency: 1}, Undecided, "text"},
		{"another text", []Outcome{same(now(true, fine, 1), false)}, false, Options{}, Different, "text"},
		{"the same text at another speed", []Outcome{same(now(true, fine, 1), true)}, false, Options{Speed: 4}, Reproduced, "text"},
		{"nothing recorded", []Outcome{{OK: true}, {Class: "reset"}}, false, Options{}, Undecided, "text"},
	}
	for _, tt := range tests {
		r := &Run{Requests: tt.reqs, Died: tt.died, Failures: map[string]int{}}
		for i := range r.Requests {
			r.count(&r.Requests[i])
		}
		Judge(r, tt.o)
		if r.Verdict != tt.want || !strings.HasPrefix(r.Reason, tt.by+": ") || len(r.Criteria) != 3 {
			t.Errorf("%s: %s (%s), expected %s by %s", tt.name, r.Verdict, r.Reason, tt.want, tt.by)
		}
	}
}

func TestTogether(t *testing.T) {
	of := func(words ...Word) (runs []*Run) {
		for _, w := range words {
			runs = append(runs, &Run{Verdict: w})
		}
		return runs
	}
	for want, runs := range map[Word][]*Run{
		Reproduced: of(NotReproduced, Different, Reproduced), Different: of(NotReproduced, Different), NotReproduced: of(NotReproduced, Undecided), Undecided: of(Undecided),
	} {
		if got := Together(runs); got != want {
			t.Errorf("got %s, expected %s", got, want)
		}
	}
}

func TestBisect(t *testing.T) {
	a, err := ParseAssertions([]string{"failed == 0", "!has(ttft_ms.p99) || ttft_ms.p99 < 5"})
	if err != nil {
		t.Fatal(err)
	}
	good, badRun := &Run{Failures: map[string]int{}}, &Run{Failed: 1, Failures: map[string]int{"reset": 1}}
	for _, tt := range []struct {
		runs []*Run
		want Answer
	}{{[]*Run{badRun}, Bad}, {[]*Run{good, badRun}, Bad}, {[]*Run{good}, CannotTell}} { // ttft_ms is absent as a whole
		if got := Bisect(a.Check(tt.runs), ""); got != tt.want {
			t.Errorf("got %s, expected %s: %+v", got, tt.want, a.Check(tt.runs))
		}
	}
	if got := a[:1].Check([]*Run{good, badRun}); got[0].Run != 2 || *got[0].Holds {
		t.Errorf("the second replay is named: %+v", got)
	}
	for w, want := range map[Word]Answer{Reproduced: Bad, NotReproduced: Good, Different: CannotTell, Undecided: CannotTell} {
		if got := Bisect(nil, w); got != want {
			t.Errorf("%s: got %s, expected %s", w, got, want)
		}
	}
	if got := Bisect(a[:1].Check([]*Run{good}), Different); got != Good {
		t.Errorf("assertions come before the verdict: got %s", got)
	}
}

// Every name that an assertion may use is a member of a Run, and the other way round.
func TestNamesAreThoseOfARun(t *testing.T) {
	if _, err := ParseAssertions([]string{"nothing == 1"}); err == nil || !strings.Contains(err.Error(), "ttft_ms") {
		t.Errorf("got %v, expected the known names", err)
	}
	have := memberNames(Run{})
	for _, n := range names {
		if !have[n] {
			t.Errorf("%s is no member of a run", n)
		}
	}
	for n := range have {
		switch n {
		case "reason", "warnings", "ended", "last_lines":
			continue // for people
		}
		found := false
		for _, m := range names {
			found = found || m == n
		}
		if !found {
			t.Errorf("%s of a run cannot be asked for", n)
		}
	}
}

func memberNames(v any) map[string]bool {
	out := map[string]bool{}
	for f := range reflect.TypeOf(v).Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out[name] = true
	}
	return out
}
