package ops

import (
	"vkdomino/tensors"
	"vkdomino/vk"
)

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
		uses := []use{out(to), out(span{s.lo * heads, s.hi * heads}.elements(rstd)), read(from), read(weight), read(cos), read(sin), read(s.elements(pos))}
		wide, vector, variant := c.wide(uses, hd/2, from, to, weight, cos, sin)
		size, subgroups, turns, part := c.headGroup(hd / 2 / wide)
		rowsPerGroup := 1
		if c.Device.Tier() == vk.T0 {
			rowsPerGroup = max(1, normElements/x.Cols())
		}
		rows := s.hi - s.lo
		c.run(launch{kernel: "norm_rope." + storage(x) + variant, uses: uses,
			spec:   []uint32{uint32(size), uint32(subgroups), flag(vector), uint32(turns), uint32(part), flag(c.Device.CPU)},
			params: []uint32{uint32(rows), uint32(hd / 2), uint32(rowsPerGroup), uint32(heads), f32bits(eps)},
			groups: fold(ceilDiv(rows, rowsPerGroup)), work: flatWork * float64(rows) * float64(x.Cols())})
	}
}

// headGroup is the workgroup for heads of n items: its size and subgroups, the items of an
// invocation, and the heads at a time. Heads of few items share a subgroup.
func (c *Context) headGroup(n int) (size, subgroups, turns, heads int) {
	lanes := c.Device.SubgroupSize
	if n < lanes && n&(n-1) == 0 { // subgroups have a power of two of lanes
		return lanes, 1, 1, lanes / n
	}
	size, subgroups = lanes, 1
	if n > 2*lanes {
		size, subgroups = c.rowGroup()
	}
	return size, subgroups, ceilDiv(n, size), 1
}
