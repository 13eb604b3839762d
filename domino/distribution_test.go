package domino_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/domino"
	"vkdomino/internal/testgpu"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// TestSampledDistribution samples 2,000 tokens of a prompt with each method, and with the
// target alone from another seed; at every position of the answer the two must have one
// distribution, by a chi-square test of homogeneity.
func TestSampledDistribution(t *testing.T) {
	const answers, length = 250, 8
	_, golden, _ := readGeneration(t)
	prompts := make([][]int32, answers)
	for i := range prompts {
		prompts[i] = golden[0][:6]
	}
	d := goldenDecoder(t, testgpu.Context(t), tensors.F32, domino.DecoderConfig{Slots: 125, Context: 6 + length, DraftTokens: 3, PrefillRows: 750}, nil)
	opt := domino.DecodeOptions{MaxNewTokens: length, Sampling: ops.Filter{Temperature: 0.9, TopK: 12}, Seed: 1, NoDraft: true}
	alone := generate(t, d, prompts, opt)
	opt.NoDraft = false
	for i, method := range []domino.Method{domino.Equality, domino.Rejection} {
		opt.Method, opt.Seed = method, uint64(2+i)
		with := generate(t, d, prompts, opt)
		require.Greater(t, domino.Tau(with.Generations), 1.1, "the draft is accepted at times")
		for position := range length {
			z := homogeneity(countTokens(alone, position), countTokens(with, position))
			require.Less(t, z, 4.0, "%s, position %d", method, position)
		}
	}
	require.Greater(t, homogeneity(countTokens(alone, 1), countTokens(alone, 2)), 8.0, "the test tells distributions apart")
}

// countTokens counts the tokens that answers have at a position.
func countTokens(d *domino.Decoding, position int) map[int32]float64 {
	counts := map[int32]float64{}
	for _, g := range d.Generations {
		counts[g.Tokens[position]]++
	}
	return counts
}

// homogeneity is the chi-square statistic of two samples of one size, as a standard normal
// number by Wilson and Hilferty's cube root. Tokens that are rare in both count as one.
func homogeneity(a, b map[int32]float64) float64 {
	const rare = 20
	tokens := map[int32]bool{}
	for _, m := range []map[int32]float64{a, b} {
		for id := range m {
			tokens[id] = true
		}
	}
	var sum, cells, restA, restB float64
	add := func(x, y float64) {
		if x+y > 0 {
			sum += (x - y) * (x - y) / (x + y)
			cells++
		}
	}
	for id := range tokens {
		if a[id]+b[id] < rare {
			restA, restB = restA+a[id], restB+b[id]
			continue
		}
		add(a[id], b[id])
	}
	add(restA, restB)
	k := max(cells-1, 1)
	return (math.Cbrt(sum/k) - (1 - 2/(9*k))) / math.Sqrt(2/(9*k))
}
