package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"llmdyno/cookbook"
	"llmdyno/internal/engine"
	"llmdyno/internal/engine/all"
)

func TestCookbookIsValid(t *testing.T) {
	for name, set := range map[string]engine.Set{"fixture": fixtureSet(), "real tables": all.Engines()} {
		for _, model := range cookbook.List() {
			f, ds := LoadNamed("cookbook:" + model)
			if f == nil {
				t.Fatalf("%s: %v", model, ds)
			}
			for _, d := range pick(append(ds, Check(f, set, Options{})...), SeverityError) {
				t.Errorf("%s, %s:%d:%d: %s", name, model, d.Line, d.Column, d.Message)
			}
		}
	}
	if n := len(cookbook.List()); n != 39 {
		t.Errorf("the cookbook has %d models, want 39", n)
	}
}

// testdata/cookbook.tsv holds, per model and engine, the size of the space, how
// many candidates the limit leaves and which values none of them has.
func TestCookbookFigures(t *testing.T) {
	data, err := os.ReadFile("testdata/cookbook.tsv")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") || cells[0] == "model" {
			continue
		}
		rows++
		f, _ := LoadNamed("cookbook:" + cells[0])
		e, ok := fixtureSet().Lookup(cells[1])
		if f == nil || !ok {
			t.Fatalf("no file or engine for %q", line)
		}
		s, _ := f.Section(e)
		g := f.generate(e, s)
		got := []string{strconv.Itoa(g.distinct), strconv.Itoa(len(g.listed)), neverJSON(f.NeverTried(e, g.listed))}
		if want := cells[2:]; strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s %s: distinct, rendered, never tried = %v, want %v", cells[0], cells[1], got, want)
		}
		_, warnings := f.Candidates(engine.Set{e}, Options{})
		var cut []Warning
		for _, w := range warnings {
			if w.Code == "limit-cuts-space" {
				cut = append(cut, w)
			}
		}
		if (len(cut) == 1) != (g.distinct > len(g.listed)) || len(cut) > 1 {
			t.Errorf("%s %s: %d of %d candidates, warnings %v", cells[0], cells[1], len(g.listed), g.distinct, cut)
		}
		for _, n := range f.NeverTried(e, g.listed) {
			if !strings.Contains(cut[0].Message, n.Key) {
				t.Errorf("%s %s: the warning does not name %s: %s", cells[0], cells[1], n.Key, cut[0].Message)
			}
		}
	}
	if rows != 39*4 {
		t.Errorf("%d rows, want %d", rows, 39*4)
	}
}

func neverJSON(never []Never) string {
	parts := make([]string, len(never))
	for i, n := range never {
		values := make([]string, len(n.Values))
		for j, v := range n.Values {
			values[j] = v.JSON()
		}
		parts[i] = jsonString(n.Key) + ":[" + strings.Join(values, ",") + "]"
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestUnknownCookbookNameSuggests(t *testing.T) {
	_, ds := LoadNamed("cookbook:glm-4.7-flsh")
	if len(ds) != 1 || !strings.Contains(ds[0].Message, "did you mean glm-4.7-flash?") {
		t.Errorf("got %v", ds)
	}
}

func TestInitIsValidAsItStands(t *testing.T) {
	for name, set := range map[string]engine.Set{"fixture": fixtureSet(), "real tables": all.Engines()} {
		if len(set) == 0 {
			continue
		}
		text, err := Init(`owner/a "model": name`, 4, set)
		if err != nil {
			t.Fatal(err)
		}
		f, ds := Parse("new.yaml", text)
		ds = append(ds, Check(f, set, Options{})...)
		for _, d := range pick(ds, SeverityError) {
			t.Errorf("%s:%d: %s\n%s", name, d.Line, d.Message, text)
		}
		if p := Plan(f, set, Options{}); len(p.Candidates) < 8 || f.Model.Name != `owner/a "model": name` {
			t.Errorf("%s: %d candidates for %q", name, len(p.Candidates), f.Model.Name)
		}
	}
	for _, bad := range []struct {
		model string
		gpus  int
	}{{"", 1}, {"a\nb", 1}, {"m", 0}, {"m", -1}, {"m", 5000}} {
		if _, err := Init(bad.model, bad.gpus, fixtureSet()); err == nil {
			t.Errorf("Init(%q, %d) was accepted", bad.model, bad.gpus)
		}
	}
}

func TestCandidateJSONKeepsOrderAndTypes(t *testing.T) {
	f, _ := LoadNamed("cookbook:mimo-v2-flash")
	for _, c := range Plan(f, fixtureSet(), Options{}).Candidates {
		data, err := marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back Candidate
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		again, _ := marshal(back)
		if string(again) != string(data) {
			t.Fatalf("written %s\nread back %s", data, again)
		}
	}
}

func TestExamplesAreValid(t *testing.T) {
	files, err := filepath.Glob("../../../examples/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d examples: %v", len(files), err)
	}
	for name, set := range map[string]engine.Set{"fixture": fixtureSet(), "real tables": all.Engines()} {
		for _, path := range files {
			if name == "fixture" && filepath.Base(path) == "llamacpp.yaml" {
				continue // an engine that the fixtures do not have
			}
			for _, f := range ValidatePaths([]string{path}, set, Options{}).Files {
				if len(f.Errors) > 0 {
					t.Errorf("%s: %s\n%s", name, path, lines(f.Errors))
				}
			}
		}
	}
}
