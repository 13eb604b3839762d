package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"vkdomino/internal/atomicfile"
	"vkdomino/internal/fail"
)

// Corrupt is a checkpoint that was passed over, and why.
type Corrupt struct {
	Path string
	Err  error
}

// Resume opens the checkpoint with the highest step that verifies; nil where outputDir has no checkpoint at all. Those
// passed over on the way are in skipped. Where there are checkpoints and none verifies it is an error that names them: a
// run never begins at step 0 again by itself. When ctx ends meanwhile the error has the code fail.Interrupted.
func Resume(ctx context.Context, outputDir string) (l *Loaded, skipped []Corrupt, err error) {
	steps, err := Steps(outputDir)
	if err != nil {
		return nil, nil, err
	}
	for _, step := range steps {
		path := Dir(outputDir, step)
		l, err := load(ctx, path)
		if err == nil {
			return l, skipped, nil
		}
		if ctx.Err() != nil {
			return nil, nil, interrupted(path)
		}
		skipped = append(skipped, Corrupt{Path: path, Err: err})
	}
	return nil, skipped, allCorrupt(outputDir, skipped)
}

func allCorrupt(outputDir string, skipped []Corrupt) error {
	if len(skipped) == 0 {
		return nil
	}
	var text []string
	for _, c := range skipped {
		text = append(text, fmt.Sprintf("%s: %v", filepath.Base(c.Path), c.Err))
	}
	return fail.New(fail.Other, "begin anew with --fresh, which sets the old run aside",
		"checkpoint: %s: %w: none can be read: %s", outputDir, ErrCorrupt, strings.Join(text, "; "))
}

// Steps returns the steps of all checkpoint directories of outputDir, verified or not, highest first. A folder that does
// not exist has none.
func Steps(outputDir string) ([]int, error) {
	entries, err := os.ReadDir(outputDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fail.New(fail.Other, "check training.output_dir", "checkpoint: %w", err)
	}
	var steps []int
	for _, e := range entries {
		if step, ok := stepOf(e.Name()); ok && (e.IsDir() || e.Type()&fs.ModeSymlink != 0) {
			steps = append(steps, step)
		}
	}
	slices.Sort(steps)
	slices.Reverse(steps)
	return steps, nil
}

// Rotate keeps the keepLimit newest checkpoints and that of step best, and removes the others. It does so only after
// the newest verifies, which is read only where something is to be removed; newer ones that do not verify are neither
// counted nor touched. A keepLimit below 1 keeps all, a best below 1 means that there is none.
func Rotate(outputDir string, keepLimit, best int) error {
	if keepLimit < 1 {
		return nil
	}
	steps, err := Steps(outputDir)
	if err != nil || !anyToRemove(steps, keepLimit, best) {
		return err
	}
	var skipped []Corrupt
	for len(steps) > 0 {
		err := verify(context.Background(), Dir(outputDir, steps[0]))
		if err == nil {
			break
		}
		skipped = append(skipped, Corrupt{Path: Dir(outputDir, steps[0]), Err: err})
		steps = steps[1:]
	}
	if len(steps) == 0 {
		return allCorrupt(outputDir, skipped)
	}
	for _, step := range steps[min(keepLimit, len(steps)):] {
		if step == best {
			continue
		}
		if err := atomicfile.RemoveDir(Dir(outputDir, step), Dir(outputDir, step)+tmpSuffix); err != nil {
			return fmt.Errorf("checkpoint: remove step %d: %w", step, err)
		}
	}
	return nil
}

// anyToRemove says whether there are more checkpoints than are kept.
func anyToRemove(steps []int, keepLimit, best int) bool {
	old := steps[min(keepLimit, len(steps)):]
	return len(old) > 1 || len(old) == 1 && old[0] != best
}

// Clean removes what a process that died has left half-written or half-removed in outputDir. It is called at the start
// of a run, once the folder is locked.
func Clean(outputDir string) error {
	entries, err := os.ReadDir(outputDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fail.New(fail.Other, "check training.output_dir", "checkpoint: %w", err)
	}
	for _, e := range entries {
		final, ok := leftoverOf(filepath.Join(outputDir, e.Name()))
		if !ok {
			continue
		}
		if err := atomicfile.RecoverDir(final, final+tmpSuffix); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	return nil
}

// leftoverOf returns the checkpoint that path is a scratch or parked directory of.
func leftoverOf(path string) (final string, ok bool) {
	final, ok = strings.CutSuffix(path, tmpSuffix)
	if !ok {
		final, ok = atomicfile.FinalOf(path)
	}
	_, isCheckpoint := stepOf(filepath.Base(final))
	return final, ok && isCheckpoint
}
