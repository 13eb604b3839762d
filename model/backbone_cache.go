package model

import (
	"fmt"

	"vkdomino/ops"
	"vkdomino/tensors"
)

// BackboneCache is a draft's backbone that decodes: the keys and values of context rows are
// computed once, from features of tokens that the target has processed, and stay; those of
// draft rows never do. Slots and rows are those of the target's cache. Source: spec.md §14.1.
type BackboneCache struct {
	backbone   *Backbone
	newK, newV tensors.Tensor // [rows, nKV*hd]
	pre        tensors.Tensor // [rows, nKV*hd] keys before norm and RoPE
	rstdK      tensors.Tensor
	shape      Shape
}

// NewBackboneCache allocates a backbone on params beside a target's cache, for at most
// blocks blocks at a time.
func NewBackboneCache(c *ops.Context, cfg BackboneConfig, params *Params, cache *TargetCache, blocks int) (*BackboneCache, error) {
	target, dtype := cache.target, cache.target.dtype
	H, kv, draft, rows := cfg.HiddenSize, cfg.NumKVHeads*cfg.HeadDim, blocks*cfg.BlockSize, cache.Rows
	b := &Backbone{Config: cfg, heads: ops.Heads{Query: cfg.NumHeads, KV: cfg.NumKVHeads, Dim: cfg.HeadDim}}
	b.Cos, b.Sin = target.tablesFor(c, cfg.HeadDim)
	b.Pos = c.AllocHost("draft positions", tensors.I32, draft)
	b.Blocks = c.AllocHost("draft blocks", tensors.I32, blocks, 2)
	b.Ranges = c.AllocHost("draft block ranges", tensors.I32, cache.Slots, 4)
	b.X0 = c.Alloc("noise embeddings", dtype, draft, H)
	b.Z = c.Alloc("draft hidden", dtype, draft, H)
	b.hLast = c.Alloc("draft last residual", dtype, draft, H)
	b.rstdZ = c.Alloc("draft hidden rstd", tensors.F32, draft)
	b.fcOut = c.Alloc("fc output", dtype, rows, H)
	b.ht = c.Alloc("fused context", dtype, rows, H)
	b.rstdHt = c.Alloc("fused context rstd", tensors.F32, rows)
	b.Features, b.ContextPos = cache.Features, cache.Pos
	b.scratch = newScratch(c, cfg, draft, dtype)
	hIn := c.Alloc("draft residual rows", dtype, draft, H)
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
		layer.hIn = hIn
		if l == 0 {
			layer.alloc(c, cfg, draft, draft, dtype)
		} else {
			layer.share(b.layers[0])
		}
		layer.ckRope = c.Alloc("context keys", dtype, cache.Slots*cache.Stride, kv)
		layer.cvRows = c.Alloc("context values", dtype, cache.Slots*cache.Stride, kv)
		b.layers = append(b.layers, layer)
	}
	bc := &BackboneCache{backbone: b, shape: Shape{Sequences: cache.Slots, Context: cache.Slots * cache.Stride, Longest: cache.Stride}}
	bc.newK = c.Alloc("new context keys", dtype, rows, kv)
	bc.newV = c.Alloc("new context values", dtype, rows, kv)
	bc.pre = c.Alloc("new context keys before norm", dtype, rows, kv)
	bc.rstdK = c.Alloc("context key rstd", tensors.F32, rows*cfg.NumKVHeads)
	if err != nil {
		return nil, err
	}
	return bc, c.Err()
}

// Append records the context keys and values of the target's last pass, of all its rows:
// those of rejected tokens lie beyond the slot's length, where no block looks, until the
// tokens that take their place overwrite them. Source: spec.md §5.1, §14.2.
func (bc *BackboneCache) Append(c *ops.Context, cache *TargetCache) {
	b, n := bc.backbone, cache.n
	cfg, heads := b.Config, n*b.Config.NumKVHeads
	b.Context(c, n)
	ht, pre, pos := rowsOf(b.ht, n), rowsOf(bc.pre, n), cache.Pos.View(n)
	for _, l := range b.layers {
		k, v := rowsOf(bc.newK, n), rowsOf(bc.newV, n)
		if cache.row >= 0 {
			k, v = l.ckRope.Slice(cache.row, cache.row+n), l.cvRows.Slice(cache.row, cache.row+n)
		}
		c.Gemm(ops.NT, pre, ht, l.k.Weight)
		c.Gemm(ops.NT, v, ht, l.v.Weight)
		c.NormRoPE(k, bc.rstdK.View(heads), pre, l.kNorm.Weight, b.Cos, b.Sin, pos, cfg.RMSNormEps)
		if cache.row < 0 {
			c.Scatter(l.ckRope, k, cache.Index.View(n))
			c.Scatter(l.cvRows, v, cache.Index.View(n))
		}
	}
}

// Place says which blocks the next pass has: one for each slot of slots, whose anchor is the
// token at position starts[i], the first that is not in the cache. The device must be idle.
func (bc *BackboneCache) Place(c *ops.Context, slots, starts []int) {
	b := bc.backbone
	var blocks, pos []int32
	for i, slot := range slots {
		blocks = append(blocks, int32(slot*bc.shape.Longest), int32(starts[i]))
		for k := range b.Config.BlockSize {
			pos = append(pos, int32(starts[i]+k))
		}
	}
	bc.shape.Blocks = len(slots)
	c.UploadI32(b.Pos.View(len(pos)), pos)
	c.UploadI32(b.Blocks.Slice(0, len(slots)), blocks)
}

// Forward records the hidden states Z [blocks*bs, H] of the placed blocks from their
// embedded tokens noise [blocks*bs] I32. Source: spec.md §14.2.
func (bc *BackboneCache) Forward(c *ops.Context, embed, noise tensors.Tensor) tensors.Tensor {
	b, Q := bc.backbone, bc.shape.Blocks*bc.backbone.Config.BlockSize
	h := rowsOf(b.X0, Q)
	c.Embedding(h, embed, noise.View(Q))
	for i, l := range b.layers {
		next := b.hLast
		if i+1 < len(b.layers) {
			next = b.layers[i+1].hIn
		}
		b.layerForward(c, l, bc.shape, h, rowsOf(next, Q))
		h = rowsOf(next, Q)
	}
	c.RMSNorm(rowsOf(b.Z, Q), rowsOf(b.rstdZ, Q), h, b.norm.Weight, b.Config.RMSNormEps)
	return rowsOf(b.Z, Q)
}
