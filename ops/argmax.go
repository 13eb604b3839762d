package ops

import "vkdomino/tensors"

// Argmax writes the index of the largest element of each row, the smallest index
// of equal elements. NaN is never the largest; a row of nothing else gives 0.
// x is [N, V] F32 with 0 < V < 2^24; result is [N] I32, overwritten.
// Source: spec.md §7.4, §14.2.
func (c *Context) Argmax(result, x tensors.Tensor) {
	const op = "argmax"
	c.wantDType(op, tensors.F32, x)
	c.wantDType(op, tensors.I32, result)
	c.want(op, "result", result, x.Rows())
	if !c.wantColumns(op, x) || c.Dry() || x.Len() == 0 {
		return
	}
	cols := x.Cols()
	for _, s := range c.chunks(x.Rows(), cols*x.DType.Size()) {
		part := s.rows(x)
		_, vector := width(cols, part)
		c.run(launch{kernel: "argmax", spec: c.rowSpec(flag(vector)), uses: []use{out(s.elements(result)), in(part)},
			params: []uint32{uint32(s.hi - s.lo), uint32(cols)}, groups: fold(s.hi - s.lo), work: flatWork * float64(part.Len())})
	}
}

// wantColumns records an error unless rows of x are not empty and a float can count their columns.
func (c *Context) wantColumns(op string, x tensors.Tensor) bool {
	const most = 1 << 24
	if x.Cols() < 1 || x.Cols() >= most {
		c.failf("%s: %s: want 1 to %d columns, got %d", op, x.Name, most-1, x.Cols())
	}
	return c.err == nil
}
