package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"llmdyno/internal/artifact"
	"llmdyno/internal/profile"
	"llmdyno/internal/report"
)

// triageRequest is what `llmdyno profile triage` is asked for.
type triageRequest struct {
	profile.Request
	framework, stage, format, out, perfetto string
	tables                                  []string
	show                                    report.ProfileOptions
}

// triageOutput is what `profile triage --format json` prints.
type triageOutput struct {
	*profile.Document
	Error string `json:"error,omitempty"`
}

func newTriageCommand(a *app) *cobra.Command {
	var r triageRequest
	c := &cobra.Command{
		Use:   "triage [TRACE|DIR…]",
		Short: "Tables of kernels, overlap and fusion from traces",
		Long: `Reads traces and shows, for prefill and decode apart, the kernels with the place in
the source that launched them, what could overlap, what could be fused, and where the
GPU was idle. The first line says what dominates the run.

A folder stands for its traces: of several ranks the lowest, of several recordings the
last by name; what was left out is listed. Kernels in CUDA or HIP graphs carry no source
of their own: --mapping names a trace recorded without graphs, or while they were being
captured, and --formal the one with the settings of real serving.

Tables (--tables): ` + strings.Join(report.ProfileTables(), ", ") + `.
Shown by default: ` + strings.Join(report.ProfileDefaults(), ", ") + `.

Exit codes: 0 done, also when the trace holds no GPU work (it says so); 1 the trace must
not be read as the engine's (its server log says why); 2 wrong usage; 3 a trace could not
be read; 130 interrupted.`,
		Example: `  llmdyno profile triage profiles/
  llmdyno profile triage trace.json.gz --stage decode --tables kernels,layers --min-share 0.5
  llmdyno profile triage profiles/ --all-ranks --out report.html --perfetto annotated.json.gz
  llmdyno profile triage --mapping capture.json.gz --formal decode.trace.json.gz --format json
  llmdyno profile triage profiles/ --format csv --table gaps > gaps.csv`,
		RunE: func(c *cobra.Command, args []string) error {
			r.Paths = args
			return a.triage(c.Context(), &r, c.Flags().Changed("format"))
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringSliceVar(&r.Mapping, "mapping", nil, "trace that tells sources: recorded without graphs, or while they were captured")
	f.StringSliceVar(&r.Formal, "formal", nil, "trace with the settings of real serving, for times")
	f.StringVar(&r.framework, "framework", "auto", "engine of the trace; auto: told by the trace")
	f.BoolVar(&r.AllRanks, "all-ranks", false, "tables of every rank and GPU, and their comparison")
	f.StringVar(&r.Device, "device", "", "only GPUs whose process id, name or label contains this")
	f.StringVar(&r.stage, "stage", "", "only this stage: prefill, decode, mixed or all")
	f.Float64Var(&r.MinShare, "min-share", 1, "least share of the stage's GPU time that a row must have, in percent")
	f.IntVar(&r.Limit, "limit", 0, "rows of each table at most; 0 = all kernels, a few of the long lists")
	f.StringSliceVar(&r.tables, "tables", nil, "tables to show, or all; with csv one (default kernels)")
	f.StringVar(&r.format, "format", "text", "text, md, json, csv or html")
	f.StringVarP(&r.out, "out", "o", "", "write to this file; its name tells the format, too (.md, .json, .csv, .html)")
	f.StringVar(&r.perfetto, "perfetto", "", "write an annotated trace for ui.perfetto.dev to this file (.json or .json.gz)")
	f.BoolVar(&r.show.Similar, "similar", false, "after the tables, what only resembles a known fusion")
	f.BoolVar(&r.show.RawNames, "raw-names", false, "list the kernels' names as they stand in the trace (text)")
	f.StringVar(&r.show.SourceURL, "source-url", "", "where the source can be read: a prefix, or an address with {path} and {line} (md, html)")
	f.IntVar(&r.TP, "tp", 0, "tensor-parallel size; 0 = told by the trace and the server's arguments beside it")
	f.StringVar(&r.Model, "model", "", "model; empty: told by the server's arguments beside the trace")
	catalogFlag(c, &r.Catalogs)
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "table" {
			name = "tables"
		}
		return pflag.NormalizedName(name)
	})
	return c
}

// check holds the request to what the command can do.
func (r *triageRequest) check(a *app, formatGiven bool) error {
	const see = "see: llmdyno profile triage --help"
	pair := len(r.Mapping)+len(r.Formal) > 0
	switch {
	case pair && len(r.Paths) > 0:
		return failf(ExitUsage, see, "llmdyno profile triage: traces and the pair --mapping, --formal exclude one another")
	case pair && (len(r.Mapping) == 0 || len(r.Formal) == 0):
		return failf(ExitUsage, see, "llmdyno profile triage: a pair needs --mapping and --formal")
	case !pair && len(r.Paths) == 0:
		return failf(ExitUsage, see, "llmdyno profile triage: expected at least one trace or folder, or --mapping and --formal")
	}
	if form := formOfName(r.out); form != "" && !formatGiven {
		r.format = form
	}
	if err := oneOf("format", r.format, "text", "md", "json", "csv", "html"); err != nil {
		return err
	}
	if !(r.MinShare >= 0 && r.MinShare <= 100) {
		return failf(ExitUsage, "give percent such as 1.0", "--min-share %v is not between 0 and 100", r.MinShare)
	}
	if r.Limit < 0 {
		return failf(ExitUsage, "0 means no limit", "--limit %d is negative", r.Limit)
	}
	if r.format == "html" && r.out == "" && a.outWidth > 0 {
		return failf(ExitUsage, "name a file with --out", "a page is not shown on a terminal")
	}
	var err error
	if r.Stage, err = stageFlag(r.stage); err != nil {
		return err
	}
	if r.Engine, err = a.frameworkFlag(r.framework); err != nil {
		return err
	}
	return r.checkTables()
}

func (r *triageRequest) checkTables() error {
	if slices.Contains(r.tables, "all") {
		r.tables = report.ProfileTables()
	}
	for _, t := range r.tables {
		if err := oneOf("tables", t, append(report.ProfileTables(), "all")...); err != nil {
			return err
		}
	}
	if r.format == "csv" {
		if len(r.tables) == 0 {
			r.tables = []string{report.TableKernels}
		}
		if len(r.tables) > 1 {
			return failf(ExitUsage, "give --table once, such as --table gaps", "CSV holds one table, not %d", len(r.tables))
		}
	}
	// The tables stand in their own order, however they were asked for.
	r.show.Tables = slices.DeleteFunc(report.ProfileTables(), func(t string) bool { return !slices.Contains(r.tables, t) })
	r.show.Stage = r.Stage
	return nil
}

func (a *app) triage(ctx context.Context, r *triageRequest, formatGiven bool) error {
	if err := r.check(a, formatGiven); err != nil {
		return err
	}
	r.Engines = a.engines
	if _, err := loadCatalog(r.Catalogs); err != nil { // a broken entry is wrong usage
		return err
	}
	r.Keep = r.perfetto != "" || r.format == "html"
	d, err := profile.Triage(ctx, r.Request)
	if err != nil {
		err = profileError(ctx, err)
		var unfit *profile.UnfitError
		if errors.As(err, &unfit) {
			err = fail(ExitNo, "profile the engine's own path, or read the trace from a folder without that log if it is of another run", unfit)
		}
		if r.format == "json" && codeOf(err) != ExitUsage {
			return errors.Join(err, a.printJSON(triageOutput{&profile.Document{SchemaVersion: profile.SchemaVersion}, err.Error()}))
		}
		return err
	}
	if r.perfetto != "" {
		if err := a.writePerfetto(r.perfetto, d); err != nil {
			return err
		}
	}
	return a.showTriage(r, d)
}

func (a *app) writePerfetto(path string, d *profile.Document) error {
	f, err := artifact.CreateRedacted(path)
	if err != nil {
		return fail(ExitFailed, "", err)
	}
	defer f.Abort()
	if err := report.ProfilePerfetto(f, d, a.redactor.String); err != nil {
		return fail(ExitFailed, "", err)
	}
	if err := f.Commit(); err != nil {
		return fail(ExitFailed, "", err)
	}
	a.logf("wrote %s: open it in ui.perfetto.dev", path)
	return nil
}

// showTriage writes the report in the form asked for.
func (a *app) showTriage(r *triageRequest, d *profile.Document) error {
	o := r.show
	if r.out == "" {
		o.Width, o.Colour = a.outWidth, a.outWidth > 0 && !a.noColor
	}
	return a.writeOut(r.out, func(w io.Writer) error {
		switch r.format {
		case "json":
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			enc.SetEscapeHTML(false)
			return enc.Encode(triageOutput{Document: d})
		case "md":
			return report.ProfileMarkdown(w, d, o)
		case "csv":
			return report.ProfileCSV(w, d, o.Tables[0], r.Stage)
		case "html":
			return report.ProfileHTML(w, d, o)
		case "text":
			return report.ProfileText(w, d, o)
		}
		return fmt.Errorf("unknown format %q", r.format)
	})
}
