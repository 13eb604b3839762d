package model

import (
	"fmt"

	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// Run is the new tokens of one slot in a pass over a cache.
type Run struct {
	Slot  int // of the cache
	Start int // position of the first new token: the tokens before it are in the cache
	Count int
}

// TargetCache holds a target's keys and values of several sequences, one in each slot, and
// runs passes over new tokens of any of them. It has no lengths of its own: a pass reads of a
// slot what lies before its new tokens, so that a slot is cropped by starting the next pass
// earlier. Letters are those of spec.md §1.1. Source: spec.md §14.1.
type TargetCache struct {
	Slots, Stride int            // Stride is the room of a slot, in tokens
	Rows          int            // the most new tokens of a pass
	IDs           tensors.Tensor // I32 [Rows]: the new tokens; host-visible
	Pos           tensors.Tensor // I32 [Rows]: their positions
	Index         tensors.Tensor // I32 [Rows]: their rows in the cache
	Features      tensors.Tensor // [Rows, nF*H]: features of the new tokens; empty without layer ids

	target         *Target
	layerIDs       []int
	run            *TargetRun
	k, v           []tensors.Tensor // by layer: [Slots*Stride, nKV*hd]
	newK, newV     tensors.Tensor   // [Rows, nKV*hd]
	picked, normed tensors.Tensor   // [Rows, H]: rows that get logits
	n, segments    int              // of the current pass
	row            int              // cache row of the first new token where the pass is of one slot, else -1
}

// NewCache allocates a cache of slots sequences of at most stride tokens, for passes of at
// most rows new tokens. layerIDs are the layers whose features a pass leaves.
func (t *Target) NewCache(c *ops.Context, slots, stride, rows int, layerIDs []int) (*TargetCache, error) {
	cfg := t.Config
	if len(t.layers) != cfg.NumLayers {
		return nil, fmt.Errorf("model: cache: want a target with all %d layers, got %d", cfg.NumLayers, len(t.layers))
	}
	kv := cfg.NumKVHeads * cfg.HeadDim
	if bytes := int64(slots) * int64(stride) * int64(kv*t.dtype.Size()); !c.Dry() && bytes >= c.Device.MaxBindingBytes {
		return nil, fail.New(fail.Memory, "decode fewer prompts at a time, or shorter ones",
			"model: cache: %d prompts of %d tokens need %d bytes a layer, this device binds at most %d", slots, stride, bytes, c.Device.MaxBindingBytes)
	}
	tc := &TargetCache{Slots: slots, Stride: stride, Rows: rows, target: t, layerIDs: layerIDs, run: t.NewTargetRun(c, rows)}
	for range t.layers {
		tc.k = append(tc.k, c.Alloc("target keys", t.dtype, slots*stride, kv))
		tc.v = append(tc.v, c.Alloc("target values", t.dtype, slots*stride, kv))
	}
	tc.newK = c.Alloc("target new keys", t.dtype, rows, kv)
	tc.newV = c.Alloc("target new values", t.dtype, rows, kv)
	tc.picked = c.Alloc("target picked rows", t.dtype, rows, cfg.HiddenSize)
	tc.normed = c.Alloc("target final norm", t.dtype, rows, cfg.HiddenSize)
	tc.IDs, tc.Pos = tc.run.IDs, tc.run.Pos
	tc.Index = c.AllocHost("cache rows", tensors.I32, rows)
	if len(layerIDs) > 0 {
		tc.Features = c.Alloc("new features", t.dtype, rows, len(layerIDs)*cfg.HiddenSize)
	}
	tc.run.Start(c)
	return tc, c.Err()
}

// Place says which tokens the next pass has: it uploads where they stand, run after run. The
// tokens themselves the caller writes to IDs, or a kernel does. The device must be idle.
func (tc *TargetCache) Place(c *ops.Context, runs []Run) error {
	var pos, index, segments []int32
	tc.row = -1
	for _, r := range runs {
		if r.Slot < 0 || r.Slot >= tc.Slots || r.Start < 0 || r.Count < 1 || r.Start+r.Count > tc.Stride {
			return fmt.Errorf("model: cache: %d tokens at position %d of slot %d: want slots below %d and positions below %d", r.Count, r.Start, r.Slot, tc.Slots, tc.Stride)
		}
		if len(runs) == 1 {
			tc.row = r.Slot*tc.Stride + r.Start
		}
		for _, s := range quads(ops.CausalSegments([]int{r.Count}, []int{r.Start}, []int{r.Slot * tc.Stride})) {
			segments = append(segments, int32(len(pos))+s[0], s[1], s[2], s[3])
		}
		for i := range r.Count {
			pos = append(pos, int32(r.Start+i))
			index = append(index, int32(r.Slot*tc.Stride+r.Start+i))
		}
	}
	tc.n, tc.segments = len(pos), len(segments)/4
	if tc.n > tc.Rows {
		return fmt.Errorf("model: cache: want at most %d tokens in a pass, got %d", tc.Rows, tc.n)
	}
	c.UploadI32(tc.Pos.View(tc.n), pos)
	c.UploadI32(tc.Index.View(tc.n), index)
	c.UploadI32(tc.run.Segments.Slice(0, tc.segments), segments)
	return c.Err()
}

// quads cuts a list into fours.
func quads(list []int32) [][4]int32 {
	out := make([][4]int32, len(list)/4)
	for i := range out {
		out[i] = [4]int32(list[4*i:])
	}
	return out
}

// Forward records the target's pass over the placed tokens: their keys and values go to the
// cache and, if asked for, their features to Features.
func (tc *TargetCache) Forward(c *ops.Context, features bool) {
	ids, to := []int(nil), tensors.Tensor{}
	if features {
		ids, to = tc.layerIDs, tc.Features.Slice(0, tc.n)
	}
	tc.target.Forward(c, tc.run, tc.n, tc.segments, tc.layer, to, ids)
}

// layer is what layer l reads and writes. The rows of one slot go straight to their place.
func (tc *TargetCache) layer(l int) KV {
	kv := KV{K: tc.k[l], V: tc.v[l], Longest: tc.Stride}
	if tc.row >= 0 {
		kv.NewK, kv.NewV = tc.k[l].Slice(tc.row, tc.row+tc.n), tc.v[l].Slice(tc.row, tc.row+tc.n)
		return kv
	}
	kv.NewK, kv.NewV = tc.newK.Slice(0, tc.n), tc.newV.Slice(0, tc.n)
	kv.Append = func(c *ops.Context) {
		index := tc.Index.View(tc.n)
		c.Scatter(kv.K, kv.NewK, index)
		c.Scatter(kv.V, kv.NewV, index)
	}
	return kv
}

// Logits records the target's logits [n, V] F32 of chosen rows of the last pass: those that
// rows [n] I32 lists, or the first n where rows is empty.
func (tc *TargetCache) Logits(c *ops.Context, logits, rows tensors.Tensor) {
	t, n := tc.target, logits.Shape[0]
	hidden := tc.run.Hidden.Slice(0, n)
	if rows.Shape != nil {
		hidden = tc.picked.Slice(0, n)
		c.Gather(hidden, 0, tc.run.Hidden, 0, hidden.Cols(), rows)
	}
	normed := tc.normed.Slice(0, n)
	c.RMSNorm(normed, tc.run.rstd.View(n), hidden, t.Norm, t.Config.RMSNormEps)
	c.Gemm(ops.NT, logits, normed, t.LMHead)
}
