package ops

import (
	"math"

	"vkdomino/tensors"
)

// AdamWParams are the settings of one optimizer step.
type AdamWParams struct {
	LR           float64 // learning rate of this step
	Beta1, Beta2 float64 // decay of the first and the second moment
	Eps          float64 // added to the root of the second moment
	WeightDecay  float64 // decoupled: weights shrink by LR*WeightDecay
	Step         int     // counts from 1
}

// AdamW takes one step with decoupled weight decay, with g = grad * norm[1] and s = p.Step:
//
//	m += (1-b1)*(g-m)    v += (1-b2)*(g²-v)
//	master -= lr*wd*master + lr * (m/(1-b1^s)) / (sqrt(v/(1-b2^s)) + eps)
//
// master, m, v, grad are F32 of one length and of any size; compute is BF16 of
// that length and gets the rounded master, or is a zero Tensor. norm is [4] F32
// from GradNorm: where norm[2] is 0 nothing is written. Bias corrections are
// made in float64. Source: spec.md §10.
func (c *Context) AdamW(master, compute, m, v, grad, norm tensors.Tensor, p AdamWParams) {
	c.wantDType("adamw", tensors.F32, master, norm)
	c.wantLike("adamw", master, m, v, grad)
	c.want("adamw", "norm", norm, normWords)
	round := compute.Shape != nil
	if round {
		c.wantDType("adamw", tensors.BF16, compute)
		c.wantLength("adamw", master, compute)
	}
	if p.Step < 1 {
		c.failf("adamw: step: want 1 or more, got %d", p.Step)
	}
	if c.err != nil || c.Dry() {
		return
	}
	settings := []uint32{f32bits(p.LR), f32bits(p.LR * p.WeightDecay), f32bits(1 - p.Beta1), f32bits(1 - p.Beta2),
		f32bits(1 / (1 - math.Pow(p.Beta1, float64(p.Step)))), f32bits(1 / (1 - math.Pow(p.Beta2, float64(p.Step)))), f32bits(p.Eps)}
	for _, s := range c.chunks(master.Len(), tensors.F32.Size()) {
		w, first, second, g := s.elements(master), s.elements(m), s.elements(v), s.elements(grad)
		rounded := in(w) // bound in compute's place
		if round {
			rounded = out(s.elements(compute))
		}
		uses := []use{out(w), rounded, out(first), inout(second), read(w), read(first), read(g), read(norm)}
		wide, vector, variant := c.wide(uses, w.Len(), w, first, second, g, rounded.Tensor)
		c.run(launch{kernel: "adamw" + variant, spec: c.flatSpec(flag(vector), flag(round)), uses: uses,
			params: append([]uint32{uint32(w.Len())}, settings...),
			groups: fold(ceilDiv(w.Len(), wide*c.flatGroup())), work: flatWork * float64(w.Len())})
	}
}
