package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/run"
	"llmdyno/internal/load/stat"
	"llmdyno/internal/report"
)

type abRequest struct {
	runRequest
	ab        run.ABOptions
	threshold float64
	scenario  string
}

// abOutput is what `bench ab --format json` prints.
type abOutput struct {
	SchemaVersion int        `json:"schema_version"`
	Dir           string     `json:"dir"`
	State         string     `json:"state"`
	Stopped       string     `json:"stopped,omitempty"`
	Already       bool       `json:"already_complete,omitempty"`
	AB            *result.AB `json:"ab,omitempty"`
	Error         string     `json:"error,omitempty"`
}

func newABCommand(a *app) *cobra.Command {
	var r abRequest
	c := &cobra.Command{
		Use:   "ab FILE|cookbook:NAME",
		Short: "Compare two commands directly, with a verdict that noise cannot make",
		Long: `Compare two commands in blocks: each block is one trial of each, in an order of chance,
with the same prompts and arrivals (common random numbers), each on a server started
anew, as both cannot share the GPUs. The file gives model, scenario and flags.

A side is a candidate of the file (see: llmdyno bench plan FILE) or a command of its own.
The load is --rate or --concurrency, else the file's first load point, else a closed loop
at its largest concurrency cap, else of 16 users. What decides is --metric: output tokens/s
without a rate, else the mean E2E latency. There is a winner when the difference exceeds
both its 95 % interval over the blocks and --threshold; else it is a tie.

Everything lies in the run folder; ab.json is the verdict. --resume goes on.

Exit codes: 0 there is a winner, 1 a tie, 2 wrong usage, 3 nothing could be compared,
130 interrupted.`,
		Example: `  llmdyno bench ab mine.yaml --a sglang-00 --b sglang-03
  llmdyno bench ab mine.yaml --a vllm-00 --b-command 'vllm serve org/model --max-num-seqs 512' --rate 4
  llmdyno bench ab cookbook:qwen3-coder-next --a sglang-00 --b vllm-00 --scenario chat --blocks 6 --simulate
  llmdyno bench ab --resume runs/20261124-203000-mine`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if err := r.checkAB(c, args); err != nil {
				return err
			}
			if r.resume != "" {
				return a.resumeAB(c.Context(), r)
			}
			dir, err := os.Getwd()
			if err != nil {
				return fail(ExitFailed, "change to a folder that exists", fmt.Errorf("the folder in which servers run: %w", err))
			}
			r.name, r.dir = args[0], dir
			return a.startAB(c.Context(), r)
		},
	}
	f := c.Flags()
	f.StringVar(&r.ab.A, "a", "", "candidate of the file, the side that is compared against")
	f.StringVar(&r.ab.B, "b", "", "candidate of the file, the other side")
	f.StringVar(&r.ab.ACommand, "a-command", "", "a command in place of --a, quoted as one word")
	f.StringVar(&r.ab.BCommand, "b-command", "", "a command in place of --b, quoted as one word")
	f.IntVar(&r.ab.Blocks, "blocks", stat.DefaultBlocks, "number of blocks; the default finds a true difference of 5 % in 9 of 10 cases")
	f.StringVar(&r.ab.Metric, "metric", "", "figure that decides: "+strings.Join(result.Figures(), ", "))
	f.Float64Var(&r.threshold, "threshold", stat.DefaultThreshold, "relative difference that matters; a smaller one is a tie")
	f.Float64Var(&r.ab.RateRPS, "rate", 0, "offered requests/s of each trial")
	f.IntVar(&r.ab.MaxConcurrency, "concurrency", 0, "users of a closed loop; with --rate the cap on requests in flight")
	f.IntVar(&r.ab.Requests, "requests", 0, "requests of each trial (default: those of the scenario)")
	f.StringVar(&r.scenario, "scenario", "", "scenario of the file; needed where it has several")
	f.StringVar(&r.simulate, "simulate", "", "measure the simulated engine, on this GPU: "+simGPUs())
	f.Lookup("simulate").NoOptDefVal = fromFile
	f.StringArrayVar(&r.simArgs, "sim-arg", nil, "a word for the simulator of both sides; may be repeated")
	f.StringArrayVar(&r.ab.ASimArgs, "a-sim-arg", nil, "the same for side a alone; may be repeated")
	f.StringArrayVar(&r.ab.BSimArgs, "b-sim-arg", nil, "the same for side b alone, for example --slow=1.05; may be repeated")
	f.StringVar(&r.out, "out", "", "the run folder itself, new or empty (default "+runsDir+"/<UTC time>-<name>)")
	f.StringVar(&r.resume, "resume", "", "go on with the comparison in this folder; needs nothing else")
	f.DurationVar(&r.maxTime, "max-time", 0, "end after this time, for example 90m; the rest can be resumed")
	f.StringVar(&r.format, "format", "text", "text, json or md, on standard output")
	return c
}

func (r *abRequest) checkAB(c *cobra.Command, args []string) error {
	if err := oneOf("format", r.format, "text", "json", "md"); err != nil {
		return err
	}
	if r.maxTime < 0 {
		return failf(ExitUsage, "give a time such as 90m", "--max-time %s is negative", r.maxTime)
	}
	if r.resume != "" {
		for _, f := range append(abPlanFlags, "out") {
			if c.Flags().Changed(f) {
				return failf(ExitUsage, "leave it out, or start a new comparison", "--resume takes the plan of the folder: --%s cannot change it", f)
			}
		}
		if len(args) > 0 {
			return failf(ExitUsage, "leave it out, or start a new comparison", "--resume takes the plan of the folder: %s cannot change it", args[0])
		}
		return nil
	}
	switch {
	case len(args) != 1:
		return failf(ExitUsage, "see: llmdyno bench ab --help", "llmdyno bench ab: expected one file or cookbook:NAME, got %d arguments", len(args))
	case (r.ab.A == "") == (r.ab.ACommand == ""):
		return failf(ExitUsage, "llmdyno bench plan "+args[0]+" lists the candidates", "side a: give either --a or --a-command")
	case (r.ab.B == "") == (r.ab.BCommand == ""):
		return failf(ExitUsage, "llmdyno bench plan "+args[0]+" lists the candidates", "side b: give either --b or --b-command")
	case r.ab.Blocks < 2 || r.ab.Blocks > 1000:
		return failf(ExitUsage, "give 2 to 1000", "--blocks %d: an interval needs at least 2 blocks", r.ab.Blocks)
	case !(r.threshold >= 0 && r.threshold < 1):
		return failf(ExitUsage, "give a share such as 0.03", "--threshold %v is not between 0 and 1", r.threshold)
	case !(r.ab.RateRPS >= 0) || r.ab.MaxConcurrency < 0 || r.ab.Requests < 0:
		return failf(ExitUsage, "give positive numbers", "--rate %v, --concurrency %d, --requests %d", r.ab.RateRPS, r.ab.MaxConcurrency, r.ab.Requests)
	case len(r.simArgs)+len(r.ab.ASimArgs)+len(r.ab.BSimArgs) > 0 && r.simulate == "":
		return failf(ExitUsage, "add --simulate", "--sim-arg is for the simulator, which is not asked for")
	}
	if r.ab.Metric != "" {
		if _, known := result.FigureTitle(r.ab.Metric); !known {
			return failf(ExitUsage, "use one of: "+strings.Join(result.Figures(), ", "), "--metric %q is not a known figure", r.ab.Metric)
		}
	}
	r.ab.Threshold = orNone(r.threshold)
	if r.scenario != "" {
		r.scenarios = []string{r.scenario}
	}
	r.argv = slices.Concat([]string{"llmdyno", "bench", "ab"}, args, asGiven(c, append(abPlanFlags, "max-time")))
	return nil
}

// abPlanFlags are the flags that make the plan of a comparison.
var abPlanFlags = []string{"a", "b", "a-command", "b-command", "blocks", "metric", "threshold", "rate", "concurrency", "requests", "scenario", "simulate", "sim-arg", "a-sim-arg", "b-sim-arg"}

func (a *app) startAB(ctx context.Context, r abRequest) error {
	p, source, err := a.planOf(r.runRequest)
	if err == nil {
		if p, err = run.NewAB(p, a.engines, r.ab); err != nil {
			err = fail(ExitUsage, "", err)
		}
	}
	if err != nil {
		return a.failAB(r, run.Result{}, err)
	}
	env, closeView, err := a.abEnv(ctx)
	if err != nil {
		return a.failAB(r, run.Result{}, err)
	}
	res, err := a.begin(ctx, env, p, source, r.runRequest, p.Slug()+"-ab")
	closeView()
	return a.endAB(r, res, err)
}

func (a *app) resumeAB(ctx context.Context, r abRequest) error {
	env, closeView, err := a.abEnv(ctx)
	if err != nil {
		return a.failAB(r, run.Result{}, err)
	}
	res, err := run.Resume(ctx, env, r.resume, r.maxTime, nil)
	closeView()
	if err == nil && res.Plan.AB == nil {
		err = failf(ExitUsage, "go on with: llmdyno bench run --resume "+r.resume, "%s is no comparison of two commands", r.resume)
	}
	if err == nil && res.Already {
		a.logf("%s is complete: nothing is left to measure; this is its result", shortPath(res.Dir))
	}
	return a.endAB(r, res, err)
}

// abEnv is the world of a run that also writes its verdict.
func (a *app) abEnv(ctx context.Context) (run.Env, func(), error) {
	env, closeView, err := a.runEnv(ctx)
	env.Report = func(folder *artifact.Run, p *run.Plan, rows []result.Row, took time.Duration) error {
		if err := a.writeRunReports(folder, p, rows, took); err != nil {
			return err
		}
		ab, ok := p.Verdict(rows)
		if !ok {
			return nil
		}
		var b bytes.Buffer
		if err := report.MarkdownAB(&b, ab); err != nil {
			return err
		}
		return errors.Join(folder.WriteJSON("ab.json", ab), folder.WriteFile("ab.md", b.Bytes()))
	}
	return env, closeView, err
}

// failAB ends a comparison that has nothing to show.
func (a *app) failAB(r abRequest, res run.Result, err error) error {
	if r.format != "json" {
		return err
	}
	if printErr := a.printJSON(abOutput{SchemaVersion: 1, Dir: res.Dir, State: res.State, Stopped: res.Stopped, Error: err.Error()}); printErr != nil {
		return printErr
	}
	return err
}

// endAB shows the verdict and names the exit code.
func (a *app) endAB(r abRequest, res run.Result, err error) error {
	dir := shortPath(res.Dir)
	goOn := "go on with: llmdyno bench ab --resume " + dir
	rows, err := a.rowsOf(res, err, goOn)
	if err != nil {
		return a.failAB(r, res, err)
	}
	ab, ok := res.Plan.Verdict(rows)
	if !ok {
		return a.failAB(r, res, failf(ExitFailed, "", "%s holds %d rows, expected those of two commands", dir, len(rows)))
	}
	if err := a.showAB(r, res, ab); err != nil {
		return err
	}
	if res.Stopped != "" {
		a.logf("ended early: %s; %s", res.Stopped, goOn)
	}
	switch {
	case !ab.Measured():
		return quiet(ExitFailed)
	case ab.Winner == stat.Tie:
		return quiet(ExitNo)
	}
	return nil
}

func (a *app) showAB(r abRequest, res run.Result, ab result.AB) error {
	var err error
	switch r.format {
	case "json":
		return a.printJSON(abOutput{SchemaVersion: 1, Dir: res.Dir, State: res.State, Stopped: res.Stopped, Already: res.Already, AB: &ab})
	case "md":
		err = report.MarkdownAB(a.stdout, ab)
	default:
		if err = report.TextAB(a.stdout, ab); err == nil {
			_, err = fmt.Fprintf(a.stdout, "\nverdict: %s\n", filepath.Join(shortPath(res.Dir), "ab.json"))
		}
	}
	if err != nil {
		return fail(ExitFailed, "", fmt.Errorf("standard output: %w", err))
	}
	return nil
}
