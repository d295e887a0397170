package artifact

import (
	"bytes"
	"io"
	"strings"
)

const (
	// maxLine is how much of a line without an end is held.
	maxLine = 256 << 10
	// overlap is how much of such a line stays back, so that a secret on the
	// cut is seen whole.
	overlap = 16 << 10
	// maxHeldLines bounds the lines that wait for the value of an option.
	maxHeldLines = 3
	// maxKey bounds a private key without an end; the longest in use (RSA
	// 16384) has 13 kB.
	maxKey = 64 << 10
)

// Writer redacts a stream. A line is written when it is whole, as a secret may
// be split over writes; a private key over several lines, and an option whose
// value stands on the next line, are held together. It holds at most some
// 300 kB. It is not for several goroutines at once.
type Writer struct {
	r     *Redactor
	w     io.Writer
	buf   []byte
	held  string // lines that wait for the next one
	lines int    // in held
	key   int    // bytes of a private key passed over so far; 0 = not in one
	eat   bool   // the rest of a secret longer than maxLine is being dropped
}

// Write takes bytes; an error is that of the writer behind.
func (w *Writer) Write(b []byte) (int, error) {
	w.buf = append(w.buf, b...)
	var out bytes.Buffer
	if end := bytes.LastIndexAny(w.buf, "\n\r") + 1; end > 0 {
		w.take(&out, w.buf[:end])
		w.buf = append(w.buf[:0], w.buf[end:]...)
	}
	for len(w.buf) > maxLine {
		w.shorten(&out)
	}
	return len(b), w.emit(&out)
}

// take redacts whole lines.
func (w *Writer) take(out *bytes.Buffer, b []byte) {
	if w.held == "" && w.key == 0 && !w.eat && !w.r.pass().suspicious(b) {
		out.Write(b)
		return
	}
	for len(b) > 0 {
		n := bytes.IndexAny(b, "\n\r") + 1
		if n == 0 {
			n = len(b)
		}
		w.line(out, string(b[:n]))
		b = b[n:]
	}
}

func (w *Writer) line(out *bytes.Buffer, line string) {
	if w.eat {
		i := strings.IndexAny(line, " \t\r\n\"'")
		if i < 0 {
			return
		}
		w.eat, line = false, line[i:]
	}
	if w.key > 0 {
		line = w.inKey(out, line)
	}
	line, w.held = w.held+line, ""
	if begin := openKey(line); begin >= 0 {
		out.WriteString(w.r.String(line[:begin]))
		w.key, w.lines = len(line)-begin, 0
		return
	}
	if _, open := assignments(line); open && w.lines < maxHeldLines && len(line) < overlap {
		w.held = line
		w.lines++
		return
	}
	w.lines = 0
	out.WriteString(w.r.String(line))
}

// inKey drops what belongs to a private key and returns what follows it.
func (w *Writer) inKey(out *bytes.Buffer, line string) string {
	i := strings.Index(line, "-----END ")
	if i < 0 {
		if w.key += len(line); w.key > maxKey {
			w.key = 0
			out.WriteString(markOpen + "private-key]\n")
		}
		return ""
	}
	w.key = 0
	out.WriteString(markOpen + "private-key]")
	rest := line[i+len("-----END "):]
	if j := strings.Index(rest, "-----"); j >= 0 {
		return rest[j+len("-----"):]
	}
	return "\n"
}

// openKey is where a private key begins that does not end in the same text,
// else -1.
func openKey(s string) int {
	i := strings.LastIndex(s, "-----BEGIN ")
	if i < 0 || strings.Contains(s[i:], "-----END ") {
		return -1
	}
	if label, _, ok := strings.Cut(s[i+len("-----BEGIN "):], "-----"); !ok || !strings.Contains(label, "PRIVATE KEY") {
		return -1
	}
	return i
}

// shorten writes the beginning of a line that has no end yet, cut where
// redacting both parts gives what redacting the whole gives.
func (w *Writer) shorten(out *bytes.Buffer) {
	s := w.held + string(w.buf)
	w.held, w.lines = "", 0
	if w.eat || w.key > 0 {
		w.buf = w.buf[:0]
		w.line(out, s)
		return
	}
	whole := w.r.String(s)
	for back := overlap; back < len(s); back *= 2 {
		cut := len(s) - back
		head := w.r.String(s[:cut])
		if rest, ok := strings.CutPrefix(whole, head); ok && rest == w.r.String(s[cut:]) {
			out.WriteString(head)
			w.buf = append(w.buf[:0], s[cut:]...)
			return
		}
	}
	// One secret fills it all: what follows, up to a blank or quote, is its rest.
	out.WriteString(whole)
	w.buf, w.eat = w.buf[:0], strings.HasSuffix(whole, "]")
}

// Flush writes what is held back, as at the end of the stream: a terminal
// calls it after a prompt that has no newline.
func (w *Writer) Flush() error {
	var out bytes.Buffer
	if rest := w.held + string(w.buf); rest != "" && !w.eat && w.key == 0 {
		out.WriteString(w.r.String(rest))
	}
	w.buf, w.held, w.lines = w.buf[:0], "", 0
	return w.emit(&out)
}

// Close writes what is held back. It does not close the writer behind.
func (w *Writer) Close() error {
	err := w.Flush()
	if w.key > 0 && err == nil {
		w.key = 0
		_, err = io.WriteString(w.w, markOpen+"private-key]\n")
	}
	return err
}

func (w *Writer) emit(out *bytes.Buffer) error {
	if out.Len() == 0 {
		return nil
	}
	_, err := w.w.Write(out.Bytes())
	return err
}
