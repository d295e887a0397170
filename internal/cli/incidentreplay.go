package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"llmdyno/internal/artifact"
	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/incident/dump"
	"llmdyno/internal/incident/replay"
	"llmdyno/internal/launch"
	"llmdyno/internal/report"
)

// exitCannotTell is what `git bisect run` takes for a commit that cannot be tested
// (git-bisect(1), "Bisect run").
const exitCannotTell = 125

// replayRequest is what `llmdyno incident replay` is asked for.
type replayRequest struct {
	replay.Options
	source, url, engine, model, tokenEnv, yesTarget, format, out string
	asserts                                                      []string
	repeat, maxTests                                             int
	dryRun, bisect, minimize, hostile                            bool
	readyTimeout                                                 time.Duration
	command                                                      []string // that starts a server

	assertions replay.Assertions
	port       int // of the server that is launched; 0 = chosen
	key        string
	forced     *engine.Engine // named by --engine
}

const replaySee = "see: llmdyno incident replay --help"

func newIncidentReplayCommand(a *app) *cobra.Command {
	var r replayRequest
	c := &cobra.Command{
		Use:   "replay DUMP|REQUESTS.jsonl --url URL [-- COMMAND…]",
		Short: "Send recorded requests again and say whether the trouble came back",
		Long: `Sends the requests of a request or crash dump, a folder of dumps, or a request list
(llmdyno incident dump --to jsonl) to a server, at the instants at which they came,
divided by --speed. Each leaves at its instant whatever the earlier ones do, unless
--concurrency caps them; lateness is reported. What must not be sent again is dropped and
said. A failed request never stops the rest.

A dump goes to its own engine as it was (/generate, /encode), to any other through
completions or chat (--endpoint). What will be sent is shown first; --dry-run ends there.
Only a server of this machine is taken, unless --yes-target names the host.

The verdict holds the outcome against the recording: reproduced, not_reproduced,
different or undecided, with the criteria (docs/replay.md). --assert EXPR states what a
good server does, as conditions over the figures of the JSON document:
  --assert 'failed == 0' --assert 'ttft_ms.p99 < 500' --assert 'requests.all(r, r.ok)'

After -- stands a command that starts a server, on the port of --url or on {port}, which
is replaced by a free one. Each replay then meets a server of its own, which is stopped
again, and --minimize finds the smallest set of requests that still shows the trouble, by
delta debugging: one poison request among n needs at most 2·log2(n)+8 starts.

Exit codes: 0 done, 2 wrong usage, 3 could not be done, 130 interrupted. With --assert or
--bisect those of git bisect run: 0 good, 1 bad (an assertion does not hold; without one:
reproduced), 125 cannot tell, whatever the reason.`,
		Example: `  llmdyno incident replay crash_dump.pkl --url http://127.0.0.1:30000
  llmdyno incident replay requests.jsonl --url http://127.0.0.1:8000 --speed 4 --endpoint completions --assert 'failed == 0'
  llmdyno incident replay crash_dump.pkl --minimize --out smallest.jsonl -- python -m sglang.launch_server --model-path M --port {port}
  git bisect run llmdyno incident replay crash_dump.pkl --bisect -- ./serve.sh {port}`,
		RunE: func(c *cobra.Command, args []string) error {
			err := r.check(a, c, args)
			if err == nil {
				err = a.runReplay(c.Context(), &r)
			}
			return r.told(err)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&r.url, "url", "", "the server: http://host:port, or https")
	f.Float64Var(&r.Speed, "speed", 1, "divides the recorded gaps: 2 = twice as fast")
	f.IntVar(&r.Concurrency, "concurrency", 0, "most requests in flight; 0 = no cap")
	f.IntVar(&r.From, "from", 0, "first request to send, from 0, in the order of their start")
	f.IntVar(&r.Count, "count", 0, "number of requests; 0 = all that follow")
	f.BoolVar(&r.IgnoreEOS, "ignore-eos", false, "generate exactly as many tokens as recorded")
	f.StringVar(&r.Endpoint, "endpoint", "", "generate, completions or chat (default: the recorded one where the server has it, else completions)")
	f.DurationVar(&r.Timeout, "timeout", replay.DefaultTimeout, "bound on one request")
	f.StringVar(&r.engine, "engine", "", "engine id, where it is not to be found out; openai for the plain protocol")
	f.StringVar(&r.model, "model", "", "name of the model in requests (default: the first that the server lists)")
	f.StringVar(&r.tokenEnv, "token-env", "", "environment variable that holds the server's key")
	f.StringVar(&r.yesTarget, "yes-target", "", "send to this host although it is not this machine")
	f.BoolVar(&r.dryRun, "dry-run", false, "show what would be sent and end")
	f.IntVar(&r.repeat, "repeat", 1, "replays; with --minimize also how often a set is tried before it counts as harmless")
	f.StringArrayVar(&r.asserts, "assert", nil, "condition that a good server meets; may be repeated")
	f.BoolVar(&r.bisect, "bisect", false, "exit codes for git bisect run, by the verdict where there is no --assert")
	f.BoolVar(&r.minimize, "minimize", false, "find the smallest set of requests that still shows the trouble")
	f.IntVar(&r.maxTests, "max-tests", 0, "bound on the tests of --minimize; 0 = four times what one poison request needs")
	f.StringVar(&r.out, "out", "", "write the requests, or the smallest set of them, as a request list to this file")
	f.DurationVar(&r.readyTimeout, "ready-timeout", 0, "bound on the start of a server; 0 = that of its engine")
	f.BoolVar(&r.hostile, "allow-hostile", false, "replay a dump that would run code in Python; here nothing of it is run")
	f.StringVar(&r.format, "format", "text", "text, json or md, on standard output")
	return c
}

// told makes every end but an answer one that a bisection does not take for bad.
func (r *replayRequest) told(err error) error {
	if err == nil || !r.bisect && len(r.asserts) == 0 {
		return err
	}
	switch code := codeOf(err); {
	case code == ExitFailed, code == ExitUsage, code == ExitNo && err.Error() != "":
		return fail(exitCannotTell, "", errors.New(err.Error()))
	}
	return err
}

func (r *replayRequest) check(a *app, c *cobra.Command, args []string) error {
	if at := c.ArgsLenAtDash(); at >= 0 {
		args, r.command = args[:at], args[at:]
		if len(r.command) == 0 {
			return failf(ExitUsage, "name the command that starts a server", "llmdyno incident replay: nothing stands after --")
		}
	}
	if len(args) != 1 {
		return failf(ExitUsage, replaySee, "llmdyno incident replay: expected one dump, folder of dumps or request list, got %d", len(args))
	}
	r.source = args[0]
	if err := oneOf("format", r.format, "text", "json", "md"); err != nil {
		return err
	}
	if r.Speed == 0 {
		return failf(ExitUsage, "1 = as recorded", "--speed 0: expected a factor above 0")
	}
	if err := r.Validate(); err != nil {
		return fail(ExitUsage, replaySee, err)
	}
	switch {
	case r.repeat < 1 || r.repeat > 1000:
		return failf(ExitUsage, replaySee, "--repeat %d: expected 1 to 1000", r.repeat)
	case r.maxTests < 0:
		return failf(ExitUsage, replaySee, "--max-tests %d: expected 0 or more", r.maxTests)
	case r.minimize && r.dryRun:
		return failf(ExitUsage, "leave one of them out", "--minimize and --dry-run exclude one another")
	case r.url == "" && r.command == nil && !r.dryRun:
		return failf(ExitUsage, replaySee, "llmdyno incident replay: --url is needed: the server to send to")
	case r.url == "" && r.command != nil && !replay.ChoosesPort(r.command):
		return failf(ExitUsage, "give --url, or {port} in the command", "llmdyno incident replay: on which port will the command serve?")
	}
	var err error
	if r.assertions, err = replay.ParseAssertions(r.asserts); err != nil {
		return fail(ExitUsage, "docs/replay.md lists what can be asked", fmt.Errorf("--assert: %w", err))
	}
	if err := r.checkEngine(a); err != nil {
		return err
	}
	if err := r.checkURL(); err != nil {
		return err
	}
	if r.tokenEnv != "" {
		if r.key = a.env(r.tokenEnv); r.key == "" {
			return failf(ExitUsage, "set it to the server's key", "--token-env: the environment has no variable %s", r.tokenEnv)
		}
		a.redactor.AddSecret(r.key)
	}
	return nil
}

func (r *replayRequest) checkEngine(a *app) error {
	e, known := a.engines.Lookup(r.engine)
	if known {
		r.forced = e
	} else if r.engine != "" && r.engine != plainProtocol {
		return failf(ExitUsage, "use one of: "+simEngines(a)+" "+plainProtocol, "--engine %q is not an engine that llmdyno knows", r.engine)
	}
	return nil
}

// checkURL refuses what is not this machine and was not named on purpose.
func (r *replayRequest) checkURL() error {
	if r.url == "" {
		return nil
	}
	u, err := url.Parse(r.url)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return failf(ExitUsage, "write it as http://host:port", "--url is not a URL of a server")
	}
	here := loopback(r.url)
	if r.command != nil {
		if !here {
			return failf(ExitUsage, "give a loopback address", "--url: the command after -- starts a server on this machine, not on %s", u.Hostname())
		}
		if !replay.ChoosesPort(r.command) {
			if r.port, err = strconv.Atoi(u.Port()); err != nil {
				return failf(ExitUsage, "write it as http://127.0.0.1:port", "--url: it names no port for the server that the command starts")
			}
		}
	}
	if named := r.yesTarget == u.Hostname() || r.yesTarget == u.Host || r.yesTarget == net.JoinHostPort(u.Hostname(), u.Port()); !here && !named {
		return failf(ExitUsage, "if it is a server that may be broken: --yes-target "+u.Hostname(), "--url: %s is not this machine, and recorded requests may bring a server down", u.Hostname())
	}
	return nil
}

// runReplay replays and shows what came of it.
func (a *app) runReplay(ctx context.Context, r *replayRequest) error {
	d := replay.NewDocument([]string{r.source})
	err := a.replay(ctx, r, d)
	interrupted := ctx.Err() != nil
	switch {
	case interrupted:
		d.State = artifact.StateInterrupted
		err = fail(ExitInterrupted, "", errors.New("llmdyno incident replay: interrupted; every server that it started was stopped"))
	case err != nil:
		d.State = artifact.StateFailed
	}
	if err != nil {
		d.Error = err.Error()
	}
	if !r.dryRun && !interrupted {
		d.Conclude(r.assertions, r.bisect)
		if err != nil && d.Answer != "" {
			d.Answer = replay.CannotTell
		}
	}
	if len(d.Runs) > 0 || d.Plan != nil || r.format == "json" {
		if printErr := a.printReplay(r.format, d); printErr != nil {
			return printErr
		}
	}
	if err != nil {
		return err
	}
	switch d.Answer {
	case replay.Bad:
		return quiet(ExitNo)
	case replay.CannotTell:
		return quiet(exitCannotTell)
	}
	return nil
}

func (a *app) printReplay(format string, d *replay.Document) error {
	switch format {
	case "json":
		return a.printJSON(d)
	case "md":
		return report.ReplayMarkdown(a.stdout, d)
	}
	return report.Replay(a.stdout, d)
}

// replay fills in the document.
func (a *app) replay(ctx context.Context, r *replayRequest, d *replay.Document) error {
	src, err := replay.Read(ctx, r.source, a.engines)
	if src != nil {
		for _, p := range src.Problems {
			a.logf("warning: %s", p)
		}
	}
	if err != nil {
		return fail(ExitFailed, "", fmt.Errorf("llmdyno incident replay: %w", err))
	}
	d.Sources = src.Files
	if len(src.Hostile) > 0 && !r.hostile {
		return failf(ExitUsage, "look at it with llmdyno incident dump; --allow-hostile sends its requests all the same", "%s would run code in Python", src.Hostile[0])
	}
	h := a.replayHost(r)
	defer h.Close()
	if r.dryRun {
		return a.planReplay(ctx, r, h, src, d)
	}
	plan, runs, err := h.Whole(ctx, func(t replay.Target) (*replay.Plan, error) {
		return replay.NewPlan(src.Requests, t.Engine(), t.Model, r.Options)
	}, r.repeat, func(p *replay.Plan, t replay.Target) error {
		return a.showPlan(r, p, h.Address(), t, d)
	})
	d.Runs, d.State = append(d.Runs, runs...), artifact.StateComplete
	if err == nil && r.minimize {
		worst := runs[0]
		for _, x := range runs {
			if x.Died || x.Failed > worst.Failed && !worst.Died {
				worst = x
			}
		}
		d.Minimize, err = replay.Minimize(ctx, plan, worst, h, r.assertions, r.repeat, r.maxTests, a.logf)
	}
	if writeErr := a.writeReplayed(r, src, plan, d); err == nil {
		err = writeErr
	}
	var known *exitError
	if err != nil && !errors.As(err, &known) {
		err = failf(ExitFailed, "", "llmdyno incident replay: %w", err)
	}
	return err
}

// showPlan says what will be sent, before it is.
func (a *app) showPlan(r *replayRequest, p *replay.Plan, address string, t replay.Target, d *replay.Document) error {
	d.Plan = p.View(r.dryRun)
	d.Target = replay.TargetView{URL: address, Version: t.Version, Model: t.Model}
	for _, w := range r.command {
		d.Target.Command = append(d.Target.Command, a.redactor.String(w))
	}
	if e := t.Engine(); e != nil {
		d.Target.Engine = string(e.ID)
	}
	if a.quiet || r.dryRun {
		return nil
	}
	var b bytes.Buffer
	if err := report.ReplayPlan(&b, p.View(true), d.Target); err != nil {
		return err
	}
	a.logf("about to send:\n%s", b.String())
	return nil
}

// replayHost is where servers come from.
func (a *app) replayHost(r *replayRequest) *replay.Host {
	h := &replay.Host{URL: r.url, Attach: func(ctx context.Context, address string) (replay.Target, error) {
		return a.attachReplay(ctx, r, address)
	}}
	if r.command != nil {
		h.Launch = &replay.Launch{
			Backend: launch.NewLocal(a.environ), Command: r.command, Engine: r.forced, Port: r.port, Model: r.model, APIKey: r.key, Deadline: r.readyTimeout,
		}
	}
	return h
}

// attachReplay asks a server what it is.
func (a *app) attachReplay(ctx context.Context, r *replayRequest, address string) (replay.Target, error) {
	o := client.Options{BaseURL: address, APIKey: r.key}
	models, found, err := a.ask(ctx, o)
	if err != nil {
		return replay.Target{}, err
	}
	if r.engine != "" {
		found = r.forced
	}
	t := replay.Target{Model: cmp.Or(r.model, firstOf(models))}
	if t.Model == "" {
		return t, failf(ExitUsage, "name it with --model", "the server at %s does not say which model it serves", address)
	}
	o.Engine = found
	if t.Client, err = client.New(o); err != nil {
		return t, fail(ExitUsage, "", fmt.Errorf("--url: %w", err))
	}
	if found != nil {
		t.Version = serverVersion(ctx, t.Client)
	}
	if loopback(address) {
		t.Ask = launch.NewLocal(a.environ).Output
	}
	return t, nil
}

// planReplay shows what would be sent. A server that does not answer, or that no
// command has started yet, is taken for the recorded engine.
func (a *app) planReplay(ctx context.Context, r *replayRequest, h *replay.Host, src *replay.Source, d *replay.Document) error {
	var t replay.Target
	err := errors.New("none is named, or none runs yet")
	if r.url != "" && r.command == nil {
		t, err = h.Fresh(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		e := r.forced
		if e == nil && r.engine == "" {
			e, _ = a.engines.Lookup(string(src.Requests[0].Engine))
		}
		name := "a server of the plain OpenAI protocol"
		if e != nil {
			name = e.Title
		}
		a.logf("no server was asked (%v): planning for %s", err, name)
		if t.Client, err = client.New(client.Options{BaseURL: cmp.Or(r.url, "http://127.0.0.1"), Engine: e}); err != nil {
			return fail(ExitUsage, "", fmt.Errorf("--url: %w", err))
		}
		defer t.Client.Close()
		t.Model = cmp.Or(r.model, "MODEL")
	}
	p, err := replay.NewPlan(src.Requests, t.Engine(), t.Model, r.Options)
	if err != nil {
		return failf(ExitFailed, "", "llmdyno incident replay: %w", err)
	}
	d.State = replay.StatePlanned
	if err := a.showPlan(r, p, r.url, t, d); err != nil {
		return err
	}
	return a.writeReplayed(r, src, p, d)
}

// writeReplayed writes the requests of the plan, or the smallest set of them.
func (a *app) writeReplayed(r *replayRequest, src *replay.Source, p *replay.Plan, d *replay.Document) error {
	if r.out == "" || p == nil {
		return nil
	}
	items := p.Items
	if d.Minimize != nil && d.Minimize.Shows {
		items = d.Minimize.Items
	}
	keep := map[int]bool{}
	for i := range items {
		keep[items[i].Index] = true
	}
	var reqs []dump.Request
	for _, q := range src.Requests {
		if len(q.Messages) > 0 {
			return failf(ExitUsage, "leave it out", "--out: a list of chats is not written anew")
		}
		if keep[q.Index] {
			reqs = append(reqs, q.Request)
		}
	}
	var b bytes.Buffer
	if err := dump.WriteRequests(&b, src.Files, reqs); err != nil {
		return failf(ExitFailed, "", "--out: %w", err)
	}
	if err := artifact.WriteWhole(r.out, b.Bytes(), a.redactor); err != nil {
		return failf(ExitFailed, "name a file that can be written", "--out: %w", err)
	}
	a.logf("%d requests written to %s, prompts included", len(reqs), strings.TrimSpace(r.out))
	return nil
}
