// Package fusion knows which kernels the engines can fuse, and finds in a timeline
// where they did and where they did not.
//
//	catalog (YAML: built in, and the user's) ─┐
//	Timeline → segments between barriers ─────┴→ Finding (active | split), Note (similar)
//
// A pattern is active where a kernel shows by its identity that the fusion is on:
// by words of its name or of its operator, never by a part of a path. It is split
// where all its roles are played by different kernels of one segment, the stretch
// of a stream between two barriers (matrix products, attention, collectives), and
// that in at least two segments.
package fusion
