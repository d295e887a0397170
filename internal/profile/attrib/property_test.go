package attrib

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmdyno/internal/profile/trace"
)

// event is one line of a drawn timeline.
type event struct {
	kind, name string
	start, dur int
	corr, ext  int // 0: none
	thread     int // of the host; 0 for GPU work
	stream     int
}

var (
	drawnKernels = []string{"gemm_a", "gemm_b", "rms_norm", "ncclDevKernel_AllReduce", "void f<int>(int)", "void f<int>(char)"}
	drawnFrames  = []string{"vllm/a.py(1): f", "vllm/b.py(2): g", "/w/python/sglang/srt/c.py(3): h", "torch/nn/x.py(4): k", "threading.py(5): run", "model.py(6): m"}
	drawnMarks   = []string{"step[EXTEND bs=1 toks=9]", "step[DECODE bs=3]", "step[IDLE bs=0]", "execute_context_1(5)_generation_2(2)", "ProfilerStep#1", "note"}
	drawnCalls   = []string{"cudaLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync"}
)

// drawTimeline draws host and GPU events of one rank. No two of them start
// together: which comes first then does not hang on the order in the file.
func drawTimeline(t *rapid.T, label string) []event {
	n := rapid.IntRange(3, 40).Draw(t, label+" events")
	starts := rapid.SliceOfNDistinct(rapid.IntRange(0, 3000), n, n, rapid.ID).Draw(t, label+" starts")
	out := make([]event, n)
	for i, start := range starts {
		e := event{start: start, dur: rapid.IntRange(1, 400).Draw(t, "dur"), thread: rapid.IntRange(1, 2).Draw(t, "thread")}
		id := func(what string) int { return rapid.IntRange(0, 12).Draw(t, what) }
		switch e.kind = rapid.SampledFrom([]string{"kernel", "kernel", "launch", "launch", "op", "frame", "frame", "mark", "memcpy"}).Draw(t, "kind"); e.kind {
		case "kernel":
			e.name, e.corr, e.ext, e.stream, e.thread = rapid.SampledFrom(drawnKernels).Draw(t, "kernel"), id("corr"), id("ext"), rapid.IntRange(0, 2).Draw(t, "stream"), 0
		case "memcpy":
			e.name, e.corr, e.stream, e.thread = "Memcpy DtoD", id("corr"), 3, 0
		case "launch":
			e.name, e.corr, e.ext = rapid.SampledFrom(drawnCalls).Draw(t, "call"), id("corr"), id("ext")
		case "op":
			e.name, e.ext = rapid.SampledFrom([]string{"aten::mm", "aten::add"}).Draw(t, "op"), i+100 // ids of operators are their own
		case "frame":
			e.name = rapid.SampledFrom(drawnFrames).Draw(t, "frame")
		case "mark":
			e.name = rapid.SampledFrom(drawnMarks).Draw(t, "mark")
		}
		out[i] = e
	}
	return out
}

// written is the text form, later by shift, with these process ids.
func written(events []event, shift int, gpu, host string) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%s %d %d %q", e.kind, e.start+shift, e.dur, e.name)
		if e.corr > 0 {
			fmt.Fprintf(&b, " corr=%d", e.corr)
		}
		if e.ext > 0 {
			fmt.Fprintf(&b, " ext=%d", e.ext)
		}
		if e.thread > 0 {
			fmt.Fprintf(&b, " on=%q", fmt.Sprintf("%s/%d", host, e.thread))
		} else {
			fmt.Fprintf(&b, " stream=%d pid=%q", e.stream, gpu)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// tables are the tables of every GPU of a trace, as text.
func tables(t *rapid.T, text string) []string {
	tr, err := trace.ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	tls, err := ResolveAll(tr, Options{Engines: engines()})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]string, len(tls))
	for i, tl := range tls {
		var steps []string // without their times
		for _, s := range tl.Steps {
			steps = append(steps, fmt.Sprint(s.Label, s.Stage, s.End-s.Start))
		}
		doc, err := json.Marshal(struct {
			Engine  string
			Kernels []KernelRow
			Stages  map[Stage]StageRow
			Events  GPUEvents
			Steps   []string
		}{tl.Engine, Kernels(tl), StageTotals(tl), CountGPU(tl), steps})
		if err != nil {
			t.Fatal(err)
		}
		out[i] = string(doc)
	}
	return out
}

func equalTables(t *rapid.T, what string, got, want []string) {
	if len(got) != len(want) {
		t.Fatalf("%s: %d GPUs, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s changes the tables:\n%s\nwant\n%s", what, got[i], want[i])
		}
	}
}

func TestTablesHoldUnderWhatMeansNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := drawTimeline(t, "")
		want := tables(t, written(events, 0, "0", "100"))
		equalTables(t, "a shift of time", tables(t, written(events, rapid.IntRange(1, 1_000_000_000).Draw(t, "shift"), "0", "100")), want)
		equalTables(t, "other process ids", tables(t, written(events, 0, "9", "4711")), want)
		mixed := append([]event{}, events...)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		equalTables(t, "the order of events", tables(t, written(mixed, 0, "0", "100")), want)
	})
}

func TestRanksMergedEqualRanksApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zero, one := drawTimeline(t, "rank 0"), drawTimeline(t, "rank 1")
		apart := map[string]bool{}
		gpus := 0
		for _, events := range [][]event{zero, one} {
			for _, doc := range tables(t, written(events, 0, "0", "100")) {
				if !strings.Contains(doc, `"launches":0,"total_us":0,"kernels"`) {
					apart[withoutEngine(doc)] = true
					gpus++
				}
			}
		}
		merged := tables(t, written(zero, 0, "[TP00] 0", "[TP00] 100")+written(one, 0, "[TP01] 0", "[TP01] 100"))
		if gpus == 0 {
			return
		}
		if len(merged) != gpus {
			t.Fatalf("%d GPUs in the merged file, want %d", len(merged), gpus)
		}
		for _, doc := range merged {
			if !apart[withoutEngine(doc)] {
				t.Fatalf("this GPU of the merged file has other tables than in its own:\n%s", doc)
			}
		}
	})
}

// withoutEngine: the engine is told from all frames of a file.
func withoutEngine(doc string) string {
	_, rest, _ := strings.Cut(doc, ",")
	return rest
}

func TestSharesOfStagesAndRowsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr, err := trace.ParseText(written(drawTimeline(t, ""), 0, "0", "100"))
		if err != nil {
			t.Fatal(err)
		}
		tl, err := Resolve(tr, Options{Engines: engines()})
		if err != nil {
			t.Fatal(err)
		}
		whole, launches, total := 0.0, 0, Nanos(0)
		stages := StageTotals(tl)
		for _, s := range stages {
			whole += s.Share
			launches += s.Launches
			total += s.Total
		}
		if len(tl.Works) > 0 && math.Abs(whole-100) > 1e-9 || launches != len(tl.Works) || total != CountGPU(tl).Total {
			t.Fatalf("stages add up to %g %%, %d launches, %d ns; want 100 %%, %d, %d", whole, launches, total, len(tl.Works), CountGPU(tl).Total)
		}
		for _, r := range Kernels(tl) {
			s := stages[r.Stage]
			s.Launches -= r.Launches
			s.Total -= r.Total
			stages[r.Stage] = s
			sites := Nanos(0)
			for _, x := range r.Sites {
				sites += x.Total
			}
			if sites != r.Total || r.Min > r.Mean || r.Mean > r.Max {
				t.Fatalf("row %s: sites add up to %d of %d ns, mean %d outside of %d to %d", r.Name, sites, r.Total, r.Mean, r.Min, r.Max)
			}
		}
		for stage, s := range stages {
			if s.Launches != 0 || s.Total != 0 {
				t.Fatalf("%s: rows lack %d launches and %d ns", stage, s.Launches, s.Total)
			}
		}
	})
}

// The answers of the sweep, found the long way.
func TestSweepFindsWhatASearchFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []probe
		for i := range rapid.IntRange(1, 30).Draw(t, "probes") {
			list = append(list, probe{at: rapid.Int64Range(0, 100).Draw(t, "at"), group: rapid.Int32Range(0, 2).Draw(t, "group"), id: int32(i)})
		}
		var all, chosen []active
		p := newProbes(append([]probe{}, list...), 3)
		for i := range rapid.IntRange(0, 200).Draw(t, "spans") {
			start := rapid.Int64Range(0, 100).Draw(t, "start")
			a := active{start: start, end: start + rapid.Int64Range(0, 60).Draw(t, "length"), group: rapid.Int32Range(0, 2).Draw(t, "group"), row: int32(i)}
			all = append(all, a)
			if p.hit(a.group, a.start, a.end) {
				chosen = append(chosen, a)
			}
		}
		answered := 0
		p.answer(chosen, func(q probe, stack []active) {
			answered++
			have := map[int32]bool{}
			for _, a := range stack {
				if a.contains(q.at) {
					have[a.row] = true
				}
			}
			for _, a := range all {
				if want := a.group == q.group && a.contains(q.at); want != have[a.row] {
					t.Fatalf("span %+v at %+v: %t, want %t", a, q, have[a.row], want)
				}
			}
		})
		if answered != len(list) {
			t.Fatalf("%d of %d probes answered", answered, len(list))
		}
	})
}
