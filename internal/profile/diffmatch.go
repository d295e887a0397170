package profile

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/fusion"
	"llmdyno/internal/profile/kernel"
)

// matchKernels pairs the kernels of two sides, the surest way first. What no way
// pairs stands alone.
func matchKernels(x, y *stageData, delta attrib.Nanos) []KernelDiff {
	m := &matching{x: x, y: y, a: kernelLeaves(x), b: kernelLeaves(y)}
	m.by(MatchName, func(l *leaf) string { return nameOf(*l) })
	m.by(MatchShape, shapeOf)
	m.by(MatchFamily, familyOf)
	m.lonely()
	m.by(MatchRest, func(l *leaf) string {
		if l.row == nil {
			return l.what
		}
		return ""
	})
	for _, l := range m.a {
		m.add(MatchOnlyA, []*leaf{l}, nil)
	}
	for _, l := range m.b {
		m.add(MatchOnlyB, nil, []*leaf{l})
	}
	for i := range m.out {
		m.out[i].Share = shareOf(m.out[i].Delta, delta)
	}
	slices.SortStableFunc(m.out, func(a, b KernelDiff) int {
		return cmp.Or(-cmp.Compare(abs(a.Delta), abs(b.Delta)), cmp.Compare(a.Class, b.Class), cmp.Compare(a.firstName(), b.firstName()))
	})
	return m.out
}

// firstName orders differences of equal size; it is the same when A and B change
// places.
func (d KernelDiff) firstName() string {
	name := ""
	for _, s := range []*KernelSide{d.A, d.B} {
		if s == nil {
			continue
		}
		for _, n := range s.Names {
			if name == "" || n < name {
				name = n
			}
		}
	}
	return name
}

// matching is the work of pairing; a and b are what is left.
type matching struct {
	x, y *stageData
	a, b []*leaf
	out  []KernelDiff
}

func kernelLeaves(s *stageData) []*leaf {
	var out []*leaf
	for i := range s.leaves {
		if s.leaves[i].kind == KindKernels {
			out = append(out, &s.leaves[i])
		}
	}
	return out
}

// by pairs kernels of one class whose keys are equal; "" is no key.
func (m *matching) by(how Match, key func(*leaf) string) {
	type group struct{ a, b []*leaf }
	groups, order := map[string]*group{}, []string{}
	collect := func(list []*leaf, add func(*group, *leaf)) {
		for _, l := range list {
			k := key(l)
			if k == "" {
				continue
			}
			k = l.what + "\x00" + k
			if groups[k] == nil {
				groups[k] = &group{}
				order = append(order, k)
			}
			add(groups[k], l)
		}
	}
	collect(m.a, func(g *group, l *leaf) { g.a = append(g.a, l) })
	collect(m.b, func(g *group, l *leaf) { g.b = append(g.b, l) })
	done := map[*leaf]bool{}
	for _, k := range order {
		g := groups[k]
		if len(g.a) == 0 || len(g.b) == 0 {
			continue
		}
		m.add(how, g.a, g.b)
		for _, l := range slices.Concat(g.a, g.b) {
			done[l] = true
		}
	}
	m.drop(done)
}

func (m *matching) drop(done map[*leaf]bool) {
	m.a = slices.DeleteFunc(m.a, func(l *leaf) bool { return done[l] })
	m.b = slices.DeleteFunc(m.b, func(l *leaf) bool { return done[l] })
}

// lonely pairs the last kernels of a class where one is left on each side and
// nothing without a name is.
func (m *matching) lonely() {
	left := map[string][2][]*leaf{}
	for side, list := range [][]*leaf{m.a, m.b} {
		for _, l := range list {
			g := left[l.what]
			g[side] = append(g[side], l)
			left[l.what] = g
		}
	}
	done := map[*leaf]bool{}
	for _, l := range slices.Clone(m.a) {
		g := left[l.what]
		if len(g[0]) == 1 && len(g[1]) == 1 && g[0][0].row != nil && g[1][0].row != nil {
			m.add(MatchClass, g[0], g[1])
			done[g[0][0]], done[g[1][0]] = true, true
		}
	}
	m.drop(done)
}

func (m *matching) add(how Match, a, b []*leaf) {
	d := KernelDiff{Match: how, A: sideOf(m.x, a), B: sideOf(m.y, b)}
	if len(a) > 0 {
		d.Class = kernel.Class(a[0].what)
		d.Delta -= d.A.Total
	}
	if len(b) > 0 {
		d.Class = kernel.Class(b[0].what)
		d.Delta += d.B.Total
	}
	if (how == MatchOnlyA || how == MatchOnlyB) && slices.Concat(a, b)[0].row == nil {
		how = MatchRest
		d.Match = how
	}
	m.out = append(m.out, d)
}

// maxSideLocations bounds the places that are listed for a matched kernel.
const maxSideLocations = 4

func sideOf(s *stageData, list []*leaf) *KernelSide {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b *leaf) int { return cmp.Compare(b.ns, a.ns) })
	out := &KernelSide{Names: []string{}, Short: []string{}, Locations: []string{}}
	launches, ns := 0, int64(0)
	for _, l := range list {
		out.Total += l.unit
		launches += l.launches
		ns += l.ns
		if l.row == nil {
			continue
		}
		out.Names = append(out.Names, l.row.Name)
		out.Short = append(out.Short, l.row.Short)
		if at := l.row.Location; at != attrib.Unresolved && at != "" && !slices.Contains(out.Locations, at) && len(out.Locations) < maxSideLocations {
			out.Locations = append(out.Locations, at)
		}
	}
	out.Launches = s.per(launches)
	if launches > 0 {
		out.Mean = attrib.Nanos(roundedQuotient(ns, int64(launches)))
	}
	return out
}

// shapeOf is what a kernel of a library computes: the work, the data types and the
// tile that its name gives. "" where it gives no tile.
func shapeOf(l *leaf) string {
	if l.row == nil || l.row.Category == kernel.Memory {
		return ""
	}
	d := l.row.Detail
	if d == nil && len(l.row.RawNames) > 0 {
		detail := kernel.Describe(l.row.RawNames[0])
		d = &detail
	}
	if d == nil || d.Tile == "" {
		return ""
	}
	return strings.Join([]string{d.Work, d.Types, d.Layout, d.Tile, strconv.Itoa(d.HeadDim)}, "\x00")
}

// familyOf is the short name in lower case without numbers and separators:
// tiles, versions and running numbers do not part a family.
func familyOf(l *leaf) string {
	if l.row == nil {
		return ""
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		case r >= '0' && r <= '9', r == '_', r == ' ', r == '-':
			return -1
		}
		return r
	}, l.row.Short)
}

// compareFusions lists the fusions that are on in one side only.
func compareFusions(c *fusion.Catalog, a, b DiffSide, s StageDiff) []FusionDiff {
	out := []FusionDiff{}
	if s.In != "both" {
		return out
	}
	x, y := fusionsOf(c, a, s.Stage, s.A.Units), fusionsOf(c, b, s.Stage, s.B.Units)
	var what []string
	for k := range x {
		what = append(what, k)
	}
	for k := range y {
		if x[k] == nil {
			what = append(what, k)
		}
	}
	slices.Sort(what)
	for _, k := range what {
		on := func(f *FusionSide) bool { return f != nil && f.State == fusion.StateActive }
		switch f := (FusionDiff{What: k, A: x[k], B: y[k]}); {
		case on(f.A) && !on(f.B):
			f.Lacks = "b"
			out = append(out, f)
		case on(f.B) && !on(f.A):
			f.Lacks = "a"
			out = append(out, f)
		}
	}
	return out
}

// fusionsOf are the fusions of a stage by what they fuse. A fusion whose parts also
// run apart in places is on.
func fusionsOf(c *fusion.Catalog, side DiffSide, stage attrib.Stage, units int) map[string]*FusionSide {
	out := map[string]*FusionSide{}
	sums := map[string]attrib.Nanos{}
	for _, f := range side.tables().Fusion {
		if f.Stage != stage {
			continue
		}
		k := whatFuses(c, f.Pattern, side.Document.Framework)
		s := out[k]
		if s == nil || s.State != fusion.StateActive && f.State == fusion.StateActive {
			s = &FusionSide{State: f.State, Name: f.Name, Toggle: f.Toggle, Patterns: []string{}, Locations: f.Locations}
			out[k], sums[k] = s, 0
		}
		if f.State != s.State {
			continue
		}
		s.Patterns = append(s.Patterns, f.Pattern)
		s.Occurrences += float64(f.Occurrences) / float64(units)
		sums[k] += f.Related
		s.Related = attrib.Nanos(roundedQuotient(int64(sums[k]), int64(units)))
	}
	return out
}

// whatFuses names what a pattern fuses, alike for all engines: the roles of its
// parts, or without such its id without the engine.
func whatFuses(c *fusion.Catalog, id, framework string) string {
	i := slices.IndexFunc(c.Patterns, func(p fusion.Pattern) bool { return p.ID == id })
	if i >= 0 && len(c.Patterns[i].Split) > 0 {
		roles := make([]string, len(c.Patterns[i].Split))
		for at, r := range c.Patterns[i].Split {
			roles[at] = r.Role
		}
		return strings.Join(roles, " + ")
	}
	if i >= 0 && len(c.Patterns[i].Active.Roles) > 0 {
		return strings.Join(c.Patterns[i].Active.Roles, " or ")
	}
	return strings.TrimPrefix(id, framework+"-")
}
