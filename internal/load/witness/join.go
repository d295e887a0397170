package witness

import (
	"cmp"
	"slices"
	"time"
)

// Join puts together what several clients heard of one server that all of them
// sent to. Each read the counters of the whole server, so nothing is added up: the
// times of the records are joined, and what the counters rose by is taken once.
//
//	first    the latest first reading of a client that is no later than from,
//	         the start of the load: what the server did before is no part of it
//	last     the latest last reading of all
//	between  the readings of the client that read the GPUs, else of the one that
//	         read for longest, and before and after its own those of the others
//
// The clients' clocks may differ: a reading that seems to lie before the one of
// another client that it follows is left out, unless the server began anew.
func Join(parts []Record, from time.Time) Record {
	parts = slices.DeleteFunc(slices.Clone(parts), func(r Record) bool { return len(r.Readings) == 0 })
	if len(parts) == 0 {
		return Record{}
	}
	slices.SortStableFunc(parts, func(a, b Record) int { return cmp.Compare(b.weight(), a.weight()) })
	out := Record{Has: parts[0].Has, Began: parts[0].Began, GPUTool: parts[0].GPUTool, GPUProblem: parts[0].GPUProblem}
	for _, p := range parts {
		if p.Began.Before(out.Began) {
			out.Began = p.Began
		}
	}
	restarted := false
	var all [][]Reading
	for _, p := range parts {
		restarted = restarted || accounts(p.Readings).restarts > 0
		all = append(all, p.since(out.Began))
	}
	first, last := ends(all, float64(from.Sub(out.Began))/float64(time.Millisecond))
	out.Readings = []Reading{first}
	for _, r := range append(between(all, first.AtMs, last.AtMs), last) {
		for k := len(out.Readings) - 1; k > 0 && !restarted && r.AtMs == last.AtMs && before(&r, &out.Readings[k]); k-- {
			out.Readings = out.Readings[:k]
		}
		if restarted || !before(&r, &out.Readings[len(out.Readings)-1]) {
			out.Readings = append(out.Readings, r)
		}
	}
	out.openEnergy()
	return out
}

// weight orders records by how much they tell, in ms.
func (r *Record) weight() float64 {
	w := r.Readings[len(r.Readings)-1].AtMs - r.Readings[0].AtMs
	if slices.ContainsFunc(r.Readings, func(x Reading) bool { return len(x.GPUs) > 0 }) {
		w += 1e15
	}
	return w
}

// since are the readings with their times counted from another instant.
func (r *Record) since(began time.Time) []Reading {
	later := float64(r.Began.Sub(began)) / float64(time.Millisecond)
	out := slices.Clone(r.Readings)
	for i := range out {
		out[i].AtMs += later
	}
	return out
}

// ends are the readings that enclose the load.
func ends(all [][]Reading, from float64) (first, last Reading) {
	first, last = all[0][0], all[0][len(all[0])-1]
	for _, p := range all {
		a, z := p[0], p[len(p)-1]
		switch {
		case first.AtMs > from && a.AtMs < first.AtMs, a.AtMs <= from && a.AtMs > first.AtMs:
			first = a
		}
		if z.AtMs > last.AtMs {
			last = z
		}
	}
	return first, last
}

// between are the readings from first to last, both left out: those of the first
// client, and of the others where it did not read.
func between(all [][]Reading, first, last float64) (out []Reading) {
	low, high := all[0][0].AtMs, all[0][len(all[0])-1].AtMs
	for i, p := range all {
		for _, r := range p {
			if r.AtMs > first && r.AtMs < last && (i == 0 || r.AtMs < low || r.AtMs > high) {
				out = append(out, r)
			}
		}
		low, high = min(low, p[0].AtMs), max(high, p[len(p)-1].AtMs)
	}
	slices.SortStableFunc(out, func(a, b Reading) int { return cmp.Compare(a.AtMs, b.AtMs) })
	return out
}

// before says that a counter is lower at r than at other, so that r was earlier.
func before(r, other *Reading) bool {
	for q, series := range r.full.Series {
		if !q.Counter() {
			continue
		}
		for labels, v := range series {
			if was, known := other.full.Series[q][labels]; known && v < was {
				return true
			}
		}
	}
	return false
}

// openEnergy drops the GPUs' energy counters where the readings that enclose the
// load have none: power tells the energy then.
func (r *Record) openEnergy() {
	if len(r.Readings[0].GPUs) > 0 && len(r.Readings[len(r.Readings)-1].GPUs) > 0 {
		return
	}
	for i := range r.Readings {
		r.Readings[i].GPUs = slices.Clone(r.Readings[i].GPUs)
		for k := range r.Readings[i].GPUs {
			r.Readings[i].GPUs[k].EnergyJ = nil
		}
	}
}
