package oracle

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Tolerances of the level-1 gradient check: central differences in float64 with a step of 1e-6
// are good to about 1e-9, so these leave room for the loss's own size and still catch any
// wrong term.
const (
	gradStep = 1e-6
	gradRel  = 1e-5
	gradAbs  = 1e-7
)

// random returns n normal numbers, the same for the same seed.
func random(seed uint64, n int) []float64 {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]float64, n)
	for i := range out {
		out[i] = rng.NormFloat64()
	}
	return out
}

// randomInts returns n integers of [0, below), the same for the same seed.
func randomInts(seed uint64, n, below int) []int {
	rng := rand.New(rand.NewPCG(seed, 2))
	out := make([]int, n)
	for i := range out {
		out[i] = rng.IntN(below)
	}
	return out
}

// gradCheck compares every element of grad with the central difference of loss in that element
// of x. loss must read x, which is restored after each element.
func gradCheck(t *testing.T, name string, x, grad []float64, loss func() float64) {
	t.Helper()
	require.Len(t, grad, len(x), name)
	if i, want := gradMismatch(x, grad, loss); i >= 0 {
		require.Failf(t, "wrong gradient", "%s[%d]: want %g, got %g", name, i, want, grad[i])
	}
}

// gradMismatch returns the first element of grad that is off, with its central difference; -1
// where none is. A NaN is off.
func gradMismatch(x, grad []float64, loss func() float64) (i int, want float64) {
	for i, old := range x {
		h := gradStep * math.Max(1, math.Abs(old))
		x[i] = old + h
		up := loss()
		x[i] = old - h
		down := loss()
		x[i] = old
		want := (up - down) / (2 * h)
		if !(math.Abs(grad[i]-want) <= gradAbs+gradRel*math.Abs(want)) {
			return i, want
		}
	}
	return -1, 0
}

// eachShape runs f as a subtest for every shape, with a seed of its own.
func eachShape(t *testing.T, shapes [][]int, f func(t *testing.T, s []int, seed uint64)) {
	t.Helper()
	require.GreaterOrEqual(t, len(shapes), 8, "a gradient check wants 8 shapes")
	for i, s := range shapes {
		t.Run(fmt.Sprint(s), func(t *testing.T) { f(t, s, uint64(100*(i+1))) })
	}
}

// near requires two slices to agree element by element.
func near(t *testing.T, want, got []float64, tolerance float64) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.InDelta(t, want[i], got[i], tolerance, "element %d", i)
	}
}

func TestGradMismatch(t *testing.T) {
	x := []float64{0.3, -2}
	loss := func() float64 { return x[0]*x[0] + 3*x[1] }
	for _, c := range []struct {
		grad []float64
		at   int
	}{
		{[]float64{0.6, 3}, -1},
		{[]float64{0.6001, 3}, 0},
		{[]float64{0.6, 3.0001}, 1},
		{[]float64{0.6, math.NaN()}, 1},
	} {
		at, _ := gradMismatch(x, c.grad, loss)
		require.Equal(t, c.at, at)
		require.Equal(t, []float64{0.3, -2}, x)
	}
}
