package cli

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"vkdomino/internal/fail"
	"vkdomino/tensors"
)

// counterInterval is how often a counter is drawn again.
const counterInterval = 100 * time.Millisecond

// counter shows on stderr, where that is a terminal, how much of total is done. show may be
// called as often as one likes; end clears the line.
func counter(what string, total int) (show func(done int), end func()) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func(int) {}, func() {}
	}
	var last time.Time
	show = func(done int) {
		if now := time.Now(); now.Sub(last) >= counterInterval {
			last = now
			fmt.Fprintf(os.Stderr, "\r%s: %d of %d\x1b[K", what, done, total)
		}
	}
	return show, func() { fmt.Fprint(os.Stderr, "\r\x1b[K") }
}

// parsePrecision is the dtype that a --precision flag names.
func parsePrecision(name string) (tensors.DType, error) { return parseDType("--precision", name) }

// parseDType reads the value of a flag that is bf16 or f32.
func parseDType(flag, text string) (tensors.DType, error) {
	dtype, ok := map[string]tensors.DType{"bf16": tensors.BF16, "f32": tensors.F32}[text]
	if !ok {
		return dtype, fail.New(fail.Usage, "give bf16 or f32", "%s: want bf16 or f32, got %q", flag, text)
	}
	return dtype, nil
}
