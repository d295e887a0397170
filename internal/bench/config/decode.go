package config

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"llmdyno/internal/engine"
)

// decoder fills a File from nodes. It goes on after an error, so that one pass
// finds everything.
type decoder struct {
	file    *File
	version int
	diags   []Diagnostic
}

// selfDecoder is a type that reads its own node.
type selfDecoder interface {
	decodeNode(d *decoder, n *yaml.Node, path string)
}

func (d *decoder) report(sev Severity, p Pos, path, format string, args ...any) {
	if len(d.diags) >= maxErrors {
		return
	}
	d.diags = append(d.diags, diagnostic(sev, p, path, format, args...))
}

func diagnostic(sev Severity, p Pos, path, format string, args ...any) Diagnostic {
	msg := fmt.Sprintf(format, args...)
	if path != "" {
		msg = path + ": " + msg
	}
	return Diagnostic{Path: path, Line: max(p.Line, 1), Column: max(p.Column, 1), Message: msg, Severity: sev}
}

// fail reports an error and marks the path, so that no rule judges its value.
func (d *decoder) fail(n *yaml.Node, path, format string, args ...any) {
	d.file.bad[path] = true
	p := Pos{n.Line, n.Column}
	if n.Kind != yaml.ScalarNode && d.file.positions[path] != (Pos{}) {
		p = d.file.positions[path] // a block begins a line below its key
	}
	d.report(SeverityError, p, path, format, args...)
}

func (d *decoder) decodeFile(root *yaml.Node) {
	if deref(root).Kind != yaml.MappingNode {
		d.fail(root, "", "the file must be a mapping of keys such as schema_version and model, it is %s", nodeKind(root))
		d.file.bad[""] = true
		return
	}
	d.file.positions[""] = Pos{1, 1}
	for i := 0; i+1 < len(deref(root).Content); i += 2 {
		key, value := deref(root).Content[i], deref(root).Content[i+1]
		if v, problem := scalarOf(value); key.Value == "schema_version" && problem == "" {
			if n, ok := v.Int(); ok && n == SchemaOurs {
				d.version = SchemaOurs
			}
		}
	}
	d.value(root, reflect.ValueOf(d.file).Elem(), "")
}

// deref follows aliases; their depth is bounded by the meter.
func deref(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func nodeKind(n *yaml.Node) string {
	switch n = deref(n); n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	v, _ := scalar(n)
	return v.describe()
}

func scalarOf(n *yaml.Node) (Value, string) {
	n = deref(n)
	if n.Kind != yaml.ScalarNode {
		return Value{}, "wants a single value, got " + nodeKind(n)
	}
	return scalar(n)
}

// entry is one key of a mapping.
type entry struct {
	key       string
	keyNode   *yaml.Node
	valueNode *yaml.Node
}

// entries lists the keys of a mapping in the order that Python's dict has them:
// merged keys (<<) first, then the mapping's own.
func (d *decoder) entries(n *yaml.Node, path string) []entry {
	var merged, own []entry
	first := map[string]int{} // key → line
	for i := 0; i+1 < len(n.Content); i += 2 {
		keyNode, valueNode := deref(n.Content[i]), n.Content[i+1]
		if keyNode.Kind == yaml.ScalarNode && keyNode.Tag == "!!merge" {
			merged = append(merged, d.merge(valueNode, path)...)
			continue
		}
		key, ok := d.key(keyNode, path)
		if !ok {
			continue
		}
		if line, twice := first[key]; twice {
			d.report(SeverityError, Pos{keyNode.Line, keyNode.Column}, join(path, key),
				"the key is given twice, first on line %d; remove one: which of them counts differs between YAML readers", line)
			continue
		}
		first[key] = keyNode.Line
		own = append(own, entry{key, keyNode, valueNode})
	}
	return overlay(merged, own)
}

// overlay lays own entries over merged ones, in place where the key is there.
func overlay(merged, own []entry) []entry {
	out := make([]entry, 0, len(merged)+len(own))
	index := map[string]int{}
	for _, e := range append(merged, own...) {
		if i, there := index[e.key]; there {
			out[i] = e
			continue
		}
		index[e.key] = len(out)
		out = append(out, e)
	}
	return out
}

// merge lists the entries that << brings in; of several sources the first wins.
func (d *decoder) merge(n *yaml.Node, path string) []entry {
	n = deref(n)
	switch n.Kind {
	case yaml.MappingNode:
		return d.entries(n, path)
	case yaml.SequenceNode:
		var out []entry
		for _, c := range slices.Backward(n.Content) {
			out = append(out, d.merge(c, path)...)
		}
		return out
	}
	d.fail(n, join(path, "<<"), "wants a mapping, got %s", nodeKind(n))
	return nil
}

// key reads a key, which must be text.
func (d *decoder) key(n *yaml.Node, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "a key must be text, got %s", nodeKind(n))
		return "", false
	}
	v, problem := scalar(n)
	switch {
	case problem != "":
		d.fail(n, join(path, short(n.Value)), "%s", problem)
	case v.Kind == engine.ValueBool:
		d.fail(n, join(path, n.Value), "YAML 1.1 reads the key %s as the boolean %t: quote it if you mean the word, as in %q:", n.Value, v.bool, n.Value)
	case v.Kind != engine.ValueString:
		d.fail(n, join(path, n.Value), "a key must be text, got %s", v.describe())
	case v.str == "":
		d.fail(n, path, "a key must not be empty")
	default:
		return v.str, true
	}
	return "", false
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// note records where a path stands.
func (d *decoder) note(path string, e entry) {
	p := Pos{e.valueNode.Line, e.valueNode.Column}
	if deref(e.valueNode).Kind != yaml.ScalarNode || e.valueNode.Value == "" {
		p = Pos{e.keyNode.Line, e.keyNode.Column}
	}
	d.file.positions[path] = p
}

// value reads a node into a Go value of the schema.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	n = deref(n)
	if v.CanAddr() {
		if own, ok := v.Addr().Interface().(selfDecoder); ok {
			own.decodeNode(d, n, path)
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.value(n, p.Elem(), path)
		v.Set(p)
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	default:
		d.scalarInto(n, v, path)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, path, "wants a list, got %s", nodeKind(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		item := fmt.Sprintf("%s[%d]", path, i)
		d.file.positions[item] = Pos{c.Line, c.Column}
		d.value(c, out.Index(i), item)
	}
	v.Set(out)
}

func (d *decoder) scalarInto(n *yaml.Node, v reflect.Value, path string) {
	s, problem := scalarOf(n)
	if problem != "" {
		d.fail(n, path, "%s", problem)
		return
	}
	switch v.Kind() {
	case reflect.String:
		if s.Kind != engine.ValueString {
			d.fail(n, path, "wants text, got %s; put quotes around it", s.describe())
			return
		}
		v.SetString(s.str)
	case reflect.Bool:
		if s.Kind != engine.ValueBool {
			d.fail(n, path, "wants true or false, got %s", s.describe())
			return
		}
		v.SetBool(s.bool)
	case reflect.Int, reflect.Uint64:
		x, ok := s.Int()
		if !ok || v.Kind() == reflect.Uint64 && x < 0 || x > math.MaxInt32 && v.Kind() == reflect.Int || x < math.MinInt32 {
			d.fail(n, path, "wants an integer, got %s%s", s.describe(), integerHint(s))
			return
		}
		if v.Kind() == reflect.Int {
			v.SetInt(x)
		} else {
			v.SetUint(uint64(x))
		}
	case reflect.Float64:
		x, ok := s.Number()
		if !ok {
			d.fail(n, path, "wants a number, got %s%s", s.describe(), numberHint(s))
			return
		}
		v.SetFloat(x)
	}
}

func integerHint(v Value) string {
	if v.Kind == engine.ValueInt {
		return ", which is out of range"
	}
	return numberHint(v)
}

// numberHint explains text that looks like a number.
func numberHint(v Value) string {
	if _, err := strconv.ParseFloat(v.str, 64); v.Kind == engine.ValueString && err == nil {
		if v.Plain {
			return "; YAML 1.1 reads a number with an exponent only as in 1.0e+3"
		}
		return "; remove the quotes"
	}
	return ""
}

// schemaField is one field of a struct of the schema.
type schemaField struct {
	index            int
	name, since, req string
	enum             []string
	min, max, above  *float64
	doc              string
}

// schemaFields lists the keys of a struct of the schema in order.
func schemaFields(t reflect.Type) []schemaField {
	var out []schemaField
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		if name == "" {
			continue
		}
		sf := schemaField{index: i, name: name, since: f.Tag.Get("since"), req: f.Tag.Get("req"), doc: f.Tag.Get("doc"), min: tagNumber(f, "min"), max: tagNumber(f, "max"), above: tagNumber(f, "above")}
		if e := f.Tag.Get("enum"); e != "" {
			sf.enum = strings.Split(e, ",")
		}
		out = append(out, sf)
	}
	return out
}

func tagNumber(f reflect.StructField, key string) *float64 {
	if x, err := strconv.ParseFloat(f.Tag.Get(key), 64); err == nil {
		return &x
	}
	return nil
}

// required says whether the key must be there.
func (f schemaField) required(version int) bool {
	return f.req == "true" || f.req == "1" && version == SchemaUpstream
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "wants a mapping of keys, got %s", nodeKind(n))
		return
	}
	fields := schemaFields(v.Type())
	seen := map[string]bool{}
	for _, e := range d.entries(n, path) {
		at := join(path, e.key)
		d.note(at, e)
		i := slices.IndexFunc(fields, func(f schemaField) bool { return f.name == e.key })
		if i < 0 {
			d.unknownKey(e, at, fields)
			continue
		}
		seen[e.key] = true
		d.field(e, v.Field(fields[i].index), fields[i], at)
	}
	if s, ok := v.Addr().Interface().(*Framework); ok && !s.Enabled && !d.file.bad[join(path, "enabled")] {
		return // nothing more is asked of a section that is switched off
	}
	for _, f := range fields {
		if f.required(d.version) && !seen[f.name] {
			d.missing(n, path, f)
		}
	}
}

func (d *decoder) missing(n *yaml.Node, path string, f schemaField) {
	at := join(path, f.name)
	p, ok := d.file.positions[path]
	if !ok {
		p = Pos{n.Line, n.Column}
	}
	d.file.bad[at] = true
	d.report(SeverityError, p, at, "the key is missing: %s", f.doc)
}

func (d *decoder) field(e entry, v reflect.Value, f schemaField, path string) {
	value := deref(e.valueNode)
	if f.since == "2" && d.version < SchemaOurs {
		d.report(SeverityError, Pos{e.keyNode.Line, e.keyNode.Column}, path, "the key needs schema_version: 2 (this file says 1)")
		d.file.bad[path] = true
		return
	}
	isNull := value.Kind == yaml.ScalarNode && value.Tag == "!!null"
	if isNull && !f.required(d.version) {
		return // null = left out
	}
	before := len(d.diags)
	d.value(value, v, path)
	if len(d.diags) == before {
		d.bounds(value, v, f, path)
	}
}

// bounds checks what the tags of a field say of its value.
func (d *decoder) bounds(n *yaml.Node, v reflect.Value, f schemaField, path string) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() == reflect.Slice && (f.min != nil || f.above != nil) {
		for i := range v.Len() {
			d.bounds(deref(deref(n).Content[i]), v.Index(i), f, fmt.Sprintf("%s[%d]", path, i))
		}
		return
	}
	if v.Kind() == reflect.String && f.required(d.version) && strings.TrimSpace(v.String()) == "" {
		d.fail(n, path, "must not be empty: %s", f.doc)
		return
	}
	if len(f.enum) > 0 && !slices.Contains(f.enum, fmt.Sprint(v.Interface())) {
		d.fail(n, path, "%v is not one of %s%s", short(fmt.Sprint(v.Interface())), strings.Join(f.enum, ", "), didYouMean(fmt.Sprint(v.Interface()), f.enum))
		return
	}
	x, ok := number(v)
	switch {
	case !ok:
	case f.min != nil && x < *f.min:
		d.fail(n, path, "must be at least %g, got %g", *f.min, x)
	case f.max != nil && x > *f.max:
		d.fail(n, path, "must be at most %.0f, got %.0f", *f.max, x)
	case f.above != nil && x <= *f.above:
		d.fail(n, path, "must be above %g, got %g", *f.above, x)
	}
}

func number(v reflect.Value) (float64, bool) {
	switch v.Kind() {
	case reflect.Int:
		return float64(v.Int()), true
	case reflect.Float64:
		return v.Float(), true
	}
	return 0, false
}

// meant gives the key that a foreign or common name stands for.
var meant = map[string]string{
	"canonical_jsonl": "path", // upstream's runtime plan
	"request_rates":   "loads",
	"engines":         "frameworks",
	"env":             "environment",
	"search_strategy": "strategy",
}

func (d *decoder) unknownKey(e entry, path string, fields []schemaField) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	hint := didYouMean(e.key, names)
	if m, ok := meant[e.key]; ok && slices.Contains(names, m) {
		hint = "; did you mean " + m + "?"
	}
	if hint == "" {
		hint = "; known here: " + strings.Join(names, ", ")
	}
	d.report(SeverityError, Pos{e.keyNode.Line, e.keyNode.Column}, path, "unknown key%s", hint)
}

// any reads any value.
func (d *decoder) any(n *yaml.Node, path string) (Value, bool) {
	n = deref(n)
	v := Value{Pos: Pos{n.Line, n.Column}}
	switch n.Kind {
	case yaml.SequenceNode:
		v.Kind = engine.ValueList
		for i, c := range n.Content {
			x, ok := d.any(c, fmt.Sprintf("%s[%d]", path, i))
			if !ok {
				return v, false
			}
			v.list = append(v.list, x)
		}
		return v, true
	case yaml.MappingNode:
		v.Kind = engine.ValueMap
		for _, e := range d.entries(n, path) {
			x, ok := d.any(e.valueNode, join(path, e.key))
			if !ok {
				return v, false
			}
			v.pairs = append(v.pairs, pair{Value{Kind: engine.ValueString, str: e.key}, x})
		}
		return v, true
	}
	v, problem := scalar(n)
	if problem != "" {
		d.fail(n, path, "%s", problem)
		return v, false
	}
	return v, true
}

// mapping calls fn for each entry of a mapping.
func (d *decoder) mapping(n *yaml.Node, path string, fn func(e entry, path string)) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "wants a mapping of keys, got %s", nodeKind(n))
		return
	}
	for _, e := range d.entries(n, path) {
		at := join(path, e.key)
		d.note(at, e)
		fn(e, at)
	}
}

func (f *Flags) decodeNode(d *decoder, n *yaml.Node, path string) {
	*f = Flags{}
	d.mapping(n, path, func(e entry, at string) {
		if v, ok := d.any(e.valueNode, at); ok {
			d.warnTrap(v, at)
			*f = append(*f, Flag{e.key, v})
		}
	})
}

func (d *decoder) warnTrap(v Value, path string) {
	if t := v.trap(); t != "" {
		d.report(SeverityWarning, v.Pos, path, "%s", t)
	}
}

func (b *Body) decodeNode(d *decoder, n *yaml.Node, path string) {
	(*Flags)(b).decodeNode(d, n, path)
}

func (s *Space) decodeNode(d *decoder, n *yaml.Node, path string) {
	*s = Space{}
	d.mapping(n, path, func(e entry, at string) {
		v, ok := d.any(e.valueNode, at)
		if !ok {
			return
		}
		axis := Axis{Key: e.key, Values: []Value{v}}
		if v.Kind == engine.ValueList {
			axis.Values, axis.Listed = v.list, true
		}
		for i, x := range axis.Values {
			item := at
			if axis.Listed {
				item = fmt.Sprintf("%s[%d]", at, i)
				d.file.positions[item] = x.Pos
			}
			d.warnTrap(x, item)
		}
		*s = append(*s, axis)
	})
}

func (c *Caps) decodeNode(d *decoder, n *yaml.Node, path string) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.file.positions[at] = Pos{item.Line, item.Column}
		v, problem := scalarOf(item)
		limit, isInt := v.Int()
		switch {
		case problem != "":
			d.fail(item, at, "%s", problem)
		case v.Kind == engine.ValueNull:
			*c = append(*c, 0)
		case !isInt || limit > math.MaxInt32:
			d.fail(item, at, "wants an integer or null, got %s", v.describe())
		case limit < 1:
			d.fail(item, at, "must be at least 1, or null for no cap, got %d", limit)
		default:
			*c = append(*c, int(limit))
		}
	}
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (env *Env) decodeNode(d *decoder, n *yaml.Node, path string) {
	d.mapping(n, path, func(e entry, at string) {
		v, problem := scalarOf(e.valueNode)
		switch {
		case problem != "":
			d.fail(e.valueNode, at, "%s", problem)
		case !envName.MatchString(e.key):
			d.fail(e.keyNode, at, "not a name of an environment variable: letters, digits and _ only")
		case v.Kind == engine.ValueBool || v.Kind == engine.ValueNull:
			d.fail(e.valueNode, at, "wants text, got %s; put quotes around it", v.describe())
		default:
			*env = append(*env, EnvVar{e.key, v.Raw})
		}
	})
}

func (fs *Frameworks) decodeNode(d *decoder, n *yaml.Node, path string) {
	d.mapping(n, path, func(e entry, at string) {
		section := EngineSection{Name: e.key}
		d.value(e.valueNode, reflect.ValueOf(&section.Framework).Elem(), at)
		*fs = append(*fs, section)
	})
}

var (
	percentileKey = regexp.MustCompile(`^max_p(\d{1,2}(?:\.\d{1,3})?)_(ttft|tpot|e2e|itl)_ms$`)
	bareKey       = regexp.MustCompile(`^max_(ttft|tpot|e2e|itl)_ms$`)
)

const minSuccessRate = "min_success_rate"

// upstreamSLAKeys are the limits that schema_version 1 knows.
var upstreamSLAKeys = []string{"max_p50_ttft_ms", "max_p50_tpot_ms", "max_p50_e2e_ms", minSuccessRate}

func (s *SLA) decodeNode(d *decoder, n *yaml.Node, path string) {
	d.mapping(n, path, func(e entry, at string) {
		percentile, quantity, ok := d.slaKey(e, at)
		if !ok {
			return
		}
		v, problem := scalarOf(e.valueNode)
		x, isNumber := v.Number()
		switch {
		case problem != "":
			d.fail(e.valueNode, at, "%s", problem)
		case !isNumber:
			d.fail(e.valueNode, at, "wants a number, got %s", v.describe())
		case e.key == minSuccessRate && (x < 0 || x > 1):
			d.fail(e.valueNode, at, "is a share between 0 and 1, got %s", v.Raw)
		case e.key == minSuccessRate:
			s.MinSuccessRate = &x
		case x <= 0:
			d.fail(e.valueNode, at, "is a time in milliseconds and must be above 0, got %s", v.Raw)
		default:
			s.Limits = append(s.Limits, Limit{Key: e.key, Percentile: percentile, Quantity: quantity, MaxMs: x})
		}
	})
}

// slaKey reads the name of a limit, or says what is wrong with it.
func (d *decoder) slaKey(e entry, path string) (percentile float64, quantity string, ok bool) {
	m := percentileKey.FindStringSubmatch(e.key)
	if m != nil {
		percentile, _ = strconv.ParseFloat(m[1], 64)
		quantity = m[2]
	}
	bare := bareKey.FindStringSubmatch(e.key)
	switch {
	case e.key == minSuccessRate || d.version >= SchemaOurs && m != nil && percentile > 0:
		return percentile, quantity, true
	case slices.Contains(upstreamSLAKeys, e.key):
		return percentile, quantity, true
	case bare != nil && d.version >= SchemaOurs:
		d.fail(e.keyNode, path, "a limit names its percentile: write max_p50_%s_ms or max_p99_%s_ms", bare[1], bare[1])
	case bare != nil:
		d.fail(e.keyNode, path, "deprecated key, its successor is max_p50_%s_ms; the bare key never said which percentile it meant: choose the number for the median anew, or set schema_version: 2 and name the percentile", bare[1])
	case m != nil && m[1] == "99" && quantity != "itl":
		d.fail(e.keyNode, path, "deprecated key, its successor is max_p50_%s_ms; renaming it with the same number makes the limit weaker (the median is below the 99th percentile): choose a lower number, or keep %s with schema_version: 2", quantity, e.key)
	case m != nil && d.version < SchemaOurs:
		d.fail(e.keyNode, path, "unknown limit: schema_version 1 knows %s; schema_version 2 takes any percentile", strings.Join(upstreamSLAKeys, ", "))
	default:
		d.fail(e.keyNode, path, "unknown limit%s", didYouMean(e.key, append([]string{"max_p99_ttft_ms", "max_p99_tpot_ms", "max_p99_e2e_ms"}, upstreamSLAKeys...)))
	}
	return 0, "", false
}

// ordered sorts diagnostics by their place in the file.
func ordered(ds []Diagnostic) []Diagnostic {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int {
		for _, c := range []int{a.Line - b.Line, a.Column - b.Column, strings.Compare(a.Message, b.Message)} {
			if c != 0 {
				return c
			}
		}
		return 0
	})
	return slices.CompactFunc(ds, func(a, b Diagnostic) bool { return a == b })
}
