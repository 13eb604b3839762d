package ops_test

import (
	"testing"

	"vkdomino/ops/oracle"
)

func TestSwiGLU(t *testing.T) {
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 1)
			for _, s := range oracle.Sweep(2, 5, 40, 1<<17) {
				gate, g := r.input(dt, s...)
				up, u := r.input(dt, s...)
				dOut, d := r.input(dt, s...)
				result, dGate, dUp := r.tensor(dt, 0, s...), r.tensor(dt, 0, s...), r.tensor(dt, 0, s...)
				r.c.SwiGLU(result, gate, up)
				r.c.SwiGLUBackward(dGate, dUp, dOut, gate, up)
				r.submit()
				r.near(result, oracle.SwiGLU(g, u), elementwise, s)
				wantG, wantU := oracle.SwiGLUBackward(d, g, u)
				r.near(dGate, wantG, elementwise, s)
				r.near(dUp, wantU, elementwise, s)
				r.clear()
			}
		})
	}
}
