// Package vllm is all that is known of vLLM's server, vllm serve.
//
//	tables here  →  engine.Engine  →  engine/all
//	surface/<version>/  →  the simulated engine (never read by the tables)
//
// The tables were read from the project's source and from a page of metrics of
// a running 0.26.0; the sources say which file at which commit.
package vllm

import (
	"regexp"
	"time"

	"llmdyno/internal/engine"
)

// Where the tables of this folder were read. The date is the day of reading;
// the page of metrics carries its own.
var (
	fromCLI     = read("vllm/entrypoints/openai/cli_args.py @ 00522333")
	fromArgs    = read("vllm/utils/argparse_utils.py @ 00da11e3")
	fromCache   = read("vllm/config/cache.py @ 002f10e0")
	fromSched   = read("vllm/config/scheduler.py @ 01230b40")
	fromProf    = read("vllm/config/profiler.py @ 3898bcff")
	fromHealth  = read("vllm/entrypoints/serve/instrumentator/health.py @ 98b137c6")
	fromSec     = read("docs/usage/security.md @ 00b005cf")
	fromServer  = read("vllm/entrypoints/openai/api_server.py @ 0001948b")
	fromChat    = read("vllm/entrypoints/openai/chat_completion/protocol.py @ 002032ee")
	fromText    = read("vllm/entrypoints/openai/completion/protocol.py @ 002032ee")
	fromDefault = read("vllm/engine/arg_utils.py, 2026 copy")
	fromRecipes = engine.Source{Ref: "SemiAnalysisAI/InferenceX benchmarks @ 843c6254", Date: "2026-08-21"}
	fromMetrics = engine.Source{Ref: "kubernetes-sigs/inference-perf e2e/testdata/vllm_metric_families/v0.26.0.txt @ 7de5ef2e", Date: "2026-08-19"}
)

func read(path string) engine.Source {
	return engine.Source{Ref: "vllm-project/vllm " + path, Date: "2026-11-24"}
}

// New describes vLLM.
func New() *engine.Engine {
	return &engine.Engine{
		ID:      "vllm",
		Aliases: []string{"vllm-openai", "vllm_openai"},
		Title:   "vLLM",
		Source:  fromArgs,

		Launch: engine.Launch{
			Command:        []string{"vllm", "serve"},
			Version:        []string{"vllm", "--version"},
			VersionPattern: regexp.MustCompile(`(?m)^v?(\d+\.\d+[0-9A-Za-z.+-]*)\s*$`),
			// The model is the word after the command; --model warns.
			HostFlag: "host",
			PortFlag: "port",
			// Absent, it listens on every address.
			Host:           "127.0.0.1",
			SeqLimit:       "max_model_len",
			TP:             "tensor_parallel_size",
			PP:             "pipeline_parallel_size",
			DP:             "data_parallel_size",
			BatchLimit:     []string{"max_num_seqs"},
			MemoryFraction: []string{"gpu_memory_utilization"},
			Env: []engine.EnvVar{
				{Name: "PYTHONUNBUFFERED", Value: "1", Reason: "log lines reach the log file when they are printed, so that a crash keeps its last words"},
				{Name: "VLLM_NO_USAGE_STATS", Value: "1", Reason: "a benchmark is no usage to report, and the machine may have no way out"},
			},
		},
		Flags: flags(),
		Help: engine.Help{
			// The plain help of newer versions holds only a list of groups.
			Args:    [][]string{{"--help=all"}, {"--help"}},
			Timeout: 3 * time.Minute, // it imports torch before it prints
			Parse:   parseHelp,
		},
		Ready:        ready(),
		Logs:         logs(),
		Endpoints:    endpoints(),
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

func ready() engine.Ready {
	return engine.Ready{
		Probes: []engine.Probe{
			{Endpoint: engine.EndpointHealth, Status: 200, Timeout: 10 * time.Second},
			{Endpoint: engine.EndpointModels, Status: 200, Body: regexp.MustCompile(`"object"\s*:\s*"list"`), Timeout: 10 * time.Second},
			{Endpoint: engine.EndpointCompletions, Status: 200, Generate: true, Timeout: 2 * time.Minute},
		},
		Interval: time.Second,
		Deadline: 30 * time.Minute, // weights of hundreds of GB, compilation, graph capture
		Note:     "Nothing answers before the engine is up. Afterwards /health turns to 503 only when the engine is flagged dead: with a stalled scheduler it stays 200, so a real token must come back. The first requests of each shape may still compile.",
		Source:   fromHealth,
	}
}
