package profile

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/fusion"
	"llmdyno/internal/profile/kernel"
)

// DiffSchemaVersion is the version of [Diff].
const DiffSchemaVersion = 1

// Diff says where two profiles differ: of two engines, two commits, two ranks.
// Times are microseconds in JSON and stand for one unit of [StageDiff.Basis]; a
// delta is B − A, so that a positive one is time that B spends more. They are
// whole nanoseconds at the leaves, and every sum is the sum of its leaves: what
// makes up a difference adds up to it exactly.
type Diff struct {
	SchemaVersion int         `json:"schema_version"`
	Summary       string      `json:"summary"` // one sentence
	A             Compared    `json:"a"`
	B             Compared    `json:"b"`
	Stages        []StageDiff `json:"stages"` // in the order of [attrib.Stages]
	Warnings      []string    `json:"warnings"`
	// Threshold is the bar that was asked for, in percent, and Slower are the
	// stages in which B is above it.
	Threshold *float64       `json:"threshold_pct,omitempty"`
	Slower    []attrib.Stage `json:"slower"`
}

// Compared is one side of a diff.
type Compared struct {
	Label     string       `json:"label"` // as it was asked for
	Framework string       `json:"framework"`
	Model     string       `json:"model,omitempty"`
	Device    string       `json:"device,omitempty"`
	Rank      string       `json:"rank,omitempty"`
	GPUPID    string       `json:"gpu_pid"`
	TP        int          `json:"tp,omitempty"` // 0 = unknown
	Sources   []string     `json:"sources"`      // trace files
	GPU       attrib.Nanos `json:"gpu_total_us"` // Σ of all durations, of the whole recording
}

// Basis is what the times of a stage are divided by.
type Basis string

// The bases, best first.
const (
	BasisDeclared Basis = "declared" // forward passes, as many as the caller says
	BasisStep     Basis = "step"     // forward passes that the traces mark
	BasisLayer    Basis = "layer"    // repeated units: as a rule layers of the model
	BasisTrace    Basis = "trace"    // nothing: the whole recording
)

// StageDiff compares one stage.
type StageDiff struct {
	Stage attrib.Stage `json:"stage"`
	// In is "both", "a" or "b": who has work of this stage. Of a stage that only one
	// has the figures stand, and nothing is compared.
	In    string `json:"in"`
	Basis Basis  `json:"basis"`
	Note  string `json:"basis_note"` // why this basis, in words

	A StageSide `json:"a"`
	B StageSide `json:"b"`
	// Delta is the difference of the times of a unit, busy and idle.
	Delta    attrib.Nanos `json:"delta_us"`
	DeltaPct *float64     `json:"delta_pct,omitempty"` // of A; absent where A has none

	// Contributions are what makes up Delta, largest first: classes of kernels, less
	// the time that they ran side by side, and idle time by cause. Their deltas add
	// up to Delta.
	Contributions []Contribution `json:"contributions"`
	// Kernels are the kernels behind the classes, matched, by size of the
	// difference. Their deltas add up to those of the classes.
	Kernels []KernelDiff `json:"kernels"`
	// Fusions are those that are on in one side only.
	Fusions []FusionDiff `json:"fusions"`
}

// StageSide are the figures of one stage of one side, for one unit but for Units.
type StageSide struct {
	Units int          `json:"units"` // that the stage was divided by
	Time  attrib.Nanos `json:"time_us"`
	// Time = Σ of the durations − Overlapped + Idle, and Busy = Time − Idle.
	Total      attrib.Nanos `json:"total_us"`
	Overlapped attrib.Nanos `json:"overlapped_us"` // counted more than once in Total: work of several streams at a time
	Busy       attrib.Nanos `json:"busy_us"`
	Idle       attrib.Nanos `json:"idle_us"` // before work of this stage
	// HostBound is the part of Idle in which the device waited for the host: a late
	// launch, or a launch after the host had waited for the device or a copy.
	HostBound attrib.Nanos `json:"host_bound_us"`
	// Exposed is time of collectives with no other stream at work.
	Exposed  attrib.Nanos `json:"exposed_communication_us"`
	Launches float64      `json:"launches"` // kernels, copies and fills
	// Requests and Tokens are means of what the step marks say of their batches; 0
	// where they do not.
	Requests float64 `json:"requests,omitempty"`
	Tokens   float64 `json:"tokens,omitempty"`
}

// Kinds of contributions.
const (
	KindKernels = "kernels" // What is a class
	KindOverlap = "overlap" // time counted more than once, negative
	KindIdle    = "idle"    // What is a cause, or [IdleSmall]
)

// IdleSmall are gaps too short to have a cause.
const IdleSmall = "dispatch"

// Contribution is one part of a difference.
type Contribution struct {
	Kind     string       `json:"kind"`
	What     string       `json:"what"`
	A        attrib.Nanos `json:"a_us"`
	B        attrib.Nanos `json:"b_us"`
	Delta    attrib.Nanos `json:"delta_us"`
	Share    *float64     `json:"share_pct,omitempty"` // of the stage's difference; absent where there is none
	ALaunch  float64      `json:"a_launches,omitempty"`
	BLaunch  float64      `json:"b_launches,omitempty"`
	Location string       `json:"location,omitempty"` // of idle time, where most of it is on the side that has more
}

// Match says how kernels of two sides were found to do the same work.
type Match string

// The matches, strongest first.
const (
	MatchName   Match = "name"          // the same canonical name
	MatchShape  Match = "shape"         // same class, work, data types and tile
	MatchFamily Match = "family"        // same class, same name but for numbers
	MatchClass  Match = "class"         // the only kernel of its class that is left on either side
	MatchRest   Match = "below the bar" // what a document sums up without names
	MatchOnlyA  Match = "only a"
	MatchOnlyB  Match = "only b"
)

// KernelDiff are kernels of one class that do the same work.
type KernelDiff struct {
	Match Match        `json:"match"`
	Class kernel.Class `json:"category"`
	A     *KernelSide  `json:"a,omitempty"`
	B     *KernelSide  `json:"b,omitempty"`
	Delta attrib.Nanos `json:"delta_us"`
	Share *float64     `json:"share_pct,omitempty"` // of the stage's difference; absent where there is none
}

// KernelSide are the kernels of one side, for one unit.
type KernelSide struct {
	Names     []string     `json:"names"` // canonical, most time first
	Short     []string     `json:"short_names"`
	Total     attrib.Nanos `json:"total_us"`
	Launches  float64      `json:"launches"`
	Mean      attrib.Nanos `json:"mean_us"`   // of a launch
	Locations []string     `json:"locations"` // of the kernels, each once
}

// FusionDiff is a fusion that is on in one side and not in the other.
type FusionDiff struct {
	What  string      `json:"what"`  // what it fuses: the same for the patterns of two engines
	Lacks string      `json:"lacks"` // "a" or "b"
	A     *FusionSide `json:"a,omitempty"`
	B     *FusionSide `json:"b,omitempty"`
}

// FusionSide is what one side shows of a fusion; nil in [FusionDiff]: nothing.
type FusionSide struct {
	State       fusion.State `json:"state"`
	Patterns    []string     `json:"patterns"`
	Name        string       `json:"name"`
	Related     attrib.Nanos `json:"related_us"` // for one unit
	Occurrences float64      `json:"occurrences"`
	Toggle      string       `json:"toggle,omitempty"`
	Locations   []string     `json:"locations"`
}

// DiffOptions say how two profiles are compared.
type DiffOptions struct {
	// ASteps and BSteps are the forward passes in each stage; 0 = told by the traces.
	ASteps, BSteps int
	// Threshold is by how many percent B may be slower; nil = no bar.
	Threshold *float64
	// Catalog is what findings are of; nil is the built-in one.
	Catalog *fusion.Catalog
}

// DiffSide is a document with the tables of it that are compared.
type DiffSide struct {
	Label    string
	Document *Document
	Tables   *Tables // nil: those of the document itself
}

func (s DiffSide) tables() *Tables {
	if s.Tables != nil {
		return s.Tables
	}
	return &s.Document.Tables
}

func (s DiffSide) compared() Compared {
	t := s.tables()
	return Compared{Label: s.Label, Framework: s.Document.Framework, Model: s.Document.Model, Device: t.Device, Rank: t.Rank, GPUPID: t.GPUPID,
		TP: s.Document.TP.Size, Sources: append([]string{}, t.Sources...), GPU: t.GPUEvents.Total}
}

// Compare says where two profiles differ.
func Compare(a, b DiffSide, o DiffOptions) (*Diff, error) {
	if o.Catalog == nil {
		var err error
		if o.Catalog, err = fusion.Load(); err != nil {
			return nil, err
		}
	}
	d := &Diff{SchemaVersion: DiffSchemaVersion, A: a.compared(), B: b.compared(), Stages: []StageDiff{}, Warnings: []string{}, Threshold: o.Threshold, Slower: []attrib.Stage{}}
	for _, stage := range attrib.Stages() {
		x, y := gather(a.tables(), stage), gather(b.tables(), stage)
		if x.launches == 0 && y.launches == 0 {
			continue
		}
		s := compareStage(stage, x, y, o)
		s.Fusions = compareFusions(o.Catalog, a, b, s)
		d.Stages = append(d.Stages, s)
	}
	d.warn(a, b)
	d.judge()
	d.Summary = d.summarise()
	return d, nil
}

// compareStage divides both sides and sets them side by side.
func compareStage(stage attrib.Stage, x, y *stageData, o DiffOptions) StageDiff {
	s := StageDiff{Stage: stage, In: "both", Contributions: []Contribution{}, Kernels: []KernelDiff{}, Fusions: []FusionDiff{}}
	s.Basis, s.Note = divide(x, y, o)
	switch {
	case y.launches == 0:
		s.In = "a"
	case x.launches == 0:
		s.In = "b"
	}
	s.A, s.B = x.side(), y.side()
	if s.In != "both" {
		return s
	}
	s.Delta = s.B.Time - s.A.Time
	if s.A.Time > 0 {
		pct := 100 * float64(s.Delta) / float64(s.A.Time)
		s.DeltaPct = &pct
	}
	s.Contributions = contributions(x, y, s.Delta)
	s.Kernels = matchKernels(x, y, s.Delta)
	return s
}

func contributions(x, y *stageData, delta attrib.Nanos) []Contribution {
	type key struct{ kind, what string }
	at := map[key]int{}
	var out []Contribution
	get := func(l *leaf) *Contribution {
		k := key{l.kind, l.what}
		i, known := at[k]
		if !known {
			i = len(out)
			at[k] = i
			out = append(out, Contribution{Kind: l.kind, What: l.what})
		}
		return &out[i]
	}
	for i := range x.leaves {
		c := get(&x.leaves[i])
		c.A += x.leaves[i].unit
		c.ALaunch += x.per(x.leaves[i].launches)
	}
	for i := range y.leaves {
		c := get(&y.leaves[i])
		c.B += y.leaves[i].unit
		c.BLaunch += y.per(y.leaves[i].launches)
	}
	for i := range out {
		c := &out[i]
		c.Delta = c.B - c.A
		c.Share = shareOf(c.Delta, delta)
		if c.Kind == KindIdle {
			more := x
			if c.B > c.A {
				more = y
			}
			c.Location = more.idleAt[c.What]
		}
	}
	slices.SortFunc(out, func(a, b Contribution) int {
		return cmp.Or(-cmp.Compare(abs(a.Delta), abs(b.Delta)), -cmp.Compare(max(abs(a.A), abs(a.B)), max(abs(b.A), abs(b.B))), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.What, b.What))
	})
	return out
}

func abs(n attrib.Nanos) attrib.Nanos { return max(n, -n) }

// shareOf is a part of a difference in percent; nil where there is no difference.
func shareOf(part, whole attrib.Nanos) *float64 {
	if whole == 0 {
		return nil
	}
	pct := 100 * float64(part) / float64(whole)
	return &pct
}

// judgedShare is the part of the GPU time, in percent, that a stage must have on
// both sides for the threshold to be about it.
const judgedShare = 1

// judge names the stages in which B is slower than the bar allows.
func (d *Diff) judge() {
	if d.Threshold == nil {
		return
	}
	for i := range d.Stages {
		s := &d.Stages[i]
		if s.In == "both" && s.DeltaPct != nil && *s.DeltaPct > *d.Threshold && d.matters(s) {
			d.Slower = append(d.Slower, s.Stage)
		}
	}
}

func (d *Diff) matters(s *StageDiff) bool {
	part := func(side StageSide, whole attrib.Nanos) float64 {
		return 100 * float64(side.Total) * float64(side.Units) / math.Max(float64(whole), 1)
	}
	return part(s.A, d.A.GPU) >= judgedShare && part(s.B, d.B.GPU) >= judgedShare
}

// sameSize is by how much two batches may differ and count as equal.
const sameSize = 0.05

// warn says what stands in the way of comparing.
func (d *Diff) warn(a, b DiffSide) {
	warnf := func(format string, args ...any) { d.Warnings = append(d.Warnings, fmt.Sprintf(format, args...)) }
	for i := range d.Stages {
		s := &d.Stages[i]
		if s.In != "both" {
			warnf("only %s has work of stage %s: nothing to compare it with", strings.ToUpper(s.In), s.Stage)
			continue
		}
		if s.Basis == BasisLayer || s.Basis == BasisTrace {
			warnf("%s is not counted by steps: %s", s.Stage, s.Note)
		}
		if unequal(s.A.Tokens, s.B.Tokens) {
			warnf("steps of %s are not of one size: %.0f tokens in A, %.0f in B", s.Stage, s.A.Tokens, s.B.Tokens)
		}
		if unequal(s.A.Requests, s.B.Requests) {
			warnf("steps of %s are not of one size: %.0f requests in A, %.0f in B", s.Stage, s.A.Requests, s.B.Requests)
		}
	}
	for _, side := range []struct {
		name string
		DiffSide
	}{{"A", a}, {"B", b}} {
		t := side.tables()
		if r := t.GPUEvents.Residue; r.Total > t.GPUEvents.Total/100 {
			warnf("%s: %.1f %% of the GPU time was launched before recording began; the figures count it", side.name, 100*float64(r.Total)/float64(t.GPUEvents.Total))
		}
		if t == &side.Document.Tables && len(side.Document.Others) > 0 {
			warnf("%s: the first of %d ranks or GPUs is compared; name another to compare that", side.name, 1+len(side.Document.Others))
		}
		for _, in := range side.Document.Inputs {
			if in.Partial != "" {
				warnf("%s: %s is not whole: %s", side.name, in.Path, in.Partial)
			}
		}
	}
	for _, pair := range [][3]string{{"models", d.A.Model, d.B.Model}, {"GPUs", d.A.Device, d.B.Device}} {
		if pair[1] != pair[2] && pair[1] != "" && pair[2] != "" {
			warnf("the %s differ: %s and %s", pair[0], pair[1], pair[2])
		}
	}
	if d.A.TP != d.B.TP && d.A.TP > 0 && d.B.TP > 0 {
		warnf("the tensor-parallel sizes differ: %d and %d", d.A.TP, d.B.TP)
	}
}

func unequal(a, b float64) bool {
	return a > 0 && b > 0 && math.Abs(a-b) > sameSize*math.Max(a, b)
}

// equalPct is the difference below which the summary calls two times equal.
const equalPct = 1

// summarise is one sentence on the difference of each stage.
func (d *Diff) summarise() string {
	var clauses []string
	for i := range d.Stages {
		if s := &d.Stages[i]; s.In == "both" && d.matters(s) {
			clauses = append(clauses, s.words())
		}
	}
	if len(clauses) == 0 {
		return "A and B have no stage in common that has at least 1 % of the GPU time of both."
	}
	return strings.Join(clauses, "; ") + "."
}

func (s *StageDiff) words() string {
	times := fmt.Sprintf("(%s to %s ms %s)", millis3(s.A.Time), millis3(s.B.Time), s.Basis.words())
	switch {
	case s.DeltaPct == nil:
		return fmt.Sprintf("%s of A takes no time %s", s.Stage, times)
	case math.Abs(*s.DeltaPct) < equalPct:
		return fmt.Sprintf("%s takes B as long as A %s", s.Stage, times)
	}
	text := fmt.Sprintf("%s takes B %.1f %% %s than A %s", s.Stage, math.Abs(*s.DeltaPct), plural(btoi(*s.DeltaPct > 0), "longer", "less"), times)
	var parts []string
	for _, c := range s.Contributions {
		if len(parts) < 2 && (c.Delta > 0) == (s.Delta > 0) && abs(c.Delta)*10 >= abs(s.Delta) {
			parts = append(parts, fmt.Sprintf("%s %+.3f ms", c.Words(), float64(c.Delta)/1e6))
		}
	}
	if len(parts) > 0 {
		text += ", mostly " + strings.Join(parts, " and ")
	}
	return text
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func millis3(n attrib.Nanos) string { return fmt.Sprintf("%.3f", float64(n)/1e6) }

func (b Basis) words() string {
	switch b {
	case BasisLayer:
		return "a repeated unit"
	case BasisTrace:
		return "in the whole trace"
	}
	return "a step"
}

// Words names the contribution in a sentence.
func (c Contribution) Words() string {
	switch c.Kind {
	case KindIdle:
		return "idle (" + c.What + ")"
	case KindOverlap:
		return "work side by side"
	}
	return c.What
}
