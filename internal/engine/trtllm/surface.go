package trtllm

import (
	"embed"
	"io/fs"

	"llmdyno/internal/engine"
)

//go:embed surface
var surfaceFiles embed.FS

// surface is the captured text of the engine, one folder a version.
func surface() fs.FS { return engine.Captured(surfaceFiles) }
