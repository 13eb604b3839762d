package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops"
	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// TestGemmRowStable wants the same bits of a row whatever the other rows are, also where the
// sum over K is split and where the partial sums outgrow the workspace.
func TestGemmRowStable(t *testing.T) {
	for _, s := range []struct{ m, n, k int }{{70, 32, 1024}, {9, 64, 700}, {300, 8, 4096}, {33, 128, 96}, {33000, 64, 512}} {
		for _, dt := range storages {
			if s.m > 1000 && dt == tensors.BF16 {
				continue // the workspace is of f32 in either case
			}
			r := newRig(t, 5)
			r.c.RowStable = true
			a, av := r.input(dt, s.m, s.k)
			b, bv := r.input(dt, s.n, s.k)
			whole := r.tensor(tensors.F32, 0, s.m, s.n)
			r.c.Gemm(ops.NT, whole, a, b)
			part, at := r.tensor(tensors.F32, 0, 3, s.n), s.m-4
			r.c.Gemm(ops.NT, part, a.Slice(at, at+3), b)
			one := r.tensor(tensors.F32, 0, 1, s.n)
			r.c.Gemm(ops.NT, one, a.Slice(at+1, at+2), b)
			r.submit()
			r.near(part, oracle.GEMMNT(av[at*s.k:(at+3)*s.k], bv, 3, s.n, s.k, nil), matmul)
			require.Equal(t, r.floats(whole.Slice(at, at+3)), r.floats(part), s)
			require.Equal(t, r.floats(part.Slice(1, 2)), r.floats(one), s)
		}
	}
}
