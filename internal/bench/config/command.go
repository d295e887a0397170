package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"llmdyno/internal/engine"
)

// ServerCommand is the words of an engine's server_command, or the engine's own
// where the section gives none.
func (f *File) ServerCommand(e *engine.Engine) []string {
	s, _ := f.Section(e)
	words, err := splitWords(s.ServerCommand)
	if err != nil || len(words) == 0 {
		return e.Launch.Command
	}
	return words
}

// FromCommand makes a candidate of a command as a person would type it. The engine
// is the one whose own words begin the command, behind wrappers such as numactl.
func FromCommand(set engine.Set, command string) (Candidate, error) {
	words, err := splitWords(command)
	if err != nil {
		return Candidate{}, fmt.Errorf("command %q: %w", command, err)
	}
	for _, e := range set {
		if at := wordsOf(words, e.Launch.Command); at >= 0 {
			return Candidate{Engine: e.ID, Flags: readFlags(e, words[at+len(e.Launch.Command):]), Argv: words, Command: joinWords(words)}, nil
		}
	}
	var known []string
	for _, e := range set {
		known = append(known, joinWords(e.Launch.Command))
	}
	return Candidate{}, fmt.Errorf("command %q starts no engine that is known here: expected the words of one of: %s", command, strings.Join(known, ", "))
}

// wordsOf is where the words of an engine stand in a command; -1 = nowhere. A
// program may have a path, and Python any version.
func wordsOf(command, own []string) int {
	plain := func(word string) string {
		base := filepath.Base(word)
		if strings.HasPrefix(base, "python") {
			return "python"
		}
		return base
	}
	for at := 0; len(own) > 0 && at+len(own) <= len(command); at++ {
		if plain(command[at]) == plain(own[0]) && slices.Equal(command[at+1:at+len(own)], own[1:]) {
			return at
		}
	}
	return -1
}

// readFlags are the options of a command by the keys of the engine's table; one
// that it does not have goes by its own name.
func readFlags(e *engine.Engine, words []string) engine.Settings {
	keys := map[string]string{}
	for _, f := range e.Flags {
		keys[e.Option(f.Key)] = f.Key
		for _, also := range f.Also {
			keys[also] = f.Key
		}
	}
	var out engine.Settings
	for i := 0; i < len(words); i++ {
		if !strings.HasPrefix(words[i], "-") {
			continue
		}
		option, text, given := strings.Cut(words[i], "=")
		if !given && i+1 < len(words) && !strings.HasPrefix(words[i+1], "--") {
			i++
			text, given = words[i], true
		}
		key, known := keys[option]
		if !known {
			key = strings.ReplaceAll(strings.TrimLeft(option, "-"), "-", "_")
		}
		v := engine.Value{Kind: engine.ValueString, Text: text}
		if !given {
			v = engine.Value{Kind: engine.ValueBool, Text: "true"}
		}
		out = out.With(key, v)
	}
	return out
}
