package trainer

import (
	"errors"
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
	return e.micros(batches, lambda, func(*StepResult, *domino.Micro) {})
}

// micros runs the micro-batches of a step. Each is one submission, and finish adds to the last:
// it is given what the earlier ones reported.
func (e *Engine) micros(batches []MicroBatch, lambda float64, finish func(*StepResult, *domino.Micro)) (*StepResult, error) {
	micros, err := e.plan(batches, lambda)
	if err != nil {
		return nil, err
	}
	if len(micros) == 0 {
		return nil, fmt.Errorf("trainer: step: want at least one micro-batch")
	}
	c := e.Context
	c.Phase(ops.PhaseOptimizer)
	e.Draft.Params.StartGrads(c)
	sums := make([]domino.Sums, len(micros))
	out := &StepResult{}
	for i, m := range micros {
		e.Draft.Upload(c, m)
		if !e.Config.GivenFeatures {
			c.Phase(ops.PhaseTarget)
			m.Hidden = e.recordTarget(m.Layout, batches[i].IDs)
		}
		if err := e.Draft.Record(c, m); err != nil {
			return nil, err
		}
		if i == len(micros)-1 {
			e.Draft.Params.FinishGrads(c)
			finish(out, m)
		}
		if err := c.Submit(); err != nil {
			return nil, err
		}
		results, err := e.Draft.Results(c, m)
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

// Step does one optimizer step: gradients of all micro-batches, clipping, AdamW. Whether the
// last micro-batch's losses and the norm are finite is decided on the device, which makes no
// update where they are not: nothing waits between the gradients and the update.
func (e *Engine) Step(batches []MicroBatch, lambda, lr float64) (*StepResult, error) {
	if e.Config.NoOptimizer {
		return nil, errors.New("trainer: step: this engine has gradients alone")
	}
	c, cfg, params := e.Context, e.Config, e.Draft.Params
	out, err := e.micros(batches, lambda, func(before *StepResult, last *domino.Micro) {
		c.Phase(ops.PhaseOptimizer)
		c.GradNorm(e.norm, params.Grads(), e.Draft.Losses(last), cfg.MaxGradNorm)
		if before.NonFinite == "" {
			params.Update(c, e.norm, ops.AdamWParams{LR: lr, Beta1: cfg.Beta1, Beta2: cfg.Beta2, Eps: cfg.Epsilon, WeightDecay: cfg.WeightDecay, Step: e.Updates + 1})
		}
	})
	if err != nil {
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
