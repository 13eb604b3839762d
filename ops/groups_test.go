package ops_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// someKeys are n keys of which about every second is 7, and the others one of a few.
func (r *rig) someKeys(n, others int) []int32 {
	keys := make([]int32, n)
	for i := range keys {
		keys[i] = 7
		if r.random.IntN(2) == 0 {
			keys[i] = int32(r.random.IntN(others))
		}
	}
	return keys
}

// intsOf reads indices.
func (r *rig) intsOf(t tensors.Tensor) []int {
	v, err := r.c.Int32s(t)
	require.NoError(r.t, err)
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out
}

func TestRowGroups(t *testing.T) {
	r := newRig(t, 1)
	keys := []int32{5, 2, 5, 9, 2, 5}
	g := ops.NewRowGroups(r.c, "groups", 8, false)
	require.Equal(t, []int32{2, 5, 9}, g.Upload(r.c, keys))
	require.Equal(t, []int{1, 0, 1, 2, 0, 1}, r.intsOf(g.Of.View(6)))
	require.Equal(t, 3, g.Count)
	require.Empty(t, g.Upload(r.c, nil))
	require.Zero(t, g.Count)

	each := ops.NewRowGroups(r.c, "groups", 8, true)
	require.Equal(t, keys, each.Upload(r.c, keys))
	require.Equal(t, []int{0, 1, 2, 3, 4, 5}, r.intsOf(each.Of.View(6)))
}

// TestGroupSum has groups of one row, of a piece and of many pieces.
func TestGroupSum(t *testing.T) {
	for _, from := range storages {
		for _, to := range storages {
			t.Run(from.String()+"to"+to.String(), func(t *testing.T) {
				r := newRig(t, 2)
				for _, s := range [][]int{{1, 4, 3}, {3, 7, 9}, {64, 1, 5}, {65, 8, 1}, {700, 33, 30}, {900, 64, 500}, {300, 131, 4}, {150, 520, 2}} {
					n, cols := s[0], s[1]
					x, xv := r.input(from, n, cols)
					g := ops.NewRowGroups(r.c, "groups", n, false)
					g.Upload(r.c, r.someKeys(n, s[2]))
					result := r.tensor(to, 0, g.Count, cols)
					r.c.GroupSum(result, x, g)
					r.submit()
					want := oracle.ScatterAddRows(xv, r.intsOf(g.Of.View(n)), g.Count, cols)
					r.near(result, want, tolerance{f32: 1e-12, bf16: 5e-6, scaled: 1e-5}, s)
					r.clear()
				}
			})
		}
	}
}

// TestGroupSumBits: every row by itself is a copy, and equal inputs give equal bits.
func TestGroupSumBits(t *testing.T) {
	r := newRig(t, 3)
	x, _ := r.input(tensors.BF16, 500, 24)
	keys := r.someKeys(500, 3)
	g := ops.NewRowGroups(r.c, "groups", 500, true)
	g.Upload(r.c, keys)
	same := r.tensor(tensors.BF16, 0, 500, 24)
	r.c.GroupSum(same, x, g)
	r.submit()
	require.Equal(t, r.floats(x), r.floats(same))

	g = ops.NewRowGroups(r.c, "groups", 500, false)
	g.Upload(r.c, keys)
	sum := r.tensor(tensors.F32, 0, g.Count, 24)
	var first []float32
	for range 5 {
		r.c.GroupSum(sum, x, g)
		r.submit()
		if first == nil {
			first = r.floats(sum)
		}
		require.Equal(t, first, r.floats(sum))
	}
	r.c.GroupSum(same, x, g)
	require.ErrorContains(t, r.c.Submit(), fmt.Sprintf("ops: group sum: result: want [%d 24], got [500 24]", g.Count))
}

// TestGRUSharesInputs: a scan over the rows of a smaller gi equals that over the rows laid out.
func TestGRUSharesInputs(t *testing.T) {
	for _, dtype := range storages {
		r := newRig(t, 4)
		k := newGRUCase(r, dtype, 5, 7, 12)
		small, sv := r.input(tensors.F32, 6, 36)
		index := make([]int, 35)
		for i := range index {
			index[i] = r.random.IntN(6)
		}
		r.fill(k.gi, narrow(oracle.GatherRows(sv, index, 36)))
		k.run()
		want := [][]float32{r.floats(k.states()), r.floats(k.gates())}
		k.c.GRU(k.saved, small, r.indices(index...), k.whh, 5, 7)
		r.submit()
		require.Equal(t, want, [][]float32{r.floats(k.states()), r.floats(k.gates())})
		k.c.GRU(k.saved, small, r.indices(1), k.whh, 5, 7)
		require.ErrorContains(t, k.c.Submit(), "ops: gru: index: want [35], got [1]")
	}
}

// TestRoPEFromRows rotates chosen rows, each by its own position.
func TestRoPEFromRows(t *testing.T) {
	for _, dt := range storages {
		r := newRig(t, 5)
		r.bindings(16 << 10)
		cosT, sinT, cos, sin := ropeTables(r, 30, 16)
		x, xv := r.input(dt, 9, 48)
		index, pos := make([]int, 300), make([]int, 300)
		for i := range index {
			index[i], pos[i] = r.random.IntN(9), r.random.IntN(30)
		}
		result := r.tensor(dt, 0, 300, 48)
		r.c.RoPE(result, x, r.indices(index...), cosT, sinT, r.indices(pos...), 16)
		r.submit()
		r.near(result, oracle.RoPE(oracle.GatherRows(xv, index, 48), cos, sin, pos, 300, 3, 16), elementwise)
		r.c.RoPE(result, x, r.indices(1), cosT, sinT, r.indices(pos...), 16)
		require.ErrorContains(t, r.c.Submit(), "ops: rope: index: want [300], got [1]")
	}
}
