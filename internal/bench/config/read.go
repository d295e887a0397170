package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Limits on what is read. The largest file of the cookbook has 5 KB, some 200
// nodes and 5 levels.
const (
	maxFileBytes = 4 << 20
	maxNodes     = 50_000 // with every alias expanded
	maxDepth     = 64
	maxErrors    = 1_000 // diagnostics of one file
)

// Load reads a file and checks its form. The File is nil when nothing of it
// could be read; with errors it holds what could.
func Load(path string) (*File, []Diagnostic) {
	data, err := readFile(path)
	if err != nil {
		return nil, []Diagnostic{fileError("%v", err)}
	}
	return Parse(path, data)
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("reading the configuration %s: it is a folder, a YAML file was expected", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration %s: %w", path, err)
	}
	return data, nil
}

// fileError is an error of the file as a whole.
func fileError(format string, args ...any) Diagnostic {
	return Diagnostic{Line: 1, Column: 1, Message: fmt.Sprintf(format, args...), Severity: SeverityError}
}

// Parse reads a configuration from memory; path names it in messages and is
// the base of relative paths in it.
func Parse(path string, data []byte) (*File, []Diagnostic) {
	root, problem := parseYAML(data)
	if problem != nil {
		return nil, []Diagnostic{*problem}
	}
	d := &decoder{file: &File{path: path, positions: map[string]Pos{}, bad: map[string]bool{}}, version: SchemaUpstream}
	d.decodeFile(root)
	return d.file, ordered(d.diags)
}

// parseYAML makes nodes out of bytes, within the limits of this package.
func parseYAML(data []byte) (*yaml.Node, *Diagnostic) {
	data, problem := checkText(data)
	if problem != nil {
		return nil, problem
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	doc, err := decodeDocument(dec)
	switch {
	case errors.Is(err, io.EOF) || err == nil && isEmpty(doc):
		return nil, at(Pos{1, 1}, "the file is empty: it needs schema_version and the sections of a benchmark; `llmdyno bench init` writes a starting file")
	case err != nil:
		return nil, syntaxError(data, err)
	}
	if next, err := decodeDocument(dec); err == nil {
		return nil, at(Pos{next.Line, max(next.Column, 1)}, "a second document begins here: one file holds one benchmark; remove the line ---, or split the file")
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxError(data, err)
	}
	root := doc.Content[0]
	m := meter{}
	if where, msg := m.measure(root, 0); msg != "" {
		return nil, at(Pos{where.Line, where.Column}, "%s", msg)
	}
	return root, nil
}

// decodeDocument reads the next document. The parser is foreign code that
// reads outside data: a panic in it is a syntax error here.
func decodeDocument(dec *yaml.Decoder) (doc *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: the parser gave up: %v", r)
		}
	}()
	doc = &yaml.Node{}
	err = dec.Decode(doc)
	return doc, err
}

func isEmpty(doc *yaml.Node) bool {
	return len(doc.Content) == 0 || doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].Tag == "!!null" && doc.Content[0].Value == ""
}

func at(p Pos, format string, args ...any) *Diagnostic {
	return &Diagnostic{Line: p.Line, Column: p.Column, Message: fmt.Sprintf(format, args...), Severity: SeverityError}
}

// checkText checks size and encoding and takes a byte order mark off.
func checkText(data []byte) ([]byte, *Diagnostic) {
	if len(data) > maxFileBytes {
		return nil, at(Pos{1, 1}, "the file is larger than %d MiB, which no benchmark needs: give a configuration, not a dataset", maxFileBytes>>20)
	}
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return nil, at(Pos{1, 1}, "the file is UTF-16: save it as UTF-8")
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for line, i := 1, 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			column := i - bytes.LastIndexByte(data[:i], '\n')
			return nil, at(Pos{line, column}, "byte 0x%02x is not UTF-8: save the file as UTF-8", data[i])
		}
		if r == '\n' {
			line++
		}
		i += size
	}
	return data, nil
}

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

// syntaxError turns the parser's error into a place and a cause. A tab in the
// indentation is its most common one and the worst explained.
func syntaxError(data []byte, err error) *Diagnostic {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	for i, l := range bytes.Split(data, []byte("\n")) {
		indent := l[:len(l)-len(bytes.TrimLeft(l, " \t"))]
		if tab := bytes.IndexByte(indent, '\t'); tab >= 0 && i+1 >= line-1 && i+1 <= line+1 {
			return at(Pos{i + 1, tab + 1}, "a tab stands in the indentation: YAML allows only spaces there")
		}
	}
	return at(Pos{max(line, 1), 1}, "not valid YAML: %s", text)
}

// meter bounds the size of a document with its aliases expanded.
type meter struct{ nodes int }

func (m *meter) measure(n *yaml.Node, depth int) (*yaml.Node, string) {
	m.nodes++
	switch {
	case m.nodes > maxNodes:
		return n, fmt.Sprintf("the document has more than %d values once its aliases are expanded: a benchmark needs some hundred", maxNodes)
	case depth > maxDepth:
		return n, fmt.Sprintf("the document is nested deeper than %d levels: a benchmark needs five", maxDepth)
	case n.Kind == yaml.AliasNode:
		return m.measure(n.Alias, depth+1)
	}
	for _, c := range n.Content {
		if where, msg := m.measure(c, depth+1); msg != "" {
			return where, msg
		}
	}
	return nil, ""
}
