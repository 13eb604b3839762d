package oracle

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCausalAttentionByHand(t *testing.T) {
	s := CausalShape{Batch: 1, Queries: 2, Heads: 1, KVHeads: 1, HeadDim: 1}
	out, lse := CausalAttention([]float64{5, 2}, []float64{1, 3}, []float64{10, 20}, s)
	second := (10*math.Exp(2) + 20*math.Exp(6)) / (math.Exp(2) + math.Exp(6))
	near(t, []float64{10, second}, out, 1e-13)
	near(t, []float64{5, math.Log(math.Exp(2) + math.Exp(6))}, lse, 1e-13)
}

// TestCausalAttentionIsCausal changes one key and value; only the rows that see it may move.
func TestCausalAttentionIsCausal(t *testing.T) {
	const b, n, hd = 2, 5, 4
	s := CausalShape{Batch: b, Queries: n, Heads: 4, KVHeads: 2, HeadDim: hd}
	q, k, v := random(1, b*n*4*hd), random(2, b*n*2*hd), random(3, b*n*2*hd)
	before, _ := CausalAttention(q, k, v, s)
	const at = 1*n + 2 // sequence 1, position 2
	k[at*2*hd]++
	v[at*2*hd]++
	after, _ := CausalAttention(q, k, v, s)
	for row := range b * n {
		same := row < at
		old, moved := before[row*4*hd:(row+1)*4*hd], after[row*4*hd:(row+1)*4*hd]
		require.Equal(t, same, equal(old, moved), "row %d", row)
		require.Equal(t, old[2*hd:], moved[2*hd:], "heads 2 and 3 use the other KV head")
	}
}

// equal says that two slices hold the same bits.
func equal(a, b []float64) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// TestCausalAttentionWithCache checks that the last queries against a cache give what they give
// in a full pass.
func TestCausalAttentionWithCache(t *testing.T) {
	const n, past, hd, heads = 7, 4, 3, 2
	full := CausalShape{Batch: 1, Queries: n, Heads: heads, KVHeads: 1, HeadDim: hd}
	q, k, v := random(1, n*heads*hd), random(2, n*hd), random(3, n*hd)
	want, wantLSE := CausalAttention(q, k, v, full)
	tail := CausalShape{Batch: 1, Queries: n - past, Past: past, Heads: heads, KVHeads: 1, HeadDim: hd}
	got, lse := CausalAttention(q[past*heads*hd:], k, v, tail)
	require.Equal(t, want[past*heads*hd:], got)
	require.Equal(t, wantLSE[past*heads:], lse)
}

// TestAttentionSurvivesLargeScores checks that scores of 1e4 neither overflow nor lose the winner.
func TestAttentionSurvivesLargeScores(t *testing.T) {
	s := CausalShape{Batch: 1, Queries: 2, Heads: 1, KVHeads: 1, HeadDim: 1}
	out, lse := CausalAttention([]float64{100, 100}, []float64{-100, 100}, []float64{1, 2}, s)
	require.Equal(t, []float64{1, 2}, out)
	require.Equal(t, []float64{-1e4, 1e4}, lse)
}
