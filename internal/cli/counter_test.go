package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Reading that takes long is shown, with a line of its own or one that is drawn again.
func TestReading(t *testing.T) {
	read := func(terminal bool, seconds int) string {
		var out strings.Builder
		clock := time.Unix(0, 0)
		show, end := readingTo(&out, terminal, func() time.Time { return clock })
		for i := range 10 * seconds {
			clock = clock.Add(100 * time.Millisecond)
			show("train.jsonl", 100*(i+1), float64(i+1)/1000)
		}
		end()
		return out.String()
	}
	require.Empty(t, read(true, 1))
	require.Empty(t, read(false, 1))
	require.Equal(t, "reading train.jsonl: 2000 rows, 2 %\nreading train.jsonl: 12000 rows, 12 %\n", read(false, 20))
	require.Regexp(t, "^(\rreading train.jsonl: \\d+ rows, \\d %\x1b\\[K){11}\r\x1b\\[K$", read(true, 3))

	var out strings.Builder
	clock := time.Unix(0, 0)
	show, end := readingTo(&out, false, func() time.Time { clock = clock.Add(3 * time.Second); return clock })
	show("pipe", 7, 0)
	end()
	require.Equal(t, "reading pipe: 7 rows\n", out.String())
}
