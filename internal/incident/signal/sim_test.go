package signal_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/engine"
	"llmdyno/internal/engine/all"
	"llmdyno/internal/incident/bundle"
	"llmdyno/internal/incident/collect"
	"llmdyno/internal/incident/signal"
	"llmdyno/internal/sim"
)

// simulated runs an engine behind pipes and returns how to reach it, and its end.
func simulated(t *testing.T, e *engine.Engine, argv []string, fault string) (dial func(context.Context, string, string) (net.Conn, error), end func()) {
	t.Helper()
	f, err := sim.ParseFaults(strings.Fields(fault))
	if err != nil {
		t.Fatal(err)
	}
	eng, err := sim.New(sim.Options{Surface: e.Surface, Argv: argv, GPU: "h200", PID: 1000, Seed: 1, Faults: f, Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { eng.Run(ctx) })
	if err := eng.Load(ctx); err != nil {
		t.Fatal(err)
	}
	eng.Ready()
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: eng}
	wg.Go(func() { srv.Serve(l) })
	dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case l.conns <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return dial, func() { srv.Close(); l.Close(); cancel(); wg.Wait() }
}

type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func refused(context.Context, string, string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// From a simulated server with a fault, through a bundle, to the findings.
func TestCollectedFromTheSimulator(t *testing.T) {
	const name = "meta-llama/Llama-3.1-8B-Instruct"
	argv := map[engine.ID][]string{
		"sglang": {"--model-path", name, "--enable-metrics"}, "vllm": {name}, "trtllm": {name}, "tokenspeed": {"--model", name},
	}
	for _, c := range []struct {
		engine engine.ID
		fault  string
		want   []string // of these all
		not    []string // of these none
	}{
		{"sglang", "", []string{"R-IDLE"}, []string{"R-DOWN", "R-SCHED-STALL", "R-AUTH", "R-NO-METRICS", "R-BAD-BODY"}},
		{"sglang", "dead-scheduler", []string{"R-DOWN", "R-SCHED-STALL"}, []string{"R-AUTH"}},
		{"sglang", "unauthorized", []string{"R-AUTH"}, []string{"R-DOWN", "R-SCHED-STALL"}},
		{"sglang", "refused", []string{"R-DOWN"}, []string{"R-IDLE", "R-NO-METRICS"}},
		{"vllm", "", []string{"R-IDLE"}, []string{"R-DOWN", "R-SCHED-STALL", "R-AUTH", "R-NO-METRICS", "R-BAD-BODY"}},
		{"vllm", "unauthorized", []string{"R-AUTH"}, []string{"R-DOWN", "R-SCHED-STALL"}},
		{"trtllm", "", nil, []string{"R-DOWN", "R-SCHED-STALL", "R-AUTH", "R-BAD-BODY"}},
		{"tokenspeed", "", nil, []string{"R-DOWN", "R-SCHED-STALL", "R-AUTH", "R-BAD-BODY"}},
	} {
		t.Run(string(c.engine)+" "+c.fault, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "bundle")
			w, err := bundle.Create(dir, bundle.Manifest{Origin: bundle.OriginOurs, Tool: "llmdyno", State: "running"}, artifact.NewRedactor())
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				engines := all.Engines()
				e, _ := engines.Lookup(string(c.engine))
				dial, end := refused, func() {}
				if c.fault != "refused" {
					dial, end = simulated(t, e, argv[c.engine], c.fault)
				}
				defer end()
				out, err := collect.Run(t.Context(), collect.Options{
					Targets: []collect.Spec{{URL: "http://10.0.0.1:30000"}}, Engines: engines, Dial: dial, Timeout: 10 * time.Second,
					Include: []engine.EndpointName{engine.EndpointHealth, engine.EndpointHealthGenerate},
				}, w)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.Finish(out.State); err != nil {
					t.Fatal(err)
				}
			})
			b, err := bundle.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			s, err := signal.Summarize(b, signal.Options{Engines: all.Engines()})
			if err != nil {
				t.Fatal(err)
			}
			got := ids(s)
			for _, id := range c.want {
				if !slices.Contains(got, id) {
					t.Errorf("%s must fire; got %v", id, got)
				}
			}
			for _, id := range c.not {
				if slices.Contains(got, id) {
					t.Errorf("%s must not fire; got %v", id, got)
				}
			}
			if c.fault != "refused" && s.Engine != string(c.engine) {
				t.Errorf("engine %q", s.Engine)
			}
		})
	}
}
