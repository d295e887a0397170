package report

import "slices"

// searched are the adaptive rate searches, one line a row and cap.
func (v view) searched() []string {
	var out []string
	for _, e := range v.c.Entries {
		for _, s := range e.Row.RateSearch {
			l := "Rate search of " + e.Row.CandidateID + " in " + v.label(e) + ": " + s.Words()
			if !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
	}
	return out
}
