package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/engine/all"
	"llmdyno/internal/pipenet"
	"llmdyno/internal/sim"
)

const model = "some/Model-8B"

// argvOf is how the tests launch each engine: profiler on, two ranks where asked.
func argvOf(id engine.ID, dir string, ranks int, more ...string) []string {
	var argv []string
	switch id {
	case "vllm":
		argv = []string{"vllm", "serve", model, "--profiler-config", `{"profiler":"torch","torch_profiler_dir":"` + dir + `"}`, "--tensor-parallel-size", fmt.Sprint(ranks)}
	case "sglang":
		argv = []string{"--model-path", model, "--enable-cache-report", "--tp-size", fmt.Sprint(ranks)}
	case "trtllm":
		argv = []string{"trtllm-serve", "serve", model, "--tp_size", fmt.Sprint(ranks)}
	case "tokenspeed":
		argv = []string{"tokenspeed", "serve", model, "--tensor-parallel-size", fmt.Sprint(ranks)}
	}
	return append(argv, more...)
}

var four = []engine.ID{"sglang", "vllm", "trtllm", "tokenspeed"}

// bench is a simulated engine with a capture aimed at it.
type bench struct {
	t      *testing.T
	e      *engine.Engine
	traces string // where a launch puts traces
	req    Request
	lines  []string
}

type setup struct {
	ranks   int
	faults  []string
	argv    []string
	environ []string
	traces  string
}

// capturing runs a simulated engine in a bubble and hands out a capture of it.
func capturing(t *testing.T, id engine.ID, o setup, check func(t *testing.T, b *bench)) {
	t.Helper()
	if o.ranks == 0 {
		o.ranks = 1
	}
	if o.traces == "" {
		o.traces = t.TempDir()
	}
	out := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		e, _ := all.Engines().Lookup(string(id))
		faults, err := sim.ParseFaults(o.faults)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		s, err := sim.New(sim.Options{Surface: e.Surface, Argv: argvOf(id, o.traces, o.ranks, o.argv...), GPU: "h100", PID: 4242, Faults: faults, Dir: o.traces, Environ: o.environ, Stderr: &log})
		if err != nil {
			t.Fatalf("%v %s", err, log.String())
		}
		surface, err := sim.LoadSurface(e.Surface, "")
		if err != nil {
			t.Fatal(err)
		}
		p := pipenet.Listen()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- s.Serve(ctx, func(string) (net.Listener, error) { return p, nil }, func(net.Addr) error { return nil })
			p.Close()
		}()
		time.Sleep(time.Second)
		c, err := client.New(client.Options{BaseURL: "http://sim", Engine: e, Dial: p.Dial})
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{t: t, e: e, traces: o.traces}
		b.req = Request{
			Server: Server{Client: c, Model: model, URL: "http://sim", Version: surface.Version}, Workload: Both, PrefillInput: 600, PrefillOutput: 1, DecodeInput: 1,
			Warmup: 3, Steps: 4, Dir: out, Seed: 7, FileTimeout: 30 * time.Second,
			Say: func(f string, args ...any) { b.lines = append(b.lines, fmt.Sprintf(f, args...)) },
		}
		if !e.Profiler.NamesFolder {
			b.req.Server.Dir = o.traces
		}
		check(t, b)
		c.Close()
		cancel()
		<-ended
		synctest.Wait()
	})
}

func (b *bench) run() (*Capture, error) {
	b.t.Helper()
	c, err := Run(b.t.Context(), b.req)
	if b.t.Failed() || err != nil {
		b.t.Logf("%s", strings.Join(b.lines, "\n"))
	}
	return c, err
}

// stageOf finds a stage of a capture.
func stageOf(t *testing.T, c *Capture, name string) *Stage {
	t.Helper()
	i := slices.IndexFunc(c.Stages, func(s *Stage) bool { return s.Stage == name })
	if i < 0 {
		t.Fatalf("no stage %s in %+v", name, c.Stages)
	}
	return c.Stages[i]
}

func TestCaptureBothStagesOfEveryEngine(t *testing.T) {
	for _, id := range four {
		t.Run(string(id), func(t *testing.T) {
			capturing(t, id, setup{ranks: 2}, func(t *testing.T, b *bench) {
				c, err := b.run()
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"prefill", "decode"} {
					s := stageOf(t, c, name)
					traces := tracesOf(s)
					if len(traces) != 2 || s.Problem != "" || c.Ranks != 2 {
						t.Fatalf("%s: %d traces of %d ranks, problem %q", name, len(traces), c.Ranks, s.Problem)
					}
					for i, f := range traces {
						if filepath.Dir(f.Path) != name || f.Rank != i {
							t.Errorf("%s: trace %q of rank %d", name, f.Path, f.Rank)
						}
						if _, err := os.Stat(filepath.Join(b.req.Dir, f.Path)); err != nil {
							t.Error(err)
						}
						if b.e.Trace.Step != nil && f.Steps != nil && f.Steps[name] != 4 {
							t.Errorf("%s: %s marks %v, expected 4 of its stage", name, f.Path, f.Steps)
						}
						if graphs := f.Graphs > 0; graphs != (name == "decode") {
							t.Errorf("%s: %d replays of graphs", name, f.Graphs)
						}
					}
					want := map[string]int{"prefill": 600, "decode": 1}[name]
					for _, q := range s.Requests {
						if q.Input != want || q.Error != "" || q.Cached > 0 {
							t.Errorf("%s: probe %+v, expected %d prompt tokens", name, q, want)
						}
					}
					checkRecord(t, filepath.Join(b.req.Dir, name, FileName), name)
				}
				checkRecord(t, filepath.Join(b.req.Dir, FileName), "prefill")
				if got := c.Folders(); len(got) != 2 {
					t.Errorf("folders %q", got)
				}
			})
		})
	}
}

func tracesOf(s *Stage) []File {
	return slices.DeleteFunc(slices.Clone(s.Files), func(f File) bool { return f.Kind != string(engine.ProfileTrace) })
}

func checkRecord(t *testing.T, path, stage string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Read(b)
	if err != nil || c.Stages[0].Stage != stage || len(c.Stages[0].Files) == 0 || c.Seed != 7 {
		t.Errorf("%s: %+v, %v", path, c, err)
	}
}

func TestCaptureByStage(t *testing.T) {
	for _, id := range []engine.ID{"sglang", "tokenspeed"} {
		t.Run(string(id), func(t *testing.T) {
			capturing(t, id, setup{ranks: 2}, func(t *testing.T, b *bench) {
				b.req.ByStage = true
				c, err := b.run()
				if err != nil {
					t.Fatal(err)
				}
				s := stageOf(t, c, "by-stage")
				var paths []string
				for _, f := range s.Files {
					paths = append(paths, filepath.Dir(f.Path)+" "+f.Stage)
				}
				slices.Sort(paths)
				if want := []string{"decode decode", "decode decode", "prefill prefill", "prefill prefill"}; !slices.Equal(paths, want) {
					t.Errorf("traces in %q, expected %q", paths, want)
				}
				for _, w := range s.Warnings {
					if w.Code != "cache-not-told" { // nobody asked it to tell
						t.Errorf("warning %+v", w)
					}
				}
			})
		})
	}
	capturing(t, "vllm", setup{}, func(t *testing.T, b *bench) {
		b.req.ByStage = true
		if _, err := b.run(); err == nil || !strings.Contains(err.Error(), "has no such thing") {
			t.Errorf("vllm by stage: %v", err)
		}
	})
}

// Slow files grow under their final names long after the probes.
func TestCaptureWaitsForSlowFiles(t *testing.T) {
	for _, id := range four {
		t.Run(string(id), func(t *testing.T) {
			capturing(t, id, setup{ranks: 2, faults: []string{"profile-slow=2m"}}, func(t *testing.T, b *bench) {
				began := time.Now()
				c, err := b.run()
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took < 4*time.Minute {
					t.Errorf("it took %s: the files of two ranks take 4 minutes a stage", took)
				}
				for _, s := range c.Stages {
					if len(tracesOf(s)) != 2 {
						t.Errorf("%s: %+v", s.Stage, s.Files)
					}
				}
			})
		})
	}
}

func TestCaptureNamesTheLaunchFlagOn404(t *testing.T) {
	wants := map[engine.ID]string{"sglang": "SGLANG_RUST_SERVER", "vllm": "--profiler-config", "trtllm": "--at-launch", "tokenspeed": "/readiness"}
	for _, id := range four {
		t.Run(string(id), func(t *testing.T) {
			capturing(t, id, setup{faults: []string{"profile-off"}}, func(t *testing.T, b *bench) {
				_, err := b.run()
				if err == nil || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), wants[id]) {
					t.Errorf("got %v, expected the flag %s", err, wants[id])
				}
			})
		})
	}
	t.Run("launched without", func(t *testing.T) {
		capturing(t, "vllm", setup{argv: []string{"--profiler-config.profiler=none"}}, func(t *testing.T, b *bench) {
			if _, err := b.run(); err == nil || !strings.Contains(err.Error(), "launch it with --profiler-config") {
				t.Errorf("got %v", err)
			}
		})
	})
}

func TestCaptureNamesAProfileThatWasLeftRunning(t *testing.T) {
	for _, id := range four {
		t.Run(string(id), func(t *testing.T) {
			capturing(t, id, setup{faults: []string{"profile-running"}}, func(t *testing.T, b *bench) {
				refuses := id == "sglang" || id == "tokenspeed"
				if refuses {
					c, err := b.run()
					if err == nil || !strings.Contains(err.Error(), "--stop-running") || !c.Stages[0].LeftRunning {
						t.Fatalf("got %v", err)
					}
					b.req.StopRunning, b.req.Seed = true, 8
				}
				c, err := b.run()
				if err != nil {
					t.Fatal(err)
				}
				s := c.Stages[0]
				if len(tracesOf(s)) != 1 {
					t.Errorf("%+v", s)
				}
				// One that wrote into another folder was ended without a trace of it here.
				if id != "trtllm" && (!s.LeftRunning || s.Warnings[0].Code != "left-running") {
					t.Errorf("it was not named: %+v", s)
				}
				if s := c.Stages[1]; s.LeftRunning {
					t.Errorf("the second stage too: %+v", s)
				}
			})
		})
	}
}

func TestCaptureReportsMissingAndCutTraces(t *testing.T) {
	for _, id := range four {
		for _, c := range []struct{ fault, want string }{
			{"profile-missing=1", "1 of 2 traces came"}, {"profile-missing=2", "no new trace appeared"}, {"profile-cut", "is not whole"},
		} {
			t.Run(string(id)+" "+c.fault, func(t *testing.T) {
				capturing(t, id, setup{ranks: 2, faults: []string{c.fault}}, func(t *testing.T, b *bench) {
					b.req.Workload = Decode
					got, err := b.run()
					if !errors.Is(err, ErrProblem) || !strings.Contains(got.Stages[0].Problem, c.want) {
						t.Errorf("%v, expected %q", err, c.want)
					}
				})
			})
		}
	}
}

// Old traces are in the folder under names that the engine may use again, and
// one of them is touched while the capture runs.
func TestCaptureNeverTakesAnOldTrace(t *testing.T) {
	for _, id := range four {
		t.Run(string(id), func(t *testing.T) {
			shared := t.TempDir()
			old := map[engine.ID]string{
				"sglang": "1700000000.1-TP-0.trace.json.gz", "vllm": "dp0_pp0_tp0_dcp0_ep0_rank0.17.pt.trace.json.gz",
				"trtllm": "trace-rank-0.json", "tokenspeed": "20260101-000000-TP0.trace.json.gz",
			}[id]
			capturing(t, id, setup{traces: shared}, func(t *testing.T, b *bench) {
				dir := shared
				b.req.Server.Dir = shared
				if b.e.Profiler.NamesFolder {
					dir = filepath.Join(shared, "decode")
				}
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, old)
				if err := os.WriteFile(path, []byte(`{"traceEvents":[]}`), 0o644); err != nil {
					t.Fatal(err)
				}
				b.req.Workload = Decode
				say := b.req.Say
				b.req.Say = func(f string, args ...any) {
					say(f, args...)
					if strings.Contains(f, "waiting") && id != "trtllm" {
						now := time.Now()
						os.Chtimes(path, now, now)
					}
				}
				c, err := b.run()
				if err != nil {
					t.Fatal(err)
				}
				traces := tracesOf(c.Stages[0])
				if len(traces) != 1 || traces[0].Bytes < 1000 || id != "trtllm" && filepath.Base(traces[0].Path) == old {
					t.Errorf("traces %+v, old one %s", traces, old)
				}
			})
		})
	}
}

func TestCaptureRefusesAFolderThatWasUsed(t *testing.T) {
	capturing(t, "sglang", setup{}, func(t *testing.T, b *bench) {
		if _, err := b.run(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.run(); err == nil || !strings.Contains(err.Error(), "earlier capture") {
			t.Errorf("got %v", err)
		}
	})
}

// The same prompts again come from the prefix cache, and that is no profile of a
// prefill.
func TestCaptureRefusesAPrefillFromTheCache(t *testing.T) {
	for _, id := range []engine.ID{"sglang", "vllm"} {
		t.Run(string(id), func(t *testing.T) {
			capturing(t, id, setup{}, func(t *testing.T, b *bench) {
				b.req.Workload = Prefill
				if _, err := b.run(); err != nil {
					t.Fatal(err)
				}
				b.req.Dir = filepath.Join(b.req.Dir, "again")
				if _, err := b.run(); !errors.Is(err, ErrProblem) || !strings.Contains(err.Error(), "contaminated") {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// Whatever ends a capture, the profiler is stopped: a start afterwards finds none.
func TestCaptureStopsTheProfilerOnEveryWayOut(t *testing.T) {
	for _, when := range []string{"probing", "stopping", "waiting"} {
		for _, id := range four {
			t.Run(string(id)+" "+when, func(t *testing.T) {
				capturing(t, id, setup{}, func(t *testing.T, b *bench) {
					ctx, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					b.req.Steps, b.req.Workload = 200, Decode
					say, cut := b.req.Say, errors.New("enough")
					b.req.Say = func(f string, args ...any) {
						say(f, args...)
						if strings.Contains(f, when) {
							cancel(cut)
						}
					}
					if _, err := Run(ctx, b.req); !errors.Is(err, cut) && !errors.Is(err, context.Canceled) {
						t.Fatalf("got %v", err)
					}
					time.Sleep(time.Minute)
					r := &runner{q: b.req, e: b.e, p: b.e.Profiler}
					r.q.Say, r.q.StopTimeout = say, time.Minute
					meaning, err := r.act(t.Context(), engine.ProfileStopping, nil)
					if err != nil || b.e.Profiler.SilentStart == false && id != "trtllm" && meaning != engine.ProfileIdle {
						t.Errorf("a stop afterwards: %s, %v; the log was:\n%s", meaning, err, strings.Join(b.lines, "\n"))
					}
				})
			})
		}
	}
}

func TestCaptureAtLaunch(t *testing.T) {
	shared := t.TempDir()
	env := []string{"TLLM_PROFILE_START_STOP=4-8", "TLLM_TORCH_PROFILE_TRACE=" + filepath.Join(shared, "t.json")}
	for _, w := range []Workload{Prefill, Decode} {
		t.Run(string(w), func(t *testing.T) {
			capturing(t, "trtllm", setup{ranks: 2, faults: []string{"profile-off"}, environ: env, traces: shared}, func(t *testing.T, b *bench) {
				b.req.AtLaunch, b.req.Workload = true, w
				if _, err := b.run(); err == nil || !strings.Contains(err.Error(), "--server-dir") {
					t.Fatalf("without a folder: %v", err)
				}
				b.req.Server.Dir = shared
				c, err := b.run()
				if err != nil {
					t.Fatal(err)
				}
				if traces := tracesOf(c.Stages[0]); len(traces) != 2 || filepath.Dir(traces[1].Path) != string(w) {
					t.Errorf("traces %+v", traces)
				}
			})
		})
	}
}

// A folder that is not visible here is said to be so, after a capture that went well.
func TestCaptureSaysThatAFolderIsNotVisible(t *testing.T) {
	capturing(t, "sglang", setup{}, func(t *testing.T, b *bench) {
		b.req.Server.Dir, b.req.Server.Here = filepath.Join(b.traces, "there"), filepath.Join(b.traces, "not", "here")
		b.req.Workload = Decode
		c, err := b.run()
		if !errors.Is(err, ErrProblem) || !strings.Contains(c.Stages[0].Problem, "not visible here") {
			t.Fatalf("got %v", err)
		}
		if entries, err := os.ReadDir(filepath.Join(b.traces, "there", "decode")); err != nil || len(entries) != 1 {
			t.Errorf("the server wrote %v, %v", entries, err)
		}
	})
}

func TestRequestsAreChecked(t *testing.T) {
	for _, c := range []struct {
		id     engine.ID
		change func(*Request)
		want   string
	}{
		{"sglang", func(q *Request) { q.Steps = 0 }, "0 steps"},
		{"sglang", func(q *Request) { q.DecodeOutput = 1 }, "at least 2 tokens"},
		{"sglang", func(q *Request) { q.PrefillInput = 0 }, "prefill input length 0"},
		{"sglang", func(q *Request) { q.AtLaunch = true }, "cannot be told by its launch"},
		{"sglang", func(q *Request) { q.ByStage, q.Workload = true, Legacy }, "legacy"},
		{"trtllm", func(q *Request) { q.AtLaunch = true }, "one launch records one stretch"},
		{"vllm", func(q *Request) { q.Server.Dir = "" }, "--server-dir (launched with --profiler-config"},
	} {
		capturing(t, c.id, setup{}, func(t *testing.T, b *bench) {
			c.change(&b.req)
			if _, err := Run(t.Context(), b.req); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, expected %q", c.id, err, c.want)
			}
		})
	}
}
