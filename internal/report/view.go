package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"llmdyno/internal/bench/result"
)

// The sections that upstream's reports have, by its own titles
// (compare_benchmark_results.py @afb306eb), and one of ours.
const (
	titleReport     = "Benchmark Summary"
	titleBest       = "Best Commands By Framework"
	titleCross      = "Cross-Framework Best Comparison"
	titleFailed     = "Failed Or SLA-Failing Candidates"
	titleRunnersUp  = "Passing Runners-Up"
	titleSuperseded = "Earlier Attempts"
)

const noRows = "No rows: there is nothing to compare."

// missing stands where nothing was measured.
const missing = "-"

// column is one figure of an entry.
type column struct {
	head    string
	numeric bool
	// optional columns are left out when no entry has a value; the one with the
	// highest number goes first where the width is short.
	optional int
	text     func(view, result.Entry) string
}

// view gives the columns what the entry alone does not tell.
type view struct {
	c     result.Comparison
	short bool // little room, as on a terminal
	// narrow: no room for intervals at all.
	narrow bool
}

func (v view) label(e result.Entry) string { return v.c.Classes[e.Class].Label }

func (v view) entries(at []int) []result.Entry {
	out := make([]result.Entry, len(at))
	for i, n := range at {
		out[i] = v.c.Entries[n]
	}
	return out
}

// Marks after figures; the legend explains those that are used.
const (
	markMean = "*"
	markTie  = "="
)

func num(p *float64) string {
	if p == nil {
		return missing
	}
	return result.Number(*p)
}

func count(p *int) string {
	if p == nil {
		return missing
	}
	return strconv.Itoa(*p)
}

func typical(l result.Latency) string {
	x, mean, ok := l.Typical()
	switch {
	case !ok:
		return missing
	case mean:
		return result.Number(x) + markMean
	}
	return result.Number(x)
}

func rank(e result.Entry) string {
	switch {
	case e.Rank == 0:
		return missing
	case e.Tied:
		return strconv.Itoa(e.Rank) + markTie
	}
	return strconv.Itoa(e.Rank)
}

// tokensFigure is the figure of a difference that is one of tokens, not requests.
const tokensFigure = "output_token_throughput"

// versus is the throughput against the winner's, in requests, or in tokens where
// those alone put it behind; a difference that may be noise is "~", not a number.
func (v view) versus(e result.Entry) string {
	switch {
	case e.Outcome == result.OutcomeWinner:
		return "best"
	case e.Tied || e.Versus != nil && !e.Versus.Real:
		return "~"
	case e.Delta == nil:
		return missing
	case e.Versus != nil && e.Versus.Figure == tokensFigure:
		return fmt.Sprintf("%+.1f %% tok/s", 100*e.Versus.Delta) + v.deltaCI(e.Versus)
	}
	return fmt.Sprintf("%+.1f %%", 100**e.Delta) + v.deltaCI(e.Versus)
}

func slaWord(e result.Entry) string {
	switch {
	case e.Row.Status != result.StatusOK, e.Row.SLA.Passed == nil:
		return missing
	case *e.Row.SLA.Passed:
		return "met"
	}
	return "missed"
}

// load is the offered load of the chosen point.
func load(e result.Entry) string {
	w := e.Row.Workload
	var parts []string
	switch {
	case w.RequestRate != nil:
		parts = append(parts, result.Number(*w.RequestRate)+"/s")
	case w.Arrivals == "closed", w.Arrivals == "ramp", w.Arrivals == "steps", w.Arrivals == "trace":
		parts = append(parts, w.Arrivals)
	}
	if w.MaxConcurrency != nil {
		parts = append(parts, "≤"+strconv.Itoa(*w.MaxConcurrency))
	}
	if len(parts) == 0 {
		return "all at once"
	}
	return strings.Join(parts, " ")
}

func success(e result.Entry) string {
	if e.Row.Metrics.SuccessRate == nil {
		return missing
	}
	return result.Percent(*e.Row.Metrics.SuccessRate)
}

func candidate(e result.Entry) string { return e.Name }

func share(p *float64) string {
	if p == nil {
		return missing
	}
	return result.Percent(*p)
}

var (
	colScenario  = column{"scenario", false, 0, func(v view, e result.Entry) string { return v.label(e) }}
	colRank      = column{"rank", true, 0, func(_ view, e result.Entry) string { return rank(e) }}
	colPlace     = column{"rank", true, 0, func(v view, e result.Entry) string { return v.place(e) }}
	colFramework = column{"framework", false, 0, func(_ view, e result.Entry) string { return e.Row.Framework }}
	colCandidate = column{"candidate", false, 0, func(_ view, e result.Entry) string { return candidate(e) }}
	colFull      = column{"candidate", false, 0, func(_ view, e result.Entry) string { return fullName(e) }}
	colStatus    = column{"status", false, 0, func(_ view, e result.Entry) string { return e.Row.Status }}
	colSLA       = column{"SLA", false, 0, func(_ view, e result.Entry) string { return slaWord(e) }}
	colReason    = column{"reason", false, 0, func(_ view, e result.Entry) string { return e.Reason }}
	colVersus    = column{"vs best", true, 1, func(v view, e result.Entry) string { return v.versus(e) }}
	colReqs      = column{"req/s", true, 0, func(v view, e result.Entry) string {
		return v.worth(e, "request_throughput", e.Row.Metrics.RequestThroughput)
	}}
	colTTFT = column{"TTFT ms", true, 0, func(v view, e result.Entry) string { return v.latency(e, "ttft", e.Row.Metrics.TTFT) }}
	colTPOT = column{"TPOT ms", true, 0, func(v view, e result.Entry) string { return v.latency(e, "tpot", e.Row.Metrics.TPOT) }}
	colOut  = column{"out tok/s", true, 3, func(v view, e result.Entry) string {
		return v.worth(e, "output_token_throughput", e.Row.Metrics.OutputTokenThroughput)
	}}
	colTotal = column{"total tok/s", true, 7, func(v view, e result.Entry) string {
		return v.worth(e, "total_token_throughput", e.Row.Metrics.TotalTokenThroughput)
	}}
	colReqsGPU = column{"req/s/GPU", true, 6, func(_ view, e result.Entry) string { return num(e.PerGPU.RequestThroughput) }}
	colOutGPU  = column{"tok/s/GPU", true, 2, func(_ view, e result.Entry) string { return num(e.PerGPU.OutputTokenThroughput) }}
	colSuccess = column{"success", true, 5, func(_ view, e result.Entry) string { return success(e) }}
	colLoad    = column{"load", false, 4, func(_ view, e result.Entry) string { return load(e) }}
	colGPUs    = column{"GPUs", true, 4, func(_ view, e result.Entry) string { return count(e.Row.Hardware.GPUCount) }}
	colP99TTFT = column{"p99 TTFT ms", true, 8, func(v view, e result.Entry) string { return v.worth(e, "p99_ttft_ms", e.Row.Metrics.TTFT.P99) }}
	colP99TPOT = column{"p99 TPOT ms", true, 9, func(v view, e result.Entry) string { return v.worth(e, "p99_tpot_ms", e.Row.Metrics.TPOT.P99) }}
	// Only of answers with reasoning or tool calls: of others the first is visible.
	colVisible = column{"visible ms", true, 10, func(v view, e result.Entry) string {
		return v.latency(e, "ttft_visible", e.Row.Metrics.TTFTVisible)
	}}
	colReasoning = column{"reasoning ms", true, 11, func(v view, e result.Entry) string {
		return v.latency(e, "ttft_reasoning", e.Row.Metrics.TTFTReasoning)
	}}
	colTool = column{"tool call ms", true, 11, func(v view, e result.Entry) string {
		return v.latency(e, "ttft_tool", e.Row.Metrics.TTFTTool)
	}}
	colE2E     = column{"E2E ms", true, 10, func(v view, e result.Entry) string { return v.latency(e, "e2e", e.Row.Metrics.E2E) }}
	colGoodput = column{"goodput/s", true, 12, func(v view, e result.Entry) string { return v.worth(e, "goodput_rps", e.Row.Metrics.Goodput) }}
	colAccept  = column{"accept length", true, 13, func(_ view, e result.Entry) string {
		if s := e.Row.SpecDecode; s != nil {
			return num(s.MeanAcceptLength)
		}
		return missing
	}}
	colPreSched = column{"pre-scheduler ms", true, 14, func(_ view, e result.Entry) string {
		if p := e.Row.PhaseMetrics; p != nil {
			return num(p.PreScheduler)
		}
		return missing
	}}
	colCacheHit = column{"cache hit", true, 15, func(_ view, e result.Entry) string {
		if c := e.Row.Cache; c != nil {
			return share(c.PrefixCacheHitRate)
		}
		return missing
	}}
	colAlike = column{"answers alike", true, 17, func(_ view, e result.Entry) string {
		if q := e.Row.Equivalence; q != nil {
			return share(q.Agreement)
		}
		return missing
	}}
	colCommand  = column{"command", false, 0, func(_ view, e result.Entry) string { return or(e.Row.ServerCommand, missing) }}
	colArtifact = column{"artifacts", false, 16, func(_ view, e result.Entry) string { return or(strings.Join(artifacts(e.Row), ", "), missing) }}
)

// figures are the measured columns in the order in which tables show them.
var figures = []column{
	colReqs, colOut, colTotal, colReqsGPU, colOutGPU, colTTFT, colP99TTFT, colVisible, colReasoning, colTool, colTPOT, colP99TPOT, colE2E, colGoodput,
	colSuccess, colLoad,
	colAccept, colPreSched, colCacheHit, colAlike, colGPUs,
}

// artifacts names the files behind a row, those that upstream lists.
func artifacts(r result.Row) []string {
	var out []string
	for _, path := range []string{r.Artifacts.RawResult, r.Artifacts.ServerLog, r.Artifacts.BenchmarkLog, r.Artifacts.Summary, r.Artifacts.Folder} {
		if path != "" && !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	return out
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// grid is columns filled for entries.
type grid struct {
	columns []column
	rows    [][]string
}

// has says whether a column is there.
func (g grid) has(c column) bool {
	return slices.ContainsFunc(g.columns, func(x column) bool { return x.head == c.head })
}

func (g grid) without(i int) grid {
	out := grid{columns: slices.Delete(slices.Clone(g.columns), i, i+1)}
	for _, row := range g.rows {
		out.rows = append(out.rows, slices.Delete(slices.Clone(row), i, i+1))
	}
	return out
}

// fill makes a grid without the optional columns that are empty everywhere.
func (v view) fill(columns []column, entries []result.Entry) grid {
	var t grid
	for _, c := range columns {
		has := c.optional == 0 || slices.ContainsFunc(entries, func(e result.Entry) bool { return c.text(v, e) != missing })
		if has {
			t.columns = append(t.columns, c)
		}
	}
	for _, e := range entries {
		row := make([]string, len(t.columns))
		for i, c := range t.columns {
			row[i] = c.text(v, e)
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// crossEntries are the best of each engine in one class, best first.
func (v view) crossEntries(k result.Class) []result.Entry {
	var out []result.Entry
	for _, f := range k.Frameworks {
		out = append(out, v.c.Entries[f.Ranked[0]])
	}
	return out
}

// place is the rank among the best of each engine.
func (v view) place(e result.Entry) string {
	if e.Tied {
		return "1" + markTie
	}
	for i, best := range v.crossEntries(v.c.Classes[e.Class]) {
		if best.Row.Framework == e.Row.Framework {
			return strconv.Itoa(i + 1)
		}
	}
	return missing
}

// fullName names a candidate with its engine, unless the id already does.
func fullName(e result.Entry) string {
	if strings.HasPrefix(e.Name, e.Row.Framework) {
		return e.Name
	}
	return e.Name + " (" + e.Row.Framework + ")"
}

// conditions are those of a class with its limits.
func conditions(k result.Class) string {
	if k.SLA == "" {
		return k.Conditions
	}
	return k.Conditions + " · SLA: " + k.SLA
}

// legend explains the marks that the comparison uses.
func (v view) legend() []string {
	var out []string
	uses := func(test func(result.Entry) bool) bool { return slices.ContainsFunc(v.c.Entries, test) }
	if uses(func(e result.Entry) bool { return e.Tied }) {
		out = append(out, "= and ~: a tie, noise could make the difference to the best")
	}
	out = append(out, v.intervalLegend()...)
	mean := func(l result.Latency) bool { _, m, _ := l.Typical(); return m }
	if uses(func(e result.Entry) bool {
		return mean(e.Row.Metrics.TTFT) || mean(e.Row.Metrics.TPOT) || mean(e.Row.Metrics.E2E)
	}) {
		out = append(out, "*: the mean, as there is no p50")
	}
	if uses(func(e result.Entry) bool {
		return !e.Row.Metrics.TTFTReasoning.Empty() || !e.Row.Metrics.TTFTTool.Empty()
	}) {
		out = append(out, "visible, reasoning, tool call: p50 of the time to the first of its kind, over the answers that have one; TTFT is to the first of any")
	}
	return out
}

// sent says for each class, in words, what was sent to its rows and what its
// lengths mean; rows that differ have a line each.
func (v view) sent() []string {
	var out []string
	for _, e := range v.c.Entries {
		if d := e.Row.Workload.Description; d != "" {
			if l := "Sent in " + v.label(e) + ": " + d; !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
	}
	slices.Sort(out)
	return out
}

const latencyNote = "TTFT, TPOT and E2E are p50 unless marked"

// notices are what stands at the head of every report about rows that are no
// measurement of real hardware, and the other warnings.
func (v view) notices() (head, rest []result.Warning) {
	for _, w := range v.c.Warnings {
		if isNotice(w) {
			head = append(head, w)
		} else {
			rest = append(rest, w)
		}
	}
	return head, rest
}

func isNotice(w result.Warning) bool { return w.Code == "simulated" || w.Code == "smoke" }

// noticeTitle shouts what a head notice is about.
func noticeTitle(w result.Warning) string {
	if w.Code == "smoke" {
		return "FLOW CHECK, NOT A PERFORMANCE RESULT"
	}
	return "SIMULATED"
}

// noBest says why an engine has no best command.
func (v view) noBest(framework string) string {
	n := 0
	for _, i := range v.c.Failed {
		if v.c.Entries[i].Row.Framework == framework {
			n++
		}
	}
	if n == 0 {
		return "No row of it counts: each was measured again."
	}
	return fmt.Sprintf("No candidate passed (%d tried); the reasons are under %q.", n, titleFailed)
}

// oneLine puts a text from outside onto one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
