package metrics

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal of the given width. show ends it and returns
// what a program wrote to it.
func terminal(t *testing.T, columns uint16) (tty *os.File, show func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil { // a container or chroot without devpts; TestBar checks the drawing without it
		t.Skipf("not run: no pseudo-terminal here: %v", err)
	}
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}))
	var text bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		// a master whose terminal is closed answers EIO, which ends the copy
		_, _ = text.ReadFrom(master)
	}()
	return tty, func() string {
		require.NoError(t, tty.Close())
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("terminal: still open after 10 s")
		}
		require.NoError(t, master.Close())
		return text.String()
	}
}

func TestBarOnATerminal(t *testing.T) {
	for _, columns := range []uint16{60, 80, 120} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			t.Setenv("TERM", "xterm")
			t.Setenv("NO_COLOR", "")
			tty, show := terminal(t, columns)
			p := NewProgress(tty, 40, 20, 10, true)
			for step := 20; step < 40; step++ {
				if step == 30 {
					p.Note("checkpoint-30 written")
				}
				time.Sleep(15 * time.Millisecond)
				p.Step(progressRow(step), 154.3)
			}
			p.Note("done")
			p.Close()
			text := show()
			require.Contains(t, text, "\x1b[36m", "a terminal has colour")
			all := frames(text)
			for _, frame := range all {
				require.LessOrEqual(t, len([]rune(frame)), int(columns), frame)
			}
			require.Contains(t, all[0], "(20/40)", "a resumed run begins where it stopped")
			require.Contains(t, all, "checkpoint-30 written")
			last := all[len(all)-2]
			require.Contains(t, last, "100%")
			require.Contains(t, last, "(40/40) loss 3.250 acc 0.310")
			require.Equal(t, "done", all[len(all)-1], "a note after the end is a line of its own")
			if columns >= 80 {
				require.Contains(t, last, "0s left λ 0.25 154.3 samples/s")
			}
			if os.Getenv("VKDOMINO_SHOW_BAR") != "" {
				t.Log("\n" + strings.Join(all, "\n"))
			}
		})
	}
}

func TestInterruptedBarEndsItsLine(t *testing.T) {
	t.Setenv("TERM", "xterm")
	tty, show := terminal(t, 100)
	p := NewProgress(tty, 40, 0, 10, true)
	p.Step(progressRow(0), 1)
	p.Close()
	p.Close()
	p.Note("interrupted")
	require.True(t, strings.HasSuffix(show(), "\r\ninterrupted\r\n"))
}

func TestTerminalWithoutColourOrBar(t *testing.T) {
	use := func(enabled bool) string {
		tty, show := terminal(t, 100)
		p := NewProgress(tty, 4, 0, 1, enabled)
		for step := range 4 {
			p.Step(progressRow(step), 1)
		}
		p.Close()
		return show()
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	bar := use(true)
	require.Contains(t, bar, "100%")
	require.NotRegexp(t, "\x1b\\[[0-9;]*m", bar, "NO_COLOR")
	require.NotContains(t, use(false), "\x1b", "progress = false")
	t.Setenv("TERM", "dumb")
	require.NotContains(t, use(true), "\x1b", "TERM=dumb")
}
