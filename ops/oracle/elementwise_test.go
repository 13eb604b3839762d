package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// lengths are the shapes of the elementwise gradient checks.
var lengths = [][]int{{1}, {2}, {3}, {5}, {8}, {13}, {17}, {32}}

func TestSiLUValues(t *testing.T) {
	near(t, []float64{0, .7310585786300049, -.2689414213699951, 50}, SiLU([]float64{0, 1, -1, 50}), 1e-15)
	near(t, []float64{0, 0, -40 * 4.248354255291589e-18}, SiLU([]float64{-1e4, -800, -40}), 1e-30)
	require.Empty(t, SiLU(nil))
}

func TestSiLUGradients(t *testing.T) {
	eachShape(t, lengths, func(t *testing.T, s []int, seed uint64) {
		in, dOut := random(seed, s[0]), random(seed+1, s[0])
		loss := func() float64 { return dot(dOut, SiLU(in)) }
		gradCheck(t, "in", in, SiLUBackward(dOut, in), loss)
	})
}

func TestSwiGLUIsSiLUTimesUp(t *testing.T) {
	gate, up := random(1, 9), random(2, 9)
	want := SiLU(gate)
	for i := range want {
		want[i] *= up[i]
	}
	near(t, want, SwiGLU(gate, up), 1e-15)
}

func TestSwiGLUGradients(t *testing.T) {
	eachShape(t, lengths, func(t *testing.T, s []int, seed uint64) {
		gate, up, dOut := random(seed, s[0]), random(seed+1, s[0]), random(seed+2, s[0])
		loss := func() float64 { return dot(dOut, SwiGLU(gate, up)) }
		dGate, dUp := SwiGLUBackward(dOut, gate, up)
		gradCheck(t, "gate", gate, dGate, loss)
		gradCheck(t, "up", up, dUp, loss)
	})
}

func TestAddGradients(t *testing.T) {
	eachShape(t, lengths, func(t *testing.T, s []int, seed uint64) {
		a, b, dOut := random(seed, s[0]), random(seed+1, s[0]), random(seed+2, s[0])
		loss := func() float64 { return dot(dOut, Add(a, b)) }
		dA, dB := AddBackward(dOut)
		gradCheck(t, "a", a, dA, loss)
		gradCheck(t, "b", b, dB, loss)
		dA[0]++
		require.NotEqual(t, dA[0], dB[0], "the gradients must not share memory")
	})
}
