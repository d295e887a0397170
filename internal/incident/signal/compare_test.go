package signal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"llmdyno/internal/incident/signal"
	"llmdyno/internal/report"
)

func TestCompare(t *testing.T) {
	a := server{info: `{"internal_states":[{}],"version":"0.5.17","tp_size":4,"chunked_prefill_size":8192,"port":30000,"api_key":"hidden-value"}`}
	b := server{info: `{"internal_states":[{}],"version":"0.5.18","tp_size":4,"chunked_prefill_size":2048,"port":30001,"api_key":"other-value"}`, loads: loadsOf(busy(3, 9, 0.95))}
	d := signal.Compare(a.summary(t), b.summary(t))
	var names []string
	for _, c := range d.Changes {
		names = append(names, c.Area+" "+c.Name)
	}
	text := strings.Join(names, "\n")
	order := []string{"signals R-KV-SAT", "identity engine_version", "settings chunked_prefill_size", "figures kv_usage_max", "settings port"}
	for i, name := range order {
		if at := slices.Index(names, name); at < 0 || i > 0 && at < slices.Index(names, order[i-1]) {
			t.Errorf("%s stands at %d of:\n%s", name, at, text)
		}
	}
	raw, err := json.Marshal(d)
	if err != nil || strings.Contains(string(raw), "-value") || strings.Contains(text, "tp_size") {
		t.Errorf("%v: a key is shown, or what is the same:\n%s", err, raw)
	}
	if same := signal.Compare(a.summary(t), a.summary(t)); len(same.Changes) != 0 || same.Same == 0 {
		t.Errorf("a bundle differs from itself: %+v", same.Changes)
	}
}

// Five replicas, one of which is full, one of which is down, one with another flag.
func TestFleet(t *testing.T) {
	var all []*signal.Summary
	for i := range 5 {
		s := server{loads: loadsOf(busy(10, 0, 0.4))}
		switch i {
		case 1:
			s.loads = loadsOf(busy(90, 40, 0.99))
		case 2:
			s.refused = true
		case 3:
			s.info = `{"internal_states":[{}],"version":"0.5.18","tp_size":1,"chunked_prefill_size":2048}`
		}
		sum := s.summary(t)
		for k := range sum.Targets {
			sum.Targets[k].ID = fmt.Sprintf("replica-%d", i)
		}
		for k := range sum.Signals {
			sum.Signals[k].Target = fmt.Sprintf("replica-%d", i)
		}
		all = append(all, sum)
	}
	rules := builtin(t)
	joined := signal.Join(all, rules)
	if len(joined.Targets) != 5 || joined.Fleet == nil {
		t.Fatalf("%d targets, fleet %v", len(joined.Targets), joined.Fleet)
	}
	odd := map[string]bool{}
	for _, o := range joined.Fleet.Odd {
		odd[o.Target+" "+o.Figure] = true
	}
	for _, want := range []string{"replica-1 kv_usage_max", "replica-1 waiting", "replica-2 answers"} {
		if !odd[want] {
			t.Errorf("%s is odd, too; got %v", want, odd)
		}
	}
	if len(odd) > 4 {
		t.Errorf("too many are odd: %v", odd)
	}
	if !slices.ContainsFunc(joined.Fleet.Differs, func(d signal.Difference) bool { return d.Name == "chunked_prefill_size" }) {
		t.Errorf("the flag that differs is not named: %+v", joined.Fleet.Differs)
	}
	if joined.Top[0].ID != "R-DOWN" && joined.Top[0].ID != "R-KV-SAT" {
		t.Errorf("first is %s", joined.Top[0].ID)
	}
	if _, err := json.Marshal(joined); err != nil {
		t.Error(err)
	}
	for name, render := range map[string]func(b *bytes.Buffer) error{
		"text": func(b *bytes.Buffer) error { return report.IncidentText(b, joined) },
		"md":   func(b *bytes.Buffer) error { return report.IncidentMarkdown(b, joined) },
		"html": func(b *bytes.Buffer) error { return report.IncidentHTML(b, joined) },
	} {
		var b bytes.Buffer
		if err := render(&b); err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"Problem class", "What was checked", "Strongest signal", "Best guess", "Ruled out", "Next step", "Production risk", "odd one out"} {
			if !strings.Contains(b.String(), part) {
				t.Errorf("%s lacks %q", name, part)
			}
		}
	}
}

// What is down hides latency; what only waits stands behind what explains it; a
// healthy and an idle bundle say so.
func TestAnswer(t *testing.T) {
	tops := func(s *signal.Summary) (ids []string) {
		for _, f := range s.Top {
			ids = append(ids, f.ID)
		}
		return ids
	}
	for name, c := range map[string]struct {
		s     server
		class string
		top   []string
	}{
		"healthy":      {server{}, "none", nil},
		"idle":         {server{loads: loadsOf(busy(0, 0, 0))}, "idle", []string{"R-IDLE"}},
		"down":         {server{health: 503, loads: loadsOf(busy(3, 5, 0.95))}, "down", []string{"R-DOWN"}},
		"full":         {server{loads: loadsOf(busy(3, 5, 0.95))}, "latency", []string{"R-KV-SAT"}},
		"waiting":      {server{loads: loadsOf(busy(3, 5, 0.4))}, "latency", []string{"R-QUEUE-WAIT"}},
		"full, unread": {server{infoStatus: 401, loads: loadsOf(busy(3, 5, 0.95))}, "latency", []string{"R-KV-SAT", "R-AUTH"}},
	} {
		s := c.s.summary(t)
		if s.ProblemClass != c.class || !slices.Equal(tops(s), c.top) {
			t.Errorf("%s: %s, %v; want %s, %v", name, s.ProblemClass, tops(s), c.class, c.top)
		}
		for _, part := range []string{s.Contract.ProblemClass, s.Contract.StrongestSignal, s.Contract.BestGuess, s.Contract.NextStep, s.Contract.ProductionRisk} {
			if part == "" {
				t.Errorf("%s: a part of the answer is empty: %+v", name, s.Contract)
			}
		}
	}
}
