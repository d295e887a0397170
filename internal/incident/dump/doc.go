// Package dump reads the request and crash dumps that an engine leaves, and runs
// nothing of what they hold.
//
//	file → incident/pickle → Read → File (figures, names, records, what was salvaged)
//	File → Requests → []Request → WriteRequests → JSONL → ReadRequests → []Request
//
// Names of fields and classes come from the engine folders (engine.DumpLayout).
// The request list is the format of docs/dumps.md: what internal/load/workload
// reads, with what a replay needs beside it.
package dump
