package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/bench/result"
	"llmdyno/internal/engine"
	"llmdyno/internal/launch"
)

const resultsName = "results.jsonl"

// Env is what a run needs of the world.
type Env struct {
	Engines  engine.Set
	Backend  launch.Backend
	Redactor *artifact.Redactor
	// Rewrite turns the command of an engine into that of the simulator; it is
	// asked when the plan is a simulated one.
	Rewrite func(p *Plan, id engine.ID, argv []string) []string
	// Reap ends what is left of the servers of a killed run; nil = that of
	// package launch.
	Reap func([]OpenServer) []int
	// Secret is the value of an environment variable; nil = there are none. The
	// one that the plan names as the API key is sent to servers, never written.
	Secret func(name string) string
	// Dial opens connections to servers; nil = TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Observe is told what happens, one call at a time; nil = nobody.
	Observe func(Status)
	// Report writes the reports of the rows into the folder; nil = none.
	Report func(folder *artifact.Run, p *Plan, rows []result.Row, took time.Duration) error
	Facts  Facts
}

// Result is what a session of a run leaves to show.
type Result struct {
	Dir   string
	Plan  *Plan
	Rows  []result.Row
	State string // of the manifest
	// Already: everything was done before this session began.
	Already bool
	// Stopped says why the session ended early; "" = it did not.
	Stopped string
	Took    time.Duration // since the first session began
}

var (
	// ErrInterrupted means that the context ended; what was measured is kept.
	ErrInterrupted = errors.New("interrupted")
	errMaxTime     = errors.New("the time of --max-time was over")
	// ErrNotStarted means that a folder holds a run without a plan.
	ErrNotStarted = errors.New("killed before its plan was written: nothing was measured; start it again in another folder")
)

// Start begins the run of a plan in a new folder. source is the configuration
// as given. The folder is closed when Start returns.
func Start(ctx context.Context, env Env, folder *artifact.Run, p *Plan, source []byte) (Result, error) {
	defer folder.Close()
	r := newRunner(env, folder, p, NewState())
	err := folder.WriteFile(configName, source)
	if err == nil {
		err = folder.WriteJSON(planName, p)
	}
	if err != nil {
		return Result{Dir: folder.Dir(), Plan: p}, err
	}
	return r.session(ctx)
}

// Meta is what the manifest says of the run of a plan.
func (p *Plan) Meta(toolVersion string, source []byte, argv []string) artifact.Meta {
	sum := sha256.Sum256(source)
	return artifact.Meta{Tool: "llmdyno", ToolVersion: toolVersion, Kind: "bench", Slug: p.Slug(),
		ConfigSHA256: hex.EncodeToString(sum[:]), Command: argv, Simulated: p.Simulated}
}

// Resume goes on with the run in a folder. maxTime replaces the plan's bound on
// the session's time; 0 = the plan's. restore is asked for the configuration
// when the plan holds something that was redacted; it may be nil.
func Resume(ctx context.Context, env Env, dir string, maxTime time.Duration, restore func(*Plan) (*Plan, error)) (Result, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Result{}, fmt.Errorf("run folder: %w", err)
	}
	m, err := artifact.ReadManifest(dir)
	if err != nil {
		return Result{Dir: dir}, err
	}
	if m.State == artifact.StateComplete {
		return already(env, dir)
	}
	folder, err := artifact.Open(dir, env.Redactor)
	if err != nil {
		return Result{Dir: dir}, err
	}
	defer folder.Close()
	p, s, err := readRun(dir, env.Engines)
	if err != nil {
		return Result{Dir: dir}, err
	}
	if p, err = unredacted(p, restore); err != nil {
		return Result{Dir: dir}, err
	}
	if maxTime > 0 {
		p.MaxTimeS = maxTime.Seconds()
	}
	return newRunner(env, folder, p, s).session(ctx)
}

// unredacted is the plan with what it kept back in the folder.
func unredacted(p *Plan, restore func(*Plan) (*Plan, error)) (*Plan, error) {
	where := p.secrets()
	if where == "" {
		return p, nil
	}
	if restore == nil || p.AB != nil { // whose commands need not stand in the file
		return nil, fmt.Errorf("%s holds a secret, which is not kept in run folders: hand secrets over in the environment", where)
	}
	full, err := restore(p)
	if err != nil {
		return nil, fmt.Errorf("%s holds a secret, which is not kept in run folders, so %s is read again: %w", where, p.Name, err)
	}
	return full, nil
}

// already is the result of a run that is complete.
func already(env Env, dir string) (Result, error) {
	p, s, err := readRun(dir, env.Engines)
	if err != nil {
		return Result{Dir: dir}, err
	}
	var rows []result.Row
	_, err = artifact.ReadLines(filepath.Join(dir, resultsName), 0, func(_ int, line []byte) error {
		var row result.Row
		if err := json.Unmarshal(line, &row); err != nil {
			return fmt.Errorf("expected a row: %w", err)
		}
		rows = append(rows, row)
		return nil
	})
	return Result{Dir: dir, Plan: p, Rows: rows, State: artifact.StateComplete, Already: true, Took: s.Ended.Sub(s.Began)}, err
}

// readRun reads plan and journal of a folder.
func readRun(dir string, set engine.Set) (*Plan, *State, error) {
	p, err := ReadPlan(dir, set)
	if errors.Is(err, errNoPlan) {
		return nil, nil, fmt.Errorf("run %s: %w", dir, ErrNotStarted)
	}
	if err != nil {
		return nil, nil, err
	}
	s, err := Replay(filepath.Join(dir, journalName))
	return p, s, err
}

// runner is one session of a run.
type runner struct {
	Env
	folder *artifact.Run
	plan   *Plan
	set    engine.Set
	runID  string

	mu      sync.Mutex // guards the journal and the state: servers tell their groups from their own goroutine
	journal *artifact.Appender
	state   *State
	broken  error // first failed write of the journal

	apiKey string
	server *server // the one that runs; nil = none
	show   progress
}

func newRunner(env Env, folder *artifact.Run, p *Plan, s *State) *runner {
	r := &runner{Env: env, folder: folder, plan: p, set: env.Engines, state: s, runID: filepath.Base(folder.Dir())}
	if r.Reap == nil {
		r.Reap = reap
	}
	r.Facts.RunID = r.runID
	if name := p.Load.APIKeyEnv; name != "" && r.Secret != nil {
		r.apiKey = r.Secret(name)
		r.Redactor.AddSecret(r.apiKey)
	}
	r.show = progress{observe: env.Observe, plan: p, began: time.Now()}
	return r
}

func reap(open []OpenServer) []int {
	var groups []launch.Group
	var ended []int
	for _, o := range open {
		groups = append(groups, o.Groups...)
		if o.Mark != "" {
			ended = append(ended, launch.ReapMark(o.Mark)...)
		}
	}
	if len(groups) > 0 {
		ended = append(ended, launch.Reap(groups)...)
	}
	return ended
}

// record writes one line of the journal and takes it into the state.
func (r *runner) record(e Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		return r.broken
	}
	e.Time = time.Now().UTC()
	if err := r.journal.JSON(e); err != nil {
		r.broken = err
		return err
	}
	return r.state.Apply(e)
}

// session goes on from the state until nothing is left, the time is over or
// somebody interrupts.
func (r *runner) session(ctx context.Context) (res Result, err error) {
	res = Result{Dir: r.folder.Dir(), Plan: r.plan, State: artifact.StateFailed}
	if r.journal, err = r.folder.AppendFile(journalName); err != nil {
		return res, err
	}
	defer r.journal.Close()
	if err := r.begin(); err != nil {
		return res, err
	}
	work, cancel := ctx, context.CancelFunc(func() {})
	if r.plan.MaxTimeS > 0 {
		work, cancel = context.WithTimeoutCause(ctx, time.Duration(r.plan.MaxTimeS*float64(time.Second)), errMaxTime)
	}
	defer cancel()
	err = r.steps(work)
	if stop := r.unmount(work); err == nil {
		err = stop
	}
	return r.end(ctx, res, err)
}

// begin writes the first line of the session and ends what a killed one left.
func (r *runner) begin() error {
	left := r.state.Open
	if err := r.record(Entry{Kind: KindSession, Schema: JournalSchema, SchemaVersion: JournalSchemaVersion}); err != nil {
		return err
	}
	if len(left) == 0 {
		return nil
	}
	if ended := r.Reap(left); len(ended) > 0 {
		r.show.say("ended %d processes that the killed run had left", len(ended))
	}
	for _, o := range append([]OpenServer(nil), left...) {
		if err := r.record(Entry{Kind: KindServerEnded, Mark: o.Mark, Reason: "ended after a killed session"}); err != nil {
			return err
		}
	}
	return nil
}

// steps does one step after the other.
func (r *runner) steps(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		st, more := next(r.plan, r.state)
		if !more {
			return nil
		}
		if err := r.do(ctx, st); err != nil {
			if ctx.Err() != nil && r.broken == nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
}

func (r *runner) do(ctx context.Context, st step) error {
	r.show.step(r.plan, r.state, st)
	switch {
	case st.capture != "":
		return r.capture(ctx, st.capture)
	case st.finish:
		return r.finish(st)
	}
	if r.server != nil && (r.server.candidate != st.candidate.ID || r.server.round != st.round) {
		if err := r.unmount(ctx); err != nil {
			return err
		}
	}
	if r.server == nil {
		if err := r.mount(ctx, *st.candidate); err != nil || r.server == nil {
			return err
		}
		r.server.round = st.round
		if err := r.answers(ctx, *st.candidate); err != nil {
			return err
		}
	}
	return r.measure(ctx, st)
}

// finish writes down that a row is final.
func (r *runner) finish(st step) error {
	if err := r.record(Entry{Kind: KindScenarioDone, Candidate: st.candidate.ID, Scenario: st.scenario.Name, Found: st.found}); err != nil {
		return err
	}
	for _, row := range Rows(r.plan, r.state, r.set, r.Facts, "") {
		if row.CandidateID == st.candidate.ID && row.Workload.Scenario == st.scenario.Name {
			r.show.row(row)
		}
	}
	return nil
}

// end writes the rows and reports, and seals the folder.
func (r *runner) end(ctx context.Context, res Result, cause error) (Result, error) {
	switch {
	case cause == nil:
		res.State = artifact.StateComplete
	case errors.Is(cause, errMaxTime):
		res.State, res.Stopped, cause = artifact.StateInterrupted, errMaxTime.Error(), nil
	case ctx.Err() != nil && r.broken == nil:
		res.State, res.Stopped, cause = artifact.StateInterrupted, "interrupted", ErrInterrupted
	default:
		res.State, res.Stopped = artifact.StateFailed, cause.Error()
	}
	res.Rows = Rows(r.plan, r.state, r.set, r.Facts, res.Stopped)
	res.Took = time.Since(r.state.Began)
	r.show.done()
	if res.State == artifact.StateFailed {
		// A full disk, say: what can still be written is, what cannot is not news.
		_ = r.writeRows(res.Rows)
		_ = r.folder.Seal(res.State)
		return res, cause
	}
	err := r.writeRows(res.Rows)
	if err == nil && r.Report != nil && !errors.Is(cause, ErrInterrupted) {
		err = r.Report(r.folder, r.plan, res.Rows, res.Took)
	}
	if err == nil {
		err = r.record(Entry{Kind: KindSessionPaused, Status: res.State, Reason: res.Stopped})
	}
	if err == nil {
		err = r.folder.Seal(res.State)
	}
	if err != nil {
		res.State = artifact.StateFailed
	}
	return res, errors.Join(cause, err)
}

// writeRows writes results.jsonl whole.
func (r *runner) writeRows(rows []result.Row) error {
	f, err := r.folder.CreateFile(resultsName)
	if err != nil {
		return err
	}
	defer f.Abort()
	for _, row := range rows {
		line, err := json.Marshal(row)
		if err != nil {
			return fmt.Errorf("row of %s: %w", row.CandidateID, err)
		}
		if _, err := f.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return f.Commit()
}
