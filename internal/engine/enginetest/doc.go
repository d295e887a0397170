// Package enginetest is the conformance suite that every engine runs. It holds
// the tables of an engine against the captured text of that engine, which the
// simulated engine speaks:
//
//	tables (engine.Engine)  →  argv, requests, patterns  →  simulated engine
//	captured text (Surface) →  help, replies, streams, metrics, log lines  →  the same answers?
//
// Neither side is made from the other, so a typo in one cannot hide in the
// other. Servers run over net.Pipe in testing/synctest bubbles: exact and quick.
//
// An engine's folder calls [Run] from an external test package. A new check is
// a new row of checks.
package enginetest
