package replay

import (
	"context"
	"fmt"
	"strings"
	"time"

	"llmdyno/internal/engine"
	"llmdyno/internal/launch"
)

// Host gives servers to replay against: one that runs already, or those that a
// launch command starts, one after another.
type Host struct {
	// Attach makes the target of a server at a URL; it asks the server what it is.
	Attach func(ctx context.Context, url string) (Target, error)
	URL    string // of a server that runs already, or of the one that is launched

	// Launch says how servers are started; nil = one runs already.
	Launch *Launch

	target  *Target
	server  launch.Server
	started int
}

// Launch starts servers.
type Launch struct {
	Backend  launch.Backend
	Command  []string       // "{port}" stands for a port that is chosen
	Engine   *engine.Engine // nil = found out once it answers
	Port     int            // it listens on; 0 = chosen
	Model    string
	APIKey   string
	Deadline time.Duration // of its start; 0 = that of the engine
}

// portMark stands for the port in a launch command.
const portMark = "{port}"

// ChoosesPort says that a command leaves the port to us.
func ChoosesPort(command []string) bool {
	for _, w := range command {
		if strings.Contains(w, portMark) {
			return true
		}
	}
	return false
}

// stopGrace is the time that a server has to end by itself.
const stopGrace = 5 * time.Second

// Started is how many servers were started.
func (h *Host) Started() int { return h.started }

// Address is that of the server in use.
func (h *Host) Address() string {
	if h.server != nil {
		return h.server.URL()
	}
	return h.URL
}

// Fresh is a server without a past where there is a launch command, else the one
// that runs.
func (h *Host) Fresh(ctx context.Context) (Target, error) {
	if h.Launch == nil {
		return h.running(ctx)
	}
	h.Stop()
	s, err := h.start(ctx)
	if err != nil {
		return Target{}, err
	}
	h.server = s
	t, err := h.Attach(ctx, s.URL())
	if err != nil {
		return Target{}, err
	}
	h.target = &t
	t.Exited = s.Done()
	if h.Launch.Engine == nil && t.Engine() != nil {
		if err := h.ready(ctx, t); err != nil {
			return Target{}, err
		}
	}
	return t, nil
}

func (h *Host) running(ctx context.Context) (Target, error) {
	if h.target != nil {
		return *h.target, nil
	}
	t, err := h.Attach(ctx, h.URL)
	if err == nil {
		h.target = &t
	}
	return t, err
}

// answering is what is known of a server whose engine is not: it lists its models
// once it serves.
func answering() *engine.Engine {
	return &engine.Engine{
		Title:     "the server",
		Endpoints: []engine.Endpoint{{Name: engine.EndpointModels, Method: "GET", Path: "/v1/models", ReadOnly: true}},
		Ready:     engine.Ready{Probes: []engine.Probe{{Endpoint: engine.EndpointModels, Status: 200}}},
	}
}

// start starts a server and waits until it is ready.
func (h *Host) start(ctx context.Context) (launch.Server, error) {
	l := h.Launch
	e := l.Engine
	if e == nil {
		e = answering()
	}
	h.started++
	s, err := l.Backend.Start(ctx, launch.Spec{
		Name: "the server", Engine: e, Port: l.Port, Model: l.Model, APIKey: l.APIKey, ReadyDeadline: l.Deadline,
		Argv: func(port int) []string {
			words := make([]string, len(l.Command))
			for i, w := range l.Command {
				words[i] = strings.ReplaceAll(w, portMark, fmt.Sprint(port))
			}
			return words
		},
	})
	if err != nil {
		return nil, err
	}
	if err := s.WaitReady(ctx, nil); err != nil {
		s.Stop(context.Background(), stopGrace)
		return nil, fmt.Errorf("the launch command: %w", err)
	}
	return s, nil
}

// The bounds of the wait for the probes of an engine that was found out.
const (
	readyEvery    = 250 * time.Millisecond
	readyDeadline = 10 * time.Minute
)

// ready waits for what makes a server of this engine ready, beyond its list of
// models.
func (h *Host) ready(ctx context.Context, t Target) error {
	deadline := h.Launch.Deadline
	if deadline <= 0 {
		deadline = readyDeadline
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	for {
		var err error
		for _, p := range t.Engine().Ready.Probes {
			if err = t.Client.Probe(ctx, p, t.Model); err != nil {
				break
			}
		}
		if err == nil {
			return nil
		}
		select {
		case <-t.Exited:
			return fmt.Errorf("the server ended before it was ready: %s", h.epitaph())
		case <-ctx.Done():
			return fmt.Errorf("the server was not ready in time; last probe: %w", err)
		case <-time.After(readyEvery):
		}
	}
}

// Epitaph says how a launched server ended, and what it said last.
func (h *Host) Epitaph(r *Run) {
	if h.server == nil || !r.Died {
		return
	}
	r.Ended = h.epitaph()
	r.LastLines = h.server.Tail(lastLines)
}

// lastLines are shown of a server that died.
const lastLines = 20

func (h *Host) epitaph() string {
	e := h.Launch.Engine
	if e == nil && h.target != nil {
		e = h.target.Engine()
	}
	return launch.Diagnose(e, h.server.Tail(lastLines), h.server.Exit()).Reason
}

// Stop ends what was started; it may be called several times.
func (h *Host) Stop() {
	if h.target != nil && h.Launch != nil {
		h.target.Client.Close()
		h.target = nil
	}
	if h.server != nil {
		h.server.Stop(context.Background(), stopGrace)
		h.server = nil
	}
}

// Close ends what was started and drops the connections.
func (h *Host) Close() {
	h.Stop()
	if h.target != nil {
		h.target.Client.Close()
		h.target = nil
	}
}

// Whole plays all requests n times, each against a server of its own where one can
// be started.
func (h *Host) Whole(ctx context.Context, plan func(Target) (*Plan, error), n int, say func(*Plan, Target) error) (p *Plan, runs []*Run, err error) {
	for i := range n {
		t, err := h.Fresh(ctx)
		if err != nil {
			return p, runs, err
		}
		if p == nil {
			if p, err = plan(t); err != nil {
				return p, runs, err
			}
			if err := say(p, t); err != nil {
				return p, runs, err
			}
		}
		r, err := Play(ctx, p, t, true)
		if r != nil {
			h.Epitaph(r)
			runs = append(runs, r)
		}
		if err != nil {
			return p, runs, fmt.Errorf("replay %d: %w", i+1, err)
		}
	}
	return p, runs, nil
}
