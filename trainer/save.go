package trainer

import (
	"context"
	"encoding/json"
	"path/filepath"
	"time"

	"vkdomino/domino"
	"vkdomino/internal/fail"
	"vkdomino/internal/plural"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/metrics"
	"vkdomino/trainer/pair"
)

// The files that a run writes into its output folder beside checkpoints.
const (
	metricsFile = "metrics.jsonl"
	eventsDir   = "tensorboard"
	curvesFile  = "curves.png"
)

// save writes a checkpoint of the completed steps, and then removes old ones.
func (r *run) save() error {
	began := time.Now()
	defer func() { r.progress.Saved(time.Since(began)) }()
	if err := r.log.Sync(); err != nil {
		return err
	}
	st := r.state
	epoch, batch, _ := r.Length.Locate(st.Step)
	st.Epoch = epoch
	st.SamplesConsumed = int64(epoch*r.Length.BatchesPerEpoch()+batch) * int64(r.Recipe.BatchSize)
	st.Wall = r.wall + time.Since(r.started).Seconds()
	st.LogTail = r.tail
	if t := r.opt.Context.Tuning(); t != nil {
		r.loop.Kernels = t.Kernels()
	}
	loop, err := json.Marshal(r.loop)
	if err != nil {
		return err
	}
	st.Trainer = loop
	if err := checkpoint.Save(r.Recipe.OutputDir, st, checkpointParams(r.engine)); err != nil {
		return err
	}
	r.saved = st.Step
	return checkpoint.Rotate(r.Recipe.OutputDir, r.Recipe.SaveTotalLimit, r.bestStep())
}

// interrupted writes a checkpoint, unless there is one of this step, and ends the run. Before the first step there is
// nothing that the recipe does not say.
func (r *run) interrupted() error {
	if r.state.Step == 0 && r.saved < 0 {
		return fail.New(fail.Interrupted, "start the same command again", "interrupted before the first step; no checkpoint was needed")
	}
	if r.saved != r.state.Step {
		if err := r.save(); err != nil {
			return err
		}
	}
	r.progress.Close()
	hint := "the same command goes on from there"
	if r.opt.Fresh {
		hint = "the same command without --fresh goes on from there"
	}
	return fail.New(fail.Interrupted, hint, "interrupted after %s; checkpoint written: %s",
		plural.Of(r.state.Step, "step"), checkpoint.Dir(r.Recipe.OutputDir, r.state.Step))
}

// finish draws the curves and exports the last checkpoint.
func (r *run) finish() error {
	r.drawCurves()
	loaded, err := checkpoint.Load(context.Background(), checkpoint.Dir(r.Recipe.OutputDir, r.state.Step))
	if err != nil {
		return err
	}
	defer loaded.Close()
	return r.exportLoaded(loaded)
}

// drawCurves is summarize, without which a run is good all the same.
func (r *run) drawCurves() {
	if err := r.summarize(); err != nil {
		r.printf("warning: no picture of the curves: %v", err)
	}
}

// summarize draws the whole run's metrics and says what its evaluations found.
func (r *run) summarize() error {
	rows, err := metrics.ReadRows(filepath.Join(r.Recipe.OutputDir, metricsFile))
	if err != nil {
		return err
	}
	r.summarizeEvaluations(rows)
	return metrics.PlotCurves(filepath.Join(r.Recipe.OutputDir, curvesFile), rows)
}

// exportLoaded exports a checkpoint. Where the run has evaluated, its decoder checks the
// export, which costs a moment; otherwise the target is not there as a whole, and `vkdomino
// export` has the check.
func (r *run) exportLoaded(loaded *checkpoint.Loaded) error {
	dir := filepath.Join(r.Recipe.OutputDir, exportDir)
	draft, err := pair.OfCheckpoint(loaded)
	if err != nil {
		return err
	}
	opt := ExportOptions{DType: exportDType, Check: r.exportCheck(draft)}
	report, err := ExportCheckpoint(context.Background(), draft, dir, opt)
	if err != nil {
		return err
	}
	r.printf("exported the draft: %s", dir)
	if opt.Check != nil {
		r.printf("%s", report)
	} else {
		r.printf("not checked by decoding, for which this run has no decoder at hand; `vkdomino export` checks any checkpoint")
	}
	return nil
}

// exportCheck is a check with the engine's decoder and the first prompts of the evaluations;
// nil without one. The engine's draft is overwritten.
func (r *run) exportCheck(d *pair.Draft) *ExportCheck {
	if r.engine == nil || r.engine.Decoder == nil {
		return nil
	}
	e, prompts := r.engine, r.Eval.Prompts
	return &ExportCheck{Context: e.Context, Target: e.Target, DType: e.Config.Precision, Stops: r.Eval.Stops,
		Prompts: prompts[:min(exportPrompts, len(prompts))], MaxNew: min(exportNewTokens, r.Recipe.EvalMaxNewTokens),
		draft: &domino.DraftModel{Config: d.Config, Params: e.Draft.Params}, decoder: e.Decoder, asked: d.DraftTokens}
}
