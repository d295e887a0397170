package attrib

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// mapped2 resolves a formal trace with a mapping trace.
func mapped2(t *testing.T, mapping, formal string) *Timeline {
	t.Helper()
	m, err := NewMapping(parse(t, mapping), Options{Engines: engines()})
	if err != nil {
		t.Fatal(err)
	}
	tl, err := Resolve(parse(t, formal), Options{Engines: engines(), Mapping: m})
	if err != nil {
		t.Fatal(err)
	}
	return tl
}

const captureTrace = `
	frame 0 10 "vllm/model.py(1): norm"
	launch 1 1 hipLaunchKernel corr=1 kernel=rms
	frame 20 10 "vllm/model.py(2): attention"
	op 20.5 5 vllm::attention ext=3
	launch 21 1 hipLaunchKernel corr=2 kernel=attn ext=3
	frame 40 10 "vllm/model.py(3): norm2"
	launch 41 1 hipLaunchKernel corr=3 kernel=rms
	kernel 60 1 warmup corr=9
	launch 59 1 hipLaunchKernel corr=9 kernel=warmup`

const replays = `
	frame 0 900 "vllm/runner.py(5): execute"
	launch 100 1 hipGraphLaunch corr=5
	kernel 200 1 rms corr=5
	kernel 210 1 attn corr=5
	kernel 220 1 rms corr=5
	launch 300 1 hipGraphLaunch corr=6
	kernel 400 1 rms corr=6
	kernel 410 1 attn corr=6
	kernel 420 1 rms corr=6
	launch 500 1 hipLaunchKernel corr=7
	kernel 600 1 attn corr=7`

func locations(tl *Timeline) []string {
	out := make([]string, len(tl.Works))
	for i := range tl.Works {
		w := &tl.Works[i]
		_, function, _ := strings.Cut(tl.Location(w), " ")
		out[i] = function
	}
	return out
}

func TestU33GraphKernelsTakeTheCapturedLaunches(t *testing.T) {
	tl := mapped2(t, captureTrace, replays)
	want := []string{"norm", "attention", "norm2", "norm", "attention", "norm2", "execute"}
	if got := locations(tl); !slices.Equal(got, want) {
		t.Errorf("launched at %v, want %v: replays one by one, direct launches as they are", got, want)
	}
	if tl.Mapped.Method != MethodPositional || tl.Mapped.CapturedLaunches != 3 || tl.Mapped.GraphKernels != 6 || tl.Mapped.Mapped != 6 {
		t.Errorf("mapping %+v, want positional, 3 captured launches, 6 graph kernels, 6 mapped", tl.Mapped)
	}
	if op := tl.Ops[tl.Works[1].Op]; op != "vllm::attention" {
		t.Errorf("operator %q, want that of the captured launch", op)
	}
}

func TestGraphsCapturedForSeveralBatches(t *testing.T) {
	mapping := `
		launch 0 1 hipStreamBeginCapture corr=90
		frame 1 3 "vllm/a.py(1): one"
		launch 2 1 hipLaunchKernel corr=1 kernel=rms
		launch 9 1 hipStreamEndCapture corr=91
		launch 10 1 hipStreamBeginCapture corr=92
		frame 11 3 "vllm/a.py(2): two"
		launch 12 1 hipLaunchKernel corr=2 kernel=rms
		frame 14 3 "vllm/a.py(3): three"
		launch 15 1 hipLaunchKernel corr=3 kernel=attn
		launch 19 1 hipStreamEndCapture corr=93`
	tl := mapped2(t, mapping, `
		launch 100 1 hipGraphLaunch corr=5
		kernel 200 1 rms corr=5
		kernel 210 1 attn corr=5
		launch 300 1 hipGraphLaunch corr=6
		kernel 400 1 rms corr=6`)
	if want := []string{"two", "three", "one"}; !slices.Equal(locations(tl), want) || tl.Mapped.Method != MethodPerGraph {
		t.Errorf("launched at %v by method %q, want %v by graph", locations(tl), tl.Mapped.Method, want)
	}
}

func TestU31NothingIsSampled(t *testing.T) {
	// Two call sites take turns 31 times, in a run without graphs.
	var run, formal strings.Builder
	for i := range 31 {
		fmt.Fprintf(&run, "frame %d 5 \"vllm/a.py(1): site%d\"\nlaunch %d 1 cudaLaunchKernel corr=%d\nkernel %d 1 k corr=%d\n", i*10, i%2, i*10+1, i, 1000+i*10, i)
		fmt.Fprintf(&formal, "kernel %d 1 k corr=7\n", 1000+i*10)
	}
	formal.WriteString("launch 5 1 cudaGraphLaunch corr=7")
	tl := mapped2(t, run.String(), formal.String())
	sites := Kernels(tl)[0].Sites
	if len(sites) != 2 || sites[0].Launches != 16 || sites[1].Launches != 15 {
		t.Errorf("sites %+v, want 16 and 15 launches", sites)
	}
	if tl.Mapped.Method != MethodName {
		t.Errorf("method %q, want by name", tl.Mapped.Method)
	}
}

func TestU32OnlyTheSameNameMaps(t *testing.T) {
	mapping := `
		frame 0 9 "vllm/a.py(1): add"
		launch 1 1 cudaLaunchKernel corr=1
		kernel 20 1 add_kernel corr=1
		frame 30 9 "vllm/a.py(2): other"
		launch 31 1 cudaLaunchKernel corr=2
		kernel 50 1 "void f<int>(int, float)" corr=2`
	tl := mapped2(t, mapping, `
		launch 1 1 cudaGraphLaunch corr=1
		kernel 20 1 fused_add_kernel_v2 corr=1
		kernel 30 1 "void f<int>(int*)" corr=1`)
	if want := []string{"", "other"}; !slices.Equal(locations(tl), want) {
		t.Errorf("launched at %q, want %q: a part of a name is another kernel, parameters are not", locations(tl), want)
	}
}

func TestMappingByNamePrefersTheStage(t *testing.T) {
	mapping := `
		mark 0 9 "step[EXTEND bs=1 toks=4]"
		frame 0 9 "python/sglang/a.py(1): extend"
		launch 1 1 cudaLaunchKernel corr=1
		kernel 20 1 k corr=1
		mark 30 9 "step[DECODE bs=1]"
		frame 30 9 "python/sglang/a.py(2): decode"
		launch 31 1 cudaLaunchKernel corr=2
		kernel 50 1 k corr=2`
	tl := mapped2(t, mapping, `
		mark 0 9 "step[DECODE bs=1]"
		launch 1 1 cudaGraphLaunch corr=1
		kernel 20 1 k corr=1
		kernel 30 1 k corr=1`)
	if want := []string{"decode", "decode"}; !slices.Equal(locations(tl), want) {
		t.Errorf("launched at %q, want %q", locations(tl), want)
	}
}

func TestATraceWithoutStacksIsMappedByName(t *testing.T) {
	mapping := "frame 0 9 \"vllm/a.py(1): f\"\nlaunch 1 1 cudaLaunchKernel corr=1\nkernel 20 1 k corr=1"
	tl := mapped2(t, mapping, "launch 1 1 cudaLaunchKernel corr=1\nkernel 20 1 k corr=1")
	if want := []string{"f"}; !slices.Equal(locations(tl), want) || !tl.Works[0].Mapped {
		t.Errorf("launched at %q, want %q, marked as mapped", locations(tl), want)
	}
}

func TestAMappingNeedsWork(t *testing.T) {
	if _, err := NewMapping(parse(t, "op 1 1 aten::mm"), Options{}); err == nil {
		t.Error("a trace without launches and kernels makes a mapping, want an error")
	}
}
