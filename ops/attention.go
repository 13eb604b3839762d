package ops

import (
	"math"

	"vkdomino/internal/fail"
	"vkdomino/tensors"
	"vkdomino/vk"
)

// Heads is the geometry of attention: query head g uses key head g/(Query/KV),
// and scores are scaled by 1/√Dim. Source: spec.md §5.1.
type Heads struct {
	Query int // query heads, nH
	KV    int // key and value heads, nKV; divides Query
	Dim   int // elements of a head, hd; even, at most 256
}

// Limits of the attention kernels. Those without a tier are of a CPU's.
const (
	maxHeadDim  = 256
	maxTileRows = 16
	heldDim     = 64 // the largest head whose tile rows stay in registers and stack
	tileVectors = 32 // vectors of four sums that a lane holds at most: 128 registers
	// of GPUs
	minTileGroup = 128 // invocations, where each of them then has vectors of four rows' sums
	maxTileGroup = 256
	minTileParts = 16 // invocations side by side over a head
	tallSums     = 8  // vectors of four sums that an invocation holds at most
	recordParts  = 16 // invocations of a query row in block_attention_backward_rows, at most
)

// share is the number of query heads that use one key head.
func (h Heads) share() int { return h.Query / h.KV }

// params are the push constants that every attention kernel ends with. The
// kernels count in powers of two, so the scale of the scores carries log2(e).
func (h Heads) params(lists, blockSize, longest, window int) []uint32 {
	return []uint32{uint32(lists), uint32(blockSize), uint32(h.Query), uint32(h.KV), uint32(h.Dim), uint32(longest), uint32(window),
		f32bits(math.Log2E / math.Sqrt(float64(h.Dim)))}
}

// vectors reports whether all tensors can be read four elements of a head at a time.
func (h Heads) vectors(list ...tensors.Tensor) bool {
	for _, t := range list {
		if !vectors(t, h.Dim) {
			return false
		}
	}
	return true
}

// attentionTile is how a workgroup holds rows of one side. On a CPU (T0) it is one subgroup, and each
// lane has for every row parts vectors of four elements of a head; held is how many fours of its rows it keeps
// loaded, 0 where it loads them anew for every row of the other side. On GPUs parts are the invocations side by side
// over a head, and rows of the other side pass through shared memory.
type attentionTile struct {
	dim, share, group, rows, parts, held int
	gpu                                  bool
}

// attentionTile chooses the tile for a list of n rows with so many sums per row.
// It depends on the shape and the device alone.
func (c *Context) attentionTile(n int, h Heads, sums int) attentionTile {
	dim := h.Dim
	if c.Dry() {
		return attentionTile{group: 1, rows: 1, parts: 1}
	}
	if c.Device.Tier() != vk.T0 {
		t := gpuAttentionTile(n, dim, sums, c.Device.MaxInvocations, c.Device.SubgroupSize)
		t.share = h.share()
		return t
	}
	lanes := c.Device.SubgroupSize
	t := attentionTile{dim: dim, share: h.share(), group: lanes, rows: maxTileRows, parts: ceilDiv(ceilDiv(dim, 4), lanes)}
	if dim <= heldDim {
		t.held = ceilDiv(dim, 4)
	}
	for t.rows > 2 && (t.rows*t.parts*sums > tileVectors || t.rows/2 >= n) {
		t.rows /= 2
	}
	return t
}

// gpuAttentionTile is the tile of kernels that include attention_t1.glsl on a device that runs so many invocations at once,
// so many to a subgroup: a workgroup is of whole subgroups, as some devices are asked for (vk/pipeline.go).
func gpuAttentionTile(n, dim, sums, most, lanes int) attentionTile {
	t := attentionTile{dim: dim, rows: 2 * maxTileRows, parts: minTileParts, gpu: true}
	for 4*t.parts < dim {
		t.parts *= 2
	}
	for t.group == 0 || t.group > min(most, maxTileGroup) || t.rows > maxTileRows && t.rows/2 >= n {
		if t.group > 0 {
			t.rows /= 2
		}
		t.group = max(min(minTileGroup, t.rows*t.parts/4), t.rows*t.parts*sums/tallSums)
	}
	if (sums > 1 || t.group%lanes != 0) && t.group < minTileGroup { // half of them have no sums, but else there are too few registers or lanes
		t.parts, t.group = 2*t.parts, 2*t.group
	}
	return t
}

// spec are the specialisation constants of kernels that include attention.glsl or attention_t1.glsl.
func (t attentionTile) spec(vector, window bool) []uint32 {
	return []uint32{uint32(t.group), 1, uint32(t.rows), uint32(t.parts), flag(vector), flag(window), uint32(t.held), uint32(t.share)}
}

// operand is a tensor of rows of heads that an attention kernel reads.
func operand(t tensors.Tensor) use { return use{t, vk.Read, true} }

// attend runs an attention kernel of a family: on GPUs that of T1, on a CPU the variant that reads all operands in
// texels where each head is a whole number of them.
func (c *Context) attend(t attentionTile, family string, vector, window bool, l launch) {
	if c.err != nil || c.Dry() {
		return
	}
	texels := vector && !t.gpu
	for _, u := range l.uses {
		texels = texels && (!u.texels || c.texels(u.Tensor, t.dim))
	}
	switch {
	case t.gpu:
		l.kernel = family + "_t1_" + l.kernel
	case texels:
		l.kernel = family + "_" + l.kernel + ".texel"
	default:
		l.kernel = family + "_" + l.kernel + ".buffer"
	}
	for i := range l.uses {
		l.uses[i].texels = l.uses[i].texels && texels
	}
	l.spec = t.spec(vector, window)
	c.run(l)
}

// wantHeads checks a head geometry.
func (c *Context) wantHeads(op string, h Heads) bool {
	if h.KV < 1 || h.Query < 1 || h.Query%h.KV != 0 || h.Dim < 2 || h.Dim%2 != 0 || h.Dim > maxHeadDim {
		c.failf("%s: heads: want key heads that divide the query heads and an even size of 2 to %d, got %+v", op, maxHeadDim, h)
	}
	return c.err == nil
}

// wantRows checks that tensors have one storage dtype and that each can be bound whole.
func (c *Context) wantRows(op string, list ...tensors.Tensor) bool {
	c.wantStorage(op, list[0])
	c.wantDType(op, list[0].DType, list...)
	for _, t := range list {
		if c.err == nil && !c.Dry() && t.Region.Bytes+vk.Align > c.Device.MaxBindingBytes {
			c.Fail(fail.New(fail.Usage,
				"lower the batch size (training.per_device_train_batch_size) or the sequence length (training.training_seq_len)",
				"ops: %s: %s: want at most %d bytes, what this device binds at once, got %d (%v %s)",
				op, t.Name, c.Device.MaxBindingBytes-vk.Align, t.Bytes(), t.Shape, t.DType))
		}
	}
	return c.err == nil
}
