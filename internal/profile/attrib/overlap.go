package attrib

import (
	"cmp"
	"regexp"
	"slices"

	"llmdyno/internal/profile/kernel"
)

// Verdict says what the overlap table sees in a kernel.
type Verdict string

// The verdicts.
const (
	Headroom Verdict = "headroom"       // much of its time no other stream works
	LowROI   Verdict = "low-roi-hidden" // most of it runs behind other work already
)

// Risk says how likely the order on the stream is a dependency.
type Risk string

// The dependency risks.
const (
	RiskLow     Risk = "low"
	RiskHigh    Risk = "high"
	RiskUnclear Risk = "unclear" // a close neighbour whose source is not known
)

// OverlapSummary is how a device's streams ran beside each other.
type OverlapSummary struct {
	BusyUS       Nanos           `json:"busy_us"`         // union of all GPU work
	CrossUS      Nanos           `json:"cross_stream_us"` // time in which two or more streams worked
	MaxStreams   int             `json:"max_concurrent_streams"`
	SumUS        Nanos           `json:"sum_of_durations_us"`
	StageBusyUS  map[Stage]Nanos `json:"per_stage_busy_us"` // union of each stage's work
	Streams      int             `json:"streams"`           // that did any work
	HiddenUS     Nanos           `json:"hidden_us"`         // Σ of all kernels; hidden + exposed = sum_of_durations_us
	ExposedUS    Nanos           `json:"exposed_us"`
	CollectiveUS Nanos           `json:"exposed_communication_us"` // exposed time of collectives alone
	// Aside counts works that began while more others ran than any GPU runs at
	// once. They count as exposed.
	Aside int `json:"not_shared_out,omitempty"`
	// StageCommUS is that time by the stage of the collective.
	StageCommUS map[Stage]Nanos `json:"per_stage_exposed_communication_us,omitempty"`
}

// OverlapRow is one overlap opportunity: a kernel of one stage over all its
// launches. Ratios are to the sum of its durations, the share is to the busy time
// of the stage. Times of kernels that run at once on one stream are shared out
// among them (exclusive_us), so that they add up to busy time.
type OverlapRow struct {
	Stage          Stage        `json:"stage"`
	Priority       string       `json:"priority"` // P1 … P4
	Verdict        Verdict      `json:"verdict"`
	Kernel         string       `json:"kernel"`
	Category       kernel.Group `json:"category"`
	Class          kernel.Class `json:"class"`
	Launches       int          `json:"launches"`
	TotalUS        Nanos        `json:"total_us"`
	SharePct       float64      `json:"share_pct"`
	ExclusiveUS    float64      `json:"exclusive_us"`
	ExposedUS      Nanos        `json:"exposed_us"` // total − hidden
	HiddenUS       Nanos        `json:"hidden_us"`
	HiddenByUS     Nanos        `json:"hidden_by_compute_us"`
	ExclusiveRatio float64      `json:"exclusive_ratio"`
	HiddenRatio    float64      `json:"hidden_ratio"`
	With           []string     `json:"overlap_with"` // kernels that hide it, most time first
	DepRisk        Risk         `json:"dep_risk"`
	Recommendation string       `json:"recommendation"`
	Scope          string       `json:"python_scope"`
}

// The thresholds of the table. They are heuristics, not measurements.
// Source: BBuf/AI-Infra-Auto-Driven-SKILLS llm-torch-profiler-analysis,
// triage_overlap_helpers.py, as of 2026-05-02.
const (
	overlapMinNS      = 5_000 // a row's total
	overlapMinShare   = 1.0   // percent of the stage's busy time
	overlapRows       = 5     // of each verdict
	headroomExclusive = 0.45
	lowROIHidden      = 0.65
	tightShare        = 0.15 // of the kernel's duration
	tightMinNS        = 2_000
	tightMaxNS        = 20_000
	maxPartners       = 3
)

// groupWeight orders headroom rows: what pays most to hide comes first.
var groupWeight = map[kernel.Group]float64{
	kernel.GroupCommunication: 1.3, kernel.GroupMemory: 1.15, kernel.GroupElementwise: 1.0,
	kernel.GroupOther: 0.8, kernel.GroupCompute: 0.35,
}

// Overlap is the table of overlap opportunities with its summary. rows is the
// kernel table of the same timeline, every row of it.
func Overlap(tl *Timeline, rows []KernelRow) (OverlapSummary, []OverlapRow) {
	s := sweep(tl)
	cands := aggregate(tl, s)
	for i := range cands {
		cands[i].finish(s.busy[cands[i].stage])
	}
	cands = slices.DeleteFunc(cands, func(c candidate) bool { return c.total < overlapMinNS || c.share < overlapMinShare })
	picked := pick(cands)
	sites := sitesOf(rows)
	prev, next := neighbours(tl)
	out := make([]OverlapRow, 0, len(picked))
	for _, p := range picked {
		out = append(out, p.row(tl, risk(tl, p.rep, prev, next, sites), sites))
	}
	slices.SortStableFunc(out, func(a, b OverlapRow) int {
		return cmp.Or(cmp.Compare(slices.Index(Stages(), a.Stage), slices.Index(Stages(), b.Stage)), cmp.Compare(a.Priority, b.Priority))
	})
	return s.summary(tl), out
}

// candidate is one kernel of one stage with its times in nanoseconds.
type candidate struct {
	stage                  Stage
	name                   string
	class                  kernel.Class
	group                  kernel.Group
	launches               int
	total, hidden, hiddenC int64
	exclusive, share       float64
	byCount                shares
	partners               map[int32]int64 // name row → ns
	rep                    int             // index of Works
	repTime                float64
	verdict                Verdict
}

func aggregate(tl *Timeline, s *swept) []candidate {
	type key struct {
		stage Stage
		name  string
	}
	at := map[key]int{}
	var out []candidate
	for i := range tl.Works {
		w, t := &tl.Works[i], &s.times[i]
		n := &tl.Names[w.Name]
		k := key{w.Stage, n.Canonical}
		j, ok := at[k]
		if !ok {
			j = len(out)
			at[k] = j
			out = append(out, candidate{stage: w.Stage, name: n.Canonical, class: n.Class, group: n.Class.Group(), partners: map[int32]int64{}, repTime: -1})
		}
		c := &out[j]
		c.launches++
		c.total += w.Dur
		c.hidden += t.hidden
		c.hiddenC += t.hiddenByCompute
		c.byCount.addAll(t.exclusive)
		if own := float64(t.hidden) + t.exclusive.ns(); own > c.repTime {
			c.rep, c.repTime = i, own
		}
		for _, p := range t.partners {
			c.partners[p.name] += p.ns
		}
	}
	return out
}

// finish computes what depends on the sums. busy is the stage's, in ns.
func (c *candidate) finish(busy int64) {
	c.exclusive = c.byCount.ns()
	if busy > 0 {
		c.share = 100 * (c.exclusive + float64(c.hidden)) / float64(busy)
	}
}

func (c *candidate) ratio(ns float64) float64 { return ns / float64(c.total) }

// pick is the two lists, five of each, headroom first.
func pick(cands []candidate) []candidate {
	var out []candidate
	taken := map[*candidate]bool{}
	for _, stage := range Stages() {
		var compute, rest, hidden []*candidate
		for i := range cands {
			c := &cands[i]
			switch {
			case c.stage != stage:
			case c.ratio(c.exclusive) >= headroomExclusive && c.group == kernel.GroupCompute:
				compute = append(compute, c)
			case c.ratio(c.exclusive) >= headroomExclusive:
				rest = append(rest, c)
			}
		}
		for _, list := range [][]*candidate{compute, rest} {
			slices.SortStableFunc(list, func(a, b *candidate) int {
				return cmp.Or(-cmp.Compare(a.exclusive*groupWeight[a.group], b.exclusive*groupWeight[b.group]), cmp.Compare(a.name, b.name))
			})
		}
		for _, c := range first(append(rest, compute...), overlapRows) {
			taken[c] = true
			c.verdict = Headroom
			out = append(out, *c)
		}
		for i := range cands {
			c := &cands[i]
			if c.stage == stage && !taken[c] && (c.group == kernel.GroupElementwise || c.group == kernel.GroupMemory) && c.ratio(float64(c.hidden)) >= lowROIHidden {
				hidden = append(hidden, c)
			}
		}
		slices.SortStableFunc(hidden, func(a, b *candidate) int {
			return cmp.Or(-cmp.Compare(a.hiddenScore(), b.hiddenScore()), -cmp.Compare(a.ratio(float64(a.hidden)), b.ratio(float64(b.hidden))), cmp.Compare(a.name, b.name))
		})
		for _, c := range first(hidden, overlapRows) {
			c.verdict = LowROI
			out = append(out, *c)
		}
	}
	return out
}

func (c *candidate) hiddenScore() float64 {
	return float64(c.hidden) * (1 + float64(c.hiddenC)/float64(max(c.hidden, 1)))
}

func first[T any](list []T, n int) []T { return list[:min(n, len(list))] }

func (c *candidate) row(tl *Timeline, dep Risk, sites map[rowKey]rowSite) OverlapRow {
	r := OverlapRow{
		Stage: c.stage, Verdict: c.verdict, Kernel: c.name, Category: c.group, Class: c.class, Launches: c.launches,
		TotalUS: Nanos(c.total), SharePct: c.share, ExclusiveUS: c.exclusive / 1000, HiddenUS: Nanos(c.hidden), ExposedUS: Nanos(c.total - c.hidden),
		HiddenByUS: Nanos(c.hiddenC), ExclusiveRatio: c.ratio(c.exclusive), HiddenRatio: c.ratio(float64(c.hidden)), DepRisk: dep,
		With: c.partnerNames(tl), Scope: sites[rowKey{c.stage, c.name}].location,
	}
	switch {
	case c.verdict == LowROI:
		r.Priority, r.Recommendation = "P4", "skip"
	case dep != RiskLow:
		r.Priority, r.Recommendation = "P2", "check deps"
	case c.group == kernel.GroupCommunication:
		r.Priority, r.Recommendation = "P1", "try overlap"
	default:
		r.Priority, r.Recommendation = "P1", "try fusion"
	}
	return r
}

func (c *candidate) partnerNames(tl *Timeline) []string {
	byName := map[string]int64{}
	for p, ns := range c.partners {
		byName[tl.Names[p].Canonical] += ns
	}
	names := make([]string, 0, len(byName))
	for n := range byName {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(-cmp.Compare(byName[a], byName[b]), cmp.Compare(a, b))
	})
	return first(names, maxPartners)
}

// rowKey names a row of the kernel table.
type rowKey struct {
	stage Stage
	name  string
}

// rowSite is what a kernel row says of its source: path is "" where it is unresolved.
type rowSite struct{ location, path, op string }

var locationPath = regexp.MustCompile(`^(.*):\d+ `)

func sitesOf(rows []KernelRow) map[rowKey]rowSite {
	out := make(map[rowKey]rowSite, len(rows))
	for i := range rows {
		r := &rows[i]
		s := rowSite{location: r.Location, op: r.Op}
		if m := locationPath.FindStringSubmatch(r.Location); m != nil {
			s.path = m[1]
		}
		out[rowKey{r.Stage, r.Name}] = s
	}
	return out
}

// neighbours is, for each piece of work, the one before and the one after it on
// its stream; -1 without.
func neighbours(tl *Timeline) (prev, next []int32) {
	prev, next = make([]int32, len(tl.Works)), make([]int32, len(tl.Works))
	last := make([]int32, len(tl.Streams))
	for i := range last {
		last[i] = -1
	}
	for i := range tl.Works {
		s := tl.Works[i].Stream
		prev[i], next[i] = last[s], -1
		if last[s] >= 0 {
			next[last[s]] = int32(i)
		}
		last[s] = int32(i)
	}
	return prev, next
}

// risk says whether the work's neighbours on its stream look as if one needed
// the other: close in time, and of the same source or of a kind that usually
// feeds the other.
func risk(tl *Timeline, i int, prev, next []int32, sites map[rowKey]rowSite) Risk {
	out := RiskLow
	for _, j := range []int32{prev[i], next[i]} {
		if j < 0 || !tight(tl, i, int(j)) {
			continue
		}
		a, b := &tl.Works[i], &tl.Works[j]
		sa, sb := siteOf(tl, a, sites), siteOf(tl, b, sites)
		switch {
		case feeds(tl.Names[a.Name].Class.Group(), tl.Names[b.Name].Class.Group()):
			return RiskHigh
		case sa.path == "" || sb.path == "":
			out = RiskUnclear
		case sa.path == sb.path, sa.op == sb.op:
			return RiskHigh
		}
	}
	return out
}

func tight(tl *Timeline, i, j int) bool {
	a, b := &tl.Works[i], &tl.Works[j]
	gap := b.Start - a.End()
	if j < i {
		gap = a.Start - b.End()
	}
	limit := max(tightMinNS, min(tightMaxNS, int64(tightShare*float64(a.Dur))))
	return max(gap, 0) <= limit
}

// siteOf is what the table says of a work's row; work of a graph launch has no
// scope of its own.
func siteOf(tl *Timeline, w *Work, sites map[rowKey]rowSite) rowSite {
	s := sites[rowKey{w.Stage, tl.Names[w.Name].Canonical}]
	if w.Graph {
		s.path = ""
	}
	return s
}

// feeds reports whether work of group b beside work of group a usually depends on it.
func feeds(a, b kernel.Group) bool {
	switch a {
	case kernel.GroupCommunication:
		return b != kernel.GroupCommunication
	case kernel.GroupElementwise, kernel.GroupMemory:
		return b != kernel.GroupOther
	}
	return false
}
