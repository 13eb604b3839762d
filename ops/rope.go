package ops

import "vkdomino/tensors"

// RoPE rotates the pairs (i, i+hd/2) of every head by the angle of the row's position:
//
//	result[i]      = x[i]*cos[i] - x[i+hd/2]*sin[i]
//	result[i+hd/2] = x[i+hd/2]*cos[i] + x[i]*sin[i]
//
// result is [N, heads*hd], overwritten. x is the same and may be result; or it is
// [M, heads*hd], and row index[n] of it becomes row n, index [N] I32 with 0 <= index < M,
// which the caller warrants. Both are F32 or both BF16. An empty index takes row n.
// cos and sin are host tables [P, hd/2] F32; pos is [N] I32 with 0 <= pos < P, which the
// caller warrants; hd = headDim is even. Source: spec.md §5.3.
func (c *Context) RoPE(result, x, index, cos, sin, pos tensors.Tensor, headDim int) {
	c.rope("rope_forward", result, x, index, cos, sin, pos, headDim)
}

// RoPEBackward turns the gradient of RoPE's result into that of its input, in
// place: the rotation back. Arguments as for RoPE; with an index the caller adds the rows
// of one source (GroupSum). Source: spec.md §9.6.
func (c *Context) RoPEBackward(dx, cos, sin, pos tensors.Tensor, headDim int) {
	c.rope("rope_backward", dx, dx, tensors.Tensor{}, cos, sin, pos, headDim)
}

func (c *Context) rope(kernel string, result, x, index, cos, sin, pos tensors.Tensor, headDim int) {
	pairs := headDim / 2
	n, cols := result.Rows(), result.Cols()
	if headDim <= 0 || headDim%2 != 0 || cols%max(headDim, 1) != 0 {
		c.failf("rope: %s: want heads of %d elements, an even number, got %v", result.Name, headDim, result.Shape)
	}
	c.wantStorage("rope", result)
	c.wantDType("rope", result.DType, x)
	c.wantDType("rope", tensors.F32, cos, sin)
	c.wantDType("rope", tensors.I32, pos)
	c.want("rope", "cos", cos, cos.Rows(), pairs)
	c.want("rope", "sin", sin, cos.Rows(), pairs)
	c.want("rope", "pos", pos, n)
	rows := n
	if !absent(index) {
		c.wantDType("rope", tensors.I32, index)
		c.want("rope", "index", index, n)
		rows = x.Rows()
	}
	if !c.want("rope", "x", x.View(x.Rows(), x.Cols()), rows, cols) || c.Dry() || result.Len() == 0 {
		return
	}
	for _, s := range c.chunks(n, cols*result.DType.Size()) {
		c.ropeRows(kernel, s, result, x, index, cos, sin, pos, pairs)
	}
}

// ropeRows is one dispatch of rope, for the rows in s.
func (c *Context) ropeRows(kernel string, s span, result, x, index, cos, sin, pos tensors.Tensor, pairs int) {
	to, from, of := s.rows(result), x, s.elements(pos) // bound in index's place
	if absent(index) {
		from = s.rows(x)
	} else {
		of = s.elements(index)
	}
	uses := []use{out(to), read(from), read(of), read(cos), read(sin), read(s.elements(pos))}
	wide, vector, variant := c.wide(uses, pairs, to, from, cos, sin)
	rows := s.hi - s.lo
	c.run(launch{kernel: kernel + "." + storage(to) + variant, spec: c.flatSpec(flag(vector), flag(!absent(index))), uses: uses,
		params: []uint32{uint32(rows), uint32(result.Cols() / (2 * pairs)), uint32(pairs)},
		groups: fold(ceilDiv(rows*pairs, wide*c.flatGroup())), work: flatWork * float64(to.Len())})
}
