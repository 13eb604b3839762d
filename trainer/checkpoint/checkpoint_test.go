package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"vkdomino/internal/atomicfile"
	"vkdomino/internal/fail"
	"vkdomino/tensors"
)

// param is a tensor whose values tell step, name and role.
func param(step int, name string, shape ...int) Param {
	n := 1
	for _, d := range shape {
		n *= d
	}
	values := func(role float32) func() ([]float32, error) {
		return func() ([]float32, error) {
			out := make([]float32, n)
			for i := range out {
				out[i] = float32(step)*1.1 + role + float32(i)*1e-7
			}
			return out, nil
		}
	}
	return Param{Name: name, Shape: shape, Master: values(0.1), M: values(0.2), V: values(0.3)}
}

func params(step int) []Param {
	return []Param{param(step, "fc.weight", 3, 5), param(step, "norm.weight", 3), param(step, "prefix_gru.weight_hh_l0", 6, 2)}
}

func state(step int) State {
	return State{
		Step: step, TotalSteps: 600, UpdatesApplied: step, Seed: 42, RNGScheme: "splitmix64-1", RopeTheta: 1e6,
		Recipe: map[string]string{"training.max_steps": "600"}, RecipeJSON: json.RawMessage(`{"training":{"max_steps":600}}`),
		Best: &Best{Step: 1, Tau: 1.25}, LogTail: []json.RawMessage{json.RawMessage(`{"loss":2.5}`)},
		Target: "t", Tokenizer: "k", Data: "d",
	}
}

// saved makes an output folder with checkpoints of the given steps.
func saved(t *testing.T, steps ...int) string {
	t.Helper()
	dir := t.TempDir()
	for _, step := range steps {
		require.NoError(t, Save(dir, state(step), params(step)))
	}
	return dir
}

func dirNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// newest is the path of what Resume opens, "" where there is no checkpoint.
func newest(outputDir string) (path string, skipped []Corrupt, err error) {
	l, skipped, err := Resume(context.Background(), outputDir)
	if err != nil || l == nil {
		return "", skipped, err
	}
	return l.Path(), skipped, l.Close()
}

// requireStep loads path and checks that it is the checkpoint of a step in every value.
func requireStep(t *testing.T, path string, step int) {
	t.Helper()
	l, err := Load(t.Context(), path)
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, step, l.State.Step)
	for _, p := range params(step) {
		shape, ok := l.Shape(p.Name)
		require.True(t, ok)
		require.Equal(t, p.Shape, shape)
		want, _ := p.Master()
		got, err := l.Tensor(p.Name)
		require.NoError(t, err)
		require.Equal(t, want, got)
		m, v, err := l.Moments(p.Name)
		require.NoError(t, err)
		want, _ = p.M()
		require.Equal(t, want, m)
		want, _ = p.V()
		require.Equal(t, want, v)
	}
}

func TestSaveThenLoad(t *testing.T) {
	dir := saved(t, 7)
	require.Equal(t, []string{"checkpoint-7"}, dirNames(t, dir))
	require.ElementsMatch(t, []string{ManifestFile, ModelFile, OptimizerFile, StateFile}, dirNames(t, Dir(dir, 7)))
	requireStep(t, Dir(dir, 7), 7)
	l, err := Load(t.Context(), Dir(dir, 7))
	require.NoError(t, err)
	defer l.Close()
	want := state(7)
	want.FormatVersion = Version
	want.RecipeJSON = l.State.RecipeJSON
	want.DraftJSON, want.Trainer = json.RawMessage("null"), json.RawMessage("null")
	require.JSONEq(t, string(state(7).RecipeJSON), string(l.State.RecipeJSON))
	want.LogTail = l.State.LogTail
	require.JSONEq(t, `{"loss":2.5}`, string(l.State.LogTail[0]))
	require.Equal(t, want, l.State)
	require.Equal(t, []string{"fc.weight", "norm.weight", "prefix_gru.weight_hh_l0"}, l.Names())
	_, err = l.Tensor("lm_head.weight")
	require.ErrorIs(t, err, ErrCorrupt)
	_, _, err = l.Moments("lm_head.weight")
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestMastersAndMomentsAreStoredInFloat32(t *testing.T) {
	dir := saved(t, 1)
	for file, n := range map[string]int{ModelFile: 3, OptimizerFile: 6} {
		f, err := tensors.OpenFile(filepath.Join(Dir(dir, 1), file))
		require.NoError(t, err)
		require.Len(t, f.Names(), n)
		for _, name := range f.Names() {
			dt, _, _ := f.Info(name)
			require.Equal(t, tensors.F32, dt, name)
		}
		require.NoError(t, f.Close())
	}
}

func TestSavingAStepAgainReplacesIt(t *testing.T) {
	dir := saved(t, 5)
	require.NoError(t, os.WriteFile(filepath.Join(Dir(dir, 5), StateFile), []byte("{}"), 0o644))
	require.NoError(t, Save(dir, state(5), params(5)))
	requireStep(t, Dir(dir, 5), 5)
	require.Equal(t, []string{"checkpoint-5"}, dirNames(t, dir))
}

func TestNewestIsNumericAndPassesOverDamage(t *testing.T) {
	dir := saved(t, 5000, 900, 10000)
	path, skipped, err := newest(dir)
	require.NoError(t, err)
	require.Empty(t, skipped)
	require.Equal(t, Dir(dir, 10000), path)

	require.NoError(t, os.Truncate(filepath.Join(Dir(dir, 10000), ModelFile), 100))
	path, skipped, err = newest(dir)
	require.NoError(t, err)
	require.Equal(t, Dir(dir, 5000), path)
	require.Len(t, skipped, 1)
	require.Equal(t, Dir(dir, 10000), skipped[0].Path)
	require.ErrorIs(t, skipped[0].Err, ErrCorrupt)
}

func TestNewestOfNothing(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		path, skipped, err := newest(dir)
		require.NoError(t, err)
		require.Empty(t, path)
		require.Empty(t, skipped)
	}
	dir := t.TempDir()
	for _, name := range []string{"checkpoint-3.tmp", "checkpoint-", "checkpoint-07", "checkpoint--1", "checkpoint-x", "export"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	path, _, err := newest(dir)
	require.NoError(t, err)
	require.Empty(t, path)
}

func TestNoneThatVerifiesIsAnError(t *testing.T) {
	dir := saved(t, 1, 2)
	require.NoError(t, os.Remove(filepath.Join(Dir(dir, 1), ManifestFile)))
	require.NoError(t, os.Remove(filepath.Join(Dir(dir, 2), OptimizerFile)))
	_, skipped, err := newest(dir)
	require.ErrorIs(t, err, ErrCorrupt)
	require.Len(t, skipped, 2)
	require.ErrorContains(t, err, "checkpoint-2: checkpoint is damaged: optimizer.safetensors: no such file")
	require.ErrorContains(t, err, "checkpoint-1: checkpoint is damaged: manifest.json: no such file")
	require.Contains(t, fail.HintOf(err), "--fresh")
	require.Equal(t, fail.Other, fail.CodeOf(err))
}

func TestRotate(t *testing.T) {
	cases := []struct {
		name       string
		keep, best int
		damage     []int
		want       string
	}{
		{"two newest", 2, 0, nil, "checkpoint-30 checkpoint-40"},
		{"two newest and the best", 2, 10, nil, "checkpoint-10 checkpoint-30 checkpoint-40"},
		{"the best is among the newest", 2, 40, nil, "checkpoint-30 checkpoint-40"},
		{"no limit", 0, 0, nil, "checkpoint-10 checkpoint-20 checkpoint-30 checkpoint-40"},
		{"limit above the number", 9, 0, nil, "checkpoint-10 checkpoint-20 checkpoint-30 checkpoint-40"},
		{"a damaged newest one is not counted", 1, 0, []int{40}, "checkpoint-30 checkpoint-40"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := saved(t, 10, 20, 30, 40)
			for _, step := range c.damage {
				require.NoError(t, os.Remove(filepath.Join(Dir(dir, step), StateFile)))
			}
			require.NoError(t, Rotate(dir, c.keep, c.best))
			require.Equal(t, c.want, strings.Join(dirNames(t, dir), " "))
		})
	}
	dir := saved(t, 1, 2)
	for _, step := range []int{1, 2} {
		require.NoError(t, os.Remove(filepath.Join(Dir(dir, step), StateFile)))
	}
	require.ErrorIs(t, Rotate(dir, 1, 0), ErrCorrupt)
	require.Len(t, dirNames(t, dir), 2, "nothing is removed where nothing verifies")
	require.NoError(t, Rotate(dir, 2, 0), "nothing is read where nothing is to be removed")
	require.NoError(t, Rotate(dir, 1, 1), "nor where only the best is older")
	require.NoError(t, Rotate(t.TempDir(), 1, 0))
}

func TestClean(t *testing.T) {
	dir := saved(t, 1, 2)
	for _, name := range []string{"checkpoint-3.tmp", filepath.Base(atomicfile.ParkedDir(Dir(dir, 2))), "mine.tmp", "checkpoint-x.tmp", "checkpoint-2.old"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	require.NoError(t, os.Rename(Dir(dir, 1), atomicfile.ParkedDir(Dir(dir, 1))))
	require.NoError(t, Clean(dir))
	require.ElementsMatch(t, []string{"checkpoint-1", "checkpoint-2", "mine.tmp", "checkpoint-x.tmp", "checkpoint-2.old"}, dirNames(t, dir))
	requireStep(t, Dir(dir, 1), 1)
	require.NoError(t, Clean(filepath.Join(dir, "none")))
}

func TestSaveThatFailsLeavesThePreviousOne(t *testing.T) {
	lost := fail.New(fail.DeviceLost, "", "vk: device lost")
	broken := func() ([]float32, error) { return nil, lost }
	for i := range 3 {
		for role := range 3 {
			dir := saved(t, 1)
			list := params(2)
			*[]*func() ([]float32, error){&list[i].Master, &list[i].M, &list[i].V}[role] = broken
			err := Save(dir, state(2), list)
			require.ErrorIs(t, err, lost)
			require.Equal(t, fail.DeviceLost, fail.CodeOf(err))
			require.Equal(t, []string{"checkpoint-1"}, dirNames(t, dir))
			path, skipped, err := newest(dir)
			require.NoError(t, err)
			require.Empty(t, skipped)
			requireStep(t, path, 1)
		}
	}
}

func TestSaveChecksTheSpaceFirst(t *testing.T) {
	dir := t.TempDir()
	huge := Param{Name: "w", Shape: []int{1 << 30, 1 << 20}, Master: func() ([]float32, error) { return nil, errors.New("called") }}
	err := Save(dir, state(1), []Param{huge})
	require.Equal(t, fail.Disk, fail.CodeOf(err))
	require.ErrorContains(t, err, "want 12884901896 MiB of free disk space for a checkpoint")
	require.Empty(t, dirNames(t, dir))
}

func TestSaveIntoWhatIsNoFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	err := Save(file, state(1), params(1))
	require.Equal(t, fail.Disk, fail.CodeOf(err))
	_, _, err = newest(file)
	require.Error(t, err)
}

func TestLegacyNamesAreMapped(t *testing.T) {
	dir := t.TempDir()
	list := []Param{param(1, "dflash_module.fc.weight", 2), param(1, "dflash_module.logit_head.prefix_gru.weight_hh_l0", 2),
		param(1, "logit_head.embed_proj.0.weight", 2)}
	require.NoError(t, Save(dir, state(1), list))
	l, err := Load(t.Context(), Dir(dir, 1))
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, []string{"embed_proj.0.weight", "fc.weight", "prefix_gru.weight_hh_l0"}, l.Names())
	got, err := l.Tensor("fc.weight")
	require.NoError(t, err)
	require.Len(t, got, 2)
	_, _, err = l.Moments("prefix_gru.weight_hh_l0")
	require.NoError(t, err)
}

// The variables that make a run of this test binary a process that dies while saving.
const (
	envDir   = "CHECKPOINT_TEST_DIR"
	envStage = "CHECKPOINT_TEST_STAGE"
	envStep  = "CHECKPOINT_TEST_STEP"
	envLimit = "CHECKPOINT_TEST_LIMIT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" && os.Getenv(envLimit) != "" {
		saveOnASmallDisk(dir, os.Getenv(envLimit))
	} else if dir != "" {
		dieWhileSaving(dir, os.Getenv(envStage), os.Getenv(envStep))
	}
	os.Exit(m.Run())
}

// dieWhileSaving saves a step and kills its own process at a stage, or when the values of a tensor are asked for.
func dieWhileSaving(dir, stage, stepText string) {
	die := func() { syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} }
	step, err := strconv.Atoi(stepText)
	if err != nil {
		os.Exit(3)
	}
	list := params(step)
	for i := range list {
		p := &list[i]
		for role, get := range map[string]*func() ([]float32, error){"master": &p.Master, "m": &p.M, "v": &p.V} {
			if stage == p.Name+" "+role {
				*get = func() ([]float32, error) { die(); return nil, nil }
			}
		}
	}
	s := saver{at: func(now string) {
		if now == stage {
			die()
		}
	}}
	if err := s.save(dir, state(step), list); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(4)
}

func TestKillWhileSaving(t *testing.T) {
	stages := []string{ModelFile, "fc.weight master", "norm.weight master", OptimizerFile, "fc.weight m", "norm.weight v",
		"prefix_gru.weight_hh_l0 v", StateFile, ManifestFile, "rename", "done"}
	for _, overwrite := range []bool{false, true} {
		for _, stage := range stages {
			t.Run(fmt.Sprintf("%s overwrite %v", stage, overwrite), func(t *testing.T) {
				dir, step := saved(t, 1), 2
				if overwrite {
					step = 1
				}
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), envDir+"="+dir, envStage+"="+stage, envStep+"="+strconv.Itoa(step))
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				require.ErrorAs(t, err, &exit, "%s", out)
				require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s", out)

				require.NoError(t, Clean(dir))
				want := 1
				if stage == "done" {
					want = step
				}
				path, skipped, err := newest(dir)
				require.NoError(t, err)
				require.Empty(t, skipped)
				requireStep(t, path, want)
				for _, name := range dirNames(t, dir) {
					require.NotContains(t, name, "tmp")
				}
			})
		}
	}
}

// saveOnASmallDisk saves step 2 where no file can grow beyond limit bytes, and exits with the error's exit code.
func saveOnASmallDisk(dir, limit string) {
	signal.Ignore(syscall.SIGXFSZ)
	n, err := strconv.ParseUint(limit, 10, 64)
	if err == nil {
		err = syscall.Setrlimit(unix.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n})
	}
	if err != nil {
		os.Exit(100)
	}
	if err := Save(dir, state(2), params(2)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(int(fail.CodeOf(err)))
	}
	os.Exit(0)
}

func TestDiskThatFillsUpWhileSaving(t *testing.T) {
	dir := saved(t, 1)
	full := 0
	for limit := 0; limit < 1400; limit += 50 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envDir+"="+dir, envLimit+"="+strconv.Itoa(limit))
		out, err := cmd.CombinedOutput()
		path, skipped, newestErr := newest(dir)
		require.NoError(t, newestErr)
		require.Empty(t, skipped)
		if err == nil {
			requireStep(t, path, 2)
			break
		}
		full++
		require.Equal(t, int(fail.Disk), cmd.ProcessState.ExitCode(), "limit %d: %s", limit, out)
		requireStep(t, path, 1)
		require.Equal(t, []string{"checkpoint-1"}, dirNames(t, dir), "temporary files are removed")
	}
	require.GreaterOrEqual(t, full, 10)
	requireStep(t, Dir(dir, 2), 2)
}

// Verifying ends with ctx, which says nothing of the checkpoint.
func TestInterruptWhileVerifying(t *testing.T) {
	dir := saved(t, 2, 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, loading := Load(ctx, Dir(dir, 2))
	l, skipped, resuming := Resume(ctx, dir)
	require.Nil(t, l)
	require.Empty(t, skipped)
	for step, err := range map[int]error{2: loading, 3: resuming} {
		require.EqualError(t, err, "interrupted while reading "+Dir(dir, step))
		require.Equal(t, fail.Interrupted, fail.CodeOf(err))
		require.NotErrorIs(t, err, ErrCorrupt)
		require.NotEmpty(t, fail.HintOf(err))
	}
}
