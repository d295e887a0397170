// Package engine holds the neutral types that describe a serving engine to the
// rest of the house. Each engine fills one [Engine] value in its own folder
// (internal/engine/<id>): flags, launch, readiness, log patterns, endpoints and
// wire formats. Nothing outside that folder names the engine.
//
//	engine/<id>  →  Engine value  →  engine/all  →  cli  →  every work, as a parameter
//
// Knowledge is data with a source and a date. Code appears only where an
// engine's ability cannot be written as a table: reading its help text, a
// constraint between flags, a native wire format. An ability that an engine
// lacks is a nil field, and its users ask before they use it.
//
// The captured replies of a server (Surface) are the other side of the mirror:
// the simulated engine speaks them, the tables here read them, and enginetest
// demands that both agree. Tables and surface never share a constant.
package engine
