package domino

import (
	"math"

	"vkdomino/internal/fail"
)

// Objective says how the rows of a block are weighted.
type Objective string

// The objectives. Source: spec.md §7.2, §7.5.
const (
	ObjectiveDecay Objective = "decay" // w = m * exp(-e/gamma); e counts from the block's first prediction
	ObjectiveDPACE Objective = "dpace" // w from the draft's own confidences; plain DFlash alone
)

// LabelOptions says how labels and weights are made.
type LabelOptions struct {
	// ShiftLabel: position k predicts token anchor+k+1 (Domino with shift_label true).
	// Without it position k predicts token anchor+k and position 0 has no weight
	// (plain DFlash, and Domino with shift_label false).
	ShiftLabel bool
	// SuffixStart is the first position that the Domino head corrects; BlockSize or more for none.
	SuffixStart int

	Objective  Objective
	DecayGamma float64 // gamma; 0 means no decay. Not used by D-PACE
	DPaceAlpha float64 // alpha of D-PACE, in [0,1]

	// ContiguousLabels cuts every block at its first unsupervised position.
	ContiguousLabels bool
}

// HeadRows are the draft rows that the LM head and the loss are computed for: those whose
// label is supervised, in ascending order of Row. The slices have equal length.
type HeadRows struct {
	Row     []int32 // draft row, block*BlockSize + k
	Label   []int32 // token id that the row has to predict
	Teacher []int32 // row of the target's logits that predicts the same token, b*S + max(idx-1, 0). §7.5
	K       []int32 // position in the block
	Suffix  []bool  // k >= SuffixStart: the head corrects this row

	Mask   []float64 // m, > 0: keep * [idx < S] * loss mask
	Weight []float64 // w; under D-PACE 0 until ApplyDPACE
}

// Len is the number of head rows.
func (h *HeadRows) Len() int { return len(h.Row) }

// Targets are the labels and weights of one micro-batch.
type Targets struct {
	HeadRows
	BlockSize        int
	Blocks           int // kept blocks of the layout
	SupervisedTokens int // tokens of the micro-batch whose loss mask is above 0.5
	options          LabelOptions
}

// NewTargets makes the labels, masks and weights of the layout's rows and keeps those with
// m > 0. inputIDs and lossMask are [B*S]. With idx = anchor + k (+ 1 with ShiftLabel) and
// e = k (max(k-1, 0) without):
//
//	label = input_ids[b, min(idx, S-1)]
//	m     = [idx < S] * lossMask[b, min(idx, S-1)]     (0 at k = 0 without ShiftLabel)
//	w     = m * exp(-e/gamma), or m for gamma 0
//
// Errors: sizes that do not fit, an objective that does not apply.
// Source: spec.md §7.2, §7.5.
func NewTargets(l *Layout, inputIDs []int32, lossMask []float32, opt LabelOptions) (*Targets, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	if err := checkLen("labels: input_ids", len(inputIDs), l.Batch*l.SeqLen); err != nil {
		return nil, err
	}
	if err := checkLen("labels: loss_mask", len(lossMask), l.Batch*l.SeqLen); err != nil {
		return nil, err
	}
	t := &Targets{BlockSize: l.BlockSize, Blocks: len(l.Blocks), SupervisedTokens: CountSupervised(lossMask), options: opt}
	decay := DecayWeights(l.BlockSize, opt.DecayGamma, opt.ShiftLabel)
	for i := range l.Blocks {
		t.addBlock(l, i, inputIDs, lossMask, decay)
	}
	return t, nil
}

func (o LabelOptions) check() error {
	switch {
	case o.Objective != ObjectiveDecay && o.Objective != ObjectiveDPACE:
		return fail.New(fail.Usage, "dflash_loss_objective is decay or dpace", "domino: loss objective: want decay or dpace, got %q", o.Objective)
	case o.Objective == ObjectiveDPACE && o.ShiftLabel:
		return fail.New(fail.Usage, "set dflash_loss_objective = \"decay\"", "domino: loss objective: want decay for a Domino draft, got dpace")
	case !(o.DecayGamma >= 0):
		return fail.New(fail.Usage, "0 turns the decay off", "domino: loss decay factor: want 0 or more, got %v", o.DecayGamma)
	case o.Objective == ObjectiveDPACE && !(o.DPaceAlpha >= 0 && o.DPaceAlpha <= 1):
		return fail.New(fail.Usage, "set dflash_dpace_alpha within (0,1]", "domino: D-PACE alpha: want 0 to 1, got %v", o.DPaceAlpha)
	}
	return nil
}

func (t *Targets) addBlock(l *Layout, i int, inputIDs []int32, lossMask []float32, decay []float64) {
	blk, S := l.Blocks[i], l.SeqLen
	first, shift := 1, 0
	if t.options.ShiftLabel {
		first, shift = 0, 1
	}
	run := 1.0 // cumulative product of m, for contiguous labels
	for k := first; k < l.BlockSize; k++ {
		idx := int(blk.Anchor) + k + shift
		if idx >= S {
			return // the tail of the block lies beyond the sequence
		}
		at := int(blk.Row)*S + idx
		m := float64(lossMask[at])
		run *= m
		if t.options.ContiguousLabels {
			m = run
		}
		if !(m > 0) {
			continue
		}
		t.add(int32(i*l.BlockSize+k), inputIDs[at], int32(int(blk.Row)*S+max(idx-1, 0)), k, m, decay[k])
	}
}

func (t *Targets) add(row, label, teacher int32, k int, m, decay float64) {
	w := m * decay
	if t.options.Objective == ObjectiveDPACE {
		w = 0
	}
	t.Row = append(t.Row, row)
	t.Label = append(t.Label, label)
	t.Teacher = append(t.Teacher, teacher)
	t.K = append(t.K, int32(k))
	t.Suffix = append(t.Suffix, k >= t.options.SuffixStart)
	t.Mask = append(t.Mask, m)
	t.Weight = append(t.Weight, w)
}

// DecayWeights returns d_k, k = 0..blockSize-1: exp(-k/gamma) with shiftLabel,
// exp(-max(k-1,0)/gamma) without, 1 for gamma 0. Source: spec.md §7.2, §7.5.
func DecayWeights(blockSize int, gamma float64, shiftLabel bool) []float64 {
	d := make([]float64, blockSize)
	for k := range d {
		e := k
		if !shiftLabel {
			e = max(k-1, 0)
		}
		d[k] = 1
		if gamma > 0 {
			d[k] = math.Exp(-float64(e) / gamma)
		}
	}
	return d
}

// LossMask returns M[t] = supervised(t) * attention(t) * extra(t) for a whole micro-batch.
// With intersect false the attention mask is left out, as Model-Optimizer's Domino path does.
// extra is the user's own mask and may be nil. Lengths that differ are an error. Source: spec.md §7.1.
func LossMask(supervised []float32, attention []bool, extra []float32, intersect bool) ([]float32, error) {
	if intersect {
		if err := checkLen("loss mask: attention_mask", len(attention), len(supervised)); err != nil {
			return nil, err
		}
	}
	if extra != nil {
		if err := checkLen("loss mask: extra mask", len(extra), len(supervised)); err != nil {
			return nil, err
		}
	}
	out := make([]float32, len(supervised))
	for i, s := range supervised {
		if intersect && !attention[i] {
			continue
		}
		out[i] = s
		if extra != nil {
			out[i] *= extra[i]
		}
	}
	return out, nil
}

// CountSupervised returns how many tokens of a loss mask are supervised (above 0.5).
func CountSupervised(lossMask []float32) int {
	n := 0
	for _, m := range lossMask {
		if m > supervisedAbove {
			n++
		}
	}
	return n
}

// SumWeights is the sum of w over the head rows; under D-PACE only after ApplyDPACE.
func (t *Targets) SumWeights() float64 {
	sum := 0.0
	for _, w := range t.Weight {
		sum += w
	}
	return sum
}

// Coefficients returns c_i = w_i * factor for every head row, rounded to float32; factor is
// one of Normalize's. Source: spec.md §9.1.
func (t *Targets) Coefficients(factor float64) []float32 {
	c := make([]float32, len(t.Weight))
	for i, w := range t.Weight {
		c[i] = float32(w * factor)
	}
	return c
}
