package load

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/client"
	"llmdyno/internal/load/sample"
)

// The bounds beyond which the client is not sound. A client that is late by more
// than 5 % of the tightest limit, or by 1 ms where there is none, at its p99
// invalidates the trial; the rest are warnings.
const (
	ownLagShare     = 0.05
	ownLagDefaultMs = 1.0
	maxLate         = 0.01 // share of requests more than 1 ms late
	minDelivered    = 0.95 // achieved / offered rate
	maxShared       = 0.05 // shared / all events
	maxCPUShare     = 0.8
	maxSchedMs      = 1.0 // p99 of the scheduler's latency
)

// audit judges the client from the records and from what the process used.
func (r *runner) audit(used usage) Audit {
	a := Audit{
		Schema: AuditSchema, SchemaVersion: AuditSchemaVersion, LoadModel: "closed",
		Planned: len(r.records), OwnLagLimitMs: ownLagDefaultMs, FileLimit: r.limit,
		SchedLatency: histogramSpread(used.sched), GCPause: histogramSpread(used.gc),
		CPUSeconds: used.cpu.Seconds(), CPUs: runtime.GOMAXPROCS(0),
	}
	if r.TightestMs > 0 {
		a.OwnLagLimitMs = ownLagShare * r.TightestMs
	}
	if used.wall > 0 {
		share := used.cpu.Seconds() / used.wall.Seconds() / float64(a.CPUs)
		a.CPUShare = &share
	}
	if r.Arrivals.Open() {
		a.LoadModel = "open"
		a.OfferedRPS = rate(r.records, func(rec *sample.Record) int64 { return rec.Sched })
		if rps := r.Arrivals.RateRPS; rps > 0 {
			a.RequestedRPS = &rps
		}
	}
	sent := func(rec *sample.Record) int64 { return rec.Send }
	a.AchievedRPS = rate(r.records, sent)
	r.lags(&a)
	r.connections(&a)
	a.PeakInFlight = peakInFlight(r.records)
	a.warn()
	a.judge(r.records)
	return a
}

// rate is (n − 1) over the time from the first to the last of the instants.
func rate(records []sample.Record, at func(*sample.Record) int64) *float64 {
	first, last, n := int64(math.MaxInt64), int64(0), 0
	for i := range records {
		if t := at(&records[i]); t != sample.Never {
			first, last, n = min(first, t), max(last, t), n+1
		}
	}
	if n < 2 || last <= first {
		return nil
	}
	rps := float64(n-1) / time.Duration(last-first).Seconds()
	return &rps
}

func (r *runner) lags(a *Audit) {
	var lag, own, waits []float64
	for i := range r.records {
		if r.own[i] < 0 {
			a.Dropped++
			continue
		}
		a.Sent++
		lag = append(lag, ms(r.records[i].Send-r.records[i].Sched))
		own = append(own, ms(r.own[i]))
		if r.own[i] > lateNs {
			a.Late++
		}
		if r.waits[i] >= 0 {
			waits = append(waits, ms(r.waits[i]))
		}
	}
	a.SendLag, a.OwnLag, a.SlotWait = newSpread(lag), newSpread(own), newSpread(waits)
}

func (r *runner) connections(a *Audit) {
	for i := range r.records {
		rec := &r.records[i]
		switch {
		case rec.Class == sample.ClassConnect:
			a.ConnectFailures++
		case rec.Conn != sample.Never && !rec.ConnReused:
			a.NewConnections++
		}
		if rec.StaleRetry {
			a.StaleRetries++
		}
		for _, e := range rec.Events {
			a.Events++
			if e.Shared {
				a.SharedEvents++
			}
		}
	}
	if a.Events > 0 {
		share := float64(a.SharedEvents) / float64(a.Events)
		a.SharedRatio = &share
	}
}

// peakInFlight sweeps over the half-open intervals [send, done).
func peakInFlight(records []sample.Record) int {
	var starts, ends []int64
	for i := range records {
		if rec := &records[i]; rec.Send != sample.Never && rec.Done > rec.Send {
			starts, ends = append(starts, rec.Send), append(ends, rec.Done)
		}
	}
	slices.Sort(starts)
	slices.Sort(ends)
	peak, ended := 0, 0
	for i, at := range starts {
		for ends[ended] <= at {
			ended++
		}
		peak = max(peak, i+1-ended)
	}
	return peak
}

func (a *Audit) warn() {
	warn := func(code, format string, args ...any) {
		a.Warnings = append(a.Warnings, Warning{code, fmt.Sprintf(format, args...)})
	}
	if a.Dropped > 0 {
		warn("arrivals-dropped", "%d of %d arrivals were never sent: the planned load was not delivered", a.Dropped, a.Planned)
	}
	if a.OfferedRPS != nil && a.AchievedRPS != nil && *a.AchievedRPS < minDelivered**a.OfferedRPS {
		warn("rate-not-delivered", "requests left at %.3g a second where arrivals came at %.3g: latencies belong to the lower rate", *a.AchievedRPS, *a.OfferedRPS)
	}
	if float64(a.Late) > maxLate*float64(a.Sent) {
		warn("sent-late", "the client itself sent %d of %d requests more than 1 ms late (p99 %.3g ms): give it free CPUs", a.Late, a.Sent, a.OwnLag.P99)
	}
	if a.SharedRatio != nil && *a.SharedRatio > maxShared {
		warn("events-coalesced", "%d of %d stream events were read together with others: their instants are upper bounds", a.SharedEvents, a.Events)
	}
	if a.StaleRetries > 0 {
		warn("stale-connections", "%d requests were sent a second time because the server had closed the kept-alive connection", a.StaleRetries)
	}
	if a.ConnectFailures > 0 {
		warn("connect-failed", "%d of %d requests got no connection", a.ConnectFailures, a.Sent)
	}
	if a.CPUShare != nil && *a.CPUShare > maxCPUShare {
		warn("client-cpu", "the client used %.0f %% of its %d CPUs: its instants may be late; run it on a machine of its own", 100**a.CPUShare, a.CPUs)
	}
	if s := a.SchedLatency; s != nil && s.P99 > maxSchedMs {
		warn("scheduler-latency", "runnable parts of the client waited up to %.3g ms (p99) for a CPU", s.P99)
	}
	if a.FileLimit > 0 && uint64(a.PeakInFlight)+spareFiles > a.FileLimit {
		warn("file-limit", "%d requests in flight with at most %d open files: raise the limit (ulimit -n)", a.PeakInFlight, a.FileLimit)
	}
}

// judge says why the figures must not be used.
func (a *Audit) judge(records []sample.Record) {
	limits := 0
	for i := range records {
		if strings.Contains(records[i].Error, client.LocalLimit) {
			limits++
		}
	}
	switch {
	case limits > 0:
		a.Invalid = fmt.Sprintf("%d requests found no free file or port on the client's machine: raise the limit of open files (ulimit -n) or widen the range of local ports", limits)
	case a.OwnLag != nil && a.OwnLag.P99 > a.OwnLagLimitMs:
		a.Invalid = fmt.Sprintf("the client sent requests late by %.3g ms (p99) on its own account, more than the %.3g ms allowed (5 %% of the tightest limit, 1 ms without one): give it free CPUs or a lower rate", a.OwnLag.P99, a.OwnLagLimitMs)
	}
}

// newSpread sums up samples; it sorts them. No samples give nil.
func newSpread(x []float64) *Spread {
	if len(x) == 0 {
		return nil
	}
	slices.Sort(x)
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	at := func(q float64) float64 {
		h := q * float64(len(x)-1)
		i := int(h)
		if i+1 >= len(x) {
			return x[len(x)-1]
		}
		return x[i] + (h-float64(i))*(x[i+1]-x[i])
	}
	return &Spread{N: len(x), Mean: sum / float64(len(x)), P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: x[len(x)-1]}
}

func ms(ns int64) float64 { return float64(ns) / float64(time.Millisecond) }
