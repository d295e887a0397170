// Package tokenspeed is all that is known of TokenSpeed: its flags, how it is
// started and when it is ready, the lines of its log, its endpoints and formats.
//
//	tables here  →  engine.Engine  →  engine/all
//	surface/<version>/  →  the simulated engine (never read by the tables)
//
// One command starts three processes: the engine behind gRPC, a gateway (smg)
// that speaks HTTP on the port, and a control server on the port above it. What
// stands here is the command's own view; each table says which process it means
// where that matters.
package tokenspeed

import (
	"regexp"
	"time"

	"llmdyno/internal/engine"
)

// Where the tables were read: the engine's tree and its gateway's.
var (
	args     = read("python/tokenspeed/runtime/utils/server_args.py")
	splitter = read("python/tokenspeed/cli/_argsplit.py and serve_smg.py")
	runtime  = read("python/tokenspeed")
	gateway  = readGateway("model_gateway/src/server.rs")
	upstream = engine.Source{Ref: "BBuf/AI-Infra-Auto-Driven-SKILLS @ afb306eb skills/llm-serving-auto-benchmark", Date: "2026-07-14"}
)

func read(path string) engine.Source {
	return engine.Source{Ref: "lightseekorg/tokenspeed " + path + " @ f4d8ec6e", Date: "2026-08-22"}
}

func readGateway(path string) engine.Source {
	return engine.Source{Ref: "lightseekorg/smg " + path + " @ 73da68ca", Date: "2026-08-07"}
}

// New describes TokenSpeed.
func New() *engine.Engine {
	return &engine.Engine{
		ID:           "tokenspeed",
		Aliases:      []string{"token_speed", "token-speed"},
		Title:        "TokenSpeed",
		Source:       args,
		Launch:       launch(),
		Flags:        flags(),
		Help:         help(),
		Ready:        ready(),
		Logs:         logs(),
		Endpoints:    endpoints(),
		Triage:       triage(),
		Marks:        marks(),
		VersionMarks: versionMarks(),
		Wires:        wires(),
		Tokenize:     tokenize(),
		Metrics:      metrics(),
		State:        state(),
		Trace:        traceMarks(),
		Profiler:     profiler(),
		Constraints:  constraints(),
		Surface:      surface(),
	}
}

func launch() engine.Launch {
	return engine.Launch{
		Command:        []string{"tokenspeed", "serve"},
		Version:        []string{"tokenspeed", "version"},
		VersionPattern: regexp.MustCompile(`(?m)^TokenSpeed v(\d+\.\d+[0-9A-Za-z.+-]*)\s*$`),
		HostFlag:       "host",
		PortFlag:       "port",
		Host:           "127.0.0.1",
		SeqLimit:       "max_model_len",
		TP:             "tensor_parallel_size",
		DP:             "data_parallel_size",
		EP:             "expert_parallel_size",
		BatchLimit:     []string{"max_num_seqs"},
		MemoryFraction: []string{"gpu_memory_utilization"},
		Env: []engine.EnvVar{
			{Name: "PYTHONUNBUFFERED", Value: "1", Reason: "the command passes the lines of its children on; unbuffered, a crash keeps its last words"},
		},
	}
}

// ready avoids the trap that /health and /liveness are 200 for as long as the
// gateway process lives, whatever the engine does. The neutral health endpoint
// is therefore /readiness; it counts workers, so a token must still come back.
func ready() engine.Ready {
	return engine.Ready{
		Probes: []engine.Probe{
			{Endpoint: engine.EndpointHealth, Status: 200, Body: regexp.MustCompile(`"status"\s*:\s*"ready"`), Timeout: 5 * time.Second},
			{Endpoint: engine.EndpointModels, Status: 200, Body: regexp.MustCompile(`"object"\s*:\s*"list"`), Timeout: 10 * time.Second},
			{Endpoint: engine.EndpointCompletions, Status: 200, Generate: true, Timeout: 60 * time.Second},
		},
		Interval: time.Second,
		Deadline: 31*time.Minute + 30*time.Second, // the command's own bounds: 1800 s for the engine, 60 s for the gateway
		Note:     "the gateway listens only after the engine's warm-up; its /health is a constant 200 and its /readiness counts registered workers and tokenizers, so a real token must come back",
		Source:   readGateway("model_gateway/src/health.rs"),
	}
}
