package ops

import "vkdomino/tensors"

// Candidates lists the columns of the K largest elements of each row, of equal ones
// the first, in ascending order. x is [N, V] F32 with K <= V < 2^24; result is
// [N, K] I32, overwritten. Source: spec.md §13.5, §14.2.
func (c *Context) Candidates(result, x tensors.Tensor) {
	const op = "candidates"
	K, cols := result.Cols(), x.Cols()
	c.wantDType(op, tensors.F32, x)
	c.wantDType(op, tensors.I32, result)
	c.want(op, "result", result, x.Rows(), K)
	if K < 1 || K > cols {
		c.failf("%s: want 1 to %d candidates, got %d", op, cols, K)
	}
	if !c.wantColumns(op, x) || c.Dry() || x.Len() == 0 {
		return
	}
	for _, s := range c.chunks(x.Rows(), cols*x.DType.Size()) {
		to, from := s.rows(result), s.rows(x)
		_, vector := width(cols, from)
		c.run(launch{kernel: "candidates", spec: c.rowSpec(flag(vector)), uses: []use{out(to), in(from)},
			params: []uint32{uint32(s.hi - s.lo), uint32(cols), uint32(K)}, groups: fold(s.hi - s.lo), work: 4 * flatWork * float64(from.Len())})
	}
}

// CorrectCandidates writes the corrected logits of each row's candidates, and minus
// infinity for every other token:
//
//	logits[i, v] = base[i, v] + act[i]·W2[v]     for v in index[i]
//
// logits, overwritten, and base are [N, V] F32 and do not overlap; index is [N, K]
// I32; act is [N, E] and w2 [V, E], F32 or BF16 alike; w2 may be larger than one
// binding. Source: spec.md §6.1, §13.5.
func (c *Context) CorrectCandidates(logits, base, index, act, w2 tensors.Tensor) {
	const op = "correct candidates"
	n, cols, E := base.Rows(), base.Cols(), act.Cols()
	c.wantDType(op, tensors.F32, logits, base)
	c.wantDType(op, tensors.I32, index)
	c.wantStorage(op, act)
	c.wantDType(op, act.DType, w2)
	c.wantLike(op, base, logits)
	c.want(op, "index", index, n, index.Cols())
	c.want(op, "act", act, n, E)
	if !c.want(op, "w2", w2, cols, E) || c.Dry() || index.Len() == 0 {
		return
	}
	c.fill(logits, minusInfinity)
	for _, r := range c.chunks(n, cols*base.DType.Size()) {
		for _, s := range c.chunks(cols, E*w2.DType.Size()) {
			c.correct(r.rows(logits.View(n, cols)), r.rows(base), r.rows(index), r.rows(act), s.rows(w2), s.lo)
		}
	}
}

// correct is one dispatch of CorrectCandidates: w2 holds the rows from first on.
func (c *Context) correct(logits, base, index, act, w2 tensors.Tensor, first int) {
	E := act.Cols()
	_, vector := width(E, act, w2)
	c.run(launch{kernel: "correct_candidates." + storage(act), spec: c.flatSpec(flag(vector)),
		uses:   []use{inout(logits), in(base), in(index), in(act), in(w2)},
		params: []uint32{uint32(base.Rows()), uint32(index.Cols()), uint32(base.Cols()), uint32(E), uint32(first), uint32(w2.Rows())},
		groups: fold(ceilDiv(index.Len(), c.flatGroup())), work: 2 * float64(index.Len()) * float64(E)})
}

const minusInfinity = 0xff800000 // the bits of an f32

// fill records setting every 32-bit word of t.
func (c *Context) fill(t tensors.Tensor, word uint32) {
	if c.err == nil && !c.idle() && t.Bytes() > 0 {
		c.recorder.Fill(t.Region, word)
	}
}
