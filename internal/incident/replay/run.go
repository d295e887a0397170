package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/incident/dump"
	"llmdyno/internal/load"
	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/witness"
	"llmdyno/internal/load/workload"
)

// Target is a server that requests can be sent to.
type Target struct {
	Client  *client.Client
	Model   string
	Version string
	// Ask runs a command on the server's machine, for its GPUs; nil = it is another.
	Ask witness.Output
	// Exited is closed when the server's process has ended; nil = it is not ours.
	Exited <-chan struct{}
}

// Engine is what the server is taken for; nil = not known.
func (t Target) Engine() *engine.Engine { return t.Client.Engine() }

// Run is one replay. Its JSON is what assertions are evaluated over.
type Run struct {
	Planned   int `json:"planned"`
	Sent      int `json:"sent"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	Dropped   int `json:"dropped"` // never sent
	// Failures counts the requests that failed or were dropped, by class.
	Failures map[string]int `json:"failures"`
	// Died: the server's process ended, or nothing answers at its address any more.
	Died   bool   `json:"died"`
	Health string `json:"health,omitempty"` // why it does not answer as it did

	TTFT         *metric.Dist `json:"ttft_ms,omitempty"`
	E2E          *metric.Dist `json:"e2e_ms,omitempty"`
	OutputTokens int64        `json:"output_tokens"`
	DurationS    float64      `json:"duration_s"`
	// Lag is send − due, SlotWait the part of it that was spent under the cap, OwnLag
	// that of the client.
	Lag      *load.Spread `json:"send_lag_ms,omitempty"`
	SlotWait *load.Spread `json:"slot_wait_ms,omitempty"`
	OwnLag   *load.Spread `json:"own_lag_ms,omitempty"`
	PeakIn   int          `json:"peak_concurrency"`
	// GapError is how far each gap between two sendings was from the recorded one
	// ÷ speed, in ms without a sign.
	GapError *load.Spread `json:"gap_error_ms,omitempty"`

	Recorded Past      `json:"recorded"`
	Text     Agreement `json:"text"`   // of greedy answers, by hash
	Tokens   Agreement `json:"tokens"` // of output counts
	Requests []Outcome `json:"requests"`

	Server *metric.Server `json:"server,omitempty"` // sampled meanwhile
	// Ended is how the server's process ended, LastLines what it said last.
	Ended     string   `json:"ended,omitempty"`
	LastLines []string `json:"last_lines,omitempty"`

	Verdict  Word           `json:"verdict"`
	Reason   string         `json:"reason"`
	Criteria []Criterion    `json:"criteria"`
	Warnings []load.Warning `json:"warnings,omitempty"`
}

// Past is what the recording says of the same requests.
type Past struct {
	Known      int          `json:"known"` // with a recorded outcome
	Finished   int          `json:"finished"`
	Unfinished int          `json:"unfinished"` // in flight at the end of the recording, or aborted
	Elapsed    *metric.Dist `json:"elapsed_ms,omitempty"`
}

// Agreement counts answers that were compared with the recorded ones.
type Agreement struct {
	Compared int `json:"compared"`
	Same     int `json:"same"`
}

// Outcome is one request now and then.
type Outcome struct {
	Index  int     `json:"index"`
	ID     string  `json:"id,omitempty"`
	OK     bool    `json:"ok"`
	Class  string  `json:"class,omitempty"` // of the failure
	Error  string  `json:"error,omitempty"`
	Status int     `json:"status,omitempty"` // HTTP
	Finish string  `json:"finish,omitempty"`
	DueMs  float64 `json:"due_ms"`
	// SentMs and LagMs are absent where it was never sent.
	SentMs *float64 `json:"sent_ms,omitempty"`
	LagMs  *float64 `json:"send_lag_ms,omitempty"`
	TTFTMs *float64 `json:"ttft_ms,omitempty"`
	E2EMs  *float64 `json:"e2e_ms,omitempty"`
	// Retried: its connection broke without a byte of a reply, and it was sent once
	// more on a fresh one.
	Retried      bool   `json:"retried,omitempty"`
	InputTokens  int    `json:"input_tokens,omitempty"`
	OutputTokens int    `json:"output_tokens,omitempty"`
	TextSHA256   string `json:"text_sha256,omitempty"` // of greedy answers
	// What the recording says, and how the two compare; absent = cannot be compared.
	Recorded   *dump.Recorded `json:"recorded,omitempty"`
	TextSame   *bool          `json:"text_same,omitempty"`
	TokensSame *bool          `json:"tokens_same,omitempty"`
	Ratio      *float64       `json:"elapsed_ratio,omitempty"` // now ÷ recorded
}

// aliveTimeout bounds the question whether the server still answers; deathWait is
// how long the end of a process may come after that of its connections.
const (
	aliveTimeout = 10 * time.Second
	deathWait    = 2 * time.Second
	cutWait      = 200 * time.Millisecond
)

// Play sends the requests of a plan and waits for what becomes of them. watch also
// samples the server's state. An error means that nothing could be sent or that ctx
// ended; the run holds what was seen up to then.
func Play(ctx context.Context, p *Plan, t Target, watch bool) (*Run, error) {
	trial := p.trial(t)
	sending, end := context.WithCancelCause(ctx)
	defer end(nil)
	if t.Exited != nil {
		go func() {
			select {
			case <-t.Exited:
				time.Sleep(cutWait) // what was in flight ends by itself
				end(load.ErrEnough)
			case <-sending.Done():
			}
		}()
	}
	var heard *witness.Watch
	if watch && t.Engine() != nil {
		heard = witness.Start(ctx, witness.Options{Client: t.Client, Run: t.Ask})
	}
	out, err := load.Run(sending, trial)
	if errors.Is(context.Cause(sending), load.ErrEnough) && ctx.Err() == nil {
		err = nil
	}
	if len(out.Records) == 0 {
		if heard != nil {
			heard.Stop(0)
		}
		return nil, err
	}
	r := p.outcome(out)
	if heard != nil {
		r.Server = witness.Summarise(heard.Stop(r.Succeeded), witness.Context{Client: witness.TotalsOf(out.Records), Duration: out.Duration}).Server
	}
	if ctx.Err() == nil {
		r.health(ctx, t)
	}
	Judge(r, p.Options)
	return r, err
}

// trial is the load that a plan stands for.
func (p *Plan) trial(t Target) load.Trial {
	n := len(p.Items)
	reqs, sent, offsets := make([]workload.Request, n), make([]load.Encoded, n), make([]time.Duration, n)
	for i := range p.Items {
		x := &p.Items[i]
		reqs[i] = workload.Request{Index: i, InputLen: x.PromptTokens, OutputLen: x.MaxTokens}
		sent[i], offsets[i] = x.Sent, x.At-p.Items[0].At
	}
	return load.Trial{
		Client: t.Client, Model: t.Model, Requests: reqs, Encoded: sent,
		Arrivals:       workload.Arrivals{Kind: workload.ArrivalTrace, Offsets: offsets, TimeScale: 1 / p.Options.speed()},
		MaxConcurrency: p.Options.Concurrency, Timeout: p.Options.timeout(), MaxTime: p.longest(), IDPrefix: "replay-", KeepAnswers: true,
	}
}

// longest bounds a replay: the schedule and each request in its turn.
func (p *Plan) longest() time.Duration {
	turns := 1
	if c := p.Options.Concurrency; c > 0 {
		turns += len(p.Items) / c
	}
	const most = 30 * 24 * time.Hour
	if p.Options.timeout() > most/time.Duration(turns) {
		return most
	}
	return min(most, p.Span()+time.Duration(turns)*p.Options.timeout()+time.Minute)
}

// outcome sets the records beside what was recorded.
func (p *Plan) outcome(out load.Outcome) *Run {
	r := &Run{Planned: len(out.Records), Failures: map[string]int{}, DurationS: out.Duration.Seconds(), PeakIn: out.Client.PeakInFlight,
		Lag: out.Client.SendLag, SlotWait: out.Client.SlotWait, OwnLag: out.Client.OwnLag}
	for _, w := range out.Client.Warnings {
		if w.Code == "sent-late" || w.Code == "file-limit" || w.Code == "client-cpu" || w.Code == "rate-not-delivered" {
			r.Warnings = append(r.Warnings, w)
		}
	}
	var ttft, e2e, elapsed []float64
	for i := range out.Records {
		o := p.Items[i].compare(&out.Records[i])
		r.count(&o)
		if o.OK {
			ttft, e2e = appendKnown(ttft, o.TTFTMs), appendKnown(e2e, o.E2EMs)
		}
		if o.Recorded != nil && o.Recorded.Finished && o.Recorded.ElapsedSeconds != nil {
			elapsed = append(elapsed, 1000**o.Recorded.ElapsedSeconds)
		}
		r.Requests = append(r.Requests, o)
	}
	r.GapError = p.gapErrors(out.Records)
	r.TTFT, r.E2E, r.Recorded.Elapsed = dist(ttft), dist(e2e), dist(elapsed)
	return r
}

// gapErrors are the distances between the gaps of the sendings and those of the
// plan.
func (p *Plan) gapErrors(records []sample.Record) *load.Spread {
	var x []float64
	last := -1
	for i := range records {
		if records[i].Send == sample.Never {
			continue
		}
		if last >= 0 {
			planned := records[i].Sched - records[last].Sched
			x = append(x, math.Abs(nsMs(records[i].Send-records[last].Send-planned)))
		}
		last = i
	}
	d := metric.NewDist(x)
	if d == nil {
		return nil
	}
	return &load.Spread{N: d.N, Mean: d.Mean, P50: d.P50, P90: d.P90, P99: d.P99, Max: d.Max}
}

func dist(x []float64) *metric.Dist {
	d := metric.NewDist(x)
	if d != nil {
		d.Quantiles = nil
	}
	return d
}

func appendKnown(list []float64, x *float64) []float64 {
	if x == nil {
		return list
	}
	return append(list, *x)
}

// count adds one outcome to the sums.
func (r *Run) count(o *Outcome) {
	switch {
	case o.OK:
		r.Succeeded++
	default:
		r.Failures[o.Class]++
		if o.SentMs != nil {
			r.Failed++
		}
	}
	if o.SentMs != nil {
		r.Sent++
	} else {
		r.Dropped++
	}
	r.OutputTokens += int64(o.OutputTokens)
	if o.Recorded != nil {
		r.Recorded.Known++
		if bad(o.Recorded) {
			r.Recorded.Unfinished++
		} else {
			r.Recorded.Finished++
		}
	}
	for _, x := range []struct {
		same *bool
		sum  *Agreement
	}{{o.TextSame, &r.Text}, {o.TokensSame, &r.Tokens}} {
		if x.same != nil {
			x.sum.Compared++
			if *x.same {
				x.sum.Same++
			}
		}
	}
}

// abort is how engines call a request that was given up.
const abort = "abort"

// bad says that a recorded request did not end well.
func bad(r *dump.Recorded) bool { return !r.Finished || r.FinishReason == abort }

// compare is the outcome of a request beside the recorded one.
func (x *Item) compare(rec *sample.Record) Outcome {
	o := Outcome{Index: x.Index, ID: x.ID, OK: rec.OK(), Class: string(rec.Class), Error: rec.Error, Status: rec.Status, Finish: rec.Finish,
		DueMs: nsMs(rec.Sched), Retried: rec.StaleRetry, InputTokens: rec.InputTokens, OutputTokens: rec.OutputTokens}
	if rec.Send != sample.Never {
		o.SentMs, o.LagMs = point(nsMs(rec.Send)), point(nsMs(rec.Send-rec.Sched))
		if rec.FirstText != sample.Never {
			o.TTFTMs = point(nsMs(rec.FirstText - rec.Send))
		}
		if end := max(rec.LastChoices, rec.LastText); end != sample.Never {
			o.E2EMs = point(nsMs(end - rec.Send))
		}
	}
	if x.Greedy && o.OK && len(rec.Text) > 0 {
		o.TextSHA256 = hashOf(rec.Text)
	}
	rec.Text = nil
	if x.Known {
		o.Recorded = &x.Recorded
		x.beside(&o)
	}
	return o
}

// beside compares a request that ended well both times.
func (x *Item) beside(o *Outcome) {
	if !o.OK || bad(o.Recorded) {
		return
	}
	if n := o.Recorded.CompletionTokens; n != nil && o.OutputTokens > 0 {
		same := *n == int64(o.OutputTokens)
		o.TokensSame = &same
	}
	if was := o.Recorded.TextSHA256; was != "" && o.TextSHA256 != "" {
		same := strings.HasPrefix(o.TextSHA256, was)
		o.TextSame = &same
	}
	if was := o.Recorded.ElapsedSeconds; was != nil && *was > 0 && o.E2EMs != nil {
		o.Ratio = point(*o.E2EMs / 1000 / *was)
	}
}

// health asks whether the server lives.
func (r *Run) health(ctx context.Context, t Target) {
	if t.Exited != nil {
		wait := time.Duration(0)
		if r.Failures[string(sample.ClassReset)]+r.Failures[string(sample.ClassConnect)] > 0 {
			wait = deathWait
		}
		select {
		case <-t.Exited:
			r.Died = true
			return
		case <-time.After(wait):
		}
	}
	ctx, cancel := context.WithTimeout(ctx, aliveTimeout)
	defer cancel()
	models := engine.Endpoint{Name: engine.EndpointModels, Method: "GET", Path: "/v1/models", ReadOnly: true}
	if e := t.Engine(); e != nil {
		if m, ok := e.Endpoint(engine.EndpointModels); ok {
			models = m
		}
	}
	_, err := t.Client.Ask(ctx, models, models.Path)
	switch class := client.ClassOf(err); class {
	case sample.ClassOK, sample.ClassStatus, sample.ClassAuth:
	case sample.ClassConnect, sample.ClassReset:
		r.Died, r.Health = true, err.Error()
	default:
		r.Health = err.Error()
	}
}

func nsMs(ns int64) float64 { return math.Round(float64(ns)) / 1e6 }

func point[T any](v T) *T { return &v }

// String names the server for people.
func (t Target) String() string {
	e := t.Engine()
	if e == nil {
		return "a server whose engine is not known"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s", e.Title, t.Version))
}
