package trainer

import (
	"fmt"

	"vkdomino/domino"
	"vkdomino/internal/plural"
	"vkdomino/trainer/checkpoint"
)

// checkSpace compares what checkpoints will take, which is known beforehand, with the room on the disk: one that the
// next does not fit is refused, and where not all fit that will lie there at a time, the run says so.
func (r *run) checkSpace() error {
	dir, limit := r.Recipe.OutputDir, r.Recipe.SaveTotalLimit
	var elements uint64
	for _, p := range domino.Params(r.DraftConfig()) {
		elements += uint64(p.Size())
	}
	free, err := r.roomFor(elements)
	if err != nil {
		return err
	}
	there, err := checkpoint.Steps(dir)
	if err != nil {
		return err
	}
	if text := spaceWarning(free, checkpoint.Room(elements), uint64(r.checkpointsToCome(len(there))), limit); text != "" {
		r.printf("warning: %s: %s", dir, text)
	}
	return nil
}

// roomFor is checkpoint.CheckSpace, for which checkpoints go that a lower limit does not keep.
func (r *run) roomFor(elements uint64) (free uint64, err error) {
	dir := r.Recipe.OutputDir
	free, err = checkpoint.CheckSpace(dir, elements, r.bestStep())
	if err == nil || r.saved < 0 {
		return free, err
	}
	if err := checkpoint.Rotate(dir, r.Recipe.SaveTotalLimit, r.bestStep()); err != nil {
		return 0, err
	}
	return checkpoint.CheckSpace(dir, elements, r.bestStep())
}

// bestStep is the step of the best checkpoint so far, -1 where there is none.
func (r *run) bestStep() int {
	if r.state.Best == nil {
		return -1
	}
	return r.state.Best.Step
}

// checkpointsToCome is how many more checkpoints will lie beside those that are there at a time: an old one goes only
// when the new one is written, and the best is kept beside the newest.
func (r *run) checkpointsToCome(there int) int {
	step, every := r.state.Step, r.Recipe.SaveSteps
	saves := (r.Total+every-1)/every - step/every
	kept := r.Recipe.SaveTotalLimit
	if evaluate := r.Recipe.ARValidateSteps; evaluate > 0 {
		saves += r.Total/evaluate - step/evaluate
		kept++
	}
	if r.Recipe.SaveTotalLimit < 1 {
		return saves
	}
	return max(1, min(saves, kept+1-there))
}

// spaceWarning says that so many checkpoints do not fit, "" where they do. A limit below 1 keeps all.
func spaceWarning(free, each, count uint64, limit int) string {
	fit := free / each
	if fit >= count {
		return ""
	}
	advice := "free some space, or lower training.save_total_limit"
	switch {
	case limit < 1:
		advice = "free some space, or set training.save_total_limit"
	case limit == 1:
		advice = "free some space"
	}
	return fmt.Sprintf("the run will add %s of %s before old ones go, the disk has room for %d: %s", plural.Of(int(count), "checkpoint"), formatBytes(int64(each)), fit, advice)
}
