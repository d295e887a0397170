package witness

import (
	"cmp"
	"slices"

	"llmdyno/internal/load/metric"
)

// gpuTrack gathers one GPU over a trial.
type gpuTrack struct {
	index                     int
	at                        []float64 // s, of the samples with power
	power                     []float64
	sm, mem, temp, util, used []float64
	limit                     *float64
	energy                    []float64
	reasons                   map[string]int
	told                      int // samples with reasons
}

func tracks(readings []Reading) []*gpuTrack {
	var all []*gpuTrack
	for _, r := range readings {
		for _, s := range r.GPUs {
			i := slices.IndexFunc(all, func(t *gpuTrack) bool { return t.index == s.Index })
			if i < 0 {
				all = append(all, &gpuTrack{index: s.Index, reasons: map[string]int{}})
				i = len(all) - 1
			}
			all[i].add(r.AtMs/msPerS, s)
		}
	}
	slices.SortFunc(all, func(a, b *gpuTrack) int { return cmp.Compare(a.index, b.index) })
	return all
}

func (t *gpuTrack) add(at float64, s GPUState) {
	take := func(into *[]float64, v *float64) {
		if v != nil {
			*into = append(*into, *v)
		}
	}
	if s.PowerW != nil {
		t.at = append(t.at, at)
	}
	take(&t.power, s.PowerW)
	take(&t.sm, s.SMClockMHz)
	take(&t.mem, s.MemClockMHz)
	take(&t.temp, s.TempC)
	take(&t.util, s.UtilPct)
	take(&t.used, s.MemUsedMiB)
	take(&t.energy, s.EnergyJ)
	t.limit = cmp.Or(s.LimitW, t.limit)
	if s.Throttle != nil {
		t.told++
		for _, x := range s.Throttle {
			t.reasons[x]++
		}
	}
}

// meanPower is the mean over time, by trapezoids.
func (t *gpuTrack) meanPower() *float64 {
	n := len(t.at)
	if n < 2 || t.at[n-1] <= t.at[0] {
		return mean(t.power)
	}
	area := 0.0
	for i := 1; i < n; i++ {
		area += (t.at[i] - t.at[i-1]) * (t.power[i] + t.power[i-1]) / 2
	}
	area /= t.at[n-1] - t.at[0]
	return &area
}

func (t *gpuTrack) sum() metric.ServerGPU {
	g := metric.ServerGPU{Index: t.index, PowerW: t.meanPower(), PowerMaxW: most(t.power), LimitW: t.limit, SMClockMHz: mean(t.sm),
		SMClockMin: least(t.sm), MemClock: mean(t.mem), TempMaxC: most(t.temp), UtilPct: mean(t.util), MemMaxMiB: most(t.used)}
	for _, x := range throttleBits {
		if n := t.reasons[x.name]; n > 0 {
			g.Throttled = append(g.Throttled, metric.Throttle{Reason: x.name, Share: float64(n) / float64(t.told)})
		}
	}
	return g
}

// energy is what the GPUs used in durationS; nil where one of them did not tell.
// A counter counts what it rose by between the first and the last reading, which
// enclose the trial; power is taken to have its mean in all of the trial.
func energy(all []*gpuTrack, durationS float64, c Totals) *metric.ServerEnergy {
	e := metric.ServerEnergy{By: "counter"}
	counted := !slices.ContainsFunc(all, func(t *gpuTrack) bool {
		n := len(t.energy)
		return n < 2 || t.energy[n-1] < t.energy[0]
	})
	for _, t := range all {
		if counted {
			e.Joules += t.energy[len(t.energy)-1] - t.energy[0]
			continue
		}
		p := t.meanPower()
		if p == nil {
			return nil
		}
		e.By = "power"
		e.Joules += *p * durationS
	}
	if len(all) == 0 || durationS <= 0 {
		return nil
	}
	if c.OutputTokens > 0 {
		per := e.Joules / float64(c.OutputTokens)
		e.PerOutputToken = &per
	}
	if c.InputTokens != nil && *c.InputTokens+c.OutputTokens > 0 {
		per := e.Joules / float64(*c.InputTokens+c.OutputTokens)
		e.PerToken = &per
	}
	return &e
}

func mean(x []float64) *float64 {
	if len(x) == 0 {
		return nil
	}
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	sum /= float64(len(x))
	return &sum
}

func most(x []float64) *float64 {
	if len(x) == 0 {
		return nil
	}
	v := slices.Max(x)
	return &v
}

func least(x []float64) *float64 {
	if len(x) == 0 {
		return nil
	}
	v := slices.Min(x)
	return &v
}
