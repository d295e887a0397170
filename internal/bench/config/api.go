package config

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"llmdyno/internal/engine"
)

// Options are what validation and planning know beside the file.
type Options struct {
	// HelpDir holds help captures, searched with its subfolders; "" = none.
	HelpDir string
	// Engines limits planning to these; nil = every engine that the file
	// enables.
	Engines []engine.ID
}

// The functions below are the whole surface of the package for its callers:
//
//	Load(path) (*File, []Diagnostic)              read and check the form
//	Parse(path, data) (*File, []Diagnostic)       the same from memory
//	LoadNamed(name) (*File, []Diagnostic)         a path, or cookbook:NAME
//	Check(f, set, opts) []Diagnostic              check against the engines
//	ValidatePaths(paths, set, opts) Report        all of it over files and folders
//	Plan(f, set, opts) PlanResult                 candidates of the enabled engines
//	f.Candidates(set, opts) ([]Candidate, []Warning)
//	Init(model, gpus, set) ([]byte, error)        a starting file
//	Suggest(word, known) string                   the nearest known word, or ""
//	JSONSchema() []byte, Reference() []byte       generated from File

// Candidate is one fully resolved way to start one engine. Host and port are
// not in it unless the file sets them: they are known at launch.
type Candidate struct {
	Engine  engine.ID       `json:"engine"`
	Index   int             `json:"index"` // 0 is the baseline
	ID      string          `json:"id"`    // unique in the plan: engine, dash, two-digit index
	Flags   engine.Settings `json:"-"`     // "flags": an object in command order
	Argv    []string        `json:"argv"`
	Command string          `json:"command"` // Argv quoted for a POSIX shell
}

// MarshalJSON writes the flags as one object in the order of the command.
func (c Candidate) MarshalJSON() ([]byte, error) {
	return marshal(struct {
		Engine  engine.ID       `json:"engine"`
		Index   int             `json:"index"`
		ID      string          `json:"id"`
		Flags   json.RawMessage `json:"flags"`
		Argv    []string        `json:"argv"`
		Command string          `json:"command"`
	}{c.Engine, c.Index, c.ID, settingsJSON(c.Flags), c.Argv, c.Command})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Candidate) UnmarshalJSON(data []byte) error {
	type plain Candidate
	aux := struct {
		*plain
		Flags json.RawMessage `json:"flags"`
	}{plain: (*plain)(c)}
	if err := json.Unmarshal(data, &aux); err != nil {
		return err
	}
	var err error
	c.Flags, err = settingsFromJSON(aux.Flags)
	return err
}

// Warning is something a person should know about a plan.
type Warning struct {
	Code    string    `json:"code"`             // kebab-case, stable
	Engine  engine.ID `json:"engine,omitempty"` // "" = the whole file
	Message string    `json:"message"`
}

// PlanResult is every candidate of every enabled engine, in order.
type PlanResult struct {
	Candidates []Candidate `json:"candidates"`
	Warnings   []Warning   `json:"warnings"`
}

// Report is the verdict on a list of files.
type Report struct {
	Files []FileReport `json:"files"`
}

// FileReport is the verdict on one file.
type FileReport struct {
	Path     string       `json:"path"`
	Valid    bool         `json:"valid"`
	Errors   []Diagnostic `json:"errors"`
	Warnings []Diagnostic `json:"warnings"`
}

// Valid says that no file has an error.
func (r Report) Valid() bool {
	return !slices.ContainsFunc(r.Files, func(f FileReport) bool { return !f.Valid })
}

// HasErrors says whether any diagnostic is an error.
func HasErrors(ds []Diagnostic) bool {
	return slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Severity == SeverityError })
}

// settingsJSON is one JSON object with the settings in order.
func settingsJSON(s engine.Settings) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, x := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(jsonString(x.Key) + ":" + settingJSON(x.Value))
	}
	b.WriteByte('}')
	return b.Bytes()
}

func settingJSON(v engine.Value) string {
	switch v.Kind {
	case engine.ValueString:
		return jsonString(v.Text)
	case engine.ValueNull:
		return "null"
	}
	return v.Text
}

// settingsFromJSON reads an object without losing its order.
func settingsFromJSON(raw json.RawMessage) (engine.Settings, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	var out engine.Settings
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, err
		}
		out = append(out, engine.Setting{Key: key.(string), Value: settingFromJSON(v)})
	}
	return out, nil
}

func settingFromJSON(raw json.RawMessage) engine.Value {
	text := strings.TrimSpace(string(raw))
	v := engine.Value{Text: text}
	switch {
	case text == "null":
		v.Kind = engine.ValueNull
	case text == "true" || text == "false":
		v.Kind = engine.ValueBool
	case text[0] == '"':
		v.Kind = engine.ValueString
		_ = json.Unmarshal(raw, &v.Text) // raw is a valid JSON string here
	case text[0] == '[':
		v.Kind = engine.ValueList
		var list []json.RawMessage
		_ = json.Unmarshal(raw, &list)
		for _, x := range list {
			v.List = append(v.List, settingFromJSON(x))
		}
	case text[0] == '{':
		v.Kind = engine.ValueMap
	case strings.ContainsAny(text, ".eE"):
		v.Kind = engine.ValueFloat
	default:
		v.Kind = engine.ValueInt
	}
	return v
}

// marshal is json.Marshal without the escaping meant for HTML: commands hold
// & and <.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

func jsonString(s string) string {
	b, _ := marshal(s) // a string always marshals
	return string(b)
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
