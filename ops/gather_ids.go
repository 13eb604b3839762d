package ops

import "vkdomino/tensors"

// GatherIDs writes result[i] = src[index[i]]: token ids in another order. All are
// one-dimensional I32; index, of result's length, holds indices of src, which the
// kernel does not check. result is overwritten. Source: spec.md §14.2.
func (c *Context) GatherIDs(result, src, index tensors.Tensor) {
	const op = "gather ids"
	c.wantDType(op, tensors.I32, result, src, index)
	c.want(op, "result", result, index.Len())
	c.want(op, "src", src, src.Len())
	if c.err != nil || c.Dry() || index.Len() == 0 {
		return
	}
	c.run(launch{kernel: "gather_ids", spec: c.flatSpec(), uses: []use{out(result), in(src), in(index)},
		params: []uint32{uint32(index.Len())}, groups: fold(ceilDiv(index.Len(), c.flatGroup()))})
}
