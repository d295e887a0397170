package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"llmdyno/internal/artifact"
	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/profile/capture"
)

// captureRequest is what `llmdyno profile capture` is asked for.
type captureRequest struct {
	capture.Request
	url, mappingURL, formalURL                   string
	serverDir, mappingServerDir, formalServerDir string
	framework, model, keyEnv, workload           string
	headers                                      []string
}

func newProfileCaptureCommand(a *app) *cobra.Command {
	var r captureRequest
	c := &cobra.Command{
		Use:   "capture --url URL",
		Short: "Profile a live server, prefill and decode apart",
		Long: `Drives the torch profiler of a server that runs: prompts of exact length that no
other request has, a warm-up of the same shape, the profile of a few steps, and a wait
until every rank's trace is whole. Each stage has a folder of its own with the traces and
capture.json, which says what was asked and what came.

The server writes its traces itself. Where it is told the folder (SGLang, TokenSpeed,
TensorRT-LLM) that is --output-dir, by the same path on the server; give --server-dir
PATH=PATH-HERE where the two differ, as with a container. vLLM has the folder from its
launch: name it with --server-dir. The profiler is stopped on every way out.

Two servers (--mapping-url without CUDA graphs, --formal-url with them) are profiled one
after the other. "llmdyno profile recipe ENGINE" shows how to launch them.

Exit codes: 0 done, 1 the traces are not what was asked for (the folder says why),
2 wrong usage, 3 the capture could not be made, 130 interrupted.`,
		Example: `  llmdyno profile capture --url http://127.0.0.1:30000 --output-dir /data/profiles/qwen3
  llmdyno profile capture --url http://127.0.0.1:8000 --server-dir /traces=/mnt/traces --workload decode
  llmdyno profile capture --mapping-url http://127.0.0.1:30002 --formal-url http://127.0.0.1:30000`,
		Args: exactArgs(0, "only options"),
		RunE: func(c *cobra.Command, _ []string) error { return a.runCapture(c.Context(), &r) },
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&r.url, "url", "", "the server: http://host:port, or https")
	f.StringVar(&r.mappingURL, "mapping-url", "", "of a pair, the server without CUDA graphs")
	f.StringVar(&r.formalURL, "formal-url", "", "of a pair, the server as it is used")
	f.StringVar(&r.framework, "framework", "auto", "engine of the server; auto: found out by asking it")
	f.StringVar(&r.model, "model", "", "name of the model in requests (default: the first that the server lists)")
	f.StringVar(&r.workload, "workload", string(capture.Both), "both, prefill, decode, or legacy (one trace for both)")
	f.IntVar(&r.PrefillInput, "prefill-input-len", capture.DefaultPrefillInput, "prompt tokens of a prefill probe")
	f.IntVar(&r.PrefillOutput, "prefill-output-len", capture.DefaultPrefillOutput, "output tokens of a prefill probe")
	f.IntVar(&r.DecodeInput, "decode-input-len", capture.DefaultDecodeInput, "prompt tokens of the decode probe")
	f.IntVar(&r.DecodeOutput, "decode-output-len", 0, "output tokens of the decode probe (default 2048; what --steps need where the engine cannot count them)")
	f.IntVar(&r.Warmup, "warmup-steps", capture.DefaultWarmup, "steps before the profile")
	f.IntVar(&r.Steps, "steps", capture.DefaultSteps, "steps of each stage in the profile")
	f.BoolVar(&r.ByStage, "by-stage", false, "one session in which the engine itself parts the stages")
	f.BoolVar(&r.AtLaunch, "at-launch", false, "the launch has told the profiler what to record: send the probes and wait for its files")
	f.BoolVar(&r.StopRunning, "stop-running", false, "end a profile that runs already")
	f.IntVar(&r.Ranks, "ranks", 0, "traces to wait for in each stage (default: as the server or its traces tell)")
	f.StringVar(&r.Dir, "output-dir", "", "folder of the capture, new or without traces (default profiles/ENGINE-TIME)")
	f.StringVar(&r.serverDir, "server-dir", "", "PATH or PATH=PATH-HERE: where the server writes, by its path and by that of this machine")
	f.StringVar(&r.mappingServerDir, "mapping-server-dir", "", "of a pair, that of the mapping server")
	f.StringVar(&r.formalServerDir, "formal-server-dir", "", "of a pair, that of the formal server")
	f.Uint64Var(&r.Seed, "seed", 0, "of the prompts (default: a new one, so that no prefix cache knows them)")
	f.DurationVar(&r.FileTimeout, "file-timeout", capture.DefaultFileTimeout, "longest wait for the traces without any change of them")
	f.DurationVar(&r.StopTimeout, "stop-timeout", 0, "longest wait for the answer to the stop (default: the engine's, 30m or more)")
	f.StringVar(&r.keyEnv, "api-key-env", "", "environment variable that holds the server's key")
	f.StringArrayVar(&r.headers, "header-env", nil, "NAME=ENVVAR: send header NAME with the value of an environment variable; may be repeated")
	return c
}

// target is one server of a capture, before it was asked anything.
type captureTarget struct{ role, url, dir string }

func (r *captureRequest) targets() ([]captureTarget, error) {
	see := "see: llmdyno profile capture --help"
	pair := r.mappingURL != "" || r.formalURL != ""
	switch {
	case pair && r.url != "":
		return nil, failf(ExitUsage, see, "llmdyno profile capture: --url and a pair exclude one another")
	case pair && (r.mappingURL == "" || r.formalURL == ""):
		return nil, failf(ExitUsage, see, "llmdyno profile capture: a pair needs --mapping-url and --formal-url")
	case pair && r.serverDir != "":
		return nil, failf(ExitUsage, "give --mapping-server-dir and --formal-server-dir", "llmdyno profile capture: --server-dir is of one server")
	case !pair && r.url == "":
		return nil, failf(ExitUsage, see, "llmdyno profile capture: --url is needed: the server to profile")
	}
	if pair {
		return []captureTarget{{"mapping", r.mappingURL, r.mappingServerDir}, {"formal", r.formalURL, r.formalServerDir}}, nil
	}
	return []captureTarget{{"", r.url, r.serverDir}}, nil
}

func (a *app) runCapture(ctx context.Context, r *captureRequest) error {
	targets, err := r.targets()
	if err != nil {
		return err
	}
	r.Workload = capture.Workload(r.workload)
	if !slices.Contains(capture.Workloads, r.Workload) {
		return oneOf("workload", r.workload, "both", "prefill", "decode", "legacy")
	}
	if r.Seed == 0 {
		r.Seed = uint64(time.Now().UnixNano())
	}
	r.Redactor = a.redactor
	var done []*capture.Capture
	for _, t := range targets {
		c, err := a.captureOne(ctx, r, t)
		if c != nil {
			done = append(done, c)
			a.printCapture(c)
		}
		if err != nil {
			return captureFailed(ctx, err)
		}
	}
	a.printNext(r, done)
	return nil
}

func captureFailed(ctx context.Context, err error) error {
	var known *exitError
	switch {
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return failf(ExitInterrupted, "", "llmdyno profile capture: interrupted; the profiler was stopped")
	case errors.As(err, &capture.RequestError{}):
		return fail(ExitUsage, "see: llmdyno profile capture --help", err)
	case errors.Is(err, capture.ErrProblem):
		return fail(ExitNo, "", err)
	}
	return failf(ExitFailed, "", "llmdyno profile capture: %w", err)
}

// captureOne profiles one server.
func (a *app) captureOne(ctx context.Context, r *captureRequest, t captureTarget) (*capture.Capture, error) {
	q := r.Request
	server, err := a.captureServer(ctx, r, t)
	if err != nil {
		return nil, err
	}
	defer server.Client.Close()
	if r.Dir == "" {
		r.Dir = filepath.Join("profiles", string(server.Client.Engine().ID)+"-"+time.Now().UTC().Format("20060102-150405"))
	}
	if q.Dir, err = filepath.Abs(r.Dir); err != nil {
		return nil, err
	}
	q.Dir = filepath.Join(q.Dir, t.role)
	if err := os.MkdirAll(q.Dir, 0o755); err != nil {
		return nil, failf(ExitFailed, "name a folder that can be made", "--output-dir: %w", err)
	}
	q.Server, q.Say = server, a.logf
	if t.role != "" {
		q.Say = func(format string, args ...any) { a.logf(t.role+": "+format, args...) }
	}
	return capture.Run(ctx, q)
}

// captureServer asks a server what it is.
func (a *app) captureServer(ctx context.Context, r *captureRequest, t captureTarget) (capture.Server, error) {
	s := capture.Server{Role: t.role, URL: t.url}
	key, header, err := a.loadSecrets(&loadRequest{headers: r.headers}, r.keyEnv)
	if err != nil {
		return s, err
	}
	o := client.Options{BaseURL: t.url, APIKey: key, Header: header}
	models, found, err := a.ask(ctx, o)
	if err != nil {
		return s, err
	}
	if r.framework != "auto" && r.framework != "" {
		e, known := a.engines.Lookup(r.framework)
		if !known {
			return s, failf(ExitUsage, "use auto or one of: "+simEngines(a), "--framework %q is not an engine that llmdyno knows", r.framework)
		}
		found = e
	}
	if found == nil {
		return s, failf(ExitUsage, "name it with --framework", "the server at %s does not tell which engine it is", t.url)
	}
	if s.Model = r.model; s.Model == "" {
		s.Model = firstOf(models)
	}
	if s.Model == "" {
		return s, failf(ExitUsage, "name it with --model", "the server at %s does not say which model it serves", t.url)
	}
	o.Engine = found
	if s.Client, err = client.New(o); err != nil {
		return s, fail(ExitUsage, "", fmt.Errorf("--url: %w", err))
	}
	s.Version = serverVersion(ctx, s.Client)
	s.Dir, s.Here, _ = strings.Cut(t.dir, "=")
	s.Remote = !loopback(t.url)
	return s, nil
}

func loopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// printCapture says what came of a capture.
func (a *app) printCapture(c *capture.Capture) {
	for _, s := range c.Stages {
		name := strings.TrimSpace(c.Role + " " + s.Stage)
		for _, f := range s.Files {
			fmt.Fprintf(a.stdout, "%s: %s, %d bytes", name, f.Path, f.Bytes)
			if f.Kind != string(engine.ProfileTrace) {
				fmt.Fprintf(a.stdout, ", %s", f.Kind)
			}
			for _, stage := range []string{"prefill", "decode", "mixed"} {
				if n := f.Steps[stage]; n > 0 {
					fmt.Fprintf(a.stdout, ", %d %s steps", n, stage)
				}
			}
			fmt.Fprintln(a.stdout)
		}
		for _, w := range s.Warnings {
			fmt.Fprintf(a.stdout, "%s: warning: %s\n", name, w.Message)
		}
	}
}

// printNext names the command that reads the traces.
func (a *app) printNext(r *captureRequest, done []*capture.Capture) {
	if len(done) == 2 {
		fmt.Fprintf(a.stdout, "\nllmdyno profile triage --framework %s --mapping %s --formal %s\n", done[0].Engine, strings.Join(done[0].Folders(), ","), strings.Join(done[1].Folders(), ","))
		return
	}
	fmt.Fprintf(a.stdout, "\nllmdyno profile triage --framework %s %s\n", done[0].Engine, strings.Join(done[0].Folders(), " "))
}

func newProfileRecipeCommand(a *app) *cobra.Command {
	var q capture.RecipeRequest
	c := &cobra.Command{
		Use:   "recipe ENGINE",
		Short: "How to launch a server so that it can be profiled",
		Long: `Prints the command lines that launch an engine with its profiler: as it serves, with
CUDA graphs (the formal trace), and without (the mapping trace), and the capture of both.`,
		Example: `  llmdyno profile recipe vllm --model Qwen/Qwen3-32B --tp 2
  llmdyno profile recipe trtllm --graphs off`,
		Args: exactArgs(1, "an engine"),
		RunE: func(c *cobra.Command, args []string) error {
			e, known := a.engines.Lookup(args[0])
			if !known {
				return failf(ExitUsage, "use one of: "+simEngines(a), "%q is not an engine that llmdyno knows", args[0])
			}
			if err := oneOf("graphs", q.Graphs, "", "on", "off"); err != nil {
				return err
			}
			q.Engine = e
			text, err := capture.Recipe(q)
			if err != nil {
				return fail(ExitFailed, "", err)
			}
			_, err = io.WriteString(a.stdout, text)
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&q.Model, "model", "MODEL", "model to serve")
	f.StringVar(&q.Version, "version", "", "installed version of the engine (default: the newest)")
	f.IntVar(&q.TP, "tp", 1, "GPUs that share a layer")
	f.StringVar(&q.Dir, "dir", "/traces", "folder of the traces, by the server's own path")
	f.IntVar(&q.Port, "port", 8000, "port of the formal server; the mapping one gets the next but one")
	f.StringVar(&q.Graphs, "graphs", "", "only the launch with graphs (on) or without (off)")
	f.IntVar(&q.Warmup, "warmup-steps", capture.DefaultWarmup, "steps before the profile")
	f.IntVar(&q.Steps, "steps", capture.DefaultSteps, "steps of each stage in the profile")
	return c
}

// maxSource bounds a source file that is patched.
const maxSource = 16 << 20

func newProfileOverrideCommand(a *app) *cobra.Command {
	var out string
	var inPlace bool
	c := &cobra.Command{
		Use:   "trtllm-override FILE",
		Short: "Make TensorRT-LLM's profiler record Python frames, a path for each rank",
		Long: `Reads TensorRT-LLM's py_executor.py and writes a copy whose torch profiler records
Python frames (with_stack=True) and whose ranks write to a path each. What is there
already stays. A source that is not known is refused with its line numbers.`,
		Example: `  llmdyno profile trtllm-override py_executor.py --out py_executor.profile.py
  llmdyno profile trtllm-override --in-place /opt/venv/lib/python3.12/site-packages/tensorrt_llm/_torch/pyexecutor/py_executor.py`,
		Args: exactArgs(1, "the source file"),
		RunE: func(c *cobra.Command, args []string) error {
			if inPlace && out != "" {
				return failf(ExitUsage, "give one of the two", "llmdyno profile trtllm-override: --out and --in-place exclude one another")
			}
			return a.overrideSource(args[0], out, inPlace)
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write (default: beside FILE, named .profile.py)")
	c.Flags().BoolVar(&inPlace, "in-place", false, "change FILE itself")
	return c
}

func (a *app) overrideSource(path, out string, inPlace bool) error {
	e, _ := a.engines.Lookup("trtllm")
	f, err := os.Open(path)
	if err != nil {
		return failf(ExitFailed, "name "+e.Profiler.Patch.File, "llmdyno profile trtllm-override: %w", err)
	}
	defer f.Close()
	source, err := io.ReadAll(io.LimitReader(f, maxSource+1))
	if err == nil && len(source) > maxSource {
		err = fmt.Errorf("%s: longer than %d bytes", path, maxSource)
	}
	if err != nil {
		return failf(ExitFailed, "", "llmdyno profile trtllm-override: %w", err)
	}
	changed, did, err := e.Profiler.Patch.Apply(source)
	if err != nil {
		return failf(ExitNo, "nothing was written", "%s: %w", path, err)
	}
	if inPlace {
		out = path
	} else if out == "" {
		out = strings.TrimSuffix(path, ".py") + ".profile.py"
	}
	if len(did) == 0 {
		fmt.Fprintf(a.stdout, "%s: all is there already\n", path)
		if inPlace {
			return nil
		}
	}
	for _, d := range did {
		fmt.Fprintf(a.stdout, "%s: %s\n", path, d)
	}
	if a.redactor.String(string(changed)) != string(changed) { // a source with a secret would be changed by writing it
		return failf(ExitNo, "take the secret out", "%s: holds what looks like a secret, which is never written", path)
	}
	if err := artifact.WriteWhole(out, changed, a.redactor); err != nil {
		return failf(ExitFailed, "", "llmdyno profile trtllm-override: %w", err)
	}
	if !bytes.Equal(changed, source) || !inPlace {
		fmt.Fprintf(a.stdout, "written: %s\n", out)
	}
	return nil
}
