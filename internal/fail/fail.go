// Package fail gives an error the process exit code and the hint line that the
// user sees. Every package may return such an error; internal/cli prints it.
package fail

import (
	"errors"
	"fmt"
)

// Code is a process exit code of vkdomino.
type Code int

// The exit codes, as docs/exit-codes.md lists them.
const (
	Other       Code = 1   // a broken or missing file, no Vulkan device, an output folder in use
	Usage       Code = 2   // the command line, the recipe, an override, values wrong for this target
	Memory      Code = 3   // a plan that does not fit, or an allocation that failed
	DeviceLost  Code = 4   // the device was lost
	Disk        Code = 5   // writing failed
	NonFinite   Code = 6   // aborted after too many updates with non-finite gradients
	Gate        Code = 7   // a gate, a selftest limit or the export check was not met
	Interrupted Code = 130 // stopped by a signal; train has written a checkpoint
)

// Error is an error with an exit code and a hint.
type Error struct {
	Code Code
	Err  error
	Hint string // one line that says what to change; may be empty
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error underneath.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error with a code and a hint; the message is formatted as by fmt.Errorf.
func New(code Code, hint, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...), Hint: hint}
}

// CodeOf returns the exit code of err: that of the outermost Error in its chain, or Other.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Other
}

// HintOf returns the hint of err, or "".
func HintOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}
