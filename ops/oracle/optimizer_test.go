package oracle

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAdamWConformance holds cases C44 and C44b of spec.md §19.A.
func TestAdamWConformance(t *testing.T) {
	for _, c := range []struct {
		name        string
		o           AdamW
		p           []float64
		grads, want [][]float64
		tolerance   float64
	}{
		{
			"C44", AdamW{LR: 6e-4, Beta1: .9, Beta2: .999, Eps: 1e-8}, []float64{1},
			[][]float64{{.5}, {-.25}}, [][]float64{{.9994}, {.9992401978}}, 5e-11,
		},
		{
			"C44b", AdamW{LR: 1e-3, Beta1: .9, Beta2: .999, Eps: 1e-8, WeightDecay: .01}, []float64{1, 0, .5},
			[][]float64{{1e-8, 2e-3, 0}, {-3e-8, -1e-7, 1e-6}, {5e-9, 4e-8, 1e-2}, {2e-8, 0, -1e-2}},
			[][]float64{
				{.99949, -.000999995, .499995},
				{.999821502986, -.001670001289, .4992562376},
				{.99999157894, -.002187921087, .498612375054},
				{.999906151014, -.002612160701, .498648457837},
			}, 6e-13,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, m, v := c.p, make([]float64, len(c.p)), make([]float64, len(c.p))
			for i, g := range c.grads {
				p, m, v = AdamWStep(c.o, p, m, v, g, i+1)
				near(t, c.want[i], p, c.tolerance)
			}
		})
	}
}

// TestAdamWZeroGradient checks that a gradient of 0 still decays moments and weights.
func TestAdamWZeroGradient(t *testing.T) {
	o := AdamW{LR: .1, Beta1: .9, Beta2: .99, Eps: 1e-8, WeightDecay: .5}
	p, m, v := AdamWStep(o, []float64{2}, []float64{0}, []float64{0}, []float64{0}, 1)
	require.Equal(t, []float64{2 - .1*.5*2}, p)
	require.Equal(t, []float64{0}, m)
	require.Equal(t, []float64{0}, v)
	_, m, v = AdamWStep(o, p, []float64{1}, []float64{4}, []float64{0}, 2)
	near(t, []float64{.9}, m, 1e-16)
	near(t, []float64{3.96}, v, 1e-16)
}

// TestClipConformance holds case C45 of spec.md §19.A.
func TestClipConformance(t *testing.T) {
	norm := GlobalNorm([]float64{3, 0}, nil, []float64{-4})
	require.Equal(t, 5.0, norm)
	require.InDelta(t, .199999960, ClipCoefficient(norm, 1), 5e-10)
	require.InDelta(t, .09999998, ClipCoefficient(norm, .5), 5e-10)
	require.Equal(t, 1.0, ClipCoefficient(.5, 1))
	require.Equal(t, 1.0, ClipCoefficient(0, 1))
	require.True(t, math.IsNaN(ClipCoefficient(math.NaN(), 1)))
	require.Equal(t, 0.0, GlobalNorm())
}

// TestDPaceConformance holds case C33 and the other examples of spec.md §7.5.
func TestDPaceConformance(t *testing.T) {
	const absent = -1 // a position that the mask leaves out
	for _, c := range []struct{ q, want []float64 }{
		{[]float64{.8, .5}, []float64{1.575, .675}},
		{[]float64{1, 1, 1}, []float64{3, 2, 1}},
		{[]float64{0, 0, 0}, []float64{.875, .375, .125}},
		{[]float64{.9, .6, .2}, []float64{2.166, 1.216, .456}},
		{[]float64{.8, absent, .5}, []float64{1.575, 0, .675}},
	} {
		ce, mask := []float64{.1}, []float64{0} // position 0 never counts
		for _, q := range c.q {
			valid := 1.0
			if q == absent {
				q, valid = .3, 0
			}
			ce, mask = append(ce, -math.Log(q)), append(mask, valid)
		}
		w := DPaceWeights(ce, mask, 1, len(ce), .5)
		require.Zero(t, w[0])
		for i := range c.want {
			require.InDelta(t, c.want[i], w[i+1]*mask[i+1], 1e-15)
		}
	}
	w := DPaceWeights([]float64{0, 0, 0, 0}, []float64{0, 1, 0, 1}, 2, 2, 1)
	require.Equal(t, []float64{0, 1, 0, 1}, w, "blocks are independent")
}
