package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"vkdomino/internal/fail"
	"vkdomino/ops"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/metrics"
	"vkdomino/vk"
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
	Fresh  bool     // set an old run in the output folder aside and begin anew
	Out    *os.File // progress and messages
	Device *vk.Device
}

// run is a training run on its way.
type run struct {
	*Session
	opt      Options
	engine   *Engine
	log      *metrics.Log
	progress *metrics.Progress
	state    checkpoint.State // as of the last completed step
	loop     loopState
	tail     []json.RawMessage
	started  time.Time
	wall     float64 // seconds of earlier processes
	accuracy []float64
}

// loopState is what the loop itself keeps in a checkpoint.
type loopState struct {
	SkippedInRow int   `json:"skipped_in_row"`
	SkippedAt    []int `json:"skipped_at"` // steps of the last window
}

// Train runs a session to its end, from what it finds in the output folder, and exports the
// draft to output_dir/export. When ctx ends it writes a checkpoint and returns an error with
// the code fail.Interrupted.
func Train(ctx context.Context, s *Session, opt Options) error {
	release, err := checkpoint.Lock(s.Recipe.OutputDir)
	if err != nil {
		return err
	}
	defer release()
	r := &run{Session: s, opt: opt, started: time.Now()}
	loaded, err := r.find()
	if err != nil {
		return err
	}
	if loaded != nil {
		defer loaded.Close()
		if r.state.Step >= s.Total {
			return r.finished(loaded)
		}
	}
	if err := r.build(loaded); err != nil {
		return err
	}
	defer r.engine.Context.Release()
	if r.log, err = metrics.OpenLog(s.Recipe.OutputDir, r.state.Step); err != nil {
		return err
	}
	defer r.log.Close()
	r.progress = metrics.NewProgress(opt.Out, s.Total, r.state.Step, s.Recipe.LoggingSteps, s.Recipe.Progress)
	defer r.progress.Close()
	if err := r.steps(ctx); err != nil {
		return err
	}
	r.progress.Close()
	return r.export()
}

func (r *run) printf(format string, args ...any) { fmt.Fprintf(r.opt.Out, format+"\n", args...) }

// find looks for a checkpoint to go on from: nil for a new run.
func (r *run) find() (*checkpoint.Loaded, error) {
	out := r.Recipe.OutputDir
	if r.opt.Fresh {
		aside, err := checkpoint.SetAside(out)
		if err != nil {
			return nil, err
		}
		if aside != "" {
			r.printf("set the old run aside: %s", aside)
		}
	}
	if err := checkpoint.Clean(out); err != nil {
		return nil, err
	}
	if err := r.freshState(); err != nil {
		return nil, err
	}
	loaded, skipped, err := checkpoint.Resume(out)
	for _, c := range skipped {
		r.printf("warning: %s is passed over: %v", c.Path, c.Err)
	}
	if err != nil || loaded == nil {
		return nil, err
	}
	refuse, warn := checkpoint.Compare(loaded.State, r.state)
	if err := checkpoint.Refusal(loaded.Path(), refuse); err != nil {
		loaded.Close()
		return nil, err
	}
	for _, d := range warn {
		r.printf("warning: changed since the checkpoint: %s", d)
	}
	return loaded, r.adopt(loaded)
}

// freshState fills in what a checkpoint says of the run beside where it stands.
func (r *run) freshState() error {
	target, err := r.Fingerprint()
	if err != nil {
		return err
	}
	full, err := json.Marshal(r.Recipe)
	if err != nil {
		return err
	}
	draft, err := json.Marshal(r.DraftConfig())
	if err != nil {
		return err
	}
	paths := map[string]string{}
	if path := r.Recipe.ChatTemplate; path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("trainer: chat template: %w", err)
		}
		sum := sha256.Sum256(text)
		paths["data.chat_template"] = hex.EncodeToString(sum[:])
	}
	r.state = checkpoint.State{TotalSteps: r.Total, Seed: r.Recipe.Seed, RNGScheme: rngScheme, RopeTheta: r.Recipe.Theta,
		Recipe: r.Recipe.Flat(), RecipeJSON: full, DraftJSON: draft, Program: Version(), Target: target,
		Tokenizer: r.Tokenizer.SHA256(), Data: r.Data.SHA256, PathSHA256: paths}
	return nil
}

// adopt takes over where the checkpoint stands.
func (r *run) adopt(loaded *checkpoint.Loaded) error {
	old := loaded.State
	if old.TotalSteps != r.Total {
		r.printf("warning: the run now has %d steps instead of %d: learning rate and λ follow the new number", r.Total, old.TotalSteps)
	}
	s := &r.state
	s.Step, s.UpdatesApplied, s.SkippedUpdates, s.Best = old.Step, old.UpdatesApplied, old.SkippedUpdates, old.Best
	r.wall, r.tail = old.Wall, old.LogTail
	if len(old.Trainer) > 0 {
		if err := json.Unmarshal(old.Trainer, &r.loop); err != nil {
			return fmt.Errorf("trainer: %s: state.json: trainer: %w", loaded.Path(), err)
		}
	}
	return nil
}

// finished says that there is nothing to do, and exports if that is missing.
func (r *run) finished(loaded *checkpoint.Loaded) error {
	r.printf("the run in %s is finished: %d steps; --fresh begins anew", r.Recipe.OutputDir, r.state.Step)
	dir := filepath.Join(r.Recipe.OutputDir, exportDir)
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
		return nil
	}
	return ExportCheckpoint(loaded, dir, exportDType)
}

// build allocates the engine, uploads the target, and sets the draft: from the checkpoint, or initial values.
func (r *run) build(loaded *checkpoint.Loaded) error {
	cfg := r.EngineConfig(r.opt.Device.MaxBindingBytes)
	plan, err := PlanMemory(cfg)
	if err != nil {
		return err
	}
	if err := plan.Check(r.opt.Device.Info); err != nil {
		return err
	}
	r.engine, err = NewEngine(ops.New(r.opt.Device), cfg)
	if err != nil {
		return err
	}
	if err := r.engine.Load(r.Weights); err != nil {
		return err
	}
	r.engine.Updates = r.state.UpdatesApplied
	if loaded != nil {
		r.printf("going on from %s", loaded.Path())
		return restore(r.engine, loaded)
	}
	return r.InitDraft(r.engine)
}

// restore uploads a checkpoint's masters and moments.
func restore(e *Engine, loaded *checkpoint.Loaded) error {
	for _, p := range e.Draft.Params.List {
		values, err := loaded.Tensor(p.Name)
		if err != nil {
			return err
		}
		if err := e.SetDraft(p.Name, values); err != nil {
			return err
		}
		m, v, err := loaded.Moments(p.Name)
		if err != nil {
			return err
		}
		e.Context.UploadF32(p.M, m)
		e.Context.UploadF32(p.V, v)
	}
	return e.Context.Err()
}

// steps is the loop.
func (r *run) steps(ctx context.Context) error {
	for r.state.Step < r.Total {
		if ctx.Err() != nil {
			return r.interrupted()
		}
		if err := r.step(); err != nil {
			return err
		}
		if r.state.Step%r.Recipe.SaveSteps == 0 || r.state.Step == r.Total {
			if err := r.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// step does one optimizer step and reports it.
func (r *run) step() error {
	start, g := time.Now(), r.state.Step
	batches, err := r.MicroBatches(g)
	if err != nil {
		return err
	}
	lambda, lr := 0.0, r.LR.LR(g)
	if r.Recipe.Domino {
		lambda = r.Lambda.At(g)
	}
	out, err := r.engine.Step(batches, lambda, lr)
	if err != nil {
		return fmt.Errorf("trainer: step %d: %w", g, err)
	}
	if err := r.judge(g, out); err != nil {
		return err
	}
	r.state.Step, r.state.UpdatesApplied = g+1, r.engine.Updates
	seconds := time.Since(start).Seconds()
	row := r.row(g, out, lr, seconds)
	if err := r.log.Write(row); err != nil {
		return err
	}
	r.keepTail(row)
	samples := 0
	for _, b := range batches {
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
	r.accuracy = append(r.accuracy, out.Metrics.Accuracy)
	if r.Recipe.EstimateAR && (g+1)%r.Recipe.LoggingSteps == 0 {
		sum := 0.0
		for _, a := range r.accuracy {
			sum += a
		}
		row.SetFloat(metrics.EstimatedAR, 1+sum/float64(len(r.accuracy)))
		r.accuracy = r.accuracy[:0]
	}
	return row
}

func (r *run) keepTail(row metrics.Row) {
	line, err := json.Marshal(row)
	if err != nil {
		return // a row that Write took can be marshalled
	}
	r.tail = append(r.tail, line)
	r.tail = r.tail[max(0, len(r.tail)-logTailRows):]
}

// save writes a checkpoint of the completed steps, and then removes old ones.
func (r *run) save() error {
	if err := r.log.Sync(); err != nil {
		return err
	}
	st := r.state
	st.Epoch = st.Step / r.Length.StepsPerEpoch()
	st.SamplesConsumed = int64(st.Step) * int64(r.Recipe.BatchSize*r.Recipe.Accumulation)
	st.Wall = r.wall + time.Since(r.started).Seconds()
	st.LogTail = r.tail
	loop, err := json.Marshal(r.loop)
	if err != nil {
		return err
	}
	st.Trainer = loop
	if err := checkpoint.Save(r.Recipe.OutputDir, st, checkpointParams(r.engine)); err != nil {
		return err
	}
	best := -1
	if st.Best != nil {
		best = st.Best.Step
	}
	return checkpoint.Rotate(r.Recipe.OutputDir, r.Recipe.SaveTotalLimit, best)
}

// interrupted writes a checkpoint and ends the run.
func (r *run) interrupted() error {
	if err := r.save(); err != nil {
		return err
	}
	r.progress.Close()
	return fail.New(fail.Interrupted, "the same command goes on from there", "interrupted after step %d; checkpoint written", r.state.Step)
}

func (r *run) export() error {
	loaded, err := checkpoint.Load(checkpoint.Dir(r.Recipe.OutputDir, r.state.Step))
	if err != nil {
		return err
	}
	defer loaded.Close()
	dir := filepath.Join(r.Recipe.OutputDir, exportDir)
	if err := ExportCheckpoint(loaded, dir, exportDType); err != nil {
		return err
	}
	r.printf("exported the draft: %s", dir)
	return nil
}
