package fusion

import (
	"strings"
	"testing"
)

func load(t testing.TB) *Catalog {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every entry fires on its fixture in each of its forms, and not on the
// neighbour.
func TestEveryEntryHasAFixtureThatFiresItAndANeighbourThatDoesNot(t *testing.T) {
	results := load(t).Test()
	if len(results) < 50 {
		t.Fatalf("%d entries", len(results))
	}
	for _, r := range results {
		if len(r.Problems) > 0 {
			t.Errorf("%s\n\t%s", r.Pattern, strings.Join(r.Problems, "\n\t"))
		}
	}
}
