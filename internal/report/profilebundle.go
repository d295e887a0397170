package report

import (
	"fmt"
	"io"
	"strings"

	"llmdyno/internal/profile"
	"llmdyno/internal/profile/attrib"
)

const bundleTitle = "Profiles by model and framework"

// bundleTables are the tables of each analysis in a bundle.
var bundleTables = []string{TableKernels, TableOverlap, TableFuse}

// bundleLead counts what a bundle holds.
func bundleLead(b *profile.Bundle) string {
	n := 0
	for _, m := range b.Models {
		n += len(m.Parts)
	}
	return fmt.Sprintf("%d %s of %d %s.", n, map[bool]string{true: "analysis", false: "analyses"}[n == 1], len(b.Models), plural(len(b.Models), "model"))
}

// ProfileBundleMarkdown writes all analyses of a bundle as one text. Equal trees give
// equal text: nothing in it is of the time or the place of writing. Links lead to
// anchors that stand in the text, so that they hold in every reader.
func ProfileBundleMarkdown(w io.Writer, b *profile.Bundle) error {
	m := &profileMarkdown{}
	m.line("# %s\n\n%s\n", bundleTitle, bundleLead(b))
	for _, model := range b.Models {
		m.line("- [%s](#%s)", mdText(model.Name), model.Anchor)
		for _, p := range model.Parts {
			m.line("  - [%s](#%s): %s", mdText(p.Framework), p.Anchor, mdCode(p.Source))
		}
	}
	m.line("")
	skippedMarkdown(m, b)
	for _, model := range b.Models {
		m.line("<a id=\"%s\"></a>\n\n## %s\n", model.Anchor, mdText(model.Name))
		for _, p := range model.Parts {
			m.line("<a id=\"%s\"></a>\n\n### %s\n\nSource: %s\n", p.Anchor, mdText(p.Framework), mdCode(p.Source))
			m.bundlePart(p)
		}
	}
	if _, err := io.WriteString(w, strings.TrimRight(m.String(), "\n")+"\n"); err != nil {
		return fmt.Errorf("writing Markdown: %w", err)
	}
	return nil
}

func skippedMarkdown(m *profileMarkdown, b *profile.Bundle) {
	if len(b.Skipped) == 0 {
		return
	}
	m.line("Not read:\n")
	for _, s := range b.Skipped {
		m.line("- %s: %s", mdCode(s.Path), mdText(s.Reason))
	}
	m.line("")
}

func (m *profileMarkdown) bundlePart(p profile.BundlePart) {
	if p.Document == nil {
		m.bundleText(p.Text)
		return
	}
	m.v = profileView{p.Document}
	m.line("%s\n", mdText(p.Document.Summary))
	for _, w := range p.Document.Warnings {
		m.line("- %s", mdText(w))
	}
	m.line("")
	for _, t := range m.v.parts() {
		if len(p.Document.Others) > 0 {
			m.line("#### %s\n", mdText(partName(t)))
		}
		for _, stage := range stagesOf(t) {
			m.line("#### Stage %s: %s\n", stage, bundleStage(t, stage))
			m.sheets("#####", m.v.ofStage(t, stage, bundleTables))
		}
	}
}

func bundleStage(t *profile.Tables, stage attrib.Stage) string {
	row := t.Stages[stage]
	return fmt.Sprintf("%s ms, %s of the GPU time", millisOf(row.Total, row.Total), pct(row.Share))
}

// bundleText shows the text of the original tool.
func (m *profileMarkdown) bundleText(blocks []profile.TextBlock) {
	for _, b := range blocks {
		switch {
		case b.Heading != "":
			m.line("#### %s\n", mdText(b.Heading))
		case b.Table != nil:
			m.table(textSheet(b.Table).in(inMarkdown))
		default:
			m.line("%s\n", mdText(b.Line))
		}
	}
}

// textSheet is a table of the original tool. Kernels and places in it are code.
func textSheet(table [][]string) sheet {
	s := sheet{}
	for _, head := range table[0] {
		lower := strings.ToLower(head)
		code := strings.Contains(lower, "kernel") || strings.Contains(lower, "location") || strings.Contains(lower, "op") && len(lower) <= 6 || strings.Contains(lower, "scope") || strings.Contains(lower, "evidence")
		s.columns = append(s.columns, sheetColumn{head: mdText(head), forms: inAll, code: code})
	}
	for _, row := range table[1:] {
		cells := make([]sheetCell, len(s.columns))
		for i := range cells {
			if i < len(row) {
				cells[i] = sheetCell{show: row[i], full: row[i], exact: row[i]}
			}
		}
		s.rows = append(s.rows, cells)
	}
	return s
}

// ProfileBundleHTML writes all analyses of a bundle as one page.
func ProfileBundleHTML(w io.Writer, b *profile.Bundle) error {
	p := plainPage{Title: bundleTitle, Lead: bundleLead(b)}
	for _, s := range b.Skipped {
		p.Warnings = append(p.Warnings, "not read: "+s.Path+": "+s.Reason)
	}
	for _, model := range b.Models {
		p.Sections = append(p.Sections, plainSection{Title: model.Name, Anchor: model.Anchor, Level: 2})
		for _, part := range model.Parts {
			p.Sections = append(p.Sections, plainSection{Title: model.Name + ": " + part.Framework, Anchor: part.Anchor, Level: 3, Lines: []string{"Source: " + part.Source}})
			p.Sections = append(p.Sections, partSections(part)...)
		}
	}
	return p.write(w)
}

func partSections(p profile.BundlePart) []plainSection {
	if p.Document == nil {
		return textSections(p.Text)
	}
	v := profileView{p.Document}
	out := []plainSection{{Title: "Summary", Level: 4, Lines: append([]string{p.Document.Summary}, p.Document.Warnings...)}}
	for _, t := range v.parts() {
		for _, stage := range stagesOf(t) {
			title := fmt.Sprintf("Stage %s: %s", stage, bundleStage(t, stage))
			if len(p.Document.Others) > 0 {
				title = partName(t) + ", " + title
			}
			out = append(out, plainSection{Title: title, Level: 4, Tables: plainTables(v.ofStage(t, stage, bundleTables))})
		}
	}
	return out
}

func textSections(blocks []profile.TextBlock) []plainSection {
	out := []plainSection{{Title: "Analysis", Level: 4}}
	for _, b := range blocks {
		last := &out[len(out)-1]
		switch {
		case b.Heading != "":
			out = append(out, plainSection{Title: b.Heading, Level: 4})
		case b.Table != nil:
			s := textSheet(b.Table)
			for i := range s.columns {
				s.columns[i].head = b.Table[0][i]
			}
			last.Tables = append(last.Tables, plainTables([]sheet{s})...)
		default:
			last.Lines = append(last.Lines, b.Line)
		}
	}
	return out
}
