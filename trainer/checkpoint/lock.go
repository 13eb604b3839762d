package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"vkdomino/internal/atomicfile"
	"vkdomino/internal/fail"
)

const (
	lockFile     = ".lock"
	maxLockBytes = 512
	inUseHint    = "wait for that process or stop it, or choose another training.output_dir"
)

// Lock takes outputDir, which it creates, for this process alone, until release is called or the process ends in
// whatever way. The file .lock in it says who holds the lock; its content decides nothing.
func Lock(outputDir string) (release func(), err error) {
	if err := os.MkdirAll(outputDir, dirPerm); err != nil {
		return nil, fail.New(fail.Disk, "choose a training.output_dir that can be written", "checkpoint: output folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(outputDir, lockFile), os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, fail.New(fail.Disk, "choose a training.output_dir that can be written", "checkpoint: output folder: %w", err)
	}
	mine, err := atomicfile.TryLock(f)
	if err == nil && !mine {
		err = fail.New(fail.Other, inUseHint, "checkpoint: output folder %s: in use by %s", outputDir, holder(f))
	}
	if err == nil {
		err = sign(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}

// sign writes who holds the lock.
func sign(f *os.File) error {
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed host"
	}
	text := fmt.Sprintf("process %d on %s\n", os.Getpid(), host)
	if err := f.Truncate(0); err != nil {
		return fail.New(fail.Disk, spaceHint, "checkpoint: %w", err)
	}
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		return fail.New(fail.Disk, spaceHint, "checkpoint: %w", err)
	}
	return nil
}

// holder reads what sign wrote.
func holder(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, maxLockBytes))
	line := strings.TrimSpace(strings.ToValidUTF8(string(text), "?"))
	if err != nil || line == "" {
		return "another process"
	}
	return fmt.Sprintf("%q", line)
}

// SetAside renames outputDir with all that is in it to the first of outputDir.old-1, outputDir.old-2 and so on that is
// free, makes it anew, empty, and returns the name: nothing is ever deleted. A folder without a run in it is left as it
// is, and "" returned. It takes the lock for that time, so it must be called before Lock.
func SetAside(outputDir string) (aside string, err error) {
	hasRun, err := holdsRun(outputDir)
	if err != nil || !hasRun {
		return "", err
	}
	real, err := filepath.EvalSymlinks(outputDir)
	if err != nil {
		return "", fail.New(fail.Other, "check training.output_dir", "checkpoint: set aside: %w", err)
	}
	release, err := Lock(real)
	if err != nil {
		return "", err
	}
	defer release()
	for n := 1; ; n++ {
		aside = fmt.Sprintf("%s.old-%d", real, n)
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	if err := os.Rename(real, aside); err != nil {
		return "", fail.New(fail.Disk, "choose another training.output_dir", "checkpoint: set aside: %w", err)
	}
	if err := os.MkdirAll(real, dirPerm); err != nil {
		return "", fail.New(fail.Disk, "choose another training.output_dir", "checkpoint: set aside: %w", err)
	}
	return aside, nil
}

// holdsRun reports whether a run of ours has ever written into outputDir: it has a lock file and something beside it.
func holdsRun(outputDir string) (bool, error) {
	entries, err := os.ReadDir(outputDir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fail.New(fail.Other, "check training.output_dir", "checkpoint: %w", err)
	}
	ours := false
	for _, e := range entries {
		_, isCheckpoint := stepOf(e.Name())
		ours = ours || isCheckpoint || e.Name() == lockFile
	}
	onlyLock := len(entries) == 1 && entries[0].Name() == lockFile
	return ours && !onlyLock, nil
}
