package attrib

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"llmdyno/internal/profile/kernel"
	"llmdyno/internal/profile/trace"
)

// Mapping is what a mapping trace says about the sources of kernels: a trace that
// recorded the capture of the graphs, or a run without graphs.
type Mapping struct {
	captured []mapped // launches recorded during capture, in order of time
	graphs   [][]mapped
	ran      []mapped // executed work, in order of time
}

// mapped is one launch of the mapping trace with its source.
type mapped struct {
	name  string // canonical
	op    string
	stage Stage
	site  *Site // nil: unresolved
	graph int   // number of the graph that captured it
}

// MappingUse says how a mapping trace was applied.
type MappingUse struct {
	// Method is how graph-launched work found its launch: "positional" (all in
	// order), "per graph" (each replay in the order of a captured graph with the
	// same kernels), "name" (by canonical name, the weaker way), "none".
	Method           string `json:"method"`
	CapturedLaunches int    `json:"captured_launches"`
	GraphKernels     int    `json:"graph_kernels"`
	// Mapped counts the work that got a source.
	Mapped int `json:"mapped"`
}

// The values of MappingUse.Method.
const (
	MethodPositional = "positional"
	MethodPerGraph   = "per graph"
	MethodName       = "name"
	MethodNone       = "none"
)

// errNoMapping: neither captured launches nor executed work.
var errNoMapping = errors.New("the mapping trace has neither GPU work nor launches recorded during graph capture; record it without graphs, or while graphs are being captured")

// NewMapping reads a mapping trace. Captured launches are calls that name their
// kernel (ROCm) and executed nothing.
func NewMapping(t *trace.Trace, o Options) (*Mapping, error) {
	o.Mapping = nil
	tls, err := ResolveAll(t, o)
	if err != nil {
		return nil, err
	}
	m := &Mapping{}
	for i := range tls[0].Works {
		m.ran = append(m.ran, ranAs(tls[0], &tls[0].Works[i]))
	}
	m.capture(t, o)
	if len(m.ran)+len(m.captured) == 0 {
		return nil, errNoMapping
	}
	return m, nil
}

func ranAs(tl *Timeline, w *Work) mapped {
	e := mapped{name: tl.Names[w.Name].Canonical, op: tl.Ops[w.Op], stage: w.Stage}
	if w.Site >= 0 {
		e.site = &tl.Sites[w.Site]
	}
	return e
}

// capture resolves the launches that executed nothing.
func (m *Mapping) capture(t *trace.Trace, o Options) {
	executed := map[scoped]bool{}
	for _, g := range t.GPU.All() {
		executed[scoped{g.Corr, t.ScopeOf(g.Thread)}] = true
	}
	var rows []int32
	var ends []int64 // ends of captures, in time
	for i, c := range t.Launches.All() {
		switch {
		case c.Kernel != 0 && !executed[scoped{c.Corr, t.ScopeOf(c.Thread)}]:
			rows = append(rows, int32(i))
		case strings.Contains(t.Text(c.Name), "StreamEndCapture"):
			ends = append(ends, c.Start)
		}
	}
	slices.Sort(ends)
	slices.SortFunc(rows, func(a, b int32) int {
		return cmp.Or(cmp.Compare(t.Launches.At(int(a)).Start, t.Launches.At(int(b)).Start), cmp.Compare(a, b))
	})
	r := newResolver(t, o)
	for _, row := range rows {
		c := t.Launches.At(int(row))
		r.queries = append(r.queries, r.question(row, c.Ext, t.ScopeOf(c.Thread)))
	}
	r.answerOps()
	r.answerFrames()
	r.answerStages()
	names := map[trace.NameID]string{}
	for i, row := range rows {
		q, c := &r.queries[i], t.Launches.At(int(row))
		name, known := names[c.Kernel]
		if !known {
			name = kernel.Parse(t.Text(c.Kernel)).Canonical
			names[c.Kernel] = name
		}
		graph, _ := slices.BinarySearch(ends, c.Start)
		e := mapped{name: name, op: t.Text(c.Name), stage: q.stage, graph: graph}
		if q.op >= 0 {
			e.op = t.Text(t.Ops.At(int(q.op)).Name)
		}
		if q.site >= 0 {
			e.site = &r.sites[q.site]
		}
		m.captured = append(m.captured, e)
	}
	for from := 0; from < len(m.captured); {
		to := from + 1
		for to < len(m.captured) && m.captured[to].graph == m.captured[from].graph {
			to++
		}
		m.graphs = append(m.graphs, m.captured[from:to])
		from = to
	}
}

// apply gives sources to the graph-launched work of a timeline, and, where the
// timeline's own trace holds no Python frame, to all other work by name.
func (m *Mapping) apply(tl *Timeline) {
	var graph, direct []int32
	for i := range tl.Works {
		if tl.Works[i].Graph {
			graph = append(graph, int32(i))
		} else if tl.Works[i].Site < 0 && tl.Trace.Frames.Len() == 0 {
			direct = append(direct, int32(i))
		}
	}
	use := &MappingUse{Method: MethodNone, CapturedLaunches: len(m.captured), GraphKernels: len(graph)}
	a := &applier{m: m, tl: tl, sites: map[*Site]int32{}, ops: map[string]int32{}, canonical: byName(m)}
	tl.Sites = slices.Clip(tl.Sites) // shared with other GPUs: append must copy
	tl.Ops = slices.Clip(tl.Ops)
	if len(graph) > 0 {
		switch {
		case a.positional(graph):
			use.Method = MethodPositional
		case a.perGraph(graph):
			use.Method = MethodPerGraph
		case a.named(graph):
			use.Method = MethodName
		}
	}
	if a.named(direct) && use.Method == MethodNone {
		use.Method = MethodName
	}
	for i := range tl.Works {
		if tl.Works[i].Mapped {
			use.Mapped++
		}
	}
	tl.Mapped = use
}

type nameKey struct {
	name  string
	stage Stage // "": any
}

// byName lists the launches of each canonical name in order of time, once for
// each stage and once for all. Executed work comes before captured launches.
func byName(m *Mapping) map[nameKey][]*mapped {
	out := map[nameKey][]*mapped{}
	for _, list := range [][]mapped{m.ran, m.captured} {
		for i := range list {
			e := &list[i]
			if e.site == nil {
				continue
			}
			out[nameKey{e.name, ""}] = append(out[nameKey{e.name, ""}], e)
			if e.stage != "" {
				out[nameKey{e.name, e.stage}] = append(out[nameKey{e.name, e.stage}], e)
			}
		}
	}
	return out
}

// applier writes sources of the mapping trace into one timeline.
type applier struct {
	m         *Mapping
	tl        *Timeline
	sites     map[*Site]int32
	ops       map[string]int32
	canonical map[nameKey][]*mapped
}

func (a *applier) name(work int32) string { return a.tl.Names[a.tl.Works[work].Name].Canonical }

// agree reports whether works and launches have the same names in order.
func (a *applier) agree(works []int32, list []mapped) bool {
	if len(works) != len(list) {
		return false
	}
	for i, w := range works {
		if a.name(w) != list[i].name {
			return false
		}
	}
	return true
}

// positional maps one replay of all that was captured, or several, one to one.
func (a *applier) positional(works []int32) bool {
	n := len(a.m.captured)
	if n == 0 || len(works)%n != 0 {
		return false
	}
	for from := 0; from < len(works); from += n {
		if !a.agree(works[from:from+n], a.m.captured) {
			return false
		}
	}
	for i, w := range works {
		a.set(w, &a.m.captured[i%n])
	}
	return true
}

// perGraph maps each graph launch to a captured graph with the same kernels in
// the same order. Of several such graphs the replays take turns. It changes
// nothing unless every launch finds one.
func (a *applier) perGraph(works []int32) bool {
	byKernels := map[string][][]mapped{}
	for _, g := range a.m.graphs {
		byKernels[joined(g, func(e mapped) string { return e.name })] = append(byKernels[joined(g, func(e mapped) string { return e.name })], g)
	}
	byLaunch := map[int32][]int32{}
	var order []int32
	for _, w := range works {
		l := a.tl.Works[w].Launch
		if byLaunch[l] == nil {
			order = append(order, l)
		}
		byLaunch[l] = append(byLaunch[l], w)
	}
	turn := map[string]int{}
	pairs := make([][]mapped, len(order))
	for i, l := range order {
		key := joined(byLaunch[l], a.name)
		graphs := byKernels[key]
		if len(graphs) == 0 {
			return false
		}
		pairs[i] = graphs[turn[key]%len(graphs)]
		turn[key]++
	}
	for i, l := range order {
		for j, w := range byLaunch[l] {
			a.set(w, &pairs[i][j])
		}
	}
	return true
}

func joined[T any](list []T, name func(T) string) string {
	var b strings.Builder
	for _, e := range list {
		b.WriteString(name(e))
		b.WriteByte('\n')
	}
	return b.String()
}

// named maps by canonical name, launches of the same stage before others. Of
// several launches of one name the works take turns, in order of time.
func (a *applier) named(works []int32) bool {
	turn := map[nameKey]int{}
	any := false
	for _, w := range works {
		key := nameKey{a.name(w), a.tl.Works[w].Stage}
		list := a.canonical[key]
		if len(list) == 0 {
			key.stage = ""
			list = a.canonical[key]
		}
		if len(list) == 0 {
			continue
		}
		a.set(w, list[turn[key]%len(list)])
		turn[key]++
		any = true
	}
	return any
}

func (a *applier) set(work int32, e *mapped) {
	w := &a.tl.Works[work]
	if e.op != "" {
		row, known := a.ops[e.op]
		if !known {
			row = int32(len(a.tl.Ops))
			a.ops[e.op] = row
			a.tl.Ops = append(a.tl.Ops, e.op)
		}
		w.Op = row
	}
	if e.site != nil {
		row, known := a.sites[e.site]
		if !known {
			row = int32(len(a.tl.Sites))
			a.sites[e.site] = row
			a.tl.Sites = append(a.tl.Sites, *e.site)
		}
		w.Site = row
	}
	w.Mapped = true
}

// Join puts the traces of two mappings together; either may be nil.
func (m *Mapping) Join(other *Mapping) *Mapping {
	switch {
	case m == nil:
		return other
	case other == nil:
		return m
	}
	m.captured = append(m.captured, other.captured...)
	m.graphs = append(m.graphs, other.graphs...)
	m.ran = append(m.ran, other.ran...)
	return m
}
