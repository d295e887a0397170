package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Refusal is an end of the process that the engine itself would come to: text
// for its log, and its exit code. It is not a failure of the simulator.
type Refusal struct {
	Exit   int
	Stdout bool
	Text   []byte
}

func (r *Refusal) Error() string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(r.Text)), "\n")
	return fmt.Sprintf("engine ends with exit code %d: %s", r.Exit, line)
}

// invocation is an argv as the engine reads it.
type invocation struct {
	program string
	knobs   map[string]string
	given   map[string]bool // knobs that a flag set
}

// parse reads an engine's argv. A Refusal is what the engine prints for --help,
// --version, an unknown option or a bad value.
func (s *Surface) parse(argv, environ []string, f Faults) (*invocation, *Refusal) {
	words, program := s.stripProgram(argv)
	if c := s.command(argv, words); c != nil {
		d := &Data{Version: s.Version, Program: program, Argv: argv, Knob: s.Defaults}
		return nil, &Refusal{Exit: c.Exit, Stdout: !c.Stderr, Text: s.fill(c.File, d)}
	}
	p := &argvParser{surface: s, faults: f, inv: &invocation{program: program, knobs: map[string]string{}, given: map[string]bool{}}, argv: argv}
	for k, v := range s.Defaults {
		p.inv.knobs[k] = v
	}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok && s.Environment[name] != "" {
			p.inv.knobs[s.Environment[name]] = value
		}
	}
	if r := p.read(words); r != nil {
		return nil, r
	}
	if s.Model.Required && p.inv.knobs["model"] == "" {
		return nil, p.refuse("missing_model", s.Model.Option, "", "no model is named")
	}
	return p.inv, nil
}

// stripProgram takes the longest program word sequence off argv.
func (s *Surface) stripProgram(argv []string) (rest []string, program string) {
	best := 0
	for _, p := range s.Program {
		words := strings.Fields(p)
		if len(words) > best && len(words) <= len(argv) && samePrefix(argv, words) {
			best, program = len(words), p
		}
	}
	if program == "" && len(s.Program) > 0 {
		program = s.Program[0]
	}
	return argv[best:], program
}

func samePrefix(argv, words []string) bool {
	for i, w := range words {
		if argv[i] != w && (i > 0 || filepath.Base(argv[0]) != w && strings.TrimRight(filepath.Base(argv[0]), "0123456789.") != w) {
			return false
		}
	}
	return true
}

func (s *Surface) command(argv, words []string) *SurfaceCommand {
	for i := range s.Commands {
		c := &s.Commands[i]
		if slices.Equal(c.Args, words) || slices.Equal(c.Args, argv) {
			return c
		}
	}
	for i := range s.Commands {
		c := &s.Commands[i]
		if len(c.Args) == 1 && slices.Contains(words, c.Args[0]) {
			return c
		}
	}
	return nil
}

type argvParser struct {
	surface *Surface
	faults  Faults
	inv     *invocation
	argv    []string
}

func (p *argvParser) refuse(kind, flag, value, message string) *Refusal {
	l := p.surface.Log[kind]
	if l.Exit == 0 {
		l.Exit = 2
	}
	d := &Data{
		Version: p.surface.Version, Program: p.inv.program, Argv: p.argv, Knob: p.inv.knobs, PID: 1,
		Flag: flag, Value: value, Message: message, Model: p.inv.knobs["model"],
	}
	t := p.surface.fill(l.File, d)
	if l.File == "" {
		t = []byte(message + "\n")
	}
	return &Refusal{Exit: l.Exit, Stdout: l.Stdout, Text: t}
}

func (p *argvParser) read(words []string) *Refusal {
	positional := 0
	for i := 0; i < len(words); i++ {
		w := words[i]
		if !strings.HasPrefix(w, "-") || w == "-" || isNumber(w) {
			if !p.surface.Model.Positional || positional > 0 {
				return p.refuse("unknown_flag", w, "", "unrecognized arguments: "+w)
			}
			positional++
			p.set("model", w)
			continue
		}
		name, inline, hasInline := strings.Cut(w, "=")
		o, dotted := p.find(name)
		if o == nil {
			return p.refuse("unknown_flag", name, "", "unrecognized arguments: "+w)
		}
		var values []string
		if hasInline {
			if o.Takes == "none" {
				return p.refuse("bad_value", name, inline, "takes no value")
			}
			values = []string{inline}
		} else {
			n := p.wanted(o, words[i+1:])
			if n < 0 {
				return p.refuse("missing_value", name, "", "expected one argument")
			}
			values = words[i+1 : i+1+n]
			i += n
		}
		if r := p.apply(o, name, dotted, values); r != nil {
			return r
		}
	}
	return nil
}

func (p *argvParser) find(name string) (o *SurfaceOption, dotted string) {
	if p.surface.Underscores && strings.HasPrefix(name, "--") {
		name = strings.ReplaceAll(name, "_", "-")
	}
	if p.faults.unknownFlag != "" && strings.TrimLeft(name, "-") == strings.TrimLeft(p.faults.unknownFlag, "-") {
		return nil, ""
	}
	for i := range p.surface.Options {
		o := &p.surface.Options[i]
		if slices.Contains(o.Names, name) {
			return o, ""
		}
		if head, member, ok := strings.Cut(name, "."); ok && o.Dotted && slices.Contains(o.Names, head) {
			return o, member
		}
	}
	return nil, ""
}

// wanted is how many of the following words belong to the option; -1 = one is missing.
func (p *argvParser) wanted(o *SurfaceOption, rest []string) int {
	following := 0
	for following < len(rest) && p.isValue(rest[following]) {
		following++
	}
	switch o.Takes {
	case "none":
		return 0
	case "optional":
		return min(following, 1)
	case "many":
		return following
	}
	// A lone word after an option is its value even when it begins with a dash
	// and is no option.
	if len(rest) == 0 || following == 0 {
		return -1
	}
	return 1
}

func (p *argvParser) isValue(w string) bool {
	return !strings.HasPrefix(w, "-") || w == "-" || isNumber(w)
}

func isNumber(w string) bool {
	_, err := strconv.ParseFloat(w, 64)
	return err == nil
}

func (p *argvParser) apply(o *SurfaceOption, name, dotted string, values []string) *Refusal {
	for _, v := range values {
		if len(o.Choices) > 0 && !slices.Contains(o.Choices, v) {
			return p.refuse("bad_value", name, v, fmt.Sprintf("invalid choice: '%s' (choose from %s)", v, quoted(o.Choices)))
		}
		if dotted == "" && !fitsType(o.Type, v) {
			return p.refuse("bad_value", name, v, fmt.Sprintf("invalid %s value: '%s'", o.Type, v))
		}
	}
	switch {
	case dotted != "":
		if knob := o.Members[dotted]; knob != "" && len(values) > 0 {
			p.set(knob, o.translate(values[0]))
		}
	case len(o.Members) > 0 && len(values) > 0:
		p.members(o, values[0])
		fallthrough
	case o.Knob != "":
		p.setFrom(o, values)
	}
	if o.Takes == "one" && p.surface.Model.Option != "" && slices.Contains(o.Names, p.surface.Model.Option) && len(values) > 0 {
		p.set("model", values[0])
	}
	return nil
}

func (p *argvParser) setFrom(o *SurfaceOption, values []string) {
	switch {
	case o.Knob == "":
	case len(values) == 0 && o.Set != "":
		p.set(o.Knob, o.Set)
	case len(values) == 0:
		p.set(o.Knob, "true")
	default:
		v := strings.Join(values, " ")
		if mapped, ok := o.Values[v]; ok {
			v = mapped
		} else if o.Set != "" && o.Takes != "optional" {
			v = o.Set
		}
		p.set(o.Knob, v)
	}
}

// translate is the knob value of a word.
func (o *SurfaceOption) translate(word string) string {
	if v, ok := o.Values[word]; ok {
		return v
	}
	return word
}

func (p *argvParser) members(o *SurfaceOption, raw string) {
	var m map[string]any
	if json.Unmarshal([]byte(raw), &m) != nil {
		return
	}
	for member, knob := range o.Members {
		if v, ok := m[member]; ok {
			t, err := jsonText(v)
			if s, isText := v.(string); isText {
				t = s
			}
			if err == nil {
				p.set(knob, o.translate(t))
			}
		}
	}
}

func (p *argvParser) set(knob, value string) {
	p.inv.knobs[knob] = value
	p.inv.given[knob] = true
}

func quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = "'" + w + "'"
	}
	return strings.Join(out, ", ")
}

func fitsType(kind, v string) bool {
	switch kind {
	case "int":
		_, ok := parseInt(v)
		return ok || v == "auto"
	case "float":
		return isNumber(v)
	case "bool":
		_, err := strconv.ParseBool(v)
		return err == nil || slices.Contains([]string{"on", "off", "auto", "yes", "no"}, strings.ToLower(v))
	case "json":
		return json.Valid([]byte(v))
	}
	return true
}

// parseInt reads an integer with an optional k (1000) or K (1024), as some
// engines accept.
func parseInt(v string) (int, bool) {
	unit := 1
	for suffix, n := range map[string]int{"k": 1000, "K": 1 << 10, "m": 1_000_000, "M": 1 << 20} {
		if rest, ok := strings.CutSuffix(v, suffix); ok {
			v, unit = rest, n
			break
		}
	}
	if unit > 1 {
		f, err := strconv.ParseFloat(v, 64)
		return int(f * float64(unit)), err == nil && f < 1e12 && f > -1e12
	}
	n, err := strconv.Atoi(v)
	return n, err == nil
}

// knob readers: a value that cannot be read counts as absent.

func (inv *invocation) int(name string, absent int) int {
	if n, ok := parseInt(strings.TrimSpace(inv.knobs[name])); ok {
		return n
	}
	return absent
}

func (inv *invocation) float(name string, absent float64) float64 {
	if f, err := strconv.ParseFloat(strings.TrimSpace(inv.knobs[name]), 64); err == nil {
		return f
	}
	return absent
}

func (inv *invocation) bool(name string, absent bool) bool {
	switch strings.ToLower(strings.TrimSpace(inv.knobs[name])) {
	case "true", "1", "on", "yes":
		return true
	case "false", "0", "off", "no", "disabled", "none":
		return false
	}
	return absent
}

func (inv *invocation) text(name string) string { return strings.TrimSpace(inv.knobs[name]) }

// fill renders a file of the surface. What a template cannot do is shown in its
// place: it was tried once at loading, so this is a defect of the surface.
func (s *Surface) fill(name string, d *Data) []byte {
	t := s.files[name]
	if t == nil {
		return nil
	}
	if t.tmpl == nil {
		return t.raw
	}
	var b bytes.Buffer
	t.write(&b, d)
	return b.Bytes()
}

func (t *text) write(w io.Writer, d *Data) {
	if t.tmpl == nil {
		w.Write(t.raw)
		return
	}
	if err := t.tmpl.Execute(w, d); err != nil {
		fmt.Fprintf(w, "(template %s)", strings.ReplaceAll(err.Error(), "\n", " "))
	}
}
