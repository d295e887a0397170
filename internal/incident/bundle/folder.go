package bundle

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// folder reads a bundle in place. Links that lead out of it are not followed
// (os.Root).
type folder struct {
	root *os.Root
	list []string
}

func openFolder(dir string) (source, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	f := &folder{root: root}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a part that cannot be read is missing
		}
		if d.Type().IsRegular() && belongs(name) {
			f.list = append(f.list, name)
		}
		if len(f.list) > maxEntries {
			return fmt.Errorf("more than %d files: this is no bundle", maxEntries)
		}
		return nil
	})
	if err != nil {
		root.Close()
		return nil, err
	}
	slices.Sort(f.list)
	return f, nil
}

func (f *folder) names() []string { return f.list }
func (f *folder) close() error    { return f.root.Close() }

func (f *folder) read(name string, limit int64) ([]byte, error) {
	if !belongs(name) {
		return nil, fmt.Errorf("file %q is no part of the bundle", name)
	}
	h, err := f.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	if info, err := h.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("file %s is no regular file", name)
	}
	return readAtMost(h, name, limit)
}

func readAtMost(r io.Reader, name string, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", name, err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("file %s is longer than %d bytes", name, limit)
	}
	return body, nil
}
