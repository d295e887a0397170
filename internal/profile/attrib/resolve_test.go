package attrib

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"llmdyno/internal/engine"
	"llmdyno/internal/engine/sglang"
	"llmdyno/internal/engine/tokenspeed"
	"llmdyno/internal/engine/trtllm"
	"llmdyno/internal/engine/vllm"
	"llmdyno/internal/profile/trace"
)

func engines() engine.Set {
	return engine.Set{sglang.New(), vllm.New(), trtllm.New(), tokenspeed.New()}
}

func parse(t *testing.T, text string) *trace.Trace {
	t.Helper()
	tr, err := trace.ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func resolved(t *testing.T, text string) *Timeline {
	t.Helper()
	tl, err := Resolve(parse(t, text), Options{Engines: engines()})
	if err != nil {
		t.Fatal(err)
	}
	return tl
}

// work finds the only work of a kernel name.
func work(t *testing.T, tl *Timeline, name string) *Work {
	t.Helper()
	var found *Work
	for i := range tl.Works {
		if tl.Names[tl.Works[i].Name].Canonical == name {
			if found != nil {
				t.Fatalf("%s runs more than once", name)
			}
			found = &tl.Works[i]
		}
	}
	if found == nil {
		t.Fatalf("%s is not among the works", name)
	}
	return found
}

// where is location and operator of the only work of a kernel name.
func where(t *testing.T, tl *Timeline, name string) (location, op string) {
	t.Helper()
	w := work(t, tl, name)
	return tl.Location(w), tl.Ops[w.Op]
}

func expectWhere(t *testing.T, tl *Timeline, name, location, op string) {
	t.Helper()
	if l, o := where(t, tl, name); l != location || o != op {
		t.Errorf("%s: launched at %q by %q, want %q by %q", name, l, o, location, op)
	}
}

func expectStage(t *testing.T, tl *Timeline, name string, want Stage) {
	t.Helper()
	if w := work(t, tl, name); w.Stage != want {
		t.Errorf("%s: stage %q, want %q", name, w.Stage, want)
	}
}

// Which events count.

func TestU06SynchronisationIsNoWork(t *testing.T) {
	tl := resolved(t, `
		kernel 10 5 gemm corr=1
		sync 10 400 "Context Sync" stream=7
		sync 12 300 "Stream Sync" stream=7`)
	if e := CountGPU(tl); e.Launches != 1 || e.Total != 5000 {
		t.Errorf("GPU work is %d launches, %d ns; want 1 and 5000", e.Launches, e.Total)
	}
}

func TestU07HostCallsWithAStreamAreNoWork(t *testing.T) {
	tl := resolved(t, `
		kernel 10 5 gemm corr=1 pid=2
		launch 1 9000 hipLaunchKernel corr=1 stream=0x0 on=597913/1`)
	if tl.PID() != "2" || len(tl.Works) != 1 || tl.Works[0].Dur != 5000 {
		t.Errorf("process %s with %d works, want 2 with 1", tl.PID(), len(tl.Works))
	}
}

func TestU08OtherAcceleratorsAreNoGPU(t *testing.T) {
	tl := resolved(t, `event X mtia_ccp_events 10 812 some_kernel on=3/1 stream=4`)
	if len(tl.Works) != 0 || tl.Proc != -1 {
		t.Errorf("%d works on process row %d, want none", len(tl.Works), tl.Proc)
	}
}

const twoGPUs = `
	kernel 10 50 small corr=1 pid=0
	kernel 10 70 large corr=2 pid=1
	kernel 90 70 equal corr=3 pid=10
	launch 1 1 cudaLaunchKernel corr=1
	launch 3 1 cudaLaunchKernel corr=2
	launch 5 1 cudaLaunchKernel corr=3`

func TestU09EveryGPUIsResolved(t *testing.T) {
	tls, err := ResolveAll(parse(t, twoGPUs), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var pids []string
	for _, tl := range tls {
		pids = append(pids, tl.PID())
	}
	// Most time first; of equals the lower process id, by number.
	if !slices.Equal(pids, []string{"1", "10", "0"}) {
		t.Errorf("GPUs %v, want [1 10 0]", pids)
	}
}

func TestU10IdsMeanSomethingWithinTheirRank(t *testing.T) {
	tl := resolved(t, `
		kernel 10 50 k corr=1 ext=7 pid="[TP00] 0"
		launch 3 1 cudaLaunchKernel corr=1 ext=7 on="[TP00] 100/100"
		op 2 4 aten::mm ext=7 on="[TP00] 100/100"
		frame 1 9 "vllm/a.py(1): f" on="[TP00] 100/100"
		kernel 10 40 k corr=1 ext=7 pid="[TP01] 0"
		launch 3 1 cudaLaunchKernel corr=1 ext=7 on="[TP01] 100/100"
		op 2 4 aten::add ext=7 on="[TP01] 100/100"
		frame 1 9 "vllm/b.py(1): f" on="[TP01] 100/100"`)
	expectWhere(t, tl, "k", "vllm/a.py:1 f", "aten::mm")
	if label := tl.Trace.Scopes[tl.Scope].Label; label != "TP00" {
		t.Errorf("the timeline is of rank %q, want TP00", label)
	}
}

func TestU11OneChoiceOfDeviceForAllTables(t *testing.T) {
	// Neither a process called TP00 nor one called TP-0 comes before the busiest.
	tl := resolved(t, `
		process 0 "TP00 gpu"
		process 1 "TP-0 gpu"
		kernel 1 5 a pid=0
		kernel 1 6 b pid=1`)
	if tl.PID() != "1" {
		t.Errorf("process %s, want 1", tl.PID())
	}
}

func TestU12WorkFromBeforeTheRecordingIsTold(t *testing.T) {
	tl := resolved(t, `
		kernel 1 10 left corr=90
		kernel 12 5 left stream=8 corr=91
		kernel 40 5 mine corr=1
		kernel 50 5 lost corr=92
		kernel 60 5 other corr=93 stream=9
		launch 30 1 cudaLaunchKernel corr=1`)
	e := CountGPU(tl)
	if e.NoLaunch.Launches != 4 || e.Residue.Launches != 2 || e.Residue.Total != 15000 {
		t.Errorf("%d without launch, residue %+v; want 4, 2 and 15000 ns", e.NoLaunch.Launches, e.Residue)
	}
	rows := Kernels(tl)
	i := slices.IndexFunc(rows, func(r KernelRow) bool { return r.Name == "left" })
	if rows[i].ResidueLaunches != 2 || rows[i].ResidueTotal != 15000 || rows[i].Launches != 2 {
		t.Errorf("row left: %+v, want its two launches shown as residue", rows[i])
	}
}

func TestResidueNeedsOneLinkedWork(t *testing.T) {
	// A trace of GPU activity alone has no launch records: nothing is left over.
	tl := resolved(t, "kernel 1 10 a corr=90\nkernel 20 10 a corr=91")
	if e := CountGPU(tl); e.Residue.Launches != 0 {
		t.Errorf("residue %d, want 0", e.Residue.Launches)
	}
}

func TestU48TheDeviceFilterAppliesToEveryTable(t *testing.T) {
	tr := parse(t, twoGPUs)
	tls, err := ResolveAll(tr, Options{Device: "0"})
	if err != nil {
		t.Fatal(err)
	}
	if len(tls) != 2 || tls[0].PID() != "10" || tls[1].PID() != "0" {
		t.Errorf("%d GPUs, want 10 and 0", len(tls))
	}
	_, err = Resolve(tr, Options{Device: "TP7"})
	var none *NoDeviceError
	if !errors.As(err, &none) || !slices.Equal(none.Have, []string{`"0"`, `"1"`, `"10"`}) {
		t.Errorf("error %v, want one that lists the processes 0, 1 and 10", err)
	}
}

// Stages.

func TestU22StagesOfMarks(t *testing.T) {
	for _, c := range []struct {
		mark string
		want Stage
	}{
		{"execute_context_3(4096)_generation_0(0)", Prefill},
		{"execute_context_0(0)_generation_64(64)", Decode},
		{"execute_context_2(900)_generation_12(12)", Mixed},
		{"execute_8192_context_9(sq8155sk8430sqsq1sqsk2)_generation_37(sq37sk3sqsq37sqsk3)", Mixed},
		{"execute_context_0(0)_generation_0(0)", All},
		{"generation_64", Decode},
		{"generation_2", Decode},
		{"context_2_generation_12", Mixed},
		{"step[EXTEND bs=1 toks=4090]", Prefill},
		{"step[SPLIT_PREFILL bs=1]", Prefill},
		{"step[DRAFT_EXTEND bs=1]", Prefill},
		{"step[DRAFT_EXTEND_V2 bs=1]", Prefill},
		{"step[DLLM_EXTEND bs=1]", Prefill},
		{"step[DECODE bs=8]", Decode},
		{"step[TARGET_VERIFY bs=8]", Decode},
		{"step[MIXED bs=8]", Mixed},
		{"step[IDLE bs=0]", All},
		{"[Executor] _forward_step 12: 2 ctx reqs, 0 gen reqs", Prefill},
		{"[Executor] _forward_step 12: 0 ctx reqs, 5 gen reqs", Decode},
		{"[Executor] _forward_step: 1 ctx reqs, 5 gen reqs", Mixed},
		{"prefill[bs=2 tok=800]", Prefill},
		{"decode[bs=64 tok=64]", Decode},
		{"execute_diffusion_1_1024x1024", All},
		{"scheduler.vlm.language_model_prefill", Prefill},
		{"DECODE", Decode},
		{"prefill and decode", Mixed},
		{"## decoder fp8 ##", All},
		{"sglang_prefilldecode", All},
		{"extended", All},
	} {
		tl := resolved(t, fmt.Sprintf("mark 1 10 %q\nlaunch 5 1 cudaLaunchKernel corr=1\nkernel 20 5 k corr=1", c.mark))
		if got := tl.Works[0].Stage; got != c.want {
			t.Errorf("%q: %s, want %s", c.mark, got, c.want)
		}
	}
}

func TestU23TheStageIsThatOfTheLaunch(t *testing.T) {
	// The GPU runs late: a prefill kernel while the host is in decode, and one long
	// after every mark has ended.
	tl := resolved(t, `
		mark 10 20 "step[EXTEND bs=1 toks=9]"
		launch 11 1 cudaLaunchKernel corr=1
		launch 12 1 cudaLaunchKernel corr=2
		mark 40 20 "step[DECODE bs=1]"
		launch 41 1 cudaLaunchKernel corr=3
		kernel 45 5 late corr=1
		kernel 5000 400 later corr=2
		kernel 6000 5 next corr=3`)
	expectStage(t, tl, "late", Prefill)
	expectStage(t, tl, "later", Prefill)
	expectStage(t, tl, "next", Decode)
}

func TestU24NothingTakesTheStageOfAMarkNearby(t *testing.T) {
	tl := resolved(t, `
		mark 10 20 "decode[bs=1]"
		launch 40 1 cudaLaunchKernel corr=1
		kernel 45 5 k corr=1`)
	expectStage(t, tl, "k", All)
}

func TestU25AnnotationsComeBeforeThePath(t *testing.T) {
	tr := parse(t, `
		mark 10 20 "step[DECODE bs=1]"
		launch 12 1 cudaLaunchKernel corr=1
		kernel 45 5 marked corr=1
		kernel 55 5 unmarked corr=2`)
	tl, err := Resolve(tr, Options{Engines: engines(), DefaultStage: Prefill})
	if err != nil {
		t.Fatal(err)
	}
	expectStage(t, tl, "marked", Decode)
	expectStage(t, tl, "unmarked", Prefill)
}

func TestStageOrderOfEvidence(t *testing.T) {
	tl := resolved(t, `
		mark 0 100 "step[EXTEND bs=1 toks=9]"
		mark 10 20 "decode[bs=2]" ext=55
		launch 15 1 cudaLaunchKernel corr=1
		kernel 200 5 inner corr=1
		launch 50 1 cudaLaunchKernel corr=2
		kernel 210 5 outer corr=2
		launch 60 1 cudaLaunchKernel corr=3
		kernel 220 5 byExternalID corr=3 ext=55
		mark 300 50 "step[DECODE bs=1]" gpu
		kernel 310 5 onGPU corr=9
		kernel 349 4 overTheEnd corr=9`)
	expectStage(t, tl, "inner", Decode)
	expectStage(t, tl, "outer", Prefill)
	expectStage(t, tl, "byExternalID", Decode)
	expectStage(t, tl, "onGPU", Decode)
	expectStage(t, tl, "overTheEnd", All) // its middle lies outside
}

func TestGraphKernelsTakeTheStageOfTheirLaunch(t *testing.T) {
	for _, api := range []string{"cudaGraphLaunch", "hipGraphLaunch", "cuGraphLaunch"} {
		tl := resolved(t, fmt.Sprintf(`
			mark 10 5 "step[DECODE bs=1]"
			launch 12 1 %s corr=1
			kernel 100 5 a corr=1
			kernel 110 5 b corr=1`, api))
		expectStage(t, tl, "a", Decode)
		expectStage(t, tl, "b", Decode)
		if e := CountGPU(tl); e.Graph.Launches != 2 || e.Graph.Graphs != 1 {
			t.Errorf("%s: %+v, want 2 kernels of 1 graph", api, e.Graph)
		}
	}
}

func TestSteps(t *testing.T) {
	tl := resolved(t, `
		mark 0 1000 "ProfilerStep#3"
		mark 10 20 "execute_9_context_1(sq9sk9sqsq9sqsk9)_generation_0(sq0sk0sqsq0sqsk0)"
		mark 11 18 "step[EXTEND bs=1 toks=9]"
		launch 12 1 cudaLaunchKernel corr=1
		mark 40 20 "step[DECODE bs=4]"
		launch 45 1 cudaGraphLaunch corr=2
		launch 90 1 cudaLaunchKernel corr=3
		kernel 100 5 first corr=1
		kernel 110 5 second corr=2
		kernel 120 5 outside corr=3`)
	if len(tl.Steps) != 2 || tl.Steps[0].Stage != Prefill || tl.Steps[1].Stage != Decode {
		t.Fatalf("steps %+v, want a prefill and a decode step: nested marks are of one pass", tl.Steps)
	}
	if s := tl.Steps[0]; s.ContextRequests != 1 || s.ContextTokens != 9 || s.Start != 10_000 || s.End != 30_000 {
		t.Errorf("first step %+v, want 1 request of 9 tokens at 10 to 30 us", s)
	}
	for name, want := range map[string]int32{"first": 0, "second": 1, "outside": -1} {
		if w := work(t, tl, name); w.Step != want {
			t.Errorf("%s is in step %d, want %d", name, w.Step, want)
		}
	}
}

func TestStepsOfTheProfilerWhereNothingElseMarks(t *testing.T) {
	tl := resolved(t, "mark 0 100 ProfilerStep#3\nmark 100 100 ProfilerStep#4\nlaunch 150 1 cudaLaunchKernel corr=1\nkernel 160 5 k corr=1")
	if len(tl.Steps) != 2 || tl.Works[0].Step != 1 || tl.Works[0].Stage != All {
		t.Errorf("steps %+v, work %+v: want two steps without stage, the work in the second", tl.Steps, tl.Works[0])
	}
}

// Attribution.

func TestU27ExternalIDsOfAnotherNumberSpace(t *testing.T) {
	// As written before 2024-10: ids of GPU work equal the correlation and meet
	// operators only by chance.
	tl := resolved(t, `
		op 100 20 aten::conv2d ext=3
		op 90000 20 aten::zero_ ext=1
		op 90100 20 aten::sum ext=2
		launch 105 5 cudaLaunchKernel corr=1 ext=1
		kernel 130 5 conv corr=1 ext=1
		launch 90105 5 cudaLaunchKernel corr=2 ext=9
		kernel 90130 5 sum corr=2 ext=9
		kernel 90150 5 lost corr=3 ext=2`)
	expectWhere(t, tl, "conv", Unresolved, "aten::conv2d")
	expectWhere(t, tl, "sum", Unresolved, "aten::sum")
	expectWhere(t, tl, "lost", Unresolved, "")
	if !tl.Unlinked || tl.InvalidLinks != 1 {
		t.Errorf("unlinked %t with %d invalid links, want true and 1 (the other id names nothing)", tl.Unlinked, tl.InvalidLinks)
	}
}

func TestLinkedOperators(t *testing.T) {
	tl := resolved(t, `
		frame 0 400 "vllm/model.py(9): forward"
		op 100 50 aten::linear ext=4
		op 110 30 aten::addmm ext=5
		launch 120 5 cudaLaunchKernel corr=1 ext=4
		kernel 200 5 outer corr=1 ext=4
		launch 126 5 cudaLaunchKernel corr=2
		kernel 210 5 inner corr=2
		kernel 220 5 unlaunched corr=8 ext=5
		launch 136 5 cudaLaunchKernel corr=4 ext=5
		kernel 225 5 rounded corr=4 ext=5
		launch 138 5.002 cudaLaunchKernel corr=5 ext=5
		kernel 235 5 longer corr=5 ext=5
		launch 300 5 cudaMemcpyAsync corr=3
		memcpy 230 5 "Memcpy HtoD (Pageable -> Device)" corr=3`)
	expectWhere(t, tl, "outer", "vllm/model.py:9 forward", "aten::linear")
	expectWhere(t, tl, "inner", "vllm/model.py:9 forward", "aten::addmm")
	expectWhere(t, tl, "unlaunched", "vllm/model.py:9 forward", "aten::addmm")
	// The end of a launch may lie one microsecond behind that of its operator.
	expectWhere(t, tl, "rounded", "vllm/model.py:9 forward", "aten::addmm")
	expectWhere(t, tl, "longer", "vllm/model.py:9 forward", "aten::addmm")
	expectWhere(t, tl, "Memcpy HtoD (Pageable -> Device)", "vllm/model.py:9 forward", "cudaMemcpyAsync")
	if tl.Unlinked {
		t.Error("unlinked, want the linked dialect")
	}
}

func TestLatestLaunchBeforeTheKernel(t *testing.T) {
	tl := resolved(t, `
		op 0 4 first
		op 10 4 second
		op 30 4 third
		launch 1 1 cudaLaunchKernel corr=1
		launch 11 1 cudaLaunchKernel corr=1
		launch 31 1 cudaLaunchKernel corr=1
		kernel 20 1 k corr=1
		kernel 9 1 early corr=2
		launch 31 1 cudaLaunchKernel corr=2
		launch 11 1 cudaLaunchKernel corr=2`)
	expectWhere(t, tl, "k", Unresolved, "second")
	expectWhere(t, tl, "early", Unresolved, "second") // none began before it: the earliest
}

func TestU28TheFrameIsThatOfTheLaunch(t *testing.T) {
	// A custom operator written in Python: its own frames lie within it.
	tl := resolved(t, `
		frame 0 100 "vllm/attention/layer.py(290): forward"
		op 10 80 vllm::unified_attention ext=1
		frame 20 60 "vllm/v1/attention/backends/flash.py(1064): forward"
		launch 30 5 cudaLaunchKernel corr=1 ext=1
		kernel 200 5 attn corr=1 ext=1`)
	expectWhere(t, tl, "attn", "vllm/v1/attention/backends/flash.py:1064 forward", "vllm::unified_attention")
}

func TestOperatorFramesWhereTheLaunchHasNone(t *testing.T) {
	tl := resolved(t, `
		frame 0 12 "vllm/worker.py(7): step"
		op 10 80 aten::mm ext=1
		frame 11.5 80 "threading.py(99): run"
		launch 30 5 cudaLaunchKernel corr=1 ext=1
		kernel 200 5 k corr=1 ext=1`)
	expectWhere(t, tl, "k", "vllm/worker.py:7 step", "aten::mm")
}

func TestU29AnyCallIsALaunch(t *testing.T) {
	tl := resolved(t, `
		frame 0 100 "vllm/worker.py(7): copy"
		launch 10 5 cudaMemcpyAsync corr=1
		launch 20 5 cudaMemsetAsync corr=2
		memcpy 200 5 "Memcpy DtoD" corr=1
		memset 210 5 "Memset (Device)" corr=2`)
	expectWhere(t, tl, "Memcpy DtoD", "vllm/worker.py:7 copy", "cudaMemcpyAsync")
	expectWhere(t, tl, "Memset (Device)", "vllm/worker.py:7 copy", "cudaMemsetAsync")
}

func TestU34TheLastFolderCounts(t *testing.T) {
	s := newSources(engines())
	for _, c := range []struct {
		frame, location string
		rank            int32
	}{
		{"/home/u/vllm/vllm/x.py(3): f", "vllm/x.py:3 f", 285},
		{"/sgl-workspace/sglang/python/sglang/srt/x.py(3): f", "python/sglang/srt/x.py:3 f", 300},
		{"sglang/srt/x.py(3): f", "sglang/srt/x.py:3 f", 290},
		{"/opt/vllm/lib/python3.12/site-packages/torch/nn/functional.py(3): linear", "torch/nn/functional.py:3 linear", 20},
		{"/home/sglang/.local/lib/python3.10/site-packages/transformers/m.py(3): f", "transformers/m.py:3 f", 120},
		{"/usr/lib/python3/dist-packages/vllm/y.py(3): f", "vllm/y.py:3 f", 285},
		{"/opt/vllm/lib/python3.12/json/decoder.py(3): f", "opt/vllm/lib/python3.12/json/decoder.py:3 f", 120},
		{"/opt/myvllm/x.py(3): f", "opt/myvllm/x.py:3 f", 120},
		{"/code/TensorRT-LLM/tensorrt_llm/_torch/m.py(3): f", "tensorrt_llm/_torch/m.py:3 f", 280},
		{"/app/tokenspeed/python/tokenspeed/runtime/m.py(3): f", "tokenspeed/runtime/m.py:3 f", 283},
		{"/x/site-packages/sgl_kernel/gemm.py(3): f", "sgl_kernel/gemm.py:3 f", 260},
		{"triton_kernels/matmul.py(3): f", "triton_kernels/matmul.py:3 f", 220},
		{"triton/runtime/jit.py(3): run", "triton/runtime/jit.py:3 run", 5},
		{"torch/nn/modules/module.py(1751): _call_impl", "torch/nn/modules/module.py:1751 _call_impl", 5},
		{"torch/_ops.py(3): __call__", "torch/_ops.py:3 __call__", 5},
		{"/w/model.py(3): __call__", "w/model.py:3 __call__", 40},
		{"/usr/lib/python3.10/threading.py(3): run", "", 0},
		{"threading.py(3): run", "", 0},
		{"asyncio/base_events.py(3): run", "", 0},
		{"<string>(1): <lambda>", "", 0},
		{"<built-in method mm of type object at 0x7f>", "", 0},
		{"nn.Module: Linear_3", "", 0},
		{"x.py(", "", 0},
		{"", "", 0},
	} {
		if p := s.read(c.frame); p.location != c.location || p.rank != c.rank {
			t.Errorf("%s: %q with rank %d, want %q with %d", c.frame, p.location, p.rank, c.location, c.rank)
		}
	}
}

func TestU35ModelCodeComesBeforeTheLibrary(t *testing.T) {
	tl := resolved(t, `
		frame 0 100 "model.py(3): main"
		frame 1 40 "model.py(10): attention"
		frame 2 30 "torch/nn/modules/linear.py(125): forward"
		launch 10 1 cudaLaunchKernel corr=1
		kernel 200 5 gemm corr=1
		frame 50 40 "model.py(20): mlp"
		frame 51 30 "torch/nn/modules/linear.py(125): forward"
		launch 60 1 cudaLaunchKernel corr=2
		kernel 210 9 gemm corr=2`)
	row := Kernels(tl)[0]
	if len(row.Sites) != 2 || row.Sites[0].Location != "model.py:20 mlp" || row.Sites[1].Location != "model.py:10 attention" {
		t.Fatalf("sites %+v, want mlp before attention", row.Sites)
	}
	if want := []string{"model.py:3 main", "model.py:20 mlp"}; !slices.Equal(row.Sites[0].Stack, want) {
		t.Errorf("stack %v, want %v", row.Sites[0].Stack, want)
	}
}

func TestWholeStacksAreKept(t *testing.T) {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, "frame %d %d \"vllm/f%02d.py(1): g\"\n", i, 100-2*i, i)
	}
	b.WriteString("launch 45 1 cudaLaunchKernel corr=1\nkernel 200 5 k corr=1")
	if stack := Kernels(resolved(t, b.String()))[0].Sites[0].Stack; len(stack) != 40 {
		t.Errorf("%d frames, want all 40", len(stack))
	}
}

func TestU36WrappersAreNotTheSource(t *testing.T) {
	tl := resolved(t, `
		frame 0 100 "/w/python/sglang/srt/layers/norm.py(40): forward"
		frame 1 90 "/w/python/sglang/srt/utils/kernel_shape_profiler.py(302): impl"
		launch 10 1 cudaLaunchKernel corr=1
		kernel 200 5 norm corr=1`)
	expectWhere(t, tl, "norm", "python/sglang/srt/layers/norm.py:40 forward", "cudaLaunchKernel")
}

func TestU65TheOperatorSurvivesWithoutFrames(t *testing.T) {
	tl := resolved(t, `
		op 5 20 aten::mm ext=4
		launch 10 1 hipExtModuleLaunchKernel corr=1 ext=4
		kernel 200 5 gemm corr=1 ext=4`)
	expectWhere(t, tl, "gemm", Unresolved, "aten::mm")
	if row := Kernels(tl)[0]; row.Op != "aten::mm" || row.Location != Unresolved {
		t.Errorf("row at %q by %q, want unresolved by aten::mm", row.Location, row.Op)
	}
}

func TestSourceFilesOfGeneratedKernels(t *testing.T) {
	const doc = `{"traceEvents": [
		{"ph": "X", "cat": "cpu_op", "name": "triton_poi_fused_add_0", "pid": 100, "tid": 100, "ts": 5, "dur": 20,
		 "args": {"External id": 4, "kernel_backend": "triton", "kernel_file": "/tmp/torchinductor_u/ab/cab.py"}},
		{"ph": "X", "cat": "cuda_driver", "name": "cuLaunchKernel", "pid": 100, "tid": 100, "ts": 10, "dur": 1, "args": {"External id": 4, "correlation": 1}},
		{"ph": "X", "cat": "kernel", "name": "triton_poi_fused_add_0", "pid": 0, "tid": 7, "ts": 200, "dur": 5, "args": {"External id": 4, "correlation": 1, "stream": 7}}]}`
	tr, err := trace.Read(t.Context(), strings.NewReader(doc), "test", trace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tl, err := Resolve(tr, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if row := Kernels(tl)[0]; row.File != "/tmp/torchinductor_u/ab/cab.py" {
		t.Errorf("source file %q, want that of the operator's args", row.File)
	}
}

func TestU57FrameworkByMajority(t *testing.T) {
	for _, c := range []struct{ name, text, want, says string }{
		{"majority", `
			frame 0 1 "/w/sglang_vs_vllm/python/sglang/a.py(1): f"
			frame 2 1 "/w/sglang_vs_vllm/python/sglang/a.py(2): g"
			frame 4 1 "vllm/a.py(1): f"
			frame 6 1 "torch/a.py(1): f"`, "sglang", "2 of 4 Python frames"},
		{"backend of another engine's name", `
			frame 0 1 "/w/python/sglang/srt/layers/attention/trtllm_mha_backend.py(1): f"`, "sglang", "1 of 1"},
		{"none", `frame 0 1 "transformers/a.py(1): f"`, "unknown", ""},
		{"key", "meta trace.vllm_version=\"0.26.0\"", "vllm", "vllm_version"},
		{"process", "process 5 VLLM::EngineCore", "vllm", "VLLM::EngineCore"},
		{"marks", `mark 0 5 "step[DECODE bs=1]"`, "sglang", "step[DECODE bs=1]"},
		{"frames before marks", "mark 0 5 \"execute_context_1(5)_generation_0(0)\"\nframe 0 1 \"/w/python/sglang/a.py(1): f\"", "sglang", "frames"},
	} {
		tl := resolved(t, c.text+"\nkernel 10 1 k")
		if tl.Engine != c.want || !strings.Contains(strings.Join(tl.Evidence, "\n"), c.says) {
			t.Errorf("%s: %s because of %q, want %s because of %q", c.name, tl.Engine, tl.Evidence, c.want, c.says)
		}
	}
}
