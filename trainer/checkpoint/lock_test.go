package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs", "a")
	release, err := Lock(dir)
	require.NoError(t, err)
	_, err = Lock(dir)
	require.ErrorContains(t, err, fmt.Sprintf(`output folder %s: in use by "process %d on `, dir, os.Getpid()))
	require.Equal(t, fail.Other, fail.CodeOf(err))
	require.NotEmpty(t, fail.HintOf(err))
	release()
	release, err = Lock(dir)
	require.NoError(t, err)
	release()
}

func TestLockSaysWhoEvenIfTheFileIsEmpty(t *testing.T) {
	dir := t.TempDir()
	release, err := Lock(dir)
	require.NoError(t, err)
	defer release()
	require.NoError(t, os.Truncate(filepath.Join(dir, LockFile), 0))
	_, err = Lock(dir)
	require.ErrorContains(t, err, "in use by another process")
}

func TestAStaleLockFileDoesNotMatter(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, LockFile), []byte("process 1 on a machine that is gone\n"), 0o644))
	release, err := Lock(dir)
	require.NoError(t, err)
	release()
}

func TestLockOfAFolderThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	_, err := Lock(filepath.Join(file, "run"))
	require.Equal(t, fail.Disk, fail.CodeOf(err))
}

func TestSetAside(t *testing.T) {
	dir := saved(t, 3, 9)
	release, err := Lock(dir)
	require.NoError(t, err)
	defer release()
	for n := 1; n <= 2; n++ {
		require.NoError(t, os.WriteFile(filepath.Join(dir, metricsFile), []byte("{}"), 0o644))
		aside, err := SetAside(dir + string(filepath.Separator))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%s.old-%d", dir, n), aside)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(aside)) })
		require.Equal(t, []string{"checkpoint-3", "checkpoint-9", metricsFile}, dirNames(t, aside))
		requireStep(t, Dir(aside, 3), 3)
		require.Equal(t, []string{LockFile}, dirNames(t, dir))
		require.NoError(t, Save(dir, state(3), params(3)))
		require.NoError(t, Save(dir, state(9), params(9)))
	}
}

func TestSetAsideMovesCheckpointsLastAndNewestFirst(t *testing.T) {
	dir := saved(t, 3, 9, 20)
	require.NoError(t, os.WriteFile(filepath.Join(dir, metricsFile), nil, 0o644))
	names, err := runEntries(dir)
	require.NoError(t, err)
	require.Equal(t, []string{metricsFile, "checkpoint-20", "checkpoint-9", "checkpoint-3"}, names)
}

func TestSetAsideOfARunWithoutCheckpoints(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, metricsFile), nil, 0o644))
	aside, err := SetAside(dir)
	require.NoError(t, err)
	require.Equal(t, []string{metricsFile}, dirNames(t, aside))
}

func TestSetAsideOfALink(t *testing.T) {
	dir := saved(t, 3)
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	aside, err := SetAside(link)
	require.NoError(t, err)
	defer os.RemoveAll(aside)
	require.Equal(t, dir+".old-1", aside)
	require.Empty(t, dirNames(t, link), "the link still leads to the folder")
}

func TestSetAsideLeavesTheWorkingFolder(t *testing.T) {
	dir := saved(t, 3)
	inner := filepath.Join(dir, "inner")
	require.NoError(t, os.Mkdir(inner, 0o755))
	before := dirNames(t, dir)
	for _, at := range []struct{ working, output string }{{dir, "."}, {dir, dir}, {inner, ".."}} {
		t.Chdir(at.working)
		_, err := SetAside(at.output)
		require.ErrorContains(t, err, "got "+at.output)
		require.Equal(t, fail.Usage, fail.CodeOf(err))
		require.NotEmpty(t, fail.HintOf(err))
		require.Equal(t, before, dirNames(t, dir))
	}
	t.Chdir(t.TempDir())
	aside, err := SetAside(dir)
	require.NoError(t, err)
	require.Equal(t, before, dirNames(t, aside))
}

func TestSetAsideLeavesWhatIsNoRun(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o644))
	release, err := Lock(dir)
	require.NoError(t, err)
	defer release()
	for _, d := range []string{dir, t.TempDir(), filepath.Join(dir, "none")} {
		aside, err := SetAside(d)
		require.NoError(t, err)
		require.Empty(t, aside)
	}
	require.Equal(t, []string{LockFile, "thesis.tex"}, dirNames(t, dir))
}

func TestSetAsideWhereNoFolderCanBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	_, err := makeAside(filepath.Join(file, "run"))
	require.Error(t, err)
}
