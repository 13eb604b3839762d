package model

import (
	"fmt"

	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// Source gives the tensors of a checkpoint by name; tensors.Model is one.
type Source interface {
	Info(name string) (tensors.DType, []int, bool)
	Float32(name string) ([]float32, error)
	Raw(name string) ([]byte, tensors.DType, error)
}

// Target is the frozen Qwen3 target on the device: its weights, and the forward pass that
// yields features and, run to its end, final hidden states. Letters are those of spec.md §1.1.
type Target struct {
	Config *Config
	Embed  tensors.Tensor // [V, H]
	LMHead tensors.Tensor // [V, H]; the embedding table where the two are tied
	Norm   tensors.Tensor // [H]; only where the pass runs to the end
	Cos    tensors.Tensor // RoPE tables [positions, hd/2], F32
	Sin    tensors.Tensor

	layers []targetLayer
	heads  ops.Heads
	dtype  tensors.DType
}

type targetLayer struct {
	inNorm, q, k, v, o, qNorm, kNorm, postNorm, gate, up, down tensors.Tensor
}

// NewTarget allocates the target's weights through layer last and, where last is the
// target's own last layer, its final norm; last -1 is the embedding table and the LM head alone. Positions is the length of the RoPE tables.
func NewTarget(c *ops.Context, cfg *Config, last, positions int, dtype tensors.DType) (*Target, error) {
	if last < -1 || last >= cfg.NumLayers {
		return nil, fmt.Errorf("model: target of %d layers has no layer %d", cfg.NumLayers, last)
	}
	H, V := cfg.HiddenSize, cfg.VocabSize
	t := &Target{Config: cfg, dtype: dtype, heads: ops.Heads{Query: cfg.NumHeads, KV: cfg.NumKVHeads, Dim: cfg.HeadDim}}
	t.Embed = c.Alloc(EmbedName, dtype, V, H)
	t.LMHead = t.Embed
	if !cfg.TieWordEmbeddings {
		t.LMHead = c.Alloc(LMHeadName, dtype, V, H)
	}
	if last == cfg.NumLayers-1 {
		t.Norm = c.Alloc(FinalNormName, dtype, H)
	}
	for l := range last + 1 {
		layer := targetLayer{}
		slots := layer.slots()
		for i, s := range cfg.layerShapes() {
			*slots[i] = c.Alloc(LayerTensor(l, s.name), dtype, s.shape...)
		}
		t.layers = append(t.layers, layer)
	}
	t.Cos = c.Alloc("target rope cos", tensors.F32, positions, cfg.HeadDim/2)
	t.Sin = c.Alloc("target rope sin", tensors.F32, positions, cfg.HeadDim/2)
	return t, nil
}

// tablesFor are RoPE tables for a draft whose heads have headDim elements: the target's where its heads have as many,
// else tables of their own for the same positions and θ. Source: spec.md §5.3, §5.5.
func (t *Target) tablesFor(c *ops.Context, headDim int) (cos, sin tensors.Tensor) {
	if headDim == t.Config.HeadDim {
		return t.Cos, t.Sin
	}
	positions := t.Cos.Shape[0]
	cos = c.Alloc("draft rope cos", tensors.F32, positions, headDim/2)
	sin = c.Alloc("draft rope sin", tensors.F32, positions, headDim/2)
	if !c.Dry() {
		cosines, sines := RopeTables(positions, headDim, t.Config.RopeTheta)
		c.UploadF32(cos, cosines)
		c.UploadF32(sin, sines)
	}
	return cos, sin
}

// Through is the same target, run through layer last alone: it shares weights and tables.
func (t *Target) Through(last int) *Target {
	part := *t
	part.layers = t.layers[:last+1]
	return &part
}

// slots lists a layer's tensors in the order of Config.layerShapes.
func (l *targetLayer) slots() []*tensors.Tensor {
	return []*tensors.Tensor{&l.inNorm, &l.q, &l.k, &l.v, &l.o, &l.qNorm, &l.kNorm, &l.postNorm, &l.gate, &l.up, &l.down}
}

// tensors lists everything that is read from the checkpoint.
func (t *Target) tensors() []tensors.Tensor {
	list := []tensors.Tensor{t.Embed}
	if !t.Config.TieWordEmbeddings {
		list = append(list, t.LMHead)
	}
	if t.Norm.Shape != nil {
		list = append(list, t.Norm)
	}
	for i := range t.layers {
		for _, s := range t.layers[i].slots() {
			list = append(list, *s)
		}
	}
	return list
}

// Check compares names and shapes with a checkpoint, before anything is uploaded.
func (t *Target) Check(src Source) error {
	for _, w := range t.tensors() {
		_, shape, ok := src.Info(w.Name)
		if !ok {
			return fail.New(fail.Other, "the checkpoint is incomplete or of another architecture", "model: target: tensor %s is missing", w.Name)
		}
		if !w.Is(shape...) {
			return fail.New(fail.Other, "the weights do not belong to this config.json", "model: target: %s: want %v, got %v", w.Name, w.Shape, shape)
		}
	}
	return nil
}

// Load checks the checkpoint and uploads its weights and the RoPE tables.
func (t *Target) Load(c *ops.Context, src Source) error {
	if err := t.Check(src); err != nil {
		return err
	}
	for _, w := range t.tensors() {
		if err := uploadTensor(c, w, src); err != nil {
			return err
		}
	}
	cos, sin := RopeTables(t.Cos.Shape[0], t.Config.HeadDim, t.Config.RopeTheta)
	c.UploadF32(t.Cos, cos)
	c.UploadF32(t.Sin, sin)
	return c.Err()
}

// uploadTensor copies a tensor from a file, as it is where the dtypes agree.
func uploadTensor(c *ops.Context, w tensors.Tensor, src Source) error {
	if dt, _, _ := src.Info(w.Name); dt == w.DType {
		raw, _, err := src.Raw(w.Name)
		if err != nil {
			return err
		}
		c.Upload(w, raw)
		return c.Err()
	}
	values, err := src.Float32(w.Name)
	if err != nil {
		return err
	}
	c.UploadF32(w, values)
	return c.Err()
}

// TargetRun is the memory of a target pass over at most N rows: inputs, the residual
// stream, and what a layer needs. The inputs are host-visible.
type TargetRun struct {
	IDs, Pos, Segments tensors.Tensor // I32 [N], [N], [segments, 4]; see ops.CausalAttention
	Hidden             tensors.Tensor // [N, H], after Forward the output of the last layer run

	x, q, attn, o, gate, up, rstd, rstdHead tensors.Tensor
	identity                                tensors.Tensor // I32 [N]: 0, 1, 2, …
}

// NewTargetRun allocates a run of at most rows rows.
func (t *Target) NewTargetRun(c *ops.Context, rows int) *TargetRun {
	cfg := t.Config
	return &TargetRun{
		IDs: c.AllocHost("target ids", tensors.I32, rows), Pos: c.AllocHost("target positions", tensors.I32, rows),
		Segments: c.AllocHost("target segments", tensors.I32, rows, 4),
		Hidden:   c.Alloc("target hidden", t.dtype, rows, cfg.HiddenSize),
		x:        c.Alloc("target normed", t.dtype, rows, cfg.HiddenSize),
		q:        c.Alloc("target q", t.dtype, rows, cfg.NumHeads*cfg.HeadDim),
		attn:     c.Alloc("target attention", t.dtype, rows, cfg.NumHeads*cfg.HeadDim),
		gate:     c.Alloc("target gate", t.dtype, rows, cfg.IntermediateSize),
		up:       c.Alloc("target up", t.dtype, rows, cfg.IntermediateSize),
		rstd:     c.Alloc("target rstd", tensors.F32, rows),
		rstdHead: c.Alloc("target head rstd", tensors.F32, rows*cfg.NumHeads),
		identity: c.AllocHost("target row numbers", tensors.I32, rows),
	}
}

// KV gives layer l's key and value rows to write to and the tensors that hold the
// whole cache; in training they are the same.
type KV struct {
	NewK, NewV tensors.Tensor // [n, nKV*hd]: rows of this pass
	K, V       tensors.Tensor // [keys, nKV*hd]: what attention reads
	Longest    int            // keys of the longest sequence, about
	// Append copies the new rows into the cache, where they are not it already.
	Append func(c *ops.Context)
}

// Forward records the pass over the first n rows of run, whose IDs, Pos and Segments the
// caller has uploaded. cache gives each layer's keys and values. The outputs of the layers
// ids, in list order, become the column blocks of features [n, len(ids)*H]; features may be
// empty. Source: spec.md §2.2, §2.3.
func (t *Target) Forward(c *ops.Context, run *TargetRun, n, segments int, cache func(l int) KV, features tensors.Tensor, ids []int) {
	h := run.Hidden.View(n, t.Config.HiddenSize)
	c.Embedding(h, t.Embed, run.IDs.View(n))
	for l := range t.layers {
		t.layer(c, &t.layers[l], run, n, segments, cache(l))
		for i, id := range ids {
			if id == l {
				c.Gather(features, i*t.Config.HiddenSize, h, 0, t.Config.HiddenSize, run.identity.View(n))
			}
		}
	}
}

// Start uploads a run's constant row numbers; call it once after allocation.
func (run *TargetRun) Start(c *ops.Context) {
	numbers := make([]int32, run.identity.Len())
	for i := range numbers {
		numbers[i] = int32(i)
	}
	c.UploadI32(run.identity, numbers)
}

func (t *Target) layer(c *ops.Context, w *targetLayer, run *TargetRun, n, segments int, kv KV) {
	cfg, eps := t.Config, t.Config.RMSNormEps
	H, I, hd := cfg.HiddenSize, cfg.IntermediateSize, cfg.HeadDim
	h, x := run.Hidden.View(n, H), run.x.View(n, H)
	q, attn := run.q.View(n, cfg.NumHeads*hd), run.attn.View(n, cfg.NumHeads*hd)
	pos := run.Pos.View(n)

	c.RMSNorm(x, run.rstd.View(n), h, w.inNorm, eps)
	c.Gemm(ops.NT, q, x, w.q)
	c.Gemm(ops.NT, kv.NewK, x, w.k)
	c.Gemm(ops.NT, kv.NewV, x, w.v)
	c.NormRoPE(q, run.rstdHead.View(n*cfg.NumHeads), q, w.qNorm, t.Cos, t.Sin, pos, eps)
	c.NormRoPE(kv.NewK, run.rstdHead.View(n*cfg.NumKVHeads), kv.NewK, w.kNorm, t.Cos, t.Sin, pos, eps)
	if kv.Append != nil {
		kv.Append(c)
	}
	c.CausalAttention(attn, q, kv.K, kv.V, run.Segments, segments, kv.Longest, t.heads)
	c.GemmAdd(ops.NT, h, h, attn, w.o)

	gate, up := run.gate.View(n, I), run.up.View(n, I)
	c.RMSNorm(x, run.rstd.View(n), h, w.postNorm, eps)
	c.Gemm(ops.NT, gate, x, w.gate)
	c.Gemm(ops.NT, up, x, w.up)
	c.SwiGLU(gate, gate, up)
	c.GemmAdd(ops.NT, h, h, gate, w.down)
}
