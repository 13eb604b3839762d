package oracle

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArgmax(t *testing.T) {
	for _, c := range []struct {
		x    []float64
		want int
	}{
		{nil, -1},
		{[]float64{-3}, 0},
		{[]float64{1, 5, 5, 2}, 1},
		{[]float64{2, 2, 2}, 0},
		{[]float64{math.Inf(-1), -1e300}, 1},
	} {
		require.Equal(t, c.want, Argmax(c.x))
	}
}

// TestLogSumExpConformance holds case C36 of spec.md §19.A: any tiling gives the same.
func TestLogSumExpConformance(t *testing.T) {
	for _, tiles := range [][][]float64{
		{{1, 2}, {-1, 3}, {.5}},
		{{1, 2, -1, 3, .5}},
		{{1}, {2}, {-1}, {3}, {.5}},
		{{3, .5}, {}, {-1}, {2, 1}},
	} {
		var all LogSumExp
		for _, xs := range tiles {
			var tile LogSumExp
			tile.Add(xs...)
			all.Merge(tile)
		}
		require.Equal(t, 3.0, all.Max)
		require.InDelta(t, 1.60361536, all.Sum, 5e-9)
		require.InDelta(t, 3.47226068, all.Value(), 5e-9)
	}
}

func TestLogSumExpExtremes(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		x    []float64
		want float64
	}{
		{nil, -inf},
		{[]float64{-inf, -inf}, -inf},
		{[]float64{-inf, 2}, 2},
		{[]float64{1e4, -1e4}, 1e4},
		{[]float64{-1e4, -1e4}, -1e4 + math.Ln2},
		{[]float64{1, inf, 2}, inf},
	} {
		var l LogSumExp
		l.Add(c.x...)
		require.Equal(t, c.want, l.Value())
	}
	for _, x := range [][]float64{{math.NaN(), 1}, {1, math.NaN()}} {
		var l LogSumExp
		l.Add(x...)
		require.True(t, math.IsNaN(l.Value()))
	}
}

func TestSamplingProbs(t *testing.T) {
	logs := func(p ...float64) []float64 {
		for i := range p {
			p[i] = math.Log(p[i])
		}
		return p
	}
	for _, c := range []struct {
		name   string
		logits []float64
		f      Filter
		want   []float64
	}{
		{"plain", logs(.1, .6, .3), Filter{Temperature: 1}, []float64{.1, .6, .3}},
		{"greedy, ties by index", []float64{1, 3, 3}, Filter{}, []float64{0, 1, 0}},
		{"temperature", logs(.1, .2, .7), Filter{Temperature: .5}, []float64{.01 / .54, .04 / .54, .49 / .54}},
		{"top-k", logs(.1, .6, .3), Filter{Temperature: 1, TopK: 2}, []float64{0, 2. / 3, 1. / 3}},
		{"top-k ties", logs(.25, .25, .25, .25), Filter{Temperature: 1, TopK: 2}, []float64{.5, .5, 0, 0}},
		{"top-k beyond", logs(.4, .6), Filter{Temperature: 1, TopK: 9}, []float64{.4, .6}},
		{"top-p crosses", logs(.1, .6, .3), Filter{Temperature: 1, TopP: .65}, []float64{0, 2. / 3, 1. / 3}},
		{"top-p keeps one", logs(.1, .6, .3), Filter{Temperature: 1, TopP: .01}, []float64{0, 1, 0}},
		{"top-p 1", logs(.1, .6, .3), Filter{Temperature: 1, TopP: 1}, []float64{.1, .6, .3}},
		{"top-p of top-k", logs(.4, .3, .2, .1), Filter{Temperature: 1, TopK: 2, TopP: .57}, []float64{1, 0, 0, 0}},
		{"empty", nil, Filter{Temperature: 1}, nil},
	} {
		t.Run(c.name, func(t *testing.T) { near(t, c.want, SamplingProbs(c.logits, c.f), 1e-15) })
	}
}

func TestSampleIndex(t *testing.T) {
	p := []float64{0, .25, 0, .5, .25, 0}
	for _, c := range []struct {
		u    float64
		want int
	}{{0, 1}, {.2499, 1}, {.25, 3}, {.7499, 3}, {.75, 4}, {.9999, 4}} {
		require.Equal(t, c.want, SampleIndex(p, c.u), "u = %g", c.u)
	}
	require.Equal(t, 1, SampleIndex([]float64{.5, .5 - 1e-9, 0}, 1-1e-12), "rounding leaves the total below u")
	require.Equal(t, -1, SampleIndex([]float64{0, 0}, .5))

	rng := rand.New(rand.NewPCG(1, 1))
	const draws = 20000
	count := make([]float64, len(p))
	for range draws {
		count[SampleIndex(p, rng.Float64())]++
	}
	for i := range p {
		require.InDelta(t, p[i], count[i]/draws, .015) // four standard deviations
	}
}
