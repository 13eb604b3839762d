package ops

import "vkdomino/tensors"

// Embedding writes result[i] = table[ids[i]], unscaled, and a row of zeros where
// ids[i] is negative or beyond the table. result is [N, C], table is [V, C], both
// of one dtype, F32 or BF16; ids is [N] I32. The table may be larger than one
// binding. There is no gradient: the table is frozen. Source: spec.md §4.1.
func (c *Context) Embedding(result, table, ids tensors.Tensor) {
	if len(table.Shape) != 2 {
		c.failf("embedding: table: want [V, C], got %v", table.Shape)
		return
	}
	c.wantDType("embedding", result.DType, table)
	c.want("embedding", "result", result, ids.Len(), table.Cols())
	c.Gather(result, 0, table, 0, table.Cols(), ids)
}
