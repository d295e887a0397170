package attrib

import (
	"math"
	"strings"

	"llmdyno/internal/profile/trace"
)

// launches finds the host call behind GPU work by its correlation, which means
// something only within one rank.
type launches struct {
	t     *trace.Trace
	slots map[scoped]int32
	rows  [][]int32 // slot → launches, in file order; most have one
	one   []int32   // slot → the first launch; -1 without
}

// newLaunches indexes the launches that the given correlations ask for.
func newLaunches(t *trace.Trace, works []Work) *launches {
	l := &launches{t: t, slots: make(map[scoped]int32, len(works))}
	for i := range works {
		g := t.GPU.At(int(works[i].Row))
		if g.Corr == trace.NoID {
			continue
		}
		key := scoped{g.Corr, t.ScopeOf(g.Thread)}
		if _, known := l.slots[key]; !known {
			l.slots[key] = int32(len(l.one))
			l.one = append(l.one, -1)
		}
	}
	l.rows = make([][]int32, len(l.one))
	for i, c := range t.Launches.All() {
		if c.Corr == trace.NoID {
			continue
		}
		slot, asked := l.slots[scoped{c.Corr, t.ScopeOf(c.Thread)}]
		switch {
		case !asked:
		case l.one[slot] < 0:
			l.one[slot] = int32(i)
		default:
			if l.rows[slot] == nil {
				l.rows[slot] = []int32{l.one[slot]}
			}
			l.rows[slot] = append(l.rows[slot], int32(i))
		}
	}
	return l
}

// of is the launch of GPU work: the latest call of its correlation that began
// before it, else the earliest one; -1 without.
func (l *launches) of(g *trace.GPU) int32 {
	if g.Corr == trace.NoID {
		return -1
	}
	slot, known := l.slots[scoped{g.Corr, l.t.ScopeOf(g.Thread)}]
	if !known {
		return -1
	}
	if l.rows[slot] == nil {
		return l.one[slot]
	}
	before, first := int32(-1), int32(-1)
	latest, earliest := int64(math.MinInt64), int64(math.MaxInt64)
	for _, r := range l.rows[slot] {
		start := l.t.Launches.At(int(r)).Start
		if start <= g.Start && start >= latest {
			before, latest = r, start
		}
		if start < earliest {
			first, earliest = r, start
		}
	}
	if before >= 0 {
		return before
	}
	return first
}

// graphLaunch: cudaGraphLaunch, hipGraphLaunch, cuGraphLaunch and their variants.
func graphLaunch(name string) bool { return strings.Contains(name, "GraphLaunch") }

// markResidue finds work from before the recording: without a launch record, and
// before the first work of its stream that has one. In a stream where no work
// has one, the first linked work of the device counts.
func markResidue(works []Work, streams int) {
	first := make([]int64, streams)
	for i := range first {
		first[i] = math.MaxInt64
	}
	device := int64(math.MaxInt64)
	for i := range works {
		if w := &works[i]; w.Launch >= 0 {
			first[w.Stream] = min(first[w.Stream], w.Start)
			device = min(device, w.Start)
		}
	}
	if device == math.MaxInt64 {
		return
	}
	for i := range works {
		w := &works[i]
		limit := first[w.Stream]
		if limit == math.MaxInt64 {
			limit = device
		}
		w.Residue = w.Launch < 0 && w.Start < limit
	}
}
