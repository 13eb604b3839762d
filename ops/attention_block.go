package ops

import (
	"vkdomino/tensors"
	"vkdomino/vk"
)

// BlockInputs is what the forward and the backward pass of BlockAttention read.
// P is the storage dtype, F32 or BF16, the same in all of them.
type BlockInputs struct {
	Q      tensors.Tensor // [Count*BlockSize, nH*hd] P: queries of the draft rows
	K, V   tensors.Tensor // [Count*BlockSize, nKV*hd] P: keys and values of the draft rows
	CK, CV tensors.Tensor // [Context, nKV*hd] P: those of the context, of all sequences
	// Blocks [Count, 2] I32 holds for each block the first context row of its sequence, whose
	// position j is the j-th row from there, and its anchor. They are sorted by sequence, then by
	// anchor, which is at most the sequence's rows. An anchor below 0 marks an invalid block.
	Blocks tensors.Tensor
	// Ranges [Sequences, 4] I32 holds for each sequence its first block, the one after its last,
	// its first context row and how many it has. Only the backward pass reads it.
	Ranges tensors.Tensor

	Count, BlockSize int // blocks, and draft rows of each
	Sequences        int
	Context, Longest int // context rows of all sequences, and of the longest at most
	Window           int // sliding window W of Model-Optimizer's rule; 0 is full attention
	Heads            Heads
}

// BlockGrads are the gradients of the inputs of the same names, of their shapes
// and dtype; all are overwritten, and overlap no operand. A sequence's context rows that no block sees get zero.
type BlockGrads struct{ Q, K, V, CK, CV tensors.Tensor }

// BlockAttention lets every row of a draft block attend to the context strictly
// before its anchor, as far as the window reaches, and in both directions to its
// own block:
//
//	out = softmax(q·kᵀ/√hd) v        lse = ln Σ exp(q·kᵀ/√hd)
//
// The row at offset o of a block sees context keys j < anchor and, with a
// window W > 0, j > anchor + o - W. out is [Count*BlockSize, nH*hd] in P; lse,
// which the backward pass needs, is [Count*BlockSize, nH] F32; neither overlaps an operand. Rows of invalid
// blocks have out = 0 and lse = 0 exactly. On cooperative matrices (BF16 in the
// tiers T2 and T3, see PlainAttention) weights are rounded to the matrices' elements.
// Source: spec.md §4.3 to §4.5, §5.1.
func (c *Context) BlockAttention(out, lse tensors.Tensor, a BlockInputs) {
	const op = "block attention"
	c.wantDType(op, tensors.F32, lse)
	if !c.wantBlocks(op, a) || !c.want(op, "out", out, a.Q.Shape...) || !c.want(op, "lse", lse, a.Q.Rows(), a.Heads.Query) ||
		!c.wantRows(op, a.Q, a.K, a.V, a.CK, a.CV, out) || a.Q.Rows() == 0 {
		return
	}
	a = a.withoutContext()
	if shapes := c.attentionMatrices(a.Heads.Dim, a.Q, a.K, a.V, a.CK, a.CV, out); len(shapes) > 0 {
		c.blockAttentionMatrix(shapes, out, lse, a)
		return
	}
	t := c.attentionTile(a.packed(), a.Heads, 1)
	c.attend(t, "block_attention", a.Heads.vectors(a.Q, a.K, a.V, a.CK, a.CV, out), a.Window > 0, launch{kernel: "forward." + storage(a.Q),
		uses:   []use{operand(a.Q), operand(a.K), operand(a.V), operand(a.CK), operand(a.CV), in(a.Blocks), {Tensor: out, access: vk.Write}, {Tensor: lse, access: vk.Write}},
		params: a.params(a.Count), groups: fold(a.Heads.KV * a.Count * ceilDiv(a.packed(), t.rows)), work: a.work(4)})
}

// BlockAttentionBackward writes the gradients of BlockAttention's inputs. With
// P = exp(q·kᵀ/√hd - lse) and dS = P (dOut·vᵀ - rowsum(dOut·out)):
//
//	dq = dS k/√hd        dk = dSᵀ q/√hd        dv = Pᵀ dOut
//
// dk and dv are summed over the query heads that share a key head, and context
// rows over all blocks that see them, in a fixed order. dOut and out are
// [Count*BlockSize, nH*hd] in P; records is scratch, [Count*BlockSize, nH, 4]
// I32, whose contents do not outlive the call. Invalid blocks contribute
// nothing. Source: spec.md §9.6.
func (c *Context) BlockAttentionBackward(g BlockGrads, dOut, out, lse, records tensors.Tensor, a BlockInputs) {
	const op = "block attention backward"
	if !c.wantBlocks(op, a) || !c.wantGrads(op, g, dOut, out, lse, records, a) {
		return
	}
	if a.Q.Rows() == 0 {
		c.Zero(g.CK)
		c.Zero(g.CV)
		return
	}
	if shapes := c.attentionMatrices(a.Heads.Dim, a.Q, a.K, a.V, a.CK, a.CV, dOut, out, g.Q, g.K, g.V, g.CK, g.CV); len(shapes) > 0 && records.Len()/2 >= scaleWords+a.Blocks.Len() {
		c.blockAttentionBackwardMatrix(shapes, g, dOut, out, lse, records, a.withoutContext())
		return
	}
	h := a.Heads
	vector := h.vectors(a.Q, a.K, a.V, a.CK, a.CV, dOut, out, g.Q, g.K, g.V, g.CK, g.CV)
	c.blockRecords(records, dOut, out, lse, a, vector, false)
	c.blockKeys("context", g.CK, g.CV, a.CK, a.CV, dOut, records, a, vector)
	c.blockKeys("own", g.K, g.V, a.K, a.V, dOut, records, a, vector)

	a = a.withoutContext()
	t := c.attentionTile(a.packed(), h, 1)
	c.attend(t, "block_attention", vector, a.Window > 0, launch{kernel: "backward_q." + storage(a.Q),
		uses: []use{operand(a.Q), operand(a.K), operand(a.V), operand(a.CK), operand(a.CV), operand(dOut), operand(records),
			{Tensor: g.Q, access: vk.Write}},
		params: a.params(a.Count), groups: fold(h.KV * a.Count * ceilDiv(a.packed(), t.rows)), work: a.work(6)})
}

// blockRecords computes rowsum(dOut·out) and packs it with what else the kernels need of a query row: lse alone for pairs.
func (c *Context) blockRecords(records, dOut, out, lse tensors.Tensor, a BlockInputs, vector, pairs bool) {
	rows := a.Q.Rows() * a.Heads.Query
	parts, items, group, spec := 1, a.Heads.Dim, c.flatGroup(), c.flatSpec(flag(vector), flag(pairs))
	if vector {
		items /= fourWide
	}
	if c.Device.Tier() != vk.T0 {
		parts, spec = min(recordParts, upToPower(items)), c.rowSpec(flag(vector), flag(pairs))
		group, _ = c.rowGroup()
	}
	c.run(launch{kernel: "block_attention_backward_rows." + storage(a.Q), spec: append(spec, uint32(parts), uint32(ceilDiv(items, parts))),
		uses:   []use{in(dOut), in(out), in(lse), in(a.Blocks), {Tensor: records, access: vk.Write}},
		params: []uint32{uint32(rows), uint32(a.BlockSize * a.Heads.Query), uint32(a.Heads.Dim)}, groups: fold(ceilDiv(rows, group/parts))})
}

// blockKeys computes the gradients dk and dv of the keys k and values v: the blocks' own or the context's.
func (c *Context) blockKeys(part string, dk, dv, k, v, dOut, records tensors.Tensor, a BlockInputs, vector bool) {
	t := c.attentionTile(a.BlockSize, a.Heads, 2)
	lists, length, work := a.Count, a.BlockSize, 8*float64(a.Q.Len())*float64(a.BlockSize)
	uses := []use{operand(a.Q), operand(dOut), operand(records), operand(k), operand(v), {Tensor: dk, access: vk.Write}, {Tensor: dv, access: vk.Write}}
	if part == "context" {
		t = c.attentionTile(a.Longest, a.Heads, 2)
		lists, length, work = a.Sequences, a.Longest, a.work(8)-work
		uses = append(uses, in(a.Ranges))
	}
	if lists*length == 0 {
		return
	}
	c.attend(t, "block_attention", vector, a.Window > 0, launch{kernel: "backward_kv." + storage(a.Q) + "." + part, uses: uses,
		params: a.params(lists), groups: fold(a.Heads.KV * lists * ceilDiv(length, t.rows)), work: work})
}

// packed is the number of query rows of a block that share a key head.
func (a BlockInputs) packed() int { return a.BlockSize * a.Heads.share() }

func (a BlockInputs) params(lists int) []uint32 {
	return a.Heads.params(lists, a.BlockSize, a.Longest, a.Window)
}

// work estimates the floating-point operations of a pass with the given number per query, key and element.
func (a BlockInputs) work(each int) float64 {
	return float64(each) * float64(a.Q.Len()) * float64(a.Longest/2+a.BlockSize)
}

// withoutContext binds the draft rows in the place of a context without rows, which is never read.
func (a BlockInputs) withoutContext() BlockInputs {
	if a.Context == 0 {
		a.CK, a.CV = a.K, a.V
	}
	return a
}

// wantBlocks checks the geometry and the shapes of the inputs.
func (c *Context) wantBlocks(op string, a BlockInputs) bool {
	h, rows := a.Heads, a.Count*a.BlockSize
	if a.BlockSize < 1 || a.Count < 0 || a.Sequences < 0 || a.Context < 0 || a.Longest < 0 || a.Longest > a.Context || a.Window < 0 {
		c.failf("%s: want block size > 0 and blocks, sequences, window >= 0 and a longest of 0 to %d context rows, got %d and %d, %d, %d and %d", op, a.Context, a.BlockSize, a.Count, a.Sequences, a.Window, a.Longest)
	}
	c.wantDType(op, tensors.I32, a.Blocks)
	return c.wantHeads(op, h) &&
		c.want(op, "q", a.Q, rows, h.Query*h.Dim) && c.want(op, "k", a.K, rows, h.KV*h.Dim) && c.want(op, "v", a.V, rows, h.KV*h.Dim) &&
		c.want(op, "ck", a.CK, a.Context, h.KV*h.Dim) && c.want(op, "cv", a.CV, a.Context, h.KV*h.Dim) &&
		c.want(op, "blocks", a.Blocks, a.Count, 2)
}

// wantGrads checks what only the backward pass takes.
func (c *Context) wantGrads(op string, g BlockGrads, dOut, out, lse, records tensors.Tensor, a BlockInputs) bool {
	rows := a.Q.Rows()
	for _, s := range []struct {
		name    string
		t, like tensors.Tensor
	}{{"dOut", dOut, a.Q}, {"out", out, a.Q}, {"dq", g.Q, a.Q}, {"dk", g.K, a.K}, {"dv", g.V, a.V}, {"dck", g.CK, a.CK}, {"dcv", g.CV, a.CV}} {
		c.want(op, s.name, s.t, s.like.Shape...)
	}
	c.wantDType(op, tensors.F32, lse)
	c.wantDType(op, tensors.I32, a.Ranges, records)
	return c.want(op, "lse", lse, rows, a.Heads.Query) && c.want(op, "records", records, rows, a.Heads.Query, 4) && c.want(op, "ranges", a.Ranges, a.Sequences, 4) &&
		c.wantRows(op, a.Q, a.K, a.V, a.CK, a.CV, dOut, out, g.Q, g.K, g.V, g.CK, g.CV)
}
