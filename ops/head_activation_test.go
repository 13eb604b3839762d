package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

func TestHeadActivation(t *testing.T) {
	sizes := [][]int{{0, 1, 2, 5, 8, 9, 33}, {1, 3, 8, 64, 129}, {1, 7, 8, 64}, {1, 8, 31}}
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 1)
			for _, shape := range oracle.SweepOf(sizes, 14, 24, 1<<18) {
				n, H, G, E := shape[0], shape[1], shape[2], shape[3]
				z, zv := r.input(dt, n, H)
				s, sv := r.input(tensors.F32, n, G)
				w1, wv := r.input(dt, E, H+G)
				act := r.tensor(dt, 0, n, E)
				r.c.HeadActivation(act, z, s, w1)
				r.submit()
				r.near(act, oracle.HeadActivation(zv, asStored(sv, dt), wv, n, E), matmul, shape)
				r.clear()
			}
		})
	}
}

func TestHeadActivationErrors(t *testing.T) {
	r := newRig(t, 2)
	f := func(shape ...int) tensors.Tensor { return r.tensor(tensors.F32, 0, shape...) }
	r.c.HeadActivation(f(2, 4), f(2, 3), f(2, 5), f(4, 7))
	require.ErrorContains(t, r.c.Submit(), "ops: head activation: w1: want [4 8], got [4 7]")
	r.c.HeadActivation(f(2, 4), f(1, 3), f(2, 5), f(4, 8))
	require.ErrorContains(t, r.c.Submit(), "ops: head activation: z: want [2 3], got [1 3]")
}
