package foreign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"llmdyno/internal/bench/result"
)

// Limits on what is read. A report of ten thousand requests with every gap and
// text has some 100 MB.
const (
	maxFile      = 256 << 20
	maxDocuments = 100_000
	// maxBroken bounds the values of one file that cannot be decoded: each costs
	// a walk over what follows.
	maxBroken   = 100
	maxProblems = 1000
)

// document is one JSON object of a file.
type document struct {
	line   int // where it begins, from 1
	fields object
}

// splitter takes a file apart: one object, several after each other or on lines
// of their own, or arrays of them.
type splitter struct {
	name     string
	text     []byte
	docs     []document
	problems []*result.Problem
	counted  int // bytes of text before which lines have been counted
	line     int // the line at counted
}

func (s *splitter) problem(line int, format string, args ...any) {
	if len(s.problems) < maxProblems {
		s.problems = append(s.problems, &result.Problem{File: s.name, Line: line, Message: fmt.Sprintf(format, args...)})
	}
}

// lineAt is the line of a position; positions never go back.
func (s *splitter) lineAt(pos int) int {
	if pos > s.counted {
		s.line += bytes.Count(s.text[s.counted:pos], []byte("\n"))
		s.counted = pos
	}
	return s.line
}

func split(data []byte, name string) *splitter {
	s := &splitter{name: name, text: plainWords(bytes.TrimPrefix(data, []byte("\ufeff"))), line: 1}
	broken := 0
	for pos := s.next(0); pos < len(s.text); {
		line := s.lineAt(pos)
		var raw json.RawMessage
		dec := json.NewDecoder(bytes.NewReader(s.text[pos:]))
		err := dec.Decode(&raw)
		if err == nil {
			if !s.take(raw, pos) {
				return s
			}
			pos = s.next(pos + int(dec.InputOffset()))
			continue
		}
		if broken++; broken > maxBroken {
			s.problem(line, "more than %d values that are no JSON: the rest is left out", maxBroken)
			return s
		}
		s.problem(line, "expected a JSON object or array: %s; what begins here is left out", reason(err, s.text[pos:]))
		pos = s.resync(pos)
	}
	return s
}

// resync is the next line that begins with an object.
func (s *splitter) resync(pos int) int {
	n := bytes.Index(s.text[pos:], []byte("\n{"))
	if n < 0 {
		return len(s.text)
	}
	return pos + n + 1
}

// next passes over white space.
func (s *splitter) next(pos int) int {
	return pos + len(s.text[pos:]) - len(bytes.TrimLeft(s.text[pos:], " \t\r\n"))
}

// take keeps an object, or the objects of an array; false when there are too
// many.
func (s *splitter) take(raw json.RawMessage, pos int) bool {
	if raw[0] != '[' {
		return s.keep(raw, s.lineAt(pos))
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		s.problem(s.lineAt(pos), "expected an array of objects: %v", err)
		return true
	}
	for _, item := range items {
		// The items stand in the text in their order, after pos.
		if at := bytes.Index(s.text[pos:], item); at >= 0 {
			pos += at
		}
		if !s.keep(item, s.lineAt(pos)) {
			return false
		}
		pos += len(item)
	}
	return true
}

func (s *splitter) keep(raw json.RawMessage, line int) bool {
	if len(s.docs) == maxDocuments {
		s.problem(line, "more than %d objects: the rest is left out", maxDocuments)
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		s.problem(line, "expected a JSON object: %v; it is left out", err)
		return true
	}
	fields, ok := v.(map[string]any)
	if !ok {
		s.problem(line, "expected a JSON object, got %s: left out", kindOf(v))
		return true
	}
	s.docs = append(s.docs, document{line, fields})
	return true
}

// reason says what is wrong with a text that is no JSON.
func reason(err error, text []byte) string {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return "the file ends within a value (torn by a killed writer?)"
	case errors.As(err, &syntax) && strings.Contains(syntax.Error(), `'\n' in string literal`):
		return "a text does not end on its line (torn by a killed writer?)"
	case errors.As(err, &syntax) && syntax.Offset > 0 && syntax.Offset <= int64(len(text)):
		before := text[:syntax.Offset]
		if n := bytes.Count(before, []byte("\n")); n > 0 {
			return fmt.Sprintf("%v, %d lines further down", err, n)
		}
	}
	return err.Error()
}

// plainWords replaces the words that Python's json module writes and JSON lacks,
// outside strings: NaN, which is no figure, by null; Infinity by a text. No line
// is moved.
func plainWords(text []byte) []byte {
	if !bytes.Contains(text, []byte("NaN")) && !bytes.Contains(text, []byte("Infinity")) {
		return text
	}
	out := make([]byte, 0, len(text)+64)
	for i := 0; i < len(text); {
		rest := text[i:]
		switch {
		case rest[0] == '"':
			end := stringEnd(text, i)
			out = append(out, text[i:end]...)
			i = end
		case bytes.HasPrefix(rest, []byte("NaN")):
			out, i = append(out, "null"...), i+len("NaN")
		case bytes.HasPrefix(rest, []byte("-Infinity")):
			out, i = append(out, `"-inf"`...), i+len("-Infinity")
		case bytes.HasPrefix(rest, []byte("Infinity")):
			out, i = append(out, `"inf"`...), i+len("Infinity")
		default:
			out, i = append(out, rest[0]), i+1
		}
	}
	return out
}

// stringEnd is the index after the JSON string that begins at i. No string goes
// over a line end: a torn one must not turn the rest of the file inside out.
func stringEnd(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\n':
			return i
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

func kindOf(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "an object"
	case []any:
		return fmt.Sprintf("a list of %d", len(x))
	case bool:
		return fmt.Sprint(x)
	case json.Number:
		return "the number " + x.String()
	case string:
		if len(x) > 40 {
			x = strings.ToValidUTF8(x[:40], "") + "…"
		}
		return fmt.Sprintf("the text %q", x)
	}
	return fmt.Sprintf("%T", v)
}
