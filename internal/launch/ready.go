package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

const (
	// heldRounds is how many rounds of probes must hold, one after the other: a
	// server that answers once while its workers still start is not ready.
	heldRounds = 2
	// The bounds for an engine that states none.
	defaultDeadline = 10 * time.Minute
	defaultInterval = time.Second
	defaultProbe    = 30 * time.Second
	// secondRound is the longest pause before the round that confirms.
	secondRound = 250 * time.Millisecond
	// lostRounds is how many rounds in a row may end with a path or a model that is
	// not there although the server has answered the probe before it: a gateway may
	// learn of its workers late.
	lostRounds = 20
)

var (
	errForeign = errors.New("the port belongs to somebody else")
	errEnded   = errors.New("the process has ended")
)

// WaitReady implements [Server].
func (s *server) WaitReady(ctx context.Context, progress func(Progress)) error {
	w := &wait{s: s, began: time.Now(), deadline: s.deadline(), progress: progress, probes: s.probes()}
	bound, cancel := context.WithTimeout(ctx, w.deadline)
	defer cancel()
	for {
		a := s.current()
		err := w.rounds(bound, a)
		var refused *Failure
		switch {
		case err == nil && s.markReady(a):
			return nil
		case errors.As(err, &refused):
			return refused
		case errors.Is(err, errForeign) && s.spec.Port != 0:
			return s.portFailure(a)
		case errors.Is(err, errForeign):
			a.lostPort()
		case err != nil && !errors.Is(err, errEnded) && bound.Err() == nil:
			return fmt.Errorf("waiting for %s: %w", s.spec.Name, err)
		}
		select {
		case <-a.settled:
		case <-bound.Done():
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("waiting for %s: %w", s.spec.Name, ctx.Err())
		case closed(s.done):
			return s.died(a)
		case bound.Err() != nil:
			return w.timeout(a)
		}
	}
}

// markReady: from here on a lost port is a crash. False when the attempt has
// been given up meanwhile.
func (s *server) markReady(a *attempt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = s.cur == a && !closed(s.done)
	return s.ready
}

func (s *server) died(a *attempt) error {
	exit := s.Exit()
	switch {
	case closed(a.foreign):
		return s.portFailure(a)
	case exit.Requested:
		return &Failure{Status: StatusFailed, ExitCode: exit.Code, Reason: "server stopped before it was ready"}
	}
	return Diagnose(s.spec.Engine, a.kept.all(), exit)
}

func (s *server) portFailure(a *attempt) *Failure {
	return &Failure{Status: StatusFailed, Kind: engine.LogPortInUse, Reason: fmt.Sprintf(
		"port %d on %s belongs to %s, not to the server (attempt %d): choose another port, or 0 for a free one",
		a.port, s.spec.Host, owner(listeners(s.spec.Host, a.port)), a.n)}
}

func (s *server) deadline() time.Duration {
	switch {
	case s.spec.ReadyDeadline > 0:
		return s.spec.ReadyDeadline
	case s.spec.Engine != nil && s.spec.Engine.Ready.Deadline > 0:
		return s.spec.Engine.Ready.Deadline
	}
	return defaultDeadline
}

func (s *server) interval() time.Duration {
	if s.spec.Engine != nil && s.spec.Engine.Ready.Interval > 0 {
		return s.spec.Engine.Ready.Interval
	}
	return defaultInterval
}

func (s *server) probes() []engine.Probe {
	probes := slices.Clone(s.spec.Probes)
	if s.spec.Probes == nil && s.spec.Engine != nil {
		probes = slices.Clone(s.spec.Engine.Ready.Probes)
	}
	for i := range probes {
		if probes[i].Timeout <= 0 {
			probes[i].Timeout = defaultProbe
		}
	}
	return probes
}

// wait is one WaitReady.
type wait struct {
	s         *server
	began     time.Time
	deadline  time.Duration
	probes    []engine.Probe
	progress  func(Progress)
	lastProbe string
	lost      int // rounds in a row that found no such path or model
}

// rounds probes until enough rounds have held (nil), the attempt ends, its port
// turns out to be another's, or ctx ends.
func (w *wait) rounds(ctx context.Context, a *attempt) error {
	c, err := client.New(client.Options{BaseURL: w.s.URL(), Engine: w.s.spec.Engine, APIKey: w.s.spec.APIKey})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends a probe at once when the process has ended
		select {
		case <-a.ended:
			cancel(errEnded)
		case <-ctx.Done():
		}
	}()
	f := newFamily(a.group.PGID, w.s.mark)
	for held, pause := 0, time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		err := w.round(ctx, c, a, f)
		if errors.Is(err, errForeign) {
			return err
		}
		if f := w.refused(err); f != nil {
			return f
		}
		// A probe that the end cut short says less than the one before it.
		ended := ctx.Err() != nil
		if held++; err != nil {
			if held = 0; !ended || w.lastProbe == "" {
				w.lastProbe = w.s.redactor.String(err.Error())
			}
		}
		if ended {
			return context.Cause(ctx)
		}
		w.report(a)
		if held >= heldRounds {
			return nil
		}
		if pause = w.s.interval(); held > 0 {
			pause = min(pause, secondRound)
		}
	}
}

// round asks all probes in order, once it is the server that would answer.
func (w *wait) round(ctx context.Context, c *client.Client, a *attempt, f *family) error {
	inodes := listeners(w.s.spec.Host, a.port)
	if len(inodes) > 0 && !a.hasEnded() && f.foreign(inodes, a.group.StartTicks) {
		return errForeign
	}
	if len(w.probes) == 0 && len(inodes) == 0 {
		return fmt.Errorf("nothing listens on port %d yet", a.port)
	}
	for i, p := range w.probes {
		if err := c.Probe(ctx, p, w.s.spec.Model); err != nil {
			if w.lost++; i == 0 || !notFound(err) {
				w.lost = 0
			}
			return err
		}
	}
	w.lost = 0
	return nil
}

// notFound says that the server has no such path or model: plain reads and streams
// word the status differently.
func notFound(err error) bool {
	text := err.Error()
	return client.ClassOf(err) == sample.ClassStatus && (strings.Contains(text, "HTTP 404 ") || strings.Contains(text, ": 404 "))
}

// refused is the failure of a server that answers, and will not answer otherwise
// however long it is waited for; nil = it may. No engine refuses a key while it
// starts and takes it later.
func (w *wait) refused(err error) *Failure {
	why := ""
	switch {
	case client.ClassOf(err) == sample.ClassAuth && w.s.spec.APIKey == "":
		why = "it wants an API key and none is given"
	case client.ClassOf(err) == sample.ClassAuth:
		why = "it does not take the API key that is given"
	case w.lost >= lostRounds:
		why = "it has no such path or model: compare the name of the model with the one that it serves"
	default:
		return nil
	}
	return &Failure{Status: StatusFailed, Reason: fmt.Sprintf("server answers, but not as asked: %s: %s", clip(w.s.redactor.String(err.Error())), why), err: err}
}

// foreign says whether the sockets belong to somebody who was there before the
// server. One who came later may be the server's own in a way that /proc does
// not show (a container that it asked for); where it is not, the server cannot
// listen and says so. What may not be read is given the benefit of the doubt.
func (f *family) foreign(inodes []uint64, born uint64) bool {
	for _, p := range f.scan() {
		if yes, known := holds(p.PID, inodes); yes || !known {
			return false
		}
	}
	self, _ := holds(os.Getpid(), inodes)
	return self || slices.ContainsFunc(processes(), func(p procfs.ProcStat) bool {
		yes, _ := holds(p.PID, inodes)
		return yes && p.Starttime < born
	})
}

func (w *wait) report(a *attempt) {
	if w.progress != nil {
		w.progress(Progress{Elapsed: time.Since(w.began), Deadline: w.deadline, LastProbe: w.lastProbe, LastLine: a.kept.last(), Attempt: a.n})
	}
}

// timeout is the failure of a server that did not become ready in time, with
// the cause where its log names one.
func (w *wait) timeout(a *attempt) *Failure {
	f := &Failure{Status: StatusTimeout, Reason: fmt.Sprintf("server not ready within %s", w.deadline)}
	if w.lastProbe != "" {
		f.Reason += "; last probe: " + clip(w.lastProbe)
	}
	kept := a.kept.all()
	if line, p, ok := cause(w.s.spec.Engine, kept); ok {
		f.Kind, f.Line = p.Kind, line
		f.Reason += fmt.Sprintf("; its log says %q: %s", clip(line), p.Meaning)
		return f
	}
	if f.Line = a.kept.last(); f.Line != "" {
		f.Reason += fmt.Sprintf("; last line of its log: %q", clip(f.Line))
	}
	return f
}
