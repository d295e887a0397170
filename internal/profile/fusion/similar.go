package fusion

import (
	"cmp"
	"slices"

	"llmdyno/internal/profile/attrib"
)

// Similarity is how close windows are to a catalog entry that they do not match.
type Similarity string

// The similarities. High: all roles are played as the entry wants them, but it is
// for another engine, model or size. Medium: it is the trace's engine's, and all
// roles are played, but not one directly after another. Low: one role of at
// least three is missing.
const (
	High   Similarity = "high"
	Medium Similarity = "medium"
	Low    Similarity = "low"
)

// Note says that windows resemble an entry. It is a hint for a reader, never a
// finding.
type Note struct {
	Stage      attrib.Stage `json:"stage"`
	Pattern    string       `json:"pattern"`
	Name       string       `json:"name"`
	Similarity Similarity   `json:"similarity"`
	Windows    int          `json:"windows"`
	Related    attrib.Nanos `json:"related_us"`
	Share      float64      `json:"share_pct"`
	Evidence   []string     `json:"evidence"`
	Reason     string       `json:"reason"` // why it is no match
	Sources    []string     `json:"sources"`
}

// similar notes the windows that no finding holds, best first: of one window only
// the closest entry is noted.
func (m *matcher) similar() []Note {
	out := []Note{}
	taken := map[int][][]int32{}
	for _, level := range []Similarity{High, Medium, Low} {
		for _, i := range m.candidates(level) {
			out = append(out, m.notes(i, level, taken)...)
		}
	}
	return out
}

// candidates are the patterns that can be similar at a level, the most specific
// first.
func (m *matcher) candidates(level Similarity) []int {
	var list []int
	for i := range m.patterns {
		p := &m.patterns[i]
		applies := p.own && p.closed == ""
		fits := false
		switch level {
		case High:
			fits = !applies && !p.elsewhere && len(p.split) > 1 && m.missing(i) == 0
		case Medium:
			fits = applies && p.Adjacent && m.missing(i) == 0
		case Low:
			fits = applies && !p.Adjacent && len(p.split) > 2 && m.missing(i) < 2
		}
		if fits {
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(a, b int) int {
		pa, pb := &m.patterns[a], &m.patterns[b]
		return cmp.Or(cmp.Compare(btoi(pb.own), btoi(pa.own)), moreSpecific(pa, pb))
	})
	return list
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (m *matcher) notes(i int, level Similarity, taken map[int][][]int32) []Note {
	p := &m.patterns[i]
	byStage := map[attrib.Stage][]window{}
	for s := range m.segs {
		works, _ := m.near(i, m.segs[s], level)
		if works == nil || m.known(s, works, taken) {
			continue
		}
		stage := m.segs[s].queue.stage
		byStage[stage] = append(byStage[stage], window{s, works})
	}
	var out []Note
	for _, stage := range attrib.Stages() {
		windows := byStage[stage]
		if len(windows) < minWindows {
			continue
		}
		n := Note{Stage: stage, Pattern: p.ID, Name: p.Name, Similarity: level, Windows: len(windows), Reason: p.closed}
		var works []int32
		for _, w := range windows {
			works = append(works, w.works...)
		}
		n.Evidence, _, n.Related = m.evidence(works)
		if total := m.totals[stage].Total; total > 0 {
			n.Share = 100 * float64(n.Related) / float64(total)
		}
		if n.Share < max(m.ctx.MinShare, p.MinShare) {
			continue
		}
		for _, w := range windows {
			taken[w.seg] = append(taken[w.seg], w.works)
		}
		for _, s := range p.Sources {
			n.Sources = append(n.Sources, s.String())
		}
		_, reason := m.near(i, m.segs[windows[0].seg], level)
		n.Reason = cmp.Or(n.Reason, reason)
		out = append(out, n)
	}
	return out
}

// known reports whether a finding or a closer note holds these kernels.
func (m *matcher) known(seg int, works []int32, taken map[int][][]int32) bool {
	for _, c := range m.claimed[seg] {
		if subset(works, c.works) {
			return true
		}
	}
	for _, w := range taken[seg] {
		if subset(works, w) {
			return true
		}
	}
	return false
}

// near are the kernels of a segment that come close to a pattern, with the reason
// why they are no window of it.
func (m *matcher) near(i int, s segment, level Similarity) ([]int32, string) {
	p := &m.patterns[i]
	switch level {
	case High:
		reason := "it is of other engines"
		if p.own {
			reason = p.closed
		}
		return m.window(i, s), reason
	case Medium:
		if m.runs(i, s) != nil {
			return nil, ""
		}
		return m.set(i, s), "other kernels run between its parts, or the order is another"
	}
	if m.window(i, s) != nil || !m.surrounded(p, s) {
		return nil, ""
	}
	for k := range p.split {
		if p.split[k].kind.barrier {
			continue
		}
		rest := slices.Concat(p.split[:k], p.split[k+1:])
		if works := m.setOf(rest, s); works != nil {
			return works, "no kernel plays the role " + p.split[k].name
		}
	}
	return nil, ""
}
