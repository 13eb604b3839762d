package domino

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

// C28: the values of spec.md §8, with the float traps of C43.
func TestLambdaAt(t *testing.T) {
	for _, tc := range []struct {
		g, total           int
		start, ratio, want float64
	}{
		{0, 100, 1, 1, 1}, {50, 100, 1, 1, .5}, {99, 100, 1, 1, .01}, {100, 100, 1, 1, 0}, {150, 100, 1, 1, 0},
		{25, 100, 1, .5, .5}, {50, 100, 1, .5, 0}, {4, 10, 1, .5, .2}, {5, 10, 1, .5, 0}, {1, 3, 1, .5, 0},
		{3, 7, .8, .6, .2}, {1999, 2000, 1, 1, .0005}, {500, 2000, 1, .25, 0}, {0, 0, 1, 1, 1}, {10, 0, 1, 1, 0},
		{28, 100, 1, .29, 0}, {27, 100, 1, .29, 1 - 27.0/28},
	} {
		s := LambdaSchedule{Start: tc.start, Ratio: tc.ratio, Total: tc.total}
		require.InDelta(t, tc.want, s.At(tc.g), 1e-15, "%+v", tc)
	}
	// exactly what the reference computed for the last step of a golden case of 5 steps
	require.Equal(t, 0.19999999999999996, LambdaSchedule{Start: 1, Ratio: 1, Total: 5}.At(4))
}

func TestNewLambdaSchedule(t *testing.T) {
	s, err := NewLambdaSchedule(1, 0.5, 100, false)
	require.NoError(t, err)
	require.Equal(t, LambdaSchedule{Start: 1, Ratio: 0.5, Total: 100}, s)

	s, err = NewLambdaSchedule(0.7, 1, -1, true) // unknown T: start, then 0
	require.NoError(t, err)
	require.True(t, s.TotalUnknown)
	require.Equal(t, []float64{0.7, 0, 0}, []float64{s.At(0), s.At(1), s.At(2)})

	for _, tc := range []struct {
		start, ratio float64
		total        int
		want         string
	}{
		{1.1, 1, 10, "dflash_lambda_base_start: want 0 to 1, got 1.1"},
		{-.1, 1, 10, "got -0.1"},
		{math.NaN(), 1, 10, "got NaN"},
		{1, 0, 10, "dflash_lambda_base_decay_ratio: want above 0, at most 1, got 0"},
		{1, 1.5, 10, "got 1.5"},
		{1, 1, 0, "want a known number of training steps, got 0"},
	} {
		_, err = NewLambdaSchedule(tc.start, tc.ratio, tc.total, false)
		require.ErrorContains(t, err, tc.want)
		require.Equal(t, fail.Usage, fail.CodeOf(err))
	}
}
