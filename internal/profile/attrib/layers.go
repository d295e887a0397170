package attrib

import (
	"cmp"
	"slices"

	"llmdyno/internal/profile/kernel"
)

// LayerRow is one kernel of the repeated unit of a stage, at its place in it.
type LayerRow struct {
	Position int          `json:"position"` // from 0
	Kernel   string       `json:"kernel"`
	Class    kernel.Class `json:"class"`
	MeanUS   float64      `json:"mean_us"`
	SharePct float64      `json:"share_pct"` // of the unit
	Location string       `json:"location"`
}

// Layer is what a stage does again and again on one stream: as a rule one layer
// of the model. Units are cut before each kernel of the anchor; those whose
// kernels are the commonest sequence make the table.
type Layer struct {
	Stage    Stage   `json:"stage"`
	Anchor   string  `json:"anchor"`    // kernel that begins a unit
	Units    int     `json:"units"`     // with the commonest sequence
	Others   int     `json:"others"`    // units that differ (first, last, other kinds of layers)
	MeanUS   float64 `json:"mean_us"`   // busy time of a unit, sum of its kernels
	PeriodUS float64 `json:"period_us"` // start of a unit to the start of the next
	// CoverPct is the part of the stage's GPU time that lies in the listed units.
	CoverPct float64    `json:"cover_pct"`
	Rows     []LayerRow `json:"rows"`
}

const (
	minUnits      = 3 // a sequence is a repeat from this many on
	maxUnitLength = 400
)

// Layers finds the repeated unit of each stage. The anchor is the attention
// kernel that takes most time, or where there is none the kernel that takes most
// of it among those that come at least three times.
func Layers(tl *Timeline) []Layer {
	var out []Layer
	for _, stage := range Stages() {
		if l, ok := layer(tl, stage); ok {
			out = append(out, l)
		}
	}
	return out
}

func layer(tl *Timeline, stage Stage) (Layer, bool) {
	seq, total := busiestStream(tl, stage)
	anchor, ok := anchorOf(tl, seq)
	if !ok {
		return Layer{}, false
	}
	units := cut(tl, seq, anchor)
	unit, same := commonest(tl, units)
	if len(same) < minUnits || len(unit) < 2 {
		return Layer{}, false
	}
	l := Layer{Stage: stage, Anchor: anchor, Units: len(same), Others: len(units) - len(same)}
	var sum int64
	perPlace := make([]int64, len(unit))
	var starts []int64
	for _, u := range same {
		starts = append(starts, tl.Works[units[u][0]].Start)
		for at, i := range units[u] {
			perPlace[at] += tl.Works[i].Dur
			sum += tl.Works[i].Dur
		}
	}
	n := float64(len(same))
	l.MeanUS, l.CoverPct = float64(sum)/n/1000, share(sum, total)
	l.PeriodUS = float64(starts[len(starts)-1]-starts[0]) / float64(len(starts)-1) / 1000
	for at, i := range unit {
		name := &tl.Names[tl.Works[i].Name]
		l.Rows = append(l.Rows, LayerRow{Position: at, Kernel: name.Canonical, Class: name.Class, MeanUS: float64(perPlace[at]) / n / 1000,
			SharePct: share(perPlace[at], sum), Location: tl.Location(&tl.Works[i])})
	}
	return l, true
}

// busiestStream is the stage's work on the stream with most of it, and the GPU
// time of the whole stage.
func busiestStream(tl *Timeline, stage Stage) (seq []int32, total int64) {
	perStream := make([]int64, len(tl.Streams))
	for i := range tl.Works {
		if w := &tl.Works[i]; w.Stage == stage {
			perStream[w.Stream] += w.Dur
			total += w.Dur
		}
	}
	best := 0
	for s := range perStream {
		if perStream[s] > perStream[best] {
			best = s
		}
	}
	for i := range tl.Works {
		if w := &tl.Works[i]; w.Stage == stage && int(w.Stream) == best {
			seq = append(seq, int32(i))
		}
	}
	return seq, total
}

func anchorOf(tl *Timeline, seq []int32) (string, bool) {
	type sum struct {
		n         int
		ns        int64
		attention bool
	}
	sums := map[string]*sum{}
	for _, i := range seq {
		w := &tl.Works[i]
		name := &tl.Names[w.Name]
		s := sums[name.Canonical]
		if s == nil {
			s = &sum{attention: name.Class == kernel.Attention}
			sums[name.Canonical] = s
		}
		s.n++
		s.ns += w.Dur
	}
	best := ""
	before := func(a, b string) bool {
		x, y := sums[a], sums[b]
		if x.attention != y.attention {
			return x.attention
		}
		return cmp.Or(-cmp.Compare(x.ns, y.ns), cmp.Compare(a, b)) < 0
	}
	for name, s := range sums {
		if s.n >= minUnits && (best == "" || before(name, best)) {
			best = name
		}
	}
	return best, best != ""
}

// cut divides the sequence before each anchor; what stands before the first
// one is no unit.
func cut(tl *Timeline, seq []int32, anchor string) [][]int32 {
	var units [][]int32
	from := -1
	for at, i := range seq {
		if tl.Names[tl.Works[i].Name].Canonical != anchor {
			continue
		}
		if from >= 0 {
			units = append(units, seq[from:at])
		}
		from = at
	}
	if from >= 0 {
		units = append(units, seq[from:])
	}
	return slices.DeleteFunc(units, func(u []int32) bool { return len(u) > maxUnitLength })
}

// commonest is the first unit with the sequence of names that most units have,
// and which those are.
func commonest(tl *Timeline, units [][]int32) (unit []int32, same []int) {
	by := map[string][]int{}
	best := ""
	for u, works := range units {
		key := make([]byte, 0, 4*len(works))
		for _, i := range works {
			n := tl.Works[i].Name
			key = append(key, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
		}
		k := string(key)
		by[k] = append(by[k], u)
		if len(by[k]) > len(by[best]) {
			best = k
		}
	}
	if len(by[best]) == 0 {
		return nil, nil
	}
	return units[by[best][0]], by[best]
}
