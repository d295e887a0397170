package witness

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"llmdyno/internal/engine"
	"llmdyno/internal/engine/all"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/server-metrics.md")

const (
	docPath  = "../../../docs/server-metrics.md"
	docBegin = "<!-- generated from the engines' tables: go test ./internal/load/witness -run Docs -update -->\n"
	docEnd   = "<!-- end of the generated part -->\n"
)

// The page that says which series stand behind a quantity is that of the tables.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile(docPath)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), docBegin)
	_, tail, too := strings.Cut(rest, docEnd)
	if !ok || !too {
		t.Fatalf("%s: the marks of the generated part are missing", docPath)
	}
	want := head + docBegin + tables() + docEnd + tail
	if *update {
		if err := os.WriteFile(docPath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(page) {
		t.Errorf("%s is not what the tables say: run go test ./internal/load/witness -run Docs -update", docPath)
	}
	for _, q := range engine.Quantities() {
		if !strings.Contains(head+tail, "`"+string(q)+"`") {
			t.Errorf("%s does not say what %s means", docPath, q)
		}
	}
}

func tables() string {
	var b bytes.Buffer
	for _, e := range all.Engines() {
		fmt.Fprintf(&b, "\n### %s\n\n", e.Title)
		if ep, ok := e.Endpoint(engine.EndpointMetrics); ok {
			fmt.Fprintf(&b, "`%s %s`", ep.Method, ep.Path)
			if ep.Port != "" {
				fmt.Fprintf(&b, " on the port of `%s`", e.Option(ep.Port))
			}
			if ep.Needs != "" {
				fmt.Fprintf(&b, "; needs %s", ep.Needs)
			}
			if ep.Cost != "" {
				fmt.Fprintf(&b, "; %s", ep.Cost)
			}
			b.WriteString(".\n\n")
		}
		b.WriteString("| quantity | series | joined by | exposed | read in |\n| --- | --- | --- | --- | --- |\n")
		for _, m := range e.Metrics {
			fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s | %s, %s |\n", m.Quantity, seriesName(m), joined(m), exposed(m), m.Source.Ref, m.Source.Date)
		}
	}
	return b.String() + "\n"
}

func seriesName(m engine.Metric) string {
	name := m.Name
	for _, label := range slices.Sorted(maps.Keys(m.Labels)) {
		name += fmt.Sprintf("{%s=%q}", label, m.Labels[label])
	}
	return name
}

func joined(m engine.Metric) string {
	switch {
	case m.Quantity.Histogram():
		return "sum of buckets"
	case m.Sum:
		return "sum"
	}
	return "largest"
}

func exposed(m engine.Metric) string {
	var words []string
	if m.Since != "" {
		words = append(words, "from "+m.Since)
	}
	if m.Until != "" {
		words = append(words, "up to "+m.Until)
	}
	if m.When != "" {
		words = append(words, "with "+m.When)
	}
	if len(words) == 0 {
		return "always"
	}
	return strings.Join(words, ", ")
}
