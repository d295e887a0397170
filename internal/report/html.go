package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/load/metric"
)

// Page is everything that report.html shows.
type Page struct {
	Title      string
	Comparison result.Comparison
	// Plan is every candidate with its command, tried or not, in plan order.
	Plan []Planned
	// Facts describe the run: host, GPUs, engine versions, duration, ….
	Facts []Fact
	// Warnings of the plan and the run; those of the comparison are in it.
	Warnings []result.Warning
}

// Planned is one candidate of the plan.
type Planned struct{ Engine, ID, Command string }

// Fact is one line about the run.
type Fact struct{ Name, Value string }

// PageOf is the page of a comparison that is all there is: the plan and the
// facts are what the rows tell.
func PageOf(c result.Comparison) Page {
	p := Page{Title: "Benchmark", Comparison: c}
	if models := distinct(c, func(r result.Row) string { return r.Model }); models != "" {
		p.Title += " of " + models
	}
	for _, e := range slices.SortedFunc(slices.Values(c.Entries), func(a, b result.Entry) int {
		return cmp.Or(strings.Compare(a.Row.Framework, b.Row.Framework), strings.Compare(a.Name, b.Name))
	}) {
		item := Planned{e.Row.Framework, e.Name, e.Row.ServerCommand}
		if !slices.Contains(p.Plan, item) {
			p.Plan = append(p.Plan, item)
		}
	}
	for _, f := range []struct {
		name string
		of   func(result.Row) string
	}{
		{"Model", func(r result.Row) string { return r.Model }},
		{"Engines", func(r result.Row) string { return strings.TrimSpace(r.Framework + " " + r.FrameworkVersion) }},
		{"GPUs", func(r result.Row) string {
			if n := r.Hardware.GPUCount; n != nil && *n > 0 {
				return fmt.Sprintf("%d × %s", *n, or(r.Hardware.GPUModel, "unknown model"))
			}
			return r.Hardware.GPUModel
		}},
		{"GPU driver", func(r result.Row) string { return r.Hardware.Driver }},
		{"Host", func(r result.Row) string { return r.Hardware.Host }},
		{"CPU", func(r result.Row) string { return r.Hardware.CPU }},
		{"Container image", func(r result.Row) string { return r.Image }},
		{"Run", func(r result.Row) string { return r.RunID }},
		{"llmdyno", func(r result.Row) string { return r.ToolVersion }},
	} {
		if v := distinct(c, f.of); v != "" {
			p.Facts = append(p.Facts, Fact{f.name, v})
		}
	}
	return p
}

// distinct lists the values that the rows have, a few of them.
func distinct(c result.Comparison, of func(result.Row) string) string {
	const most = 6
	var values []string
	for _, e := range c.Entries {
		if v := of(e.Row); v != "" && !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	if more := len(values) - most; more > 0 {
		values = append(values[:most], fmt.Sprintf("%d more", more))
	}
	return strings.Join(values, ", ")
}

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	// A command breaks between words only, and copies as it is.
	"words": func(s string) []string { return strings.Split(s, " ") },
}).Parse(pageSource))

// HTML writes the report as one page that needs nothing but itself: no network,
// no other file. It reads well in light and dark, on paper and on a telephone.
func HTML(w io.Writer, p Page) error {
	b := &pageBuilder{view: view{c: p.Comparison}, page: p}
	data, err := b.build()
	if err != nil {
		return err
	}
	if err := pageTemplate.Execute(w, data); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// What the template is filled with.
type (
	pageData struct {
		Title, Lead                     string
		Notices                         []notification
		Warnings                        []result.Warning
		Classes                         []classData
		Best                            []frameworkData
		Cross, RunnersUp, Failed, Early tableData
		NoCross, Undrawn                string
		Plan                            tableData
		Server                          serverData
		Facts                           []Fact
		Notes                           []string
		Empty                           string
		Colours                         []int
		Titles                          map[string]string
	}
	notification struct{ Title, Text string }
	classData    struct {
		Label, Conditions, Verdict, Anchor string
		Noise                              string
		Won                                bool
		Winner                             string
		Figures                            []Fact
		Command                            string
		Keys, Best                         []keyData // of all lines; of the strong ones
		Curves, Distributions              []figureData
		Points, Quantiles                  tableData
		Left, Beyond                       string // what the charts leave out
	}
	frameworkData struct {
		Name, None string
		Table      tableData
		Commands   []commandData
	}
	commandData struct{ Label, Command string }
	keyData     struct {
		Name   string
		Colour int
		Dash   string
		Weak   bool
	}
	figureData struct {
		Caption string
		SVG     template.HTML
	}
	tableData struct {
		Caption string
		Heads   []headData
		Rows    []rowData
	}
	headData struct {
		Text    string
		Numeric bool
	}
	rowData struct {
		Kind  string // win, tie or ""
		Cells []cellData
	}
	cellData struct {
		Text, Href, ID string
		Numeric, Code  bool
	}
)

type pageBuilder struct {
	view
	page Page
}

func (b *pageBuilder) build() (pageData, error) {
	d := pageData{
		Title: or(oneLine(b.page.Title), titleReport), Facts: b.page.Facts, NoCross: "No candidate of any framework ran and met its SLA, so there is nothing to compare.",
		Titles: map[string]string{"best": titleBest, "cross": titleCross, "failed": titleFailed, "up": titleRunnersUp, "early": titleSuperseded, "server": titleServer},
	}
	for i := range paletteSize {
		d.Colours = append(d.Colours, i)
	}
	head, rest := b.notices()
	for _, w := range head {
		d.Notices = append(d.Notices, notification{noticeTitle(w), w.Message})
	}
	d.Warnings = rest
	for _, w := range b.page.Warnings {
		if !isNotice(w) || len(b.c.Entries) == 0 { // the notices have said it
			d.Warnings = append(d.Warnings, w)
		}
	}
	if len(b.c.Entries) == 0 {
		d.Empty = noRows
	}
	for i := range b.c.Classes {
		k, err := b.class(i)
		if err != nil {
			return d, err
		}
		d.Classes = append(d.Classes, k)
	}
	if n := len(b.c.Classes); n > maxDrawnClasses {
		d.Undrawn = fmt.Sprintf("Charts are drawn for the first %d of %d scenarios: compare fewer rows to see the others.", maxDrawnClasses, n)
	}
	d.Lead = b.lead()
	b.sections(&d)
	var err error
	if d.Server, err = b.server(); err != nil {
		return d, err
	}
	d.Notes = append(d.Notes, "Ranking: "+b.c.Rule, latencyNote+".")
	for _, l := range slices.Concat(b.legend(), b.sent(), b.searched()) {
		d.Notes = append(d.Notes, l+".")
	}
	return d, nil
}

// Drawn are the classes that have charts.
func (d pageData) Drawn() []classData { return d.Classes[:min(len(d.Classes), maxDrawnClasses)] }

// lead is the one sentence under the title.
func (b *pageBuilder) lead() string {
	won := b.c.Winners()
	return fmt.Sprintf("%d %s of %d %s in %d %s; %d %s a command that meets the SLA.",
		len(b.c.Entries), plural(len(b.c.Entries), "row"), len(b.c.FrameworkNames()), plural(len(b.c.FrameworkNames()), "engine"),
		len(b.c.Classes), plural(len(b.c.Classes), "scenario"), won, map[bool]string{true: "has", false: "have"}[won == 1])
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// pageFigures fit a page of 1280 px; Markdown and CSV have the others too.
var pageFigures = []column{
	colReqs, colOut, colReqsGPU, colOutGPU, colTTFT, colP99TTFT, colVisible, colReasoning, colTool, colTPOT, colE2E, colSuccess, colLoad, colAccept, colPreSched, colCacheHit, colAlike, colGPUs,
}

func (b *pageBuilder) sections(d *pageData) {
	for _, name := range b.c.FrameworkNames() {
		f := frameworkData{Name: name}
		best := b.entries(b.c.Best(name))
		if len(best) == 0 {
			f.None = b.noBest(name)
		} else {
			f.Table = b.table("Best commands of "+name, append([]column{colScenario, colCandidate, colSLA}, pageFigures...), best)
			f.Commands = b.commands(best)
		}
		d.Best = append(d.Best, f)
	}
	var cross []result.Entry
	for _, k := range b.c.Classes {
		cross = append(cross, b.crossEntries(k)...)
	}
	if len(cross) > 0 {
		d.Cross = b.table("The best candidate of each engine, scenario by scenario", append([]column{colScenario, colPlace, colFull, colVersus}, pageFigures...), cross)
	}
	if up := b.entries(b.c.RunnersUp()); len(up) > 0 {
		d.RunnersUp = b.table("Candidates that passed and are not the best of their engine", append([]column{colScenario, colFull, colRank, colVersus}, pageFigures...), up)
	}
	if failed := b.entries(b.c.Failed); len(failed) > 0 {
		d.Failed = b.table("Candidates that failed or missed the SLA, with the reason", []column{colScenario, colFramework, colCandidate, colStatus, colSLA, colReason, colReqs, colTTFT, colTPOT}, failed)
	}
	if early := b.entries(b.c.Superseded); len(early) > 0 {
		d.Early = b.table("Attempts that were replaced by a later one", []column{colScenario, colFramework, colCandidate, colStatus,
			{head: "what it left", text: func(_ view, e result.Entry) string { return leftBehind(e) }},
			{head: "replaced by", text: func(v view, e result.Entry) string { return replacedBy(v, e) }}}, early)
	}
	d.Plan = b.plan()
}

func (b *pageBuilder) commands(entries []result.Entry) []commandData {
	var out []commandData
	for _, e := range entries {
		at := slices.IndexFunc(out, func(c commandData) bool { return c.Command == e.Row.ServerCommand })
		switch {
		case e.Row.ServerCommand == "":
		case at >= 0:
			out[at].Label += ", " + b.label(e)
		default:
			out = append(out, commandData{b.label(e), e.Row.ServerCommand})
		}
	}
	return out
}

// table renders columns for entries; candidates link to their command.
func (b *pageBuilder) table(caption string, columns []column, entries []result.Entry) tableData {
	if n := len(entries); n > maxTableRows {
		entries = entries[:maxTableRows]
		caption += fmt.Sprintf(" (the first %d of %d; the CSV has all)", maxTableRows, n)
	}
	g := b.fill(columns, entries)
	t := tableData{Caption: caption}
	for _, c := range g.columns {
		t.Heads = append(t.Heads, headData{c.head, c.numeric})
	}
	for i, row := range g.rows {
		r := rowData{}
		switch e := entries[i]; {
		case e.Outcome == result.OutcomeWinner:
			r.Kind = "win"
		case e.Tied:
			r.Kind = "tie"
		}
		for j, text := range row {
			cell := cellData{Text: text, Numeric: g.columns[j].numeric}
			if g.columns[j].head == colCandidate.head {
				if at := b.planned(entries[i]); at >= 0 && at < maxTableRows {
					cell.Href = anchor(at)
				}
			}
			r.Cells = append(r.Cells, cell)
		}
		t.Rows = append(t.Rows, r)
	}
	return t
}

func anchor(i int) string { return fmt.Sprintf("candidate-%d", i) }

// maxShort is the longest text of a cell that is kept on one line.
const maxShort = 24

// Short says that the cell's text is kept on one line.
func (c cellData) Short() bool { return len(c.Text) <= maxShort }

// planned finds the candidate of an entry in the plan.
func (b *pageBuilder) planned(e result.Entry) int {
	return slices.IndexFunc(b.page.Plan, func(p Planned) bool {
		return p.Engine == e.Row.Framework && (p.ID == e.Name || p.ID == e.Row.CandidateID)
	})
}

// plan lists every candidate with its command and what became of it.
func (b *pageBuilder) plan() tableData {
	if len(b.page.Plan) == 0 {
		return tableData{}
	}
	t := tableData{Caption: "Every candidate with its command and what became of it", Heads: []headData{{"candidate", false}, {"engine", false}, {"outcome", false}, {"command", false}}}
	for i, p := range b.page.Plan {
		if i == maxTableRows {
			t.Caption += fmt.Sprintf(" (the first %d of %d)", maxTableRows, len(b.page.Plan))
			break
		}
		t.Rows = append(t.Rows, rowData{Cells: []cellData{
			{Text: p.ID, ID: anchor(i)}, {Text: p.Engine}, {Text: b.fate(i)}, {Text: or(p.Command, missing), Code: p.Command != ""},
		}})
	}
	return t
}

// fate is what became of a candidate, scenario by scenario.
func (b *pageBuilder) fate(i int) string {
	var mine []result.Entry
	for _, e := range b.c.Entries {
		if e.Outcome != result.OutcomeSuperseded && b.planned(e) == i {
			mine = append(mine, e)
		}
	}
	slices.SortStableFunc(mine, func(x, y result.Entry) int { return x.Class - y.Class })
	if len(mine) == 0 {
		return "not tried"
	}
	parts := make([]string, len(mine))
	for j, e := range mine {
		parts[j] = b.label(e) + ": " + fateWord(e)
	}
	return strings.Join(parts, "; ")
}

func fateWord(e result.Entry) string {
	switch {
	case e.Outcome == result.OutcomeWinner:
		return "best"
	case e.Tied:
		return "tied with the best"
	case e.Outcome == result.OutcomePassed:
		return "passed, rank " + rank(e)
	case e.Outcome == result.OutcomeSLAFailed:
		return "missed the SLA"
	}
	return e.Row.Status
}

// What bounds the page: candidates that are drawn in one class, classes that
// are drawn, load points that are drawn and listed, rows of one table.
const (
	maxDrawn        = 40
	maxDrawnClasses = 30
	maxPoints       = 1500
	maxTableRows    = 400
)

// perClass is how many candidates each class may draw.
func (b *pageBuilder) perClass() int {
	rows, points := 0, 0
	for _, e := range b.c.Entries {
		if e.Row.Status == result.StatusOK {
			rows, points = rows+1, points+len(pointsOf(e.Row))
		}
	}
	if rows == 0 {
		return 0
	}
	classes := min(len(b.c.Classes), maxDrawnClasses)
	return min(maxDrawn, max(4, maxPoints*rows/(points*classes)))
}

func (b *pageBuilder) class(i int) (classData, error) {
	k := b.c.Classes[i]
	d := classData{Label: k.Label, Conditions: conditions(k), Verdict: k.Verdict, Anchor: fmt.Sprintf("class-%d", i)}
	if k.Noise != nil {
		d.Noise = k.Noise.Words()
	}
	if w, ok := k.Winner(); ok {
		e := b.c.Entries[w]
		d.Won, d.Winner, d.Command = true, fullName(e), e.Row.ServerCommand
		for _, c := range []column{colReqs, colOut, colOutGPU, colTTFT, colP99TTFT, colVisible, colReasoning, colTool, colTPOT, colE2E, colSuccess, colLoad} {
			if text := c.text(b.view, e); text != missing {
				d.Figures = append(d.Figures, Fact{c.head, text})
			}
		}
	}
	if i >= maxDrawnClasses {
		return d, nil
	}
	drawn := b.drawn(i)
	if n := b.measured(i); n > len(drawn) {
		d.Left = fmt.Sprintf("The %d best of %d measured candidates are shown; the others are in results.jsonl.", len(drawn), n)
	}
	d.Keys = b.keys(k, drawn)
	for _, key := range d.Keys {
		if !key.Weak {
			d.Best = append(d.Best, key)
		}
	}
	if err := b.curves(&d, k, drawn); err != nil {
		return d, err
	}
	return d, b.distributions(&d, k, drawn)
}

func (b *pageBuilder) measured(class int) int {
	n := 0
	for _, e := range b.c.Entries {
		if e.Class == class && e.Outcome != result.OutcomeSuperseded && e.Row.Status == result.StatusOK {
			n++
		}
	}
	return n
}

// drawn are the measured entries of a class that fit, best first.
func (b *pageBuilder) drawn(class int) []result.Entry {
	var out []result.Entry
	most := b.perClass()
	for _, e := range b.c.Entries { // best first
		if e.Class == class && e.Outcome != result.OutcomeSuperseded && e.Row.Status == result.StatusOK && len(out) < most {
			out = append(out, e)
		}
	}
	return out
}

func (b *pageBuilder) colour(framework string) int {
	return max(slices.Index(b.c.FrameworkNames(), framework), 0) % paletteSize
}

// strong says whether an entry is the best of its engine, or the first of an
// engine without one.
func (b *pageBuilder) strong(k result.Class, e result.Entry, drawn []result.Entry) bool {
	for _, f := range k.Frameworks {
		if f.Framework == e.Row.Framework {
			return b.c.Entries[f.Ranked[0]].Name == e.Name
		}
	}
	first := slices.IndexFunc(drawn, func(o result.Entry) bool { return o.Row.Framework == e.Row.Framework })
	return drawn[first].Name == e.Name
}

// keys explain the lines: the strong ones by name, then the weak of each engine
// as one.
func (b *pageBuilder) keys(k result.Class, drawn []result.Entry) []keyData {
	var strong, weak []keyData
	for _, e := range drawn {
		c := b.colour(e.Row.Framework)
		if b.strong(k, e, drawn) {
			name := fullName(e)
			if e.Outcome == result.OutcomeSLAFailed {
				name += " (missed the SLA)"
			}
			strong = append(strong, keyData{name, c, dashText(c), false})
			continue
		}
		name := "other " + e.Row.Framework
		if !slices.ContainsFunc(weak, func(w keyData) bool { return w.Name == name }) {
			weak = append(weak, keyData{name, c, "", true})
		}
	}
	return append(strong, weak...)
}

func dashText(colour int) string {
	var parts []string
	for _, d := range dashes[colour%paletteSize] {
		parts = append(parts, fmt.Sprint(d))
	}
	return strings.Join(parts, " ")
}

// curves draw latency over throughput, point by point.
func (b *pageBuilder) curves(d *classData, k result.Class, drawn []result.Entry) error {
	for _, q := range []struct {
		name string
		of   func(result.Metrics) result.Latency
		key  string
	}{
		{"TTFT", func(m result.Metrics) result.Latency { return m.TTFT }, "ttft"},
		{"TPOT", func(m result.Metrics) result.Latency { return m.TPOT }, "tpot"},
	} {
		c := chart{title: fmt.Sprintf("%s: p50 %s over throughput, candidate by candidate", k.Label, q.name), xLabel: "requests/s served", yLabel: "p50 " + q.name + ", ms", yLog: true}
		for _, e := range drawn {
			c.series = append(c.series, b.curve(k, e, drawn, q.of)...)
		}
		c.limits = limitLines(drawn, "p50", q.key, false)
		if c.top = topOf(c); slices.ContainsFunc(c.series, func(s series) bool {
			return slices.ContainsFunc(s.points, func(m mark) bool { return beyond(m, c.top) })
		}) {
			d.Beyond = fmt.Sprintf("The charts end at %d times the limit; slower points are in the table.", topTimes)
		}
		if err := appendFigure(&d.Curves, c, "p50 "+q.name+" over throughput"); err != nil {
			return err
		}
	}
	if len(d.Curves) > 0 {
		d.Points = b.pointTable(k, drawn)
	}
	return nil
}

// topTimes is how far above its limit a chart still shows a latency.
const topTimes = 4

// topOf is where the y axis of a chart with a limit ends: above what is of
// interest, unless nothing at all lies below.
func topOf(c chart) float64 {
	for _, l := range c.limits {
		top := topTimes * l.at
		for _, s := range c.series {
			if slices.ContainsFunc(s.points, func(m mark) bool { return m.y <= top }) {
				return top
			}
		}
	}
	return 0
}

func appendFigure(into *[]figureData, c chart, caption string) error {
	if c.empty() {
		return nil
	}
	svg, err := c.svg()
	if err != nil {
		return err
	}
	*into = append(*into, figureData{caption, svg})
	return nil
}

// pointsOf are the load points of an entry; a row without them is one point.
func pointsOf(r result.Row) []result.Point {
	if len(r.Points) > 0 {
		return r.Points
	}
	passed := r.SLA.Passed != nil && *r.SLA.Passed
	return []result.Point{{RequestRate: r.Workload.RequestRate, MaxConcurrency: r.Workload.MaxConcurrency, Chosen: true, Status: r.Status, Passed: passed, Violations: r.SLA.Violations, Metrics: r.Metrics}}
}

// curve makes one line for each concurrency cap that was tried.
func (b *pageBuilder) curve(k result.Class, e result.Entry, drawn []result.Entry, of func(result.Metrics) result.Latency) []series {
	byCap := map[string][]mark{}
	var caps []string
	for _, p := range pointsOf(e.Row) {
		x := p.Metrics.RequestThroughput
		y, _, ok := of(p.Metrics).Typical()
		if p.Status != result.StatusOK || x == nil || !ok || y <= 0 {
			continue
		}
		limit := count(p.MaxConcurrency)
		if byCap[limit] == nil {
			caps = append(caps, limit)
		}
		tip := fmt.Sprintf("%s: %s offered, %s req/s, %s ms, SLA %s", fullName(e), offered(p), result.Number(*x), result.Number(y), map[bool]string{true: "met", false: "missed"}[p.Passed])
		byCap[limit] = append(byCap[limit], mark{x: *x, y: y, tip: tip, hollow: !p.Passed, chosen: p.Chosen})
	}
	var out []series
	for _, c := range caps {
		sortMarks(byCap[c])
		out = append(out, series{colour: b.colour(e.Row.Framework), strong: b.strong(k, e, drawn), points: byCap[c], marks: true})
	}
	return out
}

func offered(p result.Point) string {
	text := "all at once"
	if p.RequestRate != nil {
		text = result.Number(*p.RequestRate) + "/s"
	}
	if p.MaxConcurrency != nil {
		text += fmt.Sprintf(", at most %d in flight", *p.MaxConcurrency)
	}
	return text
}

// limitLines are the limits on a quantity that all drawn rows share. stat ""
// stands for any statistic.
func limitLines(drawn []result.Entry, stat, quantity string, vertical bool) []limitLine {
	var out []limitLine
	if len(drawn) == 0 {
		return nil
	}
	for _, l := range drawn[0].Row.SLA.Limits {
		name, ok := strings.CutSuffix(strings.TrimPrefix(l.Key, "max_"), "_"+quantity+"_ms")
		everywhere := !slices.ContainsFunc(drawn, func(e result.Entry) bool { return !slices.Contains(e.Row.SLA.Limits, l) })
		if ok && everywhere && (stat == "" || stat == name) {
			out = append(out, limitLine{vertical, l.MaxMs, fmt.Sprintf("limit on %s: %s ms", name, result.Number(l.MaxMs))})
		}
	}
	return out
}

func (b *pageBuilder) pointTable(k result.Class, drawn []result.Entry) tableData {
	t := tableData{Caption: k.Label + ": every load point", Heads: []headData{{"candidate", false}, {"offered", false}, {"repeat", true}, {"req/s", true}, {"out tok/s", true}, {"TTFT ms", true}, {"p99 TTFT ms", true}, {"TPOT ms", true}, {"E2E ms", true}, {"success", true}, {"SLA", false}}}
	for _, e := range drawn {
		for _, p := range pointsOf(e.Row) {
			r := rowData{}
			if p.Chosen {
				r.Kind = "win"
			}
			for i, text := range []string{fullName(e), offered(p), fmt.Sprint(p.Repeat + 1), num(p.Metrics.RequestThroughput), num(p.Metrics.OutputTokenThroughput),
				typical(p.Metrics.TTFT), num(p.Metrics.TTFT.P99), typical(p.Metrics.TPOT), typical(p.Metrics.E2E), share(p.Metrics.SuccessRate), pointVerdict(p)} {
				r.Cells = append(r.Cells, cellData{Text: text, Numeric: t.Heads[i].Numeric})
			}
			t.Rows = append(t.Rows, r)
		}
	}
	return t
}

func pointVerdict(p result.Point) string {
	switch {
	case p.Status != result.StatusOK:
		return p.Status + ": " + or(p.FailureReason, "no reason given")
	case p.Invalid != "":
		return "not to be trusted: " + p.Invalid
	case p.Passed:
		return "met"
	}
	return "missed: " + or(strings.Join(p.Violations, "; "), "no reason given")
}

// distributions draw the share of requests that were at least as fast, for the
// best candidate of each engine.
func (b *pageBuilder) distributions(d *classData, k result.Class, drawn []result.Entry) error {
	quantities := []struct {
		name, key string
		of        func(result.Metrics) result.Latency
	}{
		{"TTFT", "ttft", func(m result.Metrics) result.Latency { return m.TTFT }},
		{"TPOT", "tpot", func(m result.Metrics) result.Latency { return m.TPOT }},
		{"E2E", "e2e", func(m result.Metrics) result.Latency { return m.E2E }},
	}
	shown := []float64{0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1}
	t := tableData{Caption: k.Label + ": quantiles of latency at the chosen load, ms", Heads: []headData{{"latency", false}, {"candidate", false}, {"samples", true}, {"mean", true}}}
	for _, q := range shown {
		t.Heads = append(t.Heads, headData{quantileName(q), true})
	}
	for _, q := range quantities {
		c := chart{title: fmt.Sprintf("%s: distribution of %s", k.Label, q.name), xLabel: q.name + ", ms", yLabel: "share of requests", xLog: true, percentY: true, small: true}
		for _, e := range drawn {
			l := q.of(e.Row.Metrics)
			if len(l.Quantiles) == 0 {
				continue
			}
			if b.strong(k, e, drawn) {
				c.series = append(c.series, series{colour: b.colour(e.Row.Framework), strong: true, points: cumulative(l)})
			}
			row := rowData{Cells: []cellData{{Text: q.name}, {Text: fullName(e)}, {Text: count(l.N), Numeric: true}, {Text: num(l.Mean), Numeric: true}}}
			for _, p := range shown {
				row.Cells = append(row.Cells, cellData{Text: num(l.At(p)), Numeric: true})
			}
			t.Rows = append(t.Rows, row)
		}
		c.limits = limitLines(drawn, "", q.key, true)
		if err := appendFigure(&d.Distributions, c, "Distribution of "+q.name); err != nil {
			return err
		}
	}
	if len(d.Distributions) > 0 {
		d.Quantiles = t
	}
	return nil
}

func quantileName(q float64) string {
	if q == 1 {
		return "max"
	}
	return fmt.Sprintf("p%g", 100*q)
}

// cumulative is the curve of a distribution from its quantiles.
func cumulative(l result.Latency) []mark {
	var out []mark
	for i, q := range metric.QuantileLevels {
		if x := l.Quantiles[i]; x > 0 {
			out = append(out, mark{x: x, y: q})
		}
	}
	return out
}
