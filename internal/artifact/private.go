package artifact

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// privateDisk makes files for their owner alone and leaves durability to one
// call at the end ([Run.Settle]): a capture of many servers writes thousands of
// small files at once.
type privateDisk struct{}

type privateFile struct{ *os.File }

// Sync is left to Settle.
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

// Settle makes everything in the folder durable and releases it, without a trace
// of the lock.
func (r *Run) Settle() error {
	dir, err := os.Open(r.dir)
	if err == nil {
		err = unix.Syncfs(int(dir.Fd()))
		dir.Close()
	}
	r.Close()
	os.Remove(filepath.Join(r.dir, lockName))
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
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
