package profile

import (
	"cmp"
	"fmt"
	"slices"

	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/kernel"
)

// leaf is one part of a stage's time that is not divided further.
type leaf struct {
	kind, what string            // as in Contribution
	row        *attrib.KernelRow // nil: not a kernel with a name
	launches   int
	ns         int64        // of the whole stage
	unit       attrib.Nanos // of one unit
}

// stageData is what a document says of one stage.
type stageData struct {
	leaves   []leaf
	launches int
	busy     int64
	comm     int64 // exposed communication
	steps    int   // marked
	layers   int   // repeated units
	requests float64
	tokens   float64
	idleAt   map[string]string // cause → where most of it is

	units int
}

// gather reads a stage out of tables. Rows that a document leaves out are summed up
// by class: the classes have all time.
func gather(t *Tables, stage attrib.Stage) *stageData {
	s := &stageData{units: 1, idleAt: map[string]string{}}
	total := t.Stages[stage]
	if total.Launches == 0 {
		return s
	}
	s.launches = total.Launches
	listed := map[kernel.Class]attrib.Part{}
	for i := range t.Kernels {
		if r := &t.Kernels[i]; r.Stage == stage {
			p := listed[r.Category]
			p.Launches += r.Launches
			p.Total += r.Total
			listed[r.Category] = p
			s.leaves = append(s.leaves, leaf{kind: KindKernels, what: string(r.Category), row: r, launches: r.Launches, ns: int64(r.Total)})
		}
	}
	for _, c := range t.Classes[stage] {
		rest := attrib.Part{Launches: c.Launches - listed[c.Category].Launches, Total: c.Total - listed[c.Category].Total}
		if rest.Total != 0 || rest.Launches != 0 {
			s.leaves = append(s.leaves, leaf{kind: KindKernels, what: string(c.Category), launches: rest.Launches, ns: int64(rest.Total)})
		}
	}
	slices.SortStableFunc(s.leaves, func(a, b leaf) int { return cmp.Or(cmp.Compare(a.what, b.what), cmp.Compare(nameOf(a), nameOf(b))) })
	s.busy = int64(t.OverlapSummary.StageBusyUS[stage])
	s.comm = int64(t.OverlapSummary.StageCommUS[stage])
	s.addOverlap()
	s.addIdle(t, stage)
	s.countUnits(t, stage)
	return s
}

func nameOf(l leaf) string {
	if l.row == nil {
		return ""
	}
	return l.row.Name
}

// addOverlap takes off what the durations count more than once.
func (s *stageData) addOverlap() {
	sum := int64(0)
	for i := range s.leaves {
		sum += s.leaves[i].ns
	}
	if s.busy <= 0 {
		s.busy = sum
	}
	s.leaves = append(s.leaves, leaf{kind: KindOverlap, what: KindOverlap, ns: s.busy - sum})
}

// causes are the causes of idle time in a fixed order.
var causes = []attrib.Cause{attrib.CauseLaunch, attrib.CauseSync, attrib.CauseCopy, attrib.CauseRank, attrib.CauseQueue, attrib.CauseUnseen}

func (s *stageData) addIdle(t *Tables, stage attrib.Stage) {
	sums, most := map[attrib.Cause]int64{}, map[attrib.Cause]attrib.Nanos{}
	for i := range t.Gaps {
		g := &t.Gaps[i]
		if g.Stage != stage {
			continue
		}
		sums[g.Cause] += int64(g.TotalUS)
		if g.TotalUS > most[g.Cause] {
			most[g.Cause], s.idleAt[string(g.Cause)] = g.TotalUS, g.Location
		}
	}
	for _, c := range causes {
		s.leaves = append(s.leaves, leaf{kind: KindIdle, what: string(c), ns: sums[c]})
	}
	s.leaves = append(s.leaves, leaf{kind: KindIdle, what: IdleSmall, ns: int64(t.Idle.StageSmallUS[stage])})
}

func (s *stageData) countUnits(t *Tables, stage attrib.Stage) {
	for i := range t.StepStages {
		if r := &t.StepStages[i]; r.Stage == stage && r.Steps > 0 {
			s.steps += r.Steps
		}
	}
	for i := range t.Layers {
		if l := &t.Layers[i]; l.Stage == stage && l.Units > 0 && l.Others >= 0 {
			s.layers += l.Units + l.Others
		}
	}
	n := 0
	for i := range t.Steps {
		if r := &t.Steps[i]; r.Stage == stage {
			n++
			s.requests += float64(r.ContextRequests + r.GenerationRequests)
			s.tokens += float64(r.ContextTokens + r.GenerationTokens)
		}
	}
	if n > 0 {
		s.requests, s.tokens = s.requests/float64(n), s.tokens/float64(n)
	}
}

// divide chooses what the times of a stage are divided by, the same on both sides,
// and divides. The reason is given in words.
func divide(x, y *stageData, o DiffOptions) (Basis, string) {
	both := func(a, b int) bool { return (a > 0 || x.launches == 0) && (b > 0 || y.launches == 0) }
	set := func(a, b int) { x.split(max(a, 1)); y.split(max(b, 1)) }
	switch {
	case o.ASteps > 0 && o.BSteps > 0:
		set(o.ASteps, o.BSteps)
		return BasisDeclared, "as many steps as were declared"
	case both(x.steps, y.steps):
		set(x.steps, y.steps)
		return BasisStep, "steps marked in the traces"
	case both(x.layers, y.layers):
		set(x.layers, y.layers)
		return BasisLayer, fmt.Sprintf("%s; divided by the repeated units, %d and %d", whoLacks(x.steps, y.steps), x.layers, y.layers)
	}
	set(1, 1)
	return BasisTrace, whoLacks(x.steps, y.steps) + ", and no repeated unit is found on both sides: the whole recordings are compared, whatever their lengths; declare the steps"
}

func whoLacks(a, b int) string {
	switch {
	case a > 0:
		return "B has no step marks"
	case b > 0:
		return "A has no step marks"
	}
	return "there are no step marks"
}

// split divides every leaf by the number of units so that sums stay exact: each is
// the difference of two rounded running sums, and with that within a nanosecond of
// its own quotient.
func (s *stageData) split(units int) {
	s.units = units
	sum, before := int64(0), int64(0)
	for i := range s.leaves {
		sum += s.leaves[i].ns
		now := roundedQuotient(sum, int64(units))
		s.leaves[i].unit = attrib.Nanos(now - before)
		before = now
	}
}

// roundedQuotient is n/d to the nearest whole, halves up; d > 0.
func roundedQuotient(n, d int64) int64 {
	q, r := n/d, n%d
	if r < 0 {
		q, r = q-1, r+d
	}
	if r >= d-r {
		q++
	}
	return q
}

func (s *stageData) per(n int) float64 { return float64(n) / float64(s.units) }

// side sums the leaves up.
func (s *stageData) side() StageSide {
	out := StageSide{Units: s.units, Launches: s.per(s.launches), Requests: s.requests, Tokens: s.tokens}
	for i := range s.leaves {
		l := &s.leaves[i]
		out.Time += l.unit
		switch l.kind {
		case KindKernels:
			out.Total += l.unit
		case KindOverlap:
			out.Overlapped -= l.unit
		case KindIdle:
			out.Idle += l.unit
			if c := attrib.Cause(l.what); c == attrib.CauseLaunch || c == attrib.CauseSync || c == attrib.CauseCopy {
				out.HostBound += l.unit
			}
		}
	}
	out.Busy = out.Time - out.Idle
	out.Exposed = attrib.Nanos(roundedQuotient(s.comm, int64(s.units)))
	return out
}
