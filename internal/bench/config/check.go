package config

import (
	"fmt"
	"slices"
	"strings"

	"llmdyno/internal/engine"
	"llmdyno/internal/load/workload"
)

// sourceKind is the one kind of source that schema_version 1 allows.
const sourceKind = "llm_serving_cookbook"

// checker judges a file that has the right form. Each rule looks only at paths
// whose value could be read.
type checker struct {
	f     *File
	set   engine.Set
	opts  Options
	help  captures
	diags []Diagnostic
}

// Check judges a file against the engines. It reads the help captures of
// opts.HelpDir and the datasets that the file names.
func Check(f *File, set engine.Set, opts Options) []Diagnostic {
	return check(f, set, opts, readCaptures(opts.HelpDir, set))
}

func check(f *File, set engine.Set, opts Options, help captures) []Diagnostic {
	c := &checker{f: f, set: set, opts: opts, help: help}
	if f.bad[""] {
		return nil
	}
	c.source()
	c.scenarios()
	c.tokenizer()
	c.benchmark()
	c.search()
	c.frameworks()
	for _, e := range f.Enabled(set) {
		if s, _ := f.Section(e); c.ok("frameworks." + s.Name) {
			c.engine(e, s)
		}
	}
	c.fairness()
	return ordered(c.diags)
}

func (c *checker) ours() bool { return c.f.SchemaVersion >= SchemaOurs }

// ok says that the value of a path was read, or was left out.
func (c *checker) ok(path string) bool {
	for ; path != ""; path = parent(path) {
		if c.f.bad[path] {
			return false
		}
	}
	return true
}

// given says that the path is in the file.
func (c *checker) given(path string) bool {
	_, there := c.f.positions[path]
	return there
}

// parent cuts the last key or index off a path.
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// where is the place of a path, or of the nearest thing around it.
func (f *File) where(path string) Pos {
	for p := path; ; p = parent(p) {
		if pos, ok := f.positions[p]; ok {
			return pos
		}
		if p == "" {
			return Pos{1, 1}
		}
	}
}

func (c *checker) report(sev Severity, path, format string, args ...any) {
	if len(c.diags) < maxErrors {
		c.diags = append(c.diags, diagnostic(sev, c.f.where(path), path, format, args...))
	}
}

func (c *checker) errorf(path, format string, args ...any) {
	c.report(SeverityError, path, format, args...)
}

func (c *checker) warnf(path, format string, args ...any) {
	c.report(SeverityWarning, path, format, args...)
}

func (c *checker) source() {
	if !c.ours() && c.ok("source.kind") && c.f.Source.Kind != sourceKind {
		c.errorf("source.kind", "must be %s in schema_version 1, got %q", sourceKind, short(c.f.Source.Kind))
	}
}

func (c *checker) scenarios() {
	if len(c.f.ScenarioList) > 0 {
		c.scenarioList()
		return
	}
	if c.given("scenarios") && c.ok("scenarios") {
		c.errorf("scenarios", "is empty: give at least one scenario")
		return
	}
	d := c.f.Dataset
	if d.Kind == KindCustom && c.ok("dataset.kind") {
		c.dataset("dataset", d.Path)
		if len(d.InputLen) == 0 && len(d.OutputLen) == 0 {
			return // V25: the lengths of a custom dataset are in its rows
		}
	}
	c.lengths()
}

// lengths checks the parallel lists of dataset.
func (c *checker) lengths() {
	d := c.f.Dataset
	complete := true
	for _, l := range []struct {
		key string
		n   int
	}{{"dataset.input_len", len(d.InputLen)}, {"dataset.output_len", len(d.OutputLen)}} {
		switch {
		case !c.ok(l.key):
			complete = false
		case !c.given(l.key):
			c.errorf(l.key, "the key is missing: the lengths in tokens, one a scenario")
			complete = false
		case l.n == 0:
			c.errorf(l.key, "is empty: give at least one length in tokens")
			complete = false
		}
	}
	if complete && len(d.InputLen) != len(d.OutputLen) {
		c.errorf("dataset.output_len", "has %d lengths and dataset.input_len %d: element i of both is scenario i", len(d.OutputLen), len(d.InputLen))
	}
	if names := d.ScenarioNames; complete && len(names) > 0 && c.ok("dataset.scenario_names") && len(names) != len(d.InputLen) {
		c.errorf("dataset.scenario_names", "has %d names for %d scenarios", len(names), len(d.InputLen))
	}
	c.unique("dataset.scenario_names[%d]", d.ScenarioNames)
}

// unique checks names that become folder names and row keys.
func (c *checker) unique(format string, names []string) {
	for i, name := range names {
		path := fmt.Sprintf(format, i)
		switch {
		case !c.ok(path):
		case strings.TrimSpace(name) == "":
			c.errorf(path, "a scenario needs a name")
		case slices.Index(names, name) < i:
			c.errorf(path, "the scenario name %q is used twice", short(name))
		}
	}
}

func (c *checker) scenarioList() {
	names := make([]string, len(c.f.ScenarioList))
	for i, s := range c.f.ScenarioList {
		names[i] = s.Name
		path := fmt.Sprintf("scenarios[%d]", i)
		if !c.ok(path) {
			continue
		}
		c.scenario(path, s)
	}
	c.unique("scenarios[%d].name", names)
	for _, key := range []string{"input_len", "output_len", "scenario_names"} {
		if c.given("dataset." + key) {
			c.errorf("dataset."+key, "stands beside scenarios: give the scenarios in one of the two forms")
		}
	}
}

func (c *checker) dataset(section, path string) {
	at := section + ".path"
	switch {
	case !c.ok(at):
	case path == "":
		c.errorf(at, "the key is missing: kind custom reads its requests from a JSONL file")
	default:
		if err := checkSpec(workload.Spec{Kind: workload.KindCustom, Path: c.f.resolve(path)}); err != nil {
			c.errorf(at, "%v", err)
		}
	}
}

func (c *checker) benchmark() {
	if !c.ok("benchmark") {
		return
	}
	b := c.f.Benchmark
	if q := b.QPS; q.Lower > 0 && q.Upper > 0 && q.Lower > q.Upper {
		c.errorf("benchmark.qps.lower", "%g is above benchmark.qps.upper %g: the range of the rate search is empty", q.Lower, q.Upper)
	}
	for i, cap := range b.MaxConcurrency {
		if slices.Index(b.MaxConcurrency, cap) < i {
			c.warnf(fmt.Sprintf("benchmark.max_concurrency[%d]", i), "the cap is listed twice and would be measured twice")
		}
	}
	c.sla()
	c.arrivals()
	c.equivalence()
	c.endpoint()
}

func (c *checker) sla() {
	b, top := c.f.Benchmark.SLA, c.f.TopSLA
	if !b.Empty() && !top.Empty() {
		c.warnf("sla", "limits stand here and under benchmark.sla: where both name the same one, benchmark.sla counts")
	}
	all := c.f.SLA()
	for _, s := range c.f.ScenarioList {
		if all.Empty() {
			all = s.SLA
		}
	}
	if all.Empty() && c.ok("benchmark.sla") && c.ok("sla") && !c.anyBadSLA() {
		c.warnf("benchmark.sla", "no limit is set: candidates are ranked by throughput alone, however slow each request is")
	}
	n := or(c.f.Dataset.NumPrompts, DefaultNumPrompts)
	more := c.f.Dataset.NumPrompts == 0 && c.f.Adaptive() && c.f.Benchmark.QPS.Lower > 0 && len(c.f.LoadPoints()) == 0 // the search takes more of them
	if r := c.f.SLA().MinSuccessRate; r != nil && *r < 1 && float64(n)*(1-*r) < 1 && !more {
		path := "benchmark.sla." + minSuccessRate
		if !c.given(path) {
			path = "sla." + minSuccessRate
		}
		c.warnf(path, "with %d requests a single failure is a rate of %.4g and breaks the limit %g: it allows no failure at all; raise num_prompts to %d for one", n, float64(n-1)/float64(n), *r, int(1/(1-*r)+0.999999))
	}
}

// anyBadSLA says whether a limit was refused, so that "no limit" would be a lie.
func (c *checker) anyBadSLA() bool {
	for path := range c.f.bad {
		if strings.HasPrefix(path, "benchmark.sla.") || strings.HasPrefix(path, "sla.") {
			return true
		}
	}
	return false
}

func (c *checker) arrivals() {
	b := c.f.Benchmark
	a := b.Arrivals
	c.timedArrivals()
	if c.given("benchmark.arrivals.burstiness") && a.Kind != "gamma" && a.Gaps != "gamma" && c.ok("benchmark.arrivals") {
		c.errorf("benchmark.arrivals.burstiness", "has a meaning for kind gamma only, or for gaps gamma, the kind is %s", or(a.Kind, "poisson"))
	}
	if a.Kind != "closed" {
		return
	}
	for i, l := range b.Loads {
		if l.RateRPS > 0 {
			c.errorf(fmt.Sprintf("benchmark.loads[%d].rate_rps", i), "a closed loop has no rate: the next request leaves when one ends; give max_concurrency")
		}
		if l.MaxConcurrency == 0 {
			c.errorf(fmt.Sprintf("benchmark.loads[%d].max_concurrency", i), "the key is missing: it is the number of requests that a closed loop keeps in flight")
		}
	}
	for i, cap := range b.MaxConcurrency {
		if cap == 0 && len(b.Loads) == 0 {
			c.errorf(fmt.Sprintf("benchmark.max_concurrency[%d]", i), "a closed loop needs a number: null would keep nothing back")
		}
	}
}

// endpoint checks that each enabled engine generates there.
func (c *checker) endpoint() {
	path := c.f.Endpoint()
	for _, e := range c.f.Enabled(c.set) {
		if len(e.Wires) == 0 || slices.ContainsFunc(e.Wires, func(w engine.Wire) bool { return w.Path == path }) {
			continue
		}
		paths := make([]string, len(e.Wires))
		for i, w := range e.Wires {
			paths[i] = w.Path
		}
		c.errorf("benchmark.endpoint", "%s is not an endpoint at which %s generates: it has %s", short(path), e.ID, strings.Join(paths, ", "))
	}
}

// upstreamGeneration is the strategy that upstream's files name.
const upstreamGeneration = "baseline_first_bounded_product"

func (c *checker) search() {
	if g := c.f.Search.CandidateGeneration; g != "" && g != upstreamGeneration {
		c.warnf("search.candidate_generation", "%q is not read: candidates are made as %s says", short(g), upstreamGeneration)
	}
}

func (c *checker) frameworks() {
	if !c.ok("frameworks") {
		return
	}
	known := c.names()
	seen := map[engine.ID]string{}
	enabled := false
	for _, s := range c.f.Frameworks {
		path := "frameworks." + s.Name
		e, ok := c.set.Lookup(s.Name)
		switch {
		case !ok:
			c.errorf(path, "unknown engine%s; known: %s", didYouMean(s.Name, known), strings.Join(known, ", "))
		case seen[e.ID] != "":
			c.errorf(path, "names the same engine as frameworks.%s: remove one of the two sections", seen[e.ID])
		default:
			seen[e.ID] = s.Name
		}
		enabled = enabled || s.Enabled || !c.ok(path)
	}
	if !enabled {
		c.report(map[bool]Severity{true: SeverityError, false: SeverityWarning}[c.ours()], "frameworks", "no engine is enabled: nothing will be tried; set enabled: true in one of the sections")
	}
	for _, e := range c.set {
		if seen[e.ID] == "" && !c.ours() && fromUpstream(e) {
			c.warnf("frameworks", "%s has no section and is left out (upstream refuses a file without all of its engines)", e.ID)
		}
	}
}

// names are the ids and aliases that a section may have.
func (c *checker) names() []string {
	var out []string
	for _, e := range c.set {
		out = append(out, string(e.ID))
		out = append(out, e.Aliases...)
	}
	return out
}

// fromUpstream says whether the upstream schema knows the engine.
func fromUpstream(e *engine.Engine) bool {
	return slices.ContainsFunc(e.Flags, func(f engine.Flag) bool { return f.Upstream })
}
