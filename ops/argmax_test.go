package ops_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// integers reads an I32 tensor.
func (r *rig) integers(t tensors.Tensor) []int {
	r.t.Helper()
	words, err := r.c.Int32s(t)
	require.NoError(r.t, err)
	out := make([]int, len(words))
	for i, w := range words {
		out[i] = int(w)
	}
	return out
}

// rowsOf cuts values into rows of cols.
func rowsOf(v []float64, cols int) [][]float64 {
	var rows [][]float64
	for at := 0; at+cols <= len(v); at += cols {
		rows = append(rows, v[at:at+cols])
	}
	return rows
}

func TestArgmax(t *testing.T) {
	r := newRig(t, 1)
	for _, s := range oracle.Sweep(2, 12, 40, 1<<17) {
		n, cols := s[0], max(s[1], 1)
		x := r.tensor(tensors.F32, 0, n, cols)
		values := r.values(n * cols)
		for i := range values {
			values[i] = float32(math.Round(float64(values[i]) * 2)) // many ties
		}
		v := r.fill(x, values)
		result := r.tensor(tensors.I32, 0, n)
		r.c.Argmax(result, x)
		r.submit()
		want := []int{}
		for _, row := range rowsOf(v, cols) {
			want = append(want, oracle.Argmax(row))
		}
		require.Equal(t, want, r.integers(result), s)
		r.clear()
	}
}

func TestArgmaxValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		x    []float32
		want int
	}{
		{[]float32{-inf, -inf, -inf, -inf}, 0},
		{[]float32{-inf, -3e38, -inf, -1e38}, 3},
		{[]float32{1, nan, 2, nan}, 2},
		{[]float32{nan, nan, nan, nan}, 0},
		{[]float32{nan, -inf, nan, -inf}, 1},
		{[]float32{1, inf, 3, inf}, 1},
		{[]float32{float32(math.Copysign(0, -1)), 0, 0, -1}, 0},
	} {
		r := newRig(t, 1)
		x, result := r.tensor(tensors.F32, 0, 1, len(c.x)), r.tensor(tensors.I32, 0, 1)
		r.fill(x, c.x)
		r.c.Argmax(result, x)
		r.submit()
		require.Equal(t, []int{c.want}, r.integers(result), c.x)
	}
}

func TestArgmaxBindings(t *testing.T) {
	r := newRig(t, 2)
	r.bindings(8 << 10)
	x, v := r.input(tensors.F32, 100, 300)
	result := r.tensor(tensors.I32, 0, 100)
	r.c.Argmax(result, x)
	r.submit()
	for i, row := range rowsOf(v, 300) {
		require.Equal(t, oracle.Argmax(row), r.integers(result)[i])
	}
}

func TestArgmaxErrors(t *testing.T) {
	r := newRig(t, 3)
	r.c.Argmax(r.tensor(tensors.I32, 0, 2), r.tensor(tensors.F32, 0, 3, 4))
	require.ErrorContains(t, r.c.Submit(), "ops: argmax: result: want [3], got [2]")
	r.c.Argmax(r.tensor(tensors.I32, 0, 2), r.tensor(tensors.F32, 0, 2, 0))
	require.ErrorContains(t, r.c.Submit(), "columns, got 0")
}
