package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests of this package's _test files that need processes of their own run the real
// program: it is built once, and lies beside a copy of the demo's target and data that any
// user may read.

// base is the folder of the program and of what all tests read.
var base string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if base, err = os.MkdirTemp("", "vkdomino-cli-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(base)
		return m.Run()
	}())
}

// recipeText trains one layer on a few rows of the demo; %s is the folder base.
const recipeText = `[model]
model_name_or_path = "%[1]s/target"
[data]
data_path   = "%[1]s/train.jsonl"
sample_size = 11
[training]
output_dir                  = "run"
max_steps                   = 4
per_device_train_batch_size = 2
training_seq_len            = 48
answer_only_loss            = true
learning_rate               = 1e-2
logging_steps               = 2
save_steps                  = 2
[dflash]
dflash_block_size              = 4
dflash_num_anchors             = 3
dflash_mask_token_id           = 1003
dflash_loss_objective          = "decay"
dflash_loss_decay_factor       = 4.0
dflash_self_logit_distillation = false
[dflash.dflash_architecture_config]
projector_type        = "domino"
num_hidden_layers     = 1
emb_dim               = 16
gru_hidden_dim        = 32
pure_draft_prefix_len = 1
shift_label           = true
[run]
precision = "f32"
progress  = false
`

// setUp builds the program and lays out what the tests read.
var setUp = sync.OnceValue(func() error {
	build := exec.Command("go", "build", "-o", program(), "vkdomino")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := os.CopyFS(filepath.Join(base, "target"), os.DirFS("../../testdata/demo/target")); err != nil {
		return err
	}
	data, err := os.ReadFile("../../testdata/demo/train.jsonl")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(base, "train.jsonl"), data, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(recipePath(), fmt.Appendf(nil, recipeText, base), 0o644); err != nil {
		return err
	}
	return os.Chmod(base, 0o755)
})

func program() string    { return filepath.Join(base, "vkdomino") }
func recipePath() string { return filepath.Join(base, "recipe.toml") }

// finishedRun makes the folder of a run of the tests' recipe once, for all who read it.
var finishedRun = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(base, "finished")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return dir, err
	}
	cmd := exec.Command(program(), train()...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

// finished is a folder with a finished run in run/, checkpoint-2 and checkpoint-4 in it. It is not to be changed.
func finished(t *testing.T) string {
	t.Helper()
	require.NoError(t, setUp())
	dir, err := finishedRun()
	require.NoError(t, err)
	return dir
}

// copyOf copies a folder.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// result is what a process left.
type result struct {
	code int
	out  string // stdout and stderr
	took time.Duration
}

// crash is what no message may contain.
var crash = regexp.MustCompile(`panic:|goroutine \d+|runtime error|fatal error|SIG[A-Z]+:|\.go:\d+`)

// command prepares a process in the folder dir.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	require.NoError(t, setUp())
	cmd := exec.Command(program(), args...)
	cmd.Dir = dir
	return cmd
}

// finish waits for a process that has been started with its output in out.
func finish(t *testing.T, cmd *exec.Cmd, out *bytes.Buffer, started time.Time) result {
	t.Helper()
	err := cmd.Wait()
	var exit *exec.ExitError
	require.True(t, err == nil || errors.As(err, &exit), "%v", err)
	r := result{code: cmd.ProcessState.ExitCode(), out: out.String(), took: time.Since(started)}
	require.NotRegexp(t, crash, r.out)
	return r
}

// start begins a process; its output is complete once finish has returned.
func start(t *testing.T, cmd *exec.Cmd) (out *bytes.Buffer, started time.Time) {
	t.Helper()
	out = &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	started = time.Now()
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() }) // one that has ended is left alone
	return out, started
}

// run runs a process to its end.
func run(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	out, started := start(t, cmd)
	return finish(t, cmd, out, started)
}

// train is the command line of a run of the tests' recipe.
func train(overrides ...string) []string {
	return append([]string{"train", recipePath()}, overrides...)
}

// hint returns the hint line of an output, "" where it has none.
func (r result) hint() string {
	for line := range strings.Lines(r.out) {
		if text, ok := strings.CutPrefix(line, "hint: "); ok {
			return strings.TrimSpace(text)
		}
	}
	return ""
}

// rows counts the whole lines of a run's metrics.
func rows(dir string) int {
	text, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		return 0
	}
	return bytes.Count(text, []byte("\n"))
}

// waitFor polls until done, and fails the test after a minute.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(2 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "waited a minute for %s", what)
	}
}

// metricsOf is a run's metrics without clock times.
func metricsOf(t *testing.T, dir string) []map[string]any {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "metrics.jsonl"))
	require.NoError(t, err)
	defer f.Close()
	var list []map[string]any
	for d := json.NewDecoder(f); ; {
		var row map[string]any
		if err := d.Decode(&row); errors.Is(err, io.EOF) {
			return list
		} else {
			require.NoError(t, err)
		}
		delete(row, "seconds")
		list = append(list, row)
	}
}

// requireSameRun compares the last checkpoint, the export and the metrics of two runs bit for bit.
func requireSameRun(t *testing.T, want, got, checkpoint string) {
	t.Helper()
	for _, name := range []string{checkpoint + "/model.safetensors", checkpoint + "/optimizer.safetensors", "export/model.safetensors", "export/config.json"} {
		a, err := os.ReadFile(filepath.Join(want, name))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(got, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(a, b), "%s differs", name)
	}
	require.Equal(t, metricsOf(t, want), metricsOf(t, got))
}
