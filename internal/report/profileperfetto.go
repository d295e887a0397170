package report

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"llmdyno/internal/profile"
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/kernel"
)

// ProfilePerfetto writes the GPU work of a triage as Chrome-trace JSON that
// ui.perfetto.dev and chrome://tracing open: the streams with what was found of
// each kernel, and above them tracks for steps, stages, verdicts and classes. The
// document must have been made with profile.Request.Keep. Every text of the trace
// passes hide, once.
//
// Format: "Trace Event Format", Google, docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU,
// read November 2026: complete events (ph X) with ts and dur in microseconds, metadata (ph M).
func ProfilePerfetto(w io.Writer, d *profile.Document, hide func(string) string) error {
	p := &perfetto{w: bufio.NewWriterSize(w, 256<<10), hide: hide}
	p.base = firstWork(d)
	p.text(`{"displayTimeUnit":"ns","otherData":{"tool":"llmdyno profile triage","first_event_ns":"` + strconv.FormatInt(p.base, 10) + `"},` + "\n" + `"traceEvents":[`)
	for i, t := range (profileView{d}).parts() {
		for n, tl := range t.Timelines {
			p.timeline(t, tl, 1+i*len(t.Timelines)+n)
		}
	}
	p.text("\n]}\n")
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("writing the annotated trace: %w", err)
	}
	return nil
}

// firstWork is when the first work of all GPUs began, in ns of the traces' clock:
// times count from it, as a double holds no nanoseconds of the epoch.
func firstWork(d *profile.Document) int64 {
	first, any := int64(0), false
	for _, t := range (profileView{d}).parts() {
		for _, tl := range t.Timelines {
			if len(tl.Works) > 0 {
				at := tl.Works[0].Start + tl.Trace.Meta.BaseNS
				if !any || at < first {
					first, any = at, true
				}
			}
		}
	}
	return first
}

type perfetto struct {
	hide  func(string) string
	w     *bufio.Writer
	base  int64 // ns since the epoch that are taken off every time
	shift int64 // what is added to a time of the timeline at hand

	buf   []byte
	wrote bool
	texts map[string]string // text → JSON string
}

func (p *perfetto) text(s string) { _, _ = p.w.WriteString(s) } // the error comes with Flush

// The tracks of a GPU, in their order; streams follow.
const (
	trackSteps = iota + 1
	trackStages
	trackVerdicts          // one for each verdict
	trackClasses  = 100    // one for each class
	trackStreams  = 10_000 // + row of Timeline.Streams
)

func (p *perfetto) timeline(t *profile.Tables, tl *attrib.Timeline, pid int) {
	if len(tl.Works) == 0 {
		return
	}

	p.shift = tl.Trace.Meta.BaseNS - p.base
	p.texts = map[string]string{}
	name := fmt.Sprintf("GPU %s", tl.PID())
	if t.Rank != "" {
		name += ", " + t.Rank
	}
	p.meta(pid, 0, "process_name", name)
	if t.Device != "" {
		p.metaKey(pid, 0, "process_labels", "labels", t.Device)
	}
	p.steps(tl, pid)
	p.runs(tl, pid, trackStages, "stage", func(w *attrib.Work) string { return string(w.Stage) })
	p.verdicts(t, tl, pid)
	p.classes(tl, pid)
	p.streams(t, tl, pid)
}

// quoted is the JSON form of a text; the many launches of a kernel share it.
func (p *perfetto) quoted(s string) string {
	q, known := p.texts[s]
	if !known {
		b, err := json.Marshal(p.hide(clean(s)))
		if err != nil { // never: a string
			b = []byte(`""`)
		}
		q = string(b)
		p.texts[s] = q
	}
	return q
}

func (p *perfetto) event(b []byte) {
	if p.wrote {
		p.text(",\n")
	} else {
		p.text("\n")
	}
	p.wrote = true
	_, _ = p.w.Write(b)
}

func (p *perfetto) meta(pid, tid int, what, name string) { p.metaKey(pid, tid, what, "name", name) }

func (p *perfetto) metaKey(pid, tid int, what, key, value string) {
	p.event(fmt.Appendf(nil, `{"ph":"M","pid":%d,"tid":%d,"name":%q,"args":{%q:%s}}`, pid, tid, what, key, p.quoted(value)))
}

// track names a thread and gives it its place.
func (p *perfetto) track(pid, tid int, name string) {
	p.meta(pid, tid, "thread_name", name)
	p.event(fmt.Appendf(nil, `{"ph":"M","pid":%d,"tid":%d,"name":"thread_sort_index","args":{"sort_index":%d}}`, pid, tid, tid))
}

// complete is one event; args is JSON without braces.
func (p *perfetto) complete(pid, tid int, name, cat string, from, to int64, args string) {
	b := append(p.buf[:0], `{"ph":"X","pid":`...)
	b = strconv.AppendInt(b, int64(pid), 10)
	b = append(b, `,"tid":`...)
	b = strconv.AppendInt(b, int64(tid), 10)
	b = append(b, `,"ts":`...)
	b = appendMicros(b, from+p.shift)
	b = append(b, `,"dur":`...)
	b = appendMicros(b, to-from)
	b = append(append(b, `,"cat":`...), p.quoted(cat)...)
	b = append(append(b, `,"name":`...), p.quoted(name)...)
	b = append(append(append(b, `,"args":{`...), args...), "}}"...)
	p.buf = b
	p.event(b)
}

// appendMicros writes nanoseconds as microseconds, all digits.
func appendMicros(b []byte, ns int64) []byte {
	text, err := attrib.Nanos(ns).MarshalJSON()
	if err != nil { // never
		return append(b, '0')
	}
	return append(b, text...)
}

// steps are the forward passes, from their first work to their last on the GPU.
// Where two overlap the later one begins when the earlier one ends: a track can
// hold only spans that nest.
func (p *perfetto) steps(tl *attrib.Timeline, pid int) {
	type span struct {
		step     int32
		from, to int64
		launches int
	}
	at := map[int32]int{}
	var spans []span
	for i := range tl.Works {
		w := &tl.Works[i]
		if w.Step < 0 {
			continue
		}
		k, known := at[w.Step]
		if !known {
			k = len(spans)
			at[w.Step] = k
			spans = append(spans, span{step: w.Step, from: w.Start})
		}
		spans[k].to = max(spans[k].to, w.End())
		spans[k].launches++
	}
	if len(spans) == 0 {
		return
	}
	p.track(pid, trackSteps, "steps")
	end := int64(0)
	for _, s := range spans {
		from := max(s.from, end)
		if from >= s.to {
			continue
		}
		end = s.to
		step := &tl.Steps[s.step]
		p.complete(pid, trackSteps, step.Label, "step", from, s.to, fmt.Sprintf(`"stage":%s,"launches":%d`, p.quoted(string(step.Stage)), s.launches))
	}
}

// runs are the stretches in which work of one kind follows itself.
func (p *perfetto) runs(tl *attrib.Timeline, pid, tid int, cat string, of func(*attrib.Work) string) {
	p.track(pid, tid, cat+"s")
	kind, from, to, n := "", int64(0), int64(0), 0
	flush := func(next int64) {
		if n > 0 {
			if next > 0 {
				to = min(to, next)
			}
			p.complete(pid, tid, kind, cat, from, to, fmt.Sprintf(`"launches":%d`, n))
		}
	}
	for i := range tl.Works {
		w := &tl.Works[i]
		if k := of(w); k != kind || n == 0 {
			flush(w.Start)
			kind, from, to, n = k, w.Start, 0, 0
		}
		to, n = max(to, w.End()), n+1
	}
	flush(0)
}

// verdicts are tracks of the kernels that the overlap and fuse tables name.
func (p *perfetto) verdicts(t *profile.Tables, tl *attrib.Timeline, pid int) {
	byName := map[stageName]string{}
	var words []string
	for i := range t.Overlap {
		o := &t.Overlap[i]
		word := o.Priority + " " + o.Recommendation
		byName[stageName{o.Stage, o.Kernel}] = word
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	slices.Sort(words)
	for i, word := range words {
		p.track(pid, trackVerdicts+i, word)
		p.unions(tl, pid, trackVerdicts+i, "verdict", func(w *attrib.Work) bool {
			return byName[stageName{w.Stage, tl.Names[w.Name].Canonical}] == word
		})
	}
}

type stageName struct {
	stage attrib.Stage
	name  string
}

// classes are tracks of the classes, those with most time first.
func (p *perfetto) classes(tl *attrib.Timeline, pid int) {
	totals := map[kernel.Class]int64{}
	for i := range tl.Works {
		totals[tl.Names[tl.Works[i].Name].Class] += tl.Works[i].Dur
	}
	list := make([]kernel.Class, 0, len(totals))
	for c := range totals {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b kernel.Class) int { return cmp.Or(cmp.Compare(totals[b], totals[a]), cmp.Compare(a, b)) })
	for i, class := range list {
		p.track(pid, trackClasses+i, "class "+string(class))
		p.unions(tl, pid, trackClasses+i, "class", func(w *attrib.Work) bool { return tl.Names[w.Name].Class == class })
	}
}

// unions are the stretches in which at least one piece of chosen work runs, named
// by the kernel that runs longest in each.
func (p *perfetto) unions(tl *attrib.Timeline, pid, tid int, cat string, chosen func(*attrib.Work) bool) {
	from, to, n, longest := int64(0), int64(0), 0, -1
	flush := func() {
		if n > 0 {
			p.complete(pid, tid, tl.Names[tl.Works[longest].Name].Short, cat, from, to, fmt.Sprintf(`"launches":%d`, n))
		}
	}
	for i := range tl.Works {
		w := &tl.Works[i]
		switch {
		case !chosen(w):
		case n > 0 && w.Start < to:
			to, n = max(to, w.End()), n+1
			if w.Dur > tl.Works[longest].Dur {
				longest = i
			}
		default:
			flush()
			from, to, n, longest = w.Start, w.End(), 1, i
		}
	}
	flush()
}

// streams are the pieces of work themselves with what was found of them.
func (p *perfetto) streams(t *profile.Tables, tl *attrib.Timeline, pid int) {
	ends := make([][]int64, len(tl.Streams)) // lanes of a stream: work that overlaps needs several
	verdicts := map[stageName]string{}
	for i := range t.Overlap {
		o := &t.Overlap[i]
		verdicts[stageName{o.Stage, o.Kernel}] = o.Priority + " " + o.Recommendation
	}
	const lanes = 64
	for i := range tl.Works {
		w := &tl.Works[i]
		lane := slices.IndexFunc(ends[w.Stream], func(end int64) bool { return end <= w.Start })
		if lane < 0 && len(ends[w.Stream]) < lanes {
			lane = len(ends[w.Stream])
			ends[w.Stream] = append(ends[w.Stream], 0)
			name := fmt.Sprintf("stream %d", tl.Streams[w.Stream].Number)
			if lane > 0 {
				name += fmt.Sprintf(" (%d)", lane+1)
			}
			p.track(pid, trackStreams+int(w.Stream)*lanes+lane, name)
		}
		if lane < 0 {
			lane = lanes - 1
		}
		ends[w.Stream][lane] = w.End()
		name := &tl.Names[w.Name]
		args := `"class":` + p.quoted(string(name.Class)) + `,"stage":` + p.quoted(string(w.Stage)) +
			`,"launched at":` + p.quoted(tl.Location(w)) + `,"op":` + p.quoted(tl.Ops[w.Op]) + `,"raw name":` + p.quoted(name.Raw)
		if v := verdicts[stageName{w.Stage, name.Canonical}]; v != "" {
			args += `,"verdict":` + p.quoted(v)
		}
		if w.Graph {
			args += `,"graph":true`
		}
		if w.Residue {
			args += `,"launched before the recording":true`
		}
		p.complete(pid, trackStreams+int(w.Stream)*lanes+lane, name.Short, string(name.Class), w.Start, w.End(), args)
	}
}
