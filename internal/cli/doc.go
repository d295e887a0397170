// Package cli turns a command line into a request for one of the works, runs
// it, and shows the value that comes back.
//
//	args → flags → request struct → work → value → renderer → stdout
//
// One file a command group. Rules that hold for all of them:
//
//   - Results go to stdout; progress, warnings and errors go to stderr.
//   - Both pass through the redactor, so that no secret of the environment, of
//     a file or of a server is ever shown.
//   - An error is one line, begins with "llmdyno:" and ends with what to do.
//   - Exit codes are the constants below; nothing below this package exits.
package cli
