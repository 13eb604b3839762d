package oracle

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRMSNormConformance holds cases C37 and C37b of spec.md §19.A.
func TestRMSNormConformance(t *testing.T) {
	ones := []float64{1, 1, 1, 1}
	for _, c := range []struct {
		name      string
		in, want  []float64
		tolerance float64
	}{
		{"C37", []float64{1, -2, 3, -4}, []float64{.365148, -.730297, 1.095445, -1.460593}, 5e-7},
		{"C37b", []float64{1e-3, -2e-3, 3e-3, -4e-3}, []float64{.342997170, -.685994341, 1.028991511, -1.371988681}, 5e-10},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, rstd := RMSNorm(c.in, ones, 1, 4, 1e-6)
			near(t, c.want, out, c.tolerance)
			require.InDelta(t, out[0]/c.in[0], rstd[0], 1e-9)
		})
	}
}

func TestRMSNormEmpty(t *testing.T) {
	out, rstd := RMSNorm(nil, []float64{1, 2}, 0, 2, 1e-6)
	require.Empty(t, out)
	require.Empty(t, rstd)
	out, rstd = RMSNorm(nil, nil, 2, 0, 1e-6)
	require.Empty(t, out)
	near(t, []float64{1000, 1000}, rstd, 1e-9)
}

func TestRMSNormGradients(t *testing.T) {
	shapes := [][]int{{1, 1}, {1, 2}, {2, 1}, {2, 3}, {3, 4}, {5, 2}, {4, 8}, {2, 17}}
	eachShape(t, shapes, func(t *testing.T, s []int, seed uint64) {
		n, c := s[0], s[1]
		const eps = 1e-3
		in, weight, dOut := random(seed, n*c), random(seed+1, c), random(seed+2, n*c)
		loss := func() float64 {
			out, _ := RMSNorm(in, weight, n, c, eps)
			return dot(dOut, out)
		}
		_, rstd := RMSNorm(in, weight, n, c, eps)
		dIn, dWeight := RMSNormBackward(dOut, in, weight, rstd, n, c)
		gradCheck(t, "in", in, dIn, loss)
		gradCheck(t, "weight", weight, dWeight, loss)
	})
}
