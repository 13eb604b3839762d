package domino

import "math"

// denEpsilon is what the reference adds to a sum before it divides by it. Source: spec.md §7.3.
const denEpsilon = 1e-6

// LossOptions says which streams the objective has and how it is normalised.
type LossOptions struct {
	Domino  bool // two streams, final and base; without it the base stream alone (plain DFlash)
	Distill bool // self-logit distillation: the loss of a row is not its CE. §7.5

	DenGuard            bool // Model-Optimizer's guard: only a Den above 1 counts. §7.3
	GlobalNormalization bool // one Den for all micro-batches of the optimizer step. §7.3
}

// Results are the device's results for the head rows of one micro-batch, each slice [Len()]
// in the order of HeadRows. Plain DFlash fills the base stream alone. LossFinal and LossBase
// are the distilled losses L_X of spec.md §7.5, nil without distillation.
type Results struct {
	CEFinal, CEBase         []float32 // cross-entropy on the hard label
	LossFinal, LossBase     []float32
	ArgmaxFinal, ArgmaxBase []int32 // token id of the largest logit, the smallest id on a tie
}

// StreamSums are the sums of one stream over the head rows of a micro-batch.
type StreamSums struct {
	Loss     float64 // sum of w * L
	CE       float64 // sum of w * CE; equal to Loss without distillation
	Correct  int     // rows with argmax == label and m > 0.5
	Accepted int     // simulated accepted tokens over all blocks. §7.4
}

// Sums is what one micro-batch contributes to the metrics of its step.
type Sums struct {
	Weight, Mask     float64 // sum of w, sum of m
	Final, Base      StreamSums
	Rows             int // head rows
	Blocks           int // kept blocks
	LabelledBlocks   int // blocks with at least one head row
	SupervisedTokens int
}

// Reduce sums a micro-batch's results in float64. With D-PACE the weights of t must have
// been applied. Lengths that do not fit t are an error. Source: spec.md §7.3, §7.4.
func Reduce(t *Targets, r *Results, opt LossOptions) (Sums, error) {
	s := Sums{Weight: t.SumWeights(), Rows: t.Len(), Blocks: t.Blocks, SupervisedTokens: t.SupervisedTokens}
	for _, m := range t.Mask {
		s.Mask += m
	}
	for range t.blockRanges() {
		s.LabelledBlocks++
	}
	var err error
	if s.Base, err = t.reduceStream("base", r.CEBase, r.LossBase, r.ArgmaxBase, opt.Distill); err != nil {
		return Sums{}, err
	}
	if opt.Domino {
		s.Final, err = t.reduceStream("final", r.CEFinal, r.LossFinal, r.ArgmaxFinal, opt.Distill)
	}
	return s, err
}

func (t *Targets) reduceStream(name string, ce, loss []float32, argmax []int32, distill bool) (StreamSums, error) {
	if !distill {
		loss = ce
	}
	for _, got := range []struct {
		thing string
		n     int
	}{{"cross-entropy", len(ce)}, {"loss", len(loss)}, {"argmax", len(argmax)}} {
		if err := checkLen("objective: "+name+" "+got.thing, got.n, t.Len()); err != nil {
			return StreamSums{}, err
		}
	}
	var s StreamSums
	for i, w := range t.Weight {
		s.Loss += w * float64(loss[i])
		s.CE += w * float64(ce[i])
		if argmax[i] == t.Label[i] && t.Mask[i] > supervisedAbove {
			s.Correct++
		}
	}
	for lo, hi := range t.blockRanges() {
		s.Accepted += matchingPrefix(argmax[lo:hi], t.Label[lo:hi])
	}
	return s, nil
}

// matchingPrefix counts predictions before the first wrong one. Positions without weight are
// not in the lists, which makes them transparent. Source: spec.md §7.4.
func matchingPrefix(predicted, label []int32) int {
	for i := range predicted {
		if predicted[i] != label[i] {
			return i
		}
	}
	return len(predicted)
}

// FirstNonFinite returns the first head row with a loss that is NaN or infinite, or -1.
func (r *Results) FirstNonFinite() int {
	first := -1
	for _, values := range [][]float32{r.CEFinal, r.CEBase, r.LossFinal, r.LossBase} {
		for i, v := range values {
			if x := float64(v); (math.IsNaN(x) || math.IsInf(x, 0)) && (first < 0 || i < first) {
				first = i
			}
		}
	}
	return first
}

// denominator returns Den = sumWeights + 1e-6, and whether the loss counts at all: not
// without weight, and under the guard only for Den > 1. Source: spec.md §7.3.
func (o LossOptions) denominator(sumWeights float64) (den float64, counts bool) {
	den = sumWeights + denEpsilon
	return den, sumWeights > 0 && (!o.DenGuard || den > 1)
}

// Normalize returns for each micro-batch of an optimizer step the factor that turns a
// weight into its coefficient, c_i = w_i * factor, from the micro-batches' sums of weights:
//
//	mean of means:        factor_j = 1 / (Den_j * micro-batches)
//	GlobalNormalization:  factor_j = 1 / Den of all of them
//
// and 0 where the loss does not count. With gradients summed over the micro-batches that
// gives the gradient of the step's loss. Source: spec.md §7.3, §9.1.
func Normalize(sumWeights []float64, opt LossOptions) []float64 {
	factors := make([]float64, len(sumWeights))
	total := 0.0
	for _, w := range sumWeights {
		total += w
	}
	for j, w := range sumWeights {
		den, counts := opt.denominator(w)
		den *= float64(len(sumWeights))
		if opt.GlobalNormalization {
			den, counts = opt.denominator(total)
		}
		if counts {
			factors[j] = 1 / den
		}
	}
	return factors
}
