package config

import "llmdyno/internal/engine"

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
