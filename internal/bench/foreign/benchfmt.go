package foreign

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"llmdyno/internal/bench/result"
)

// measures are the figures of a line, with benchstat's hint which way is better.
var measures = []struct {
	unit, better string
	value        func(m *result.Metrics) *float64
}{
	{"req/s", "higher", func(m *result.Metrics) *float64 { return m.RequestThroughput }},
	{"output-tok/s", "higher", func(m *result.Metrics) *float64 { return m.OutputTokenThroughput }},
	{"total-tok/s", "higher", func(m *result.Metrics) *float64 { return m.TotalTokenThroughput }},
	{"good-req/s", "higher", func(m *result.Metrics) *float64 { return m.Goodput }},
	{"mean-ttft-ms", "lower", func(m *result.Metrics) *float64 { return m.TTFT.Mean }},
	{"p50-ttft-ms", "lower", func(m *result.Metrics) *float64 { return m.TTFT.P50 }},
	{"p99-ttft-ms", "lower", func(m *result.Metrics) *float64 { return m.TTFT.P99 }},
	{"mean-tpot-ms", "lower", func(m *result.Metrics) *float64 { return m.TPOT.Mean }},
	{"p50-tpot-ms", "lower", func(m *result.Metrics) *float64 { return m.TPOT.P50 }},
	{"p99-tpot-ms", "lower", func(m *result.Metrics) *float64 { return m.TPOT.P99 }},
	{"mean-e2e-ms", "lower", func(m *result.Metrics) *float64 { return m.E2E.Mean }},
	{"p50-e2e-ms", "lower", func(m *result.Metrics) *float64 { return m.E2E.P50 }},
	{"p99-e2e-ms", "lower", func(m *result.Metrics) *float64 { return m.E2E.P99 }},
	{"p99-itl-ms", "lower", func(m *result.Metrics) *float64 { return m.ITL.P99 }},
	{"success-ratio", "higher", func(m *result.Metrics) *float64 { return m.SuccessRate }},
}

// WriteBenchfmt writes rows as Go benchmark lines, one for each sound
// measurement, so that repeats of one load point are the samples that benchstat
// compares. The format: golang.org/design/14313-benchmark-format; units with
// better=: golang/go #43744. It returns the number of lines; what is left out is
// a comment.
func WriteBenchfmt(w io.Writer, rows []result.Row) (lines int, err error) {
	b := bufio.NewWriter(w)
	for _, m := range measures {
		fmt.Fprintf(b, "Unit %s better=%s\n", m.unit, m.better)
	}
	ordered := slices.Clone(rows)
	slices.SortStableFunc(ordered, func(x, y result.Row) int {
		return cmp.Compare(strings.Join(configOf(x), "\n"), strings.Join(configOf(y), "\n"))
	})
	var before []string
	for _, r := range ordered {
		config := configOf(r)
		if before == nil || !slices.Equal(config, before) {
			b.WriteByte('\n')
			for _, line := range config {
				fmt.Fprintln(b, line)
			}
			before = config
		}
		lines += writeRow(b, r)
	}
	if err := b.Flush(); err != nil {
		return lines, fmt.Errorf("writing benchmark lines: %w", err)
	}
	return lines, nil
}

// configOf are the configuration lines of a row: benchstat puts rows that differ
// in them into tables of their own, so no run and no time may stand there. Every
// key is always written, because a line holds until the next one of its key.
func configOf(r result.Row) []string {
	gpus := ""
	if r.Hardware.GPUCount != nil {
		gpus = strconv.Itoa(*r.Hardware.GPUCount)
	}
	tool := Native
	if r.Imported != nil {
		tool = r.Imported.Tool
	}
	values := []struct{ key, value string }{
		{"model", r.Model}, {"gpu", r.Hardware.GPUModel}, {"gpus", gpus}, {"tool", tool},
		{"simulated", strconv.FormatBool(r.Simulated)}, {"smoke", strconv.FormatBool(r.Smoke)},
	}
	lines := make([]string, len(values))
	for i, v := range values {
		lines[i] = strings.TrimRight(v.key+": "+oneLine(v.value), " ")
	}
	return lines
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// writeRow writes the measurements of a row.
func writeRow(b *bufio.Writer, r result.Row) int {
	if len(r.Points) == 0 {
		return writeLine(b, r, result.Point{Status: r.Status, FailureReason: r.FailureReason, RequestRate: r.Workload.RequestRate, MaxConcurrency: r.Workload.MaxConcurrency, Metrics: r.Metrics})
	}
	n := 0
	for _, p := range r.Points {
		n += writeLine(b, r, p)
	}
	return n
}

func writeLine(b *bufio.Writer, r result.Row, p result.Point) int {
	name, m := nameOf(r, p.RequestRate, p.MaxConcurrency), &p.Metrics
	var cells []string
	for _, u := range measures {
		if x := u.value(m); x != nil && !math.IsNaN(*x) && !math.IsInf(*x, 0) {
			cells = append(cells, strconv.FormatFloat(*x, 'g', -1, 64)+" "+u.unit)
		}
	}
	switch {
	case p.Status != result.StatusOK:
		fmt.Fprintf(b, "# left out: %s: %s\n", name, oneLine(cmp.Or(p.FailureReason, p.Status)))
		return 0
	case p.Invalid != "":
		fmt.Fprintf(b, "# left out: %s: not valid: %s\n", name, oneLine(p.Invalid))
		return 0
	case len(cells) == 0:
		fmt.Fprintf(b, "# left out: %s: no figures\n", name)
		return 0
	}
	n := 1
	if m.Succeeded != nil && *m.Succeeded > 0 {
		n = *m.Succeeded
	}
	fmt.Fprintf(b, "%s %d %s\n", name, n, strings.Join(cells, " "))
	return 1
}

// nameOf is the name of a benchmark: what is compared, and the load.
func nameOf(r result.Row, rate *float64, most *int) string {
	parts := []string{"BenchmarkServe", "engine=" + word(r.Framework), "candidate=" + word(r.CandidateID), "scenario=" + word(r.Workload.Scenario)}
	if rate != nil {
		parts = append(parts, "rate="+strconv.FormatFloat(*rate, 'g', -1, 64))
	}
	if most != nil {
		parts = append(parts, "concurrency="+strconv.Itoa(*most))
	}
	name := strings.Join(parts, "/")
	if rate == nil && most == nil {
		name += "/load=max" // an ending such as chat-8 would be read as GOMAXPROCS
	}
	return name
}

// word makes a text fit into a part of a name.
func word(s string) string {
	s = strings.Map(func(c rune) rune {
		if c == '/' || unicode.IsSpace(c) || !unicode.IsPrint(c) {
			return '_'
		}
		return c
	}, strings.ToValidUTF8(s, "_"))
	return cmp.Or(s, "none")
}
