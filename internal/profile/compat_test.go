package profile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// lastDefect is the number of the last known defect of the original tool.
const lastDefect = 65

var (
	defectRow = regexp.MustCompile(`(?m)^\| (U\d\d) \|.*\| ([^|]+) \|$`)
	testName  = regexp.MustCompile("`(Test\\w+)`")
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// Every defect stands once in docs/compatibility.md, with a test that bears its id
// and exists, or with the reason why there is none.
func TestEveryDefectOfTheOriginalHasATest(t *testing.T) {
	text, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testsBelow(t, "..")
	rows := map[string]string{}
	for _, m := range defectRow.FindAllStringSubmatch(string(text), -1) {
		if rows[m[1]] != "" {
			t.Errorf("%s stands twice in docs/compatibility.md", m[1])
		}
		rows[m[1]] = m[2]
	}
	for n := 1; n <= lastDefect; n++ {
		id := fmt.Sprintf("U%02d", n)
		names := testName.FindAllStringSubmatch(rows[id], -1)
		if len(names) == 0 && !strings.HasPrefix(rows[id], "none: ") {
			t.Errorf("%s: no test and no \"none: reason\" in docs/compatibility.md", id)
		}
		for _, m := range names {
			if !strings.Contains(m[1], id) {
				t.Errorf("%s: %s does not bear its id", id, m[1])
			}
			if !tests[m[1]] {
				t.Errorf("%s: there is no %s", id, m[1])
			}
		}
	}
	if len(rows) != lastDefect {
		t.Errorf("%d rows, expected %d", len(rows), lastDefect)
	}
}

// testsBelow are the names of all tests in a tree.
func testsBelow(t *testing.T, root string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range testFunc.FindAllSubmatch(src, -1) {
			out[string(m[1])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
