package artifact

import (
	"fmt"
	"os"
	"path/filepath"
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
