package config

import (
	"regexp"
	"strings"
	"testing"

	"llmdyno/internal/engine"
)

// The engines of these tests are written from the flag lists of the upstream
// validator (upstream schema §1, llm-serving-auto-benchmark @afb306eb,
// 2026-07-14), with a few flags that upstream does not know. They stand apart
// from the real tables, so that a test of a rule does not move with a version
// of an engine.

func num(x float64) *float64 { return &x }

const (
	ints    = "chunked_prefill_size context_length ep_size max_running_requests nnodes port pp_size tp_size block_size long_prefill_token_threshold max_long_partial_prefills max_model_len max_num_batched_tokens max_num_partial_prefills max_num_seqs pipeline_parallel_size tensor_parallel_size max_batch_size max_num_tokens max_seq_len attn_tp_size comm_fusion_max_num_tokens max_prefill_tokens max_total_tokens mla_chunk_multiplier moe_tp_size speculative_num_draft_tokens speculative_num_steps dp_size"
	floats  = "mem_fraction_static gpu_memory_utilization kv_cache_free_gpu_memory_fraction free_gpu_memory_fraction"
	bools   = "enable_multimodal enable_symm_mem trust_remote_code enable_chunked_prefill enable_prefix_caching disable_cuda_graph_padding enable_allreduce_fusion enable_expert_parallel enable_mla_l1_5_cache"
	structs = "model_loader_extra_config speculative_config"
)

func fixtureFlags(upstream string) []engine.Flag {
	var out []engine.Flag
	for key := range strings.FieldsSeq(upstream) {
		f := engine.Flag{Key: key, Type: engine.FlagString, Upstream: true}
		for list, t := range map[string]engine.FlagType{ints: engine.FlagInt, floats: engine.FlagFloat, bools: engine.FlagBool, structs: engine.FlagJSON} {
			if strings.Contains(" "+list+" ", " "+key+" ") {
				f.Type = t
			}
		}
		out = append(out, f)
	}
	return out
}

// fixtureHelp reads lines that begin with an option.
func fixtureHelp(text string) engine.HelpFlags {
	out := engine.HelpFlags{}
	for _, m := range regexp.MustCompile(`(?m)^  (--[\w-]+)`).FindAllStringSubmatch(text, -1) {
		out[m[1]] = engine.HelpFlag{Option: m[1], All: []string{m[1]}}
	}
	return out
}

func fixtureSet() engine.Set {
	help := engine.Help{Parse: fixtureHelp}
	sglang := &engine.Engine{
		ID: "sglang", Help: help,
		Launch: engine.Launch{Command: []string{"python", "-m", "sglang.launch_server"}, ModelFlag: "model_path", SeqLimit: "context_length", SeqLimitOptional: true, TP: "tp_size", PP: "pp_size", DP: "dp_size", EP: "ep_size", BatchLimit: []string{"max_running_requests"}, MemoryFraction: []string{"mem_fraction_static"}},
		Flags:  fixtureFlags("attention_backend chunked_prefill_size context_length decode_attention_backend dllm_algorithm dtype enable_multimodal enable_symm_mem ep_size host kv_cache_dtype max_running_requests mem_fraction_static model_loader_extra_config model_path moe_runner_backend nnodes port pp_size prefill_attention_backend reasoning_parser schedule_policy tool_call_parser tp_size trust_remote_code"),
	}
	sglang.Flags = append(sglang.Flags,
		engine.Flag{Key: "dp_size", Type: engine.FlagInt, Min: num(1)},
		engine.Flag{Key: "cuda_graph_bs", Type: engine.FlagList},
		engine.Flag{Key: "new_flag", Type: engine.FlagInt, Since: "0.6.0"})
	vllm := &engine.Engine{
		ID: "vllm", Help: help,
		Wires:  []engine.Wire{{Endpoint: engine.EndpointCompletions, Path: "/v1/completions"}, {Endpoint: engine.EndpointChat, Path: "/v1/chat/completions"}},
		Launch: engine.Launch{Command: []string{"vllm", "serve"}, SeqLimit: "max_model_len", TP: "tensor_parallel_size", PP: "pipeline_parallel_size", BatchLimit: []string{"max_num_seqs"}, MemoryFraction: []string{"gpu_memory_utilization"}},
		Flags:  fixtureFlags("block_size dtype enable_chunked_prefill enable_prefix_caching gpu_memory_utilization host kv_cache_dtype long_prefill_token_threshold max_long_partial_prefills max_model_len max_num_batched_tokens max_num_partial_prefills max_num_seqs pipeline_parallel_size port tensor_parallel_size trust_remote_code"),
		Constraints: []engine.Constraint{
			{ID: "batch-tokens", Fatal: true, Check: func(s engine.Setup) (string, string) {
				if v, _ := s.Settings.Get("max_num_batched_tokens"); v.Text == "1" {
					return "max_num_batched_tokens", "one token a step is not enough"
				}
				return "", ""
			}},
		},
	}
	for i := range vllm.Flags {
		switch vllm.Flags[i].Key {
		case "enable_prefix_caching":
			vllm.Flags[i].Default, vllm.Flags[i].Negative = "true", "--no-enable-prefix-caching"
		case "max_num_partial_prefills":
			vllm.Flags[i].Inert = "not enforced by this engine"
		case "kv_cache_dtype":
			vllm.Flags[i].Type, vllm.Flags[i].Values = engine.FlagEnum, []string{"auto", "fp8", "fp8_e4m3"}
		}
	}
	vllm.Flags = append(vllm.Flags, engine.Flag{Key: "enable_expert_parallel", Type: engine.FlagBool}, engine.Flag{Key: "compilation_config", Type: engine.FlagJSON}, engine.Flag{Key: "max_log_len", Type: engine.FlagInt})
	trtllm := &engine.Engine{
		ID: "trtllm", Aliases: []string{"tensorrt_llm", "tensorrt-llm"}, Help: help,
		Launch: engine.Launch{Command: []string{"trtllm-serve", "serve"}, Underscores: true, SeqLimit: "max_seq_len", TP: "tp_size", PP: "pp_size", EP: "ep_size", BatchLimit: []string{"max_batch_size"}, MemoryFraction: []string{"kv_cache_free_gpu_memory_fraction", "free_gpu_memory_fraction"},
			Required: []engine.RequiredSetting{{Key: "backend", Value: "pytorch", Reason: "the other backends are not served by this tool"}}},
		Flags: fixtureFlags("backend ep_size extra_llm_api_options free_gpu_memory_fraction host kv_cache_free_gpu_memory_fraction max_batch_size max_num_tokens max_seq_len port pp_size tp_size trust_remote_code"),
	}
	tokenspeed := &engine.Engine{
		ID: "tokenspeed", Help: help,
		Launch: engine.Launch{Command: []string{"tokenspeed", "serve"}, SeqLimit: "max_model_len", TP: "tensor_parallel_size", BatchLimit: []string{"max_num_seqs"}, MemoryFraction: []string{"gpu_memory_utilization"}},
		Flags:  fixtureFlags("attention_backend attn_tp_size chunked_prefill_size comm_fusion_max_num_tokens disable_cuda_graph_padding dtype enable_allreduce_fusion enable_expert_parallel enable_mla_l1_5_cache enable_prefix_caching gpu_memory_utilization host kv_cache_dtype max_model_len max_num_seqs max_prefill_tokens max_total_tokens mla_chunk_multiplier moe_backend moe_tp_size port quantization reasoning_parser speculative_algorithm speculative_config speculative_draft_model_path speculative_num_draft_tokens speculative_num_steps tensor_parallel_size tool_call_parser trust_remote_code"),
	}
	words := &engine.Engine{
		ID: "wordy", Help: help, Launch: engine.Launch{Command: []string{"wordy"}, ModelFlag: "model"},
		Flags: []engine.Flag{{Key: "model", Option: "-m", Type: engine.FlagString}, {Key: "flash_attn", Type: engine.FlagEnum, Values: []string{"on", "off", "auto"}}, {Key: "cont_batching", Type: engine.FlagBool, Default: "true", Negative: "--no-cont-batching"}, {Key: "parallel", Type: engine.FlagInt}},
	}
	return engine.Set{sglang, vllm, trtllm, tokenspeed, words}
}

// judge reads and checks a text against the fixture engines.
func judge(t *testing.T, text string, opts Options) (*File, []Diagnostic) {
	t.Helper()
	f, ds := Parse("test.yaml", []byte(text))
	if f != nil {
		ds = ordered(append(ds, Check(f, fixtureSet(), opts)...))
	}
	return f, ds
}

func pick(ds []Diagnostic, sev Severity) []Diagnostic {
	var out []Diagnostic
	for _, d := range ds {
		if d.Severity == sev {
			out = append(out, d)
		}
	}
	return out
}
