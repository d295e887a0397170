package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"llmdyno/internal/engine"
)

// maxEnumerated bounds the combinations that are looked at to count a space.
const maxEnumerated = 20_000

// Plan makes the candidates of every enabled engine, in the order of the set.
// The file must be free of errors; with errors the plan holds what could be
// made of it.
func Plan(f *File, set engine.Set, opts Options) PlanResult {
	c, w := f.Candidates(set, opts)
	if c == nil {
		c = []Candidate{}
	}
	if w == nil {
		w = []Warning{}
	}
	return PlanResult{Candidates: c, Warnings: w}
}

// Candidates are the exact commands to try, engine by engine.
func (f *File) Candidates(set engine.Set, opts Options) ([]Candidate, []Warning) {
	var out []Candidate
	var warnings []Warning
	for _, e := range f.Enabled(set) {
		if len(opts.Engines) > 0 && !slices.Contains(opts.Engines, e.ID) {
			continue
		}
		s, _ := f.Section(e)
		p := f.generate(e, s)
		for i, flags := range p.listed {
			argv := f.argv(e, s, flags)
			out = append(out, Candidate{
				Engine: e.ID, Index: i, ID: fmt.Sprintf("%s-%02d", e.ID, i),
				Flags: f.settings(e, s, flags), Argv: argv, Command: joinWords(argv),
			})
		}
		warnings = append(warnings, f.planWarnings(e, s, p)...)
	}
	return out, warnings
}

// generation is what became of one engine's search space.
type generation struct {
	listed   []Flags // the candidates, in order
	distinct int     // different candidates in the whole space, baseline included
	exact    bool    // distinct was counted, not estimated
	merged   []mergedPair
	cut      bool // the limit left something out
	pruned   pruned
}

// mergedPair is a combination that was dropped as equal to an earlier one
// although it is written differently (V5).
type mergedPair struct {
	key         string
	kept, given Value
}

// generate makes the candidates of one engine.
//
// schema_version 1 (upstream, upstream schema §2): the baseline; then the
// product of the space, last key fastest, each combination laid over the base;
// one that equals an earlier candidate as a Python dict is skipped; after each
// combination the list ends when it has reached the limit. The limit is looked
// at only after a combination, so a limit of 1 lists two candidates (V2).
//
// schema_version 2: the baseline, the explicit candidates, the product; one
// whose command equals an earlier one is skipped; never more than the limit.
func (f *File) generate(e *engine.Engine, s EngineSection) generation {
	if f.SchemaVersion >= SchemaOurs {
		return f.generateOurs(e, s)
	}
	g := generation{listed: []Flags{s.BaseFlags}}
	seen := map[string]int{sameFlags(s.BaseFlags): 0}
	full := false
	g.exact = product(s.SearchSpace, func(flags Flags) {
		key := sameFlags(flags)
		if i, dup := seen[key]; dup {
			if !full {
				g.noteMerged(g.listed, i, flags)
			}
		} else {
			seen[key] = len(seen)
			if full {
				g.cut = true
			} else {
				g.listed = append(g.listed, flags)
			}
		}
		full = full || len(g.listed) >= f.Search.Limit
	}, s.BaseFlags)
	g.distinct = countDistinct(len(seen), g.exact, s)
	return g
}

func (f *File) generateOurs(e *engine.Engine, s EngineSection) generation {
	g := generation{}
	seen, alike := map[string]int{}, map[string]bool{}
	limit := f.Search.Limit
	if f.pools() {
		limit = maxPool
	}
	add := func(flags Flags) {
		key := strings.Join(f.argv(e, s, flags), "\x00")
		if _, dup := seen[key]; dup {
			return
		}
		seen[key] = len(seen)
		if f.pools() && len(seen) > 1 && f.prune(&g, e, s, flags, alike) {
			return
		}
		alike[f.effect(e, s, flags)] = true
		if len(g.listed) < limit {
			g.listed = append(g.listed, flags)
		} else {
			g.cut = true
		}
	}
	add(s.BaseFlags)
	for _, c := range s.Candidates {
		flags := s.BaseFlags
		for _, x := range c {
			flags = flags.with(x.Key, x.Value)
		}
		add(flags)
	}
	g.exact = true
	if len(s.SearchSpace) > 0 {
		g.exact = product(s.SearchSpace, add, s.BaseFlags)
	}
	g.distinct = countDistinct(len(seen), g.exact, s)
	return g
}

// countDistinct is the number of different candidates: as seen, or for a space
// too large to walk the product of the values, which is an upper bound.
func countDistinct(seen int, exact bool, s EngineSection) int {
	if exact {
		return seen
	}
	total := 1
	for _, a := range s.SearchSpace {
		if total > 1<<40 {
			break
		}
		total *= max(len(a.Values), 1)
	}
	return total + 1 + len(s.Candidates)
}

// noteMerged keeps the first pair of values that made two combinations equal
// though their text differs.
func (g *generation) noteMerged(listed []Flags, i int, flags Flags) {
	for _, x := range flags {
		if v, ok := listed[i].Get(x.Key); ok && v.plainText() != x.Value.plainText() {
			m := mergedPair{x.Key, v, x.Value}
			if !slices.ContainsFunc(g.merged, func(o mergedPair) bool {
				return o.key == m.key && o.kept.plainText() == m.kept.plainText() && o.given.plainText() == m.given.plainText()
			}) {
				g.merged = append(g.merged, m)
			}
		}
	}
}

// product calls fn for each combination of the space laid over base, last key
// fastest, up to [maxEnumerated]; it says whether that was all. An axis without
// values leaves no combination; a space without axes has one, the base itself.
func product(space Space, fn func(Flags), base Flags) bool {
	for _, a := range space {
		if len(a.Values) == 0 {
			return true
		}
	}
	turn := make([]int, len(space))
	for n := 0; ; n++ {
		if n == maxEnumerated {
			return false
		}
		flags := base
		for i, a := range space {
			flags = flags.with(a.Key, a.Values[turn[i]])
		}
		fn(flags)
		i := len(space) - 1
		for ; i >= 0; i-- {
			if turn[i]++; turn[i] < len(space[i].Values) {
				break
			}
			turn[i] = 0
		}
		if i < 0 {
			return true
		}
	}
}

// sameFlags is a key under which two maps of flags meet exactly when they are
// equal in Python: order does not matter.
func sameFlags(flags Flags) string {
	parts := make([]string, len(flags))
	for i, x := range flags {
		parts[i] = jsonString(x.Key) + "=" + x.Value.same()
	}
	return strings.Join(sorted(parts), "\n")
}

// argv is the command of one candidate, without host and port unless the file
// sets them.
func (f *File) argv(e *engine.Engine, s EngineSection, flags Flags) []string {
	words, err := splitWords(s.ServerCommand)
	if err != nil || len(words) == 0 {
		words = e.Launch.Command
	}
	argv := slices.Clone(words)
	if e.Launch.ModelFlag == "" {
		argv = append(argv, f.ServedModel())
	}
	settings := f.settings(e, s, flags)
	if f.SchemaVersion >= SchemaOurs {
		return append(argv, e.Args(settings)...)
	}
	return append(argv, e.ArgsUpstream(settings)...)
}

// settings are the flags of a candidate as the command carries them. In
// schema_version 2 the model comes first where the engine takes it as a flag
// that the section does not set (upstream leaves that to the file, V8), and a
// boolean is the word that it stands for where the flag takes words.
func (f *File) settings(e *engine.Engine, s EngineSection, flags Flags) engine.Settings {
	out := flags.Settings()
	if f.SchemaVersion < SchemaOurs {
		return out
	}
	for i, x := range flags {
		flag, _ := e.Flag(x.Key)
		if word, ok := enumWord(flag, x.Value); ok {
			out[i].Value = engine.Value{Kind: engine.ValueString, Text: word}
		}
	}
	key := e.Launch.ModelFlag
	if _, set := flags.Get(key); key == "" || set || commandSets(e, s.ServerCommand, key) {
		return out
	}
	return append(engine.Settings{{Key: key, Value: engine.Value{Kind: engine.ValueString, Text: f.ServedModel()}}}, out...)
}

// upstreamOption spells an option by upstream's rule.
func upstreamOption(e *engine.Engine, key string) string {
	if e.Launch.Underscores {
		return "--" + key
	}
	return "--" + strings.ReplaceAll(key, "_", "-")
}

// option spells an option as the commands of this file do.
func (f *File) option(e *engine.Engine, key string) string {
	if f.SchemaVersion >= SchemaOurs {
		return e.Option(key)
	}
	return upstreamOption(e, key)
}

// enumWord is the word that a plain on, off, yes, no, true or false stands for
// where the flag takes words: YAML 1.1 makes booleans of them.
func enumWord(flag engine.Flag, v Value) (string, bool) {
	if v.Kind != engine.ValueBool || flag.Type == engine.FlagBool {
		return "", false
	}
	for _, word := range []string{v.Raw, map[bool]string{true: "on", false: "off"}[v.bool], fmt.Sprint(v.bool)} {
		if slices.Contains(flag.Values, word) {
			return word, true
		}
	}
	return "", false
}

// commandSets says whether the words of server_command already give a flag.
func commandSets(e *engine.Engine, command, key string) bool {
	_, set := commandValue(e, command, key)
	return set
}

// commandValue finds a flag in the words of server_command.
func commandValue(e *engine.Engine, command, key string) (string, bool) {
	words, _ := splitWords(command)
	options := []string{e.Option(key), upstreamOption(e, key)}
	if flag, ok := e.Flag(key); ok {
		options = append(options, flag.Also...)
	}
	for i, w := range words {
		name, value, joined := strings.Cut(w, "=")
		if !slices.Contains(options, name) {
			continue
		}
		if !joined && i+1 < len(words) {
			value = words[i+1]
		}
		return value, true
	}
	return "", false
}

// planWarnings says what the limit cut off and where upstream's way of making
// candidates misleads.
func (f *File) planWarnings(e *engine.Engine, s EngineSection, g generation) []Warning {
	var out []Warning
	warn := func(code, format string, args ...any) {
		out = append(out, Warning{code, e.ID, fmt.Sprintf(string(e.ID)+": "+format, args...)})
	}
	out = append(out, f.pruneWarnings(e, g)...)
	if (g.cut || !g.exact) && !f.pools() {
		about := map[bool]string{true: "", false: "about "}[g.exact]
		warn("limit-cuts-space", "search.max_candidates_per_framework %d: %d of %s%d distinct candidates are tried%s",
			f.Search.Limit, len(g.listed), about, g.distinct, neverText(f.NeverTried(e, g.listed)))
	}
	if f.SchemaVersion >= SchemaOurs {
		return out
	}
	if len(g.listed) > f.Search.Limit {
		warn("limit-exceeded", "search.max_candidates_per_framework %d still gives %d candidates: upstream looks at the limit only after the first combination (schema_version 2 keeps to it)", f.Search.Limit, len(g.listed))
	}
	for _, a := range s.SearchSpace {
		if len(a.Values) == 0 {
			warn("empty-axis", "search_space.%s is an empty list, which empties the whole product: only the baseline is tried; remove the key", a.Key)
		}
	}
	for _, m := range g.merged {
		warn("values-merged", "%s: %s and %s count as one value although their commands differ: only %s is tried (schema_version 2 compares commands)", m.key, m.kept.plainText(), m.given.plainText(), m.kept.plainText())
	}
	return append(out, f.twins(e, s, g)...)
}

// twins names listed candidates that start the same command (V4).
func (f *File) twins(e *engine.Engine, s EngineSection, g generation) []Warning {
	var out []Warning
	first := map[string]int{}
	for i, flags := range g.listed {
		command := strings.Join(f.argv(e, s, flags), "\x00")
		if j, twin := first[command]; twin {
			out = append(out, Warning{"same-command", e.ID, fmt.Sprintf("%s: candidates %d and %d start the same command (a value of null or false adds no words): it is measured twice (schema_version 2 merges them)", e.ID, j, i)})
			continue
		}
		first[command] = i
	}
	return out
}

// Never is one searched key with the values that no listed candidate has.
type Never struct {
	Key    string
	Values []Value
}

// NeverTried lists, in file order, the searched values that are in none of the
// candidates.
func (f *File) NeverTried(e *engine.Engine, listed []Flags) []Never {
	s, _ := f.Section(e)
	var out []Never
	for _, a := range s.SearchSpace {
		n := Never{Key: a.Key}
		for _, v := range a.Values {
			tried := slices.ContainsFunc(listed, func(flags Flags) bool {
				x, ok := flags.Get(a.Key)
				return ok && x.same() == v.same()
			})
			if !tried {
				n.Values = append(n.Values, v)
			}
		}
		if len(n.Values) > 0 {
			out = append(out, n)
		}
	}
	return out
}

func neverText(never []Never) string {
	if len(never) == 0 {
		return ", every value at least once"
	}
	parts := make([]string, len(never))
	for i, n := range never {
		values := make([]string, len(n.Values))
		for j, v := range n.Values {
			values[j] = v.plainText()
		}
		parts[i] = n.Key + " " + strings.Join(values, ", ")
	}
	return "; never tried: " + strings.Join(parts, "; ")
}

// largestCap is the largest finite cap on requests in flight; 0 = none.
func (f *File) largestCap() int {
	return slices.MaxFunc(append([]int{0}, f.Caps()...), cmp.Compare[int])
}
