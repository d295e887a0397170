package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"llmdyno/internal/sim"
)

// simFlags are the simulator's own words, before those of the engine.
type simFlags struct {
	as, gpu, truth, address string
	gpus                    int
	seed                    uint64
	slow                    float64
	faults                  []string
	help                    bool
	argv                    []string // of the engine
}

func newSimCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "sim --as ENGINE [--gpu GPU] [--fault NAME]… [--] ENGINE-ARGV…",
		Short: "Run a simulated engine that speaks like a real one",
		Long: `Serves as one of the engines would with the given command line: its options,
endpoints, streams, metrics, log lines and errors, over a model of its scheduler
on a named GPU. Nothing is computed; the text is made of common words, and every
figure measured on it is a simulation.

The simulator's own flags come first; from the first other word on, or after --,
everything is the engine's command line, its program words included or not:

  --as ENGINE          ` + simEngines(a) + `
  --gpu GPU            ` + simGPUs() + ` (default ` + sim.DefaultGPU + `)
  --gpus N             cards of the machine; a larger world size does not start
  --fault NAME[=VALUE] what goes wrong, repeatable:
                       ` + strings.Join(sim.FaultNames()[:5], " ") + `
                       ` + strings.Join(sim.FaultNames()[5:10], " ") + `
                       ` + strings.Join(sim.FaultNames()[10:15], " ") + `
                       ` + strings.Join(sim.FaultNames()[15:19], " ") + `
                       ` + strings.Join(sim.FaultNames()[19:], " ") + `
                       SHARE is that of requests, 0 to 1, drawn by the seed
  --seed N             of texts, lengths and faults (default 0)
  --slow FACTOR        multiplies the time of every step
  --truth FILE         one JSON line a request: when it was really received,
                       first and last emitted, and finished
  --address-file FILE  host:port, written once the port is open (use port 0)

A text counts one token a word. The process ends as the engine's would: its own
text and exit code for an unknown flag, a port in use, or too little memory.`,
		Example: `  llmdyno sim --as vllm --gpu h100 meta-llama/Llama-3.1-8B-Instruct --max-num-seqs 64
  llmdyno sim --as sglang --fault reset-stream=0.1 --seed 7 -- --model-path Qwen/Qwen3-32B --tp-size 2
  llmdyno sim --as llamacpp --help
  llmdyno sim --as trtllm --address-file addr --truth truth.jsonl openai/gpt-oss-120b --port 0`,
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			f, err := parseSimFlags(args)
			if err != nil {
				return fail(ExitUsage, "see: llmdyno sim --help", fmt.Errorf("llmdyno sim: %w", err))
			}
			if f.help {
				return c.Help()
			}
			return a.runSim(c.Context(), f)
		},
	}
}

func simEngines(a *app) string {
	var ids []string
	for _, e := range a.engines {
		ids = append(ids, string(e.ID))
	}
	return strings.Join(ids, " ")
}

func simGPUs() string {
	var ids []string
	for _, g := range sim.GPUs() {
		ids = append(ids, g.ID)
	}
	return strings.Join(ids, " ")
}

// parseSimFlags takes the simulator's own flags off the front. --help is its own
// only where no engine has been named.
func parseSimFlags(args []string) (simFlags, error) {
	var f simFlags
	for len(args) > 0 {
		name, value, inline := strings.Cut(args[0], "=")
		if args[0] == "--" {
			f.argv = args[1:]
			return f, nil
		}
		if (name == "--help" || name == "-h") && f.as == "" {
			f.help = true
			return f, nil
		}
		if !simFlag(name) {
			break
		}
		used := 1
		if !inline {
			if len(args) < 2 {
				return f, fmt.Errorf("%s needs a value", name)
			}
			value, used = args[1], 2
		}
		if err := f.set(name, value); err != nil {
			return f, err
		}
		args = args[used:]
	}
	f.argv = args
	return f, nil
}

func simFlag(name string) bool {
	switch name {
	case "--as", "--gpu", "--gpus", "--fault", "--seed", "--slow", "--truth", "--address-file":
		return true
	}
	return false
}

func (f *simFlags) set(name, value string) error {
	var err error
	switch name {
	case "--as":
		f.as = value
	case "--gpu":
		f.gpu = value
	case "--gpus":
		f.gpus, err = strconv.Atoi(value)
		if err == nil && f.gpus < 0 {
			err = errors.New("negative")
		}
	case "--fault":
		f.faults = append(f.faults, value)
	case "--seed":
		f.seed, err = strconv.ParseUint(value, 10, 64)
	case "--slow":
		f.slow, err = strconv.ParseFloat(value, 64)
		if err == nil && !(f.slow > 0 && f.slow <= 1e6) {
			err = errors.New("not above 0")
		}
	case "--truth":
		f.truth = value
	case "--address-file":
		f.address = value
	}
	if err != nil {
		return fmt.Errorf("%s %q: expected a number: %w", name, value, err)
	}
	return nil
}

// simEngine builds the engine that f asks for, with its truth file.
func (a *app) simEngine(f simFlags) (*sim.Engine, sim.Faults, io.Closer, error) {
	usage := func(err error) error {
		return fail(ExitUsage, "see: llmdyno sim --help", fmt.Errorf("llmdyno sim: %w", err))
	}
	faults, err := sim.ParseFaults(f.faults)
	if err != nil {
		return nil, faults, nil, usage(err)
	}
	if f.as == "" {
		return nil, faults, nil, usage(errors.New("--as is needed: which engine to simulate (" + simEngines(a) + ")"))
	}
	e, known := a.engines.Lookup(f.as)
	if !known {
		return nil, faults, nil, usage(fmt.Errorf("--as %q is not an engine that llmdyno knows (%s)", f.as, simEngines(a)))
	}
	if f.gpu != "" {
		if _, err := sim.FindGPU(f.gpu); err != nil {
			return nil, faults, nil, usage(err)
		}
	}
	o := sim.Options{
		Surface: e.Surface, Argv: f.argv, GPU: f.gpu, GPUs: f.gpus, Seed: f.seed, Faults: faults, Slow: f.slow,
		Stdout: a.stdout, Stderr: a.stderr, Environ: a.environ,
	}
	var closer io.Closer = io.NopCloser(nil)
	if f.truth != "" {
		file, err := os.Create(f.truth)
		if err != nil {
			return nil, faults, nil, failf(ExitFailed, "name a file that can be written", "llmdyno sim: truth: %w", err)
		}
		o.Truth, closer = file, file
	}
	s, err := sim.New(o)
	if err != nil {
		closer.Close()
		return nil, faults, nil, a.simEnd(err, e.Title)
	}
	return s, faults, closer, nil
}

// simEnd shows the end that the engine came to; any other error is our own.
func (a *app) simEnd(err error, title string) error {
	var r *sim.Refusal
	if !errors.As(err, &r) {
		return failf(ExitFailed, "", "llmdyno sim: %w", err)
	}
	w := a.stderr
	if r.Stdout {
		w = a.stdout
	}
	if _, err := w.Write(r.Text); err != nil {
		return failf(ExitFailed, "", "llmdyno sim: writing the output of %s: %w", title, err)
	}
	if r.Exit == 0 {
		return nil
	}
	return quiet(r.Exit)
}

func (a *app) runSim(ctx context.Context, f simFlags) error {
	s, faults, truth, err := a.simEngine(f)
	if s == nil {
		return err
	}
	defer truth.Close()
	if faults.LeavesChild() {
		if err := leaveChild(); err != nil {
			return failf(ExitFailed, "", "llmdyno sim: %w", err)
		}
	}
	inUse := false
	err = s.Serve(ctx, func(addr string) (net.Listener, error) {
		l, err := net.Listen("tcp", addr)
		inUse = errors.Is(err, syscall.EADDRINUSE)
		return l, err
	}, func(addr net.Addr) error { return writeAddress(f.address, addr) })
	if inUse {
		err = s.PortInUse()
	}
	if err != nil {
		return a.simEnd(err, f.as)
	}
	return nil
}

// writeAddress puts host:port where a script waits for it, in one step.
func writeAddress(path string, addr net.Addr) error {
	if path == "" {
		return nil
	}
	text := addr.String()
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		text = net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	if err := os.WriteFile(tmp, []byte(text+"\n"), 0o644); err != nil {
		return fmt.Errorf("address file: %w", err)
	}
	return os.Rename(tmp, path)
}

// leaveChild starts a grandchild that does not heed SIGTERM and outlives the
// engine: what a launcher must find and end. It gives up by itself after a while.
func leaveChild() error {
	c := exec.Command("sh", "-c", `trap "" TERM HUP INT; i=0; while [ $i -lt 600 ]; do sleep 1; i=$((i+1)); done`)
	return c.Start()
}
