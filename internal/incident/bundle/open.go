package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Names of the files of a bundle.
const (
	manifestName = "bundle.json"
	targetName   = "target.json"
	targetsDir   = "targets"
	SummaryName  = "SUMMARY.txt"
	// expectedName holds what a test fixture is to give; it is no part of a bundle.
	expectedName = "expected.json"
)

// Bounds on what is read.
const (
	maxIndex   = 64 << 20 // bundle.json, target.json, metadata.json
	maxFile    = 256 << 20
	maxEntries = 200_000
)

// ErrNoBundle says that a place holds no bundle.
var ErrNoBundle = errors.New("no bundle here")

// Open reads a bundle: a folder or an archive of ours, or a folder of the Python
// toolkit. Bodies are read when they are asked for.
func Open(name string) (*Bundle, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("opening bundle: %w", err)
	}
	b := &Bundle{Path: name}
	if info.IsDir() {
		b.files, err = openFolder(name)
	} else {
		b.files, b.Warnings, err = openArchive(name)
	}
	if err != nil {
		return nil, fmt.Errorf("opening bundle %s: %w", name, err)
	}
	if err := b.load(); err != nil {
		b.Close()
		return nil, fmt.Errorf("opening bundle %s: %w", name, err)
	}
	return b, nil
}

// Close frees what an archive was unpacked into. Nothing is lost when it is left
// out: that place has no name and ends with the process.
func (b *Bundle) Close() error { return b.files.close() }

// load tells the two layouts apart.
func (b *Bundle) load() error {
	names := b.files.names()
	has := func(name string) bool { return slices.Contains(names, name) }
	switch {
	case has(manifestName) || slices.ContainsFunc(names, isTarget):
		return b.loadOurs(names)
	case slices.ContainsFunc(pythonFiles, func(f pythonFile) bool { return has(f.name) || has(f.name+errorSuffix) }), has(metadataName):
		return b.loadPython(names)
	}
	return fmt.Errorf("%w: expected %s or %s: name what collect has written", ErrNoBundle, manifestName, metadataName)
}

func isTarget(name string) bool {
	dir, file := path.Split(name)
	return file == targetName && path.Dir(strings.TrimSuffix(dir, "/")) == targetsDir
}

func (b *Bundle) loadOurs(names []string) error {
	b.Manifest = Manifest{Origin: OriginOurs, State: "running"}
	if slices.Contains(names, manifestName) {
		if err := b.decode(manifestName, &b.Manifest); err != nil {
			b.warn("%v", err)
		}
		if b.Manifest.Schema == Schema && b.Manifest.SchemaVersion > SchemaVersion {
			return fmt.Errorf("%s has schema_version %d, this program reads %d: use the version that wrote it (%s)", manifestName, b.Manifest.SchemaVersion, SchemaVersion, b.Manifest.ToolVersion)
		}
	} else {
		b.warn("%s is missing: the capture was cut short", manifestName)
	}
	b.Host, b.Logs = b.Manifest.Host, b.Manifest.Logs
	for _, name := range names {
		if !isTarget(name) {
			continue
		}
		var t Target
		if err := b.decode(name, &t); err != nil {
			b.warn("%v", err)
			continue
		}
		if t.ID == "" {
			t.ID = path.Base(path.Dir(name))
		}
		b.Targets = append(b.Targets, t)
	}
	slices.SortStableFunc(b.Targets, func(x, y Target) int { return strings.Compare(x.ID, y.ID) })
	return nil
}

func (b *Bundle) decode(name string, into any) error {
	raw, err := b.files.read(name, maxIndex)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: expected JSON: %w", name, err)
	}
	return nil
}

func (b *Bundle) warn(format string, args ...any) {
	b.Warnings = append(b.Warnings, fmt.Sprintf(format, args...))
}

// Body is what a probe brought: the reply's body, or as much of it as came. A
// probe without one gives nil.
func (b *Bundle) Body(p Probe) ([]byte, error) {
	if p.held {
		return p.body, nil
	}
	if p.File == "" {
		return nil, nil
	}
	return b.Read(p.File)
}

// Read is the content of a file of the bundle, by its name within.
func (b *Bundle) Read(name string) ([]byte, error) {
	body, err := b.files.read(name, maxFile)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", b.Path, err)
	}
	return body, nil
}

// Names lists the files of the bundle, sorted.
func (b *Bundle) Names() []string { return b.files.names() }

// source is where the files of a bundle stand.
type source interface {
	names() []string // sorted, with slashes
	// read gives a whole file of at most limit bytes.
	read(name string, limit int64) ([]byte, error)
	close() error
}

// belongs says that a name is part of a bundle and stays inside of it.
func belongs(name string) bool {
	return fs.ValidPath(name) && len(name) < 1<<10 && path.Base(name) != expectedName && !strings.HasPrefix(path.Base(name), ".")
}
