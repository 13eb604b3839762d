package trainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/metrics"
	"vkdomino/trainer/pair"
)

// ErrNonFinite is in the chain of the error that ends a run whose gradients stay non-finite.
var ErrNonFinite = errors.New("the gradients are not finite")

const (
	// A run is given up after so many skipped updates in a row, or in the last window of steps.
	maxSkippedInRow    = 8
	skippedWindow      = 1000
	maxSkippedInWindow = skippedWindow / 100

	logTailRows = 50 // rows of metrics.jsonl that a checkpoint carries
	rngScheme   = "splitmix64-v1"
)

// Options say how a run is started.
type Options struct {
	Fresh bool     // set an old run in the output folder aside and begin anew
	Out   *os.File // progress and messages
	// Context is the device that the run has to itself; what the run allocates there is
	// released at its end, compiled kernels stay.
	Context *ops.Context
}

// run is a training run on its way.
type run struct {
	*Session
	opt      Options
	engine   *Engine
	log      *metrics.Log
	progress *metrics.Progress
	state    checkpoint.State // as of the last completed step
	saved    int              // step of the newest checkpoint; -1 where there is none
	loop     loopState
	tail     []json.RawMessage
	plan     MemoryPlan
	started  time.Time
	wall     float64 // seconds of earlier processes
	empties  bool    // a batch without any anchor has been reported
	ahead    nextStep
}

// nextStep is a step that was prepared while the one before ran; neither a step nor an error where none was.
type nextStep struct {
	prepared *Prepared
	err      error // of preparing it
}

// loopState is what the loop itself keeps in a checkpoint.
type loopState struct {
	SkippedInRow int       `json:"skipped_in_row"`
	SkippedAt    []int     `json:"skipped_at"` // steps of the last window
	Accuracy     []float64 `json:"accuracy"`   // since the last estimate of the acceptance length

	Kernels map[string]string `json:"kernels,omitempty"` // ops.Tuning's choices, which fix the bits of products in tier T3
}

// Train runs a session to its end, from what it finds in the output folder, and exports the
// draft to output_dir/export. When ctx ends it writes a checkpoint, unless no step has been made,
// and returns an error with the code fail.Interrupted.
//
// What can be known to be wrong is found before the first step, in this order: the output
// folder is in use or cannot be written; the checkpoint is damaged, of another recipe or of
// another draft; the plan does not fit the device's memory; the folder of the export
// holds something else; the disk has no room for a checkpoint and the export.
func Train(ctx context.Context, s *Session, opt Options) error {
	r := &run{Session: s, opt: opt, started: time.Now(), saved: -1}
	_, missing := os.Stat(s.Recipe.OutputDir)
	release, err := takeOutput(s.Recipe.OutputDir)
	if err != nil {
		return err
	}
	defer release()
	if errors.Is(missing, fs.ErrNotExist) {
		defer removeUnused(s.Recipe.OutputDir)
	}
	if opt.Fresh {
		if err := r.setAside(); err != nil {
			return err
		}
	}
	loaded, err := r.find(ctx)
	if err != nil {
		return err
	}
	if loaded != nil {
		defer loaded.Close()
		if r.state.Step >= s.Total {
			return r.finished(loaded)
		}
	}
	defer opt.Context.Release()
	if err := r.build(ctx, loaded); err != nil {
		return err
	}
	if err := r.loopLogged(ctx); err != nil {
		return err
	}
	return r.finish()
}

// build allocates the engine, uploads the target, and sets the draft: from the checkpoint, or initial values. It ends
// between two tensors when ctx does.
func (r *run) build(ctx context.Context, loaded *checkpoint.Loaded) error {
	err := errorsFirst(r.checkMemory, r.checkExport, r.checkSpace)
	if err != nil {
		return err
	}
	c := r.opt.Context
	if r.engine, err = NewEngine(c, r.EngineConfig(c.Device.MaxBindingBytes)); err != nil {
		return err
	}
	if err := r.upload(ctx, loaded); err != nil {
		if ctx.Err() != nil {
			return r.interrupted()
		}
		return err
	}
	return nil
}

// upload writes the weights of target and draft.
func (r *run) upload(ctx context.Context, loaded *checkpoint.Loaded) error {
	if err := r.engine.Load(pair.Stoppable(ctx, r.Weights)); err != nil {
		return err
	}
	r.engine.Updates = r.state.UpdatesApplied
	if loaded != nil {
		r.printf("going on from %s", loaded.Path())
		return restore(ctx, r.engine, loaded)
	}
	return r.InitDraft(ctx, r.engine)
}

// loopLogged runs the loop with its metrics and progress open.
func (r *run) loopLogged(ctx context.Context) (err error) {
	if r.log, err = metrics.OpenLog(r.Recipe.OutputDir, r.state.Step, r.Recipe.ReportTo == "tensorboard"); err != nil {
		return err
	}
	r.printf("memory: %s planned, %s allocated", formatBytes(r.plan.Total), formatBytes(r.opt.Context.Device.Allocated()))
	r.announceEvaluation()
	r.progress = metrics.NewProgress(r.opt.Out, r.Total, r.state.Step, r.Recipe.LoggingSteps, r.Recipe.Progress)
	r.progress.Pauses(r.Recipe.SaveSteps, r.Recipe.ARValidateSteps)
	err = r.steps(ctx)
	r.progress.Close()
	return errors.Join(err, r.log.Close())
}

func (r *run) printf(format string, args ...any) { fmt.Fprintf(r.opt.Out, format+"\n", args...) }

// steps is the loop.
func (r *run) steps(ctx context.Context) error {
	defer func() { r.takeAhead().prepared.Drop() }()
	for r.state.Step < r.Total {
		if ctx.Err() != nil {
			return r.interrupted()
		}
		if err := r.step(); err != nil {
			return err
		}
		if r.state.Step%r.Recipe.SaveSteps == 0 || r.state.Step == r.Total || r.atBest() {
			if err := r.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare prepares step g.
func (r *run) prepare(g int) nextStep {
	batches, err := r.MicroBatches(g)
	if err != nil {
		return nextStep{nil, err}
	}
	in := StepInput{Batches: batches, LR: r.LR.LR(g)}
	if r.Recipe.Domino {
		in.Lambda = r.Lambda.At(g)
	}
	p, err := r.engine.Prepare(in)
	if err != nil {
		err = fmt.Errorf("trainer: step %d: %w", g, err)
	}
	return nextStep{p, err}
}

// takeAhead is the step that was prepared, which is not there any more afterwards.
func (r *run) takeAhead() nextStep {
	n := r.ahead
	r.ahead = nextStep{}
	return n
}

// step does one optimizer step and reports it. While the device works on it, the next one is prepared.
func (r *run) step() error {
	start, g := time.Now(), r.state.Step
	next := r.takeAhead()
	if next.prepared == nil && next.err == nil {
		next = r.prepare(g)
	}
	if next.err != nil {
		return next.err
	}
	p := next.prepared
	out, err := r.engine.Run(p, func() {
		if g+1 < r.Total {
			r.ahead = r.prepare(g + 1)
		}
	})
	if err != nil {
		return fmt.Errorf("trainer: step %d: %w", g, err)
	}
	if err := r.judge(g, out); err != nil {
		return err
	}
	r.state.Step, r.state.UpdatesApplied = g+1, r.engine.Updates
	seconds := time.Since(start).Seconds()
	row := r.row(g, out, p.LR, seconds)
	if err := r.evaluate(&row); err != nil {
		return err
	}
	if err := r.log.Write(row); err != nil {
		return err
	}
	r.keepTail(row)
	r.noteEmpty(g, out)
	samples := 0
	for _, b := range p.Batches {
		samples += b.B
	}
	r.progress.Step(row, float64(samples)/seconds)
	return nil
}

// judge counts updates that were skipped because something was not finite, and gives up when there are too many.
func (r *run) judge(g int, out *StepResult) error {
	if out.Applied {
		r.loop.SkippedInRow = 0
		return nil
	}
	r.state.SkippedUpdates++
	r.loop.SkippedInRow++
	at := r.loop.SkippedAt[:0]
	for _, s := range append(r.loop.SkippedAt, g) {
		if s > g-skippedWindow {
			at = append(at, s)
		}
	}
	r.loop.SkippedAt = at
	where := out.NonFinite
	if where == "" {
		where = fmt.Sprintf("gradient norm %v", out.GradNorm)
	}
	r.progress.Note(fmt.Sprintf("warning: step %d: update skipped: not finite: %s", g, where))
	if r.loop.SkippedInRow >= maxSkippedInRow || len(at) > maxSkippedInWindow {
		return fail.New(fail.NonFinite, "lower training.learning_rate; the last checkpoint is from before",
			"trainer: step %d: %d updates skipped in a row, %d in the last %d steps: %s: %w", g, r.loop.SkippedInRow, len(at), skippedWindow, where, ErrNonFinite)
	}
	return nil
}

// noteEmpty reports the first batch without any anchor; the metrics count them all.
func (r *run) noteEmpty(g int, out *StepResult) {
	if out.Metrics.EmptyBatches == 0 || r.empties {
		return
	}
	r.empties = true
	r.progress.Note(fmt.Sprintf("warning: step %d: a batch without any anchor has no loss and no gradient; see %s in the metrics", g, metrics.EmptyBatches))
}

// row is the step's line of metrics.jsonl. Source: spec.md §7.4.
func (r *run) row(g int, out *StepResult, lr, seconds float64) metrics.Row {
	var row metrics.Row
	row.SetInt(metrics.Step, int64(g))
	row.SetFloat(metrics.Epoch, float64(g)/float64(r.Length.StepsPerEpoch()))
	for _, v := range out.Metrics.Values() {
		row.SetFloat(v.Name, v.Value)
	}
	row.SetFloat(metrics.LearningRate, lr)
	row.SetFloat(metrics.GradNorm, out.GradNorm)
	row.SetInt(metrics.SupervisedTokens, int64(out.Metrics.SupervisedTokens))
	row.SetInt(metrics.Blocks, int64(out.Metrics.Blocks))
	row.SetInt(metrics.EmptyBatches, int64(min(1, out.Metrics.EmptyBatches)))
	row.SetInt(metrics.SkippedUpdates, int64(r.state.SkippedUpdates))
	row.SetFloat(metrics.Seconds, seconds)
	if r.Recipe.EstimateAR {
		r.estimateAR(&row, g, out.Metrics.Accuracy)
	}
	return row
}

// estimateAR adds 1 + the mean accuracy since the last estimate to the rows that are shown. Source: spec.md §15.4.
func (r *run) estimateAR(row *metrics.Row, g int, accuracy float64) {
	r.loop.Accuracy = append(r.loop.Accuracy, accuracy)
	if (g+1)%r.Recipe.LoggingSteps != 0 {
		return
	}
	sum := 0.0
	for _, a := range r.loop.Accuracy {
		sum += a
	}
	row.SetFloat(metrics.EstimatedAR, 1+sum/float64(len(r.loop.Accuracy)))
	r.loop.Accuracy = r.loop.Accuracy[:0]
}

func (r *run) keepTail(row metrics.Row) {
	line, err := json.Marshal(row)
	if err != nil {
		return // a row that Write took can be marshalled
	}
	r.tail = append(r.tail, line)
	r.tail = r.tail[max(0, len(r.tail)-logTailRows):]
}
