package config

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the generated documents")

// Each testdata/plan/NAME.yaml has its commands in NAME.txt, worked out by hand
// from the rules of candidate generation (upstream schema §2); they are never
// rewritten by a flag. A line is "ENGINE INDEX COMMAND".
func TestPlansWorkedOutByHand(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d plans: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			f, ds := Load(file)
			ds = append(ds, Check(f, fixtureSet(), Options{})...)
			if HasErrors(ds) {
				t.Fatalf("not valid:\n%s", lines(pick(ds, SeverityError)))
			}
			var got strings.Builder
			for _, c := range Plan(f, fixtureSet(), Options{}).Candidates {
				data, _ := json.Marshal(c.Index)
				got.WriteString(string(c.Engine) + " " + string(data) + " " + c.Command + "\n")
				if strings.Join(mustSplit(t, c.Command), "\x00") != strings.Join(c.Argv, "\x00") {
					t.Errorf("the command does not read back to its words: %s", c.Command)
				}
			}
			want, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("-worked out +got\n%s", diff)
			}
		})
	}
}

func mustSplit(t *testing.T, command string) []string {
	t.Helper()
	words, err := splitWords(command)
	if err != nil {
		t.Fatal(err)
	}
	return words
}

func TestGenerated(t *testing.T) {
	for path, data := range map[string][]byte{"../../../docs/bench.schema.json": JSONSchema(), "../../../docs/config.md": Reference()} {
		if *update {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		onDisk, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(onDisk) != string(data) {
			t.Errorf("%s is stale: run go test ./internal/bench/config -run TestGenerated -update", path)
		}
	}
}
