// Package artifact is the only way in which the program writes: run folders,
// whole files, append-only journals, the manifest, and the redaction that sits
// in front of all of them.
//
//	value or bytes → Redactor → temporary name, fsync, rename   (WriteFile, CreateFile, CreateLinesZst)
//	value          → Redactor → one line, fsync                 (AppendFile)
//	server output  → Redactor → head and tail under a cap       (Log)
//	folder         → Seal → manifest.json → Verify
//
// A run folder belongs to one process at a time: Create and Open take a lock
// that the kernel releases when the holder dies. A file appears under its name
// only when it is whole; an append-only file may end in a torn line, which
// reading reports and opening for append cuts off.
//
// Secrets never reach a file. The built-in rules are data in rules.go; a rule's
// replacement, [redacted:<rule>], names the rule and keeps JSON valid.
package artifact
