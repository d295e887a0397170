package tokenspeed

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
		id, settings string
		key          string // at fault; "" = the rule holds
	}{
		{"tp-given-twice", "tensor_parallel_size=8 attn_tp_size=8", "attn_tp_size"},
		{"tp-given-twice", "attn_tp_size=8", ""},
		{"moe-tp-with-ep", "moe_tp_size=2 expert_parallel_size=4", "moe_tp_size"},
		{"moe-tp-with-ep", "moe_tp_size=2 tensor_parallel_size=8 enable_expert_parallel=true", "moe_tp_size"},
		{"moe-tp-with-ep", "moe_tp_size=2 enable_expert_parallel=true", ""}, // a world of one
		{"moe-tp-with-ep", "moe_tp_size=1 expert_parallel_size=8", ""},
		{"dp-needs-address", "data_parallel_size=2", "data_parallel_size"},
		{"dp-needs-address", "data_parallel_size=2 dist_init_addr=127.0.0.1:4000", ""},
		{"dp-needs-address", "data_parallel_size=1", ""},
		{"seqs-below-dp", "max_num_seqs=4 data_parallel_size=8", "max_num_seqs"},
		{"seqs-below-dp", "max_num_seqs=8 data_parallel_size=8", ""},
		{"dp-chunk-above-prefill", "data_parallel_size=2 chunked_prefill_size=16384", "chunked_prefill_size"},
		{"dp-chunk-above-prefill", "data_parallel_size=2 max_prefill_tokens=4096", "chunked_prefill_size"},
		{"dp-chunk-above-prefill", "data_parallel_size=2 chunked_prefill_size=16384 max_prefill_tokens=16384", ""},
		{"dp-chunk-above-prefill", "chunked_prefill_size=16384", ""},
		{"no-prefix-cache-with-kvstore", "enable_prefix_caching=false", "enable_prefix_caching"},
		{"no-prefix-cache-with-kvstore", "enable_prefix_caching=false disable_kvstore=true", ""},
		{"no-prefix-cache-with-kvstore", "enable_prefix_caching=false disaggregation_mode=decode", ""},
		{"no-prefix-cache-with-kvstore", "enable_prefix_caching=true", ""},
		{"dspark-with-kvstore", "speculative_algorithm=DSPARK", "speculative_algorithm"},
		{"dspark-with-kvstore", "speculative_algorithm=DSPARK speculative_draft_model_path=the/model", "speculative_algorithm"},
		{"dspark-with-kvstore", "speculative_algorithm=DSPARK speculative_draft_model_path=a/drafter", ""},
		{"dspark-with-kvstore", "speculative_algorithm=DSPARK disable_kvstore=true", ""},
		{"block-drafter-steps", "speculative_algorithm=DFLASH speculative_num_steps=4 speculative_num_draft_tokens=8", "speculative_num_steps"},
		{"block-drafter-steps", "speculative_algorithm=DFLASH speculative_num_steps=7 speculative_num_draft_tokens=8", ""},
		{"block-drafter-steps", "speculative_algorithm=DFLASH speculative_num_draft_tokens=8", ""}, // the default follows
		{"block-drafter-steps", "speculative_algorithm=EAGLE3 speculative_num_steps=4 speculative_num_draft_tokens=8", ""},
		{"mxfp8-granularity", "kv_cache_dtype=mxfp8", "kv_cache_dtype"},
		{"mxfp8-granularity", "kv_cache_dtype=mxfp8 prefix_granularity=128", ""},
		{"mxfp8-granularity", "kv_cache_dtype=fp8", ""},
		{"ep-switch-overridden", "enable_expert_parallel=true expert_parallel_size=4", "enable_expert_parallel"},
		{"ep-switch-overridden", "enable_expert_parallel=true", ""},
		{"prefill-tokens-with-chunks", "max_prefill_tokens=4096", "max_prefill_tokens"},
		{"prefill-tokens-with-chunks", "max_prefill_tokens=4096 chunked_prefill_size=-1", ""},
		{"prefill-tokens-with-chunks", "max_prefill_tokens=8192 data_parallel_size=2", ""},
		{"fusion-with-dense-tp", "enable_allreduce_fusion=true tensor_parallel_size=8 dense_tp_size=4", "enable_allreduce_fusion"},
		{"fusion-with-dense-tp", "enable_allreduce_fusion=true tensor_parallel_size=8 dense_tp_size=8", ""},
		{"graphs-switched-off", "enforce_eager=true max_cudagraph_capture_size=64", "max_cudagraph_capture_size"},
		{"graphs-switched-off", "disable_prefill_graph=true prefill_graph_max_tokens=1024", "prefill_graph_max_tokens"},
		{"graphs-switched-off", "max_cudagraph_capture_size=64 prefill_graph_max_tokens=1024", ""},
		{"speculation-without-algorithm", "speculative_num_steps=4", "speculative_num_steps"},
		{"speculation-without-algorithm", "dp_sampling=false", ""},
		{"speculation-without-algorithm", `speculative_config={} speculative_num_steps=4`, ""},
		{"speculation-batch-default", "speculative_algorithm=MTP", "speculative_algorithm"},
		{"speculation-batch-default", "speculative_config={}", "speculative_config"},
		{"speculation-batch-default", "speculative_algorithm=MTP max_num_seqs=80", ""},
	}
	e := New()
	broken := map[string]bool{}
	for _, tt := range tests {
		rule := find(t, e, tt.id)
		key, problem := rule.Check(engine.Setup{Engine: e, Model: "the/model", Settings: settings(tt.settings)})
		if key != tt.key || (key == "") != (problem == "") {
			t.Errorf("%s with %q: key %q (%s), want %q", tt.id, tt.settings, key, problem, tt.key)
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
