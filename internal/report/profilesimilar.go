package report

import (
	"fmt"
	"slices"
	"strings"

	"llmdyno/internal/profile"
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/fusion"
)

// similarNote is the word after the tables on what only resembles a known fusion.
const similarNote = "Not a finding: windows that resemble a known fusion of this or another engine, with how close they come and what is missing."

// similarLine is one note in words.
func similarLine(n *fusion.Note) string {
	return fmt.Sprintf("%s (%s): %d %s, %s of the stage; %s", n.Name, n.Pattern, n.Windows, plural(n.Windows, "window"), pct(n.Share), n.Reason)
}

// similarOf are the notes of one stage, the closest first.
func similarOf(t *profile.Tables, stage attrib.Stage) []*fusion.Note {
	var out []*fusion.Note
	for i := range t.Similar {
		if n := &t.Similar[i]; n.Stage == stage {
			out = append(out, n)
		}
	}
	return out
}

// similar shows the notes of one GPU after its tables.
func (p *profileText) similar(t *profile.Tables) {
	if !p.o.Similar {
		return
	}
	p.title("Similar")
	p.para(faint, "", "", similarNote)
	none := true
	for _, stage := range stagesOf(t) {
		if p.o.Stage != "" && stage != p.o.Stage {
			continue
		}
		for _, n := range similarOf(t, stage) {
			none = false
			p.para("", fmt.Sprintf("%s, %s: ", n.Similarity, stage), "  ", similarLine(n))
		}
	}
	if none {
		p.line("Nothing resembles an entry of the catalog that is not found.")
	}
}

func (m *profileMarkdown) similar(t *profile.Tables, of string) {
	if !m.o.Similar {
		return
	}
	m.line("## Similar%s\n\n%s\n", mdText(of), similarNote)
	for _, stage := range stagesOf(t) {
		if m.o.Stage != "" && stage != m.o.Stage {
			continue
		}
		for _, n := range similarOf(t, stage) {
			codes := make([]string, 0, len(n.Evidence))
			for _, e := range n.Evidence {
				if c := mdCode(e); !slices.Contains(codes, c) {
					codes = append(codes, c)
				}
			}
			m.line("- **%s**, %s: %s; kernels %s", n.Similarity, stage, mdText(similarLine(n)), strings.Join(codes, ", "))
		}
	}
	m.line("")
}
