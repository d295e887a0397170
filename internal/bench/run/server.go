package run

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/launch"
	"llmdyno/internal/load/sample"
)

const (
	serverLogName = "server.log"
	// logCap bounds a server's log, in bytes.
	logCap = 32 << 20
	// stopGrace is how long a server may take to end by itself; engines free
	// GPU memory in that time.
	stopGrace      = 20 * time.Second
	interruptGrace = 3 * time.Second
	modelsTimeout  = 20 * time.Second
)

// server is a candidate that runs.
type server struct {
	launch.Server
	candidate string
	round     int // of Plan.Order
	engine    *engine.Engine
	client    *client.Client
	wire      engine.Wire
	model     string // name in requests
	ignoreEOS bool   // the wire can ask for an exact output length
	mark      string
	log       *splitLog
	flushes   bool // the cache can be flushed, as far as known
	warnings  []result.Warning
	tokens    tokens
}

// mount starts a candidate and waits until it is ready. A candidate that does
// not start is written down as failed, and no error: r.server stays nil.
func (r *runner) mount(ctx context.Context, c config.Candidate) error {
	e, _ := r.set.Lookup(string(c.Engine))
	s := &server{candidate: c.ID, engine: e, mark: rand.Text(), flushes: true}
	wire, ok := wireOf(e, r.plan.Load.Endpoint)
	if !ok {
		return r.startFailed(c, s, &Failure{Phase: "start", Status: result.StatusFailed, Reason: fmt.Sprintf("%s has no endpoint %s that generates: use one of %s", e.Title, r.plan.Load.Endpoint, wirePaths(e))})
	}
	s.wire = wire
	_, eosErr := wire.Encode(engine.GenerateRequest{Model: "m", Prompt: "p", Messages: nil, MaxTokens: 1, IgnoreEOS: true})
	s.ignoreEOS = eosErr == nil
	logName := r.candidateLog(c)
	file, err := r.folder.Log(logName, logCap)
	if err != nil {
		return err
	}
	s.log = &splitLog{file: file}
	if err := r.record(Entry{Kind: KindServerBegun, Candidate: c.ID, Mark: s.mark}); err != nil {
		return errors.Join(err, s.log.Close())
	}
	failure, err := r.start(ctx, c, s)
	if err == nil && failure == nil {
		r.server = s
		return nil
	}
	if failure != nil {
		failure.Log = logName
	}
	grace := stopGrace
	if ctx.Err() != nil {
		grace = interruptGrace
	}
	if s.Server != nil {
		s.Stop(context.WithoutCancel(ctx), grace)
	}
	if s.client != nil {
		s.client.Close()
	}
	if endErr := r.record(Entry{Kind: KindServerEnded, Candidate: c.ID, Mark: s.mark}); endErr != nil {
		return endErr
	}
	if err != nil {
		return err
	}
	return r.startFailed(c, s, failure)
}

func (r *runner) startFailed(c config.Candidate, s *server, f *Failure) error {
	if err := r.record(Entry{Kind: KindStartFailed, Candidate: c.ID, Failure: f}); err != nil {
		return err
	}
	r.show.say("%s: %s: %s", c.ID, f.Status, f.Reason)
	return nil
}

// candidateLog is the name of the log of the server that starts next.
func (r *runner) candidateLog(c config.Candidate) string {
	name := "server.log"
	if n := r.state.candidate(c.ID).Starts; n > 0 {
		name = fmt.Sprintf("server-%d.log", n+1)
	}
	return "trials/" + c.ID + "/" + name
}

// start launches and waits. A failure is one of the candidate, an error one of
// the session.
func (r *runner) start(ctx context.Context, c config.Candidate, s *server) (*Failure, error) {
	ep := r.plan.engine(c.Engine)
	began := time.Now()
	srv, err := r.Backend.Start(ctx, r.serverSpec(c, ep, s))
	if err != nil {
		return r.startFailure(ctx, err, "start")
	}
	s.Server = srv
	if err := srv.WaitReady(ctx, r.show.starting); err != nil {
		return r.startFailure(ctx, err, "start")
	}
	s.client, err = client.New(client.Options{BaseURL: srv.URL(), Engine: s.engine, APIKey: r.apiKey, Dial: r.Dial, Conns: 1024, Ports: r.ports(c, s.engine)})
	if err != nil {
		return r.startFailure(ctx, err, "start")
	}
	s.nameModel(ctx)
	return nil, r.record(Entry{Kind: KindServerReady, Candidate: c.ID, StartupS: time.Since(began).Seconds()})
}

// ports are those of endpoints that do not stand on the server's port, where the
// candidate fixes them. The simulated engine has one port for everything.
func (r *runner) ports(c config.Candidate, e *engine.Engine) map[string]int {
	out := map[string]int{}
	for _, ep := range e.Endpoints {
		if n, ok := c.Flags.Number(ep.Port); ep.Port != "" && ok && !r.plan.Simulated {
			out[ep.Port] = int(n)
		}
	}
	return out
}

func (r *runner) startFailure(ctx context.Context, err error, phase string) (*Failure, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if r.broken != nil {
		return nil, r.broken
	}
	f := failureOf(err, phase)
	if client.ClassOf(err) == sample.ClassAuth {
		f.Reason += hint(sample.ClassAuth, r.plan)
	}
	return f, nil
}

func failureOf(err error, phase string) *Failure {
	var f *launch.Failure
	if errors.As(err, &f) {
		return &Failure{Phase: phase, Status: f.Status, Kind: string(f.Kind), Reason: f.Reason, Line: f.Line}
	}
	return &Failure{Phase: phase, Status: result.StatusFailed, Reason: err.Error()}
}

func (r *runner) serverSpec(c config.Candidate, ep EnginePlan, s *server) launch.Spec {
	host, port := endpointOf(s.engine, ep, c)
	s.model = servedName(r.plan, c)
	return launch.Spec{
		Name: c.ID, Engine: s.engine, Env: ep.Env, Dir: r.plan.Dir, Host: host, Port: port, Model: s.model, Log: s.log,
		Argv:          func(port int) []string { return r.argvOf(c, command(s.engine, ep, c, host, port)) },
		ReadyDeadline: time.Duration(ep.ReadyTimeoutS * float64(time.Second)),
		APIKey:        r.apiKey, Mark: s.mark,
		Started: func(g launch.Group) {
			// A journal that cannot be written ends the session at the next line.
			_ = r.record(Entry{Kind: KindServerGroup, Candidate: c.ID, Mark: s.mark, Group: &g})
		},
	}
}

// endpointOf is where the server will be reached, and its port where the
// candidate fixes one.
func endpointOf(e *engine.Engine, ep EnginePlan, c config.Candidate) (host string, port int) {
	host = e.Launch.Host
	if ep.Host != "" {
		host = ep.Host
	}
	if h := c.Flags.Word(e.Launch.HostFlag); h != "" {
		host = h
	}
	if n, ok := c.Flags.Number(e.Launch.PortFlag); ok {
		port = int(n)
	}
	return host, port
}

// command is the candidate's with host and port, where it does not set them.
func command(e *engine.Engine, ep EnginePlan, c config.Candidate, host string, port int) []string {
	argv := slices.Clone(c.Argv)
	if _, set := c.Flags.Get(e.Launch.HostFlag); !set && e.Launch.HostFlag != "" {
		argv = append(argv, e.Option(e.Launch.HostFlag), host)
	}
	if _, set := c.Flags.Get(e.Launch.PortFlag); !set && e.Launch.PortFlag != "" {
		argv = append(argv, e.Option(e.Launch.PortFlag), strconv.Itoa(port))
	}
	return argv
}

// servedName is the name that requests carry: the one that the flags give the
// model, else what the engine was told to load.
func servedName(p *Plan, c config.Candidate) string {
	for _, key := range []string{"served_model_name", "alias"} {
		if name := c.Flags.Word(key); name != "" {
			return name
		}
	}
	return p.ServedModel
}

// nameModel asks the server under which name it serves, and takes the first one
// where ours is not among them.
func (s *server) nameModel(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, modelsTimeout)
	defer cancel()
	reply, err := s.client.Call(ctx, engine.EndpointModels, nil, nil)
	if err != nil {
		return // not every engine has the list; requests will tell
	}
	var list struct {
		Data []struct{ ID string }
	}
	if json.Unmarshal(reply.Body, &list) != nil || len(list.Data) == 0 {
		return
	}
	for _, m := range list.Data {
		if m.ID == s.model {
			return
		}
	}
	s.model = list.Data[0].ID
}

func wireOf(e *engine.Engine, path string) (engine.Wire, bool) {
	for _, w := range e.Wires {
		if w.Path == path {
			return w, true
		}
	}
	return engine.Wire{}, false
}

func wirePaths(e *engine.Engine) string {
	text := ""
	for i, w := range e.Wires {
		if i > 0 {
			text += ", "
		}
		text += w.Path
	}
	return text
}

// unmount stops the server that runs, if any.
func (r *runner) unmount(ctx context.Context) error {
	s := r.server
	if s == nil {
		return nil
	}
	r.server = nil
	grace := stopGrace
	if ctx.Err() != nil {
		grace = interruptGrace
	}
	r.show.stopping()
	s.client.Close()
	exit := s.Stop(context.WithoutCancel(ctx), grace)
	if len(exit.Left) > 0 {
		r.show.say("%s: processes %v could not be ended: they are stuck in the kernel", s.candidate, exit.Left)
	}
	return r.record(Entry{Kind: KindServerEnded, Candidate: s.candidate, Mark: s.mark})
}

// splitLog writes a server's output to its own log and, while a trial runs, to
// the trial's.
type splitLog struct {
	mu    sync.Mutex
	file  io.WriteCloser
	trial io.WriteCloser
}

func (l *splitLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.file.Write(b)
	if l.trial != nil {
		_, trialErr := l.trial.Write(b)
		err = errors.Join(err, trialErr)
	}
	return n, err
}

// during sends a copy of the output to w until the returned func is called,
// which closes w.
func (l *splitLog) during(w io.WriteCloser) (end func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trial = w
	return func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.trial = nil
		return w.Close()
	}
}

func (l *splitLog) Close() error { return l.file.Close() }
