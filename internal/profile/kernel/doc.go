// Package kernel reads the names of device kernels: what a kernel is called
// without its types and parameters, to which class of work it belongs, and what
// a generated name says about itself (tile, types, fused operators).
//
//	raw name → demangled → canonical name → class
//
// The classes and their terms are data with sources; one classifier serves all
// tables of a report.
package kernel
