package sim

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Times of the host in a trace: round figures of the right size.
const (
	opGap      = 9 * time.Microsecond // between two launches of an eager framework
	opLength   = 7 * time.Microsecond
	launchTime = 4 * time.Microsecond
	firstGPU   = 6 * time.Microsecond // from a launch to its kernel, at least
	kernelGap  = 900 * time.Nanosecond
)

// computeStream is the stream of the kernels, as the pool of torch numbers it.
const computeStream = 7

// tracer writes the events of one rank.
type tracer struct {
	b        bytes.Buffer
	shape    *SurfaceProfile
	n        profileName
	layers   int
	base     int64 // ns
	first    bool
	ext, cor int
	frame    int
	quoted   map[string][]byte
	gpuEnd   int64
	flows    bytes.Buffer
}

// traceBase is the beginning of the quarter in which an instant lies, from which
// torch's traces count: libkineto/src/output_json.h, 7,889,238 s.
func traceBase(at time.Time) int64 {
	const quarter = 7_889_238
	return at.Unix() / quarter * quarter * 1e9
}

// writeTrace writes one file. Torch compresses and writes to the final name, so
// that the file grows under it.
func (e *Engine) writeTrace(p *profile, n profileName, path string, frontend bool) error {
	t := &tracer{shape: e.surface.profile, n: n, layers: e.d.model.Layers, base: traceBase(p.began), quoted: map[string][]byte{}, first: true}
	text, err := t.file(p, path, frontend)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if strings.HasSuffix(path, ".gz") {
		if text, err = compress(text); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if e.o.Faults.profileCut {
		text = text[:len(text)*3/5]
	}
	return e.writeSlowly(path, text)
}

func compress(text []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(text); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// slowPieces is in how many pieces a slow file is written.
const slowPieces = 8

func (e *Engine) writeSlowly(path string, text []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	slow := e.o.Faults.profileSlow
	if slow <= 0 {
		_, err := f.Write(text)
		return err
	}
	piece := len(text)/slowPieces + 1
	for part := range slices.Chunk(text, piece) {
		time.Sleep(slow / slowPieces)
		if _, err := f.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// file is the whole text of one trace.
func (t *tracer) file(p *profile, path string, frontend bool) ([]byte, error) {
	meta := map[string]any{
		"schemaVersion": 1, "displayTimeUnit": "ms", "baseTimeNanoseconds": t.base, "traceName": path,
		"trace_id":         fmt.Sprintf("%016X%016X", hashText(path), hashText(t.n.ID)),
		"deviceProperties": []any{map[string]any{"id": 0, "name": t.n.GPU, "computeMajor": 9, "computeMinor": 0, "numSms": 132, "warpSize": 32}},
		"distributedInfo":  map[string]any{"backend": "nccl", "rank": t.n.Rank, "world_size": t.n.World, "pg_count": 1, "nccl_version": "2.27.7"},
	}
	if t.shape.Stack {
		meta["with_stack"] = 1
	}
	maps.Copy(meta, t.shape.Meta)
	if frontend {
		delete(meta, "distributedInfo")
	}
	head, err := json.Marshal(meta)
	if err != nil {
		return nil, err
	}
	t.b.Write(bytes.TrimSuffix(head, []byte("}")))
	t.b.WriteString(",\n\"traceEvents\": [\n")
	t.processes(frontend)
	if frontend {
		t.frontend(p)
	} else {
		for _, s := range p.steps {
			t.step(s)
		}
	}
	t.span(p)
	t.b.Write(t.flows.Bytes())
	t.b.WriteString("\n]}\n")
	return t.b.Bytes(), nil
}

// processes names the processes and the device.
func (t *tracer) processes(frontend bool) {
	name := t.shape.fill(t.shape.Process, t.n)
	if frontend {
		name = "APIServer"
	}
	t.metadata("process_name", t.n.PID, "name", t.quote(name))
	t.metadata("process_labels", t.n.PID, "labels", t.quote("CPU"))
	t.metadata("process_sort_index", t.n.PID, "sort_index", []byte(strconv.Itoa(t.n.PID)))
	if !frontend {
		t.metadata("process_name", t.n.Rank, "name", t.quote(name))
		t.metadata("process_labels", t.n.Rank, "labels", t.quote("GPU "+strconv.Itoa(t.n.Rank)))
		t.metadata("process_sort_index", t.n.Rank, "sort_index", []byte(strconv.Itoa(5000000+t.n.Rank)))
	}
}

func (t *tracer) metadata(name string, pid int, key string, value []byte) {
	t.comma()
	fmt.Fprintf(&t.b, `  {"name": %q, "ph": "M", "ts": 0.000, "pid": %d, "tid": 0, "args": {%q: %s}}`, name, pid, key, value)
}

func (t *tracer) comma() {
	if !t.first {
		t.b.WriteString(",\n")
	}
	t.first = false
}

func (t *tracer) quote(s string) []byte {
	if q, ok := t.quoted[s]; ok {
		return q
	}
	q, _ := jsonText(s)
	t.quoted[s] = []byte(q)
	return t.quoted[s]
}

// micros writes nanoseconds as microseconds with three decimals.
func micros(b *bytes.Buffer, ns int64) {
	b.WriteString(strconv.FormatInt(ns/1000, 10))
	b.WriteByte('.')
	rest := strconv.FormatInt(ns%1000, 10)
	b.WriteString("000"[len(rest):])
	b.WriteString(rest)
}

// event writes one complete event; ns count from the base.
func (t *tracer) event(cat, name string, pid, tid int, from, length int64, args string) {
	t.comma()
	fmt.Fprintf(&t.b, `  {"ph": "X", "cat": "%s", "name": %s, "pid": %d, "tid": %d, "ts": `, cat, t.quote(name), pid, tid)
	micros(&t.b, from)
	t.b.WriteString(`, "dur": `)
	micros(&t.b, length)
	fmt.Fprintf(&t.b, `, "args": {%s}}`, args)
}

func (t *tracer) flow(ph string, id, pid, tid int, at int64) {
	fmt.Fprintf(&t.flows, ",\n"+`  {"ph": "%s", "id": %d, "pid": %d, "tid": %d, "ts": `, ph, id, pid, tid)
	micros(&t.flows, at)
	t.flows.WriteString(`, "cat": "ac2g", "name": "ac2g"`)
	if ph == "f" {
		t.flows.WriteString(`, "bp": "e"`)
	}
	t.flows.WriteString("}")
}

// cpu is an event of the rank's scheduler thread.
func (t *tracer) cpu(cat, name string, from, length int64, args string) {
	t.event(cat, name, t.n.PID, t.n.PID, from, length, args)
}

// frames writes Python frames one within the other, outermost first.
func (t *tracer) frames(names []string, from, length int64, parent int) int {
	if !t.shape.Stack {
		return parent
	}
	for i, name := range names {
		inset := int64(i) * 10
		t.frame++
		above := "null"
		if parent > 0 {
			above = strconv.Itoa(parent)
		}
		t.cpu("python_function", name, from+inset, max(length-2*inset, 1), fmt.Sprintf(`"Python parent id": %s, "Python id": %d, "Ev Idx": %d`, above, t.frame, t.frame))
		parent = t.frame
	}
	return parent
}

// frontend writes the API server's own trace: frames without any GPU work.
func (t *tracer) frontend(p *profile) {
	for _, s := range p.steps {
		t.frames([]string{"asyncio/base_events.py(1922): _run_once", "entrypoints/openai/api_server.py(512): create_completion"},
			s.from.UnixNano()-t.base, int64(s.to.Sub(s.from)), 0)
	}
}

// span is the stretch of the whole profile.
func (t *tracer) span(p *profile) {
	if len(p.steps) == 0 {
		return
	}
	from := p.steps[0].from.UnixNano() - t.base
	t.comma()
	fmt.Fprintf(&t.b, `  {"ph": "X", "cat": "Trace", "name": "PyTorch Profiler (0)", "pid": "Spans", "tid": "PyTorch Profiler", "ts": `)
	micros(&t.b, from)
	t.b.WriteString(`, "dur": `)
	micros(&t.b, p.steps[len(p.steps)-1].to.UnixNano()-t.base-from)
	t.b.WriteString(`, "args": {"Op count": 0}}`)
}

// step writes one forward pass: its mark, its frames, and its launches, of which
// a captured one has a single replay for all layers.
func (t *tracer) step(s profiledStep) {
	from, length := s.from.UnixNano()-t.base, int64(s.to.Sub(s.from))
	n := t.n
	n.Prefills, n.PromptTokens, n.Decodes, n.N = s.prefills, s.promptTokens, s.decodes, s.prefills+s.decodes
	parent := t.frames(t.shape.Root, from, length*9/10, 0)
	mark := t.shape.fill(t.shape.Marks[s.kind()], n)
	if mark != "" {
		t.ext++
		t.cpu("user_annotation", mark, from+200, length*8/10, fmt.Sprintf(`"External id": %d, "Record function id": 0, "Ev Idx": %d`, t.ext, t.ext))
	}
	t.gpuEnd = max(t.gpuEnd, from+int64(firstGPU))
	began := t.gpuEnd
	at := t.launches(s, from+1000, length, parent)
	if mark != "" {
		t.event("gpu_user_annotation", mark, t.n.Rank, computeStream, began-1, t.gpuEnd-began+2, fmt.Sprintf(`"External id": %d`, t.ext))
	}
	t.ext++
	t.cor++
	t.cpu("cuda_runtime", "cudaStreamSynchronize", max(at, from+length/2), max(length/4, 1000), fmt.Sprintf(`"External id": %d, "cbid": 131, "correlation": %d`, t.ext, t.cor))
}

// parts are the launches of a step on this rank, with the time of each.
func (t *tracer) parts(list []SurfaceKernel, decode bool) []SurfaceKernel {
	out := make([]SurfaceKernel, 0, len(list))
	for _, k := range list {
		if k.Comm && t.n.TP == 1 {
			continue
		}
		if decode && k.Decode != "" {
			k.Kernel = k.Decode
		}
		if k.Launch == "" {
			k.Launch = "cudaLaunchKernel"
		}
		out = append(out, k)
	}
	return out
}

func weight(list []SurfaceKernel) (w float64) {
	for _, k := range list {
		w += k.Weight
	}
	return w
}

// launches writes the launches of a step and returns where the host is after them.
func (t *tracer) launches(s profiledStep, at, length int64, parent int) int64 {
	decode := s.kind() == "decode"
	before, layer, after := t.parts(t.shape.Before, decode), t.parts(t.shape.Layer, decode), t.parts(t.shape.After, decode)
	kernels := len(before) + len(after) + t.layers*len(layer)
	total := weight(before) + float64(t.layers)*weight(layer) + weight(after)
	free := float64(length)*0.85 - float64(kernels)*float64(kernelGap)
	unit := max(free, float64(kernels)*1200) / total // a kernel is 1.2 µs at least on average
	gap := min(int64(opGap), max(length*7/10/int64(kernels), int64(launchTime)))
	eager := func(list []SurfaceKernel) {
		for _, k := range list {
			t.eager(k, at, int64(k.Weight*unit), parent)
			at += gap
		}
	}
	eager(before)
	if s.graph {
		at = t.replay(layer, unit, at, parent)
	} else {
		for range t.layers {
			eager(layer)
		}
	}
	eager(after)
	return at
}

// eager writes one launch with its operator, frames, kernel and flow.
func (t *tracer) eager(k SurfaceKernel, at, length int64, parent int) {
	t.frames(k.Frames, at-300, int64(opLength)+600, parent)
	t.ext++
	t.cor++
	if k.Op != "" {
		t.cpu("cpu_op", k.Op, at, int64(opLength), fmt.Sprintf(`"External id": %d, "Record function id": 0, "Ev Idx": %d`, t.ext, t.ext))
	}
	cat, cbid := "cuda_runtime", 211
	if strings.HasPrefix(k.Launch, "cu") && !strings.HasPrefix(k.Launch, "cuda") {
		cat, cbid = "cuda_driver", 652
	}
	launch := at + 1500
	t.cpu(cat, k.Launch, launch, int64(launchTime), fmt.Sprintf(`"External id": %d, "cbid": %d, "correlation": %d`, t.ext, cbid, t.cor))
	t.kernel(k, launch, length, fmt.Sprintf(`"External id": %d, `, t.ext))
}

// kernel writes a kernel behind the one before it, with its flow.
func (t *tracer) kernel(k SurfaceKernel, launch, length int64, more string) {
	start := max(t.gpuEnd+int64(kernelGap), launch+int64(firstGPU))
	length = max(length, 800)
	t.gpuEnd = start + length
	t.event("kernel", k.Kernel, t.n.Rank, computeStream, start, length, fmt.Sprintf(
		`%s"queued": 0, "device": %d, "context": 1, "stream": %d, "correlation": %d, "registers per thread": 64, "shared memory": 0, "blocks per SM": 1.5, "warps per SM": 12.0, "grid": [%d, %d, %d], "block": [%d, %d, %d], "est. achieved occupancy %%": 45`,
		more, t.n.Rank, computeStream, t.cor, max(k.Grid[0], 1), max(k.Grid[1], 1), max(k.Grid[2], 1), max(k.Block[0], 1), max(k.Block[1], 1), max(k.Block[2], 1)))
	t.flow("s", t.cor, t.n.PID, t.n.PID, launch)
	t.flow("f", t.cor, t.n.Rank, computeStream, start)
}

// replay writes the replay of a graph: one launch, whose correlation all kernels
// of all layers have, and no External id on them.
func (t *tracer) replay(layer []SurfaceKernel, unit float64, at int64, parent int) int64 {
	length := int64(120 * time.Microsecond)
	t.frames(t.shape.Replay, at, length, parent)
	t.ext++
	t.cor++
	launch := at + 2000
	t.cpu("cuda_runtime", "cudaGraphLaunch", launch, length-4000, fmt.Sprintf(`"External id": %d, "cbid": 311, "correlation": %d`, t.ext, t.cor))
	node := 0
	for range t.layers {
		for _, k := range layer {
			node++
			t.kernel(k, launch, int64(k.Weight*unit), fmt.Sprintf(`"graph id": 3, "graph node id": %d, `, node))
		}
	}
	return at + length + int64(opGap)
}
