package enginetest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/sim"
)

// server is a simulated engine behind pipes, within a bubble.
type server struct {
	t    *testing.T
	ctx  context.Context
	c    *client.Client
	log  *logBuffer // what the engine printed
	dial func(context.Context, string, string) (net.Conn, error)
}

// setup says how a server is started.
type setup struct {
	argv   []string
	faults []string
	key    string // that the client sends
	// loading: body runs before the engine is ready.
	loading bool
}

// logBuffer gathers what the engine's goroutines print.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// pipes is a listener whose connections are pipes within the process. While it
// is not open a dial is refused.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	open  bool
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

var errRefused = &net.OpError{Op: "dial", Net: "pipe", Err: errors.New("connection refused")}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if !p.open {
		return nil, errRefused
	}
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.done:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve runs body against a simulated engine that was started with setup.
func (u *suite) serve(t *testing.T, o setup, body func(*server)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		faults, err := sim.ParseFaults(o.faults)
		if err != nil {
			t.Fatal(err)
		}
		s := &server{t: t, log: new(logBuffer)}
		eng, err := sim.New(sim.Options{
			Surface: u.e.Surface, Argv: o.argv, GPU: "h200", PID: 1000, Seed: 1, Faults: faults,
			Stdout: s.log, Stderr: s.log, Dir: dir,
		})
		if err != nil {
			t.Fatalf("%s: %v", strings.Join(o.argv, " "), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s.ctx = ctx
		var wg sync.WaitGroup
		wg.Go(func() { eng.Run(ctx) })
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{}), open: !o.loading || eng.ListenEarly()}
		s.dial = p.dial
		srv := &http.Server{Handler: eng}
		wg.Go(func() { srv.Serve(p) })
		s.c, err = client.New(client.Options{BaseURL: "http://engine", Engine: u.e, APIKey: o.key, Dial: p.dial})
		if err != nil {
			t.Fatal(err)
		}
		if !o.loading {
			if err := eng.Load(ctx); err != nil {
				t.Errorf("start: %v", err)
			}
			eng.Ready()
		}
		body(s)
		cancel()
		s.c.Close()
		srv.Close()
		p.Close()
		wg.Wait()
		time.Sleep(time.Hour) // what still runs in the bubble ends by itself
	})
}

// clock counts from the start of one request.
type clock time.Time

func (c clock) Now() int64 { return int64(time.Since(time.Time(c))) }

// probes asks every readiness probe once, in order, and returns the first
// failure.
func (u *suite) probes(s *server) error {
	for _, p := range u.e.Ready.Probes {
		if err := s.c.Probe(s.ctx, p, model); err != nil {
			return err
		}
	}
	return nil
}

// post sends a request body through a wire and returns what became of it.
func (u *suite) post(s *server, wire int, body []byte) sample.Record {
	rec := sample.New(0, 0)
	s.c.Stream(s.ctx, u.e.Wires[wire], body, "request-0", clock(time.Now()), &rec)
	return rec
}
