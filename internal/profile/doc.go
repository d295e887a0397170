// Package profile is the work as a whole: trace files in, the document of a
// triage out.
//
//	paths → trace.Discover → trace.Open → attrib.Resolve → tables → Document
//
// It computes and reads files; it prints nothing.
package profile
