package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"llmdyno/internal/artifact"
	"llmdyno/internal/compress"
)

// maxRedacted bounds the places that bundle.json lists.
const maxRedacted = 2000

// The states of a capture.
const (
	StateRunning     = "running"
	StateComplete    = "complete"
	StateInterrupted = "interrupted" // by the user
	StateDeadline    = "deadline"    // not everything was asked in time
)

// Writer writes one bundle. Its methods may be called from several goroutines.
// Every byte passes the redaction; files have mode 0600.
type Writer struct {
	run     *artifact.Run
	out     string // as given
	archive bool

	mu       sync.Mutex
	manifest Manifest
	targets  []Target
	redacted map[string]marks // by file
}

type marks struct {
	places []Redacted
	n      int
}

// Result is a bundle that was written.
type Result struct {
	Path   string
	Bytes  int64  // of an archive
	SHA256 string // of an archive
	Files  int
}

// isArchive tells an archive's name from a folder's; names of other archives are
// refused.
func isArchive(name string) (bool, error) {
	for _, end := range []string{".tar.zst", ".tar.gz", ".tgz"} {
		if strings.HasSuffix(name, end) {
			return true, nil
		}
	}
	for _, end := range []string{".tar", ".zip", ".zst", ".gz", ".tar.xz", ".tar.bz2", ".7z"} {
		if strings.HasSuffix(name, end) {
			return false, fmt.Errorf("bundle %s: expected a folder, .tar.zst or .tar.gz", name)
		}
	}
	return false, nil
}

// Create begins a bundle: a new or empty folder, or an archive where there is no
// file yet. An archive is put together in a folder beside it, NAME.partial, which
// is a bundle in itself if the process is killed.
func Create(out string, m Manifest, r *artifact.Redactor) (*Writer, error) {
	packed, err := isArchive(out)
	if err != nil {
		return nil, err
	}
	dir := out
	if packed {
		if _, err := os.Lstat(out); err == nil {
			return nil, fmt.Errorf("bundle %s: it is there already: choose another name", out)
		}
		dir = out + ".partial"
	}
	m.Schema, m.SchemaVersion, m.Origin, m.State = Schema, SchemaVersion, OriginOurs, StateRunning
	run, err := artifact.CreatePrivate(dir, artifact.Meta{Tool: m.Tool, ToolVersion: m.ToolVersion, Kind: "incident", Command: m.Command}, r)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", out, err)
	}
	w := &Writer{run: run, out: out, archive: packed, manifest: m, redacted: map[string]marks{}}
	if err := run.WriteJSON(manifestName, m); err != nil {
		run.Close()
		return nil, err
	}
	return w, nil
}

// Path is the bundle's path as it was given.
func (w *Writer) Path() string { return w.out }

// Write puts a file into the bundle, redacted.
func (w *Writer) Write(name string, body []byte) error {
	if !belongs(name) {
		return fmt.Errorf("bundle %s: %q is no name of a file in it", w.out, name)
	}
	if !w.manifest.Settings.KeepPrompts {
		body = hidePrompts(body)
	}
	hidden, err := w.run.WriteHidden(name, body)
	if err != nil {
		return err
	}
	places, n := marksIn(name, hidden, maxRedacted)
	if n > 0 {
		w.mu.Lock()
		w.redacted[name] = marks{places, n}
		w.mu.Unlock()
	}
	return nil
}

// Target puts one target's record into the bundle, in place of an earlier one.
func (w *Writer) Target(t Target) error {
	t.Schema, t.SchemaVersion = Schema, SchemaVersion
	if err := w.run.WriteJSON(path.Join(targetsDir, t.ID, targetName), t); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.IndexFunc(w.targets, func(x Target) bool { return x.ID == t.ID }); i >= 0 {
		w.targets[i] = t
	} else {
		w.targets = append(w.targets, t)
	}
	return nil
}

// Note adds what was left out and why.
func (w *Writer) Note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.manifest.Notes = append(w.manifest.Notes, fmt.Sprintf(format, args...))
}

// Host and Log add a file of the machine, which is in the bundle already.
func (w *Writer) Host(f File) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.manifest.Host = append(w.manifest.Host, f)
}

// Log adds a log file, which is in the bundle already.
func (w *Writer) Log(f File) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.manifest.Logs = append(w.manifest.Logs, f)
}

// Finish writes what stands for the whole, seals the bundle and packs it.
func (w *Writer) Finish(state string) (Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &w.manifest
	m.State, m.Ended = state, time.Now().UTC()
	for _, name := range sortedKeys(w.redacted) {
		x := w.redacted[name]
		m.RedactedN += x.n
		m.Redacted = append(m.Redacted, x.places[:min(len(x.places), maxRedacted-len(m.Redacted))]...)
	}
	slices.SortFunc(w.targets, func(a, b Target) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(m.Host, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	sealed := artifact.StateComplete
	if state != StateComplete {
		sealed = artifact.StateInterrupted
	}
	err := errors.Join(
		w.run.WriteFile(SummaryName, []byte(summary(*m, w.targets))),
		w.run.WriteJSON(manifestName, m))
	if err == nil {
		err = w.run.Seal(sealed)
	}
	dir := w.run.Dir()
	if err := errors.Join(err, w.run.Settle()); err != nil {
		return Result{}, err
	}
	if !w.archive {
		return Result{Path: w.out, Files: len(w.run.Manifest().Files) + 1}, nil
	}
	res, err := pack(dir, w.out, false, m.Ended)
	if err != nil {
		return res, fmt.Errorf("%w; the bundle is in %s", err, w.out+".partial")
	}
	return res, os.RemoveAll(dir)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// pack makes an archive of a folder: the index first, so that a torn archive
// still has it. Equal folders give equal archives.
func pack(dir, out string, replace bool, at time.Time) (Result, error) {
	src, err := openFolder(dir)
	if err != nil {
		return Result{}, err
	}
	defer src.close()
	names := slices.Clone(src.names())
	first := []string{SummaryName, manifestName, artifact.ManifestName}
	slices.SortStableFunc(names, func(a, b string) int { return slices.Index(first, b) - slices.Index(first, a) })
	f, err := artifact.CreatePacked(out, replace)
	if err != nil {
		return Result{}, err
	}
	defer f.Abort()
	sum, count := sha256.New(), &counter{}
	z, err := compress.NewWriter(io.MultiWriter(f, sum, count), compress.FormByName(out))
	if err != nil {
		return Result{}, err
	}
	t := tar.NewWriter(z)
	for _, name := range names {
		if err := addFile(t, dir, name, at); err != nil {
			return Result{}, fmt.Errorf("packing %s: %w", out, err)
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return Result{}, fmt.Errorf("packing %s: %w", out, err)
	}
	if err := f.Commit(); err != nil {
		return Result{}, err
	}
	return Result{Path: out, Bytes: count.n, SHA256: hex.EncodeToString(sum.Sum(nil)), Files: len(names)}, nil
}

func addFile(t *tar.Writer, dir, name string, at time.Time) error {
	h, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	defer h.Close()
	info, err := h.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: 0o600, ModTime: at.Truncate(time.Second), Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err = io.Copy(t, io.LimitReader(h, info.Size()))
	return err
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }

// summary is SUMMARY.txt.
func summary(m Manifest, targets []Target) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Capture of %d server(s), %s to %s (UTC), by %s %s\n", len(targets), m.Started.UTC().Format(time.RFC3339), m.Ended.UTC().Format(time.RFC3339), m.Tool, m.ToolVersion)
	if m.User != "" || m.HostName != "" {
		fmt.Fprintf(&b, "Collected by %s on %s\n", m.User, m.HostName)
	}
	fmt.Fprintf(&b, "State: %s. Redacted places: %d.", m.State, m.RedactedN)
	if m.Settings.KeepPrompts {
		b.WriteString(" Prompts are kept: handle with care.")
	}
	b.WriteString("\n\n")
	for _, t := range targets {
		what := t.Engine
		if what == "" {
			what = "engine not recognised"
		}
		fmt.Fprintf(&b, "%s  %s  %s %s\n", t.ID, t.URL, what, t.EngineVersion)
		for _, p := range t.Probes {
			fmt.Fprintf(&b, "  %-16s %-28s %s\n", p.Name, p.Path, verdict(p))
		}
		if n := len(t.Samples); n > 0 {
			fmt.Fprintf(&b, "  %d samples over %s\n", n, t.Samples[n-1].Started.Sub(t.Samples[0].Started).Round(time.Second))
		}
		for _, note := range t.Notes {
			fmt.Fprintf(&b, "  note: %s\n", note)
		}
		b.WriteByte('\n')
	}
	for _, f := range slices.Concat(m.Host, m.Logs) {
		said := fmt.Sprintf("%d bytes", f.Bytes)
		if f.Error != "" {
			said = "not there: " + f.Error
		}
		fmt.Fprintf(&b, "%s: %s\n", f.Name, said)
	}
	for _, note := range m.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	b.WriteString("\nEach server's replies are files in its folder below targets/, as they came. manifest.json has their SHA-256.\n")
	return b.String()
}

func verdict(p Probe) string {
	said := fmt.Sprintf("HTTP %d", p.Status)
	if p.Status == 0 {
		said = "no reply"
	}
	if p.ErrorClass != "" {
		said += ", " + p.ErrorClass
	}
	said += fmt.Sprintf(", %.0f ms, %d bytes", p.DurationMS, p.Bytes)
	if p.Error != "" {
		said += ": " + p.Error
	}
	return said
}
