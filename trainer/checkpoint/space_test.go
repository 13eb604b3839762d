package checkpoint

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

// What is checked before the first step is what a save checks and more than it takes; a lower limit is named only where
// it would drop a checkpoint.
func TestCheckSpace(t *testing.T) {
	const huge = 1 << 50
	many := func(st State, dir string) error {
		return Save(dir, st, []Param{{Name: "huge", Shape: []int{1 << 20, 1 << 30}}})
	}
	for _, c := range []struct {
		there []int
		best  int
		hint  string
	}{
		{nil, 0, spaceHint},
		{[]int{2}, 0, spaceHint},
		{[]int{1, 2}, 1, spaceHint},
		{[]int{1, 2}, 0, limitHint},
		{[]int{1, 2, 3}, 1, limitHint},
	} {
		dir, st := saved(t, c.there...), state(9)
		if st.Best = nil; c.best > 0 {
			st.Best = &Best{Step: c.best}
		}
		_, before := CheckSpace(dir, huge, 0, c.best)
		for _, err := range []error{before, many(st, dir)} {
			require.Equal(t, fail.Disk, fail.CodeOf(err))
			require.ErrorContains(t, err, "want 12884901896 MiB of free disk space")
			require.Equal(t, c.hint, fail.HintOf(err), c)
		}
	}
	dir, taken := saved(t, 1), int64(0)
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		taken += info.Size()
		return err
	}))
	require.Less(t, uint64(taken), Room(elementsOf(params(1))))
	free, err := CheckSpace(dir, elementsOf(params(1)), 1, -1)
	require.NoError(t, err)
	require.NotZero(t, free)
	_, err = CheckSpace(dir, 0, huge, -1)
	require.ErrorContains(t, err, "want 1073741832 MiB of free disk space for a checkpoint and the export, got ")
	require.Equal(t, spaceHint, fail.HintOf(err))
}
