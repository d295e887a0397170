// Package witness asks the server what it saw of a trial, and its GPUs what
// they did, and holds that against what the client saw:
//
//	Watch  →  Record (readings before, each second, after)  →  Summarise  →  metric.Server + findings
//
// Readings are neutral quantities; which series of an engine they stand in is
// known to its table alone. The rules:
//
//	counter     what it rose by, series by series; one that fell began anew at 0,
//	            one that appeared in the trial began at 0
//	histogram   counts after less counts before, series by series, then added up
//	quantile    linear within its bucket, with the bucket's bounds as the error
//	energy      the GPUs' own counters, else the integral of power by trapezoids
//	difference  client less server; of mean times it is network plus client
//
// Several clients that send parts of one load each hear the whole server; Join
// makes one record of theirs.
//
// It owns server-metrics.jsonl: a header line, then one line a reading.
package witness
