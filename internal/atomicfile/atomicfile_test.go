package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func put(name, text string) func(string) error {
	return func(tmp string) error { return os.WriteFile(filepath.Join(tmp, name), []byte(text), 0o644) }
}

func TestWriteFileReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	require.NoError(t, WriteFile(path, []byte("one"), 0o644))
	require.NoError(t, WriteFile(path, []byte("two"), 0o600))
	require.Equal(t, "two", read(t, path))
	require.Equal(t, []string{"a.json"}, names(t, dir))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestWriteKeepsOldContentWhenTheCallerFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	require.NoError(t, WriteFile(path, []byte("old"), 0o644))
	lost := fail.New(fail.DeviceLost, "", "vk: device lost")
	err := Write(path, 0o644, func(w io.Writer) error {
		_, werr := w.Write([]byte("half"))
		require.NoError(t, werr)
		return lost
	})
	require.ErrorIs(t, err, lost)
	require.Equal(t, fail.DeviceLost, fail.CodeOf(err))
	require.Equal(t, "old", read(t, path))
	require.Equal(t, []string{"a.json"}, names(t, dir))
}

func TestWriteOfAFullDiskIsADiskError(t *testing.T) {
	err := fillErr(t, func(w io.Writer) error {
		_, err := w.Write([]byte("x"))
		return err
	})
	require.Equal(t, fail.Disk, fail.CodeOf(err))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NotEmpty(t, fail.HintOf(err))

	swallowed := fillErr(t, func(w io.Writer) error { w.Write([]byte("x")); return nil })
	require.Equal(t, fail.Disk, fail.CodeOf(swallowed), "a caller that drops the error does not hide it")
}

// fillErr runs write on /dev/full, which answers every write with ENOSPC.
func fillErr(t *testing.T, write func(io.Writer) error) error {
	t.Helper()
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatalf("this test needs /dev/full: %v", err)
	}
	defer f.Close()
	err = fill(f, "out.json", 0o644, write)
	require.ErrorContains(t, err, "write out.json: no space left on device")
	require.NotContains(t, err.Error(), f.Name())
	return err
}

func TestWriteIntoAMissingFolder(t *testing.T) {
	err := WriteFile(filepath.Join(t.TempDir(), "no", "a"), nil, 0o644)
	require.Equal(t, fail.Disk, fail.CodeOf(err))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, filepath.Join("no", "a")+": ")
}

// What is checked beforehand leaves nothing behind, and is refused where a write would be.
func TestCheckWritable(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, CheckWritable(root))
	require.NoError(t, CheckDir(filepath.Join(root, "deep", "out")))
	require.Empty(t, names(t, root))
	missing := filepath.Join(root, "no")
	require.NoError(t, os.WriteFile(filepath.Join(root, "file"), nil, 0o644))
	for _, err := range []error{CheckWritable(missing), CheckDir("/proc/none/out"), CheckDir(filepath.Join(root, "file", "out"))} {
		require.Equal(t, fail.Disk, fail.CodeOf(err))
	}
	require.ErrorContains(t, CheckWritable(missing), missing+": no such file or directory")
}

func TestWriteDir(t *testing.T) {
	root := t.TempDir()
	final := filepath.Join(root, "deep", "out")
	require.NoError(t, WriteDir(final, ScratchDir(final), put("f", "1")))
	require.NoError(t, WriteDir(final, ScratchDir(final), put("g", "2")))
	require.Equal(t, []string{"g"}, names(t, final), "the second write replaces the first")
	require.Equal(t, []string{"out"}, names(t, filepath.Dir(final)))
}

func TestWriteDirThatFailsLeavesTheOldOne(t *testing.T) {
	root := t.TempDir()
	final := filepath.Join(root, "out")
	require.NoError(t, WriteDir(final, ScratchDir(final), put("f", "1")))
	boom := errors.New("boom")
	err := WriteDir(final, ScratchDir(final), func(tmp string) error {
		require.NoError(t, put("f", "2")(tmp))
		return boom
	})
	require.ErrorIs(t, err, boom)
	require.Equal(t, "1", read(t, filepath.Join(final, "f")))
	require.Equal(t, []string{"out"}, names(t, root))
}

func TestRecoverDir(t *testing.T) {
	cases := []struct {
		name string
		have map[string]string // which directory -> text of its file f
		want string
	}{
		{"cut off while writing", map[string]string{"final": "old", "scratch": "half"}, "old"},
		{"cut off between the two renames", map[string]string{"parked": "old", "scratch": "new"}, "old"},
		{"cut off before the old one was removed", map[string]string{"final": "new", "parked": "old"}, "new"},
		{"nothing to do", map[string]string{"final": "old"}, "old"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			final := filepath.Join(root, "out")
			places := map[string]string{"final": final, "scratch": ScratchDir(final), "parked": ParkedDir(final)}
			for which, text := range c.have {
				require.NoError(t, os.Mkdir(places[which], 0o755))
				require.NoError(t, put("f", text)(places[which]))
			}
			require.NoError(t, RecoverDir(final, ScratchDir(final)))
			require.Equal(t, c.want, read(t, filepath.Join(final, "f")))
			require.Equal(t, []string{"out"}, names(t, root))
		})
	}
}

func TestFinalOf(t *testing.T) {
	for _, final := range []string{"/a/out", "out", "/a/checkpoint-3"} {
		got, ok := FinalOf(ParkedDir(final))
		require.True(t, ok)
		require.Equal(t, final, got)
	}
	for _, other := range []string{"/a/out", "/a/out" + dirParked, ScratchDir("/a/out"), ".out.old"} {
		_, ok := FinalOf(other)
		require.False(t, ok, other)
	}
}

func TestRemoveDir(t *testing.T) {
	root := t.TempDir()
	final := filepath.Join(root, "out")
	require.NoError(t, WriteDir(final, ScratchDir(final), put("f", "1")))
	require.NoError(t, RemoveDir(final, ScratchDir(final)))
	require.Empty(t, names(t, root))
	require.ErrorIs(t, RemoveDir(final, ScratchDir(final)), os.ErrNotExist)
}

func TestFreeBytes(t *testing.T) {
	free, err := FreeBytes(t.TempDir())
	require.NoError(t, err)
	require.Positive(t, free)
	_, err = FreeBytes(filepath.Join(t.TempDir(), "no"))
	require.Equal(t, fail.Disk, fail.CodeOf(err))
}

func TestTryLockExcludesASecondHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		require.NoError(t, err)
		return f
	}
	first, second := open(), open()
	defer second.Close()
	ok, err := TryLock(first)
	require.NoError(t, err)
	require.True(t, ok)
	ok, err = TryLock(second)
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, first.Close())
	ok, err = TryLock(second)
	require.NoError(t, err)
	require.True(t, ok, "closing releases the lock")
}
