package cli

import (
	"errors"
	"io"

	"vkdomino/internal/fail"
)

// stdoutHint is the hint of an error of standard output.
const stdoutHint = "what reads the output has gone, or its disk is full"

// output is standard output, where it is a command's result: it keeps its first error.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// verdict is the error of a command that has ended with err: that of its output, unless another one came before.
func (o *output) verdict(err error) error {
	if o.err == nil || err != nil && !errors.Is(err, o.err) {
		return err
	}
	return fail.New(fail.Disk, stdoutHint, "stdout: %w", o.err)
}
