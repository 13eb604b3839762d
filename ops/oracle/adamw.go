package oracle

import "math"

// AdamW holds the settings of the optimizer.
type AdamW struct {
	LR           float64 // learning rate of this step
	Beta1, Beta2 float64 // decay of the first and second moment
	Eps          float64 // added to the root of the second moment
	WeightDecay  float64 // decoupled: weights shrink by LR*WeightDecay
}

// AdamWStep returns weights and moments after one step, with s = step counting from 1:
//
//	m' = b1*m + (1-b1)*g    v' = b2*v + (1-b2)*g²
//	p' = p - lr*wd*p - lr * (m'/(1-b1^s)) / (sqrt(v'/(1-b2^s)) + eps)
//
// p, m, v, g are all [N]. A gradient of 0 still decays moments and weights.
// Source: spec.md §10; §8 on zero gradients.
func AdamWStep(o AdamW, p, m, v, g []float64, step int) (p1, m1, v1 []float64) {
	p1, m1, v1 = make([]float64, len(p)), make([]float64, len(p)), make([]float64, len(p))
	c1 := 1 - math.Pow(o.Beta1, float64(step))
	c2 := 1 - math.Pow(o.Beta2, float64(step))
	for i := range p {
		m1[i] = o.Beta1*m[i] + (1-o.Beta1)*g[i]
		v1[i] = o.Beta2*v[i] + (1-o.Beta2)*g[i]*g[i]
		p1[i] = p[i] - o.LR*o.WeightDecay*p[i]
		p1[i] -= o.LR * (m1[i] / c1) / (math.Sqrt(v1[i]/c2) + o.Eps)
	}
	return p1, m1, v1
}
