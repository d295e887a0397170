package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
)

// maxText bounds the text of one trace.
const maxText = 64 << 30

// scan is what a pass over a trace's text shows, without taking it apart.
type scan struct {
	text   int64          // bytes
	marks  map[string]int // names of CPU annotations, the first maxMarks of them
	graphs int            // replays of CUDA or HIP graphs
	world  int            // world_size of distributedInfo; 0 = not told

	depth             int // open objects and lists
	quoted, backslash bool
}

const (
	maxMarks  = 100_000
	scanBlock = 1 << 20
	overlap   = 1 << 10 // longer than what the patterns match
)

// Kineto writes the members of an event in the order ph, cat, name (libkineto
// src/output_json.cpp @ 114171df, 2026-08-20), so that a text search finds the
// marks. Only complete names count: the rest lies in the overlap.
var (
	markPattern  = regexp.MustCompile(`"cat"\s*:\s*"user_annotation"\s*,\s*"name"\s*:\s*"((?:[^"\\]|\\.){1,300})"`)
	graphPattern = regexp.MustCompile(`"name"\s*:\s*"(?:cuda|hip)GraphLaunch"`)
	worldPattern = regexp.MustCompile(`"world_size"\s*:\s*(\d{1,6})`)
)

// scanFile reads a trace to its end. An error says that it is not whole.
func scanFile(path string) (scan, error) {
	f, err := os.Open(path)
	if err != nil {
		return scan{}, err
	}
	defer f.Close()
	return scanText(f)
}

// scanText reads a trace, compressed by gzip or not.
func scanText(in io.Reader) (scan, error) {
	b := bufio.NewReaderSize(in, 256<<10)
	head, err := b.Peek(2)
	if err != nil {
		return scan{}, errors.New("is empty")
	}
	var text io.Reader = b
	if head[0] == 0x1f && head[1] == 0x8b {
		z, err := gzip.NewReader(b)
		if err != nil {
			return scan{}, fmt.Errorf("is not whole: %w", err)
		}
		text = z
	}
	s := scan{marks: map[string]int{}}
	last, err := s.read(text)
	switch {
	case err != nil:
		return s, fmt.Errorf("is not whole: %w", err)
	case last != '}' && last != ']' || s.depth != 0 || s.quoted:
		return s, fmt.Errorf("is not whole: its text ends in %q within %d objects or lists, expected their end", string(rune(last)), s.depth)
	}
	return s, nil
}

// read goes over the text in blocks that overlap, and returns its last byte that
// is no white space.
func (s *scan) read(text io.Reader) (last byte, err error) {
	buf := make([]byte, 0, scanBlock+overlap)
	for {
		n, err := io.ReadFull(text, buf[len(buf):scanBlock+overlap])
		buf = buf[:len(buf)+n]
		s.text += int64(n)
		s.nest(buf[len(buf)-n:])
		end := err == io.EOF || err == io.ErrUnexpectedEOF
		if trimmed := bytes.TrimRight(buf, " \t\r\n\x00"); len(trimmed) > 0 {
			last = trimmed[len(trimmed)-1]
		}
		switch {
		case s.text > maxText:
			return last, fmt.Errorf("more than %d bytes of text", int64(maxText))
		case err != nil && !end:
			return last, err
		}
		// A match that begins in the overlap is found again in the next block.
		until := len(buf)
		if !end {
			until = max(len(buf)-overlap, 0)
		}
		s.search(buf, until)
		if end {
			if err == io.ErrUnexpectedEOF && cut(text) {
				return last, io.ErrUnexpectedEOF
			}
			return last, nil
		}
		buf = append(buf[:0], buf[until:]...)
	}
}

// nest follows the nesting of the text: a text that is cut behind an event ends
// in a brace too.
func (s *scan) nest(text []byte) {
	for _, b := range text {
		switch {
		case s.backslash:
			s.backslash = false
		case s.quoted:
			s.backslash, s.quoted = b == '\\', b != '"'
		case b == '"':
			s.quoted = true
		case b == '{' || b == '[':
			s.depth++
		case b == '}' || b == ']':
			s.depth--
		}
	}
}

// cut says whether the end of a text was that of a compressed file that is cut:
// io.ReadFull hides which of the two it met.
func cut(text io.Reader) bool {
	n, err := text.Read(make([]byte, 1))
	return n > 0 || err != io.EOF
}

func (s *scan) search(buf []byte, until int) {
	if bytes.Contains(buf, []byte(`"user_annotation"`)) {
		for _, m := range markPattern.FindAllSubmatchIndex(buf, -1) {
			if name := string(buf[m[2]:m[3]]); m[0] < until && (len(s.marks) < maxMarks || s.marks[name] > 0) {
				s.marks[name]++
			}
		}
	}
	if bytes.Contains(buf, []byte(`GraphLaunch"`)) {
		for _, m := range graphPattern.FindAllIndex(buf, -1) {
			if m[0] < until {
				s.graphs++
			}
		}
	}
	if s.world == 0 {
		if m := worldPattern.FindSubmatch(buf); m != nil {
			s.world, _ = strconv.Atoi(string(m[1]))
		}
	}
}
