package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/export"
	"vkdomino/internal/fail"
	"vkdomino/tensors"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/pair"
)

const demoEval = "../testdata/demo/eval.jsonl"

// openTrained opens the last checkpoint of a run and its target.
func openTrained(t *testing.T, dir string) (*pair.Draft, *pair.Target) {
	t.Helper()
	d, err := pair.OpenDraft(t.Context(), checkpoint.Dir(dir, steps))
	require.NoError(t, err)
	t.Cleanup(func() { d.Close() })
	target, err := pair.OpenTarget(d.Recipe.ModelPath, d.Recipe.ChatTemplate)
	require.NoError(t, err)
	t.Cleanup(func() { target.Close() })
	return d, target
}

// loadedCheck is a check on the device.
func loadedCheck(t *testing.T, d *pair.Draft, target *pair.Target, precision tensors.DType, maxNew int) *ExportCheck {
	t.Helper()
	x, err := NewExportCheck(t.Context(), target, d, demoEval)
	require.NoError(t, err)
	x.MaxNew = maxNew
	c := sharedContext(t)
	t.Cleanup(c.Release)
	require.NoError(t, x.Load(t.Context(), c, target, d, precision))
	return x
}

// requireNothing wants no file of an export in a folder, neither whole nor half.
func requireNothing(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// All of this reads one run.
func TestExportCheck(t *testing.T) {
	run := t.TempDir()
	require.Contains(t, trained(t, run), "`vkdomino export` checks any checkpoint", "a run without evaluations says that it has not")
	d, target := openTrained(t, run)
	t.Run("met", func(t *testing.T) { exportChecks(t, d, target) })
	t.Run("damage", func(t *testing.T) { exportDamage(t, d, target) })
	t.Run("interrupted", func(t *testing.T) { exportInterrupted(t, d, target) })
	t.Run("prompts", func(t *testing.T) { exportPromptsOf(t, d, target) })
	t.Run("geometry", func(t *testing.T) { checkpointOfAnotherGeometry(t, run) })
}

func exportChecks(t *testing.T, d *pair.Draft, target *pair.Target) {
	for _, c := range []struct {
		name             string
		dtype, precision tensors.DType
		measured         bool
	}{{"bf16", tensors.BF16, tensors.F32, true}, {"f32", tensors.F32, tensors.F32, true}, {"bf16 in bf16", tensors.BF16, tensors.BF16, false}} {
		t.Run(c.name, func(t *testing.T) {
			x := loadedCheck(t, d, target, c.precision, 8)
			require.Len(t, x.Prompts, 8)
			out := filepath.Join(t.TempDir(), "out")
			report, err := ExportCheckpoint(context.Background(), d, out, ExportOptions{DType: c.dtype, Check: x})
			require.NoError(t, err)
			require.GreaterOrEqual(t, report.Tau, 1.0)
			require.Equal(t, c.measured, !math.IsNaN(report.TauF32))
			require.Contains(t, report.String(), "what was read back decodes 8 prompts as the checkpoint's ")
			if c.dtype == tensors.F32 {
				require.Equal(t, report.Tau, report.TauF32)
			}
			back, err := pair.OpenDraft(t.Context(), out)
			require.NoError(t, err)
			defer back.Close()
			require.Equal(t, d.Config, back.Config)
			got, err := x.decode(context.Background(), back.Config, back.DraftTokens, back.Weights)
			require.NoError(t, err)
			require.Equal(t, report.Tau, domino.Tau(got), "τ is that of what lies at OUT")
		})
	}
}

// replaced is a damage that replaces text of a file, of the same length or another.
func replaced(name, old, text string) func(dir string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(strings.Replace(string(raw), old, text, 1)), 0o600)
	}
}

// flipped flips the lowest bit of the last bf16 of the weights.
func flipped(dir string) error {
	path := filepath.Join(dir, export.ModelFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	raw[len(raw)-2] ^= 1
	return os.WriteFile(path, raw, 0o600)
}

// Whatever happens to an export between writing and reading back, a bit of a weight, a name,
// the geometry: exit code 7, and OUT is as it was before.
func exportDamage(t *testing.T, d *pair.Draft, target *pair.Target) {
	x := loadedCheck(t, d, target, tensors.F32, 4)
	for name, c := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"a bit":         {flipped, "tensor "},
		"cut":           {func(dir string) error { return os.Truncate(filepath.Join(dir, export.ModelFile), 5000) }, "model.safetensors"},
		"a name":        {replaced(export.ModelFile, `"norm.weight"`, `"mork.weight"`), "norm.weight"},
		"gone":          {func(dir string) error { return os.Remove(filepath.Join(dir, export.ConfigFile)) }, "config.json"},
		"alignment":     {replaced(export.ConfigFile, `"shift_label": true`, `"shift_label": false`), "ShiftLabel:false"},
		"block size":    {replaced(export.ConfigFile, `"block_size": 4`, `"block_size": 5`), "BlockSize:5"},
		"theta":         {replaced(export.ConfigFile, `"rope_theta": 1`, `"rope_theta": 2`), "Theta:20000"},
		"K":             {replaced(export.ProvenanceFile, `"draft_tokens": 3`, `"draft_tokens": 9`), "it does not decode: domino: drafted tokens"},
		"no provenance": {func(dir string) error { return os.Remove(filepath.Join(dir, export.ProvenanceFile)) }, export.ProvenanceFile},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			out := filepath.Join(parent, "out")
			opt := ExportOptions{DType: tensors.BF16, Check: x, damage: c.damage}
			_, err := ExportCheckpoint(context.Background(), d, out, opt)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "what was read back is not the checkpoint's draft")
			require.Equal(t, fail.Gate, fail.CodeOf(err), "%v", err)
			require.NotEmpty(t, fail.HintOf(err))
			requireNothing(t, parent)
		})
	}
	t.Run("an older export stays", func(t *testing.T) {
		parent := t.TempDir()
		out := filepath.Join(parent, "out")
		_, err := ExportCheckpoint(context.Background(), d, out, ExportOptions{DType: tensors.BF16})
		require.NoError(t, err)
		before, err := os.ReadFile(filepath.Join(out, export.ModelFile))
		require.NoError(t, err)
		_, err = ExportCheckpoint(context.Background(), d, out, ExportOptions{DType: tensors.BF16, Check: x, damage: flipped})
		require.Equal(t, fail.Gate, fail.CodeOf(err))
		after, err := os.ReadFile(filepath.Join(out, export.ModelFile))
		require.NoError(t, err)
		require.Equal(t, before, after)
		left, err := os.ReadDir(parent)
		require.NoError(t, err)
		require.Len(t, left, 1)
	})
}

// Wherever the check is interrupted, nothing is left.
func exportInterrupted(t *testing.T, d *pair.Draft, target *pair.Target) {
	x := loadedCheck(t, d, target, tensors.F32, 4)
	for _, n := range []int{0, 1, 6, 11} {
		parent := t.TempDir()
		_, err := ExportCheckpoint(&stopAfter{context.Background(), n, ""}, d, filepath.Join(parent, "out"), ExportOptions{DType: tensors.BF16, Check: x})
		require.Equal(t, fail.Interrupted, fail.CodeOf(err), "%d: %v", n, err)
		require.ErrorContains(t, err, "interrupted while the export was checked: nothing was written")
		requireNothing(t, parent)
	}
}

// RoPE scaling in the export is for servers: the check decodes with the angles of training.
func TestExportCheckWithRopeScaling(t *testing.T) {
	run := t.TempDir()
	trained(t, run, `dflash.dflash_export_rope_scaling={type = "yarn", factor = 48.0}`)
	d, target := openTrained(t, run)
	out := filepath.Join(t.TempDir(), "out")
	_, err := ExportCheckpoint(context.Background(), d, out, ExportOptions{DType: tensors.BF16, Check: loadedCheck(t, d, target, tensors.F32, 4)})
	require.NoError(t, err)
	config, err := os.ReadFile(filepath.Join(out, export.ConfigFile))
	require.NoError(t, err)
	require.Contains(t, string(config), "yarn")
}

// Without its target a checkpoint is exported from what it carries, unless one is asked for.
func TestExportWithoutTarget(t *testing.T) {
	run, moved := t.TempDir(), filepath.Join(t.TempDir(), "moved")
	require.NoError(t, os.CopyFS(moved, os.DirFS("../testdata/demo/target")))
	trained(t, run, "model.model_name_or_path="+moved)
	d, _ := openTrained(t, run)
	with, without := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "out")
	_, err := ExportCheckpoint(context.Background(), d, with, ExportOptions{DType: tensors.F32})
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(moved))
	_, err = ExportCheckpoint(context.Background(), d, without, ExportOptions{DType: tensors.F32})
	require.NoError(t, err)
	for _, name := range []string{export.ConfigFile, export.ModelFile, export.ProvenanceFile} {
		requireSameBytes(t, filepath.Join(with, name), filepath.Join(without, name))
	}
	_, err = ExportCheckpoint(context.Background(), d, filepath.Join(t.TempDir(), "out"), ExportOptions{DType: tensors.F32, Target: moved})
	require.ErrorContains(t, err, "no config.json")
	_, err = ExportCheckpoint(context.Background(), d, filepath.Join(t.TempDir(), "out"), ExportOptions{DType: tensors.F32, Target: "../testdata/golden/odd-b16/target"})
	require.ErrorContains(t, err, "draft of another target")
}

func exportPromptsOf(t *testing.T, d *pair.Draft, target *pair.Target) {
	file := filepath.Join(t.TempDir(), "rows.jsonl")
	write := func(rows ...string) { require.NoError(t, os.WriteFile(file, []byte(strings.Join(rows, "\n")), 0o600)) }
	long, err := json.Marshal(map[string]string{"text": strings.Repeat("copy and modify the work, ", 100)})
	require.NoError(t, err)
	write(string(long), `{"messages":[{"role":"assistant","content":"first"}]}`, `{"text":""}`, `{"messages":[{"role":"user","content":"hello"}]}`)
	x, err := NewExportCheck(t.Context(), target, d, file)
	require.NoError(t, err)
	require.Len(t, x.Prompts, 2, "texts have prompts too; what begins with an answer has none")
	require.Len(t, x.Prompts[0], d.Recipe.SeqLen, "cut to the longest row of training")
	for rows, want := range map[string]string{"": "want a prompt in the first 8 rows, got none", `{"text":""}`: "want a prompt", "{": "rows.jsonl:1"} {
		write(rows)
		_, err := NewExportCheck(t.Context(), target, d, file)
		require.ErrorContains(t, err, want)
		require.Equal(t, fail.Other, fail.CodeOf(err))
	}
}

// A checkpoint whose tensors are not those of its draft is refused.
func checkpointOfAnotherGeometry(t *testing.T, run string) {
	l := load(t, checkpoint.Dir(run, steps))
	var params []checkpoint.Param
	for _, name := range l.Names() {
		shape, _ := l.Shape(name)
		zeros := func() ([]float32, error) { return make([]float32, tensors.Tensor{Shape: shape}.Len()), nil }
		params = append(params, checkpoint.Param{Name: name, Shape: shape, Master: zeros, M: zeros, V: zeros})
	}
	dir, state := t.TempDir(), l.State
	var flat bytes.Buffer
	require.NoError(t, json.Compact(&flat, l.State.DraftJSON))
	for change, want := range map[string]string{
		`"NumLayers":1>"NumLayers":2`:   "is missing",
		`"Domino":true>"Domino":false`:  "a draft of this configuration has none",
		`"EmbDim":16>"EmbDim":8`:        "want [",
		`"BlockSize":4>"BlockSize":1`:   "dflash_block_size",
		`"NumLayers":1>"NumLayers":"x"`: "state.json",
	} {
		old, text, _ := strings.Cut(change, ">")
		require.Contains(t, flat.String(), old)
		state.DraftJSON = json.RawMessage(strings.Replace(flat.String(), old, text, 1))
		require.NoError(t, checkpoint.Save(dir, state, params))
		_, err := pair.OpenDraft(t.Context(), checkpoint.Dir(dir, steps))
		require.ErrorContains(t, err, want)
		require.Equal(t, fail.Other, fail.CodeOf(err))
	}
}

func TestSameGenerations(t *testing.T) {
	want := []domino.Generation{{Tokens: []int32{1, 2}, AcceptanceLengths: []int{2}}, {Tokens: []int32{3}, AcceptanceLengths: []int{1, 1}}}
	require.NoError(t, sameGenerations(want, slices.Clone(want)))
	for text, got := range map[string]domino.Generation{
		"prompt 2: want tokens [3], got [4]":               {Tokens: []int32{4}, AcceptanceLengths: []int{1, 1}},
		"prompt 2: want acceptance lengths [1 1], got [1]": {Tokens: []int32{3}, AcceptanceLengths: []int{1}},
	} {
		err := sameGenerations(want, []domino.Generation{want[0], got})
		require.ErrorContains(t, err, text)
		require.Equal(t, fail.Gate, fail.CodeOf(err))
	}
}
