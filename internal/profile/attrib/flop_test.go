package attrib

import (
	"fmt"
	"math"
	"testing"
)

// TestFLOPOfOperators compares the formulae with counts made by hand.
func TestFLOPOfOperators(t *testing.T) {
	for _, c := range []struct {
		op, dims, concrete string
		want               float64
	}{
		{"aten::mm", `[[3,4],[4,5]]`, ``, 120}, // 3·5 results of 4 multiplications and additions each
		{"aten::mm", `[[3,4],[4,5],[3,5]]`, ``, 120},
		{"aten::mm", `[[3,4],[5,4]]`, ``, 0}, // does not fit
		{"aten::mm", `[[0,4],[4,5]]`, ``, 0},
		{"aten::mm", `[[3,4]]`, ``, 0},
		{"aten::mm", `[[[3,4]],[4,5]]`, ``, 0}, // a list of tensors
		{"aten::mm", `"none"`, ``, 0},
		{"aten::mm", `[[9007199254740993,4],[4,5]]`, ``, 0},
		{"aten::_scaled_mm", `[[3,4],[4,5],[],[]]`, ``, 120},
		{"aten::addmm", `[[5],[3,4],[4,5],[],[]]`, ``, 120},
		{"aten::bmm", `[[2,3,4],[2,4,5]]`, ``, 240},
		{"aten::bmm", `[[2,3,4],[1,4,5]]`, ``, 0},
		{"aten::baddbmm", `[[2,3,5],[2,3,4],[2,4,5],[],[]]`, ``, 240},
		{"aten::linear", `[[2,3,4],[5,4],[5]]`, ``, 240}, // 6 rows
		{"aten::linear", `[[4],[5,4],[]]`, ``, 40},
		// 8×8 with a 3×3 filter, padding 1, stride 2: 4×4 positions of 6·(4/2)·9 weights, batch 2.
		{"aten::convolution", `[[2,4,8,8],[6,2,3,3],[6],[],[],[],[],[],[]]`, `["","","","[2, 2]","[1, 1]","[1, 1]","False","[0, 0]","2"]`, 2 * 2 * 16 * 6 * 2 * 9},
		{"aten::_convolution", `[[2,4,8,8],[6,2,3,3],[6],[],[],[],[],[],[]]`, `["","","","[2]","[1]","[1]","False","[0]","2"]`, 2 * 2 * 16 * 6 * 2 * 9},
		{"aten::cudnn_convolution", `[[2,4,8,8],[6,4,3,3],[],[],[]]`, `["","","[1, 1]","[2, 2]","[1, 1]","1","False","True","True"]`, 2 * 2 * 16 * 6 * 4 * 9},
		{"aten::miopen_convolution", `[[2,4,8,8],[6,4,3,3],[6],[],[],[]]`, `["","","","[1, 1]","[2, 2]","[1, 1]","1"]`, 2 * 2 * 16 * 6 * 4 * 9},
		// Dilation 3 makes the filter 7 wide: 10 - 7 + 1 = 4 positions.
		{"aten::convolution", `[[1,1,10],[1,1,3],[],[],[],[],[],[],[]]`, `["","","","[1]","[0]","[3]","False","[0]","1"]`, 2 * 4 * 3},
		// Transposed: each of 5 inputs meets all weights (4 in, 6 out, 3 wide).
		{"aten::convolution", `[[1,4,5],[4,6,3],[],[],[],[],[],[],[]]`, `["","","","[2]","[0]","[1]","True","[0]","1"]`, 2 * 5 * 4 * 6 * 3},
		{"aten::convolution", `[[2,4,8,8],[6,2,3,3],[6]]`, ``, 0}, // stride not recorded
		{"aten::convolution", `[[1,1,2],[1,1,3],[],[],[],[],[],[],[]]`, `["","","","[1]","[0]","[1]","False","[0]","1"]`, 0},
		{"aten::convolution", `[[1,1,2],[1,1,1],[],[],[],[],[],[],[]]`, `["","","","[0]","[0]","[1]","False","[0]","1"]`, 0},
		// 1 batch, 2 heads, 3 queries, 5 keys: 2·2·3·5·(4+6).
		{"aten::scaled_dot_product_attention", `[[1,2,3,4],[1,2,5,4],[1,2,5,6],[],[],[],[],[]]`, `["","","","","0.","False","","False"]`, 600},
		{"aten::_scaled_dot_product_flash_attention", `[[1,2,5,4],[1,2,5,4],[1,2,5,4],[],[],[],[]]`, `["","","","0.","True","False",""]`, 2 * 2 * 25 * 8 / 2},
		{"aten::_flash_attention_forward", `[[1,3,2,4],[1,5,1,4],[1,5,1,6],[],[],[],[],[],[]]`, `["","","","","","3","5","0.","False"]`, 600},
		{"aten::_flash_attention_forward", `[[1,3,2,4],[1,5,1,4],[1,5,1,6],[9],[9],[],[],[],[]]`, ``, 0}, // sequences of several lengths
		{"aten::_efficient_attention_forward", `[[1,3,2,4],[1,5,2,4],[1,5,2,6],[],[],[],[],[],[],[]]`, `["","","","","","","","","0.","1"]`, 300},
		{"aten::add", `[[3,4],[3,4]]`, ``, 0},
	} {
		text := `
			op 0 100 ` + c.op + ` ext=1` + fmt.Sprintf(" Input_Dims=%q Concrete_Inputs=%q", c.dims, c.concrete) + `
			launch 10 5 cudaLaunchKernel corr=1 ext=1
			kernel 50 20 some_kernel corr=1 ext=1`
		tl := resolved(t, text)
		if got := tl.flop(0); got != c.want {
			t.Errorf("%s %s %s: %v FLOP, not %v", c.op, c.dims, c.concrete, got, c.want)
		}
	}
}

// TestFLOPCountsOnce: an operator's arithmetic is shared among the kernels of its
// class, by their time, and its rate is that of their time together.
func TestFLOPCountsOnce(t *testing.T) {
	rows := Kernels(resolved(t, `
		op 0 100 aten::addmm ext=1 Input_Dims="[[1000],[1000,1000],[1000,1000]]"
		launch 10 5 cudaMemcpyAsync corr=1 ext=1
		launch 20 5 cudaLaunchKernel corr=2 ext=1
		launch 30 5 cudaLaunchKernel corr=3 ext=1
		memcpy 50 10 "Memcpy DtoD (Device -> Device)" corr=1 ext=1
		kernel 60 30 ampere_bf16_s16816gemm_bf16_128x128 corr=2 ext=1
		kernel 90 10 splitKreduce_kernel corr=3 ext=1
		op 200 100 aten::addmm ext=4 Input_Dims="[[],[1,1],[1,1]]"
		launch 210 5 cudaLaunchKernel corr=4 ext=4
		kernel 250 10 ampere_bf16_s16816gemm_bf16_128x128 corr=4 ext=4
		op 300 100 aten::addmm ext=5
		launch 310 5 cudaLaunchKernel corr=5 ext=5
		kernel 350 50 ampere_bf16_s16816gemm_bf16_128x128 corr=5 ext=5`))
	sum := 0.0
	for _, r := range rows {
		sum += r.FLOP
		switch r.Name {
		case "ampere_bf16_s16816gemm_bf16_128x128":
			// 3/4 of 2e9 and 2 more, in 30 + 10 us; the third launch has no shapes.
			if r.FLOP != 1.5e9+2 || r.FLOPLaunches != 2 || math.Abs(r.TFLOPS-(1.5e9+2)/40e-6/1e12) > 1e-9 {
				t.Errorf("gemm: %v FLOP in %d launches, %v TFLOP/s", r.FLOP, r.FLOPLaunches, r.TFLOPS)
			}
		case "splitKreduce_kernel":
			if r.FLOP != 0.5e9 || r.TFLOPS != 50 {
				t.Errorf("reduction: %v FLOP, %v TFLOP/s", r.FLOP, r.TFLOPS)
			}
		default:
			if r.FLOP != 0 {
				t.Errorf("%s: %v FLOP", r.Name, r.FLOP)
			}
		}
	}
	if sum != 2e9+2 {
		t.Errorf("%v FLOP in all", sum)
	}
}

// TestFLOPOfLaterOperator: an id from before the recording that meets an operator of
// the same number tells nothing of its arithmetic.
func TestFLOPOfLaterOperator(t *testing.T) {
	tl := resolved(t, `
		op 500 100 aten::mm ext=1 Input_Dims="[[3,4],[4,5]]"
		kernel 50 20 a_gemm corr=9 ext=1`)
	if tl.FLOP != nil {
		t.Errorf("%v FLOP", tl.FLOP)
	}
}
