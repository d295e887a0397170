package profile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"llmdyno/internal/profile/attrib"
	"llmdyno/internal/profile/fusion"
	"llmdyno/internal/profile/kernel"
)

// decodeA and decodeB are two steps of decoding each. B has another GEMM tile, a
// norm of its own instead of a fused one, and a host that launches late.
const (
	decodeA = `
	device 0 "NVIDIA H100 80GB HBM3"
	mark 0 40 "step[DECODE bs=4 toks=4]"
	frame 0 300 "/w/python/sglang/srt/a.py(1): f"
	launch 1 1 cudaLaunchKernel corr=1
	kernel 10 10 "nvjet_tst_128x64_64x8_2x1_v_bz_TNT" corr=1
	launch 2 1 cudaLaunchKernel corr=2
	kernel 20 4 "void flashinfer::norm::FusedAddRMSNormKernel<8u, __nv_bfloat16>" corr=2
	mark 100 40 "step[DECODE bs=4 toks=4]"
	launch 101 1 cudaLaunchKernel corr=3
	kernel 110 12 "nvjet_tst_128x64_64x8_2x1_v_bz_TNT" corr=3
	launch 102 1 cudaLaunchKernel corr=4
	kernel 122 4 "void flashinfer::norm::FusedAddRMSNormKernel<8u, __nv_bfloat16>" corr=4`
	decodeB = `
	device 0 "NVIDIA H100 80GB HBM3"
	mark 0 40 "step[DECODE bs=4 toks=4]"
	frame 0 300 "/w/python/sglang/srt/a.py(1): f"
	launch 1 1 cudaLaunchKernel corr=1
	kernel 10 20 "nvjet_tst_64x32_64x8_2x1_v_bz_TNT" corr=1
	launch 32 1 cudaLaunchKernel corr=2
	kernel 40 4 "void vllm::rms_norm_kernel<c10::BFloat16>" corr=2
	mark 200 40 "step[DECODE bs=4 toks=4]"
	launch 201 1 cudaLaunchKernel corr=3
	kernel 210 20 "nvjet_tst_64x32_64x8_2x1_v_bz_TNT" corr=3
	launch 232 1 cudaLaunchKernel corr=4
	kernel 240 4 "void vllm::rms_norm_kernel<c10::BFloat16>" corr=4`
)

// readBoth triages two traces in text form.
func readBoth(t *testing.T, a, b string) (DiffSide, DiffSide) {
	t.Helper()
	dir := folder(t, map[string]string{"a.trace.json": a, "b.trace.json": b})
	var out [2]DiffSide
	for i, name := range []string{"a.trace.json", "b.trace.json"} {
		side, err := ReadSide(t.Context(), Request{Engines: engines()}, filepath.Join(dir, name), "")
		if err != nil {
			t.Fatal(err)
		}
		out[i] = side
	}
	return out[0], out[1]
}

func compare(t *testing.T, a, b DiffSide, o DiffOptions) *Diff {
	t.Helper()
	d, err := Compare(a, b, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDiffByMarkedSteps(t *testing.T) {
	a, b := readBoth(t, decodeA, decodeB)
	d := compare(t, a, b, DiffOptions{})
	if len(d.Stages) != 1 {
		t.Fatalf("%d stages, expected decode alone: %+v", len(d.Stages), d.Stages)
	}
	s := d.Stages[0]
	if s.Stage != attrib.Decode || s.Basis != BasisStep || s.A.Units != 2 || s.B.Units != 2 {
		t.Fatalf("stage %s by %s, units %d and %d", s.Stage, s.Basis, s.A.Units, s.B.Units)
	}
	// A: 30 us busy and 86 idle in two steps; B: 48 busy, 166 + 2 × 10 idle.
	if s.A.Busy != 15_000 || s.A.Idle != 43_000 || s.B.Busy != 24_000 || s.B.Idle != 93_000 || s.Delta != 59_000 {
		t.Errorf("A busy %d idle %d, B busy %d idle %d, delta %d", s.A.Busy, s.A.Idle, s.B.Busy, s.B.Idle, s.Delta)
	}
	if s.A.Launches != 2 || s.B.Launches != 2 {
		t.Errorf("launches of a step: %v and %v, expected 2", s.A.Launches, s.B.Launches)
	}
	if got := s.Contributions[0]; got.Kind != KindIdle || got.Delta != 50_000 {
		t.Errorf("largest contribution %+v, expected idle time", got)
	}
	if got := s.B.HostBound - s.A.HostBound; got != 50_000 {
		t.Errorf("host-bound time grew by %d ns, expected 50000", got)
	}
	gemm := s.Kernels[0]
	if gemm.Class != kernel.GEMM || gemm.Match != MatchFamily || gemm.Delta != 9_000 || gemm.A.Mean != 11_000 {
		t.Errorf("first kernel %+v, expected the GEMM by its family", gemm)
	}
	if norm := s.Kernels[1]; norm.Match != MatchClass || norm.Delta != 0 {
		t.Errorf("second kernel %+v, expected the norms as the only ones left", norm)
	}
	if !strings.HasPrefix(d.Summary, "decode takes B 101.7 % longer than A (0.058 to 0.117 ms a step), mostly idle (launch) ") || strings.Count(d.Summary, ". ") > 0 {
		t.Errorf("summary: %s", d.Summary)
	}
}

func TestDiffFusionsOfOneSide(t *testing.T) {
	a, b := readBoth(t, decodeA, decodeB)
	d := compare(t, a, b, DiffOptions{})
	f := d.Stages[0].Fusions
	if len(f) != 1 || f[0].Lacks != "b" || f[0].A == nil || f[0].A.State != fusion.StateActive || f[0].A.Occurrences != 1 {
		t.Fatalf("fusions %+v, expected one that b lacks, once a step", f)
	}
	if back := compare(t, b, a, DiffOptions{}).Stages[0].Fusions; len(back) != 1 || back[0].Lacks != "a" {
		t.Errorf("the other way round: %+v", back)
	}
}

func TestDiffBases(t *testing.T) {
	unmarked := func(layers int) string {
		var b strings.Builder
		for i := range layers {
			fmt.Fprintf(&b, "kernel %d 4 \"void flash_fwd_kernel<1>\"\nkernel %d 5 nvjet_tst_1x1_v\n", 100+i*10, 104+i*10)
		}
		return b.String()
	}
	a, b := readBoth(t, unmarked(4), unmarked(8))
	d := compare(t, a, b, DiffOptions{})
	if s := d.Stages[0]; s.Basis != BasisLayer || s.A.Units != 4 || s.B.Units != 8 || s.A.Total != 9_000 || s.B.Total != 9_000 {
		t.Errorf("layers: %s, units %d and %d, %d and %d ns", s.Basis, s.A.Units, s.B.Units, s.A.Total, s.B.Total)
	}
	if len(d.Warnings) == 0 || !strings.Contains(d.Warnings[0], "no step marks") {
		t.Errorf("warnings %q don't say that steps are not marked", d.Warnings)
	}
	if s := compare(t, a, b, DiffOptions{ASteps: 2, BSteps: 4}).Stages[0]; s.Basis != BasisDeclared || s.A.Total != 18_000 || s.B.Total != 18_000 {
		t.Errorf("declared: %s, %d and %d ns", s.Basis, s.A.Total, s.B.Total)
	}
	c, e := readBoth(t, unmarked(1), unmarked(8))
	d = compare(t, c, e, DiffOptions{})
	if s := d.Stages[0]; s.Basis != BasisTrace || s.A.Total != 9_000 || s.B.Total != 72_000 || !strings.Contains(s.Note, "declare the steps") {
		t.Errorf("whole traces: %s (%s), %d and %d ns", s.Basis, s.Note, s.A.Total, s.B.Total)
	}
}

func TestDiffStagesOfOneSide(t *testing.T) {
	prefill := strings.ReplaceAll(decodeA, "DECODE", "EXTEND")
	a, b := readBoth(t, decodeA, prefill)
	d := compare(t, a, b, DiffOptions{})
	if len(d.Stages) != 2 || d.Stages[0].In != "b" || d.Stages[1].In != "a" || d.Stages[0].Delta != 0 {
		t.Fatalf("stages %+v", d.Stages)
	}
	if !strings.Contains(d.Summary, "no stage in common") || len(d.Warnings) != 2 {
		t.Errorf("summary %q, warnings %q", d.Summary, d.Warnings)
	}
}

func TestDiffThreshold(t *testing.T) {
	a, b := readBoth(t, decodeA, decodeB)
	for _, c := range []struct {
		bar  float64
		slow int
	}{{100, 1}, {102, 0}} {
		if d := compare(t, a, b, DiffOptions{Threshold: &c.bar}); len(d.Slower) != c.slow {
			t.Errorf("bar %v: slower in %v, expected %d", c.bar, d.Slower, c.slow)
		}
		if d := compare(t, b, a, DiffOptions{Threshold: &c.bar}); len(d.Slower) != 0 {
			t.Errorf("bar %v: the faster side is called slower", c.bar)
		}
	}
}

func TestDiffSaysWhatIsUnequal(t *testing.T) {
	larger := strings.ReplaceAll(strings.ReplaceAll(decodeB, "bs=4 toks=4", "bs=8 toks=8"), "H100 80GB HBM3", "H200")
	a, b := readBoth(t, decodeA, larger)
	a.Document.Model, b.Document.Model = "some/Model-8B", "some/Model-4B"
	a.Document.TP.Size, b.Document.TP.Size = 1, 2
	text := strings.Join(compare(t, a, b, DiffOptions{}).Warnings, "\n")
	for _, want := range []string{"4 requests in A, 8 in B", "GPUs differ", "models differ", "tensor-parallel sizes differ"} {
		if !strings.Contains(text, want) {
			t.Errorf("warnings don't say %q:\n%s", want, text)
		}
	}
}

func TestDiffOfDocuments(t *testing.T) {
	dir := folder(t, map[string]string{"a.trace.json": decodeA, "b.trace.json": decodeB})
	write := func(name string, minShare float64) string {
		d := triage(t, Request{Paths: []string{filepath.Join(dir, name+".trace.json")}, MinShare: minShare})
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name+".triage.json")
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	read := func(path string) DiffSide {
		side, err := ReadSide(t.Context(), Request{Engines: engines()}, path, "")
		if err != nil {
			t.Fatal(err)
		}
		return side
	}
	a, b := readBoth(t, decodeA, decodeB)
	want := compare(t, a, b, DiffOptions{})
	got := compare(t, read(write("a", 0)), read(write("b", 0)), DiffOptions{})
	if !reflect.DeepEqual(got.Stages, want.Stages) {
		t.Errorf("the stages of two documents differ from those of their traces:\n%+v\n%+v", got.Stages, want.Stages)
	}
	// Rows below the bar have no names, and their time counts.
	got = compare(t, read(write("a", 50)), read(write("b", 50)), DiffOptions{})
	if s := got.Stages[0]; s.Delta != want.Stages[0].Delta || !slices.ContainsFunc(s.Kernels, func(k KernelDiff) bool { return k.Match == MatchRest && k.Class == kernel.Norm }) {
		t.Errorf("with rows below the bar: %+v", s)
	}
}

func TestDiffOfRanks(t *testing.T) {
	dir := folder(t, map[string]string{"run-TP-0.trace.json": decodeA, "run-TP-1.trace.json": decodeB})
	side := func(rank string) DiffSide {
		s, err := ReadSide(t.Context(), Request{Engines: engines()}, dir, rank)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first, second := side("tp 0"), side("tp 1")
	if d := compare(t, first, second, DiffOptions{}); d.Stages[0].Delta != 59_000 {
		t.Errorf("delta of the ranks %d, expected 59000", d.Stages[0].Delta)
	}
	_, err := ReadSide(t.Context(), Request{Engines: engines()}, dir, "TP 9")
	if err == nil || !strings.Contains(err.Error(), `no rank "TP 9"`) || !strings.Contains(err.Error(), "TP 1") {
		t.Errorf("error %v, expected the ranks that there are", err)
	}
}

func TestReadDocumentRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"text":          "nothing",
		"another":       `{"schema_version": 99}`,
		"a cut":         `{"schema_version": 1, "kernels": [`,
		"unknown stage": `{"schema_version": 1, "stages": {"warm": {"launches": 1, "total_us": 1}}}`,
		"negative":      `{"schema_version": 1, "stages": {"all": {"launches": 1, "total_us": -1}}}`,
		"too long":      `{"schema_version": 1, "stages": {"all": {"launches": 1, "total_us": 1e18}}}`,
	} {
		if d, err := decodeDocument(strings.NewReader(text)); err == nil {
			t.Errorf("%s: taken as %+v", name, d)
		}
	}
}

// genTables draws tables of up to two stages.
func genTables(t *rapid.T) *Tables {
	us := rapid.Int64Range(0, 5_000_000)
	tab := &Tables{Stages: map[attrib.Stage]attrib.StageRow{}, Classes: map[attrib.Stage][]attrib.ClassRow{},
		OverlapSummary: attrib.OverlapSummary{StageBusyUS: map[attrib.Stage]attrib.Nanos{}}, Idle: attrib.IdleSummary{StageSmallUS: map[attrib.Stage]attrib.Nanos{}}}
	for _, stage := range []attrib.Stage{attrib.Prefill, attrib.Decode} {
		var rows []attrib.KernelRow
		names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"nvjet_tst_128x64_v", "nvjet_tst_64x64_v", "flash_fwd_kernel", "rms_norm_kernel", "rms_norm_kernel2", "strange", "ncclDevKernel_AllReduce"}), 0, 6, rapid.ID[string]).Draw(t, "names")
		sum := attrib.StageRow{}
		for _, name := range names {
			n := kernel.Parse(name)
			row := attrib.KernelRow{Stage: stage, Name: n.Canonical, Short: n.Short, RawNames: []string{name}, Category: n.Class,
				Launches: rapid.IntRange(1, 50).Draw(t, "launches"), Total: attrib.Nanos(us.Draw(t, "ns") + 1)}
			rows = append(rows, row)
			sum.Launches += row.Launches
			sum.Total += row.Total
		}
		if len(rows) == 0 {
			continue
		}
		tab.Stages[stage] = sum
		tab.Classes[stage] = attrib.Classes(rows)[stage]
		tab.Kernels = append(tab.Kernels, rows[:rapid.IntRange(0, len(rows)).Draw(t, "listed")]...)
		tab.OverlapSummary.StageBusyUS[stage] = attrib.Nanos(rapid.Int64Range(1, int64(sum.Total)).Draw(t, "busy"))
		tab.Idle.StageSmallUS[stage] = attrib.Nanos(us.Draw(t, "small"))
		for _, c := range rapid.SliceOfN(rapid.SampledFrom(causes), 0, 4).Draw(t, "causes") {
			tab.Gaps = append(tab.Gaps, attrib.GapRow{Stage: stage, Cause: c, Gaps: 1, TotalUS: attrib.Nanos(us.Draw(t, "gap"))})
		}
		if steps := rapid.IntRange(0, 9).Draw(t, "steps"); steps > 0 {
			tab.StepStages = append(tab.StepStages, attrib.StepStage{Stage: stage, Steps: steps})
		}
		tab.GPUEvents.Total += sum.Total
	}
	return tab
}

func genSide(t *rapid.T) DiffSide { return DiffSide{Document: &Document{Tables: *genTables(t)}} }

func TestDiffOfEqualsIsZero(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := genSide(t)
		d, err := Compare(a, a, DiffOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range d.Stages {
			for _, c := range s.Contributions {
				if c.Delta != 0 {
					t.Fatalf("%s: %+v", s.Stage, c)
				}
			}
			for _, k := range s.Kernels {
				if k.Delta != 0 || k.Match == MatchOnlyA || k.Match == MatchOnlyB {
					t.Fatalf("%s: %+v", s.Stage, k)
				}
			}
			if s.Delta != 0 || s.A != s.B {
				t.Fatalf("%s: %+v and %+v", s.Stage, s.A, s.B)
			}
		}
	})
}

func TestDiffSwappedIsNegated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genSide(t), genSide(t)
		there, err := Compare(a, b, DiffOptions{})
		if err != nil {
			t.Fatal(err)
		}
		back, err := Compare(b, a, DiffOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(there.Stages) != len(back.Stages) {
			t.Fatalf("%d and %d stages", len(there.Stages), len(back.Stages))
		}
		for i, s := range there.Stages {
			r := back.Stages[i]
			if s.Delta != -r.Delta || s.A != r.B || s.B != r.A || len(s.Kernels) != len(r.Kernels) || len(s.Contributions) != len(r.Contributions) {
				t.Fatalf("%s: %+v and %+v", s.Stage, s, r)
			}
			for j, c := range s.Contributions {
				if o := r.Contributions[j]; c.What != o.What || c.Delta != -o.Delta || c.A != o.B {
					t.Fatalf("%s: %+v and %+v", s.Stage, c, o)
				}
			}
			for j, k := range s.Kernels {
				if o := r.Kernels[j]; k.Delta != -o.Delta || !reflect.DeepEqual(k.A, o.B) || !reflect.DeepEqual(k.B, o.A) {
					t.Fatalf("%s: %+v and %+v", s.Stage, k, o)
				}
			}
		}
	})
}

func TestDiffContributionsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genSide(t), genSide(t)
		d, err := Compare(a, b, DiffOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range d.Stages {
			checkSide(t, a.tables(), s, s.A)
			checkSide(t, b.tables(), s, s.B)
			var all attrib.Nanos
			classes, kernels := map[string]attrib.Nanos{}, map[string]attrib.Nanos{}
			for _, c := range s.Contributions {
				if all += c.Delta; c.Kind == KindKernels {
					classes[c.What] = c.Delta
				}
			}
			for _, k := range s.Kernels {
				kernels[string(k.Class)] += k.Delta
			}
			if s.In == "both" && (all != s.Delta || !reflect.DeepEqual(classes, kernels)) {
				t.Fatalf("%s: contributions sum to %d of %d; by class %v, by kernel %v", s.Stage, all, s.Delta, classes, kernels)
			}
		}
	})
}

// checkSide: the figures of a side hold together, and are those of the tables to
// half a nanosecond.
func checkSide(t *rapid.T, tab *Tables, s StageDiff, side StageSide) {
	if side.Time != side.Busy+side.Idle || side.Busy != side.Total-side.Overlapped || side.HostBound > side.Idle {
		t.Fatalf("%s: %+v", s.Stage, side)
	}
	want := int64(tab.OverlapSummary.StageBusyUS[s.Stage]) + int64(tab.Idle.StageSmallUS[s.Stage])
	for _, g := range tab.Gaps {
		if g.Stage == s.Stage {
			want += int64(g.TotalUS)
		}
	}
	if math.Abs(float64(want)/float64(side.Units)-float64(side.Time)) > 0.5 {
		t.Fatalf("%s: %d ns over %d units is not %d", s.Stage, want, side.Units, side.Time)
	}
}

func FuzzReadDocument(f *testing.F) {
	f.Add([]byte(`{"schema_version": 1, "stages": {"decode": {"launches": 2, "total_us": 3.5}}, "kernels": [{"stage": "decode", "name": "k", "raw_names": ["k"], "category": "gemm", "total_us": 3.5, "launches": 2}], "classes": {"decode": [{"category": "gemm", "launches": 2, "total_us": 3.5}]}}`))
	f.Add([]byte(`{"schema_version": 1, "layers": [{"stage": "all", "units": -3, "others": 3}], "step_stages": [{"stage": "all", "steps": -1}]}`))
	f.Add([]byte(`{"schema_version": 1, "others": [{"stages": null}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := decodeDocument(bytes.NewReader(text))
		if err != nil {
			return
		}
		out, err := Compare(DiffSide{Document: d}, DiffSide{Document: d}, DiffOptions{Catalog: &fusion.Catalog{}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(out); err != nil {
			t.Fatal(err)
		}
	})
}
