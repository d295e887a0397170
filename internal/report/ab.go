package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/load/stat"
)

// abCells are the cells of the table of a comparison of two commands, head first. A
// difference that may be noise is "~", with its interval beside it.
func abCells(ab result.AB) [][]string {
	rows := [][]string{{"figure", "a", "b", "b vs a", "95 % interval", "better"}}
	for _, f := range ab.Figures {
		title, _ := result.FigureTitle(f.Key)
		delta, better := fmt.Sprintf("%+.1f %%", 100*f.Delta), string(f.Winner)
		if f.Winner == stat.Tie {
			delta, better = "~", missing
		}
		interval := missing
		if f.CI != nil {
			interval = fmt.Sprintf("%+.1f..%+.1f %%", 100*f.CI[0], 100*f.CI[1])
		}
		rows = append(rows, []string{title, result.Number(f.A), result.Number(f.B), delta, interval, better})
	}
	return rows
}

// abNotes say what stands behind a verdict.
func abNotes(ab result.AB) []string {
	out := []string{fmt.Sprintf("%s at %s, %d of %d blocks; each block is one trial of each command, in an order of chance, with the same prompts and arrivals, each on a server started anew.", ab.Scenario, ab.Load, ab.Blocks, ab.Planned)}
	if !ab.Measured() {
		return out
	}
	title, _ := result.FigureTitle(ab.Metric)
	line := fmt.Sprintf("The verdict rests on %s alone, beyond its interval and %s; ~ is a difference that may be noise.", title, result.Percent(ab.Threshold))
	if ab.SD != nil && *ab.SD > 0 {
		line += fmt.Sprintf(" Blocks differ by %s (standard deviation)", twoDigits(100**ab.SD)+" %")
		if ab.BlocksFor5 > 0 {
			line += fmt.Sprintf("; %d of them find a true difference of 5 %% in 9 of 10 cases", ab.BlocksFor5)
		}
		line += "."
	}
	return append(out, line)
}

// TextAB writes the comparison of two commands for a terminal.
func TextAB(w io.Writer, ab result.AB) error {
	var b strings.Builder
	if ab.Simulated {
		b.WriteString("SIMULATED: measured on the simulated engine; the figures come from a model.\n")
	}
	fmt.Fprintf(&b, "%s\n\n", clean(ab.Verdict))
	for _, s := range []struct {
		name string
		side result.Side
	}{{"a", ab.A}, {"b", ab.B}} {
		fmt.Fprintf(&b, "%s  %s (%s)\n   %s\n", s.name, clean(s.side.Candidate), clean(s.side.Framework), clean(s.side.Command))
	}
	if ab.Measured() {
		b.WriteString("\n")
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		for _, row := range abCells(ab) {
			fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
		}
		t.Flush() // a strings.Builder takes everything
	}
	b.WriteString("\n")
	for _, n := range abNotes(ab) {
		b.WriteString(clean(n) + "\n")
	}
	return write(w, b.String())
}

// MarkdownAB writes the comparison of two commands for a repository.
func MarkdownAB(w io.Writer, ab result.AB) error {
	var b strings.Builder
	b.WriteString("# A against B\n\n")
	if ab.Simulated {
		b.WriteString("> **SIMULATED**: measured on the simulated engine; the figures come from a model.\n\n")
	}
	fmt.Fprintf(&b, "%s.\n\n- a: %s, %s\n- b: %s, %s\n\n", mdText(ab.Verdict), mdText(ab.A.Candidate), mdCode(ab.A.Command), mdText(ab.B.Candidate), mdCode(ab.B.Command))
	if ab.Measured() {
		for i, row := range abCells(ab) {
			for j := range row {
				row[j] = mdText(row[j])
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
			if i == 0 {
				b.WriteString("| --- | ---: | ---: | ---: | ---: | --- |\n")
			}
		}
		b.WriteString("\n")
	}
	for _, n := range abNotes(ab) {
		fmt.Fprintf(&b, "- %s\n", mdText(n))
	}
	return write(w, b.String())
}

func write(w io.Writer, s string) error {
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("writing the comparison: %w", err)
	}
	return nil
}
