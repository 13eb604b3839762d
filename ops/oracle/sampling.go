package oracle

import (
	"cmp"
	"slices"
)

// greedyTemperature is the temperature below which decoding is greedy. Source: spec.md §14.3.
const greedyTemperature = 1e-5

// Filter says how a row of logits becomes the probabilities that a token is drawn from.
type Filter struct {
	Temperature float64 // logits are divided by it; below 1e-5 the largest logit takes all
	TopK        int     // keep the K most probable tokens; 0 keeps all
	TopP        float64 // keep the fewest of the most probable tokens that sum to at least P; 0 and 1 keep all
}

// SamplingProbs returns softmax(logits/temperature), filtered by top-k and then by top-p of what
// is left, and normalised; [V]. Among equal probabilities the smaller index counts as larger.
// At least one token is always kept. Source: spec.md §14.3.
func SamplingProbs(logits []float64, f Filter) []float64 {
	out := make([]float64, len(logits))
	if len(logits) == 0 {
		return out
	}
	if f.Temperature < greedyTemperature {
		out[Argmax(logits)] = 1
		return out
	}
	scaled := make([]float64, len(logits))
	for i, x := range logits {
		scaled[i] = x / f.Temperature
	}
	p := Softmax(scaled)
	kept := f.topP(p, f.topK(byProbability(p)))
	total := mass(p, kept)
	for _, i := range kept {
		out[i] = p[i] / total
	}
	return out
}

// byProbability returns all indices of p, the most probable first, ties by smaller index.
func byProbability(p []float64) []int {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[b], p[a]) })
	return order
}

// topK cuts an order down to its first K indices.
func (f Filter) topK(order []int) []int {
	if f.TopK <= 0 {
		return order
	}
	return order[:min(f.TopK, len(order))]
}

// topP cuts an order down to the shortest prefix whose share of the order's mass reaches P.
func (f Filter) topP(p []float64, order []int) []int {
	if f.TopP <= 0 || f.TopP >= 1 {
		return order
	}
	need, sum := f.TopP*mass(p, order), 0.0
	for n, i := range order {
		sum += p[i]
		if sum >= need {
			return order[:n+1]
		}
	}
	return order
}

// mass is the sum of p over some indices.
func mass(p []float64, at []int) float64 {
	sum := 0.0
	for _, i := range at {
		sum += p[i]
	}
	return sum
}

// SampleIndex returns the index that a uniform number u in [0, 1) draws from p: the first whose
// cumulative probability exceeds u. Rounding may leave the total below u; then it is the last
// index with a probability above 0. It returns -1 where there is none.
func SampleIndex(p []float64, u float64) int {
	last, sum := -1, 0.0
	for i, x := range p {
		if x <= 0 {
			continue
		}
		last = i
		sum += x
		if sum > u {
			break
		}
	}
	return last
}
