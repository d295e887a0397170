package signal

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Finding is a rule that fired on one target.
type Finding struct {
	ID         string      `json:"id"`
	Target     string      `json:"target,omitempty"`
	Title      string      `json:"title"`
	Class      string      `json:"class"`
	Severity   string      `json:"severity"`
	Confidence string      `json:"confidence"`
	Evidence   []string    `json:"evidence"`
	Thresholds []Threshold `json:"thresholds,omitempty"`
	RulesOut   []string    `json:"rules_out"`
	NextStep   string      `json:"next_step"`
	Risk       string      `json:"risk"`
	Source     RuleSource  `json:"source"`
	// State is "active", or "cleared": it held for a while during the capture and no
	// longer does.
	State string `json:"state"`
	// Since is when it was raised, in a capture over time.
	Since time.Time `json:"since,omitzero"`
	// Share is the part of the requests at that moment that it concerns.
	Share float64 `json:"share"`

	rule *Rule
}

// evaluate runs all rules over one target.
func (rs *Rules) evaluate(x *target, f facts) (found []Finding, blind []string) {
	rounds := make([]facts, len(x.series))
	for i, m := range x.series {
		rounds[i] = x.instant(m)
	}
	for _, r := range rs.List {
		if len(r.Engines) > 0 && !slices.Contains(r.Engines, x.e.ID) {
			continue
		}
		v, known, line := r.judge(f, x.logs)
		state, since := "active", time.Time{}
		if r.Hold != nil && len(rounds) > r.Hold.Samples {
			v, state, since = r.over(x, rounds)
		}
		if v == fires {
			found = append(found, r.finding(x, known, line, state, since))
		} else if v == unknown && r.uncheckable(known) {
			blind = append(blind, r.ID)
		}
	}
	return found, blind
}

func (r *Rule) uncheckable(f facts) bool {
	return slices.ContainsFunc(r.Needs, func(name string) bool { _, known := f[name]; return !known })
}

// over runs the condition over sampled rounds with hysteresis.
func (r *Rule) over(x *target, rounds []facts) (verdict, string, time.Time) {
	raised, ever := false, false
	var since, began time.Time
	up, down := 0, 0
	for i, f := range rounds {
		if holds(r.condition, f) == fires {
			if up++; up == 1 {
				began = x.series[i].at
			}
		} else {
			up = 0
		}
		if holds(r.clear, f) == fires {
			down++
		} else {
			down = 0
		}
		switch {
		case !raised && up >= r.Hold.Samples:
			raised, ever, since = true, true, began
		case raised && down >= r.Hold.ClearSamples:
			raised = false
		}
	}
	switch {
	case raised:
		return fires, "active", since
	case ever:
		return fires, "cleared", since
	}
	return silent, "", time.Time{}
}

func (r *Rule) finding(x *target, f facts, line, state string, since time.Time) Finding {
	out := Finding{
		ID: r.ID, Target: x.t.ID, Title: r.Title, Class: r.Class, Severity: r.Severity, Confidence: r.Confidence, Thresholds: r.Thresholds,
		RulesOut: slices.Clone(r.RulesOut), Risk: r.Risk, Source: r.Source, State: state, Since: since, Share: r.share(f), rule: r,
	}
	words := x.words(line)
	for _, text := range r.Evidence {
		if filled, ok := fillIn(text, f, words); ok {
			out.Evidence = append(out.Evidence, filled)
		}
	}
	if state == "cleared" {
		out.Severity, out.Evidence = "info", append(out.Evidence, "it held for a while during the capture and had cleared by its end")
	}
	if !since.IsZero() {
		out.Evidence = append(out.Evidence, "since "+since.UTC().Format(time.RFC3339))
	}
	out.NextStep, _ = fillIn(r.NextStep, f, words)
	return out
}

// share is the part of the requests that a finding concerns.
func (r *Rule) share(f facts) float64 {
	if len(r.Touches) == 0 {
		return 1
	}
	sum := func(names ...string) float64 {
		total := 0.0
		for _, n := range names {
			v, _ := f.get(n)
			total += v
		}
		return total
	}
	all := sum("running", "waiting", "pd_queued")
	if all <= 0 {
		return 0
	}
	return min(sum(r.Touches...)/all, 1)
}

// words are what evidence may show beside facts.
func (x *target) words(line string) map[string]string {
	return map[string]string{
		"auth": strings.Join(x.auth, "; "), "metrics": x.noPage, "bodies": strings.Join(x.bad, "; "), "stale": strings.Join(x.b.Manifest.Stale, ", "),
		"log_first": line, "url": orElse(x.t.URL, "URL"), "target": x.t.ID, "unreachable_why": x.unreachable(),
	}
}

var hole = regexp.MustCompile(`\{([a-z_0-9]+)(?:\|([a-z]+))?\}`)

// fillIn puts facts into a text; false = one of them is not known.
func fillIn(text string, f facts, words map[string]string) (string, bool) {
	complete := true
	out := hole.ReplaceAllStringFunc(text, func(m string) string {
		part := hole.FindStringSubmatch(m)
		if w, ok := words[part[1]]; ok {
			complete = complete && w != ""
			return w
		}
		switch v := f[part[1]].(type) {
		case float64:
			return formatted(v, part[2])
		case string:
			complete = complete && v != ""
			return v
		case bool:
			return strconv.FormatBool(v)
		}
		complete = false
		return "?"
	})
	return out, complete
}

func formatted(v float64, form string) string {
	switch form {
	case "pct":
		return fmt.Sprintf("%.1f %%", v*100)
	case "s":
		if v != 0 && math.Abs(v) < 1 {
			return fmt.Sprintf("%.0f ms", v*1000)
		}
		return strconv.FormatFloat(v, 'g', 4, 64) + " s"
	case "n":
		if v == math.Trunc(v) {
			return strconv.FormatFloat(v, 'f', 0, 64)
		}
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// maxTop bounds what a report puts first.
const maxTop = 5

// rank orders findings: by confidence, then by the share of the requests that they
// concern, then by severity. Cleared ones come last.
func rank(found []Finding) {
	level := func(f Finding) int { return slices.Index(Confidences, f.Confidence) }
	slices.SortStableFunc(found, func(a, b Finding) int {
		switch {
		case a.State != b.State:
			return strings.Compare(a.State, b.State)
		case level(a) != level(b):
			return level(b) - level(a)
		case a.Share != b.Share:
			if a.Share > b.Share {
				return -1
			}
			return 1
		}
		return slices.Index(Severities, b.Severity) - slices.Index(Severities, a.Severity)
	})
}

// top are the findings that a report puts first: at most five of a target, those
// left out that another one explains, and what only says that something was not
// seen behind what was.
func top(found []Finding) []Finding {
	out := []Finding{}
	for _, f := range found {
		if !hidden(f, found) {
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return bystander(a) - bystander(b) })
	return out[:min(len(out), maxTop)]
}

// bystander: what says that nothing was seen explains less than what was seen.
func bystander(f Finding) int {
	switch {
	case f.State == "cleared":
		return 3
	case f.Class == ClassIdle:
		return 2
	case f.Class == ClassBlind:
		return 1
	}
	return 0
}

func hidden(f Finding, all []Finding) bool {
	return slices.ContainsFunc(all, func(o Finding) bool {
		if o.ID == f.ID || o.Target != f.Target || o.State != "active" {
			return false
		}
		return o.rule.Hides.has(f.rule) && !f.rule.Hides.has(o.rule) || f.rule.Behind.has(o.rule)
	})
}
