package tokenspeed

import (
	"regexp"
	"strings"
	"time"

	"llmdyno/internal/engine"
)

// profiler: always there behind the gateway and the control server. The files'
// id cannot be given over HTTP.
func profiler() *engine.Profiler {
	handler := read("python/tokenspeed/runtime/engine/request_handler.py")
	return &engine.Profiler{
		Start:       engine.OpenProfile{Stages: true, Stacks: true}.Encode,
		NamesFolder: true, CountsSteps: true, ByStage: true,
		StopTimeout: 30 * time.Minute,
		Answers: []engine.ProfilerAnswer{
			{Action: engine.ProfileStarting, Status: 206, Body: regexp.MustCompile(`(?i)already in progress`), Meaning: engine.ProfileRunning, Source: handler,
				Do: "a profile was left running on it, or somebody else profiles: stop it first, with --stop-running or POST /stop_profile"},
			{Action: engine.ProfileStarting, Status: 206, Meaning: engine.ProfileFailed, Source: gateway,
				Do: "some workers have refused: its reply names them"},
			{Action: engine.ProfileStopping, Status: 206, Body: regexp.MustCompile(`(?i)not in progress`), Meaning: engine.ProfileIdle, Source: handler},
			{Action: engine.ProfileStopping, Status: 206, Meaning: engine.ProfileFailed, Source: gateway},
			{Action: engine.ProfileStarting, Status: 404, Meaning: engine.ProfileAbsent, Source: gateway,
				Do: "the gateway knows no worker: wait until /readiness counts one"},
		},
		File:   profileFile,
		Ranks:  engine.RankKeys{In: "server_args", Sizes: []string{"tensor_parallel_size", "data_parallel_size"}}.Read,
		Graphs: []string{"--enforce-eager"},
		Traps: []engine.ProfilerTrap{
			{ID: "partial-is-2xx", What: "a refusal is answered with 206 and the reason in its body", HandledHow: "the body is read", Source: gateway},
			{ID: "no-step-marks", What: "the trace has no marks of steps", HandledHow: "stages are recorded apart, each in its folder", Source: handler},
		},
		Source: handler,
	}
}

var tags = regexp.MustCompile(`(?:^|-)(?:DP(\d+)-)?(?:CP(\d+)-)?TP-?(\d+)(?:-|$)`)

// profileFile reads <id>-[DP<n>-][CP<n>-]TP<n>[-EXTEND|-DECODE].trace.json.gz;
// an older release wrote TP-<n>.
func profileFile(name string) (engine.ProfileFile, bool) {
	if strings.HasSuffix(name, ".pickle") || strings.Contains(name, ".proton.") || strings.HasSuffix(name, ".viztracer.json") {
		return engine.NoRanks(engine.ProfileOther), true
	}
	stem, ok := engine.TraceName(name)
	if !ok || !tags.MatchString(stem) {
		return engine.ProfileFile{}, false
	}
	f := engine.NoRanks(engine.ProfileTrace)
	f.DP, f.CP, f.TP = engine.RankIn(stem, "DP"), engine.RankIn(stem, "CP"), engine.RankIn(stem, "TP")
	if f.TP < 0 {
		f.TP = engine.RankIn(stem, "TP-")
	}
	switch {
	case strings.HasSuffix(stem, "-EXTEND"):
		f.Stage = "prefill"
	case strings.HasSuffix(stem, "-DECODE"):
		f.Stage = "decode"
	}
	return f, f.TP >= 0
}
