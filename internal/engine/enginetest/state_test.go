package enginetest

import (
	"strings"
	"testing"
)

func TestReadMetrics(t *testing.T) {
	page, err := readMetrics("# HELP a b\na 1\nb{} 2.5\nc{x=\"1\",y=\"a \\\"b\\\", {c}\"} 1e+06\nd{le=\"+Inf\"} NaN\n")
	if err != nil || len(page) != 4 {
		t.Fatalf("%d series, %v", len(page), err)
	}
	if c := page[2]; c.name != "c" || c.labels["y"] != `a "b", {c}` || c.value != 1e6 {
		t.Errorf("got %+v", c)
	}
	for _, bad := range []string{"a", "a{x=1} 2", "a{x=\"1\" 2", "a{x=\"1\"} two", "a{ 2"} {
		if _, err := readMetrics("ok 1\n" + bad); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v, want an error that names line 2", bad, err)
		}
	}
}
