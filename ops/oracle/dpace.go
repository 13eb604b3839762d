package oracle

import "math"

// DPaceWeights returns the D-PACE weight of every position of every block:
//
//	qt_j = alpha + (1-alpha)*exp(-ce_j) where m_j > 0.5, else 1    C_j = Π_{1<=i<=j} qt_i
//	weight_j = Σ_{i>=j, m_i>0.5} C_i
//
// for j = 1..bs-1; position 0 has weight 0. ce, mask and the result are [blocks, bs]. The loss
// weight is the result times mask; it is detached, so there is no gradient.
// Source: spec.md §7.5.
func DPaceWeights(ce, mask []float64, blocks, bs int, alpha float64) []float64 {
	out := make([]float64, blocks*bs)
	for b := range blocks {
		for j := 1; j < bs; j++ {
			confidence := 1.0
			for i := 1; i < bs; i++ {
				if mask[b*bs+i] <= 0.5 {
					continue
				}
				confidence *= alpha + (1-alpha)*math.Exp(-ce[b*bs+i])
				if i >= j {
					out[b*bs+j] += confidence
				}
			}
		}
	}
	return out
}
