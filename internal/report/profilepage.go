package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"

	"llmdyno/internal/profile"
)

//go:embed profilepage.html
var profilePageSource string

var profilePageTemplate = template.Must(template.New("profilepage").Parse(profilePageSource))

// plainPage is a page of headings, lines and tables that needs nothing but itself.
type plainPage struct {
	Title, Lead string
	Facts       []Fact
	Warnings    []string
	Sections    []plainSection
}

type plainSection struct {
	Title, Anchor string
	Level         int // 2 to 4
	Lines         []string
	Bars          []plainBar
	Tables        []plainTable
}

type plainTable struct {
	Title, Lead, Empty string
	Heads              []headData
	Rows               [][]plainCell
	After              []string
}

type plainCell struct {
	Parts         []string // lines of the cell
	Numeric, Code bool
}

// plainBar is one contribution, drawn to the left of the middle when B is faster.
type plainBar struct {
	Label, Value string
	X, Width     float64 // percent of the room
	Slower       bool
}

func plainTables(list []sheet) []plainTable {
	var out []plainTable
	for _, s := range list {
		s = s.in(inHTML)
		t := plainTable{Title: s.title, Lead: s.lead, Empty: s.empty, After: s.after}
		if s.stage != "" {
			t.Title += ": " + string(s.stage)
		}
		for _, c := range s.columns {
			t.Heads = append(t.Heads, headData{Text: c.head, Numeric: c.numeric})
		}
		for _, row := range s.rows {
			cells := make([]plainCell, len(row))
			for i, c := range row {
				cells[i] = plainCell{Numeric: s.columns[i].numeric, Code: s.columns[i].code}
				for part := range strings.SplitSeq(c.full, "\n") {
					cells[i].Parts = append(cells[i].Parts, clean(part))
				}
			}
			t.Rows = append(t.Rows, cells)
		}
		out = append(out, t)
	}
	return out
}

func (p plainPage) write(w io.Writer) error {
	if err := profilePageTemplate.Execute(w, p); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// ProfileDiffHTML writes a diff of two profiles as one page.
func ProfileDiffHTML(w io.Writer, d *profile.Diff) error {
	p := plainPage{Title: "Difference of two profiles", Lead: d.Summary, Facts: diffFacts(d), Warnings: d.Warnings}
	for i := range d.Stages {
		s := &d.Stages[i]
		p.Sections = append(p.Sections, plainSection{
			Title: "Stage " + string(s.Stage), Anchor: string(s.Stage), Level: 2, Lines: []string{stageDiffLead(s)}, Bars: diffBars(s), Tables: plainTables(diffSheets(s, 0)),
		})
	}
	return p.write(w)
}

// mostBars are the contributions that are drawn.
const mostBars = 12

// diffBars draws what makes up the difference of a stage.
func diffBars(s *profile.StageDiff) []plainBar {
	var out []plainBar
	largest := 0.0
	for _, c := range s.Contributions {
		largest = math.Max(largest, math.Abs(float64(c.Delta)))
	}
	for _, c := range s.Contributions {
		if c.Delta == 0 || len(out) == mostBars {
			break // by size
		}
		width := math.Max(50*math.Abs(float64(c.Delta))/largest, 0.2)
		b := plainBar{Label: contributionWords(c), Value: signed1(c.Delta) + " us", X: 50, Width: width, Slower: c.Delta > 0}
		if !b.Slower {
			b.X = 50 - width
		}
		out = append(out, b)
	}
	return out
}
