package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"

	"llmdyno/internal/profile"
	"llmdyno/internal/profile/attrib"
)

// ProfileMarkdown writes a triage for a repository or a ticket. Equal documents
// give equal text; names stand in code spans.
func ProfileMarkdown(w io.Writer, d *profile.Document, o ProfileOptions) error {
	m := &profileMarkdown{v: profileView{d}, o: o}
	m.report()
	if _, err := io.WriteString(w, strings.TrimRight(m.String(), "\n")+"\n"); err != nil {
		return fmt.Errorf("writing Markdown: %w", err)
	}
	return nil
}

type profileMarkdown struct {
	strings.Builder
	v profileView
	o ProfileOptions
}

func (m *profileMarkdown) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

func (m *profileMarkdown) report() {
	d := m.v.d
	m.line("# Profile triage\n\n%s\n", mdText(d.Summary))
	for _, f := range profileFacts(d) {
		m.line("- %s: %s", f.Name, mdText(f.Value))
	}
	m.line("")
	if len(d.Warnings) > 0 {
		m.line("## Notes\n")
		for _, w := range d.Warnings {
			m.line("- %s", mdText(w))
		}
		m.line("")
	}
	if across := m.v.across(m.o.tables()); len(across) > 0 {
		m.line("## Across the ranks\n")
		m.sheets("###", across)
	}
	for _, t := range m.v.parts() {
		m.part(t)
	}
	if len(d.LeftOut) > 0 {
		m.line("## Left out\n")
		for _, l := range d.LeftOut {
			m.line("- %s: %s", mdCode(l.Path), mdText(l.Reason))
		}
	}
}

func (m *profileMarkdown) part(t *profile.Tables) {
	of := ""
	if len(m.v.d.Others) > 0 {
		of = " of " + partName(t)
	}
	for _, stage := range stagesOf(t) {
		if m.o.Stage != "" && stage != m.o.Stage {
			continue
		}
		row := t.Stages[stage]
		m.line("## Stage %s%s\n", stage, mdText(of))
		m.line("%s ms, %s of the GPU time, %s: %s.\n", millisOf(row.Total, row.Total), pct(row.Share), countLaunches(row.Launches), mdText(classesLine(t, stage)))
		m.sheets("###", m.v.ofStage(t, stage, m.o.tables()))
	}
	if whole := m.v.whole(t, m.o.tables()); len(whole) > 0 {
		m.line("## Steps%s\n", mdText(of))
		m.sheets("###", whole)
	}
	m.similar(t, of)
}

func (m *profileMarkdown) sheets(level string, list []sheet) {
	for _, s := range list {
		s = s.in(inMarkdown).cut()
		title := s.title
		if s.stage != "" {
			title += ": " + string(s.stage)
		}
		m.line("%s %s\n", level, title)
		if s.lead != "" {
			m.line("%s.\n", mdText(s.lead))
		}
		if len(s.rows) == 0 {
			m.line("%s\n", mdText(s.empty))
		} else {
			m.table(s)
		}
		for _, a := range s.after {
			m.line("%s.\n", mdText(a))
		}
	}
}

func (m *profileMarkdown) table(s sheet) {
	head, rule := make([]string, len(s.columns)), make([]string, len(s.columns))
	for i, c := range s.columns {
		if head[i], rule[i] = c.head, " --- "; c.numeric {
			rule[i] = " ---: "
		}
	}
	m.line("| %s |\n|%s|", strings.Join(head, " | "), strings.Join(rule, "|"))
	for _, row := range s.rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = m.cell(s.columns[i], cell.full)
		}
		m.line("| %s |", strings.Join(cells, " | "))
	}
	m.line("")
}

func (m *profileMarkdown) cell(c sheetColumn, text string) string {
	if text == "" {
		return missing
	}
	if !c.code {
		return mdText(text)
	}
	var parts []string
	for part := range strings.SplitSeq(text, "\n") {
		code := mdCode(part)
		if to := m.o.link(part); c.path && to != "" {
			code = "[" + code + "](" + mdURL.Replace(to) + ")"
		}
		parts = append(parts, code)
	}
	return strings.Join(parts, "<br>")
}

// mdURL keeps an address from ending its brackets, or its cell.
var mdURL = strings.NewReplacer(" ", "%20", "(", "%28", ")", "%29", "|", "%7C", "<", "%3C", ">", "%3E", "\\", "%5C", "`", "%60")

// ProfileCSV writes one table of a triage, all its rows, with the figures as they
// are: times in microseconds, shares in percent.
func ProfileCSV(w io.Writer, d *profile.Document, table string, stage attrib.Stage) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	headed := false
	for _, s := range (profileView{d}).csvSheets(table, stage) {
		in := s.sheet.in(inCSV)
		lead := []string{"rank", "gpu_pid", "stage"}
		if !headed {
			for _, c := range in.columns {
				if c.key != "stage" {
					lead = append(lead, c.key)
				}
			}
			if err := out.Write(lead); err != nil {
				return fmt.Errorf("writing CSV: %w", err)
			}
			headed = true
		}
		for _, row := range in.rows {
			cells := []string{s.rank, s.pid, string(in.stage)}
			for i, c := range in.columns {
				if c.key == "stage" {
					cells[2] = row[i].exact
					continue
				}
				cells = append(cells, row[i].exact)
			}
			for i := range cells {
				cells[i] = harmless(printable(cells[i]))
			}
			if err := out.Write(cells); err != nil {
				return fmt.Errorf("writing CSV: %w", err)
			}
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	return nil
}

// csvSheet is a sheet with the GPU that it is of.
type csvSheet struct {
	sheet
	rank, pid string
}

// csvSheets are the sheets of one table, over all GPUs and stages. Without rows
// there is one that has the columns.
func (v profileView) csvSheets(table string, stage attrib.Stage) []csvSheet {
	var out []csvSheet
	for _, s := range v.across([]string{table}) {
		out = append(out, csvSheet{sheet: s})
	}
	for _, t := range v.parts() {
		if table == TableSteps {
			out = append(out, csvSheet{v.steps(t), t.Rank, t.GPUPID})
			continue
		}
		for _, of := range stagesOf(t) {
			if stage != "" && of != stage {
				continue
			}
			for _, s := range v.ofStage(t, of, []string{table}) {
				out = append(out, csvSheet{s, t.Rank, t.GPUPID})
			}
		}
	}
	if len(out) == 0 {
		for _, s := range v.ofStage(&profile.Tables{}, attrib.All, []string{table}) {
			out = append(out, csvSheet{sheet: s})
		}
	}
	return out
}

// link is the address of a place in the source ("path:line function"); "" without
// an address to build on.
func (o ProfileOptions) link(place string) string {
	path, line, ok := sourcePlace(place)
	if o.SourceURL == "" || !ok {
		return ""
	}
	if strings.Contains(o.SourceURL, "{path}") {
		return strings.NewReplacer("{path}", path, "{line}", line).Replace(o.SourceURL)
	}
	return strings.TrimSuffix(o.SourceURL, "/") + "/" + path + "#L" + line
}

// sourcePlace takes a location apart.
func sourcePlace(place string) (path, line string, ok bool) {
	at, _, found := strings.Cut(place, " ")
	i := strings.LastIndexByte(at, ':')
	if !found || i <= 0 || i == len(at)-1 || strings.Trim(at[i+1:], "0123456789") != "" {
		return "", "", false
	}
	return at[:i], at[i+1:], true
}
