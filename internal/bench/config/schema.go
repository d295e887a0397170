package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
)

// JSONSchema is the JSON Schema of a configuration, made from [File]. It
// describes the form; which flags an engine has is checked by validation.
func JSONSchema() []byte {
	r := &jsonschema.Reflector{
		FieldNameTag: "yaml", Anonymous: true, DoNotReference: true, ExpandedStruct: true,
		RequiredFromJSONSchemaTags: true, Mapper: customSchema,
	}
	s := r.Reflect(&File{})
	s.Title = "llmdyno benchmark configuration"
	s.Description = "One benchmark: a model, its load, its limits, and how each engine is started."
	decorate(s, reflect.TypeFor[File]())
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(s) // the schema is made of strings, numbers and maps
	return b.Bytes()
}

// customSchema describes the types that read their own nodes.
func customSchema(t reflect.Type) *jsonschema.Schema {
	anything := jsonschema.TrueSchema
	switch t {
	case reflect.TypeFor[Flags](), reflect.TypeFor[Body](), reflect.TypeFor[Space]():
		return &jsonschema.Schema{Type: "object", AdditionalProperties: anything}
	case reflect.TypeFor[Env]():
		return &jsonschema.Schema{Type: "object", AdditionalProperties: &jsonschema.Schema{AnyOf: oneOfTypes("string", "number")}}
	case reflect.TypeFor[Caps]():
		cap := &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "integer", Minimum: "1"}, {Type: "null"}}}
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "array", Items: cap}, cap}}
	case reflect.TypeFor[Compat]():
		return compatSchema()
	case reflect.TypeFor[SLA]():
		limits := &jsonschema.Schema{Type: "object", AdditionalProperties: jsonschema.FalseSchema, Properties: jsonschema.NewProperties()}
		limits.Properties.Set(minSuccessRate, &jsonschema.Schema{Type: "number", Minimum: "0", Maximum: "1", Description: "Smallest share of requests that must succeed."})
		limits.PatternProperties = map[string]*jsonschema.Schema{
			strings.NewReplacer(`\d`, "[0-9]", "(?:", "(").Replace(percentileKey.String()): {Type: "number", ExclusiveMinimum: "0", Description: "Upper limit in milliseconds of this percentile."},
		}
		return limits
	case reflect.TypeFor[Frameworks]():
		section := (&jsonschema.Reflector{FieldNameTag: "yaml", Anonymous: true, DoNotReference: true, ExpandedStruct: true, RequiredFromJSONSchemaTags: true, Mapper: customSchema}).Reflect(&Framework{})
		section.Version = ""
		decorate(section, reflect.TypeFor[Framework]())
		section.Required = nil // asked only of an enabled engine
		return &jsonschema.Schema{Type: "object", AdditionalProperties: section}
	}
	return nil
}

func oneOfTypes(names ...string) []*jsonschema.Schema {
	out := make([]*jsonschema.Schema, len(names))
	for i, n := range names {
		out[i] = &jsonschema.Schema{Type: n}
	}
	return out
}

// decorate adds what the tags of a struct say to its schema.
func decorate(s *jsonschema.Schema, t reflect.Type) {
	s.Required = nil
	for _, f := range schemaFields(t) {
		p, ok := s.Properties.Get(f.name)
		if !ok {
			continue
		}
		p.Description = f.description()
		item := p
		if p.Items != nil {
			item = p.Items
		}
		for _, e := range f.enum {
			item.Enum = append(item.Enum, enumValue(e))
		}
		if f.min != nil {
			item.Minimum = jsonNumber(*f.min)
		}
		if f.max != nil {
			item.Maximum = jsonNumber(*f.max)
		}
		if f.above != nil {
			item.ExclusiveMinimum = jsonNumber(*f.above)
		}
		if f.req == "true" {
			s.Required = append(s.Required, f.name)
		}
		decorateBelow(p, t.Field(f.index).Type)
		if f.req == "" {
			s.Properties.Set(f.name, nullable(p))
		}
	}
}

// decorateBelow goes on into structs and lists of structs.
func decorateBelow(p *jsonschema.Schema, t reflect.Type) {
	if t.Kind() == reflect.Slice && p.Items != nil {
		p, t = p.Items, t.Elem()
	}
	if t.Kind() == reflect.Struct && p.Properties != nil && customSchema(t) == nil {
		decorate(p, t)
	}
}

// nullable lets an optional key be null, which is the same as leaving it out.
func nullable(p *jsonschema.Schema) *jsonschema.Schema {
	out := &jsonschema.Schema{Description: p.Description, AnyOf: []*jsonschema.Schema{p, {Type: "null"}}}
	p.Description = ""
	return out
}

func enumValue(s string) any {
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return s
}

func jsonNumber(x float64) json.Number {
	return json.Number(strconv.FormatFloat(x, 'g', -1, 64))
}

func (f schemaField) description() string {
	if f.since != "" {
		return f.doc + " Needs schema_version " + f.since + "."
	}
	return f.doc
}

// Reference is the page docs/config.md, made from [File].
func Reference() []byte {
	var b bytes.Buffer
	b.WriteString(`# The configuration of a benchmark

<!-- Made from the Go struct that reads the file: go test ./internal/bench/config -run TestGenerated -update -->

One YAML file describes one benchmark. ` + "`schema_version: 1`" + ` is the schema of the upstream cookbook, read
unchanged; ` + "`schema_version: 2`" + ` adds the keys marked **2** and repairs the behaviour listed in
[compatibility.md](compatibility.md). An unknown key is an error. ` + "`null`" + ` for an optional key is the same as
leaving it out. Plain scalars are read by the rules of YAML 1.1. An editor can check the form with
[bench.schema.json](bench.schema.json).

A file has at most 4 MiB, 64 levels and 50 000 values with its aliases expanded.
`)
	writeSection(&b, "Top level", "", reflect.TypeFor[File]())
	b.WriteString(`
## Limits (sla)

A limit is named ` + "`max_pNN_Q_ms`" + `: the NNth percentile of Q (` + "`ttft` `tpot` `e2e` `itl`" + `) in milliseconds may not
exceed the number. ` + "`min_success_rate`" + ` is a share from 0 to 1. schema_version 1 knows
` + "`" + strings.Join(upstreamSLAKeys, "` `") + "`" + ` only.

## Values of flags

| value | command, schema_version 1 | command, schema_version 2 |
| --- | --- | --- |
| ` + "`null`" + ` | nothing | nothing |
| ` + "`true`" + ` | ` + "`--flag`" + ` | ` + "`--flag`" + ` |
| ` + "`false`" + ` | nothing | the negative form (` + "`--no-flag`" + `) where the engine has one, else nothing |
| ` + "`on` `off` `yes` `no`" + ` unquoted | as true or false | the word, where the flag takes words; else as true or false |
| number, text | ` + "`--flag VALUE`" + ` | ` + "`--flag VALUE`" + ` |
| list | ` + "`--flag '[1, 2]'`" + ` | ` + "`--flag 1 2`" + `; JSON where the flag takes JSON |
| mapping | ` + "`--flag \"{'a': 1}\"`" + ` | ` + "`--flag '{\"a\":1}'`" + ` |
`)
	return b.Bytes()
}

func writeSection(b *bytes.Buffer, title, path string, t reflect.Type) {
	fmt.Fprintf(b, "\n## %s\n\n| key | type | | meaning |\n| --- | --- | --- | --- |\n", title)
	type below struct {
		path string
		t    reflect.Type
	}
	var nested []below
	for _, f := range schemaFields(t) {
		ft := t.Field(f.index).Type
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", join(path, f.name), typeName(ft, f), marks(f), strings.ReplaceAll(f.doc, "|", `\|`))
		inner, suffix := ft, ""
		switch {
		case ft == reflect.TypeFor[Frameworks]():
			inner, suffix = reflect.TypeFor[Framework](), ".ENGINE"
		case ft.Kind() == reflect.Slice:
			inner, suffix = ft.Elem(), "[]"
		}
		if inner.Kind() == reflect.Struct && len(schemaFields(inner)) > 0 {
			nested = append(nested, below{join(path, f.name) + suffix, inner})
		}
	}
	for _, n := range nested {
		writeSection(b, n.path, n.path, n.t)
	}
}

func marks(f schemaField) string {
	switch {
	case f.since != "":
		return "**" + f.since + "**"
	case f.req == "true":
		return "required"
	case f.req == "1":
		return "required in 1"
	}
	return ""
}

func typeName(t reflect.Type, f schemaField) string {
	switch t {
	case reflect.TypeFor[Flags](), reflect.TypeFor[Body]():
		return "map"
	case reflect.TypeFor[Space]():
		return "map of lists"
	case reflect.TypeFor[Env]():
		return "map of text"
	case reflect.TypeFor[Caps]():
		return "list of integer or null"
	case reflect.TypeFor[SLA]():
		return "limits"
	case reflect.TypeFor[Frameworks]():
		return "map of sections"
	case reflect.TypeFor[Compat]():
		return "`" + strings.Join(compatWords(), "` `") + "`"
	}
	if len(f.enum) > 0 {
		return "`" + strings.Join(f.enum, "` `") + "`"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem(), f)
	case reflect.Slice:
		return "list of " + typeName(t.Elem(), f)
	case reflect.Struct:
		return "map"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number" + rangeText(f)
	}
	return "integer" + rangeText(f)
}

func rangeText(f schemaField) string {
	text := ""
	if f.min != nil {
		text += fmt.Sprintf(" ≥ %g", *f.min)
	}
	if f.above != nil {
		text += fmt.Sprintf(" > %g", *f.above)
	}
	if f.max != nil {
		text += fmt.Sprintf(" ≤ %.0f", *f.max)
	}
	return text
}
