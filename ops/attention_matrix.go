package ops

import (
	"vkdomino/tensors"
	"vkdomino/vk"
)

// attentionShape is how attention on cooperative matrices is divided: subgroups of a workgroup, which
// have as many rows each as a matrix, and rows of the other side that pass through shared memory at a time.
type attentionShape struct{ subgroups, cols int }

// attentionShapes are those that may be chosen, the best first.
var attentionShapes = []attentionShape{{8, 32}, {4, 32}, {2, 32}, {4, 16}, {2, 16}, {1, 16}, {4, 8}}

const (
	maxMatrixHead = 128  // the largest head whose sums stay in registers
	cpuStream     = 16   // rows of a part of the stream, and with the elements of a head their product: a CPU driver
	cpuProduct    = 1024 // compiles for minutes what a GPU's takes at once
	scaleWords    = 8    // of the list of blocks where matrices are of f16: magnitudes, see recordList
)

// attentionMatrices is what runs an attention on cooperative matrices.
type attentionMatrices struct {
	attentionShape
	matrix vk.Matrix
	lanes  int
	dim    int
	cpu    bool
}

// rows are those of a workgroup.
func (t attentionMatrices) rows() int { return t.subgroups * t.matrix.M }

// sharedBytes is what the kernels declare (shaders/include/attention_matrix.glsl).
func (t attentionMatrices) sharedBytes() int {
	tile, pitch := t.rows(), t.dim/8+1
	scores := max(t.cols/4, t.cols/8+t.matrix.N/4) + 1
	return 16 * (max(2*t.cols*pitch+tile*scores, tile*pitch) + t.cols + t.cols/2 + 1)
}

// fits reports whether a device can run the shape on matrices of its size.
func (t attentionMatrices) fits(d *vk.Device) bool {
	m, parts := t.matrix, max(1, t.lanes/t.matrix.M)
	return t.dim%m.N == 0 && t.dim%m.K == 0 && t.dim%8 == 0 && t.dim <= maxMatrixHead &&
		t.cols%m.N == 0 && t.cols%m.K == 0 && t.cols%(8*parts) == 0 &&
		t.subgroups*t.lanes <= d.MaxInvocations && t.sharedBytes() <= d.SharedBytes
}

// spec are the specialisation constants of kernels that include attention_matrix.glsl.
func (t attentionMatrices) spec(more ...uint32) []uint32 {
	return append([]uint32{uint32(t.subgroups * t.lanes), uint32(t.subgroups), uint32(t.lanes), uint32(t.dim), uint32(t.cols), flag(t.cpu)}, more...)
}

// kernel is the module of a stem.
func (t attentionMatrices) kernel(stem string) string {
	element := "f16"
	if t.matrix.BF16 {
		element = "bf16"
	}
	return stem + "." + element + "." + t.matrix.Size()
}

// attentionMatrices lists how attention with these operands and results can run on cooperative matrices, the best first.
func (c *Context) attentionMatrices(dim int, list ...tensors.Tensor) (shapes []attentionMatrices) {
	if c.err != nil || c.Dry() || c.PlainAttention || c.RowStable || !c.HasMatrices() {
		return nil
	}
	for _, x := range list {
		if x.DType != tensors.BF16 || x.Region.Offset%16 != 0 {
			return nil
		}
	}
	for _, s := range attentionShapes {
		t := attentionMatrices{s, c.Device.Matrices[0], c.Device.MatrixLanes, dim, c.Device.CPU}
		if c.shape != nil && *c.shape != s || c.shape == nil && t.cpu && (s.cols > cpuStream || s.cols*t.dim > cpuProduct) {
			continue
		}
		if t.fits(c.Device) {
			shapes = append(shapes, t)
		}
	}
	return shapes
}

// unspilled is the first shape whose kernel the driver compiles without spilling registers, where it tells; the first
// of all where every one spills.
func (c *Context) unspilled(shapes []attentionMatrices, kernel func(attentionMatrices) launch) attentionMatrices {
	if !c.Device.TellsStatistics() || c.tally != nil && c.kernels == nil {
		return shapes[0]
	}
	for _, t := range shapes {
		s := kernel(t).shader()
		s.Statistics = true
		p, err := c.pipeline(s)
		if err != nil {
			c.Fail(err)
			break
		}
		if vk.Spills(p.Statistics()) == 0 {
			return t
		}
	}
	return shapes[0]
}

// runUnspilled records the kernel of the shape that unspilled chooses.
func (c *Context) runUnspilled(shapes []attentionMatrices, kernel func(attentionMatrices) launch) {
	c.run(kernel(c.unspilled(shapes, kernel)))
}

// blockAttentionMatrix is BlockAttention on cooperative matrices.
func (c *Context) blockAttentionMatrix(shapes []attentionMatrices, out, lse tensors.Tensor, a BlockInputs) {
	blocks := c.listed(shapes[0].matrix, a.Blocks, a.magnitudes())
	c.runUnspilled(shapes, func(t attentionMatrices) launch {
		return launch{kernel: t.kernel("block_attention_t2_forward"), spec: t.spec(), lanes: t.lanes,
			uses: []use{in(a.Q), in(a.K), in(a.V), in(a.CK), in(a.CV), in(blocks),
				{Tensor: out, access: vk.Write}, {Tensor: lse, access: vk.Write}},
			params: a.params(a.Count), groups: fold(a.Heads.KV * ceilDiv(a.Count*a.packed(), t.rows())), work: a.work(4)}
	})
}

// causalAttentionMatrix is CausalAttention of n segments on cooperative matrices.
func (c *Context) causalAttentionMatrix(shapes []attentionMatrices, out, q, k, v, segments tensors.Tensor, n, longest int, h Heads, work float64) {
	list := c.listed(shapes[0].matrix, segments.Slice(0, n), [][]tensors.Tensor{{q}, {k}, {v}})
	c.runUnspilled(shapes, func(t attentionMatrices) launch {
		return launch{kernel: t.kernel("causal_attention_t2_forward"), spec: t.spec(), lanes: t.lanes,
			uses:   []use{in(q), in(k), in(v), in(list), {Tensor: out, access: vk.ReadWrite}},
			params: h.params(n, SegmentRows, longest, 0), groups: fold(h.KV * ceilDiv(n*SegmentRows*h.share(), t.rows())), work: work}
	})
}

// magnitudes are the operands of the forward pass that matrices of f16 have one scale for each.
func (a BlockInputs) magnitudes() [][]tensors.Tensor {
	return [][]tensors.Tensor{{a.Q}, {a.K, a.CK}, {a.V, a.CV}}
}

// listed is a list of blocks or segments as the forward passes read it: for matrices of f16, a copy in the workspace behind magnitudes.
func (c *Context) listed(m vk.Matrix, list tensors.Tensor, magnitudes [][]tensors.Tensor) tensors.Tensor {
	if m.BF16 {
		return list
	}
	c.Reserve()
	words := c.workspace.sums
	words.DType = tensors.I32
	words = words.Slice(0, scaleWords+list.Len())
	c.recordList(words, list, magnitudes)
	return words
}

// recordList records into words the largest finite magnitude of each group of tensors and, behind scaleWords of them, a list.
func (c *Context) recordList(words, list tensors.Tensor, magnitudes [][]tensors.Tensor) {
	c.Zero(words.Slice(0, scaleWords))
	c.Copy(words.Slice(scaleWords, words.Len()), list)
	for i, group := range magnitudes {
		for _, x := range group {
			c.recordMagnitude(words.Slice(i, i+1), wholeMatrix(x), true)
		}
	}
}

// blockAttentionBackwardMatrix is BlockAttentionBackward on cooperative matrices. In records stand lse and rowsum(dOut·out)
// of every query row and head, and then what recordList records.
func (c *Context) blockAttentionBackwardMatrix(shapes []attentionMatrices, g BlockGrads, dOut, out, lse, records tensors.Tensor, a BlockInputs) {
	h, stats := a.Heads, 2*a.Q.Rows()*a.Heads.Query
	words := records.View(records.Len())
	c.blockRecords(words.Slice(0, stats), dOut, out, lse, a, true, true)
	table := words.Slice(stats, stats+scaleWords+a.Blocks.Len())
	if shapes[0].matrix.BF16 {
		c.Copy(table.Slice(scaleWords, table.Len()), a.Blocks)
	} else {
		c.recordList(table, a.Blocks, append(a.magnitudes(), []tensors.Tensor{dOut}))
	}
	words = words.Slice(0, stats+table.Len())
	for i, d := range []tensors.Tensor{g.CK, g.CV, g.K, g.V} {
		c.blockKeysMatrix(shapes, d, i%2 == 1, i < 2, dOut, words, a)
	}
	c.runUnspilled(shapes, func(t attentionMatrices) launch {
		return launch{kernel: t.kernel("block_attention_t2_backward_q"), spec: t.spec(), lanes: t.lanes,
			uses:   []use{in(a.Q), in(a.K), in(a.V), in(a.CK), in(a.CV), in(dOut), in(words), {Tensor: g.Q, access: vk.Write}},
			params: append(a.params(a.Count), uint32(stats)), groups: fold(h.KV * ceilDiv(a.Count*a.packed(), t.rows())), work: a.work(6)}
	})
}

// blockKeysMatrix computes one gradient d of keys or values: the context's or the blocks' own.
func (c *Context) blockKeysMatrix(shapes []attentionMatrices, d tensors.Tensor, values, context bool, dOut, words tensors.Tensor, a BlockInputs) {
	h := a.Heads
	k, v, ranges, lists, length := a.K, a.V, a.Blocks, 1, a.Count*a.BlockSize
	work := float64(6-2*flag(values)) * float64(a.Q.Len()) * float64(a.BlockSize)
	if context {
		k, v, ranges, lists, length = a.CK, a.CV, a.Ranges, a.Sequences, a.Longest
		work = a.work(6-2*int(flag(values))) - work
	}
	if length*lists == 0 {
		return
	}
	parts, to := 1, d
	pass := func(t attentionMatrices) launch {
		params := append(h.params(lists, a.BlockSize, length, a.Window), uint32(2*a.Q.Rows()*h.Query), uint32(a.Count), uint32(parts), uint32(d.Len()))
		return launch{kernel: t.kernel("block_attention_t2_backward_kv"), spec: t.spec(flag(values), flag(context)), lanes: t.lanes,
			uses:   []use{in(a.Q), in(dOut), in(words), in(k), in(v), {Tensor: to, access: vk.Write}, in(ranges)},
			params: params, groups: fold(ceilDiv(length, t.rows()) * lists * h.KV * parts), work: work}
	}
	t := c.unspilled(shapes, pass)
	if context {
		tiles := ceilDiv(length, t.rows()) * lists * h.KV
		parts = max(1, min(ceilDiv(2*c.busyTiles(), tiles), splitMost, c.workspaceFloats()/d.Len()))
	}
	if parts > 1 {
		to = c.scratch(parts * d.Len())
	}
	c.run(pass(t))
	if parts > 1 {
		whole := wholeMatrix(d)
		c.reduceSplits(gemm{C: whole, D: whole, m: whole.rows, n: whole.cols}, to, parts)
	}
}
