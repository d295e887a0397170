package run

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/engine"
	"llmdyno/internal/launch"
	"llmdyno/internal/load"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/witness"
	"llmdyno/internal/load/workload"
)

// Files of a trial.
const (
	samplesName = "samples.jsonl.zst"
	clientName  = "client.json"
	summaryName = "summary.json"
)

const (
	flushTimeout = 30 * time.Second
	// smokeTightestMs stands in for the tightest limit in a flow check, whose
	// figures are no results: the client may then be late by 5 % of it, 3 s.
	smokeTightestMs = 60_000
	// clientAttempts is how often a load point is measured whose client was not
	// sound: a busy moment of the machine passes.
	clientAttempts = 2
	// leastFailures is how many requests must have failed before a trial whose
	// success rate is out of reach is ended.
	leastFailures = 5
	// deathTail is how many lines of the log are searched for the cause of a death.
	deathTail = 400
)

var (
	errServerDied = errors.New("the server died")
	errHopeless   = fmt.Errorf("too many requests failed to reach min_success_rate: %w", load.ErrEnough)
	errDecided    = fmt.Errorf("the load point is decided: %w", load.ErrEnough)
)

// measure carries out one trial on the server that runs and writes it down.
func (r *runner) measure(ctx context.Context, st step) error {
	dir := folder(st.candidate.ID, *st.scenario, st.load, r.plan.Load.Arrivals)
	began := Entry{Kind: KindTrialBegun, Candidate: st.candidate.ID, Scenario: st.scenario.Name, Load: &st.load}
	if err := r.record(began); err != nil {
		return err
	}
	log, err := r.folder.Log(dir+"/"+serverLogName, logCap)
	if err != nil {
		return err
	}
	endLog := r.server.log.during(log)
	var trial *Trial
	var failure *Failure
	for attempt := range clientAttempts {
		trial, failure, err = r.trial(ctx, st, dir, attempt)
		if err != nil || failure != nil || trial.Point.Invalid == "" || trial.Died {
			break
		}
	}
	if logErr := endLog(); err == nil {
		err = logErr
	}
	if err != nil {
		return err
	}
	if failure != nil { // not a figure of this load point, but the end of the candidate
		failure.Log = dir + "/" + serverLogName
		if err := r.unmount(ctx); err != nil {
			return err
		}
		return r.startFailed(*st.candidate, nil, failure)
	}
	done := Entry{Kind: KindTrialDone, Candidate: st.candidate.ID, Scenario: st.scenario.Name, Load: &st.load, Trial: trial}
	if err := r.record(done); err != nil {
		return err
	}
	r.show.trial(st, trial)
	if trial.Died {
		return r.unmount(ctx)
	}
	return nil
}

// trial flushes, warms up, loads and sums up. A failure ends the candidate.
func (r *runner) trial(ctx context.Context, st step, dir string, attempt int) (*Trial, *Failure, error) {
	s := r.server
	if failure, err := r.overload(ctx, st, attempt); failure != nil || err != nil {
		return nil, failure, err
	}
	t := &Trial{Flushed: s.flush(ctx), Warnings: slices.Clone(s.warnings)}
	if st.load.AfterRPS > 0 && r.ended() {
		r.sumUp(t, st, dir, load.Outcome{Started: time.Now()}, errServerDied)
		return t, nil, nil
	}
	t.Seed = r.seed(st, t, attempt)
	plan, failure := r.loadOf(ctx, st, t)
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if failure != nil {
		return nil, failure, nil
	}
	if n := r.plan.Load.Warmup; n > 0 {
		r.show.phase("warming up")
		if failure, err := r.warm(ctx, plan, n); failure != nil || err != nil {
			return nil, failure, err
		}
	}
	plan.KeepText = r.keepsText()
	r.show.phase("measuring")
	server := r.watch(ctx, st)
	watch := r.monitor(st, len(plan.Requests))
	out, loadErr := r.apply(ctx, st, plan, watch)
	heard := server.Stop(succeeded(out.Records))
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if loadErr != nil && len(out.Records) == 0 {
		return nil, &Failure{Phase: "load", Status: result.StatusFailed, Reason: loadErr.Error()}, nil
	}
	s.saw(out.Records)
	r.countAnswers(ctx, t, out.Records)
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	sum := r.sumUp(t, st, dir, out, loadErr)
	t.heard(heard, out, plan.Requests)
	t.verify(out.Records)
	t.accepted(out.Records)
	watch.judge(t)
	if err := r.writeTrial(dir, out, heard); err != nil {
		return nil, nil, err
	}
	return t, nil, r.folder.WriteJSON(dir+"/"+summaryName, Summary{SummarySchema, SummarySchemaVersion, sum})
}

// overload puts the overload of a step on the server, if it has one, and waits
// for its end. What the server makes of it is not looked at: the load point after
// it shows what is left. It has no line of its own in the journal, so that a
// resumed run, whose server is a new one, does it again.
func (r *runner) overload(ctx context.Context, st step, attempt int) (*Failure, error) {
	if st.load.AfterRPS <= 0 {
		return nil, nil
	}
	over := st
	over.load.Kind, over.load.RateRPS, over.load.AfterRPS = search.KindOverload, st.load.AfterRPS, 0
	t := &Trial{Flushed: r.server.flush(ctx)}
	t.Seed = r.seed(over, t, attempt)
	plan, failure := r.loadOf(ctx, over, t)
	if failure == nil {
		plan.Calibrate, plan.Progress = false, r.show.load
		r.show.phase("overloading")
		alive, cancel := r.whileAlive(ctx)
		defer cancel(nil)
		out, err := load.Run(alive, plan)
		r.server.saw(out.Records)
		if err != nil && !r.ended() {
			failure = &Failure{Phase: "load", Status: result.StatusFailed, Reason: err.Error()}
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return failure, nil
}

// succeeded counts the requests that the server answered in full.
func succeeded(records []sample.Record) (n int) {
	for i := range records {
		if records[i].OK() {
			n++
		}
	}
	return n
}

// flush empties the prefix cache where the engine can; false = it was not done.
func (s *server) flush(ctx context.Context) bool {
	if _, has := s.engine.Endpoint(engine.EndpointFlushCache); !has || !s.flushes {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	_, err := s.client.Call(ctx, engine.EndpointFlushCache, nil, nil)
	s.flushes = err == nil
	return s.flushes
}

// seed is that of the scenario, so that every load point sends the same prompts;
// where the cache cannot be flushed, one of its own for each load point and each
// attempt at it, so that none finds the prompts of another in the cache. In rounds
// each has prompts of its own, the same for every candidate.
func (r *runner) seed(st step, t *Trial, attempt int) uint64 {
	if t.Flushed && r.plan.inRounds() {
		return st.scenario.Seed + uint64(st.load.Repeat)
	}
	if t.Flushed {
		return st.scenario.Seed + freshSeed(st.load)
	}
	if !workload.Kind(st.scenario.Kind).Synthetic() && workload.Kind(st.scenario.Kind) != workload.KindConversation {
		t.warn("prefix-cache-warm", "%s was not told to flush its cache and the prompts of a file are always the same: later load points may find them cached", r.server.engine.Title)
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s/{%v %v %v}", st.scenario.Seed, st.scenario.Name, st.load.RateRPS, st.load.MaxConcurrency, st.load.Repeat)
	if st.load.Kind != "" {
		fmt.Fprintf(h, "/%s-%d", st.load.Kind, st.load.Stage)
	}
	if attempt > 0 {
		fmt.Fprintf(h, "/%d", attempt)
	}
	return h.Sum64()
}

func (t *Trial) warn(code, format string, args ...any) {
	t.Warnings = append(t.Warnings, result.Warning{Code: code, Message: fmt.Sprintf(format, args...)})
}

// loadOf is the load of a step. Arrivals keep the scenario's seed: the same
// gaps, scaled, at every rate and for every candidate.
func (r *runner) loadOf(ctx context.Context, st step, t *Trial) (load.Trial, *Failure) {
	sc, l := st.scenario, r.plan.Load
	fail := func(err error) (load.Trial, *Failure) {
		return load.Trial{}, &Failure{Phase: "load", Status: result.StatusFailed, Reason: err.Error()}
	}
	spec, err := r.plan.workloadSpec(*sc, t.Seed)
	if err != nil {
		return fail(err)
	}
	requests, err := r.requests(ctx, st, t, spec)
	if err != nil {
		return fail(err)
	}
	if st.load.Kind != "" {
		requests = requests[:min(len(requests), search.Requests(*l.Ladder, st.load, len(requests), r.plan.rounds(st.candidate.Engine)))]
	}
	if share, ok := workload.SharedRatio(requests); ok {
		t.PlannedHitRate = &share
	}
	arrivals, err := r.plan.process(st.load, sc.arrivalSeed(st.load), requests)
	if err != nil {
		return fail(err)
	}
	_, tightest := sc.requestLimits()
	if r.plan.Smoke {
		tightest = smokeTightestMs
	}
	timeout := time.Duration(l.RequestTimeoutS * float64(time.Second))
	return load.Trial{
		Client: r.server.client, Wire: r.server.wire, Model: r.server.model, Requests: requests, Arrivals: arrivals,
		MaxConcurrency: st.load.MaxConcurrency, Timeout: timeout, MaxTime: longest(arrivals, requests, st.load.MaxConcurrency, timeout),
		IgnoreEOS: spec.Kind.Synthetic() && r.server.ignoreEOS, Temperature: l.Temperature, TightestMs: tightest,
		IDPrefix: requestPrefix(st), Calibrate: !r.plan.Smoke && !r.plan.Simulated,
	}, nil
}

func requestPrefix(st step) string {
	return fmt.Sprintf("%s.%s.%s-%d-%d%s.", st.candidate.ID, st.scenario.Slug, formatRate(st.load.RateRPS), st.load.MaxConcurrency, st.load.Repeat, kindSuffix(st.load))
}

// longest bounds a trial: all arrivals, and every request in its turn as long as
// its own bound allows, yet never more than a day.
func longest(a workload.Arrivals, reqs []workload.Request, users int, timeout time.Duration) time.Duration {
	n := len(reqs)
	turns, think := chain(reqs)
	if users > 0 {
		turns += (n+users-1)/users - 1
		think *= time.Duration(max(1, n/users))
	}
	turns = max(turns, 1)
	var last time.Duration
	if schedule := a.Schedule(n); n > 0 {
		last = schedule[n-1]
	}
	const day = 24 * time.Hour
	if timeout > day/time.Duration(turns) {
		return day
	}
	return min(day, last+min(think, day)+time.Duration(turns)*timeout)
}

// warmAttempts is how often a warm-up is tried: a server that loses one request
// is measured, and its figures say so; one that answers none is not.
const warmAttempts = 2

func (r *runner) warm(ctx context.Context, plan load.Trial, n int) (failure *Failure, err error) {
	prefix := plan.IDPrefix
	for i := range warmAttempts {
		plan.IDPrefix = fmt.Sprintf("warm-%d.%s", i, prefix)
		if failure, err = r.warmOnce(ctx, plan, n); failure == nil || err != nil || r.ended() {
			return failure, err
		}
	}
	return failure, nil
}

func (r *runner) warmOnce(ctx context.Context, plan load.Trial, n int) (*Failure, error) {
	alive, cancel := r.whileAlive(ctx)
	defer cancel(nil)
	records, err := load.Warm(alive, plan, n)
	r.server.saw(records)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err == nil:
		return nil, nil
	case errors.Is(context.Cause(alive), errServerDied) || r.ended():
		return r.death("warmup"), nil
	}
	f := &Failure{Phase: "warmup", Status: result.StatusFailed, Reason: err.Error()}
	if len(records) > 0 {
		f.Status = statusOf(records[0].Class)
		f.Reason += hint(records[0].Class, r.plan)
	}
	return f, nil
}

// whileAlive ends with the server.
func (r *runner) whileAlive(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	alive, cancel := context.WithCancelCause(ctx)
	done := r.server.Done()
	go func() {
		select {
		case <-done:
			cancel(errServerDied)
		case <-alive.Done():
		}
	}()
	return alive, cancel
}

func (r *runner) ended() bool {
	select {
	case <-r.server.Done():
		return true
	default:
		return false
	}
}

// death says why the server is gone.
func (r *runner) death(phase string) *Failure {
	f := failureOf(launch.Diagnose(r.server.engine, r.server.Tail(deathTail), r.server.Exit()), phase)
	f.Reason = "the server died under load: " + f.Reason
	return f
}

// apply runs the load and ends it early when the server dies or the success
// rate is out of reach.
func (r *runner) apply(ctx context.Context, st step, plan load.Trial, watch *watch) (load.Outcome, error) {
	alive, cancel := r.whileAlive(ctx)
	defer cancel(nil)
	allowed := len(plan.Requests)
	if least := st.scenario.SLA.MinSuccessRate; least != nil {
		allowed = int(math.Floor((1 - *least) * float64(len(plan.Requests))))
	}
	watch.attach(&plan, func() { cancel(errDecided) })
	plan.Progress = func(p load.Progress) {
		r.show.load(p)
		watch.tick(p)
		if p.Failed > max(allowed, leastFailures) {
			cancel(errHopeless)
		}
	}
	out, err := load.Run(alive, plan)
	if cause := context.Cause(alive); err != nil && cause != nil {
		err = cause
	}
	return out, err
}

// The schema of summary.json.
const (
	SummarySchema        = "llmdyno.summary"
	SummarySchemaVersion = 1
)

// Summary is the file of a trial that holds all its figures: our own, and the
// same under other tools' names and definitions (compat).
type Summary struct {
	Schema        string `json:"schema"`
	SchemaVersion int    `json:"schema_version"`
	metric.Summary
}

// sumUp fills in the trial.
func (r *runner) sumUp(t *Trial, st step, dir string, out load.Outcome, cause error) metric.Summary {
	limits, _ := st.scenario.requestLimits()
	if errors.Is(cause, errDecided) {
		out.Records = measuredRecords(out.Records)
	}
	sum := metric.Compute(out.Records, out.Duration.Nanoseconds(), limits)
	m := result.FromSummary(sum)
	p := &t.Point
	p.Kind = st.load.Kind
	p.Repeat, p.Status, p.Folder, p.MeasuredAt = st.load.Repeat, result.StatusOK, dir, stamp(out.Started.Add(out.Duration))
	p.RequestRate, p.MaxConcurrency = given(st.load)
	m.OfferedRate = p.RequestRate
	p.Metrics, p.Invalid = m, out.Client.Invalid
	p.Passed, p.Violations = result.Judge(st.scenario.SLA.Limits, st.scenario.SLA.MinSuccessRate, m)
	for _, w := range sum.Warnings {
		t.warnOnce(w.Code, w.Message)
	}
	for _, w := range out.Client.Warnings {
		t.warnOnce(w.Code, w.Message)
	}
	t.InputP50, t.InputP95 = lengths(out.Records, func(rec *sample.Record) int { return rec.InputTokens })
	t.OutputP50, t.OutputP95 = lengths(out.Records, func(rec *sample.Record) int { return rec.OutputTokens })
	r.fail(t, sum, out, cause)
	return sum
}

// fail turns a trial without an answer, or without a server, into a failed one.
func (r *runner) fail(t *Trial, sum metric.Summary, out load.Outcome, cause error) {
	p := &t.Point
	switch {
	case errors.Is(cause, errServerDied) || r.ended():
		f := r.death("load")
		t.Died, p.Status, p.FailureReason = true, f.Status, f.Reason
	case sum.Counts.Succeeded == 0:
		class, text := mostCommon(out.Records)
		p.Status = statusOf(class)
		p.FailureReason = fmt.Sprintf("none of %d requests succeeded; most often: %s%s", sum.Counts.Planned, text, hint(class, r.plan))
	case errors.Is(cause, errHopeless):
		t.warnOnce("ended-early", fmt.Sprintf("the load point was ended after %d failed requests: its success rate was out of reach", sum.Counts.Failed))
	}
	if p.Status != result.StatusOK {
		p.Passed = false
	}
}

func (t *Trial) warnOnce(code, message string) {
	if !slices.ContainsFunc(t.Warnings, func(w result.Warning) bool { return w.Code == code }) {
		t.Warnings = append(t.Warnings, result.Warning{Code: code, Message: message})
	}
}

func statusOf(c sample.Class) string {
	if c == sample.ClassTimeout {
		return result.StatusTimeout
	}
	return result.StatusFailed
}

func hint(c sample.Class, p *Plan) string {
	switch {
	case c == sample.ClassAuth && p.Load.APIKeyEnv == "":
		return "; name the environment variable that holds the key in benchmark.api_key_env"
	case c == sample.ClassAuth:
		return "; check the key in the variable " + p.Load.APIKeyEnv
	case c == sample.ClassTimeout:
		return fmt.Sprintf("; benchmark.request_timeout_s is %g", p.Load.RequestTimeoutS)
	}
	return ""
}

// mostCommon is the class of failure that most requests had, requests that were
// cut off or never sent left out while there are others, with the first error.
func mostCommon(records []sample.Record) (sample.Class, string) {
	n, first := map[sample.Class]int{}, map[sample.Class]string{}
	for i := range records {
		rec := &records[i]
		if n[rec.Class]++; n[rec.Class] == 1 {
			first[rec.Class] = rec.Error
		}
	}
	best := sample.ClassOK
	score := func(c sample.Class) int {
		if c == sample.ClassCancelled || c == sample.ClassDropped {
			return n[c] - len(records)
		}
		return n[c]
	}
	for i := range records { // in the order of the records, so that ties are settled
		if c := records[i].Class; best == sample.ClassOK || score(c) > score(best) {
			best = c
		}
	}
	return best, fmt.Sprintf("%s (%d): %s", strings.ReplaceAll(string(best), "_", " "), n[best], first[best])
}

// lengths are the median and the 95th percentile of a token count.
func lengths(records []sample.Record, count func(*sample.Record) int) (p50, p95 *float64) {
	var x []float64
	for i := range records {
		if rec := &records[i]; rec.OK() && count(rec) > 0 {
			x = append(x, float64(count(rec)))
		}
	}
	d := metric.NewDist(x)
	if d == nil {
		return nil, nil
	}
	return &d.P50, &d.P95
}

// writeTrial writes samples, audit and the server's metrics.
func (r *runner) writeTrial(dir string, out load.Outcome, heard witness.Record) error {
	if err := r.writeMeter(dir, heard); err != nil {
		return err
	}
	f, err := r.folder.CreateLinesZst(dir + "/" + samplesName)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := sample.Write(f.JSON, sample.Header{Started: out.Started, DurationNs: out.Duration.Nanoseconds()}, out.Records); err != nil {
		return err
	}
	if err := f.Commit(); err != nil {
		return err
	}
	return r.folder.WriteJSON(dir+"/"+clientName, out.Client)
}

func formatRate(rps float64) string { return strings.ReplaceAll(fmt.Sprintf("%g", rps), "+", "") }
