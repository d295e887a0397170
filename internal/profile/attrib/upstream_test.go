package attrib

import (
	"fmt"
	"strings"
	"testing"
)

func TestU41TheLaunchGivesTheScopeWhereThereIsNoOperator(t *testing.T) {
	tl := timelineOf(t, `
		frame 0 100 "/w/python/sglang/srt/a.py(1): f"
		launch 1 1 cudaLaunchKernel corr=1
		launch 3 1 cudaMemcpyAsync corr=2
		kernel 10 40 "void some_gemm<1>" corr=1
		memcpy 100 60 "Memcpy DtoD (Device -> Device)" corr=2 stream=9`)
	_, rows := Overlap(tl, Kernels(tl))
	if len(rows) != 2 {
		t.Fatalf("%d rows, expected both pieces of work: %+v", len(rows), rows)
	}
	for _, r := range rows {
		if r.Scope != "w/python/sglang/srt/a.py:1 f" {
			t.Errorf("%s: scope %q, want the frame of its launch", r.Kernel, r.Scope)
		}
	}
}

// The sweep looks at what runs when something starts or ends, once: twice the
// streams are at most twice the looks for one kernel, not four times.
func TestU46TheSweepGrowsWithWhatRunsAtOnce(t *testing.T) {
	const kernels = 2000
	looks := func(streams int) int {
		var text strings.Builder
		for i := range kernels {
			fmt.Fprintf(&text, "kernel %d %d a_gemm stream=%d\n", 10*i, 10*streams-1, i%streams)
		}
		return sweep(timelineOf(t, text.String())).looked
	}
	for streams := 4; streams <= 64; streams *= 2 {
		if got, most := looks(streams), 2*kernels*streams; got > most || got < kernels {
			t.Errorf("%d streams: %d looks for %d kernels, expected at most %d", streams, got, kernels, most)
		}
	}
}
