package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The schema of manifest.json.
const (
	ManifestSchema        = "llmdyno.manifest"
	ManifestSchemaVersion = 1
	ManifestName          = "manifest.json"
)

// maxManifest bounds a manifest that is read: a run of 100,000 files needs
// about 20 MB.
const maxManifest = 64 << 20

// The states of a run.
const (
	StateRunning     = "running"     // not sealed: still going on, or killed
	StateComplete    = "complete"    // everything that was planned was done
	StateInterrupted = "interrupted" // stopped by its user; resume goes on
	StateFailed      = "failed"      // could not go on; the journal says why
)

// Meta is what the caller knows of a run.
type Meta struct {
	Tool         string            `json:"tool"`
	ToolVersion  string            `json:"tool_version"`
	Kind         string            `json:"kind"`           // what the run is: "bench", "incident", …
	Slug         string            `json:"slug,omitempty"` // short name of what was run
	ConfigSHA256 string            `json:"config_sha256,omitempty"`
	Command      []string          `json:"command,omitempty"`   // argv of the tool
	Host         any               `json:"host,omitempty"`      // nil: ThisHost is asked
	GPUs         any               `json:"gpus,omitempty"`      // as found by the caller
	Engines      map[string]string `json:"engines,omitempty"`   // engine id → version as installed
	Simulated    bool              `json:"simulated,omitempty"` // measured on the simulated engine
}

// Manifest is the content of manifest.json.
type Manifest struct {
	Schema        string `json:"schema"`
	SchemaVersion int    `json:"schema_version"`
	Meta
	State   string    `json:"state"`
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
	Files   []Entry   `json:"files"` // sorted by path; the manifest itself is not in it
}

// Entry is one file of a run, as it was when the run was sealed.
type Entry struct {
	Path   string `json:"path"` // relative, with slashes
	Bytes  int64  `json:"size_bytes"`
	SHA256 string `json:"sha256"`
}

func newManifest(m Meta, now time.Time) Manifest {
	if m.Host == nil {
		m.Host = ThisHost()
	}
	m.Engines = maps.Clone(m.Engines)
	return Manifest{Schema: ManifestSchema, SchemaVersion: ManifestSchemaVersion, Meta: m, State: StateRunning, Created: now, Updated: now, Files: []Entry{}}
}

// Manifest is a copy of the manifest as it was last written.
func (r *Run) Manifest() Manifest {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.manifest
	m.Files = slices.Clone(m.Files)
	m.Engines = maps.Clone(m.Engines)
	return m
}

// Update changes what the manifest says of the run (an engine's version that
// has become known) and writes it.
func (r *Run) Update(change func(*Meta)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.manifest.Meta)
	r.manifest.Updated = time.Now().UTC()
	return r.writeManifest()
}

// Seal records every file with size and SHA-256 and the state of the run. It
// may be called again after more was written.
func (r *Run) Seal(state string) error {
	if !slices.Contains([]string{StateRunning, StateComplete, StateInterrupted, StateFailed}, state) {
		return fmt.Errorf("sealing run %s: no such state %q", r.dir, state)
	}
	files, err := listFiles(r.dir)
	if err != nil {
		return fmt.Errorf("sealing run %s: %w", r.dir, explain(err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.manifest.Files = files
	r.manifest.State = state
	r.manifest.Updated = time.Now().UTC()
	return r.writeManifest()
}

func (r *Run) writeManifest() error { return r.WriteJSON(ManifestName, r.manifest) }

// listFiles hashes every regular file of a run.
func listFiles(dir string) ([]Entry, error) {
	files := []Entry{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if !e.Type().IsRegular() || rel == ManifestName || ours(e.Name()) {
			return nil
		}
		entry, err := hashFile(path)
		if err != nil {
			return err
		}
		entry.Path = filepath.ToSlash(rel)
		files = append(files, entry)
		return nil
	})
	slices.SortFunc(files, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return files, err
}

func hashFile(path string) (Entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return Entry{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Bytes: n, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

// ReadManifest reads the manifest of a run folder. A folder without one gives
// [ErrNoRun].
func ReadManifest(dir string) (Manifest, error) {
	path := filepath.Join(dir, ManifestName)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Manifest{}, fmt.Errorf("%w: %s has no %s: name a folder that a run has left", ErrNoRun, dir, ManifestName)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("reading %s: %w", path, explain(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return Manifest{}, fmt.Errorf("reading %s: %w", path, err)
	}
	m, err := decodeManifest(b)
	if err != nil {
		return Manifest{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return m, nil
}

func decodeManifest(b []byte) (Manifest, error) {
	var m Manifest
	if len(b) > maxManifest {
		return m, fmt.Errorf("longer than %d bytes: this is no manifest", maxManifest)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return Manifest{}, fmt.Errorf("expected a JSON manifest: %w", err)
	}
	if m.Schema != ManifestSchema {
		return Manifest{}, fmt.Errorf("schema is %q, expected %q", m.Schema, ManifestSchema)
	}
	if m.SchemaVersion != ManifestSchemaVersion {
		return Manifest{}, fmt.Errorf("schema_version is %d, this program reads %d: use the version that wrote it (%s)", m.SchemaVersion, ManifestSchemaVersion, m.ToolVersion)
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return Manifest{}, fmt.Errorf("file %q leaves the run folder", f.Path)
		}
	}
	return m, nil
}

// Difference is one way in which a folder is not as its manifest says.
type Difference struct {
	Path string `json:"path"`
	What string `json:"what"` // "missing", "size", "content", "not in the manifest"
}

// Verify compares a run folder with its manifest and lists what differs,
// sorted by path; an empty list means that everything is as it was sealed.
func Verify(dir string) ([]Difference, error) {
	m, err := ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	files, err := listFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("verifying run %s: %w", dir, explain(err))
	}
	found := make(map[string]Entry, len(files))
	for _, f := range files {
		found[f.Path] = f
	}
	var diffs []Difference
	for _, want := range m.Files {
		got, ok := found[want.Path]
		delete(found, want.Path)
		switch {
		case !ok:
			diffs = append(diffs, Difference{want.Path, "missing"})
		case got.Bytes != want.Bytes:
			diffs = append(diffs, Difference{want.Path, "size"})
		case got.SHA256 != want.SHA256:
			diffs = append(diffs, Difference{want.Path, "content"})
		}
	}
	for path := range found {
		diffs = append(diffs, Difference{path, "not in the manifest"})
	}
	slices.SortFunc(diffs, func(a, b Difference) int { return strings.Compare(a.Path, b.Path) })
	return diffs, nil
}
