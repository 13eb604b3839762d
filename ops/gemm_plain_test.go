package ops_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/vk"
)

// plainRig is a rig on a device that runs gemm_t1, with the dtypes of operands for which it does.
func plainRig(t *testing.T, seed uint64) (*rig, []tensors.DType) {
	r := newRig(t, seed)
	switch tier := r.c.Device.Tier(); tier {
	case vk.T0:
		t.Skipf("not run: the device's tier is %s; %s=1 asks for another", tier, vk.TierVariable)
	case vk.T1:
		return r, storages
	}
	return r, []tensors.DType{tensors.F32}
}

// TestGemmPlainShapesAgree: every shape of gemm_t1 gives the same bits, the oracle's to within rounding: sizes below a
// tile, beyond one and odd, K of whole slices and not, split or not, results in f32 and bf16.
func TestGemmPlainShapesAgree(t *testing.T) {
	r, dtypes := plainRig(t, 31)
	for _, dt := range dtypes {
		names, _, _ := ops.PlainShapes(r.c.Device, dt)
		for _, l := range gemmLayouts {
			for _, s := range [][3]int{{1, 3, 5}, {70, 72, 64}, {129, 131, 37}, {132, 136, 52}, {33, 260, 1028}} {
				m, n, k := s[0], s[1], s[2]
				shapeA, shapeB := l.operands(m, n, k)
				a, av := r.input(dt, shapeA...)
				b, bv := r.input(dt, shapeB...)
				to := tensors.F32
				if s[0] == 70 {
					to = dt
				}
				d, dv := r.input(to, m, n)
				var first []float32
				for _, name := range names {
					r.c.UseKernel(name)
					c := r.tensor(to, 0, m, n)
					r.c.GemmAdd(l.layout, c, d, a, b)
					r.submit()
					got := r.floats(c)
					if first == nil {
						r.near(c, l.oracle(av, bv, m, n, k, dv), matmul, l.name, dt, s, name)
						first = got
					}
					require.Equal(t, first, got, "%s %s %v: %s against %s", l.name, dt, s, name, names[0])
				}
				r.clear()
			}
		}
	}
}

// TestGemmPlainNonFinite: what is not finite reaches its row or its column, and no other, whatever lies behind the end of K.
func TestGemmPlainNonFinite(t *testing.T) {
	r, dtypes := plainRig(t, 32)
	const m, n, k = 68, 72, 44
	bad := float32(math.NaN())
	for _, dt := range dtypes {
		names, _, _ := ops.PlainShapes(r.c.Device, dt)
		for _, l := range gemmLayouts {
			shapeA, shapeB := l.operands(m, n, k)
			row, column := 3*k, 5*k // where A has its row 3 and B its column 5, and both have k = 0
			if l.layout == ops.TN {
				row = 3
			}
			if l.layout != ops.NT {
				column = 5
			}
			va, vb := r.values(m*k), r.values(n*k)
			va[row], vb[column] = bad, bad
			a, b := r.tensor(dt, 0, shapeA...), r.tensor(dt, 0, shapeB...)
			r.fill(a, va)
			r.fill(b, vb)
			for _, name := range names {
				r.c.UseKernel(name)
				c := r.tensor(tensors.F32, 0, m, n)
				r.c.Gemm(l.layout, c, a, b)
				r.submit()
				for i, x := range r.floats(c) {
					require.Equal(t, i/n == 3 || i%n == 5, math.IsNaN(float64(x)), "%s %s %s: %d, %d", l.name, dt, name, i/n, i%n)
				}
			}
		}
	}
}

// TestPlainShapesFit: the shapes of gemm_t1 keep to a device's limits, and one of them to those that Vulkan guarantees.
func TestPlainShapesFit(t *testing.T) {
	d := *newRig(t, 33).c.Device
	for _, dt := range storages {
		d.SharedBytes, d.MaxInvocations = 32<<10, 256
		names, invocations, shared := ops.PlainShapes(&d, dt)
		require.Equal(t, []string{"T1 128x128 of 8x8", "T1 64x64 of 8x4"}, names)
		require.Equal(t, []int{256, 128}, invocations)
		for _, bytes := range shared {
			require.LessOrEqual(t, bytes, d.SharedBytes)
		}
		d.SharedBytes, d.MaxInvocations = 16<<10, 128
		names, _, _ = ops.PlainShapes(&d, dt)
		require.Equal(t, []string{"T1 64x64 of 8x4"}, names)
	}
}

// TestPlainShapeBySize: large products take the large shape, also with RowStable, others and CPU devices the small one.
func TestPlainShapeBySize(t *testing.T) {
	r, _ := plainRig(t, 34)
	d := *r.c.Device
	d.CPU, d.SharedBytes, d.MaxInvocations = false, 32<<10, 256
	c, _ := ops.NewCounting(d.Info)
	c.Device = &d
	tile := func(m, n, k int) string {
		x := func(rows, cols int) tensors.Tensor {
			return tensors.Tensor{DType: tensors.F32, Shape: []int{rows, cols}}
		}
		return c.GemmTile(ops.NT, x(m, n), x(m, k), x(n, k))
	}
	const large, small = "T1 128x128 of 8x8", "T1 64x64 of 8x4"
	require.Equal(t, large, tile(2048, 1024, 256))
	require.Equal(t, small, tile(1920, 1024, 256))
	require.Equal(t, small, tile(64, 1<<20, 256))
	require.Equal(t, small, tile(1<<20, 64, 256))
	c.RowStable = true
	require.Equal(t, large, tile(2048, 1024, 256))
	c.Device.CPU = true
	require.Equal(t, small, tile(2048, 1024, 256))
}

// TestGemmHeavy: a product that is too long for one kernel is computed in halves, with the same bits, unless it is split along K.
func TestGemmHeavy(t *testing.T) {
	r, dtypes := plainRig(t, 36)
	for _, dt := range dtypes {
		for _, l := range gemmLayouts {
			for _, c := range []struct{ m, n, k, kernels int }{
				{1100, 40, 70, 4}, {300, 50, 37, 5},
				{200, 130, 1024, 1}, // split along K
				{1024, 640, 520, 1}, // its halves would be
			} {
				shapeA, shapeB := l.operands(c.m, c.n, c.k)
				a, _ := r.input(dt, shapeA...)
				b, _ := r.input(dt, shapeB...)
				d, _ := r.input(dt, c.m, c.n)
				run := func(most float64) (got []float32, kernels int) {
					defer r.c.MostWork(most)()
					result := r.tensor(dt, 0, c.m, c.n)
					r.c.GemmAdd(l.layout, result, d, a, b)
					r.c.Device.Profile()
					r.submit()
					for _, s := range r.c.Device.EndProfile() {
						if strings.HasPrefix(s.Name, "gemm_t1") {
							kernels += s.Count
						}
					}
					return r.floats(result), kernels
				}
				want, whole := run(0)
				require.Equal(t, 1, whole)
				got, parts := run(2 * float64(c.m) * float64(c.n) * float64(c.k) / 3)
				require.Equal(t, c.kernels, parts, "%s %s %v", l.name, dt, c)
				require.Equal(t, want, got, "%s %s %v", l.name, dt, c)
				r.clear()
			}
		}
	}
}
