package profile

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/trace"
)

// WindowOptions say which part of a trace is meant.
type WindowOptions struct {
	From, To int64        // ns from the first event; To may be math.MaxInt64
	Stage    attrib.Stage // "" = all work
	Steps    int          // the first so many marked steps (of the stage); 0 = all
}

// Windows are the stretches of time in which the work meant was launched: what
// trace.Cut takes, with ByLaunch where a stage or steps are asked for. An error
// says that there is no such work.
func Windows(t *trace.Trace, engines engine.Set, o WindowOptions) ([]trace.Window, error) {
	first, _ := extent(t)
	whole := trace.Window{From: int64(first) + o.From, To: math.MaxInt64}
	if o.To < math.MaxInt64-max(int64(first), 0) {
		whole.To = int64(first) + o.To
	}
	if o.Stage == "" && o.Steps == 0 {
		return []trace.Window{whole}, nil
	}
	tls, err := attrib.ResolveAll(t, attrib.Options{Engines: engines})
	if err != nil {
		return nil, err
	}
	windows := runsOf(moments(t, tls, o))
	windows = slices.DeleteFunc(windows, func(w trace.Window) bool { return w.To <= whole.From || w.From >= whole.To })
	for i := range windows {
		windows[i].From, windows[i].To = max(windows[i].From, whole.From), min(windows[i].To, whole.To)
	}
	if len(windows) == 0 {
		return nil, noWork(tls, o)
	}
	return windows, nil
}

// moment is when a piece of work was launched, and whether it is meant.
type moment struct {
	at     int64
	wanted bool
}

// moments are the launches of all work, in order; work without a launch stands
// where it ran.
func moments(t *trace.Trace, tls []*attrib.Timeline, o WindowOptions) []moment {
	var out []moment
	for _, tl := range tls {
		steps := firstSteps(tl, o)
		for i := range tl.Works {
			w := &tl.Works[i]
			m := moment{at: w.Start, wanted: o.Stage == "" || w.Stage == o.Stage}
			if o.Steps > 0 {
				m.wanted = m.wanted && w.Step >= 0 && steps[w.Step]
			}
			if w.Launch >= 0 {
				m.at = t.Launches.At(int(w.Launch)).Start
			}
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	return out
}

// firstSteps are the first steps of the stage that have work.
func firstSteps(tl *attrib.Timeline, o WindowOptions) map[int32]bool {
	has := map[int32]bool{}
	for i := range tl.Works {
		if w := &tl.Works[i]; w.Step >= 0 && (o.Stage == "" || w.Stage == o.Stage) {
			has[w.Step] = true
		}
	}
	rows := make([]int32, 0, len(has))
	for s := range has {
		rows = append(rows, s)
	}
	slices.SortFunc(rows, func(a, b int32) int {
		return cmp.Or(cmp.Compare(tl.Steps[a].Start, tl.Steps[b].Start), cmp.Compare(a, b))
	})
	for _, s := range rows[min(o.Steps, len(rows)):] {
		delete(has, s)
	}
	return has
}

// runsOf are the stretches from a wanted moment to the last before an unwanted one.
func runsOf(list []moment) []trace.Window {
	var out []trace.Window
	open := false
	for _, m := range list {
		switch {
		case !m.wanted:
			open = false
		case open:
			out[len(out)-1].To = m.at + 1
		default:
			out, open = append(out, trace.Window{From: m.at, To: m.at + 1}), true
		}
	}
	return out
}

// noWork says what there is instead.
func noWork(tls []*attrib.Timeline, o WindowOptions) error {
	var have []string
	steps := 0
	for _, stage := range attrib.Stages() {
		if slices.ContainsFunc(tls, func(tl *attrib.Timeline) bool {
			return slices.ContainsFunc(tl.Works, func(w attrib.Work) bool { return w.Stage == stage })
		}) {
			have = append(have, string(stage))
		}
	}
	for _, tl := range tls {
		steps += len(tl.Steps)
	}
	switch {
	case len(have) == 0:
		return fmt.Errorf("the trace holds no GPU work")
	case o.Stage != "" && !slices.Contains(have, string(o.Stage)):
		return fmt.Errorf("no GPU work of stage %s; there is %s", o.Stage, strings.Join(have, ", "))
	case o.Steps > 0 && steps == 0:
		return fmt.Errorf("no step is marked in the trace")
	}
	return fmt.Errorf("no such GPU work in this stretch of time")
}
