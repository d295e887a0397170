package attrib

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/profile/kernel"
	"llmdyno/internal/profile/trace"
)

// Options say how a trace is resolved. The zero value knows no engine.
type Options struct {
	Engines engine.Set
	// DefaultStage is the stage of work that nothing in the trace puts into one:
	// what the file's path says. "" is All.
	DefaultStage Stage
	// Device chooses GPUs by a part of their process's id, name or label; "" is
	// every GPU.
	Device string
	// Mapping gives sources to work that a graph launch started.
	Mapping *Mapping
}

// A NoDeviceError says that Options.Device fits no GPU of the trace.
type NoDeviceError struct {
	Device string
	Have   []string
}

func (e *NoDeviceError) Error() string {
	return fmt.Sprintf("no GPU process of the trace contains %q; there are %s", e.Device, strings.Join(e.Have, ", "))
}

// Resolve resolves the GPU with the most work; of equals, the one with the lowest
// process id. It returns a timeline without works when the trace holds no GPU
// activity.
func Resolve(t *trace.Trace, o Options) (*Timeline, error) {
	devices, err := Devices(t, o.Device)
	if err != nil {
		return nil, err
	}
	return resolve(t, o, devices[:min(1, len(devices))])[0], nil
}

// ResolveAll resolves every GPU of the trace, that of [Resolve] first. Without
// GPU activity it is one timeline without works.
func ResolveAll(t *trace.Trace, o Options) ([]*Timeline, error) {
	devices, err := Devices(t, o.Device)
	if err != nil {
		return nil, err
	}
	return resolve(t, o, devices), nil
}

// Device is one GPU of a trace: a process row with device activity.
type Device struct {
	Proc     trace.ProcID
	Launches int
	Total    Nanos // sum of durations
}

// Devices are the GPUs of a trace, most work first; filter as [Options.Device].
func Devices(t *trace.Trace, filter string) ([]Device, error) {
	byProc := make([]Device, len(t.Procs))
	for _, g := range t.GPU.All() {
		if g.Dur > 0 {
			d := &byProc[t.Threads[g.Thread].Proc]
			d.Launches++
			d.Total += Nanos(g.Dur)
		}
	}
	var all, fit []Device
	for i, d := range byProc {
		if d.Proc = trace.ProcID(i); d.Launches == 0 {
			continue
		}
		all = append(all, d)
		if p := t.Procs[i]; strings.Contains(p.PID, filter) || strings.Contains(p.Name, filter) || strings.Contains(p.Label, filter) {
			fit = append(fit, d)
		}
	}
	if len(all) > 0 && len(fit) == 0 {
		return nil, noDevice(t, filter, all)
	}
	slices.SortFunc(fit, func(a, b Device) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), comparePID(t.Procs[a.Proc].PID, t.Procs[b.Proc].PID))
	})
	return fit, nil
}

func noDevice(t *trace.Trace, filter string, all []Device) error {
	have := make([]string, len(all))
	for i, d := range all {
		have[i] = strconv.Quote(t.Procs[d.Proc].PID)
	}
	slices.SortFunc(have, comparePID)
	return &NoDeviceError{Device: filter, Have: have}
}

// comparePID orders process ids: numbers by value, before texts.
func comparePID(a, b string) int {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	switch {
	case errX == nil && errY == nil:
		return cmp.Compare(x, y)
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return cmp.Compare(a, b)
}

// query is one question to the host side of a trace: who made this call? Work of
// one launch asks once.
type query struct {
	launch     int32 // row of Trace.Launches; -1: only the External id is known
	thread     trace.ThreadID
	start, end int64 // of the launch
	scope      int32
	ext        int64

	op      int32 // row of Trace.Ops; -1 without
	invalid bool  // the External id names an operator that does not enclose the launch
	site    int32
	stage   Stage
	step    int32
}

// resolver holds what the stages of resolving share.
type resolver struct {
	t       *trace.Trace
	o       Options
	src     *sources
	marks   *marks
	queries []query

	frames  []int32 // frames by NameID
	sites   []Site
	siteKey map[string]int32
	ops     []string
	opRow   map[trace.NameID]int32
}

func newResolver(t *trace.Trace, o Options) *resolver {
	return &resolver{
		t: t, o: o, src: newSources(o.Engines), marks: newMarks(t, o.Engines),
		siteKey: map[string]int32{}, ops: []string{""}, opRow: map[trace.NameID]int32{0: 0},
	}
}

// resolve resolves the given GPUs; without any it returns one empty timeline.
func resolve(t *trace.Trace, o Options, devices []Device) []*Timeline {
	r := newResolver(t, o)
	tls := r.collect(devices)
	asked := make([][]int32, len(tls))
	for i, tl := range tls {
		asked[i] = r.ask(tl)
	}
	r.answerOps()
	unlinked := r.unlinked()
	r.answerByExt(unlinked)
	r.answerFrames()
	r.answerStages()
	d := detect(t, r.src, r.marks, r.frames)
	for i, tl := range tls {
		tl.Unlinked, tl.Engine, tl.Evidence = unlinked[tl.Scope], d.Engine, d.Evidence
		r.assign(tl, asked[i])
		r.countFLOP(tl, asked[i])
		steps, to := r.marks.stepsOf(tl.Scope)
		tl.Steps = steps
		for j := range tl.Works {
			if w := &tl.Works[j]; w.Step >= 0 {
				w.Step = to[w.Step]
			}
		}
	}
	for _, tl := range tls {
		tl.Sites, tl.Ops = r.sites, r.ops
		if o.Mapping != nil {
			o.Mapping.apply(tl)
		}
	}
	return tls
}

// collect makes the timelines with their works in order, not yet resolved.
func (r *resolver) collect(devices []Device) []*Timeline {
	if len(devices) == 0 {
		return []*Timeline{{Trace: r.t, Proc: -1, Engine: Unknown}}
	}
	tls := make([]*Timeline, len(devices))
	of := make([]*Timeline, len(r.t.Procs))
	for i, d := range devices {
		tls[i] = &Timeline{Trace: r.t, Proc: d.Proc, Scope: r.t.Procs[d.Proc].Scope, Works: make([]Work, 0, d.Launches)}
		of[d.Proc] = tls[i]
	}
	for i, g := range r.t.GPU.All() {
		if tl := of[r.t.Threads[g.Thread].Proc]; tl != nil && g.Dur > 0 {
			tl.Works = append(tl.Works, Work{Row: int32(i), Start: g.Start, Dur: g.Dur, Site: -1, Launch: -1, Step: -1})
		}
	}
	for _, tl := range tls {
		slices.SortFunc(tl.Works, func(a, b Work) int {
			return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Row, b.Row))
		})
		r.nameAll(tl)
	}
	return tls
}

// nameAll fills Names and Streams.
func (r *resolver) nameAll(tl *Timeline) {
	type key struct {
		name trace.NameID
		cat  trace.Category
	}
	names, streams := map[key]int32{}, map[int64]int32{}
	for i := range tl.Works {
		w := &tl.Works[i]
		g := r.t.GPU.At(int(w.Row))
		row, known := names[key{g.Name, g.Cat}]
		if !known {
			row = int32(len(tl.Names))
			names[key{g.Name, g.Cat}] = row
			tl.Names = append(tl.Names, readName(r.t.Text(g.Name), g.Cat))
		}
		w.Name = row
		if row, known = streams[g.Stream]; !known {
			row = int32(len(tl.Streams))
			streams[g.Stream] = row
			tl.Streams = append(tl.Streams, Stream{Proc: tl.Proc, Number: g.Stream})
		}
		w.Stream = row
	}
}

func readName(raw string, cat trace.Category) kernel.Name {
	if cat == trace.CatKernel {
		return kernel.Parse(raw)
	}
	return kernel.ParseCopy(raw, cat == trace.CatMemset)
}

// ask finds the launches of a timeline's works and puts the questions; it returns
// the question of each work, -1 for none.
func (r *resolver) ask(tl *Timeline) []int32 {
	index := newLaunches(r.t, tl.Works)
	asked := make([]int32, len(tl.Works))
	type key struct {
		launch int32
		ext    int64
	}
	known := map[key]int32{}
	for i := range tl.Works {
		w := &tl.Works[i]
		g := r.t.GPU.At(int(w.Row))
		w.Launch = index.of(g)
		ext := g.Ext
		if w.Launch >= 0 {
			c := r.t.Launches.At(int(w.Launch))
			w.Graph = graphLaunch(r.t.Text(c.Name))
			if ext == trace.NoID {
				ext = c.Ext
			}
		} else if ext == trace.NoID {
			asked[i] = -1
			continue
		}
		q, is := known[key{w.Launch, ext}]
		if !is {
			q = int32(len(r.queries))
			known[key{w.Launch, ext}] = q
			r.queries = append(r.queries, r.question(w.Launch, ext, tl.Scope))
		}
		asked[i] = q
	}
	markResidue(tl.Works, len(tl.Streams))
	return asked
}

func (r *resolver) question(launch int32, ext int64, scope int32) query {
	q := query{launch: launch, thread: -1, ext: ext, scope: scope, op: -1, site: -1, step: -1}
	if launch >= 0 {
		c := r.t.Launches.At(int(launch))
		q.thread, q.start, q.end = c.Thread, c.Start, c.End()
	}
	return q
}

// slack is how far an operator's end may lie before that of a launch within it:
// files with whole microseconds round both.
const slack = 1000

// answerOps finds the operator around each launch: the one that the External id
// names, where it encloses the launch, else the innermost.
func (r *resolver) answerOps() {
	var list []probe
	for i, q := range r.queries {
		if q.launch >= 0 {
			list = append(list, probe{at: q.start, group: int32(q.thread), id: int32(i)})
		}
	}
	p := newProbes(list, len(r.t.Threads))
	var spans []active
	for i, op := range r.t.Ops.All() {
		if p.hit(int32(op.Thread), op.Start, op.End()+slack) {
			spans = append(spans, active{start: op.Start, end: op.End() + slack, group: int32(op.Thread), row: int32(i)})
		}
	}
	p.answer(spans, func(b probe, stack []active) {
		q := &r.queries[b.id]
		inner := int32(-1)
		for i := len(stack) - 1; i >= 0; i-- {
			s := stack[i]
			if inner < 0 && s.end-slack >= b.at {
				inner = s.row
				if q.ext == trace.NoID {
					break
				}
			}
			if q.ext != trace.NoID && s.end >= q.end && r.t.Ops.At(int(s.row)).Ext == q.ext {
				q.op = s.row
				return
			}
		}
		q.op = inner
		q.invalid = q.ext != trace.NoID
	})
}

// answerByExt follows External ids where there is no launch to go by, and tells
// ids that name an operator elsewhere from ids that name none.
func (r *resolver) answerByExt(unlinked []bool) {
	wanted := map[scoped][]int32{}
	for i, q := range r.queries {
		if q.ext != trace.NoID && (q.launch < 0 && !unlinked[q.scope] || q.invalid) {
			key := scoped{q.ext, q.scope}
			wanted[key] = append(wanted[key], int32(i))
		}
	}
	if len(wanted) == 0 {
		return
	}
	named := map[int32]bool{}
	for row, op := range r.t.Ops.All() {
		if op.Ext == trace.NoID {
			continue
		}
		for _, i := range wanted[scoped{op.Ext, r.t.ScopeOf(op.Thread)}] {
			named[i] = true
			if q := &r.queries[i]; q.launch < 0 && q.op < 0 {
				q.op = int32(row)
			}
		}
	}
	for i := range r.queries {
		if q := &r.queries[i]; q.invalid {
			q.invalid = named[int32(i)]
		}
	}
}

// unlinked reports for each rank whether External ids of GPU work are not those
// of operators: most of them name nothing that encloses the launch.
func (r *resolver) unlinked() []bool {
	bad := make([]int, len(r.t.Scopes)+1) // less the good ones
	for _, q := range r.queries {
		if q.launch < 0 || q.ext == trace.NoID {
			continue
		}
		_, mark := r.marks.byExt[scoped{q.ext, q.scope}]
		switch {
		case !q.invalid:
			bad[q.scope]--
		case !mark: // work right below a mark has the mark's id
			bad[q.scope]++
		}
	}
	out := make([]bool, len(bad))
	for i, n := range bad {
		out[i] = n > 0
	}
	return out
}

// answerFrames finds the Python frame of each launch: at the time of the call on
// its thread; where nothing but plumbing runs there, early in the operator.
func (r *resolver) answerFrames() {
	r.countFrames()
	r.findFrames(func(q *query) (int64, trace.ThreadID) { return q.start, q.thread })
	r.findFrames(func(q *query) (int64, trace.ThreadID) {
		if q.op < 0 {
			return 0, -1
		}
		op := r.t.Ops.At(int(q.op))
		return op.Start + min(op.Dur/2, 1000), op.Thread
	})
}

func (r *resolver) countFrames() {
	for _, f := range r.t.Frames.All() {
		if int(f.Name) >= len(r.frames) {
			r.frames = append(r.frames, make([]int32, int(f.Name)+1-len(r.frames)+256)...)
		}
		r.frames[f.Name]++
	}
}

// findFrames asks, for each query without a site, at a time on a thread.
func (r *resolver) findFrames(when func(*query) (int64, trace.ThreadID)) {
	if r.t.Frames.Len() == 0 {
		return
	}
	var list []probe
	for i := range r.queries {
		if q := &r.queries[i]; q.site < 0 {
			if at, thread := when(q); thread >= 0 {
				list = append(list, probe{at: at, group: int32(thread), id: int32(i)})
			}
		}
	}
	framesAt(r.t, list, func(b probe, stack []active) { r.queries[b.id].site = r.site(b.at, stack) })
}

// site chooses among the frames that contain a time the one with the highest
// rank, of equals the innermost; -1 when none says anything.
func (r *resolver) site(at int64, stack []active) int32 {
	best := r.src.foremost(r.t, at, stack)
	if best < 0 {
		return -1
	}
	var kept []trace.NameID
	key := make([]byte, 0, 4*(best+1))
	for i := range best + 1 {
		if stack[i].contains(at) && r.src.frame(r.t, stack[i]).rank > 0 {
			id := r.t.Frames.At(int(stack[i].row)).Name
			kept = append(kept, id)
			key = append(key, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
		}
	}
	row, known := r.siteKey[string(key)]
	if !known {
		row = int32(len(r.sites))
		r.siteKey[string(key)] = row
		r.sites = append(r.sites, r.newSite(kept))
	}
	return row
}

func (r *resolver) newSite(frames []trace.NameID) Site {
	last := r.src.of(r.t, frames[len(frames)-1])
	s := Site{Location: last.location, Path: last.path, Stack: make([]string, len(frames))}
	for i, f := range frames {
		s.Stack[i] = r.src.of(r.t, f).location
	}
	return s
}

// answerStages finds the marks around each launch, in its process; without a
// launch, around the start of the operator.
func (r *resolver) answerStages() {
	var list []probe
	for i, q := range r.queries {
		at, thread := q.start, q.thread
		if q.launch < 0 && q.op >= 0 {
			op := r.t.Ops.At(int(q.op))
			at, thread = op.Start, op.Thread
		}
		if thread >= 0 {
			list = append(list, probe{at: at, group: int32(r.t.Threads[thread].Proc), id: int32(i)})
		}
	}
	if len(list) == 0 || len(r.marks.cpu) == 0 {
		return
	}
	p := newProbes(list, len(r.t.Procs))
	p.answer(r.marks.active(r.marks.cpu, p), func(b probe, stack []active) {
		q := &r.queries[b.id]
		q.stage, q.step = r.marks.innermost(b.at, stack)
	})
}

// assign gives each work the answer to its question, and what only its own time
// on the GPU can tell.
func (r *resolver) assign(tl *Timeline, asked []int32) {
	var late []probe
	tl.Files = map[int32]string{}
	for i := range tl.Works {
		w := &tl.Works[i]
		g := r.t.GPU.At(int(w.Row))
		if ext, is := r.marks.byExt[scoped{g.Ext, tl.Scope}]; is && g.Ext != trace.NoID && !tl.Unlinked {
			w.Stage = r.marks.at(ext).stage
			if s, is := r.marks.stepOf[ext]; is {
				w.Step = s
			}
		}
		if asked[i] >= 0 {
			r.take(tl, w, &r.queries[asked[i]])
		}
		if w.Op == 0 && w.Launch >= 0 {
			w.Op = r.op(r.t.Launches.At(int(w.Launch)).Name)
		}
		if w.Stage == "" || w.Step < 0 {
			late = append(late, probe{at: w.Start + w.Dur/2, group: int32(tl.Proc), id: int32(i)})
		}
	}
	r.stageOnGPU(tl, late)
	for i := range tl.Works {
		if w := &tl.Works[i]; w.Stage == "" {
			w.Stage = cmp.Or(r.o.DefaultStage, All)
		}
	}
}

func (r *resolver) take(tl *Timeline, w *Work, q *query) {
	if q.op >= 0 && !r.startedBy(w, q) {
		return
	}
	if q.op >= 0 {
		op := r.t.Ops.At(int(q.op))
		w.Op = r.op(op.Name)
		if _, known := tl.Files[w.Name]; !known && tl.Names[w.Name].Class != kernel.Memory {
			tl.Files[w.Name] = r.t.ArgString(op.Args, "kernel_file")
		}
	}
	w.Site = q.site
	if w.Stage == "" {
		w.Stage = q.stage
	}
	if w.Step < 0 {
		w.Step = q.step
	}
	if q.invalid {
		tl.InvalidLinks++
	}
}

// op interns the name of an operator or of an API call.
func (r *resolver) op(id trace.NameID) int32 {
	row, known := r.opRow[id]
	if !known {
		row = int32(len(r.ops))
		r.opRow[id] = row
		r.ops = append(r.ops, r.t.Text(id))
	}
	return row
}

// stageOnGPU looks at the projections of marks on the GPU's own row.
func (r *resolver) stageOnGPU(tl *Timeline, late []probe) {
	if len(late) == 0 || len(r.marks.gpu) == 0 {
		return
	}
	p := newProbes(late, len(r.t.Procs))
	p.answer(r.marks.active(r.marks.gpu, p), func(b probe, stack []active) {
		w := &tl.Works[b.id]
		stage, step := r.marks.innermost(b.at, stack)
		if w.Stage == "" {
			w.Stage = stage
		}
		if w.Step < 0 {
			w.Step = step
		}
	})
}
