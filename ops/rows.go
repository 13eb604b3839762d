package ops

import "vkdomino/tensors"

// Gather copies columns of chosen rows:
//
//	result[i, outCol:outCol+cols] = src[index[i], srcCol:srcCol+cols]
//
// and zeros where index[i] is negative or beyond src. index is [n] I32; result
// is [>= n, *] and src is [*, *], each F32 or BF16; the conversion rounds to
// nearest even. Other columns, and rows from n on, keep their contents. With an
// inverse index (for each row of the result the row that goes there, or -1) it
// scatters. Source: spec.md §9.1.
func (c *Context) Gather(result tensors.Tensor, outCol int, src tensors.Tensor, srcCol, cols int, index tensors.Tensor) {
	c.wantStorage("gather", result)
	c.wantStorage("gather", src)
	c.wantDType("gather", tensors.I32, index)
	n := index.Len()
	if n > result.Rows() && cols > 0 || min(outCol, srcCol, cols) < 0 || outCol+cols > result.Cols() || srcCol+cols > src.Cols() {
		c.failf("gather: %s %v at column %d, %s %v at column %d, %d columns of %d rows", result.Name, result.Shape, outCol, src.Name, src.Shape, srcCol, cols, n)
	}
	if c.err != nil || c.Dry() || n == 0 || cols == 0 {
		return
	}
	if src.Rows() == 0 {
		c.failf("gather: %s: want at least one row, got %v", src.Name, src.Shape)
		return
	}
	for _, o := range c.chunks(n, result.Cols()*result.DType.Size()) {
		for _, s := range c.chunks(src.Rows(), src.Cols()*src.DType.Size()) {
			c.gather(o.rows(result), outCol, s.rows(src), srcCol, cols, o.elements(index), s.lo, src.Rows())
		}
	}
}

// gather is one dispatch of Gather: src holds the rows from first on of a source of rows rows.
func (c *Context) gather(result tensors.Tensor, outCol int, src tensors.Tensor, srcCol, cols int, index tensors.Tensor, first, rows int) {
	uses := []use{out(result), read(src), read(index)}
	each := cols | outCol | srcCol | result.Cols() | src.Cols() // a multiple of a power of two where all are
	_, vector, variant := c.wide(uses, each, result, src)
	rowsPerGroup := 1
	if c.Device.CPU {
		rowsPerGroup = max(1, normElements/cols)
	}
	words := []int{index.Len(), cols, result.Cols(), outCol, src.Cols(), srcCol, first, src.Rows(), rows, rowsPerGroup}
	params := make([]uint32, len(words))
	for i, w := range words {
		params[i] = uint32(w)
	}
	c.run(launch{kernel: "gather." + storage(src) + "." + storage(result) + variant, spec: c.rowSpec(flag(vector)), uses: uses, params: params,
		groups: fold(ceilDiv(index.Len(), rowsPerGroup)), work: flatWork * float64(index.Len()) * float64(cols)})
}
