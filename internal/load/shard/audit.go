package shard

import (
	"fmt"
	"slices"

	"llmdyno/internal/load"
	"llmdyno/internal/load/sample"
)

// JoinAudits is the audit of a load that several clients sent, parts[i] being
// that of part i+1: counts added up; of distributions, which cannot be added up,
// the one with the worst p99; rates and the peak from the merged records. It is
// invalid where one of them is.
func JoinAudits(parts []load.Audit, records []sample.Record) load.Audit {
	if len(parts) == 0 {
		return load.Audit{}
	}
	out := parts[0]
	out.Warnings, out.Invalid = nil, ""
	for i, a := range parts {
		if i > 0 {
			add(&out, a)
		}
		by := fmt.Sprintf("process %d of %d: ", i+1, len(parts))
		for _, w := range a.Warnings {
			if !slices.ContainsFunc(out.Warnings, func(x load.Warning) bool { return x.Code == w.Code }) {
				out.Warnings = append(out.Warnings, load.Warning{Code: w.Code, Message: by + w.Message})
			}
		}
		if out.Invalid == "" && a.Invalid != "" {
			out.Invalid = by + a.Invalid
		}
	}
	out.SharedRatio = nil
	if out.Events > 0 {
		share := float64(out.SharedEvents) / float64(out.Events)
		out.SharedRatio = &share
	}
	out.OfferedRPS = nil
	if out.LoadModel == "open" {
		out.OfferedRPS = rate(records, func(r *sample.Record) int64 { return r.Sched })
	}
	out.AchievedRPS = rate(records, func(r *sample.Record) int64 { return r.Send })
	out.PeakInFlight = sample.PeakInFlight(records)
	return out
}

func add(out *load.Audit, a load.Audit) {
	for _, x := range []struct {
		into *int
		n    int
	}{
		{&out.Planned, a.Planned}, {&out.Sent, a.Sent}, {&out.Dropped, a.Dropped}, {&out.Late, a.Late},
		{&out.NewConnections, a.NewConnections}, {&out.ConnectFailures, a.ConnectFailures}, {&out.StaleRetries, a.StaleRetries},
		{&out.Events, a.Events}, {&out.SharedEvents, a.SharedEvents}, {&out.KernelEvents, a.KernelEvents},
	} {
		*x.into += x.n
	}
	for _, x := range []struct {
		into **load.Spread
		s    *load.Spread
	}{
		{&out.SendLag, a.SendLag}, {&out.SlotWait, a.SlotWait}, {&out.OwnLag, a.OwnLag}, {&out.ReceiveLag, a.ReceiveLag},
		{&out.SchedLatency, a.SchedLatency}, {&out.GCPause, a.GCPause},
	} {
		if x.s != nil && (*x.into == nil || x.s.P99 > (*x.into).P99) {
			*x.into = x.s
		}
	}
	out.RequestedRPS = sum(out.RequestedRPS, a.RequestedRPS)
	out.CPUSeconds += a.CPUSeconds
	out.CPUShare = sum(out.CPUShare, a.CPUShare)
	out.GapDistance = larger(out.GapDistance, a.GapDistance)
	if c := a.Calibration; c != nil && (out.Calibration == nil || worse(c, out.Calibration)) {
		out.Calibration = c
	}
}

// worse compares calibrations by their error; one without any says less.
func worse(a, b *load.Calibration) bool {
	return a.ArrivalError != nil && (b.ArrivalError == nil || a.ArrivalError.P99 > b.ArrivalError.P99)
}

// sum is nil where one of the two is not known.
func sum(a, b *float64) *float64 {
	if a == nil || b == nil {
		return nil
	}
	s := *a + *b
	return &s
}

func larger(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// rate is (n − 1) over the time from the first to the last of the instants, in
// one a second.
func rate(records []sample.Record, at func(*sample.Record) int64) *float64 {
	var x []int64
	for i := range records {
		if t := at(&records[i]); t != sample.Never {
			x = append(x, t)
		}
	}
	if len(x) < 2 || slices.Max(x) == slices.Min(x) {
		return nil
	}
	rps := float64(len(x)-1) * 1e9 / float64(slices.Max(x)-slices.Min(x))
	return &rps
}
