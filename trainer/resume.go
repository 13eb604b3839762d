package trainer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vkdomino/domino"
	"vkdomino/internal/atomicfile"
	"vkdomino/internal/fail"
	"vkdomino/internal/plural"
	"vkdomino/trainer/checkpoint"
)

// takeOutput locks the output folder and makes sure that it can be written, so that a run does
// not find out at its first checkpoint.
func takeOutput(dir string) (release func(), err error) {
	if release, err = checkpoint.Lock(dir); err != nil {
		return nil, err
	}
	if err := checkWritable(dir); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// removeUnused removes an output folder that a run has made and not used: with a lock, and perhaps metrics without a row.
// Where there is anything else everything stays, and what cannot be removed stays too.
func removeUnused(dir string) {
	unused := []string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case name == ".", name == checkpoint.LockFile, name == eventsDir && e.IsDir():
		case name == metricsFile && info.Size() == 0:
		case filepath.Dir(name) == eventsDir && strings.HasPrefix(e.Name(), "events.out.tfevents."):
		default:
			return fs.ErrExist
		}
		unused = append(unused, path)
		return nil
	})
	if err != nil {
		return
	}
	for _, path := range slices.Backward(unused) { // what a folder holds before the folder
		os.Remove(path)
	}
}

// checkOutput finds early what takeOutput would find after the data has been read. It makes no folder.
func (s *Session) checkOutput() error {
	if _, err := os.Stat(s.Recipe.OutputDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	release, err := takeOutput(s.Recipe.OutputDir)
	if err == nil {
		release()
	}
	return err
}

// errorsFirst calls checks in order and returns the first error.
func errorsFirst(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkWritable makes sure that the output folder takes files.
func checkWritable(dir string) error {
	if err := atomicfile.CheckWritable(dir); err != nil {
		return fail.New(fail.Disk, "choose a training.output_dir that can be written", "trainer: output folder: %w", err)
	}
	return nil
}

// setAside moves an old run out of the way, once it is sure that the new one fits.
func (r *run) setAside() error {
	if err := r.checkMemory(); err != nil {
		return err
	}
	aside, err := checkpoint.SetAside(r.Recipe.OutputDir)
	if aside != "" {
		r.printf("set the old run aside: %s", aside)
	}
	return err
}

// checkMemory plans the run and refuses one that the device cannot hold.
func (r *run) checkMemory() (err error) {
	device := r.opt.Context.Device
	if r.plan, err = PlanMemory(r.EngineConfig(device.MaxBindingBytes)); err != nil {
		return err
	}
	return r.plan.Check(device.Now())
}

// find looks for a checkpoint to go on from: nil for a new run.
func (r *run) find(ctx context.Context) (*checkpoint.Loaded, error) {
	out := r.Recipe.OutputDir
	if err := checkpoint.Clean(out); err != nil {
		return nil, err
	}
	if err := r.freshState(); err != nil {
		return nil, err
	}
	loaded, skipped, err := checkpoint.Resume(ctx, out)
	if err != nil || loaded == nil {
		return nil, err
	}
	for _, c := range skipped {
		r.printf("warning: %s is passed over: %v", c.Path, c.Err)
	}
	if err := r.adopt(loaded); err != nil {
		loaded.Close()
		return nil, err
	}
	return loaded, nil
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
	facts, err := factsOf(r.Target)
	if err != nil {
		return err
	}
	carried, err := json.Marshal(facts)
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
	if len(r.Eval.Prompts) > 0 {
		paths[keyEvalData] = r.Eval.SHA256
	}
	r.state = checkpoint.State{TotalSteps: r.Total, Seed: r.Recipe.Seed, RNGScheme: rngScheme, RopeTheta: r.Recipe.Theta,
		Recipe: r.Recipe.Flat(), RecipeJSON: full, DraftJSON: draft, TargetJSON: carried, Program: Version(), Target: target,
		Tokenizer: r.Tokenizer.SHA256(), Data: r.Data.SHA256, PathSHA256: paths}
	return nil
}

// adopt takes over where the checkpoint stands, if the recipe allows it. Source: spec.md §12.
func (r *run) adopt(loaded *checkpoint.Loaded) error {
	old := loaded.State
	refuse, warn := checkpoint.Compare(old, r.state)
	if err := checkpoint.Refusal(loaded.Path(), refuse); err != nil {
		return err
	}
	for _, d := range warn {
		r.printf("warning: changed since the checkpoint: %s", d)
	}
	if old.TotalSteps != r.Total {
		r.printf("warning: the run now has %s instead of %d: learning rate and λ follow the new number", plural.Of(r.Total, "step"), old.TotalSteps)
	}
	r.warnOfOtherSteps(old)
	if err := r.checkTensors(loaded); err != nil {
		return err
	}
	s := &r.state
	s.Step, s.UpdatesApplied, s.SkippedUpdates = old.Step, old.UpdatesApplied, old.SkippedUpdates
	r.adoptBest(old)
	r.wall, r.tail, r.saved = old.Wall, old.LogTail, old.Step
	if len(old.Trainer) > 0 {
		if err := json.Unmarshal(old.Trainer, &r.loop); err != nil {
			return corruptCheckpoint(loaded, "state.json: trainer: %w", err)
		}
	}
	if t := r.opt.Context.Tuning(); t != nil {
		t.Fix(r.loop.Kernels)
	}
	return nil
}

// warnOfOtherSteps says where another batch size with an equal product of batch and accumulation gives steps other rows:
// an epoch drops the rows that fill no batch, and its last step takes what is left of it.
func (r *run) warnOfOtherSteps(old checkpoint.State) {
	before, now := r.Length, r.Length
	before.Batch, before.Accum = old.Batches()
	if before.Batch < 1 || before.Accum < 1 || before.Batch == now.Batch || now.Samples%(now.Batch*now.Accum) == 0 {
		return
	}
	r.printf("warning: %d rows are no multiple of batch size times accumulation: an epoch now has %d rows in %d steps instead of %d in %d, so from the end of the first epoch on steps have other rows",
		now.Samples, now.BatchesPerEpoch()*now.Batch, now.StepsPerEpoch(), before.BatchesPerEpoch()*before.Batch, before.StepsPerEpoch())
}

// checkTensors compares a checkpoint's tensors with the draft's, before anything is uploaded.
func (r *run) checkTensors(loaded *checkpoint.Loaded) error {
	specs := domino.Params(r.DraftConfig())
	for _, p := range specs {
		shape, ok := loaded.Shape(p.Name)
		if !ok {
			return corruptCheckpoint(loaded, "tensor %s is missing", p.Name)
		}
		if !slices.Equal(shape, p.Shape) {
			return corruptCheckpoint(loaded, "%s: want %v, got %v", p.Name, p.Shape, shape)
		}
	}
	if names := loaded.Names(); len(names) != len(specs) {
		return corruptCheckpoint(loaded, "want the draft's %d tensors, got %d", len(specs), len(names))
	}
	return nil
}

func corruptCheckpoint(loaded *checkpoint.Loaded, format string, args ...any) error {
	return fail.New(fail.Other, "remove this checkpoint to go on from an older one, or begin anew with --fresh",
		"trainer: %s: %w: %w", loaded.Path(), checkpoint.ErrCorrupt, fmt.Errorf(format, args...))
}

// finished says that there is nothing to do, and makes what a run makes at its end where it is missing or of an earlier
// checkpoint.
func (r *run) finished(loaded *checkpoint.Loaded) error {
	r.printf("the run in %s is finished: %s; --fresh begins anew", r.Recipe.OutputDir, plural.Of(r.state.Step, "step"))
	if !r.renewed(curvesFile, loaded) {
		r.drawCurves()
	}
	if r.renewed(filepath.Join(exportDir, "config.json"), loaded) {
		return nil
	}
	return r.exportLoaded(loaded)
}

// renewed says whether a file of the output folder is there and no older than the checkpoint.
func (r *run) renewed(name string, loaded *checkpoint.Loaded) bool {
	made, err := os.Stat(filepath.Join(r.Recipe.OutputDir, name))
	if err != nil {
		return false
	}
	saved, err := os.Stat(filepath.Join(loaded.Path(), checkpoint.ManifestFile))
	return err == nil && !made.ModTime().Before(saved.ModTime())
}

// restore uploads a checkpoint's masters and moments. It ends between two tensors when ctx does.
func restore(ctx context.Context, e *Engine, loaded *checkpoint.Loaded) error {
	for _, p := range e.Draft.Params.List {
		if err := ctx.Err(); err != nil {
			return err
		}
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
