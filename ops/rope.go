package ops

import "vkdomino/tensors"

// RoPE rotates the pairs (i, i+hd/2) of every head of x in place by the angle of the row's position:
//
//	x[i]      = x[i]*cos[i] - x[i+hd/2]*sin[i]
//	x[i+hd/2] = x[i+hd/2]*cos[i] + x[i]*sin[i]
//
// x is [N, heads*hd] F32 or BF16; cos and sin are host tables [P, hd/2] F32;
// pos is [N] I32 with 0 <= pos < P, which the caller warrants; hd = headDim is even.
// Source: spec.md §5.3.
func (c *Context) RoPE(x, cos, sin, pos tensors.Tensor, headDim int) {
	c.rope("rope_forward", x, cos, sin, pos, headDim)
}

// RoPEBackward turns the gradient of RoPE's result into that of its input, in
// place: the rotation back. Arguments as for RoPE. Source: spec.md §9.6.
func (c *Context) RoPEBackward(dx, cos, sin, pos tensors.Tensor, headDim int) {
	c.rope("rope_backward", dx, cos, sin, pos, headDim)
}

func (c *Context) rope(kernel string, x, cos, sin, pos tensors.Tensor, headDim int) {
	pairs := headDim / 2
	if headDim <= 0 || headDim%2 != 0 || x.Cols()%max(headDim, 1) != 0 {
		c.failf("rope: %s: want heads of %d elements, an even number, got %v", x.Name, headDim, x.Shape)
	}
	c.wantStorage("rope", x)
	c.wantDType("rope", tensors.F32, cos, sin)
	c.wantDType("rope", tensors.I32, pos)
	c.want("rope", "cos", cos, cos.Rows(), pairs)
	c.want("rope", "sin", sin, cos.Rows(), pairs)
	c.want("rope", "pos", pos, x.Rows())
	if c.err != nil || c.Dry() || x.Len() == 0 {
		return
	}
	for _, s := range c.chunks(x.Rows(), x.Cols()*x.DType.Size()) {
		part, rows := s.rows(x), s.hi-s.lo
		wide, vector := width(pairs, part, cos, sin)
		c.run(launch{kernel: kernel + "." + storage(x), spec: c.flatSpec(flag(vector)),
			uses:   []use{inout(part), in(cos), in(sin), in(s.elements(pos))},
			params: []uint32{uint32(rows), uint32(x.Cols() / headDim), uint32(pairs)},
			groups: fold(ceilDiv(rows*pairs, wide*c.flatGroup())), work: flatWork * float64(part.Len())})
	}
}
