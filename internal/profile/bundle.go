package profile

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"llmdyno/internal/engine"
)

// Bundle is a tree of analyses put together, by model and framework. It holds no
// time of its own making and no path from above the root: the same tree gives the
// same bundle anywhere.
type Bundle struct {
	Models []BundleModel
	// Skipped are files that look like analyses and could not be read.
	Skipped []LeftOut
}

// BundleModel is everything about one model.
type BundleModel struct {
	Name   string // name or path of the model, else the folder of its analyses
	Anchor string // unique in the bundle
	Parts  []BundlePart
}

// BundlePart is one analysis: a document, or the text of the original tool.
type BundlePart struct {
	Framework string // its title; "unknown" without
	Source    string // path below the root, with slashes
	Anchor    string // unique in the bundle
	Document  *Document
	Text      []TextBlock
}

// TextBlock is a piece of an analysis in text form. Exactly one is set.
type TextBlock struct {
	Heading string
	Line    string
	Table   [][]string // the head first; without its rule
}

// Limits of a bundle.
const (
	maxAnalyses     = 2000
	maxAnalysisText = 16 << 20
	maxWalked       = 200_000
)

// errNoAnalyses: the tree has nothing to put together.
var errNoAnalyses = errors.New("no analysis in it: expected triage documents (*.json) or analysis*.txt")

// ReadBundle reads all analyses below root. engines tell whose an analysis is and
// give the order of the frameworks.
func ReadBundle(root string, engines engine.Set) (*Bundle, error) {
	if info, err := os.Stat(root); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s is no folder: name the folder that holds the analyses", root)
	}
	b := &Bundle{}
	var found []analysis
	walked := 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if walked++; walked > maxWalked {
			return fmt.Errorf("%s has more than %d files: name a smaller folder", root, maxWalked)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		a, is, err := readAnalysis(root, path, engines)
		switch {
		case !is:
		case err != nil:
			b.Skipped = append(b.Skipped, LeftOut{a.part.Source, strings.ReplaceAll(err.Error(), path, a.part.Source)})
		case len(found) == maxAnalyses:
			return fmt.Errorf("%s has more than %d analyses: name a smaller folder", root, maxAnalyses)
		default:
			found = append(found, a)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && len(b.Skipped) == 0 {
		return nil, fmt.Errorf("%s: %w", root, errNoAnalyses)
	}
	b.group(found, engines)
	return b, nil
}

// analysis is one file, before the grouping.
type analysis struct {
	folder string // below the root
	model  string
	engine engine.ID
	part   BundlePart
}

// readAnalysis reads a file if it is an analysis.
func readAnalysis(root, path string, engines engine.Set) (a analysis, is bool, err error) {
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return a, false, nil
	}
	rel = filepath.ToSlash(rel)
	a.part.Source = rel
	a.folder, _ = cutLast(rel)
	name := filepath.Base(path)
	switch {
	case strings.HasPrefix(name, "analysis") && strings.HasSuffix(name, ".txt"):
		err = a.readText(path, engines)
		return a, true, err
	case strings.HasSuffix(name, ".json") && IsDocument(path):
		d, err := ReadDocument(path)
		if err != nil {
			return a, true, err
		}
		d.relativePaths(root)
		a.part.Document, a.model = d, d.Model
		if e, ok := engines.Lookup(d.Framework); ok {
			a.engine, a.part.Framework = e.ID, e.Title
		}
		return a, true, nil
	}
	return a, false, nil
}

func cutLast(path string) (folder, name string) {
	at := strings.LastIndexByte(path, '/')
	if at < 0 {
		return "", path
	}
	return path[:at], path[at+1:]
}

// relativePaths takes what lies above the root out of a document's paths.
func (d *Document) relativePaths(root string) {
	abs, err := filepath.Abs(root)
	if err != nil {
		abs = root
	}
	short := func(p *string) {
		if !filepath.IsAbs(*p) {
			return
		}
		if rel, err := filepath.Rel(abs, *p); err == nil && filepath.IsLocal(rel) {
			*p = filepath.ToSlash(rel)
			return
		}
		*p = filepath.Base(*p)
	}
	var changed [][2]string
	for _, p := range d.paths() {
		before := *p
		if short(p); *p != before {
			changed = append(changed, [2]string{before, *p})
		}
	}
	slices.SortFunc(changed, func(a, b [2]string) int { return cmp.Compare(len(b[0]), len(a[0])) }) // the longer path first
	for i := range d.Warnings {
		for _, c := range changed {
			d.Warnings[i] = strings.ReplaceAll(d.Warnings[i], c[0], c[1])
		}
	}
}

// paths are all places of a document that hold a path of a file.
func (d *Document) paths() []*string {
	var out []*string
	for i := range d.Inputs {
		out = append(out, &d.Inputs[i].Path)
	}
	for i := range d.LeftOut {
		out = append(out, &d.LeftOut[i].Path)
	}
	for i := range d.Devices {
		out = append(out, &d.Devices[i].Input)
	}
	for _, t := range append([]*Tables{&d.Tables}, pointers(d.Others)...) {
		for i := range t.Sources {
			out = append(out, &t.Sources[i])
		}
	}
	if d.Ranks != nil {
		for i := range d.Ranks.Ranks {
			out = append(out, &d.Ranks.Ranks[i].Source)
		}
	}
	if strings.HasPrefix(d.TP.Source, "/") {
		out = append(out, &d.TP.Source)
	}
	return out
}

// readText reads the output of the original tool: headings, lines and tables.
func (a *analysis) readText(path string, engines engine.Set) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > maxAnalysisText {
		return fmt.Errorf("larger than %d MB", maxAnalysisText>>20)
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	p := textParser{}
	for lines.Scan() {
		p.line(lines.Text())
	}
	if err := lines.Err(); err != nil {
		return err
	}
	a.part.Text = p.blocks
	a.model = p.fields["Model"]
	_, name := cutLast(a.part.Source)
	for _, word := range append([]string{p.fields["Framework"], p.fields["Formal framework"]}, words(name)...) {
		if e, ok := engines.Lookup(strings.ToLower(word)); ok && word != "" {
			a.engine, a.part.Framework = e.ID, e.Title
			break
		}
	}
	return nil
}

// words are the parts of a file name.
func words(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("_-. ", r) })
}

// textParser takes the text of the original tool apart.
type textParser struct {
	blocks []TextBlock
	fields map[string]string // "Model: …"
}

// pathFields are lines of that text that list paths of the machine it ran on.
var pathFields = []string{"Input traces", "Mapping traces", "Formal traces"}

func (p *textParser) line(text string) {
	text = strings.TrimSpace(strings.ToValidUTF8(text, "\ufffd"))
	switch {
	case text == "":
	case strings.HasPrefix(text, "|"):
		p.row(splitRow(text))
	case strings.HasPrefix(text, "#"):
		p.blocks = append(p.blocks, TextBlock{Heading: strings.TrimSpace(strings.TrimLeft(text, "#"))})
	default:
		p.field(text)
	}
}

func (p *textParser) field(text string) {
	key, value, ok := strings.Cut(text, ":")
	value = strings.TrimSpace(value)
	if ok && value == "" && len(words(key)) <= 6 || headings[text] {
		p.blocks = append(p.blocks, TextBlock{Heading: strings.TrimSuffix(text, ":")})
		return
	}
	if ok && p.fields[key] == "" {
		if p.fields == nil {
			p.fields = map[string]string{}
		}
		p.fields[key] = value
	}
	if item, is := strings.CutPrefix(text, "- "); is && strings.HasPrefix(item, "/") { // a path, blanks and all
		_, name := cutLast(item)
		text = "- " + name
	} else if ok && slices.Contains(pathFields, key) {
		text = withoutFolders(text)
	}
	p.blocks = append(p.blocks, TextBlock{Line: text})
}

// headings are lines of that text that stand over a table. Source:
// BBuf/AI-Infra-Auto-Driven-SKILLS llm-torch-profiler-analysis,
// render_triage_markdown_bundle.py, as of 2026-05-02.
var headings = map[string]bool{"Triage View": true, "Kernel Table": true, "Overlap Opportunity Table": true, "Fuse Pattern Table": true}

// withoutFolders leaves of each absolute path its last part.
func withoutFolders(text string) string {
	parts := strings.Split(text, " ")
	for i, w := range parts {
		bare := strings.TrimRight(w, ",;")
		if strings.HasPrefix(bare, "/") {
			_, name := cutLast(bare)
			parts[i] = name + w[len(bare):]
		}
	}
	return strings.Join(parts, " ")
}

func (p *textParser) row(cells []string) {
	if !slices.ContainsFunc(cells, func(c string) bool { return strings.Trim(c, "-: ") != "" }) {
		return // the rule under the head
	}
	if n := len(p.blocks); n > 0 && p.blocks[n-1].Table != nil {
		p.blocks[n-1].Table = append(p.blocks[n-1].Table, cells)
		return
	}
	p.blocks = append(p.blocks, TextBlock{Table: [][]string{cells}})
}

// splitRow takes a row of a Markdown table apart. A line break within a cell and
// an escaped bar become what they stand for.
func splitRow(text string) []string {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "|"), "|")
	var cells []string
	var cell strings.Builder
	flush := func() {
		c := strings.TrimSpace(cell.String())
		c = strings.NewReplacer("<br>", "; ", "<br/>", "; ", "`", "").Replace(c)
		cells = append(cells, c)
		cell.Reset()
	}
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == '|':
			cell.WriteByte('|')
			i++
		case text[i] == '|':
			flush()
		default:
			cell.WriteByte(text[i])
		}
	}
	flush()
	return cells
}

// group sorts analyses by model and framework. Analyses of one folder are of one
// model, the one that the longest name says; folders whose names are equal are one
// model too.
func (b *Bundle) group(found []analysis, engines engine.Set) {
	names := map[string]string{}
	for _, a := range found {
		if old := names[a.folder]; len(a.model) > len(old) || len(a.model) == len(old) && a.model < old {
			names[a.folder] = a.model
		}
	}
	order := func(id engine.ID) int {
		at := slices.IndexFunc(engines, func(e *engine.Engine) bool { return e.ID == id })
		if at < 0 {
			return len(engines)
		}
		return at
	}
	slices.SortFunc(found, func(x, y analysis) int {
		return cmp.Or(cmp.Compare(order(x.engine), order(y.engine)), cmp.Compare(x.part.Source, y.part.Source))
	})
	at := map[string]int{}
	for _, a := range found {
		name := modelName(cmp.Or(names[a.folder], a.folder, "unknown model"))
		i, known := at[name]
		if !known {
			i = len(b.Models)
			at[name] = i
			b.Models = append(b.Models, BundleModel{Name: name})
		}
		a.part.Framework = cmp.Or(a.part.Framework, "unknown framework")
		b.Models[i].Parts = append(b.Models[i].Parts, a.part)
	}
	slices.SortFunc(b.Models, func(x, y BundleModel) int {
		return cmp.Or(cmp.Compare(strings.ToLower(x.Name), strings.ToLower(y.Name)), cmp.Compare(x.Name, y.Name))
	})
	slices.SortFunc(b.Skipped, func(x, y LeftOut) int { return cmp.Compare(x.Path, y.Path) })
	taken := map[string]bool{}
	for i := range b.Models {
		m := &b.Models[i]
		m.Anchor = anchor(taken, m.Name)
		for j := range m.Parts {
			m.Parts[j].Anchor = anchor(taken, m.Name+" "+m.Parts[j].Framework)
		}
	}
}

// modelName is a model without the folders of the machine that it lay on.
func modelName(name string) string {
	if !strings.HasPrefix(name, "/") {
		return name
	}
	_, last := cutLast(strings.TrimRight(name, "/"))
	return cmp.Or(last, name)
}

// anchor is a name for a link within the page: ASCII letters, digits and single
// dashes, never the same twice. It is written out in the page, so that it does not
// depend on how a reader makes anchors of headings.
func anchor(taken map[string]bool, text string) string {
	base := strings.Join(strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9')
	}), "-")
	base = cmp.Or(base, "model")
	name := base
	for n := 2; taken[name]; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	taken[name] = true
	return name
}
