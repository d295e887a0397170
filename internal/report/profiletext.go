package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"

	"llmdyno/internal/profile"
	"llmdyno/internal/profile/attrib"
)

// ProfileOptions say how a triage is shown.
type ProfileOptions struct {
	Tables []string // of [ProfileTables]; nil = [ProfileDefaults]
	Stage  attrib.Stage
	// RawNames puts the names as they stand in the trace below the kernels.
	RawNames bool
	// SourceURL makes links of places in the source: {path} and {line} in it are
	// filled in; without them path and #Lline follow it. HTML and Markdown only.
	SourceURL string
	Similar   bool // after the tables, what only resembles a known fusion
	Width     int  // columns of a terminal; 0 = 80
	Colour    bool
}

func (o ProfileOptions) tables() []string {
	if len(o.Tables) == 0 {
		return ProfileDefaults()
	}
	return o.Tables
}

// ProfileText writes a triage for a terminal: what dominates in the first line,
// then stage by stage. Names are short ones, and what does not fit stands in a
// line below its row.
func ProfileText(w io.Writer, d *profile.Document, o ProfileOptions) error {
	if o.Width <= 0 {
		o.Width = defaultWidth
	}
	p := &profileText{terminal: &terminal{width: max(o.Width, minWidth), colour: o.Colour}, v: profileView{d}, o: o}
	p.report()
	if _, err := io.WriteString(w, strings.TrimRight(p.String(), "\n")+"\n"); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

type profileText struct {
	*terminal
	v profileView
	o ProfileOptions
}

func (p *profileText) report() {
	d := p.v.d
	p.para(bold, "", "", d.Summary)
	p.line("")
	for _, f := range profileFacts(d) {
		p.para("", f.Name+": ", "  ", f.Value)
	}
	for _, w := range d.Warnings {
		p.para("", "! ", "  ", w)
	}
	p.sheets(p.v.across(p.o.tables()))
	for _, t := range p.v.parts() {
		p.part(t)
	}
	if len(d.LeftOut) > 0 {
		p.title("Left out")
		for _, l := range d.LeftOut {
			p.para("", "  ", "    ", l.Path+": "+l.Reason)
		}
	}
}

// part shows one GPU.
func (p *profileText) part(t *profile.Tables) {
	if len(p.v.d.Others) > 0 {
		p.line("\n" + p.paint(bold, strings.ToUpper(partName(t))))
	}
	for _, stage := range stagesOf(t) {
		if p.o.Stage != "" && stage != p.o.Stage {
			continue
		}
		row := t.Stages[stage]
		p.line("\n" + p.paint(bold, fmt.Sprintf("%s: %s ms, %s of the GPU time, %s", strings.ToUpper(string(stage)), millisOf(row.Total, row.Total), pct(row.Share), countLaunches(row.Launches))))
		p.para(faint, "", "  ", classesLine(t, stage))
		for _, s := range p.v.ofStage(t, stage, p.o.tables()) {
			p.sheet(s)
			if s.table == TableKernels && p.o.RawNames {
				p.rawNames(t, stage)
			}
		}
	}
	p.sheets(p.v.whole(t, p.o.tables()))
	p.similar(t)
}

// partName tells one GPU from the others.
func partName(t *profile.Tables) string {
	name := "GPU process " + t.GPUPID
	if t.Rank != "" {
		name = t.Rank + ", " + name
	}
	return name
}

// profileFacts are the lines on where the figures come from.
func profileFacts(d *profile.Document) []Fact {
	facts := []Fact{{"Framework", d.Framework}}
	if len(d.Evidence) > 0 {
		facts[0].Value += ": " + d.Evidence[0]
	}
	if d.Model != "" {
		facts = append(facts, Fact{"Model", d.Model})
	}
	if d.TP.Size > 0 {
		facts = append(facts, Fact{"Tensor-parallel size", fmt.Sprintf("%d (%s)", d.TP.Size, d.TP.Source)})
	}
	if d.GPUPID != "" {
		gpu := or(d.Device, "model unknown") + ", process " + d.GPUPID
		if d.Rank != "" {
			gpu += ", " + d.Rank
		}
		facts = append(facts, Fact{"GPU", gpu})
	}
	for _, in := range d.Inputs {
		name := "Trace"
		if in.Role != "" {
			name = strings.ToUpper(in.Role[:1]) + in.Role[1:] + " trace"
		}
		value := fmt.Sprintf("%s, %s events", in.Path, thousands(in.Events))
		if in.Partial != "" {
			value += ", not whole: " + in.Partial
		}
		facts = append(facts, Fact{name, value})
	}
	if m := d.Mapping; m != nil {
		facts = append(facts, Fact{"Mapping", fmt.Sprintf("%s: %d of %d kernels of graphs have a source, from %d captured launches", m.Method, m.Mapped, m.GraphKernels, m.CapturedLaunches)})
	}
	return facts
}

// thousands is a number with a comma after every three digits.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// classesLine sums a stage up by class.
func classesLine(t *profile.Tables, stage attrib.Stage) string {
	var parts []string
	rest := 0.0
	for _, c := range t.Classes[stage] {
		if c.Share >= 1 {
			parts = append(parts, fmt.Sprintf("%s %.1f %%", c.Category, c.Share))
		} else {
			rest += c.Share
		}
	}
	if rest >= 0.05 {
		parts = append(parts, fmt.Sprintf("rest %.1f %%", rest))
	}
	return strings.Join(parts, ", ")
}

func (p *profileText) sheets(list []sheet) {
	for _, s := range list {
		p.sheet(s)
	}
}

func (p *profileText) sheet(s sheet) {
	s = s.in(inText).cut()
	p.line("\n" + p.paint(bold, s.title))
	if s.lead != "" {
		p.para(faint, "", "", s.lead)
	}
	if len(s.rows) == 0 {
		p.para("", "", "", s.empty)
	} else {
		p.rows(s)
	}
	for _, a := range s.after {
		p.para(faint, "", "", a)
	}
}

// rawNames lists the names as they stand in the trace.
func (p *profileText) rawNames(t *profile.Tables, stage attrib.Stage) {
	p.line("\n" + p.paint(bold, "Names in the trace"))
	for _, k := range t.Kernels {
		if k.Stage != stage {
			continue
		}
		p.para("", "", "", k.Short)
		for _, raw := range k.RawNames {
			p.para(faint, "  ", "  ", raw)
		}
	}
}

// textTable lays a sheet out for a width.
type textTable struct {
	columns []sheetColumn
	rows    [][]string
	widths  []int
}

// rows shows the rows of a sheet: in one line each where that fits, else with the
// columns that may stand below in a second one, without those that may go, and
// with names cut in the middle.
func (p *profileText) rows(s sheet) {
	t := layOut(s, func(sheetColumn) bool { return true })
	if t.width() > p.width {
		t = layOut(s, func(c sheetColumn) bool { return !c.under })
		for t.width() > p.width {
			at := highestDrop(s.columns)
			if at < 0 {
				break
			}
			s = withoutColumn(s, at)
			t = layOut(s, func(c sheetColumn) bool { return !c.under })
		}
		t.squeeze(p.width)
	} else {
		s.columns = t.columns // nothing stands below
	}
	t.write(p, s)
}

func highestDrop(columns []sheetColumn) int {
	at := -1
	for i, c := range columns {
		if !c.under && c.drop > 0 && (at < 0 || c.drop > columns[at].drop) {
			at = i
		}
	}
	return at
}

func withoutColumn(s sheet, at int) sheet {
	out := s
	out.columns, out.rows = nil, make([][]sheetCell, len(s.rows))
	for i, c := range s.columns {
		if i != at {
			out.columns = append(out.columns, c)
			for r := range s.rows {
				out.rows[r] = append(out.rows[r], s.rows[r][i])
			}
		}
	}
	return out
}

func layOut(s sheet, inline func(sheetColumn) bool) *textTable {
	t := &textTable{rows: make([][]string, len(s.rows))}
	for i, c := range s.columns {
		if !inline(c) {
			continue
		}
		width := text.StringWidthWithoutEscSequences(c.head)
		for r := range s.rows {
			cell := oneLine(clean(s.rows[r][i].show))
			t.rows[r] = append(t.rows[r], cell)
			width = max(width, text.StringWidthWithoutEscSequences(cell))
		}
		t.columns, t.widths = append(t.columns, c), append(t.widths, width)
	}
	return t
}

func (t *textTable) width() int {
	sum := -gap
	for _, w := range t.widths {
		sum += w + gap
	}
	return sum
}

// squeeze cuts the widest texts until the table fits.
func (t *textTable) squeeze(width int) {
	const least = 12
	for over := t.width() - width; over > 0; over = t.width() - width {
		at := -1
		for i, c := range t.columns {
			if !c.numeric && t.widths[i] > least && (at < 0 || t.widths[i] > t.widths[at]) {
				at = i
			}
		}
		if at < 0 {
			return
		}
		t.widths[at] = max(least, t.widths[at]-over)
		for r := range t.rows {
			t.rows[r][at] = fitted(t.rows[r][at], t.widths[at], t.columns[at].path)
		}
	}
}

// fitted cuts a text in the middle, of a path the beginning.
func fitted(s string, width int, path bool) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	if path {
		return "…" + string(r[len(r)-width+1:])
	}
	head := (width - 1) * 2 / 3
	return string(r[:head]) + "…" + string(r[len(r)-(width-1-head):])
}

func (t *textTable) write(p *profileText, s sheet) {
	heads := make([]string, len(t.columns))
	total := 0
	for i, c := range t.columns {
		heads[i] = c.head
		total += t.widths[i] + gap
	}
	p.line(p.paint(faint, t.pad(heads)))
	p.line(p.paint(faint, strings.Repeat("─", min(total-gap, p.width))))
	indent := strings.Repeat(" ", t.widths[0]+gap)
	for r, cells := range t.rows {
		p.line(t.pad(cells))
		if len(s.columns) > len(t.columns) {
			p.below(indent, s, r)
		}
	}
}

func (t *textTable) pad(cells []string) string {
	var b strings.Builder
	for i, cell := range cells {
		fill := strings.Repeat(" ", max(t.widths[i]-text.StringWidthWithoutEscSequences(cell), 0))
		switch {
		case t.columns[i].numeric:
			b.WriteString(fill + cell)
		case i == len(cells)-1:
			b.WriteString(cell)
		default:
			b.WriteString(cell + fill)
		}
		if i < len(cells)-1 {
			b.WriteString(strings.Repeat(" ", gap))
		}
	}
	return b.String()
}

// below writes what stands under a row: side by side where that fits.
func (p *profileText) below(indent string, s sheet, row int) {
	room := p.width - len(indent)
	line := ""
	flush := func() {
		if line != "" {
			p.line(indent + p.paint(faint, line))
		}
		line = ""
	}
	for i, c := range s.columns {
		cell := oneLine(clean(s.rows[row][i].show))
		if !c.under || silent(cell) && s.table != TableKernels || cell == "" {
			continue
		}
		wide := text.StringWidthWithoutEscSequences(cell)
		if line != "" && text.StringWidthWithoutEscSequences(line)+3+wide > room {
			flush()
		}
		switch {
		case line != "":
			line += " · " + cell
		case wide <= room:
			line = cell
		case c.code:
			line = fitted(cell, room, c.path)
		default:
			for l := range strings.Lines(text.WrapSoft(cell, room)) {
				p.line(indent + p.paint(faint, strings.TrimSpace(l)))
			}
		}
	}
	flush()
}
