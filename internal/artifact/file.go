package artifact

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"llmdyno/internal/compress"
)

// errDone is returned by writes after Commit, Abort or Close.
var errDone = errors.New("file already finished")

// pending is a file under a temporary name beside its final one.
type pending struct {
	path string
	h    handle
	done bool
	lazy bool // of a private folder, which does not wait for the disk
}

func (r *Run) begin(name string) (*pending, error) {
	path, err := r.place(name)
	if err != nil {
		return nil, err
	}
	temp := filepath.Join(filepath.Dir(path), tempPrefix+rand.Text()[:12]+"-"+filepath.Base(path))
	h, err := r.disk.create(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, explain(err))
	}
	_, lazy := r.disk.(privateDisk)
	return &pending{path: path, h: h, lazy: lazy}, nil
}

// commit makes the file durable under its name. After an error nothing is left.
func (p *pending) commit() error {
	if p.done {
		return fmt.Errorf("writing %s: %w", p.path, errDone)
	}
	p.done = true
	err := errors.Join(p.h.Sync(), p.h.Close())
	if err == nil {
		err = os.Rename(p.h.Name(), p.path)
	}
	switch {
	case err != nil:
		os.Remove(p.h.Name())
	case !p.lazy:
		err = syncDir(filepath.Dir(p.path))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", p.path, explain(err))
	}
	return nil
}

// abort drops the file; after commit it does nothing.
func (p *pending) abort() {
	if p.done {
		return
	}
	p.done = true
	p.h.Close()
	os.Remove(p.h.Name())
}

func (p *pending) fail(err error) error {
	p.abort()
	return fmt.Errorf("writing %s: %w", p.path, explain(err))
}

// WriteFile writes a whole file, redacted: readers see the old content or the
// new one, never a part. After an error the old content is still there.
func (r *Run) WriteFile(name string, data []byte) error {
	return r.writeWhole(name, r.redactor.Bytes(data))
}

func (r *Run) writeWhole(name string, data []byte) error {
	p, err := r.begin(name)
	if err != nil {
		return err
	}
	if _, err := p.h.Write(data); err != nil {
		return p.fail(err)
	}
	return p.commit()
}

// File is a whole file that is written piece by piece. Nothing stands under
// its name before Commit.
type File struct {
	mu sync.Mutex
	p  *pending
	w  io.WriteCloser
}

// CreateFile begins a whole file whose content passes the redaction line by
// line.
func (r *Run) CreateFile(name string) (*File, error) {
	p, err := r.begin(name)
	if err != nil {
		return nil, err
	}
	return &File{p: p, w: r.redactor.Writer(p.h)}, nil
}

// Write appends to the file. After an error the file is gone.
func (f *File) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.p.done {
		return 0, fmt.Errorf("writing %s: %w", f.p.path, errDone)
	}
	n, err := f.w.Write(b)
	if err != nil {
		return n, f.p.fail(err)
	}
	return n, nil
}

// Commit puts the file under its name.
func (f *File) Commit() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.p.done {
		if err := f.w.Close(); err != nil {
			return f.p.fail(err)
		}
	}
	return f.p.commit()
}

// Abort drops the file. After Commit it does nothing, so it can be deferred.
func (f *File) Abort() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.p.abort()
}

// Lines is a whole file of compressed JSON lines, written one by one.
type Lines struct {
	mu sync.Mutex
	r  *Redactor
	p  *pending
	z  io.WriteCloser
	n  int
}

// CreateLinesZst begins a file of JSON lines, each redacted, compressed with
// zstd.
func (r *Run) CreateLinesZst(name string) (*Lines, error) {
	p, err := r.begin(name)
	if err != nil {
		return nil, err
	}
	z, err := compress.NewWriter(p.h, compress.Zstd)
	if err != nil {
		return nil, p.fail(err)
	}
	return &Lines{r: r.redactor, p: p, z: z}, nil
}

// JSON adds v as one line. After an error of the disk the file is gone; a
// value that cannot be encoded leaves it as it was.
func (l *Lines) JSON(v any) error {
	b, err := json.Marshal(v)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("writing %s: encoding line %d as JSON: %w", l.p.path, l.n+1, err)
	}
	if l.p.done {
		return fmt.Errorf("writing %s: %w", l.p.path, errDone)
	}
	if _, err := l.z.Write(append(l.r.Bytes(b), '\n')); err != nil {
		l.z.Close()
		return l.p.fail(err)
	}
	l.n++
	return nil
}

// Commit puts the file under its name.
func (l *Lines) Commit() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.p.done {
		if err := l.z.Close(); err != nil {
			return l.p.fail(err)
		}
	}
	return l.p.commit()
}

// Abort drops the file. After Commit it does nothing, so it can be deferred.
func (l *Lines) Abort() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.p.done {
		l.z.Close()
	}
	l.p.abort()
}
