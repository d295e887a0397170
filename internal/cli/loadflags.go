package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"llmdyno/internal/bench/config"
	"llmdyno/internal/engine"
)

// The options of workloads and arrivals are the keys of a benchmark file: their
// names and meanings come from the same tagged structs, and what is given is
// judged by the same rules, as a benchmark file that is written here.

// loadOption is one option that stands for a key of a benchmark file.
type loadOption struct {
	name, path string // of the flag; of the key in the file
	typ        reflect.Type
	seconds    bool // the key is a number of seconds, the flag a time such as 90s
	value      string
	set        bool
}

// optionSources are the parts of a benchmark file that a load takes its options
// from, with the keys taken; nil = all but those without.
var optionSources = []struct {
	path    string
	of      reflect.Type
	only    []string
	without []string
	names   map[string]string // flags that are not named as their key
}{
	{path: "scenarios[0]", of: reflect.TypeFor[config.Scenario](), without: []string{"name", "sla"}, names: map[string]string{"kind": "workload", "path": "dataset"}},
	{path: "dataset", of: reflect.TypeFor[config.Dataset](), only: []string{"seed", "tokenizer_path"}, names: map[string]string{"tokenizer_path": "tokenizer"}},
	{path: "benchmark.arrivals", of: reflect.TypeFor[config.Arrivals](), names: map[string]string{"kind": "arrivals", "path": "arrivals-path"}},
	{path: "benchmark", of: reflect.TypeFor[config.Benchmark](), only: []string{"endpoint", "extra_request_body", "warmup", "request_timeout_s", "api_key_env", "temperature"}, names: map[string]string{"extra_request_body": "extra-body"}},
}

// ownUsage are meanings that are not those of the key, word for word.
var ownUsage = map[string]string{
	"workload":    "what is sent: random (default), custom, shared_prefix, sharegpt, conversation, mooncake or requests",
	"dataset":     "file of the workload, for all kinds but random and shared_prefix",
	"num-prompts": "number of requests (default: what arrives in --duration, all rows of --dataset, or 80)",
	"arrivals":    "poisson, constant, gamma, closed, ramp, steps or trace (default: poisson with --rate, else closed)",
	"gaps":        "law of the gaps of ramp and steps: poisson (default), constant or gamma",
	"endpoint":    "path of the endpoint that is measured (default: that for chats where the requests are messages, else /v1/completions)",
	"input-len":   "prompt tokens (default 512)",
	"output-len":  "output tokens (default 128); with --dataset, of rows that do not say",
	"seed":        "seed of prompts and arrivals (default 1)",
	"warmup":      "requests sent before the measurement and left out of it (default 1)",
}

func loadOptions() []*loadOption {
	var out []*loadOption
	for _, src := range optionSources {
		for _, f := range reflect.VisibleFields(src.of) {
			key := f.Tag.Get("yaml")
			if key == "" || src.only != nil && !slices.Contains(src.only, key) || slices.Contains(src.without, key) {
				continue
			}
			o := &loadOption{path: src.path + "." + key, typ: f.Type}
			short, seconds := strings.CutSuffix(key, "_s")
			o.seconds = seconds
			if o.name = src.names[key]; o.name == "" {
				o.name = strings.ReplaceAll(short, "_", "-")
			}
			out = append(out, o)
		}
	}
	return out
}

// usage is the first sentence of a key's meaning, with the form of its value
// where that is not plain.
func (o *loadOption) usage() string {
	if own := ownUsage[o.name]; own != "" {
		return own
	}
	for _, src := range optionSources {
		key, ok := strings.CutPrefix(o.path, src.path+".")
		if !ok {
			continue
		}
		for _, f := range reflect.VisibleFields(src.of) {
			if f.Tag.Get("yaml") == key {
				text, _, _ := strings.Cut(f.Tag.Get("doc"), ". ")
				text = strings.TrimSuffix(text, ".")
				if strings.ToUpper(text[:2]) != text[:2] { // no abbreviation
					text = strings.ToLower(text[:1]) + text[1:]
				}
				return strings.NewReplacer("relative to this file", "relative to this folder", "in seconds", "such as 90s").Replace(text)
			}
		}
	}
	return ""
}

func addLoadOptions(f *pflag.FlagSet, opts []*loadOption) {
	for _, o := range opts {
		x := f.VarPF(o, o.name, "", o.usage())
		if o.typ == reflect.TypeFor[*bool]() {
			x.NoOptDefVal = "true"
		}
	}
}

// String, Set and Type make the option a flag.
func (o *loadOption) String() string { return o.value }

// Set takes the value as written; the file's rules judge it.
func (o *loadOption) Set(s string) error { o.value, o.set = s, true; return nil }

// Type is the word that stands for the value in the help.
func (o *loadOption) Type() string {
	switch {
	case o.seconds:
		return "duration"
	case o.typ == reflect.TypeFor[config.LengthSpec]():
		return "LENGTHS"
	case o.typ == reflect.TypeFor[config.PrefixSpec]():
		return "len=N,groups=N,ratio=R"
	case o.typ == reflect.TypeFor[[]config.StepSpec]():
		return "RATE@TIME,..."
	case o.typ == reflect.TypeFor[config.Body]():
		return "JSON"
	case o.typ.Kind() == reflect.Int || o.typ.Kind() == reflect.Uint64:
		return "int"
	case o.typ.Kind() == reflect.Float64:
		return "number"
	case o.typ.Kind() == reflect.Pointer:
		return o.typ.Elem().Kind().String()
	}
	return "string"
}

// optionNamed finds an option by the name of its flag.
func optionNamed(opts []*loadOption, name string) *loadOption {
	return opts[slices.IndexFunc(opts, func(o *loadOption) bool { return o.name == name })]
}

// node is the value as the file holds it.
func (o *loadOption) node() (any, error) {
	switch {
	case o.seconds:
		return secondsOf(o.value)
	case o.typ == reflect.TypeFor[config.LengthSpec]():
		return lengthNode(o.value)
	case o.typ == reflect.TypeFor[config.PrefixSpec]():
		return keysNode(strings.Split(o.value, ","))
	case o.typ == reflect.TypeFor[[]config.StepSpec]():
		return stepsNode(o.value)
	case o.typ == reflect.TypeFor[config.Body]():
		var body map[string]any
		if err := json.Unmarshal([]byte(o.value), &body); err != nil {
			return nil, fmt.Errorf("expected a JSON object: %w", err)
		}
		return json.RawMessage(o.value), nil
	case o.typ.Kind() == reflect.String:
		return o.value, nil
	}
	return scalarNode(o.value), nil
}

func secondsOf(s string) (any, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return d.Seconds(), nil
	}
	if x, err := strconv.ParseFloat(s, 64); err == nil {
		return x, nil
	}
	return nil, fmt.Errorf("%q is not a time such as 90s", s)
}

var plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// scalarNode is a number or a boolean where the text is one.
func scalarNode(s string) any {
	switch {
	case plainNumber.MatchString(s):
		return json.RawMessage(s)
	case s == "true" || s == "false":
		return s == "true"
	}
	return s
}

// lengthNode reads N, or KIND,key=value,….
func lengthNode(s string) (any, error) {
	if plainNumber.MatchString(s) {
		return map[string]any{"mean": json.RawMessage(s)}, nil
	}
	parts := strings.Split(s, ",")
	kind := ""
	if !strings.Contains(parts[0], "=") {
		kind, parts = parts[0], parts[1:]
	}
	node, err := keysNode(parts)
	if err == nil && kind != "" {
		node["kind"] = kind
	}
	return node, err
}

func keysNode(parts []string) (map[string]any, error) {
	node := map[string]any{}
	for _, p := range parts {
		key, value, ok := strings.Cut(p, "=")
		if !ok {
			return nil, fmt.Errorf("%q: expected key=value, separated by commas", p)
		}
		if key != "values" {
			node[key] = scalarNode(value)
			continue
		}
		var list []any
		for _, v := range strings.Split(value, ":") {
			list = append(list, scalarNode(v))
		}
		node[key] = list
	}
	return node, nil
}

// stepsNode reads RATE@TIME,….
func stepsNode(s string) (any, error) {
	var steps []any
	for _, p := range strings.Split(s, ",") {
		rate, long, ok := strings.Cut(p, "@")
		if !ok {
			return nil, fmt.Errorf("%q: expected RATE@TIME, for example 4@30s", p)
		}
		sec, err := secondsOf(long)
		if err != nil {
			return nil, err
		}
		steps = append(steps, map[string]any{"rate_rps": scalarNode(rate), "for_s": sec})
	}
	return steps, nil
}

// benchmarkOf is the benchmark file that the options stand for, judged; the
// first thing that is wrong comes back under the name of its option.
func benchmarkOf(opts []*loadOption, model string, set engine.Set) (*config.File, error) {
	parts := map[string]map[string]any{"scenarios[0]": {"name": "load"}, "dataset": {}, "benchmark.arrivals": {}, "benchmark": {}}
	for _, o := range opts {
		if !o.set {
			continue
		}
		node, err := o.node()
		if err != nil {
			return nil, failf(ExitUsage, "see: llmdyno load --help", "--%s: %w", o.name, err)
		}
		at := strings.LastIndex(o.path, ".")
		parts[o.path[:at]][o.path[at+1:]] = node
	}
	if len(parts["benchmark.arrivals"]) > 0 {
		parts["benchmark"]["arrivals"] = parts["benchmark.arrivals"]
	}
	text, err := json.Marshal(map[string]any{
		"schema_version": config.SchemaOurs, "model": map[string]any{"name": model}, "dataset": parts["dataset"],
		"scenarios": []any{parts["scenarios[0]"]}, "benchmark": parts["benchmark"], "search": map[string]any{"max_candidates_per_framework": 1},
		"frameworks": map[string]any{},
	})
	if err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fail(ExitFailed, "change to a folder that exists", fmt.Errorf("the folder that paths count from: %w", err))
	}
	f, diags := config.Parse(filepath.Join(dir, "load.yaml"), text)
	if f != nil {
		diags = append(diags, config.Check(f, set, config.Options{})...)
	}
	for _, d := range diags {
		if err := optionError(opts, d); err != nil && d.Severity == config.SeverityError {
			return nil, err
		}
	}
	return f, nil
}

// optionError is what a diagnostic says, of the option that it is about; nil
// where it is about none.
func optionError(opts []*loadOption, d config.Diagnostic) error {
	var about *loadOption
	for _, o := range opts {
		at := d.Path == o.path || strings.HasPrefix(d.Path, o.path+".") || strings.HasPrefix(d.Path, o.path+"[")
		if at && (about == nil || len(o.path) > len(about.path)) {
			about = o
		}
	}
	text := strings.TrimPrefix(d.Message, d.Path+": ")
	switch {
	case about != nil:
		if below := strings.Trim(strings.TrimPrefix(d.Path, about.path), "."); below != "" {
			text = below + ": " + text
		}
		text = strings.TrimPrefix(text, "the key is missing: ")
		return failf(ExitUsage, "see: llmdyno load --help", "--%s: %s", about.name, text)
	case strings.HasPrefix(d.Path, "benchmark.arrivals"):
		return failf(ExitUsage, "see: llmdyno load --help", "--arrivals: %s", text)
	case strings.HasPrefix(d.Path, "scenarios[0]"):
		return failf(ExitUsage, "see: llmdyno load --help", "--workload: %s", text)
	}
	return nil
}
