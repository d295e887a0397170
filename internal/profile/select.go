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

func (f file) input(t *trace.Trace, role string) Input {
	in := Input{Path: f.path, Role: role, Rank: f.rank, Stage: string(f.stage), Events: t.Events, Bytes: t.Bytes}
	if t.Break != nil {
		in.Partial = t.Break.Reason
	}
	return in
}

// choose finds the traces that paths stand for, and says which it left out.
func choose(paths []string, all bool) ([]file, []LeftOut, error) {
	found, err := trace.Discover(paths, trace.DiscoverOptions{AllRanks: all})
	if err != nil {
		return nil, nil, err
	}
	files := make([]file, len(found.Files))
	for i, f := range found.Files {
		files[i] = file{path: f.Path, rank: f.Rank.String(), stage: attrib.Stage(f.Stage)}
	}
	left := make([]LeftOut, len(found.Left))
	for i, l := range found.Left {
		left[i] = LeftOut(l)
	}
	return files, left, nil
}
