package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"llmdyno/internal/profile"
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/fusion"
	"llmdyno/internal/profile/kernel"
)

// The tables of a triage.
const (
	TableClasses     = "classes"
	TableKernels     = "kernels"
	TableOverlap     = "overlap"
	TableFuse        = "fuse"
	TableGaps        = "gaps"
	TableLayers      = "layers"
	TableSteps       = "steps"
	TableRanks       = "ranks"
	TableCollectives = "collectives"
)

// ProfileTables are all tables in their order.
func ProfileTables() []string {
	return []string{TableClasses, TableKernels, TableOverlap, TableFuse, TableGaps, TableLayers, TableSteps, TableRanks, TableCollectives}
}

// ProfileDefaults are the tables that a report shows unless others are asked for.
func ProfileDefaults() []string {
	return []string{TableKernels, TableOverlap, TableFuse, TableGaps, TableSteps, TableRanks}
}

// forms are the formats that show a column.
type forms uint8

const (
	inText forms = 1 << iota
	inMarkdown
	inCSV
	inHTML

	inAll    = inText | inMarkdown | inCSV | inHTML
	forTools = inCSV // figures that people find in another column
)

// sheetColumn is how one figure of a row is shown.
type sheetColumn struct {
	head, key string // for people; in CSV, with the unit
	forms     forms
	numeric   bool
	code      bool // an identifier: it is not prose
	path      bool // a place in the source: of a long one the end says most
	under     bool // where the width is short it stands below the row
	drop      int  // where the width is short it goes, the highest first; 0 = it stays
}

// sheetCell is one figure.
type sheetCell struct {
	show  string // for a terminal
	full  string // where there is room
	exact string // for tools
}

// sheet is one table of a report, as every format shows it.
type sheet struct {
	table   string
	title   string
	stage   attrib.Stage // "" where the rows are of several
	lead    string
	columns []sheetColumn
	rows    [][]sheetCell
	// keys are what marks a row in other parts of a page: the kernel's class, a
	// priority. One for each row, or none.
	keys  []string
	empty string // why there are no rows
	after []string
	// most is how many rows a terminal and Markdown show; 0 = all.
	most int
}

// col fills a column from rows of one type.
type col[T any] struct {
	sheetColumn
	show  func(T) string
	full  func(T) string // nil: as show
	exact func(T) string // nil: as full
}

func fillSheet[T any](s sheet, rows []T, cols []col[T]) sheet {
	for _, c := range cols {
		s.columns = append(s.columns, c.sheetColumn)
	}
	for _, r := range rows {
		cells := make([]sheetCell, len(cols))
		for i, c := range cols {
			cell := sheetCell{show: c.show(r)}
			cell.full, cell.exact = cell.show, cell.show
			if c.full != nil {
				cell.full, cell.exact = c.full(r), c.full(r)
			}
			if c.exact != nil {
				cell.exact = c.exact(r)
			}
			cells[i] = cell
		}
		s.rows = append(s.rows, cells)
	}
	return s
}

// in leaves the columns of one format, and of those with nothing to say none.
func (s sheet) in(f forms) sheet {
	out := s
	out.columns, out.rows = nil, make([][]sheetCell, len(s.rows))
	for i, c := range s.columns {
		if c.forms&f == 0 || f != inCSV && s.blank(i) {
			continue
		}
		out.columns = append(out.columns, c)
		for r := range s.rows {
			out.rows[r] = append(out.rows[r], s.rows[r][i])
		}
	}
	return out
}

// blank reports whether a column has nothing to say in any row.
func (s sheet) blank(column int) bool {
	return len(s.rows) > 0 && !slices.ContainsFunc(s.rows, func(r []sheetCell) bool { return !silent(r[column].full) })
}

// silent reports whether a cell says nothing.
func silent(cell string) bool { return cell == "" || cell == missing || cell == attrib.Unresolved }

// cut leaves the first rows, and says how many there are more.
func (s sheet) cut() sheet {
	if s.most > 0 && len(s.rows) > s.most {
		s.after = append([]string{fmt.Sprintf("%d more %s; --limit N shows more, --format json all", len(s.rows)-s.most, plural(len(s.rows)-s.most, "row"))}, s.after...)
		s.rows = s.rows[:s.most]
		if s.keys != nil {
			s.keys = s.keys[:s.most]
		}
	}
	return s
}

// Rows of the longer tables that a terminal shows unless told otherwise.
const (
	mostGaps        = 8
	leastGap        = 0.1 // percent of the recording
	mostSteps       = 20
	mostLayers      = 40
	mostCollectives = 12
)

// profileView makes the sheets of one document.
type profileView struct{ d *profile.Document }

func (v profileView) most(usual int) int {
	if v.d.Limit != 0 {
		return max(v.d.Limit, 0)
	}
	return usual
}

// parts are the GPUs that have tables, the first of them the document's own.
func (v profileView) parts() []*profile.Tables {
	out := []*profile.Tables{&v.d.Tables}
	for i := range v.d.Others {
		out = append(out, &v.d.Others[i])
	}
	return out
}

// stages are those of a GPU that have work, in order.
func stagesOf(t *profile.Tables) []attrib.Stage {
	return slices.DeleteFunc(attrib.Stages(), func(s attrib.Stage) bool { return t.Stages[s].Launches == 0 })
}

// ofStage are the sheets of one stage.
func (v profileView) ofStage(t *profile.Tables, stage attrib.Stage, tables []string) []sheet {
	var out []sheet
	for _, name := range tables {
		switch name {
		case TableClasses:
			out = append(out, v.classes(t, stage))
		case TableKernels:
			out = append(out, v.kernels(t, stage))
		case TableOverlap:
			out = append(out, v.overlap(t, stage))
		case TableFuse:
			out = append(out, v.fuse(t, stage))
		case TableGaps:
			out = append(out, v.gaps(t, stage))
		case TableLayers:
			out = append(out, v.layers(t, stage)...)
		}
	}
	return out
}

// whole are the sheets of one GPU that are of all stages.
func (v profileView) whole(t *profile.Tables, tables []string) []sheet {
	if !slices.Contains(tables, TableSteps) || len(t.StepStages) == 0 {
		return nil
	}
	if len(t.Steps) == len(t.StepStages) { // one of each stage: the sums are the steps
		return []sheet{v.stepStages(t)}
	}
	return []sheet{v.stepStages(t), v.steps(t)}
}

// across are the sheets that compare GPUs.
func (v profileView) across(tables []string) []sheet {
	var out []sheet
	if v.d.Ranks == nil {
		return nil
	}
	if slices.Contains(tables, TableRanks) {
		out = append(out, v.ranks())
	}
	if slices.Contains(tables, TableCollectives) {
		out = append(out, v.collectives())
	}
	return out
}

func pct(x float64) string   { return fmt.Sprintf("%.1f %%", x) }
func float(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
func tidy(x float64) string  { return strconv.FormatFloat(x, 'f', 4, 64) }
func whole64(n int) string   { return strconv.Itoa(n) }

// millisOf shows a time in ms, to the microsecond where the whole is short.
func millisOf(n, whole attrib.Nanos) string {
	if whole < 100e6 {
		return fmt.Sprintf("%.3f", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f", float64(n)/1e6)
}

// countLaunches counts launches in words.
func countLaunches(n int) string {
	if n == 1 {
		return "1 launch"
	}
	return fmt.Sprintf("%d launches", n)
}

// micros is a time in microseconds with all its digits.
func micros(n attrib.Nanos) string { return float(n.Micros()) }

func share0(part, whole attrib.Nanos) string {
	if whole == 0 {
		return missing
	}
	return pct(100 * float64(part) / float64(whole))
}

func (v profileView) classes(t *profile.Tables, stage attrib.Stage) sheet {
	total := t.Stages[stage].Total
	s := sheet{table: TableClasses, title: "Classes", stage: stage}
	for _, r := range t.Classes[stage] {
		s.keys = append(s.keys, string(r.Category))
	}
	return fillSheet(s, t.Classes[stage], []col[attrib.ClassRow]{
		{sheetColumn{head: "share", key: "share_pct", forms: inAll, numeric: true}, func(r attrib.ClassRow) string { return pct(r.Share) }, nil, func(r attrib.ClassRow) string { return tidy(r.Share) }},
		{sheetColumn{head: "time ms", key: "total_us", forms: inAll, numeric: true}, func(r attrib.ClassRow) string { return millisOf(r.Total, total) }, nil, func(r attrib.ClassRow) string { return micros(r.Total) }},
		{sheetColumn{head: "launches", key: "launches", forms: inAll, numeric: true}, func(r attrib.ClassRow) string { return whole64(r.Launches) }, nil, nil},
		{sheetColumn{head: "class", key: "category", forms: inAll}, func(r attrib.ClassRow) string { return string(r.Category) }, nil, nil},
	})
}

func (v profileView) kernels(t *profile.Tables, stage attrib.Stage) sheet {
	type row = *attrib.KernelRow
	total := t.Stages[stage].Total
	var rows []row
	s := sheet{table: TableKernels, title: "Kernels", stage: stage}
	for i := range t.Kernels {
		if r := &t.Kernels[i]; r.Stage == stage {
			rows = append(rows, r)
			s.keys = append(s.keys, string(r.Category))
		}
	}
	if o := t.Omitted[stage]; o.Launches > 0 {
		s.after = append(s.after, fmt.Sprintf("%s with %s ms (%s) in rows below the bar of %s", countLaunches(o.Launches), millisOf(o.Total, total), share0(o.Total, total), v.bar()))
	}
	s.empty = "No row reaches the bar of " + v.bar() + "."
	return fillSheet(s, rows, []col[row]{
		{sheetColumn{head: "share", key: "share_pct", forms: inAll, numeric: true}, func(r row) string { return pct(r.Share) }, nil, func(r row) string { return tidy(r.Share) }},
		{sheetColumn{head: "time ms", key: "total_us", forms: inAll, numeric: true}, func(r row) string { return millisOf(r.Total, total) }, nil, func(r row) string { return micros(r.Total) }},
		{sheetColumn{head: "launches", key: "launches", forms: inAll, numeric: true}, func(r row) string { return whole64(r.Launches) }, nil, nil},
		{sheetColumn{head: "mean us", key: "mean_us", forms: inAll, numeric: true, drop: 2}, func(r row) string { return fmt.Sprintf("%.1f", r.Mean.Micros()) }, nil, func(r row) string { return micros(r.Mean) }},
		{sheetColumn{head: "min us", key: "min_us", forms: forTools, numeric: true}, func(r row) string { return fmt.Sprintf("%.1f", r.Min.Micros()) }, nil, func(r row) string { return micros(r.Min) }},
		{sheetColumn{head: "max us", key: "max_us", forms: forTools, numeric: true}, func(r row) string { return fmt.Sprintf("%.1f", r.Max.Micros()) }, nil, func(r row) string { return micros(r.Max) }},
		{sheetColumn{head: "class", key: "category", forms: inAll, drop: 1}, func(r row) string { return string(r.Category) }, nil, nil},
		{sheetColumn{head: "kernel", key: "name", forms: inAll, code: true}, func(r row) string { return r.Short }, func(r row) string { return r.Name }, nil},
		{sheetColumn{head: "launched at", key: "location", forms: inAll, code: true, path: true, under: true}, func(r row) string { return r.Location }, nil, nil},
		{sheetColumn{head: "op", key: "cpu_op", forms: inAll, code: true, under: true}, func(r row) string { return r.Op }, nil, nil},
		{sheetColumn{head: "notes", key: "notes", forms: inAll, under: true}, kernelNotes, nil, nil},
		{sheetColumn{head: "what the name says", key: "detail", forms: inMarkdown | inCSV | inHTML}, kernelDetail, nil, nil},
		{sheetColumn{head: "short name", key: "short_name", forms: forTools, code: true}, func(r row) string { return r.Short }, nil, nil},
		{sheetColumn{head: "raw names", key: "raw_names", forms: forTools, code: true}, func(r row) string { return strings.Join(r.RawNames, "\n") }, nil, nil},
		{sheetColumn{head: "graph launches", key: "graph_launches", forms: forTools, numeric: true}, func(r row) string { return whole64(r.GraphLaunches) }, nil, nil},
		{sheetColumn{head: "residue", key: "residue_us", forms: forTools, numeric: true}, func(r row) string { return micros(r.ResidueTotal) }, nil, nil},
		{sheetColumn{head: "places", key: "sites", forms: forTools, numeric: true}, func(r row) string { return whole64(len(r.Sites)) }, nil, nil},
	})
}

// bar is what keeps rows out of the kernel table, in words.
func (v profileView) bar() string {
	text := fmt.Sprintf("%s %% of the stage", float(v.d.MinShare))
	if v.d.Limit > 0 {
		text += fmt.Sprintf(" or %d %s", v.d.Limit, plural(v.d.Limit, "row"))
	}
	return text
}

// kernelNotes are what sets a row apart from a plain one.
func kernelNotes(r *attrib.KernelRow) string {
	var notes []string
	if n := len(r.Sites); n > 1 {
		notes = append(notes, fmt.Sprintf("%.0f %% of it there, %d more %s", r.Sites[0].Share, n-1, plural(n-1, "place")))
	}
	switch {
	case r.MappedLaunches == r.Launches:
		notes = append(notes, "source from the mapping trace")
	case r.MappedLaunches > 0:
		notes = append(notes, fmt.Sprintf("source of %s from the mapping trace", countLaunches(r.MappedLaunches)))
	case r.GraphLaunches == r.Launches:
		notes = append(notes, "in a GPU graph")
	case r.GraphLaunches > 0:
		notes = append(notes, fmt.Sprintf("%s in a GPU graph", countLaunches(r.GraphLaunches)))
	}
	if r.ResidueLaunches > 0 {
		notes = append(notes, fmt.Sprintf("%s (%s) from before the recording", countLaunches(r.ResidueLaunches), share0(r.ResidueTotal, r.Total)))
	}
	if r.File != "" {
		notes = append(notes, "generated in "+r.File)
	}
	return strings.Join(append(notes, kernelRates(r)...), "; ")
}

// kernelRates are what the trace records of a kernel beside its time.
func kernelRates(r *attrib.KernelRow) []string {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	switch {
	case r.FLOPLaunches == r.Launches:
		add("%.3g TFLOP/s", r.TFLOPS)
	case r.FLOPLaunches > 0:
		add("%.3g TFLOP/s in the %d launches of known shape", r.TFLOPS, r.FLOPLaunches)
	}
	if r.Bytes > 0 {
		add("%.3g MB at %.3g GB/s", float64(r.Bytes)/1e6, r.Bandwidth)
	}
	if r.MessageBytes > 0 {
		add("%.3g MB given, %.3g GB/s, waiting counted", float64(r.MessageBytes)/1e6, r.AlgorithmSpeed)
	}
	if r.BusSpeed > 0 {
		add("%.3g GB/s on the bus", r.BusSpeed)
	}
	if r.Occupancy != nil {
		add("est. occupancy %.0f %%", *r.Occupancy)
	}
	return notes
}

func kernelDetail(r *attrib.KernelRow) string {
	if r.Detail == nil {
		return ""
	}
	return r.Detail.String()
}

func (v profileView) overlap(t *profile.Tables, stage attrib.Stage) sheet {
	type row = *attrib.OverlapRow
	s := sheet{table: TableOverlap, title: "Overlap opportunities", stage: stage, lead: overlapLead(t, stage)}
	var rows []row
	for i := range t.Overlap {
		if r := &t.Overlap[i]; r.Stage == stage {
			rows = append(rows, r)
			s.keys = append(s.keys, r.Priority)
		}
	}
	s.empty = "No kernel of at least 5 us and 1 % of the stage runs uncovered for 45 % of its time or hidden for 65 %."
	busy := t.OverlapSummary.StageBusyUS[stage]
	return fillSheet(s, rows, []col[row]{
		{sheetColumn{head: "prio", key: "priority", forms: inAll}, func(r row) string { return r.Priority }, nil, nil},
		{sheetColumn{head: "what to do", key: "recommendation", forms: inAll}, func(r row) string { return r.Recommendation }, nil, nil},
		{sheetColumn{head: "verdict", key: "verdict", forms: inAll, drop: 3}, func(r row) string { return string(r.Verdict) }, nil, nil},
		{sheetColumn{head: "share", key: "share_pct", forms: inAll, numeric: true}, func(r row) string { return pct(r.SharePct) }, nil, func(r row) string { return tidy(r.SharePct) }},
		{sheetColumn{head: "alone ms", key: "exclusive_us", forms: inAll, numeric: true}, func(r row) string { return millisOf(attrib.Nanos(r.ExclusiveUS*1000), busy) }, nil, func(r row) string { return tidy(r.ExclusiveUS) }},
		{sheetColumn{head: "hidden ms", key: "hidden_us", forms: inAll, numeric: true, drop: 1}, func(r row) string { return millisOf(r.HiddenUS, busy) }, nil, func(r row) string { return micros(r.HiddenUS) }},
		{sheetColumn{head: "total ms", key: "total_us", forms: inMarkdown | inCSV, numeric: true}, func(r row) string { return millisOf(r.TotalUS, busy) }, nil, func(r row) string { return micros(r.TotalUS) }},
		{sheetColumn{head: "launches", key: "launches", forms: inAll, numeric: true, drop: 4}, func(r row) string { return whole64(r.Launches) }, nil, nil},
		{sheetColumn{head: "dep risk", key: "dep_risk", forms: inAll, drop: 2}, func(r row) string { return string(r.DepRisk) }, nil, nil},
		{sheetColumn{head: "class", key: "category", forms: inAll, drop: 5}, func(r row) string { return string(r.Category) }, nil, nil},
		{sheetColumn{head: "kernel", key: "kernel", forms: inAll, code: true}, func(r row) string { return v.short(t, stage, r.Kernel) }, func(r row) string { return r.Kernel }, nil},
		{sheetColumn{head: "hidden behind", key: "overlap_with", forms: inAll, code: true, under: true}, func(r row) string {
			if len(r.With) == 0 {
				return ""
			}
			return "behind " + v.short(t, stage, r.With[0])
		}, func(r row) string { return strings.Join(r.With, ", ") }, nil},
		{sheetColumn{head: "launched at", key: "python_scope", forms: inAll, code: true, path: true, under: true}, func(r row) string { return r.Scope }, nil, nil},
		{sheetColumn{head: "overlapped on purpose", key: "family", forms: inAll, under: true}, func(r row) string { return v.family(t, r, false) }, func(r row) string { return v.family(t, r, true) }, nil},
	})
}

// family is what the catalog knows of a row: overlap that the engine means.
func (v profileView) family(t *profile.Tables, r *attrib.OverlapRow, long bool) string {
	i := slices.IndexFunc(t.OverlapNotes, func(n fusion.OverlapNote) bool { return n.Stage == r.Stage && n.Kernel == r.Kernel })
	if i < 0 {
		return ""
	}
	n := &t.OverlapNotes[i]
	if long {
		return n.Family + ": " + n.Mechanism + " " + n.Meaning
	}
	return "known: " + n.Family + ", " + n.Mechanism
}

// overlapLead sums up how the streams ran beside one another.
func overlapLead(t *profile.Tables, stage attrib.Stage) string {
	o := t.OverlapSummary
	text := fmt.Sprintf("busy %s ms", millisOf(o.StageBusyUS[stage], o.StageBusyUS[stage]))
	switch {
	case o.Streams == 1:
		text += "; all GPU work is on one stream: nothing is hidden"
	case o.CrossUS == 0:
		text += fmt.Sprintf("; %d streams, never two at work at once", o.Streams)
	default:
		text += fmt.Sprintf("; %d streams, two or more at work for %s of the GPU's busy time", o.Streams, share0(o.CrossUS, o.BusyUS))
	}
	if o.CollectiveUS > 0 {
		text += fmt.Sprintf("; collectives uncovered for %s ms in all", millisOf(o.CollectiveUS, o.BusyUS))
	}
	return text
}

// short is the short name of a kernel that a table names in full.
func (v profileView) short(t *profile.Tables, stage attrib.Stage, name string) string {
	i := slices.IndexFunc(t.Kernels, func(k attrib.KernelRow) bool { return k.Name == name })
	if i < 0 {
		return kernel.Parse(name).Short
	}
	return t.Kernels[i].Short
}

func (v profileView) fuse(t *profile.Tables, stage attrib.Stage) sheet {
	type row = *fusion.Finding
	s := sheet{table: TableFuse, title: "Fuse opportunities", stage: stage}
	var rows []row
	for i := range t.Fusion {
		if f := &t.Fusion[i]; f.Stage == stage {
			rows = append(rows, f)
			s.keys = append(s.keys, string(f.State))
		}
	}
	if s.empty = "No fusion that the catalog knows of " + v.d.Framework + " shows here."; v.d.Framework == fusion.Unknown {
		s.empty = "The framework is unknown, so no entry of the catalog applies; name it with --framework."
	}
	total := t.Stages[stage].Total
	return fillSheet(s, rows, []col[row]{
		{sheetColumn{head: "state", key: "state", forms: inAll}, func(r row) string { return stateWord(r) }, nil, func(r row) string { return string(r.State) }},
		{sheetColumn{head: "share", key: "share_pct", forms: inAll, numeric: true}, func(r row) string { return pct(r.Share) }, nil, func(r row) string { return tidy(r.Share) }},
		{sheetColumn{head: "time ms", key: "related_us", forms: inAll, numeric: true}, func(r row) string { return millisOf(r.Related, total) }, nil, func(r row) string { return micros(r.Related) }},
		{sheetColumn{head: "times", key: "occurrences", forms: inAll, numeric: true, drop: 2}, func(r row) string { return whole64(r.Occurrences) }, nil, nil},
		{sheetColumn{head: "confidence", key: "confidence", forms: inAll, drop: 1}, func(r row) string { return string(r.Confidence) }, nil, nil},
		{sheetColumn{head: "fusion", key: "name", forms: inAll}, func(r row) string { return r.Name }, nil, nil},
		{sheetColumn{head: "pattern", key: "pattern", forms: inMarkdown | inCSV | inHTML, code: true}, func(r row) string { return r.Pattern }, nil, nil},
		{sheetColumn{head: "what to do", key: "action", forms: inAll, under: true}, func(r row) string {
			if r.State == fusion.StateActive {
				return ""
			}
			return r.Action
		}, func(r row) string { return r.Action }, nil},
		{sheetColumn{head: "kernels", key: "evidence", forms: inAll, code: true, under: true}, func(r row) string {
			names := make([]string, 0, len(r.Evidence))
			for _, e := range r.Evidence {
				if s := v.short(t, stage, e); !slices.Contains(names, s) {
					names = append(names, s)
				}
			}
			return strings.Join(names, " + ")
		}, func(r row) string { return strings.Join(r.Evidence, "\n") }, nil},
		{sheetColumn{head: "launched at", key: "locations", forms: inMarkdown | inCSV | inHTML, code: true, path: true}, func(r row) string { return strings.Join(r.Locations, "\n") }, nil, nil},
		{sheetColumn{head: "sources", key: "sources", forms: inMarkdown | inCSV | inHTML, code: true}, func(r row) string { return strings.Join(r.Sources, "\n") }, nil, nil},
		{sheetColumn{head: "basis", key: "basis", forms: inCSV | inHTML}, func(r row) string { return r.Basis }, nil, nil},
	})
}

func stateWord(f *fusion.Finding) string {
	if f.State == fusion.StateActive {
		return "on"
	}
	return "split"
}

func (v profileView) gaps(t *profile.Tables, stage attrib.Stage) sheet {
	type row = *attrib.GapRow
	s := sheet{table: TableGaps, title: "Idle time before work of this stage", stage: stage}
	var rows []row
	for i := range t.Gaps {
		if r := &t.Gaps[i]; r.Stage == stage {
			rows = append(rows, r)
			s.keys = append(s.keys, string(r.Cause))
		}
	}
	for s.most = v.most(min(len(rows), mostGaps)); s.most > 1 && s.most <= len(rows) && v.d.Limit == 0 && rows[s.most-1].SharePct < leastGap; {
		s.most--
	}
	if s.empty = "The GPU had no gap of 5 us or more here."; t.Idle.SpanUS > 0 {
		s.lead = fmt.Sprintf("the GPU was idle for %s of the recording (%s of %s ms)", pct(t.Idle.SharePct), millisOf(t.Idle.IdleUS, t.Idle.SpanUS), millisOf(t.Idle.SpanUS, t.Idle.SpanUS))
	}
	return fillSheet(s, rows, []col[row]{
		{sheetColumn{head: "share", key: "share_pct", forms: inAll, numeric: true}, func(r row) string { return pct(r.SharePct) }, nil, func(r row) string { return tidy(r.SharePct) }},
		{sheetColumn{head: "idle ms", key: "total_us", forms: inAll, numeric: true}, func(r row) string { return millisOf(r.TotalUS, t.Idle.SpanUS) }, nil, func(r row) string { return micros(r.TotalUS) }},
		{sheetColumn{head: "gaps", key: "gaps", forms: inAll, numeric: true}, func(r row) string { return whole64(r.Gaps) }, nil, nil},
		{sheetColumn{head: "longest us", key: "max_us", forms: inAll, numeric: true, drop: 1}, func(r row) string { return fmt.Sprintf("%.1f", r.MaxUS.Micros()) }, nil, func(r row) string { return micros(r.MaxUS) }},
		{sheetColumn{head: "cause", key: "cause", forms: inAll}, func(r row) string { return causeWords(r.Cause) }, nil, func(r row) string { return string(r.Cause) }},
		{sheetColumn{head: "then came", key: "next", forms: inAll, code: true}, func(r row) string { return v.short(t, stage, r.Next) }, func(r row) string { return r.Next }, nil},
		{sheetColumn{head: "running then", key: "location", forms: inAll, code: true, path: true, under: true}, func(r row) string { return r.Location }, nil, nil},
		{sheetColumn{head: "op", key: "cpu_op", forms: inAll, code: true, under: true}, func(r row) string { return r.CPUOp }, nil, nil},
	})
}

// causeWords says why the GPU was idle.
func causeWords(c attrib.Cause) string {
	switch c {
	case attrib.CauseLaunch:
		return "late launch"
	case attrib.CauseSync:
		return "host waited"
	case attrib.CauseCopy:
		return "copy to host"
	case attrib.CauseRank:
		return "other rank"
	case attrib.CauseQueue:
		return "queued"
	case attrib.CauseUnseen:
		return "not recorded"
	}
	return string(c)
}

func (v profileView) layers(t *profile.Tables, stage attrib.Stage) []sheet {
	var out []sheet
	for i := range t.Layers {
		l := &t.Layers[i]
		if l.Stage != stage {
			continue
		}
		s := sheet{table: TableLayers, title: "Repeated unit", stage: stage, most: v.most(mostLayers),
			lead: fmt.Sprintf("%d units of %d kernels, %.1f us each, one every %.1f us; %s of the stage's GPU time", l.Units, len(l.Rows), l.MeanUS, l.PeriodUS, pct(l.CoverPct))}
		if l.Others > 0 {
			s.lead += fmt.Sprintf("; %d other %s differ", l.Others, plural(l.Others, "unit"))
		}
		for _, r := range l.Rows {
			s.keys = append(s.keys, string(r.Class))
		}
		out = append(out, fillSheet(s, l.Rows, []col[attrib.LayerRow]{
			{sheetColumn{head: "place", key: "position", forms: inAll, numeric: true}, func(r attrib.LayerRow) string { return whole64(r.Position + 1) }, nil, func(r attrib.LayerRow) string { return whole64(r.Position) }},
			{sheetColumn{head: "share", key: "share_pct", forms: inAll, numeric: true}, func(r attrib.LayerRow) string { return pct(r.SharePct) }, nil, func(r attrib.LayerRow) string { return tidy(r.SharePct) }},
			{sheetColumn{head: "mean us", key: "mean_us", forms: inAll, numeric: true}, func(r attrib.LayerRow) string { return fmt.Sprintf("%.1f", r.MeanUS) }, nil, func(r attrib.LayerRow) string { return tidy(r.MeanUS) }},
			{sheetColumn{head: "class", key: "class", forms: inAll, drop: 1}, func(r attrib.LayerRow) string { return string(r.Class) }, nil, nil},
			{sheetColumn{head: "kernel", key: "kernel", forms: inAll, code: true}, func(r attrib.LayerRow) string { return v.short(t, stage, r.Kernel) }, func(r attrib.LayerRow) string { return r.Kernel }, nil},
			{sheetColumn{head: "launched at", key: "location", forms: inAll, code: true, path: true, under: true}, func(r attrib.LayerRow) string { return r.Location }, nil, nil},
		}))
	}
	return out
}

func (v profileView) stepStages(t *profile.Tables) sheet {
	s := sheet{table: TableSteps, title: "Time of a step"}
	ms := func(us float64) string { return fmt.Sprintf("%.3f", us/1000) }
	return fillSheet(s, t.StepStages, []col[attrib.StepStage]{
		{sheetColumn{head: "stage", key: "stage", forms: inText | inMarkdown | inHTML}, func(r attrib.StepStage) string { return string(r.Stage) }, nil, nil},
		{sheetColumn{head: "steps", key: "steps", forms: inText | inMarkdown | inHTML, numeric: true}, func(r attrib.StepStage) string { return whole64(r.Steps) }, nil, nil},
		{sheetColumn{head: "mean ms", key: "mean_span_us", forms: inText | inMarkdown | inHTML, numeric: true}, func(r attrib.StepStage) string { return ms(r.MeanUS) }, nil, nil},
		{sheetColumn{head: "p50 ms", key: "p50_span_us", forms: inText | inMarkdown | inHTML, numeric: true}, func(r attrib.StepStage) string { return ms(r.P50US) }, nil, nil},
		{sheetColumn{head: "min ms", key: "min_span_us", forms: inText | inMarkdown | inHTML, numeric: true, drop: 2}, func(r attrib.StepStage) string { return ms(r.MinUS.Micros()) }, nil, nil},
		{sheetColumn{head: "max ms", key: "max_span_us", forms: inText | inMarkdown | inHTML, numeric: true, drop: 1}, func(r attrib.StepStage) string { return ms(r.MaxUS.Micros()) }, nil, nil},
		{sheetColumn{head: "busy ms", key: "mean_busy_us", forms: inText | inMarkdown | inHTML, numeric: true}, func(r attrib.StepStage) string { return ms(r.BusyUS) }, nil, nil},
		{sheetColumn{head: "idle", key: "idle_pct", forms: inText | inMarkdown | inHTML, numeric: true}, func(r attrib.StepStage) string { return pct(r.IdlePct) }, nil, nil},
		{sheetColumn{head: "launches", key: "mean_launches", forms: inText | inMarkdown | inHTML, numeric: true}, func(r attrib.StepStage) string { return fmt.Sprintf("%.1f", r.Launches) }, nil, nil},
	})
}

func (v profileView) steps(t *profile.Tables) sheet {
	type row = *attrib.StepRow
	s := sheet{table: TableSteps, title: "Steps", most: v.most(mostSteps)}
	rows := make([]row, len(t.Steps))
	for i := range t.Steps {
		rows[i] = &t.Steps[i]
	}
	ms := func(n attrib.Nanos) string { return fmt.Sprintf("%.3f", float64(n)/1e6) }
	if0 := func(n int) string {
		if n == 0 {
			return ""
		}
		return whole64(n)
	}
	return fillSheet(s, rows, []col[row]{
		{sheetColumn{head: "stage", key: "stage", forms: inAll}, func(r row) string { return string(r.Stage) }, nil, nil},
		{sheetColumn{head: "span ms", key: "span_us", forms: inAll, numeric: true}, func(r row) string { return ms(r.SpanUS) }, nil, func(r row) string { return micros(r.SpanUS) }},
		{sheetColumn{head: "busy ms", key: "busy_us", forms: inAll, numeric: true}, func(r row) string { return ms(r.BusyUS) }, nil, func(r row) string { return micros(r.BusyUS) }},
		{sheetColumn{head: "idle", key: "idle_us", forms: inAll, numeric: true, drop: 2}, func(r row) string { return share0(r.IdleUS, r.SpanUS) }, nil, func(r row) string { return micros(r.IdleUS) }},
		{sheetColumn{head: "period ms", key: "period_us", forms: inAll, numeric: true, drop: 3}, func(r row) string {
			if r.PeriodUS == nil {
				return ""
			}
			return ms(*r.PeriodUS)
		}, nil, func(r row) string {
			if r.PeriodUS == nil {
				return ""
			}
			return micros(*r.PeriodUS)
		}},
		{sheetColumn{head: "launches", key: "launches", forms: inAll, numeric: true, drop: 1}, func(r row) string { return whole64(r.Launches) }, nil, nil},
		{sheetColumn{head: "prefill reqs", key: "context_requests", forms: inMarkdown | inCSV | inHTML, numeric: true}, func(r row) string { return if0(r.ContextRequests) }, nil, nil},
		{sheetColumn{head: "prefill tokens", key: "context_tokens", forms: inMarkdown | inCSV | inHTML, numeric: true}, func(r row) string { return if0(r.ContextTokens) }, nil, nil},
		{sheetColumn{head: "decode reqs", key: "generation_requests", forms: inMarkdown | inCSV | inHTML, numeric: true}, func(r row) string { return if0(r.GenerationRequests) }, nil, nil},
		{sheetColumn{head: "decode tokens", key: "generation_tokens", forms: inMarkdown | inCSV | inHTML, numeric: true}, func(r row) string { return if0(r.GenerationTokens) }, nil, nil},
		{sheetColumn{head: "mark", key: "label", forms: inAll, code: true}, func(r row) string { return r.Label }, nil, nil},
	})
}

func (v profileView) ranks() sheet {
	s := sheet{table: TableRanks, title: "Ranks", after: []string{v.d.Ranks.Note}}
	ms := func(n attrib.Nanos) string { return fmt.Sprintf("%.2f", float64(n)/1e6) }
	type row = attrib.RankRow
	for _, r := range v.d.Ranks.Ranks {
		s.keys = append(s.keys, map[bool]string{true: "straggler"}[r.Straggler])
	}
	return fillSheet(s, v.d.Ranks.Ranks, []col[row]{
		{sheetColumn{head: "rank", key: "rank", forms: inAll}, func(r row) string { return r.Rank }, nil, nil},
		{sheetColumn{head: "busy ms", key: "busy_us", forms: inAll, numeric: true}, func(r row) string { return ms(r.BusyUS) }, nil, func(r row) string { return micros(r.BusyUS) }},
		{sheetColumn{head: "idle ms", key: "idle_us", forms: inAll, numeric: true}, func(r row) string { return ms(r.IdleUS) }, nil, func(r row) string { return micros(r.IdleUS) }},
		{sheetColumn{head: "comm ms", key: "communication_us", forms: inAll, numeric: true}, func(r row) string { return ms(r.CommUS) }, nil, func(r row) string { return micros(r.CommUS) }},
		{sheetColumn{head: "uncovered", key: "exposed_communication_us", forms: inAll, numeric: true, drop: 3}, func(r row) string { return ms(r.CommOpen) }, nil, func(r row) string { return micros(r.CommOpen) }},
		{sheetColumn{head: "waited ms", key: "collective_wait_us", forms: inAll, numeric: true}, func(r row) string { return ms(r.WaitUS) }, nil, func(r row) string { return micros(r.WaitUS) }},
		{sheetColumn{head: "came last", key: "last_to_arrive", forms: inAll, numeric: true, drop: 1}, func(r row) string { return fmt.Sprintf("%d of %d", r.LastCount, r.Collectives) }, nil, func(r row) string { return whole64(r.LastCount) }},
		{sheetColumn{head: "launches", key: "launches", forms: inAll, numeric: true, drop: 4}, func(r row) string { return whole64(r.Kernels) }, nil, nil},
		{sheetColumn{head: "verdict", key: "straggler", forms: inAll}, func(r row) string {
			if r.Straggler {
				return "straggler"
			}
			return ""
		}, nil, func(r row) string { return strconv.FormatBool(r.Straggler) }},
		{sheetColumn{head: "GPU process", key: "device", forms: inMarkdown | inCSV | inHTML}, func(r row) string { return r.Device }, nil, nil},
		{sheetColumn{head: "trace", key: "source", forms: inMarkdown | inCSV | inHTML, code: true, path: true}, func(r row) string { return r.Source }, nil, nil},
	})
}

func (v profileView) collectives() sheet {
	s := sheet{table: TableCollectives, title: "Collectives over the ranks", most: v.most(mostCollectives), empty: "No collective is in the traces of all ranks."}
	type row = attrib.CollectiveRow
	return fillSheet(s, v.d.Ranks.Collectives, []col[row]{
		{sheetColumn{head: "waited ms", key: "wait_us", forms: inAll, numeric: true}, func(r row) string { return fmt.Sprintf("%.2f", float64(r.WaitUS)/1e6) }, nil, func(r row) string { return micros(r.WaitUS) }},
		{sheetColumn{head: "calls", key: "calls", forms: inAll, numeric: true}, func(r row) string { return whole64(r.Calls) }, nil, nil},
		{sheetColumn{head: "mean us", key: "mean_us", forms: inAll, numeric: true}, func(r row) string { return fmt.Sprintf("%.1f", r.MeanUS) }, nil, func(r row) string { return tidy(r.MeanUS) }},
		{sheetColumn{head: "shortest us", key: "mean_shortest_us", forms: inAll, numeric: true, drop: 1}, func(r row) string { return fmt.Sprintf("%.1f", r.MinUS) }, nil, func(r row) string { return tidy(r.MinUS) }},
		{sheetColumn{head: "came last", key: "last_to_arrive", forms: inAll, drop: 2}, func(r row) string { return fmt.Sprintf("%s, %d times", r.Slowest, r.SlowHits) }, nil, nil},
		{sheetColumn{head: "kernel", key: "kernel", forms: inAll, code: true}, func(r row) string { return r.Kernel }, nil, nil},
	})
}
