package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

func TestGatherIDs(t *testing.T) {
	r := newRig(t, 1)
	for _, n := range []int{0, 1, 7, 8, 65, 1000} {
		src := make([]int, 50)
		for i := range src {
			src[i] = r.random.IntN(1 << 30)
		}
		index := make([]int, n)
		for i := range index {
			index[i] = r.random.IntN(len(src))
		}
		result := r.tensor(tensors.I32, 0, n)
		r.c.GatherIDs(result, r.indices(src...), r.indices(index...))
		r.submit()
		require.Equal(t, oracle.GatherIDs(src, index), r.integers(result))
		r.clear()
	}
}

func TestGatherIDsErrors(t *testing.T) {
	r := newRig(t, 2)
	r.c.GatherIDs(r.tensor(tensors.I32, 0, 2), r.indices(1, 2, 3), r.indices(0))
	require.ErrorContains(t, r.c.Submit(), "ops: gather ids: result: want [1], got [2]")
}
