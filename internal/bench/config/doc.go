// Package config reads the YAML of a benchmark, says all that is wrong with it
// at once, and turns it into candidates: the exact commands that start each
// engine.
//
//	bytes → yaml nodes (limits) → File + positions → Diagnostics
//	                                   File + flag tables → Candidates + Warnings
//
// The package only computes: it reads the files that it is told to read and
// starts nothing. One Go struct, [File], is the source of the reader, of the
// published JSON Schema ([JSONSchema]) and of the reference page ([Reference]).
//
// Two file formats are read. schema_version 1 is the schema of the
// llm-serving-auto-benchmark cookbook (BBuf/AI-Infra-Auto-Driven-SKILLS
// @afb306eb, 2026-07-14): the verdict on a file, the order of its candidates
// and the text of each command are those of its tools, and where that behaviour
// is a defect a warning says so. schema_version 2 adds our keys and repairs the
// behaviour. docs/compatibility.md lists every difference.
package config
