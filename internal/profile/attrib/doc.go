// Package attrib turns the events of a trace into the tables of a report: which
// kernels, in which stage, launched by which source; what overlaps; where the
// GPU is idle.
//
//	trace ─┬→ stages ───┐
//	       ├→ launches ─┼→ Timeline → kernel table, overlap table, idle gaps, steps, ranks
//	       └→ frames ───┘
package attrib
