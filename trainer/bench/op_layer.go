package bench

import (
	"vkdomino/domino"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// rowOps are the ops on rows of the residual stream.
func (s opShapes) rowOps() []opCase {
	c, Q, H := s.m.c, s.Q, s.H
	x, y, dx, w := s.rows(Q, H), s.rows(Q, H), s.rows(Q, H), s.rows(H)
	rstd, dw, wide := s.floats(Q), s.floats(H), s.floats(Q, H)
	table := s.rows(s.V, H)
	tokens := s.ints(Q, func(i int) int { return i * 7919 % s.V })
	order := s.ints(Q, func(i int) int { return Q - 1 - i })
	ids := c.Alloc("ids", tensors.I32, Q)
	groups, sums := s.groups()
	shape := dims(Q, H)
	return []opCase{
		{"RMSNorm", shape, 0, y, func() { c.RMSNorm(y, rstd, x, w, 1e-6) }},
		{"RMSNormBackward", shape, 0, dx, func() { c.RMSNormBackward(dx, dw, y, x, rstd, w, false) }},
		{"Add", shape, 0, y, func() { c.Add(y, x, dx) }},
		{"Cast", shape, 0, wide, func() { c.Cast(wide, x) }},
		{"Embedding", shape, s.lookup(Q, H), y, func() { c.Embedding(y, table, tokens) }},
		{"Gather", shape, s.lookup(Q, H), y, func() { c.Gather(y, 0, x, 0, H, order) }},
		{"Scatter", shape, s.lookup(Q, H), y, func() { c.Scatter(y, x, order) }},
		{"GroupSum", dims(groups.Count, Q, H), 0, sums, func() { c.GroupSum(sums, x, groups) }},
		{"GatherIDs", dims(Q), 0, tensors.Tensor{}, func() { c.GatherIDs(ids, tokens, order) }},
	}
}

// groups are draft rows by equal noise: the mask's row makes one large group.
func (s opShapes) groups() (*ops.RowGroups, tensors.Tensor) {
	keys := make([]int32, s.Q)
	for i := range keys {
		if i%s.p.Draft.BlockSize == 0 {
			keys[i] = int32(1 + i)
		}
	}
	g := ops.NewRowGroups(s.m.c, "groups", s.Q, false)
	g.Upload(s.m.c, keys)
	return g, s.rows(g.Count, s.H)
}

// mlpOps are the ops on rows of the MLP's width.
func (s opShapes) mlpOps() []opCase {
	c, shape := s.m.c, dims(s.Q, s.I)
	gate, up, out, dGate, dUp := s.rows(s.Q, s.I), s.rows(s.Q, s.I), s.rows(s.Q, s.I), s.rows(s.Q, s.I), s.rows(s.Q, s.I)
	return []opCase{
		{"SwiGLU", shape, 0, out, func() { c.SwiGLU(out, gate, up) }},
		{"SwiGLUBackward", shape, 0, dGate, func() { c.SwiGLUBackward(dGate, dUp, out, gate, up) }},
	}
}

// headOps are norm and rotation of the query heads.
func (s opShapes) headOps() []opCase {
	c, n, shape := s.m.c, s.Q*s.heads.Query, dims(s.Q, s.q)
	positions := s.p.SeqLen + s.p.Draft.BlockSize
	x, y, w, rstd := s.rows(s.Q, s.q), s.rows(s.Q, s.q), s.rows(s.hd), s.floats(n)
	cos, sin := s.floats(positions, s.hd/2), s.floats(positions, s.hd/2)
	pos := s.ints(s.Q, func(i int) int { return i % positions })
	none := tensors.Tensor{}
	return []opCase{
		{"NormRoPE", shape, 0, y, func() { c.NormRoPE(y, rstd, x, w, cos, sin, pos, 1e-6) }},
		{"RoPE", shape, 0, x, func() { c.RoPE(x, x, none, cos, sin, pos, s.hd) }},
		{"RoPEBackward", shape, 0, x, func() { c.RoPEBackward(x, cos, sin, pos, s.hd) }},
	}
}

// attentionOps are the draft's attention with anchors as a step draws them.
func (s opShapes) attentionOps() []opCase {
	_, l, err := s.p.microBatch()
	if err != nil {
		s.m.c.Fail(err)
		return nil
	}
	c, a := s.m.c, s.blockInputs(l)
	rows := l.DraftRows()
	out, dOut, lse := s.rows(rows, s.q), s.rows(rows, s.q), s.floats(rows, s.heads.Query)
	records := c.Alloc("records", tensors.I32, rows, s.heads.Query, 4)
	g := ops.BlockGrads{Q: s.rows(rows, s.q), K: s.rows(rows, s.kv), V: s.rows(rows, s.kv), CK: s.rows(a.Context, s.kv), CV: s.rows(a.Context, s.kv)}
	shape := dims(len(l.Blocks), l.BlockSize, s.q) + " of " + dims(s.p.Batch, s.p.SeqLen)
	return []opCase{
		{"BlockAttention", shape, 0, out, func() { c.BlockAttention(out, lse, a) }},
		{"BlockAttentionBackward", shape, 0, g.Q, func() { c.BlockAttentionBackward(g, dOut, out, lse, records, a) }},
	}
}

func (s opShapes) blockInputs(l *domino.Layout) ops.BlockInputs {
	rows := l.DraftRows()
	blocks := s.ints(2*len(l.Blocks), func(i int) int {
		if i%2 == 0 {
			return int(l.ContextStart[l.Blocks[i/2].Row])
		}
		return int(l.Blocks[i/2].Anchor)
	}, len(l.Blocks), 2)
	var list []int
	l.EachContext(func(b, first, n int) { list = append(list, int(l.RowStart[b]), int(l.RowStart[b+1]), first, n) })
	ranges := s.ints(len(list), func(i int) int { return list[i] }, l.Batch, 4)
	context, longest := l.Context()
	return ops.BlockInputs{Q: s.rows(rows, s.q), K: s.rows(rows, s.kv), V: s.rows(rows, s.kv), CK: s.rows(context, s.kv), CV: s.rows(context, s.kv),
		Blocks: blocks, Ranges: ranges, Count: len(l.Blocks), BlockSize: l.BlockSize, Sequences: l.Batch, Context: context, Longest: longest, Heads: s.heads}
}

// causalOps are the target's attention.
func (s opShapes) causalOps() []opCase {
	c, B, S := s.m.c, s.p.Batch, s.p.SeqLen
	h := ops.Heads{Query: s.p.Target.NumHeads, KV: s.p.Target.NumKVHeads, Dim: s.p.Target.HeadDim}
	q, k, v, out := s.rows(s.T, h.Query*h.Dim), s.rows(s.T, h.KV*h.Dim), s.rows(s.T, h.KV*h.Dim), s.rows(s.T, h.Query*h.Dim)
	lengths, starts, bases := make([]int, B), make([]int, B), make([]int, B)
	for i := range lengths {
		lengths[i], bases[i] = S, i*S
	}
	list := ops.CausalSegments(lengths, starts, bases)
	n := len(list) / 4
	segments := s.ints(len(list), func(i int) int { return int(list[i]) }, n, 4)
	return []opCase{{"CausalAttention", dims(B, S, h.Query*h.Dim), 0, out, func() { c.CausalAttention(out, q, k, v, segments, n, S, h) }}}
}

// productOps are the products of the MLP, whose layouts `bench gemm` has more of.
func (s opShapes) productOps() []opCase {
	c := s.m.c
	x, w, y, dw := s.rows(s.Q, s.H), s.rows(s.I, s.H), s.rows(s.Q, s.I), s.floats(s.I, s.H)
	return []opCase{
		{"Gemm", "NT " + dims(s.Q, s.I, s.H), 0, y, func() { c.Gemm(ops.NT, y, x, w) }},
		{"GemmAdd", "TN " + dims(s.I, s.H, s.Q), 0, dw, func() { c.GemmAdd(ops.TN, dw, dw, y, x) }},
		{"GemmOnto", "TN " + dims(s.I, s.H, s.Q), 0, dw, func() { c.GemmOnto(false, ops.TN, dw, y, x) }},
	}
}
