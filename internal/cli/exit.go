package cli

import (
	"errors"
	"fmt"
)

// Exit codes of the program; the contract with scripts.
const (
	ExitDone        = 0   // done
	ExitNo          = 1   // done, and the answer is no: invalid config, nothing passed the SLA
	ExitUsage       = 2   // wrong usage
	ExitFailed      = 3   // the work could not be done: I/O, network, engine failed
	ExitInterrupted = 130 // interrupted; the artifacts are in a state that resume accepts
)

// exitError is an error that knows its exit code and what to do next. Its
// message is empty when the command has already said all there is to say.
type exitError struct {
	code int
	err  error
	hint string
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	if e.hint == "" {
		return e.err.Error()
	}
	return e.err.Error() + "; " + e.hint
}

func (e *exitError) Unwrap() error { return e.err }

// fail wraps an error with an exit code and a hint ("" = none).
func fail(code int, hint string, err error) error {
	return &exitError{code: code, err: err, hint: hint}
}

// failf is fail with a formatted message.
func failf(code int, hint, format string, args ...any) error {
	return fail(code, hint, fmt.Errorf(format, args...))
}

// quiet ends the command with a code and no further message.
func quiet(code int) error { return &exitError{code: code} }

// codeOf is the exit code of an error: the innermost that names one wins.
func codeOf(err error) int {
	code := ExitFailed
	for err != nil {
		var e *exitError
		if !errors.As(err, &e) {
			break
		}
		code = e.code
		err = e.err
	}
	return code
}
