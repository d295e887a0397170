package sim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// SurfaceSchema names the format of surface.json.
const (
	SurfaceSchema        = "llmdyno.surface"
	SurfaceSchemaVersion = 1
)

// Bounds on what a surface may hold.
const (
	maxSurfaceFile  = 4 << 20
	maxSurfaceFiles = 200
	maxSurfaceList  = 4000 // options, routes, commands
)

// Surface is the captured text of one version of an engine: what it prints,
// answers and logs, and which of its options turn which knob of the model. It
// is read from <version>/surface.json and the files named there.
//
// Named files are Go text/template texts over [Data], with the functions json,
// date LAYOUT [TIME], hist NAME (.Sum .Count), buckets NAME BOUND… (.LE .Count),
// add, sub, mul, div, int. Files named by a wire lose
// surrounding white space, and so do bodies sent as JSON; all others are sent
// byte for byte. A help or version text that holds "{{" by itself is written
// with "raw": true.
type Surface struct {
	Schema        string          `json:"schema"`
	SchemaVersion int             `json:"schema_version"`
	Version       string          `json:"version"`
	Title         string          `json:"title"`
	Note          string          `json:"note,omitempty"`
	Sources       []SurfaceSource `json:"sources"`
	// Program lists word sequences taken off the front of argv, the longest
	// that fits first. The first word also fits by its base name.
	Program []string `json:"program"`
	Model   struct {
		Positional bool   `json:"positional"`
		Option     string `json:"option"`
		Required   bool   `json:"required,omitempty"`
	} `json:"model"`
	Commands []SurfaceCommand `json:"commands"`
	Options  []SurfaceOption  `json:"options"`
	// Underscores: --like_this is read as --like-this.
	Underscores bool `json:"underscores,omitempty"`
	// Defaults are knob values where the flag is absent.
	Defaults map[string]string      `json:"defaults"`
	Routes   []SurfaceRoute         `json:"routes"`
	Listen   string                 `json:"listen"` // early or ready: is the port open before the model is loaded
	Wires    map[string]SurfaceWire `json:"wires"`
	// Errors: unauthorized bad_json bad_request too_long not_found internal
	// unknown_field method unknown_model overloaded not_ready. What is missing
	// is answered with the bare status.
	Errors map[string]SurfaceReply `json:"errors"`
	// Log: boot ready oom no_kv unknown_flag bad_value missing_value
	// missing_model crash load_failed port_in_use stats request stop.
	Log map[string]SurfaceLog `json:"log"`
	// Environment maps variables of the process to knobs, which they set before
	// the options do.
	Environment map[string]string `json:"environment,omitempty"`
	// Profile is the file with the shape of the profiler's traces; see
	// [SurfaceProfile]. "" = the profiler writes none.
	Profile string `json:"profile,omitempty"`

	profile *SurfaceProfile
	files   map[string]*text
	// histograms are what {{hist}} and {{buckets}} read; whoever renders sets
	// them and holds the lock meanwhile.
	histograms map[string]*histogram
}

// SurfaceSource says where a part of the surface was read.
type SurfaceSource struct {
	What     string `json:"what"`
	Ref      string `json:"ref"`
	Date     string `json:"date"`
	Verbatim bool   `json:"verbatim"`
	Note     string `json:"note,omitempty"`
}

// SurfaceCommand is an argv that prints and ends. It fits when argv, program
// words left out or not, is Args; or when Args is one word that stands anywhere
// in argv.
type SurfaceCommand struct {
	Args   []string `json:"args"`
	File   string   `json:"file"`
	Exit   int      `json:"exit,omitempty"`
	Stderr bool     `json:"stderr,omitempty"`
	Raw    bool     `json:"raw,omitempty"`
}

// SurfaceOption is one command-line option. Without Knob it is accepted and has
// no effect.
type SurfaceOption struct {
	Names []string `json:"names"`
	Takes string   `json:"takes"`          // none one optional many
	Type  string   `json:"type,omitempty"` // int float bool json; "" = any text
	Knob  string   `json:"knob,omitempty"`
	Set   string   `json:"set,omitempty"` // knob value when no word is taken
	// Choices bound the words; Values translate a word into a knob value.
	Choices []string          `json:"choices,omitempty"`
	Values  map[string]string `json:"values,omitempty"`
	// Members map members of a JSON value to knobs; Dotted also accepts
	// --name.member value.
	Members map[string]string `json:"members,omitempty"`
	Dotted  bool              `json:"dotted,omitempty"`
}

// SurfaceReply is a status with a body.
type SurfaceReply struct {
	Status      int               `json:"status"`
	Body        string            `json:"body"` // file; "" = empty
	ContentType string            `json:"content_type,omitempty"`
	Header      map[string]string `json:"header,omitempty"`
	AfterS      float64           `json:"after_s,omitempty"` // seconds until the answer
}

// SurfaceRoute is one path of the HTTP surface.
type SurfaceRoute struct {
	Method string `json:"method"` // GET, POST, or several joined by "|"
	Path   string `json:"path"`   // exact; a trailing * is any rest
	Kind   string `json:"kind"`   // static completions chat generate tokenize flush start_profile stop_profile
	SurfaceReply
	Auth    bool          `json:"auth"`
	Loading *SurfaceReply `json:"loading,omitempty"` // until the model is loaded; nil = as when ready
	Dead    *SurfaceReply `json:"dead,omitempty"`    // with a dead scheduler; nil = as when alive
	// Refused answers a flush while requests run, a second start of the
	// profiler, a stop of none; nil = as if it had worked.
	Refused *SurfaceReply `json:"refused,omitempty"`
	// TextField is the member of a tokenize request that holds the text; "" = any of
	// prompt, content and text.
	TextField string `json:"text_field,omitempty"`
	Needs     string `json:"needs,omitempty"` // knob that must be "true", else the route is not found
}

// SurfaceWire is the format of a generating endpoint.
type SurfaceWire struct {
	ContentType string `json:"content_type"` // of a stream
	First       string `json:"first"`        // event before the first text; "" = none
	Delta       string `json:"delta"`
	Finish      string `json:"finish"` // "" = the last delta carries the reason
	Usage       string `json:"usage"`  // event with counts alone; "" = none
	Done        string `json:"done"`   // text itself, not a file
	Frame       string `json:"frame"`  // text around "{event}", not a file
	Cumulative  bool   `json:"cumulative"`
	// FinishInLastDelta: .Finish is set in the last delta (and no finish event
	// follows when Finish is "").
	FinishInLastDelta bool `json:"finish_in_last_delta"`
	// UsageWhen: asked (stream_options.include_usage), always, or
	// each_event_when_asked (also continuous_usage_stats). .WithUsage tells the
	// template whether its event is to carry counts.
	UsageWhen string `json:"usage_when"`
	// UsageDefault: members missing from a given stream_options count as true.
	UsageDefault     bool   `json:"usage_default,omitempty"`
	CloseAfterStream bool   `json:"close_after_stream"`
	Whole            string `json:"whole"`
	WholeType        string `json:"whole_type,omitempty"` // "" = application/json
	// Fields are the accepted body fields, Nested those of a member object.
	Fields       []string            `json:"fields"`
	Nested       map[string][]string `json:"nested,omitempty"`
	UnknownField string              `json:"unknown_field"` // reject or ignore
	// MaxTokens is the bound where the request has none; 0 = the context's end.
	MaxTokens  int  `json:"default_max_tokens,omitempty"`
	CheckModel bool `json:"check_model,omitempty"` // another model's name is an error
}

// SurfaceLog is text for the log: a file name, or an object with more.
type SurfaceLog struct {
	File   string  `json:"file"`
	Exit   int     `json:"exit,omitempty"`
	EveryS float64 `json:"every_s,omitempty"`
	Stdout bool    `json:"stdout,omitempty"` // otherwise stderr
}

// UnmarshalJSON accepts a bare file name.
func (l *SurfaceLog) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &l.File)
	}
	type plain SurfaceLog
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode((*plain)(l))
}

// text is a named file: a template, or raw bytes.
type text struct {
	tmpl *template.Template
	raw  []byte
}

// SurfaceVersions lists the versions in fsys, oldest first.
func SurfaceVersions(fsys fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("surface: %w", err)
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if _, err := fs.Stat(fsys, path.Join(e.Name(), "surface.json")); err == nil {
			out = append(out, e.Name())
		}
	}
	slices.SortFunc(out, compareVersions)
	return out, nil
}

// compareVersions orders "0.9.1" before "0.26.0": numbers by value, the rest as text.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, errX := strconv.Atoi(as[i])
		y, errY := strconv.Atoi(bs[i])
		c := cmp.Compare(x, y)
		if errX != nil || errY != nil {
			c = strings.Compare(as[i], bs[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}

// LoadSurface reads a version's surface ("" = the newest) with all its files,
// and tries every template once.
func LoadSurface(fsys fs.FS, version string) (*Surface, error) {
	if fsys == nil {
		return nil, errors.New("surface: this engine has none")
	}
	if version == "" {
		all, err := SurfaceVersions(fsys)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return nil, errors.New("surface: no version folder with a surface.json")
		}
		version = all[len(all)-1]
	}
	if !fs.ValidPath(version) {
		return nil, fmt.Errorf("surface %q: not a version folder", version)
	}
	sub, err := fs.Sub(fsys, version)
	if err != nil {
		return nil, fmt.Errorf("surface %s: %w", version, err)
	}
	raw, err := readFile(sub, "surface.json")
	if err != nil {
		return nil, fmt.Errorf("surface %s: %w", version, err)
	}
	s, err := decodeSurface(raw)
	if err == nil {
		err = s.load(sub)
	}
	if err == nil && s.Profile != "" {
		s.profile, err = loadProfile(sub, s.Profile)
	}
	if err != nil {
		return nil, fmt.Errorf("surface %s: %w", version, err)
	}
	return s, nil
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("file %q: not a name within the version's folder", name)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSurfaceFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(b) > maxSurfaceFile {
		return nil, fmt.Errorf("%s: longer than %d bytes", name, maxSurfaceFile)
	}
	return b, nil
}

func decodeSurface(raw []byte) (*Surface, error) {
	s := new(Surface)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("surface.json at byte %d: %w", dec.InputOffset(), err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("surface.json at byte %d: expected the end of the file", dec.InputOffset())
	}
	return s, s.check()
}

// check demands what the model relies on.
func (s *Surface) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("surface.json: "+format, args...)) }
	if s.Schema != SurfaceSchema || s.SchemaVersion != SurfaceSchemaVersion {
		bad("schema %q version %d: expected %q version %d", s.Schema, s.SchemaVersion, SurfaceSchema, SurfaceSchemaVersion)
	}
	if len(s.Options) > maxSurfaceList || len(s.Routes) > maxSurfaceList || len(s.Commands) > maxSurfaceList {
		bad("more than %d options, routes or commands", maxSurfaceList)
		return errors.Join(errs...)
	}
	if s.Listen != "early" && s.Listen != "ready" {
		bad(`listen %q: expected "early" or "ready"`, s.Listen)
	}
	if len(s.Sources) == 0 {
		bad("sources: expected at least one")
	}
	for _, src := range s.Sources {
		if src.Ref == "" || src.Date == "" {
			bad("sources: %q has no ref or date", src.What)
		}
	}
	s.checkOptions(bad)
	s.checkRoutes(bad)
	for name, w := range s.Wires {
		w.check(name, bad)
	}
	return errors.Join(errs...)
}

func (s *Surface) checkOptions(bad func(string, ...any)) {
	seen := map[string]bool{}
	for i, o := range s.Options {
		if len(o.Names) == 0 {
			bad("options[%d]: no names", i)
		}
		for _, n := range o.Names {
			if !strings.HasPrefix(n, "-") {
				bad("options[%d]: name %q does not begin with a dash", i, n)
			}
			if seen[n] {
				bad("option %s: named twice", n)
			}
			seen[n] = true
		}
		if !slices.Contains([]string{"none", "one", "optional", "many"}, o.Takes) {
			bad("options[%d]: takes %q: expected none, one, optional or many", i, o.Takes)
		}
		if !slices.Contains([]string{"", "int", "float", "bool", "json"}, o.Type) {
			bad("options[%d]: type %q: expected int, float, bool or json", i, o.Type)
		}
	}
}

var routeKinds = []string{"static", "completions", "chat", "generate", "tokenize", "flush", "start_profile", "stop_profile"}

func (s *Surface) checkRoutes(bad func(string, ...any)) {
	seen := map[string]bool{}
	for i, r := range s.Routes {
		if !strings.HasPrefix(r.Path, "/") {
			bad("routes[%d]: path %q does not begin with a slash", i, r.Path)
		}
		if !slices.Contains(routeKinds, r.Kind) {
			bad("route %s: kind %q: expected one of %s", r.Path, r.Kind, strings.Join(routeKinds, ", "))
		}
		for _, m := range strings.Split(r.Method, "|") {
			if m == "" || strings.ToUpper(m) != m {
				bad("route %s: method %q", r.Path, r.Method)
			}
			if key := m + " " + r.Path; seen[key] {
				bad("route %s: twice", key)
			} else {
				seen[key] = true
			}
		}
		if r.generates() {
			if _, ok := s.Wires[r.Kind]; !ok {
				bad("route %s: no wire %q", r.Path, r.Kind)
			}
		}
		for _, p := range []*SurfaceReply{&r.SurfaceReply, r.Loading, r.Dead, r.Refused} {
			if p != nil && p.Status != 0 && (p.Status < 200 || p.Status > 599) {
				bad("route %s: status %d", r.Path, p.Status)
			}
		}
	}
}

func (r SurfaceRoute) generates() bool {
	return r.Kind == "completions" || r.Kind == "chat" || r.Kind == "generate"
}

func (w SurfaceWire) check(name string, bad func(string, ...any)) {
	if w.Delta == "" || w.Whole == "" {
		bad("wire %s: delta and whole are needed", name)
	}
	if !strings.Contains(w.Frame, "{event}") {
		bad("wire %s: frame %q has no {event}", name, w.Frame)
	}
	if !slices.Contains([]string{"asked", "always", "each_event_when_asked"}, w.UsageWhen) {
		bad("wire %s: usage_when %q: expected asked, always or each_event_when_asked", name, w.UsageWhen)
	}
	if w.UnknownField != "reject" && w.UnknownField != "ignore" {
		bad("wire %s: unknown_field %q: expected reject or ignore", name, w.UnknownField)
	}
	if w.Finish == "" && !w.FinishInLastDelta {
		bad("wire %s: neither a finish event nor finish_in_last_delta", name)
	}
}

// fileUse is how a named file is read.
type fileUse struct {
	name      string
	raw, trim bool
}

func (s *Surface) fileUses() []fileUse {
	var out []fileUse
	add := func(name string, raw, trim bool) {
		if name != "" {
			out = append(out, fileUse{name, raw, trim})
		}
	}
	reply := func(r *SurfaceReply) {
		if r != nil {
			add(r.Body, false, r.contentType() == jsonType)
		}
	}
	for _, c := range s.Commands {
		add(c.File, c.Raw, false)
	}
	for i := range s.Routes {
		r := &s.Routes[i]
		reply(&r.SurfaceReply)
		reply(r.Loading)
		reply(r.Dead)
		reply(r.Refused)
	}
	for _, w := range s.Wires {
		for _, f := range []string{w.First, w.Delta, w.Finish, w.Usage, w.Whole} {
			add(f, false, true)
		}
	}
	for _, e := range s.Errors {
		reply(&e)
	}
	for _, l := range s.Log {
		add(l.File, false, false)
	}
	return out
}

const jsonType = "application/json"

// contentType is the stated type, or that of the file's name.
func (r SurfaceReply) contentType() string {
	switch {
	case r.ContentType != "":
		return r.ContentType
	case strings.HasSuffix(r.Body, ".json"):
		return jsonType
	case r.Body == "":
		return ""
	}
	return "text/plain; charset=utf-8"
}

func (s *Surface) load(fsys fs.FS) error {
	s.files, s.histograms = map[string]*text{}, newHistograms()
	var errs []error
	for _, u := range s.fileUses() {
		if s.files[u.name] != nil {
			continue
		}
		if len(s.files) == maxSurfaceFiles {
			return fmt.Errorf("more than %d files", maxSurfaceFiles)
		}
		t, err := s.loadText(fsys, u)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.files[u.name] = t
	}
	return errors.Join(errs...)
}

func (s *Surface) loadText(fsys fs.FS, u fileUse) (*text, error) {
	b, err := readFile(fsys, u.name)
	if err != nil {
		return nil, err
	}
	if u.trim {
		b = bytes.TrimSpace(b)
	}
	if u.raw || !bytes.Contains(b, []byte("{{")) {
		return &text{raw: b}, nil
	}
	t, err := template.New(u.name).Option("missingkey=zero").Funcs(s.templateFuncs()).Parse(string(b))
	if err != nil {
		return nil, fmt.Errorf("template %w", err)
	}
	if err := t.Execute(io.Discard, sampleData()); err != nil {
		return nil, fmt.Errorf("template %w", err)
	}
	return &text{tmpl: t}, nil
}
