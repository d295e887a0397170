package tokenspeed

import "llmdyno/internal/engine"

// The engine writes no range around a forward pass into torch traces (its NVTX
// ranges name parts of one): stages come from the file's name.
func traceMarks() engine.TraceMarks {
	return engine.TraceMarks{
		Folders:  []engine.SourceFolder{{Path: "tokenspeed/", Rank: 283}},
		Settings: []string{"attn_tp_size", "enable_nvtx"},
		Models:   []string{"model", "model_path"},
		Source:   engine.Source{Ref: "lightseekorg/tokenspeed python/tokenspeed/runtime/engine/request_handler.py @ f4d8ec6e", Date: "2026-08-21"},
	}
}
