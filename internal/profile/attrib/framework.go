package attrib

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/profile/trace"
)

// Unknown is the engine of a trace that shows none.
const Unknown = "unknown"

// Detection says whose trace it is and what says so.
type Detection struct {
	Engine   string   // id; "unknown" without evidence
	Evidence []string // one sentence each, the deciding one first
}

// detect names the engine: by the majority of Python frames that lie in engines'
// source folders. Only where no frame does, other traces of an engine count: keys
// beside the events, names of processes, marks of forward passes.
func detect(t *trace.Trace, src *sources, m *marks, frames []int32) Detection {
	counts := make([]int, len(src.engines))
	total := 0
	for id, n := range frames {
		total += int(n)
		if n == 0 {
			continue
		}
		if p := src.of(t, trace.NameID(id)); p.engine >= 0 {
			counts[p.engine] += int(n)
		}
	}
	order := byCount(counts)
	if len(order) == 0 {
		return weakEvidence(t, src.engines, m)
	}
	d := Detection{Engine: string(src.engines[order[0]].ID)}
	for _, i := range order {
		e := src.engines[i]
		d.Evidence = append(d.Evidence, fmt.Sprintf("%d of %d Python frames lie in the source folders of %s (%s)", counts[i], total, e.Title, folders(e)))
	}
	return d
}

// byCount are the rows with a count, most first; ties in the order of the set.
func byCount(counts []int) []int {
	var order []int
	for i, n := range counts {
		if n > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(counts[b], counts[a]) })
	return order
}

func folders(e *engine.Engine) string {
	names := make([]string, len(e.Trace.Folders))
	for i, f := range e.Trace.Folders {
		names[i] = f.Path
	}
	return strings.Join(names, ", ")
}

// weakEvidence scores what is left when no Python frame helps.
func weakEvidence(t *trace.Trace, engines engine.Set, m *marks) Detection {
	counts := make([]int, len(engines))
	says := make([][]string, len(engines))
	for i, e := range engines {
		for _, key := range e.Trace.Metadata {
			if slices.Contains(t.Meta.Keys, key) {
				counts[i] += 3
				says[i] = append(says[i], "the file has the key "+key)
			}
		}
		for _, prefix := range e.Trace.Processes {
			if p, found := processNamed(t, prefix); found {
				counts[i] += 2
				says[i] = append(says[i], "a process is called "+p)
			}
		}
	}
	for _, r := range m.cpu {
		if l := m.at(r); l.engine >= 0 && counts[l.engine] < 1 {
			counts[l.engine]++
			says[l.engine] = append(says[l.engine], fmt.Sprintf("a forward pass is marked %q", t.Text(t.Annotations.At(int(r)).Name)))
		}
	}
	order := byCount(counts)
	if len(order) == 0 {
		return Detection{Engine: Unknown}
	}
	d := Detection{Engine: string(engines[order[0]].ID)}
	for _, i := range order {
		for _, s := range says[i] {
			d.Evidence = append(d.Evidence, s+" ("+engines[i].Title+"; no Python frame of any engine)")
		}
	}
	return d
}

func processNamed(t *trace.Trace, prefix string) (string, bool) {
	for _, p := range t.Procs {
		if strings.HasPrefix(strings.ToLower(p.Name), prefix) {
			return p.Name, true
		}
	}
	return "", false
}
