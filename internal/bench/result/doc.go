// Package result holds the normalised result of a benchmark, one row for each
// candidate and scenario, and what follows from a set of rows:
//
//	metric.Summary → FromSummary → Metrics ┐
//	SLA limits → Judge → verdict           ├→ Row → results.jsonl
//	candidate, hardware, points            ┘
//	results.jsonl → Read → []Row → Compare → Comparison → report
//
// The row is that of the upstream skill (BBuf/AI-Infra-Auto-Driven-SKILLS
// @afb306eb, llm-serving-auto-benchmark/references/result-schema.md) with keys
// of our own beside it, so that rows written by others compare with ours.
// Reading is lenient: what cannot be read is left out, and the problem is said
// with file and line. Everything here is a pure function of its input.
package result
