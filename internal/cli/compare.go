package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/report"
)

// rowsName is the file of a run folder that holds its rows.
const rowsName = "results.jsonl"

// maxShown bounds the problems that are listed on stderr.
const maxShown = 100

type compareRequest struct {
	inputs              []string
	markdown, csv, html string
	format              string
	noise, threshold    float64
}

// comparison is what `bench compare --format json` prints.
type comparison struct {
	result.Comparison
	Problems []string `json:"problems"` // what could not be read, with file and line
	Error    string   `json:"error,omitempty"`
}

func newCompareCommand(a *app) *cobra.Command {
	var r compareRequest
	c := &cobra.Command{
		Use:   "compare [--input] FILE|RUN…",
		Short: "Rank the rows of one or several runs and write the report",
		Long: `Read normalised result rows (JSONL: one object a line, also rows written by other
tools), judge each by its own limits, rank those that were measured under the same
conditions, and show the best commands by framework, the comparison across
frameworks, and what failed and why. A run folder stands for its ` + rowsName + `; - is
standard input.

Rows of another model, scenario, length, offered rate, concurrency cap or GPU model
are never ranked together. A row is worse than the best only when the difference exceeds
both its 95 % interval and --threshold; else it is a tie, shown as ~. The interval is that
of the repeats, of the baseline's repeats where a row was measured once, else of the
trials themselves and at least --noise. docs/verdicts.md explains.

Exit codes: 0 something passed its SLA, 1 nothing did, 2 wrong usage, 3 an input could
not be read or an output could not be written.`,
		Example: `  llmdyno bench compare runs/20261124-203000-qwen3-32b
  llmdyno bench compare --input a.jsonl --input b.jsonl --output report.md --html report.html
  llmdyno bench compare results.jsonl --threshold 0.01 --format json`,
		RunE: func(_ *cobra.Command, args []string) error {
			r.inputs = append(r.inputs, args...)
			if err := oneOf("format", r.format, "text", "json", "md", "csv"); err != nil {
				return err
			}
			if !(r.noise >= 0 && r.noise < 1) {
				return failf(ExitUsage, "give a share such as 0.05", "--noise %v is not between 0 and 1", r.noise)
			}
			if !(r.threshold >= 0 && r.threshold < 1) {
				return failf(ExitUsage, "give a share such as 0.03", "--threshold %v is not between 0 and 1", r.threshold)
			}
			if len(r.inputs) == 0 {
				return failf(ExitUsage, "see: llmdyno bench compare --help", "llmdyno bench compare: expected at least one file of rows or run folder")
			}
			return a.compare(r)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&r.inputs, "input", nil, "a file of rows or a run folder; may be repeated")
	f.StringVar(&r.markdown, "output", "", "write the report as Markdown to this file")
	f.StringVar(&r.csv, "csv", "", "write every row as CSV to this file")
	f.StringVar(&r.html, "html", "", "write the report as one self-contained page to this file")
	f.StringVar(&r.format, "format", "text", "text, json, md or csv, on standard output")
	f.Float64Var(&r.noise, "noise", result.DefaultNoiseBand, "relative difference within which rows measured once are a tie, where no repeats of the baseline tell")
	f.Float64Var(&r.threshold, "threshold", result.DefaultThreshold, "relative difference that matters; a smaller one is a tie")
	return c
}

func (a *app) compare(r compareRequest) error {
	rows, problems, err := a.readRows(r.inputs)
	a.tell(problems)
	if err == nil {
		rows, err = hidden(rows, a.redactor, a.engines)
	}
	if err == nil && len(rows) == 0 {
		err = failf(ExitFailed, "give results.jsonl of a run that got as far as its first candidate", "no row could be read from %s", listed(r.inputs))
	}
	if err != nil {
		if r.format == "json" {
			if printErr := a.printJSON(comparison{Comparison: result.Compare(nil, result.Options{}), Problems: texts(problems), Error: err.Error()}); printErr != nil {
				return printErr
			}
		}
		return err
	}
	c := result.Compare(rows, result.Options{NoiseBand: orNone(r.noise), Threshold: orNone(r.threshold)})
	if err := a.writeReports(r, c); err != nil {
		return err
	}
	if err := a.show(r.format, c, problems); err != nil {
		return err
	}
	if c.Winners() == 0 {
		return quiet(ExitNo)
	}
	return nil
}

// orNone is a share as result.Options take it: an explicit 0 means none.
func orNone(share float64) float64 {
	if share == 0 {
		return -1
	}
	return share
}

// show prints the comparison in the form asked for.
func (a *app) show(format string, c result.Comparison, problems []error) error {
	var err error
	switch format {
	case "json":
		return a.printJSON(comparison{Comparison: c, Problems: texts(problems)})
	case "md":
		err = report.Markdown(a.stdout, c)
	case "csv":
		err = report.CSV(a.stdout, c)
	default:
		err = report.Text(a.stdout, c, a.outWidth, a.outWidth > 0 && !a.noColor)
	}
	if err != nil {
		return fail(ExitFailed, "", fmt.Errorf("standard output: %w", err))
	}
	return nil
}

// writeReports writes the files that were asked for.
func (a *app) writeReports(r compareRequest, c result.Comparison) error {
	for _, f := range []struct {
		path   string
		render func(io.Writer) error
	}{
		{r.markdown, func(w io.Writer) error { return report.Markdown(w, c) }},
		{r.csv, func(w io.Writer) error { return report.CSV(w, c) }},
		{r.html, func(w io.Writer) error { return report.HTML(w, report.PageOf(c)) }},
	} {
		if f.path == "" {
			continue
		}
		var b bytes.Buffer
		if err := f.render(&b); err != nil {
			return fail(ExitFailed, "", err)
		}
		if err := artifact.WriteWhole(f.path, b.Bytes(), a.redactor); err != nil {
			return fail(ExitFailed, "", err)
		}
		a.logf("wrote %s", f.path)
	}
	return nil
}

// readRows reads every input once. The first that cannot be opened or read ends
// it; lines that cannot be taken are problems.
func (a *app) readRows(inputs []string) (rows []result.Row, problems []error, err error) {
	var seen []fs.FileInfo
	for _, name := range inputs {
		file, path, err := a.openRows(name)
		if err != nil {
			return nil, problems, fail(ExitFailed, "", err)
		}
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			if slices.ContainsFunc(seen, func(s fs.FileInfo) bool { return os.SameFile(s, info) }) {
				a.logf("warning: %s is given twice: read once", path)
				file.Close()
				continue
			}
			seen = append(seen, info)
		}
		got, said, err := result.Read(file, path, a.engines)
		file.Close()
		rows, problems = append(rows, got...), append(problems, said...)
		if err != nil {
			return nil, problems, fail(ExitFailed, "", err)
		}
		if len(got) == 0 && len(said) == 0 {
			problems = append(problems, fmt.Errorf("%s: holds no rows", path))
		}
	}
	return rows, problems, nil
}

// input is what readRows needs of a file.
type input interface {
	io.ReadCloser
	Stat() (fs.FileInfo, error)
}

// stdinInput is standard input, which is not closed and never a duplicate.
type stdinInput struct{ io.Reader }

func (stdinInput) Close() error               { return nil }
func (stdinInput) Stat() (fs.FileInfo, error) { return nil, errors.New("standard input") }

// openRows opens a file of rows, or that of a run folder.
func (a *app) openRows(name string) (input, string, error) {
	if name == "-" {
		return stdinInput{a.stdin}, "stdin", nil
	}
	path := name
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		path = filepath.Join(name, rowsName)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, path, fmt.Errorf("reading %s: the folder has no %s: name a folder that `llmdyno bench run` has left, or a file of rows", name, rowsName)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, path, fmt.Errorf("reading rows: %w: name a file of rows or a run folder", err)
	}
	return f, path, nil
}

// tell lists problems on stderr.
func (a *app) tell(problems []error) {
	for i, p := range problems {
		if i == maxShown {
			fmt.Fprintf(a.stderr, "warning: %d more problems; --format json lists them all\n", len(problems)-maxShown)
			return
		}
		fmt.Fprintf(a.stderr, "warning: %s\n", p)
	}
}

func texts(errs []error) []string {
	out := make([]string, len(errs))
	for i, e := range errs {
		out[i] = e.Error()
	}
	return out
}

// listed names a few inputs.
func listed(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	return fmt.Sprintf("%s and %d more", names[0], len(names)-1)
}
