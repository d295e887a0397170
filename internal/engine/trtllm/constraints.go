package trtllm

import (
	"fmt"

	"llmdyno/internal/engine"
)

// constraints: that the backend is pytorch is no rule here but a required
// setting of the launch.
func constraints() []engine.Constraint {
	return []engine.Constraint{
		{ID: "kv-fraction-twice", Title: "the KV cache fraction is given in one spelling", Check: fractionTwice, Source: fromServe},
		{ID: "ep-divides-tp", Title: "expert and tensor parallel sizes fit", Fatal: true, Check: epDividesTP, Source: fromMapping},
		{ID: "ep-without-cp", Title: "expert parallelism runs without context parallelism", Fatal: true, Check: epWithoutCP, Source: fromMapping},
		{ID: "batch-above-tokens", Title: "a step has room for one token of every request", Check: batchAboveTokens, Source: fromServe},
	}
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

// size is a parallel size; 1 when it is not set.
func size(s engine.Settings, key string) int {
	if n, set := s.Number(key); set && n >= 1 {
		return int(n)
	}
	return 1
}

func epDividesTP(in engine.Setup) (string, string) {
	ep := size(in.Settings, "ep_size") * size(in.Settings, "cluster_size")
	tp := size(in.Settings, "tp_size")
	if tp%ep == 0 {
		return "", ""
	}
	return "ep_size", fmt.Sprintf("ep_size (with cluster_size: %d) does not divide tp_size %d: the experts share the GPUs of the tensor-parallel group, so the start is refused", ep, tp)
}

func epWithoutCP(in engine.Setup) (string, string) {
	ep, cp := size(in.Settings, "ep_size"), size(in.Settings, "cp_size")
	if ep == 1 || cp == 1 {
		return "", ""
	}
	return "ep_size", fmt.Sprintf("ep_size %d with cp_size %d is refused at start: set one of them to 1", ep, cp)
}
