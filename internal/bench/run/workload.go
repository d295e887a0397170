package run

import (
	"fmt"
	"time"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/bench/search"
	"llmdyno/internal/load/workload"
)

// workloadSpec is the workload of a scenario under a seed.
func (p *Plan) workloadSpec(sc Scenario, seed uint64) (workload.Spec, error) {
	spec := workload.Spec{Kind: workload.Kind(sc.Kind), Path: sc.Path}
	if sc.Workload != nil {
		spec = *sc.Workload
	}
	spec.NumPrompts, spec.InputLen, spec.OutputLen, spec.Seed, spec.Extra = sc.NumPrompts, sc.InputLen, sc.OutputLen, seed, p.Load.Extra
	if p.Load.TokenizerPath == "" {
		return spec, nil
	}
	var err error
	spec.Tokenizer, err = workload.OpenTokenizer(p.Load.TokenizerPath)
	return spec, err
}

// process is the arrival process of a load point; reqs are what arrives.
func (p *Plan) process(l search.Load, seed uint64, reqs []workload.Request) (workload.Arrivals, error) {
	a := workload.Arrivals{Kind: workload.ArrivalKind(p.Load.Arrivals), RateRPS: l.RateRPS, Burstiness: p.Load.Burstiness}
	if p.Load.Process != nil {
		a = *p.Load.Process
	}
	a.Seed = seed
	if a.Kind != workload.ArrivalTrace {
		if l.Kind != "" {
			a.RateRPS *= drawn(a, len(reqs))
		}
		return a, nil
	}
	var err error
	if p.Load.ArrivalsPath != "" {
		a.Offsets, err = config.ReadArrivals(p.Load.ArrivalsPath)
		return a, err
	}
	offsets, ok := workload.Offsets(reqs)
	if !ok {
		return a, fmt.Errorf("arrivals of kind %s: the dataset has no timestamps; give benchmark.arrivals.path", a.Kind)
	}
	a.Offsets = offsets
	return a, nil
}

// drawn is the time that n arrivals of a process take over the time that they
// take on average. A rate times that is offered exactly: of 1000 Poisson arrivals
// the rate as drawn scatters by 3 %, more than a rate search resolves.
func drawn(a workload.Arrivals, n int) float64 {
	a.RateRPS = 1
	if at := a.Schedule(n); n > 0 && at[n-1] > 0 {
		return at[n-1].Seconds() / float64(n)
	}
	return 1
}

// timedLoads are the load points where the arrivals have rates of their own: one
// for each cap.
func timedLoads(caps []int) []search.Load {
	out := make([]search.Load, len(caps))
	for i, c := range caps {
		out[i].MaxConcurrency = c
	}
	return out
}

// smokeTurns is the most turns of a conversation in a flow check.
const smokeTurns = 2

// shortenWorkload cuts distributions down to the bounds of an effort; a fixed
// length takes their place.
func shortenWorkload(s *Scenario, e search.Effort) {
	w := s.Workload
	if w == nil || e.InputLen == 0 {
		return
	}
	cut := func(l *workload.Lengths, bound int) {
		if !l.IsZero() {
			*l = workload.Fixed(max(1, min(int(l.MeanLength(w.Compat)), bound)))
		}
	}
	cut(&w.Input, e.InputLen)
	cut(&w.Output, e.OutputLen)
	cut(&w.Turns, smokeTurns)
	w.Prefix.Len = min(w.Prefix.Len, e.InputLen)
}

// chain is the most requests that wait for one another, and the longest time
// that their users think in all.
func chain(reqs []workload.Request) (most int, think time.Duration) {
	length, thought := make([]int, len(reqs)), make([]time.Duration, len(reqs))
	for i, q := range reqs {
		length[i] = 1
		if q.After > 0 {
			length[i], thought[i] = length[q.After-1]+1, thought[q.After-1]+q.Think
		}
		most, think = max(most, length[i]), max(think, thought[i])
	}
	return most, think
}
