package result

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/lines"
)

// Limits on what is read. A row of ours with 40 load points has some 40 KB.
const (
	maxLine = 8 << 20
	maxFile = 1 << 30
	maxRows = 50_000
)

// Problem is something in a file of rows that could not be taken as it stands.
// Reading went on.
type Problem struct {
	File    string
	Line    int // from 1
	Message string
}

func (p *Problem) Error() string { return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message) }

// Read reads rows, one JSON object a line. It forgives much: a byte order mark,
// aliases of engines (looked up in the set), other spellings of a status, rows
// of earlier schemas, missing blocks, NaN where a figure belongs. What it cannot
// read is left out, never guessed; each such place is a *Problem with file and
// line, and a warning of the row. The error is that of the reader itself.
func Read(r io.Reader, name string, engines engine.Set) (rows []Row, problems []error, err error) {
	in := bufio.NewReaderSize(io.LimitReader(r, maxFile+1), 64<<10)
	read := int64(0)
	for n := 1; ; n++ {
		line, end := lines.Next(in, nil, maxLine)
		whole := !errors.Is(end, bufio.ErrTooLong)
		if !whole {
			line, end = nil, lines.Skip(in)
		}
		read += int64(len(line))
		if end != nil && !errors.Is(end, io.EOF) {
			return rows, problems, fmt.Errorf("reading %s: %w", name, end)
		}
		problem := func(format string, args ...any) {
			problems = append(problems, &Problem{name, n, fmt.Sprintf(format, args...)})
		}
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		switch text := bytes.TrimSpace(line); {
		case !whole:
			problem("the line is longer than %d MiB: left out", maxLine>>20)
		case len(text) == 0:
		case len(rows) == maxRows:
			problem("more than %d rows: the rest is left out", maxRows)
			return rows, problems, nil
		default:
			row, said, ok := decodeRow(text, engines)
			for _, s := range said {
				problem("%s", s)
			}
			if ok {
				row.Source = fmt.Sprintf("%s:%d", name, n)
				rows = append(rows, row)
			}
		}
		if read > maxFile {
			problem("the file is longer than %d MiB: the rest is left out", maxFile>>20)
			return rows, problems, nil
		}
		if end != nil {
			return rows, problems, nil
		}
	}
}

// decodeRow makes a row of one line and says what it had to leave out.
func decodeRow(line []byte, engines engine.Set) (row Row, problems []string, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(quoteNonNumbers(line)))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return row, []string{fmt.Sprintf("expected one JSON object on one line: %s; the line is left out", plainJSONError(err))}, false
	}
	object, isObject := tree.(map[string]any)
	if !isObject {
		return row, []string{fmt.Sprintf("expected one JSON object on one line, got %s; the line is left out", describe(tree))}, false
	}
	d := &lenient{}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		d.problem("", "something follows the object on its line: left out")
	}
	d.row(object, &row, engines)
	for _, p := range d.problems {
		row.Warnings = append(row.Warnings, Warning{"unreadable", p})
	}
	return row, d.problems, true
}

func plainJSONError(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "the line ends within the object (torn by a killed writer?)"
	}
	return err.Error()
}

// quoteNonNumbers turns the literals NaN, Infinity and -Infinity, which other
// writers put where JSON has no word for them, into strings.
func quoteNonNumbers(line []byte) []byte {
	if !bytes.Contains(line, []byte("NaN")) && !bytes.Contains(line, []byte("Infinity")) {
		return line
	}
	var out []byte
	for i := 0; i < len(line); {
		if line[i] == '"' {
			end := stringEnd(line, i)
			out = append(out, line[i:end]...)
			i = end
			continue
		}
		n := literal(line[i:])
		if n > 0 {
			out = append(append(append(out, '"'), line[i:i+n]...), '"')
			i += n
			continue
		}
		out = append(out, line[i])
		i++
	}
	return out
}

func literal(s []byte) int {
	for _, word := range []string{"NaN", "-NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(s, []byte(word)) {
			return len(word)
		}
	}
	return 0
}

// stringEnd is the index after the JSON string that begins at i.
func stringEnd(line []byte, i int) int {
	for i++; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(line)
}

// statuses are the spellings of a status that are read.
var statuses = map[string]string{
	"ok": StatusOK, "success": StatusOK, "succeeded": StatusOK, "passed": StatusOK, "pass": StatusOK, "completed": StatusOK, "done": StatusOK,
	"failed": StatusFailed, "fail": StatusFailed, "failure": StatusFailed, "error": StatusFailed, "crashed": StatusFailed, "crash": StatusFailed,
	"oom": StatusOOM, "out of memory": StatusOOM, "cuda oom": StatusOOM,
	"timeout": StatusTimeout, "timed out": StatusTimeout, "time out": StatusTimeout, "timedout": StatusTimeout,
	"skipped": StatusSkipped, "skip": StatusSkipped,
}

// status reads a status in any case, with any separator.
func (d *lenient) status(s string) string {
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r == ' ' || r == '_' || r == '-' })
	if known, ok := statuses[strings.Join(words, " ")]; ok {
		return known
	}
	if len(words) == 0 {
		d.problem("status", "is missing: the row counts as failed")
	} else {
		d.problem("status", "%q is none of ok, failed, oom, timeout, skipped: the row counts as failed", s)
	}
	return StatusFailed
}

// UnknownFramework stands in a row that names no engine.
const UnknownFramework = "unknown"

func (d *lenient) framework(name string, engines engine.Set) string {
	trimmed := strings.ToLower(strings.TrimSpace(name))
	if trimmed == "" {
		d.problem("framework", "is missing: the row is listed as %q", UnknownFramework)
		return UnknownFramework
	}
	if e, ok := engines.Lookup(trimmed); ok {
		return string(e.ID)
	}
	return trimmed
}

// scenarioKeys are where a row's scenario may stand, in upstream's order.
var scenarioKeys = []string{"scenario", "scenario_name", "dataset_scenario", "dataset_name", "kind"}

// scenario is the first that is not empty, in lower case.
func scenario(row map[string]any) string {
	workload, _ := row["workload"].(map[string]any)
	for _, key := range scenarioKeys {
		if s, _ := workload[key].(string); strings.TrimSpace(s) != "" {
			return strings.ToLower(strings.TrimSpace(s))
		}
	}
	if s, _ := row["scenario"].(string); strings.TrimSpace(s) != "" {
		return strings.ToLower(strings.TrimSpace(s))
	}
	return "default"
}

// unlimited are the words for "no bound" at a rate or a cap.
var unlimited = []string{"inf", "infinity", "+inf", "unlimited", "none", "null"}

func isUnlimited(v any) bool {
	s, ok := v.(string)
	return ok && slices.Contains(unlimited, strings.ToLower(strings.TrimSpace(s)))
}
