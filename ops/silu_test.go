package ops_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

func TestSiLU(t *testing.T) {
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 1)
			for _, s := range oracle.Sweep(2, 7, 40, 1<<16) {
				x, xv := r.input(tensors.F32, s...)
				dOut, dv := r.input(tensors.F32, s...)
				result, dIn := r.tensor(dt, 0, s...), r.tensor(dt, 0, s...)
				r.c.SiLU(result, x)
				r.c.SiLUBackward(dIn, dOut, x)
				r.submit()
				r.near(result, oracle.SiLU(xv), elementwise, s)
				r.near(dIn, oracle.SiLUBackward(dv, xv), elementwise, s)
				if dt == tensors.F32 {
					r.c.SiLUBackward(dOut, dOut, x)
					r.submit()
					require.Equal(t, r.floats(dIn), r.floats(dOut))
				}
				r.clear()
			}
		})
	}
}

// TestSiLUValues holds what is beyond the range of exp, and values that are not finite.
func TestSiLUValues(t *testing.T) {
	r := newRig(t, 2)
	n := len(extremes)
	x, result, dIn, dOut := r.tensor(tensors.F32, 0, n), r.tensor(tensors.F32, 0, n), r.tensor(tensors.F32, 0, n), r.tensor(tensors.F32, 0, n)
	v, d := r.fill(x, extremes), r.fill(dOut, r.values(n))
	r.c.SiLU(result, x)
	r.c.SiLUBackward(dIn, dOut, x)
	r.submit()
	want, wantIn := oracle.SiLU(v), oracle.SiLUBackward(d, v)
	for i := range n {
		requireClose(t, r.read(result)[i], want[i], "at %g", extremes[i])
		requireClose(t, r.read(dIn)[i], wantIn[i], "slope at %g", extremes[i])
	}
}

func TestSiLUErrors(t *testing.T) {
	r := newRig(t, 3)
	half, full := r.tensor(tensors.BF16, 0, 4), r.tensor(tensors.F32, 0, 4)
	r.c.SiLU(full, half)
	require.ErrorContains(t, r.c.Submit(), "ops: silu: tensor: want dtype F32, got BF16")
	r.c.SiLUBackward(half, full, full.View(3))
	require.ErrorContains(t, r.c.Submit(), "ops: silu backward: tensor: want [4], got [3]")
}
