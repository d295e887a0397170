package collect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/engine"
	"llmdyno/internal/incident/bundle"
)

// Spec is one server that is to be asked.
type Spec struct {
	URL    string
	Name   string         // as discovery calls it; "" = none
	Engine *engine.Engine // nil = to be recognised
	Notes  []string
}

// Options say what is asked, how, and where it goes.
type Options struct {
	Targets []Spec
	Engines engine.Set
	Key     string // bearer token for all targets
	// Timeout bounds one probe, unless its endpoint is known to need longer;
	// Deadline bounds everything, 0 = nothing.
	Timeout, Deadline time.Duration
	MaxBody           int64 // of one reply; the part below is kept
	// Include names the endpoints with an effect that may be asked.
	Include []engine.EndpointName
	// Watch samples metrics and loads for so long, one sample every Every.
	Watch, Every time.Duration
	// Ports are the ports of endpoints that do not stand on the server's, by the
	// flag that sets them; see client.Options.
	Ports map[string]int
	Proxy *url.URL
	TLS   *tls.Config
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error) // nil = TCP
	Host  *HostOptions                                                      // nil = nothing of this machine
	Say   func(format string, args ...any)                                  // progress; nil = silent
}

// Defaults of Options.
const (
	DefaultTimeout = 10 * time.Second
	DefaultMaxBody = 32 << 20
)

// most bounds the targets that are asked at the same time, and writers the
// bodies that are redacted and written at the same time.
const (
	most    = 512
	writers = 2
)

// Outcome is what a capture came to.
type Outcome struct {
	Targets  []bundle.Target
	Reached  int // targets that gave any reply
	State    string
	Messages int // probes
}

// errDeadline is the cause of a cancellation by the overall deadline.
var errDeadline = errors.New("the deadline of the whole capture has passed")

// Run asks all targets and writes into w. It returns an error only where the
// bundle cannot be written; the caller finishes w with the outcome's state.
func Run(ctx context.Context, o Options, w *bundle.Writer) (Outcome, error) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxBody <= 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	bounded := ctx
	if o.Deadline > 0 {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeoutCause(ctx, o.Deadline, errDeadline)
		defer cancel()
	}
	r := &round{o: o, w: w, began: time.Now(), slots: make(chan struct{}, most), pens: make(chan struct{}, writers)}
	ids := identify(o.Targets)
	targets := make([]bundle.Target, len(o.Targets))
	var wg sync.WaitGroup
	if o.Host != nil {
		wg.Go(func() { r.keep(gatherHost(bounded, *o.Host, w)) })
	}
	for i, spec := range o.Targets {
		wg.Go(func() {
			r.slots <- struct{}{}
			defer func() { <-r.slots }()
			t, err := r.visit(bounded, ids[i], spec)
			targets[i] = t
			r.keep(err)
			r.tell(t, len(o.Targets))
		})
	}
	wg.Wait()
	return r.outcome(ctx, bounded, targets), r.err
}

// round is one capture under way.
type round struct {
	o     Options
	w     *bundle.Writer
	began time.Time
	slots chan struct{}
	pens  chan struct{}

	mu   sync.Mutex
	err  error // first that keeps the bundle from being written
	done int
}

func (r *round) keep(err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

func (r *round) tell(t bundle.Target, all int) {
	r.mu.Lock()
	r.done++
	done := r.done
	r.mu.Unlock()
	good := 0
	for _, p := range t.Probes {
		if p.OK() {
			good++
		}
	}
	what := t.Engine
	if what == "" {
		what = "engine not recognised"
	}
	r.o.Say("%d/%d  %s  %s %s  %d of %d probes answered well", done, all, t.URL, what, t.EngineVersion, good, len(t.Probes))
}

func (r *round) outcome(ctx, bounded context.Context, targets []bundle.Target) Outcome {
	out := Outcome{Targets: targets, State: bundle.StateComplete}
	for _, t := range targets {
		out.Messages += len(t.Probes) + len(t.Samples)
		if slices.ContainsFunc(t.Probes, func(p bundle.Probe) bool { return p.Status != 0 }) {
			out.Reached++
		}
	}
	switch {
	case ctx.Err() != nil:
		out.State = bundle.StateInterrupted
	case errors.Is(context.Cause(bounded), errDeadline):
		out.State = bundle.StateDeadline
	}
	return out
}

// identify gives every target an id of its own that is fit for a folder's name.
func identify(specs []Spec) []string {
	ids := make([]string, len(specs))
	seen := map[string]int{}
	for i, s := range specs {
		name := s.Name
		if name == "" {
			name = s.URL
			if u, err := url.Parse(s.URL); err == nil && u.Host != "" {
				name = u.Host + u.Path
			}
		}
		id := artifact.Slug(strings.TrimSuffix(name, "/"))
		seen[id]++
		if n := seen[id]; n > 1 {
			id = fmt.Sprintf("%s_%d", id, n)
		}
		ids[i] = id
	}
	return ids
}
