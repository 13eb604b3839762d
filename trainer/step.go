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

// StepInput is what an optimizer step is made from.
type StepInput struct {
	Batches    []MicroBatch
	Lambda, LR float64
	// NoUpdate leaves the summed gradients in the draft's parameters, without clipping and update.
	NoUpdate bool
}

// Prepared is a step of which all that needs no device is done: its micro-batches are planned, and the commands of
// the first are recorded, unless the objective decides between them.
type Prepared struct {
	StepInput
	micros []*domino.Micro
	first  *ops.List // nil where Run records it
}

// Drop gives up a step that was not run.
func (p *Prepared) Drop() {
	if p != nil {
		p.first.Drop()
	}
}

// Step does one optimizer step: gradients of all micro-batches, clipping, AdamW. Whether the
// last micro-batch's losses and the norm are finite is decided on the device, which makes no
// update where they are not: nothing waits between the gradients and the update.
func (e *Engine) Step(batches []MicroBatch, lambda, lr float64) (*StepResult, error) {
	return e.prepareAndRun(StepInput{Batches: batches, Lambda: lambda, LR: lr})
}

// Gradients runs the micro-batches of a step and leaves their summed gradients in the
// draft's parameters, without an update.
func (e *Engine) Gradients(batches []MicroBatch, lambda float64) (*StepResult, error) {
	return e.prepareAndRun(StepInput{Batches: batches, Lambda: lambda, NoUpdate: true})
}

func (e *Engine) prepareAndRun(in StepInput) (*StepResult, error) {
	p, err := e.Prepare(in)
	if err != nil {
		return nil, err
	}
	return e.Run(p, func() {})
}

// Prepare plans a step and records its first micro-batch. Another step may run meanwhile, once its last micro-batch is
// recorded, as in Run's meanwhile: a parameter knows of one step alone whether its gradient has begun.
func (e *Engine) Prepare(in StepInput) (*Prepared, error) {
	if e.Config.NoOptimizer && !in.NoUpdate {
		return nil, errors.New("trainer: step: this engine has gradients alone")
	}
	micros, err := e.plan(in.Batches, in.Lambda)
	if err != nil {
		return nil, err
	}
	if len(micros) == 0 {
		return nil, fmt.Errorf("trainer: step: want at least one micro-batch")
	}
	p := &Prepared{StepInput: in, micros: micros}
	if e.Config.Labels.Objective != domino.ObjectiveDPACE {
		if p.first, err = e.ahead(p, 0); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// ahead records a micro-batch into a list of its own.
func (e *Engine) ahead(p *Prepared, i int) (*ops.List, error) {
	return e.Context.Ahead(func() error { return e.record(p, i) })
}

// record uploads what a micro-batch reads, and records the target's pass and the draft's with its gradients.
func (e *Engine) record(p *Prepared, i int) error {
	c, m := e.Context, p.micros[i]
	if i == 0 {
		c.Phase(ops.PhaseOptimizer)
		e.Draft.Params.StartGrads(c)
	}
	e.Draft.Upload(c, m)
	if !e.Config.GivenFeatures {
		c.Phase(ops.PhaseTarget)
		m.Hidden = e.recordTarget(m.Layout, p.Batches[i].IDs)
	}
	if err := e.Draft.Record(c, m); err != nil {
		return err
	}
	if i == len(p.micros)-1 {
		e.Draft.Params.FinishGrads(c)
	}
	return nil
}

// Run runs a step. Each micro-batch is one submission; while it runs the next is recorded, and
// while the last runs, which holds the update too, meanwhile is called; under D-PACE each has ended by then.
func (e *Engine) Run(p *Prepared, meanwhile func()) (*StepResult, error) {
	sums := make([]domino.Sums, len(p.micros))
	out := &StepResult{}
	next := p.first
	for i := range p.micros {
		list, last := next, i == len(p.micros)-1
		more := func() {}
		if last && !p.NoUpdate {
			more = func() { e.recordUpdate(p, out) }
		}
		if err := e.start(p, i, list, more); err != nil {
			return nil, err
		}
		next = nil
		var ahead error
		switch {
		case last:
			meanwhile()
		case list != nil:
			next, ahead = e.ahead(p, i+1)
		}
		if err := e.finish(p, i, &sums[i], out); err != nil {
			next.Drop()
			return nil, err
		}
		if ahead != nil {
			return nil, ahead
		}
	}
	out.Metrics = domino.StepMetrics(sums, p.Lambda, e.Config.Loss)
	if p.NoUpdate {
		return out, nil
	}
	return out, e.readNorm(out)
}

// start starts a micro-batch, with what more records behind it; a nil list is recorded first, which may submit parts of it.
func (e *Engine) start(p *Prepared, i int, list *ops.List, more func()) error {
	c := e.Context
	if list != nil {
		return c.Start(list, more)
	}
	if err := e.record(p, i); err != nil {
		return err
	}
	more()
	return c.Submit()
}

// finish waits for a micro-batch and reads its losses.
func (e *Engine) finish(p *Prepared, i int, sums *domino.Sums, out *StepResult) error {
	if err := e.Context.Wait(); err != nil {
		return err
	}
	m := p.micros[i]
	results, err := e.Draft.Results(e.Context, m)
	if err != nil {
		return err
	}
	if row := results.FirstNonFinite(); row >= 0 && out.NonFinite == "" {
		out.NonFinite = fmt.Sprintf("micro-batch %d, head row %d (token %d)", i, row, m.Targets.Label[row])
	}
	*sums, err = domino.Reduce(m.Targets, results, e.Config.Loss)
	return err
}

// recordUpdate records what follows the last micro-batch's gradients; before is what the earlier ones reported.
func (e *Engine) recordUpdate(p *Prepared, before *StepResult) {
	c, cfg, params := e.Context, e.Config, e.Draft.Params
	c.Phase(ops.PhaseOptimizer)
	c.GradNorm(e.norm, params.Grads(), e.Draft.Losses(p.micros[len(p.micros)-1]), cfg.MaxGradNorm)
	c.Copy(e.seen, e.norm)
	if before.NonFinite == "" {
		params.Update(c, e.norm, ops.AdamWParams{LR: p.LR, Beta1: cfg.Beta1, Beta2: cfg.Beta2, Eps: cfg.Epsilon, WeightDecay: cfg.WeightDecay, Step: e.Updates + 1})
	}
}

// readNorm reads what the step's update made of the gradients.
func (e *Engine) readNorm(out *StepResult) error {
	norm, err := e.Context.Float32s(e.seen)
	if err != nil {
		return err
	}
	out.GradNorm = float64(norm[0])
	out.Applied = norm[2] != 0 && out.NonFinite == ""
	if out.Applied {
		e.Updates++
	}
	return nil
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
