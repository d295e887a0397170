// Package pickle reads Python pickles without running anything.
//
//	bytes → Read → Document (values, names, warnings, damage) → Plain, AppendJSON
//
// A name in a pickle is never resolved and a call is never made: both become
// inert records. Protocols 0 to 5, all 68 opcodes. What the file claims about
// lengths is compared with the bytes that are left before anything is allocated;
// texts and numbers stay where they are in the input, and values are handles of
// eight bytes, so that a document costs a small multiple of the file.
//
// Shared references stay shared and cycles stay cycles: whoever walks a document
// bounds depth and nodes, as [Document.AppendJSON] does.
//
// Opcodes after Lib/pickletools.py of CPython 3.11 (2023-12-04).
package pickle
