package fusion

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxProblems is how many are told of one file.
const maxProblems = 20

// Decode reads one catalog file and checks every entry by itself. All that is
// wrong is told at once, each with its line. fixtures is where the files that
// entries name as their fixture lie.
func Decode(name string, text []byte, fixtures fs.FS) (*Catalog, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	d := decoder{name: name}
	c := &Catalog{}
	if root.Kind == 0 {
		d.problemf(1, "the file is empty: expected schema, patterns, overlap, toggles")
		return nil, d.err()
	}
	d.keys(root.Content[0], reflect.TypeFor[Catalog]())
	if len(d.problems) == 0 {
		if err := root.Decode(c); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		d.check(c, root.Content[0], fixtures)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return c, nil
}

type decoder struct {
	name     string
	problems []error
}

func (d *decoder) problemf(line int, format string, args ...any) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, fmt.Errorf("%s:%d: %s", d.name, max(line, 1), fmt.Sprintf(format, args...)))
	}
}

func (d *decoder) err() error { return errors.Join(d.problems...) }

// keys looks for unknown and repeated keys, and for references, which a file
// that is read by people has no need of.
func (d *decoder) keys(n *yaml.Node, t reflect.Type) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.problemf(n.Line, "anchors and aliases are not read: write the value out")
		return
	}
	switch {
	case t == reflect.TypeFor[Role]() && n.Kind == yaml.ScalarNode:
		return
	case t.Kind() == reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.problemf(n.Line, "expected a list, found %q", short(n))
			return
		}
		for _, item := range n.Content {
			d.keys(item, t.Elem())
		}
	case t.Kind() == reflect.Struct:
		d.members(n, t)
	case n.Kind != yaml.ScalarNode:
		d.problemf(n.Line, "expected a single value")
	}
}

func (d *decoder) members(n *yaml.Node, t reflect.Type) {
	if n.Kind != yaml.MappingNode {
		d.problemf(n.Line, "expected keys and values, found %q", short(n))
		return
	}
	fields := map[string]reflect.Type{}
	var known []string
	for f := range t.Fields() {
		if key := f.Tag.Get("yaml"); key != "" {
			fields[key] = f.Type
			known = append(known, key)
		}
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		field, is := fields[key.Value]
		switch {
		case !is:
			d.problemf(key.Line, "%q is no known key; expected one of %s", key.Value, strings.Join(known, ", "))
		case seen[key.Value]:
			d.problemf(key.Line, "%q is given twice", key.Value)
		default:
			d.keys(n.Content[i+1], field)
		}
		seen[key.Value] = true
	}
}

func short(n *yaml.Node) string { return n.Value[:min(len(n.Value), 40)] }

// lines are the line numbers of the entries of a list.
func lines(root *yaml.Node, key string) []int {
	var out []int
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == key {
			for _, n := range root.Content[i+1].Content {
				out = append(out, n.Line)
			}
		}
	}
	return out
}

func (d *decoder) check(c *Catalog, root *yaml.Node, fixtures fs.FS) {
	if c.Schema != Schema {
		d.problemf(root.Line, "schema is %d; this program reads %d", c.Schema, Schema)
	}
	at := lines(root, "patterns")
	ids := map[string]bool{}
	for i := range c.Patterns {
		p := &c.Patterns[i]
		p.file, p.line, p.dir = d.name, at[i], fixtures
		d.id(p.line, "pattern", p.ID, ids)
		d.pattern(p)
	}
	at = lines(root, "overlap")
	for i := range c.Overlap {
		f := &c.Overlap[i]
		f.file, f.line = d.name, at[i]
		d.id(f.line, "overlap", f.ID, ids)
		d.origin(f.line, f.ID, f.Engines, f.Origin, f.Since)
		d.sources(f.line, f.ID, f.Sources)
		d.words(f.line, f.ID, f.Words)
		if f.Mechanism == "" || f.Meaning == "" {
			d.problemf(f.line, "overlap %s: mechanism and meaning must be given", f.ID)
		}
	}
	at = lines(root, "toggles")
	for i := range c.Toggles {
		t := &c.Toggles[i]
		t.file, t.line = d.name, at[i]
		if t.Name == "" || t.Engine == "" || t.Kind == "" || t.Effect == "" {
			d.problemf(t.line, "toggle %q: name, engine, kind and effect must be given", t.Name)
		}
	}
}

// identifier is the form of ids: they are keys of JSON and arguments of commands.
var identifier = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,79}$`)

func (d *decoder) id(line int, kind, id string, seen map[string]bool) {
	switch {
	case !identifier.MatchString(id):
		d.problemf(line, "%s id %q: expected lower-case letters, digits and hyphens", kind, id)
	case seen[kind+id]:
		d.problemf(line, "%s id %q is used twice", kind, id)
	}
	seen[kind+id] = true
}

func (d *decoder) pattern(p *Pattern) {
	d.origin(p.line, p.ID, p.Engines, p.Origin, p.Since)
	d.sources(p.line, p.ID, p.Sources)
	if p.Name == "" || p.Why == "" {
		d.problemf(p.line, "pattern %s: name and why must be given", p.ID)
	}
	if p.GPU != "" && p.GPU != gpuCUDA && p.GPU != gpuROCm {
		d.problemf(p.line, "pattern %s: gpu is %q; expected %s or %s", p.ID, p.GPU, gpuCUDA, gpuROCm)
	}
	if p.TP < 0 || p.TP > 1<<20 {
		d.problemf(p.line, "pattern %s: tp is %d; expected a size of at least 1, or none", p.ID, p.TP)
	}
	if !(p.MinShare >= 0 && p.MinShare <= 100) {
		d.problemf(p.line, "pattern %s: min_share is %v; expected percent", p.ID, p.MinShare)
	}
	d.words(p.line, p.ID, p.Active.Kernels)
	d.words(p.line, p.ID, p.Active.Ops)
	for _, role := range p.Active.Roles {
		if !slices.Contains(activeRoles, role) {
			d.problemf(p.line, "pattern %s: %q proves no fusion; active roles are %s", p.ID, role, strings.Join(activeRoles, ", "))
		}
	}
	if len(p.Active.Kernels)+len(p.Active.Ops)+len(p.Active.Roles) == 0 && len(p.Split) < 2 {
		d.problemf(p.line, "pattern %s: nothing fires it: give active, or at least two roles of split", p.ID)
	}
	d.roles(p)
	for _, word := range slices.Concat(p.Models.Include, p.Models.Exclude) {
		if strings.TrimSpace(word) == "" {
			d.problemf(p.line, "pattern %s: an empty word in models", p.ID)
		}
	}
	d.fixture(p)
}

func (d *decoder) roles(p *Pattern) {
	for i, r := range p.Split {
		kind, known := roles[r.Role]
		if !known {
			d.problemf(p.line, "pattern %s: %q is no role; expected one of %s", p.ID, r.Role, roleNames())
			continue
		}
		if kind.barrier && i > 0 && i < len(p.Split)-1 {
			d.problemf(p.line, "pattern %s: %s ends a segment, so that it can only be the first or the last role", p.ID, r.Role)
		}
		d.words(p.line, p.ID, r.Words)
	}
}

func (d *decoder) fixture(p *Pattern) {
	if p.Fixture == "" {
		return
	}
	if !fs.ValidPath(p.Fixture) {
		d.problemf(p.line, "pattern %s: fixture %q: expected a path below the catalog's folder, with /", p.ID, p.Fixture)
	}
}

func (d *decoder) origin(line int, id string, engines []string, origin, since string) {
	if len(engines) == 0 {
		d.problemf(line, "%s: engines must be given (any = every known one)", id)
	}
	if !slices.Contains([]string{Mainline, Upstream, Inflight}, origin) {
		d.problemf(line, "%s: origin is %q; expected %s, %s or %s", id, origin, Mainline, Upstream, Inflight)
	}
	if _, err := time.Parse(time.DateOnly, since); err != nil {
		d.problemf(line, "%s: since is %q; expected a date like 2026-05-02", id, since)
	}
}

func (d *decoder) sources(line int, id string, list []Source) {
	if len(list) == 0 {
		d.problemf(line, "%s: no source is given", id)
	}
	for _, s := range list {
		if s.Repo == "" || s.Path == "" {
			d.problemf(line, "%s: a source needs repo and path", id)
		}
	}
}

// words must be whole identifiers of some length: a short word proves nothing.
func (d *decoder) words(line int, id string, list []string) {
	for _, text := range list {
		w := compile(text)
		n := 0
		for _, part := range w.parts {
			n += len(part)
		}
		if n < 3 {
			d.problemf(line, "%s: the word %q is too short to be an identity", id, text)
		}
	}
}
