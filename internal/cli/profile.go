package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"llmdyno/internal/profile"
	"llmdyno/internal/profile/attrib"
)

func newProfileCommand(a *app) *cobra.Command {
	return group("profile", "Where the GPU time of prefill and decode goes, and which code launched it",
		`Reads the traces of a torch profiler and names the kernels of each stage with the
Python source that launched them.`,
		"  llmdyno profile triage trace.json.gz",
		newTriageCommand(a), newProfileCaptureCommand(a), newProfileRecipeCommand(a), newProfileOverrideCommand(a), newProfileCatalogCommand(a))
}

func newTriageCommand(a *app) *cobra.Command {
	var r profile.Request
	var framework, format, stage string
	c := &cobra.Command{
		Use:   "triage [TRACE|DIR…]",
		Short: "Tables of kernels, overlap and fusion from traces",
		Example: `  llmdyno profile triage profiles/
  llmdyno profile triage --mapping capture.json.gz --formal decode.trace.json.gz --format json`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			if err := oneOf("stage", stage, "", "prefill", "decode", "mixed", "all"); err != nil {
				return err
			}
			if (len(r.Mapping) > 0) != (len(r.Formal) > 0) || len(r.Formal) > 0 && len(args) > 0 || len(r.Formal)+len(args) == 0 {
				return failf(ExitUsage, "see: "+c.CommandPath()+" --help", "%s: expected traces, or --mapping and --formal together", c.CommandPath())
			}
			r.Paths, r.Engines, r.Stage = args, a.engines, attrib.Stage(stage)
			if framework != "auto" && framework != "" {
				e, ok := a.engines.Lookup(framework)
				if !ok {
					return failf(ExitUsage, fmt.Sprintf("use auto or one of: %s", a.engines.IDs()), "--framework %q is not a known engine", framework)
				}
				r.Engine = e.ID
			}
			d, err := profile.Triage(c.Context(), r)
			if err != nil {
				return fail(ExitFailed, "", err)
			}
			if format == "json" {
				return a.printJSON(d)
			}
			return a.printTriage(d)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&r.Mapping, "mapping", nil, "trace that tells sources: recorded without graphs, or while they were captured")
	f.StringSliceVar(&r.Formal, "formal", nil, "trace with the settings of real serving, for times")
	f.StringVar(&framework, "framework", "auto", "engine of the trace; auto: told by the trace")
	f.BoolVar(&r.AllRanks, "all-ranks", false, "tables of every rank and GPU")
	f.StringVar(&r.Device, "device", "", "only GPUs whose process id, name or label contains this")
	f.StringVar(&stage, "stage", "", "only this stage: prefill, decode, mixed or all")
	f.Float64Var(&r.MinShare, "min-share", 1, "least share of the stage's GPU time that a row must have, in percent")
	f.IntVar(&r.Limit, "limit", 0, "rows of each table at most; 0 = no limit")
	f.IntVar(&r.TP, "tp", 0, "tensor-parallel size; 0 = told by the trace and the server's arguments beside it")
	f.StringVar(&r.Model, "model", "", "model; empty: told by the server's arguments beside the trace")
	f.StringVar(&format, "format", "text", "text or json")
	return c
}

// printTriage prints the document as plain tables.
func (a *app) printTriage(d *profile.Document) error {
	fmt.Fprintf(a.stdout, "%s\n\nFramework: %s", d.Summary, d.Framework)
	if len(d.Evidence) > 0 {
		fmt.Fprintf(a.stdout, " (%s)", d.Evidence[0])
	}
	fmt.Fprintf(a.stdout, "\nMode: %s\nGPU: %s, process %s\n", d.Mode, orDash(d.Device), orDash(d.GPUPID))
	for _, w := range d.Warnings {
		fmt.Fprintf(a.stdout, "Note: %s\n", w)
	}
	for _, t := range append([]profile.Tables{d.Tables}, d.Others...) {
		if t.Rank != "" {
			fmt.Fprintf(a.stdout, "\nRank %s, process %s\n", t.Rank, t.GPUPID)
		}
		a.printKernels(t)
	}
	return nil
}

func (a *app) printKernels(t profile.Tables) {
	for _, stage := range attrib.Stages() {
		total, is := t.Stages[stage]
		if !is {
			continue
		}
		fmt.Fprintf(a.stdout, "\n%s: %.2f ms, %.1f %% of GPU time, %d launches\n", stage, float64(total.Total)/1e6, total.Share, total.Launches)
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "  share\ttime ms\tlaunches\tclass\tkernel\tlaunched at\top")
		for _, k := range t.Kernels {
			if k.Stage == stage {
				fmt.Fprintf(w, "  %.1f %%\t%.2f\t%d\t%s\t%s\t%s\t%s\n", k.Share, float64(k.Total)/1e6, k.Launches, k.Category, k.Short, k.Location, orDash(k.Op))
			}
		}
		w.Flush()
		if o := t.Omitted[stage]; o.Launches > 0 {
			fmt.Fprintf(a.stdout, "  and %d launches with %.2f ms in rows below the bar\n", o.Launches, float64(o.Total)/1e6)
		}
	}
}
