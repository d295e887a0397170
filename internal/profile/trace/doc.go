// Package trace reads the files of torch.profiler (Kineto's Chrome traces) into
// tables of events, and finds them in folders.
//
//	file → decompress → scan → interned strings, tables by kind → Trace
package trace
