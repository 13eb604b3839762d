package bench

import (
	"vkdomino/ops"
	"vkdomino/tensors"
)

// gruOps are the scan over blocks, and what goes around the correction's bottleneck.
func (s opShapes) gruOps() []opCase {
	c, G, bs := s.m.c, s.G, s.p.Draft.BlockSize
	nb := s.Q / bs
	saved := ops.NewGRUSaved(c, bs, nb, G, s.dtype)
	gi, whh, dStates := s.floats(s.Q, 3*G), s.rows(3*G, G), s.floats(s.Q, G)
	dGi, dGh := s.rows(s.Q, 3*G), s.rows(s.Q, 3*G)
	E := s.p.Draft.EmbDim
	pre, act, dPre := s.floats(s.Q, E), s.rows(s.Q, E), s.rows(s.Q, E)
	dAct := s.floats(s.Q, E)
	shape := dims(bs, nb, G)
	return []opCase{
		{"GRU", shape, 0, saved.States, func() { c.GRU(saved, gi, tensors.Tensor{}, whh, bs, nb) }},
		{"GRUBackward", shape, 0, dGi, func() { c.GRUBackward(dGi, dGh, dStates, saved, whh, bs, nb) }},
		{"SiLU", dims(s.Q, E), 0, act, func() { c.SiLU(act, pre) }},
		{"SiLUBackward", dims(s.Q, E), 0, dPre, func() { c.SiLUBackward(dPre, dAct, pre) }},
	}
}

// lossRows bounds the logits that the loss ops are measured on.
const lossRows = 512

// lossOps are the fused cross-entropy of a chunk of rows.
func (s opShapes) lossOps() []opCase {
	c, R := s.m.c, min(s.Q, lossRows)
	base, final := s.floats(R, s.V), s.floats(R, s.V)
	gFinal, gSum := s.rows(R, s.V), s.rows(R, s.V)
	label, coef := s.ints(R, func(i int) int { return i * 7919 % s.V }), s.floats(R)
	ce, l := ops.NewCrossEntropy(c, R), ops.Logits{Base: base, Final: final}
	visit := func() { c.CrossEntropyVisit(ce, l, label, tensors.Tensor{}, true) }
	return []opCase{
		{"CrossEntropyVisit", dims(2, R, s.V), 0, ce.Stats, visit},
		{"CrossEntropyFinish", dims(R), 0, ce.Result, func() { c.CrossEntropyFinish(ce, 0) }},
		{"CrossEntropyBackward", dims(2, R, s.V), 0, gSum, func() { c.CrossEntropyBackward(gFinal, gSum, ce, l, coef, 0.5, 0) }},
	}
}

// optimizerOps are clipping and the update of one large tensor.
func (s opShapes) optimizerOps() []opCase {
	c, shape := s.m.c, dims(s.I, s.H)
	master, m, v, grad := s.floats(s.I, s.H), c.Alloc("m", tensors.F32, s.I, s.H), c.Alloc("v", tensors.F32, s.I, s.H), s.floats(s.I, s.H)
	c.Zero(m)
	c.Zero(v)
	norm, compute := c.Alloc("norm", tensors.F32, 4), tensors.Tensor{}
	if s.dtype == tensors.BF16 {
		compute = s.rows(s.I, s.H)
	}
	update := ops.AdamWParams{LR: learningRate, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Step: 1}
	return []opCase{
		{"GradNorm", shape, 0, norm, func() { c.GradNorm(norm, []tensors.Tensor{grad}, tensors.Tensor{}, 1) }},
		{"AdamW", shape, 0, master, func() { c.AdamW(master, compute, m, v, grad, norm, update) }},
	}
}

// decodingSlots is the number of prompts that the decoding ops are measured with.
const decodingSlots = 8

// decodingOps are the head's step on one row of each prompt.
func (s opShapes) decodingOps() []opCase {
	c, n, G, E := s.m.c, decodingSlots, s.G, s.p.Draft.EmbDim
	x, h, next := s.rows(n, s.H), s.floats(n, G), s.floats(n, G)
	wih, whh, w1, act := s.rows(3*G, s.H), s.rows(3*G, G), s.rows(E, s.H+G), s.rows(n, E)
	gi, tokens := s.floats(s.V, 3*G), s.ints(n, func(i int) int { return i * 7919 % s.V })
	return []opCase{
		{"GRUCell", dims(n, s.H, G), 0, next, func() { c.GRUCell(next, x, h, wih, whh) }},
		{"GRUToken", dims(n, G), float64(whh.Bytes()) + float64(n*3*G*4), next, func() { c.GRUToken(next, gi, tokens, h, whh) }},
		{"HeadActivation", dims(n, s.H+G, E), 0, act, func() { c.HeadActivation(act, x, h, w1) }},
	}
}

// candidates is how many tokens of a row are corrected while decoding.
const candidates = 32

// samplingOps choose tokens from rows of logits.
func (s opShapes) samplingOps() []opCase {
	c, n, E := s.m.c, decodingSlots, s.p.Draft.EmbDim
	logits, p, corrected := s.floats(n, s.V), s.floats(n, s.V), s.floats(n, s.V)
	K := min(candidates, s.V)
	index, best := c.Alloc("candidates", tensors.I32, n, K), c.Alloc("best", tensors.I32, n)
	act, w2 := s.rows(n, E), s.rows(s.V, E)
	u, pairs := s.floats(n), s.floats(n, 2)
	steps := 1
	slots := n / (steps + 1)
	accepted, drafts := c.Alloc("accepted", tensors.I32, slots, 2), s.ints(steps*slots, func(i int) int { return i })
	shape := dims(n, s.V)
	fill := float64(2 * logits.Bytes())
	none := tensors.Tensor{}
	return []opCase{
		{"Argmax", shape, 0, none, func() { c.Argmax(best, logits) }},
		{"Candidates", dims(n, s.V, K), 0, none, func() { c.Candidates(index, logits) }},
		{"CorrectCandidates", dims(n, s.V, K), fill + float64(n*K*E*s.dtype.Size()), none, func() { c.CorrectCandidates(corrected, logits, index, act, w2) }},
		{"SamplingProbs", shape, 0, p, func() { c.SamplingProbs(p, logits, ops.Filter{Temperature: 1}) }},
		{"SampleIndex", shape, 0, none, func() { c.SampleIndex(best, p, u) }},
		{"RejectionSample", shape, 0, none, func() { c.RejectionSample(accepted, p, p.Slice(0, steps*slots), drafts, pairs, steps) }},
	}
}
