package launch

import (
	"regexp"
	"strings"
	"testing"

	"llmdyno/internal/engine"
)

func TestDiagnoseNamesTheCause(t *testing.T) {
	e := &engine.Engine{Logs: []engine.LogPattern{
		{Kind: engine.LogCrash, Pattern: regexp.MustCompile("Traceback"), Meaning: "a bug"},
		{Kind: engine.LogOOM, Pattern: regexp.MustCompile("out of memory"), Meaning: "lower the fraction"},
		{Kind: engine.LogReady, Pattern: regexp.MustCompile("ready"), Meaning: "ready"},
	}}
	for _, c := range []struct {
		name   string
		tail   []string
		exit   Exit
		status string
		says   string
	}{
		{"cause before echo", []string{"ready", "Traceback", "GPU out of memory", "Traceback"}, Exit{Code: 1}, StatusOOM, "lower the fraction"},
		{"crash", []string{"Traceback"}, Exit{Code: 1}, StatusFailed, "a bug"},
		{"killed", []string{"loading"}, Exit{Code: 137, Signal: "SIGKILL"}, StatusFailed, "probably out of host memory"},
		{"killed by the kernel", nil, Exit{Code: 137, Signal: "SIGKILL", HostOOM: true}, StatusOOM, "out-of-memory killer"},
		{"nothing said", []string{"bye", ""}, Exit{}, StatusFailed, `last line of its log: "bye"`},
	} {
		f := Diagnose(e, c.tail, c.exit)
		if f.Status != c.status || !strings.Contains(f.Reason, c.says) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}
