// Package sglang is all that is known of SGLang: its flags, how it is started
// and when it is ready, the lines of its log, its endpoints and formats.
//
//	tables here  →  engine.Engine  →  engine/all
//	surface/<version>/  →  the simulated engine (never read by the tables)
//
// Names in the engine's own spelling appear in this folder only.
package sglang

import (
	"regexp"
	"time"

	"llmdyno/internal/engine"
)

// Facts were read from the source tree of release v0.5.18; where another file
// than the server arguments says it, the table names that file.
var (
	args     = read("python/sglang/srt/server_args.py")
	http     = read("python/sglang/srt/entrypoints/http_server.py")
	upstream = engine.Source{Ref: "BBuf/AI-Infra-Auto-Driven-SKILLS @ afb306eb skills/llm-serving-auto-benchmark", Date: "2026-07-14"}
)

func read(path string) engine.Source {
	return engine.Source{Ref: "sgl-project/sglang " + path + " @ v0.5.18", Date: "2026-08-20"}
}

// New describes SGLang.
func New() *engine.Engine {
	return &engine.Engine{
		ID:           "sglang",
		Aliases:      []string{"sgl", "sglang-oai", "sglang_oai"},
		Title:        "SGLang",
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
		Dump:         dumpLayout(),
		Constraints:  constraints(),
		Surface:      surface(),
	}
}

func launch() engine.Launch {
	return engine.Launch{
		Command:          []string{"python", "-m", "sglang.launch_server"},
		Version:          []string{"python", "-c", "import importlib.metadata as m; print(m.version('sglang'))"},
		VersionPattern:   regexp.MustCompile(`(?m)^v?(\d+\.\d+[0-9A-Za-z.+-]*)\s*$`),
		ModelFlag:        "model_path",
		HostFlag:         "host",
		PortFlag:         "port",
		Host:             "127.0.0.1",
		SeqLimit:         "context_length",
		SeqLimitOptional: true,
		TP:               "tp_size",
		PP:               "pp_size",
		DP:               "dp_size",
		EP:               "ep_size",
		BatchLimit:       []string{"max_running_requests"},
		MemoryFraction:   []string{"mem_fraction_static"},
		Env: []engine.EnvVar{
			{Name: "PYTHONUNBUFFERED", Value: "1", Reason: "log lines reach the log file when they are printed, so that a crash keeps its last words"},
		},
	}
}

func help() engine.Help {
	return engine.Help{
		// One argparse help without groups to choose; -h is the same text.
		Args:    [][]string{{"--help"}},
		Timeout: 120 * time.Second, // importing torch and the kernels comes first
		Parse:   engine.ParseArgparse,
	}
}

// ready avoids two traps: the port answers /model_info and a 503 /health long
// before the warm-up ends, and with SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION=0
// (or up to v0.4) /health is 200 whatever the scheduler does.
func ready() engine.Ready {
	return engine.Ready{
		Probes: []engine.Probe{
			// The health probe generates one token and polls once a second; it
			// gives up after 20 s, so a client must wait longer than that.
			{Endpoint: engine.EndpointHealth, Status: 200, Timeout: 30 * time.Second},
			{Endpoint: engine.EndpointModels, Status: 200, Body: regexp.MustCompile(`"object"\s*:\s*"list"`), Timeout: 10 * time.Second},
			{Endpoint: engine.EndpointCompletions, Status: 200, Generate: true, Timeout: 60 * time.Second},
		},
		Interval: time.Second,
		Deadline: 30 * time.Minute, // weights of hundreds of GB, graph capture, a warm-up of up to 600 s
		Note:     "HTTP is up before the warm-up request has run (/health 503 until then), and a green /health can be a constant: a real token must come back",
		Source:   http,
	}
}
