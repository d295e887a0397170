package report

import (
	"bytes"
	"strings"
	"testing"

	"llmdyno/internal/bench/result"
)

// Every form of the report has one line for each adaptive rate search.
func TestRateSearchLines(t *testing.T) {
	rate, next, passed := 4.2, 4.4, true
	row := result.Row{SchemaVersion: 1, Framework: "tiny", CandidateID: "tiny-03", Model: "m", Status: result.StatusOK,
		Workload: result.Workload{Scenario: "chat"}, SLA: result.SLA{Passed: &passed}, Metrics: result.Metrics{RequestThroughput: &rate},
		RateSearch: []result.RateSearch{{FeasibleMax: &rate, InfeasibleMin: &next, Confirmed: true, BindingConstraint: "max_p50_ttft_ms", FailsBecause: "too slow", ServerReason: "KV cache full", StopReason: "as close as asked"}}}
	c := result.Compare([]result.Row{row}, result.Options{})
	var text, md bytes.Buffer
	if err := Text(&text, c, 400, false); err != nil {
		t.Fatal(err)
	}
	if err := Markdown(&md, c); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"text": text.String(), "markdown": strings.ReplaceAll(md.String(), "\\", "")} {
		for _, want := range []string{"Rate search of tiny-03 in ", "up to 4.2 req/s meet the limits, confirmed", "4.4 req/s fail: too slow", "the server there: KV cache full", "binding: max_p50_ttft_ms"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s lacks %q:\n%s", name, want, got)
			}
		}
	}
}
