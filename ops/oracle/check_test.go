package oracle

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCompare(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	f32nan, f32inf := float32(nan), float32(inf)
	for _, c := range []struct {
		name         string
		got          []float32
		want         []float64
		nmse, scaled float64
	}{
		{"empty", nil, nil, 0, 0},
		{"exact", []float32{1, -2}, []float64{1, -2}, 0, 0},
		{"zeros", []float32{0, 0}, []float64{0, 0}, 0, 0},
		{"one off", []float32{3, 4.5}, []float64{3, 4}, .25 / 25, .5 / math.Sqrt(12.5)},
		{"not zero", []float32{0, 1e-3}, []float64{0, 0}, inf, float64(float32(1e-3)) / 1e-30},
		{"length", []float32{1}, []float64{1, 2}, inf, inf},
		{"NaN for NaN", []float32{1, f32nan}, []float64{1, nan}, 0, 0},
		{"NaN for a number", []float32{1, f32nan}, []float64{1, 2}, inf, inf},
		{"number for NaN", []float32{1, 2}, []float64{1, nan}, inf, inf},
		{"infinities", []float32{f32inf, -f32inf}, []float64{inf, -inf}, 0, 0},
		{"wrong infinity", []float32{f32inf}, []float64{-inf}, inf, inf},
		{"NaN for an infinity", []float32{f32nan}, []float64{inf}, inf, inf},
		{"infinity for a number", []float32{f32inf}, []float64{1e38}, inf, inf},
		{"beyond float32", []float32{f32inf, 1}, []float64{1e39, 1}, 0, 0},
		{"number for one beyond float32", []float32{3e38}, []float64{1e39}, inf, inf},
		{"huge", []float32{2e30}, []float64{float64(float32(2e30))}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			nmse, scaled := Compare(c.got, c.want)
			require.Equal(t, c.nmse, nmse)
			if math.IsInf(c.scaled, 1) {
				require.Equal(t, c.scaled, scaled)
			} else {
				require.InEpsilon(t, 1+c.scaled, 1+scaled, 1e-14)
			}
		})
	}
}

// TestCompareSeesOneBadElement shows what the scaled maximum is for: one element in a million.
func TestCompareSeesOneBadElement(t *testing.T) {
	const n = 1 << 20
	got, want := make([]float32, n), make([]float64, n)
	for i := range want {
		got[i], want[i] = 1, 1
	}
	got[n/2] = 1.001
	nmse, scaled := Compare(got, want)
	require.Less(t, nmse, 1e-11)
	require.Greater(t, scaled, 9e-4)
}

func product(shape []int) int {
	p := 1
	for _, v := range shape {
		p *= v
	}
	return p
}

func TestSweepIsDeterministicAndCapped(t *testing.T) {
	const limit = 1 << 16
	a := Sweep(3, 7, 40, limit)
	require.Equal(t, a, Sweep(3, 7, 40, limit))
	require.NotEqual(t, a, Sweep(3, 8, 40, limit))
	require.Len(t, a, 40)
	zeros := 0
	for _, shape := range a {
		require.Len(t, shape, 3)
		require.LessOrEqual(t, product(shape), limit)
		for _, v := range shape {
			require.Contains(t, SweepSizes(), v)
		}
		if product(shape) == 0 {
			zeros++
		}
	}
	require.Positive(t, zeros, "empty tensors belong to the sweep")
	require.Less(t, zeros, 15, "and do not crowd out the others")
}

// TestSweepCoversEverySize checks that 40 shapes hold every size of every dimension, also under a
// cap that lets the largest stand only beside the smallest.
func TestSweepCoversEverySize(t *testing.T) {
	for _, limit := range []int{2000, 1 << 16, 1 << 30} {
		for dims := 1; dims <= 3; dims++ {
			seen := map[[2]int]bool{}
			for _, shape := range Sweep(dims, 1, dims*len(SweepSizes()), limit) {
				for d, v := range shape {
					seen[[2]int{d, v}] = true
				}
			}
			require.Len(t, seen, dims*len(SweepSizes()), "limit %d, %d dimensions", limit, dims)
		}
	}
}

// TestSweepCoversPairs checks that shapes are not wasted: without a cap n shapes of two
// dimensions make n pairs, and enough shapes of three make all pairs of a small grid.
func TestSweepCoversPairs(t *testing.T) {
	seen := map[[2]int]bool{}
	for _, shape := range Sweep(2, 3, 441, math.MaxInt) {
		seen[[2]int{shape[0], shape[1]}] = true
	}
	require.Len(t, seen, 441)

	grid := [][]int{{1, 2, 4}, {3, 5}, {16, 32, 64}}
	pairs := map[[4]int]bool{}
	for _, shape := range SweepOf(grid, 1, 14, math.MaxInt) {
		for d := range shape {
			for e := range d {
				pairs[[4]int{e, shape[e], d, shape[d]}] = true
			}
		}
	}
	require.Len(t, pairs, 3*2+3*3+2*3)
}

func TestSweepOfNothing(t *testing.T) {
	require.Empty(t, Sweep(0, 1, 5, 100))
	require.Empty(t, Sweep(2, 1, 0, 100))
	require.Empty(t, SweepOf([][]int{{8, 16}, {8}}, 1, 5, 63))
	require.Equal(t, [][]int{{8, 8}}, SweepOf([][]int{{8, 16}, {8}}, 1, 1, 64))
	for _, shape := range Sweep(2, 1, 5, 0) {
		require.Zero(t, product(shape))
	}
}
