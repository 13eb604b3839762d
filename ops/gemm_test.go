package ops_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/testgpu"
	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// gemmLayout is a layout with its oracle.
type gemmLayout struct {
	layout ops.Layout
	name   string
	oracle func(a, b []float64, m, n, k int, acc []float64) []float64
}

var gemmLayouts = []gemmLayout{{ops.NT, "NT", oracle.GEMMNT}, {ops.NN, "NN", oracle.GEMMNN}, {ops.TN, "TN", oracle.GEMMTN}}

// operands are the shapes of A and B.
func (l gemmLayout) operands(m, n, k int) (a, b []int) {
	switch l.layout {
	case ops.NN:
		return []int{m, k}, []int{k, n}
	case ops.TN:
		return []int{k, m}, []int{k, n}
	default:
		return []int{m, k}, []int{n, k}
	}
}

// check runs one product, of operands of dtype dt into a result of dtype to, with or without
// an addend, and compares it with the oracle. The operands must come back unchanged.
func (l gemmLayout) check(r *rig, dt, to tensors.DType, m, n, k int, add bool) {
	r.t.Helper()
	shapeA, shapeB := l.operands(m, n, k)
	a, av := r.input(dt, shapeA...)
	b, bv := r.input(dt, shapeB...)
	result := r.tensor(to, 0, m, n)
	var acc []float64
	if add {
		var addend tensors.Tensor
		addend, acc = r.input(to, m, n)
		r.c.GemmAdd(l.layout, result, addend, a, b)
	} else {
		r.c.Gemm(l.layout, result, a, b)
	}
	r.submit()
	at := fmt.Sprint(l.name, dt, to, m, n, k, add)
	r.near(result, l.oracle(av, bv, m, n, k, acc), matmul, at)
	require.Equal(r.t, av, r.read(a), at)
	require.Equal(r.t, bv, r.read(b), at)
}

func TestGemm(t *testing.T) {
	r := newRig(t, 1)
	for seed, l := range gemmLayouts {
		sizes := oracle.SweepSizes()[1:] // all but 0
		for i, s := range oracle.SweepOf([][]int{sizes, sizes, sizes}, uint64(seed), 16, 1<<21) {
			dt := storages[i%2]
			to := tensors.F32
			if i%4 == 3 {
				to = tensors.BF16
			}
			l.check(r, dt, to, s[0], s[1], s[2], i%5 == 4)
			r.clear()
		}
	}
}

// TestGemmByBroadcasts: both ways of asking another lane give the same results. Kernels are small, since one of them is slow.
func TestGemmByBroadcasts(t *testing.T) {
	device := testgpu.Device(t)
	usual := device.Broadcasts
	t.Cleanup(func() { device.Broadcasts = usual })
	for _, device.Broadcasts = range []bool{false, true} {
		r := newRig(t, 21) // its kernels are compiled anew
		for _, l := range gemmLayouts {
			l.check(r, tensors.BF16, tensors.F32, 8, 16, 24, true)
			r.clear()
		}
	}
}

// TestGemmWithoutRows accepts an empty batch.
func TestGemmWithoutRows(t *testing.T) {
	r := newRig(t, 7)
	for _, l := range gemmLayouts[:2] {
		l.check(r, tensors.BF16, tensors.F32, 0, 8, 16, false)
		l.check(r, tensors.F32, tensors.F32, 0, 8, 16, true)
	}
}

// TestGemmSizes holds the sizes of layers: wide and long products, and ones whose K is split.
func TestGemmSizes(t *testing.T) {
	r := newRig(t, 2)
	for _, s := range [][3]int{{16, 384, 128}, {256, 128, 128}, {40, 24, 4096}, {1, 1000, 256}} {
		for _, l := range gemmLayouts {
			for _, dt := range storages {
				l.check(r, dt, tensors.F32, s[0], s[1], s[2], false)
				r.clear()
			}
		}
	}
}

// TestGemmNarrow holds products of half a tile's columns and of a few more than a tile's, with few rows and more.
func TestGemmNarrow(t *testing.T) {
	r := newRig(t, 22)
	for _, s := range [][3]int{{8, 32, 40}, {72, 32, 136}, {24, 96, 64}, {40, 328, 16}} {
		for _, l := range gemmLayouts {
			for i, to := range []tensors.DType{tensors.F32, tensors.BF16, tensors.F32} {
				l.check(r, storages[(i+1)/2], to, s[0], s[1], s[2], i < 2)
				r.clear()
			}
		}
	}
}

// TestTexelTile: a tile's width does not depend on the number of rows, no tile has more sums than another, and a product as
// narrow as half a tile leaves no lane idle.
func TestTexelTile(t *testing.T) {
	for _, lanes := range []int{8, 16} {
		for _, layout := range []ops.Layout{ops.NT, ops.NN, ops.TN} {
			for n := 8; n < 3000; n += 8 {
				_, width := ops.TexelTile(layout, lanes, 1, n)
				for _, m := range []int{lanes, 2*lanes + 1, 1000} {
					rows, columns := ops.TexelTile(layout, lanes, m, n)
					require.Equal(t, width, columns)
					require.LessOrEqual(t, rows*columns, 16*lanes)
				}
			}
			rows, columns := ops.TexelTile(layout, lanes, 1000, 4*lanes)
			require.Equal(t, []int{4 * lanes, 4}, []int{rows, columns})
		}
	}
}

// TestGemmOnto overwrites where there is no sum yet, whatever lies there, and adds where there is one.
func TestGemmOnto(t *testing.T) {
	r := newRig(t, 20)
	a, av := r.input(tensors.F32, 5, 12)
	b, bv := r.input(tensors.F32, 7, 12)
	c := r.tensor(tensors.F32, 0, 5, 7)
	r.fill(c, repeated(5*7, float32(math.NaN())))
	product := oracle.GEMMNT(av, bv, 5, 7, 12, nil)
	for i, want := range [][]float64{product, oracle.Add(product, product)} {
		r.c.GemmOnto(i > 0, ops.NT, c, a, b)
		r.submit()
		r.near(c, want, matmul)
	}
}

// TestGemmAddInPlace accumulates: C = C + op(A) op(B), twice, also with K split.
func TestGemmAddInPlace(t *testing.T) {
	r := newRig(t, 3)
	for _, l := range gemmLayouts {
		for _, k := range []int{24, 1000} {
			shapeA, shapeB := l.operands(20, 40, k)
			a, av := r.input(tensors.BF16, shapeA...)
			b, bv := r.input(tensors.BF16, shapeB...)
			c, cv := r.input(tensors.F32, 20, 40)
			r.c.GemmAdd(l.layout, c, c, a, b)
			r.c.GemmAdd(l.layout, c, c, a, b)
			r.submit()
			r.near(c, l.oracle(av, bv, 20, 40, k, l.oracle(av, bv, 20, 40, k, cv)), matmul, l.name, k)
		}
	}
}

// TestGemmBindings has operands and results larger than a binding, which M, N or K is cut for. Parts keep
// 64 rows, so 64 rows of the result must fit.
func TestGemmBindings(t *testing.T) {
	r := newRig(t, 4)
	r.bindings(256 << 10)
	for _, l := range gemmLayouts {
		for _, s := range [][3]int{{600, 65, 300}, {65, 600, 300}, {64, 129, 1000}, {1025, 129, 8}} {
			for _, add := range []bool{false, true} {
				l.check(r, tensors.F32, tensors.F32, s[0], s[1], s[2], add)
			}
		}
	}
}

// TestGemmTexels: a CPU's kernel that reads texels gives the bits of the one that reads storage buffers.
func TestGemmTexels(t *testing.T) {
	r := newRig(t, 8)
	for _, s := range [][3]int{{1, 8, 8}, {7, 72, 40}, {9, 64, 24}, {16, 12, 16}, {40, 136, 128}, {64, 24, 136}, {24, 40, 1024}, {33, 20, 12}} {
		for _, l := range gemmLayouts {
			for _, dt := range storages {
				shapeA, shapeB := l.operands(s[0], s[1], s[2])
				a, _ := r.input(dt, shapeA...)
				b, _ := r.input(dt, shapeB...)
				d, _ := r.input(tensors.F32, s[0], s[1])
				var got [2][]float32
				for i := range got {
					c := r.tensor(tensors.F32, 0, s[0], s[1])
					r.c.NoTexels = i == 0
					r.c.GemmAdd(l.layout, c, d, a, b)
					r.submit()
					var err error
					got[i], err = r.c.Float32s(c)
					require.NoError(t, err)
				}
				require.Equal(t, got[0], got[1], "%s %s %v", l.name, dt, s)
				r.clear()
			}
		}
	}
}

// TestGemmRepeats: equal inputs give equal bits.
func TestGemmRepeats(t *testing.T) {
	r := newRig(t, 5)
	a, _ := r.input(tensors.F32, 33, 1025)
	b, _ := r.input(tensors.F32, 17, 1025)
	first, second := r.tensor(tensors.F32, 0, 33, 17), r.tensor(tensors.F32, 0, 33, 17)
	r.c.Gemm(ops.NT, first, a, b)
	r.c.Gemm(ops.NT, second, a, b)
	r.submit()
	require.Equal(t, r.floats(first), r.floats(second))
}

func TestGemmErrors(t *testing.T) {
	r := newRig(t, 6)
	a, b, c := r.tensor(tensors.F32, 0, 3, 5), r.tensor(tensors.F32, 0, 7, 5), r.tensor(tensors.F32, 0, 3, 7)
	half := r.tensor(tensors.BF16, 0, 7, 5)
	for _, f := range []func(){
		func() { r.c.Gemm(ops.NN, c, a, b) },
		func() { r.c.Gemm(ops.TN, c, a, b) },
		func() { r.c.Gemm(ops.NT, c, a, half) },
		func() { r.c.GemmAdd(ops.NT, c, a, a, b) },
	} {
		f()
		require.ErrorContains(t, r.c.Submit(), "ops: gemm")
	}
}

// BenchmarkGemm reports GFLOP/s of time on the clock and, which is what a CPU driver's kernel is
// judged by, of processor time.
func BenchmarkGemm(b *testing.B) {
	for _, shape := range [][3]int{{512, 512, 512}, {1024, 320, 128}, {256, 4096, 256}} {
		m, n, k := shape[0], shape[1], shape[2]
		for _, l := range gemmLayouts {
			for _, dt := range []tensors.DType{tensors.BF16, tensors.F32} {
				b.Run(fmt.Sprintf("%s/%s/%dx%dx%d", l.name, dt, m, n, k), func(b *testing.B) { benchmarkGemm(b, l.layout, dt, m, n, k) })
			}
		}
	}
}

func benchmarkGemm(b *testing.B, layout ops.Layout, dt tensors.DType, m, n, k int) {
	c := testgpu.Context(b)
	A, B, C := c.Alloc("A", dt, m, k), c.Alloc("B", dt, n, k), c.Alloc("C", tensors.F32, m, n)
	if layout == ops.TN {
		A = A.View(k, m)
	}
	if layout != ops.NT {
		B = B.View(k, n)
	}
	c.Zero(A)
	c.Zero(B)
	c.Gemm(layout, C, A, B)
	require.NoError(b, c.Submit())
	cpu := cpuTime()
	for b.Loop() {
		c.Gemm(layout, C, A, B)
		require.NoError(b, c.Submit())
	}
	gflop := 2 * float64(m*n*k) * float64(b.N) / 1e9
	b.ReportMetric(gflop/b.Elapsed().Seconds(), "GF/s")
	b.ReportMetric(gflop/(cpuTime()-cpu).Seconds(), "GF/cpu-s")
}
