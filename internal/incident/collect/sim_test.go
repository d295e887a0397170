package collect

import (
	"context"
	"errors"
	"fmt"
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

	"llmdyno/internal/engine"
	"llmdyno/internal/engine/all"
	"llmdyno/internal/incident/bundle"
	"llmdyno/internal/sim"
)

const model = "meta-llama/Llama-3.1-8B-Instruct"

// pipes is a listener whose connections are pipes within the process.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

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

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// network is the servers of one bubble, by host name.
type network struct {
	t     *testing.T
	hosts map[string]*pipes // nil = hangs
	ends  []func()
}

func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	p, known := n.hosts[host]
	switch {
	case !known:
		return nil, errRefused
	case p == nil:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return p.dial(ctx)
}

// serve puts a handler under a host name.
func (n *network) serve(host string, h http.Handler) {
	p := newPipes()
	srv := &http.Server{Handler: h}
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(p) })
	n.hosts[host] = p
	n.ends = append(n.ends, func() { srv.Close(); p.Close(); wg.Wait() })
}

// start simulates an engine under a host name; whether its port is open is told.
func (n *network) start(e *engine.Engine, host string, argv []string, fault string) (open bool) {
	f, err := sim.ParseFaults(strings.Fields(fault))
	if err != nil {
		n.t.Fatal(err)
	}
	eng, err := sim.New(sim.Options{Surface: e.Surface, Argv: argv, GPU: "h200", PID: 1000, Seed: 1, Faults: f, Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		return false // it refuses to start
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { eng.Run(ctx) })
	n.ends = append(n.ends, func() { cancel(); wg.Wait() })
	loading := strings.HasPrefix(fault, "slow-start") || fault == "never-ready"
	if !loading {
		if err := eng.Load(ctx); err != nil {
			return false
		}
		eng.Ready()
	}
	if loading && !eng.ListenEarly() {
		return false
	}
	n.serve(host, eng)
	return true
}

func (n *network) close() {
	for _, end := range n.ends {
		end()
	}
}

func argvOf(id engine.ID) []string {
	switch id {
	case "vllm":
		return []string{"vllm", "serve", model}
	case "sglang":
		return []string{"--model-path", model, "--enable-metrics"}
	case "trtllm":
		return []string{"trtllm-serve", "serve", model}
	case "tokenspeed":
		return []string{"tokenspeed", "serve", model}
	}
	return []string{"llama-server", "-m", model}
}

// everything names all endpoints with an effect.
func everything(set engine.Set) (names []engine.EndpointName) {
	for _, e := range set {
		for _, ep := range endpointsOf(e) {
			if ep.Effect != "" {
				names = append(names, ep.Name)
			}
		}
	}
	return names
}

// gather runs a capture into a folder and opens it.
func gather(t *testing.T, ctx context.Context, o Options) (*bundle.Bundle, Outcome, time.Duration) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	w, err := bundle.Create(dir, bundle.Manifest{Tool: "llmdyno", Started: time.Now()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	out, err := Run(ctx, o, w)
	took := time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(out.State); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if diffs, err := b.Verify(); err != nil || len(diffs) > 0 {
		t.Errorf("the bundle is not as it was sealed: %v, %v", diffs, err)
	}
	return b, out, took
}

// wanted is the class of a probe of a simulated engine with a fault.
func wanted(e *engine.Engine, ep engine.Endpoint, fault string) string {
	name, _, _ := strings.Cut(fault, "=")
	needed := ep.Needs != "" && !(e.ID == "sglang" && ep.Name == engine.EndpointMetrics)
	loading := name == "slow-start" || name == "never-ready"
	switch {
	case needed && ep.Name != engine.EndpointSlots && ep.Name != engine.EndpointPerfMetrics, ep.Name == engine.EndpointEnergy:
		return bundle.ClassStatus // 404: it was not switched on, or the captured version has none
	case name == "unauthorized" && ep.Auth:
		return bundle.ClassAuth
	case name == "dead-scheduler" && e.ID == "sglang" && ep.Name == engine.EndpointServerInfo,
		name == "dead-scheduler" && e.ID == "trtllm" && ep.Name == engine.EndpointHealthGenerate:
		return bundle.ClassTimeout
	case e.ID == "sglang" && ep.Effect != "" && (name == "dead-scheduler" || loading):
		return bundle.ClassStatus
	case e.ID == "llamacpp" && loading:
		return bundle.ClassStatus
	}
	return ""
}

// Each probe of each engine with each fault has its class, and the capture takes
// no longer than its slowest probe and half a second.
func TestFaultsHaveTheirClasses(t *testing.T) {
	for _, e := range all.Engines() {
		for _, fault := range append([]string{""}, sim.FaultNames()...) {
			fault, _, _ = strings.Cut(fault, "[")
			fault = strings.Replace(fault, "=FLAG", "=--some-flag", 1)
			fault = strings.Replace(fault, "=K", "=1", 1)
			t.Run(string(e.ID)+"/"+fault, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { checkFault(t, e, fault) })
			})
		}
	}
}

func checkFault(t *testing.T, e *engine.Engine, fault string) {
	n := &network{t: t, hosts: map[string]*pipes{}}
	open := n.start(e, "server", argvOf(e.ID), fault)
	spec := Spec{URL: "http://server:30000"}
	if name, _, _ := strings.Cut(fault, "="); e.ID == "llamacpp" && (name == "slow-start" || name == "never-ready" || name == "unauthorized") {
		spec.Engine = e // its header tells it then, which the simulated one does not send
	}
	b, _, took := gather(t, t.Context(), Options{Engines: all.Engines(), Targets: []Spec{spec}, Include: everything(all.Engines()), Dial: n.dial})
	n.close()
	target := b.Targets[0]
	slowest := 0.0
	for _, p := range target.Probes {
		slowest = max(slowest, p.DurationMS)
		if !open && p.ErrorClass != bundle.ClassRefused {
			t.Errorf("%s of a server that does not listen: class %q (%s), want %q", p.Path, p.ErrorClass, p.Error, bundle.ClassRefused)
		}
	}
	if limit := time.Duration(slowest*1e6) + 500*time.Millisecond; took > limit {
		t.Errorf("the capture took %s, its slowest probe %.0f ms", took, slowest)
	}
	if !open {
		return
	}
	if target.Engine != string(e.ID) {
		t.Fatalf("taken for %q by %q", target.Engine, target.EngineBy)
	}
	for _, ep := range endpointsOf(e) {
		if !ep.Reading(true) {
			continue
		}
		i := slices.IndexFunc(target.Probes, func(p bundle.Probe) bool {
			return p.Name == string(ep.Name) && (p.Path == ep.Path || slices.Contains(ep.Legacy, p.Path))
		})
		if i < 0 {
			t.Errorf("%s was not asked", ep.Path)
			continue
		}
		if p, want := target.Probes[i], wanted(e, ep, fault); p.ErrorClass != want {
			t.Errorf("%s: class %q (HTTP %d, %s), want %q", ep.Path, p.ErrorClass, p.Status, p.Error, want)
		}
	}
	if fault == "" && target.EngineVersion == "" && e.ID != "trtllm" {
		t.Error("its version was not found")
	}
}

// What has an effect is asked only when it was named, and what acts never.
func TestOnlyReads(t *testing.T) {
	for _, e := range all.Engines() {
		t.Run(string(e.ID), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{t: t, hosts: map[string]*pipes{}}
				var mu sync.Mutex
				var sent []string
				f, _ := sim.ParseFaults(nil)
				eng, err := sim.New(sim.Options{Surface: e.Surface, Argv: argvOf(e.ID), GPU: "h200", PID: 1, Faults: f, Stdout: io.Discard, Stderr: io.Discard})
				if err != nil {
					t.Fatal(err)
				}
				if err := eng.Load(t.Context()); err != nil {
					t.Fatal(err)
				}
				eng.Ready()
				n.serve("server", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					mu.Lock()
					sent = append(sent, q.Method+" "+q.URL.Path)
					mu.Unlock()
					eng.ServeHTTP(w, q)
				}))
				b, _, _ := gather(t, t.Context(), Options{Engines: all.Engines(), Targets: []Spec{{URL: "http://server"}}, Dial: n.dial, Watch: 3 * time.Second, Every: time.Second})
				n.close()
				for _, ep := range endpointsOf(e) {
					if asked := slices.Contains(sent, ep.Method+" "+ep.Path); asked && (ep.Method != "GET" || ep.Effect != "" || !ep.ReadOnly) {
						t.Errorf("%s %s was sent", ep.Method, ep.Path)
					}
				}
				if len(b.Targets[0].Samples) != 0 && len(b.Targets[0].Samples)%3 != 0 {
					t.Errorf("%d samples over 3 s, one a second of each", len(b.Targets[0].Samples))
				}
			})
		})
	}
}

// The client itself refuses what nobody has marked.
func TestGuard(t *testing.T) {
	check := guard(all.Engines(), nil)
	for _, x := range []struct {
		method, path string
		ok           bool
	}{
		{"GET", "/v1/models", true}, {"GET", "/metrics", true}, {"GET", "/health_generate", false}, {"POST", "/v1/models", false},
		{"POST", "/flush_cache", false}, {"GET", "/flush_cache", false}, {"GET", "/start_profile", false}, {"POST", "/generate", false}, {"GET", "/perf_metrics", false}, {"GET", "/", false},
	} {
		if err := check(x.method, x.path); (err == nil) != x.ok {
			t.Errorf("%s %s: %v, want sent: %v", x.method, x.path, err, x.ok)
		}
	}
	if err := guard(all.Engines(), []engine.EndpointName{engine.EndpointHealthGenerate})("GET", "/health_generate"); err != nil {
		t.Errorf("an endpoint that was named: %v", err)
	}
}

// 256 servers, dead, hanging and refusing ones among them, take as long as the
// slowest probe of them.
func TestManyTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{t: t, hosts: map[string]*pipes{}}
		var specs []Spec
		engines := all.Engines()
		for i := range 256 {
			host := fmt.Sprintf("host-%03d", i)
			switch i % 8 {
			case 6:
				n.hosts[host] = nil
			case 7: // nobody listens
			default:
				e := engines[i%len(engines)]
				if !n.start(e, host, argvOf(e.ID), "") {
					t.Fatalf("%s does not start", e.ID)
				}
			}
			specs = append(specs, Spec{URL: "http://" + host + ":8000"})
		}
		b, out, took := gather(t, t.Context(), Options{Engines: engines, Targets: specs, Dial: n.dial})
		n.close()
		if len(b.Targets) != 256 || out.Reached != 192 || out.State != bundle.StateComplete {
			t.Errorf("%d targets, %d reached, state %s; want 256, 192 and complete", len(b.Targets), out.Reached, out.State)
		}
		if took > DefaultTimeout+500*time.Millisecond {
			t.Errorf("it took %s; the slowest probe ends after %s", took, DefaultTimeout)
		}
		for _, x := range b.Targets {
			for _, p := range x.Probes {
				if strings.HasSuffix(x.ID, "006-8000") && p.ErrorClass != bundle.ClassTimeout || strings.HasSuffix(x.ID, "007-8000") && p.ErrorClass != bundle.ClassRefused {
					t.Errorf("%s %s: class %q", x.ID, p.Path, p.ErrorClass)
				}
			}
		}
	})
}

// Interrupted, and at the deadline, the bundle holds what came until then.
func TestEndsEarly(t *testing.T) {
	for _, x := range []struct {
		name string
		o    Options
		stop time.Duration
		want string
	}{
		{"interrupt", Options{Watch: time.Hour, Every: time.Second}, 10500 * time.Millisecond, bundle.StateInterrupted},
		{"deadline", Options{Watch: time.Hour, Every: time.Second, Deadline: 10500 * time.Millisecond}, time.Hour, bundle.StateDeadline},
		{"interrupted while probes hang", Options{Timeout: time.Hour}, 2 * time.Second, bundle.StateInterrupted},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{t: t, hosts: map[string]*pipes{}}
				e, _ := all.Engines().Lookup("sglang")
				fault := ""
				if x.o.Watch == 0 {
					fault = "dead-scheduler"
				}
				n.start(e, "server", argvOf(e.ID), fault)
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(x.stop, cancel).Stop()
				x.o.Engines, x.o.Targets, x.o.Dial = all.Engines(), []Spec{{URL: "http://server"}}, n.dial
				b, out, took := gather(t, ctx, x.o)
				n.close()
				if out.State != x.want || b.Manifest.State != x.want {
					t.Errorf("state %q, in the bundle %q, want %q", out.State, b.Manifest.State, x.want)
				}
				if limit := min(x.stop, 10500*time.Millisecond) + 100*time.Millisecond; took > limit {
					t.Errorf("it went on for %s, want at most %s", took, limit)
				}
				if x.o.Watch > 0 && len(b.Targets[0].Samples) != 20 {
					t.Errorf("%d samples, want 10 of metrics and 10 of loads", len(b.Targets[0].Samples))
				}
				if p, ok := b.Targets[0].Probe("server_info"); fault != "" && (!ok || p.ErrorClass != bundle.ClassCancelled) {
					t.Errorf("the probe that hung: %+v, want class cancelled", p)
				}
			})
		})
	}
}

var errAny = errors.New("any")

func TestClassOf(t *testing.T) {
	for _, x := range []struct {
		status int
		err    error
		want   string
	}{
		{200, nil, ""}, {204, nil, ""}, {307, nil, bundle.ClassStatus}, {401, errAny, bundle.ClassAuth}, {403, errAny, bundle.ClassAuth}, {500, errAny, bundle.ClassStatus},
		{0, &net.DNSError{IsNotFound: true}, bundle.ClassDNS}, {0, &net.DNSError{IsTimeout: true}, bundle.ClassTimeout},
		{0, errRefused, bundle.ClassRefused}, {0, context.DeadlineExceeded, bundle.ClassTimeout}, {200, context.DeadlineExceeded, bundle.ClassTimeout},
		{200, io.ErrUnexpectedEOF, bundle.ClassTruncated}, {200, syscall.ECONNRESET, bundle.ClassTruncated}, {0, syscall.ECONNRESET, bundle.ClassBroken},
		{0, context.Canceled, bundle.ClassCancelled}, {0, errAny, bundle.ClassBroken},
	} {
		if got := classOf(t.Context(), x.status, x.err); got != x.want {
			t.Errorf("HTTP %d with %v: class %q, want %q", x.status, x.err, got, x.want)
		}
	}
}
