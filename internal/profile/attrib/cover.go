package attrib

import (
	"cmp"
	"slices"

	"llmdyno/internal/profile/trace"
)

// probe asks which spans of a group (a thread, a process) are active at a time.
type probe struct {
	at    int64
	group int32
	id    int32 // whose question it is
}

// active is a span that at least one probe falls into.
type active struct {
	start, end int64
	group, row int32
}

// contains reports whether a time falls into the span, both ends included.
func (a active) contains(at int64) bool { return a.start <= at && at <= a.end }

// sortSpans puts spans in order of group and start, outer ones first.
func sortSpans(spans []active) {
	slices.SortFunc(spans, func(a, b active) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end), cmp.Compare(a.row, b.row))
	})
}

// probes are questions sorted by group and time.
type probes struct {
	list   []probe
	groups [][2]int32 // group → first and last + 1 of its probes
	hint   []int32    // group → where the last span began among them
}

func newProbes(list []probe, groups int) *probes {
	slices.SortFunc(list, func(a, b probe) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id))
	})
	p := &probes{list: list, groups: make([][2]int32, groups), hint: make([]int32, groups)}
	for i, q := range list {
		g := &p.groups[q.group]
		if g[1] == 0 {
			g[0], p.hint[q.group] = int32(i), int32(i)
		}
		g[1] = int32(i + 1)
	}
	return p
}

// hit reports whether any probe of the group falls into [start, end]. Spans that
// come in order of time are answered without a search.
func (p *probes) hit(group int32, start, end int64) bool {
	lo, hi := p.groups[group][0], p.groups[group][1]
	if lo == hi {
		return false
	}
	at := p.hint[group]
	if (at > lo && p.list[at-1].at >= start) || (at < hi && p.list[at].at < start) {
		n, _ := slices.BinarySearchFunc(p.list[lo:hi], start, func(q probe, t int64) int {
			if q.at < t {
				return -1
			}
			return 1
		})
		at = lo + int32(n)
		p.hint[group] = at
	}
	return at < hi && p.list[at].at <= end
}

// answer goes over the probes by group and time and hands each the spans that
// began by then, outermost first. Among them may be some that have ended:
// [active.contains] tells. The spans must be those that hit chose; answer
// sorts them. Time: n log n in spans plus, per probe, the depth of the stack.
func (p *probes) answer(spans []active, visit func(q probe, stack []active)) {
	sortSpans(spans)
	var stack []active
	next, limit := 0, 0
	for i, q := range p.list {
		if i == 0 || q.group != p.list[i-1].group {
			stack, limit = stack[:0], 64
			for next < len(spans) && spans[next].group < q.group {
				next++
			}
		}
		for ; next < len(spans) && spans[next].group == q.group && spans[next].start <= q.at; next++ {
			for len(stack) > 0 && stack[len(stack)-1].end < spans[next].start {
				stack = stack[:len(stack)-1]
			}
			stack = append(stack, spans[next])
		}
		// Spans that cross instead of nesting bury ended ones: clear them out
		// whenever the stack has doubled.
		if len(stack) > limit {
			stack = slices.DeleteFunc(stack, func(a active) bool { return a.end < q.at })
			limit = 2*len(stack) + 64
		}
		visit(q, stack)
	}
}

// framesAt answers probes by thread and time with the Python frames around them.
func framesAt(t *trace.Trace, list []probe, visit func(q probe, stack []active)) {
	if len(list) == 0 || t.Frames.Len() == 0 {
		return
	}
	p := newProbes(list, len(t.Threads))
	var spans []active
	for i, f := range t.Frames.All() {
		if p.hit(int32(f.Thread), f.Start, f.End()) {
			spans = append(spans, active{start: f.Start, end: f.End(), group: int32(f.Thread), row: int32(i)})
		}
	}
	p.answer(spans, visit)
}
