package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"llmdyno/internal/bench/result"
)

var (
	update      = flag.Bool("update", false, "rewrite the golden files")
	screenshots = flag.String("screenshots", "", "folder for pictures of the page")
)

// golden compares a text with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
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
		t.Fatalf("%v: run the test with -update", err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (-want +got), run with -update if that is meant:\n%s", path, d)
	}
}

// goldenCases are comparisons whose rows went through the file format.
func goldenCases(t *testing.T) map[string]result.Comparison {
	smoke := demoRows()[:3]
	for i := range smoke {
		smoke[i].Smoke, smoke[i].Points = true, nil
	}
	failures := broken()[:2]
	return map[string]result.Comparison{
		"demo":     result.Compare(writeAndRead(t, demoRows()), result.Options{}),
		"smoke":    result.Compare(writeAndRead(t, smoke), result.Options{}),
		"nowinner": result.Compare(writeAndRead(t, failures), result.Options{}),
		"foreign":  result.Compare(readForeign(t), result.Options{}),
		"empty":    result.Compare(nil, result.Options{}),
		"repeated": result.Compare(writeAndRead(t, repeatedRows()), result.Options{}),
		"thinking": result.Compare(writeAndRead(t, thinkingRows()), result.Options{}),
	}
}

func TestGolden(t *testing.T) {
	forms := map[string]func(io.Writer, result.Comparison) error{
		"txt":      func(w io.Writer, c result.Comparison) error { return Text(w, c, 80, false) },
		"wide.txt": func(w io.Writer, c result.Comparison) error { return Text(w, c, 160, true) },
		"md":       Markdown,
		"csv":      CSV,
		"json": func(w io.Writer, c result.Comparison) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", " ")
			enc.SetEscapeHTML(false)
			return enc.Encode(slim(c))
		},
	}
	for name, c := range goldenCases(t) {
		for ext, render := range forms {
			t.Run(name+"."+ext, func(t *testing.T) {
				var b bytes.Buffer
				if err := render(&b, c); err != nil {
					t.Fatal(err)
				}
				golden(t, name+"."+ext, b.Bytes())
			})
		}
	}
}

// slim takes the quantiles and points out of a comparison, so that the golden
// file stays readable.
func slim(c result.Comparison) result.Comparison {
	c.Entries = append([]result.Entry{}, c.Entries...)
	for i := range c.Entries {
		r := &c.Entries[i].Row
		r.Points = nil
		r.Metrics = r.Metrics.Brief()
	}
	return c
}
