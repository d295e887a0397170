package artifact

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// privateDisk makes files for their owner alone and does not wait for the disk: a
// capture of many servers writes thousands of small files at once, and nothing
// resumes from them.
type privateDisk struct{}

type privateFile struct{ *os.File }

// Sync is left to the system.
func (privateFile) Sync() error { return nil }

func (privateDisk) create(path string, flag int) (handle, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return privateFile{f}, nil
}

// CreatePrivate is [Create] for what only its owner may read: the folder has mode
// 0700, its files 0600. It ends with [Run.Settle].
func CreatePrivate(dir string, m Meta, r *Redactor) (*Run, error) {
	run, err := create(dir, m, r, privateDisk{})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(run.dir, 0o700); err != nil {
		run.release()
		return nil, fmt.Errorf("run folder %s: %w", run.dir, explain(err))
	}
	return run, nil
}

// WriteHidden is [Run.WriteFile] that returns what was written: the content as
// the redaction left it.
func (r *Run) WriteHidden(name string, data []byte) ([]byte, error) {
	hidden := r.redactor.Bytes(data)
	return hidden, r.writeWhole(name, hidden)
}

// Settle releases the folder without a trace of the lock. When its files reach
// the disk is left to the system.
func (r *Run) Settle() error {
	r.Close()
	if err := os.Remove(filepath.Join(r.dir, lockName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("writing %s: %w", r.dir, explain(err))
	}
	return nil
}

// CreatePacked begins a file for its owner alone that is written as it comes: an
// archive of what has passed the redaction already. A file that is there is not
// replaced unless asked. Nothing stands under its name before Commit.
func CreatePacked(path string, replace bool) (*File, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, err)
	}
	if _, err := os.Lstat(abs); err == nil && !replace {
		return nil, fmt.Errorf("writing %s: it is there already: choose another name", path)
	}
	temp := filepath.Join(filepath.Dir(abs), tempPrefix+rand.Text()[:12]+"-"+filepath.Base(abs))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", path, explain(err))
	}
	return &File{p: &pending{path: abs, h: f}, w: asIs{f}}, nil
}

// asIs leaves closing to the commit.
type asIs struct{ *os.File }

func (asIs) Close() error { return nil }
