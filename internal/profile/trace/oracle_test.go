package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// The oracle reads a whole document with encoding/json and says, line by line,
// what the tables must hold. It shares no code with the reader.
type oracle struct {
	lines  []string
	events int
	skips  int
}

func oracleOf(text []byte) (*oracle, error) {
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	list, bare := doc.([]any)
	if !bare {
		list, _ = doc.(map[string]any)["traceEvents"].([]any)
	}
	o := &oracle{}
	for _, e := range list {
		o.events++
		m, ok := e.(map[string]any)
		if !ok {
			o.skips++
			continue
		}
		o.event(m)
	}
	slices.Sort(o.lines)
	return o, nil
}

var oracleKinds = map[string]string{
	"kernel": "gpu", "gpu_memcpy": "gpu", "gpu_memset": "gpu", "memcpy": "gpu", "memset": "gpu",
	"cuda_runtime": "launch", "runtime": "launch", "cuda_driver": "launch", "cpu_op": "op", "operator": "op", "python_function": "frame",
	"user_annotation": "mark", "gpu_user_annotation": "mark", "cuda_sync": "sync",
}

func (o *oracle) event(m map[string]any) {
	kind := oracleKinds[strings.ToLower(plainText(m["cat"]))]
	if plainText(m["ph"]) != "X" || kind == "" {
		return
	}
	ts, ok1 := micros(m["ts"])
	dur, ok2 := micros(m["dur"])
	if !ok1 || !ok2 || dur < 0 {
		o.skips++
		return
	}
	args, ok := m["args"].(map[string]any)
	if v, given := m["args"]; given && v != nil && !ok && kind != "frame" {
		o.skips++ // counted, the event stays
	}
	line := fmt.Sprintf("%s %q %q/%q %d %d", kind, plainText(m["name"]), plainText(m["pid"]), plainText(m["tid"]), ts, dur)
	corr, _ := integer(args["correlation"], -1)
	ext := int64(-1)
	for _, k := range []string{"External id", "external id"} {
		if _, given := args[k]; given {
			ext, _ = integer(args[k], -1)
		}
	}
	switch kind {
	case "gpu":
		tid, _ := strconv.ParseInt(plainText(m["tid"]), 10, 64)
		stream, ok := integer(args["stream"], tid)
		if !ok {
			stream = tid
		}
		device, _ := integer(args["device"], -1)
		line += fmt.Sprintf(" corr=%d ext=%d stream=%d device=%d", corr, ext, stream, device)
	case "launch":
		line += fmt.Sprintf(" corr=%d ext=%d kernel=%q", corr, ext, stringOr(args["kernel"]))
	case "op":
		line += fmt.Sprintf(" ext=%d", ext)
	}
	if kind != "frame" && kind != "mark" {
		line += " " + canonical(args)
	}
	o.lines = append(o.lines, line)
}

func stringOr(v any) string { s, _ := v.(string); return s }

func plainText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return string(v)
	case bool:
		return fmt.Sprint(v)
	}
	return ""
}

func micros(v any) (int64, bool) {
	if farExponent(plainText(v)) {
		return 0, false
	}
	r, ok := new(big.Rat).SetString(plainText(v))
	if !ok || strings.ContainsAny(plainText(v), "/_xXpP") {
		return 0, false
	}
	r.Mul(r, big.NewRat(1000, 1))
	n := new(big.Int).Abs(r.Num())
	n.Mul(n, big.NewInt(2)).Add(n, r.Denom()).Quo(n, new(big.Int).Mul(r.Denom(), big.NewInt(2)))
	if r.Sign() < 0 {
		n.Neg(n)
	}
	return n.Int64(), n.IsInt64()
}

func integer(v any, without int64) (int64, bool) {
	text := plainText(v)
	if hex, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 64)
		return int64(n), err == nil
	}
	if farExponent(text) {
		return without, false
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok || strings.ContainsAny(text, "/_xXpPbBoO") || !r.IsInt() || !r.Num().IsInt64() {
		return without, false
	}
	return r.Num().Int64(), true
}

// farExponent tells numbers that exact arithmetic would take forever over.
func farExponent(text string) bool {
	i := strings.LastIndexAny(text, "eE")
	return i >= 0 && len(strings.TrimLeft(text[i+1:], "+-0")) > 3
}

func canonical(args map[string]any) string {
	if len(args) == 0 {
		return ""
	}
	b, _ := json.Marshal(args) // keys in order
	return string(b)
}

// linesOf is a trace in the oracle's words.
func linesOf(t *Trace) []string {
	var lines []string
	span := func(kind string, s Span) string {
		th := t.Threads[s.Thread]
		return fmt.Sprintf("%s %q %q/%q %d %d", kind, t.Text(s.Name), t.Procs[th.Proc].PID, th.TID, s.Start, s.Dur)
	}
	args := func(a Args) string {
		if a.n == 0 {
			return ""
		}
		d := json.NewDecoder(strings.NewReader(t.ArgText(a)))
		d.UseNumber()
		var m map[string]any
		if err := d.Decode(&m); err != nil {
			return err.Error()
		}
		return canonical(m)
	}
	for _, g := range t.GPU.All() {
		lines = append(lines, span("gpu", g.Span)+fmt.Sprintf(" corr=%d ext=%d stream=%d device=%d ", g.Corr, g.Ext, g.Stream, g.Device)+args(g.Args))
	}
	for _, l := range t.Launches.All() {
		lines = append(lines, span("launch", l.Span)+fmt.Sprintf(" corr=%d ext=%d kernel=%q ", l.Corr, l.Ext, t.Text(l.Kernel))+args(l.Args))
	}
	for _, p := range t.Ops.All() {
		lines = append(lines, span("op", p.Span)+fmt.Sprintf(" ext=%d ", p.Ext)+args(p.Args))
	}
	for _, f := range t.Frames.All() {
		lines = append(lines, span("frame", f.Span))
	}
	for _, a := range t.Annotations.All() {
		lines = append(lines, span("mark", a.Span))
	}
	for _, s := range t.Syncs.All() {
		lines = append(lines, span("sync", s.Span)+" "+args(s.Args))
	}
	slices.Sort(lines)
	return lines
}

func skipped(t *Trace) int {
	n := int64(0)
	for _, s := range t.Skipped {
		n += s.Count
	}
	return int(n)
}
