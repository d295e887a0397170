package signal

import (
	"slices"
	"strings"
)

// Join makes one summary of those of several bundles, as if all servers had been
// captured at once. One alone is given back as it is.
func Join(all []*Summary, rules *Rules) *Summary {
	if len(all) == 1 {
		return all[0]
	}
	out := &Summary{Schema: Schema, SchemaVersion: SchemaVersion, Origin: all[0].Origin, Unreadable: []Unread{}, Signals: []Finding{}, Unchecked: []string{}}
	var names []string
	for _, s := range all {
		names = append(names, s.Bundle)
		if out.State = s.State; out.CollectedAt.Before(s.CollectedAt) {
			out.CollectedAt = s.CollectedAt
		}
		for _, t := range s.Targets {
			id := t.ID
			if slices.ContainsFunc(out.Targets, func(o TargetSummary) bool { return o.ID == id }) || generic(all, id) {
				t.ID = s.Bundle + "#" + id
			}
			out.Targets = append(out.Targets, t)
			for _, f := range s.Signals {
				if f.Target == id {
					f.Target = t.ID
					out.Signals = append(out.Signals, f)
				}
			}
			for _, u := range s.Unreadable {
				if u.Target == id {
					u.Target = t.ID
					out.Unreadable = append(out.Unreadable, u)
				}
			}
		}
		for _, u := range s.Unreadable {
			if u.Target == "" {
				out.Unreadable = append(out.Unreadable, u)
			}
		}
		out.Unchecked = append(out.Unchecked, s.Unchecked...)
	}
	out.Bundle = strings.Join(names, " ")
	out.TargetSummary = out.Targets[0]
	out.TargetSummary.Facts, out.TargetSummary.Settings = nil, nil
	out.finish(rules)
	return out
}

// generic says that more than one bundle has a target of this id.
func generic(all []*Summary, id string) bool {
	n := 0
	for _, s := range all {
		if slices.ContainsFunc(s.Targets, func(t TargetSummary) bool { return t.ID == id }) {
			n++
		}
	}
	return n > 1
}
