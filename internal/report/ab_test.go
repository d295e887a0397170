package report

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"llmdyno/internal/bench/result"
)

// The comparison of two commands in both forms: a winner, a tie, and none measured.
func TestGoldenAB(t *testing.T) {
	rows := repeatedRows()
	o := result.ABOptions{Metric: "request_throughput", Planned: 5, Load: "concurrency 64"}
	none := rows[3]
	none.Status, none.FailureReason = result.StatusOOM, "no `memory` | none"
	for name, ab := range map[string]result.AB{
		"winner": result.CompareAB(rows[0], rows[2], o), "tie": result.CompareAB(rows[1], rows[2], o), "none": result.CompareAB(rows[0], none, o),
	} {
		var got bytes.Buffer
		if err := errors.Join(TextAB(&got, ab), MarkdownAB(&got, ab)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", "ab."+name+".txt")
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want) {
			t.Errorf("%s differs, run with -update if that is meant:\n%s", path, got.String())
		}
		if err := errors.Join(TextAB(full{}, ab)); err == nil {
			t.Error("an error of the writer is lost")
		}
	}
}
