package trtllm

import (
	"strings"
	"time"

	"llmdyno/internal/engine"
)

// profiler: by the environment of the launch in every version; by request in
// those that have the routes, which is found out by asking.
func profiler() *engine.Profiler {
	executor := engine.Source{Ref: "NVIDIA/TensorRT-LLM tensorrt_llm/_torch/pyexecutor/py_executor.py, 2026 copy", Date: "2026-08-23"}
	return &engine.Profiler{
		AtLaunch: &engine.ProfilerAtLaunch{
			Window: "TLLM_PROFILE_START_STOP", Trace: "TLLM_TORCH_PROFILE_TRACE",
			Note:   "one path serves one window: a second one overwrites it, and so do the ranks of older versions one another's",
			Source: executor,
		},
		// Its request models refuse fields that they do not know.
		Start:       engine.OpenProfile{}.Encode,
		NamesFolder: true, CountsSteps: true,
		// Nobody has seen what a second start does: the safe side is a stop before it.
		SilentStart: true,
		StopTimeout: 30 * time.Minute,
		Answers: []engine.ProfilerAnswer{
			{Action: engine.ProfileStarting, Status: 404, Meaning: engine.ProfileAbsent, Source: fromProf,
				Do: "this version is profiled by the environment of its launch: see llmdyno profile recipe trtllm, then capture with --at-launch"},
		},
		File:   profileFile,
		Stacks: "the profiler is made without with_stack, so that no Python location is recorded: llmdyno profile trtllm-override makes a py_executor.py that has it",
		Patch:  patch(),
		// There is no flag for it: the key without a value in the file of options.
		Graphs:     []string{"--extra_llm_api_options", "graphs-off.yaml"},
		GraphsFile: "cuda_graph_config: null\n",
		Traps: []engine.ProfilerTrap{
			{ID: "no-stacks", What: "the trace has no Python frames", HandledHow: "profile trtllm-override", Source: executor},
			{ID: "one-path", What: "older versions write every rank to the same path", HandledHow: "profile trtllm-override gives each rank its own", Source: executor},
			{ID: "gz-in-the-middle", What: "a path ending in .json.gz becomes name.json-rank-0.gz", HandledHow: "read as a trace of rank 0; take a path that ends in .json", Source: executor},
		},
		Source: executor,
	}
}

// profileFile reads <base>-rank-<n>.json[.gz], <base>.json-rank-<n>.gz, and any
// other trace, since the launch names the file.
func profileFile(name string) (engine.ProfileFile, bool) {
	f := engine.NoRanks(engine.ProfileTrace)
	f.Rank = engine.RankIn(name, "rank-")
	if strings.HasSuffix(name, ".gz") && strings.Contains(name, ".json-rank-") {
		return f, f.Rank >= 0
	}
	stem, ok := engine.TraceName(name)
	if !ok || stem == "capture" || stem == "server_args" || stem == "metadata" || stem == "config" {
		return engine.ProfileFile{}, false
	}
	return f, true
}
