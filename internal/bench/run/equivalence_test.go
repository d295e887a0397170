package run

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
)

// A candidate that answers otherwise than the baseline, or that the evaluation
// command refuses, cannot win, and its row says why; the others can.
func TestAnswersDecideWhoMayWin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend()
		b.says = func(name, prompt string, i int) string {
			if name == "tiny-01" && i >= 4 || name == "tiny-03" && i == 15 && strings.HasPrefix(prompt, "The capital") {
				return " nonsense"
			}
			return " word"
		}
		b.slow = func(name string) float64 { return map[string]float64{"tiny-01": 0.5, "tiny-02": 0.5}[name] + 0.25 }
		b.evaluates = func(env []string) (string, int) {
			if slices.Contains(env, "LLMDYNO_CANDIDATE=tiny-02") {
				return "loading\nscore 0.31 is below 0.5\n\n", 4
			}
			return "score 0.8\n", 0
		}
		p := somePlan(4)
		p.Scenarios = p.Scenarios[:1]
		p.Load.Loads = []search.Load{{MaxConcurrency: 2}}
		p.Equivalence = &EquivalencePlan{Prompts: 8, Tokens: 16, MinAgreement: 0.9, Command: []string{"evaluate"}, CommandTimeoutS: 60}
		res, err := begin(t, t.Context(), b, p)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []struct {
			passed    bool
			agreement float64 // NaN = the reference
			identical int
			reason    string
		}{
			{true, math.NaN(), 0, ""},
			{false, 0.25, 0, "agree with those of tiny-00 in 25 % of the first 16 tokens"},
			{false, 1, 8, "the evaluation command ended with exit code 4: score 0.31 is below 0.5"},
			{true, (7 + 15.0/16) / 8, 7, ""},
		} {
			r := res.Rows[i]
			e := r.Equivalence
			if e == nil || *e.Passed != want.passed || e.Identical != want.identical || !strings.Contains(e.Reason, want.reason) || e.TokensBy != "words" {
				t.Fatalf("%s: %+v", r.CandidateID, e)
			}
			if (e.Agreement == nil) != math.IsNaN(want.agreement) || e.Agreement != nil && math.Abs(*e.Agreement-want.agreement) > 1e-9 {
				t.Errorf("%s: agreement %v, want %v", r.CandidateID, e.Agreement, want.agreement)
			}
			if *r.SLA.Passed != want.passed || !want.passed && !strings.Contains(strings.Join(r.SLA.Violations, ";"), "cannot win") {
				t.Errorf("%s: SLA %+v", r.CandidateID, r.SLA)
			}
		}
		c := result.Compare(res.Rows, result.Options{})
		for _, e := range c.Entries {
			if broken := e.Name == "tiny-01" || e.Name == "tiny-02"; e.Passed() == broken || broken && !strings.Contains(e.Reason, "cannot win") {
				t.Errorf("%s: %s, %s", e.Name, e.Outcome, e.Reason)
			}
		}
		s, err := Replay(res.Dir + "/" + journalName)
		if err != nil || len(s.Candidates["tiny-01"].Answers.Texts) != 8 {
			t.Errorf("replay: %v", err)
		}
	})
}

func TestAgree(t *testing.T) {
	w := func(texts ...string) (out [][]string) {
		for _, text := range texts {
			out = append(out, cutWords(text))
		}
		return out
	}
	for _, test := range []struct {
		a, b  [][]string
		share float64
		same  int
	}{
		{w("a b c d"), w("a b c d"), 1, 1},
		{w("a b c d"), w("a b x d"), 0.5, 0},
		{w("a b"), w("a b c d"), 0.5, 0},
		{w(""), w(""), 1, 1},
		{w("a", "b"), w("a", ""), 0.5, 1},
		{nil, nil, 0, 0},
	} {
		if share, same := agree(test.a, test.b); share != test.share || same != test.same {
			t.Errorf("%v and %v: %v, %d", test.a, test.b, share, same)
		}
	}
	if got := strings.Join(cutWords("It's 12.5 €, 東京タワー!\n\tok"), "|"); got != "It|'|s|12|.|5|€|,|東|京|タ|ワ|ー|!|ok" {
		t.Error(got)
	}
}

// An equal command that answers otherwise cannot win against a.
func TestABNeedsTheSameAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend()
		b.slow = func(name string) float64 { return map[string]float64{SideA: 1, SideB: 0.5}[name] }
		b.says = func(name, _ string, _ int) string { return " " + name }
		p := abPlan(t, ABOptions{A: "tiny-00", B: "tiny-01", Blocks: 2, MaxConcurrency: 2, Requests: 10})
		p.Equivalence = &EquivalencePlan{Prompts: 2, Tokens: 8, MinAgreement: 0.5}
		res, err := begin(t, t.Context(), b, p)
		if err != nil {
			t.Fatal(err)
		}
		if ab, _ := res.Plan.Verdict(res.Rows); ab.Winner != "tie" || !strings.Contains(ab.Verdict, "b is better, but cannot win: its greedy answers agree with those of a in 0 %") {
			t.Error(ab.Verdict)
		}
	})
}
