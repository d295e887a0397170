package attrib

import (
	"strconv"
	"strings"
	"testing"
)

func gapsOf(t *testing.T, text string) (IdleSummary, map[Cause]GapRow) {
	t.Helper()
	idle, rows := Gaps(timelineOf(t, text), nil)
	by := map[Cause]GapRow{}
	for _, r := range rows {
		by[r.Cause] = r
	}
	return idle, by
}

func TestGapCauses(t *testing.T) {
	const host = "process 100 server\nframe 0 2000 \"app/engine.py(5): step\" on=100/100\n"
	for _, c := range []struct {
		name, text string
		cause      Cause
		us         Nanos
		location   string
	}{
		{"launched in the gap", host + `
			frame 150 100 "app/model.py(9): prepare" on=100/100
			launch 10 5 cudaLaunchKernel corr=1
			launch 290 5 cudaLaunchKernel corr=2
			kernel 20 80 a_gemm corr=1
			kernel 300 80 b_gemm corr=2`, CauseLaunch, 200_000, "app/model.py:9 prepare"},
		{"waited for the device, then launched", host + `
			launch 10 5 cudaLaunchKernel corr=1
			launch 30 80 cudaStreamSynchronize
			launch 190 5 cudaLaunchKernel corr=2
			kernel 20 80 a_gemm corr=1
			kernel 200 80 b_gemm corr=2`, CauseSync, 100_000, "app/engine.py:5 step"},
		{"waited for a copy to the host", host + `
			launch 10 5 cudaMemcpyAsync corr=1
			launch 30 80 cudaStreamSynchronize
			launch 190 5 cudaLaunchKernel corr=2
			memcpy 20 80 "Memcpy DtoH (Device -> Pageable)" corr=1
			kernel 200 80 b_gemm corr=2`, CauseCopy, 100_000, "app/engine.py:5 step"},
		{"a collective was queued", host + `
			launch 10 5 cudaLaunchKernel corr=1
			launch 16 5 cudaLaunchKernel corr=2
			kernel 20 80 a_gemm corr=1
			kernel 150 80 ncclDevKernel_AllReduce corr=2`, CauseRank, 50_000, "app/engine.py:5 step"},
		{"a kernel was queued", host + `
			launch 10 5 cudaLaunchKernel corr=1
			launch 16 5 cudaLaunchKernel corr=2
			kernel 20 80 a_gemm corr=1
			kernel 150 80 b_gemm corr=2`, CauseQueue, 50_000, "app/engine.py:5 step"},
		{"no launch record", "kernel 20 80 a_gemm\nkernel 150 80 b_gemm", CauseUnseen, 50_000, Unresolved},
	} {
		t.Run(c.name, func(t *testing.T) {
			idle, rows := gapsOf(t, c.text)
			r, ok := rows[c.cause]
			if !ok || len(rows) != 1 {
				t.Fatalf("rows %+v, want one of cause %s", rows, c.cause)
			}
			if r.TotalUS != c.us || r.Gaps != 1 || r.Location != c.location || idle.IdleUS != c.us {
				t.Errorf("%+v, idle %+v; want %v at %s", r, idle, c.us, c.location)
			}
			if !strings.HasPrefix(r.Next, "b_gemm") && !strings.HasPrefix(r.Next, "nccl") {
				t.Errorf("next %q", r.Next)
			}
		})
	}
}

func TestGapsLeaveOutDispatch(t *testing.T) {
	idle, rows := gapsOf(t, "kernel 0 10 a_gemm\nkernel 13 10 a_gemm\nkernel 26.5 10 a_gemm")
	if len(rows) != 0 || idle.SmallUS != 6_500 || idle.IdleUS != 6_500 || idle.SpanUS != 36_500 {
		t.Errorf("idle %+v rows %+v", idle, rows)
	}
}

// stepsOf resolves a timeline and puts its works into steps by hand.
func stepsOf(t *testing.T, text string, steps []Step, of ...int32) *Timeline {
	tl := timelineOf(t, text)
	tl.Steps = steps
	for i, s := range of {
		tl.Works[i].Step = s
		if s >= 0 {
			tl.Works[i].Stage = steps[s].Stage
		}
	}
	return tl
}

func TestStepTable(t *testing.T) {
	tl := stepsOf(t, `
		kernel 0   100 a_gemm stream=7
		kernel 50  100 b_gemm stream=8
		kernel 250 50  a_gemm stream=7
		kernel 400 20  a_gemm stream=7
		kernel 500 60  a_gemm stream=7
		kernel 900 60  a_gemm stream=7`,
		[]Step{{Label: "p", Stage: Prefill, ContextTokens: 9}, {Label: "d1", Stage: Decode}, {Label: "d2", Stage: Decode}, {Label: "empty", Stage: Decode}},
		0, 0, 0, 1, 2, -1)
	rows, stages := StepTable(tl)
	if len(rows) != 3 || len(stages) != 2 {
		t.Fatalf("%d steps of %d stages, want 3 of 2", len(rows), len(stages))
	}
	p := rows[0]
	if p.Label != "p" || p.SpanUS != 300_000 || p.BusyUS != 200_000 || p.IdleUS != 100_000 || p.TotalUS != 250_000 || p.Launches != 3 || *p.PeriodUS != 400_000 || p.ContextTokens != 9 {
		t.Errorf("prefill %+v", p)
	}
	if rows[2].PeriodUS != nil {
		t.Error("the last step has a period")
	}
	d := stages[1]
	if d.Stage != Decode || d.Steps != 2 || d.MeanUS != 40 || d.P50US != 40 || d.MinUS != 20_000 || d.MaxUS != 60_000 || d.IdlePct != 0 || d.Launches != 1 {
		t.Errorf("decode %+v", d)
	}
}

func TestLayersFindTheRepeatedUnit(t *testing.T) {
	var b strings.Builder
	at := 0
	put := func(name string, us int) {
		b.WriteString("kernel " + strconv.Itoa(at) + " " + strconv.Itoa(us) + " " + name + "\n")
		at += us + 5
	}
	put("embedding_lookup", 10)
	for range 4 {
		put("flash_fwd_kernel", 30)
		put("o_gemm", 20)
		put("rms_norm_kernel", 5)
		put("mlp_gemm", 40)
	}
	put("sampling_kernel", 3)
	layers := Layers(timelineOf(t, b.String()))
	if len(layers) != 1 {
		t.Fatalf("layers %+v", layers)
	}
	l := layers[0]
	// The last unit also holds the sampling and is another sequence.
	if l.Anchor != "flash_fwd_kernel" || l.Units != 3 || l.Others != 1 || l.MeanUS != 95 || l.PeriodUS != 115 || len(l.Rows) != 4 {
		t.Fatalf("%+v", l)
	}
	if r := l.Rows[3]; r.Kernel != "mlp_gemm" || r.Position != 3 || r.MeanUS != 40 {
		t.Errorf("last row %+v", r)
	}
}

func TestLayersNeedARepeat(t *testing.T) {
	if l := Layers(timelineOf(t, "kernel 0 10 a_gemm\nkernel 20 10 b_gemm\nkernel 40 10 a_gemm")); l != nil {
		t.Errorf("two passes are called a repeat: %+v", l)
	}
}

func rankOf(t *testing.T, label, text string) Rank {
	t.Helper()
	tl := timelineOf(t, text)
	sum, _ := Overlap(tl, Kernels(tl))
	return Rank{Label: label, Timeline: tl, Overlap: sum}
}

func TestRanksNameTheStraggler(t *testing.T) {
	var text [3]strings.Builder
	for k := range 10 {
		for r := range text {
			compute, wait := 50, 60
			if r == 1 {
				compute, wait = 100, 10
			}
			text[r].WriteString("kernel " + strconv.Itoa(200*k) + " " + strconv.Itoa(compute) + " a_gemm\n")
			text[r].WriteString("kernel " + strconv.Itoa(200*k+compute) + " " + strconv.Itoa(wait) + " ncclDevKernel_AllReduce\n")
		}
	}
	var ranks []Rank
	for r := range text {
		ranks = append(ranks, rankOf(t, strconv.Itoa(r), text[r].String()))
	}
	rep := Ranks(ranks)
	if !rep.Ranks[1].Straggler || rep.Ranks[0].Straggler || rep.Ranks[2].Straggler {
		t.Fatalf("ranks %+v", rep.Ranks)
	}
	if r := rep.Ranks[0]; r.WaitUS != 500_000 || r.Collectives != 10 || r.CommUS != 600_000 || r.CommOpen != 600_000 || r.BusyUS != 1_100_000 {
		t.Errorf("rank 0 %+v", r)
	}
	c := rep.Collectives[0]
	if c.Calls != 10 || c.MinUS != 10 || c.Slowest != "1" || c.SlowHits != 10 || c.WaitUS != 1_000_000 {
		t.Errorf("collective %+v", c)
	}
}

func TestRanksOfOneFile(t *testing.T) {
	rep := Ranks([]Rank{rankOf(t, "0", "kernel 0 10 ncclDevKernel_AllReduce")})
	if len(rep.Ranks) != 1 || rep.Ranks[0].Straggler || len(rep.Collectives) != 0 {
		t.Errorf("%+v", rep)
	}
}
