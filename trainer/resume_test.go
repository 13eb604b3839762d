package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/metrics"
)

const steps = 7 // of the tiny recipe

// A run that was stopped, at any step, goes on to the bits of one that was not: masters,
// moments, metrics, state. Source: spec.md §12.
func TestResumedRunHasTheBitsOfAnUninterruptedOne(t *testing.T) {
	dflash := `dflash.dflash_architecture_config.projector_type="dflash"`
	for _, c := range []struct {
		name      string
		overrides []string
		stops     []int // steps of each process; the last one goes to the end
	}{
		{"domino, in the middle of the epochs", nil, []int{2, 3}},
		{"domino, after every step", nil, []int{1, 1, 1, 1, 1, 1}},
		{"domino in bf16", []string{"run.precision=bf16"}, []int{3}},
		{"accumulation with a short last step", []string{"training.gradient_accumulation_steps=3"}, []int{3}},
		{"global normalisation", []string{"training.gradient_accumulation_steps=2", "compat.global_normalization=true"}, []int{4}},
		{"distillation", []string{set("self_logit_distillation", true), "compat.distillation_weight=0.5"}, []int{3}},
		{"from the target's layers", []string{"compat.init_from_target_layers=[0]"}, []int{4}},
		{"profile modelopt", []string{`compat.profile="modelopt"`, set("self_logit_distillation", false)}, []int{4}},
		{"plain DFlash", []string{dflash}, []int{4}},
		{"plain DFlash with D-PACE", []string{dflash, set("loss_objective", `"dpace"`)}, []int{5}},
		{"sliding window", []string{set("swa_window_size", 6)}, []int{5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			whole, stopped := t.TempDir(), t.TempDir()
			trained(t, whole, c.overrides...)
			done := 0
			for _, n := range c.stops {
				_, err := train(t, stopped, n, Options{}, c.overrides...)
				require.Equal(t, fail.Interrupted, fail.CodeOf(err), "%v", err)
				done += n
				require.ErrorContains(t, err, checkpoint.Dir(stopped, done))
			}
			require.Contains(t, trained(t, stopped, c.overrides...), "going on from "+checkpoint.Dir(stopped, done))
			requireSameRun(t, whole, stopped, steps)
			requireSameBytes(t, filepath.Join(whole, exportDir, "model.safetensors"), filepath.Join(stopped, exportDir, "model.safetensors"))
		})
	}
}

func TestSameRecipeGivesSameBits(t *testing.T) {
	a, b, other := t.TempDir(), t.TempDir(), t.TempDir()
	trained(t, a)
	trained(t, b)
	requireSameRun(t, a, b, steps)
	trained(t, other, "training.seed=43")
	x, err := load(t, checkpoint.Dir(a, steps)).Tensor("fc.weight")
	require.NoError(t, err)
	y, err := load(t, checkpoint.Dir(other, steps)).Tensor("fc.weight")
	require.NoError(t, err)
	require.NotEqual(t, x, y, "another seed must give another draft")
}

// A run that goes on keeps the kernels that were chosen for its products.
func TestResumeKeepsTheChosenKernels(t *testing.T) {
	chosen, dir, c := map[string]string{"nt 64x64x64 f32": "T3 128x128x64 by 256"}, t.TempDir(), sharedContext(t)
	t.Cleanup(func() { c.Tune(nil) })
	tuning := func(kernels map[string]string) *ops.Tuning {
		tuning, err := ops.NewTuning(c.Device)
		require.NoError(t, err)
		tuning.Fix(kernels)
		c.Tune(tuning)
		return tuning
	}
	tuning(chosen)
	_, err := train(t, dir, 2, Options{})
	require.Equal(t, fail.Interrupted, fail.CodeOf(err))
	later := tuning(map[string]string{"nt 64x64x64 f32": "T2 64x64x32 of 32x32"})
	_, err = train(t, dir, 1, Options{})
	require.Equal(t, fail.Interrupted, fail.CodeOf(err))
	require.Equal(t, chosen["nt 64x64x64 f32"], later.Kernels()["nt 64x64x64 f32"])
}

// A checkpoint of an earlier step is what counts; rows of metrics beyond it are written again.
func TestResumeCutsMetricsBeyondTheCheckpoint(t *testing.T) {
	whole, killed := t.TempDir(), t.TempDir()
	trained(t, whole)
	_, err := train(t, killed, 5, Options{}, "training.save_steps=3")
	require.Equal(t, fail.Interrupted, fail.CodeOf(err))
	require.NoError(t, os.RemoveAll(checkpoint.Dir(killed, 5))) // as if it had been killed after 5 steps
	torn, err := os.OpenFile(filepath.Join(killed, metricsFile), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = torn.WriteString(`{"step":5,"loss":`)
	require.NoError(t, err)
	require.NoError(t, torn.Close())
	require.Len(t, readRows(t, killed), 5)
	text := trained(t, killed)
	require.Contains(t, text, "going on from "+checkpoint.Dir(killed, 3))
	require.Contains(t, text, "changed since the checkpoint: training.save_steps: was 3, now 100")
	require.Regexp(t, `(?m)^memory: \d+\.\d MiB planned, \d+\.\d MiB allocated$`, text)
	requireRows(t, whole, killed)
}

func requireRows(t *testing.T, wantDir, gotDir string) {
	t.Helper()
	want, got := readRows(t, wantDir), readRows(t, gotDir)
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, withoutTime(t, want[i]), withoutTime(t, got[i]))
	}
}

func TestDamagedCheckpointIsPassedOver(t *testing.T) {
	whole, damaged := t.TempDir(), t.TempDir()
	trained(t, whole, "training.save_steps=3")
	trained(t, damaged, "training.save_steps=3")
	for _, step := range []int{6, 7} {
		path := filepath.Join(checkpoint.Dir(damaged, step), checkpoint.ModelFile)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		text[len(text)/2] ^= 1
		require.NoError(t, os.WriteFile(path, text, 0o644))
	}
	text := trained(t, damaged, "training.save_steps=3")
	require.Contains(t, text, "warning: "+checkpoint.Dir(damaged, 7)+" is passed over")
	require.Contains(t, text, "warning: "+checkpoint.Dir(damaged, 6)+" is passed over")
	require.Contains(t, text, "going on from "+checkpoint.Dir(damaged, 3))
	requireSameRun(t, whole, damaged, steps)
}

func TestFinishedRun(t *testing.T) {
	dir := t.TempDir()
	first := trained(t, dir)
	require.Contains(t, first, "exported the draft: "+filepath.Join(dir, exportDir))
	require.FileExists(t, filepath.Join(dir, curvesFile))
	again := trained(t, dir)
	require.Contains(t, again, "is finished: 7 steps; --fresh begins anew")
	require.NotContains(t, again, "exported")

	require.NoError(t, os.RemoveAll(filepath.Join(dir, exportDir)))
	require.Contains(t, trained(t, dir), "exported the draft", "a missing export is made again")

	curves := filepath.Join(dir, curvesFile)
	drawn, err := os.ReadFile(curves)
	require.NoError(t, err)
	require.NoError(t, os.Remove(curves))
	require.NotContains(t, trained(t, dir), "exported")
	requireFile(t, drawn, curves, "missing curves are drawn again")
	require.NoError(t, os.WriteFile(curves, nil, 0o644))
	require.NoError(t, os.Chtimes(curves, time.Unix(0, 0), time.Unix(0, 0)))
	trained(t, dir)
	requireFile(t, drawn, curves, "so are those of an earlier run")

	more := trained(t, dir, "training.max_steps=8")
	require.Contains(t, more, "warning: the run now has 8 steps instead of 7")
	require.Len(t, readRows(t, dir), 8)
	require.FileExists(t, filepath.Join(checkpoint.Dir(dir, 8), checkpoint.ManifestFile))
}

func requireFile(t *testing.T, want []byte, path, why string) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), why)
}

// A run that dies between its last checkpoint and the export leaves the export of an earlier run.
func TestFinishedRunRenewsAnOlderExport(t *testing.T) {
	dir, config := t.TempDir(), ""
	trained(t, dir)
	config = filepath.Join(dir, exportDir, "config.json")
	require.NoError(t, os.WriteFile(config, []byte("{}"), 0o644))
	info, err := os.Stat(filepath.Join(checkpoint.Dir(dir, steps), checkpoint.ManifestFile))
	require.NoError(t, err)
	before := info.ModTime().Add(-1)
	require.NoError(t, os.Chtimes(config, before, before))
	require.Contains(t, trained(t, dir), "exported the draft")
	text, err := os.ReadFile(config)
	require.NoError(t, err)
	require.Contains(t, string(text), "DFlashDraftModel")
}

func TestFreshSetsTheOldRunAside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	trained(t, dir)
	old, err := os.ReadFile(filepath.Join(dir, metricsFile))
	require.NoError(t, err)
	_, err = train(t, dir, 1, Options{Fresh: true}, "training.learning_rate=1e-3")
	require.Equal(t, "the same command without --fresh goes on from there", fail.HintOf(err))
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.Rename(dir+".old-1", dir))
	text, err := train(t, dir, toTheEnd, Options{Fresh: true}, "training.learning_rate=1e-3")
	require.NoError(t, err)
	require.Contains(t, text, "set the old run aside: "+dir+".old-1")
	kept, err := os.ReadFile(filepath.Join(dir+".old-1", metricsFile))
	require.NoError(t, err)
	require.Equal(t, old, kept)
	requireSameRun(t, dir+".old-1", dir+".old-1", steps) // its checkpoint loads
	require.Len(t, readRows(t, dir), steps)
}

// Source: spec.md §12: what a resumed run may not change, and what it may.
func TestResumeWithAnotherRecipe(t *testing.T) {
	dir := t.TempDir()
	_, err := train(t, dir, 2, Options{})
	require.Equal(t, fail.Interrupted, fail.CodeOf(err))

	data, err := os.ReadFile("../testdata/demo/train.jsonl")
	require.NoError(t, err)
	copied, changed := filepath.Join(t.TempDir(), "same.jsonl"), filepath.Join(t.TempDir(), "other.jsonl")
	require.NoError(t, os.WriteFile(copied, data, 0o644))
	require.NoError(t, os.WriteFile(changed, append([]byte("\n"), data...), 0o644))

	for _, c := range []struct {
		overrides []string
		want      []string // differences, each "key: was old, now new"
	}{
		{[]string{"training.learning_rate=2e-2"}, []string{"training.learning_rate: was 0.01, now 0.02"}},
		{[]string{"training.seed=7", set("num_anchors", 2)}, []string{"dflash.dflash_num_anchors: was 3, now 2", "training.seed: was 42, now 7"}},
		{[]string{"run.precision=bf16"}, []string{"run.precision: was f32, now bf16"}},
		{[]string{"training.per_device_train_batch_size=4"}, []string{"training.per_device_train_batch_size: was 2, now 4"}},
		{[]string{"compat.den_guard=true"}, []string{"compat.den_guard: was false, now true"}},
		{[]string{"data.data_path=" + changed}, []string{"content of data: was "}},
	} {
		t.Run(strings.Join(c.overrides, " "), func(t *testing.T) {
			_, err := train(t, dir, toTheEnd, Options{}, c.overrides...)
			require.Equal(t, fail.Usage, fail.CodeOf(err))
			require.Contains(t, fail.HintOf(err), "--fresh")
			for _, w := range c.want {
				require.ErrorContains(t, err, w)
			}
		})
	}
	text := trained(t, dir, "data.data_path="+copied, "training.logging_steps=3", "training.per_device_train_batch_size=1", "training.gradient_accumulation_steps=2")
	for _, w := range []string{"data.data_path: was ", "training.logging_steps: was 2, now 3", "training.per_device_train_batch_size: was 2, now 1"} {
		require.Contains(t, text, "warning: changed since the checkpoint: "+w)
	}
	require.Contains(t, text, "warning: 9 rows are no multiple of batch size times accumulation: an epoch now has 9 rows in 5 steps instead of 8 in 4, so from the end of the first epoch on steps have other rows\n")
	require.Len(t, readRows(t, dir), steps)
}

// Where the rows are a multiple of batch size times accumulation, an equal product makes steps of the same rows in
// every epoch.
func TestEqualProductHasTheSameRows(t *testing.T) {
	tokens := func(s *Session) (all [][]int32) {
		for g := range s.Total {
			list, err := s.MicroBatches(g)
			require.NoError(t, err)
			var step []int32
			for _, b := range list {
				for i := range b.B {
					step = append(step, b.IDs[i*b.S:i*b.S+8]...)
				}
			}
			all = append(all, step)
		}
		return all
	}
	with := func(samples, batch, accum int) []string {
		return []string{fmt.Sprintf("data.sample_size=%d", samples), fmt.Sprintf("training.per_device_train_batch_size=%d", batch), fmt.Sprintf("training.gradient_accumulation_steps=%d", accum)}
	}
	dir := t.TempDir()
	a, b := prepare(t, dir, with(10, 4, 1)...), prepare(t, dir, with(10, 1, 4)...)
	require.Equal(t, 8, len(a.Data.Rows))
	require.Equal(t, tokens(a), tokens(b))
	_, err := train(t, dir, 3, Options{}, with(10, 4, 1)...)
	require.Equal(t, fail.Interrupted, fail.CodeOf(err))
	require.NotContains(t, trained(t, dir, with(10, 1, 4)...), "no multiple")
}

// rewrite saves a checkpoint once more with a change to its tensors or its state.
func rewrite(t *testing.T, dir string, step int, change func(st *checkpoint.State, params []checkpoint.Param) []checkpoint.Param) {
	t.Helper()
	l := load(t, checkpoint.Dir(dir, step))
	var params []checkpoint.Param
	for _, name := range l.Names() {
		shape, _ := l.Shape(name)
		values, err := l.Tensor(name)
		require.NoError(t, err)
		m, v, err := l.Moments(name)
		require.NoError(t, err)
		give := func(x []float32) func() ([]float32, error) { return func() ([]float32, error) { return x, nil } }
		params = append(params, checkpoint.Param{Name: name, Shape: shape, Master: give(values), M: give(m), V: give(v)})
	}
	st := l.State
	params = change(&st, params)
	require.NoError(t, checkpoint.Save(dir, st, params))
}

// A checkpoint that verifies may still not be the draft's.
func TestCheckpointOfAnotherDraft(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(st *checkpoint.State, params []checkpoint.Param) []checkpoint.Param
		want   string
	}{
		{"missing tensor", func(_ *checkpoint.State, p []checkpoint.Param) []checkpoint.Param { return p[1:] }, "tensor embed_proj.0.weight is missing"},
		{"another shape", func(_ *checkpoint.State, p []checkpoint.Param) []checkpoint.Param {
			p[0].Shape = []int{p[0].Shape[1], p[0].Shape[0]}
			return p
		}, "embed_proj.0.weight: want [16 160], got [160 16]"},
		{"one too many", func(_ *checkpoint.State, p []checkpoint.Param) []checkpoint.Param {
			extra := p[0]
			extra.Name = "more"
			return append(p, extra)
		}, "want the draft's 18 tensors, got 19"},
		{"state of the loop", func(st *checkpoint.State, p []checkpoint.Param) []checkpoint.Param {
			st.Trainer = json.RawMessage(`{"skipped_in_row": "many"}`)
			return p
		}, "state.json: trainer: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := train(t, dir, 1, Options{})
			require.Equal(t, fail.Interrupted, fail.CodeOf(err))
			rewrite(t, dir, 1, c.change)
			_, err = train(t, dir, toTheEnd, Options{})
			require.ErrorIs(t, err, checkpoint.ErrCorrupt)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, fail.Other, fail.CodeOf(err))
			require.NotEmpty(t, fail.HintOf(err))
		})
	}
}

// Stopping before the first step writes no checkpoint: the recipe says all of it.
func TestStopBeforeTheFirstStep(t *testing.T) {
	dir, whole := t.TempDir(), t.TempDir()
	_, err := train(t, dir, 0, Options{})
	require.Equal(t, fail.Interrupted, fail.CodeOf(err))
	require.EqualError(t, err, "interrupted before the first step; no checkpoint was needed")
	require.Empty(t, readRows(t, dir))
	require.NoDirExists(t, checkpoint.Dir(dir, 0))
	require.NotContains(t, trained(t, dir), "going on from")
	trained(t, whole)
	requireSameRun(t, whole, dir, steps)
}

// A run that comes to nothing leaves no folder behind, unless it was there before or holds something.
func TestNothingIsLeftOfARunWithoutAStep(t *testing.T) {
	for _, override := range []string{`training.report_to="tensorboard"`, `training.report_to="none"`} {
		dir := filepath.Join(t.TempDir(), "run")
		_, err := train(t, dir, 0, Options{}, override)
		require.Equal(t, fail.Interrupted, fail.CodeOf(err))
		require.NoDirExists(t, dir)
		_, err = train(t, dir, 1, Options{}, override)
		require.Equal(t, fail.Interrupted, fail.CodeOf(err))
		require.DirExists(t, checkpoint.Dir(dir, 1))
	}
	before := t.TempDir()
	_, err := train(t, before, 0, Options{})
	require.Equal(t, fail.Interrupted, fail.CodeOf(err))
	require.DirExists(t, before)
	for _, name := range []string{"notes.txt", "tensorboard/notes.txt", "checkpoint-1/x", "metrics.jsonl"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, checkpoint.LockFile), nil, 0o644))
		removeUnused(dir)
		require.FileExists(t, path)
		require.FileExists(t, filepath.Join(dir, checkpoint.LockFile))
	}
}

// The upload of weights ends between two tensors, of a new run and of one that goes on, which verifies its checkpoint before.
func TestStopWhileUploading(t *testing.T) {
	dir, whole := t.TempDir(), t.TempDir()
	stopped := func(n int) error {
		s := prepare(t, dir)
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		require.NoError(t, err)
		defer out.Close()
		err = Train(&stopAfter{t.Context(), n, ""}, s, Options{Out: out, Context: sharedContext(t)})
		require.Equal(t, fail.Interrupted, fail.CodeOf(err))
		text, reading := os.ReadFile(out.Name())
		require.NoError(t, reading)
		require.NotContains(t, string(text), "memory: ", "the loop has begun")
		return err
	}
	require.ErrorContains(t, stopped(0), "interrupted before the first step")
	require.NoDirExists(t, checkpoint.Dir(dir, 0))
	_, err := train(t, dir, 2, Options{})
	require.Equal(t, fail.Interrupted, fail.CodeOf(err))
	path := checkpoint.Dir(dir, 2)
	require.ErrorContains(t, stopped(0), "interrupted while reading "+path)
	verifying := &stopAfter{t.Context(), toTheEnd, ""}
	l, err := checkpoint.Load(verifying, path)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.ErrorContains(t, stopped(toTheEnd-verifying.n), "interrupted after 2 steps; checkpoint written: "+path)
	trained(t, dir)
	trained(t, whole)
	requireSameRun(t, whole, dir, steps)
	c := sharedContext(t)
	defer c.Release()
	s := prepare(t, t.TempDir())
	e, err := NewEngine(c, s.EngineConfig(c.Device.MaxBindingBytes))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.InitDraft(ctx, e), context.Canceled)
	require.ErrorIs(t, restore(ctx, e, load(t, checkpoint.Dir(dir, 7))), context.Canceled)
}

func TestRotationKeepsTheNewest(t *testing.T) {
	dir := t.TempDir()
	trained(t, dir, "training.save_steps=2", "training.save_total_limit=2")
	kept, err := checkpoint.Steps(dir)
	require.NoError(t, err)
	require.Equal(t, []int{7, 6}, kept)
	st := load(t, checkpoint.Dir(dir, 7)).State
	require.Equal(t, 7, st.UpdatesApplied)
	require.Equal(t, 1, st.Epoch, "4 steps an epoch")
	require.Equal(t, int64(7*2), st.SamplesConsumed)
	require.Len(t, st.LogTail, 7)
	_, has := readRows(t, dir)[1].Value(metrics.EstimatedAR)
	require.True(t, has)
}
