package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmdyno/internal/incident/signal"
)

// incidentDoc is a report as sections, which every format lays out its own way.
type incidentDoc struct {
	Title, Sub string
	Answer     []incidentPart
	Sections   []incidentSection
}

// incidentPart is one of the seven parts of the answer.
type incidentPart struct {
	Name  string
	Lines []string
	Code  bool // the line is a command, or holds one
}

// incidentSection is a table, a list, or both.
type incidentSection struct {
	Title string
	Note  string
	Head  []string
	Rows  [][]string
	Lines []string
	Items []incidentItem
}

// incidentItem is a finding.
type incidentItem struct {
	ID, Title, Meta string
	Severity        string
	Evidence        []string
	Next            string
}

func incidentDocOf(s *signal.Summary) incidentDoc {
	d := incidentDoc{Title: "Incident summary", Sub: incidentSub(s), Answer: answerOf(s.Contract)}
	d.findings("Findings", s.Top)
	if rest := behindTop(s); len(rest) > 0 {
		d.findings("Behind these", rest)
	}
	if s.Fleet != nil {
		d.fleet(s)
	}
	for i, t := range s.Targets {
		if i == maxDetailed {
			d.Sections = append(d.Sections, incidentSection{Title: "More servers", Lines: []string{fmt.Sprintf("%d more; --format json has them all", len(s.Targets)-i)}})
			break
		}
		d.target(t, len(s.Targets) > 1)
	}
	if len(s.Unreadable) > 0 {
		sec := incidentSection{Title: "What could not be read"}
		for _, u := range s.Unreadable {
			sec.Lines = append(sec.Lines, strings.TrimSpace(u.Target+" "+u.What)+": "+u.Why)
		}
		d.Sections = append(d.Sections, sec)
	}
	if len(s.Unchecked) > 0 {
		d.Sections = append(d.Sections, incidentSection{Title: "Rules that could not be judged", Note: "What they need is not in the bundle; most need two scrapes (collect --watch) or logs.", Lines: []string{strings.Join(s.Unchecked, " ")}})
	}
	return d
}

// maxDetailed bounds the servers that are shown one by one.
const maxDetailed = 8

func incidentSub(s *signal.Summary) string {
	parts := []string{s.Bundle}
	if s.CompareWith != "" {
		parts = append(parts, "against "+s.CompareWith)
	}
	if !s.CollectedAt.IsZero() {
		parts = append(parts, "collected "+s.CollectedAt.UTC().Format(time.RFC3339))
	}
	if s.State != "" && s.State != "complete" {
		parts = append(parts, "capture "+s.State)
	}
	return strings.Join(parts, " · ")
}

func answerOf(c signal.Contract) []incidentPart {
	return []incidentPart{
		{Name: "Problem class", Lines: []string{c.ProblemClass}},
		{Name: "What was checked", Lines: c.Checked},
		{Name: "Strongest signal", Lines: []string{c.StrongestSignal}},
		{Name: "Best guess", Lines: []string{c.BestGuess}},
		{Name: "Ruled out", Lines: orNothing(c.RuledOut)},
		{Name: "Next step", Lines: []string{c.NextStep}, Code: true},
		{Name: "Production risk", Lines: []string{c.ProductionRisk}},
	}
}

func orNothing(lines []string) []string {
	if len(lines) == 0 {
		return []string{"nothing in particular"}
	}
	return lines
}

func behindTop(s *signal.Summary) []signal.Finding {
	var rest []signal.Finding
	for _, f := range s.Signals {
		if !slices.ContainsFunc(s.Top, func(t signal.Finding) bool { return t.ID == f.ID && t.Target == f.Target }) {
			rest = append(rest, f)
		}
	}
	return rest
}

func (d *incidentDoc) findings(title string, found []signal.Finding) {
	sec := incidentSection{Title: title}
	if len(found) == 0 {
		sec.Lines = []string{"None of the rules fired."}
	}
	for _, f := range found {
		meta := []string{f.Severity, "confidence " + f.Confidence}
		if f.State != "active" {
			meta = append(meta, f.State)
		}
		if f.Target != "" {
			meta = append(meta, f.Target)
		}
		sec.Items = append(sec.Items, incidentItem{ID: f.ID, Title: f.Title, Meta: strings.Join(meta, ", "), Severity: f.Severity, Evidence: f.Evidence, Next: f.NextStep})
	}
	d.Sections = append(d.Sections, sec)
}

func (d *incidentDoc) fleet(s *signal.Summary) {
	sec := incidentSection{Title: "Servers side by side", Head: []string{"Server", "Engine", "Health", "Running", "Waiting", "KV max", "TTFT p50", "Findings"}}
	for _, t := range s.Targets {
		var p50 *float64
		if t.Figures.Known() && t.Figures.TTFT != nil {
			p50 = t.Figures.TTFT.P50
		}
		sec.Rows = append(sec.Rows, []string{t.ID, strings.TrimSpace(t.Engine + " " + t.Version), t.Health.Health.Outcome, figNum(t.Load.Running), figNum(t.Load.Waiting), figShare(t.Load.UsageMax), figSeconds(p50), strings.Join(t.Firing, " ")})
	}
	d.Sections = append(d.Sections, sec)
	odd := incidentSection{Title: "The odd one out"}
	for _, o := range s.Fleet.Odd {
		if o.Figure == "answers" {
			odd.Lines = append(odd.Lines, o.Target+" does not answer, most others do")
			continue
		}
		odd.Lines = append(odd.Lines, fmt.Sprintf("%s: %s is %s, the median of all %s", o.Target, o.Figure, strconv.FormatFloat(o.Value, 'g', 4, 64), strconv.FormatFloat(o.Median, 'g', 4, 64)))
	}
	if len(odd.Lines) == 0 {
		odd.Lines = []string{"No server differs much from the others."}
	}
	d.Sections = append(d.Sections, odd)
	if len(s.Fleet.Differs) > 0 {
		diff := incidentSection{Title: "What is not the same everywhere", Head: []string{"Setting", "Values"}}
		for _, x := range s.Fleet.Differs {
			var values []string
			for _, v := range slices.Sorted(maps.Keys(x.Values)) {
				values = append(values, fmt.Sprintf("%s (%s)", cmp.Or(v, "not known"), few(x.Values[v])))
			}
			diff.Rows = append(diff.Rows, []string{x.Name, strings.Join(values, "; ")})
		}
		d.Sections = append(d.Sections, diff)
	}
}

func few(names []string) string {
	const most = 4
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

func (d *incidentDoc) target(t signal.TargetSummary, named bool) {
	title := "Server"
	if named {
		title = "Server " + t.ID
	}
	sec := incidentSection{Title: title, Head: []string{"What", "Value"}}
	add := func(name string, values ...string) {
		values = slices.DeleteFunc(values, func(v string) bool { return v == "" })
		if len(values) > 0 {
			sec.Rows = append(sec.Rows, []string{name, strings.Join(values, ", ")})
		}
	}
	with := func(name, value string) string {
		if value == "" || value == dash {
			return ""
		}
		return name + " " + value
	}
	add("URL", t.URL)
	add("Engine", strings.TrimSpace(cmp.Or(t.Engine, "not recognised")+" "+t.Version))
	add("Health", "health check "+checkText(t.Health.Health), "active health check "+checkText(t.Health.HealthGenerate))
	add("Model", t.Identity.ModelPath, with("served as", t.Identity.ServedModelName), with("weights", t.Identity.WeightVersion), t.Identity.ModelType, t.Identity.Accelerator)
	tp := t.Topology
	add("Topology", with("TP", figNum(tp.TP)), with("DP", figNum(tp.DP)), with("PP", figNum(tp.PP)), with("EP", figNum(tp.EP)), with("disaggregation", noNull(tp.Mode)), with("attention", tp.AttentionBackend), with("sampling", tp.SamplingBackend), with("schedule", tp.SchedulePolicy))
	c := t.Capacity
	add("Capacity", with("KV tokens", figNum(c.MaxTotalTokens)), with("longest input", figNum(c.MaxInputTokens)), with("requests at once a rank", figNum(c.MaxRunningPerDP)), with("weights GB", figNum(c.WeightGB)), with("KV GB", figNum(c.KVCacheGB)), with("graphs GB", figNum(c.GraphGB)))
	l := t.Load
	add("Load now", "running "+figNum(l.Running), "waiting "+figNum(l.Waiting), with("other side's queues", figNum(l.Queued)), with("KV in use", figShare(l.TokenUsage)), with("fullest rank", figShare(l.UsageMax)), with("tokens/s", figNum(l.Throughputs)))
	if len(l.Queues) > 0 {
		add("Queues", counts(l.Queues))
	}
	if len(l.Disaggregation) > 0 && tp.Mode != "null" {
		add("Disaggregation", counts(l.Disaggregation))
	}
	d.Sections = append(d.Sections, sec)
	d.figures(t)
	d.ranks(t)
}

const dash = "–"

func noNull(s string) string {
	if s == "null" {
		return ""
	}
	return s
}

func checkText(c signal.Check) string {
	switch {
	case c.Status > 0 && c.Outcome != signal.CheckOK:
		return fmt.Sprintf("%s (HTTP %d)", c.Outcome, c.Status)
	case c.Outcome == signal.CheckTimeout:
		return fmt.Sprintf("timeout after %.3g s", c.WaitedS)
	}
	return c.Outcome
}

func counts(m map[string]float64) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+strconv.FormatFloat(m[k], 'g', 6, 64))
	}
	return strings.Join(parts, " ")
}

func figNum(v *float64) string {
	if v == nil {
		return dash
	}
	if *v == math.Trunc(*v) {
		return strconv.FormatFloat(*v, 'f', 0, 64)
	}
	return strconv.FormatFloat(*v, 'f', 3, 64)
}

func figShare(v *float64) string {
	if v == nil {
		return dash
	}
	return fmt.Sprintf("%.1f %%", *v*100)
}

func figSeconds(v *float64) string {
	if v == nil {
		return dash
	}
	return fmt.Sprintf("%.3f s", *v)
}

func (d *incidentDoc) figures(t signal.TargetSummary) {
	f := t.Figures
	if !f.Known() {
		return
	}
	sec := incidentSection{Title: "Figures", Head: []string{"Time", "Count", "Average", "p50", "p90", "p99"}, Note: "Since the server's start, from its own histograms."}
	if f.Stale {
		sec.Note = "From an earlier capture into the same folder: not of this one."
	}
	row := func(name string, x *signal.Dist) {
		if x != nil {
			sec.Rows = append(sec.Rows, []string{name, figNum(&x.Count), figSeconds(x.Avg), figSeconds(x.P50), figSeconds(x.P90), figSeconds(x.P99)})
		}
	}
	row("to first token", f.TTFT)
	row("end to end", f.E2E)
	row("between tokens", f.ITL)
	row("in the queue", f.QueueTime)
	row("prefill", f.Prefill)
	row("decode", f.Decode)
	for _, name := range slices.Sorted(maps.Keys(f.Stages)) {
		row("stage "+name, f.Stages[name])
	}
	if x := f.Delta; x != nil {
		row("to first token, in the interval", x.TTFT)
		row("end to end, in the interval", x.E2E)
		row("between tokens, in the interval", x.ITL)
		row("in the queue, in the interval", x.QueueTime)
		line := []string{fmt.Sprintf("Interval of %.0f s:", x.Seconds)}
		for _, r := range []struct {
			name string
			v    *float64
		}{{"requests/s", x.RequestRate}, {"prompt tokens/s", x.PromptRate}, {"generated tokens/s", x.GenerationRate}} {
			if r.v != nil {
				line = append(line, fmt.Sprintf("%.3g %s", *r.v, r.name))
			}
		}
		if x.Restarted {
			line = append(line, "the server began anew in between")
		}
		sec.Lines = append(sec.Lines, strings.Join(line, " "))
	}
	if g := f.Gauges; g != nil {
		var parts []string
		for _, x := range []struct {
			name string
			g    *signal.Gauge
		}{{"requests", g.Requests}, {"prompt tokens", g.PromptTokens}, {"generated tokens", g.GenerationTokens}, {"preempted or retracted", g.Preempted}} {
			if x.g != nil {
				parts = append(parts, x.name+" "+figNum(&x.g.Sum))
			}
		}
		if len(parts) > 0 {
			sec.Lines = append(sec.Lines, "Since the start: "+strings.Join(parts, ", "))
		}
	}
	d.Sections = append(d.Sections, sec)
}

func (d *incidentDoc) ranks(t signal.TargetSummary) {
	if len(t.PerRank) < 2 {
		return
	}
	sec := incidentSection{Title: "By rank", Head: []string{"Rank", "Running", "Waiting", "KV in use", "Tokens/s"}}
	for _, r := range t.PerRank {
		sec.Rows = append(sec.Rows, []string{strconv.Itoa(r.Rank), figNum(r.Running), figNum(r.OwnWaiting()), figShare(r.KVUsage), figNum(r.Throughput)})
	}
	d.Sections = append(d.Sections, sec)
}

func incidentDiffDoc(x *signal.Diff) incidentDoc {
	d := incidentDoc{Title: "Incident diff", Sub: x.A + " → " + x.B}
	sec := incidentSection{Title: "What differs", Head: []string{"Area", "What", "A", "B", "Change"}}
	for _, c := range x.Changes {
		change := ""
		if c.Ratio != nil {
			change = fmt.Sprintf("× %.3g", *c.Ratio)
		}
		name := c.Name
		if c.Target != "" {
			name = c.Target + " " + name
		}
		sec.Rows = append(sec.Rows, []string{c.Area, name, cmp.Or(c.A, dash), cmp.Or(c.B, dash), change})
	}
	sec.Note = fmt.Sprintf("%d differences, what matters first; %d compared values are the same.", len(x.Changes), x.Same)
	if len(x.OnlyA)+len(x.OnlyB) > 0 {
		sec.Lines = append(sec.Lines, fmt.Sprintf("only in A: %s; only in B: %s", cmp.Or(few(x.OnlyA), "none"), cmp.Or(few(x.OnlyB), "none")))
	}
	d.Sections = append(d.Sections, sec)
	return d
}

// ruleEngines words which engines a rule is for.
func ruleEngines(r *signal.Rule) string {
	if len(r.Engines) == 0 {
		return "all"
	}
	var ids []string
	for _, id := range r.Engines {
		ids = append(ids, string(id))
	}
	return strings.Join(ids, " ")
}

func incidentRulesDoc(rules []*signal.Rule) incidentDoc {
	sec := incidentSection{Head: []string{"Rule", "Says", "Severity", "Confidence", "Engines", "Fires when"}}
	for _, r := range rules {
		when := r.Condition
		if len(r.Log) > 0 {
			when += " (log: " + strings.Join(r.Log, " or ") + ")"
		}
		sec.Rows = append(sec.Rows, []string{r.ID, r.Title, r.Severity, r.Confidence, ruleEngines(r), when})
	}
	return incidentDoc{Sections: []incidentSection{sec}}
}
