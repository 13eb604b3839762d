package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// places are n distinct rows of rows, some of them left out.
func (r *rig) places(n, rows int) []int {
	index := make([]int, n)
	for i, to := range r.random.Perm(max(n, rows))[:n] {
		index[i] = to
		if to >= rows || r.random.IntN(5) == 0 {
			index[i] = -1
		}
	}
	return index
}

// scatterWant is old with the rows of src that have a place.
func scatterWant(old, src []float64, index []int, cols int) []float64 {
	want := oracle.ScatterAddRows(src, index, len(old)/cols, cols)
	taken := map[int]bool{}
	for _, to := range index {
		taken[to] = true
	}
	for i := range want {
		if !taken[i/cols] {
			want[i] = old[i]
		}
	}
	return want
}

func TestScatter(t *testing.T) {
	sizes := [][]int{{0, 1, 3, 8, 33, 257}, {1, 2, 17, 300}, {1, 3, 4, 8, 64, 65}}
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 1)
			for _, s := range oracle.SweepOf(sizes, 11, 40, 1<<18) {
				n, rows, cols := s[0], s[1], s[2]
				src, sv := r.input(dt, n, cols)
				result, old := r.input(dt, rows, cols)
				index := r.places(n, rows)
				r.c.Scatter(result, src, r.indices(index...))
				r.submit()
				r.near(result, scatterWant(old, sv, index, cols), exact, s)
				r.clear()
			}
		})
	}
}

// TestScatterBindings cuts source and result into many bindings.
func TestScatterBindings(t *testing.T) {
	r := newRig(t, 2)
	r.bindings(8 << 10)
	src, sv := r.input(tensors.F32, 200, 60)
	result, old := r.input(tensors.F32, 300, 60)
	index := r.places(200, 300)
	r.c.Scatter(result, src, r.indices(index...))
	r.submit()
	r.near(result, scatterWant(old, sv, index, 60), exact)
}

func TestScatterErrors(t *testing.T) {
	r := newRig(t, 3)
	a, b := r.tensor(tensors.F32, 0, 2, 8), r.tensor(tensors.F32, 0, 4, 7)
	r.c.Scatter(b, a, r.indices(0, 1))
	require.ErrorContains(t, r.c.Submit(), "ops: scatter: result: want [4 8], got [4 7]")
	r.c.Scatter(a, a, r.indices(0, 1, 1))
	require.ErrorContains(t, r.c.Submit(), "ops: scatter: index: want [2], got [3]")
	r.c.Scatter(r.tensor(tensors.BF16, 0, 4, 8), a, r.indices(0, 1))
	require.ErrorContains(t, r.c.Submit(), "want dtype F32, got BF16")
}
