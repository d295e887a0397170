package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Suggest is the known word that is nearest to word, or "" when none is near
// enough to be meant: at most a third of the letters may differ.
func Suggest(word string, known []string) string {
	if len(word) > 100 {
		return ""
	}
	best, fewest := "", max(2, len(word)/3)+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(k)); d < fewest {
			best, fewest = k, d
		}
	}
	return best
}

// didYouMean is the tail of a message about an unknown word.
func didYouMean(word string, known []string) string {
	if s := Suggest(word, known); s != "" {
		return fmt.Sprintf("; did you mean %s?", s)
	}
	return ""
}
