package sglang

import (
	"strings"
	"testing"

	"llmdyno/internal/engine"
)

// settings reads "key=value key=value"; true and false are switches.
func settings(text string) engine.Settings {
	var s engine.Settings
	for word := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(word, "=")
		kind := engine.ValueString
		if value == "true" || value == "false" {
			kind = engine.ValueBool
		}
		s = append(s, engine.Setting{Key: key, Value: engine.Value{Kind: kind, Text: value}})
	}
	return s
}

func TestConstraints(t *testing.T) {
	tests := []struct {
		id, settings, gpu string
		key               string // at fault; "" = the rule holds
	}{
		{"chunk-page-multiple", "chunked_prefill_size=4096 page_size=48", "", "chunked_prefill_size"},
		{"chunk-page-multiple", "chunked_prefill_size=4096 page_size=64", "", ""},
		{"chunk-page-multiple", "chunked_prefill_size=-1 page_size=64", "", ""},
		{"dp-attention-divides-tp", "enable_dp_attention=true tp_size=8 dp_size=3", "", "dp_size"},
		{"dp-attention-divides-tp", "enable_dp_attention=true tp_size=8 dp_size=4", "", ""},
		{"dp-attention-without-dp", "enable_dp_attention=true", "", "enable_dp_attention"},
		{"dp-attention-without-dp", "enable_dp_attention=true dp_size=2", "", ""},
		{"multi-node-dp", "nnodes=2 dp_size=2", "", "dp_size"},
		{"multi-node-dp", "nnodes=2 dp_size=2 enable_dp_attention=true", "", ""},
		{"nodes-divide-parallel", "tp_size=8 nnodes=3", "", "nnodes"},
		{"nodes-divide-parallel", "tp_size=8 pp_size=2 nnodes=2", "", ""},
		{"pp-without-speculation", "pp_size=2 speculative_algorithm=EAGLE", "", "speculative_algorithm"},
		{"pp-without-speculation", "pp_size=2", "", ""},
		{"mixed-chunk-without-speculation", "enable_mixed_chunk=true speculative_algorithm=EAGLE", "", "enable_mixed_chunk"},
		{"mixed-chunk-without-speculation", "enable_mixed_chunk=true", "", ""},
		{"attention-backend-gpu", "attention_backend=fa3", "b200", "attention_backend"},
		{"attention-backend-gpu", "attention_backend=fa3", "h100", ""},
		{"attention-backend-gpu", "attention_backend=fa3", "", ""}, // an unknown GPU refuses nothing
		{"attention-backend-gpu", "prefill_attention_backend=trtllm_mha", "h200", "prefill_attention_backend"},
		{"attention-backend-gpu", "decode_attention_backend=trtllm_mha", "h200", ""},
		{"attention-backend-gpu", "decode_attention_backend=trtllm_mla", "NVIDIA H100 80GB HBM3", "decode_attention_backend"},
		{"attention-backend-gpu", "attention_backend=fa3", "mi300x", "attention_backend"},
		{"attention-backend-gpu", "attention_backend=flashinfer", "b200", ""},
		{"attention-backend-decode-only", "prefill_attention_backend=cutedsl_mla", "", "prefill_attention_backend"},
		{"attention-backend-decode-only", "decode_attention_backend=cutedsl_mla", "", ""},
		{"attention-backend-decode-only", "attention_backend=tokenspeed_mla kv_cache_dtype=bf16", "", "kv_cache_dtype"},
		{"attention-backend-page-size", "attention_backend=flashmla page_size=16", "", "page_size"},
		{"attention-backend-page-size", "decode_attention_backend=trtllm_mha page_size=32", "", ""},
		{"fa3-fp8-e5m2", "attention_backend=fa3 kv_cache_dtype=fp8_e5m2", "", "kv_cache_dtype"},
		{"fa3-fp8-e5m2", "attention_backend=fa3 kv_cache_dtype=fp8_e4m3", "", ""},
		{"attention-without-graphs", "attention_backend=torch_native", "", "attention_backend"},
		{"attention-without-graphs", "attention_backend=triton", "", ""},
		{"kv-mxfp8", "kv_cache_dtype=mxfp8", "h100", "kv_cache_dtype"},
		{"kv-mxfp8", "kv_cache_dtype=mxfp8 attention_backend=triton", "b200", "kv_cache_dtype"},
		{"kv-mxfp8", "kv_cache_dtype=mxfp8 attention_backend=fa4", "b200", ""},
		{"moe-runner-gpu", "moe_runner_backend=hpc_ops", "b200", "moe_runner_backend"},
		{"moe-runner-gpu", "moe_runner_backend=hpc_ops", "h200", ""},
		{"a2a-forces-ep", "moe_a2a_backend=deepep ep_size=2 tp_size=8", "", "ep_size"},
		{"a2a-forces-ep", "moe_a2a_backend=deepep ep_size=8 tp_size=8", "", ""},
		{"a2a-forces-ep", "moe_a2a_backend=none ep_size=2 tp_size=8", "", ""},
		{"a2a-flashinfer-dp-attention", "moe_a2a_backend=flashinfer tp_size=8 dp_size=8", "", "moe_a2a_backend"},
		{"a2a-flashinfer-dp-attention", "moe_a2a_backend=flashinfer tp_size=8 dp_size=8 enable_dp_attention=true", "", ""},
		{"a2a-pplx-dp", "moe_a2a_backend=pplx", "", "moe_a2a_backend"},
		{"a2a-pplx-dp", "moe_a2a_backend=pplx dp_size=2", "", ""},
		{"deepep-normal-graphs", "deepep_mode=normal", "", "deepep_mode"},
		{"deepep-normal-graphs", "deepep_mode=auto", "", ""},
		{"tbo-needs-a2a", "enable_two_batch_overlap=true", "", "enable_two_batch_overlap"},
		{"tbo-needs-a2a", "enable_two_batch_overlap=true moe_a2a_backend=deepep", "", ""},
		{"compile-with-padding", "enable_torch_compile=true disable_cuda_graph_padding=true", "", "enable_torch_compile"},
		{"compile-with-padding", "enable_torch_compile=true", "", ""},
		{"speculation-all-or-none", "speculative_algorithm=EAGLE speculative_num_steps=3", "", "speculative_num_steps"},
		{"speculation-all-or-none", "speculative_algorithm=EAGLE", "", ""},
		{"speculation-all-or-none", "speculative_algorithm=EAGLE speculative_num_steps=3 speculative_eagle_topk=1 speculative_num_draft_tokens=4", "", ""},
		{"speculation-all-or-none", "speculative_algorithm=NGRAM speculative_num_steps=3", "", ""},
		{"speculation-topk-one", "speculative_num_steps=3 speculative_eagle_topk=1 speculative_num_draft_tokens=8", "", "speculative_num_draft_tokens"},
		{"speculation-topk-one", "speculative_num_steps=3 speculative_eagle_topk=1 speculative_num_draft_tokens=4", "", ""},
		{"speculation-topk-one", "speculative_eagle_topk=4 attention_backend=trtllm_mha", "", "speculative_eagle_topk"},
		{"speculation-batch-default", "speculative_algorithm=EAGLE", "", "speculative_algorithm"},
		{"speculation-batch-default", "speculative_algorithm=EAGLE max_running_requests=64", "", ""},
		{"torch-symm-mem-world", "enable_torch_symm_mem=true tp_size=2", "h100", "enable_torch_symm_mem"},
		{"torch-symm-mem-world", "enable_torch_symm_mem=true tp_size=4", "b200", "enable_torch_symm_mem"},
		{"torch-symm-mem-world", "enable_torch_symm_mem=true tp_size=8", "mi300x", "enable_torch_symm_mem"},
		{"torch-symm-mem-world", "enable_torch_symm_mem=true tp_size=4", "h100", ""},
		{"keys-with-tokenizer-workers", "tokenizer_worker_num=2 api_key=x", "", "tokenizer_worker_num"},
		{"keys-with-tokenizer-workers", "tokenizer_worker_num=2", "", ""},
		{"prefill-tokens-below-context", "max_prefill_tokens=8192 context_length=16384", "", "max_prefill_tokens"},
		{"prefill-tokens-below-context", "max_prefill_tokens=32768 context_length=16384", "", ""},
	}
	e := New()
	broken := map[string]bool{}
	for _, tt := range tests {
		rule := find(t, e, tt.id)
		key, problem := rule.Check(engine.Setup{Engine: e, GPU: tt.gpu, Settings: settings(tt.settings)})
		if key != tt.key || (key == "") != (problem == "") {
			t.Errorf("%s with %q on %q: key %q (%s), want %q", tt.id, tt.settings, tt.gpu, key, problem, tt.key)
		}
		if _, known := e.Flag(key); key != "" && !known {
			t.Errorf("%s names the flag %q, which is not in the table", tt.id, key)
		}
		broken[tt.id] = broken[tt.id] || key != ""
	}
	for _, c := range e.Constraints {
		if !broken[c.ID] {
			t.Errorf("no case breaks %s", c.ID)
		}
		if key, problem := c.Check(engine.Setup{Engine: e}); problem != "" {
			t.Errorf("%s: the plain start breaks it: %s %s", c.ID, key, problem)
		}
		if c.Title == "" || c.Source.Ref == "" {
			t.Errorf("%s: no title or source", c.ID)
		}
	}
}

func find(t *testing.T, e *engine.Engine, id string) engine.Constraint {
	t.Helper()
	for _, c := range e.Constraints {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("no rule %s", id)
	return engine.Constraint{}
}
