package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"llmdyno/internal/incident/bundle"
	"llmdyno/internal/incident/signal"
	"llmdyno/internal/report"
)

// summaryRequest is what "incident summarize" was asked for.
type summaryRequest struct {
	bundles []string
	before  string
	alone   bool
	rules   []string
	format  string
	out     string
	failOn  string
}

func newSummarizeCommand(a *app) *cobra.Command {
	var r summaryRequest
	c := &cobra.Command{
		Use:   "summarize BUNDLE…",
		Short: "What a bundle says, what is wrong and what to do next",
		Long: `Reads bundles that "incident collect" wrote, or folders of the Python toolkit, and
judges them by rules. Figures are those of the servers' own pages: percentiles from
histogram buckets, sums and maxima over ranks, and what happened between two scrapes.

Two bundles of one server are read as earlier and later. A bundle named NAME_after
is read with NAME_before beside it, unless --alone. Bundles of several servers are
set side by side, and the odd one out is named.`,
		Example: `  llmdyno incident summarize incident-bundle/
  llmdyno incident summarize before.tar.zst after.tar.zst --format md
  llmdyno incident summarize bundle/ --fail-on critical`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r.bundles = args
			if err := oneOf("format", r.format, "text", "json", "md", "html"); err != nil {
				return err
			}
			if err := oneOf("fail-on", r.failOn, append([]string{""}, signal.Severities...)...); err != nil {
				return err
			}
			return a.summarize(&r)
		},
	}
	f := c.Flags()
	f.StringVar(&r.format, "format", "text", "text, json, md or html")
	f.StringVar(&r.out, "out", "", "file for the report; empty: standard output")
	f.StringVar(&r.before, "before", "", "an earlier bundle of the same servers")
	f.BoolVar(&r.alone, "alone", false, "do not look for an earlier bundle beside this one")
	f.StringArrayVar(&r.rules, "rules", nil, "folder with rules of your own; may be given several times")
	f.StringVar(&r.failOn, "fail-on", "", "exit with 1 when a finding is at least: "+strings.Join(signal.Severities, ", "))
	return c
}

func (a *app) loadRules(dirs []string) (*signal.Rules, error) {
	rules, err := signal.LoadRules(dirs...)
	if err != nil {
		return nil, fail(ExitNo, "llmdyno incident rules test DIR says more", err)
	}
	return rules, nil
}

// summarize reads the bundles and shows what they say.
func (a *app) summarize(r *summaryRequest) error {
	s, err := a.readSummary(r)
	if err != nil {
		return err
	}
	if err := a.writeOut(r.out, func(w io.Writer) error { return a.renderSummary(w, r.format, s) }); err != nil {
		return err
	}
	if r.failOn != "" && slices.Index(signal.Severities, s.Worst()) >= slices.Index(signal.Severities, r.failOn) {
		return quiet(ExitNo)
	}
	return nil
}

func (a *app) renderSummary(w io.Writer, format string, s *signal.Summary) error {
	switch format {
	case "json":
		return a.writeRedacted(w, s)
	case "md":
		return report.IncidentMarkdown(w, s)
	case "html":
		return report.IncidentHTML(w, s)
	}
	return report.IncidentText(w, s)
}

// readSummary reads all bundles: those of one server in the order of their time,
// the last against the one before it.
func (a *app) readSummary(r *summaryRequest) (*signal.Summary, error) {
	rules, err := a.loadRules(r.rules)
	if err != nil {
		return nil, err
	}
	var open []*bundle.Bundle
	defer func() {
		for _, b := range open {
			b.Close()
		}
	}()
	read := func(name string) (*bundle.Bundle, error) {
		b, err := bundle.Open(name)
		if err != nil {
			return nil, fail(ExitFailed, "name a folder or an archive that llmdyno incident collect wrote", err)
		}
		open = append(open, b)
		return b, nil
	}
	var before *bundle.Bundle
	if r.before != "" {
		if before, err = read(r.before); err != nil {
			return nil, err
		}
	}
	var groups [][]*bundle.Bundle
	for _, name := range r.bundles {
		b, err := read(name)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(groups, func(g []*bundle.Bundle) bool { return sameServers(g[0], b) })
		if at < 0 {
			groups = append(groups, nil)
			at = len(groups) - 1
		}
		groups[at] = append(groups[at], b)
	}
	var all []*signal.Summary
	for _, g := range groups {
		slices.SortStableFunc(g, func(x, y *bundle.Bundle) int { return x.Manifest.Started.Compare(y.Manifest.Started) })
		last, earlier := g[len(g)-1], before
		if len(g) > 1 {
			earlier = g[len(g)-2]
		}
		if earlier == nil && !r.alone {
			if name := earlierBeside(last.Path); name != "" {
				if b, err := bundle.Open(name); err == nil {
					open = append(open, b)
					if sameServers(b, last) && b.Manifest.Started.Before(last.Manifest.Started) {
						earlier = b
						a.logf("read with the earlier bundle %s beside it (--alone leaves it out)", name)
					}
				}
			}
		}
		s, err := signal.Summarize(last, signal.Options{Engines: a.engines, Rules: rules, Before: earlier})
		if err != nil {
			return nil, fail(ExitFailed, "", err)
		}
		all = append(all, s)
	}
	return signal.Join(all, rules), nil
}

// sameServers says that two bundles are of the same servers.
func sameServers(a, b *bundle.Bundle) bool {
	if len(a.Targets) != len(b.Targets) || len(a.Targets) == 0 {
		return false
	}
	for i, t := range a.Targets {
		if t.URL == "" || t.URL != b.Targets[i].URL {
			return false
		}
	}
	return true
}

// earlierBeside is the bundle of the same name with "before" for "after" in the
// same folder; "" = there is none.
func earlierBeside(path string) string {
	path = filepath.Clean(path)
	dir, base := filepath.Split(path)
	i := strings.LastIndex(base, "after")
	if i < 0 {
		return ""
	}
	name := filepath.Join(dir, base[:i]+"before"+base[i+len("after"):])
	if _, err := os.Stat(name); err != nil {
		return ""
	}
	return name
}

func newIncidentDiffCommand(a *app) *cobra.Command {
	var format, out string
	var dirs []string
	c := &cobra.Command{
		Use:   "diff A B",
		Short: "What differs between two bundles, what matters first",
		Long: `Sets two bundles against each other: before and after, a good and a bad replica, two
commits. Findings and health come first, then versions, flags and topology, then
capacity, figures and loads.`,
		Example: "  llmdyno incident diff good/ bad.tar.zst",
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("format", format, "text", "json", "md"); err != nil {
				return err
			}
			var sides [2]*signal.Summary
			for i, name := range args {
				s, err := a.readSummary(&summaryRequest{bundles: []string{name}, alone: true, rules: dirs})
				if err != nil {
					return err
				}
				sides[i] = s
			}
			d := signal.Compare(sides[0], sides[1])
			return a.writeOut(out, func(w io.Writer) error {
				switch format {
				case "json":
					return a.writeRedacted(w, d)
				case "md":
					return report.IncidentDiffMarkdown(w, d)
				}
				return report.IncidentDiffText(w, d)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&format, "format", "text", "text, json or md")
	f.StringVar(&out, "out", "", "file for the report; empty: standard output")
	f.StringArrayVar(&dirs, "rules", nil, "folder with rules of your own; may be given several times")
	return c
}

func newIncidentRulesCommand(a *app) *cobra.Command {
	return group("rules", "The rules that bundles are judged by",
		`Rules are data: a condition over facts, a threshold with its source, the evidence that
is shown, the next step. Your own stand in a folder of YAML files (--rules DIR); a rule
with the id of a built-in one takes its place.`,
		"  llmdyno incident rules list\n  llmdyno incident rules test my-rules/",
		newRulesListCommand(a), newRulesShowCommand(a), newRulesFactsCommand(a), newRulesTestCommand(a), newRulesExportCommand(a))
}

func newRulesListCommand(a *app) *cobra.Command {
	var format string
	var dirs []string
	c := &cobra.Command{
		Use: "list", Short: "All rules in one table", Example: "  llmdyno incident rules list --format md", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := oneOf("format", format, "text", "json", "md"); err != nil {
				return err
			}
			rules, err := a.loadRules(dirs)
			if err != nil {
				return err
			}
			switch format {
			case "json":
				return a.writeRedacted(a.stdout, rules.List)
			case "md":
				return report.IncidentRulesMarkdown(a.stdout, rules.List)
			}
			return report.IncidentRulesText(a.stdout, rules.List)
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text, json or md")
	c.Flags().StringArrayVar(&dirs, "rules", nil, "folder with rules of your own; may be given several times")
	return c
}

func newRulesShowCommand(a *app) *cobra.Command {
	var dirs []string
	c := &cobra.Command{
		Use: "show ID", Short: "One rule with everything that it says", Example: "  llmdyno incident rules show R-KV-SAT", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			rules, err := a.loadRules(dirs)
			if err != nil {
				return err
			}
			r := rules.Find(args[0])
			if r == nil {
				return failf(ExitUsage, "llmdyno incident rules list names all", "there is no rule %q", args[0])
			}
			return a.writeRedacted(a.stdout, r)
		},
	}
	c.Flags().StringArrayVar(&dirs, "rules", nil, "folder with rules of your own; may be given several times")
	return c
}

func newRulesFactsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "facts", Short: "What a condition may ask for", Example: "  llmdyno incident rules facts", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			for _, f := range signal.Facts() {
				fmt.Fprintf(a.stdout, "%-28s %s\n", f.Name, f.Meaning)
			}
			return nil
		},
	}
}

func newRulesTestCommand(a *app) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use: "test [DIR]", Short: "Run the tests that the rules carry",
		Long:    "Without a folder the built-in rules are tested. Each rule needs a test that fires it and one that must not.",
		Example: "  llmdyno incident rules test my-rules/", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			rules, err := signal.Builtin()
			if len(args) > 0 {
				rules, err = signal.LoadRulesOnly(args...)
			}
			if err != nil {
				return fail(ExitNo, "", err)
			}
			return a.showRuleTests(rules.Test(), format)
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text or json")
	return c
}

func (a *app) showRuleTests(results []signal.TestResult, format string) error {
	bad := 0
	for _, t := range results {
		if !t.OK {
			bad++
		}
	}
	if format == "json" {
		if err := a.writeRedacted(a.stdout, results); err != nil {
			return err
		}
	} else {
		for _, t := range results {
			if !t.OK {
				fmt.Fprintf(a.stdout, "FAIL %s, %s: %s\n", t.Rule, t.Test, t.Reason)
			}
		}
		fmt.Fprintf(a.stdout, "%d tests, %d failed\n", len(results), bad)
	}
	if bad > 0 {
		return quiet(ExitNo)
	}
	return nil
}

func newRulesExportCommand(a *app) *cobra.Command {
	var prometheus, alertmanager bool
	var out string
	var dirs []string
	c := &cobra.Command{
		Use: "export --prometheus|--alertmanager", Short: "The same rules for a monitoring system",
		Long: `--prometheus writes a file of alerting rules with an expression for each engine;
--alertmanager writes inhibition rules, so that what one finding explains is not
alerted beside it.`,
		Example: "  llmdyno incident rules export --prometheus --out llmdyno-rules.yaml", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if prometheus == alertmanager {
				return failf(ExitUsage, "see: "+c.CommandPath()+" --help", "%s: expected one of --prometheus and --alertmanager", c.CommandPath())
			}
			rules, err := a.loadRules(dirs)
			if err != nil {
				return err
			}
			return a.writeOut(out, func(w io.Writer) error {
				if prometheus {
					return rules.WritePrometheus(w, a.engines)
				}
				return rules.WriteAlertmanager(w)
			})
		},
	}
	f := c.Flags()
	f.BoolVar(&prometheus, "prometheus", false, "alerting rules of Prometheus")
	f.BoolVar(&alertmanager, "alertmanager", false, "inhibition rules of Alertmanager")
	f.StringVar(&out, "out", "", "file; empty: standard output")
	f.StringArrayVar(&dirs, "rules", nil, "folder with rules of your own; may be given several times")
	return c
}

// writeRedacted writes JSON that was redacted before it is laid out over lines,
// where a key could no longer be told from its value.
func (a *app) writeRedacted(w io.Writer, v any) error {
	var b, laid bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	if err := json.Indent(&laid, a.redactor.Bytes(b.Bytes()), "", "  "); err != nil {
		return err
	}
	_, err := w.Write(laid.Bytes())
	return err
}
