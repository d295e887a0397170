package capture

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/load"
)

// Workload names what is profiled.
type Workload string

// The workloads.
const (
	Both    Workload = "both"    // prefill, then decode
	Prefill Workload = "prefill" // prompts alone
	Decode  Workload = "decode"  // one long answer
	// Legacy is one request that does both, in one trace without a stage of its own.
	Legacy Workload = "legacy"
)

// Workloads are all of them.
var Workloads = []Workload{Both, Prefill, Decode, Legacy}

// Defaults, those of the upstream profiler skill (BBuf/AI-Infra-Auto-Driven-SKILLS
// skills/llm-torch-profiler-analysis/scripts/profile_common.py @ aa3fee76, 2026-06-27).
const (
	DefaultPrefillInput  = 4090
	DefaultPrefillOutput = 1
	DefaultDecodeInput   = 1
	DefaultDecodeOutput  = 2048
	DefaultWarmup        = 10
	DefaultSteps         = 5
)

// Bounds of the waits. A file of a large model takes minutes to write.
const (
	DefaultFileTimeout = 3 * time.Minute
	poll               = 500 * time.Millisecond
	settle             = 3 * time.Second // without a change, where nobody tells how many files there will be
	lastStop           = 2 * time.Minute // the stop on the way out
	askTimeout         = 10 * time.Second
)

// Server is one live server.
type Server struct {
	Role    string // "", "mapping" or "formal"
	Client  *client.Client
	Model   string
	Version string // "" = unknown
	URL     string // for people
	Remote  bool   // it runs on another machine, as far as its address tells
	// Dir is the folder in which it writes its traces, by its own path; Here is
	// the same folder by its path on this machine. "" = the folder of the capture.
	Dir, Here string
}

// Request is what is to be captured.
type Request struct {
	Server                                                 Server
	Workload                                               Workload
	PrefillInput, PrefillOutput, DecodeInput, DecodeOutput int // tokens; DecodeOutput 0 = what the engine needs
	// Warmup and Steps are forward steps before the profile, and in it.
	Warmup, Steps int
	ByStage       bool // one session; the engine parts the stages
	// AtLaunch: the launch has told the profiler what to record; only probes are
	// sent, and the files are waited for.
	AtLaunch    bool
	StopRunning bool // a profile that runs already is ended
	Ranks       int  // files a stage; 0 = as the server or its traces tell
	Dir         string
	Seed        uint64        // of the prompts; a seed used before finds them in the prefix cache
	FileTimeout time.Duration // without any change of a file; 0 = DefaultFileTimeout
	StopTimeout time.Duration // 0 = the engine's
	Redactor    *artifact.Redactor
	Say         func(format string, args ...any) // one line of progress; nil = nobody listens
}

// ErrProblem is the error of a capture whose traces are not what was asked for;
// the result says of which stage and why.
var ErrProblem = errors.New("the capture is not complete")

// RequestError is a request that cannot be done as it stands; nothing was sent
// but questions.
type RequestError struct{ Err error }

func (e RequestError) Error() string { return e.Err.Error() }
func (e RequestError) Unwrap() error { return e.Err }

// Run captures what is asked for from one server. The result is filled as far as
// it went, also with an error. The profiler is stopped on every way out.
func Run(ctx context.Context, q Request) (*Capture, error) {
	r, err := prepare(ctx, q)
	if err != nil {
		return nil, err
	}
	c := r.result
	for _, s := range r.stages {
		err := r.stage(ctx, s)
		r.save()
		if err != nil {
			return c, err
		}
	}
	if err := r.saved; err != nil {
		return c, err
	}
	for _, s := range c.Stages {
		if s.Problem != "" {
			return c, fmt.Errorf("%w: %s: %s", ErrProblem, s.Stage, s.Problem)
		}
	}
	return c, nil
}

// runner is one capture under way.
type runner struct {
	q        Request
	e        *engine.Engine
	p        *engine.Profiler
	wire     engine.Wire
	eos      bool // answers can be asked for their whole length
	stages   []stagePlan
	result   *Capture
	counting counting
	saved    error // of writing capture.json
	running  bool  // the profiler was started and not stopped
}

func prepare(ctx context.Context, q Request) (*runner, error) {
	if q.Say == nil {
		q.Say = func(string, ...any) {}
	}
	if q.FileTimeout <= 0 {
		q.FileTimeout = DefaultFileTimeout
	}
	r := &runner{q: q, e: q.Server.Client.Engine()}
	if r.e == nil || r.e.Profiler == nil {
		return nil, fmt.Errorf("profile capture: nothing is known of this server's profiler: name its framework with --framework")
	}
	r.p = r.e.Profiler
	if r.q.StopTimeout <= 0 {
		r.q.StopTimeout = r.p.StopTimeout
	}
	if err := r.check(); err != nil {
		return nil, RequestError{err}
	}
	wire, err := q.Server.Client.Wire(engine.EndpointCompletions)
	if err != nil {
		return nil, err
	}
	r.wire = wire
	_, err = wire.Encode(engine.GenerateRequest{Model: "m", Prompt: "p", MaxTokens: 1, IgnoreEOS: true})
	r.eos = err == nil
	r.result = &Capture{
		Schema: Schema, SchemaVersion: SchemaVersion, Role: q.Server.Role, Engine: r.e.ID, Version: q.Server.Version, Model: q.Server.Model,
		Started: time.Now().UTC(), Workload: q.Workload, Warmup: q.Warmup, Steps: q.Steps, ByStage: q.ByStage, AtLaunch: q.AtLaunch, Seed: q.Seed, dir: q.Dir,
	}
	r.folders()
	r.stages = r.plan()
	r.ranks(ctx)
	return r, nil
}

func (r *runner) check() error {
	q := r.q
	for name, n := range map[string]int{"prefill input": q.PrefillInput, "prefill output": q.PrefillOutput, "decode input": q.DecodeInput} {
		if n < 1 || n > 1<<24 {
			return fmt.Errorf("%s length %d: expected 1 to %d tokens", name, n, 1<<24)
		}
	}
	switch {
	case q.DecodeOutput < 0 || q.DecodeOutput == 1:
		return fmt.Errorf("decode output length %d: expected at least 2 tokens, of which the first comes from the prompt's own step", q.DecodeOutput)
	case q.Steps < 1 || q.Steps > 10_000 || q.Warmup < 0 || q.Warmup > 10_000:
		return fmt.Errorf("%d steps after %d of warm-up: expected 1 to 10000, and 0 to 10000", q.Steps, q.Warmup)
	case q.ByStage && !r.p.ByStage:
		return fmt.Errorf("by stage: the profiler of %s has no such thing; leave it out: the stages are recorded one after the other", r.e.Title)
	case q.ByStage && q.Workload == Legacy:
		return fmt.Errorf("by stage: the legacy workload has one trace for both; take the workload both")
	case q.AtLaunch && r.p.AtLaunch == nil:
		return fmt.Errorf("at launch: %s cannot be told by its launch what to record; leave it out", r.e.Title)
	case q.AtLaunch && q.Workload == Both:
		return fmt.Errorf("at launch: one launch records one stretch, so take the workload prefill or decode, as the launch's recipe does")
	case !r.p.NamesFolder && q.Server.Dir == "":
		return fmt.Errorf("where %s writes its traces is fixed by its launch: give that folder with --server-dir%s", r.e.Title, r.launchHint())
	case q.AtLaunch && q.Server.Dir == "":
		return fmt.Errorf("where the traces go is fixed by the launch: give the folder of %s with --server-dir", r.p.AtLaunch.Trace)
	}
	return nil
}

// launchHint says how the launch enables the profiler.
func (r *runner) launchHint() string {
	way, needed := r.p.EnableFor(r.q.Server.Version)
	if !needed {
		return ""
	}
	return " (launched with " + way.String() + ")"
}

// folders resolves where the server writes and where that is here.
func (r *runner) folders() {
	s := &r.q.Server
	if s.Dir == "" {
		s.Dir, s.Here = r.q.Dir, r.q.Dir
	}
	if s.Here == "" {
		s.Here = s.Dir
	}
	r.result.ServerDir, r.result.Here = s.Dir, s.Here
}

// ranks asks the server how many files a stage there will be.
func (r *runner) ranks(ctx context.Context) {
	c := r.result
	if c.Ranks, c.RanksBy = r.q.Ranks, "the caller"; c.Ranks > 0 {
		return
	}
	c.RanksBy = ""
	if r.p.Ranks == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	reply, err := r.q.Server.Client.Call(ctx, engine.EndpointServerInfo, nil, nil)
	if err != nil {
		return
	}
	if n, ok := r.p.Ranks(reply.Body); ok {
		c.Ranks, c.RanksBy = n, "the server"
	}
}

// stage captures one stage.
func (r *runner) stage(ctx context.Context, plan stagePlan) (err error) {
	s := &Stage{Stage: plan.name, Input: plan.input, Output: plan.output, Probes: plan.probes}
	r.result.Stages = append(r.result.Stages, s)
	watch, err := r.folder(plan, s)
	if err != nil {
		return err
	}
	prompts, err := r.prompts(ctx, plan, s)
	if err != nil {
		return err
	}
	if prompts, err = r.warm(ctx, plan, s, prompts); err != nil {
		return err
	}
	counters := r.counters(ctx)
	if err := r.start(ctx, plan, s, watch); err != nil {
		return err
	}
	defer func() {
		if r.running {
			r.stopAtLast(ctx)
		}
	}()
	r.q.Say("%s: probing with %s", plan.name, plan.describe())
	out, err := load.Run(ctx, r.trial(prompts.probes, "probe"))
	if err != nil {
		return fmt.Errorf("%s: probes: %w", plan.name, err)
	}
	s.take(out.Records)
	if err := r.stop(ctx, s); err != nil {
		return err
	}
	r.judgeProbes(ctx, s, out.Records, counters)
	if watch == nil {
		s.trouble(fmt.Sprintf("its traces are in %s on the server's machine, which is not visible here: copy them to %s, or give --server-dir %s=PATH-HERE", s.ServerDir, filepath.Join(r.q.Dir, plan.name), r.q.Server.Dir))
		return nil
	}
	r.q.Say("%s: waiting for the traces in %s", plan.name, watch.dir)
	if err := r.collect(ctx, plan, s, watch); err != nil {
		return err
	}
	r.judgeFiles(plan, s)
	return nil
}

// describe is the probes of a stage in words.
func (p stagePlan) describe() string {
	var parts []string
	for _, l := range p.loads {
		parts = append(parts, fmt.Sprintf("%d × %d→%d tokens", l.probes, l.input, l.output))
	}
	return strings.Join(parts, ", then ")
}

// stopAtLast stops the profiler on the way out, whatever the way.
func (r *runner) stopAtLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastStop)
	defer cancel()
	r.q.Say("stopping the profiler (up to %s)", lastStop)
	if _, err := r.act(ctx, engine.ProfileStopping, nil); err != nil {
		r.q.Say("warning: the profiler may still run: %v; stop it with POST /stop_profile", err)
	}
	r.running = false
}

// id is the first part of the files' names, where the engine takes one.
func (r *runner) id(stage string) string {
	return "llmdyno-" + strconv.FormatInt(r.result.Started.UnixMilli(), 10) + "-" + strings.ReplaceAll(stage, "-", "")
}
