package sglang

import (
	"regexp"
	"strconv"
	"strings"

	"llmdyno/internal/engine"
)

// The step span is build_step_span_name of python/sglang/srt/utils/profile_utils.py,
// since v0.5.11; the ranks are those of the upstream profiler skill.
var (
	fromSpan  = engine.Source{Ref: "sgl-project/sglang python/sglang/srt/utils/profile_utils.py @ 01144484", Date: "2026-08-20"}
	fromSkill = engine.Source{Ref: "sgl-project/sglang PR 24250, llm-torch-profiler-analysis", Date: "2026-05-02"}
)

func traceMarks() engine.TraceMarks {
	return engine.TraceMarks{
		Folders: []engine.SourceFolder{
			{Path: "python/sglang/", Rank: 300},
			{Path: "sglang/", Rank: 290},
			{Path: "sgl_kernel/", Rank: 260},
		},
		LowSignal: []string{
			"model_executor/cuda_graph_runner.py:",
			// The engine wraps operators with it to record their shapes.
			"utils/kernel_shape_profiler.py:",
		},
		Step:   readStep,
		Labels: stepLabels(),
		// Seen as process names of serving traces.
		Processes: []string{"sglang::"},
		Settings:  []string{"disable_cuda_graph", "chunked_prefill_size", "schedule_policy", "sampling_backend", "mem_fraction_static"},
		Models:    []string{"model_path", "served_model_name"},
		Unfit:     unfitRuns(),
		Source:    fromSpan,
	}
}

// stepMark is step[<ForwardMode> bs=<B>], with toks=<T> where the mode is EXTEND.
var stepMark = regexp.MustCompile(`^step\[([A-Z_0-9]+)(?: bs=(\d+))?(?: toks=(\d+))?[^\]]*\]`)

// stepKinds are the forward modes that tell a stage. What is missing here
// (IDLE, PREBUILT) is a step without one.
var stepKinds = map[string]engine.StepKind{
	"EXTEND": engine.StepPrefill, "SPLIT_PREFILL": engine.StepPrefill, "DRAFT_EXTEND": engine.StepPrefill,
	"DRAFT_EXTEND_V2": engine.StepPrefill, "DLLM_EXTEND": engine.StepPrefill,
	"DECODE": engine.StepDecode, "TARGET_VERIFY": engine.StepDecode,
	"MIXED": engine.StepMixed,
}

func readStep(label string) (engine.StepMark, bool) {
	if !strings.HasPrefix(label, "step[") {
		return engine.StepMark{}, false
	}
	m := stepMark.FindStringSubmatch(label)
	if m == nil {
		return engine.StepMark{}, false
	}
	mark := engine.StepMark{Kind: stepKinds[m[1]]}
	requests, _ := strconv.Atoi(m[2]) // absent or beyond an int: not said
	tokens, _ := strconv.Atoi(m[3])
	switch mark.Kind {
	case engine.StepPrefill:
		mark.ContextRequests, mark.ContextTokens = requests, tokens
	case engine.StepDecode:
		mark.GenerationRequests, mark.GenerationTokens = requests, tokens
	}
	return mark, true
}

func stepLabels() []engine.StepLabel {
	return []engine.StepLabel{
		{Text: "step[EXTEND bs=15 toks=15360]", Is: true, Mark: engine.StepMark{Kind: engine.StepPrefill, ContextRequests: 15, ContextTokens: 15360}},
		{Text: "step[DECODE bs=64]", Is: true, Mark: engine.StepMark{Kind: engine.StepDecode, GenerationRequests: 64}},
		{Text: "step[MIXED bs=12]", Is: true, Mark: engine.StepMark{Kind: engine.StepMixed}},
		{Text: "step[TARGET_VERIFY bs=8]", Is: true, Mark: engine.StepMark{Kind: engine.StepDecode, GenerationRequests: 8}},
		{Text: "step[DRAFT_EXTEND bs=8]", Is: true, Mark: engine.StepMark{Kind: engine.StepPrefill, ContextRequests: 8}},
		{Text: "step[DRAFT_EXTEND_V2 bs=8]", Is: true, Mark: engine.StepMark{Kind: engine.StepPrefill, ContextRequests: 8}},
		{Text: "step[SPLIT_PREFILL bs=2]", Is: true, Mark: engine.StepMark{Kind: engine.StepPrefill, ContextRequests: 2}},
		{Text: "step[DLLM_EXTEND bs=4]", Is: true, Mark: engine.StepMark{Kind: engine.StepPrefill, ContextRequests: 4}},
		{Text: "step[IDLE bs=0]", Is: true},
		{Text: "scheduler.run_batch"},
		{Text: "step[extend]"},
	}
}

// unfitRuns: the project's own rule for benchmarks and profiles of its diffusion
// server is to stop at any of these lines.
func unfitRuns() []engine.UnfitRun {
	const reason = "the server ran the model through the diffusers library instead of its own diffusion kernels, so this trace says nothing about the engine: start the server with its own backend and profile again"
	lines := []string{"Falling back to diffusers backend", "Using diffusers backend", "Loaded diffusers pipeline"}
	out := make([]engine.UnfitRun, len(lines))
	for i, l := range lines {
		out[i] = engine.UnfitRun{Pattern: regexp.MustCompile(`(?i)` + regexp.QuoteMeta(l)), Example: l, Reason: reason, Source: fromSkill}
	}
	return out
}
