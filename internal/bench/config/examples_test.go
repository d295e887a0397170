package config

import (
	"slices"
	"strings"
	"testing"

	"llmdyno/internal/engine/all"
)

// The example for the real engine plans at least six working candidates over
// the five knobs, and one whose flag the engine's version lacks: that one is
// planned all the same, with a warning, so that the server refuses it in its
// own words.
func TestExampleOfTheRealEngine(t *testing.T) {
	f, ds := Load("../../../examples/llamacpp.yaml")
	if f == nil {
		t.Fatalf("not read:\n%s", lines(ds))
	}
	set := all.Engines()
	ds = append(ds, Check(f, set, Options{})...)
	if HasErrors(ds) {
		t.Fatalf("errors:\n%s", lines(pick(ds, SeverityError)))
	}
	if w := pick(ds, SeverityWarning); len(w) != 1 || !strings.Contains(w[0].Message, "draft_max") || !strings.Contains(w[0].Message, "does not have this flag") {
		t.Errorf("want one warning, of the flag that is gone; got\n%s", lines(w))
	}
	p := Plan(f, set, Options{})
	if len(p.Warnings) > 0 {
		t.Errorf("plan warnings %v", p.Warnings)
	}
	values := map[string][]string{}
	gone := 0
	for _, c := range p.Candidates {
		for _, key := range []string{"parallel", "batch_size", "ubatch_size", "flash_attn", "threads"} {
			if v := c.Flags; !slices.Contains(values[key], v.Word(key)) {
				values[key] = append(values[key], v.Word(key))
			}
		}
		if slices.Contains(c.Argv, "--draft-max") {
			gone++
		}
		if i := slices.Index(c.Argv, "--model"); i < 0 || c.Argv[i+1] != f.Model.Path {
			t.Errorf("candidate %d does not load %s: %s", c.Index, f.Model.Path, c.Command)
		}
	}
	for key, v := range values {
		if len(v) < 2 {
			t.Errorf("%s is never varied: %v", key, v)
		}
	}
	if gone != 1 || len(p.Candidates)-gone < 6 || len(f.Scenarios()) != 2 {
		t.Errorf("%d candidates, %d of them with the flag that is gone, %d scenarios", len(p.Candidates), gone, len(f.Scenarios()))
	}
}
