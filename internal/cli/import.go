package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/foreign"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/load/sample"
)

// samplesFile is the file of a trial folder that holds its requests.
const samplesFile = "samples.jsonl.zst"

type importRequest struct {
	from, framework, model string
	clientVersion          string
	output, format         string
	inputs                 []string
}

// imported is what `bench import --format json` prints.
type imported struct {
	SchemaVersion int          `json:"schema_version"`
	Rows          []result.Row `json:"rows"`
	Problems      []string     `json:"problems"` // what could not be read, with file and line
	Error         string       `json:"error,omitempty"`
}

func formatNames() []string {
	out := make([]string, len(foreign.Formats))
	for i, f := range foreign.Formats {
		out[i] = string(f)
	}
	slices.Sort(out)
	return out
}

func newImportCommand(a *app) *cobra.Command {
	var r importRequest
	c := &cobra.Command{
		Use:   "import [--from TOOL] FILE…",
		Short: "Turn other benchmark tools' results into rows",
		Long: `Read the JSON or JSON lines that another tool has left and write normalised result
rows, which ` + "`llmdyno bench compare`" + ` ranks beside our own. Without --from each result is
recognised by its keys. - is standard input.

  vllm            vllm bench serve --save-result [--save-detailed]
  sglang          python -m sglang.benchmark.serving --output-file
  trtllm          benchmark_serving --save-result, and the report of trtllm-bench
  aiperf          profile_export_aiperf.json
  guidellm        benchmarks.json: a row for each rate
  inference-perf  summary_lifecycle_metrics.json and stage_N_lifecycle_metrics.json

Figures are taken over where they mean the same; where a definition differs the row
says so in a warning. Every number stays under its own key in "imported.figures".
Most tools do not write which engine they measured: say it with --framework. vllm
does not write its version, on which the end of TTFT on chat routes depends: say it
with --client-version.

Exit codes: 0 rows were made, 1 the files hold no result that could be read, 2 wrong
usage, 3 a file could not be read or written.`,
		Example: `  llmdyno bench import results.json --framework vllm
  llmdyno bench import --from sglang sglang_1124_80_random.jsonl --output rows.jsonl
  llmdyno bench import benchmarks.json --framework vllm --output guide.jsonl
  llmdyno bench compare runs/20261124-203000-qwen3-32b guide.jsonl`,
		RunE: func(_ *cobra.Command, args []string) error {
			r.inputs = args
			return a.importChecked(r)
		},
	}
	f := c.Flags()
	f.StringVar(&r.from, "from", "", "the tool: "+strings.Join(formatNames(), ", ")+"; absent = recognise")
	f.StringVar(&r.framework, "framework", "", "the engine that was measured, where the file does not name it")
	f.StringVar(&r.model, "model", "", "the model that was served, where the file does not name it")
	f.StringVar(&r.clientVersion, "client-version", "", "version of the tool, such as 0.33.0, where the file does not name it: definitions depend on it")
	f.StringVar(&r.output, "output", "", "write the rows to this file; absent = standard output")
	f.StringVar(&r.format, "format", "jsonl", "jsonl, or json: one object with the problems, on standard output")
	return c
}

func (a *app) importChecked(r importRequest) error {
	if r.from != "" && !foreign.Known(r.from) {
		return failf(ExitUsage, "use one of: "+strings.Join(formatNames(), ", "), "--from %q is not a known tool", r.from)
	}
	if err := oneOf("format", r.format, "jsonl", "json"); err != nil {
		return err
	}
	if r.framework != "" {
		if _, ok := a.engines.Lookup(r.framework); !ok {
			return failf(ExitUsage, "llmdyno version --format json lists the engines", "--framework %q is not a known engine", r.framework)
		}
	}
	if len(r.inputs) == 0 {
		return failf(ExitUsage, "see: llmdyno bench import --help", "llmdyno bench import: expected at least one file")
	}
	return a.importFiles(r)
}

func (a *app) importFiles(r importRequest) error {
	rows, problems, err := a.readForeign(r.inputs, foreign.Options{From: foreign.Format(r.from), Framework: r.framework, Model: r.model, ClientVersion: r.clientVersion})
	a.tell(problems)
	if err == nil && len(rows) == 0 {
		err = failf(ExitNo, "", "%s: no result could be read", listed(r.inputs))
	}
	if r.format == "json" {
		doc := imported{SchemaVersion: result.SchemaVersion, Rows: rows, Problems: texts(problems)}
		if rows == nil {
			doc.Rows = []result.Row{}
		}
		if err != nil {
			doc.Error = err.Error()
		}
		err = errors.Join(a.printJSON(doc), err)
	}
	if err != nil {
		return err
	}
	return a.writeRows(r, rows)
}

// writeRows writes rows as lines to a file, or to stdout when that does not
// carry the one object already.
func (a *app) writeRows(r importRequest, rows []result.Row) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i := range rows {
		if err := enc.Encode(rows[i]); err != nil {
			return fail(ExitFailed, "", fmt.Errorf("writing row %d: %w", i, err))
		}
	}
	if r.output == "" {
		if r.format == "json" {
			return nil
		}
		return a.printRaw(b.Bytes())
	}
	if err := artifact.WriteWhole(r.output, b.Bytes(), a.redactor); err != nil {
		return fail(ExitFailed, "", err)
	}
	a.logf("wrote %s: %d rows; next: llmdyno bench compare %s", r.output, len(rows), r.output)
	return nil
}

// readForeign reads other tools' files. The first that cannot be opened or read
// ends it.
func (a *app) readForeign(inputs []string, o foreign.Options) (rows []result.Row, problems []error, err error) {
	o.Engines, o.ToolVersion = a.engines, version
	for _, name := range inputs {
		var in io.ReadCloser = stdinInput{a.stdin}
		shown := "stdin"
		if name != "-" {
			if in, err = openFile(name); err != nil {
				return nil, problems, fail(ExitFailed, "", fmt.Errorf("reading a result: %w", err))
			}
			shown = name
		}
		got, said, err := foreign.Read(in, shown, o)
		in.Close()
		rows, problems = append(rows, got...), append(problems, said...)
		if err != nil {
			return nil, problems, fail(ExitFailed, "", err)
		}
		if len(got) == 0 && len(said) == 0 {
			problems = append(problems, fmt.Errorf("%s: %w", shown, foreign.ErrNothing))
		}
	}
	return rows, problems, nil
}

// openFile opens a file, not a folder.
func openFile(name string) (io.ReadCloser, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a folder: name a file", name)
	}
	return os.Open(name)
}

func newExplainDiffCommand(a *app) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "explain-diff A B",
		Short: "Say why two results of one server differ",
		Long: `Compare two results of the same server, figure by figure, and attribute each
difference to its causes: what ends TTFT and E2E, the formula of TPOT, who counted
tokens, lengths that were drawn, connections, the client's lag, the time that
throughputs are divided by.

A and B are each a trial folder that llmdyno has left (with ` + samplesFile + `), such a
file, a file of another tool, or rows that ` + "`bench import`" + ` has made. Give a trial folder of ours on at least one side: its
requests are then computed anew under the other tool's definitions, which gives
numbers. From two foreign files only estimates and signs can be had.

Exit codes: 0 explained, 1 the results have no figure in common, 2 wrong usage, 3 a
file could not be read.`,
		Example: `  llmdyno bench explain-diff runs/20261124-203000-qwen3-32b/trials/vllm-00/chat/rate-4 vllm-serve.json
  llmdyno bench explain-diff vllm-serve.json sglang.jsonl --format json`,
		Args: exactArgs(2, "two results"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			var sides [2]foreign.Side
			for i, name := range args {
				s, err := a.side(name)
				if err != nil {
					return err
				}
				sides[i] = s
			}
			e := foreign.Explain(sides[0], sides[1])
			if format == "json" {
				if err := a.printJSON(e); err != nil {
					return err
				}
			} else if err := a.printRaw(explanationText(e)); err != nil {
				return err
			}
			if len(e.Differences) == 0 {
				return quiet(ExitNo)
			}
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "text", "text or json")
	return c
}

// side reads one of two results.
func (a *app) side(name string) (foreign.Side, error) {
	path := name
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		path = filepath.Join(name, samplesFile)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return foreign.Side{}, failf(ExitFailed, "name a folder below trials/ of a run", "reading %s: the folder has no %s", name, samplesFile)
		}
	}
	if strings.HasSuffix(path, ".jsonl.zst") {
		return samplesSide(name, path)
	}
	rows, problems, err := a.readForeign([]string{path}, foreign.Options{})
	if err == nil && len(rows) == 0 {
		if rows = a.rowsWithFigures(path); len(rows) > 0 {
			problems = nil // they said that rows are no foreign result
		}
	}
	a.tell(problems)
	if err != nil {
		return foreign.Side{}, err
	}
	switch len(rows) {
	case 0:
		return foreign.Side{}, failf(ExitFailed, "see: llmdyno bench import --help", "%s: no result could be read", name)
	case 1:
	default:
		a.logf("warning: %s holds %d results: the first is taken", name, len(rows))
	}
	return foreign.FromRow(name, rows[0]), nil
}

// rowsWithFigures reads a file of rows, as `bench import` writes it.
func (a *app) rowsWithFigures(path string) []result.Row {
	if path == "-" {
		return nil
	}
	rows, _, err := a.readRows([]string{path})
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(rows, func(r result.Row) bool { return r.Status != result.StatusOK || r.CandidateID == "" })
}

func samplesSide(name, path string) (foreign.Side, error) {
	var d sample.Decoder
	torn, err := artifact.ReadLines(path, sample.MaxLine, d.Line)
	if err != nil {
		return foreign.Side{}, fail(ExitFailed, "", err)
	}
	if torn || d.Header.Schema == "" || len(d.Records) == 0 {
		return foreign.Side{}, failf(ExitFailed, "measure again", "%s is torn or holds no request", path)
	}
	return foreign.FromSamples(name, d.Records, d.Header.DurationNs), nil
}

// explanationText is the explanation for people.
func explanationText(e foreign.Explanation) []byte {
	var b bytes.Buffer
	for _, s := range []struct {
		letter string
		side   foreign.Side
	}{{"A", e.A}, {"B", e.B}} {
		kind := "figures only"
		if s.side.Samples {
			kind = "with samples"
		}
		fmt.Fprintf(&b, "%s  %s (%s, %s)\n", s.letter, s.side.Name, s.side.Tool, kind)
	}
	for _, d := range e.Differences {
		relative := ""
		if d.A != 0 {
			relative = fmt.Sprintf(", %+.1f %%", 100*d.Delta/d.A)
		}
		fmt.Fprintf(&b, "\n%s: A %.4g, B %.4g %s (%+.4g%s)\n", d.Figure, d.A, d.B, d.Unit, d.Delta, relative)
		for _, f := range d.Effects {
			fmt.Fprintf(&b, "  %12s  %-16s %-9s  %s\n", amount(f), f.Cause, f.How, f.Why)
		}
	}
	if len(e.Notes) > 0 {
		b.WriteByte('\n')
	}
	for _, n := range e.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	return b.Bytes()
}

// amount is the value of an effect, or its bounds.
func amount(f foreign.Effect) string {
	switch {
	case f.Value != nil:
		return fmt.Sprintf("%+.4g", *f.Value)
	case f.Low != nil && f.High != nil:
		return fmt.Sprintf("%.3g..%.3g", *f.Low, *f.High)
	case f.Low != nil:
		return fmt.Sprintf(">= %.3g", *f.Low)
	case f.High != nil:
		return fmt.Sprintf("<= %.3g", *f.High)
	}
	return "?"
}

func newExportCommand(a *app) *cobra.Command {
	var format, output string
	c := &cobra.Command{
		Use:   "export [--format benchfmt] FILE|RUN…",
		Short: "Write measurements for other tools to read",
		Long: `Write the measurements of run folders or files of rows as Go benchmark lines, one for
each repeat of a load point, for benchstat (golang.org/x/perf/cmd/benchstat) to
compare. Measurements that failed or are not valid become comments.

Exit codes: 0 written, 1 there was no measurement to write, 2 wrong usage, 3 a file
could not be read or written.`,
		Example: `  llmdyno bench export runs/20261124-203000-qwen3-32b > before.txt
  llmdyno bench export runs/20261124-214500-qwen3-32b > after.txt
  benchstat before.txt after.txt`,
		Args: atLeastOneArg("at least one file of rows or run folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("format", format, "benchfmt"); err != nil {
				return err
			}
			return a.export(args, output)
		},
	}
	c.Flags().StringVar(&format, "format", "benchfmt", "benchfmt: the Go benchmark format")
	c.Flags().StringVar(&output, "output", "", "write to this file; absent = standard output")
	return c
}

func (a *app) export(inputs []string, output string) error {
	rows, problems, err := a.readRows(inputs)
	a.tell(problems)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	lines, err := foreign.WriteBenchfmt(&b, rows)
	if err != nil {
		return fail(ExitFailed, "", err)
	}
	if output == "" {
		err = a.printRaw(b.Bytes())
	} else if err = artifact.WriteWhole(output, b.Bytes(), a.redactor); err != nil {
		err = fail(ExitFailed, "", err)
	}
	if err != nil {
		return err
	}
	if lines == 0 {
		return failf(ExitNo, "give results.jsonl of a run that has measured something", "%s: no measurement to export", listed(inputs))
	}
	return nil
}
