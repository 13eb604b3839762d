package ops_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/vk"
)

// tuningFile is the file of a folder's only Tuning.
func tuningFile(t testing.TB, folder string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, "tuning-*.json"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

func tuningText(t testing.TB, folder string) string {
	t.Helper()
	text, err := os.ReadFile(tuningFile(t, folder))
	require.NoError(t, err)
	return string(text)
}

func openTuning(t testing.TB, folder string) *ops.Tuning {
	t.Helper()
	tuning, warning, err := ops.OpenTuning(testgpu.Device(t), folder)
	require.NoError(t, err)
	require.NoError(t, warning)
	return tuning
}

// TestTuning measures kernels on matrices once, keeps the choice in a file, and leaves alone what is recorded.
func TestTuning(t *testing.T) {
	r := matrixRig(t, 21)
	testTuning(r, tensors.BF16, smallKernels, "nt 32x64x128 f32"+inTier(r))
	testTuningClasses(r, tensors.BF16, smallKernels, "nt 32x64x128 f32"+inTier(r))
}

// TestTuningPlain is the same for the shapes of gemm_t1.
func TestTuningPlain(t *testing.T) {
	r, dtypes := plainRig(t, 35)
	for _, dt := range dtypes {
		class := "nt 32x64x128 f32"
		if dt == tensors.F32 {
			class += " of f32"
		}
		class += inTier(r)
		names, _, _ := ops.PlainShapes(r.c.Device, dt)
		testTuning(r, dt, names, class)
		testTuningClasses(r, dt, names, class)
	}
}

// inTier ends the name of a class, so that a tier that is asked for leaves the others' choices alone.
func inTier(r *rig) string {
	if r.c.Device.Tier() == vk.T3 {
		return ""
	}
	return fmt.Sprintf(" in T%d", r.c.Device.Tier())
}

func testTuning(r *rig, dt tensors.DType, names []string, class string) {
	t := r.t
	folder := filepath.Join(t.TempDir(), "cache", "vkdomino")
	tuning, clock := openTuning(t, folder), r.c.Device.ClockRuns()
	require.Empty(t, tuning.Kernels())
	r.c.Tune(tuning)
	a, av := r.input(dt, 30, 72)
	b, bv := r.input(dt, 40, 72)
	c := r.tensor(tensors.F32, 0, 30, 40)
	r.c.Gemm(ops.NT, c, a, b) // recorded before, and run after
	if r.c.Device.CPU {
		require.Empty(t, tuning.Kernels(), "on a CPU device nothing is measured of itself")
	}
	name := r.c.TunedKernel(ops.NT, c, a, b, names)
	require.Contains(t, names, name)
	require.Equal(t, map[string]string{class: name}, tuning.Kernels())
	require.NoError(t, tuning.Err())
	require.Equal(t, clock, r.c.Device.ClockRuns(), "the clock runs only while kernels are measured")
	text := tuningText(t, folder)
	require.Equal(t, r.c.Device.HasClock(), strings.Contains(text, `"clock": "timestamps"`))
	for _, n := range names {
		require.Contains(t, text, `"`+n+`": `, "every kernel was timed")
	}
	r.submit()
	r.near(c, gemmLayouts[0].oracle(av, bv, 30, 40, 72, nil), matmul)

	again := openTuning(t, folder)
	require.Equal(t, tuning.Kernels(), again.Kernels())
	other := names[0]
	if name == other {
		other = names[1]
	}
	again.Fix(map[string]string{class: other})
	r.c.Tune(again)
	require.Equal(t, other, r.c.TunedKernel(ops.NT, c, a, b, names), "what is fixed is not measured")
	again.Note("nn 64x64x64 f32", names[0])
	require.Equal(t, other, again.Kernels()[class])
	require.Equal(t, map[string]string{class: name, "nn 64x64x64 f32": names[0]}, openTuning(t, folder).Kernels(),
		"nor written, while what is measured later is")
	again.Fix(map[string]string{class: "T2 of another program"})
	require.Equal(t, name, r.c.TunedKernel(ops.NT, c, a, b, names), "a kernel that there is not is passed over")
	require.Equal(t, name, again.Kernels()[class], "and forgotten")
}

// testTuningClasses: kernels are compiled once for all classes, or found not to compile, and a class of which nothing can be measured is left at the usual kernel.
func testTuningClasses(r *rig, dt tensors.DType, names []string, class string) {
	t := r.t
	folder := t.TempDir()
	tuning := openTuning(t, folder)
	r.c.Tune(tuning)
	defer r.c.Tune(nil)
	b, _ := r.input(dt, 40, 72)
	product := func(rows int, names []string) string {
		a, _ := r.input(dt, rows, 72)
		return r.c.TunedKernel(ops.NT, r.tensor(tensors.F32, 0, rows, 40), a, b, names)
	}
	tuning.Fix(map[string]string{class: "T2 of another program"})
	require.Contains(t, names, product(30, names), "a kernel that there is not is replaced")
	compiled := tuning.Pipelines()
	require.GreaterOrEqual(t, len(compiled), len(names))
	require.Contains(t, names, product(33, names))
	require.Equal(t, compiled, tuning.Pipelines())
	require.Len(t, openTuning(t, folder).Kernels(), 2)

	require.Equal(t, "missing", product(65, nil))
	require.Len(t, tuning.Kernels(), 3)
	broken := tuning.Broken()
	require.Len(t, broken, 1)
	require.Equal(t, "missing", product(129, nil), "another class")
	require.Equal(t, broken, tuning.Broken(), "the kernel was not tried again")
	require.Len(t, tuning.Kernels(), 4)
	require.Len(t, openTuning(t, folder).Kernels(), 2, "what was not measured is not written")
	require.Equal(t, "missing", product(65, append([]string{"missing"}, names...)), "nor tried again")
}

// TestTuningFile: a file of another device, driver or program counts as none, a damaged one with a warning.
func TestTuningFile(t *testing.T) {
	d := testgpu.Device(t)
	require.NotEmpty(t, d.Identity)
	write := func(folder, text string) string {
		tuning := openTuning(t, folder)
		tuning.Note("nt 64x64x64 f32", "T2 a")
		require.NoError(t, tuning.Err())
		have := tuningText(t, folder)
		require.Contains(t, have, `"T2 a"`)
		if text == "" {
			text = have
		}
		require.NoError(t, os.WriteFile(tuningFile(t, folder), []byte(text), 0o600))
		return have
	}
	folder := t.TempDir()
	whole := write(folder, "")
	require.Equal(t, map[string]string{"nt 64x64x64 f32": "T2 a"}, openTuning(t, folder).Kernels())
	for what, text := range map[string]string{
		"device":  strings.Replace(whole, d.Identity, "another", 1),
		"version": strings.Replace(whole, `"version": 3`, `"version": 1`, 1),
		"shaders": strings.Replace(whole, `"shaders": "`, `"shaders": "0`, 1),
		"kernels": strings.Replace(whole, `"kernels": `, `"others": `, 1),
	} {
		folder := t.TempDir()
		require.NotEqual(t, whole, text, what)
		write(folder, text)
		require.Empty(t, openTuning(t, folder).Kernels(), what)
	}
	for _, text := range []string{whole[:len(whole)/2], "[]", "\x00"} {
		folder := t.TempDir()
		write(folder, text)
		tuning, warning, err := ops.OpenTuning(d, folder)
		require.NoError(t, err)
		require.ErrorContains(t, warning, tuningFile(t, folder)+" is left aside and measured anew")
		require.Empty(t, tuning.Kernels())
		tuning.Note("nt 64x64x64 f32", "T2 b")
		require.NoError(t, tuning.Err())
		require.Equal(t, map[string]string{"nt 64x64x64 f32": "T2 b"}, openTuning(t, folder).Kernels(), "the damaged file is replaced")
	}
	blocked := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(blocked, nil, 0o600))
	tuning, err := ops.NewTuning(d)
	require.NoError(t, err)
	tuning.Note("nt 64x64x64 f32", "T2 a")
	require.NoError(t, tuning.Err(), "kept in no file")
	tuning, warning, err := ops.OpenTuning(d, blocked)
	require.NoError(t, err)
	require.Error(t, warning)
	tuning.Note("nt 64x64x64 f32", "T2 a")
	require.ErrorContains(t, tuning.Err(), "ops: tuning: ")
	require.Len(t, tuning.Kernels(), 1)
}
