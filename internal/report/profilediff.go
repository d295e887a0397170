package report

import (
	"fmt"
	"strings"

	"llmdyno/internal/profile"
	"llmdyno/internal/profile/attrib"
)

// mostDiffKernels are the matched kernels that a terminal shows.
const mostDiffKernels = 20

// diffFacts say what is compared.
func diffFacts(d *profile.Diff) []Fact {
	var out []Fact
	for _, s := range []struct {
		name string
		side profile.Compared
	}{{"A", d.A}, {"B", d.B}} {
		parts := []string{s.side.Label, or(s.side.Framework, "unknown")}
		if s.side.Model != "" {
			parts = append(parts, s.side.Model)
		}
		if s.side.TP > 0 {
			parts = append(parts, fmt.Sprintf("TP %d", s.side.TP))
		}
		if s.side.Rank != "" {
			parts = append(parts, "rank "+s.side.Rank)
		}
		if s.side.Device != "" {
			parts = append(parts, s.side.Device)
		}
		out = append(out, Fact{s.name, strings.Join(parts, ", ")})
	}
	return out
}

// basisWords says what the figures of a stage are of.
func basisWords(s *profile.StageDiff) string {
	switch s.Basis {
	case profile.BasisTrace:
		return "figures of the whole recording"
	case profile.BasisLayer:
		return fmt.Sprintf("figures of one repeated unit, of %d in A and %d in B", s.A.Units, s.B.Units)
	}
	return fmt.Sprintf("figures of one step, of %d in A and %d in B", s.A.Units, s.B.Units)
}

// stageDiffLead is the line over a stage.
func stageDiffLead(s *profile.StageDiff) string {
	switch {
	case s.In != "both":
		side := s.A
		if s.In == "b" {
			side = s.B
		}
		return fmt.Sprintf("only in %s, %s ms of GPU time", strings.ToUpper(s.In), ms3(side.Total))
	case s.DeltaPct == nil:
		return basisWords(s)
	}
	return fmt.Sprintf("%s to %s ms (%+.1f %%); %s", ms3(s.A.Time), ms3(s.B.Time), *s.DeltaPct, basisWords(s))
}

func ms3(n attrib.Nanos) string { return fmt.Sprintf("%.3f", float64(n)/1e6) }

// us1 shows microseconds with one digit after the point.
func us1(n attrib.Nanos) string { return fmt.Sprintf("%.1f", n.Micros()) }

// signed1 is us1 with its sign; nothing of nothing.
func signed1(n attrib.Nanos) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%+.1f", n.Micros())
}

func pctOf(x *float64) string {
	if x == nil {
		return ""
	}
	return fmt.Sprintf("%.1f %%", *x)
}

// count1 shows a mean number of launches.
func count1(x float64) string {
	if x == float64(int64(x)) {
		return fmt.Sprintf("%d", int64(x))
	}
	return fmt.Sprintf("%.1f", x)
}

// diffSheets are the tables of one stage.
func diffSheets(s *profile.StageDiff, most int) []sheet {
	out := []sheet{figureSheet(s)}
	if s.In != "both" {
		return out
	}
	return append(out, contributionSheet(s), kernelDiffSheet(s, most), fusionDiffSheet(s))
}

// diffFigure is one line of the first table.
type diffFigure struct{ name, a, b, delta, pct string }

func figureSheet(s *profile.StageDiff) sheet {
	both := s.In == "both"
	us := func(name string, a, b attrib.Nanos) diffFigure {
		f := diffFigure{name + " us", us1(a), us1(b), "", ""}
		if both {
			if f.delta = signed1(b - a); a != 0 {
				f.pct = fmt.Sprintf("%+.1f %%", 100*float64(b-a)/float64(a))
			}
		}
		return f
	}
	n := func(name string, a, b float64) diffFigure {
		f := diffFigure{name, count1(a), count1(b), "", ""}
		if both {
			if f.delta = fmt.Sprintf("%+.1f", b-a); a != 0 {
				f.pct = fmt.Sprintf("%+.1f %%", 100*(b-a)/a)
			}
		}
		return f
	}
	rows := []diffFigure{
		us("time, busy and idle", s.A.Time, s.B.Time), us("GPU busy", s.A.Busy, s.B.Busy), us("GPU idle", s.A.Idle, s.B.Idle),
		us("idle for the host", s.A.HostBound, s.B.HostBound), us("sum of kernels", s.A.Total, s.B.Total),
		us("run side by side", s.A.Overlapped, s.B.Overlapped), us("uncovered communication", s.A.Exposed, s.B.Exposed),
		n("launches", s.A.Launches, s.B.Launches),
	}
	if s.A.Requests+s.B.Requests > 0 {
		rows = append(rows, n("requests", s.A.Requests, s.B.Requests))
	}
	if s.A.Tokens+s.B.Tokens > 0 {
		rows = append(rows, n("tokens", s.A.Tokens, s.B.Tokens))
	}
	return fillSheet(sheet{title: "Figures", lead: s.Note}, rows, []col[diffFigure]{
		{sheetColumn{head: "figure", forms: inAll}, func(f diffFigure) string { return f.name }, nil, nil},
		{sheetColumn{head: "A", forms: inAll, numeric: true}, func(f diffFigure) string { return f.a }, nil, nil},
		{sheetColumn{head: "B", forms: inAll, numeric: true}, func(f diffFigure) string { return f.b }, nil, nil},
		{sheetColumn{head: "B − A", forms: inAll, numeric: true}, func(f diffFigure) string { return f.delta }, nil, nil},
		{sheetColumn{head: "change", forms: inAll, numeric: true}, func(f diffFigure) string { return f.pct }, nil, nil},
	})
}

// contributionWords names a contribution in a table.
func contributionWords(c profile.Contribution) string {
	switch c.Kind {
	case profile.KindIdle:
		if c.What == profile.IdleSmall {
			return "idle: gaps below 5 us"
		}
		return "idle: " + causeWords(attrib.Cause(c.What))
	case profile.KindOverlap:
		return "run side by side"
	}
	return c.What
}

func contributionSheet(s *profile.StageDiff) sheet {
	type row = profile.Contribution
	sh := sheet{title: "What makes up the difference", empty: "Nothing."}
	var rows []row
	for _, c := range s.Contributions {
		if c.A != 0 || c.B != 0 {
			rows = append(rows, c)
			sh.keys = append(sh.keys, c.What)
		}
	}
	return fillSheet(sh, rows, []col[row]{
		{sheetColumn{head: "B − A us", forms: inAll, numeric: true}, func(c row) string { return signed1(c.Delta) }, nil, nil},
		{sheetColumn{head: "of it", forms: inAll, numeric: true}, func(c row) string { return pctOf(c.Share) }, nil, nil},
		{sheetColumn{head: "A us", forms: inAll, numeric: true}, func(c row) string { return us1(c.A) }, nil, nil},
		{sheetColumn{head: "B us", forms: inAll, numeric: true}, func(c row) string { return us1(c.B) }, nil, nil},
		{sheetColumn{head: "launches A", forms: inAll, numeric: true, drop: 2}, func(c row) string { return launchesOf(c.Kind, c.ALaunch) }, nil, nil},
		{sheetColumn{head: "launches B", forms: inAll, numeric: true, drop: 2}, func(c row) string { return launchesOf(c.Kind, c.BLaunch) }, nil, nil},
		{sheetColumn{head: "what", forms: inAll}, contributionWords, nil, nil},
		{sheetColumn{head: "most of it at", forms: inAll, code: true, path: true, under: true}, func(c row) string { return c.Location }, nil, nil},
	})
}

func launchesOf(kind string, n float64) string {
	if kind != profile.KindKernels {
		return ""
	}
	return count1(n)
}

func kernelDiffSheet(s *profile.StageDiff, most int) sheet {
	type row = profile.KernelDiff
	sh := sheet{title: "Kernels, matched", most: most, empty: "No kernels."}
	for _, k := range s.Kernels {
		sh.keys = append(sh.keys, string(k.Class))
	}
	side := func(of func(row) *profile.KernelSide, show func(*profile.KernelSide) string) func(row) string {
		return func(k row) string {
			if x := of(k); x != nil {
				return show(x)
			}
			return ""
		}
	}
	a, b := func(k row) *profile.KernelSide { return k.A }, func(k row) *profile.KernelSide { return k.B }
	total := func(k *profile.KernelSide) string { return us1(k.Total) }
	launches := func(k *profile.KernelSide) string { return count1(k.Launches) }
	short := func(k *profile.KernelSide) string { return shortNames(k.Short) }
	names := func(k *profile.KernelSide) string { return strings.Join(k.Names, "\n") }
	places := func(k *profile.KernelSide) string { return strings.Join(k.Locations, "\n") }
	return fillSheet(sh, s.Kernels, []col[row]{
		{sheetColumn{head: "B − A us", forms: inAll, numeric: true}, func(k row) string { return signed1(k.Delta) }, nil, nil},
		{sheetColumn{head: "of it", forms: inAll, numeric: true, drop: 3}, func(k row) string { return pctOf(k.Share) }, nil, nil},
		{sheetColumn{head: "A us", forms: inAll, numeric: true}, side(a, total), nil, nil},
		{sheetColumn{head: "B us", forms: inAll, numeric: true}, side(b, total), nil, nil},
		{sheetColumn{head: "launches A", forms: inAll, numeric: true, drop: 4}, side(a, launches), nil, nil},
		{sheetColumn{head: "launches B", forms: inAll, numeric: true, drop: 4}, side(b, launches), nil, nil},
		{sheetColumn{head: "class", forms: inAll, drop: 1}, func(k row) string { return string(k.Class) }, nil, nil},
		{sheetColumn{head: "matched by", forms: inAll, drop: 2}, func(k row) string { return string(k.Match) }, nil, nil},
		{sheetColumn{head: "kernel in A", forms: inAll, code: true}, side(a, short), side(a, names), nil},
		{sheetColumn{head: "kernel in B", forms: inAll, code: true}, side(b, short), side(b, names), nil},
		{sheetColumn{head: "launched at, A", forms: inMarkdown | inHTML, code: true, path: true}, side(a, places), nil, nil},
		{sheetColumn{head: "launched at, B", forms: inMarkdown | inHTML, code: true, path: true}, side(b, places), nil, nil},
	})
}

// shortNames is the first of several names, with how many more there are.
func shortNames(names []string) string {
	switch len(names) {
	case 0:
		return ""
	case 1:
		return names[0]
	}
	return fmt.Sprintf("%s +%d", names[0], len(names)-1)
}

func fusionDiffSheet(s *profile.StageDiff) sheet {
	type row = profile.FusionDiff
	sh := sheet{title: "Fusions that one side lacks", empty: "None that the catalog knows."}
	shown := func(f *profile.FusionSide) string {
		if f == nil {
			return "not seen"
		}
		return fmt.Sprintf("%s: %s (%s times, %s us)", f.State, f.Name, count1(f.Occurrences), us1(f.Related))
	}
	return fillSheet(sh, s.Fusions, []col[row]{
		{sheetColumn{head: "lacking in", forms: inAll}, func(f row) string { return strings.ToUpper(f.Lacks) }, nil, nil},
		{sheetColumn{head: "what is fused", forms: inAll}, func(f row) string { return f.What }, nil, nil},
		{sheetColumn{head: "in A", forms: inAll, under: true}, func(f row) string { return shown(f.A) }, nil, nil},
		{sheetColumn{head: "in B", forms: inAll, under: true}, func(f row) string { return shown(f.B) }, nil, nil},
		{sheetColumn{head: "switched on by", forms: inAll, code: true, under: true}, func(f row) string {
			for _, side := range []*profile.FusionSide{f.A, f.B} {
				if side != nil && side.Toggle != "" {
					return side.Toggle
				}
			}
			return ""
		}, nil, nil},
	})
}
