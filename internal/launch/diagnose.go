package launch

import (
	"fmt"
	"strings"

	"llmdyno/internal/engine"
)

// causes ranks the kinds of log lines: when several stand in a log, the first
// of these is the cause and the others its echoes.
var causes = []engine.LogKind{engine.LogNoMemory, engine.LogOOM, engine.LogBadFlag, engine.LogPortInUse, engine.LogLoadFailed, engine.LogCrash}

// Diagnose says why a server ended, from the lines of its log and its exit. It
// always returns a Failure.
func Diagnose(e *engine.Engine, tail []string, exit Exit) *Failure {
	f := &Failure{Status: StatusFailed, ExitCode: exit.Code}
	how := describe(exit)
	if line, p, ok := cause(e, tail); ok {
		f.Kind, f.Line = p.Kind, line
		if p.Kind == engine.LogOOM || p.Kind == engine.LogNoMemory {
			f.Status = StatusOOM
		}
		f.Reason = fmt.Sprintf("%s; its log says %q: %s", how, clip(line), p.Meaning)
		return f
	}
	for i := len(tail) - 1; i >= 0 && f.Line == ""; i-- {
		f.Line = strings.TrimSpace(tail[i])
	}
	switch {
	case exit.HostOOM:
		f.Status = StatusOOM
		how += ", and the kernel's out-of-memory killer struck: out of host memory; load a smaller model or give the host more memory"
	case exit.Code == 137:
		how += ": probably out of host memory; see the kernel's log (dmesg)"
	}
	f.Reason = how
	if f.Line != "" {
		f.Reason += fmt.Sprintf("; last line of its log: %q", clip(f.Line))
	}
	return f
}

func cause(e *engine.Engine, tail []string) (string, engine.LogPattern, bool) {
	if e == nil {
		return "", engine.LogPattern{}, false
	}
	best := len(causes)
	var line string
	var pattern engine.LogPattern
	for _, l := range tail {
		p, ok := e.MatchLog(l)
		if !ok {
			continue
		}
		for rank, kind := range causes[:best] {
			if kind == p.Kind {
				best, line, pattern = rank, strings.TrimSpace(l), p
				break
			}
		}
	}
	return line, pattern, best < len(causes)
}

func describe(x Exit) string {
	switch {
	case x.Signal != "":
		return fmt.Sprintf("server killed by %s (exit code %d)", x.Signal, x.Code)
	case x.Code == 0:
		return "server ended by itself with exit code 0"
	}
	return fmt.Sprintf("server ended with exit code %d", x.Code)
}

// clip bounds a quoted log line.
func clip(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
