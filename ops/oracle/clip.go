package oracle

import "math"

// clipEps keeps the clip coefficient finite at norm 0. Source: spec.md §10.
const clipEps = 1e-6

// GlobalNorm returns the L2 norm over all elements of all gradients. Source: spec.md §10.
func GlobalNorm(grads ...[]float64) float64 {
	sum := 0.0
	for _, g := range grads {
		sum += dot(g, g)
	}
	return math.Sqrt(sum)
}

// ClipCoefficient returns min(1, maxNorm/(norm+1e-6)), by which every gradient is multiplied.
// A NaN norm gives NaN. Source: spec.md §10.
func ClipCoefficient(norm, maxNorm float64) float64 {
	return math.Min(1, maxNorm/(norm+clipEps))
}
