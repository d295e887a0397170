// Package capture drives the torch profiler of a live server, stage by stage,
// and says of every trace what was asked for it and what it holds.
//
//	Request  →  probes of exact length, warm-up, start, probes, stop  →  files watched until whole
//	         →  <folder>/<stage>/ with the traces and capture.json
//
// How a profiler is enabled, started and stopped, what its answers mean and how
// its files are named is data of the engine ([engine.Profiler]); this package
// knows none by name. A file counts as new only by its content, as whole only
// when it can be read to its end, and the profiler is stopped on every way out.
package capture
