package capture

import (
	"context"
	"errors"
	"fmt"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/sample"
)

// start begins the profile of a session. A profile that runs already is named,
// or ended where that was asked for.
func (r *runner) start(ctx context.Context, plan stagePlan, s *Stage, w *watcher) error {
	s.Asked = plan.ask
	if r.q.AtLaunch {
		return w.note()
	}
	if r.p.SilentStart {
		if err := r.endLeftOver(ctx, s, w); err != nil {
			return err
		}
	}
	body, err := r.startBody(plan, s)
	if err != nil {
		return err
	}
	if err := w.note(); err != nil {
		return err
	}
	r.q.Say("%s: starting the profiler", plan.name)
	meaning, err := r.act(ctx, engine.ProfileStarting, body)
	if meaning == engine.ProfileRunning && r.q.StopRunning {
		s.LeftRunning = true
		s.warn("left-running", "a profile was running on the server before this one, and was ended as asked for")
		r.q.Say("%s: ending the profile that was running", plan.name)
		if _, stopErr := r.act(ctx, engine.ProfileStopping, nil); stopErr != nil {
			return stopErr
		}
		if err := w.note(); err != nil {
			return err
		}
		meaning, err = r.act(ctx, engine.ProfileStarting, body)
	}
	if meaning == engine.ProfileRunning {
		s.LeftRunning = true
	}
	if err != nil {
		return err
	}
	r.running = true
	s.Start = time.Now().UTC()
	return nil
}

func (r *runner) startBody(plan stagePlan, s *Stage) ([]byte, error) {
	if r.p.Start == nil {
		return nil, nil
	}
	return r.p.Start(engine.ProfileStart{Dir: s.ServerDir, ID: r.id(plan.name), Steps: plan.ask, ByStage: plan.byStage})
}

// endLeftOver ends a profile that a second start would not have told of. What it
// writes shows that there was one.
func (r *runner) endLeftOver(ctx context.Context, s *Stage, w *watcher) error {
	if err := w.note(); err != nil {
		return err
	}
	// How it answers a stop where none runs is not known of every version.
	if meaning, err := r.act(ctx, engine.ProfileStopping, nil); ctx.Err() != nil || meaning == engine.ProfileAbsent {
		return err
	}
	if fresh := w.fresh(); len(fresh) > 0 {
		s.LeftRunning = true
		s.warn("left-running", "a profile was running on the server before this one: it was ended, and wrote %s, which is not part of this capture", fresh[0].name)
		r.q.Say("warning: a profile was left running; it was ended first")
	}
	return nil
}

// stop ends the profile. Where the engine counts steps it may have ended by
// itself.
func (r *runner) stop(ctx context.Context, s *Stage) error {
	if r.q.AtLaunch {
		return nil
	}
	r.q.Say("%s: stopping the profiler (it writes the traces before it answers, which may take minutes)", s.Stage)
	began := time.Now()
	meaning, err := r.act(ctx, engine.ProfileStopping, nil)
	if err != nil {
		return err
	}
	r.running = false
	s.Stop, s.StopSeconds = time.Now().UTC(), time.Since(began).Seconds()
	s.StoppedByItself = meaning == engine.ProfileIdle
	return nil
}

// act sends a start or a stop and says what the answer means. An answer that
// changes nothing for us (a stop where none runs) is no error.
func (r *runner) act(ctx context.Context, action engine.ProfileAction, body []byte) (engine.ProfileMeaning, error) {
	name := engine.EndpointStartProfile
	if action == engine.ProfileStopping {
		name = engine.EndpointStopProfile
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.q.StopTimeout)
		defer cancel()
	}
	reply, err := r.q.Server.Client.Call(ctx, name, nil, body)
	if reply.Status == 0 || client.ClassOf(err) == sample.ClassAuth {
		return engine.ProfileFailed, fmt.Errorf("%s of the profiler: %w", action, err)
	}
	meaning, do := r.p.Read(action, reply.Status, reply.Body)
	if do != "" {
		do = ": " + do
	}
	switch meaning {
	case engine.ProfileDone, engine.ProfileIdle:
		return meaning, nil
	case engine.ProfileRunning:
		return meaning, fmt.Errorf("a profile runs already on %s%s", r.q.Server.URL, do)
	case engine.ProfileAbsent:
		if do == "" {
			do = r.launchHint()
		}
		return meaning, fmt.Errorf("the server at %s has no profiler (HTTP %d)%s", r.q.Server.URL, reply.Status, do)
	}
	if err == nil {
		err = fmt.Errorf("HTTP %d: %.200s", reply.Status, reply.Body)
	}
	return meaning, errors.Join(fmt.Errorf("%s of the profiler: %w%s", action, err, do))
}
