package ops_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

func TestCandidates(t *testing.T) {
	r := newRig(t, 1)
	for _, s := range [][3]int{{1, 1, 1}, {2, 7, 3}, {3, 8, 8}, {2, 65, 1}, {3, 129, 40}, {2, 1008, 100}, {1, 1008, 1008}, {1, 4099, 2048}} {
		for _, ties := range []bool{false, true} {
			n, cols, k := s[0], s[1], s[2]
			x := r.tensor(tensors.F32, 0, n, cols)
			values := r.values(n * cols)
			for i := range values {
				if ties {
					values[i] = float32(math.Round(float64(values[i])))
				}
			}
			v := r.fill(x, values)
			result := r.tensor(tensors.I32, 0, n, k)
			r.c.Candidates(result, x)
			r.submit()
			var want []int
			for _, row := range rowsOf(v, cols) {
				want = append(want, oracle.Candidates(row, k)...)
			}
			require.Equal(t, want, r.integers(result), "%v, ties %v", s, ties)
			r.clear()
		}
	}
}

func TestCorrectCandidates(t *testing.T) {
	sizes := [][]int{{1, 2, 5}, {1, 7, 64}, {64, 129, 1000}, {1, 4, 31, 32}}
	for _, dt := range storages {
		r := newRig(t, 2)
		for i, s := range oracle.SweepOf(sizes, 15, 16, 1<<22) {
			n, k, cols, E := s[0], s[1], s[2], s[3]
			if i%2 == 1 {
				r.bindings(8 << 10) // W2 in parts
			}
			base, bv := r.input(tensors.F32, n, cols)
			act, av := r.input(dt, n, E)
			w2, wv := r.input(dt, cols, E)
			logits := r.tensor(tensors.F32, 0, n, cols)
			var index []int
			var want []float64
			for row := range n {
				list := oracle.Candidates(bv[row*cols:(row+1)*cols], k)
				index = append(index, list...)
				want = append(want, oracle.CorrectCandidates(bv[row*cols:(row+1)*cols], av[row*E:(row+1)*E], wv, list)...)
			}
			r.c.CorrectCandidates(logits, base, r.indices(index...).View(n, k), act, w2)
			r.submit()
			r.near(logits, want, matmul, s)
			r.clear()
		}
	}
}

func TestCandidatesErrors(t *testing.T) {
	r := newRig(t, 3)
	r.c.Candidates(r.tensor(tensors.I32, 0, 2, 5), r.tensor(tensors.F32, 0, 2, 4))
	require.ErrorContains(t, r.c.Submit(), "ops: candidates: want 1 to 4 candidates, got 5")
	f := func(shape ...int) tensors.Tensor { return r.tensor(tensors.F32, 0, shape...) }
	r.c.CorrectCandidates(f(2, 4), f(2, 4), r.tensor(tensors.I32, 0, 2, 2), f(2, 3), f(4, 2))
	require.ErrorContains(t, r.c.Submit(), "ops: correct candidates: w2: want [4 3], got [4 2]")
}
