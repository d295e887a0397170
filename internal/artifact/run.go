package artifact

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Files and folders are readable by everybody on the machine, as results are
// meant to be shared and copied; that is safe because nothing secret passes the
// redaction in front of every write.
const (
	fileMode fs.FileMode = 0o644
	dirMode  fs.FileMode = 0o755
)

const (
	lockName   = ".lock"
	tempPrefix = ".tmp-"
)

// ErrLocked means that another process holds the run folder.
var ErrLocked = errors.New("run folder in use")

// ErrNotEmpty means that a new run was asked for in a folder that already
// holds something.
var ErrNotEmpty = errors.New("folder not empty")

// ErrNoRun means that a folder holds no run of this program.
var ErrNoRun = errors.New("no run here")

// Run is one run folder, held by this process. Its methods may be called from
// several goroutines.
type Run struct {
	dir      string
	redactor *Redactor
	lock     *os.File
	disk     disk

	mu       sync.Mutex
	manifest Manifest
}

// Create makes dir (with its parents) into the folder of a new run and writes
// a manifest in state running. A folder that already holds files is refused:
// with [ErrNotEmpty], and with a hint to resume when the files are a run. A nil
// redactor means the built-in rules.
func Create(dir string, m Meta, r *Redactor) (*Run, error) {
	return create(dir, m, r, realDisk{})
}

func create(dir string, m Meta, r *Redactor, d disk) (run *Run, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	if err := refuseUsed(dir); err != nil {
		return nil, err
	}
	made, err := makeDirs(dir)
	if err != nil {
		return nil, fmt.Errorf("making run folder %s: %w", dir, explain(err))
	}
	defer func() {
		if err != nil {
			undo(dir, made)
		}
	}()
	run, err = hold(dir, r, d)
	if err != nil {
		return nil, err
	}
	// Somebody may have begun a run between the first look and the lock.
	if err := refuseUsed(dir); err != nil {
		run.release()
		return nil, err
	}
	now := time.Now().UTC()
	run.manifest = newManifest(m, now)
	if err := run.writeManifest(); err != nil {
		run.release()
		return nil, err
	}
	return run, nil
}

// CreateIn makes a new run folder base/<UTC yyyymmdd-hhmmss>-<slug>. When that
// name is taken (two runs in one second) a number is added.
func CreateIn(base, slug string, now time.Time, m Meta, r *Redactor) (*Run, error) {
	name := now.UTC().Format("20060102-150405") + "-" + Slug(slug)
	for i := 1; ; i++ {
		dir := filepath.Join(base, name)
		if i > 1 {
			dir = fmt.Sprintf("%s-%d", dir, i)
		}
		if _, err := os.Lstat(dir); err == nil && i < 100 {
			continue
		}
		run, err := Create(dir, m, r)
		if i < 100 && (errors.Is(err, ErrNotEmpty) || errors.Is(err, ErrLocked)) {
			continue
		}
		return run, err
	}
}

// Slug makes a name that is safe in a path: lower-case letters, digits, dots
// and single hyphens, at most 60 bytes, never empty.
func Slug(s string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(s) {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' && b.Len() > 0:
			b.WriteRune(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() == 60 {
			break
		}
	}
	if out := strings.Trim(b.String(), "-."); out != "" {
		return out
	}
	return "run"
}

// Open takes up an existing run folder to go on with it: it locks the folder,
// reads the manifest, removes temporary files that a killed process left, and
// marks the run as running. A folder without a manifest gives [ErrNoRun].
func Open(dir string, r *Redactor) (*Run, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	manifest, err := ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	run, err := hold(dir, r, realDisk{})
	if err != nil {
		return nil, err
	}
	if err := removeTemps(dir); err != nil {
		run.release()
		return nil, err
	}
	run.manifest = manifest
	run.manifest.State = StateRunning
	run.manifest.Updated = time.Now().UTC()
	if err := run.writeManifest(); err != nil {
		run.release()
		return nil, err
	}
	return run, nil
}

// Dir is the absolute path of the folder.
func (r *Run) Dir() string { return r.dir }

// Path is the absolute path of a file in the folder; name uses slashes.
func (r *Run) Path(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }

// Close releases the folder. It does not change the state in the manifest;
// see [Run.Seal].
func (r *Run) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lock == nil {
		return nil
	}
	r.release()
	return nil
}

func (r *Run) release() {
	if r.lock != nil {
		r.lock.Close() // closing the only descriptor drops the flock
		r.lock = nil
	}
}

// hold locks the folder. The lock is a flock on a file of its own: the kernel
// drops it at death, so nothing stale can block a later process.
func hold(dir string, r *Redactor, d disk) (*Run, error) {
	if r == nil {
		r = NewRedactor()
	}
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("locking run folder %s: %w", dir, explain(err))
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is held by %s: wait until it ends or end it", ErrLocked, dir, holder(f))
		}
		return nil, fmt.Errorf("locking run folder %s: %w: the file system does not support locks; choose a local folder", dir, err)
	}
	if err := notePID(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking run folder %s: %w", dir, explain(err))
	}
	return &Run{dir: dir, redactor: r, lock: f, disk: d}, nil
}

func notePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(fmt.Sprintln(os.Getpid())), 0)
	return err
}

func holder(f *os.File) string {
	b, _ := io.ReadAll(io.LimitReader(f, 32))
	if pid := strings.TrimSpace(string(b)); pid != "" {
		return "process " + pid
	}
	return "another process"
}

// refuseUsed demands that dir does not exist or is an empty folder; the traces
// of a creation that was killed half-way do not count.
func refuseUsed(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("run folder %s: %w", dir, explain(err))
	}
	if !info.IsDir() {
		return fmt.Errorf("run folder %s: it is a file, not a folder: choose another name", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("run folder %s: %w", dir, explain(err))
	}
	at := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return !ours(e.Name()) })
	if at < 0 {
		return nil
	}
	if m, err := ReadManifest(dir); err == nil {
		return fmt.Errorf("%w: %s already holds a run (%s, begun %s): resume it or choose an empty folder", ErrNotEmpty, dir, m.State, m.Created.Format(time.RFC3339))
	}
	return fmt.Errorf("%w: %s holds %q, which is no part of a run: choose an empty or new folder", ErrNotEmpty, dir, entries[at].Name())
}

// ours names files of this package that are no part of the result.
func ours(base string) bool { return base == lockName || strings.HasPrefix(base, tempPrefix) }

// makeDirs is MkdirAll that returns the topmost folder it had to make.
func makeDirs(dir string) (made string, err error) {
	for p := dir; ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); err == nil {
			break
		}
		made = p
		if filepath.Dir(p) == p {
			break
		}
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		if made != "" {
			undo(dir, made)
		}
		return "", err
	}
	return made, nil
}

// undo removes what a failed creation made, and nothing else: os.Remove
// refuses folders that hold anything.
func undo(dir, made string) {
	os.Remove(filepath.Join(dir, lockName))
	if made == "" {
		return
	}
	for p := dir; len(p) >= len(made); p = filepath.Dir(p) {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
}

func removeTemps(dir string) error {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !e.IsDir() && strings.HasPrefix(e.Name(), tempPrefix) {
			return os.Remove(path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cleaning run folder %s: %w", dir, explain(err))
	}
	return nil
}

// WriteJSON writes v, indented and redacted, as a whole file.
func (r *Run) WriteJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: encoding it as JSON: %w", r.Path(name), err)
	}
	return r.WriteFile(name, append(b, '\n'))
}
