package domino

import (
	"vkdomino/internal/draftnames"
	"vkdomino/model"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// Head is the Domino head on the device: a GRU over each block's tokens, fused with the
// backbone's hidden state, gives the correction W2 SiLU(W1 [Z ; s]) of the logits.
// Letters are those of spec.md §1.1; R counts head rows, U the distinct tokens that the GRU
// reads: a token's input gates are the same at every block and step, so they are computed once.
type Head struct {
	gruIn, gruHidden, w1, w2 *model.Param

	tokens   *ops.RowGroups // of the step-major rows: those of one teacher token
	ids      tensors.Tensor // I32 [U] the groups' teacher tokens; host-visible
	zRow     tensors.Tensor // I32 [R] draft row of a corrected head row, -1 for others
	stateRow tensors.Tensor // I32 [R] GRU state of the same, -1 for others
	own      tensors.Tensor // I32 [R] a corrected head row's place in its chunk, -1 for others

	x      tensors.Tensor // [U, H] teacher embeddings
	gi     tensors.Tensor // [U, 3G] F32 input-side pre-activations
	gru    ops.GRUSaved
	chunk  int            // the rows of the next seven: those whose logits are in memory
	f      tensors.Tensor // [chunk, H+G] = [Z ; s], zero on rows that are not corrected
	pre    tensors.Tensor // [chunk, E] F32
	act    tensors.Tensor // [chunk, E], exactly 0 on rows that are not corrected
	dAct   tensors.Tensor // [chunk, E] F32
	dPre   tensors.Tensor // [chunk, E]
	df     tensors.Tensor // [chunk, H+G] F32
	dfz    tensors.Tensor // [chunk, H] its part for Z, 0 on rows that are not corrected
	dfs    tensors.Tensor // [chunk, G] F32 its part for s
	dState tensors.Tensor // [bs*nb, G] F32
	dGi    tensors.Tensor // [bs*nb, 3G]
	dGiU   tensors.Tensor // [U, 3G] its sums over equal tokens
	dGh    tensors.Tensor // [bs*nb, 3G]
}

// newHead allocates the head of a draft for training on at most blocks blocks.
func newHead(c *ops.Context, cfg DraftConfig, params *model.Params, blocks, chunk int, most Capacity, dtype tensors.DType) *Head {
	H, G, E, Q := cfg.HiddenSize, cfg.GRUHiddenDim, cfg.EmbDim, blocks*cfg.BlockSize
	c.Beside(c.Reserve) // the scan's workspace
	U := most.distinct(Q, most.Batch*most.SeqLen, cfg.VocabSize)
	return &Head{
		gruIn: params.Get(draftnames.GRUInput), gruHidden: params.Get(draftnames.GRUHidden), w1: params.Get(draftnames.EmbedIn), w2: params.Get(draftnames.EmbedOut),
		tokens:   ops.NewRowGroups(c, "teacher ids", Q, most.EveryRow),
		ids:      c.AllocHost("teacher ids", tensors.I32, U),
		zRow:     c.AllocHost("head row index", tensors.I32, Q),
		stateRow: c.AllocHost("head state index", tensors.I32, Q),
		own:      c.AllocHost("head row in its chunk", tensors.I32, Q),
		x:        c.Alloc("teacher embeddings", dtype, U, H),
		gi:       c.Alloc("GRU input gates", tensors.F32, U, 3*G),
		gru:      ops.NewGRUSaved(c, cfg.BlockSize, blocks, G, dtype),
		chunk:    chunk,
		f:        c.Alloc("head input", dtype, chunk, H+G),
		pre:      c.Alloc("head pre-activation", tensors.F32, chunk, E),
		act:      c.Alloc("head activation", dtype, chunk, E),
		dAct:     c.Alloc("head gradients", tensors.F32, chunk, E),
		dPre:     c.Alloc("head gradients", dtype, chunk, E),
		df:       c.Alloc("head gradients", tensors.F32, chunk, H+G),
		dfz:      c.Alloc("head gradients", dtype, chunk, H),
		dfs:      c.Alloc("head gradients", tensors.F32, chunk, G),
		dState:   c.Alloc("GRU state gradients", tensors.F32, Q, G),
		dGi:      c.Alloc("GRU gate gradients", dtype, Q, 3*G),
		dGiU:     c.Alloc("GRU gate gradients", dtype, U, 3*G),
		dGh:      c.Alloc("GRU gate gradients", dtype, Q, 3*G),
	}
}

// upload writes the index lists of a micro-batch.
func (h *Head) upload(c *ops.Context, l *Layout, t *Targets) {
	nb, bs := len(l.Blocks), l.BlockSize
	Q, R := l.DraftRows(), t.Len()
	ids := make([]int32, Q)
	zRow, stateRow, own := filled(R, -1), filled(R, -1), filled(R, -1)
	stepOf := func(row int32) int32 { return row%int32(bs)*int32(nb) + row/int32(bs) }
	for q := range Q {
		ids[stepOf(int32(q))] = l.TeacherIDs[q]
	}
	for r, row := range t.Row {
		if t.Suffix[r] {
			zRow[r], stateRow[r], own[r] = row, stepOf(row), int32(r%h.chunk)
		}
	}
	distinct := h.tokens.Upload(c, ids)
	c.UploadI32(h.ids.View(len(distinct)), distinct)
	c.UploadI32(h.zRow.View(R), zRow)
	c.UploadI32(h.stateRow.View(R), stateRow)
	c.UploadI32(h.own.View(R), own)
}

func filled(n int, v int32) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = v
	}
	return s
}

// scan records the GRU's states, which depend on tokens alone: beside what comes next.
// Source: spec.md §6.1.
func (h *Head) scan(c *ops.Context, embed tensors.Tensor, l *Layout) {
	c.Beside(func() {
		U := h.tokens.Count
		x, gi := h.x.Slice(0, U), h.gi.Slice(0, U)
		c.Embedding(x, embed, h.ids.View(U))
		c.Gemm(ops.NT, gi, x, h.gruIn.Weight)
		c.GRU(h.gru, gi, h.tokens.Of.View(l.DraftRows()), h.gruHidden.Weight, l.BlockSize, len(l.Blocks))
	})
}

// activate records act of head rows lo to hi-1, a chunk of them, from Z [Q, H] and the states of
// scan, and returns it. Source: spec.md §6.1.
func (h *Head) activate(c *ops.Context, Z tensors.Tensor, lo, hi int) tensors.Tensor {
	R, H, G := hi-lo, Z.Cols(), h.gruHidden.Shape[1]
	f, pre, act := h.f.Slice(0, R), h.pre.Slice(0, R), h.act.Slice(0, R)
	c.Gather(f, 0, Z, 0, H, h.zRow.Slice(lo, hi))
	c.Gather(f, H, h.gru.States, 0, G, h.stateRow.Slice(lo, hi))
	c.Gemm(ops.NT, pre, f, h.w1.Weight)
	c.SiLU(act, pre)
	return act
}

// activateBackward records, from dAct of head rows lo to hi-1, their rows of the states'
// gradient, adds the gradient of W1, and returns that of the rows' Z [R, H]. activate of the
// same rows came last. Source: spec.md §9.3.
func (h *Head) activateBackward(c *ops.Context, lo, hi int) tensors.Tensor {
	R, H, G := hi-lo, h.x.Cols(), h.gruHidden.Shape[1]
	dPre, df, dfz, dfs := h.dPre.Slice(0, R), h.df.Slice(0, R), h.dfz.Slice(0, R), h.dfs.Slice(0, R)
	c.SiLUBackward(dPre, h.dAct.Slice(0, R), h.pre.Slice(0, R))
	h.w1.AddGrad(c, dPre, h.f.Slice(0, R))
	c.Gemm(ops.NN, df, dPre, h.w1.Weight)
	own := h.own.Slice(lo, hi)
	c.Gather(dfz, 0, df, 0, H, own)
	c.Gather(dfs, 0, df, H, G, own)
	c.Scatter(h.dState, dfs, h.stateRow.Slice(lo, hi))
	return dfz
}

// startBackward records that no state has a gradient yet.
func (h *Head) startBackward(c *ops.Context, l *Layout) { c.Zero(h.dState.Slice(0, l.DraftRows())) }

// backward records the gradients of the GRU's tensors from those of its states: the scan goes
// back beside what comes next. Source: spec.md §9.4.
func (h *Head) backward(c *ops.Context, l *Layout) {
	c.Beside(func() { h.scanBackward(c, l) })
}

func (h *Head) scanBackward(c *ops.Context, l *Layout) {
	nb, Q, U := len(l.Blocks), l.DraftRows(), h.tokens.Count
	dState, dGi, dGh, dGiU := h.dState.Slice(0, Q), h.dGi.Slice(0, Q), h.dGh.Slice(0, Q), h.dGiU.Slice(0, U)
	c.GRUBackward(dGi, dGh, dState, h.gru, h.gruHidden.Weight, l.BlockSize, nb)
	if l.BlockSize > 1 {
		h.gruHidden.AddGrad(c, dGh.Slice(nb, Q), h.gru.States.Slice(0, Q-nb))
	}
	c.GroupSum(dGiU, dGi, h.tokens)
	h.gruIn.AddGrad(c, dGiU, h.x.Slice(0, U))
}
