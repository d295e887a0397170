package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"text/tabwriter"

	"llmdyno/internal/incident/signal"
)

// IncidentText writes a summary for a terminal.
func IncidentText(w io.Writer, s *signal.Summary) error { return incidentDocOf(s).text(w) }

// IncidentMarkdown writes a summary for a ticket.
func IncidentMarkdown(w io.Writer, s *signal.Summary) error { return incidentDocOf(s).markdown(w) }

// IncidentHTML writes a summary as one page that loads nothing.
func IncidentHTML(w io.Writer, s *signal.Summary) error { return incidentDocOf(s).html(w) }

// IncidentDiffText writes a comparison for a terminal.
func IncidentDiffText(w io.Writer, d *signal.Diff) error { return incidentDiffDoc(d).text(w) }

// IncidentDiffMarkdown writes a comparison for a ticket.
func IncidentDiffMarkdown(w io.Writer, d *signal.Diff) error { return incidentDiffDoc(d).markdown(w) }

// IncidentRulesText writes a table of rules for a terminal.
func IncidentRulesText(w io.Writer, rules []*signal.Rule) error {
	d := incidentRulesDoc(rules)
	for i, row := range d.Sections[0].Rows {
		d.Sections[0].Rows[i] = row[:4]
	}
	d.Sections[0].Head = d.Sections[0].Head[:4]
	return d.text(w)
}

// IncidentRulesMarkdown writes the whole table of rules.
func IncidentRulesMarkdown(w io.Writer, rules []*signal.Rule) error {
	return incidentRulesDoc(rules).markdown(w)
}

func (d incidentDoc) text(w io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if d.Title != "" {
		line("%s: %s", d.Title, clean(d.Sub))
	}
	for _, p := range d.Answer {
		for i, l := range p.Lines {
			name := ""
			if i == 0 {
				name = p.Name + ":"
			}
			line("  %-18s %s", name, oneLine(clean(l)))
		}
	}
	for _, s := range d.Sections {
		if s.Title != "" {
			line("\n%s", clean(s.Title))
		}
		if s.Note != "" {
			line("  %s", clean(s.Note))
		}
		for _, it := range s.Items {
			line("  %s  %s (%s)", it.ID, clean(it.Title), clean(it.Meta))
			for _, e := range it.Evidence {
				line("    - %s", oneLine(clean(e)))
			}
			line("    next: %s", oneLine(clean(it.Next)))
		}
		if len(s.Rows) > 0 {
			t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
			for _, row := range append([][]string{s.Head}, s.Rows...) {
				cells := make([]string, len(row))
				for i, c := range row {
					cells[i] = oneLine(clean(c))
				}
				fmt.Fprintln(t, "  "+strings.Join(cells, "\t"))
			}
			t.Flush()
		}
		for _, l := range s.Lines {
			line("  %s", oneLine(clean(l)))
		}
	}
	_, err := io.WriteString(w, trimLines(b.String()))
	return err
}

// trimLines takes the blanks from the ends of lines, which columns leave.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.TrimLeft(strings.Join(lines, "\n"), "\n")
}

func (d incidentDoc) markdown(w io.Writer) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if d.Title != "" {
		line("# %s\n\n%s\n", d.Title, mdText(d.Sub))
	}
	for _, p := range d.Answer {
		var lines []string
		for _, l := range p.Lines {
			lines = append(lines, mdText(l))
		}
		line("- **%s**: %s", p.Name, strings.Join(lines, "; "))
	}
	for _, s := range d.Sections {
		if s.Title != "" {
			line("\n## %s\n", mdText(s.Title))
		}
		if s.Note != "" {
			line("%s\n", mdText(s.Note))
		}
		for _, it := range s.Items {
			line("- **%s** %s (%s)", it.ID, mdText(it.Title), mdText(it.Meta))
			for _, e := range it.Evidence {
				line("  - %s", mdText(e))
			}
			line("  - next: %s", mdText(it.Next))
		}
		if len(s.Rows) > 0 {
			mdRow(line, s.Head, mdText)
			line("|%s", strings.Repeat(" --- |", len(s.Head)))
			for _, row := range s.Rows {
				mdRow(line, row, mdText)
			}
		}
		for i, l := range s.Lines {
			if i == 0 && len(s.Rows) > 0 {
				line("")
			}
			line("- %s", mdText(l))
		}
	}
	_, err := io.WriteString(w, strings.TrimLeft(b.String(), "\n"))
	return err
}

func mdRow(line func(string, ...any), cells []string, text func(string) string) {
	out := make([]string, len(cells))
	for i, c := range cells {
		out[i] = text(c)
	}
	line("| %s |", strings.Join(out, " | "))
}

//go:embed incident.html
var incidentPage string

var incidentTemplate = template.Must(template.New("incident").Parse(incidentPage))

func (d incidentDoc) html(w io.Writer) error {
	if err := incidentTemplate.Execute(w, d); err != nil {
		return fmt.Errorf("writing HTML: %w", err)
	}
	return nil
}
