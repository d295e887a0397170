package signal

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"llmdyno/internal/engine"
	"llmdyno/internal/expr"
)

// The classes of trouble; the first four are those of the incident toolkit of
// sgl-project/sglang PR 24250 (2026-05-02).
const (
	ClassDown    = "down"    // down or unhealthy
	ClassLatency = "latency" // latency or throughput
	ClassOutput  = "output"  // wrong output
	ClassHang    = "hang"    // timeout or hang
	ClassBlind   = "blind"   // it could not be seen
	ClassIdle    = "idle"    // nothing ran
	ClassNone    = "none"    // no rule fired
)

// Levels of severity and confidence, lowest first.
var (
	Severities  = []string{"info", "warning", "critical"}
	Confidences = []string{"low", "medium", "high", "sure"}
	classes     = []string{ClassDown, ClassLatency, ClassOutput, ClassHang, ClassBlind, ClassIdle}
)

// Rule is one signal, as data. The format is described in docs/signals.md.
type Rule struct {
	ID         string      `yaml:"id" json:"id"`
	Title      string      `yaml:"title" json:"title"`
	Class      string      `yaml:"class" json:"class"`
	Engines    []engine.ID `yaml:"engines" json:"engines,omitempty"` // empty = all
	Severity   string      `yaml:"severity" json:"severity"`
	Confidence string      `yaml:"confidence" json:"confidence"`
	Condition  string      `yaml:"condition" json:"condition"`
	Needs      []string    `yaml:"needs" json:"needs,omitempty"` // facts without which nothing was checked
	Log        []string    `yaml:"log" json:"log,omitempty"`     // patterns whose lines log_matches counts
	Hold       *Hold       `yaml:"hold" json:"hold,omitempty"`
	Thresholds []Threshold `yaml:"thresholds" json:"thresholds,omitempty"`
	Evidence   []string    `yaml:"evidence" json:"evidence"`
	RulesOut   []string    `yaml:"rules_out" json:"rules_out,omitempty"`
	NextStep   string      `yaml:"next_step" json:"next_step"`
	Risk       string      `yaml:"risk" json:"risk"`
	Hides      Others      `yaml:"hides" json:"hides,omitzero"`      // not reported beside this one
	Behind     Others      `yaml:"behind" json:"behind,omitzero"`    // beside these this one is not reported
	Touches    []string    `yaml:"touches" json:"touches,omitempty"` // facts that count the requests it concerns; empty = all
	Source     RuleSource  `yaml:"source" json:"source"`
	Prometheus Prometheus  `yaml:"prometheus" json:"prometheus,omitempty"`
	Tests      []RuleTest  `yaml:"tests" json:"-"`

	file      string
	condition *expr.Condition
	clear     *expr.Condition
	log       []*regexp.Regexp
}

// Hold is hysteresis over sampled rounds: the rule is raised when its condition
// holds for so many rounds in a row, and cleared when Clear does.
type Hold struct {
	Samples      int    `yaml:"samples" json:"samples"`
	Clear        string `yaml:"clear" json:"clear"`
	ClearSamples int    `yaml:"clear_samples" json:"clear_samples"`
}

// Threshold is a figure of the condition and where it comes from.
type Threshold struct {
	Value   float64 `yaml:"value" json:"value"`
	Unit    string  `yaml:"unit" json:"unit"`
	Meaning string  `yaml:"meaning" json:"meaning"`
	Source  string  `yaml:"source" json:"source"`
	Date    string  `yaml:"date" json:"date"`
}

// Others names rules by their class or id.
type Others struct {
	Classes []string `yaml:"classes" json:"classes,omitempty"`
	Rules   []string `yaml:"rules" json:"rules,omitempty"`
}

func (o Others) has(r *Rule) bool {
	return slices.Contains(o.Rules, r.ID) || slices.Contains(o.Classes, r.Class)
}

// RuleSource says where a rule was read.
type RuleSource struct {
	Ref  string `yaml:"ref" json:"ref"`
	Date string `yaml:"date" json:"date"`
}

// Prometheus is the rule as expressions for a monitoring system, by engine id;
// "all" is for every engine, "for" is how long an expression must hold.
type Prometheus map[string]string

// RuleTest is a set of facts, with lines of a log, and whether the rule fires.
type RuleTest struct {
	Name  string         `yaml:"name"`
	Fires bool           `yaml:"fires"`
	Facts map[string]any `yaml:"facts"`
	Log   []string       `yaml:"log"`
}

// Rules is a set of rules in the order in which they are reported when nothing
// else ranks them.
type Rules struct {
	List []*Rule
	env  *expr.Env
}

//go:embed rules/*.yaml
var embedded embed.FS

// Builtin are the rules of this program.
func Builtin() (*Rules, error) {
	rs, err := newRules()
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(embedded, "rules/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := embedded.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := rs.add(path.Base(name), text); err != nil {
			return nil, err
		}
	}
	return rs, nil
}

// LoadRules are the rules of this program with those of a folder: a rule with the id of
// an earlier one takes its place.
func LoadRules(dirs ...string) (*Rules, error) {
	rs, err := Builtin()
	for _, dir := range dirs {
		if err == nil {
			err = rs.addDir(dir)
		}
	}
	return rs, err
}

// LoadRulesOnly are the rules of folders alone.
func LoadRulesOnly(dirs ...string) (*Rules, error) {
	rs, err := newRules()
	for _, dir := range dirs {
		if err == nil {
			err = rs.addDir(dir)
		}
	}
	return rs, err
}

func newRules() (*Rules, error) {
	env, err := expr.New(factNames()...)
	if err != nil {
		return nil, err
	}
	return &Rules{env: env}, nil
}

const maxRuleFile = 1 << 20

func (rs *Rules) addDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	n := 0
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); e.IsDir() || ext != ".yaml" && ext != ".yml" {
			continue
		}
		name := filepath.Join(dir, e.Name())
		if info, err := e.Info(); err != nil || info.Size() > maxRuleFile {
			return fmt.Errorf("rules %s: expected a file of at most %d bytes", name, maxRuleFile)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("rules: %w", err)
		}
		if err := rs.add(name, text); err != nil {
			return err
		}
		n++
	}
	if n == 0 {
		return fmt.Errorf("rules: %s holds no .yaml file; see docs/signals.md for the format", dir)
	}
	return nil
}

func (rs *Rules) add(name string, text []byte) error {
	var file struct {
		Rules []*Rule `yaml:"rules"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		return fmt.Errorf("rules %s: %s", name, oneLine(err.Error()))
	}
	for i, r := range file.Rules {
		if r == nil {
			return fmt.Errorf("rules %s: rule %d is empty", name, i+1)
		}
		r.file = name
		if err := rs.compile(r); err != nil {
			return fmt.Errorf("rules %s: rule %s: %w", name, orElse(r.ID, strconv.Itoa(i+1)), err)
		}
		if at := slices.IndexFunc(rs.List, func(o *Rule) bool { return o.ID == r.ID }); at >= 0 {
			if rs.List[at].file == name {
				return fmt.Errorf("rules %s: rule %s is there twice", name, r.ID)
			}
			rs.List[at] = r
		} else {
			rs.List = append(rs.List, r)
		}
	}
	return nil
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

var ruleID = regexp.MustCompile(`^[A-Z][A-Z0-9-]{1,40}$`)

func (rs *Rules) compile(r *Rule) error {
	r.Condition = oneLine(r.Condition)
	switch {
	case !ruleID.MatchString(r.ID):
		return fmt.Errorf("id %q: expected capitals, digits and dashes, such as R-MY-RULE", r.ID)
	case r.Title == "" || r.NextStep == "" || len(r.Evidence) == 0:
		return errors.New("title, evidence and next_step must be there")
	case !slices.Contains(classes, r.Class):
		return fmt.Errorf("class %q: expected one of %s", r.Class, strings.Join(classes, " "))
	case !slices.Contains(Severities, r.Severity):
		return fmt.Errorf("severity %q: expected one of %s", r.Severity, strings.Join(Severities, " "))
	case !slices.Contains(Confidences, r.Confidence):
		return fmt.Errorf("confidence %q: expected one of %s", r.Confidence, strings.Join(Confidences, " "))
	}
	for _, list := range [][]string{r.Needs, r.Touches} {
		for _, name := range list {
			if !slices.Contains(rs.env.Names(), name) {
				return fmt.Errorf("fact %q is not known; llmdyno incident rules facts lists them", name)
			}
		}
	}
	var err error
	if r.condition, err = rs.env.Compile(r.Condition); err != nil {
		return err
	}
	if r.Hold != nil {
		if r.Hold.Samples < 1 || r.Hold.ClearSamples < 1 {
			return errors.New("hold: samples and clear_samples must be at least 1")
		}
		if r.clear, err = rs.env.Compile(r.Hold.Clear); err != nil {
			return fmt.Errorf("hold: %w", err)
		}
	}
	for _, p := range r.Log {
		re, err := regexp.Compile(p)
		if err != nil {
			return fmt.Errorf("log pattern %q: %w", p, err)
		}
		r.log = append(r.log, re)
	}
	return nil
}

// Find is the rule of an id; nil = there is none.
func (rs *Rules) Find(id string) *Rule {
	for _, r := range rs.List {
		if strings.EqualFold(r.ID, id) {
			return r
		}
	}
	return nil
}

// verdict of a rule: whether it fires, or why that is not known.
type verdict int

const (
	silent verdict = iota
	fires
	unknown
)

func holds(c *expr.Condition, f facts) verdict {
	yes, err := c.Holds(f)
	switch {
	case err != nil:
		return unknown
	case yes:
		return fires
	}
	return silent
}

// judge evaluates a rule over facts that are complete but for the logs. Without a
// line of any log nobody knows what stands there.
func (r *Rule) judge(f facts, logs []logLine) (verdict, facts, string) {
	first := ""
	if len(r.log) > 0 && len(logs) > 0 {
		g := facts{}
		for k, v := range f {
			g[k] = v
		}
		n := 0.0
		for _, l := range logs {
			if slices.ContainsFunc(r.log, func(re *regexp.Regexp) bool { return re.MatchString(l.text) }) {
				if n++; n == 1 {
					first = fmt.Sprintf("%s:%d: %s", l.file, l.n, l.text)
				}
			}
		}
		g["log_matches"], f = n, g
	}
	return holds(r.condition, f), f, first
}

// TestResult is the outcome of a rule's own tests.
type TestResult struct {
	Rule   string `json:"rule"`
	Test   string `json:"test"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

// Test runs the tests that the rules carry. A rule needs one that fires it and one
// that must not.
func (rs *Rules) Test() []TestResult {
	var out []TestResult
	for _, r := range rs.List {
		fired, quiet := false, false
		for _, t := range r.Tests {
			res := TestResult{Rule: r.ID, Test: t.Name}
			v, err := r.runTest(t)
			switch {
			case err != nil:
				res.Reason = err.Error()
			case (v == fires) != t.Fires:
				res.Reason = fmt.Sprintf("fires: %v, expected %v", v == fires, t.Fires)
			default:
				res.OK = true
				fired, quiet = fired || t.Fires, quiet || !t.Fires
			}
			out = append(out, res)
		}
		if !fired || !quiet {
			out = append(out, TestResult{Rule: r.ID, Test: "has tests", Reason: "expected a test that fires it and one that must not"})
		}
	}
	return out
}

func (r *Rule) runTest(t RuleTest) (verdict, error) {
	f := facts{}
	for name, v := range t.Facts {
		if !slices.Contains(factNames(), name) {
			return silent, fmt.Errorf("fact %q is not known", name)
		}
		if n, whole := v.(int); whole {
			v = float64(n)
		}
		f[name] = v
	}
	var logs []logLine
	for i, text := range t.Log {
		logs = append(logs, logLine{"log", i + 1, text})
	}
	v, _, _ := r.judge(f, logs)
	return v, nil
}
