package ops_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/ops/oracle"
	"vkdomino/tensors"
)

func TestSwiGLU(t *testing.T) {
	for _, dt := range storages {
		t.Run(dt.String(), func(t *testing.T) {
			r := newRig(t, 1)
			for _, s := range oracle.Sweep(2, 5, 40, 1<<16) {
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

// TestSwiGLUInPlace lets the results overwrite what they are made from, in bindings smaller than the tensors.
func TestSwiGLUInPlace(t *testing.T) {
	for _, skip := range []int{0, 1} {
		r := newRig(t, 2)
		r.bindings(80 << 10)
		make1 := func() (tensors.Tensor, []float64) {
			x := r.tensor(tensors.BF16, skip, 60000)
			return x, r.fill(x, r.values(60000))
		}
		gate, g := make1()
		up, u := make1()
		dOut, d := make1()
		inGate, inUp := r.tensor(tensors.BF16, skip, 60000), r.tensor(tensors.BF16, skip, 60000)
		r.fill(inGate, r.floats(gate))
		r.fill(inUp, r.floats(up))
		r.c.SwiGLU(inGate, inGate, up)
		r.c.SwiGLU(inUp, gate, inUp)
		r.submit()
		r.near(inGate, oracle.SwiGLU(g, u), elementwise)
		require.Equal(t, r.floats(inGate), r.floats(inUp))

		r.c.SwiGLUBackward(gate, up, dOut, gate, up)
		r.submit()
		wantG, wantU := oracle.SwiGLUBackward(d, g, u)
		r.near(gate, wantG, elementwise)
		r.near(up, wantU, elementwise)
	}
}

// extremes are values at which exp over- or underflows, or that must spread.
var extremes = []float32{0, 1, -1, 20, -20, 80, -80, 100, -100, 1e4, -1e4, 1e30, -1e30, 1e-30,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 0.5}

func TestSwiGLUValues(t *testing.T) {
	r := newRig(t, 3)
	n := len(extremes)
	gate, up, dOut := r.tensor(tensors.F32, 0, n), r.tensor(tensors.F32, 0, n), r.tensor(tensors.F32, 0, n)
	g := r.fill(gate, extremes)
	ones := make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	u := r.fill(up, ones)
	d := r.fill(dOut, ones)
	result, dGate, dUp := r.tensor(tensors.F32, 0, n), r.tensor(tensors.F32, 0, n), r.tensor(tensors.F32, 0, n)
	r.c.SwiGLU(result, gate, up)
	r.c.SwiGLUBackward(dGate, dUp, dOut, gate, up)
	r.submit()
	wantG, wantU := oracle.SwiGLUBackward(d, g, u)
	for i, want := range [][]float64{oracle.SwiGLU(g, u), wantG, wantU} {
		got := r.floats([]tensors.Tensor{result, dGate, dUp}[i])
		for j, w := range want {
			requireClose(t, float64(got[j]), w, "output %d at %g", i, extremes[j])
		}
	}
}

// requireClose wants 1e-5 of a finite value (values below 1e-30 count as 0), and the same non-finite value.
func requireClose(t *testing.T, got, want float64, args ...any) {
	t.Helper()
	switch {
	case math.IsNaN(want) || math.IsInf(want, 0):
		require.Equal(t, math.IsNaN(want), math.IsNaN(got), args...)
		if !math.IsNaN(want) {
			require.Equal(t, want, got, args...)
		}
	default:
		require.LessOrEqual(t, math.Abs(got-want), 1e-5*math.Abs(want)+1e-30, args...)
	}
}

func TestSwiGLUErrors(t *testing.T) {
	r := newRig(t, 4)
	a, b := r.tensor(tensors.F32, 0, 4, 2), r.tensor(tensors.BF16, 0, 4, 2)
	r.c.SwiGLU(a, a, b)
	require.ErrorContains(t, r.c.Submit(), "ops: swiglu: tensor: want [4 2] F32, got [4 2] BF16")
	r.c.SwiGLUBackward(a, a, a, a, r.tensor(tensors.F32, 0, 4, 3))
	require.ErrorContains(t, r.c.Submit(), "ops: swiglu backward: tensor: want [4 2] F32, got [4 3] F32")
	i := r.tensor(tensors.I32, 0, 4)
	r.c.SwiGLU(i, i, i)
	require.ErrorContains(t, r.c.Submit(), "want dtype F32 or BF16, got I32")
}

func BenchmarkSwiGLU(b *testing.B) {
	for _, dt := range storages {
		r := newRig(b, 5)
		gate, _ := r.input(dt, 1024, 320)
		up, _ := r.input(dt, 1024, 320)
		dOut, _ := r.input(dt, 1024, 320)
		r.bench(b, "forward", dt, gate.Shape, func() { r.c.SwiGLU(dOut, gate, up) })
		r.bench(b, "backward", dt, gate.Shape, func() { r.c.SwiGLUBackward(gate, up, dOut, gate, up) })
	}
}
