package profile

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/trace"
)

// Info is what one trace holds, before any table is made of it.
type Info struct {
	SchemaVersion int          `json:"schema_version"`
	Path          string       `json:"path"`
	Bytes         int64        `json:"bytes"` // decompressed
	Events        int64        `json:"events"`
	Break         *trace.Break `json:"break,omitempty"` // where the file stops being whole
	Skipped       []trace.Skip `json:"skipped"`

	Framework string            `json:"framework"`
	Evidence  []string          `json:"framework_evidence"`
	Versions  map[string]string `json:"versions,omitempty"`
	Name      string            `json:"trace_name,omitempty"`

	// BaseNS is what times count from, in ns since the epoch; 0 where they count from
	// the epoch themselves. First and Span are of all events in tables.
	BaseNS int64        `json:"base_ns"`
	First  attrib.Nanos `json:"first_us"`
	Span   attrib.Nanos `json:"span_us"`

	Rank      int            `json:"rank"` // distributedInfo; -1 where the trace does not say
	WorldSize int            `json:"world_size,omitempty"`
	Backend   string         `json:"backend,omitempty"`
	Scopes    []string       `json:"merged_ranks,omitempty"` // of a merged file, by label
	GPUs      []trace.Device `json:"gpu_models"`
	Devices   []InfoDevice   `json:"devices"`

	Categories []trace.Count `json:"categories"` // by phase and category, most first
	Missing    []Missing     `json:"missing"`
}

// InfoDevice is one GPU of the trace.
type InfoDevice struct {
	GPUPID    string                           `json:"gpu_pid"`
	Name      string                           `json:"name,omitempty"`
	Rank      string                           `json:"rank,omitempty"`
	GPUEvents attrib.GPUEvents                 `json:"gpu_events"`
	Streams   []int64                          `json:"streams"`
	Stages    map[attrib.Stage]attrib.StageRow `json:"stages"`
	Steps     map[attrib.Stage]int             `json:"steps"` // forward passes that are marked
}

// Missing is something that full attribution wants and the trace lacks.
type Missing struct {
	What string `json:"what"`
	So   string `json:"so"`   // what follows
	Cure string `json:"cure"` // what to record; "" = nothing helps
}

// Inspect reads a trace and says what is in it.
func Inspect(ctx context.Context, path string, engines engine.Set, read trace.Options) (*Info, error) {
	t, err := trace.Open(ctx, path, read)
	if err != nil {
		return nil, err
	}
	tls, err := attrib.ResolveAll(t, attrib.Options{Engines: engines})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	i := &Info{
		SchemaVersion: SchemaVersion, Path: path, Bytes: t.Bytes, Events: t.Events, Break: t.Break, Skipped: t.Skipped,
		Framework: tls[0].Engine, Evidence: tls[0].Evidence, Versions: t.Meta.Versions, Name: t.Meta.TraceName,
		BaseNS: t.Meta.BaseNS, Rank: t.Meta.Distributed.Rank, WorldSize: t.Meta.Distributed.WorldSize, Backend: t.Meta.Distributed.Backend,
		GPUs: t.Meta.Devices, Categories: t.Counts, Devices: []InfoDevice{}, Missing: []Missing{},
	}
	for _, s := range t.Scopes {
		if s.Label != "" {
			i.Scopes = append(i.Scopes, s.Label)
		}
	}
	i.First, i.Span = extent(t)
	for _, tl := range tls {
		if len(tl.Works) > 0 {
			i.Devices = append(i.Devices, infoDevice(tl))
		}
	}
	i.Missing = append(i.Missing, missing(t, tls)...)
	return i, nil
}

func infoDevice(tl *attrib.Timeline) InfoDevice {
	d := InfoDevice{GPUPID: tl.PID(), Name: tl.Trace.Procs[tl.Proc].Name, GPUEvents: attrib.CountGPU(tl), Stages: attrib.StageTotals(tl), Steps: map[attrib.Stage]int{}}
	if int(tl.Scope) < len(tl.Trace.Scopes) {
		d.Rank = tl.Trace.Scopes[tl.Scope].Label
	}
	for _, s := range tl.Streams {
		d.Streams = append(d.Streams, s.Number)
	}
	slices.Sort(d.Streams)
	for _, s := range tl.Steps {
		if s.Stage != "" {
			d.Steps[s.Stage]++
		}
	}
	return d
}

// extent is from the first start to the last end of what stands in tables.
func extent(t *trace.Trace) (first, span attrib.Nanos) {
	from, to := int64(math.MaxInt64), int64(math.MinInt64)
	add := func(s trace.Span) { from, to = min(from, s.Start), max(to, s.End()) }
	for _, e := range t.GPU.All() {
		add(e.Span)
	}
	for _, e := range t.Launches.All() {
		add(e.Span)
	}
	for _, e := range t.Ops.All() {
		add(e.Span)
	}
	for _, e := range t.Frames.All() {
		add(e.Span)
	}
	for _, e := range t.Annotations.All() {
		add(e.Span)
	}
	if from > to {
		return 0, 0
	}
	return attrib.Nanos(from), attrib.Nanos(to - from)
}

// missing lists what stands between the trace and full attribution.
func missing(t *trace.Trace, tls []*attrib.Timeline) []Missing {
	var out []Missing
	add := func(is bool, what, so, cure string) {
		if is {
			out = append(out, Missing{what, so, cure})
		}
	}
	gpu := attrib.GPUEvents{}
	steps, staged, unlinked := 0, false, false
	for _, tl := range tls {
		e := attrib.CountGPU(tl)
		gpu.Launches += e.Launches
		gpu.NoLaunch.Launches += e.NoLaunch.Launches
		gpu.Residue.Launches += e.Residue.Launches
		gpu.Residue.Total += e.Residue.Total
		gpu.Graph.Launches += e.Graph.Launches
		steps += len(tl.Steps)
		unlinked = unlinked || tl.Unlinked
		for s := range attrib.StageTotals(tl) {
			staged = staged || s != attrib.All
		}
	}
	add(t.Break != nil, "the end of the file", "tables hold what precedes the break", "wait until the profiler has written the file, or record again")
	if gpu.Launches == 0 {
		add(true, "GPU activity"+foreign(t), "there are no tables to make", "record with ProfilerActivity.CUDA, on the rank that runs the model")
		return out
	}
	add(t.Frames.Len() == 0, "Python frames", "kernels have no place in the source", "record with with_stack=True, or give a mapping trace")
	add(t.Ops.Len() == 0, "CPU operators", "kernels have no operator", "record with ProfilerActivity.CPU")
	add(t.Launches.Len() == 0, "launches", "nothing links a kernel to the host: no stage by launch, no source", "record with ProfilerActivity.CPU")
	add(gpu.Graph.Launches > 0, fmt.Sprintf("sources of %d kernels in GPU graphs", gpu.Graph.Launches), "they show where the graph is launched", "add a trace without graphs, or of their capture, with --mapping")
	add(gpu.Residue.Launches > 0, fmt.Sprintf("launches of %d kernels (%s ms) from before the recording", gpu.Residue.Launches, millis(gpu.Residue.Total)), "they have no source; tables show them apart", "synchronize the GPU before the profiler starts")
	add(gpu.NoLaunch.Launches > gpu.Residue.Launches, fmt.Sprintf("launch records of %d kernels within the recording", gpu.NoLaunch.Launches-gpu.Residue.Launches), "they have no source", "")
	add(steps == 0, "marks of forward passes", "no table of steps, no step to draw", "use a version of the engine that marks them, or record_function in the model runner")
	add(!staged, "stages", "prefill and decode can't be told apart", "record the stages apart (profile capture does), or name the folders prefill and decode")
	add(unlinked, "links from kernels to operators (External id)", "operators are found by time", "record with PyTorch 2.6 or newer")
	add(len(t.Meta.Devices) == 0, "the GPU's model (deviceProperties)", "the report can't name it", "")
	add(!hasShapes(t), "shapes of operators", "no FLOP and byte figures", "record with record_shapes=True")
	return out
}

// hasShapes looks for recorded input shapes among the first operators.
func hasShapes(t *trace.Trace) bool {
	for i, op := range t.Ops.All() {
		if i == 2000 {
			break
		}
		if strings.Contains(string(t.Arg(op.Args, "Input Dims")), "[") {
			return true
		}
	}
	return false
}
