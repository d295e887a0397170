package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v3"

	"llmdyno/internal/load/workload"
)

// LengthSpec is a distribution of numbers of tokens, or of other whole numbers.
type LengthSpec struct {
	Kind       string  `yaml:"kind" enum:"fixed,uniform,normal,lognormal,empirical" doc:"fixed (default): mean, or a range around it. uniform: whole numbers from min to max, both included. normal, lognormal: mean and stddev of the numbers themselves. empirical: one of values, or of the file at path, each as likely."`
	Mean       float64 `yaml:"mean" min:"0" max:"10000000" doc:"Mean; of kind fixed the number itself."`
	RangeRatio float64 `yaml:"range_ratio" min:"0" max:"1" doc:"Range r of kind fixed: whole numbers from mean × (1−r) to mean × (1+r), both included, rounded, unless compat says otherwise."`
	Stddev     float64 `yaml:"stddev" min:"0" max:"10000000" doc:"Standard deviation of kinds normal and lognormal."`
	Min        int     `yaml:"min" min:"1" max:"10000000" doc:"Smallest number that is drawn; of normal and lognormal, a smaller one is drawn again. Default 1."`
	Max        int     `yaml:"max" min:"1" max:"10000000" doc:"Largest number that is drawn, as min. Required for kind uniform."`
	Values     []int   `yaml:"values" min:"0" max:"10000000" doc:"The numbers of kind empirical."`
	Path       string  `yaml:"path" doc:"File with the numbers of kind empirical, relative to this file: a JSON list, or one number a line."`
}

// PrefixSpec is what the prompts of kind shared_prefix have in common.
type PrefixSpec struct {
	Groups int      `yaml:"groups" min:"1" max:"1000000" doc:"Different shared beginnings. Default 1."`
	Len    int      `yaml:"len" min:"1" max:"10000000" doc:"Tokens of a shared beginning; the input length comes on top of it."`
	Ratio  *float64 `yaml:"ratio" min:"0" max:"1" doc:"Share of the requests that have a shared beginning; the others have one of their own, as long. Default 1."`
}

// Compat is the tool whose meaning of lengths is reproduced.
type Compat string

func (c *Compat) decodeNode(d *decoder, n *yaml.Node, path string) {
	v, problem := scalarOf(n)
	word := workload.Compat(v.str)
	switch {
	case problem != "":
		d.fail(n, path, "%s", problem)
	case !slices.Contains(workload.Compats, word):
		d.fail(n, path, "%s is not one of %v%s", short(v.plainText()), workload.Compats, didYouMean(v.str, compatWords()))
	default:
		*c = Compat(word)
	}
}

func compatWords() []string {
	out := make([]string, len(workload.Compats))
	for i, c := range workload.Compats {
		out[i] = string(c)
	}
	return out
}

func compatSchema() *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, w := range compatWords() {
		s.Enum = append(s.Enum, w)
	}
	return s
}

// StepSpec is one step of the arrivals.
type StepSpec struct {
	RateRPS float64 `yaml:"rate_rps" min:"0" doc:"Rate in requests per second; 0 is a pause."`
	ForS    float64 `yaml:"for_s" above:"0" max:"31536000" doc:"How long it holds, in seconds. The last step stays."`
}

// lengths is the distribution as the load generator takes it; its file is read.
func (f *File) lengths(l LengthSpec) (workload.Lengths, error) {
	out := workload.Lengths{
		Kind: workload.LengthKind(l.Kind), Mean: l.Mean, Range: l.RangeRatio, Stddev: l.Stddev, Min: l.Min, Max: l.Max, Values: l.Values,
	}
	if l.Path == "" {
		return out, nil
	}
	path := f.resolve(l.Path)
	file, err := os.Open(path)
	if err != nil {
		return out, fmt.Errorf("reading the lengths: %w", err)
	}
	defer file.Close()
	out.Values, err = workload.ReadLengths(file, path)
	return out, err
}

func (l LengthSpec) isZero() bool {
	return l.Kind == "" && l.Mean == 0 && l.RangeRatio == 0 && l.Stddev == 0 && l.Min == 0 && l.Max == 0 && len(l.Values) == 0 && l.Path == ""
}

// spec is a scenario as the load generator takes it.
func (f *File) spec(s Scenario) (workload.Spec, error) {
	spec := workload.Spec{
		Kind: workload.Kind(or(s.Kind, or(f.Dataset.Kind, KindRandom))), Path: f.resolve(or(s.Path, f.Dataset.Path)),
		NumPrompts: or(s.NumPrompts, or(f.Dataset.NumPrompts, DefaultNumPrompts)), Seed: or(f.Dataset.Seed, DefaultSeed),
		InputLen: s.InputLen, OutputLen: s.OutputLen, Compat: workload.Compat(s.Compat), Nonce: s.Nonce,
		Prefix:      workload.Prefix{Groups: s.Prefix.Groups, Len: s.Prefix.Len, Ratio: s.Prefix.Ratio},
		BlockTokens: s.BlockTokens, MinTokens: s.MinTokens, MaxInput: s.MaxInput, MaxTotal: s.MaxTotal,
	}
	for _, x := range []struct {
		from LengthSpec
		into *workload.Lengths
	}{{s.Input, &spec.Input}, {s.Output, &spec.Output}, {s.Turns, &spec.Turns}, {s.ThinkMs, &spec.ThinkMs}} {
		var err error
		if *x.into, err = f.lengths(x.from); err != nil {
			return spec, err
		}
	}
	return spec, nil
}

// Describe says in words what a scenario sends and what its lengths mean.
func (f *File) Describe(w Workload) string {
	spec := workload.Spec{Kind: workload.Kind(w.Kind), Path: w.Path, InputLen: w.InputLen, OutputLen: w.OutputLen, Seed: w.Seed}
	if w.Spec != nil {
		spec = *w.Spec
	}
	if path := f.TokenizerPath(); path != "" {
		if t, err := workload.OpenTokenizer(path); err == nil { // an error is told by [Check]
			spec.Tokenizer = t
		}
	}
	return spec.Describe()
}

// Process is the arrival process of a load point, its seed left open. The
// instants of a trace that has a file of its own are read.
func (f *File) Process() (workload.Arrivals, error) {
	a := f.Benchmark.Arrivals
	out := workload.Arrivals{
		Kind: workload.ArrivalKind(a.Kind), Burstiness: a.Burstiness, Gaps: workload.ArrivalKind(a.Gaps),
		FromRPS: a.FromRPS, RateRPS: a.ToRPS, Over: seconds(a.OverS), TimeScale: a.TimeScale,
	}
	for _, s := range a.Steps {
		out.Steps = append(out.Steps, workload.Step{RateRPS: s.RateRPS, For: seconds(s.ForS)})
	}
	if a.Path == "" {
		return out, nil
	}
	offsets, err := ReadArrivals(f.ArrivalsPath())
	out.Offsets = offsets
	return out, err
}

// ArrivalsPath is the file with the instants of a trace; "" = those of the
// dataset.
func (f *File) ArrivalsPath() string { return f.resolve(f.Benchmark.Arrivals.Path) }

// ReadArrivals reads the instants of a trace file.
func ReadArrivals(path string) ([]time.Duration, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the arrivals: %w", err)
	}
	defer file.Close()
	return workload.ReadOffsets(file, path)
}

// TokenizerPath is the tokenizer that makes lengths exact; "" = none.
func (f *File) TokenizerPath() string { return f.resolve(f.Dataset.TokenizerPath) }

// scenario judges one entry of scenarios.
func (c *checker) scenario(path string, s Scenario) {
	kind := or(s.Kind, or(c.f.Dataset.Kind, KindRandom))
	c.scenarioKeys(path, kind, s)
	at := path + ".path"
	source := or(s.Path, c.f.Dataset.Path)
	switch k := workload.Kind(kind); {
	case k == workload.KindRandom || k == workload.KindPrefix || k == workload.KindConversation && source == "":
		c.madeLengths(path, s)
		return
	case source == "" && c.ok(at):
		c.errorf(at, "the key is missing: kind %s reads its requests from a file", kind)
	case c.ok(at):
		spec, err := c.f.spec(s)
		if err == nil {
			err = checkSpec(spec)
		}
		if err != nil {
			c.errorf(at, "%v", err)
		}
	}
}

// madeLengths checks the lengths of a scenario whose prompts are made.
func (c *checker) madeLengths(path string, s Scenario) {
	for _, x := range []struct {
		key, plain string
		n          int
		l          LengthSpec
	}{{"input", "input_len", s.InputLen, s.Input}, {"output", "output_len", s.OutputLen, s.Output}} {
		short := path + "." + x.plain
		switch {
		case !c.ok(short) || !c.ok(path+"."+x.key):
		case x.n == 0 && x.l.isZero():
			c.errorf(short, "the key is missing: a scenario whose prompts are made needs its length in tokens")
		}
	}
	if !c.ok(path) {
		return
	}
	spec, err := c.f.spec(s)
	if err == nil {
		spec.NumPrompts = 1
		_, err = spec.Requests()
	}
	if err != nil && !c.anyErrorBelow(path) {
		c.errorf(path, "%v", err)
	}
}

// anyErrorBelow says that something below a path was refused already.
func (c *checker) anyErrorBelow(path string) bool {
	for bad := range c.f.bad {
		if strings.HasPrefix(bad, path) {
			return true
		}
	}
	return slices.ContainsFunc(c.diags, func(d Diagnostic) bool {
		return d.Severity == SeverityError && strings.HasPrefix(d.Path, path)
	})
}

// scenarioKeys checks that each key has a meaning for the kind, and each
// distribution by itself.
func (c *checker) scenarioKeys(path, kind string, s Scenario) {
	for key, kinds := range map[string][]workload.Kind{
		"prefix":       {workload.KindPrefix},
		"turns":        {workload.KindConversation},
		"think_ms":     {workload.KindConversation},
		"block_tokens": {workload.KindMooncake},
		"min_tokens":   {workload.KindShareGPT},
		"max_input":    {workload.KindShareGPT},
		"max_total":    {workload.KindShareGPT},
		"input":        {workload.KindRandom, workload.KindPrefix, workload.KindConversation},
		"input_len":    {workload.KindRandom, workload.KindPrefix, workload.KindConversation},
	} {
		old := key == "input_len" && kind == KindCustom // always was accepted there
		if at := path + "." + key; c.given(at) && !slices.Contains(kinds, workload.Kind(kind)) && !old {
			c.errorf(at, "has no meaning for kind %s: it is for kind %v", kind, kinds)
		}
	}
	if kind == string(workload.KindPrefix) && !c.given(path+".prefix.len") && c.ok(path+".prefix") {
		c.errorf(path+".prefix.len", "the key is missing: the tokens of a shared beginning")
	}
	for key, l := range map[string]LengthSpec{"input": s.Input, "output": s.Output, "turns": s.Turns, "think_ms": s.ThinkMs} {
		at := path + "." + key
		if c.given(at) && (key == "input" || key == "output") && c.given(at+"_len") {
			c.errorf(at, "stands beside %s_len: give the lengths in one of the two forms", key)
		}
		c.distribution(at, l)
	}
}

// distribution checks one distribution, and which of its keys have a meaning.
func (c *checker) distribution(path string, l LengthSpec) {
	if !c.given(path) || !c.ok(path) {
		return
	}
	kind := or(l.Kind, "fixed")
	for key, kinds := range map[string][]string{
		"mean": {"fixed", "normal", "lognormal"}, "range_ratio": {"fixed"}, "stddev": {"normal", "lognormal"},
		"min": {"uniform", "normal", "lognormal"}, "max": {"uniform", "normal", "lognormal"}, "values": {"empirical"}, "path": {"empirical"},
	} {
		if at := path + "." + key; c.given(at) && !slices.Contains(kinds, kind) {
			c.errorf(at, "has no meaning for kind %s: it is for kind %v", kind, kinds)
		}
	}
	if c.anyErrorBelow(path) {
		return
	}
	x, err := c.f.lengths(l)
	if err == nil {
		err = x.Validate()
	}
	if err != nil {
		c.errorf(path, "%v", err)
	}
}

// tokenizer checks that the tokenizer can be read.
func (c *checker) tokenizer() {
	path := c.f.TokenizerPath()
	if path == "" || !c.ok("dataset.tokenizer_path") {
		return
	}
	if _, err := workload.OpenTokenizer(path); err != nil {
		c.errorf("dataset.tokenizer_path", "%v", err)
	}
}

// timedArrivals checks the arrivals that have a course of their own in time.
func (c *checker) timedArrivals() {
	const at = "benchmark.arrivals"
	a := c.f.Benchmark.Arrivals
	kind := or(a.Kind, "poisson")
	for key, kinds := range map[string][]string{
		"gaps": {"ramp", "steps"}, "from_rps": {"ramp"}, "to_rps": {"ramp"}, "over_s": {"ramp"}, "steps": {"steps"}, "path": {"trace"}, "time_scale": {"trace"},
	} {
		if p := at + "." + key; c.given(p) && !slices.Contains(kinds, kind) && c.ok(at) {
			c.errorf(p, "has a meaning for kind %v only, the kind is %s", kinds, kind)
		}
	}
	if !(workload.Arrivals{Kind: workload.ArrivalKind(kind)}).Timed() || !c.ok(at) || c.anyErrorBelow(at) {
		return
	}
	process, err := c.f.Process()
	if err == nil && (kind != "trace" || a.Path != "") { // the dataset's instants are known when it is read
		err = process.Validate()
	}
	if err != nil {
		c.errorf(at, "%v", err)
	}
	for i, l := range c.f.Benchmark.Loads {
		if l.RateRPS > 0 {
			c.errorf(fmt.Sprintf("benchmark.loads[%d].rate_rps", i), "arrivals of kind %s have rates of their own: give max_concurrency, or nothing", kind)
		}
	}
	if c.given("benchmark.qps") {
		c.errorf("benchmark.qps", "arrivals of kind %s have rates of their own: there is none to look for", kind)
	}
}
