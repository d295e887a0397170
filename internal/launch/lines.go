package launch

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"llmdyno/internal/artifact"
)

// What is kept of a log in memory: its first lines tell how the server was set
// up, its last ones how it ended.
const (
	headLines = 500
	tailLines = 4000
	longLine  = 4 << 10 // bytes kept of one line
)

// lines keeps the head and the tail of a log, redacted.
type lines struct {
	mu   sync.Mutex
	head []string
	tail []string // a ring once full
	next int      // where the ring goes on
	rest []byte   // of a line without an end
	long bool     // rest is full; what follows up to the newline is dropped
}

// Write splits into lines; it never fails.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexAny(b, "\n\r")
		if i < 0 {
			l.more(b)
			break
		}
		l.more(b[:i])
		l.end()
		b = b[i+1:]
	}
	return n, nil
}

func (l *lines) more(b []byte) {
	room := longLine - len(l.rest)
	if l.long = l.long || len(b) > room; len(b) > room {
		b = b[:room]
	}
	l.rest = append(l.rest, b...)
}

func (l *lines) end() {
	line := strings.ToValidUTF8(string(l.rest), "�")
	if l.long {
		line += "…"
	}
	l.rest, l.long = l.rest[:0], false
	switch {
	case strings.TrimSpace(line) == "":
	case len(l.head) < headLines:
		l.head = append(l.head, line)
	case len(l.tail) < tailLines:
		l.tail = append(l.tail, line)
	default:
		l.tail[l.next] = line
		l.next = (l.next + 1) % tailLines
	}
}

// all are the lines that are kept, oldest first, an unfinished one included.
func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Concat(l.head, l.tail[l.next:], l.tail[:l.next])
	if len(bytes.TrimSpace(l.rest)) > 0 {
		out = append(out, strings.ToValidUTF8(string(l.rest), "�"))
	}
	return out
}

func (l *lines) last() string {
	if all := l.all(); len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// sink is the log of the caller. A writer that fails (a full disk) is given up
// and the reason kept: the server must not come to a halt because nobody reads
// what it prints.
type sink struct {
	mu  sync.Mutex
	w   io.WriteCloser
	err error
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w != nil && s.err == nil {
		_, s.err = s.w.Write(b)
	}
	return len(b), nil
}

// close ends the log and returns the first error in words; "" = none.
func (s *sink) close() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w != nil {
		if err := s.w.Close(); s.err == nil {
			s.err = err
		}
		s.w = nil
	}
	if s.err == nil {
		return ""
	}
	return s.err.Error()
}

// pump carries what a server prints to the log and to memory until the pipe
// ends or its deadline passes.
func pump(r *os.File, log *sink, redactor *artifact.Redactor, kept *lines) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.Close()
		clean := redactor.Writer(kept)
		defer clean.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Read(buf)
			log.Write(buf[:n])
			clean.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	return done
}
