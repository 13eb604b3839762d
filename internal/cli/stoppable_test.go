package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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
		says  string
	}{
		{"eval --draft " + draft + " --target " + target + " --data " + data, "", "decoding", int(fail.Interrupted), "vkdomino: interrupted: no result was written\nhint: "},
		{"generate --chat --target " + target + " --max-new-tokens 4", "hello\n", "tokens/s", int(fail.Interrupted), "vkdomino: interrupted\nhint: "},
		{"generate --target " + target + " --prompt x --max-new-tokens 2000", "", " ", int(fail.Interrupted), "vkdomino: interrupted: the answer is cut off\nhint: "},
		{"selftest", "", "tiny-b4 (f32)", int(fail.Interrupted), " cases run\nhint: "},
		{"data tokens --model " + target, "\"hello\"\n", "ids", killed, ""},
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
			text, err := os.ReadFile(out.Name())
			require.NoError(t, err)
			require.Contains(t, string(text), c.says)
			require.NotContains(t, string(text), "context canceled")
		})
	}
}

// What a closed terminal sends, SIGHUP twice, ends a run with a checkpoint; under nohup it goes on.
func TestClosedTerminal(t *testing.T) {
	dir := t.TempDir()
	begin := func(prefix string) (*exec.Cmd, *bytes.Buffer, time.Time) {
		cmd := command(t, dir, train("training.max_steps=2000", "training.save_steps=2000")...)
		if prefix != "" {
			cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", prefix + `exec "$0" "$@"`}, cmd.Args...)
		}
		before := rows(filepath.Join(dir, "run"))
		out, started := start(t, cmd)
		waitFor(t, "a step", func() bool { return rows(filepath.Join(dir, "run")) > before+1 })
		return cmd, out, started
	}
	cmd, out, started := begin("")
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	time.Sleep(time.Millisecond)
	cmd.Process.Signal(syscall.SIGHUP) // it may have ended
	requireStopped(t, finish(t, cmd, out, started))

	cmd, out, started = begin(`trap "" HUP; `)
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	now := rows(filepath.Join(dir, "run"))
	waitFor(t, "more steps", func() bool { return rows(filepath.Join(dir, "run")) > now+3 })
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	requireStopped(t, finish(t, cmd, out, started))
}

// A run outlives what reads its output; other commands die quietly.
func TestClosedPipe(t *testing.T) {
	draft := filepath.Join(finished(t), "run", "export")
	eval := []string{"eval", "--draft", draft, "--target", filepath.Join(base, "target"), "--data", filepath.Join(base, "train.jsonl"),
		"--prompts", "1", "--max-new-tokens", "4", "--html", "page.html", "--json", "result.json"}
	for _, c := range []struct {
		args  []string
		code  int
		files []string
	}{
		{train("training.logging_steps=1"), 0, []string{"run/checkpoint-4/manifest.json", "run/export/config.json"}},
		{[]string{"doctor"}, -1, nil},
		{eval, -1, []string{"page.html", "result.json"}},
	} {
		cmd := command(t, t.TempDir(), c.args...)
		r, w, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, r.Close())
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &said
		err = cmd.Run()
		require.NoError(t, w.Close())
		require.Equal(t, c.code, cmd.ProcessState.ExitCode(), "%v: %s", err, said.String())
		require.NotContains(t, said.String(), "vkdomino: ")
		for _, name := range c.files {
			require.FileExists(t, filepath.Join(cmd.Dir, name))
		}
	}
}

// A result that standard output did not take is an error of writing, whatever command made it; a run's record is in
// its folder.
func TestFullOutput(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("not run: only Linux has /dev/full")
	}
	draft := filepath.Join(finished(t), "run", "export")
	target, data := filepath.Join(base, "target"), filepath.Join(base, "train.jsonl")
	golden, err := filepath.Abs("../../testdata/golden/dflash-b8")
	require.NoError(t, err)
	eval := "eval --draft " + draft + " --target " + target + " --data " + data + " --prompts 1 --max-new-tokens 4"
	for _, c := range []struct {
		args, input string
		code        int
	}{
		{"data render --model " + target, `{"text": "a"}` + "\n", 5},
		{"data tokens --model " + target, `"a"` + "\n", 5},
		{"data check --model " + target + " --data " + data, "", 5},
		{eval, "", 5},
		{eval + " --json -", "", 5},
		{"generate --target " + target + " --prompt x --max-new-tokens 2", "", 5},
		{"doctor", "", 5},
		{"selftest --case " + golden, "", 5},
		{"--version", "", 5},
		{"train --help", "", 5},
		{strings.Join(train(), " "), "", 0},
	} {
		t.Run(c.args, func(t *testing.T) {
			cmd := command(t, t.TempDir(), strings.Fields(c.args)...)
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			require.NoError(t, err)
			defer full.Close()
			var said bytes.Buffer
			cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(c.input), full, &said
			cmd.Run()
			require.Equal(t, c.code, cmd.ProcessState.ExitCode(), said.String())
			if c.code != 0 {
				require.Regexp(t, `vkdomino: (generate: )?stdout: write /dev/stdout: no space left on device\nhint: .+\n$`, said.String())
			}
		})
	}
}

// A signal while data is being read ends a command at once, and nothing is left behind.
func TestInterruptWhileReading(t *testing.T) {
	require.NoError(t, setUp())
	path := filepath.Join(t.TempDir(), "many.jsonl")
	row := `{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"hello"}]}` + "\n"
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat(row, 1<<18)), 0o600)) // seconds of work
	for _, args := range [][]string{
		train("data.data_path="+path, "data.sample_size=-1"),
		{"data", "check", "--model", filepath.Join(base, "target"), "--data", path},
	} {
		cmd := command(t, t.TempDir(), args...)
		out, started := start(t, cmd)
		require.Eventually(t, func() bool { return hasOpen(cmd.Process.Pid, path) }, 20*time.Second, time.Millisecond)
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		r := finish(t, cmd, out, started)
		require.Equal(t, int(fail.Interrupted), r.code, r.out)
		require.Contains(t, r.out, "vkdomino: interrupted while reading "+path+"\nhint: start the same command again\n")
		left, err := os.ReadDir(cmd.Dir)
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// hasOpen says whether a process has a file open.
func hasOpen(pid int, path string) bool {
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return slices.ContainsFunc(list, func(fd string) bool {
		name, err := os.Readlink(fd)
		return err == nil && name == path
	})
}
