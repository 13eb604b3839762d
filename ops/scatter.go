package ops

import "vkdomino/tensors"

// Scatter copies rows to chosen places: result[index[i]] = src[i], where index[i]
// is a row of result; a negative index, or one beyond result, leaves its row out.
// src is [n, C], index is [n] I32, result is [*, C], src and result F32 or BF16
// alike. Other rows keep their contents; of rows with one index any may stay. A
// cache of keys and values grows by it. Source: spec.md §14.1.
func (c *Context) Scatter(result, src, index tensors.Tensor) {
	const op = "scatter"
	n, cols := src.Rows(), src.Cols()
	c.wantStorage(op, src)
	c.wantDType(op, src.DType, result)
	c.wantDType(op, tensors.I32, index)
	c.want(op, "index", index, n)
	c.want(op, "result", result, result.Rows(), cols)
	if c.err != nil || c.Dry() || src.Len() == 0 {
		return
	}
	for _, o := range c.chunks(result.Rows(), cols*result.DType.Size()) {
		for _, s := range c.chunks(n, cols*src.DType.Size()) {
			to, from := o.rows(result), s.rows(src)
			_, vector := width(cols, to, from)
			c.run(launch{kernel: "scatter." + storage(src), spec: c.rowSpec(flag(vector)),
				uses:   []use{inout(to), in(from), in(s.elements(index))},
				params: []uint32{uint32(s.hi - s.lo), uint32(cols), uint32(o.lo), uint32(o.hi - o.lo)},
				groups: fold(s.hi - s.lo), work: flatWork * float64(from.Len())})
		}
	}
}
