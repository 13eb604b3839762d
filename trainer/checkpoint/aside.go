package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"vkdomino/internal/fail"
)

// metricsFile is what a run writes even before its first checkpoint.
const metricsFile = "metrics.jsonl"

// SetAside moves all that is in outputDir, but for the lock file, to the first of outputDir.old-1, outputDir.old-2 and so
// on that is free, and returns its name: nothing is ever deleted. A folder without a run in it is left as it is, and ""
// returned; one in which the program works is refused, since what the run reads may be there. The caller holds the lock. Checkpoints move last, newest first, so that what a crash leaves in outputDir is a
// run that can go on.
func SetAside(outputDir string) (aside string, err error) {
	names, err := runEntries(outputDir)
	if err != nil || len(names) == 0 {
		return "", err
	}
	real, err := filepath.EvalSymlinks(outputDir)
	if err != nil {
		return "", fail.New(fail.Other, "check training.output_dir", "checkpoint: set aside: %w", err)
	}
	const hint = "move the old run away yourself, or choose another training.output_dir"
	if holdsWorkingFolder(real) {
		return "", fail.New(fail.Usage, hint, "checkpoint: set aside: want an output folder without the working folder in it, got %s", outputDir)
	}
	if aside, err = makeAside(real); err != nil {
		return "", fail.New(fail.Disk, hint, "checkpoint: set aside: %w", err)
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(real, name), filepath.Join(aside, name)); err != nil {
			return "", fail.New(fail.Disk, hint, "checkpoint: set aside: %w", err)
		}
	}
	return aside, nil
}

// holdsWorkingFolder says whether a folder is the working folder or one above it.
func holdsWorkingFolder(dir string) bool {
	var paths [2]string
	for i, path := range []string{dir, "."} {
		full, err := filepath.Abs(path)
		if err == nil {
			full, err = filepath.EvalSymlinks(full)
		}
		if err != nil {
			return true // what cannot be known is not moved
		}
		paths[i] = full
	}
	below, err := filepath.Rel(paths[0], paths[1])
	return err != nil || filepath.IsLocal(below)
}

// makeAside creates the folder that a run is moved to.
func makeAside(outputDir string) (string, error) {
	for n := 1; ; n++ {
		aside := fmt.Sprintf("%s.old-%d", outputDir, n)
		if err := os.Mkdir(aside, dirPerm); !errors.Is(err, os.ErrExist) {
			return aside, err
		}
	}
}

// runEntries lists what outputDir holds beside the lock file, in the order in which to move it; nothing where there is
// neither a checkpoint nor a metrics file.
func runEntries(outputDir string) ([]string, error) {
	steps, err := Steps(outputDir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(outputDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fail.New(fail.Other, "check training.output_dir", "checkpoint: %w", err)
	}
	var names, checkpoints []string
	for _, step := range steps {
		checkpoints = append(checkpoints, filepath.Base(Dir(outputDir, step)))
	}
	for _, e := range entries {
		if e.Name() != LockFile && !slices.Contains(checkpoints, e.Name()) {
			names = append(names, e.Name())
		}
	}
	if len(checkpoints) == 0 && !slices.Contains(names, metricsFile) {
		return nil, nil
	}
	return append(names, checkpoints...), nil
}
