package cli_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
)

// Processes killed at random moments, and one that is asked to stop: the run ends with the
// bits of one that nobody disturbed.
func TestKilledRunEndsWithTheBitsOfAnUndisturbedOne(t *testing.T) {
	total, kills := 40, 5
	if testgpu.Nightly() {
		total, kills = 420, 100
	}
	args := train("training.max_steps="+strconv.Itoa(total), "training.save_steps=3", "training.save_total_limit=2")
	whole, killed := t.TempDir(), t.TempDir()
	r := run(t, command(t, whole, args...))
	require.Zero(t, r.code, r.out)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := filepath.Join(killed, "run")
	for i := range kills + 1 {
		cmd := command(t, killed, args...)
		out, started := start(t, cmd)
		next := 1 + 4*i + random.IntN(4)
		ended := false
		waitFor(t, "the next steps", func() bool {
			ended = cmd.Process.Signal(syscall.Signal(0)) != nil
			return ended || rows(dir) >= next
		})
		time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
		if i < kills {
			require.NoError(t, cmd.Process.Kill())
			r = finish(t, cmd, out, started)
			require.Equal(t, -1, r.code, r.out)
			continue
		}
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		requireStopped(t, finish(t, cmd, out, started))
	}
	r = run(t, command(t, killed, args...))
	require.Zero(t, r.code, r.out)
	require.Contains(t, r.out, "going on from run/checkpoint-")
	requireSameRun(t, filepath.Join(whole, "run"), dir, "checkpoint-"+strconv.Itoa(total))
}

func requireStopped(t *testing.T, r result) {
	t.Helper()
	require.Equal(t, 130, r.code, r.out)
	require.Regexp(t, `vkdomino: interrupted after \d+ steps?; checkpoint written: run/checkpoint-\d+\nhint: the same command goes on from there\n`, r.out)
}

// A second process on the same folder is refused with the first one's pid, whatever it wants
// to do there, and the first goes on; SIGTERM then stops it as SIGINT does.
func TestFolderInUse(t *testing.T) {
	dir := t.TempDir()
	first := command(t, dir, train("training.max_steps=2000", "training.save_steps=2000")...)
	out, started := start(t, first)
	waitFor(t, "the first step", func() bool { return rows(filepath.Join(dir, "run")) > 0 })
	for _, more := range [][]string{nil, {"--fresh"}} {
		r := run(t, command(t, dir, append(train("training.max_steps=2000"), more...)...))
		require.Equal(t, 1, r.code, r.out)
		require.Contains(t, r.out, "run: in use by \"process "+strconv.Itoa(first.Process.Pid)+" on ")
		require.Contains(t, r.hint(), "training.output_dir")
	}
	asked := time.Now()
	require.NoError(t, first.Process.Signal(syscall.SIGTERM))
	requireStopped(t, finish(t, first, out, started))
	require.Less(t, time.Since(asked), 10*time.Second)
}

// limited is a process that may write no file of more than kib KiB.
func limited(t *testing.T, dir string, kib int, args ...string) *exec.Cmd {
	t.Helper()
	cmd := command(t, dir, args...)
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `ulimit -f "$0"; exec "$@"`, strconv.Itoa(2 * kib), program()}, args...)
	return cmd
}

// A checkpoint that cannot be written ends the run with code 5; what was there stays, nothing
// half-written is left, and with room the run goes on to the same bits.
func TestFullDisk(t *testing.T) {
	whole, full := finished(t), copyOf(t, finished(t))
	dir := filepath.Join(full, "run")
	for _, name := range []string{"checkpoint-4", "export", "curves.png"} {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, name)))
	}
	for _, kib := range []int{64, 1024} { // in the weights, and in the moments
		r := run(t, limited(t, full, kib, train()...))
		require.Equal(t, 5, r.code, r.out)
		require.Contains(t, r.out, "checkpoint: step 4: ")
		require.NotEmpty(t, r.hint())
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range left {
			require.NotContains(t, e.Name(), "tmp")
			require.NotContains(t, e.Name(), "checkpoint-4")
		}
		require.DirExists(t, filepath.Join(dir, "checkpoint-2"))
	}
	r := run(t, command(t, full, train()...))
	require.Zero(t, r.code, r.out)
	require.Contains(t, r.out, "going on from run/checkpoint-2")
	requireSameRun(t, filepath.Join(whole, "run"), dir, "checkpoint-4")
	require.FileExists(t, filepath.Join(dir, "curves.png"))
}

// asNobody lets a process run without root's right to write everywhere.
func asNobody(cmd *exec.Cmd) *exec.Cmd {
	if os.Getuid() == 0 {
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// A folder that cannot be written is found before the first step, whether or not there is a run in it.
func TestReadOnlyFolder(t *testing.T) {
	require.NoError(t, setUp())
	dir, err := os.MkdirTemp(base, "")
	require.NoError(t, err)
	require.Zero(t, run(t, command(t, dir, train("training.max_steps=2")...)).code)
	lock := filepath.Join(dir, "run", ".lock")
	require.NoError(t, os.Chmod(lock, 0o666))
	require.NoError(t, os.Chmod(filepath.Join(dir, "run"), 0o555))
	require.NoError(t, os.Chmod(dir, 0o555))
	t.Cleanup(func() { os.Chmod(dir, 0o755); os.Chmod(filepath.Join(dir, "run"), 0o755) })
	for _, c := range []struct{ override, want string }{
		{"training.output_dir=run", "trainer: output folder: atomicfile: write: open run: "},
		{"training.output_dir=new", "mkdir new: permission denied"},
	} {
		r := run(t, asNobody(command(t, dir, train(c.override)...)))
		require.Equal(t, 5, r.code, r.out)
		require.Contains(t, r.out, c.want)
		require.Contains(t, r.out, "permission denied")
		require.Contains(t, r.hint(), "training.output_dir")
		require.NotContains(t, r.out, "step 1/")
		require.Less(t, r.took, 5*time.Second)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "run", "rows.jsonl"), nil, 0o444))
	for want, args := range map[string][]string{
		"--json: run/x.json: its folder: permission denied": {"bench", "step", "--json", "run/x.json"},
		"--out: open run/rows.jsonl: permission denied":     {"data", "regenerate", "--target", "x", "--data", "x", "--out", "run/rows.jsonl"},
		"export: run/new/draft: ":                           {"export", "run/checkpoint-2", "run/new/draft"},
	} {
		r := run(t, asNobody(command(t, dir, args...)))
		require.Equal(t, 5, r.code, r.out)
		require.Contains(t, r.out, want)
	}
}

// Twenty steps with checkpoints and export under the validation layer and its synchronisation
// checks: not a message of error severity.
func TestValidationLayerIsSilent(t *testing.T) {
	dir := t.TempDir()
	cmd := command(t, dir, train("training.max_steps=20", "training.save_steps=8", "training.gradient_accumulation_steps=2", "run.precision=bf16")...)
	cmd.Env = append(os.Environ(), "VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation",
		"VK_LAYER_ENABLES=VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT", "VK_LOADER_DEBUG=layer")
	r := run(t, cmd)
	require.Zero(t, r.code, r.out)
	require.Regexp(t, `(?i)insert instance layer.*VK_LAYER_KHRONOS_validation`, r.out, "the layer was not there")
	for _, bad := range []string{"Validation Error", "VUID-", "SYNC-HAZARD", "UNASSIGNED-"} {
		require.NotContains(t, r.out, bad)
	}
	require.Equal(t, 20, rows(filepath.Join(dir, "run")), strings.TrimSpace(r.out))
}
