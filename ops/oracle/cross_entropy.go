package oracle

import "math"

// Targets says what the rows of a cross-entropy should predict.
type Targets struct {
	Labels  []int     // [rows], hard label of each row, y
	Teacher []float64 // [rows, V], the target model's logits; may be nil where Weight is 0
	Weight  float64   // distillation weight a in [0, 1]; 0 for hard labels only
}

// soft returns the soft label t = (1-a)*onehot(y) + a*softmax(teacher) of a row: [V].
// Source: spec.md §7.5.
func (t Targets) soft(row, v int) []float64 {
	out := make([]float64, v)
	if t.Weight != 0 {
		for i, p := range Softmax(t.Teacher[row*v : (row+1)*v]) {
			out[i] = t.Weight * p
		}
	}
	out[t.Labels[row]] += 1 - t.Weight
	return out
}

// StreamLoss is what one stream of logits gives per row; every field is [rows].
type StreamLoss struct {
	LSE    []float64 // ln Σ_v exp(x_v)
	CE     []float64 // cross-entropy on the hard label: lse - x_y
	Loss   []float64 // cross-entropy on the soft label: lse - (1-a)*x_y - a*Σ_v p_v x_v, p = softmax(teacher)
	Argmax []int     // smallest index of the largest logit
}

// CrossEntropy returns the row losses of one stream. logits is [rows, V].
// Source: spec.md §7.3, §7.5.
func CrossEntropy(logits []float64, t Targets, rows, v int) StreamLoss {
	var s StreamLoss
	for i := range rows {
		x := logits[i*v : (i+1)*v]
		var sum LogSumExp
		sum.Add(x...)
		lse := sum.Value()
		loss := lse - (1-t.Weight)*x[t.Labels[i]]
		if t.Weight != 0 {
			loss -= t.Weight * dot(Softmax(t.Teacher[i*v:(i+1)*v]), x)
		}
		s.LSE = append(s.LSE, lse)
		s.CE = append(s.CE, lse-x[t.Labels[i]])
		s.Loss = append(s.Loss, loss)
		s.Argmax = append(s.Argmax, Argmax(x))
	}
	return s
}

// CrossEntropyDual returns CrossEntropy of the base and of the final logits, both [rows, V].
// Plain DFlash has the base stream alone. Source: spec.md §7.3.
func CrossEntropyDual(base, final []float64, t Targets, rows, v int) (b, f StreamLoss) {
	return CrossEntropy(base, t, rows, v), CrossEntropy(final, t, rows, v)
}

// CrossEntropyDualBackward returns the gradients of Σ_i c_i*((1-lambda)*L_F + lambda*L_B):
//
//	gFinal = (1-lambda) * c * (softmax(final) - t)    gradient of the correction
//	gBase  = lambda * c * (softmax(base) - t)
//	gSum   = gFinal + gBase                           gradient of the base logits
//
// base, final and all results are [rows, V]; c is [rows], w/Den of each row. Plain DFlash is
// lambda = 1. Source: spec.md §9.1, §7.5.
func CrossEntropyDualBackward(base, final []float64, t Targets, c []float64, lambda float64, rows, v int) (gFinal, gBase, gSum []float64) {
	gFinal, gBase = make([]float64, rows*v), make([]float64, rows*v)
	for i := range rows {
		soft := t.soft(i, v)
		pB, pF := Softmax(base[i*v:(i+1)*v]), Softmax(final[i*v:(i+1)*v])
		for j := range v {
			gFinal[i*v+j] = (1 - lambda) * c[i] * (pF[j] - soft[j])
			gBase[i*v+j] = lambda * c[i] * (pB[j] - soft[j])
		}
	}
	return gFinal, gBase, Add(gFinal, gBase)
}

// Softmax returns exp(x - lse(x)).
func Softmax(x []float64) []float64 {
	var sum LogSumExp
	sum.Add(x...)
	lse := sum.Value()
	out := make([]float64, len(x))
	for i := range x {
		out[i] = math.Exp(x[i] - lse)
	}
	return out
}
