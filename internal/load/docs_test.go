package load

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"llmdyno/internal/load/metric"
	"llmdyno/internal/load/sample"
)

// docs/measurement.md names every member of the files, and every figure.
func TestMeasurementPageIsComplete(t *testing.T) {
	text, err := os.ReadFile("../../docs/measurement.md")
	if err != nil {
		t.Fatal(err)
	}
	inRow := map[string]bool{ // counts and sums, which say what they are
		"duration_s": true, "requests": true, "errors": true, "limits": true, "finish_reasons": true, "token_sources": true, "compat": true,
	}
	for _, v := range []any{sample.Header{}, sample.Record{}, sample.Event{}, Audit{}, Calibration{}, metric.Summary{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "-" && !inRow[name] && !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("docs/measurement.md lacks `%s` of %T", name, v)
			}
		}
	}
	for _, class := range []sample.Class{sample.ClassConnect, sample.ClassReset, sample.ClassTimeout, sample.ClassAuth, sample.ClassStatus, sample.ClassInBand, sample.ClassTruncated, sample.ClassMalformed, sample.ClassEmpty, sample.ClassDropped, sample.ClassCancelled} {
		if !strings.Contains(string(text), "`"+string(class)+"`") {
			t.Errorf("docs/measurement.md lacks the class `%s`", class)
		}
	}
}
