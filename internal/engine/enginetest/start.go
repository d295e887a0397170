package enginetest

import (
	"slices"
	"strings"
	"testing"

	"llmdyno/internal/engine"
)

// version: the pattern reads the version out of what the version command prints.
func (u *suite) version(t *testing.T) {
	l := u.e.Launch
	if len(l.Version) == 0 {
		t.Fatal("Launch.Version is empty: the version cannot be asked for")
	}
	r := u.outcome(t, l.Version)
	if r == nil {
		t.Fatalf("%q starts a server instead of printing the version", l.Version)
	}
	m := l.VersionPattern.FindStringSubmatch(string(r.Text))
	if r.Exit != 0 || m == nil || m[1] != u.s.Version {
		t.Errorf("%q printed %q, exit %d: %s finds %q, want %q", l.Version, r.Text, r.Exit, l.VersionPattern, m, u.s.Version)
	}
}

// helpFlags are the options that the captured help defines, asked for as the
// table says.
func (u *suite) helpFlags(t *testing.T) engine.HelpFlags {
	t.Helper()
	ask := func(argv []string) engine.HelpFlags {
		r := u.outcome(t, argv)
		if r == nil || r.Exit != 0 {
			t.Fatalf("%q does not print a help: %v", argv, r)
		}
		return u.e.Help.Parse(string(r.Text))
	}
	pooled := engine.HelpFlags{}
	for _, argv := range u.e.Help.Commands {
		found := ask(argv)
		if len(found) == 0 {
			t.Errorf("%q: the parser finds no flag in its help", argv)
		}
		for option, f := range found {
			pooled[option] = f
		}
	}
	if len(u.e.Help.Commands) > 0 {
		return pooled
	}
	for _, args := range u.e.Help.Args {
		if found := ask(append(slices.Clone(u.e.Launch.Command), args...)); len(found) > 0 {
			return found
		}
	}
	return pooled
}

// help: the captured help defines every flag of the table that its version has,
// in every spelling, and agrees with the table on defaults and values.
func (u *suite) help(t *testing.T) {
	help := u.helpFlags(t)
	if len(help) == 0 {
		t.Fatal("no form of the help yields a flag")
	}
	for _, f := range u.e.Flags {
		if !u.has(f.Since, f.Until) {
			continue
		}
		option := u.e.Option(f.Key)
		if reason, ok := u.absent[f.Key]; ok {
			if help.Has(option) {
				t.Errorf("flag %s: the help defines %s, so its excuse no longer holds: %s", f.Key, option, reason)
			}
			continue
		}
		for _, spelling := range append([]string{option}, f.Also...) {
			if !help.Has(spelling) && !abbreviates(help, spelling, option) {
				t.Errorf("flag %s: the help of %s does not define %s", f.Key, u.s.Version, spelling)
			}
		}
		if f.Negative != "" && !help.Has(f.Negative) {
			t.Errorf("flag %s: the help of %s does not define %s", f.Key, u.s.Version, f.Negative)
		}
		if h, ok := help[option]; ok {
			u.agree(t, f, h)
		}
	}
}

// abbreviates: an argparse program also takes the beginning of an option, as long
// as no other begins so.
func abbreviates(help engine.HelpFlags, short, option string) bool {
	for long, f := range help {
		if strings.HasPrefix(long, short) && !slices.Contains(f.All, option) {
			return false
		}
	}
	return strings.HasPrefix(option, short) && help.Has(option)
}

// agree compares a row of the table with what the help prints of it.
func (u *suite) agree(t *testing.T, f engine.Flag, h engine.HelpFlag) {
	t.Helper()
	listens := f.Key == u.e.Launch.HostFlag || f.Key == u.e.Launch.PortFlag // a wrapper may have its own
	if table, help := plainDefault(f.Default), plainDefault(h.Default); !listens && table != "" && help != "" && table != help {
		t.Errorf("flag %s: default %q in the table, %q in the help", f.Key, f.Default, h.Default)
	}
	for _, v := range f.Values {
		if len(h.Choices) > 0 && !slices.Contains(h.Choices, v) {
			t.Errorf("flag %s: value %q of the table is none of the help's %q", f.Key, v, h.Choices)
		}
	}
	if f.Type == engine.FlagBool && h.Metavar != "" && len(h.Choices) == 0 {
		t.Errorf("flag %s: a bool in the table, the help wants a value (%s)", f.Key, h.Metavar)
	}
}

// plainDefault is a default as both sides write it; "" = none, or decided at
// start.
func plainDefault(s string) string {
	s = strings.ToLower(strings.Trim(strings.TrimSpace(s), `'"`))
	switch s {
	case "none", "unset", "auto":
		return ""
	case "enabled":
		return "true"
	case "disabled":
		return "false"
	}
	// A remark may follow: "0, 0 = loaded from model".
	s, _, _ = strings.Cut(s, ",")
	if strings.Contains(s, ".") {
		s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// flags: a command line with any one flag of the table, rendered as the launcher
// renders it, is accepted by the engine.
func (u *suite) flags(t *testing.T) {
	if r := u.outcome(t, u.argv(nil)); r != nil {
		t.Fatalf("the command without further flags is refused:\n%s", r.Text)
	}
	help := u.helpFlags(t)
	for _, f := range u.e.Flags {
		if !u.has(f.Since, f.Until) || f.Key == u.e.Launch.ModelFlag || u.absent[f.Key] != "" {
			continue
		}
		for _, v := range sampleValues(f, help[u.e.Option(f.Key)]) {
			argv := u.argv(engine.Settings{{Key: f.Key, Value: v}})
			if r := u.outcome(t, argv); r != nil && !u.memory(string(r.Text)) {
				t.Errorf("flag %s: %q is refused:\n%s", f.Key, u.e.Args(engine.Settings{{Key: f.Key, Value: v}}), lastLine(string(r.Text)))
			}
		}
	}
}

// memory: the start failed for want of memory, so the flags were understood.
func (u *suite) memory(log string) bool {
	kinds := u.kinds(log)
	return slices.Contains(kinds, engine.LogOOM) || slices.Contains(kinds, engine.LogNoMemory)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// sampleValues are values that a flag should accept: its default, the bounds of
// its type, and every value of an enum.
func sampleValues(f engine.Flag, h engine.HelpFlag) []engine.Value {
	of := func(kind engine.ValueKind, texts ...string) (out []engine.Value) {
		for _, s := range texts {
			out = append(out, engine.Value{Kind: kind, Text: s})
		}
		return out
	}
	switch f.Type {
	case engine.FlagBool:
		return of(engine.ValueBool, "true", "false")
	case engine.FlagInt:
		if f.Default != "" && strings.Trim(f.Default, "-0123456789") == "" {
			return of(engine.ValueInt, f.Default)
		}
		if f.Min != nil && *f.Min > 1 {
			return of(engine.ValueInt, "1024")
		}
		return of(engine.ValueInt, "1")
	case engine.FlagFloat:
		return of(engine.ValueFloat, "0.5")
	case engine.FlagJSON:
		return of(engine.ValueMap, "{}")
	case engine.FlagList:
		if len(h.Choices) > 0 {
			return of(engine.ValueString, h.Choices[0])
		}
		return []engine.Value{{Kind: engine.ValueList, Text: "[1,2]", List: of(engine.ValueInt, "1", "2")}}
	}
	switch {
	case len(f.Values) > 0:
		return of(engine.ValueString, f.Values...)
	case len(h.Choices) > 0:
		return of(engine.ValueString, h.Choices[0])
	}
	return of(engine.ValueString, "given")
}

// unknownFlag: a flag that the engine does not have ends the start, and the log
// patterns say so with the line that names it.
func (u *suite) unknownFlag(t *testing.T) {
	r := u.outcome(t, u.argv(nil, "--no-such-flag-here", "3"))
	if r == nil {
		t.Fatal("an unknown flag is accepted")
	}
	if r.Exit == 0 {
		t.Error("an unknown flag ends with exit code 0")
	}
	for line := range strings.Lines(string(r.Text)) {
		if p, ok := u.e.MatchLog(strings.TrimRight(line, "\n")); ok {
			if p.Kind != engine.LogBadFlag || !strings.Contains(line, "--no-such-flag-here") {
				t.Errorf("the first line that is recognised is %q, as %s; want %s and the flag's name", line, p.Kind, engine.LogBadFlag)
			}
			return
		}
	}
	t.Errorf("no pattern recognises the end of a start with an unknown flag:\n%s", r.Text)
}
