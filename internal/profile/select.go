package profile

import (
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/trace"
)

// file is one trace to read.
type file struct {
	path  string
	rank  string
	stage attrib.Stage // what the path says; "" = nothing
}

// chosen are the traces to read, and those found and left out.
type chosen struct {
	files []file
	left  []LeftOut
}

func (f file) input(t *trace.Trace, role string) Input {
	in := Input{Path: f.path, Role: role, Rank: f.rank, Stage: string(f.stage), Events: t.Events, Bytes: t.Bytes}
	if t.Break != nil {
		in.Partial = t.Break.Reason
	}
	return in
}

func choose(paths []string, all bool) (chosen, error) {
	var c chosen
	for _, p := range paths {
		c.files = append(c.files, file{path: p})
	}
	return c, nil
}
