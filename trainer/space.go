package trainer

import (
	"fmt"

	"vkdomino/domino"
	"vkdomino/internal/plural"
	"vkdomino/trainer/checkpoint"
)

// exportOverhead is room for all of an export but the tensors' values.
const exportOverhead = 1 << 20

// checkSpace compares what checkpoints and the export will take, which is known beforehand, with the room on the disk: one
// without room for the next checkpoint is refused, and where not all fit that will lie there at a time, the run says so.
func (r *run) checkSpace() error {
	var elements uint64
	for _, p := range domino.Params(r.DraftConfig()) {
		elements += uint64(p.Size())
	}
	free, err := r.roomFor(elements)
	if err != nil {
		return err
	}
	count, export, err := r.toCome(elements)
	if err != nil {
		return err
	}
	if text := spaceWarning(free, checkpoint.Room(elements), export, count, r.Recipe.SaveTotalLimit); text != "" {
		r.printf("warning: %s: %s", r.Recipe.OutputDir, text)
	}
	return nil
}

// roomFor is checkpoint.CheckSpace, for which checkpoints go that a lower limit does not keep.
func (r *run) roomFor(elements uint64) (free uint64, err error) {
	dir := r.Recipe.OutputDir
	check := func() (uint64, error) {
		_, export, err := r.toCome(elements)
		if err != nil {
			return 0, err
		}
		return checkpoint.CheckSpace(dir, elements, export, r.bestStep())
	}
	free, err = check()
	if err == nil || r.saved < 0 {
		return free, err
	}
	if err := checkpoint.Rotate(dir, r.Recipe.SaveTotalLimit, r.bestStep()); err != nil {
		return 0, err
	}
	return check()
}

// toCome is what will lie beside what is there: checkpoints, and the bytes of the export, 0 where it finds room enough in
// that of a checkpoint that went.
func (r *run) toCome(elements uint64) (checkpoints, export uint64, err error) {
	there, err := checkpoint.Steps(r.Recipe.OutputDir)
	if err != nil {
		return 0, 0, err
	}
	count, goes := r.checkpointsToCome(len(there))
	if !goes {
		export = uint64(exportDType.Size())*elements + exportOverhead
	}
	return uint64(count), export, nil
}

// bestStep is the step of the best checkpoint so far, -1 where there is none.
func (r *run) bestStep() int {
	if r.state.Best == nil {
		return -1
	}
	return r.state.Best.Step
}

// checkpointsToCome is how many more checkpoints will lie beside those that are there at a time: an old one goes only
// when the new one is written, and the best is kept beside the newest. goes says that with the last of them an old one
// does.
func (r *run) checkpointsToCome(there int) (count int, goes bool) {
	step, every := r.state.Step, r.Recipe.SaveSteps
	saves := (r.Total+every-1)/every - step/every
	kept := r.Recipe.SaveTotalLimit
	if evaluate := r.Recipe.ARValidateSteps; evaluate > 0 {
		saves += r.Total/evaluate - step/evaluate
		kept++
	}
	if r.Recipe.SaveTotalLimit < 1 {
		return saves, false
	}
	return max(1, min(saves, kept+1-there)), saves > kept-there
}

// spaceWarning says that so many checkpoints do not fit beside an export of so many bytes, "" where they do. A limit below
// 1 keeps all, an export of 0 lies in the room of a checkpoint that went.
func spaceWarning(free, each, export, count uint64, limit int) string {
	fit := (free - min(free, export)) / each
	if fit >= count {
		return ""
	}
	beside := ""
	if export > 0 {
		beside = fmt.Sprintf(" and an export of %s", formatBytes(int64(export)))
	}
	advice := "free some space, or lower training.save_total_limit"
	switch {
	case limit < 1:
		advice = "free some space, or set training.save_total_limit"
	case limit == 1:
		advice = "free some space"
	}
	return fmt.Sprintf("the run will add %s of %s%s before old ones go, the disk has room for %d: %s", plural.Of(int(count), "checkpoint"), formatBytes(int64(each)), beside, fit, advice)
}
