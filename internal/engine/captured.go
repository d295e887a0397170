package engine

import "io/fs"

// Captured is the captured text among an engine folder's embedded files, one
// folder a version, for [Engine.Surface].
func Captured(files fs.FS) fs.FS {
	sub, err := fs.Sub(files, "surface")
	if err != nil { // the name is constant and valid
		return nil
	}
	return sub
}
