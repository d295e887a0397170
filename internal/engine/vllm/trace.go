package vllm

import (
	"regexp"
	"strconv"
	"strings"

	"llmdyno/internal/engine"
)

// The marks were read in TraceLens's list of annotation formats and in traces of
// that project.
var fromMarks = engine.Source{Ref: "AMD-AGI/TraceLens TraceLens/TraceUtils/annotation_utils.py @ 171dd747", Date: "2026-08-21"}

func traceMarks() engine.TraceMarks {
	return engine.TraceMarks{
		Folders: []engine.SourceFolder{{Path: "vllm/", Rank: 285}},
		LowSignal: []string{
			"model_executor/parameter.py:",
			"compilation/cuda_graph.py:",
		},
		Step:   readStep,
		Labels: stepLabels(),
		// Written beside the events by vllm/profiler/wrapper.py @ 02773ee0.
		Metadata:  []string{"vllm_version", "vllm_version_tuple"},
		Processes: []string{"vllm::"},
		Settings:  []string{"tensor_parallel_size", "max_num_seqs", "gpu_memory_utilization", "max_num_batched_tokens"},
		Models:    []string{"model", "served_model_name"},
		Source:    fromMarks,
	}
}

// stepMark is execute[_<N>]_context_<C>(…)_generation_<G>(…), where C and G count
// requests. Without the parentheses in the oldest spelling. Inside of them stand
// the tokens alone, or sq<query tokens> and further sums for a roofline.
var (
	stepMark = regexp.MustCompile(`(?:^|_)context_(\d+)(?:\(([^)]*)\))?_generation_(\d+)(?:\(([^)]*)\))?`)
	loneMark = regexp.MustCompile(`^(?:execute_)?generation_(\d+)(?:\(([^)]*)\))?$`)
	newMark  = regexp.MustCompile(`^execute_new_(\d+)_cached_(\d+)`)
)

func readStep(label string) (engine.StepMark, bool) {
	if m := stepMark.FindStringSubmatch(label); m != nil {
		mark := engine.StepMark{
			ContextRequests: count(m[1]), ContextTokens: tokens(m[2]),
			GenerationRequests: count(m[3]), GenerationTokens: tokens(m[4]),
		}
		mark.Kind = engine.KindOf(mark.ContextRequests, mark.GenerationRequests)
		return mark, true
	}
	if m := loneMark.FindStringSubmatch(label); m != nil {
		mark := engine.StepMark{GenerationRequests: count(m[1]), GenerationTokens: tokens(m[2])}
		mark.Kind = engine.KindOf(0, mark.GenerationRequests)
		return mark, true
	}
	// Requests that the engine has seen before may be in either stage: only a
	// step of nothing but new ones is known.
	if m := newMark.FindStringSubmatch(label); m != nil {
		fresh, seen := count(m[1]), count(m[2])
		if fresh > 0 && seen == 0 {
			return engine.StepMark{Kind: engine.StepPrefill, ContextRequests: fresh}, true
		}
		return engine.StepMark{}, true
	}
	return engine.StepMark{}, false
}

// count reads digits; a number beyond an int reads as not said.
func count(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// tokens reads what stands in the parentheses: "8155" or "sq8155sk8430sqsq…".
func tokens(inside string) int {
	inside = strings.TrimPrefix(inside, "sq")
	if i := strings.IndexFunc(inside, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		inside = inside[:i]
	}
	return count(inside)
}

func stepLabels() []engine.StepLabel {
	return []engine.StepLabel{
		{Text: "execute_context_9(8155)_generation_37(37)", Is: true, Mark: engine.StepMark{Kind: engine.StepMixed, ContextRequests: 9, ContextTokens: 8155, GenerationRequests: 37, GenerationTokens: 37}},
		{Text: "execute_context_3(4096)_generation_0(0)", Is: true, Mark: engine.StepMark{Kind: engine.StepPrefill, ContextRequests: 3, ContextTokens: 4096}},
		{Text: "execute_context_0(0)_generation_64(64)", Is: true, Mark: engine.StepMark{Kind: engine.StepDecode, GenerationRequests: 64, GenerationTokens: 64}},
		{Text: "execute_8192_context_9(sq8155sk8430sqsq7475785sqsk7671310)_generation_37(sq37sk34489sqsq37sqsk34489)", Is: true,
			Mark: engine.StepMark{Kind: engine.StepMixed, ContextRequests: 9, ContextTokens: 8155, GenerationRequests: 37, GenerationTokens: 37}},
		{Text: "execute_context_2_generation_12", Is: true, Mark: engine.StepMark{Kind: engine.StepMixed, ContextRequests: 2, GenerationRequests: 12}},
		{Text: "context_0_generation_2", Is: true, Mark: engine.StepMark{Kind: engine.StepDecode, GenerationRequests: 2}},
		{Text: "generation_64", Is: true, Mark: engine.StepMark{Kind: engine.StepDecode, GenerationRequests: 64}},
		{Text: "execute_context_0(0)_generation_0(0)", Is: true},
		{Text: "execute_new_4_cached_0", Is: true, Mark: engine.StepMark{Kind: engine.StepPrefill, ContextRequests: 4}},
		{Text: "execute_new_1_cached_30", Is: true},
		{Text: "## Call CompiledFxGraph fb3en ##"},
		{Text: "capture_8192_PIECEWISE"},
		{Text: "execute_diffusion_4_1024x1024"},
	}
}
