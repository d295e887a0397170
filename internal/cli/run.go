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
	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/run"
	"llmdyno/internal/engine"
	"llmdyno/internal/launch"
	"llmdyno/internal/report"
	"llmdyno/internal/sim"
)

// runsDir is where run folders are made when --out names none.
const runsDir = "runs"

type runRequest struct {
	name      string // file or cookbook:NAME
	engines   []string
	scenarios []string
	simulate  string
	simArgs   []string
	smoke     bool
	maxTime   time.Duration
	out       string
	resume    string
	format    string
	argv      []string // of this command, for the record
	dir       string   // folder in which servers run
}

// runOutput is what `bench run --format json` prints.
type runOutput struct {
	SchemaVersion int                `json:"schema_version"`
	Dir           string             `json:"dir"`
	State         string             `json:"state"`
	Stopped       string             `json:"stopped,omitempty"` // why it ended early
	Already       bool               `json:"already_complete,omitempty"`
	Simulated     bool               `json:"simulated"`
	Smoke         bool               `json:"smoke"`
	Comparison    *result.Comparison `json:"comparison,omitempty"`
	Error         string             `json:"error,omitempty"`
}

func newRunCommand(a *app) *cobra.Command {
	var r runRequest
	c := &cobra.Command{
		Use:   "run FILE|cookbook:NAME",
		Short: "Launch, load and measure every candidate, and rank them",
		Long: `Launch each candidate of a benchmark file in turn, load it at each scenario, find the
highest rate within the SLA, and name the best command per engine and scenario.
Everything that was measured lies in the run folder: samples, logs, rows, reports.

A run that was interrupted, killed or out of time goes on with --resume and the
folder alone. What was measured stays measured.

--simulate runs the same commands on the simulated engine, on the GPU named, else on
the file's gpu_model, else on ` + sim.DefaultGPU + `. --sim-arg hands one word to the simulator
(see: llmdyno sim --help), for trying out what goes wrong: --sim-arg=--fault=oom

--smoke checks the flow: at most two candidates of an engine, few and short prompts,
no rate search. Rows and reports are marked; the figures are no results.

Exit codes: 0 a candidate met its SLA, 1 none did, 2 wrong usage, 3 the work could not
be done (no engine installed, no place to write), 130 interrupted.`,
		Example: `  llmdyno bench run cookbook:qwen3-coder-next --simulate --smoke
  llmdyno bench run mine.yaml --engines sglang,vllm --scenario chat --max-time 4h
  llmdyno bench run --resume runs/20261124-203000-mine`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if err := r.check(c, args); err != nil {
				return err
			}
			if r.resume != "" {
				return a.resumeRun(c.Context(), r)
			}
			dir, err := os.Getwd()
			if err != nil {
				return fail(ExitFailed, "change to a folder that exists", fmt.Errorf("the folder in which servers run: %w", err))
			}
			r.name, r.dir = args[0], dir
			return a.startRun(c.Context(), r)
		},
	}
	r.flags(c)
	return c
}

func (r *runRequest) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringSliceVar(&r.engines, "engines", nil, "only these engines, separated by commas")
	f.StringArrayVar(&r.scenarios, "scenario", nil, "only this scenario; may be repeated")
	f.StringVar(&r.simulate, "simulate", "", "measure the simulated engine, on this GPU: "+simGPUs())
	f.Lookup("simulate").NoOptDefVal = fromFile
	f.StringArrayVar(&r.simArgs, "sim-arg", nil, "a word for the simulator, for example --fault=oom; may be repeated")
	f.StringVar(&r.out, "out", "", "the run folder itself, new or empty (default "+runsDir+"/<UTC time>-<name>)")
	f.StringVar(&r.resume, "resume", "", "go on with the run in this folder; needs nothing else")
	f.DurationVar(&r.maxTime, "max-time", 0, "end after this time, for example 90m; the rest is skipped and can be resumed")
	f.BoolVar(&r.smoke, "smoke", false, "flow check: two candidates an engine, few short prompts; never a performance result")
	f.StringVar(&r.format, "format", "text", "text, json, md or csv, on standard output")
}

// fromFile is the value of a bare --simulate.
const fromFile = "auto"

func (r *runRequest) check(c *cobra.Command, args []string) error {
	see := "see: llmdyno bench run --help"
	if err := oneOf("format", r.format, "text", "json", "md", "csv"); err != nil {
		return err
	}
	if r.maxTime < 0 {
		return failf(ExitUsage, "give a time such as 90m", "--max-time %s is negative", r.maxTime)
	}
	if r.resume != "" {
		for _, other := range []string{"engines", "scenario", "simulate", "sim-arg", "out", "smoke"} {
			if c.Flags().Changed(other) {
				return failf(ExitUsage, "leave it out, or start a new run", "--resume takes the plan of the folder: --%s cannot change it", other)
			}
		}
		if len(args) > 0 {
			return failf(ExitUsage, "leave it out, or start a new run", "--resume takes the plan of the folder: %s cannot change it", args[0])
		}
		return nil
	}
	if len(args) != 1 {
		hint := see
		if r.simulate != "" && r.simulate != fromFile && len(args) == 0 {
			hint = "give the GPU with an equals sign: --simulate=" + r.simulate
		}
		if r.simulate == fromFile && len(args) == 2 {
			hint = "give the GPU with an equals sign: --simulate=GPU"
		}
		return failf(ExitUsage, hint, "llmdyno bench run: expected one file or cookbook:NAME, got %d arguments", len(args))
	}
	if len(r.simArgs) > 0 && r.simulate == "" {
		return failf(ExitUsage, "add --simulate", "--sim-arg is for the simulator, which is not asked for")
	}
	r.argv = slices.Concat(runWords, args, changed(c))
	return nil
}

// changed are the flags of a command as given, for the record.
func changed(c *cobra.Command) []string {
	return asGiven(c, []string{"engines", "scenario", "simulate", "sim-arg", "max-time", "smoke"})
}

// asGiven are those of the named flags that were given, as words.
func asGiven(c *cobra.Command, names []string) []string {
	var words []string
	for _, name := range names {
		f := c.Flags().Lookup(name)
		if !f.Changed {
			continue
		}
		switch v := f.Value.(type) {
		case interface{ GetSlice() []string }:
			for _, x := range v.GetSlice() {
				words = append(words, "--"+name+"="+x)
			}
		default:
			words = append(words, "--"+name+"="+f.Value.String())
		}
	}
	return words
}

// planOf reads the file and makes the plan of the run.
func (a *app) planOf(r runRequest) (*run.Plan, []byte, error) {
	ids, err := a.engineIDs(r.engines)
	if err != nil {
		return nil, nil, err
	}
	f, err := a.loadConfig(r.name, config.Options{Engines: ids})
	if err != nil {
		return nil, nil, err
	}
	source, err := config.ReadNamed(r.name)
	if err != nil {
		return nil, nil, err
	}
	gpu, err := simulatedGPU(r.simulate, f.Hardware.GPUModel)
	if err != nil {
		return nil, nil, err
	}
	p, err := run.NewPlan(f, a.engines, run.Options{
		Engines: ids, Scenarios: r.scenarios, Smoke: r.smoke, MaxTime: r.maxTime,
		Simulated: gpu, SimArgs: r.simArgs, Command: strings.Join(r.argv, " "), Dir: r.dir,
	})
	if err != nil {
		return nil, nil, fail(ExitUsage, "", err)
	}
	return p, source, nil
}

// simulatedGPU is the GPU to simulate; "" = none.
func simulatedGPU(asked, inFile string) (string, error) {
	if asked == "" {
		return "", nil
	}
	if asked == fromFile {
		if g, err := sim.FindGPU(inFile); inFile != "" && err == nil {
			return g.ID, nil
		}
		return sim.DefaultGPU, nil
	}
	g, err := sim.FindGPU(asked)
	if err != nil {
		return "", fail(ExitUsage, "", fmt.Errorf("--simulate: %w", err))
	}
	return g.ID, nil
}

func (a *app) startRun(ctx context.Context, r runRequest) error {
	p, source, err := a.planOf(r)
	if err != nil {
		return a.failRun(r, run.Result{}, err)
	}
	for _, w := range p.Warnings {
		a.logf("warning: %s", w.Message)
	}
	env, closeView, err := a.runEnv(ctx)
	if err != nil {
		return a.failRun(r, run.Result{}, err)
	}
	res, err := a.begin(ctx, env, p, source, r, p.Slug())
	closeView()
	return a.endRun(r, res, err)
}

// begin makes the folder of a run, the one named or one with the time and the
// slug, and carries the plan out in it.
func (a *app) begin(ctx context.Context, env run.Env, p *run.Plan, source []byte, r runRequest, slug string) (run.Result, error) {
	meta := p.Meta(a.build().Version, source, r.argv)
	if !p.Simulated {
		gpus := launch.GPUs(ctx, launch.NewLocal(a.environ))
		meta.GPUs = gpus
		noteGPUs(p, gpus)
	}
	var folder *artifact.Run
	var err error
	if r.out != "" {
		folder, err = artifact.Create(r.out, meta, a.redactor)
	} else {
		folder, err = artifact.CreateIn(runsDir, slug, time.Now(), meta, a.redactor)
	}
	switch {
	case errors.Is(err, artifact.ErrNotEmpty):
		return run.Result{}, fail(ExitUsage, "", err)
	case err != nil:
		return run.Result{}, fail(ExitFailed, "", err)
	}
	a.logf("run folder: %s", shortPath(folder.Dir()))
	return run.Start(ctx, env, folder, p, source)
}

// noteGPUs fills in what the file leaves open about the GPUs of this machine.
func noteGPUs(p *run.Plan, gpus []launch.GPU) {
	if len(gpus) == 0 {
		return
	}
	h := &p.Hardware
	h.Driver = gpus[0].Driver
	if h.GPUModel == "" {
		h.GPUModel = gpus[0].Name
	}
	if h.GPUCount == 0 {
		h.GPUCount = len(gpus)
	}
}

func (a *app) resumeRun(ctx context.Context, r runRequest) error {
	env, closeView, err := a.runEnv(ctx)
	if err != nil {
		return a.failRun(r, run.Result{}, err)
	}
	restore := func(p *run.Plan) (*run.Plan, error) {
		again := r
		again.name, again.dir, again.maxTime = from(p.Dir, p.Name), p.Dir, time.Duration(p.MaxTimeS*float64(time.Second))
		again.smoke, again.simArgs = p.Smoke, p.SimArgs
		if p.Simulated {
			again.simulate = p.Hardware.GPUModel
		}
		for _, e := range p.Engines {
			again.engines = append(again.engines, string(e.ID))
		}
		for _, s := range p.Scenarios {
			again.scenarios = append(again.scenarios, s.Name)
		}
		full, _, err := a.planOf(again)
		return full, err
	}
	res, err := run.Resume(ctx, env, r.resume, r.maxTime, restore)
	if errors.Is(err, run.ErrNotStarted) {
		res, err = a.beginAgain(ctx, env, r.resume)
	}
	closeView()
	if err == nil && res.Already {
		a.logf("%s is complete: nothing is left to measure; this is its result", shortPath(res.Dir))
	}
	return a.endRun(r, res, err)
}

// from is a file's path as it was meant in a folder.
func from(dir, name string) string {
	if strings.HasPrefix(name, "cookbook:") || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// beginAgain begins a run that was killed between its manifest and its plan: the
// manifest holds the command line.
func (a *app) beginAgain(ctx context.Context, env run.Env, dir string) (run.Result, error) {
	none := run.Result{Dir: dir}
	m, err := artifact.ReadManifest(dir)
	if err != nil {
		return none, err
	}
	var again runRequest
	c := &cobra.Command{Use: "run"}
	again.flags(c)
	if len(m.Command) < len(runWords)+1 || !slices.Equal(m.Command[:len(runWords)], runWords) || c.ParseFlags(m.Command[len(runWords)+1:]) != nil {
		return none, fmt.Errorf("run %s: %w", dir, run.ErrNotStarted)
	}
	again.name, again.argv = m.Command[len(runWords)], m.Command
	if again.dir, err = os.Getwd(); err != nil {
		return none, err
	}
	p, source, err := a.planOf(again)
	if err != nil {
		return none, err
	}
	folder, err := artifact.Open(dir, a.redactor)
	if err != nil {
		return none, err
	}
	return run.Start(ctx, env, folder, p, source)
}

// runWords begin the command line in a manifest; the file's name follows.
var runWords = []string{"llmdyno", "bench", "run"}

// runEnv is the world of a run, and what ends its live view.
func (a *app) runEnv(ctx context.Context) (run.Env, func(), error) {
	self, err := os.Executable()
	if err != nil {
		return run.Env{}, nil, fmt.Errorf("finding this program for the simulator: %w", err)
	}
	observe, closeView := a.runView()
	host := artifact.ThisHost()
	name, _ := os.Hostname()
	return run.Env{
		Engines: a.engines, Backend: launch.NewLocal(a.environ), Redactor: a.redactor, Secret: a.env, Observe: observe,
		Rewrite: func(p *run.Plan, id engine.ID, argv []string) []string { return simulated(self, p, id, argv) },
		Report:  a.writeRunReports,
		Facts:   run.Facts{ToolVersion: a.build().Version, Host: name, CPU: host.CPU, Cores: host.Cores},
	}, closeView, nil
}

// simulated is the command that stands in for an engine's.
func simulated(self string, p *run.Plan, id engine.ID, argv []string) []string {
	words := []string{self, "sim", "--as=" + string(id), "--gpu=" + p.Hardware.GPUModel}
	if n := p.Hardware.GPUCount * max(p.Hardware.Nodes, 1); n > 0 {
		words = append(words, fmt.Sprintf("--gpus=%d", n))
	}
	return slices.Concat(words, p.SimArgs, []string{"--"}, argv)
}

// writeRunReports writes report.md, report.html and results.csv into the folder.
func (a *app) writeRunReports(folder *artifact.Run, p *run.Plan, rows []result.Row, took time.Duration) error {
	rows, err := hidden(rows, a.redactor, a.engines)
	if err != nil {
		return err
	}
	c := result.Compare(rows, result.Options{})
	page := report.PageOf(c)
	page.Title = "Benchmark of " + p.Model
	page.Plan = nil
	for _, x := range p.Candidates {
		page.Plan = append(page.Plan, report.Planned{Engine: string(x.Engine), ID: x.ID, Command: a.redactor.String(x.Command)})
	}
	for _, w := range p.Warnings {
		page.Warnings = append(page.Warnings, result.Warning{Code: w.Code, Message: w.Message})
	}
	page.Facts = append(page.Facts, report.Fact{Name: "Duration", Value: took.Round(time.Second).String()}, report.Fact{Name: "Command", Value: a.redactor.String(p.Command)})
	for _, f := range []struct {
		name   string
		render func(*bytes.Buffer) error
	}{
		{"report.md", func(b *bytes.Buffer) error { return report.Markdown(b, c) }},
		{"results.csv", func(b *bytes.Buffer) error { return report.CSV(b, c) }},
		{"report.html", func(b *bytes.Buffer) error { return report.HTML(b, page) }},
	} {
		var b bytes.Buffer
		if err := f.render(&b); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if err := folder.WriteFile(f.name, b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// failRun ends a run that has nothing to show.
func (a *app) failRun(r runRequest, res run.Result, err error) error {
	if r.format != "json" {
		return err
	}
	out := runOutput{SchemaVersion: 1, Dir: res.Dir, State: res.State, Stopped: res.Stopped, Error: err.Error()}
	if printErr := a.printJSON(out); printErr != nil {
		return printErr
	}
	return err
}

// rowsOf are the rows of a session that can be shown; a session that was cut
// short is an error that says how to go on.
func (a *app) rowsOf(res run.Result, err error, goOn string) ([]result.Row, error) {
	switch {
	case errors.Is(err, run.ErrInterrupted):
		return nil, fail(ExitInterrupted, goOn, err)
	case err != nil && res.State == artifact.StateFailed && len(res.Rows) > 0:
		return nil, fail(ExitFailed, goOn, err)
	case err != nil:
		return nil, err
	}
	return hidden(res.Rows, a.redactor, a.engines)
}

// endRun shows the result and names the exit code.
func (a *app) endRun(r runRequest, res run.Result, err error) error {
	dir := shortPath(res.Dir)
	goOn := "go on with: llmdyno bench run --resume " + dir
	rows, err := a.rowsOf(res, err, goOn)
	if err != nil {
		return a.failRun(r, res, err)
	}
	c := result.Compare(rows, result.Options{})
	if err := a.showRun(r, res, c); err != nil {
		return err
	}
	if res.Stopped != "" {
		a.logf("ended early: %s; %s", res.Stopped, goOn)
	}
	switch {
	case res.Already || run.Passed(res.Rows):
		return nil
	case !run.Usable(res.Rows):
		return failf(ExitFailed, "llmdyno doctor says what is there; --simulate needs nothing", "no engine of the plan could be used: %s", firstReason(res.Rows))
	}
	if !run.Measured(res.Rows) {
		return failf(ExitNo, "the reasons stand in "+filepath.Join(dir, "report.md"), "no candidate could be measured")
	}
	return failf(ExitNo, "see "+filepath.Join(dir, "report.md"), "no candidate met the SLA")
}

func firstReason(rows []result.Row) string {
	for _, r := range rows {
		if r.FailureReason != "" {
			return r.Framework + ": " + r.FailureReason
		}
	}
	return "no row was made"
}

func (a *app) showRun(r runRequest, res run.Result, c result.Comparison) error {
	if r.format == "json" {
		return a.printJSON(runOutput{SchemaVersion: 1, Dir: res.Dir, State: res.State, Stopped: res.Stopped, Already: res.Already, Simulated: res.Plan.Simulated, Smoke: res.Plan.Smoke, Comparison: &c})
	}
	if err := a.show(r.format, c, nil); err != nil {
		return err
	}
	if r.format == "text" {
		dir := shortPath(res.Dir)
		fmt.Fprintf(a.stdout, "\nreport: %s\nrows: %s\n", filepath.Join(dir, "report.html"), filepath.Join(dir, rowsName))
	}
	return nil
}

// shortPath is a path relative to the working folder where that is shorter.
func shortPath(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || len(rel) >= len(path) {
		return path
	}
	return rel
}
