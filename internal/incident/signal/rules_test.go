package signal_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"llmdyno/internal/engine/all"
	"llmdyno/internal/incident/signal"
)

var update = flag.Bool("update", false, "rewrite the table in docs/signals.md")

func builtin(t testing.TB) *signal.Rules {
	t.Helper()
	rules, err := signal.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// Every rule carries a test that fires it and one that must not, a source with a
// date, and a source for each threshold.
func TestBuiltinRules(t *testing.T) {
	rules := builtin(t)
	if len(rules.List) < 31 {
		t.Errorf("%d rules, expected those of the facts' table, 31 or more", len(rules.List))
	}
	for _, res := range rules.Test() {
		if !res.OK {
			t.Errorf("%s, %s: %s", res.Rule, res.Test, res.Reason)
		}
	}
	for _, r := range rules.List {
		if r.Source.Ref == "" || r.Source.Date == "" || r.Risk == "" {
			t.Errorf("%s: source or risk is missing", r.ID)
		}
		for _, th := range r.Thresholds {
			if th.Source == "" || th.Date == "" || th.Meaning == "" {
				t.Errorf("%s: threshold %g has no source", r.ID, th.Value)
			}
		}
	}
}

const tableMark = "<!-- rules: made from internal/incident/signal/rules by go test -update -->"

// The table in the documentation is that of the data.
func TestDocs(t *testing.T) {
	var b strings.Builder
	cell := func(s string) string { return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`) }
	fmt.Fprintf(&b, "%s\n\n| rule | says | class | severity | confidence | fires when | thresholds | provoked by | silent for |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n", tableMark)
	for _, r := range builtin(t).List {
		var thresholds, fire, silent []string
		for _, th := range r.Thresholds {
			thresholds = append(thresholds, fmt.Sprintf("%g %s %s (%s, %s)", th.Value, th.Unit, th.Meaning, th.Source, th.Date))
		}
		for _, c := range r.Tests {
			if c.Fires {
				fire = append(fire, c.Name)
			} else {
				silent = append(silent, c.Name)
			}
		}
		when := "`" + cell(r.Condition) + "`"
		if len(r.Log) > 0 {
			when += "; log: `" + cell(strings.Join(r.Log, "` `")) + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.ID, cell(r.Title), r.Class, r.Severity, r.Confidence, when,
			cell(strings.Join(thresholds, "; ")), cell(strings.Join(fire, "; ")), cell(strings.Join(silent, "; ")))
	}
	b.WriteString("\n## Facts\n\nWhat a condition may ask for. One that is not known is absent: the rule is then not judged, never false.\n\n| fact | meaning |\n| --- | --- |\n")
	for _, f := range signal.Facts() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.Name, f.Meaning)
	}
	path := filepath.Join("..", "..", "..", "docs", "signals.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := strings.Cut(string(text), tableMark)
	if !found {
		t.Fatalf("%s has no line %q", path, tableMark)
	}
	want := head + b.String()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Errorf("%s is not that of the rules: go test ./internal/incident/signal -run TestDocs -update", path)
	}
}

func TestOwnRules(t *testing.T) {
	write := func(text string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "mine.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	const good = `rules:
  - {id: R-KV-SAT, title: Mine, class: latency, severity: info, confidence: low, condition: kv_usage_max >= 0.5, evidence: ["{kv_usage_max|pct}"], next_step: wait, risk: none, source: {ref: me, date: 2026-11-25},
     tests: [{name: half, fires: true, facts: {kv_usage_max: 0.5}}, {name: less, fires: false, facts: {kv_usage_max: 0.4}}]}
`
	rules, err := signal.LoadRules(write(good))
	if err != nil {
		t.Fatal(err)
	}
	if r := rules.Find("r-kv-sat"); r == nil || r.Title != "Mine" || len(rules.List) != len(builtin(t).List) {
		t.Errorf("an own rule takes the place of that with its id: %+v", r)
	}
	for text, want := range map[string]string{
		strings.Replace(good, "kv_usage_max >= 0.5", "kv_usage >= 0.5", 1):         "undeclared reference",
		strings.Replace(good, "latency", "slow", 1):                                "class",
		strings.Replace(good, "severity: info", "severity: bad", 1):                "severity",
		strings.Replace(good, "risk:", "danger:", 1):                               "danger",
		strings.Replace(good, "id: R-KV-SAT", "id: kv", 1):                         "capitals",
		good + strings.TrimPrefix(good, "rules:\n"):                                "twice",
		strings.Replace(good, "next_step: wait", "log: ['('], next_step: wait", 1): "log pattern",
		"rules: [null]": "empty",
	} {
		if _, err := signal.LoadRules(write(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60q…: %v; expected one line with %q", text, err, want)
		}
	}
	if _, err := signal.LoadRules(t.TempDir()); err == nil {
		t.Error("a folder without rules is an error")
	}
	none, err := signal.LoadRulesOnly(write(strings.Split(good, ",\n")[0] + "}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if res := none.Test(); len(res) != 1 || res[0].OK {
		t.Errorf("a rule without tests: %+v", res)
	}
}

func TestExport(t *testing.T) {
	var b bytes.Buffer
	if err := builtin(t).WritePrometheus(&b, all.Engines()); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Groups) < 3 {
		t.Fatalf("%d groups", len(doc.Groups))
	}
	for _, g := range doc.Groups {
		for _, r := range g.Rules {
			if strings.Count(r.Expr, "(") != strings.Count(r.Expr, ")") || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("%s, %s: %+v", g.Name, r.Alert, r)
			}
		}
	}
	b.Reset()
	if err := builtin(t).WriteAlertmanager(&b); err != nil || !strings.Contains(b.String(), `alertname="R-DOWN"`) {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// The families in the expressions are those that the engines' tables read, or
// parts of their histograms.
func TestExportNamesAreKnown(t *testing.T) {
	for _, e := range all.Engines() {
		known := map[string]bool{}
		for _, m := range e.Metrics {
			known[m.Name] = true
		}
		if e.State == nil {
			continue
		}
		for _, s := range e.State.Series {
			for _, f := range s.From {
				known[f] = true
			}
		}
		for _, r := range builtin(t).List {
			for _, prefix := range e.State.Prefixes {
				for _, part := range strings.Split(r.Prometheus[string(e.ID)], prefix)[1:] {
					end := strings.IndexFunc(part, func(c rune) bool { return !(c == '_' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9') })
					if end < 0 {
						end = len(part)
					}
					name := prefix + part[:end]
					base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
					if !known[name] && !known[base] {
						t.Errorf("%s, %s: the table of %s has no family %s", r.ID, r.Prometheus[string(e.ID)], e.ID, name)
					}
				}
			}
		}
	}
}
