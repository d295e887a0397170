package trace

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"llmdyno/internal/compress"
)

// Window is a stretch of time in ns, as [Span.Start] counts: From is in it, To is not.
type Window struct{ From, To int64 }

// Cut says what of a trace a slice keeps. Empty fields keep everything.
type Cut struct {
	// Windows: events that overlap one of them are kept.
	Windows []Window
	// ByLaunch tests GPU work by when it was launched rather than by when it
	// ran, as a stage's work is told; work without a launch is tested as it ran.
	ByLaunch bool
	// Scopes are the ranks of a merged file, by label.
	Scopes []string
	// PIDs are the processes of the GPU whose work is kept.
	PIDs []string
	// Streams are the GPU streams whose work is kept. With streams or pids, of
	// launches, operators and frames only those stay that led to kept work.
	Streams []int64

	Source string // name of the input in errors
	Gzip   bool   // compress the output
}

// SliceStats tell what a slice kept.
type SliceStats struct {
	Events, Kept       int64
	GPUEvents, GPUKept int64
	Bytes              int64 // plain text written
	Break              *Break
}

// Slice writes a valid smaller trace: what the cut keeps, the launches, operators
// and frames that led to kept GPU work wherever they lie in time, the flows of
// those launches, M rows and all metadata. Events are copied byte for byte.
//
// The input is read twice: a file is read again from its beginning, anything else
// is set aside in a temporary file as it comes (compressed, if it is).
func Slice(ctx context.Context, in io.Reader, out io.Writer, c Cut) (SliceStats, error) {
	if c.Source == "" {
		c.Source = "input"
	}
	again, first, done, err := twice(in)
	if err != nil {
		return SliceStats{}, fmt.Errorf("slicing %s: %w", c.Source, err)
	}
	defer done()
	plan, err := planSlice(ctx, first, c)
	if err != nil {
		return SliceStats{}, err
	}
	second, err := again()
	if err != nil {
		return SliceStats{}, fmt.Errorf("reading %s a second time: %w", c.Source, err)
	}
	return plan.copy(ctx, second, out)
}

// twice makes in readable two times.
func twice(in io.Reader) (again func() (io.Reader, error), first io.Reader, done func(), err error) {
	if s, ok := in.(io.Seeker); ok {
		if at, err := s.Seek(0, io.SeekCurrent); err == nil {
			again = func() (io.Reader, error) {
				_, err := s.Seek(at, io.SeekStart)
				return in, err
			}
			return again, in, func() {}, nil
		}
	}
	f, err := os.CreateTemp("", "trace-slice-")
	if err != nil {
		return nil, nil, nil, err
	}
	done = func() {
		f.Close()
		os.Remove(f.Name())
	}
	again = func() (io.Reader, error) {
		if _, err := io.Copy(f, in); err != nil { // what the first reading did not need
			return nil, err
		}
		_, err := f.Seek(0, io.SeekStart)
		return f, err
	}
	return again, io.TeeReader(in, f), done, nil
}

// slicePlan knows which events stay.
type slicePlan struct {
	cut     Cut
	trace   *Trace
	windows []Window // in order, merged
	lean    bool     // only what led to kept work
	keep    []uint64 // bit per event, by number
	scopes  []bool   // by Trace.Scopes
	corrs   map[scopedID]bool
	gpu     int64
}

type scopedID struct {
	scope int32
	id    int64
}

func (p *slicePlan) mark(n uint32) { p.keep[n>>6] |= 1 << (n & 63) }
func (p *slicePlan) kept(n int64) bool {
	return n>>6 < int64(len(p.keep)) && p.keep[n>>6]>>(n&63)&1 == 1
}

// numbered is a builder that notes which entry each row came from.
type numbered struct {
	*builder
	n                                           uint32
	gpu, launches, ops, frames, marks, syncRows []uint32
}

func (r *numbered) add(e *rawEvent) {
	t := r.t
	before := [6]int{t.GPU.Len(), t.Launches.Len(), t.Ops.Len(), t.Frames.Len(), t.Annotations.Len(), t.Syncs.Len()}
	r.builder.add(e)
	after := [6]int{t.GPU.Len(), t.Launches.Len(), t.Ops.Len(), t.Frames.Len(), t.Annotations.Len(), t.Syncs.Len()}
	for i, list := range [6]*[]uint32{&r.gpu, &r.launches, &r.ops, &r.frames, &r.marks, &r.syncRows} {
		if after[i] > before[i] {
			*list = append(*list, r.n)
		}
	}
	r.n++
}

func planSlice(ctx context.Context, in io.Reader, c Cut) (*slicePlan, error) {
	o := Options{Args: ArgsNone}.withDefaults()
	r := &numbered{builder: newBuilder(c.Source, o)}
	s, err := newScanner(ctx, in, c.Source, o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	s.sink = r
	if err := s.run(); err != nil {
		return nil, err
	}
	r.t.Break = s.brk
	p := &slicePlan{cut: c, trace: r.finish(), windows: mergeWindows(c.Windows), lean: len(c.Streams)+len(c.PIDs) > 0, keep: make([]uint64, r.n/64+1), corrs: map[scopedID]bool{}}
	if err := p.pickScopes(); err != nil {
		return nil, err
	}
	p.choose(r)
	return p, nil
}

func (p *slicePlan) pickScopes() error {
	p.scopes = make([]bool, len(p.trace.Scopes))
	var labels []string
	for i, s := range p.trace.Scopes {
		labels = append(labels, s.Label)
		p.scopes[i] = len(p.cut.Scopes) == 0 || slices.Contains(p.cut.Scopes, s.Label)
	}
	for _, want := range p.cut.Scopes {
		if !slices.Contains(labels, want) {
			return fmt.Errorf("%s has no rank %q; it has %q", p.cut.Source, want, labels)
		}
	}
	return nil
}

func mergeWindows(ws []Window) []Window {
	ws = slices.Clone(ws)
	slices.SortFunc(ws, func(a, b Window) int { return cmp.Compare(a.From, b.From) })
	var out []Window
	for _, w := range ws {
		if w.To <= w.From {
			continue
		}
		if n := len(out); n > 0 && w.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, w.To)
			continue
		}
		out = append(out, w)
	}
	return out
}

// overlaps tests a span; one without length is in the window that its start is in.
func (p *slicePlan) overlaps(start, end int64) bool {
	if len(p.cut.Windows) == 0 {
		return true
	}
	end = max(end, start+1)
	i, _ := slices.BinarySearchFunc(p.windows, start, func(w Window, at int64) int {
		if w.To <= at {
			return -1
		}
		return 1
	})
	return i < len(p.windows) && p.windows[i].From < end
}

func (p *slicePlan) spanIn(s Span) bool { return p.overlaps(s.Start, s.End()) }

func (p *slicePlan) scopeIn(id ThreadID) bool { return p.scopes[p.trace.ScopeOf(id)] }

// choose marks what stays, from the GPU's work back to the frames.
func (p *slicePlan) choose(r *numbered) {
	t := p.trace
	launched := p.launchTimes()
	for i, g := range t.GPU.All() {
		if !p.scopeIn(g.Thread) || !p.wantsQueue(g) || !p.gpuIn(g, launched) {
			continue
		}
		p.mark(r.gpu[i])
		p.gpu++
		if g.Corr != NoID {
			p.corrs[scopedID{t.ScopeOf(g.Thread), g.Corr}] = true
		}
	}
	needed := map[ThreadID][]int64{}
	for i, l := range t.Launches.All() {
		if !p.scopeIn(l.Thread) {
			continue
		}
		id := scopedID{t.ScopeOf(l.Thread), l.Corr}
		led := l.Corr != NoID && p.corrs[id]
		if !led && (p.lean || !p.spanIn(l.Span)) {
			continue
		}
		p.mark(r.launches[i])
		if led {
			needed[l.Thread] = append(needed[l.Thread], l.Start)
		} else if l.Corr != NoID {
			p.corrs[id] = true // its flow
		}
	}
	for _, times := range needed {
		slices.Sort(times)
	}
	for i, o := range t.Ops.All() {
		p.host(o.Span, r.ops[i], needed)
	}
	for i, f := range t.Frames.All() {
		p.host(f.Span, r.frames[i], needed)
	}
	for i, a := range t.Annotations.All() {
		if p.scopeIn(a.Thread) && (p.spanIn(a.Span) || !a.OnGPU && encloses(needed[a.Thread], a.Span)) {
			p.mark(r.marks[i])
		}
	}
	for i, y := range t.Syncs.All() {
		if p.scopeIn(y.Thread) && p.spanIn(y.Span) {
			p.mark(r.syncRows[i])
		}
	}
}

// host marks an operator or a frame.
func (p *slicePlan) host(s Span, n uint32, needed map[ThreadID][]int64) {
	if p.scopeIn(s.Thread) && (!p.lean && p.spanIn(s) || encloses(needed[s.Thread], s)) {
		p.mark(n)
	}
}

// encloses tells whether one of the times, in order, lies in the span.
func encloses(times []int64, s Span) bool {
	i, _ := slices.BinarySearch(times, s.Start)
	return i < len(times) && times[i] <= s.End()
}

func (p *slicePlan) launchTimes() map[scopedID]int64 {
	if !p.cut.ByLaunch {
		return nil
	}
	times := make(map[scopedID]int64, p.trace.Launches.Len())
	for _, l := range p.trace.Launches.All() {
		if l.Corr != NoID {
			times[scopedID{p.trace.ScopeOf(l.Thread), l.Corr}] = l.Start
		}
	}
	return times
}

func (p *slicePlan) gpuIn(g *GPU, launched map[scopedID]int64) bool {
	if at, known := launched[scopedID{p.trace.ScopeOf(g.Thread), g.Corr}]; known && g.Corr != NoID {
		return p.overlaps(at, at+1)
	}
	return p.spanIn(g.Span)
}

func (p *slicePlan) wantsQueue(g *GPU) bool {
	if len(p.cut.Streams) > 0 && !slices.Contains(p.cut.Streams, g.Stream) {
		return false
	}
	return len(p.cut.PIDs) == 0 || slices.Contains(p.cut.PIDs, p.trace.Procs[p.trace.Threads[g.Thread].Proc].PID)
}

// copy reads the input again and writes what stays.
func (p *slicePlan) copy(ctx context.Context, in io.Reader, out io.Writer) (SliceStats, error) {
	s, err := newScanner(ctx, in, p.cut.Source, Options{}.withDefaults())
	if err != nil {
		return SliceStats{}, err
	}
	defer s.close()
	z, err := compress.NewWriter(out, form(p.cut.Gzip))
	if err != nil {
		return SliceStats{}, err
	}
	w := &sliceWriter{plan: p, w: bufio.NewWriterSize(z, 256<<10), kinds: map[string]Category{}}
	s.sink = w
	if err := s.run(); err != nil {
		return SliceStats{}, err
	}
	w.finish()
	if err = w.w.Flush(); err == nil {
		err = z.Close()
	}
	return SliceStats{Events: w.n, Kept: w.kept, GPUEvents: int64(p.trace.GPU.Len()), GPUKept: p.gpu, Bytes: w.bytes, Break: p.trace.Break}, err
}

// sliceWriter writes the document anew, member by member. Metadata keep their
// place before or after the events.
type sliceWriter struct {
	plan    *slicePlan
	w       *bufio.Writer
	n, kept int64
	bytes   int64
	state   uint8 // 0 nothing written, 1 in the object, 2 in traceEvents
	failed  error
	kinds   map[string]Category
}

func (w *sliceWriter) put(parts ...string) {
	for _, s := range parts {
		n, err := w.w.WriteString(s)
		w.bytes += int64(n)
		if err != nil && w.failed == nil {
			w.failed = err
		}
	}
}

func (w *sliceWriter) skip(string, int64) {}
func (w *sliceWriter) stopped() error     { return w.failed }
func (w *sliceWriter) wants(string) bool  { return true }
func (w *sliceWriter) metaKey(string)     {}

func (w *sliceWriter) takeMeta(key string, value []byte) {
	switch w.state {
	case 0:
		w.put("{\n  ")
	case 1:
		w.put(",\n  ")
	case 2:
		w.put("\n  ],\n  ")
	}
	w.state = 1
	w.put(quote(key), ": ", string(value))
}

func (w *sliceWriter) add(e *rawEvent) {
	n := w.n
	w.n++
	if !w.plan.kept(n) && !w.also(e) {
		return
	}
	switch w.state {
	case 0:
		w.put("{\n  \"traceEvents\": [\n  ")
	case 1:
		w.put(",\n  \"traceEvents\": [\n  ")
	case 2:
		w.put(",\n  ")
	}
	w.state = 2
	w.kept++
	w.put(stringOf(e.raw))
}

// also keeps what is in no table: M rows, flows of kept launches, and what else
// lies in the windows.
func (w *sliceWriter) also(e *rawEvent) bool {
	p := w.plan
	if len(e.phase) != 1 {
		return false
	}
	kind := w.kind(e.cat)
	if e.phase[0] == 'X' && kind >= CatKernel && kind <= CatSync {
		return false // it had its chance
	}
	label, _ := SplitPID(string(e.pid))
	scope := slices.IndexFunc(p.trace.Scopes, func(s Scope) bool { return s.Label == label })
	if len(p.cut.Scopes) > 0 && (scope < 0 || !p.scopes[scope]) {
		return false
	}
	switch {
	case e.phase[0] == 'M':
		return true
	case kind == CatFlow && string(e.cat) != "fwdbwd":
		id, ok := parseInt(e.id)
		return ok && p.corrs[scopedID{int32(max(scope, 0)), id}]
	case p.lean:
		return false
	}
	start, err := parseNS(e.ts)
	if err != nil {
		return false
	}
	dur, err := parseNS(e.dur)
	if err != nil {
		dur = 0
	}
	return p.overlaps(start, start+dur)
}

// kind is kindOf, remembered.
func (w *sliceWriter) kind(cat []byte) Category {
	k, known := w.kinds[string(cat)]
	if !known {
		k = kindOf(string(cat))
		if len(w.kinds) < maxCategories {
			w.kinds[string(cat)] = k
		}
	}
	return k
}

func (w *sliceWriter) finish() {
	switch w.state {
	case 0:
		w.put("{\n  \"traceEvents\": [")
	case 1:
		if w.kept == 0 {
			w.put(",\n  \"traceEvents\": [")
		} else {
			w.put("\n}\n")
			return
		}
	}
	w.put("\n  ]\n}\n")
}
