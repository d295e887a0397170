package attrib

import (
	"cmp"
	"slices"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/profile/kernel"
	"llmdyno/internal/profile/trace"
)

// Cause says why the device was idle before a piece of work.
type Cause string

// The causes of idle time. They are read from the order of the launches and
// waits on the host; see [Gaps] for the rule of each.
const (
	CauseLaunch Cause = "launch" // the host was late: host-bound
	CauseSync   Cause = "sync"   // the host waited for the device, then launched
	CauseCopy   Cause = "copy"   // the host waited for a copy to itself, then launched
	CauseRank   Cause = "rank"   // queued in time; a collective waits for another rank or stream
	CauseQueue  Cause = "queue"  // queued in time; the device began late (dependency, event, dispatch)
	CauseUnseen Cause = "unseen" // the work has no launch record
)

// gapMinNS leaves out the dispatch time between two queued kernels: a few
// microseconds on any GPU. Source: gaps of back-to-back kernels on one stream in
// the H100 and MI300X traces that docs/profile-trace.md counts, p90 below 5 us.
const gapMinNS = 5_000

// GapRow is idle time of one cause in one stage, at one place of the source.
type GapRow struct {
	Stage    Stage   `json:"stage"` // of the work that ended the idle time
	Cause    Cause   `json:"cause"`
	Gaps     int     `json:"gaps"`
	TotalUS  Nanos   `json:"total_us"`
	MaxUS    Nanos   `json:"max_us"`
	SharePct float64 `json:"share_pct"` // of the span of all work
	Location string  `json:"location"`  // the Python frame that was running on the launching thread
	CPUOp    string  `json:"cpu_op"`    // of the work that ended the idle time
	Next     string  `json:"next"`      // kernel that most often ended it
}

// IdleSummary is how much of the span from the first to the last work the device
// did nothing.
type IdleSummary struct {
	SpanUS   Nanos   `json:"span_us"`
	IdleUS   Nanos   `json:"idle_us"`
	SharePct float64 `json:"share_pct"`
	SmallUS  Nanos   `json:"below_5us_us"` // part of idle_us in gaps too short to be listed
	// StageSmallUS is that part by the stage of the work that ended the gap.
	StageSmallUS map[Stage]Nanos `json:"per_stage_below_5us_us,omitempty"`
}

// gapProbe is where on the host to look for one gap.
type gapProbe struct {
	gap    span
	next   int32 // work that ends it
	cause  Cause
	thread trace.ThreadID
	at     int64 // -1: nowhere
}

// Gaps lists the idle time of the device, most first. A gap ends with a piece
// of work; where its launch stands tells the cause. Launched before the gap: the
// device or another rank held it up. Launched in the gap: the host was late; if
// it had been waiting in a synchronising call when the device ran dry, that is
// the reason, and if what the device did last was a copy to the host, that.
// engines tell whose frames say most.
func Gaps(tl *Timeline, engines engine.Set) (IdleSummary, []GapRow) {
	var sum IdleSummary
	if len(tl.Works) == 0 {
		return sum, nil
	}
	waits := waitsByThread(tl.Trace)
	var probes []gapProbe
	ends := lastEnds(tl)
	small := map[Stage]Nanos{}
	sum.StageSmallUS = small
	for i, before := range ends {
		w := &tl.Works[i]
		if before < 0 || w.Start <= tl.Works[before].End() {
			continue
		}
		g := span{tl.Works[before].End(), w.Start}
		idle := Nanos(g.to - g.from)
		sum.IdleUS += idle
		if idle < gapMinNS {
			sum.SmallUS += idle
			small[w.Stage] += idle
			continue
		}
		probes = append(probes, classify(tl, g, int32(i), before, waits))
	}
	first, last := tl.Works[0].Start, int64(0)
	for i := range tl.Works {
		last = max(last, tl.Works[i].End())
	}
	sum.SpanUS = Nanos(last - first)
	sum.SharePct = share(int64(sum.IdleUS), last-first)
	return sum, gapRows(tl, engines, probes, last-first)
}

// lastEnds is, for each work, the one before it in start order that ended last; -1 without.
func lastEnds(tl *Timeline) []int32 {
	out := make([]int32, len(tl.Works))
	best := int32(-1)
	for i := range tl.Works {
		out[i] = best
		if best < 0 || tl.Works[i].End() >= tl.Works[best].End() {
			best = int32(i)
		}
	}
	return out
}

func classify(tl *Timeline, g span, next, before int32, waits map[trace.ThreadID][]trace.Span) gapProbe {
	w := &tl.Works[next]
	p := gapProbe{gap: g, next: next, at: -1}
	if w.Launch < 0 {
		p.cause = CauseUnseen
		return p
	}
	l := tl.Trace.Launches.At(int(w.Launch))
	p.thread = l.Thread
	switch {
	case l.Start <= g.from && tl.Names[w.Name].Class == kernel.Communication:
		p.cause, p.at = CauseRank, l.Start
	case l.Start <= g.from:
		p.cause, p.at = CauseQueue, l.Start
	default:
		p.cause, p.at = CauseLaunch, g.from+(min(l.Start, g.to)-g.from)/2
		if at, ok := waitedAt(waits[l.Thread], g.from, l.Start); ok {
			p.cause, p.at = CauseSync, at
			if before >= 0 && toHost(tl, &tl.Works[before]) {
				p.cause = CauseCopy
			}
		}
	}
	return p
}

// toHost reports whether work is a copy to the host, as CUDA and ROCm name it.
func toHost(tl *Timeline, w *Work) bool {
	name := tl.Names[w.Name].Raw
	return tl.Trace.GPU.At(int(w.Row)).Cat == trace.CatMemcpy && (strings.Contains(name, "DtoH") || strings.Contains(name, "DeviceToHost"))
}

// waitsByThread is the host calls that wait for the device, by thread and start.
func waitsByThread(t *trace.Trace) map[trace.ThreadID][]trace.Span {
	out := map[trace.ThreadID][]trace.Span{}
	waiting := map[trace.NameID]bool{}
	for _, l := range t.Launches.All() {
		is, seen := waiting[l.Name]
		if !seen {
			is = strings.Contains(strings.ToLower(t.Text(l.Name)), "synchronize")
			waiting[l.Name] = is
		}
		if is {
			out[l.Thread] = append(out[l.Thread], l.Span)
		}
	}
	for _, spans := range out {
		slices.SortFunc(spans, func(a, b trace.Span) int {
			return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Dur, b.Dur))
		})
	}
	return out
}

// waitedAt is the start of the last wait that began before the launch and that
// the device running dry, or later, ended.
func waitedAt(spans []trace.Span, dry, launch int64) (int64, bool) {
	i, _ := slices.BinarySearchFunc(spans, launch, func(s trace.Span, at int64) int { return cmp.Compare(s.Start, at) })
	if i == 0 {
		return 0, false
	}
	s := spans[i-1]
	return s.Start, s.End() >= dry && s.Start <= dry
}

func gapRows(tl *Timeline, engines engine.Set, probes []gapProbe, whole int64) []GapRow {
	type key struct {
		stage    Stage
		cause    Cause
		location string
		op       string
	}
	at := map[key]int{}
	var rows []GapRow
	var nexts []map[string]int64
	for i, location := range gapFrames(tl, engines, probes) {
		p := &probes[i]
		w := &tl.Works[p.next]
		k := key{w.Stage, p.cause, location, tl.Ops[w.Op]}
		j, ok := at[k]
		if !ok {
			j = len(rows)
			at[k] = j
			rows = append(rows, GapRow{Stage: k.stage, Cause: k.cause, Location: k.location, CPUOp: k.op})
			nexts = append(nexts, map[string]int64{})
		}
		d := p.gap.to - p.gap.from
		r := &rows[j]
		r.Gaps++
		r.TotalUS += Nanos(d)
		r.MaxUS = max(r.MaxUS, Nanos(d))
		nexts[j][tl.Names[w.Name].Canonical] += d
	}
	for j := range rows {
		rows[j].SharePct = share(int64(rows[j].TotalUS), whole)
		rows[j].Next = heaviest(nexts[j])
	}
	slices.SortStableFunc(rows, func(a, b GapRow) int {
		return cmp.Or(-cmp.Compare(a.TotalUS, b.TotalUS), cmp.Compare(a.Cause, b.Cause), cmp.Compare(a.Location, b.Location), cmp.Compare(a.CPUOp, b.CPUOp))
	})
	return rows
}

// heaviest is the key with the most, ties by text.
func heaviest(m map[string]int64) string {
	best := ""
	for k, v := range m {
		if best == "" || v > m[best] || v == m[best] && k < best {
			best = k
		}
	}
	return best
}

// gapFrames is, for each probe, the location of the best frame that is active at
// its time on its thread; that of the next work's launch where there is none.
func gapFrames(tl *Timeline, engines engine.Set, gaps []gapProbe) []string {
	out := make([]string, len(gaps))
	var list []probe
	for i := range gaps {
		out[i] = tl.Location(&tl.Works[gaps[i].next])
		if gaps[i].at >= 0 {
			list = append(list, probe{at: gaps[i].at, group: int32(gaps[i].thread), id: int32(i)})
		}
	}
	src := newSources(engines)
	framesAt(tl.Trace, list, func(q probe, stack []active) {
		if best := src.foremost(tl.Trace, q.at, stack); best >= 0 {
			out[q.id] = src.frame(tl.Trace, stack[best]).location
		}
	})
	return out
}
