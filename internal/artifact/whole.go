package artifact

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"llmdyno/internal/compress"
)

// WriteWhole writes one file outside of a run folder, redacted: readers see the
// old content or the new one, never a part. After an error the old content is
// still there. Folders on the way are made. What is no regular file (a pipe, /dev/null) is written to as it
// is. A nil redactor means the built-in rules.
func WriteWhole(path string, data []byte, r *Redactor) error {
	if r == nil {
		r = NewRedactor()
	}
	return writeWholeOn(realDisk{}, path, r.Bytes(data))
}

func writeWholeOn(d disk, path string, data []byte) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if info, err := os.Stat(abs); err == nil && info.IsDir() {
		return fmt.Errorf("writing %s: it is a folder: name a file in it", path)
	} else if err == nil && !info.Mode().IsRegular() {
		return writeThrough(path, data)
	}
	// Through a link the file that it names is replaced, not the link.
	if target, err := filepath.EvalSymlinks(abs); err == nil {
		abs = target
	}
	run := &Run{dir: filepath.Dir(abs), disk: d}
	p, err := run.begin(filepath.Base(abs))
	if err != nil {
		return err
	}
	if _, err := p.h.Write(data); err != nil {
		return p.fail(err)
	}
	return p.commit()
}

func writeThrough(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, explain(err))
	}
	_, err = f.Write(data)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, explain(err))
	}
	return nil
}

// CreateWhole begins one file outside of a run folder that is too large to hold:
// its content passes the redaction line by line, in the form that its name asks
// for (.gz, .zst). Nothing stands under its name before Commit.
func CreateWhole(path string, r *Redactor) (*File, error) {
	if r == nil {
		r = NewRedactor()
	}
	return createWhole(path, func(w io.WriteCloser) io.WriteCloser { return chain{r.Writer(w), w} })
}

// CreateRedacted is CreateWhole for content whose texts have passed the redaction
// before they were multiplied: a pattern that is repeated, names that many lines
// share. Nothing else may be written with it.
func CreateRedacted(path string) (*File, error) {
	return createWhole(path, func(w io.WriteCloser) io.WriteCloser { return w })
}

func createWhole(path string, through func(io.WriteCloser) io.WriteCloser) (*File, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	if info, err := os.Stat(abs); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("writing %s: it is no regular file: name a file, or - for standard output", path)
	}
	if target, err := filepath.EvalSymlinks(abs); err == nil {
		abs = target
	}
	run := &Run{dir: filepath.Dir(abs), disk: realDisk{}}
	p, err := run.begin(filepath.Base(abs))
	if err != nil {
		return nil, err
	}
	z, err := compress.NewWriter(p.h, compress.FormByName(path))
	if err != nil {
		return nil, p.fail(err)
	}
	return &File{p: p, w: through(z)}, nil
}

// chain writes to its first and closes all, in order.
type chain []io.WriteCloser

func (c chain) Write(b []byte) (int, error) { return c[0].Write(b) }

func (c chain) Close() error {
	var errs []error
	for _, w := range c {
		errs = append(errs, w.Close())
	}
	return errors.Join(errs...)
}
