package sim

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// maxProfileSteps bounds one trace.
const maxProfileSteps = 2000

var (
	errProfiling    = errors.New("profiling is already in progress")
	errNotProfiling = errors.New("profiling is not in progress")
)

// profile collects the events of a trace while the profiler runs.
type profile struct {
	dir, id string
	left    int // steps to go; 0 = until it is stopped
	steps   int
	began   time.Time
	events  []traceEvent
	corr    int
}

// traceEvent is one event of the Chrome trace format; times are microseconds.
type traceEvent struct {
	Ph   string         `json:"ph"`
	Cat  string         `json:"cat,omitempty"`
	Name string         `json:"name"`
	PID  any            `json:"pid"`
	TID  any            `json:"tid"`
	Ts   float64        `json:"ts"`
	Dur  float64        `json:"dur,omitempty"`
	Args map[string]any `json:"args,omitempty"`
}

// startProfile begins a trace; the body may name output_dir, num_steps and
// profile_id.
func (e *Engine) startProfile(body []byte) error {
	var o struct {
		OutputDir string          `json:"output_dir"`
		NumSteps  json.RawMessage `json:"num_steps"`
		ProfileID string          `json:"profile_id"`
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &o); err != nil {
			return fmt.Errorf("start_profile: %w", err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.profile != nil {
		return errProfiling
	}
	now := time.Now()
	p := &profile{dir: o.OutputDir, id: filepath.Base(filepath.Clean("/" + o.ProfileID)), began: now}
	if o.ProfileID == "" {
		p.id = strconv.FormatFloat(float64(now.UnixMicro())/1e6, 'f', 6, 64)
	}
	if p.dir == "" {
		p.dir = e.inv.text("profile_dir")
	}
	if p.dir == "" {
		p.dir = filepath.Join(e.o.Dir, "traces")
	}
	if n, err := strconv.Atoi(trimQuotes(string(o.NumSteps))); err == nil && n > 0 {
		p.left = n
	}
	e.profile = p
	return nil
}

func trimQuotes(s string) string {
	if len(s) >= 2 && s[0] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// step adds the events of one forward pass: a CPU operator, the launch, and the
// kernels of its parts in the shares that the cost model gives them.
func (p *profile) step(d *deployment, from, to time.Time) {
	if p.steps >= maxProfileSteps || p.left > 0 && p.steps >= p.left {
		return
	}
	p.steps++
	ts := float64(from.Sub(p.began).Nanoseconds()) / 1000
	dur := float64(to.Sub(from).Nanoseconds()) / 1000
	p.events = append(p.events, traceEvent{Ph: "X", Cat: "cpu_op", Name: "aten::forward_step", PID: 1, TID: 1, Ts: ts, Dur: dur,
		Args: map[string]any{"External id": p.steps}})
	at := ts + 5
	for _, k := range profileKernels {
		if k.comm && d.tp == 1 {
			continue
		}
		p.corr++
		length := dur * k.share * 0.9
		p.events = append(p.events,
			traceEvent{Ph: "X", Cat: "cuda_runtime", Name: "cudaLaunchKernel", PID: 1, TID: 1, Ts: ts + float64(p.corr%8), Dur: 3,
				Args: map[string]any{"External id": p.steps, "correlation": p.corr}},
			traceEvent{Ph: "X", Cat: "kernel", Name: k.name, PID: 0, TID: 7, Ts: at, Dur: length,
				Args: map[string]any{"External id": p.steps, "correlation": p.corr, "stream": 7, "device": 0}})
		at += length
	}
}

// profileKernels are the parts of a step with their shares of its time.
var profileKernels = []struct {
	name  string
	share float64
	comm  bool
}{
	{"gemm_bf16_tn_128x128", 0.55, false},
	{"flash_fwd_splitkv_kernel", 0.2, false},
	{"ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 0.12, true},
	{"rms_norm_kernel", 0.08, false},
	{"act_and_mul_kernel", 0.05, false},
}

// stopProfile writes the trace: <dir>/<id>-TP-<rank>.trace.json.gz.
func (e *Engine) stopProfile() error {
	e.mu.Lock()
	p := e.profile
	e.profile = nil
	e.mu.Unlock()
	if p == nil {
		return errNotProfiling
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return p.write(filepath.Join(p.dir, p.id+"-TP-0.trace.json.gz"), e.d)
}

func (p *profile) write(path string, d *deployment) (err error) {
	tmp := path + ".tmp"
	f, err := os.Create(tmp)
	if err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	defer os.Remove(tmp)
	z := gzip.NewWriter(f)
	err = json.NewEncoder(z).Encode(map[string]any{
		"schemaVersion": 1, "displayTimeUnit": "ms", "baseTimeNanoseconds": p.began.UnixNano(),
		"deviceProperties": []map[string]any{{"id": 0, "name": d.gpu.Title}},
		"traceName":        filepath.Base(path), "traceEvents": append([]traceEvent{}, p.events...),
	})
	if e := z.Close(); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("trace %s: %w", path, err)
	}
	return nil
}
