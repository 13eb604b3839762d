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
	Z                               tensors.Tensor // [Q, H] output after the final norm

	Cos, Sin tensors.Tensor // the target's RoPE tables: a draft's theta equals its target's

	fc, hiddenNorm, norm *Param
	layers               []*backboneLayer
	fcOut, ht, hLast     tensors.Tensor // fc output, fused context Ht [T, H]; input of the final norm
	rstdHt, rstdZ        tensors.Tensor
	grads                *backboneGrads
	shared               *sharedRows // nil where layer 0 works on every row
	heads                ops.Heads
}

// backboneLayer holds a layer's weights and, by the names of spec.md §5.1, its activations.
type backboneLayer struct {
	inNorm, q, k, v, o, qNorm, kNorm, postNorm, gate, up, down *Param

	hIn, x, hMid, y       tensors.Tensor // [Q, H]; hIn is the input buffer, unused in layer 0, whose input is X0
	in                    tensors.Tensor // the input of the current pass
	n                     int            // its rows: those that were projected
	qPre, qRope, attn     tensors.Tensor // [Q, nH*hd]
	kPre, kRope, vRows    tensors.Tensor // [Q, nKV*hd]
	ckPre, ckRope, cvRows tensors.Tensor // [T, nKV*hd], context
	gateOut, upOut, mid   tensors.Tensor // [Q, I]
	rstdIn, rstdPost, lse tensors.Tensor
	rstdQ, rstdK, rstdCK  tensors.Tensor
}

// backboneGrads are the gradients of activations; layers share them.
type backboneGrads struct {
	dh, dx           tensors.Tensor // [Q, H]
	dMid, dGate, dUp tensors.Tensor // [Q, I]
	dAttn, dq, dqPre tensors.Tensor // [Q, nH*hd]
	dk, dv, dkPre    tensors.Tensor // [Q, nKV*hd]
	dck, dcv, dckPre tensors.Tensor // [T, nKV*hd]
	dHt32, dHt, dFC  tensors.Tensor // [T, H]
	records          tensors.Tensor // I32 [Q, nH, 4], scratch of the attention
}

// NewBackbone allocates a backbone on params for at most draftRows draft rows (blocks *
// block size) and contextRows context rows of sequences sequences; with training it allocates what the backward
// pass needs too, otherwise layers share their activations but for the context's keys and values.
func NewBackbone(c *ops.Context, cfg BackboneConfig, params *Params, target *Target, draftRows, contextRows, sequences int, dtype tensors.DType, training bool) (*Backbone, error) {
	b := &Backbone{Config: cfg, Cos: target.Cos, Sin: target.Sin, heads: ops.Heads{Query: cfg.NumHeads, KV: cfg.NumKVHeads, Dim: cfg.HeadDim}}
	H := cfg.HiddenSize
	b.Pos = c.AllocHost("draft positions", tensors.I32, draftRows)
	b.ContextPos = c.AllocHost("context positions", tensors.I32, contextRows)
	b.Blocks = c.AllocHost("draft blocks", tensors.I32, draftRows/cfg.BlockSize, 2)
	b.Ranges = c.AllocHost("draft block ranges", tensors.I32, sequences, 4)
	b.X0 = c.Alloc("noise embeddings", dtype, draftRows, H)
	b.Features = c.Alloc("target_hidden", dtype, contextRows, cfg.NumFeatures*H)
	b.Z = c.Alloc("draft hidden", dtype, draftRows, H)
	b.fcOut = c.Alloc("fc output", dtype, contextRows, H)
	b.ht = c.Alloc("fused context", dtype, contextRows, H)
	b.hLast = c.Alloc("draft last residual", dtype, draftRows, H)
	b.rstdHt = c.Alloc("fused context rstd", tensors.F32, contextRows)
	b.rstdZ = c.Alloc("draft hidden rstd", tensors.F32, draftRows)
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
		if training || l == 0 {
			layer.alloc(c, cfg, draftRows, dtype)
		} else {
			layer.share(b.layers[0])
		}
		layer.allocContext(c, cfg, contextRows, dtype)
		b.layers = append(b.layers, layer)
	}
	if training {
		b.grads = newBackboneGrads(c, cfg, draftRows, contextRows, dtype)
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

func (l *backboneLayer) alloc(c *ops.Context, cfg BackboneConfig, rows int, dtype tensors.DType) {
	many := func(name string, cols int, list ...*tensors.Tensor) {
		for _, t := range list {
			*t = c.Alloc(name, dtype, rows, cols)
		}
	}
	floats := func(name string, n int, list ...*tensors.Tensor) {
		for _, t := range list {
			*t = c.Alloc(name, tensors.F32, n)
		}
	}
	many("draft residual and normed rows", cfg.HiddenSize, &l.hIn, &l.x, &l.hMid, &l.y)
	many("draft queries and attention", cfg.NumHeads*cfg.HeadDim, &l.qPre, &l.qRope, &l.attn)
	many("draft keys and values", cfg.NumKVHeads*cfg.HeadDim, &l.kPre, &l.kRope, &l.vRows)
	many("draft MLP rows", cfg.IntermediateSize, &l.gateOut, &l.upOut, &l.mid)
	floats("draft rstd", rows, &l.rstdIn, &l.rstdPost)
	floats("draft query rstd and lse", rows*cfg.NumHeads, &l.rstdQ, &l.lse)
	floats("draft key rstd", rows*cfg.NumKVHeads, &l.rstdK)
}

// share takes another layer's row buffers, for a pass that keeps nothing.
func (l *backboneLayer) share(o *backboneLayer) {
	w := *l
	*l = *o
	l.inNorm, l.q, l.k, l.v, l.o, l.qNorm, l.kNorm = w.inNorm, w.q, w.k, w.v, w.o, w.qNorm, w.kNorm
	l.postNorm, l.gate, l.up, l.down = w.postNorm, w.gate, w.up, w.down
}

func (l *backboneLayer) allocContext(c *ops.Context, cfg BackboneConfig, rows int, dtype tensors.DType) {
	for _, t := range []*tensors.Tensor{&l.ckPre, &l.ckRope, &l.cvRows} {
		*t = c.Alloc("context keys and values", dtype, rows, cfg.NumKVHeads*cfg.HeadDim)
	}
	l.rstdCK = c.Alloc("context key rstd", tensors.F32, rows*cfg.NumKVHeads)
}

func newBackboneGrads(c *ops.Context, cfg BackboneConfig, rows, context int, dtype tensors.DType) *backboneGrads {
	g := &backboneGrads{}
	alloc := func(n, cols int, list ...*tensors.Tensor) {
		for _, t := range list {
			*t = c.Alloc("gradients of activations", dtype, n, cols)
		}
	}
	kv := cfg.NumKVHeads * cfg.HeadDim
	alloc(rows, cfg.HiddenSize, &g.dh, &g.dx)
	alloc(rows, cfg.IntermediateSize, &g.dMid, &g.dGate, &g.dUp)
	alloc(rows, cfg.NumHeads*cfg.HeadDim, &g.dAttn, &g.dq, &g.dqPre)
	alloc(rows, kv, &g.dk, &g.dv, &g.dkPre)
	alloc(context, kv, &g.dck, &g.dcv, &g.dckPre)
	alloc(context, cfg.HiddenSize, &g.dHt, &g.dFC)
	g.records = c.Alloc("attention gradient records", tensors.I32, rows, cfg.NumHeads, 4)
	g.dHt32 = c.Alloc("gradients of activations", tensors.F32, context, cfg.HiddenSize)
	return g
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
	x := rowsOf(l.x, l.n)
	c.RMSNorm(x, rowsOf(l.rstdIn, l.n), l.in, l.inNorm.Weight, b.Config.RMSNormEps)
	c.Gemm(ops.NT, qPre, x, l.q.Weight)
	c.Gemm(ops.NT, kPre, x, l.k.Weight)
	c.Gemm(ops.NT, v, x, l.v.Weight)
}

// projections records a layer's queries, keys and values from its input h.
func (b *Backbone) projections(c *ops.Context, l *backboneLayer, h tensors.Tensor) {
	cfg, eps, Q := b.Config, b.Config.RMSNormEps, h.Shape[0]
	l.in, l.n = h, Q
	qPre, kPre := rowsOf(l.qPre, Q), rowsOf(l.kPre, Q)
	b.projectRows(c, l, qPre, kPre, rowsOf(l.vRows, Q))
	q, k, pos := rowsOf(l.qRope, Q), rowsOf(l.kRope, Q), rowsOf(b.Pos, Q)
	c.NormRoPE(q, l.rstdQ.View(Q*cfg.NumHeads), qPre, l.qNorm.Weight, b.Cos, b.Sin, pos, eps)
	c.NormRoPE(k, l.rstdK.View(Q*cfg.NumKVHeads), kPre, l.kNorm.Weight, b.Cos, b.Sin, pos, eps)
}

func (b *Backbone) layerForward(c *ops.Context, l *backboneLayer, s Shape, h, hOut tensors.Tensor) {
	eps, Q := b.Config.RMSNormEps, h.Shape[0]
	if b.shares(l) {
		b.sharedProjections(c, l, Q)
	} else {
		b.projections(c, l, h)
	}
	attn := rowsOf(l.attn, Q)
	c.BlockAttention(attn, l.lse.View(Q, b.Config.NumHeads), b.attention(l, s))

	hMid, y := rowsOf(l.hMid, Q), rowsOf(l.y, Q)
	c.GemmAdd(ops.NT, hMid, h, attn, l.o.Weight)
	c.RMSNorm(y, rowsOf(l.rstdPost, Q), hMid, l.postNorm.Weight, eps)
	gate, up, mid := rowsOf(l.gateOut, Q), rowsOf(l.upOut, Q), rowsOf(l.mid, Q)
	c.Gemm(ops.NT, gate, y, l.gate.Weight)
	c.Gemm(ops.NT, up, y, l.up.Weight)
	c.SwiGLU(mid, gate, up)
	c.GemmAdd(ops.NT, hOut, hMid, mid, l.down.Weight)
}

// Backward records the gradients of every backbone tensor, added to Grad, from dZ [Q, H].
// Forward of the same shape came before. Source: spec.md §9.6.
func (b *Backbone) Backward(c *ops.Context, s Shape, dZ tensors.Tensor) {
	T, Q := s.Context, s.Blocks*b.Config.BlockSize
	g := b.grads
	dh, dHt32 := rowsOf(g.dh, Q), rowsOf(g.dHt32, T)
	c.Zero(dHt32)
	c.RMSNormBackward(dh, b.norm.Grad, dZ, rowsOf(b.hLast, Q), rowsOf(b.rstdZ, Q), b.norm.Weight, false)
	for i := len(b.layers) - 1; i >= 0; i-- {
		b.layerBackward(c, b.layers[i], s, dh, dHt32, i == 0)
	}
	dHt, dFC := rowsOf(g.dHt, T), rowsOf(g.dFC, T)
	c.Cast(dHt, dHt32)
	c.RMSNormBackward(dFC, b.hiddenNorm.Grad, dHt, rowsOf(b.fcOut, T), rowsOf(b.rstdHt, T), b.hiddenNorm.Weight, false)
	weightGrad(c, b.fc, dFC, rowsOf(b.Features, T))
}

// weightGrad records dW += dOutᵀ in of a linear layer out = in Wᵀ.
func weightGrad(c *ops.Context, w *Param, dOut, in tensors.Tensor) {
	c.GemmAdd(ops.TN, w.Grad, w.Grad, dOut, in)
}

func (b *Backbone) layerBackward(c *ops.Context, l *backboneLayer, s Shape, dh, dHt32 tensors.Tensor, first bool) {
	b.mlpBackward(c, l, dh)
	d := b.attentionBackward(c, l, s, dh)
	b.projectionBackward(c, l, s, d, dHt32)
	dIn := dh
	if first {
		dIn = tensors.Tensor{} // the noise embeddings are frozen
	}
	c.RMSNormBackward(dIn, l.inNorm.Grad, rowsOf(b.grads.dx, l.n), l.in, rowsOf(l.rstdIn, l.n), l.inNorm.Weight, true)
}

// mlpBackward adds the MLP's gradient to dh.
func (b *Backbone) mlpBackward(c *ops.Context, l *backboneLayer, dh tensors.Tensor) {
	g, Q := b.grads, dh.Shape[0]
	dMid, dGate, dUp, dx := rowsOf(g.dMid, Q), rowsOf(g.dGate, Q), rowsOf(g.dUp, Q), rowsOf(g.dx, Q)
	y := rowsOf(l.y, Q)
	c.Gemm(ops.NN, dMid, dh, l.down.Weight)
	weightGrad(c, l.down, dh, rowsOf(l.mid, Q))
	c.SwiGLUBackward(dGate, dUp, dMid, rowsOf(l.gateOut, Q), rowsOf(l.upOut, Q))
	weightGrad(c, l.gate, dGate, y)
	weightGrad(c, l.up, dUp, y)
	c.Gemm(ops.NN, dx, dGate, l.gate.Weight)
	c.GemmAdd(ops.NN, dx, dx, dUp, l.up.Weight)
	c.RMSNormBackward(dh, l.postNorm.Grad, dx, rowsOf(l.hMid, Q), rowsOf(l.rstdPost, Q), l.postNorm.Weight, true)
}

// attentionBackward returns the gradients of q, k, v before norm and RoPE and leaves those of the context in dckPre, dcv.
func (b *Backbone) attentionBackward(c *ops.Context, l *backboneLayer, s Shape, dh tensors.Tensor) rowGrads {
	cfg, g := b.Config, b.grads
	Q, T, hd := dh.Shape[0], s.Context, cfg.HeadDim
	dAttn, attn := rowsOf(g.dAttn, Q), rowsOf(l.attn, Q)
	weightGrad(c, l.o, dh, attn)
	c.Gemm(ops.NN, dAttn, dh, l.o.Weight)
	dq, dk, dv := rowsOf(g.dq, Q), rowsOf(g.dk, Q), rowsOf(g.dv, Q)
	dck, dcv := rowsOf(g.dck, T), rowsOf(g.dcv, T)
	c.BlockAttentionBackward(ops.BlockGrads{Q: dq, K: dk, V: dv, CK: dck, CV: dcv}, dAttn, attn, l.lse.View(Q, cfg.NumHeads), g.records.View(Q, cfg.NumHeads, 4), b.attention(l, s))
	pos, contextPos := rowsOf(b.Pos, Q), rowsOf(b.ContextPos, T)
	c.RoPEBackward(dq, b.Cos, b.Sin, pos, hd)
	c.RoPEBackward(dk, b.Cos, b.Sin, pos, hd)
	c.RoPEBackward(dck, b.Cos, b.Sin, contextPos, hd)
	dqPre, dkPre := rowsOf(g.dqPre, Q), rowsOf(g.dkPre, Q)
	if b.shares(l) {
		dq, dk, dv = b.sharedBackward(c, Q)
		dqPre, dkPre = dq, dk
	}
	norm := func(dIn, dOut, in, rstd tensors.Tensor, w *Param, heads int) {
		n := dIn.Shape[0] * heads
		c.RMSNormBackward(dIn.View(n, hd), w.Grad, dOut.View(n, hd), rowsOf(in, dIn.Shape[0]).View(n, hd), rstd.View(n), w.Weight, false)
	}
	norm(dqPre, dq, l.qPre, l.rstdQ, l.qNorm, cfg.NumHeads)
	norm(dkPre, dk, l.kPre, l.rstdK, l.kNorm, cfg.NumKVHeads)
	norm(rowsOf(g.dckPre, T), dck, l.ckPre, l.rstdCK, l.kNorm, cfg.NumKVHeads)
	return rowGrads{dqPre, dkPre, dv}
}

// rowGrads are the gradients of a layer's queries and keys, before norm and RoPE, and of its
// values, for the rows that were projected.
type rowGrads struct{ q, k, v tensors.Tensor }

// projectionBackward leaves in dx the gradient of the normed rows that were projected, and adds to dHt32 what the context gets.
func (b *Backbone) projectionBackward(c *ops.Context, l *backboneLayer, s Shape, d rowGrads, dHt32 tensors.Tensor) {
	g, T := b.grads, s.Context
	dck, dcv := rowsOf(g.dckPre, T), rowsOf(g.dcv, T)
	x, ht, dx := rowsOf(l.x, l.n), rowsOf(b.ht, T), rowsOf(g.dx, l.n)
	weightGrad(c, l.q, d.q, x)
	weightGrad(c, l.k, d.k, x)
	weightGrad(c, l.k, dck, ht)
	weightGrad(c, l.v, d.v, x)
	weightGrad(c, l.v, dcv, ht)
	c.GemmAdd(ops.NN, dHt32, dHt32, dck, l.k.Weight)
	c.GemmAdd(ops.NN, dHt32, dHt32, dcv, l.v.Weight)
	c.Gemm(ops.NN, dx, d.q, l.q.Weight)
	c.GemmAdd(ops.NN, dx, dx, d.k, l.k.Weight)
	c.GemmAdd(ops.NN, dx, dx, d.v, l.v.Weight)
}
