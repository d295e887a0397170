package config

import (
	"fmt"
	"slices"
	"strings"

	"llmdyno/internal/engine"
)

// maxPool is the most candidates of one engine that a strategy chooses from.
const maxPool = 2000

// boundedProduct is the strategy whose list is cut at the limit.
const boundedProduct = "bounded_product"

// pools says that the strategy chooses from the whole search space.
func (f *File) pools() bool {
	return f.SchemaVersion >= SchemaOurs && or(f.Search.Strategy, boundedProduct) != boundedProduct
}

// pruned is what was left out of a pool.
type pruned struct {
	dead   int    // candidates that break a rule of the engine and cannot start
	rule   string // of the first one, in words
	alike  int    // candidates that cannot differ from one in the pool
	reason string // of the first one, in words
}

// prune says whether a candidate need not be tried: it cannot start, or cannot
// differ from one that is in the pool. The baseline is never asked.
func (f *File) prune(g *generation, e *engine.Engine, s EngineSection, flags Flags, alike map[string]bool) bool {
	x := section{checker: &checker{f: f}, e: e, s: s}
	if problem := x.fatal(flags); problem != "" {
		g.pruned.dead++
		g.pruned.rule = or(g.pruned.rule, problem)
		return true
	}
	if alike[f.effect(e, s, flags)] {
		if g.pruned.alike++; g.pruned.reason == "" {
			g.pruned.reason = f.whyAlike(e, flags)
		}
		return true
	}
	return false
}

// fatal is why a candidate cannot start; "" = nothing is known against it.
func (x section) fatal(flags Flags) string {
	have := x.f.Hardware.GPUCount * x.nodes(flags)
	if need := x.gpus(flags); have > 0 && need > have {
		return fmt.Sprintf("it needs %d GPUs of %d", need, have)
	}
	setup := x.setup(flags)
	for _, c := range x.e.Constraints {
		if !c.Fatal {
			continue
		}
		if _, problem := c.Check(setup); problem != "" {
			return fmt.Sprintf("%s (rule %s)", problem, c.ID)
		}
	}
	return ""
}

// effect is a key under which candidates meet that cannot differ in anything
// that is measured: flags without effect are left out, and batch limits that the
// largest cap on requests in flight keeps from binding count as one.
func (f *File) effect(e *engine.Engine, s EngineSection, flags Flags) string {
	out := make(Flags, 0, len(flags))
	for _, x := range flags {
		switch flag, _ := e.Flag(x.Key); {
		case flag.Inert != "" && f.searched(s, x.Key):
		case f.idle(e, x):
			out = append(out, Flag{x.Key, Value{Kind: engine.ValueString, str: "does not bind"}})
		default:
			out = append(out, x)
		}
	}
	return sameFlags(out)
}

func (f *File) searched(s EngineSection, key string) bool {
	_, ok := s.SearchSpace.Axis(key)
	return ok
}

// idle says that a flag is a batch limit which no load point reaches.
func (f *File) idle(e *engine.Engine, x Flag) bool {
	largest := f.largestCap()
	if largest == 0 || slices.Contains(f.Caps(), 0) || len(f.Benchmark.Loads) > 0 || !slices.Contains(e.Launch.BatchLimit, x.Key) {
		return false
	}
	n, ok := x.Value.Int()
	return ok && n >= int64(largest)
}

// whyAlike names the flags that do nothing.
func (f *File) whyAlike(e *engine.Engine, flags Flags) string {
	var out []string
	for _, x := range flags {
		if flag, _ := e.Flag(x.Key); flag.Inert != "" {
			out = append(out, fmt.Sprintf("%s changes nothing (%s)", x.Key, flag.Inert))
		} else if f.idle(e, x) {
			out = append(out, fmt.Sprintf("%s does not bind while at most %d requests are in flight", x.Key, f.largestCap()))
		}
	}
	return strings.Join(out, "; ")
}

// pruneWarnings say what a strategy chooses from.
func (f *File) pruneWarnings(e *engine.Engine, g generation) []Warning {
	if !f.pools() {
		return nil
	}
	var out []Warning
	warn := func(code, format string, args ...any) {
		out = append(out, Warning{code, e.ID, fmt.Sprintf(string(e.ID)+": "+format, args...)})
	}
	if g.pruned.dead > 0 {
		warn("cannot-start", "%d candidates are left out because they cannot start, the first one: %s", g.pruned.dead, g.pruned.rule)
	}
	if g.pruned.alike > 0 {
		warn("cannot-differ", "%d candidates are left out because they cannot differ from others: %s", g.pruned.alike, g.pruned.reason)
	}
	if g.cut || !g.exact {
		warn("pool-cut", "the strategy %s chooses from the first %d of about %d candidates: make the search space smaller", f.Search.Strategy, len(g.listed), g.distinct)
	}
	if len(g.listed) > f.Search.Limit {
		warn("limit", "search.max_candidates_per_framework %d: at most so many of %d candidates are begun", f.Search.Limit, len(g.listed))
	}
	return out
}
