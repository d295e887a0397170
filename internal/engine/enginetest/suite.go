package enginetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"llmdyno/internal/engine"
	"llmdyno/internal/sim"
)

// model is served throughout; its figures are among the simulator's own.
const model = "meta-llama/Llama-3.1-8B-Instruct"

// suite is one engine with its newest captured text.
type suite struct {
	e *engine.Engine
	s *sim.Surface
	// absent are flags that the captured build lacks although its version number
	// does not tell, with the reason.
	absent map[string]string
}

// checks are run in this order; each stands for itself.
var checks = []struct {
	name string
	run  func(*suite, *testing.T)
}{
	{"version", (*suite).version},
	{"help", (*suite).help},
	{"flags", (*suite).flags},
	{"unknown flag", (*suite).unknownFlag},
	{"ready", (*suite).ready},
	{"not ready while loading", (*suite).loading},
	{"not ready with a dead scheduler", (*suite).deadScheduler},
	{"endpoints", (*suite).endpoints},
	{"bodies", (*suite).bodies},
	{"tokenize", (*suite).tokenize},
	{"needs", (*suite).needs},
	{"auth", (*suite).auth},
	{"fields", (*suite).fields},
	{"streams", (*suite).streams},
	{"several tokens an event", (*suite).several},
	{"reasoning", (*suite).reasoning},
	{"whole replies", (*suite).wholeReplies},
	{"errors", (*suite).serverErrors},
	{"metrics", (*suite).metrics},
	{"log of a start", (*suite).startLog},
	{"log of a failed start", (*suite).failedStarts},
	{"trace", (*suite).trace},
}

// Option bends the suite for one engine.
type Option func(*suite)

// Absent excuses a flag of the table that the captured build does not have, where
// the version number cannot say so. The check fails once the build has it.
func Absent(key, reason string) Option {
	return func(u *suite) { u.absent[key] = reason }
}

// Run holds the engine's tables against its captured text.
func Run(t *testing.T, e *engine.Engine, options ...Option) {
	t.Helper()
	if e.Surface == nil {
		t.Fatal("Surface is nil: an engine has captured text for the simulated engine to speak")
	}
	s, err := sim.LoadSurface(e.Surface, "")
	if err != nil {
		t.Fatal(err)
	}
	u := &suite{e: e, s: s, absent: map[string]string{}}
	for _, o := range options {
		o(u)
	}
	for _, c := range checks {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) { c.run(u, t) })
	}
}

// has says whether the captured version lies within since and until.
func (u *suite) has(since, until string) bool {
	return (since == "" || engine.CompareVersions(u.s.Version, since) >= 0) &&
		(until == "" || engine.CompareVersions(u.s.Version, until) <= 0)
}

// argv starts a server the way the launcher does: command, model, address, what
// the engine requires, then settings and further words.
func (u *suite) argv(settings engine.Settings, more ...string) []string {
	l := u.e.Launch
	argv := slices.Clone(l.Command)
	if l.ModelFlag == "" {
		argv = append(argv, model)
	} else {
		argv = append(argv, u.e.Option(l.ModelFlag), model)
	}
	fixed := engine.Settings{text(l.HostFlag, l.Host), number(l.PortFlag, 8123)}
	for _, r := range l.Required {
		fixed = append(fixed, text(r.Key, r.Value))
	}
	for _, x := range settings {
		fixed = fixed.With(x.Key, x.Value)
	}
	return append(append(argv, u.e.Args(fixed)...), more...)
}

func text(key, value string) engine.Setting {
	return engine.Setting{Key: key, Value: engine.Value{Kind: engine.ValueString, Text: value}}
}

func number(key string, n int) engine.Setting {
	return engine.Setting{Key: key, Value: engine.Value{Kind: engine.ValueInt, Text: fmt.Sprint(n)}}
}

// outcome is what the engine prints for an argv that does not start a server,
// or nil when the argv is accepted.
func (u *suite) outcome(t *testing.T, argv []string, faults ...string) *sim.Refusal {
	t.Helper()
	f, err := sim.ParseFaults(faults)
	if err != nil {
		t.Fatal(err)
	}
	_, err = sim.New(sim.Options{Surface: u.e.Surface, Argv: argv, GPU: "h200", PID: 1000, Faults: f})
	var r *sim.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return r
	}
	t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	return nil
}

// kinds are the kinds of log lines that a text holds, in order of appearance.
func (u *suite) kinds(text string) []engine.LogKind {
	var out []engine.LogKind
	for line := range strings.Lines(text) {
		if p, ok := u.e.MatchLog(strings.TrimRight(line, "\r\n")); ok && !slices.Contains(out, p.Kind) {
			out = append(out, p.Kind)
		}
	}
	return out
}

// turnOn finds the option that turns a knob on, with the words that do it; nil
// when no option does.
func (u *suite) turnOn(knob string) []string {
	for _, o := range u.s.Options {
		for member, k := range o.Members {
			if word := slices.Sorted(maps.Keys(o.Values)); k == knob && len(word) > 0 {
				return []string{o.Names[0], fmt.Sprintf(`{%q:%q}`, member, word[0])}
			}
		}
		if o.Knob != knob || o.Takes == "none" && o.Set == "false" {
			continue
		}
		switch {
		case o.Takes == "none":
			return []string{o.Names[0]}
		case o.Type == "int":
			return []string{o.Names[0], "9000"}
		}
		return []string{o.Names[0], "given"}
	}
	return nil
}

// metricsArgs are the words that switch on every page of metrics.
func (u *suite) metricsArgs() []string {
	var out []string
	seen := map[string]bool{}
	for _, o := range u.s.Options {
		if strings.HasSuffix(o.Knob, "metrics") && !seen[o.Knob] {
			seen[o.Knob] = true
			out = append(out, u.turnOn(o.Knob)...)
		}
	}
	return out
}

// route finds the captured route of a method and path.
func (u *suite) route(method, path string) *sim.SurfaceRoute {
	path, _, _ = strings.Cut(path, "?")
	for i := range u.s.Routes {
		r := &u.s.Routes[i]
		prefix, open := strings.CutSuffix(r.Path, "*")
		if (r.Path == path || open && strings.HasPrefix(path, prefix)) && slices.Contains(strings.Split(r.Method, "|"), method) {
			return r
		}
	}
	return nil
}
