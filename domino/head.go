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

	tokens     *ops.RowGroups // of the step-major rows: those of one teacher token
	ids        tensors.Tensor // I32 [U] the groups' teacher tokens; host-visible
	zRow       tensors.Tensor // I32 [R] draft row of a corrected head row, -1 for others
	stateRow   tensors.Tensor // I32 [R] GRU state of the same, -1 for others
	headOfRow  tensors.Tensor // I32 [Q] corrected head row of a draft row, or -1
	headOfStep tensors.Tensor // I32 [bs*nb] corrected head row that reads a state, or -1

	x      tensors.Tensor // [U, H] teacher embeddings
	gi     tensors.Tensor // [U, 3G] F32 input-side pre-activations
	gru    ops.GRUSaved
	f      tensors.Tensor // [R, H+G] = [Z ; s], zero on rows that are not corrected
	pre    tensors.Tensor // [R, E] F32
	act    tensors.Tensor // [R, E], exactly 0 on rows that are not corrected
	dAct   tensors.Tensor // [R, E] F32
	dPre   tensors.Tensor // [R, E]
	df     tensors.Tensor // [R, H+G] F32
	dState tensors.Tensor // [bs*nb, G] F32
	dGi    tensors.Tensor // [bs*nb, 3G]
	dGiU   tensors.Tensor // [U, 3G] its sums over equal tokens
	dGh    tensors.Tensor // [bs*nb, 3G]
}

// newHead allocates the head of a draft for training on at most blocks blocks.
func newHead(c *ops.Context, cfg DraftConfig, params *model.Params, blocks int, most Capacity, dtype tensors.DType) *Head {
	H, G, E, Q := cfg.HiddenSize, cfg.GRUHiddenDim, cfg.EmbDim, blocks*cfg.BlockSize
	c.Beside(c.Reserve) // the scan's workspace
	U := most.distinct(Q, most.Batch*most.SeqLen, cfg.VocabSize)
	return &Head{
		gruIn: params.Get(draftnames.GRUInput), gruHidden: params.Get(draftnames.GRUHidden), w1: params.Get(draftnames.EmbedIn), w2: params.Get(draftnames.EmbedOut),
		tokens:     ops.NewRowGroups(c, "teacher ids", Q, most.EveryRow),
		ids:        c.AllocHost("teacher ids", tensors.I32, U),
		zRow:       c.AllocHost("head row index", tensors.I32, Q),
		stateRow:   c.AllocHost("head state index", tensors.I32, Q),
		headOfRow:  c.AllocHost("head row by draft row", tensors.I32, Q),
		headOfStep: c.AllocHost("head row by state", tensors.I32, Q),
		x:          c.Alloc("teacher embeddings", dtype, U, H),
		gi:         c.Alloc("GRU input gates", tensors.F32, U, 3*G),
		gru:        ops.NewGRUSaved(c, cfg.BlockSize, blocks, G, dtype),
		f:          c.Alloc("head input", dtype, Q, H+G),
		pre:        c.Alloc("head pre-activation", tensors.F32, Q, E),
		act:        c.Alloc("head activation", dtype, Q, E),
		dAct:       c.Alloc("head gradients", tensors.F32, Q, E),
		dPre:       c.Alloc("head gradients", dtype, Q, E),
		df:         c.Alloc("head gradients", tensors.F32, Q, H+G),
		dState:     c.Alloc("GRU state gradients", tensors.F32, Q, G),
		dGi:        c.Alloc("GRU gate gradients", dtype, Q, 3*G),
		dGiU:       c.Alloc("GRU gate gradients", dtype, U, 3*G),
		dGh:        c.Alloc("GRU gate gradients", dtype, Q, 3*G),
	}
}

// upload writes the index lists of a micro-batch.
func (h *Head) upload(c *ops.Context, l *Layout, t *Targets) {
	nb, bs := len(l.Blocks), l.BlockSize
	Q, R := l.DraftRows(), t.Len()
	ids, headOfRow, headOfStep := make([]int32, Q), filled(Q, -1), filled(Q, -1)
	zRow, stateRow := filled(R, -1), filled(R, -1)
	stepOf := func(row int32) int32 { return row%int32(bs)*int32(nb) + row/int32(bs) }
	for q := range Q {
		ids[stepOf(int32(q))] = l.TeacherIDs[q]
	}
	for r, row := range t.Row {
		if t.Suffix[r] {
			zRow[r], stateRow[r] = row, stepOf(row)
			headOfRow[row], headOfStep[stepOf(row)] = int32(r), int32(r)
		}
	}
	distinct := h.tokens.Upload(c, ids)
	c.UploadI32(h.ids.View(len(distinct)), distinct)
	c.UploadI32(h.zRow.View(R), zRow)
	c.UploadI32(h.stateRow.View(R), stateRow)
	c.UploadI32(h.headOfRow.View(Q), headOfRow)
	c.UploadI32(h.headOfStep.View(Q), headOfStep)
}

func filled(n int, v int32) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = v
	}
	return s
}

// scan records the GRU's states, which depend on tokens alone: beside what comes next.
func (h *Head) scan(c *ops.Context, embed tensors.Tensor, l *Layout) {
	c.Beside(func() {
		U := h.tokens.Count
		x, gi := h.x.Slice(0, U), h.gi.Slice(0, U)
		c.Embedding(x, embed, h.ids.View(U))
		c.Gemm(ops.NT, gi, x, h.gruIn.Weight)
		c.GRU(h.gru, gi, h.tokens.Of.View(l.DraftRows()), h.gruHidden.Weight, l.BlockSize, len(l.Blocks))
	})
}

// forward records act of all R head rows, from Z [Q, H] and the states of scan. Source: spec.md §6.1.
func (h *Head) forward(c *ops.Context, Z tensors.Tensor, R int) {
	H, G := Z.Cols(), h.gruHidden.Shape[1]
	f, pre := h.f.Slice(0, R), h.pre.Slice(0, R)
	c.Gather(f, 0, Z, 0, H, h.zRow.View(R))
	c.Gather(f, H, h.gru.States, 0, G, h.stateRow.View(R))
	c.Gemm(ops.NT, pre, f, h.w1.Weight)
	c.SiLU(h.act.Slice(0, R), pre)
}

// backward records the gradients of the head's tensors but W2's, from dAct, and leaves in
// df the gradient of [Z ; s]. The scan goes back beside what comes next. Source: spec.md §9.3, §9.4.
func (h *Head) backward(c *ops.Context, l *Layout, R int) {
	dPre, df, f := h.dPre.Slice(0, R), h.df.Slice(0, R), h.f.Slice(0, R)
	c.SiLUBackward(dPre, h.dAct.Slice(0, R), h.pre.Slice(0, R))
	c.GemmAdd(ops.TN, h.w1.Grad, h.w1.Grad, dPre, f)
	c.Gemm(ops.NN, df, dPre, h.w1.Weight)

	c.Beside(func() { h.scanBackward(c, l, df) })
}

// scanBackward records the gradients of the GRU's tensors.
func (h *Head) scanBackward(c *ops.Context, l *Layout, df tensors.Tensor) {
	nb, Q, U := len(l.Blocks), l.DraftRows(), h.tokens.Count
	H, G := h.x.Cols(), h.gruHidden.Shape[1]
	dState, dGi, dGh, dGiU := h.dState.Slice(0, Q), h.dGi.Slice(0, Q), h.dGh.Slice(0, Q), h.dGiU.Slice(0, U)
	c.Gather(dState, 0, df, H, G, h.headOfStep.View(Q))
	c.GRUBackward(dGi, dGh, h.gruHidden.Grad, dState, h.gru, h.gruHidden.Weight, l.BlockSize, nb)
	c.GroupSum(dGiU, dGi, h.tokens)
	c.GemmAdd(ops.TN, h.gruIn.Grad, h.gruIn.Grad, dGiU, h.x.Slice(0, U))
}
