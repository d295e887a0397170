package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"llmdyno/internal/compress"
)

// Bounds on an archive.
const (
	// heldMost is unpacked into memory; what is more goes to a file without a name.
	heldMost = 32 << 20
	// unpackMost bounds what one archive may hold, and unpackRatio how much more
	// that may be than the archive, since a small file can unpack to any size.
	unpackMost  = 16 << 30
	unpackRatio = 1000
	unpackFloor = 256 << 20
)

// archive is an unpacked tar: one run of bytes with the extent of every file.
type archive struct {
	list    []string
	extents map[string]extent
	held    []byte
	spill   *os.File // has no name any more
}

type extent struct{ at, size int64 }

// openArchive unpacks. Entries that would leave the bundle, links and devices
// are left out and named; a torn archive gives what stands before the break.
func openArchive(name string) (source, []string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	return unpack(f, info.Size())
}

func unpack(r io.Reader, size int64) (source, []string, error) {
	z, err := compress.NewReader(r)
	if err != nil {
		return nil, nil, err
	}
	defer z.Close()
	limit := min(unpackMost, max(unpackFloor, size*unpackRatio))
	a := &archive{extents: map[string]extent{}}
	warnings, err := a.fill(tar.NewReader(io.LimitReader(z, limit)), limit)
	if err == nil && len(a.list) == 0 {
		err = fmt.Errorf("%w: expected a .tar.zst or .tar.gz archive with files", ErrNoBundle)
	}
	if err != nil {
		a.close()
		return nil, nil, err
	}
	slices.Sort(a.list)
	return a, warnings, nil
}

func (a *archive) fill(t *tar.Reader, limit int64) (warnings []string, err error) {
	var at int64
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return warnings, nil
		}
		if err != nil {
			if len(a.list) == 0 {
				return nil, fmt.Errorf("%w: expected a tar archive: %v", ErrNoBundle, err)
			}
			return append(warnings, fmt.Sprintf("the archive is damaged or torn after %s: %v", a.list[len(a.list)-1], err)), nil
		}
		name := h.Name
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if h.Typeflag != tar.TypeReg || !belongs(name) {
			if len(warnings) < 20 {
				warnings = append(warnings, fmt.Sprintf("the archive's entry %.80q was left out: it is no plain file inside the bundle", name))
			}
			continue
		}
		if _, twice := a.extents[name]; twice || len(a.list) >= maxEntries {
			return nil, fmt.Errorf("the archive's entry %.80q is one too many: it stands there twice, or more than %d do", name, maxEntries)
		}
		if h.Size > limit {
			return nil, fmt.Errorf("the archive's entry %.80q claims %d bytes: more than this archive can hold", name, h.Size)
		}
		n, err := io.Copy(a, t)
		a.list = append(a.list, name)
		a.extents[name] = extent{at, n}
		at += n
		if err != nil {
			return append(warnings, fmt.Sprintf("the archive is damaged or torn in %s: %v", name, err)), nil
		}
	}
}

// Write takes the next bytes: into memory at first, then into a file that has
// lost its name, so that nothing stays behind.
func (a *archive) Write(b []byte) (int, error) {
	if a.spill == nil && len(a.held)+len(b) <= heldMost {
		a.held = append(a.held, b...)
		return len(b), nil
	}
	if a.spill == nil {
		f, err := os.CreateTemp("", "llmdyno-bundle-*")
		if err != nil {
			return 0, fmt.Errorf("unpacking: %w", err)
		}
		os.Remove(f.Name())
		a.spill = f
		if _, err := f.Write(a.held); err != nil {
			return 0, fmt.Errorf("unpacking: %w: free some space in %s or set TMPDIR", err, os.TempDir())
		}
		a.held = nil
	}
	n, err := a.spill.Write(b)
	if err != nil {
		err = fmt.Errorf("unpacking: %w: free some space in %s or set TMPDIR", err, os.TempDir())
	}
	return n, err
}

func (a *archive) names() []string { return a.list }

func (a *archive) read(name string, limit int64) ([]byte, error) {
	x, ok := a.extents[name]
	if !ok {
		return nil, fmt.Errorf("file %q is no part of the bundle", name)
	}
	if x.size > limit {
		return nil, fmt.Errorf("file %s is longer than %d bytes", name, limit)
	}
	if a.spill == nil {
		return bytes.Clone(a.held[x.at : x.at+x.size]), nil
	}
	body := make([]byte, x.size)
	if _, err := a.spill.ReadAt(body, x.at); err != nil {
		return nil, fmt.Errorf("file %s: %w", name, err)
	}
	return body, nil
}

func (a *archive) close() error {
	if a.spill == nil {
		return nil
	}
	return a.spill.Close()
}
