package fusion

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/kernel"
	"llmdyno/internal/profile/trace"
)

// Context is what is known of a run beside its trace.
type Context struct {
	Engine string // engine id; "" = as the timeline says
	Model  string // name or path of the model; "" = told by the source files that launched work
	TP     int    // tensor-parallel size; 0 = told by the trace
	// TPInferred: TP is no setting but the size of some collective's group.
	TPInferred bool
	MinShare   float64 // percent of a stage's GPU time that a finding must have
}

// State is whether a fusion is on.
type State string

// The states.
const (
	StateActive State = "active" // kernels that do the fused work were seen
	StateSplit  State = "split"  // its parts ran as kernels of their own
)

// Confidence of a finding.
type Confidence string

// The confidences. Confirmed: seen by identity, or counted in windows with all
// gates known to hold. Candidate: counted, but something about the run is only
// inferred, or the fusion is not in a released engine.
const (
	Confirmed Confidence = "confirmed"
	Candidate Confidence = "candidate"
)

// minWindows is in how many segments a split form must be seen: one alone may
// be chance. Source: rule R12 of the reference figures.
const minWindows = 2

// Finding is one pattern in one stage.
type Finding struct {
	Stage   attrib.Stage `json:"stage"`
	Pattern string       `json:"pattern"` // id in the catalog
	Name    string       `json:"name"`
	State   State        `json:"state"`
	// Occurrences are launches of active kernels, or windows: segments in which
	// all roles were played.
	Occurrences int          `json:"occurrences"`
	Related     attrib.Nanos `json:"related_us"` // time of those kernels only
	Share       float64      `json:"share_pct"`  // of the stage's GPU time
	Evidence    []string     `json:"evidence"`   // canonical names, in the order of their first launch
	Locations   []string     `json:"locations"`  // where they were launched, most time first
	Confidence  Confidence   `json:"confidence"`
	Basis       string       `json:"basis"`            // what the confidence rests on
	Action      string       `json:"action"`           // what to do
	Toggle      string       `json:"toggle,omitempty"` // what switches the fusion on
	Origin      string       `json:"origin"`
	Hazard      string       `json:"hazard,omitempty"` // what could be mistaken for it
	Sources     []string     `json:"sources"`
	Covers      []string     `json:"covers,omitempty"` // less specific patterns with the same windows
}

const (
	maxEvidence  = 8
	maxLocations = 4
)

// Match finds the patterns of the timeline's engine: per stage the split forms
// first, most time first, then what is on already. A trace of an unknown engine
// has none.
func (c *Catalog) Match(tl *attrib.Timeline, ctx Context) []Finding {
	found, _ := c.Find(tl, ctx)
	return found
}

// Find is [Catalog.Match] with the windows that resemble an entry beside what was
// found.
func (c *Catalog) Find(tl *attrib.Timeline, ctx Context) ([]Finding, []Note) {
	m := newMatcher(c, tl, ctx)
	if m == nil {
		return []Finding{}, []Note{}
	}
	found := m.find()
	return found, m.similar()
}

func (m *matcher) find() []Finding {
	out := append(m.active(), m.split()...)
	order := attrib.Stages()
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.Stage), slices.Index(order, b.Stage)),
			-cmp.Compare(a.State, b.State), // split before active
			cmp.Compare(b.Related, a.Related), cmp.Compare(a.Pattern, b.Pattern))
	})
	return out
}

// compiled is a pattern that may apply, with its gates answered.
type compiled struct {
	*Pattern
	kernels, ops []word
	split        []compiledRole
	own          bool     // a pattern of the trace's engine
	closed       string   // why a gate does not hold; "" = all hold
	elsewhere    bool     // it is for other models than this one, which is known
	doubts       []string // what is only inferred
}

// traits are what a kernel is to the patterns, told once for each pair of name
// and operator.
type traits struct {
	identity
	active []bool // by matcher.patterns
	// fused: it is the fused form of a pattern with several roles, so that it
	// plays none of them.
	fused bool
	plays []bool // by compiledRole.slot
}

type matcher struct {
	tl       *attrib.Timeline
	ctx      Context
	patterns []compiled
	at       []*traits // by rows of Works
	played   []bool    // by compiledRole.slot: some kernel plays it
	totals   map[attrib.Stage]attrib.StageRow
	segs     []segment
	// claimed are the windows of split findings, by segment.
	claimed map[int][]claim
}

func newMatcher(c *Catalog, tl *attrib.Timeline, ctx Context) *matcher {
	ctx.Engine = cmp.Or(ctx.Engine, tl.Engine)
	if ctx.Engine == Unknown || ctx.Engine == "" || len(tl.Works) == 0 {
		return nil
	}
	m := &matcher{tl: tl, ctx: ctx, totals: attrib.StageTotals(tl), claimed: map[int][]claim{}}
	g := readGates(tl, ctx)
	for i := range c.Patterns {
		p := &c.Patterns[i]
		k := compiled{Pattern: p, kernels: compileAll(p.Active.Kernels), ops: compileAll(p.Active.Ops), own: of(p.Engines, ctx.Engine)}
		for _, r := range p.Split {
			k.split = append(k.split, compiledRole{name: r.Role, kind: roles[r.Role], words: compileAll(r.Words), slot: len(m.played)})
			m.played = append(m.played, false)
		}
		k.closed, k.doubts = g.ask(p)
		k.elsewhere = len(g.models) > 0 && g.model(p.Models) != ""
		m.patterns = append(m.patterns, k)
	}
	m.readTraits()
	for _, q := range queues(tl) {
		m.segs = append(m.segs, m.segments(q)...)
	}
	return m
}

// of is what a piece of work is to the patterns.
func (m *matcher) of(w int32) *traits { return m.at[w] }

// readTraits tells for every piece of work what it is, once for each name with
// each operator.
func (m *matcher) readTraits() {
	known := map[[2]int32]*traits{}
	m.at = make([]*traits, len(m.tl.Works))
	for i := range m.tl.Works {
		w := &m.tl.Works[i]
		key := [2]int32{w.Name, w.Op}
		if known[key] == nil {
			known[key] = m.traitsOf(w)
		}
		m.at[i] = known[key]
	}
}

func (m *matcher) traitsOf(w *attrib.Work) *traits {
	name := &m.tl.Names[w.Name]
	t := &traits{identity: identity{
		canonical: name.Canonical, class: name.Class, name: cut(name.Canonical),
		copied: m.tl.Trace.GPU.At(int(w.Row)).Cat != trace.CatKernel,
	}}
	if w.Op != 0 {
		t.op = cut(m.tl.Ops[w.Op])
	}
	t.active = make([]bool, len(m.patterns))
	for i := range m.patterns {
		p := &m.patterns[i]
		t.active[i] = p.own && p.closed == "" && p.isActive(&t.identity)
		t.fused = t.fused || t.active[i] && len(p.split) > 1
	}
	t.plays = make([]bool, len(m.played))
	for i := range m.patterns {
		split := m.patterns[i].split
		for k := range split {
			r := &split[k]
			part := !t.fused || r.name == string(kernel.Norm) && split[0].kind.barrier
			t.plays[r.slot] = part && !t.active[i] && r.plays(&t.identity)
			m.played[r.slot] = m.played[r.slot] || t.plays[r.slot]
		}
	}
	return t
}

func (p *compiled) isActive(k *identity) bool {
	if k.copied {
		return false // copies and fills are what an operator does beside its work
	}
	for _, role := range p.Active.Roles {
		if kind := roles[role]; slices.Contains(kind.classes, k.class) && kind.test(k) {
			return true
		}
	}
	return anyIn(p.kernels, k.name) || anyIn(p.ops, k.op)
}

// missing is how many roles of a pattern no kernel of the timeline plays.
func (m *matcher) missing(pattern int) int {
	n := 0
	for _, r := range m.patterns[pattern].split {
		if !m.played[r.slot] {
			n++
		}
	}
	return n
}

// active finds the patterns that are on.
func (m *matcher) active() []Finding {
	type key struct {
		stage   attrib.Stage
		pattern int
	}
	works := map[key][]int32{}
	for w := range m.tl.Works {
		for i, is := range m.of(int32(w)).active {
			if is {
				k := key{m.tl.Works[w].Stage, i}
				works[k] = append(works[k], int32(w))
			}
		}
	}
	var out []Finding
	for k, list := range works {
		f := m.finding(&m.patterns[k.pattern], StateActive, k.stage, list)
		f.Occurrences = len(list)
		if f.Share >= m.ctx.MinShare {
			out = append(out, f)
		}
	}
	return out
}

// window is one segment in which all roles of a pattern were played.
type window struct {
	seg   int
	works []int32
}

// claim is a window of a finding, which less specific patterns leave alone.
type claim struct {
	pattern *compiled
	finding *Finding
	works   []int32
}

// split finds the patterns whose parts run apart: the most specific first, so
// that a broad one takes only what an exact one has left.
func (m *matcher) split() []Finding {
	order := make([]int, 0, len(m.patterns))
	for i := range m.patterns {
		if p := &m.patterns[i]; p.own && p.closed == "" && len(p.split) > 1 && m.missing(i) == 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return moreSpecific(&m.patterns[a], &m.patterns[b]) })
	var out []*Finding
	for _, i := range order {
		byStage := map[attrib.Stage][]window{}
		for s := range m.segs {
			if works := m.window(i, m.segs[s]); works != nil && !m.covered(i, s, works) {
				stage := m.segs[s].queue.stage
				byStage[stage] = append(byStage[stage], window{s, works})
			}
		}
		for _, stage := range attrib.Stages() {
			if f := m.report(&m.patterns[i], stage, byStage[stage]); f != nil {
				out = append(out, f)
			}
		}
	}
	found := make([]Finding, len(out))
	for i, f := range out {
		slices.Sort(f.Covers)
		found[i] = *f
	}
	return found
}

// report makes a finding of enough windows, and claims them.
func (m *matcher) report(p *compiled, stage attrib.Stage, windows []window) *Finding {
	if len(windows) < minWindows {
		return nil
	}
	var works []int32
	for _, w := range windows {
		works = append(works, w.works...)
	}
	f := m.finding(p, StateSplit, stage, works)
	f.Occurrences = len(windows)
	if f.Share < max(m.ctx.MinShare, p.MinShare) {
		return nil
	}
	f.Basis = fmt.Sprintf("%d windows with all %d roles on kernels of their own", len(windows), len(p.split))
	if len(p.doubts) > 0 {
		f.Basis += "; " + strings.Join(p.doubts, "; ")
	}
	for _, w := range windows {
		m.claimed[w.seg] = append(m.claimed[w.seg], claim{p, &f, w.works})
	}
	return &f
}

// covered reports whether a more specific finding holds this window already,
// and notes so there.
func (m *matcher) covered(pattern, seg int, works []int32) bool {
	for _, c := range m.claimed[seg] {
		if slices.Contains(c.pattern.Subsumes, m.patterns[pattern].ID) || subset(works, c.works) {
			if !slices.Contains(c.finding.Covers, m.patterns[pattern].ID) {
				c.finding.Covers = append(c.finding.Covers, m.patterns[pattern].ID)
			}
			return true
		}
	}
	return false
}

func subset(part, whole []int32) bool {
	return !slices.ContainsFunc(part, func(w int32) bool { return !slices.Contains(whole, w) })
}

// moreSpecific orders patterns: more roles, then without doubts, what is released,
// then more gates, then priority.
func moreSpecific(a, b *compiled) int {
	return cmp.Or(
		cmp.Compare(len(b.split), len(a.split)),
		cmp.Compare(len(a.doubts), len(b.doubts)),
		cmp.Compare(btoi(a.Origin == Inflight), btoi(b.Origin == Inflight)),
		cmp.Compare(b.gates(), a.gates()),
		cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.ID, b.ID))
}

// gates is how many conditions and words a pattern sets.
func (p *compiled) gates() int {
	n := 0
	for _, set := range []bool{p.TP > 1, len(p.Models.Include) > 0, p.GPU != "", p.Adjacent} {
		if set {
			n++
		}
	}
	for _, r := range p.split {
		n += min(len(r.words), 1)
	}
	return n
}

// window are the kernels of a segment that play the roles of a pattern; nil if
// not all are played.
func (m *matcher) window(pattern int, s segment) []int32 {
	p := &m.patterns[pattern]
	if !m.surrounded(p, s) {
		return nil
	}
	if p.Adjacent {
		return m.runs(pattern, s)
	}
	return m.set(pattern, s)
}

// surrounded holds the roles that say what must follow their segment: the norms of
// Q and K run before attention, the choice of experts before their products.
func (m *matcher) surrounded(p *compiled, s segment) bool {
	for _, r := range p.split {
		var before []kernel.Class
		switch r.name {
		case roleQKNorm:
			before = []kernel.Class{kernel.Attention, kernel.HybridLinear}
		case roleRouter, roleSelect:
			before = []kernel.Class{kernel.MoE}
		default:
			continue
		}
		if s.end() < 0 || !slices.Contains(before, m.of(s.queue.works[s.end()]).class) {
			return false
		}
	}
	return true
}

// runs are the kernels of a segment, its barriers included, that play the roles
// one directly after another.
func (m *matcher) runs(pattern int, s segment) []int32 {
	split := m.patterns[pattern].split
	first, last := max(s.begin(), 0), s.to-1
	if s.end() >= 0 {
		last = s.end()
	}
	var out []int32
	for i := first; i+len(split) <= last+1; {
		fits := true
		for k := range split {
			if !m.of(s.queue.works[i+k]).plays[split[k].slot] {
				fits = false
				break
			}
		}
		if !fits {
			i++
			continue
		}
		out = append(out, s.queue.works[i:i+len(split)]...)
		i += len(split)
	}
	return out
}

// set are the kernels of a segment that play the roles, wherever in it, with the
// barriers around it where the first or the last role is one.
func (m *matcher) set(pattern int, s segment) []int32 {
	return m.setOf(m.patterns[pattern].split, s)
}

func (m *matcher) setOf(split []compiledRole, s segment) []int32 {
	var before, after []int32
	if split[0].kind.barrier {
		if s.begin() < 0 || !m.of(s.queue.works[s.begin()]).plays[split[0].slot] {
			return nil
		}
		before, split = s.queue.works[s.begin():s.from], split[1:]
	}
	if n := len(split) - 1; split[n].kind.barrier {
		if s.end() < 0 || !m.of(s.queue.works[s.end()]).plays[split[n].slot] {
			return nil
		}
		after, split = s.queue.works[s.to:s.to+1], split[:n]
	}
	out := slices.Clone(before)
	inner := s.queue.works[s.from:s.to]
	if len(split) == 0 && len(inner) > 0 {
		return nil // two barriers: nothing may stand between them
	}
	for k := range split {
		r := &split[k]
		if slices.ContainsFunc(split[:k], func(other compiledRole) bool { return other.name == r.name }) {
			continue // counted with the first of its name
		}
		want := 0
		for _, other := range split {
			if other.name == r.name {
				want++
			}
		}
		var list []int32
		for _, w := range inner {
			if m.of(w).plays[r.slot] && !slices.Contains(out, w) {
				list = append(list, w)
			}
		}
		if len(list) < want {
			return nil
		}
		switch {
		case r.name == roleQKNorm:
			list = list[len(list)-want:]
		case r.name == string(kernel.Norm) && len(before) > 0 && m.of(before[0]).class == kernel.Communication:
			list = list[:1]
		}
		out = append(out, list...)
	}
	out = append(out, after...)
	slices.Sort(out)
	return out
}

// finding fills in what a pattern and its kernels say.
func (m *matcher) finding(p *compiled, state State, stage attrib.Stage, works []int32) Finding {
	f := Finding{
		Stage: stage, Pattern: p.ID, Name: p.Name, State: state, Toggle: p.Toggle, Origin: p.Origin, Hazard: p.Hazard,
		Confidence: Confirmed, Basis: "kernels of the fusion were seen", Locations: []string{},
	}
	f.Evidence, f.Locations, f.Related = m.evidence(works)
	if total := m.totals[stage].Total; total > 0 {
		f.Share = 100 * float64(f.Related) / float64(total)
	}
	for _, s := range p.Sources {
		f.Sources = append(f.Sources, s.String())
	}
	if state == StateSplit && (len(p.doubts) > 0 || p.Origin == Inflight) {
		f.Confidence = Candidate
	}
	f.Action = p.action(state)
	return f
}

// evidence are the names, places and the time of some work.
func (m *matcher) evidence(works []int32) (names, places []string, total attrib.Nanos) {
	places = []string{}
	times := map[string]int64{}
	for _, i := range works {
		w := &m.tl.Works[i]
		total += attrib.Nanos(w.Dur)
		if name := m.tl.Names[w.Name].Canonical; len(names) < maxEvidence && !slices.Contains(names, name) {
			names = append(names, name)
		}
		if at := m.tl.Location(w); at != attrib.Unresolved {
			if times[at] == 0 {
				places = append(places, at)
			}
			times[at] += w.Dur
		}
	}
	slices.SortFunc(places, func(a, b string) int { return cmp.Or(cmp.Compare(times[b], times[a]), cmp.Compare(a, b)) })
	return names, places[:min(len(places), maxLocations)], total
}

// action is what to do about a pattern.
func (p *compiled) action(state State) string {
	where := ""
	if len(p.Sources) > 0 {
		where = p.Sources[0].Path
	}
	switch {
	case state == StateActive:
		return "nothing: the fusion is on"
	case p.Toggle != "":
		return fmt.Sprintf("switch it on: %s; it is in %s", p.Toggle, where)
	case p.Origin == Inflight && len(p.Pulls) > 0:
		return fmt.Sprintf("not in a release: see pull request #%d (%s)", p.Pulls[0], where)
	}
	return "see why this model or shape does not take the path in " + where
}

const (
	gpuCUDA = "cuda"
	gpuROCm = "rocm"
)

// gates are what is known of a run for the conditions that patterns set.
type gates struct {
	models  []string // names and source files of the model, lower case
	tp      int      // 0 = unknown
	gpu     string   // "" = unknown
	doubtTP bool     // tp is inferred
}

// readGates reads the model, the tensor-parallel size and the GPU's maker: given,
// or from the source files of models, the world size and the collectives.
func readGates(tl *attrib.Timeline, ctx Context) gates {
	g := gates{tp: ctx.TP, doubtTP: ctx.TPInferred, gpu: maker(tl.Trace)}
	if ctx.Model != "" {
		g.models = append(g.models, strings.ToLower(ctx.Model))
	}
	g.models = append(g.models, modelFiles(tl)...)
	if g.tp == 0 {
		g.tp = tl.Trace.Meta.Distributed.WorldSize
		if g.tp != 1 {
			g.tp, g.doubtTP = collectives(tl), true
		}
	}
	return g
}

// collectives is 2, the least size of a group, where there are any collectives.
func collectives(tl *attrib.Timeline) int {
	for i := range tl.Works {
		if tl.Names[tl.Works[i].Name].Class == kernel.Communication {
			return 2
		}
	}
	return 0
}

// modelFiles are the source files below a folder models/ that launched work,
// without their ending, lower case: "qwen3_moe".
func modelFiles(tl *attrib.Timeline) []string {
	var out []string
	for i := range tl.Sites {
		for _, frame := range tl.Sites[i].Stack {
			path, _, _ := strings.Cut(frame, ".py:")
			_, file, found := strings.Cut(path, "/models/")
			if file = strings.ToLower(file); found && !slices.Contains(out, file) {
				out = append(out, file)
			}
		}
	}
	slices.Sort(out)
	return out
}

// maker tells whose GPU a trace is of, by its name, else by the runtime's calls.
func maker(t *trace.Trace) string {
	if t.Meta.ROCm {
		return gpuROCm
	}
	for _, d := range t.Meta.Devices {
		switch name := strings.ToLower(d.Name); {
		case strings.Contains(name, "nvidia"), strings.Contains(name, "tesla"):
			return gpuCUDA
		case strings.Contains(name, "amd"), strings.Contains(name, "gfx"):
			return gpuROCm
		}
	}
	for _, l := range t.Launches.All() {
		switch call := t.Text(l.Name); {
		case strings.HasPrefix(call, "cuda"), strings.HasPrefix(call, "cuLaunch"):
			return gpuCUDA
		case strings.HasPrefix(call, "hip"):
			return gpuROCm
		}
	}
	return ""
}

// ask answers the gates of a pattern: why it can't apply, and what is in doubt.
func (g *gates) ask(p *Pattern) (closed string, doubts []string) {
	switch {
	case p.TP > 1 && g.tp == 0:
		return "the trace shows no second rank", nil
	case p.TP > g.tp && p.TP > 1 && !g.doubtTP:
		return fmt.Sprintf("tensor-parallel size is %d, it needs %d", g.tp, p.TP), nil
	case p.TP > 1 && g.doubtTP:
		doubts = append(doubts, "the tensor-parallel size is inferred from collectives")
	}
	if why := g.model(p.Models); why != "" {
		return why, nil
	}
	if p.GPU != "" && g.gpu != p.GPU {
		doubts = append(doubts, "it is known on "+p.GPU+" only")
	}
	return "", doubts
}

// model answers the model gate: "" = it holds.
func (g *gates) model(gate Models) string {
	begins := func(words []string) bool {
		return slices.ContainsFunc(words, func(w string) bool {
			return slices.ContainsFunc(g.models, func(name string) bool { return beginsWord(name, strings.ToLower(w)) })
		})
	}
	switch {
	case begins(gate.Exclude):
		return "it is not for this model"
	case len(gate.Include) > 0 && len(g.models) == 0:
		return "the model is unknown; it is for " + strings.Join(gate.Include, ", ")
	case len(gate.Include) > 0 && !begins(gate.Include):
		return "it is for other models: " + strings.Join(gate.Include, ", ")
	}
	return ""
}

// beginsWord reports whether word begins a word of the name; a number at its end
// ends there too (qwen3 is not in qwen30b).
func beginsWord(name, word string) bool {
	for from := 0; ; {
		at := strings.Index(name[from:], word)
		if at < 0 || word == "" {
			return false
		}
		at += from
		end := at + len(word)
		starts := at == 0 || !isLower(name[at-1]) && !isDigit(name[at-1])
		digits := end < len(name) && isDigit(name[end]) && isDigit(name[end-1])
		if starts && !digits {
			return true
		}
		from = at + 1
	}
}
