package ops_test

import (
	"testing"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

// normEps is larger than in models: with one column dIn is what eps leaves of a
// difference, which f32 cannot hold when eps is tiny.
const normEps = 1e-3

func TestRMSNorm(t *testing.T) {
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 1)
			for _, s := range oracle.Sweep(2, 5, 40, 1<<17) {
				n, cols := s[0], s[1]
				x, xv := r.input(dt, n, cols)
				w, wv := r.input(dt, cols)
				dOut, dv := r.input(dt, n, cols)
				dWeight, dw0 := r.input(tensors.F32, cols)
				result, rstd, dIn := r.tensor(dt, 0, n, cols), r.tensor(tensors.F32, 0, n), r.tensor(dt, 0, n, cols)
				r.c.RMSNorm(result, rstd, x, w, normEps)
				r.c.RMSNormBackward(dIn, dWeight, dOut, x, rstd, w, false)
				r.submit()
				want, wantR := oracle.RMSNorm(xv, wv, n, cols, normEps)
				r.near(result, want, rowwise, s)
				if cols > 0 { // rows of no columns have no norm
					r.near(rstd, wantR, rowwise, s)
				}
				wantIn, wantW := oracle.RMSNormBackward(dv, xv, wv, wantR, n, cols)
				r.near(dIn, wantIn, rowwise, s)
				r.near(dWeight, oracle.Add(dw0, wantW), rowwise, s)
				r.clear()
			}
		})
	}
}
