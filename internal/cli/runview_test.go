package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"llmdyno/internal/bench/run"
)

func status() run.Status {
	return run.Status{
		Phase: "measuring", Candidate: "tiny-00", Scenario: "chat", Load: "4 req/s", Detail: "3 of 80 requests",
		Done: 3, Total: 12, Left: 95 * time.Second,
		Best: []run.Best{{Scenario: "chat", Candidate: "tiny-01", RPS: 3.5, TTFTMs: 120, TPOTMs: 9.5}},
	}
}

func TestLiveView(t *testing.T) {
	hide := func(s string) string { return strings.ReplaceAll(s, "tiny-00", "[hidden]") }
	for _, width := range []int{20, 80, 200} {
		m, _ := runModel{pen: pen{hide: hide, width: width, colour: true}}.Update(status())
		text := m.(runModel).View().Content
		for _, line := range strings.Split(text, "\n")[1:] {
			if n := ansi.StringWidth(line); n > width {
				t.Errorf("width %d: a line of %d: %q", width, n, line)
			}
		}
		if !strings.Contains(text, "3 of 12 rows") || !strings.Contains(text, "about 1m35s left") || strings.Contains(text, "tiny-00") {
			t.Errorf("width %d: %q", width, text)
		}
		if width > 20 && !strings.Contains(text, "best at chat: tiny-01, 3.5 req/s, TTFT 120 ms, TPOT 9.50 ms") {
			t.Errorf("the best so far is missing: %q", text)
		}
	}
	over := status()
	over.Over = true
	m, _ := runModel{pen: pen{hide: hide}}.Update(over)
	if text := m.(runModel).View().Content; text != "" {
		t.Errorf("after the end: %q", text)
	}
	if m := (runModel{}); m.style("x", "2") != "x" {
		t.Error("colour where none was asked for")
	}
}

func TestPlainView(t *testing.T) {
	var out bytes.Buffer
	a := &app{stderr: &out, stdout: &out}
	observe, end := a.runView()
	s := status()
	observe(s)
	observe(s)
	s.Line = "tiny-00 chat at 4 req/s: 3.9 req/s"
	observe(s)
	end()
	want := "[3/12, about 1m35s left] tiny-00\n  tiny-00 chat at 4 req/s: 3.9 req/s\n"
	if out.String() != want {
		t.Errorf("%q\nexpected %q", out.String(), want)
	}
	a.quiet = true
	if observe, _ := a.runView(); observe != nil {
		t.Error("--quiet still observes")
	}
}
