package domino

import (
	"math"

	"vkdomino/internal/fail"
)

// ApplyDPACE fills in the weights of the D-PACE objective from the draft's cross-entropy on
// the hard labels, ce [Len()]: w = m * DPaceWeights(...) block by block. The weights are
// detached: no gradient flows through them. Calling it for another objective, or with a
// length that does not fit, is an error. Source: spec.md §7.5.
func (t *Targets) ApplyDPACE(ce []float32) error {
	if t.options.Objective != ObjectiveDPACE {
		return fail.New(fail.Other, "", "domino: D-PACE weights: want objective dpace, got %s", t.options.Objective)
	}
	if err := checkLen("D-PACE weights: cross-entropy", len(ce), t.Len()); err != nil {
		return err
	}
	for lo, hi := range t.blockRanges() {
		q, valid := make([]float64, t.BlockSize), make([]bool, t.BlockSize)
		for r := lo; r < hi; r++ {
			q[t.K[r]], valid[t.K[r]] = math.Exp(-float64(ce[r])), t.Mask[r] > supervisedAbove
		}
		w := DPaceWeights(q[1:], valid[1:], t.options.DPaceAlpha)
		for r := lo; r < hi; r++ {
			t.Weight[r] = t.Mask[r] * w[t.K[r]-1]
		}
	}
	return nil
}

// DPaceWeights returns the D-PACE weights of one block's predicted positions from the
// probabilities q that the draft gives their labels:
//
//	qt_j = alpha + (1-alpha) q_j where valid, else 1;  C_j = prod_{i<=j} qt_i
//	weight_j = sum_{m>=j, m valid} C_m
//
// The value at a position that is not valid means nothing until it is multiplied by its m.
// q and valid have equal length. Source: spec.md §7.5 (arXiv:2605.18810).
func DPaceWeights(q []float64, valid []bool, alpha float64) []float64 {
	w := make([]float64, len(q))
	c := 1.0
	for j := range q {
		if valid[j] {
			c *= alpha + (1-alpha)*q[j]
			w[j] = c
		}
	}
	sum := 0.0
	for j := len(w) - 1; j >= 0; j-- {
		sum += w[j] // still 0 where j is not valid
		w[j] = sum
	}
	return w
}

// blockRanges yields, for every block with head rows, the range [lo, hi) of its head rows.
func (t *Targets) blockRanges() func(yield func(lo, hi int) bool) {
	return func(yield func(lo, hi int) bool) {
		for lo := 0; lo < t.Len(); {
			block, hi := int(t.Row[lo])/t.BlockSize, lo+1
			for hi < t.Len() && int(t.Row[hi])/t.BlockSize == block {
				hi++
			}
			if !yield(lo, hi) {
				return
			}
			lo = hi
		}
	}
}
