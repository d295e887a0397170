package report

import (
	"slices"
	"strings"
	"testing"

	"llmdyno/internal/bench/result"
)

// Every report says once for each class what was sent and what its lengths mean.
func TestReportsSayWhatWasSent(t *testing.T) {
	rows := []result.Row{}
	for _, id := range []string{"a", "b"} {
		rows = append(rows, result.Row{SchemaVersion: 1, Framework: "one", CandidateID: id, Model: "org/m", Status: result.StatusOK,
			Workload: result.Workload{Scenario: "chat", Description: "input tokens: 1 to 100 <as likely>"}})
	}
	c := result.Compare(rows, result.Options{})
	v := view{c: c}
	label := c.Classes[0].Label
	if want := []string{"Sent in " + label + ": input tokens: 1 to 100 <as likely>"}; !slices.Equal(v.sent(), want) {
		t.Errorf("%q, want %q", v.sent(), want)
	}
	for name, write := range map[string]func(*strings.Builder) error{
		"text":     func(b *strings.Builder) error { return Text(b, c, 200, false) },
		"markdown": func(b *strings.Builder) error { return Markdown(b, c) },
		"html":     func(b *strings.Builder) error { return HTML(b, Page{Comparison: c}) },
	} {
		var b strings.Builder
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "input tokens: 1 to 100"); n < 1 || strings.Count(b.String(), "Sent in ") != 1 {
			t.Errorf("%s says it %d times:\n%s", name, n, b.String())
		}
	}
}
