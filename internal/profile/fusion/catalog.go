package fusion

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed catalog.yaml testdata/fixtures/*.txt
var embedded embed.FS

// Origins: how far a fusion has come.
const (
	Mainline = "mainline" // in the engine's main branch
	Upstream = "upstream" // of another engine or library, there in the main branch
	Inflight = "inflight" // a pull request
)

// A Pattern is one known fusion.
type Pattern struct {
	ID      string   `yaml:"id" json:"id"`
	Name    string   `yaml:"name" json:"name"`
	Engines []string `yaml:"engines" json:"engines"` // engine ids; "any": every known one
	Origin  string   `yaml:"origin" json:"origin"`
	Since   string   `yaml:"since" json:"since"` // year-month-day: the state of the sources
	// Active says which kernels prove that the fusion is on.
	Active Active `yaml:"active" json:"active"`
	// Split are the roles that different kernels play where it is off, in their
	// order. A role that is named twice wants two kernels. Fewer than two: the
	// split form can't be told apart from other work, so only Active is looked for.
	Split []Role `yaml:"split" json:"split,omitempty"`
	// Adjacent: the roles must follow one another directly.
	Adjacent bool `yaml:"adjacent" json:"adjacent,omitempty"`
	// TP is the least tensor-parallel size; 0 = any.
	TP     int    `yaml:"tp" json:"tp,omitempty"`
	GPU    string `yaml:"gpu" json:"gpu,omitempty"` // "cuda", "rocm"; "" = both
	Models Models `yaml:"models" json:"models,omitzero"`
	// Subsumes are less specific patterns whose windows this one takes along.
	Subsumes []string `yaml:"subsumes" json:"subsumes,omitempty"`
	MinShare float64  `yaml:"min_share" json:"min_share_pct"` // percent of the stage below which a split is not worth a row
	Priority int      `yaml:"priority" json:"priority,omitempty"`
	Toggle   string   `yaml:"toggle" json:"toggle,omitempty"` // what switches it on; "" = it is always on where it applies
	Sources  []Source `yaml:"sources" json:"sources"`
	Pulls    []int    `yaml:"pulls" json:"pull_requests,omitempty"`
	Why      string   `yaml:"why" json:"why"`
	Hazard   string   `yaml:"hazard" json:"hazard,omitempty"` // what could be mistaken for it
	// Dropped are words of the pattern's origin that are no identity of a kernel.
	Dropped []Dropped `yaml:"dropped" json:"dropped,omitempty"`
	// Fixture names the text timelines that fire it, and that must not.
	Fixture string `yaml:"fixture" json:"fixture,omitempty"`

	file string // where it was read
	line int
	dir  fs.FS // where its fixture lies
}

// Active is an identity: any of its parts proves it. Words match whole words of
// one identifier, however it is written: fused_add_rmsnorm is found in
// FusedAddRMSNormKernel and not in confused_add_rmsnorms.
type Active struct {
	Roles   []string `yaml:"roles" json:"roles,omitempty"`
	Kernels []string `yaml:"kernels" json:"kernels,omitempty"`
	Ops     []string `yaml:"ops" json:"ops,omitempty"`
}

// Models is a gate on the model: one of Include, if there are any, and none of
// Exclude must begin a word of the model's name.
type Models struct {
	Include []string `yaml:"include" json:"include,omitempty"`
	Exclude []string `yaml:"exclude" json:"exclude,omitempty"`
}

// Source is where a fact was read.
type Source struct {
	Repo   string `yaml:"repo" json:"repo"`
	Path   string `yaml:"path" json:"path"`
	Commit string `yaml:"commit" json:"commit,omitempty"` // "": the path was not found in a stored version
}

func (s Source) String() string {
	if s.Commit == "" {
		return s.Repo + " " + s.Path
	}
	return s.Repo + " " + s.Path + "@" + s.Commit
}

// Dropped is a word with the reason why it proves nothing.
type Dropped struct {
	Word   string `yaml:"word" json:"word"`
	Reason string `yaml:"reason" json:"reason"`
}

// A Family is work that some engine overlaps on purpose.
type Family struct {
	ID        string   `yaml:"id" json:"id"`
	Engines   []string `yaml:"engines" json:"engines"`
	Origin    string   `yaml:"origin" json:"origin"`
	Since     string   `yaml:"since" json:"since"`
	Words     []string `yaml:"words" json:"words,omitempty"`       // of kernels, operators and functions
	Settings  []string `yaml:"settings" json:"settings,omitempty"` // variables and options of the source: no kernel bears them
	Pulls     []int    `yaml:"pulls" json:"pull_requests,omitempty"`
	Sources   []Source `yaml:"sources" json:"sources"`
	Mechanism string   `yaml:"mechanism" json:"mechanism"`
	Meaning   string   `yaml:"meaning" json:"meaning"` // what to conclude from seeing it

	file string
	line int
}

// A Toggle is a switch that changes what a trace shows.
type Toggle struct {
	Name   string `yaml:"name" json:"name"`
	Engine string `yaml:"engine" json:"engine"` // or the library
	Kind   string `yaml:"kind" json:"kind"`
	Effect string `yaml:"effect" json:"effect"`

	file string
	line int
}

// Catalog is what is known. Patterns are in the order of their ids.
type Catalog struct {
	Schema   int       `yaml:"schema" json:"schema_version"`
	Patterns []Pattern `yaml:"patterns" json:"patterns"`
	Overlap  []Family  `yaml:"overlap" json:"overlap"`
	Toggles  []Toggle  `yaml:"toggles" json:"toggles"`
}

// Schema is the version of catalog files.
const Schema = 1

const catalogFile = "catalog.yaml"

// Load reads the built-in catalog and lays the user's files and folders over it:
// an entry with a known id replaces that one.
func Load(paths ...string) (*Catalog, error) {
	text, err := embedded.ReadFile(catalogFile)
	if err != nil {
		return nil, err
	}
	fixtures, err := fs.Sub(embedded, "testdata/fixtures")
	if err != nil {
		return nil, err
	}
	c, err := Decode("built-in catalog", text, fixtures)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		more, err := ReadFiles(path)
		if err != nil {
			return nil, err
		}
		c.lay(more)
	}
	return c, c.check()
}

// maxFile bounds a catalog file, in bytes.
const maxFile = 4 << 20

// ReadFiles reads the user's entries alone: a file, or the *.yaml of a folder in
// the order of their names.
func ReadFiles(path string) (*Catalog, error) {
	files := []string{path}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	if info.IsDir() {
		files = files[:0]
		for _, pattern := range []string{"*.yaml", "*.yml"} {
			found, err := filepath.Glob(filepath.Join(strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path), pattern))
			if err != nil {
				return nil, fmt.Errorf("catalog: %w", err)
			}
			files = append(files, found...)
		}
		slices.Sort(files)
		if len(files) == 0 {
			return nil, fmt.Errorf("catalog: no *.yaml file in the folder %s", path)
		}
	}
	out := &Catalog{Schema: Schema}
	for _, file := range files {
		text, err := readBounded(file)
		if err != nil {
			return nil, err
		}
		one, err := Decode(file, text, os.DirFS(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		out.lay(one)
	}
	return out, nil
}

func readBounded(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("catalog: %s is no regular file of at most %d MiB", file, maxFile>>20)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), nil
}

// lay puts entries over those of the same id.
func (c *Catalog) lay(more *Catalog) {
	c.Patterns = overlaid(c.Patterns, more.Patterns, func(p Pattern) string { return p.ID })
	c.Overlap = overlaid(c.Overlap, more.Overlap, func(f Family) string { return f.ID })
	c.Toggles = overlaid(c.Toggles, more.Toggles, func(t Toggle) string { return t.Engine + " " + t.Name })
}

func overlaid[T any](list, more []T, id func(T) string) []T {
	for _, m := range more {
		if i := slices.IndexFunc(list, func(e T) bool { return id(e) == id(m) }); i >= 0 {
			list[i] = m
			continue
		}
		list = append(list, m)
	}
	slices.SortStableFunc(list, func(a, b T) int { return cmp.Compare(id(a), id(b)) })
	return list
}

// check holds what entries of several files must keep together.
func (c *Catalog) check() error {
	var errs []error
	for i := range c.Patterns {
		p := &c.Patterns[i]
		for _, id := range p.Subsumes {
			if c.Pattern(id) == nil {
				errs = append(errs, fmt.Errorf("%s:%d: pattern %s subsumes %q, which the catalog does not hold", p.file, p.line, p.ID, id))
			}
		}
	}
	return errors.Join(errs...)
}

// Pattern is the entry with this id; nil if there is none.
func (c *Catalog) Pattern(id string) *Pattern {
	i := slices.IndexFunc(c.Patterns, func(p Pattern) bool { return p.ID == id })
	if i < 0 {
		return nil
	}
	return &c.Patterns[i]
}

// of reports whether an entry for these engines is for this one. An unknown
// engine has no entries, also none for any.
func of(engines []string, id string) bool {
	if id == "" || id == Unknown {
		return false
	}
	return slices.Contains(engines, id) || slices.Contains(engines, anyEngine)
}

// Unknown is the engine of a trace that shows none.
const Unknown = "unknown"

const anyEngine = "any"
