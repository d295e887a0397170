package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// maxLogTail bounds what a capped log keeps of its end in memory.
const maxLogTail = 4 << 20

// Log begins the log of a server: redacted, and at most about capBytes long (0
// = no cap). Beyond the cap the first part stays, the last part (half of the
// cap, at most 4 MiB) is kept in memory and written at Close, and one line
// between them states what was cut. The log is live: it stands under its name
// from the first line on.
func (r *Run) Log(name string, capBytes int64) (io.WriteCloser, error) {
	path, err := r.place(name)
	if err != nil {
		return nil, err
	}
	h, err := r.disk.create(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, explain(err))
	}
	c := &cappedLog{path: path, h: h, cap: capBytes}
	if capBytes > 0 {
		c.tailCap = min(capBytes/2, maxLogTail)
		c.head = capBytes - c.tailCap
	}
	return &redactedLog{w: r.redactor.Writer(c), c: c}, nil
}

// redactedLog joins the redaction with the capped file behind it.
type redactedLog struct {
	mu   sync.Mutex
	w    io.WriteCloser
	c    *cappedLog
	done bool
}

func (l *redactedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return 0, fmt.Errorf("writing %s: %w", l.c.path, errDone)
	}
	return l.w.Write(b)
}

func (l *redactedLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return nil
	}
	l.done = true
	return errors.Join(l.w.Close(), l.c.finish())
}

// cappedLog writes the head through and keeps the tail in a ring.
type cappedLog struct {
	path      string
	h         handle
	cap       int64 // 0 = none
	head      int64 // bytes that may still be written through
	cutting   bool
	tailCap   int64
	tail      []byte // grows to at most twice tailCap
	cut       int64  // bytes dropped between head and tail
	headEnded bool   // the head ends with a newline
}

func (c *cappedLog) Write(b []byte) (int, error) {
	n := len(b)
	if c.cap > 0 && !c.cutting && int64(n) > c.head {
		// Whole lines as far as they fit; a line never continues after the gap.
		fit := bytes.LastIndexByte(b[:c.head], '\n') + 1
		c.cutting = true
		if err := c.through(b[:fit]); err != nil {
			return 0, err
		}
		b = b[fit:]
	}
	if c.cutting {
		c.keep(b)
		return n, nil
	}
	c.head -= int64(n)
	return n, c.through(b)
}

func (c *cappedLog) through(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	c.headEnded = b[len(b)-1] == '\n'
	if _, err := c.h.Write(b); err != nil {
		return fmt.Errorf("writing %s: %w", c.path, explain(err))
	}
	return nil
}

func (c *cappedLog) keep(b []byte) {
	c.tail = append(c.tail, b...)
	if int64(len(c.tail)) > 2*c.tailCap {
		c.drop()
	}
}

// drop shortens the ring to its cap.
func (c *cappedLog) drop() {
	over := int64(len(c.tail)) - c.tailCap
	if over <= 0 {
		return
	}
	c.cut += over
	c.tail = append(c.tail[:0], c.tail[over:]...)
}

func (c *cappedLog) finish() error {
	c.drop()
	var err error
	if c.cut > 0 {
		// The tail begins with a whole line where it holds one.
		if i := bytes.IndexByte(c.tail, '\n'); i >= 0 && i+1 < len(c.tail) {
			c.cut += int64(i) + 1
			c.tail = c.tail[i+1:]
		}
		note := fmt.Sprintf("[llmdyno: %d bytes of this log were cut here, it was longer than %d bytes]\n", c.cut, c.cap)
		if !c.headEnded {
			note = "\n" + note
		}
		err = c.through([]byte(note))
	}
	if err == nil {
		err = c.through(c.tail)
	}
	return errors.Join(err, c.h.Sync(), c.h.Close())
}
