package trtllm

import (
	"regexp"
	"strconv"

	"llmdyno/internal/engine"
)

// The ranges are NVTX ones; a torch trace holds them only where the profiler was
// told to emit them, and the source folders do the rest.
var fromExecutor = engine.Source{Ref: "NVIDIA/TensorRT-LLM tensorrt_llm/_torch/pyexecutor/py_executor.py", Date: "2026-08-20"}

func traceMarks() engine.TraceMarks {
	return engine.TraceMarks{
		Folders: []engine.SourceFolder{{Path: "tensorrt_llm/", Rank: 280}},
		LowSignal: []string{
			"pyexecutor/cuda_graph_runner.py:",
			"pyexecutor/py_executor.py:",
			"_torch/utils.py:",
		},
		Step:     readStep,
		Labels:   stepLabels(),
		Settings: []string{"kv_cache_config", "moe_config", "kv_cache_free_gpu_memory_fraction"},
		Models:   []string{"model"},
		Source:   fromExecutor,
	}
}

// stepMark is [Executor] _forward_step [<iter>]: <a> ctx reqs, [<t> ctx tokens,] <b> gen reqs.
var stepMark = regexp.MustCompile(`^\[Executor\] _forward_step(?: \d+)?: (\d+) ctx reqs, (?:(\d+) ctx tokens, )?(\d+) gen reqs`)

func readStep(label string) (engine.StepMark, bool) {
	m := stepMark.FindStringSubmatch(label)
	if m == nil {
		return engine.StepMark{}, false
	}
	number := func(digits string) int {
		n, _ := strconv.Atoi(digits) // absent or beyond an int: not said
		return n
	}
	mark := engine.StepMark{ContextRequests: number(m[1]), ContextTokens: number(m[2]), GenerationRequests: number(m[3])}
	mark.Kind = engine.KindOf(mark.ContextRequests, mark.GenerationRequests)
	return mark, true
}

func stepLabels() []engine.StepLabel {
	return []engine.StepLabel{
		{Text: "[Executor] _forward_step 117: 2 ctx reqs, 0 gen reqs", Is: true, Mark: engine.StepMark{Kind: engine.StepPrefill, ContextRequests: 2}},
		{Text: "[Executor] _forward_step 118: 2 ctx reqs, 900 ctx tokens, 7 gen reqs", Is: true, Mark: engine.StepMark{Kind: engine.StepMixed, ContextRequests: 2, ContextTokens: 900, GenerationRequests: 7}},
		{Text: "[Executor] _forward_step: 0 ctx reqs, 8 gen reqs", Is: true, Mark: engine.StepMark{Kind: engine.StepDecode, GenerationRequests: 8}},
		{Text: "[Executor] _forward_step 3: 1 mm reqs"},
		{Text: "_forward_step"},
	}
}
