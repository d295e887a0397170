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
	"llmdyno/internal/load/workload"
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
	maxGapDistance  = 0.1 // of the gaps as delivered from the gaps as planned
	maxUndelivered  = 0.01
	minGaps         = 20 // below it a distance of distributions says nothing
)

// audit judges the client from the records and from what the process used.
func (r *runner) audit(used usage) Audit {
	a := Audit{
		Schema: AuditSchema, SchemaVersion: AuditSchemaVersion, LoadModel: "closed",
		Planned: len(r.records), EndedEarly: r.enough, OwnLagLimitMs: ownLagDefaultMs, FileLimit: r.limit,
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
		if rps := r.Arrivals.RateRPS; rps > 0 && r.Arrivals.Kind != workload.ArrivalRamp { // a ramp has no one rate
			a.RequestedRPS = &rps
		}
	}
	sent := func(rec *sample.Record) int64 { return rec.Send }
	a.AchievedRPS = rate(r.records, sent)
	r.lags(&a)
	r.connections(&a)
	r.receiving(&a)
	r.delivery(&a)
	a.PeakInFlight = sample.PeakInFlight(r.records)
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

// receiving sums up how late the client read what the kernel had stamped.
func (r *runner) receiving(a *Audit) {
	var lag []float64
	for i := range r.records {
		for _, e := range r.records[i].Events {
			if e.Kernel {
				lag = append(lag, float64(e.LagUs)/1000)
			}
		}
	}
	a.KernelEvents, a.ReceiveLag = len(lag), newSpread(lag)
}

// delivery compares the gaps of the schedule with those that the client kept.
// What a slot or a connection made a request wait is not the client's doing.
func (r *runner) delivery(a *Audit) {
	if !r.Arrivals.Open() || r.Arrivals.RateRPS <= 0 {
		return
	}
	var planned, kept []float64
	last := -1
	for i := range r.records {
		if r.own[i] < 0 {
			continue
		}
		if last >= 0 {
			gap := r.records[i].Sched - r.records[last].Sched
			planned = append(planned, ms(gap))
			kept = append(kept, ms(gap+r.own[i]-r.own[last]))
		}
		last = i
	}
	if len(planned) < minGaps {
		return
	}
	// A gap may be off by as much as the client may be late, or by a tenth of the
	// usual gap where that is less.
	a.GapToleranceMs = min(a.OwnLagLimitMs, 100/r.Arrivals.RateRPS)
	d := gapDistance(planned, kept, a.GapToleranceMs)
	a.GapDistance = &d
}

// gapDistance is the largest share of gaps that one sample has and the other
// lacks up to any length, give or take tolerance; it sorts both.
func gapDistance(a, b []float64, tolerance float64) float64 {
	slices.Sort(a)
	slices.Sort(b)
	return max(ahead(a, b, tolerance), ahead(b, a, tolerance))
}

// ahead is the largest amount by which the distribution of a, sorted, exceeds
// that of b, sorted, tolerance further.
func ahead(a, b []float64, tolerance float64) (far float64) {
	k := 0
	for i, v := range a {
		for k < len(b) && b[k] <= v+tolerance {
			k++
		}
		far = max(far, float64(i+1)/float64(len(a))-float64(k)/float64(len(b)))
	}
	return far
}

func (a *Audit) warn() {
	warn := func(code, format string, args ...any) {
		a.Warnings = append(a.Warnings, Warning{code, fmt.Sprintf(format, args...)})
	}
	if a.Dropped > 0 && !a.EndedEarly {
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
	if a.ReceiveLag != nil && a.ReceiveLag.P99 > a.OwnLagLimitMs {
		warn("read-late", "the client read stream events up to %.3g ms (p99) after they had arrived; their instants are the kernel's and do not hold this", a.ReceiveLag.P99)
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
	case !a.EndedEarly && a.LoadModel == "open" && a.SlotWait == nil && float64(a.Dropped) > maxUndelivered*float64(a.Planned):
		a.Invalid = fmt.Sprintf("%d of %d arrivals were never sent, so the planned load was not delivered: allow the trial more time, or plan fewer requests", a.Dropped, a.Planned)
	case a.OwnLag != nil && a.OwnLag.P99 > a.OwnLagLimitMs:
		a.Invalid = fmt.Sprintf("the client sent requests late by %.3g ms (p99) on its own account, more than the %.3g ms allowed (5 %% of the tightest limit, 1 ms without one): give it free CPUs or a lower rate", a.OwnLag.P99, a.OwnLagLimitMs)
	case a.GapDistance != nil && *a.GapDistance > maxGapDistance:
		a.Invalid = fmt.Sprintf("the gaps between arrivals differ from the planned ones (distance of their distributions %.2f, at most %.2f allowed): give the client free CPUs or a lower rate", *a.GapDistance, maxGapDistance)
	case a.ReceiveLag != nil && a.ReceiveLag.P99 > a.OwnLagLimitMs && a.SharedRatio != nil && *a.SharedRatio > maxShared:
		a.Invalid = fmt.Sprintf("the client fell behind: it read events %.3g ms (p99) after their arrival, and %.0f %% of them together with later ones, whose instant they then have: give it free CPUs, fewer streams or a machine of its own", a.ReceiveLag.P99, 100**a.SharedRatio)
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
