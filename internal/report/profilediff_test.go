package report

import (
	"encoding/csv"
	"strings"
	"testing"

	"llmdyno/internal/profile"
	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/fusion"
	"llmdyno/internal/profile/kernel"
)

// hostile is a kernel name with everything that a table could trip over.
const hostile = "void f<int, __half>(*x_y_z | `a` </td><script>)"

func hostileDocument(mode string) *profile.Document {
	row := attrib.KernelRow{Stage: attrib.Decode, Name: hostile, Short: "f", RawNames: []string{hostile}, Category: kernel.Other, Total: 1000, Share: 100, Launches: 1, Mean: 1000,
		Location: "a_b_c.py:1 <lambda>", Op: "aten::_x_"}
	return &profile.Document{
		SchemaVersion: profile.SchemaVersion, Mode: mode, Summary: "s",
		Tables: profile.Tables{
			Stages: map[attrib.Stage]attrib.StageRow{attrib.Decode: {Launches: 1, Total: 1000, Share: 100}}, Kernels: []attrib.KernelRow{row},
			OverlapSummary: attrib.OverlapSummary{Streams: 1, BusyUS: 1000, StageBusyUS: map[attrib.Stage]attrib.Nanos{attrib.Decode: 1000}},
		},
	}
}

func diffOfHostile() *profile.Diff {
	side := &profile.KernelSide{Names: []string{hostile}, Short: []string{"f"}, Total: 1000, Launches: 1, Mean: 1000, Locations: []string{"a_b_c.py:1 <lambda>"}}
	pct := 50.0
	return &profile.Diff{
		SchemaVersion: profile.DiffSchemaVersion, Summary: "decode takes B longer.", A: profile.Compared{Label: "=a<b>.json"}, B: profile.Compared{Label: "b"}, Warnings: []string{"some <b>warning</b>"},
		Stages: []profile.StageDiff{{
			Stage: attrib.Decode, In: "both", Basis: profile.BasisStep, Note: "steps", A: profile.StageSide{Units: 1, Time: 1000, Total: 1000}, B: profile.StageSide{Units: 2, Time: 1500, Total: 1500},
			Delta: 500, DeltaPct: &pct,
			Contributions: []profile.Contribution{{Kind: profile.KindKernels, What: "gemm", A: 1000, B: 1600, Delta: 600, Share: &pct}, {Kind: profile.KindIdle, What: string(attrib.CauseLaunch), A: 100, Delta: -100, Location: hostile}},
			Kernels:       []profile.KernelDiff{{Match: profile.MatchOnlyA, Class: kernel.Other, A: side, Delta: -1000}, {Match: profile.MatchOnlyB, Class: kernel.GEMM, B: side, Delta: 1600}},
			Fusions:       []profile.FusionDiff{{What: "norm + quantize", Lacks: "b", A: &profile.FusionSide{State: fusion.StateActive, Name: hostile, Patterns: []string{"p"}, Toggle: "--x"}}},
		}, {Stage: attrib.All, In: "b", Basis: profile.BasisTrace}},
	}
}

// cellsOf counts the cells of a row of a Markdown table: bars outside of code.
func cellsOf(row string) int {
	return strings.Count(strings.ReplaceAll(row, `\|`, ""), "|") - 1
}

func checkMarkdown(t *testing.T, text string) {
	t.Helper()
	width := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			width = 0
			continue
		}
		if n := cellsOf(line); width != 0 && n != width {
			t.Errorf("a row of %d cells in a table of %d: %s", n, width, line)
		} else {
			width = n
		}
	}
	if strings.Contains(text, "<script>") || strings.Contains(text, "<lambda>") && !strings.Contains(text, "`a_b_c.py:1 <lambda>`") {
		t.Errorf("markup of a name went through:\n%s", text)
	}
}

func TestU62NamesAreCodeInMarkdown(t *testing.T) {
	var triage, diff, bundle strings.Builder
	d := hostileDocument(profile.ModeSingle)
	if err := ProfileMarkdown(&triage, d, ProfileOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := ProfileDiffMarkdown(&diff, diffOfHostile()); err != nil {
		t.Fatal(err)
	}
	text := []profile.TextBlock{{Heading: "Kernel Table"}, {Table: [][]string{{"Stage", "Kernel"}, {"decode", hostile}}}, {Line: hostile}}
	b := &profile.Bundle{Models: []profile.BundleModel{{Name: "M_*", Anchor: "m", Parts: []profile.BundlePart{{Framework: "x", Source: "a", Anchor: "m-x", Document: d}, {Framework: "y", Source: "b", Anchor: "m-y", Text: text}}}}}
	if err := ProfileBundleMarkdown(&bundle, b); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{triage.String(), diff.String(), bundle.String()} {
		checkMarkdown(t, text)
		if !strings.Contains(text, "<code>void f&lt;int, &#95;&#95;half&gt;(&#42;x&#95;y&#95;z &#124; &#96;a&#96;") {
			t.Errorf("the kernel's name is no code:\n%s", text)
		}
	}
}

func TestU64AnEmptyOverlapTableSaysWhy(t *testing.T) {
	for _, mode := range []string{profile.ModeSingle, profile.ModePair} {
		var out strings.Builder
		if err := ProfileMarkdown(&out, hostileDocument(mode), ProfileOptions{Tables: []string{TableOverlap}}); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if !strings.Contains(text, "all GPU work is on one stream: nothing is hidden") || !strings.Contains(text, "No kernel of at least 5 us") || strings.Contains(text, "--mapping") || strings.Contains(text, "two-trace") {
			t.Errorf("%s: no true reason:\n%s", mode, text)
		}
	}
}

func TestProfileDiffForms(t *testing.T) {
	d := diffOfHostile()
	var text, page, table strings.Builder
	if err := ProfileDiffText(&text, d, 100, false); err != nil {
		t.Fatal(err)
	}
	if first, _, _ := strings.Cut(text.String(), "\n"); first != d.Summary {
		t.Errorf("first line %q, expected the sentence", first)
	}
	for _, want := range []string{"DECODE: 0.001 to 0.002 ms (+50.0 %)", "idle: late launch", "only a", "ALL: only in B", "not seen", "--x"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}
	if err := ProfileDiffHTML(&page, d); err != nil {
		t.Fatal(err)
	}
	if p := page.String(); strings.Contains(p, "<script") || strings.Contains(p, "<b>") || !strings.Contains(p, `<rect class="slower" x="50.00"`) || !strings.Contains(p, `id="decode"`) {
		t.Errorf("page:\n%s", p)
	}
	if err := ProfileDiffCSV(&table, d); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(table.String())).ReadAll()
	if err != nil || len(rows) != 1+1+2+2+1+1 {
		t.Fatalf("%d rows, %v:\n%s", len(rows), err, table.String())
	}
	if got := rows[2]; got[2] != "contribution" || got[4] != "gemm" || got[7] != "0.6" || got[8] != "50.0000" {
		t.Errorf("contribution %q", got)
	}
}

func TestProfileBundlePage(t *testing.T) {
	b := &profile.Bundle{Skipped: []profile.LeftOut{{Path: "c.json", Reason: "cut"}}, Models: []profile.BundleModel{{Name: "Org/M<1>", Anchor: "org-m-1", Parts: []profile.BundlePart{
		{Framework: "x", Source: "a", Anchor: "org-m-1-x", Document: hostileDocument(profile.ModeSingle)},
		{Framework: "y", Source: "b", Anchor: "org-m-1-y", Text: []profile.TextBlock{{Line: "l"}, {Heading: "Kernel Table"}, {Table: [][]string{{"Kernel"}, {hostile}}}}},
	}}}}
	var out strings.Builder
	if err := ProfileBundleHTML(&out, b); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	for _, want := range []string{`href="#org-m-1-y"`, `id="org-m-1-y"`, "not read: c.json: cut", "2 analyses of 1 model.", "Org/M&lt;1&gt;"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "<script") || strings.Count(page, "<tr>") != strings.Count(page, "</tr>") {
		t.Errorf("markup of a name went through:\n%s", page)
	}
}
