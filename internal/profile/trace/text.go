package trace

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ParseText reads the text form of a timeline: traces for tests, written by hand.
// It is turned into a profiler's JSON ([TextJSON]) and read as that, so that a
// hand-written case goes the way of a real file.
//
// One line is one event; # begins a comment. Times are microseconds with up to
// three decimals, as in the files, or carry a unit (ns, us, ms, s). A word with
// spaces stands in double quotes (Go's rules). Order and repetition are free.
//
//	meta rank=0 world=8 backend=nccl base=1700000000000000000 unit=ms stack shapes modules name=run trace.key=1.5
//	device 0 "NVIDIA H100 80GB HBM3" sms=132 major=9 minor=0 memory=85899345920 warp=32
//	process PID NAME [label=GPU 0]
//	thread PID/TID NAME
//
//	kernel START DUR NAME [stream=7] [corr=N] [ext=N] [pid=0] [device=0] [graph=N] [key=value…]
//	memcpy, memset          as kernel
//	launch START DUR NAME [corr=N] [ext=N] [kernel=NAME] [on=PID/TID] [key=value…]   cuda_runtime
//	driver                  as launch, cuda_driver
//	op START DUR NAME [ext=N] [on=PID/TID] [key=value…]
//	frame START DUR "file.py(12): f" [on=PID/TID]
//	mark START DUR NAME [ext=N] [on=PID/TID] [gpu] [stream=7] [pid=0]     user_annotation, with gpu its projection
//	sync START DUR NAME [stream=-1] [corr=N] [pid=0]
//	event PHASE CAT START DUR NAME [on=PID/TID] [key=value…]              anything else; DUR - leaves it out
//
// Without corr= and ext= there is none. The GPU's pid is 0, its tid the stream, 7
// by default; the host thread is 100/100, and on=200 means 200/200. key=value puts a
// member into args: JSON where it reads as such (grid=[1,2,3]), text otherwise; a
// key with spaces is written with underscores ("shared_memory" is "shared memory",
// "Input_Dims" is "Input Dims"). "[TP00-DP01]" before a pid stands for a rank of a
// merged file: pid="[TP00] 0".
func ParseText(text string) (*Trace, error) {
	doc, err := TextJSON(text)
	if err != nil {
		return nil, err
	}
	return Read(context.Background(), bytes.NewReader(doc), "text", Options{})
}

// TextJSON is the profiler's JSON for a timeline in text form; see [ParseText].
func TextJSON(text string) ([]byte, error) {
	w := textWriter{}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if err := w.line(lines.Text()); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return w.document(), nil
}

// members of a JSON object in the order of writing.
type textWriter struct {
	meta    []string // `"key": value`
	devices []string
	dist    []string
	events  []string
}

func (w *textWriter) document() []byte {
	var out bytes.Buffer
	out.WriteString("{\n  \"schemaVersion\": 1,\n")
	if len(w.devices) > 0 {
		fmt.Fprintf(&out, "  \"deviceProperties\": [\n    %s\n  ],\n", strings.Join(w.devices, ",\n    "))
	}
	if len(w.dist) > 0 {
		fmt.Fprintf(&out, "  \"distributedInfo\": {%s},\n", strings.Join(w.dist, ", "))
	}
	for _, m := range w.meta {
		fmt.Fprintf(&out, "  %s,\n", m)
	}
	out.WriteString("  \"traceEvents\": [")
	for i, e := range w.events {
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString("\n  ")
		out.WriteString(e)
	}
	out.WriteString("\n  ]\n}\n")
	return out.Bytes()
}

// textLine is one line: words without "=", and values by key in order.
type textLine struct {
	words []string
	keys  []string
	value map[string]string
}

func (w *textWriter) line(text string) error {
	l, err := splitLine(text)
	if err != nil || len(l.words) == 0 {
		return err
	}
	kind := l.words[0]
	l.words = l.words[1:]
	switch kind {
	case "meta":
		return w.metaLine(l)
	case "device":
		return w.deviceLine(l)
	case "process", "thread":
		return w.nameLine(kind, l)
	case "event":
		return w.eventLine(l)
	}
	row, known := textRows[kind]
	if !known {
		return fmt.Errorf("%q is no kind of event; expected one of %s", kind, textKinds())
	}
	return w.rowLine(row, l)
}

// textRow is how one kind of line becomes an event.
type textRow struct {
	cat string
	gpu bool
}

var textRows = map[string]textRow{
	"kernel": {"kernel", true}, "memcpy": {"gpu_memcpy", true}, "memset": {"gpu_memset", true}, "sync": {"cuda_sync", true},
	"launch": {"cuda_runtime", false}, "driver": {"cuda_driver", false}, "op": {"cpu_op", false},
	"frame": {"python_function", false}, "mark": {"user_annotation", false},
}

func textKinds() string {
	kinds := []string{"meta", "device", "process", "thread", "event"}
	for k := range textRows {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	return strings.Join(kinds, ", ")
}

func (w *textWriter) rowLine(row textRow, l textLine) error {
	if len(l.words) == 4 && l.words[3] == "gpu" && row.cat == "user_annotation" {
		row = textRow{"gpu_user_annotation", true}
		l.words = l.words[:3]
	}
	if len(l.words) != 3 {
		return fmt.Errorf("expected START DUR NAME and key=value pairs, found %q", strings.Join(l.words, " "))
	}
	if !row.gpu {
		return w.emit("X", row.cat, l.words[0], l.words[1], l.words[2], l)
	}
	stream := "7"
	if row.cat == "cuda_sync" {
		stream = "-1"
	}
	if s := l.value["stream"]; s != "" {
		stream = s
	}
	l.set("stream", stream)
	pid := "0"
	if p, given := l.value["pid"]; given {
		pid = p
		l.drop("pid")
	}
	if l.value["on"] == "" {
		l.set("on", pid+"/"+stream)
	}
	if _, given := l.value["device"]; !given {
		if _, err := strconv.Atoi(pid); err == nil {
			l.set("device", pid)
		}
	}
	return w.emit("X", row.cat, l.words[0], l.words[1], l.words[2], l)
}

func (w *textWriter) eventLine(l textLine) error {
	if len(l.words) != 5 {
		return fmt.Errorf("expected event PHASE CAT START DUR NAME, found %q", strings.Join(l.words, " "))
	}
	return w.emit(l.words[0], l.words[1], l.words[2], l.words[3], l.words[4], l)
}

// argNames are the short keys of the text form.
var argNames = map[string]string{"corr": "correlation", "ext": "External id", "graph": "graph id"}

func (w *textWriter) emit(phase, cat, start, dur, name string, l textLine) error {
	ts, err := textTime(start)
	if err != nil {
		return err
	}
	pid, tid, split := strings.Cut(l.on(), "/")
	if !split {
		tid = pid
	}
	var e strings.Builder
	fmt.Fprintf(&e, `{"ph": %s, "cat": %s, "name": %s, "pid": %s, "tid": %s, "ts": %s`, quote(phase), quote(cat), quote(name), textID(pid), textID(tid), ts)
	if dur != "-" {
		d, err := textTime(dur)
		if err != nil {
			return err
		}
		fmt.Fprintf(&e, `, "dur": %s`, d)
	}
	var args []string
	for _, k := range l.keys {
		if k == "on" {
			continue
		}
		args = append(args, quote(argName(k))+": "+textValue(k, l.value[k]))
	}
	if len(args) > 0 {
		fmt.Fprintf(&e, `, "args": {%s}`, strings.Join(args, ", "))
	}
	e.WriteByte('}')
	w.events = append(w.events, e.String())
	return nil
}

func argName(key string) string {
	if long, short := argNames[key]; short {
		return long
	}
	return strings.ReplaceAll(key, "_", " ")
}

func (w *textWriter) metaLine(l textLine) error {
	flags := map[string]string{"stack": "with_stack", "shapes": "record_shapes", "modules": "with_modules"}
	for _, word := range l.words {
		key, known := flags[word]
		if !known {
			return fmt.Errorf("%q is no flag of meta; expected stack, shapes, modules or key=value", word)
		}
		w.meta = append(w.meta, quote(key)+": 1")
	}
	for _, k := range l.keys {
		v := l.value[k]
		switch k {
		case "rank":
			w.dist = append(w.dist, `"rank": `+textValue(k, v))
		case "world":
			w.dist = append(w.dist, `"world_size": `+textValue(k, v))
		case "backend":
			w.dist = append(w.dist, `"backend": `+quote(v))
		case "base":
			w.meta = append(w.meta, `"baseTimeNanoseconds": `+textValue(k, v))
		case "unit":
			w.meta = append(w.meta, `"displayTimeUnit": `+quote(v))
		case "name":
			w.meta = append(w.meta, `"traceName": `+quote(v))
		default:
			key, custom := strings.CutPrefix(k, "trace.")
			if !custom {
				return fmt.Errorf("%q is no key of meta; other top-level keys are written trace.KEY=value", k)
			}
			w.meta = append(w.meta, quote(key)+": "+textValue(k, v))
		}
	}
	return nil
}

func (w *textWriter) deviceLine(l textLine) error {
	if len(l.words) != 2 {
		return errors.New("expected device ID NAME")
	}
	long := map[string]string{"sms": "numSms", "major": "computeMajor", "minor": "computeMinor", "memory": "totalGlobalMem", "warp": "warpSize"}
	d := []string{`"id": ` + textID(l.words[0]), `"name": ` + quote(l.words[1])}
	for _, k := range l.keys {
		key, known := long[k]
		if !known {
			return fmt.Errorf("%q is no key of device; expected sms, major, minor, memory or warp", k)
		}
		d = append(d, quote(key)+": "+textValue(k, l.value[k]))
	}
	w.devices = append(w.devices, "{"+strings.Join(d, ", ")+"}")
	return nil
}

func (w *textWriter) nameLine(kind string, l textLine) error {
	if len(l.words) != 2 {
		return fmt.Errorf("expected %s ID NAME", kind)
	}
	pid, tid, _ := strings.Cut(l.words[0], "/")
	if tid == "" {
		tid = "0"
	}
	row := func(name, key, value string) {
		w.events = append(w.events, fmt.Sprintf(`{"name": %q, "ph": "M", "ts": 0.000, "pid": %s, "tid": %s, "args": {%q: %s}}`, name, textID(pid), textID(tid), key, quote(value)))
	}
	row(kind+"_name", "name", l.words[1])
	if label, given := l.value["label"]; given {
		row("process_labels", "labels", label)
	}
	return nil
}

func (l *textLine) on() string {
	if on := l.value["on"]; on != "" {
		return on
	}
	return "100/100"
}

func (l *textLine) set(key, value string) {
	if _, known := l.value[key]; !known {
		l.keys = append(l.keys, key)
	}
	l.value[key] = value
}

func (l *textLine) drop(key string) {
	delete(l.value, key)
	l.keys = slices.DeleteFunc(l.keys, func(k string) bool { return k == key })
}

// splitLine cuts a line into words and key=value pairs. Quotes hold spaces, in
// words and in values; brackets too, for lists.
func splitLine(text string) (textLine, error) {
	l := textLine{value: map[string]string{}}
	rest := strings.TrimSpace(text)
	for rest != "" && rest[0] != '#' {
		key := ""
		if i := strings.IndexAny(rest, "= \t\"["); i > 0 && rest[i] == '=' {
			key, rest = rest[:i], rest[i+1:]
		}
		word, after, err := nextWord(rest)
		if err != nil {
			return l, err
		}
		if key == "" {
			l.words = append(l.words, word)
		} else {
			l.set(key, word)
		}
		rest = strings.TrimLeft(after, " \t")
	}
	return l, nil
}

func nextWord(s string) (word, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return "", "", fmt.Errorf("%s: a quote is not closed", s)
		}
		word, err = strconv.Unquote(quoted)
		return word, s[len(quoted):], err
	}
	if strings.HasPrefix(s, "[") || strings.HasPrefix(s, "{") {
		d := json.NewDecoder(strings.NewReader(s))
		var raw json.RawMessage
		if err := d.Decode(&raw); err == nil {
			return string(raw), s[d.InputOffset():], nil
		}
	}
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], s[i:], nil
	}
	return s, "", nil
}

// textTime is a time in microseconds as the JSON number of the files.
func textTime(s string) (string, error) {
	digits, shift := s, 3
	for _, u := range []struct {
		unit  string
		shift int
	}{{"ns", 0}, {"us", 3}, {"ms", 6}, {"s", 9}} {
		if d, ok := strings.CutSuffix(s, u.unit); ok {
			digits, shift = d, u.shift
			break
		}
	}
	ns, err := decimal([]byte(digits), shift)
	if err != nil {
		return "", fmt.Errorf("time %q %w; expected microseconds such as 12.5, or a unit: 12500ns, 12.5us, 3ms, 1s", s, err)
	}
	return formatNS(ns), nil
}

// formatNS writes nanoseconds as microseconds with three decimals, as the profiler does.
func formatNS(ns int64) string {
	return string(appendNS(nil, ns))
}

func appendNS(b []byte, ns int64) []byte {
	u := uint64(ns)
	if ns < 0 {
		b = append(b, '-')
		u = -u
	}
	b = strconv.AppendUint(b, u/1000, 10)
	f := u % 1000
	return append(b, '.', '0'+byte(f/100), '0'+byte(f/10%10), '0'+byte(f%10))
}

func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

// textID is a pid or tid: a number where it reads as one, a string otherwise.
func textID(s string) string {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && strconv.FormatInt(n, 10) == s {
		return s
	}
	return quote(s)
}

// textValue is JSON where the text reads as such; a kernel's name is always text.
func textValue(key, s string) string {
	if key != "kernel" && json.Valid([]byte(s)) {
		return s
	}
	return quote(s)
}
