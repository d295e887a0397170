package cli

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/run"
	"llmdyno/internal/engine/all"
	"llmdyno/internal/launch"
	"llmdyno/internal/sim"
)

func TestRunUsage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "expected one file"},
		{"a.yaml b.yaml", "got 2 arguments"},
		{"a.yaml --simulate h100", "--simulate=GPU"},
		{"a.yaml --sim-arg=--seed=1", "add --simulate"},
		{"a.yaml --format yaml", "use one of: text, json, md, csv"},
		{"a.yaml --max-time -1s", "is negative"},
		{"a.yaml --resume dir", "a.yaml cannot change it"},
		{"--resume dir --smoke", "--smoke cannot change it"},
		{"--resume dir --out other", "--out cannot change it"},
		{"cookbook:qwen3-coder-next --simulate=z80", "z80"},
		{"cookbook:qwen3-coder-next --engines nope", "unknown engine"},
		{"cookbook:qwen3-coder-next --scenario nope", `scenario "nope" is not in`},
	} {
		var out bytes.Buffer
		a := &app{engines: all.Engines(), redactor: artifact.NewRedactor(), stdout: &out, stderr: &out}
		cmd := newRunCommand(a)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetOut(&out)
		cmd.SetArgs(strings.Fields(c.args))
		err := cmd.ExecuteContext(t.Context())
		if err == nil || codeOf(err) != ExitUsage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: code %d, %v; expected code %d with %q", c.args, codeOf(err), err, ExitUsage, c.want)
		}
	}
}

func TestSimulatedGPU(t *testing.T) {
	for _, c := range []struct{ asked, file, want string }{
		{"", "h100", ""}, {fromFile, "", sim.DefaultGPU}, {fromFile, "h100", "h100"}, {fromFile, "abacus", sim.DefaultGPU}, {"l40s", "h100", "l40s"},
	} {
		if got, err := simulatedGPU(c.asked, c.file); err != nil || got != c.want {
			t.Errorf("asked %q, file %q: %q, %v; expected %q", c.asked, c.file, got, err, c.want)
		}
	}
}

func TestSimulatedCommand(t *testing.T) {
	p := &run.Plan{Hardware: run.Hardware{GPUModel: "h100", GPUCount: 8, Nodes: 2}, SimArgs: []string{"--fault=oom", "--seed=7"}}
	got := simulated("/bin/self", p, "vllm", []string{"vllm", "serve", "m", "--port", "1"})
	want := []string{"/bin/self", "sim", "--as=vllm", "--gpu=h100", "--gpus=16", "--fault=oom", "--seed=7", "--", "vllm", "serve", "m", "--port", "1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nexpected %q", got, want)
	}
	if f, err := parseSimFlags(got[2:]); err != nil || !slices.Equal(f.argv, got[8:]) {
		t.Errorf("the simulator reads %+v, %v", f, err)
	}
}

func TestNoteGPUs(t *testing.T) {
	p := &run.Plan{}
	if noteGPUs(p, nil); p.Hardware != (run.Hardware{}) {
		t.Errorf("no GPUs: %+v", p.Hardware)
	}
	p.Hardware.GPUModel = "h100"
	noteGPUs(p, []launch.GPU{{Name: "NVIDIA H100 80GB HBM3", Driver: "570.1"}, {}})
	if want := (run.Hardware{GPUModel: "h100", GPUCount: 2, Driver: "570.1"}); p.Hardware != want {
		t.Errorf("%+v, expected %+v", p.Hardware, want)
	}
}

func TestRunExitCodes(t *testing.T) {
	yes, no := true, false
	row := func(status, phase string, passed *bool) result.Row {
		return result.Row{Framework: "vllm", CandidateID: "vllm-00", Model: "m", Status: status, FailedPhase: phase, FailureReason: "why", SLA: result.SLA{Passed: passed}}
	}
	for _, c := range []struct {
		name string
		rows []result.Row
		res  run.Result
		err  error
		want int
	}{
		{"passed", []result.Row{row("ok", "", &yes), row("failed", "start", nil)}, run.Result{}, nil, ExitDone},
		{"missed", []result.Row{row("ok", "", &no)}, run.Result{}, nil, ExitNo},
		{"nothing started", []result.Row{row("oom", "start", nil)}, run.Result{}, nil, ExitNo},
		{"not installed", []result.Row{row("failed", "engine", nil)}, run.Result{}, nil, ExitFailed},
		{"already complete", []result.Row{row("ok", "", &no)}, run.Result{Already: true}, nil, ExitDone},
		{"interrupted", []result.Row{row("ok", "", &yes)}, run.Result{State: artifact.StateInterrupted}, run.ErrInterrupted, ExitInterrupted},
		{"disk", []result.Row{row("ok", "", &yes)}, run.Result{State: artifact.StateFailed}, errors.New("no space"), ExitFailed},
	} {
		var out bytes.Buffer
		a := &app{redactor: artifact.NewRedactor(), stdout: &out, stderr: &out, width: 80}
		c.res.Rows, c.res.Plan, c.res.Dir = c.rows, &run.Plan{}, "somewhere"
		err := a.endRun(runRequest{format: "json"}, c.res, c.err)
		code := ExitDone
		if err != nil {
			code = codeOf(err)
		}
		if code != c.want {
			t.Errorf("%s: code %d (%v), expected %d", c.name, code, err, c.want)
		}
		if (code == ExitInterrupted || code == ExitFailed && c.err != nil) && !strings.Contains(err.Error(), "bench run --resume somewhere") {
			t.Errorf("%s: no word on how to go on: %v", c.name, err)
		}
		if !strings.HasPrefix(out.String(), "{") {
			t.Errorf("%s: no JSON: %s", c.name, out.String())
		}
	}
}
