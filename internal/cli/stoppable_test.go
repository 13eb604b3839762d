package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

// One signal is enough: a command that decodes ends with its exit code, one that waits for a line of stdin too, and one
// that has nothing to put in order is killed.
func TestInterrupt(t *testing.T) {
	const killed = -1
	draft := filepath.Join(finished(t), "run", "export")
	target, data := filepath.Join(base, "target"), filepath.Join(base, "train.jsonl")
	for _, c := range []struct {
		args  string
		input string
		ready string // what the command prints before the signal
		code  int
	}{
		{"eval --draft " + draft + " --target " + target + " --data " + data, "", "decoding", int(fail.Interrupted)},
		{"generate --chat --target " + target + " --max-new-tokens 4", "hello\n", "tokens/s", int(fail.Interrupted)},
		{"data tokens --model " + target, "\"hello\"\n", "ids", killed},
	} {
		t.Run(strings.Fields(c.args)[0], func(t *testing.T) {
			cmd := command(t, t.TempDir(), strings.Fields(c.args)...)
			in, err := cmd.StdinPipe() // which stays open
			require.NoError(t, err)
			out, err := os.Create(filepath.Join(cmd.Dir, "out"))
			require.NoError(t, err)
			defer out.Close()
			cmd.Stdout, cmd.Stderr = out, out
			require.NoError(t, cmd.Start())
			t.Cleanup(func() { cmd.Process.Kill() })
			_, err = in.Write([]byte(c.input))
			require.NoError(t, err)
			waitFor(t, c.ready, func() bool {
				text, err := os.ReadFile(out.Name())
				return err == nil && strings.Contains(string(text), c.ready)
			})
			require.NoError(t, cmd.Process.Signal(os.Interrupt))
			late := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
			cmd.Wait()
			require.True(t, late.Stop(), "the command went on")
			require.Equal(t, c.code, cmd.ProcessState.ExitCode())
		})
	}
}

// A signal while data is being read ends a command at once, and nothing is left behind.
func TestInterruptWhileReading(t *testing.T) {
	require.NoError(t, setUp())
	row := strings.Repeat(`{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"hello"}]}`+"\n", 1<<14)
	for _, args := range [][]string{
		train("data.data_path=/dev/fd/3", "data.sample_size=-1"),
		{"data", "check", "--model", filepath.Join(base, "target"), "--data", "/dev/fd/3"},
	} {
		cmd := command(t, t.TempDir(), args...)
		from, to, err := os.Pipe()
		require.NoError(t, err)
		defer to.Close() // the end of the data never comes
		cmd.ExtraFiles = []*os.File{from}
		out, started := start(t, cmd)
		require.NoError(t, from.Close())
		_, err = to.WriteString(row) // more than a pipe holds
		require.NoError(t, err)
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		r := finish(t, cmd, out, started)
		require.Equal(t, int(fail.Interrupted), r.code, r.out)
		require.Contains(t, r.out, "vkdomino: interrupted while reading /dev/fd/3\nhint: start the same command again\n")
		left, err := os.ReadDir(cmd.Dir)
		require.NoError(t, err)
		require.Empty(t, left)
	}
}
