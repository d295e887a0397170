package vllm

import (
	"strings"
	"time"

	"llmdyno/internal/engine"
)

// profiler: the routes exist only where the launch configures a profiler, and
// the launch names the folder.
func profiler() *engine.Profiler {
	wrapper := engine.Source{Ref: "vllm-project/vllm vllm/profiler/wrapper.py @ 02773ee0", Date: "2026-08-23"}
	old := engine.Source{Ref: "vllm-project/vllm vllm/config/profiler.py @ 3898bcff", Date: "2026-08-23"}
	return &engine.Profiler{
		Enable: []engine.ProfilerEnable{
			{Since: "0.13", Flags: []string{"--profiler-config", `{"profiler":"torch","torch_profiler_dir":"{dir}"}`}, Source: old},
			{Until: "0.12.99", Env: []engine.EnvVar{{Name: "VLLM_TORCH_PROFILER_DIR", Value: "{dir}", Reason: "older versions read the environment; from about 0.14 on it is ignored"}}, Source: old},
		},
		SilentStart: true,
		StopTimeout: 45 * time.Minute, // more than 20 were reported in issue 22748
		Answers: []engine.ProfilerAnswer{
			{Action: engine.ProfileStarting, Status: 404, Meaning: engine.ProfileAbsent, Do: "launch it with " + needsProfile, Source: old},
		},
		File:   profileFile,
		Graphs: []string{"--enforce-eager"},
		Traps: []engine.ProfilerTrap{
			{ID: "not-enabled", What: "without --profiler-config the routes answer 404", HandledHow: "the launch flag is named", Source: old},
			{ID: "stop-takes-minutes", What: "the stop request writes the traces before it is answered, which has taken more than 20 minutes", HandledHow: "the window is kept to a few steps, and the stop may take 45 minutes", Source: engine.Source{Ref: "vllm-project/vllm issue 22748", Date: "2026-08-23"}},
			{ID: "second-start-ignored", What: "a start while a profile runs is answered 200 and does nothing; a profile that stopped by itself counts as running until it is stopped", HandledHow: "a stop is sent first, and what it writes is named as left over", Source: wrapper},
			{ID: "no-step-count", What: "the start request takes no number of steps", HandledHow: "the probes are as long as the steps that are wanted", Source: wrapper},
		},
		Source: wrapper,
	}
}

// profileFile reads the names of torch's handler: <worker>.<ns>.pt.trace.json[.gz],
// with workers such as dp0_pp0_tp1_dcp0_ep0_rank1 and <id>-rank-1.
func profileFile(name string) (engine.ProfileFile, bool) {
	if strings.HasPrefix(name, "profiler_out_") || strings.HasPrefix(name, "proton_") {
		return engine.NoRanks(engine.ProfileOther), true
	}
	stem, ok := engine.TraceName(name)
	if !ok || !strings.Contains(name, ".pt.trace.json") {
		return engine.ProfileFile{}, false
	}
	if strings.Contains(stem, "async_llm") {
		return engine.NoRanks(engine.ProfileFrontend), true
	}
	f := engine.NoRanks(engine.ProfileTrace)
	f.DP, f.PP, f.TP, f.EP, f.CP = engine.RankIn(stem, "dp"), engine.RankIn(stem, "pp"), engine.RankIn(stem, "tp"), engine.RankIn(stem, "ep"), engine.RankIn(stem, "dcp")
	for _, mark := range []string{"rank-", "rank_", "rank"} {
		if f.Rank = engine.RankIn(stem, mark); f.Rank >= 0 {
			break
		}
	}
	return f, true
}
