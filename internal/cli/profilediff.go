package cli

import (
	"encoding/json"
	"io"
	"math"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"llmdyno/internal/profile"
	"llmdyno/internal/report"
)

type profileDiffRequest struct {
	read           profile.Request
	framework      string
	aRank, bRank   string
	steps          int
	aSteps, bSteps int
	threshold      float64
	format, out    string
}

func newProfileDiffCommand(a *app) *cobra.Command {
	var r profileDiffRequest
	c := &cobra.Command{
		Use:   "diff A B",
		Short: "What makes one profile slower than another, stage by stage",
		Long: `Compares two profiles: of two engines, two commits, two ranks. A and B are traces,
folders of them, or what "profile triage --format json" wrote; with --min-share 0 that
holds every row.

Stage by stage the time of one step is taken apart: classes of kernels, less what ran
side by side, and idle time by its cause. The parts add up to the difference exactly.
Then the kernels behind the classes, matched by name, else by shape and tile, else by
the name without numbers, else as the last of their class; what has no match is listed.
Then the fusions that are on in one and not in the other.

A step is what the traces mark. Without marks: one repeated unit (a layer) where both
have some, or what --steps declares; else the whole recordings are compared.

Exit codes: 0 done, 1 B is slower than A by more than --threshold percent in a stage
with at least 1 % of the GPU time, 2 wrong usage, 3 a profile could not be read.`,
		Example: `  llmdyno profile diff old.trace.json.gz new.trace.json.gz --threshold 5
  llmdyno profile diff engine-a/decode engine-b/decode --format html --out diff.html
  llmdyno profile diff profiles/ profiles/ --a-rank "TP 0" --b-rank "TP 3"`,
		Args: exactArgs(2, "two profiles"),
		RunE: func(c *cobra.Command, args []string) error { return a.profileDiff(c, &r, args) },
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&r.framework, "framework", "auto", "engine of both traces; auto: told by each")
	f.StringVar(&r.aRank, "a-rank", "", "rank (as the triage names it) or GPU process of A; empty: the first")
	f.StringVar(&r.bRank, "b-rank", "", "rank or GPU process of B")
	f.IntVar(&r.steps, "steps", 0, "steps in each stage of both; 0 = told by the traces")
	f.IntVar(&r.aSteps, "a-steps", 0, "steps of A alone, with --b-steps")
	f.IntVar(&r.bSteps, "b-steps", 0, "steps of B alone")
	f.Float64Var(&r.threshold, "threshold", 0, "exit with 1 when B is slower by more than this, in percent")
	catalogFlag(c, &r.read.Catalogs)
	f.StringVar(&r.format, "format", "text", "text, md, json, csv or html")
	f.StringVarP(&r.out, "out", "o", "", "write to this file; its name tells the format, too (.md, .json, .csv, .html)")
	return c
}

func (r *profileDiffRequest) check(a *app, c *cobra.Command, args []string) error {
	if form := formOfName(r.out); form != "" && !c.Flags().Changed("format") {
		r.format = form
	}
	if err := oneOf("format", r.format, "text", "md", "json", "csv", "html"); err != nil {
		return err
	}
	see := "see: " + c.CommandPath() + " --help"
	switch {
	case r.format == "html" && r.out == "" && a.outWidth > 0:
		return failf(ExitUsage, "name a file with --out", "a page is not shown on a terminal")
	case args[0] == "-" && args[1] == "-":
		return failf(ExitUsage, see, "%s: only one of the two can be standard input", c.CommandPath())
	case r.steps < 0 || r.aSteps < 0 || r.bSteps < 0:
		return failf(ExitUsage, "give a number above 0", "--steps %d, --a-steps %d, --b-steps %d: not a number of steps", r.steps, r.aSteps, r.bSteps)
	case r.steps > 0 && (r.aSteps > 0 || r.bSteps > 0):
		return failf(ExitUsage, "give --steps for both, or --a-steps and --b-steps", "--steps and the steps of one side exclude one another")
	case (r.aSteps > 0) != (r.bSteps > 0):
		return failf(ExitUsage, "give both", "--a-steps and --b-steps belong together")
	case c.Flags().Changed("threshold") && !(r.threshold >= 0 && !math.IsInf(r.threshold, 0)):
		return failf(ExitUsage, "give a percentage such as 5", "--threshold %v is not 0 or more", r.threshold)
	}
	return nil
}

func (a *app) profileDiff(c *cobra.Command, r *profileDiffRequest, args []string) error {
	if err := r.check(a, c, args); err != nil {
		return err
	}
	r.read.Engines = a.engines
	var err error
	if r.read.Engine, err = a.frameworkFlag(r.framework); err != nil {
		return err
	}
	catalog, err := loadCatalog(r.read.Catalogs)
	if err != nil {
		return err
	}
	var sides [2]profile.DiffSide
	for i, rank := range []string{r.aRank, r.bRank} {
		side, err := profile.ReadSide(c.Context(), r.read, args[i], rank)
		if err != nil {
			return profileError(c.Context(), err)
		}
		sides[i] = side
	}
	o := profile.DiffOptions{ASteps: max(r.steps, r.aSteps), BSteps: max(r.steps, r.bSteps), Catalog: catalog}
	if c.Flags().Changed("threshold") {
		o.Threshold = &r.threshold
	}
	d, err := profile.Compare(sides[0], sides[1], o)
	if err != nil {
		return fail(ExitFailed, "", err)
	}
	if err := a.showProfileDiff(r, d); err != nil {
		return err
	}
	if len(d.Slower) > 0 {
		return quiet(ExitNo)
	}
	return nil
}

func (a *app) showProfileDiff(r *profileDiffRequest, d *profile.Diff) error {
	return a.writeOut(r.out, func(w io.Writer) error {
		switch r.format {
		case "json":
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			enc.SetEscapeHTML(false)
			return enc.Encode(d)
		case "md":
			return report.ProfileDiffMarkdown(w, d)
		case "csv":
			return report.ProfileDiffCSV(w, d)
		case "html":
			return report.ProfileDiffHTML(w, d)
		}
		if r.out != "" && r.out != "-" {
			return report.ProfileDiffText(w, d, 0, false)
		}
		return report.ProfileDiffText(w, d, a.outWidth, a.outWidth > 0 && !a.noColor)
	})
}

func newProfileBundleCommand(a *app) *cobra.Command {
	var out, format string
	c := &cobra.Command{
		Use:   "bundle ROOT",
		Short: "One document of a tree of analyses, by model and framework",
		Long: `Puts all analyses below a folder together, by model and framework: what "profile triage
--format json" wrote, and analysis*.txt of the original triage tool. Equal trees give
equal documents: nothing in them is of the time or the place of writing.

With --out NAME two files are written, NAME.md and NAME.html; without it Markdown, or
what --format says, goes to standard output.

Exit codes: 0 done, 1 an analysis could not be read (the document says which),
2 wrong usage, 3 there is none or the document could not be written.`,
		Example: `  llmdyno profile bundle analyses/ --out report.md
  llmdyno profile bundle analyses/ --format html > report.html`,
		Args: exactArgs(1, "one folder"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := oneOf("format", format, "md", "html"); err != nil {
				return err
			}
			if format == "html" && out == "" && a.outWidth > 0 {
				return failf(ExitUsage, "name a file with --out", "a page is not shown on a terminal")
			}
			if out == "-" {
				return failf(ExitUsage, "leave --out out for standard output", "--out writes two files")
			}
			if out != "" && c.Flags().Changed("format") {
				return failf(ExitUsage, "leave --format out", "--out writes both formats")
			}
			return a.profileBundle(args[0], out, format)
		},
	}
	f := c.Flags()
	f.StringVarP(&out, "out", "o", "", "write NAME.md and NAME.html")
	f.StringVar(&format, "format", "md", "md or html, on standard output")
	return c
}

func (a *app) profileBundle(root, out, format string) error {
	b, err := profile.ReadBundle(root, a.engines)
	if err != nil {
		return fail(ExitFailed, "", err)
	}
	markdown := func(w io.Writer) error { return report.ProfileBundleMarkdown(w, b) }
	page := func(w io.Writer) error { return report.ProfileBundleHTML(w, b) }
	switch {
	case out != "":
		if formOfName(out) != "" {
			out = strings.TrimSuffix(out, filepath.Ext(out))
		}
		if err = a.writeOut(out+".md", markdown); err == nil {
			err = a.writeOut(out+".html", page)
		}
	case format == "html":
		err = a.writeOut("", page)
	default:
		err = a.writeOut("", markdown)
	}
	if err != nil {
		return err
	}
	for _, s := range b.Skipped {
		a.logf("warning: %s: %s", s.Path, s.Reason)
	}
	if len(b.Skipped) > 0 {
		return quiet(ExitNo)
	}
	return nil
}
