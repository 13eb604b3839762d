package checkpoint

import (
	"fmt"

	"vkdomino/internal/atomicfile"
	"vkdomino/internal/fail"
)

const (
	bytesPerParam = 3 * 4 // master weight and two moments, float32
	overheadBytes = 8 << 20
	mebibyte      = 1 << 20

	spaceHint = "free some space, or choose a training.output_dir on another disk"
	limitHint = "free some space, or lower training.save_total_limit"
)

// Room is the space on the disk that a checkpoint of so many trained elements is given: 12 bytes for each and 8 MiB for
// all that is beside them.
func Room(elements uint64) uint64 { return bytesPerParam*elements + overheadBytes }

// CheckSpace returns how many bytes the disk of outputDir has left. Where that is less than the Room of a checkpoint of so
// many trained elements, and an export of so many bytes beside it, 0 for none, it is an error (fail.Disk). best is the step
// of the best checkpoint, below 1 for none.
func CheckSpace(outputDir string, elements, export uint64, best int) (free uint64, err error) {
	if free, err = atomicfile.FreeBytes(outputDir); err != nil {
		return 0, fmt.Errorf("checkpoint: %w", err)
	}
	if need := Room(elements) + export; free < need {
		what := "a checkpoint"
		if export > 0 {
			what += " and the export"
		}
		return free, fail.New(fail.Disk, hintFor(outputDir, best), "checkpoint: %s: want %d MiB of free disk space for %s, got %d MiB",
			outputDir, need/mebibyte, what, free/mebibyte)
	}
	return free, nil
}

// hintFor is limitHint where a lower limit would drop a checkpoint: neither the newest nor the best.
func hintFor(outputDir string, best int) string {
	steps, err := Steps(outputDir)
	if err != nil {
		return spaceHint
	}
	for _, step := range steps[min(1, len(steps)):] {
		if step != best {
			return limitHint
		}
	}
	return spaceHint
}

// bestStep is the step of the best checkpoint, -1 where none is known.
func (st State) bestStep() int {
	if st.Best == nil {
		return -1
	}
	return st.Best.Step
}
