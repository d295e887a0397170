package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/run"
	"llmdyno/internal/engine"
)

// plan is what `bench plan --format json` prints.
type plan struct {
	SchemaVersion int `json:"schema_version"`
	config.PlanResult
	// Estimates are the expected costs of each strategy, under the assumptions.
	Estimates   []run.Estimate `json:"estimates"`
	Assumptions []string       `json:"assumptions"`
}

func newPlanCommand(a *app) *cobra.Command {
	var engines []string
	var helpDir, format string
	c := &cobra.Command{
		Use:   "plan FILE|cookbook:NAME",
		Short: "List every candidate command, in the order in which they are tried",
		Long: `List every candidate of every enabled engine with its exact command. Warnings name
what the limit cuts off and which searched values are never tried. Then the expected
wall time and GPU hours of each search strategy, and what they assume. Nothing is
started.`,
		Example: `  llmdyno bench plan cookbook:qwen3-coder-next
  llmdyno bench plan mine.yaml --engines sglang,vllm --format json`,
		Args: exactArgs(1, "one file or cookbook:NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			ids, err := a.engineIDs(engines)
			if err != nil {
				return err
			}
			opts := config.Options{HelpDir: helpDir, Engines: ids}
			f, err := a.loadConfig(args[0], opts)
			if err != nil {
				return err
			}
			p := config.Plan(f, a.engines, opts)
			costs, assumed, err := run.Estimates(f, a.engines, run.Options{Engines: ids})
			if err != nil {
				return fail(ExitNo, "llmdyno bench validate "+args[0]+" explains", err)
			}
			if format == "json" {
				return a.printJSON(plan{1, p, costs, assumed})
			}
			for _, w := range f.Scenarios() {
				a.logf("scenario %s: %s", w.Name, f.Describe(w))
			}
			for _, c := range p.Candidates {
				fmt.Fprintf(a.stdout, "# %s\n%s\n", c.ID, c.Command)
			}
			for _, w := range p.Warnings {
				a.logf("warning: %s", w.Message)
			}
			for _, e := range costs {
				mark := ""
				if e.Chosen {
					mark = " (this file's)"
				}
				a.logf("expected cost%s: %s", mark, e.Words())
			}
			a.logf("assumed: %s", strings.Join(assumed, "; "))
			return nil
		},
	}
	c.Flags().StringSliceVar(&engines, "engines", nil, "only these engines, separated by commas")
	c.Flags().StringVar(&helpDir, "help-dir", "", "folder with captured --help texts; flags that they define are known, others are not")
	c.Flags().StringVar(&format, "format", "text", "text or json")
	return c
}

// engineIDs reads the value of --engines; empty means all.
func (a *app) engineIDs(names []string) ([]engine.ID, error) {
	var ids []engine.ID
	for _, name := range names {
		e, ok := a.engines.Lookup(name)
		if !ok {
			known := make([]string, len(a.engines))
			for i, e := range a.engines {
				known[i] = string(e.ID)
			}
			return nil, failf(ExitUsage, "use some of: "+strings.Join(known, ", "), "--engines: unknown engine %q", name)
		}
		ids = append(ids, e.ID)
	}
	return ids, nil
}

// loadConfig reads a file that has to be valid. What is wrong with it goes to
// stderr, all of it, and the error ends the command with ExitNo.
func (a *app) loadConfig(name string, opts config.Options) (*config.File, error) {
	f, diags := config.LoadNamed(name)
	if f != nil {
		diags = append(diags, config.Check(f, a.engines, opts)...)
	}
	var bad []config.Diagnostic
	for _, d := range diags {
		if d.Severity == config.SeverityError {
			bad = append(bad, d)
		}
	}
	if len(bad) == 0 {
		return f, nil
	}
	for _, d := range bad[1:] {
		fmt.Fprintf(a.stderr, "%s\n", place(name, d))
	}
	return nil, fail(ExitNo, "llmdyno bench validate "+name+" explains", errors.New(place(name, bad[0])))
}

func place(name string, d config.Diagnostic) string {
	if d.Line == 0 {
		return fmt.Sprintf("%s: %s", name, d.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", name, d.Line, d.Column, d.Message)
}
