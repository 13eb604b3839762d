package trainer

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
	"vkdomino/trainer/checkpoint"
	"vkdomino/trainer/recipe"
)

func TestCheckpointsToCome(t *testing.T) {
	for _, c := range []struct{ total, step, every, evaluate, limit, there, want int }{
		{total: 600, every: 100, want: 6},
		{total: 601, every: 100, want: 7},
		{total: 600, every: 100, limit: 3, want: 4},
		{total: 600, every: 400, limit: 3, want: 2},
		{total: 600, step: 300, every: 100, limit: 3, there: 3, want: 1},
		{total: 600, step: 300, every: 100, limit: 1, there: 3, want: 1},
		{total: 600, step: 150, every: 100, limit: 3, there: 2, want: 2},
		{total: 600, step: 500, every: 100, limit: 9, there: 5, want: 1},
		{total: 600, every: 100, evaluate: 50, limit: 3, want: 5},
		{total: 600, step: 300, every: 100, evaluate: 50, want: 9},
	} {
		r := &run{Session: &Session{Total: c.total, Recipe: &recipe.Resolved{SaveSteps: c.every, ARValidateSteps: c.evaluate, SaveTotalLimit: c.limit}}}
		r.state.Step = c.step
		require.Equal(t, c.want, r.checkpointsToCome(c.there), c)
	}
}

func TestSpaceWarning(t *testing.T) {
	const gib = 1 << 30
	require.Empty(t, spaceWarning(4*gib, gib, 4, 3))
	require.Equal(t, "the run will add 4 checkpoints of 1.00 GiB before old ones go, the disk has room for 3: free some space, or lower training.save_total_limit",
		spaceWarning(4*gib-1, gib, 4, 3))
	require.Contains(t, spaceWarning(gib, gib, 9, 0), "set training.save_total_limit")
	require.NotContains(t, spaceWarning(gib, gib, 2, 1), "training.save_total_limit")
	require.NotEmpty(t, spaceWarning(1<<50, 1<<35, 1<<31, 0), "what all take is no uint64")
}

// A run that will keep more checkpoints than any disk holds says so before its first step.
func TestRunWarnsOfTheDisk(t *testing.T) {
	text, err := train(t, t.TempDir(), 1, Options{}, "training.max_steps=2000000000", "training.save_steps=1")
	require.Equal(t, fail.Interrupted, fail.CodeOf(err))
	require.Regexp(t, `(?m)^warning: .*: the run will add 2000000000 checkpoints of .* before old ones go, the disk has room for \d+: free some space, or set training.save_total_limit$`, text)
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
	r := &run{Session: &Session{Recipe: &recipe.Resolved{OutputDir: dir, SaveTotalLimit: 2}}, saved: 7}
	free, err := r.roomFor(1)
	require.NoError(t, err)
	require.NotZero(t, free)
	require.Equal(t, []int{7, 6, 4, 2}, steps())
	_, err = r.roomFor(huge)
	require.Equal(t, fail.Disk, fail.CodeOf(err))
	require.Equal(t, []int{7, 6}, steps())
	r.saved, r.Recipe.SaveTotalLimit = -1, 1
	_, err = r.roomFor(huge)
	require.ErrorContains(t, err, "of free disk space for a checkpoint")
	require.Equal(t, []int{7, 6}, steps())
}
