package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"vkdomino/internal/draftnames"
	"vkdomino/internal/fail"
	"vkdomino/tensors"
)

const (
	maxStateBytes = 64 << 20
	loadHint      = "use another checkpoint of the run, or begin anew with --fresh"
)

// Loaded is an open checkpoint, whose files have been verified.
type Loaded struct {
	State State

	path             string
	model, optimizer *tensors.File
	stored           map[string]string // export name to the name in the files
}

// Load verifies and opens the checkpoint directory path. Names that other trainers have used are mapped to the export
// names. When ctx ends meanwhile the error has the code fail.Interrupted; every other one has ErrCorrupt in its chain.
func Load(ctx context.Context, path string) (*Loaded, error) {
	l, err := load(ctx, path)
	switch {
	case err == nil:
		return l, nil
	case ctx.Err() != nil:
		return nil, interrupted(path)
	}
	return nil, fail.New(fail.Other, loadHint, "checkpoint: %s: %w", path, err)
}

func interrupted(path string) error {
	return fail.New(fail.Interrupted, "start the same command again", "interrupted while reading %s", path)
}

func load(ctx context.Context, path string) (*Loaded, error) {
	if err := verify(ctx, path); err != nil {
		return nil, err
	}
	l := &Loaded{path: path}
	err := l.readState()
	if err == nil {
		l.model, err = openTensors(path, ModelFile)
	}
	if err == nil {
		l.optimizer, err = openTensors(path, OptimizerFile)
	}
	if err == nil {
		err = l.index()
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Loaded) readState() error {
	text, err := readCapped(filepath.Join(l.path, StateFile), maxStateBytes)
	if err == nil {
		err = json.Unmarshal(text, &l.State)
	}
	if err != nil {
		return corrupt("%s: %w", StateFile, err)
	}
	if l.State.FormatVersion != Version {
		return corrupt("%s: format version: want %d, got %d", StateFile, Version, l.State.FormatVersion)
	}
	if l.State.MicroBatch != 0 {
		return corrupt("%s: micro_batch: want 0, got %d", StateFile, l.State.MicroBatch)
	}
	if step, ok := stepOf(filepath.Base(l.path)); ok && step != l.State.Step {
		return corrupt("%s: step: want %d as the directory says, got %d", StateFile, step, l.State.Step)
	}
	return nil
}

func openTensors(dir, name string) (*tensors.File, error) {
	f, err := tensors.OpenFile(filepath.Join(dir, name))
	if err != nil {
		return nil, corrupt("%s: %w", name, err)
	}
	return f, nil
}

// index maps the export names to those in the file, and checks that the optimizer file has two moments for each.
func (l *Loaded) index() error {
	l.stored = map[string]string{}
	for _, name := range l.model.Names() {
		canonical, keep := draftnames.Canonical(name)
		if !keep {
			continue
		}
		if other, twice := l.stored[canonical]; twice {
			return corrupt("%s: %q and %q are the same tensor", ModelFile, other, name)
		}
		l.stored[canonical] = name
		if err := l.checkMoments(name); err != nil {
			return err
		}
	}
	if want, got := 2*len(l.stored), len(l.optimizer.Names()); want != got {
		return corrupt("%s: want %d tensors, got %d", OptimizerFile, want, got)
	}
	return nil
}

// checkMoments compares both moments of a tensor with it.
func (l *Loaded) checkMoments(name string) error {
	dtype, shape, _ := l.model.Info(name)
	if dtype != tensors.F32 {
		return corrupt("%s: tensor %q: want F32, got %s", ModelFile, name, dtype)
	}
	for _, suffix := range []string{firstMoment, secondMoment} {
		d, s, ok := l.optimizer.Info(name + suffix)
		if !ok {
			return corrupt("%s: tensor %q: missing", OptimizerFile, name+suffix)
		}
		if d != tensors.F32 || !slices.Equal(s, shape) {
			return corrupt("%s: tensor %q: want F32 %v, got %s %v", OptimizerFile, name+suffix, shape, d, s)
		}
	}
	return nil
}

// Path returns the checkpoint's directory.
func (l *Loaded) Path() string { return l.path }

// Names returns the export names of all tensors, sorted.
func (l *Loaded) Names() []string { return slices.Sorted(maps.Keys(l.stored)) }

// Shape returns the shape of a tensor, and whether there is one of this name.
func (l *Loaded) Shape(name string) ([]int, bool) {
	stored, ok := l.stored[name]
	if !ok {
		return nil, false
	}
	_, shape, ok := l.model.Info(stored)
	return shape, ok
}

// Tensor returns the master weights of a tensor.
func (l *Loaded) Tensor(name string) ([]float32, error) {
	return l.float32(l.model, ModelFile, name, "")
}

// Moments returns AdamW's first and second moment of a tensor.
func (l *Loaded) Moments(name string) (m, v []float32, err error) {
	if m, err = l.float32(l.optimizer, OptimizerFile, name, firstMoment); err != nil {
		return nil, nil, err
	}
	if v, err = l.float32(l.optimizer, OptimizerFile, name, secondMoment); err != nil {
		return nil, nil, err
	}
	return m, v, nil
}

func (l *Loaded) float32(f *tensors.File, file, name, suffix string) ([]float32, error) {
	stored, ok := l.stored[name]
	if !ok {
		return nil, fail.New(fail.Other, loadHint, "checkpoint: %s: %w", l.path, corrupt("%s: tensor %q: missing", file, name))
	}
	values, err := f.Float32(stored + suffix)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return values, nil
}

// Close releases the files.
func (l *Loaded) Close() error {
	var errs []error
	for _, f := range []*tensors.File{l.model, l.optimizer} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
