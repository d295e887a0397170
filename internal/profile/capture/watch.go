package capture

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"llmdyno/internal/engine"
)

// Bounds of a folder of traces.
const (
	maxFiles  = 100_000
	endsBytes = 64 << 10 // of a file's beginning and end, by which its content is known again
)

// watcher knows what lay in a folder before a profile, so that nothing old
// passes for new: not by its name, nor by a time that somebody has touched.
type watcher struct {
	dir    string
	file   func(name string) (engine.ProfileFile, bool)
	before map[string]mark
	whole  map[string]checked
}

// mark is one state of a file.
type mark struct {
	size  int64
	mtime time.Time
	ends  [sha256.Size]byte
}

// checked is a file that was read to its end in that state.
type checked struct {
	size  int64
	mtime time.Time
	scan  scan
	err   error
}

// found is a file that is new.
type found struct {
	name  string
	size  int64
	mtime time.Time
	file  engine.ProfileFile
}

// folder makes the folder of a session and watches it. nil without an error =
// the server's folder is not visible here.
func (r *runner) folder(plan stagePlan, s *Stage) (*watcher, error) {
	if err := r.unused(plan); err != nil {
		return nil, err
	}
	q := r.q.Server
	here := q.Here
	s.ServerDir = q.Dir
	if r.p.NamesFolder && !r.q.AtLaunch {
		here, s.ServerDir = filepath.Join(q.Here, plan.name), filepath.Join(q.Dir, plan.name)
		if _, err := os.Stat(q.Here); err == nil || q.Here == r.q.Dir {
			if err := os.MkdirAll(here, 0o755); err != nil {
				return nil, fmt.Errorf("folder of the traces: %w", err)
			}
		}
	}
	if _, err := os.Stat(here); errors.Is(err, fs.ErrNotExist) {
		r.q.Say("warning: %s is not visible on this machine: the traces will have to be copied", here)
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("folder of the traces: %w", err)
	}
	if q.Remote && q.Dir == r.q.Dir {
		s.warn("another-machine", "%s is another machine by its address: its traces are taken to appear in %s as on a shared disk; if not, give --server-dir PATH=PATH-HERE", q.URL, here)
	}
	return &watcher{dir: here, file: r.p.File, whole: map[string]checked{}}, nil
}

// unused demands that the folders of a session hold no trace of an earlier one:
// whoever reads them later could not tell them apart.
func (r *runner) unused(plan stagePlan) error {
	names := []string{plan.name}
	if plan.byStage {
		names = append(names, stagePrefill, stageDecode)
	}
	for _, name := range names {
		dir := filepath.Join(r.q.Dir, name)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if f, ok := r.p.File(e.Name()); ok && f.Kind != engine.ProfileOther {
				return fmt.Errorf("%s holds a trace of an earlier capture (%s): name a new folder with --output-dir", dir, e.Name())
			}
		}
	}
	return nil
}

// note takes down what lies in the folder now.
func (w *watcher) note() error {
	if w == nil {
		return nil
	}
	files, err := w.list()
	if err != nil {
		return err
	}
	w.before = map[string]mark{}
	for _, f := range files {
		m := mark{size: f.size, mtime: f.mtime}
		m.ends, _ = ends(filepath.Join(w.dir, f.name))
		w.before[f.name] = m
	}
	return nil
}

// list is the traces in the folder, by name. What is being written under another
// name is left out.
func (w *watcher) list() ([]found, error) {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return nil, fmt.Errorf("folder of the traces: %w", err)
	}
	if len(entries) > maxFiles {
		return nil, fmt.Errorf("folder of the traces: %s holds more than %d files: give one of its own", w.dir, maxFiles)
	}
	var out []found
	for _, e := range entries {
		name := e.Name()
		f, ok := w.file(name)
		if !ok || f.Kind == engine.ProfileOther || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".tmp") {
			continue
		}
		info, err := os.Stat(filepath.Join(w.dir, name))
		if err != nil || !info.Mode().IsRegular() {
			continue // renamed away since, or no file
		}
		out = append(out, found{name, info.Size(), info.ModTime(), f})
	}
	return out, nil
}

// ends is the fingerprint of a file's first and last bytes.
func ends(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyN(h, f, endsBytes); err != nil && err != io.EOF {
		return sum, err
	}
	if _, err := f.Seek(-endsBytes, io.SeekEnd); err == nil {
		if _, err := io.Copy(h, io.LimitReader(f, endsBytes)); err != nil {
			return sum, err
		}
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// fresh is what is new since the last note: a name that was not there, or
// another content under one that was.
func (w *watcher) fresh() []found {
	if w == nil {
		return nil
	}
	files, err := w.list()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(files, func(f found) bool {
		old, was := w.before[f.name]
		if !was {
			return false
		}
		if old.size != f.size {
			return false
		}
		if old.mtime.Equal(f.mtime) {
			return true
		}
		now, err := ends(filepath.Join(w.dir, f.name))
		return err != nil || now == old.ends
	})
}

// state is how far the files of a session are.
type state struct {
	files   []found // traces of ranks
	others  []found // merged and front-end traces
	whole   int     // of files
	pending string  // the first that is not whole, with the reason; "" = none
	world   int     // ranks, as the traces say; 0 = they do not
	print   string  // changes with every change
}

// look takes the state. A file is read to its end only when it did not change
// since the last look.
func (w *watcher) look(last map[string]int64) state {
	var s state
	for _, f := range w.fresh() {
		s.print += fmt.Sprintf("%s %d %d\n", f.name, f.size, f.mtime.UnixNano())
		if f.file.Kind != engine.ProfileTrace {
			s.others = append(s.others, f)
			continue
		}
		s.files = append(s.files, f)
		size, seen := last[f.name]
		last[f.name] = f.size
		if !seen || size != f.size || f.size == 0 {
			s.pend(f.name, "is still growing")
			continue
		}
		c := w.check(f)
		if c.err != nil {
			s.pend(f.name, c.err.Error())
			continue
		}
		s.whole++
		s.world = max(s.world, c.scan.world)
	}
	return s
}

func (s *state) pend(name, why string) {
	if s.pending == "" {
		s.pending = name + " " + why
	}
}

// check reads a file to its end, once for each of its states.
func (w *watcher) check(f found) checked {
	c, ok := w.whole[f.name]
	if !ok || c.size != f.size || !c.mtime.Equal(f.mtime) {
		c = checked{size: f.size, mtime: f.mtime}
		c.scan, c.err = scanFile(filepath.Join(w.dir, f.name))
		w.whole[f.name] = c
	}
	return c
}

// await waits until want files are whole (0 = as many as the traces tell, or as
// come until nothing changes any more). A wait in which nothing changes for so
// long ends with what is there; so does one of ten times that.
func (w *watcher) await(ctx context.Context, want int, quiet time.Duration, say func(string, ...any)) (state, error) {
	began := time.Now()
	changed, last, sizes := began, "", map[string]int64{}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for told := 0; ; {
		s := w.look(sizes)
		if s.print != last {
			changed, last = time.Now(), s.print
		}
		if s.whole != told {
			say("%d trace%s whole", s.whole, plural(s.whole))
			told = s.whole
		}
		need := want
		if need == 0 {
			need = s.world
		}
		still := time.Since(changed)
		switch {
		case s.pending == "" && need > 0 && s.whole >= need:
			return s, nil
		case s.pending == "" && need == 0 && s.whole > 0 && still >= settle:
			return s, nil
		case still >= quiet || time.Since(began) >= 10*quiet:
			return s, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s, fmt.Errorf("waiting for the traces: %w", context.Cause(ctx))
		}
	}
}

func plural(n int) string {
	if n == 1 {
		return " is"
	}
	return "s are"
}
