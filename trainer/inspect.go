package trainer

import (
	"vkdomino/domino"
	"vkdomino/ops"
	"vkdomino/tensors"
)

// View is what Inspect reads back of a micro-batch.
type View struct {
	Layout                  *domino.Layout
	Features                []float32 // [B*S, nF*H]
	Hidden                  []float32 // Z [Q, H] of the kept blocks
	BaseLogits, FinalLogits []float32 // [Q, V] of the kept blocks, if asked for
	TargetLogits            []float32 // [B*S, V], if asked for
}

// Inspect runs a micro-batch's forward pass and reads its activations. It materialises
// logits of all rows: for selftest and tests, never in training.
func (e *Engine) Inspect(b MicroBatch, lambda float64, logits, targetLogits bool) (*View, error) {
	micros, err := e.plan([]MicroBatch{b}, lambda)
	if err != nil {
		return nil, err
	}
	c, m := e.Context, micros[0]
	m.Targets = domino.AllRows(m.Layout, e.Config.Labels) // the head's rows with and without a label
	m.Layout.KeepContext()
	e.Draft.Upload(c, m)
	hidden := e.recordTarget(m.Layout, b.IDs)
	e.Draft.Forward(c, m)
	v := &View{Layout: m.Layout}
	var base, final, target tensors.Tensor
	if logits {
		base, final = e.Draft.Logits(c, m)
	}
	if targetLogits {
		target = e.targetLogits(hidden)
	}
	if err := c.Submit(); err != nil {
		return nil, err
	}
	for _, read := range []struct {
		to   *[]float32
		from tensors.Tensor
	}{{&v.Features, e.Draft.Backbone.Features.Slice(0, b.B*b.S)}, {&v.Hidden, e.Draft.Backbone.Z.Slice(0, m.Layout.DraftRows())},
		{&v.BaseLogits, base}, {&v.FinalLogits, final}, {&v.TargetLogits, target}} {
		if read.from.Shape == nil {
			continue
		}
		if *read.to, err = c.Float32s(read.from); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (e *Engine) targetLogits(hidden tensors.Tensor) tensors.Tensor {
	c, n := e.Context, hidden.Shape[0]
	normed := c.Alloc("inspected hidden", hidden.DType, hidden.Shape...)
	rstd := c.Alloc("inspected rstd", tensors.F32, n)
	logits := c.Alloc("inspected target logits", tensors.F32, n, e.Config.Target.VocabSize)
	c.RMSNorm(normed, rstd, hidden, e.Target.Norm, e.Config.Target.RMSNormEps)
	c.Gemm(ops.NT, logits, normed, e.Target.LMHead)
	return logits
}
