package attrib

import (
	"cmp"
	"slices"

	"llmdyno/internal/profile/kernel"
)

// shares sums, by k, the time in which k kernels of one stream shared it: whole
// nanoseconds, so that the sum does not depend on the order.
type shares []kShare

type kShare struct {
	k  int
	ns int64
}

func (s *shares) add(k int, ns int64) {
	for i := range *s {
		if (*s)[i].k == k {
			(*s)[i].ns += ns
			return
		}
	}
	*s = append(*s, kShare{k, ns})
}

func (s *shares) addAll(o shares) {
	for _, x := range o {
		s.add(x.k, x.ns)
	}
}

// ns is Σ ns/k.
func (s shares) ns() float64 {
	s = slices.SortedFunc(slices.Values(s), func(a, b kShare) int { return cmp.Compare(a.k, b.k) })
	total := 0.0
	for _, x := range s {
		total += float64(x.ns) / float64(x.k)
	}
	return total
}

// partner is a kernel behind which another was hidden.
type partner struct {
	name int32 // row of Timeline.Names
	ns   int64
}

// workTimes is how the time of one work was spent. hidden + exposed is its duration.
type workTimes struct {
	hidden, hiddenByCompute, exposed int64
	exclusive                        shares // the exposed time, shared out with kernels of the same stream
	partners                         []partner
}

func (t *workTimes) hide(ns int64, name int32, compute bool) {
	t.hidden += ns
	if compute {
		t.hiddenByCompute += ns
	}
	if n := len(t.partners); n > 0 && t.partners[n-1].name == name {
		t.partners[n-1].ns += ns
		return
	}
	t.partners = append(t.partners, partner{name, ns})
}

// swept is what one sweep over a timeline finds; times in ns.
type swept struct {
	times       []workTimes // by Works
	busy        map[Stage]int64
	union       int64
	cross       int64
	sum         int64
	maxStreams  int
	streamsUsed int
	looked      int // works looked at over all slices: what the sweep costs
	aside       int // works that took no part in sharing
}

type span struct{ from, to int64 }

// edge is the start or the end of one work.
type edge struct {
	at   int64
	work int32
	end  bool
}

// maxAtOnce is how many works share time with one another at most: no GPU runs that
// many kernels at once. Further ones count as busy and as exposed, and hide nothing.
const maxAtOnce = 256

// running is what runs at one moment.
type running struct {
	works     []int32        // ordered by arrival
	aside     map[int32]bool // works beyond maxAtOnce
	perStream map[int32]int  // works by stream
	compute   map[int32]int  // compute kernels by stream
	perStage  map[Stage]int
}

// sweep goes once over the starts and ends of all work of the device, whatever
// its stage. Its cost is the number of events times what runs at once.
func sweep(tl *Timeline) *swept {
	s := &swept{times: make([]workTimes, len(tl.Works)), busy: map[Stage]int64{}}
	edges := edgesOf(tl)
	a := running{aside: map[int32]bool{}, perStream: map[int32]int{}, compute: map[int32]int{}, perStage: map[Stage]int{}}
	used := map[int32]bool{}
	for i := range tl.Works {
		s.sum += tl.Works[i].Dur
		used[tl.Works[i].Stream] = true
	}
	s.streamsUsed = len(used)
	var last int64
	for _, e := range edges {
		if len(a.perStream) > 0 && e.at > last {
			s.slice(tl, &a, e.at-last)
		}
		last = e.at
		a.apply(tl, e)
		if !e.end && a.aside[e.work] {
			s.aside++
			s.times[e.work].exposed = tl.Works[e.work].Dur
		}
		s.maxStreams = max(s.maxStreams, len(a.perStream))
	}
	return s
}

// edgesOf is all starts and ends by time, ends before starts.
func edgesOf(tl *Timeline) []edge {
	edges := make([]edge, 0, 2*len(tl.Works))
	for i := range tl.Works {
		w := &tl.Works[i]
		edges = append(edges, edge{w.Start, int32(i), false}, edge{w.End(), int32(i), true})
	}
	slices.SortFunc(edges, func(x, y edge) int {
		switch {
		case x.at != y.at:
			return cmp.Compare(x.at, y.at)
		case x.end != y.end:
			if x.end {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.work, y.work)
	})
	return edges
}

func (a *running) apply(tl *Timeline, e edge) {
	w := &tl.Works[e.work]
	compute := tl.Names[w.Name].Class.Group() == kernel.GroupCompute
	d := 1
	switch {
	case e.end && a.aside[e.work]:
		d = -1
		delete(a.aside, e.work)
	case e.end:
		d = -1
		i := slices.Index(a.works, e.work)
		a.works = slices.Delete(a.works, i, i+1)
	case len(a.works) >= maxAtOnce:
		a.aside[e.work] = true
	default:
		a.works = append(a.works, e.work)
	}
	count(a.perStream, w.Stream, d)
	count(a.perStage, w.Stage, d)
	if compute {
		count(a.compute, w.Stream, d)
	}
}

func count[K comparable](m map[K]int, k K, d int) {
	if m[k] += d; m[k] == 0 {
		delete(m, k)
	}
}

// slice gives one stretch in which the same works ran to each of them.
func (s *swept) slice(tl *Timeline, a *running, ns int64) {
	s.union += ns
	s.looked += len(a.works)
	for stage := range a.perStage {
		s.busy[stage] += ns
	}
	if len(a.perStream) == 1 {
		for _, i := range a.works {
			s.times[i].exposed += ns
			s.times[i].exclusive.add(len(a.works), ns)
		}
		return
	}
	s.cross += ns
	if len(a.works) == 0 { // only such as stand aside are left
		return
	}
	best, second := rivals(tl, a.works)
	for _, i := range a.works {
		w := &tl.Works[i]
		p := best
		if tl.Works[p].Stream == w.Stream {
			p = second
		}
		if p < 0 { // behind works that stand aside
			s.times[i].exposed += ns
			continue
		}
		others := len(a.compute)
		if a.compute[w.Stream] > 0 {
			others--
		}
		s.times[i].hide(ns, tl.Works[p].Name, others > 0)
	}
}

// groupRank is which work is named as the one behind which another hides.
var groupRank = map[kernel.Group]int{
	kernel.GroupCompute: 4, kernel.GroupCommunication: 3, kernel.GroupMemory: 2, kernel.GroupElementwise: 1,
}

// rivals is the foremost of the works (group, then duration, then order) and the
// foremost of those on other streams than that.
func rivals(tl *Timeline, works []int32) (best, second int32) {
	best, second = -1, -1
	before := func(x, y int32) bool {
		if y < 0 {
			return true
		}
		a, b := &tl.Works[x], &tl.Works[y]
		return cmp.Or(cmp.Compare(groupRank[tl.Names[a.Name].Class.Group()], groupRank[tl.Names[b.Name].Class.Group()]),
			cmp.Compare(a.Dur, b.Dur), cmp.Compare(y, x)) > 0
	}
	for _, i := range works {
		if before(i, best) {
			best = i
		}
	}
	for _, i := range works {
		if tl.Works[i].Stream != tl.Works[best].Stream && before(i, second) {
			second = i
		}
	}
	return best, second
}

func (s *swept) summary(tl *Timeline) OverlapSummary {
	sum := OverlapSummary{
		BusyUS: Nanos(s.union), CrossUS: Nanos(s.cross), MaxStreams: s.maxStreams, SumUS: Nanos(s.sum),
		Streams: s.streamsUsed, Aside: s.aside, StageBusyUS: map[Stage]Nanos{},
	}
	for stage, ns := range s.busy {
		sum.StageBusyUS[stage] = Nanos(ns)
	}
	var hidden, exposed, comm int64
	for i := range s.times {
		hidden += s.times[i].hidden
		exposed += s.times[i].exposed
		if tl.Names[tl.Works[i].Name].Class == kernel.Communication {
			comm += s.times[i].exposed
			if sum.StageCommUS == nil {
				sum.StageCommUS = map[Stage]Nanos{}
			}
			sum.StageCommUS[tl.Works[i].Stage] += Nanos(s.times[i].exposed)
		}
	}
	sum.HiddenUS, sum.ExposedUS, sum.CollectiveUS = Nanos(hidden), Nanos(exposed), Nanos(comm)
	return sum
}
