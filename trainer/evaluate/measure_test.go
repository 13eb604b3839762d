package evaluate

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
)

// handMade is three prompts of which the last has no cycle.
func handMade() *domino.Decoding {
	return &domino.Decoding{
		Generations: []domino.Generation{
			{Tokens: []int32{1, 2, 3, 4, 5}, AcceptanceLengths: []int{1, 3}},
			{Tokens: []int32{1, 2, 3}, AcceptanceLengths: []int{4}},
			{},
		},
		Stats: domino.Stats{Cycles: 2, Decode: 10 * time.Millisecond},
	}
}

func targetAlone() *domino.Decoding {
	return &domino.Decoding{
		Generations: []domino.Generation{
			{Tokens: []int32{1, 2, 3, 4, 5}, AcceptanceLengths: []int{1, 1, 1, 1}},
			{Tokens: []int32{1, 2, 9}, AcceptanceLengths: []int{1, 1}},
			{},
		},
		Stats: domino.Stats{Cycles: 4, Decode: 40 * time.Millisecond},
	}
}

func TestMeasure(t *testing.T) {
	m := NewMeasure(handMade(), targetAlone(), 3, 500)
	require.Equal(t, 3.0, m.Tau) // (2 + 4) / 2, not 8/3 over cycles
	require.Equal(t, []float64{2, 4, 0}, m.Samples)
	require.Equal(t, 3, m.Cycles)
	require.Equal(t, 8, m.Tokens)
	require.Equal(t, []int{1, 0, 1, 1}, m.Histogram)
	require.Equal(t, []float64{2.0 / 3, 2.0 / 3, 1.0 / 3}, m.Accepted)
	require.Equal(t, 3.0/8, m.CallsPerToken)
	require.Equal(t, 2.0, m.CallSpeedUp)
	require.Equal(t, 5.0, m.CycleMillis)
	require.Equal(t, 4.0, m.WallSpeedUp)
	require.Equal(t, []float64{2, 4}, []float64{m.Low, m.High}) // of two values, one in four samples is all 2
	require.Equal(t, 2, m.Lossless.Equal)
	require.Equal(t, 3, m.Lossless.Of)
	require.Equal(t, 1, *m.Lossless.Prompt)
	require.Equal(t, 2, *m.Lossless.Position)
	require.False(t, m.Lossless.OK())
}

func TestMeasureOfTheTargetAlone(t *testing.T) {
	m := NewMeasure(targetAlone(), targetAlone(), 0, 10)
	require.Equal(t, 1.0, m.Tau)
	require.Equal(t, 1.0, m.CallsPerToken)
	require.Equal(t, 1.0, m.CallSpeedUp)
	require.Equal(t, []int{6}, m.Histogram)
	require.Empty(t, m.Accepted)
	require.True(t, m.Lossless.OK())
}

// TestMeasureWithoutACycle has no division by zero, which JSON could not hold.
func TestMeasureWithoutACycle(t *testing.T) {
	none := &domino.Decoding{Generations: make([]domino.Generation, 2)}
	_, err := json.Marshal(NewMeasure(none, none, 7, 10))
	require.NoError(t, err)
}

func TestLosslessFindsAnAnswerThatIsTooShort(t *testing.T) {
	l := compare([]domino.Generation{{Tokens: []int32{1}}}, []domino.Generation{{Tokens: []int32{1, 2}}})
	require.False(t, l.OK())
	require.Equal(t, 1, *l.Position)
}

// TestBootstrap compares with the normal interval, which holds for many values.
func TestBootstrap(t *testing.T) {
	values := make([]float64, 400)
	mean, square := 0.0, 0.0
	for i := range values {
		values[i] = float64(domino.Mix(uint64(i)) % 8)
		mean += values[i] / 400
		square += values[i] * values[i] / 400
	}
	half := 1.96 * math.Sqrt((square-mean*mean)/400)
	low, high := Bootstrap(values, 2000, 1)
	require.InDelta(t, mean-half, low, 0.03)
	require.InDelta(t, mean+half, high, 0.03)
	again, _ := Bootstrap(values, 2000, 1)
	require.Equal(t, low, again)
	other, _ := Bootstrap(values, 2000, 2)
	require.NotEqual(t, low, other)
	low, high = Bootstrap([]float64{1.5}, 10, 1)
	require.Equal(t, []float64{1.5, 1.5}, []float64{low, high})
}

func TestQuantile(t *testing.T) {
	sorted := []float64{0, 10, 20}
	for q, want := range map[float64]float64{0: 0, 0.25: 5, 0.5: 10, 1: 20} {
		require.Equal(t, want, quantile(sorted, q))
	}
}
