package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// member is one key and its value as JSON text; the order of writing counts.
type member struct{ key, value string }

// layout is how a writer puts white space.
type layout struct {
	name                      string
	open, between, end, colon string // around the members of an event
	line                      []int  // kineto: several members per line, by count
	argOpen, argSep, argEnd   string // around args
	eventSep                  string // between two events
	head, tail                string // around the array
}

// The layouts that occur: kineto's own (several fields per line), its newer form
// (one per line), Python's json.dump, and json.dump with indent 2.
// Source: pytorch/kineto libkineto/src/output_json.cpp@114171df.
var layouts = []layout{
	{name: "kineto", open: "{\n    ", between: ", ", end: "\n  }", colon: ": ", line: []int{5, 7}, argOpen: "{\n      ", argSep: ",\n      ", argEnd: "\n    }", eventSep: ",\n  ", head: "\n{\n  \"schemaVersion\": 1,\n  \"traceEvents\": [\n  ", tail: "\n  ],\n  \"traceName\": \"a.json\",\n  \"baseTimeNanoseconds\": 1700000000000000000\n}"},
	{name: "one per line", open: "{\n    ", between: ",\n    ", end: "\n  }", colon: ": ", argOpen: "{\n      ", argSep: ",\n      ", argEnd: "\n    }", eventSep: ",\n  ", head: "{\n  \"traceEvents\": [\n  ", tail: "\n  ],\n  \"baseTimeNanoseconds\": 1700000000000000000,\n  \"displayTimeUnit\": \"ms\"\n}\n"},
	{name: "json.dump", open: "{", between: ", ", end: "}", colon: ": ", argOpen: "{", argSep: ", ", argEnd: "}", eventSep: ", ", head: "{\"schemaVersion\": 1, \"baseTimeNanoseconds\": 1700000000000000000, \"traceEvents\": [", tail: "], \"traceName\": \"a\"}"},
	{name: "indent 2", open: "{\n      ", between: ",\n      ", end: "\n    }", colon: ": ", argOpen: "{\n        ", argSep: ",\n        ", argEnd: "\n      }", eventSep: ",\n    ", head: "{\n  \"metadata\": {\n    \"x\": [1, {\"traceEvents\": []}]\n  },\n  \"traceEvents\": [\n    ", tail: "\n  ],\n  \"baseTimeNanoseconds\": 1700000000000000000\n}\n"},
	{name: "bare array", open: "{", between: ",", end: "}", colon: ":", argOpen: "{", argSep: ",", argEnd: "}", eventSep: ",", head: "[", tail: "]"},
}

func (l layout) event(members, args []member) string {
	var b strings.Builder
	b.WriteString(l.open)
	if len(args) > 0 {
		var a strings.Builder
		a.WriteString(l.argOpen)
		for i, m := range args {
			if i > 0 {
				a.WriteString(l.argSep)
			}
			a.WriteString(jsonQuote(m.key) + l.colon + m.value)
		}
		a.WriteString(l.argEnd)
		members = append(members[:len(members):len(members)], member{"args", a.String()})
	}
	for i, m := range members {
		if i > 0 {
			sep := l.between
			for _, at := range l.line {
				if i == at {
					sep = ",\n    "
				}
			}
			b.WriteString(sep)
		}
		b.WriteString(jsonQuote(m.key) + l.colon + m.value)
	}
	b.WriteString(l.end)
	return b.String()
}

func (l layout) document(events []string) []byte {
	return []byte(l.head + strings.Join(events, l.eventSep) + l.tail)
}

func jsonQuote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)
	return strings.TrimSpace(b.String())
}

// plausible writes a run of n steps as a profiler would: frames, operators,
// launches, kernels, flows, and the rows of names.
func plausible(l layout, steps int) []byte {
	var events []string
	id := 1
	put := func(members []member, args ...member) { events = append(events, l.event(members, args)) }
	x := func(cat, name, pid, tid string, ts, dur int64) []member {
		return []member{{"ph", `"X"`}, {"cat", jsonQuote(cat)}, {"name", jsonQuote(name)}, {"pid", pid}, {"tid", tid}, {"ts", formatNS(ts)}, {"dur", formatNS(dur)}}
	}
	for s := range steps {
		at := int64(4909914214922949) + int64(s)*1e6
		for d := range 12 {
			put(x("python_function", fmt.Sprintf("serving/models/layer_%d.py(%d): forward", d, 10*d), "4711", "4711", at+int64(d)*10, 900000-int64(d)*20),
				member{"Python id", strconv.Itoa(id + d)}, member{"Python parent id", "null"}, member{"Ev Idx", strconv.Itoa(id + d)})
		}
		for k := range 3 {
			ts := at + 1000 + int64(k)*100000
			ext, corr := strconv.Itoa(id), strconv.Itoa(id+100000)
			put(x("cpu_op", "aten::mm", "4711", "4711", ts, 50000), member{"External id", ext}, member{"Record function id", "0"}, member{"Input Dims", "[[8, 16], [16, 32]]"}, member{"Ev Idx", ext})
			put(x("cuda_runtime", "cudaLaunchKernel", "4711", "4711", ts+10000, 5000), member{"External id", ext}, member{"cbid", "211"}, member{"correlation", corr})
			put([]member{{"ph", `"s"`}, {"id", corr}, {"pid", "4711"}, {"tid", "4711"}, {"ts", formatNS(ts + 10000)}, {"cat", `"ac2g"`}, {"name", `"ac2g"`}})
			put(x("kernel", fmt.Sprintf("void gemm_kernel<%d, float>(int, float const*)", k), "0", "7", ts+200000, 80001), member{"External id", ext}, member{"device", "0"}, member{"stream", "7"}, member{"correlation", corr}, member{"grid", "[8, 1, 1]"}, member{"block", "[128, 1, 1]"}, member{"registers per thread", "64"})
			put([]member{{"ph", `"f"`}, {"id", corr}, {"pid", "0"}, {"tid", "7"}, {"ts", formatNS(ts + 200000)}, {"cat", `"ac2g"`}, {"name", `"ac2g"`}, {"bp", `"e"`}})
			id++
		}
	}
	put([]member{{"name", `"process_name"`}, {"ph", `"M"`}, {"ts", "0.000"}, {"pid", "0"}, {"tid", "0"}}, member{"name", `"python"`})
	put([]member{{"name", `"Record Window End"`}, {"ph", `"i"`}, {"s", `"g"`}, {"pid", `""`}, {"tid", `""`}, {"ts", formatNS(5e15)}})
	return l.document(events)
}

// wildEvent draws one event in any of the shapes that the reader must agree on
// with a plain JSON reader.
func wildEvent(t *rapid.T, l layout) string {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	if rapid.IntRange(0, 30).Draw(t, "odd") == 0 {
		return pick("odd entry", `null`, `"text"`, `17`, `[1,{"ph":"X"}]`, `true`, `{}`)
	}
	name := jsonQuote(rapid.StringOf(rapid.RuneFrom([]rune(`abc"\/{}[]:, é😀`+"\n\t\x01"))).Draw(t, "name"))
	if rapid.Bool().Draw(t, "escape") {
		name = strings.Replace(name, "a", pick("escaped", `a`, `\ud83d\ude00`, `\ud800`, `\/`, `\b`), 1)
	}
	members := []member{
		{"ph", pick("ph", `"X"`, `"X"`, `"X"`, `"\u0058"`, `"M"`, `"i"`, `"XX"`)},
		{"cat", pick("cat", `"kernel"`, `"Kernel"`, `"cpu_op"`, `"python_function"`, `"cuda_runtime"`, `"Runtime"`, `"cuda_sync"`, `"gpu_memcpy"`, `"user_annotation"`, `"ac2g"`, `"mtia_runtime"`, `"ker\u006eel"`, `null`, `7`)},
		{"name", name},
		{"pid", pick("pid", `0`, `12`, `"Spans"`, `""`, `"[TP00-DP01] 7"`, `-3`, `"a\nb"`)},
		{"tid", pick("tid", `0`, `7`, `"x"`, `1000007`, `-1`)},
		{"ts", pick("ts", `4909914214922.949`, `1695835542481129`, `1.5e3`, `"12.5"`, `null`, `"soon"`, `-4.0005`, `0.0004`, `1234.56789`, `9e99`, `1E+2`, `true`, `[1]`)},
		{"dur", pick("dur", `0`, `4.686`, `68.0`, `null`, `-1`, `"3"`, `1e-3`, `0.00049999`, `0.0005`, `{}`)},
	}
	var args []member
	for range rapid.IntRange(0, 6).Draw(t, "args") {
		args = append(args, member{
			pick("key", "correlation", "External id", "stream", "device", "kernel", "grid", "Ev Idx", "", "Python id", "a\"b", "finished"),
			pick("value", `1`, `0`, `"12"`, `"0x1f"`, `null`, `[1, 2, 3]`, `{"x": [{"y": "}"}]}`, `"N/A"`, `"k\u0065y {"`, `3.25`, `-7`, `true`, `"a\\"`, `[]`, `{}`)})
	}
	if rapid.IntRange(0, 9).Draw(t, "extra") == 0 {
		members = append(members, member{pick("extra key", "args", "id", "bp", "unknown", "name", "ts"), pick("extra value", `"text"`, `null`, `5`, `[{"ph": "X"}]`, `"e"`)})
	}
	if rapid.Bool().Draw(t, "shuffle") {
		members = rapid.Permutation(members).Draw(t, "order")
	}
	if n := rapid.IntRange(0, 12).Draw(t, "missing"); n < len(members) && n > 1 {
		members = append(members[:n:n], members[n+1:]...)
	}
	if rapid.IntRange(0, 5).Draw(t, "spaces") == 0 {
		l.between, l.colon = pick("sep", ",", " ,\n ", ",\t", ", "), pick("colon", ":", " : ", ":\r\n")
	}
	return l.event(members, args)
}
