// Package cookbook embeds one benchmark configuration per model, in
// schema_version 1. The figures are those of the llm-serving-auto-benchmark
// cookbook (BBuf/AI-Infra-Auto-Driven-SKILLS @afb306eb, 2026-07-14); comments and
// wording are ours. Package internal/bench/config reads the files, and its tests
// hold every one against the engines' flag tables.
package cookbook

import (
	"embed"
	"errors"
	"fmt"
	"strings"
)

// FS holds the files, one NAME.yaml a model.
//
//go:embed *.yaml
var FS embed.FS

// ErrUnknown is the cause when no file has the asked name.
var ErrUnknown = errors.New("no such model in the cookbook")

// List names the models, sorted.
func List() []string {
	entries, _ := FS.ReadDir(".") // an embedded root is always there
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".yaml")
	}
	return names
}

// Get is the text of one file; name is as List has it, with or without .yaml.
func Get(name string) ([]byte, error) {
	data, err := FS.ReadFile(strings.TrimSuffix(name, ".yaml") + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("reading the cookbook file of %q: %w", name, ErrUnknown)
	}
	return data, nil
}
