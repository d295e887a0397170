package run

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"llmdyno/internal/bench/result"
	"llmdyno/internal/load/witness"
)

// Prompts that are found in the cache, though all are random, are no measurement:
// no point of such a server is valid and none wins.
func TestWarmCacheIsInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend()
		b.warm = true
		p := somePlan(1)
		p.Scenarios = p.Scenarios[:1]
		res, err := begin(t, t.Context(), b, p)
		if err != nil {
			t.Fatal(err)
		}
		if Passed(res.Rows) {
			t.Error("a row with a warm cache passed")
		}
		for _, r := range res.Rows {
			if r.Server == nil || r.Server.PrefixHitRate == nil || *r.Server.PrefixHitRate != 0.9 || *r.Server.IntendedHitRate != 0 {
				t.Errorf("what the server saw: %+v", r.Server)
			}
			for _, pt := range r.Points {
				if !strings.Contains(pt.Invalid, "prefix cache held 90 %") {
					t.Errorf("point %s: invalid %q", pt.Folder, pt.Invalid)
				}
			}
			checkReadings(t, res.Dir, r.Points[0])
		}
	})
}

// checkReadings: the file of the server's metrics begins with its schema and
// keeps what the server wrote.
func checkReadings(t *testing.T, dir string, p result.Point) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, p.Folder, serverMetricsName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	n, raw := 0, 0
	for ; lines.Scan(); n++ {
		if n == 0 && !strings.Contains(lines.Text(), witness.Schema) {
			t.Errorf("first line: %s", lines.Text())
		}
		if strings.Contains(lines.Text(), `"raw":["prompt_total `) {
			raw++
		}
	}
	if n < 3 || raw != n-1 {
		t.Errorf("%d lines, %d of them with what the server wrote", n, raw)
	}
}
