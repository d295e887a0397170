package run

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"llmdyno/internal/engine"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The files that a resume reads keep their form: a run that an older version
// began must go on.
func TestFormats(t *testing.T) {
	p := somePlan(2)
	journal, _ := undisturbed(t, p, &world{limit: map[string]float64{"tiny-00": 3}, trials: map[string]int{}, starts: map[string]*Failure{"tiny-01": {Phase: "start", Status: "oom", Kind: "oom", Reason: "no memory", Line: "out of memory", Log: "trials/tiny-01/server.log"}}})
	plan, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{journalName: journal, planName: append(plan, '\n')} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s has changed: raise its schema version when an old reader would misread it, and run with -update", path)
		}
	}
	if _, err := ReadPlan("testdata", engine.Set{tiny()}); err != nil {
		t.Error(err)
	}
	s, err := Replay(filepath.Join("testdata", journalName))
	if err != nil || !s.Complete || len(s.Final) != 4 {
		t.Errorf("replay: %v, complete %v, %d final rows", err, s.Complete, len(s.Final))
	}
}
