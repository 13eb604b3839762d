package bench

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"vkdomino/domino"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer"
	"vkdomino/vk"
)

// StepOptions say how a step is measured.
type StepOptions struct {
	Precision tensors.DType
	Runs      int  // timed steps, after two that are not
	Target    bool // with the target's forward pass
	Table     bool // measure the kernels one by one as well

	Ran   func(n int, took time.Duration) // called after each run, those that are not timed first, from 1; may be nil
	Timed func(*StepReport) error         // called once all but the table is there; may be nil
}

// warmups is the number of steps before the timed ones: the first compiles the kernels.
const warmups = 2

// lambda gives both losses a gradient; learningRate is so small that the weights stay random.
const (
	lambda       = 0.5
	learningRate = 1e-6
)

// StepReport is what a step costs.
type StepReport struct {
	Preset    string `json:"preset"`
	Precision string `json:"precision"`
	Batch     int    `json:"batch"`
	SeqLen    int    `json:"length"`
	Anchors   int    `json:"anchors"`
	Block     int    `json:"block"`
	Vocab     int    `json:"vocabulary"`
	Optimizer bool   `json:"optimizer"` // whether masters and moments exist and the step ends with an update
	Target    bool   `json:"target"`    // whether the target's forward pass is part of it
	DraftRows int    `json:"draft_rows"`
	HeadRows  int    `json:"head_rows"` // draft rows with a label

	Device Device `json:"device"`
	Peaks  Peaks  `json:"peaks"`

	// Phases are times on the device by phase: target, forward, backward, optimizer.
	Phases map[string]Spread `json:"phases"`
	// OnDevice is the sum of the phases, Total the wall time of the whole step with what the host does.
	OnDevice Spread `json:"on_device"`
	Total    Spread `json:"total"`
	// Processor is the process's processor time of a step, on a CPU device.
	Processor *Spread `json:"processor,omitempty"`

	// MinimumFLOP is the work of the plain computation, see MinimumWork; ExecutedFLOP what the matrix kernels were asked for.
	MinimumFLOP  float64 `json:"minimum_flop"`
	ExecutedFLOP float64 `json:"executed_flop"`
	Parts        []Part  `json:"parts"`
	// TargetFLOP is the work of the target's forward pass, where that is part of the step, and TargetTera its rate in TFLOP/s.
	TargetFLOP float64 `json:"target_flop,omitempty"`
	TargetTera float64 `json:"target_tflops,omitempty"`
	// Tera is the rate in TFLOP/s: MinimumFLOP over the time of forward and backward.
	Tera float64 `json:"tflops"`
	// Share is that rate over the device's own peak.
	Share float64 `json:"share_of_peak"`
	// PerSample is the time of forward and backward of one sample, in milliseconds.
	PerSample     float64 `json:"forward_backward_ms_per_sample"`
	SamplesPerSec float64 `json:"samples_per_second"`

	Memory Memory   `json:"memory"`
	Table  []Kernel `json:"kernels,omitempty"`

	Loss     float64 `json:"loss"`
	GradNorm float64 `json:"gradient_norm"`
}

// Kernel is a kernel's share of one step, each run timed by itself.
type Kernel struct {
	Name  string  `json:"kernel"`
	Runs  int     `json:"runs"`
	Time  float64 `json:"ms"`                      // on the device where it has a clock, else wall time
	CPU   float64 `json:"processor_ms,omitempty"`  // of this process, on a CPU device: rates and share then count by it
	Tera  float64 `json:"tflops,omitempty"`        // of matrix kernels
	Giga  float64 `json:"gb_per_second,omitempty"` // of the others, by the bytes that are bound
	Share float64 `json:"share"`                   // of the table's time
}

// stepRun is a step ready to run.
type stepRun struct {
	preset Preset
	opt    StepOptions
	engine *trainer.Engine
	batch  trainer.MicroBatch
	layout *domino.Layout
	report *StepReport
	next   *trainer.Prepared
	runs   int // that have ended
}

// Step measures the training step of a preset. Nothing else must use the device meanwhile;
// tensors of the context are released.
// A loss or gradient that is not finite is an error.
func Step(c *ops.Context, p Preset, opt StepOptions) (*StepReport, error) {
	peaks, err := MeasurePeaks(c)
	if err != nil {
		return nil, err
	}
	c.Release()
	s, err := newStepRun(c, p, opt)
	if err != nil {
		return nil, err
	}
	s.report.Peaks = peaks
	defer func() { s.next.Drop() }()
	for range warmups {
		start := time.Now()
		if err := s.once(); err != nil {
			return nil, err
		}
		s.ran(time.Since(start))
	}
	c.PhaseTimes()
	if err := s.timed(); err != nil {
		return nil, err
	}
	s.report.Memory.Allocated = c.Device.Allocated()
	if err := s.finite(); err != nil {
		return nil, err
	}
	if opt.Timed != nil {
		if err := opt.Timed(s.report); err != nil {
			return nil, err
		}
	}
	if opt.Table {
		err = s.table()
	}
	return s.report, err
}

// ran tells of a run that has ended.
func (s *stepRun) ran(took time.Duration) {
	if s.runs++; s.opt.Ran != nil {
		s.opt.Ran(s.runs, took)
	}
}

func newStepRun(c *ops.Context, p Preset, opt StepOptions) (*stepRun, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	s := &stepRun{preset: p, opt: opt}
	var err error
	if s.engine, err = newEngine(c, p, opt); err != nil {
		return nil, err
	}
	if s.batch, s.layout, err = p.microBatch(); err != nil {
		return nil, err
	}
	d := p.Draft
	s.report = &StepReport{Preset: p.Name, Precision: strings.ToLower(opt.Precision.String()), Batch: p.Batch, SeqLen: p.SeqLen, Anchors: s.batch.Anchors.N,
		Block: d.BlockSize, Vocab: d.VocabSize, Optimizer: p.Optimizer, Target: opt.Target, DraftRows: s.layout.DraftRows(),
		Device: DeviceOf(c.Device), Phases: map[string]Spread{}}
	if s.report.Memory, err = PlanStep(p, opt.Precision, opt.Target, c.Device.MaxBindingBytes); err != nil {
		return nil, err
	}
	return s, s.count()
}

// newEngine builds the step's engine and fills it with random numbers.
func newEngine(c *ops.Context, p Preset, opt StepOptions) (*trainer.Engine, error) {
	cfg := p.EngineConfig(opt.Precision, opt.Target, c.Device.MaxBindingBytes)
	e, err := trainer.NewEngine(c, cfg)
	if err != nil {
		return nil, err
	}
	shapes, err := p.Target.TensorShapes(p.lastCaptured())
	if err != nil {
		return nil, err
	}
	if err := e.Load(randomSource{shapes, opt.Precision}); err != nil {
		return nil, err
	}
	for _, spec := range domino.Params(p.Draft) {
		if err := e.SetDraft(spec.Name, draftValues(spec)); err != nil {
			return nil, err
		}
	}
	if !opt.Target {
		f := e.Draft.Backbone.Features
		c.UploadF32(f, random(f.Len(), "features", featureScale))
	}
	return e, c.Err()
}

// microBatch draws tokens and anchors; every token is supervised.
func (p Preset) microBatch() (trainer.MicroBatch, *domino.Layout, error) {
	n := p.Batch * p.SeqLen
	b := trainer.MicroBatch{B: p.Batch, S: p.SeqLen, IDs: randomIDs(n, p.Draft.VocabSize), LossMask: slices.Repeat([]float32{1}, n)}
	var err error
	b.Anchors, err = domino.SampleAnchors(domino.AnchorSpecForge, b.LossMask, b.B, b.S, p.Draft.BlockSize, p.Anchors, seed, 0, 0)
	if err != nil {
		return b, nil, err
	}
	l, err := domino.NewLayout(b.Anchors, b.IDs, b.B, b.S, p.Draft.BlockSize, int32(p.Draft.MaskTokenID))
	return b, l, err
}

// once runs one step, without the update where there is no optimizer. While it runs the next one is prepared, as in a run.
func (s *stepRun) once() error {
	var err error
	p := s.next
	if s.next = nil; p == nil {
		if p, err = s.prepare(); err != nil {
			return err
		}
	}
	var ahead error
	out, err := s.engine.Run(p, func() { s.next, ahead = s.prepare() })
	if err = cmp.Or(err, ahead); err != nil {
		return err
	}
	if out.NonFinite != "" || (s.preset.Optimizer && !out.Applied) {
		return fmt.Errorf("bench: step: not finite: %s, gradient norm %v", out.NonFinite, out.GradNorm)
	}
	s.report.Loss = out.Metrics.Loss
	if s.preset.Optimizer {
		s.report.GradNorm = out.GradNorm
	}
	return nil
}

func (s *stepRun) prepare() (*trainer.Prepared, error) {
	return s.engine.Prepare(trainer.StepInput{Batches: []trainer.MicroBatch{s.batch}, Lambda: lambda, LR: learningRate, NoUpdate: !s.preset.Optimizer})
}

// timed runs the timed steps and fills in the report's times and rates.
func (s *stepRun) timed() error {
	c := s.engine.Context
	var total, cpu, device []time.Duration
	phases := map[string][]time.Duration{}
	for range s.opt.Runs {
		start, before := time.Now(), vk.ProcessorTime()
		if err := s.once(); err != nil {
			return err
		}
		total, cpu = append(total, time.Since(start)), append(cpu, vk.ProcessorTime()-before)
		sum := time.Duration(0)
		for name, d := range c.PhaseTimes() {
			phases[name] = append(phases[name], d)
			sum += d
		}
		device = append(device, sum)
		s.ran(total[len(total)-1])
	}
	r := s.report
	for name, runs := range phases {
		r.Phases[name] = NewSpread(runs)
	}
	r.Total, r.OnDevice = NewSpread(total), NewSpread(device)
	if c.Device.CPU {
		spread := NewSpread(cpu)
		r.Processor = &spread
	}
	r.rates()
	return nil
}

// finite looks at the last step's gradients where no update did.
func (s *stepRun) finite() error {
	if s.preset.Optimizer {
		return nil
	}
	c := s.engine.Context
	norm := c.Alloc("gradient norm", tensors.F32, 4)
	c.GradNorm(norm, s.engine.Draft.Params.Grads(), tensors.Tensor{}, 1)
	if err := c.Submit(); err != nil {
		return err
	}
	v, err := c.Float32s(norm)
	if err != nil {
		return err
	}
	if s.report.GradNorm = float64(v[0]); math.IsInf(s.report.GradNorm, 0) || math.IsNaN(s.report.GradNorm) {
		return fmt.Errorf("bench: step: gradient norm: want a finite number, got %v", s.report.GradNorm)
	}
	return nil
}

// rates fills in what follows from the times.
func (r *StepReport) rates() {
	draft := r.Phases[ops.PhaseForward].Median + r.Phases[ops.PhaseBackward].Median
	if draft == 0 { // no clock: the update's share is not known
		draft = r.Total.Median
	}
	r.PerSample = draft / float64(r.Batch)
	r.Tera = r.MinimumFLOP / (draft * 1e9)
	r.Share = r.Tera / r.Peaks.Compute()
	if t := r.Phases[ops.PhaseTarget].Median; t > 0 {
		r.TargetTera = r.TargetFLOP / (t * 1e9)
	}
	r.SamplesPerSec = 1000 * float64(r.Batch) / r.Total.Median
}

// table measures one step kernel by kernel.
func (s *stepRun) table() error {
	d := s.engine.Context.Device
	s.next.Drop() // its commands are not to be timed as one
	s.next = nil
	d.Profile()
	err := s.once()
	s.report.Table = kernels(d.EndProfile(), d)
	return err
}

// kernels makes a table of a profile, the costliest first.
func kernels(samples []vk.Sample, d *vk.Device) []Kernel {
	var list []Kernel
	sum := 0.0
	for _, p := range samples {
		took := p.Total
		if usesClock(d) {
			took = p.Device
		}
		k := Kernel{Name: p.Name, Runs: p.Count, Time: ms(took)}
		seconds := took.Seconds()
		if d.CPU {
			k.CPU, seconds = ms(p.CPU), p.CPU.Seconds()
		}
		switch {
		case seconds == 0:
		case ops.MatrixKernel(p.Name):
			k.Tera = p.Work / seconds / 1e12
		case !looksUp(p.Name):
			k.Giga = float64(p.Bytes) / seconds / 1e9
		}
		k.Share = seconds
		sum += seconds
		list = append(list, k)
	}
	slices.SortStableFunc(list, func(a, b Kernel) int { return cmp.Compare(b.Share, a.Share) })
	for i := range list {
		list[i].Share /= sum
	}
	return list
}

// looksUp says that a kernel reads rows of a table, of which the bound bytes say nothing.
func looksUp(kernel string) bool {
	return strings.HasPrefix(kernel, "embedding") || strings.HasPrefix(kernel, "gather")
}

// count fills in the report's floating-point operations.
func (s *stepRun) count() error {
	parts, executed, heads, err := CountStep(s.preset, s.opt.Precision, s.engine.Context.Device.Info)
	if err != nil {
		return err
	}
	r := s.report
	r.Parts, r.ExecutedFLOP, r.HeadRows = parts, executed, heads
	r.MinimumFLOP = totalOf(parts)
	if s.opt.Target {
		r.TargetFLOP = TargetWork(s.preset)
	}
	return nil
}

// CountStep counts a step without a device: the parts of MinimumWork, the floating-point operations
// that the step's matrix kernels are asked for on a device with these properties, and the head rows.
func CountStep(p Preset, dtype tensors.DType, info vk.Info) (parts []Part, executed float64, headRows int, err error) {
	b, l, err := p.microBatch()
	if err != nil {
		return nil, 0, 0, err
	}
	c, tally := ops.NewCounting(info)
	cfg := p.EngineConfig(dtype, false, info.MaxBindingBytes)
	e, err := trainer.NewEngine(c, cfg)
	if err != nil {
		return nil, 0, 0, err
	}
	targets, err := domino.NewTargets(l, b.IDs, b.LossMask, cfg.Labels)
	if err != nil {
		return nil, 0, 0, err
	}
	corrected := 0
	for _, suffix := range targets.Suffix {
		if suffix {
			corrected++
		}
	}
	m := &domino.Micro{Layout: l, Targets: targets, Lambda: lambda, Factor: 1, Options: cfg.Loss}
	e.Draft.Upload(c, m) // groups equal rows; nothing is written
	if err := e.Draft.Record(c, m); err != nil {
		return nil, 0, 0, err
	}
	return MinimumWork(p, l, targets.Len(), corrected), tally.Matrix(""), targets.Len(), c.Err()
}

// PhaseNames lists the phases of a report in the order of the step.
func (r *StepReport) PhaseNames() []string {
	order := []string{ops.PhaseTarget, ops.PhaseForward, ops.PhaseBackward, ops.PhaseOptimizer}
	return slices.DeleteFunc(order, func(name string) bool { return !slices.Contains(slices.Collect(maps.Keys(r.Phases)), name) })
}
