package cli

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"
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
