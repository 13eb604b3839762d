package trainer

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/recipe"
)

func TestCheckpointsToCome(t *testing.T) {
	for _, c := range []struct {
		total, step, every, evaluate, limit, there, want int
		goes                                             bool // an old one, with the last
	}{
		{total: 600, every: 100, want: 6},
		{total: 601, every: 100, want: 7},
		{total: 600, every: 100, limit: 3, want: 4, goes: true},
		{total: 600, every: 400, limit: 3, want: 2},
		{total: 600, step: 300, every: 100, limit: 3, there: 3, want: 1, goes: true},
		{total: 600, step: 300, every: 100, limit: 1, there: 3, want: 1, goes: true},
		{total: 600, step: 150, every: 100, limit: 3, there: 2, want: 2, goes: true},
		{total: 600, step: 500, every: 100, limit: 9, there: 5, want: 1},
		{total: 600, every: 100, evaluate: 50, limit: 3, want: 5, goes: true},
		{total: 600, step: 300, every: 100, evaluate: 50, want: 9},
	} {
		r := &run{Session: &Session{Total: c.total, Recipe: &recipe.Resolved{SaveSteps: c.every, ARValidateSteps: c.evaluate, SaveTotalLimit: c.limit}}}
		r.state.Step = c.step
		count, goes := r.checkpointsToCome(c.there)
		require.Equal(t, c.want, count, c)
		require.Equal(t, c.goes, goes, c)
	}
}

func TestSpaceWarning(t *testing.T) {
	const gib = 1 << 30
	require.Empty(t, spaceWarning(4*gib, gib, 0, 4, 3))
	require.Equal(t, "the run will add 4 checkpoints of 1.00 GiB before old ones go, the disk has room for 3: free some space, or lower training.save_total_limit",
		spaceWarning(4*gib-1, gib, 0, 4, 3))
	require.Contains(t, spaceWarning(gib, gib, 0, 9, 0), "set training.save_total_limit")
	require.NotContains(t, spaceWarning(gib, gib, 0, 2, 1), "training.save_total_limit")
	require.Empty(t, spaceWarning(4*gib+gib/4, gib, gib/4, 4, 0))
	require.Contains(t, spaceWarning(4*gib, gib, gib/4, 4, 0), "the run will add 4 checkpoints of 1.00 GiB and an export of 256.0 MiB before old ones go, the disk has room for 3: ")
	require.Contains(t, spaceWarning(gib/8, gib, gib/4, 1, 0), "room for 0: ")
	require.NotEmpty(t, spaceWarning(1<<50, 1<<35, gib, 1<<31, 0), "what all take is no uint64")
}

// A run that will keep more checkpoints than any disk holds says so before its first step.
func TestRunWarnsOfTheDisk(t *testing.T) {
	text, err := train(t, t.TempDir(), 1, Options{}, "training.max_steps=2000000000", "training.save_steps=1")
	require.Equal(t, fail.Interrupted, fail.CodeOf(err))
	require.Regexp(t, `(?m)^warning: .*: the run will add 2000000000 checkpoints of .* and an export of .* before old ones go, the disk has room for \d+: free some space, or set training.save_total_limit$`, text)
	require.NotContains(t, trained(t, t.TempDir()), "the disk has room")
}

// Where a checkpoint does not fit, those go that the limit of now does not keep, but only beside one to go on from.
func TestRoomForACheckpoint(t *testing.T) {
	const huge = 1 << 50
	dir := t.TempDir()
	trained(t, dir, "training.save_steps=2")
	steps := func() []int {
		list, err := checkpoint.Steps(dir)
		require.NoError(t, err)
		return list
	}
	r := &run{Session: &Session{Total: 9, Recipe: &recipe.Resolved{OutputDir: dir, SaveTotalLimit: 2, SaveSteps: 1}}, saved: 7}
	r.state.Step = 7
	free, err := r.roomFor(1)
	require.NoError(t, err)
	require.NotZero(t, free)
	require.Equal(t, []int{7, 6, 4, 2}, steps())
	_, err = r.roomFor(huge)
	require.Equal(t, fail.Disk, fail.CodeOf(err))
	require.Equal(t, []int{7, 6}, steps())
	r.saved, r.Recipe.SaveTotalLimit = -1, 1
	_, err = r.roomFor(huge)
	require.ErrorContains(t, err, "of free disk space for a checkpoint, got")
	require.Equal(t, []int{7, 6}, steps())
	r.Recipe.SaveTotalLimit = 9 // so that none goes
	_, err = r.roomFor(huge)
	require.ErrorContains(t, err, "of free disk space for a checkpoint and the export, got")
}

// What is in the export's place and cannot be replaced is found before the first step.
func TestExportPlace(t *testing.T) {
	dir := t.TempDir()
	thesis := filepath.Join(dir, exportDir, "thesis.txt")
	require.NoError(t, os.MkdirAll(filepath.Dir(thesis), 0o755))
	require.NoError(t, os.WriteFile(thesis, nil, 0o600))
	text, err := train(t, dir, toTheEnd, Options{})
	require.ErrorContains(t, err, `holds "thesis.txt", which is not part of an export`)
	require.Equal(t, fail.Usage, fail.CodeOf(err))
	require.NotContains(t, text, "step 1/")
}
