package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/load"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/report"
)

// loadOutput is what `llmdyno load --format json` prints and summary.json holds.
type loadOutput struct {
	SchemaVersion int              `json:"schema_version"`
	State         string           `json:"state"`
	Dir           string           `json:"dir,omitempty"`
	Started       string           `json:"started,omitempty"` // RFC 3339 UTC
	Plan          *loadPlan        `json:"plan,omitempty"`
	Summary       *metric.Summary  `json:"summary,omitempty"`
	Client        *load.Audit      `json:"client,omitempty"`
	Server        *metric.Server   `json:"server,omitempty"`
	SLO           *result.SLA      `json:"slo,omitempty"`
	Warnings      []result.Warning `json:"warnings,omitempty"`
	// PromptLengths says who counted the tokens of prompts that were made.
	PromptLengths string `json:"prompt_lengths,omitempty"`
	// Invalid says why the figures must not be used; "" = they may.
	Invalid string `json:"invalid,omitempty"`
	Error   string `json:"error,omitempty"`
}

// endLoad keeps, shows and judges what was measured.
func (a *app) endLoad(r *loadRequest, j *loadJob, m measured, interrupted bool) error {
	if interrupted && j.plan.CutAfterS == 0 {
		j.plan.CutAfterS = m.duration.Seconds()
	}
	out, row := a.sumUpLoad(j.plan, m)
	out.State = artifact.StateComplete
	if interrupted {
		out.State = artifact.StateInterrupted
		out.Error = "interrupted: the figures are of what was answered by then"
	}
	if out.Summary.Counts.Succeeded == 0 {
		out.Error = cmp.Or(out.Error, "no request succeeded; "+firstFailure(m.records))
	}
	if j.folder != nil {
		out.Dir = j.folder.Dir()
		row.RunID = filepath.Base(out.Dir)
		row.Artifacts = result.Artifacts{RawResult: loadSamplesName, Samples: loadSamplesName, Client: loadClientName, Summary: loadSummaryName}
		if m.heard != nil {
			row.Artifacts.ServerMetrics = loadServerName
		}
		if err := writeLoad(j.folder, j.plan, m, out, row); err != nil {
			return fail(ExitFailed, "", fmt.Errorf("keeping the samples: %w", err))
		}
		if err := j.folder.Seal(out.State); err != nil {
			return fail(ExitFailed, "", err)
		}
	}
	if err := a.showLoad(r, out, row); err != nil {
		return err
	}
	switch {
	case interrupted && r.worker:
		return quiet(ExitInterrupted)
	case interrupted:
		hint := ""
		if out.Dir != "" {
			hint = "the samples are in " + shortPath(out.Dir)
		}
		return failf(ExitInterrupted, hint, "interrupted after %d of %d requests", out.Summary.Counts.Succeeded+out.Summary.Counts.Failed, j.plan.Requests)
	case out.Summary.Counts.Succeeded == 0:
		return failf(ExitFailed, "", "%s", out.Error)
	case r.worker:
		return nil // the process that leads judges
	case out.Invalid != "":
		return failf(ExitNo, "", "the measurement is not valid: %s", out.Invalid)
	case out.SLO.Passed != nil && !*out.SLO.Passed:
		return failf(ExitNo, "", "a limit was missed: %s", strings.Join(out.SLO.Violations, "; "))
	}
	return nil
}

func firstFailure(records []sample.Record) string {
	for i := range records {
		if r := &records[i]; !r.OK() && r.Class != sample.ClassDropped {
			return fmt.Sprintf("the first failed with: %s", r.Error)
		}
	}
	return "none was sent"
}

// sumUpLoad derives the figures, and the row that stands for them.
func (a *app) sumUpLoad(p loadPlan, m measured) (loadOutput, result.Row) {
	limits, _ := requestLimits(p.SLA)
	kept, left := meant(m.records, p)
	sum := metric.Compute(kept, m.duration.Nanoseconds(), limits)
	row := result.Row{
		SchemaVersion: result.SchemaVersion, MeasuredAt: m.started.Add(m.duration).UTC().Format(time.RFC3339), ToolVersion: a.build().Version,
		Framework: p.Engine, FrameworkVersion: p.EngineVersion, CandidateID: "load", Model: p.Model, Status: result.StatusOK,
		BenchmarkCommand: p.Command, Workload: p.Workload, SLA: p.SLA, Metrics: result.FromSummary(sum), Server: m.server,
	}
	row.Metrics.OfferedRate = p.Workload.RequestRate
	w := &row.Workload
	w.InputP50, w.InputP95 = tokenSpread(kept, func(r *sample.Record) int { return r.InputTokens })
	w.OutputP50, w.OutputP95 = tokenSpread(kept, func(r *sample.Record) int { return r.OutputTokens })
	if sum.Counts.Succeeded == 0 {
		row.Status, row.FailureReason = result.StatusFailed, "no request succeeded; "+firstFailure(m.records)
	}
	if p.SLA.Any() {
		row.SLA.Judge(row.Metrics)
	}
	invalid := cmp.Or(m.audit.Invalid, m.invalid)
	if invalid != "" {
		no := false
		row.SLA.Passed = &no
		row.SLA.Violations = append(slices.Clone(row.SLA.Violations), "the measurement is not valid: "+invalid)
	}
	row.Warnings = loadWarnings(sum, m, p, left)
	row.Points = []result.Point{{
		RequestRate: p.Workload.RequestRate, MaxConcurrency: p.Workload.MaxConcurrency, Chosen: true, Status: row.Status, FailureReason: row.FailureReason,
		Passed: row.SLA.Passed == nil || *row.SLA.Passed, Violations: row.SLA.Violations, Invalid: invalid, Metrics: row.Metrics.Brief(), MeasuredAt: row.MeasuredAt,
	}}
	audit := m.audit
	return loadOutput{
		SchemaVersion: 1, Started: m.started.UTC().Format(time.RFC3339Nano), Plan: &p, Summary: &sum, Client: &audit, Server: m.server,
		SLO: &row.SLA, Warnings: row.Warnings, Invalid: invalid, PromptLengths: promptLengths(p, kept),
	}, row
}

// promptLengths says who counted the tokens of prompts that were made, and what the
// server's answers say of it.
func promptLengths(p loadPlan, records []sample.Record) string {
	said := load.CheckLengths(records)
	switch {
	case p.PromptsBy == "":
		return ""
	case p.PromptsBy == promptsByNobody || said == "":
		return "prompt tokens counted by " + p.PromptsBy
	}
	return "prompt tokens counted by " + p.PromptsBy + "; the server's" + strings.TrimPrefix(said, "its")
}

// tokenSpread is the median and the 95th percentile of a count of tokens.
func tokenSpread(records []sample.Record, count func(*sample.Record) int) (p50, p95 *float64) {
	var x []float64
	for i := range records {
		if r := &records[i]; r.OK() && count(r) > 0 {
			x = append(x, float64(count(r)))
		}
	}
	if d := metric.NewDist(x); d != nil {
		return &d.P50, &d.P95
	}
	return nil, nil
}

// loadWarnings are those of the figures, the client and the server, each once.
func loadWarnings(sum metric.Summary, m measured, p loadPlan, left int) []result.Warning {
	var out []result.Warning
	add := func(code, message string) {
		if !slices.ContainsFunc(out, func(w result.Warning) bool { return w.Code == code }) {
			out = append(out, result.Warning{Code: code, Message: message})
		}
	}
	for _, w := range sum.Warnings {
		add(w.Code, w.Message)
	}
	for _, w := range m.audit.Warnings {
		if p.CutAfterS == 0 || w.Code != "arrivals-dropped" { // a closed loop that ends in time drops nothing that was meant
			add(w.Code, w.Message)
		}
	}
	for _, w := range m.warnings {
		add(w.Code, w.Message)
	}
	if w, few := p.SLA.Unshown(result.FromSummary(sum)); few {
		add(w.Code, w.Message)
	}
	if p.PromptsProblem != "" {
		add("tokenize-failed", fmt.Sprintf("the server's tokenizer could not be used (%s): the lengths of prompts are in words; give --tokenizer", p.PromptsProblem))
	}
	if p.TokenizerDiffers != "" {
		add("tokenizer-differs", p.TokenizerDiffers)
	}
	switch {
	case left > 0:
		add("cut-off", fmt.Sprintf("%d requests were in flight when the %.3g s were over and are left out", left, p.CutAfterS))
	case p.CutAfterS > 0 && m.duration.Seconds() < p.CutAfterS:
		add("out-of-requests", fmt.Sprintf("all %d requests were answered before the %.3g s were over: give more with --num-prompts", p.Requests, p.CutAfterS))
	}
	return out
}

// showLoad prints the result in the form asked for and writes the page.
func (a *app) showLoad(r *loadRequest, out loadOutput, row result.Row) error {
	if r.worker {
		return nil
	}
	rows, err := hidden([]result.Row{row}, a.redactor, a.engines)
	if err != nil {
		return fail(ExitFailed, "", err)
	}
	c := result.Compare(rows, result.Options{})
	if r.html != "" {
		if err := a.writeLoadPage(r.html, out, c); err != nil {
			return err
		}
	}
	switch r.format {
	case "json":
		return a.printJSON(out)
	case "text":
		_, err := io.WriteString(a.stdout, loadText(out, a.outWidth > 0 && !a.noColor))
		if err == nil && out.Dir != "" {
			_, err = fmt.Fprintf(a.stdout, "samples: %s\n", filepath.Join(shortPath(out.Dir), loadSamplesName))
		}
		if err != nil {
			return fail(ExitFailed, "", fmt.Errorf("standard output: %w", err))
		}
		return nil
	}
	return a.show(r.format, c, nil)
}

func (a *app) writeLoadPage(path string, out loadOutput, c result.Comparison) error {
	page := report.PageOf(c)
	page.Title = "Load on " + out.Plan.Model
	page.Facts = append(page.Facts,
		report.Fact{Name: "Server", Value: serverWords(*out.Plan)}, report.Fact{Name: "Prompts", Value: out.Plan.Prompts}, report.Fact{Name: "Arrivals", Value: arrivalWords(*out.Plan)},
		report.Fact{Name: "Client", Value: strings.Join(clientWords(out), "; ")}, report.Fact{Name: "Command", Value: a.redactor.String(out.Plan.Command)})
	var b bytes.Buffer
	if err := report.HTML(&b, page); err != nil {
		return fail(ExitFailed, "", err)
	}
	if err := artifact.WriteWhole(path, b.Bytes(), a.redactor); err != nil {
		return fail(ExitFailed, "", err)
	}
	a.logf("wrote %s", path)
	return nil
}

func serverWords(p loadPlan) string {
	text := p.URL + p.Endpoint + ", " + p.Engine
	if p.EngineVersion != "" {
		text += " " + p.EngineVersion
	}
	return text + ", model " + p.Model
}

func arrivalWords(p loadPlan) string {
	text := p.Arrivals
	if n := p.Workload.MaxConcurrency; n != nil && p.Workload.Arrivals == "closed" {
		text += fmt.Sprintf(", %d users", *n)
	} else if n != nil {
		text += fmt.Sprintf(", at most %d in flight", *n)
	}
	if !p.Part.Whole() {
		text += fmt.Sprintf("; part %s of the load", p.Part)
	}
	return text
}

// labelWidth is the width of the first column of the summary.
const labelWidth = 11

// loadText is the summary for people, 80 columns wide at most but for the
// longer explanations, which are wrapped.
func loadText(out loadOutput, colour bool) string {
	var b strings.Builder
	line := func(label, text string) {
		for _, l := range wrapWords(text, 80-labelWidth) {
			fmt.Fprintf(&b, "%s%s%s\n", label, strings.Repeat(" ", max(0, labelWidth-lipgloss.Width(label))), l)
			label = ""
		}
	}
	p, s := out.Plan, out.Summary
	line("server", serverWords(*p))
	line("prompts", p.Prompts)
	if out.PromptLengths != "" {
		line("", out.PromptLengths)
	}
	line("arrivals", arrivalWords(*p))
	line("requests", countWords(*s))
	line("throughput", throughputWords(*s))
	b.WriteString("\n" + latencyTable(*s))
	b.WriteString("\n")
	for i, words := range clientWords(out) {
		line([]string{"client", ""}[min(i, 1)], words)
	}
	if s.Steady != nil {
		line("steady", steadyWords(*s.Steady))
	}
	for _, w := range out.Warnings {
		line("warning", w.Message)
	}
	if out.Invalid != "" {
		line(paint("INVALID", "1", colour), out.Invalid)
	}
	for i, words := range sloWords(out) {
		line([]string{"limits", ""}[min(i, 1)], words)
	}
	return b.String()
}

// wrapWords breaks a text at its spaces; a word that is longer than a line stays
// whole, so that it can be pasted.
func wrapWords(text string, width int) []string {
	lines, used := []string{""}, 0
	for i, word := range strings.Split(text, " ") {
		n := lipgloss.Width(word)
		switch last := len(lines) - 1; {
		case i == 0:
			lines[last], used = word, n
		case used+1+n > width:
			lines, used = append(lines, word), n
		default:
			lines[last] += " " + word
			used += 1 + n
		}
	}
	return lines
}

func paint(s, colour string, on bool) string {
	if !on {
		return s
	}
	return lipgloss.NewStyle().Foreground(lipgloss.Color(colour)).Render(s)
}

func countWords(s metric.Summary) string {
	text := fmt.Sprintf("%d of %d succeeded in %.1f s", s.Counts.Succeeded, s.Counts.Planned, s.DurationS)
	if s.Counts.Failed > 0 {
		text += fmt.Sprintf(", %d failed", s.Counts.Failed)
	}
	if s.Counts.Dropped > 0 {
		text += fmt.Sprintf(", %d never sent", s.Counts.Dropped)
	}
	var classes []string
	for _, class := range slices.Sorted(maps.Keys(s.Errors)) {
		classes = append(classes, fmt.Sprintf("%s %d", strings.ReplaceAll(class, "_", " "), s.Errors[class]))
	}
	if len(classes) > 0 {
		text += " (" + strings.Join(classes, ", ") + ")"
	}
	return text
}

func throughputWords(s metric.Summary) string {
	var parts []string
	for _, x := range []struct {
		v    *float64
		unit string
	}{
		{s.RequestThroughput, "requests/s"}, {s.OutputTokenThroughput, "output tokens/s"}, {s.TotalTokenThroughput, "tokens/s in all"}, {s.MeanConcurrency, "in flight on average"},
	} {
		if x.v != nil {
			parts = append(parts, result.Number(*x.v)+" "+x.unit)
		}
	}
	if s.Goodput != nil && s.Limits != nil && s.Limits.Any() {
		parts = append(parts, "goodput "+result.Number(*s.Goodput)+" requests/s")
	}
	return cmp.Or(strings.Join(parts, ", "), "none: nothing was answered")
}

// latencyTable has the latencies in ms, with the interval of the median where
// there is one.
func latencyTable(s metric.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s%9s%9s%9s%9s%9s%9s\n", labelWidth, "ms", "mean", "p50", "p90", "p95", "p99", "max")
	for _, x := range []struct {
		name string
		d    *metric.Dist
	}{
		{"TTFT", s.TTFT}, {"- reasoning", s.TTFTReasoning}, {"- visible", s.TTFTVisible}, {"- tool call", s.TTFTTool},
		{"TPOT", s.TPOT}, {"ITL", s.ITL}, {"event gap", s.EventGap}, {"E2E", s.E2E},
	} {
		if x.d == nil || x.d == s.TTFTVisible && s.TTFTReasoning == nil && s.TTFTTool == nil {
			continue // of plain text the visible is the first of any kind
		}
		fmt.Fprintf(&b, "%-*s", labelWidth, x.name)
		for _, v := range []float64{x.d.Mean, x.d.P50, x.d.P90, x.d.P95, x.d.P99, x.d.Max} {
			fmt.Fprintf(&b, "%9s", millis(v))
		}
		b.WriteString("\n")
	}
	if n := s.MeanTokensPerEvent; n != nil && *n > oneTokenAnEvent {
		fmt.Fprintf(&b, "a stream event brings %.2f tokens on average: the event gap is not the time between tokens\n", *n)
	}
	return b.String()
}

// oneTokenAnEvent is up to how many tokens an event counts as one.
const oneTokenAnEvent = 1.05

// millis writes a time in ms in at most 8 columns.
func millis(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.3f", v)
	case v < 1000:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func clientWords(out loadOutput) []string {
	c := out.Client
	first := "sound"
	if c.Invalid != "" {
		first = "not sound"
	}
	if c.OwnLag != nil {
		first += fmt.Sprintf(": sent late by %s ms (p99) on its own account, %s ms allowed", millis(c.OwnLag.P99), millis(c.OwnLagLimitMs))
	}
	if c.ReceiveLag != nil {
		first += fmt.Sprintf("; read events %s ms (p99) after their arrival", millis(c.ReceiveLag.P99))
	}
	words := []string{first}
	if x := c.Calibration; x != nil && x.ArrivalError != nil {
		words = append(words, fmt.Sprintf("against its own server at %.0f events/s: instants off by %s ms (p99)", x.TargetEPS, millis(x.ArrivalError.P99)))
	}
	return words
}

func steadyWords(s metric.Steady) string {
	text := map[string]string{"steady": "yes", "trend": "no, there is a trend", "transient": "no, the beginning differs", "unknown": "not known: too few requests"}[s.Verdict]
	if s.Figure != "" {
		text += " (" + strings.ToUpper(strings.TrimSuffix(s.Figure, "_ms")) + ")"
	}
	if s.Drift != nil && s.Verdict == "trend" {
		text += fmt.Sprintf(": %+.1f %% over the window", 100**s.Drift)
	}
	return cmp.Or(text, s.Verdict)
}

// sloWords are the limits one by one, with what was measured.
func sloWords(out loadOutput) []string {
	if out.SLO == nil || !out.Plan.SLA.Any() {
		return nil
	}
	m := result.FromSummary(*out.Summary)
	var words []string
	for _, l := range out.SLO.Limits {
		passed, _ := result.Judge([]result.Limit{l}, nil, m)
		figure := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(l.Key, "max_"), "_ms"), "_", " ")
		if v, ok := l.Value(m); ok {
			words = append(words, fmt.Sprintf("%s  %s %s ms, limit %s ms", keptWord(passed), figure, millis(v), result.Number(l.MaxMs)))
		} else {
			words = append(words, fmt.Sprintf("%s  %s was not measured, limit %s ms", keptWord(false), figure, result.Number(l.MaxMs)))
		}
	}
	if least := out.SLO.MinSuccessRate; least != nil {
		share := 0.0
		if m.SuccessRate != nil {
			share = *m.SuccessRate
		}
		words = append(words, fmt.Sprintf("%s  success %s, at least %s", keptWord(share >= *least), result.Percent(share), result.Percent(*least)))
	}
	return words
}

func keptWord(kept bool) string {
	if kept {
		return "kept  "
	}
	return "MISSED"
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the folder of a load: %w: name a folder that `llmdyno load --out` has left", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}
