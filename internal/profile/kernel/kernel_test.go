package kernel

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestU13HexadecimalOnlyWhereItStandsAlone(t *testing.T) {
	for raw, want := range map[string]string{
		"Cijk_Alik_Bljk_BBS_BH_MT320x256x64_MI16x16x1_SN": "Cijk_Alik_Bljk_BBS_BH_MT320x256x64_MI16x16x1_SN",
		"Cijk_Alik_Bljk_BBS_BH_MT320x192x64_MI16x16x1_SN": "Cijk_Alik_Bljk_BBS_BH_MT320x192x64_MI16x16x1_SN",
		"<function step at 0x7f3a9c2e>":                   "<function step at 0xADDR>",
		"tile_10x20x30":                                   "tile_10x20x30",
		"graph 0xAB, node 0x1":                            "graph 0xADDR, node 0xADDR",
		"kernel_0x7f3a":                                   "kernel_0x7f3a",
	} {
		if got := Canonical(raw); got != want {
			t.Errorf("Canonical(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestU14MangledNamesAreSpelledOut(t *testing.T) {
	for raw, want := range map[string]string{
		"_ZN5aiter24add_rmsnorm_quant_kernelIDF16bDF16bLi64ELi8ELb0ELb0ELb1ELi1EEEvPT0_PT_PfS4_S4_S4_diiiiiiib":        "void aiter::add_rmsnorm_quant_kernel<std::bfloat16_t, std::bfloat16_t, 64, 8, false, false, true, 1>",
		"_ZN5aiter24add_rmsnorm_quant_kernelIDF16bDF16bLi64ELi8ELb0ELb0ELb1ELi1EEEvPT0_PT_PfS4_S4_S4_diiiiiiib.kd":     "void aiter::add_rmsnorm_quant_kernel<std::bfloat16_t, std::bfloat16_t, 64, 8, false, false, true, 1>",
		"_ZN7sgl_hip10activation18act_and_mul_kernelI14__hip_bfloat16TnPFT_RKS3_EXadL_Z4siluIS2_ES3_S5_EEEEvPS3_PS4_i": "void sgl_hip::activation::act_and_mul_kernel<__hip_bfloat16, &(silu<__hip_bfloat16>)>",
		"_ZN2at6native10sum_kernelEPfi": "at::native::sum_kernel",
		"_Znot_mangled":                 "_Znot_mangled",
		"_Z":                            "_Z",
		"Cijk_Ailk_Bljk_SB_MT64x64x16":  "Cijk_Ailk_Bljk_SB_MT64x64x16",
	} {
		got := Parse(raw)
		if got.Canonical != want || got.Raw != raw {
			t.Errorf("Parse(%q) = %q of %q, want %q", raw, got.Canonical, got.Raw, want)
		}
	}
}

func TestU15OneRuleCutsParameters(t *testing.T) {
	for raw, want := range map[string]string{
		"void f<int>(float*, int)": "void f<int>",
		"std::enable_if<(((8)>(0)))&&ns::_typeConvert<c10::BFloat16>::exists, void>::type ns::fused_add_rms_norm_kernel<c10::BFloat16, 8>(c10::BFloat16*, long)": "std::enable_if<(((8)>(0)))&&ns::_typeConvert<c10::BFloat16>::exists, void>::type ns::fused_add_rms_norm_kernel<c10::BFloat16, 8>",
		"ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)":                                                                             "ncclDevKernel_AllReduce_Sum_bf16_RING_LL",
		"void ns::f<2>(ns::Params) [clone .kd]":                         "void ns::f<2>",
		"void f(int) [clone .isra.0] [clone .kd]":                       "void f",
		"void k<g(int)::{lambda(int)#1}>(int, g(int)::{lambda(int)#1})": "void k<g(int)::{lambda(int)#1}>",
		"void k<g(int)::{lambda(int)#1}>":                               "void k<g(int)::{lambda(int)#1}>",
		"void (anonymous namespace)::scan<int>(int const*)":             "void (anonymous namespace)::scan<int>",
		"(anonymous namespace)":                                         "(anonymous namespace)",
		"ns::(anonymous namespace)":                                     "ns::(anonymous namespace)",
		"T::operator()(int) const":                                      "T::operator()",
		"T::operator()":                                                 "T::operator()",
		"f(int)(float)":                                                 "f",
		"  void   f(int,\n  int)  ":                                     "void f",
		"broken(int":                                                    "broken(int",
		"broken)":                                                       "broken)",
		"Memcpy HtoD (Pageable -> Device)":                              "Memcpy HtoD (Pageable -> Device)",
		"":                                                              "",
	} {
		if got := Canonical(raw); got != want {
			t.Errorf("Canonical(%q)\n got %q\nwant %q", raw, got, want)
		}
	}
}

func TestNamesBeyondTheLimitStayMangled(t *testing.T) {
	within := "_Z1f" + strings.Repeat("P", 100) + "i"
	if got := Canonical(within); got != "f" {
		t.Errorf("Canonical of a name of %d bytes = %.40q, want f", len(within), got)
	}
	beyond := "_Z1f" + strings.Repeat("P", maxMangled) + "i"
	if got := Canonical(beyond); got != beyond {
		t.Errorf("Canonical of a name of %d bytes = %.40q, want it unchanged", len(beyond), got)
	}
}

// classOf is one row of the tables below.
type classOf struct {
	want Class
	raw  string
}

func checkClasses(t *testing.T, rows []classOf) {
	t.Helper()
	for _, row := range rows {
		if got := Parse(row.raw).Class; got != row.want {
			t.Errorf("%s: class %s, want %s", row.raw, got, row.want)
		}
	}
}

func TestU16TensileIsGEMM(t *testing.T) {
	checkClasses(t, []classOf{
		{GEMM, "Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT128x256x32_MI16x16x1_SN_LDSB1_ISA942_WG16_16_1"},
		{GEMM, "Cijk_Ailk_Bjlk_SB_MT64x64x16_SE_K1"},
		{GEMM, "Cijk_Alik_Bljk_B_BS_BH_Bias_HA_S_SAV_UserArgs_MT64x32x128_MI16x16x1"},
	})
}

func TestU17WordsInsideOtherWordsDecideNothing(t *testing.T) {
	checkClasses(t, []classOf{
		{Attention, "attn_fwd"},
		{Attention, "sage_fwd"},
		{Norm, "void RMSNormLayer<float>(float*)"},
		{GEMM, "void GemmLauncher<float>(float*)"},
		{Other, "loadMatrix"},
		{Other, "paddmask"},
		{Norm, "_gemma_rmsnorm_fwd_inner"},
		{Norm, "void (anonymous namespace)::groupnorm_kernel_dispatch_down<__hip_bfloat16, 1024u>(unsigned int)"},
		{MoE, "_combined_routing_compute"},
		{Other, "property_lookup"},
		{Conv, "cudnn_ampere_scudnn_128x64_relu_xregs_large_nn_v1"},
		{Other, "void fbgemm_gpu::permute_2D_data_kernel<false, long>(int)"},
		{Conv, "igemm_wrw_gtcx2_nhwc_bf16_bx0_ex1_bt256x128x16_wt32x32x8_ws2x1"},
		{Memory, "batched_transpose_16x64_pack_1x4_ediv_1x2_half"},
		{Other, "void at::native::(anonymous namespace)::max_pool_backward_nchw<c10::BFloat16, float>(int)"},
		{MoE, "moe_gather_rows"},
		{Conv, "sm80_xmma_fprop_implicit_gemm_indexed_tf32f32_tf32f32_f32_nhwckrsc_nchw_tilesize128x128x16_stage4"},
	})
}

func TestU18TypesDecideNothing(t *testing.T) {
	checkClasses(t, []classOf{
		{Attention, "void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<64, 128, 128, 4, false, false, cutlass::bfloat16_t>, true>(pytorch_flash::Flash_fwd_params)"},
		{Attention, "void cutlass::device_kernel<flash::enable_sm90<flash::FlashAttnFwdSm90<flash::CollectiveMainloopFwdSm90<2, cute::tuple<cute::C<1>, cute::C<1>, cute::C<1> >, cutlass::bfloat16_t, cutlass::gemm::Warp> > > >(int)"},
		{KVCache, "void reshape_and_cache_flash_kernel<unsigned short, unsigned char, (Fp8KVCacheDataType)1>(unsigned short const*)"},
		{Other, "void regular_fft<256u, 16u>(kernel_arguments_t<unsigned int>, reduced_divisor)"},
		{Other, "void split_embedding_codegen_forward_unweighted_kernel<c10::Half, c10::Half, float>(at::PackedTensorAccessor<fbgemm_gpu::Cache, 1>)"},
	})
}

func TestU19InductorNamesAreOperatorLists(t *testing.T) {
	checkClasses(t, []classOf{
		{Norm, "triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_1"},
		{Elementwise, "triton_poi_fused_add_cos_sin_0"},
		{Elementwise, "triton_poi_fused__to_copy_12"},
		{Elementwise, "triton_poi_fused__unsafe_view_add_3"},
		{Activation, "triton_poi_fused__unsafe_view_mul_silu_2"},
		{MoE, "triton_poi_fused_constant_pad_nd_moe_forward_0"},
		{Softmax, "triton_per_fused__softmax_add_rsqrt_4"},
		{Quantize, "triton_poi_fused_dynamic_scaled_fp8_quant_7"},
		{ReduceTopK, "triton_red_fused_argmax_0"},
		{Norm, "triton_per_fused_native_layer_norm_5"},
		{GEMM, "triton_tem_fused_addmm_relu_9"},
		{Attention, "triton_tem_fused_flex_attention_0"},
		{GEMM, "triton_mm_fused_mm_2"},
		{Elementwise, "triton_for_fused_0"},
		{Elementwise, "triton_poi_3"},
		{GEMM, "triton_matmul_persistent"},
	})
}

func TestU20NoTermIsDead(t *testing.T) {
	checkClasses(t, []classOf{
		{Memory, "void at::native::(anonymous namespace)::CatArrayBatchedCopy<float, unsigned int, 4, 64, 64>(float*)"},
		{SamplingIO, "copy_next_token_ids"},
	})
	list := Rules()
	for i, rule := range list {
		if rule.Source == "" || len(rule.Terms) == 0 {
			t.Errorf("rule %d, %s: no source or no terms", i, rule.Class)
		}
		for _, term := range rule.Terms {
			class, by := classify(Canonical(term.Example))
			if by != i || class != rule.Class {
				t.Errorf("rule %d, %s, term %q: its example %q is claimed by rule %d as %s", i, rule.Class, term.Text, term.Example, by, class)
			}
			if !term.claims(plain(Canonical(term.Example))) {
				t.Errorf("rule %d, %s: term %q does not stand in its example %q", i, rule.Class, term.Text, plain(Canonical(term.Example)))
			}
		}
	}
}

func TestU21OneClassifierOneMapping(t *testing.T) {
	for class, want := range map[Class]Group{
		GEMM: GroupCompute, Attention: GroupCompute, MoE: GroupCompute, Conv: GroupCompute, HybridLinear: GroupCompute,
		Communication: GroupCommunication, Memory: GroupMemory, KVCache: GroupMemory,
		Norm: GroupElementwise, RoPE: GroupElementwise, Softmax: GroupElementwise, Activation: GroupElementwise, Quantize: GroupElementwise,
		ReduceTopK: GroupElementwise, SamplingIO: GroupElementwise, Elementwise: GroupElementwise, Other: GroupOther, "nonsense": GroupOther,
	} {
		if got := class.Group(); got != want {
			t.Errorf("%s.Group() = %s, want %s", class, got, want)
		}
	}
	claimed := map[Class]bool{Other: true}
	for _, rule := range Rules() {
		claimed[rule.Class] = true
	}
	for class := range classes {
		if !claimed[class] {
			t.Errorf("no rule names class %s", class)
		}
	}
}

// Names of engines and libraries as their sources spell them.
func TestClassesOfServingKernels(t *testing.T) {
	checkClasses(t, []classOf{
		{GEMM, "void deep_gemm::sm90_fp8_gemm_1d2d_impl<0u, 7168u, 2048u, 1u, 128u, 128u>(float*)"},
		{GEMM, "nvjet_sm100_qqtst_128x256_128x6_2x1_2cta_v_bz_TNT"},
		{GEMM, "ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x3_tn"},
		{GEMM, "void marlin::Marlin<__nv_bfloat16, 256, 1, 8, 8, 4>(int4 const*)"},
		{GEMM, "void wvSplitK_hf_sml_<__hip_bfloat16, 64, 2, 16, 8, 2, 1>(int)"},
		{GEMM, "std::enable_if<!(false), void>::type internal::gemvx::kernel<int, int, float>(int)"},
		{Communication, "void deep_ep::intranode::combine<__nv_bfloat16, 8, 768, 4096>(__nv_bfloat16*)"},
		{Communication, "void deep_ep::internode_ll::dispatch<true, 3, 7168>(void*)"},
		{Communication, "void tk::ar_fusion::allreduce_fusion_kernel_oneshot_lamport<(tk::Pattern)1, __nv_bfloat16, 8>(int)"},
		{Communication, "void moeA2ACombineKernel<8>(int)"},
		{Communication, "ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)"},
		{Attention, "void flash_fwd_splitkv_mla_kernel<Flash_fwd_kernel_traits_mla<576, 64, 64, 8> >(int)"},
		{Attention, "void flashinfer::BatchPrefillWithPagedKVCacheKernel<flashinfer::KernelTraits<1> >(int)"},
		{Attention, "void flashinfer::PersistentVariableLengthMergeStatesKernel<8u, 16u>(int)"},
		{Attention, "_fwd_grouped_kernel_stage1"},
		{Attention, "void PyTorchMemEffAttention::fmha_cutlassF_bf16_aligned_64x128_rf_sm80(int)"},
		{Attention, "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1_kernel0_0"},
		{KVCache, "void concat_and_cache_mla_kernel<unsigned short, unsigned char>(int)"},
		{KVCache, "set_mla_kv_buffer_kernel"},
		{KVCache, "void (anonymous namespace)::store_kvcache<2048l, 4>(int)"},
		{MoE, "fused_moe_kernel"},
		{MoE, "void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<cutlass::gemm::GroupProblemShape<cute::tuple<int, int, int> > > >(int)"},
		{MoE, "void moe::dev::routing::routingIndicesClusterKernel<float>(int)"},
		{MoE, "fmoe_bf16_blockscaleFp8_g1u1_vs_silu_1tg_32x256"},
		{HybridLinear, "fused_recurrent_gated_delta_rule_fwd_kernel"},
		{HybridLinear, "_causal_conv1d_fwd_kernel"},
		{Norm, "void flashinfer::norm::FusedAddRMSNormKernel<8u, __half>(__half*)"},
		{RoPE, "void flashinfer::BatchQKApplyRotaryPosIdsCosSinCacheKernel<true, 128u>(int)"},
		{Quantize, "void per_token_group_quant_8bit_kernel<c10::BFloat16, c10::Float8_e4m3fn>(int)"},
		{Quantize, "void cvt_fp16_to_fp4<__half, false>(int)"},
		{SamplingIO, "write_req_to_token_pool_triton"},
		{SamplingIO, "apply_token_bitmask_inplace_kernel"},
		{ReduceTopK, "void flashinfer::sampling::TopPRenormProbKernel<1024u>(float*)"},
		{Softmax, "void at::native::(anonymous namespace)::cunn_SoftMaxForwardReg<c10::BFloat16, float>(float*)"},
		{Elementwise, "void at::native::index_elementwise_kernel<128, 4, at::native::gpu_index_kernel<int>(at::TensorIteratorBase&)::{lambda(int)#1}>(long)"},
		{Other, "void my_own_thing<float>(float*)"},
		{Other, ""},
	})
}

func TestParseCopy(t *testing.T) {
	for _, row := range []struct {
		raw    string
		memset bool
		want   string
	}{
		{"Memcpy HtoD (Pageable -> Device)", false, "Memcpy HtoD (Pageable -> Device)"},
		{"Memset  (Device)", true, "Memset (Device)"},
		{"CopyHostToDevice", false, "CopyHostToDevice"},
		{"", false, "Memcpy"},
		{"", true, "Memset"},
	} {
		got := ParseCopy(row.raw, row.memset)
		if got.Canonical != row.want || got.Class != Memory || got.Raw != row.raw || got.Short != row.want {
			t.Errorf("ParseCopy(%q, %v) = %+v, want %q of class memory", row.raw, row.memset, got, row.want)
		}
	}
}

func TestShort(t *testing.T) {
	for raw, want := range map[string]string{
		"void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul> >(int)":                                                                                                              "vectorized_elementwise_kernel<CUDAFunctor_add>",
		"void at::native::elementwise_kernel<128, 2, at::native::gpu_kernel_impl_nocast<at::native::BinaryFunctor<float, float, float, at::native::binary_internal::MulFunctor<float> > >(at::TensorIteratorBase&)::{lambda(int)#1}>(int)": "elementwise_kernel<MulFunctor>",
		"void at::native::elementwise_kernel<128, 4, at::native::gpu_kernel_impl_nocast<at::native::direct_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda()#3}>(int)::{lambda(int)#1}>(int)":                                           "elementwise_kernel<direct_copy_kernel_cuda>",
		"void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_128x64_64x6_tn_align8>(int)":                                                                                                                                  "Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_128x64_64x6_tn_align8>",
		"_ZN5aiter24add_rmsnorm_quant_kernelIDF16bDF16bLi64ELi8ELb0ELb0ELb1ELi1EEEvPT0_PT_PfS4_S4_S4_diiiiiiib":                                                                                                                            "add_rmsnorm_quant_kernel",
		"std::enable_if<!(false), void>::type internal::gemvx::kernel<int, int, float>(int)":                                                                                                                                               "gemvx::kernel",
		"std::enable_if<true, void>::type fused_add_rms_norm_kernel<c10::BFloat16, 8>(int)":                                                                                                                                                "fused_add_rms_norm_kernel",
		"Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT128x256x32_MI16x16x1_SN":                                                                                                                                                           "Cijk_Alik_Bljk_BBS_BH_MT128x256x32",
		"void f<a<b>":            "f<a<b>",
		"triton_poi_fused_add_0": "triton_poi_fused_add_0",
		"ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)": "ncclDevKernel_Generic",
		"": "",
	} {
		if got := Parse(raw).Short; got != want {
			t.Errorf("short of %s\n got %q\nwant %q", raw, got, want)
		}
	}
}

func TestRulesRefuseWhatTheyDoNotUnderstand(t *testing.T) {
	for text, want := range map[string]string{
		"[nonsense] somewhere\n":              "line 1",
		"[gemm]\n":                            "line 1",
		"term  example\n":                     "before the first",
		"[gemm] here\nterm example\n":         "two blanks",
		"[gemm] here\n…x  example\n":          "gap",
		"[gemm] here\na~bc  example\n":        "after ~",
		"[gemm] here\nopen(  example\n":       "mark",
		"[gemm] here\n‹›  example\n":          "no text",
		"# only a comment\n\n[gemm] here\n":   "",
		"[gemm] here\n‹a{b,c}(_)d›  a_name\n": "",
	} {
		_, err := parseRules(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("parseRules(%q) = %v, want an error with %q", text, err, want)
		}
	}
}

func TestTermNotation(t *testing.T) {
	for _, row := range []struct {
		term, plain string
		want        bool
	}{
		{"‹mla›", "get_mla_metadata", true},
		{"‹mla›", "gemmlauncher", false},
		{"‹mla›", "xmla mla1", true},
		{"‹nccl", "ncclkernel", true},
		{"‹nccl", "uncclkernel", false},
		{"all(_)reduce", "allreduce", true},
		{"all(_)reduce", "all__reduce", false},
		{"‹{,s,h}gemm~a", "gemma_norm", false},
		{"‹{,s,h}gemm~a", "gemma gemm", true},
		{"‹{,s,h}gemm~a", "hgemm", true},
		{"‹{,s,h}gemm~a", "xgemm", false},
		{"s#{fprop,dgrad}", "s16816dgrad", true},
		{"s#{fprop,dgrad}", "sdgrad", false},
		{"cudnn…dgrad", "cudnn_a_dgrad", true},
		{"cudnn…dgrad", "dgrad_cudnn", false},
		{"^cijk_", "cijk_a", true},
		{"^cijk_", "a_cijk_", false},
		{"^_fwd$", "_fwd", true},
		{"^_fwd$", "_fwd_", false},
	} {
		alternatives, err := parseTerm(row.term)
		if err != nil {
			t.Fatal(err)
		}
		term := Term{alternatives: alternatives}
		if got := term.claims(row.plain); got != row.want {
			t.Errorf("%q in %q: %v, want %v", row.term, row.plain, got, row.want)
		}
	}
}

func TestPlain(t *testing.T) {
	for canonical, want := range map[string]string{
		"RMSNormKernel":                           "rms_norm_kernel",
		"moeA2ADispatchKernel":                    "moe_a2a_dispatch_kernel",
		"f<c10::BFloat16, at::Tensor const&>":     "f<,  const&>",
		"f<cutlass::half_t, cutlass::gemm::Warp>": "f<, cutlass::gemm::warp>",
		"f<__nv_fp8_e4m3, __hip_bfloat16>":        "f<, >",
		"at::native::TensorThing":                 "at::native::tensor_thing",
		"fbgemm_gpu::permute":                     "permute",
		"(anonymous namespace)::f":                "(anonymous namespace)::f",
		"f<(vllm::Fp8KVCacheDataType)1>":          "f<()1>",
		"f::":                                     "f::",
		":::f":                                    ":::f",
	} {
		if got := plain(canonical); got != want {
			t.Errorf("plain(%q) = %q, want %q", canonical, got, want)
		}
	}
}

// valueTypes are types of values as names spell them.
var valueTypes = []string{
	"float", "int", "c10::Half", "c10::BFloat16", "c10::Float8_e4m3fn", "__half", "__nv_bfloat16", "__nv_fp8_e4m3", "__hip_bfloat16", "__hip_fp8_e4m3_fnuz",
	"cutlass::bfloat16_t", "cutlass::half_t", "cutlass::float_e4m3_t", "std::bfloat16_t", "ck_tile::fp8_t", "at::Tensor const&", "unsigned char", "vllm::Fp8KVCacheDataType",
}

func TestPropertyTypesNeverDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.SampledFrom([]string{"rms_norm_kernel", "flash_fwd_kernel", "sgemm_tile", "reshape_and_cache_kernel", "my_own_thing", "elementwise_kernel", "silu_kernel", "topk_rows"}).Draw(t, "base")
		name := func(label string) string {
			arguments := rapid.SliceOfN(rapid.SampledFrom(valueTypes), 2, 2).Draw(t, label)
			parameters := rapid.SampledFrom(valueTypes).Draw(t, label)
			return "void ns::" + base + "<" + strings.Join(arguments, ", ") + ", 4>(" + parameters + ", int)"
		}
		a, b := name("a"), name("b")
		if x, y := Parse(a).Class, Parse(b).Class; x != y {
			t.Fatalf("%s is %s but %s is %s", a, x, b, y)
		}
	})
}

func TestPropertyCanonicalIsIdempotent(t *testing.T) {
	pieces := []string{"void ", "f", "_Z1fv", "_ZN1a1bEi", ".kd", " [clone .kd]", "(int)", "()", "operator", "(anonymous namespace)", "::", "<", ">", " const", "0x1f", "0x", "\t", " ", "{lambda()#1}", "&", "ADDR", "_", "7"}
	rapid.Check(t, func(t *rapid.T) {
		raw := strings.Join(rapid.SliceOf(rapid.SampledFrom(pieces)).Draw(t, "pieces"), "")
		once := Parse(raw)
		twice := Parse(once.Canonical)
		if twice.Canonical != once.Canonical || twice.Class != once.Class || twice.Short != once.Short {
			t.Fatalf("%q: first %+v, then %+v", raw, once, twice)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "_Z", "_ZN5aiter24add_rmsnorm_quant_kernelIDF16bDF16bLi64ELi8ELb0ELb0ELb1ELi1EEEvPT0_PT_PfS4_S4_S4_diiiiiiib.kd",
		"void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul> >(int)",
		"Cijk_Alik_Bljk_BBS_BH_MT320x256x64_MI16x16x1_SN", "triton_poi_fused__to_copy_add_0", "void f(int) [clone .kd]", "f<<>(>)::", "operator<(", "ncclDevKernel_AllReduce_Sum_bf16_NVLS_TREE_LL128",
		"nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT", "fmhaSm100aKernel_QkvBfloat16OBfloat16H128PagedKvCausalP64VarSeqQ128Kv128PersistentContext",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		name := Parse(raw)
		if name.Raw != raw || !known(name.Class) {
			t.Fatalf("Parse(%q) = %+v", raw, name)
		}
		if len(name.Canonical) > 1<<maxDemangled+len(raw)*8 {
			t.Fatalf("Parse(%q) grew to %d bytes", raw, len(name.Canonical))
		}
		detail := Describe(raw)
		if again := Describe(name.Canonical); again.String() != detail.String() {
			t.Fatalf("Describe(%q) = %q, of its canonical name %q", raw, detail, again)
		}
	})
}

func TestDescribe(t *testing.T) {
	families := map[string]bool{}
	for _, row := range []struct{ raw, want string }{
		{"Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT320x224x64_MI16x16x1_SN_LDSB0_ISA942_IU1", "Tensile (hipBLASLt, rocBLAS): GEMM, bf16, bf16, fp32, TN, tile 320x224x64, MMA 16x16x1, + bias, gfx942"},
		{"Cijk_Alik_Bljk_B_BS_BH_Bias_HA_S_SAV_UserArgs_MT64x32x128_MI16x16x1_SN_GSU4_ISA950_IU1", "Tensile (hipBLASLt, rocBLAS): GEMM, bf16, bf16, fp32, TN, tile 64x32x128, MMA 16x16x1, split-K 4, + bias, gfx950"},
		{"Cijk_Ailk_Bjlk_HBH_MT128x64x32_SE_K1", "Tensile (hipBLASLt, rocBLAS): GEMM, fp16, NT, tile 128x64x32"},
		{"Cijk_Ailk_Bljk_SB_MT64x64x16_SE_K1", "Tensile (hipBLASLt, rocBLAS): GEMM, fp32, NN, tile 64x64x16"},
		{"triton_poi_fused__unsafe_view_mul_silu_2", "Inductor (Triton): fused pointwise, _unsafe_view + mul + silu"},
		{"triton_per_fused__to_copy_native_layer_norm_5", "Inductor (Triton): fused reduction within a block, _to_copy + native_layer_norm"},
		{"triton_tem_fused_addmm_relu_9", "Inductor (Triton): template, addmm + relu"},
		{"nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT", "cuBLAS (nvjet): GEMM, bf16, bf16, fp32, TNT, tile 128x256x64, cluster 1x2, 4 stages"},
		{"nvjet_hsh_64x8_64x16_4x1_v_bz_splitK_bias_TNN", "cuBLAS (nvjet): GEMM, fp16, fp16, fp32, TNN, tile 64x8x64, cluster 4x1, 16 stages, split-K, + bias"},
		{"nvjet_of_the_future", "cuBLAS (nvjet): GEMM"},
		{"sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas", "cuBLAS (xmma): GEMM, bf16, bf16, fp32, TN, tile 128x128x64, sm90"},
		{"sm80_xmma_fprop_implicit_gemm_indexed_tf32f32_tf32f32_f32_nhwckrsc_nchw_tilesize128x128x16_stage4_warpsize2x2x1_g1_tensor16x8x8_execute_kernel__5x_cudnn", "cuDNN (xmma): convolution forward, tf32, tf32, fp32, nhwckrsc_nchw, tile 128x128x16, 4 stages, sm80"},
		{"ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "NCCL or RCCL: all-reduce, sum, bf16, ring, LL"},
		{"ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*, unsigned long, ncclWork*)", "NCCL or RCCL: send and receive, sum, int8, ring, Simple"},
		{"ncclDevKernel_AllReduce_Sum_f16_NVLS_TREE_LL128", "NCCL or RCCL: all-reduce, sum, fp16, nvls_tree, LL128"},
		{"ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)", "NCCL or RCCL: collective"},
		{"void cross_device_reduce_1stage<__hip_bfloat16, 8>(RankData*)", "all-reduce of the engine's own, one-shot"},
		{"void tk::allreduce_fusion_kernel_twoshot_sync<1>(int)", "all-reduce of the engine's own, + residual and norm, where enabled, two-shot"},
		{"void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<64, 128, 128, 4, false>, true>(int)", "FlashAttention: attention forward, tile 128x128, head 64"},
		{"void flash::flash_fwd_splitkv_combine_kernel<Flash_fwd_kernel_traits<128, 64, 256, 4> >(int)", "FlashAttention: attention forward, combines the splits of the keys, tile 64x256, head 128"},
		{"void flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<128, 64, 128, 8> >(int)", "FlashAttention: attention backward, tile 64x128, head 128"},
		{"void cutlass::device_kernel<flash::enable_sm90<flash::FlashAttnFwdSm90<flash::CollectiveMainloopFwdSm90<2, cute::tuple<cute::C<1>, cute::C<1>, cute::C<1> >, cute::tuple<cute::C<128>, cute::C<176>, cute::C<128> > > > > >(int)", "FlashAttention: attention forward"},
		{"fmhaSm100aKernel_QkvE4m3OBfloat16H64PagedKvCausalP16VarSeqQ128Kv128PersistentContext", "FMHA cubin: attention for prefill, paged keys, fp8 e4m3, bf16, tile 128x128, head 64, sm100a"},
		{"fmhaSm100aKernel_QkvBfloat16OBfloat16H128PagedKvDenseP64VarSeqQ8Kv128PersistentSwapsAbForGen", "FMHA cubin: attention for decode, paged keys, bf16, bf16, tile 8x128, head 128, sm100a"},
		{"aiter::fmha_fwd_hd128_bf16_rtz", "AITER (assembly): attention forward, bf16, head 128"},
		{"bmm_MxE4m3_MxE2m1MxE4m3_Fp32_t128x16x256u2_s3_et128x16_m128x16x32_cga1x1x1_16dp256b_rM_TN_transOut_swiGlu_dynBatch_sm100f", "GEMM cubin: batched GEMM, mxfp4 e2m1 x mxfp8 e4m3, mxfp8 e4m3, fp32, tile 128x16x256, 3 stages, + swiglu"},
		{"void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_128x64_64x6_tn_align8>(int)", "CUTLASS: GEMM, bf16, accumulates fp32, TN, tile 128x64x64, MMA 16x8x16, 6 stages, + relu, sm80"},
		{"void cutlass::Kernel2<cutlass_75_tensorop_bf16_s1688gemm_bf16_128x128_nn_align1>(int)", "CUTLASS: GEMM, bf16, accumulates fp32, NN, tile 128x128, MMA 16x8x8, sm75"},
		{"void cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816fprop_optimized_bf16_256x64_32x4_nhwc_align8>(int)", "CUTLASS: convolution forward, bf16, accumulates fp32, NHWC, tile 256x64x32, MMA 16x8x16, 4 stages"},
		{"ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x3_tn", "cuBLAS: GEMM, bf16, accumulates fp32, TN, tile 128x64x64, MMA 16x8x16, 3 stages, ampere"},
		{"ampere_sgemm_32x32_sliced1x4_tn", "cuBLAS: GEMM, fp32, TN, tile 32x32, ampere"},
		{"volta_sgemm_128x64_nn", "cuBLAS: GEMM, fp32, NN, tile 128x64, volta"},
		{"cudnn_ampere_scudnn_128x64_relu_xregs_large_nn_v1", "cuDNN: convolution, fp32, tile 128x64, + relu, ampere"},
		{"volta_scudnn_winograd_128x128_ldg1_ldg4_tile148t_nt_v1", "cuDNN: convolution, Winograd, fp32, tile 128x128, volta"},
		{"igemm_wrw_gtcx2_nhwc_bf16_bx0_ex1_bt256x128x16_wt32x32x8_ws2x1", "MIOpen: convolution backward (weights), bf16, nhwc, tile 256x128x16, MMA 32x32x8"},
		{"_matmul_ogs_NNT_bf16xbf16xmxfp4_128x128x128x1_swiglu", "triton_kernels: GEMM of experts, bf16 x mxfp4, bf16, NNT, tile 128x128x128, + swiglu"},
		{"void ck_tile::kentry<2, ck_tile::FmhaBatchPrefillWithPagedKVCacheKernel<ck_tile::TileFmhaShape<ck_tile::sequence<128, 128, 32, 128, 32, 128>, 1> > >(int)", "Composable Kernel: attention for prefill, paged keys, tile 128x128, head 128"},
		{"void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<cute::tuple<int, int, int, int>, cutlass::gemm::collective::CollectiveMma<cutlass::gemm::MainloopSm90TmaGmmaWarpSpecialized<6, cute::tuple<cute::C<2>, cute::C<1>, cute::C<1> > >, cute::tuple<cute::C<128>, cute::C<256>, cute::C<64> > > > >(int)", "CUTLASS: GEMM, tile 128x256x64, cluster 2x1x1, 6 stages, sm90"},
		{"void cutlass::Kernel2<cutlass::gemm::kernel::GemmGrouped<cutlass::gemm::GemmShape<128, 128, 32> > >(int)", "CUTLASS: grouped GEMM, tile 128x128x32"},
		{"void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul> >(int)", "PyTorch: elementwise, CUDAFunctor_add"},
		{"void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::MeanOps<float, float, float, float> > >(int)", "PyTorch: reduction, MeanOps"},
		{"void my_own_thing<float>(float*)", ""},
		{"", ""},
	} {
		if got := Describe(row.raw).String(); got != row.want {
			t.Errorf("Describe(%s)\n got %q\nwant %q", row.raw, got, row.want)
		}
		for _, d := range decoders {
			if _, ok := d.read(Canonical(row.raw)); ok {
				families[d.family] = true
				break
			}
		}
	}
	for _, d := range decoders {
		if !families[d.family] {
			t.Errorf("no row is read by decoder %q", d.family)
		}
	}
}

func TestSplitOps(t *testing.T) {
	for ops, want := range map[string][]string{
		"add":                            {"add"},
		"_to_copy_add":                   {"_to_copy", "add"},
		"add__to_copy_mul":               {"add", "_to_copy", "mul"},
		"constant_pad_nd_moe_forward":    {"constant_pad_nd", "moe_forward"},
		"native_layer_norm_backward_sum": {"native_layer_norm_backward", "sum"},
		"__unknown_x":                    {"__unknown", "x"},
		"":                               nil,
	} {
		if got := splitOps(ops); !slices.Equal(got, want) {
			t.Errorf("splitOps(%q) = %q, want %q", ops, got, want)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	names := []string{
		"_ZN5aiter24add_rmsnorm_quant_kernelIDF16bDF16bLi64ELi8ELb0ELb0ELb1ELi1EEEvPT0_PT_PfS4_S4_S4_diiiiiiib",
		"void at::native::elementwise_kernel<128, 4, at::native::gpu_kernel_impl_nocast<at::native::direct_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda()#3}>(int)::{lambda(int)#1}>(int)",
		"nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT",
	}
	for i := 0; b.Loop(); i++ {
		Parse(names[i%len(names)])
	}
}
