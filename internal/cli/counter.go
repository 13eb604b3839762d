package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

const (
	counterInterval = 100 * time.Millisecond // how often a counter is drawn again
	readingQuiet    = 2 * time.Second        // reading that takes no longer says nothing
	readingInterval = 10 * time.Second       // how often it says so where nothing can be drawn again
)

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

// reading shows on stderr how far the reading of data is, once that takes long: a line that is
// drawn again on a terminal, elsewhere a new one now and then. end clears what was drawn.
func reading() (show func(path string, rows int, share float64), end func()) {
	return readingTo(os.Stderr, term.IsTerminal(int(os.Stderr.Fd())), time.Now)
}

func readingTo(out io.Writer, terminal bool, now func() time.Time) (show func(path string, rows int, share float64), end func()) {
	due, every, before, after := now().Add(readingQuiet), readingInterval, "", "\n"
	if terminal {
		every, before, after = counterInterval, "\r", "\x1b[K"
	}
	drawn := false
	show = func(path string, rows int, share float64) {
		t := now()
		if t.Before(due) {
			return
		}
		due, drawn = t.Add(every), terminal
		text := ""
		if share > 0 {
			text = fmt.Sprintf(", %.0f %%", 100*share)
		}
		fmt.Fprintf(out, "%sreading %s: %d rows%s%s", before, path, rows, text, after)
	}
	return show, func() {
		if drawn {
			fmt.Fprint(out, "\r\x1b[K")
		}
	}
}
