package report

import (
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"llmdyno/internal/incident/dump"
)

// DumpText writes what dumps hold for a terminal. Times are UTC.
func DumpText(w io.Writer, files []*dump.File) error {
	var b strings.Builder
	for i, f := range files {
		if i > 0 {
			b.WriteString("\n")
		}
		(&dumpText{&b, f}).report()
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

type dumpText struct {
	*strings.Builder
	f *dump.File
}

func (t *dumpText) row(name, format string, args ...any) {
	fmt.Fprintf(t, "  %-12s %s\n", name, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " "))
}

func (t *dumpText) report() {
	f := t.f
	fmt.Fprintf(t, "%s  %d bytes, pickle protocol %d, %s\n", f.File, f.Bytes, f.Protocol, f.Verdict)
	if f.Error != "" {
		t.row("ERROR", "%s", f.Error)
	}
	for _, w := range f.Warnings {
		t.row("warning", "%s", w.Message)
	}
	if f.Salvaged > 0 {
		t.row("salvaged", "%d records that stand complete before the damage", f.Salvaged)
	}
	if f.Figures == nil {
		return
	}
	t.figures()
	t.dists()
	t.records()
}

// dumpSetting is a setting, or n/a.
func dumpSetting(v any) string {
	if v == nil {
		return "n/a"
	}
	return fmt.Sprint(v)
}

func (t *dumpText) figures() {
	g := t.f.Figures
	t.row("records", "%d: %d finished%s, %d unfinished, %d streaming, at most %d at once", g.Records, g.Finished, dumpCounts(g.FinishReasons), g.Unfinished, g.Streaming, g.MaxConcurrency)
	if n := len(g.Irregular); n > 0 {
		t.row("irregular", "%d; the first: record %d, %s", n, g.Irregular[0].Index, g.Irregular[0].Why)
	}
	if g.ConfigFrom != nil {
		t.row("model", "%s (served as %s)", dumpSetting(g.ModelPath), dumpSetting(g.ServedModelName))
		t.row("topology", "tp=%s dp=%s pp=%s ep=%s, disaggregation %s, %s:%s (from %s)", dumpSetting(g.TPSize), dumpSetting(g.DPSize), dumpSetting(g.PPSize), dumpSetting(g.EPSize),
			dumpSetting(g.DisaggregationMode), dumpSetting(g.Host), dumpSetting(g.Port), *g.ConfigFrom)
	}
	if g.LaunchCommand != nil && *g.LaunchCommand != "" {
		t.row("launched as", "%s", *g.LaunchCommand)
	}
	if g.ConfigFrom == nil && len(g.FromLaunchCommand) > 0 {
		t.row("it says", "%s", strings.Join(dumpPairs(g.FromLaunchCommand), ", "))
	}
	if g.FirstStart != nil {
		line := fmt.Sprintf("first start %s, starts over %.3f s", dump.Instant(*g.FirstStart), *g.StartSpanSeconds)
		if g.WallSpanSeconds != nil {
			line += fmt.Sprintf(", until the last end %.3f s", *g.WallSpanSeconds)
		}
		t.row("time", "%s", line)
	}
	if n := len(g.SecretsAt); n > 0 {
		t.row("secrets", "in %s (not shown)", strings.Join(g.SecretsAt[:min(n, 6)], ", "))
	}
}

func dumpCounts(m map[string]int) string {
	var out []string
	for k, n := range m {
		out = append(out, fmt.Sprintf("%s %d", k, n))
	}
	sort.Strings(out)
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}

func dumpPairs(m map[string]string) []string {
	var out []string
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

func (t *dumpText) dists() {
	g := t.f.Figures
	rows := []struct {
		name string
		d    *dump.Dist
	}{
		{"prompt tokens", g.PromptTokens}, {"output tokens", g.CompletionTokens}, {"cached tokens", g.CachedTokens}, {"retractions", g.Retractions},
		{"elapsed s", g.ElapsedSeconds}, {"queue s", g.QueueTimeSeconds},
	}
	if s := t.f.Stages; s != nil {
		rows = append(rows, struct {
			name string
			d    *dump.Dist
		}{"TTFT s", s.TTFT}, struct {
			name string
			d    *dump.Dist
		}{"tokenizer s", s.Tokenizer}, struct {
			name string
			d    *dump.Dist
		}{"decode s", s.Decode})
	}
	head := false
	for _, r := range rows {
		if r.d == nil {
			continue
		}
		if !head {
			head = true
			fmt.Fprintf(t, "\n  %-14s %8s %10s %10s %10s %10s %10s\n", "", "n", "min", "p50", "p90", "p99", "max")
		}
		fmt.Fprintf(t, "  %-14s %8d %10.6g %10.6g %10.6g %10.6g %10.6g\n", r.name, r.d.N, r.d.Min, r.d.P50, r.d.P90, r.d.P99, r.d.Max)
	}
}

func (t *dumpText) records() {
	f := t.f
	if n := len(f.InFlight); n > 0 {
		fmt.Fprintf(t, "\n  in flight at the end: %s\n", dumpIndices(f.InFlight))
	}
	if len(f.Suspects) > 0 {
		fmt.Fprintf(t, "\n  look first at\n")
		for _, s := range f.Suspects {
			fmt.Fprintf(t, "    [%d] %s\n", s.Index, strings.Join(s.Reasons, ", "))
		}
	}
	if len(f.Records) > 0 {
		fmt.Fprintf(t, "\n")
	}
	for _, r := range f.Records {
		t.record(r)
	}
	if f.Omitted > 0 {
		fmt.Fprintf(t, "  … %d more (--requests -1 shows all)\n", f.Omitted)
	}
}

func dumpIndices(list []int) string {
	words := make([]string, 0, min(len(list), 30))
	for _, i := range list[:min(len(list), 30)] {
		words = append(words, fmt.Sprintf("[%d]", i))
	}
	if len(list) > 30 {
		words = append(words, fmt.Sprintf("and %d more", len(list)-30))
	}
	return strings.Join(words, " ")
}

func (t *dumpText) record(r dump.Record) {
	if r.Class == "" {
		fmt.Fprintf(t, "  [%d] %s\n", r.Index, r.Problem)
		return
	}
	state := r.FinishReason
	if !r.Finished {
		state = "unfinished"
	}
	fmt.Fprintf(t, "  [%d] %s  stream=%t  prompt=%s  output=%s  start=%s  elapsed=%s s  %s", r.Index, orNotTold(r.ID), r.Stream,
		dumpFigure(r.PromptTokens, "%.0f"), dumpFigure(r.CompletionTokens, "%.0f"), orNotTold(r.Start), dumpFigure(r.ElapsedSeconds, "%.3f"), state)
	if r.Problem != "" {
		fmt.Fprintf(t, "  (%s)", r.Problem)
	}
	t.WriteString("\n")
	switch {
	case r.Preview != "":
		fmt.Fprintf(t, "      %s\n", r.Preview)
	case r.PromptChars > 0:
		fmt.Fprintf(t, "      prompt of %d characters, sha256 %s\n", r.PromptChars, r.PromptSHA256)
	}
}

func orNotTold(s string) string {
	if s == "" {
		return "n/a"
	}
	return s
}

func dumpFigure(x *float64, format string) string {
	if x == nil {
		return "n/a"
	}
	return fmt.Sprintf(format, *x)
}
