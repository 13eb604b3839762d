package oracle

import (
	"math"
	"slices"
)

// Candidates returns the indices of the k largest elements of x, of equal ones the first,
// in ascending order. Source: spec.md §13.5.
func Candidates(x []float64, k int) []int {
	list := byProbability(x)[:k]
	slices.Sort(list)
	return list
}

// CorrectCandidates returns base[v] + W2[v]·act for the candidates v and minus infinity for
// the other elements of a row. base is [V], act is [E], w2 is [V, E]. Source: spec.md §6.1, §13.5.
func CorrectCandidates(base, act, w2 []float64, candidates []int) []float64 {
	out := make([]float64, len(base))
	for v := range out {
		out[v] = math.Inf(-1)
	}
	for _, v := range candidates {
		out[v] = base[v] + dot(w2[v*len(act):(v+1)*len(act)], act)
	}
	return out
}
