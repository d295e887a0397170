package result

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// DefaultNoiseBand is the relative difference within which two rows that were
// measured once each are a tie where no repeats of the baseline tell the noise. Six identical runs of one server
// spread by 6.9 % (± 4.6 % for a single run) in 0xBakeer/qwen38-flash-next-spark
// #6, 2026-08-29; an independent run on another engine found 6.5 %.
const DefaultNoiseBand = 0.05

// Options steer a comparison.
type Options struct {
	// NoiseBand replaces DefaultNoiseBand; 0 = the default, negative = none, so
	// that only equal figures tie.
	NoiseBand float64
	// Threshold is the relative difference that matters; 0 = DefaultThreshold,
	// negative = none.
	Threshold float64
}

func (o Options) band() float64 {
	switch {
	case o.NoiseBand == 0:
		return DefaultNoiseBand
	case o.NoiseBand < 0:
		return 0
	}
	return o.NoiseBand
}

// The outcomes of an entry.
const (
	OutcomeWinner     = "winner"     // best of its class
	OutcomePassed     = "passed"     // ran and met the SLA
	OutcomeSLAFailed  = "sla_failed" // ran and missed the SLA
	OutcomeFailed     = "failed"     // did not run to its end, or was not tried
	OutcomeSuperseded = "superseded" // measured again later; the later row counts
)

// Comparison is what a set of rows says.
type Comparison struct {
	SchemaVersion int       `json:"schema_version"`
	Rule          string    `json:"rule"`       // how rows are ranked, in words
	NoiseBand     float64   `json:"noise_band"` // assumed between single measurements where no repeats tell
	Threshold     float64   `json:"threshold"`  // relative difference that matters
	Simulated     int       `json:"simulated_rows"`
	Smoke         int       `json:"smoke_rows"`
	Warnings      []Warning `json:"warnings"`
	Classes       []Class   `json:"classes"`
	// Entries is every row, best first in upstream's order over all classes;
	// superseded ones come last.
	Entries []Entry `json:"entries"`
	// Failed and Superseded are indexes into Entries.
	Failed     []int `json:"failed"`
	Superseded []int `json:"superseded"`
}

// Class is a set of rows that may be ranked against each other.
type Class struct {
	Key        ClassKey `json:"key"`
	Label      string   `json:"label"`      // short, unique in the comparison
	Conditions string   `json:"conditions"` // all of the key, in words
	SLA        string   `json:"sla"`        // the limits that its rows share, in words; "" = they differ, or there are none
	Verdict    string   `json:"verdict"`    // who is best and why, or why nobody is
	// Noise is what repeats of the baselines say; nil = none were measured.
	Noise *Noise `json:"noise,omitempty"`
	// The following are indexes into Comparison.Entries.
	Frameworks []FrameworkRanking `json:"frameworks"` // in the order of their best; only those with a passing row
	Tied       []int              `json:"tied"`       // rows that noise cannot tell apart at the top, the winner first
	Failed     []int              `json:"failed"`
}

// FrameworkRanking is the passing rows of one engine in a class, best first.
type FrameworkRanking struct {
	Framework string `json:"framework"`
	Ranked    []int  `json:"ranked"`
}

// Entry is a row with its place.
type Entry struct {
	Row     Row    `json:"row"`
	Name    string `json:"name"`  // the candidate, with its run where the id alone is not unique
	Class   int    `json:"class"` // index into Comparison.Classes
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"` // why it did not pass
	// Rank is the place in the class; rows tied at the top share 1; 0 = none.
	Rank int  `json:"rank,omitempty"`
	Tied bool `json:"tied,omitempty"` // noise cannot tell it from the best
	// Delta is the request throughput relative to the winner's, -0.1 = 10 % less.
	Delta *float64 `json:"delta,omitempty"`
	// Versus is the same difference with what it is worth; nil for the winner and
	// where there is none.
	Versus *Difference `json:"versus,omitempty"`
	PerGPU PerGPU      `json:"per_gpu"`
	// Spread is the range over the repeats of the chosen load point.
	Spread *Spread `json:"spread,omitempty"`
	// SupersededBy is the index of the later row of the same candidate; -1 = none.
	SupersededBy int `json:"superseded_by"`
	// Earlier are the indexes of earlier attempts that this row replaces.
	Earlier []int `json:"earlier,omitempty"`
}

// PerGPU are throughputs over the number of GPUs; nil where that is unknown or 0.
type PerGPU struct {
	RequestThroughput     *float64 `json:"request_throughput,omitempty"`
	OutputTokenThroughput *float64 `json:"output_token_throughput,omitempty"`
	TotalTokenThroughput  *float64 `json:"total_token_throughput,omitempty"`
}

// Spread is a range of request throughput over repeats.
type Spread struct {
	N   int     `json:"n"`
	Min float64 `json:"min"`
	Max float64 `json:"max"`
}

// Passed says whether the row ran and met its SLA.
func (e Entry) Passed() bool { return e.Outcome == OutcomeWinner || e.Outcome == OutcomePassed }

// Winners counts the classes that have one.
func (c Comparison) Winners() int {
	n := 0
	for _, k := range c.Classes {
		if _, ok := k.Winner(); ok {
			n++
		}
	}
	return n
}

// Winner is the index of the best entry of a class.
func (k Class) Winner() (int, bool) {
	if len(k.Tied) == 0 {
		return 0, false
	}
	return k.Tied[0], true
}

// FrameworkNames are the engines of the comparison in alphabetical order.
func (c Comparison) FrameworkNames() []string {
	var names []string
	for _, e := range c.Entries {
		if !slices.Contains(names, e.Row.Framework) {
			names = append(names, e.Row.Framework)
		}
	}
	slices.Sort(names)
	return names
}

// Best are the best entries of one engine, one a class that it passed in.
func (c Comparison) Best(framework string) []int {
	var out []int
	for _, k := range c.Classes {
		for _, f := range k.Frameworks {
			if f.Framework == framework {
				out = append(out, f.Ranked[0])
			}
		}
	}
	return out
}

// RunnersUp are the passing entries that are not the best of their engine in
// their class.
func (c Comparison) RunnersUp() []int {
	var out []int
	for _, k := range c.Classes {
		for _, f := range k.Frameworks {
			out = append(out, f.Ranked[1:]...)
		}
	}
	return out
}

// Rows gives the row of each entry.
func (c Comparison) Rows() []Row {
	rows := make([]Row, len(c.Entries))
	for i, e := range c.Entries {
		rows[i] = e.Row
	}
	return rows
}

// Compare judges rows anew by their own limits, ranks those that may be ranked
// against each other, and says what a reader must know. It does not change the
// rows. Their order counts for one thing only: of two rows of the same candidate
// under the same conditions the later one stands, by time where both tell it.
func Compare(rows []Row, o Options) Comparison {
	b := &comparer{band: o.band(), threshold: o.threshold(), classes: []Class{}, noises: map[string]classNoise{}}
	b.judge(rows)
	b.supersede()
	b.order()
	b.classify()
	c := Comparison{SchemaVersion: SchemaVersion, NoiseBand: b.band, Threshold: b.threshold, Rule: b.rule(), Entries: b.entries, Classes: b.classes}
	b.failed(&c)
	for i := range c.Classes {
		b.rank(i)
		if n, _, ok := b.noise(i, byThroughput); ok {
			c.Classes[i].Noise = &n
		}
		c.Classes[i].Verdict = b.verdict(c.Classes[i])
	}
	c.Warnings = b.allWarnings(&c)
	return c
}

// comparer carries what the steps share.
type comparer struct {
	band      float64
	threshold float64
	noises    map[string]classNoise
	entries   []Entry
	keys      []ClassKey // of each entry's row
	classes   []Class
	members   [][]int // of each class: indexes of its entries, best first
}

// judge makes the entries with a fresh verdict each.
func (b *comparer) judge(rows []Row) {
	b.entries, b.keys = make([]Entry, len(rows)), make([]ClassKey, len(rows))
	for i, r := range rows {
		e := &b.entries[i]
		r.Workload.Scenario = cmp.Or(strings.ToLower(strings.TrimSpace(r.Workload.Scenario)), r.Workload.Kind, "default")
		r.Warnings = slices.Clone(r.Warnings)
		*e = Entry{Row: r, Name: nameOf(r), SupersededBy: -1, PerGPU: perGPU(r), Spread: spreadOf(r)}
		b.outcome(e)
		b.keys[i] = keyOf(r)
	}
}

func (b *comparer) outcome(e *Entry) {
	r := &e.Row
	if r.Status != StatusOK {
		e.Outcome, e.Reason = OutcomeFailed, cmp.Or(r.FailureReason, "no reason given")
		r.SLA.Passed = ptr(false)
		return
	}
	recorded := r.SLA.Passed
	if invalid := r.invalid(); r.SLA.Any() || invalid != "" || r.Equivalence.failed() {
		r.SLA.Judge(r.Metrics)
		if r.Equivalence.failed() {
			r.SLA.Passed, r.SLA.Violations = ptr(false), append(r.SLA.Violations, "it cannot win: "+r.Equivalence.Reason)
		}
		if invalid != "" {
			r.SLA.Passed, r.SLA.Violations = ptr(false), append(r.SLA.Violations, "the measurement is not valid: "+invalid)
		}
		if recorded != nil && *recorded != *r.SLA.Passed {
			r.Warnings = append(r.Warnings, Warning{"verdict-overruled", fmt.Sprintf("recorded as %s, but by its own figures and limits it %s", passWord(*recorded), cmp.Or(strings.Join(r.SLA.Violations, "; "), "meets every limit"))})
		}
	}
	switch {
	case r.SLA.Passed != nil && *r.SLA.Passed:
		e.Outcome = OutcomePassed
	case r.SLA.Any() || recorded != nil || r.SLA.Passed != nil:
		e.Outcome, e.Reason = OutcomeSLAFailed, cmp.Or(strings.Join(r.SLA.Violations, "; "), "recorded as failed; the row states no limits")
	default:
		e.Outcome, e.Reason = OutcomeSLAFailed, "not judged: the row has neither limits nor a verdict (sla.passed)"
	}
}

// invalid says why the chosen measurement cannot be trusted; "" = it can.
func (r *Row) invalid() string {
	if at := slices.IndexFunc(r.Points, func(p Point) bool { return p.Chosen }); at >= 0 {
		return r.Points[at].Invalid
	}
	return ""
}

func passWord(passed bool) string {
	if passed {
		return "passed"
	}
	return "failed"
}

func nameOf(r Row) string {
	return cmp.Or(r.CandidateID, r.Framework+" (no candidate id)")
}

func perGPU(r Row) PerGPU {
	n := r.Hardware.GPUCount
	if n == nil || *n < 1 {
		return PerGPU{}
	}
	share := func(p *float64) *float64 {
		if x, ok := figure(p); ok {
			return ptr(x / float64(*n))
		}
		return nil
	}
	m := r.Metrics
	return PerGPU{share(m.RequestThroughput), share(m.OutputTokenThroughput), share(m.TotalTokenThroughput)}
}

// spreadOf looks at the repeats of the chosen load point; nil when there are
// fewer than two.
func spreadOf(r Row) *Spread {
	at := slices.IndexFunc(r.Points, func(p Point) bool { return p.Chosen })
	if at < 0 {
		return nil
	}
	chosen := r.Points[at]
	s := &Spread{}
	for _, p := range r.Points {
		x, ok := figure(p.Metrics.RequestThroughput)
		if !ok || p.Status != StatusOK || p.Invalid != "" || !same(p.RequestRate, chosen.RequestRate) || !same(p.MaxConcurrency, chosen.MaxConcurrency) {
			continue
		}
		if s.N == 0 {
			s.Min, s.Max = x, x
		}
		s.N, s.Min, s.Max = s.N+1, min(s.Min, x), max(s.Max, x)
	}
	if s.N < 2 {
		return nil
	}
	return s
}

func same[T comparable](a, b *T) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// supersede marks earlier rows of a candidate under the same conditions.
func (b *comparer) supersede() {
	groups := map[string][]int{}
	var keys []string
	for i, e := range b.entries {
		id := attemptKey(e.Row)
		if id == "" {
			continue
		}
		if groups[id] == nil {
			keys = append(keys, id)
		}
		groups[id] = append(groups[id], i)
	}
	for _, key := range keys {
		b.supersedeIn(groups[key])
	}
}

// attemptKey is what two rows of one candidate share; "" = cannot be told.
func attemptKey(r Row) string {
	if r.CandidateID == "" && r.ServerCommand == "" {
		return ""
	}
	return strings.Join([]string{r.RunID, r.Framework, r.CandidateID, r.Model, r.Workload.Scenario, fmt.Sprint(r.Simulated, r.Smoke)}, "\x00")
}

func (b *comparer) supersedeIn(group []int) {
	slices.SortStableFunc(group, func(i, j int) int {
		a, c := b.entries[i].Row.MeasuredAt, b.entries[j].Row.MeasuredAt
		if a == "" || c == "" {
			return 0
		}
		return strings.Compare(a, c) // RFC 3339 in UTC sorts by text
	})
	for n, i := range group {
		for _, later := range slices.Backward(group[n+1:]) {
			if b.sameAttempt(i, later) {
				b.entries[i].Outcome, b.entries[i].SupersededBy = OutcomeSuperseded, later
				b.entries[i].Rank = 0
				break
			}
		}
	}
}

// sameAttempt says whether nothing that both rows tell sets them apart.
func (b *comparer) sameAttempt(i, later int) bool {
	x, y := &b.entries[i].Row, &b.entries[later].Row
	if !b.keys[i].compatible(b.keys[later], x.Status != StatusOK || y.Status != StatusOK) {
		return false
	}
	for _, pair := range [][2]string{
		{x.ServerCommand, y.ServerCommand}, {x.FrameworkVersion, y.FrameworkVersion}, {x.FrameworkCommit, y.FrameworkCommit},
		{x.Image, y.Image}, {x.Hardware.Driver, y.Hardware.Driver}, {x.Hardware.Host, y.Hardware.Host},
	} {
		if pair[0] != "" && pair[1] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return true
}

// order sorts the entries by upstream's rule and carries the links over.
func (b *comparer) order() {
	perm := make([]int, len(b.entries))
	for i := range perm {
		perm[i] = i
	}
	slices.SortStableFunc(perm, func(i, j int) int { return strict(&b.entries[i], &b.entries[j]) })
	place := make([]int, len(perm))
	sorted, keys := make([]Entry, len(perm)), make([]ClassKey, len(perm))
	for at, i := range perm {
		place[i], sorted[at], keys[at] = at, b.entries[i], b.keys[i]
	}
	b.entries, b.keys = sorted, keys
	for i := range b.entries {
		if later := b.entries[i].SupersededBy; later >= 0 {
			b.entries[i].SupersededBy = place[later]
			b.entries[place[later]].Earlier = append(b.entries[place[later]].Earlier, i)
		}
	}
	b.names()
}

// names adds the run to candidates whose id alone is not unique.
func (b *comparer) names() {
	runs := map[string][]string{}
	for _, e := range b.entries {
		if key := e.Row.Framework + "\x00" + e.Name; !slices.Contains(runs[key], e.Row.RunID) {
			runs[key] = append(runs[key], e.Row.RunID)
		}
	}
	for i := range b.entries {
		e := &b.entries[i]
		if len(runs[e.Row.Framework+"\x00"+nameOf(e.Row)]) > 1 {
			e.Name = nameOf(e.Row) + " @ " + cmp.Or(e.Row.RunID, "(no run id)")
		}
	}
}

// classify puts every entry into a class. A row that did not run may lack
// conditions: it joins the first class that it does not contradict.
func (b *comparer) classify() {
	ran := map[ClassKey]bool{}
	for i, e := range b.entries {
		if e.Row.Status == StatusOK {
			ran[b.keys[i]] = true
		}
	}
	keys := slices.SortedFunc(maps.Keys(ran), ClassKey.compare)
	home, known := slices.Clone(b.keys), maps.Clone(ran)
	for i, k := range home {
		if ran[k] {
			continue
		}
		if at := slices.IndexFunc(keys, func(o ClassKey) bool { return o.compatible(k, true) }); at >= 0 {
			home[i] = keys[at]
		}
		known[home[i]] = true
	}
	place := map[ClassKey]int{}
	for i, k := range slices.SortedFunc(maps.Keys(known), ClassKey.compare) {
		place[k] = i
		b.classes = append(b.classes, Class{Key: k, Conditions: k.conditions(), Frameworks: []FrameworkRanking{}, Tied: []int{}, Failed: []int{}})
	}
	label(b.classes)
	b.members = make([][]int, len(b.classes))
	for i := range b.entries {
		at := place[home[i]]
		b.entries[i].Class = at
		b.members[at] = append(b.members[at], i)
	}
	for i := range b.classes {
		b.classes[i].SLA = b.sharedLimits(i)
	}
}

// sharedLimits are the limits of a class in words, if all its rows have the
// same.
func (b *comparer) sharedLimits(class int) string {
	var first *Row
	for _, i := range b.members[class] {
		r := &b.entries[i].Row
		if b.entries[i].Outcome == OutcomeSuperseded {
			continue
		}
		if first == nil {
			first = r
		}
		if limitsText(*first) != limitsText(*r) {
			return ""
		}
	}
	if first == nil {
		return ""
	}
	return first.SLA.Words()
}

func (b *comparer) failed(c *Comparison) {
	c.Failed, c.Superseded = []int{}, []int{}
	for i, e := range b.entries {
		if e.Row.Simulated {
			c.Simulated++
		}
		if e.Row.Smoke {
			c.Smoke++
		}
		switch e.Outcome {
		case OutcomeSuperseded:
			c.Superseded = append(c.Superseded, i)
		case OutcomeFailed, OutcomeSLAFailed:
			c.Failed = append(c.Failed, i)
			k := &c.Classes[e.Class]
			k.Failed = append(k.Failed, i)
		}
	}
	byPlace := func(i, j int) int {
		a, z := &b.entries[i], &b.entries[j]
		return cmp.Or(a.Class-z.Class, strings.Compare(a.Row.Framework, z.Row.Framework), strings.Compare(a.Name, z.Name), i-j)
	}
	slices.SortFunc(c.Failed, byPlace)
	slices.SortFunc(c.Superseded, byPlace)
}
