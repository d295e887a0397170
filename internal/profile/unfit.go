package profile

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"llmdyno/internal/engine"
)

// UnfitError says that the server behind a trace did not run its own kernels, so
// that the trace must not be read as the engine's.
type UnfitError struct {
	Trace, Log string
	Line       int
	Engine     string
	Text       string // the line of the log
	Reason     string
}

func (e *UnfitError) Error() string {
	return fmt.Sprintf("%s is refused: %s line %d says %q: %s", e.Trace, e.Log, e.Line, e.Text, e.Reason)
}

// Limits of the search through logs.
const (
	maxLogs     = 20        // files of one folder
	maxLogBytes = 256 << 20 // of each file
	maxLogLine  = 1 << 20
)

// refuseUnfit looks through the logs beside a trace.
func refuseUnfit(engines engine.Set, path string) error {
	var runs []engine.UnfitRun
	var owner []string
	for _, e := range engines {
		for _, r := range e.Trace.Unfit {
			runs = append(runs, r)
			owner = append(owner, e.Title)
		}
	}
	if path == "-" || len(runs) == 0 {
		return nil
	}
	for _, log := range logsBeside(filepath.Dir(path)) {
		if u := searchLog(log, runs, owner); u != nil {
			u.Trace = path
			return u
		}
	}
	return nil
}

// logsBeside are the log files of a folder, by name.
func logsBeside(folder string) []string {
	list, err := os.ReadDir(folder)
	if err != nil {
		return nil // then opening the trace says so
	}
	var logs []string
	for _, f := range list {
		name := strings.ToLower(f.Name())
		if f.Type().IsRegular() && (strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".log.txt") || strings.HasSuffix(name, ".out")) {
			logs = append(logs, filepath.Join(folder, f.Name()))
		}
	}
	slices.Sort(logs)
	return logs[:min(len(logs), maxLogs)]
}

func searchLog(path string, runs []engine.UnfitRun, owner []string) *UnfitError {
	f, err := os.Open(path)
	if err != nil {
		return nil // an unreadable log proves nothing
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, maxLogBytes))
	lines.Buffer(nil, maxLogLine)
	for n := 1; lines.Scan(); n++ {
		for i, r := range runs {
			if r.Pattern.Match(lines.Bytes()) {
				return &UnfitError{Log: path, Line: n, Engine: owner[i], Text: strings.TrimSpace(lines.Text()), Reason: r.Reason}
			}
		}
	}
	return nil
}
