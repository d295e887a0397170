package dump

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/incident/pickle"
)

// Extension of the files that are taken from a folder.
const Extension = ".pkl"

const (
	maxFiles     = 10_000 // of one folder
	maxIrregular = 1000   // records that are listed one by one
	maxSecrets   = 1000   // places that are listed one by one
	maxGlobals   = 1000   // names that are listed
)

// Options of a reading.
type Options struct {
	Engines engine.Set // whose layouts are known
	Limits  pickle.Limits
	// Records is how many records are shown; -1 = all.
	Records int
	// Preview shows that many characters of each prompt; 0 = length and hash only.
	Preview int
}

// List names the dumps that files and folders stand for: a file is itself, a folder
// all *.pkl in and below it, sorted.
func List(paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("reading a dump: %w", err)
		}
		if !info.IsDir() {
			out = append(out, p)
			continue
		}
		found, err := below(p)
		if err != nil {
			return nil, fmt.Errorf("reading the folder %s: %w", p, err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("the folder %s holds no *%s; expected dumps in or below it", p, Extension)
		}
		out = append(out, found...)
	}
	return out, nil
}

func below(dir string) (found []string, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.Type().IsRegular() && strings.HasSuffix(e.Name(), Extension):
			found = append(found, path)
		}
		if len(found) > maxFiles {
			return fmt.Errorf("more than %d dumps", maxFiles)
		}
		return nil
	})
	slices.Sort(found)
	return found, err
}

// Open reads all dumps that files and folders stand for. A dump that is damaged has
// an Error; the error of Open is that nothing could be read at all.
func Open(ctx context.Context, paths []string, o Options) (*Dump, error) {
	names, err := List(paths)
	if err != nil {
		return nil, err
	}
	d := &Dump{}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return d, err
		}
		d.Files = append(d.Files, ReadFile(ctx, name, o))
	}
	return d, nil
}

// ReadFile reads one dump. What is wrong with it is in its Error.
func ReadFile(ctx context.Context, name string, o Options) *File {
	limit := o.Limits.Bytes
	if limit <= 0 {
		limit = pickle.DefaultBytes
	}
	data, err := contents(name, limit)
	if err != nil {
		f := newFile(name, 0)
		f.Error = err.Error()
		return f
	}
	return Read(ctx, name, data, o)
}

func contents(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%d bytes: the limit is %d; raise it if the machine has three times the memory", info.Size(), limit)
	}
	return os.ReadFile(name)
}

func newFile(name string, size int64) *File {
	return &File{
		File: name, Bytes: size, Globals: []string{}, GlobalCounts: []GlobalCount{}, SuspiciousGlobals: []string{}, Suspicions: []Suspicion{},
		Warnings: []Warning{}, Verdict: VerdictPlain,
	}
}

// Read reads a dump from memory.
func Read(ctx context.Context, name string, data []byte, o Options) *File {
	f := newFile(name, int64(len(data)))
	salvage := -1
	doc, err := pickle.Read(ctx, data, pickle.Options{Limits: o.Limits, Damaged: func(d *pickle.Document) { salvage = len(standing(d)) }})
	f.Pickles = len(doc.Roots)
	f.TrailingBytes = doc.Trailing
	f.scan(doc, o.Engines)
	f.warnings(doc)
	if err != nil {
		f.Error = explain(err)
	}
	if len(doc.Roots) == 0 {
		return f
	}
	f.Protocol = doc.Roots[0].Protocol
	layout, id := chooseLayout(doc, o.Engines)
	if layout == nil {
		f.Error = "no engine that this program knows leaves dumps"
		return f
	}
	f.Engine = id
	f.readParts(doc, layout, id)
	if salvage >= 0 && f.Salvaged == 0 {
		f.Salvaged = salvage
	}
	f.show(o)
	return f
}

// explain words a reader's error with what to do about it.
func explain(err error) string {
	var e *pickle.Error
	if errors.As(err, &e) && e.Limit {
		return e.Error() + " (a limit of this reader, see --help)"
	}
	return err.Error()
}

// readParts reads the pickles of the file; the first gives the figures.
func (f *File) readParts(doc *pickle.Document, layout *engine.DumpLayout, id engine.ID) {
	for i, root := range doc.Roots {
		p := &part{doc: doc, layout: layout, engine: id, file: f}
		var err error
		switch {
		case root.Err == nil:
			err = p.open(root.Value)
		case i == 0:
			f.Salvaged = p.salvage()
		default:
			f.warn("trailing", "what follows the first pickle is damaged: %v", root.Err)
			continue
		}
		if err != nil {
			if i == 0 {
				f.Error = err.Error()
			}
		}
		if p.figures == nil {
			continue
		}
		p.measure()
		f.parts = append(f.parts, p)
		if i == 0 {
			f.Figures = p.figures
			f.Stages = p.stages()
		} else {
			f.Trailing = append(f.Trailing, p.figures)
		}
	}
	if n := len(doc.Roots); n > 1 {
		f.warn("trailing", "%d bytes follow the first pickle: %d more pickles, whose records are not in the figures", doc.Trailing, n-1)
	}
}

func (f *File) warn(code, format string, args ...any) {
	f.Warnings = append(f.Warnings, Warning{code, fmt.Sprintf(format, args...)})
}

// Release lets go of what was read beyond the summary.
func (f *File) Release() { f.parts, f.list = nil, nil }

func (f *File) warnings(doc *pickle.Document) {
	for _, w := range doc.Warnings {
		f.warn("damage", "byte %d: %s", w.Offset, w.Reason)
	}
	if doc.Unlisted > 0 {
		f.warn("damage", "%d more warnings", doc.Unlisted)
	}
}

// scan lists the names in a file and judges them.
func (f *File) scan(doc *pickle.Document, engines engine.Set) {
	for i, n := range doc.Globals {
		full := n.String()
		if i < maxGlobals {
			f.Globals = append(f.Globals, full)
			f.GlobalCounts = append(f.GlobalCounts, GlobalCount{full, n.Count, n.Offset})
		}
		if why := n.Hostile(); why != "" {
			f.Verdict = VerdictHostile
			if len(f.SuspiciousGlobals) < maxGlobals {
				f.SuspiciousGlobals = append(f.SuspiciousGlobals, full)
				f.Suspicions = append(f.Suspicions, Suspicion{full, n.Offset, why})
				f.warn("hostile", "byte %d: a reader that runs pickles would reach %s, %s; it was only read here", n.Offset, full, why)
			}
			continue
		}
		if f.Verdict == VerdictPlain && !n.Plainly() && !classKnown(full, engines) {
			f.Verdict = VerdictUnknown
		}
	}
	for _, s := range doc.Suspicions {
		f.Verdict = VerdictHostile
		f.Suspicions = append(f.Suspicions, Suspicion{"", s.Offset, s.Reason})
		f.warn("hostile", "byte %d: %s", s.Offset, s.Reason)
	}
}

func classKnown(name string, engines engine.Set) bool {
	return slices.ContainsFunc(engines, func(e *engine.Engine) bool {
		if e.Dump == nil {
			return false
		}
		_, ok := e.Dump.Class(name)
		return ok
	})
}

// chooseLayout takes the layout of the engine whose classes the file names most,
// the first one where it names none.
func chooseLayout(doc *pickle.Document, engines engine.Set) (*engine.DumpLayout, engine.ID) {
	var best *engine.DumpLayout
	var id engine.ID
	most := -1
	for _, e := range engines {
		if e.Dump == nil {
			continue
		}
		n := 0
		for _, g := range doc.Globals {
			if _, ok := e.Dump.Class(g.String()); ok {
				n += g.Count
			}
		}
		if n > most {
			best, id, most = e.Dump, e.ID, n
		}
	}
	return best, id
}
