package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// gatherWant is Gather on the host: the result's old values with the gathered part written over them.
func gatherWant(old []float64, outPitch, outCol int, src []float64, srcPitch, srcCol, cols int, index []int) []float64 {
	part := make([]float64, 0, len(src))
	for at := srcCol; srcPitch > 0 && at+cols <= len(src); at += srcPitch {
		part = append(part, src[at:at+cols]...)
	}
	want := append([]float64{}, old...)
	for i, row := range index {
		if row >= len(src)/srcPitch {
			row = -1
		}
		copy(want[i*outPitch+outCol:], oracle.GatherRows(part, []int{row}, cols))
	}
	return want
}

func TestGather(t *testing.T) {
	// rows of the index, of the source, columns; then the columns around them
	sizes := [][]int{{0, 1, 3, 33, 257}, {1, 2, 17, 300}, {1, 3, 4, 8, 64, 65}, {0, 1, 4}, {0, 2, 8}}
	for _, from := range storages {
		for _, to := range storages {
			t.Run(from.String()+"to"+to.String(), func(t *testing.T) {
				r := newRig(t, 1)
				for _, s := range oracle.SweepOf(withOne(sizes), 11, 40, 1<<18) {
					n, rows, cols, outCol, srcCol := s[0], s[1], s[2], s[3]-1, s[4]-1
					src, sv := r.input(from, rows, srcCol+cols+4)
					result, old := r.input(to, n+1, outCol+cols+4)
					index := r.someRows(n, rows)
					r.c.Gather(result, outCol, src, srcCol, cols, r.indices(index...))
					r.submit()
					want := gatherWant(old, result.Cols(), outCol, sv, src.Cols(), srcCol, cols, index)
					r.near(result, asStored(want, to), exact, s)
					r.clear()
				}
			})
		}
	}
}

// withOne adds 1 to the columns of sizes that may be 0, since a shape's product must not be: they are taken off again.
func withOne(sizes [][]int) [][]int {
	for _, d := range []int{3, 4} {
		for i := range sizes[d] {
			sizes[d][i]++
		}
	}
	return sizes
}

// someRows are n indices of rows, some of them outside.
func (r *rig) someRows(n, rows int) []int {
	index := make([]int, n)
	for i := range index {
		index[i] = r.random.IntN(rows+2) - 1
	}
	return index
}

// asStored rounds values to a dtype.
func asStored(v []float64, dt tensors.DType) []float64 {
	if dt == tensors.BF16 {
		return widen(tensors.F32s(tensors.BF16s(narrow(v))))
	}
	return v
}

// TestGatherScatters brings rows to places given by an inverse index, and back.
func TestGatherScatters(t *testing.T) {
	r := newRig(t, 2)
	src, v := r.input(tensors.F32, 3, 12)
	wide := r.tensor(tensors.F32, 0, 6, 12)
	back := r.tensor(tensors.F32, 0, 3, 12)
	r.c.Gather(wide, 0, src, 0, 12, r.indices(-1, 2, -1, 0, 1, -1))
	r.c.Gather(back, 0, wide, 0, 12, r.indices(3, 4, 1))
	r.submit()
	r.near(wide, oracle.ScatterAddRows(v, []int{3, 4, 1}, 6, 12), exact)
	r.near(back, v, exact)
}

// TestGatherBindings cuts source and result into many bindings.
func TestGatherBindings(t *testing.T) {
	for _, cols := range []int{64, 63} {
		r := newRig(t, 3)
		r.bindings(8 << 10)
		src, sv := r.input(tensors.BF16, 300, cols+1)
		result, old := r.input(tensors.F32, 200, cols)
		index := r.someRows(200, 300)
		r.c.Gather(result, 0, src, 0, cols, r.indices(index...))
		r.submit()
		r.near(result, gatherWant(old, cols, 0, sv, cols+1, 0, cols, index), exact)
	}
}

func TestGatherErrors(t *testing.T) {
	r := newRig(t, 4)
	a, index := r.tensor(tensors.F32, 0, 2, 8), r.indices(0, 1)
	for _, f := range []func(){
		func() { r.c.Gather(a, 1, a, 0, 8, index) },
		func() { r.c.Gather(a, 0, a, 5, 4, index) },
		func() { r.c.Gather(a, 0, a, -1, 4, index) },
		func() { r.c.Gather(a, 0, a, 0, 4, r.indices(0, 1, 1)) },
	} {
		f()
		require.ErrorContains(t, r.c.Submit(), "ops: gather: tensor [2 8] at column")
	}
	r.c.Gather(a, 0, r.tensor(tensors.F32, 0, 0, 8), 0, 8, index)
	require.ErrorContains(t, r.c.Submit(), "want at least one row, got [0 8]")
	r.c.Gather(a, 0, a, 0, 4, a)
	require.ErrorContains(t, r.c.Submit(), "want dtype I32, got F32")
}

func BenchmarkGather(b *testing.B) {
	for _, s := range [][]int{{1024, 128}, {256, 2560}} {
		for _, dt := range storages {
			r := newRig(b, 9)
			src, _ := r.input(dt, s...)
			result := r.tensor(dt, 0, s...)
			rows := make([]int, s[0])
			for i := range rows {
				rows[i] = i * 7 % s[0]
			}
			index := r.indices(rows...)
			r.bench(b, "forward", dt, s, func() { r.c.Gather(result, 0, src, 0, s[1], index) })
		}
	}
}
