package trainer

import (
	"fmt"

	"vkdomino/domino"
	"vkdomino/ops"
)

// MicroBatch is one forward and backward pass of a step.
type MicroBatch struct {
	B, S     int
	IDs      []int32   // [B*S]
	LossMask []float32 // [B*S], see domino.LossMask
	Anchors  domino.Anchors
}

// StepResult is what one optimizer step reports.
type StepResult struct {
	Metrics  domino.Metrics
	GradNorm float64 // global L2 norm before clipping
	// Applied says whether the update was made; it is not where the loss or the norm is not finite.
	Applied bool
	// NonFinite names the first row of a micro-batch with a loss that is not finite, if any.
	NonFinite string
}

// Gradients runs the micro-batches of a step and leaves their summed gradients in the
// draft's parameters, without an update.
func (e *Engine) Gradients(batches []MicroBatch, lambda float64) (*StepResult, error) {
	micros, err := e.plan(batches, lambda)
	if err != nil {
		return nil, err
	}
	e.Draft.Params.ZeroGrads(e.Context)
	sums := make([]domino.Sums, len(micros))
	out := &StepResult{}
	for i, m := range micros {
		e.Draft.Upload(e.Context, m)
		m.Hidden = e.recordTarget(m.Layout, batches[i].IDs)
		results, err := e.Draft.Run(e.Context, m)
		if err != nil {
			return nil, err
		}
		if row := results.FirstNonFinite(); row >= 0 && out.NonFinite == "" {
			out.NonFinite = fmt.Sprintf("micro-batch %d, head row %d (token %d)", i, row, m.Targets.Label[row])
		}
		if sums[i], err = domino.Reduce(m.Targets, results, e.Config.Loss); err != nil {
			return nil, err
		}
	}
	out.Metrics = domino.StepMetrics(sums, lambda, e.Config.Loss)
	return out, nil
}

// Step does one optimizer step: gradients of all micro-batches, clipping, AdamW.
func (e *Engine) Step(batches []MicroBatch, lambda, lr float64) (*StepResult, error) {
	out, err := e.Gradients(batches, lambda)
	if err != nil {
		return nil, err
	}
	c, cfg, params := e.Context, e.Config, e.Draft.Params
	c.GradNorm(e.norm, params.Grads(), cfg.MaxGradNorm)
	if out.NonFinite == "" {
		adam := ops.AdamWParams{LR: lr, Beta1: cfg.Beta1, Beta2: cfg.Beta2, Eps: cfg.Epsilon, WeightDecay: cfg.WeightDecay, Step: e.Updates + 1}
		for _, p := range params.List {
			compute := p.Weight
			if compute.Region == p.Master.Region {
				compute.Shape = nil // f32: the master is what the forward pass reads
			}
			c.AdamW(p.Master, compute, p.M, p.V, p.Grad, e.norm, adam)
		}
	}
	if err := c.Submit(); err != nil {
		return nil, err
	}
	norm, err := c.Float32s(e.norm)
	if err != nil {
		return nil, err
	}
	out.GradNorm = float64(norm[0])
	out.Applied = norm[2] != 0 && out.NonFinite == ""
	if out.Applied {
		e.Updates++
	}
	return out, nil
}

// plan makes the layouts, labels and loss factors of a step's micro-batches: all of them
// first, because global normalisation needs every sum of weights.
func (e *Engine) plan(batches []MicroBatch, lambda float64) ([]*domino.Micro, error) {
	cfg := e.Config
	micros := make([]*domino.Micro, len(batches))
	weights := make([]float64, len(batches))
	for i, b := range batches {
		layout, err := domino.NewLayout(b.Anchors, b.IDs, b.B, b.S, cfg.Draft.BlockSize, int32(cfg.Draft.MaskTokenID))
		if err != nil {
			return nil, err
		}
		targets, err := domino.NewTargets(layout, b.IDs, b.LossMask, cfg.Labels)
		if err != nil {
			return nil, err
		}
		switch {
		case cfg.EveryRow:
			layout.KeepContext()
		case cfg.Distill > 0:
			layout.ExtendContext(targets.Teacher)
		}
		weights[i] = targets.SumWeights()
		micros[i] = &domino.Micro{Layout: layout, Targets: targets, Lambda: lambda, Share: 1 / float64(len(batches)), Options: cfg.Loss}
	}
	for i, f := range domino.Normalize(weights, cfg.Loss) {
		micros[i].Factor = f
	}
	return micros, nil
}
