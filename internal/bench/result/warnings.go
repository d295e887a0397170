package result

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"llmdyno/internal/load/stat"
)

// allWarnings are what a reader must know, the gravest first.
func (b *comparer) allWarnings(c *Comparison) []Warning {
	out := []Warning{}
	warn := func(code, format string, args ...any) {
		out = append(out, Warning{code, fmt.Sprintf(format, args...)})
	}
	if c.Simulated > 0 {
		warn("simulated", "%s measured on the simulated engine: the figures come from a model and say nothing certain about real hardware", ofRows(c.Simulated, len(c.Entries)))
	}
	if c.Smoke > 0 {
		warn("smoke", "%s a flow check (smoke): few requests, shortened lengths; it shows that the flow works and is never a performance result", ofRows(c.Smoke, len(c.Entries)))
	}
	out = append(out, b.classWarnings(c)...)
	for i := range c.Classes {
		out = append(out, b.residues(i)...)
	}
	out = append(out, b.rowWarnings(c)...)
	return out
}

func ofRows(n, all int) string {
	switch {
	case n == all && n == 1:
		return "the only row is"
	case n == all:
		return fmt.Sprintf("all %d rows are", n)
	case n == 1:
		return fmt.Sprintf("1 of %d rows is", all)
	}
	return fmt.Sprintf("%d of %d rows are", n, all)
}

// classWarnings says which rows look alike and are not ranked together.
func (b *comparer) classWarnings(c *Comparison) []Warning {
	var out []Warning
	alike := map[string][]ClassKey{}
	for _, k := range c.Classes {
		alike[k.Key.Scenario] = append(alike[k.Key.Scenario], k.Key)
	}
	for _, scenario := range slices.Sorted(maps.Keys(alike)) {
		if keys := alike[scenario]; len(keys) > 1 {
			out = append(out, Warning{"not-comparable", fmt.Sprintf("scenario %s has %d classes of rows that are not ranked against each other: they differ in %s", scenario, len(keys), strings.Join(differing(keys), ", "))})
		}
	}
	return out
}

// differing names the fields in which keys differ, with their values.
func differing(keys []ClassKey) []string {
	var out []string
	for f, field := range keys[0].fields() {
		var values []string
		for _, k := range keys {
			v := k.fields()[f].value
			if v == "" {
				v = "not told"
			}
			values = append(values, v)
		}
		slices.SortFunc(values, compareNatural)
		if values = slices.Compact(values); len(values) > 1 {
			out = append(out, fmt.Sprintf("%s (%s)", field.name, few(values, ", ")))
		}
	}
	return out
}

// residue is a condition that no class key names. perEngine: rows of different
// engines differ in it by nature.
type residue struct {
	code, title string
	perEngine   bool
	of          func(Row) string
}

// residues are looked at in every class: rows that mix them are compared, with
// a warning (the idea is benchstat's, golang.org/x/perf/benchproc).
var residues = []residue{
	{"mixed-driver", "GPU driver", false, func(r Row) string { return r.Hardware.Driver }},
	{"mixed-version", "version", true, func(r Row) string { return r.FrameworkVersion }},
	{"mixed-commit", "commit", true, func(r Row) string { return r.FrameworkCommit }},
	{"mixed-image", "container image", true, func(r Row) string { return r.Image }},
	{"mixed-tool", "version of llmdyno", false, func(r Row) string { return r.ToolVersion }},
	{"mixed-host", "host", false, func(r Row) string { return r.Hardware.Host }},
	{"mixed-cpu", "CPU", false, func(r Row) string { return r.Hardware.CPU }},
	{"mixed-prompts", "number of prompts", false, func(r Row) string { return wordOf(r.Workload.NumPrompts) }},
	{"mixed-endpoint", "endpoint", false, func(r Row) string { return r.Workload.Endpoint }},
	{"mixed-dataset", "dataset", false, func(r Row) string { return r.Workload.DatasetPath }},
	{"mixed-workload", "lengths and kind of prompts", false, madeText},
	{"mixed-seed", "workload seed", false, func(r Row) string {
		if r.Workload.Seed == nil {
			return ""
		}
		return fmt.Sprint(*r.Workload.Seed)
	}},
	{"mixed-limits", "SLA", false, limitsText},
	{"mixed-gpus", "number of GPUs", false, func(r Row) string { return wordOf(r.Hardware.GPUCount) }},
}

// madeText is what is said of prompts that are made; their seed, and what comes
// from a file, stand apart.
func madeText(r Row) string {
	if r.Workload.DatasetPath != "" {
		return ""
	}
	text, _, _ := strings.Cut(r.Workload.Description, "; seed ")
	return text
}

func limitsText(r Row) string {
	var parts []string
	for _, l := range r.SLA.Limits {
		parts = append(parts, l.Key+" "+Number(l.MaxMs))
	}
	slices.Sort(parts)
	if r.SLA.MinSuccessRate != nil {
		parts = append(parts, minSuccessKey+" "+Number(*r.SLA.MinSuccessRate))
	}
	return strings.Join(parts, ", ")
}

func (b *comparer) residues(class int) []Warning {
	var out []Warning
	k := b.classes[class]
	for _, res := range residues {
		groups := map[string][]string{} // engine, or "" → values in order
		var names []string
		for _, i := range b.members[class] {
			e := &b.entries[i]
			v := res.of(e.Row)
			if v == "" || e.Outcome == OutcomeSuperseded || e.Outcome == OutcomeFailed {
				continue
			}
			group := ""
			if res.perEngine {
				group = e.Row.Framework
			}
			if groups[group] == nil {
				names = append(names, group)
			}
			if !slices.Contains(groups[group], v) {
				groups[group] = append(groups[group], v)
			}
		}
		slices.Sort(names)
		for _, group := range names {
			if values := groups[group]; len(values) > 1 {
				slices.SortFunc(values, compareNatural)
				out = append(out, Warning{res.code, residueText(k, res, group, values)})
			}
		}
	}
	return out
}

func residueText(k Class, res residue, group string, values []string) string {
	what := res.title
	if group != "" {
		what += " of " + group
	}
	text := fmt.Sprintf("%s: rows differ in %s (%s)", k.Label, what, few(values, " | "))
	switch res.code {
	case "mixed-gpus":
		return text + ": the ranking is by total throughput; see the figures per GPU"
	case "mixed-limits":
		return text + ": each row is judged by its own limits"
	}
	return text + ": the difference may come from it"
}

// few lists a few of the values.
func few(values []string, sep string) string {
	const most = 5
	if more := len(values) - most; more > 0 {
		values = append(slices.Clone(values[:most]), fmt.Sprintf("%d more", more))
	}
	return strings.Join(values, sep)
}

// judged are the percentiles whose sample sizes are looked at.
var judged = []struct {
	tail string
	q    float64
}{{"p99_", 0.99}, {"p95_", 0.95}}

// rowWarnings gathers the warnings of the rows: one line a code.
func (b *comparer) rowWarnings(c *Comparison) []Warning {
	type gathered struct {
		rows  []string
		first string
	}
	found := map[string]*gathered{}
	var codes []string
	add := func(e Entry, code, message string) {
		g := found[code]
		if g == nil {
			g = &gathered{first: message}
			found[code] = g
			codes = append(codes, code)
		}
		if where := fullName(e) + " at " + c.Classes[e.Class].Label; !slices.Contains(g.rows, where) {
			g.rows = append(g.rows, where)
		}
	}
	for _, e := range b.entries {
		if e.Outcome == OutcomeSuperseded {
			continue
		}
		for _, w := range e.Row.Warnings {
			add(e, w.Code, w.Message)
		}
		if e.Row.Status == StatusOK {
			entryWarnings(e, func(code, message string) { add(e, code, message) })
		}
	}
	slices.SortFunc(codes, func(x, y string) int {
		if gx, gy := slices.Index(grave, x), slices.Index(grave, y); gx != gy {
			return gy - gx
		}
		return strings.Compare(x, y)
	})
	var out []Warning
	for _, code := range codes {
		g := found[code]
		text := fmt.Sprintf("%s: %s", g.rows[0], g.first)
		if more := len(g.rows) - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more: %s)", more, strings.Join(g.rows[1:min(len(g.rows), 4)], "; ")+pick(more > 3, "; …", ""))
		}
		out = append(out, Warning{code, text})
	}
	return out
}

// grave are the codes that come first, the last one foremost.
var grave = []string{"unreadable", "verdict-overruled", "measurement-invalid"}

// entryWarnings are those that follow from the figures of one row.
func entryWarnings(e Entry, add func(code, message string)) {
	r := e.Row
	if why := r.invalid(); why != "" {
		add("measurement-invalid", "the client says that this measurement cannot be trusted, so it does not pass: "+why)
	}
	for _, q := range r.Metrics.quantities()[:2] {
		if _, mean, _ := q.latency.Typical(); mean {
			add("mean-for-p50", "there is no p50 "+q.title+": the mean is shown, marked, and ranks after every p50")
		}
	}
	for _, l := range r.SLA.Limits {
		tail, _ := l.tail()
		for _, p := range judged {
			need := stat.QuantileNeeds(p.q, stat.Level)
			for _, q := range r.Metrics.quantities() {
				if n := q.latency.N; tail == p.tail+q.name && n != nil && *n < need {
					add("few-samples", fmt.Sprintf("%s rests on %d samples; a 95 %% interval of this percentile needs %d", l.Key, *n, need))
				}
			}
		}
	}
	if w, ok := r.SLA.Unshown(r.Metrics); ok && !r.Smoke {
		add(w.Code, w.Message)
	}
}

// Unshown is the warning that a share of successes was met by so few requests that
// they do not show it: as many without a single failure are needed at 95 %.
func (s SLA) Unshown(m Metrics) (Warning, bool) {
	if s.MinSuccessRate == nil || m.SuccessRate == nil || m.Sent == nil || *m.SuccessRate < *s.MinSuccessRate {
		return Warning{}, false
	}
	need := stat.FlawlessNeeds(*s.MinSuccessRate, stat.Level)
	if *m.Sent >= need {
		return Warning{}, false
	}
	return Warning{"few-requests", fmt.Sprintf("%s %s was met by %d requests; it takes %d without a failure to show it at 95 %%", minSuccessKey, Percent(*s.MinSuccessRate), *m.Sent, need)}, true
}
