package profile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// analysisText is the output of the original tool.
const analysisText = `Triage View
Mode: single
Framework: %F
Input traces:
- /data/run 7/x.trace.json.gz
Model: %M

Kernel Table
| Stage | Kernel | Location |
| --- | --- | --- |
| decode | void f<int, __half>(*x_y_z) | a.py:1 f<br>b.py:2 g |
| decode | a \| b | - |
`

func textOf(framework, model string) string {
	return strings.NewReplacer("%F", framework, "%M", model).Replace(analysisText)
}

// tree writes analyses: two of one model, one of a model whose name gives the same
// anchor, one without a model.
func tree(t *testing.T) string {
	t.Helper()
	dir := folder(t, map[string]string{
		"one/analysis_vllm.txt":   textOf("vllm", "Org/Model.1"),
		"two/analysis_sglang.txt": textOf("sglang", "Org/Model.1"),
		"three/analysis.txt":      textOf("never-heard-of", "Org-Model-1"),
		"four/notes.txt":          "no analysis",
		"four/a.trace.json":       small,
	})
	trace := filepath.Join(dir, "four", "a.trace.json")
	d := triage(t, Request{Paths: []string{trace}})
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), dir) {
		t.Fatal("the document names no path: the test tests nothing")
	}
	if err := os.WriteFile(filepath.Join(dir, "four", "triage.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestU63TheBundleIsOfTheTreeAlone(t *testing.T) {
	bundle := func(root string) *Bundle {
		b, err := ReadBundle(root, engines())
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first, second := bundle(tree(t)), bundle(tree(t))
	one, _ := json.Marshal(first)
	two, _ := json.Marshal(second)
	if string(one) != string(two) {
		t.Errorf("two equal trees give two bundles:\n%s\n%s", one, two)
	}
	if text := string(one); strings.Contains(text, "/data/run") || strings.Contains(text, os.TempDir()) {
		t.Errorf("a path of the machine is in the bundle: %s", text)
	}
	var names, anchors []string
	for _, m := range first.Models {
		names, anchors = append(names, m.Name), append(anchors, m.Anchor)
		for _, p := range m.Parts {
			anchors = append(anchors, p.Anchor)
		}
	}
	if want := []string{"four", "Org-Model-1", "Org/Model.1"}; !slices.Equal(names, want) {
		t.Errorf("models %q, expected %q", names, want)
	}
	if want := []string{"four", "four-sglang", "org-model-1", "org-model-1-unknown-framework", "org-model-1-2", "org-model-1-sglang", "org-model-1-vllm"}; !slices.Equal(anchors, want) {
		t.Errorf("anchors %q, expected %q", anchors, want)
	}
}

func TestBundleReadsTextOfTheOriginal(t *testing.T) {
	b, err := ReadBundle(tree(t), engines())
	if err != nil {
		t.Fatal(err)
	}
	got := b.Models[2].Parts[0].Text
	want := []TextBlock{
		{Heading: "Triage View"}, {Line: "Mode: single"}, {Line: "Framework: sglang"}, {Heading: "Input traces"}, {Line: "- x.trace.json.gz"}, {Line: "Model: Org/Model.1"},
		{Heading: "Kernel Table"},
		{Table: [][]string{{"Stage", "Kernel", "Location"}, {"decode", "void f<int, __half>(*x_y_z)", "a.py:1 f; b.py:2 g"}, {"decode", "a | b", "-"}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("blocks\n%q\nexpected\n%q", got, want)
	}
}

func TestBundleSkipsWhatCannotBeRead(t *testing.T) {
	dir := folder(t, map[string]string{"a.json": `{"schema_version": 99, "kernels": []}`, "other.json": `{"some": "thing"}`})
	b, err := ReadBundle(dir, engines())
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Models) != 0 || len(b.Skipped) != 1 || b.Skipped[0].Path != "a.json" || strings.Contains(b.Skipped[0].Reason, dir) {
		t.Errorf("%+v", b)
	}
	for _, path := range []string{t.TempDir(), filepath.Join(dir, "none"), filepath.Join(dir, "a.json")} {
		if _, err := ReadBundle(path, engines()); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

func FuzzAnalysisText(f *testing.F) {
	f.Add(textOf("x", "y"))
	f.Add("| a | b\n||\n|---|\n# \n:\n- /")
	f.Fuzz(func(t *testing.T, text string) {
		p := textParser{}
		for line := range strings.Lines(text) {
			p.line(line)
		}
		for _, b := range p.blocks {
			if b.Table != nil && len(b.Table[0]) == 0 {
				t.Fatalf("a table without columns of %q", text)
			}
		}
	})
}
