package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"

	"llmdyno/internal/profile"
)

// ProfileDiffText writes a diff of two profiles for a terminal of the given width;
// the first line is the sentence that sums it up.
func ProfileDiffText(w io.Writer, d *profile.Diff, width int, colour bool) error {
	if width <= 0 {
		width = defaultWidth
	}
	p := &profileText{terminal: &terminal{width: max(width, minWidth), colour: colour}}
	p.para(bold, "", "", d.Summary)
	p.line("")
	for _, f := range diffFacts(d) {
		p.para("", f.Name+": ", "  ", f.Value)
	}
	for _, text := range d.Warnings {
		p.para("", "! ", "  ", text)
	}
	for i := range d.Stages {
		s := &d.Stages[i]
		p.line("\n" + p.paint(bold, strings.ToUpper(string(s.Stage))+": "+stageDiffLead(s)))
		p.sheets(diffSheets(s, mostDiffKernels))
	}
	if _, err := io.WriteString(w, strings.TrimRight(p.String(), "\n")+"\n"); err != nil {
		return fmt.Errorf("writing the diff: %w", err)
	}
	return nil
}

// ProfileDiffMarkdown writes a diff of two profiles. Equal diffs give equal text.
func ProfileDiffMarkdown(w io.Writer, d *profile.Diff) error {
	m := &profileMarkdown{}
	m.line("# Difference of two profiles\n\n%s\n", mdText(d.Summary))
	for _, f := range diffFacts(d) {
		m.line("- %s: %s", f.Name, mdText(f.Value))
	}
	m.line("")
	if len(d.Warnings) > 0 {
		m.line("## Notes\n")
		for _, text := range d.Warnings {
			m.line("- %s", mdText(text))
		}
		m.line("")
	}
	for i := range d.Stages {
		s := &d.Stages[i]
		m.line("## Stage %s\n\n%s.\n", s.Stage, mdText(stageDiffLead(s)))
		m.sheets("###", diffSheets(s, 0))
	}
	if _, err := io.WriteString(w, strings.TrimRight(m.String(), "\n")+"\n"); err != nil {
		return fmt.Errorf("writing Markdown: %w", err)
	}
	return nil
}

// diffCSVHead are the columns of the CSV form.
var diffCSVHead = []string{"stage", "basis", "row", "kind", "what", "a_us", "b_us", "delta_us", "share_pct", "a_launches", "b_launches", "a_names", "b_names", "a_locations", "b_locations"}

// ProfileDiffCSV writes the rows of a diff: for each stage its time and what makes it
// up (row = total, contribution), and the matched kernels (row = kernel). Times
// are microseconds of one unit of the basis.
func ProfileDiffCSV(w io.Writer, d *profile.Diff) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	write := func(cells ...string) {
		for i := range cells {
			cells[i] = harmless(printable(cells[i]))
		}
		_ = out.Write(cells) // the writer keeps its first error
	}
	write(diffCSVHead...)
	for i := range d.Stages {
		s := &d.Stages[i]
		row := func(cells ...string) { write(append([]string{string(s.Stage), string(s.Basis)}, cells...)...) }
		row("total", "", "time", micros(s.A.Time), micros(s.B.Time), micros(s.Delta), optional(shareOfDelta(s)), tidy(s.A.Launches), tidy(s.B.Launches), "", "", "", "")
		for _, c := range s.Contributions {
			row("contribution", c.Kind, c.What, micros(c.A), micros(c.B), micros(c.Delta), optional(c.Share), tidy(c.ALaunch), tidy(c.BLaunch), "", "", c.Location, c.Location)
		}
		for _, k := range s.Kernels {
			a, b := sideCells(k.A), sideCells(k.B)
			row("kernel", string(k.Match), string(k.Class), a[0], b[0], micros(k.Delta), optional(k.Share), a[1], b[1], a[2], b[2], a[3], b[3])
		}
		for _, f := range s.Fusions {
			a, b := fusionCells(f.A), fusionCells(f.B)
			row("fusion", "only "+otherSide(f.Lacks), f.What, a[0], b[0], "", "", a[1], b[1], a[2], b[2], a[3], b[3])
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	return nil
}

// shareOfDelta is the whole of a difference, where there is one.
func shareOfDelta(s *profile.StageDiff) *float64 {
	if s.Delta == 0 {
		return nil
	}
	all := 100.0
	return &all
}

func optional(x *float64) string {
	if x == nil {
		return ""
	}
	return tidy(*x)
}

func sideCells(k *profile.KernelSide) [4]string {
	if k == nil {
		return [4]string{}
	}
	return [4]string{micros(k.Total), tidy(k.Launches), strings.Join(k.Names, "\n"), strings.Join(k.Locations, "\n")}
}

func fusionCells(f *profile.FusionSide) [4]string {
	if f == nil {
		return [4]string{}
	}
	return [4]string{micros(f.Related), tidy(f.Occurrences), strings.Join(f.Patterns, "\n"), strings.Join(f.Locations, "\n")}
}

func otherSide(side string) string {
	if side == "a" {
		return "b"
	}
	return "a"
}
