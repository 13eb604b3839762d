package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGatherAndScatterRows(t *testing.T) {
	in := []float64{1, 2, 3, 4, 5, 6}
	require.Equal(t, []float64{5, 6, 0, 0, 1, 2, 5, 6}, GatherRows(in, []int{2, -1, 0, 2}, 2))
	got := ScatterAddRows([]float64{1, 2, 3, 4, 5, 6, 7, 8}, []int{2, -1, 0, 2}, 3, 2)
	require.Equal(t, []float64{5, 6, 0, 0, 8, 10}, got)
	require.Empty(t, GatherRows(in, nil, 2))
	require.Equal(t, []float64{0, 0}, ScatterAddRows(nil, nil, 1, 2))
}

func TestGatherRowsGradients(t *testing.T) {
	shapes := [][]int{{1, 1, 1}, {2, 3, 1}, {3, 2, 2}, {4, 4, 3}, {1, 6, 2}, {5, 1, 4}, {6, 7, 1}, {3, 9, 5}}
	eachShape(t, shapes, func(t *testing.T, s []int, seed uint64) {
		rows, n, c := s[0], s[1], s[2]
		index := randomInts(seed, n, rows+1)
		for i := range index {
			index[i]-- // some rows are absent
		}
		in, dOut := random(seed, rows*c), random(seed+1, n*c)
		loss := func() float64 { return dot(dOut, GatherRows(in, index, c)) }
		gradCheck(t, "in", in, ScatterAddRows(dOut, index, rows, c), loss)
	})
}

func TestEmbedding(t *testing.T) {
	table := []float64{0, 1, 10, 11, 20, 21}
	require.Equal(t, []float64{20, 21, 0, 1, 20, 21}, Embedding(table, []int{2, 0, 2}, 2))
	require.Empty(t, Embedding(table, nil, 2))
	require.Panics(t, func() { Embedding(table, []int{3}, 2) })
}

// TestAdjoint checks <y, Jx> = <Jᵀy, x> for the linear ops, 100 times each.
func TestAdjoint(t *testing.T) {
	for i := range uint64(100) {
		size := randomInts(i, 3, 6)
		m, n, k := size[0]+1, size[1]+1, size[2]+1
		x, w, y := random(i, m*k), random(i+1000, n*k), random(i+2000, m*n)
		require.InDelta(t, dot(y, GEMMNT(x, w, m, n, k, nil)), dot(GEMMNN(y, w, m, k, n, nil), x), 1e-12)

		index := randomInts(i, n, m)
		g := random(i+3000, n*k)
		require.InDelta(t, dot(g, GatherRows(x, index, k)), dot(ScatterAddRows(g, index, m, k), x), 1e-12)

		cos, sin := RoPETable(16, 2*k, 1e4)
		pos := randomInts(i, m, 16)
		a, b := random(i+4000, m*n*2*k), random(i+5000, m*n*2*k)
		forward := dot(b, RoPE(a, cos, sin, pos, m, n, 2*k))
		require.InDelta(t, forward, dot(RoPEBackward(b, cos, sin, pos, m, n, 2*k), a), 1e-12)
	}
}
