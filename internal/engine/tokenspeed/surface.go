package tokenspeed

import (
	"embed"
	"io/fs"
)

//go:embed all:surface
var surface embed.FS

// captured is the folder of captured replies, one folder a version.
func captured() fs.FS {
	captured, err := fs.Sub(surface, "surface")
	if err != nil { // the folder is part of the program
		return nil
	}
	return captured
}
