package sglang

import (
	"strings"
	"time"

	"llmdyno/internal/engine"
)

// profiler: the scheduler's torch profiler, always there on the Python server.
func profiler() *engine.Profiler {
	manager := read("python/sglang/srt/managers/scheduler_components/profiler_manager.py")
	return &engine.Profiler{
		// Ids and numbers as the engine's own client sends them. start_step and
		// merge_profiles are never sent: the second profiler asserts their absence.
		Start:       engine.OpenProfile{Quoted: true, ID: true, Stages: true, Stacks: true}.Encode,
		NamesFolder: true, NamesFiles: true, CountsSteps: true, ByStage: true,
		StepsShort: func(version string, byStage bool) int {
			if byStage || version != "" && engine.CompareVersions(version, "0.5.15") > 0 {
				return 0
			}
			return 1
		},
		StopTimeout: 30 * time.Minute,
		Answers: []engine.ProfilerAnswer{
			{Action: engine.ProfileStarting, Status: 500, Meaning: engine.ProfileRunning, Source: manager,
				Do: "a profile was left running on it, or somebody else profiles: stop it first, with --stop-running or POST /stop_profile"},
			{Action: engine.ProfileStopping, Status: 500, Meaning: engine.ProfileIdle, Source: manager},
			{Action: engine.ProfileStarting, Status: 404, Meaning: engine.ProfileAbsent, Source: http,
				Do: "its Rust server has no profiler: launch it without SGLANG_RUST_SERVER=1"},
		},
		File:   profileFile,
		Ranks:  engine.RankKeys{Sizes: []string{"tp_size", "pp_size", "dp_size"}, Shared: "enable_dp_attention"}.Read,
		Graphs: []string{"--disable-cuda-graph"},
		Traps: []engine.ProfilerTrap{
			{ID: "returns-at-once", What: "a start is answered when the schedulers have accepted it, not when the trace is there; writing the trace then holds up serving", HandledHow: "the folder is watched until every rank's file is whole", Source: manager},
			{ID: "one-step-short", What: "num_steps=N records N-1 steps", Until: "0.5.15", HandledHow: "one step more is asked for, and the step marks of the trace are counted", Source: engine.Source{Ref: "sgl-project/sglang pull request 30215", Date: "2026-08-20"}},
			{ID: "by-stage-without-steps", What: "profile_by_stage without num_steps kills the scheduler at the next prefill batch", HandledHow: "the two are always sent together", Source: manager},
			{ID: "by-stage-mixes", What: "under other traffic the stages of profile_by_stage close one another early and overwrite a file", HandledHow: "the step marks of each file are held against its stage", Source: manager},
			{ID: "by-stage-on-decode-node", What: "profile_by_stage on the decode node of a disaggregated pair raises an error", HandledHow: "off unless asked for", Source: engine.Source{Ref: "sgl-project/sglang pull request 40098", Date: "2026-09-18"}},
			{ID: "second-profiler", What: "with SGLANG_PROFILE_V2=1 only profile_by_stage works, and start_step or merge_profiles fail in the scheduler", HandledHow: "neither is sent; give --by-stage for such a server", Source: read("python/sglang/srt/utils/profile_utils.py")},
			{ID: "idle", What: "an idle server does no steps, so that a counted profile never ends", HandledHow: "probes are sent, and the profiler is stopped at the end in any case", Source: manager},
		},
		Source: manager,
	}
}

// profileFile reads [<prefix>-]<id>-TP-<n>[-DP-<n>][-PP-<n>][-EP-<n>][-<stage>].trace.json.gz.
func profileFile(name string) (engine.ProfileFile, bool) {
	if strings.HasSuffix(name, ".pickle") || strings.HasPrefix(name, "rpd-") {
		return engine.NoRanks(engine.ProfileOther), true
	}
	stem, ok := engine.TraceName(name)
	if !ok || stem == "server_args" || stem == "capture" {
		return engine.ProfileFile{}, false
	}
	if strings.HasPrefix(name, "merged-") {
		return engine.NoRanks(engine.ProfileMerged), true
	}
	f := engine.NoRanks(engine.ProfileTrace)
	f.TP, f.DP, f.PP, f.EP = engine.RankIn(stem, "TP-"), engine.RankIn(stem, "DP-"), engine.RankIn(stem, "PP-"), engine.RankIn(stem, "EP-")
	switch {
	case strings.HasSuffix(stem, "-EXTEND"), strings.HasSuffix(stem, "-prefill"):
		f.Stage = "prefill"
	case strings.HasSuffix(stem, "-DECODE"), strings.HasSuffix(stem, "-decode"):
		f.Stage = "decode"
	}
	return f, f.TP >= 0
}
