package ops_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/vk"
)

// TestGemmRanges: magnitudes far beyond those of half precision, in rows and columns that differ, and operands of zeros.
func TestGemmRanges(t *testing.T) {
	r := newRig(t, 11)
	for _, l := range gemmLayouts {
		for _, s := range []struct{ a, b, addend float64 }{{1e-25, 1e8, 1e-17}, {1e20, 1e15, 1e35}, {1e-33, 1, 1e-33}, {3e4, 3e4, 1e9}, {0, 1, 1}} {
			const m, n, k = 24, 40, 72
			shapeA, shapeB := l.operands(m, n, k)
			a, av := r.scaled(s.a, shapeA...)
			b, bv := r.scaled(s.b, shapeB...)
			d, dv := r.scaled(s.addend, m, n)
			product, sum := r.tensor(tensors.F32, 0, m, n), r.tensor(tensors.BF16, 0, m, n)
			r.c.Gemm(l.layout, product, a, b)
			r.c.GemmAdd(l.layout, sum, d, a, b)
			r.submit()
			r.near(product, l.oracle(av, bv, m, n, k, nil), matmul, l.name, s)
			r.near(sum, l.oracle(av, bv, m, n, k, dv), matmul, l.name, s)
			r.clear()
		}
	}
}

// scaled is an input in bf16 of normal deviates times a factor.
func (r *rig) scaled(factor float64, shape ...int) (tensors.Tensor, []float64) {
	t := r.tensor(tensors.BF16, 0, shape...)
	values := r.values(t.Len())
	for i := range values {
		values[i] *= float32(factor)
	}
	return t, r.fill(t, values)
}

// TestGemmNonFinite: what is not finite reaches its row, and no other.
func TestGemmNonFinite(t *testing.T) {
	r := newRig(t, 12)
	const m, n, k = 20, 24, 40
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		values := r.values(m * k)
		values[3*k+7] = bad
		a, b, c := r.tensor(tensors.BF16, 0, m, k), r.tensor(tensors.BF16, 0, n, k), r.tensor(tensors.F32, 0, m, n)
		r.fill(a, values)
		r.fill(b, r.values(n*k))
		r.c.Gemm(ops.NT, c, a, b)
		r.submit()
		for i, x := range r.floats(c) {
			finite := !math.IsNaN(float64(x)) && !math.IsInf(float64(x), 0)
			require.Equal(t, i/n != 3, finite, "row %d", i/n)
		}
	}
}

// matrixRig is a rig on a device whose tier multiplies cooperative matrices.
func matrixRig(t *testing.T, seed uint64) *rig {
	r := newRig(t, seed)
	if r.c.Device.Tier() < vk.T2 {
		t.Skipf("not run: the device's tier is %s; %s=2 or 3 asks for another", r.c.Device.Tier(), vk.TierVariable)
	}
	return r
}

// TestGemmRunsOnMatrices: products of bf16 do, others do not, and neither do, on matrices of f16, stable rows.
func TestGemmRunsOnMatrices(t *testing.T) {
	r := matrixRig(t, 13)
	a, _ := r.input(tensors.BF16, 16, 32)
	b, _ := r.input(tensors.BF16, 24, 32)
	c := r.tensor(tensors.F32, 0, 16, 24)
	wide, _ := r.input(tensors.F32, 16, 32)
	other, _ := r.input(tensors.F32, 24, 32)
	onMatrices := func(stable bool, a, b tensors.Tensor) bool {
		fresh := ops.New(r.c.Device)
		defer fresh.Release()
		fresh.RowStable = stable
		fresh.Gemm(ops.NT, c, a, b)
		require.NoError(t, fresh.Submit())
		names := fresh.KernelNames()
		require.Len(t, slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, "gemm_t") }), 1)
		return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "gemm_t2.nt.") || n == "gemm_t3.nt" })
	}
	require.True(t, onMatrices(false, a, b))
	require.False(t, onMatrices(false, wide, other))
	require.Equal(t, r.c.Device.BF16Matrices(), onMatrices(true, a, b))
}

// TestGemmShapesAgree: every shape of gemm_t2 gives the same bits, also where K is split and at the edges.
func TestGemmShapesAgree(t *testing.T) {
	r := matrixRig(t, 14)
	for _, l := range gemmLayouts {
		names := slices.DeleteFunc(r.c.MatrixKernels(l.layout), func(n string) bool { return !strings.HasPrefix(n, "T2 ") })
		if r.c.Device.CPU { // whose driver takes half a minute to compile the others
			names = slices.DeleteFunc(names, func(n string) bool {
				return !slices.Contains(smallKernels, n) || l.layout != ops.NT && strings.HasSuffix(n, " in 2")
			})
		}
		require.Greater(t, len(names), 1)
		for _, s := range [][3]int{{70, 72, 200}, {33, 40, 1000}} {
			m, n, k := s[0], s[1], s[2]
			shapeA, shapeB := l.operands(m, n, k)
			a, av := r.input(tensors.BF16, shapeA...)
			b, bv := r.input(tensors.BF16, shapeB...)
			d, dv := r.input(tensors.F32, m, n)
			var first []float32
			for _, name := range names {
				r.c.UseKernel(name)
				c := r.tensor(tensors.F32, 0, m, n)
				r.c.GemmAdd(l.layout, c, d, a, b)
				r.submit()
				got := r.floats(c)
				if first == nil {
					r.near(c, l.oracle(av, bv, m, n, k, dv), matmul, l.name, s, name)
					first = got
				}
				require.Equal(t, first, got, "%s %v: %s against %s", l.name, s, name, names[0])
			}
			r.clear()
		}
	}
}

// smallKernels are those that a CPU driver compiles quickly.
var smallKernels = []string{"T2 32x32x32 of 32x32", "T2 16x32x16 of 16x16", "T2 16x32x16 of 16x16 in 2"}

// TestMatrixShapesFit: what a workgroup of every listed kernel takes is within the device's limits, also within those that
// Vulkan guarantees, where at least one is left.
func TestMatrixShapesFit(t *testing.T) {
	d := matrixRig(t, 15).c.Device
	small, large := *d, *d
	small.SharedBytes, small.MaxInvocations = 16<<10, 128
	large.SharedBytes, large.MaxInvocations = 64<<10, 1024
	for _, l := range gemmLayouts {
		all, fewer := ops.ShapeNames(&large, l.layout), ops.ShapeNames(&small, l.layout)
		require.NotEmpty(t, fewer)
		require.Subset(t, all, fewer)
		require.Less(t, len(fewer), len(all))
	}
}

// TestWorkgroupShapesFit: kernels of T3 keep to the sizes and the workgroups that the device lists.
func TestWorkgroupShapesFit(t *testing.T) {
	d := *newRig(t, 16).c.Device
	of := func(dimension, most int, list ...vk.WorkgroupMatrix) []string {
		d.WorkgroupMatrices, d.MatrixDimension, d.MaxInvocations = list, dimension, most
		return ops.WorkgroupShapes(&d)
	}
	fine, coarse := vk.WorkgroupMatrix{M: 16, N: 16, K: 16, Invocations: 256}, vk.WorkgroupMatrix{M: 32, N: 256, K: 16, Invocations: 256}
	small := vk.WorkgroupMatrix{M: 32, N: 32, K: 16, Invocations: 128}
	require.Equal(t, []string{"T3 256x128x64 by 256", "T3 128x256x64 by 256", "T3 128x128x64 by 256", "T3 64x64x64 by 128"}, of(1024, 1024, small, fine))
	require.Equal(t, []string{"T3 128x256x64 by 256"}, of(1024, 1024, coarse))
	require.Equal(t, []string{"T3 128x128x64 by 256"}, of(128, 1024, fine))
	require.Equal(t, []string{"T3 64x64x64 by 128"}, of(1024, 128, small, fine))
	require.Empty(t, of(1024, 1024))
}

// TestProbeWorkgroup: below T3 there is no probe of matrices of a workgroup, and asking for one is an error.
func TestProbeWorkgroup(t *testing.T) {
	r := newRig(t, 22)
	name, elements := r.c.WorkgroupProbe()
	if r.c.Device.Tier() == vk.T3 {
		require.Regexp(t, `^\d+x\d+x\d+ by \d+$`, name)
		sums := r.c.Alloc("sums", tensors.F32, 2*elements)
		require.Positive(t, r.c.ProbeWorkgroup(sums, 2, 3))
		r.submit()
		require.Equal(t, repeated(2*elements, r.floats(sums)[0]), r.floats(sums))
		return
	}
	require.Empty(t, name)
	require.Zero(t, elements)
	require.Zero(t, r.c.ProbeWorkgroup(r.c.Alloc("sums", tensors.F32, 1), 1, 1))
	require.ErrorContains(t, r.c.Submit(), "ops: probe: the tier in use has no matrices of a workgroup")
}
