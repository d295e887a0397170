package attrib

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/profile/trace"
)

// labelKind is what the text of an annotation is. The higher one makes the
// better steps.
type labelKind uint8

const (
	labelNone         labelKind = iota
	labelProfilerStep           // the profiler's own count of iterations
	labelWords                  // names a stage in words
	labelStep                   // the mark of a forward pass
)

// label is the text of an annotation, read once.
type label struct {
	kind   labelKind
	engine int32 // row of the engine whose mark it is; -1 without
	stage  Stage // "" where it tells none
	mark   engine.StepMark
}

// labels reads annotations. The order of rules: the engines' own marks, then
// marks of other servers, then whole words.
type labels struct {
	engines engine.Set
	known   map[trace.NameID]label
}

func (l *labels) of(t *trace.Trace, id trace.NameID) label {
	v, ok := l.known[id]
	if !ok {
		v = readLabel(l.engines, t.Text(id))
		l.known[id] = v
	}
	return v
}

func readLabel(engines engine.Set, text string) label {
	for i, e := range engines {
		if e.Trace.Step == nil {
			continue
		}
		if m, ok := e.Trace.Step(text); ok {
			return label{kind: labelStep, engine: int32(i), stage: Stage(m.Kind), mark: m}
		}
	}
	if strings.HasPrefix(text, "ProfilerStep#") {
		return label{kind: labelProfilerStep, engine: -1}
	}
	if m := batchMark.FindStringSubmatch(text); m != nil {
		return batchLabel(m)
	}
	if strings.HasPrefix(text, "execute_diffusion_") {
		return label{kind: labelStep, engine: -1}
	}
	if s := stageOfWords(text); s != "" {
		return label{kind: labelWords, engine: -1, stage: s}
	}
	return label{engine: -1}
}

// batchMark is what ATOM (AMD) writes: prefill[bs=.. tok=..], decode[bs=.. tok=..].
// Source of it and of execute_diffusion_<bs>_<WxH> (xDiT): AMD-AGI/TraceLens
// TraceLens/TraceUtils/annotation_utils.py@171dd747.
var batchMark = regexp.MustCompile(`^(prefill|decode)\[(?:bs=(\d+))?(?:[ ,]*tok=(\d+))?[^\]]*\]`)

func batchLabel(m []string) label {
	requests, _ := strconv.Atoi(m[2]) // absent or beyond an int: not said
	tokens, _ := strconv.Atoi(m[3])
	l := label{kind: labelStep, engine: -1, stage: Stage(m[1])}
	if l.stage == Prefill {
		l.mark = engine.StepMark{Kind: engine.StepPrefill, ContextRequests: requests, ContextTokens: tokens}
	} else {
		l.mark = engine.StepMark{Kind: engine.StepDecode, GenerationRequests: requests, GenerationTokens: tokens}
	}
	return l
}

// stageOfWords looks for decode, prefill and extend as whole words, where only
// letters belong to a word: "decoder" and "prefilldecode" name no stage.
func stageOfWords(text string) Stage {
	prefill, decode := false, false
	for word := range strings.FieldsFuncSeq(text, notLetter) {
		switch {
		case strings.EqualFold(word, "decode"):
			decode = true
		case strings.EqualFold(word, "prefill"), strings.EqualFold(word, "extend"):
			prefill = true
		}
	}
	switch {
	case prefill && decode:
		return Mixed
	case prefill:
		return Prefill
	case decode:
		return Decode
	}
	return ""
}

func notLetter(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }

// scoped is an id (correlation, External id) that means something within one rank.
type scoped struct {
	id    int64
	scope int32
}

// marks are the annotations that tell a stage or a step.
type marks struct {
	t      *trace.Trace
	labels labels
	cpu    []int32 // rows of Trace.Annotations, labelled ones only
	gpu    []int32
	byExt  map[scoped]int32 // the stage-bearing one with an External id, CPU before GPU
	steps  []Step           // by start
	scopes []int32          // of steps
	stepOf map[int32]int32  // annotation row → row of steps
}

func newMarks(t *trace.Trace, engines engine.Set) *marks {
	m := &marks{t: t, labels: labels{engines: engines, known: map[trace.NameID]label{}}, byExt: map[scoped]int32{}, stepOf: map[int32]int32{}}
	for i, a := range t.Annotations.All() {
		if m.labels.of(t, a.Name).kind == labelNone {
			continue
		}
		if a.OnGPU {
			m.gpu = append(m.gpu, int32(i))
		} else {
			m.cpu = append(m.cpu, int32(i))
		}
	}
	for _, rows := range [][]int32{m.gpu, m.cpu} {
		for _, r := range rows {
			if a := t.Annotations.At(int(r)); a.Ext != trace.NoID && m.at(r).stage != "" {
				m.byExt[scoped{a.Ext, t.ScopeOf(a.Thread)}] = r
			}
		}
	}
	m.findSteps()
	return m
}

func (m *marks) at(row int32) label { return m.labels.of(m.t, m.t.Annotations.At(int(row)).Name) }

// findSteps makes steps of the annotations that mark forward passes; without
// such of those that name a stage, else of the profiler's own. A mark within
// another of its thread belongs to the same pass. Each rank is asked by itself.
func (m *marks) findSteps() {
	rows := make([][]int32, len(m.t.Scopes)+1)
	for _, list := range [][]int32{m.cpu, m.gpu} {
		had := make([]bool, len(rows))
		for i := range rows {
			had[i] = len(rows[i]) > 0
		}
		for _, r := range list {
			if s := m.t.ScopeOf(m.t.Annotations.At(int(r)).Thread); !had[s] {
				rows[s] = append(rows[s], r)
			}
		}
	}
	for _, list := range rows {
		m.addSteps(list)
	}
	for i := range m.steps {
		if m.steps[i].Stage == "" {
			m.steps[i].Stage = All
		}
	}
	m.sortSteps()
	m.twinSteps()
}

// addSteps makes steps of the best marks among annotations of one rank.
func (m *marks) addSteps(rows []int32) {
	best := labelNone
	for _, r := range rows {
		best = max(best, m.at(r).kind)
	}
	if best == labelNone {
		return
	}
	var spans []active
	for _, r := range rows {
		a := m.t.Annotations.At(int(r))
		if m.at(r).kind == best {
			spans = append(spans, active{start: a.Start, end: a.End(), group: int32(a.Thread), row: r})
		}
	}
	sortSpans(spans)
	var within active
	for i, s := range spans {
		l := m.at(s.row)
		if i > 0 && s.group == within.group && s.end <= within.end {
			step := &m.steps[len(m.steps)-1]
			step.merge(l)
			m.stepOf[s.row] = int32(len(m.steps) - 1)
			continue
		}
		within = s
		step := Step{Label: m.t.Text(m.t.Annotations.At(int(s.row)).Name), Start: s.start, End: s.end}
		step.merge(l)
		m.stepOf[s.row] = int32(len(m.steps))
		m.steps = append(m.steps, step)
		m.scopes = append(m.scopes, m.t.ScopeOf(trace.ThreadID(s.group)))
	}
}

// sortSteps puts the steps of all threads in order of time.
func (m *marks) sortSteps() {
	order := make([]int32, len(m.steps))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		x, y := m.steps[a], m.steps[b]
		return cmp.Or(cmp.Compare(x.Start, y.Start), cmp.Compare(x.End, y.End), cmp.Compare(x.Label, y.Label))
	})
	steps, scopes, to := make([]Step, len(order)), make([]int32, len(order)), make([]int32, len(order))
	for i, from := range order {
		steps[i], scopes[i], to[from] = m.steps[from], m.scopes[from], int32(i)
	}
	for row, s := range m.stepOf {
		m.stepOf[row] = to[s]
	}
	m.steps, m.scopes = steps, scopes
}

// stepsOf are the steps of one rank, with their rows there by row of m.steps.
func (m *marks) stepsOf(scope int32) ([]Step, []int32) {
	var own []Step
	to := make([]int32, len(m.steps))
	for i, s := range m.steps {
		to[i] = -1
		if m.scopes[i] == scope {
			to[i] = int32(len(own))
			own = append(own, s)
		}
	}
	return own, to
}

// twinSteps gives the projection of a mark on the GPU the step of the mark.
func (m *marks) twinSteps() {
	byExt := map[scoped]int32{}
	for _, r := range m.cpu {
		a := m.t.Annotations.At(int(r))
		if s, is := m.stepOf[r]; is && a.Ext != trace.NoID {
			byExt[scoped{a.Ext, m.t.ScopeOf(a.Thread)}] = s
		}
	}
	for _, r := range m.gpu {
		a := m.t.Annotations.At(int(r))
		if s, is := byExt[scoped{a.Ext, m.t.ScopeOf(a.Thread)}]; is && a.Ext != trace.NoID {
			m.stepOf[r] = s
		}
	}
}

// merge takes from a label what the step does not know yet.
func (s *Step) merge(l label) {
	if s.Stage == "" {
		s.Stage = l.stage
	}
	for _, f := range []struct {
		to   *int
		from int
	}{
		{&s.ContextRequests, l.mark.ContextRequests}, {&s.GenerationRequests, l.mark.GenerationRequests},
		{&s.ContextTokens, l.mark.ContextTokens}, {&s.GenerationTokens, l.mark.GenerationTokens},
	} {
		if *f.to == 0 {
			*f.to = f.from
		}
	}
}

// active collects the spans of annotations that a probe falls into, by process.
func (m *marks) active(rows []int32, p *probes) []active {
	var out []active
	for _, r := range rows {
		a := m.t.Annotations.At(int(r))
		proc := int32(m.t.Threads[a.Thread].Proc)
		if p.hit(proc, a.Start, a.End()) {
			out = append(out, active{start: a.Start, end: a.End(), group: proc, row: r})
		}
	}
	return out
}

// innermost is the stage and the step of the innermost marks among those that
// contain a time; "" and -1 without.
func (m *marks) innermost(at int64, stack []active) (Stage, int32) {
	stage, step := Stage(""), int32(-1)
	for i := len(stack) - 1; i >= 0 && (stage == "" || step < 0); i-- {
		if !stack[i].contains(at) {
			continue
		}
		if stage == "" {
			stage = m.at(stack[i].row).stage
		}
		if s, is := m.stepOf[stack[i].row]; is && step < 0 {
			step = s
		}
	}
	return stage, step
}
