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

// LockFile is what Lock makes in a folder, and leaves there.
const LockFile = ".lock"

const (
	maxLockBytes = 512
	inUseHint    = "wait for that process or stop it, or choose another training.output_dir"
)

// Lock takes outputDir, which it creates, for this process alone, until release is called or the process ends in
// whatever way. The file .lock in it says who holds the lock; its content decides nothing.
func Lock(outputDir string) (release func(), err error) {
	if err := os.MkdirAll(outputDir, dirPerm); err != nil {
		return nil, fail.New(fail.Disk, "choose a training.output_dir that can be written", "checkpoint: output folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(outputDir, LockFile), os.O_RDWR|os.O_CREATE, filePerm)
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
