package model

import (
	"vkdomino/ops"
	"vkdomino/tensors"
)

// sharedRows is what layer 0 does once for all draft rows that start as the same embedding:
// of a block all but the anchor's row are the mask token's. Norm, projections and the norm of
// heads see one row of each group; RoPE, which differs by position, lays them out. On the way
// back the gradients are turned back, added up by group, and go the same way. Letters are
// those of spec.md §1.1; U counts groups.
type sharedRows struct {
	groups  *ops.RowGroups
	x0      tensors.Tensor // [U, H] the groups' embeddings, the input
	q, k, v tensors.Tensor // [U, nH*hd], [U, nKV*hd] twice: after the norm of heads; values
	dv      tensors.Tensor // [U, nKV*hd]
}

// ShareRows makes layer 0 work once for each group of equal rows of X0, of at most most
// groups. The caller uploads the groups and fills the tensor that SharedInput returns.
func (b *Backbone) ShareRows(c *ops.Context, groups *ops.RowGroups, most int) {
	cfg, dtype := b.Config, b.X0.DType
	kv := cfg.NumKVHeads * cfg.HeadDim
	b.shared = &sharedRows{groups: groups,
		x0: c.Alloc("distinct noise embeddings", dtype, most, cfg.HiddenSize),
		q:  c.Alloc("distinct queries", dtype, most, cfg.NumHeads*cfg.HeadDim),
		k:  c.Alloc("distinct keys and values", dtype, most, kv),
		v:  c.Alloc("distinct keys and values", dtype, most, kv),
		dv: c.Alloc("distinct keys and values", dtype, most, kv),
	}
}

// shares reports whether a layer's input rows are groups of equal rows.
func (b *Backbone) shares(l *backboneLayer) bool { return b.shared != nil && l == b.layers[0] }

// SharedInput is where the embeddings [U, H] of the uploaded groups belong.
func (b *Backbone) SharedInput() tensors.Tensor { return rowsOf(b.shared.x0, b.shared.groups.Count) }

// sharedProjections is projections for layer 0, from the groups' embeddings.
func (b *Backbone) sharedProjections(c *ops.Context, l *backboneLayer, Q int) {
	cfg, s := b.Config, b.shared
	U := s.groups.Count
	l.in, l.n = rowsOf(s.x0, U), U
	qPre, kPre, v := rowsOf(l.qPre, U), rowsOf(l.kPre, U), rowsOf(s.v, U)
	b.projectRows(c, l, qPre, kPre, v)
	of, pos := s.groups.Of.View(Q), rowsOf(b.Pos, Q)
	heads := func(rope, normed, pre, rstd tensors.Tensor, w *Param, heads int) {
		n, hd := U*heads, cfg.HeadDim
		normed = rowsOf(normed, U)
		c.RMSNorm(normed.View(n, hd), rstd.View(n), pre.View(n, hd), w.Weight, cfg.RMSNormEps)
		c.RoPE(rowsOf(rope, Q), normed, of, b.Cos, b.Sin, pos, hd)
	}
	heads(l.qRope, s.q, qPre, l.rstdQ, l.qNorm, cfg.NumHeads)
	heads(l.kRope, s.k, kPre, l.rstdK, l.kNorm, cfg.NumKVHeads)
	c.Gather(rowsOf(l.vRows, Q), 0, v, 0, v.Cols(), of)
}

// sharedBackward adds up the gradients of layer 0's queries, keys and values before RoPE by
// group: those of queries and keys to dqPre and dkPre, before the norm of heads, and those of values to s.dv.
func (b *Backbone) sharedBackward(c *ops.Context, Q int) (dq, dk, dv tensors.Tensor) {
	g, s := b.grads, b.shared
	U := s.groups.Count
	dq, dk, dv = rowsOf(g.dqPre, U), rowsOf(g.dkPre, U), rowsOf(s.dv, U)
	c.GroupSum(dq, rowsOf(g.dq, Q), s.groups)
	c.GroupSum(dk, rowsOf(g.dk, Q), s.groups)
	c.GroupSum(dv, rowsOf(g.dv, Q), s.groups)
	return dq, dk, dv
}
