package attrib

import (
	"cmp"
	"fmt"
	"slices"

	"llmdyno/internal/profile/kernel"
)

// RankRow is one rank of a run.
type RankRow struct {
	Rank     string `json:"rank"`
	Source   string `json:"source"` // trace file
	Device   string `json:"device"` // GPU process
	SpanUS   Nanos  `json:"span_us"`
	BusyUS   Nanos  `json:"busy_us"`
	IdleUS   Nanos  `json:"idle_us"`
	Kernels  int    `json:"launches"`
	CommUS   Nanos  `json:"communication_us"`         // Σ of collectives
	CommOpen Nanos  `json:"exposed_communication_us"` // with no other stream at work
	// WaitUS is the part of the matched collectives that exceeds the shortest of
	// the ranks: time spent waiting for the rank that came last.
	WaitUS      Nanos `json:"collective_wait_us"`
	Collectives int   `json:"collectives"` // matched with the other ranks
	// LastCount is how many matched collectives this rank came to last.
	LastCount int  `json:"last_to_arrive"`
	Straggler bool `json:"straggler"`
}

// CollectiveRow is one kind of collective over all ranks.
type CollectiveRow struct {
	Kernel   string  `json:"kernel"`
	Calls    int     `json:"calls"` // a rank
	MinUS    float64 `json:"mean_shortest_us"`
	MeanUS   float64 `json:"mean_us"`
	WaitUS   Nanos   `json:"wait_us"`        // over all ranks
	Slowest  string  `json:"last_to_arrive"` // the rank that most often came last
	SlowHits int     `json:"last_to_arrive_calls"`
}

// Rank is one rank to compare: its timeline, and what [Overlap] says of it.
type Rank struct {
	Label    string
	Timeline *Timeline
	Overlap  OverlapSummary
}

// RankReport compares the ranks of one run.
type RankReport struct {
	Ranks       []RankRow       `json:"ranks"`
	Collectives []CollectiveRow `json:"collectives"`
	// Note says how collectives were matched, or why they were not.
	Note string `json:"note"`
}

// stragglerShare is the part of matched collectives to which a rank must come
// last to be called a straggler, and stragglerMin how many there must be: with
// equal ranks one comes last in 1/n of them.
const (
	stragglerShare = 0.5
	stragglerMin   = 8
)

// Ranks compares timelines of several ranks. Collectives are matched by kernel
// name and order on each rank; of one collective the rank with the shortest
// kernel came last, and what the others took longer they waited. That needs no
// common clock.
func Ranks(ranks []Rank) RankReport {
	rep := RankReport{Note: "collectives matched by name and order; the shortest kernel of each is the rank that came last"}
	calls := make([]map[string][]int64, len(ranks))
	for i := range ranks {
		row, byName := rankRow(&ranks[i])
		rep.Ranks = append(rep.Ranks, row)
		calls[i] = byName
	}
	if len(ranks) < 2 {
		rep.Note = "one rank: nothing to compare with"
		return rep
	}
	rep.match(calls)
	return rep
}

func rankRow(rank *Rank) (RankRow, map[string][]int64) {
	tl := rank.Timeline
	r := RankRow{Rank: rank.Label, Source: tl.Trace.Source, Device: tl.PID(), Kernels: len(tl.Works), BusyUS: rank.Overlap.BusyUS, CommOpen: rank.Overlap.CollectiveUS}
	byName := map[string][]int64{}
	last := int64(0)
	for i := range tl.Works {
		w := &tl.Works[i]
		last = max(last, w.End())
		if n := &tl.Names[w.Name]; n.Class == kernel.Communication {
			r.CommUS += Nanos(w.Dur)
			byName[n.Canonical] = append(byName[n.Canonical], w.Dur)
		}
	}
	if len(tl.Works) > 0 {
		r.SpanUS = Nanos(last - tl.Works[0].Start)
		r.IdleUS = r.SpanUS - r.BusyUS
	}
	return r, byName
}

// match fills in what comparing the collectives of all ranks tells.
func (rep *RankReport) match(calls []map[string][]int64) {
	unequal := 0
	names := make([]string, 0, len(calls[0]))
	for name := range calls[0] {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		n := len(calls[0][name])
		if slices.ContainsFunc(calls, func(c map[string][]int64) bool { return len(c[name]) != n }) {
			unequal++
			continue
		}
		rep.Collectives = append(rep.Collectives, rep.collective(name, n, calls))
	}
	slices.SortStableFunc(rep.Collectives, func(a, b CollectiveRow) int { return -cmp.Compare(a.WaitUS, b.WaitUS) })
	if unequal > 0 {
		rep.Note += fmt.Sprintf("; %d kinds left out whose count differs between ranks", unequal)
	}
	for i := range rep.Ranks {
		r := &rep.Ranks[i]
		r.Straggler = r.Collectives >= stragglerMin && float64(r.LastCount) > stragglerShare*float64(r.Collectives)
	}
}

func (rep *RankReport) collective(name string, n int, calls []map[string][]int64) CollectiveRow {
	row := CollectiveRow{Kernel: name, Calls: n}
	lastHits := make([]int, len(calls))
	var least, sum int64
	for k := range n {
		short := 0
		for i := range calls {
			if calls[i][name][k] < calls[short][name][k] {
				short = i
			}
		}
		d := calls[short][name][k]
		least += d
		lastHits[short]++
		for i := range calls {
			wait := Nanos(calls[i][name][k] - d)
			rep.Ranks[i].WaitUS += wait
			rep.Ranks[i].Collectives++
			row.WaitUS += wait
			sum += calls[i][name][k]
		}
		rep.Ranks[short].LastCount++
	}
	for i, hits := range lastHits {
		if hits > row.SlowHits {
			row.Slowest, row.SlowHits = rep.Ranks[i].Rank, hits
		}
	}
	row.MinUS = float64(least) / float64(n) / 1000
	row.MeanUS = float64(sum) / float64(n*len(calls)) / 1000
	return row
}
