package model

import (
	"fmt"

	"vkdomino/ops"
	"vkdomino/tensors"
)

// BackboneConfig is the geometry of a DFlash backbone. Letters are those of spec.md §1.1.
type BackboneConfig struct {
	HiddenSize, NumFeatures, NumLayers int // H, nF, D
	NumHeads, NumKVHeads, HeadDim      int // nH, nKV, hd
	IntermediateSize, BlockSize        int // I, bs
	Window                             int // sliding window, 0 for none
	RMSNormEps                         float64
}

// Backbone is the DFlash draft's layers with the activations that the backward pass needs,
// for at most rows draft rows and context rows.
type Backbone struct {
	Config BackboneConfig
	// Inputs, host-visible: positions of draft and context rows (I32), and the blocks
	// and their ranges by batch row as ops.BlockAttention wants them.
	Pos, ContextPos, Blocks, Ranges tensors.Tensor
	X0                              tensors.Tensor // [Q, H] noise embeddings, the input
	Features                        tensors.Tensor // [T, nF*H] target_hidden, the input
	Z                               tensors.Tensor // [Q, H] output after the final norm; Backward destroys it

	Cos, Sin tensors.Tensor // the target's RoPE tables: a draft's theta equals its target's

	fc, hiddenNorm, norm *Param
	layers               []*backboneLayer
	fcOut, ht, hLast     tensors.Tensor // fc output, fused context Ht [T, H]; input of the final norm
	rstdHt, rstdZ        tensors.Tensor
	scratch              *scratch
	shared               *sharedRows // nil where layer 0 works on every row
	heads                ops.Heads
}

// backboneLayer holds a layer's weights and, by the names of spec.md §5.1, its activations.
// What follows from others without a product is not kept: layers share the buffers of scratch,
// and the backward pass fills them anew.
type backboneLayer struct {
	inNorm, q, k, v, o, qNorm, kNorm, postNorm, gate, up, down *Param

	hIn, hMid             tensors.Tensor // [Q, H]; hIn is the input buffer, absent in layer 0, whose input is X0
	in                    tensors.Tensor // the input of the current pass
	n                     int            // its rows: those that were projected
	qPre, attn            tensors.Tensor // [Q, nH*hd]
	kPre, vRows           tensors.Tensor // [Q, nKV*hd]
	ckPre, ckRope, cvRows tensors.Tensor // [T, nKV*hd], context
	gateOut, upOut        tensors.Tensor // [Q, I]; their gradients take their place
	rstdIn, rstdPost, lse tensors.Tensor
	rstdQ, rstdK, rstdCK  tensors.Tensor

	*scratch
}

// scratch is what one layer after the other uses. A gradient takes the place of what it is the
// gradient of, once nothing reads that any more.
type scratch struct {
	x     tensors.Tensor // [Q, H] normed rows: of the layer's input, then of its middle; and their gradient
	qRope tensors.Tensor // [Q, nH*hd]
	kRope tensors.Tensor // [Q, nKV*hd]
	mid   tensors.Tensor // [Q, I], and its gradient

	// For training alone: room holds all that is as long as the draft rows, but for x; the gradients of the attention's output and of the queries lie where mid was.
	room          tensors.Tensor
	dAttn, dq     tensors.Tensor // [Q, nH*hd]
	dk, dv        tensors.Tensor // [Q, nKV*hd]
	dck, dcv      tensors.Tensor // [T, nKV*hd]
	dHt32, dHt    tensors.Tensor // [T, H]
	attentionRows tensors.Tensor // I32 [Q, nH, 4], see ops.BlockAttentionBackward
}

// Capacity is the most rows of a backbone.
type Capacity struct {
	Draft     int // draft rows: blocks * block size
	Projected int // of layer 0: those that differ, where ShareRows follows; otherwise Draft
	Context   int // context rows of all sequences
	Sequences int
	// Room is how many bytes Backbone.Room has at least.
	Room int64
}

// NewBackbone allocates a backbone that trains on params.
func NewBackbone(c *ops.Context, cfg BackboneConfig, params *Params, target *Target, most Capacity, dtype tensors.DType) (*Backbone, error) {
	b := &Backbone{Config: cfg, heads: ops.Heads{Query: cfg.NumHeads, KV: cfg.NumKVHeads, Dim: cfg.HeadDim}}
	b.Cos, b.Sin = target.tablesFor(c, cfg.HeadDim)
	H, rows := cfg.HiddenSize, most.Draft
	b.Pos = c.AllocHost("draft positions", tensors.I32, rows)
	b.ContextPos = c.AllocHost("context positions", tensors.I32, most.Context)
	b.Blocks = c.AllocHost("draft blocks", tensors.I32, rows/cfg.BlockSize, 2)
	b.Ranges = c.AllocHost("draft block ranges", tensors.I32, most.Sequences, 4)
	b.X0 = c.Alloc("noise embeddings", dtype, rows, H)
	b.scratch = newTrainingScratch(c, cfg, most, dtype)
	b.Features = c.Alloc("target_hidden", dtype, most.Context, cfg.NumFeatures*H)
	b.Z = b.scratch.x // which nothing else uses between the passes
	b.fcOut = c.Alloc("fc output", dtype, most.Context, H)
	b.ht = c.Alloc("fused context", dtype, most.Context, H)
	b.hLast = c.Alloc("draft last residual", dtype, rows, H)
	b.rstdHt = c.Alloc("fused context rstd", tensors.F32, most.Context)
	b.rstdZ = c.Alloc("draft hidden rstd", tensors.F32, rows)
	var err error
	get := func(name string) *Param {
		p := params.Get(name)
		if p == nil && err == nil {
			err = fmt.Errorf("model: draft: no tensor %s", name)
		}
		return p
	}
	b.fc, b.hiddenNorm, b.norm = get("fc.weight"), get("hidden_norm.weight"), get("norm.weight")
	for l := range cfg.NumLayers {
		layer := newBackboneLayer(get, l)
		layer.scratch = b.scratch
		if l > 0 {
			layer.hIn = c.Alloc("draft residual rows", dtype, rows, H)
			most.Projected = rows
		}
		layer.alloc(c, cfg, rows, most.Projected, dtype)
		layer.allocContext(c, cfg, most.Context, dtype)
		b.layers = append(b.layers, layer)
	}
	return b, err
}

func newBackboneLayer(get func(string) *Param, l int) *backboneLayer {
	w := func(part string) *Param { return get(fmt.Sprintf("layers.%d.%s.weight", l, part)) }
	return &backboneLayer{
		inNorm: w("input_layernorm"), postNorm: w("post_attention_layernorm"),
		q: w("self_attn.q_proj"), k: w("self_attn.k_proj"), v: w("self_attn.v_proj"), o: w("self_attn.o_proj"),
		qNorm: w("self_attn.q_norm"), kNorm: w("self_attn.k_norm"),
		gate: w("mlp.gate_proj"), up: w("mlp.up_proj"), down: w("mlp.down_proj"),
	}
}

// alloc allocates what a layer keeps of rows draft rows, of which projected differ.
func (l *backboneLayer) alloc(c *ops.Context, cfg BackboneConfig, rows, projected int, dtype tensors.DType) {
	q, kv := cfg.NumHeads*cfg.HeadDim, cfg.NumKVHeads*cfg.HeadDim
	l.hMid = c.Alloc("draft residual rows", dtype, rows, cfg.HiddenSize)
	l.qPre = c.Alloc("draft queries and attention", dtype, projected, q)
	l.attn = c.Alloc("draft queries and attention", dtype, rows, q)
	l.kPre = c.Alloc("draft keys and values", dtype, projected, kv)
	l.vRows = c.Alloc("draft keys and values", dtype, rows, kv)
	l.gateOut = c.Alloc("draft MLP rows", dtype, rows, cfg.IntermediateSize)
	l.upOut = c.Alloc("draft MLP rows", dtype, rows, cfg.IntermediateSize)
	l.rstdIn, l.rstdPost = c.Alloc("draft rstd", tensors.F32, projected), c.Alloc("draft rstd", tensors.F32, rows)
	l.rstdQ = c.Alloc("draft query rstd and lse", tensors.F32, projected*cfg.NumHeads)
	l.lse = c.Alloc("draft query rstd and lse", tensors.F32, rows*cfg.NumHeads)
	l.rstdK = c.Alloc("draft key rstd", tensors.F32, projected*cfg.NumKVHeads)
}

// share takes another layer's row buffers, for a pass that keeps nothing.
func (l *backboneLayer) share(o *backboneLayer) {
	w := *l
	*l = *o
	l.hIn = w.hIn
	l.inNorm, l.q, l.k, l.v, l.o, l.qNorm, l.kNorm = w.inNorm, w.q, w.k, w.v, w.o, w.qNorm, w.kNorm
	l.postNorm, l.gate, l.up, l.down = w.postNorm, w.gate, w.up, w.down
}

func (l *backboneLayer) allocContext(c *ops.Context, cfg BackboneConfig, rows int, dtype tensors.DType) {
	for _, t := range []*tensors.Tensor{&l.ckPre, &l.ckRope, &l.cvRows} {
		*t = c.Alloc("context keys and values", dtype, rows, cfg.NumKVHeads*cfg.HeadDim)
	}
	l.rstdCK = c.Alloc("context key rstd", tensors.F32, rows*cfg.NumKVHeads)
}

// newScratch allocates what layers of a forward pass share for rows draft rows.
func newScratch(c *ops.Context, cfg BackboneConfig, rows int, dtype tensors.DType) *scratch {
	alloc := func(cols int) tensors.Tensor { return c.Alloc(scratchName, dtype, rows, cols) }
	return &scratch{x: alloc(cfg.HiddenSize), qRope: alloc(cfg.NumHeads * cfg.HeadDim), kRope: alloc(cfg.NumKVHeads * cfg.HeadDim), mid: alloc(cfg.IntermediateSize)}
}

// newTrainingScratch allocates what layers share in both passes. All that is as long as the draft
// rows, but for x, lies in room.
func newTrainingScratch(c *ops.Context, cfg BackboneConfig, most Capacity, dtype tensors.DType) *scratch {
	rows, q, kv, size := most.Draft, cfg.NumHeads*cfg.HeadDim, cfg.NumKVHeads*cfg.HeadDim, int64(dtype.Size())
	wide, heads, keys := int64(rows*max(cfg.IntermediateSize, 2*q))*size, int64(rows*q)*size, int64(rows*kv)*size
	need := max(most.Room, tensors.ArenaBytes(wide, heads, keys, keys, keys))
	s := &scratch{x: c.Alloc(scratchName, dtype, rows, cfg.HiddenSize), room: c.Alloc(scratchName, tensors.F32, int(need+3)/4)}
	a := tensors.NewArena(s.room)
	mid := a.Take("mid", dtype, rows*max(cfg.IntermediateSize, 2*q))
	s.mid = mid.View(rows, cfg.IntermediateSize)
	s.dAttn, s.dq = mid.View(rows, q), mid.Slice(rows*q, 2*rows*q).View(rows, q)
	s.qRope, s.kRope = a.Take("queries", dtype, rows, q), a.Take("keys", dtype, rows, kv)
	s.dk, s.dv = a.Take("gradient of keys", dtype, rows, kv), a.Take("gradient of values", dtype, rows, kv)
	alloc := func(dtype tensors.DType, cols int) tensors.Tensor {
		return c.Alloc(scratchName, dtype, most.Context, cols)
	}
	s.dck, s.dcv = alloc(dtype, kv), alloc(dtype, kv)
	s.dHt, s.dHt32 = alloc(dtype, cfg.HiddenSize), alloc(tensors.F32, cfg.HiddenSize)
	s.attentionRows = c.Alloc(scratchName, tensors.I32, rows, cfg.NumHeads, 4)
	return s
}

const scratchName = "scratch of the layers"

// Room is memory that nothing uses between the end of Forward and the beginning of Backward.
func (b *Backbone) Room() tensors.Tensor { return b.scratch.room }

// RoomBytes is how much Room has without asking for more.
func RoomBytes(cfg BackboneConfig, rows int, dtype tensors.DType) int64 {
	q, kv := cfg.NumHeads*cfg.HeadDim, cfg.NumKVHeads*cfg.HeadDim
	return int64(rows) * int64(max(cfg.IntermediateSize, 2*q)+q+3*kv) * int64(dtype.Size())
}

// Shape is how much of a backbone's buffers a pass uses.
type Shape struct {
	Sequences int
	Context   int // context rows: those of one sequence after those of another
	Longest   int // context rows of the longest sequence
	Blocks    int // draft rows are Blocks * block size
}

// at returns the first rows of a buffer.
func rowsOf(t tensors.Tensor, n int) tensors.Tensor { return t.Slice(0, n) }

// Forward records Z from X0 and Features. Source: spec.md §5.1.
func (b *Backbone) Forward(c *ops.Context, s Shape) {
	T, Q := s.Context, s.Blocks*b.Config.BlockSize
	b.Context(c, T)
	b.contextKeys(c, T)
	h := rowsOf(b.X0, Q)
	for i, l := range b.layers {
		next := b.hLast
		if i+1 < len(b.layers) {
			next = b.layers[i+1].hIn
		}
		b.layerForward(c, l, s, h, rowsOf(next, Q))
		h = rowsOf(next, Q)
	}
	c.RMSNorm(rowsOf(b.Z, Q), rowsOf(b.rstdZ, Q), h, b.norm.Weight, b.Config.RMSNormEps)
}

// Context records Ht = RMSNorm(fc(Features)) of the first T context rows.
func (b *Backbone) Context(c *ops.Context, T int) {
	fcOut := rowsOf(b.fcOut, T)
	c.Gemm(ops.NT, fcOut, rowsOf(b.Features, T), b.fc.Weight)
	c.RMSNorm(rowsOf(b.ht, T), rowsOf(b.rstdHt, T), fcOut, b.hiddenNorm.Weight, b.Config.RMSNormEps)
}

// contextKeys records all layers' keys and values of the context rows: KV injection. They
// depend on Ht alone, so the products of all layers run at the same time, without a barrier.
func (b *Backbone) contextKeys(c *ops.Context, T int) {
	cfg, ht := b.Config, rowsOf(b.ht, T)
	for _, l := range b.layers {
		c.Gemm(ops.NT, rowsOf(l.ckPre, T), ht, l.k.Weight)
		c.Gemm(ops.NT, rowsOf(l.cvRows, T), ht, l.v.Weight)
	}
	n := T * cfg.NumKVHeads
	for _, l := range b.layers {
		c.NormRoPE(rowsOf(l.ckRope, T), l.rstdCK.View(n), rowsOf(l.ckPre, T), l.kNorm.Weight, b.Cos, b.Sin, rowsOf(b.ContextPos, T), cfg.RMSNormEps)
	}
}

// attention is what a layer's attention reads.
func (b *Backbone) attention(l *backboneLayer, s Shape) ops.BlockInputs {
	Q, T := s.Blocks*b.Config.BlockSize, s.Context
	return ops.BlockInputs{Q: rowsOf(l.qRope, Q), K: rowsOf(l.kRope, Q), V: rowsOf(l.vRows, Q), CK: rowsOf(l.ckRope, T), CV: rowsOf(l.cvRows, T),
		Blocks: rowsOf(b.Blocks, s.Blocks), Ranges: rowsOf(b.Ranges, s.Sequences), Count: s.Blocks, BlockSize: b.Config.BlockSize,
		Sequences: s.Sequences, Context: s.Context, Longest: s.Longest, Window: b.Config.Window, Heads: b.heads}
}

// projectRows records queries and keys, before norm and RoPE, and values of the input rows l.in.
func (b *Backbone) projectRows(c *ops.Context, l *backboneLayer, qPre, kPre, v tensors.Tensor) {
	x := b.normInput(c, l)
	c.Gemm(ops.NT, qPre, x, l.q.Weight)
	c.Gemm(ops.NT, kPre, x, l.k.Weight)
	c.Gemm(ops.NT, v, x, l.v.Weight)
}

// normInput records the normed rows that are projected.
func (b *Backbone) normInput(c *ops.Context, l *backboneLayer) tensors.Tensor {
	x := rowsOf(l.x, l.n)
	c.RMSNorm(x, rowsOf(l.rstdIn, l.n), l.in, l.inNorm.Weight, b.Config.RMSNormEps)
	return x
}

// normMiddle records the normed rows that the MLP reads.
func (b *Backbone) normMiddle(c *ops.Context, l *backboneLayer, Q int) tensors.Tensor {
	y := rowsOf(l.x, Q)
	c.RMSNorm(y, rowsOf(l.rstdPost, Q), rowsOf(l.hMid, Q), l.postNorm.Weight, b.Config.RMSNormEps)
	return y
}

// turnHeads records queries and keys from those before norm and RoPE.
func (b *Backbone) turnHeads(c *ops.Context, l *backboneLayer, Q int) {
	if b.shares(l) {
		b.sharedTurn(c, l, Q)
		return
	}
	cfg, eps, pos := b.Config, b.Config.RMSNormEps, rowsOf(b.Pos, Q)
	c.NormRoPE(rowsOf(l.qRope, Q), l.rstdQ.View(Q*cfg.NumHeads), rowsOf(l.qPre, Q), l.qNorm.Weight, b.Cos, b.Sin, pos, eps)
	c.NormRoPE(rowsOf(l.kRope, Q), l.rstdK.View(Q*cfg.NumKVHeads), rowsOf(l.kPre, Q), l.kNorm.Weight, b.Cos, b.Sin, pos, eps)
}

// projections records a layer's queries, keys and values from its input h.
func (b *Backbone) projections(c *ops.Context, l *backboneLayer, h tensors.Tensor) {
	Q := h.Shape[0]
	if b.shares(l) {
		b.sharedProjections(c, l, Q)
	} else {
		l.in, l.n = h, Q
		b.projectRows(c, l, rowsOf(l.qPre, Q), rowsOf(l.kPre, Q), rowsOf(l.vRows, Q))
	}
	b.turnHeads(c, l, Q)
}

func (b *Backbone) layerForward(c *ops.Context, l *backboneLayer, s Shape, h, hOut tensors.Tensor) {
	Q := h.Shape[0]
	b.projections(c, l, h)
	attn := rowsOf(l.attn, Q)
	c.BlockAttention(attn, l.lse.View(Q, b.Config.NumHeads), b.attention(l, s))

	hMid := rowsOf(l.hMid, Q)
	c.GemmAdd(ops.NT, hMid, h, attn, l.o.Weight)
	y := b.normMiddle(c, l, Q)
	gate, up, mid := rowsOf(l.gateOut, Q), rowsOf(l.upOut, Q), rowsOf(l.mid, Q)
	c.Gemm(ops.NT, gate, y, l.gate.Weight)
	c.Gemm(ops.NT, up, y, l.up.Weight)
	c.SwiGLU(mid, gate, up)
	c.GemmAdd(ops.NT, hOut, hMid, mid, l.down.Weight)
}

// Backward records the gradients of every backbone tensor, added to Grad behind StartGrads, from dZ [Q, H],
// which is overwritten. Forward of the same shape came before; it must come again before
// another Backward. Source: spec.md §9.6.
func (b *Backbone) Backward(c *ops.Context, s Shape, dZ tensors.Tensor) {
	T, Q := s.Context, s.Blocks*b.Config.BlockSize
	dh, dHt32, dHt := dZ, rowsOf(b.scratch.dHt32, T), rowsOf(b.scratch.dHt, T)
	c.Zero(dHt32)
	c.RMSNormBackward(dh, b.norm.Grad, dZ, rowsOf(b.hLast, Q), rowsOf(b.rstdZ, Q), b.norm.Weight, false)
	for i := len(b.layers) - 1; i >= 0; i-- {
		b.layerBackward(c, b.layers[i], s, dh, dHt32, i == 0)
	}
	c.Cast(dHt, dHt32)
	c.RMSNormBackward(dHt, b.hiddenNorm.Grad, dHt, rowsOf(b.fcOut, T), rowsOf(b.rstdHt, T), b.hiddenNorm.Weight, false)
	b.fc.AddGrad(c, dHt, rowsOf(b.Features, T))
}

func (b *Backbone) layerBackward(c *ops.Context, l *backboneLayer, s Shape, dh, dHt32 tensors.Tensor, first bool) {
	b.mlpBackward(c, l, dh)
	d := b.attentionBackward(c, l, s, dh)
	dx := b.projectionBackward(c, l, s, d, dHt32)
	dIn := dh
	if first {
		dIn = tensors.Tensor{} // the noise embeddings are frozen
	}
	c.RMSNormBackward(dIn, l.inNorm.Grad, dx, l.in, rowsOf(l.rstdIn, l.n), l.inNorm.Weight, true)
}

// mlpBackward adds the MLP's gradient to dh.
func (b *Backbone) mlpBackward(c *ops.Context, l *backboneLayer, dh tensors.Tensor) {
	Q := dh.Shape[0]
	gate, up, mid := rowsOf(l.gateOut, Q), rowsOf(l.upOut, Q), rowsOf(l.mid, Q)
	c.SwiGLU(mid, gate, up)
	l.down.AddGrad(c, dh, mid)
	dMid, dGate, dUp := mid, gate, up
	c.Gemm(ops.NN, dMid, dh, l.down.Weight)
	c.SwiGLUBackward(dGate, dUp, dMid, gate, up)
	y := b.normMiddle(c, l, Q)
	l.gate.AddGrad(c, dGate, y)
	l.up.AddGrad(c, dUp, y)
	dy := y
	c.Gemm(ops.NN, dy, dGate, l.gate.Weight)
	c.GemmAdd(ops.NN, dy, dy, dUp, l.up.Weight)
	c.RMSNormBackward(dh, l.postNorm.Grad, dy, rowsOf(l.hMid, Q), rowsOf(l.rstdPost, Q), l.postNorm.Weight, true)
}

// attentionBackward returns the gradients of q, k, v before norm and RoPE and leaves those of the context in dck, dcv.
func (b *Backbone) attentionBackward(c *ops.Context, l *backboneLayer, s Shape, dh tensors.Tensor) rowGrads {
	cfg := b.Config
	Q, T, hd := dh.Shape[0], s.Context, cfg.HeadDim
	dAttn, attn := rowsOf(l.dAttn, Q), rowsOf(l.attn, Q)
	l.o.AddGrad(c, dh, attn)
	c.Gemm(ops.NN, dAttn, dh, l.o.Weight)
	b.turnHeads(c, l, Q)
	dq, dk, dv := rowsOf(l.dq, Q), rowsOf(l.dk, Q), rowsOf(l.dv, Q)
	dck, dcv := rowsOf(l.dck, T), rowsOf(l.dcv, T)
	c.BlockAttentionBackward(ops.BlockGrads{Q: dq, K: dk, V: dv, CK: dck, CV: dcv}, dAttn, attn, l.lse.View(Q, cfg.NumHeads), l.attentionRows.View(Q, cfg.NumHeads, 4), b.attention(l, s))
	pos, contextPos := rowsOf(b.Pos, Q), rowsOf(b.ContextPos, T)
	c.RoPEBackward(dq, b.Cos, b.Sin, pos, hd)
	c.RoPEBackward(dk, b.Cos, b.Sin, pos, hd)
	c.RoPEBackward(dck, b.Cos, b.Sin, contextPos, hd)
	if b.shares(l) {
		dq, dk, dv = b.sharedBackward(c, Q)
	}
	norm := func(d, in, rstd tensors.Tensor, w *Param, heads int) {
		n := d.Shape[0] * heads
		c.RMSNormBackward(d.View(n, hd), w.Grad, d.View(n, hd), rowsOf(in, d.Shape[0]).View(n, hd), rstd.View(n), w.Weight, false)
	}
	norm(dq, l.qPre, l.rstdQ, l.qNorm, cfg.NumHeads)
	norm(dk, l.kPre, l.rstdK, l.kNorm, cfg.NumKVHeads)
	norm(dck, l.ckPre, l.rstdCK, l.kNorm, cfg.NumKVHeads)
	return rowGrads{dq, dk, dv}
}

// rowGrads are the gradients of a layer's queries and keys, before norm and RoPE, and of its
// values, for the rows that were projected.
type rowGrads struct{ q, k, v tensors.Tensor }

// projectionBackward returns the gradient of the normed rows that were projected, and adds to dHt32 what the context gets.
func (b *Backbone) projectionBackward(c *ops.Context, l *backboneLayer, s Shape, d rowGrads, dHt32 tensors.Tensor) tensors.Tensor {
	T := s.Context
	dck, dcv, ht := rowsOf(l.dck, T), rowsOf(l.dcv, T), rowsOf(b.ht, T)
	x := b.normInput(c, l)
	l.q.AddGrad(c, d.q, x)
	l.k.AddGrad(c, d.k, x)
	l.k.AddGrad(c, dck, ht)
	l.v.AddGrad(c, d.v, x)
	l.v.AddGrad(c, dcv, ht)
	c.GemmAdd(ops.NN, dHt32, dHt32, dck, l.k.Weight)
	c.GemmAdd(ops.NN, dHt32, dHt32, dcv, l.v.Weight)
	dx := x
	c.Gemm(ops.NN, dx, d.q, l.q.Weight)
	c.GemmAdd(ops.NN, dx, dx, d.k, l.k.Weight)
	c.GemmAdd(ops.NN, dx, dx, d.v, l.v.Weight)
	return dx
}
