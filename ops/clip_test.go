package ops_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

const normTolerance = 1e-6 // relative error of the norm that GradNorm promises

// requireNorm compares GradNorm's result with the oracle's.
func requireNorm(t *testing.T, r *rig, norm tensors.Tensor, want, maxNorm float64, args ...any) {
	t.Helper()
	got := r.read(norm)
	require.InDelta(t, want, got[0], normTolerance*want, args...)
	require.InEpsilon(t, oracle.ClipCoefficient(want, maxNorm), got[1], normTolerance, args...)
	require.Equal(t, []float64{1, 0}, got[2:], args...)
}

func TestGradNorm(t *testing.T) {
	r := newRig(t, 1)
	for _, sizes := range [][]int{{}, {0}, {1}, {3, 5}, {1000, 0, 77}, {1 << 14, 1}, {1<<14 + 1, 1 << 15}, {70001, 40000, 6, 50000}} {
		norm := r.tensor(tensors.F32, 0, 4)
		var grads []tensors.Tensor
		var values [][]float64
		for _, n := range sizes {
			g, v := r.input(tensors.F32, n)
			grads, values = append(grads, g), append(values, v)
		}
		for _, maxNorm := range []float64{1, 1e6} {
			r.c.GradNorm(norm, grads, tensors.Tensor{}, maxNorm)
			r.submit()
			requireNorm(t, r, norm, oracle.GlobalNorm(values...), maxNorm, sizes, maxNorm)
		}
		r.clear()
	}
}

// TestGradNormOfEqualElements is the worst case of a sum in f32: within a power of two every addition errs the same way.
func TestGradNormOfEqualElements(t *testing.T) {
	r := newRig(t, 2)
	const n = 3<<20 + 4
	g, norm := r.c.Alloc("g", tensors.F32, n), r.tensor(tensors.F32, 0, 4)
	for _, x := range []float32{0.1, 1.2345e-3, 777.7} {
		values := make([]float32, n)
		for i := range values {
			values[i] = x
		}
		r.c.UploadF32(g, values)
		r.c.GradNorm(norm, []tensors.Tensor{g}, tensors.Tensor{}, 1)
		r.submit()
		requireNorm(t, r, norm, float64(x)*math.Sqrt(n), 1, x)
	}
}

// TestGradNormOfManyBlocks has more partial sums than one workgroup adds, and tensors cut into bindings.
func TestGradNormOfManyBlocks(t *testing.T) {
	r := newRig(t, 3)
	r.bindings(300 << 10)
	g, v := r.input(tensors.F32, 100, 10007)
	norm := r.tensor(tensors.F32, 0, 4)
	grads := make([]tensors.Tensor, 0, 300)
	squares := 0.0
	for range 300 { // 62 blocks each
		grads = append(grads, g)
		squares += math.Pow(oracle.GlobalNorm(v), 2)
	}
	r.c.GradNorm(norm, grads, tensors.Tensor{}, 1)
	r.submit()
	requireNorm(t, r, norm, math.Sqrt(squares), 1)
	first := r.floats(norm)
	r.c.GradNorm(norm, grads, tensors.Tensor{}, 1)
	r.submit()
	require.Equal(t, first, r.floats(norm), "equal inputs give equal bits")
}

func TestGradNormValues(t *testing.T) {
	r := newRig(t, 4)
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e30} { // the square of the last is no f32
		g, h, norm := r.tensor(tensors.F32, 0, 1000), r.tensor(tensors.F32, 0, 9), r.tensor(tensors.F32, 0, 4)
		v := r.values(1000)
		v[777] = float32(bad)
		r.fill(g, v)
		r.fill(h, r.values(9))
		r.c.GradNorm(norm, []tensors.Tensor{h, g, h}, tensors.Tensor{}, 1)
		r.submit()
		got := r.read(norm)
		require.True(t, math.IsNaN(got[0]) || math.IsInf(got[0], 1), bad)
		require.Equal(t, []float64{0, 0, 0}, got[1:], bad)
	}
	g, norm := r.tensor(tensors.F32, 0, 1000), r.tensor(tensors.F32, 0, 4)
	r.c.Zero(g)
	r.c.GradNorm(norm, []tensors.Tensor{g}, tensors.Tensor{}, 1)
	r.submit()
	require.Equal(t, []float64{0, 1, 1, 0}, r.read(norm))
}

// TestGradNormConformance is the clipping case of spec.md §10: norm 5, at most 1.
func TestGradNormConformance(t *testing.T) {
	r := newRig(t, 5)
	g, norm := r.tensor(tensors.F32, 0, 2), r.tensor(tensors.F32, 0, 4)
	r.fill(g, []float32{3, -4})
	r.c.GradNorm(norm, []tensors.Tensor{g}, tensors.Tensor{}, 1)
	r.submit()
	require.InDeltaSlice(t, []float64{5, .19999996, 1, 0}, r.read(norm), 1e-7)
}

func TestGradNormErrors(t *testing.T) {
	r := newRig(t, 6)
	r.c.GradNorm(r.tensor(tensors.F32, 0, 3), nil, tensors.Tensor{}, 1)
	require.ErrorContains(t, r.c.Submit(), "ops: gradnorm: norm: want [4], got [3]")
	r.c.GradNorm(r.tensor(tensors.F32, 0, 4), []tensors.Tensor{r.tensor(tensors.BF16, 0, 8)}, tensors.Tensor{}, 1)
	require.ErrorContains(t, r.c.Submit(), "ops: gradnorm: tensor: want dtype F32, got BF16")
}

func BenchmarkGradNorm(b *testing.B) {
	r := newRig(b, 7)
	g, _ := r.input(tensors.F32, 1<<20)
	norm := r.tensor(tensors.F32, 0, 4)
	r.bench(b, "one", tensors.F32, g.Shape, func() { r.c.GradNorm(norm, []tensors.Tensor{g}, tensors.Tensor{}, 1) })
}

// TestGradNormOfLosses: losses that are not finite stop an update, and finite ones change nothing.
func TestGradNormOfLosses(t *testing.T) {
	r := newRig(t, 6)
	g, _ := r.input(tensors.F32, 300)
	norm := r.tensor(tensors.F32, 0, 4)
	r.c.GradNorm(norm, []tensors.Tensor{g}, tensors.Tensor{}, 1)
	r.submit()
	want := r.floats(norm)
	require.EqualValues(t, 1, want[2])
	for _, n := range []int{1, 24, 8 * 5000} {
		for _, bad := range []float32{0, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
			values := make([]float32, n)
			for i := range values {
				values[i] = float32(i % 7)
			}
			values[n/2] = bad
			losses := r.tensor(tensors.F32, 0, n/min(n, 8), min(n, 8))
			r.c.UploadF32(losses, values)
			r.c.GradNorm(norm, []tensors.Tensor{g}, losses, 1)
			r.submit()
			got := r.floats(norm)
			if bad == 0 {
				require.Equal(t, want, got)
			} else {
				require.Equal(t, []float32{want[0], 0, 0, 0}, got, "%v of %d", bad, n)
			}
		}
	}
}
