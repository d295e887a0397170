package llamacpp

import (
	"embed"
	"io/fs"
)

//go:embed surface
var surfaceFiles embed.FS

// surface is the captured text of the engine, one folder a version.
func surface() fs.FS {
	sub, err := fs.Sub(surfaceFiles, "surface")
	if err != nil { // the name is constant and valid
		return nil
	}
	return sub
}
