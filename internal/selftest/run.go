package selftest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/tensors"
	"vkdomino/trainer"
)

// runner is one case on its way.
type runner struct {
	*Case
	engine  *trainer.Engine
	batches []trainer.MicroBatch
	limits  limits
	report  *Report
}

// Run runs a training-step case in a precision (tensors.F32 or BF16) on the context's device.
func (k *Case) Run(c *ops.Context, precision tensors.DType) (*Report, error) {
	r := &runner{Case: k, limits: limitsOf(precision), report: &Report{Case: fmt.Sprintf("%s (%s)", k.Name, strings.ToLower(precision.String()))}}
	var err error
	if r.batches, err = k.readBatches(); err != nil {
		return nil, err
	}
	most := 0
	for _, b := range r.batches {
		most = max(most, b.Anchors.N)
	}
	if r.engine, err = trainer.NewEngine(c, k.engineConfig(most, precision, c.Device.MaxBindingBytes)); err != nil {
		return nil, err
	}
	if err := r.load(); err != nil {
		return nil, err
	}
	for _, part := range []func() error{r.activations, r.probe, r.steps, r.weights} {
		if err := part(); err != nil {
			return nil, fmt.Errorf("selftest: %s: %w", k.Name, err)
		}
	}
	return r.report, nil
}

// load uploads the target and the draft; the draft's file must hold exactly its tensors.
func (r *runner) load() error {
	if err := r.engine.Load(r.Case.weights); err != nil {
		return err
	}
	names := r.draft.Names()
	if len(names) != len(r.engine.Draft.Params.List) {
		return fail.New(fail.Other, "", "draft.safetensors: want %d tensors, got %d", len(r.engine.Draft.Params.List), len(names))
	}
	for _, name := range names {
		values, err := r.draft.Float32(name)
		if err != nil {
			return err
		}
		if err := r.engine.SetDraft(name, values); err != nil {
			return err
		}
	}
	return nil
}

// keptRows compares rows of kept blocks: the device's compact rows with the reference's rows of all slots.
func (r *runner) keptRows(name string, got []float32, cols int, layout *domino.Layout) error {
	if !r.has(name) {
		return nil
	}
	want, err := r.expected.Float32(name)
	if err != nil {
		return err
	}
	bs, N := r.BlockSize, r.batches[0].Anchors.N
	kept := make([]float32, 0, len(got))
	for _, b := range layout.Blocks {
		at := (int(b.Row)*N + int(b.Slot)) * bs * cols
		kept = append(kept, want[at:at+bs*cols]...)
	}
	r.report.note(name, relative(got, kept), r.limits.features, !r.limits.cosine || name == "hidden", "step 0")
	return nil
}

// activations compares step 0's features, hidden states and, where the case has them, logits.
func (r *runner) activations() error {
	lambda, err := r.lambda(0)
	if err != nil {
		return err
	}
	view, err := r.engine.Inspect(r.batches[0], lambda, r.has("base_logits"), r.has("target_logits"))
	if err != nil {
		return err
	}
	want, err := r.expected.Float32("target_hidden")
	if err != nil {
		return err
	}
	r.report.note("target_hidden", relative(view.Features, want), r.limits.features, true, "step 0")
	if view.TargetLogits != nil {
		if want, err = r.expected.Float32("target_logits"); err != nil {
			return err
		}
		r.report.note("target_logits", relative(view.TargetLogits, want), r.limits.features, !r.limits.cosine, "step 0")
	}
	if err := r.keptRows("hidden", view.Hidden, r.target.HiddenSize, view.Layout); err != nil {
		return err
	}
	if err := r.keptRows("base_logits", view.BaseLogits, r.target.VocabSize, view.Layout); err != nil {
		return err
	}
	return r.keptRows("final_logits", view.FinalLogits, r.target.VocabSize, view.Layout)
}

func (r *runner) lambda(g int) (float64, error) {
	s, err := domino.NewLambdaSchedule(r.LambdaStart, r.LambdaRatio, r.TotalSteps, false)
	return s.At(g), err
}

// probe runs step 0 once more at another λ, without an update.
func (r *runner) probe() error {
	if r.Probe == nil {
		return nil
	}
	out, err := r.engine.Gradients(r.batches[:1], r.Probe["lambda_base"])
	if err != nil {
		return err
	}
	r.metrics("probe", r.limits.loss0, r.Probe, out.Metrics)
	return r.gradients("probe", "probe.grad.")
}

// metrics compares losses and accuracies with the reference's.
func (r *runner) metrics(when string, lossLimit float64, want map[string]float64, m domino.Metrics) {
	got := map[string]float64{}
	for _, v := range m.Values() {
		got[v.Name] = v.Value
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w, g := want[name], got[name]
		switch {
		case isLoss(name):
			if _, ok := got[name]; !ok {
				g = math.NaN()
			}
			r.report.note("losses, "+when, ratio(math.Abs(g-w), math.Abs(w), g == 0), lossLimit, true, name)
		case strings.HasSuffix(name, "accuracy"):
			r.report.note("accuracies, "+when+" (absolute)", math.Abs(g-w), r.limits.accuracy, !r.limits.cosine, name)
		}
	}
}

// gradients compares every gradient tensor; where the reference's is all zero, ours must be.
func (r *runner) gradients(when, prefix string) error {
	for _, p := range r.engine.Draft.Params.List {
		want, err := r.expected.Float32(prefix + p.Name)
		if err != nil {
			return err
		}
		got, err := r.engine.Context.Float32s(p.Grad)
		if err != nil {
			return err
		}
		r.gradient(when, p.Name, got, want)
	}
	return nil
}

func (r *runner) gradient(when, name string, got, want []float32) {
	if allZero(want) {
		err := 0.0
		if !allZero(got) {
			err = math.Inf(1)
		}
		r.report.note("zero gradients, "+when, err, 0, true, name)
		return
	}
	if !r.limits.cosine {
		r.report.note("gradients, "+when, relative(got, want), r.limits.gradient, true, name)
		return
	}
	limit := r.limits.gradient
	if strings.HasSuffix(name, "q_norm.weight") || strings.HasSuffix(name, "k_norm.weight") {
		limit = r.limits.gradientNorms
	}
	r.report.note("gradients, "+when+" (1 - cosine)", cosineError(got, want), limit, true, name)
}

// steps runs the case's optimizer steps.
func (r *runner) steps() error {
	for i, want := range r.Steps {
		lambda, err := r.lambda(i)
		if err != nil {
			return err
		}
		out, err := r.engine.Step(r.batches[i:i+1], lambda, r.Optimizer.LR)
		if err != nil {
			return err
		}
		when, lossLimit, normLimit, judged := "step 0", r.limits.loss0, r.limits.norm0, true
		if i > 0 {
			when, lossLimit, normLimit, judged = "later", r.limits.lossLater, r.limits.normLater, !r.limits.cosine
		} else if err := r.gradients(when, "grad."); err != nil {
			return err
		}
		at := fmt.Sprintf("step %d", i)
		r.metrics(when, lossLimit, want, out.Metrics)
		norm := want["grad_norm"]
		r.report.note("grad_norm, "+when, ratio(math.Abs(out.GradNorm-norm), norm, out.GradNorm == 0), normLimit, judged, at)
		if w, ok := want["lambda_base"]; ok && r.domino() {
			r.report.note("lambda_base (absolute)", math.Abs(lambda-w), r.limits.lambda, true, at)
		}
	}
	return nil
}

// weights compares the change of every weight tensor over the run, with and without its
// ceil(0.5 %) worst elements: Adam's first updates are lr·sign(g), so single elements flip.
func (r *runner) weights() error {
	for _, p := range r.engine.Draft.Params.List {
		want, err := r.expected.Float32("final." + p.Name)
		if err != nil {
			return err
		}
		first, err := r.draft.Float32(p.Name)
		if err != nil {
			return err
		}
		got, err := r.engine.Context.Float32s(p.Master)
		if err != nil {
			return err
		}
		trimmed, all := change(got, want, first)
		r.report.note("weight change, trimmed", trimmed, r.limits.trimmedDelta, !r.limits.cosine, p.Name)
		r.report.note("weight change", all, r.limits.allDelta, !r.limits.cosine, p.Name)
	}
	return nil
}

// change is ‖got-want‖/‖want-first‖, without the ceil(0.5 %) worst elements and with them.
func change(got, want, first []float32) (trimmed, all float64) {
	squares := make([]float64, len(want))
	var moved float64
	for i := range want {
		d, m := float64(got[i])-float64(want[i]), float64(want[i])-float64(first[i])
		squares[i] = d * d
		moved += m * m
	}
	slices.Sort(squares)
	keep := len(squares) - int(math.Ceil(0.005*float64(len(squares))))
	var sum, sumAll float64
	for i, s := range squares {
		if i < keep {
			sum += s
		}
		sumAll += s
	}
	return ratio(math.Sqrt(sum), math.Sqrt(moved), sum == 0), ratio(math.Sqrt(sumAll), math.Sqrt(moved), sumAll == 0)
}
