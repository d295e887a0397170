package trace

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"
)

// rawEvent is one entry of traceEvents as it stands in the text. Strings are
// what is between the quotes, escapes unresolved.
type rawEvent struct {
	phase, cat, name []byte
	pid, tid         []byte // text of a number, or of a string
	ts, dur          []byte // text of the value, without quotes; nil when absent
	args             []byte // the whole value; nil when absent
	id               []byte // of a flow
	raw              []byte // the whole event
	escaped          bool   // a backslash stands in one of the strings
	offset           int64
}

// foreign reports whether an object has members, and none of an event.
func (e *rawEvent) foreign() bool {
	return e.phase == nil && e.cat == nil && e.name == nil && e.ts == nil && len(bytes.Trim(e.raw, "{} \t\r\n")) > 0
}

// builder turns raw events into the tables of a Trace.
type builder struct {
	t    *Trace
	o    Options
	full error // a limit that was hit

	names   map[string]NameID
	quick   [4096]NameID
	arena   []byte
	text    int64 // bytes of names
	procs   map[string]ProcID
	threads map[string]ThreadID
	scopes  map[string]int32
	recent  [256]recentThread
	cats    map[string]*category
	lastCat *category
	phases  map[[2]string]int64 // counts of phases that are not one letter
	skips   map[string]int
	kept    map[string]Args
	room    []byte // for escapes
	argRoom []byte
	keyRoom []byte
	hip     bool
}

type category struct {
	text   string
	kind   Category
	counts [128]int64 // by phase letter
}

type recentThread struct {
	pid, tid []byte
	id       ThreadID
}

func newBuilder(source string, o Options) *builder {
	return &builder{
		t:     &Trace{Source: source, names: []string{""}, Meta: Meta{Distributed: Distributed{Rank: -1}}},
		o:     o,
		names: map[string]NameID{"": 0}, procs: map[string]ProcID{}, threads: map[string]ThreadID{},
		scopes: map[string]int32{}, cats: map[string]*category{}, phases: map[[2]string]int64{},
		skips: map[string]int{}, kept: map[string]Args{},
	}
}

// kinds maps category texts, in lower case, to what they are. The capitalised
// ones of old profilers ("Kernel", "Runtime", "Operator") fall together with the new.
var kinds = map[string]Category{
	"kernel": CatKernel, "concurrent_kernel": CatKernel, "gpu_memcpy": CatMemcpy, "memcpy": CatMemcpy, "gpu_memset": CatMemset, "memset": CatMemset,
	"cuda_runtime": CatRuntime, "hip_runtime": CatRuntime, "runtime": CatRuntime, "cuda_driver": CatDriver,
	"cpu_op": CatCPUOp, "operator": CatCPUOp, "python_function": CatFrame,
	"user_annotation": CatAnnotation, "gpu_user_annotation": CatGPUAnnotation, "cuda_sync": CatSync,
	"ac2g": CatFlow, "async_cpu_to_gpu": CatFlow, "async_gpu": CatFlow, "fwdbwd": CatFlow,
}

func kindOf(text string) Category {
	lower := strings.ToLower(text)
	if k, known := kinds[lower]; known {
		return k
	}
	for _, prefix := range []string{"mtia_", "xpu_", "privateuse1_", "hpu_", "glow_"} {
		if strings.HasPrefix(lower, prefix) {
			return CatForeign
		}
	}
	return CatOther
}

func (b *builder) category(text []byte) *category {
	if c := b.lastCat; c != nil && c.text == string(text) {
		return c
	}
	c := b.cats[string(text)]
	if c == nil {
		if len(b.cats) >= maxCategories {
			text = []byte("(more categories)")
			if c = b.cats[string(text)]; c != nil {
				return c
			}
		}
		c = &category{text: string(text), kind: kindOf(string(text))}
		b.cats[c.text] = c
	}
	b.lastCat = c
	return c
}

// add takes one entry that is an object.
func (b *builder) add(e *rawEvent) {
	if e.escaped {
		b.resolve(e)
	}
	c := b.category(e.cat)
	phase := byte(0)
	if len(e.phase) == 1 && e.phase[0] < 128 {
		phase = e.phase[0]
		c.counts[phase]++
	} else if len(b.phases) < maxCategories {
		b.phases[[2]string{string(e.phase), c.text}]++
	}
	switch {
	case phase == 'M':
		b.addMeta(e)
	case phase == 'X' && c.kind >= CatKernel && c.kind <= CatSync:
		b.addSpan(e, c.kind)
	}
}

// resolve replaces the strings of e by what their escapes mean.
func (b *builder) resolve(e *rawEvent) {
	for _, s := range []*[]byte{&e.phase, &e.cat, &e.name, &e.pid, &e.tid} {
		if bytes.IndexByte(*s, '\\') >= 0 {
			*s = unquote(*s, nil)
		}
	}
}

func (b *builder) addSpan(e *rawEvent, kind Category) {
	start, err := parseNS(e.ts)
	if err != nil {
		b.skip(e.reason("ts", e.ts, err), e.offset)
		return
	}
	dur, err := parseNS(e.dur)
	if err != nil {
		b.skip(e.reason("dur", e.dur, err), e.offset)
		return
	}
	if dur < 0 {
		b.skip("dur is negative", e.offset)
		return
	}
	if start > 0 && start+dur < 0 {
		b.skip("the end is out of range", e.offset)
		return
	}
	thread := b.thread(e.pid, e.tid)
	span := Span{Start: start, Dur: dur, Name: b.name(e.name), Thread: thread}
	switch kind {
	case CatFrame:
		b.t.Frames.Append().Span = span
	case CatCPUOp:
		a := b.readArgs(e, false)
		*b.t.Ops.Append() = Op{Span: span, Ext: a.ext, Args: b.keep(a.kept)}
	case CatRuntime, CatDriver:
		b.addLaunch(e, kind, span)
	case CatAnnotation, CatGPUAnnotation:
		*b.t.Annotations.Append() = Annotation{Span: span, OnGPU: kind == CatGPUAnnotation, Ext: b.readArgs(e, false).ext}
	case CatSync:
		a := b.readArgs(e, false)
		if !a.hasStream {
			a.stream = -1
		}
		*b.t.Syncs.Append() = Sync{Span: span, Corr: a.corr, Stream: a.stream, Args: b.keep(a.kept)}
	default:
		a := b.readArgs(e, false)
		if !a.hasStream {
			a.stream, _ = parseInt(e.tid)
		}
		if b.t.GPU.Len() >= b.o.MaxWork && b.full == nil {
			b.full = &LimitError{Source: b.t.Source, What: "pieces of GPU work", Limit: int64(b.o.MaxWork)}
		}
		*b.t.GPU.Append() = GPU{Span: span, Cat: kind, Corr: a.corr, Ext: a.ext, Stream: a.stream, Device: int32(a.device), Args: b.keep(a.kept)}
	}
}

func (b *builder) addLaunch(e *rawEvent, kind Category, span Span) {
	a := b.readArgs(e, true)
	row := Launch{Span: span, Cat: kind, Corr: a.corr, Ext: a.ext, Args: b.keep(a.kept)}
	if a.kernel != nil {
		row.Kernel = b.name(b.plain(a.kernel))
	}
	if !b.hip && strings.HasPrefix(b.t.names[span.Name], "hip") {
		b.hip = true
	}
	*b.t.Launches.Append() = row
}

// reason words why a time could not be read.
func (e *rawEvent) reason(key string, value []byte, err error) string {
	switch {
	case value == nil:
		return key + " is missing"
	case string(value) == "null":
		return key + " is null"
	}
	return key + " " + err.Error()
}

func (b *builder) readArgs(e *rawEvent, launch bool) argValues {
	if e.args == nil {
		return argValues{corr: NoID, ext: NoID, device: -1}
	}
	a := readArgs(e.args, b.o.Args, launch, b.argRoom)
	if a.kept != nil {
		b.argRoom = a.kept
	}
	if a.bad && string(e.args) != "null" {
		b.skip("args is no object; the event was kept without it", e.offset)
	}
	return a
}

// keep stores the text of kept args, equal ones once.
func (b *builder) keep(text []byte) Args {
	if len(text) == 0 {
		return Args{}
	}
	if a, known := b.kept[string(text)]; known {
		return a
	}
	last := len(b.t.args) - 1
	if last < 0 || len(b.t.args[last])+len(text) > argBlock {
		if len(text) > argBlock || int64(last+2)*argBlock > b.o.MaxText {
			b.skip("args were dropped: larger than what is kept", -1)
			return Args{}
		}
		b.t.args = append(b.t.args, make([]byte, 0, argBlock))
		last++
	}
	at := len(b.t.args[last])
	mem := append(b.t.args[last], text...)
	b.t.args[last] = mem
	a := Args{off: uint32(last*argBlock + at), n: uint32(len(text))}
	b.kept[stringOf(mem[at:])] = a
	return a
}

// addMeta takes the names of processes and threads from an M row.
func (b *builder) addMeta(e *rawEvent) {
	switch string(e.name) {
	case "process_name":
		p := b.process(e.pid)
		b.t.Procs[p].Name = b.argText(e, true)
	case "process_labels":
		p := b.process(e.pid)
		b.t.Procs[p].Label = b.argText(e, false)
	case "thread_name":
		th := b.thread(e.pid, e.tid)
		b.t.Threads[th].Name = b.argText(e, true)
	}
}

func (b *builder) argText(e *rawEvent, name bool) string {
	a := readArgs(e.args, ArgsNone, false, nil)
	text := a.labels
	if name {
		text = a.name
	}
	return b.t.names[b.name(b.plain(text))]
}

// plain resolves escapes; the result lives until the next call.
func (b *builder) plain(text []byte) []byte {
	if bytes.IndexByte(text, '\\') < 0 {
		return text
	}
	b.room = unquote(text, b.room)
	return b.room
}

// skip counts an event (or a part of one) that was left out.
func (b *builder) skip(reason string, offset int64) {
	i, known := b.skips[reason]
	if !known {
		if len(b.skips) >= maxSkipReasons {
			return
		}
		i = len(b.t.Skipped)
		b.skips[reason] = i
		b.t.Skipped = append(b.t.Skipped, Skip{Reason: reason, Offset: offset})
	}
	b.t.Skipped[i].Count++
}

// name interns s. A direct-mapped cache answers nearly always: few names make
// most events.
func (b *builder) name(s []byte) NameID {
	if len(s) == 0 {
		return 0
	}
	slot := &b.quick[hash(s)&uint32(len(b.quick)-1)]
	if b.t.names[*slot] == string(s) {
		return *slot
	}
	id, known := b.names[string(s)]
	if !known {
		if !utf8.Valid(s) {
			return b.name(validUTF8(s))
		}
		id = b.newName(s)
	}
	*slot = id
	return id
}

func (b *builder) newName(s []byte) NameID {
	b.text += int64(len(s))
	if len(b.t.names) >= b.o.MaxNames && b.full == nil {
		b.full = &LimitError{Source: b.t.Source, What: "distinct names", Limit: int64(b.o.MaxNames)}
	}
	if b.text > b.o.MaxText && b.full == nil {
		b.full = &LimitError{Source: b.t.Source, What: "bytes of distinct names", Limit: b.o.MaxText}
	}
	text := b.store(s)
	id := NameID(len(b.t.names))
	b.t.names = append(b.t.names, text)
	b.names[text] = id
	return id
}

// store copies s into a block that many strings share.
func (b *builder) store(s []byte) string {
	if len(s) > 1024 {
		return string(s)
	}
	if cap(b.arena)-len(b.arena) < len(s) {
		b.arena = make([]byte, 0, 64<<10)
	}
	at := len(b.arena)
	b.arena = append(b.arena, s...)
	return stringOf(b.arena[at:])
}

// validUTF8 replaces each byte that is no UTF-8 by U+FFFD, as JSON readers do.
func validUTF8(s []byte) []byte {
	var out []byte
	for len(s) > 0 {
		r, n := utf8.DecodeRune(s)
		out = utf8.AppendRune(out, r)
		s = s[n:]
	}
	return out
}

// hash is for the caches: cheap, and different where names differ (length, both ends, middle).
func hash(s []byte) uint32 {
	h := uint64(len(s)) * 0x9e3779b97f4a7c15
	if len(s) >= 8 {
		h ^= binary.LittleEndian.Uint64(s)
		h *= 0xff51afd7ed558ccd
		h ^= binary.LittleEndian.Uint64(s[len(s)-8:])
		h *= 0xc4ceb9fe1a85ec53
		h ^= binary.LittleEndian.Uint64(s[(len(s)-8)/2:])
	} else {
		for _, c := range s {
			h = h<<8 ^ uint64(c) ^ h>>56
		}
	}
	h *= 0xff51afd7ed558ccd
	return uint32(h >> 40)
}

// thread finds or makes the row of (pid, tid).
func (b *builder) thread(pid, tid []byte) ThreadID {
	slot := &b.recent[(hash(pid)^hash(tid)*31)&uint32(len(b.recent)-1)]
	if slot.pid != nil && bytes.Equal(slot.tid, tid) && bytes.Equal(slot.pid, pid) {
		return slot.id
	}
	key := append(append(append(b.keyRoom[:0], pid...), 0), tid...)
	b.keyRoom = key
	id, known := b.threads[string(key)]
	if !known {
		b.countID(len(key))
		id = ThreadID(len(b.t.Threads))
		b.t.Threads = append(b.t.Threads, Thread{Proc: b.process(pid), TID: text(tid)})
		b.threads[string(key)] = id
	}
	slot.pid, slot.tid, slot.id = append(make([]byte, 0, len(pid)+1), pid...), bytes.Clone(tid), id
	return id
}

func (b *builder) process(pid []byte) ProcID {
	if id, known := b.procs[string(pid)]; known {
		return id
	}
	b.countID(len(pid))
	p := Process{PID: text(pid)}
	label, _ := SplitPID(p.PID)
	p.Scope = b.scope(label)
	id := ProcID(len(b.t.Procs))
	b.t.Procs = append(b.t.Procs, p)
	b.procs[string(pid)] = id
	return id
}

// countID holds the names of threads and processes to the limits of names.
func (b *builder) countID(size int) {
	b.text += int64(size)
	if (b.text > b.o.MaxText || len(b.t.Threads)+len(b.t.Procs) >= b.o.MaxNames) && b.full == nil {
		b.full = &LimitError{Source: b.t.Source, What: "distinct threads", Limit: int64(b.o.MaxNames)}
	}
}

func (b *builder) scope(label string) int32 {
	id, known := b.scopes[label]
	if !known {
		id = int32(len(b.t.Scopes))
		b.t.Scopes = append(b.t.Scopes, Scope{Label: label})
		b.scopes[label] = id
	}
	return id
}

// text is s as a string of its own, with bytes that are no UTF-8 replaced.
func text(s []byte) string {
	if !utf8.Valid(s) {
		s = validUTF8(s)
	}
	return string(s)
}

// SplitPID takes the rank apart that a merger of traces puts before a pid:
// "[TP00-DP01] 123" is "TP00-DP01" and "123". Without one the label is "".
// Source: python/sglang/srt/utils/profile_merger.py@1a4eb3f9.
func SplitPID(pid string) (label, rest string) {
	if !strings.HasPrefix(pid, "[") {
		return "", pid
	}
	label, rest, ok := strings.Cut(pid[1:], "] ")
	if !ok || label == "" {
		return "", pid
	}
	for part := range strings.SplitSeq(label, "-") {
		word := strings.TrimRight(part, "0123456789")
		if word == part || word == "" || strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return "", pid
		}
	}
	return label, rest
}

func (b *builder) wants(key string) bool { return wantsMeta(key) }

func (b *builder) stopped() error { return b.full }

// finish ends the trace: counts in order, at least one scope.
func (b *builder) finish() *Trace {
	t := b.t
	for _, c := range b.cats {
		for phase, n := range c.counts {
			if n > 0 {
				t.Counts = append(t.Counts, Count{Phase: string(rune(phase)), Category: text([]byte(c.text)), Events: n})
			}
		}
	}
	for key, n := range b.phases {
		t.Counts = append(t.Counts, Count{Phase: text([]byte(key[0])), Category: text([]byte(key[1])), Events: n})
	}
	slices.SortFunc(t.Counts, func(x, y Count) int {
		return cmp.Or(cmp.Compare(y.Events, x.Events), cmp.Compare(x.Category, y.Category), cmp.Compare(x.Phase, y.Phase))
	})
	if len(t.Scopes) == 0 {
		t.Scopes = []Scope{{}}
	}
	t.Meta.ROCm = t.Meta.ROCm || b.hip
	return t
}
