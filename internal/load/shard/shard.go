// Package shard cuts the load of a trial into parts for several processes, and
// puts their samples together again:
//
//	requests, arrivals, cap  →  Split  →  Cut (one for each process)
//	records of each process  →  Cut.Restore, Merge  →  records of the whole
//
// Every process makes the whole workload from the same seed and takes its part of
// it: whole conversations in turn, each with the instants that it has in the
// whole. Put together, the parts are what one process would have sent, request
// for request and instant for instant. A cap on the requests in flight is shared
// out, so that of two parts one may wait while the other has a slot free.
package shard

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"llmdyno/internal/load/sample"
	"llmdyno/internal/load/workload"
)

// MaxParts bounds the number of parts.
const MaxParts = 1024

// Part is one of N parts; I counts from 1. The zero Part is the whole.
type Part struct {
	I int `json:"i"`
	N int `json:"n"`
}

// Parse reads a part written as 2/4.
func Parse(s string) (Part, error) {
	i, n, ok := strings.Cut(s, "/")
	var p Part
	var errI, errN error
	p.I, errI = strconv.Atoi(i)
	p.N, errN = strconv.Atoi(n)
	if !ok || errI != nil || errN != nil || p.I < 1 || p.N > MaxParts || p.I > p.N {
		return Part{}, fmt.Errorf("%q is not a part: expected I/N with I from 1 to N and N up to %d, for example 2/4", s, MaxParts)
	}
	return p, nil
}

// Whole says that the part is all there is.
func (p Part) Whole() bool { return p.N <= 1 }

func (p Part) String() string { return fmt.Sprintf("%d/%d", p.I, p.N) }

// Cut is what one process sends.
type Cut struct {
	Requests []workload.Request
	Arrivals workload.Arrivals
	// Cap is the part's share of the cap on requests in flight; 0 = none.
	Cap int
	// Positions are the indices that the requests have in the whole.
	Positions []int
}

// Split takes one part out of a load. limit is the cap on the requests in flight,
// 0 = none; of a closed loop it is the number of users, 0 = 1.
func Split(reqs []workload.Request, a workload.Arrivals, limit int, p Part) (Cut, error) {
	if p.Whole() {
		return whole(reqs, a, limit), nil
	}
	if !a.Open() {
		limit = max(limit, 1)
	}
	if limit > 0 && limit < p.N {
		return Cut{}, fmt.Errorf("a concurrency of %d cannot be shared out over %d processes: use at most %d of them", limit, p.N, limit)
	}
	offsets, roots := schedule(reqs, a)
	if len(roots) < p.N {
		return Cut{}, fmt.Errorf("%d requests (conversations count once) cannot be shared out over %d processes", len(roots), p.N)
	}
	c := Cut{Arrivals: a, Cap: share(limit, p)}
	place := map[int]int{} // position in the whole → position in the cut
	var at []time.Duration
	for i, q := range reqs {
		if owner(reqs, roots, i)%p.N != p.I-1 {
			continue
		}
		if q.After > 0 {
			q.After = place[q.After-1] + 1
		} else {
			at = append(at, offsets[i])
		}
		place[i] = len(c.Requests)
		c.Requests, c.Positions = append(c.Requests, q), append(c.Positions, i)
	}
	if a.Open() && !a.AtOnce() {
		c.Arrivals = workload.Arrivals{Kind: workload.ArrivalTrace, Offsets: at, Seed: a.Seed}
		if !a.Timed() {
			c.Arrivals.RateRPS = a.RateRPS / float64(p.N)
		}
	}
	return c, nil
}

func whole(reqs []workload.Request, a workload.Arrivals, limit int) Cut {
	c := Cut{Requests: reqs, Arrivals: a, Cap: limit, Positions: make([]int, len(reqs))}
	for i := range c.Positions {
		c.Positions[i] = i
	}
	return c
}

// schedule is the instant of each request that has an arrival of its own, and the
// number of each such request among them.
func schedule(reqs []workload.Request, a workload.Arrivals) (offsets []time.Duration, roots map[int]int) {
	roots = map[int]int{}
	for i, q := range reqs {
		if q.After == 0 {
			roots[i] = len(roots)
		}
	}
	own := a.Schedule(len(roots))
	offsets = make([]time.Duration, len(reqs))
	for i, k := range roots {
		offsets[i] = own[k]
	}
	return offsets, roots
}

// owner is the number of the conversation that request i is a part of.
func owner(reqs []workload.Request, roots map[int]int, i int) int {
	for reqs[i].After > 0 {
		i = reqs[i].After - 1
	}
	return roots[i]
}

// share is a part's share of n, the first parts having one more.
func share(n int, p Part) int {
	of := n / p.N
	if p.I <= n%p.N {
		of++
	}
	return of
}

// Restore gives the records of a part the indices that they have in the whole.
func (c Cut) Restore(records []sample.Record) error {
	for i := range records {
		k := records[i].Index
		if k < 0 || k >= len(c.Positions) {
			return fmt.Errorf("record %d: no such request among %d", k, len(c.Positions))
		}
		records[i].Index = c.Positions[k]
	}
	return nil
}

// Result is what one process measured, its indices restored.
type Result struct {
	Part     Part
	Started  time.Time     // wall clock at instant 0 of the records
	Duration time.Duration // from there to the last result
	Records  []sample.Record
}

// Merge puts the results of all parts together. Instants are counted from the
// earliest start; parts that began at one instant keep theirs as they are.
func Merge(parts []Result) (Result, error) {
	if err := complete(parts); err != nil {
		return Result{}, err
	}
	out := Result{Started: parts[0].Started}
	for _, p := range parts {
		if p.Started.Before(out.Started) {
			out.Started = p.Started
		}
	}
	for _, p := range parts {
		later := p.Started.Round(0).Sub(out.Started.Round(0))
		for _, r := range p.Records {
			out.Records = append(out.Records, shifted(r, int64(later)))
		}
		out.Duration = max(out.Duration, later+p.Duration)
	}
	slices.SortStableFunc(out.Records, func(a, b sample.Record) int { return cmp.Compare(a.Index, b.Index) })
	for i := 1; i < len(out.Records); i++ {
		if k := out.Records[i].Index; k == out.Records[i-1].Index {
			return Result{}, fmt.Errorf("request %d stands in two parts: they are not parts of one load", k)
		}
	}
	return out, nil
}

// complete says which part is missing or given twice.
func complete(parts []Result) error {
	if len(parts) == 0 {
		return errors.New("no part of a load was given")
	}
	n := parts[0].Part.N
	seen := map[int]bool{}
	for _, p := range parts {
		switch {
		case p.Part.N != n:
			return fmt.Errorf("parts %s and %s are not of the same division", parts[0].Part, p.Part)
		case seen[p.Part.I]:
			return fmt.Errorf("part %s is given twice", p.Part)
		}
		seen[p.Part.I] = true
	}
	for i := 1; i <= n; i++ {
		if !seen[i] {
			return fmt.Errorf("part %s is missing: give all parts of the load", Part{i, n})
		}
	}
	return nil
}

// shifted is a record counted from an earlier start.
func shifted(r sample.Record, by int64) sample.Record {
	if by == 0 {
		return r
	}
	for _, at := range []*int64{
		&r.Sched, &r.Begin, &r.Send, &r.Conn, &r.Header, &r.FirstChoices, &r.FirstText, &r.LastText, &r.FirstReasoning, &r.FirstVisible, &r.FirstTool, &r.LastChoices, &r.UsageAt, &r.Done,
	} {
		if *at != sample.Never {
			*at += by
		}
	}
	r.Events = slices.Clone(r.Events)
	for i := range r.Events {
		r.Events[i].At += by
	}
	return r
}
