package artifact

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// disk opens the files that a run writes. Tests put a disk in its place that
// fills up after a number of bytes.
type disk interface {
	create(path string, flag int) (handle, error)
}

// handle is what the writers need of an open file.
type handle interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
	Name() string
}

type realDisk struct{}

func (realDisk) create(path string, flag int) (handle, error) {
	f, err := os.OpenFile(path, flag, fileMode)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// syncDir makes a rename or a new name durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	// Some file systems refuse fsync on a folder; the rename is then as durable
	// as they make it.
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}

// explain adds what to do to the errors of a file system that a person can
// mend.
func explain(err error) error {
	for _, x := range []struct {
		is   error
		hint string
	}{
		{unix.ENOSPC, "free some space there or choose another folder"},
		{unix.EDQUOT, "free some space there or choose another folder"},
		{unix.EROFS, "the file system is read-only; choose another folder"},
		{fs.ErrPermission, "choose a folder that you may write to"},
		{unix.ENOTDIR, "a part of the path is a file; choose another folder"},
		{unix.EMFILE, "raise the limit on open files (ulimit -n)"},
		{unix.ENAMETOOLONG, "choose a shorter name"},
	} {
		if errors.Is(err, x.is) {
			return fmt.Errorf("%w: %s", err, x.hint)
		}
	}
	return err
}

// place checks that name stays inside the folder, makes its parents and
// returns its path.
func (r *Run) place(name string) (string, error) {
	if !filepath.IsLocal(filepath.FromSlash(name)) || name == "." {
		return "", fmt.Errorf("writing %q: the name leaves the run folder %s", name, r.dir)
	}
	path := r.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return "", fmt.Errorf("writing %s: %w", path, explain(err))
	}
	return path, nil
}
