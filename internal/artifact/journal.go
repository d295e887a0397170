package artifact

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"llmdyno/internal/compress"
	"llmdyno/internal/lines"
)

// DefaultLineLimit bounds one line of a file that is read, in bytes.
const DefaultLineLimit = 16 << 20

// Appender adds lines to a file, each durable when JSON returns.
type Appender struct {
	mu   sync.Mutex
	r    *Redactor
	path string
	h    handle
	size int64
	torn bool
	done bool
}

// AppendFile opens a file of JSON lines for appending, made when it is
// missing. A last line without its newline, left by a process that was killed
// while writing, is cut off; see [Appender.Torn].
func (r *Run) AppendFile(name string) (*Appender, error) {
	path, err := r.place(name)
	if err != nil {
		return nil, err
	}
	size, torn, err := cutTorn(path)
	if err != nil {
		return nil, fmt.Errorf("appending to %s: %w", path, explain(err))
	}
	h, err := r.disk.create(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND)
	if err != nil {
		return nil, fmt.Errorf("appending to %s: %w", path, explain(err))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		h.Close()
		return nil, fmt.Errorf("appending to %s: %w", path, explain(err))
	}
	return &Appender{r: r.redactor, path: path, h: h, size: size, torn: torn}, nil
}

// Torn says whether a torn last line was cut off when the file was opened.
func (a *Appender) Torn() bool { return a.torn }

// JSON writes v as one redacted line and waits until it is on the disk. After
// an error the line is not in the file, and a later call may try again.
func (a *Appender) JSON(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("appending to %s: encoding the line as JSON: %w", a.path, err)
	}
	line := append(a.r.Bytes(b), '\n')
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done {
		return fmt.Errorf("appending to %s: %w", a.path, errDone)
	}
	_, err = a.h.Write(line)
	if err == nil {
		err = a.h.Sync()
	}
	if err != nil {
		// A part of the line may be there; a full disk still lets us shrink.
		return fmt.Errorf("appending to %s: %w", a.path, errors.Join(explain(err), a.h.Truncate(a.size)))
	}
	a.size += int64(len(line))
	return nil
}

// Close ends appending. Calling it again does nothing.
func (a *Appender) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done {
		return nil
	}
	a.done = true
	if err := a.h.Close(); err != nil {
		return fmt.Errorf("appending to %s: %w", a.path, explain(err))
	}
	return nil
}

// cutTorn cuts a file back to its last newline and says how long it is then.
func cutTorn(path string) (size int64, torn bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, false, err
	}
	keep, err := lastNewline(f, end)
	if err != nil || keep == end {
		return end, false, err
	}
	if err := f.Truncate(keep); err != nil {
		return end, false, err
	}
	return keep, true, f.Sync()
}

// lastNewline is the offset just after the last newline before end, 0 when
// there is none.
func lastNewline(f io.ReaderAt, end int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end > 0 {
		n := min(end, int64(len(buf)))
		if _, err := f.ReadAt(buf[:n], end-n); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}

// ReadLines calls fn for each line of a .jsonl file, or of a .jsonl.zst file,
// with its number from 1 and without the newline. The slice is valid during the
// call only. Empty lines are passed over. A line longer than limit bytes (0:
// [DefaultLineLimit]) is an error that names file and line, and so is an error
// of fn, which ends the reading. A last line without its newline is not passed
// to fn: torn reports it, and also a compressed file that ends too early.
func ReadLines(path string, limit int, fn func(n int, line []byte) error) (torn bool, err error) {
	if limit <= 0 {
		limit = DefaultLineLimit
	}
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", path, explain(err))
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(path, ".zst") {
		z, err := compress.NewReader(f)
		if errors.Is(err, compress.ErrEmpty) {
			return true, nil // cut before its first byte
		}
		if err != nil {
			return false, fmt.Errorf("reading %s: %w", path, err)
		}
		defer z.Close()
		in = z
	}
	return readLines(path, in, limit, fn)
}

func readLines(path string, in io.Reader, limit int, fn func(n int, line []byte) error) (torn bool, err error) {
	br := bufio.NewReaderSize(in, 64<<10)
	var line []byte
	for n := 1; ; n++ {
		line, err = lines.Next(br, line[:0], limit)
		switch {
		case errors.Is(err, io.EOF):
			return len(line) > 0, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return true, nil
		case errors.Is(err, bufio.ErrTooLong):
			return false, fmt.Errorf("reading %s:%d: line longer than %d bytes: is this a file of JSON lines?", path, n, limit)
		case err != nil:
			return false, fmt.Errorf("reading %s:%d: %w", path, n, err)
		}
		if line = bytes.TrimSuffix(line[:len(line)-1], []byte("\r")); len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err := fn(n, line); err != nil {
			return false, fmt.Errorf("reading %s:%d: %w", path, n, err)
		}
	}
}
