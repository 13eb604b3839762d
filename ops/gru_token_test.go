package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

func TestGRUToken(t *testing.T) {
	sizes := [][]int{{0, 1, 2, 5, 8, 9, 33}, {1, 3, 64}, {1, 2, 7, 8, 31, 64}}
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 1)
			for i, s := range oracle.SweepOf(sizes, 13, 24, 1<<18) {
				n, V, G := s[0], s[1], s[2]
				gi, gv := r.input(tensors.F32, V, 3*G)
				whh, hv := r.input(dt, 3*G, G)
				h := r.tensor(tensors.F32, 0, n, G)
				states := r.fill(h, narrow(asStored(widen(r.values(n*G)), dt))) // as the products read them
				next := r.tensor(tensors.F32, 0, n, G)
				if i%3 == 0 {
					h.Shape, states = nil, make([]float64, n*G)
				}
				tokens := make([]int, n)
				for j := range tokens {
					tokens[j] = r.random.IntN(V)
				}
				r.c.GRUToken(next, gi, r.indices(tokens...), h, whh)
				r.submit()
				r.near(next, oracle.GRUToken(gv, tokens, states, hv, G), cell, s)
				r.clear()
			}
		})
	}
}

func TestGRUTokenErrors(t *testing.T) {
	r := newRig(t, 2)
	f := func(shape ...int) tensors.Tensor { return r.tensor(tensors.F32, 0, shape...) }
	r.c.GRUToken(f(2, 4), f(9, 11), r.indices(1, 2), f(2, 4), f(12, 4))
	require.ErrorContains(t, r.c.Submit(), "ops: gru token: gi: want [9 12], got [9 11]")
	r.c.GRUToken(f(2, 4), f(9, 12), r.indices(1, 2), f(1, 4), f(12, 4))
	require.ErrorContains(t, r.c.Submit(), "ops: gru token: h: want [2 4], got [1 4]")
}
