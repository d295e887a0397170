package load

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/engine"
	"llmdyno/internal/load/echo"
	"llmdyno/internal/load/workload"
)

// A calibration lasts about a second, at calibrateFactor times the event rate of
// the trial. Where that follows from no schedule, each request in flight counts
// with assumedRate events a second.
const (
	calibrateFactor  = 1.5
	calibrateTime    = time.Second
	calibrateBound   = 15 * time.Second
	assumedRate      = 50.0
	calibrateStreams = 512
	calibrateMost    = 100_000.0 // events/s: beyond it the server in the same process is the slower side
	calibrateLeast   = 500       // tokens of a trial that is worth a calibration
	minCalibrated    = 0.9       // achieved / target rate
)

// Calibration is what the client showed against the built-in server, which runs
// in the same process and keeps when it wrote each event: all streams tick
// together, as those of an engine do. What it shows is thus an upper bound.
type Calibration struct {
	// Skipped says why there was none; the rest is then absent.
	Skipped string `json:"skipped,omitempty"`
	Streams int    `json:"streams,omitempty"`
	Events  int    `json:"events,omitempty"`
	// PlannedEPS is the event rate expected of the trial, TargetEPS that of the
	// calibration, AchievedEPS what was written and read, in events a second.
	PlannedEPS  float64 `json:"planned_events_per_s,omitempty"`
	TargetEPS   float64 `json:"target_events_per_s,omitempty"`
	AchievedEPS float64 `json:"achieved_events_per_s,omitempty"`
	// ArrivalError is the instant recorded of an event − that of its writing.
	// ReceiveLag and SharedRatio are as in Audit.
	ArrivalError *Spread  `json:"arrival_error_ms,omitempty"`
	ReceiveLag   *Spread  `json:"receive_lag_ms,omitempty"`
	SharedRatio  *float64 `json:"shared_event_ratio,omitempty"`
	CPUShare     *float64 `json:"cpu_share,omitempty"`
}

func (r *runner) calibrate(ctx context.Context) *Calibration {
	tokens := 0
	for _, q := range r.Requests {
		tokens += q.OutputLen
	}
	switch {
	case !r.Calibrate:
		return &Calibration{Skipped: "not asked for"}
	case tokens < calibrateLeast:
		return &Calibration{Skipped: fmt.Sprintf("a trial of %d output tokens is too small for it", tokens)}
	case clockStands():
		return &Calibration{Skipped: "time is simulated"}
	}
	c, err := calibrateAt(ctx, r.plannedEvents(tokens), !r.Client.KernelTime())
	if err != nil {
		return &Calibration{Skipped: "it failed: " + err.Error()}
	}
	return c
}

// plannedEvents is the event rate expected of the trial: one event a token.
func (r *runner) plannedEvents(tokens int) float64 {
	if r.Arrivals.Open() && r.Arrivals.RateRPS > 0 {
		return r.Arrivals.RateRPS * float64(tokens) / float64(len(r.Requests))
	}
	return assumedRate * float64(r.mostInFlight())
}

// calibrateAt streams from a server of its own at 1.5 times the planned rate.
func calibrateAt(ctx context.Context, planned float64, portable bool) (*Calibration, error) {
	ctx, cancel := context.WithTimeout(ctx, calibrateBound)
	defer cancel()
	target := min(calibrateFactor*planned, calibrateMost)
	streams := min(max(int(target/assumedRate), 1), calibrateStreams)
	gap := min(time.Duration(float64(streams)/target*float64(time.Second)), calibrateTime/4)
	events := int(calibrateTime/gap) + 1
	srv, err := echo.Start(echo.Config{Streams: streams, Events: events, Gap: gap, Together: true})
	if err != nil {
		return nil, err
	}
	out, err := readBack(ctx, srv.URL(), streams, events, portable)
	srv.Close()
	if err != nil {
		return nil, err
	}
	c := &Calibration{Streams: streams, PlannedEPS: planned, TargetEPS: float64(streams) / gap.Seconds()}
	a := &out.Client
	c.Events, c.ReceiveLag, c.SharedRatio, c.CPUShare = a.Events, a.ReceiveLag, a.SharedRatio, a.CPUShare
	c.compare(out, srv.Truth())
	return c, nil
}

func readBack(ctx context.Context, url string, streams, events int, portable bool) (Outcome, error) {
	c, err := client.New(client.Options{BaseURL: url, Portable: portable})
	if err != nil {
		return Outcome{}, err
	}
	defer c.Close()
	requests := make([]workload.Request, streams)
	for i := range requests {
		requests[i] = workload.Request{Index: i, Prompt: "calibration", InputLen: 1, OutputLen: events}
	}
	return Run(ctx, Trial{
		Client: c, Wire: engine.OpenAICompletions(engine.WireOptions{}), Model: "calibration", Requests: requests,
		MaxConcurrency: streams, Arrivals: workload.Arrivals{Kind: workload.ArrivalClosed}, IDPrefix: "calibration-",
	})
}

// compare lays what was recorded beside what the server kept.
func (c *Calibration) compare(out Outcome, truth []echo.Request) {
	var errs []float64
	zero := out.Started.UnixNano()
	first, last := int64(math.MaxInt64), int64(0)
	for _, t := range truth {
		i, err := strconv.Atoi(t.ID[len("calibration-"):])
		if err != nil || i < 0 || i >= len(out.Records) {
			continue
		}
		for k, e := range out.Records[i].Events {
			if k < len(t.Events) {
				errs = append(errs, math.Abs(ms(zero+e.At-t.Events[k])))
				first, last = min(first, t.Events[k]), max(last, zero+e.At)
			}
		}
	}
	c.ArrivalError = newSpread(errs)
	if last > first {
		c.AchievedEPS = float64(len(errs)) / time.Duration(last-first).Seconds()
	}
}

// calibrated takes the calibration into the audit, and its verdict.
func (a *Audit) calibrated(c *Calibration) {
	a.Calibration = c
	if c.ArrivalError == nil {
		return
	}
	if a.Invalid == "" && c.ArrivalError.P99 > a.OwnLagLimitMs {
		a.Invalid = fmt.Sprintf("against the built-in server, at %.0f events/s, the client was off by %.3g ms (p99), more than the %.3g ms allowed (5 %% of the tightest limit, 1 ms without one): give it free CPUs or a machine of its own", c.TargetEPS, c.ArrivalError.P99, a.OwnLagLimitMs)
	}
	if c.AchievedEPS < minCalibrated*c.TargetEPS {
		a.Warnings = append(a.Warnings, Warning{"calibration-slow", fmt.Sprintf("the built-in server and the client together reached %.0f of %.0f events/s", c.AchievedEPS, c.TargetEPS)})
	}
}
