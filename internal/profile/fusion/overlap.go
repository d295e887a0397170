package fusion

import (
	"slices"
	"strings"

	"llmdyno/internal/profile/attrib"
)

// OverlapNote says that a row of the overlap table is work that an engine is known
// to overlap, and how.
type OverlapNote struct {
	Stage     attrib.Stage `json:"stage"`
	Kernel    string       `json:"kernel"`
	Family    string       `json:"family"`  // id in the catalog
	Told      string       `json:"told_by"` // "kernel": by a word of its name; "source": by the file that launched it
	Mechanism string       `json:"mechanism"`
	Meaning   string       `json:"meaning"`
	Settings  []string     `json:"settings,omitempty"`
}

// OverlapNotes are the known families that rows of the overlap table belong to: by
// words of the kernel's name, or because a file that holds the family's streams
// launched it. engine is the trace's; an unknown one has no notes.
func (c *Catalog) OverlapNotes(engine string, rows []attrib.OverlapRow) []OverlapNote {
	out := []OverlapNote{}
	for i := range rows {
		r := &rows[i]
		name := cut(r.Kernel)
		for k := range c.Overlap {
			f := &c.Overlap[k]
			if !of(f.Engines, engine) {
				continue
			}
			n := OverlapNote{Stage: r.Stage, Kernel: r.Kernel, Family: f.ID, Mechanism: f.Mechanism, Meaning: f.Meaning, Settings: f.Settings}
			switch {
			case anyIn(compileAll(f.Words), name):
				n.Told = "kernel"
			case r.HiddenUS > 0 && launchedFrom(r.Scope, f.Sources):
				n.Told = "source"
			default:
				continue
			}
			out = append(out, n)
		}
	}
	return out
}

// launchedFrom reports whether a location (path:line function) lies in one of the
// files, compared by whole parts of the path from its end.
func launchedFrom(location string, files []Source) bool {
	path, _, found := strings.Cut(location, ".py:")
	if !found {
		return false
	}
	have := strings.Split(path+".py", "/")
	return slices.ContainsFunc(files, func(s Source) bool {
		want := strings.Split(s.Path, "/")
		n := min(len(have), len(want))
		return n > 2 && slices.Equal(have[len(have)-n:], want[len(want)-n:])
	})
}
