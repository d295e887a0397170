package trtllm

import (
	"fmt"

	"llmdyno/internal/engine"
)

func constraints() []engine.Constraint {
	return []engine.Constraint{
		{ID: "backend-pytorch", Title: "the backend is pytorch", Fatal: true, Check: backendPyTorch, Source: fromBook},
		{ID: "kv-fraction-twice", Title: "the KV cache fraction is given in one spelling", Check: fractionTwice, Source: fromServe},
		{ID: "batch-above-tokens", Title: "a step has room for one token of every request", Check: batchAboveTokens, Source: fromServe},
	}
}

func backendPyTorch(in engine.Setup) (string, string) {
	v, set := in.Settings.Get("backend")
	if !set || v.Kind == engine.ValueString && v.Text == "pytorch" {
		return "", ""
	}
	return "backend", fmt.Sprintf("backend %q: %s; set backend: pytorch", v.Text, pytorchOnly)
}

func fractionTwice(in engine.Setup) (string, string) {
	const short, long = "free_gpu_memory_fraction", "kv_cache_free_gpu_memory_fraction"
	if in.Settings.Word(short) == "" || in.Settings.Word(long) == "" {
		return "", ""
	}
	return long, fmt.Sprintf("%s and %s are two spellings of one option, and the last one wins: keep one", short, long)
}

func batchAboveTokens(in engine.Setup) (string, string) {
	batch, set := in.Settings.Number("max_batch_size")
	tokens, given := in.Settings.Number("max_num_tokens")
	if !set || !given || batch <= tokens {
		return "", ""
	}
	return "max_batch_size", fmt.Sprintf("max_batch_size %v is above max_num_tokens %v: a step carries at least one token a request, so no more than %v run at once; raise max_num_tokens or lower max_batch_size",
		batch, tokens, tokens)
}
