package ops

import "vkdomino/tensors"

// NormRoPE is RMSNorm over every head of x and then RoPE, in one visit, rounded as
// the two one after the other:
//
//	y = weight * round(x * rstd), rstd = (mean(x²)+eps)^(-1/2)
//	result[i] = y[i]*cos[i] - y[i+hd/2]*sin[i]
//	result[i+hd/2] = y[i+hd/2]*cos[i] + y[i]*sin[i]
//
// x and result are [N, heads*hd], weight is [hd], all F32 or all BF16; rstd is
// [N*heads] F32, overwritten; cos and sin are host tables [P, hd/2] F32; pos is [N]
// I32 with 0 <= pos < P, which the caller warrants. result is overwritten and may be
// x. The gradient is RoPEBackward's and then RMSNormBackward's. Source: spec.md §5.1 to §5.3.
func (c *Context) NormRoPE(result, rstd, x, weight, cos, sin, pos tensors.Tensor, eps float64) {
	const op = "norm rope"
	hd := weight.Len()
	if hd == 0 || hd%2 != 0 || x.Cols()%max(hd, 1) != 0 {
		c.failf("%s: %s: want heads of %d elements, an even number, got %v", op, x.Name, hd, x.Shape)
		return
	}
	heads, n := x.Cols()/hd, x.Rows()
	c.wantStorage(op, x)
	c.wantLike(op, x, result)
	c.wantDType(op, x.DType, weight)
	c.wantDType(op, tensors.F32, rstd, cos, sin)
	c.wantDType(op, tensors.I32, pos)
	c.want(op, "cos", cos, cos.Rows(), hd/2)
	c.want(op, "sin", sin, cos.Rows(), hd/2)
	c.want(op, "pos", pos, n)
	if !c.want(op, "rstd", rstd, n*heads) || c.Dry() || x.Len() == 0 {
		return
	}
	for _, s := range c.chunks(n, x.Cols()*x.DType.Size()) {
		from, to := s.rows(x), s.rows(result.View(n, x.Cols()))
		wide, vector := width(hd/2, from, to, weight, cos, sin)
		size, _ := c.normGroup(hd)
		turns := ceilDiv(hd, wide*size)
		uses := []use{out(to), out(span{s.lo * heads, s.hi * heads}.elements(rstd)), in(from), in(weight), in(cos), in(sin), in(s.elements(pos))}
		if to.Region == from.Region {
			uses[0], uses[2] = inout(to), inout(from)
		}
		c.normRows("norm_rope."+storage(x), uses, vector, (s.hi-s.lo)*heads, hd, []uint32{uint32(turns)}, uint32(heads), f32bits(eps))
	}
}
