package attrib

import (
	"fmt"
	"strings"
	"testing"

	"llmdyno/internal/profile/trace"
	"pgregory.net/rapid"
)

// timelineOf resolves a timeline in text form, without engines.
func timelineOf(t testing.TB, text string) *Timeline {
	t.Helper()
	tr, err := trace.ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	tl, err := Resolve(tr, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tl
}

func overlapOf(t testing.TB, text string) (OverlapSummary, []OverlapRow) {
	t.Helper()
	tl := timelineOf(t, text)
	return Overlap(tl, Kernels(tl))
}

func rowOf(t *testing.T, rows []OverlapRow, name string) OverlapRow {
	t.Helper()
	for _, r := range rows {
		if strings.Contains(r.Kernel, name) {
			return r
		}
	}
	t.Fatalf("no row for %s in %+v", name, rows)
	return OverlapRow{}
}

func TestOverlapTimesOfTwoStreams(t *testing.T) {
	sum, rows := overlapOf(t, `
		kernel 0   100 nccl_all_reduce_kernel stream=20
		kernel 60  100 sm90_gemm_tn           stream=7
	`)
	if sum.BusyUS != 160_000 || sum.CrossUS != 40_000 || sum.MaxStreams != 2 || sum.SumUS != 200_000 || sum.CollectiveUS != 60_000 {
		t.Errorf("summary %+v", sum)
	}
	r := rowOf(t, rows, "nccl")
	if r.ExclusiveUS != 60 || r.HiddenUS != 40_000 || r.HiddenByUS != 40_000 || r.Priority != "P1" || r.Recommendation != "try overlap" || r.Verdict != Headroom {
		t.Errorf("collective %+v", r)
	}
	if len(r.With) != 1 || r.With[0] != "sm90_gemm_tn" {
		t.Errorf("hidden behind %q, want the GEMM", r.With)
	}
}

func TestOverlapLowROI(t *testing.T) {
	_, rows := overlapOf(t, `
		kernel 0  1000 sm90_gemm_tn stream=7
		kernel 10 100  silu_kernel  stream=8
	`)
	r := rowOf(t, rows, "silu")
	if r.Verdict != LowROI || r.Priority != "P4" || r.Recommendation != "skip" || r.HiddenRatio != 1 {
		t.Errorf("hidden activation %+v", r)
	}
}

// One trace suffices: nothing here comes from a mapping trace.
func TestU37SingleTraceHasOverlapTable(t *testing.T) {
	if _, rows := overlapOf(t, "kernel 0 50 sm90_gemm_tn\nkernel 100 50 silu_kernel"); len(rows) != 2 {
		t.Errorf("%d rows, want 2", len(rows))
	}
}

func TestU38SameStreamTimeIsSharedOut(t *testing.T) {
	tl := timelineOf(t, `
		kernel 0  90 a_gemm stream=7
		kernel 30 60 b_gemm stream=7
		kernel 60 30 c_gemm stream=7
	`)
	s := sweep(tl)
	if s.union != 90_000 || s.cross != 0 {
		t.Errorf("busy %d across %d", s.union, s.cross)
	}
	for i, want := range []float64{55_000, 25_000, 10_000} { // 30+15+10, 15+10, 10
		if got := s.times[i].exclusive.ns(); got != want || s.times[i].hidden != 0 {
			t.Errorf("%s: exclusive %v ns, want %v; hidden %d", tl.Names[tl.Works[i].Name].Raw, got, want, s.times[i].hidden)
		}
	}
	sum, rows := Overlap(tl, Kernels(tl))
	if r := rowOf(t, rows, "a_gemm"); sum.BusyUS != 90_000 || r.ExclusiveUS != 55 || r.ExposedUS != 90_000 {
		t.Errorf("summary %+v row %+v", sum, r)
	}
}

func TestU39StreamZeroIsAStream(t *testing.T) {
	sum, _ := overlapOf(t, `
		kernel 0  100 a_gemm stream=0
		kernel 50 100 b_gemm stream=0
	`)
	if sum.MaxStreams != 1 || sum.CrossUS != 0 {
		t.Errorf("two kernels of stream 0 count as %d streams, %v ns across", sum.MaxStreams, sum.CrossUS)
	}
}

func TestU40StagesAreSweptTogether(t *testing.T) {
	tl := timelineOf(t, `
		kernel 0   1000 prefill_gemm stream=7
		kernel 100 900  decode_gemm  stream=8
	`)
	tl.Works[0].Stage, tl.Works[1].Stage = Prefill, Decode
	sum, rows := Overlap(tl, Kernels(tl))
	if sum.CrossUS != 900_000 {
		t.Errorf("%v ns across streams, want 900 us", sum.CrossUS)
	}
	if sum.StageBusyUS[Prefill] != 1_000_000 || sum.StageBusyUS[Decode] != 900_000 {
		t.Errorf("busy by stage %v", sum.StageBusyUS)
	}
	for _, r := range rows {
		if r.Kernel == "decode_gemm" {
			t.Errorf("wholly hidden compute is listed: %+v", r)
		}
	}
}

// A kernel that is looked up in the sources of another thread would be shown
// there; work without a launch has no scope.
func TestU42NoScopeFromOtherThreads(t *testing.T) {
	_, rows := overlapOf(t, `
		process 100 server
		frame 0 1000 "sglang/srt/managers/tokenizer_manager.py(10): loop" on=100/200
		kernel 100 50 flash_fwd_kernel stream=7
	`)
	if r := rowOf(t, rows, "flash"); r.Scope != Unresolved {
		t.Errorf("scope %q, want unresolved", r.Scope)
	}
}

func TestU43TheBarComesBeforeTheFirstFive(t *testing.T) {
	text := "kernel 0 10000 sm90_gemm_tn\n"
	for i := range 5 {
		text += fmt.Sprintf("kernel %d 6 silu_kernel_%c\n", 20000+100*i, 'a'+i)
	}
	if _, rows := overlapOf(t, text); len(rows) != 1 || rows[0].Kernel != "sm90_gemm_tn" {
		t.Errorf("rows %+v, want the GEMM alone", rows)
	}
}

func TestU44SameFileIsComparedByPath(t *testing.T) {
	_, rows := overlapOf(t, `
		process 100 server
		frame 0 90 "model.py(10): attention" on=100/100
		frame 100 90 "model.py(90): mlp" on=100/100
		launch 10 5 cudaLaunchKernel corr=1
		launch 110 5 cudaLaunchKernel corr=2
		kernel 200 100 a_gemm corr=1
		kernel 300 100 b_gemm corr=2
	`)
	if r := rowOf(t, rows, "a_gemm"); r.DepRisk != RiskHigh || r.Priority != "P2" {
		t.Errorf("two functions of one file beside each other: %+v", r)
	}
}

// Every priority that the table can show is shown by some input.
func TestU45PrioritiesAreReachable(t *testing.T) {
	seen := map[string]bool{}
	for _, text := range []string{
		"kernel 0 100 nccl_all_reduce stream=1",
		"kernel 0 100 a_gemm\nkernel 100 100 b_gemm",
		"kernel 0 1000 a_gemm stream=7\nkernel 10 100 silu_kernel stream=8",
	} {
		_, rows := overlapOf(t, text)
		for _, r := range rows {
			seen[r.Priority+" "+r.Recommendation] = true
		}
	}
	for _, want := range []string{"P1 try overlap", "P1 try fusion", "P2 check deps", "P4 skip"} {
		if !seen[want] {
			t.Errorf("%q never shown; seen %v", want, seen)
		}
	}
}

func TestRiskUnclearWithoutSource(t *testing.T) {
	_, rows := overlapOf(t, "kernel 0 100 a_gemm\nkernel 100 100 b_gemm\nkernel 1000 100 c_gemm")
	if r := rowOf(t, rows, "a_gemm"); r.DepRisk != RiskUnclear {
		t.Errorf("close neighbour of unknown source: %v", r.DepRisk)
	}
	if r := rowOf(t, rows, "c_gemm"); r.DepRisk != RiskLow {
		t.Errorf("distant neighbour: %v", r.DepRisk)
	}
}

// drawText is a random timeline of up to four streams.
func drawText(t *rapid.T, streams int) string {
	var b strings.Builder
	names := []string{"a_gemm", "nccl_all_reduce", "silu_kernel", "flash_fwd_kernel", "copy_kernel", "mystery"}
	for range rapid.IntRange(1, 40).Draw(t, "kernels") {
		fmt.Fprintf(&b, "kernel %d.%03d %d.%03d %s stream=%d\n",
			rapid.IntRange(0, 300).Draw(t, "start"), rapid.IntRange(0, 999).Draw(t, "startns"),
			rapid.IntRange(0, 80).Draw(t, "dur"), rapid.IntRange(1, 999).Draw(t, "durns"),
			rapid.SampledFrom(names).Draw(t, "name"), rapid.IntRange(0, streams-1).Draw(t, "stream"))
	}
	return b.String()
}

func TestHiddenAndExposedMakeTheDuration(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tl := timelineOf(t, drawText(rt, 4))
		s := sweep(tl)
		var exclusive float64
		var hidden int64
		for i := range tl.Works {
			x := &s.times[i]
			if x.hidden+x.exposed != tl.Works[i].Dur {
				rt.Fatalf("work %d: hidden %d + exposed %d of %d", i, x.hidden, x.exposed, tl.Works[i].Dur)
			}
			var behind int64
			for _, p := range x.partners {
				behind += p.ns
			}
			if behind != x.hidden || x.hiddenByCompute > x.hidden {
				rt.Fatalf("work %d: hidden %d, behind partners %d, behind compute %d", i, x.hidden, behind, x.hiddenByCompute)
			}
			exclusive += x.exclusive.ns()
			hidden += x.hidden
		}
		if got := float64(s.union - s.cross); exclusive < got-1 || exclusive > got+1 {
			rt.Fatalf("Σ exclusive %v, time of one stream alone %v", exclusive, got)
		}
		if s.union > s.sum || hidden > s.sum {
			rt.Fatalf("busy %d and hidden %d of %d", s.union, hidden, s.sum)
		}
	})
}

func TestOneStreamHidesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tl := timelineOf(t, drawText(rt, 1))
		sum, _ := Overlap(tl, Kernels(tl))
		if sum.HiddenUS != 0 || sum.CrossUS != 0 || sum.MaxStreams != 1 {
			rt.Fatalf("one stream: %+v", sum)
		}
	})
}

// The cost grows with what runs at once, not with its square: compare the
// time per kernel over the sizes.
func BenchmarkU46Sweep(b *testing.B) {
	for _, streams := range []int{8, 16, 32} {
		var text strings.Builder
		for i := range 4000 {
			fmt.Fprintf(&text, "kernel %d %d a_gemm stream=%d\n", 10*i/streams, 9, i%streams)
		}
		tl := timelineOf(b, text.String())
		b.Run(fmt.Sprintf("%d_streams", streams), func(b *testing.B) {
			for b.Loop() {
				sweep(tl)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4000, "ns/kernel")
		})
	}
}

// TestCrowdedTimeline: a file in which thousands of works run at once costs no more
// than the number of works times a constant, and each of them is still accounted for.
func TestCrowdedTimeline(t *testing.T) {
	const n = 3000
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "kernel 0 %d a_gemm stream=%d\n", 10+i%2, i%3)
	}
	tl := timelineOf(t, text.String())
	s := sweep(tl)
	if s.looked > 2*n*maxAtOnce || s.aside != n-maxAtOnce {
		t.Errorf("%d works looked at, %d aside", s.looked, s.aside)
	}
	for i := range s.times {
		if got := s.times[i].hidden + s.times[i].exposed; got != tl.Works[i].Dur {
			t.Fatalf("work %d: %d ns of %d", i, got, tl.Works[i].Dur)
		}
	}
	idle, gaps := Gaps(tl, nil)
	if s.union != 11_000 || s.cross != 11_000 || s.maxStreams != 3 || idle.IdleUS != 0 || len(gaps) != 0 {
		t.Errorf("busy %d, cross %d, %d streams, idle %+v, gaps %v", s.union, s.cross, s.maxStreams, idle, gaps)
	}
}
