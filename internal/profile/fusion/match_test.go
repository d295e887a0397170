package fusion

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/trace"
)

// Kernels as traces name them.
const (
	gemm      = "nvjet_tst_128x64_64x6_1x2_h_bz_TNN"
	attention = `"void flash::flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<128, 64, 128, 4>, false, true>"`
	norm      = `"void flashinfer::norm::RMSNormKernel<8u, __nv_bfloat16>"`
	addNorm   = `"void flashinfer::norm::FusedAddRMSNormKernel<8u, __nv_bfloat16>"`
	rope      = `"void vllm::rotary_embedding_kernel<c10::BFloat16, true>"`
	store     = `"void (anonymous namespace)::store_kvcache<2048l, 4, false, long>"`
	quant     = `"void vllm::scaled_fp8_quant_kernel_strided<c10::BFloat16, c10::Float8_e4m3fn>"`
	silu      = `"void vllm::act_and_mul_kernel<c10::BFloat16, &(c10::BFloat16 vllm::silu_kernel<c10::BFloat16>(c10::BFloat16 const&)), true, false>"`
	reduce    = `"ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)"`
	fusedAR   = `"void flashinfer::trtllm_allreduce_fusion::allreduce_fusion_kernel_oneshot_lamport<(flashinfer::trtllm_allreduce_fusion::AllReduceFusionPattern)1, __nv_bfloat16, 8>"`
	mxfp4     = "_matmul_ogs_NNT_bf16xbf16xmxfp4_128x128x128x1_swiglu"
)

// inRow is a timeline of kernels one after another, each 5 us long.
func inRow(kernels ...string) string {
	var b strings.Builder
	for i, k := range kernels {
		fmt.Fprintf(&b, "kernel %d 5 %s\n", 10+6*i, k)
	}
	return b.String()
}

func repeat(n int, kernels ...string) []string {
	var out []string
	for range n {
		out = append(out, kernels...)
	}
	return out
}

func resolve(t testing.TB, text string) *attrib.Timeline {
	t.Helper()
	tr, err := trace.ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	tl, err := attrib.Resolve(tr, attrib.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tl
}

func match(t testing.TB, ctx Context, text string) []Finding {
	t.Helper()
	return load(t).Match(resolve(t, text), ctx)
}

func find(found []Finding, id string, state State) *Finding {
	i := slices.IndexFunc(found, func(f Finding) bool { return f.Pattern == id && f.State == state })
	if i < 0 {
		return nil
	}
	return &found[i]
}

// A word counts where it is a word of the kernel's or the operator's name, not
// inside another word, not in a type, not in a path.
func TestU49WordsNotSubstrings(t *testing.T) {
	vllm := Context{Engine: "vllm"}
	// fp4 is in mxfp4, and the norm is next to it: no quantising anywhere.
	if found := match(t, vllm, inRow(repeat(4, gemm, addNorm, mxfp4, mxfp4)...)); find(found, "vllm-rmsnorm-quant", StateSplit) != nil || len(found) != 1 {
		t.Errorf("found %+v, expected the fused add alone", found)
	}
	// A frame and a file that are called like the fusion.
	text := `frame 0 100 "python/gpt_oss_router_gemm.py(3): gpt_oss_router_gemm"` + "\n" +
		"launch 1 1 cudaLaunchKernel corr=1\nkernel 10 5 " + gemm + " corr=1\n"
	if found := match(t, Context{Engine: "vllm", Model: "openai/gpt-oss-20b"}, text); len(found) != 0 {
		t.Errorf("a path fires %s", found[0].Pattern)
	}
	// The operator does.
	text = "op 0 5 _moe_C::gpt_oss_router_gemm ext=1\nlaunch 1 1 cudaLaunchKernel corr=1 ext=1\nkernel 10 5 tiny corr=1 ext=1\n"
	if find(match(t, Context{Engine: "vllm", Model: "openai/gpt-oss-20b"}, text), "vllm-gptoss-router-gemm", StateActive) == nil {
		t.Error("the operator does not fire its pattern")
	}
	for _, c := range []struct {
		word, name string
		want       bool
	}{
		{"fused_add_rmsnorm", "void flashinfer::norm::FusedAddRMSNormKernel<8u, __nv_bfloat16>", true},
		{"fused_add_rms_norm", "vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>", true},
		{"fused_add_rms_norm", "confused_add_rms_norm", false},
		{"fused_add_rms_norm", "fused_add_rms_normal", false},
		{"fused_add_rms_norm", "fused::add_rms_norm", false}, // of two identifiers
		{"norm::RMSNormKernel", "flashinfer::norm::FusedAddRMSNormKernel<8u>", true},
		{"=norm::RMSNormKernel", "flashinfer::norm::FusedAddRMSNormKernel<8u>", false},
		{"=norm::RMSNormKernel", "flashinfer::norm::RMSNormKernel<8u>", true},
		{"gemm", "_gemma_rmsnorm_kernel", false},
		{"", "anything", false},
	} {
		if got := compile(c.word).in(cut(c.name)); got != c.want {
			t.Errorf("%q in %q: %v", c.word, c.name, got)
		}
	}
}

// Every role wants a kernel of its own, in one segment, and the time is that of
// those kernels.
func TestU50RolesOnDistinctKernelsOfOneSegment(t *testing.T) {
	vllm := Context{Engine: "vllm"}
	// The fused kernel has the words of all its parts in its name.
	fused := `"void flashinfer::RopeQuantizeAppendPagedKVCacheKernel<false, 8u, 16u, __nv_bfloat16, long, __nv_fp8_e4m3>"`
	found := match(t, vllm, inRow(repeat(3, gemm, fused, attention)...))
	if len(found) != 1 || found[0].State != StateActive || found[0].Pattern != "flashinfer-rope-quant-append" || found[0].Occurrences != 3 {
		t.Errorf("one fused kernel: %+v", found)
	}
	// Rotary step and store on the two sides of a barrier.
	if found := match(t, vllm, inRow(repeat(3, gemm, rope, gemm, store, attention)...)); len(found) != 0 {
		t.Errorf("across a barrier: %+v", found)
	}
	found = match(t, vllm, inRow(repeat(3, gemm, rope, store, attention)...))
	f := find(found, "vllm-rope-kvcache", StateSplit)
	if f == nil || f.Occurrences != 3 || f.Related != 30_000 || f.Share != 50 {
		t.Fatalf("in one segment: %+v", found)
	}
	if want := []string{"void vllm::rotary_embedding_kernel<c10::BFloat16, true>", "void (anonymous namespace)::store_kvcache<2048l, 4, false, long>"}; !slices.Equal(f.Evidence, want) {
		t.Errorf("evidence %q, expected the two kernels and no attention", f.Evidence)
	}
	// The other order of a pair is another thing: here the quantiser runs before
	// attention.
	if f := find(match(t, vllm, inRow(repeat(3, gemm, quant, attention, gemm)...)), "vllm-attn-quant", StateSplit); f != nil {
		t.Errorf("quantising before attention: %+v", f)
	}
	// Two streams are two sequences.
	var b strings.Builder
	for i := range 3 {
		fmt.Fprintf(&b, "kernel %d 5 %s\nkernel %d 5 %s stream=9\nkernel %d 5 %s\n", 30*i, rope, 30*i+6, store, 30*i+12, attention)
	}
	if found := match(t, vllm, b.String()); len(found) != 0 {
		t.Errorf("on two streams: %+v", found)
	}
	// One window may be chance.
	if found := match(t, vllm, inRow(append(repeat(1, gemm, rope, store, attention), repeat(20, gemm)...)...)); len(found) != 0 {
		t.Errorf("one window: %+v", found)
	}
}

// A share confirms nothing: identity does, or counted windows with known gates.
func TestU51ConfidenceFromWhatWasSeen(t *testing.T) {
	rocm := "launch 0 0.5 hipLaunchKernel corr=999\n"
	cases := []struct {
		name, text, pattern string
		state               State
		want                Confidence
		basis               string
	}{
		{"by identity", inRow(repeat(3, gemm, addNorm)...), "vllm-residual-add-rmsnorm", StateActive, Confirmed, "seen"},
		{"counted", rocm + inRow(repeat(3, gemm, rope, store, attention)...), "vllm-rope-kvcache", StateSplit, Confirmed, "3 windows"},
		{"on another maker's GPU", "launch 0 0.5 cudaLaunchKernel corr=999\n" + inRow(repeat(3, gemm, rope, store, attention)...), "vllm-rope-kvcache", StateSplit, Candidate, "known on rocm only"},
		{"size inferred", inRow(repeat(3, gemm, reduce, norm)...), "vllm-allreduce-rmsnorm", StateSplit, Candidate, "inferred"},
	}
	for _, c := range cases {
		f := find(match(t, Context{Engine: "vllm"}, c.text), c.pattern, c.state)
		if f == nil || f.Confidence != c.want || !strings.Contains(f.Basis, c.basis) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
	// A pull request stays a candidate however often its parts are seen.
	f := find(match(t, Context{Engine: "sglang", Model: "Qwen/Qwen3.5-27B"}, rocm+inRow(repeat(9, gemm, norm, norm, rope, store, attention)...)), "sglang-pr20667-qwen35-qknorm-rope-kvstore", StateSplit)
	if f == nil || f.Confidence != Candidate || !strings.Contains(f.Action, "#20667") {
		t.Errorf("a pull request: %+v", f)
	}
}

// The gates are answered by the caller, else by the trace.
func TestU52GatesAreReadFromTheTrace(t *testing.T) {
	ar := inRow(repeat(3, gemm, reduce, norm)...)
	for _, c := range []struct {
		name, text string
		ctx        Context
		want       bool
	}{
		{"collectives alone", ar, Context{}, true},
		{"world of one", "meta rank=0 world=1 backend=nccl\n" + ar, Context{}, false},
		{"world of eight", "meta rank=0 world=8 backend=nccl\n" + ar, Context{}, true},
		{"set to one", ar, Context{TP: 1}, false},
		{"set to two", ar, Context{TP: 2}, true},
	} {
		c.ctx.Engine = "vllm"
		if got := find(match(t, c.ctx, c.text), "vllm-allreduce-rmsnorm", StateSplit) != nil; got != c.want {
			t.Errorf("%s: found is %v", c.name, got)
		}
	}
	// The model: by name, or by the source file of the model that launched work.
	qk := inRow(repeat(3, gemm, norm, norm, rope, store, attention)...)
	frames := func(file string) string {
		text := `frame 0 100 "python/serving/srt/models/` + file + `(33): forward"` + "\n" + "launch 1 1 cudaLaunchKernel corr=1\nkernel 5 1 tiny corr=1\n"
		return text + qk
	}
	const gated = "sglang-qwen3-qknorm-mrope-kvstore"
	for _, c := range []struct {
		name, text string
		ctx        Context
		want       bool
	}{
		{"unknown", qk, Context{}, false},
		{"named", qk, Context{Model: "Qwen/Qwen3-8B"}, true},
		{"named by path", qk, Context{Model: "/models/qwen3-32b-fp8"}, true},
		{"excluded", qk, Context{Model: "Qwen/Qwen3.5-27B"}, false},
		{"another", qk, Context{Model: "meta-llama/Llama-3.1-8B"}, false},
		{"source file", frames("qwen3_moe.py"), Context{}, true},
		{"source file of the excluded", frames("qwen3_5.py"), Context{}, false},
		{"source file of another", frames("llama.py"), Context{}, false},
	} {
		c.ctx.Engine = "sglang"
		found := match(t, c.ctx, c.text)
		if got := find(found, gated, StateSplit) != nil; got != c.want {
			t.Errorf("%s: found is %v", c.name, got)
		}
		if !c.want && find(found, "sglang-qknorm-rope", StateSplit) == nil && c.name != "excluded" && c.name != "source file of the excluded" {
			t.Errorf("%s: the pattern without gate is gone, too: %+v", c.name, found)
		}
	}
	for _, c := range []struct {
		name, word string
		want       bool
	}{
		{"qwen/qwen3-8b", "qwen3", true}, {"qwen30b", "qwen3", false}, {"myqwen3", "qwen3", false},
		{"deepseekv3forcausallm", "deepseek", true}, {"glm4_moe", "glm", true}, {"", "x", false},
	} {
		if got := beginsWord(c.name, c.word); got != c.want {
			t.Errorf("%q begins a word of %q: %v", c.word, c.name, got)
		}
	}
}

// The exact pattern comes first, takes its windows and leaves the rest; what is
// active never loses its row to a broad pattern.
func TestU53SpecificFirstWithoutStarving(t *testing.T) {
	sglang := Context{Engine: "sglang", Model: "Qwen/Qwen3-8B"}
	kernels := append(repeat(3, gemm, norm, norm, rope, store, attention), repeat(2, gemm, rope, store, attention)...)
	found := match(t, sglang, inRow(kernels...))
	exact := find(found, "sglang-qwen3-qknorm-mrope-kvstore", StateSplit)
	if exact == nil || exact.Occurrences != 3 || !slices.Contains(exact.Covers, "sglang-qknorm-rope") {
		t.Fatalf("the exact pattern: %+v", found)
	}
	// Two windows have no norms: the pattern of the pair still has its row.
	if f := find(found, "sglang-rope-kvstore", StateSplit); f == nil || f.Occurrences != 2 {
		t.Errorf("the pair: %+v", f)
	}
	if find(found, "sglang-qknorm-rope", StateSplit) != nil {
		t.Error("a part of the exact pattern has a row of its own")
	}
	// Upstream: activation and quantising together starved the activation.
	found = match(t, sglang, inRow(repeat(3, gemm, silu, quant)...))
	if find(found, "sglang-act-and-mul", StateActive) == nil || find(found, "sglang-moe-act-quant", StateSplit) == nil {
		t.Errorf("activation and quantising: %+v", found)
	}
	// An exact pattern below the bar takes nothing away.
	sglang.MinShare = 60
	for _, f := range match(t, sglang, inRow(kernels...)) {
		if f.Share < 60 {
			t.Errorf("%s has %.1f %%", f.Pattern, f.Share)
		}
	}
}

// The families that upstream's prose names and its registry can't find.
func TestU54FamiliesOfTheProseAreInTheCatalog(t *testing.T) {
	// 36 layers, two collectives each, and one at the end.
	found := match(t, Context{Engine: "vllm"}, inRow(append(repeat(72, fusedAR, gemm), fusedAR)...))
	if f := find(found, "vllm-allreduce-rmsnorm", StateActive); f == nil || f.Occurrences != 73 {
		t.Errorf("all-reduce and norm in one: %+v", found)
	}
	c := load(t)
	for _, id := range []string{
		"vllm-allreduce-rmsnorm", "vllm-rope-kvcache", "vllm-qknorm-rope", "vllm-rocm-aiter-norm-quant", "vllm-async-tp", "vllm-sequence-parallelism",
		"flashinfer-rope-quant-append", "trtllm-allreduce-rmsnorm", "tokenspeed-allreduce-rmsnorm",
	} {
		if c.Pattern(id) == nil {
			t.Errorf("%s is missing", id)
		}
	}
	if len(c.Overlap) != 33 || len(c.Toggles) < 24 {
		t.Errorf("%d overlap families, %d toggles", len(c.Overlap), len(c.Toggles))
	}
}

// What is on is told apart from what could be.
func TestU55ActiveIsAStateOfItsOwn(t *testing.T) {
	kernels := append(repeat(3, gemm, reduce, norm), repeat(2, fusedAR, gemm)...)
	found := match(t, Context{Engine: "vllm", TP: 2}, inRow(kernels...))
	split, active := find(found, "vllm-allreduce-rmsnorm", StateSplit), find(found, "vllm-allreduce-rmsnorm", StateActive)
	if split == nil || active == nil || split.Occurrences != 3 || active.Occurrences != 2 {
		t.Fatalf("%+v", found)
	}
	if !strings.HasPrefix(active.Action, "nothing") || !strings.Contains(split.Action, "fuse_allreduce_rms") {
		t.Errorf("active: %q; split: %q", active.Action, split.Action)
	}
	if found[0].State != StateSplit || found[len(found)-1].State != StateActive {
		t.Error("what can be done stands before what is done")
	}
}

// A trace of an unknown engine has no engine's patterns, also none for any.
func TestU56UnknownEngineHasNoPatterns(t *testing.T) {
	tl := resolve(t, inRow(repeat(9, gemm, addNorm, norm, norm, rope, store, attention)...))
	if tl.Engine != Unknown {
		t.Fatalf("engine %q", tl.Engine)
	}
	found, notes := load(t).Find(tl, Context{Model: "Qwen/Qwen3-8B"})
	if len(found) != 0 || len(notes) != 0 || found == nil || notes == nil {
		t.Errorf("found %+v, similar %+v", found, notes)
	}
	if rows := load(t).OverlapNotes(Unknown, []attrib.OverlapRow{{Kernel: "all_to_all_single"}}); len(rows) != 0 {
		t.Errorf("overlap notes %+v", rows)
	}
}

// Similar windows are notes after the tables, at three levels.
func TestSimilarWindowsAreNotes(t *testing.T) {
	for _, c := range []struct {
		name, pattern string
		ctx           Context
		kernels       []string
		want          Similarity
		reason        string
	}{
		{"of another engine", "sglang-temperature-softmax", Context{Engine: "vllm"}, repeat(3, gemm, `"void at::native::vectorized_elementwise_kernel<4, at::native::BinaryFunctor<float, float, float, at::native::binary_internal::DivFunctor<float> > >"`, `"void at::native::cunn_SoftMaxForward<4, float, float, float>"`), High, "other engines"},
		{"model unknown", "sglang-qwen3-qknorm-mrope-kvstore", Context{Engine: "sglang"}, repeat(3, gemm, norm, norm, rope, store, attention), High, "model is unknown"},
		{"a copy between", "vllm-rmsnorm-quant", Context{Engine: "vllm"}, repeat(3, gemm, norm, `"void at::native::copy_kernel<float>"`, quant), Medium, "between"},
		{"one part missing", "flashinfer-rope-quant-append", Context{Engine: "vllm"}, repeat(3, gemm, rope, quant, attention), Low, "kv_cache"},
	} {
		found, notes := load(t).Find(resolve(t, inRow(c.kernels...)), c.ctx)
		i := slices.IndexFunc(notes, func(n Note) bool { return n.Pattern == c.pattern })
		if i < 0 || notes[i].Similarity != c.want || !strings.Contains(notes[i].Reason, c.reason) || notes[i].Windows != 3 {
			t.Errorf("%s: %+v", c.name, notes)
		}
		if find(found, c.pattern, StateSplit) != nil {
			t.Errorf("%s: it is a finding as well", c.name)
		}
	}
	// A model that is known to be another has nothing in common with it.
	_, notes := load(t).Find(resolve(t, inRow(repeat(3, gemm, norm, rope, attention)...)), Context{Engine: "sglang", Model: "Qwen/Qwen3-8B"})
	if slices.ContainsFunc(notes, func(n Note) bool { return n.Pattern == "sglang-mla-proj-norm-rope" }) {
		t.Errorf("MLA is noted for a model without: %+v", notes)
	}
}

// The order of events in the file, and of equal runs, changes nothing.
func TestFindingsAreDeterministic(t *testing.T) {
	text := inRow(append(repeat(5, gemm, norm, norm, rope, store, attention, gemm, silu, quant), repeat(4, reduce, addNorm, gemm)...)...)
	ctx := Context{Engine: "sglang", Model: "Qwen/Qwen3-8B"}
	want, wantNotes := load(t).Find(resolve(t, text), ctx)
	if len(want) < 4 {
		t.Fatalf("%d findings", len(want))
	}
	lines := strings.SplitAfter(text, "\n")
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		r.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		got, notes := load(t).Find(resolve(t, strings.Join(lines, "")), ctx)
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(notes, wantNotes) {
			t.Fatalf("shuffled: %+v\nexpected %+v", got, want)
		}
	}
}

func TestOverlapNotes(t *testing.T) {
	rows := []attrib.OverlapRow{
		{Kernel: "void deep_ep::internode_ll::combine<true, 7168>"},
		{Kernel: "void flash_fwd_splitkv_combine_kernel<float>"}, // combines attention
		{Kernel: "k1", HiddenUS: 5, Scope: "python/sglang/srt/layers/attention/nsa/nsa_indexer.py:312 forward"},
		{Kernel: "k2", HiddenUS: 0, Scope: "python/sglang/srt/layers/attention/nsa/nsa_indexer.py:312 forward"},
		{Kernel: "k3", HiddenUS: 5, Scope: "other/nsa_indexer.py:312 forward"},
		{Kernel: "k4", HiddenUS: 5, Scope: "unresolved"},
	}
	var got []string
	for _, n := range load(t).OverlapNotes("sglang", rows) {
		got = append(got, n.Kernel+" "+n.Family+" "+n.Told)
	}
	want := []string{"void deep_ep::internode_ll::combine<true, 7168> sglang-sbo kernel", "k1 sglang-nsa-dual-stream source"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func BenchmarkFind(b *testing.B) {
	tl := resolve(b, inRow(repeat(8_000, gemm, norm, norm, rope, store, attention, gemm, addNorm, gemm, silu, quant, gemm)...))
	c := load(b)
	b.ReportAllocs()
	for b.Loop() {
		c.Find(tl, Context{Engine: "sglang", Model: "Qwen/Qwen3-8B"})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(tl.Works)), "ns/kernel")
}
