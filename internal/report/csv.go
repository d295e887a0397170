package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"llmdyno/internal/bench/result"
)

type csvColumn struct {
	head string
	text func(c result.Comparison, e result.Entry) string
}

// upstreamCSV are the 19 columns of upstream's comparer (@afb306eb), in its
// order and with its spelling of values.
var upstreamCSV = []csvColumn{
	{"framework", func(_ result.Comparison, e result.Entry) string { return e.Row.Framework }},
	{"scenario", func(_ result.Comparison, e result.Entry) string { return e.Row.Workload.Scenario }},
	{"candidate_id", func(_ result.Comparison, e result.Entry) string { return e.Row.CandidateID }},
	{"status", func(_ result.Comparison, e result.Entry) string { return e.Row.Status }},
	{"sla_passed", func(_ result.Comparison, e result.Entry) string {
		if e.Row.SLA.Passed != nil && *e.Row.SLA.Passed {
			return "True"
		}
		return "False"
	}},
	{"request_throughput", figure(func(m result.Metrics) *float64 { return m.RequestThroughput })},
	{"output_token_throughput", figure(func(m result.Metrics) *float64 { return m.OutputTokenThroughput })},
	{"p50_ttft_ms", figure(func(m result.Metrics) *float64 { return m.TTFT.P50 })},
	{"p50_tpot_ms", figure(func(m result.Metrics) *float64 { return m.TPOT.P50 })},
	{"mean_ttft_ms", figure(func(m result.Metrics) *float64 { return m.TTFT.Mean })},
	{"mean_tpot_ms", figure(func(m result.Metrics) *float64 { return m.TPOT.Mean })},
	{"p99_ttft_ms", figure(func(m result.Metrics) *float64 { return m.TTFT.P99 })},
	{"p99_tpot_ms", figure(func(m result.Metrics) *float64 { return m.TPOT.P99 })},
	{"mean_accept_length", func(_ result.Comparison, e result.Entry) string {
		if s := e.Row.SpecDecode; s != nil {
			return exact(s.MeanAcceptLength)
		}
		return ""
	}},
	{"pre_scheduler_ms", func(_ result.Comparison, e result.Entry) string {
		if p := e.Row.PhaseMetrics; p != nil {
			return exact(p.PreScheduler)
		}
		return ""
	}},
	{"prefix_cache_hit_rate", func(_ result.Comparison, e result.Entry) string {
		if c := e.Row.Cache; c != nil {
			return exact(c.PrefixCacheHitRate)
		}
		return ""
	}},
	{"gpu_count", func(_ result.Comparison, e result.Entry) string { return whole(e.Row.Hardware.GPUCount) }},
	{"server_command", func(_ result.Comparison, e result.Entry) string { return e.Row.ServerCommand }},
	{"failure_reason", func(_ result.Comparison, e result.Entry) string { return e.Row.FailureReason }},
}

// ownCSV are the columns that upstream's file leaves out.
var ownCSV = []csvColumn{
	{"rank", func(_ result.Comparison, e result.Entry) string {
		if e.Rank == 0 {
			return ""
		}
		return strconv.Itoa(e.Rank)
	}},
	{"tied", func(_ result.Comparison, e result.Entry) string { return strconv.FormatBool(e.Tied) }},
	{"outcome", func(_ result.Comparison, e result.Entry) string { return e.Outcome }},
	{"reason", func(_ result.Comparison, e result.Entry) string { return e.Reason }},
	{"class", func(c result.Comparison, e result.Entry) string { return c.Classes[e.Class].Label }},
	{"delta", func(_ result.Comparison, e result.Entry) string { return exact(e.Delta) }},
	{"model", func(_ result.Comparison, e result.Entry) string { return e.Row.Model }},
	{"simulated", func(_ result.Comparison, e result.Entry) string { return strconv.FormatBool(e.Row.Simulated) }},
	{"smoke", func(_ result.Comparison, e result.Entry) string { return strconv.FormatBool(e.Row.Smoke) }},
	{"total_token_throughput", figure(func(m result.Metrics) *float64 { return m.TotalTokenThroughput })},
	{"success_rate", figure(func(m result.Metrics) *float64 { return m.SuccessRate })},
	{"goodput_rps", figure(func(m result.Metrics) *float64 { return m.Goodput })},
	{"attainment", figure(func(m result.Metrics) *float64 { return m.Attainment })},
	{"p50_e2e_ms", figure(func(m result.Metrics) *float64 { return m.E2E.P50 })},
	{"mean_e2e_ms", figure(func(m result.Metrics) *float64 { return m.E2E.Mean })},
	{"p99_e2e_ms", figure(func(m result.Metrics) *float64 { return m.E2E.P99 })},
	{"p50_itl_ms", figure(func(m result.Metrics) *float64 { return m.ITL.P50 })},
	{"p99_itl_ms", figure(func(m result.Metrics) *float64 { return m.ITL.P99 })},
	{"request_throughput_per_gpu", func(_ result.Comparison, e result.Entry) string { return exact(e.PerGPU.RequestThroughput) }},
	{"output_token_throughput_per_gpu", func(_ result.Comparison, e result.Entry) string { return exact(e.PerGPU.OutputTokenThroughput) }},
	{"total_token_throughput_per_gpu", func(_ result.Comparison, e result.Entry) string { return exact(e.PerGPU.TotalTokenThroughput) }},
	{"input_len", func(_ result.Comparison, e result.Entry) string { return whole(e.Row.Workload.InputLen) }},
	{"output_len", func(_ result.Comparison, e result.Entry) string { return whole(e.Row.Workload.OutputLen) }},
	{"num_prompts", func(_ result.Comparison, e result.Entry) string { return whole(e.Row.Workload.NumPrompts) }},
	{"request_rate", func(_ result.Comparison, e result.Entry) string { return exact(e.Row.Workload.RequestRate) }},
	{"max_concurrency", func(_ result.Comparison, e result.Entry) string { return whole(e.Row.Workload.MaxConcurrency) }},
	{"searched", func(_ result.Comparison, e result.Entry) string { return strings.Join(e.Row.Workload.Searched, " ") }},
	{"endpoint", func(_ result.Comparison, e result.Entry) string { return e.Row.Workload.Endpoint }},
	{"limits", func(_ result.Comparison, e result.Entry) string { return limits(e.Row.SLA) }},
	{"gpu_model", func(_ result.Comparison, e result.Entry) string { return e.Row.Hardware.GPUModel }},
	{"driver", func(_ result.Comparison, e result.Entry) string { return e.Row.Hardware.Driver }},
	{"framework_version", func(_ result.Comparison, e result.Entry) string { return e.Row.FrameworkVersion }},
	{"framework_commit", func(_ result.Comparison, e result.Entry) string { return e.Row.FrameworkCommit }},
	{"image", func(_ result.Comparison, e result.Entry) string { return e.Row.Image }},
	{"tool_version", func(_ result.Comparison, e result.Entry) string { return e.Row.ToolVersion }},
	{"benchmark_command", func(_ result.Comparison, e result.Entry) string { return e.Row.BenchmarkCommand }},
	{"artifacts", func(_ result.Comparison, e result.Entry) string { return strings.Join(artifacts(e.Row), " ") }},
	{"run_id", func(_ result.Comparison, e result.Entry) string { return e.Row.RunID }},
	{"measured_at", func(_ result.Comparison, e result.Entry) string { return e.Row.MeasuredAt }},
	{"source", func(_ result.Comparison, e result.Entry) string { return e.Row.Source }},
}

// kindCSV are the times to the first of each kind of content. They are written
// where an answer had reasoning or tool calls: behind all others, so that no column
// moves.
var kindCSV = []csvColumn{
	{"p50_ttft_visible_ms", figure(func(m result.Metrics) *float64 { return m.TTFTVisible.P50 })},
	{"p99_ttft_visible_ms", figure(func(m result.Metrics) *float64 { return m.TTFTVisible.P99 })},
	{"p50_ttft_reasoning_ms", figure(func(m result.Metrics) *float64 { return m.TTFTReasoning.P50 })},
	{"p99_ttft_reasoning_ms", figure(func(m result.Metrics) *float64 { return m.TTFTReasoning.P99 })},
	{"p50_ttft_tool_ms", figure(func(m result.Metrics) *float64 { return m.TTFTTool.P50 })},
	{"p99_ttft_tool_ms", figure(func(m result.Metrics) *float64 { return m.TTFTTool.P99 })},
}

// csvColumns are those that the comparison needs.
func csvColumns(c result.Comparison) []csvColumn {
	columns := slices.Concat(upstreamCSV, ownCSV)
	for _, col := range kindCSV {
		if slices.ContainsFunc(c.Entries, func(e result.Entry) bool { return col.text(c, e) != "" }) {
			columns = append(columns, col)
		}
	}
	return columns
}

func figure(of func(result.Metrics) *float64) func(result.Comparison, result.Entry) string {
	return func(_ result.Comparison, e result.Entry) string { return exact(of(e.Row.Metrics)) }
}

// exact writes every digit of a figure; "" = not measured, so that 0 is 0.
func exact(p *float64) string {
	if p == nil {
		return ""
	}
	return strconv.FormatFloat(*p, 'g', -1, 64)
}

func whole(p *int) string {
	if p == nil {
		return ""
	}
	return strconv.Itoa(*p)
}

func limits(s result.SLA) string {
	var parts []string
	for _, l := range s.Limits {
		parts = append(parts, fmt.Sprintf("%s=%s", l.Key, exact(&l.MaxMs)))
	}
	if s.MinSuccessRate != nil {
		parts = append(parts, "min_success_rate="+exact(s.MinSuccessRate))
	}
	return strings.Join(parts, " ")
}

var realNumber = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$`)

// harmless keeps a spreadsheet from taking a text for a formula: a cell that
// begins like one gets an apostrophe before it, unless it is a number. The rule
// is OWASP's (CSV Injection), read 2026-08-22.
func harmless(cell string) string {
	if cell == "" || !strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) || realNumber.MatchString(cell) {
		return cell
	}
	return "'" + cell
}

// printable keeps line breaks and tabs and drops other control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\n' && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// CSV writes every row, best first in upstream's order, with upstream's columns
// before ours. Lines end in CR LF, as upstream's do.
func CSV(w io.Writer, c result.Comparison) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	columns := csvColumns(c)
	cells := make([]string, len(columns))
	for i, col := range columns {
		cells[i] = col.head
	}
	if err := out.Write(cells); err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	for _, e := range c.Entries {
		for i, col := range columns {
			cells[i] = harmless(printable(col.text(c, e)))
		}
		if err := out.Write(cells); err != nil {
			return fmt.Errorf("writing CSV: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	return nil
}
